//! The transforms of minimal filtering, a vector of channels at a time: what surrounds the arithmetic of [`super::forms`].
//!
//! Images hold their channels apart; a strip of an image is first turned so that the channels lie side by side. Then every
//! lane is a channel, whatever the image's width, and no transform meets a border.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use super::across::{AcrossArgs, ColumnsArgs};
use super::forms::{
    Doubling, Doubling4, Filter, Five, Form, Forms, Four, Halving, HalvingBack, Near, One, Results, Two,
};
use super::forms::{TwoBack, Window};
use crate::simd::Aligned;
use crate::simd::cache::first_is_small;
use crate::simd::vec::Lanes;

/// Most taps of a filter.
const MOST: usize = 25;
/// Most lanes of a vector.
const LANES: usize = 16;
/// Filters turned at once.
const SOME: usize = 8;
/// Filters that are fetched ahead, where they lie far apart.
const FILTERS_AHEAD: isize = 4;
/// Bytes of the sums at a point that are fetched ahead: the points are more streams than the hardware follows.
const SUMS_AHEAD: usize = 256;

/// The steps, each for a vector of channels.
pub(crate) struct Steps<T> {
    pub window: unsafe fn(&WindowArgs<T>),
    pub filter: unsafe fn(&FilterArgs<T>),
    pub output: unsafe fn(&OutputArgs<T>),
    pub taps: unsafe fn(&TapsArgs<T>),
    pub columns: unsafe fn(&ColumnsArgs<T>),
    pub across: unsafe fn(&AcrossArgs<T>),
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
    pub form: Forms,
    /// Tiles of results that are themselves the filters, else windows.
    pub filters: bool,
    /// How far what is needed next lies from what is read: it is fetched meanwhile. Zero for nothing.
    pub ahead: isize,
    pub dst: *mut T,
    pub dst_tile: usize,
    pub dst_point: usize,
    /// Room for the turned strip: see [`strip`].
    pub strip: *mut T,
}

