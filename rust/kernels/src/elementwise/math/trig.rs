//! Sine, cosine and tangent of f32.

use super::{MAGIC, MAGIC_D, poly, poly_d};
use std::f32::consts::{FRAC_2_PI, FRAC_PI_2};

/// Largest argument that `sin`, `cos` and `tan` take; beyond it `math64::huge` is used.
pub(crate) const TRIG_LIMIT: f32 = 2e5;

/// π/2 after its first 24 bits, and after the next.
const PI_2_MID: f32 = -4.371138829e-08;
const PI_2_LOW: f32 = -1.71512451e-15;

/// `(q, sine, cosine)` of x less q quarter turns; q in the low bits. The reduction is `math64`'s.
#[inline(always)]
fn quadrant(x: f32) -> (u32, f32, f32) {
    let t = x.mul_add(FRAC_2_PI, MAGIC);
    let n = t - MAGIC;
    // The first difference is exact; the others round a small number.
    let r = n.mul_add(-FRAC_PI_2, x);
    let r = n.mul_add(-PI_2_LOW, n.mul_add(-PI_2_MID, r));
    let z = r * r;
    // (sin r / r - 1) / r²
    let s = poly(z, [-0.1666665524, 0.008332188241, -0.0001951802406]);
    let s = (r * z).mul_add(s, r);
    // (cos r - 1 + r²/2) / r⁴
    let c = poly(z, [0.04166664556, -0.001388730132, 2.443066114e-05]);
    let c = (z * z).mul_add(c, (-0.5f32).mul_add(z, 1.0));
    (t.to_bits(), s, c)
}

#[inline(always)]
fn turn(q: u32, y: f32) -> f32 {
    f32::from_bits(y.to_bits() ^ ((q & 2) << 30))
}

#[inline(always)]
pub(crate) fn sin(x: f32) -> f32 {
    let (q, s, c) = quadrant(x);
    let y = turn(q, if q & 1 == 0 { s } else { c });
    if x == 0.0 { x } else { y }
}

#[inline(always)]
pub(crate) fn cos(x: f32) -> f32 {
    let (q, s, c) = quadrant(x);
    turn(q.wrapping_add(1), if q & 1 == 0 { c } else { s })
}

/// `(sin x, cos x)` before rounding.
#[inline(always)]
fn sin_cos_d(x: f64) -> (f64, f64) {
    let t = x.mul_add(std::f64::consts::FRAC_2_PI, MAGIC_D);
    let n = t - MAGIC_D;
    let r = n.mul_add(-6.123233995736766e-17, n.mul_add(-std::f64::consts::FRAC_PI_2, x));
    let z = r * r;
    let s = poly_d(
        z,
        [
            -0.16666666666666666,
            0.008333333333330827,
            -0.0001984126983657571,
            2.755731600817155e-06,
            -2.505111227257324e-08,
        ],
    );
    let c = poly_d(
        z,
        [
            0.041666666666664576,
            -0.0013888888887212015,
            2.4801585147774786e-05,
            -2.755635066336875e-07,
            2.069884633979859e-09,
        ],
    );
    let s = (r * z).mul_add(s, r);
    let c = (z * z).mul_add(c, z.mul_add(-0.5, 1.0));
    let q = t.to_bits();
    let (a, b) = if q & 1 == 0 { (s, c) } else { (c, s) };
    let sign_s = (q & 2) << 62;
    let sign_c = (q.wrapping_add(1) & 2) << 62;
    (
        f64::from_bits(a.to_bits() ^ sign_s),
        f64::from_bits(b.to_bits() ^ sign_c),
    )
}

#[inline(always)]
pub(crate) fn tan(x: f32) -> f32 {
    let (s, c) = sin_cos_d(x as f64);
    let y = (s / c) as f32;
    if x == 0.0 { x } else { y }
}
