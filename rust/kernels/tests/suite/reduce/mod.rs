//! Reductions against sums in double precision, on layouts of all kinds.

mod extremum;
mod real;
mod same_bits;
mod stored;

use firesteel_kernels::dtype::{Bool, DType, Scalar};
use firesteel_kernels::internals::{collect, dense, keepdim};
use firesteel_kernels::reduce::*;
use firesteel_kernels::{AnyDst, AnySrc, Src};

/// A reduction in the dtype that stands in for the elements'. Of no elements the extremes are infinite.
pub(crate) fn in_own(op: Reduce, src: AnySrc, axes: &[bool], dst: AnyDst) {
    let none = |v| firesteel_kernels::elementwise::fill(dst, Scalar::Float(v));
    match op {
        Reduce::Max if src.numel() == 0 => none(f64::NEG_INFINITY),
        Reduce::Min if src.numel() == 0 => none(f64::INFINITY),
        _ => reduce(op, src.dtype().compute(), src, axes, dst),
    }
}

/// Views of one buffer that kernels must treat alike: contiguous, permuted, sliced with a negative step, broadcast.
pub(crate) fn layouts(shape: &[usize]) -> Vec<(Vec<usize>, Vec<isize>, isize, usize)> {
    let n = shape.len();
    let contiguous = dense(shape)[..n].to_vec();
    let size: usize = shape.iter().product::<usize>().max(1);
    let mut all = vec![(shape.to_vec(), contiguous.clone(), 0, size)];
    if n >= 1 {
        let apart = contiguous.iter().map(|s| 2 * s).collect();
        all.push((shape.to_vec(), apart, 0, 2 * size));
    }
    if n >= 2 {
        let reversed: Vec<usize> = shape.iter().rev().copied().collect();
        let mut strides = dense(&reversed)[..n].to_vec();
        strides.reverse();
        all.push((shape.to_vec(), strides, 0, size));
        let mut negative = contiguous.clone();
        negative[n - 1] = -2;
        for s in negative[..n - 1].iter_mut() {
            *s *= 2;
        }
        all.push((shape.to_vec(), negative, 2 * (shape[n - 1] as isize - 1), 2 * size));
        let mut broadcast = contiguous;
        broadcast[0] = 0;
        all.push((shape.to_vec(), broadcast, 0, size));
    }
    all
}

pub(crate) fn numbers(n: usize) -> Vec<f32> {
    let mut state = 12345u64;
    (0..n)
        .map(|_| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            ((state >> 40) as f32) / 8388608.0 - 1.0
        })
        .collect()
}

const CASES: &[(&[usize], &[bool])] = &[
    (&[], &[]),
    (&[1], &[true]),
    (&[7], &[true]),
    (&[100], &[true]),
    (&[9001], &[true]),
    (&[3, 0], &[false, true]),
    (&[5, 33], &[false, true]),
    (&[33, 5], &[true, false]),
    (&[300, 270], &[true, false]),
    (&[300, 270], &[true, true]),
    (&[4, 6, 5, 7], &[true, false, true, true]),
    (&[4, 6, 5, 7], &[false, true, false, true]),
    (&[2, 3, 70, 71], &[true, false, true, true]),
    (&[100, 3], &[false, true]),
    (&[9, 16], &[false, true]),
    (&[5, 63], &[false, true]),
    (&[3, 127], &[false, true]),
    (&[70, 65], &[true, false]),
    (&[2500, 17], &[true, false]),
    (&[5000, 2], &[false, false]),
];

fn reference(x: &[f64], shape: &[usize], axes: &[bool], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let out = keepdim(shape, axes);
    let mut groups = vec![Vec::new(); out.iter().product()];
    let steps = dense(&out);
    for (i, &v) in x.iter().enumerate() {
        let (mut rest, mut at) = (i, 0);
        for d in (0..shape.len()).rev() {
            let c = rest % shape[d];
            rest /= shape[d];
            if !axes[d] {
                at += c * steps[d] as usize;
            }
        }
        groups[at].push(v);
    }
    groups.iter().map(|g| f(g)).collect()
}

