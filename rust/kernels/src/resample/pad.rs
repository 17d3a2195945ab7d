//! Borders whose values are copies from inside: rows are copied whole, their ends element by element.

use super::Real;
use crate::elementwise::rows::copy_row;
use crate::index::{by_size, raw, raw_mut};
use crate::multiversion;
use crate::parallel;
use crate::reduce::walk::{Share, Walk, grain};
use crate::view::{AnyDst, AnySrc, Dst, Src};

/// Where the values of a border come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Border {
    /// Mirrored at the outermost element.
    Reflect,
    /// The outermost element.
    Replicate,
    /// The other end.
    Circular,
}

/// A dim and how much is added to its ends (taken away, where negative).
#[derive(Clone, Copy, Debug)]
pub struct Side {
    pub size: usize,
    pub before: isize,
    pub after: isize,
}

impl Side {
    /// Every padded place has one to copy.
    pub fn fits(&self, border: Border) -> bool {
        let n = self.size as isize;
        let most = self.before.max(self.after);
        n > 0
            && n + self.before + self.after > 0
            && match border {
                Border::Replicate => true,
                Border::Reflect => most < n,
                Border::Circular => most <= n && n + self.before.min(0) + self.after.min(0) > 0,
            }
    }

    /// For each padded place the one that it copies.
    fn places(&self, border: Border) -> Vec<usize> {
        assert!(self.fits(border), "{self:?} cannot be padded by {border:?}");
        let n = self.size as isize;
        let start = (-self.before).max(0);
        let kept = n - start - (-self.after).max(0);
        let place = |i: isize| match border {
            Border::Replicate => i.clamp(0, n - 1),
            Border::Reflect => (n - 1) - (i.abs() - (n - 1)).abs(),
            Border::Circular => (i - start).rem_euclid(kept) + start,
        };
        let places: Vec<usize> = (-self.before..n + self.after).map(|i| place(i) as usize).collect();
        assert!(places.iter().all(|&p| p < self.size));
        places
    }
}

/// The places of the innermost dim: neighbours that copy neighbours are moved together.
struct Row {
    /// (padded place, place, how many)
    runs: Vec<[usize; 3]>,
    single: Vec<[usize; 2]>,
}

impl Row {
    /// Shorter runs are moved element by element.
    const RUN: usize = 4;

    fn new(places: &[usize]) -> Row {
        let mut row = Row {
            runs: Vec::new(),
            single: Vec::new(),
        };
        let mut at = 0;
        while at < places.len() {
            let run = (at + 1..places.len())
                .take_while(|&i| places[i] == places[i - 1] + 1)
                .count()
                + 1;
            if run >= Row::RUN {
                row.runs.push([at, places[at], run]);
            } else {
                row.single.extend((at..at + run).map(|i| [i, places[i]]));
            }
            at += run;
        }
        row
    }
}

/// The padded image: both views are `[n, c, d, h, w]`, `sides` are those of the last three dims. Any dtype.
pub fn pad(src: AnySrc, border: Border, sides: &[Side; 3], dst: AnyDst) {
    if dst.numel() == 0 {
        return;
    }
    let [deep, high, wide] = sides.map(|s| s.places(border));
    assert!(dst.shape()[2..] == [deep.len(), high.len(), wide.len()] && src.rank() == 5);
    let row = Row::new(&wide);
    let (s, d) = (src.strides(), dst.strides());
    let offsets: Vec<isize> = high.iter().map(|&p| p as isize * s[3]).collect();
    let planes = Walk::of(&dst.shape()[..2], [&s[..2], &d[..2]]);
    by_size!(src.dtype(), T => {
        let (from, to) = (raw::<T>(&src), Share::new(raw_mut::<T>(&dst).ptr()));
        let (depth, height) = (deep.len(), high.len());
        parallel::for_range(planes.count() * depth * height, grain(wide.len()), |range| {
            let mut unit = range.start;
            while unit < range.end {
                let (slice, first) = (unit / height, unit % height);
                let count = (height - first).min(range.end - unit);
                let [si, di] = planes.at(slice / depth);
                let si = si + deep[slice % depth] as isize * s[2];
                let di = di + (slice % depth) as isize * d[2] + first as isize * d[3];
                let rows = &offsets[first..first + count];
                // SAFETY: all places were checked to lie inside the dims; threads write disjoint rows.
                unsafe { copy_rows(from.ptr().offset(si), rows, to.get().offset(di), d[3], &row, [s[4], d[4]]) };
                unit += count;
            }
        });
    });
}

