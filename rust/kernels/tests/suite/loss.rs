//! Losses against plain loops in float64.

use firesteel_kernels::dtype::DType;
use firesteel_kernels::internals::loss::PIECE;
use firesteel_kernels::loss::*;
use firesteel_kernels::view::{AnySrc, Src};

const INNER: [usize; 2] = [1, 3];
const ALL: [Reduction; 3] = [Reduction::Each, Reduction::Mean, Reduction::Sum];
const IGNORED: i64 = -100;

fn src<'a>(v: &'a [f64], shape: &[usize; 3]) -> Src<'a, f64> {
    let strides = [(shape[1] * shape[2]) as isize, shape[2] as isize, 1];
    assert_eq!(v.len(), shape.iter().product::<usize>());
    // SAFETY: row-major strides of a slice with as many elements.
    unsafe { AnySrc::new(v.as_ptr().cast(), DType::F64, shape, &strides) }.typed()
}

fn numbers(n: usize, seed: usize) -> Vec<f64> {
    (0..n)
        .map(|i| ((i * 7919 + seed * 131 + 13) % 997) as f64 / 150.0 - 3.0)
        .collect()
}

/// Classes, every fifth of them ignored.
fn classes(n: usize, c: usize) -> Vec<i64> {
    (0..n)
        .map(|i| if i % 5 == 2 { IGNORED } else { (i * 31 % c) as i64 })
        .collect()
}

fn near(got: &[f64], want: &[f64], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!(
            (g - w).abs() <= 1e-12 * (1.0 + w.abs()),
            "{what}, element {i}: {g}, not {w}"
        );
    }
}

/// Each line's loss, the gradient of line i's loss times `up[i]`, from what is asked of each class by weight.
fn plain(x: &[f64], asked: &[f64], [n, c, s]: [usize; 3], up: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (mut losses, mut gx) = (Vec::new(), vec![0.0; x.len()]);
    for (i, up) in up.iter().enumerate().take(n * s) {
        let at = |k: usize| (i / s * c + k) * s + i % s;
        let total: f64 = (0..c).map(|k| x[at(k)].exp()).sum();
        let all: f64 = (0..c).map(|k| asked[at(k)]).sum();
        losses.push((0..c).map(|k| asked[at(k)] * (total.ln() - x[at(k)])).sum());
        for k in 0..c {
            gx[at(k)] = up * (x[at(k)].exp() / total * all - asked[at(k)]);
        }
    }
    (losses, gx)
}

fn both_ways(lines: &Lines<f64>, x: &[f64], asked: &[f64], shape: [usize; 3], weights: f64, what: &str) {
    let n = shape[0] * shape[2];
    for reduction in ALL {
        let what = format!("{what}, {shape:?}, {reduction:?}");
        let count = if reduction == Reduction::Each { n } else { 1 };
        let (mut out, mut top, mut sum) = (vec![0.0; count], vec![0.0; n], vec![0.0; n]);
        let divisor = cross_entropy_forward(lines, reduction, &mut out, [&mut top, &mut sum]).unwrap();
        near(&[divisor], &[weights], &what);
        let grad = numbers(count, 5);
        let up: Vec<f64> = (0..n)
            .map(|i| match reduction {
                Reduction::Each => grad[i],
                Reduction::Mean => grad[0] / weights,
                Reduction::Sum => grad[0],
            })
            .collect();
        let (losses, want) = plain(x, asked, shape, &up);
        match reduction {
            Reduction::Each => near(&out, &losses, &what),
            Reduction::Mean => near(&out, &[losses.iter().sum::<f64>() / weights], &what),
            Reduction::Sum => near(&out, &[losses.iter().sum()], &what),
        }
        let mut gx = vec![f64::NAN; x.len()];
        cross_entropy_backward(lines, reduction, &grad, divisor, [&top, &sum], &mut gx).unwrap();
        near(&gx, &want, &format!("gradient of {what}"));
    }
}

