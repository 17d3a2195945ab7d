//! Packing: a panel of an operand, `width` lines interleaved so that a micro-kernel reads it front to back; an operand in panels.

use super::micro::Products;
use super::packed::Panels;
use crate::simd::Aligned;
use crate::simd::vec::Lanes;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Elements past the end of a packed panel that packing may overwrite.
pub(crate) const SLACK: usize = 64;

/// Lines that [`Lanes::transpose_large`] takes at most.
const MOST_LINES: usize = 16;

/// Where a panel comes from: `lines` rows of A (or columns of B), `k` elements each, written as `dst[p * width + line]`
/// with zeros in the missing lines.
pub(crate) struct PackArgs<T> {
    pub src: *const T,
    pub line_stride: isize,
    pub k_stride: isize,
    pub lines: usize,
    pub width: usize,
    pub k: usize,
    pub dst: *mut T,
}

/// # Safety
/// The source lies in live memory; `dst` has `k * width + SLACK` elements. What lies behind the panel is overwritten, unless
/// its lines have a stride of one.
#[inline(always)]
pub(crate) unsafe fn pack<T: Copy + Default, L: Lanes<T>>(l: L, g: &PackArgs<T>) {
    // SAFETY: the caller's promise.
    unsafe {
        if g.line_stride == 2 && L::N > 1 {
            for p in 0..g.k {
                let (src, dst) = (g.src.offset(p as isize * g.k_stride), g.dst.add(p * g.width));
                for at in (0..g.width).step_by(L::N) {
                    let some = l.even(0, g.lines.saturating_sub(at).min(L::N));
                    l.store(dst.add(at), l.load_even(src.wrapping_add(2 * at), some));
                }
            }
        } else if g.line_stride == 1 {
            for p in 0..g.k {
                let (src, dst) = (g.src.offset(p as isize * g.k_stride), g.dst.add(p * g.width));
                let mut at = 0;
                while at < g.width {
                    let v = l.load_n(src.wrapping_add(at), g.lines.saturating_sub(at));
                    // The last vector may reach into the next row of the panel, which is written after it.
                    if p + 1 < g.k {
                        l.store(dst.add(at), v);
                    } else {
                        l.store_n(dst.add(at), v, g.width - at);
                    }
                    at += L::N;
                }
            }
        } else if g.k_stride.unsigned_abs() < g.line_stride.unsigned_abs() && g.k_stride != 1 && L::BLOCK > 1 {
            for first in (0..g.k).step_by(APART) {
                let ks = first..g.k.min(first + APART);
                if g.width > L::BLOCK {
                    pack_apart::<T, L, true>(l, g, ks);
                } else {
                    pack_apart::<T, L, false>(l, g, ks);
                }
            }
        } else if g.k_stride == 1 && L::BLOCK > 1 {
            if g.width > L::BLOCK {
                turn::<T, L, true>(l, g);
            } else {
                turn::<T, L, false>(l, g);
            }
        } else {
            for p in 0..g.k {
                for i in 0..g.width {
                    let v = if i < g.lines {
                        *g.src.offset(i as isize * g.line_stride + p as isize * g.k_stride)
                    } else {
                        T::default()
                    };
                    *g.dst.add(p * g.width + i) = v;
                }
            }
        }
    }
}

/// Blocks that lines are asked for in advance: the processor does not follow so many streams by itself.
const AHEAD: usize = 8;

/// Packs contiguous lines in square blocks.
///
/// # Safety
/// As for [`pack`].
#[inline(always)]
unsafe fn turn<T: Copy, L: Lanes<T>, const LARGE: bool>(l: L, g: &PackArgs<T>) {
    let side = if LARGE { L::LARGE } else { L::BLOCK };
    let mut at = 0;
    while at < g.width {
        if at + side > g.width && at > 0 {
            // Step back rather than write beyond the row, which was filled before.
            at = g.width - side;
        }
        let lines = g.lines.saturating_sub(at).min(side);
        let mut rows = [g.src; MOST_LINES];
        for (i, row) in rows.iter_mut().enumerate().take(lines) {
            *row = g.src.wrapping_offset((at + i) as isize * g.line_stride);
        }
        for p in (0..g.k).step_by(side) {
            for row in &rows[..lines] {
                l.prefetch(row.wrapping_add(p + AHEAD * side));
            }
            let dst = g.dst.wrapping_add(p * g.width + at);
            // SAFETY: the caller's promise.
            unsafe {
                if LARGE {
                    l.transpose_large(&rows[..lines], p as isize, g.k - p, dst, g.width);
                } else {
                    l.transpose(&rows[..lines], p as isize, g.k - p, dst, g.width);
                }
            }
        }
        at += side;
    }
}