multiversion! {
    /// The rows that begin at `offsets` to rows `step` apart; the caller's places lie inside both.
    fn copy_rows<T: Copy>(from: *const T, offsets: &[isize], to: *mut T, step: isize, row: &Row, steps: [isize; 2]) {
        for (i, &at) in offsets.iter().enumerate() {
            let (from, to) = (from.wrapping_offset(at), to.wrapping_offset(i as isize * step));
            // SAFETY: the caller's promise.
            let one = |p: usize, s: usize| unsafe {
                *to.offset(p as isize * steps[1]) = *from.offset(s as isize * steps[0]);
            };
            for &[p, s, n] in &row.runs {
                if steps == [1, 1] {
                    // SAFETY: as above.
                    unsafe { copy_row(from.add(s), to.add(p), n) };
                } else {
                    (0..n).for_each(|j| one(p + j, s + j));
                }
            }
            for &[p, s] in &row.single {
                one(p, s);
            }
        }
    }
}

/// For each place the padded ones that copy it: those of place `i` are `list[starts[i]..starts[i + 1]]`.
struct Copies {
    starts: Vec<usize>,
    list: Vec<usize>,
}

impl Copies {
    fn new(places: &[usize], size: usize) -> Copies {
        let mut starts = vec![0; size + 1];
        for &p in places {
            starts[p + 1] += 1;
        }
        for i in 0..size {
            starts[i + 1] += starts[i];
        }
        let (mut next, mut list) = (starts.clone(), vec![0; places.len()]);
        for (i, &p) in places.iter().enumerate() {
            list[next[p]] = i;
            next[p] += 1;
        }
        Copies { starts, list }
    }

    fn of(&self, place: usize) -> &[usize] {
        &self.list[self.starts[place]..self.starts[place + 1]]
    }
}

/// The gradient of [`pad`]: each element is the sum of those of its copies. The innermost dims are contiguous.
pub fn pad_backward<T: Real>(grad: Src<T>, border: Border, sides: &[Side; 3], dst: Dst<T>) {
    if dst.numel() == 0 {
        return;
    }
    let [deep, high, wide] = sides.map(|s| s.places(border));
    assert!(grad.shape()[2..] == [deep.len(), high.len(), wide.len()] && dst.rank() == 5);
    assert!(grad.strides()[4] == 1 && dst.strides()[4] == 1 || wide.len() == 1 || dst.shape()[4] == 1);
    assert!(dst.shape()[2..] == sides.map(|s| s.size));
    let row = Row::new(&wide);
    let (deep, high) = (Copies::new(&deep, sides[0].size), Copies::new(&high, sides[1].size));
    let (s, d) = (grad.strides(), dst.strides());
    let rows = Walk::of(&dst.shape()[..4], [&[s[0], s[1], 0, 0], &d[..4]]);
    let (depth, height, width) = (sides[0].size, sides[1].size, sides[2].size);
    let to = Share::new(dst.ptr());
    parallel::for_range(rows.count(), grain(width), |range| {
        let mut offsets = Vec::new();
        rows.each(range, |i, [si, di]| {
            offsets.clear();
            for &z in deep.of(i / height % depth) {
                for &y in high.of(i % height) {
                    offsets.push(si + z as isize * s[2] + y as isize * s[3]);
                }
            }
            // SAFETY: places lie inside both views; threads write disjoint rows.
            unsafe { add_rows(grad.ptr(), &offsets, to.get().offset(di), width, &row) };
        });
    });
}

multiversion! {
    /// The sum of the padded rows that begin at `offsets`, each folded back to `n` elements.
    fn add_rows<T: Real>(from: *const T, offsets: &[isize], to: *mut T, n: usize, row: &Row) {
        // SAFETY: the caller's rows; those of the sum and of the gradient do not overlap.
        let to = unsafe { std::slice::from_raw_parts_mut(to, n) };
        to.fill(T::ZERO);
        for &at in offsets {
            let from = from.wrapping_offset(at);
            for &[p, s, n] in &row.runs {
                // SAFETY: as above.
                let from = unsafe { std::slice::from_raw_parts(from.add(p), n) };
                for (to, from) in to[s..s + n].iter_mut().zip(from) {
                    *to = *to + *from;
                }
            }
            for &[p, s] in &row.single {
                // SAFETY: as above.
                to[s] = to[s] + unsafe { *from.add(p) };
            }
        }
    }
}
