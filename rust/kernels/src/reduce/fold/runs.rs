//! The fold along runs: the innermost reduced dim in virtual lanes.

use super::steps::{Lines, given};
use super::{Fold, Line, NEAR, Plan, Run, Tree};
use crate::elementwise::convert::Rect;
use crate::multiversion;
use crate::parallel;
use crate::reduce::walk::{Share, grain};
use crate::simd::cache::stream;
use crate::simd::{Aligned, prefetch};
use std::ops::Range;

const LANES: usize = 64;
/// Lanes of a single run shorter than `LANES`; below this the run is folded one by one.
const FEW: usize = 16;
/// Elements of a segment: a piece of one run, or several runs.
pub(in crate::reduce) const RUN: usize = 4096;
/// Pieces of a run that are folded at a time.
const TOGETHER: usize = 16;
/// Elements of a run that are brought side by side at a time: a multiple of [`LANES`].
const SOME: usize = 1024;
/// Bytes of lines that are brought side by side at a time, unless one is longer.
const FIT: usize = 8192;

pub(super) fn fold_outputs(plan: &Plan, outputs: usize, count: usize) {
    let segments = plan.segments;
    if segments <= 1 || outputs >= 64 {
        parallel::for_range(outputs, grain(count), |range| run_outputs(plan, range));
        return;
    }
    let mut parts = vec![0u64; outputs * segments];
    let share = Share::new(parts.as_mut_ptr());
    parallel::for_range(outputs * segments, grain(count / segments), |range| {
        run_segments(plan, range, share)
    });
    for o in 0..outputs {
        let mut tree = Tree::new();
        for &part in &parts[o * segments..][..segments] {
            tree.push(&plan.steps, part);
        }
        store(plan, plan.kept.at(o), tree.finish(&plan.steps));
    }
}

fn store(plan: &Plan, at: [isize; 4], acc: u64) {
    // SAFETY: `at` comes from the walk over the outputs.
    unsafe { plan.store((&raw const acc).cast(), 1, at, [0; 4]) };
}

fn run_outputs(plan: &Plan, range: Range<usize>) {
    let n = plan.inner;
    let near = plan.one() || plan.inner_strides[..2] == [1, 1];
    let lines = plan.reduced.count() == 1 && (n < LANES || n < RUN && near);
    if lines && n > 0 {
        return run_lines(plan, range);
    }
    let mut room = room(plan);
    let near = room.as_mut_ptr().cast::<u8>();
    plan.kept.each(range, |_, at| {
        let acc = match plan.segments {
            0 => plan.steps.zero(),
            1 => segment(plan, at, 0, near),
            n => {
                let mut tree = Tree::new();
                for first in (0..n).step_by(TOGETHER) {
                    let mut parts = [0u64; TOGETHER];
                    let parts = &mut parts[..TOGETHER.min(n - first)];
                    neighbours(plan, at, first, near, parts);
                    for &mut part in parts {
                        tree.push(&plan.steps, part);
                    }
                }
                tree.finish(&plan.steps)
            }
        };
        store(plan, at, acc);
    });
}

/// Outputs of one short run each.
fn run_lines(plan: &Plan, range: Range<usize>) {
    let n = plan.inner;
    let [sx, sy, ..] = plan.inner_strides;
    let apart = n >= LANES && [sx, sy] != [1, 1];
    let mut near = plan.room(apart);
    plan.kept.runs(range, |_, at, count, step| {
        let mut lines = Lines {
            x: plan.x(at[0]),
            y: plan.y(at[1]),
            dst: plan.dst(at[2]),
            aux: plan.aux(at[3]),
            n,
            inner: [sx, sy],
            count,
            step,
        };
        if !plan.converts && !apart {
            // SAFETY: lines of the walk.
            return unsafe { plan.steps.lines(&lines) };
        }
        let near = near.as_mut_ptr().cast::<u8>();
        let some = (NEAR.min(FIT / plan.folded) / n).max(1);
        for first in (0..count).step_by(some) {
            let i = first as isize;
            lines.count = some.min(count - first);
            let rect = Rect {
                rows: lines.count,
                row_stride: step[0],
                cols: n,
                col_stride: sx,
            };
            (lines.x, lines.y) = (near, near);
            (lines.inner, lines.step) = ([1, 1], [n as isize, n as isize, step[2], step[3]]);
            (lines.dst, lines.aux) = (plan.dst(at[2] + i * step[2]), plan.aux(at[3] + i * step[3]));
            // SAFETY: lines of the walk, and room for them.
            unsafe {
                plan.bring(plan.x(at[0] + i * step[0]), rect, near);
                plan.steps.lines(&lines);
            }
        }
    });
}

