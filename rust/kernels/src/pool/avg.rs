//! Average pooling. Sums are taken in f64, so that large windows lose nothing: of each line's taps, then of the lines, which
//! windows above each other can share.

use super::block::Row;
use super::channels::{each_place, means, side_by_side};
use super::wide::{self, Together, Wide};
use super::{PoolShape, Strides, Window, adaptive_windows, each_plane, row, zero_plane};
use crate::dtype::{DType, Element};
use crate::parallel;
use crate::reduce::walk::Share;
use crate::view::{Dst, Src};
use std::ops::Add;

/// Outputs of a row for which planes are taken together: so few do not fill vectors.
const FEW: usize = 8;

/// A sum by a count. Float32's goes by the count's inverse, which in float64 makes no difference but in double roundings.
#[inline(always)]
pub(super) fn quotient<T: Element>(sum: f64, count: f64) -> T {
    T::from_f64(if T::DTYPE == DType::F32 {
        sum * (1.0 / count)
    } else {
        sum / count
    })
}

/// How a sum becomes an average.
#[derive(Clone, Copy)]
enum Divisor {
    /// By the elements inside the input.
    Inside,
    /// By the elements inside the padded input.
    Padded,
    Given(f64),
}

impl Divisor {
    fn new(count_include_pad: bool, divisor_override: Option<i64>) -> Self {
        match divisor_override {
            Some(v) => Divisor::Given(v as f64),
            None if count_include_pad => Divisor::Padded,
            None => Divisor::Inside,
        }
    }

    #[inline(always)]
    fn of(self, windows: [&Window; 3]) -> f64 {
        match self {
            Divisor::Inside => windows.iter().map(|w| w.len).product::<usize>() as f64,
            Divisor::Padded => windows.iter().map(|w| w.full).product::<usize>() as f64,
            Divisor::Given(v) => v,
        }
    }
}

/// Average of each window. As in PyTorch the padding counts when `count_include_pad` says so (what a rounded-up last
/// window has beyond the padding never does), and `divisor_override` replaces the count.
pub fn avg_pool<T: Element>(
    s: &PoolShape,
    x: Src<T>,
    y: Dst<T>,
    count_include_pad: bool,
    divisor_override: Option<i64>,
) {
    let s = PoolShape { dilation: [1; 3], ..*s };
    let windows = s.all_windows(x.shape(), y.shape());
    forward(
        &windows,
        Some(&s),
        Divisor::new(count_include_pad, divisor_override),
        x,
        y,
    );
}

/// Gradient of [`avg_pool`].
pub fn avg_pool_backward<T: Element + Add<Output = T>>(
    s: &PoolShape,
    gy: Src<T>,
    gx: Dst<T>,
    count_include_pad: bool,
    divisor_override: Option<i64>,
) {
    let s = PoolShape { dilation: [1; 3], ..*s };
    let windows = s.all_windows(gx.shape(), gy.shape());
    backward(
        &windows,
        Some(&s),
        Divisor::new(count_include_pad, divisor_override),
        gy,
        gx,
    );
}

/// Average over windows that share the input out evenly over the output.
pub fn adaptive_avg_pool<T: Element>(x: Src<T>, y: Dst<T>) {
    if y.numel() > 0 {
        forward(&adaptive_windows(x.shape(), y.shape()), None, Divisor::Inside, x, y);
    }
}

/// Gradient of [`adaptive_avg_pool`].
pub fn adaptive_avg_pool_backward<T: Element + Add<Output = T>>(gy: Src<T>, gx: Dst<T>) {
    backward(&adaptive_windows(gx.shape(), gy.shape()), None, Divisor::Inside, gy, gx);
}

/// The inverse of each window's count, by rows of windows with equal ones; 0 for windows without an element.
pub(super) struct Inverses {
    /// For each (d, h) the row's number.
    row: Vec<usize>,
    rows: Vec<Vec<f64>>,
}

