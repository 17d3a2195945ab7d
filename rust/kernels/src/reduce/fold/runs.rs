//! The fold along runs: the innermost reduced dim in virtual lanes.

use super::{Fold, Plan, Run, Tree, store};
use crate::multiversion;
use crate::parallel;
use crate::reduce::walk::{Share, grain};
use crate::simd::every::every;
use std::mem::MaybeUninit;
use std::ops::Range;

const LANES: usize = 64;
/// Lanes of a single run shorter than `LANES`; below this the run is folded one by one.
const FEW: usize = 16;
/// Longest run that is worth a look at whether it can be folded [`quickly`](Fold::quickly).
const SHORT: usize = 512;
/// Elements of a segment: a piece of one run, or several runs.
pub(in crate::reduce) const RUN: usize = 4096;

pub(super) fn fold_outputs<F: Fold>(plan: &Plan<F>, outputs: usize, count: usize) {
    let segments = plan.segments;
    if segments <= 1 || outputs >= 64 {
        parallel::for_range(outputs, grain(count), |range| run_outputs(plan, range));
        return;
    }
    let mut parts = vec![plan.f.zero(); outputs * segments];
    let share = Share::new(parts.as_mut_ptr());
    parallel::for_range(outputs * segments, grain(count / segments), |range| {
        run_segments(plan, range, share)
    });
    for o in 0..outputs {
        let mut tree = Tree::new(plan.f.zero());
        for &part in &parts[o * segments..][..segments] {
            tree.push(&plan.f, part);
        }
        store(plan, plan.kept.at(o), tree.finish(&plan.f));
    }
}

fn run_outputs<F: Fold>(plan: &Plan<F>, range: Range<usize>) {
    let lines = plan.reduced.count() == 1 && plan.inner_strides[..2] == [1, 1];
    if lines && (FEW..RUN).contains(&plan.inner) {
        return plan
            .kept
            .runs(range, |_, at, count, step| fold_lines(plan, at, count, step));
    }
    plan.kept.each(range, |_, at| {
        let acc = match plan.segments {
            0 => plan.f.zero(),
            1 => segment(plan, at, 0),
            n => {
                let mut tree = Tree::new(plan.f.zero());
                for s in 0..n {
                    tree.push(&plan.f, segment(plan, at, s));
                }
                tree.finish(&plan.f)
            }
        };
        store(plan, at, acc);
    });
}

fn run_segments<F: Fold>(plan: &Plan<F>, range: Range<usize>, parts: Share<F::Acc>) {
    for i in range {
        let at = plan.kept.at(i / plan.segments);
        // SAFETY: `parts` has outputs * segments elements and `i` is this thread's own.
        unsafe { *parts.at(i) = segment(plan, at, i % plan.segments) };
    }
}

