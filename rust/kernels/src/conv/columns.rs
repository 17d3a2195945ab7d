//! Gradient of the input for few positions and many weights: each tap's share of every element as one product with the
//! weights as they lie, then the shares brought together. Other ways read large weights once for each phase of the stride.
//!
//! An element is the sum of its taps' shares in the order of the taps, each share one chain over the output channels.

use super::ConvShape;
use crate::dtype::Element;
use crate::gemm::{Gemm, HasKernels, Kernels, with_shared};
use crate::parallel;
use crate::view::{Dst, Src};
use std::ops::{Add, Range};

/// Bytes of weights from which they are what takes time, and most positions for which they do.
const LARGE: usize = 1 << 20;
const POSITIONS: usize = 256;
/// Shares worth handing to a thread.
const GRAIN: usize = 32 * 1024;

/// Whether [`products`] is for this.
pub(super) fn takes<T>(s: &ConvShape, gy: &Src<T>, w: &Src<T>) -> bool {
    let strides = gy.strides();
    let [_, lines, columns] = s.output.map(|n| n as isize);
    let flat = (columns == 1 || strides[4] == 1)
        && (lines == 1 || strides[3] == columns)
        && (s.output[0] == 1 || strides[2] == lines * columns);
    let positions: usize = s.output.iter().product();
    s.n == 1
        && flat
        && s.taps() > 1
        && s.stride.iter().any(|&n| n > 1)
        && positions <= POSITIONS
        && w.is_contiguous()
        && w.numel() * size_of::<T>() >= LARGE
}

struct Shared<T>(*const T, *mut T);
// SAFETY: plain data; tasks write disjoint channels.
unsafe impl<T: Sync> Sync for Shared<T> {}

/// The gradient of the one image.
///
/// # Safety
/// [`takes`]; the views span what `s` says; `kernels` fit the CPU.
pub(super) unsafe fn products<T>(kernels: &'static Kernels<T>, s: &ConvShape, gy: Src<T>, w: Src<T>, gx: Dst<T>)
where
    T: Element + HasKernels + Add<Output = T>,
{
    let (groups, taps) = (s.groups(), s.taps());
    let (rows, channels) = (s.c_in / groups, s.c_out / groups);
    let positions: usize = s.output.iter().product();
    let k_stride = (rows * taps) as isize;
    with_shared(|scratch| {
        let shares = scratch.reserve::<T>(s.c_in * taps * positions);
        for group in 0..groups {
            let channel = (group * channels) as isize;
            let g = Gemm {
                m: rows * taps,
                n: positions,
                k: channels,
                a: w.ptr().wrapping_offset(channel * k_stride),
                a_rs: 1,
                a_cs: k_stride,
                b: gy.ptr().wrapping_offset(channel * gy.strides()[1]),
                b_rs: gy.strides()[1],
                b_cs: 1,
                c: shares.wrapping_add(group * rows * taps * positions),
                c_rs: positions as isize,
                c_cs: 1,
                ..Gemm::empty()
            };
            // SAFETY: the caller's promise.
            unsafe { g.run(kernels) };
        }
        let shared = Shared(shares.cast_const(), gx.ptr());
        let strides = gx.strides();
        parallel::for_range(s.c_in, (GRAIN / (taps * positions)).max(1), |some| {
            let Shared(shares, gx) = &shared;
            for c in some {
                let shares = shares.wrapping_add(c * taps * positions);
                let plane = gx.wrapping_offset(c as isize * strides[1]);
                // SAFETY: the caller's promise; each channel is one task's.
                unsafe { gather_shares(s, shares, plane, [strides[2], strides[3], strides[4]]) };
            }
        });
    });
}

/// The outputs of a dim whose tap `k` lies inside the input.
fn inside(s: &ConvShape, d: usize, k: usize) -> Range<usize> {
    let (at, padding, stride) = (k * s.dilation[d], s.padding[d], s.stride[d].max(1));
    let first = padding.saturating_sub(at).div_ceil(stride).min(s.output[d]);
    let end = (s.input[d] + padding).saturating_sub(at).div_ceil(stride);
    first..end.clamp(first, s.output[d])
}

/// One channel: zero, and each tap's shares added where they belong.
///
/// # Safety
/// `shares` has an element for each tap and position, `plane` one for each of the input's.
unsafe fn gather_shares<T: Element + Add<Output = T>>(
    s: &ConvShape,
    shares: *const T,
    plane: *mut T,
    [sd, sh, sw]: [isize; 3],
) {
    let [depth, height, width] = s.input;
    for (d, h) in (0..depth).flat_map(|d| (0..height).map(move |h| (d, h))) {
        let line = plane.wrapping_offset(d as isize * sd + h as isize * sh);
        for i in 0..width as isize {
            // SAFETY: the caller's promise; so below.
            unsafe { line.wrapping_offset(i * sw).write(T::default()) };
        }
    }
    let [_, lines, columns] = s.output;
    let [kd, kh, kw] = s.kernel;
    let input = |d: usize, o: usize, k: usize| (o * s.stride[d] + k * s.dilation[d] - s.padding[d]) as isize;
    for tap in 0..kd * kh * kw {
        let k = [tap / (kh * kw), tap / kw % kh, tap % kw];
        let shares = shares.wrapping_add(tap * s.output[0] * lines * columns);
        let cols = inside(s, 2, k[2]);
        for d in inside(s, 0, k[0]) {
            for h in inside(s, 1, k[1]) {
                let from = shares.wrapping_add((d * lines + h) * columns);
                let to = plane.wrapping_offset(input(0, d, k[0]) * sd + input(1, h, k[1]) * sh);
                for o in cols.clone() {
                    let to = to.wrapping_offset(input(2, o, k[2]) * sw);
                    // SAFETY: as above: the indices lie inside.
                    unsafe { *to = *to + *from.wrapping_add(o) };
                }
            }
        }
    }
}