fn check(name: &str, tol: f64, op: impl Fn(AnySrc, &[bool], AnyDst), want: impl Fn(&[f64]) -> f64 + Copy) {
    for &(shape, axes) in CASES {
        for (shape, strides, offset, room) in layouts(shape) {
            let data = numbers(room);
            // SAFETY: `layouts` says how much room the strides need.
            let src = unsafe { Src::new(data.as_ptr().offset(offset), &shape, &strides) };
            let values: Vec<f64> = collect(&src).iter().map(|&v| v as f64).collect();
            let expect = reference(&values, &shape, axes, want);
            // Rounding grows with what is added up, not with the result.
            let size = reference(&values, &shape, axes, |g| {
                g.iter().map(|v| v.abs()).sum::<f64>().max(1.0)
            });
            let out_shape = keepdim(&shape, axes);
            let mut out = vec![7.0f32; expect.len()];
            let (dst, d) = (out.as_mut_ptr().cast(), dense(&out_shape));
            // SAFETY: as above; `out` has the result's shape.
            unsafe {
                op(
                    AnySrc::new(src.ptr().cast(), DType::F32, &shape, &strides),
                    axes,
                    AnyDst::new(dst, DType::F32, &out_shape, &d[..shape.len()]),
                );
            }
            for ((&got, &want), &size) in out.iter().zip(&expect).zip(&size) {
                let same = got as f64 == want || (got.is_nan() && want.is_nan());
                assert!(
                    same || (got as f64 - want).abs() <= tol * if name == "sum" { size } else { want.abs().max(1.0) },
                    "{name} {shape:?} {strides:?} {axes:?}: {got} {want}"
                );
            }
        }
    }
}

#[test]
fn floats_against_reference() {
    check("sum", 1e-6, |s, a, d| in_own(Reduce::Sum, s, a, d), |g| g.iter().sum());
    check(
        "prod",
        1e-5,
        |s, a, d| in_own(Reduce::Prod, s, a, d),
        |g| g.iter().product(),
    );
    check("mean", 1e-6, mean, |g| g.iter().sum::<f64>() / g.len() as f64);
    let max = |g: &[f64]| g.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    check("max", 0.0, |s, a, d| in_own(Reduce::Max, s, a, d), max);
    check(
        "min",
        0.0,
        |s, a, d| in_own(Reduce::Min, s, a, d),
        |g| g.iter().copied().fold(f64::INFINITY, f64::min),
    );
    let lse = |g: &[f64]| g.iter().map(|v| v.exp()).sum::<f64>().ln();
    check("logsumexp", 2e-6, |s, a, d| in_own(Reduce::LogSumExp, s, a, d), lse);
    let var = |g: &[f64]| {
        let m = g.iter().sum::<f64>() / g.len() as f64;
        g.iter().map(|v| (v - m) * (v - m)).sum::<f64>() / (g.len() as f64 - 1.0).max(0.0)
    };
    check(
        "var",
        3e-6,
        |s, a, d| firesteel_kernels::reduce::var(s, a, 1.0, false, d),
        var,
    );
    check(
        "std",
        3e-6,
        |s, a, d| firesteel_kernels::reduce::var(s, a, 1.0, true, d),
        |g| var(g).sqrt(),
    );
    for p in [0.5, 1.0, 2.0, 3.0] {
        let want = |g: &[f64]| g.iter().map(|v| v.abs().powf(p)).sum::<f64>().powf(1.0 / p);
        check("norm", 1e-5, |s, a, d| in_own(Reduce::Norm(p), s, a, d), want);
    }
    let nonzero = |g: &[f64]| g.iter().filter(|v| **v != 0.0).count() as f64;
    check("norm 0", 0.0, |s, a, d| in_own(Reduce::Norm(0.0), s, a, d), nonzero);
    let big = |g: &[f64]| g.iter().fold(0.0, |a: f64, v| a.max(v.abs()));
    check(
        "norm inf",
        0.0,
        |s, a, d| in_own(Reduce::Norm(f64::INFINITY), s, a, d),
        big,
    );
}

#[test]
fn an_odd_dtype_and_nan() {
    let ints: Vec<i64> = (1..=70).collect();
    let mut out = [0i64];
    let shape = [70];
    let any = |v: &[i64]| -> AnySrc<'_> {
        // SAFETY: 70 elements.
        unsafe { AnySrc::new(v.as_ptr().cast(), DType::I64, &shape, &[1]) }
    };
    // SAFETY: one element.
    let dst = |v: &mut [i64]| unsafe { AnyDst::new(v.as_mut_ptr().cast(), DType::I64, &[1], &[1]) };
    in_own(Reduce::Sum, any(&ints), &[true], dst(&mut out));
    assert_eq!(out[0], 70 * 71 / 2);
    in_own(Reduce::Prod, any(&ints), &[true], dst(&mut out));
    assert_eq!(out[0], ints.iter().fold(1i64, |a, &b| a.wrapping_mul(b)));
    let mut floats = numbers(100);
    floats[40] = f32::NAN;
    floats[60] = f32::NAN;
    let mut value = [0f32];
    for max in [true, false] {
        // SAFETY: 100 elements, one result.
        unsafe {
            let src = AnySrc::new(floats.as_ptr().cast(), DType::F32, &[100], &[1]);
            let values = AnyDst::new(value.as_mut_ptr().cast(), DType::F32, &[1], &[1]);
            arg_reduce(max, src, 0, Some(values), dst(&mut out));
            assert!(!equal(src, src));
        }
        assert_eq!(out[0], 40);
        assert!(value[0].is_nan());
    }
}

