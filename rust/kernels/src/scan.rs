//! Running sums, products, logsumexps and extrema along a dim.
//!
//! Floats accumulate in `f64`, as PyTorch does on the CPU. Lines that lie side by side are scanned in order, a strip at a
//! time; others by groups of 8 elements ([`lines`]). Threads take lines or strips.

mod exponentials;
mod extremum;
mod lines;

pub use extremum::scan_extremum;

use crate::dtype::{DType, Element};
use crate::multiversion;
use crate::parallel;
use crate::reduce::real::{Real, ln_f64};
use crate::reduce::walk::{Walk, grain};
use crate::simd::Aligned;
use crate::view::{AnyDst, AnySrc, Dst, Src};
use lines::{Same, Way};
use std::marker::PhantomData;

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
    type Acc: Copy + Default + Send + Sync;
    /// How a single line is scanned.
    const LINE: Way;
    /// What it is, if there are vectors for it.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "there are vectors for x86 only")
    )]
    const SAME: Same = Same::None;
    const START: Self::Acc;
    fn step(acc: Self::Acc, x: Self::T) -> Self::Acc;
    fn out(acc: Self::Acc) -> Self::T;
    /// An element as what is accumulated, and two of these as one.
    fn lift(x: Self::T) -> Self::Acc;
    fn join(a: Self::Acc, b: Self::Acc) -> Self::Acc;
}

#[derive(Clone, Copy, Default)]
struct Add<T>(PhantomData<T>);
#[derive(Clone, Copy, Default)]
struct Mul<T>(PhantomData<T>);
#[derive(Clone, Copy, Default)]
struct LogAddExp<T>(PhantomData<T>);

macro_rules! float_scan {
    ($name:ident, $start:expr, $way:expr, $same:expr, $step:expr) => {
        impl<T: Real> Fold for $name<T> {
            type T = T;
            type Acc = f64;
            const LINE: Way = $way;
            const SAME: Same = $same;
            const START: f64 = $start;
            #[inline(always)]
            fn step(acc: f64, x: T) -> f64 {
                ($step)(acc, x.to_f64())
            }
            #[inline(always)]
            fn out(acc: f64) -> T {
                T::from_f64(acc)
            }
            #[inline(always)]
            fn lift(x: T) -> f64 {
                x.to_f64()
            }
            #[inline(always)]
            fn join(a: f64, b: f64) -> f64 {
                ($step)(a, b)
            }
        }
    };
}
const fn narrow<T>() -> bool {
    size_of::<T>() == 4
}

float_scan!(
    Add,
    0.0,
    Way::Chunks,
    if narrow::<T>() { Same::SumF32 } else { Same::SumF64 },
    |a, x| a + x
);
// The products of 8 float32 numbers fit into an f64, those of float64 do not.
float_scan!(
    Mul,
    1.0,
    if narrow::<T>() { Way::Groups } else { Way::InOrder },
    if narrow::<T>() { Same::ProductF32 } else { Same::None },
    |a, x| a * x
);
float_scan!(LogAddExp, f64::NEG_INFINITY, Way::Exponentials, Same::None, log_add_exp);

macro_rules! int_scan {
    ($name:ident, $start:expr, $way:expr, $same:expr, $op:ident) => {
        impl Fold for $name<i64> {
            type T = i64;
            type Acc = i64;
            const LINE: Way = $way;
            const SAME: Same = $same;
            const START: i64 = $start;
            #[inline(always)]
            fn step(acc: i64, x: i64) -> i64 {
                acc.$op(x)
            }
            #[inline(always)]
            fn out(acc: i64) -> i64 {
                acc
            }
            #[inline(always)]
            fn lift(x: i64) -> i64 {
                x
            }
            #[inline(always)]
            fn join(a: i64, b: i64) -> i64 {
                a.$op(b)
            }
        }
    };
}
int_scan!(Add, 0, Way::Chunks, Same::SumI64, wrapping_add);
int_scan!(Mul, 1, Way::InOrder, Same::None, wrapping_mul);

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

/// Lines side by side that are scanned at once: at most as many as have their sums in the first-level cache (the longer what is
/// read of each row, the less it waits for memory), and at least a few lines of the cache.
const STRIP: usize = 512;
const NARROW: usize = 64;

/// Views along an axis of `n` elements; the strides are those along it.
struct Job<T> {
    src: *const T,
    dst: *mut T,
    index: *mut i64,
    n: usize,
    step: [isize; 3],
}

// SAFETY: threads read the input and write different lines.
unsafe impl<T: Sync> Sync for Job<T> {}

fn along<F: Fold>(src: &Src<F::T>, axis: usize, dst: &Dst<F::T>) {
    if src.numel() == 0 {
        return;
    }
    let strides = [src.strides(), dst.strides(), dst.strides()];
    let (n, step, mut lines) = Walk::along(src.shape(), strides, axis);
    let job = Job {
        src: src.ptr(),
        dst: dst.ptr(),
        index: std::ptr::null_mut(),
        n,
        step,
    };
    lines.sort();
    let lines = lines.coalesce();
    let mut outer = lines;
    let (width, side) = outer.pop();
    if width > 1 && side[..2] == [1, 1] {
        let shared = width.div_ceil(2 * parallel::threads()).next_multiple_of(NARROW);
        let wide = shared.min(STRIP);
        let strips = width.div_ceil(wide);
        parallel::for_range(outer.count() * strips, grain(2 * n * width.min(wide)), |range| {
            for j in range {
                let first = j % strips * wide;
                let at = outer.at(j / strips).map(|a| a + first as isize);
                strip::<F>(&job, at, wide.min(width - first));
            }
        });
    } else {
        lines::all::<F>(&job, &lines);
    }
}

fn strip<F: Fold>(job: &Job<F::T>, at: [isize; 3], w: usize) {
    let mut acc = Aligned([F::START; STRIP]);
    for k in 0..job.n as isize {
        let (from, to) = (at[0] + k * job.step[0], at[1] + k * job.step[1]);
        step_row(F::default(), job, from, to, &mut acc[..w]);
    }
}

multiversion! {
    /// One row of a strip.
    fn step_row<F: Fold>(_op: F, job: &Job<F::T>, from: isize, to: isize, acc: &mut [F::Acc]) {
        for (i, acc) in acc.iter_mut().enumerate() {
            // SAFETY: column i of a row of the strip; an exact overlap of the views is fine.
            unsafe {
                *acc = F::step(*acc, *job.src.offset(from).add(i));
                *job.dst.offset(to).add(i) = F::out(*acc);
            }
        }
    }
}
