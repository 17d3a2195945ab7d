//! Windows of two by two, side by side, all inside.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use super::max::Best;
use super::*;

/// Windows of two by two, side by side, values alone.
///
/// # Safety
/// As for the method of [`Wide`] that calls it.
#[inline(always)]
pub(super) unsafe fn max<V: Sixteen>(v: V, a: &Wide, x: *const f32, y: *mut f32) {
    let outputs = a.windows[2].len();
    let fill = v.splat(f32::NEG_INFINITY);
    let nan = v.splat(f32::NAN);
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
                    let up = pair::<V, 2>(v, upper, &column, fill);
                    let down = pair::<V, 2>(v, upper.wrapping_offset(step), &column, fill);
                    let mut best = Best {
                        value: fill,
                        nan: v.nowhere(),
                        at: v.place(0),
                    };
                    for [low, high] in [up, down] {
                        best.take_two::<false>(v, [v.even(low, high), v.odd(low, high)], 0);
                    }
                    let value = v.choose(best.nan, nan, best.value);
                    // Vectors from left to right: what is stored beyond a row is overwritten only in rows of one vector.
                    let room = if outputs <= N { left } else { n };
                    store(v, y.add(at), value, n, room);
                }
                left -= n;
                upper = upper.wrapping_offset(2 * step);
            }
        }
    }
}

/// # Safety
/// As for the method of [`Wide`] that calls it.
#[inline(always)]
pub(super) unsafe fn max_input<V: Sixteen>(v: V, a: &Wide, x: *const f32, g: *const f32, gx: *mut f32) {
    let [depth, height, width] = a.size;
    let (rows, outputs) = (a.windows[1].len(), a.windows[2].len());
    let (fill, zero) = (v.splat(f32::NEG_INFINITY), v.splat(0.0));
    // What is stored beyond a row is overwritten, if the row has one vector only.
    let over = outputs <= N;
    let lines = (2 * width * 4).div_ceil(64);
    for vector in 0..outputs.div_ceil(N) {
        let n = N.min(outputs - vector * N);
        let column = a.columns[2 * vector];
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
                    let g = v.load_some(zero, first(n), g.wrapping_add((d * rows + h) * outputs + vector * N));
                    // As if added to zeros: negative ones become positive.
                    let g = v.add(g, zero);
                    let (up, down) = (
                        pair::<V, 2>(v, upper, &column, fill),
                        pair::<V, 2>(v, lower, &column, fill),
                    );
                    let x = [
                        v.even(up[0], up[1]),
                        v.odd(up[0], up[1]),
                        v.even(down[0], down[1]),
                        v.odd(down[0], down[1]),
                    ];
                    let (mut best, mut wins) = (x[0], [v.nowhere(); 4]);
                    for i in 1..4 {
                        wins[i] = v.either(v.greater(x[i], best), v.unordered(x[i], x[i]));
                        best = v.choose(wins[i], x[i], best);
                    }
                    let later = [
                        v.either(v.either(wins[1], wins[2]), wins[3]),
                        v.either(wins[2], wins[3]),
                    ];
                    let shares = [
                        v.except(later[0], g),
                        v.only(v.without(wins[1], later[1]), g),
                        v.only(v.without(wins[2], wins[3]), g),
                        v.only(wins[3], g),
                    ];
                    for row in 0..2 {
                        let pairs = v.in_turn(shares[2 * row], shares[2 * row + 1]);
                        let begin = at + row * width;
                        put(v, gx.add(begin), pairs, n, over, depth * height * width - begin);
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
#[inline(always)]
unsafe fn put<V: Sixteen>(v: V, to: *mut f32, pairs: [V::F; 2], n: usize, over: bool, left: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if (over || n == N) && left >= 2 * N {
            v.store(to, pairs[0]);
            v.store(to.add(N), pairs[1]);
        } else {
            let mask = (1u64 << (2 * n)) - 1;
            v.store_some(to, mask as u16, pairs[0]);
            v.store_some(to.wrapping_add(N), (mask >> 16) as u16, pairs[1]);
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
#[inline(always)]
pub(super) unsafe fn mean<V: Sixteen>(v: V, a: &Wide, x: *const f32, inverse: f64, y: *mut f32) {
    let outputs = a.windows[2].len();
    let [depth, rows] = [a.size[0], a.windows[1].len()];
    let (zero, inverse) = (v.splat(0.0), [inverse; N]);
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
                    let up = pair::<V, 2>(v, upper, &column, zero);
                    let down = pair::<V, 2>(v, upper.wrapping_offset(step), &column, zero);
                    let up = v.added(v.added(v.zeros(), v.even(up[0], up[1])), v.odd(up[0], up[1]));
                    let down = v.added(v.added(v.zeros(), v.even(down[0], down[1])), v.odd(down[0], down[1]));
                    let sums = v.joined(up, down);
                    // As for the maxima.
                    let room = if outputs <= N { left } else { n };
                    store(v, y.add(at), v.scaled(sums, inverse.as_ptr()), n, room);
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
#[inline(always)]
pub(super) unsafe fn mean_input<V: Sixteen>(v: V, a: &Wide, g: *const f32, inverse: f64, gx: *mut f32) {
    let [depth, height, width] = a.size;
    let (rows, outputs) = (a.windows[1].len(), a.windows[2].len());
    let zero = v.splat(0.0);
    let inverse = [inverse; N];
    for vector in 0..outputs.div_ceil(N) {
        let n = N.min(outputs - vector * N);
        for (d, h) in (0..depth * rows).map(|i| (i / rows, i % rows)) {
            if vector == 0 {
                fetch(
                    gx.wrapping_add((d * height + 2 * h) * width),
                    (2 * width * 4).div_ceil(64),
                );
                fetch(g.wrapping_add((d * rows + h) * outputs), outputs.div_ceil(N));
            }
            // SAFETY: the caller's promise.
            unsafe {
                let g = v.load_some(zero, first(n), g.wrapping_add((d * rows + h) * outputs + vector * N));
                let share = v.scaled(v.added(v.zeros(), g), inverse.as_ptr());
                // A sum that begins with zero is never -0.0.
                let share = v.add(share, zero);
                let pairs = v.in_turn(share, share);
                for row in 0..2 {
                    let begin = (d * height + 2 * h + row) * width + 2 * vector * N;
                    put(v, gx.add(begin), pairs, n, outputs <= N, depth * height * width - begin);
                }
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { blank(a, gx) };
}