/// Room for [`segment`].
fn room(plan: &Plan) -> Vec<Line> {
    plan.room(plan.inner_strides[..2] != [1, 1])
}

fn run_segments(plan: &Plan, range: Range<usize>, parts: Share<u64>) {
    let mut room = room(plan);
    let near = room.as_mut_ptr().cast::<u8>();
    let mut i = range.start;
    while i < range.end {
        let s = i % plan.segments;
        let n = (plan.segments - s).min(range.end - i);
        // SAFETY: `parts` has outputs * segments elements and these are this thread's own.
        let own = unsafe { std::slice::from_raw_parts_mut(parts.at(i), n) };
        neighbours(plan, plan.kept.at(i / plan.segments), s, near, own);
        i += n;
    }
}

/// Accumulators of the segments from `s` on, as many as there is room for: pieces of a run that lie where they are folded
/// in one call.
fn neighbours(plan: &Plan, at: [isize; 4], mut s: usize, near: *mut u8, mut parts: &mut [u64]) {
    let n = plan.inner;
    let per = n.div_ceil(RUN);
    let dense = plan.inner_strides[..2] == [1, 1] && !plan.converts;
    while !parts.is_empty() {
        let whole = if dense { (n / RUN).saturating_sub(s % per) } else { 0 };
        let (some, rest) = parts.split_at_mut(whole.clamp(1, parts.len()));
        if whole == 0 {
            some[0] = segment(plan, at, s, near);
        } else {
            let [ox, oy] = plan.reduced.at(s / per);
            let start = (s % per * RUN) as isize;
            let from = [plan.x(at[0] + ox + start), plan.y(at[1] + oy + start)];
            // SAFETY: offsets of the walks stay inside the views, and these are pieces of a run.
            unsafe { plan.steps.pieces(plan.aux(at[3]), from, some) };
        }
        s += some.len();
        parts = rest;
    }
}

/// The accumulator of segment `s` of the output whose first elements are at `at`.
fn segment(plan: &Plan, at: [isize; 4], s: usize, near: *mut u8) -> u64 {
    let n = plan.inner;
    let [sx, sy, ..] = plan.inner_strides;
    let dense = [sx, sy] == [1, 1] && !plan.converts;
    let aux = plan.aux(at[3]);
    let runs = plan.reduced.count();
    // Room for the views' elements that are brought: those of a whole piece.
    let (x, y) = (near, near.wrapping_add(if plan.one() { 0 } else { RUN * plan.folded }));
    let bring = |[ox, oy]: [isize; 2], first: usize, to: usize, len: usize| {
        let rect = |step| Rect {
            rows: 1,
            row_stride: 0,
            cols: len,
            col_stride: step,
        };
        let (i, to) = (first as isize, to * plan.folded);
        // SAFETY: the run has the elements, and there is room for as many as are brought.
        unsafe {
            plan.bring(plan.x(ox + i * sx), rect(sx), x.wrapping_add(to));
            if !plan.one() {
                plan.bring(plan.y(oy + i * sy), rect(sy), y.wrapping_add(to));
            }
        }
    };
    let per = n.div_ceil(RUN);
    let start = s % per * RUN;
    if n - start >= RUN {
        let [ox, oy] = plan.reduced.at(s / per);
        let (ox, oy) = (at[0] + ox, at[1] + oy);
        let from = if dense {
            [plan.x(ox + start as isize), plan.y(oy + start as isize)]
        } else {
            for first in (0..RUN).step_by(SOME) {
                bring([ox, oy], start + first, first, SOME);
            }
            [x.cast_const(), y.cast_const()]
        };
        let mut part = [0];
        // SAFETY: offsets of the walks stay inside the views, or what was just brought.
        unsafe { plan.steps.pieces(aux, from, &mut part) };
        return part[0];
    }
    let mut lanes = Aligned([0u64; LANES]);
    let lanes = lanes.as_mut_ptr().cast::<u8>();
    // SAFETY: room for as many.
    unsafe { plan.steps.begin(lanes, LANES) };
    let fold_one = |[ox, oy]: [isize; 2], start: usize, len: usize| {
        let (ox, oy) = (at[0] + ox, at[1] + oy);
        if dense {
            let i = start as isize;
            // SAFETY: offsets of the walks stay inside the views. So below.
            return unsafe {
                plan.steps
                    .runs(aux, lanes, [plan.x(ox + i), plan.y(oy + i)], len, 1, [0, 0])
            };
        }
        for first in (0..len).step_by(SOME) {
            let some = SOME.min(len - first);
            bring([ox, oy], start + first, 0, some);
            // SAFETY: what was just brought.
            unsafe {
                plan.steps
                    .runs(aux, lanes, [x.cast_const(), y.cast_const()], some, 1, [0, 0])
            };
        }
    };
    if n >= RUN {
        fold_one(plan.reduced.at(s / per), start, n - start);
    } else {
        let per = RUN / n;
        let range = s * per..runs.min(s * per + per);
        if dense && plan.reduced.rank() <= 1 {
            let (_, gap) = plan.reduced.last();
            let [ox, oy] = plan.reduced.at(range.start);
            let from = [plan.x(at[0] + ox), plan.y(at[1] + oy)];
            // SAFETY: offsets of the walks stay inside the views.
            unsafe { plan.steps.runs(aux, lanes, from, n, range.len(), gap) };
        } else {
            plan.reduced.each(range, |_, at| fold_one(at, 0, n));
        }
    }
    // SAFETY: the lanes of above.
    unsafe { plan.steps.join_lanes(lanes) }
}

