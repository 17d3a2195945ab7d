//! Softmax against the definition, and the order of its sums.

use firesteel_kernels::dtype::DType;
use firesteel_kernels::internals::dense;
use firesteel_kernels::internals::softmax::sum_and_top;
use firesteel_kernels::softmax::{softmax, softmax_backward, softmax_rows};
use firesteel_kernels::{AnyDst, AnySrc};

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

/// Sums have the order that is promised: 64 lanes, joined by halves, every 2048 elements. Maxima pass NaN over.
#[test]
fn lanes_by_halves() {
    for n in [0usize, 1, 7, 16, 17, 63, 64, 65, 127, 1000, 2048, 2049, 5000] {
        let x: Vec<f32> = (0..n)
            .map(|i| {
                if i % 97 == 3 {
                    -0.0
                } else {
                    ((i * 7919) % 997) as f32 / 7.0 - 90.0
                }
            })
            .collect();
        let mut want = 0.0f32;
        for block in x.chunks(2048) {
            let mut lanes = [0.0f32; 64];
            for (i, v) in block.iter().enumerate() {
                lanes[i % 64] += v;
            }
            for half in [32, 16, 8, 4, 2, 1] {
                for l in 0..half {
                    lanes[l] += lanes[l + half];
                }
            }
            want += lanes[0];
        }
        let most = x.iter().fold(f32::NEG_INFINITY, |m, &v| m.max(v));
        let [sum, top] = sum_and_top(&x);
        assert_eq!((sum.to_bits(), top), (want.to_bits(), most), "{n}");
        let mut holes = x.clone();
        holes.iter_mut().step_by(5).for_each(|v| *v = f32::NAN);
        let most = holes.iter().fold(f32::NEG_INFINITY, |m, &v| m.max(v));
        assert_eq!(sum_and_top(&holes)[1], most, "{n}");
    }
}

/// A gradient's bits do not depend on the rows beside it.
#[test]
fn gradients_of_rows() {
    for (n, rows) in
        [1usize, 3, 8, 9, 16, 17, 33, 64, 65, 100, 300, 2048, 2049, 5000].map(|n| (n, if n < 100 { 41 } else { 3 }))
    {
        let (g, p) = (numbers(rows * n), numbers(2 * rows * n)[rows * n..].to_vec());
        for log in [false, true] {
            let (shape, one) = ([rows, n], [1, n]);
            let strides = [n as isize, 1];
            let (mut all, mut alone) = (vec![0.0; rows * n], vec![0.0; rows * n]);
            softmax_backward(
                any(&g, &shape, &strides),
                any(&p, &shape, &strides),
                1,
                any_mut(&mut all, &shape, &strides),
                log,
            );
            for r in 0..rows {
                let part = r * n..r * n + n;
                let (g, p) = (
                    any(&g[part.clone()], &one, &strides),
                    any(&p[part.clone()], &one, &strides),
                );
                softmax_backward(g, p, 1, any_mut(&mut alone[part], &one, &strides), log);
            }
            assert_eq!(all, alone, "{n} {log}");
        }
    }
}

/// Rows taken together have the bits of rows on their own.
#[test]
fn groups_of_rows() {
    for n in [
        1, 3, 10, 16, 33, 48, 63, 64, 65, 128, 200, 256, 257, 1000, 2048, 2049, 5000,
    ] {
        for rows in [1, 2, 15, 16, 17, 32, 33, 50] {
            let x: Vec<f32> = (0..n * rows)
                .map(|i| {
                    if i % 41 == 7 {
                        f32::NEG_INFINITY
                    } else {
                        (i * 7919 % 997) as f32 / 50.0 - 9.0
                    }
                })
                .collect();
            for log in [false, true] {
                let (mut got, mut want) = (vec![0.0f32; x.len()], vec![0.0f32; x.len()]);
                let (shape, strides) = ([rows, n], [n as isize, 1]);
                // SAFETY: row-major strides of slices with as many elements.
                let (src, dst) = unsafe {
                    (
                        AnySrc::new(x.as_ptr().cast(), DType::F32, &shape, &strides),
                        AnyDst::new(got.as_mut_ptr().cast(), DType::F32, &shape, &strides),
                    )
                };
                softmax(src, 1, dst, log);
                softmax_rows(&x, n, &mut want, log);
                let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&got), bits(&want), "{rows} rows of {n}, log {log}");
            }
        }
    }
}