/// Filters, an output channel per lane, to their points.
pub(crate) struct FilterArgs<T> {
    pub form: Forms,
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
    pub form: Forms,
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

/// Sums at the points to the gradients of one channel's filters.
pub(crate) struct TapsArgs<T> {
    pub form: Forms,
    pub src: *const T,
    pub src_point: usize,
    pub channels: usize,
    pub dst: *mut T,
    pub dst_channel: usize,
}

/// Elements of the strip for this many tiles.
pub(super) fn strip(form: Forms, tiles: usize) -> usize {
    let [high, wide] = form.0.map(|f| f.window()[0].max(f.side()));
    tiles * high * wide * LANES
}

/// A step with the transforms down and across, and the sizes that it takes.
macro_rules! with {
    ($c:ident.$step:ident($g:ident), $d:ident $a:ident, $from:ident $to:ident) => {
        $c.$step::<$d, $a, { $d::$from }, { $d::$to }, { $a::$from }, { $a::$to }>($g)
    };
}

/// A step with those of the form that is asked for; of no other is there a plan.
macro_rules! of_form {
    ($c:ident.$step:ident($g:ident), $from:ident $to:ident: $($d:ident $a:ident),*) => {
        match $g.form.0 {
            $([Form::$d, Form::$a] => with!($c.$step($g), $d $a, $from $to),)*
            _ => {}
        }
    };
    ($c:ident.$step:ident($g:ident), $from:ident $to:ident) => {
        of_form!($c.$step($g), $from $to: Two Two, Near Near, Four Four, Five Five, Halving Halving, Doubling Doubling,
            Doubling4 Doubling4, One Near, Near One, One Four, Four One, One Five, Five One)
    };
}

/// The same of the gradient of the filter, whose transforms are mostly those with as many taps as there are results.
macro_rules! of_gradient {
    ($c:ident.$step:ident($g:ident), $from:ident $to:ident: $($d:ident $a:ident is $down:ident $across:ident),*) => {
        match $g.form.0 {
            $([Form::$d, Form::$a] => with!($c.$step($g), $down $across, $from $to),)*
            _ => {}
        }
    };
    ($c:ident.$step:ident($g:ident), $from:ident $to:ident) => {
        of_gradient!($c.$step($g), $from $to: Two Two is TwoBack TwoBack, Near Near is Four Four,
            Four Four is Near Near, Halving Halving is HalvingBack HalvingBack, One Near is One Four,
            Near One is Four One, One Four is One Near, Four One is Near One)
    };
}

/// A step for arguments that lie in live memory. Numbers wider than float32 are never asked for, and need no code.
macro_rules! step {
    ($step:ident($g:ident: $args:ident), $c:ident, $l:ident => $body:expr) => {
        /// # Safety
        /// What the arguments describe lies in live memory.
        #[inline(always)]
        pub(crate) unsafe fn $step<T: Copy + Default + From<f32>, L: Lanes<T>>($l: L, $g: &$args<T>) {
            if size_of::<T>() == 4 {
                let $c = Math::new($l);
                // SAFETY: the caller's promise.
                unsafe { $body }
            }
        }
    };
}
step!(window(g: WindowArgs), c, l => {
    turn_in(l, g);
    if g.filters {
        of_gradient!(c.filters(g), K Q)
    } else {
        of_form!(c.windows(g), W P)
    }
});
step!(filter(g: FilterArgs), c, l => of_form!(c.filter(g), K Q));
step!(output(g: OutputArgs), c, l => of_form!(c.output(g), P O));
step!(taps(g: TapsArgs), c, l => of_gradient!(c.taps(g), P O));
step!(columns(g: ColumnsArgs), c, l => c.columns(g));
step!(across(g: AcrossArgs), c, l => c.across(g));

/// The strip: `[line][column][lane]`, with zeros outside the image and for lanes without a channel.
///
/// # Safety
/// As for [`window`].
#[inline(always)]
unsafe fn turn_in<T: Copy + Default, L: Lanes<T>>(l: L, g: &WindowArgs<T>) {
    let [down, across] = g.form.0.map(|f| if g.filters { [f.side(); 2] } else { f.window() });
    let all = |[window, step]: [usize; 2], tiles: usize| step * tiles + window - step;
    let (lines, width) = (all(down, g.rows), all(across, g.cols));
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
                if g.ahead != 0 && (p - from).is_multiple_of(64 / size_of::<T>()) {
                    for row in &rows[..count] {
                        l.prefetch_far(row.wrapping_offset(p as isize + g.ahead));
                    }
                }
                let dst = dst.wrapping_add(p * L::N + lane);
                // SAFETY: the caller's promise; only columns inside are read.
                unsafe { l.transpose(&rows[..count], p as isize, to - p, dst, L::N) };
            }
        }
    }
}

/// Addresses at one distance.
#[inline(always)]
pub(super) fn starts<T>(first: *const T, step: isize) -> [*const T; LANES] {
    let mut all = [first; LANES];
    for i in 0..LANES {
        all[i] = first.wrapping_offset(i as isize * step);
    }
    all
}

#[inline(always)]
pub(super) fn row_of<V: Copy, const R: usize, const C: usize>(columns: &[[V; R]; C], r: usize) -> [V; C] {
    let mut row = [columns[0][r]; C];
    for c in 0..C {
        row[c] = columns[c][r];
    }
    row
}

/// The arithmetic of the transforms.
#[derive(Clone, Copy)]
pub(super) struct Math<T, L: Lanes<T>> {
    pub l: L,
    pub zero: L::V,
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
    pub fn more(self, c: L::V, a: L::V, factor: f32) -> L::V {
        self.l.fma(a, self.l.splat(T::from(factor)), c)
    }

    #[inline(always)]
    pub fn times(self, a: L::V, factor: f32) -> L::V {
        self.more(self.zero, a, factor)
    }

    #[inline(always)]
    pub fn sub(self, a: L::V, b: L::V) -> L::V {
        self.l.fma(b, self.minus, a)
    }

    #[inline(always)]
    pub fn add(self, a: L::V, b: L::V) -> L::V {
        self.l.add(a, b)
    }

