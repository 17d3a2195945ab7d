//! The exponential of f32 and what is made of it.

use super::pieces::{QUARTERS, TANH};
use super::{LIFT, MAGIC, MAGIC_D, Pack, clamp, poly, poly_d};
use std::f32::consts::LOG2_E;

const LN2_HI: f32 = 6.9314718246e-01;
const LN2_LO: f32 = -1.9046543e-09;

/// (e^r - 1 - r) / r² for |r| <= ln 2 / 2
const EXP: [f32; 5] = [0.5, 0.1666651964, 0.04166640341, 0.008368822746, 0.00139405299];

/// n = x·by to the nearest integer, as a number and in the low bits of another.
#[inline(always)]
fn nearest<P: Pack>(x: P, by: f32) -> (P, P) {
    let t = x.mul_add(P::splat(by), P::splat(MAGIC));
    (t - P::splat(MAGIC), t)
}

/// e^x = p·2^k, k in the low bits of the second number.
#[inline(always)]
fn exp_poly<P: Pack>(x: P) -> (P, P) {
    let (n, t) = nearest(x, LOG2_E);
    let r = n.mul_add(P::splat(-LN2_LO), n.mul_add(P::splat(-LN2_HI), x));
    let p = poly(
        r,
        [
            1.0,
            1.0,
            5.0e-01,
            1.666657627e-01,
            4.166655242e-02,
            8.363232948e-03,
            1.392625039e-03,
        ],
    );
    (p, t)
}

#[inline(always)]
pub fn exp<P: Pack>(x: P) -> P {
    let (p, t) = exp_poly(clamp(x, -105.0, 89.5));
    p.scaled(t, x)
}

/// e^x = (1 + p)·2^k, k in the low bits of the second number.
#[inline(always)]
pub(super) fn exp_parts<P: Pack>(x: P) -> (P, P) {
    let (n, t) = nearest(x, LOG2_E);
    let r = n.mul_add(P::splat(-LN2_LO), n.mul_add(P::splat(-LN2_HI), x));
    ((r * r).mul_add(poly(r, EXP), r), t)
}

/// s (1 + e^-x), where s is a power of two and large sums stay within the range.
#[inline(always)]
fn one_plus_exp<P: Pack>(x: P, least: f32, s: P) -> P {
    let c = clamp(x, least, 20.0);
    let (n, t) = nearest(c, -LOG2_E);
    let r = n.mul_add(P::splat(LN2_LO), n.mul_add(P::splat(LN2_HI), c));
    let power = t.power(s);
    // (1 + 2^k) + 2^k (e^-r - 1): only the last addition rounds to the last place of the result.
    let sum = power + s;
    let lost = s - (sum - power);
    let q = (r * r).mul_add(poly(-r, EXP), -r);
    sum + q.mul_add(power, lost)
}

#[inline(always)]
pub fn exp2<P: Pack>(x: P) -> P {
    let c = clamp(x, -151.0, 129.0);
    let t = c + P::splat(MAGIC);
    let r = c - (t - P::splat(MAGIC));
    let q = poly(
        r,
        [
            6.931471825e-01,
            2.402265072e-01,
            5.550356582e-02,
            9.618082084e-03,
            1.339109382e-03,
            1.545336127e-04,
        ],
    );
    q.mul_add(r, P::splat(1.0)).scaled(t, x)
}

#[inline(always)]
pub fn expm1<P: Pack>(x: P) -> P {
    let c = clamp(x, -20.0, 88.9);
    let (n, t) = nearest(c, LOG2_E);
    let r = n.mul_add(P::splat(-LN2_LO), n.mul_add(P::splat(-LN2_HI), c));
    let q = poly(
        r,
        [
            5.0e-01,
            1.666666716e-01,
            4.166646302e-02,
            8.333310485e-03,
            1.393373124e-03,
            1.989107986e-04,
        ],
    );
    let p = (r * r).mul_add(q, r);
    // Half the scale, so that 2^128 is not needed.
    let half = t.power(P::splat(0.5));
    let y = half.mul_add(p, half - P::splat(0.5)) * P::splat(2.0);
    y.zero_of(x)
}

#[inline(always)]
pub fn tanh<P: Pack>(x: P) -> P {
    let a = x.abs().at_most(10.0);
    let (r, q, c) = TANH.at(a.at_least(0.0625).shifted::<QUARTERS>(), a);
    q.mul_add(r, c).copysign(x)
}

/// x - tanh x
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn tanhshrink<P: Pack>(x: P) -> P {
    x - tanh(x)
}

