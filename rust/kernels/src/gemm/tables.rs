//! Tables of kernels: what was compiled for one element type and instruction set, and which of them this processor takes.

use super::few::{FewArgs, few, few_turned};
use super::micro::{Number, Products, Tile, dots, finish, products, tile};
use super::pack::{PackArgs, pack};
use super::thin::{ThinArgs, thin};
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
use crate::conv::window::{ShiftArgs, WINDOW_TOGETHER, WindowArgs, shifts, stretches, window};
use crate::conv::winograd::steps;
use crate::simd::Isa;
#[cfg(target_arch = "x86_64")]
use crate::simd::cache;
#[cfg(target_arch = "aarch64")]
use crate::simd::vec::Neon;
#[cfg(target_arch = "x86_64")]
use crate::simd::vec::{Avx2, Avx512};
use crate::simd::vec::{Lanes, Scalar};
use std::ops::Sub;

/// Those, and what convolutions need besides.
pub(crate) struct Kernels<T: 'static> {
    pub products: Products<T>,
    pub pack_patches: unsafe fn(&PatchArgs<T>),
    pub pack_taps: unsafe fn(&TapArgs<T>),
    /// `windows[output channels - 1]`; a stretch has at most `narrow` positions.
    pub windows: [unsafe fn(&WindowArgs<T>); WINDOW_TOGETHER],
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
    pub winograd: steps::Steps<T>,
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

/// `fetch`: whether products ask for what they will read. With AVX2 they do everywhere: its tiles are low, and wait for A.
macro_rules! kernels {
    ($(#[$feature:meta])* $name:ident, $t:ty, $l:ty, $fetch:literal, [$($mr:literal)*] x $nv:literal, [$($dmr:literal)*] x $dnv:literal) => {
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
            unsafe fn windows<const M: usize, const S: usize>(args: &WindowArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { window::<$t, $l, M, S>(<$l as Lanes<$t>>::assume(), args) }
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
            unsafe fn filtering_windows(args: &steps::WindowArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { steps::window(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn filtering_filters(args: &steps::FilterArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { steps::filter(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn filtering_outputs(args: &steps::OutputArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { steps::output(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn filtering_taps(args: &steps::TapsArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { steps::taps(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn filtering_columns(args: &steps::ColumnsArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { steps::columns(<$l as Lanes<$t>>::assume(), args) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn filtering_across(args: &steps::AcrossArgs<$t>) {
                // SAFETY: the caller's promise.
                unsafe { steps::across(<$l as Lanes<$t>>::assume(), args) }
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
                products: products::Table::<$fetch>::PRODUCTS,
                pack_patches: patch_panel,
                pack_taps: tap_panel,
                windows: [
                    windows::<1, { stretches(1) }>,
                    windows::<2, { stretches(2) }>,
                    windows::<3, { stretches(3) }>,
                    windows::<4, { stretches(4) }>,
                    windows::<5, { stretches(5) }>,
                    windows::<6, { stretches(6) }>,
                ],
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
                winograd: steps::Steps {
                    window: filtering_windows,
                    filter: filtering_filters,
                    output: filtering_outputs,
                    taps: filtering_taps,
                    columns: filtering_columns,
                    across: filtering_across,
                },
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
        kernels!($portable, $t, Scalar, false, [1 2 3 4] x 4, [1 2 3 4] x 4);
        #[cfg(target_arch = "x86_64")]
        kernels!(#[target_feature(enable = "fma,bmi1,bmi2,lzcnt,f16c")]
            $scalar, $t, Scalar, false, [1 2 3 4] x 4, [1 2 3 4] x 4);
        #[cfg(target_arch = "x86_64")]
        kernels!(#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,f16c")]
            $avx2, $t, Avx2, true, [1 2 3 4 5 6] x 2, [1 2 3 4] x 2);
        #[cfg(target_arch = "x86_64")]
        kernels!(#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,f16c")]
            $avx512, $t, Avx512, false, [1 2 3 4 5 6 7 8 9 10 11 12 13 14] x 2, [1 2 3 4] x 4);
        #[cfg(target_arch = "x86_64")]
        mod $fetching {
            use super::*;
            pub(super) static KERNELS: Kernels<$t> = Kernels {
                products: $avx512::products::Table::<true>::PRODUCTS,
                ..$avx512::TABLE
            };
        }
        #[cfg(target_arch = "aarch64")]
        kernels!($neon, $t, Neon, false, [1 2 3 4 5 6 7 8 9 10 11 12] x 2, [1 2 3 4] x 4);

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
#[cfg(target_arch = "x86_64")]
pub(crate) fn avx512_tables() -> [&'static Products<f32>; 2] {
    [&avx512_f32::KERNELS.products, &fetching_f32::KERNELS.products]
}
