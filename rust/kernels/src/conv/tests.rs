//! Convolutions against loops over the definition, on ugly shapes and strides; the same bits everywhere.

use super::*;
use crate::parallel::with_threads;
use crate::simd::available;

fn fill(n: usize, seed: usize) -> Vec<f64> {
    (0..n)
        .map(|i| (((i * 7919 + seed * 104_729) % 2003) as f64 - 1001.0) / 1001.0)
        .collect()
}

pub(super) fn strides(shape: &[usize; 5], order: [usize; 5]) -> [isize; 5] {
    let (mut strides, mut next) = ([0; 5], 1);
    for d in order.into_iter().rev() {
        strides[d] = next;
        next *= shape[d] as isize;
    }
    strides
}

pub(super) fn output(s: &ConvShape) -> [usize; 3] {
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

/// Runs all three passes with every instruction set and two thread counts and compares with the definition.
pub(super) fn check<T: ConvElement + Into<f64>>(s: &ConvShape, order: [usize; 5], with_bias: bool, eps: f64) {
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
            for (name, (got, want)) in ["y", "gx", "gw"].into_iter().zip(got.iter().zip(&want)) {
                for (i, (&got, &(sum, size, terms))) in got.iter().zip(want).enumerate() {
                    let got: f64 = got.into();
                    let bound = size * eps * (terms + 2) as f64;
                    assert!(
                        (got - sum).abs() <= bound,
                        "{s:?} {order:?} {name}[{i}]: {got} instead of {sum}"
                    );
                }
            }
            first = Some(got);
        }
    }
}

pub(super) const PLAIN: ConvShape = ConvShape {
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
pub(super) const NCHW: [usize; 5] = [0, 1, 2, 3, 4];

#[test]
fn pairs_of_columns_and_long_lines_agree() {
    let plane = ConvShape {
        n: 2,
        c_in: 1,
        c_out: 9,
        stride: [1, 2, 2],
        ..PLAIN
    };
    for (h, w) in [(1, 2), (2, 1), (3, 64), (15, 33), (16, 31), (17, 66), (40, 7)] {
        for (k, padding) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (7, 3)] {
            let s = ConvShape {
                input: [1, h, w],
                kernel: [1, k.min(h + 2 * padding), k.min(w + 2 * padding)],
                padding: [0, padding, padding],
                ..plane
            };
            for (c_in, c_out, groups) in [(6, 6, 6), (3, 5, 1), (2, 4, 2), (8, 3, 1), (4, 3, 1)] {
                let s = ConvShape {
                    c_in,
                    c_out,
                    groups,
                    ..s
                };
                check::<f32>(&s, NCHW, w % 2 == 0, f32::EPSILON as f64);
            }
        }
    }
    let s = ConvShape {
        c_in: 3,
        input: [1, 19, 21],
        padding: [0, 2, 1],
        ..plane
    };
    for s in [
        s,
        ConvShape {
            dilation: [1, 2, 3],
            ..s
        },
        ConvShape { stride: [1, 1, 2], ..s },
        ConvShape { stride: [1, 3, 2], ..s },
        ConvShape { stride: [1, 2, 3], ..s },
        ConvShape {
            input: [1, 3, 700],
            ..s
        },
        ConvShape {
            c_in: 20,
            c_out: 17,
            input: [1, 1, 600],
            kernel: [1, 1, 5],
            stride: [1; 3],
            padding: [0, 0, 2],
            ..s
        },
        ConvShape {
            c_in: 1,
            c_out: 19,
            kernel: [1, 5, 5],
            stride: [1; 3],
            padding: [0, 2, 2],
            ..s
        },
    ] {
        for order in [NCHW, [2, 1, 0, 3, 4], [0, 2, 3, 4, 1]] {
            check::<f32>(&s, order, false, f32::EPSILON as f64);
            check::<f64>(&s, order, true, f64::EPSILON);
        }
    }
}

