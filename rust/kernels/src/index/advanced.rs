//! Indexing by several index tensors, by masks and by position.

use super::{IndexError, Number, by_number, by_size, checked, raw, raw_mut};
use crate::dtype::{Bool, DType};
use crate::parallel;
use crate::reduce::walk::{Share, Walk, grain};
use crate::view::{AnyDst, AnySrc, Src};

/// Where each position of the indices' shape lies in a view whose leading dims they index; negative ones wrap.
fn places(shape: &[usize], strides: &[isize], indices: &[Src<i64>]) -> Result<Vec<isize>, IndexError> {
    let mut at: Vec<isize> = Vec::new();
    for (dim, index) in indices.iter().enumerate() {
        let checked = checked(index, shape[dim], true, dim)?;
        if dim == 0 {
            at = checked.iter().map(|&i| i as isize * strides[0]).collect();
        } else {
            for (a, i) in at.iter_mut().zip(checked) {
                *a += i as isize * strides[dim];
            }
        }
    }
    Ok(at)
}

/// The dims after the indexed ones, of the indexed view and of the one with the indices' shape in front.
fn rest(shape: &[usize], k: usize, lead: usize, a: &[isize], b: &[isize]) -> Walk<2> {
    Walk::of(&shape[k..], [&a[k..], &b[lead..]]).coalesce()
}

/// `dst[p…, r…] = src[i1[p…], …, ik[p…], r…]`: the k indices have one shape S, and index the leading dims of `src`;
/// `dst` has the shape S followed by the dims of `src` after the k-th. Negative indices wrap. Any dtype.
pub fn index_get(src: AnySrc, indices: &[Src<i64>], dst: AnyDst) -> Result<(), IndexError> {
    let k = indices.len();
    let at = places(src.shape(), src.strides(), indices)?;
    let lead = indices[0].rank();
    let front = Walk::of(&dst.shape()[..lead], [&dst.strides()[..lead]]).coalesce();
    let rest = rest(src.shape(), k, lead, src.strides(), dst.strides());
    let count = rest.count();
    if count == 0 {
        return Ok(());
    }
    by_size!(src.dtype(), T => {
        let (from, to) = (raw::<T>(&src), Share::new(raw_mut::<T>(&dst).ptr()));
        parallel::for_range(at.len(), grain(4 * count), |range| {
            front.each(range, |i, [d]| {
                // SAFETY: the indices were checked; the rest lies inside the walks.
                unsafe {
                    if count == 1 {
                        *to.get().offset(d) = *from.ptr().offset(at[i]);
                    } else if rest.last() == (count, [1, 1]) {
                        std::ptr::copy_nonoverlapping(from.ptr().offset(at[i]), to.get().offset(d), count);
                    } else {
                        rest.each(0..count, |_, [s, r]| *to.get().offset(d + r) = *from.ptr().offset(at[i] + s));
                    }
                }
            });
        });
    });
    Ok(())
}

/// `dst[i1[p…], …, ik[p…], r…] = values[p…, r…]`, or `+=`: the mirror of [`index_get`]. In the order of the indices.
pub fn index_put(dst: AnyDst, indices: &[Src<i64>], values: AnySrc, accumulate: bool) -> Result<(), IndexError> {
    let at = places(dst.shape(), dst.strides(), indices)?;
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
    at: &[isize],
    values: &AnySrc,
    from: *const T,
    to: *mut T,
    join: impl Fn(T, T) -> T,
) {
    let (k, lead) = (indices.len(), indices[0].rank());
    let front = Walk::of(&values.shape()[..lead], [&values.strides()[..lead]]).coalesce();
    let rest = rest(dst.shape(), k, lead, dst.strides(), values.strides());
    let count = rest.count();
    front.each(0..at.len(), |i, [s]| {
        rest.each(0..count, |_, [d, r]| {
            // SAFETY: the indices were checked; the rest lies inside the walks.
            unsafe {
                let place = to.offset(at[i] + d);
                *place = join(*place, *from.offset(s + r));
            }
        });
    });
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
        walk.each(0..walk.count(), |_, [s, m]| {
            // SAFETY: the walk stays inside the views; `n < room`.
            unsafe {
                if (*mask.ptr().offset(m)).get() && n < room {
                    *to.offset(n as isize * step) = *from.offset(s);
                    n += 1;
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
        let mut next = values.into_iter();
        walk.each(0..mask.len(), |i, [d]| {
            if mask[i].get()
                && let Some(v) = next.next()
            {
                // SAFETY: the walk stays inside the view.
                unsafe { *to.offset(d) = v };
            }
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
    let mut rows = Vec::new();
    // Not coalesced: positions must be those of the view's own dims.
    let walk = Walk::of(src.shape(), [src.strides()]);
    let zero = T::from_i64(0);
    walk.each(0..src.numel(), |i, [at]| {
        // SAFETY: the walk stays inside the view.
        if unsafe { *src.ptr().offset(at) } != zero {
            let first = rows.len();
            rows.resize(first + rank, 0);
            let mut rest = i;
            for d in (0..rank).rev() {
                rows[first + d] = (rest % src.shape()[d]) as i64;
                rest /= src.shape()[d];
            }
        }
    });
    rows
}

/// The lower triangle of the last two dims: zero above diagonal `k`. Any dtype.
pub fn tril(src: AnySrc, k: i64, dst: AnyDst) {
    triangle(src, dst, |row, col| col.saturating_sub(row) <= k);
}

/// The upper triangle of the last two dims: zero below diagonal `k`. Any dtype.
pub fn triu(src: AnySrc, k: i64, dst: AnyDst) {
    triangle(src, dst, |row, col| col.saturating_sub(row) >= k);
}

fn triangle(src: AnySrc, dst: AnyDst, keep: impl Fn(i64, i64) -> bool + Sync) {
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
                let row = (i % rows) as i64;
                for c in 0..cols as isize {
                    // SAFETY: a row of the walk, `cols` wide.
                    unsafe {
                        let v = *from.ptr().offset(s + c * ss);
                        *to.get().offset(d + c * ds) = if keep(row, c as i64) { v } else { 0 };
                    }
                }
            });
        });
    });
}
