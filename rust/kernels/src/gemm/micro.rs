//! Micro-kernels: one register tile of C, and the dot product with 64 virtual lanes.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use super::ahead::{Ahead, STEPS};
use super::epilogue::Summand;
use super::few::{FewArgs, few, few_turned};
use super::pack::{PackArgs, pack};
use crate::conv::border::{CopyArgs, border_copy};
use crate::conv::doubles::{DoubleArgs, double};
use crate::conv::flat::{FlatSums, flat_sums};
use crate::conv::inplace::{InPlaceArgs, in_place};
use crate::conv::lines::{LineFn, LineTile, line_tile, spread_line};
use crate::conv::pairs::{PairArgs, pair};
use crate::conv::patches::{LineArgs, PatchArgs, TapArgs, copy_lines, pack_patches, pack_taps};
use crate::conv::plane::{CorrelateArgs, PlaneArgs, correlate, plane};
use crate::conv::ring::{RingArgs, ring};
use crate::conv::taps::{TapSums, tap_sums};
use crate::conv::window::{STRETCHES, ShiftArgs, WindowArgs, shifts, window};
use crate::conv::winograd::{Stage, stage};
#[cfg(target_arch = "aarch64")]
use crate::simd::vec::Neon;
#[cfg(target_arch = "x86_64")]
use crate::simd::vec::{Avx2, Avx512};
use crate::simd::vec::{Lanes, Scalar};
use crate::simd::{Isa, cache, opaque};
use std::ops::{Add, Mul, Sub};

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

/// [`opaque`] for a stride.
#[inline(always)]
fn opaque_stride(bytes: isize) -> isize {
    opaque(std::ptr::without_provenance::<u8>(bytes as usize)).addr() as isize
}

/// With `FETCH` lines of A and B are asked for into the first-level cache before they are read: where it is too small to
/// keep a panel of B.
///
/// # Safety
/// All addresses that the fields describe lie in live memory; packed operands reach to the tile's full width.
#[inline(always)]
pub(super) unsafe fn tile<
    T: Copy + Default,
    L: Lanes<T>,
    const MR: usize,
    const NV: usize,
    const DIRECT: bool,
    const FETCH: bool,
