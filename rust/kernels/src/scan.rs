//! Running sums, products, logsumexps and extrema along a dim.
//!
//! Each line is scanned in order. Floats accumulate in `f64`, as PyTorch does on the CPU. Lines that lie side by side are
//! scanned a strip at a time; threads take lines or strips.

use crate::dtype::{Bool, DType, Element};
use crate::multiversion;
use crate::parallel;
use crate::reduce::real::{Real, ln_f64};
use crate::reduce::walk::{Walk, grain};
use crate::view::{AnyDst, AnySrc, Dst, Src};
use std::marker::PhantomData;
use std::ops::Range;

/// What [`scan`] accumulates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scan {
    /// Of `f32`, `f64`, `i64` (wrapping).
    Sum,
    /// As `Sum`.
    Prod,
    /// Of `f32` and `f64`.
    LogSumExp,
}

/// `dst[…, k, …]` = the fold of `src[…, 0..=k, …]` along `axis`, in the same dtype.
pub fn scan(op: Scan, src: AnySrc, axis: usize, dst: AnyDst) {
    match (src.dtype(), op) {
        (DType::F32, Scan::Sum) => along::<Add<f32>>(&src.typed(), axis, &dst.typed()),
        (DType::F32, Scan::Prod) => along::<Mul<f32>>(&src.typed(), axis, &dst.typed()),
        (DType::F32, Scan::LogSumExp) => along::<LogAddExp<f32>>(&src.typed(), axis, &dst.typed()),
        (DType::F64, Scan::Sum) => along::<Add<f64>>(&src.typed(), axis, &dst.typed()),
        (DType::F64, Scan::Prod) => along::<Mul<f64>>(&src.typed(), axis, &dst.typed()),
        (DType::F64, Scan::LogSumExp) => along::<LogAddExp<f64>>(&src.typed(), axis, &dst.typed()),
        (DType::I64, Scan::Sum) => along::<Add<i64>>(&src.typed(), axis, &dst.typed()),
        (DType::I64, Scan::Prod) => along::<Mul<i64>>(&src.typed(), axis, &dst.typed()),
        (other, op) => panic!("scan {op:?} of {}", other.name()),
    }
}

trait Fold: Copy + Default + Send + Sync {
    type T: Element;
    type Acc: Copy;
    const START: Self::Acc;
    fn step(acc: Self::Acc, x: Self::T) -> Self::Acc;
    fn out(acc: Self::Acc) -> Self::T;
}

#[derive(Clone, Copy, Default)]
struct Add<T>(PhantomData<T>);
#[derive(Clone, Copy, Default)]
struct Mul<T>(PhantomData<T>);
#[derive(Clone, Copy, Default)]
struct LogAddExp<T>(PhantomData<T>);

macro_rules! float_scan {
    ($name:ident, $start:expr, $step:expr) => {
        impl<T: Real> Fold for $name<T> {
            type T = T;
            type Acc = f64;
            const START: f64 = $start;
            #[inline(always)]
            fn step(acc: f64, x: T) -> f64 {
                ($step)(acc, x.to_f64())
            }
            #[inline(always)]
            fn out(acc: f64) -> T {
                T::from_f64(acc)
            }
        }
    };
}
float_scan!(Add, 0.0, |a, x| a + x);
float_scan!(Mul, 1.0, |a, x| a * x);
float_scan!(LogAddExp, f64::NEG_INFINITY, log_add_exp);

macro_rules! int_scan {
    ($name:ident, $start:expr, $op:ident) => {
        impl Fold for $name<i64> {
            type T = i64;
            type Acc = i64;
            const START: i64 = $start;
            #[inline(always)]
            fn step(acc: i64, x: i64) -> i64 {
                acc.$op(x)
            }
            #[inline(always)]
            fn out(acc: i64) -> i64 {
                acc
            }
        }
    };
}
int_scan!(Add, 0, wrapping_add);
int_scan!(Mul, 1, wrapping_mul);

/// log(e^a + e^b); infinite arguments of one sign give themselves.
#[inline(always)]
fn log_add_exp(a: f64, b: f64) -> f64 {
    let (hi, lo) = if a > b { (a, b) } else { (b, a) };
    if hi.is_nan() || lo.is_nan() {
        return f64::NAN;
    }
    if hi == lo && hi.is_infinite() {
        return hi;
    }
    // log1p: what 1 + e rounds away is put back by the quotient.
    let e = Real::exp(lo - hi);
    let u = 1.0 + e;
    hi + if u == 1.0 { e } else { ln_f64(u) * (e / (u - 1.0)) }
}

/// Lines side by side that are scanned at once.
const STRIP: usize = 64;

/// Up to three views along an axis of `n` elements; the strides are those along it.
struct Job<T, V> {
    src: *const T,
    dst: *mut V,
    index: *mut i64,
    n: usize,
    step: [isize; 3],
}

// SAFETY: threads read the input and write different lines.
unsafe impl<T: Sync, V: Sync> Sync for Job<T, V> {}

fn axis_steps(rank: usize, axis: usize, strides: [&[isize]; 3]) -> [isize; 3] {
    if rank == 0 { [0; 3] } else { strides.map(|s| s[axis]) }
}

