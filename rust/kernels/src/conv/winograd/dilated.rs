//! Taps that lie d apart see every d-th element only: an image falls apart into d x d smaller ones, each convolved by itself
//! with taps side by side, and so do the positions.

use super::super::ConvShape;
use super::super::gather::Images;
use super::super::geometry::Gather;
use super::super::patches::{Again, LineArgs};
use super::super::weight::Problem;
use super::phases::some;
use super::{Filters, Plan, convolve, gradient, takes_gradient};
use crate::gemm::{HasKernels, Kernels, with_shared};
use crate::parallel;
use crate::simd::every::interleave;
use std::ops::{Add, Range};

/// Most distance of taps, with many channels in and out and with fewer, and least lines and columns of a small image: else the
/// copies and what hangs over the edges cost what the products save (256 channels on 33², distance 6: 14.3 to 17.7 ms; 32 on
/// 28², distance 3, n = 4: 0.63 to 0.74).
const MOST_APART: [usize; 2] = [4, 2];
const MANY_CHANNELS: usize = 64;
const LEAST_SIDE: usize = 8;
/// Elements that a task moves, at least.
const GRAIN: usize = 16_384;

/// How a pass falls apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dilated {
    /// The pass over the small images, whose borders are zeros of their own.
    plan: Plan,
    /// Distance of taps, and with it the number of small images, down and across.
    by: [usize; 2],
    /// The images' size, where in them the first position's first tap lies, and all positions.
    size: [usize; 2],
    first: [isize; 2],
    grid: [usize; 2],
}

/// Small images, `[image][remainder of the line][of the column][channel][line][column]`.
#[derive(Clone, Copy)]
struct Small {
    channels: usize,
    lines: usize,
    row: usize,
}

impl Small {
    /// Elements of one.
    fn image(self) -> usize {
        self.channels * self.lines * self.row
    }

    fn strides(self) -> [isize; 5] {
        [self.image(), self.lines * self.row, 0, self.row, 1].map(|n| n as isize)
    }
}

struct Shared<T>(*const T, *mut T);
// SAFETY: plain data; tasks write disjoint elements.
unsafe impl<T: Sync> Sync for Shared<T> {}

impl Dilated {
    /// The pass that `g` describes, if its taps lie apart, and a form takes what it falls into.
    fn apart(g: &Gather) -> Option<Dilated> {
        let distance = |taps: &[isize]| match taps {
            [first, second, ..] => usize::try_from(second - first)
                .ok()
                .filter(|&d| d > 0 && taps.windows(2).all(|two| two[1] - two[0] == d as isize)),
            // Of taps in one line or column, the copies would cost what the products save.
            _ => None,
        };
        let by = [distance(&g.offsets[1])?, distance(&g.offsets[2])?];
        if by == [1, 1] || g.grid[0] != 1 || g.offsets[0] != [0] || g.step != [1; 3] {
            return None;
        }
        // A position that sees nothing but padding is to be zero exactly.
        let sees = |d: usize, by: usize| {
            let (first, taps) = (g.offsets[d][0], g.offsets[d].len());
            let last = first + g.grid[d] as isize - 1;
            g.grid[d] > 0 && first + ((taps - 1) * by) as isize >= 0 && last < g.size[d] as isize && by <= g.size[d]
        };
        if !sees(1, by[0]) || !sees(2, by[1]) {
            return None;
        }
        let (grid, size) = ([g.grid[1], g.grid[2]], [g.size[1], g.size[2]]);
        Some(Dilated {
            plan: Plan::of(&small(grid, by, [g.offsets[1].len(), g.offsets[2].len()]))?,
            by,
            size,
            first: [g.offsets[1][0], g.offsets[2][0]],
            grid,
        })
    }

    /// The pass that `g` describes, should it be computed so: images, channels in and out, strides in and out.
    pub fn of<T>(g: &Gather, count: usize, channels: [usize; 2], src: [isize; 5], dst: [isize; 5]) -> Option<Dilated> {
        let all = Dilated::apart(g)?;
        let some = all.pays(channels)
            && all.plan.fills(channels[0])
            && all.plan.takes::<T>(count * all.parts(), channels, src, dst);
        some.then_some(all)
    }

    /// The weights' gradient, should it be computed so.
    pub(in crate::conv) fn of_gradient<T>(g: &Gather, p: &Problem<T>) -> Option<Dilated> {
        let all = Dilated::apart(g)?;
        // A tap that sees nothing but padding is to be zero exactly.
        let sees = |d: usize| {
            let reach = (all.plan.taps[d] - 1) * all.by[d];
            let (low, most) = (all.first[d], all.first[d] + reach as isize);
            low + all.grid[d] as isize > 0 && most < all.size[d] as isize
        };
        let problem = Problem {
            count: p.count * all.parts(),
            ..*p
        };
        (sees(0) && sees(1) && all.pays([p.channels, p.rows]) && takes_gradient(&all.small(), &problem, 1).is_some())
            .then_some(all)
    }

