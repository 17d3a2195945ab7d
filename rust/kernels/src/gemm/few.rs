//! Few rows times a large matrix, which is read once, as long streams: its rows, while the sums stay in the first-level
//! cache; or its columns, where these are contiguous, turned block by block without a packed copy.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use crate::simd::Aligned;
use crate::simd::vec::Lanes;
use std::ops::Range;

/// Rows of A, at most; and those whose sums a step keeps in registers.
pub(super) const MOST_ROWS: usize = 8;
const AT_ONCE: usize = 4;
/// Rows of B that are read side by side.
pub(super) const STREAMS: usize = 8;
/// Bytes of sums at a time.
const SUMS: usize = 32 << 10;

/// `c = (from_c ? c : 0) + a @ b`, each element a chain in the order of k: `m` up to [`MOST_ROWS`], C's rows contiguous;
/// for [`few`] B's rows too, and `k` a multiple of [`STREAMS`]; for [`few_turned`] B's columns.
pub(crate) struct FewArgs<T> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: *const T,
    pub a_rs: isize,
    pub a_cs: isize,
    pub b: *const T,
    /// Distance of B's rows, or for [`few_turned`] of its columns.
    pub b_step: isize,
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
    let b: [*const T; STREAMS] = std::array::from_fn(|s| {
        g.b.wrapping_offset((p + s) as isize * g.b_step)
            .wrapping_add(cols.start)
    });
    let read = g.from_c || p > 0;
    // SAFETY: the caller's promise.
    unsafe {
        let zero = l.splat(T::default());
        let mut a = [[zero; STREAMS]; M];
        // Closures would be functions without these instructions wherever they are not inlined.
        for r in 0..M {
            for s in 0..STREAMS {
                a[r][s] = l.splat(*g.a.wrapping_offset((i + r) as isize * g.a_rs + (p + s) as isize * g.a_cs));
            }
        }
        let whole = cols.len() / L::N * L::N;
        for j in (0..whole).step_by(L::N) {
            let mut sums = [zero; M];
            if read {
                for r in 0..M {
                    sums[r] = l.load(c[r].add(j));
                }
            }
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
            let mut sums = [zero; M];
            if read {
                for r in 0..M {
                    sums[r] = l.load_n(c[r].add(whole), rest);
                }
            }
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

/// Columns and steps of k that [`few_turned`] turns at once, at most.
const TURNED: usize = 16;

/// Blocks that columns are asked for in advance: the processor does not follow so many streams by itself.
const AHEAD: usize = 8;

/// # Safety
/// As for [`few`].
#[inline(always)]
pub(super) unsafe fn few_turned<T: Copy + Default, L: Lanes<T>>(l: L, g: &FewArgs<T>) {
    // SAFETY: the caller's promise.
    unsafe {
        match g.m {
            0 => {}
            1 | 2 => turned::<T, L, 2>(l, g),
            3 | 4 => turned::<T, L, 4>(l, g),
            5 | 6 => turned::<T, L, 6>(l, g),
            _ => turned::<T, L, MOST_ROWS>(l, g),
        }
    }
}

/// # Safety
/// As for [`few`]; at most `M` rows.
#[inline(always)]
unsafe fn turned<T: Copy + Default, L: Lanes<T>, const M: usize>(l: L, g: &FewArgs<T>) {
    // A row that is missing is computed as the first one once more, and not stored.
    let a: [*const T; M] = std::array::from_fn(|r| g.a.wrapping_offset(if r < g.m { r as isize * g.a_rs } else { 0 }));
    let c = |r: usize, j: usize| g.c.wrapping_offset(r as isize * g.c_rs).wrapping_add(j);
    let mut block = Aligned([[T::default(); TURNED]; TURNED]);
    let block = block.as_mut_ptr().cast::<T>();
    for j in (0..g.n).step_by(L::N) {
        let cols = L::N.min(g.n - j);
        let columns: [*const T; TURNED] =
            std::array::from_fn(|i| g.b.wrapping_offset((j + i.min(cols - 1)) as isize * g.b_step));
        // SAFETY: the caller's promise; the block holds `LARGE` rows of a vector.
        unsafe {
            let mut sums = [l.splat(T::default()); M];
            if g.from_c {
                for (r, sum) in sums.iter_mut().enumerate().take(g.m) {
                    *sum = l.load_n(c(r, j), cols);
                }
            }
            for p in (0..g.k).step_by(L::LARGE) {
                let steps = L::LARGE.min(g.k - p);
                for i in (0..L::N).step_by(L::LARGE) {
                    let some = &columns[i..(i + L::LARGE).min(L::N)];
                    for column in some {
                        l.prefetch(column.wrapping_add(p + AHEAD * L::LARGE));
                    }
                    l.transpose_large(some, p as isize, steps, block.wrapping_add(i), L::N);
                }
                for s in 0..steps {
                    let v = l.load(block.wrapping_add(s * L::N));
                    for r in 0..M {
                        sums[r] = l.fma(l.splat(*a[r].wrapping_offset((p + s) as isize * g.a_cs)), v, sums[r]);
                    }
                }
            }
            for (r, sum) in sums.iter().enumerate().take(g.m) {
                l.store_n(c(r, j), *sum, cols);
            }
        }
    }
}
