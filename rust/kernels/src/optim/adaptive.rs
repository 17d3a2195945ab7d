//! Optimizers that scale each element's step by what its gradients were: Adam, AdamW, RMSprop, Adagrad, Adadelta.

use super::{Decay, Param, Part, Real, each_part};
use crate::multiversion;

/// `a + w (b - a)`, from the nearer end, as PyTorch's `lerp`.
#[inline(always)]
fn lerp<T: Real>(a: T, b: T, w: T) -> T {
    let d = b - a;
    if w < T::c(0.5) {
        w.mul_add(d, a)
    } else {
        (-d).mul_add(T::ONE - w, b)
    }
}

/// Hyperparameters of [`adam`]; `decoupled` makes it AdamW.
#[derive(Clone, Copy, Debug, Default)]
pub struct Adam {
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
    pub decoupled: bool,
    pub amsgrad: bool,
    pub maximize: bool,
}

struct AdamScalars<T> {
    shrink: T,
    forget1: T,
    beta2: T,
    forget2: T,
    root: T,
    eps: T,
    step: T,
    decay: Decay<T>,
}

/// One step. States: the averages of gradient and squared gradient, and with `amsgrad` the largest of the latter.
pub fn adam<T: Real>(params: &mut [Param<T>], h: &Adam) {
    each_part(params, if h.amsgrad { 3 } else { 2 }, |step, part| {
        let correction1 = 1.0 - h.beta1.powf(step);
        let correction2 = 1.0 - h.beta2.powf(step);
        let scalars = AdamScalars {
            shrink: T::c(if h.decoupled { 1.0 - h.lr * h.weight_decay } else { 1.0 }),
            forget1: T::c(1.0 - h.beta1),
            beta2: T::c(h.beta2),
            forget2: T::c(1.0 - h.beta2),
            root: T::c(correction2.sqrt()),
            eps: T::c(h.eps),
            step: T::c(-(h.lr / correction1)),
            decay: Decay::new(if h.decoupled { 0.0 } else { h.weight_decay }, h.maximize),
        };
        if h.amsgrad {
            adam_max(part, &scalars);
        } else {
            adam_plain(part, &scalars);
        }
    });
}

multiversion! {
    fn adam_plain<T: Real>(part: Part<T>, s: &AdamScalars<T>) {
        let [mean, square, _] = part.state;
        for (((p, g), m), v) in part.value.iter_mut().zip(part.grad).zip(mean).zip(square) {
            let w = *p * s.shrink;
            let g = s.decay.of(*g, w);
            *m = lerp(*m, g, s.forget1);
            *v = (s.forget2 * g).mul_add(g, *v * s.beta2);
            let d = v.sqrt() / s.root + s.eps;
            *p = w + s.step * *m / d;
        }
    }
}

multiversion! {
    fn adam_max<T: Real>(part: Part<T>, s: &AdamScalars<T>) {
        let [mean, square, largest] = part.state;
        for ((((p, g), m), v), x) in part.value.iter_mut().zip(part.grad).zip(mean).zip(square).zip(largest) {
            let w = *p * s.shrink;
            let g = s.decay.of(*g, w);
            *m = lerp(*m, g, s.forget1);
            *v = (s.forget2 * g).mul_add(g, *v * s.beta2);
            *x = if *v > *x || v.nan() { *v } else { *x };
            let d = x.sqrt() / s.root + s.eps;
            *p = w + s.step * *m / d;
        }
    }
}

/// Hyperparameters of [`rmsprop`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Rmsprop {
    pub lr: f64,
    pub alpha: f64,
    pub eps: f64,
    pub weight_decay: f64,
    pub momentum: f64,
    pub centered: bool,
    pub maximize: bool,
}

struct RmsScalars<T> {
    lr: T,
    alpha: T,
    forget: T,
    eps: T,
    momentum: T,
    decay: Decay<T>,
}

/// One step. States: the average of the squared gradient, the momentum buffer (with momentum), the average gradient
/// (centered).
pub fn rmsprop<T: Real>(params: &mut [Param<T>], h: &Rmsprop) {
    let scalars = RmsScalars {
        lr: T::c(-h.lr),
        alpha: T::c(h.alpha),
        forget: T::c(1.0 - h.alpha),
        eps: T::c(h.eps),
        momentum: T::c(h.momentum),
        decay: Decay::new(h.weight_decay, h.maximize),
    };
    each_part(params, 1, |_, part| match (h.momentum > 0.0, h.centered) {
        (false, false) => rms(part, &scalars),
        (true, false) => rms_momentum(part, &scalars),
        (false, true) => rms_centered(part, &scalars),
        (true, true) => rms_both(part, &scalars),
    });
}

