//! Copies and fills: any dtype to any dtype, any strides.

use super::convert::{fill_row, hub};
use super::plan::Plan;
use super::rows::copy_rows;
use super::walk::{BLOCK, GRAIN, Kernel, MAX_IN, ask, asks, run, scratch};
use super::{Binary, Operand, convert};
use crate::dtype::{DType, Scalar};
use crate::parallel::for_range;
use crate::reduce::walk::Walk;
use crate::simd::every::every;
use crate::simd::transpose::{Band, transpose as by_blocks};
use crate::view::{AnyDst, AnySrc};
use crate::with_element;

/// Copies `src` into `dst` (same shape, or broadcast to it by stride 0), converting if the dtypes differ.
pub fn copy(src: AnySrc, dst: AnyDst) {
    // Integers of one width are the same bits.
    let alike = src.dtype().is_int() && dst.dtype().is_int() && src.dtype().size() == dst.dtype().size();
    if src.dtype() == dst.dtype() || alike {
        return match src.dtype().size() {
            1 => same::<u8>(&src, &dst),
            2 => same::<u16>(&src, &dst),
            4 => same::<u32>(&src, &dst),
            _ => same::<u64>(&src, &dst),
        };
    }
    let through = hub(src.dtype(), dst.dtype());
    if dst.dtype() == DType::Bool && through != src.dtype() {
        // Whether it is zero, as it is stored.
        return super::binary(
            Binary::Ne,
            through,
            Operand::View(src),
            Operand::Scalar(Scalar::Int(0)),
            dst,
        );
    }
    // Whatever the order of the dims, if it is one.
    let dense = || {
        let plan = Plan::new(&dst, &[Some(&src)]);
        plan.rank == 1 && plan.is_dense(0) && plan.is_dense(1)
    };
    if dst.numel() > 0 && src.ptr() != dst.ptr().cast_const() && dense() {
        return straight(&src, &dst, through);
    }
    run(
        identity(through).into(),
        &[(&Operand::View(src), through)],
        through,
        &dst,
        GRAIN,
    );
}

/// A conversion of rows that lie dense, by way of a block where neither type is the one that values go through.
fn straight(src: &AnySrc, dst: &AnyDst, through: DType) {
    let (from, to) = (Shared(src.ptr().cast_mut()), Shared(dst.ptr()));
    let (ds, dd) = (src.dtype(), dst.dtype());
    let asks = asks(dst.numel() * dd.size());
    for_range(dst.numel(), GRAIN, |range| {
        let one_step = convert::direct(ds, dd);
        let direct = ds == through || dd == through || one_step.is_some();
        let mut block = scratch();
        let piece = if asks || !direct { BLOCK } else { range.len() };
        for at in range.clone().step_by(piece) {
            let rect = convert::Rect {
                rows: 1,
                row_stride: 0,
                cols: piece.min(range.end - at),
                col_stride: 1,
            };
            // SAFETY: the range's elements lie dense on both sides.
            unsafe {
                let from = from.get().add(at * ds.size());
                let to = to.get().add(at * dd.size());
                if asks {
                    let next = at + rect.cols;
                    ask(to.add(rect.cols * dd.size()), piece.min(range.end - next) * dd.size());
                }
                if let Some(convert) = one_step {
                    convert(from, rect, to);
                } else if ds == through {
                    convert::storer(ds, dd)(from, to, rect);
                } else if dd == through {
                    convert::loader(ds, dd)(from, rect, to);
                } else {
                    let between = block.as_mut_ptr().cast::<u8>();
                    convert::loader(ds, through)(from, rect, between);
                    convert::storer(through, dd)(between.cast_const(), to, rect);
                }
            }
        }
    });
}

