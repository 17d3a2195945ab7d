//! The transforms of minimal filtering F(4x4, 3x3) and F(3x3, 4x4), a vector of channels at a time.
//!
//! Both compute with polynomials known at 0, ±a, ±b and infinity (Cook 1966, Toom 1963; Winograd 1980). The error depends on
//! the points alone: a = 3/4, b = 3/2 have about half of that of the usual 0, ±1, ±2, and all factors but those of the
//! filters are exact in binary (on choosing points: Barabasz, Anderson, Soodhalter and Gregg, ACM TOMS 46(4), 2020,
//! arXiv:1803.10986; Alam, Anderson, Barabasz and Gregg, arXiv:2201.10369).
//!
//! Images hold their channels apart; a strip of an image is first turned so that the channels lie side by side. Then every
//! lane is a channel, whatever the image's width, and no transform meets a border.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use super::POINTS;
use crate::simd::vec::Lanes;

const A: f32 = 0.75;
const B: f32 = 1.5;
const A2: f32 = A * A;
const B2: f32 = B * B;
/// What normalises a filter's values at 0, ±a, ±b: one over the product of the distances to the other points.
const AT_0: f32 = 1.0 / (A2 * B2);
const AT_A: f32 = 1.0 / (2.0 * A2 * (A2 - B2));
const AT_B: f32 = 1.0 / (2.0 * B2 * (B2 - A2));

/// Side of a tile of positions, and of the window that it sees.
pub(super) const SIDE: usize = 4;
pub(super) const WINDOW: usize = 6;
const TAPS: usize = 9;
/// Most lanes of a vector.
const LANES: usize = 16;
/// Filters turned at once.
const SOME: usize = 8;

/// One of the steps, for a vector of channels.
pub(crate) enum Stage<T> {
    Window(WindowArgs<T>),
    Filter(FilterArgs<T>),
    Output(OutputArgs<T>),
    Taps(TapsArgs<T>),
    Add(*mut T, *const T, usize),
}

/// Tiles of an image, `rows` by `cols` of them, to their points.
pub(crate) struct WindowArgs<T> {
    /// Line 0 and column 0 of the image in the first channel.
    pub src: *const T,
    pub channel_stride: isize,
    /// At most the lanes of a vector.
    pub channels: usize,
    pub row_stride: isize,
    pub size: [usize; 2],
    /// Line and column of the first tile.
    pub line: isize,
    pub col: isize,
    pub rows: usize,
    pub cols: usize,
    /// Tiles of 4x4 that are themselves the filters, else windows of 6x6.
    pub filters: bool,
    pub dst: *mut T,
    pub dst_tile: usize,
    pub dst_point: usize,
    /// Room for the turned strip: see [`strip`].
    pub strip: *mut T,
}

/// Filters of 3x3, an output channel per lane, to their points.
pub(crate) struct FilterArgs<T> {
    pub src: *const T,
    pub lane_stride: isize,
    pub lanes: usize,
    pub channel_stride: isize,
    pub channels: usize,
    /// Taps in reverse, as the gradient of the input takes them.
    pub reversed: bool,
    pub dst: *mut T,
    pub dst_channel: usize,
    pub dst_point: usize,
}

/// Sums at the points to tiles of the result.
pub(crate) struct OutputArgs<T> {
    pub src: *const T,
    pub src_tile: usize,
    pub src_point: usize,
    pub rows: usize,
    pub cols: usize,
    /// First line and column of the first tile in the first channel.
    pub dst: *mut T,
    pub channel_stride: usize,
    pub channels: usize,
    pub row_stride: isize,
    /// Lines and columns that exist.
    pub lines: usize,
    pub width: usize,
    /// One per channel, or null.
    pub bias: *const T,
    pub strip: *mut T,
}

/// Sums at the points to the gradients of one output channel's filters.
pub(crate) struct TapsArgs<T> {
    pub src: *const T,
    pub src_point: usize,
    pub channels: usize,
    pub dst: *mut T,
}

/// Elements of the strip for this many tiles.
pub(super) fn strip(tiles: usize) -> usize {
    tiles * WINDOW * WINDOW * LANES
}

