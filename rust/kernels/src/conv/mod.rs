//! Convolutions of up to three spatial dims (1-D and 2-D ones have leading ones), forward and both gradients, as matrix
//! products whose operands are packed straight from the images: no matrix of patches is ever made.
//!
//! The gradient of the input is itself a gathering: for a stride of s it falls apart into s phases per dim, each a
//! convolution of stride one with its share of the taps.

mod gather;
mod geometry;
pub(crate) mod patches;
#[cfg(test)]
mod tests;
mod weight;

use crate::dtype::Element;
use crate::gemm::HasKernels;
use crate::simd::{Isa, isa};
use crate::view::{Dst, Src};
use gather::{Images, Weights, gather};
use geometry::Gather;
use std::ops::Add;

/// Sizes of a convolution. `padding` is on both sides of each dim.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvShape {
    pub n: usize,
    pub c_in: usize,
    pub c_out: usize,
    pub groups: usize,
    pub input: [usize; 3],
    pub kernel: [usize; 3],
    pub stride: [usize; 3],
    pub padding: [usize; 3],
    pub dilation: [usize; 3],
    pub output: [usize; 3],
}

impl ConvShape {
    fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    fn groups(&self) -> usize {
        self.groups.max(1)
    }

    /// What the forward pass reads.
    fn patches(&self) -> Gather {
        let offsets = |d: usize| {
            (0..self.kernel[d])
                .map(|k| (k * self.dilation[d]) as isize - self.padding[d] as isize)
                .collect()
        };
        Gather::new(self.output, self.stride, self.input, std::array::from_fn(offsets))
    }
}

/// Element types that have convolutions: f32 and f64.
pub trait ConvElement: Element {
    #[doc(hidden)]
    fn forward(isa: Isa, s: &ConvShape, x: Src<Self>, w: Src<Self>, bias: Option<Src<Self>>, y: Dst<Self>);
    #[doc(hidden)]
    fn backward_data(isa: Isa, s: &ConvShape, gy: Src<Self>, w: Src<Self>, gx: Dst<Self>);
    #[doc(hidden)]
    fn backward_weight(isa: Isa, s: &ConvShape, x: Src<Self>, gy: Src<Self>, gw: Dst<Self>);
}

macro_rules! conv_element {
    ($($t:ty),*) => {$(
        impl ConvElement for $t {
            fn forward(isa: Isa, s: &ConvShape, x: Src<$t>, w: Src<$t>, bias: Option<Src<$t>>, y: Dst<$t>) {
                forward_with(isa, s, x, w, bias, y);
            }
            fn backward_data(isa: Isa, s: &ConvShape, gy: Src<$t>, w: Src<$t>, gx: Dst<$t>) {
                backward_data_with(isa, s, gy, w, gx);
            }
            fn backward_weight(isa: Isa, s: &ConvShape, x: Src<$t>, gy: Src<$t>, gw: Dst<$t>) {
                backward_weight_with(isa, s, x, gy, gw);
            }
        }
    )*};
}
conv_element!(f32, f64);

/// `y = conv(x, w) + bias`, for `x` [n, c_in, d, h, w], `w` [c_out, c_in / groups, kd, kh, kw], `bias` [c_out], `y`
/// [n, c_out, od, oh, ow]. Each element of y is one chain in the order of input channels and taps, then the bias.
pub fn forward<T: ConvElement>(s: &ConvShape, x: Src<T>, w: Src<T>, bias: Option<Src<T>>, y: Dst<T>) {
    T::forward(isa(), s, x, w, bias, y);
}

/// Gradient of the input: `gx` [n, c_in, d, h, w] from `gy` [n, c_out, od, oh, ow].
pub fn backward_data<T: ConvElement>(s: &ConvShape, gy: Src<T>, w: Src<T>, gx: Dst<T>) {
    T::backward_data(isa(), s, gy, w, gx);
}

/// Gradient of the weights: `gw` [c_out, c_in / groups, kd, kh, kw].
pub fn backward_weight<T: ConvElement>(s: &ConvShape, x: Src<T>, gy: Src<T>, gw: Dst<T>) {
    T::backward_weight(isa(), s, x, gy, gw);
}

fn five(strides: &[isize]) -> [isize; 5] {
    std::array::from_fn(|d| strides[d])
}

/// Copies weights `[rows * groups][columns][taps]`, one matrix after another: element (row, column, tap) as `index` says.
///
/// # Safety
/// `index` stays inside the view.
unsafe fn gather_weights<T: Copy>(w: Src<T>, count: usize, index: impl Fn(usize) -> [usize; 5]) -> Vec<T> {
    let strides = five(w.strides());
    let element = |i| {
        let offset: isize = index(i).iter().zip(strides).map(|(&i, s)| i as isize * s).sum();
        // SAFETY: the caller's promise.
        unsafe { *w.ptr().wrapping_offset(offset) }
    };
    (0..count).map(element).collect()
}

