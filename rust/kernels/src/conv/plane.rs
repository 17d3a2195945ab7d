//! Convolutions of planes, read where they lie: for groups of one input or one output channel (depthwise ones above
//! all), whose packed patches would be used too seldom to pay. Borders are masks, and nothing is copied.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use crate::simd::vec::Lanes;

/// Most taps per line that a plane's kernel takes.
pub(crate) const MOST_TAPS: usize = 16;

/// Rows `from..to` of output planes: sums over channels and taps in order, then the bias. Several planes have one channel
/// each.
pub(crate) struct PlaneArgs<'a, T> {
    pub planes: usize,
    /// From one output plane to the next, where `src` is one channel further.
    pub weights_plane: usize,
    pub dst_plane: isize,
    /// First channel, its planes and lines; columns are contiguous.
    pub src: *const T,
    pub channel_stride: isize,
    pub channels: usize,
    pub row_stride: isize,
    pub size: [usize; 2],
    /// Element (o, tap) reads line `o * step[0] + lines[tap]`, and columns likewise.
    pub lines: &'a [isize],
    pub cols: &'a [isize],
    pub step: [usize; 2],
    /// `[channel][line][column]`, contiguous.
    pub weights: *const T,
    /// One number for each plane, or null.
    pub bias: *const T,
    pub dst: *mut T,
    pub dst_row: isize,
    pub dst_col: isize,
    pub from: usize,
    pub to: usize,
    pub width: usize,
}

/// Lanes of a vector whose columns `first + lane * step` lie in `0..width`.
#[inline(always)]
pub(super) fn inside(first: isize, step: usize, width: usize, lanes: usize) -> (usize, usize) {
    let from = ((-first).max(0) as usize).div_ceil(step).min(lanes);
    let left = (width as isize - first).max(0) as usize;
    (from, left.div_ceil(step).min(lanes).max(from))
}

/// # Safety
/// All planes and weights lie in live memory; there are at most [`MOST_TAPS`] columns of taps, and columns have step `S`.
#[inline(always)]
pub(crate) unsafe fn plane<T: Copy + Default, L: Lanes<T>, const S: usize>(l: L, g: &PlaneArgs<T>) {
    let follow = |taps: &[isize]| taps.len() == 3 && taps[1] == taps[0] + 1 && taps[2] == taps[1] + 1;
    let three = S == 1 && g.step[0] == 1 && follow(g.lines) && g.cols.len() == 3;
    // The lines for which all taps lie inside.
    let all = inner(g.lines, g.step[0], g.size[0], g.to);
    let height = g.to - g.from;
    let count = match height {
        8.. => 8,
        7 if three => 7,
        4.. => 4,
        _ => 1,
    };
    for at in (0..g.width).step_by(L::N) {
        let mut cols = [Column::<T, L>::new::<1>(l, 0, (0, 0)); MOST_TAPS];
        for (c, &tap) in cols.iter_mut().zip(g.cols) {
            let offset = (at * S) as isize + tap;
            *c = Column::new::<S>(l, offset, inside(offset, S, g.size[1], L::N));
        }
        for index in 0..g.planes {
            let g = &PlaneArgs {
                src: g.src.wrapping_offset(index as isize * g.channel_stride),
                weights: g.weights.wrapping_add(index * g.weights_plane),
                bias: match g.bias.is_null() {
                    true => g.bias,
                    false => g.bias.wrapping_add(index),
                },
                dst: g.dst.wrapping_offset(index as isize * g.dst_plane),
                ..*g
            };
            let mut row = g.from;
            while row < g.to {
                // The last lines are computed in a full block, some of them again.
                row = row.min(g.to - count);
                if at == 0 {
                    fetch(l, g, row, count);
                }
                // SAFETY: the caller's promise.
                unsafe {
                    match (count, three, row >= all.start && row + count <= all.end) {
                        (8, true, _) => three_rows::<T, L, 8>(l, g, &cols, row, at),
                        (7, true, _) => three_rows::<T, L, 7>(l, g, &cols, row, at),
                        (8, false, true) => rows::<T, L, 8, S, true>(l, g, &cols, row, at),
                        (8, false, false) => rows::<T, L, 8, S, false>(l, g, &cols, row, at),
                        (4, true, _) => three_rows::<T, L, 4>(l, g, &cols, row, at),
                        (4, false, _) => rows::<T, L, 4, S, false>(l, g, &cols, row, at),
                        _ => rows::<T, L, 1, S, false>(l, g, &cols, row, at),
                    }
                }
                row += count;
            }
        }
    }
}