/// # Safety
/// What the arguments describe lies in live memory.
#[inline(always)]
pub(crate) unsafe fn stage<T: Copy + Default + From<f32>, L: Lanes<T>>(l: L, stage: &Stage<T>) {
    let c = Math::new(l);
    // SAFETY: the caller's promise.
    unsafe {
        match stage {
            Stage::Window(g) => {
                turn_in(l, g);
                if g.filters {
                    c.filters(g);
                } else {
                    c.windows(g);
                }
            }
            Stage::Filter(g) => c.filter(g),
            Stage::Output(g) => c.output(g),
            Stage::Taps(g) => c.taps(g),
            &Stage::Add(to, from, count) => {
                for at in (0..count).step_by(L::N) {
                    let (to, from) = (to.wrapping_add(at), from.wrapping_add(at));
                    l.store(to, l.add(l.load(to), l.load(from)));
                }
            }
        }
    }
}

/// The strip: `[line][column][lane]`, with zeros outside the image and for lanes without a channel.
///
/// # Safety
/// As for [`stage`].
#[inline(always)]
unsafe fn turn_in<T: Copy + Default, L: Lanes<T>>(l: L, g: &WindowArgs<T>) {
    let border = if g.filters { 0 } else { WINDOW - SIDE };
    let (lines, width) = (SIDE * g.rows + border, SIDE * g.cols + border);
    let zero = l.splat(T::default());
    let known = |first: isize, count: usize, size: usize| {
        let from = (-first).clamp(0, count as isize) as usize;
        (
            from,
            (size as isize - first).clamp(from as isize, count as isize) as usize,
        )
    };
    let (from, to) = known(g.col, width, g.size[1]);
    let (top, bottom) = known(g.line, lines, g.size[0]);
    for line in 0..lines {
        let dst = g.strip.wrapping_add(line * width * L::N);
        let inside = (top..bottom).contains(&line);
        let (from, to) = if inside { (from, to) } else { (width, width) };
        for p in (0..from).chain(to..width) {
            // SAFETY: the caller's promise.
            unsafe { l.store(dst.wrapping_add(p * L::N), zero) };
        }
        let src = g.src.wrapping_offset((g.line + line as isize) * g.row_stride + g.col);
        for lane in (0..L::N).step_by(L::BLOCK) {
            let count = g.channels.saturating_sub(lane).min(L::BLOCK);
            let rows = starts(src.wrapping_offset(lane as isize * g.channel_stride), g.channel_stride);
            for p in (from..to).step_by(L::BLOCK) {
                let dst = dst.wrapping_add(p * L::N + lane);
                // SAFETY: the caller's promise; only columns inside are read.
                unsafe { l.transpose(&rows[..count], p as isize, to - p, dst, L::N) };
            }
        }
    }
}

/// Addresses at one distance.
#[inline(always)]
fn starts<T>(first: *const T, step: isize) -> [*const T; LANES] {
    let mut all = [first; LANES];
    for i in 0..LANES {
        all[i] = first.wrapping_offset(i as isize * step);
    }
    all
}

#[inline(always)]
fn row_of<V: Copy, const R: usize, const C: usize>(columns: &[[V; R]; C], r: usize) -> [V; C] {
    let mut row = [columns[0][r]; C];
    for c in 0..C {
        row[c] = columns[c][r];
    }
    row
}

/// The arithmetic of the transforms.
#[derive(Clone, Copy)]
struct Math<T, L: Lanes<T>> {
    l: L,
    zero: L::V,
    minus: L::V,
}

impl<T: Copy + Default + From<f32>, L: Lanes<T>> Math<T, L> {
    #[inline(always)]
    fn new(l: L) -> Self {
        Self {
            l,
            zero: l.splat(T::default()),
            minus: l.splat(T::from(-1.0)),
        }
    }

    /// `c + a * factor`
    #[inline(always)]
    fn more(self, c: L::V, a: L::V, factor: f32) -> L::V {
        self.l.fma(a, self.l.splat(T::from(factor)), c)
    }

    #[inline(always)]
    fn times(self, a: L::V, factor: f32) -> L::V {
        self.more(self.zero, a, factor)
    }

    #[inline(always)]
    fn sub(self, a: L::V, b: L::V) -> L::V {
        self.l.fma(b, self.minus, a)
    }

    #[inline(always)]
    fn add(self, a: L::V, b: L::V) -> L::V {
        self.l.add(a, b)
    }

    /// # Safety
    /// As for [`stage`].
    #[inline(always)]
    unsafe fn get<const N: usize>(self, from: *const T, step: usize) -> [L::V; N] {
        let mut all = [self.zero; N];
        for i in 0..N {
            // SAFETY: the caller's promise.
            all[i] = unsafe { self.l.load(from.wrapping_add(i * step)) };
        }
        all
    }

