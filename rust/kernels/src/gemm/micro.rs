//! Micro-kernels: one register tile of C, and dot products with 64 virtual lanes.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use super::ahead::{Ahead, LINE};
use super::epilogue::Summand;
use super::few::FewArgs;
use super::pack::PackArgs;
use super::thin::ThinArgs;
use crate::simd::opaque;
use crate::simd::vec::Lanes;
use std::ops::{Add, Mul};

/// What a product's elements are: numbers whose sums and products are of the same kind.
pub(crate) trait Number:
    Copy + Default + PartialOrd + Send + Sync + 'static + Add<Output = Self> + Mul<Output = Self>
{
}
impl<T> Number for T where T: Copy + Default + PartialOrd + Send + Sync + 'static + Add<Output = T> + Mul<Output = T> {}

/// One tile: `c[i][j] = (from_c ? c[i][j] : 0) + sum over p of a[i][p] * b[p][j]`, in the order of p, then what the
/// epilogue says.
pub(crate) struct Tile<T> {
    pub k: usize,
    pub a: *const T,
    /// Strides of A and row stride of B; used by the kernels that read operands where they lie. Packed A has its rows
    /// interleaved, packed B is as wide as the tile.
    pub a_rs: isize,
    pub a_cs: isize,
    pub b: *const T,
    pub b_rs: isize,
    /// Where a tile that reads B where it lies packs it for those after it.
    pub packed_b: *mut T,
    pub c: *mut T,
    pub c_rs: isize,
    /// The tile of C that comes next, to be fetched meanwhile if it adds to what is there (packed operands only, as `ahead`);
    /// null if no line of C needs fetching, this tile's included.
    pub next: *const T,
    pub ahead: Ahead,
    /// Columns of C that exist; at most the width of the tile.
    pub n: usize,
    pub from_c: bool,
    /// For `Kernels::finish`, which then takes the place of what follows.
    pub plus: Summand<T>,
    /// Added to each row / each column after the sum, unless null.
    pub row_bias: *const T,
    pub col_bias: *const T,
    pub relu: bool,
}

/// Steps of k by which a tile with `FETCH` asks for lines of B and of A before it reads them.
const B_AHEAD: isize = 8;
const A_AHEAD: isize = 16;
/// Steps of k left to do when the last line of C has been asked for.
const LATE: usize = 8;

/// [`opaque`] for a stride.
#[inline(always)]
fn opaque_stride(bytes: isize) -> isize {
    opaque(std::ptr::without_provenance::<u8>(bytes as usize)).addr() as isize
}

/// With `FETCH` lines of A and B are asked for into the first-level cache before they are read: where it is too small to
/// keep a panel of B. With `PACKS` (whole tiles only) B is read where it lies, and packed on the way.
///
/// # Safety
/// All addresses that the fields describe lie in live memory; packed operands reach to the tile's full width.
#[inline(always)]
#[allow(unused_assignments, reason = "what the last step leaves of what it goes on with")]
pub(super) unsafe fn tile<
    T: Copy + Default,
    L: Lanes<T>,
    const MR: usize,
    const NV: usize,
    const DIRECT: bool,
    const FETCH: bool,
    const PACKS: bool,
