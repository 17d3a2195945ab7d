//! Average pooling. Sums are taken in f64, so that large windows lose nothing.

use super::{PoolShape, Strides, Window, adaptive_windows, each_plane, zero_plane};
use crate::dtype::Element;
use crate::view::{Dst, Src};
use std::ops::Add;

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
    let windows = PoolShape { dilation: [1; 3], ..*s }.all_windows(x.shape(), y.shape());
    forward(&windows, Divisor::new(count_include_pad, divisor_override), x, y);
}

/// Gradient of [`avg_pool`].
pub fn avg_pool_backward<T: Element + Add<Output = T>>(
    s: &PoolShape,
    gy: Src<T>,
    gx: Dst<T>,
    count_include_pad: bool,
    divisor_override: Option<i64>,
) {
    let windows = PoolShape { dilation: [1; 3], ..*s }.all_windows(gx.shape(), gy.shape());
    backward(&windows, Divisor::new(count_include_pad, divisor_override), gy, gx);
}

/// Average over windows that share the input out evenly over the output.
pub fn adaptive_avg_pool<T: Element>(x: Src<T>, y: Dst<T>) {
    if y.numel() > 0 {
        forward(&adaptive_windows(x.shape(), y.shape()), Divisor::Inside, x, y);
    }
}

/// Gradient of [`adaptive_avg_pool`].
pub fn adaptive_avg_pool_backward<T: Element + Add<Output = T>>(gy: Src<T>, gx: Dst<T>) {
    backward(&adaptive_windows(gx.shape(), gy.shape()), Divisor::Inside, gy, gx);
}

fn work(windows: &[Vec<Window>; 3]) -> usize {
    windows.iter().map(|w| w.iter().map(|w| w.len).sum::<usize>()).product()
}

fn forward<T: Element>(windows: &[Vec<Window>; 3], divisor: Divisor, x: Src<T>, y: Dst<T>) {
    let (xs, ys) = (Strides::new(x.strides()), Strides::new(y.strides()));
    let channels = y.shape()[1];
    each_plane(y.shape(), work(windows), |plane| {
        let src = x.ptr().wrapping_offset(xs.plane(plane, channels));
        let dst = y.ptr().wrapping_offset(ys.plane(plane, channels));
        for (od, wd) in windows[0].iter().enumerate() {
            for (oh, wh) in windows[1].iter().enumerate() {
                for (ow, ww) in windows[2].iter().enumerate() {
                    let mut sum = 0.0;
                    for d in wd.start..wd.start + wd.len {
                        for h in wh.start..wh.start + wh.len {
                            let row = src.wrapping_offset(xs.at(d, h, ww.start));
                            for w in 0..ww.len {
                                // SAFETY: windows hold indices inside the input.
                                sum += unsafe { *row.wrapping_offset(w as isize * xs.0[4]) }.to_f64();
                            }
                        }
                    }
                    let empty = wd.len * wh.len * ww.len == 0;
                    let mean = if empty { 0.0 } else { sum / divisor.of([wd, wh, ww]) };
                    // SAFETY: inside the output; planes are disjoint.
                    unsafe { *dst.wrapping_offset(ys.at(od, oh, ow)) = T::from_f64(mean) };
                }
            }
        }
    });
}

fn backward<T: Element + Add<Output = T>>(windows: &[Vec<Window>; 3], divisor: Divisor, gy: Src<T>, gx: Dst<T>) {
    if gx.numel() == 0 {
        return;
    }
    let (xs, gs) = (Strides::new(gx.strides()), Strides::new(gy.strides()));
    let (channels, [depth, height, width]) = (gx.shape()[1], [gx.shape()[2], gx.shape()[3], gx.shape()[4]]);
    each_plane(gx.shape(), depth * height * width + work(windows), |plane| {
        let dst = gx.ptr().wrapping_offset(xs.plane(plane, channels));
        let src = gy.ptr().wrapping_offset(gs.plane(plane, channels));
        // SAFETY: inside the output; planes are disjoint.
        unsafe { zero_plane(dst, xs, [depth, height, width]) };
        for (od, wd) in windows[0].iter().enumerate() {
            for (oh, wh) in windows[1].iter().enumerate() {
                for (ow, ww) in windows[2].iter().enumerate() {
                    // SAFETY: inside the views.
                    let g = unsafe { *src.wrapping_offset(gs.at(od, oh, ow)) }.to_f64();
                    let share = T::from_f64(g / divisor.of([wd, wh, ww]));
                    for d in wd.start..wd.start + wd.len {
                        for h in wh.start..wh.start + wh.len {
                            let row = dst.wrapping_offset(xs.at(d, h, 0));
                            for w in ww.start..ww.start + ww.len {
                                let to = row.wrapping_offset(w as isize * xs.0[4]);
                                // SAFETY: windows hold indices inside the input.
                                unsafe { *to = *to + share };
                            }
                        }
                    }
                }
            }
        }
    });
}