/// Rows and lines side by side; short, long, and longer than a block of the sums.
#[test]
fn cross_entropy_of_classes() {
    for s in INNER {
        for c in [1, 3, 10, 37, 70, 2100] {
            let shape = [7, c, s];
            let n = 7 * s;
            let (x, target) = (numbers(n * c, 1), classes(n, c));
            let weight: Vec<f64> = numbers(c, 2).iter().map(|v| v.abs() + 0.5).collect();
            for smoothing in [0.0, 0.3] {
                for weight in [None, Some(&weight[..])] {
                    let w = |k: usize| weight.map_or(1.0, |w| w[k]);
                    let mut asked = vec![0.0; n * c];
                    let mut weights = 0.0;
                    for (i, &t) in target.iter().enumerate().filter(|&(_, &t)| t != IGNORED) {
                        weights += w(t as usize);
                        for k in 0..c {
                            let own = if k == t as usize { 1.0 - smoothing } else { 0.0 };
                            asked[(i / s * c + k) * s + i % s] = w(k) * (own + smoothing / c as f64);
                        }
                    }
                    let lines = Lines {
                        logits: src(&x, &shape),
                        expected: Expected::Classes {
                            target: &target,
                            ignore: IGNORED,
                        },
                        weight,
                        smoothing,
                    };
                    let what = format!("smoothing {smoothing}, weights {}", weight.is_some());
                    both_ways(&lines, &x, &asked, shape, weights, &what);
                }
            }
        }
    }
}

#[test]
fn cross_entropy_of_probabilities() {
    for s in INNER {
        for c in [1, 5, 40, 130] {
            let shape = [6, c, s];
            let n = 6 * s;
            let x = numbers(n * c, 1);
            let p: Vec<f64> = numbers(n * c, 3).iter().map(|v| v.abs() / c as f64).collect();
            let weight: Vec<f64> = numbers(c, 2).iter().map(|v| v.abs() + 0.5).collect();
            for smoothing in [0.0, 0.3] {
                for weight in [None, Some(&weight[..])] {
                    let asked: Vec<f64> = (0..n * c)
                        .map(|i| {
                            let q = p[i] * (1.0 - smoothing) + smoothing / c as f64;
                            q * weight.map_or(1.0, |w| w[i / s % c])
                        })
                        .collect();
                    let lines = Lines {
                        logits: src(&x, &shape),
                        expected: Expected::Probabilities(src(&p, &shape)),
                        weight,
                        smoothing,
                    };
                    let what = format!("probabilities, smoothing {smoothing}, weights {}", weight.is_some());
                    both_ways(&lines, &x, &asked, shape, n as f64, &what);
                }
            }
        }
    }
}

#[test]
fn nll() {
    for s in INNER {
        let (shape, c) = ([9, 4, s], 4);
        let (x, target) = (numbers(9 * 4 * s, 1), classes(9 * s, 4));
        let weight = [0.5, 1.0, 2.0, 0.25];
        for weight in [None, Some(&weight[..])] {
            let w = |t: i64| {
                if t == IGNORED {
                    0.0
                } else {
                    weight.map_or(1.0, |w| w[t as usize])
                }
            };
            let weights: f64 = target.iter().map(|&t| w(t)).sum();
            let place = |i: usize| (i / s * c + target[i].max(0) as usize) * s + i % s;
            let losses: Vec<f64> = (0..9 * s).map(|i| -w(target[i]) * x[place(i)]).collect();
            for reduction in ALL {
                let what = format!("{s} {reduction:?} weights {}", weight.is_some());
                let count = if reduction == Reduction::Each { 9 * s } else { 1 };
                let mut out = vec![0.0; count];
                let total = nll_forward(&src(&x, &shape), &target, weight, IGNORED, reduction, &mut out).unwrap();
                near(&[total], &[weights], &what);
                let (grad, mut gx) = (numbers(count, 4), vec![f64::NAN; x.len()]);
                nll_backward(&grad, &target, weight, IGNORED, reduction, total, shape, &mut gx).unwrap();
                let mut want = vec![0.0; x.len()];
                for i in 0..9 * s {
                    want[place(i)] -= w(target[i])
                        * match reduction {
                            Reduction::Each => grad[i],
                            Reduction::Mean => grad[0] / weights,
                            Reduction::Sum => grad[0],
                        };
                }
                near(&gx, &want, &what);
                let sum: f64 = losses.iter().sum();
                match reduction {
                    Reduction::Each => near(&out, &losses, &what),
                    Reduction::Mean => near(&out, &[sum / weights], &what),
                    Reduction::Sum => near(&out, &[sum], &what),
                }
            }
        }
    }
}