fn along<F: Fold>(src: &Src<F::T>, axis: usize, dst: &Dst<F::T>) {
    if src.numel() == 0 {
        return;
    }
    let strides = [src.strides(), dst.strides(), dst.strides()];
    let (n, skip) = if src.rank() == 0 {
        (1, usize::MAX)
    } else {
        (src.shape()[axis], axis)
    };
    let step = axis_steps(src.rank(), axis, strides);
    let job = Job {
        src: src.ptr(),
        dst: dst.ptr(),
        index: std::ptr::null_mut(),
        n,
        step,
    };
    let mut lines = Walk::without(src.shape(), strides, skip);
    lines.sort();
    let lines = lines.coalesce();
    let mut outer = lines;
    let (width, side) = outer.pop();
    if width > 1 && side[..2] == [1, 1] {
        let strips = width.div_ceil(STRIP);
        parallel::for_range(outer.count() * strips, grain(2 * n * width.min(STRIP)), |range| {
            for j in range {
                let first = j % strips * STRIP;
                let at = outer.at(j / strips).map(|a| a + first as isize);
                strip::<F>(&job, at, STRIP.min(width - first));
            }
        });
    } else {
        parallel::for_range(lines.count(), grain(4 * n), |range| line::<F>(&job, &lines, range));
    }
}

fn line<F: Fold>(job: &Job<F::T, F::T>, lines: &Walk<3>, range: Range<usize>) {
    lines.each(range, |_, [s, d, _]| {
        let mut acc = F::START;
        for k in 0..job.n as isize {
            // SAFETY: element k of a line of the walk.
            unsafe {
                acc = F::step(acc, *job.src.offset(s + k * job.step[0]));
                *job.dst.offset(d + k * job.step[1]) = F::out(acc);
            }
        }
    });
}

fn strip<F: Fold>(job: &Job<F::T, F::T>, at: [isize; 3], w: usize) {
    let mut acc = [F::START; STRIP];
    for k in 0..job.n as isize {
        let (from, to) = (at[0] + k * job.step[0], at[1] + k * job.step[1]);
        step_row(F::default(), job, from, to, &mut acc[..w]);
    }
}

multiversion! {
    /// One row of a strip.
    fn step_row<F: Fold>(_op: F, job: &Job<F::T, F::T>, from: isize, to: isize, acc: &mut [F::Acc]) {
        for (i, acc) in acc.iter_mut().enumerate() {
            // SAFETY: column i of a row of the strip; an exact overlap of the views is fine.
            unsafe {
                *acc = F::step(*acc, *job.src.offset(from).add(i));
                *job.dst.offset(to).add(i) = F::out(*acc);
            }
        }
    }
}

/// The running largest (`max`) or smallest elements along `axis` and their places: the last of equal ones; a NaN stays.
pub fn scan_extremum(max: bool, src: AnySrc, axis: usize, values: AnyDst, indices: AnyDst) {
    let indices = indices.typed::<i64>();
    match src.dtype() {
        DType::F32 => extremum::<f32>(max, &src.typed(), axis, &values.typed(), &indices),
        DType::F64 => extremum::<f64>(max, &src.typed(), axis, &values.typed(), &indices),
        DType::I64 => extremum::<i64>(max, &src.typed(), axis, &values.typed(), &indices),
        DType::Bool => {
            // As bytes; the values written are elements.
            let (s, v) = (src.typed::<Bool>(), values.typed::<Bool>());
            // SAFETY: the same memory, one byte an element.
            let (s, v) = unsafe {
                (
                    Src::<u8>::new(s.ptr().cast(), s.shape(), s.strides()),
                    Dst::<u8>::new(v.ptr().cast(), v.shape(), v.strides()),
                )
            };
            extremum::<u8>(max, &s, axis, &v, &indices)
        }
        other => panic!("cummax of {}", other.name()),
    }
}

fn extremum<T: Copy + PartialOrd + Send + Sync>(
    max: bool,
    src: &Src<T>,
    axis: usize,
    values: &Dst<T>,
    indices: &Dst<i64>,
) {
    if src.numel() == 0 {
        return;
    }
    let strides = [src.strides(), values.strides(), indices.strides()];
    let (n, skip) = if src.rank() == 0 {
        (1, usize::MAX)
    } else {
        (src.shape()[axis], axis)
    };
    let step = axis_steps(src.rank(), axis, strides);
    let job = Job {
        src: src.ptr(),
        dst: values.ptr(),
        index: indices.ptr(),
        n,
        step,
    };
    let mut lines = Walk::without(src.shape(), strides, skip);
    lines.sort();
    let mut outer = lines.coalesce();
    let (width, side) = outer.pop();
    let strips = width.div_ceil(STRIP);
    parallel::for_range(outer.count() * strips, grain(4 * n * width.min(STRIP)), |range| {
        for j in range {
            let first = j % strips * STRIP;
            let start = outer.at(j / strips);
            let at = [0, 1, 2].map(|k| start[k] + first as isize * side[k]);
            extremum_strip(&job, max, at, side, STRIP.min(width - first));
        }
    });
}

