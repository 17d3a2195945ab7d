//! Products against a naive reference in f64, and the same bits from every instruction set and thread count.

mod ahead;
mod narrow;

use crate::testing::with_threads;
use firesteel_kernels::dtype::Element;
use firesteel_kernels::gemm::*;
use firesteel_kernels::internals::available;
#[cfg(target_arch = "x86_64")]
use firesteel_kernels::internals::gemm::avx512_product;
#[cfg(target_arch = "x86_64")]
use firesteel_kernels::simd::Isa;
use firesteel_kernels::{Dst, Src};

/// Test data without a generator: small, signed, no two neighbours alike.
fn fill(n: usize, seed: usize) -> Vec<f64> {
    (0..n)
        .map(|i| (((i * 7919 + seed * 104_729) % 2003) as f64 - 1001.0) / 1001.0)
        .collect()
}

/// A matrix laid out in memory in one of several ways.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    Rows,
    Columns,
    /// Every second element of padded rows.
    Strided,
    /// All rows the same.
    Broadcast,
    /// Rows from last to first.
    Reversed,
    /// Every third element of rows that lie apart.
    Thirds,
    /// Every second element of columns that lie apart.
    Down,
}

struct Matrix<T> {
    data: Vec<T>,
    start: usize,
    shape: [usize; 2],
    strides: [isize; 2],
}

impl<T: Element> Matrix<T> {
    fn new(r: usize, c: usize, layout: Layout, seed: usize) -> Self {
        let (len, start, strides) = match layout {
            Layout::Rows => (r * c, 0, [c as isize, 1]),
            Layout::Columns => (r * c, 0, [1, r as isize]),
            Layout::Strided => (r * (2 * c + 3), 0, [2 * c as isize + 3, 2]),
            Layout::Thirds => (r * (3 * c + 1), 0, [3 * c as isize + 1, 3]),
            Layout::Down => (c * (2 * r + 3), 0, [2, 2 * r as isize + 3]),
            Layout::Broadcast => (c, 0, [0, 1]),
            Layout::Reversed => (r * c, r.saturating_sub(1) * c, [-(c as isize), 1]),
        };
        let data = fill(len.max(1), seed)
            .into_iter()
            .map(|v| T::from_f64(v * if T::DTYPE.is_float() { 1.0 } else { 50.0 }));
        Self {
            data: data.collect(),
            start,
            shape: [r, c],
            strides,
        }
    }
    fn get(&self, i: usize, j: usize) -> T {
        self.data[(self.start as isize + i as isize * self.strides[0] + j as isize * self.strides[1]) as usize]
    }
    fn src(&self) -> Src<'_, T> {
        // SAFETY: the layouts above span the vector.
        unsafe { Src::new(self.data.as_ptr().add(self.start), &self.shape, &self.strides) }
    }
    fn dst(&mut self) -> Dst<'_, T> {
        // SAFETY: as above.
        unsafe { Dst::new(self.data.as_mut_ptr().add(self.start), &self.shape, &self.strides) }
    }
}

fn check<T: GemmElement + Into<f64>>(m: usize, k: usize, n: usize, layouts: [Layout; 3], ep: (bool, bool), eps: f64) {
    let (a, b) = (
        Matrix::<T>::new(m, k, layouts[0], 1),
        Matrix::<T>::new(k, n, layouts[1], 2),
    );
    let bias = Matrix::<T>::new(1, n, Layout::Strided, 3);
    // SAFETY: the bias matrix has one row of n.
    let bias_view = unsafe { Src::new(bias.data.as_ptr(), &[n], &[bias.strides[1]]) };
    let epilogue = || Epilogue {
        accumulate: ep.0,
        bias: if ep.1 { Bias::Columns(bias_view) } else { Bias::None },
        ..Epilogue::default()
    };
    let name = format!("{} {m}x{k}x{n} {layouts:?} {ep:?}", T::DTYPE.name());
    let mut first: Option<Vec<T>> = None;
    for isa in available() {
        for threads in [1, 3] {
            let _guard = with_threads(threads);
            let mut c = Matrix::<T>::new(m, n, layouts[2], 4);
            let before = Matrix::<T>::new(m, n, layouts[2], 4);
            T::product(isa, a.src(), b.src(), c.dst(), epilogue());
            if let Some(first) = &first {
                assert!(first == &c.data, "{name}: {isa:?} with {threads} threads differs");
                continue;
            }
            for i in 0..m {
                for j in 0..n {
                    let (mut sum, mut size) = (0.0, 1e-30);
                    for p in 0..k {
                        let x: f64 = a.get(i, p).into() * b.get(p, j).into();
                        (sum, size) = (sum + x, size + x.abs());
                    }
                    for extra in [ep.0.then(|| before.get(i, j)), ep.1.then(|| bias.get(0, j))]
                        .into_iter()
                        .flatten()
                    {
                        let x: f64 = extra.into();
                        (sum, size) = (sum + x, size + x.abs());
                    }
                    let got: f64 = c.get(i, j).into();
                    // k + 2 roundings, each within half a unit of the running sum.
                    let bound = size * eps * (k + 2) as f64;
                    assert!((got - sum).abs() <= bound, "{name} at {i},{j}: {got} instead of {sum}");
                }
            }
            first = Some(c.data);
        }
    }
}