/// Sets every element of `dst` to `value`.
pub fn fill(dst: AnyDst, value: Scalar) {
    let kind = match value {
        Scalar::Float(_) => DType::F64,
        _ => DType::I64,
    };
    let mut element = 0u64;
    // SAFETY: the value and the element lie in locals of sufficient size, and a rectangle of one is written.
    unsafe {
        let rect = convert::Rect {
            rows: 1,
            row_stride: 0,
            cols: 1,
            col_stride: 1,
        };
        let (float, int) = (value.to_f64(), value.to_i64());
        let from = if kind == DType::F64 {
            (&raw const float).cast::<u8>()
        } else {
            (&raw const int).cast::<u8>()
        };
        convert::storer(kind, dst.dtype())(from, (&raw mut element).cast::<u8>(), rect);
        let at = (&raw const element).cast::<u8>();
        match dst.dtype().size() {
            1 => fill_with::<u8>(*at, &dst),
            2 => fill_with::<u16>(*at.cast(), &dst),
            4 => fill_with::<u32>(*at.cast(), &dst),
            _ => fill_with::<u64>(*at.cast(), &dst),
        }
    }
}

/// A kernel that hands its block on.
fn identity(ty: DType) -> Kernel {
    /// # Safety
    /// `n` elements of type `T` at both ends.
    unsafe fn block<T>(ins: &[*const u8; MAX_IN], out: *mut u8, n: usize) {
        // SAFETY: the contract of this function.
        unsafe { std::ptr::copy_nonoverlapping(ins[0].cast::<T>(), out.cast::<T>(), n) }
    }
    with_element!(ty, T => block::<T>)
}

/// Bytes from which on the system's copy goes past the caches, or may; smaller ones it makes as fast.
const LARGE: usize = 16 << 20;
/// Bytes that are copied at a time where lines are asked for.
const PIECE: usize = 2048;

/// Rows of tiles: this many elements along each of two dims, so that lines read in one order are written in another
/// while they are still in the cache.
const TILE: usize = 16;

fn same<T: Copy>(src: &AnySrc, dst: &AnyDst) {
    let n = dst.numel();
    if n == 0 {
        return;
    }
    let (from, to) = (Shared(src.ptr().cast::<T>().cast_mut()), Shared(dst.ptr().cast::<T>()));
    if src.is_contiguous() && dst.is_contiguous() {
        if n <= GRAIN {
            // SAFETY: `n` dense elements on both sides; views that overlap do so exactly, and `copy` allows that.
            return unsafe { std::ptr::copy(from.get(), to.get(), n) };
        }
        // Where lines are asked for: of one piece while the one before is copied.
        let bytes = n * size_of::<T>();
        let piece = if bytes >= LARGE && asks(bytes) {
            PIECE / size_of::<T>()
        } else {
            n
        };
        for_range(n, 4 * GRAIN, |r| {
            let (pieces, rest) = (r.len() / piece, r.len() % piece);
            // SAFETY: as above, for a part.
            unsafe {
                let (from, to) = (from.get().add(r.start), to.get().add(r.start));
                if pieces > 1 {
                    copy_rows(from.cast_const(), to, pieces, piece, [piece as isize; 2]);
                    let done = pieces * piece;
                    std::ptr::copy(from.add(done), to.add(done), rest);
                } else {
                    std::ptr::copy(from, to, r.len());
                }
            }
        });
        return;
    }
    let plan = Plan::new(dst, &[Some(src)]);
    let inner = plan.rank - 1;
    if inner > 0
        && (2..=4).contains(&plan.shape[inner])
        && plan.shape[inner - 1] >= SHORT
        && plan.strides[0][inner] == 1
        && plan.strides[0][inner - 1] == plan.shape[inner] as isize
        && plan.strides[1][inner - 1] == 1
    {
        return zipped(&plan, from, to);
    }
    // A dim along which the source is dense, while the innermost one is not: a transpose.
    let across = (0..inner).find(|&d| plan.strides[1][d] == 1 && plan.shape[d] >= 4);
    if let Some(across) = across
        && !(0..=1).contains(&plan.strides[1][inner])
        && plan.shape[inner] >= 4
    {
        return transpose(&plan, across, from, to);
    }
    let rank = plan.rank;
    let walk = Walk::of(
        &plan.shape[..rank],
        [&plan.strides[1][..rank], &plan.strides[0][..rank]],
    );
    let mut lines = walk;
    let (len, steps) = lines.pop();
    let reversed = steps == [-1, 1] && len < REVERSED;
    if lines.count() >= 8 && (steps == [1, 1] || len <= SHORT || steps == [0, 1] || reversed) {
        return by_lines(lines, len, steps, from, to);
    }
    for_range(n, GRAIN, |range| {
        walk.runs(range, |_, [s, d], len, [ss, ds]| {
            // SAFETY: the walk stays inside the views; threads write disjoint elements.
            unsafe { row(from.get().offset(s), ss, to.get().offset(d), ds, len) };
        });
    });
}

