//! Means of windows of any size, and what each element gets back.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use super::*;

/// Means of `planes` dense planes of `size` elements, by the count's inverse.
///
/// # Safety
/// The planes and their means lie in live memory.
#[inline(always)]
pub(super) unsafe fn means<V: Sixteen>(v: V, x: *const f32, size: usize, inverse: f64, y: *mut f32, planes: usize) {
    let mut plane = 0;
    // SAFETY: the caller's promise.
    unsafe {
        while plane + 8 <= planes {
            let mut sums = [v.zeros(); 8];
            for i in 0..8 {
                sums[i] = lanes_of(v, x.add((plane + i) * size), size);
            }
            v.store_totals(y.add(plane), sums, inverse);
            plane += 8;
        }
        for plane in plane..planes {
            *y.add(plane) = (v.total(lanes_of(v, x.add(plane * size), size)) * inverse) as f32;
        }
    }
}

/// The sixteen lanes of a plane's sum.
///
/// # Safety
/// `size` elements lie at `x`.
#[inline(always)]
unsafe fn lanes_of<V: Sixteen>(v: V, x: *const f32, size: usize) -> V::D {
    let mut sums = v.zeros();
    let whole = size / N * N;
    // SAFETY: the caller's promise; the rest is masked.
    unsafe {
        for i in (0..whole).step_by(N) {
            // Planes in a row are one run of memory; planes of a few hundred bytes read faster asked for.
            prefetch(x.wrapping_add(i).cast::<i8>().wrapping_add(2 * AHEAD));
            sums = v.added(sums, v.load(x.add(i)));
        }
        if whole < size {
            sums = v.added(sums, v.load_some(v.splat(0.0), first(size - whole), x.add(whole)));
        }
    }
    sums
}

/// Sums of sixteen windows' taps in one line.
///
/// # Safety
/// The elements of the columns' masks lie in memory from `row` on.
#[inline(always)]
pub(super) unsafe fn of_line<V: Sixteen, const S: usize, const K: usize>(
    v: V,
    row: *const f32,
    columns: &[Column],
) -> V::D {
    let zero = v.splat(0.0);
    let mut sums = v.zeros();
    // SAFETY: the caller's promise.
    unsafe {
        if K == 2 || K == 3 {
            let both = pair::<V, S>(v, row, &columns[0], zero);
            sums = v.added(v.added(sums, even::<V, S>(v, both)), v.odd(both[0], both[1]));
            if K == 3 {
                sums = v.added(sums, even::<V, S>(v, pair::<V, S>(v, row, &columns[2], zero)));
            }
        } else {
            for column in columns {
                sums = v.added(sums, even::<V, S>(v, pair::<V, S>(v, row, column, zero)));
            }
        }
    }
    sums
}

/// Means of a plane.
///
/// # Safety
/// As for the method of [`Wide`] that calls it.
#[inline(always)]
pub(super) unsafe fn plane<V: Sixteen, const S: usize, const K: usize>(
    v: V,
    a: &Wide,
    x: *const f32,
    inverses: &Inverses,
    y: *mut f32,
) {
    let (heights, outputs) = (a.windows[1].len(), a.windows[2].len());
    let rows = a.windows[0].len() * heights;
    for i in 0..rows {
        let (wd, wh) = (&a.windows[0][i / heights], &a.windows[1][i % heights]);
        a.ahead(x, wd, wh);
        // SAFETY: the caller's promise.
        unsafe {
            row::<V, S, K>(
                v,
                a,
                x,
                wd,
                wh,
                inverses.of(i),
                y.add(i * outputs),
                (rows - i) * outputs,
            );
        }
    }
}

