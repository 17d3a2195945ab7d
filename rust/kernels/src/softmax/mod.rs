//! Softmax and its logarithm along a dim, and their gradients.
//!
//! The maximum is subtracted first; a line of -inf gives NaN, as in PyTorch. Lines that lie in one piece are taken one by
//! one (`row`), side-by-side lines (the softmax over channels of an image) a strip at a time (`strip`), any others are
//! copied first.

pub(crate) mod logsumexp;
pub(crate) mod row;
pub(crate) mod short;
pub(crate) mod strip;
pub(crate) mod wave;

use crate::dtype::DType;
use crate::parallel;
use crate::reduce::walk::{Walk, apart, grain, line};
use crate::simd::prefetch;
use crate::view::{AnyDst, AnySrc, Dst, Src};
use row::{Soft, before};
use std::ops::Range;
use wave::{Wave, in_waves};

/// An exponential counts as this many cheap operations when work is split.
pub(crate) const COST: usize = 4;

/// `dst = softmax(src)` along `axis`, or its logarithm. `f32` and `f64`.
pub fn softmax(src: AnySrc, axis: usize, dst: AnyDst, log: bool) {
    match src.dtype() {
        DType::F32 => along::<f32>(&src.typed(), None, axis, &dst.typed(), log),
        DType::F64 => along::<f64>(&src.typed(), None, axis, &dst.typed(), log),
        other => panic!("softmax of {}", other.name()),
    }
}

/// Softmax of each contiguous row of `n` elements: the bits of [`softmax`] without its preparations.
pub fn softmax_rows(src: &[f32], n: usize, dst: &mut [f32], log: bool) {
    all_rows(src, n, dst, log)
}

in_waves! {
    fn all_rows<T: Soft>(l: L; src: &[T], n: usize, dst: &mut [T], log: bool) {
        if log && n <= LONGEST {
            // What `group` makes of lines of a walk.
            for (x, y) in src.chunks(GROUP * n).zip(dst.chunks_mut(GROUP * n)) {
                let (mut top, mut sum) = ([T::ZERO; GROUP], [T::ONE; GROUP]);
                for ((x, top), sum) in x.chunks_exact(n).zip(&mut top).zip(&mut sum) {
                    *top = row::top(l, x);
                    *sum = row::sum_above(l, x, *top);
                }
                for v in &mut sum {
                    *v = v.log_lowered();
                }
                for (i, (x, y)) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)).enumerate() {
                    row::lowered(l, x, top[i], sum[i], y);
                }
            }
            return;
        }
        let mut scratch = Scratch::new(n);
        for (x, y) in src.chunks_exact(n).zip(dst.chunks_exact_mut(n)) {
            one(l, x, x, y, false, log, scratch.first(n));
        }
    }
}

/// Room for the exponentials of a row: on the stack for short ones.
struct Scratch<T> {
    short: [T; 128],
    long: Vec<T>,
}

impl<T: Soft> Scratch<T> {
    #[inline(always)]
    fn new(n: usize) -> Self {
        let short = [T::ZERO; 128];
        let long = if n > short.len() { vec![T::ZERO; n] } else { Vec::new() };
        Self { short, long }
    }

    #[inline(always)]
    fn first(&mut self, n: usize) -> &mut [T] {
        if n > self.short.len() {
            &mut self.long[..n]
        } else {
            &mut self.short[..n]
        }
    }
}

/// The gradient of [`softmax`] from that of its result and the result `out`.
pub fn softmax_backward(grad: AnySrc, out: AnySrc, axis: usize, dst: AnyDst, log: bool) {
    match out.dtype() {
        DType::F32 => along::<f32>(&out.typed(), Some(&grad.typed()), axis, &dst.typed(), log),
        DType::F64 => along::<f64>(&out.typed(), Some(&grad.typed()), axis, &dst.typed(), log),
        other => panic!("softmax of {}", other.name()),
    }
}

