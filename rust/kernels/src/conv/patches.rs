//! Packing patches of an image straight into the panels of a matrix product, so that no matrix of patches exists.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use crate::simd::vec::{Every, Lanes};
use std::ops::Range;

/// A run of positions that lie one after another in the (prepared) image.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub offset: isize,
    pub len: usize,
}

/// Panel whose k rows are (channel, tap) pairs and whose columns are positions.
pub(crate) struct PatchArgs<'a, T> {
    /// First channel of the image.
    pub image: *const T,
    pub channel_stride: isize,
    /// Offset of each tap of the kernel window.
    pub taps: &'a [isize],
    /// Rows `first..first + k`, counted as `channel * taps + tap`.
    pub first: usize,
    pub k: usize,
    /// The panel's columns; at most `width` in all.
    pub runs: &'a [Run],
    pub width: usize,
    pub dst: *mut T,
}

/// # Safety
/// All positions lie in live memory; `dst` has `k * width` elements.
#[inline(always)]
pub(crate) unsafe fn pack_patches<T: Copy + Default, L: Lanes<T>>(l: L, g: &PatchArgs<T>) {
    // SAFETY: the caller's promise.
    unsafe {
        match (g.width / L::N, most_pieces(g.runs, L::N)) {
            (1, 0..=1) => pack_rows::<T, L, 1, 1>(l, g),
            (1, 2) => pack_rows::<T, L, 1, 2>(l, g),
            (1, 3..=4) => pack_rows::<T, L, 1, 4>(l, g),
            (2, 0..=1) => pack_rows::<T, L, 2, 1>(l, g),
            (2, 2) => pack_rows::<T, L, 2, 2>(l, g),
            (2, 3..=4) => pack_rows::<T, L, 2, 4>(l, g),
            _ => pack_runs(l, g),
        }
    }
}

/// Most runs that have a part in one vector.
#[inline(always)]
fn most_pieces(runs: &[Run], lanes: usize) -> usize {
    let (mut most, mut now, mut at) = (0, 0, 0);
    for run in runs {
        now = if at % lanes == 0 { 1 } else { now + 1 };
        most = most.max(now);
        at += run.len;
        // A run that reaches into a further vector is the first there.
        now = if (at - run.len) / lanes == at / lanes { now } else { 1 };
    }
    most
}

/// [`pack_patches`] where a row of the panel has `V` vectors and a vector has parts of at most `P` runs: each vector is
/// put together from masked loads.
///
/// # Safety
/// As for `pack_patches`.
#[inline(always)]
unsafe fn pack_rows<T: Copy + Default, L: Lanes<T>, const V: usize, const P: usize>(l: L, g: &PatchArgs<T>) {
    // A part that is not used is read, too, of no lanes; where there is no memory that takes the processor microseconds.
    let somewhere = g.runs.first().map_or(0, |run| run.offset);
    let mut pieces = [[(somewhere, l.mask(0, 0)); P]; V];
    let mut used = [0; V];
    let mut at = 0;
    for run in g.runs {
        let end = at + run.len;
        for v in at / L::N..end.div_ceil(L::N).min(V) {
            let (from, to) = (at.saturating_sub(v * L::N), (end - v * L::N).min(L::N));
            // Where the vector would begin if all of it came from this run.
            let offset = run.offset + (v * L::N) as isize - at as isize;
            pieces[v][used[v]] = (offset, l.mask(from, to));
            used[v] += 1;
        }
        at = end;
    }
    // Copied place by place, so that offsets and masks are registers, not memory.
    let mut held = [[(0isize, l.mask(0, 0)); P]; V];
    for v in 0..V {
        for p in 0..P {
            held[v][p] = pieces[v][p];
        }
    }
    each_row(g, move |base, row| {
        for v in 0..V {
            let mut all = l.splat(T::default());
            for p in 0..P {
                let (offset, mask) = held[v][p];
                // SAFETY: the caller's promise.
                all = unsafe { l.load_more(all, base.wrapping_offset(offset), mask) };
            }
            // SAFETY: as above.
            unsafe { l.store(row.wrapping_add(v * L::N), all) };
        }
    });
}

