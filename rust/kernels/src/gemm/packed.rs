//! Products of packed operands: how they are cut into cache blocks, packed and shared out to threads.

use super::ahead::Runs;
use super::driver::{GRAIN, Gemm};
use super::micro::{Number, Products, Tile};
use super::pack::{SLACK, new_name, pack_a, pack_b, panel_width, with_scratch, with_shared};
use crate::parallel;
use std::ops::Range;

/// Longest k that is packed at once: of a row of A this many bytes, so that a panel of B stays near.
pub(crate) const fn longest_k<T>() -> usize {
    2048 / size_of::<T>()
}
/// Bytes of packed A (second-level cache; more where tiles pack B, which then takes less room) and of packed B (third-level
/// cache).
fn a_bytes<T>(kernels: &Products<T>) -> usize {
    if kernels.packing.is_empty() {
        384 << 10
    } else {
        512 << 10
    }
}
const B_BYTES: usize = 2 << 20;
/// Panels of A packed at once when its rows clash.
const CLASHING: usize = 3;
/// Steps of k of which B stays in the second-level cache, where tiles ask for lines ahead.
const SHALLOW: usize = 64;
/// Columns of B that make it worth packing A where tiles ask for lines ahead.
const SHARED_BY: usize = 512;
/// Few rows, of which A's and C's stay near however short k is cut, and many columns: a short k then takes longer runs of
/// B's rows from memory (32x4096x4096: 22.1 ms with 512 steps of k, 17.9 with 128, on Cascade Lake).
fn few_rows<T: Number>(g: &Gemm<T>, kernels: &Products<T>) -> bool {
    kernels.fetch && g.m <= 64 && g.n >= 1024 && g.k > longest_k::<T>() / 2 && g.b_cs == 1
}
/// Steps of k that are packed at once. Where B streams from the second-level cache in any case, as many of doubles.
fn depth<T: Number>(g: &Gemm<T>, kernels: &Products<T>) -> usize {
    let longest = if kernels.fetch {
        longest_k::<f32>()
    } else {
        longest_k::<T>()
    };
    let most = if few_rows(g, kernels) { longest / 4 } else { longest };
    if kernels.fetch {
        // A quarter more is better than another stretch.
        let parts = (g.k - g.k / 5).div_ceil(most);
        g.k.div_ceil(parts.max(1)).max(1)
    } else {
        even_part(g.k, most)
    }
}
/// Cuts `n` into the fewest equal parts of at most `most`.
pub(crate) fn even_part(n: usize, most: usize) -> usize {
    n.div_ceil(n.div_ceil(most).max(1)).max(1)
}

/// Rows cut into the fewest panels of at most some height, of nearly equal height.
#[derive(Clone, Copy)]
pub(crate) struct Panels {
    pub count: usize,
    base: usize,
    extra: usize,
}

impl Panels {
    pub fn of(m: usize, most: usize) -> Self {
        let count = m.div_ceil(most);
        Self {
            count,
            base: m / count.max(1),
            extra: m % count.max(1),
        }
    }
    /// First row and height of panel `i`.
    #[inline(always)]
    pub fn at(&self, i: usize) -> (usize, usize) {
        (i * self.base + i.min(self.extra), self.base + (i < self.extra) as usize)
    }
    /// First row and height of each.
    #[inline(always)]
    pub fn each(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.count).map(move |i| self.at(i))
    }
}

