//! The fold of columns: rows of a contiguous kept dim, one accumulator per column.

use super::steps::Rows;
use super::{Fold, Line, NEAR, Plan, Run};
use crate::elementwise::convert::Rect;
use crate::multiversion;
use crate::parallel;
use crate::reduce::walk::{Share, grain};
use std::ops::Range;

/// Columns that one job takes.
const STRIP: usize = 1024;
/// Rows of a segment.
pub(super) const ROWS: usize = 32;
/// Columns up to which rows that lie one after another are folded side by side.
pub(super) const NARROW: usize = 64;

impl Plan {
    /// Accumulators of a strip.
    fn wide(&self) -> usize {
        self.inner.min(STRIP) * self.pack
    }

    /// Words that they take.
    fn words(&self) -> usize {
        (self.wide() * self.steps.acc).div_ceil(8)
    }
}

/// What a thread needs to fold strips: accumulators, the values given for them, and elements brought side by side.
struct Room {
    acc: Vec<u64>,
    aux: Vec<u64>,
    near: Vec<Line>,
}

impl Room {
    fn of(plan: &Plan) -> Room {
        Room {
            acc: vec![0; plan.words()],
            aux: vec![0; (plan.wide() * plan.steps.aux).div_ceil(8)],
            near: plan.room(plan.inner_strides[0] != 1),
        }
    }
}

pub(super) fn fold_columns(plan: &Plan, count: usize) {
    let strips = plan.inner.div_ceil(STRIP);
    let jobs = plan.kept.count() * strips;
    let segments = plan.segments;
    let wide = plan.wide();
    if segments <= 1 || jobs >= 16 {
        parallel::for_range(jobs, grain(count * wide), |range| column_jobs(plan, range, strips));
        return;
    }
    let words = plan.words();
    let mut parts = vec![0u64; jobs * segments * words];
    let share = Share::new(parts.as_mut_ptr());
    parallel::for_range(jobs * segments, grain(ROWS * wide), |range| {
        column_segments(plan, range, strips, share)
    });
    for j in 0..jobs {
        let mut tree = Strips::new(plan);
        for s in 0..segments {
            tree.push(plan, &parts[(j * segments + s) * words..][..words]);
        }
        store_strip(plan, j, strips, tree.finish(plan));
    }
}

/// Where strip job `j` starts (offsets of its first column) and how many columns it has.
fn strip(plan: &Plan, j: usize, strips: usize) -> ([isize; 4], usize) {
    let mut at = plan.kept.at(j / strips);
    let first = j % strips * STRIP;
    for (a, s) in at.iter_mut().zip(plan.inner_strides) {
        *a += s * first as isize;
    }
    (at, STRIP.min(plan.inner - first))
}

fn store_strip(plan: &Plan, j: usize, strips: usize, acc: &mut [u64]) {
    let (at, width) = strip(plan, j, strips);
    let acc = acc.as_mut_ptr().cast::<u8>();
    let mut side = plan.pack / 2;
    // SAFETY: the strip's accumulators and outputs.
    unsafe {
        while side > 0 {
            plan.steps
                .join(acc, acc.add(side * width * plan.steps.acc), side * width);
            side /= 2;
        }
        plan.store(acc, width, at, plan.inner_strides);
    }
}

fn column_jobs(plan: &Plan, range: Range<usize>, strips: usize) {
    let mut room = Room::of(plan);
    for j in range {
        load_aux(plan, j, strips, &mut room.aux);
        if plan.segments == 1 {
            column_segment(plan, j, 0, strips, &mut room);
            store_strip(plan, j, strips, &mut room.acc);
        } else {
            let mut tree = Strips::new(plan);
            for s in 0..plan.segments {
                column_segment(plan, j, s, strips, &mut room);
                tree.push(plan, &room.acc);
            }
            store_strip(plan, j, strips, tree.finish(plan));
        }
    }
}

fn column_segments(plan: &Plan, range: Range<usize>, strips: usize, parts: Share<u64>) {
    let mut room = Room::of(plan);
    let mut of = usize::MAX;
    for i in range {
        let j = i / plan.segments;
        if j != of {
            load_aux(plan, j, strips, &mut room.aux);
            of = j;
        }
        column_segment(plan, j, i % plan.segments, strips, &mut room);
        // SAFETY: `parts` has jobs * segments * words elements and `i` is this thread's own.
        unsafe { std::ptr::copy_nonoverlapping(room.acc.as_ptr(), parts.at(i * room.acc.len()), room.acc.len()) };
    }
}