/// Lines so short that what is done for each of them outweighs the elements.
const SHORT: usize = 16;

/// Longer lines are reversed one by one.
const REVERSED: usize = 128;

/// Two to four lines whose elements come in turn.
fn zipped<T: Copy>(plan: &Plan, from: Shared<T>, to: Shared<T>) {
    let inner = plan.rank - 1;
    let (ways, apart) = (plan.shape[inner], plan.strides[1][inner]);
    let lines = Walk::of(
        &plan.shape[..inner],
        [&plan.strides[1][..inner], &plan.strides[0][..inner]],
    );
    for_range(lines.count(), GRAIN / ways, |range| {
        lines.runs(range, |_, [s, d], len, _| {
            // SAFETY: the walk stays inside the views; threads write disjoint elements.
            let (from, to) = unsafe { (from.get().offset(s).cast_const(), to.get().offset(d)) };
            let lines = [0, 1, 2, 3].map(|i| from.wrapping_offset(i * apart));
            match ways {
                2 => zip2(lines, to, len),
                3 => zip3(lines, to, len),
                _ => zip4(lines, to, len),
            }
        });
    });
}

macro_rules! zip {
    ($name:ident, $ways:literal) => {
        crate::multiversion! {
            fn $name<T: Copy>(from: [*const T; 4], to: *mut T, len: usize) {
                for i in 0..len {
                    // SAFETY: the caller's walk lies inside the views.
                    unsafe {
                        let mut all = [*from[0].add(i); $ways];
                        for (way, v) in all.iter_mut().enumerate().skip(1) {
                            *v = *from[way].add(i);
                        }
                        to.cast::<[T; $ways]>().add(i).write(all);
                    }
                }
            }
        }
    };
}
zip!(zip2, 2);
zip!(zip3, 3);
zip!(zip4, 4);

/// Whole lines of `len` elements.
fn by_lines<T: Copy>(lines: Walk<2>, len: usize, steps: [isize; 2], from: Shared<T>, to: Shared<T>) {
    for_range(lines.count(), (GRAIN / len).max(1), |range| {
        lines.runs(range, |_, [s, d], rows, apart| {
            // SAFETY: the walk stays inside the views; threads write disjoint elements.
            let (from, to) = unsafe { (from.get().offset(s), to.get().offset(d)) };
            match steps {
                [1, 1] => copy_rows(from.cast_const(), to, rows, len, apart),
                [0, 1] => fill_rows(from.cast_const(), to, rows, len, apart),
                [-1, 1] => reverse_rows(from.cast_const(), to, rows, len, apart),
                _ => strided_rows(from.cast_const(), to, [rows, len], apart, steps),
            }
        });
    });
}

crate::multiversion! {
    /// Rows of one value each, short or not: blocks, of which the last ends with the row.
    fn fill_rows<T: Copy>(from: *const T, to: *mut T, rows: usize, len: usize, apart: [isize; 2]) {
        /// # Safety
        /// `len` elements are writable, at least `N`.
        #[inline(always)]
        unsafe fn blocks<T: Copy, const N: usize>(to: *mut T, len: usize, v: T) {
            let (last, block) = (len - N, [v; N]);
            // SAFETY: the contract of this function.
            unsafe {
                to.cast::<[T; N]>().write_unaligned(block);
                // In long rows all but the first lie at cache lines.
                let long = len > 4 * N;
                let mut at = if long { (to.addr() / size_of::<T>()).wrapping_neg() % N } else { N };
                // As a range with a step the stores took six times as long.
                while at < last {
                    to.add(at).cast::<[T; N]>().write_unaligned(block);
                    at += N;
                }
                to.add(last).cast::<[T; N]>().write_unaligned(block);
            }
        }
        for r in 0..rows as isize {
            // SAFETY: the caller's walk lies inside the views; a result that is expanded is never written to.
            unsafe {
                let v = *from.offset(r * apart[0]);
                let to = to.offset(r * apart[1]);
                match len {
                    0 => {}
                    1 => *to = v,
                    2..4 => blocks::<T, 2>(to, len, v),
                    4..8 => blocks::<T, 4>(to, len, v),
                    8..16 => blocks::<T, 8>(to, len, v),
                    _ => blocks::<T, 16>(to, len, v),
                }
            }
        }
    }
}

