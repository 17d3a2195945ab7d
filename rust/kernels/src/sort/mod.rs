//! Sorting and what rests on it: top-k, order statistics, the mode, unique values.
//!
//! NaN is the greatest value, as in PyTorch; equal elements keep their order (lower index first), so all results are
//! determined by the input alone.

mod keys;
mod unique;

pub use unique::{Unique, unique_consecutive, unique_sorted};

use crate::dtype::{Bool, DType};
use crate::multiversion;
use crate::parallel;
use crate::reduce::walk::{Walk, grain, line};
use crate::view::{AnyDst, AnySrc, Dst, Src};
use keys::{Entry, Sortable, sort_entries};
use std::ops::Range;

macro_rules! by_sortable {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            DType::F32 => {
                type $t = f32;
                $body
            }
            DType::F64 => {
                type $t = f64;
                $body
            }
            DType::I64 => {
                type $t = i64;
                $body
            }
            DType::Bool => {
                type $t = Bool;
                $body
            }
            other => panic!("sort of {}", other.name()),
        }
    };
}
pub(crate) use by_sortable;

/// What is done with each line.
#[derive(Clone, Copy)]
enum Task {
    Sort {
        descending: bool,
    },
    /// The first `k` of the sorted line.
    Top {
        k: usize,
        largest: bool,
    },
    /// The element of rank `k`, counted from 0.
    Nth {
        k: usize,
    },
    /// The lower median.
    Median {
        ignore_nan: bool,
    },
    Mode,
}

/// Sorts along `axis`: values and the indices they had. Always stable.
pub fn sort(src: AnySrc, axis: usize, descending: bool, stable: bool, values: AnyDst, indices: AnyDst) {
    let _ = stable;
    run(src, axis, Task::Sort { descending }, values, indices);
}

/// The `k` largest or smallest elements along `axis`, in order (whether or not `sorted` is asked for).
pub fn topk(src: AnySrc, k: usize, axis: usize, largest: bool, sorted: bool, values: AnyDst, indices: AnyDst) {
    let _ = sorted;
    run(src, axis, Task::Top { k, largest }, values, indices);
}

/// The `k`-th smallest element along `axis` (`k` from 1), in results of size 1 there.
pub fn kthvalue(src: AnySrc, k: usize, axis: usize, values: AnyDst, indices: AnyDst) {
    run(src, axis, Task::Nth { k: k - 1 }, values, indices);
}

/// The lower median along `axis`, in results of size 1 there. A NaN is the result, or passed over (`ignore_nan`).
pub fn median(src: AnySrc, axis: usize, ignore_nan: bool, values: AnyDst, indices: AnyDst) {
    run(src, axis, Task::Median { ignore_nan }, values, indices);
}

/// The most frequent element along `axis`, the smallest of several, with its last index; a NaN wins.
pub fn mode(src: AnySrc, axis: usize, values: AnyDst, indices: AnyDst) {
    run(src, axis, Task::Mode, values, indices);
}

fn run(src: AnySrc, axis: usize, task: Task, values: AnyDst, indices: AnyDst) {
    let indices = indices.typed::<i64>();
    by_sortable!(src.dtype(), T => along::<T>(&src.typed(), axis, task, &values.typed(), &indices));
}

struct Job<T> {
    src: *const T,
    values: *mut T,
    indices: *mut i64,
    n: usize,
    step: [isize; 3],
    task: Task,
}

// SAFETY: threads read the input and write different lines.
unsafe impl<T: Sync> Sync for Job<T> {}

fn along<T: Sortable>(src: &Src<T>, axis: usize, task: Task, values: &Dst<T>, indices: &Dst<i64>) {
    if src.numel() == 0 {
        return;
    }
    let strides = [src.strides(), values.strides(), indices.strides()];
    let (n, skip) = if src.rank() == 0 {
        (1, usize::MAX)
    } else {
        (src.shape()[axis], axis)
    };
    let step = if src.rank() == 0 {
        [0; 3]
    } else {
        strides.map(|s| s[axis])
    };
    let job = Job {
        src: src.ptr(),
        values: values.ptr(),
        indices: indices.ptr(),
        n,
        step,
        task,
    };
    let lines = Walk::without(src.shape(), strides, skip).coalesce();
    let small = T::BITS <= 32 && n <= u32::MAX as usize;
    parallel::for_range(lines.count(), grain(16 * n), |range| {
        if small {
            lines_of::<T, u64>(&job, &lines, range)
        } else {
            lines_of::<T, u128>(&job, &lines, range)
        }
    });
}

