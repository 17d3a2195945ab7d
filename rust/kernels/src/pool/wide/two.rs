//! Windows of two by two, side by side, all inside.

use super::max::Best;
use super::mean::{added, scaled};
use super::*;

/// Windows of two by two, side by side, values alone.
///
/// # Safety
/// As for the method of [`Wide`] that calls it.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
pub(super) unsafe fn max(a: &Wide, x: *const f32, y: *mut f32) {
    let outputs = a.windows[2].len();
    let fill = _mm512_set1_ps(f32::NEG_INFINITY);
    let nan = _mm512_set1_ps(f32::NAN);
    let [depth, rows] = [a.size[0], a.windows[1].len()];
    let step = a.strides.at(0, 1, 0);
    let lines = (2 * a.size[2] * 4).div_ceil(64);
    let mut left = depth * rows * outputs;
    for vector in 0..outputs.div_ceil(N) {
        let n = N.min(outputs - vector * N);
        let column = a.columns[2 * vector];
        for d in 0..depth {
            let mut upper = x.wrapping_offset(a.strides.at(d, 0, 0));
            for h in 0..rows {
                let at = (d * rows + h) * outputs + vector * N;
                if vector == 0 {
                    fetch(upper, lines);
                }
                // SAFETY: the caller's promise.
                unsafe {
                    let up = pair::<2>(upper, &column, fill);
                    let down = pair::<2>(upper.wrapping_offset(step), &column, fill);
                    let mut best = Best {
                        value: fill,
                        nan: 0,
                        at: _mm512_setzero_si512(),
                    };
                    best.take_two::<false>(even::<2>(up), odd(up), 0);
                    best.take_two::<false>(even::<2>(down), odd(down), 0);
                    let value = _mm512_mask_mov_ps(best.value, best.nan, nan);
                    // Vectors from left to right: what is stored beyond a row is overwritten only in rows of one vector.
                    let room = if outputs <= N { left } else { n };
                    store(y.add(at), value, n, room);
                }
                left -= n;
                upper = upper.wrapping_offset(2 * step);
            }
        }
    }
}

