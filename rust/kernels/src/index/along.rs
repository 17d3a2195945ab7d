//! One index per element along a dim: gather, scatter and its reductions.

use super::place::{BLOCK, GRAIN, Offsets, Place, Run, SHORT, Span, check, culprit, deal_short, gather_run};
use super::{IndexError, Number, axis_of, bits, by_size, raw, raw_mut};
use crate::dtype::{Scalar, with_computed};
use crate::multiversion;
use crate::parallel;
use crate::reduce::walk::{Share, Walk};
use crate::scratch;
use crate::view::{AnyDst, AnySrc, Dst, MAX_RANK, Src};
use std::sync::atomic::{AtomicBool, Ordering};

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

/// Columns that are moved together where an index varies along the rows: few enough that the part of the other view
/// that they lead to stays in the second-level cache.
const COLUMNS: usize = 256;

/// Views that agree but for the dim `axis`: those of an index, of what it leads to (there without the dim), and of what
/// lies beside it.
struct Lines {
    outer: Walk<3>,
    inner: Walk<3>,
    /// Positions along the axis, and their steps.
    n: usize,
    along: [isize; 3],
    /// Columns of a strip, and strips.
    width: usize,
    strips: usize,
}

impl Lines {
    /// `strides` of what is led to, of what lies beside the index, of the index. `whole`: all columns in one strip.
    fn new(shape: &[usize], axis: usize, strides: [&[isize]; 3], whole: bool) -> Self {
        let (mut outer, mut inner) = (Walk::new(), Walk::new());
        let (mut n, mut along) = (1, [0; 3]);
        for (d, &size) in shape.iter().enumerate() {
            let step = strides.map(|s| s[d]);
            match d.cmp(&axis) {
                std::cmp::Ordering::Less => outer.push(size, step),
                std::cmp::Ordering::Equal => (n, along) = (size, [0, step[1], step[2]]),
                std::cmp::Ordering::Greater => inner.push(size, step),
            }
        }
        let (outer, inner) = (outer.coalesce(), inner.coalesce());
        let columns = inner.count();
        let width = if whole || columns < 2 * COLUMNS {
            columns
        } else {
            COLUMNS
        };
        Lines {
            outer,
            inner,
            n,
            along,
            width,
            strips: if width == 0 { 0 } else { columns.div_ceil(width) },
        }
    }

    /// Units of work, and how many make a thread's smallest share.
    fn units(&self) -> (usize, usize) {
        let each = self.n * self.width;
        (self.outer.count() * self.strips, (GRAIN / each.max(1)).max(1))
    }

    /// Calls `f` with the runs of some units: offsets, length, steps. In order along the axis.
    #[inline(always)]
    fn each(&self, units: std::ops::Range<usize>, mut f: impl FnMut([isize; 3], usize, [isize; 3])) {
        if self.inner.rank() == 0 {
            return self.outer.each(units, |_, at| f(at, self.n, self.along));
        }
        let columns = self.inner.count();
        for unit in units {
            let mut row = self.outer.at(unit / self.strips);
            let first = unit % self.strips * self.width;
            for _ in 0..self.n {
                self.inner
                    .runs(first..columns.min(first + self.width), |_, at, n, step| {
                        f([0, 1, 2].map(|k| row[k] + at[k]), n, step)
                    });
                for (row, step) in row.iter_mut().zip(self.along) {
                    *row += step;
                }
            }
        }
    }
}

/// `dst[i…, j, k…] = src[i…, index[i…, j, k…], k…]`, in the shape of `index` and `dst`. Any dtype. A bad index leaves
/// `dst` as it is, or, where it is `fresh`, half written.
pub fn gather(src: AnySrc, axis: usize, index: Src<i64>, dst: AnyDst, fresh: bool) -> Result<(), IndexError> {
    let (size, along) = axis_of(src.shape(), src.strides(), axis);
    let place = place_in(&index, size, axis, fresh)?;
    let lines = Lines::new(
        index.shape(),
        axis,
        [src.strides(), dst.strides(), index.strides()],
        false,
    );
    let (units, grain) = lines.units();
    let bad = AtomicBool::new(false);
    by_size!(src.dtype(), T => {
        let (src, dst) = (raw::<T>(&src), Share::new(raw_mut::<T>(&dst).ptr()));
        parallel::for_range(units, grain, |range| {
            let mut offsets = Offsets::new();
            let mut good = true;
            lines.each(range, |[s, d, i], n, [ss, ds, is]| {
                // SAFETY: the walk stays inside the views; threads write disjoint elements.
                unsafe {
                    let from = Run { at: src.ptr().offset(s), step: ss };
                    let index = Run { at: index.ptr().offset(i), step: is };
                    let to = Run { at: dst.get().offset(d), step: ds };
                    good &= gather_run(&mut offsets, from, along, index, place, to, n);
                }
            });
            if !good {
                bad.store(true, Ordering::Relaxed);
            }
        });
    });
    if bad.into_inner() {
        return Err(culprit(&index, size, false, axis));
    }
    Ok(())
}

