//! The engine: walks broadcast, strided operands in blocks and hands dense blocks to a kernel.
//!
//! An operand that already is what the kernel reads (dense along the block, of the kernel's type) is used where it lies;
//! otherwise it is loaded into a scratch block. A scalar is one block filled once. Kernels therefore exist in one form
//! only, `dense × dense → dense` without aliasing, whatever the strides, dtypes and scalars; the light ones in a second
//! form that writes over its first input, for in-place ops. Other results that would overwrite an input wait in scratch.
//! Where rows are long, or can be used where they lie, the walk goes [by rows](super::by_row) instead of by blocks.

use super::Operand;
use super::by_row::{self, Pairs, Rows, RowsKernels};
use super::convert::{Load, Rect, Store, loader, storer};
use super::plan::{Plan, TILE_COLS, TILE_ROWS};
use crate::dtype::{DType, Scalar};
use crate::parallel::for_range;
use crate::simd::Aligned;
use crate::simd::cache::{first_is_small, stores_wait};
use crate::simd::prefetch_write;
use crate::view::{AnyDst, AnySrc};
use crate::with_element;
use std::mem::MaybeUninit;

/// Elements of a scratch block: few enough for four of them in the first-level cache.
pub(crate) const BLOCK: usize = 512;
/// Most operands a kernel reads.
pub(crate) const MAX_IN: usize = 4;
/// An inner dim at least this long is walked row by row, so that its rows can be used in place.
const LONG_ROW: usize = 128;
/// … and one of this length where else rows that lie apart would be copied into blocks.
const ROW: usize = 32;
/// Elements below which work stays on one thread, for kernels bound by memory.
pub(crate) const GRAIN: usize = 32 * 1024;
/// Bytes of a result from which on asking for its lines pays.
const FAR: usize = 3 << 20;

/// Whether the lines of a result of so many bytes are asked for before a light kernel writes to them ([`ask`]). On Cascade
/// Lake stores alone wait for them: `a + b` of 1e6 takes 630 µs and 510 (docs/performance.md).
pub(crate) fn asks(bytes: usize) -> bool {
    bytes >= FAR && stores_wait()
}

/// Asks for the lines of `bytes` that will soon be written at `to`; any address will do.
#[inline]
pub(super) fn ask(to: *const u8, bytes: usize) {
    for line in (0..bytes).step_by(64) {
        prefetch_write(to.wrapping_add(line));
    }
}

/// A block kernel: dense inputs, dense output, no overlap between them.
pub type Kernel = unsafe fn(inputs: &[*const u8; MAX_IN], out: *mut u8, n: usize);

/// An op's kernel, and where there are such the forms of it whose output is its first input, and that take many rows.
#[derive(Clone, Copy)]
pub(crate) struct Kernels {
    pub plain: Kernel,
    pub over: Option<Kernel>,
    pub rows: Option<RowsKernels>,
}

impl From<Kernel> for Kernels {
    fn from(plain: Kernel) -> Kernels {
        Kernels {
            plain,
            over: None,
            rows: None,
        }
    }
}

/// One scratch block of the widest type.
pub(crate) type Scratch = Aligned<[MaybeUninit<u64>; BLOCK]>;

pub(crate) const fn scratch() -> Scratch {
    Aligned([MaybeUninit::uninit(); BLOCK])
}

/// Elements of a type that fit a block.
pub(super) fn room(ty: DType) -> usize {
    BLOCK * size_of::<u64>() / ty.size()
}

/// Fills the first `n` elements of a block, as far as there are so many, with a scalar.
pub(super) fn splat(value: Scalar, ty: DType, n: usize, block: &mut Scratch) {
    let n = n.min(room(ty));
    let ptr = block.as_mut_ptr();
    // SAFETY: a block holds so many elements, aligned for the widest type.
    with_element!(ty, T => unsafe { std::slice::from_raw_parts_mut(ptr.cast::<T>(), n).fill(value.to()) });
}