#[test]
fn shapes_agree_with_the_definition() {
    let cases = [
        PLAIN,
        ConvShape {
            padding: [0, 1, 1],
            ..PLAIN
        },
        ConvShape {
            padding: [0, 2, 1],
            stride: [1, 2, 2],
            ..PLAIN
        },
        ConvShape {
            padding: [0, 3, 4],
            stride: [1, 3, 2],
            dilation: [1, 2, 3],
            ..PLAIN
        },
        ConvShape {
            kernel: [1, 1, 1],
            padding: [0, 1, 0],
            ..PLAIN
        },
        ConvShape {
            kernel: [1, 1, 1],
            stride: [1, 3, 3],
            ..PLAIN
        },
        ConvShape {
            kernel: [1, 2, 2],
            stride: [1, 4, 3],
            ..PLAIN
        },
        ConvShape {
            groups: 3,
            c_out: 6,
            padding: [0, 1, 1],
            ..PLAIN
        },
        ConvShape {
            groups: 4,
            c_in: 8,
            c_out: 4,
            stride: [1, 2, 1],
            padding: [0, 1, 1],
            ..PLAIN
        },
        ConvShape {
            input: [1, 1, 40],
            kernel: [1, 1, 5],
            stride: [1, 1, 2],
            padding: [0, 0, 4],
            ..PLAIN
        },
        ConvShape {
            input: [4, 5, 6],
            kernel: [2, 3, 2],
            stride: [2, 1, 2],
            padding: [1, 1, 0],
            ..PLAIN
        },
        ConvShape {
            input: [1, 3, 3],
            kernel: [1, 3, 3],
            ..PLAIN
        },
        ConvShape {
            c_in: 40,
            c_out: 33,
            input: [1, 6, 5],
            padding: [0, 1, 1],
            ..PLAIN
        },
        ConvShape {
            n: 5,
            c_in: 1,
            c_out: 32,
            input: [1, 28, 28],
            ..PLAIN
        },
        ConvShape { n: 0, ..PLAIN },
        ConvShape {
            groups: 6,
            c_in: 6,
            c_out: 12,
            input: [1, 21, 19],
            padding: [0, 1, 1],
            ..PLAIN
        },
        ConvShape {
            groups: 6,
            c_in: 6,
            c_out: 6,
            input: [3, 9, 40],
            kernel: [3, 5, 3],
            padding: [1, 2, 0],
            ..PLAIN
        },
        ConvShape {
            c_in: 7,
            c_out: 6,
            input: [1, 12, 37],
            padding: [0, 2, 2],
            ..PLAIN
        },
    ];
    for s in &cases {
        check::<f32>(s, NCHW, true, f32::EPSILON as f64);
        check::<f64>(s, NCHW, false, f64::EPSILON);
        // Channels last, and dims in no useful order.
        check::<f32>(s, [0, 2, 3, 4, 1], true, f32::EPSILON as f64);
        check::<f64>(s, [4, 3, 1, 0, 2], true, f64::EPSILON);
    }
}