/// Hands each position of the index its place in `dst` and its source, in row-major order within each line along `axis`
/// (and so in order for each place). Threads take whole lines or strips of columns, which write different places. `written`:
/// `join` does not look at what was there. False if an index has no place.
#[allow(
    clippy::too_many_arguments,
    reason = "an index, what it leads to, and what is dealt out"
)]
fn deal<T: Copy + Send + Sync>(
    dst: Share<T>,
    strides: &[isize],
    axis: usize,
    place: Place,
    index: &Src<i64>,
    (from, steps): (*const T, &[isize]),
    written: bool,
    join: impl Fn(T, T) -> T + Sync,
) -> bool {
    let rank = strides.len();
    let along = if rank == 0 { 0 } else { strides[axis] };
    // Elements of `dst` that overlap (a stride of 0) would meet in two lines.
    let overlaps = (0..rank).any(|d| d != axis && strides[d] == 0 && index.shape()[d] > 1);
    let lines = Lines::new(index.shape(), axis, [strides, steps, index.strides()], overlaps);
    let (units, grain) = lines.units();
    let span = Span::new(&[place.size()], &[along], size_of::<T>(), written);
    let (from, index) = (Share::new(from.cast_mut()), Share::new(index.ptr().cast_mut()));
    let bad = AtomicBool::new(false);
    // Of a single line each thread takes a part of what is written, else each its units and all that these lead to.
    let parts = if units == 1 && lines.inner.rank() == 0 {
        span.parts(lines.n)
    } else {
        1
    };
    let (count, grain) = match parts {
        1 => (units, if overlaps { units } else { grain }),
        _ => (parts, 1),
    };
    parallel::for_range(count, grain, |range| {
        let (mut offsets, mut good) = (Offsets::new(), true);
        let (range, mine) = match parts {
            1 => (range, span.part(0..1, 1)),
            _ => (0..1, span.part(range, parts)),
        };
        lines.each(range, |[d, s, i], n, [ds, ss, is]| {
            // SAFETY: the walk stays inside the views, a place inside its dim.
            unsafe {
                let to = dst.get().offset(d);
                let from = Run {
                    at: from.get().offset(s).cast_const(),
                    step: ss,
                };
                let index = Run {
                    at: index.get().offset(i).cast_const(),
                    step: is,
                };
                if n < SHORT && parts == 1 {
                    good &= deal_short(Run { at: to, step: ds }, along, index, place, from, n, &join);
                    return;
                }
                for first in (0..n).step_by(BLOCK) {
                    let part = BLOCK.min(n - first);
                    good &= offsets.find(index.skip(first), part, place, along, ds, false);
                    // Where columns differ, they differ in what was led to as well.
                    let (to, start) = (to.offset(first as isize * ds), d + first as isize * ds);
                    mine.deal_out(to, start, offsets.of(part), from.skip(first), &join);
                }
            }
        });
        if !good {
            bad.store(true, Ordering::Relaxed);
        }
    });
    !bad.into_inner()
}

/// The places of an index; looked at only while they are used where what is written is `fresh`.
fn place_in(index: &Src<i64>, size: usize, axis: usize, fresh: bool) -> Result<Place, IndexError> {
    if fresh && size > 0 {
        Ok(Place::new(size, false))
    } else {
        check(index, size, false, axis)
    }
}