>(
    l: L,
    t: &Tile<T>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut acc = [[l.splat(T::default()); NV]; MR];
        let left = |v: usize| t.n.saturating_sub(v * L::N);
        // Masks cost registers and time (AVX-512 on Intel: a part of the units that multiply).
        let whole = t.n >= NV * L::N;
        if t.from_c {
            for i in 0..MR {
                for v in 0..NV {
                    let from = t.c.offset(i as isize * t.c_rs).wrapping_add(v * L::N);
                    acc[i][v] = if whole { l.load(from) } else { l.load_n(from, left(v)) };
                }
            }
        }
        let mut b = t.b;
        let a_cs = if DIRECT { t.a_cs } else { MR as isize };
        let b_rs = if DIRECT || PACKS { t.b_rs } else { (NV * L::N) as isize };
        let mut packed_b = t.packed_b;
        // Rows of A: five from each of three pointers, whose distances a processor's addresses can hold.
        let bytes = size_of::<T>() as isize;
        let (one, three) = if DIRECT {
            (opaque_stride(bytes * t.a_rs), opaque_stride(3 * bytes * t.a_rs))
        } else {
            (bytes, 3 * bytes)
        };
        let mut first = t.a;
        let mut sixth = first.wrapping_byte_offset(5 * one);
        let mut eleventh = first.wrapping_byte_offset(10 * one);
        // What is asked for of A: the next line of one row after another, or the same column of later rows.
        let (line, next_line) = match t.a_rs == 1 {
            true => (A_AHEAD / 2 * a_cs * bytes, a_cs * bytes),
            false => (128, one),
        };
        let mut wanted_a = first.wrapping_byte_offset(line);
        // A step of k, with B's vectors as loaded by `$load`.
        macro_rules! multiply {
            ($p:ident, $v:ident => $load:expr) => {{
                let mut row = [l.splat(T::default()); NV];
                for $v in 0..NV {
                    let $p = b.wrapping_add($v * L::N);
                    row[$v] = $load;
                    if PACKS {
                        l.store(packed_b.wrapping_add($v * L::N), row[$v]);
                    }
                }
                if PACKS {
                    packed_b = packed_b.wrapping_add(NV * L::N);
                }
                if FETCH {
                    for v in 0..NV {
                        l.prefetch(b.wrapping_offset(B_AHEAD * b_rs).wrapping_add(v * L::N));
                    }
                    if PACKS {
                        // Vectors that straddle lines reach into one more.
                        l.prefetch(b.wrapping_offset(B_AHEAD * b_rs).wrapping_add(NV * L::N - 1));
                    }
                    if DIRECT {
                        l.prefetch(wanted_a);
                        wanted_a = wanted_a.wrapping_byte_offset(next_line);
                    } else {
                        // A step takes up to a line of A, two of doubles.
                        for part in 0..size_of::<T>().div_ceil(4) {
                            l.prefetch(
                                first
                                    .wrapping_offset(A_AHEAD * a_cs)
                                    .wrapping_byte_add(part * LINE),
                            );
                        }
                    }
                }
                let rows = [
                    first,
                    first.wrapping_byte_offset(one),
                    first.wrapping_byte_offset(2 * one),
                    first.wrapping_byte_offset(three),
                    first.wrapping_byte_offset(4 * one),
                    sixth,
                    sixth.wrapping_byte_offset(one),
                    sixth.wrapping_byte_offset(2 * one),
                    sixth.wrapping_byte_offset(three),
                    sixth.wrapping_byte_offset(4 * one),
                    eleventh,
                    eleventh.wrapping_byte_offset(one),
                    eleventh.wrapping_byte_offset(2 * one),
                    eleventh.wrapping_byte_offset(three),
                ];
                for i in 0..MR {
                    let x = l.splat(if DIRECT { *rows[i] } else { *first.wrapping_add(i) });
                    for v in 0..NV {
                        acc[i][v] = l.fma(x, row[v], acc[i][v]);
                    }
                }
                first = first.wrapping_offset(a_cs);
                sixth = sixth.wrapping_offset(a_cs);
                eleventh = eleventh.wrapping_offset(a_cs);
                if DIRECT {
                    (first, sixth, eleventh) = (opaque(first), opaque(sixth), opaque(eleventh));
                }
                b = b.wrapping_offset(b_rs);
            }};
        }
        // As many steps of k as the number says.
        macro_rules! steps {
            ($steps:expr, $p:ident, $v:ident => $load:expr) => {
                let mut left_k: usize = $steps;
                while left_k > 0 {
                    let some = if DIRECT && FETCH {
                        left_k.min(A_AHEAD as usize)
                    } else {
                        left_k
                    };
                    wanted_a = first.wrapping_byte_offset(line);
                    if DIRECT {
                        for _ in 0..some {
                            multiply!($p, $v => $load);
                        }
                    } else {
                        for _ in 0..some / 2 {
                            multiply!($p, $v => $load);
                            multiply!($p, $v => $load);
                        }
                        if some % 2 == 1 {
                            multiply!($p, $v => $load);
                        }
                    }
                    left_k -= some;
                }
            };
        }
        if DIRECT && !whole {
            steps!(t.k, p, v => l.load_n(p, left(v)));
        } else {
            // Lines of C, maybe another core's, are asked for near the end: it takes a while until they may be written (or
            // added to, by the next tile). One with each step: all together would keep B's lines waiting, and a loop that
            // pauses for some loses the more time, the smaller k.
            let mut wanted = if t.from_c { t.next } else { t.c.cast_const() };
            let asks = !t.next.is_null() && !(DIRECT && (t.from_c || FETCH));
            let asks_by_steps = asks && t.k >= (MR * NV).max(32);
            let last = if asks_by_steps {
                MR * NV + LATE.min(t.k - MR * NV)
            } else {
                0
            };
            let mut first_steps = t.k - last;
            if !DIRECT {
                let mut ahead = t.ahead;
                macro_rules! ask_ahead {
                    ($together:literal) => {
                        while ahead.runs > 0 && first_steps > 0 {
                            let (some, mut at) = (ahead.lines.div_ceil($together).min(first_steps), ahead.at);
                            for _ in 0..some {
                                multiply!(p, v => l.load(p));
                                for _ in 0..$together {
                                    l.prefetch_far(at.cast());
                                    at = at.wrapping_add(LINE);
                                }
                            }
                            first_steps -= some;
                            (ahead.runs, ahead.at) = (ahead.runs - 1, ahead.at.wrapping_offset(ahead.step));
                        }
                    };
                }
                // More lines than steps: few rows.
                if ahead.runs * ahead.lines > first_steps {
                    ask_ahead!(4);
                } else {
                    ask_ahead!(1);
                }
            }
            if !DIRECT && asks && !asks_by_steps && first_steps >= MR {
                // Few steps: a row with each.
                for _ in 0..MR {
                    for v in 0..NV {
                        l.prefetch_write(wanted.wrapping_add(v * L::N));
                    }
                    multiply!(p, v => l.load(p));
                    wanted = wanted.wrapping_offset(t.c_rs);
                }
                first_steps -= MR;
            }
            steps!(first_steps, p, v => l.load(p));
            if asks_by_steps {
                wanted_a = first.wrapping_byte_offset(line);
                for _ in 0..MR {
                    for v in 0..NV {
                        multiply!(p, v => l.load(p));
                        l.prefetch_write(wanted.wrapping_add(v * L::N));
                    }
                    wanted = wanted.wrapping_offset(t.c_rs);
                }
                steps!(last - MR * NV, p, v => l.load(p));
            }
        }
        if !t.col_bias.is_null() {
            for v in 0..NV {
                let bias = l.load_n(t.col_bias.wrapping_add(v * L::N), left(v));
                for i in 0..MR {
                    acc[i][v] = l.add(acc[i][v], bias);
                }
            }
        }
        if !t.row_bias.is_null() {
            for i in 0..MR {
                let bias = l.splat(*t.row_bias.add(i));
                for v in 0..NV {
                    acc[i][v] = l.add(acc[i][v], bias);
                }
            }
        }
        if t.relu {
            for i in 0..MR {
                for v in 0..NV {
                    acc[i][v] = l.relu(acc[i][v]);
                }
            }
        }
        for i in 0..MR {
            for v in 0..NV {
                let to = t.c.offset(i as isize * t.c_rs).wrapping_add(v * L::N);
                if whole {
                    l.store(to, acc[i][v]);
                } else {
                    l.store_n(to, acc[i][v], left(v));
                }
            }
        }
    }
}