    /// # Safety
    /// As for [`window`].
    #[inline(always)]
    pub unsafe fn get<const N: usize>(self, from: *const T, step: usize) -> [L::V; N] {
        let mut all = [self.zero; N];
        for i in 0..N {
            // SAFETY: the caller's promise.
            all[i] = unsafe { self.l.load(from.wrapping_add(i * step)) };
        }
        all
    }

    /// # Safety
    /// As for [`window`].
    #[inline(always)]
    pub unsafe fn put<const N: usize>(self, to: *mut T, step: usize, all: [L::V; N]) {
        for i in 0..N {
            // SAFETY: the caller's promise.
            unsafe { self.l.store(to.wrapping_add(i * step), all[i]) };
        }
    }

    /// # Safety
    /// As for [`window`].
    #[inline(always)]
    unsafe fn windows<D, A, const WD: usize, const PD: usize, const WA: usize, const PA: usize>(self, g: &WindowArgs<T>)
    where
        D: Window<T, L, WD, PD>,
        A: Window<T, L, WA, PA>,
    {
        let line = (A::STEP * g.cols + WA - A::STEP) * L::N;
        let mut dst = g.dst;
        for row in 0..g.rows {
            let strip = g.strip.wrapping_add(D::STEP * row * line);
            let mut columns = [[self.zero; PD]; WA];
            for c in 0..WA - A::STEP {
                // SAFETY: the caller's promise; so below.
                columns[c] = D::window(self, unsafe { self.get(strip.wrapping_add(c * L::N), line) });
            }
            for col in 0..g.cols {
                for c in WA - A::STEP..WA {
                    let at = strip.wrapping_add((A::STEP * col + c) * L::N);
                    // SAFETY: as above.
                    columns[c] = D::window(self, unsafe { self.get(at, line) });
                }
                for r in 0..PD {
                    let to = dst.wrapping_add(PA * r * g.dst_point);
                    // SAFETY: as above.
                    unsafe { self.put(to, g.dst_point, A::window(self, row_of(&columns, r))) };
                }
                // Neighbours share columns.
                for c in 0..WA - A::STEP {
                    columns[c] = columns[A::STEP + c];
                }
                dst = dst.wrapping_add(g.dst_tile);
            }
        }
    }

    /// # Safety
    /// As for [`window`].
    #[inline(always)]
    unsafe fn filters<D, A, const KD: usize, const QD: usize, const KA: usize, const QA: usize>(self, g: &WindowArgs<T>)
    where
        D: Filter<T, L, KD, QD>,
        A: Filter<T, L, KA, QA>,
    {
        let line = KA * g.cols * L::N;
        let mut dst = g.dst;
        for (row, col) in (0..g.rows * g.cols).map(|i| (i / g.cols, i % g.cols)) {
            let at = g.strip.wrapping_add(KD * row * line + KA * col * L::N);
            let mut columns = [[self.zero; QD]; KA];
            for c in 0..KA {
                // SAFETY: the caller's promise; so below.
                columns[c] = D::filter(self, unsafe { self.get(at.wrapping_add(c * L::N), line) });
            }
            for r in 0..QD {
                // SAFETY: as above.
                unsafe {
                    self.put(
                        dst.wrapping_add(QA * r * g.dst_point),
                        g.dst_point,
                        A::filter(self, row_of(&columns, r)),
                    )
                };
            }
            dst = dst.wrapping_add(g.dst_tile);
        }
    }

