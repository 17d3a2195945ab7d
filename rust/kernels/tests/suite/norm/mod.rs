mod paths;

use firesteel_kernels::dtype::DType;
use firesteel_kernels::internals::{dense, norm::affine};
use firesteel_kernels::norm::*;
use firesteel_kernels::view::{AnyDst, AnySrc};

fn any<'a>(v: &'a [f64], shape: &[usize]) -> AnySrc<'a> {
    assert!(v.len() >= shape.iter().product());
    // SAFETY: the slice holds the shape's elements.
    unsafe { AnySrc::new(v.as_ptr().cast(), DType::F64, shape, &dense(shape)[..shape.len()]) }
}

fn any_mut<'a>(v: &'a mut [f64], shape: &[usize]) -> AnyDst<'a> {
    assert!(v.len() >= shape.iter().product());
    // SAFETY: as above.
    unsafe { AnyDst::new(v.as_mut_ptr().cast(), DType::F64, shape, &dense(shape)[..shape.len()]) }
}

fn numbers(n: usize, seed: usize) -> Vec<f64> {
    (0..n)
        .map(|i| (((i + seed) * 7919 + 13) % 997) as f64 / 499.0 - 1.0)
        .collect()
}

/// Central differences of `sum(gy * f(x))` against the analytic gradient.
fn check_gradient(name: &str, x: &[f64], gy: &[f64], grad: &[f64], f: impl Fn(&[f64]) -> Vec<f64>) {
    let h = 1e-5;
    for i in 0..x.len() {
        let mut at = x.to_vec();
        at[i] += h;
        let up: f64 = f(&at).iter().zip(gy).map(|(a, b)| a * b).sum();
        at[i] -= 2.0 * h;
        let down: f64 = f(&at).iter().zip(gy).map(|(a, b)| a * b).sum();
        let numeric = (up - down) / (2.0 * h);
        assert!(
            (numeric - grad[i]).abs() < 1e-6 * numeric.abs().max(1.0),
            "{name} {i}: {numeric} {}",
            grad[i]
        );
    }
}

#[test]
fn layer_and_rms_norm() {
    for (outer, inner) in [(3, 5), (40, 7), (2, 70)] {
        let n = outer * inner;
        let (x, gy, w, b) = (numbers(n, 1), numbers(n, 77), numbers(inner, 5), numbers(inner, 9));
        let forward = |x: &[f64], w: &[f64], b: &[f64]| {
            let (mut y, mut m, mut r) = (vec![0.0; n], vec![0.0; outer], vec![0.0; outer]);
            let (s, o) = ([outer, inner], [outer]);
            let (wv, bv) = (Some(any(w, &[inner])), Some(any(b, &[inner])));
            layer_norm_forward(
                any(x, &s),
                wv,
                bv,
                1e-5,
                any_mut(&mut y, &s),
                any_mut(&mut m, &o),
                any_mut(&mut r, &o),
            );
            (y, m, r)
        };
        let (y, m, r) = forward(&x, &w, &b);
        let mean: f64 = x[..inner].iter().sum::<f64>() / inner as f64;
        let var: f64 = x[..inner].iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / inner as f64;
        assert!((y[1] - ((x[1] - mean) / (var + 1e-5).sqrt() * w[1] + b[1])).abs() < 1e-12);
        let (mut gx, mut gw, mut gb) = (vec![0.0; n], vec![0.0; inner], vec![0.0; inner]);
        let s = [outer, inner];
        layer_norm_backward(
            any(&gy, &s),
            any(&x, &s),
            any(&m, &[outer]),
            any(&r, &[outer]),
            Some(any(&w, &[inner])),
            Some(any_mut(&mut gx, &s)),
            Some(any_mut(&mut gw, &[inner])),
            Some(any_mut(&mut gb, &[inner])),
        );
        check_gradient("layer gx", &x, &gy, &gx, |x| forward(x, &w, &b).0);
        check_gradient("layer gw", &w, &gy, &gw, |w| forward(&x, w, &b).0);
        check_gradient("layer gb", &b, &gy, &gb, |b| forward(&x, &w, b).0);

        let rms = |x: &[f64], w: &[f64]| {
            let (mut y, mut r) = (vec![0.0; n], vec![0.0; outer]);
            let wv = Some(any(w, &[inner]));
            rms_norm_forward(any(x, &s), wv, 1e-5, any_mut(&mut y, &s), any_mut(&mut r, &[outer]));
            (y, r)
        };
        let r = rms(&x, &w).1;
        let (g_x, g_w) = (Some(any_mut(&mut gx, &s)), Some(any_mut(&mut gw, &[inner])));
        rms_norm_backward(
            any(&gy, &s),
            any(&x, &s),
            any(&r, &[outer]),
            Some(any(&w, &[inner])),
            g_x,
            g_w,
        );
        check_gradient("rms gx", &x, &gy, &gx, |x| rms(x, &w).0);
        check_gradient("rms gw", &w, &gy, &gw, |w| rms(&x, w).0);
    }
}

