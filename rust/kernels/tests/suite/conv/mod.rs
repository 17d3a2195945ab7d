//! Convolutions against loops over the definition, the same bits everywhere: the comparison, and the shapes in `common.rs`,
//! those whose taps see little but padding in `bands.rs`,
//! those of kernels for one channel per group in `planes.rs`, small images in `small.rs`, integers in `integers.rs`, forms of
//! minimal filtering in `winograd.rs`, and their error beside that of plain sums in `errors.rs`.

mod bands;
mod common;
mod errors;
mod integers;
mod planes;
mod small;
mod winograd;

use crate::testing::with_threads;
use firesteel_kernels::conv::{ConvElement, ConvShape, Finish};
use firesteel_kernels::internals::available;
use firesteel_kernels::internals::winograd::planes_at_a_time;
use firesteel_kernels::{Dst, Src};
use std::collections::HashMap;

fn fill(n: usize, seed: usize) -> Vec<f64> {
    (0..n)
        .map(|i| (((i * 7919 + seed * 104_729) % 2003) as f64 - 1001.0) / 1001.0)
        .collect()
}

fn strides(shape: &[usize; 5], order: [usize; 5]) -> [isize; 5] {
    let (mut strides, mut next) = ([0; 5], 1);
    for d in order.into_iter().rev() {
        strides[d] = next;
        next *= shape[d] as isize;
    }
    strides
}

fn output(s: &ConvShape) -> [usize; 3] {
    std::array::from_fn(|d| (s.input[d] + 2 * s.padding[d] - s.dilation[d] * (s.kernel[d] - 1) - 1) / s.stride[d] + 1)
}

/// Calls `f` with every (n, group, row in group, column in group, output, input, tap) index of the definition.
fn each(s: &ConvShape, mut f: impl FnMut([usize; 5], [usize; 5], [usize; 5])) {
    let (rows, cols) = (s.c_out / s.groups, s.c_in / s.groups);
    let space = |n: [usize; 3]| (0..n[0] * n[1] * n[2]).map(move |i| [i / (n[1] * n[2]), i / n[2] % n[1], i % n[2]]);
    for (n, co) in (0..s.n * s.c_out).map(|i| (i / s.c_out, i % s.c_out)) {
        for o in space(s.output) {
            for ci in 0..cols {
                for t in space(s.kernel) {
                    let at: [isize; 3] = std::array::from_fn(|d| {
                        (o[d] * s.stride[d] + t[d] * s.dilation[d]) as isize - s.padding[d] as isize
                    });
                    if (0..3).all(|d| at[d] >= 0 && at[d] < s.input[d] as isize) {
                        let i = at.map(|v| v as usize);
                        let channel = co / rows * cols + ci;
                        f(
                            [n, co, o[0], o[1], o[2]],
                            [n, channel, i[0], i[1], i[2]],
                            [co, ci, t[0], t[1], t[2]],
                        );
                    }
                }
            }
        }
    }
}

/// So few planes at a time that these small images, too, come in several parts. Whatever computes convolutions of floats says
/// so first: how sums fall apart depends on it.
fn few_planes() {
    planes_at_a_time(64 << 10);
}

/// What a sum may be off by, for each of its terms, relative to a sum of sizes: its own, or, where tiles are transformed as a
/// whole, the largest of its plane. A sum without terms is exact.
#[derive(Clone, Copy)]
enum Bound {
    Own(f64),
    Plane(f64),
}

impl From<f64> for Bound {
    fn from(eps: f64) -> Self {
        Bound::Own(eps)
    }
}