    /// # Safety
    /// As for [`window`].
    #[inline(always)]
    unsafe fn filter<D, A, const KD: usize, const QD: usize, const KA: usize, const QA: usize>(self, g: &FilterArgs<T>)
    where
        D: Filter<T, L, KD, QD>,
        A: Filter<T, L, KA, QA>,
    {
        let l = self.l;
        let taps = KD * KA;
        let fetch = first_is_small();
        let mut turned = Aligned([T::default(); SOME * MOST * LANES]);
        let some = if g.channel_stride == taps as isize { SOME } else { 1 };
        let mut dst = g.dst;
        for from in (0..g.channels).step_by(some) {
            let count = some.min(g.channels - from);
            let src = g.src.wrapping_offset(from as isize * g.channel_stride);
            if fetch {
                fetch_filters(l, g, src, some * taps);
            }
            for lane in (0..L::N).step_by(L::BLOCK) {
                let lanes = g.lanes.saturating_sub(lane).min(L::BLOCK);
                let rows = starts(src.wrapping_offset(lane as isize * g.lane_stride), g.lane_stride);
                for t in (0..count * taps).step_by(L::BLOCK) {
                    let to = turned.as_mut_ptr().wrapping_add(t * L::N + lane);
                    // SAFETY: the caller's promise; the buffer holds all taps of `some` filters in all lanes.
                    unsafe { l.transpose(&rows[..lanes], t as isize, count * taps - t, to, L::N) };
                }
            }
            for c in 0..count {
                let filter = turned.as_ptr().wrapping_add(c * taps * L::N);
                let mut columns = [[self.zero; QD]; KA];
                for c in 0..KA {
                    let mut line = [self.zero; KD];
                    for r in 0..KD {
                        let t = if g.reversed {
                            taps - 1 - (KA * r + c)
                        } else {
                            KA * r + c
                        };
                        // SAFETY: as above.
                        line[r] = unsafe { l.load(filter.wrapping_add(t * L::N)) };
                    }
                    columns[c] = D::filter(self, line);
                }
                for r in 0..QD {
                    let to = dst.wrapping_add(QA * r * g.dst_point);
                    // SAFETY: the caller's promise.
                    unsafe { self.put(to, g.dst_point, A::filter(self, row_of(&columns, r))) };
                }
                dst = dst.wrapping_add(g.dst_channel);
            }
        }
    }

    /// # Safety
    /// As for [`window`].
    #[inline(always)]
    unsafe fn output<D, A, const PD: usize, const OD: usize, const PA: usize, const OA: usize>(self, g: &OutputArgs<T>)
    where
        D: Results<T, L, PD, OD>,
        A: Results<T, L, PA, OA>,
    {
        let l = self.l;
        let line = OA * g.cols * L::N;
        let bias = if g.bias.is_null() {
            self.zero
        } else {
            // SAFETY: the caller's promise.
            unsafe { l.load_n(g.bias, g.channels) }
        };
        let mut src = g.src;
        // Cache lines across a line of tiles in a channel; none are asked for with a larger first-level cache.
        let lane_line = 64 / size_of::<T>();
        let wide = if first_is_small() {
            (OA * g.cols).div_ceil(lane_line)
        } else {
            0
        };
        for row in 0..g.rows {
            let to = g.dst.wrapping_offset((OD * row) as isize * g.row_stride);
            for col in 0..g.cols {
                // They are asked for early, some with each tile: it takes a while until they may be written.
                for piece in col * OD * wide / g.cols..(col + 1) * OD * wide / g.cols {
                    let to = to.wrapping_offset((piece % OD) as isize * g.row_stride);
                    let to = to.wrapping_add(piece / OD * lane_line);
                    for c in 0..g.channels.min(L::N) {
                        l.prefetch_write(to.wrapping_add(c * g.channel_stride));
                    }
                }
                let mut columns = [[self.zero; OD]; PA];
                for c in 0..PA {
                    let at = src.wrapping_add(c * g.src_point);
                    // SAFETY: the caller's promise; so below.
                    columns[c] = D::results(self, unsafe { self.get(at, PA * g.src_point) });
                }
                for r in 0..OD {
                    let mut results = A::results(self, row_of(&columns, r));
                    if !g.bias.is_null() {
                        for c in 0..OA {
                            results[c] = self.add(results[c], bias);
                        }
                    }
                    let to = g.strip.wrapping_add(r * line + OA * col * L::N);
                    // SAFETY: as above.
                    unsafe { self.put(to, L::N, results) };
                }
                src = src.wrapping_add(g.src_tile);
            }
            for r in 0..OD.min(g.lines - OD * row) {
                let strip = g.strip.wrapping_add(r * line);
                let to = g.dst.wrapping_offset((OD * row + r) as isize * g.row_stride);
                // SAFETY: as above.
                unsafe { turn_out(l, strip, to, g) };
            }
        }
    }