/// The one element of a view, as an element of the type `ty`.
///
/// # Safety
/// `at` points to it.
unsafe fn single(at: *const u8, from: DType, ty: DType) -> Scalar {
    let ty = ty.compute();
    let (rows, cols) = (1, 1);
    let (row_stride, col_stride) = (0, 0);
    let mut element = 0u64;
    let to = (&raw mut element).cast::<u8>();
    let rect = Rect {
        rows,
        row_stride,
        cols,
        col_stride,
    };
    // SAFETY: the caller's promise; no compute type is wider than the word.
    unsafe {
        loader(from, ty)(at, rect, to);
        match ty {
            DType::F32 => Scalar::Float(to.cast::<f32>().read() as f64),
            DType::F64 => Scalar::Float(to.cast::<f64>().read()),
            DType::Bool => Scalar::Bool(to.read() != 0),
            _ => Scalar::Int(to.cast::<i64>().read()),
        }
    }
}

/// How the walk gets the dense block of an input.
pub(super) enum Feed {
    /// A scalar's block, filled once.
    Splat(Scalar),
    /// Used where it lies.
    Direct(*const u8),
    /// Loaded into scratch.
    Loaded(*const u8, Load),
}

// SAFETY: the pointers come from views, which are `Sync`.
unsafe impl Sync for Feed {}

/// Where a kernel's block of results goes.
enum Sink {
    Direct(*mut u8),
    /// The output is also an input: results wait in scratch until the kernel is done with the block.
    Delayed(*mut u8),
    Stored(*mut u8, Store),
}

// SAFETY: as for `Feed`; threads write disjoint parts.
unsafe impl Sync for Sink {}

/// Runs `kernel` over `inputs` (each with the type in which the kernel reads it) into `out`; `result` is the type that
/// the kernel writes. `grain` is the number of elements worth a second thread.
pub(crate) fn run(kernel: Kernels, inputs: &[(&Operand, DType)], result: DType, out: &AnyDst, grain: usize) {
    let n = out.numel();
    if n == 0 {
        return;
    }
    debug_assert!(inputs.len() <= MAX_IN);
    if n <= BLOCK && out.dtype() == result && out.is_contiguous() {
        // Contiguous operands of at most one block: no plan, no threads.
        let mut ptrs = [std::ptr::null::<u8>(); MAX_IN];
        let (mut dense, mut scratch_needed) = (true, false);
        for (ptr, (operand, ty)) in ptrs.iter_mut().zip(inputs) {
            match operand {
                Operand::View(v) => {
                    dense &= v.dtype() == *ty && v.is_contiguous();
                    scratch_needed |= v.ptr() == out.ptr().cast_const();
                    *ptr = v.ptr();
                }
                Operand::Scalar(_) => scratch_needed = true,
            }
        }
        if dense && !scratch_needed {
            // SAFETY: each pointer holds `n` dense elements of the type that the kernel reads; none is the output's.
            return unsafe { (kernel.plain)(&ptrs, out.ptr(), n) };
        }
        if dense {
            return small(kernel, inputs, ptrs, result, out, n);
        }
    }
    let mut views = [None; MAX_IN];
    for (view, (operand, _)) in views.iter_mut().zip(inputs) {
        if let Operand::View(v) = operand {
            *view = Some(v);
        }
    }
    let plan = Plan::new(out, &views[..inputs.len()]);
    let work = Work {
        kernel,
        inputs,
        result,
        out,
        grain,
    };
    match plan.across(inputs.len()) {
        Some(across) => work.by_tiles(&plan, across),
        None => work.walk(&plan, false),
    }
}

/// What is done at every element, wherever the walk goes.
struct Work<'a> {
    kernel: Kernels,
    inputs: &'a [(&'a Operand<'a>, DType)],
    result: DType,
    out: &'a AnyDst<'a>,
    grain: usize,
}

/// One block of dense operands, with scalars among them or in place.
#[inline(never)]
fn small(
    kernel: Kernels,
    inputs: &[(&Operand, DType)],
    mut ptrs: [*const u8; MAX_IN],
    result: DType,
    out: &AnyDst,
    n: usize,
) {
    let mut blocks = [const { scratch() }; MAX_IN];
    let mut aliased = Aliases::default();
    for (i, (operand, ty)) in inputs.iter().enumerate() {
        match operand {
            Operand::View(v) => aliased.note(i, v.ptr() == out.ptr().cast_const(), *ty == result),
            Operand::Scalar(s) => {
                splat(*s, *ty, n, &mut blocks[i]);
                ptrs[i] = blocks[i].as_ptr().cast();
            }
        }
    }
    // SAFETY: each pointer holds `n` dense elements of the type that the kernel reads; results that would overlap an
    // input go through scratch, unless the kernel is made for that.
    unsafe {
        match (aliased, kernel.over) {
            (Aliases { any: false, .. }, _) => (kernel.plain)(&ptrs, out.ptr(), n),
            (Aliases { only_first: true, .. }, Some(over)) => over(&ptrs, out.ptr(), n),
            _ => {
                let mut held = scratch();
                (kernel.plain)(&ptrs, held.as_mut_ptr().cast(), n);
                std::ptr::copy_nonoverlapping(held.as_ptr().cast::<u8>(), out.ptr(), n * result.size());
            }
        }
    }
}