/// What threads share: `x` is the input, or backward the output; `g` the gradient, or `x` again.
struct Job<T> {
    x: *const T,
    g: *const T,
    y: *mut T,
    backward: bool,
    log: bool,
    n: usize,
    /// Strides of x, g, y along the axis.
    step: [isize; 3],
}

// SAFETY: threads read the inputs and write different lines.
unsafe impl<T: Sync> Sync for Job<T> {}

impl<T> Job<T> {
    /// Line `i` of x (0) or g (1).
    ///
    /// # Safety
    /// It is a line of the walk; its elements are contiguous, and nothing writes them while the slice lives.
    #[inline(always)]
    unsafe fn of(&self, lines: &Walk<3>, which: usize, i: usize) -> &[T] {
        let from = if which == 0 { self.x } else { self.g };
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(from.offset(lines.at(i)[which]), self.n) }
    }

    /// Line `i` of y.
    ///
    /// # Safety
    /// As for [`Job::of`], and nothing else uses it while the slice lives.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "threads write different lines")]
    unsafe fn to(&self, lines: &Walk<3>, i: usize) -> &mut [T] {
        // SAFETY: the caller's promise; outputs start elsewhere than inputs.
        unsafe { std::slice::from_raw_parts_mut(self.y.offset(lines.at(i)[2]), self.n) }
    }
}

fn along<T: Soft>(x: &Src<T>, grad: Option<&Src<T>>, axis: usize, dst: &Dst<T>, log: bool) {
    if dst.numel() == 0 {
        return;
    }
    let (mut keep_x, mut keep_g) = (Vec::new(), Vec::new());
    let x = apart(*x, dst.ptr(), &mut keep_x);
    let g = grad.map_or(x, |g| apart(*g, dst.ptr(), &mut keep_g));
    let (n, step) = match x.rank() {
        0 => (1, [1; 3]),
        _ => (
            x.shape()[axis],
            [x.strides()[axis], g.strides()[axis], dst.strides()[axis]],
        ),
    };
    let job = Job {
        x: x.ptr(),
        g: g.ptr(),
        y: dst.ptr(),
        backward: grad.is_some(),
        log,
        n,
        step,
    };
    let skip = if x.rank() == 0 { usize::MAX } else { axis };
    let lines = Walk::without(x.shape(), [x.strides(), g.strides(), dst.strides()], skip).coalesce();
    let mut outer = lines;
    let (width, side) = outer.pop();
    if side == [1; 3] && width > 1 && (n == 1 || step != [1; 3]) {
        let strips = width.div_ceil(strip::WIDTH);
        let work = COST * n * width.min(strip::WIDTH);
        parallel::for_range(outer.count() * strips, grain(work), |range| {
            strips_of(&job, &outer, width, range)
        });
    } else {
        parallel::for_range(lines.count(), grain(COST * n), |range| rows(&job, &lines, range));
    }
}

fn rows<T: Soft>(job: &Job<T>, lines: &Walk<3>, range: Range<usize>) {
    if job.step == [1; 3] {
        return row_range(job, lines, range);
    }
    let (mut keep_x, mut keep_g) = (Vec::new(), Vec::new());
    let (mut out, mut scratch) = (vec![T::ZERO; job.n], vec![T::ZERO; job.n]);
    lines.each(range, |_, [x, g, y]| {
        // SAFETY: lines of the walk, n long; outputs start elsewhere than inputs.
        unsafe {
            let x = line(job.x.offset(x), job.n, job.step[0], &mut keep_x);
            let g = line(job.g.offset(g), job.n, job.step[1], &mut keep_g);
            one_row(x, g, &mut out, job.backward, job.log, &mut scratch);
            for (i, &v) in out.iter().enumerate() {
                *job.y.offset(y + i as isize * job.step[2]) = v;
            }
        }
    });
}

/// Rows that are taken together at most, each step for all of them: a row's maximum, exponentials, sum and quotient wait
/// for each other, those of the next row do not.
pub(crate) const GROUP: usize = 16;

/// The longest rows whose exponentials are kept of two at once.
const TWICE: usize = 1 << 16;

