//! The engine of all reductions: a fold over some dims of one or two views, in an order that only shape and contiguity fix.
//!
//! Two ways through memory. *Runs*: the innermost reduced dim is walked into virtual lanes, which are joined in a
//! halving tree every few thousand elements. *Columns*: where a kept dim is contiguous, a strip of its columns is folded
//! row by row, some rows at a time. In both the segments' values are joined pairwise, as a binary counter carries. A
//! segment's number says all about its place, so threads may take outputs or segments, with the same bits.
//!
//! The drivers know a fold by its [`Steps`]. Elements that lie apart, or are stored in another dtype than the fold's, are
//! brought side by side, converted, a few thousand at a time.

mod columns;
mod runs;
mod steps;

pub(super) use runs::{RUN, fold_row};

use super::walk::Walk;
use crate::dtype::{DType, Element};
use crate::elementwise::convert::{Load, Rect, loader};
use crate::simd::cache::stream;
use crate::simd::{Aligned, prefetch};
use crate::view::{AnySrc, Dst, MAX_RANK, Src};
use steps::Steps;

/// A reduction: how elements are folded in, accumulators joined, a result made. `aux` is a value given per output.
pub(crate) trait Fold: Copy + Send + Sync {
    type In: Element;
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
struct Plan {
    steps: Steps,
    x: *const u8,
    y: *const u8,
    dst: *mut u8,
    /// Null where there is none.
    aux: *const u8,
    /// Bytes of an element as it is stored and as it is folded; whether it is converted.
    stored: usize,
    folded: usize,
    converts: bool,
    bring: Load,
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
}

// SAFETY: threads read the inputs and write different outputs.
unsafe impl Sync for Plan {}

/// A line of the cache: vectors that cross two take twice as long.
type Line = Aligned<[u8; 64]>;

/// Elements that are brought side by side at a time.
const NEAR: usize = 4096;

impl Plan {
    fn one(&self) -> bool {
        self.x == self.y
    }

    fn x(&self, at: isize) -> *const u8 {
        self.x.wrapping_offset(at * self.stored as isize)
    }

    fn y(&self, at: isize) -> *const u8 {
        self.y.wrapping_offset(at * self.stored as isize)
    }

    fn dst(&self, at: isize) -> *mut u8 {
        self.dst.wrapping_offset(at * self.steps.out as isize)
    }

    fn aux(&self, at: isize) -> *const u8 {
        match self.aux.is_null() {
            true => self.aux,
            false => self.aux.wrapping_offset(at * self.steps.aux as isize),
        }
    }

    /// Stores `n` results of a run (or row) of outputs.
    ///
    /// # Safety
    /// They are the walks'.
    unsafe fn store(&self, acc: *const u8, n: usize, at: [isize; 4], step: [isize; 4]) {
        // SAFETY: the contract of this function.
        unsafe {
            self.steps
                .store(acc, n, (self.dst(at[2]), step[2]), (self.aux(at[3]), step[3]));
        }
    }

    /// Brings a rectangle of elements side by side.
    ///
    /// # Safety
    /// They are there, and there is room for as many.
    unsafe fn bring(&self, from: *const u8, rect: Rect, to: *mut u8) {
        if rect.rows == 1 && rect.col_stride == 1 {
            // The processor's own prefetching ends with each page.
            let by = stream(4096);
            for line in (0..rect.cols * self.stored).step_by(64) {
                prefetch(from.wrapping_add(by + line));
            }
        }
        // SAFETY: the contract of this function.
        unsafe { (self.bring)(from, rect, to) }
    }

    /// Room for [`NEAR`] elements of each view; none where all are folded where they lie.
    fn room(&self, apart: bool) -> Vec<Line> {
        let views = if self.one() { 1 } else { 2 };
        let bytes = if apart || self.converts {
            views * NEAR * self.folded
        } else {
            0
        };
        Vec::with_capacity(bytes.div_ceil(size_of::<Line>()))
    }
}

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
    let views = Views {
        y: (y.ptr().cast(), y.strides()),
        ..Views::of((x.ptr().cast(), x.strides()), F::In::DTYPE, x.shape(), aux, dst)
    };
    drive(Steps::of(&f), &views, axes);
}

/// As [`fold`] of one view, whose elements may be of any dtype that converts to the fold's.
pub(crate) fn fold_stored<F: Fold>(f: F, x: &AnySrc, axes: &[bool], aux: Option<&Src<F::Aux>>, dst: &Dst<F::Out>) {
    let views = Views::of((x.ptr(), x.strides()), x.dtype(), x.shape(), aux, dst);
    drive(Steps::of(&f), &views, axes);
}

