//! Distributions, bounds, and values that do not depend on where they are stored.

mod philox;

use firesteel_kernels::dtype::{Bool, DType, Element, Scalar, bf16, f16};
use firesteel_kernels::elementwise::Operand;
use firesteel_kernels::internals::random::{log, sin_cos};
use firesteel_kernels::random::*;
use firesteel_kernels::{AnyDst, AnySrc};

fn view<T: Element>(data: &mut [T]) -> AnyDst<'_> {
    let n = data.len();
    // SAFETY: the slice's own memory.
    unsafe { AnyDst::new(data.as_mut_ptr().cast(), T::DTYPE, &[n], &[1]) }
}

fn made<T: Element>(n: usize, f: impl Fn(AnyDst, Philox)) -> Vec<f64> {
    let mut data = vec![T::default(); n];
    f(view(&mut data), Philox { seed: 42, offset: 7 });
    data.iter().map(|v| v.to_f64()).collect()
}

fn moments(v: &[f64]) -> (f64, f64) {
    let n = v.len() as f64;
    let mean = v.iter().sum::<f64>() / n;
    (mean, v.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n)
}

const N: usize = 200_000;

/// Mean and variance within five standard errors or so.
#[test]
fn distributions() {
    let half = Operand::Scalar(Scalar::Float(0.3));
    let table: Vec<(&str, Vec<f64>, f64, f64)> = vec![
        (
            "uniform f32",
            made::<f32>(N, |d, p| uniform(d, p, -1.0, 3.0)),
            1.0,
            16.0 / 12.0,
        ),
        (
            "uniform f64",
            made::<f64>(N, |d, p| uniform(d, p, -1.0, 3.0)),
            1.0,
            16.0 / 12.0,
        ),
        ("normal f32", made::<f32>(N, |d, p| normal(d, p, 2.0, 3.0)), 2.0, 9.0),
        ("normal f64", made::<f64>(N, |d, p| normal(d, p, 2.0, 3.0)), 2.0, 9.0),
        ("bernoulli", made::<Bool>(N, |d, p| bernoulli(d, p, half)), 0.3, 0.21),
        (
            "randint",
            made::<i32>(N, |d, p| randint(d, p, -5, 5)),
            -0.5,
            99.0 / 12.0,
        ),
        ("exponential", made::<f32>(N, |d, p| exponential(d, p, 2.0)), 0.5, 0.25),
    ];
    for (name, values, mean, variance) in table {
        let (m, v) = moments(&values);
        let error = (variance / N as f64).sqrt();
        assert!((m - mean).abs() < 5.0 * error, "{name}: mean {m}, not {mean}");
        assert!(
            (v / variance - 1.0).abs() < 0.05,
            "{name}: variance {v}, not {variance}"
        );
    }
}

#[test]
fn bounds_hold() {
    for values in [
        made::<f16>(N, |d, p| uniform(d, p, 0.0, 1.0)),
        made::<bf16>(N, |d, p| uniform(d, p, 0.0, 1.0)),
        made::<f32>(N, |d, p| uniform(d, p, 0.0, 1.0)),
        made::<f64>(N, |d, p| uniform(d, p, 0.0, 1.0)),
    ] {
        assert!(values.iter().all(|v| (0.0..1.0).contains(v)));
    }
    let narrow = made::<f32>(N, |d, p| uniform(d, p, 1.0, 1.0 + 2f64.powi(-22)));
    assert!(narrow.iter().all(|&v| (1.0..1.0 + 2f64.powi(-22)).contains(&v)));
    let all = made::<i64>(1000, |d, p| randint(d, p, i64::MIN, i64::MAX));
    assert!(all.iter().any(|&v| v > 4e18) && all.iter().any(|&v| v < -4e18));
    let normals = made::<f32>(N, |d, p| normal(d, p, 0.0, 1.0));
    assert!(normals.iter().all(|v| v.is_finite() && v.abs() < 7.0));
}

