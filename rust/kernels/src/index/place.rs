//! Checking indices, and loops over runs of them.

use super::IndexError;
use crate::multiversion;
use crate::parallel;
use crate::reduce::walk::Walk;
use crate::view::Src;
use std::sync::atomic::{AtomicBool, Ordering};

/// Indices of one thread's smallest share.
pub(super) const GRAIN: usize = 16 * 1024;

/// Turns checked indices into places of a dim.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    size: usize,
    wrap: bool,
}

impl Place {
    /// The place of an index that was found good; the first place for one that was changed since.
    #[inline(always)]
    pub fn of(self, i: i64) -> usize {
        let i = if self.wrap && i < 0 {
            i.wrapping_add(self.size as i64)
        } else {
            i
        } as usize;
        if i < self.size { i } else { 0 }
    }
}

/// Finds that all indices lie in `0..size` (`-size..size` where they wrap).
pub(crate) fn check(index: &Src<i64>, size: usize, wrap: bool, dim: usize) -> Result<Place, IndexError> {
    let low = if wrap { -(size as i64) } else { 0 };
    let walk = Walk::of(index.shape(), [index.strides()]).coalesce();
    let bad = AtomicBool::new(false);
    parallel::for_range(walk.count(), 4 * GRAIN, |range| {
        walk.runs(range, |_, [at], n, [step]| {
            // SAFETY: the walk stays inside the view.
            let (least, most) = unsafe { extremes(index.ptr().offset(at), n, step) };
            if least < low || most >= size as i64 {
                bad.store(true, Ordering::Relaxed);
            }
        });
    });
    if bad.into_inner() {
        let mut first = None;
        walk.each(0..walk.count(), |_, [at]| {
            // SAFETY: as above.
            let i = unsafe { *index.ptr().offset(at) };
            if i < low || i >= size as i64 {
                first = first.or(Some(i));
            }
        });
        // Should another thread have mended it meanwhile, the error still stands.
        return Err(IndexError {
            index: first.unwrap_or(size as i64),
            size,
            dim,
        });
    }
    Ok(Place { size, wrap })
}

/// The least and the largest of `n` indices, of which there is at least one.
///
/// # Safety
/// They are readable at `step`.
pub(super) unsafe fn extremes(index: *const i64, n: usize, step: isize) -> (i64, i64) {
    // SAFETY: the caller's promise; where the step is 0 one index stands for all.
    unsafe {
        match step {
            0 => (*index, *index),
            1 => extremes_of(std::slice::from_raw_parts(index, n)),
            _ => (0..n as isize).fold((i64::MAX, i64::MIN), |(low, high), i| {
                let i = *index.offset(i * step);
                (low.min(i), high.max(i))
            }),
        }
    }
}

multiversion! {
    fn extremes_of(index: &[i64]) -> (i64, i64) {
        let (mut low, mut high) = (i64::MAX, i64::MIN);
        for &i in index {
            low = if i < low { i } else { low };
            high = if i > high { i } else { high };
        }
        (low, high)
    }
}

/// A run of elements at one side of a move.
#[derive(Clone, Copy)]
pub(super) struct Run<P> {
    pub at: P,
    pub step: isize,
}

multiversion! {
    /// `to[j] = from[j·from.step + place(index[j])·along]` for `n` positions, which lie inside their views.
    pub(super) fn gather_run<T: Copy>(
        from: Run<*const T>, along: isize, index: Run<*const i64>, place: Place, to: Run<*mut T>, n: usize,
    ) {
        // SAFETY: the caller's promise; a place lies inside its dim.
        unsafe {
            if index.step == 1 && to.step == 1 {
                if from.step == 0 {
                    for j in 0..n {
                        *to.at.add(j) = *from.at.offset(place.of(*index.at.add(j)) as isize * along);
                    }
                } else {
                    for j in 0..n {
                        let i = place.of(*index.at.add(j)) as isize;
                        *to.at.add(j) = *from.at.offset(j as isize * from.step + i * along);
                    }
                }
            } else {
                for j in 0..n as isize {
                    let i = place.of(*index.at.offset(j * index.step)) as isize;
                    *to.at.offset(j * to.step) = *from.at.offset(j * from.step + i * along);
                }
            }
        }
    }
}
