//! A stride of two as four times the channels with stride one: the even and the odd lines and columns of an image become
//! planes of their own, and so do the even and the odd taps. Four to eight taps a dim become two to four, which have a
//! form; a missing last one is zero.

use super::super::ConvShape;
use super::super::gather::Images;
use super::super::patches::{Again, LineArgs};
use super::super::weight::Problem;
use super::{Filters, Form, Forms, LEAST, Plan, convolve, sums};
use crate::gemm::{HasKernels, Kernels, with_shared};
use crate::parallel;
use std::ops::{Add, Range};
use std::sync::atomic::{AtomicUsize, Ordering};

static SOME: AtomicUsize = AtomicUsize::new(4 << 20);

/// Bytes of planes at a time, so that they stay near.
pub(in crate::conv) fn some() -> usize {
    SOME.load(Ordering::Relaxed)
}

/// Changes that, and with it how sums over images fall apart: for tests, whose images are few and small.
pub(crate) fn set_some(bytes: usize) {
    SOME.store(bytes, Ordering::Relaxed);
}

/// Least planes of a group: below, a vector of them is mostly empty, and the transforms err more than the plain sum. Two taps
/// leave less time for what is empty.
const LEAST_PLANES: usize = 12;
const LEAST_OF_TWO: usize = 16;

/// Elements of filters that a thread brings into their phases at least.
const FILTERS: usize = 16_384;

/// Runs something for the sizes of a filter, which are constants for those that are seen most.
macro_rules! with_sizes {
    ($sizes:expr, $name:ident => $run:expr) => {{
        macro_rules! with {
            ($known:expr) => {{
                let $name: [usize; 2] = $known;
                $run
            }};
        }
        match $sizes {
            [4, 4] => with!([4, 4]),
            [5, 5] => with!([5, 5]),
            [7, 7] => with!([7, 7]),
            other => with!(other),
        }
    }};
}

/// Taps of all phases of a filter.
#[inline(always)]
fn of_phases([high, wide]: [usize; 2]) -> usize {
    4 * high.div_ceil(2) * wide.div_ceil(2)
}

/// Runs something for each tap of a filter's phases, one after the other, and its place in the filter, `None` where the filter
/// ends before: phase (i, j) has the taps 2 t + i and 2 u + j.
#[inline(always)]
fn each_tap([high, wide]: [usize; 2], mut run: impl FnMut(usize, Option<usize>)) {
    // Both sizes have as many taps a phase.
    let taps = high.div_ceil(2);
    for i in 0..2 {
        for j in 0..2 {
            for t in 0..taps {
                for u in 0..taps {
                    let (k, l) = (2 * t + i, 2 * u + j);
                    let place = (k < high && l < wide).then_some(k * wide + l);
                    run(((2 * i + j) * taps + t) * taps + u, place);
                }
            }
        }
    }
}

/// A filter's taps to their phases, the missing ones zero.
#[inline(always)]
fn take_apart<T: Copy + Default>(sizes: [usize; 2], from: &[T], to: &mut [T]) {
    let (from, to) = (&from[..sizes[0] * sizes[1]], &mut to[..of_phases(sizes)]);
    each_tap(sizes, |tap, place| {
        to[tap] = place.map_or(T::default(), |place| from[place])
    });
}

/// Adds the taps of a filter's phases to the filter's.
#[inline(always)]
fn add_together<T: Copy + Add<Output = T>>(sizes: [usize; 2], from: &[T], to: &mut [T]) {
    let (from, to) = (&from[..of_phases(sizes)], &mut to[..sizes[0] * sizes[1]]);
    each_tap(sizes, |tap, place| {
        if let Some(place) = place {
            to[place] = to[place] + from[tap];
        }
    });
}

/// How a forward pass, or the weights' gradient, falls apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phases {
    pub(super) plan: Plan,
    /// Taps of a phase, elements of a line in all planes, and columns between planes.
    taps: usize,
    line: usize,
    row: usize,
}

