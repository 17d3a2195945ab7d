//! Max and average pooling over up to three spatial dims (fewer dims have leading ones), with PyTorch's rules.
//!
//! Views are [n, c, d, h, w]. A window of each output position and dim is worked out once per call; all kinds of pooling,
//! adaptive ones too, then walk the same windows. Planes (one n and c) are shared out to threads; within a plane the
//! order of additions is that of the output positions.

mod avg;
mod block;
mod channels;
mod max;
mod row;
mod wide;

pub use avg::{adaptive_avg_pool, adaptive_avg_pool_backward, avg_pool, avg_pool_backward};
pub use max::{MaxElement, adaptive_max_pool, max_pool, max_pool_backward, max_pool_input};

use crate::dtype::Element;
use crate::parallel;

/// Window of a pooling, per dim; `padding` is on both sides. Average pooling takes no dilation (1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoolShape {
    pub kernel: [usize; 3],
    pub stride: [usize; 3],
    pub padding: [usize; 3],
    pub dilation: [usize; 3],
}

/// The part of one window that lies in the input: `len` indices from `start`, `step` apart. `full` counts what lies in
/// the padded input, for averages that include the padding.
#[derive(Clone, Copy)]
struct Window {
    start: usize,
    len: usize,
    step: usize,
    full: usize,
}

impl PoolShape {
    fn windows(&self, dim: usize, input: usize, output: usize) -> Vec<Window> {
        let [kernel, stride, padding, step] = [self.kernel, self.stride, self.padding, self.dilation].map(|v| v[dim]);
        let step = step.max(1);
        let window = |o: usize| {
            // In padded coordinates the input is padding..padding + input.
            let first = o * stride;
            let skipped = padding.saturating_sub(first).div_ceil(step);
            let start = first + skipped * step - padding.min(first + skipped * step);
            let inside = input.saturating_sub(start).div_ceil(step);
            let full = (input + 2 * padding)
                .saturating_sub(first)
                .min(kernel * step)
                .div_ceil(step);
            Window {
                start,
                len: inside.min(kernel.saturating_sub(skipped)),
                step,
                full,
            }
        };
        (0..output).map(window).collect()
    }

    fn all_windows(&self, input: &[usize], output: &[usize]) -> [Vec<Window>; 3] {
        std::array::from_fn(|d| self.windows(d, input[2 + d], output[2 + d]))
    }
}

/// Windows of adaptive pooling: output `o` of `output` covers its share of the input, rounded outwards.
fn adaptive_windows(input: &[usize], output: &[usize]) -> [Vec<Window>; 3] {
    std::array::from_fn(|d| {
        let (n, m) = (input[2 + d], output[2 + d]);
        let window = |o: usize| {
            let start = o * n / m;
            let len = ((o + 1) * n).div_ceil(m) - start;
            Window {
                start,
                len,
                step: 1,
                full: len,
            }
        };
        (0..m).map(window).collect()
    })
}

/// A view's address arithmetic: strides of [n, c, d, h, w].
#[derive(Clone, Copy)]
struct Strides([isize; 5]);

impl Strides {
    fn new(strides: &[isize]) -> Self {
        Strides(std::array::from_fn(|d| strides[d]))
    }
    fn plane(&self, index: usize, channels: usize) -> isize {
        (index / channels) as isize * self.0[0] + (index % channels) as isize * self.0[1]
    }
    /// A plane of this size is one run of memory. (The stride of a dim of size 1 says nothing.)
    fn dense(&self, [depth, height, width]: [usize; 3]) -> bool {
        (width == 1 || self.0[4] == 1)
            && (height == 1 || self.0[3] == width as isize)
            && (depth == 1 || self.0[2] == (height * width) as isize)
    }
    #[inline(always)]
    fn at(&self, d: usize, h: usize, w: usize) -> isize {
        d as isize * self.0[2] + h as isize * self.0[3] + w as isize * self.0[4]
    }
}

/// Calls `f` for each plane of [n, c, ..], on several threads when there is enough work.
fn each_plane(shape: &[usize], work: usize, f: impl Fn(usize) + Sync) {
    parallel::for_range(shape[0] * shape[1], (32_768 / work.max(1)).max(1), |range| {
        range.for_each(&f)
    });
}

/// Fills a plane of `[depth, height, width]` with zeros.
///
/// # Safety
/// The plane lies in live memory.
unsafe fn zero_plane<T: Element>(dst: *mut T, strides: Strides, [depth, height, width]: [usize; 3]) {
    for (d, h) in (0..depth).flat_map(|d| (0..height).map(move |h| (d, h))) {
        let row = dst.wrapping_offset(strides.at(d, h, 0));
        // SAFETY: the caller's promise.
        unsafe {
            if strides.dense([depth, height, width]) {
                return std::slice::from_raw_parts_mut(dst, depth * height * width).fill(T::default());
            }
            if strides.0[4] == 1 {
                std::slice::from_raw_parts_mut(row, width).fill(T::default());
            } else {
                (0..width).for_each(|w| *row.wrapping_offset(w as isize * strides.0[4]) = T::default());
            }
        }
    }
}
