//! Inverse trigonometric functions.

use super::{Pack, fast_sum, poly, two_sum};
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
pub fn atan<P: Pack<f64>>(x: P) -> P {
    let (zero, one) = (P::splat(0.0), P::splat(1.0));
    let a = x.abs();
    let inverse = one / a;
    let t = a.above(1.0, inverse, a);
    // What the quotient lost; of no account where it would be infinite times 0.
    let low = a.below(1e300, (-t).mul_add(a, one) * t, zero);
    let z = t * t;
    let p = (t * z) * poly(z, &ATAN);
    let (h, l) = fast_sum(P::splat(FRAC_PI_2), -t);
    let far = h + (l + ((P::splat(FRAC_PI_2_LOW) - low) - p));
    a.above(1.0, far, t + p).copysign(x)
}

/// The lesser of two numbers that are not negative by the larger; 1 for equals, 0 for zeros.
#[inline(always)]
pub(in super::super) fn tangent<P: Pack<f64>>(a: P, b: P) -> (P, P, P) {
    let (n, d) = (a.less(b, a, b), a.less(b, b, a));
    let t = n.same(d, P::splat(1.0), n / d);
    (n, d, d.above(0.0, t, P::splat(0.0)))
}

#[inline(always)]
pub fn atan2<P: Pack<f64>>(y: P, x: P) -> P {
    let zero = P::splat(0.0);
    let (a, b) = (x.abs(), y.abs());
    let (n, d, t) = tangent(a, b);
    let lost = (-t).mul_add(d, n) / d;
    let low = d.below(1e300, d.above(1e-290, lost, zero), zero);
    let z = t * t;
    let (h, l) = (t, (t * z).mul_add(poly(z, &ATAN), low));
    let (s, r) = two_sum(P::splat(FRAC_PI_2), -h);
    let (h, l) = (a.less(b, s, h), a.less(b, r + (P::splat(FRAC_PI_2_LOW) - l), l));
    let (s, r) = two_sum(P::splat(PI), -h);
    // The sign of zeros counts too.
    let side = P::splat(1.0).copysign(x);
    let (h, l) = (side.below(0.0, s, h), side.below(0.0, r + (P::splat(PI_LOW) - l), l));
    let angle = (h + l).copysign(y);
    x.same(x, y.same(y, angle, y), x)
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
