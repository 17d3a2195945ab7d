//! Products with few outputs: dot and matrix-vector products in 64 virtual lanes, and long k cut into blocks.

use super::DOT_BLOCK;
use super::driver::Gemm;
use super::micro::{Number, Products};
use super::pack::with_shared;
use crate::parallel;
use crate::simd::every::every;
use std::ops::Add;

/// Joins `parts` as a balanced tree: neighbours first.
fn join<T: Copy + Add<Output = T>>(parts: &mut [T]) -> T {
    let mut step = 1;
    while step < parts.len() {
        for i in (0..parts.len() - step).step_by(2 * step) {
            parts[i] = parts[i] + parts[i + step];
        }
        step *= 2;
    }
    parts[0]
}

/// The sums are what C shall be.
fn is_plain<T>(g: &Gemm<T>) -> bool {
    !g.from_c && g.plus.of.is_null() && g.col_bias.is_null() && g.row_bias.is_null() && !g.relu
}

/// Writes one finished sum.
///
/// # Safety
/// Row `i`, column `j` lie inside `g`'s C.
unsafe fn finish<T: Number>(g: &Gemm<T>, i: usize, j: usize, sum: T) {
    // SAFETY: the caller's promise.
    unsafe {
        let c = g.c.wrapping_offset(i as isize * g.c_rs + j as isize * g.c_cs);
        let mut v = if g.from_c { *c + sum } else { sum };
        let plus = g.plus.part(i, j);
        if !plus.of.is_null() {
            v = plus.alpha * v + plus.beta * *plus.of;
        }
        if !g.col_bias.is_null() {
            v = v + *g.col_bias.add(j);
        }
        if !g.row_bias.is_null() {
            v = v + *g.row_bias.add(i);
        }
        if g.relu && v < T::default() {
            v = T::default();
        }
        *c = v;
    }
}

struct Shared<T>(*mut T);
// SAFETY: threads write disjoint elements.
unsafe impl<T: Send> Sync for Shared<T> {}
impl<T> Shared<T> {
    fn get(&self) -> *mut T {
        self.0
    }
}

/// `k` elements, as a contiguous vector: themselves, or a copy in `buffer`.
///
/// # Safety
/// They lie in live memory.
unsafe fn contiguous<T: Copy>(p: *const T, stride: isize, k: usize, buffer: &mut Vec<T>) -> *const T {
    if stride == 1 || k <= 1 {
        return p;
    }
    buffer.clear();
    buffer.reserve(k);
    // SAFETY: the caller's promise, and room for as many.
    unsafe {
        every(p, stride, buffer.as_mut_ptr(), k);
        buffer.set_len(k);
    }
    buffer.as_ptr()
}

/// Sums made between two looks at where they go.
const TOGETHER: usize = 16;

/// Matrices times vectors (`n` is 1), for `batch` problems of one shape.
///
/// # Safety
/// What the problems describe lies in live memory; `kernels` fit the CPU.
pub(super) unsafe fn lanes<T: Number>(
    kernels: &Products<T>,
    batch: usize,
    first: Gemm<T>,
    at: impl Fn(usize) -> Gemm<T> + Sync,
) {
    let (m, k) = (first.m, first.k);
    let blocks = k.div_ceil(DOT_BLOCK).max(1);
    let mut sums = vec![T::default(); if blocks > 1 { batch * m * blocks } else { 0 }];
    let parts = Shared(sums.as_mut_ptr());
    let grain = (1 << 16) / k.clamp(1, DOT_BLOCK);
    parallel::for_range(batch * m * blocks, grain.max(1), |range| {
        let (mut vector, mut row) = (Vec::new(), Vec::new());
        let mut now = (usize::MAX, first, std::ptr::null());
        let mut index = range.start;
        while index < range.end {
            let (b, i, block) = (index / (m * blocks), index / blocks % m, index % blocks);
            // SAFETY: the caller's promise; each index writes its own element.
            unsafe {
                let from = block * DOT_BLOCK;
                let len = DOT_BLOCK.min(k - from);
                if now.0 != b {
                    let g = at(b);
                    let whole = if m == 1 {
                        g.b
                    } else {
                        contiguous(g.b, g.b_rs, k, &mut vector)
                    };
                    now = (b, g, whole);
                }
                let g = &now.1;
                // Of one row the vector is needed once: a block at a time stays in the cache.
                let right = match m {
                    1 => contiguous(g.b.wrapping_offset(from as isize * g.b_rs), g.b_rs, len, &mut vector),
                    _ => now.2.wrapping_add(from),
                };
                let line = g.a.wrapping_offset(i as isize * g.a_rs + from as isize * g.a_cs);
                // Rows whose sums are whole, and contiguous, several at once; if nothing is left to be done, into C.
                let all = match blocks == 1 && (g.a_cs == 1 || k == 1) {
                    true => (m - i).min(range.end - index),
                    false => 1,
                };
                let line = contiguous(line, g.a_cs, len, &mut row);
                let (mut some, direct) = ([T::default(); TOGETHER], blocks == 1 && g.c_rs == 1 && is_plain(g));
                let (rows, to) = match direct {
                    true => (all, g.c.wrapping_add(i)),
                    false => (all.min(TOGETHER), some.as_mut_ptr()),
                };
                (kernels.dots)(line, g.a_rs, rows, right, len, to);
                for (r, &sum) in some.iter().enumerate().take(if direct { 0 } else { rows }) {
                    if blocks == 1 {
                        finish(g, i + r, 0, sum);
                    } else {
                        *parts.get().add(index) = sum;
                    }
                }
                index += rows;
            }
        }
    });
    for (index, sums) in sums.chunks_mut(blocks).enumerate() {
        // SAFETY: the caller's promise.
        unsafe { finish(&at(index / m), index % m, 0, join(sums)) };
    }
}

