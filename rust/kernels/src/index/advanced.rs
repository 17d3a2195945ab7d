//! Indexing by several index tensors, and triangles.

use super::place::{BLOCK, Offsets, Place, Run, Span, check, culprit, pick};
use super::{IndexError, Number, by_size, raw, raw_mut};
use crate::dtype::with_computed;
use crate::elementwise::rows::copy_rows_at;
use crate::elementwise::walk::asks;
use crate::parallel;
use crate::reduce::walk::{Share, Walk, grain};
use crate::view::{AnyDst, AnySrc, MAX_RANK, Src};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Indices of several dims, and what they lead to in a view whose leading dims they index; negative ones wrap.
struct Places<'a> {
    dims: Vec<(Src<'a, i64>, Walk<1>, Place, isize)>,
}

impl<'a> Places<'a> {
    /// Without a check where the result is `fresh`: then the places are looked at while they are used.
    fn new(shape: &[usize], strides: &[isize], indices: &[Src<'a, i64>], fresh: bool) -> Result<Self, IndexError> {
        let dims = indices.iter().enumerate().map(|(dim, index)| {
            let place = if fresh && shape[dim] > 0 {
                Place::new(shape[dim], true)
            } else {
                check(index, shape[dim], true, dim)?
            };
            let walk = Walk::of(index.shape(), [index.strides()]).coalesce();
            Ok((*index, walk, place, strides[dim]))
        });
        Ok(Places {
            dims: dims.collect::<Result<_, _>>()?,
        })
    }

    /// The offsets of at most `BLOCK` positions, and whether all their indices are good.
    #[inline(always)]
    fn offsets(&self, range: Range<usize>, block: &mut Offsets) -> bool {
        let (start, mut good) = (range.start, true);
        if let [(index, walk, place, stride)] = &self.dims[..]
            && walk.rank() <= 1
        {
            let step = walk.last().1[0];
            let index = Run { at: index.ptr(), step };
            // SAFETY: the walk is one run, of which the range is a part.
            return unsafe { block.find(index.skip(start), range.len(), *place, *stride, 0, false) };
        }
        block.clear(range.len());
        for (index, walk, place, stride) in &self.dims {
            walk.runs(range.clone(), |first, [at], n, [step]| {
                // SAFETY: the walk stays inside the index.
                good &= unsafe {
                    let index = Run {
                        at: index.ptr().offset(at),
                        step,
                    };
                    block.add(first - start, index, n, *place, *stride)
                };
            });
        }
        good
    }

    /// The error for the first dim that has a bad index.
    fn culprit(&self) -> IndexError {
        for (dim, (index, _, place, _)) in self.dims.iter().enumerate() {
            if let Err(e) = check(index, place.size(), true, dim) {
                return e;
            }
        }
        let (index, _, place, _) = &self.dims[0];
        culprit(index, place.size(), true, 0)
    }
}

/// The dims after the indexed ones, of the indexed view and of the one with the indices' shape in front.
fn rest(shape: &[usize], k: usize, lead: usize, a: &[isize], b: &[isize]) -> Walk<2> {
    Walk::of(&shape[k..], [&a[k..], &b[lead..]]).coalesce()
}

/// Moves the first dim of a view's strides or shape to `to`.
fn moved<T: Copy + Default>(of: &[T], to: usize) -> [T; MAX_RANK] {
    let mut all = [T::default(); MAX_RANK];
    all[..of.len()].copy_from_slice(of);
    all[..=to].rotate_left(1);
    all
}

/// `dst[p…, r…] = src[i1[p…], …, ik[p…], r…]`: the k indices have one shape S, and index the leading dims of `src`;
/// `dst` has the shape S followed by the dims of `src` after the k-th. Negative indices wrap. Any dtype. A bad index
/// leaves `dst` as it is, or, where it is `fresh`, half written.
pub fn index_get(src: AnySrc, indices: &[Src<i64>], dst: AnyDst, fresh: bool) -> Result<(), IndexError> {
    let k = indices.len();
    let lead = indices[0].rank();
    if k == 1 && lead == 1 && dst.rank() > 1 {
        // The index's dim may lie further in: then it is indexed there.
        let step = dst.strides()[0].unsigned_abs();
        let axis = dst.strides()[1..]
            .iter()
            .take_while(|s| s.unsigned_abs() > step)
            .count();
        if axis > 0 {
            let rank = dst.rank();
            let (a, b) = (moved(src.shape(), axis), moved(src.strides(), axis));
            let (c, d) = (moved(dst.shape(), axis), moved(dst.strides(), axis));
            // SAFETY: the same elements, their dims in another order.
            let (from, to) = unsafe {
                (
                    AnySrc::new(src.ptr(), src.dtype(), &a[..rank], &b[..rank]),
                    AnyDst::new(dst.ptr(), dst.dtype(), &c[..rank], &d[..rank]),
                )
            };
            return super::index_select(from, axis, indices[0], to, true).map_err(|e| IndexError { dim: 0, ..e });
        }
    }
    let places = Places::new(src.shape(), src.strides(), indices, fresh)?;
    let front = Walk::of(&dst.shape()[..lead], [&dst.strides()[..lead]]).coalesce();
    let rest = rest(src.shape(), k, lead, src.strides(), dst.strides());
    let count = rest.count();
    if count == 0 {
        return check_all(indices, src.shape());
    }
    let bad = AtomicBool::new(false);
    by_size!(src.dtype(), T => {
        let (from, to) = (raw::<T>(&src), Share::new(raw_mut::<T>(&dst).ptr()));
        let asks = asks(dst.numel() * size_of::<T>());
        parallel::for_range(front.count(), grain(2 * count), |range| {
            let mut block = Offsets::new();
            for start in range.clone().step_by(BLOCK) {
                let part = start..range.end.min(start + BLOCK);
                if !places.offsets(part.clone(), &mut block) {
                    bad.store(true, Ordering::Relaxed);
                }
                front.runs(part, |first, [d], n, [step]| {
                    let at = &block.of(BLOCK)[first - start..][..n];
                    // SAFETY: offsets lead to places of the dims; the rest lies inside the walks.
                    unsafe {
                        if count == 1 {
                            pick(from.ptr(), at, Run { at: to.get().offset(d), step });
                        } else if rest.last() == (count, [1, 1]) {
                            copy_rows_at(from.ptr(), at, to.get().offset(d), step, count, asks);
                        } else {
                            for (j, at) in at.iter().enumerate() {
                                let d = d + j as isize * step;
                                rest.runs(0..count, |_, [s, r], n, steps| {
                                    let (from, to) = (from.ptr().offset(at + s), to.get().offset(d + r));
                                    for i in 0..n as isize {
                                        *to.offset(i * steps[1]) = *from.offset(i * steps[0]);
                                    }
                                });
                            }
                        }
                    }
                });
            }
        });
    });
    if bad.into_inner() {
        return Err(places.culprit());
    }
    Ok(())
}

/// Indices of which no element is asked for.
fn check_all(indices: &[Src<i64>], shape: &[usize]) -> Result<(), IndexError> {
    indices
        .iter()
        .enumerate()
        .try_for_each(|(dim, index)| check(index, shape[dim], true, dim).map(|_| ()))
}

/// `dst[i1[p…], …, ik[p…], r…] = values[p…, r…]`, or `+=`: the mirror of [`index_get`]. In the order of the indices.
pub fn index_put(dst: AnyDst, indices: &[Src<i64>], values: AnySrc, accumulate: bool) -> Result<(), IndexError> {
    let at = Places::new(dst.shape(), dst.strides(), indices, false)?;
    if accumulate {
        with_computed!(dst.dtype(), T => put(&dst, indices, &at, &values, (values.typed::<T>().ptr(), dst.typed::<T>().ptr()), true, T::plus));
    } else {
        by_size!(dst.dtype(), T => put(&dst, indices, &at, &values, (raw::<T>(&values).ptr(), raw_mut::<T>(&dst).ptr()), false, |_, v| v));
    }
    Ok(())
}

fn put<T: Copy + Send + Sync>(
    dst: &AnyDst,
    indices: &[Src<i64>],
    places: &Places,
    values: &AnySrc,
    (from, to): (*const T, *mut T),
    accumulate: bool,
    join: impl Fn(T, T) -> T + Sync,
) {
    let (k, lead) = (indices.len(), indices[0].rank());
    let front = Walk::of(&values.shape()[..lead], [&values.strides()[..lead]]).coalesce();
    let rest = rest(dst.shape(), k, lead, dst.strides(), values.strides());
    let count = rest.count();
    let span = Span::new(dst.shape(), dst.strides(), size_of::<T>(), !accumulate);
    let parts = if count == 1 { span.parts(front.count()) } else { 1 };
    let (from, to) = (Share::new(from.cast_mut()), Share::new(to));
    parallel::for_range(parts, 1, |range| {
        let (from, to) = (from.get().cast_const(), to.get());
        let mine = span.part(range, parts);
        let mut block = Offsets::new();
        for start in (0..front.count()).step_by(BLOCK) {
            let part = start..front.count().min(start + BLOCK);
            places.offsets(part.clone(), &mut block);
            front.runs(part, |first, [s], n, [step]| {
                let at = &block.of(BLOCK)[first - start..][..n];
                // SAFETY: offsets lead to places of the dims; the rest lies inside the walks; threads write disjoint parts.
                unsafe {
                    if count == 1 {
                        let at_first = from.offset(s);
                        return mine.deal_out(to, 0, at, Run { at: at_first, step }, &join);
                    }
                    for (j, &at) in at.iter().enumerate() {
                        let s = s + j as isize * step;
                        rest.runs(0..count, |_, [d, r], n, steps| {
                            join_run(to.offset(at + d), from.offset(s + r), n, steps, &join)
                        });
                    }
                }
            });
        }
    });
}

/// `to[i] = join(to[i], from[i])` for `n` elements at their steps.
///
/// # Safety
/// Both sides have them.
#[inline(always)]
unsafe fn join_run<T: Copy>(to: *mut T, from: *const T, n: usize, steps: [isize; 2], join: &impl Fn(T, T) -> T) {
    // SAFETY: the caller's promise.
    unsafe {
        if steps == [1, 1] {
            for i in 0..n {
                *to.add(i) = join(*to.add(i), *from.add(i));
            }
        } else {
            for i in 0..n as isize {
                let to = to.offset(i * steps[0]);
                *to = join(*to, *from.offset(i * steps[1]));
            }
        }
    }
}

/// The lower triangle of the last two dims: zero above diagonal `k`. Any dtype.
pub fn tril(src: AnySrc, k: i64, dst: AnyDst) {
    triangle(src, dst, |row, cols| {
        (0, row.saturating_add(k).saturating_add(1).clamp(0, cols))
    });
}

/// The upper triangle of the last two dims: zero below diagonal `k`. Any dtype.
pub fn triu(src: AnySrc, k: i64, dst: AnyDst) {
    triangle(src, dst, |row, cols| (row.saturating_add(k).clamp(0, cols), cols));
}

/// `keep` gives the columns of a row that are kept.
fn triangle(src: AnySrc, dst: AnyDst, keep: impl Fn(i64, i64) -> (i64, i64) + Sync) {
    let r = src.rank();
    let (rows, cols) = (src.shape()[r - 2], src.shape()[r - 1]);
    let (ss, ds) = (src.strides()[r - 1], dst.strides()[r - 1]);
    let walk = Walk::of(
        &src.shape()[..r - 1],
        [&src.strides()[..r - 1], &dst.strides()[..r - 1]],
    );
    by_size!(src.dtype(), T => {
        let (from, to) = (raw::<T>(&src), Share::new(raw_mut::<T>(&dst).ptr()));
        parallel::for_range(walk.count(), grain(cols), |range| {
            walk.each(range, |i, [s, d]| {
                let (first, end) = keep((i % rows) as i64, cols as i64);
                // SAFETY: a row of the walk, `cols` wide.
                unsafe {
                    let (from, to) = (from.ptr().offset(s), to.get().offset(d));
                    if ds == 1 {
                        std::slice::from_raw_parts_mut(to, first as usize).fill(0);
                        std::slice::from_raw_parts_mut(to.offset(end as isize), (cols as i64 - end) as usize).fill(0);
                    } else {
                        for c in (0..first).chain(end..cols as i64) {
                            *to.offset(c as isize * ds) = 0;
                        }
                    }
                    if [ss, ds] == [1; 2] {
                        std::ptr::copy(from.offset(first as isize), to.offset(first as isize), (end - first) as usize);
                    } else {
                        for c in first..end {
                            *to.offset(c as isize * ds) = *from.offset(c as isize * ss);
                        }
                    }
                }
            });
        });
    });
}
