//! The engine of all reductions: a fold over some dims of one or two views, in an order that only shape and contiguity fix.
//!
//! Two ways through memory. *Runs*: the innermost reduced dim is walked into [`LANES`] virtual lanes, which are joined in a
//! halving tree after about [`RUN`] elements. *Columns*: where a kept dim is contiguous, a strip of its columns is folded
//! row by row, [`ROWS`] rows at a time. In both the segments' values are joined pairwise, as a binary counter carries. A
//! segment's number says all about its place, so threads may take outputs or segments, with the same bits.

use super::walk::{Share, Walk, grain};
use crate::multiversion;
use crate::parallel;
use crate::view::{Dst, Src};
use std::ops::Range;

const LANES: usize = 64;
/// Lanes of a single run shorter than `LANES`; below this the run is folded one by one.
const FEW: usize = 16;
const RUN: usize = 4096;
const STRIP: usize = 1024;
const ROWS: usize = 32;
/// Columns up to which rows that lie one after another are folded side by side.
const NARROW: usize = 64;

/// A reduction: how elements are folded in, accumulators joined, a result made. `aux` is a value given per output.
pub(crate) trait Fold: Copy + Send + Sync {
    type In: Copy + Send + Sync;
    type Aux: Copy + Default + Send + Sync;
    type Acc: Copy + Send + Sync;
    type Out: Copy + Send + Sync;
    fn zero(&self) -> Self::Acc;
    /// `y` is the second view's element; folds of one view get the first view twice.
    fn step(&self, aux: Self::Aux, acc: Self::Acc, x: Self::In, y: Self::In) -> Self::Acc;
    fn join(&self, a: Self::Acc, b: Self::Acc) -> Self::Acc;
    fn out(&self, aux: Self::Aux, acc: Self::Acc) -> Self::Out;
}

/// Everything a thread needs to do its share.
struct Plan<'a, F: Fold> {
    f: F,
    x: *const F::In,
    y: *const F::In,
    dst: *mut F::Out,
    aux: Option<*const F::Aux>,
    /// Outputs; offsets into x, y, dst, aux. In the column way without the columns' dim.
    kept: Walk<4>,
    /// Reduced positions; in the run way without the innermost dim.
    reduced: Walk<2>,
    inner: usize,
    inner_strides: [isize; 4],
    segments: usize,
    /// In the column way: rows that are folded side by side, as one row this many times as wide (a power of two), and
    /// the rows left over, which lie after the last of these.
    pack: usize,
    tail: usize,
    life: std::marker::PhantomData<&'a ()>,
}

impl<F: Fold> Plan<'_, F> {
    /// Accumulators of a strip.
    fn wide(&self) -> usize {
        self.inner.min(STRIP) * self.pack
    }
}

// SAFETY: threads read the inputs and write different outputs.
unsafe impl<F: Fold> Sync for Plan<'_, F> {}

/// Folds the dims of `x` (and `y`, of the same shape) that `axes` names into `dst`, whose shape has 1 there. `aux` has
/// `dst`'s shape.
pub(crate) fn fold<F: Fold>(
    f: F,
    x: &Src<F::In>,
    y: &Src<F::In>,
    axes: &[bool],
    aux: Option<&Src<F::Aux>>,
    dst: &Dst<F::Out>,
) {
    let mut kept = Walk::new();
    let mut reduced = Walk::new();
    for (d, &n) in x.shape().iter().enumerate() {
        let (sx, sy) = (x.strides()[d], y.strides()[d]);
        if axes[d] {
            reduced.push(n, [sx, sy]);
        } else {
            kept.push(n, [sx, sy, dst.strides()[d], aux.map_or(0, |a| a.strides()[d])]);
        }
    }
    let (outputs, count) = (kept.count(), reduced.count());
    if outputs == 0 {
        return;
    }
    kept.sort();
    reduced.sort();
    let (mut kept, mut reduced) = (kept.coalesce(), reduced.coalesce());
    let plan = |kept, reduced, inner, inner_strides, segments, pack, tail| Plan {
        f,
        x: x.ptr(),
        y: y.ptr(),
        dst: dst.ptr(),
        aux: aux.map(|a| a.ptr()),
        kept,
        reduced,
        inner,
        inner_strides,
        segments,
        pack,
        tail,
        life: std::marker::PhantomData,
    };
    let (width, step) = kept.last();
    if width > 1 && step[0] == 1 && step[1] == 1 && count > 0 {
        kept.pop();
        let w = width as isize;
        let pack = if width <= NARROW && reduced.rank() == 1 && reduced.last().1 == [w, w] {
            (2 * NARROW / width + 1).next_power_of_two() / 2
        } else {
            1
        };
        let (rows, tail) = (count / pack, count % pack);
        if pack > 1 && rows > 1 {
            let mut packed = Walk::new();
            packed.push(rows, [w * pack as isize; 2]);
            columns(&plan(kept, packed, width, step, rows.div_ceil(ROWS), pack, tail), count);
        } else {
            columns(&plan(kept, reduced, width, step, count.div_ceil(ROWS), 1, 0), count);
        }
    } else {
        let (inner, [sx, sy]) = reduced.pop();
        let runs = reduced.count();
        let segments = match inner {
            0 => 0,
            n if n >= RUN => runs * n.div_ceil(RUN),
            n => runs.div_ceil(RUN / n),
        };
        let plan = plan(
            kept,
            reduced,
            inner,
            [sx, sy, 0, 0],
            if count == 0 { 0 } else { segments },
            1,
            0,
        );
        by_runs(&plan, outputs, count);
    }
}

