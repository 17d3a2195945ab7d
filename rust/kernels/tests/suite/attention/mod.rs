//! Attention against the definition, and the same bits however many threads share a head.

mod block;

use crate::testing::{numbers, with_threads};
use firesteel_kernels::attention::*;
use firesteel_kernels::dtype::Element;
use firesteel_kernels::internals::attention::factors;
use firesteel_kernels::internals::{view_mut, view_of};
use firesteel_kernels::random::Philox;
use firesteel_kernels::{AnyDst, AnySrc};

struct Case {
    heads: usize,
    l: usize,
    s: usize,
    e: usize,
    v: usize,
    masked: bool,
    causal: bool,
    dropout: Option<Dropout>,
}

const SCALE: f64 = 0.7;

/// Output and the three gradients, by the definition.
fn by_definition(c: &Case, q: &[f64], k: &[f64], v: &[f64], mask: &[f64], grad: &[f64]) -> [Vec<f64>; 4] {
    let mut out = vec![0.0; c.heads * c.l * c.v];
    let mut grads = [vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]];
    for h in 0..c.heads {
        for i in 0..c.l {
            let qi = &q[(h * c.l + i) * c.e..][..c.e];
            let scores: Vec<f64> = (0..c.s)
                .map(|j| {
                    let kj = &k[(h * c.s + j) * c.e..][..c.e];
                    let dot: f64 = qi.iter().zip(kj).map(|(a, b)| a * b).sum();
                    let hidden = c.causal && j > i;
                    let added = if c.masked { mask[i * c.s + j] } else { 0.0 };
                    if hidden { f64::NEG_INFINITY } else { dot * SCALE + added }
                })
                .collect();
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = scores.iter().map(|x| (x - max).exp()).sum();
            let kept = match &c.dropout {
                Some(d) => factors(d, h * c.l + i, c.s),
                None => vec![1.0; c.s],
            };
            let g = &grad[(h * c.l + i) * c.v..][..c.v];
            let mut sum = 0.0;
            let mut each = vec![(0.0, 0.0); c.s];
            for j in 0..c.s {
                let w = if max == f64::NEG_INFINITY {
                    0.0
                } else {
                    (scores[j] - max).exp() / total
                };
                let vj = &v[(h * c.s + j) * c.v..][..c.v];
                let mut dw = 0.0;
                for x in 0..c.v {
                    out[(h * c.l + i) * c.v + x] += w * kept[j] * vj[x];
                    grads[2][(h * c.s + j) * c.v + x] += w * kept[j] * g[x];
                    dw += g[x] * vj[x] * kept[j];
                }
                each[j] = (w, dw);
                sum += w * dw;
            }
            for (j, (w, dw)) in each.into_iter().enumerate() {
                let ds = w * (dw - sum) * SCALE;
                for x in 0..c.e {
                    grads[0][(h * c.l + i) * c.e + x] += ds * k[(h * c.s + j) * c.e + x];
                    grads[1][(h * c.s + j) * c.e + x] += ds * q[(h * c.l + i) * c.e + x];
                }
            }
        }
    }
    let [a, b, d] = grads;
    [out, a, b, d]
}

/// Output and gradients of the kernels.
fn by_kernels<T: Element>(c: &Case, inputs: [&[f64]; 5]) -> [Vec<T>; 4] {
    let [q, k, v, mask, grad] = inputs.map(|x| x.iter().map(|&x| T::from_f64(x)).collect::<Vec<T>>());
    let any = |data: &[T], shape: &[usize]| {
        let v = view_of(data, shape);
        // SAFETY: the view's own memory.
        unsafe { AnySrc::new(v.ptr().cast(), T::DTYPE, v.shape(), v.strides()) }
    };
    let any_mut = |data: &mut [T], shape: &[usize]| {
        let v = view_mut(data, shape);
        // SAFETY: the view's own memory.
        unsafe { AnyDst::new(v.ptr().cast(), T::DTYPE, v.shape(), v.strides()) }
    };
    // SAFETY: one matrix for all heads.
    let mask = unsafe {
        AnySrc::new(
            mask.as_ptr().cast(),
            T::DTYPE,
            &[c.heads, c.l, c.s],
            &[0, c.s as isize, 1],
        )
    };
    let a = Attention {
        query: any(&q, &[c.heads, c.l, c.e]),
        key: any(&k, &[c.heads, c.s, c.e]),
        value: any(&v, &[c.heads, c.s, c.v]),
        mask: c.masked.then_some(mask),
        dropout: c.dropout,
        causal: c.causal,
        scale: SCALE,
    };
    let mut out = vec![T::from_f64(7.0); c.heads * c.l * c.v];
    let mut lse = vec![T::default(); c.heads * c.l];
    forward(
        &a,
        any_mut(&mut out, &[c.heads, c.l, c.v]),
        any_mut(&mut lse, &[c.heads, c.l]),
    );
    let mut grads = [&q, &k, &v].map(|x| vec![T::from_f64(7.0); x.len()]);
    let [gq, gk, gv] = &mut grads;
    backward(
        &a,
        any(&grad, &[c.heads, c.l, c.v]),
        any(&out, &[c.heads, c.l, c.v]),
        any(&lse, &[c.heads, c.l]),
        [
            any_mut(gq, &[c.heads, c.l, c.e]),
            any_mut(gk, &[c.heads, c.s, c.e]),
            any_mut(gv, &[c.heads, c.s, c.v]),
        ],
    );
    let [gq, gk, gv] = grads;
    [out, gq, gk, gv]
}