fn forward_with<T>(isa: Isa, s: &ConvShape, x: Src<T>, w: Src<T>, bias: Option<Src<T>>, y: Dst<T>)
where
    T: Element + HasKernels + Add<Output = T>,
{
    if y.numel() == 0 {
        return;
    }
    let (groups, taps, [_, kh, kw]) = (s.groups(), s.taps(), s.kernel);
    let (rows, channels) = (s.c_out / groups, s.c_in / groups);
    let k = channels * taps;
    // SAFETY: the views span what `s` says.
    unsafe {
        let copy = (!w.is_contiguous()).then(|| {
            gather_weights(w, s.c_out * k, |i| {
                [i / k, i % k / taps, i % taps / (kh * kw), i % (kh * kw) / kw, i % kw]
            })
        });
        let bias: Option<Vec<T>> = bias.map(|b| {
            (0..s.c_out as isize)
                .map(|i| *b.ptr().wrapping_offset(i * b.strides()[0]))
                .collect()
        });
        let weights = Weights {
            data: copy.as_ref().map_or(w.ptr(), |c| c.as_ptr()),
            groups,
            rows,
            channels,
            group_stride: (rows * k) as isize,
            row_stride: k as isize,
        };
        let images = Images {
            count: s.n,
            src: x.ptr(),
            src_strides: five(x.strides()),
            dst: y.ptr(),
            dst_strides: five(y.strides()),
        };
        let bias = bias.as_ref().map_or(std::ptr::null(), |b| b.as_ptr());
        gather(T::kernels(isa), &s.patches(), weights, images, bias);
    }
}

fn backward_data_with<T>(isa: Isa, s: &ConvShape, gy: Src<T>, w: Src<T>, gx: Dst<T>)
where
    T: Element + HasKernels + Add<Output = T>,
{
    if gx.numel() == 0 {
        return;
    }
    let groups = s.groups();
    let (rows, channels) = (s.c_in / groups, s.c_out / groups);
    let stride = s.stride.map(|v| v.max(1));
    for phase in 0..stride.iter().product() {
        let r = [
            phase / (stride[1] * stride[2]),
            phase / stride[2] % stride[1],
            phase % stride[2],
        ];
        // Input index r + stride * t receives from output index t + offset through each tap that divides evenly.
        let taps: [Vec<(usize, isize)>; 3] = std::array::from_fn(|d| {
            let offset = |k: usize| (r[d] + s.padding[d]) as isize - (k * s.dilation[d]) as isize;
            let even = |&(_, v): &(usize, isize)| v % stride[d] as isize == 0;
            (0..s.kernel[d])
                .map(|k| (k, offset(k)))
                .filter(even)
                .map(|(k, v)| (k, v / stride[d] as isize))
                .collect()
        });
        let grid = std::array::from_fn(|d| (s.input[d] + stride[d] - 1 - r[d]) / stride[d]);
        let offsets = std::array::from_fn(|d| taps[d].iter().map(|t| t.1).collect());
        let geometry = Gather::new(grid, [1; 3], s.output, offsets);
        let [_, nh, nw] = [taps[0].len(), taps[1].len(), taps[2].len()];
        let (count, k) = (geometry.taps(), channels * geometry.taps());
        let mut dst_strides = five(gx.strides());
        let start: isize = (0..3).map(|d| r[d] as isize * dst_strides[2 + d]).sum();
        (0..3).for_each(|d| dst_strides[2 + d] *= stride[d] as isize);
        // SAFETY: the views span what `s` says; phases write different elements.
        unsafe {
            let turned = gather_weights(w, s.c_in * k, |i| {
                let (group, row, channel, tap) = (i / (rows * k), i / k % rows, i % k / count, i % count);
                let at = [tap / (nh * nw), tap / nw % nh, tap % nw];
                [
                    group * channels + channel,
                    row,
                    taps[0][at[0]].0,
                    taps[1][at[1]].0,
                    taps[2][at[2]].0,
                ]
            });
            let weights = Weights {
                data: turned.as_ptr(),
                groups,
                rows,
                channels,
                group_stride: (rows * k) as isize,
                row_stride: k as isize,
            };
            let images = Images {
                count: s.n,
                src: gy.ptr(),
                src_strides: five(gy.strides()),
                dst: gx.ptr().wrapping_offset(start),
                dst_strides,
            };
            gather(T::kernels(isa), &geometry, weights, images, std::ptr::null());
        }
    }
}

fn backward_weight_with<T>(isa: Isa, s: &ConvShape, x: Src<T>, gy: Src<T>, gw: Dst<T>)
where
    T: Element + HasKernels + Add<Output = T>,
{
    if gw.numel() == 0 {
        return;
    }
    let groups = s.groups();
    let problem = weight::Problem {
        count: s.n,
        groups,
        rows: s.c_out / groups,
        channels: s.c_in / groups,
        x: x.ptr(),
        x_strides: five(x.strides()),
        gy: gy.ptr(),
        gy_strides: five(gy.strides()),
    };
    // SAFETY: the views span what `s` says.
    let sums = unsafe { weight::gradient(T::kernels(isa), &s.patches(), problem) };
    let strides = five(gw.strides());
    let (taps, [_, kh, kw]) = (s.taps(), s.kernel);
    let k = sums.len() / s.c_out;
    for (i, &v) in sums.iter().enumerate() {
        let at = [i / k, i % k / taps, i % taps / (kh * kw), i % (kh * kw) / kw, i % kw];
        let offset: isize = at.iter().zip(strides).map(|(&i, s)| i as isize * s).sum();
        // SAFETY: as above.
        unsafe { *gw.ptr().wrapping_offset(offset) = v };
    }
}