/// The next plane's lines, which the hardware does not expect, are fetched meanwhile.
#[inline(always)]
fn fetch<T, L: Lanes<T>>(l: L, g: &PlaneArgs<T>, row: usize, count: usize) {
    let src = g.src.wrapping_offset(g.channels as isize * g.channel_stride);
    for line in row * g.step[0]..((row + count) * g.step[0]).min(g.size[0]) {
        let src = src.wrapping_offset(line as isize * g.row_stride);
        (0..g.size[1])
            .step_by(64 / size_of::<T>())
            .for_each(|c| l.prefetch(src.wrapping_add(c)));
    }
    if g.dst_col == 1 {
        let dst = g.dst.wrapping_offset((row + g.to) as isize * g.dst_row).cast_const();
        let all = count * g.dst_row.unsigned_abs();
        (0..all)
            .step_by(64 / size_of::<T>())
            .for_each(|c| l.prefetch(dst.wrapping_add(c)));
    }
}

/// The positions, up to `end`, for which all taps lie inside `0..size`.
#[inline(always)]
fn inner(taps: &[isize], step: usize, size: usize, end: usize) -> std::ops::Range<usize> {
    let (least, most) = taps.iter().fold((0, 0), |(a, b), &v| (v.min(a), v.max(b)));
    let low = ((-least) as usize).div_ceil(step);
    let high = (size as isize - most).max(0) as usize;
    let high = high.div_ceil(step).min(end);
    low.min(high)..high
}

/// A tap's column at one vector: where the vector would begin, and which of its lanes lie inside the plane.
pub(super) struct Column<T, L: Lanes<T>> {
    offset: isize,
    mask: L::Mask,
    even: L::Even,
}
impl<T, L: Lanes<T>> Clone for Column<T, L> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}
impl<T, L: Lanes<T>> Copy for Column<T, L> {}

impl<T, L: Lanes<T>> Column<T, L> {
    #[inline(always)]
    pub fn new<const S: usize>(l: L, offset: isize, (from, to): (usize, usize)) -> Self {
        // Of the two, the one that loads with this step; the other is a constant that nobody keeps.
        let (near, apart) = if S == 2 {
            ((0, 0), (from, to))
        } else {
            ((from, to), (0, 0))
        };
        Self {
            offset,
            mask: l.mask(near.0, near.1),
            even: l.even(apart.0, apart.1),
        }
    }

    /// The vector of the line at `p`.
    ///
    /// # Safety
    /// The line lies in live memory unless `known` is false.
    #[inline(always)]
    pub unsafe fn load<const S: usize>(&self, l: L, line: *const T, known: bool) -> L::V
    where
        T: Copy + Default,
    {
        let p = line.wrapping_offset(self.offset);
        // SAFETY: the caller's promise; masks leave out what lies outside.
        unsafe {
            if S == 2 {
                l.load_even(p, if known { self.even } else { l.even(0, 0) })
            } else {
                let zero = l.splat(T::default());
                l.load_more(zero, p, if known { self.mask } else { l.mask(0, 0) })
            }
        }
    }
}

/// One vector of `R` output lines.
///
/// # Safety
/// As for `plane`.
#[inline(always)]
unsafe fn rows<T: Copy + Default, L: Lanes<T>, const R: usize, const S: usize, const ALL: bool>(
    l: L,
    g: &PlaneArgs<T>,
    cols: &[Column<T, L>; MOST_TAPS],
    row: usize,
    at: usize,
) {
    let zero = l.splat(T::default());
    let mut sums = [zero; R];
    let (mut channel, mut w) = (g.src, g.weights);
    for _ in 0..g.channels {
        for &tap in g.lines {
            let mut lines = [channel; R];
            let mut known = [false; R];
            for r in 0..R {
                let line = ((row + r) * g.step[0]) as isize + tap;
                known[r] = ALL || (line >= 0 && line < g.size[0] as isize);
                lines[r] = channel.wrapping_offset(line * g.row_stride);
            }
            for c in &cols[..g.cols.len()] {
                // SAFETY: the caller's promise.
                unsafe {
                    let by = l.splat(*w);
                    for r in 0..R {
                        sums[r] = l.fma(by, c.load::<S>(l, lines[r], known[r]), sums[r]);
                    }
                }
                w = w.wrapping_add(1);
            }
        }
        channel = channel.wrapping_offset(g.channel_stride);
    }
    // SAFETY: the caller's promise.
    unsafe { finish(l, g, sums, row, at) };
}