/// Which inputs are the output.
#[derive(Clone, Copy, Default)]
struct Aliases {
    any: bool,
    /// It is the first one alone, element by element.
    only_first: bool,
}

impl Aliases {
    fn note(&mut self, input: usize, same: bool, same_elements: bool) {
        if same {
            self.any = true;
            self.only_first = input == 0 && same_elements;
        }
    }
}

impl Work<'_> {
    /// Dims of which an input is dense along one and the output along another are walked in tiles, so that the lines
    /// of both stay in the cache: the whole tiles first, then what is left at the two edges.
    fn by_tiles(&self, plan: &Plan, across: usize) {
        let inner = plan.rank - 1;
        let (rows, cols) = (plan.shape[across], plan.shape[inner]);
        let (even_rows, even_cols) = (rows - rows % TILE_ROWS, cols - cols % TILE_COLS);
        let parts = [
            (0, even_rows, 0, even_cols),
            (0, even_rows, even_cols, cols - even_cols),
            (even_rows, rows - even_rows, 0, cols),
        ];
        for (i, (row, rows, col, cols)) in parts.into_iter().enumerate() {
            if rows == 0 || cols == 0 {
                continue;
            }
            let mut part = *plan;
            part.shape[across] = rows;
            part.shape[inner] = cols;
            for (start, strides) in part.start.iter_mut().zip(&plan.strides) {
                *start += row as isize * strides[across] + col as isize * strides[inner];
            }
            if i == 0 {
                part = part.tiled(across);
            }
            self.walk(&part, i == 0);
        }
    }

    /// The walk as one over rows of two inputs, of each of which a row is used where it lies or is one element.
    fn pairs<'p>(&self, plan: &'p Plan) -> Option<Pairs<'p>> {
        let (forms, &[(Operand::View(a), ta), (Operand::View(b), tb)]) = (self.kernel.rows?, self.inputs) else {
            return None;
        };
        let (out, inner) = (self.out, plan.rank - 1);
        let same_type = [a.dtype(), ta, b.dtype(), tb, out.dtype()] == [self.result; 5];
        if !same_type || inner == 0 || plan.inner() < by_row::SHORTEST || plan.inner_stride(0) != 1 {
            return None;
        }
        let others = |i: usize, v: &AnySrc| v.ptr() == out.ptr().cast_const() && plan.strides[i] != plan.strides[0];
        // A row that is the same for all of them is better off in a block, several times.
        let repeats = |i: usize| plan.strides[i][..inner].iter().all(|&s| s == 0);
        let repeated = plan.inner() < LONG_ROW && (repeats(1) || repeats(2));
        if others(1, a) || others(2, b) {
            return None;
        }
        let kernel = match (plan.inner_stride(1), plan.inner_stride(2)) {
            (1, 0) => forms.second,
            (0, 1) => forms.first,
            (1, 1) if !repeated => forms.both,
            _ => return None,
        };
        let in_place = [a, b].iter().any(|v| v.ptr() == out.ptr().cast_const());
        Some(Pairs {
            plan,
            kernel,
            from: [a.ptr(), b.ptr()],
            to: out.ptr(),
            size: self.result.size(),
            asks: self.grain >= GRAIN && !in_place && asks(out.numel() * self.result.size()),
        })
    }

    /// `tiles`: the two innermost dims are a tile's.
    #[inline(never)]
    fn walk(&self, plan: &Plan, tiles: bool) {
        let Work {
            kernel,
            inputs,
            result,
            out,
            grain,
        } = *self;
        let n: usize = plan.shape[..plan.rank].iter().product();
        if let Some(pairs) = self.pairs(plan) {
            return for_range(n, grain, |range| pairs.run(range));
        }
        let apart = |operand: usize| {
            let outer = &plan.strides[operand][..plan.rank - 1];
            let dense_rows = plan.inner() >= ROW && plan.inner_stride(operand) == 1;
            dense_rows && !plan.is_dense(operand) && outer.iter().any(|&s| s != 0)
        };
        let by_row = plan.rank == 1 || plan.inner() >= LONG_ROW || (0..=inputs.len()).any(apart);
        let in_place = |operand: usize| {
            if by_row {
                plan.inner_stride(operand) == 1
            } else {
                plan.is_dense(operand)
            }
        };
        let mut feeds = [const { Feed::Splat(Scalar::Bool(false)) }; MAX_IN];
        let mut aliased = Aliases::default();
        for (i, (operand, ty)) in inputs.iter().enumerate() {
            feeds[i] = match operand {
                Operand::Scalar(s) => Feed::Splat(*s),
                Operand::View(v) if plan.strides[i + 1][..plan.rank].iter().all(|&s| s == 0) => {
                    let at = plan.offset(i + 1, &plan.index(0)) * v.dtype().size() as isize;
                    // SAFETY: every index of the walk lies inside the views' shape.
                    Feed::Splat(unsafe { single(v.ptr().offset(at), v.dtype(), *ty) })
                }
                Operand::View(v) if v.dtype() == *ty && in_place(i + 1) => {
                    let same_elements = *ty == result && plan.strides[i + 1] == plan.strides[0];
                    aliased.note(i, v.ptr() == out.ptr().cast_const(), same_elements);
                    Feed::Direct(v.ptr())
                }
                Operand::View(v) => Feed::Loaded(v.ptr(), loader(v.dtype(), *ty)),
            };
        }
        let (sink, chosen) = if out.dtype() != result || !in_place(0) {
            (Sink::Stored(out.ptr(), storer(result, out.dtype())), kernel.plain)
        } else {
            match (aliased, kernel.over) {
                (Aliases { any: false, .. }, _) => (Sink::Direct(out.ptr()), kernel.plain),
                (Aliases { only_first: true, .. }, Some(over)) => (Sink::Direct(out.ptr()), over),
                _ => (Sink::Delayed(out.ptr()), kernel.plain),
            }
        };
        // The rows of tiles lie apart, and a processor that follows streams does not follow them.
        let bytes = n * result.size();
        let wants = asks(bytes) || tiles && bytes >= FAR && first_is_small();
        let asks = grain >= GRAIN && !aliased.any && wants;
        let feeds = &feeds[..inputs.len()];
        if let Sink::Direct(to) = sink
            && let Some(by_row) = by_row::feeds(plan, feeds, by_row, tiles)
        {
            // A block of copies of one element is as long as scratch allows.
            let copies = by_row.iter().zip(inputs).filter(|(f, _)| f.is_block());
            let most = if asks { BLOCK } else { usize::MAX };
            let rows = Rows {
                plan,
                kernel: chosen,
                feeds: &by_row[..inputs.len()],
                inputs,
                to,
                size: result.size(),
                piece: copies.map(|(_, input)| room(input.1)).fold(most, usize::min),
                asks,
            };
            return for_range(n, grain, |range| rows.run(range));
        }
        let kernel = chosen;
        // Of narrow elements more, up to the bytes that a block of f32 has.
        let widest = inputs
            .iter()
            .map(|input| input.1.size())
            .fold(result.size(), usize::max);
        let block = BLOCK * (4 / widest).max(1);
        // Blocks of whole rows: then a row that is the same for all of them is loaded once.
        let inner = plan.inner();
        let most = if by_row || inner > block / 2 {
            block
        } else {
            block - block % inner
        };
        let repeats = |i: usize| plan.strides[i + 1][..plan.rank - 1].iter().all(|&s| s == 0);
        let repeated: [bool; MAX_IN] = std::array::from_fn(|i| !by_row && i < inputs.len() && repeats(i));
        let sink = &sink;

        for_range(n, grain, |range| {
            let mut blocks = [const { scratch() }; MAX_IN];
            let mut results = scratch();
            let mut ptrs = [std::ptr::null::<u8>(); MAX_IN];
            for (i, feed) in feeds.iter().enumerate() {
                if let Feed::Splat(s) = feed {
                    splat(*s, inputs[i].1, range.len(), &mut blocks[i]);
                    ptrs[i] = blocks[i].as_ptr().cast();
                }
            }
            let mut pos = range.start;
            // How much of such rows lies in the blocks.
            let mut kept = 0;
            let mut index = plan.index(pos);
            while pos < range.end {
                let mut len = most.min(range.end - pos);
                if !by_row {
                    // Up to the end of a row.
                    len = len.min(most - index[plan.rank - 1]);
                }
                let again = index[plan.rank - 1] == 0 && len <= kept;
                kept = if index[plan.rank - 1] == 0 { kept.max(len) } else { 0 };
                if by_row {
                    len = len.min(plan.inner() - index[plan.rank - 1]);
                }
                // SAFETY: every index of the walk lies inside the views' shape, which their constructors vouched for; a
                // direct operand is dense over the block; scratch holds `BLOCK` elements, and `len` is at most that
                // wherever scratch is used; threads write disjoint elements.
                unsafe {
                    for (i, feed) in feeds.iter().enumerate() {
                        match *feed {
                            Feed::Splat(_) => {}
                            Feed::Loaded(..) if again && repeated[i] => {}
                            Feed::Direct(base) => {
                                ptrs[i] = base.offset(plan.offset(i + 1, &index) * inputs[i].1.size() as isize);
                            }
                            Feed::Loaded(base, load) => {
                                let Operand::View(v) = inputs[i].0 else {
                                    unreachable!("only views are loaded")
                                };
                                let (from, to) = (v.dtype().size() as isize, inputs[i].1.size());
                                let block = blocks[i].as_mut_ptr().cast::<u8>();
                                plan.rectangles(i + 1, index, len, |offset, rect, at| {
                                    load(base.offset(offset * from), rect, block.add(at * to));
                                });
                                ptrs[i] = block.cast_const();
                            }
                        }
                    }
                    let held = results.as_mut_ptr().cast::<u8>();
                    let size = result.size();
                    match *sink {
                        Sink::Direct(base) => {
                            let to = base.offset(plan.offset(0, &index) * size as isize);
                            if asks {
                                let left = range.end - pos - len;
                                ask(to.wrapping_add(len * size), left.min(len) * size);
                            }
                            kernel(&ptrs, to, len);
                        }
                        Sink::Delayed(base) => {
                            kernel(&ptrs, held, len);
                            let at = base.offset(plan.offset(0, &index) * size as isize);
                            std::ptr::copy_nonoverlapping(held, at, len * size);
                        }
                        Sink::Stored(base, store) => {
                            kernel(&ptrs, held, len);
                            let width = out.dtype().size() as isize;
                            plan.rectangles(0, index, len, |offset, rect, at| {
                                store(held.add(at * size), base.offset(offset * width), rect);
                            });
                        }
                    }
                }
                pos += len;
                if by_row {
                    plan.advance(&mut index, plan.rank - 1, len);
                } else {
                    index = plan.index(pos);
                }
            }
        });
    }
}

