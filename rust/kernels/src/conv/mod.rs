//! Convolutions of up to three spatial dims (1-D and 2-D ones have leading ones), forward and both gradients, as matrix
//! products whose operands are packed straight from the images: no matrix of patches is ever made.
//!
//! The gradient of the input is itself a gathering: for a stride of s it falls apart into s phases per dim, each a
//! convolution of stride one with its share of the taps.

pub(crate) mod bands;
pub(crate) mod border;
mod by_position;
mod columns;
mod depthwise;
pub(crate) mod doubles;
mod few_images;
mod finish;
pub(crate) mod flat;
mod gather;
mod geometry;
pub(crate) mod inplace;
mod int;
pub(crate) mod lines;
mod one_channel;
mod one_image;
pub(crate) mod pairs;
pub(crate) mod patches;
pub(crate) mod plane;
mod pointwise;
pub(crate) mod rectangles;
pub(crate) mod ring;
mod sheets;
pub(crate) mod small;
pub(crate) mod taps;
mod turned;
pub(crate) mod weight;
mod weights;
pub(crate) mod window;
pub(crate) mod winograd;

use crate::dtype::Element;
use crate::gemm::{HasKernels, merged_stride};
use crate::reduce::real::Real;
use crate::simd::{Isa, isa};
use crate::view::{Dst, Src};
use doubles::Doubled;
pub use finish::Finish;
use finish::Finishing;
use gather::{Images, gather};
use geometry::Gather;
use pairs::Pair;
use small::Small;
use std::ops::Add;
use weights::Weights;
use winograd::{Dilated, Filters, Phases, Plan};

/// More channels than those of the paths that write single planes.
const SPREAD: usize = 16;

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

    /// Windows as large as the images, of which there is one in each: the same with one tap and that many more channels, a
    /// product of two matrices.
    fn flattened(&self) -> Option<ConvShape> {
        let one = self.output == [1; 3] && self.kernel == self.input && self.padding == [0; 3] && self.taps() > 1;
        one.then(|| ConvShape {
            c_in: self.c_in * self.taps(),
            input: [1; 3],
            kernel: [1; 3],
            stride: [1; 3],
            dilation: [1; 3],
            ..*self
        })
    }

    /// What the forward pass reads.
    pub(crate) fn patches(&self) -> Gather {
        let offsets = |d: usize| {
            (0..self.kernel[d])
                .map(|k| (k * self.dilation[d]) as isize - self.padding[d] as isize)
                .collect()
        };
        Gather::new(self.output, self.stride, self.input, std::array::from_fn(offsets))
    }

    /// What the gradient of the input reads for a stride of one: the taps backwards, so that the offsets rise.
    fn unstrided(&self) -> Gather {
        let offsets = |d: usize| {
            (0..self.kernel[d])
                .rev()
                .map(|k| self.padding[d] as isize - (k * self.dilation[d]) as isize)
                .collect()
        };
        Gather::new(self.input, [1; 3], self.output, std::array::from_fn(offsets))
    }
}

/// Element types that have convolutions: f32, f64, and i64 (which wraps).
pub trait ConvElement: Element {
    #[doc(hidden)]
    fn forward(
        isa: Isa,
        s: &ConvShape,
        x: Src<Self>,
        w: Src<Self>,
        bias: Option<Src<Self>>,
        y: Dst<Self>,
        finish: &Finish<Self>,
    );
    #[doc(hidden)]
    fn backward_data(isa: Isa, s: &ConvShape, gy: Src<Self>, w: Src<Self>, gx: Dst<Self>, finish: &Finish<Self>);
    #[doc(hidden)]
    fn backward_weight(isa: Isa, s: &ConvShape, x: Src<Self>, gy: Src<Self>, gw: Dst<Self>);
}

macro_rules! conv_element {
    ($($t:ty),*) => {$(
        impl ConvElement for $t {
            fn forward(
                isa: Isa,
                s: &ConvShape,
                x: Src<$t>,
                w: Src<$t>,
                bias: Option<Src<$t>>,
                y: Dst<$t>,
                finish: &Finish<$t>,
            ) {
                forward_with(isa, s, x, w, bias, y, finish);
            }
            fn backward_data(isa: Isa, s: &ConvShape, gy: Src<$t>, w: Src<$t>, gx: Dst<$t>, finish: &Finish<$t>) {
                backward_data_with(isa, s, gy, w, gx, finish);
            }
            fn backward_weight(isa: Isa, s: &ConvShape, x: Src<$t>, gy: Src<$t>, gw: Dst<$t>) {
                backward_weight_with(isa, s, x, gy, gw);
            }
        }
    )*};
}
conv_element!(f32, f64);