/// Operands that can be packed; k counts elements of `T`.
pub(crate) trait Operands<T>: Sync {
    /// Packs a block of A in panels; the panel of rows from the i-th of the block starts at `dst + i * ks.len()`.
    ///
    /// # Safety
    /// The block lies in live memory; `dst` holds it, and the slack.
    unsafe fn pack_a(&self, kernels: &Products<T>, rows: Range<usize>, ks: Range<usize>, dst: *mut T);
    /// Packs a block of B in panels; the panel of columns from the j-th of the block starts at `dst + j * ks.len()`.
    ///
    /// # Safety
    /// The block lies in live memory; `dst` holds it with its columns rounded up to `nr`.
    unsafe fn pack_b(&self, kernels: &Products<T>, cols: Range<usize>, ks: Range<usize>, dst: *mut T);
    /// The tiles may as well read A where it lies.
    fn rows_stay(&self, kernels: &Products<T>) -> bool;
    /// Rows of A lie whole pages apart, so that what is asked for ahead of many of them falls into a few sets of the
    /// second-level cache, which then keeps only a part.
    fn rows_clash(&self) -> bool {
        false
    }
    /// Address and row stride of columns of B that the tiles may as well pack.
    fn b_in_place(&self, _cols: Range<usize>, _ks: Range<usize>) -> Option<(*const T, isize)> {
        None
    }
    /// Where a block of A or B lies, if it may be asked for ahead.
    fn runs_a(&self, rows: Range<usize>, ks: Range<usize>) -> Runs;
    fn runs_b(&self, cols: Range<usize>, ks: Range<usize>) -> Runs;
}

impl<T: Number> Operands<T> for Gemm<T> {
    unsafe fn pack_a(&self, kernels: &Products<T>, rows: Range<usize>, ks: Range<usize>, dst: *mut T) {
        let from = self
            .a
            .wrapping_offset(rows.start as isize * self.a_rs + ks.start as isize * self.a_cs);
        // SAFETY: the caller's promise.
        unsafe { pack_a(kernels, from, self.a_rs, self.a_cs, rows.len(), ks.len(), dst) }
    }
    unsafe fn pack_b(&self, kernels: &Products<T>, cols: Range<usize>, ks: Range<usize>, dst: *mut T) {
        let from = self
            .b
            .wrapping_offset(ks.start as isize * self.b_rs + cols.start as isize * self.b_cs);
        // SAFETY: the caller's promise.
        unsafe { pack_b(kernels, from, self.b_rs, self.b_cs, ks.len(), cols.len(), dst) }
    }
    fn rows_stay(&self, kernels: &Products<T>) -> bool {
        self.rows_apart(kernels) && !(kernels.fetch && self.n >= SHARED_BY)
    }
    fn rows_clash(&self) -> bool {
        self.a_cs == 1 && (self.a_rs.unsigned_abs() * size_of::<T>()).is_multiple_of(4096)
    }
    fn b_in_place(&self, cols: Range<usize>, ks: Range<usize>) -> Option<(*const T, isize)> {
        let at = ks.start as isize * self.b_rs + cols.start as isize;
        (self.b_cs == 1).then(|| (self.b.wrapping_offset(at), self.b_rs))
    }
    fn runs_a(&self, rows: Range<usize>, ks: Range<usize>) -> Runs {
        let part = self.part(rows.clone(), 0..0);
        let at = part.a.wrapping_offset(ks.start as isize * self.a_cs);
        Runs::of(at, size_of::<T>(), [rows.len(), ks.len()], [self.a_rs, self.a_cs])
    }
    fn runs_b(&self, cols: Range<usize>, ks: Range<usize>) -> Runs {
        let part = self.part(0..0, cols.clone());
        let at = part.b.wrapping_offset(ks.start as isize * self.b_rs);
        Runs::of(at, size_of::<T>(), [ks.len(), cols.len()], [self.b_rs, self.b_cs])
    }
}

/// Pieces of `0..n`, `step` long.
fn pieces(n: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    (0..n).step_by(step.max(1)).map(move |i| i..n.min(i + step))
}

impl<T: Number> Gemm<T> {
    /// The block of C in `rows` and `cols` for a stretch of k: from A where it lies, unless that is packed.
    fn block(&self, rows: Range<usize>, cols: Range<usize>, ks: Range<usize>) -> Self {
        let part = self.part(rows, cols);
        let mut g = if ks.end < self.k { part.unfinished() } else { part };
        (g.k, g.from_c) = (ks.len(), self.from_c || ks.start > 0);
        g.a = g.a.wrapping_offset(ks.start as isize * g.a_cs);
        g
    }

