//! Pools of float32 planes with vectors: sixteen outputs of a row at a time, the borders as masks.
//!
//! The same taps in the same order as the other walks, so the same bits. Columns are taken at stride 1 or 2; at stride 2
//! two vectors are loaded and sorted.

mod down;
mod entries;
mod max;
mod mean;
mod sixteen;
mod three;
mod together;
mod two;

use super::avg::Inverses;
use super::{PoolShape, Strides, Window};
pub(super) use entries::means;
use entries::{Entries, entries};
use sixteen::{N, Sixteen};
pub(super) use together::Together;

/// How far memory is asked for in advance, in bytes.
const AHEAD: usize = 4096;

/// Where one tap of a vector of outputs begins in an input row, and which of the 32 (stride 1: 16) elements from there on
/// lie in it.
#[derive(Clone, Copy)]
struct Column {
    offset: isize,
    mask: u32,
}

/// The windows over planes of one input, as vectors see them.
pub(super) struct Wide<'a> {
    windows: &'a [Vec<Window>; 3],
    /// `[vector][tap]`
    columns: Vec<Column>,
    /// Where each output's window begins in its row, less stride times its number; padded to whole vectors.
    starts: Vec<i32>,
    kernel: usize,
    stride: usize,
    dilation: usize,
    padding: usize,
    strides: Strides,
    size: [usize; 3],
    /// Windows of two by two, side by side, all inside.
    two: bool,
    /// Windows of three by three, two apart.
    three: bool,
    /// Padding of rows.
    above: usize,
    /// Cache lines from one row of windows to the next.
    advance: usize,
    entries: &'static Entries,
}

/// The column of tap `k` of the vector whose first output is `first`.
fn column(&[stride, dilation, padding, width]: &[usize; 4], first: usize, k: usize) -> Column {
    let offset = (first * stride + k * dilation) as isize - padding as isize;
    let from = (-offset).clamp(0, 32) as u32;
    let to = (width as isize - offset).clamp(0, 32) as u32;
    let below = |n: u32| ((1u64 << n) - 1) as u32;
    let mask = below(to) & !below(from);
    Column { offset, mask }
}

impl<'a> Wide<'a> {
    /// `None`: not a case for this module.
    pub fn new(windows: &'a [Vec<Window>; 3], s: &PoolShape, strides: Strides, size: [usize; 3]) -> Option<Self> {
        let [kernel, stride, padding, dilation] = [s.kernel[2], s.stride[2], s.padding[2], s.dilation[2]];
        let small = size.iter().product::<usize>() < i32::MAX as usize / 4 && kernel * dilation < 1 << 20;
        let entries = entries()?;
        if strides.0[4] != 1 || stride > 2 || !small || windows[2].is_empty() {
            return None;
        }
        let two = s.kernel == [1, 2, 2] && s.stride == [1, 2, 2] && s.padding == [0; 3] && s.dilation == [1; 3];
        // For small planes this costs more than it saves, but where windows are two by two.
        let large = size[1] * size[2] * 4 > 4 * AHEAD;
        let outputs = windows[2].len();
        let column = |first, k| column(&[stride, dilation, padding, size[2]], first, k);
        let columns = (0..outputs)
            .step_by(N)
            .flat_map(|first| (0..kernel).map(move |k| column(first, k)))
            .collect();
        let start = |o: usize| windows[2].get(o).map_or(0, |w| w.start as i32 - (o * stride) as i32);
        Some(Self {
            windows,
            columns,
            starts: (0..outputs.next_multiple_of(N)).map(start).collect(),
            kernel,
            stride,
            dilation,
            padding,
            strides,
            size,
            three: three::fits(windows, s, size),
            above: s.padding[1],
            two: two && size[0] > 0 && (1..3).all(|d| (2..=size[d]).contains(&(2 * windows[d].len()))),
            advance: if large {
                (s.stride[1] * size[2] * 4).div_ceil(64)
            } else {
                0
            },
            entries,
        })
    }