    /// # Safety
    /// As for [`window`].
    #[inline(always)]
    unsafe fn taps<D, A, const PD: usize, const OD: usize, const PA: usize, const OA: usize>(self, g: &TapsArgs<T>)
    where
        D: Results<T, L, PD, OD>,
        A: Results<T, L, PA, OA>,
    {
        let l = self.l;
        let fetch = first_is_small();
        let mut turned = Aligned([T::default(); MOST * LANES]);
        for from in (0..g.channels).step_by(L::N) {
            let mut columns = [[self.zero; OD]; PA];
            for c in 0..PA {
                let at = g.src.wrapping_add(c * g.src_point + from);
                for r in 0..if fetch { PD } else { 0 } {
                    l.prefetch(at.wrapping_add(PA * r * g.src_point + SUMS_AHEAD / size_of::<T>()));
                }
                // SAFETY: the caller's promise.
                columns[c] = D::results(self, unsafe { self.get(at, PA * g.src_point) });
            }
            for r in 0..OD {
                let to = turned.as_mut_ptr().wrapping_add(OA * r * L::N);
                // SAFETY: the buffer holds all taps in all lanes.
                unsafe { self.put(to, L::N, A::results(self, row_of(&columns, r))) };
            }
            let (all, whole) = (OD * OA, OD * OA / L::BLOCK * L::BLOCK);
            for lane in (0..L::N.min(g.channels - from)).step_by(L::BLOCK) {
                let count = (g.channels - from - lane).min(L::BLOCK);
                let dst = g.dst.wrapping_add((from + lane) * g.dst_channel);
                for t in (0..whole).step_by(L::BLOCK) {
                    let rows = starts(turned.as_ptr().wrapping_add(t * L::N), L::N as isize);
                    // SAFETY: the caller's promise; a block of taps is no longer than a filter.
                    unsafe {
                        l.transpose(
                            &rows[..L::BLOCK],
                            lane as isize,
                            count,
                            dst.wrapping_add(t),
                            g.dst_channel,
                        )
                    };
                }
                for (t, i) in (whole..all).flat_map(|t| (0..count).map(move |i| (t, i))) {
                    // SAFETY: as above.
                    unsafe { *dst.wrapping_add(i * g.dst_channel + t) = turned[t * L::N + lane + i] };
                }
            }
        }
    }
}

/// Asks for filters that come after those at `src`, `len` taps of each lane.
#[inline(always)]
fn fetch_filters<T: Copy, L: Lanes<T>>(l: L, g: &FilterArgs<T>, src: *const T, len: usize) {
    let line = 64 / size_of::<T>();
    // Lanes next to each other are one piece of memory for each channel.
    let (pieces, len, from) = match g.lane_stride.unsigned_abs() <= len {
        true => (1, g.lanes * len, src.wrapping_offset(FILTERS_AHEAD * g.channel_stride)),
        false => (g.lanes, len, src.wrapping_add(len)),
    };
    for piece in 0..pieces.min(L::N) {
        let from = from.wrapping_offset(piece as isize * g.lane_stride);
        for at in (0..len + line - 1).step_by(line) {
            l.prefetch(from.wrapping_add(at));
        }
    }
}

/// One line of the strip to the channels' images.
///
/// # Safety
/// As for [`window`].
#[inline(always)]
unsafe fn turn_out<T: Copy + Default, L: Lanes<T>>(l: L, strip: *const T, to: *mut T, g: &OutputArgs<T>) {
    for lane in (0..g.channels.min(L::N)).step_by(L::BLOCK) {
        let count = (g.channels - lane).min(L::BLOCK);
        let to = to.wrapping_add(lane * g.channel_stride);
        if g.width < L::BLOCK {
            let mut part = Aligned([T::default(); LANES * LANES]);
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
