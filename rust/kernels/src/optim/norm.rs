//! What gradient clipping needs: the sum of squares over many tensors, and scaling them.

use super::{GRAIN, Real};
use crate::multiversion;
use crate::parallel::for_range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Elements summed in one go; a fixed number, so that threads cannot change the order.
const PIECE: usize = 4096;
const LANES: usize = 32;

/// Σ x² over all slices, in double precision, in an order that depends on their lengths only.
pub fn sum_of_squares<T: Real + Into<f64>>(list: &[&[T]]) -> f64 {
    let pieces: Vec<&[T]> = list.iter().flat_map(|s| s.chunks(PIECE)).collect();
    if pieces.len() <= 1 {
        return pieces.first().map_or(0.0, |p| piece(p));
    }
    let sums: Vec<AtomicU64> = pieces.iter().map(|_| AtomicU64::new(0)).collect();
    for_range(pieces.len(), (GRAIN / PIECE).max(1), |range| {
        for i in range {
            sums[i].store(piece(pieces[i]).to_bits(), Ordering::Relaxed);
        }
    });
    sums.iter().map(|s| f64::from_bits(s.load(Ordering::Relaxed))).sum()
}

/// An element in double precision.
trait Wide: Copy + Into<f64> {}
impl<T: Copy + Into<f64>> Wide for T {}

multiversion! {
    fn piece<T: Wide>(x: &[T]) -> f64 {
        let mut lanes = [0f64; LANES];
        let (whole, rest) = x.split_at(x.len() / LANES * LANES);
        for chunk in whole.chunks_exact(LANES) {
            for (l, v) in lanes.iter_mut().zip(chunk) {
                let v: f64 = (*v).into();
                *l = v.mul_add(v, *l);
            }
        }
        for (l, v) in lanes.iter_mut().zip(rest) {
            let v: f64 = (*v).into();
            *l = v.mul_add(v, *l);
        }
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                lanes[i] += lanes[i + width];
            }
            width /= 2;
        }
        lanes[0]
    }
}

/// Multiplies every element by `factor`, rounded to the elements' type.
pub fn scale<T: Real>(list: &mut [&mut [T]], factor: f64) {
    let factor = T::c(factor);
    for slice in list.iter_mut() {
        let base = Base(slice.as_mut_ptr());
        for_range(slice.len(), GRAIN, |range| {
            // SAFETY: disjoint ranges of a slice that is borrowed until all threads are done.
            scale_part(
                unsafe { std::slice::from_raw_parts_mut(base.at(range.start), range.len()) },
                factor,
            );
        });
    }
}

/// Start of a slice whose parts threads share out.
struct Base<T>(*mut T);

// SAFETY: threads take disjoint parts.
unsafe impl<T: Send> Sync for Base<T> {}

impl<T> Base<T> {
    /// # Safety
    /// `i` lies inside the slice.
    unsafe fn at(&self, i: usize) -> *mut T {
        // SAFETY: the contract of this function.
        unsafe { self.0.add(i) }
    }
}

multiversion! {
    fn scale_part<T: Real>(x: &mut [T], factor: T) {
        for v in x {
            *v = *v * factor;
        }
    }
}