/// The outputs' values for the columns of strip job `j`.
fn load_aux(plan: &Plan, j: usize, strips: usize, aux: &mut [u64]) {
    let (at, width) = strip(plan, j, strips);
    let size = plan.steps.aux;
    for i in 0..if plan.aux.is_null() { 0 } else { width * plan.pack } {
        let from = plan.aux(at[3] + (i % width) as isize * plan.inner_strides[3]);
        // SAFETY: a column of the strip.
        unsafe { std::ptr::copy_nonoverlapping(from, aux.as_mut_ptr().cast::<u8>().add(i * size), size) };
    }
}

/// Folds the rows of segment `s`, one accumulator per column of strip job `j`.
fn column_segment(plan: &Plan, j: usize, s: usize, strips: usize, room: &mut Room) {
    let (at, width) = strip(plan, j, strips);
    let wide = width * plan.pack;
    let acc = room.acc.as_mut_ptr().cast::<u8>();
    // SAFETY: room for all of the strip's.
    unsafe { plan.steps.begin(acc, plan.wide()) };
    let rows = plan.reduced.count();
    let mut offsets = [[0isize; 2]; ROWS];
    let range = s * ROWS..rows.min(s * ROWS + ROWS);
    let held = range.len();
    plan.reduced.each(range, |i, at| offsets[i % ROWS] = at);
    let mut block = Rows {
        x: plan.x(at[0]),
        y: plan.y(at[1]),
        aux: room.aux.as_ptr().cast(),
        acc,
        n: wide,
        offsets: &offsets[..held],
    };
    let near = room.near.as_mut_ptr().cast::<u8>();
    fold_rows(plan, block, near);
    if plan.tail > 0 && s + 1 == plan.segments {
        let end = [[(rows * wide) as isize; 2]];
        (block.n, block.offsets) = (width * plan.tail, &end);
        fold_rows(plan, block, near);
    }
}

/// Folds rows where they lie, or brings some at a time side by side first.
fn fold_rows(plan: &Plan, rows: Rows, near: *mut u8) {
    let step = plan.inner_strides[0];
    if step == 1 && !plan.converts {
        // SAFETY: offsets of the walks stay inside the views.
        return unsafe { plan.steps.rows(&rows) };
    }
    let n = rows.n;
    let places: [[isize; 2]; ROWS] = std::array::from_fn(|i| [(i * n) as isize; 2]);
    for some in rows.offsets.chunks((NEAR / 2 / n).clamp(4, ROWS)) {
        for (r, at) in some.iter().enumerate() {
            let rect = Rect {
                rows: 1,
                row_stride: 0,
                cols: n,
                col_stride: step,
            };
            // SAFETY: rows of the view, and room for four of a strip's width, or for half of what there is room for.
            unsafe {
                let from = rows.x.offset(at[0] * plan.stored as isize);
                plan.bring(from, rect, near.add(r * n * plan.folded));
            }
        }
        // SAFETY: the rows that were just brought.
        unsafe {
            plan.steps.rows(&Rows {
                x: near,
                y: near,
                offsets: &places[..some.len()],
                ..rows
            });
        }
    }
}

/// Columns whose accumulators stay in registers over all rows of a block.
const TILE: usize = 32;

multiversion! {
    /// Folds rows of `acc.len()` contiguous elements, one per offset, into `acc`; in the order of the offsets.
    pub(super) fn fold_block<F: Fold>(
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

/// [`Tree`](super::Tree) for rows of accumulators.
struct Strips {
    stack: Vec<u64>,
    words: usize,
    pushed: usize,
}

impl Strips {
    fn new(plan: &Plan) -> Self {
        Self {
            stack: Vec::new(),
            words: plan.words(),
            pushed: 0,
        }
    }

    fn push(&mut self, plan: &Plan, row: &[u64]) {
        self.stack.extend_from_slice(row);
        let mut carry = self.pushed;
        while carry & 1 == 1 {
            self.merge(plan);
            carry >>= 1;
        }
        self.pushed += 1;
    }

    fn merge(&mut self, plan: &Plan) {
        let top = self.stack.len() - self.words;
        let (below, last) = self.stack.split_at_mut(top);
        let into = below[top - self.words..].as_mut_ptr();
        // SAFETY: two rows of accumulators.
        unsafe { plan.steps.join(into.cast(), last.as_ptr().cast(), plan.wide()) };
        self.stack.truncate(top);
    }

    fn finish(&mut self, plan: &Plan) -> &mut [u64] {
        while self.stack.len() > self.words {
            self.merge(plan);
        }
        &mut self.stack
    }
}
