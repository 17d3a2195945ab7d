//! Reductions: sums, products, extrema, norms, moments, and the places of extrema.
//!
//! A result has the rank of its input, with size 1 where `axes` is true. All of it rests on one fold engine (see its
//! module) whose order of additions is fixed by shape and contiguity.

mod arg;
mod fold;
mod folds;
mod narrow;
pub(crate) mod real;
pub(crate) mod walk;

use crate::dtype::{Bool, DType, Element};
use crate::softmax::logsumexp;
use crate::softmax::row::Soft;
use crate::view::{AnyDst, AnySrc, Dst, Src};
use real::Real;
use walk::view_mut;

pub use arg::{arg_reduce, count_nonzero, equal};
pub(crate) use fold::{Fold, fold};
pub use narrow::narrow_extremum;

/// Longest run that [`sum_rows`] takes.
pub const ROW: usize = fold::RUN - 1;

/// What [`reduce`] computes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Reduce {
    /// Of `f32`, `f64`, `i64` (wrapping) into the same dtype; of `bool` into `i64`.
    Sum,
    /// As `Sum`.
    Prod,
    /// NaN wins. Of every dtype into the same.
    Max,
    Min,
    /// Of every dtype into `bool`.
    Any,
    All,
    /// The p-norm of floats, p = 0 and ±infinity included.
    Norm(f64),
    /// Of floats.
    LogSumExp,
    /// Of every dtype into `i64`.
    CountNonzero,
}

/// Reduces the dims of `src` named by `axes`. `Max` and `Min` of nothing give the identity (the caller refuses them).
pub fn reduce(op: Reduce, src: AnySrc, axes: &[bool], dst: AnyDst) {
    match src.dtype() {
        DType::F32 => float::<f32>(op, src, axes, dst),
        DType::F64 => float::<f64>(op, src, axes, dst),
        DType::I64 => match op {
            Reduce::Sum => one(folds::SumInt::<i64>::new(), src, axes, dst),
            Reduce::Prod => one(folds::ProdInt::<i64>::new(), src, axes, dst),
            Reduce::Max => one(folds::Extremum::<i64, true>::new(), src, axes, dst),
            Reduce::Min => one(folds::Extremum::<i64, false>::new(), src, axes, dst),
            _ => truth::<i64>(op, src, axes, dst),
        },
        DType::Bool => match op {
            Reduce::Sum => one(folds::Count::<Bool>::new(), src, axes, dst),
            Reduce::Prod => one(folds::ProdInt::<Bool>::new(), src, axes, dst),
            Reduce::Max => truth::<Bool>(Reduce::Any, src, axes, dst),
            Reduce::Min => truth::<Bool>(Reduce::All, src, axes, dst),
            _ => truth::<Bool>(op, src, axes, dst),
        },
        other => panic!("reduce of {}", other.name()),
    }
}

/// The mean of floats; NaN of nothing.
pub fn mean(src: AnySrc, axes: &[bool], dst: AnyDst) {
    match src.dtype() {
        DType::F32 => mean_of(&src.typed::<f32>(), axes, &dst.typed()),
        DType::F64 => mean_of(&src.typed::<f64>(), axes, &dst.typed()),
        other => panic!("mean of {}", other.name()),
    }
}

/// The variance of floats (its root where `std`) with divisor max(0, n - correction), and their mean if asked for.
pub fn var(src: AnySrc, axes: &[bool], correction: f64, std: bool, mean: Option<AnyDst>, dst: AnyDst) {
    match src.dtype() {
        DType::F32 => var_of::<f32>(
            &src.typed(),
            axes,
            correction,
            std,
            mean.map(|m| m.typed()).as_ref(),
            &dst.typed(),
        ),
        DType::F64 => var_of::<f64>(
            &src.typed(),
            axes,
            correction,
            std,
            mean.map(|m| m.typed()).as_ref(),
            &dst.typed(),
        ),
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

fn one<F: Fold<In: Element, Out: Element>>(f: F, src: AnySrc, axes: &[bool], dst: AnyDst) {
    let src = src.typed();
    fold(f, &src, &src, axes, None, &dst.typed());
}

fn truth<T: Element + folds::Truth>(op: Reduce, src: AnySrc, axes: &[bool], dst: AnyDst) {
    match op {
        Reduce::Any => one(folds::AnyAll::<T, true>::new(), src, axes, dst),
        Reduce::All => one(folds::AnyAll::<T, false>::new(), src, axes, dst),
        Reduce::CountNonzero => one(folds::Count::<T>::new(), src, axes, dst),
        _ => panic!("{op:?} of {}", T::DTYPE.name()),
    }
}

fn float<T: Soft>(op: Reduce, src: AnySrc, axes: &[bool], dst: AnyDst) {
    match op {
        Reduce::Sum => one(folds::Sum { div: T::ONE }, src, axes, dst),
        Reduce::Prod => one(folds::Prod::<T>::new(), src, axes, dst),
        Reduce::Max => one(folds::Extremum::<T, true>::new(), src, axes, dst),
        Reduce::Min => one(folds::Extremum::<T, false>::new(), src, axes, dst),
        Reduce::Norm(p) => norm::<T>(p, src, axes, dst),
        Reduce::LogSumExp => logsumexp::log_sum_exp::<T>(&src.typed(), axes, &dst.typed()),
        _ => truth::<T>(op, src, axes, dst),
    }
}

fn norm<T: Real + folds::Truth>(p: f64, src: AnySrc, axes: &[bool], dst: AnyDst) {
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

pub(crate) fn mean_of<T: Real>(src: &Src<T>, axes: &[bool], dst: &Dst<T>) {
    let n = count(src.shape(), axes);
    fold(
        folds::Sum {
            div: T::from_f64(n as f64),
        },
        src,
        src,
        axes,
        None,
        dst,
    );
}

pub(crate) fn var_of<T: Real>(
    src: &Src<T>,
    axes: &[bool],
    correction: f64,
    std: bool,
    mean: Option<&Dst<T>>,
    dst: &Dst<T>,
) {
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
    fold(folds::Squares { div, root: std }, src, src, axes, Some(&center), dst);
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