crate::multiversion! {
    /// Rows in reverse order, which begin with their last element.
    fn reverse_rows<T: Copy>(from: *const T, to: *mut T, rows: usize, len: usize, apart: [isize; 2]) {
        for r in 0..rows as isize {
            // SAFETY: the caller's walk lies inside the views.
            unsafe {
                let (last, to) = (from.offset(r * apart[0]), to.offset(r * apart[1]));
                let mut i = 0;
                while i + 8 <= len {
                    let mut block = last.sub(i + 7).cast::<[T; 8]>().read_unaligned();
                    block.reverse();
                    to.add(i).cast::<[T; 8]>().write_unaligned(block);
                    i += 8;
                }
                while i < len {
                    *to.add(i) = *last.sub(i);
                    i += 1;
                }
            }
        }
    }
}

fn strided_rows<T: Copy>(from: *const T, to: *mut T, [rows, len]: [usize; 2], apart: [isize; 2], steps: [isize; 2]) {
    match (len, steps[1]) {
        (2, 1) => return few_of::<T, 2>(from, to, rows, apart, steps[0]),
        (3, 1) => return few_of::<T, 3>(from, to, rows, apart, steps[0]),
        (4, 1) => return few_of::<T, 4>(from, to, rows, apart, steps[0]),
        _ => {}
    }
    for r in 0..rows as isize {
        for i in 0..len as isize {
            // SAFETY: as above.
            unsafe { *to.offset(r * apart[1] + i * steps[1]) = *from.offset(r * apart[0] + i * steps[0]) };
        }
    }
}

/// Rows of `N` elements that lie `step` apart, without a loop over them.
fn few_of<T: Copy, const N: usize>(from: *const T, to: *mut T, rows: usize, apart: [isize; 2], step: isize) {
    for r in 0..rows as isize {
        // SAFETY: the caller's walk lies inside the views.
        unsafe {
            let from = from.offset(r * apart[0]);
            let mut row = [*from; N];
            for (i, v) in row.iter_mut().enumerate().skip(1) {
                *v = *from.offset(i as isize * step);
            }
            to.offset(r * apart[1]).cast::<[T; N]>().write(row);
        }
    }
}

/// # Safety
/// `len` elements at these strides are readable and writable.
unsafe fn row<T: Copy>(s: *const T, ss: isize, d: *mut T, ds: isize, len: usize) {
    // SAFETY: the contract of this function.
    unsafe {
        match (ss, ds) {
            (1, 1) => std::ptr::copy(s, d, len),
            (0, 1) => {
                let v = *s;
                for i in 0..len {
                    *d.add(i) = v;
                }
            }
            (2..=4, 1) if s != d.cast_const() => every(s, ss, d, len),
            (-1, 1) => reverse(
                std::slice::from_raw_parts(s.offset(1 - len as isize), len),
                std::slice::from_raw_parts_mut(d, len),
            ),
            _ => {
                for i in 0..len as isize {
                    *d.offset(i * ds) = *s.offset(i * ss);
                }
            }
        }
    }
}

crate::multiversion! {
    fn reverse<T: Copy>(from: &[T], to: &mut [T]) {
        for (d, s) in to.iter_mut().zip(from.iter().rev()) {
            *d = *s;
        }
    }
}

