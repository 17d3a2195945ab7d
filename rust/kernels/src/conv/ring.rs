//! Sums over square windows of bordered copies ([`super::border`]), line by line: each line of a copy is read once and
//! serves all rows of the result that it belongs to, whose sums stay in registers.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use crate::simd::vec::Lanes;

/// Some rows of some planes of the result: sums over taps in order, then the bias.
#[derive(Clone, Copy)]
pub(crate) struct RingArgs<'a, T> {
    pub planes: usize,
    pub src_plane: usize,
    pub weights_plane: usize,
    pub dst_plane: isize,
    /// What the first tap of the first row reads; lines are `line` apart, a row reads from line `row * step` on.
    pub src: *const T,
    pub line: usize,
    pub cols: &'a [isize],
    /// `[line][column]`, contiguous.
    pub weights: *const T,
    /// One number for each plane, or null.
    pub bias: *const T,
    pub dst: *mut T,
    pub dst_row: isize,
    pub rows: usize,
    pub width: usize,
    /// Null, or memory for a vector per two rows: then these are computed together, and lines are half a vector apart.
    pub twins: *mut T,
}

/// Calls the body for as many constants `a` as there are, so that sums are sure to stay in registers.
macro_rules! unrolled {
    ($a:ident < $n:expr, $body:block) => {
        unrolled!(@ $a $n, $body, 0 1 2 3 4 5 6)
    };
    (@ $a:ident $n:expr, $body:block, $($i:literal)*) => {
        $(if $i < $n {
            let $a = $i;
            $body
        })*
    };
}
pub(super) use unrolled;

/// Windows of `K` by `K` taps, rows with step `S`.
///
/// # Safety
/// The lines of the copy lie in live memory, with a vector and `S` lines more; so do the weights and the result.
#[inline(always)]
pub(crate) unsafe fn ring<T: Copy + Default, L: Lanes<T>, const K: usize, const S: usize>(l: L, g: &RingArgs<T>) {
    let zero = l.splat(T::default());
    let mut cols = [0; K];
    cols.copy_from_slice(&g.cols[..K]);
    for plane in 0..g.planes {
        let g = &RingArgs {
            src: g.src.wrapping_add(plane * g.src_plane),
            weights: g.weights.wrapping_add(plane * g.weights_plane),
            dst: g.dst.wrapping_offset(plane as isize * g.dst_plane),
            ..*g
        };
        let mut by = [[zero; K]; K];
        for j in 0..K {
            for c in 0..K {
                // SAFETY: the caller's promise; so below.
                by[j][c] = l.splat(unsafe { *g.weights.add(j * K + c) });
            }
        }
        // SAFETY: as above.
        let bias = (!g.bias.is_null()).then(|| l.splat(unsafe { *g.bias.add(plane) }));
        let mut now = Columns { g, cols, by, bias };
        // Only rows of step 1 have twins.
        if S != 1 || g.twins.is_null() {
            // SAFETY: as above.
            unsafe { now.all::<L, S>(l) };
            continue;
        }
        let all = RingArgs {
            dst: g.twins,
            dst_row: L::N as isize,
            rows: g.rows.div_ceil(2),
            width: L::N,
            ..*g
        };
        now.g = &all;
        // SAFETY: as above; the twins' rows are of one vector each.
        unsafe {
            now.all::<L, 2>(l);
            apart(g, L::N / 2);
        }
    }
}

/// Writes the rows of `twins`, `half` apart, to their places.
///
/// # Safety
/// As for [`ring`].
#[inline(always)]
unsafe fn apart<T: Copy>(g: &RingArgs<T>, half: usize) {
    let dense = g.dst_row == g.width as isize && half == 8;
    for row in 0..g.rows {
        let dst = g.dst.wrapping_offset(row as isize * g.dst_row);
        let from = g.twins.wrapping_add(row * half).cast_const();
        // SAFETY: the caller's promise; what is written behind a row belongs to rows that follow.
        unsafe {
            if dense && (g.rows - row) * g.width >= 8 {
                dst.cast::<[T; 8]>()
                    .write_unaligned(from.cast::<[T; 8]>().read_unaligned());
            } else {
                (0..g.width).for_each(|i| *dst.add(i) = *from.add(i));
            }
        }
    }
}

/// A plane of the result, its weights and bias in vectors.
struct Columns<'a, T, V, const K: usize> {
    g: &'a RingArgs<'a, T>,
    cols: [isize; K],
    by: [[V; K]; K],
    bias: Option<V>,
}

