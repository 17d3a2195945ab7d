//! Sorting and what rests on it: top-k, order statistics, the mode, unique values.
//!
//! NaN is the greatest value, as in PyTorch; equal elements keep their order (lower index first), so all results are
//! determined by the input alone.

mod keys;
mod short;
mod unique;

pub use unique::{Unique, unique_consecutive, unique_sorted};

use crate::dtype::with_computed;
use crate::multiversion;
use crate::parallel;
use crate::reduce::walk::{Walk, grain, line};
use crate::scratch;
use crate::view::{AnyDst, AnySrc, Dst, Src};
use keys::{Entry, Sortable, sort_entries};
use std::ops::Range;

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

impl Task {
    /// What turns keys so that the first of the order is the least.
    fn flip<T: Sortable>(self) -> u64 {
        match self {
            Task::Sort { descending: true } | Task::Top { largest: true, .. } => u64::MAX >> (64 - T::BITS),
            _ => 0,
        }
    }
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
    with_computed!(src.dtype(), T => along::<T>(&src.typed(), axis, task, &values.typed(), &indices));
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
    let (n, step, lines) = Walk::along(src.shape(), strides, axis);
    let lines = lines.coalesce();
    let job = Job {
        src: src.ptr(),
        values: values.ptr(),
        indices: indices.ptr(),
        n,
        step,
        task,
    };
    if short::suits(task, n, lines.count()) {
        return parallel::for_range(lines.count(), grain(16 * n), |range| {
            short::lines_of(&job, &lines, range)
        });
    }
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
    let mut keep = Vec::new();
    let sorts = matches!(job.task, Task::Sort { .. } | Task::Mode);
    scratch::with::<E, _>(job.n, |entries| {
        scratch::with::<E, _>(if sorts { job.n } else { 0 }, |spare| {
            lines.each(range, |_, at| {
                // SAFETY: a line of the walk, n long; outputs are other memory.
                let line: &[T] = unsafe { line(job.src.offset(at[0]), job.n, job.step[0], &mut keep) };
                one_line(job, line, [at[1], at[2]], entries, spare);
            });
        });
    });
}

/// Where the results of a line go.
struct Out<T> {
    values: *mut T,
    indices: *mut i64,
    step: [isize; 2],
}

impl<T: Sortable> Out<T> {
    /// # Safety
    /// The results have a `k`-th place.
    #[inline(always)]
    unsafe fn put(&self, k: usize, value: T, index: usize) {
        let k = k as isize;
        // SAFETY: the caller's promise.
        unsafe {
            *self.values.offset(k * self.step[0]) = value;
            *self.indices.offset(k * self.step[1]) = index as i64;
        }
    }
}

fn one_line<T: Sortable, E: Entry>(job: &Job<T>, line: &[T], at: [isize; 2], entries: &mut [E], spare: &mut [E]) {
    // SAFETY: the results' lines lie inside their views.
    let out = unsafe {
        Out {
            values: job.values.offset(at[0]),
            indices: job.indices.offset(at[1]),
            step: [job.step[1], job.step[2]],
        }
    };
    // SAFETY: every task puts only what its results have room for.
    let put = |k: usize, index: usize| unsafe { out.put(k, line[index], index) };
    let flip = job.task.flip::<T>();
    match job.task {
        Task::Sort { .. } => {
            // A line of wide keys that lie close together is sorted by what differs.
            let close = if T::BITS == 64 && line.len() >= FEW {
                span(line, flip)
            } else {
                None
            };
            if let Some((least, bits)) = close {
                return scratch::with::<u64, _>(line.len(), |narrow| {
                    scratch::with::<u64, _>(line.len(), |spare| {
                        sorted(line, least, flip, bits, narrow, spare, &out);
                    });
                });
            }
            sorted(line, 0, flip, T::BITS, entries, spare, &out);
        }
        Task::Top { k, .. } => {
            let few = k > 0 && line.len() >= FEW && k <= line.len() / 16;
            let n = if few {
                candidates(line, flip, k, entries)
            } else {
                pack(line, 0, flip, entries)
            };
            let entries = &mut entries[..n];
            let k = k.min(n);
            if k > 0 && k < n {
                entries.select_nth_unstable(k - 1);
            }
            let top = &mut entries[..k];
            top.sort_unstable();
            for (k, e) in top.iter().enumerate() {
                put(k, e.index());
            }
        }
        Task::Nth { k } => {
            pack(line, 0, flip, entries);
            put(0, entries.select_nth_unstable(k).1.index());
        }
        Task::Median { ignore_nan } => {
            let nans = line.iter().filter(|x| x.nan()).count();
            match line.iter().position(|x| x.nan()) {
                Some(first) if !ignore_nan || nans == line.len() => put(0, first),
                _ => {
                    pack(line, 0, flip, entries);
                    put(0, entries.select_nth_unstable((line.len() - nans - 1) / 2).1.index());
                }
            }
        }
        Task::Mode => match line.iter().position(|x| x.nan()) {
            Some(first) => put(0, first),
            None => {
                pack(line, 0, flip, entries);
                put(0, most_frequent(sort_entries(entries, spare, T::BITS)).index());
            }
        },
    }
}

/// A line's entries; their keys begin at `least`. Returns how many there are.
fn pack<T: Sortable, E: Entry>(line: &[T], least: u64, flip: u64, entries: &mut [E]) -> usize {
    for (i, (e, x)) in entries.iter_mut().zip(line).enumerate() {
        *e = E::pack((x.key() ^ flip).wrapping_sub(least), i);
    }
    line.len()
}

/// Sorts a line whose keys begin at `least` and differ in `bits`.
fn sorted<T: Sortable, E: Entry>(
    line: &[T],
    least: u64,
    flip: u64,
    bits: u32,
    entries: &mut [E],
    spare: &mut [E],
    out: &Out<T>,
) {
    pack(line, least, flip, entries);
    let entries = sort_entries(entries, spare, bits);
    // An element is found in its key again, if no other has the same; else where it was.
    let plain = line.len() >= FEW && all_plain(line);
    for (k, e) in entries.iter().enumerate() {
        let index = e.index();
        let value = if plain {
            T::of_key(e.key().wrapping_add(least) ^ flip)
        } else {
            line[index]
        };
        // SAFETY: as many results as elements.
        unsafe { out.put(k, value, index) };
    }
}

multiversion! {
    fn all_plain<T: Sortable>(line: &[T]) -> bool {
        line.iter().fold(true, |all, x| all & x.plain())
    }
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

/// Leaves the `k` least entries of a line, and perhaps others, in front of `entries`, and returns how many: what is no
/// less than the k-th so far is passed over, many at a time.
fn candidates<T: Sortable, E: Entry>(line: &[T], flip: u64, k: usize, entries: &mut [E]) -> usize {
    const LOOK: usize = 64;
    let room = (4 * k).max(256).min(line.len());
    let mut n = pack(&line[..room], 0, flip, entries);
    // The largest key of the k least so far, which are kept.
    let shrink = |entries: &mut [E]| entries.select_nth_unstable(k - 1).1.key();
    let mut limit = shrink(&mut entries[..n]);
    n = k;
    for (chunk, group) in line[room..].chunks(LOOK).enumerate() {
        if !any_below(group, flip, limit) {
            continue;
        }
        let first = room + chunk * LOOK;
        for (i, x) in group.iter().enumerate() {
            // An equal key with a higher index comes later.
            if x.key() ^ flip < limit {
                entries[n] = E::pack(x.key() ^ flip, first + i);
                n += 1;
            }
        }
        if n > room {
            limit = shrink(&mut entries[..n]);
            n = k;
        }
    }
    n
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