    /// Multiplies packed blocks; A is read where it lies when `a` is null.
    ///
    /// # Safety
    /// `a` and `b` were packed for this block by `pack_a` and `pack_b`; `temp` holds a tile unless C's columns are
    /// contiguous.
    pub unsafe fn run_tiles(&self, kernels: &'static Products<T>, a: *const T, b: *const T, temp: *mut T) {
        // SAFETY: the caller's promise; nothing is packed.
        unsafe { self.run_tiles_for(Runs::NONE, kernels, a, b.cast_mut(), None, temp) }
    }

    /// The same, asking meanwhile for what is `coming`. Whole strips of B at `raw` (address and row stride), if given, are
    /// packed into `b` on the way.
    ///
    /// # Safety
    /// As for [`Gemm::run_tiles`].
    unsafe fn run_tiles_for(
        &self,
        coming: Runs,
        kernels: &'static Products<T>,
        a: *const T,
        b: *mut T,
        raw: Option<(*const T, isize)>,
        temp: *mut T,
    ) {
        let (panels, strips) = (Panels::of(self.m, kernels.tiles.len()), self.n.div_ceil(kernels.nr));
        let last = self.n - strips.saturating_sub(1) * kernels.nr;
        let thin = self.thin(kernels, last);
        let mut shares = coming.shares(panels.count * strips);
        let tiles = if a.is_null() { kernels.tall } else { kernels.tiles };
        // Strip by strip, so that B's panel stays near; but where there is little of B, lines of C are written to the end.
        let across = kernels.fetch && self.k <= SHALLOW;
        let (outer, inner) = if across {
            (panels.count, strips)
        } else {
            (strips, panels.count)
        };
        for (x, y) in (0..outer).flat_map(|x| (0..inner).map(move |y| (x, y))) {
            let (strip, panel_index) = if across { (y, x) } else { (x, y) };
            let j = strip * kernels.nr;
            let all = kernels.nr.min(self.n - j);
            let n = if strip + 1 == strips { all - thin } else { all };
            if n == 0 {
                continue;
            }
            let (i, rows) = panels.at(panel_index);
            let part = self.part(i..i + rows, j..j + n);
            let mut tile = Tile {
                k: self.k,
                a: match a.is_null() {
                    true => self.a.wrapping_offset(i as isize * self.a_rs),
                    false => a.wrapping_add(i * self.k),
                },
                a_rs: self.a_rs,
                a_cs: self.a_cs,
                b: b.wrapping_add(j * self.k),
                b_rs: panel_width(kernels, all) as isize,
                packed_b: std::ptr::null_mut(),
                c: part.c,
                c_rs: self.c_rs,
                next: match across {
                    true => part.c.wrapping_add(kernels.nr),
                    false => part.c.wrapping_offset(rows as isize * self.c_rs),
                },
                ahead: shares.next(),
                n,
                from_c: self.from_c,
                plus: part.plus,
                row_bias: part.row_bias,
                col_bias: part.col_bias,
                relu: part.relu,
            };
            let mut run = tiles[rows - 1][(n > kernels.narrow) as usize];
            if n <= kernels.narrow && all > kernels.narrow && !a.is_null() {
                // Half of a panel of B: with A as if it lay so.
                (tile.a_rs, tile.a_cs, run) = (1, rows as isize, kernels.tall[rows - 1][0]);
            }
            if let (Some((at, rs)), 0, true) = (raw, panel_index, n == kernels.nr) {
                (tile.packed_b, tile.b, tile.b_rs) = (b.wrapping_add(j * self.k), at.wrapping_add(j), rs);
                run = kernels.packing[rows - 1][a.is_null() as usize];
            }
            // SAFETY: the caller's promise.
            unsafe {
                if self.c_cs == 1 || n == 1 {
                    tile.run(kernels, run, rows);
                    continue;
                }
                let c = tile.c;
                let at = |r: usize, s: usize| c.wrapping_offset(r as isize * self.c_rs + s as isize * self.c_cs);
                for (r, s) in (0..rows * n)
                    .map(|x| (x / n, x % n))
                    .take(if self.from_c { rows * n } else { 0 })
                {
                    *temp.add(r * kernels.nr + s) = *at(r, s);
                }
                (tile.c, tile.c_rs) = (temp, kernels.nr as isize);
                tile.run(kernels, run, rows);
                for (r, s) in (0..rows * n).map(|x| (x / n, x % n)) {
                    *at(r, s) = *temp.add(r * kernels.nr + s);
                }
            }
        }
        if thin > 0 {
            let b = b.wrapping_add((self.n - last) * self.k + last - thin);
            // SAFETY: the caller's promise; a panel's columns that do not exist can be read.
            unsafe { self.run_thin(kernels, a, thin, (b, panel_width(kernels, last))) };
        }
    }
}

