//! Softmax and its logarithm along a dim, their gradients, and the losses built on them.
//!
//! The maximum is subtracted first; a line of -inf gives NaN, as in PyTorch. Lines that lie in one piece are taken one by
//! one, side-by-side lines (the softmax over channels of an image) a strip at a time, any others are copied first.

mod loss;

pub use loss::{cross_entropy_backward, cross_entropy_forward, nll_backward, nll_forward};

use crate::dtype::DType;
use crate::multiversion;
use crate::parallel;
use crate::reduce::lanes::{lane_sum, row_max};
use crate::reduce::real::Real;
use crate::reduce::walk::{Walk, apart, grain, line};
use crate::view::{AnyDst, AnySrc, Dst, Src};
use std::ops::Range;

/// Lines side by side that are taken at once.
const STRIP: usize = 64;
/// An exponential counts as this many cheap operations when work is split.
const COST: usize = 4;

/// `dst = softmax(src)` along `axis`, or its logarithm. `f32` and `f64`.
pub fn softmax(src: AnySrc, axis: usize, dst: AnyDst, log: bool) {
    match src.dtype() {
        DType::F32 => along::<f32>(&src.typed(), None, axis, &dst.typed(), log),
        DType::F64 => along::<f64>(&src.typed(), None, axis, &dst.typed(), log),
        other => panic!("softmax of {}", other.name()),
    }
}

/// Softmax of each contiguous row of `n` elements: the bits of [`softmax`] without its preparations.
pub fn softmax_rows(src: &[f32], n: usize, dst: &mut [f32], log: bool) {
    all_rows(src, n, dst, log)
}

multiversion! {
    fn all_rows(src: &[f32], n: usize, dst: &mut [f32], log: bool) {
        for (x, y) in src.chunks_exact(n).zip(dst.chunks_exact_mut(n)) {
            row(x, x, y, false, log);
        }
    }
}

/// The gradient of [`softmax`] from that of its result and the result `out`.
pub fn softmax_backward(grad: AnySrc, out: AnySrc, axis: usize, dst: AnyDst, log: bool) {
    match out.dtype() {
        DType::F32 => along::<f32>(&out.typed(), Some(&grad.typed()), axis, &dst.typed(), log),
        DType::F64 => along::<f64>(&out.typed(), Some(&grad.typed()), axis, &dst.typed(), log),
        other => panic!("softmax of {}", other.name()),
    }
}

/// What threads share: `x` is the input, or backward the output; `g` the gradient, or `x` again.
struct Job<T> {
    x: *const T,
    g: *const T,
    y: *mut T,
    backward: bool,
    log: bool,
    n: usize,
    /// Strides of x, g, y along the axis.
    step: [isize; 3],
}

// SAFETY: threads read the inputs and write different lines.
unsafe impl<T: Sync> Sync for Job<T> {}

fn along<T: Real>(x: &Src<T>, grad: Option<&Src<T>>, axis: usize, dst: &Dst<T>, log: bool) {
    if dst.numel() == 0 {
        return;
    }
    let (mut keep_x, mut keep_g) = (Vec::new(), Vec::new());
    let x = apart(*x, dst.ptr(), &mut keep_x);
    let g = grad.map_or(x, |g| apart(*g, dst.ptr(), &mut keep_g));
    let (n, step) = match x.rank() {
        0 => (1, [1; 3]),
        _ => (
            x.shape()[axis],
            [x.strides()[axis], g.strides()[axis], dst.strides()[axis]],
        ),
    };
    let job = Job {
        x: x.ptr(),
        g: g.ptr(),
        y: dst.ptr(),
        backward: grad.is_some(),
        log,
        n,
        step,
    };
    let skip = if x.rank() == 0 { usize::MAX } else { axis };
    let lines = Walk::without(x.shape(), [x.strides(), g.strides(), dst.strides()], skip).coalesce();
    let mut outer = lines;
    let (width, side) = outer.pop();
    if side == [1; 3] && width > 1 && (n == 1 || step != [1; 3]) {
        let strips = width.div_ceil(STRIP);
        parallel::for_range(outer.count() * strips, grain(COST * n * width.min(STRIP)), |range| {
            strip_jobs(&job, &outer, width, range)
        });
    } else {
        parallel::for_range(lines.count(), grain(COST * n), |range| rows(&job, &lines, range));
    }
}

fn rows<T: Real>(job: &Job<T>, lines: &Walk<3>, range: Range<usize>) {
    if job.step == [1; 3] {
        return row_range(job, lines, range);
    }
    let (mut keep_x, mut keep_g) = (Vec::new(), Vec::new());
    let mut out = vec![T::ZERO; job.n];
    lines.each(range, |_, [x, g, y]| {
        // SAFETY: lines of the walk, n long; outputs start elsewhere than inputs.
        unsafe {
            let x = line(job.x.offset(x), job.n, job.step[0], &mut keep_x);
            let g = line(job.g.offset(g), job.n, job.step[1], &mut keep_g);
            one_row(x, g, &mut out, job.backward, job.log);
            for (i, &v) in out.iter().enumerate() {
                *job.y.offset(y + i as isize * job.step[2]) = v;
            }
        }
    });
}

