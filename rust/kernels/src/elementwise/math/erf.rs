//! The error function of f32, GELU, and the tail of the normal distribution that both are made of.

use super::pieces::{ERF, QUARTERS};
use super::{LIFT, MAGIC, MAGIC_D, Pack, poly, poly_d};

/// e^(t²) erfc(t) (t + 3) in u = (t - 3) / (t + 3), 0 <= t <= 10.3
const ERFC: [f64; 10] = [
    1.074006908,
    -0.8833944878,
    0.5902282922,
    -0.3104659707,
    0.1195291726,
    -0.02684006136,
    -0.001227045787,
    0.00308057803,
    -0.0004819947994,
    -0.0003247195594,
];

/// erfc for results of f32.
#[inline(always)]
pub(crate) fn erfc_d<P: Pack<f64>>(x: P) -> P {
    // Beyond it the result is less than half of the smallest number.
    let a = x.abs().at_most(10.3);
    let inverse = P::splat(1.0) / (a + P::splat(3.0));
    let scale = P::splat(-std::f64::consts::LOG2_E);
    let square = a * a;
    let t = square.mul_add(scale, P::splat(MAGIC_D));
    let r = square.mul_add(scale, P::splat(MAGIC_D) - t);
    let p = poly_d(
        r,
        [
            1.0000000006,
            0.69314720574,
            0.24022646891,
            0.05550328777,
            0.0096184889582,
            0.0013399931216,
            0.00015345811701,
        ],
    );
    let e = p * t.power(P::splat(1.0));
    let q = poly_d(inverse.mul_add(P::splat(-6.0), P::splat(1.0)), ERFC);
    let y = q * (inverse * e);
    x.below(0.0, P::splat(2.0) - y, y)
}

/// -log2(e) / 2. What rounding it loses is in the polynomial [`TAIL`].
pub(super) const HALF_LOG2_E: f32 = -std::f32::consts::LOG2_E / 2.0;
/// Adding it maps the distances from 0 to w = a / (a + SHIFT) below 1, along which the tail is smooth.
pub(super) const SHIFT: f32 = 3.5;
/// Beyond it the tail is less than half of the smallest number.
pub(super) const FAR: f32 = 14.5;
/// ½ erfc(a/√2) (a + SHIFT) / 2^(HALF_LOG2_E a²) in 2w - 1
pub(super) const TAIL: [f32; 10] = [
    0.7444159984588623,
    -0.5655620098114014,
    0.31542542576789856,
    -0.1160520538687706,
    0.017400028184056282,
    0.006484471261501312,
    -0.003161031985655427,
    -0.0004791630490217358,
    0.00040782420546747744,
    9.696320194052532e-05,
];
/// (2^r - 1) / r for |r| <= 1/2
pub(super) const EXP2: [f32; 6] = [
    0.6931471824645996,
    0.24022647738456726,
    0.05550359562039375,
    0.009618503041565418,
    0.0013390997191891074,
    0.00015327802975662053,
];

/// `(q, w, p, t)`: w = a / (a + SHIFT), and q·w·(1 + p)·2^k = a times ½ erfc(a/√2), the upper tail of the normal
/// distribution; k in the low bits of t; 0 <= a <= FAR.
#[inline(always)]
fn normal_tail<P: Pack>(a: P) -> (P, P, P, P) {
    let scale = P::splat(HALF_LOG2_E);
    // The square in two parts: the power would magnify what rounding it loses.
    let square = a * a;
    let low = a.mul_add(a, -square);
    let t = square.mul_add(scale, P::splat(MAGIC));
    let n = t - P::splat(MAGIC);
    let r = low.mul_add(scale, square.mul_add(scale, -n));
    let w = a / (a + P::splat(SHIFT));
    let q = poly(w.mul_add(P::splat(2.0), P::splat(-1.0)), TAIL);
    (q, w, r * poly(r, EXP2), t)
}

#[inline(always)]
pub(crate) fn erf<P: Pack>(x: P) -> P {
    let a = x.abs().at_most(4.0);
    let (r, q, c) = ERF.at(a.at_least(0.03125).shifted::<QUARTERS>(), a);
    q.mul_add(r, a.below(0.0390625, a, c)).copysign(x)
}

/// x less its tail where it is positive; in AVX2 [`super::wide`] is the same by name.
#[inline(always)]
pub(crate) fn gelu<P: Pack>(x: P) -> P {
    let a = x.distance(FAR);
    let (q, w, p, t) = normal_tail(a);
    let m = q * w;
    // The power of two, which may be subnormal, comes last. Minus infinity gives NaN, as x · 0 does.
    x.at_least_zero() - p.mul_add(m, m).scaled_down(t)
}

/// The derivative of [`gelu`]: Φ(x) + x φ(x).
#[inline(always)]
pub(crate) fn gelu_slope<P: Pack>(x: P) -> P {
    let (one, inverse) = (P::splat(1.0), P::splat(1.0 / SHIFT));
    // NaN stays.
    let a = x.abs().at_most(FAR);
    let (q, w, p, t) = normal_tail(a);
    // 1 / (a + SHIFT) = (1 - w) / SHIFT
    let v = q * inverse.mul_add(-w, inverse);
    let e = (one + p) * t.power(P::splat(LIFT)) * P::splat(1.0 / LIFT);
    let below = x.below(0.0, v * e, (-v).mul_add(e, one));
    (e * P::splat(0.39894228)).mul_add(a.copysign(x), below)
}

/// Two polynomials in w = -log(1 - x²), as in M. Giles, "Approximating the erfinv function" (2010).
#[inline(always)]
pub(crate) fn erfinv<P: Pack>(x: P) -> P {
    let w = -super::log((-x).mul_add(x, P::splat(1.0)));
    let u = w - P::splat(2.5);
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
    let near = P::splat(1.501409411) + near.mul_add(u, P::splat(-5.217271e-08));
    // At ±1 a polynomial of infinity.
    let far = poly(
        w.sqrt() - P::splat(3.125),
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
    x * w.below(5.0, near, far)
}
