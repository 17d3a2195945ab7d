//! What happens to a block of scores, keys by queries: `QUERIES` queries lie side by side, so that each has a lane of its
//! own and sums over keys run in their order.

#![allow(
    clippy::excessive_precision,
    clippy::needless_range_loop,
    reason = "constants as they were fitted; lanes are indexed side by side, which is what vectorizes"
)]

use crate::multiversion;
use crate::random::Philox;
use crate::reduce::real::Real;
use crate::simd::Aligned;

/// Queries of a block.
pub(super) const QUERIES: usize = 32;
/// Keys of a block.
pub(crate) const KEYS: usize = 128;

/// One number per query of a block.
pub(super) type Lanes<T> = [T; QUERIES];

/// What is known of the queries after some keys: the largest score, and the sum of exponentials above it.
#[derive(Clone, Copy)]
pub(super) struct Softmax<T> {
    pub max: Lanes<T>,
    pub sum: Lanes<T>,
}

impl<T: Real> Softmax<T> {
    pub fn new() -> Self {
        Self {
            max: [-T::INF; QUERIES],
            sum: [T::ZERO; QUERIES],
        }
    }
}

/// The same column of a row for each of `rows` rows.
#[inline(always)]
fn rows<T>(block: &mut [T]) -> impl Iterator<Item = &mut Lanes<T>> {
    block.as_chunks_mut::<QUERIES>().0.iter_mut()
}

#[inline(always)]
fn add<T: Real>(block: &mut [T], other: &[T]) {
    let n = block.len().min(other.len());
    for (x, &y) in block[..n].iter_mut().zip(&other[..n]) {
        *x = *x + y;
    }
}

/// Scores of keys after the query become -inf; the block's first key is `ahead` places after its first query.
#[inline(always)]
fn hide<T: Real>(scores: &mut [T], ahead: isize) {
    let first = (1 - ahead).max(0) as usize;
    for (r, row) in rows(scores).enumerate().skip(first) {
        let hidden = (r as isize + ahead) as usize;
        for (j, x) in row.iter_mut().enumerate() {
            *x = if j < hidden { -T::INF } else { *x };
        }
    }
}

/// The exponential of what is at most 0 (or NaN).
pub(crate) trait Weight: Real {
    fn weight(self) -> Self;
}

impl Weight for f32 {
    /// As `math::exp` with the same polynomial, but results that would be subnormal are 0, which saves a third of the
    /// instructions.
    #[inline(always)]
    fn weight(self) -> f32 {
        const MAGIC: f32 = 12_582_912.0;
        const C: [f32; 7] = [
            1.392625039e-03,
            8.363232948e-03,
            4.166655242e-02,
            1.666657627e-01,
            5.0e-01,
            1.0,
            1.0,
        ];
        // At -88 the power of two below is 2^-127, whose bits are those of 0.
        let x = if self < -88.0 { -88.0 } else { self };
        let t = x.mul_add(std::f32::consts::LOG2_E, MAGIC);
        let n = t - MAGIC;
        let r = n.mul_add(1.9046543e-09, n.mul_add(-6.9314718246e-01, x));
        let mut p = C[0];
        for c in &C[1..] {
            p = p.mul_add(r, *c);
        }
        p * f32::from_bits(t.to_bits().wrapping_sub(MAGIC.to_bits()).wrapping_add(127) << 23)
    }
}

impl Weight for f64 {
    #[inline(always)]
    fn weight(self) -> f64 {
        Real::exp(self)
    }
}

multiversion! {
    /// Scores become exponentials above the maximum so far; what was summed before is to be scaled by the result.
    pub(super) fn step<T: Weight>(scores: &mut [T], mask: &[T], ahead: Option<isize>, state: &mut Softmax<T>) -> Lanes<T> {
        add(scores, mask);
        if let Some(ahead) = ahead {
            hide(scores, ahead);
        }
        let mut max = state.max;
        for four in scores.chunks_mut(4 * QUERIES) {
            for row in rows(four) {
                for j in 0..QUERIES {
                    max[j] = if row[j] > max[j] { row[j] } else { max[j] };
                }
            }
        }
        let mut sum = state.sum;
        let mut factor = [T::ONE; QUERIES];
        for j in 0..QUERIES {
            // Above -inf nothing is finite: a query that sees no key yet keeps zeros.
            let base = if max[j] == -T::INF { T::ZERO } else { max[j] };
            factor[j] = (state.max[j] - base).weight();
            sum[j] = sum[j] * factor[j];
            state.max[j] = max[j];
            max[j] = base;
        }
        for row in rows(scores) {
            for j in 0..QUERIES {
                let e = (row[j] - max[j]).weight();
                row[j] = e;
                sum[j] = sum[j] + e;
            }
        }
        state.sum = sum;
        factor
    }
}