/// Elements of the buffer for a tile of C whose columns are not contiguous.
fn tile_size<T: Number>(g: &Gemm<T>, kernels: &Products<T>) -> usize {
    if g.c_cs == 1 {
        0
    } else {
        kernels.tiles.len() * kernels.nr
    }
}

/// Rows of A that are packed at once, `kc` deep.
fn most_rows<T: Number>(operands: &impl Operands<T>, kernels: &Products<T>, kc: usize) -> usize {
    let fit = a_bytes(kernels) / size_of::<T>() / kc;
    if kernels.fetch && operands.rows_clash() {
        fit.min(CLASHING * kernels.tiles.len())
    } else {
        fit
    }
}

/// Columns of B that are packed at once, `kc` deep, of `n`: nearly equal parts, since each of them packs A anew.
fn width<T: Number>(n: usize, kernels: &Products<T>, kc: usize) -> usize {
    let fit = B_BYTES / size_of::<T>() / kc;
    let parts = (n + fit / 2) / fit;
    n.div_ceil(parts.max(1)).next_multiple_of(kernels.nr)
}

/// The columns `within` of the product, on this thread.
///
/// # Safety
/// `g` describes live memory, with C's columns or rows contiguous where that is possible, `operands` its A and B; C overlaps
/// nothing else; `kernels` are for this CPU.
pub(crate) unsafe fn alone<T: Number>(
    g: &Gemm<T>,
    within: Range<usize>,
    operands: &impl Operands<T>,
    kernels: &'static Products<T>,
) {
    let kc = depth(g, kernels);
    let nc = width(within.len(), kernels, kc);
    let mc = even_part(g.m, most_rows(operands, kernels, kc));
    with_scratch(|scratch| {
        let [sa, sb, sc, _] = scratch;
        let stays = operands.rows_stay(kernels);
        let a = match stays {
            true => std::ptr::null_mut(),
            false => sa.reserve::<T>(mc.min(g.m) * kc),
        };
        let b = sb.reserve::<T>(nc.min(within.len().next_multiple_of(kernels.nr)) * kc);
        let temp = sc.reserve::<T>(tile_size(g, kernels));
        for cols in pieces(within.len(), nc).map(|r| (within.start + r.start)..(within.start + r.end)) {
            for ks in pieces(g.k, kc) {
                for rows in pieces(g.m, mc) {
                    let after = match (rows.end < g.m, ks.end < g.k) {
                        (true, _) => operands.runs_a(rows.end..g.m.min(rows.end + mc), ks.clone()),
                        (_, true) => {
                            let some = cols.start..cols.end.min(cols.start + some_columns(g, kernels, kc, rows.len()));
                            operands.runs_b(some, ks.end..g.k.min(ks.end + kc))
                        }
                        _ => Runs::NONE,
                    };
                    // SAFETY: the caller's promise; the buffers hold the blocks.
                    unsafe {
                        if !stays {
                            operands.pack_a(kernels, rows.clone(), ks.clone(), a);
                        }
                        if rows.start == 0 {
                            first_rows(g, operands, kernels, [&rows, &cols, &ks], [a, b, temp], after);
                        } else {
                            let block = g.block(rows, cols.clone(), ks.clone());
                            block.run_tiles_for(after, kernels, a, b, None, temp);
                        }
                    }
                }
            }
        }
    })
}

/// Bytes of B that are packed at a time; and twice as many for so many rows or less, which leave room in the second-level
/// cache: memory gives longer runs of B's rows sooner.
const SOME: usize = 128 << 10;
const LOW: usize = 128;

