//! Walks by rows, whose operands are used where they lie: with a call of the kernel for each row ([`Rows`]), or of two inputs
//! with one call for many ([`Pairs`]), so that short rows are no slower than long ones.

use super::Operand;
use super::convert::{Load, Rect};
use super::plan::Plan;
use super::walk::{BLOCK, Feed as BlockFeed, Kernel, MAX_IN, ask, scratch, splat};
use crate::dtype::{DType, Scalar};
use crate::simd::prefetch;
use std::ops::Range;

/// How a row of an input is got.
pub(super) enum Feed {
    /// A scalar's block, filled once.
    Splat(Scalar),
    /// Used where it lies.
    Row(*const u8),
    /// One element for all of a row, of which scratch holds as many copies as are read together.
    Copies(*const u8, Load),
    /// With the other rows of its tile, which scratch holds.
    Tile(*const u8, Load),
}

// SAFETY: the pointers come from views, which are `Sync`.
unsafe impl Sync for Feed {}

impl Feed {
    /// A row is a block of copies of one element.
    pub fn is_block(&self) -> bool {
        matches!(self, Feed::Splat(_) | Feed::Copies(..))
    }
}

/// The feeds of a walk by rows, if `by_row` or `tiles` says that it is one: the two innermost dims of a plan in `tiles` are no more
/// elements than a block.
pub(super) fn feeds(plan: &Plan, blocks: &[BlockFeed], by_row: bool, tiles: bool) -> Option<[Feed; MAX_IN]> {
    let mut feeds = [const { Feed::Splat(Scalar::Bool(false)) }; MAX_IN];
    for (i, (feed, block)) in feeds.iter_mut().zip(blocks).enumerate() {
        *feed = match *block {
            BlockFeed::Splat(s) => Feed::Splat(s),
            BlockFeed::Direct(base) => Feed::Row(base),
            BlockFeed::Loaded(base, load) if by_row && plan.inner_stride(i + 1) == 0 => Feed::Copies(base, load),
            BlockFeed::Loaded(base, load) if tiles => Feed::Tile(base, load),
            BlockFeed::Loaded(..) => return None,
        };
    }
    Some(feeds)
}

/// A walk in which every row has a call of the kernel, and results go where they belong: between two rows a few additions.
pub(super) struct Rows<'a> {
    pub plan: &'a Plan,
    pub kernel: Kernel,
    pub feeds: &'a [Feed],
    pub inputs: &'a [(&'a Operand<'a>, DType)],
    pub to: *mut u8,
    /// Bytes of a result.
    pub size: usize,
    /// Most elements of one call.
    pub piece: usize,
    pub asks: bool,
}

// SAFETY: as for `Feed`; threads write disjoint parts.
unsafe impl Sync for Rows<'_> {}

impl Rows<'_> {
    pub fn run(&self, range: Range<usize>) {
        let Rows { plan, piece, size, .. } = *self;
        let inner = plan.rank - 1;
        let mut blocks = [const { scratch() }; MAX_IN];
        let mut ptrs = [std::ptr::null::<u8>(); MAX_IN];
        // Bytes of an element in memory, and from row to row.
        let (mut widths, mut steps) = ([0; MAX_IN], [0; MAX_IN]);
        for (i, (feed, (operand, ty))) in self.feeds.iter().zip(self.inputs).enumerate() {
            if let Operand::View(v) = operand {
                widths[i] = v.dtype().size() as isize;
            }
            if let Feed::Splat(s) = feed {
                splat(*s, *ty, range.len(), &mut blocks[i]);
            }
            if feed.is_block() {
                ptrs[i] = blocks[i].as_ptr().cast();
            }
            steps[i] = if inner > 0 {
                plan.strides[i + 1][inner - 1] * widths[i]
            } else {
                0
            };
        }
        let step = if inner > 0 {
            plan.strides[0][inner - 1] * size as isize
        } else {
            0
        };
        let mut pos = range.start;
        let mut index = plan.index(pos);
        while pos < range.end {
            let (len, rows) = rows_from(plan, &index, range.end - pos);
            let mut starts = [0isize; MAX_IN];
            for i in 0..self.feeds.len() {
                starts[i] = plan.offset(i + 1, &index) * widths[i];
                if let Feed::Tile(base, load) = self.feeds[i] {
                    let rect = Rect {
                        rows,
                        row_stride: if inner > 0 { plan.strides[i + 1][inner - 1] } else { 0 },
                        cols: len,
                        col_stride: plan.inner_stride(i + 1),
                    };
                    // The processor follows no more than some of so many columns by itself.
                    let next = base.wrapping_offset(starts[i] + len as isize * rect.col_stride * widths[i]);
                    for c in 0..len as isize {
                        let column = next.wrapping_offset(c * rect.col_stride * widths[i]);
                        prefetch(column);
                        prefetch(column.wrapping_offset(rows as isize * steps[i] - 1));
                    }
                    // SAFETY: every index of the walk lies inside the views' shape, which their constructors vouched for; a
                    // tile's rows are no more elements than a block.
                    unsafe { load(base.offset(starts[i]), rect, blocks[i].as_mut_ptr().cast()) };
                }
            }
            let mut to = self.to.wrapping_offset(plan.offset(0, &index) * size as isize);
            for row in 0..rows {
                // SAFETY: as above; a block holds as many elements as a piece has; threads write disjoint elements.
                unsafe {
                    for (i, feed) in self.feeds.iter().enumerate() {
                        match *feed {
                            Feed::Splat(_) => continue,
                            Feed::Row(base) => ptrs[i] = base.offset(starts[i]),
                            Feed::Tile(..) => {
                                let block = blocks[i].as_ptr().cast::<u8>();
                                ptrs[i] = block.add(row * len * self.inputs[i].1.size());
                            }
                            Feed::Copies(base, load) => {
                                let rect = Rect {
                                    rows: 1,
                                    row_stride: 0,
                                    cols: len.min(piece),
                                    col_stride: 0,
                                };
                                load(base.offset(starts[i]), rect, blocks[i].as_mut_ptr().cast());
                            }
                        }
                        starts[i] += steps[i];
                    }
                    self.row(&mut ptrs, to, len, (rows - 1 - row) * len);
                }
                to = to.wrapping_offset(step);
            }
            pos += rows * len;
            after(plan, &mut index, len, rows);
        }
    }

    /// One row, in pieces; `left` elements follow it.
    ///
    /// # Safety
    /// `ptrs` lead to the elements of the row or to a block of one value, `to` to where its results belong.
    #[inline(always)]
    unsafe fn row(&self, ptrs: &mut [*const u8; MAX_IN], to: *mut u8, len: usize, left: usize) {
        let Rows { piece, size, .. } = *self;
        let mut at = 0;
        loop {
            let n = piece.min(len - at);
            if self.asks {
                // The piece after this one: of the next rows where this is the last.
                let next = at + n;
                ask(to.wrapping_add(next * size), (len + left - next).min(n) * size);
            }
            // SAFETY: the caller's promise.
            unsafe { (self.kernel)(ptrs, to.add(at * size), n) };
            at += n;
            if at >= len {
                return;
            }
            for (ptr, (feed, input)) in ptrs.iter_mut().zip(self.feeds.iter().zip(self.inputs)) {
                if !feed.is_block() {
                    *ptr = ptr.wrapping_add(n * input.1.size());
                }
            }
        }
    }
}

