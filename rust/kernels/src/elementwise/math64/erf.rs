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
pub fn erfc<P: Pack<f64>>(x: P) -> P {
    let a = x.abs().at_most(28.0);
    let (sq, low) = two_product(a, a);
    let (b, b_low) = two_product(a, P::splat(SQRT_2));
    let tail = scaled_tail(b, a.mul_add(P::splat(SQRT_2_LOW), b_low));
    let (h, l, t) = times_exp(tail, -sq, -low);
    let y = (P::splat(2.0) * (h + l)).scaled_down(t);
    x.below(0.0, P::splat(2.0) - y, y)
}

#[inline(always)]
pub fn erf<P: Pack<f64>>(x: P) -> P {
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
pub fn gelu<P: Pack<f64>>(x: P) -> P {
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

/// erf⁻¹ x / x for `w` = -log(1 - x²) below 5, in w - 2.5: the argument of M. Giles, "Approximating the erfinv function" (2010).
const INVERSE: [f64; 22] = [
    1.501409351110792,
    0.246640276744167,
    -0.004177317724382887,
    -0.0012527079078109066,
    0.00021825026433935945,
    -4.996079599279791e-06,
    -3.416619584862394e-06,
    4.78725219198754e-07,
    1.3416788811913557e-08,
    -1.0861169521763927e-08,
    9.073147838739175e-10,
    1.1960729171935375e-10,
    -3.110795974484731e-11,
    9.114669783363668e-13,
    5.3717803411669e-13,
    -7.610626530191807e-14,
    -3.177077584174987e-15,
    1.8941456297431503e-15,
    -1.0138086192836234e-16,
    -2.6645648809770092e-17,
    2.538203868845463e-18,
    1.64533799430872e-19,
];
/// Beyond 5, to 7 digits or more, in √w - 4.15.
const INVERSE_FAR: [f64; 13] = [
    3.9912333697806837,
    1.0098156927791062,
    0.0009082665030102986,
    -0.000692726864724643,
    0.0002485539988955279,
    -9.542540002712955e-05,
    3.140776483713538e-05,
    -1.5859752356572857e-06,
    8.13603187342485e-06,
    -1.1835919185908958e-05,
    3.200405893500059e-06,
    9.024270890830442e-07,
    -3.6434517005877515e-07,
];

/// Below it in absolute value [`erfinv_near`] is the function.
pub(crate) const ERFINV_NEAR: f64 = 0.996;

#[inline(always)]
fn minus_log<P: Pack<f64>>(a: P) -> P {
    let one = P::splat(1.0);
    -super::log_plain((one - a) * (one + a))
}

#[inline(always)]
fn inverse<P: Pack<f64>>(a: P, w: P) -> P {
    a * poly(w - P::splat(2.5), &INVERSE)
}

#[inline(always)]
pub(crate) fn erfinv_near<P: Pack<f64>>(x: P) -> P {
    let a = x.abs();
    inverse(a, minus_log(a)).copysign(x)
}

/// Far from 0 a guess and a step of Halley's.
#[inline(always)]
pub fn erfinv<P: Pack<f64>>(x: P) -> P {
    let one = P::splat(1.0);
    let a = x.abs();
    let y = inverse_at(a, one - a, minus_log(a));
    // Beyond 1 there is none; what the logarithm makes of 1 is no number.
    let beyond = a.above(1.0, P::splat(f64::NAN), y);
    a.same(one, P::splat(f64::INFINITY), beyond).copysign(x)
}

/// erf⁻¹ a, the inverse of erfc at `complement`, for `w` = -log(1 - a²) below 37.
#[inline(always)]
fn inverse_at<P: Pack<f64>>(a: P, complement: P, w: P) -> P {
    let mut y = inverse(a, w);
    if w.any_above(5.0) {
        let guess = a * poly(w.sqrt() - P::splat(4.15), &INVERSE_FAR);
        let (sq, low) = two_product(guess, guess);
        let (b, b_low) = two_product(guess, P::splat(SQRT_2));
        let (h, l) = scaled_tail(b, guess.mul_add(P::splat(SQRT_2_LOW), b_low));
        let e = exp_of_two(-sq, -low);
        let residual = complement - P::splat(2.0) * (h + l) * e;
        let step = residual / (P::splat(std::f64::consts::FRAC_2_SQRT_PI) * e);
        // The step by 1 + guess step, which is near 1.
        let far = guess - step.mul_add(-(guess * step), step);
        y = w.below(5.0, y, far);
    }
    y
}

/// Probabilities from the first to 1 less it are [`ndtri_near`]'s, from the second on [`ndtri`]'s.
pub(crate) const NDTRI_NEAR: f64 = 0.002;
pub(crate) const NDTRI_FAR: f64 = 1e-16;

/// `(q, a, w)`: the lesser of p and 1 - p, 1 - 2q, and -log(1 - a²).
#[inline(always)]
fn halved<P: Pack<f64>>(p: P) -> (P, P, P) {
    let one = P::splat(1.0);
    let q = p.above(0.5, one - p, p);
    let square = P::splat(4.0) * q * (one - q);
    (q, P::splat(-2.0).mul_add(q, one), -super::log_plain(square))
}

/// Φ⁻¹(p)
#[inline(always)]
pub(crate) fn ndtri_near<P: Pack<f64>>(p: P) -> P {
    let (_, a, w) = halved(p);
    (P::splat(SQRT_2) * inverse(a, w)).copysign(p - P::splat(0.5))
}

#[inline(always)]
pub(crate) fn ndtri(p: f64) -> f64 {
    let (q, a, w) = halved(p);
    (SQRT_2 * inverse_at(a, 2.0 * q, w)).copysign(p - 0.5)
}

/// log Φ(x) for x from -39 on.
#[inline(always)]
pub(crate) fn log_ndtr<P: Pack<f64>>(x: P) -> P {
    let a = bounded(x);
    let (h, l) = scaled_tail(a, P::splat(0.0));
    let (sq, low) = two_product(a, a);
    let half = P::splat(-0.5);
    let tail = exp_of_two(half * sq, half * low) * (h + l);
    // Near 0 the tail itself, so that its logarithm is not a difference.
    let scaled = super::log_plain(x.above(-1.0, tail, h + l));
    let left = x.above(-1.0, scaled, half.mul_add(sq, scaled));
    let right = super::log1p(-tail);
    x.below(0.0, left, right)
}