impl ConvElement for i64 {
    fn forward(
        _: Isa,
        s: &ConvShape,
        x: Src<i64>,
        w: Src<i64>,
        bias: Option<Src<i64>>,
        y: Dst<i64>,
        finish: &Finish<i64>,
    ) {
        finish.refuse();
        int::forward(s, x, w, bias, y);
    }
    fn backward_data(_: Isa, s: &ConvShape, gy: Src<i64>, w: Src<i64>, gx: Dst<i64>, finish: &Finish<i64>) {
        finish.refuse();
        int::backward_data(s, gy, w, gx);
    }
    fn backward_weight(_: Isa, s: &ConvShape, x: Src<i64>, gy: Src<i64>, gw: Dst<i64>) {
        int::backward_weight(s, x, gy, gw);
    }
}

/// `y = conv(x, w) + bias`, for `x` [n, c_in, d, h, w], `w` [c_out, c_in / groups, kd, kh, kw], `bias` [c_out], `y`
/// [n, c_out, od, oh, ow]. Each element of y is one chain in the order of input channels and taps, then the bias.
pub fn forward<T: ConvElement>(s: &ConvShape, x: Src<T>, w: Src<T>, bias: Option<Src<T>>, y: Dst<T>) {
    forward_finished(s, x, w, bias, y, &Finish::NONE);
}

/// [`forward`], and what `finish` says; `y` row-major.
pub fn forward_finished<T: ConvElement>(
    s: &ConvShape,
    x: Src<T>,
    w: Src<T>,
    bias: Option<Src<T>>,
    y: Dst<T>,
    finish: &Finish<T>,
) {
    T::forward(isa(), s, x, w, bias, y, finish);
}

/// Gradient of the input: `gx` [n, c_in, d, h, w] from `gy` [n, c_out, od, oh, ow].
pub fn backward_data<T: ConvElement>(s: &ConvShape, gy: Src<T>, w: Src<T>, gx: Dst<T>) {
    backward_data_finished(s, gy, w, gx, &Finish::NONE);
}

/// [`backward_data`], and what `finish` says; `gx` row-major.
pub fn backward_data_finished<T: ConvElement>(s: &ConvShape, gy: Src<T>, w: Src<T>, gx: Dst<T>, finish: &Finish<T>) {
    T::backward_data(isa(), s, gy, w, gx, finish);
}

/// Gradient of the weights: `gw` [c_out, c_in / groups, kd, kh, kw].
pub fn backward_weight<T: ConvElement>(s: &ConvShape, x: Src<T>, gy: Src<T>, gw: Dst<T>) {
    T::backward_weight(isa(), s, x, gy, gw);
}

/// Shape and strides of images or weights whose taps are channels, if these lie evenly.
fn flattened(shape: &[usize], strides: &[isize]) -> Option<([usize; 5], [isize; 5])> {
    let step = merged_stride(&shape[1..], &strides[1..])?;
    let all = shape[1..].iter().product();
    Some(([shape[0], all, 1, 1, 1], [strides[0], step, 1, 1, 1]))
}

fn flat<'a, T: Copy>(src: &Src<'a, T>) -> Option<Src<'a, T>> {
    let (shape, strides) = flattened(src.shape(), src.strides())?;
    // SAFETY: the same elements.
    Some(unsafe { Src::new(src.ptr(), &shape, &strides) })
}

fn flat_mut<'a, T: Copy>(dst: &Dst<'a, T>) -> Option<Dst<'a, T>> {
    let (shape, strides) = flattened(dst.shape(), dst.strides())?;
    // SAFETY: as above.
    Some(unsafe { Dst::new(dst.ptr(), &shape, &strides) })
}

fn five(strides: &[isize]) -> [isize; 5] {
    std::array::from_fn(|d| strides[d])
}

/// All weights, where they lie.
fn weights<T: Copy>(s: &ConvShape, w: &Src<T>) -> Weights<T> {
    let all = s.kernel.map(|n| (0..n).collect::<Vec<_>>());
    let (groups, strides) = (s.groups(), w.strides());
    Weights {
        data: w.ptr(),
        groups,
        rows: s.c_out / groups,
        channels: s.c_in / groups,
        group_stride: (s.c_out / groups) as isize * strides[0],
        row_stride: strides[0],
        channel_stride: strides[1],
        taps: tap_offsets(strides, [&all[0], &all[1], &all[2]]),
    }
}