/// Rows that are read side by side.
const BESIDE: usize = 4;

impl<T: Number> Gemm<T> {
    /// The sums, on this thread, as dot products of 64 virtual lanes, for few rows or columns: some lines with all of those,
    /// so that both are near.
    ///
    /// # Safety
    /// What the problem describes lies in live memory, k contiguous in both operands; `kernels` fit the CPU.
    pub(crate) unsafe fn dots_here(self, kernels: &Products<T>) {
        let g = if self.m < self.n { self.swapped() } else { self };
        let mut sums = [T::default(); BESIDE];
        for i in (0..g.m).step_by(BESIDE) {
            let rows = BESIDE.min(g.m - i);
            let a = g.a.wrapping_offset(i as isize * g.a_rs);
            for j in 0..g.n {
                // SAFETY: the caller's promise.
                unsafe {
                    let b = g.b.wrapping_offset(j as isize * g.b_cs);
                    (kernels.dots)(a, g.a_rs, rows, b, g.k, sums.as_mut_ptr());
                    for (r, &sum) in sums.iter().enumerate().take(rows) {
                        let c = g.c.wrapping_offset((i + r) as isize * g.c_rs + j as isize * g.c_cs);
                        *c = if g.from_c { *c + sum } else { sum };
                    }
                }
            }
        }
    }
}

/// One product with k cut into blocks of `block`, each of them as dot products if `dotted`.
///
/// # Safety
/// As for `lanes`; `dotted` only where k is contiguous in both operands.
pub(super) unsafe fn split<T: Number>(kernels: &'static Products<T>, g: Gemm<T>, block: usize, dotted: bool) {
    let (blocks, area) = (g.k.div_ceil(block), g.m * g.n);
    let grain = ((1 << 20) / (area * block)).max(1);
    // Blocks that do not come out even are shared by columns.
    let threads = if grain == 1 { parallel::threads() } else { 1 };
    let whole = blocks / threads * threads;
    let wide = g.n.div_ceil(threads).next_multiple_of(kernels.nr);
    let parts = if whole < blocks { g.n.div_ceil(wide) } else { 1 };
    with_shared(|buffer| {
        let sums = Shared(buffer.reserve::<T>(blocks * area));
        parallel::for_range(whole + (blocks - whole) * parts, grain, |range| {
            for task in range {
                let (i, cols) = match task.checked_sub(whole) {
                    None => (task, 0..g.n),
                    Some(rest) => (
                        whole + rest / parts,
                        (rest % parts * wide)..g.n.min((rest % parts + 1) * wide),
                    ),
                };
                let p = i * block;
                let moved = g.moved([p as isize * g.a_cs, p as isize * g.b_rs, 0]);
                let part = Gemm {
                    k: block.min(g.k - p),
                    c: sums.get().wrapping_add(i * area),
                    c_rs: g.n as isize,
                    c_cs: 1,
                    from_c: false,
                    ..moved.unfinished()
                };
                let part = part.part(0..g.m, cols);
                // SAFETY: the caller's promise; each part has its own sums.
                unsafe {
                    match dotted {
                        true => part.dots_here(kernels),
                        false => part.run_here(kernels),
                    }
                }
            }
        });
        // SAFETY: the buffer holds them, and they were all written.
        let sums = unsafe { std::slice::from_raw_parts_mut(sums.get(), blocks * area) };
        join_rows(sums, area);
        for (i, sums) in sums[..area].chunks_exact(g.n).enumerate() {
            // SAFETY: the caller's promise.
            unsafe { finish_row(&g, i, sums) };
        }
    });
}

/// [`finish`] for row `i`.
///
/// # Safety
/// As there.
unsafe fn finish_row<T: Number>(g: &Gemm<T>, i: usize, sums: &[T]) {
    // SAFETY: the caller's promise.
    unsafe {
        if is_plain(g) && g.c_cs == 1 {
            let to = g.c.wrapping_offset(i as isize * g.c_rs);
            return std::ptr::copy_nonoverlapping(sums.as_ptr(), to, sums.len());
        }
        for (j, &sum) in sums.iter().enumerate() {
            finish(g, i, j, sum);
        }
    }
}

/// [`join`] for whole rows of `width` sums; the result is the first row.
pub(crate) fn join_rows<T: Copy + Add<Output = T>>(rows: &mut [T], width: usize) {
    let count = rows.len() / width;
    let mut step = 1;
    while step < count {
        for i in (0..count - step).step_by(2 * step) {
            let (head, tail) = rows.split_at_mut((i + step) * width);
            for (x, &y) in head[i * width..][..width].iter_mut().zip(&tail[..width]) {
                *x = *x + y;
            }
        }
        step *= 2;
    }
}