/// The longest rows that log-softmax takes together; softmax, which takes no logarithms, those of half as many.
pub(crate) const LONGEST: usize = 256;

/// How many rows of `n` elements are taken together: as many as have `room` elements. One: rows are taken on their own.
#[inline(always)]
pub(crate) fn together(n: usize, room: usize) -> usize {
    if n > row::BLOCK {
        1
    } else {
        (room / n.max(1)).clamp(1, GROUP)
    }
}

in_waves! {
    fn row_range<T: Soft>(l: L; job: &Job<T>, lines: &Walk<3>, range: Range<usize>) {
        let mut first = range.start;
        // The logarithm's gradient takes another exponential.
        if job.n > 0 && job.n <= short::LONGEST * L::N && !(job.backward && job.log) {
            while first < range.end {
                let count = short::ROWS.min(range.end - first);
                few(l, job, lines, first..first + count);
                first += count;
            }
            return;
        }
        let longest = if job.log { LONGEST } else { LONGEST / 2 - 1 };
        let rows = if job.n > longest || job.backward { 1 } else { together(job.n, 2048) };
        if rows > 1 {
            let mut scratch = vec![T::ZERO; if job.log { 0 } else { rows * job.n }];
            while first + rows <= range.end {
                group(l, job, lines, first, rows, &mut scratch);
                first += rows;
            }
        }
        if rows == 1 && range.len() > 1 {
            return match (job.backward, job.log) {
                (true, false) if job.n > row::BLOCK => gradients_in_turn(l, job, lines, range),
                (false, false) if job.n <= TWICE => in_turn::<T, L, { before::SCALED }>(l, job, lines, range),
                (false, true) if job.n <= row::BLOCK => in_turn::<T, L, { before::LOWERED }>(l, job, lines, range),
                (false, true) => logarithms_in_turn(l, job, lines, range),
                _ => alone(l, job, lines, range),
            };
        }
        alone(l, job, lines, first..range.end);
    }
}

/// At most [`short::ROWS`] rows of at most [`short::LONGEST`] vectors: what [`one`] makes of each.
#[inline(always)]
fn few<T: Soft, L: Wave<T>>(l: L, job: &Job<T>, lines: &Walk<3>, range: Range<usize>) {
    let [x, g, y] = lines.at(range.start);
    let (x, g, y) = (
        job.x.wrapping_offset(x),
        job.g.wrapping_offset(g),
        job.y.wrapping_offset(y),
    );
    let (n, count) = (job.n, range.len());
    let mut rows = short::Rows {
        n,
        count,
        x: [x; short::ROWS],
        g: [g; short::ROWS],
        y: [y; short::ROWS],
    };
    for (r, i) in range.enumerate().skip(1) {
        let [x, g, y] = lines.at(i);
        rows.x[r] = job.x.wrapping_offset(x);
        rows.g[r] = job.g.wrapping_offset(g);
        rows.y[r] = job.y.wrapping_offset(y);
    }
    macro_rules! vectors {
        ($($v:literal),*) => {
            match (n.div_ceil(L::N), job.backward) {
                // SAFETY: rows of the walk; those of the result are this thread's.
                $(($v, true) => unsafe { rows.gradient::<L, $v>(l) },
                // SAFETY: as above.
                ($v, false) => unsafe { rows.softmax::<L, $v>(l, job.log) },)*
                _ => {}
            }
        };
    }
    vectors!(1, 2, 3, 4);
}

/// Rows on their own.
#[inline(always)]
fn alone<T: Soft, L: Wave<T>>(l: L, job: &Job<T>, lines: &Walk<3>, range: Range<usize>) {
    let mut scratch = Scratch::new(job.n);
    // No closure around the work: one that is not inlined would lose the instruction set.
    for i in range {
        // SAFETY: line i of the walk is this thread's.
        let (x, g, y) = unsafe { (job.of(lines, 0, i), job.of(lines, 1, i), job.to(lines, i)) };
        one(l, x, g, y, job.backward, job.log, scratch.first(job.n));
    }
}

