//! One product of two matrices: which path it takes, and the path that reads operands where they lie.
//!
//! Every element of C is a chain of fused multiply-adds in the order of k, whatever the path, the tile or the thread; so
//! the choices made here are free to follow the machine.

use super::ahead::Ahead;
use super::epilogue::Summand;
use super::few::{self, FewArgs};
use super::micro::{Number, Products, Tile, TileFn};
use super::pack::{pack_b, panel_width, with_scratch};
use super::packed::{self, Panels};
use crate::parallel;
use std::ops::Range;

/// `c = (from_c ? c : 0) + a @ b`, then the summand, the biases and the ReLU. Strides in elements.
pub(crate) struct Gemm<T> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: *const T,
    pub a_rs: isize,
    pub a_cs: isize,
    pub b: *const T,
    pub b_rs: isize,
    pub b_cs: isize,
    pub c: *mut T,
    pub c_rs: isize,
    pub c_cs: isize,
    pub from_c: bool,
    pub plus: Summand<T>,
    /// Contiguous, or null.
    pub row_bias: *const T,
    pub col_bias: *const T,
    pub relu: bool,
}

impl<T: Copy> Clone for Gemm<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: Copy> Copy for Gemm<T> {}
// SAFETY: plain data; those who run it on several threads write disjoint parts of C.
unsafe impl<T: Send> Send for Gemm<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Gemm<T> {}

/// Bytes of A or B that are read where they lie (second-level cache).
const IN_PLACE: usize = 512 << 10;
/// Bytes of B that stay in the first-level cache.
const L1_BYTES: usize = 32 << 10;
/// Columns of B that make a stream worth reading.
const LONG: usize = 256;
/// Multiply-adds worth starting a thread for: some ten microseconds.
pub(super) const GRAIN: usize = 1 << 20;

impl<T: Number> Gemm<T> {
    /// A product of nothing, to be filled in.
    pub fn empty() -> Self {
        let (null, c) = (std::ptr::null(), std::ptr::null_mut());
        Self {
            m: 0,
            n: 0,
            k: 0,
            a: null,
            a_rs: 0,
            a_cs: 0,
            b: null,
            b_rs: 0,
            b_cs: 0,
            c,
            c_rs: 0,
            c_cs: 0,
            from_c: false,
            plus: Summand::none(T::default()),
            row_bias: null,
            col_bias: null,
            relu: false,
        }
    }

    /// The transposed problem, `cᵀ = bᵀ @ aᵀ`: the same bits.
    pub fn swapped(self) -> Self {
        Self {
            m: self.n,
            n: self.m,
            a: self.b,
            a_rs: self.b_cs,
            a_cs: self.b_rs,
            b: self.a,
            b_rs: self.a_cs,
            b_cs: self.a_rs,
            c_rs: self.c_cs,
            c_cs: self.c_rs,
            plus: self.plus.swapped(),
            row_bias: self.col_bias,
            col_bias: self.row_bias,
            ..self
        }
    }

    /// Only the sums, as for a part of k that is not the last.
    pub fn unfinished(self) -> Self {
        Self {
            plus: Summand::none(T::default()),
            row_bias: std::ptr::null(),
            col_bias: std::ptr::null(),
            relu: false,
            ..self
        }
    }

    /// The same problem elsewhere: offsets of A, B and C.
    pub fn moved(self, [a, b, c]: [isize; 3]) -> Self {
        Self {
            a: self.a.wrapping_offset(a),
            b: self.b.wrapping_offset(b),
            c: self.c.wrapping_offset(c),
            ..self
        }
    }

    /// The part of C in `rows` and `cols`.
    pub fn part(self, rows: Range<usize>, cols: Range<usize>) -> Self {
        let (i, j) = (rows.start as isize, cols.start as isize);
        let bias = |p: *const T, at: usize| if p.is_null() { p } else { p.wrapping_add(at) };
        Self {
            m: rows.len(),
            n: cols.len(),
            a: self.a.wrapping_offset(i * self.a_rs),
            b: self.b.wrapping_offset(j * self.b_cs),
            c: self.c.wrapping_offset(i * self.c_rs + j * self.c_cs),
            plus: self.plus.part(rows.start, cols.start),
            row_bias: bias(self.row_bias, rows.start),
            col_bias: bias(self.col_bias, cols.start),
            ..self
        }
    }

