//! Gradients of windows of three by three, two apart: lines of the input from left to right or back, each written once.
//!
//! A line has shares of one row of windows or of two; what a row gives to its last line is kept until the next row adds to
//! it. In a line every second element lies in one window and the others in two, neighbours: lane j of a vector stands for
//! columns 2j and 2j + 1, and of the neighbour's shares the lane is that beside it.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

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

/// One of the steps in which a row is worked on: lines asked for all at once would wait for each other.
#[derive(Clone, Copy)]
struct Part {
    step: usize,
    of: usize,
}

impl Part {
    /// Asks for this step's share of `lines` cache lines that lie `AHEAD` after `p`.
    #[inline(always)]
    fn fetch(self, p: *const f32, lines: usize) {
        let mut line = self.step;
        while line < lines {
            fetch(p.wrapping_add(line * 16), 1);
            line += self.of;
        }
    }
}

/// What sixteen windows give to their elements, by row and column.
type Shares<F> = [[F; 3]; 3];

/// Where shares come from.
trait Source<V: Sixteen> {
    /// Those of a depth, a row of windows and sixteen of its windows.
    ///
    /// # Safety
    /// There are such; the planes lie in live memory.
    unsafe fn shares(&self, v: V, d: usize, i: usize, vector: usize) -> Shares<V::F>;
    /// Asks for a part of what a later row reads.
    fn ahead(&self, d: usize, i: usize, part: Part);
}

/// Writes the plane `gx`, columns padded by `P`.
///
/// # Safety
/// The plane is this thread's; the windows are such as [`fits`] finds.
#[inline(always)]
unsafe fn lines<V: Sixteen, S: Source<V>, const P: usize>(v: V, a: &Wide, gx: *mut f32, source: &S) {
    let [depth, height, width] = a.size;
    let (rows, outputs) = (a.windows[1].len(), a.windows[2].len());
    let (filled, vectors) = (outputs.div_ceil(N), outputs.div_ceil(N).max(width.div_ceil(2 * N)));
    let zero = v.splat(0.0);
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
        for i in 0..rows {
            // Padded by one, the first row of windows begins above the plane.
            let upper = if i == 0 && a.above == 1 {
                null_mut()
            } else {
                line(2 * i - a.above)
            };
            let lower = line(2 * i + 1 - a.above);
            let mut beside = [zero; 3];
            for step in 0..vectors {
                let part = Part { step, of: vectors };
                source.ahead(d, i, part);
                part.fetch(gx.wrapping_add((d * height + 2 * i) * width), a.advance);
                let vector = if P == 1 { vectors - 1 - step } else { step };
                let s = if vector < filled {
                    // SAFETY: the caller's promise.
                    unsafe { source.shares(v, d, i, vector) }
                } else {
                    [[zero; 3]; 3]
                };
                // Of each row of the windows: elements in one of them, and what elements in two get from both.
                let (mut one, mut two) = ([zero; 3], [[zero; 2]; 3]);
                for r in 0..3 {
                    one[r] = s[r][1];
                    two[r] = if P == 1 {
                        [s[r][2], v.next(s[r][0], beside[r])]
                    } else {
                        [v.last(beside[r], s[r][2]), s[r][0]]
                    };
                    beside[r] = s[r][if P == 1 { 0 } else { 2 }];
                }
                let before = kept[vector];
                kept[vector] = [one[2], v.add(two[2][0], two[2][1])];
                // SAFETY: lines of the plane.
                unsafe {
                    if !upper.is_null() {
                        let two = v.add(v.add(before[1], two[0][0]), two[0][1]);
                        put::<V, P>(v, upper, width, vector, [v.add(before[0], one[0]), two]);
                    }
                    if !lower.is_null() {
                        put::<V, P>(v, lower, width, vector, [one[1], v.add(two[1][0], two[1][1])]);
                    }
                }
            }
        }
        for h in 2 * rows - a.above..height {
            for vector in 0..vectors {
                // SAFETY: lines of the plane.
                unsafe { put::<V, P>(v, line(h), width, vector, kept[vector]) };
                kept[vector] = [zero; 2];
            }
        }
        for vector in 0..vectors {
            kept[vector] = [zero; 2];
        }
    }
}