/// Elements of a line that are brought together at once.
const APART: usize = 128;

/// Packs a stretch of lines whose elements lie apart, but closer than the lines: brought together line by line, since to
/// read across lines would fetch each cache line many times, and lines a power of two apart push each other out.
///
/// # Safety
/// As for [`pack`]; rows of the panel are packed in their order.
#[inline(always)]
unsafe fn pack_apart<T: Copy + Default, L: Lanes<T>, const LARGE: bool>(l: L, g: &PackArgs<T>, ks: Range<usize>) {
    let side = if LARGE { L::LARGE } else { L::BLOCK };
    let mut near = Aligned([[T::default(); APART]; MOST_LINES]);
    let mut at = 0;
    while at < g.width {
        if at + side > g.width && at > 0 {
            at = g.width - side;
        }
        let lines = g.lines.saturating_sub(at).min(side);
        // SAFETY: the caller's promise; `near` has room for the stretch.
        unsafe {
            for (i, near) in near.iter_mut().enumerate().take(lines) {
                let line = g
                    .src
                    .offset((at + i) as isize * g.line_stride + ks.start as isize * g.k_stride);
                if g.k_stride == 2 {
                    let whole = ks.len() / L::N * L::N;
                    let all = l.even(0, L::N);
                    for p in (0..whole).step_by(L::N) {
                        l.store(near.as_mut_ptr().add(p), l.load_even(line.wrapping_add(2 * p), all));
                    }
                    if whole < ks.len() {
                        let v = l.load_even(line.wrapping_add(2 * whole), l.even(0, ks.len() - whole));
                        l.store(near.as_mut_ptr().add(whole), v);
                    }
                } else {
                    for (p, to) in near.iter_mut().enumerate().take(ks.len()) {
                        *to = *line.offset(p as isize * g.k_stride);
                    }
                }
            }
            let rows: [*const T; MOST_LINES] = std::array::from_fn(|i| near[i].as_ptr());
            for p in (0..ks.len()).step_by(side) {
                let dst = g.dst.add((ks.start + p) * g.width + at);
                if LARGE {
                    l.transpose_large(&rows[..lines], p as isize, ks.len() - p, dst, g.width);
                } else {
                    l.transpose(&rows[..lines], p as isize, ks.len() - p, dst, g.width);
                }
            }
        }
        at += side;
    }
}

/// Columns of A that are packed side by side, where they are contiguous.
const COLUMNS: usize = 16;

/// Packs `m` rows of A in panels; panel of rows from `i` starts at `dst + i * k`.
///
/// # Safety
/// The block lies in live memory; `dst` holds `m * k` elements and the slack.
pub(crate) unsafe fn pack_a<T>(
    kernels: &Products<T>,
    a: *const T,
    rs: isize,
    cs: isize,
    m: usize,
    k: usize,
    dst: *mut T,
) {
    let panels = Panels::of(m, kernels.tiles.len());
    // Columns of A are read side by side, so that each of their lines and pages serves all panels at once.
    let deep = if rs == 1 { COLUMNS.min(k) } else { k }.max(1);
    for p in (0..k).step_by(deep) {
        for (i, rows) in panels.each() {
            let args = PackArgs {
                src: a.wrapping_offset(i as isize * rs + p as isize * cs),
                line_stride: rs,
                k_stride: cs,
                lines: rows,
                width: rows,
                k: deep.min(k - p),
                dst: dst.wrapping_add(i * k + p * rows),
            };
            // SAFETY: the caller's promise. Where a panel is packed whole, it is so before the one behind it.
            unsafe { (kernels.pack)(&args) };
        }
    }
}

/// Rows of B that are packed side by side.
const STREAMS: usize = 8;

/// Width of the packed panel for `n` columns of B.
pub(crate) fn panel_width<T>(kernels: &Products<T>, n: usize) -> usize {
    if n > kernels.narrow { kernels.nr } else { kernels.narrow }
}

