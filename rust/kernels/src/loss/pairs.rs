//! Losses of pairs of numbers, an input and a target: each one's, their sum in one pass, and the gradient in one.

use super::{LossElement, PIECE};
use crate::elementwise::float::Float;
use crate::multiversion;
use crate::parallel;
use crate::reduce::real::Real;
use crate::reduce::walk::{Share, grain};
use crate::softmax::row::joined;
use std::ops::Range;

/// Which loss, with x the input and t the target.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pair {
    /// `(x - t)^2`
    Square,
    /// `|x - t|`
    Absolute,
    /// `|x - t| - beta / 2`; below beta `(x - t)^2 / (2 beta)`.
    SmoothAbsolute(f64),
    /// `delta (|x - t| - delta / 2)`; up to delta `(x - t)^2 / 2`.
    Huber(f64),
    /// `-t log x - (1 - t) log(1 - x)`, with logarithms of at least -100.
    Binary,
    /// The same of x's sigmoid.
    BinaryOfLogits,
    /// `t (log t - x)`
    Divergence,
    /// `e^t (t - x)`
    DivergenceOfLogs,
}

/// An input of [`Pair::Binary`] that is not between 0 and 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfRange;

trait Kind<T>: Copy + Sync {
    fn value(self, x: T, t: T) -> T;
    /// The derivative by x.
    fn slope(self, x: T, t: T) -> T;
}

macro_rules! kinds {
    ($($name:ident $([$p:ident])? ($x:ident, $t:ident) $value:expr, $slope:expr;)*) => {$(
        #[derive(Clone, Copy)]
        struct $name<T>(T);
        impl<T: LossElement + Float> Kind<T> for $name<T> {
            #[inline(always)]
            fn value(self, $x: T, $t: T) -> T {
                $(let $p = self.0;)?
                $value
            }
            #[inline(always)]
            fn slope(self, $x: T, $t: T) -> T {
                $(let $p = self.0;)?
                $slope
            }
        }
    )*};
}

/// -1, 0, 1, or NaN.
#[inline(always)]
fn sign<T: LossElement>(d: T) -> T {
    let up = if d > T::ZERO { T::ONE } else { d * T::ZERO };
    if d < T::ZERO { -T::ONE } else { up }
}

#[inline(always)]
fn at_least<T: LossElement>(v: T, least: f64) -> T {
    let least = T::from_f64(least);
    if v < least { least } else { v }
}

#[inline(always)]
fn half<T: LossElement>() -> T {
    T::from_f64(0.5)
}

kinds! {
    Square(x, t) (x - t) * (x - t), (x - t) * T::from_f64(2.0);
    Absolute(x, t) (x - t).magnitude(), sign(x - t);
    SmoothAbsolute[beta](x, t) {
        let d = (x - t).magnitude();
        if d < beta { d * d * (half::<T>() / beta) } else { d - beta * half() }
    }, {
        let d = x - t;
        if d.magnitude() < beta { d / beta } else { sign(d) }
    };
    Huber[delta](x, t) {
        let d = (x - t).magnitude();
        if d <= delta { d * d * half() } else { (d - delta * half()) * delta }
    }, {
        let d = x - t;
        if d.magnitude() <= delta { d } else { sign(d) * delta }
    };
    Binary(x, t) {
        let (yes, no) = (at_least(Float::log(x), -100.0), at_least(Float::log1p(-x), -100.0));
        (t - <T as Real>::ONE) * no - t * yes
    }, (x - t) / at_least((<T as Real>::ONE - x) * x, 1e-12);
    BinaryOfLogits(x, t) {
        let below = if x < <T as Real>::ZERO { -x } else { x * <T as Real>::ZERO };
        let log = Float::log1p(Float::exp(-x.magnitude()));
        (<T as Real>::ONE - t).fma(x, below + log)
    }, Float::sigmoid(x) - t;
    Divergence(x, t) {
        // 0 log 0 is 0 here.
        let entropy = if t == <T as Real>::ZERO { t } else { t * Float::log(t) };
        entropy - t * x
    }, { let _ = x; -t };
    DivergenceOfLogs(x, t) Float::exp(t) * (t - x), { let _ = x; -Float::exp(t) };
}

/// Calls `$f` with the kind's own type.
macro_rules! of_kind {
    ($kind:expr, $t:ty, $f:ident($($a:expr),*)) => {
        match $kind {
            Pair::Square => $f(Square(<$t as Real>::ZERO), $($a),*),
            Pair::Absolute => $f(Absolute(<$t as Real>::ZERO), $($a),*),
            Pair::SmoothAbsolute(beta) => $f(SmoothAbsolute(<$t>::from_f64(beta)), $($a),*),
            Pair::Huber(delta) => $f(Huber(<$t>::from_f64(delta)), $($a),*),
            Pair::Binary => $f(Binary(<$t as Real>::ZERO), $($a),*),
            Pair::BinaryOfLogits => $f(BinaryOfLogits(<$t as Real>::ZERO), $($a),*),
            Pair::Divergence => $f(Divergence(<$t as Real>::ZERO), $($a),*),
            Pair::DivergenceOfLogs => $f(DivergenceOfLogs(<$t as Real>::ZERO), $($a),*),
        }
    };
}

