//! Windows of three by three, two apart, forward: sixteen columns of outputs at a time, down the plane. What is made of a line
//! stays in registers for the next row of windows, which begins with it.

use super::mean::of_line;
use super::*;
use crate::simd::prefetch_write;

/// Elements ahead at least that are asked for.
const LATER: usize = 4096;

/// What is done in each vector of columns: its first output, how many it has, its taps' columns and the lines' pieces that
/// are asked for in each row.
struct Strip {
    first: usize,
    n: usize,
    columns: [Column; 3],
    ahead: *const i8,
    piece: usize,
}

/// The vectors of a plane at `x`. The last one may share outputs with the one before: whole vectors store faster.
fn strips(a: &Wide, x: *const f32) -> impl Iterator<Item = Strip> {
    let [rows, outputs] = [a.windows[1].len(), a.windows[2].len()];
    let size = a.size[1] * a.size[2];
    let (n, steps) = (N.min(outputs), outputs.div_ceil(N));
    // The next plane (of small ones a later one) comes while this one is worked on, evenly.
    let piece = (4 * size).div_ceil(steps * rows);
    let ahead = x.wrapping_add(size.max(LATER)).cast::<i8>();
    (0..steps).map(move |step| {
        let first = (step * N).min(outputs - n);
        Strip {
            first,
            n,
            columns: std::array::from_fn(|k| column(&[2, 1, a.padding, a.size[2]], first, k)),
            ahead: ahead.wrapping_add(step * rows * piece),
            piece,
        }
    })
}

/// Asks for the piece of row `i`, by lines that begin in it, and for what is written there of the next plane at `to`.
#[inline(always)]
fn ask(strip: &Strip, i: usize, to: *const f32) {
    prefetch_write(to);
    let from = strip.ahead.wrapping_add(i * strip.piece);
    let skip = from.align_offset(64) & 63;
    for at in (skip..strip.piece).step_by(64) {
        prefetch(from.wrapping_add(at));
    }
}

/// The largest of three neighbours in a line for each of a vector's windows, and where one of them is NaN.
///
/// # Safety
/// The elements of the columns' masks lie in memory from `row` on.
#[inline(always)]
unsafe fn largest<V: Sixteen>(v: V, row: *const f32, columns: &[Column; 3], fill: V::F) -> (V::F, V::W) {
    // SAFETY: the caller's promise.
    let [first, last] = unsafe {
        [
            pair::<V, 2>(v, row, &columns[0], fill),
            pair::<V, 2>(v, row, &columns[2], fill),
        ]
    };
    let (left, middle, right) = (
        v.even(first[0], first[1]),
        v.odd(first[0], first[1]),
        v.even(last[0], last[1]),
    );
    // Of equals the second operand comes out: the first of them in the line.
    let value = v.max(right, v.max(middle, left));
    (value, v.either(v.unordered(left, middle), v.unordered(right, right)))
}

/// Maxima alone.
///
/// # Safety
/// As for the method of [`Wide`] that calls it; the windows are such as `three::fits` finds.
#[inline(always)]
pub(super) unsafe fn max<V: Sixteen>(v: V, a: &Wide, x: *const f32, y: *mut f32) {
    let (fill, nan) = (v.splat(f32::NEG_INFINITY), v.splat(f32::NAN));
    let [depth, rows, outputs] = [0, 1, 2].map(|d| a.windows[d].len());
    let step = a.strides.at(0, 1, 0);
    for d in 0..depth {
        for strip in strips(a, x.wrapping_offset(a.strides.at(d, 0, 0))) {
            let columns = strip.columns;
            let mut line = x.wrapping_offset(a.strides.at(d, a.windows[1][0].start, 0));
            // SAFETY: the caller's promise.
            unsafe {
                let mut kept = largest(v, line, &columns, fill);
                for (i, window) in a.windows[1].iter().enumerate() {
                    let (at, plane) = ((d * rows + i) * outputs + strip.first, depth * rows * outputs);
                    ask(&strip, i, y.wrapping_add(at + plane));
                    let mut best = kept;
                    for _ in 1..window.len {
                        line = line.wrapping_offset(step);
                        kept = largest(v, line, &columns, fill);
                        best = (v.max(kept.0, best.0), v.either(kept.1, best.1));
                    }
                    let value = v.choose(best.1, nan, best.0);
                    store(v, y.add(at), value, strip.n, plane - at);
                }
            }
        }
    }
}

/// Means.
///
/// # Safety
/// As for [`max`].
#[inline(always)]
pub(super) unsafe fn mean<V: Sixteen>(v: V, a: &Wide, x: *const f32, inverses: &Inverses, y: *mut f32) {
    let [depth, rows, outputs] = [0, 1, 2].map(|d| a.windows[d].len());
    let step = a.strides.at(0, 1, 0);
    for d in 0..depth {
        for strip in strips(a, x.wrapping_offset(a.strides.at(d, 0, 0))) {
            let columns = strip.columns;
            let mut line = x.wrapping_offset(a.strides.at(d, a.windows[1][0].start, 0));
            // SAFETY: the caller's promise.
            unsafe {
                let mut kept = of_line::<V, 2, 3>(v, line, &columns);
                for (i, window) in a.windows[1].iter().enumerate() {
                    let (at, plane) = ((d * rows + i) * outputs + strip.first, depth * rows * outputs);
                    ask(&strip, i, y.wrapping_add(at + plane));
                    let mut sums = kept;
                    for _ in 1..window.len {
                        line = line.wrapping_offset(step);
                        kept = of_line::<V, 2, 3>(v, line, &columns);
                        sums = v.joined(sums, kept);
                    }
                    let inverse = inverses.of(d * rows + i).as_ptr().add(strip.first);
                    store(v, y.add(at), v.scaled(sums, inverse), strip.n, plane - at);
                }
            }
        }
    }
}