const F32: f64 = f32::EPSILON as f64;

#[test]
fn ugly_sizes_agree_with_the_reference() {
    let sizes = [0, 1, 2, 7, 13, 17, 33, 65];
    for m in sizes {
        for n in sizes {
            for k in [0, 1, 3, 64, 67] {
                check::<f32>(m, k, n, [Layout::Rows; 3], (false, false), F32);
            }
        }
    }
    for (m, k, n) in [
        (5, 9, 31),
        (15, 700, 70),
        (64, 784, 33),
        (130, 65, 129),
        (3, 5000, 40),
        (1, 300, 90),
    ] {
        check::<f32>(m, k, n, [Layout::Rows; 3], (false, true), F32);
        check::<f64>(m, k, n, [Layout::Rows; 3], (true, true), f64::EPSILON);
    }
}

#[test]
fn any_layout_agrees_with_the_reference() {
    use Layout::*;
    for (m, k, n) in [
        (1, 40, 50),
        (50, 40, 1),
        (1, 90, 1),
        (9, 33, 41),
        (70, 90, 50),
        (40, 500, 100),
    ] {
        for a in [Rows, Columns, Strided, Broadcast, Reversed, Thirds, Down] {
            for b in [Rows, Columns, Strided, Broadcast, Reversed, Thirds, Down] {
                check::<f32>(m, k, n, [a, b, Rows], (true, false), F32);
                check::<f64>(m, k, n, [a, b, Rows], (false, true), f64::EPSILON);
            }
            check::<f32>(m, k, n, [a, a, Columns], (true, true), F32);
            check::<f32>(m, k, n, [a, a, Strided], (true, true), F32);
        }
    }
}

#[test]
fn few_rows_of_a_large_matrix() {
    use Layout::*;
    for m in 1..=9 {
        for (k, n) in [(300, 257), (257, 1000), (66, 4099)] {
            check::<f32>(m, k, n, [Rows; 3], (true, m % 2 == 0), F32);
        }
        check::<f32>(m, 131, 700, [Columns, Rows, Rows], (false, true), F32);
        check::<f64>(m, 131, 700, [Strided, Rows, Strided], (true, true), f64::EPSILON);
        check::<f32>(m, 700, 300, [Rows, Reversed, Rows], (true, false), F32);
        check::<f32>(700, 300, m, [Rows, Columns, Columns], (true, false), F32);
        for (k, n) in [(32, 16), (33, 17), (100, 40), (4097, 31)] {
            check::<f32>(m, k, n, [Rows, Columns, Rows], (false, m % 2 == 0), F32);
            check::<f32>(m, k, n, [Columns, Down, Rows], (true, true), F32);
            check::<f64>(m, k, n, [Strided, Columns, Rows], (true, m % 2 == 1), f64::EPSILON);
        }
    }
}

#[test]
fn large_products_and_long_sums() {
    check::<f32>(
        300,
        350,
        300,
        [Layout::Rows, Layout::Columns, Layout::Rows],
        (false, true),
        F32,
    );
    check::<f32>(1, 40_000, 1, [Layout::Rows; 3], (true, false), F32);
    check::<f32>(
        3,
        40_000,
        1,
        [Layout::Strided, Layout::Strided, Layout::Rows],
        (false, false),
        F32,
    );
    check::<f32>(
        2,
        9000,
        3,
        [Layout::Columns, Layout::Rows, Layout::Columns],
        (true, true),
        F32,
    );
    check::<f64>(
        20,
        9000,
        30,
        [Layout::Columns, Layout::Rows, Layout::Rows],
        (true, true),
        f64::EPSILON,
    );
}

