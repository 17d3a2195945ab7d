//! Counting values into bins, and finding places in sorted ones.

use super::{IndexError, place};
use crate::dtype::DType;
use crate::parallel;
use crate::reduce::real::Real;
use crate::reduce::walk::{Share, Walk, collect, dense};
use crate::view::{AnySrc, Dst, Src};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

/// Values worth a second thread.
const GRAIN: usize = 64 * 1024;

/// The least and the largest element, where there is one.
pub fn bounds(src: Src<i64>) -> Option<(i64, i64)> {
    let walk = Walk::of(src.shape(), [src.strides()]).coalesce();
    let (low, high) = (AtomicI64::new(i64::MAX), AtomicI64::new(i64::MIN));
    parallel::for_range(walk.count(), GRAIN, |range| {
        walk.runs(range, |_, [at], n, [step]| {
            // SAFETY: the walk stays inside the view.
            let (least, most) = unsafe { place::extremes(src.ptr().offset(at), n, step) };
            low.fetch_min(least, Ordering::Relaxed);
            high.fetch_max(most, Ordering::Relaxed);
        });
    });
    (walk.count() > 0).then_some((low.into_inner(), high.into_inner()))
}

/// How many counts there are.
fn bins(src: &Src<i64>, minlength: usize) -> Result<usize, IndexError> {
    let (least, most) = bounds(*src).unwrap_or((0, -1));
    let size = most.saturating_add(1).max(0) as usize;
    if least < 0 {
        return Err(IndexError {
            index: least,
            size,
            dim: 0,
        });
    }
    Ok(size.max(minlength))
}

/// `size` zeros; an error where the memory cannot be had.
fn zeros<T: Clone + Default>(size: usize) -> Result<Vec<T>, IndexError> {
    let mut all = Vec::new();
    match all.try_reserve_exact(size) {
        Ok(()) => all.resize(size, T::default()),
        Err(_) => {
            return Err(IndexError {
                index: size as i64 - 1,
                size: 0,
                dim: 0,
            });
        }
    }
    Ok(all)
}

/// How often each of `0..size` occurs; other values are not counted. An error where the memory cannot be had.
pub fn bincount(src: Src<i64>, size: usize) -> Result<Vec<i64>, IndexError> {
    let counts = Mutex::new(zeros::<i64>(size)?);
    let walk = Walk::of(src.shape(), [src.strides()]).coalesce();
    let count = |range, counts: &mut [i64]| {
        walk.runs(range, |_, [at], n, [step]| {
            for j in 0..n as isize {
                // SAFETY: the walk stays inside the view.
                let v = unsafe { *src.ptr().offset(at + j * step) };
                if let Some(count) = counts.get_mut(v as usize) {
                    *count += 1;
                }
            }
        });
    };
    let n = walk.count();
    // Several threads each count what they see, if adding that up is little beside it.
    let grain = if size <= MOST_BINS { GRAIN } else { n };
    parallel::for_range(n, grain, |range| {
        if range.len() == n {
            count(range, &mut parallel::lock(&counts));
        } else {
            let mut own = vec![0; size];
            count(range, &mut own);
            for (all, own) in parallel::lock(&counts).iter_mut().zip(own) {
                *all += own;
            }
        }
    });
    Ok(counts.into_inner().unwrap_or_else(|e| e.into_inner()))
}

/// Bins of which each thread has its own.
const MOST_BINS: usize = 8 * 1024;

/// Each index as often as its count says, in order. No count is negative, and `to` has room for all.
pub fn repeated(counts: &[i64], to: &mut [i64]) {
    let (mut begins, mut end) = (Vec::with_capacity(counts.len()), 0);
    for &n in counts {
        begins.push(end);
        end += n as usize;
    }
    assert!(end == to.len(), "{end} indices for {} places", to.len());
    let out = Share::new(to.as_mut_ptr());
    let each = to.len() / counts.len().max(1) + 1;
    parallel::for_range(counts.len(), (GRAIN / each).max(1), |range| {
        for i in range {
            // SAFETY: the places of index i, which lie inside `to`, as their sum tells.
            unsafe { std::slice::from_raw_parts_mut(out.at(begins[i]), counts[i] as usize) }.fill(i as i64);
        }
    });
}

