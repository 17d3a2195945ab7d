//! The error function, its complement, and the normal distribution.
//!
//! Far from 0, e^(t²) erfc(t) (t + k) is a polynomial in u = (t - k) / (t + k), as in M. Shepherd and J. Laframboise,
//! "Chebyshev approximation of (1 + 2x) exp(x²) erfc x" (1981), with another factor so that one division serves both.

use super::exp::{exp_normal, exp_of_two, exp_parts};
use super::{Pack, clamp, fast_sum, poly, two_product, two_sum};
use std::f64::consts::SQRT_2;

/// What √2 has after its first 53 bits.
const SQRT_2_LOW: f64 = -9.667293313452915e-17;

/// e^(a²/2) ½ erfc(a/√2) (a + k), k = 5, 0 <= a <= 39: the constant term, and the rest divided by u.
const TAIL_K: f64 = 5.0;
const TAIL_0: f64 = 0.769193049750063;
const TAIL: [f64; 22] = [
    -0.6653825028900567,
    0.4953056159699764,
    -0.31353315667130455,
    0.1650203661703847,
    -0.06911863870631016,
    0.020795066799883178,
    -0.0029933767705085422,
    -0.0007978693984660701,
    0.0005448990647731298,
    -5.937572800991586e-05,
    -4.97628142705858e-05,
    1.6681213742042063e-05,
    3.9809021578680414e-06,
    -2.76926709599743e-06,
    -3.366153681012471e-07,
    4.331410356862585e-07,
    4.2274993740065346e-08,
    -6.594221662477223e-08,
    -9.31356099432606e-09,
    7.66307180076004e-09,
    1.753048401408232e-09,
    -1.5877468827473365e-10,
];

/// Roughly the derivative, for what rounding takes from u.
const TAIL_SLOPE: [f64; 4] = [-0.6376, 0.9111, -1.2112, 0.9346];

/// e^(t²) erfc(t) (t + k), k = 2.5, 1 <= t <= 6
const FAR_K: f64 = 2.5;
const FAR: [f64; 15] = [
    1.0540318203057177,
    -0.8046518494391568,
    0.45391411664814096,
    -0.17125114524437304,
    0.028361550127454227,
    0.00839304419947737,
    -0.004818785351602811,
    -0.00043920546140739105,
    0.0007026906446111366,
    5.826837251385697e-05,
    -0.00011257650242902363,
    -1.9233061850017207e-05,
    1.8114644055293025e-05,
    5.57879283474872e-06,
    -2.0952673065348656e-06,
];

/// erf x / x - 1 in z = x² below 1
const NEAR: [f64; 12] = [
    0.12837916709551256,
    -0.37612638903183543,
    0.11283791670945006,
    -0.02686617064323777,
    0.0052239776071164225,
    -0.0008548325975389692,
    0.00012055294904839707,
    -1.492473690741966e-05,
    1.6447424703317362e-06,
    -1.6208483801871705e-07,
    1.3720064546777686e-08,
    -7.795898827002142e-10,
];

/// ½ e^(a²/2) erfc(a/√2) as a sum, for a + low >= 0.
#[inline(always)]
fn scaled_tail<P: Pack<f64>>(a: P, low: P) -> (P, P) {
    let (dh, dl) = two_sum(a, P::splat(TAIL_K));
    let (nh, nl) = two_sum(a, P::splat(-TAIL_K));
    let (dl, nl) = (dl + low, nl + low);
    let inv = P::splat(1.0) / dh;
    let u = nh * inv;
    let u_low = ((-u).mul_add(dh, nh) + (-u).mul_add(dl, nl)) * inv;
    let (p, p_low) = two_product(u, poly(u, &TAIL));
    let (h, l) = fast_sum(P::splat(TAIL_0), p);
    let l = l + u_low.mul_add(poly(u, &TAIL_SLOPE), p_low);
    let v = h * inv;
    (v, ((-v).mul_add(dh, h) + (-v).mul_add(dl, l)) * inv)
}

/// e^x (h + l) = (h' + l')·2^k, k in the low bits of the third result; x = square + low.
#[inline(always)]
fn times_exp<P: Pack<f64>>((h, l): (P, P), square: P, low: P) -> (P, P, P) {
    let (eh, el, t) = exp_parts(square, low);
    let (p, q) = two_product(eh, h);
    (p, q + eh.mul_add(l, el * h), t)
}

#[inline(always)]
pub(crate) fn erfc<P: Pack<f64>>(x: P) -> P {
    let a = x.abs().at_most(28.0);
    let (sq, low) = two_product(a, a);
    let (b, b_low) = two_product(a, P::splat(SQRT_2));
    let tail = scaled_tail(b, a.mul_add(P::splat(SQRT_2_LOW), b_low));
    let (h, l, t) = times_exp(tail, -sq, -low);
    let y = (P::splat(2.0) * (h + l)).scaled_down(t);
    x.below(0.0, P::splat(2.0) - y, y)
}