/// Calls `f` on the elements of `src` as blocks of i64, in no particular order.
pub(crate) fn each_block(src: &AnySrc, f: impl Fn(&[i64]) + Sync) {
    let n = src.numel();
    if n == 0 {
        return;
    }
    // SAFETY: never written; a plan orders its dims by the output's strides, and the source stands in for it.
    let stand_in = unsafe { AnyDst::new(src.ptr().cast_mut(), src.dtype(), src.shape(), src.strides()) };
    let plan = Plan::new(&stand_in, &[]);
    let load = loader(src.dtype(), DType::I64);
    let base = Feed::Direct(src.ptr());
    for_range(n, GRAIN, |range| {
        let Feed::Direct(base) = base else { return };
        let mut block = scratch();
        let mut pos = range.start;
        while pos < range.end {
            let len = BLOCK.min(range.end - pos);
            let to = block.as_mut_ptr().cast::<u8>();
            plan.rectangles(0, plan.index(pos), len, |offset, rect, at| {
                // SAFETY: the rectangle lies inside the view, and `at` plus its elements inside the block.
                unsafe { load(base.offset(offset * src.dtype().size() as isize), rect, to.add(at * 8)) }
            });
            // SAFETY: `len` elements were just written.
            f(unsafe { std::slice::from_raw_parts(to.cast::<i64>(), len) });
            pos += len;
        }
    });
}