fn by_runs<F: Fold>(plan: &Plan<F>, outputs: usize, count: usize) {
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

#[inline(always)]
fn store<F: Fold>(plan: &Plan<F>, at: [isize; 4], acc: F::Acc) {
    // SAFETY: `at` comes from the walk over the outputs.
    unsafe {
        let aux = plan.aux.map_or(F::Aux::default(), |a| *a.offset(at[3]));
        *plan.dst.offset(at[2]) = plan.f.out(aux, acc);
    }
}

fn run_outputs<F: Fold>(plan: &Plan<F>, range: Range<usize>) {
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
    if runs == 1 && n < RUN && n >= FEW && [sx, sy] == [1, 1] {
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

/// Joins the halves of `lanes`, the halves of that, and so on.
#[inline(always)]
fn halve<F: Fold>(f: &F, lanes: &mut [F::Acc]) -> F::Acc {
    let mut width = lanes.len() / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = f.join(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
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

#[inline(always)]
fn in_lanes<F: Fold, const N: usize>(f: &F, aux: F::Aux, x: &[F::In], y: &[F::In]) -> F::Acc {
    let mut lanes = [f.zero(); N];
    let (xs, ys) = (x.chunks_exact(N), y.chunks_exact(N));
    let rest = xs.remainder().iter().zip(ys.remainder());
    for (x, y) in xs.zip(ys) {
        for l in 0..N {
            lanes[l] = f.step(aux, lanes[l], x[l], y[l]);
        }
    }
    for (lane, (&x, &y)) in lanes.iter_mut().zip(rest) {
        *lane = f.step(aux, *lane, x, y);
    }
    halve(f, &mut lanes)
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

/// Where runs start; whoever makes one answers for the elements read from it.
#[derive(Clone, Copy)]
struct Run<T> {
    x: *const T,
    y: *const T,
}

/// As [`fold_runs`] for one run of strided elements.
fn fold_strided<F: Fold>(
    f: &F,
    aux: F::Aux,
    lanes: &mut [F::Acc; LANES],
    from: Run<F::In>,
    n: usize,
    step: [isize; 2],
) {
    for i in 0..n {
        let k = i as isize;
        let lane = &mut lanes[i % LANES];
        // SAFETY: the run has n elements.
        *lane = unsafe { f.step(aux, *lane, *from.x.offset(k * step[0]), *from.y.offset(k * step[1])) };
    }
}

fn columns<F: Fold>(plan: &Plan<F>, count: usize) {
    let strips = plan.inner.div_ceil(STRIP);
    let jobs = plan.kept.count() * strips;
    let segments = plan.segments;
    let wide = plan.wide();
    if segments <= 1 || jobs >= 16 {
        parallel::for_range(jobs, grain(count * wide), |range| column_jobs(plan, range, strips));
        return;
    }
    let mut parts = vec![plan.f.zero(); jobs * segments * wide];
    let share = Share::new(parts.as_mut_ptr());
    parallel::for_range(jobs * segments, grain(ROWS * wide), |range| {
        column_segments(plan, range, strips, share)
    });
    for j in 0..jobs {
        let mut tree = Strips::new(wide);
        for s in 0..segments {
            tree.push(&plan.f, &parts[(j * segments + s) * wide..][..wide]);
        }
        store_strip(plan, j, strips, tree.finish(&plan.f));
    }
}

/// Where strip job `j` starts (offsets of its first column) and how many columns it has.
fn strip<F: Fold>(plan: &Plan<F>, j: usize, strips: usize) -> ([isize; 4], usize) {
    let mut at = plan.kept.at(j / strips);
    let first = j % strips * STRIP;
    for (a, s) in at.iter_mut().zip(plan.inner_strides) {
        *a += s * first as isize;
    }
    (at, STRIP.min(plan.inner - first))
}

fn store_strip<F: Fold>(plan: &Plan<F>, j: usize, strips: usize, acc: &mut [F::Acc]) {
    let (at, width) = strip(plan, j, strips);
    let mut side = plan.pack / 2;
    while side > 0 {
        for i in 0..side * width {
            acc[i] = plan.f.join(acc[i], acc[i + side * width]);
        }
        side /= 2;
    }
    let [_, _, sd, sa] = plan.inner_strides;
    for (i, &acc) in acc[..width].iter().enumerate() {
        let i = i as isize;
        store(plan, [at[0], at[1], at[2] + i * sd, at[3] + i * sa], acc);
    }
}

fn column_jobs<F: Fold>(plan: &Plan<F>, range: Range<usize>, strips: usize) {
    let wide = plan.wide();
    let mut acc = vec![plan.f.zero(); wide];
    let mut aux = vec![F::Aux::default(); wide];
    for j in range {
        load_aux(plan, j, strips, &mut aux);
        if plan.segments == 1 {
            column_segment(plan, j, 0, strips, &aux, &mut acc);
            store_strip(plan, j, strips, &mut acc);
        } else {
            let mut tree = Strips::new(wide);
            for s in 0..plan.segments {
                column_segment(plan, j, s, strips, &aux, &mut acc);
                tree.push(&plan.f, &acc);
            }
            store_strip(plan, j, strips, tree.finish(&plan.f));
        }
    }
}

fn column_segments<F: Fold>(plan: &Plan<F>, range: Range<usize>, strips: usize, parts: Share<F::Acc>) {
    let wide = plan.wide();
    let mut acc = vec![plan.f.zero(); wide];
    let mut aux = vec![F::Aux::default(); wide];
    let mut of = usize::MAX;
    for i in range {
        let j = i / plan.segments;
        if j != of {
            load_aux(plan, j, strips, &mut aux);
            of = j;
        }
        column_segment(plan, j, i % plan.segments, strips, &aux, &mut acc);
        for (l, &v) in acc.iter().enumerate() {
            // SAFETY: `parts` has jobs * segments * wide elements and `i` is this thread's own.
            unsafe { *parts.at(i * wide + l) = v };
        }
    }
}

/// The outputs' values for the columns of strip job `j`.
fn load_aux<F: Fold>(plan: &Plan<F>, j: usize, strips: usize, aux: &mut [F::Aux]) {
    let (at, width) = strip(plan, j, strips);
    if let Some(a) = plan.aux {
        for (i, v) in aux[..width * plan.pack].iter_mut().enumerate() {
            // SAFETY: a column of the strip.
            *v = unsafe { *a.offset(at[3] + (i % width) as isize * plan.inner_strides[3]) };
        }
    }
}

/// Folds the rows of segment `s` into `acc`, one accumulator per column of strip job `j`.
fn column_segment<F: Fold>(plan: &Plan<F>, j: usize, s: usize, strips: usize, aux: &[F::Aux], acc: &mut [F::Acc]) {
    let f = &plan.f;
    let (at, width) = strip(plan, j, strips);
    acc.fill(f.zero());
    // SAFETY: offsets of the walks stay inside the views.
    let from = unsafe {
        Run {
            x: plan.x.offset(at[0]),
            y: plan.y.offset(at[1]),
        }
    };
    let rows = plan.reduced.count();
    let mut offsets = [[0isize; 2]; ROWS];
    let range = s * ROWS..rows.min(s * ROWS + ROWS);
    let held = range.len();
    plan.reduced.each(range, |i, at| offsets[i % ROWS] = at);
    let wide = width * plan.pack;
    fold_block(f, &aux[..wide], &mut acc[..wide], from, &offsets[..held]);
    if plan.tail > 0 && s + 1 == plan.segments {
        let (wide, end) = (width * plan.tail, (rows * width * plan.pack) as isize);
        fold_block(f, &aux[..wide], &mut acc[..wide], from, &[[end; 2]]);
    }
}

/// Columns whose accumulators stay in registers over all rows of a block.
const TILE: usize = 32;

multiversion! {
    /// Folds rows of `acc.len()` contiguous elements, one per offset, into `acc`; in the order of the offsets.
    fn fold_block<F: Fold>(
        f: &F,
        aux: &[F::Aux],
        acc: &mut [F::Acc],
        from: Run<F::In>,
        offsets: &[[isize; 2]],
    ) {
        let n = acc.len();
        let aux = &aux[..n];
        let row = |o: [isize; 2], first: usize, n: usize| {
            // SAFETY: each offset is that of a row at least as long as `acc`.
            unsafe {
                (
                    std::slice::from_raw_parts(from.x.offset(o[0]).add(first), n),
                    std::slice::from_raw_parts(from.y.offset(o[1]).add(first), n),
                )
            }
        };
        if n <= 8 * TILE {
            let mut first = 0;
            while first + TILE <= n {
                let mut tile = [f.zero(); TILE];
                let mut own = [F::Aux::default(); TILE];
                tile.copy_from_slice(&acc[first..first + TILE]);
                own.copy_from_slice(&aux[first..first + TILE]);
                for &o in offsets {
                    let (x, y) = row(o, first, TILE);
                    for l in 0..TILE {
                        tile[l] = f.step(own[l], tile[l], x[l], y[l]);
                    }
                }
                acc[first..first + TILE].copy_from_slice(&tile);
                first += TILE;
            }
            let (acc, aux) = (&mut acc[first..], &aux[first..]);
            for &o in offsets {
                let (x, y) = row(o, first, n - first);
                for i in 0..n - first {
                    acc[i] = f.step(aux[i], acc[i], x[i], y[i]);
                }
            }
            return;
        }
        // Wide rows are streamed, four at a time: a quarter of the accumulators' loads and stores.
        let fours = offsets.chunks_exact(4);
        let rest = fours.remainder();
        for o in fours {
            let [(x0, y0), (x1, y1), (x2, y2), (x3, y3)] = [o[0], o[1], o[2], o[3]].map(|o| row(o, 0, n));
            for i in 0..n {
                let a = f.step(aux[i], acc[i], x0[i], y0[i]);
                let a = f.step(aux[i], a, x1[i], y1[i]);
                let a = f.step(aux[i], a, x2[i], y2[i]);
                acc[i] = f.step(aux[i], a, x3[i], y3[i]);
            }
        }
        for &o in rest {
            let (x, y) = row(o, 0, n);
            for i in 0..n {
                acc[i] = f.step(aux[i], acc[i], x[i], y[i]);
            }
        }
    }
}

/// Joins a sequence of values pairwise, as a binary counter carries.
struct Tree<A> {
    stack: [A; 64],
    depth: usize,
    pushed: usize,
}

impl<A: Copy> Tree<A> {
    fn new(zero: A) -> Self {
        Self {
            stack: [zero; 64],
            depth: 0,
            pushed: 0,
        }
    }

    fn push<F: Fold<Acc = A>>(&mut self, f: &F, mut v: A) {
        let mut carry = self.pushed;
        while carry & 1 == 1 {
            self.depth -= 1;
            v = f.join(self.stack[self.depth], v);
            carry >>= 1;
        }
        self.stack[self.depth] = v;
        self.depth += 1;
        self.pushed += 1;
    }

    fn finish<F: Fold<Acc = A>>(mut self, f: &F) -> A {
        while self.depth > 1 {
            self.depth -= 1;
            self.stack[self.depth - 1] = f.join(self.stack[self.depth - 1], self.stack[self.depth]);
        }
        self.stack[0]
    }
}

/// [`Tree`] for rows of accumulators.
struct Strips<A> {
    stack: Vec<A>,
    wide: usize,
    pushed: usize,
}

impl<A: Copy> Strips<A> {
    fn new(wide: usize) -> Self {
        Self {
            stack: Vec::new(),
            wide,
            pushed: 0,
        }
    }

    fn push<F: Fold<Acc = A>>(&mut self, f: &F, row: &[A]) {
        self.stack.extend_from_slice(row);
        let mut carry = self.pushed;
        while carry & 1 == 1 {
            self.merge(f);
            carry >>= 1;
        }
        self.pushed += 1;
    }

    fn merge<F: Fold<Acc = A>>(&mut self, f: &F) {
        let top = self.stack.len() - self.wide;
        let (below, last) = self.stack.split_at_mut(top);
        for (a, b) in below[top - self.wide..].iter_mut().zip(last.iter()) {
            *a = f.join(*a, *b);
        }
        self.stack.truncate(top);
    }

    fn finish<F: Fold<Acc = A>>(&mut self, f: &F) -> &mut [A] {
        while self.stack.len() > self.wide {
            self.merge(f);
        }
        &mut self.stack
    }
}
