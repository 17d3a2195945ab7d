//! The fold of columns: rows of a contiguous kept dim, one accumulator per column.

use super::{Fold, Plan, Run, store};
use crate::multiversion;
use crate::parallel;
use crate::reduce::walk::{Share, grain};
use crate::simd::every::every;
use std::ops::Range;

/// Columns that one job takes.
const STRIP: usize = 1024;
/// Rows of a segment.
pub(super) const ROWS: usize = 32;
/// Columns up to which rows that lie one after another are folded side by side.
pub(super) const NARROW: usize = 64;

impl<F: Fold> Plan<'_, F> {
    /// Accumulators of a strip.
    fn wide(&self) -> usize {
        self.inner.min(STRIP) * self.pack
    }
}

pub(super) fn fold_columns<F: Fold>(plan: &Plan<F>, count: usize) {
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
    if plan.inner_strides[0] != 1 {
        return fold_apart(plan, &aux[..width], &mut acc[..width], from.x, &offsets[..held]);
    }
    let wide = width * plan.pack;
    fold_block(f, &aux[..wide], &mut acc[..wide], from, &offsets[..held]);
    if plan.tail > 0 && s + 1 == plan.segments {
        let (wide, end) = (width * plan.tail, (rows * width * plan.pack) as isize);
        fold_block(f, &aux[..wide], &mut acc[..wide], from, &[[end; 2]]);
    }
}

/// Rows whose elements lie apart, and are brought side by side, at a time.
const NEAR: usize = 4;

/// Folds rows of one view into `acc`, a column for each; their elements lie apart.
fn fold_apart<F: Fold>(plan: &Plan<F>, aux: &[F::Aux], acc: &mut [F::Acc], from: *const F::In, offsets: &[[isize; 2]]) {
    let width = acc.len();
    let mut held = Vec::<F::In>::with_capacity(NEAR * width);
    let rows = held.as_mut_ptr();
    for some in offsets.chunks(NEAR) {
        for (r, at) in some.iter().enumerate() {
            // SAFETY: rows of the view, and room for as many.
            unsafe { every(from.offset(at[0]), plan.inner_strides[0], rows.add(r * width), width) };
        }
        let places = std::array::from_fn::<_, NEAR, _>(|r| [(r * width) as isize; 2]);
        fold_block(&plan.f, aux, acc, Run { x: rows, y: rows }, &places[..some.len()]);
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