#[test]
fn turned_operands_agree() {
    let many = ConvShape {
        c_in: 19,
        c_out: 17,
        ..PLAIN
    };
    let cases = [
        // The image turned: several taps, all strides and borders, groups, depth, more channels than are turned at once.
        ConvShape {
            padding: [0, 1, 2],
            ..many
        },
        ConvShape {
            input: [1, 13, 15],
            stride: [1, 2, 2],
            padding: [0, 1, 1],
            ..many
        },
        ConvShape {
            input: [1, 17, 16],
            stride: [1, 1, 3],
            dilation: [1, 3, 2],
            padding: [0, 0, 5],
            ..many
        },
        ConvShape {
            n: 3,
            c_in: 34,
            c_out: 8,
            groups: 2,
            input: [3, 4, 5],
            kernel: [2, 2, 3],
            padding: [1, 0, 1],
            ..PLAIN
        },
        ConvShape {
            c_in: 140,
            c_out: 5,
            input: [1, 5, 40],
            kernel: [1, 2, 3],
            ..PLAIN
        },
        // One column, whose stride says nothing.
        ConvShape {
            input: [1, 9, 1],
            padding: [0, 1, 1],
            ..many
        },
        // One tap, either turned; in place and not.
        ConvShape {
            kernel: [1; 3],
            c_out: 33,
            ..many
        },
        ConvShape {
            kernel: [1; 3],
            c_in: 50,
            ..many
        },
        ConvShape {
            kernel: [1; 3],
            c_in: 50,
            stride: [1, 2, 2],
            padding: [0, 1, 0],
            ..many
        },
        ConvShape {
            kernel: [1; 3],
            stride: [1, 3, 2],
            input: [1, 16, 16],
            c_in: 20,
            c_out: 40,
            ..PLAIN
        },
        ConvShape {
            kernel: [1; 3],
            input: [1, 32, 32],
            c_in: 20,
            ..many
        },
        // Few channels.
        ConvShape {
            input: [1, 30, 27],
            kernel: [1, 7, 7],
            stride: [1, 2, 2],
            padding: [0, 3, 3],
            c_in: 3,
            ..many
        },
        ConvShape {
            input: [2, 14, 33],
            kernel: [2, 3, 4],
            dilation: [1, 2, 2],
            padding: [1, 0, 7],
            c_in: 4,
            c_out: 40,
            groups: 2,
            ..PLAIN
        },
    ];
    for s in &cases {
        check::<f32>(s, NCHW, true, f32::EPSILON as f64);
        check::<f64>(s, NCHW, false, f64::EPSILON);
        check::<f32>(s, [0, 2, 3, 4, 1], false, f32::EPSILON as f64);
    }
    // Units that end inside a line.
    let long = ConvShape {
        n: 1,
        c_in: 2,
        c_out: 16,
        input: [1, 97, 103],
        kernel: [1, 1, 5],
        padding: [0, 0, 2],
        ..PLAIN
    };
    check::<f32>(&long, NCHW, false, f32::EPSILON as f64);
    let long = ConvShape {
        c_in: 16,
        c_out: 4,
        kernel: [1, 2, 1],
        padding: [0, 1, 0],
        ..long
    };
    check::<f32>(&long, NCHW, false, f32::EPSILON as f64);
}

/// Integers are exact: with numbers of this size, products wrap.
#[test]
fn integers_wrap() {
    let numbers = |n: usize, seed: i64| -> Vec<i64> {
        (0..n as i64)
            .map(|i| (i + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15u64 as i64))
            .collect()
    };
    let base = ConvShape {
        c_in: 4,
        c_out: 6,
        groups: 2,
        ..PLAIN
    };
    let cases = [
        base,
        ConvShape {
            stride: [1, 2, 3],
            padding: [0, 2, 1],
            dilation: [1, 2, 1],
            ..base
        },
        ConvShape {
            input: [3, 4, 5],
            kernel: [2, 1, 3],
            padding: [1, 0, 4],
            ..base
        },
        ConvShape { n: 0, ..base },
    ];
    for s in cases {
        let s = &ConvShape {
            output: output(&s),
            ..s
        };
        let xs = [s.n, s.c_in, s.input[0], s.input[1], s.input[2]];
        let ys = [s.n, s.c_out, s.output[0], s.output[1], s.output[2]];
        let ws = [s.c_out, s.c_in / s.groups, s.kernel[0], s.kernel[1], s.kernel[2]];
        for order in [NCHW, [0, 2, 3, 4, 1]] {
            let [sx, sy, sw] = [xs, ys, ws].map(|v| strides(&v, order));
            let at = |i: [usize; 5], s: [isize; 5]| i.iter().zip(s).map(|(&i, s)| i * s as usize).sum::<usize>();
            let [nx, ny, nw] = [xs, ys, ws].map(|v| v.iter().product::<usize>());
            let (x, w, gy, bias) = (numbers(nx, 1), numbers(nw, 5), numbers(ny, 9), numbers(s.c_out, 3));
            let mut want = [vec![0i64; ny], vec![0i64; nx], vec![0i64; nw]];
            (0..ny).for_each(|i| want[0][i] = bias[i / sy[1] as usize % s.c_out]);
            each(s, |o, i, t| {
                let (o, i, t) = (at(o, sy), at(i, sx), at(t, sw));
                want[0][o] = want[0][o].wrapping_add(x[i].wrapping_mul(w[t]));
                want[1][i] = want[1][i].wrapping_add(gy[o].wrapping_mul(w[t]));
                want[2][t] = want[2][t].wrapping_add(gy[o].wrapping_mul(x[i]));
            });
            let mut got = [vec![1i64; ny], vec![1i64; nx], vec![1i64; nw]];
            let [y, gx, gw] = &mut got;
            // SAFETY: strides made for the vectors' sizes.
            unsafe {
                let (x, w) = (Src::new(x.as_ptr(), &xs, &sx), Src::new(w.as_ptr(), &ws, &sw));
                let (gy, b) = (
                    Src::new(gy.as_ptr(), &ys, &sy),
                    Src::new(bias.as_ptr(), &[s.c_out], &[1]),
                );
                forward(s, x, w, Some(b), Dst::new(y.as_mut_ptr(), &ys, &sy));
                backward_data(s, gy, w, Dst::new(gx.as_mut_ptr(), &xs, &sx));
                backward_weight(s, x, gy, Dst::new(gw.as_mut_ptr(), &ws, &sw));
            }
            assert_eq!(got, want, "{s:?} {order:?}");
        }
    }
}

