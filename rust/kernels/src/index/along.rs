//! One index per element along a dim: gather, scatter and its reductions.

use super::{IndexError, Number, axis_of, bits, by_number, by_size, checked, raw, raw_mut};
use crate::dtype::{DType, Scalar};
use crate::parallel;
use crate::reduce::walk::{Share, Walk};
use crate::view::{AnyDst, AnySrc, Dst, Src};

/// Elements of one thread's smallest share.
const GRAIN: usize = 8192;

/// What is scattered: a view at least as large as the index, or one number.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    View(AnySrc<'a>),
    Scalar(Scalar),
}

/// How [`scatter_reduce`] joins the values of one place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScatterReduce {
    Sum,
    Prod,
    Max,
    Min,
    Mean,
}

/// The strides of a view with that of `axis` set to 0: positions of the index, the dim `axis` apart.
fn hold(strides: &[isize], axis: usize) -> [isize; 8] {
    let mut held = [0; 8];
    held[..strides.len()].copy_from_slice(strides);
    if axis < strides.len() {
        held[axis] = 0;
    }
    held
}

/// `dst[i…, j, k…] = src[i…, index[i…, j, k…], k…]`, in the shape of `index` and `dst`. Any dtype.
pub fn gather(src: AnySrc, axis: usize, index: Src<i64>, dst: AnyDst) -> Result<(), IndexError> {
    let (size, step) = axis_of(src.shape(), src.strides(), axis);
    let at = checked(&index, size, false, axis)?;
    let held = hold(src.strides(), axis);
    let walk = Walk::of(index.shape(), [&held[..src.rank()], dst.strides()]).coalesce();
    by_size!(src.dtype(), T => {
        let (src, dst) = (raw::<T>(&src), Share::new(raw_mut::<T>(&dst).ptr()));
        parallel::for_range(at.len(), GRAIN, |range| {
            walk.each(range, |i, [s, d]| {
                // SAFETY: the index was checked; the rest lies inside the walk.
                unsafe { *dst.get().offset(d) = *src.ptr().offset(s + at[i] as isize * step) };
            });
        });
    });
    Ok(())
}

/// `dst[i…, index[i…, j, k…], k…] = source[i…, j, k…]`; of several values for one place the last stays. Any dtype.
pub fn scatter(dst: AnyDst, axis: usize, index: Src<i64>, source: Source) -> Result<(), IndexError> {
    let (size, step) = axis_of(dst.shape(), dst.strides(), axis);
    let at = checked(&index, size, false, axis)?;
    let held = hold(dst.strides(), axis);
    by_size!(dst.dtype(), T => {
        let out = raw_mut::<T>(&dst).ptr();
        let value = [match source {
            Source::View(_) => 0,
            Source::Scalar(v) => bits(v, dst.dtype()) as T,
        }];
        let (from, strides) = match &source {
            Source::View(v) => (raw::<T>(v).ptr(), v.strides()),
            Source::Scalar(_) => (value.as_ptr(), &[0; 8][..dst.rank()]),
        };
        let walk = Walk::of(index.shape(), [&held[..dst.rank()], strides]).coalesce();
        walk.each(0..at.len(), |i, [d, s]| {
            // SAFETY: the index was checked; the rest lies inside the walk.
            unsafe { *out.offset(d + at[i] as isize * step) = *from.offset(s) };
        });
    });
    Ok(())
}

/// As [`scatter`], joining values by `op`; what `dst` held takes part where `include_self`. Added in index order.
pub fn scatter_reduce(
    dst: AnyDst,
    axis: usize,
    index: Src<i64>,
    src: AnySrc,
    op: ScatterReduce,
    include_self: bool,
) -> Result<(), IndexError> {
    let (size, step) = axis_of(dst.shape(), dst.strides(), axis);
    let at = checked(&index, size, false, axis)?;
    by_number!(dst.dtype(), T => reduce_typed::<T>(&dst.typed(), axis, step, &at, &index, &src.typed(), op, include_self));
    Ok(())
}

fn reduce_typed<T: Number>(
    dst: &Dst<T>,
    axis: usize,
    step: isize,
    at: &[usize],
    index: &Src<i64>,
    src: &Src<T>,
    op: ScatterReduce,
    include_self: bool,
) {
    let held = hold(dst.strides(), axis);
    let walk = Walk::of(index.shape(), [&held[..dst.rank()], src.strides()]).coalesce();
    let out = dst.ptr();
    if !include_self {
        let start = match op {
            ScatterReduce::Sum | ScatterReduce::Mean => T::from_i64(0),
            ScatterReduce::Prod => T::from_i64(1),
            ScatterReduce::Max => T::LOWEST,
            ScatterReduce::Min => T::HIGHEST,
        };
        // SAFETY: the index was checked; the rest lies inside the walk.
        walk.each(0..at.len(), |i, [d, _]| unsafe {
            *out.offset(d + at[i] as isize * step) = start
        });
    }
    let join: fn(T, T) -> T = match op {
        ScatterReduce::Sum | ScatterReduce::Mean => T::plus,
        ScatterReduce::Prod => T::times,
        ScatterReduce::Max => T::larger,
        ScatterReduce::Min => T::smaller,
    };
    walk.each(0..at.len(), |i, [d, s]| {
        // SAFETY: as above.
        unsafe {
            let place = out.offset(d + at[i] as isize * step);
            *place = join(*place, *src.ptr().offset(s));
        }
    });
    if op == ScatterReduce::Mean {
        divide(dst, axis, at, index, include_self);
    }
}

/// Divides each element by the number of values that were added up there.
fn divide<T: Number>(dst: &Dst<T>, axis: usize, at: &[usize], index: &Src<i64>, include_self: bool) {
    let dense = crate::reduce::walk::dense(dst.shape());
    let step = if dst.rank() == 0 { 0 } else { dense[axis] };
    let mut counts = vec![include_self as i64; dst.numel()];
    let held = hold(&dense[..dst.rank()], axis);
    let walk = Walk::of(index.shape(), [&held[..dst.rank()]]);
    walk.each(0..at.len(), |i, [d]| counts[(d + at[i] as isize * step) as usize] += 1);
    let walk = Walk::of(dst.shape(), [dst.strides()]).coalesce();
    walk.each(0..counts.len(), |i, [d]| {
        if counts[i] > 1 {
            // SAFETY: the walk stays inside the view.
            unsafe { *dst.ptr().offset(d) = (*dst.ptr().offset(d)).over(counts[i]) };
        }
    });
}
