//! The engine of all reductions: a fold over some dims of one or two views, in an order that only shape and contiguity fix.
//!
//! Two ways through memory. *Runs*: the innermost reduced dim is walked into virtual lanes, which are joined in a
//! halving tree every few thousand elements. *Columns*: where a kept dim is contiguous, a strip of its columns is folded
//! row by row, some rows at a time. In both the segments' values are joined pairwise, as a binary counter carries. A
//! segment's number says all about its place, so threads may take outputs or segments, with the same bits.

mod columns;
mod runs;

pub(super) use runs::{RUN, fold_row, in_lanes};

use super::walk::Walk;
use crate::view::{Dst, Src};

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
    /// What [`in_lanes`] makes of a short run, in fewer instructions, if its elements allow that.
    #[inline(always)]
    fn quickly<const N: usize>(&self, _: &[Self::In]) -> Option<Self::Acc> {
        None
    }
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
    let dense = step[..2] == [1, 1];
    // Where no dim is dense, the one whose elements lie closer together counts as it.
    let near = step[0] > 1 && x.ptr() == y.ptr() && step[0] == step[1] && step[0] < reduced.last().1[0].abs();
    if width > 1 && (dense || near) && count > 0 {
        kept.pop();
        let w = width as isize;
        let pack = if dense && width <= columns::NARROW && reduced.rank() == 1 && reduced.last().1 == [w, w] {
            (2 * columns::NARROW / width + 1).next_power_of_two() / 2
        } else {
            1
        };
        let (rows, tail) = (count / pack, count % pack);
        if pack > 1 && rows > 1 {
            let mut packed = Walk::new();
            packed.push(rows, [w * pack as isize; 2]);
            columns::fold_columns(
                &plan(kept, packed, width, step, rows.div_ceil(columns::ROWS), pack, tail),
                count,
            );
        } else {
            columns::fold_columns(
                &plan(kept, reduced, width, step, count.div_ceil(columns::ROWS), 1, 0),
                count,
            );
        }
    } else {
        let (inner, [sx, sy]) = reduced.pop();
        let runs = reduced.count();
        let segments = match inner {
            0 => 0,
            n if n >= runs::RUN => runs * n.div_ceil(runs::RUN),
            n => runs.div_ceil(runs::RUN / n),
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
        runs::fold_outputs(&plan, outputs, count);
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

/// Where runs start; whoever makes one answers for the elements read from it.
#[derive(Clone, Copy)]
struct Run<T> {
    x: *const T,
    y: *const T,
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