>(
    l: L,
    t: &Tile<T>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        // Lines of C, maybe another core's: it takes a while until they may be written (or added to, by the next tile). One
        // row after another towards the end: all at the beginning would keep B's lines waiting.
        let asks = !t.next.is_null()
            && match t.from_c {
                true => !DIRECT,
                false => t.k >= if FETCH { 256 } else { 32 },
            };
        let mut asked = if asks { 0 } else { MR };
        let mut acc = [[l.splat(T::default()); NV]; MR];
        let left = |v: usize| t.n.saturating_sub(v * L::N);
        if t.from_c {
            for i in 0..MR {
                for v in 0..NV {
                    acc[i][v] = l.load_n(t.c.offset(i as isize * t.c_rs).wrapping_add(v * L::N), left(v));
                }
            }
        }
        let mut b = t.b;
        let (a_cs, b_rs) = if DIRECT {
            (t.a_cs, t.b_rs)
        } else {
            (MR as isize, (NV * L::N) as isize)
        };
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
        let (mut ahead, mut left_k) = (t.ahead, t.k);
        // Masks take registers that the sums need, or (AVX-512 on Intel) a part of the units that multiply.
        let plain = !DIRECT || t.n >= NV * L::N;
        // Steps of k, with B's vectors as loaded by `$load`.
        macro_rules! multiply {
            ($steps:ident: $p:ident, $v:ident => $load:expr) => {
                for _ in 0..$steps {
                    let mut row = [l.splat(T::default()); NV];
                    for $v in 0..NV {
                        let $p = b.wrapping_add($v * L::N);
                        row[$v] = $load;
                    }
                    if FETCH {
                        for v in 0..NV {
                            l.prefetch(b.wrapping_offset(B_AHEAD * b_rs).wrapping_add(v * L::N));
                        }
                        if DIRECT {
                            l.prefetch(wanted_a);
                            wanted_a = wanted_a.wrapping_byte_offset(next_line);
                        } else {
                            l.prefetch(first.wrapping_offset(A_AHEAD * a_cs));
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
                        let x = l.splat(*rows[i]);
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
                }
            };
        }
        if DIRECT && !asks {
            // Short: no more than is needed.
            if plain {
                multiply!(left_k: p, v => l.load(p));
            } else {
                multiply!(left_k: p, v => l.load_n(p, left(v)));
            }
            left_k = 0;
        }
        while left_k > 0 {
            let mut steps = left_k;
            if !DIRECT && ahead.runs > 0 {
                for _ in 0..ahead.at_once.min(ahead.runs) {
                    for line in 0..ahead.lines {
                        l.prefetch_far(ahead.at.wrapping_add(64 * line).cast());
                    }
                    ahead.at = ahead.at.wrapping_offset(ahead.step);
                }
                ahead.runs = ahead.runs.saturating_sub(ahead.at_once);
                steps = steps.min(STEPS);
            }
            if asked < MR {
                if left_k > MR * STEPS {
                    steps = steps.min(left_k - MR * STEPS);
                } else {
                    let wanted = if t.from_c { t.next } else { t.c.cast_const() };
                    let at_once = if t.k < MR * STEPS {
                        (MR * STEPS).div_ceil(t.k.max(1))
                    } else {
                        1
                    };
                    for i in asked..MR.min(asked + at_once) {
                        for v in 0..NV {
                            l.prefetch_write(wanted.wrapping_offset(i as isize * t.c_rs).wrapping_add(v * L::N));
                        }
                    }
                    asked += at_once;
                    steps = steps.min(STEPS);
                }
            }
            if DIRECT && FETCH {
                steps = steps.min(A_AHEAD as usize);
                wanted_a = first.wrapping_byte_offset(line);
            }
            if plain {
                multiply!(steps: p, v => l.load(p));
            } else {
                multiply!(steps: p, v => l.load_n(p, left(v)));
            }
            left_k -= steps;
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
                l.store_n(
                    t.c.offset(i as isize * t.c_rs).wrapping_add(v * L::N),
                    acc[i][v],
                    left(v),
                );
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

/// Dot product of two contiguous vectors: 64 virtual lanes, element i in lane i mod 64, joined in halves.
///
/// # Safety
/// `a` and `b` point to `k` elements.
#[inline(always)]
pub(super) unsafe fn dot<T: Copy + Default + std::ops::Add<Output = T>, L: Lanes<T>>(
    l: L,
    a: *const T,
    b: *const T,
    k: usize,
) -> T {
    // SAFETY: the caller's promise.
    unsafe {
        let zero = l.splat(T::default());
        let mut acc = [zero; 64];
        let vectors = 64 / L::N;
        let mut p = 0;
        while p + 64 <= k {
            for v in 0..vectors {
                let at = p + v * L::N;
                acc[v] = l.fma(l.load(a.add(at)), l.load(b.add(at)), acc[v]);
            }
            p += 64;
        }
        if p < k {
            // Missing elements count as zeros in all 64 lanes, whatever the width of a vector.
            for v in 0..vectors {
                let (at, left) = (p + v * L::N, (k - p).saturating_sub(v * L::N));
                let (x, y) = (l.load_n(a.wrapping_add(at), left), l.load_n(b.wrapping_add(at), left));
                acc[v] = l.fma(x, y, acc[v]);
            }
        }
        let mut half = vectors / 2;
        while half > 0 {
            for v in 0..half {
                acc[v] = l.add(acc[v], acc[v + half]);
            }
            half /= 2;
        }
        let mut lanes = [T::default(); 64];
        l.store(lanes.as_mut_ptr(), acc[0]);
        let mut half = L::N / 2;
        while half > 0 {
            for i in 0..half {
                lanes[i] = lanes[i] + lanes[i + half];
            }
            half /= 2;
        }
        lanes[0]
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
    pub direct: &'static [[TileFn<T>; 2]],
    /// Tiles of packed operands and tall ones ask for lines ahead; and packing A pays sooner, since its lines come one after
    /// another.
    pub fetch: bool,
    pub nr: usize,
    pub narrow: usize,
    pub direct_nr: usize,
    pub pack: unsafe fn(&PackArgs<T>),
    pub dot: unsafe fn(*const T, *const T, usize) -> T,
    pub finish: unsafe fn(&Tile<T>, usize),
    /// `few[B's columns are contiguous, not its rows]`.
    pub few: [unsafe fn(&FewArgs<T>); 2],
}

/// Those, and what convolutions need besides.
pub(crate) struct Kernels<T: 'static> {
    pub products: Products<T>,
    pub pack_patches: unsafe fn(&PatchArgs<T>),
    pub pack_taps: unsafe fn(&TapArgs<T>),
    /// `windows[four output channels, else one][wide]`; a wide stretch has two vectors, the other `narrow` positions.
    pub windows: [[unsafe fn(&WindowArgs<T>); 2]; 2],
    pub shifts: unsafe fn(&ShiftArgs<T>),
    /// `planes[column step - 1]`.
    pub planes: [unsafe fn(&PlaneArgs<T>); 2],
    /// `border_copies[column step - 1]`, `rings[window's side][row step - 1]`.
    pub border_copies: [unsafe fn(&CopyArgs<T>); 2],
    pub rings: [[unsafe fn(&RingArgs<T>); 2]; 3],
    pub pairs: unsafe fn(&PairArgs<T>),
    /// `correlate[gradient planes - 1][column step - 1]`.
    pub correlate: [[unsafe fn(&CorrelateArgs<T>); 2]; 3],
    /// `tap_sums[window's side][step - 1]`.
    pub tap_sums: [[unsafe fn(&TapSums<T>); 2]; 3],
    pub flat_sums: unsafe fn(&FlatSums<T>),
    /// `in_place[window's side][step - 1]`.
    pub in_place: [[unsafe fn(&InPlaceArgs<T>); 2]; 3],
    /// `doubles[even rows have two taps][even columns have two taps]`.
    pub doubles: [[unsafe fn(&DoubleArgs<T>); 2]; 2],
    pub winograd: unsafe fn(&Stage<T>),
    pub copy_lines: unsafe fn(&LineArgs<T>),
    pub spread_line: unsafe fn(*const T, usize, *mut T),
    /// `line_tiles[packed][rows - 1][wide]`, of the sizes of `tiles`.
    pub line_tiles: [&'static [[LineFn<T>; 2]]; 2],
}

impl<T> std::ops::Deref for Kernels<T> {
    type Target = Products<T>;
    fn deref(&self) -> &Products<T> {
        &self.products
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
                unsafe { tile::<$t, $l, MR, NV, false, FETCH>(<$l as Lanes<$t>>::assume(), t) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn direct<const MR: usize, const NV: usize, const FETCH: bool>(t: &Tile<$t>) {
                // SAFETY: the caller's promise.
                unsafe { tile::<$t, $l, MR, NV, true, FETCH>(<$l as Lanes<$t>>::assume(), t) }
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
            unsafe fn pack_panel(args: &PackArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { pack(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn dot64(a: *const $t, b: *const $t, k: usize) -> $t {
                // SAFETY: the caller's promise.
                unsafe { dot(<$l as Lanes<$t>>::assume(), a, b, k) }
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
                    direct: &[$([direct::<$dmr, 1, false>, direct::<$dmr, $dnv, false>]),*],
                    fetch: FETCH,
                    nr: $nv * <$l as Lanes<$t>>::N,
                    narrow: <$l as Lanes<$t>>::N,
                    direct_nr: $dnv * <$l as Lanes<$t>>::N,
                    pack: pack_panel,
                    dot: dot64,
                    finish: end,
                    few: [few_rows, few_rows_turned],
                };
            }
            pub(in super::super) const TABLE: Products<$t> = Table::<false>::PRODUCTS;
        }
    };
}
pub(super) use products;

macro_rules! kernels {
    ($(#[$feature:meta])* $name:ident, $t:ty, $l:ty, [$($mr:literal)*] x $nv:literal, [$($dmr:literal)*] x $dnv:literal) => {
        mod $name {
            use super::*;
            products!($(#[$feature])* products, $t, $l, [$($mr)*] x $nv, [$($dmr)*] x $dnv);
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn patch_panel(args: &PatchArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { pack_patches(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn tap_panel(args: &TapArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { pack_taps(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn windows<const M: usize, const S: usize, const V: usize>(args: &WindowArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { window::<$t, $l, M, S, V>(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn shift_dots(args: &ShiftArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { shifts(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn one_plane<const S: usize>(args: &PlaneArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { plane::<$t, $l, S>(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn plane_copy<const S: usize>(args: &CopyArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { border_copy::<$t, $l, S>(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn rings<const K: usize, const S: usize>(args: &RingArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { ring::<$t, $l, K, S>(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn plane_pairs(args: &PairArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { pair::<$t, $l>(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn correlation<const M: usize, const S: usize>(args: &CorrelateArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { correlate::<$t, $l, M, S>(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn sums_of_taps<const K: usize, const S: usize>(args: &TapSums<$t>) {
                // SAFETY: the caller's promise.
                unsafe { tap_sums::<$t, $l, K, S>(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn sums_of_positions(args: &FlatSums<$t>) {
                // SAFETY: the caller's promise.
                unsafe { flat_sums::<$t, $l>(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn doubled<const LE: bool, const CE: bool>(args: &DoubleArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { double::<$t, $l, LE, CE>(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn planes_in_place<const K: usize, const S: usize>(args: &InPlaceArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { in_place::<$t, $l, K, S>(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn minimal_filtering(args: &Stage<$t>) {
                // SAFETY: the caller's promise.
                unsafe { stage::<$t, $l>(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn line_copy(args: &LineArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { copy_lines(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn line_spread(src: *const $t, len: usize, dst: *mut $t) {
                // SAFETY: the caller's promise.
                unsafe { spread_line(<$l as Lanes<$t>>::assume(), src, len, dst) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn lines<const MR: usize, const NV: usize, const PACKED: bool>(t: &LineTile<$t>) {
                // SAFETY: the caller's promise.
                unsafe { line_tile::<$t, $l, MR, NV, PACKED>(<$l as Lanes<$t>>::assume(), t) }
            }
            pub(super) static KERNELS: Kernels<$t> = TABLE;
            pub(super) const TABLE: Kernels<$t> = Kernels {
                products: products::TABLE,
                pack_patches: patch_panel,
                pack_taps: tap_panel,
                windows: [[windows::<1, STRETCHES, 1>, windows::<1, STRETCHES, 2>], [windows::<4, 1, 1>, windows::<4, 1, 2>]],
                shifts: shift_dots,
                pairs: plane_pairs,
                border_copies: [plane_copy::<1>, plane_copy::<2>],
                rings: [
                    [rings::<3, 1>, rings::<3, 2>],
                    [rings::<5, 1>, rings::<5, 2>],
                    [rings::<7, 1>, rings::<7, 2>],
                ],
                planes: [one_plane::<1>, one_plane::<2>],
                correlate: [
                    [correlation::<1, 1>, correlation::<1, 2>],
                    [correlation::<2, 1>, correlation::<2, 2>],
                    [correlation::<3, 1>, correlation::<3, 2>],
                ],
                tap_sums: [
                    [sums_of_taps::<3, 1>, sums_of_taps::<3, 2>],
                    [sums_of_taps::<5, 1>, sums_of_taps::<5, 2>],
                    [sums_of_taps::<7, 1>, sums_of_taps::<7, 2>],
                ],
                flat_sums: sums_of_positions,
                in_place: [
                    [planes_in_place::<3, 1>, planes_in_place::<3, 2>],
                    [planes_in_place::<5, 1>, planes_in_place::<5, 2>],
                    [planes_in_place::<7, 1>, planes_in_place::<7, 2>],
                ],
                doubles: [
                    [doubled::<false, false>, doubled::<false, true>],
                    [doubled::<true, false>, doubled::<true, true>],
                ],
                winograd: minimal_filtering,
                copy_lines: line_copy,
                spread_line: line_spread,
                line_tiles: [
                    &[$([lines::<$mr, 1, false>, lines::<$mr, $nv, false>]),*],
                    &[$([lines::<$mr, 1, true>, lines::<$mr, $nv, true>]),*],
                ],
            };
        }
    };
}

macro_rules! kernels_of {
    ($t:ty: $portable:ident $scalar:ident $avx2:ident $avx512:ident $fetching:ident $neon:ident) => {
        kernels!($portable, $t, Scalar, [1 2 3 4] x 4, [1 2 3 4] x 4);
        #[cfg(target_arch = "x86_64")]
        kernels!(#[target_feature(enable = "fma,bmi1,bmi2,lzcnt,f16c")]
            $scalar, $t, Scalar, [1 2 3 4] x 4, [1 2 3 4] x 4);
        #[cfg(target_arch = "x86_64")]
        kernels!(#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,f16c")]
            $avx2, $t, Avx2, [1 2 3 4 5 6] x 2, [1 2 3 4] x 2);
        #[cfg(target_arch = "x86_64")]
        kernels!(#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,f16c")]
            $avx512, $t, Avx512, [1 2 3 4 5 6 7 8 9 10 11 12 13 14] x 2, [1 2 3 4] x 4);
        #[cfg(target_arch = "x86_64")]
        mod $fetching {
            use super::*;
            pub(super) static KERNELS: Kernels<$t> = Kernels {
                products: $avx512::products::Table::<true>::PRODUCTS,
                ..$avx512::TABLE
            };
        }
        #[cfg(target_arch = "aarch64")]
        kernels!($neon, $t, Neon, [1 2 3 4 5 6 7 8 9 10 11 12] x 2, [1 2 3 4] x 4);

        impl HasProducts for $t {
            #[inline]
            fn products(isa: Isa) -> &'static Products<$t> {
                &<$t>::kernels(isa).products
            }
        }

        impl HasKernels for $t {
            #[inline]
            fn kernels(isa: Isa) -> &'static Kernels<$t> {
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 if cache::first_is_small() => &$fetching::KERNELS,
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => &$avx512::KERNELS,
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => &$avx2::KERNELS,
                    #[cfg(target_arch = "x86_64")]
                    Isa::Scalar => &$scalar::KERNELS,
                    #[cfg(target_arch = "aarch64")]
                    Isa::Avx512 | Isa::Avx2 => &$neon::KERNELS,
                    _ => &$portable::KERNELS,
                }
            }
        }
    };
}

/// Types with hand-written products.
pub(crate) trait HasProducts: Number {
    /// The table for an instruction set that the CPU has.
    fn products(isa: Isa) -> &'static Products<Self>;
}

/// Types with hand-written kernels for convolutions too.
pub(crate) trait HasKernels: HasProducts + Sub<Output = Self> {
    /// The table for an instruction set that the CPU has.
    fn kernels(isa: Isa) -> &'static Kernels<Self>;
}

kernels_of!(f32: portable_f32 scalar_f32 avx2_f32 avx512_f32 fetching_f32 neon_f32);
kernels_of!(f64: portable_f64 scalar_f64 avx2_f64 avx512_f64 fetching_f64 neon_f64);

/// Both tables for AVX-512, of which the processor's caches choose one.
#[cfg(all(test, target_arch = "x86_64"))]
pub(super) fn avx512_tables() -> [&'static Products<f32>; 2] {
    [&avx512_f32::KERNELS.products, &fetching_f32::KERNELS.products]
}