/// Columns of B that are packed before they are used, of blocks `kc` deep.
fn some_columns<T: Number>(g: &Gemm<T>, kernels: &Products<T>, kc: usize, rows: usize) -> usize {
    let bytes = match rows <= LOW {
        true if few_rows(g, kernels) => SOME / 2,
        true => 2 * SOME,
        false => SOME,
    };
    (bytes / size_of::<T>() / kc / kernels.nr).max(1) * kernels.nr
}

/// The first rows of a block, for which B is packed: some columns, then their products, which ask for the next columns, at
/// last for what comes `after`. A is packed, unless `a` is null.
///
/// # Safety
/// As for [`alone`]; the buffers hold the block, and a tile.
unsafe fn first_rows<T: Number>(
    g: &Gemm<T>,
    operands: &impl Operands<T>,
    kernels: &'static Products<T>,
    [rows, cols, ks]: [&Range<usize>; 3],
    [a, b, temp]: [*mut T; 3],
    after: Runs,
) {
    let step = some_columns(g, kernels, ks.len(), rows.len());
    for from in cols.clone().step_by(step) {
        let some = from..cols.end.min(from + step);
        let coming = if some.end < cols.end {
            operands.runs_b(some.end..cols.end.min(some.end + step), ks.clone())
        } else {
            after
        };
        // If these are all rows, what is packed is not used again: in the same place it stays in the second-level cache.
        let at = if rows.len() == g.m {
            0
        } else {
            (from - cols.start) * ks.len()
        };
        let b = b.wrapping_add(at);
        // SAFETY: the caller's promise.
        unsafe {
            // Tiles pack B on the way, if they can; its last columns, too few for a tile, are packed before.
            let raw = match kernels.packing.is_empty() {
                true => None,
                false => operands.b_in_place(some.clone(), ks.clone()),
            };
            let by_tiles = if raw.is_some() {
                some.len() / kernels.nr * kernels.nr
            } else {
                0
            };
            let rest = some.start + by_tiles..some.end;
            operands.pack_b(kernels, rest, ks.clone(), b.wrapping_add(by_tiles * ks.len()));
            let block = g.block(rows.clone(), some, ks.clone());
            block.run_tiles_for(coming, kernels, a, b, raw, temp);
        }
    }
}

/// Bytes of packed A that all threads share.
const SHARED_A: usize = 4 << 20;
/// Multiply-adds of a task.
const TASK: usize = GRAIN / 2;
/// Rows that a thread must have for it to be worth packing all of B on its own: packing an element takes as long as this
/// number of multiply-adds, divided by ten.
const OWN_ROWS: usize = 96;

/// The product on several threads.
///
/// Lines that one core has written reach another one slowly, the more so between cores without a common cache. So each
/// thread packs what it needs itself, unless that takes longer than waiting.
///
/// # Safety
/// As for [`alone`].
pub(crate) unsafe fn on_threads<T: Number>(
    g: &Gemm<T>,
    operands: &impl Operands<T>,
    kernels: &'static Products<T>,
    threads: usize,
) {
    let panels = g.n.div_ceil(kernels.nr);
    if panels >= 2 * threads && (operands.rows_stay(kernels) || 8 * g.m < g.n) {
        // Columns alone make enough tasks: each packs its own panels of B, and A is read where it lies or costs little.
        let nc = B_BYTES / size_of::<T>() / depth(g, kernels);
        let most = panels.div_ceil(4 * threads).min((nc / kernels.nr).max(1));
        parallel::for_range(panels.div_ceil(most), 1, |tasks| {
            for task in tasks {
                let cols = (task * most * kernels.nr)..g.n.min((task + 1) * most * kernels.nr);
                // SAFETY: tasks write disjoint parts of C.
                unsafe { alone(g, cols, operands, kernels) };
            }
        });
    } else if g.m >= OWN_ROWS * threads {
        // SAFETY: the caller's promise. So below.
        unsafe { by_rows(g, operands, kernels, threads) }
    } else {
        unsafe { shared(g, operands, kernels, threads) }
    }
}