/// Offsets of kernel positions `taps` (per dim) in weights with these strides, last dim fastest.
fn tap_offsets(strides: &[isize], taps: [&[usize]; 3]) -> Vec<isize> {
    let mut offsets = Vec::new();
    for &d in taps[0] {
        for &h in taps[1] {
            let row = d as isize * strides[2] + h as isize * strides[3];
            offsets.extend(taps[2].iter().map(|&w| row + w as isize * strides[4]));
        }
    }
    offsets
}

fn forward_with<T>(isa: Isa, s: &ConvShape, x: Src<T>, w: Src<T>, bias: Option<Src<T>>, y: Dst<T>, finish: &Finish<T>)
where
    T: Real + HasKernels,
{
    if y.numel() == 0 {
        return;
    }
    if let (Some(s), Some(x), Some(w)) = (s.flattened(), flat(&x), flat(&w)) {
        return forward_with(isa, &s, x, w, bias, y, finish);
    }
    let finish = Finishing::new(finish, &y);
    let groups = s.groups();
    let (rows, channels) = (s.c_out / groups, s.c_in / groups);
    // SAFETY: the views span what `s` says.
    unsafe {
        let copy = (!w.is_contiguous()).then(|| weights(s, &w).copied());
        let bias: Option<Vec<T>> = bias.map(|b| {
            (0..s.c_out as isize)
                .map(|i| *b.ptr().wrapping_offset(i * b.strides()[0]))
                .collect()
        });
        let data = copy.as_ref().map_or(w.ptr(), |c| c.as_ptr());
        let weights = Weights::dense(data, [groups, rows, channels, s.taps()]);
        let images = Images {
            count: s.n,
            src: x.ptr(),
            src_strides: five(x.strides()),
            dst: y.ptr(),
            dst_strides: five(y.strides()),
            zeros: None,
            finish,
        };
        let bias = bias.as_ref().map_or(std::ptr::null(), |b| b.as_ptr());
        let geometry = s.patches();
        let strides = [images.src_strides, images.dst_strides];
        let small = Small::of(s, strides[0], strides[1], false);
        let plan = Plan::of(&geometry)
            .filter(|p| p.fills(channels) && p.takes::<T>(s.n, [channels, rows], strides[0], strides[1]))
            .filter(|p| small.as_ref().is_none_or(|small| !small.beats(p.products())));
        let finished = if let Some(plan) = plan {
            let filters = Filters::new(&plan, weights.data, [groups, rows, channels], false);
            winograd::convolve(T::kernels(isa), plan, filters, images, bias);
            false
        } else if let Some(phases) = Phases::of::<T>(s, strides[0], strides[1]) {
            phases.convolve(T::kernels(isa), s, weights.data, images, bias);
            false
        } else if let Some(dilated) = Dilated::of::<T>(&geometry, s.n, [channels, rows], strides[0], strides[1]) {
            let filters = (weights.data, [groups, rows, channels], false);
            dilated.convolve(T::kernels(isa), filters, images, bias);
            false
        } else if let Some(small) = small {
            let sizes = [groups, rows, channels];
            small.convolve(T::kernels(isa), weights.data, sizes, false, images, bias);
            false
        } else {
            gather(T::kernels(isa), &geometry, weights, images, bias)
        };
        if let Some(f) = finish.filter(|_| !finished) {
            f.all(s.n);
        }
    }
}

/// Every `stride`-th element of the input's gradient, from `first` on: a convolution of stride one with some of the taps.
struct Phase {
    first: [usize; 3],
    taps: [Vec<usize>; 3],
    geometry: Gather,
}

impl Phase {
    fn new(s: &ConvShape, stride: [usize; 3], index: usize) -> Self {
        let first = [
            index / (stride[1] * stride[2]),
            index / stride[2] % stride[1],
            index % stride[2],
        ];
        // Input index first + stride * t receives from output index t + offset through each tap that divides evenly.
        let taps: [Vec<usize>; 3] = std::array::from_fn(|d| {
            let even = |k: &usize| {
                (first[d] + s.padding[d])
                    .abs_diff(k * s.dilation[d])
                    .is_multiple_of(stride[d])
            };
            // Backwards, so that the offsets rise.
            (0..s.kernel[d]).rev().filter(even).collect()
        });
        let offset = |d: usize, k: usize| (first[d] + s.padding[d]) as isize - (k * s.dilation[d]) as isize;
        let offsets = std::array::from_fn(|d| taps[d].iter().map(|&k| offset(d, k) / stride[d] as isize).collect());
        let grid = std::array::from_fn(|d| (s.input[d] + stride[d] - 1 - first[d]) / stride[d]);
        Self {
            first,
            taps,
            geometry: Gather::new(grid, [1; 3], s.output, offsets),
        }
    }
}

