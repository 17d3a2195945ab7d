//! Few rows times a large matrix: its rows are read as long streams, at the rate of the memory, and the sums stay in the
//! first-level cache.

use crate::simd::vec::Lanes;
use std::ops::Range;

/// Rows of A, at most; and those whose sums a step keeps in registers.
pub(super) const MOST_ROWS: usize = 8;
const AT_ONCE: usize = 4;
/// Rows of B that are read side by side.
pub(super) const STREAMS: usize = 8;
/// Bytes of sums at a time.
const SUMS: usize = 32 << 10;

/// `c = (from_c ? c : 0) + a @ b`, each element a chain in the order of k: `m` up to [`MOST_ROWS`], `k` a multiple of
/// [`STREAMS`], the columns of B and C contiguous.
pub(crate) struct FewArgs<T> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: *const T,
    pub a_rs: isize,
    pub a_cs: isize,
    pub b: *const T,
    pub b_rs: isize,
    pub c: *mut T,
    pub c_rs: isize,
    pub from_c: bool,
}

/// # Safety
/// The arguments describe live memory; C overlaps nothing else.
#[inline(always)]
pub(super) unsafe fn few<T: Copy + Default, L: Lanes<T>>(l: L, g: &FewArgs<T>) {
    let wide = SUMS / size_of::<T>() / g.m.max(1);
    for from in (0..g.n).step_by(wide) {
        let cols = from..g.n.min(from + wide);
        for p in (0..g.k).step_by(STREAMS) {
            for i in (0..g.m).step_by(AT_ONCE) {
                // SAFETY: the caller's promise; rows `i..g.m`.
                unsafe {
                    match g.m - i {
                        1 => step::<T, L, 1>(l, g, i, p, cols.clone()),
                        2 => step::<T, L, 2>(l, g, i, p, cols.clone()),
                        3 => step::<T, L, 3>(l, g, i, p, cols.clone()),
                        _ => step::<T, L, AT_ONCE>(l, g, i, p, cols.clone()),
                    }
                }
            }
        }
    }
}

/// Adds [`STREAMS`] products to the sums in `cols` of `M` rows from the `i`-th on.
///
/// # Safety
/// As for [`few`]; they lie inside the matrices.
#[inline(always)]
unsafe fn step<T: Copy + Default, L: Lanes<T>, const M: usize>(
    l: L,
    g: &FewArgs<T>,
    i: usize,
    p: usize,
    cols: Range<usize>,
) {
    let c: [*mut T; M] =
        std::array::from_fn(|r| g.c.wrapping_offset((i + r) as isize * g.c_rs).wrapping_add(cols.start));
    let b: [*const T; STREAMS] =
        std::array::from_fn(|s| g.b.wrapping_offset((p + s) as isize * g.b_rs).wrapping_add(cols.start));
    let read = g.from_c || p > 0;
    // SAFETY: the caller's promise.
    unsafe {
        let a: [[L::V; STREAMS]; M] = std::array::from_fn(|r| {
            std::array::from_fn(|s| {
                l.splat(*g.a.wrapping_offset((i + r) as isize * g.a_rs + (p + s) as isize * g.a_cs))
            })
        });
        let whole = cols.len() / L::N * L::N;
        for j in (0..whole).step_by(L::N) {
            let mut sums: [L::V; M] = match read {
                true => c.map(|c| l.load(c.add(j))),
                false => [l.splat(T::default()); M],
            };
            for s in 0..STREAMS {
                let v = l.load(b[s].add(j));
                for r in 0..M {
                    sums[r] = l.fma(a[r][s], v, sums[r]);
                }
            }
            for r in 0..M {
                l.store(c[r].add(j), sums[r]);
            }
        }
        let rest = cols.len() - whole;
        if rest > 0 {
            let mut sums: [L::V; M] = match read {
                true => c.map(|c| l.load_n(c.add(whole), rest)),
                false => [l.splat(T::default()); M],
            };
            for s in 0..STREAMS {
                let v = l.load_n(b[s].add(whole), rest);
                for r in 0..M {
                    sums[r] = l.fma(a[r][s], v, sums[r]);
                }
            }
            for r in 0..M {
                l.store_n(c[r].add(whole), sums[r], rest);
            }
        }
    }
}
