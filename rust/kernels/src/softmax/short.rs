//! Rows of at most four vectors, some at a time: each step for all of them, because what a row's maximum, exponentials or sum
//! wait for, the next one's do not. The lanes of eight rows are joined side by side. Bits are those of `row`.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over rows and registers, unrolled by the compiler, read best as such"
)]

use super::row::{Soft, lift, raised};
use super::wave::Wave;

/// Vectors of the longest rows.
pub(crate) const LONGEST: usize = 4;

/// Rows that are taken together.
pub(crate) const ROWS: usize = 32;

/// Up to [`ROWS`] rows of `n` elements. Places beyond `count` hold the first row, so that eight can be read from any; `g` is
/// the second input of gradients, `y` the result.
pub(crate) struct Rows<T> {
    pub n: usize,
    pub count: usize,
    pub x: [*const T; ROWS],
    pub g: [*const T; ROWS],
    pub y: [*mut T; ROWS],
}

impl<T: Soft> Rows<T> {
    /// The softmax of each row, or its logarithm.
    ///
    /// # Safety
    /// The rows have V vectors, of which the last may be a part; nothing else uses the results' memory.
    #[inline(always)]
    pub(crate) unsafe fn softmax<L: Wave<T>, const V: usize>(&self, l: L, log: bool) {
        let (mut tops, mut sums) = ([[T::ZERO; 8]; ROWS / 8], [[T::ONE; 8]; ROWS / 8]);
        let eights = self.count.div_ceil(8).min(ROWS / 8);
        // Exponentials in whole vectors: parts that were just stored would have to be waited for.
        let mut kept = [[l.splat(T::ZERO); V]; ROWS];
        // SAFETY: the caller's promise.
        unsafe {
            for k in 0..eights {
                tops[k] = self.tops::<L, V>(l, 8 * k);
            }
            for k in 0..eights {
                sums[k] = self.sums::<L, V>(l, 8 * k, tops[k], log, &mut kept);
            }
            if log {
                for v in sums.as_flattened_mut() {
                    *v = v.log_lowered();
                }
            } else {
                for v in sums.as_flattened_mut() {
                    *v = T::ONE / *v;
                }
            }
            for r in 0..self.count.min(ROWS) {
                let (top, sum) = (tops.as_flattened()[r], sums.as_flattened()[r]);
                if log {
                    let mut x: [L::V; V] = get(l, self.x[r], self.n);
                    for v in &mut x {
                        *v = l.add(l.add(*v, l.splat(-top)), l.splat(-sum));
                    }
                    put(l, self.y[r], x, self.n);
                } else {
                    let mut e = kept[r];
                    for v in &mut e {
                        *v = l.mul(*v, l.splat(sum));
                    }
                    put(l, self.y[r], e, self.n);
                }
            }
        }
    }

    /// The gradient of [`Rows::softmax`] from that of its result `g`, of which `x` is the result: `(g - dot) * x`.
    ///
    /// # Safety
    /// As for [`Rows::softmax`].
    #[inline(always)]
    pub(crate) unsafe fn gradient<L: Wave<T>, const V: usize>(&self, l: L) {
        for first in (0..self.count.min(ROWS)).step_by(8) {
            let mut lanes = [l.splat(T::ZERO); 8];
            for r in 0..8 {
                // SAFETY: the caller's promise.
                let (mut v, x): ([L::V; V], [L::V; V]) =
                    unsafe { (get(l, self.g[first + r], self.n), get(l, self.x[first + r], self.n)) };
                for (v, x) in v.iter_mut().zip(x) {
                    *v = l.add(l.splat(T::ZERO), l.mul(*v, x));
                }
                lanes[r] = halved::<T, L, V>(l, v);
            }
            let dots = l.fold_eight(lanes);
            for r in 0..8.min(self.count - first) {
                // SAFETY: as above.
                unsafe {
                    let mut v: [L::V; V] = get(l, self.g[first + r], self.n);
                    let x: [L::V; V] = get(l, self.x[first + r], self.n);
                    for (v, x) in v.iter_mut().zip(x) {
                        *v = l.mul(l.add(*v, l.splat(-dots[r])), x);
                    }
                    put(l, self.y[first + r], v, self.n);
                }
            }
        }
    }

    /// The maxima of eight rows.
    ///
    /// # Safety
    /// As for [`Rows::softmax`].
    #[inline(always)]
    unsafe fn tops<L: Wave<T>, const V: usize>(&self, l: L, first: usize) -> [T; 8] {
        let least = l.splat(-T::INF);
        let mut lanes = [least; 8];
        for r in 0..8 {
            for v in 0..V {
                // SAFETY: the caller's promise.
                let x = unsafe {
                    let p = self.x[first + r].add(v * L::N);
                    if v + 1 < V {
                        l.load(p)
                    } else {
                        l.load_or(p, self.n - v * L::N, least)
                    }
                };
                lanes[r] = l.larger(x, lanes[r]);
            }
        }
        l.largest_eight(lanes)
    }

    /// The raised sums of the exponentials of eight rows above their maxima, which are kept unless for a logarithm.
    ///
    /// # Safety
    /// As for [`Rows::softmax`].
    #[inline(always)]
    unsafe fn sums<L: Wave<T>, const V: usize>(
        &self,
        l: L,
        first: usize,
        tops: [T; 8],
        log: bool,
        kept: &mut [[L::V; V]; ROWS],
    ) -> [T; 8] {
        let mut lanes = [l.splat(T::ZERO); 8];
        for r in 0..8 {
            let by = l.splat(if log { lift(tops[r]) } else { -tops[r] });
            // SAFETY: the caller's promise.
            unsafe {
                let mut x: [L::V; V] = get(l, self.x[first + r], self.n);
                for v in &mut x {
                    *v = l.add(*v, by);
                }
                let mut e = raised(l, x);
                if !log {
                    kept[first + r] = e;
                }
                e[V - 1] = l.keep(e[V - 1], self.n - (V - 1) * L::N);
                lanes[r] = halved::<T, L, V>(l, e);
            }
        }
        l.fold_eight(lanes)
    }
}

/// Adds up V vectors as a group that holds no others.
#[inline(always)]
fn halved<T, L: Wave<T>, const V: usize>(l: L, mut v: [L::V; V]) -> L::V {
    let mut width = LONGEST / 2;
    while width > 0 {
        for u in 0..width {
            if u + width < V {
                v[u] = l.add(v[u], v[u + width]);
            }
        }
        width /= 2;
    }
    v[0]
}

/// # Safety
/// `n` elements lie at `p`, V vectors of which the last may be a part.
#[inline(always)]
unsafe fn get<T: Soft, L: Wave<T>, const V: usize>(l: L, p: *const T, n: usize) -> [L::V; V] {
    let mut all = [l.splat(T::ZERO); V];
    for (v, to) in all.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *to = unsafe {
            let p = p.add(v * L::N);
            if v + 1 < V {
                l.load(p)
            } else {
                l.load_n(p, n - v * L::N)
            }
        };
    }
    all
}

/// # Safety
/// As for [`get`].
#[inline(always)]
unsafe fn put<T: Soft, L: Wave<T>, const V: usize>(l: L, p: *mut T, all: [L::V; V], n: usize) {
    for (v, from) in all.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe {
            let p = p.add(v * L::N);
            if v + 1 < V {
                l.store(p, from)
            } else {
                l.store_n(p, from, n - v * L::N)
            }
        }
    }
}
