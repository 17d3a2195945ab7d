//! Many short lines: [`LANES`] of them side by side, sorted by a network of comparisons that is the same for all (Batcher's
//! merge exchange: Knuth, "The Art of Computer Programming", volume 3, algorithm 5.2.2M). Entries are pairs of key and
//! index, which all differ, so what comes out is what any other sort gives.

#![allow(clippy::needless_range_loop, reason = "loops over lanes, which become vectors")]

use super::{Job, Task, keys::Sortable};
use crate::multiversion;
use crate::reduce::walk::Walk;
use std::ops::Range;

/// Lines side by side.
const LANES: usize = 16;
/// The longest lines that are short (measured).
const LONGEST: usize = 32;
/// … of which only the first few elements of the order are asked for, which takes less than sorting.
const LONGEST_PART: usize = 8;
/// Fewer lines leave too many lanes empty.
const FEWEST: usize = 4;

/// Whether [`lines_of`] takes these lines.
pub(super) fn suits(task: Task, n: usize, lines: usize) -> bool {
    let longest = match task {
        Task::Sort { .. } => LONGEST,
        Task::Top { k, .. } if 2 * k >= n => LONGEST,
        Task::Top { .. } | Task::Nth { .. } => LONGEST_PART,
        Task::Median { .. } | Task::Mode => 0,
    };
    n <= longest && lines >= FEWEST
}

/// The entries that the lines have in one place.
trait Row: Copy + Default {
    fn set(&mut self, lane: usize, key: u64, index: usize);
    fn key(&self, lane: usize) -> u64;
    fn index(&self, lane: usize) -> usize;
    /// The smaller entry of each lane goes to `a`, the larger to `b`.
    fn order(a: &mut Self, b: &mut Self);
}

/// Keys of 32 bits above their indices.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Joined([u64; LANES]);

impl Row for Joined {
    #[inline(always)]
    fn set(&mut self, lane: usize, key: u64, index: usize) {
        self.0[lane] = key << 32 | index as u64;
    }
    #[inline(always)]
    fn key(&self, lane: usize) -> u64 {
        self.0[lane] >> 32
    }
    #[inline(always)]
    fn index(&self, lane: usize) -> usize {
        self.0[lane] as u32 as usize
    }
    #[inline(always)]
    fn order(a: &mut Self, b: &mut Self) {
        for l in 0..LANES {
            let (x, y) = (a.0[l], b.0[l]);
            (a.0[l], b.0[l]) = (x.min(y), x.max(y));
        }
    }
}

/// Keys of 64 bits beside their indices.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Apart {
    key: [u64; LANES],
    index: [u64; LANES],
}

impl Row for Apart {
    #[inline(always)]
    fn set(&mut self, lane: usize, key: u64, index: usize) {
        self.key[lane] = key;
        self.index[lane] = index as u64;
    }
    #[inline(always)]
    fn key(&self, lane: usize) -> u64 {
        self.key[lane]
    }
    #[inline(always)]
    fn index(&self, lane: usize) -> usize {
        self.index[lane] as usize
    }
    #[inline(always)]
    fn order(a: &mut Self, b: &mut Self) {
        for l in 0..LANES {
            let (x, y) = ([a.key[l], a.index[l]], [b.key[l], b.index[l]]);
            let keeps = (x[0] < y[0]) | ((x[0] == y[0]) & (x[1] < y[1]));
            a.key[l] = if keeps { x[0] } else { y[0] };
            b.key[l] = if keeps { y[0] } else { x[0] };
            a.index[l] = if keeps { x[1] } else { y[1] };
            b.index[l] = if keeps { y[1] } else { x[1] };
        }
    }
}

/// Lines that are sorted together.
struct Group<T> {
    /// Where they begin; lanes without a line have the last one's, and write nothing.
    from: [*const T; LANES],
    values: [*mut T; LANES],
    indices: [*mut i64; LANES],
    count: usize,
    /// Strides along input, values and indices.
    step: [isize; 3],
    /// Every lane has a line, and begins one element after the lane before, in all three.
    dense: bool,
    flip: u64,
    /// The ranks that are asked for.
    ranks: Range<usize>,
}