/// The product by parts of the rows: each thread that takes any packs B on its own.
///
/// # Safety
/// As for [`alone`].
unsafe fn by_rows<T: Number>(g: &Gemm<T>, operands: &impl Operands<T>, kernels: &'static Products<T>, threads: usize) {
    let size = size_of::<T>();
    let kc = depth(g, kernels);
    let nc = width(g.n, kernels, kc);
    // As many stretches of k as fit.
    let deep = kc * (B_BYTES / size / (kc * nc)).clamp(1, g.k.div_ceil(kc));
    let tall = kernels.tiles.len();
    let most = most_rows(operands, kernels, kc).max(tall);
    // As many parts for each thread.
    let parts = g.m.div_ceil(most.min(g.m.div_ceil(4 * threads).next_multiple_of(tall)));
    let rows = g.m.div_ceil(parts.next_multiple_of(threads));
    let stays = operands.rows_stay(kernels);
    for cols in pieces(g.n, nc) {
        for deep_ks in pieces(g.k, deep) {
            let name = new_name();
            parallel::for_range(g.m.div_ceil(rows), 1, |parts| {
                with_scratch(|scratch| {
                    let [sa, sb, sc, _] = scratch;
                    let a = match stays {
                        true => std::ptr::null_mut(),
                        false => sa.reserve::<T>(rows * kc),
                    };
                    let temp = sc.reserve::<T>(tile_size(g, kernels));
                    let stretches =
                        || pieces(deep_ks.len(), kc).map(|r| (deep_ks.start + r.start)..(deep_ks.start + r.end));
                    let wide = cols.len().next_multiple_of(kernels.nr);
                    let offset = |ks: &Range<usize>| (ks.start - deep_ks.start) * wide;
                    let (b, mut packed) = sb.named::<T>(wide * deep_ks.len(), name);
                    for part in parts.map(|i| piece(&(0..g.m), i, rows)) {
                        for ks in stretches() {
                            let (next, deeper) =
                                (part.end..g.m.min(part.end + rows), ks.end..deep_ks.end.min(ks.end + kc));
                            let after = match (deeper.is_empty(), packed) {
                                (false, false) => operands.runs_b(
                                    cols.start..cols.end.min(cols.start + some_columns(g, kernels, kc, part.len())),
                                    deeper,
                                ),
                                (false, true) => operands.runs_a(part.clone(), deeper),
                                _ => operands.runs_a(next, deep_ks.start..deep_ks.end.min(deep_ks.start + kc)),
                            };
                            let b = b.wrapping_add(offset(&ks));
                            // SAFETY: the caller's promise; the buffers hold the blocks; parts of C are disjoint.
                            unsafe {
                                if !stays {
                                    operands.pack_a(kernels, part.clone(), ks.clone(), a);
                                }
                                if packed {
                                    let block = g.block(part.clone(), cols.clone(), ks.clone());
                                    block.run_tiles_for(after, kernels, a, b, None, temp);
                                } else {
                                    first_rows(g, operands, kernels, [&part, &cols, &ks], [a, b, temp], after);
                                }
                            }
                        }
                        packed = true;
                    }
                })
            });
        }
    }
}