/// [`pack_patches`] for any runs, one after another.
///
/// # Safety
/// As for `pack_patches`.
#[inline(always)]
unsafe fn pack_runs<T: Copy, L: Lanes<T>>(l: L, g: &PatchArgs<T>) {
    let mut room = g.k * g.width;
    each_row(g, |base, mut row| {
        let mut left = room;
        room -= g.width;
        for run in g.runs {
            let src = base.wrapping_offset(run.offset);
            let mut at = 0;
            while at < run.len {
                // SAFETY: the caller's promise. What the last vector writes too much is written again, by the next run
                // or by the next row.
                unsafe {
                    l.store_n(
                        row.wrapping_add(at),
                        l.load_n(src.wrapping_add(at), run.len - at),
                        left - at,
                    )
                };
                at += L::N;
            }
            left -= run.len;
            row = row.wrapping_add(run.len);
        }
    });
}

/// Calls `f` with the address of position 0 for each row's channel and tap, and the row.
#[inline(always)]
fn each_row<T>(g: &PatchArgs<T>, mut f: impl FnMut(*const T, *mut T)) {
    // A phase of a strided gradient may have no taps; then k is 0.
    let taps = g.taps.len().max(1);
    let mut channel = g.image.wrapping_offset((g.first / taps) as isize * g.channel_stride);
    let (mut skip, mut dst, mut left) = (g.first % taps, g.dst, g.k);
    while left > 0 {
        for &tap in g.taps[skip..].iter().take(left) {
            f(channel.wrapping_offset(tap), dst);
            dst = dst.wrapping_add(g.width);
        }
        left -= left.min(taps - skip);
        channel = channel.wrapping_offset(g.channel_stride);
        skip = 0;
    }
}

/// Lines of an image on their way into a copy, one after another: element i of a line comes from `src + i * stride` if it is
/// in `known`, else it is zero. Elements i with equal remainder of i by `phases` are written side by side, `phase` of each.
/// The first ones of two neighbouring remainders lie `apart`.
pub(crate) struct LineArgs<T> {
    pub src: *const T,
    pub stride: isize,
    pub lines: usize,
    pub line_stride: isize,
    pub known: Range<usize>,
    pub phases: usize,
    pub phase: usize,
    pub apart: usize,
    pub dst: *mut T,
    /// From one line of the copy to the next.
    pub dst_line: usize,
    /// All of that again, for each channel and each of its planes.
    pub again: [Again; 2],
}

/// How often something is done, and how far source and result then go on.
#[derive(Clone, Copy)]
pub(crate) struct Again {
    pub times: usize,
    pub src: isize,
    pub dst: usize,
}

impl Again {
    pub const ONCE: Self = Self {
        times: 1,
        src: 0,
        dst: 0,
    };
}

/// Rows of a block that is turned, at most.
const MOST_ROWS: usize = 16;
/// Most vectors of a line whose masks are made once for all lines.
const VECTORS: usize = 16;
/// Kinds of vectors of a line, by the lanes that are known: in few, at its ends, not all are.
const KINDS: usize = 8;

/// Where each line of a copy comes from and goes to. No closure: one that is not inlined would lose the instruction set.
macro_rules! each_line {
    ($g:ident, |$src:ident, $dst:ident| $body:block) => {{
        let [outer, inner] = $g.again;
        for i in 0..outer.times {
            for j in 0..inner.times {
                let src = $g.src.wrapping_offset(i as isize * outer.src + j as isize * inner.src);
                let dst = $g.dst.wrapping_add(i * outer.dst + j * inner.dst);
                for line in 0..$g.lines {
                    let $src = src.wrapping_offset(line as isize * $g.line_stride);
                    let $dst = dst.wrapping_add(line * $g.dst_line);
                    $body
                }
            }
        }
    }};
}

impl<T> LineArgs<T> {
    /// How far apart the neighbours of a phase are.
    fn step(&self) -> isize {
        self.stride * self.phases as isize
    }

    /// How many elements of a phase there are below `i` of a line.
    fn below(&self, i: usize, phase: usize) -> usize {
        i.saturating_sub(phase).div_ceil(self.phases).min(self.phase)
    }