/// Rows (log: of at most [`row::BLOCK`] elements), of which each passes through [`row::step`] three times: what [`one`] makes of
/// them.
#[inline(always)]
fn in_turn<T: Soft, L: Wave<T>, const BEFORE: u8>(l: L, job: &Job<T>, lines: &Walk<3>, range: Range<usize>) {
    let (n, log) = (job.n, BEFORE == before::LOWERED);
    let mut scratch = vec![T::ZERO; if log { 0 } else { 2 * n }];
    let (mut now, mut old) = scratch.split_at_mut(if log { 0 } else { n });
    let (mut by, mut top) = ([T::ZERO; 2], T::ZERO);
    for i in range.clone() {
        // SAFETY: lines of the walk, which nothing writes.
        let (x, next) = unsafe { (job.of(lines, 0, i), job.of(lines, 0, (i + 1).min(range.end - 1))) };
        let [sum, after] = if i == range.start {
            top = row::top(l, x);
            let sum = if log {
                row::sum_above(l, x, top)
            } else {
                row::exponentials(l, x, top, now)
            };
            [sum, row::top(l, next)]
        } else {
            // SAFETY: as above; line i - 1 of the result is this thread's.
            let (before, y) = unsafe { (if log { job.of(lines, 0, i - 1) } else { &*old }, job.to(lines, i - 1)) };
            row::step::<T, L, BEFORE>(l, next, x, top, now, before, by, y)
        };
        by = if log {
            [-top, -sum.log_lowered()]
        } else {
            [T::ONE / sum, T::ZERO]
        };
        (now, old) = (old, now);
        top = after;
    }
    let last = range.end - 1;
    // SAFETY: as above.
    let (x, y) = unsafe { (job.of(lines, 0, last), job.to(lines, last)) };
    if log {
        row::lowered(l, x, -by[0], -by[1], y);
    } else {
        row::scaled(l, old, by[0], y);
    }
}

/// Logarithms of softmax along long rows, each written while the next row's sum is made: what [`one`] makes of them.
#[inline(always)]
fn logarithms_in_turn<T: Soft, L: Wave<T>>(l: L, job: &Job<T>, lines: &Walk<3>, range: Range<usize>) {
    // SAFETY: lines of the walk, of which those of the result are this thread's.
    unsafe {
        let (mut top, mut sum) = row::top_and_sum(l, job.of(lines, 0, range.start));
        for i in range.clone() {
            let (x, y, log) = (job.of(lines, 0, i), job.to(lines, i), sum.log_lowered());
            if i + 1 == range.end {
                row::lowered(l, x, top, log, y);
            } else {
                let next = job.of(lines, 0, i + 1);
                (top, sum) = row::top_and_sum_after::<T, L, { before::LOWERED }>(l, next, x, [-top, -log], y);
            }
        }
    }
}

/// Gradients of softmax along long rows, each written while the next row's sum is made: what [`one`] makes of them.
#[inline(always)]
fn gradients_in_turn<T: Soft, L: Wave<T>>(l: L, job: &Job<T>, lines: &Walk<3>, range: Range<usize>) {
    // SAFETY: lines of the walk, of which that of the result is this thread's.
    unsafe {
        let mut dot = row::dot(l, job.of(lines, 1, range.start), job.of(lines, 0, range.start));
        for i in range.clone() {
            let (g, p, y) = (job.of(lines, 1, i), job.of(lines, 0, i), job.to(lines, i));
            if i + 1 == range.end {
                row::softmax_gradient(l, g, p, dot, y);
            } else {
                let next = [job.of(lines, 1, i + 1), job.of(lines, 0, i + 1)];
                dot = row::gradient_step(l, next, [g, p], dot, y);
            }
        }
    }
}