/// The result for one contiguous run shorter than [`RUN`]: what [`segment`] makes of it.
pub(in crate::reduce) fn fold_row<F: Fold<Aux = ()>>(f: &F, row: &[F::In]) -> F::Out {
    debug_assert!(row.len() < RUN);
    let acc = if row.len() < FEW {
        row.iter().fold(f.zero(), |acc, &x| f.step((), acc, x, x))
    } else {
        let x = row.as_ptr();
        fold_line(f, (), Run { x, y: x }, row.len())
    };
    f.out((), acc)
}

/// Joins the halves of at most 64 lanes, the halves of that, and so on. Written out, because a loop over widths is not made
/// into vectors.
#[inline(always)]
fn halve<F: Fold, const N: usize>(f: &F, lanes: &mut [F::Acc; N]) -> F::Acc {
    macro_rules! half {
        ($($h:literal)*) => {$(
            if N > $h {
                for i in 0..$h {
                    lanes[i] = f.join(lanes[i], lanes[(i + $h) % N]);
                }
            }
        )*};
    }
    half!(32 16 8 4 2 1);
    lanes[0]
}

multiversion! {
    pub(super) fn join_lanes<F: Fold>(f: &F, lanes: &mut [F::Acc; LANES]) -> F::Acc {
        halve(f, lanes)
    }
}

multiversion! {
    /// Folds one contiguous run of at least `FEW` elements.
    fn fold_line<F: Fold>(f: &F, aux: F::Aux, from: Run<F::In>, n: usize) -> F::Acc {
        // SAFETY: `from` promises n elements.
        let (x, y) = unsafe { (std::slice::from_raw_parts(from.x, n), std::slice::from_raw_parts(from.y, n)) };
        if n < LANES { in_lanes::<F, FEW>(f, aux, x, y) } else { in_lanes::<F, LANES>(f, aux, x, y) }
    }
}

multiversion! {
    /// As [`fold_line`] for lines whose outputs lie apart: the choice of an instruction set takes as long as a short one.
    pub(super) fn fold_lines<F: Fold>(f: &F, lines: &Lines) {
        let n = lines.n;
        let [sx, sy] = lines.inner;
        for i in 0..lines.count as isize {
            let [x, y, d, a] = lines.step.map(|s| s * i);
            // SAFETY: a line, its output, and the value given for that.
            unsafe {
                let from = Run { x: lines.x.cast::<F::In>().offset(x), y: lines.y.cast::<F::In>().offset(y) };
                let aux = given::<F>(lines.aux.wrapping_offset(a * size_of::<F::Aux>() as isize));
                let acc = if n < FEW || [sx, sy] != [1, 1] {
                    let mut acc = f.zero();
                    for i in 0..n as isize {
                        acc = f.step(aux, acc, *from.x.offset(i * sx), *from.y.offset(i * sy));
                    }
                    acc
                } else {
                    let (x, y) = (std::slice::from_raw_parts(from.x, n), std::slice::from_raw_parts(from.y, n));
                    if n < LANES { in_lanes::<F, FEW>(f, aux, x, y) } else { in_lanes::<F, LANES>(f, aux, x, y) }
                };
                *lines.dst.cast::<F::Out>().offset(d) = f.out(aux, acc);
            }
        }
    }
}