/// The running square, and the gradient with its decay.
#[inline(always)]
fn rms_square<T: Real>(p: T, g: T, v: &mut T, s: &RmsScalars<T>) -> T {
    let g = s.decay.of(g, p);
    *v = (s.forget * g).mul_add(g, *v * s.alpha);
    g
}

multiversion! {
    fn rms<T: Real>(part: Part<T>, s: &RmsScalars<T>) {
        let [square, ..] = part.state;
        for ((p, g), v) in part.value.iter_mut().zip(part.grad).zip(square) {
            let g = rms_square(*p, *g, v, s);
            *p = *p + s.lr * g / (v.sqrt() + s.eps);
        }
    }
}

multiversion! {
    fn rms_momentum<T: Real>(part: Part<T>, s: &RmsScalars<T>) {
        let [square, buffer, _] = part.state;
        for (((p, g), v), b) in part.value.iter_mut().zip(part.grad).zip(square).zip(buffer) {
            let g = rms_square(*p, *g, v, s);
            *b = b.mul_add(s.momentum, g / (v.sqrt() + s.eps));
            *p = s.lr.mul_add(*b, *p);
        }
    }
}

multiversion! {
    fn rms_centered<T: Real>(part: Part<T>, s: &RmsScalars<T>) {
        let [square, _, mean] = part.state;
        for (((p, g), v), m) in part.value.iter_mut().zip(part.grad).zip(square).zip(mean) {
            let g = rms_square(*p, *g, v, s);
            *m = lerp(*m, g, s.forget);
            *p = *p + s.lr * g / ((-*m).mul_add(*m, *v).sqrt() + s.eps);
        }
    }
}

multiversion! {
    fn rms_both<T: Real>(part: Part<T>, s: &RmsScalars<T>) {
        let [square, buffer, mean] = part.state;
        for ((((p, g), v), b), m) in part.value.iter_mut().zip(part.grad).zip(square).zip(buffer).zip(mean) {
            let g = rms_square(*p, *g, v, s);
            *m = lerp(*m, g, s.forget);
            *b = b.mul_add(s.momentum, g / ((-*m).mul_add(*m, *v).sqrt() + s.eps));
            *p = s.lr.mul_add(*b, *p);
        }
    }
}

/// Hyperparameters of [`adagrad`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Adagrad {
    pub lr: f64,
    pub lr_decay: f64,
    pub weight_decay: f64,
    pub eps: f64,
    pub maximize: bool,
}

/// One step. State 0 is the sum of squared gradients.
pub fn adagrad<T: Real>(params: &mut [Param<T>], h: &Adagrad) {
    each_part(params, 1, |step, part| {
        let rate = h.lr / (1.0 + (step - 1.0) * h.lr_decay);
        adagrad_part(part, T::c(-rate), T::c(h.eps), Decay::new(h.weight_decay, h.maximize));
    });
}

multiversion! {
    fn adagrad_part<T: Real>(part: Part<T>, rate: T, eps: T, decay: Decay<T>) {
        let [sum, ..] = part.state;
        for ((p, g), s) in part.value.iter_mut().zip(part.grad).zip(sum) {
            let g = decay.of(*g, *p);
            *s = g.mul_add(g, *s);
            *p = *p + rate * g / (s.sqrt() + eps);
        }
    }
}

/// Hyperparameters of [`adadelta`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Adadelta {
    pub lr: f64,
    pub rho: f64,
    pub eps: f64,
    pub weight_decay: f64,
    pub maximize: bool,
}

struct DeltaScalars<T> {
    lr: T,
    rho: T,
    forget: T,
    eps: T,
    decay: Decay<T>,
}

/// One step. States: the averages of the squared gradient and of the squared step.
pub fn adadelta<T: Real>(params: &mut [Param<T>], h: &Adadelta) {
    let scalars = DeltaScalars {
        lr: T::c(-h.lr),
        rho: T::c(h.rho),
        forget: T::c(1.0 - h.rho),
        eps: T::c(h.eps),
        decay: Decay::new(h.weight_decay, h.maximize),
    };
    each_part(params, 2, |_, part| adadelta_part(part, &scalars));
}

multiversion! {
    fn adadelta_part<T: Real>(part: Part<T>, s: &DeltaScalars<T>) {
        let [square, acc, _] = part.state;
        for (((p, g), v), a) in part.value.iter_mut().zip(part.grad).zip(square).zip(acc) {
            let g = s.decay.of(*g, *p);
            *v = (s.forget * g).mul_add(g, *v * s.rho);
            let delta = (*a + s.eps).sqrt() / (*v + s.eps).sqrt() * g;
            *a = (s.forget * delta).mul_add(delta, *a * s.rho);
            *p = s.lr.mul_add(delta, *p);
        }
    }
}