#[test]
fn values_follow_the_logical_order() {
    let philox = Philox { seed: 5, offset: 100 };
    let mut flat = vec![0f32; 600 * 7];
    normal(view(&mut flat), philox, 0.0, 1.0);
    let mut turned = vec![0f32; 600 * 7];
    // SAFETY: a transposed view of the whole vector.
    let t = unsafe { AnyDst::new(turned.as_mut_ptr().cast(), DType::F32, &[600, 7], &[1, 600]) };
    normal(t, philox, 0.0, 1.0);
    for i in 0..600 {
        for j in 0..7 {
            assert_eq!(flat[i * 7 + j], turned[j * 600 + i]);
        }
    }
    // A shorter op draws a prefix, and the next one goes on after its counters.
    let (mut head, mut tail) = (vec![0f32; 10], vec![0f32; 20]);
    normal(view(&mut head), philox, 0.0, 1.0);
    normal(view(&mut tail), philox.after(10), 0.0, 1.0);
    assert_eq!((&head[..], &tail[..]), (&flat[..10], &flat[12..32]));
}

#[test]
fn permutations() {
    for n in [0usize, 1, 2, 1000] {
        let mut p = vec![9; n];
        randperm(&mut p, Philox { seed: 1, offset: 0 });
        let mut sorted = p.clone();
        sorted.sort();
        assert_eq!(sorted, (0..n as i64).collect::<Vec<_>>());
    }
    // Each of six orders of three turns up about equally often.
    let mut seen = std::collections::HashMap::new();
    for offset in 0..6000 {
        let mut p = [0; 3];
        randperm(&mut p, Philox { seed: 9, offset });
        *seen.entry(p).or_insert(0) += 1;
    }
    assert!(
        seen.len() == 6 && seen.values().all(|c| (850..1150).contains(c)),
        "{seen:?}"
    );
}

#[test]
fn dropout_scales_what_it_keeps() {
    let x: Vec<f32> = (0..N).map(|i| i as f32 + 1.0).collect();
    let (mut out, mut mask) = (vec![0f32; N], vec![Bool(9); N]);
    // SAFETY: the vector's own memory.
    let src = unsafe { AnySrc::new(x.as_ptr().cast(), DType::F32, &[N], &[1]) };
    let philox = Philox { seed: 3, offset: 0 };
    dropout(src, philox, 0.2, view(&mut out), view(&mut mask));
    for i in 0..N {
        assert_eq!(out[i], if mask[i].get() { x[i] * 1.25 } else { 0.0 });
    }
    let kept = mask.iter().filter(|k| k.get()).count() as f64 / N as f64;
    assert!((kept - 0.8).abs() < 0.005, "kept {kept}");
    dropout(src, philox, 1.0, view(&mut out), view(&mut mask));
    assert!(out.iter().all(|v| *v == 0.0) && mask.iter().all(|k| !k.get()));
    let mut probabilities = vec![0.0f64, 1.0];
    let p = Operand::View(view(&mut probabilities).as_src());
    let mut drawn = vec![5f32; 2];
    bernoulli(view(&mut drawn), philox, p);
    assert_eq!(drawn, [0.0, 1.0]);
}

/// The tail and the shape of normals: the share beyond 1, 2, 3, 4 deviations, and the two functions they are made of.
#[test]
fn normals_to_the_tail() {
    let n = 4_000_000;
    let mut data = vec![0f32; n];
    normal(view(&mut data), Philox { seed: 11, offset: 5 }, 0.0, 1.0);
    for (beyond, share) in [
        (1.0f32, 0.317_310_5),
        (2.0, 0.045_500_3),
        (3.0, 0.002_699_8),
        (4.0, 6.334e-5),
        (5.0, 5.73e-7),
    ] {
        let found = data.iter().filter(|v| v.abs() > beyond).count() as f64;
        let (want, upper) = (share * n as f64, data.iter().filter(|v| **v > beyond).count() as f64);
        assert!(
            (found - want).abs() < 5.0 * want.sqrt() + 1.0,
            "beyond {beyond}: {found}, not {want}"
        );
        assert!(
            (upper - want / 2.0).abs() < 5.0 * want.sqrt() + 1.0,
            "above {beyond}: {upper}"
        );
    }
    for i in 0..200_000u32 {
        let turn = i.wrapping_mul(2_654_435_761);
        let (s, c) = sin_cos(turn);
        let a = turn as f64 * (std::f64::consts::TAU / 4_294_967_296.0);
        assert!(
            (s as f64 - a.sin()).abs() < 1.2e-7 && (c as f64 - a.cos()).abs() < 1.2e-7,
            "{turn}"
        );
        let u = (turn as f32 + 1.0) * (1.0 / 4_294_967_296.0);
        let want = (u as f64).ln();
        assert!((log(u) as f64 - want).abs() <= 1.2e-7 * want.abs().max(1e-7), "{u}");
    }
}