/// The value of segment `s` of the output whose first elements are at `at`.
fn segment<F: Fold>(plan: &Plan<F>, at: [isize; 4], s: usize) -> F::Acc {
    let f = &plan.f;
    let n = plan.inner;
    let [sx, sy, ..] = plan.inner_strides;
    // SAFETY: offsets of the walks stay inside the views.
    let aux = plan.aux.map_or(F::Aux::default(), |a| unsafe { *a.offset(at[3]) });
    // SAFETY: as above.
    let (x, y) = unsafe { (plan.x.offset(at[0]), plan.y.offset(at[1])) };
    let runs = plan.reduced.count();
    if runs == 1 && (FEW..RUN).contains(&n) && [sx, sy] == [1, 1] {
        return fold_line(f, aux, Run { x, y }, n);
    }
    if runs == 1 && n < LANES {
        let mut acc = f.zero();
        for i in 0..n as isize {
            // SAFETY: i < inner.
            acc = unsafe { f.step(aux, acc, *x.offset(i * sx), *y.offset(i * sy)) };
        }
        return acc;
    }
    let mut lanes = [f.zero(); LANES];
    // SAFETY: offsets below come from the walk over the runs.
    let from = |[ox, oy]: [isize; 2]| unsafe {
        Run {
            x: x.offset(ox),
            y: y.offset(oy),
        }
    };
    let fold_one = |lanes: &mut _, at, len| {
        if [sx, sy] == [1, 1] {
            fold_runs(f, aux, lanes, from(at), len, 1, [0, 0]);
        } else {
            fold_strided(f, aux, lanes, from(at), len, [sx, sy]);
        }
    };
    if n >= RUN {
        let per = n.div_ceil(RUN);
        let [ox, oy] = plan.reduced.at(s / per);
        let start = s % per * RUN;
        let len = RUN.min(n - start);
        let start = start as isize;
        fold_one(&mut lanes, [ox + start * sx, oy + start * sy], len);
    } else {
        let per = RUN / n;
        let range = s * per..runs.min(s * per + per);
        if [sx, sy] == [1, 1] && plan.reduced.rank() <= 1 {
            let (_, gap) = plan.reduced.last();
            fold_runs(
                f,
                aux,
                &mut lanes,
                from(plan.reduced.at(range.start)),
                n,
                range.len(),
                gap,
            );
        } else {
            plan.reduced.each(range, |_, at| fold_one(&mut lanes, at, n));
        }
    }
    join_lanes(f, &mut lanes)
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
    fn join_lanes<F: Fold>(f: &F, lanes: &mut [F::Acc; LANES]) -> F::Acc {
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
    /// As [`fold_line`] for lines whose outputs lie `step` apart: the choice of an instruction set takes as long as a short one.
    fn fold_lines<F: Fold>(plan: &Plan<F>, at: [isize; 4], count: usize, step: [isize; 4]) {
        let (f, n, mut at) = (&plan.f, plan.inner, at);
        for _ in 0..count {
            // SAFETY: a line of the walk, with `n` elements, and the value given for its output.
            let (x, y, aux) = unsafe {
                (
                    std::slice::from_raw_parts(plan.x.offset(at[0]), n),
                    std::slice::from_raw_parts(plan.y.offset(at[1]), n),
                    plan.aux.map_or(F::Aux::default(), |a| *a.offset(at[3])),
                )
            };
            let acc = if n < LANES { in_lanes::<F, FEW>(f, aux, x, y) } else { in_lanes::<F, LANES>(f, aux, x, y) };
            store(plan, at, acc);
            for (a, s) in at.iter_mut().zip(step) {
                *a += s;
            }
        }
    }
}

/// Element i goes to lane i modulo `N`, but for the last, fewer than `N`: they go to the last lanes, which have them in
/// the `N` elements that end with the run. (A loop over them alone is not made into vectors.)
#[inline(always)]
pub(in crate::reduce) fn in_lanes<F: Fold, const N: usize>(f: &F, aux: F::Aux, x: &[F::In], y: &[F::In]) -> F::Acc {
    if x.len() <= SHORT
        && let Some(acc) = f.quickly::<N>(x)
    {
        return acc;
    }
    let mut lanes = [f.zero(); N];
    let ((xs, rest), (ys, _)) = (x.as_chunks::<N>(), y.as_chunks::<N>());
    for (x, y) in xs.iter().zip(ys) {
        for l in 0..N {
            lanes[l] = f.step(aux, lanes[l], x[l], y[l]);
        }
    }
    if !rest.is_empty()
        && let (Some(x), Some(y)) = (x.last_chunk::<N>(), y.last_chunk::<N>())
    {
        let first = N - rest.len();
        for l in 0..N {
            let v = f.step(aux, lanes[l], x[l], y[l]);
            lanes[l] = if l >= first { v } else { lanes[l] };
        }
    }
    halve(f, &mut lanes)
}

/// Fetches what lies 8 KiB after `block`: the processor's own prefetching ends with each page. (A sum of 1e7 floats: 890
/// to 540 µs; of 1e6, in the last cache, 36 to 31.)
#[inline(always)]
fn ahead<T>(block: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..std::mem::size_of_val(block).div_ceil(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let p = block.as_ptr().cast::<i8>().wrapping_add(8192 + 64 * line);
        // SAFETY: a hint; it never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = block;
}

multiversion! {
    /// Folds `runs` runs of `n` contiguous elements, `gap` apart: element i of a run goes to lane i modulo `LANES`.
    fn fold_runs<F: Fold>(
        f: &F,
        aux: F::Aux,
        lanes: &mut [F::Acc; LANES],
        from: Run<F::In>,
        n: usize,
        runs: usize,
        gap: [isize; 2],
    ) {
        let full = n / LANES * LANES;
        for r in 0..runs as isize {
            // SAFETY: `from` promises `runs` runs of `n` elements.
            let (x, y) = unsafe { (from.x.offset(r * gap[0]), from.y.offset(r * gap[1])) };
            let mut acc = *lanes;
            let mut i = 0;
            while i < full {
                // SAFETY: i + LANES <= n.
                let (a, b) = unsafe { (&*x.add(i).cast::<[F::In; LANES]>(), &*y.add(i).cast::<[F::In; LANES]>()) };
                ahead(a);
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

/// Strided elements that are brought side by side at a time: a multiple of [`LANES`].
const NEAR: usize = 512;

/// As [`fold_runs`] for one run of strided elements.
fn fold_strided<F: Fold>(
    f: &F,
    aux: F::Aux,
    lanes: &mut [F::Acc; LANES],
    from: Run<F::In>,
    n: usize,
    step: [isize; 2],
) {
    let (mut x, mut y) = (
        MaybeUninit::<[F::In; NEAR]>::uninit(),
        MaybeUninit::<[F::In; NEAR]>::uninit(),
    );
    let (x, mut other) = (x.as_mut_ptr().cast::<F::In>(), y.as_mut_ptr().cast::<F::In>());
    let one = from.x == from.y && step[0] == step[1];
    if one {
        other = x;
    }
    for first in (0..n).step_by(NEAR) {
        let (len, at) = (NEAR.min(n - first), first as isize);
        // SAFETY: the run has n elements, and the blocks hold as many as are written.
        unsafe {
            every(from.x.offset(at * step[0]), step[0], x, len);
            if !one {
                every(from.y.offset(at * step[1]), step[1], other, len);
            }
        }
        fold_runs(f, aux, lanes, Run { x, y: other }, len, 1, [0, 0]);
    }
}
