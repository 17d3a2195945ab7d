//! Small products that read their left factor where it lies, and blocks turned on their side: what attention and the
//! recurrent networks are made of.
//!
//! Each element of C is one chain of fused multiply-adds in the order of k, whatever the instruction set. The left factor
//! may be strided in any way (its elements are broadcast one by one), so a transposed one needs no packing; rows of B and
//! C have unit stride. Meant for a B that stays in the caches.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use crate::simd::Isa;
#[cfg(target_arch = "aarch64")]
use crate::simd::vec::Neon;
#[cfg(target_arch = "x86_64")]
use crate::simd::vec::{Avx2, Avx512};
use crate::simd::vec::{Lanes, Scalar};

/// `c[i][j] = (from_c ? c[i][j] : 0) + sum over p of a[i][p] * b[p][j]`. Strides in elements.
#[derive(Clone, Copy)]
pub(crate) struct Product<T> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: *const T,
    pub a_rs: isize,
    pub a_cs: isize,
    pub b: *const T,
    pub b_rs: isize,
    pub c: *mut T,
    pub c_rs: isize,
    pub from_c: bool,
}

/// `dst[c * ld + r] = src[r * rs + c * cs]` for the `rows` and `cols` that exist; zeros in further rows up to `width`.
#[derive(Clone, Copy)]
pub(crate) struct Turn<T> {
    pub src: *const T,
    pub rows: usize,
    pub cols: usize,
    pub rs: isize,
    pub cs: isize,
    pub dst: *mut T,
    pub ld: usize,
    /// A multiple of 8, at most `ld`.
    pub width: usize,
}

/// # Safety
/// The rows and columns of the tile lie in live memory; C overlaps neither A nor B.
#[inline(always)]
unsafe fn tile<T: Copy + Default, L: Lanes<T>, const MR: usize, const NV: usize, const FULL: bool>(
    l: L,
    t: &Product<T>,
    i: usize,
    j: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let left = |v: usize| {
            if FULL { L::N } else { (t.n - j).saturating_sub(v * L::N) }
        };
        let load = |p: *const T, v: usize| {
            let p = p.wrapping_add(v * L::N);
            if FULL { l.load(p) } else { l.load_n(p, left(v)) }
        };
        let row = |r: usize| t.c.offset((i + r) as isize * t.c_rs).wrapping_add(j);
        let mut acc = [[l.splat(T::default()); NV]; MR];
        if t.from_c {
            for r in 0..MR {
                for v in 0..NV {
                    acc[r][v] = load(row(r), v);
                }
            }
        }
        // A pointer per row: one that walks from row to row would be a chain of additions longer than the products.
        let mut a = [t.a; MR];
        for r in 0..MR {
            a[r] = t.a.wrapping_offset((i + r) as isize * t.a_rs);
        }
        let mut b = t.b.wrapping_add(j);
        for _ in 0..t.k {
            let mut line = [l.splat(T::default()); NV];
            for v in 0..NV {
                line[v] = load(b, v);
            }
            for r in 0..MR {
                let x = l.splat(*a[r]);
                a[r] = a[r].wrapping_offset(t.a_cs);
                for v in 0..NV {
                    acc[r][v] = l.fma(x, line[v], acc[r][v]);
                }
            }
            b = b.wrapping_offset(t.b_rs);
        }
        for r in 0..MR {
            for v in 0..NV {
                let p = row(r).wrapping_add(v * L::N);
                if FULL {
                    l.store(p, acc[r][v]);
                } else {
                    l.store_n(p, acc[r][v], left(v));
                }
            }
        }
    }
}

/// All rows of one strip of columns.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn strip<T: Copy + Default, L: Lanes<T>, const MR: usize, const NV: usize, const FULL: bool>(
    l: L,
    t: &Product<T>,
    j: usize,
) {
    let mut i = 0;
    // SAFETY: the caller's promise.
    unsafe {
        while i + MR <= t.m {
            tile::<T, L, MR, NV, FULL>(l, t, i, j);
            i += MR;
        }
        if i + 4 <= t.m {
            tile::<T, L, 4, NV, FULL>(l, t, i, j);
            i += 4;
        }
        if i + 2 <= t.m {
            tile::<T, L, 2, NV, FULL>(l, t, i, j);
            i += 2;
        }
        if i < t.m {
            tile::<T, L, 1, NV, FULL>(l, t, i, j);
        }
    }
}

/// # Safety
/// As for [`tile`], for the whole of C.
#[inline(always)]
unsafe fn product<T: Copy + Default, L: Lanes<T>, const MR: usize>(l: L, t: &Product<T>) {
    let mut j = 0;
    // SAFETY: the caller's promise.
    unsafe {
        while j + 2 * L::N <= t.n {
            strip::<T, L, MR, 2, true>(l, t, j);
            j += 2 * L::N;
        }
        while j < t.n {
            strip::<T, L, MR, 1, false>(l, t, j);
            j += L::N;
        }
    }
}

