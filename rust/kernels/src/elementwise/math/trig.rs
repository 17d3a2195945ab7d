//! Sine, cosine and tangent of f32.

use super::{MAGIC, Pack, poly};
use std::f32::consts::{FRAC_1_PI, FRAC_2_PI, FRAC_PI_2, PI};

/// Largest argument that `sin`, `cos` and `tan` take; beyond it `math64::huge` is used.
pub const TRIG_LIMIT: f32 = 2e5;

/// π/2 after its first 24 bits, and after the next.
const PI_2_MID: f32 = -4.371138829e-08;
const PI_2_LOW: f32 = -1.71512451e-15;

/// (sin r / r - 1) / r² for |r| up to π/2 and a little more: large arguments are divided by π with an error.
const SIN: [f32; 4] = [-0.1666666, 0.0083330665, -0.00019809455, 2.6050263e-06];

/// sin(x - nπ)
#[inline(always)]
fn sin_less<P: Pack>(x: P, n: P) -> P {
    // The first difference is exact; the others round a small number.
    let r = n.mul_add(P::splat(-PI), x);
    let r = n.mul_add(P::splat(-2.0 * PI_2_LOW), n.mul_add(P::splat(-2.0 * PI_2_MID), r));
    let z = r * r;
    (r * z).mul_add(poly(z, SIN), r)
}

#[inline(always)]
pub fn sin<P: Pack>(x: P) -> P {
    let t = x.mul_add(P::splat(FRAC_1_PI), P::splat(MAGIC));
    sin_less(x, t - P::splat(MAGIC)).turned_if_odd(t).zero_of(x)
}

#[inline(always)]
pub fn cos<P: Pack>(x: P) -> P {
    // cos x = -sin(x - nπ) (-1)^(n - 1/2), n half of an odd number.
    let t = x.mul_add(P::splat(FRAC_1_PI), P::splat(-0.5)) + P::splat(MAGIC + 1.0);
    let n = (t - P::splat(MAGIC + 1.0)) + P::splat(0.5);
    sin_less(x, n).turned_if_odd(t)
}

/// tan r of the remainder r, or -1 / tan r; both r and its tangent in two parts, because the quotient shows each rounding.
#[inline(always)]
pub fn tan<P: Pack>(x: P) -> P {
    let q = x.mul_add(P::splat(FRAC_2_PI), P::splat(MAGIC));
    let n = q - P::splat(MAGIC);
    // The first difference is exact, and what the second one loses is known (T. Dekker).
    let a = n.mul_add(P::splat(-FRAC_PI_2), x);
    let mid = n * P::splat(PI_2_MID);
    let mid_low = n.mul_add(P::splat(PI_2_MID), -mid);
    let r = a - mid;
    let low = n.mul_add(P::splat(-PI_2_LOW), ((a - r) - mid) - mid_low);
    let z = r * r;
    // (tan r / r - 1) / r²
    let p = poly(
        z,
        [
            0.3333335,
            0.13332672,
            0.05405943,
            0.02128295,
            0.010836962,
            8.512512e-05,
            0.004379599,
        ],
    );
    // The derivative is nearly 1 + r².
    let rest = (r * z).mul_add(p, low.mul_add(z, low));
    let t = r + rest;
    let t_low = (r - t) + rest;
    let y = q.parity(t, P::splat(-1.0)) / q.parity(P::splat(1.0), t);
    // What the quotient -1 / (t + t_low) lacks.
    let lacks = y.mul_add(t_low, y.mul_add(t, P::splat(1.0)));
    let y = q.parity(y, y.mul_add(lacks, y));
    y.zero_of(x)
}
