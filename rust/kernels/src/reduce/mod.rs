//! Reductions: sums, products, extrema, norms, moments, and the places of extrema.
//!
//! A result has the rank of its input, with size 1 where `axes` is true. All of it rests on one fold engine (see its
//! module) whose order of additions is fixed by shape and contiguity.

mod arg;
mod extremum;
mod fold;
mod folds;
pub(crate) mod real;
pub(crate) mod walk;

use crate::dtype::{Bool, DType, Element};
use crate::softmax::logsumexp;
use crate::softmax::row::Soft;
use crate::view::{AnyDst, AnySrc, Dst, Src};
use real::Real;
use walk::view_mut;

pub use arg::{arg_reduce, count_nonzero, equal};
pub use extremum::extrema;
use fold::fold_stored;
pub(crate) use fold::{Fold, fold};

/// Longest run that [`sum_rows`] takes.
pub const ROW: usize = fold::RUN - 1;

/// What [`reduce`] computes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Reduce {
    /// Of every dtype, in `f32`, `f64`, `i64` (wrapping), or of truth values into `i64`.
    Sum,
    /// Of floats, without those that are NaN.
    NanSum,
    /// As `Sum`.
    Prod,
    /// NaN wins. Of the dtypes that [`extrema`] takes, and bool.
    Max,
    Min,
    /// Of every dtype into `bool`.
    Any,
    All,
    /// The p-norm of floats, p = 0 and ±infinity included.
    Norm(f64),
    /// Of `f32` and `f64`.
    LogSumExp,
    /// Of every dtype into `i64`.
    CountNonzero,
}

/// Reduces the dims of `src` named by `axes`. Sums, products and norms are computed in `work`: f32, f64, i64, or bool where
/// truth values are counted. The dtypes of `dst` are those that `Reduce` names, with `work` for the elements' (`Max` and `Min`:
/// theirs). `Max` and `Min` must not be of nothing (the caller refuses that).
pub fn reduce(op: Reduce, work: DType, src: AnySrc, axes: &[bool], dst: AnyDst) {
    let truth = src.dtype() == DType::Bool;
    let src = match op {
        // Bytes are truth values as they are.
        Reduce::Any | Reduce::All | Reduce::CountNonzero if src.dtype().size() == 1 => {
            // SAFETY: the same memory; a truth value is any byte.
            unsafe { AnySrc::new(src.ptr(), DType::Bool, src.shape(), src.strides()) }
        }
        _ => src,
    };
    match op {
        Reduce::Any => one(folds::AnyAll::<true>, src, axes, dst),
        Reduce::All => one(folds::AnyAll::<false>, src, axes, dst),
        Reduce::Max if truth => one(folds::AnyAll::<true>, src, axes, dst),
        Reduce::Min if truth => one(folds::AnyAll::<false>, src, axes, dst),
        Reduce::CountNonzero => one(folds::Count, src, axes, dst),
        Reduce::Max | Reduce::Min => {
            let (low, high) = if op == Reduce::Max {
                (None, Some(dst))
            } else {
                (Some(dst), None)
            };
            assert!(extrema(src, axes, low, high), "{op:?} of {}", src.dtype().name());
        }
        _ => match work {
            DType::F32 => float::<f32>(op, src, axes, dst),
            DType::F64 => float::<f64>(op, src, axes, dst),
            DType::I64 if op == Reduce::Sum => one(folds::SumInt::<i64>::new(), src, axes, dst),
            DType::I64 if op == Reduce::Prod => one(folds::ProdInt::<i64>::new(), src, axes, dst),
            DType::Bool if op == Reduce::Sum => one(folds::Count, src, axes, dst),
            DType::Bool if op == Reduce::Prod => one(folds::ProdInt::<Bool>::new(), src, axes, dst),
            other => panic!("{op:?} of {}", other.name()),
        },
    }
}

/// The mean of floats; NaN of nothing. `dst` has the dtype that stands in for theirs. So below.
pub fn mean(src: AnySrc, axes: &[bool], dst: AnyDst) {
    match dst.dtype() {
        DType::F32 => mean_of::<f32>(&src, axes, &dst.typed()),
        DType::F64 => mean_of::<f64>(&src, axes, &dst.typed()),
        other => panic!("mean of {}", other.name()),
    }
}

/// The variance of floats (its root where `std`) with divisor max(0, n - correction).
pub fn var(src: AnySrc, axes: &[bool], correction: f64, std: bool, dst: AnyDst) {
    match dst.dtype() {
        DType::F32 => squares_of::<f32>(&src, axes, correction, std, None, &dst.typed()),
        DType::F64 => squares_of::<f64>(&src, axes, correction, std, None, &dst.typed()),
        other => panic!("var of {}", other.name()),
    }
}

