//! Losses: negative log-likelihood, cross-entropy in one pass over the logits, and losses of pairs of numbers.
//!
//! A class that does not exist is found before anything is written. Sums of losses are taken in `f64`, by 16 lanes in
//! pieces of [`PIECE`], which are added in order.

mod cross_entropy;
mod nll;
mod pairs;

pub use cross_entropy::{Expected, Lines, cross_entropy_backward, cross_entropy_forward};
pub use nll::{nll_backward, nll_forward};
pub use pairs::{OutOfRange, Pair, pair_gradient, pair_loss, pair_sum};

use crate::index::IndexError;
use crate::multiversion;
use crate::softmax::row::{Soft, joined};

/// Losses that are added up by one set of lanes.
pub(crate) const PIECE: usize = 4096;

/// The types that have losses.
#[allow(private_bounds, reason = "f32 and f64")]
pub trait LossElement: Soft {}
impl LossElement for f32 {}
impl LossElement for f64 {}

/// What is made of the losses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reduction {
    Each,
    Mean,
    Sum,
}

/// Refuses targets that are neither a class nor `ignore`.
fn check(target: &[i64], classes: usize, ignore: i64) -> Result<(), IndexError> {
    if !any_bad(target, classes as u64, ignore) {
        return Ok(());
    }
    match target.iter().find(|&&t| (t as u64) >= classes as u64 && t != ignore) {
        Some(&index) => Err(IndexError {
            index,
            size: classes,
            dim: 1,
        }),
        None => Ok(()),
    }
}

multiversion! {
    /// Without an early end this is a comparison of many at once.
    fn any_bad(target: &[i64], classes: u64, ignore: i64) -> bool {
        target.iter().map(|&t| u64::from((t as u64 >= classes) & (t != ignore))).sum::<u64>() > 0
    }
}

/// The class of a target that counts. (One that another thread wrote after the check counts nothing.)
#[inline(always)]
fn class(t: i64, classes: usize, ignore: i64) -> Option<usize> {
    (t != ignore && (t as u64) < classes as u64).then_some(t as usize)
}

/// The sum of the weights of the targets that count.
fn weights<T: LossElement>(target: &[i64], weight: Option<&[T]>, classes: usize, ignore: i64) -> f64 {
    let Some(weight) = weight else {
        return counted(target, classes as u64, ignore) as f64;
    };
    let all = target.iter().filter_map(|&t| class(t, classes, ignore));
    all.fold(0.0, |sum, t| sum + weight[t].to_f64())
}

multiversion! {
    fn counted(target: &[i64], classes: u64, ignore: i64) -> u64 {
        target.iter().map(|&t| u64::from((t != ignore) & ((t as u64) < classes))).sum()
    }
}

multiversion! {
    /// The sum of losses.
    fn total<T: Soft>(losses: &[T]) -> f64 {
        let mut total = 0.0;
        for piece in losses.chunks(PIECE) {
            let mut lanes = [0.0f64; 16];
            let (blocks, rest) = piece.as_chunks::<16>();
            for block in blocks {
                for l in 0..16 {
                    lanes[l] += block[l].to_f64();
                }
            }
            for (lane, v) in lanes.iter_mut().zip(rest) {
                *lane += v.to_f64();
            }
            total += joined!(lanes, 16, |a, b| a + b);
        }
        total
    }
}