    /// # Safety
    /// As for [`stage`].
    #[inline(always)]
    unsafe fn put<const N: usize>(self, to: *mut T, step: usize, all: [L::V; N]) {
        for i in 0..N {
            // SAFETY: the caller's promise.
            unsafe { self.l.store(to.wrapping_add(i * step), all[i]) };
        }
    }

    /// A column of a strip, transformed.
    ///
    /// # Safety
    /// As for [`stage`].
    #[inline(always)]
    unsafe fn column(self, strip: *const T, c: usize, line: usize) -> [L::V; 6] {
        // SAFETY: the caller's promise.
        self.window(unsafe { self.get(strip.wrapping_add(c * L::N), line) })
    }

    /// A line of a window.
    #[inline(always)]
    fn window(self, d: [L::V; 6]) -> [L::V; 6] {
        let (even_a, odd_a) = (self.more(d[4], d[2], -B2), self.more(d[3], d[1], -B2));
        let (even_b, odd_b) = (self.more(d[4], d[2], -A2), self.more(d[3], d[1], -A2));
        [
            self.more(self.more(d[4], d[2], -(A2 + B2)), d[0], A2 * B2),
            self.more(even_a, odd_a, A),
            self.more(even_a, odd_a, -A),
            self.more(even_b, odd_b, B),
            self.more(even_b, odd_b, -B),
            self.more(self.more(d[5], d[3], -(A2 + B2)), d[1], A2 * B2),
        ]
    }

    /// A line of a filter of three.
    #[inline(always)]
    fn three(self, g: [L::V; 3]) -> [L::V; 6] {
        let even_a = self.more(self.times(g[0], AT_A), g[2], A2 * AT_A);
        let even_b = self.more(self.times(g[0], AT_B), g[2], B2 * AT_B);
        [
            self.times(g[0], AT_0),
            self.more(even_a, g[1], A * AT_A),
            self.more(even_a, g[1], -A * AT_A),
            self.more(even_b, g[1], B * AT_B),
            self.more(even_b, g[1], -B * AT_B),
            g[2],
        ]
    }

    /// A line of a filter of four.
    #[inline(always)]
    fn four(self, g: [L::V; 4]) -> [L::V; 6] {
        let even_a = self.more(self.times(g[0], AT_A), g[2], A2 * AT_A);
        let even_b = self.more(self.times(g[0], AT_B), g[2], B2 * AT_B);
        let odd_a = self.more(self.times(g[1], A * AT_A), g[3], A2 * A * AT_A);
        let odd_b = self.more(self.times(g[1], B * AT_B), g[3], B2 * B * AT_B);
        [
            self.times(g[0], AT_0),
            self.add(even_a, odd_a),
            self.sub(even_a, odd_a),
            self.add(even_b, odd_b),
            self.sub(even_b, odd_b),
            g[3],
        ]
    }

    /// A line of four results.
    #[inline(always)]
    fn to_four(self, m: [L::V; 6]) -> [L::V; 4] {
        let (sum_a, difference_a) = (self.add(m[1], m[2]), self.sub(m[1], m[2]));
        let (sum_b, difference_b) = (self.add(m[3], m[4]), self.sub(m[3], m[4]));
        [
            self.add(m[0], self.add(sum_a, sum_b)),
            self.more(self.times(difference_a, A), difference_b, B),
            self.more(self.times(sum_a, A2), sum_b, B2),
            self.more(self.more(m[5], difference_a, A2 * A), difference_b, B2 * B),
        ]
    }

    /// A line of three results.
    #[inline(always)]
    fn to_three(self, m: [L::V; 6]) -> [L::V; 3] {
        let (sum_a, difference_a) = (self.add(m[1], m[2]), self.sub(m[1], m[2]));
        let (sum_b, difference_b) = (self.add(m[3], m[4]), self.sub(m[3], m[4]));
        [
            self.add(m[0], self.add(sum_a, sum_b)),
            self.more(self.times(difference_a, A), difference_b, B),
            self.more(self.more(m[5], sum_a, A2), sum_b, B2),
        ]
    }

