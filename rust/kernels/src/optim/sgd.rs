//! Stochastic gradient descent.

use super::{Decay, Param, Part, Real, each_part};
use crate::multiversion;

/// Hyperparameters of [`sgd`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Sgd {
    pub lr: f64,
    pub momentum: f64,
    pub dampening: f64,
    pub weight_decay: f64,
    pub nesterov: bool,
    pub maximize: bool,
}

struct Scalars<T> {
    lr: T,
    momentum: T,
    keep: T,
    nesterov: bool,
    decay: Decay<T>,
}

/// One step. State 0 is the momentum buffer (unused without momentum); at step 1 it is set to the gradient.
pub fn sgd<T: Real>(params: &mut [Param<T>], h: &Sgd) {
    let scalars = Scalars {
        lr: T::c(-h.lr),
        momentum: T::c(h.momentum),
        keep: T::c(1.0 - h.dampening),
        nesterov: h.nesterov,
        decay: Decay::new(h.weight_decay, h.maximize),
    };
    if h.momentum == 0.0 {
        each_part(params, 0, |_, part| plain(part, &scalars));
    } else {
        each_part(params, 1, |step, part| {
            if step <= 1.0 {
                first(part, &scalars);
            } else {
                with_momentum(part, &scalars);
            }
        });
    }
}

multiversion! {
    fn plain<T: Real>(part: Part<T>, s: &Scalars<T>) {
        for (p, g) in part.value.iter_mut().zip(part.grad) {
            *p = s.lr.mul_add(s.decay.of(*g, *p), *p);
        }
    }
}

multiversion! {
    fn first<T: Real>(part: Part<T>, s: &Scalars<T>) {
        let [buffer, ..] = part.state;
        for ((p, g), m) in part.value.iter_mut().zip(part.grad).zip(buffer) {
            let g = s.decay.of(*g, *p);
            *m = g;
            let ahead = s.momentum.mul_add(g, g);
            *p = s.lr.mul_add(if s.nesterov { ahead } else { g }, *p);
        }
    }
}

multiversion! {
    fn with_momentum<T: Real>(part: Part<T>, s: &Scalars<T>) {
        let [buffer, ..] = part.state;
        for ((p, g), m) in part.value.iter_mut().zip(part.grad).zip(buffer) {
            let g = s.decay.of(*g, *p);
            let moved = s.keep.mul_add(g, *m * s.momentum);
            *m = moved;
            let ahead = s.momentum.mul_add(moved, g);
            *p = s.lr.mul_add(if s.nesterov { ahead } else { moved }, *p);
        }
    }
}
