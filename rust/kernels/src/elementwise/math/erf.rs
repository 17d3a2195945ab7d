//! The error function of f32 and its kin.

use super::pieces::{ERF, QUARTERS};
use super::{MAGIC_D, Pack, poly, poly_d};

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

#[inline(always)]
pub(crate) fn erf<P: Pack>(x: P) -> P {
    let a = x.abs().at_most(4.0);
    let (r, q, c) = ERF.at(a.at_least(0.03125).shifted::<QUARTERS>(), a);
    q.mul_add(r, a.below(0.0390625, a, c)).copysign(x)
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
