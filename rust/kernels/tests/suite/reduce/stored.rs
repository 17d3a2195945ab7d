//! Folds of elements that are stored in another dtype than they are folded in: what they give of a converted copy.

use crate::testing::numbers;
use firesteel_kernels::dtype::{DType, Element, bf16, f16};
use firesteel_kernels::reduce::{Reduce, mean, reduce, var};
use firesteel_kernels::{AnyDst, AnySrc, elementwise};

const SIZES: [usize; 12] = [1, 7, 8, 15, 16, 17, 63, 64, 65, 127, 1000, 4500];

/// A reduction of `data`, and that of its copy in `W`, which lies alike.
fn same<T: Element, W: Element + std::fmt::Debug>(
    data: &[T],
    shape: [usize; 2],
    strides: [isize; 2],
    run: impl Fn(AnySrc, &[bool], AnyDst),
) {
    let copy: Vec<W> = {
        let mut copy = vec![W::default(); data.len()];
        let n = [data.len()];
        // SAFETY: dense vectors.
        unsafe {
            let from = AnySrc::new(data.as_ptr().cast(), T::DTYPE, &n, &[1]);
            elementwise::copy(from, AnyDst::new(copy.as_mut_ptr().cast(), W::DTYPE, &n, &[1]));
        }
        copy
    };
    for axes in [[true, true], [true, false], [false, true]] {
        let outputs = [if axes[0] { 1 } else { shape[0] }, if axes[1] { 1 } else { shape[1] }];
        let [got, want] = [(data.as_ptr().cast(), T::DTYPE), (copy.as_ptr().cast(), W::DTYPE)].map(|(p, d)| {
            let mut out = vec![W::default(); outputs[0] * outputs[1]];
            // SAFETY: inside the data, as the caller asked; dense in its shape.
            unsafe {
                let to = AnyDst::new(out.as_mut_ptr().cast(), W::DTYPE, &outputs, &[outputs[1] as isize, 1]);
                run(AnySrc::new(p, d, &shape, &strides), &axes, to);
            }
            out
        });
        let close = |(a, b): (&W, &W)| {
            let (a, b) = (a.to_f64(), b.to_f64());
            a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-5 * b.abs().max(1.0)
        };
        // Short strided runs are brought side by side first, and are folded in lanes then; so are the rows of one element.
        assert!(
            got.iter().zip(&want).all(close),
            "{shape:?} {strides:?} {axes:?}: {got:?} {want:?}"
        );
        if strides[1] == 1 && shape[1] > 1 || !W::DTYPE.is_float() {
            let alike = got
                .iter()
                .zip(&want)
                .all(|(a, b)| a == b || a.to_f64().is_nan() && b.to_f64().is_nan());
            assert!(alike, "{shape:?} {strides:?} {axes:?}: {got:?} {want:?}");
        }
    }
}

fn every_way<T: Element, W: Element + std::fmt::Debug>(ops: &[Reduce]) {
    let data: Vec<T> = numbers(60_000, 3).iter().map(|v| T::from_f64(v * 50.0)).collect();
    for [m, n] in SIZES
        .iter()
        .flat_map(|&m| SIZES.map(|n| [m, n]))
        .filter(|[m, n]| m * n <= 20_000)
    {
        let right = n as isize;
        for strides in [[right, 1], [1, m as isize], [2 * right, 2], [right + 3, 1], [0, 1]] {
            if (m as isize - 1) * strides[0] + (right - 1) * strides[1] >= 60_000 {
                continue;
            }
            for &op in ops {
                same::<T, W>(&data, [m, n], strides, |s, a, d| reduce(op, W::DTYPE, s, a, d));
            }
            if W::DTYPE.is_float() {
                same::<T, W>(&data, [m, n], strides, mean);
                same::<T, W>(&data, [m, n], strides, |s, a, d| var(s, a, 0.0, true, d));
            }
        }
    }
}

#[test]
fn integers() {
    let ops = [Reduce::Sum, Reduce::Prod, Reduce::CountNonzero];
    every_way::<u8, i64>(&ops);
    every_way::<i8, i64>(&ops[..1]);
    every_way::<i16, i64>(&ops[..1]);
    every_way::<i32, i64>(&ops);
}

#[test]
fn halves() {
    let ops = [
        Reduce::Sum,
        Reduce::NanSum,
        Reduce::Norm(2.0),
        Reduce::Norm(f64::INFINITY),
    ];
    every_way::<bf16, f32>(&ops);
    every_way::<f16, f32>(&ops[..1]);
    every_way::<f32, f64>(&ops[..1]);
}

#[test]
fn a_sum_of_what_is_a_number() {
    let data = [1.0f32, f32::NAN, 2.0, -f32::NAN, f32::INFINITY, 4.0];
    let mut out = [0f32; 2];
    // SAFETY: two lines of three, two results.
    unsafe {
        let src = AnySrc::new(data.as_ptr().cast(), DType::F32, &[2, 3], &[1, 2]);
        let dst = AnyDst::new(out.as_mut_ptr().cast(), DType::F32, &[2, 1], &[1, 1]);
        reduce(Reduce::NanSum, DType::F32, src, &[false, true], dst);
    }
    assert_eq!(out, [f32::INFINITY, 4.0]);
}
