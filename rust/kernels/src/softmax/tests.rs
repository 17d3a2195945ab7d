use super::*;
use crate::reduce::walk::{dense, view_of};

fn any<'a>(v: &'a [f64], shape: &[usize], strides: &[isize]) -> AnySrc<'a> {
    // SAFETY: the tests' strides stay inside the slice.
    unsafe { AnySrc::new(v.as_ptr().cast(), DType::F64, shape, strides) }
}

fn any_mut<'a>(v: &'a mut [f64], shape: &[usize], strides: &[isize]) -> AnyDst<'a> {
    // SAFETY: as above.
    unsafe { AnyDst::new(v.as_mut_ptr().cast(), DType::F64, shape, strides) }
}

fn numbers(n: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 7919 + 13) % 997) as f64 / 99.0 - 5.0).collect()
}

/// Lines along each axis, contiguous and permuted, forward and backward, against the definition.
#[test]
fn all_ways() {
    for shape in [[3usize, 5, 70], [2, 40, 1], [4, 33, 3], [1, 1, 100]] {
        let n = shape.iter().product();
        let (x, g) = (numbers(n), numbers(2 * n)[n..].to_vec());
        let plain = dense(&shape)[..3].to_vec();
        let turned = vec![1, shape[0] as isize, (shape[0] * shape[1]) as isize];
        for strides in [&plain, &turned] {
            for out in [&plain, &turned] {
                for axis in 0..3 {
                    for log in [false, true] {
                        let (mut y, mut gx) = (vec![0.0; n], vec![0.0; n]);
                        softmax(any(&x, &shape, strides), axis, any_mut(&mut y, &shape, out), log);
                        softmax_backward(
                            any(&g, &shape, strides),
                            any(&y, &shape, out),
                            axis,
                            any_mut(&mut gx, &shape, out),
                            log,
                        );
                        let at = |s: &[isize], l: usize, k: usize| {
                            let inner: usize = shape[axis + 1..].iter().product();
                            let i = l / inner * inner * shape[axis] + l % inner + k * inner;
                            let c = [i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]];
                            (0..3).map(|d| c[d] as isize * s[d]).sum::<isize>() as usize
                        };
                        for l in 0..n / shape[axis] {
                            let len = shape[axis];
                            let total: f64 = (0..len).map(|k| x[at(strides, l, k)].exp()).sum();
                            let p = |k: usize| x[at(strides, l, k)].exp() / total;
                            let sum: f64 = (0..len).map(|k| g[at(strides, l, k)]).sum();
                            let dot: f64 = (0..len).map(|k| g[at(strides, l, k)] * p(k)).sum();
                            for k in 0..len {
                                let gk = g[at(strides, l, k)];
                                let want = if log { p(k).ln() } else { p(k) };
                                let want_g = if log { gk - p(k) * sum } else { p(k) * (gk - dot) };
                                let (got, got_g) = (y[at(out, l, k)], gx[at(out, l, k)]);
                                assert!(
                                    (got - want).abs() < 1e-13,
                                    "{shape:?} {strides:?} {axis} {log}: {got} {want}"
                                );
                                assert!(
                                    (got_g - want_g).abs() < 1e-12,
                                    "{shape:?} {strides:?} {axis} {log} backward"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn extremes() {
    let inf = f64::INFINITY;
    let mut y = vec![0.0; 3];
    softmax(
        any(&[-inf, -inf, -inf], &[3], &[1]),
        0,
        any_mut(&mut y, &[3], &[1]),
        false,
    );
    assert!(y.iter().all(|v| v.is_nan()));
    softmax(
        any(&[-inf, 1000.0, 1000.0], &[3], &[1]),
        0,
        any_mut(&mut y, &[3], &[1]),
        false,
    );
    assert_eq!(y, [0.0, 0.5, 0.5]);
    let mut one = vec![7.0];
    softmax(any(&[3.0], &[], &[]), 0, any_mut(&mut one, &[], &[]), true);
    assert_eq!(one, [0.0]);
    softmax(any(&[], &[0, 3], &[3, 1]), 1, any_mut(&mut [], &[0, 3], &[3, 1]), true);
}

#[test]
fn losses() {
    let (n, c) = (4, 5);
    let x = numbers(n * c);
    let target = [2i64, 0, -100, 4];
    let t = view_of(&target, &[4]);
    let mut logp = vec![0.0; n * c];
    softmax(any(&x, &[n, c], &[5, 1]), 1, any_mut(&mut logp, &[n, c], &[5, 1]), true);
    let (mut loss, mut lse) = (vec![0.0; n], vec![0.0; n]);
    let logits = any(&x, &[n, c], &[5, 1]);
    cross_entropy_forward(
        logits,
        t,
        -100,
        any_mut(&mut loss, &[n], &[1]),
        any_mut(&mut lse, &[n], &[1]),
    )
    .unwrap();
    let want = [-logp[2], -logp[5], 0.0, -logp[19]];
    for i in 0..n {
        assert!((loss[i] - want[i]).abs() < 1e-13);
    }
    let (mut out, mut total) = (vec![0.0], vec![0.0]);
    let shape3 = any(&logp, &[n, c, 1], &[5, 1, 1]);
    let t2 = view_of(&target, &[4, 1]);
    let weight = [1.0, 1.0, 2.0, 1.0, 0.5];
    let w = Some(any(&weight, &[5], &[1]));
    nll_forward(
        shape3,
        t2,
        w,
        -100,
        1,
        any_mut(&mut out, &[], &[]),
        any_mut(&mut total, &[], &[]),
    )
    .unwrap();
    assert_eq!(total[0], 3.5);
    assert!((out[0] - (2.0 * want[0] + want[1] + 0.5 * want[3]) / 3.5).abs() < 1e-13);
    let mut each = vec![9.0; n];
    nll_forward(
        shape3,
        t2,
        None,
        -100,
        0,
        any_mut(&mut each, &[n, 1], &[1, 1]),
        any_mut(&mut total, &[], &[]),
    )
    .unwrap();
    assert_eq!(each, want);

    // The fused gradient equals the one through log_softmax and nll.
    let (mut gl, mut gx, mut fused) = (vec![0.0; n * c], vec![0.0; n * c], vec![0.0; n * c]);
    let one = [1.0];
    let g = any(&one, &[n, 1], &[0, 0]);
    nll_backward(
        g,
        t2,
        None,
        -100,
        0,
        any(&total, &[], &[]),
        any_mut(&mut gl, &[n, c, 1], &[5, 1, 1]),
    )
    .unwrap();
    let out = any(&logp, &[n, c], &[5, 1]);
    softmax_backward(
        any(&gl, &[n, c], &[5, 1]),
        out,
        1,
        any_mut(&mut gx, &[n, c], &[5, 1]),
        true,
    );
    let g = any(&one, &[n], &[0]);
    cross_entropy_backward(
        g,
        logits,
        t,
        -100,
        any(&lse, &[n], &[1]),
        any_mut(&mut fused, &[n, c], &[5, 1]),
    )
    .unwrap();
    for i in 0..n * c {
        assert!((gx[i] - fused[i]).abs() < 1e-13);
    }

    let bad = [0i64, 5, 0, 0];
    let before = fused.clone();
    let error = cross_entropy_backward(
        g,
        logits,
        view_of(&bad, &[4]),
        -100,
        any(&lse, &[n], &[1]),
        any_mut(&mut fused, &[n, c], &[5, 1]),
    );
    assert_eq!(error.unwrap_err().index, 5);
    assert_eq!(fused, before);
}
