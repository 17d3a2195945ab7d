//! Negative log-likelihood: only the elements at the targets are read.

use super::{LossElement, Reduction, check, class, total, weights};
use crate::index::IndexError;
use crate::reduce::walk::Walk;
use crate::view::Src;

/// `-weight[t] * logp[n, t, s]` with t = `target[n * s]`: each (`out` is as long as `target`), or their mean by weight or
/// their sum (one element). Gives the sum of the weights.
pub fn nll_forward<T: LossElement>(
    logp: &Src<T>,
    target: &[i64],
    weight: Option<&[T]>,
    ignore: i64,
    reduction: Reduction,
    out: &mut [T],
) -> Result<T, IndexError> {
    let (shape, strides) = (logp.shape(), logp.strides());
    let classes = shape[1];
    check(target, classes, ignore)?;
    assert!(target.len() == shape[0] * shape[2] && weight.is_none_or(|w| w.len() == classes));
    let mut kept = Vec::new();
    let losses = if reduction == Reduction::Each {
        &mut *out
    } else {
        kept.resize(target.len(), T::ZERO);
        &mut kept
    };
    assert_eq!(losses.len(), target.len());
    // Without places it is one run, which a dim of one element behind the lines would break into runs of one.
    let walk = if shape[2] == 1 {
        Walk::<1>::of(&[shape[0]], [&[strides[0]]])
    } else {
        Walk::<1>::of(&[shape[0], shape[2]], [&[strides[0], strides[2]]]).coalesce()
    };
    walk.runs(0..target.len(), |first, [mut at], n, [step]| {
        for (loss, &t) in losses[first..first + n].iter_mut().zip(&target[first..first + n]) {
            *loss = match class(t, classes, ignore) {
                // SAFETY: the class was checked; the rest lies inside the walk.
                Some(t) => unsafe {
                    let x = *logp.ptr().offset(at + t as isize * strides[1]);
                    let w = weight.map_or(T::ONE, |w| w[t]);
                    -(w * x)
                },
                None => T::ZERO,
            };
            at += step;
        }
    });
    let weights = weights(target, weight, classes, ignore);
    match reduction {
        Reduction::Each => {}
        Reduction::Mean => out[0] = T::from_f64(total(losses) / weights),
        Reduction::Sum => out[0] = T::from_f64(total(losses)),
    }
    Ok(T::from_f64(weights))
}

/// The gradient of [`nll_forward`] with respect to `logp` `[n, classes, s]`; `grad` is as long as its `out`.
#[allow(clippy::too_many_arguments, reason = "the op's own")]
pub fn nll_backward<T: LossElement>(
    grad: &[T],
    target: &[i64],
    weight: Option<&[T]>,
    ignore: i64,
    reduction: Reduction,
    total_weight: T,
    [n, classes, s]: [usize; 3],
    gx: &mut [T],
) -> Result<(), IndexError> {
    check(target, classes, ignore)?;
    assert!(target.len() == n * s && gx.len() == n * classes * s && weight.is_none_or(|w| w.len() == classes));
    assert!(grad.len() == if reduction == Reduction::Each { target.len() } else { 1 });
    gx.fill(T::ZERO);
    for (i, &t) in target.iter().enumerate() {
        let Some(t) = class(t, classes, ignore) else { continue };
        let w = weight.map_or(T::ONE, |w| w[t]);
        let g = grad[if reduction == Reduction::Each { i } else { 0 }];
        let g = if reduction == Reduction::Mean {
            g / total_weight
        } else {
            g
        };
        gx[(i / s * classes + t) * s + i % s] = -(w * g);
    }
    Ok(())
}
