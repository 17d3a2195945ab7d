//! Optimizer steps, each one call over all parameters: PyTorch's single-tensor formulas, fused.
//!
//! Hyperparameters arrive in double precision, and what PyTorch computes in Python (bias corrections, `1 - beta`) is
//! computed so here; then everything is in the parameters' type, with fused multiply-add where PyTorch multiplies and adds.

mod adaptive;
mod norm;
mod sgd;

pub use adaptive::{Adadelta, Adagrad, Adam, Rmsprop, adadelta, adagrad, adam, rmsprop};
pub use norm::{scale, sum_of_squares};
pub use sgd::{Sgd, sgd};

use crate::elementwise::float::Float;
use crate::parallel::for_range;

/// The types that optimizers work in: f32 and f64.
pub trait Real: Float {}
impl Real for f32 {}
impl Real for f64 {}

/// Elements worth a second thread.
const GRAIN: usize = 16 * 1024;

/// A parameter, its gradient and the optimizer's state for it, all dense and of one length. Which state lies where is
/// said by each optimizer; unused places hold empty slices.
pub struct Param<'a, T> {
    pub value: &'a mut [T],
    pub grad: &'a [T],
    pub state: [&'a mut [T]; 3],
    /// Number of this step for this parameter: 1 at the first.
    pub step: f64,
}

/// The part of a parameter that one thread works on.
pub(crate) struct Part<'a, T> {
    value: &'a mut [T],
    grad: &'a [T],
    state: [&'a mut [T]; 3],
}

/// A parameter as threads share it.
struct Raw<T> {
    start: usize,
    len: usize,
    value: *mut T,
    grad: *const T,
    state: [(*mut T, usize); 3],
    step: f64,
}

// SAFETY: made of exclusive slices that outlive the walk; threads take disjoint parts of them.
unsafe impl<T: Sync> Sync for Raw<T> {}

/// Calls `f(step, part)` on disjoint parts of all parameters, on several threads when there is enough work.
fn each_part<T: Real>(params: &mut [Param<T>], states: usize, f: impl Fn(f64, Part<T>) + Sync) {
    let mut total = 0;
    let raw: Vec<Raw<T>> = params
        .iter_mut()
        .map(|p| {
            let (start, len) = (total, p.value.len());
            assert!(p.grad.len() == len, "gradient and parameter differ in length");
            assert!(
                p.state.iter().take(states).all(|s| s.len() == len),
                "state and parameter differ in length"
            );
            total += len;
            let state = p.state.each_mut().map(|s| (s.as_mut_ptr(), s.len()));
            Raw {
                start,
                len,
                value: p.value.as_mut_ptr(),
                grad: p.grad.as_ptr(),
                state,
                step: p.step,
            }
        })
        .collect();
    for_range(total, GRAIN, |range| {
        let mut at = raw.partition_point(|p| p.start + p.len <= range.start);
        let mut pos = range.start;
        while pos < range.end {
            let p = &raw[at];
            let from = pos - p.start;
            let n = (p.len - from).min(range.end - pos);
            // SAFETY: `from + n` is at most the length of value and gradient, and of each state that is used (an empty
            // one stays empty); ranges are disjoint, and the slices are borrowed until all threads are done.
            let part = unsafe {
                Part {
                    value: std::slice::from_raw_parts_mut(p.value.add(from), n),
                    grad: std::slice::from_raw_parts(p.grad.add(from), n),
                    state: p.state.map(|(s, len)| {
                        if len < from + n {
                            &mut [] as &mut [T]
                        } else {
                            std::slice::from_raw_parts_mut(s.add(from), n)
                        }
                    }),
                }
            };
            f(p.step, part);
            pos += n;
            at += 1;
        }
    });
}

/// A gradient with its sign turned for maximizing, and weight decay added: how most optimizers begin.
#[derive(Clone, Copy)]
struct Decay<T> {
    sign: T,
    weight: T,
    on: bool,
}

impl<T: Real> Decay<T> {
    fn new(weight: f64, maximize: bool) -> Self {
        Decay {
            sign: T::c(if maximize { -1.0 } else { 1.0 }),
            weight: T::c(weight),
            on: weight != 0.0,
        }
    }

    #[inline(always)]
    fn of(&self, g: T, p: T) -> T {
        let g = g * self.sign;
        let decayed = self.weight.mul_add(p, g);
        if self.on { decayed } else { g }
    }
}
