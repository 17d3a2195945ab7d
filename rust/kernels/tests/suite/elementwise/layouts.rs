//! Contiguous, transposed, padded, reversed, broadcast operands, and outputs that are inputs.

use super::*;
use firesteel_kernels::dtype::Bool;

/// Layouts of a shape: (offset, strides, elements needed), contiguous, transposed, padded, reversed, broadcast.
fn layouts(shape: &[usize], written: bool) -> Vec<(usize, Vec<isize>, usize)> {
    let rank = shape.len();
    let dense = |order: &[usize], pad: usize| {
        let mut strides = vec![0isize; rank];
        let mut step = 1;
        for &d in order.iter().rev() {
            strides[d] = step as isize;
            step *= shape[d] + pad;
        }
        (0, strides, step.max(1))
    };
    let forward: Vec<usize> = (0..rank).collect();
    let backward: Vec<usize> = (0..rank).rev().collect();
    let mut all = vec![
        dense(&forward, 0),
        dense(&backward, 0),
        dense(&forward, 3),
        dense(&backward, 1),
    ];
    if rank > 2 {
        all.push(dense(&[0, 2, 1], 0));
    }
    if !written {
        for d in 0..rank {
            let (_, mut strides, size) = dense(&forward, 0);
            strides[d] = 0;
            all.push((0, strides, size));
        }
        if rank > 0 && shape.iter().all(|&s| s > 0) {
            let (_, strides, size) = dense(&forward, 0);
            let offset = shape.iter().zip(&strides).map(|(s, t)| (s - 1) * *t as usize).sum();
            all.push((offset, strides.iter().map(|s| -s).collect(), size));
        }
    }
    all
}

/// Every index of a shape.
fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    shape.iter().fold(vec![vec![]], |all, &s| {
        all.iter()
            .flat_map(|p| (0..s).map(move |i| [p.as_slice(), &[i]].concat()))
            .collect()
    })
}

fn at(index: &[usize], offset: usize, strides: &[isize]) -> usize {
    (offset as isize + index.iter().zip(strides).map(|(i, s)| *i as isize * s).sum::<isize>()) as usize
}

const SHAPES: &[&[usize]] = &[
    &[],
    &[0, 3],
    &[1],
    &[5],
    &[700],
    &[3, 200],
    &[130, 5],
    &[40, 3, 33],
    &[2, 17, 140],
    &[131, 141],
];

#[test]
fn every_layout() {
    for shape in SHAPES {
        for (ao, astr, an) in layouts(shape, false) {
            let a: Vec<f32> = (0..an).map(|i| i as f32 * 0.5 - 7.0).collect();
            for (bo, bstr, bn) in layouts(shape, false) {
                let b: Vec<i16> = (0..bn).map(|i| (i * 37 % 1001) as i16).collect();
                for (_, ostr, on) in layouts(shape, true) {
                    let name = format!("{shape:?} {astr:?} {bstr:?} {ostr:?}");
                    let (va, vb) = (src(&a, ao, shape, &astr), src(&b, bo, shape, &bstr));
                    let mut out = vec![-1f32; on];
                    binary(
                        Binary::Sub,
                        DType::F32,
                        Operand::View(va),
                        Operand::View(vb),
                        dst(&mut out, shape, &ostr),
                    );
                    let mut less = vec![Bool(9); on];
                    binary(
                        Binary::Lt,
                        DType::F32,
                        Operand::View(va),
                        Operand::View(vb),
                        dst(&mut less, shape, &ostr),
                    );
                    for i in indices(shape) {
                        let (x, y) = (a[at(&i, ao, &astr)], b[at(&i, bo, &bstr)] as f32);
                        assert_eq!(out[at(&i, 0, &ostr)], x - y, "{name} at {i:?}");
                        assert_eq!(less[at(&i, 0, &ostr)], Bool::from(x < y), "{name} at {i:?}");
                    }
                }
            }
        }
    }
}