impl<T: Copy + Default, V: Copy, const K: usize> Columns<'_, T, V, K> {
    /// # Safety
    /// As for [`ring`].
    #[inline(always)]
    unsafe fn all<L: Lanes<T, V = V>, const S: usize>(&self, l: L) {
        let g = self.g;
        // What a full vector writes behind a row belongs to rows that are written later, but for the last ones.
        let room = match (g.width >= L::N, g.dst_row == g.width as isize) {
            (true, _) => g.rows,
            (_, true) => (g.rows + 1).saturating_sub(L::N.div_ceil(g.width.max(1))),
            _ => 0,
        };
        let mut at = 0;
        while at < g.width {
            // The last vector steps back rather than be part of one. Many taps: two vectors share what is read of them.
            let two = K > 5 && g.width >= 2 * L::N && g.width - at > L::N;
            let start = at.min(g.width.saturating_sub(if two { 2 * L::N } else { L::N }));
            // SAFETY: the caller's promise.
            unsafe {
                match (two, self.bias.is_some()) {
                    (true, true) => self.some::<L, S, 2, true>(l, start, room),
                    (true, false) => self.some::<L, S, 2, false>(l, start, room),
                    (false, true) => self.some::<L, S, 1, true>(l, start, room),
                    (false, false) => self.some::<L, S, 1, false>(l, start, room),
                }
            }
            at += if two { 2 * L::N } else { L::N };
        }
    }

    /// `W` vectors of columns, with a bias or without.
    ///
    /// # Safety
    /// As for [`ring`].
    #[inline(always)]
    unsafe fn some<L: Lanes<T, V = V>, const S: usize, const W: usize, const B: bool>(
        &self,
        l: L,
        at: usize,
        room: usize,
    ) {
        let rows = self.g.rows;
        let active = K.div_ceil(S);
        let mut sums = [[l.splat(T::default()); W]; 7];
        // SAFETY: the caller's promise.
        unsafe {
            let whole = active - 1..rows.min(room).max(active - 1);
            for t in 0..whole.start {
                self.step::<L, S, W, B, false>(l, &mut sums, at, t, room);
            }
            for t in whole.clone() {
                self.step::<L, S, W, B, true>(l, &mut sums, at, t, room);
            }
            for t in whole.end..rows + active - 1 {
                self.step::<L, S, W, B, false>(l, &mut sums, at, t, room);
            }
        }
    }

    /// The lines with which row `t` begins; `sums` are those of the rows that they belong to, the newest first. `ALL`: all
    /// these rows exist, and full vectors may be stored.
    ///
    /// # Safety
    /// As for [`ring`].
    #[inline(always)]
    unsafe fn step<L: Lanes<T, V = V>, const S: usize, const W: usize, const B: bool, const ALL: bool>(
        &self,
        l: L,
        sums: &mut [[V; W]; 7],
        at: usize,
        t: usize,
        room: usize,
    ) {
        let g = self.g;
        let active = K.div_ceil(S);
        let mut x = [l.splat(T::default()); W];
        unrolled!(a < active, {
            let a = active - 1 - a;
            sums[a] = if a > 0 { sums[a - 1] } else { x };
        });
        let mut line = g.src.wrapping_add(S * t * g.line + at);
        // SAFETY: the caller's promise.
        unsafe {
            for s in 0..S {
                if ALL {
                    for c in 0..K {
                        let from = line.wrapping_offset(self.cols[c]);
                        for w in 0..W {
                            x[w] = l.load(from.wrapping_add(w * L::N));
                        }
                        unrolled!(a < active, {
                            if s + S * a < K {
                                for w in 0..W {
                                    sums[a][w] = l.fma(self.by[s + S * a][c], x[w], sums[a][w]);
                                }
                            }
                        });
                    }
                } else {
                    unrolled!(a < active, {
                        if s + S * a < K && a <= t && t - a < g.rows {
                            for c in 0..K {
                                let from = line.wrapping_offset(self.cols[c]);
                                for w in 0..W {
                                    let x = l.load(from.wrapping_add(w * L::N));
                                    sums[a][w] = l.fma(self.by[s + S * a][c], x, sums[a][w]);
                                }
                            }
                        }
                    });
                }
                line = line.wrapping_add(g.line);
            }
            if t + 1 >= active {
                let row = t + 1 - active;
                let dst = g.dst.wrapping_offset(row as isize * g.dst_row).wrapping_add(at);
                for w in 0..W {
                    let to = dst.wrapping_add(w * L::N);
                    let sum = sums[active - 1][w];
                    let sum = if B {
                        self.bias.map_or(sum, |b| l.add(sum, b))
                    } else {
                        sum
                    };
                    if ALL || row < room {
                        l.store(to, sum);
                    } else {
                        l.store_n(to, sum, g.width);
                    }
                }
            }
        }
    }
}
