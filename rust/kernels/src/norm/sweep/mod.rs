//! Sweeps over memory, written once for all instruction sets: sums, scalings, and rows of layer norm.
//!
//! A sum has 256 bytes of virtual lanes: element i of a run belongs to lane i modulo their number. Lanes are joined in a
//! halving tree once 4096 elements or more have gone into them, and these sums in float64, in order. Sums of small
//! distances keep float32's accuracy that way; the mean of many numbers has that of float64 nearly.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

mod columns;
mod planes;
mod rows;
mod runs;

pub(super) use columns::{Across, CHAIN, Columns};
pub(super) use planes::{BLOCK, Block, Rows};
pub(super) use rows::{RowGrad, RowNorm, row_ahead};
pub(super) use runs::{Blend, Runs, far, variance};

use crate::reduce::real::Real;
use crate::scratch::Plain;
#[cfg(target_arch = "aarch64")]
use crate::simd::vec::Neon;
#[cfg(target_arch = "x86_64")]
use crate::simd::vec::{Avx2, Avx512};
use crate::simd::vec::{Lanes, Scalar};
use crate::simd::{Isa, isa};

/// The sweeps of one instruction set.
pub(super) struct Sweeps<T: 'static> {
    pub near: unsafe fn(&Runs<T>) -> T,
    pub moments: unsafe fn(&Runs<T>) -> [f64; 2],
    pub dots: unsafe fn(&Runs<T>, T) -> [f64; 2],
    pub scale: unsafe fn(&Runs<T>, T, T),
    pub blend: unsafe fn(&Runs<T>, &Blend<T>),
    pub block_squares: unsafe fn(&Block<T>, &[T], &mut [[f64; 2]]),
    pub block_dots: unsafe fn(&Block<T>, &[T], &mut [[f64; 2]]),
    pub block_scale: unsafe fn(&Block<T>, &[Blend<T>]),
    pub block_blend: unsafe fn(&Block<T>, &[Blend<T>]),
    pub scale_rows: unsafe fn(&Rows<T>),
    pub across: unsafe fn(&Across<T>),
    pub column_squares: unsafe fn(&Columns<T>),
    pub column_dots: unsafe fn(&Columns<T>),
    pub norm_rows: unsafe fn(&RowNorm<T>),
    pub grad_rows: unsafe fn(&RowGrad<T>),
}

/// Functions compiled for an instruction set, around those that are written for all.
macro_rules! each {
    ($feature:tt $types:tt $($name:ident($($arg:ident: $of:ty),*) $(-> $out:ty)? = $call:expr, $pass:tt;)*) => {$(
        each!(@one $feature $types $name ($($arg: $of),*) ($($out)?) $call, $pass);
    )*};
    (@one [$(#[$feature:meta])*] [$t:ty, $l:ty] $name:ident ($($arg:ident: $of:ty),*) ($($out:ty)?) $call:expr, ($($pass:ident),*)) => {
        /// # Safety
        /// As for what it calls; the CPU has the instruction set.
        $(#[$feature])*
        unsafe fn $name($($arg: $of),*) $(-> $out)? {
            // SAFETY: the caller's promise.
            unsafe { $call(<$l as Lanes<$t>>::assume(), $($pass),*) }
        }
    };
}

macro_rules! sweeps {
    ($(#[$feature:meta])* $name:ident, $t:ty, $l:ty, $u:literal) => {
        mod $name {
            use super::planes::{DOTS, SQUARES};
            use super::*;
            each! {
                [$(#[$feature])*] [$t, $l]
                near(r: &Runs<$t>) -> $t = runs::near::<$t, $l, $u>, (r);
                moments(r: &Runs<$t>) -> [f64; 2] = runs::moments::<$t, $l, $u>, (r);
                dots(r: &Runs<$t>, center: $t) -> [f64; 2] = runs::dots::<$t, $l, $u>, (r, center);
                scale(r: &Runs<$t>, a: $t, b: $t) = runs::scale::<$t, $l, $u>, (r, a, b);
                blend(r: &Runs<$t>, k: &Blend<$t>) = runs::blend::<$t, $l, $u>, (r, k);
                block_squares(r: &Block<$t>, centers: &[$t], sums: &mut [[f64; 2]]) = planes::block_sums::<$t, $l, $u, SQUARES>, (r, centers, sums);
                block_dots(r: &Block<$t>, centers: &[$t], sums: &mut [[f64; 2]]) = planes::block_sums::<$t, $l, $u, DOTS>, (r, centers, sums);
                block_scale(r: &Block<$t>, k: &[Blend<$t>]) = planes::block_values::<$t, $l, $u, SQUARES>, (r, k);
                block_blend(r: &Block<$t>, k: &[Blend<$t>]) = planes::block_values::<$t, $l, $u, DOTS>, (r, k);
                scale_rows(r: &Rows<$t>) = planes::scale_rows::<$t, $l, $u>, (r);
                across(r: &Across<$t>) = columns::across::<$t, $l, $u>, (r);
                column_squares(r: &Columns<$t>) = columns::column_sums::<$t, $l, SQUARES>, (r);
                column_dots(r: &Columns<$t>) = columns::column_sums::<$t, $l, DOTS>, (r);
                norm_rows(r: &RowNorm<$t>) = rows::norm_rows::<$t, $l, $u>, (r);
                grad_rows(r: &RowGrad<$t>) = rows::grad_rows::<$t, $l, $u>, (r);
            }
            pub(super) static SWEEPS: Sweeps<$t> = Sweeps {
                near, moments, dots, scale, blend, block_squares, block_dots, block_scale, block_blend, scale_rows, across, column_squares, column_dots, norm_rows, grad_rows,
            };
        }
    };
}

macro_rules! sweeps_of {
    ($t:ty: $portable:ident $scalar:ident $avx2:ident $avx512:ident $neon:ident, $one:literal) => {
        sweeps!($portable, $t, Scalar, $one);
        #[cfg(target_arch = "x86_64")]
        sweeps!(
            #[target_feature(enable = "fma,bmi1,bmi2,lzcnt,f16c")]
            $scalar,
            $t,
            Scalar,
            $one
        );
        #[cfg(target_arch = "x86_64")]
        sweeps!(
            #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,f16c")]
            $avx2,
            $t,
            Avx2,
            8
        );
        #[cfg(target_arch = "x86_64")]
        sweeps!(
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,f16c")]
            $avx512,
            $t,
            Avx512,
            4
        );
        #[cfg(target_arch = "aarch64")]
        sweeps!($neon, $t, Neon, 16);

        impl HasSweeps for $t {
            #[inline]
            fn sweeps() -> &'static Sweeps<$t> {
                match isa() {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => &$avx512::SWEEPS,
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => &$avx2::SWEEPS,
                    #[cfg(target_arch = "x86_64")]
                    Isa::Scalar => &$scalar::SWEEPS,
                    #[cfg(target_arch = "aarch64")]
                    Isa::Avx512 | Isa::Avx2 => &$neon::SWEEPS,
                    _ => &$portable::SWEEPS,
                }
            }
        }
    };
}

/// Types with sweeps.
pub(super) trait HasSweeps: Real + Plain {
    /// Those of the instruction set in use.
    fn sweeps() -> &'static Sweeps<Self>;
}

sweeps_of!(f32: portable_f32 scalar_f32 avx2_f32 avx512_f32 neon_f32, 64);
sweeps_of!(f64: portable_f64 scalar_f64 avx2_f64 avx512_f64 neon_f64, 32);
