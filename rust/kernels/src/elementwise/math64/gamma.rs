//! The logarithm of the gamma function and its derivative, in absolute error about 1e-15: enough for f32 everywhere, for
//! f64 away from the zeros ([`near_zero`]).
//!
//! Stirling's series (Abramowitz and Stegun 6.1.40, 6.3.18) after eight steps up where the argument is small; reflection
//! (6.1.17, 6.3.7) below ½.

use super::{Pack, log, log_plain, poly, trig};
use crate::multiversion;
use std::f64::consts::PI;

/// B_2k / (2k (2k - 1))
const STIRLING: [f64; 6] = [
    1.0 / 12.0,
    -1.0 / 360.0,
    1.0 / 1260.0,
    -1.0 / 1680.0,
    1.0 / 1188.0,
    -691.0 / 360_360.0,
];

/// B_2k / 2k
const DIGAMMA: [f64; 7] = [
    1.0 / 12.0,
    -1.0 / 120.0,
    1.0 / 252.0,
    -1.0 / 240.0,
    1.0 / 132.0,
    -691.0 / 32_760.0,
    1.0 / 12.0,
];

/// x (x + 1) … (x + 7)
const RISING: [f64; 9] = [0.0, 5040.0, 13068.0, 13132.0, 6769.0, 1960.0, 322.0, 28.0, 1.0];

/// Its derivative.
const RISING_SLOPE: [f64; 8] = [5040.0, 26136.0, 39396.0, 27076.0, 9800.0, 1932.0, 196.0, 8.0];

/// sin πr / r in z = r² up to 1/4
const SIN_PI: [f64; 9] = [
    PI,
    -5.167712780049969,
    2.5501640398773002,
    -0.5992645293189403,
    0.08214588657302717,
    -0.007370430505217146,
    0.0004662998126284068,
    -2.1903487684769023e-05,
    7.697726639610672e-07,
];

/// log |Γ(x)|
#[inline(always)]
pub(crate) fn lgamma(x: f64) -> f64 {
    let below = x < 0.5;
    let z = if below { 1.0 - x } else { x };
    let small = z < 8.0;
    let y = if small { z + 8.0 } else { z };
    let product = if small { poly(z, &RISING) } else { 1.0 };
    let inv = 1.0 / y;
    let series = inv * poly(inv * inv, &STIRLING);
    // ½ log 2π
    let up = (y - 0.5).mul_add(log_plain(y), -y) + (0.918_938_533_204_672_8 + series);
    // Γ(x) Γ(1 - x) = π / sin πx; the sine of the distance to the nearest integer keeps its digits.
    let r = x - x.round_ties_even();
    let s = (r * poly(r * r, &SIN_PI)).abs();
    let rest = log_plain(if below { product * PI / s } else { product });
    let value = if below { rest - up } else { up - rest };
    let value = if x == 1.0 || x == 2.0 { 0.0 } else { value };
    if x.abs() < f64::INFINITY { value } else { x.abs() }
}

/// [`lgamma`] for results of f32, by one division fewer than it has logarithms. Arguments below ½ need the sine, which
/// is left out where there are none ([`lgamma_row`]).
#[inline(always)]
pub(crate) fn lgamma_f32<P: Pack<f64>>(x: P, some_below: bool) -> P {
    let one = P::splat(1.0);
    let z = if some_below { x.below(0.5, one - x, x) } else { x };
    let y = z.below(8.0, z + P::splat(8.0), z);
    let product = z.below(8.0, poly(z, &RISING), one);
    let mut ratio = product;
    if some_below {
        let r = x - x.rounded();
        let s = (r * poly(r * r, &SIN_PI)).abs();
        ratio = x.below(0.5, product * P::splat(PI) / s, product);
    }
    let (log_y, log_ratio, inv) = log::two_logs(y, ratio);
    let log_ratio = ratio.below(f64::INFINITY, log_ratio, ratio);
    let series = inv * poly(inv * inv, &STIRLING);
    let up = (y - P::splat(0.5)).mul_add(log_y, -y) + (P::splat(0.918_938_533_204_672_8) + series);
    let mut value = up - log_ratio;
    if some_below {
        value = x.below(0.5, log_ratio - up, value);
    }
    // 1 and 2 have 0.
    let value = value.zero_of(((x - one) * (x - P::splat(2.0))).abs());
    x.abs().below(f64::INFINITY, value, x.abs())
}

multiversion! {
    /// log |Γ| of each element.
    pub(crate) fn lgamma_row(from: &[f32], to: &mut [f32]) {
        const BLOCK: usize = 64;
        for (xs, ys) in from.chunks(BLOCK).zip(to.chunks_mut(BLOCK)) {
            if xs.iter().fold(false, |any, x| any | (*x < 0.5)) {
                for (y, x) in ys.iter_mut().zip(xs) {
                    *y = lgamma_f32(*x as f64, true) as f32;
                }
            } else {
                for (y, x) in ys.iter_mut().zip(xs) {
                    *y = lgamma_f32(*x as f64, false) as f32;
                }
            }
        }
    }
}

/// Where a double wants more of [`lgamma`]: near its zeros more digits than a difference of logarithms has, and near 0 a
/// larger range than the reflection.
#[inline(always)]
pub(crate) fn near_zero(x: f64) -> bool {
    (0.6..2.6).contains(&x) || x.abs() < 1e-300
}

/// The derivative of [`lgamma`]; at 0 infinite with the other sign, NaN at negative integers, as in PyTorch.
#[inline(always)]
pub(crate) fn digamma(x: f64) -> f64 {
    let below = x < 0.0;
    let z = if below { 1.0 - x } else { x };
    let small = z < 8.0;
    let y = if small { z + 8.0 } else { z };
    let steps = poly(z, &RISING_SLOPE) / poly(z, &RISING);
    let steps = if small { steps } else { 0.0 };
    let inv = 1.0 / y;
    let w = inv * inv;
    let up = log_plain(y) - (0.5f64).mul_add(inv, w * poly(w, &DIGAMMA)) - steps;
    let r = x - x.round_ties_even();
    let reflected = up - PI / trig::tan(PI * r);
    let value = if below { reflected } else { up };
    let value = if below && r == 0.0 { f64::NAN } else { value };
    let value = if x == f64::INFINITY { x } else { value };
    if x == 0.0 { f64::INFINITY.copysign(-x) } else { value }
}
