//! Logarithms of f32, the inverse hyperbolic functions, and powers.

use super::exp::{exp_d, exp2_d};
use super::{MAGIC, Pack, poly, poly_d, poly9, two_sum};
use crate::elementwise::math64::log::larger_and_fall;
use std::f32::consts::{LN_2, LOG2_E};

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

/// `(e, m)` with x = m·2^e and 1 <= m < 2, for a positive x, subnormal ones too.
#[inline(always)]
pub(super) fn octave(x: f32) -> (f32, f32) {
    let tiny = x < f32::MIN_POSITIVE;
    let bits = (if tiny { x * 8_388_608.0 } else { x }).to_bits();
    let e = (bits as i32 >> 23) as f32 - if tiny { 150.0 } else { 127.0 };
    (e, f32::from_bits((bits & 0x007f_ffff) | 0x3f80_0000))
}

/// For each of 32 equal parts of 1 to 2 the inverse of a number in it; 1 and ½ for those beside 1 and 2, where a logarithm
/// may be near 0. They are those of their neighbourhood whose logarithm is very nearly a float.
const INVERSE: [f32; 32] = [
    1.0, 0.9552043, 0.9275087, 0.9015071, 0.8768798, 0.8534205, 0.8311185, 0.8100589, 0.7902937, 0.77118164, 0.7530798,
    0.7356564, 0.719033, 0.7032787, 0.6881256, 0.6737799, 0.6599558, 0.6464965, 0.63383186, 0.6214795, 0.60963994,
    0.59804624, 0.5873233, 0.57644224, 0.56638825, 0.55661607, 0.5469388, 0.5378209, 0.52878916, 0.5201788, 0.5118646,
    0.5,
];

/// The logarithms of their inverses, in the upper half (where 2^-1 brings a number near 1) with what [`LN_2`] has too much.
const LOG_OF: [f32; 32] = [
    0.0,
    0.045830026,
    0.07525309,
    0.10368738,
    0.13138534,
    0.15850289,
    0.18498287,
    0.21064833,
    0.23535064,
    0.25983134,
    0.28358412,
    0.30699214,
    0.32984802,
    0.352002,
    0.3737839,
    0.39485177,
    0.41558242,
    0.43618754,
    0.45597157,
    0.47565234,
    0.49488676,
    0.5140872,
    0.53217983,
    0.55088013,
    0.5684755,
    0.58587956,
    0.6034184,
    0.6202297,
    0.6371655,
    0.6535827,
    0.66969514,
    LN_2,
];

/// The same for the logarithm to base 2.
const INVERSE_2: [f32; 32] = [
    1.0, 0.9553924, 0.92765135, 0.9012818, 0.8766216, 0.85318583, 0.83125114, 0.8102736, 0.79007715, 0.7709893,
    0.75301236, 0.7356279, 0.71913266, 0.70344687, 0.68824065, 0.6735667, 0.6599048, 0.6466383, 0.6336258, 0.6214842,
    0.60945326, 0.59824395, 0.58711714, 0.5766047, 0.56622165, 0.55634296, 0.54685014, 0.5377273, 0.52892953,
    0.5201864, 0.5118698, 0.5,
];
const LOG2_OF: [f32; 32] = [
    0.0,
    0.065834664,
    0.10834542,
    0.14994988,
    0.18997386,
    0.22906809,
    0.26664367,
    0.30351898,
    0.33993456,
    0.37521726,
    0.40925455,
    0.44295192,
    0.47567016,
    0.50748664,
    0.539015,
    0.5701073,
    0.59967023,
    0.6289692,
    0.658297,
    0.68621033,
    0.7144125,
    0.7411942,
    0.76827973,
    0.79434544,
    0.8205612,
    0.8459536,
    0.87078255,
    0.8950534,
    0.91885257,
    0.94289935,
    0.96615124,
    1.0,
];

/// `(e, c, r)` with log x = e log 2 + c + log(1 + r).
#[inline(always)]
fn reduce<P: Pack>(x: P, inverse: &[f32; 32], log_of: &[f32; 32]) -> (P, P, P) {
    let (e, m) = x.octave();
    let i = m.shifted::<18>();
    (e, i.look_up(log_of), m.mul_add(i.look_up(inverse), P::splat(-1.0)))
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
pub fn log<P: Pack>(x: P) -> P {
    let (e, c, r) = reduce(x, &INVERSE, &LOG_OF);
    // log(1 + r) / r
    let p = poly(r, [1.0, -0.50000125, 0.3333667, -0.24394915]);
    p.mul_add(r, e.mul_add(P::splat(LN_2), c)).log_edges(x)
}

/// a log b, which is 0 where a is, unless b is NaN.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn xlogy<P: Pack>(a: P, b: P) -> P {
    // What is added is -0.0, or NaN.
    (a * log(b)).zero_of(a.abs()) + b.abs().at_most(f32::MAX) * P::splat(-0.0)
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
pub fn log2<P: Pack>(x: P) -> P {
    let (e, c, r) = reduce(x, &INVERSE_2, &LOG2_OF);
    // log2(1 + r) / r
    let p = poly(r, [LOG2_E, -0.72134805, 0.48101997, -0.3552507]);
    p.mul_add(r, e + c).log_edges(x)
}

#[inline(always)]
pub fn log10<P: Pack>(x: P) -> P {
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
pub fn log1p<P: Pack>(x: P) -> P {
    let (u, low) = two_sum(P::splat(1.0), x);
    log_of_sum(u, low).zero_of(x)
}

#[inline(always)]
pub fn atanh<P: Pack>(x: P) -> P {
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
    (e, log_near(f))
}

/// log(1 + f) for √½ <= 1 + f < √2
#[inline(always)]
fn log_near<P: Pack<f64>>(f: P) -> P {
    let two = P::splat(2.0);
    let s = f / (two + f);
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
    (s * z).mul_add(q, two * s)
}

/// x to the power of y for results of f32.
#[inline(always)]
pub fn pow_d<P: Pack<f64>>(x: P, y: P) -> P {
    let a = x.abs();
    let (e, f) = a.split();
    let log2 = log_near(f).mul_add(P::splat(std::f64::consts::LOG2_E), e).log_edges(a);
    // 1000 twice over: beyond it `exp2_d` saturates, and so does f32.
    exp2_d(log2 * y).pow_edges(x, y)
}

/// log(1 + e) / e for 0 <= e <= 1; at 1 exact, so that log2(½ + ½) is 0.
const LOG1P_D: [f64; 15] = [
    0.999999999999444,
    -0.4999999997492939,
    0.3333333144208243,
    -0.24999943207098252,
    0.1999909826782333,
    -0.16657944946065484,
    0.14229846053874007,
    -0.12249774442994724,
    0.1029723046589254,
    -0.08021112257135836,
    0.05400414697999852,
    -0.029010997546993378,
    0.011320424011110997,
    -0.002799228584141647,
    0.00032552168604054284,
];

/// log(e^a + e^b) for results of f32.
#[inline(always)]
pub fn log_add_exp_d<P: Pack<f64>>(a: P, b: P) -> P {
    let (large, fall) = larger_and_fall(a, b);
    let e = exp_d(-fall);
    e.mul_add(poly_d(e, LOG1P_D), large)
}

/// log2(2^a + 2^b) for results of f32.
#[inline(always)]
pub fn log_add_exp2_d<P: Pack<f64>>(a: P, b: P) -> P {
    let (large, fall) = larger_and_fall(a, b);
    let e = exp2_d(-fall);
    large + e * poly_d(e, LOG1P_D) * P::splat(std::f64::consts::LOG2_E)
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
