//! x to the power of y.

use super::exp::exp_of_two;
use super::log::split;
use super::{LN2_HI, LN2_LO, fast_sum, poly, two_product, two_sum};

/// (2 artanh s / s - 2 - 2z/3) / z² in z = s²
const REST: [f64; 8] = [
    0.4,
    0.2857142857142937,
    0.22222222221652765,
    0.18181818336099848,
    0.1538459488700718,
    0.1333480879881234,
    0.11706126464563398,
    0.11724327060846747,
];

/// log a with some 10 bits more than f64 holds; a > 0.
#[inline(always)]
fn log_sum(a: f64) -> (f64, f64) {
    let (e, f) = split(a);
    // s = f / (2 + f)
    let (dh, dl) = fast_sum(2.0, f);
    let inv = 1.0 / dh;
    let sh = f * inv;
    let sl = ((-sh).mul_add(dh, f) - sh * dl) * inv;
    // 2s + s³ (2/3 + z rest(z)), z = s²
    let (zh, zl) = two_product(sh, sh);
    let zl = (2.0 * sh).mul_add(sl, zl);
    let (th, tl) = fast_sum(0.6666666666666666, zh.mul_add(poly(zh, &REST), 3.700743415417188e-17));
    let (ch, cl) = two_product(sh, zh);
    let cl = cl + sh.mul_add(zl, sl * zh);
    let (vh, vl) = two_product(ch, th);
    let vl = vl + ch.mul_add(tl, cl * th);
    let (lh, ll) = fast_sum(2.0 * sh, vh);
    let ll = ll + 2.0f64.mul_add(sl, vl);
    let (h, l) = two_sum(e * LN2_HI, lh);
    fast_sum(h, l + e.mul_add(LN2_LO, ll))
}

#[inline(always)]
pub(crate) fn pow(x: f64, y: f64) -> f64 {
    let a = x.abs();
    let (h, l) = log_sum(a);
    // Infinity and NaN are their own logarithms.
    let h = if a < f64::INFINITY { h } else { a };
    let h = if a == 0.0 { f64::NEG_INFINITY } else { h };
    let p = y * h;
    let low = y.mul_add(h, -p) + y * l;
    let low = if p.abs() < 1e3 { low } else { 0.0 };
    let power = exp_of_two(p, low);
    let power = if a == 1.0 && !y.is_nan() { 1.0 } else { power };
    let whole = y.trunc() == y;
    let odd = whole && (y * 0.5).trunc() != y * 0.5;
    let signed = if odd { power.copysign(x) } else { power };
    let signed = if x < 0.0 && a < f64::INFINITY && !whole {
        f64::NAN
    } else {
        signed
    };
    if x == 1.0 || y == 0.0 { 1.0 } else { signed }
}
