//! The logarithm of the sum of exponentials, over any dims.
//!
//! Lines are those of the softmax: in one piece or side by side, and copied to be in one piece where they are neither. Sums
//! are those of [`row`]; of lines side by side a chain for each, which begins anew every [`row::BLOCK`] elements.

use super::row::{self, Soft, get, put, raised};
use super::strip::{self, WIDTH};
use super::wave::{Wave, in_waves};
use super::{COST, GROUP};
use crate::parallel;
use crate::reduce::walk::{Share, Walk, grain};
use crate::simd::every::every;
use crate::view::{Dst, Src};
use std::ops::Range;

/// Lines of which threads take parts, if there are few.
const LONG: usize = 16 * row::BLOCK;

/// Lines of `n` elements, `step` apart; the walk is over their beginnings and results.
struct Job<T> {
    x: *const T,
    y: *mut T,
    n: usize,
    step: isize,
}

// SAFETY: threads read the input and write different results.
unsafe impl<T: Sync> Sync for Job<T> {}

impl<T> Job<T> {
    /// The line that begins at an offset, which must be in one piece.
    ///
    /// # Safety
    /// It is that of a line; nothing writes the elements while the slice lives.
    #[inline(always)]
    unsafe fn line(&self, at: isize) -> &[T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(self.x.offset(at), self.n) }
    }
}

/// `dst` has size 1 where `axes` is true.
pub(crate) fn log_sum_exp<T: Soft>(src: &Src<T>, axes: &[bool], dst: &Dst<T>) {
    let (mut kept, mut reduced) = (Walk::new(), Walk::new());
    for (d, &n) in src.shape().iter().enumerate() {
        if axes[d] {
            reduced.push(n, [src.strides()[d]]);
        } else {
            kept.push(n, [src.strides()[d], dst.strides()[d]]);
        }
    }
    if kept.count() == 0 {
        return;
    }
    kept.sort();
    reduced.sort();
    let (kept, reduced) = (kept.coalesce(), reduced.coalesce());
    let (n, [step]) = reduced.last();
    let job = Job {
        x: src.ptr(),
        y: dst.ptr(),
        n,
        step,
    };
    let mut outer = kept;
    let (width, side) = outer.pop();
    if reduced.rank() <= 1 && width > 1 && side[0] == 1 && (n <= 1 || step != 1) {
        let strips = width.div_ceil(WIDTH);
        let work = grain(COST * n * width.min(WIDTH));
        return parallel::for_range(outer.count() * strips, work, |range| {
            strips_of(&job, &outer, [width, strips], side[1], range)
        });
    }
    if reduced.rank() <= 1 && (n <= 1 || step == 1) {
        if n >= LONG && kept.count() < 2 * parallel::threads() && parallel::threads() > 1 {
            return kept.each(0..kept.count(), |_, at| shared(&job, at));
        }
        return parallel::for_range(kept.count(), grain(COST * n), |range| rows(&job, &kept, range));
    }
    // Some lines at a time, so that what is copied stays in the caches.
    let (lines, n) = (kept.count(), reduced.count());
    let some = (LONG / n.max(1)).clamp(1, lines);
    parallel::for_range(lines.div_ceil(some), grain(COST * n * some), |range| {
        let job = &job;
        let mut held = vec![T::ZERO; some * n];
        for k in range {
            let part = k * some..lines.min((k + 1) * some);
            let mut to = held.chunks_exact_mut(n.max(1));
            kept.each(part.clone(), |_, [from, _]| {
                let Some(to) = to.next() else { return };
                reduced.runs(0..n, |i, [at], len, [step]| {
                    // SAFETY: elements of a line of the view, and their places in the copy.
                    unsafe { every(job.x.offset(from + at), step, to.as_mut_ptr().add(i), len) }
                });
            });
            let copied = Job {
                x: held.as_ptr(),
                y: job.y,
                n,
                step: 1,
            };
            let mut done = 0;
            kept.runs(part, |_, [_, to], count, [_, apart]| {
                let mut walk = Walk::new();
                walk.push(count, [n as isize, apart]);
                let here = Job {
                    x: copied.x.wrapping_add(done * n),
                    y: copied.y.wrapping_offset(to),
                    ..copied
                };
                rows(&here, &walk, 0..count);
                done += count;
            });
        }
    });
}

/// The result of a line from its maximum and the logarithm of its sum.
#[inline(always)]
fn result<T: Soft>(top: T, log: T, line: impl Iterator<Item = T>) -> T {
    if top == T::INF {
        // Infinity less itself is no number, but what it stands for is one, unless there was a NaN.
        return unusual(line);
    }
    log + top
}

#[cold]
#[inline(never)]
#[allow(clippy::eq_op, reason = "NaN differs from itself")]
fn unusual<T: Soft>(mut line: impl Iterator<Item = T>) -> T {
    line.find(|&v| v != v).unwrap_or(T::INF)
}

