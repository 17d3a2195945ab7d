//! Elementary functions of f32 that vectorize: no branches, fused multiply-add, tables only of 32 numbers, which two vectors
//! hold; at most 2 ulp (gelu: 4).
//!
//! Two kinds. The hot ones are single precision throughout, with what rounding loses carried along where it would show
//! (as in `math64`). The others are evaluated in double precision by short polynomials (the names that end in `_d`, good
//! to about 1e-12) and rounded once. Polynomials were fitted for these files in 30 to 40 digits: those of f64 by
//! interpolation at Chebyshev nodes, those of f32 by least squares reweighted until the greatest relative error was
//! level (C. Lawson), with the coefficients rounded one after the other from the lowest.

#![allow(clippy::excessive_precision)]

mod erf;
mod exp;
mod inverse;
mod log;
mod normal;
mod pack;
#[cfg(target_arch = "x86_64")]
mod pair;
mod pieces;
mod trig;
#[cfg(target_arch = "x86_64")]
pub(crate) mod wide;

pub use erf::{erf, erfc, erfinv};
pub use exp::{cosh, exp, exp2, expm1, sigmoid, silu, sinh, tanh};
pub use inverse::{acos, asin, atan, atan2_d};
pub use log::{atanh, log, log_add_exp_d, log_add_exp2_d, log1p, log2, log10, pow_d};
pub use normal::{gelu, gelu_slope};
pub use pack::Pack;
pub use trig::{TRIG_LIMIT, cos, sin, tan};

pub(crate) use erf::erfc_d;
pub(crate) use exp::{exp_d, softplus};
pub(crate) use log::{acosh, asinh};
/// Made of several vectors only.
#[cfg(target_arch = "x86_64")]
pub use {
    exp::{log_sigmoid, silu_slope, tanhshrink},
    log::xlogy,
};

/// Adding it rounds a small f32 to an integer, which then lies in the low bits.
const MAGIC: f32 = 12_582_912.0;
/// 2^64, by which results that may be subnormal are held above that until the end.
const LIFT: f32 = 18_446_744_073_709_551_616.0;
/// The same for f64.
const MAGIC_D: f64 = 6_755_399_441_055_744.0;

/// Horner's rule, lowest coefficient first.
#[inline(always)]
fn poly<P: Pack, const N: usize>(x: P, c: [f32; N]) -> P {
    let mut y = P::splat(c[N - 1]);
    for i in (0..N - 1).rev() {
        y = y.mul_add(x, P::splat(c[i]));
    }
    y
}

/// As [`poly`], in pairs (G. Estrin): two operations more, a chain half as long.
#[inline(always)]
fn poly9<P: Pack>(x: P, c: [f32; 9]) -> P {
    let z = x * x;
    let w = z * z;
    let pair = x.mul_add(P::splat(c[3]), P::splat(c[2]));
    let low = pair.mul_add(z, x.mul_add(P::splat(c[1]), P::splat(c[0])));
    let pair = x.mul_add(P::splat(c[7]), P::splat(c[6]));
    let high = pair.mul_add(z, x.mul_add(P::splat(c[5]), P::splat(c[4])));
    P::splat(c[8]).mul_add(w, high).mul_add(w, low)
}

#[inline(always)]
fn poly_d<P: Pack<f64>, const N: usize>(x: P, c: [f64; N]) -> P {
    let mut y = P::splat(c[N - 1]);
    for i in (0..N - 1).rev() {
        y = y.mul_add(x, P::splat(c[i]));
    }
    y
}

#[inline(always)]
fn clamp<P: Pack>(x: P, lo: f32, hi: f32) -> P {
    x.at_most(hi).at_least(lo)
}

/// a + b and what rounding it loses (D. Knuth).
#[inline(always)]
fn two_sum<P: Pack>(a: P, b: P) -> (P, P) {
    let s = a + b;
    let t = s - a;
    (s, (a - (s - t)) + (b - t))
}