fn count(shape: &[usize], axes: &[bool]) -> usize {
    shape.iter().zip(axes).filter(|(_, a)| **a).map(|(n, _)| n).product()
}

/// The shape of a result that keeps reduced dims.
pub(crate) fn keepdim(shape: &[usize], axes: &[bool]) -> Vec<usize> {
    shape.iter().zip(axes).map(|(&n, &a)| if a { 1 } else { n }).collect()
}

fn one<F: Fold<Out: Element>>(f: F, src: AnySrc, axes: &[bool], dst: AnyDst) {
    fold_stored(f, &src, axes, None, &dst.typed());
}

fn float<T: Soft>(op: Reduce, src: AnySrc, axes: &[bool], dst: AnyDst) {
    match op {
        Reduce::Sum => one(folds::Sum { div: T::ONE }, src, axes, dst),
        Reduce::NanSum => one(folds::NanSum::<T>::new(), src, axes, dst),
        Reduce::Prod => one(folds::Prod::<T>::new(), src, axes, dst),
        Reduce::Norm(p) => norm::<T>(p, src, axes, dst),
        Reduce::LogSumExp => logsumexp::log_sum_exp::<T>(&src.typed(), axes, &dst.typed()),
        _ => unreachable!("{op:?} of floats"),
    }
}

fn norm<T: Real>(p: f64, src: AnySrc, axes: &[bool], dst: AnyDst) {
    use folds::{ABS, COUNT, LARGEST, Norm, POWER, SMALLEST, SQUARE};
    if p == 0.0 {
        one(Norm::<T, COUNT>::of(p), src, axes, dst)
    } else if p == 1.0 {
        one(Norm::<T, ABS>::of(p), src, axes, dst)
    } else if p == 2.0 {
        one(Norm::<T, SQUARE>::of(p), src, axes, dst)
    } else if p == f64::INFINITY {
        one(Norm::<T, LARGEST>::of(p), src, axes, dst)
    } else if p == f64::NEG_INFINITY {
        one(Norm::<T, SMALLEST>::of(p), src, axes, dst)
    } else {
        one(Norm::<T, POWER>::of(p), src, axes, dst)
    }
}

fn mean_of<T: Real>(src: &AnySrc, axes: &[bool], dst: &Dst<T>) {
    let div = T::from_f64(count(src.shape(), axes) as f64);
    fold_stored(folds::Sum { div }, src, axes, None, dst);
}

pub(crate) fn var_of<T: Real>(
    src: &Src<T>,
    axes: &[bool],
    correction: f64,
    std: bool,
    mean: Option<&Dst<T>>,
    dst: &Dst<T>,
) {
    // SAFETY: the same view.
    let src = unsafe { AnySrc::new(src.ptr().cast(), T::DTYPE, src.shape(), src.strides()) };
    squares_of(&src, axes, correction, std, mean, dst);
}

fn squares_of<T: Real>(src: &AnySrc, axes: &[bool], correction: f64, std: bool, mean: Option<&Dst<T>>, dst: &Dst<T>) {
    let n = count(src.shape(), axes);
    let div = T::from_f64((n as f64 - correction).max(0.0));
    let shape = keepdim(src.shape(), axes);
    let mut own = Vec::new();
    let center = match mean {
        Some(m) => *m,
        None => {
            own.resize(shape.iter().product(), T::ZERO);
            view_mut(&mut own, &shape)
        }
    };
    mean_of(src, axes, &center);
    // SAFETY: the means were written above and are only read from here on.
    let center = unsafe { Src::new(center.ptr().cast_const(), &shape, center.strides()) };
    fold_stored(folds::Squares { div, root: std }, src, axes, Some(&center), dst);
}

/// The fold that adds floats up.
pub(crate) fn sum_fold<T: Real>() -> impl Fold<In = T, Aux = (), Acc = T, Out = T> {
    folds::Sum { div: T::ONE }
}

/// Sums of `y` and of `y * (x - aux)`, one after the other: what the backward passes of the norms need per channel.
pub(crate) fn sum_and_dot<T: Real>(y: &Src<T>, x: &Src<T>, axes: &[bool], mean: &Src<T>, sum: &Dst<T>, dot: &Dst<T>) {
    fold(folds::Sum { div: T::ONE }, y, y, axes, None, sum);
    fold(folds::Dot::<T>::new(), y, x, axes, Some(mean), dot);
}

/// The sum (or mean) of each row of `n` elements, 1 to [`ROW`] of them: the bits of [`reduce`] and [`mean`] without
/// their preparations, which take longer than few elements do.
pub fn sum_rows(src: &[f32], n: usize, mean: bool, out: &mut [f32]) {
    let div = if mean { n as f32 } else { 1.0 };
    for (row, to) in src.chunks_exact(n).zip(out) {
        *to = fold::fold_row(&folds::Sum { div }, row);
    }
}