in_waves! {
    /// Lines of a walk, each step for some of them: what a line waits for, the next one does not.
    fn rows<T: Soft>(l: L; job: &Job<T>, lines: &Walk<2>, range: Range<usize>) {
        let most = if job.n > row::BLOCK { 1 } else { GROUP };
        // No closures around the work: they would lose the instruction set.
        for first in range.clone().step_by(most) {
            let count = most.min(range.end - first);
            let (mut top, mut sum, mut at) = ([T::ZERO; GROUP], [T::ONE; GROUP], [[0; 2]; GROUP]);
            for r in 0..count {
                at[r] = lines.at(first + r);
                // SAFETY: a line of the walk, which nothing writes; so below.
                top[r] = row::top(l, unsafe { job.line(at[r][0]) });
            }
            for r in 0..count {
                // SAFETY: as above.
                sum[r] = row::sum_above(l, unsafe { job.line(at[r][0]) }, top[r]);
            }
            for v in &mut sum {
                *v = v.log_lowered();
            }
            for r in 0..count {
                // SAFETY: as above; each result is this thread's.
                unsafe { *job.y.offset(at[r][1]) = result(top[r], sum[r], job.line(at[r][0]).iter().copied()) };
            }
        }
    }
}

in_waves! {
    /// The maximum of a piece of a line.
    fn top_of<T: Soft>(l: L; x: &[T]) -> T {
        row::top(l, x)
    }
}

in_waves! {
    /// The raised sum of the exponentials of a piece above the line's maximum.
    fn sum_of<T: Soft>(l: L; x: &[T], top: T) -> T {
        row::sum_above(l, x, top)
    }
}

/// A long line whose blocks threads share: what [`row::sum_above`] makes of it.
fn shared<T: Soft>(job: &Job<T>, at: [isize; 2]) {
    // SAFETY: a line of the walk, which nothing writes.
    let x = unsafe { job.line(at[0]) };
    let blocks = x.len().div_ceil(row::BLOCK);
    let mut parts = vec![T::ZERO; blocks];
    let to = Share::new(parts.as_mut_ptr());
    let each = |of: &(dyn Fn(&[T]) -> T + Sync)| {
        parallel::for_range(blocks, grain(COST * row::BLOCK), |range| {
            for k in range {
                let part = &x[k * row::BLOCK..x.len().min((k + 1) * row::BLOCK)];
                // SAFETY: one place for each block.
                unsafe { *to.at(k) = of(part) };
            }
        })
    };
    each(&top_of);
    // SAFETY: all places were written.
    let top = (0..blocks).fold(-T::INF, |a, k| unsafe { if *to.at(k) > a { *to.at(k) } else { a } });
    each(&|x| sum_of(x, top));
    let sum = parts.iter().fold(T::ZERO, |a, &b| a + b);
    // SAFETY: the line's result.
    unsafe { *job.y.offset(at[1]) = result(top, sum.log_lowered(), x.iter().copied()) };
}

in_waves! {
    /// Strips of `width` lines side by side, whose results lie `apart`.
    fn strips_of<T: Soft>(l: L; job: &Job<T>, outer: &Walk<2>, sizes: [usize; 2], apart: isize, range: Range<usize>) {
        let [width, strips] = sizes;
        for j in range {
            let mut first = j % strips * WIDTH;
            let end = width.min(first + WIDTH);
            let [from, to] = outer.at(j / strips);
            while first < end {
                let at = [from + first as isize, to + first as isize * apart];
                let left = end - first;
                // SAFETY: lines of the walk, side by side, and their results.
                first += unsafe {
                    if left >= 4 * L::N {
                        side_by_side::<T, L, 4>(l, job, at, apart, L::N, true)
                    } else {
                        side_by_side::<T, L, 1>(l, job, at, apart, left.min(L::N), false)
                    }
                };
            }
        }
    }
}

/// W vectors of lines, or (unless `whole`) `n` lines; gives how many.
///
/// # Safety
/// They lie side by side in memory that nothing writes, and each has a result of its own.
#[inline(always)]
unsafe fn side_by_side<T: Soft, L: Wave<T>, const W: usize>(
    l: L,
    job: &Job<T>,
    at: [isize; 2],
    apart: isize,
    n: usize,
    whole: bool,
) -> usize {
    // SAFETY: the caller's promise.
    unsafe {
        let lines = strip::Lines {
            n: job.n,
            x: job.x.offset(at[0]),
            g: job.x.offset(at[0]),
            y: job.y,
            step: [job.step, job.step, 0],
        };
        let top = strip::highest::<T, L, W>(l, lines, n, whole);
        // Of -inf alone the exponentials are 0, not NaN.
        let low = strip::mapped::<T, L, W>(l, top, |v| if v == -T::INF { T::ZERO } else { v });
        let (less, mut all) = (l.splat(-T::ONE), [l.splat(T::ZERO); W]);
        for first in (0..job.n).step_by(row::BLOCK) {
            let mut sum = [l.splat(T::ZERO); W];
            for k in first..job.n.min(first + row::BLOCK) {
                let x: [L::V; W] = get(l, lines.x.offset(k as isize * job.step), n, whole);
                let e = raised(l, strip::lowered(l, x, low, less));
                for w in 0..W {
                    sum[w] = l.add(sum[w], e[w]);
                }
            }
            for w in 0..W {
                all[w] = l.add(all[w], sum[w]);
            }
        }
        let (mut tops, mut sums) = ([T::ZERO; WIDTH], [T::ONE; WIDTH]);
        put(l, tops.as_mut_ptr(), top, L::N, true);
        put(l, sums.as_mut_ptr(), all, L::N, true);
        for v in &mut sums[..W * L::N] {
            *v = v.log_lowered();
        }
        let count = if whole { W * n } else { n };
        for i in 0..count {
            let line = (0..job.n as isize).map(|k| *lines.x.offset(k * job.step + i as isize));
            *job.y.offset(at[1] + i as isize * apart) = result(tops[i], sums[i], line);
        }
        count
    }
}
