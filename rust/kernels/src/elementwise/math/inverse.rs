//! Inverse trigonometric functions of f32.

use super::{Pack, poly, poly_d};
use crate::elementwise::math64::inverse::tangent;
use std::f32::consts::{FRAC_PI_2, PI};

/// What π/2 and π have after their first 24 bits.
const FRAC_PI_2_LOW: f32 = -4.371138829e-08;
const PI_LOW: f32 = -8.742277657e-08;

/// (asin t / t - 1) / t² in z = t² up to 1/4
const ASIN: [f32; 5] = [0.1666675359, 0.07495252043, 0.04547604173, 0.02415209264, 0.04221179709];

/// (atan t / t - 1) / t² in z = t² up to 1
const ATAN: [f32; 9] = [
    -0.3333330154,
    0.1999862939,
    -0.1426515132,
    0.1095710248,
    -0.08418121189,
    0.05821232498,
    -0.0314341411,
    0.01105313841,
    -0.001824739273,
];

#[inline(always)]
pub fn atan<P: Pack>(x: P) -> P {
    let a = x.abs();
    let t = a.above(1.0, P::splat(1.0) / a, a);
    let z = t * t;
    let p = (t * z) * poly(z, ATAN);
    let h = P::splat(FRAC_PI_2) - t;
    let l = (P::splat(FRAC_PI_2) - h) - t;
    let far = h + (l + (P::splat(FRAC_PI_2_LOW) - p));
    a.above(1.0, far, t + p).copysign(x)
}

/// For a = |x| the number t whose arc sine is wanted, and its square: a itself, and beyond ½ twice √((1 - a) / 2).
#[inline(always)]
fn half_angle<P: Pack>(a: P) -> (P, P) {
    let z = a.above(0.5, P::splat(0.5).mul_add(-a, P::splat(0.5)), a * a);
    (a.above(0.5, P::splat(2.0) * z.sqrt(), a), z)
}

#[inline(always)]
pub fn asin<P: Pack>(x: P) -> P {
    let a = x.abs();
    let (t, z) = half_angle(a);
    let p = (t * z) * poly(z, ASIN);
    // asin a = π/2 - 2 asin √((1 - a) / 2)
    let h = P::splat(FRAC_PI_2) - t;
    let l = (P::splat(FRAC_PI_2) - h) - t;
    let far = h + (l + (P::splat(FRAC_PI_2_LOW) - p));
    a.above(0.5, far, t + p).copysign(x)
}

#[inline(always)]
pub fn acos<P: Pack>(x: P) -> P {
    let a = x.abs();
    let (t, z) = half_angle(a);
    // π/2 - asin x, or π - 2 asin √((1 + x) / 2), or 2 asin √((1 - x) / 2)
    let t = a.above(0.5, t.copysign(x), -x);
    let p = (t * z) * poly(z, ASIN);
    let side = x.below(0.0, P::splat(PI), P::splat(0.0));
    let side_low = x.below(0.0, P::splat(PI_LOW), P::splat(0.0));
    let base = a.above(0.5, side, P::splat(FRAC_PI_2));
    let base_low = a.above(0.5, side_low, P::splat(FRAC_PI_2_LOW));
    let h = base + t;
    let l = (base - h) + t;
    h + (l + (p + base_low))
}

/// (atan t / t - 1) / t² in z = t² up to 1, to 1e-10.
const ATAN_D: [f64; 12] = [
    -0.3333333332694414,
    0.19999998154086215,
    -0.14285624891483525,
    0.11109392308322223,
    -0.09073553118976409,
    0.0758665283364667,
    -0.06246315194128317,
    0.047294798621813336,
    -0.02991311194551696,
    0.014072923344697239,
    -0.0042216579909296476,
    0.0005930437556365282,
];

/// The angle of (x, y) for results of f32.
#[inline(always)]
pub fn atan2_d<P: Pack<f64>>(y: P, x: P) -> P {
    let (a, b) = (x.abs(), y.abs());
    let (_, _, t) = tangent(a, b);
    let z = t * t;
    let angle = (t * z).mul_add(poly_d(z, ATAN_D), t);
    let angle = a.less(b, P::splat(std::f64::consts::FRAC_PI_2) - angle, angle);
    // The sign of zeros counts too.
    let side = P::splat(1.0).copysign(x);
    let angle = side.below(0.0, P::splat(std::f64::consts::PI) - angle, angle);
    x.same(x, y.same(y, angle.copysign(y), y), x)
}
