//! One index per slice along a dim: index_select, index_add, index_copy, index_fill, and the gradient of an embedding.

use super::place::{GRAIN, Run, deal_out, pick};
use super::{IndexError, Number, axis_of, bits, by_size, checked, raw, raw_mut};
use crate::dtype::{Element, Scalar, with_computed};
use crate::elementwise::rows::{copy_row, copy_rows_at};
use crate::elementwise::walk::asks;
use crate::multiversion;
use crate::parallel;
use crate::reduce::walk::{Share, Walk, grain};
use crate::simd::prefetch;
use crate::view::{AnyDst, AnySrc, Src};

/// Columns of a slice that one thread takes at least, where slices overlap.
const COLUMNS: usize = 512;

/// Two views that agree but for the dim `axis`: the dims outside it, those inside it, and the innermost run of these.
struct Slices {
    outer: Walk<2>,
    inner: Walk<2>,
    run: usize,
    steps: [isize; 2],
    /// Strides of `axis`.
    along: [isize; 2],
}

impl Slices {
    fn new(shape: &[usize], axis: usize, a: &[isize], b: &[isize]) -> Self {
        let mut this = Self {
            outer: Walk::new(),
            inner: Walk::new(),
            run: 1,
            steps: [0; 2],
            along: [0; 2],
        };
        for (d, &n) in shape.iter().enumerate() {
            match d.cmp(&axis) {
                std::cmp::Ordering::Less => this.outer.push(n, [a[d], b[d]]),
                std::cmp::Ordering::Equal => this.along = [a[d], b[d]],
                std::cmp::Ordering::Greater => this.inner.push(n, [a[d], b[d]]),
            }
        }
        this.outer = this.outer.coalesce();
        this.inner = this.inner.coalesce();
        (this.run, this.steps) = this.inner.pop();
        this
    }

    /// Where the second view's places along the axis are, in elements.
    fn offsets(&self, at: &[usize]) -> Vec<isize> {
        at.iter().map(|&place| place as isize * self.along[1]).collect()
    }
}

/// Where each index leads, in elements.
fn offsets(index: &Src<i64>, size: usize, wrap: bool, axis: usize, along: isize) -> Result<Vec<isize>, IndexError> {
    let mut at: Vec<isize> = Vec::with_capacity(index.numel());
    for place in checked(index, size, wrap, axis)? {
        at.push(place as isize * along);
    }
    Ok(at)
}

/// `dst[…, j, …] = src[…, index[j], …]`; negative indices count from the end where they `wrap`. Any dtype.
pub fn index_select(src: AnySrc, axis: usize, index: Src<i64>, dst: AnyDst, wrap: bool) -> Result<(), IndexError> {
    let (size, along) = axis_of(src.shape(), src.strides(), axis);
    let at = offsets(&index, size, wrap, axis, along)?;
    if dst.numel() == 0 {
        return Ok(());
    }
    let slices = Slices::new(dst.shape(), axis, src.strides(), dst.strides());
    let (run, steps, step) = (slices.run, slices.steps, slices.along[1]);
    let (n, outer) = (at.len(), slices.outer.count());
    let work = slices.inner.count() * run;
    by_size!(src.dtype(), T => {
        let (from, to) = (raw::<T>(&src), Share::new(raw_mut::<T>(&dst).ptr()));
        if work == 1 {
            // Single elements: each line is gathered by the same index.
            parallel::for_range(outer, (GRAIN / n.max(1)).max(1), |range| {
                slices.outer.each(range, |_, [s, d]| {
                    // SAFETY: the walk stays inside the views; threads write disjoint lines.
                    unsafe { pick(from.ptr().offset(s), &at, Run { at: to.get().offset(d), step }) };
                });
            });
            return Ok(());
        }
        let rows = slices.inner.rank() == 0 && steps == [1, 1];
        let asks = asks(dst.numel() * size_of::<T>());
        parallel::for_range(outer * n, grain(work), |range| {
            let mut unit = range.start;
            while unit < range.end {
                let (o, first) = (unit / n, unit % n);
                let part = (n - first).min(range.end - unit);
                let [s, d] = slices.outer.at(o);
                let d = d + first as isize * step;
                let at = &at[first..first + part];
                if rows {
                    // SAFETY: the index was checked; the rest lies inside the walks.
                    unsafe { copy_rows_at(from.ptr().offset(s), at, to.get().offset(d), step, run, asks) };
                } else {
                    for (j, &at) in at.iter().enumerate() {
                        let (s, d) = (s + at, d + j as isize * step);
                        slices.inner.each(0..slices.inner.count(), |_, [si, di]| {
                            // SAFETY: as above.
                            unsafe { copy(from.ptr().offset(s + si), to.get().offset(d + di), run, steps) };
                        });
                    }
                }
                unit += part;
            }
        });
    });
    Ok(())
}