/// # Safety
/// What the fields describe lies in live memory.
#[inline(always)]
unsafe fn turn<T: Copy + Default, L: Lanes<T>>(l: L, t: &Turn<T>) {
    // SAFETY: the caller's promise; `width` and `ld` leave room for whole blocks.
    unsafe {
        for r in (0..t.width).step_by(L::BLOCK) {
            let have = t.rows.saturating_sub(r).min(L::BLOCK);
            if t.cs == 1 {
                let mut rows = [t.src; 8];
                for i in 0..8 {
                    rows[i] = t.src.wrapping_offset((r + i) as isize * t.rs);
                }
                for c in (0..t.cols).step_by(L::BLOCK) {
                    let cols = (t.cols - c).min(L::BLOCK);
                    l.transpose(&rows[..have], c as isize, cols, t.dst.add(c * t.ld + r), t.ld);
                }
            } else {
                for c in 0..t.cols {
                    for i in 0..L::BLOCK {
                        *t.dst.add(c * t.ld + r + i) = if i < have {
                            *t.src.offset((r + i) as isize * t.rs + c as isize * t.cs)
                        } else {
                            T::default()
                        };
                    }
                }
            }
        }
    }
}

/// `block[i][j] *= by[j]` for `rows` rows of `n`. By hand, because the compiler would walk down the columns.
///
/// # Safety
/// `block` holds `rows * n` elements, `by` holds `n`.
#[inline(always)]
unsafe fn scale_columns<T: Copy + std::ops::Neg<Output = T> + Default, L: Lanes<T>>(
    l: L,
    block: *mut T,
    rows: usize,
    n: usize,
    by: *const T,
) {
    // Adding -0 changes no product.
    let nothing = l.splat(-T::default());
    for j in (0..n).step_by(L::N) {
        // SAFETY: the caller's promise.
        unsafe {
            let y = l.load_n(by.add(j), n - j);
            for i in 0..rows {
                let p = block.add(i * n + j);
                l.store_n(p, l.fma(l.load_n(p, n - j), y, nothing), n - j);
            }
        }
    }
}

/// The functions compiled for one instruction set.
pub(crate) struct Tiles<T: 'static> {
    pub product: unsafe fn(&Product<T>),
    pub turn: unsafe fn(&Turn<T>),
    /// Block, rows, columns, factors.
    pub scale_columns: unsafe fn(*mut T, usize, usize, *const T),
}

/// Types with tiles.
pub(crate) trait HasTiles: Sized + 'static {
    /// The table for an instruction set that the CPU has.
    fn tiles(isa: Isa) -> &'static Tiles<Self>;
}

macro_rules! tiles {
    ($(#[$feature:meta])* $name:ident, $t:ty, $l:ty, $mr:literal) => {
        mod $name {
            use super::*;
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn multiply(t: &Product<$t>) {
                // SAFETY: the caller's promise.
                unsafe { product::<$t, $l, $mr>(<$l as Lanes<$t>>::assume(), t) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn transpose(t: &Turn<$t>) {
                // SAFETY: the caller's promise.
                unsafe { turn::<$t, $l>(<$l as Lanes<$t>>::assume(), t) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn scale(block: *mut $t, rows: usize, n: usize, by: *const $t) {
                // SAFETY: the caller's promise.
                unsafe { scale_columns(<$l as Lanes<$t>>::assume(), block, rows, n, by) }
            }
            pub(super) static TILES: Tiles<$t> = Tiles { product: multiply, turn: transpose, scale_columns: scale };
        }
    };
}

macro_rules! tiles_of {
    ($t:ty: $portable:ident $scalar:ident $avx2:ident $avx512:ident $neon:ident) => {
        tiles!($portable, $t, Scalar, 4);
        #[cfg(target_arch = "x86_64")]
        tiles!(
            #[target_feature(enable = "fma,bmi1,bmi2,lzcnt,f16c")]
            $scalar,
            $t,
            Scalar,
            4
        );
        #[cfg(target_arch = "x86_64")]
        tiles!(
            #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,f16c")]
            $avx2,
            $t,
            Avx2,
            4
        );
        #[cfg(target_arch = "x86_64")]
        tiles!(
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,f16c")]
            $avx512,
            $t,
            Avx512,
            8
        );
        #[cfg(target_arch = "aarch64")]
        tiles!($neon, $t, Neon, 8);

        impl HasTiles for $t {
            #[inline]
            fn tiles(isa: Isa) -> &'static Tiles<$t> {
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => &$avx512::TILES,
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => &$avx2::TILES,
                    #[cfg(target_arch = "x86_64")]
                    Isa::Scalar => &$scalar::TILES,
                    #[cfg(target_arch = "aarch64")]
                    Isa::Avx512 | Isa::Avx2 => &$neon::TILES,
                    _ => &$portable::TILES,
                }
            }
        }
    };
}

tiles_of!(f32: portable_f32 scalar_f32 avx2_f32 avx512_f32 neon_f32);
tiles_of!(f64: portable_f64 scalar_f64 avx2_f64 avx512_f64 neon_f64);
