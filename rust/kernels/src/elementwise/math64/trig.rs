//! Sine, cosine, tangent.

use super::{MAGIC, Pack, fast_sum, poly, quotient};
use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

/// Largest argument that is reduced by three constants; beyond it [`huge`] is used.
pub const TRIG_LIMIT: f64 = 1e9;

/// (sin r / r - 1) / r² in z = r², |r| <= π/4
const SIN: [f64; 6] = [
    -0.16666666666666666,
    0.008333333333330925,
    -0.00019841269836722418,
    2.755731608381636e-06,
    -2.5051127944014188e-08,
    1.5917848524808262e-10,
];

/// (cos r - 1 + r²/2) / r⁴ in z = r²
const COS: [f64; 6] = [
    0.041666666666666664,
    -0.0013888888888887382,
    2.480158729874307e-05,
    -2.7557317260008837e-07,
    2.0876143827993133e-09,
    -1.1382456778061304e-11,
];

/// π/2 after its first 53 bits, and after the next.
const PI_2_MID: f64 = 6.123233995736766e-17;
const PI_2_LOW: f64 = -1.4973849048591698e-33;

/// x = q·π/2 + h + l, |h| <= π/4; q in the low bits of the first result.
#[inline(always)]
fn reduce<P: Pack<f64>>(x: P) -> (P, P, P) {
    let t = x.mul_add(P::splat(FRAC_2_PI), P::splat(MAGIC));
    let n = t - P::splat(MAGIC);
    // Exact: both terms are multiples of 2^-53 (or of x's last place), and the difference is below 1.
    let a = n.mul_add(P::splat(-FRAC_PI_2), x);
    let w = n * P::splat(PI_2_MID);
    let w_low = n.mul_add(P::splat(PI_2_MID), -w);
    let h = a - w;
    let s = h - a;
    let rest = (a - (h - s)) - (w + s);
    (t, h, n.mul_add(P::splat(-PI_2_LOW), rest - w_low))
}

/// sin(h + l) and cos(h + l), each as a sum.
#[inline(always)]
fn quadrant<P: Pack<f64>>(h: P, l: P) -> ((P, P), (P, P)) {
    let z = h * h;
    let half = P::splat(0.5) * z;
    let s = (h * z).mul_add(poly(z, &SIN), (-half).mul_add(l, l));
    let w = P::splat(1.0) - half;
    let c = ((P::splat(1.0) - w) - half) + (z * z).mul_add(poly(z, &COS), -h * l);
    ((h, s), (w, c))
}

#[inline(always)]
fn sin_of<P: Pack<f64>>((q, h, l): (P, P, P)) -> P {
    let (s, c) = quadrant(h, l);
    (q.parity(s.0, c.0) + q.parity(s.1, c.1)).turned(q)
}

#[inline(always)]
fn cos_of<P: Pack<f64>>((q, h, l): (P, P, P)) -> P {
    let (s, c) = quadrant(h, l);
    // A quarter turn on.
    (q.parity(c.0, s.0) + q.parity(c.1, s.1)).turned(q + P::splat(1.0))
}

#[inline(always)]
fn tan_of<P: Pack<f64>>((q, h, l): (P, P, P)) -> P {
    let (s, c) = quadrant(h, l);
    let (s, c) = (fast_sum(s.0, s.1), fast_sum(c.0, c.1));
    let (nh, nl) = (q.parity(s.0, c.0), q.parity(s.1, c.1));
    let (dh, dl) = (q.parity(c.0, s.0), q.parity(c.1, s.1));
    let y = quotient(nh, nl, dh, dl);
    // -1 / tan in every second quarter.
    q.parity(y, -y)
}

#[inline(always)]
pub fn sin<P: Pack<f64>>(x: P) -> P {
    sin_of(reduce(x)).zero_of(x)
}

#[inline(always)]
pub fn cos<P: Pack<f64>>(x: P) -> P {
    cos_of(reduce(x))
}

#[inline(always)]
pub fn tan<P: Pack<f64>>(x: P) -> P {
    tan_of(reduce(x)).zero_of(x)
}

/// The same three for arguments of any size, one at a time.
pub mod huge {
    use super::{FRAC_PI_2, MAGIC, PI_2_MID, cos_of, fast_sum, sin_of, tan_of};