/// The tasks of [`suits`] for the lines of `range`.
pub(super) fn lines_of<T: Sortable>(job: &Job<T>, lines: &Walk<3>, range: Range<usize>) {
    if T::BITS <= 32 {
        groups::<T, Joined>(job, lines, range);
    } else {
        groups::<T, Apart>(job, lines, range);
    }
}

fn groups<T: Sortable, R: Row>(job: &Job<T>, lines: &Walk<3>, range: Range<usize>) {
    let mut rows = [R::default(); LONGEST];
    let mut group = Group {
        from: [job.src; LANES],
        values: [job.values; LANES],
        indices: [job.indices; LANES],
        count: LANES,
        step: job.step,
        dense: false,
        flip: job.task.flip::<T>(),
        ranks: match job.task {
            Task::Top { k, .. } => 0..k,
            Task::Nth { k } => k..k + 1,
            _ => 0..job.n,
        },
    };
    for first in range.clone().step_by(LANES) {
        group.count = LANES.min(range.end - first);
        for lane in 0..LANES {
            let [from, values, indices] = lines.at(first + lane.min(group.count - 1));
            group.from[lane] = job.src.wrapping_offset(from);
            group.values[lane] = job.values.wrapping_offset(values);
            group.indices[lane] = job.indices.wrapping_offset(indices);
        }
        group.dense = (1..LANES).all(|l| {
            group.from[l] == group.from[0].wrapping_add(l)
                && group.values[l] == group.values[0].wrapping_add(l)
                && group.indices[l] == group.indices[0].wrapping_add(l)
        });
        sorted(&group, &mut rows[..job.n]);
    }
}

multiversion! {
    /// Sorts the lines of a group, which are as long as `rows`.
    fn sorted<T: Sortable, R: Row>(group: &Group<T>, rows: &mut [R]) {
        let (n, mut plain) = (rows.len(), true);
        for (i, row) in rows.iter_mut().enumerate() {
            let mut x = [T::default(); LANES];
            let at = i as isize * group.step[0];
            // SAFETY: elements of the lines.
            unsafe {
                if group.dense {
                    x = group.from[0].offset(at).cast::<[T; LANES]>().read_unaligned();
                } else {
                    for l in 0..LANES {
                        x[l] = *group.from[l].offset(at);
                    }
                }
            }
            for l in 0..LANES {
                plain &= x[l].plain();
                row.set(l, x[l].key() ^ group.flip, i);
            }
        }
        let most = n.next_power_of_two() / 2;
        let mut p = most;
        while p > 0 {
            let (mut q, mut r, mut d) = (most, 0, p);
            loop {
                for i in 0..n.saturating_sub(d) {
                    if i & p == r {
                        let (low, high) = rows.split_at_mut(i + d);
                        R::order(&mut low[i], &mut high[0]);
                    }
                }
                if q == p {
                    break;
                }
                (d, q, r) = (q - p, q / 2, p);
            }
            p /= 2;
        }
        for (k, row) in rows[group.ranks.clone()].iter().enumerate() {
            let (mut value, mut index) = ([T::default(); LANES], [0i64; LANES]);
            for l in 0..LANES {
                index[l] = row.index(l) as i64;
            }
            if plain {
                // An element is found in its key again, if no other has the same; else where it was.
                for l in 0..LANES {
                    value[l] = T::of_key(row.key(l) ^ group.flip);
                }
            } else {
                for l in 0..LANES {
                    // SAFETY: an element of the line.
                    value[l] = unsafe { *group.from[l].offset(index[l] as isize * group.step[0]) };
                }
            }
            let [to, place] = [1, 2].map(|which| k as isize * group.step[which]);
            // SAFETY: every task asks only for ranks that its results have room for, and lines differ.
            unsafe {
                if group.dense {
                    group.values[0].offset(to).cast::<[T; LANES]>().write_unaligned(value);
                    group.indices[0].offset(place).cast::<[i64; LANES]>().write_unaligned(index);
                } else {
                    for l in 0..group.count {
                        *group.values[l].offset(to) = value[l];
                        *group.indices[l].offset(place) = index[l];
                    }
                }
            }
        }
    }
}