/// Runs all three passes with every instruction set and two thread counts and compares with the definition.
fn check<T: ConvElement + Into<f64>>(s: &ConvShape, order: [usize; 5], with_bias: bool, bound: impl Into<Bound>) {
    let bound = bound.into();
    few_planes();
    let s = &ConvShape {
        output: output(s),
        ..*s
    };
    let shape = |n: usize, c: usize, d: [usize; 3]| [n, c, d[0], d[1], d[2]];
    let (xs, ys) = (shape(s.n, s.c_in, s.input), shape(s.n, s.c_out, s.output));
    let ws = shape(s.c_out, s.c_in / s.groups, s.kernel);
    let [sx, sy, sw] = [xs, ys, ws].map(|v| strides(&v, order));
    let size = |v: [usize; 5]| v.iter().product::<usize>();
    let make = |n, seed| -> Vec<T> { fill(n, seed).into_iter().map(T::from_f64).collect() };
    let (x, w, gy, bias) = (
        make(size(xs), 1),
        make(size(ws), 2),
        make(size(ys), 3),
        make(s.c_out, 4),
    );
    let at = |i: [usize; 5], s: [isize; 5]| i.iter().zip(s).map(|(&i, s)| i * s as usize).sum::<usize>();
    // Reference sums and sums of sizes, for y, gx, gw.
    let mut want = [
        vec![(0.0, 0.0, 0); size(ys)],
        vec![(0.0, 0.0, 0); size(xs)],
        vec![(0.0, 0.0, 0); size(ws)],
    ];
    each(s, |o, i, t| {
        let (vx, vw, vg): (f64, f64, f64) = (x[at(i, sx)].into(), w[at(t, sw)].into(), gy[at(o, sy)].into());
        for (which, index, v) in [
            (0, at(o, sy), vx * vw),
            (1, at(i, sx), vg * vw),
            (2, at(t, sw), vg * vx),
        ] {
            let e: &mut (f64, f64, usize) = &mut want[which][index];
            *e = (e.0 + v, e.1 + v.abs(), e.2 + 1);
        }
    });
    if with_bias {
        for (i, e) in want[0].iter_mut().enumerate() {
            let b: f64 = bias[i / sy[1] as usize % s.c_out].into();
            *e = (e.0 + b, e.1 + b.abs(), e.2 + 1);
        }
    }
    let bounds: Vec<Vec<f64>> = want
        .iter()
        .zip([(ys, sy), (xs, sx), (ws, sw)])
        .map(|(want, (shape, strides))| {
            let plane = |i: usize| (i / strides[0] as usize % shape[0], i / strides[1] as usize % shape[1]);
            let mut largest = HashMap::new();
            for (i, &(_, size, terms)) in want.iter().enumerate() {
                let most: &mut f64 = largest.entry(plane(i)).or_default();
                *most = most.max(size * (terms + 2) as f64);
            }
            let each = |(i, &(_, size, terms)): (usize, &(f64, f64, usize))| match bound {
                Bound::Plane(eps) if terms > 0 => eps * largest[&plane(i)],
                Bound::Own(eps) | Bound::Plane(eps) => eps * size * (terms + 2) as f64,
            };
            want.iter().enumerate().map(each).collect()
        })
        .collect();
    let mut first: Option<[Vec<T>; 3]> = None;
    for isa in available() {
        for threads in [1, 2] {
            let _turn = with_threads(threads);
            let mut got = [size(ys), size(xs), size(ws)].map(|n| make(n, 9));
            // SAFETY: strides made for the vectors' sizes.
            unsafe {
                let src = |v: &[T], shape: &[usize; 5], strides: &[isize; 5]| Src::new(v.as_ptr(), shape, strides);
                let [y, gx, gw] = &mut got;
                let b = with_bias.then(|| Src::new(bias.as_ptr(), &[s.c_out], &[1]));
                T::forward(
                    isa,
                    s,
                    src(&x, &xs, &sx),
                    src(&w, &ws, &sw),
                    b,
                    Dst::new(y.as_mut_ptr(), &ys, &sy),
                    &Finish::NONE,
                );
                T::backward_data(
                    isa,
                    s,
                    src(&gy, &ys, &sy),
                    src(&w, &ws, &sw),
                    Dst::new(gx.as_mut_ptr(), &xs, &sx),
                    &Finish::NONE,
                );
                T::backward_weight(
                    isa,
                    s,
                    src(&x, &xs, &sx),
                    src(&gy, &ys, &sy),
                    Dst::new(gw.as_mut_ptr(), &ws, &sw),
                );
            }
            if let Some(first) = &first {
                assert!(first == &got, "{s:?}: {isa:?} with {threads} threads differs");
                continue;
            }
            for (name, (got, (want, bounds))) in ["y", "gx", "gw"]
                .into_iter()
                .zip(got.iter().zip(want.iter().zip(&bounds)))
            {
                for (i, (&got, (&(sum, ..), bound))) in got.iter().zip(want.iter().zip(bounds)).enumerate() {
                    let got: f64 = got.into();
                    assert!(
                        (got - sum).abs() <= *bound,
                        "{s:?} {order:?} {name}[{i}]: {got} instead of {sum}"
                    );
                }
            }
            first = Some(got);
        }
    }
}

const PLAIN: ConvShape = ConvShape {
    n: 2,
    c_in: 3,
    c_out: 5,
    groups: 1,
    input: [1, 7, 9],
    kernel: [1, 3, 3],
    stride: [1; 3],
    padding: [0; 3],
    dilation: [1; 3],
    output: [0; 3],
};
const NCHW: [usize; 5] = [0, 1, 2, 3, 4];
const CHANNELS_LAST: [usize; 5] = [0, 2, 3, 4, 1];

/// What a term of a sum may be off by, relative to its size.
const F32: f64 = f32::EPSILON as f64;
const F64: f64 = f64::EPSILON;

/// The same but for one of its sizes, so that a shape is a line of a table.
trait With {
    fn n(self, n: usize) -> ConvShape;
    fn c_in(self, c_in: usize) -> ConvShape;
    fn c_out(self, c_out: usize) -> ConvShape;
    fn grouped(self, groups: usize) -> ConvShape;
    fn input(self, input: [usize; 3]) -> ConvShape;
    fn kernel(self, kernel: [usize; 3]) -> ConvShape;
    fn stride(self, stride: [usize; 3]) -> ConvShape;
    fn padding(self, padding: [usize; 3]) -> ConvShape;
    fn dilation(self, dilation: [usize; 3]) -> ConvShape;
}

impl With for ConvShape {
    fn n(self, n: usize) -> ConvShape {
        ConvShape { n, ..self }
    }
    fn c_in(self, c_in: usize) -> ConvShape {
        ConvShape { c_in, ..self }
    }
    fn c_out(self, c_out: usize) -> ConvShape {
        ConvShape { c_out, ..self }
    }
    fn grouped(self, groups: usize) -> ConvShape {
        ConvShape { groups, ..self }
    }
    fn input(self, input: [usize; 3]) -> ConvShape {
        ConvShape { input, ..self }
    }
    fn kernel(self, kernel: [usize; 3]) -> ConvShape {
        ConvShape { kernel, ..self }
    }
    fn stride(self, stride: [usize; 3]) -> ConvShape {
        ConvShape { stride, ..self }
    }
    fn padding(self, padding: [usize; 3]) -> ConvShape {
        ConvShape { padding, ..self }
    }
    fn dilation(self, dilation: [usize; 3]) -> ConvShape {
        ConvShape { dilation, ..self }
    }
}