/// # Safety
/// Both pointers address `n` elements at their steps.
#[inline(always)]
unsafe fn copy<T: Copy>(from: *const T, to: *mut T, n: usize, steps: [isize; 2]) {
    // SAFETY: the caller's promise.
    unsafe {
        if steps == [1, 1] {
            copy_row(from, to, n);
        } else {
            for i in 0..n as isize {
                *to.offset(i * steps[1]) = *from.offset(i * steps[0]);
            }
        }
    }
}

/// `dst[…, index[j], …] = src[…, j, …]`; of several slices for one place the last stays. Any dtype.
pub fn index_copy(dst: AnyDst, axis: usize, index: Src<i64>, src: AnySrc) -> Result<(), IndexError> {
    let (size, _) = axis_of(dst.shape(), dst.strides(), axis);
    let at = checked(&index, size, false, axis)?;
    by_size!(dst.dtype(), T => {
        let to = Share::new(raw_mut::<T>(&dst).ptr());
        write::<T>(&dst, axis, &at, raw::<T>(&src).ptr(), src.strides(), to);
    });
    Ok(())
}

/// `dst[…, index[j], …] = value`; negative indices count from the end. Any dtype.
pub fn index_fill(dst: AnyDst, axis: usize, index: Src<i64>, value: Scalar) -> Result<(), IndexError> {
    let (size, _) = axis_of(dst.shape(), dst.strides(), axis);
    let at = checked(&index, size, true, axis)?;
    by_size!(dst.dtype(), T => {
        let value = [bits(value, dst.dtype()) as T];
        let to = Share::new(raw_mut::<T>(&dst).ptr());
        write::<T>(&dst, axis, &at, value.as_ptr(), &[0; 8][..dst.rank()], to);
    });
    Ok(())
}

fn write<T: Copy + Send + Sync>(
    dst: &AnyDst,
    axis: usize,
    at: &[usize],
    from: *const T,
    steps: &[isize],
    to: Share<T>,
) {
    let slices = Slices::new(dst.shape(), axis, steps, dst.strides());
    let from = Share::new(from.cast_mut());
    let work = slices.inner.count() * slices.run * at.len();
    if work == at.len() {
        let (at, step) = (slices.offsets(at), slices.along[0]);
        return parallel::for_range(slices.outer.count(), grain(work), |range| {
            slices.outer.each(range, |_, [s, d]| {
                // SAFETY: the index was checked; threads write disjoint lines.
                unsafe {
                    let from = Run {
                        at: from.get().offset(s).cast_const(),
                        step,
                    };
                    deal_out(to.get().offset(d), &at, from, false, &|_, v| v);
                }
            });
        });
    }
    let slice = |[s, d]: [isize; 2], j: usize| {
        let (s, d) = (s + j as isize * slices.along[0], d + at[j] as isize * slices.along[1]);
        slices.inner.each(0..slices.inner.count(), |_, [si, di]| {
            // SAFETY: the index was checked; the rest lies inside the walks.
            unsafe {
                copy(
                    from.get().offset(s + si),
                    to.get().offset(d + di),
                    slices.run,
                    slices.steps,
                )
            };
        });
    };
    let (outer, size) = (slices.outer.count(), dst.shape()[axis]);
    if parallel::threads() > 1 && outer == 1 && size <= work && work > grain(1) {
        // Threads share the slices that stay.
        let mut last = vec![usize::MAX; size];
        for (j, &place) in at.iter().enumerate() {
            last[place] = j;
        }
        let stay: Vec<usize> = (0..at.len()).filter(|&j| last[at[j]] == j).collect();
        let begin = slices.outer.at(0);
        return parallel::for_range(stay.len(), grain(work / at.len()), |range| {
            stay[range].iter().for_each(|&j| slice(begin, j));
        });
    }
    parallel::for_range(outer, grain(work), |range| {
        slices
            .outer
            .each(range, |_, begin| (0..at.len()).for_each(|j| slice(begin, j)));
    });
}

/// `dst[…, index[j], …] += alpha * src[…, j, …]`, in the order of the index.
pub fn index_add(dst: AnyDst, axis: usize, index: Src<i64>, src: AnySrc, alpha: Scalar) -> Result<(), IndexError> {
    let (size, _) = axis_of(dst.shape(), dst.strides(), axis);
    let at = checked(&index, size, false, axis)?;
    with_computed!(dst.dtype(), T => {
        let (from, to) = (src.typed::<T>(), Share::new(dst.typed::<T>().ptr()));
        let slices = Slices::new(dst.shape(), axis, from.strides(), dst.strides());
        add::<T>(&slices, &at, None, from.ptr(), to, alpha.to());
    });
    Ok(())
}

