//! Max pooling: values and their places, and the gradient that goes back to those places.

use super::{PoolShape, Strides, Window, adaptive_windows, each_plane, row, zero_plane};
use crate::dtype::Element;
use crate::view::{Dst, Src};
use std::ops::Add;

/// Element types that can be compared: f32, f64, i64.
pub trait MaxElement: Element + PartialOrd {
    /// Smaller than or equal to everything: what the padding holds.
    const LEAST: Self;
    /// `self` takes the place of `best`: it is larger, or not a number.
    #[inline(always)]
    fn replaces(self, best: Self) -> bool {
        #[allow(clippy::eq_op, reason = "only NaN differs from itself")]
        let nan = self != self;
        self > best || nan
    }
}
impl MaxElement for f32 {
    const LEAST: f32 = f32::NEG_INFINITY;
}
impl MaxElement for f64 {
    const LEAST: f64 = f64::NEG_INFINITY;
}
impl MaxElement for i64 {
    const LEAST: i64 = i64::MIN;
}

/// Largest element of each window and its flat index in the input plane (d, h, w). The first of equals wins; NaN wins
/// over numbers; the padding counts as minus infinity.
pub fn max_pool<T: MaxElement>(s: &PoolShape, x: Src<T>, y: Dst<T>, indices: Dst<i64>) {
    let two = s.kernel == [1, 2, 2] && s.stride == [1, 2, 2] && s.padding == [0; 3] && s.dilation == [1; 3];
    let whole = (3..5).all(|d| 2 * y.shape()[d] <= x.shape()[d]);
    if two && whole && [x.strides()[4], y.strides()[4], indices.strides()[4]] == [1; 3] {
        return max_pool_two(x, y, indices);
    }
    max_windows(&s.all_windows(x.shape(), y.shape()), Some(s), x, y, indices);
}

/// [`max_pool`] with windows that share the input out evenly over the output.
pub fn adaptive_max_pool<T: MaxElement>(x: Src<T>, y: Dst<T>, indices: Dst<i64>) {
    if y.numel() > 0 {
        max_windows(&adaptive_windows(x.shape(), y.shape()), None, x, y, indices);
    }
}

fn max_windows<T: MaxElement>(
    windows: &[Vec<Window>; 3],
    s: Option<&PoolShape>,
    x: Src<T>,
    y: Dst<T>,
    indices: Dst<i64>,
) {
    let (xs, ys, is) = (
        Strides::new(x.strides()),
        Strides::new(y.strides()),
        Strides::new(indices.strides()),
    );
    let (channels, [height, width]) = (y.shape()[1], [x.shape()[3], x.shape()[4]]);
    let most = |w: &Vec<Window>| w.iter().map(|w| w.len).max().unwrap_or(0) * w.len();
    let dense = [xs.0[4], ys.0[4], is.0[4]] == [1; 3];
    let small = x.shape()[2] * height * width < i32::MAX as usize;
    let kernel = s.filter(|_| dense && small);
    // Output positions of a row that are done together.
    let strip = kernel.map_or(0..0, |s| row::whole(&windows[2], s));
    each_plane(y.shape(), windows.iter().map(most).product(), |plane| {
        let src = x.ptr().wrapping_offset(xs.plane(plane, channels));
        let dst = y.ptr().wrapping_offset(ys.plane(plane, channels));
        let places = indices.ptr().wrapping_offset(is.plane(plane, channels));
        let mut taps = Vec::new();
        for (od, wd) in windows[0].iter().enumerate() {
            for (oh, wh) in windows[1].iter().enumerate() {
                let rows = || {
                    let depths = (0..wd.len).map(|i| wd.start + i * wd.step);
                    depths.flat_map(|d| (0..wh.len).map(move |i| (d, wh.start + i * wh.step)))
                };
                if let Some(s) = kernel
                    && !strip.is_empty()
                    && wd.len * wh.len > 0
                {
                    let start = windows[2][strip.start].start;
                    taps.clear();
                    taps.extend(rows().map(|(d, h)| {
                        (
                            src.wrapping_offset(xs.at(d, h, start)),
                            ((d * height + h) * width + start) as i32,
                        )
                    }));
                    let row = row::Row {
                        taps: &taps,
                        kernel: s.kernel[2],
                        dilation: s.dilation[2],
                        stride: s.stride[2],
                    };
                    // SAFETY: the output's row holds the strip, and no other thread writes this plane.
                    let (y, places) = unsafe {
                        let y = dst.wrapping_offset(ys.at(od, oh, strip.start));
                        let places = places.wrapping_offset(is.at(od, oh, strip.start));
                        (
                            std::slice::from_raw_parts_mut(y, strip.len()),
                            std::slice::from_raw_parts_mut(places, strip.len()),
                        )
                    };
                    row::max_row(&row, 0, y, places);
                }
                for (ow, ww) in windows[2].iter().enumerate() {
                    if strip.contains(&ow) && wd.len * wh.len > 0 {
                        continue;
                    }
                    let mut best = T::LEAST;
                    let mut place = (wd.start * height + wh.start) * width + ww.start;
                    for (d, h) in rows() {
                        let row = src.wrapping_offset(xs.at(d, h, 0));
                        for w in (0..ww.len).map(|i| ww.start + i * ww.step) {
                            // SAFETY: windows hold indices inside the input.
                            let v = unsafe { *row.wrapping_offset(w as isize * xs.0[4]) };
                            if v.replaces(best) {
                                (best, place) = (v, (d * height + h) * width + w);
                            }
                        }
                    }
                    // SAFETY: inside the output; planes are disjoint.
                    unsafe {
                        *dst.wrapping_offset(ys.at(od, oh, ow)) = best;
                        *places.wrapping_offset(is.at(od, oh, ow)) = place as i64;
                    }
                }
            }
        }
    });
}