impl Phases {
    /// The passes of `s`, should they be computed so: strides of the images in and out.
    pub fn of<T>(s: &ConvShape, src: [isize; 5], dst: [isize; 5]) -> Option<Phases> {
        let flat = s.kernel[0] == 1 && s.stride[0] == 1 && s.padding[0] == 0 && s.input[0] == 1;
        let form = match s.kernel[1..] {
            [4, 4] => Form::Two,
            [5 | 6, 5 | 6] => Form::Near,
            [7 | 8, 7 | 8] => Form::Four,
            _ => return None,
        };
        // A position that sees nothing but padding is to be zero exactly, and so is the gradient of a tap that does.
        let sees = |d: usize| {
            let last = s.output[d].saturating_sub(1) * 2;
            let positions = s.padding[d] < s.kernel[d] && last < s.input[d] + s.padding[d];
            let taps = last >= s.padding[d] && s.kernel[d] <= s.input[d] + s.padding[d];
            s.output[d] > 0 && positions && taps
        };
        if !flat || s.stride[1..] != [2, 2] || s.dilation[1..] != [1, 1] || !sees(1) || !sees(2) {
            return None;
        }
        let taps = form.taps();
        let grid = [s.output[1], s.output[2]];
        let plan = Plan {
            form: Forms::both(form),
            taps: [taps; 2],
            size: grid.map(|n| n + taps - 1),
            start: [0, 0],
            grid,
        };
        let (channels, rows) = (s.c_in / s.groups(), s.c_out / s.groups());
        let tiles = plan.tiles().iter().product::<usize>() * 4 * plan.form.points();
        let products = grid.iter().product::<usize>() * s.kernel[1] * s.kernel[2];
        let least = if form == Form::Two { LEAST_OF_TWO } else { LEAST_PLANES };
        let takes = size_of::<T>() == 4
            && src[4] == 1
            && dst[4] == 1
            && dst[1] >= 0
            && 4 * channels >= least
            && rows >= LEAST
            && 5 * tiles <= 3 * products
            && s.n * (products - tiles) >= 6 * 4 * plan.form.values();
        // Whole vectors of any instruction set: the number of images at a time must not depend on it.
        let row = plan.size[1].next_multiple_of(16);
        takes.then_some(Phases {
            plan,
            taps,
            line: 4 * s.c_in * row,
            row,
        })
    }

    /// The pass, for weights that are contiguous.
    ///
    /// # Safety
    /// [`Phases::of`] said yes to these strides; all addresses that the arguments describe are live; `bias` is null or has
    /// one element per output channel; `kernels` fit the CPU.
    pub(in crate::conv) unsafe fn convolve<T>(
        self,
        kernels: &'static Kernels<T>,
        s: &ConvShape,
        weights: *const T,
        images: Images<T>,
        bias: *const T,
    ) where
        T: Copy + Default + HasKernels + Send + Sync,
    {
        let (groups, rows) = (s.groups(), s.c_out / s.groups());
        let channels = 4 * s.c_in / groups;
        let size = s.c_out * channels * self.taps * self.taps;
        if self.across(s) {
            let mut filters = vec![T::default(); size];
            // SAFETY: the caller's promise, and there is room for all.
            return unsafe {
                self.filters(s, weights, filters.as_mut_ptr());
                self.convolve_across(kernels, s, &filters, images, bias)
            };
        }
        let (image, some) = self.images::<T>(s, some());
        with_shared(|space| {
            // Planes begin at a line, and have the slack behind them.
            let filters = space.reserve::<T>(size.next_multiple_of(16) + some * image);
            let planes = filters.wrapping_add(size.next_multiple_of(16));
            // SAFETY: the caller's promise, and there is room for all.
            unsafe { self.filters(s, weights, filters) };
            for first in (0..s.n).step_by(some) {
                let count = some.min(s.n - first);
                // SAFETY: the caller's promise; the buffer holds so many images' planes.
                unsafe {
                    self.split(kernels, s, (images.src, images.src_strides), first, count, planes);
                    convolve(
                        kernels,
                        self.plan,
                        Filters::new(&self.plan, filters, [groups, rows, channels], false),
                        Images {
                            count,
                            src: planes,
                            src_strides: self.strides(),
                            dst: images.dst.wrapping_offset(first as isize * images.dst_strides[0]),
                            dst_strides: images.dst_strides,
                            zeros: None,
                            finish: None,
                        },
                        bias,
                    );
                }
            }
        });
    }

