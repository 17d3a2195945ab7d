//! Convolutions of integers, exact modulo 2^64: line by line, a tap at a time, on as many threads as there are planes.

use super::ConvShape;
use crate::parallel;
use crate::view::{Dst, Src};
use std::ops::Range;

/// Multiply-adds worth handing to a thread.
const GRAIN: usize = 1 << 16;

#[derive(Clone, Copy)]
struct Place {
    ptr: *mut i64,
    strides: [isize; 5],
}
// SAFETY: plain data; tasks write disjoint elements.
unsafe impl Sync for Place {}

impl Place {
    fn of(ptr: *const i64, strides: &[isize]) -> Place {
        let strides = std::array::from_fn(|d| strides[d]);
        let ptr = ptr.cast_mut();
        Place { ptr, strides }
    }

    fn at(&self, index: [usize; 5]) -> *mut i64 {
        let offset = index.iter().zip(self.strides).map(|(&i, s)| i as isize * s).sum();
        self.ptr.wrapping_offset(offset)
    }
}

/// Lines that meet at one tap: indices in depth and height of output and input, the output's columns, the input's first.
struct Meeting {
    tap: [usize; 3],
    output: [usize; 2],
    input: [usize; 2],
    cols: Range<usize>,
    first: usize,
}

/// Calls `f` for each tap and pair of lines that meet at it.
fn meetings(s: &ConvShape, mut f: impl FnMut(&Meeting)) {
    // Outputs that a tap joins to an index inside the image; `o * stride + shift` is that index.
    let range = |d: usize, k: usize| {
        let (stride, shift) = (s.stride[d].max(1), (k * s.dilation[d]) as isize - s.padding[d] as isize);
        let from = ((-shift).max(0) as usize).div_ceil(stride);
        let to = ((s.input[d] as isize - shift).max(0) as usize).div_ceil(stride);
        (from..to.min(s.output[d]).max(from), stride as isize, shift)
    };
    let each = |d: usize| (0..s.kernel[d]).map(move |k| (k, range(d, k)));
    for (kd, (depths, sd, fd)) in each(0) {
        for (kh, (heights, sh, fh)) in each(1) {
            for (kw, (cols, sw, fw)) in each(2) {
                if cols.is_empty() {
                    continue;
                }
                for (d, h) in depths.clone().flat_map(|d| heights.clone().map(move |h| (d, h))) {
                    f(&Meeting {
                        tap: [kd, kh, kw],
                        output: [d, h],
                        input: [(d as isize * sd + fd) as usize, (h as isize * sh + fh) as usize],
                        cols: cols.clone(),
                        first: (cols.start as isize * sw + fw) as usize,
                    });
                }
            }
        }
    }
}

/// Multiply-adds of one pair of channels.
fn work(s: &ConvShape) -> usize {
    (s.output.iter().product::<usize>() * s.taps()).max(1)
}

/// The pointers to a meeting's first elements in output and input, and what lies between neighbours.
fn lines(s: &ConvShape, m: &Meeting, y: &Place, x: &Place, [n, out, channel]: [usize; 3]) -> [(*mut i64, isize); 2] {
    [
        (y.at([n, out, m.output[0], m.output[1], m.cols.start]), y.strides[4]),
        (
            x.at([n, channel, m.input[0], m.input[1], m.first]),
            x.strides[4] * s.stride[2] as isize,
        ),
    ]
}

/// # Safety
/// `len` elements of both lines, which do not overlap, lie in live memory.
unsafe fn add_line(to: (*mut i64, isize), from: (*mut i64, isize), by: i64, len: usize) {
    for i in 0..len as isize {
        let (to, from) = (to.0.wrapping_offset(i * to.1), from.0.wrapping_offset(i * from.1));
        // SAFETY: the caller's promise.
        unsafe { *to = (*to).wrapping_add(by.wrapping_mul(*from)) };
    }
}

/// # Safety
/// The plane lies in live memory.
unsafe fn fill(place: &Place, n: usize, channel: usize, size: [usize; 3], value: i64) {
    for i in 0..size.iter().product() {
        let [d, h, w] = [i / (size[1] * size[2]), i / size[2] % size[1], i % size[2]];
        // SAFETY: the caller's promise.
        unsafe { *place.at([n, channel, d, h, w]) = value };
    }
}

