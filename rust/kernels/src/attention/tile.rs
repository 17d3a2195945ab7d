//! Small products that read their left factor where it lies, and blocks turned on their side: what attention and the
//! recurrent networks are made of.

use crate::gemm::{Ahead, HasProducts, Number, Panels, Products, Summand, Tile};
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
    /// Added to each column after the sum, unless null.
    pub col_bias: *const T,
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

impl<T: Number> Product<T> {
    /// Computes by tiles that read A where it lies, strided in any way, so that a transposed one needs no packing; rows of B
    /// and C have unit stride. Meant for a B that stays in the caches.
    ///
    /// # Safety
    /// The matrices lie in live memory; C overlaps neither A nor B; `kernels` are for this CPU.
    pub unsafe fn run(&self, kernels: &'static Products<T>) {
        let tiles = kernels.tall_for(self.n, self.k);
        let panels = Panels::of(self.m, tiles.len());
        let (null, null_mut) = (std::ptr::null(), std::ptr::null_mut());
        for j in (0..self.n).step_by(kernels.nr) {
            let n = kernels.nr.min(self.n - j);
            for (i, rows) in panels.each() {
                let tile = Tile {
                    k: self.k,
                    a: self.a.wrapping_offset(i as isize * self.a_rs),
                    a_rs: self.a_rs,
                    a_cs: self.a_cs,
                    b: self.b.wrapping_add(j),
                    b_rs: self.b_rs,
                    packed_b: null_mut,
                    c: self.c.wrapping_offset(i as isize * self.c_rs).wrapping_add(j),
                    c_rs: self.c_rs,
                    next: null,
                    ahead: Ahead::NONE,
                    n,
                    from_c: self.from_c,
                    plus: Summand::none(T::default()),
                    row_bias: null,
                    col_bias: match self.col_bias.is_null() {
                        true => null,
                        false => self.col_bias.wrapping_add(j),
                    },
                    relu: false,
                };
                // SAFETY: the tile lies inside the matrices that the caller vouches for.
                unsafe { tiles[rows - 1][(n > kernels.narrow) as usize](&tile) };
            }
        }
    }
}

/// # Safety
/// What the fields describe lies in live memory.
#[inline(always)]
unsafe fn turn<T: Copy + Default, L: Lanes<T>>(l: L, t: &Turn<T>) {
    // SAFETY: the caller's promise; `width` and `ld` leave room for whole blocks.
    unsafe {
        if t.cs != 1 {
            for c in 0..t.cols {
                for r in 0..t.width {
                    *t.dst.add(c * t.ld + r) = if r < t.rows {
                        *t.src.offset(r as isize * t.rs + c as isize * t.cs)
                    } else {
                        T::default()
                    };
                }
            }
            return;
        }
        let large = L::LARGE > L::BLOCK && t.width.is_multiple_of(L::LARGE);
        let side = if large { L::LARGE } else { L::BLOCK };
        for r in (0..t.width).step_by(side) {
            let have = t.rows.saturating_sub(r).min(side);
            let mut rows = [t.src; 16];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = t.src.wrapping_offset((r + i) as isize * t.rs);
            }
            for c in (0..t.cols).step_by(side) {
                let (cols, dst) = ((t.cols - c).min(side), t.dst.add(c * t.ld + r));
                if large {
                    l.transpose_large(&rows[..have], c as isize, cols, dst, t.ld);
                } else {
                    l.transpose(&rows[..have], c as isize, cols, dst, t.ld);
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
    pub turn: unsafe fn(&Turn<T>),
    /// Block, rows, columns, factors.
    pub scale_columns: unsafe fn(*mut T, usize, usize, *const T),
}

/// Types with tiles.
pub(crate) trait HasTiles: HasProducts {
    /// The table for an instruction set that the CPU has.
    fn tiles(isa: Isa) -> &'static Tiles<Self>;
}

macro_rules! tiles {
    ($(#[$feature:meta])* $name:ident, $t:ty, $l:ty) => {
        mod $name {
            use super::*;
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
            pub(super) static TILES: Tiles<$t> = Tiles { turn: transpose, scale_columns: scale };
        }
    };
}

macro_rules! tiles_of {
    ($t:ty: $portable:ident $scalar:ident $avx2:ident $avx512:ident $neon:ident) => {
        tiles!($portable, $t, Scalar);
        #[cfg(target_arch = "x86_64")]
        tiles!(
            #[target_feature(enable = "fma,bmi1,bmi2,lzcnt,f16c")]
            $scalar,
            $t,
            Scalar
        );
        #[cfg(target_arch = "x86_64")]
        tiles!(
            #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,f16c")]
            $avx2,
            $t,
            Avx2
        );
        #[cfg(target_arch = "x86_64")]
        tiles!(
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,f16c")]
            $avx512,
            $t,
            Avx512
        );
        #[cfg(target_arch = "aarch64")]
        tiles!($neon, $t, Neon);

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