/// Stores what elements in one window and in two get, where the line `to` has such columns.
///
/// # Safety
/// The line is this thread's.
#[inline(always)]
unsafe fn put<V: Sixteen, const P: usize>(v: V, to: *mut f32, width: usize, vector: usize, [one, two]: [V::F; 2]) {
    let both = if P == 1 {
        v.in_turn(one, two)
    } else {
        v.in_turn(two, one)
    };
    for i in 0..2 {
        let begin = (2 * vector + i) * N;
        if begin < width {
            // SAFETY: the caller's promise.
            unsafe { store(v, to.add(begin), both[i], N.min(width - begin), width - begin) };
        }
    }
}

/// Gradients of maxima: the plane and the gradient of its windows.
struct Maxima<'a> {
    a: &'a Wide<'a>,
    x: *const f32,
    g: *const f32,
}

impl<V: Sixteen> Source<V> for Maxima<'_> {
    #[inline(always)]
    unsafe fn shares(&self, v: V, d: usize, i: usize, vector: usize) -> Shares<V::F> {
        let (rows, outputs) = (self.a.windows[1].len(), self.a.windows[2].len());
        // SAFETY: the caller's promise.
        unsafe {
            let g = gradient(v, self.g.add((d * rows + i) * outputs), outputs, vector);
            // A sum that begins with zero is never -0.0.
            let g = v.add(g, v.splat(0.0));
            to_maxima(
                v,
                self.a,
                self.x.wrapping_offset(self.a.strides.at(d, 0, 0)),
                i,
                vector,
                g,
            )
        }
    }
    #[inline(always)]
    fn ahead(&self, d: usize, i: usize, part: Part) {
        let (rows, outputs) = (self.a.windows[1].len(), self.a.windows[2].len());
        part.fetch(self.x.wrapping_offset(self.a.strides.at(d, 2 * i, 0)), self.a.advance);
        part.fetch(self.g.wrapping_add((d * rows + i) * outputs), outputs.div_ceil(N));
    }
}

/// Gradient of the maxima.
///
/// # Safety
/// As for the method of [`Wide`] that calls it; the windows are such as [`fits`] finds.
#[inline(always)]
pub(super) unsafe fn max_input<V: Sixteen, const P: usize>(v: V, a: &Wide, x: *const f32, g: *const f32, gx: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { lines::<V, Maxima, P>(v, a, gx, &Maxima { a, x, g }) }
}

/// Sixteen of a row of the gradient, zero beyond it.
///
/// # Safety
/// The row lies in live memory.
#[inline(always)]
unsafe fn gradient<V: Sixteen>(v: V, row: *const f32, outputs: usize, vector: usize) -> V::F {
    let n = outputs - vector * N;
    // SAFETY: the caller's promise.
    unsafe {
        let row = row.add(vector * N);
        if n >= N {
            v.load(row)
        } else {
            v.load_some(v.splat(0.0), first(n), row)
        }
    }
}

/// The elements of sixteen windows; minus infinity outside the plane.
///
/// # Safety
/// The plane lies in live memory.
#[inline(always)]
unsafe fn elements<V: Sixteen>(v: V, a: &Wide, x: *const f32, i: usize, vector: usize) -> Shares<V::F> {
    let fill = v.splat(f32::NEG_INFINITY);
    let columns = a.columns.as_ptr().wrapping_add(3 * vector);
    let mut all = [[fill; 3]; 3];
    for r in 0..3 {
        // Above the plane a number that is beyond it, too.
        let h = (2 * i + r).wrapping_sub(a.above);
        if h < a.size[1] {
            let row = x.wrapping_offset(h as isize * a.strides.0[3]);
            // SAFETY: three columns for each vector; masks keep loads inside the row.
            let [first, last] = unsafe {
                [
                    pair::<V, 2>(v, row, &*columns, fill),
                    pair::<V, 2>(v, row, &*columns.add(2), fill),
                ]
            };
            all[r] = [
                v.even(first[0], first[1]),
                v.odd(first[0], first[1]),
                v.even(last[0], last[1]),
            ];
        }
    }
    all
}

