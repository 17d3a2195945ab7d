//! Gradients of windows of three by three, two apart: lines of the input from left to right or back, each written once.
//!
//! A line has shares of one row of windows or of two; what a row gives to its last line is kept until the next row adds to
//! it. In a line every second element lies in one window and the others in two, neighbours: lane j of a vector stands for
//! columns 2j and 2j + 1, and of the neighbour's shares the lane is that beside it.

use super::mean::{added, scaled};
use super::*;
use std::ptr::null_mut;

/// The windows are such, and each has an element.
pub(super) fn fits(windows: &[Vec<Window>; 3], s: &PoolShape, size: [usize; 3]) -> bool {
    s.kernel == [1, 3, 3]
        && s.stride == [1, 2, 2]
        && s.dilation == [1; 3]
        && s.padding[0] == 0
        && s.padding[1] <= 1
        && s.padding[2] <= 1
        && windows[0].len() == size[0]
        && windows.iter().all(|w| !w.is_empty())
        && windows.iter().flatten().all(|w| w.len > 0)
}

/// What a vector of windows gives to its elements, by row and column.
type Shares = [[__m512; 3]; 3];

/// Writes the plane `gx`, columns padded by `P`, from what `shares` gives for a depth, a row of windows and a vector;
/// `ahead` asks for what a later row reads.
///
/// # Safety
/// The plane is this thread's; the windows are such as [`fits`] finds.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
#[inline]
unsafe fn lines<const P: usize>(
    a: &Wide,
    gx: *mut f32,
    shares: impl Fn(usize, usize, usize) -> Shares,
    ahead: impl Fn(usize, usize),
) {
    let [depth, height, width] = a.size;
    let (rows, outputs) = (a.windows[1].len(), a.windows[2].len());
    let (filled, vectors) = (outputs.div_ceil(N), outputs.div_ceil(N).max(width.div_ceil(2 * N)));
    let zero = _mm512_setzero_ps();
    let add = |a, b| _mm512_add_ps(a, b);
    // Of elements in one window and in two.
    let mut kept = vec![[zero; 2]; vectors];
    for d in 0..depth {
        let line = |h: usize| {
            if h < height {
                gx.wrapping_add((d * height + h) * width)
            } else {
                null_mut()
            }
        };
        kept.fill([zero; 2]);
        for i in 0..rows {
            // Padded by one, the first row of windows begins above the plane.
            let upper = if i == 0 && a.above == 1 {
                null_mut()
            } else {
                line(2 * i - a.above)
            };
            let lower = line(2 * i + 1 - a.above);
            let mut beside = [zero; 3];
            ahead(d, i);
            fetch(gx.wrapping_add((d * height + 2 * i) * width), a.advance);
            for step in 0..vectors {
                let vector = if P == 1 { vectors - 1 - step } else { step };
                let s = if vector < filled {
                    shares(d, i, vector)
                } else {
                    [[zero; 3]; 3]
                };
                let pair = |r: usize| {
                    if P == 1 {
                        [s[r][2], next(s[r][0], beside[r])]
                    } else {
                        [last(beside[r], s[r][2]), s[r][0]]
                    }
                };
                let [[a0, b0], [a1, b1], [a2, b2]] = [pair(0), pair(1), pair(2)];
                beside = if P == 1 {
                    [s[0][0], s[1][0], s[2][0]]
                } else {
                    [s[0][2], s[1][2], s[2][2]]
                };
                let [one, two] = kept[vector];
                kept[vector] = [s[2][1], add(a2, b2)];
                // SAFETY: lines of the plane.
                unsafe {
                    if !upper.is_null() {
                        put::<P>(upper, width, vector, [add(one, s[0][1]), add(add(two, a0), b0)]);
                    }
                    if !lower.is_null() {
                        put::<P>(lower, width, vector, [s[1][1], add(a1, b1)]);
                    }
                }
            }
        }
        for h in 2 * rows - a.above..height {
            for (vector, kept) in kept.iter_mut().enumerate() {
                // SAFETY: lines of the plane.
                unsafe { put::<P>(line(h), width, vector, *kept) };
                *kept = [zero; 2];
            }
        }
    }
}

