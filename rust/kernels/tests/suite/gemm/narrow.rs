//! Products of integers, and of narrow numbers.

use super::{F32, Layout, Matrix};
use crate::testing::with_threads;
use firesteel_kernels::dtype::Element;
use firesteel_kernels::gemm::*;
use firesteel_kernels::internals::available;
use firesteel_kernels::internals::gemm::bytes;
use firesteel_kernels::{Dst, Src};

#[test]
fn integers_wrap() {
    let (a, b) = ([i64::MAX, 2, 3, 4], [2i64, 0, 1, 1]);
    let (mut c, bias) = ([1i64; 4], [10i64]);
    // SAFETY: 2 x 2 matrices; b is read transposed.
    unsafe {
        let (a, b) = (
            Src::new(a.as_ptr(), &[2, 2], &[2, 1]),
            Src::new(b.as_ptr(), &[2, 2], &[1, 2]),
        );
        let ep = Epilogue {
            accumulate: true,
            bias: Bias::Columns(Src::new(bias.as_ptr(), &[1], &[1])),
            ..Epilogue::default()
        };
        matmul(a, b, Dst::new(c.as_mut_ptr(), &[2, 2], &[2, 1]), ep);
    }
    assert_eq!(c, [11 - 2, i64::MIN + 12, 17, 18]);
}

/// Against sums of 128 bits, cut off; every layout, bits beyond the halves of a word.
fn exact<T: GemmElement + PartialEq + std::fmt::Debug>(
    m: usize,
    k: usize,
    n: usize,
    [la, lb, lc]: [Layout; 3],
    cut: fn(i128) -> T,
) {
    let large = |i: usize, seed: usize| cut((i as i128 * 0x9E37_79B9_7F4A_7C15 + seed as i128 * 77) >> 3);
    let (mut a, mut b) = (Matrix::<T>::new(m, k, la, 1), Matrix::<T>::new(k, n, lb, 2));
    for (seed, v) in [&mut a.data, &mut b.data].into_iter().enumerate() {
        v.iter_mut().enumerate().for_each(|(i, v)| *v = large(i, seed));
    }
    let mut want = Vec::new();
    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
        let terms = (0..k).map(|p| a.get(i, p).to_i64() as i128 * b.get(p, j).to_i64() as i128);
        want.push(cut(terms.fold(0i128, |sum, x| sum.wrapping_add(x))));
    }
    for isa in available() {
        for threads in [1, 3] {
            let _guard = with_threads(threads);
            let mut c = Matrix::<T>::new(m, n, lc, 4);
            T::product(isa, a.src(), b.src(), c.dst(), Epilogue::default());
            for (index, want) in want.iter().enumerate() {
                let got = c.get(index / n, index % n);
                let name = T::DTYPE.name();
                assert!(
                    got == *want,
                    "{name} {m}x{k}x{n} {la:?} {lb:?} {lc:?} {isa:?} {threads} at {index}: {got:?}"
                );
            }
        }
    }
}

#[test]
fn integers_are_exact() {
    use Layout::*;
    let sizes = [0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 127];
    for (i, &m) in sizes.iter().enumerate() {
        for (j, &n) in sizes.iter().enumerate() {
            let k = sizes[(i + 3 * j) % sizes.len()];
            exact::<i32>(m, k, n, [Rows; 3], |v| v as i32);
            exact::<i64>(m, k, n, [Rows; 3], |v| v as i64);
        }
    }
    for (m, k, n) in [
        (1000, 17, 33),
        (65, 1000, 17),
        (127, 64, 1),
        (1, 127, 65),
        (1, 5000, 1),
        (9, 4100, 5),
        (100, 600, 100),
    ] {
        for layouts in [
            [Columns, Rows, Rows],
            [Rows, Columns, Columns],
            [Strided, Strided, Strided],
            [Reversed, Broadcast, Rows],
        ] {
            exact::<i32>(m, k, n, layouts, |v| v as i32);
            exact::<i64>(m, k, n, layouts, |v| v as i64);
        }
    }
}

const NARROW: [(usize, usize, usize); 12] = [
    (0, 3, 2),
    (1, 1, 1),
    (7, 8, 15),
    (16, 17, 63),
    (64, 65, 1),
    (65, 127, 16),
    (15, 1000, 17),
    (127, 64, 65),
    (8, 2, 7),
    (63, 4, 64),
    (5, 0, 4),
    (40, 1100, 130),
];