/// How many elements of a row follow from `index`, among `left`, and how many rows as long lie one step apart.
fn rows_from(plan: &Plan, index: &[usize], left: usize) -> (usize, usize) {
    let inner = plan.rank - 1;
    let len = (plan.inner() - index[inner]).min(left);
    if inner > 0 && len == plan.inner() {
        (len, (left / len).min(plan.shape[inner - 1] - index[inner - 1]))
    } else {
        (len, 1)
    }
}

/// Leads `index` past what [`rows_from`] told.
fn after(plan: &Plan, index: &mut [usize; crate::view::MAX_RANK], len: usize, rows: usize) {
    let inner = plan.rank - 1;
    match inner.checked_sub(1) {
        Some(outer) if len == plan.inner() => plan.advance(index, outer, rows),
        _ => plan.advance(index, inner, len),
    }
}

/// A kernel of rows of two inputs: of `len` elements each, `rows` of them, so many bytes apart (of the inputs, of the result).
/// The result may be one of the inputs, element by element.
pub(crate) type RowsKernel =
    unsafe fn(inputs: [*const u8; 2], out: *mut u8, len: usize, rows: usize, steps: [isize; 3]);

/// The forms of a kernel of two inputs that take many rows.
#[derive(Clone, Copy)]
pub(crate) struct RowsKernels {
    /// Both inputs have rows of elements.
    pub both: RowsKernel,
    /// The first has one element for all of a row.
    pub first: RowsKernel,
    /// The second has.
    pub second: RowsKernel,
}

/// Rows shorter than this gain nothing.
pub(super) const SHORTEST: usize = 2;

/// A walk over rows of two inputs with one call of the kernel for many of them.
pub(super) struct Pairs<'a> {
    pub plan: &'a Plan,
    pub kernel: RowsKernel,
    pub from: [*const u8; 2],
    pub to: *mut u8,
    /// Bytes of an element.
    pub size: usize,
    pub asks: bool,
}

// SAFETY: the pointers come from views, which are `Sync`; threads write disjoint parts.
unsafe impl Sync for Pairs<'_> {}

impl Pairs<'_> {
    pub fn run(&self, range: Range<usize>) {
        let Pairs { plan, size, .. } = *self;
        let apart: [isize; 3] = match (plan.rank - 1).checked_sub(1) {
            Some(outer) => [1, 2, 0].map(|i| plan.strides[i][outer] * size as isize),
            None => [0; 3],
        };
        let along = [1, 2, 0].map(|i| plan.inner_stride(i) * size as isize);
        let mut pos = range.start;
        let mut index = plan.index(pos);
        while pos < range.end {
            let (len, rows) = rows_from(plan, &index, range.end - pos);
            let at = [1, 2, 0].map(|i| plan.offset(i, &index) * size as isize);
            // Where the lines of results are asked for, some rows at a time, or a part of one.
            let (most, piece) = if self.asks {
                ((BLOCK / len).max(1), BLOCK.min(len))
            } else {
                (rows, len)
            };
            for (first, col) in (0..rows)
                .step_by(most)
                .flat_map(|r| (0..len).step_by(piece).map(move |c| (r, c)))
            {
                let (here, wide) = (most.min(rows - first), piece.min(len - col));
                let [a, b, out] = std::array::from_fn(|i| at[i] + first as isize * apart[i] + col as isize * along[i]);
                let to = self.to.wrapping_offset(out);
                if self.asks {
                    ask(to.wrapping_add(here * wide * size), here * wide * size);
                }
                // SAFETY: every index of the walk lies inside the views' shape, which their constructors vouched for; threads
                // write disjoint elements.
                unsafe {
                    let from = [self.from[0].offset(a), self.from[1].offset(b)];
                    (self.kernel)(from, to, wide, here, apart);
                }
            }
            pos += rows * len;
            after(plan, &mut index, len, rows);
        }
    }
}
