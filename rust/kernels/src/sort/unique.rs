//! Unique values of a whole view.

use super::keys::{Entry, Sortable, sort_entries};
use super::{FEW, pack, span};
use crate::dtype::with_computed;
use crate::reduce::walk::{Walk, collect};
use crate::scratch;
use crate::view::{AnySrc, Src};

/// Groups of equal elements; each NaN is a group of its own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Unique {
    /// Where in row-major order each group's first element is.
    pub first: Vec<i64>,
    /// The size of each group.
    pub counts: Vec<i64>,
}

/// Groups of equal elements in ascending order of their values. `inverse`, where it is given, gets the group of each
/// element.
pub fn unique_sorted(src: AnySrc, inverse: Option<&mut [i64]>) -> Unique {
    with_computed!(src.dtype(), T => with_line::<T, _>(&src.typed(), |all| sorted(all, inverse)))
}

/// Groups of equal neighbours, in the order they come.
pub fn unique_consecutive(src: AnySrc, inverse: Option<&mut [i64]>) -> Unique {
    with_computed!(src.dtype(), T => with_line::<T, _>(&src.typed(), |all| consecutive(all, inverse)))
}

/// The elements side by side, in row-major order.
fn with_line<T: Copy, R>(src: &Src<T>, f: impl FnOnce(&[T]) -> R) -> R {
    if Walk::of(src.shape(), [src.strides()]).coalesce().rank() <= 1 && src.is_contiguous() {
        // SAFETY: a contiguous view has its elements side by side.
        return f(unsafe { std::slice::from_raw_parts(src.ptr(), src.numel()) });
    }
    f(&collect(src))
}

fn sorted<T: Sortable>(all: &[T], inverse: Option<&mut [i64]>) -> Unique {
    let n = all.len();
    let close = if n >= FEW { span(all, 0) } else { None };
    match close {
        Some((least, bits)) if bits <= 16 || bits < 31 && 1 << bits <= n => counted(all, least, 1 << bits, inverse),
        Some((least, bits)) if !all.iter().any(|x| x.nan()) => by_sorting::<T, u64>(all, least, bits, inverse),
        _ if T::BITS <= 32 && n <= u32::MAX as usize => by_sorting::<T, u64>(all, 0, T::BITS, inverse),
        _ => by_sorting::<T, u128>(all, 0, T::BITS, inverse),
    }
}

/// Of keys that lie so close together that there is a counter for each. NaN does not come here: its key is far from others.
fn counted<T: Sortable>(all: &[T], least: u64, size: usize, inverse: Option<&mut [i64]>) -> Unique {
    if all.iter().any(|x| x.nan()) {
        return by_sorting::<T, u128>(all, 0, T::BITS, inverse);
    }
    let place = |x: &T| ((x.key() - least) as usize).min(size - 1);
    scratch::with::<i64, _>(2 * size, |room| {
        let (counts, first) = room.split_at_mut(size);
        counts.fill(0);
        for (i, x) in all.iter().enumerate().rev() {
            let at = place(x);
            counts[at] += 1;
            first[at] = i as i64;
        }
        let mut groups = Unique::default();
        for (count, first) in counts.iter_mut().zip(first) {
            if *count > 0 {
                groups.first.push(*first);
                groups.counts.push(*count);
                *count = groups.first.len() as i64 - 1;
            }
        }
        for (to, x) in inverse.into_iter().flatten().zip(all) {
            *to = counts[place(x)];
        }
        groups
    })
}

fn by_sorting<T: Sortable, E: Entry>(all: &[T], least: u64, bits: u32, mut inverse: Option<&mut [i64]>) -> Unique {
    let n = all.len();
    scratch::with::<E, _>(n, |entries| {
        scratch::with::<E, _>(n, |spare| {
            pack(all, least, 0, entries);
            let entries = sort_entries(entries, spare, bits);
            let mut groups = Unique::default();
            let (mut before, mut start) = (None, 0);
            for (i, e) in entries.iter().enumerate() {
                let (key, index) = (e.key(), e.index());
                if before != Some(key) || all[index].nan() {
                    if i > 0 {
                        groups.counts.push((i - start) as i64);
                    }
                    groups.first.push(index as i64);
                    start = i;
                }
                if let Some(inverse) = &mut inverse {
                    inverse[index] = groups.first.len() as i64 - 1;
                }
                before = Some(key);
            }
            if n > 0 {
                groups.counts.push((n - start) as i64);
            }
            groups
        })
    })
}

fn consecutive<T: Sortable>(all: &[T], mut inverse: Option<&mut [i64]>) -> Unique {
    let mut groups = Unique::default();
    let mut start = 0;
    for (i, x) in all.iter().enumerate() {
        if i == 0 || x.nan() || x.key() != all[i - 1].key() {
            if i > 0 {
                groups.counts.push((i - start) as i64);
            }
            groups.first.push(i as i64);
            start = i;
        }
        if let Some(inverse) = &mut inverse {
            inverse[i] = groups.first.len() as i64 - 1;
        }
    }
    if !all.is_empty() {
        groups.counts.push((all.len() - start) as i64);
    }
    groups
}