#[test]
fn batch_norm() {
    for shape in [[3usize, 4, 5], [6, 3, 1], [2, 2, 40]] {
        let (n, c) = (shape.iter().product(), shape[1]);
        let (x, gy, w, b) = (numbers(n, 3), numbers(n, 31), numbers(c, 5), numbers(c, 9));
        let train = |x: &[f64], w: &[f64], b: &[f64]| {
            let (mut y, mut m, mut i, mut v) = (vec![0.0; n], vec![0.0; c], vec![0.0; c], vec![0.0; c]);
            let (wv, bv, o) = (Some(any(w, &[c])), Some(any(b, &[c])), [c]);
            let (ym, vm) = (any_mut(&mut y, &shape), Some(any_mut(&mut v, &o)));
            batch_norm_train(
                any(x, &shape),
                wv,
                bv,
                1e-5,
                ym,
                any_mut(&mut m, &o),
                any_mut(&mut i, &o),
                vm,
            );
            (y, m, i, v)
        };
        let (y, m, inv, v) = train(&x, &w, &b);
        let mut again = vec![0.0; n];
        let (wv, bv) = (Some(any(&w, &[c])), Some(any(&b, &[c])));
        batch_norm_eval(
            any(&x, &shape),
            wv,
            bv,
            any(&m, &[c]),
            any(&v, &[c]),
            1e-5,
            any_mut(&mut again, &shape),
        );
        assert_eq!(y, again);
        let folded = batch_norm_affine::<f64>(wv, bv, any(&m, &[c]), any(&v, &[c]), 1e-5);
        for (i, x) in x.iter().enumerate() {
            let channel = i / shape[2] % c;
            assert_eq!(affine(folded[channel], *x), y[i], "one fused multiply-add");
        }
        let of_channel: Vec<f64> = (0..n).filter(|i| i / shape[2] % c == 1).map(|i| y[i]).collect();
        let mean: f64 = of_channel.iter().sum::<f64>() / of_channel.len() as f64;
        assert!((mean - b[1]).abs() < 1e-12);

        let backward = |training: bool| {
            let (mut gx, mut gw, mut gb) = (vec![0.0; n], vec![0.0; c], vec![0.0; c]);
            let (gxm, gwm, gbm) = (any_mut(&mut gx, &shape), any_mut(&mut gw, &[c]), any_mut(&mut gb, &[c]));
            let (m, i) = (any(&m, &[c]), any(&inv, &[c]));
            batch_norm_backward(
                any(&gy, &shape),
                any(&x, &shape),
                wv,
                m,
                i,
                training,
                Some(gxm),
                Some(gwm),
                Some(gbm),
            );
            (gx, gw, gb)
        };
        let (gx, gw, gb) = backward(true);
        check_gradient("batch gx", &x, &gy, &gx, |x| train(x, &w, &b).0);
        check_gradient("batch gw", &w, &gy, &gw, |w| train(&x, w, &b).0);
        check_gradient("batch gb", &b, &gy, &gb, |b| train(&x, &w, b).0);
        let (gx, _, _) = backward(false);
        check_gradient("eval gx", &x, &gy, &gx, |x| {
            let mut y = vec![0.0; n];
            batch_norm_eval(
                any(x, &shape),
                wv,
                bv,
                any(&m, &[c]),
                any(&v, &[c]),
                1e-5,
                any_mut(&mut y, &shape),
            );
            y
        });

        let (mut rm, mut rv) = (vec![1.0; c], vec![2.0; c]);
        let count = n / c;
        running_stats(
            any(&m, &[c]),
            any(&v, &[c]),
            count,
            0.1,
            any_mut(&mut rm, &[c]),
            any_mut(&mut rv, &[c]),
        );
        let unbiased = v[0] * count as f64 / (count as f64 - 1.0);
        assert!((rm[0] - (0.9 + 0.1 * m[0])).abs() < 1e-14 && (rv[0] - (1.8 + 0.1 * unbiased)).abs() < 1e-14);
    }
}

#[test]
fn group_norm() {
    for shape in [[2usize, 2, 3, 4], [3, 1, 4, 1], [1, 2, 2, 50]] {
        let [n, g, d, s] = shape;
        let all = n * g * d * s;
        let (x, gy, w, b) = (numbers(all, 3), numbers(all, 31), numbers(g * d, 5), numbers(g * d, 9));
        let forward = |x: &[f64], w: &[f64], b: &[f64]| {
            let (mut y, mut m, mut r) = (vec![0.0; all], vec![0.0; n * g], vec![0.0; n * g]);
            let (wv, bv) = (Some(any(w, &[g * d])), Some(any(b, &[g * d])));
            let (ym, mm, rm) = (
                any_mut(&mut y, &shape),
                any_mut(&mut m, &[n, g]),
                any_mut(&mut r, &[n, g]),
            );
            group_norm_forward(any(x, &shape), wv, bv, 1e-5, ym, mm, rm);
            (y, m, r)
        };
        let (_, m, r) = forward(&x, &w, &b);
        let (mut gx, mut gw, mut gb) = (vec![0.0; all], vec![0.0; g * d], vec![0.0; g * d]);
        group_norm_backward(
            any(&gy, &shape),
            any(&x, &shape),
            Some(any(&w, &[g * d])),
            any(&m, &[n, g]),
            any(&r, &[n, g]),
            Some(any_mut(&mut gx, &shape)),
            Some(any_mut(&mut gw, &[g * d])),
            Some(any_mut(&mut gb, &[g * d])),
        );
        check_gradient("group gx", &x, &gy, &gx, |x| forward(x, &w, &b).0);
        check_gradient("group gw", &w, &gy, &gw, |w| forward(&x, w, &b).0);
        check_gradient("group gb", &b, &gy, &gb, |b| forward(&x, &w, b).0);
    }
}