pub(super) fn forward(s: &ConvShape, x: Src<i64>, w: Src<i64>, bias: Option<Src<i64>>, y: Dst<i64>) {
    if y.numel() == 0 {
        return;
    }
    let (rows, channels) = (s.c_out / s.groups(), s.c_in / s.groups());
    let bias: Option<Vec<i64>> = bias.map(|b| {
        let at = |i: isize| b.ptr().wrapping_offset(i * b.strides()[0]);
        // SAFETY: the view has an element for each output channel.
        (0..s.c_out as isize).map(|i| unsafe { *at(i) }).collect()
    });
    let (x, w, y) = (
        Place::of(x.ptr(), x.strides()),
        Place::of(w.ptr(), w.strides()),
        Place::of(y.ptr(), y.strides()),
    );
    parallel::for_range(s.n * s.c_out, GRAIN / (channels * work(s)).max(1), |planes| {
        let (x, w, y) = (&x, &w, &y);
        for (n, out) in planes.map(|i| (i / s.c_out, i % s.c_out)) {
            // SAFETY: the views span what `s` says; each plane has one task.
            unsafe {
                fill(y, n, out, s.output, bias.as_ref().map_or(0, |b| b[out]));
                for c in 0..channels {
                    meetings(s, |m| {
                        let [to, from] = lines(s, m, y, x, [n, out, out / rows * channels + c]);
                        add_line(to, from, *w.at([out, c, m.tap[0], m.tap[1], m.tap[2]]), m.cols.len());
                    });
                }
            }
        }
    });
}

pub(super) fn backward_data(s: &ConvShape, gy: Src<i64>, w: Src<i64>, gx: Dst<i64>) {
    if gx.numel() == 0 {
        return;
    }
    let (rows, channels) = (s.c_out / s.groups(), s.c_in / s.groups());
    let (gy, w, gx) = (
        Place::of(gy.ptr(), gy.strides()),
        Place::of(w.ptr(), w.strides()),
        Place::of(gx.ptr(), gx.strides()),
    );
    parallel::for_range(s.n * s.c_in, GRAIN / (rows * work(s)).max(1), |planes| {
        let (gy, w, gx) = (&gy, &w, &gx);
        for (n, channel) in planes.map(|i| (i / s.c_in, i % s.c_in)) {
            let (group, c) = (channel / channels, channel % channels);
            // SAFETY: the views span what `s` says; each plane has one task.
            unsafe {
                fill(gx, n, channel, s.input, 0);
                for out in group * rows..(group + 1) * rows {
                    meetings(s, |m| {
                        let [from, to] = lines(s, m, gy, gx, [n, out, channel]);
                        add_line(to, from, *w.at([out, c, m.tap[0], m.tap[1], m.tap[2]]), m.cols.len());
                    });
                }
            }
        }
    });
}

pub(super) fn backward_weight(s: &ConvShape, x: Src<i64>, gy: Src<i64>, gw: Dst<i64>) {
    if gw.numel() == 0 {
        return;
    }
    let (rows, channels) = (s.c_out / s.groups(), s.c_in / s.groups());
    let (x, gy, gw) = (
        Place::of(x.ptr(), x.strides()),
        Place::of(gy.ptr(), gy.strides()),
        Place::of(gw.ptr(), gw.strides()),
    );
    parallel::for_range(s.c_out * channels, GRAIN / (s.n * work(s)).max(1), |pairs| {
        let (x, gy, gw) = (&x, &gy, &gw);
        for (out, c) in pairs.map(|i| (i / channels, i % channels)) {
            // SAFETY: the views span what `s` says; each pair of channels has one task.
            unsafe {
                fill(gw, out, c, s.kernel, 0);
                for n in 0..s.n {
                    meetings(s, |m| {
                        let [y, x] = lines(s, m, gy, x, [n, out, out / rows * channels + c]);
                        let product =
                            |i: isize| (*y.0.wrapping_offset(i * y.1)).wrapping_mul(*x.0.wrapping_offset(i * x.1));
                        let sum = (0..m.cols.len() as isize).fold(0i64, |a, i| a.wrapping_add(product(i)));
                        let to = gw.at([out, c, m.tap[0], m.tap[1], m.tap[2]]);
                        *to = (*to).wrapping_add(sum);
                    });
                }
            }
        }
    });
}
