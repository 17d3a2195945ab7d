//! The error function of f32, GELU, and the tail of the normal distribution that both are made of.

use super::exp::{exp_d, exp_parts, lifted};
use super::{poly, poly_d};

/// erfc for t >= 0: exp(-t²) times a polynomial in (t - 3) / (t + 3), divided by 1 + 2t; 0 beyond f32's range.
#[inline(always)]
fn erfc_tail(t: f64) -> f64 {
    let c = if t > 10.6 { 10.6 } else { t };
    let u = (c - 3.0) / (c + 3.0);
    let p = poly_d(
        u,
        [
            1.253008058281673,
            -0.13562110639412678,
            -0.047562296471370384,
            0.12964517374774606,
            -0.11927359602403852,
            0.06830780799279416,
            -0.0237713639393288,
            0.0025305156718848235,
            0.0018937613259225328,
            -0.0007808913198560202,
            -0.00011942483264961557,
            0.00011817135032596106,
            1.9924390515035447e-05,
            -4.608336056254351e-06,
        ],
    );
    let y = exp_d(-c * c) * p / (1.0 + 2.0 * c);
    if t > 10.6 { 0.0 } else { y }
}

#[inline(always)]
pub(crate) fn erfc_d(x: f64) -> f64 {
    let y = erfc_tail(x.abs());
    if x < 0.0 { 2.0 - y } else { y }
}

/// `(q, w, p, t)`: w = a / (a + 3.25), and q·w·(1 + p)·2^k = ½ a erfc(a/√2), where ½ erfc(a/√2) is the upper tail of the
/// normal distribution; k in the low bits of t; 0 <= a <= 14.5.
#[inline(always)]
fn normal_tail(a: f32) -> (f32, f32, f32, f32) {
    // The square in two parts: the exponential would magnify what rounding it loses.
    let half = -0.5 * a;
    let power = half * a;
    let (p, t) = exp_parts(power, half.mul_add(a, -power));
    let w = a / (a + 3.25);
    // e^(a²/2) ½ erfc(a/√2) (a + 3.25) in (a - 3.25) / (a + 3.25) = 2w - 1
    let q = poly(
        2.0f32.mul_add(w, -1.0),
        [
            0.7374383807,
            -0.5394866467,
            0.2744549811,
            -0.08092623204,
            0.001087369397,
            0.008311212063,
            -0.001132319565,
            -0.001051957021,
            0.0001091715894,
            0.0001112575846,
        ],
    );
    (q, w, p, t)
}

#[inline(always)]
fn bounded(x: f32) -> f32 {
    let a = x.abs();
    if a > 14.5 { 14.5 } else { a }
}

/// The form is N. Juffa's: 1 - e^(polynomial) away from 0.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    // erf x / x - 1 in x²
    let near = poly(
        x * x,
        [
            0.1283791363,
            -0.3761241138,
            0.1128098518,
            -0.02673749439,
            0.004951895215,
            -0.0005787613918,
        ],
    );
    // log erfc
    let a = x.abs();
    let a = if a > 3.95 { 3.95 } else { a };
    let power = poly(
        a,
        [
            -0.002250012709,
            -1.118877411,
            -0.6525661349,
            -0.0898906216,
            0.01517922617,
            -0.001200429047,
        ],
    );
    let (p, t) = exp_parts(power, 0.0);
    let s = f32::from_bits((t.to_bits() << 23).wrapping_add(127 << 23));
    let far = (1.0 - (1.0 + p) * s).copysign(x);
    if x.abs() < 0.95 { x.mul_add(near, x) } else { far }
}

#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    let a = bounded(x);
    let (q, w, p, t) = normal_tail(a);
    // The power of two, which may be subnormal, comes last.
    let m = q * w;
    let tail = p.mul_add(m, m) * lifted(t) * (1.0 / super::exp::LIFT);
    let y = if x < -0.0 { -0.0 } else { x } - tail;
    // As x · 0.
    if x == f32::NEG_INFINITY { f32::NAN } else { y }
}

/// The derivative of [`gelu`]: Φ(x) + x φ(x).
#[inline(always)]
pub(crate) fn gelu_slope(x: f32) -> f32 {
    let a = bounded(x);
    let (q, w, p, t) = normal_tail(a);
    // 1 / (a + 3.25) = (1 - w) / 3.25
    let v = q * (1.0 / 3.25f32).mul_add(-w, 1.0 / 3.25);
    let e = (1.0 + p) * lifted(t) * (1.0 / super::exp::LIFT);
    let below = if x >= 0.0 { (-v).mul_add(e, 1.0) } else { v * e };
    let y = (e * 0.39894228).mul_add(a.copysign(x), below);
    if x.is_nan() { x } else { y }
}

/// Two polynomials in w = -log(1 - x²), as in M. Giles, "Approximating the erfinv function" (2010).
#[inline(always)]
pub(crate) fn erfinv(x: f32) -> f32 {
    let w = -super::log((-x).mul_add(x, 1.0));
    let u = w - 2.5;
    let near = poly(
        u,
        [
            0.2466402799,
            -0.004177383147,
            -0.001252733753,
            0.0002183415345,
            -4.966871074e-06,
            -3.461993174e-06,
            4.667947167e-07,
            2.317799108e-08,
            -8.829941223e-09,
        ],
    );
    // The constant term in two parts.
    let near = 1.501409411 + near.mul_add(u, -5.217271e-08);
    let far = poly(
        w.sqrt() - 3.125,
        [
            2.958320141,
            1.003718495,
            0.007049502339,
            -0.005296319723,
            0.003777710255,
            -0.002545476891,
            0.001319444738,
            -0.0002787480771,
            -0.0001794604323,
            0.0001031619831,
        ],
    );
    let y = x * if w < 5.0 { near } else { far };
    if x.abs() == 1.0 { f32::INFINITY.copysign(x) } else { y }
}