/// The product on several threads: all of them pack, each panel once; then all of them multiply.
///
/// # Safety
/// As for [`alone`].
unsafe fn shared<T: Number>(g: &Gemm<T>, operands: &impl Operands<T>, kernels: &'static Products<T>, threads: usize) {
    let (size, nr) = (size_of::<T>(), kernels.nr);
    let kc = depth(g, kernels);
    let nc = width(g.n, kernels, kc);
    let stays = operands.rows_stay(kernels);
    let mc = if stays {
        g.m
    } else {
        even_part(g.m, SHARED_A / size / kc)
    };
    // As many stretches of k as fit are packed before the threads meet.
    let stretches = (B_BYTES / size / (kc * nc)).min(if stays { usize::MAX } else { SHARED_A / size / (kc * mc) });
    let deep = kc * stretches.clamp(1, g.k.div_ceil(kc));
    with_shared(|buffer| {
        for all_cols in pieces(g.n, nc) {
            let (n, m) = (all_cols.len(), mc.min(g.m));
            let most = (a_bytes(kernels) / size / kc).max(kernels.tiles.len());
            let [rows, cols] = tasks([m, n, deep], most, [kernels.tiles.len(), nr], threads);
            // Room for B, and for the panels of one part of the rows and stretch of k with what packing them may overwrite.
            let (n_wide, b_panels, per_part) = (n.next_multiple_of(nr), n.div_ceil(nr), deep / kc);
            let a_room = if stays { 0 } else { rows * kc + SLACK };
            let b = Shared(buffer.reserve::<T>(n_wide * deep + m.div_ceil(rows) * per_part * a_room));
            let a = Shared(b.get().wrapping_add(n_wide * deep));
            for deep_ks in pieces(g.k, deep) {
                let stretches = deep_ks.len().div_ceil(kc);
                let stretch = |i: usize| piece(&deep_ks, i, kc);
                let b_at = |ks: &Range<usize>| b.get().wrapping_add((ks.start - deep_ks.start) * n_wide);
                let a_at = |part: usize, i: usize| a.get().wrapping_add((part * per_part + i) * a_room);
                for all_rows in pieces(g.m, mc) {
                    let row_parts = all_rows.len().div_ceil(rows);
                    let from_b = if all_rows.start == 0 { b_panels } else { 0 };
                    let from_a = if stays { 0 } else { row_parts };
                    let some = (TASK / 16 / (kc * nr)).max(1);
                    parallel::for_range((from_b + from_a) * stretches, some, |jobs| {
                        for (i, job) in jobs.map(|job| (job % stretches, job / stretches)) {
                            // SAFETY: the caller's promise; the parts of the buffer are disjoint, and hold the blocks.
                            unsafe {
                                if job < from_b {
                                    let ks = stretch(i);
                                    let dst = b_at(&ks).add(job * nr * ks.len());
                                    operands.pack_b(kernels, piece(&all_cols, job, nr), ks, dst);
                                } else {
                                    let part = job - from_b;
                                    operands.pack_a(kernels, piece(&all_rows, part, rows), stretch(i), a_at(part, i));
                                }
                            }
                        }
                    });
                    let col_parts = n.div_ceil(cols);
                    parallel::for_range(row_parts * col_parts, 1, |tasks| {
                        with_scratch(|scratch| {
                            let temp = scratch[2].reserve::<T>(tile_size(g, kernels));
                            for (part, j) in tasks.map(|task| (task / col_parts, task % col_parts)) {
                                for (i, ks) in (0..stretches).map(|i| (i, stretch(i))) {
                                    let a = if stays {
                                        std::ptr::null()
                                    } else {
                                        a_at(part, i).cast_const()
                                    };
                                    let b = b_at(&ks).wrapping_add(j * cols * ks.len());
                                    let block = g.block(piece(&all_rows, part, rows), piece(&all_cols, j, cols), ks);
                                    // SAFETY: packed above; tasks write disjoint parts of C.
                                    unsafe { block.run_tiles(kernels, a, b, temp) };
                                }
                            }
                        })
                    });
                }
            }
        }
    })
}

/// Part `i` of a range that is cut into parts of `step`.
fn piece(whole: &Range<usize>, i: usize, step: usize) -> Range<usize> {
    (whole.start + i * step)..whole.end.min(whole.start + (i + 1) * step)
}

/// Rows and columns of a task: at most `most` rows, columns in whole panels, and several tasks per thread if they are worth it.
fn tasks([m, n, k]: [usize; 3], most: usize, [mr, nr]: [usize; 2], threads: usize) -> [usize; 2] {
    let want = (m.saturating_mul(n).saturating_mul(k) / TASK).clamp(1, 4 * threads);
    let (mut rows, mut cols) = (m.div_ceil(most), 1);
    while rows * cols < want {
        let (high, wide) = (m / rows, n / cols);
        match (high >= 2 * mr, wide >= 2 * nr) {
            (_, true) if wide >= high || high < 2 * mr => cols *= 2,
            (true, _) => rows *= 2,
            _ => break,
        }
    }
    [m.div_ceil(rows), n.div_ceil(cols).next_multiple_of(nr)]
}

struct Shared<T>(*mut T);
// SAFETY: threads write disjoint parts.
unsafe impl<T: Send> Sync for Shared<T> {}
impl<T> Shared<T> {
    fn get(&self) -> *mut T {
        self.0
    }
}