/// `g` where a row's and column's element is the maximum of its window.
///
/// # Safety
/// The plane lies in live memory.
#[inline(always)]
unsafe fn to_maxima<V: Sixteen>(v: V, a: &Wide, x: *const f32, i: usize, vector: usize, g: V::F) -> Shares<V::F> {
    let (fill, zero) = (v.splat(f32::NEG_INFINITY), v.splat(0.0));
    // SAFETY: the caller's promise.
    let all = unsafe { elements(v, a, x, i, vector) };
    let [[a0, a1, a2], [b0, b1, b2], [c0, c1, c2]] = all;
    let upper = v.max(v.max(a0, a1), v.max(a2, b0));
    let lower = v.max(v.max(b1, b2), v.max(c0, c1));
    let most = v.max(v.max(upper, lower), c2);
    let upper = v.either(v.unordered(a0, a1), v.unordered(a2, b0));
    let lower = v.either(v.unordered(b1, b2), v.unordered(c0, c1));
    let nan = v.either(v.either(upper, lower), v.unordered(c2, c2));
    let lanes = first(N.min(a.windows[2].len() - vector * N));
    if v.bits(v.either(nan, v.equal(most, fill))) & lanes != 0 {
        let (mut shares, mut some) = ([[[0.0; N]; 3]; 3], [0.0; N]);
        // SAFETY: as above; sixteen elements each.
        unsafe {
            v.store(some.as_mut_ptr(), g);
            for r in 0..3 {
                for k in 0..3 {
                    v.store(shares[r][k].as_mut_ptr(), all[r][k]);
                }
            }
            to_any_maxima(a, i, vector, &some, &mut shares);
            let mut found = all;
            for r in 0..3 {
                for k in 0..3 {
                    found[r][k] = v.load(shares[r][k].as_ptr());
                }
            }
            return found;
        }
    }
    // The gradient is taken away by the first that has the maximum. (Masks that depend on each other go back and forth
    // between two kinds of registers.)
    let mut left = g;
    let mut shares = [[zero; 3]; 3];
    for r in 0..3 {
        for k in 0..3 {
            let win = v.equal(all[r][k], most);
            shares[r][k] = v.only(win, left);
            left = v.except(win, left);
        }
    }
    shares
}

/// The same where there are NaNs, of which the last wins, or nothing but minus infinities, of which the first inside does:
/// `shares` has the elements before. One window after another: such are few.
#[cold]
#[inline(never)]
fn to_any_maxima(a: &Wide, i: usize, vector: usize, g: &[f32; N], shares: &mut [[[f32; N]; 3]; 3]) {
    for j in 0..N {
        let inside = |t: usize| {
            let row = (2 * i + t / 3).wrapping_sub(a.above);
            row < a.size[1] && a.columns[3 * vector + t % 3].mask >> (2 * j) & 1 == 1
        };
        let (mut best, mut win) = (f32::NEG_INFINITY, None);
        for t in 0..9 {
            let x = shares[t / 3][t % 3][j];
            if x > best || x.is_nan() {
                (best, win) = (x, Some(t));
            }
        }
        let win = win.or_else(|| (0..9).find(|&t| inside(t)));
        for t in 0..9 {
            shares[t / 3][t % 3][j] = if win == Some(t) { g[j] } else { 0.0 };
        }
    }
}

/// Gradients of means.
struct Means<'a> {
    a: &'a Wide<'a>,
    g: *const f32,
    inverses: &'a Inverses,
}

impl<V: Sixteen> Source<V> for Means<'_> {
    #[inline(always)]
    unsafe fn shares(&self, v: V, d: usize, i: usize, vector: usize) -> Shares<V::F> {
        let (rows, outputs) = (self.a.windows[1].len(), self.a.windows[2].len());
        let row = d * rows + i;
        // SAFETY: a row of the gradient; its factors.
        let share = unsafe {
            let g = gradient(v, self.g.add(row * outputs), outputs, vector);
            let factors = self.inverses.of(row).as_ptr().add(vector * N);
            v.scaled(v.added(v.zeros(), g), factors)
        };
        // A sum that begins with zero is never -0.0.
        [[v.add(share, v.splat(0.0)); 3]; 3]
    }
    #[inline(always)]
    fn ahead(&self, d: usize, i: usize, part: Part) {
        let (rows, outputs) = (self.a.windows[1].len(), self.a.windows[2].len());
        part.fetch(self.g.wrapping_add((d * rows + i) * outputs), outputs.div_ceil(N));
    }
}

/// Gradient of the means.
///
/// # Safety
/// As for the method of [`Wide`] that calls it; the windows are such as [`fits`] finds.
#[inline(always)]
pub(super) unsafe fn mean_input<V: Sixteen, const P: usize>(
    v: V,
    a: &Wide,
    g: *const f32,
    inverses: &Inverses,
    gx: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe { lines::<V, Means, P>(v, a, gx, &Means { a, g, inverses }) }
}