/// Long lines of few rows or columns are dot products of blocks.
#[test]
fn long_lines_of_few_rows_or_columns() {
    use Layout::*;
    for (m, n) in [(2, 2), (2, 37), (37, 2), (8, 16), (5, 9), (3, 43)] {
        for k in [4096, 6200] {
            check::<f32>(m, k, n, [Rows, Columns, Rows], (false, false), F32);
            check::<f32>(m, k, n, [Down, Thirds, Columns], (true, true), F32);
            check::<f64>(m, k, n, [Rows, Columns, Strided], (m == 5, true), f64::EPSILON);
        }
    }
    check::<f32>(2, 150_000, 3, [Rows, Columns, Rows], (true, false), F32);
}

#[test]
fn columns_packed_as_they_are_needed() {
    use Layout::*;
    // Several stretches of k, groups of columns and blocks of rows; on one thread, and by rows or columns on three.
    for ([m, k, n], layouts) in [
        ([33, 1100, 700], [Rows, Rows, Rows]),
        ([40, 1024, 1300], [Rows, Columns, Rows]),
        ([300, 520, 270], [Strided, Strided, Rows]),
        ([310, 1030, 225], [Thirds, Down, Columns]),
        ([290, 129, 200], [Strided, Thirds, Strided]),
        ([15, 1000, 640], [Reversed, Reversed, Rows]),
    ] {
        check::<f32>(m, k, n, layouts, (true, true), F32);
    }
    check::<f64>(300, 300, 200, [Strided, Columns, Rows], (false, true), f64::EPSILON);
}

#[test]
fn batches_fold_or_run_one_by_one() {
    let (b, m, k, n) = (6, 5, 8, 9);
    let (x, y) = (fill(b * m * k, 1), fill(b * k * n, 2));
    // Strides of x and y over batch dims [2, 3]: plain, broadcast y, broadcast x, swapped batch dims.
    let (mk, kn) = ((m * k) as isize, (k * n) as isize);
    for (sx, sy) in [
        ([3 * mk, mk], [3 * kn, kn]),
        ([3 * mk, mk], [0, 0]),
        ([0, 0], [3 * kn, kn]),
        ([mk, 2 * mk], [0, kn]),
    ] {
        let mut out = vec![0.0; b * m * n];
        // SAFETY: the strides span the vectors.
        unsafe {
            let a = Src::new(x.as_ptr(), &[2, 3, m, k], &[sx[0], sx[1], k as isize, 1]);
            let w = Src::new(y.as_ptr(), &[2, 3, k, n], &[sy[0], sy[1], n as isize, 1]);
            let strides = [3 * (m * n) as isize, (m * n) as isize, n as isize, 1];
            matmul(
                a,
                w,
                Dst::new(out.as_mut_ptr(), &[2, 3, m, n], &strides),
                Epilogue::default(),
            );
        }
        for (index, &got) in out.iter().enumerate() {
            let (p, q, i, j) = (index / (3 * m * n), index / (m * n) % 3, index / n % m, index % n);
            let start = |s: [isize; 2]| (p as isize * s[0] + q as isize * s[1]) as usize;
            let sum: f64 = (0..k)
                .map(|r| x[start(sx) + i * k + r] * y[start(sy) + r * n + j])
                .sum();
            assert!((got - sum).abs() < 1e-13, "{sx:?} {sy:?} {index}");
        }
    }
}