/// [`rows`] for three by three taps whose lines follow each other: what is loaded serves three lines.
///
/// # Safety
/// As for `plane`.
#[inline(always)]
unsafe fn three_rows<T: Copy + Default, L: Lanes<T>, const R: usize>(
    l: L,
    g: &PlaneArgs<T>,
    cols: &[Column<T, L>; MOST_TAPS],
    row: usize,
    at: usize,
) {
    let zero = l.splat(T::default());
    let mut sums = [zero; R];
    let (mut channel, mut w) = (g.src, g.weights);
    for _ in 0..g.channels {
        let mut by = [zero; 9];
        for t in 0..9 {
            // SAFETY: the caller's promise.
            by[t] = l.splat(unsafe { *w.add(t) });
        }
        for i in 0..R + 2 {
            let line = (row + i) as isize + g.lines[0];
            if line < 0 || line >= g.size[0] as isize {
                continue;
            }
            let from = channel.wrapping_offset(line * g.row_stride);
            for c in 0..3 {
                // SAFETY: the caller's promise.
                let x = unsafe { cols[c].load::<1>(l, from, true) };
                for r in 0..R {
                    if i >= r && i < r + 3 {
                        sums[r] = l.fma(by[3 * (i - r) + c], x, sums[r]);
                    }
                }
            }
        }
        w = w.wrapping_add(9);
        channel = channel.wrapping_offset(g.channel_stride);
    }
    // SAFETY: the caller's promise.
    unsafe { finish(l, g, sums, row, at) };
}

/// Adds the bias and stores.
///
/// # Safety
/// As for `plane`.
#[inline(always)]
unsafe fn finish<T: Copy + Default, L: Lanes<T>, const R: usize>(
    l: L,
    g: &PlaneArgs<T>,
    mut sums: [L::V; R],
    row: usize,
    at: usize,
) {
    if !g.bias.is_null() {
        for r in 0..R {
            // SAFETY: the caller's promise.
            sums[r] = l.add(sums[r], l.splat(unsafe { *g.bias }));
        }
    }
    let left = (g.width - at).min(L::N);
    let mut to = g
        .dst
        .wrapping_offset(row as isize * g.dst_row + at as isize * g.dst_col);
    let even = l.even(0, left);
    for r in 0..R {
        // What a full vector writes behind a line belongs to lines that are written later.
        let room = g.width < L::N && g.dst_row == g.width as isize && (g.to - row - r) * g.width >= L::N;
        // SAFETY: the caller's promise; the array holds any vector.
        unsafe {
            match g.dst_col {
                1 if left == L::N || room => l.store(to, sums[r]),
                1 => l.store_n(to, sums[r], left),
                2 => l.store_even(to, sums[r], even),
                _ => {
                    let mut lanes = [T::default(); 16];
                    l.store(lanes.as_mut_ptr(), sums[r]);
                    scatter(&lanes[..left], to, g.dst_col);
                }
            }
        }
        to = to.wrapping_offset(g.dst_row);
    }
}

/// Stores values `step` apart. Kept out of line: inlined, its loop's set-up would be done for every vector.
///
/// # Safety
/// The elements lie in live memory.
#[cold]
#[inline(never)]
unsafe fn scatter<T: Copy>(values: &[T], to: *mut T, step: isize) {
    for (i, &v) in values.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { *to.wrapping_offset(i as isize * step) = v };
    }
}

/// Taps that one pass of [`correlate`] sums, and most planes of gradients: with the longest vectors and many taps, and with
/// others.
const TAPS: usize = 9;
pub(crate) const GRADIENTS: [usize; 2] = [3, 2];

/// Sums of the products of gradient planes with one image plane, shifted by each tap, over some images.
pub(crate) struct CorrelateArgs<'a, T> {
    pub images: usize,
    pub x: *const T,
    pub x_image: isize,
    pub x_row: isize,
    pub x_size: [usize; 2],
    /// As many planes of `grid` as the kernel takes.
    pub gy: *const T,
    pub gy_image: isize,
    pub gy_channel: isize,
    pub gy_row: isize,
    pub grid: [usize; 2],
    pub step: [usize; 2],
    pub lines: &'a [isize],
    pub cols: &'a [isize],
    /// A row of sums, one per tap, for each gradient plane.
    pub sums: *mut T,
    pub sums_row: usize,
}