impl Inverses {
    fn new(windows: &[Vec<Window>; 3], divisor: Divisor) -> Self {
        let (mut keys, mut row, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        for (wd, wh) in windows[0].iter().flat_map(|d| windows[1].iter().map(move |h| (d, h))) {
            let key = (wd.len * wh.len, wd.full * wh.full);
            let known = keys.iter().position(|k| *k == key);
            row.push(known.unwrap_or(keys.len()));
            if known.is_none() {
                keys.push(key);
                let inverse = |ww: &Window| match key.0 * ww.len {
                    0 => 0.0,
                    _ => 1.0 / divisor.of([wd, wh, ww]),
                };
                let mut all: Vec<f64> = windows[2].iter().map(inverse).collect();
                all.resize(all.len().next_multiple_of(16), 0.0);
                rows.push(all);
            }
        }
        Self { row, rows }
    }

    /// Those of the `i`-th row of windows, padded to whole vectors.
    #[inline(always)]
    pub fn of(&self, i: usize) -> &[f64] {
        &self.rows[self.row[i]]
    }
}

fn work(windows: &[Vec<Window>; 3]) -> usize {
    windows.iter().map(|w| w.iter().map(|w| w.len).sum::<usize>()).product()
}

fn forward<T: Element>(windows: &[Vec<Window>; 3], s: Option<&PoolShape>, divisor: Divisor, x: Src<T>, y: Dst<T>) {
    let (xs, ys) = (Strides::new(x.strides()), Strides::new(y.strides()));
    let channels = y.shape()[1];
    let [depth, height, width] = [x.shape()[2], x.shape()[3], x.shape()[4]];
    // One window that is the whole dense plane: its sum has an order of its own.
    let global = y.shape()[2..] == [1; 3]
        && xs.dense([depth, height, width])
        && windows[0][0].len * windows[1][0].len * windows[2][0].len == depth * height * width;
    if T::DTYPE == DType::F32 && y.is_contiguous() {
        let size = depth * height * width;
        if let Some(means) = wide::means()
            && global
            && x.is_contiguous()
            && size > 0
        {
            let inverse = 1.0 / divisor.of([&windows[0][0], &windows[1][0], &windows[2][0]]);
            return parallel::for_range(y.numel(), (32_768 / size).max(1), |range| {
                // SAFETY: f32; planes of one tensor after another.
                unsafe {
                    let (from, to) = (x.ptr().add(range.start * size), y.ptr().add(range.start));
                    means(from.cast(), size, inverse, to.cast(), range.len());
                }
            });
        }
        let planes = y.shape()[0] * channels;
        if !global
            && x.is_contiguous()
            && let Some(together) =
                Together::new(windows, s, FEW, [planes, work(windows)], [depth, height, width], false)
        {
            let (from, to) = (Share::new(x.ptr().cast_mut().cast()), Share::new(y.ptr().cast()));
            // SAFETY: f32; dense planes.
            return unsafe { together.mean(planes, from, &Inverses::new(windows, divisor), to) };
        }
        if let Some(wide) = s.and_then(|s| Wide::new(windows, s, xs, [depth, height, width])) {
            let inverses = Inverses::new(windows, divisor);
            let size = y.shape()[2..].iter().product::<usize>();
            return each_plane(y.shape(), work(windows), |plane| {
                let src = x.ptr().wrapping_offset(xs.plane(plane, channels));
                // SAFETY: f32; planes are disjoint.
                unsafe { wide.mean(src.cast(), &inverses, y.ptr().add(plane * size).cast()) };
            });
        }
    }
    if !global && side_by_side(&x, &y) {
        return each_place(windows, x, y, |window, place, to| {
            means(place, divisor.of(window), to, channels)
        });
    }
    let kernel = s.filter(|_| [xs.0[4], ys.0[4]] == [1; 2]);
    let strip = kernel.map_or(0..0, |s| row::whole(&windows[2], s));
    each_plane(y.shape(), work(windows), |plane| {
        let src = x.ptr().wrapping_offset(xs.plane(plane, channels));
        let dst = y.ptr().wrapping_offset(ys.plane(plane, channels));
        if global {
            // SAFETY: a dense plane; its one output.
            unsafe {
                let sum = row::sum_run(std::slice::from_raw_parts(src, depth * height * width));
                *dst = quotient(sum, divisor.of([&windows[0][0], &windows[1][0], &windows[2][0]]));
            }
            return;
        }
        let mut taps = Vec::new();
        for (od, wd) in windows[0].iter().enumerate() {
            for (oh, wh) in windows[1].iter().enumerate() {
                if let Some(s) = kernel
                    && !strip.is_empty()
                    && wd.len * wh.len > 0
                {
                    let start = windows[2][strip.start].start;
                    taps.clear();
                    for d in wd.start..wd.start + wd.len {
                        taps.extend(
                            (wh.start..wh.start + wh.len).map(|h| (src.wrapping_offset(xs.at(d, h, start)), 0)),
                        );
                    }
                    let row = Row {
                        taps: &taps,
                        kernel: s.kernel[2],
                        dilation: 1,
                        stride: s.stride[2],
                        end: 0,
                    };
                    let to = dst.wrapping_offset(ys.at(od, oh, strip.start));
                    // SAFETY: the output's row holds the strip, and no other thread writes this plane.
                    let to = unsafe { std::slice::from_raw_parts_mut(to, strip.len()) };
                    // Whole windows have one count between them.
                    row::mean_row(&row, divisor.of([wd, wh, &windows[2][strip.start]]), to);
                }
                for (ow, ww) in windows[2].iter().enumerate() {
                    if strip.contains(&ow) && wd.len * wh.len > 0 {
                        continue;
                    }
                    let mut sum = 0.0;
                    for d in wd.start..wd.start + wd.len {
                        for h in wh.start..wh.start + wh.len {
                            let row = src.wrapping_offset(xs.at(d, h, ww.start));
                            let mut line = 0.0;
                            for w in 0..ww.len {
                                // SAFETY: windows hold indices inside the input.
                                line += unsafe { *row.wrapping_offset(w as isize * xs.0[4]) }.to_f64();
                            }
                            sum += line;
                        }
                    }
                    let empty = wd.len * wh.len * ww.len == 0;
                    let mean = if empty {
                        T::from_f64(0.0)
                    } else {
                        quotient(sum, divisor.of([wd, wh, ww]))
                    };
                    // SAFETY: inside the output; planes are disjoint.
                    unsafe { *dst.wrapping_offset(ys.at(od, oh, ow)) = mean };
                }
            }
        }
    });
}

fn backward<T: Element + Add<Output = T>>(
    windows: &[Vec<Window>; 3],
    s: Option<&PoolShape>,
    divisor: Divisor,
    gy: Src<T>,
    gx: Dst<T>,
) {
    if gx.numel() == 0 {
        return;
    }
    let (xs, gs) = (Strides::new(gx.strides()), Strides::new(gy.strides()));
    let (channels, [depth, height, width]) = (gx.shape()[1], [gx.shape()[2], gx.shape()[3], gx.shape()[4]]);
    let size = depth * height * width;
    if windows.iter().all(|w| w.len() == 1 && w[0].step == 1)
        && windows[0][0].len * windows[1][0].len * windows[2][0].len == size
        && gx.is_contiguous()
    {
        let count = divisor.of([&windows[0][0], &windows[1][0], &windows[2][0]]);
        return each_plane(gx.shape(), size, |plane| {
            // SAFETY: inside the views; planes are disjoint.
            unsafe {
                let share = quotient((*gy.ptr().wrapping_offset(gs.plane(plane, channels))).to_f64(), count);
                std::slice::from_raw_parts_mut(gx.ptr().add(plane * size), size).fill(share);
            }
        });
    }
    let dense = T::DTYPE == DType::F32 && gx.is_contiguous() && gy.is_contiguous();
    let (planes, all) = (gx.shape()[0] * channels, size + work(windows));
    // Windows of two by two have a way of their own.
    let few = if s.is_some_and(|s| s.kernel == [1, 2, 2]) {
        FEW / 2
    } else {
        FEW
    };
    if dense && let Some(together) = Together::new(windows, s, few, [planes, all], [depth, height, width], true) {
        let (from, to) = (Share::new(gy.ptr().cast_mut().cast()), Share::new(gx.ptr().cast()));
        // SAFETY: f32; dense planes.
        return unsafe { together.mean_input(planes, from, &Inverses::new(windows, divisor), to) };
    }
    if dense
        && let Some(wide) = s.and_then(|s| Wide::new(windows, s, xs, [depth, height, width]))
        && wide.spreads()
    {
        let inverses = Inverses::new(windows, divisor);
        let outputs = gy.shape()[2..].iter().product::<usize>();
        return each_plane(gx.shape(), all, |plane| {
            // SAFETY: f32; planes are disjoint.
            unsafe {
                let g = gy.ptr().add(plane * outputs);
                wide.mean_input(g.cast(), &inverses, gx.ptr().add(plane * size).cast());
            }
        });
    }
    let kernel = s.filter(|_| [xs.0[4], gs.0[4]] == [1; 2]);
    let strip = kernel.map_or(0..0, |s| row::whole(&windows[2], s));
    let line_of: Vec<usize> = s.map_or(Vec::new(), |s| (0..s.kernel[2]).map(|tap| tap / s.stride[2]).collect());
    each_plane(gx.shape(), depth * height * width + work(windows), |plane| {
        let dst = gx.ptr().wrapping_offset(xs.plane(plane, channels));
        let src = gy.ptr().wrapping_offset(gs.plane(plane, channels));
        // SAFETY: inside the output; planes are disjoint.
        unsafe { zero_plane(dst, xs, [depth, height, width]) };
        let mut shares = vec![T::default(); windows[2].len()];
        let mut lines = vec![T::default(); line_of.last().map_or(0, |last| last + 1) * width];
        for (od, wd) in windows[0].iter().enumerate() {
            for (oh, wh) in windows[1].iter().enumerate() {
                if !strip.is_empty() {
                    let count = divisor.of([wd, wh, &windows[2][strip.start]]);
                    let from = src.wrapping_offset(gs.at(od, oh, strip.start));
                    // SAFETY: the gradient's row holds the strip.
                    let g = unsafe { std::slice::from_raw_parts(from, strip.len()) };
                    row::share_row(g, count, &mut shares[strip.clone()]);
                }
                for (ow, (share, ww)) in shares.iter_mut().zip(&windows[2]).enumerate() {
                    if strip.contains(&ow) {
                        continue;
                    }
                    // SAFETY: inside the views.
                    let g = unsafe { *src.wrapping_offset(gs.at(od, oh, ow)) }.to_f64();
                    *share = quotient(g, divisor.of([wd, wh, ww]));
                }
                if wd.len * wh.len == 0 {
                    continue;
                }
                // What these outputs give to each row of their windows, in lines in which windows do not overlap: an element
                // meets its outputs in their order, the line of the last taps first.
                if let Some(s) = s {
                    lines.fill(T::default());
                    for (ow, (share, ww)) in shares.iter().zip(&windows[2]).enumerate() {
                        for w in ww.start..ww.start + ww.len {
                            lines[line_of[w + s.padding[2] - ow * s.stride[2]] * width + w] = *share;
                        }
                    }
                }
                for d in wd.start..wd.start + wd.len {
                    for h in wh.start..wh.start + wh.len {
                        let row = dst.wrapping_offset(xs.at(d, h, 0));
                        // SAFETY: a row of the output; planes are disjoint.
                        unsafe {
                            if s.is_none() {
                                spread(row, xs.0[4], &windows[2], &shares);
                            } else if xs.0[4] == 1 {
                                let row = std::slice::from_raw_parts_mut(row, width);
                                lines.rchunks_exact(width).for_each(|line| row::add_row(row, line));
                            } else {
                                for (i, share) in lines.rchunks_exact(width).flat_map(|line| line.iter().enumerate()) {
                                    let to = row.wrapping_offset(i as isize * xs.0[4]);
                                    *to = *to + *share;
                                }
                            }
                        }
                    }
                }
            }
        }
    });
}

/// Adds each output's share to the elements of its window in one row.
///
/// # Safety
/// The windows lie inside the row, which starts at `row`.
unsafe fn spread<T: Element + Add<Output = T>>(row: *mut T, step: isize, windows: &[Window], shares: &[T]) {
    for (window, share) in windows.iter().zip(shares) {
        for w in window.start..window.start + window.len {
            let to = row.wrapping_offset(w as isize * step);
            // SAFETY: the caller's promise.
            unsafe { *to = *to + *share };
        }
    }
}