/// What [`fold`] is given, without types: pointers and strides.
struct Views<'a> {
    shape: &'a [usize],
    stored: DType,
    x: (*const u8, &'a [isize]),
    y: (*const u8, &'a [isize]),
    dst: (*mut u8, &'a [isize]),
    aux: (*const u8, &'a [isize]),
}

impl<'a> Views<'a> {
    fn of<A, O>(
        x: (*const u8, &'a [isize]),
        stored: DType,
        shape: &'a [usize],
        aux: Option<&'a Src<A>>,
        dst: &'a Dst<O>,
    ) -> Self {
        Views {
            shape,
            stored,
            x,
            y: x,
            dst: (dst.ptr().cast(), dst.strides()),
            aux: aux.map_or((std::ptr::null(), &[0; MAX_RANK]), |a| (a.ptr().cast(), a.strides())),
        }
    }
}

fn drive(steps: Steps, views: &Views, axes: &[bool]) {
    let (mut kept, mut reduced) = (Walk::new(), Walk::new());
    for (d, &n) in views.shape.iter().enumerate() {
        let (sx, sy) = (views.x.1[d], views.y.1[d]);
        if axes[d] {
            reduced.push(n, [sx, sy]);
        } else {
            kept.push(n, [sx, sy, views.dst.1[d], views.aux.1[d]]);
        }
    }
    let (outputs, count) = (kept.count(), reduced.count());
    if outputs == 0 {
        return;
    }
    kept.sort();
    reduced.sort();
    let mut plan = Plan {
        steps,
        x: views.x.0,
        y: views.y.0,
        dst: views.dst.0,
        aux: views.aux.0,
        stored: views.stored.size(),
        folded: steps.element.size(),
        converts: views.stored != steps.element,
        bring: loader(views.stored, steps.element),
        kept: kept.coalesce(),
        reduced: reduced.coalesce(),
        inner: 0,
        inner_strides: [0; 4],
        segments: 0,
        pack: 1,
        tail: 0,
    };
    let (width, step) = plan.kept.last();
    let dense = step[..2] == [1, 1];
    // Where no dim is dense, the one whose elements lie closer together counts as it.
    let near = step[0] > 1 && plan.one() && step[0] == step[1] && step[0] < plan.reduced.last().1[0].abs();
    if width > 1 && (dense || near) && count > 0 {
        plan.kept.pop();
        (plan.inner, plan.inner_strides) = (width, step);
        let w = width as isize;
        let mut rows = count;
        if dense && width <= columns::NARROW && plan.reduced.rank() == 1 && plan.reduced.last().1 == [w, w] {
            let pack = (2 * columns::NARROW / width + 1).next_power_of_two() / 2;
            if pack > 1 && count / pack > 1 {
                (plan.pack, plan.tail, rows) = (pack, count % pack, count / pack);
                plan.reduced = Walk::new();
                plan.reduced.push(rows, [w * pack as isize; 2]);
            }
        }
        plan.segments = rows.div_ceil(columns::ROWS);
        columns::fold_columns(&plan, count);
    } else {
        let (inner, [sx, sy]) = plan.reduced.pop();
        let runs = plan.reduced.count();
        let segments = match inner {
            0 => 0,
            n if n >= runs::RUN => runs * n.div_ceil(runs::RUN),
            n => runs.div_ceil(runs::RUN / n),
        };
        (plan.inner, plan.inner_strides) = (inner, [sx, sy, 0, 0]);
        plan.segments = if count == 0 { 0 } else { segments };
        runs::fold_outputs(&plan, outputs, count);
    }
}

/// Where runs start; whoever makes one answers for the elements read from it.
#[derive(Clone, Copy)]
struct Run<T> {
    x: *const T,
    y: *const T,
}

/// Joins a sequence of values pairwise, as a binary counter carries.
struct Tree {
    stack: [u64; 64],
    depth: usize,
    pushed: usize,
}

impl Tree {
    fn new() -> Self {
        Self {
            stack: [0; 64],
            depth: 0,
            pushed: 0,
        }
    }

    fn push(&mut self, steps: &Steps, mut v: u64) {
        let mut carry = self.pushed;
        while carry & 1 == 1 {
            self.depth -= 1;
            v = steps.joined(self.stack[self.depth], v);
            carry >>= 1;
        }
        self.stack[self.depth] = v;
        self.depth += 1;
        self.pushed += 1;
    }

    fn finish(mut self, steps: &Steps) -> u64 {
        while self.depth > 1 {
            self.depth -= 1;
            self.stack[self.depth - 1] = steps.joined(self.stack[self.depth - 1], self.stack[self.depth]);
        }
        self.stack[0]
    }
}