    /// 64 zeros and the first 1280 bits of 2/π.
    const TWO_OVER_PI: [u64; 21] = [
        0,
        0xa2f9836e4e441529,
        0xfc2757d1f534ddc0,
        0xdb6295993c439041,
        0xfe5163abdebbc561,
        0xb7246e3a424dd2e0,
        0x06492eea09d1921c,
        0xfe1deb1cb129a73e,
        0xe88235f52ebb4484,
        0xe99c7026b45f7e41,
        0x3991d639835339f4,
        0x9c845f8bbdf9283b,
        0x1ff897ffde05980f,
        0xef2f118b5a0a6d1f,
        0x6d367ecf27cb09b7,
        0x4f463f669e5fea2d,
        0x7527bac7ebe5f17b,
        0x3d0739f78a5292ea,
        0x6bfb5fb11f8d5d08,
        0x56033046fc7b6bab,
        0xf0cfbc209af4361d,
    ];

    /// As `reduce`, after M. Payne and R. Hanek, "Radian reduction for trigonometric functions" (1983): only the bits of
    /// 2/π that bear on the quadrant and on the fraction are multiplied. 1e9 < |x|.
    fn reduce(x: f64) -> (f64, f64, f64) {
        if !x.is_finite() {
            return (0.0, f64::NAN, f64::NAN);
        }
        let bits = x.to_bits();
        let mantissa = (bits & 0x000f_ffff_ffff_ffff) | 0x0010_0000_0000_0000;
        // |x| = mantissa · 2^e, and the table begins with 64 zeros: bits of 2/π worth whole turns are skipped, so that the
        // product's two top bits count quarter turns.
        let e = ((bits >> 52) & 0x7ff) as i32 - 1075;
        let first = (e + 62) as usize;
        let (word, shift) = (first / 64, first % 64);
        let take = |i: usize| {
            let at = |j: usize| TWO_OVER_PI.get(word + j).copied().unwrap_or(0);
            if shift == 0 {
                at(i)
            } else {
                at(i) << shift | at(i + 1) >> (64 - shift)
            }
        };
        // The low 256 bits; what overflows are whole turns.
        let (m, w) = (mantissa as u128, [take(0), take(1), take(2), take(3)]);
        let low = m * w[3] as u128;
        let p2 = m * w[2] as u128 + (low >> 64);
        let p1 = m * w[1] as u128 + (p2 >> 64);
        let p0 = (w[0].wrapping_mul(mantissa)).wrapping_add((p1 >> 64) as u64);
        let top = (p0 as u128) << 64 | (p1 as u64) as u128;
        let quarter = p0 >> 62;
        let fraction = top << 2 | ((p2 as u64) >> 62) as u128;
        // To the nearest: a fraction above one half is a negative one.
        let up = fraction >> 127;
        let signed = fraction as i128;
        let magnitude = signed.unsigned_abs();
        let lead = magnitude.leading_zeros().min(127);
        let digits = magnitude << lead;
        let (a, b) = (
            (digits >> 75) as f64,
            ((digits >> 22) as u64 & 0x001f_ffff_ffff_ffff) as f64,
        );
        let unit = f64::from_bits((1023 - 53 - lead as u64) << 52);
        let (fh, fl) = (a * unit, b * unit * f64::from_bits((1023 - 53) << 52));
        let h = fh * FRAC_PI_2;
        let l = fh.mul_add(FRAC_PI_2, -h) + fh.mul_add(PI_2_MID, fl * FRAC_PI_2);
        let (h, l) = fast_sum(h, l);
        let (mut q, mut h, mut l) = (quarter.wrapping_add(up as u64), h, l);
        if signed < 0 {
            (h, l) = (-h, -l);
        }
        if x < 0.0 {
            (q, h, l) = (q.wrapping_neg(), -h, -l);
        }
        (f64::from_bits(MAGIC.to_bits() | q & 3), h, l)
    }

    pub fn sin(x: f64) -> f64 {
        sin_of(reduce(x))
    }

    pub fn cos(x: f64) -> f64 {
        cos_of(reduce(x))
    }

    pub fn tan(x: f64) -> f64 {
        tan_of(reduce(x))
    }
}