    /// Computes on as many threads as are worth it.
    ///
    /// # Safety
    /// The fields describe live memory; C overlaps nothing else; `kernels` are for this CPU.
    pub unsafe fn run(self, kernels: &'static Products<T>) {
        let g = self.by_rows();
        let work = g.m.saturating_mul(g.n).saturating_mul(g.k);
        let threads = parallel::threads();
        if threads == 1 || work < 2 * GRAIN {
            // SAFETY: the caller's promise.
            return unsafe { g.run_here(kernels) };
        }
        let want = (work / GRAIN).min(2 * threads);
        if g.direct(kernels).is_none() && !g.is_few_turned() {
            // SAFETY: the caller's promise.
            return unsafe { packed::on_threads(&g, &g, kernels, threads) };
        }
        let (mut rows, mut cols) = (1, 1);
        let (least_m, least_n) = (2 * kernels.tiles.len(), 2 * kernels.nr);
        while rows * cols < want {
            let (m, n) = (g.m / (2 * rows), g.n / (2 * cols));
            match (m >= least_m, n >= least_n) {
                (_, true) if n >= m || m < least_m => cols *= 2,
                (true, _) => rows *= 2,
                _ => break,
            }
        }
        let (pm, pn) = (g.m.div_ceil(rows), g.n.div_ceil(cols).next_multiple_of(kernels.nr));
        let (rows, cols) = (g.m.div_ceil(pm), g.n.div_ceil(pn));
        parallel::for_range(rows * cols, 1, |parts| {
            for part in parts {
                let (i, j) = (part / cols * pm, part % cols * pn);
                // SAFETY: parts of C are disjoint; else the caller's promise.
                unsafe { g.part(i..g.m.min(i + pm), j..g.n.min(j + pn)).run_here(kernels) };
            }
        });
    }

    /// Computes from operands that this does not know: A and B are not read.
    ///
    /// # Safety
    /// As for `run`; the operands' elements are live.
    pub unsafe fn run_with(self, operands: &impl packed::Operands<T>, kernels: &'static Products<T>) {
        let (work, threads) = (
            self.m.saturating_mul(self.n).saturating_mul(self.k),
            parallel::threads(),
        );
        // SAFETY: the caller's promise.
        unsafe {
            if threads == 1 || work < 2 * GRAIN {
                self.run_here_with(operands, kernels)
            } else {
                packed::on_threads(&self, operands, kernels, threads)
            }
        }
    }

    /// The same on this thread.
    ///
    /// # Safety
    /// As for `run_with`.
    pub unsafe fn run_here_with(self, operands: &impl packed::Operands<T>, kernels: &'static Products<T>) {
        // SAFETY: the caller's promise.
        unsafe { packed::alone(&self, 0..self.n, operands, kernels) }
    }

    /// Computes on this thread.
    ///
    /// # Safety
    /// As for `run`.
    pub unsafe fn run_here(self, kernels: &'static Products<T>) {
        let g = self.by_rows();
        if g.m == 0 || g.n == 0 {
            return;
        }
        // SAFETY: the caller's promise.
        unsafe {
            match g.direct(kernels) {
                Some(h) => h.run_direct(kernels),
                None if g.is_few_turned() => {
                    (kernels.few[1])(&g.few(g.k, g.b_cs));
                    // What is left is the epilogue.
                    if !(g.plus.of.is_null() && g.row_bias.is_null() && g.col_bias.is_null()) || g.relu {
                        let (k, b_cs, from_c) = (0, 1, true);
                        Self { k, b_cs, from_c, ..g }.run_direct(kernels);
                    }
                }
                None => packed::alone(&g, 0..g.n, &g, kernels),
            }
        }
    }

    /// The problem or its transpose, whichever has contiguous rows of C; of a vector that comes of a matrix with contiguous
    /// columns, the one in which these are rows.
    fn by_rows(self) -> Self {
        let vector = self.n == 1 && self.c_rs == 1 && self.a_rs == 1 && self.a_cs != 1;
        if vector || self.c_cs != 1 && (self.c_rs == 1 || self.n == 1) {
            self.swapped()
        } else {
            self
        }
    }

    /// The problem as `run_direct` takes it, if that is worth it.
    fn direct(self, kernels: &Products<T>) -> Option<Self> {
        if self.c_cs != 1 && self.n != 1 {
            return None;
        }
        let turn = self.m == 1 && self.b_cs != 1 && self.n > 1 && self.a_rs == 1 && self.c_rs == 1;
        let h = if turn { self.swapped() } else { self };
        ((h.b_cs == 1 || h.n == 1) && h.is_small(kernels)).then_some(h)
    }

