//! Running log-sum-exps of a line.
//!
//! What came before is a sum of exponentials relative to their maximum. The exponentials of [`TOGETHER`] elements are taken
//! relative to the maximum of these and of what came before, added up, and their logarithms taken, many at a time. In
//! `f64` that is exact enough for float32 results as long as the elements lie close enough together; others, and float64,
//! are joined one by one.

use super::lines::groups;
use super::{Add, Job, log_add_exp};
use crate::dtype::Element;
use crate::multiversion;
use crate::reduce::real::{exp_f64, ln_f64, ln_normal};

const TOGETHER: usize = 64;
/// How far below the maximum an element may lie: e^-600 is still a normal number, with all its digits.
const DEPTH: f64 = 600.0;

/// `sum · e^top`.
#[derive(Clone, Copy)]
struct Scaled {
    top: f64,
    sum: f64,
}

pub(super) fn line<T: Element>(job: &Job<T>, at: [isize; 2]) {
    let mut so_far = Scaled {
        top: f64::NEG_INFINITY,
        sum: 0.0,
    };
    let (mut given, mut block) = ([0f64; TOGETHER], [0f64; TOGETHER]);
    for first in (0..job.n).step_by(TOGETHER) {
        let n = TOGETHER.min(job.n - first);
        for (i, x) in given[..n].iter_mut().enumerate() {
            // SAFETY: an element of the line.
            *x = unsafe { *job.src.offset(at[0] + (first + i) as isize * job.step[0]) }.to_f64();
        }
        let (given, block) = (&given[..n], &mut block[..n]);
        if size_of::<T>() != 4 || !together(given, &mut so_far, block) {
            let mut log = match so_far.sum {
                0.0 | 1.0 => so_far.top,
                sum => so_far.top + ln_f64(sum),
            };
            for (x, y) in given.iter().zip(block.iter_mut()) {
                log = log_add_exp(log, *x);
                *y = log;
            }
            so_far = Scaled { top: log, sum: 1.0 };
        }
        for (i, y) in block.iter().enumerate() {
            // SAFETY: as above.
            unsafe { *job.dst.offset(at[1] + (first + i) as isize * job.step[1]) = T::from_f64(*y) };
        }
    }
}

multiversion! {
    /// False, and nothing done, where the elements do not suit.
    fn together(given: &[f64], so_far: &mut Scaled, out: &mut [f64]) -> bool {
        let (mut low, mut high, mut odd) = (f64::INFINITY, so_far.top, false);
        for &x in given {
            low = if x < low { x } else { low };
            high = if x > high { x } else { high };
            odd |= x.is_nan();
        }
        // Not so for infinite ones, or for a maximum that is NaN.
        if odd || !(low >= high - DEPTH && high < f64::INFINITY) {
            return false;
        }
        for (y, &x) in out.iter_mut().zip(given) {
            *y = exp_f64(x - high);
        }
        let before = so_far.sum * exp_f64(so_far.top - high);
        let at = out.as_mut_ptr();
        let sum = groups(Add::<f64>::default(), at.cast_const(), at, out.len(), 0.0, before, true);
        for y in out {
            *y = high + ln_normal(*y);
        }
        *so_far = Scaled { top: high, sum };
        true
    }
}