/// Images whose copies are made part by part.
#[test]
fn large_copies_agree() {
    let s = ConvShape {
        n: 1,
        c_in: 64,
        c_out: 9,
        input: [1, 70, 31],
        stride: [1, 2, 2],
        padding: [0, 1, 1],
        ..PLAIN
    };
    check::<f32>(&s, NCHW, true, f32::EPSILON as f64);
    check::<f32>(&ConvShape { kernel: [1; 3], ..s }, NCHW, true, f32::EPSILON as f64);
    let s = ConvShape {
        input: [1, 90, 41],
        stride: [1, 1, 2],
        padding: [0, 0, 1],
        kernel: [1, 2, 2],
        ..s
    };
    check::<f64>(&s, NCHW, true, f64::EPSILON);
}

/// Several images with a stride, the next one fetched while one is computed.
#[test]
fn several_strided_images_agree() {
    let s = ConvShape {
        n: 5,
        c_in: 3,
        c_out: 9,
        input: [1, 91, 90],
        stride: [1, 2, 2],
        padding: [0, 1, 1],
        ..PLAIN
    };
    check::<f32>(&s, NCHW, true, f32::EPSILON as f64);
    check::<f32>(&s, [0, 2, 3, 4, 1], false, f32::EPSILON as f64);
    let depthwise = ConvShape {
        c_in: 4,
        c_out: 4,
        groups: 4,
        ..s
    };
    check::<f32>(&depthwise, NCHW, true, f32::EPSILON as f64);
    // One tap: three of the four phases have none.
    let one = ConvShape {
        kernel: [1; 3],
        padding: [0; 3],
        ..s
    };
    check::<f32>(&one, NCHW, true, f32::EPSILON as f64);
}