    /// Few rows, and contiguous columns of B, which are turned on the way.
    fn is_few_turned(&self) -> bool {
        self.m <= few::MOST_ROWS && self.c_cs == 1 && self.b_rs == 1 && self.b_cs != 1 && self.k >= 32 && self.n >= 16
    }

    fn few(&self, k: usize, b_step: isize) -> FewArgs<T> {
        FewArgs {
            m: self.m,
            n: self.n,
            k,
            a: self.a,
            a_rs: self.a_rs,
            a_cs: self.a_cs,
            b: self.b,
            b_step,
            c: self.c,
            c_rs: self.c_rs,
            from_c: self.from_c,
        }
    }

    /// Packing would cost more than it saves: few rows share B, or all stays near.
    fn is_small(&self, kernels: &Products<T>) -> bool {
        let (size, bytes) = (
            size_of::<T>(),
            self.n.saturating_mul(self.k).saturating_mul(size_of::<T>()),
        );
        // Vectors that straddle cache lines are slow to read again and again from beyond the first-level cache.
        let aligned = self.b.addr().is_multiple_of(64) && (self.b_rs.unsigned_abs() * size).is_multiple_of(64);
        let near = bytes <= if aligned { IN_PLACE } else { L1_BYTES };
        self.k == 0 || self.m <= 8 || (near && self.rows_stay(kernels))
    }

    /// A is as quick to read where it lies: it stays near, and the rows of a tile do not all fall into one set of the
    /// first-level cache.
    fn rows_stay(&self, kernels: &Products<T>) -> bool {
        self.rows_apart(kernels) && self.m.saturating_mul(self.k) * size_of::<T>() <= IN_PLACE
    }
    pub fn rows_apart(&self, kernels: &Products<T>) -> bool {
        let apart = |stride: isize| !(stride.unsigned_abs() * size_of::<T>()).is_multiple_of(4096);
        (self.a_rs == 1 && (self.k <= 128 || !kernels.fetch && apart(self.a_cs)))
            || (self.a_cs == 1 && apart(self.a_rs))
    }

    /// A stack of such products runs by [`Gemm::run_stack`].
    pub fn stacks(&self, kernels: &Products<T>) -> bool {
        let plain = self.plus.of.is_null() && self.row_bias.is_null() && self.col_bias.is_null();
        let near = self.n.saturating_mul(self.k) * size_of::<T>() <= L1_BYTES;
        let direct = if self.b_cs == 1 {
            self.is_small(kernels)
        } else {
            self.rows_stay(kernels) && !self.is_few_turned()
        };
        // A long vector comes of rows (`by_rows`).
        plain && self.m > 1 && (self.n > 1 || self.m < LONG) && self.c_cs == 1 && near && direct
    }

    /// Those of many small products whose index is in `which`, the i-th at i times the strides of A, B and C: one tile's
    /// description serves all, since to prepare each would take longer than the product.
    ///
    /// # Safety
    /// As for `run`, for each product; `stacks`.
    pub unsafe fn run_stack(&self, kernels: &'static Products<T>, which: Range<usize>, strides: [isize; 3]) {
        // SAFETY: the caller's promise; the buffer holds B. So below.
        if self.b_cs == 1 {
            return unsafe { self.stack::<false>(kernels, which, strides, std::ptr::null_mut()) };
        }
        with_scratch(|[_, buffer, ..]| {
            let packed = buffer.reserve::<T>(self.n.next_multiple_of(kernels.nr) * self.k);
            unsafe { self.stack::<true>(kernels, which, strides, packed) };
        });
    }

