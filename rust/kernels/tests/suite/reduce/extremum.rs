//! Smallest and largest elements of every dtype as it is stored.

use crate::testing::numbers;
use firesteel_kernels::dtype::{DType, Element, bf16, f16};
use firesteel_kernels::parallel::set_threads;
use firesteel_kernels::reduce::extrema;
use firesteel_kernels::{AnyDst, AnySrc};

const SIZES: [usize; 13] = [1, 2, 7, 8, 15, 16, 17, 63, 64, 65, 127, 1000, 5000];

fn check<T: Element + std::fmt::Debug>(data: &[T], shape: [usize; 2], strides: [isize; 2], axes: [bool; 2]) {
    let [m, n] = shape;
    // SAFETY: inside the data, as the caller asked.
    let src = unsafe { AnySrc::new(data.as_ptr().cast(), T::DTYPE, &shape, &strides) };
    let outputs = [if axes[0] { 1 } else { m }, if axes[1] { 1 } else { n }];
    let count = outputs[0] * outputs[1];
    let mut want = vec![[f64::INFINITY, f64::NEG_INFINITY]; count];
    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
        let v = data[(i as isize * strides[0] + j as isize * strides[1]) as usize].to_f64();
        let w = &mut want[i % outputs[0] * outputs[1] + j % outputs[1]];
        *w = if v.is_nan() || w[0].is_nan() {
            [f64::NAN; 2]
        } else {
            [w[0].min(v), w[1].max(v)]
        };
    }
    for (low, high) in [(true, false), (false, true), (true, true)] {
        let mut got = [vec![T::default(); count], vec![T::default(); 2 * count]];
        let [a, b] = &mut got;
        // SAFETY: one dense in its shape, one with twice the strides.
        let (a, b) = unsafe {
            (
                AnyDst::new(a.as_mut_ptr().cast(), T::DTYPE, &outputs, &[outputs[1] as isize, 1]),
                AnyDst::new(b.as_mut_ptr().cast(), T::DTYPE, &outputs, &[2 * outputs[1] as isize, 2]),
            )
        };
        assert!(extrema(src, &axes, low.then_some(a), high.then_some(b)));
        for (at, w) in want.iter().enumerate() {
            let same = |got: T, want: f64| got.to_f64() == want || got.to_f64().is_nan() && want.is_nan();
            let (l, h) = (got[0][at], got[1][2 * at]);
            assert!(
                !low || same(l, w[0]),
                "{shape:?} {strides:?} {axes:?} at {at}: {l:?} {w:?}"
            );
            assert!(
                !high || same(h, w[1]),
                "{shape:?} {strides:?} {axes:?} at {at}: {h:?} {w:?}"
            );
        }
    }
}

fn every_way<T: Element + std::fmt::Debug>(special: &[T]) {
    let mut data: Vec<T> = numbers(300_000, 3)
        .iter()
        .map(|&v| {
            if special.is_empty() {
                T::from_i64((v * 3e9) as i64)
            } else {
                T::from_f64(v)
            }
        })
        .collect();
    for (i, &v) in special.iter().enumerate() {
        for at in 0..20 {
            data[(at * 15_013 + i * 371) % 300_000] = v;
        }
    }
    let shapes = SIZES.iter().flat_map(|&m| SIZES.map(|n| [m, n]));
    for [m, n] in shapes.filter(|[m, n]| m * n <= 150_000) {
        let (down, right) = (m as isize, n as isize);
        for strides in [[right, 1], [1, down], [2 * right, 2], [right + 3, 1], [0, 1], [1, 0]] {
            let last = (down - 1) * strides[0] + (right - 1) * strides[1];
            if last < 300_000 {
                for axes in [[true, true], [true, false], [false, true]] {
                    check(&data, [m, n], strides, axes);
                }
            }
        }
    }
}

#[test]
fn integers() {
    for threads in [1, 3] {
        set_threads(threads);
        every_way::<u8>(&[]);
        every_way::<i8>(&[]);
        every_way::<i16>(&[]);
        every_way::<i32>(&[]);
        every_way::<i64>(&[]);
    }
}

/// With infinities, NaN of either sign, and zeros of either sign.
#[test]
fn floats() {
    let bits = [0x7f80u16, 0xff80, 0x7fc0, 0xffc0, 0x8000];
    every_way::<bf16>(&bits.map(bf16::from_bits));
    every_way::<f16>(&[0x7c00u16, 0xfc00, 0x7e01, 0xfe01, 0x8000].map(f16::from_bits));
    every_way::<f32>(&bits.map(|b| f32::from_bits((b as u32) << 16)));
    every_way::<f64>(&[f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -f64::NAN, -0.0]);
}

#[test]
fn three_dims_and_lines_of_several_runs() {
    let data: Vec<i32> = numbers(60_000, 5).iter().map(|v| (v * 1e9) as i32).collect();
    let shape = [30usize, 40, 50];
    for (strides, all) in [
        ([2000isize, 50, 1], [true, false, true]),
        ([1, 30, 1200], [true, false, true]),
    ] {
        let mut got = [[0i32; 40]; 2];
        let [low, high] = got.each_mut().map(|v| v.as_mut_ptr().cast());
        // SAFETY: 60,000 elements, 40 results.
        unsafe {
            let src = AnySrc::new(data.as_ptr().cast(), DType::I32, &shape, &strides);
            let to = |p| AnyDst::new(p, DType::I32, &[1, 40, 1], &[40, 1, 1]);
            assert!(extrema(src, &all, Some(to(low)), Some(to(high))));
        }
        for j in 0..40 {
            let at =
                |i: usize, k: usize| data[i * strides[0] as usize + j * strides[1] as usize + k * strides[2] as usize];
            let line = || (0..30).flat_map(|i| (0..50).map(move |k| at(i, k)));
            assert_eq!((Some(got[0][j]), Some(got[1][j])), (line().min(), line().max()));
        }
    }
}