    /// Asks for memory that rows of windows after this one will read.
    #[inline(always)]
    fn ahead(&self, x: *const f32, wd: &Window, wh: &Window) {
        let row = x.wrapping_offset(self.strides.at(wd.start, wh.start, 0)).cast::<i8>();
        for line in 0..self.advance {
            prefetch(row.wrapping_add(AHEAD + 64 * line));
        }
    }

    /// Maxima of the plane at `x`; places go to `places` unless it is null.
    ///
    /// # Safety
    /// The plane lies in live memory, and so do the dense planes of outputs, which nobody else touches.
    pub unsafe fn max(&self, x: *const f32, y: *mut f32, places: *mut i64) {
        // SAFETY: the caller's promise; the CPU has the instructions. So below.
        unsafe { (self.entries.max)(self, x, y, places) }
    }

    /// The dense plane `gx`: the gradients at `g` in the places of the maxima.
    ///
    /// # Safety
    /// As for `max`; `g` is dense.
    pub unsafe fn max_input(&self, x: *const f32, g: *const f32, gx: *mut f32) {
        // SAFETY: as above.
        unsafe { (self.entries.max_input)(self, x, g, gx) }
    }

    /// Means of the plane at `x`.
    ///
    /// # Safety
    /// As for `max`.
    pub unsafe fn mean(&self, x: *const f32, inverses: &Inverses, y: *mut f32) {
        // SAFETY: as above.
        unsafe { (self.entries.mean)(self, x, inverses, y) }
    }

    /// The windows are ones that `mean_input` takes.
    pub fn spreads(&self) -> bool {
        self.dilation == 1 && self.kernel <= N && self.windows.iter().flatten().all(|w| w.step == 1)
    }

    /// Gradient of `mean`: the dense plane `gx` from that at `g`.
    ///
    /// # Safety
    /// As for `max_input`; the windows are `spreads`.
    pub unsafe fn mean_input(&self, g: *const f32, inverses: &Inverses, gx: *mut f32) {
        // SAFETY: as above.
        unsafe { (self.entries.mean_input)(self, g, inverses, gx) }
    }
}

/// What one column of taps reads of the line at `row`: sixteen elements, or 32 of which every second is wanted.
///
/// # Safety
/// The elements of the column's mask lie in memory from `row` on.
#[inline(always)]
unsafe fn pair<V: Sixteen, const S: usize>(v: V, row: *const f32, c: &Column, fill: V::F) -> [V::F; 2] {
    let p = row.wrapping_offset(c.offset);
    // SAFETY: the caller's promise; other lanes are not touched.
    unsafe {
        let low = v.load_some(fill, c.mask as u16, p);
        if S == 1 {
            return [low, fill];
        }
        [low, v.load_some(fill, (c.mask >> 16) as u16, p.wrapping_add(16))]
    }
}

#[inline(always)]
fn even<V: Sixteen, const S: usize>(v: V, [low, high]: [V::F; 2]) -> V::F {
    if S == 1 {
        return low;
    }
    v.even(low, high)
}

/// The first `n` of sixteen lanes.
#[inline(always)]
fn first(n: usize) -> u16 {
    ((1u32 << n) - 1) as u16
}

/// Stores `n` lanes at `y`, or all where there is room for them before the end of what is written later.
///
/// # Safety
/// `left >= n` elements at `y` are this thread's.
#[inline(always)]
unsafe fn store<V: Sixteen>(v: V, y: *mut f32, x: V::F, n: usize, left: usize) {
    // A masked store costs several plain ones.
    // SAFETY: the caller's promise.
    unsafe {
        if left >= N {
            v.store(y, x);
        } else {
            v.store_some(y, first(n), x);
        }
    }
}

/// Asks for `lines` cache lines that lie `AHEAD` after `p`.
#[inline(always)]
fn fetch(p: *const f32, lines: usize) {
    for line in 0..lines {
        prefetch(p.cast::<i8>().wrapping_add(AHEAD + 64 * line));
    }
}

/// Asks for one cache line.
#[inline(always)]
fn prefetch(p: *const i8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; it never faults.
    unsafe {
        use std::arch::x86_64::*;
        _mm_prefetch::<_MM_HINT_T0>(p)
    };
    // Other processors follow streams by themselves.
    let _ = p;
}