#[test]
fn stacks_of_small_products() {
    for isa in available() {
        for (m, k, n) in [
            (2, 3, 2),
            (7, 8, 15),
            (16, 16, 16),
            (17, 15, 33),
            (63, 7, 64),
            (30, 65, 100),
        ] {
            for (batch, gap, relu, accumulate, turned) in [
                (1, 0, true, false, false),
                (9, 3, false, true, false),
                (64, 0, true, true, false),
                (9, 3, false, false, true),
                (33, 0, true, true, true),
            ] {
                let (x, y) = (fill(batch * (m * k + gap), 1), fill(batch * (k * n + gap), 2));
                let before: Vec<f64> = fill(batch * (m * n + gap), 3);
                let [rs, cs] = if turned { [1, k] } else { [n, 1] };
                for threads in [1, 3] {
                    let _guard = with_threads(threads);
                    let mut out = before.clone();
                    let step = |size: usize, [rs, cs]: [usize; 2]| [(size + gap) as isize, rs as isize, cs as isize];
                    // SAFETY: the strides span the vectors.
                    unsafe {
                        let a = Src::new(x.as_ptr(), &[batch, m, k], &step(m * k, [k, 1]));
                        let b = Src::new(y.as_ptr(), &[batch, k, n], &step(k * n, [rs, cs]));
                        let c = Dst::new(out.as_mut_ptr(), &[batch, m, n], &step(m * n, [n, 1]));
                        let ep = Epilogue {
                            accumulate,
                            relu,
                            ..Epilogue::default()
                        };
                        f64::product(isa, a, b, c, ep);
                    }
                    for (at, &got) in out.iter().enumerate() {
                        let (index, place) = (at / (m * n + gap), at % (m * n + gap));
                        if place >= m * n {
                            assert_eq!(got, before[at], "between the products");
                            continue;
                        }
                        let (i, j) = (place / n, place % n);
                        let (x, y) = (
                            &x[index * (m * k + gap) + i * k..],
                            &y[index * (k * n + gap) + j * cs..],
                        );
                        let start = if accumulate { before[at] } else { 0.0 };
                        let sum = (0..k).fold(start, |sum, p| x[p].mul_add(y[p * rs], sum));
                        let sum = if relu && sum < 0.0 { 0.0 } else { sum };
                        assert_eq!(got, sum, "{isa:?} {batch}x({m}x{k}x{n}) at {at}, {turned}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_sweep_of_sizes_agrees_with_the_reference() {
    let sizes = [0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 127];
    for (i, &m) in sizes.iter().enumerate() {
        for (j, &n) in sizes.iter().enumerate() {
            // Each pair with two depths, all depths in turn.
            for k in [sizes[(i + j) % sizes.len()], sizes[(3 * i + 5 * j + 1) % sizes.len()]] {
                check::<f32>(m, k, n, [Layout::Rows; 3], (false, (i + j) % 2 == 1), F32);
            }
        }
    }
    use Layout::*;
    for (m, k, n) in [
        (1000, 17, 65),
        (65, 1000, 127),
        (17, 64, 1000),
        (127, 1000, 1),
        (1, 1000, 1000),
    ] {
        for (a, b) in [(Rows, Rows), (Columns, Rows), (Rows, Columns), (Strided, Strided)] {
            check::<f32>(m, k, n, [a, b, Rows], (true, true), F32);
            check::<f64>(m, k, n, [a, b, Rows], (false, false), f64::EPSILON);
        }
    }
}

/// Columns beyond whole vectors of each width, one to four of them, in blocks of k and of rows: against the chain itself, which
/// rounds once with each step.
#[test]
fn the_last_few_columns() {
    use Layout::*;
    for (i, n) in [33, 35, 36, 49, 50, 52, 65, 20, 97, 5].into_iter().enumerate() {
        for (j, (m, k)) in [(32, 32), (17, 60), (45, 600), (333, 130), (64, 1024)]
            .into_iter()
            .enumerate()
        {
            for (a, b) in [
                (Rows, Rows),
                (Columns, Rows),
                (Rows, Columns),
                (Strided, Down),
                (Reversed, Rows),
            ] {
                let ep = ((i + j) % 2 == 0, (i + j) % 3 == 0);
                check::<f32>(m, k, n, [a, b, Rows], ep, f32::EPSILON as f64);
            }
            check::<f64>(m, k, n, [Columns, Rows, Rows], (true, false), f64::EPSILON);
            check::<i32>(m, k, n, [Rows, Rows, Rows], (false, false), 0.0);
            let (a, b) = (Matrix::<f32>::new(m, k, Rows, 1), Matrix::<f32>::new(k, n, Rows, 2));
            let mut c = Matrix::<f32>::new(m, n, Rows, 3);
            matmul(a.src(), b.src(), c.dst(), Epilogue::default());
            for at in (0..m).flat_map(|row| (n - 5..n).map(move |col| (row, col))) {
                let chain = (0..k).fold(0.0f32, |sum, p| a.get(at.0, p).mul_add(b.get(p, at.1), sum));
                assert_eq!(c.get(at.0, at.1), chain, "{m}x{k}x{n} at {at:?}");
            }
        }
    }
}

#[test]
fn rows_that_fall_into_one_set_of_the_cache() {
    // A row of 1024 floats is 4096 bytes: such operands are packed, others of the size are read in place.
    for (m, k, n) in [(70, 1024, 40), (70, 1025, 40), (30, 2048, 33), (100, 1024, 530)] {
        check::<f32>(m, k, n, [Layout::Rows; 3], (false, true), F32);
        check::<f64>(
            m,
            k,
            n,
            [Layout::Rows, Layout::Columns, Layout::Rows],
            (true, false),
            f64::EPSILON,
        );
    }
}

/// B that begins at a cache line may be read where it lies; elsewhere it is packed. The same bits.
#[test]
fn rows_of_b_at_cache_lines() {
    for (m, k, n) in [
        (70, 1100, 48),
        (9, 600, 16),
        (256, 520, 128),
        (20, 2100, 80),
        (300, 1030, 64),
    ] {
        let a = Matrix::<f32>::new(m, k, Layout::Rows, 1);
        let b = fill(k * n, 2);
        let mut room = vec![0f32; k * n + 32];
        let line = room.as_ptr().align_offset(64);
        for (isa, threads) in available().into_iter().flat_map(|isa| [(isa, 1), (isa, 3)]) {
            let _guard = with_threads(threads);
            let mut results = Vec::new();
            for start in [line, line + 1] {
                room[start..][..k * n]
                    .iter_mut()
                    .zip(&b)
                    .for_each(|(to, v)| *to = *v as f32);
                // SAFETY: the vector holds the matrix.
                let b = unsafe { Src::new(room.as_ptr().add(start), &[k, n], &[n as isize, 1]) };
                let mut c = Matrix::<f32>::new(m, n, Layout::Rows, 3);
                let ep = Epilogue {
                    accumulate: true,
                    relu: true,
                    ..Epilogue::default()
                };
                f32::product(isa, a.src(), b, c.dst(), ep);
                results.push(c.data.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
            }
            assert!(results[0] == results[1], "{m}x{k}x{n} {isa:?} {threads}");
        }
    }
}

/// The bits of the product, the sum, the bias and the ReLU one after another.
#[test]
fn an_epilogue_equals_the_ops_one_by_one() {
    use Layout::*;
    fn case<T: GemmElement + HasRelu>(m: usize, k: usize, n: usize, layouts: [Layout; 4]) {
        let (a, b) = (
            Matrix::<T>::new(m, k, layouts[0], 1),
            Matrix::<T>::new(k, n, layouts[1], 2),
        );
        let of = Matrix::<T>::new(m, n, layouts[2], 3);
        let (rows, columns) = (Matrix::<T>::new(1, m, Strided, 5), Matrix::<T>::new(1, n, Rows, 6));
        let (alpha, beta) = (T::from_f64(-3.0), T::from_f64(2.0));
        for isa in available() {
            for threads in [1, 3] {
                let _guard = with_threads(threads);
                let mut plain = Matrix::<T>::new(m, n, layouts[3], 4);
                T::product(isa, a.src(), b.src(), plain.dst(), Epilogue::default());
                for choice in 0..16 {
                    let (plus, by_row, by_column) = (choice & 1 > 0, choice & 2 > 0, choice & 6 == 4);
                    let relu = choice & 8 > 0;
                    // SAFETY: vectors of m and of n elements.
                    let bias = unsafe {
                        match (by_row, by_column) {
                            (true, _) => Bias::Rows(Src::new(rows.data.as_ptr(), &[m], &[rows.strides[1]])),
                            (_, true) => Bias::Columns(Src::new(columns.data.as_ptr(), &[n], &[1])),
                            _ => Bias::None,
                        }
                    };
                    let plus = plus.then(|| Plus {
                        alpha,
                        beta,
                        of: of.src(),
                    });
                    let mut c = Matrix::<T>::new(m, n, layouts[3], 7);
                    let ep = Epilogue {
                        accumulate: false,
                        plus,
                        bias,
                        relu,
                    };
                    T::product(isa, a.src(), b.src(), c.dst(), ep);
                    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                        let mut v = plain.get(i, j);
                        if plus.is_some() {
                            v = T::sum(T::product_of(alpha, v), T::product_of(beta, of.get(i, j)));
                        }
                        if by_row {
                            v = T::sum(v, rows.get(0, i));
                        } else if by_column {
                            v = T::sum(v, columns.get(0, j));
                        }
                        if relu && v.to_f64() < 0.0 {
                            v = T::default();
                        }
                        let name = format!("{} {m}x{k}x{n} {layouts:?} {choice} {isa:?} {threads}", T::DTYPE.name());
                        assert!(c.get(i, j) == v, "{name} at {i},{j}");
                    }
                }
            }
        }
    }
    trait HasRelu: Element {
        fn sum(a: Self, b: Self) -> Self;
        fn product_of(a: Self, b: Self) -> Self;
    }
    macro_rules! has {
        ($($t:ty: $add:path, $mul:path);*) => {$(
            impl HasRelu for $t {
                fn sum(a: Self, b: Self) -> Self {
                    $add(a, b)
                }
                fn product_of(a: Self, b: Self) -> Self {
                    $mul(a, b)
                }
            }
        )*};
    }
    use std::ops::{Add, Mul};
    has!(f32: Add::add, Mul::mul; f64: Add::add, Mul::mul; i32: i32::wrapping_add, i32::wrapping_mul; i64: i64::wrapping_add, i64::wrapping_mul);
    for (m, k, n) in [
        (0, 2, 3),
        (3, 0, 20),
        (1, 70, 1),
        (5, 70, 1),
        (1, 70, 40),
        (19, 33, 45),
        (100, 600, 70),
        (3, 5000, 4),
    ] {
        for layouts in [
            [Rows, Rows, Rows, Rows],
            [Columns, Rows, Columns, Rows],
            [Rows, Strided, Strided, Columns],
            [Strided, Columns, Broadcast, Strided],
        ] {
            case::<f32>(m, k, n, layouts);
            case::<f64>(m, k, n, layouts);
            case::<i32>(m, k, n, layouts);
            case::<i64>(m, k, n, layouts);
        }
    }
}

#[test]
fn relu_keeps_what_is_no_number() {
    for isa in available() {
        let (a, b) = ([1.0f32, 1.0], [f32::NAN, 0.0, 2.0, -3.0]);
        let mut c = [0f32; 8];
        // SAFETY: a column times a row.
        unsafe {
            let (a, b) = (
                Src::new(a.as_ptr(), &[2, 1], &[1, 1]),
                Src::new(b.as_ptr(), &[1, 4], &[4, 1]),
            );
            let zeros = [-0.0f32; 4];
            let plus = Plus {
                alpha: -1.0,
                beta: 1.0,
                of: Src::new(zeros.as_ptr(), &[2, 4], &[0, 1]),
            };
            let ep = Epilogue {
                plus: Some(plus),
                relu: true,
                ..Epilogue::default()
            };
            f32::product(isa, a, b, Dst::new(c.as_mut_ptr(), &[2, 4], &[4, 1]), ep);
        }
        assert!(
            c[0].is_nan() && c[2] == 0.0 && c[3] == 3.0 && c[1].to_bits() == (-0f32).to_bits(),
            "{isa:?}: {c:?}"
        );
        assert_eq!(
            c[..4].iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
            c[4..].iter().map(|v| v.to_bits()).collect::<Vec<_>>()
        );
    }
}

/// Tiles that ask for lines ahead, and the other choices made with them, give the bits of those that do not: one machine runs
/// one of the two tables only.
#[cfg(target_arch = "x86_64")]
#[test]
fn both_tables_for_avx512_give_the_same_bits() {
    if !available().contains(&Isa::Avx512) {
        return;
    }
    for [m, k, n] in [
        [1, 1, 1],
        [7, 0, 16],
        [14, 8, 32],
        [15, 65, 33],
        [64, 17, 127],
        [63, 300, 63],
        [70, 520, 300],
        [33, 1000, 17],
        [90, 1024, 520],
        [17, 630, 1350],
    ] {
        for (left, right) in [
            (Layout::Rows, Layout::Rows),
            (Layout::Columns, Layout::Rows),
            (Layout::Rows, Layout::Columns),
            (Layout::Columns, Layout::Columns),
            (Layout::Strided, Layout::Reversed),
        ] {
            let (a, b) = (Matrix::<f32>::new(m, k, left, 3), Matrix::<f32>::new(k, n, right, 5));
            let [one, other] = [0, 1].map(|table| {
                let mut c = vec![f32::NAN; m * n];
                // SAFETY: the matrix has the vector's size, and this CPU has the set.
                unsafe {
                    let to = Dst::new(c.as_mut_ptr(), &[m, n], &[n as isize, 1]);
                    avx512_product(table, a.src(), b.src(), to);
                }
                c.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
            });
            assert!(one == other, "{m} {k} {n} {left:?} {right:?}");
        }
    }
}