multiversion! {
    fn row_range<T: Real>(job: &Job<T>, lines: &Walk<3>, range: Range<usize>) {
        // No closure around the work: one that is not inlined would lose the instruction set.
        for i in range {
            let [x, g, y] = lines.at(i);
            // SAFETY: lines of the walk, n long and contiguous; outputs start elsewhere than inputs.
            let (x, g, y) = unsafe {
                (
                    std::slice::from_raw_parts(job.x.offset(x), job.n),
                    std::slice::from_raw_parts(job.g.offset(g), job.n),
                    std::slice::from_raw_parts_mut(job.y.offset(y), job.n),
                )
            };
            row(x, g, y, job.backward, job.log);
        }
    }
}

multiversion! {
    fn one_row<T: Real>(x: &[T], g: &[T], y: &mut [T], backward: bool, log: bool) {
        row(x, g, y, backward, log)
    }
}

#[inline(always)]
fn row<T: Real>(x: &[T], g: &[T], y: &mut [T], backward: bool, log: bool) {
    let n = y.len();
    let (x, g) = (&x[..n], &g[..n]);
    match (backward, log) {
        (false, false) => {
            let max = row_max(x);
            for i in 0..n {
                y[i] = Real::exp(x[i] - max);
            }
            let by = T::ONE / lane_sum(y, y, |e, _| e);
            for v in y {
                *v = *v * by;
            }
        }
        (false, true) => {
            let max = row_max(x);
            for i in 0..n {
                y[i] = Real::exp(x[i] - max);
            }
            let log = Real::ln(lane_sum(y, y, |e, _| e));
            for i in 0..n {
                y[i] = (x[i] - max) - log;
            }
        }
        (true, false) => {
            let dot = lane_sum(g, x, |g, x| g * x);
            for i in 0..n {
                y[i] = (g[i] - dot) * x[i];
            }
        }
        (true, true) => {
            let sum = lane_sum(g, g, |g, _| g);
            for i in 0..n {
                y[i] = Real::exp(x[i]).fma(-sum, g[i]);
            }
        }
    }
}

multiversion! {
    fn strip_jobs<T: Real>(job: &Job<T>, outer: &Walk<3>, width: usize, range: Range<usize>) {
        let strips = width.div_ceil(STRIP);
        for j in range {
            let at = outer.at(j / strips);
            let first = j % strips * STRIP;
            strip(job, at.map(|a| a + first as isize), STRIP.min(width - first));
        }
    }
}

/// `w` lines that lie side by side, row k of all of them being contiguous.
#[inline(always)]
fn strip<T: Real>(job: &Job<T>, at: [isize; 3], w: usize) {
    // SAFETY: row k of the strip in each view; outputs start elsewhere than inputs.
    let rows = |k: usize| unsafe {
        let k = k as isize;
        (
            std::slice::from_raw_parts(job.x.offset(at[0] + k * job.step[0]), w),
            std::slice::from_raw_parts(job.g.offset(at[1] + k * job.step[1]), w),
            std::slice::from_raw_parts_mut(job.y.offset(at[2] + k * job.step[2]), w),
        )
    };
    let mut max = [-T::INF; STRIP];
    let mut sum = [T::ZERO; STRIP];
    let (max, sum) = (&mut max[..w], &mut sum[..w]);
    if job.backward {
        for k in 0..job.n {
            let (x, g, _) = rows(k);
            for i in 0..w {
                sum[i] = if job.log { sum[i] + g[i] } else { g[i].fma(x[i], sum[i]) };
            }
        }
        for k in 0..job.n {
            let (x, g, y) = rows(k);
            for i in 0..w {
                y[i] = if job.log {
                    Real::exp(x[i]).fma(-sum[i], g[i])
                } else {
                    (g[i] - sum[i]) * x[i]
                };
            }
        }
        return;
    }
    for k in 0..job.n {
        let (x, _, _) = rows(k);
        for i in 0..w {
            max[i] = if x[i] > max[i] { x[i] } else { max[i] };
        }
    }
    for k in 0..job.n {
        let (x, _, y) = rows(k);
        for i in 0..w {
            let e = Real::exp(x[i] - max[i]);
            y[i] = e;
            sum[i] = sum[i] + e;
        }
    }
    for s in sum.iter_mut() {
        *s = if job.log { Real::ln(*s) } else { T::ONE / *s };
    }
    for k in 0..job.n {
        let (x, _, y) = rows(k);
        for i in 0..w {
            y[i] = if job.log {
                (x[i] - max[i]) - sum[i]
            } else {
                y[i] * sum[i]
            };
        }
    }
}

#[cfg(test)]
mod tests;
