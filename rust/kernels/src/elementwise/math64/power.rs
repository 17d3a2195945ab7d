//! x to the power of y.

use super::exp::exp_of_two;
use super::{LN2_HI, LN2_LO, Pack, fast_sum, poly, two_product, two_sum};

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
fn log_sum<P: Pack<f64>>(a: P) -> (P, P) {
    let (e, f) = a.split();
    let two = P::splat(2.0);
    // s = f / (2 + f)
    let (dh, dl) = fast_sum(two, f);
    let inv = P::splat(1.0) / dh;
    let sh = f * inv;
    let sl = ((-sh).mul_add(dh, f) - sh * dl) * inv;
    // 2s + s³ (2/3 + z rest(z)), z = s²
    let (zh, zl) = two_product(sh, sh);
    let zl = (two * sh).mul_add(sl, zl);
    let rest = zh.mul_add(poly(zh, &REST), P::splat(3.700743415417188e-17));
    let (th, tl) = fast_sum(P::splat(0.6666666666666666), rest);
    let (ch, cl) = two_product(sh, zh);
    let cl = cl + sh.mul_add(zl, sl * zh);
    let (vh, vl) = two_product(ch, th);
    let vl = vl + ch.mul_add(tl, cl * th);
    let (lh, ll) = fast_sum(two * sh, vh);
    let ll = ll + two.mul_add(sl, vl);
    let (h, l) = two_sum(e * P::splat(LN2_HI), lh);
    fast_sum(h, l + e.mul_add(P::splat(LN2_LO), ll))
}

#[inline(always)]
pub fn pow<P: Pack<f64>>(x: P, y: P) -> P {
    let a = x.abs();
    let (h, l) = log_sum(a);
    let h = h.log_edges(a);
    let p = y * h;
    let low = y.mul_add(h, -p) + y * l;
    let low = p.abs().below(1e3, low, P::splat(0.0));
    exp_of_two(p, low).pow_edges(x, y)
}