/// Refuses inputs that are no probabilities.
fn check<T: LossElement>(kind: Pair, x: &[T]) -> Result<(), OutOfRange> {
    if kind == Pair::Binary && outside(x) {
        Err(OutOfRange)
    } else {
        Ok(())
    }
}

multiversion! {
    fn outside<T: LossElement>(x: &[T]) -> bool {
        x.iter().fold(false, |found, &v| found | !((v >= T::ZERO) & (v <= T::ONE)))
    }
}

impl Pair {
    /// How many cheap operations one loss counts as.
    fn cost(self) -> usize {
        match self {
            Pair::Binary | Pair::BinaryOfLogits => 16,
            Pair::Divergence | Pair::DivergenceOfLogs => 8,
            _ => 1,
        }
    }
}

/// Each pair's loss.
#[allow(private_bounds, reason = "f32 and f64")]
pub fn pair_loss<T: LossElement + Float>(kind: Pair, x: &[T], t: &[T], out: &mut [T]) -> Result<(), OutOfRange> {
    assert!(x.len() == t.len() && x.len() == out.len());
    check(kind, x)?;
    let to = Share::new(out.as_mut_ptr());
    parallel::for_range(x.len(), grain(kind.cost()), |range| {
        // SAFETY: each thread has its own elements.
        let out = unsafe { std::slice::from_raw_parts_mut(to.at(range.start), range.len()) };
        of_kind!(kind, T, losses(&x[range.clone()], &t[range.clone()], out))
    });
    Ok(())
}

/// The sum of the losses: pieces of [`PIECE`] by 64 lanes, added in order in `f64`.
#[allow(private_bounds, reason = "f32 and f64")]
pub fn pair_sum<T: LossElement + Float>(kind: Pair, x: &[T], t: &[T]) -> Result<f64, OutOfRange> {
    assert_eq!(x.len(), t.len());
    check(kind, x)?;
    let mut sums = vec![0.0f64; x.len().div_ceil(PIECE)];
    let (count, to) = (sums.len(), Share::new(sums.as_mut_ptr()));
    parallel::for_range(count, grain(PIECE * kind.cost()), |range| {
        of_kind!(kind, T, sums_of(x, t, range, to))
    });
    Ok(sums.iter().sum())
}

/// `out = slope * grad`, with one gradient for all or one for each.
#[allow(private_bounds, reason = "f32 and f64")]
pub fn pair_gradient<T: LossElement + Float>(kind: Pair, grad: &[T], x: &[T], t: &[T], out: &mut [T]) {
    assert!(x.len() == t.len() && x.len() == out.len());
    assert!(grad.len() == x.len() || grad.len() == 1);
    let to = Share::new(out.as_mut_ptr());
    parallel::for_range(x.len(), grain(kind.cost()), |range| {
        // SAFETY: each thread has its own elements.
        let out = unsafe { std::slice::from_raw_parts_mut(to.at(range.start), range.len()) };
        let (x, t) = (&x[range.clone()], &t[range.clone()]);
        match grad {
            [g] => of_kind!(kind, T, slopes_by(*g, x, t, out)),
            _ => of_kind!(kind, T, slopes(&grad[range.clone()], x, t, out)),
        }
    });
}

multiversion! {
    fn losses<K: Kind<T>, T: LossElement>(kind: K, x: &[T], t: &[T], out: &mut [T]) {
        for ((out, &x), &t) in out.iter_mut().zip(x).zip(t) {
            *out = kind.value(x, t);
        }
    }
}

multiversion! {
    fn sums_of<K: Kind<T>, T: LossElement>(kind: K, x: &[T], t: &[T], pieces: Range<usize>, to: Share<f64>) {
        for piece in pieces {
            let at = piece * PIECE..((piece + 1) * PIECE).min(x.len());
            let (x, t) = (&x[at.clone()], &t[at]);
            let mut lanes = [T::ZERO; 64];
            let ((blocks, rest), (others, _)) = (x.as_chunks::<64>(), t.as_chunks::<64>());
            for (x, t) in blocks.iter().zip(others) {
                for l in 0..64 {
                    lanes[l] = lanes[l] + kind.value(x[l], t[l]);
                }
            }
            let left = x.len() - rest.len();
            for ((lane, &x), &t) in lanes.iter_mut().zip(rest).zip(&t[left..]) {
                *lane = *lane + kind.value(x, t);
            }
            // SAFETY: there is a sum for each piece, and this one is this thread's.
            unsafe { *to.at(piece) = joined!(lanes, 64, |a, b| a + b).to_f64() };
        }
    }
}

multiversion! {
    fn slopes_by<K: Kind<T>, T: LossElement>(kind: K, grad: T, x: &[T], t: &[T], out: &mut [T]) {
        for ((out, &x), &t) in out.iter_mut().zip(x).zip(t) {
            *out = kind.slope(x, t) * grad;
        }
    }
}

multiversion! {
    fn slopes<K: Kind<T>, T: LossElement>(kind: K, grad: &[T], x: &[T], t: &[T], out: &mut [T]) {
        for (((out, &x), &t), &g) in out.iter_mut().zip(x).zip(t).zip(grad) {
            *out = kind.slope(x, t) * g;
        }
    }
}
