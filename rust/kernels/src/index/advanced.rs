//! Indexing by several index tensors, by masks and by position.

use super::place::{GRAIN, Place, Run, check, gather_run};
use super::{IndexError, Number, by_number, by_size, raw, raw_mut};
use crate::dtype::{Bool, DType};
use crate::parallel;
use crate::reduce::walk::{Share, Walk, grain};
use crate::view::{AnyDst, AnySrc, Src};
use std::ops::Range;

/// Positions whose offsets are worked out together.
const BLOCK: usize = 512;

/// Where each position of the indices' shape lies in a view whose leading dims they index; negative ones wrap.
struct Places<'a> {
    dims: Vec<(Src<'a, i64>, Walk<1>, Place, isize)>,
}

impl<'a> Places<'a> {
    fn new(shape: &[usize], strides: &[isize], indices: &[Src<'a, i64>]) -> Result<Self, IndexError> {
        let dims = indices.iter().enumerate().map(|(dim, index)| {
            let place = check(index, shape[dim], true, dim)?;
            let walk = Walk::of(index.shape(), [index.strides()]).coalesce();
            Ok((*index, walk, place, strides[dim]))
        });
        Ok(Places {
            dims: dims.collect::<Result<_, _>>()?,
        })
    }

    /// The offsets of at most `BLOCK` positions.
    fn offsets<'b>(&self, range: Range<usize>, block: &'b mut [isize; BLOCK]) -> &'b [isize] {
        let start = range.start;
        let block = &mut block[..range.len()];
        block.fill(0);
        for (index, walk, place, stride) in &self.dims {
            walk.runs(range.clone(), |first, [at], n, [step]| {
                for (j, to) in block[first - start..][..n].iter_mut().enumerate() {
                    // SAFETY: the walk stays inside the index.
                    let i = unsafe { *index.ptr().offset(at + j as isize * step) };
                    *to += place.of(i) as isize * stride;
                }
            });
        }
        block
    }
}

/// The dims after the indexed ones, of the indexed view and of the one with the indices' shape in front.
fn rest(shape: &[usize], k: usize, lead: usize, a: &[isize], b: &[isize]) -> Walk<2> {
    Walk::of(&shape[k..], [&a[k..], &b[lead..]]).coalesce()
}

/// `dst[p…, r…] = src[i1[p…], …, ik[p…], r…]`: the k indices have one shape S, and index the leading dims of `src`;
/// `dst` has the shape S followed by the dims of `src` after the k-th. Negative indices wrap. Any dtype.
pub fn index_get(src: AnySrc, indices: &[Src<i64>], dst: AnyDst) -> Result<(), IndexError> {
    let k = indices.len();
    let places = Places::new(src.shape(), src.strides(), indices)?;
    let lead = indices[0].rank();
    let front = Walk::of(&dst.shape()[..lead], [&dst.strides()[..lead]]).coalesce();
    let rest = rest(src.shape(), k, lead, src.strides(), dst.strides());
    let count = rest.count();
    if count == 0 {
        return Ok(());
    }
    if k == 1 && count == 1 {
        single(src, indices[0], places.dims[0].2, dst, lead);
        return Ok(());
    }
    by_size!(src.dtype(), T => {
        let (from, to) = (raw::<T>(&src), Share::new(raw_mut::<T>(&dst).ptr()));
        parallel::for_range(front.count(), grain(4 * count), |range| {
            let mut block = [0; BLOCK];
            for start in range.clone().step_by(BLOCK) {
                let part = start..range.end.min(start + BLOCK);
                let at = places.offsets(part.clone(), &mut block);
                front.each(part, |i, [d]| {
                    let at = at[i - start];
                    // SAFETY: the indices were checked; the rest lies inside the walks.
                    unsafe {
                        if count == 1 {
                            *to.get().offset(d) = *from.ptr().offset(at);
                        } else if rest.last() == (count, [1, 1]) {
                            std::ptr::copy_nonoverlapping(from.ptr().offset(at), to.get().offset(d), count);
                        } else {
                            rest.each(0..count, |_, [s, r]| *to.get().offset(d + r) = *from.ptr().offset(at + s));
                        }
                    }
                });
            }
        });
    });
    Ok(())
}

/// [`index_get`] of single elements by one index.
fn single(src: AnySrc, index: Src<i64>, place: Place, dst: AnyDst, lead: usize) {
    let along = src.strides()[0];
    let walk = Walk::of(&dst.shape()[..lead], [&dst.strides()[..lead], index.strides()]).coalesce();
    by_size!(src.dtype(), T => {
        let (from, to) = (raw::<T>(&src), Share::new(raw_mut::<T>(&dst).ptr()));
        parallel::for_range(walk.count(), GRAIN, |range| {
            walk.runs(range, |_, [d, i], n, [ds, is]| {
                // SAFETY: the walk stays inside the views; threads write disjoint elements.
                unsafe {
                    let from = Run { at: from.ptr(), step: 0 };
                    let index = Run { at: index.ptr().offset(i), step: is };
                    gather_run(from, along, index, place, Run { at: to.get().offset(d), step: ds }, n);
                }
            });
        });
    });
}

/// `dst[i1[p…], …, ik[p…], r…] = values[p…, r…]`, or `+=`: the mirror of [`index_get`]. In the order of the indices.
pub fn index_put(dst: AnyDst, indices: &[Src<i64>], values: AnySrc, accumulate: bool) -> Result<(), IndexError> {
    let at = Places::new(dst.shape(), dst.strides(), indices)?;
    if accumulate {
        by_number!(dst.dtype(), T => put(&dst, indices, &at, &values, values.typed::<T>().ptr(), dst.typed::<T>().ptr(), T::plus));
    } else {
        by_size!(dst.dtype(), T => put(&dst, indices, &at, &values, raw::<T>(&values).ptr(), raw_mut::<T>(&dst).ptr(), |_, v| v));
    }
    Ok(())
}