/// Each lane's next, the last one's from `after`.
#[target_feature(enable = "avx512f")]
#[inline]
fn next(v: __m512, after: __m512) -> __m512 {
    _mm512_castsi512_ps(_mm512_alignr_epi32::<1>(
        _mm512_castps_si512(after),
        _mm512_castps_si512(v),
    ))
}

/// Each lane's last, the first one's from `before`.
#[target_feature(enable = "avx512f")]
#[inline]
fn last(before: __m512, v: __m512) -> __m512 {
    _mm512_castsi512_ps(_mm512_alignr_epi32::<15>(
        _mm512_castps_si512(v),
        _mm512_castps_si512(before),
    ))
}

/// Stores what elements in one window and in two get, where the line `to` has such columns.
///
/// # Safety
/// The line is this thread's.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
#[inline]
unsafe fn put<const P: usize>(to: *mut f32, width: usize, vector: usize, [one, two]: [__m512; 2]) {
    let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    let (even, odd) = if P == 1 { (one, two) } else { (two, one) };
    for (i, order) in [(0, low), (1, high)] {
        let begin = (2 * vector + i) * N;
        if begin < width {
            // SAFETY: the caller's promise.
            unsafe {
                store(
                    to.add(begin),
                    _mm512_permutex2var_ps(even, order, odd),
                    N.min(width - begin),
                    width - begin,
                )
            };
        }
    }
}

/// Gradient of the maxima.
///
/// # Safety
/// As for the method of [`Wide`] that calls it; the windows are such as [`fits`] finds.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
pub(super) unsafe fn max_input<const P: usize>(a: &Wide, x: *const f32, g: *const f32, gx: *mut f32) {
    let (rows, outputs) = (a.windows[1].len(), a.windows[2].len());
    let shares = |d: usize, i: usize, vector: usize| {
        // SAFETY: the caller's promise.
        unsafe {
            let g = gradient(g.add((d * rows + i) * outputs), outputs, vector);
            // A sum that begins with zero is never -0.0.
            let g = _mm512_add_ps(g, _mm512_setzero_ps());
            to_maxima(a, x.wrapping_offset(a.strides.at(d, 0, 0)), i, vector, g)
        }
    };
    // SAFETY: the caller's promise.
    unsafe {
        lines::<P>(a, gx, shares, |d, i| {
            fetch(x.wrapping_offset(a.strides.at(d, 2 * i, 0)), a.advance);
            fetch(g.wrapping_add((d * rows + i) * outputs), outputs.div_ceil(N));
        })
    };
}

/// A vector of a row of the gradient, zero beyond it.
///
/// # Safety
/// The row lies in live memory.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
#[inline]
unsafe fn gradient(row: *const f32, outputs: usize, vector: usize) -> __m512 {
    let n = outputs - vector * N;
    // SAFETY: the caller's promise.
    unsafe {
        let row = row.add(vector * N);
        if n >= N {
            _mm512_loadu_ps(row)
        } else {
            _mm512_maskz_loadu_ps(((1u32 << n) - 1) as u16, row)
        }
    }
}

/// The elements of a vector of windows; minus infinity outside the plane.
///
/// # Safety
/// The plane lies in live memory.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
#[inline]
unsafe fn elements(a: &Wide, x: *const f32, i: usize, vector: usize) -> Shares {
    let fill = _mm512_set1_ps(f32::NEG_INFINITY);
    let columns = a.columns.as_ptr().wrapping_add(3 * vector);
    let mut v = [[fill; 3]; 3];
    for (r, v) in v.iter_mut().enumerate() {
        // Above the plane a number that is beyond it, too.
        let h = (2 * i + r).wrapping_sub(a.above);
        if h < a.size[1] {
            let row = x.wrapping_offset(h as isize * a.strides.0[3]);
            // SAFETY: three columns for each vector; masks keep loads inside the row.
            let (first, last) = unsafe { (pair::<2>(row, &*columns, fill), pair::<2>(row, &*columns.add(2), fill)) };
            *v = [even::<2>(first), odd(first), even::<2>(last)];
        }
    }
    v
}