/// Each sum has as many virtual lanes as fit 64 bytes: column c of a line is added in lane c mod lanes. Blocks of columns
/// follow each other, then images, then lines; the lanes are joined in halves.
///
/// # Safety
/// All planes and sums lie in live memory; columns have step `S`.
#[inline(always)]
pub(crate) unsafe fn correlate<T, L: Lanes<T>, const M: usize, const S: usize>(l: L, g: &CorrelateArgs<T>)
where
    T: Copy + Default + std::ops::Add<Output = T>,
{
    let lanes = 64 / size_of::<T>();
    let vectors = lanes / L::N;
    let zero = l.splat(T::default());
    let all = g.lines.len() * g.cols.len();
    for first in (0..all).step_by(TAPS) {
        let count = TAPS.min(all - first);
        // Taps that are missing repeat the last one; their sums are not stored.
        let tap = |t: usize| first + t.min(count - 1);
        let lines: [isize; TAPS] = std::array::from_fn(|t| g.lines[tap(t) / g.cols.len()]);
        let all = inner(&lines, g.step[0], g.x_size[0], g.grid[0]);
        let mut acc = [[[zero; TAPS]; M]; 16];
        for at in (0..g.grid[1]).step_by(lanes) {
            for v in 0..vectors {
                let left = (g.grid[1] - at).saturating_sub(v * L::N);
                let mut cols = [Column::<T, L>::new::<1>(l, 0, (0, 0)); TAPS];
                for t in 0..TAPS {
                    let offset = ((at + v * L::N) * S) as isize + g.cols[tap(t) % g.cols.len()];
                    let (from, to) = inside(offset, S, g.x_size[1], L::N);
                    // Columns past the end of the gradient's line are of no use.
                    cols[t] = Column::new::<S>(l, offset, (from, to.min(left).max(from)));
                }
                let block = Block {
                    lines,
                    cols,
                    at: at + v * L::N,
                    left,
                };
                for image in 0..g.images as isize {
                    // SAFETY: the caller's promise.
                    unsafe {
                        correlate_rows::<T, L, M, S, false>(l, g, &block, image, 0..all.start, &mut acc[v]);
                        correlate_rows::<T, L, M, S, true>(l, g, &block, image, all.clone(), &mut acc[v]);
                        correlate_rows::<T, L, M, S, false>(l, g, &block, image, all.end..g.grid[0], &mut acc[v]);
                    }
                }
            }
        }
        for m in 0..M {
            for t in 0..count {
                let mut sums = [T::default(); 16];
                for v in 0..vectors {
                    // SAFETY: the vectors fill at most the array.
                    unsafe { l.store(sums.as_mut_ptr().add(v * L::N), acc[v][m][t]) };
                }
                let mut half = lanes / 2;
                while half > 0 {
                    for i in 0..half {
                        sums[i] = sums[i] + sums[i + half];
                    }
                    half /= 2;
                }
                // SAFETY: one sum per plane and tap.
                unsafe { *g.sums.add(m * g.sums_row + first + t) = sums[0] };
            }
        }
    }
}

/// Some taps at one vector of columns.
struct Block<T, L: Lanes<T>> {
    lines: [isize; TAPS],
    cols: [Column<T, L>; TAPS],
    at: usize,
    left: usize,
}

/// Adds the products of some of the gradient's lines; for `ALL` all taps lie inside.
///
/// # Safety
/// As for `correlate`.
#[inline(always)]
unsafe fn correlate_rows<T: Copy + Default, L: Lanes<T>, const M: usize, const S: usize, const ALL: bool>(
    l: L,
    g: &CorrelateArgs<T>,
    block: &Block<T, L>,
    image: isize,
    rows: std::ops::Range<usize>,
    sums: &mut [[L::V; TAPS]; M],
) {
    let mut acc = *sums;
    let (first, step) = ((rows.start * g.step[0]) as isize, g.step[0] as isize * g.x_row);
    let x = g.x.wrapping_offset(image * g.x_image + first * g.x_row);
    let starts: [*const T; TAPS] = std::array::from_fn(|t| x.wrapping_offset(block.lines[t] * g.x_row));
    let mut gy =
        g.gy.wrapping_offset(image * g.gy_image + rows.start as isize * g.gy_row + block.at as isize);
    let mut offset = 0;
    for row in rows {
        // SAFETY: the caller's promise.
        unsafe {
            let mut y = [l.splat(T::default()); M];
            for m in 0..M {
                y[m] = l.load_n(gy.wrapping_offset(m as isize * g.gy_channel), block.left);
            }
            for t in 0..TAPS {
                let line = (row * g.step[0]) as isize + block.lines[t];
                let known = ALL || (line >= 0 && line < g.x_size[0] as isize);
                let x = block.cols[t].load::<S>(l, starts[t].wrapping_offset(offset), known);
                for m in 0..M {
                    acc[m][t] = l.fma(y[m], x, acc[m][t]);
                }
            }
        }
        gy = gy.wrapping_offset(g.gy_row);
        offset += step;
    }
    *sums = acc;
}