    /// The pass, for contiguous weights: `gradient` if it is that of the input.
    ///
    /// # Safety
    /// [`Dilated::of`] said yes; all addresses that the arguments describe are live; `bias` is null or has one element per
    /// output channel; `kernels` fit the CPU.
    pub(in crate::conv) unsafe fn convolve<T>(
        self,
        kernels: &'static Kernels<T>,
        (weights, sizes, gradient): (*const T, [usize; 3], bool),
        images: Images<T>,
        bias: *const T,
    ) where
        T: Copy + Default + HasKernels + Send + Sync,
    {
        let [groups, rows, channels] = sizes;
        let (planes, results) = (self.planes(groups * channels), self.results(groups * rows));
        let parts = self.parts();
        let some = self.at_a_time::<T>(images.count, planes);
        with_shared(|scratch| {
            let from = scratch.reserve::<T>(some * parts * (planes.image() + results.image()));
            let to = from.wrapping_add(some * parts * planes.image());
            for first in (0..images.count).step_by(some) {
                let count = some.min(images.count - first);
                let src = images.src.wrapping_offset(first as isize * images.src_strides[0]);
                let dst = images.dst.wrapping_offset(first as isize * images.dst_strides[0]);
                // SAFETY: the caller's promise; the buffer holds so many images' planes and results.
                unsafe {
                    self.split(
                        kernels,
                        (src, images.src_strides),
                        (self.first, self.size),
                        count,
                        planes,
                        from,
                    );
                    convolve(
                        kernels,
                        self.plan,
                        Filters::new(&self.plan, weights, sizes, gradient),
                        Images {
                            count: count * parts,
                            src: from,
                            src_strides: planes.strides(),
                            dst: to,
                            dst_strides: results.strides(),
                            zeros: None,
                            finish: None,
                        },
                        bias,
                    );
                    self.join((to, results), count, (dst, images.dst_strides));
                }
            }
        });
    }

    /// The weights' gradient, written to `out` as if contiguous.
    ///
    /// # Safety
    /// [`Dilated::of_gradient`] said yes; all addresses that the arguments describe are live; `kernels` fit the CPU; `out`
    /// has the weights' size.
    pub(in crate::conv) unsafe fn gradient<T>(
        self,
        kernels: &'static Kernels<T>,
        s: &ConvShape,
        problem: &Problem<T>,
        out: &mut [T],
    ) where
        T: Copy + Default + HasKernels + Send + Sync + Add<Output = T>,
    {
        let (planes, gradients) = (self.planes(s.c_in), self.results(s.c_out));
        let (parts, geometry) = (self.parts(), self.small());
        let some = self.at_a_time::<T>(problem.count, planes);
        let mut sum = vec![T::default(); if some < problem.count { out.len() } else { 0 }];
        with_shared(|scratch| {
            let x = scratch.reserve::<T>(some * parts * (planes.image() + gradients.image()));
            let gy = x.wrapping_add(some * parts * planes.image());
            for first in (0..problem.count).step_by(some) {
                let count = some.min(problem.count - first);
                let src = problem.x.wrapping_offset(first as isize * problem.x_strides[0]);
                let dst = problem.gy.wrapping_offset(first as isize * problem.gy_strides[0]);
                let to = if first == 0 { &mut *out } else { &mut sum };
                // SAFETY: the caller's promise; the buffer holds so many images' planes and gradients.
                unsafe {
                    self.split(
                        kernels,
                        (src, problem.x_strides),
                        (self.first, self.size),
                        count,
                        planes,
                        x,
                    );
                    self.split(
                        kernels,
                        (dst, problem.gy_strides),
                        ([0, 0], self.grid),
                        count,
                        gradients,
                        gy,
                    );
                    let problem = Problem {
                        count: count * parts,
                        x,
                        x_strides: planes.strides(),
                        gy,
                        gy_strides: gradients.strides(),
                        ..*problem
                    };
                    gradient(kernels, &geometry, &problem, 1, to);
                }
                if first > 0 {
                    out.iter_mut().zip(&sum).for_each(|(all, &some)| *all = *all + some);
                }
            }
        });
    }

    /// Whether the copies pay, for channels in and out.
    fn pays(self, channels: [usize; 2]) -> bool {
        let most = MOST_APART[channels.iter().any(|&n| n < MANY_CHANNELS) as usize];
        self.by.iter().all(|&d| d <= most) && self.plan.grid.iter().all(|&n| n >= LEAST_SIDE)
    }

    /// Small images of one.
    fn parts(self) -> usize {
        self.by[0] * self.by[1]
    }

    /// What is computed of a small image.
    fn small(self) -> Gather {
        small(self.grid, self.by, self.plan.taps)
    }