/// `g` where a row's and column's element is the maximum of its window.
///
/// # Safety
/// The plane lies in live memory.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
#[inline]
unsafe fn to_maxima(a: &Wide, x: *const f32, i: usize, vector: usize, g: __m512) -> Shares {
    let (fill, zero) = (_mm512_set1_ps(f32::NEG_INFINITY), _mm512_setzero_ps());
    // SAFETY: the caller's promise.
    let v = unsafe { elements(a, x, i, vector) };
    let [[a0, a1, a2], [b0, b1, b2], [c0, c1, c2]] = v;
    let max = |a, b| _mm512_max_ps(a, b);
    let not = |a, b| _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, b);
    let most = max(max(max(max(a0, a1), max(a2, b0)), max(max(b1, b2), max(c0, c1))), c2);
    let nan = not(a0, a1) | not(a2, b0) | not(b1, b2) | not(c0, c1) | not(c2, c2);
    let lanes = ((1u32 << N.min(a.windows[2].len() - vector * N)) - 1) as u16;
    if (nan | _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(most, fill)) & lanes != 0 {
        // SAFETY: the caller's promise.
        let found = unsafe { to_any_maxima(a, x, i, vector, g) };
        // Taken apart: the call's result in memory is not to be the place of the others.
        let [[a0, a1, a2], [b0, b1, b2], [c0, c1, c2]] = found;
        return [[a0, a1, a2], [b0, b1, b2], [c0, c1, c2]];
    }
    // The gradient is taken away by the first that has the maximum. (Masks that depend on each other go back and forth
    // between two kinds of registers.)
    let mut left = g;
    let mut shares = [[zero; 3]; 3];
    for r in 0..3 {
        for k in 0..3 {
            let win = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(v[r][k], most);
            shares[r][k] = _mm512_maskz_mov_ps(win, left);
            left = _mm512_mask_mov_ps(left, win, zero);
        }
    }
    shares
}

/// The same where there are NaNs, of which the last wins, or nothing but minus infinities, of which the first inside does.
/// (It loads the elements anew: given them, it would have them stored each time before it is known to be called.)
///
/// # Safety
/// As for `to_maxima`.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
unsafe fn to_any_maxima(a: &Wide, x: *const f32, i: usize, vector: usize, g: __m512) -> Shares {
    let mut best = _mm512_set1_ps(f32::NEG_INFINITY);
    let mut wins = [0u16; 9];
    // SAFETY: the caller's promise.
    let mut v = unsafe { elements(a, x, i, vector) };
    for (t, &v) in v.as_flattened().iter().enumerate() {
        let larger = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(v, best);
        let replaces = larger | _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
        best = _mm512_mask_mov_ps(best, replaces, v);
        wins.iter_mut().for_each(|w| *w &= !replaces);
        wins[t] = replaces;
    }
    let mut left = !wins.iter().fold(0, |all, w| all | w);
    for (t, v) in v.as_flattened_mut().iter_mut().enumerate() {
        if (2 * i + t / 3).wrapping_sub(a.above) < a.size[1] {
            let columns = a.columns[3 * vector + t % 3].mask;
            let inside = (0..N).fold(0, |m, j| m | (columns >> (2 * j) & 1) << j) as u16;
            wins[t] |= left & inside;
            left &= !inside;
        }
        *v = _mm512_maskz_mov_ps(wins[t], g);
    }
    v
}

/// Gradient of the means.
///
/// # Safety
/// As for the method of [`Wide`] that calls it; the windows are such as [`fits`] finds.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
pub(super) unsafe fn mean_input<const P: usize>(a: &Wide, g: *const f32, inverses: &Inverses, gx: *mut f32) {
    let (rows, outputs) = (a.windows[1].len(), a.windows[2].len());
    let shares = |d: usize, i: usize, vector: usize| {
        let row = d * rows + i;
        // SAFETY: a row of the gradient; its factors.
        let share = unsafe {
            let g = gradient(g.add(row * outputs), outputs, vector);
            let factors = inverses.of(row).as_ptr().add(vector * N);
            scaled(added([_mm512_setzero_pd(); 2], g), factors)
        };
        // A sum that begins with zero is never -0.0.
        [[_mm512_add_ps(share, _mm512_setzero_ps()); 3]; 3]
    };
    // SAFETY: the caller's promise.
    unsafe {
        lines::<P>(a, gx, shares, |d, i| {
            fetch(g.wrapping_add((d * rows + i) * outputs), outputs.div_ceil(N))
        })
    };
}
