//! The exponential and what is made of it.

use super::{LIFT, LN2_HI, LN2_LO, MAGIC, Pack, clamp, fast_sum, poly, quotient, two_sum};
use std::f64::consts::LOG2_E;

/// (e^r - 1 - r) / r² for |r| <= ln 2 / 2
const EXP: [f64; 11] = [
    0.5,
    0.1666666666666667,
    0.04166666666666667,
    0.008333333333326134,
    0.0013888888888883835,
    0.00019841269874823573,
    2.4801587325317523e-05,
    2.7557255396469385e-06,
    2.7557273889067347e-07,
    2.510521856002273e-08,
    2.0914596103334442e-09,
];

/// (2^r - 1) / r for |r| <= 1/2
const EXP2: [f64; 13] = [
    std::f64::consts::LN_2,
    0.24022650695910072,
    0.05550410866482158,
    0.009618129107628484,
    0.0013333558146428445,
    0.00015403530393362738,
    1.5252733804051257e-05,
    1.3215486816017778e-06,
    1.0178086021077279e-07,
    7.054894378437818e-09,
    4.4455303509727267e-10,
    2.5733580964287773e-11,
    1.3716902040666755e-12,
];

/// (sinh x / x - 1) / x² in z = x² below 1
const SINH: [f64; 8] = [
    0.16666666666666666,
    0.008333333333333333,
    0.00019841269841269773,
    2.755731922404034e-06,
    2.505210836405804e-08,
    1.6059048396350562e-10,
    7.646625361656657e-13,
    2.8445264169895285e-15,
];

/// n = x·by to the nearest integer, as a number and in the low bits of another.
#[inline(always)]
fn nearest<P: Pack<f64>>(x: P, by: f64) -> (P, P) {
    let t = x.mul_add(P::splat(by), P::splat(MAGIC));
    (t - P::splat(MAGIC), t)
}

/// `(r, t)` with x = k ln 2 + r, k in the low bits of t.
#[inline(always)]
fn reduced<P: Pack<f64>>(x: P) -> (P, P) {
    let (n, t) = nearest(x, LOG2_E);
    (n.mul_add(P::splat(-LN2_LO), n.mul_add(P::splat(-LN2_HI), x)), t)
}

/// e^r - 1 - r + c for |r| <= ln 2 / 2.
#[inline(always)]
fn beyond<P: Pack<f64>>(r: P, c: P) -> P {
    (r * r).mul_add(poly(r, &EXP), c)
}

/// e^x where the result is a normal number.
#[inline(always)]
pub(super) fn exp_normal<P: Pack<f64>>(x: P) -> P {
    let (r, t) = reduced(x);
    (beyond(r, r) + P::splat(1.0)) * t.power(P::splat(1.0))
}

/// e^(x + low) = (h + l)·2^k, k in the low bits of the third number. |x| is below 2000, `low` less than x's last place.
#[inline(always)]
pub(super) fn exp_parts<P: Pack<f64>>(x: P, low: P) -> (P, P, P) {
    let (n, t) = nearest(x, LOG2_E);
    let a = n.mul_add(P::splat(-LN2_HI), x);
    let s = n.mul_add(P::splat(-LN2_LO), a);
    let (r, c) = two_sum(s, low);
    let c = n.mul_add(P::splat(-LN2_LO), a - s) + c;
    let (h, l) = fast_sum(P::splat(1.0), r);
    (h, l + beyond(r, c), t)
}

/// e^(x + low) for results that are 0 below e^-746.
#[inline(always)]
pub(super) fn exp_of_two<P: Pack<f64>>(x: P, low: P) -> P {
    let (h, l, t) = exp_parts(clamp(x, -746.0, 710.0), low);
    (h + l).scaled(t, x)
}

#[inline(always)]
pub fn exp<P: Pack<f64>>(x: P) -> P {
    let (r, t) = reduced(clamp(x, -746.0, 710.0));
    (beyond(r, r) + P::splat(1.0)).scaled(t, x)
}

#[inline(always)]
pub fn exp2<P: Pack<f64>>(x: P) -> P {
    let c = clamp(x, -1077.0, 1025.0);
    let t = c + P::splat(MAGIC);
    let r = c - (t - P::splat(MAGIC));
    poly(r, &EXP2).mul_add(r, P::splat(1.0)).scaled(t, x)
}