    /// Where vector `i` of a line comes from and goes to, and which of its lanes are known.
    fn vector(&self, i: usize, lanes: usize) -> (isize, usize, Range<usize>) {
        let vectors = self.phase.div_ceil(lanes);
        let (phase, at) = (i / vectors, i % vectors * lanes);
        let inside = |i: usize| self.below(i, phase).saturating_sub(at).min(lanes);
        let known = inside(self.known.start)..inside(self.known.end);
        let from = phase as isize * self.stride + at as isize * self.step();
        (from, phase * self.apart + at, known)
    }

    /// The vectors of a line: where each comes from and goes to, and its kind; `None` if there are too many.
    #[inline(always)]
    fn pieces<L: Lanes<T>>(&self, _l: L) -> Option<([(isize, usize, usize); VECTORS], [Every; KINDS])> {
        let (all, mut found) = (self.phases * self.phase.div_ceil(L::N), 0);
        if all > VECTORS {
            return None;
        }
        let (mut pieces, mut kinds) = ([(0, 0, 0); VECTORS], [Every::NONE; KINDS]);
        for (i, piece) in pieces[..all].iter_mut().enumerate() {
            let (from, to, known) = self.vector(i, L::N);
            let known = known.start..known.end.max(known.start);
            let kind = (0..found).find(|&k| kinds[k].lanes() == known).unwrap_or(found);
            if kind == KINDS {
                return None;
            }
            if kind == found {
                kinds[found] = Every::new(L::N, self.step().unsigned_abs(), known);
                found += 1;
            }
            *piece = (from, to, kind);
        }
        Some((pieces, kinds))
    }
}

/// # Safety
/// The known elements lie in live memory; `dst` has room for all phases of all lines and the slack behind them, which is
/// overwritten.
#[inline(always)]
pub(crate) unsafe fn copy_lines<T: Copy + Default, L: Lanes<T>>(l: L, g: &LineArgs<T>) {
    let (step, all) = (g.step(), g.phases * g.phase.div_ceil(L::N));
    // SAFETY: the caller's promise; what the last vector of a phase writes too much is written again or slack.
    unsafe {
        let every = match (3..=Every::MOST as isize).contains(&step) {
            true if L::LOADS_EVERY => g.pieces(l),
            _ => None,
        };
        if let Some((pieces, kinds)) = every {
            each_line!(g, |src, dst| {
                for &(from, to, kind) in &pieces[..all] {
                    l.store(
                        dst.wrapping_add(to),
                        l.load_every(src.wrapping_offset(from), &kinds[kind]),
                    );
                }
            });
        } else if L::N == 1 || !matches!(step, 1 | 2) {
            each_line!(g, |src, dst| { one_by_one(l, g, src, dst) });
        } else if all <= VECTORS {
            let mut pieces = [(0, 0, l.mask(0, 0), l.even(0, 0)); VECTORS];
            for (i, p) in pieces[..all].iter_mut().enumerate() {
                let (from, to, known) = g.vector(i, L::N);
                *p = (from, to, l.mask(known.start, known.end), l.even(known.start, known.end));
            }
            each_line!(g, |src, dst| {
                for &(from, to, mask, even) in &pieces[..all] {
                    copy_vector(l, step, src.wrapping_offset(from), mask, even, dst.wrapping_add(to));
                }
            });
        } else {
            each_line!(g, |src, dst| {
                for i in 0..all {
                    let (from, to, known) = g.vector(i, L::N);
                    let (mask, even) = (l.mask(known.start, known.end), l.even(known.start, known.end));
                    copy_vector(l, step, src.wrapping_offset(from), mask, even, dst.wrapping_add(to));
                }
            });
        }
    }
}

/// A vector of neighbours, or of every second element.
///
/// # Safety
/// What is loaded lies in live memory, and a vector at `dst`.
#[inline(always)]
unsafe fn copy_vector<T: Copy + Default, L: Lanes<T>>(
    l: L,
    step: isize,
    src: *const T,
    mask: L::Mask,
    even: L::Even,
    dst: *mut T,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let v = match step {
            1 => l.load_more(l.splat(T::default()), src, mask),
            _ => l.load_even(src, even),
        };
        l.store(dst, v);
    }
}

