//! A few small images: the products of [`super::small`] turned over. Their columns are channels of the result, which fill
//! vectors however few images there are; their rows are images, or neighbouring positions of one image.

use super::gather::Images;
use super::lines::LineTile;
use super::small::{Small, apart, panels, turn_images};
use crate::gemm::{HasKernels, Kernels, with_scratch, with_shared};
use crate::parallel;
use crate::simd::transpose::turn;
use std::ops::Add;

/// Channels whose weights stay near, for all products of a tap.
const CHANNELS: usize = 128;

/// Products with one tap whose results lie evenly apart, and what they read as well.
struct Run {
    tap: usize,
    /// First places, and how far apart the next ones are, of result and source.
    first: [usize; 2],
    step: [usize; 2],
    count: usize,
}

/// The products as runs, by tap.
fn runs(small: &Small) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for [p, tap, q] in small.products(true) {
        if let Some(run) = runs
            .last_mut()
            .filter(|run| run.tap == tap && p > run.first[0] && q > run.first[1])
        {
            let step = [p - run.first[0], q - run.first[1]];
            let next = [0, 1].map(|i| run.first[i] + run.step[i] * run.count);
            if run.count == 1 || [p, q] == next {
                run.step = if run.count == 1 { step } else { run.step };
                run.count += 1;
                continue;
            }
        }
        let (first, step) = ([p, q], [1, 1]);
        runs.push(Run {
            tap,
            first,
            step,
            count: 1,
        });
    }
    runs
}

/// How far neighbouring images, channels and positions lie apart.
#[derive(Clone, Copy)]
struct Steps {
    image: usize,
    channel: usize,
    position: usize,
}

impl Steps {
    /// Of sums, whose channels are columns.
    fn of_result(image: usize, position: usize) -> Self {
        Self {
            image,
            channel: 1,
            position,
        }
    }

    /// From row to row of a product: images, or every so many-th position.
    fn row(self, by_image: bool, step: usize) -> isize {
        (if by_image { self.image } else { step * self.position }) as isize
    }
}

struct Shared<T>(*const T, *const T, *const T, *mut T);
// SAFETY: plain data; tasks write disjoint channels.
unsafe impl<T: Sync> Sync for Shared<T> {}

impl Small {
    /// The pass, as [`Small::convolve`], by columns that are channels.
    ///
    /// # Safety
    /// As for that; there are fewer images than a vector holds.
    pub(super) unsafe fn convolve_few<T>(
        &self,
        kernels: &'static Kernels<T>,
        weights: *const T,
        [groups, rows, channels]: [usize; 3],
        back: bool,
        images: Images<T>,
        bias: *const T,
    ) where
        T: Copy + Default + HasKernels + Send + Sync + Add<Output = T>,
    {
        let ([to, from], taps) = (self.positions, self.taps);
        let runs = runs(self);
        // Rows of a product: images, if they are more than neighbours.
        let by_image = images.count * runs.len() >= self.count();
        let panels = panels(kernels, rows);
        with_shared(|x| {
            // Images side by side, or where they lie.
            let size = [groups * channels, from];
            let (src, source) = if by_image {
                // In fours, so that they stay near.
                let width = images.count.next_multiple_of(4);
                let turned = x.reserve::<T>(groups * channels * from * width);
                let (apart, panel) = (apart(size, taps), [0, images.count, width]);
                let source = (images.src, images.src_strides[0] as usize);
                // SAFETY: the caller's promise; so many are reserved.
                unsafe { turn_images(source, size, apart, &[panel], turned) };
                let [channel, position] = apart.map(|n| n * width);
                (
                    turned.cast_const(),
                    Steps {
                        image: 1,
                        channel,
                        position,
                    },
                )
            } else {
                let (image, channel) = (images.src_strides[0] as usize, from);
                (
                    images.src,
                    Steps {
                        image,
                        channel,
                        position: 1,
                    },
                )
            };
            let shared = Shared(weights, src, bias, images.dst);
            parallel::for_range(groups * panels.len(), 1, |tasks| {
                let Shared(weights, src, bias, dst) = &shared;
                with_scratch(|[turned, sums, ..]| {
                    let turned = turned.reserve::<T>(CHANNELS.min(channels) * taps * kernels.nr);
                    let all = images.count * to * kernels.nr;
                    let sums = sums.reserve::<T>(all);
                    for (group, [first, count, width]) in tasks.map(|i| (i / panels.len(), panels[i % panels.len()])) {
                        let result = match by_image {
                            true => Steps::of_result(width, images.count * width),
                            false => Steps::of_result(to * width, width),
                        };
                        // SAFETY: so many are reserved.
                        unsafe { std::slice::from_raw_parts_mut(sums, all) }.fill(T::default());
                        let weights = weights.wrapping_add(group * rows * channels * taps);
                        for channel in (0..channels).step_by(CHANNELS) {
                            let some = CHANNELS.min(channels - channel);
                            // SAFETY: the caller's promise; the buffer holds the weights of so many channels.
                            unsafe {
                                if back {
                                    for c in 0..some {
                                        let from = weights.wrapping_add(((channel + c) * rows + first) * taps);
                                        let to = turned.wrapping_add(c * taps * width);
                                        match taps {
                                            1 => std::ptr::copy_nonoverlapping(from, to, count),
                                            _ => turn(from, taps, count, taps, to, width),
                                        }
                                    }
                                } else {
                                    let from = weights.wrapping_add((first * channels + channel) * taps);
                                    turn(from, channels * taps, count, some * taps, turned, width);
                                }
                            }
                            let src = src.wrapping_add((group * channels + channel) * source.channel);
                            for run in &runs {
                                let (product, (outer, inner)) = match by_image {
                                    true => (images.count, (run.count, 1)),
                                    false => (run.count, (1, images.count)),
                                };
                                for (i, image) in (0..outer).flat_map(|i| (0..inner).map(move |image| (i, image))) {
                                    let [p, q] = [0, 1].map(|side| run.first[side] + i * run.step[side]);
                                    let tile = LineTile {
                                        k: some,
                                        a: src.wrapping_add(image * source.image + q * source.position),
                                        a_rs: source.row(by_image, run.step[1]),
                                        a_cs: source.channel as isize,
                                        b: turned.wrapping_add(run.tap * width),
                                        b_rs: (taps * width) as isize,
                                        c: sums.wrapping_add(image * result.image + p * result.position),
                                        c_rs: result.row(by_image, run.step[0]),
                                        n: count,
                                        adds: true,
                                        ..LineTile::empty()
                                    };
                                    // SAFETY: the caller's promise: all that a product reads is there.
                                    unsafe { tile.column(kernels, product) };
                                }
                            }
                        }
                        let channel = group * rows + first;
                        if !bias.is_null() {
                            for i in 0..images.count * to {
                                for j in 0..count {
                                    // SAFETY: as above; a result has a bias for each channel.
                                    unsafe {
                                        let sum = sums.add(i * width + j);
                                        *sum = *sum + *bias.add(channel + j);
                                    }
                                }
                            }
                        }
                        for image in 0..images.count {
                            let dst = dst
                                .wrapping_offset(image as isize * images.dst_strides[0])
                                .wrapping_add(channel * to);
                            // SAFETY: as above; these channels are one task's.
                            unsafe {
                                turn(
                                    sums.wrapping_add(image * result.image),
                                    result.position,
                                    to,
                                    count,
                                    dst,
                                    to,
                                )
                            };
                        }
                    }
                });
            });
        });
    }
}
