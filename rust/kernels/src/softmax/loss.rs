//! Negative log-likelihood, and cross-entropy in one pass over the logits.
//!
//! Targets are copied and checked before anything is written. Losses are added up in `f64`, in order.

use crate::dtype::DType;
use crate::index::IndexError;
use crate::multiversion;
use crate::parallel;
use crate::reduce::lanes::{lane_sum, row_max};
use crate::reduce::real::Real;
use crate::reduce::walk::{Share, Walk, apart, collect, grain, line};
use crate::view::{AnyDst, AnySrc, Dst, Src};

macro_rules! by_float {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            DType::F32 => {
                type $t = f32;
                $body
            }
            DType::F64 => {
                type $t = f64;
                $body
            }
            other => panic!("a loss of {}", other.name()),
        }
    };
}

/// The targets, `None` where they are `ignore`.
fn targets(target: &Src<i64>, classes: usize, ignore: i64) -> Result<Vec<Option<usize>>, IndexError> {
    collect(target)
        .into_iter()
        .map(|t| {
            if t == ignore {
                Ok(None)
            } else if (t as u64) < classes as u64 {
                Ok(Some(t as usize))
            } else {
                Err(IndexError {
                    index: t,
                    size: classes,
                    dim: 1,
                })
            }
        })
        .collect()
}

/// `out = -weight[t] * logp[n, t, s]` with t = `target[n, s]`: each (`reduction` 0, `out` of shape `[n, s]`), their mean
/// by weight (1) or sum (2), one element; `total_weight` receives the sum of the weights.
pub fn nll_forward(
    logp: AnySrc,
    target: Src<i64>,
    weight: Option<AnySrc>,
    ignore_index: i64,
    reduction: u8,
    out: AnyDst,
    total_weight: AnyDst,
) -> Result<(), IndexError> {
    let targets = targets(&target, logp.shape()[1], ignore_index)?;
    by_float!(logp.dtype(), T => {
        let weight = weight.map(|w| collect(&w.typed::<T>()));
        nll::<T>(&logp.typed(), &targets, weight.as_deref(), reduction, &out.typed(), &total_weight.typed())
    });
    Ok(())
}

fn nll<T: Real>(
    logp: &Src<T>,
    targets: &[Option<usize>],
    weight: Option<&[T]>,
    reduction: u8,
    out: &Dst<T>,
    total: &Dst<T>,
) {
    let (shape, strides) = (logp.shape(), logp.strides());
    let walk = Walk::<1>::of(&[shape[0], shape[2]], [&[strides[0], strides[2]]]);
    let each = Walk::<1>::of(out.shape(), [out.strides()]);
    let (mut sum, mut weights) = (0.0f64, 0.0f64);
    walk.each(0..targets.len(), |i, [at]| {
        let mut loss = T::ZERO;
        if let Some(t) = targets[i] {
            let w = weight.map_or(T::ONE, |w| w[t]);
            // SAFETY: the target was checked; the rest lies inside the walk.
            loss = -(w * unsafe { *logp.ptr().offset(at + t as isize * strides[1]) });
            weights += w.to_f64();
            sum += loss.to_f64();
        }
        if reduction == 0 {
            // SAFETY: `out` has one element per target.
            unsafe { *out.ptr().offset(each.at(i)[0]) = loss };
        }
    });
    // SAFETY: views of one element.
    unsafe {
        *total.ptr() = T::from_f64(weights);
        match reduction {
            0 => {}
            1 => *out.ptr() = T::from_f64(sum / weights),
            _ => *out.ptr() = T::from_f64(sum),
        }
    }
}

/// The gradient of [`nll_forward`] with respect to `logp`; `grad` has the shape of its `out`.
pub fn nll_backward(
    grad: AnySrc,
    target: Src<i64>,
    weight: Option<AnySrc>,
    ignore_index: i64,
    reduction: u8,
    total_weight: AnySrc,
    gx: AnyDst,
) -> Result<(), IndexError> {
    let targets = targets(&target, gx.shape()[1], ignore_index)?;
    by_float!(gx.dtype(), T => {
        let weight = weight.map(|w| collect(&w.typed::<T>()));
        let (grad, total) = (grad.typed(), total_weight.typed());
        nll_grad::<T>(&grad, &targets, weight.as_deref(), reduction, &total, &gx.typed())
    });
    Ok(())
}

fn nll_grad<T: Real>(
    grad: &Src<T>,
    targets: &[Option<usize>],
    weight: Option<&[T]>,
    reduction: u8,
    total: &Src<T>,
    gx: &Dst<T>,
) {
    let (shape, strides) = (gx.shape(), gx.strides());
    let all = Walk::<1>::of(shape, [strides]).coalesce();
    // SAFETY: the walk stays inside the view.
    all.each(0..all.count(), |_, [at]| unsafe { *gx.ptr().offset(at) = T::ZERO });
    let walk = Walk::<1>::of(&[shape[0], shape[2]], [&[strides[0], strides[2]]]);
    let each = Walk::<1>::of(grad.shape(), [grad.strides()]);
    walk.each(0..targets.len(), |i, [at]| {
        let Some(t) = targets[i] else { return };
        let w = weight.map_or(T::ONE, |w| w[t]);
        // SAFETY: the target was checked; `grad` has one element per target, or one.
        unsafe {
            let g = *grad.ptr().offset(if reduction == 0 { each.at(i)[0] } else { 0 });
            let g = if reduction == 1 { g / *total.ptr() } else { g };
            *gx.ptr().offset(at + t as isize * strides[1]) = -(w * g);
        }
    });
}

