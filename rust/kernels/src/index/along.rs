//! One index per element along a dim: gather, scatter and its reductions.

use super::place::{GRAIN, Place, Run, check, gather_run};
use super::{IndexError, Number, axis_of, bits, by_number, by_size, raw, raw_mut};
use crate::dtype::{DType, Scalar};
use crate::parallel;
use crate::reduce::walk::{Share, Walk};
use crate::view::{AnyDst, AnySrc, Dst, Src};

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
    let (size, along) = axis_of(src.shape(), src.strides(), axis);
    let place = check(&index, size, false, axis)?;
    let held = hold(src.strides(), axis);
    let walk = Walk::of(index.shape(), [&held[..src.rank()], dst.strides(), index.strides()]).coalesce();
    by_size!(src.dtype(), T => {
        let (src, dst) = (raw::<T>(&src), Share::new(raw_mut::<T>(&dst).ptr()));
        parallel::for_range(walk.count(), GRAIN, |range| {
            walk.runs(range, |_, [s, d, i], n, [ss, ds, is]| {
                // SAFETY: the walk stays inside the views; threads write disjoint elements.
                unsafe {
                    let from = Run { at: src.ptr().offset(s), step: ss };
                    let index = Run { at: index.ptr().offset(i), step: is };
                    let to = Run { at: dst.get().offset(d), step: ds };
                    gather_run(from, along, index, place, to, n);
                }
            });
        });
    });
    Ok(())
}

/// Hands each position of the index its place in `dst` and its source, in row-major order within each line along `axis`
/// (and so in order for each place). Threads take whole lines, which write different places, if the dims in front of
/// `axis` are many enough.
fn deal<T: Copy + Send + Sync>(
    dst: Share<T>,
    strides: &[isize],
    axis: usize,
    place: Place,
    index: &Src<i64>,
    (from, steps): (*const T, &[isize]),
    join: impl Fn(T, T) -> T + Sync,
) {
    let rank = strides.len();
    let held = hold(strides, axis);
    let along = if rank == 0 { 0 } else { strides[axis] };
    let mut lead: usize = index.shape()[..axis.min(rank)].iter().product();
    // Elements of `dst` that overlap (a stride of 0) would meet in two lines.
    if (0..axis.min(rank)).any(|d| strides[d] == 0) {
        lead = 1;
    }
    let walk = Walk::of(index.shape(), [&held[..rank], steps, index.strides()]).coalesce();
    let (from, index) = (Share::new(from.cast_mut()), index.ptr());
    let index = Share::new(index.cast_mut());
    let each = walk.count() / lead.max(1);
    parallel::for_range(lead, (GRAIN / each.max(1)).max(1), |lines| {
        walk.runs(lines.start * each..lines.end * each, |_, [d, s, i], n, [ds, ss, is]| {
            // In registers: what is stored below might be them, for all that the compiler knows.
            let (place, along) = (place, along);
            // SAFETY: the walk stays inside the views, a place inside its dim.
            unsafe {
                let (to, from) = (dst.get().offset(d), from.get().offset(s));
                if (ds, is) == (0, 1) && ss <= 1 {
                    let index = std::slice::from_raw_parts(index.get().offset(i), n);
                    for (j, &i) in index.iter().enumerate() {
                        let to = to.offset(place.of(i) as isize * along);
                        *to = join(*to, *from.offset(j as isize * ss));
                    }
                } else {
                    for j in 0..n as isize {
                        let at = place.of(*index.get().offset(i + j * is)) as isize * along;
                        let to = to.offset(j * ds + at);
                        *to = join(*to, *from.offset(j * ss));
                    }
                }
            }
        });
    });
}

/// `dst[i…, index[i…, j, k…], k…] = source[i…, j, k…]`; of several values for one place the last stays. Any dtype.
pub fn scatter(dst: AnyDst, axis: usize, index: Src<i64>, source: Source) -> Result<(), IndexError> {
    let (size, _) = axis_of(dst.shape(), dst.strides(), axis);
    let place = check(&index, size, false, axis)?;
    by_size!(dst.dtype(), T => {
        let out = Share::new(raw_mut::<T>(&dst).ptr());
        let value = [match source {
            Source::View(_) => 0,
            Source::Scalar(v) => bits(v, dst.dtype()) as T,
        }];
        let from = match &source {
            Source::View(v) => (raw::<T>(v).ptr(), v.strides()),
            Source::Scalar(_) => (value.as_ptr(), &[0; 8][..dst.rank()]),
        };
        deal(out, dst.strides(), axis, place, &index, from, |_, v| v);
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
    let (size, _) = axis_of(dst.shape(), dst.strides(), axis);
    let place = check(&index, size, false, axis)?;
    by_number!(dst.dtype(), T => reduce_typed::<T>(&dst.typed(), axis, place, &index, &src.typed(), op, include_self));
    Ok(())
}

fn reduce_typed<T: Number>(
    dst: &Dst<T>,
    axis: usize,
    place: Place,
    index: &Src<i64>,
    src: &Src<T>,
    op: ScatterReduce,
    include_self: bool,
) {
    let (out, from) = (Share::new(dst.ptr()), (src.ptr(), src.strides()));
    if !include_self {
        let start = match op {
            ScatterReduce::Sum | ScatterReduce::Mean => T::from_i64(0),
            ScatterReduce::Prod => T::from_i64(1),
            ScatterReduce::Max => T::LOWEST,
            ScatterReduce::Min => T::HIGHEST,
        };
        deal(out, dst.strides(), axis, place, index, from, |_, _| start);
    }
    match op {
        ScatterReduce::Sum | ScatterReduce::Mean => deal(out, dst.strides(), axis, place, index, from, T::plus),
        ScatterReduce::Prod => deal(out, dst.strides(), axis, place, index, from, T::times),
        ScatterReduce::Max => deal(out, dst.strides(), axis, place, index, from, T::larger),
        ScatterReduce::Min => deal(out, dst.strides(), axis, place, index, from, T::smaller),
    }
    if op == ScatterReduce::Mean {
        divide(dst, axis, place, index, include_self);
    }
}

/// Divides each element by the number of values that were added up there.
fn divide<T: Number>(dst: &Dst<T>, axis: usize, place: Place, index: &Src<i64>, include_self: bool) {
    let dense = crate::reduce::walk::dense(dst.shape());
    let step = if dst.rank() == 0 { 0 } else { dense[axis] };
    let mut counts = vec![include_self as i64; dst.numel()];
    let held = hold(&dense[..dst.rank()], axis);
    let walk = Walk::of(index.shape(), [&held[..dst.rank()], index.strides()]);
    walk.each(0..walk.count(), |_, [d, i]| {
        // SAFETY: the walk stays inside the index.
        let at = place.of(unsafe { *index.ptr().offset(i) });
        counts[(d + at as isize * step) as usize] += 1;
    });
    let walk = Walk::of(dst.shape(), [dst.strides()]).coalesce();
    walk.each(0..counts.len(), |i, [d]| {
        if counts[i] > 1 {
            // SAFETY: the walk stays inside the view.
            unsafe { *dst.ptr().offset(d) = (*dst.ptr().offset(d)).over(counts[i]) };
        }
    });
}