#[inline(always)]
pub(crate) fn erf<P: Pack<f64>>(x: P) -> P {
    let near = x.mul_add(poly(x * x, &NEAR), x);
    let a = clamp(x.abs(), 1.0, 6.0);
    let inv = P::splat(1.0) / (a + P::splat(FAR_K));
    let p = poly((a - P::splat(FAR_K)) * inv, &FAR) * inv;
    // What rounding does to the square is small beside 1.
    let far = (-exp_normal(-a * a)).mul_add(p, P::splat(1.0)).copysign(x);
    x.abs().below(1.0, near, far)
}

/// The upper tail of the normal distribution, ½ erfc(a/√2), as (h + l)·2^k for a >= 0.
#[inline(always)]
fn tail<P: Pack<f64>>(a: P) -> (P, P, P) {
    let (sq, low) = two_product(a, a);
    let half = P::splat(-0.5);
    times_exp(scaled_tail(a, P::splat(0.0)), half * sq, half * low)
}

#[inline(always)]
fn bounded<P: Pack<f64>>(x: P) -> P {
    x.abs().at_most(39.0)
}

/// The normal distribution function.
#[inline(always)]
pub(crate) fn ndtr(x: f64) -> f64 {
    let (h, l, t) = tail(bounded(x));
    let y = (h + l).scaled_down(t);
    if x >= 0.0 { 1.0 - y } else { y }
}

/// x Φ(x).
#[inline(always)]
pub(crate) fn gelu<P: Pack<f64>>(x: P) -> P {
    let a = bounded(x);
    let (h, l, t) = tail(a);
    let (p, q) = two_product(a, h);
    // Minus infinity gives NaN, as x · 0 does.
    x.at_least_zero() - (p + a.mul_add(l, q)).scaled_down(t)
}

/// The derivative of [`gelu`]: Φ(x) + x φ(x).
#[inline(always)]
pub(crate) fn gelu_slope(x: f64) -> f64 {
    let a = bounded(x);
    let (sq, low) = two_product(a, a);
    let e = exp_of_two(-0.5 * sq, -0.5 * low);
    let (v, _) = scaled_tail(a, 0.0);
    let below = if x >= 0.0 { (-v).mul_add(e, 1.0) } else { v * e };
    let y = (e * 0.3989422804014327).mul_add(a.copysign(x), below);
    if x.is_nan() { x } else { y }
}

/// erf⁻¹ x / x to 6 digits or more, `w` = -log(1 - x²): of the shape of M. Giles, "Approximating the erfinv function" (2010).
const INVERSE_NEAR: [f64; 10] = [
    1.501409411,
    0.2466402799,
    -0.004177667201,
    -0.00125275529,
    0.000218576286,
    -4.943789463e-06,
    -3.52340885e-06,
    4.600306909e-07,
    2.816856437e-08,
    -8.243220329e-09,
];
const INVERSE_FAR: [f64; 9] = [
    3.991234135669768,
    1.009838648220961,
    0.0009032700326958206,
    -0.0007897682521922627,
    0.0002573194320592508,
    1.9847461689955342e-05,
    1.8896653072128795e-05,
    -5.752729905945074e-05,
    1.7821933043072347e-05,
];

/// The guess and two steps of Halley's, with the residual from the side that keeps its digits.
#[inline(always)]
pub(crate) fn erfinv(x: f64) -> f64 {
    let a = x.abs();
    let w = -super::log_plain((1.0 - a) * (1.0 + a));
    let near = poly(w - 2.5, &INVERSE_NEAR);
    let far = poly(w.sqrt() - 4.15, &INVERSE_FAR);
    let mut y = a * if w < 5.0 { near } else { far };
    for _ in 0..2 {
        let (sq, low) = two_product(y, y);
        let (b, b_low) = two_product(y, SQRT_2);
        let (h, l) = scaled_tail(b, y.mul_add(SQRT_2_LOW, b_low));
        let e = exp_of_two(-sq, -low);
        let complement = 2.0 * (h + l) * e;
        let direct = y.mul_add(poly(y * y, &NEAR), y) - a;
        let residual = if a < 0.5 { direct } else { (1.0 - a) - complement };
        let step = residual / (std::f64::consts::FRAC_2_SQRT_PI * e);
        y -= step / y.mul_add(step, 1.0);
    }
    let y = if a == 1.0 { f64::INFINITY } else { y };
    let y = if a > 1.0 { f64::NAN } else { y };
    // Where the square of the argument is nothing.
    let y = if a < 1e-9 { a * 0.886_226_925_452_758 } else { y };
    y.copysign(x)
}