multiversion! {
    /// What the values are to be scaled by in the end. The sums become the logarithms of the sums of all exponentials
    /// (inf where there is no key).
    pub(super) fn finish<T: Real>(state: &mut Softmax<T>) -> Lanes<T> {
        let mut by = [T::ZERO; QUERIES];
        for j in 0..QUERIES {
            let none = state.sum[j] == T::ZERO;
            by[j] = if none { T::ZERO } else { T::ONE / state.sum[j] };
            state.sum[j] = if none { T::INF } else { state.max[j] + Real::ln(state.sum[j]) };
        }
        by
    }
}

multiversion! {
    /// Scores become weights, and the weights' gradients `grad` those of the scores. `kept` scales the weights.
    pub(super) fn backward<T: Weight>(
        scores: &mut [T],
        grad: &mut [T],
        mask: &[T],
        kept: &[T],
        ahead: Option<isize>,
        logsumexp: &Lanes<T>,
        dot: &Lanes<T>,
    ) {
        add(scores, mask);
        if let Some(ahead) = ahead {
            hide(scores, ahead);
        }
        if kept.is_empty() {
            for (p, g) in rows(scores).zip(rows(grad)) {
                for j in 0..QUERIES {
                    let w = (p[j] - logsumexp[j]).weight();
                    p[j] = w;
                    g[j] = w * (g[j] - dot[j]);
                }
            }
        } else {
            for ((p, g), k) in rows(scores).zip(rows(grad)).zip(kept.as_chunks::<QUERIES>().0) {
                for j in 0..QUERIES {
                    let w = (p[j] - logsumexp[j]).weight();
                    p[j] = w * k[j];
                    g[j] = w * (g[j] * k[j] - dot[j]);
                }
            }
        }
    }
}

multiversion! {
    /// Products of the columns of two blocks, each a chain over the rows in their order, as the tiles make it: what they give
    /// for the same factors cancels exactly.
    pub(super) fn dots<T: Real>(a: &[T], b: &[T], to: &mut [T]) {
        let mut sums = [T::ZERO; QUERIES];
        for (a, b) in a.as_chunks::<QUERIES>().0.iter().zip(b.as_chunks::<QUERIES>().0) {
            for j in 0..QUERIES {
                sums[j] = a[j].fma(b[j], sums[j]);
            }
        }
        to.copy_from_slice(&sums);
    }
}

multiversion! {
    pub(super) fn multiply<T: Real>(x: &mut [T], by: &[T]) {
        for (x, &y) in x.iter_mut().zip(by) {
            *x = *x * y;
        }
    }
}

multiversion! {
    pub(super) fn scale<T: Real>(x: &mut [T], by: T) {
        for x in x {
            *x = *x * by;
        }
    }
}

multiversion! {
    pub(super) fn sum_up<T: Real>(to: &mut [T], other: &[T]) {
        add(to, other);
    }
}

/// Which weights are left out: that of key j for query row i takes word j mod 4 of counter `i * ceil(keys / 4) + j / 4`.
#[derive(Clone, Copy)]
pub struct Dropout {
    pub philox: Philox,
    pub p: f64,
}

impl Dropout {
    /// Numbers (four to a counter) that `rows` queries of `keys` keys take.
    pub fn words(rows: usize, keys: usize) -> usize {
        rows.saturating_mul(keys.next_multiple_of(4))
    }

    /// Factors of `n` weights of query row `row`, from key `first` (a multiple of 4) on, `step` apart in `to`.
    pub(crate) fn factors<T: Real>(&self, row: usize, keys: usize, first: usize, n: usize, to: &mut [T], step: usize) {
        let mut words = Aligned([0u32; KEYS]);
        let start = row as u64 * keys.div_ceil(4) as u64 + first as u64 / 4;
        self.philox.words(start, 0, &mut words[..n.next_multiple_of(4)]);
        let least = (self.p * 4_294_967_296.0) as u64;
        let by = if self.p < 1.0 {
            T::from_f64(1.0 / (1.0 - self.p))
        } else {
            T::ZERO
        };
        for (to, &w) in to.iter_mut().step_by(step).zip(&words[..n]) {
            *to = if w as u64 >= least { by } else { T::ZERO };
        }
    }
}