fn put<T: Copy>(
    dst: &AnyDst,
    indices: &[Src<i64>],
    places: &Places,
    values: &AnySrc,
    from: *const T,
    to: *mut T,
    join: impl Fn(T, T) -> T,
) {
    let (k, lead) = (indices.len(), indices[0].rank());
    let front = Walk::of(&values.shape()[..lead], [&values.strides()[..lead]]).coalesce();
    let rest = rest(dst.shape(), k, lead, dst.strides(), values.strides());
    let count = rest.count();
    let mut block = [0; BLOCK];
    for start in (0..front.count()).step_by(BLOCK) {
        let part = start..front.count().min(start + BLOCK);
        let at = places.offsets(part.clone(), &mut block);
        front.each(part, |i, [s]| {
            let at = at[i - start];
            rest.each(0..count, |_, [d, r]| {
                // SAFETY: the indices were checked; the rest lies inside the walks.
                unsafe {
                    let place = to.offset(at + d);
                    *place = join(*place, *from.offset(s + r));
                }
            });
        });
    }
}

/// The elements where `mask` (of `src`'s shape) is true, in row-major order; stops when `dst`, of rank 1, is full.
/// Returns how many there were. Any dtype.
pub fn masked_select(src: AnySrc, mask: Src<Bool>, dst: AnyDst) -> usize {
    let room = dst.shape()[0];
    let step = dst.strides()[0];
    let walk = Walk::of(src.shape(), [src.strides(), mask.strides()]).coalesce();
    let mut n = 0;
    by_size!(src.dtype(), T => {
        let (from, to) = (raw::<T>(&src).ptr(), raw_mut::<T>(&dst).ptr());
        walk.runs(0..walk.count(), |_, [s, m], run, [ss, ms]| {
            for j in 0..run as isize {
                if n == room {
                    return;
                }
                // Written whether or not it is wanted: the next one then takes its place. No branch on the mask.
                // SAFETY: the walk stays inside the views; `n < room`.
                unsafe {
                    *to.offset(n as isize * step) = *from.offset(s + j * ss);
                    n += (*mask.ptr().offset(m + j * ms)).get() as usize;
                }
            }
        });
    });
    n
}

/// Puts the elements of `src`, in row-major order, where `mask` (of `dst`'s shape) is true. False, and nothing written,
/// when `src` has too few. Any dtype.
pub fn masked_scatter(dst: AnyDst, mask: Src<Bool>, src: AnySrc) -> bool {
    let mask = crate::reduce::walk::collect(&mask);
    let need = mask.iter().filter(|m| m.get()).count();
    if need > src.numel() {
        return false;
    }
    let walk = Walk::of(dst.shape(), [dst.strides()]).coalesce();
    let from = Walk::of(src.shape(), [src.strides()]).coalesce();
    by_size!(dst.dtype(), T => {
        let values = {
            let mut values = Vec::with_capacity(need);
            // SAFETY: the walk stays inside the view.
            from.each(0..need, |_, [s]| values.push(unsafe { *raw::<T>(&src).ptr().offset(s) }));
            values
        };
        let to = raw_mut::<T>(&dst).ptr();
        let Some(last) = need.checked_sub(1) else { return true };
        let mut next = 0;
        walk.each(0..mask.len(), |i, [d]| {
            let wanted = mask[i].get();
            // SAFETY: the walk stays inside the view.
            unsafe {
                let old = *to.offset(d);
                *to.offset(d) = std::hint::select_unpredictable(wanted, values[next.min(last)], old);
            }
            next += wanted as usize;
        });
    });
    true
}

/// The coordinates of the elements that are not zero, one row of `rank` numbers each, in row-major order.
pub fn nonzero(src: AnySrc) -> Vec<i64> {
    by_number!(src.dtype(), T => nonzero_typed::<T>(&src.typed()))
}

fn nonzero_typed<T: Number>(src: &Src<T>) -> Vec<i64> {
    let rank = src.rank();
    let count = crate::reduce::count_nonzero(src_any(src));
    if rank == 0 {
        return Vec::new();
    }
    // Room for one row more, which is written and not wanted.
    let mut rows = vec![0i64; (count + 1) * rank];
    let mut n = 0;
    // Not coalesced, and with dims of size 1: positions must be those of the view's own dims.
    let last = rank - 1;
    let (width, step) = (src.shape()[last], src.strides()[last]);
    let outer = Walk::of(&src.shape()[..last], [&src.strides()[..last]]);
    let zero = T::from_i64(0);
    if width == 0 {
        return Vec::new();
    }
    let mut coord = [0i64; 8];
    outer.each(0..outer.count(), |_, [at]| {
        for j in 0..width as isize {
            if n > count {
                return;
            }
            let row = &mut rows[n * rank..][..rank];
            row[..last].copy_from_slice(&coord[..last]);
            row[last] = j as i64;
            // SAFETY: the walk stays inside the view.
            n += (unsafe { *src.ptr().offset(at + j * step) } != zero) as usize;
        }
        for d in (0..last).rev() {
            coord[d] += 1;
            if coord[d] < src.shape()[d] as i64 {
                break;
            }
            coord[d] = 0;
        }
    });
    rows.truncate(n.min(count) * rank);
    rows
}

fn src_any<'a, T: Number>(src: &Src<'a, T>) -> AnySrc<'a> {
    // SAFETY: the same memory and type.
    unsafe { AnySrc::new(src.ptr().cast(), T::DTYPE, src.shape(), src.strides()) }
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
                    for c in (0..first).chain(end..cols as i64) {
                        *to.offset(c as isize * ds) = 0;
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