#[test]
fn by_the_definition_at_any_size() {
    let philox = Philox { seed: 3, offset: 5 };
    for (l, s) in [
        (0, 3),
        (3, 0),
        (1, 1),
        (1, 7),
        (1, 300),
        (2, 17),
        (5, 130),
        (8, 15),
        (16, 64),
        (33, 31),
        (64, 65),
        (127, 128),
        (40, 300),
        (130, 700),
    ] {
        for (e, v) in [(1, 1), (7, 9), (16, 16), (33, 17), (64, 64)] {
            for kind in 0..4 {
                let c = Case {
                    heads: 2,
                    l,
                    s,
                    e,
                    v,
                    masked: kind == 1 || kind == 3,
                    causal: kind == 2,
                    dropout: (kind == 3).then_some(Dropout { philox, p: 0.3 }),
                };
                if l * s > 20_000 && e > 16 && kind > 2 {
                    continue;
                }
                let q = numbers(2 * l * e, 1);
                let (k, val) = (numbers(2 * s * e, 2), numbers(2 * s * v, 3));
                let (mut mask, grad) = (numbers(l * s, 4), numbers(2 * l * v, 5));
                mask.iter_mut()
                    .filter(|x| **x < -0.5)
                    .for_each(|x| *x = f64::NEG_INFINITY);
                if l > 1 {
                    // A query that sees no key.
                    mask[s..2 * s].fill(f64::NEG_INFINITY);
                }
                let want = by_definition(&c, &q, &k, &val, &mask, &grad);
                let inputs: [&[f64]; 5] = [&q, &k, &val, &mask, &grad];
                let single = by_kernels::<f32>(&c, inputs);
                let double = by_kernels::<f64>(&c, inputs);
                for part in 0..4 {
                    for i in 0..want[part].len() {
                        let w = want[part][i];
                        let (a, b) = (single[part][i] as f64, double[part][i]);
                        assert!(
                            (b - w).abs() < 1e-12 * (1.0 + w.abs()),
                            "{l} {s} {e} {v} {kind} {part} {i}: {b} {w}"
                        );
                        assert!(
                            (a - w).abs() < 2e-5 * (1.0 + w.abs()),
                            "{l} {s} {e} {v} {kind} {part} {i}: {a} {w}"
                        );
                    }
                }
            }
        }
    }
}

/// A single key has all the weight, whatever query and key are: their gradients are zero, not what rounding leaves.
#[test]
fn one_key_gives_query_and_key_no_gradient() {
    for (l, e, v) in [(1, 7, 9), (33, 33, 17), (64, 64, 64)] {
        let c = Case {
            heads: 2,
            l,
            s: 1,
            e,
            v,
            masked: false,
            causal: false,
            dropout: None,
        };
        let (q, grad) = (numbers(2 * l * e, 1), numbers(2 * l * v, 5));
        let (k, val) = (numbers(2 * e, 2), numbers(2 * v, 3));
        let [_, gq, gk, gv] = by_kernels::<f32>(&c, [&q, &k, &val, &[], &grad]);
        assert!(gq.iter().chain(&gk).all(|&x| x == 0.0), "{l} {e} {v}");
        assert!(gv.iter().any(|&x| x != 0.0));
    }
}

#[test]
fn threads_that_share_a_head_give_its_bits() {
    let c = Case {
        heads: 1,
        l: 70,
        s: 1300,
        e: 32,
        v: 32,
        masked: false,
        causal: false,
        dropout: None,
    };
    let (q, k, v) = (numbers(70 * 32, 1), numbers(1300 * 32, 2), numbers(1300 * 32, 3));
    let grad = numbers(70 * 32, 4);
    let bits = |threads: usize| {
        let _turn = with_threads(threads);
        by_kernels::<f32>(&c, [&q, &k, &v, &[], &grad]).map(|x| x.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
    };
    let (split, again) = (bits(2), bits(3));
    assert!(split == again);
    // As many heads as make threads take whole ones.
    let many = Case { heads: 8, ..c };
    let repeat = |x: &[f64]| x.repeat(8);
    let (q, k, v, grad) = (repeat(&q), repeat(&k), repeat(&v), repeat(&grad));
    let _turn = with_threads(2);
    let whole = by_kernels::<f32>(&many, [&q, &k, &v, &[], &grad]);
    for (part, bits) in whole.iter().zip(&split) {
        for (x, want) in part.iter().zip(bits.iter().cycle()) {
            assert_eq!(x.to_bits(), *want);
        }
    }
}
