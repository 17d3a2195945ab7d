//! Inverse trigonometric functions of f32.

use super::poly;
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
pub(crate) fn atan(x: f32) -> f32 {
    let a = x.abs();
    let far = a > 1.0;
    let t = if far { 1.0 / a } else { a };
    let z = t * t;
    let p = (t * z) * poly(z, ATAN);
    let h = FRAC_PI_2 - t;
    let l = (FRAC_PI_2 - h) - t;
    let y = if far { h + (l + (FRAC_PI_2_LOW - p)) } else { t + p };
    y.copysign(x)
}

#[inline(always)]
pub(crate) fn asin(x: f32) -> f32 {
    let a = x.abs();
    let far = a > 0.5;
    let z = if far { 0.5f32.mul_add(-a, 0.5) } else { a * a };
    let t = if far { -2.0 * z.sqrt() } else { a };
    let p = (t * z) * poly(z, ASIN);
    // asin a = π/2 - 2 asin √((1 - a) / 2)
    let h = FRAC_PI_2 + t;
    let l = (FRAC_PI_2 - h) + t;
    let y = if far { h + (l + (p + FRAC_PI_2_LOW)) } else { t + p };
    y.copysign(x)
}

#[inline(always)]
pub(crate) fn acos(x: f32) -> f32 {
    let a = x.abs();
    let far = a > 0.5;
    let z = if far { 0.5f32.mul_add(-a, 0.5) } else { a * a };
    // π/2 - asin x, or π - 2 asin √((1 + x) / 2), or 2 asin √((1 - x) / 2)
    let t = if far { 2.0 * z.sqrt() } else { a };
    let t = if far == (x < 0.0) { -t } else { t };
    let p = (t * z) * poly(z, ASIN);
    let (base, base_low) = if !far {
        (FRAC_PI_2, FRAC_PI_2_LOW)
    } else if x < 0.0 {
        (PI, PI_LOW)
    } else {
        (0.0, 0.0)
    };
    let h = base + t;
    let l = (base - h) + t;
    let y = h + (l + (p + base_low));
    // The sum above loses nothing where the base is 0.
    if far && x > 0.0 { t + p } else { y }
}