    /// The weights' gradient, written to `out` as if contiguous; `parts` as the plain sum would have, for all images.
    ///
    /// # Safety
    /// [`Phases::of`] said yes to these strides; all addresses that the arguments describe are live; `kernels` fit the CPU;
    /// `out` has the weights' size.
    pub(in crate::conv) unsafe fn gradient<T>(
        self,
        kernels: &'static Kernels<T>,
        s: &ConvShape,
        problem: &Problem<T>,
        out: &mut [T],
    ) where
        T: Copy + Default + HasKernels + Send + Sync + Add<Output = T>,
    {
        let size = out.len() / (s.kernel[1] * s.kernel[2]) * 4 * self.taps * self.taps;
        // What there is to do for each batch of images is not to be more than for the images.
        let (image, some) = self.images::<T>(s, some().max(2 * size * size_of::<T>()));
        out.fill(T::default());
        with_shared(|space| {
            // Planes begin at a line, and have the slack behind them.
            let sum = space.reserve::<T>(size.next_multiple_of(16) + some * image);
            let planes = sum.wrapping_add(size.next_multiple_of(16));
            for first in (0..s.n).step_by(some) {
                let count = some.min(s.n - first);
                // SAFETY: the caller's promise; the buffer holds the sums, and behind them so many images' planes.
                unsafe {
                    self.split(kernels, s, (problem.x, problem.x_strides), first, count, planes);
                    let problem = Problem {
                        count,
                        channels: 4 * problem.channels,
                        x: planes,
                        x_strides: self.strides(),
                        gy: problem.gy.wrapping_offset(first as isize * problem.gy_strides[0]),
                        ..*problem
                    };
                    let sum = std::slice::from_raw_parts_mut(sum, size);
                    sums(kernels, &self.plan, &problem, 1, sum);
                    self.add(s, sum, out);
                }
            }
        });
    }

    /// Elements of an image's planes, and images at a time: about so many bytes.
    fn images<T>(self, s: &ConvShape, bytes: usize) -> (usize, usize) {
        let image = self.plan.size[0] * self.line;
        (image, (bytes / (image * size_of::<T>())).clamp(1, s.n.max(1)))
    }

    /// Strides of the planes.
    fn strides(self) -> [isize; 5] {
        let image = self.plan.size[0] * self.line;
        [image as isize, self.row as isize, 0, self.line as isize, 1]
    }

    /// Filters of the planes, to `all`.
    ///
    /// # Safety
    /// `weights` has all of the convolution's, `all` room for as many with their phases.
    unsafe fn filters<T: Copy + Default + Sync>(self, s: &ConvShape, weights: *const T, all: *mut T) {
        struct Shared<T>(*const T, *mut T);
        // SAFETY: plain data; tasks write disjoint filters.
        unsafe impl<T: Sync> Sync for Shared<T> {}
        let ([_, high, wide], filter) = (s.kernel, 4 * self.taps * self.taps);
        let shared = Shared(weights, all);
        parallel::for_range(s.c_out * s.c_in / s.groups(), FILTERS / filter, |tasks| {
            let shared = &shared;
            let (from, to) = (tasks.start * high * wide, tasks.start * filter);
            // SAFETY: the caller's promise; the tasks' filters are next to each other.
            let (from, to) = unsafe {
                (
                    std::slice::from_raw_parts(shared.0.wrapping_add(from), tasks.len() * high * wide),
                    std::slice::from_raw_parts_mut(shared.1.wrapping_add(to), tasks.len() * filter),
                )
            };
            with_sizes!([high, wide], sizes => for (from, to) in
                from.chunks_exact(sizes[0] * sizes[1]).zip(to.chunks_exact_mut(of_phases(sizes)))
            {
                take_apart(sizes, from, to);
            });
        });
    }