/// Packs `n` columns of B in panels; panel of columns from `j` starts at `dst + j * k`.
///
/// # Safety
/// The block lies in live memory; `dst` holds `k` times `n` rounded up to `nr` elements, and the slack.
pub(crate) unsafe fn pack_b<T>(
    kernels: &Products<T>,
    b: *const T,
    rs: isize,
    cs: isize,
    k: usize,
    n: usize,
    dst: *mut T,
) {
    // Rows of B that lie far apart are read side by side as streams: from memory, one panel after the other would wait for
    // each of its short pieces (16 rows times 4096x4096: 10.7 ms so, 6.0 with eight).
    let deep = if cs.unsigned_abs() < rs.unsigned_abs() {
        STREAMS.min(k)
    } else {
        k
    }
    .max(1);
    for p in (0..k).step_by(deep) {
        for j in (0..n).step_by(kernels.nr) {
            let lines = kernels.nr.min(n - j);
            let width = panel_width(kernels, lines);
            let args = PackArgs {
                src: b.wrapping_offset(p as isize * rs + j as isize * cs),
                line_stride: cs,
                k_stride: rs,
                lines,
                width,
                k: deep.min(k - p),
                dst: dst.wrapping_add(j * k + p * width),
            };
            // SAFETY: the caller's promise.
            unsafe { (kernels.pack)(&args) };
        }
    }
}

/// Memory for packed panels, aligned to cache lines and kept by each thread for the next product.
pub(crate) struct Scratch {
    lines: Vec<[u64; 8]>,
    /// What `named` was told that it holds; 0 for nothing that has a name.
    holds: u64,
}

impl Scratch {
    const fn new() -> Self {
        Self {
            lines: Vec::new(),
            holds: 0,
        }
    }

    /// At least `n` elements of `T` (a number type), plus `SLACK`. What it held is lost.
    pub fn reserve<T>(&mut self, n: usize) -> *mut T {
        self.holds = 0;
        self.room(n)
    }

    /// The same, and whether it holds `name` already: what the chunks of a job that run on one thread share. From now on it
    /// does; between two chunks the thread may have worked for another caller, and lost it.
    pub fn named<T>(&mut self, n: usize, name: u64) -> (*mut T, bool) {
        let start = self.room(n);
        (start, std::mem::replace(&mut self.holds, name) == name)
    }

    /// The same, filled by `fill` unless it holds `name` already.
    pub fn filled<T>(&mut self, n: usize, name: u64, fill: impl FnOnce(*mut T)) -> *mut T {
        let (start, holds) = self.named(n, name);
        if !holds {
            fill(start);
        }
        start
    }

    fn room<T>(&mut self, n: usize) -> *mut T {
        // One line more, since the allocator gives less alignment than a line's.
        let lines = ((n + SLACK) * size_of::<T>()).div_ceil(64) + 1;
        if self.lines.len() < lines {
            // Not `resize`: the old contents need not be copied.
            (self.lines, self.holds) = (vec![[0; 8]; lines], 0);
        }
        let start = self.lines.as_mut_ptr().cast::<u8>();
        start.wrapping_add(start.align_offset(64)).cast()
    }
}

/// A name for what a buffer holds; never given twice.
pub(crate) fn new_name() -> u64 {
    static NAMES: AtomicU64 = AtomicU64::new(1);
    NAMES.fetch_add(1, Ordering::Relaxed)
}

/// Number of scratch buffers of a thread.
pub(crate) const BUFFERS: usize = 4;

thread_local! {
    static SCRATCH: RefCell<[Scratch; BUFFERS]> = const { RefCell::new([const { Scratch::new() }; BUFFERS]) };
    static SHARED: RefCell<Vec<Scratch>> = const { RefCell::new(Vec::new()) };
}

/// Runs `f` with this thread's buffers; buffers made for the call, should they be in use.
pub(crate) fn with_scratch<R>(f: impl FnOnce(&mut [Scratch; BUFFERS]) -> R) -> R {
    SCRATCH.with(|s| match s.try_borrow_mut() {
        Ok(mut s) => f(&mut s),
        Err(_) => f(&mut [const { Scratch::new() }; BUFFERS]),
    })
}

/// The same with one more buffer, for what a caller prepares for all threads; nested calls have one each.
pub(crate) fn with_shared<R>(f: impl FnOnce(&mut Scratch) -> R) -> R {
    let mut buffer = SHARED.with(|s| s.borrow_mut().pop()).unwrap_or(Scratch::new());
    let result = f(&mut buffer);
    SHARED.with(|s| s.borrow_mut().push(buffer));
    result
}