fn lines_of<T: Sortable, E: Entry>(job: &Job<T>, lines: &Walk<3>, range: Range<usize>) {
    let (mut keep, mut entries, mut spare) = (Vec::new(), Vec::<E>::new(), Vec::new());
    let (mut narrow, mut narrow_spare) = (Vec::<u64>::new(), Vec::new());
    lines.each(range, |_, [s, v, d]| {
        // SAFETY: a line of the walk, n long; outputs are other memory.
        let line: &[T] = unsafe { line(job.src.offset(s), job.n, job.step[0], &mut keep) };
        let descending = matches!(
            job.task,
            Task::Sort { descending: true } | Task::Top { largest: true, .. }
        );
        let flip = if descending { u64::MAX >> (64 - T::BITS) } else { 0 };
        entries.clear();
        let few = matches!(job.task, Task::Top { k, .. } if k > 0 && line.len() >= FEW && k <= line.len() / 16);
        // A line of wide keys that lie close together is sorted by what differs.
        let close = match job.task {
            Task::Sort { .. } if T::BITS == 64 && line.len() >= FEW => span(line, flip),
            _ => None,
        };
        if few {
            let Task::Top { k, .. } = job.task else { return };
            candidates(line, flip, k, &mut entries);
        } else if close.is_none() {
            entries.extend(
                line.iter()
                    .enumerate()
                    .map(|(i, &x): (usize, &T)| E::pack(x.key() ^ flip, i)),
            );
        }
        let put = |k: usize, index: usize| {
            let k = k as isize;
            // SAFETY: as above, in the outputs' lines.
            unsafe {
                *job.values.offset(v + k * job.step[1]) = line[index];
                *job.indices.offset(d + k * job.step[2]) = index as i64;
            }
        };
        match job.task {
            Task::Sort { .. } if close.is_some() => {
                let Some((least, bits)) = close else { return };
                narrow.clear();
                let keys = line.iter().map(|x| (x.key() ^ flip) - least);
                narrow.extend(keys.enumerate().map(|(i, key)| <u64 as Entry>::pack(key, i)));
                sort_entries(&mut narrow, &mut narrow_spare, bits);
                for (k, e) in narrow.iter().enumerate() {
                    put(k, Entry::index(*e));
                }
            }
            Task::Sort { .. } => {
                sort_entries(&mut entries, &mut spare, T::BITS);
                for (k, e) in entries.iter().enumerate() {
                    put(k, e.index());
                }
            }
            Task::Top { k, .. } => {
                let k = k.min(entries.len());
                if k > 0 && k < entries.len() {
                    entries.select_nth_unstable(k - 1);
                }
                let top = &mut entries[..k];
                top.sort_unstable();
                for (k, e) in top.iter().enumerate() {
                    put(k, e.index());
                }
            }
            Task::Nth { k } => put(0, entries.select_nth_unstable(k).1.index()),
            Task::Median { ignore_nan } => {
                let nans = line.iter().filter(|x| x.nan()).count();
                match line.iter().position(|x| x.nan()) {
                    Some(first) if !ignore_nan || nans == line.len() => put(0, first),
                    _ => put(0, entries.select_nth_unstable((line.len() - nans - 1) / 2).1.index()),
                }
            }
            Task::Mode => match line.iter().position(|x| x.nan()) {
                Some(first) => put(0, first),
                None => {
                    sort_entries(&mut entries, &mut spare, T::BITS);
                    put(0, most_frequent(&entries).index());
                }
            },
        }
    });
}

/// Lines from which on it pays to look before packing all of them.
const FEW: usize = 512;

/// The least key and the bits in which keys differ, when they fit into 32.
fn span<T: Sortable>(line: &[T], flip: u64) -> Option<(u64, u32)> {
    let mut keys = line.iter().map(|x| x.key() ^ flip);
    let first = keys.next()?;
    let (least, most) = keys.fold((first, first), |(low, high), key| (low.min(key), high.max(key)));
    let bits = 64 - (most - least).leading_zeros();
    (bits <= 32 && line.len() <= u32::MAX as usize).then_some((least, bits.max(1)))
}

/// Leaves the `k` least entries of a line, and perhaps others, in `entries`: what is no less than the k-th so far is
/// passed over, many at a time.
fn candidates<T: Sortable, E: Entry>(line: &[T], flip: u64, k: usize, entries: &mut Vec<E>) {
    const LOOK: usize = 64;
    let room = (4 * k).max(256).min(line.len());
    let mut limit = shrink(line[..room].iter().enumerate(), flip, k, entries);
    for (chunk, group) in line[room..].chunks(LOOK).enumerate() {
        if !any_below(group, flip, limit) {
            continue;
        }
        let first = room + chunk * LOOK;
        for (i, x) in group.iter().enumerate() {
            // An equal key with a higher index comes later.
            if x.key() ^ flip < limit {
                entries.push(E::pack(x.key() ^ flip, first + i));
            }
        }
        if entries.len() > room {
            limit = shrink::<T, E>(std::iter::empty(), flip, k, entries);
        }
    }
}

/// Adds elements, keeps the `k` least entries, and returns the largest of their keys.
fn shrink<'a, T: Sortable, E: Entry>(
    more: impl Iterator<Item = (usize, &'a T)>,
    flip: u64,
    k: usize,
    entries: &mut Vec<E>,
) -> u64 {
    entries.extend(more.map(|(i, x)| E::pack(x.key() ^ flip, i)));
    let limit = entries.select_nth_unstable(k - 1).1.key();
    entries.truncate(k);
    limit
}

multiversion! {
    fn any_below<T: Sortable>(group: &[T], flip: u64, limit: u64) -> bool {
        group.iter().fold(false, |any, x| any | ((x.key() ^ flip) < limit))
    }
}

/// The last entry of the longest run of one key, the first of several such runs.
fn most_frequent<E: Entry>(sorted: &[E]) -> E {
    let (mut best, mut longest, mut start) = (sorted[0], 0, 0);
    for i in 0..sorted.len() {
        if sorted[i].key() != sorted[start].key() {
            start = i;
        }
        if i + 1 - start > longest {
            (best, longest) = (sorted[i], i + 1 - start);
        }
    }
    best
}

#[cfg(test)]
mod tests;