/// The gradient of `weight[index]`: row `index[j]` of `gw` is the sum of the rows `grad[j]`, in order; rows that no index
/// names, and that of `padding`, are zero. `grad` is `[n, d]`, `index` `[n]`, `gw` `[rows, d]`, of floats.
pub fn embedding_backward(grad: AnySrc, index: Src<i64>, gw: AnyDst, padding: Option<i64>) -> Result<(), IndexError> {
    let at = checked(&index, gw.shape()[0], false, 0)?;
    with_computed!(gw.dtype(), T => {
        let (from, to) = (grad.typed::<T>(), Share::new(gw.typed::<T>().ptr()));
        crate::elementwise::fill(gw, Scalar::Int(0));
        let slices = Slices::new(gw.shape(), 0, from.strides(), gw.strides());
        let skip = padding.and_then(|p| usize::try_from(p).ok());
        add::<T>(&slices, &at, skip, from.ptr(), to, T::from_i64(1));
    });
    Ok(())
}

/// Threads take columns of the innermost run, so that each place is added to by one thread, in order.
fn add<T: Number>(slices: &Slices, at: &[usize], skip: Option<usize>, from: *const T, to: Share<T>, alpha: T) {
    let strips = slices.run.div_ceil(COLUMNS);
    let from = Share::new(from.cast_mut());
    if slices.run == 1 && slices.inner.rank() == 0 {
        // Without the skipped place, whatever it is.
        let (at, step) = (slices.offsets(at), slices.along[0]);
        let skip = skip.map(|p| p as isize * slices.along[1]);
        return parallel::for_range(slices.outer.count(), grain(at.len()), |range| {
            slices.outer.each(range, |_, [s, d]| {
                // SAFETY: the index was checked; threads write disjoint lines.
                unsafe {
                    let (from, to) = (from.get().offset(s), to.get().offset(d));
                    if skip.is_none() {
                        let from = Run {
                            at: from.cast_const(),
                            step,
                        };
                        return deal_out(to, &at, from, false, &|a: T, b: T| a.plus(b.times(alpha)));
                    }
                    for (j, &at) in at.iter().enumerate() {
                        if skip != Some(at) {
                            let place = to.offset(at);
                            *place = (*place).plus((*from.offset(j as isize * step)).times(alpha));
                        }
                    }
                }
            });
        });
    }
    let work = slices.inner.count() * slices.run.min(COLUMNS) * at.len();
    parallel::for_range(slices.outer.count() * strips, grain(work), |range| {
        for unit in range {
            let [s, d] = slices.outer.at(unit / strips);
            let first = unit % strips * COLUMNS;
            let n = COLUMNS.min(slices.run - first);
            if slices.inner.rank() == 0 && slices.steps == [1, 1] {
                let start = [s + first as isize, d + first as isize];
                add_rows(from, to, start, at, skip.unwrap_or(usize::MAX), slices.along, n, alpha);
                continue;
            }
            for (j, &place) in at.iter().enumerate() {
                if skip == Some(place) {
                    continue;
                }
                let s = s + j as isize * slices.along[0] + first as isize * slices.steps[0];
                let d = d + place as isize * slices.along[1] + first as isize * slices.steps[1];
                slices.inner.each(0..slices.inner.count(), |_, [si, di]| {
                    add_run(from, to, [s + si, d + di], n, slices.steps, alpha);
                });
            }
        }
    });
}

/// How many rows ahead the one to be added to is asked for.
const AHEAD: usize = 6;

multiversion! {
    fn add_rows<T: Number>(
        from: Share<T>, to: Share<T>, start: [isize; 2], at: &[usize], skip: usize, along: [isize; 2], n: usize, alpha: T,
    ) {
        // SAFETY: the caller's walks lie inside both views, for rows of `n` elements at each place.
        unsafe {
            let (from, to) = (from.get().offset(start[0]), to.get().offset(start[1]));
            for (j, &place) in at.iter().enumerate() {
                if let Some(&next) = at.get(j + AHEAD) {
                    let next = to.wrapping_offset(next as isize * along[1]);
                    for line in (0..n * size_of::<T>()).step_by(64) {
                        prefetch(next.cast::<u8>().wrapping_add(line));
                    }
                }
                if place == skip {
                    continue;
                }
                let (from, to) = (from.offset(j as isize * along[0]), to.offset(place as isize * along[1]));
                for i in 0..n {
                    *to.add(i) = (*to.add(i)).plus((*from.add(i)).times(alpha));
                }
            }
        }
    }
}

multiversion! {
    fn add_run<T: Number>(from: Share<T>, to: Share<T>, at: [isize; 2], n: usize, steps: [isize; 2], alpha: T) {
        // SAFETY: the caller's walks lie inside both views, for n elements at the steps.
        unsafe {
            let (from, to) = (from.get().offset(at[0]), to.get().offset(at[1]));
            if steps == [1, 1] {
                for i in 0..n {
                    *to.add(i) = (*to.add(i)).plus((*from.add(i)).times(alpha));
                }
            } else {
                for i in 0..n as isize {
                    let place = to.offset(i * steps[1]);
                    *place = (*place).plus((*from.offset(i * steps[0])).times(alpha));
                }
            }
        }
    }
}