/// `(r, low, t)` with x = k ln 2 + r + low, k in the low bits of t.
#[inline(always)]
fn reduced_twice<P: Pack<f64>>(x: P) -> (P, P, P) {
    let (n, t) = nearest(x, LOG2_E);
    let a = n.mul_add(P::splat(-LN2_HI), x);
    let r = n.mul_add(P::splat(-LN2_LO), a);
    (r, n.mul_add(P::splat(-LN2_LO), a - r), t)
}

#[inline(always)]
pub fn expm1<P: Pack<f64>>(x: P) -> P {
    let (r, low, t) = reduced_twice(clamp(x, -40.0, 710.0));
    let p = beyond(r, low);
    // Half the scale, so that 2^1024 is not needed.
    let half = t.power(P::splat(0.5));
    let (h, l) = two_sum(half - P::splat(0.5), half * r);
    let y = (h + half.mul_add(p, l)) * P::splat(2.0);
    y.zero_of(x)
}

/// e^(2a) - 1 as a sum, for 0 <= a.
#[inline(always)]
fn expm1_twice<P: Pack<f64>>(a: P) -> (P, P) {
    let (r, low, t) = reduced_twice(P::splat(2.0) * a.at_most(20.0));
    let p = beyond(r, low);
    let s = t.power(P::splat(1.0));
    let (h, l) = two_sum(s - P::splat(1.0), s * r);
    fast_sum(h, s.mul_add(p, l))
}

#[inline(always)]
pub fn tanh<P: Pack<f64>>(x: P) -> P {
    let (nh, nl) = expm1_twice(x.abs());
    let (dh, dl) = two_sum(P::splat(2.0), nh);
    quotient(nh, nl, dh, dl + nl).copysign(x).zero_of(x)
}

/// s (1 + e^-x), where s is a power of two and large sums stay within the range.
#[inline(always)]
fn one_plus_exp<P: Pack<f64>>(x: P, least: f64, s: P) -> P {
    let c = clamp(x, least, 45.0);
    let (n, t) = nearest(c, -LOG2_E);
    let r = n.mul_add(P::splat(LN2_LO), n.mul_add(P::splat(LN2_HI), c));
    let power = t.power(s);
    // (1 + 2^k) + 2^k (e^-r - 1): only the last addition rounds to the last place of the result.
    let sum = power + s;
    let lost = s - (sum - power);
    let q = beyond(-r, -r);
    sum + q.mul_add(power, lost)
}

#[inline(always)]
pub fn sigmoid<P: Pack<f64>>(x: P) -> P {
    // One scale for all sums, so that the quotient is rounded once even where it is subnormal.
    let scale = P::splat(1.0 / (1u64 << 60) as f64);
    scale / one_plus_exp(x, -746.0, scale)
}

/// x·sigmoid(x)
#[inline(always)]
pub fn silu<P: Pack<f64>>(x: P) -> P {
    let s = x.below(0.0, P::splat(1.0 / LIFT), P::splat(1.0));
    let d = one_plus_exp(x, -780.0, s);
    let x = x.below(-780.0, x * P::splat(0.0), x);
    x / d * s
}

#[inline(always)]
pub(crate) fn sinh(x: f64) -> f64 {
    let a = x.abs();
    let z = a * a;
    let near = (a * z).mul_add(poly(z, &SINH), a);
    let (p, q) = halves(a);
    let (h, l) = two_sum(p.0, -q);
    let y = if a < 1.0 { near } else { h + (l + p.1) };
    let y = if p.0 < f64::INFINITY { y } else { p.0 };
    if x.is_nan() { x } else { y.copysign(x) }
}

#[inline(always)]
pub(crate) fn cosh(x: f64) -> f64 {
    let a = x.abs();
    let (p, q) = halves(a);
    let (h, l) = fast_sum(p.0, q);
    let y = h + (l + p.1);
    if p.0 < f64::INFINITY { y } else { p.0 }
}

/// e^a / 2 as a sum, and e^-a / 2; 0 <= a.
#[inline(always)]
fn halves(a: f64) -> ((f64, f64), f64) {
    let (h, l, t) = exp_parts(if a > 711.0 { 711.0 } else { a }, 0.0);
    let (h, l) = fast_sum(h, l);
    // 2^(k - 3) is finite for every k here; 2^(k - 1) need not be.
    let s = t.power(0.125);
    let (ph, pl) = (h * s * 4.0, l * s * 4.0);
    ((ph, pl), 0.25 / ph)
}
