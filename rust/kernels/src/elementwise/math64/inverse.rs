//! Inverse trigonometric functions.

use super::{fast_sum, poly, two_sum};
use std::f64::consts::{FRAC_PI_2, PI};

/// What π/2 and π have after their first 53 bits.
const FRAC_PI_2_LOW: f64 = 6.123233995736766e-17;
const PI_LOW: f64 = 1.2246467991473532e-16;

/// (atan t / t - 1) / t² in z = t² up to 1
const ATAN: [f64; 21] = [
    -0.3333333333333333,
    0.19999999999999554,
    -0.14285714285648404,
    0.11111111107234799,
    -0.09090908969557403,
    0.07692305354678655,
    -0.06666636435777692,
    0.05882074956371294,
    -0.05261265735709454,
    0.04752086773576656,
    -0.04308119655330471,
    0.03872640214042632,
    -0.033750132001619734,
    0.027567942297344678,
    -0.020238706986393514,
    0.012756172907694298,
    -0.006575683344151699,
    0.002622977891906089,
    -0.0007518472526973822,
    0.0001368724853148122,
    -1.1832505417555692e-05,
];

/// (asin t / t - 1) / t² in z = t² up to 1/4
const ASIN: [f64; 12] = [
    0.1666666666666665,
    0.07500000000020764,
    0.044642857103423646,
    0.03038194736709848,
    0.02237204763174451,
    0.017355259955786323,
    0.013929652902326633,
    0.011875494382636922,
    0.0078029494773533175,
    0.01603551434914882,
    -0.010749050339697808,
    0.028169218060881414,
];

#[inline(always)]
pub(crate) fn atan(x: f64) -> f64 {
    let a = x.abs();
    let far = a > 1.0;
    let t = if far { 1.0 / a } else { a };
    // What the quotient lost; of no account where it would be infinite times 0.
    let low = if a < 1e300 { (-t).mul_add(a, 1.0) * t } else { 0.0 };
    let z = t * t;
    let p = (t * z) * poly(z, &ATAN);
    let (h, l) = fast_sum(FRAC_PI_2, -t);
    let y = if far {
        h + (l + ((FRAC_PI_2_LOW - low) - p))
    } else {
        t + p
    };
    y.copysign(x)
}

#[inline(always)]
pub(crate) fn atan2(y: f64, x: f64) -> f64 {
    let (a, b) = (x.abs(), y.abs());
    let steep = b > a;
    let (n, d) = if steep { (a, b) } else { (b, a) };
    let t = n / d;
    // inf / inf, 0 / 0.
    let t = if d == f64::INFINITY && n == d { 1.0 } else { t };
    let t = if d == 0.0 { 0.0 } else { t };
    let lost = (-t).mul_add(d, n) / d;
    let low = if d < 1e300 && d > 1e-290 { lost } else { 0.0 };
    let z = t * t;
    let (h, l) = (t, (t * z).mul_add(poly(z, &ATAN), low));
    let (s, r) = two_sum(FRAC_PI_2, -h);
    let (h, l) = if steep { (s, r + (FRAC_PI_2_LOW - l)) } else { (h, l) };
    let (s, r) = two_sum(PI, -h);
    let (h, l) = if x.is_sign_negative() {
        (s, r + (PI_LOW - l))
    } else {
        (h, l)
    };
    let angle = (h + l).copysign(y);
    if x.is_nan() || y.is_nan() { x + y } else { angle }
}

#[inline(always)]
pub(crate) fn asin(x: f64) -> f64 {
    let a = x.abs();
    let far = a > 0.5;
    let z = if far { 0.5 - 0.5 * a } else { a * a };
    let t = if far { -2.0 * z.sqrt() } else { a };
    let p = (t * z) * poly(z, &ASIN);
    // asin a = π/2 - 2 asin √((1 - a) / 2)
    let (h, l) = fast_sum(FRAC_PI_2, t);
    let y = if far { h + (l + (p + FRAC_PI_2_LOW)) } else { t + p };
    y.copysign(x)
}

#[inline(always)]
pub(crate) fn acos(x: f64) -> f64 {
    let a = x.abs();
    let far = a > 0.5;
    let z = if far { 0.5 - 0.5 * a } else { a * a };
    let t = if far { 2.0 * z.sqrt() } else { a };
    let p = (t * z) * poly(z, &ASIN);
    let (t, p) = if x < 0.0 || !far { (t, p) } else { (-t, -p) };
    // π/2 - asin x, or π - 2 asin √((1 + x) / 2), or 2 asin √((1 - x) / 2)
    let (t, p) = if far || x >= 0.0 { (-t, -p) } else { (t, p) };
    let (base, base_low) = if !far {
        (FRAC_PI_2, FRAC_PI_2_LOW)
    } else if x < 0.0 {
        (PI, PI_LOW)
    } else {
        (0.0, 0.0)
    };
    let (h, l) = two_sum(base, t);
    h + (l + (p + base_low))
}