/// The sums of the `weights` (`f32` or `f64`, of the same shape) of each of `0..`, in `f64`; at least `minlength` of them. A
/// negative value is an error, and so is one for which the sums do not fit into memory.
pub fn bincount_weighted(src: Src<i64>, weights: AnySrc, minlength: usize) -> Result<Vec<f64>, IndexError> {
    let mut sums: Vec<f64> = zeros(bins(&src, minlength)?)?;
    match weights.dtype() {
        DType::F32 => add_weights::<f32>(&src, &weights.typed(), &mut sums),
        _ => add_weights::<f64>(&src, &weights.typed(), &mut sums),
    }
    Ok(sums)
}

fn add_weights<T: Real>(src: &Src<i64>, weights: &Src<T>, sums: &mut [f64]) {
    let walk = Walk::of(src.shape(), [src.strides(), weights.strides()]).coalesce();
    walk.runs(0..walk.count(), |_, [at, from], n, [step, stride]| {
        for j in 0..n as isize {
            // SAFETY: the walk stays inside both views.
            let (v, w) = unsafe {
                (
                    *src.ptr().offset(at + j * step),
                    *weights.ptr().offset(from + j * stride),
                )
            };
            if let Some(sum) = sums.get_mut(v as usize) {
                *sum += w.to_f64();
            }
        }
    });
}

/// Counts of floats in `bins` equal bins from `lo` to `hi`, which belongs to the last; others and NaN are not counted.
pub fn histc(src: AnySrc, bins: usize, lo: f64, hi: f64) -> Vec<i64> {
    match src.dtype() {
        DType::F32 => histc_typed::<f32>(&src.typed(), bins, lo, hi),
        _ => histc_typed::<f64>(&src.typed(), bins, lo, hi),
    }
}

fn histc_typed<T: Real>(src: &Src<T>, bins: usize, lo: f64, hi: f64) -> Vec<i64> {
    let mut counts = vec![0; bins];
    let (low, high) = (T::from_f64(lo), T::from_f64(hi));
    let walk = Walk::of(src.shape(), [src.strides()]).coalesce();
    walk.each(0..walk.count(), |_, [at]| {
        // SAFETY: the walk stays inside the view.
        let v = unsafe { *src.ptr().offset(at) };
        if bins > 0 && v >= low && v <= high {
            let bin = (v - low) * T::from_f64(bins as f64) / (high - low);
            counts[(bin.to_i64().max(0) as usize).min(bins - 1)] += 1;
        }
    });
    counts
}

/// Where each of `values` would go in `sorted` (ascending along the last dim): before its equals, or after where
/// `right`. `sorted` has rank 1, or the leading dims of `values`.
pub fn searchsorted(sorted: AnySrc, values: AnySrc, right: bool, out: Dst<i64>) {
    match sorted.dtype() {
        DType::F32 => search::<f32>(&sorted.typed(), &values.typed(), right, &out),
        DType::F64 => search::<f64>(&sorted.typed(), &values.typed(), right, &out),
        DType::I64 => search::<i64>(&sorted.typed(), &values.typed(), right, &out),
        other => panic!("searchsorted of {}", other.name()),
    }
}

fn search<T: Copy + PartialOrd + Send + Sync>(sorted: &Src<T>, values: &Src<T>, right: bool, out: &Dst<i64>) {
    let (r, n) = (sorted.rank(), sorted.shape()[sorted.rank() - 1]);
    let lines = collect(sorted);
    let mut starts = [0isize; 8];
    if r > 1 {
        starts[..r - 1].copy_from_slice(&dense(sorted.shape())[..r - 1]);
    }
    let walk = Walk::of(
        values.shape(),
        [values.strides(), out.strides(), &starts[..values.rank()]],
    )
    .coalesce();
    let out = Share::new(out.ptr());
    parallel::for_range(walk.count(), 2048, |range| {
        walk.each(range, |_, [v, o, line]| {
            // SAFETY: the walk stays inside the views.
            let v = unsafe { *values.ptr().offset(v) };
            let line = &lines[line as usize..][..n];
            // As PyTorch: what does not compare (NaN) counts as larger.
            #[allow(clippy::neg_cmp_op_on_partial_ord)]
            let place = if right {
                line.partition_point(|x| !(*x > v))
            } else {
                line.partition_point(|x| !(*x >= v))
            };
            // SAFETY: as above.
            unsafe { *out.get().offset(o) = place as i64 };
        });
    });
}