fn backward_data_with<T>(isa: Isa, s: &ConvShape, gy: Src<T>, w: Src<T>, gx: Dst<T>, finish: &Finish<T>)
where
    T: Real + HasKernels,
{
    if gx.numel() == 0 {
        return;
    }
    let finish = Finishing::new(finish, &gx);
    if let (Some(flattened), Some(w), Some(gx)) = (s.flattened(), flat(&w), flat_mut(&gx)) {
        backward_data_with(isa, &flattened, gy, w, gx, &Finish::NONE);
        if let Some(f) = finish {
            // SAFETY: the result is there.
            unsafe { f.all(s.n) };
        }
        return;
    }
    let mut finished = false;
    let groups = s.groups();
    let (rows, channels) = (s.c_in / groups, s.c_out / groups);
    let stride = s.stride.map(|v| v.max(1));
    let phases: usize = stride.iter().product();
    let plan = match phases {
        1 => Plan::of(&s.unstrided()),
        _ => Plan::doubling(s),
    };
    let strides = [five(gy.strides()), five(gx.strides())];
    let small = Small::of(s, strides[1], strides[0], true).map(Small::reversed);
    let plan = plan
        .filter(|p| p.fills(channels) && p.takes::<T>(s.n, [channels, rows], strides[0], strides[1]))
        .filter(|p| small.as_ref().is_none_or(|small| !small.beats(p.products())));
    let dilated = match (plan, phases) {
        (None, 1) if small.is_none() => Dilated::of::<T>(&s.unstrided(), s.n, [channels, rows], strides[0], strides[1]),
        _ => None,
    };
    if plan.is_some() || dilated.is_some() || small.is_some() {
        // SAFETY: the views span what `s` says.
        unsafe {
            let copy = (!w.is_contiguous()).then(|| weights(s, &w).copied());
            let (data, sizes) = (copy.as_ref().map_or(w.ptr(), |c| c.as_ptr()), [groups, rows, channels]);
            let images = Images {
                count: s.n,
                src: gy.ptr(),
                src_strides: strides[0],
                dst: gx.ptr(),
                dst_strides: strides[1],
                zeros: None,
                finish: None,
            };
            let (kernels, bias) = (T::kernels(isa), std::ptr::null());
            if let Some(dilated) = dilated {
                dilated.convolve(kernels, (data, sizes, true), images, bias);
            } else if let Some(plan) = plan {
                winograd::convolve(kernels, plan, Filters::new(&plan, data, sizes, true), images, bias);
            } else if let Some(small) = small {
                small.convolve(kernels, data, sizes, true, images, bias);
            }
            if let Some(f) = finish {
                f.all(s.n);
            }
        }
        return;
    }
    if columns::takes(s, &gy, &w) {
        // SAFETY: the views span what `s` says; all of the gradient is written.
        return unsafe {
            columns::products(T::kernels(isa), s, gy, w, gx);
            if let Some(f) = finish {
                f.all(1);
            }
        };
    }
    let phase_of = |phase: usize| Phase::new(s, stride, phase);
    // A phase's weights, turned round: rows are channels of the input.
    let weights_of = |phase: &Phase| {
        let whole = weights(s, &w);
        Weights {
            rows,
            channels,
            row_stride: whole.channel_stride,
            channel_stride: whole.row_stride,
            taps: tap_offsets(w.strides(), [0, 1, 2].map(|d| &phase.taps[d][..])),
            ..whole
        }
    };
    let all: Vec<Phase> = (0..phases).map(phase_of).collect();
    let paired = stride[0] == 1 && stride[2] == 2 && s.input[2] > 1;
    if paired
        && all
            .iter()
            .all(|p| pairs::takes(&p.geometry, rows, strides[0], strides[1]))
    {
        // SAFETY: the view spans what `s` says; so below.
        let copies: Vec<Vec<T>> = all.iter().map(|p| unsafe { weights_of(p).copied() }).collect();
        let dense = |(p, c): (&Phase, &Vec<T>)| Weights::dense(c.as_ptr(), [groups, rows, channels, p.geometry.taps()]);
        let weights: Vec<Weights<T>> = all.iter().zip(&copies).map(dense).collect();
        let (mut all, mut weights) = (all.into_iter().map(|p| p.geometry), weights.into_iter());
        let pairs: Vec<Pair<T>> = (0..stride[1])
            .filter_map(|_| {
                Some(Pair {
                    geometry: [all.next()?, all.next()?],
                    weights: [weights.next()?, weights.next()?],
                })
            })
            .collect();
        let images = Images {
            count: s.n,
            src: gy.ptr(),
            src_strides: strides[0],
            dst: gx.ptr(),
            dst_strides: strides[1],
            zeros: None,
            finish,
        };
        if let Some(doubled) = Doubled::of(&pairs) {
            // SAFETY: as above, and the copies live as long as the pairs; so below.
            return unsafe { doubles::doubles(T::kernels(isa), &doubled, &pairs, images, [s.input[1], s.input[2]]) };
        }
        // SAFETY: as above.
        return unsafe { pairs::pairs(T::kernels(isa), &pairs, images, [s.input[1], s.input[2]]) };
    }
    // One tap: the first phase's result is spread among zeros, line by line, and there are no others.
    let lined = strides[1][4] == 1 && strides[1][3] == s.input[2] as isize;
    let spread = stride == [1, 2, 2] && all.iter().enumerate().all(|(i, p)| (p.geometry.taps() > 0) == (i == 0));
    let zeros = (spread && lined && s.input[2] > 2 && rows.min(channels) > SPREAD).then_some(s.input);
    for phase in all.iter().take(if zeros.is_some() { 1 } else { phases }) {
        let mut dst_strides = strides[1];
        let start: isize = (0..3).map(|d| phase.first[d] as isize * dst_strides[2 + d]).sum();
        (0..3).for_each(|d| dst_strides[2 + d] *= stride[d] as isize);
        let images = Images {
            count: s.n,
            src: gy.ptr(),
            src_strides: strides[0],
            dst: gx.ptr().wrapping_offset(start),
            dst_strides,
            zeros,
            finish: finish.filter(|_| phases == 1),
        };
        // SAFETY: as above; phases write different elements.
        finished = unsafe {
            let weights = weights_of(phase);
            gather(T::kernels(isa), &phase.geometry, weights, images, std::ptr::null()) && phases == 1
        };
    }
    if let Some(f) = finish.filter(|_| !finished) {
        // SAFETY: all phases have written their share.
        unsafe { f.all(s.n) };
    }
}