/// A line whose neighbours of a phase lie far apart: element by element, but for blocks that are turned.
///
/// # Safety
/// As for [`copy_lines`].
#[inline(always)]
unsafe fn one_by_one<T: Copy + Default, L: Lanes<T>>(l: L, g: &LineArgs<T>, src: *const T, dst: *mut T) {
    // Elements of which all phases are known, so many that blocks of them can be turned.
    let all = g.below(g.known.start, 0)..g.below(g.known.end, g.phases - 1);
    let mut turned = 0..0;
    if g.stride == 1 && L::BLOCK > 1 && all.len() >= L::BLOCK {
        // SAFETY: the caller's promise.
        unsafe { turn_phases(l, src, all.clone(), g.phases, dst, g.apart) };
        turned = all;
    }
    for phase in 0..g.phases {
        let (src, dst) = (
            src.wrapping_offset(phase as isize * g.stride),
            dst.wrapping_add(phase * g.apart),
        );
        let [start, end] = [g.known.start, g.known.end].map(|i| g.below(i, phase));
        for some in [0..turned.start, turned.end..g.phase] {
            let inside = start.clamp(some.start, some.end)
                ..end.clamp(some.start, some.end).max(start.clamp(some.start, some.end));
            for j in some {
                // SAFETY: as above; only what is known is read.
                unsafe {
                    *dst.wrapping_add(j) = match inside.contains(&j) {
                        true => *src.wrapping_offset(j as isize * g.step()),
                        false => T::default(),
                    };
                }
            }
        }
    }
}

/// Brings every `phases`-th element together: element `j * phases + i` of `src` to `dst[i * apart + j]`, for all `i` and the `j`
/// in `some`, which are at least a block.
///
/// # Safety
/// They are there.
#[inline(always)]
unsafe fn turn_phases<T: Copy, L: Lanes<T>>(
    l: L,
    src: *const T,
    some: Range<usize>,
    phases: usize,
    dst: *mut T,
    apart: usize,
) {
    for j in some.clone().step_by(L::BLOCK) {
        // The last block begins with elements of the one before.
        let j = j.min(some.end - L::BLOCK);
        let mut rows = [src; MOST_ROWS];
        for (i, row) in rows.iter_mut().enumerate().take(L::BLOCK) {
            *row = src.wrapping_add((j + i) * phases);
        }
        for i in (0..phases).step_by(L::BLOCK) {
            let to = dst.wrapping_add(i * apart + j);
            // SAFETY: the caller's promise.
            unsafe { l.transpose(&rows[..L::BLOCK], i as isize, (phases - i).min(L::BLOCK), to, apart) };
        }
    }
}

/// Panel whose k rows are positions and whose columns are (channel, tap) pairs.
pub(crate) struct TapArgs<'a, T> {
    /// For each column the address of position 0.
    pub columns: &'a [*const T],
    /// The panel's rows, in order.
    pub runs: &'a [Run],
    pub width: usize,
    pub dst: *mut T,
}

/// # Safety
/// All positions lie in live memory; `dst` has `width` elements for each position.
#[inline(always)]
pub(crate) unsafe fn pack_taps<T: Copy, L: Lanes<T>>(l: L, g: &TapArgs<T>) {
    let mut at = 0;
    while at < g.width {
        let columns = &g.columns[at.min(g.columns.len())..g.columns.len().min(at + L::BLOCK)];
        let mut dst = g.dst.wrapping_add(at);
        for run in g.runs {
            let mut p = 0;
            while p < run.len {
                let to = dst.wrapping_add(p * g.width);
                // SAFETY: the caller's promise; `width` is a multiple of `BLOCK`.
                unsafe { l.transpose(columns, run.offset + p as isize, run.len - p, to, g.width) };
                p += L::BLOCK;
            }
            dst = dst.wrapping_add(run.len * g.width);
        }
        at += L::BLOCK;
    }
}