/// # Safety
/// As for the method of [`Wide`] that calls it.
#[inline(always)]
unsafe fn row<V: Sixteen, const S: usize, const K: usize>(
    v: V,
    a: &Wide,
    x: *const f32,
    wd: &Window,
    wh: &Window,
    inverse: &[f64],
    y: *mut f32,
    room: usize,
) {
    let outputs = a.windows[2].len();
    for (vector, columns) in a.columns.chunks_exact(a.kernel).enumerate() {
        let n = N.min(outputs - vector * N);
        let mut sums = v.zeros();
        for d in wd.start..wd.start + wd.len {
            for h in wh.start..wh.start + wh.len {
                // SAFETY: masks keep loads inside the row.
                let line = unsafe { of_line::<V, S, K>(v, x.wrapping_offset(a.strides.at(d, h, 0)), columns) };
                sums = v.joined(sums, line);
            }
        }
        // SAFETY: the caller's promise.
        unsafe {
            let mean = v.scaled(sums, inverse.as_ptr().add(vector * N));
            store(v, y.add(vector * N), mean, n, room - vector * N);
        }
    }
}

/// Each element's shares in the order of the outputs: a row of outputs is read shifted by each tap it gives.
///
/// # Safety
/// As for the method of [`Wide`] that calls it.
#[inline(always)]
pub(super) unsafe fn input<V: Sixteen, const S: usize>(
    v: V,
    a: &Wide,
    g: *const f32,
    inverses: &Inverses,
    gx: *mut f32,
) {
    let [depth, height, width] = a.size;
    let [depths, heights, outputs] = [0, 1, 2].map(|d| a.windows[d].len());
    let zero = v.splat(0.0);
    // What each output gives to each element of its window; zeros around each row.
    let vectors = (width + a.padding).div_ceil(S * N).max(outputs.div_ceil(N));
    let stride = N + vectors * N;
    let mut shares = vec![0f32; depths * heights * stride + N];
    for row in 0..depths * heights {
        let inverse = inverses.of(row).as_ptr();
        for vector in 0..outputs.div_ceil(N) {
            let n = N.min(outputs - vector * N);
            // SAFETY: the gradient's row; a row of the shares holds whole vectors.
            unsafe {
                let g = v.load_some(zero, first(n), g.add(row * outputs + vector * N));
                let share = v.scaled(v.added(v.zeros(), g), inverse.add(vector * N));
                v.store(shares.as_mut_ptr().add(row * stride + N + vector * N), share);
            }
        }
    }
    let (mut first_d, mut first_h);
    first_d = 0;
    for d in 0..depth {
        while first_d < depths && ends(&a.windows[0][first_d]) <= d {
            first_d += 1;
        }
        first_h = 0;
        for h in 0..height {
            while first_h < heights && ends(&a.windows[1][first_h]) <= h {
                first_h += 1;
            }
            for vector in 0..vectors {
                let mut sums = [zero; 2];
                for od in (first_d..depths).take_while(|&o| a.windows[0][o].start <= d) {
                    for oh in (first_h..heights).take_while(|&o| a.windows[1][o].start <= h) {
                        let row = shares
                            .as_ptr()
                            .wrapping_add((od * heights + oh) * stride + N + vector * N);
                        for (q, sum) in sums.iter_mut().enumerate().take(S) {
                            // Outputs from left to right.
                            for t in (0..(a.kernel - q.min(a.kernel)).div_ceil(S)).rev() {
                                // SAFETY: a row has as many zeros in front as windows have taps.
                                *sum = v.add(*sum, unsafe { v.load(row.wrapping_sub(t)) });
                            }
                        }
                    }
                }
                let begin = (vector * N * S) as isize - a.padding as isize;
                let to = gx.wrapping_add((d * height + h) * width).wrapping_offset(begin);
                let parts = if S == 1 {
                    [sums[0], sums[0]]
                } else {
                    v.in_turn(sums[0], sums[1])
                };
                for (i, part) in parts.into_iter().enumerate().take(S) {
                    let first = begin + (i * N) as isize;
                    let from = (-first).clamp(0, N as isize);
                    let until = (width as isize - first).clamp(from, N as isize);
                    let to = to.wrapping_add(i * N);
                    // SAFETY: columns of the row.
                    unsafe {
                        if until - from == N as isize {
                            v.store(to, part);
                        } else {
                            v.store_some(to, ((1u32 << until) - (1u32 << from)) as u16, part);
                        }
                    }
                }
            }
        }
    }
}

/// One past a window's last row.
fn ends(w: &Window) -> usize {
    w.start + w.len
}