/// The losses of `logits` `[n, c]` against `target` `[n]` (0 where it is `ignore_index`), and each row's logsumexp, which
/// [`cross_entropy_backward`] takes.
pub fn cross_entropy_forward(
    logits: AnySrc,
    target: Src<i64>,
    ignore_index: i64,
    losses: AnyDst,
    logsumexp: AnyDst,
) -> Result<(), IndexError> {
    let targets = targets(&target, logits.shape()[1], ignore_index)?;
    by_float!(logits.dtype(), T => {
        forward::<T>(&logits.typed(), &targets, &losses.typed(), &logsumexp.typed())
    });
    Ok(())
}

fn forward<T: Real>(logits: &Src<T>, targets: &[Option<usize>], losses: &Dst<T>, logsumexp: &Dst<T>) {
    let c = logits.shape()[1];
    let [sr, sc] = [logits.strides()[0], logits.strides()[1]];
    let (x, loss, lse) = (
        Share::new(logits.ptr().cast_mut()),
        Share::new(losses.ptr()),
        Share::new(logsumexp.ptr()),
    );
    let (sl, se) = (losses.strides()[0], logsumexp.strides()[0]);
    parallel::for_range(targets.len(), grain(4 * c), |range| {
        let (mut keep, mut scratch) = (Vec::new(), vec![T::ZERO; c]);
        for r in range {
            let i = r as isize;
            // SAFETY: row r of each view; the target was checked.
            unsafe {
                let row = line(x.get().offset(i * sr).cast_const(), c, sc, &mut keep);
                let (max, log) = log_sum(row, &mut scratch);
                *lse.get().offset(i * se) = max + log;
                *loss.get().offset(i * sl) = targets[r].map_or(T::ZERO, |t| log - (row[t] - max));
            }
        }
    });
}

multiversion! {
    /// The maximum, and the logarithm of the sum of exponentials above it.
    fn log_sum<T: Real>(x: &[T], scratch: &mut [T]) -> (T, T) {
        let max = row_max(x);
        let e = &mut scratch[..x.len()];
        for i in 0..x.len() {
            e[i] = Real::exp(x[i] - max);
        }
        (max, Real::ln(lane_sum(e, e, |e, _| e)))
    }
}

/// The gradient with respect to the logits: `grad[n] * (softmax - onehot)`.
pub fn cross_entropy_backward(
    grad: AnySrc,
    logits: AnySrc,
    target: Src<i64>,
    ignore_index: i64,
    logsumexp: AnySrc,
    gx: AnyDst,
) -> Result<(), IndexError> {
    let targets = targets(&target, logits.shape()[1], ignore_index)?;
    by_float!(logits.dtype(), T => {
        backward::<T>(&grad.typed(), &logits.typed(), &targets, &logsumexp.typed(), &gx.typed())
    });
    Ok(())
}

fn backward<T: Real>(grad: &Src<T>, logits: &Src<T>, targets: &[Option<usize>], lse: &Src<T>, gx: &Dst<T>) {
    let mut keep = Vec::new();
    let logits = apart(*logits, gx.ptr(), &mut keep);
    let c = logits.shape()[1];
    let [sr, sc] = [logits.strides()[0], logits.strides()[1]];
    let [gr, gc] = [gx.strides()[0], gx.strides()[1]];
    let (sg, se) = (grad.strides()[0], lse.strides()[0]);
    let out = Share::new(gx.ptr());
    parallel::for_range(targets.len(), grain(4 * c), |range| {
        let (mut keep, mut row) = (Vec::new(), vec![T::ZERO; c]);
        for r in range {
            let i = r as isize;
            // SAFETY: row r of each view; the target was checked.
            unsafe {
                let x = line(logits.ptr().offset(i * sr), c, sc, &mut keep);
                let target = targets[r];
                let g = if target.is_some() {
                    *grad.ptr().offset(i * sg)
                } else {
                    T::ZERO
                };
                let to = out.get().offset(i * gr);
                if gc == 1 && target.is_some() {
                    shifted(x, *lse.ptr().offset(i * se), g, std::slice::from_raw_parts_mut(to, c));
                } else {
                    row.fill(T::ZERO);
                    if target.is_some() {
                        shifted(x, *lse.ptr().offset(i * se), g, &mut row);
                    }
                    for (j, &v) in row.iter().enumerate() {
                        *to.offset(j as isize * gc) = v;
                    }
                }
                if let Some(t) = target {
                    let place = to.offset(t as isize * gc);
                    *place = *place - g;
                }
            }
        }
    });
}

multiversion! {
    fn shifted<T: Real>(x: &[T], by: T, g: T, y: &mut [T]) {
        let x = &x[..y.len()];
        for i in 0..y.len() {
            y[i] = Real::exp(x[i] - by) * g;
        }
    }
}