fn extremum_strip<T: Copy + PartialOrd>(job: &Job<T, T>, max: bool, at: [isize; 3], side: [isize; 3], w: usize) {
    // SAFETY: row k, column i of the strip.
    let get = |k: usize, i: usize| unsafe { *job.src.offset(at[0] + k as isize * job.step[0] + i as isize * side[0]) };
    let mut best = [(get(0, 0), 0usize); STRIP];
    for k in 0..job.n {
        for (i, best) in best[..w].iter_mut().enumerate() {
            let x = get(k, i);
            #[allow(clippy::eq_op)]
            let (nan, kept) = (x != x, best.0 != best.0);
            if k == 0 || nan || (!kept && if max { x >= best.0 } else { x <= best.0 }) {
                *best = (x, k);
            }
            let (k, i) = (k as isize, i as isize);
            // SAFETY: as above.
            unsafe {
                *job.dst.offset(at[1] + k * job.step[1] + i * side[1]) = best.0;
                *job.index.offset(at[2] + k * job.step[2] + i * side[2]) = best.1 as i64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reduce::walk::dense;

    fn run(op: Scan, x: &[f32], shape: &[usize], strides: &[isize], axis: usize) -> Vec<f32> {
        let mut y = vec![0f32; shape.iter().product()];
        // SAFETY: the tests' strides stay inside the slices.
        unsafe {
            let dst = AnyDst::new(y.as_mut_ptr().cast(), DType::F32, shape, &dense(shape)[..shape.len()]);
            scan(
                op,
                AnySrc::new(x.as_ptr().cast(), DType::F32, shape, strides),
                axis,
                dst,
            );
        }
        y
    }

    #[test]
    fn running_sums() {
        let x: Vec<f32> = (0..420).map(|i| ((i * 37) % 11) as f32 - 5.0).collect();
        for (shape, strides) in [([6usize, 70], [70isize, 1]), ([70, 6], [1, 70]), ([6, 70], [1, 6])] {
            for axis in 0..2 {
                let y = run(Scan::Sum, &x, &shape, &strides, axis);
                let l = run(Scan::LogSumExp, &x, &shape, &strides, axis);
                for r in 0..shape[1 - axis] {
                    let (mut sum, mut exps) = (0.0f32, 0.0f64);
                    for k in 0..shape[axis] {
                        let (i, j) = if axis == 0 { (k, r) } else { (r, k) };
                        let v = x[i * strides[0] as usize + j * strides[1] as usize];
                        sum += v;
                        exps += (v as f64).exp();
                        assert_eq!(y[i * shape[1] + j], sum, "{shape:?} {strides:?} {axis}");
                        assert!((l[i * shape[1] + j] as f64 - exps.ln()).abs() < 1e-5);
                    }
                }
            }
        }
        assert_eq!(run(Scan::Prod, &[2.0, 3.0, -4.0], &[3], &[1], 0), [2.0, 6.0, -24.0]);
        assert_eq!(run(Scan::Sum, &[2.0], &[], &[], 0), [2.0]);
        assert!(run(Scan::Sum, &[], &[0, 3], &[3, 1], 1).is_empty());
        let inf = f32::INFINITY;
        let l = run(Scan::LogSumExp, &[-inf, 1.0, 2.0, inf, 1.0], &[5], &[1], 0);
        assert_eq!((l[0], l[1], l[3], l[4]), (-inf, 1.0, inf, inf));
        assert!((l[2] - 2.3132617).abs() < 1e-6);
    }

    #[test]
    fn running_extrema() {
        let nan = f32::NAN;
        let x = [1.0, 1.0, 0.0, nan, 2.0, nan];
        let (mut v, mut i) = ([0f32; 6], [0i64; 6]);
        // SAFETY: six elements each.
        unsafe {
            let values = AnyDst::new(v.as_mut_ptr().cast(), DType::F32, &[6], &[1]);
            let indices = AnyDst::new(i.as_mut_ptr().cast(), DType::I64, &[6], &[1]);
            scan_extremum(
                true,
                AnySrc::new(x.as_ptr().cast(), DType::F32, &[6], &[1]),
                0,
                values,
                indices,
            );
        }
        assert_eq!(i, [0, 1, 1, 3, 3, 5]);
        assert_eq!(v[..3], [1.0; 3]);
        assert!(v[3..].iter().all(|v| v.is_nan()));
        let x = [3i64, 1, 2, 1, 5, 0];
        let mut v = [0i64; 6];
        // SAFETY: as above, seen as three rows.
        unsafe {
            let values = AnyDst::new(v.as_mut_ptr().cast(), DType::I64, &[3, 2], &[2, 1]);
            let indices = AnyDst::new(i.as_mut_ptr().cast(), DType::I64, &[3, 2], &[2, 1]);
            let src = AnySrc::new(x.as_ptr().cast(), DType::I64, &[3, 2], &[2, 1]);
            scan_extremum(false, src, 0, values, indices);
        }
        assert_eq!((v, i), ([3, 1, 2, 1, 2, 0], [0, 0, 1, 1, 1, 2]));
    }
}