/// Both inputs of one type, into an output of theirs or into one of them.
#[test]
fn every_layout_of_one_type() {
    const MORE: &[&[usize]] = &[&[9, 2], &[5, 3, 4], &[7, 15], &[6, 16], &[3, 2, 17], &[48, 64]];
    for shape in SHAPES.iter().chain(MORE) {
        for (ao, astr, an) in layouts(shape, false) {
            let a: Vec<f64> = (0..an).map(|i| i as f64 * 0.5 - 7.0).collect();
            for (bo, bstr, bn) in layouts(shape, false) {
                let b: Vec<f64> = (0..bn).map(|i| (i * 37 % 1001) as f64).collect();
                for (_, ostr, on) in layouts(shape, true) {
                    let (va, vb) = (src(&a, ao, shape, &astr), src(&b, bo, shape, &bstr));
                    let [va, vb] = [va, vb].map(Operand::View);
                    let mut out = vec![-1f64; on];
                    binary(Binary::Sub, DType::F64, va, vb, dst(&mut out, shape, &ostr));
                    let mut minuend = vec![0.25; on];
                    let to = dst(&mut minuend, shape, &ostr);
                    binary(Binary::Sub, DType::F64, Operand::View(to.as_src()), vb, to);
                    let mut subtrahend = vec![0.25; on];
                    let to = dst(&mut subtrahend, shape, &ostr);
                    binary(Binary::Sub, DType::F64, va, Operand::View(to.as_src()), to);
                    for i in indices(shape) {
                        let (x, y, o) = (a[at(&i, ao, &astr)], b[at(&i, bo, &bstr)], at(&i, 0, &ostr));
                        let got = [out[o], minuend[o], subtrahend[o]];
                        assert_eq!(
                            got,
                            [x - y, 0.25 - y, x - 0.25],
                            "{shape:?} {astr:?} {bstr:?} {ostr:?} {i:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn copies_and_fills() {
    // Lines in turn, and rows of one value.
    const MORE: &[&[usize]] = &[&[40, 2], &[33, 3], &[5, 70, 4], &[3, 100, 10], &[20, 16], &[9, 37]];
    for shape in SHAPES.iter().chain(MORE) {
        for (ao, astr, an) in layouts(shape, false) {
            let a: Vec<u16> = (0..an).map(|i| i as u16).collect();
            for (_, ostr, on) in layouts(shape, true) {
                let view = src(&a, ao, shape, &astr);
                let (mut same, mut wide, mut filled) = (vec![9u16; on], vec![9f64; on], vec![9i8; on]);
                let bytes: Vec<u8> = a.iter().map(|v| (v % 251) as u8).collect();
                let mut same_bytes = vec![9u8; on];
                copy(src(&bytes, ao, shape, &astr), dst(&mut same_bytes, shape, &ostr));
                copy(view, dst(&mut same, shape, &ostr));
                copy(view, dst(&mut wide, shape, &ostr));
                fill(dst(&mut filled, shape, &ostr), Scalar::Int(-2));
                for i in indices(shape) {
                    let want = a[at(&i, ao, &astr)];
                    let o = at(&i, 0, &ostr);
                    assert_eq!(same_bytes[o], (want % 251) as u8, "{shape:?} {astr:?} {ostr:?}");
                    assert_eq!(
                        (same[o], wide[o], filled[o]),
                        (want, want as f64, -2),
                        "{shape:?} {astr:?} {ostr:?}"
                    );
                }
                let touched = indices(shape).len();
                assert_eq!(
                    filled.iter().filter(|&&v| v == -2).count(),
                    touched,
                    "{shape:?} {ostr:?}"
                );
            }
        }
    }
}

/// In place gives what another output does, whichever input is the output.
#[test]
fn in_place_is_the_same() {
    for n in [3usize, 500, 513, 70_001] {
        let a: Vec<f32> = (0..n).map(|i| i as f32 * 0.37 - 9.0).collect();
        let b: Vec<f32> = (0..n).map(|i| (i * 31 % 97) as f32 + 0.5).collect();
        for op in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Maximum] {
            let want: Vec<f32> = apply2(op, &a, &b);
            let (mut first, mut second) = (a.clone(), b.clone());
            let out = flat_mut(&mut first);
            binary(
                op,
                DType::F32,
                Operand::View(out.as_src()),
                Operand::View(flat(&b)),
                out,
            );
            let out = flat_mut(&mut second);
            binary(
                op,
                DType::F32,
                Operand::View(flat(&a)),
                Operand::View(out.as_src()),
                out,
            );
            assert!(first == want && second == want, "{op:?} of {n}");
            let want: Vec<f32> = apply2(op, &a, &a);
            let mut both = a.clone();
            let out = flat_mut(&mut both);
            binary(
                op,
                DType::F32,
                Operand::View(out.as_src()),
                Operand::View(out.as_src()),
                out,
            );
            assert_eq!(both, want, "{op:?} of {n} with itself");
        }
        for op in [Unary::Neg, Unary::Abs, Unary::Relu, Unary::Square, Unary::Exp] {
            let want: Vec<f32> = apply1(op, &a);
            let mut got = a.clone();
            let out = flat_mut(&mut got);
            unary(op, DType::F32, Operand::View(out.as_src()), out);
            assert_eq!(got, want, "{op:?} of {n}");
        }
    }
    // Every second element, and turned round: the output is the input there too.
    let shape = [40, 50];
    for strides in [[100isize, 2], [1, 40]] {
        let mut x: Vec<f64> = (0..4000).map(|i| i as f64).collect();
        let out = dst(&mut x, &shape, &strides);
        binary(
            Binary::Mul,
            DType::F64,
            Operand::View(out.as_src()),
            Operand::Scalar(Scalar::Float(2.0)),
            out,
        );
        for i in indices(&shape) {
            let k = at(&i, 0, &strides);
            assert_eq!(x[k], 2.0 * k as f64);
        }
    }
}

#[test]
fn in_place_large_and_mixed() {
    let n = 100_003;
    let mut x: Vec<f32> = (0..n).map(|i| i as f32).collect();
    let out = flat_mut(&mut x);
    binary(
        Binary::Add,
        DType::F32,
        Operand::View(out.as_src()),
        Operand::Scalar(Scalar::Int(1)),
        out,
    );
    binary(
        Binary::Mul,
        DType::F32,
        Operand::View(out.as_src()),
        Operand::View(out.as_src()),
        out,
    );
    assert!(
        x.iter()
            .enumerate()
            .all(|(i, v)| *v == (i as f32 + 1.0) * (i as f32 + 1.0))
    );

    let cond = [2u8, 0, 1, 0];
    let (a, b) = ([1i32, 2, 3, 4], [10i8, 20, 30, 40]);
    let mut chosen = [0i16; 4];
    let views = [
        Operand::View(flat(&cond)),
        Operand::View(flat(&a)),
        Operand::View(flat(&b)),
    ];
    ternary(
        Ternary::Where,
        DType::I64,
        views[0],
        views[1],
        views[2],
        flat_mut(&mut chosen),
    );
    assert_eq!(chosen, [1, 20, 3, 40]);

    let mut sum = [0f64; 4];
    addcmul(
        DType::F64,
        views[1],
        views[2],
        views[1],
        Scalar::Float(0.5),
        flat_mut(&mut sum),
    );
    assert_eq!(sum, [6.0, 22.0, 48.0, 84.0]);
    addcdiv(
        DType::F64,
        views[1],
        views[2],
        views[1],
        Scalar::Float(0.5),
        flat_mut(&mut sum),
    );
    assert_eq!(sum, [6.0, 7.0, 8.0, 9.0]);
}

/// Results whose lines are asked for: rows of several lengths, numbers, operands of other types, conversions.
#[test]
fn results_beyond_the_caches() {
    for shape in [&[800_011][..], &[6300, 127], &[800, 1000]] {
        let n: usize = shape.iter().product();
        let strides = match shape {
            [_, cols] => vec![*cols as isize, 1],
            _ => vec![1],
        };
        let a: Vec<f32> = (0..n).map(|i| (i % 8191) as f32).collect();
        let b: Vec<i32> = (0..n).map(|i| (i * 37 % 1001) as i32).collect();
        let row: Vec<isize> = strides.iter().map(|s| if *s == 1 { 1 } else { 0 }).collect();
        let view = Operand::View(src(&a, 0, shape, &strides));
        let others = [
            (Operand::View(src(&b, 0, shape, &strides)), &b[..], n),
            (Operand::View(src(&a, 0, shape, &row)), &[], shape[shape.len() - 1]),
            (Operand::Scalar(Scalar::Float(2.5)), &[], 0),
        ];
        for threads in [1, 3] {
            let _turn = crate::testing::with_threads(threads);
            for (other, ints, period) in others {
                let mut out = vec![-1f32; n + 1];
                binary(Binary::Sub, DType::F32, view, other, dst(&mut out, shape, &strides));
                assert_eq!(out.pop(), Some(-1.0));
                for (i, v) in out.into_iter().enumerate() {
                    let y = match (ints.is_empty(), period) {
                        (false, _) => ints[i] as f32,
                        (true, 0) => 2.5,
                        (true, period) => a[i % period],
                    };
                    assert_eq!(v, a[i] - y, "{shape:?} at {i}");
                }
            }
            let (mut wide, mut whole) = (vec![-1f64; n + 1], vec![-1i64; n + 1]);
            copy(src(&a, 0, shape, &strides), dst(&mut wide, shape, &strides));
            copy(src(&a, 0, shape, &strides), dst(&mut whole, shape, &strides));
            assert_eq!((wide.pop(), whole.pop()), (Some(-1.0), Some(-1)));
            for i in 0..n {
                assert_eq!((wide[i], whole[i]), (a[i] as f64, a[i] as i64), "{shape:?} at {i}");
            }
        }
    }
}

#[test]
fn copies_of_many_megabytes() {
    let n = (17 << 20) + 77;
    let bytes: Vec<u8> = (0..n).map(|i| (i * 31 % 251) as u8).collect();
    let words: Vec<i64> = (0..n as i64 / 8).collect();
    for threads in [1, 3] {
        let _turn = crate::testing::with_threads(threads);
        let mut to = vec![255u8; n + 1];
        copy(src(&bytes, 0, &[n], &[1]), dst(&mut to, &[n], &[1]));
        assert!(to.pop() == Some(255) && to == bytes);
        let mut to = vec![-1i64; words.len() + 1];
        let shape = [words.len()];
        copy(src(&words, 0, &shape, &[1]), dst(&mut to, &shape, &[1]));
        assert!(to.pop() == Some(-1) && to == words);
    }
}