    /// Small images as they are read and, with channels out, as results come. Lines that are read are whole vectors of any
    /// instruction set: the number of images at a time must not depend on it.
    fn planes(self, channels: usize) -> Small {
        let [lines, row] = [0, 1].map(|d| self.plan.grid[d] + self.plan.taps[d] - 1);
        Small {
            channels,
            lines,
            row: row.next_multiple_of(16),
        }
    }

    fn results(self, channels: usize) -> Small {
        let [lines, row] = self.plan.grid;
        Small {
            channels,
            lines,
            row: row.next_multiple_of(16),
        }
    }

    fn at_a_time<T>(self, count: usize, planes: Small) -> usize {
        // Filters are transformed anew each time, and there are more of them than of phases.
        (4 * some() / (self.parts() * planes.image() * size_of::<T>())).clamp(1, count.max(1))
    }

    /// Small images of `count` ones: element (t, u) of part (i, j) is that in line by * t + i and column by * u + j, counted
    /// from `first`, or zero beyond `size`.
    ///
    /// # Safety
    /// The images lie in live memory; `dst` has room for the small ones.
    unsafe fn split<T: Copy + Default + HasKernels + Send + Sync>(
        self,
        kernels: &'static Kernels<T>,
        (src, strides): (*const T, [isize; 5]),
        (first, size): ([isize; 2], [usize; 2]),
        count: usize,
        small: Small,
        dst: *mut T,
    ) {
        let [image, channel, _, line, _] = strides;
        let [down, across] = self.by;
        let bounds = |d: usize, most: usize| {
            let end = usize::try_from(size[d] as isize - first[d]).unwrap_or(0).min(most);
            usize::try_from(-first[d]).unwrap_or(0).min(end)..end
        };
        let known = bounds(1, across * small.row);
        let inside = bounds(0, down * small.lines);
        let shared = Shared(src.wrapping_offset(first[0] * line + first[1]), dst);
        let copy = |at: usize, c: usize, i: usize| {
            let shared = &shared;
            let of = |end: usize| end.saturating_sub(i).div_ceil(down).min(small.lines);
            let (above, below) = (of(inside.start), of(inside.end));
            let to = (at * down + i) * across * small.image() + c * small.lines * small.row;
            for (lines, known) in [
                (0..above, 0..0),
                (above..below, known.clone()),
                (below..small.lines, 0..0),
            ] {
                let args = LineArgs {
                    src: shared.0.wrapping_offset(
                        at as isize * image + c as isize * channel + (down * lines.start + i) as isize * line,
                    ),
                    stride: 1,
                    lines: lines.len(),
                    line_stride: down as isize * line,
                    known,
                    phases: across,
                    phase: small.row,
                    apart: small.image(),
                    dst: shared.1.wrapping_add(to + lines.start * small.row),
                    dst_line: small.row,
                    again: [Again::ONCE; 2],
                };
                // SAFETY: the caller's promise; only lines and columns of the image are read, and whole vectors of the small
                // ones' lines written.
                unsafe { (kernels.copy_lines)(&args) };
            }
        };
        let each = across * small.lines * small.row;
        parallel::for_range(
            count * small.channels * down,
            (GRAIN / each).max(1),
            |tasks: Range<usize>| {
                tasks.for_each(|task| copy(task / down / small.channels, task / down % small.channels, task % down));
            },
        );
    }

    /// The results of `count` images to where they belong.
    ///
    /// # Safety
    /// Small ones lie at `src`, and results in live memory; neighbours of a line side by side.
    unsafe fn join<T: Copy + Send + Sync>(
        self,
        (src, small): (*const T, Small),
        count: usize,
        (dst, [image, channel, _, line, _]): (*mut T, [isize; 5]),
    ) {
        let [down, across] = self.by;
        let [high, wide] = self.grid;
        let shared = Shared(src, dst);
        let plane = |at: usize, c: usize| {
            let Shared(src, dst) = &shared;
            for r in 0..high {
                let part = (at * down + r % down) * across * small.image();
                let from = src.wrapping_add(part + (c * small.lines + r / down) * small.row);
                let to = dst.wrapping_offset(at as isize * image + c as isize * channel + r as isize * line);
                // SAFETY: the caller's promise; a line of `wide` elements.
                unsafe { interleave(from, small.image(), across, to, wide) };
            }
        };
        parallel::for_range(
            count * small.channels,
            (GRAIN / (high * wide)).max(1),
            |tasks: Range<usize>| {
                tasks.for_each(|task| plane(task / small.channels, task % small.channels));
            },
        );
    }
}

/// What is computed of a small image: so many positions, and zeros around them.
fn small(grid: [usize; 2], by: [usize; 2], taps: [usize; 2]) -> Gather {
    let [high, wide] = std::array::from_fn(|d| grid[d].div_ceil(by[d]));
    let along = |n: usize| (0..n as isize).collect::<Vec<_>>();
    let size = [1, high + taps[0] - 1, wide + taps[1] - 1];
    let offsets = [vec![0], along(taps[0]), along(taps[1])];
    Gather::new([1, high, wide], [1; 3], size, offsets)
}