/// Element i goes to lane i modulo `N`, but for the last, fewer than `N`: they go to the last lanes, which have them in
/// the `N` elements that end with the run. (A loop over them alone is not made into vectors.)
#[inline(always)]
fn in_lanes<F: Fold, const N: usize>(f: &F, aux: F::Aux, x: &[F::In], y: &[F::In]) -> F::Acc {
    let mut lanes = [f.zero(); N];
    let full = x.len().min(y.len()) / N * N;
    // Over places and not over chunks: the compiler then sees that no element is a lane, and keeps these in registers.
    let mut i = 0;
    while i < full {
        // SAFETY: i + N <= full.
        let (x, y) = unsafe {
            (
                &*x.as_ptr().add(i).cast::<[F::In; N]>(),
                &*y.as_ptr().add(i).cast::<[F::In; N]>(),
            )
        };
        for l in 0..N {
            lanes[l] = f.step(aux, lanes[l], x[l], y[l]);
        }
        i += N;
    }
    let rest = x.len() - full;
    if rest > 0
        && let (Some(x), Some(y)) = (x.last_chunk::<N>(), y.last_chunk::<N>())
    {
        let first = N - rest;
        // Into lanes of their own, or the compiler stores some of a vector to memory and reads all of it.
        let mut last = [f.zero(); N];
        for l in 0..N {
            let v = f.step(aux, lanes[l], x[l], y[l]);
            last[l] = if l >= first { v } else { lanes[l] };
        }
        lanes = last;
    }
    halve(f, &mut lanes)
}

/// How many bytes after a block memory is asked for: the processor's own prefetching ends with each page. (A sum of 1e7
/// floats: 890 to 540 µs; of 1e6, in the last cache, 36 to 31.)
const AHEAD: usize = 8192;

/// Asks for what lies so many bytes after `block`.
#[inline(always)]
fn ahead<T>(block: &[T], by: usize) {
    for line in (0..size_of_val(block)).step_by(64) {
        prefetch(block.as_ptr().cast::<u8>().wrapping_add(by + line));
    }
}

multiversion! {
    /// Folds pieces of [`RUN`] contiguous elements, one after another, each into an accumulator: as [`fold_runs`] and
    /// [`join_lanes`] do, but for the way of the lanes through memory.
    pub(super) fn fold_pieces<F: Fold>(f: &F, aux: F::Aux, from: Run<F::In>, parts: &mut [u64]) {
        let by = stream(AHEAD);
        for (s, part) in parts.iter_mut().enumerate() {
            let mut lanes = [f.zero(); LANES];
            let mut i = s * RUN;
            while i < (s + 1) * RUN {
                // SAFETY: `from` promises as many pieces.
                let (a, b) = unsafe {
                    (&*from.x.add(i).cast::<[F::In; LANES]>(), &*from.y.add(i).cast::<[F::In; LANES]>())
                };
                ahead(a, by);
                for l in 0..LANES {
                    lanes[l] = f.step(aux, lanes[l], a[l], b[l]);
                }
                i += LANES;
            }
            *part = 0;
            // SAFETY: an accumulator takes at most eight bytes.
            unsafe { *(&raw mut *part).cast() = halve(f, &mut lanes) };
        }
    }
}

multiversion! {
    /// Folds `runs` runs of `n` contiguous elements, `gap` apart: element i of a run goes to lane i modulo `LANES`.
    pub(super) fn fold_runs<F: Fold>(
        f: &F,
        aux: F::Aux,
        lanes: &mut [F::Acc; LANES],
        from: Run<F::In>,
        n: usize,
        runs: usize,
        gap: [isize; 2],
    ) {
        let (full, by) = (n / LANES * LANES, stream(AHEAD));
        for r in 0..runs as isize {
            // SAFETY: `from` promises `runs` runs of `n` elements.
            let (x, y) = unsafe { (from.x.offset(r * gap[0]), from.y.offset(r * gap[1])) };
            let mut acc = *lanes;
            let mut i = 0;
            while i < full {
                // SAFETY: i + LANES <= n.
                let (a, b) = unsafe { (&*x.add(i).cast::<[F::In; LANES]>(), &*y.add(i).cast::<[F::In; LANES]>()) };
                ahead(a, by);
                for l in 0..LANES {
                    acc[l] = f.step(aux, acc[l], a[l], b[l]);
                }
                i += LANES;
            }
            *lanes = acc;
            for (l, lane) in lanes.iter_mut().enumerate().take(n - full) {
                // SAFETY: full + l < n.
                *lane = unsafe { f.step(aux, *lane, *x.add(full + l), *y.add(full + l)) };
            }
        }
    }
}