#[test]
fn arg_reduce_everywhere() {
    for shape in [&[5usize, 40][..], &[40, 5], &[3, 70, 90], &[6, 1, 4]] {
        for axis in 0..shape.len() {
            for (shape, strides, offset, room) in layouts(shape) {
                // Coarse values, so that there are ties.
                let data: Vec<f32> = numbers(room).iter().map(|v| (v * 4.0).round()).collect();
                let out_shape: Vec<usize> = (0..shape.len()).map(|d| if d == axis { 1 } else { shape[d] }).collect();
                let count = out_shape.iter().product();
                let (mut index, mut value) = (vec![0i64; count], vec![0f32; count]);
                let d = dense(&out_shape);
                // SAFETY: `layouts` says how much room the strides need; the results have their shape.
                let src = unsafe {
                    let src = AnySrc::new(data.as_ptr().offset(offset).cast(), DType::F32, &shape, &strides);
                    let values = AnyDst::new(value.as_mut_ptr().cast(), DType::F32, &out_shape, &d[..shape.len()]);
                    let indices = AnyDst::new(index.as_mut_ptr().cast(), DType::I64, &out_shape, &d[..shape.len()]);
                    arg_reduce(true, src, axis, Some(values), indices);
                    src
                };
                assert!(equal(src, src));
                let all = collect(&src.typed::<f32>());
                let inner: usize = shape[axis + 1..].iter().product();
                for o in 0..count {
                    let first = o / inner * inner * shape[axis] + o % inner;
                    let mut best = 0;
                    for k in 1..shape[axis] {
                        if all[first + k * inner] > all[first + best * inner] {
                            best = k;
                        }
                    }
                    assert_eq!(
                        (index[o], value[o]),
                        (best as i64, all[first + best * inner]),
                        "{shape:?} {strides:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn truths() {
    let bits: Vec<Bool> = (0..200).map(|i| Bool((i == 150) as u8)).collect();
    let mut out = [Bool(0); 2];
    let mut n = [0i64; 2];
    // SAFETY: 2 x 100 elements, 2 results.
    unsafe {
        let src = AnySrc::new(bits.as_ptr().cast(), DType::Bool, &[2, 100], &[100, 1]);
        let dst = AnyDst::new(out.as_mut_ptr().cast(), DType::Bool, &[2, 1], &[1, 1]);
        in_own(Reduce::Any, src, &[false, true], dst);
        assert_eq!(out, [Bool(0), Bool(1)]);
        in_own(Reduce::All, src, &[false, true], dst);
        assert_eq!(out, [Bool(0), Bool(0)]);
        let dst = AnyDst::new(n.as_mut_ptr().cast(), DType::I64, &[2, 1], &[1, 1]);
        in_own(Reduce::Sum, src, &[false, true], dst);
        assert_eq!(n, [0, 1]);
        assert_eq!(count_nonzero(src), 1);
    }
}

/// Infinities and NaN in one line of many, lines in one piece and side by side.
#[test]
fn logsumexp_of_special_values() {
    let inf = f32::INFINITY;
    let lines: [([f32; 3], f32); 7] = [
        ([1.0, inf, 2.0], inf),
        ([inf, inf, -inf], inf),
        ([-inf, -inf, -inf], -inf),
        ([-inf, 0.0, -inf], 0.0),
        ([f32::NAN, inf, 1.0], f32::NAN),
        ([-inf, f32::NAN, -inf], f32::NAN),
        ([1000.0, -1000.0, 1000.0], 1000.0 + std::f32::consts::LN_2),
    ];
    for count in [7usize, 70] {
        for side_by_side in [false, true] {
            let mut x = vec![0f32; count * 3];
            let strides = if side_by_side { [1, count as isize] } else { [3, 1] };
            for i in 0..count {
                for k in 0..3 {
                    x[i * strides[0] as usize + k * strides[1] as usize] = lines[i % 7].0[k];
                }
            }
            let mut out = vec![7f32; count];
            // SAFETY: three elements in each of the lines, and a result for each.
            unsafe {
                let src = AnySrc::new(x.as_ptr().cast(), DType::F32, &[count, 3], &strides);
                let dst = AnyDst::new(out.as_mut_ptr().cast(), DType::F32, &[count, 1], &[1, 1]);
                in_own(Reduce::LogSumExp, src, &[false, true], dst);
            }
            for (i, &got) in out.iter().enumerate() {
                let want = lines[i % 7].1;
                let near = got == want || got.is_nan() && want.is_nan() || (got - want).abs() < 1e-3;
                assert!(near, "line {i} of {count}, side by side {side_by_side}: {got} {want}");
            }
        }
    }
}