/// # Safety
/// As for the method of [`Wide`] that calls it.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
pub(super) unsafe fn max_input(a: &Wide, x: *const f32, g: *const f32, gx: *mut f32) {
    let [depth, height, width] = a.size;
    let (rows, outputs) = (a.windows[1].len(), a.windows[2].len());
    let fill = _mm512_set1_ps(f32::NEG_INFINITY);
    let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    // What is stored beyond a row is overwritten, if the row has one vector only.
    let over = outputs <= N;
    let lines = (2 * width * 4).div_ceil(64);
    for vector in 0..outputs.div_ceil(N) {
        let n = N.min(outputs - vector * N);
        let column = a.columns[2 * vector];
        let lanes = ((1u32 << n) - 1) as u16;
        for d in 0..depth {
            for h in 0..rows {
                let at = (d * height + 2 * h) * width + 2 * vector * N;
                let upper = x.wrapping_offset(a.strides.at(d, 2 * h, 0));
                let lower = x.wrapping_offset(a.strides.at(d, 2 * h + 1, 0));
                if vector == 0 {
                    // Three streams in small pieces, read and written: the processor fetches too little of them ahead.
                    fetch(upper, lines);
                    fetch(gx.wrapping_add(at), lines);
                    fetch(g.wrapping_add((d * rows + h) * outputs), lines.div_ceil(4));
                }
                // SAFETY: the caller's promise.
                unsafe {
                    let g = _mm512_maskz_loadu_ps(lanes, g.wrapping_add((d * rows + h) * outputs + vector * N));
                    let (up, down) = (pair::<2>(upper, &column, fill), pair::<2>(lower, &column, fill));
                    let v = [even::<2>(up), odd(up), even::<2>(down), odd(down)];
                    let mut best = v[0];
                    let mut wins = [0xffffu16; 4];
                    for i in 1..4 {
                        let larger = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(v[i], best);
                        wins[i] = larger | _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v[i], v[i]);
                        best = _mm512_mask_mov_ps(best, wins[i], v[i]);
                    }
                    wins[2] &= !wins[3];
                    wins[1] &= !(wins[2] | wins[3]);
                    wins[0] &= !(wins[1] | wins[2] | wins[3]);
                    for row in 0..2 {
                        let first = _mm512_maskz_mov_ps(wins[2 * row], g);
                        let second = _mm512_maskz_mov_ps(wins[2 * row + 1], g);
                        let pairs = [
                            _mm512_permutex2var_ps(first, low, second),
                            _mm512_permutex2var_ps(first, high, second),
                        ];
                        let begin = at + row * width;
                        put(gx.add(begin), pairs, n, over, depth * height * width - begin);
                    }
                }
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { blank(a, gx) };
}

/// Stores `n` pairs at `to`, or whole vectors, `left` elements before the end of the plane: beyond a line only where
/// `over` says that what is there is written later.
///
/// # Safety
/// The pairs' columns are this thread's, and so is the plane.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
#[inline]
unsafe fn put(to: *mut f32, pairs: [__m512; 2], n: usize, over: bool, left: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if (over || n == N) && left >= 2 * N {
            _mm512_storeu_ps(to, pairs[0]);
            _mm512_storeu_ps(to.add(N), pairs[1]);
        } else {
            let mask = (1u64 << (2 * n)) - 1;
            _mm512_mask_storeu_ps(to, mask as u16, pairs[0]);
            _mm512_mask_storeu_ps(to.wrapping_add(N), (mask >> 16) as u16, pairs[1]);
        }
    }
}

/// Zeros where a gradient's plane has rows and columns that no window has.
///
/// # Safety
/// The plane is this thread's.
unsafe fn blank(a: &Wide, gx: *mut f32) {
    let [depth, height, width] = a.size;
    let (rows, outputs) = (a.windows[1].len(), a.windows[2].len());
    for d in 0..depth {
        if width > 2 * outputs {
            for h in 0..2 * rows {
                let at = (d * height + h) * width + 2 * outputs;
                // SAFETY: columns that no window has.
                unsafe { std::slice::from_raw_parts_mut(gx.add(at), width - 2 * outputs).fill(0.0) };
            }
        }
        let rest = (height - 2 * rows) * width;
        // SAFETY: rows that no window has.
        unsafe { std::slice::from_raw_parts_mut(gx.add((d * height + 2 * rows) * width), rest).fill(0.0) };
    }
}

/// Means, by the inverse of what the sums are divided by.
///
/// # Safety
/// As for the method of [`Wide`] that calls it.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
pub(super) unsafe fn mean(a: &Wide, x: *const f32, inverse: f64, y: *mut f32) {
    let outputs = a.windows[2].len();
    let [depth, rows] = [a.size[0], a.windows[1].len()];
    let (zero, inverse) = (_mm512_setzero_ps(), [inverse; N]);
    let step = a.strides.at(0, 1, 0);
    let lines = (2 * a.size[2] * 4).div_ceil(64);
    let mut left = depth * rows * outputs;
    for vector in 0..outputs.div_ceil(N) {
        let n = N.min(outputs - vector * N);
        let column = a.columns[2 * vector];
        for d in 0..depth {
            let mut upper = x.wrapping_offset(a.strides.at(d, 0, 0));
            for h in 0..rows {
                let at = (d * rows + h) * outputs + vector * N;
                if vector == 0 {
                    fetch(upper, lines);
                }
                // SAFETY: the caller's promise.
                unsafe {
                    let up = pair::<2>(upper, &column, zero);
                    let down = pair::<2>(upper.wrapping_offset(step), &column, zero);
                    let none = [_mm512_setzero_pd(); 2];
                    let up = added(added(none, even::<2>(up)), odd(up));
                    let down = added(added(none, even::<2>(down)), odd(down));
                    let sums = [_mm512_add_pd(up[0], down[0]), _mm512_add_pd(up[1], down[1])];
                    // As for the maxima.
                    let room = if outputs <= N { left } else { n };
                    store(y.add(at), scaled(sums, inverse.as_ptr()), n, room);
                }
                left -= n;
                upper = upper.wrapping_offset(2 * step);
            }
        }
    }
}

/// Gradient of the means.
///
/// # Safety
/// As for the method of [`Wide`] that calls it.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
pub(super) unsafe fn mean_input(a: &Wide, g: *const f32, inverse: f64, gx: *mut f32) {
    let [depth, height, width] = a.size;
    let (rows, outputs) = (a.windows[1].len(), a.windows[2].len());
    let low = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    let inverse = [inverse; N];
    for vector in 0..outputs.div_ceil(N) {
        let n = N.min(outputs - vector * N);
        let lanes = ((1u32 << n) - 1) as u16;
        for (d, h) in (0..depth).flat_map(|d| (0..rows).map(move |h| (d, h))) {
            if vector == 0 {
                fetch(
                    gx.wrapping_add((d * height + 2 * h) * width),
                    (2 * width * 4).div_ceil(64),
                );
                fetch(g.wrapping_add((d * rows + h) * outputs), outputs.div_ceil(N));
            }
            // SAFETY: the caller's promise.
            unsafe {
                let g = _mm512_maskz_loadu_ps(lanes, g.wrapping_add((d * rows + h) * outputs + vector * N));
                let share = scaled(added([_mm512_setzero_pd(); 2], g), inverse.as_ptr());
                // A sum that begins with zero is never -0.0.
                let share = _mm512_add_ps(share, _mm512_setzero_ps());
                let pairs = [_mm512_permutexvar_ps(low, share), _mm512_permutexvar_ps(high, share)];
                for row in 0..2 {
                    let begin = (d * height + 2 * h + row) * width + 2 * vector * N;
                    put(gx.add(begin), pairs, n, outputs <= N, depth * height * width - begin);
                }
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { blank(a, gx) };
}