    /// # Safety
    /// As for [`stage`].
    #[inline(always)]
    unsafe fn windows(self, g: &WindowArgs<T>) {
        let line = (SIDE * g.cols + WINDOW - SIDE) * L::N;
        let mut dst = g.dst;
        for row in 0..g.rows {
            let strip = g.strip.wrapping_add(SIDE * row * line);
            // SAFETY: the caller's promise; so below.
            let mut columns = unsafe {
                let first = [self.column(strip, 0, line), self.column(strip, 1, line)];
                [first[0], first[1], first[0], first[0], first[0], first[0]]
            };
            for col in 0..g.cols {
                for c in 2..6 {
                    // SAFETY: as above.
                    columns[c] = unsafe { self.column(strip, SIDE * col + c, line) };
                }
                for r in 0..6 {
                    // SAFETY: as above.
                    unsafe {
                        self.put(
                            dst.wrapping_add(6 * r * g.dst_point),
                            g.dst_point,
                            self.window(row_of(&columns, r)),
                        )
                    };
                }
                // Neighbours share two columns.
                (columns[0], columns[1]) = (columns[4], columns[5]);
                dst = dst.wrapping_add(g.dst_tile);
            }
        }
    }

    /// # Safety
    /// As for [`stage`].
    #[inline(always)]
    unsafe fn filters(self, g: &WindowArgs<T>) {
        let line = SIDE * g.cols * L::N;
        let mut dst = g.dst;
        for (row, col) in (0..g.rows * g.cols).map(|i| (i / g.cols, i % g.cols)) {
            let at = g.strip.wrapping_add(SIDE * row * line + SIDE * col * L::N);
            let mut columns = [[self.zero; 6]; 4];
            for c in 0..4 {
                // SAFETY: the caller's promise; so below.
                columns[c] = self.four(unsafe { self.get(at.wrapping_add(c * L::N), line) });
            }
            for r in 0..6 {
                // SAFETY: as above.
                unsafe {
                    self.put(
                        dst.wrapping_add(6 * r * g.dst_point),
                        g.dst_point,
                        self.four(row_of(&columns, r)),
                    )
                };
            }
            dst = dst.wrapping_add(g.dst_tile);
        }
    }

    /// # Safety
    /// As for [`stage`].
    #[inline(always)]
    unsafe fn filter(self, g: &FilterArgs<T>) {
        let l = self.l;
        let mut turned = [T::default(); SOME * TAPS * LANES];
        let some = if g.channel_stride == TAPS as isize { SOME } else { 1 };
        let mut dst = g.dst;
        for from in (0..g.channels).step_by(some) {
            let count = some.min(g.channels - from);
            let src = g.src.wrapping_offset(from as isize * g.channel_stride);
            for lane in (0..L::N).step_by(L::BLOCK) {
                let lanes = g.lanes.saturating_sub(lane).min(L::BLOCK);
                let rows = starts(src.wrapping_offset(lane as isize * g.lane_stride), g.lane_stride);
                for t in (0..count * TAPS).step_by(L::BLOCK) {
                    let to = turned.as_mut_ptr().wrapping_add(t * L::N + lane);
                    // SAFETY: the caller's promise; the buffer holds all taps of `some` filters in all lanes.
                    unsafe { l.transpose(&rows[..lanes], t as isize, count * TAPS - t, to, L::N) };
                }
            }
            for c in 0..count {
                let filter = turned.as_ptr().wrapping_add(c * TAPS * L::N);
                let mut columns = [[self.zero; 6]; 3];
                for c in 0..3 {
                    let mut taps = [self.zero; 3];
                    for r in 0..3 {
                        let t = if g.reversed { TAPS - 1 - (3 * r + c) } else { 3 * r + c };
                        // SAFETY: as above.
                        taps[r] = unsafe { l.load(filter.wrapping_add(t * L::N)) };
                    }
                    columns[c] = self.three(taps);
                }
                for r in 0..6 {
                    // SAFETY: the caller's promise.
                    unsafe {
                        self.put(
                            dst.wrapping_add(6 * r * g.dst_point),
                            g.dst_point,
                            self.three(row_of(&columns, r)),
                        )
                    };
                }
                dst = dst.wrapping_add(g.dst_channel);
            }
        }
    }