#[test]
fn planes_in_place_agree() {
    let base = ConvShape {
        n: 3,
        c_in: 5,
        c_out: 5,
        groups: 5,
        input: [1, 17, 33],
        padding: [0, 1, 1],
        ..PLAIN
    };
    for (stride, kernel, dilation) in [
        ([1, 1, 1], [1, 3, 3], [1, 1, 1]),
        ([1, 2, 2], [1, 3, 3], [1, 1, 1]),
        ([1, 1, 2], [1, 5, 5], [1, 1, 1]),
        ([1, 3, 3], [1, 3, 3], [1, 1, 1]),
        ([1, 1, 1], [1, 3, 3], [1, 2, 3]),
        ([1, 2, 1], [1, 1, 17], [1, 1, 1]),
    ] {
        for input in [[1, 17, 33], [1, 4, 16], [1, 8, 64], [1, 56, 7], [1, 63, 65]] {
            let s = ConvShape {
                stride,
                kernel,
                dilation,
                input,
                padding: [0, kernel[1] / 2 * dilation[1], kernel[2] / 2 * dilation[2]],
                ..base
            };
            check::<f32>(&s, NCHW, true, f32::EPSILON as f64);
            check::<f64>(&ConvShape { c_out: 10, ..s }, NCHW, true, f64::EPSILON);
        }
    }
    // One channel in or out, without groups.
    for (c_in, c_out) in [(1, 9), (9, 1), (1, 34)] {
        let s = ConvShape {
            c_in,
            c_out,
            groups: 1,
            ..base
        };
        check::<f32>(&s, NCHW, true, f32::EPSILON as f64);
        check::<f32>(&s, [0, 2, 3, 4, 1], false, f32::EPSILON as f64);
    }
}

/// Square windows over copies with a border: all sides, strides of each dim, dilations, paddings wider than the window,
/// planes of all widths from less than half a vector on, several planes at a time, and parts of planes.
#[test]
fn bordered_planes_agree() {
    let base = ConvShape {
        n: 2,
        c_in: 5,
        c_out: 5,
        groups: 5,
        ..PLAIN
    };
    for (side, stride, dilation, padding) in [
        (3, [1, 1], [1, 1], [1, 1]),
        (3, [1, 1], [1, 1], [0, 0]),
        (3, [1, 1], [2, 3], [2, 3]),
        (3, [2, 2], [1, 1], [1, 1]),
        (3, [2, 1], [1, 2], [0, 2]),
        (3, [1, 2], [3, 1], [4, 5]),
        (5, [1, 1], [1, 1], [2, 2]),
        (5, [2, 2], [1, 1], [2, 1]),
        (5, [1, 1], [1, 1], [9, 18]),
        (7, [1, 1], [1, 1], [3, 3]),
        (7, [2, 2], [1, 1], [3, 3]),
        (7, [1, 1], [2, 1], [6, 0]),
    ] {
        for [h, w] in [[7, 7], [1, 5], [6, 3], [14, 14], [9, 16], [4, 33], [29, 41]] {
            let reach = |d: usize, size: usize| size + 2 * padding[d] > dilation[d] * (side - 1);
            if !reach(0, h) || !reach(1, w) {
                continue;
            }
            let s = ConvShape {
                input: [1, h, w],
                kernel: [1, side, side],
                stride: [1, stride[0], stride[1]],
                dilation: [1, dilation[0], dilation[1]],
                padding: [0, padding[0], padding[1]],
                ..base
            };
            check::<f32>(&s, NCHW, h % 2 == 0, f32::EPSILON as f64);
            check::<f64>(&ConvShape { c_out: 10, ..s }, NCHW, h % 2 == 1, f64::EPSILON);
        }
    }
    // Planes of which a part is copied at a time; images whose columns do not follow each other.
    for (side, stride) in [(3, 1), (3, 2), (5, 1), (7, 2)] {
        let s = ConvShape {
            n: 1,
            c_in: 2,
            c_out: 2,
            groups: 2,
            input: [1, 75, 230],
            kernel: [1, side, side],
            stride: [1, stride, stride],
            padding: [0, side / 2, side / 2],
            ..PLAIN
        };
        check::<f32>(&s, NCHW, true, f32::EPSILON as f64);
        check::<f32>(&s, [0, 1, 4, 3, 2], false, f32::EPSILON as f64);
    }
    check::<f32>(&ConvShape { n: 0, ..base }, NCHW, true, f32::EPSILON as f64);
}

#[test]
fn sums_over_many_positions_agree() {
    let wide = ConvShape {
        n: 1,
        c_in: 1,
        c_out: 2,
        input: [1, 100, 103],
        kernel: [1, 2, 2],
        ..PLAIN
    };
    check::<f32>(&wide, NCHW, false, f32::EPSILON as f64);
}