/// The epilogue of a tile with a summand, whose plain sums stand in C: in a function of its own, because the tile's
/// registers are spilled where its loops are not unrolled.
///
/// # Safety
/// As for `tile`, of `rows` rows.
#[inline(always)]
pub(super) unsafe fn finish<T: Copy + Default, L: Lanes<T>>(l: L, t: &Tile<T>, rows: usize) {
    let (alpha, beta) = (l.splat(t.plus.alpha), l.splat(t.plus.beta));
    for i in 0..rows {
        let line = t.plus.of.wrapping_offset(i as isize * t.plus.rs);
        for j in (0..t.n).step_by(L::N) {
            let left = t.n - j;
            // SAFETY: the caller's promise.
            unsafe {
                let of = if t.plus.cs == 1 {
                    l.load_n(line.wrapping_add(j), left)
                } else {
                    let mut lanes = [T::default(); 16];
                    for x in 0..left.min(L::N) {
                        lanes[x] = *line.wrapping_offset((j + x) as isize * t.plus.cs);
                    }
                    l.load(lanes.as_ptr())
                };
                let c = t.c.wrapping_offset(i as isize * t.c_rs).wrapping_add(j);
                let mut v = l.add(l.mul(alpha, l.load_n(c, left)), l.mul(beta, of));
                if !t.col_bias.is_null() {
                    v = l.add(v, l.load_n(t.col_bias.wrapping_add(j), left));
                }
                if !t.row_bias.is_null() {
                    v = l.add(v, l.splat(*t.row_bias.add(i)));
                }
                l.store_n(c, if t.relu { l.relu(v) } else { v }, left);
            }
        }
    }
}

/// Rows whose dot products are made at once, at most: their lines come from memory as so many streams, which is sooner.
const DOTS: usize = 4;