/// `dst[i…, index[i…, j, k…], k…] = source[i…, j, k…]`; of several values for one place the last stays. Any dtype. A bad
/// index leaves `dst` as it is, or, where it is `fresh`, half written.
pub fn scatter(dst: AnyDst, axis: usize, index: Src<i64>, source: Source, fresh: bool) -> Result<(), IndexError> {
    let (size, _) = axis_of(dst.shape(), dst.strides(), axis);
    let place = place_in(&index, size, axis, fresh)?;
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
        if !deal(out, dst.strides(), axis, place, &index, from, true, |_, v| v) {
            return Err(culprit(&index, size, false, axis));
        }
    });
    Ok(())
}

/// As [`scatter`], joining values by `op`; what `dst` held takes part where `include_self`. Added in index order.
#[allow(clippy::too_many_arguments)]
pub fn scatter_reduce(
    dst: AnyDst,
    axis: usize,
    index: Src<i64>,
    src: AnySrc,
    op: ScatterReduce,
    include_self: bool,
    fresh: bool,
) -> Result<(), IndexError> {
    let (size, _) = axis_of(dst.shape(), dst.strides(), axis);
    let place = place_in(&index, size, axis, fresh)?;
    let good = with_computed!(dst.dtype(), T => reduce_typed::<T>(&dst.typed(), axis, place, &index, &src.typed(), op, include_self));
    if good {
        Ok(())
    } else {
        Err(culprit(&index, size, false, axis))
    }
}

fn reduce_typed<T: Number>(
    dst: &Dst<T>,
    axis: usize,
    place: Place,
    index: &Src<i64>,
    src: &Src<T>,
    op: ScatterReduce,
    include_self: bool,
) -> bool {
    let (out, from) = (Share::new(dst.ptr()), (src.ptr(), src.strides()));
    if !include_self {
        let start = match op {
            ScatterReduce::Sum | ScatterReduce::Mean => T::from_i64(0),
            ScatterReduce::Prod => T::from_i64(1),
            ScatterReduce::Max => T::LOWEST,
            ScatterReduce::Min => T::HIGHEST,
        };
        deal(out, dst.strides(), axis, place, index, from, true, |_, _| start);
    }
    let good = match op {
        ScatterReduce::Sum | ScatterReduce::Mean => deal(out, dst.strides(), axis, place, index, from, false, T::plus),
        ScatterReduce::Prod => deal(out, dst.strides(), axis, place, index, from, false, T::times),
        ScatterReduce::Max => deal(out, dst.strides(), axis, place, index, from, false, T::larger),
        ScatterReduce::Min => deal(out, dst.strides(), axis, place, index, from, false, T::smaller),
    };
    if op == ScatterReduce::Mean {
        divide(dst, axis, place, index, include_self);
    }
    good
}

/// Divides each element by the number of values that were added up there.
fn divide<T: Number>(dst: &Dst<T>, axis: usize, place: Place, index: &Src<i64>, include_self: bool) {
    let dense = crate::reduce::walk::dense(dst.shape());
    scratch::with::<i64, _>(dst.numel(), |counts| {
        counts.fill(include_self as i64);
        let one = [1i64];
        let to = Share::new(counts.as_mut_ptr());
        let steps = &[0; MAX_RANK][..dst.rank()];
        deal(
            to,
            &dense[..dst.rank()],
            axis,
            place,
            index,
            (one.as_ptr(), steps),
            false,
            |a, b| a + b,
        );
        let walk = Walk::of(dst.shape(), [dst.strides()]).coalesce();
        let to = Share::new(dst.ptr());
        walk.runs(0..counts.len(), |first, [d], n, [step]| {
            over_run(to, [d, step], &counts[first..first + n])
        });
    });
}

multiversion! {
    fn over_run<T: Number>(to: Share<T>, at: [isize; 2], counts: &[i64]) {
        let [start, step] = at;
        // SAFETY: the caller's walk lies inside the view.
        unsafe {
            let to = to.get().offset(start);
            if step == 1 {
                for (i, &c) in counts.iter().enumerate() {
                    *to.add(i) = (*to.add(i)).over(if c > 1 { c } else { 1 });
                }
            } else {
                for (i, &c) in counts.iter().enumerate() {
                    let to = to.offset(i as isize * step);
                    *to = (*to).over(if c > 1 { c } else { 1 });
                }
            }
        }
    }
}
