//! How a walk goes through its operands: their dims in one order, merged where all of them allow it.

use super::convert::Rect;
use super::walk::{BLOCK, MAX_IN};
use crate::view::{AnyDst, AnySrc, MAX_RANK};

/// A tile is a block: so many elements along the dim in which an input is dense, so many along the output's.
pub(super) const TILE_ROWS: usize = 16;
pub(super) const TILE_COLS: usize = BLOCK / TILE_ROWS;
/// What fits in the first-level cache needs no tiles.
const TILES_FROM: usize = 16 * 1024;

/// Shape and strides (in elements) of an output (operand 0) and its inputs, dims reordered and merged.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub rank: usize,
    pub shape: [usize; MAX_RANK],
    pub strides: [[isize; MAX_RANK]; MAX_IN + 1],
    /// Where each operand begins.
    pub start: [isize; MAX_IN + 1],
}

impl Plan {
    /// Dims sorted by the output's strides (widest first), those of size 1 dropped, neighbours merged where every
    /// operand allows it. `None` stands for an operand without memory.
    pub fn new(out: &AnyDst, inputs: &[Option<&AnySrc>]) -> Plan {
        let mut order = [0usize; MAX_RANK];
        let mut count = 0;
        for d in 0..out.rank() {
            if out.shape()[d] != 1 {
                let width = out.strides()[d].unsigned_abs();
                let mut at = count;
                while at > 0 && out.strides()[order[at - 1]].unsigned_abs() < width {
                    order[at] = order[at - 1];
                    at -= 1;
                }
                order[at] = d;
                count += 1;
            }
        }
        Plan::merged(&order[..count], out, inputs)
    }

    /// Dims in the order of the shape, for work in which the row-major position of an element matters.
    pub fn row_major(out: &AnyDst, inputs: &[Option<&AnySrc>]) -> Plan {
        let mut order = [0usize; MAX_RANK];
        let mut count = 0;
        for d in (0..out.rank()).filter(|&d| out.shape()[d] != 1) {
            order[count] = d;
            count += 1;
        }
        Plan::merged(&order[..count], out, inputs)
    }

    fn merged(order: &[usize], out: &AnyDst, inputs: &[Option<&AnySrc>]) -> Plan {
        let mut plan = Plan {
            rank: 0,
            shape: [1; MAX_RANK],
            strides: [[0; MAX_RANK]; MAX_IN + 1],
            start: [0; MAX_IN + 1],
        };
        for &d in order {
            let size = out.shape()[d];
            let stride = |i: usize| match i {
                0 => out.strides()[d],
                _ => inputs[i - 1].map_or(0, |v| v.strides()[d]),
            };
            let last = plan.rank.wrapping_sub(1);
            let merges = plan.rank > 0
                && (0..=inputs.len()).all(|i| plan.strides[i][last] == stride(i).wrapping_mul(size as isize));
            let at = if merges { last } else { plan.rank };
            plan.shape[at] = if merges { plan.shape[at] * size } else { size };
            for i in 0..=inputs.len() {
                plan.strides[i][at] = stride(i);
            }
            plan.rank = at + 1;
        }
        // A single element is a row of one.
        plan.rank = plan.rank.max(1);
        plan
    }

    pub fn inner(&self) -> usize {
        self.shape[self.rank - 1]
    }

    pub fn inner_stride(&self, operand: usize) -> isize {
        self.strides[operand][self.rank - 1]
    }

    /// A dim along which some input is dense while it is not along the innermost one, if tiles are worth it.
    pub fn across(&self, inputs: usize) -> Option<usize> {
        let inner = self.rank - 1;
        let n: usize = self.shape[..self.rank].iter().product();
        if n < TILES_FROM || self.shape[inner] < TILE_COLS || self.rank + 2 > MAX_RANK {
            return None;
        }
        (0..inner).find(|&d| {
            self.shape[d] >= TILE_ROWS
                && (1..=inputs).any(|i| self.strides[i][d] == 1 && self.strides[i][inner].unsigned_abs() > 1)
        })
    }

    /// The same elements with the dim `across` and the innermost one cut into tiles, which they must fill.
    pub fn tiled(&self, across: usize) -> Plan {
        let inner = self.rank - 1;
        let mut plan = *self;
        plan.rank += 2;
        plan.shape[across] /= TILE_ROWS;
        plan.shape[inner] /= TILE_COLS;
        plan.shape[inner + 1] = TILE_ROWS;
        plan.shape[inner + 2] = TILE_COLS;
        for strides in &mut plan.strides {
            strides[inner + 1] = strides[across];
            strides[inner + 2] = strides[inner];
            strides[across] *= TILE_ROWS as isize;
            strides[inner] *= TILE_COLS as isize;
        }
        plan
    }

    /// Operand elements follow one another in the order of the walk.
    pub fn is_dense(&self, operand: usize) -> bool {
        let mut expect = 1;
        (0..self.rank).rev().all(|d| {
            let ok = self.strides[operand][d] == expect || self.shape[d] == 1;
            expect *= self.shape[d] as isize;
            ok
        })
    }

    /// The index of the element at position `pos` of the walk.
    #[inline]
    pub fn index(&self, mut pos: usize) -> [usize; MAX_RANK] {
        let mut index = [0; MAX_RANK];
        for d in (1..self.rank).rev() {
            index[d] = pos % self.shape[d];
            pos /= self.shape[d];
        }
        index[0] = pos;
        index
    }

    /// The index `by` steps along `d` later, at most at the end of that dim.
    #[inline]
    pub fn advance(&self, index: &mut [usize; MAX_RANK], mut d: usize, by: usize) {
        index[d] += by;
        while d > 0 && index[d] == self.shape[d] {
            index[d] = 0;
            d -= 1;
            index[d] += 1;
        }
    }

    #[inline]
    pub fn offset(&self, operand: usize, index: &[usize; MAX_RANK]) -> isize {
        let strides = &self.strides[operand];
        self.start[operand] + (0..self.rank).map(|d| index[d] as isize * strides[d]).sum::<isize>()
    }

    /// Calls `f(offset, rectangle, position in the block)` for the rectangles of `operand` that make up the `len`
    /// elements from `index` on.
    pub fn rectangles(
        &self,
        operand: usize,
        mut index: [usize; MAX_RANK],
        len: usize,
        mut f: impl FnMut(isize, Rect, usize),
    ) {
        let inner = self.rank - 1;
        let size = self.shape[inner];
        let strides = &self.strides[operand];
        let mut done = 0;
        while done < len {
            let left = len - done;
            let offset = self.offset(operand, &index);
            let whole_rows = index[inner] == 0 && left >= size && inner > 0;
            let (rows, cols) = if whole_rows {
                ((left / size).min(self.shape[inner - 1] - index[inner - 1]), size)
            } else {
                (1, left.min(size - index[inner]))
            };
            let row_stride = if inner > 0 { strides[inner - 1] } else { 0 };
            f(
                offset,
                Rect {
                    rows,
                    row_stride,
                    cols,
                    col_stride: strides[inner],
                },
                done,
            );
            done += rows * cols;
            if whole_rows {
                index[inner - 1] += rows;
            } else {
                index[inner] += cols;
            }
            for d in (1..self.rank).rev() {
                if index[d] == self.shape[d] {
                    index[d] = 0;
                    index[d - 1] += 1;
                }
            }
        }
    }
}