/// Dot products of `rows` contiguous rows of A, `a_rs` apart, and a contiguous vector: each in 64 virtual lanes, element i in
/// lane i mod 64, joined in halves.
///
/// # Safety
/// The rows and `b` have `k` elements, `sums` has one for each row.
#[inline(always)]
pub(super) unsafe fn dots<T: Copy + Default + Add<Output = T>, L: Lanes<T>>(
    l: L,
    a: *const T,
    a_rs: isize,
    rows: usize,
    b: *const T,
    k: usize,
    sums: *mut T,
) {
    // As many as the sums of which fill half of 32 registers.
    let together = if L::N >= 16 {
        DOTS
    } else if L::N == 8 && size_of::<T>() == 8 {
        2
    } else {
        1
    };
    let mut i = 0;
    while i < rows {
        let (from, to) = (a.wrapping_offset(i as isize * a_rs), sums.wrapping_add(i));
        // SAFETY: the caller's promise.
        unsafe {
            if together == DOTS && i + DOTS <= rows {
                dot::<T, L, DOTS>(l, from, a_rs, b, k, to);
                i += DOTS;
            } else if together > 1 && i + 2 <= rows {
                dot::<T, L, 2>(l, from, a_rs, b, k, to);
                i += 2;
            } else {
                dot::<T, L, 1>(l, from, a_rs, b, k, to);
                i += 1;
            }
        }
    }
}

/// [`dots`] of `R` rows.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn dot<T: Copy + Default + Add<Output = T>, L: Lanes<T>, const R: usize>(
    l: L,
    a: *const T,
    a_rs: isize,
    b: *const T,
    k: usize,
    sums: *mut T,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut acc = [[l.splat(T::default()); 64]; R];
        let mut rows = [a; R];
        for r in 0..R {
            rows[r] = a.wrapping_offset(r as isize * a_rs);
        }
        let vectors = 64 / L::N;
        let mut p = 0;
        while p + 64 <= k {
            for v in 0..vectors {
                let at = p + v * L::N;
                let y = l.load(b.add(at));
                for r in 0..R {
                    acc[r][v] = l.fma(l.load(rows[r].add(at)), y, acc[r][v]);
                }
            }
            p += 64;
        }
        if p < k {
            // Missing elements count as zeros in all 64 lanes, whatever the width of a vector.
            for v in 0..vectors {
                let (at, left) = (p + v * L::N, (k - p).saturating_sub(v * L::N));
                let y = l.load_n(b.wrapping_add(at), left);
                for r in 0..R {
                    acc[r][v] = l.fma(l.load_n(rows[r].wrapping_add(at), left), y, acc[r][v]);
                }
            }
        }
        for r in 0..R {
            let mut half = vectors / 2;
            while half > 0 {
                for v in 0..half {
                    acc[r][v] = l.add(acc[r][v], acc[r][v + half]);
                }
                half /= 2;
            }
            let mut lanes = [T::default(); 64];
            l.store(lanes.as_mut_ptr(), acc[r][0]);
            let mut half = L::N / 2;
            while half > 0 {
                for i in 0..half {
                    lanes[i] = lanes[i] + lanes[i + half];
                }
                half /= 2;
            }
            *sums.add(r) = lanes[0];
        }
    }
}

pub(crate) type TileFn<T> = unsafe fn(&Tile<T>);

impl<T: Copy> Tile<T> {
    /// # Safety
    /// `kernel` is for tiles of `rows` rows; else as for `tile`.
    #[inline]
    pub unsafe fn run(&self, kernels: &Products<T>, kernel: TileFn<T>, rows: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            if self.plus.of.is_null() {
                return kernel(self);
            }
            let null = std::ptr::null();
            kernel(&Tile {
                row_bias: null,
                col_bias: null,
                relu: false,
                ..*self
            });
            (kernels.finish)(self, rows)
        }
    }
}