/// The common case: two by two, side by side.
fn max_pool_two<T: MaxElement>(x: Src<T>, y: Dst<T>, indices: Dst<i64>) {
    let (xs, ys, is) = (
        Strides::new(x.strides()),
        Strides::new(y.strides()),
        Strides::new(indices.strides()),
    );
    let (channels, [height, width]) = (y.shape()[1], [x.shape()[3], x.shape()[4]]);
    let [depth, rows, cols] = [y.shape()[2], y.shape()[3], y.shape()[4]];
    if cols == 0 {
        return;
    }
    each_plane(y.shape(), depth * rows * cols * 2, |plane| {
        for (d, h) in (0..depth * rows).map(|i| (i / rows, i % rows)) {
            let row = |h: usize| x.ptr().wrapping_offset(xs.plane(plane, channels) + xs.at(d, h, 0));
            let dst = y.ptr().wrapping_offset(ys.plane(plane, channels) + ys.at(d, h, 0));
            let places = indices
                .ptr()
                .wrapping_offset(is.plane(plane, channels) + is.at(d, h, 0));
            // SAFETY: rows 2h and 2h + 1 have at least 2 * cols contiguous elements; output rows have `cols`.
            unsafe {
                let upper = std::slice::from_raw_parts(row(2 * h), 2 * cols);
                let lower = std::slice::from_raw_parts(row(2 * h + 1), 2 * cols);
                let (dst, places) = (
                    std::slice::from_raw_parts_mut(dst, cols),
                    std::slice::from_raw_parts_mut(places, cols),
                );
                row_of_two(
                    upper,
                    lower,
                    dst,
                    places,
                    ((d * height + 2 * h) * width) as i64,
                    width as i64,
                );
            }
        }
    });
}

crate::multiversion! {
    fn row_of_two<T: MaxElement>(
        upper: &[T], lower: &[T], dst: &mut [T], places: &mut [i64], first: i64, width: i64,
    ) {
        let pairs = upper.chunks_exact(2).zip(lower.chunks_exact(2));
        for (((u, l), (y, place)), j) in pairs.zip(dst.iter_mut().zip(places)).zip(0i64..) {
            let (mut best, mut at) = (T::LEAST, 0);
            for (v, offset) in [(u[0], 0), (u[1], 1), (l[0], width), (l[1], width + 1)] {
                let replaces = v.replaces(best);
                best = if replaces { v } else { best };
                at = if replaces { offset } else { at };
            }
            *y = best;
            *place = first + 2 * j + at;
        }
    }
}

/// Gradient of max pooling, adaptive or not: each output's gradient goes to the place its maximum came from. Indices
/// outside the plane are ignored.
pub fn max_pool_backward<T: MaxElement + Add<Output = T>>(gy: Src<T>, indices: Src<i64>, gx: Dst<T>) {
    if gx.numel() == 0 {
        return;
    }
    let (gs, is, xs) = (
        Strides::new(gy.strides()),
        Strides::new(indices.strides()),
        Strides::new(gx.strides()),
    );
    let (channels, [depth, height, width]) = (gx.shape()[1], [gx.shape()[2], gx.shape()[3], gx.shape()[4]]);
    let [od, oh, ow] = [gy.shape()[2], gy.shape()[3], gy.shape()[4]];
    let size = depth * height * width;
    let flat = xs.dense([depth, height, width]) && [gs.0[4], is.0[4]] == [1; 2] && ow > 0;
    each_plane(gx.shape(), size + 2 * od * oh * ow, |plane| {
        let dst = gx.ptr().wrapping_offset(xs.plane(plane, channels));
        let src = gy.ptr().wrapping_offset(gs.plane(plane, channels));
        let places = indices.ptr().wrapping_offset(is.plane(plane, channels));
        // SAFETY: inside the views; planes are disjoint.
        unsafe {
            zero_plane(dst, xs, [depth, height, width]);
            for (d, h) in (0..od * oh).map(|i| (i / oh, i % oh)) {
                let (places, src) = (
                    places.wrapping_offset(is.at(d, h, 0)),
                    src.wrapping_offset(gs.at(d, h, 0)),
                );
                if flat {
                    let dst = std::slice::from_raw_parts_mut(dst, size);
                    let (places, src) = (
                        std::slice::from_raw_parts(places, ow),
                        std::slice::from_raw_parts(src, ow),
                    );
                    for (place, g) in places.iter().zip(src) {
                        if let Some(to) = dst.get_mut(*place as usize) {
                            *to = *to + *g;
                        }
                    }
                    continue;
                }
                for w in 0..ow as isize {
                    let place = *places.wrapping_offset(w * is.0[4]) as usize;
                    if place < size {
                        let (d, h, x) = (place / (height * width), place / width % height, place % width);
                        let to = dst.wrapping_offset(xs.at(d, h, x));
                        *to = *to + *src.wrapping_offset(w * gs.0[4]);
                    }
                }
            }
        }
    });
}
