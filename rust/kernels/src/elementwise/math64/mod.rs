//! Elementary functions of f64 that vectorize: no branches, fused multiply-add, tables only of 16 numbers, which two vectors
//! hold; below 2 ulp.
//!
//! The same shape as the functions of f32 in `math`: arguments are reduced by Cody and Waite's constants in several parts
//! (W. Cody and W. Waite, "Software Manual for the Elementary Functions", 1980), what is left is a polynomial, and where
//! one rounding more would show, a sum is carried as a value and the rest that it lost (T. Dekker, "A floating-point
//! technique for extending the available precision", 1971). The shapes of `log1p` and its kin, `sin` and `cos` are fdlibm's.
//! Polynomials were fitted for these files by interpolation at Chebyshev nodes in 60-digit arithmetic, each the quotient
//! that its comment names; the error of the fit is below 2^-56 of the result.

#![allow(clippy::excessive_precision)]

mod erf;
mod exp;
mod gamma;
pub(super) mod inverse;
pub(super) mod log;
mod power;
mod trig;

pub use erf::{erf, erfc, erfinv, gelu};
pub use exp::{exp, exp2, expm1, sigmoid, silu, tanh};
#[cfg(target_arch = "x86_64")]
pub use gamma::lgamma_f32;
pub use gamma::{digamma, lgamma};
pub use inverse::{atan, atan2};
pub use log::{log, log_add_exp, log_add_exp2, log1p, log2, log10};
pub use power::pow;
pub use trig::{TRIG_LIMIT, cos, huge, sin, tan};

pub(crate) use erf::{ERFINV_NEAR, NDTRI_FAR, NDTRI_NEAR, erfinv_near, gelu_slope, log_ndtr, ndtr, ndtri, ndtri_near};
pub(crate) use exp::{cosh, sinh};
pub(crate) use gamma::{digamma_row, lgamma_row};
pub(crate) use inverse::{acos, asin};
pub(crate) use log::{acosh, asinh, atanh, log_plain};

use super::math::Pack;

/// Adding it rounds to an integer, which then lies in the low bits.
pub(super) const MAGIC: f64 = 6_755_399_441_055_744.0;
/// 2^600, by which results that may be subnormal are held above that until the end.
pub(super) const LIFT: f64 = f64::from_bits((1023 + 600) << 52);
/// ln 2 in two parts; the first one's product with an exponent is exact (fdlibm).
const LN2_HI: f64 = 6.93147180369123816490e-01;
const LN2_LO: f64 = 1.90821492927058770002e-10;

/// Horner's rule, lowest coefficient first.
#[inline(always)]
fn poly<P: Pack<f64>, const N: usize>(x: P, c: &[f64; N]) -> P {
    let mut y = P::splat(c[N - 1]);
    for i in (0..N - 1).rev() {
        y = y.mul_add(x, P::splat(c[i]));
    }
    y
}

/// Comparisons that NaN passes through.
#[inline(always)]
fn clamp<P: Pack<f64>>(x: P, lo: f64, hi: f64) -> P {
    x.at_most(hi).at_least(lo)
}

/// a + b and what rounding it loses (D. Knuth).
#[inline(always)]
fn two_sum<P: Pack<f64>>(a: P, b: P) -> (P, P) {
    let s = a + b;
    let t = s - a;
    (s, (a - (s - t)) + (b - t))
}

/// The same where |a| >= |b|, or a is 0.
#[inline(always)]
fn fast_sum<P: Pack<f64>>(a: P, b: P) -> (P, P) {
    let s = a + b;
    (s, (a - s) + b)
}

/// a · b and what rounding it loses.
#[inline(always)]
fn two_product<P: Pack<f64>>(a: P, b: P) -> (P, P) {
    let p = a * b;
    (p, a.mul_add(b, -p))
}

/// (nh + nl) / (dh + dl), rounded about once; the low parts are below the last place of the high ones.
#[inline(always)]
fn quotient<P: Pack<f64>>(nh: P, nl: P, dh: P, dl: P) -> P {
    let inv = P::splat(1.0) / dh;
    let q = nh * inv;
    let rest = (-q).mul_add(dh, nh) + (-q).mul_add(dl, nl);
    rest.mul_add(inv, q)
}
