//! Attention of few queries, such as a language model's next word: blocks of [`QUERIES`](super::block::QUERIES) queries
//! would be mostly empty, and so few scores stay in the caches anyway. Two matrix products with a softmax of rows between
//! them.
//!
//! **Order.** Scores and outputs have the order of [`matmul`]; the scale and the mask come after the product. The sum of
//! exponentials is that of [`softmax`](crate::softmax), by which the weights are divided before they meet the values.

use super::block::{Dropout, KEYS};
use super::tile::HasTiles;
use super::{GRAIN, Job, Matrix};
use crate::gemm::{Epilogue, GemmElement, matmul};
use crate::parallel;
use crate::reduce::walk::{Share, dense};
use crate::scratch::{self, Plain};
use crate::softmax::row::{self, Soft};
use crate::softmax::wave::in_waves;
use crate::view::{Dst, MAX_RANK, Src};

/// Queries of a head that are few.
const MOST: usize = 16;
/// Scores of several queries that stay in the caches until they have met the values.
const ROOM: usize = 1 << 18;

/// Whether [`forward`] takes these.
pub(super) fn suits<T>(job: &Job<T>) -> bool {
    let scores = job.heads.saturating_mul(job.l).saturating_mul(job.s);
    job.l == 1 || (job.l <= MOST && scores <= ROOM)
}

/// A view with other last two dims.
///
/// # Safety
/// As for [`Src::new`].
unsafe fn matrices<'a, T>(of: &Src<'a, T>, sizes: [usize; 2], steps: [isize; 2]) -> Src<'a, T> {
    let (mut shape, mut strides) = ([1; MAX_RANK], [0; MAX_RANK]);
    let rank = of.rank();
    shape[..rank].copy_from_slice(of.shape());
    strides[..rank].copy_from_slice(of.strides());
    shape[rank - 2..rank].copy_from_slice(&sizes);
    strides[rank - 2..rank].copy_from_slice(&steps);
    // SAFETY: the caller's promise.
    unsafe { Src::new(of.ptr(), &shape[..rank], &strides[..rank]) }
}

/// What [`super::forward`] gives, where [`suits`] says so.
pub(super) fn forward<T: Soft + HasTiles + GemmElement + Plain>(job: &Job<T>, out: &Dst<T>, logsumexp: &Dst<T>) {
    let rank = out.rank();
    // With a causal mask no query sees a key beyond the last query's place.
    let seen = if job.causal { job.s.min(job.l) } else { job.s };
    let steps = |v: &Src<T>| [v.strides()[rank - 2], v.strides()[rank - 1]];
    let [key_step, dim_step] = steps(&job.key);
    let mut shape = [1; MAX_RANK];
    shape[..rank - 2].copy_from_slice(&out.shape()[..rank - 2]);
    shape[rank - 2..rank].copy_from_slice(&[job.l, seen]);
    let strides = dense(&shape[..rank]);
    scratch::with::<T, _>(job.heads * job.l * seen, |scores| {
        let at = scores.as_mut_ptr();
        // SAFETY: keys and values up to `seen` are those of the views; the scratch memory has room for all scores, and is
        // read after it was written.
        unsafe {
            let to = Dst::new(at, &shape[..rank], &strides[..rank]);
            let keys = matrices(&job.key, [job.e, seen], [dim_step, key_step]);
            matmul(job.query, keys, to, Epilogue::default());
            weights(job, at, seen, logsumexp);
            let weights = Src::new(at, &shape[..rank], &strides[..rank]);
            let values = matrices(&job.value, [seen, job.v], steps(&job.value));
            matmul(weights, values, *out, Epilogue::default());
        }
    });
}

/// Rows of scores become weights.
///
/// # Safety
/// `scores` addresses `seen` scores for each query.
unsafe fn weights<T: Soft + HasTiles + Plain>(job: &Job<T>, scores: *mut T, seen: usize, logsumexp: &Dst<T>) {
    let inputs = job.walk();
    let (scores, lse) = (Share::new(scores), Share::new(logsumexp.ptr()));
    parallel::for_range(job.heads * job.l, (GRAIN / 16 / seen.max(1)).max(1), |range| {
        scratch::with::<T, _>(seen, |shifted| {
            for i in range {
                let (head, q) = (i / job.l, i % job.l);
                let mask = job.mask.as_ref().map(|m| Matrix::of(m, inputs.at(head)[3]));
                let row = Row {
                    index: i,
                    scale: job.scale,
                    mask: mask.map(|m| (m.row(q), m.cs)),
                    shown: if job.causal { seen.min(q + 1) } else { seen },
                    keys: job.s,
                    dropout: job.dropout,
                };
                // SAFETY: the caller's promise; rows differ, and so do the sums' places.
                unsafe {
                    let scores = std::slice::from_raw_parts_mut(scores.get().add(i * seen), seen);
                    *lse.get().add(i) = weigh(&row, scores, shifted);
                }
            }
        });
    });
}

/// One query.
struct Row<T> {
    /// Among the queries of all heads.
    index: usize,
    scale: T,
    /// Where its mask begins, and its stride.
    mask: Option<(*const T, isize)>,
    /// Keys from here on are hidden.
    shown: usize,
    /// All keys, for which numbers are drawn.
    keys: usize,
    dropout: Option<Dropout>,
}

in_waves! {
    /// Scores of a query become weights; returns the logarithm of the sum of exponentials, inf where it sees no key. `shifted`
    /// has room for as many.
    fn weigh<T: Soft>(l: L; query: &Row<T>, scores: &mut [T], shifted: &mut [T]) -> T {
        let n = scores.len();
        let shifted = &mut shifted[..n];
        for (to, &x) in shifted.iter_mut().zip(&*scores) {
            *to = x * query.scale;
        }
        match query.mask {
            None => {}
            Some((at, 1)) => {
                // SAFETY: the mask has as many columns as there are keys; so below.
                let mask = unsafe { std::slice::from_raw_parts(at, n) };
                for (to, &m) in shifted.iter_mut().zip(mask) {
                    *to = *to + m;
                }
            }
            Some((at, step)) => {
                for (j, to) in shifted.iter_mut().enumerate() {
                    // SAFETY: as above.
                    *to = *to + unsafe { *at.offset(j as isize * step) };
                }
            }
        }
        shifted[query.shown.min(n)..].fill(-T::INF);
        let top = row::top(l, shifted);
        // Above -inf nothing is finite.
        let base = if top == -T::INF { T::ZERO } else { top };
        let sum = row::exponentials(l, shifted, base, scores);
        let none = top == -T::INF && sum >= T::ZERO;
        let by = if none { T::ZERO } else { T::ONE / sum };
        for x in scores.iter_mut() {
            *x = *x * by;
        }
        if let Some(dropout) = &query.dropout {
            let mut kept = [T::ZERO; KEYS];
            for (k, scores) in scores.chunks_mut(KEYS).enumerate() {
                dropout.factors(query.index, query.keys, k * KEYS, scores.len(), &mut kept, 1);
                for (x, &factor) in scores.iter_mut().zip(&kept) {
                    *x = *x * factor;
                }
            }
        }
        if none { T::INF } else { base + sum.log_lowered() }
    }
}