/// Asks for row `i` of y, and for row `i + rows` of x.
#[inline(always)]
fn fetch<T>(job: &Job<T>, lines: &Walk<3>, i: usize, rows: usize) {
    let [x, _, y] = lines.at(i);
    let x = job.x.wrapping_offset(x).wrapping_add(rows * job.n);
    let y = job.y.wrapping_offset(y);
    for at in (0..job.n).step_by(64 / size_of::<T>()) {
        prefetch(x.wrapping_add(at));
        prefetch(y.wrapping_add(at));
    }
}

/// Rows from `first` on: what [`one`] makes of each.
#[inline(always)]
fn group<T: Soft, L: Wave<T>>(l: L, job: &Job<T>, lines: &Walk<3>, first: usize, rows: usize, scratch: &mut [T]) {
    let rows = rows.min(GROUP);
    let (mut top, mut sum) = ([T::ZERO; GROUP], [T::ONE; GROUP]);
    for (r, top) in top[..rows].iter_mut().enumerate() {
        // SAFETY: lines of the walk, which nothing writes.
        *top = row::top(l, unsafe { job.of(lines, 0, first + r) });
    }
    if job.log {
        for r in 0..rows {
            fetch(job, lines, first + r, rows);
            // SAFETY: as above.
            sum[r] = row::sum_above(l, unsafe { job.of(lines, 0, first + r) }, top[r]);
        }
        for v in &mut sum {
            *v = v.log_lowered();
        }
    } else {
        for r in 0..rows {
            fetch(job, lines, first + r, rows);
            let to = &mut scratch[r * job.n..][..job.n];
            // SAFETY: as above.
            sum[r] = row::exponentials(l, unsafe { job.of(lines, 0, first + r) }, top[r], to);
        }
        for v in &mut sum {
            *v = T::ONE / *v;
        }
    }
    for r in 0..rows {
        // SAFETY: line i of the walk is this thread's.
        let (x, y) = unsafe { (job.of(lines, 0, first + r), job.to(lines, first + r)) };
        if job.log {
            row::lowered(l, x, top[r], sum[r], y);
        } else {
            row::scaled(l, &scratch[r * job.n..][..job.n], sum[r], y);
        }
    }
}

in_waves! {
    fn one_row<T: Soft>(l: L; x: &[T], g: &[T], y: &mut [T], backward: bool, log: bool, scratch: &mut [T]) {
        one(l, x, g, y, backward, log, scratch)
    }
}

/// One row. The result is written once, from a scratch row that stays in the cache.
#[inline(always)]
fn one<T: Soft, L: Wave<T>>(l: L, x: &[T], g: &[T], y: &mut [T], backward: bool, log: bool, scratch: &mut [T]) {
    match (backward, log) {
        (false, false) if x.len() <= L::N => row::narrow(l, x, y),
        (false, false) => {
            let sum = row::exponentials(l, x, row::top(l, x), scratch);
            row::scaled(l, scratch, T::ONE / sum, y);
        }
        (false, true) => {
            let (top, sum) = row::top_and_sum(l, x);
            row::lowered(l, x, top, sum.log_lowered(), y);
        }
        (true, false) => row::softmax_gradient(l, g, x, row::dot(l, g, x), y),
        (true, true) => row::log_softmax_gradient(g, x, row::sum(l, g, g), y),
    }
}

in_waves! {
    fn strips_of<T: Soft>(l: L; job: &Job<T>, outer: &Walk<3>, width: usize, range: Range<usize>) {
        let strips = width.div_ceil(strip::WIDTH);
        let mut scratch = vec![T::ZERO; if job.backward || job.log { 0 } else { job.n * strip::WIDTH }];
        for j in range {
            let first = j % strips * strip::WIDTH;
            let at = outer.at(j / strips).map(|a| a + first as isize);
            // SAFETY: lines of the walk that lie side by side; outputs start elsewhere than inputs.
            unsafe {
                let lines = strip::Lines {
                    n: job.n,
                    x: job.x.offset(at[0]),
                    g: job.g.offset(at[1]),
                    y: job.y.offset(at[2]),
                    step: job.step,
                };
                strip::run(l, lines, strip::WIDTH.min(width - first), job.backward, job.log, &mut scratch);
            }
        }
    }
}