#[inline(always)]
pub fn sigmoid<P: Pack>(x: P) -> P {
    // One scale for all sums, so that the quotient is rounded once even where it is subnormal.
    let scale = P::splat(1.0 / (1u32 << 24) as f32);
    scale / one_plus_exp(x, -105.0, scale)
}

/// x·sigmoid(x)
#[inline(always)]
pub fn silu<P: Pack>(x: P) -> P {
    let s = x.below(0.0, P::splat(1.0 / LIFT), P::splat(1.0));
    let d = one_plus_exp(x, -115.0, s);
    let x = x.below(-115.0, x * P::splat(0.0), x);
    x / d * s
}

/// The derivative of [`silu`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn silu_slope<P: Pack>(x: P) -> P {
    let (s, one) = (sigmoid(x), P::splat(1.0));
    s * (x * (one - s) + one)
}

/// log(1 + e^x): the larger of x and 0, and log(1 + e^-|x|) by a polynomial.
#[inline(always)]
pub(crate) fn softplus<P: Pack>(x: P) -> P {
    let (p, t) = exp_parts((-x.abs()).at_least(-105.0));
    let e = (P::splat(1.0) + p).scaled_down(t);
    // (log(1 + e) / e - 1) / e for 0 <= e <= 1
    let q = poly(
        e,
        [
            -0.4999993145,
            0.3333047628,
            -0.2495824695,
            0.1969374567,
            -0.1535084993,
            0.1067316905,
            -0.05759408697,
            0.02016826533,
            -0.003310628003,
        ],
    );
    x.above(0.0, x, P::splat(0.0)) + (e * e).mul_add(q, e)
}

/// -log(1 + e^-x)
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn log_sigmoid<P: Pack>(x: P) -> P {
    -softplus(-x)
}

/// exp in double precision, for arguments that f32 results come from; 1e-308 and infinity beyond ±710.
#[inline(always)]
pub(crate) fn exp_d<P: Pack<f64>>(x: P) -> P {
    let c = x.at_most(710.0).at_least(-708.0);
    let t = c.mul_add(P::splat(std::f64::consts::LOG2_E), P::splat(MAGIC_D));
    let n = t - P::splat(MAGIC_D);
    let r = n.mul_add(P::splat(-std::f64::consts::LN_2), c);
    let p = poly_d(
        r,
        [
            1.0,
            1.0,
            0.4999999999995475,
            0.16666666666662555,
            0.04166666678698556,
            0.008333333344268395,
            0.0013888838910996056,
            0.00019841224418291943,
            2.4868002978056962e-05,
            2.7617685465165067e-06,
        ],
    );
    p * t.power(P::splat(1.0))
}

#[inline(always)]
pub(super) fn exp2_d<P: Pack<f64>>(x: P) -> P {
    let c = x.at_most(1000.0).at_least(-1000.0);
    let t = c + P::splat(MAGIC_D);
    let r = c - (t - P::splat(MAGIC_D));
    let q = poly_d(
        r,
        [
            std::f64::consts::LN_2,
            0.2402265069581221,
            0.05550410866475993,
            0.009618129159714186,
            0.00133335581792394,
            0.00015403455553573818,
            1.5252686658011347e-05,
            1.3255304503367413e-06,
            1.0203171216524443e-07,
        ],
    );
    q.mul_add(r, P::splat(1.0)) * t.power(P::splat(1.0))
}

/// e^a / 2 and e^-a / 2 for 0 <= a.
#[inline(always)]
fn halves<P: Pack>(a: P) -> (P, P) {
    let (p, t) = exp_parts(a.at_most(90.0));
    // 2^(k - 3) is finite for every k here; 2^(k - 1) need not be.
    let s = t.power(P::splat(0.125));
    let half = p.mul_add(s, s) * P::splat(4.0);
    (half, P::splat(0.25) / half)
}

#[inline(always)]
pub fn sinh<P: Pack>(x: P) -> P {
    let a = x.abs();
    let z = x * x;
    // (sinh x / x - 1) / x²
    let near = poly(z, [0.1666666716, 0.008333310485, 0.0001984289556, 2.782213187e-06]);
    let near = (x * z).mul_add(near, x);
    let (half, inverse) = halves(a);
    a.below(1.0, near, (half - inverse).copysign(x))
}

#[inline(always)]
pub fn cosh<P: Pack>(x: P) -> P {
    let (half, inverse) = halves(x.abs());
    half + inverse
}
