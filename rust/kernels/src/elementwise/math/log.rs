//! Logarithms of f32, the inverse hyperbolic functions, and powers.

use super::exp::exp2_d;
use super::{MAGIC, Pack, poly_d, poly9, two_sum};

/// (log(1 + f) - f + f²/2) / f³ for √½ <= 1 + f < √2
const LOG: [f32; 9] = [
    3.333333135e-01,
    -2.499999702e-01,
    2.000071555e-01,
    -1.666780263e-01,
    1.424905807e-01,
    -1.242568716e-01,
    1.168541983e-01,
    -1.147973388e-01,
    6.971611828e-02,
];

pub(super) const SQRT_HALF: u32 = 0x3f35_04f3;

/// `(e, f)` with x = (1 + f)·2^e and √½ <= 1 + f < √2, for a positive x, subnormal ones too.
#[inline(always)]
pub(super) fn split(x: f32) -> (f32, f32) {
    let tiny = x < f32::MIN_POSITIVE;
    let scaled = if tiny { x * 8_388_608.0 } else { x };
    let bits = scaled.to_bits().wrapping_sub(SQRT_HALF);
    let e = (bits as i32 >> 23) as f32 - if tiny { 23.0 } else { 0.0 };
    (e, f32::from_bits((bits & 0x007f_ffff).wrapping_add(SQRT_HALF)) - 1.0)
}

/// e·ln 2 + log(1 + f) + c, where c is below the last place of f.
#[inline(always)]
fn join<P: Pack>(e: P, f: P, c: P) -> P {
    let z = f * f;
    // e·ln 2 in two parts, the first exact.
    let tail = (poly9(f, LOG) * f).mul_add(z, P::splat(-0.5).mul_add(z, c));
    let tail = e.mul_add(P::splat(-2.12194440e-4), tail);
    e.mul_add(P::splat(0.693359375), f + tail)
}

#[inline(always)]
pub(crate) fn log<P: Pack>(x: P) -> P {
    let (e, f) = x.split();
    let z = f * f;
    let tail = (poly9(f, LOG) * f).mul_add(z, P::splat(-0.5) * z);
    let tail = e.mul_add(P::splat(-2.12194440e-4), tail);
    e.mul_add(P::splat(0.693359375), f + tail).log_edges(x)
}

#[inline(always)]
pub(super) fn edges(x: f32, y: f32) -> f32 {
    // Compared as integers: LLVM would make a longer test of classes of the float comparisons.
    let y = if x < f32::INFINITY { y } else { x };
    let low = if x.to_bits() << 1 == 0 {
        f32::NEG_INFINITY
    } else {
        f32::NAN
    };
    if (x.to_bits() as i32) <= 0 { low } else { y }
}

/// log(1 + f) as a sum.
#[inline(always)]
fn log_sum<P: Pack>(f: P) -> (P, P) {
    let z = f * f;
    let half = P::splat(0.5) * z;
    let h = f - half;
    (h, (poly9(f, LOG) * f).mul_add(z, (f - h) - half))
}

#[inline(always)]
pub(crate) fn log2<P: Pack>(x: P) -> P {
    let log2_e = P::splat(std::f32::consts::LOG2_E);
    let (e, f) = x.split();
    let (h, l) = log_sum(f);
    let p = h * log2_e;
    let q = h.mul_add(log2_e, -p);
    let q = q + l.mul_add(log2_e, h * P::splat(1.925963033e-08));
    let s = e + p;
    (s + (((e - s) + p) + q)).log_edges(x)
}

#[inline(always)]
pub(crate) fn log10<P: Pack>(x: P) -> P {
    let log10_e = P::splat(std::f32::consts::LOG10_E);
    let (e, f) = x.split();
    let (h, l) = log_sum(f);
    let p = h * log10_e;
    let q = h.mul_add(log10_e, -p);
    let q = q + l.mul_add(log10_e, h * P::splat(LOG10_E_LOW));
    // log10 2 in two parts, the first one's product exact.
    let high = e * P::splat(LOG10_2_HIGH);
    let s = high + p;
    (s + (((high - s) + p) + e.mul_add(P::splat(LOG10_2_LOW), q))).log_edges(x)
}

const LOG10_E_LOW: f32 = -1.010304995e-08;
const LOG10_2_HIGH: f32 = 0.301025390625;
const LOG10_2_LOW: f32 = 4.605038981e-06;