#[test]
fn bytes_are_exact() {
    // The last ones are so large that each thread packs all of B.
    for (m, k, n) in NARROW.into_iter().chain([(300, 2100, 100), (600, 520, 200)]) {
        for (la, lb) in [
            (Layout::Rows, Layout::Rows),
            (Layout::Columns, Layout::Columns),
            (Layout::Strided, Layout::Rows),
            (Layout::Down, Layout::Thirds),
        ] {
            // All values from -128 to 127; the first ones are the extremes.
            let value = |i: usize| if i < 40 { i8::MIN } else { (i * 7919 % 256) as u8 as i8 };
            let mut a = Matrix::<i8>::new(m, k, la, 1);
            let mut b = Matrix::<i8>::new(k, n, lb, 2);
            for v in [&mut a.data, &mut b.data] {
                v.iter_mut().enumerate().for_each(|(i, v)| *v = value(i));
            }
            let all = || (0..m).flat_map(|i| (0..n).map(move |j| (i, j)));
            let sum = |i: usize, j: usize| (0..k).map(|p| a.get(i, p) as i64 * b.get(p, j) as i64).sum::<i64>();
            let want: Vec<i64> = all().map(|(i, j)| sum(i, j)).collect();
            for (isa, threads) in available().into_iter().flat_map(|isa| [(isa, 1), (isa, 3)]) {
                let _guard = with_threads(threads);
                let mut c = Matrix::<i32>::new(m, n, Layout::Rows, 4);
                bytes(isa, a.src(), b.src(), c.dst());
                for ((i, j), sum) in all().zip(&want) {
                    let got = c.get(i, j) as i64;
                    assert_eq!(got, *sum, "{m}x{k}x{n} {la:?} {lb:?} {isa:?} {threads} at {i},{j}");
                }
            }
        }
    }
}

#[test]
fn bfloat16_agrees_with_the_reference() {
    use firesteel_kernels::dtype::bf16;
    for (m, k, n) in NARROW {
        for (la, lb) in [
            (Layout::Rows, Layout::Rows),
            (Layout::Columns, Layout::Columns),
            (Layout::Strided, Layout::Rows),
        ] {
            for accumulate in [false, true] {
                let (a, b) = (Matrix::<bf16>::new(m, k, la, 1), Matrix::<bf16>::new(k, n, lb, 2));
                let (mut c, before) = (
                    Matrix::<f32>::new(m, n, Layout::Rows, 4),
                    Matrix::<f32>::new(m, n, Layout::Rows, 4),
                );
                matmul_bf16(
                    a.src(),
                    b.src(),
                    c.dst(),
                    Epilogue {
                        accumulate,
                        ..Epilogue::default()
                    },
                );
                for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                    let start = if accumulate { before.get(i, j) as f64 } else { 0.0 };
                    let (mut sum, mut size) = (start, start.abs() + 1e-30);
                    for p in 0..k {
                        let x = a.get(i, p).to_f64() * b.get(p, j).to_f64();
                        (sum, size) = (sum + x, size + x.abs());
                    }
                    let bound = size * F32 * (k + 2) as f64;
                    let got = c.get(i, j) as f64;
                    assert!(
                        (got - sum).abs() <= bound,
                        "{m}x{k}x{n} {la:?} {lb:?} at {i},{j}: {got} instead of {sum}"
                    );
                }
            }
        }
    }
}

/// The bits of the product of operands widened before.
#[test]
fn products_widened_while_packing_agree() {
    use Layout::*;
    use firesteel_kernels::dtype::{bf16, f16};
    fn case<S: Element>([m, k, n]: [usize; 3], [la, lb]: [Layout; 2], wide: fn(S) -> f32) {
        let (a, b) = (Matrix::<S>::new(m, k, la, 1), Matrix::<S>::new(k, n, lb, 2));
        let dense = |x: &Matrix<S>, rows: usize, cols: usize| -> Vec<f32> {
            (0..rows)
                .flat_map(|i| (0..cols).map(move |j| (i, j)))
                .map(|(i, j)| wide(x.get(i, j)))
                .collect()
        };
        let (x, y) = (dense(&a, m, k), dense(&b, k, n));
        let mut want = Matrix::<f32>::new(m, n, Rows, 4);
        // SAFETY: the vectors hold the matrices.
        let (x, y) = unsafe {
            (
                Src::new(x.as_ptr(), &[m, k], &[k as isize, 1]),
                Src::new(y.as_ptr(), &[k, n], &[n as isize, 1]),
            )
        };
        matmul(x, y, want.dst(), Epilogue::default());
        for (threads, lc) in [(1, Rows), (2, Rows), (2, Columns)] {
            let mut got = Matrix::<f32>::new(m, n, lc, 5);
            let _guard = with_threads(threads);
            matmul_widened(a.src(), b.src(), got.dst(), Epilogue::default());
            for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                let (got, want) = (got.get(i, j), want.get(i, j));
                assert_eq!(got.to_bits(), want.to_bits(), "{m}x{k}x{n} {la:?} {lb:?} at {i},{j}");
            }
        }
    }
    for size in [[256, 256, 256], [257, 300, 271], [400, 1030, 259], [259, 513, 1100]] {
        assert!(widens([size[0], size[2], size[1]]));
        for layouts in [
            [Rows, Rows],
            [Columns, Columns],
            [Rows, Columns],
            [Strided, Down],
            [Broadcast, Reversed],
        ] {
            case::<f16>(size, layouts, f16::to_f32);
            case::<bf16>(size, layouts, bf16::to_f32);
        }
    }
}
