//! Three steps of each optimizer against PyTorch 2.13 (single-tensor implementations, float64).

use firesteel_kernels::optim::*;

/// Default hyperparameters, short.
fn d<H: Default>() -> H {
    H::default()
}

/// Runs three steps on a small parameter that lies between two others, one of them empty.
fn run<T: Real>(step: impl Fn(&mut [Param<T>])) -> Vec<T> {
    let mut value: Vec<T> = [1.0, -2.0, 0.5, 3.0].map(T::c).into();
    let mut other = vec![T::ONE; 5];
    let mut states = vec![vec![T::ZERO; 4]; 3];
    let mut other_states = vec![vec![T::ZERO; 5]; 3];
    for k in 0..3 {
        let grad: Vec<T> = (0..4).map(|i| T::c((i as f64 - 1.5) * 0.3 + 0.1 * k as f64)).collect();
        let other_grad = vec![T::ONE; 5];
        let [a, b, c] = &mut states[..] else { unreachable!() };
        let [x, y, z] = &mut other_states[..] else {
            unreachable!()
        };
        let count = (k + 1) as f64;
        step(&mut [
            Param {
                value: &mut other,
                grad: &other_grad,
                state: [x, y, z],
                step: count,
            },
            Param {
                value: &mut [],
                grad: &[],
                state: [&mut [], &mut [], &mut []],
                step: count,
            },
            Param {
                value: &mut value,
                grad: &grad,
                state: [a, b, c],
                step: count,
            },
        ]);
    }
    value
}

fn check<T: Real + Into<f64>>(tolerance: f64) {
    let a = Adam {
        lr: 0.1,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        ..d()
    };
    let r = Rmsprop {
        lr: 0.01,
        alpha: 0.99,
        eps: 1e-8,
        ..d()
    };
    let table: Vec<(&str, Vec<T>, [f64; 4])> = vec![
        (
            "Sgd { lr: 0.1, ..d() }",
            run(|p| sgd(p, &Sgd { lr: 0.1, ..d() })),
            [1.105, -1.985, 0.425, 2.835],
        ),
        (
            "Sgd { lr: 0.1, momentum: 0.9, dampening: 0.3, weight_decay: 0.01, ..d() }",
            run(|p| {
                sgd(
                    p,
                    &Sgd {
                        lr: 0.1,
                        momentum: 0.9,
                        dampening: 0.3,
                        weight_decay: 0.01,
                        ..d()
                    },
                )
            }),
            [1.18112632156, -1.94676864167, 0.399283717405, 2.74533607648],
        ),
        (
            "Sgd { lr: 0.1, momentum: 0.9, nesterov: true, maximize: true, ..d() }",
            run(|p| {
                sgd(
                    p,
                    &Sgd {
                        lr: 0.1,
                        momentum: 0.9,
                        nesterov: true,
                        maximize: true,
                        ..d()
                    },
                )
            }),
            [0.702895, -2.055635, 0.685835, 3.427305],
        ),
        (
            "Adam { weight_decay: 0.1, ..a }",
            run(|p| adam(p, &Adam { weight_decay: 0.1, ..a })),
            [1.2880438456412, -1.7119561543588, 0.201678276638187, 2.69950446669024],
        ),
        (
            "Adam { weight_decay: 0.1, decoupled: true, amsgrad: true, ..a }",
            run(|p| {
                adam(
                    p,
                    &Adam {
                        weight_decay: 0.1,
                        decoupled: true,
                        amsgrad: true,
                        ..a
                    },
                )
            }),
            [1.26135586255219, -1.71143587313265, 0.192142184329529, 2.61369976818618],
        ),
        (
            "Adam { maximize: true, ..a }",
            run(|p| adam(p, &Adam { maximize: true, ..a })),
            [
                0.705967327086231,
                -2.23202319060749,
                0.795980107349575,
                3.30018745643813,
            ],
        ),
        (
            "Rmsprop { ..r }",
            run(|p| rmsprop(p, &Rmsprop { ..r })),
            [1.20202225822578, -1.89864770864421, 0.237102733784391, 2.75469787548591],
        ),
        (
            "Rmsprop { momentum: 0.5, weight_decay: 0.1, ..r }",
            run(|p| {
                rmsprop(
                    p,
                    &Rmsprop {
                        momentum: 0.5,
                        weight_decay: 0.1,
                        ..r
                    },
                )
            }),
            [1.28949525916908, -1.71050474083092, 0.128049430083698, 2.6490092975958],
        ),
        (
            "Rmsprop { centered: true, ..r }",
            run(|p| rmsprop(p, &Rmsprop { centered: true, ..r })),
            [1.20372010391225, -1.89800977627969, 0.234727696825224, 2.75241213000839],
        ),
        (
            "Rmsprop { centered: true, momentum: 0.5, maximize: true, ..r }",
            run(|p| {
                rmsprop(
                    p,
                    &Rmsprop {
                        centered: true,
                        momentum: 0.5,
                        maximize: true,
                        ..r
                    },
                )
            }),
            [
                0.689802790548886,
                -2.19337885142988,
                0.883989418497134,
                3.36212911140174,
            ],
        ),
        (
            "Adagrad { lr: 0.1, lr_decay: 0.1, weight_decay: 0.1, eps: 1e-10, ..d() }",
            run(|p| {
                adagrad(
                    p,
                    &Adagrad {
                        lr: 0.1,
                        lr_decay: 0.1,
                        weight_decay: 0.1,
                        eps: 1e-10,
                        ..d()
                    },
                )
            }),
            [1.17664944773638, -1.82335055226362, 0.263863910666014, 2.77901375877631],
        ),
        (
            "Adadelta { lr: 1.0, rho: 0.9, eps: 1e-6, weight_decay: 0.1, ..d() }",
            run(|p| {
                adadelta(
                    p,
                    &Adadelta {
                        lr: 1.0,
                        rho: 0.9,
                        eps: 1e-6,
                        weight_decay: 0.1,
                        ..d()
                    },
                )
            }),
            [1.00766502388123, -1.99233497611877, 0.488649227348485, 2.98969238709367],
        ),
    ];
    for (name, got, want) in table {
        for (g, w) in got.into_iter().zip(want) {
            let g: f64 = g.into();
            assert!((g - w).abs() <= tolerance * w.abs().max(1.0), "{name}: {g}, not {w}");
        }
    }
}

#[test]
fn steps_match_pytorch() {
    check::<f64>(1e-14);
    check::<f32>(1e-6);
}

#[test]
fn clipping_helpers() {
    let (a, b): (Vec<f32>, Vec<f32>) = ((0..10_001).map(|i| i as f32 * 0.001).collect(), vec![3.0]);
    let want: f64 = a.iter().map(|v| *v as f64 * *v as f64).sum::<f64>() + 9.0;
    let got = sum_of_squares(&[&a[..], &[], &b[..]]);
    assert!((got - want).abs() < want * 1e-13, "{got}, not {want}");
    let (mut a, mut b) = (a, b);
    scale(&mut [&mut a[..], &mut b[..]], 0.5);
    assert_eq!((a[10_000], b[0]), (5.0, 1.5));
}