    /// # Safety
    /// As for [`stage`].
    #[inline(always)]
    unsafe fn output(self, g: &OutputArgs<T>) {
        let l = self.l;
        let line = SIDE * g.cols * L::N;
        let bias = if g.bias.is_null() {
            self.zero
        } else {
            // SAFETY: the caller's promise.
            unsafe { l.load_n(g.bias, g.channels) }
        };
        let mut src = g.src;
        for row in 0..g.rows {
            for col in 0..g.cols {
                let mut columns = [[self.zero; 4]; 6];
                for c in 0..6 {
                    // SAFETY: the caller's promise; so below.
                    columns[c] = self.to_four(unsafe { self.get(src.wrapping_add(c * g.src_point), 6 * g.src_point) });
                }
                for r in 0..4 {
                    let mut results = self.to_four(row_of(&columns, r));
                    if !g.bias.is_null() {
                        for c in 0..4 {
                            results[c] = self.add(results[c], bias);
                        }
                    }
                    let to = g.strip.wrapping_add(r * line + SIDE * col * L::N);
                    // SAFETY: as above.
                    unsafe { self.put(to, L::N, results) };
                }
                src = src.wrapping_add(g.src_tile);
            }
            for r in 0..SIDE.min(g.lines - SIDE * row) {
                let strip = g.strip.wrapping_add(r * line);
                let to = g.dst.wrapping_offset((SIDE * row + r) as isize * g.row_stride);
                // SAFETY: as above.
                unsafe { turn_out(l, strip, to, g) };
            }
        }
    }

    /// # Safety
    /// As for [`stage`].
    #[inline(always)]
    unsafe fn taps(self, g: &TapsArgs<T>) {
        let l = self.l;
        let mut turned = [T::default(); TAPS * LANES];
        for from in (0..g.channels).step_by(L::N) {
            let mut columns = [[self.zero; 3]; 6];
            for c in 0..6 {
                let at = g.src.wrapping_add(c * g.src_point + from);
                // SAFETY: the caller's promise.
                columns[c] = self.to_three(unsafe { self.get(at, 6 * g.src_point) });
            }
            for r in 0..3 {
                let to = turned.as_mut_ptr().wrapping_add(3 * r * L::N);
                // SAFETY: the buffer holds all taps in all lanes.
                unsafe { self.put(to, L::N, self.to_three(row_of(&columns, r))) };
            }
            let rows = starts(turned.as_ptr(), L::N as isize);
            let whole = TAPS / L::BLOCK * L::BLOCK;
            for lane in (0..L::N.min(g.channels - from)).step_by(L::BLOCK) {
                let count = (g.channels - from - lane).min(L::BLOCK);
                let dst = g.dst.wrapping_add((from + lane) * TAPS);
                for t in (0..whole).step_by(L::BLOCK) {
                    // SAFETY: the caller's promise; a block of taps is no longer than a filter.
                    unsafe { l.transpose(&rows[t..t + L::BLOCK], lane as isize, count, dst.wrapping_add(t), TAPS) };
                }
                for (t, i) in (whole..TAPS).flat_map(|t| (0..count).map(move |i| (t, i))) {
                    // SAFETY: as above.
                    unsafe { *dst.wrapping_add(i * TAPS + t) = turned[t * L::N + lane + i] };
                }
            }
        }
    }
}

/// One line of the strip to the channels' images.
///
/// # Safety
/// As for [`stage`].
#[inline(always)]
unsafe fn turn_out<T: Copy + Default, L: Lanes<T>>(l: L, strip: *const T, to: *mut T, g: &OutputArgs<T>) {
    for lane in (0..g.channels.min(L::N)).step_by(L::BLOCK) {
        let count = (g.channels - lane).min(L::BLOCK);
        let to = to.wrapping_add(lane * g.channel_stride);
        if g.width < L::BLOCK {
            let mut part = [T::default(); LANES * LANES];
            // SAFETY: the caller's promise; the buffer holds a block, and the vector behind each row of it.
            unsafe {
                l.transpose(
                    &starts(strip, L::N as isize)[..g.width],
                    lane as isize,
                    count,
                    part.as_mut_ptr(),
                    L::BLOCK,
                );
                for i in 0..count {
                    let v = l.load_n(part.as_ptr().wrapping_add(i * L::BLOCK), g.width);
                    l.store_n(to.wrapping_add(i * g.channel_stride), v, g.width);
                }
            }
            continue;
        }
        for p in (0..g.width).step_by(L::BLOCK) {
            // Step back rather than write beyond the line.
            let p = p.min(g.width - L::BLOCK);
            // SAFETY: the caller's promise.
            unsafe {
                let rows = starts(strip.wrapping_add(p * L::N), L::N as isize);
                l.transpose(
                    &rows[..L::BLOCK],
                    lane as isize,
                    count,
                    to.wrapping_add(p),
                    g.channel_stride,
                );
            }
        }
    }
}
const _: () = assert!(POINTS == WINDOW * WINDOW);
