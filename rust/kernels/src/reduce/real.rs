//! What the reducing kernels need of `f32` and `f64`, with an exponential and a logarithm that give the same bits on every
//! instruction set.

use super::folds::Ordered;
use crate::dtype::Element;
use crate::elementwise::math;
use std::ops::{Add, Div, Mul, Neg, Sub};

pub(crate) trait Real:
    Element
    + Ordered
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    const ZERO: Self;
    const ONE: Self;
    const INF: Self;
    /// `self * a + b`, rounded once.
    fn fma(self, a: Self, b: Self) -> Self;
    fn exp(self) -> Self;
    fn ln(self) -> Self;
    fn root(self) -> Self;
    fn magnitude(self) -> Self;
}

impl Real for f32 {
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;
    const INF: f32 = f32::INFINITY;
    #[inline(always)]
    fn fma(self, a: f32, b: f32) -> f32 {
        self.mul_add(a, b)
    }
    #[inline(always)]
    fn exp(self) -> f32 {
        math::exp(self)
    }
    #[inline(always)]
    fn ln(self) -> f32 {
        ln_f64(self as f64) as f32
    }
    #[inline(always)]
    fn root(self) -> f32 {
        self.sqrt()
    }
    #[inline(always)]
    fn magnitude(self) -> f32 {
        self.abs()
    }
}

impl Real for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
    const INF: f64 = f64::INFINITY;
    #[inline(always)]
    fn fma(self, a: f64, b: f64) -> f64 {
        self.mul_add(a, b)
    }
    #[inline(always)]
    fn exp(self) -> f64 {
        exp_f64(self)
    }
    #[inline(always)]
    fn ln(self) -> f64 {
        ln_f64(self)
    }
    #[inline(always)]
    fn root(self) -> f64 {
        self.sqrt()
    }
    #[inline(always)]
    fn magnitude(self) -> f64 {
        self.abs()
    }
}

/// 1 / k!, from k = 13 down to 0: the Taylor polynomial of e^r, whose error is below 2^-57 on |r| <= ln 2 / 2.
pub(crate) const TAYLOR: [f64; 14] = [
    1.0 / 6_227_020_800.0,
    1.0 / 479_001_600.0,
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5_040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
    1.0,
    1.0,
];

/// e^x: x = n ln 2 + r, [`TAYLOR`] in r, scaled by 2^n in two steps so that subnormal results come out.
#[inline(always)]
pub fn exp_f64(x: f64) -> f64 {
    // Adding 1.5 * 2^52 rounds to an integer and leaves it in the low bits.
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    let x = if x > 710.0 { 710.0 } else { x };
    let x = if x < -746.0 { -746.0 } else { x };
    let shifted = x.mul_add(std::f64::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let r = n.mul_add(-6.931_471_803_691_238e-1, x);
    let r = n.mul_add(-1.908_214_929_270_587_7e-10, r);
    let mut e = TAYLOR[0];
    let mut i = 1;
    while i < TAYLOR.len() {
        e = e.mul_add(r, TAYLOR[i]);
        i += 1;
    }
    let n = (shifted.to_bits() as i64).wrapping_sub(MAGIC.to_bits() as i64);
    let half = n >> 1;
    let a = f64::from_bits((half.wrapping_add(1023) << 52) as u64);
    let b = f64::from_bits((n.wrapping_sub(half).wrapping_add(1023) << 52) as u64);
    e * a * b
}

/// ln x from x = 2^e m, sqrt(1/2) <= m < sqrt 2, and the odd series of 2 atanh((m - 1) / (m + 1)).
#[inline(always)]
pub fn ln_f64(x: f64) -> f64 {
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    if x == f64::INFINITY {
        return x;
    }
    let (x, bias) = if x < f64::MIN_POSITIVE {
        (x * 18_014_398_509_481_984.0, 54)
    } else {
        (x, 0)
    };
    ln_scaled(x, bias)
}

/// [`ln_f64`] of a positive normal number, without branches.
#[inline(always)]
pub(crate) fn ln_normal(x: f64) -> f64 {
    ln_scaled(x, 0)
}

/// ln (x / 2^bias) of a positive normal number.
#[inline(always)]
fn ln_scaled(x: f64, bias: i64) -> f64 {
    // Subtracting the bits of sqrt(1/2) puts the border between two exponents there.
    let bits = x.to_bits() as i64;
    let e = (bits - 0x3fe6_a09e_667f_3bcd) >> 52;
    let m = f64::from_bits((bits - (e << 52)) as u64);
    let f = m - 1.0;
    let s = f / (m + 1.0);
    let z = s * s;
    let mut p = 1.0 / 23.0;
    let mut k = 21;
    while k >= 3 {
        p = f64::mul_add(p, z, 1.0 / k as f64);
        k -= 2;
    }
    // 2 s = f - s f, which keeps the rounding of the division out of the leading term.
    let tail = s.mul_add(-f, 2.0 * s * z * p);
    let e = (e - bias) as f64;
    let low = e.mul_add(1.908_214_929_270_587_7e-10, tail);
    e.mul_add(6.931_471_803_691_238e-1, f + low)
}
