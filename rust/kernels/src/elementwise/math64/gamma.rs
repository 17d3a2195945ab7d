//! The logarithm of the gamma function and its derivative, in absolute error about 1e-15: enough for f32 everywhere, for
//! f64 away from the zeros, of which `lgamma` has those at 1 and 2 in full.
//!
//! Stirling's series (Abramowitz and Stegun 6.1.40, 6.3.18) after eight steps up where the argument is small; reflection
//! (6.1.17, 6.3.7) below ½.

use super::{Pack, log, log_plain, poly};
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

/// π cos πr in z = r² up to 1/4
const PI_COS: [f64; 10] = [
    PI,
    -15.50313834014991,
    12.750820199386725,
    -4.194851705245436,
    0.7393129794973323,
    -0.08107474036069424,
    0.006061936091319223,
    -0.00032872813996453825,
    1.3511123466179836e-05,
    -4.220796630612902e-07,
];

/// log Γ(2 + d) / d for |d| <= ½
const NEAR_TWO: [f64; 20] = [
    0.42278433509846713,
    0.3224670334241132,
    -0.06735230105319814,
    0.02058080842778457,
    -0.0073855510286681535,
    0.002890510330738737,
    -0.0011927539120010226,
    0.0005096695248853096,
    -0.00022315475074520367,
    9.945750909889392e-05,
    -4.4926351103833334e-05,
    2.050726741605779e-05,
    -9.438458716242811e-06,
    4.374374916915131e-06,
    -2.0449201467015115e-06,
    9.578663334114758e-07,
    -4.303558760359961e-07,
    2.0304806751615227e-07,
    -1.3412819758517287e-07,
    6.379047507619774e-08,
];

/// log |Γ(x)|. Arguments below ½ need the sine, which is left out where there are none.
///
/// From ½ to 4½, where the zeros are, it is a polynomial around 2 and the logarithm of the steps from there; beyond,
/// Stirling's series.
#[inline(always)]
pub fn lgamma<P: Pack<f64>>(x: P, some_below: bool) -> P {
    let (one, two) = (P::splat(1.0), P::splat(2.0));
    let z = if some_below { x.below(0.5, one - x, x) } else { x };
    let y = z.below(8.0, z + P::splat(8.0), z);
    let inv = one / y;
    let series = inv * poly(inv * inv, &STIRLING);
    // ½ log 2π
    let up = (y - P::splat(0.5)).mul_add(log_plain(y), -y) + (P::splat(0.918_938_533_204_672_8) + series);
    // Γ(z) is Γ(2 + d) by z from 3/2 down, and times the steps from 5/2 up.
    let (down, up_once) = (z - one, z - two);
    let d = z.below(
        2.5,
        z.below(1.5, down, up_once),
        z.below(3.5, z - P::splat(3.0), z - P::splat(4.0)),
    );
    let base = z.below(4.5, d * poly(d, &NEAR_TWO), up);
    let times = z.below(3.5, z.below(2.5, one, down), down * up_once);
    let times = z.below(4.5, z.below(1.5, one, times), one);
    let by = z.below(1.5, z, z.below(4.5, one, z.below(8.0, poly(z, &RISING), one)));
    // One of the two is 1: the logarithm of the other is exact to its last place.
    let rest = log_plain(times * by);
    let mut value = base + by.above(1.0, -rest, z.below(1.5, -rest, rest));
    if some_below {
        // Γ(x) Γ(1 - x) = π / sin πx; the sine of the distance to the nearest integer keeps its digits.
        let r = x - x.rounded();
        let s = (r * poly(r * r, &SIN_PI)).abs();
        // Next to 0 it is the inverse of |x|.
        let sine = x.abs().below(1e-290, x.abs(), s * times / (P::splat(PI) * by));
        value = x.below(0.5, -(log_plain(sine) + base), value);
    }
    x.abs().below(f64::INFINITY, value, x.abs())
}

/// [`lgamma`] for results of f32, by one division fewer than it has logarithms. Arguments below ½ need the sine, which
/// is left out where there are none ([`lgamma_row`]).
#[inline(always)]
pub fn lgamma_f32<P: Pack<f64>>(x: P, some_below: bool) -> P {
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

/// Elements that are asked together whether some are below ½.
const BLOCK: usize = 64;

multiversion! {
    /// log |Γ| of each element.
    pub(crate) fn lgamma_row(from: &[f32], to: &mut [f32]) {
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

/// The derivative of [`lgamma`]; at 0 infinite with the other sign, NaN at negative integers, as in PyTorch. Negative
/// arguments need the cotangent, which is left out where there are none.
#[inline(always)]
pub fn digamma<P: Pack<f64>>(x: P, some_below: bool) -> P {
    let (zero, one) = (P::splat(0.0), P::splat(1.0));
    let z = if some_below { x.below(0.0, one - x, x) } else { x };
    let y = z.below(8.0, z + P::splat(8.0), z);
    let product = z.below(8.0, poly(z, &RISING), one);
    // One division for 1 / y and for the steps.
    let both = one / (product * y);
    let steps = z.below(8.0, poly(z, &RISING_SLOPE) * y * both, zero);
    let inv = product * both;
    let w = inv * inv;
    let mut value = log_plain(y) - P::splat(0.5).mul_add(inv, w * poly(w, &DIGAMMA)) - steps;
    if some_below {
        let r = x - x.rounded();
        let z = r * r;
        let cotangent = poly(z, &PI_COS) / (r * poly(z, &SIN_PI));
        let reflected = r.abs().above(0.0, value - cotangent, P::splat(f64::NAN));
        value = x.below(0.0, reflected, value);
    }
    x.same(zero, P::splat(f64::INFINITY).copysign(-x), value)
}

multiversion! {
    /// [`digamma`] of each element.
    pub(crate) fn digamma_row(from: &[f32], to: &mut [f32]) {
        for (xs, ys) in from.chunks(BLOCK).zip(to.chunks_mut(BLOCK)) {
            if xs.iter().fold(false, |any, x| any | (*x < 0.0)) {
                for (y, x) in ys.iter_mut().zip(xs) {
                    *y = digamma(*x as f64, true) as f32;
                }
            } else {
                for (y, x) in ys.iter_mut().zip(xs) {
                    *y = digamma(*x as f64, false) as f32;
                }
            }
        }
    }
}