/// log(u + low) with `low` below the last place of u >= 2^-24; where u is less or infinite, its own logarithm.
#[inline(always)]
fn log_of_sum<P: Pack>(u: P, low: P) -> P {
    let (e, d) = u.split();
    // 2^-e; where that is no number, `low` is nothing beside u.
    let inverse = (P::splat(MAGIC) - e).power(P::splat(1.0));
    let low = u.below(1e37, low * inverse, P::splat(0.0));
    let f = d + low;
    let c = (d - f) + low;
    // The derivative of log(1 + f) is nearly 1 - f.
    join(e, f, (-c).mul_add(f, c)).log_edges(u)
}

#[inline(always)]
pub(crate) fn log1p<P: Pack>(x: P) -> P {
    let (u, low) = two_sum(P::splat(1.0), x);
    log_of_sum(u, low).zero_of(x)
}

#[inline(always)]
pub(crate) fn atanh<P: Pack>(x: P) -> P {
    let (one, two) = (P::splat(1.0), P::splat(2.0));
    let a = x.abs();
    // log(1 + 2a + 2a² / (1 - a)) / 2
    let (h, l) = two_sum(two * a, two * a * a / (one - a));
    let (u, low) = two_sum(one, h);
    let y = P::splat(0.5) * log_of_sum(u, low + l);
    a.above(1.0, P::splat(f32::NAN), y).copysign(x).zero_of(x)
}

/// `(e, log m)` with `x = m·2^e` and m near 1; `x` is positive and normal. Where e = 0, `near` replaces m - 1.
#[inline(always)]
fn log_parts(x: f64, near: Option<f64>) -> (f64, f64) {
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    let bits = x.to_bits().wrapping_sub(SQRT_HALF).wrapping_add(1023 << 52);
    // The biased exponent becomes a float by the low bits of 2^52.
    let e = f64::from_bits((bits >> 52) | 0x4330_0000_0000_0000) - (4_503_599_627_370_496.0 + 1023.0);
    let m = f64::from_bits((bits & 0x000f_ffff_ffff_ffff).wrapping_add(SQRT_HALF));
    let f = m - 1.0;
    let f = if let Some(near) = near {
        if e == 0.0 { near } else { f }
    } else {
        f
    };
    let s = f / (2.0 + f);
    let z = s * s;
    let q = poly_d(
        z,
        [
            0.666666666666667,
            0.3999999999989924,
            0.2857142862609589,
            0.22222211115144158,
            0.18182890556695763,
            0.15331674030163508,
            0.1461703754883715,
        ],
    );
    (e, (s * z).mul_add(q, 2.0 * s))
}

#[inline(always)]
pub(crate) fn pow(x: f32, y: f32) -> f32 {
    let (e, l) = log_parts(x.abs() as f64, None);
    let log2 = l.mul_add(std::f64::consts::LOG2_E, e);
    let magnitude = x.abs();
    let log2 = if magnitude < f32::INFINITY {
        log2
    } else {
        magnitude as f64
    };
    let log2 = if magnitude == 0.0 { f64::NEG_INFINITY } else { log2 };
    let power = exp2_d(log2 * y as f64) as f32;
    // 1000 twice over: beyond it exp2_d saturates, and so does f32.
    let power = if magnitude == 1.0 && !y.is_nan() { 1.0 } else { power };
    let whole = y.trunc() == y;
    let odd = whole && (y * 0.5).trunc() != y * 0.5;
    let signed = if odd { power.copysign(x) } else { power };
    let signed = if x < 0.0 && magnitude < f32::INFINITY && !whole {
        f32::NAN
    } else {
        signed
    };
    if x == 1.0 || y == 0.0 { 1.0 } else { signed }
}

/// log(1 + u) for u >= 0 that is finite.
#[inline(always)]
fn log1p_d(u: f64) -> f64 {
    let (e, l) = log_parts(1.0 + u, Some(u));
    e.mul_add(std::f64::consts::LN_2, l)
}

#[inline(always)]
pub(crate) fn asinh(x: f32) -> f32 {
    let a = (x as f64).abs();
    let y = log1p_d(a + a * a / (1.0 + a.mul_add(a, 1.0).sqrt())) as f32;
    let y = if a < f64::INFINITY { y } else { x.abs() };
    y.copysign(x)
}

#[inline(always)]
pub(crate) fn acosh(x: f32) -> f32 {
    let t = x as f64 - 1.0;
    let y = log1p_d(t + (t * (t + 2.0)).sqrt()) as f32;
    let y = if x < f32::INFINITY { y } else { x };
    if x < 1.0 { f32::NAN } else { y }
}