    /// [`Gemm::run_stack`], with B packed or where it lies.
    ///
    /// # Safety
    /// As there; `packed` holds B.
    unsafe fn stack<const PACKED: bool>(
        &self,
        kernels: &'static Products<T>,
        which: Range<usize>,
        [a, b, c]: [isize; 3],
        packed: *mut T,
    ) {
        let (tiles, width) = match PACKED {
            true => (kernels.tall_for(self.n, self.k), kernels.nr),
            false => self.direct_tiles(kernels),
        };
        let panels = Panels::of(self.m, tiles.len());
        let mut tile = Tile {
            k: self.k,
            a: self.a,
            a_rs: self.a_rs,
            a_cs: self.a_cs,
            b: self.b,
            b_rs: self.b_rs,
            packed_b: std::ptr::null_mut(),
            c: self.c,
            c_rs: self.c_rs,
            next: self.c,
            ahead: Ahead::NONE,
            n: 0,
            from_c: self.from_c,
            plus: self.plus,
            row_bias: self.row_bias,
            col_bias: self.col_bias,
            relu: self.relu,
        };
        for index in which {
            let index = index as isize;
            tile.a = self.a.wrapping_offset(index * a);
            let (b, mut row) = (self.b.wrapping_offset(index * b), self.c.wrapping_offset(index * c));
            if PACKED {
                // SAFETY: the caller's promise.
                unsafe { pack_b(kernels, b, self.b_rs, self.b_cs, self.k, self.n, packed) };
            }
            for (_, rows) in panels.each() {
                for j in (0..self.n).step_by(width) {
                    (tile.n, tile.c) = (width.min(self.n - j), row.wrapping_add(j));
                    if PACKED {
                        tile.b = packed.wrapping_add(j * self.k);
                        tile.b_rs = panel_width(kernels, tile.n) as isize;
                    } else {
                        tile.b = b.wrapping_add(j);
                    }
                    // SAFETY: the tile lies inside the matrices that the caller vouches for.
                    unsafe { tiles[rows - 1][(tile.n > kernels.narrow) as usize](&tile) };
                }
                tile.a = tile.a.wrapping_offset(rows as isize * self.a_rs);
                row = row.wrapping_offset(rows as isize * self.c_rs);
            }
        }
    }

    /// Tiles that read both operands where they lie, and their width.
    fn direct_tiles(&self, kernels: &'static Products<T>) -> (&'static [[TileFn<T>; 2]], usize) {
        if self.m > kernels.direct.len() {
            (kernels.tall_for(self.n, self.k), kernels.nr)
        } else {
            (kernels.direct, kernels.direct_nr)
        }
    }

    /// Reads the operands where they lie.
    ///
    /// # Safety
    /// As for `run`; B and C have unit column stride (or one column).
    unsafe fn run_direct(self, kernels: &'static Products<T>) {
        let (tiles, width) = self.direct_tiles(kernels);
        // Walking down a narrow strip of a large B defeats the hardware's prefetching: take few rows at a time.
        // Tiles that ask for rows ahead do not need it.
        let bytes = self.k.saturating_mul(self.n) * size_of::<T>();
        let ahead = kernels.fetch && self.m > kernels.direct.len() && bytes <= IN_PLACE;
        let large = bytes > (256 << 10) && !ahead;
        let depth = if large { 16 } else { self.k.max(1) };
        let mut p = 0;
        if large && self.m <= few::MOST_ROWS && self.n >= LONG {
            // The end of k is left to the tiles, which know the epilogue.
            p = (self.k - 1) / few::STREAMS * few::STREAMS;
            // SAFETY: the caller's promise.
            unsafe { (kernels.few[0])(&self.few(p, self.b_rs)) };
        }
        loop {
            let (k, last) = (depth.min(self.k - p), p + depth >= self.k);
            for (i, rows) in Panels::of(self.m, tiles.len()).each() {
                for j in (0..self.n).step_by(width) {
                    let n = width.min(self.n - j);
                    let bias = |b: *const T, at: usize| match last && !b.is_null() {
                        true => b.wrapping_add(at),
                        false => std::ptr::null(),
                    };
                    let tile = Tile {
                        k,
                        a: self.a.wrapping_offset(i as isize * self.a_rs + p as isize * self.a_cs),
                        a_rs: self.a_rs,
                        a_cs: self.a_cs,
                        b: self.b.wrapping_offset(p as isize * self.b_rs).wrapping_add(j),
                        b_rs: self.b_rs,
                        packed_b: std::ptr::null_mut(),
                        c: self.c.wrapping_offset(i as isize * self.c_rs).wrapping_add(j),
                        c_rs: self.c_rs,
                        next: self.c,
                        ahead: Ahead::NONE,
                        n,
                        from_c: self.from_c || p > 0,
                        plus: if last {
                            self.plus.part(i, j)
                        } else {
                            Summand::none(T::default())
                        },
                        row_bias: bias(self.row_bias, i),
                        col_bias: bias(self.col_bias, j),
                        relu: last && self.relu,
                    };
                    // SAFETY: the tile lies inside the matrices that the caller vouches for.
                    unsafe { tile.run(kernels, tiles[rows - 1][(n > kernels.narrow) as usize], rows) };
                }
            }
            p += depth;
            if last {
                break;
            }
        }
    }
}