fn backward_weight_with<T>(isa: Isa, s: &ConvShape, x: Src<T>, gy: Src<T>, gw: Dst<T>)
where
    T: Element + HasKernels + Add<Output = T>,
{
    if gw.numel() == 0 {
        return;
    }
    if let (Some(s), Some(x), Some(gw)) = (s.flattened(), flat(&x), flat_mut(&gw)) {
        return backward_weight_with(isa, &s, x, gy, gw);
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
    let (strides, geometry, size) = (five(gw.strides()), s.patches(), gw.numel());
    let kernels = T::kernels(isa);
    let phases = Phases::of::<T>(s, problem.x_strides, problem.gy_strides);
    let dilated = Dilated::of_gradient::<T>(&geometry, &problem);
    // SAFETY: the views span what `s` says.
    let compute = |out: &mut [T]| unsafe {
        match (phases, dilated) {
            (Some(phases), _) => phases.gradient(kernels, s, &problem, out),
            (_, Some(dilated)) => dilated.gradient(kernels, s, &problem, out),
            _ => weight::gradient(kernels, s, &geometry, problem, out),
        }
    };
    if gw.is_contiguous() {
        // SAFETY: as above.
        return compute(unsafe { std::slice::from_raw_parts_mut(gw.ptr(), size) });
    }
    let mut sums = vec![T::default(); size];
    compute(&mut sums);
    let (taps, [_, kh, kw]) = (s.taps(), s.kernel);
    let k = size / s.c_out;
    for (i, &v) in sums.iter().enumerate() {
        let at = [i / k, i % k / taps, i % taps / (kh * kw), i % (kh * kw) / kw, i % kw];
        let offset: isize = at.iter().zip(strides).map(|(&i, s)| i as isize * s).sum();
        // SAFETY: as above.
        unsafe { *gw.ptr().wrapping_offset(offset) = v };
    }
}