    /// Adds sums of the phases' taps to those of the weights' gradient.
    fn add<T: Copy + Sync + Send + Add<Output = T>>(self, s: &ConvShape, sum: &[T], out: &mut [T]) {
        struct Shared<T>(*mut T);
        // SAFETY: plain data; tasks write disjoint filters.
        unsafe impl<T: Send> Sync for Shared<T> {}
        let ([_, high, wide], filter) = (s.kernel, 4 * self.taps * self.taps);
        let (count, shared) = (out.len() / (high * wide), Shared(out.as_mut_ptr()));
        parallel::for_range(count, FILTERS / filter, |tasks| {
            let shared = &shared;
            let from = &sum[tasks.start * filter..tasks.end * filter];
            let to = shared.0.wrapping_add(tasks.start * high * wide);
            // SAFETY: `out` has `count` filters; the tasks' are next to each other.
            let to = unsafe { std::slice::from_raw_parts_mut(to, tasks.len() * high * wide) };
            with_sizes!([high, wide], sizes => for (from, to) in
                from.chunks_exact(of_phases(sizes)).zip(to.chunks_exact_mut(sizes[0] * sizes[1]))
            {
                add_together(sizes, from, to);
            });
        });
    }

    /// Planes of some images, as `[image][line][channel][phase][column]`: element (t, u) of phase (i, j) is that in line
    /// 2 t + i and column 2 u + j, counted from the padding's first.
    ///
    /// # Safety
    /// The images from `first` on lie in live memory; `planes` has room for `count`.
    unsafe fn split<T: Copy + Default + HasKernels + Send + Sync>(
        self,
        kernels: &'static Kernels<T>,
        s: &ConvShape,
        (src, strides): (*const T, [isize; 5]),
        first: usize,
        count: usize,
        planes: *mut T,
    ) {
        struct Shared<T>(*const T, *mut T);
        // SAFETY: plain data; tasks write disjoint lines.
        unsafe impl<T: Sync> Sync for Shared<T> {}
        let [image, channel, _, line, _] = strides;
        let (lines, back) = (self.plan.size[0], [1, 2].map(|d| s.padding[d] as isize));
        let known = s.padding[2].min(2 * self.row)..(s.padding[2] + s.input[2]).min(2 * self.row);
        let src = src.wrapping_offset(first as isize * image - back[0] * line - back[1]);
        let shared = Shared(src, planes);
        let copy = |at: usize, some: Range<usize>| {
            let shared = &shared;
            for (c, i) in (0..s.c_in).flat_map(|c| [(c, 0), (c, 1)]) {
                let inside = |from: usize| {
                    (s.padding[1] + from)
                        .saturating_sub(i)
                        .div_ceil(2)
                        .clamp(some.start, some.end)
                };
                let inside = inside(0)..inside(s.input[1]);
                for (part, known) in [
                    (some.start..inside.start, 0..0),
                    (inside.clone(), known.clone()),
                    (inside.end..some.end, 0..0),
                ] {
                    let args = LineArgs {
                        src: shared.0.wrapping_offset(
                            at as isize * image + c as isize * channel + (2 * part.start + i) as isize * line,
                        ),
                        stride: 1,
                        lines: part.len(),
                        line_stride: 2 * line,
                        known,
                        phases: 2,
                        phase: self.row,
                        apart: self.row,
                        dst: shared
                            .1
                            .wrapping_add((at * lines + part.start) * self.line + (2 * c + i) * 2 * self.row),
                        dst_line: self.line,
                        again: [Again::ONCE; 2],
                    };
                    // SAFETY: the caller's promise; only lines and columns of the image are read, and whole vectors of
                    // one plane's line written.
                    unsafe { (kernels.copy_lines)(&args) };
                }
            }
        };
        // Threads copy what they will read.
        parallel::for_range(count * lines, (16_384 / self.line).max(1), |tasks| {
            let mut from = tasks.start;
            while from < tasks.end {
                let (at, top) = (from / lines, from % lines);
                let some = top..lines.min(top + tasks.end - from);
                from += some.len();
                copy(at, some);
            }
        });
    }
}