fn transpose<T: Copy>(plan: &Plan, across: usize, from: Shared<T>, to: Shared<T>) {
    let inner = plan.rank - 1;
    // The walk over what is left: the same plan with the dims of a band collapsed.
    let mut outer = *plan;
    outer.shape[across] = 1;
    outer.shape[inner] = 1;
    // A few columns (a window's) make one line of the result with those of the dim before.
    let group = plan.shape[inner];
    let (mut cols, mut step) = (group, 0);
    if inner > across + 1 && group < TILE && plan.strides[0][inner - 1] == group as isize * plan.strides[0][inner] {
        cols *= plan.shape[inner - 1];
        step = plan.strides[1][inner - 1];
        outer.shape[inner - 1] = 1;
    }
    let rows = plan.shape[across];
    // A line of the cache, where an element is small.
    let tall = TILE * (4 / size_of::<T>()).max(1);
    let bands = rows.div_ceil(tall);
    let others: usize = outer.shape[..plan.rank].iter().product();
    // Lines of the result that are written in short pieces are finished before others are begun.
    let pieces = cols < TILE;
    let dd = plan.strides[0][across];
    let di = plan.strides[0][inner];
    for_range(others * bands, (GRAIN / (tall * cols)).max(1), |range| {
        for band in range {
            let (other, band) = if pieces {
                (band % others, band / others)
            } else {
                (band / bands, band % bands)
            };
            let index = outer.index(other);
            let r0 = band * tall;
            // SAFETY: the indices lie inside the views; bands are disjoint.
            let (from, to) = unsafe {
                (
                    from.get().offset(plan.offset(1, &index)).add(r0).cast_const(),
                    to.get().offset(plan.offset(0, &index) + r0 as isize * dd),
                )
            };
            let band = Band {
                from,
                apart: plan.strides[1][inner],
                lines: cols,
                group,
                step,
                len: tall.min(rows - r0),
                to,
                row: dd,
            };
            // SAFETY: as above.
            unsafe {
                let done = if di == 1 && dd > 0 && from != to.cast_const() {
                    by_blocks(&band)
                } else {
                    0
                };
                lines_of(&band, done, di);
            }
        }
    });
}

/// The lines of a band from the `first` on, whose places in the result lie `apart`: some at a time, while their lines of the
/// cache stay.
///
/// # Safety
/// All those elements lie in live memory.
unsafe fn lines_of<T: Copy>(band: &Band<T>, first: usize, apart: isize) {
    let mut starts = band.starts(first);
    for c0 in (first..band.lines).step_by(TILE) {
        let width = TILE.min(band.lines - c0);
        let mut lines = [band.from; TILE];
        for line in &mut lines[..width] {
            *line = starts.next();
        }
        let row = |r: usize| band.to.wrapping_offset(r as isize * band.row + c0 as isize * apart);
        // SAFETY: the caller's promise.
        unsafe {
            if width == TILE && apart == 1 {
                for r in 0..band.len {
                    for (c, line) in lines.iter().enumerate() {
                        *row(r).add(c) = *line.add(r);
                    }
                }
            } else {
                for r in 0..band.len {
                    for (c, line) in lines[..width].iter().enumerate() {
                        *row(r).offset(c as isize * apart) = *line.add(r);
                    }
                }
            }
        }
    }
}

fn fill_with<T: Copy + Send + Sync>(value: T, dst: &AnyDst) {
    let n = dst.numel();
    if n == 0 {
        return;
    }
    if n <= GRAIN && dst.is_contiguous() {
        // SAFETY: `n` dense elements.
        return fill_row(value, unsafe {
            std::slice::from_raw_parts_mut(dst.ptr().cast::<T>(), n)
        });
    }
    let plan = Plan::new(dst, &[]);
    let to = Shared(dst.ptr().cast::<T>());
    let inner = plan.rank - 1;
    let (cols, stride) = (plan.shape[inner], plan.strides[0][inner]);
    for_range(n, GRAIN, |range| {
        let mut pos = range.start;
        while pos < range.end {
            let index = plan.index(pos);
            let len = (cols - index[inner]).min(range.end - pos);
            // SAFETY: the indices lie inside the view; threads write disjoint elements.
            unsafe {
                let d = to.get().offset(plan.offset(0, &index));
                if stride == 1 {
                    fill_row(value, std::slice::from_raw_parts_mut(d, len));
                } else {
                    for i in 0..len as isize {
                        *d.offset(i * stride) = value;
                    }
                }
            }
            pos += len;
        }
    });
}

/// A pointer that threads share; they touch disjoint elements of what it points to.
#[derive(Clone, Copy)]
struct Shared<T>(*mut T);

impl<T> Shared<T> {
    fn get(self) -> *mut T {
        self.0
    }
}

// SAFETY: see the type; the memory is a view's, and views are `Sync`.
unsafe impl<T> Sync for Shared<T> {}