#[test]
fn classes_that_do_not_exist() {
    let x = [0.0; 6];
    for bad in [2, -1, i64::MAX, i64::MIN] {
        let target = [0, bad, 1];
        let lines = Lines {
            logits: src(&x, &[3, 2, 1]),
            expected: Expected::Classes {
                target: &target,
                ignore: IGNORED,
            },
            weight: None,
            smoothing: 0.0,
        };
        let (mut out, mut top, mut sum) = ([7.0; 3], [7.0; 3], [7.0; 3]);
        let error = cross_entropy_forward(&lines, Reduction::Each, &mut out, [&mut top, &mut sum]).err();
        assert_eq!(error.map(|e| (e.index, e.size)), Some((bad, 2)));
        assert_eq!([out, top, sum], [[7.0; 3]; 3]);
        let error = nll_forward(&lines.logits, &target, None, IGNORED, Reduction::Each, &mut out).err();
        assert_eq!(error.map(|e| e.index), Some(bad));
    }
}

/// Losses, their sum over more than a piece, and slopes (against differences) of pairs.
#[test]
fn pairs() {
    let n = PIECE + 77;
    let unit = |v: Vec<f64>| v.iter().map(|v| 1.0 / (1.0 + v.exp())).collect::<Vec<f64>>();
    let (any_x, any_t) = (numbers(n, 1), numbers(n, 2));
    let (unit_x, unit_t) = (unit(numbers(n, 1)), unit(numbers(n, 2)));
    let huber = |d: f64, b: f64| {
        if d.abs() < b {
            d * d / 2.0
        } else {
            b * (d.abs() - b / 2.0)
        }
    };
    type Plain<'a> = &'a dyn Fn(f64, f64) -> f64;
    let all: [(Pair, &[f64], &[f64], Plain); 8] = [
        (Pair::Square, &any_x, &any_t, &|x, t| (x - t).powi(2)),
        (Pair::Absolute, &any_x, &any_t, &|x, t| (x - t).abs()),
        (Pair::SmoothAbsolute(0.7), &any_x, &any_t, &|x, t| {
            huber(x - t, 0.7) / 0.7
        }),
        (Pair::Huber(1.3), &any_x, &any_t, &|x, t| huber(x - t, 1.3)),
        (Pair::Binary, &unit_x, &unit_t, &|x, t| {
            -t * x.ln() - (1.0 - t) * (1.0 - x).ln()
        }),
        (Pair::BinaryOfLogits, &any_x, &unit_t, &|x, t| {
            let p = 1.0 / (1.0 + (-x).exp());
            -t * p.ln() - (1.0 - t) * (1.0 - p).ln()
        }),
        (Pair::Divergence, &any_x, &unit_t, &|x, t| t * (t.ln() - x)),
        (Pair::DivergenceOfLogs, &any_x, &any_t, &|x, t| t.exp() * (t - x)),
    ];
    for (kind, x, t, f) in all {
        let want: Vec<f64> = x.iter().zip(t).map(|(&x, &t)| f(x, t)).collect();
        let mut out = vec![0.0; n];
        pair_loss(kind, x, t, &mut out).unwrap();
        near(&out, &want, &format!("{kind:?}"));
        near(
            &[pair_sum(kind, x, t).unwrap()],
            &[want.iter().sum()],
            &format!("sum of {kind:?}"),
        );
        let grad = numbers(n, 3);
        let (mut slopes, mut by_one) = (vec![0.0; n], vec![0.0; n]);
        pair_gradient(kind, &grad, x, t, &mut slopes);
        pair_gradient(kind, &[2.0], x, t, &mut by_one);
        let h = 1e-6;
        for i in 0..n {
            let d = (f(x[i] + h, t[i]) - f(x[i] - h, t[i])) / (2.0 * h);
            // A difference across the kink of an absolute value says nothing.
            if (x[i] - t[i]).abs() > 2.0 * h {
                let off = 1e-5 * (1.0 + d.abs());
                assert!(
                    (slopes[i] - d * grad[i]).abs() <= off * (1.0 + grad[i].abs()),
                    "{kind:?} {i}"
                );
                assert!((by_one[i] - 2.0 * d).abs() <= 2.0 * off, "{kind:?} {i}");
            }
        }
    }
    assert_eq!(pair_sum(Pair::Binary, &[1.5], &[0.0]), Err(OutOfRange));
}