/// The kernels of a product of one element type compiled for one instruction set.
pub(crate) struct Products<T: 'static> {
    /// `tiles[rows - 1][wide]` on packed operands; a wide tile has `nr` columns, the other `narrow`.
    pub tiles: &'static [[TileFn<T>; 2]],
    /// The same on operands where they lie (B with unit column stride): tall ones as wide as packed ones, and low ones
    /// of `direct_nr` columns.
    pub tall: &'static [[TileFn<T>; 2]],
    /// `packing[rows - 1][A where it lies, not packed]`, wide, on a B of unit column stride, which they pack; none without
    /// `fetch`.
    pub packing: &'static [[TileFn<T>; 2]],
    /// `tall` for a B that stays in the first-level cache: without asking for lines ahead, which then only costs time.
    pub near: &'static [[TileFn<T>; 2]],
    pub direct: &'static [[TileFn<T>; 2]],
    /// Tiles of packed operands and tall ones ask for lines ahead; and packing A pays sooner, since its lines come one after
    /// another.
    pub fetch: bool,
    pub nr: usize,
    pub narrow: usize,
    pub direct_nr: usize,
    pub pack: unsafe fn(&PackArgs<T>),
    /// Rows of A, how far they lie apart, how many; the vector, k, where the sums go.
    pub dots: unsafe fn(*const T, isize, usize, *const T, usize, *mut T),
    pub finish: unsafe fn(&Tile<T>, usize),
    /// Of one, two and four columns.
    pub thin: [unsafe fn(&ThinArgs<T>); 3],
    /// `few[B's columns are contiguous, not its rows]`.
    pub few: [unsafe fn(&FewArgs<T>); 2],
}

/// Bytes of B that [`Products::near`] is for, at most.
const NEAR: usize = 24 << 10;

impl<T> Products<T> {
    /// `tall`, or `near` for a B of this size.
    #[inline]
    pub fn tall_for(&self, n: usize, k: usize) -> &'static [[TileFn<T>; 2]] {
        if n.saturating_mul(k).saturating_mul(size_of::<T>()) <= NEAR {
            self.near
        } else {
            self.tall
        }
    }
}

macro_rules! products {
    ($(#[$feature:meta])* $name:ident, $t:ty, $l:ty, [$($mr:literal)*] x $nv:literal, [$($dmr:literal)*] x $dnv:literal) => {
        pub(super) mod $name {
            use super::*;
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn packed<const MR: usize, const NV: usize, const FETCH: bool>(t: &Tile<$t>) {
                // SAFETY: the caller's promise.
                unsafe { tile::<$t, $l, MR, NV, false, FETCH, false>(<$l as Lanes<$t>>::assume(), t) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn direct<const MR: usize, const NV: usize, const FETCH: bool>(t: &Tile<$t>) {
                // SAFETY: the caller's promise.
                unsafe { tile::<$t, $l, MR, NV, true, FETCH, false>(<$l as Lanes<$t>>::assume(), t) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn packing<const MR: usize, const DIRECT: bool>(t: &Tile<$t>) {
                // SAFETY: the caller's promise.
                unsafe { tile::<$t, $l, MR, $nv, DIRECT, true, true>(<$l as Lanes<$t>>::assume(), t) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn end(t: &Tile<$t>, rows: usize) {
                // SAFETY: the caller's promise.
                unsafe { finish(<$l as Lanes<$t>>::assume(), t, rows) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn last_columns<const E: usize>(args: &ThinArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { thin::<$t, $l, E>(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn pack_panel(args: &PackArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { pack(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn dots64(a: *const $t, a_rs: isize, rows: usize, b: *const $t, k: usize, sums: *mut $t) {
                // SAFETY: the caller's promise.
                unsafe { dots(<$l as Lanes<$t>>::assume(), a, a_rs, rows, b, k, sums) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn few_rows(args: &FewArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { few(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn few_rows_turned(args: &FewArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { few_turned(<$l as Lanes<$t>>::assume(), args) }
            }
            /// Those whose tiles ask for what they will read, or do not.
            pub(in super::super) struct Table<const FETCH: bool>;
            impl<const FETCH: bool> Table<FETCH> {
                pub const PRODUCTS: Products<$t> = Products {
                    tiles: &[$([packed::<$mr, 1, FETCH>, packed::<$mr, $nv, FETCH>]),*],
                    tall: &[$([direct::<$mr, 1, FETCH>, direct::<$mr, $nv, FETCH>]),*],
                    packing: if FETCH { &[$([packing::<$mr, false>, packing::<$mr, true>]),*] } else { &[] },
                    near: &[$([direct::<$mr, 1, false>, direct::<$mr, $nv, false>]),*],
                    direct: &[$([direct::<$dmr, 1, false>, direct::<$dmr, $dnv, false>]),*],
                    fetch: FETCH,
                    nr: $nv * <$l as Lanes<$t>>::N,
                    narrow: <$l as Lanes<$t>>::N,
                    direct_nr: $dnv * <$l as Lanes<$t>>::N,
                    pack: pack_panel,
                    dots: dots64,
                    finish: end,
                    thin: [last_columns::<1>, last_columns::<2>, last_columns::<4>],
                    few: [few_rows, few_rows_turned],
                };
            }
        }
    };
}
pub(super) use products;
