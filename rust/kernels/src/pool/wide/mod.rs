//! Pools of float32 planes with AVX-512: sixteen outputs of a row at a time, the borders as masks.
//!
//! The same taps in the same order as the other walks, so the same bits. Columns are taken at stride 1 or 2; at stride 2
//! two vectors are loaded and sorted.

mod down;
mod max;
mod mean;
mod three;
mod two;

pub(super) use mean::means;

use super::avg::Inverses;
use super::{PoolShape, Strides, Window};
use crate::simd::{Isa, isa};
use std::arch::x86_64::*;

/// Outputs of a vector.
const N: usize = 16;

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
        if isa() != Isa::Avx512 || strides.0[4] != 1 || stride > 2 || !small || windows[2].is_empty() {
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
        })
    }

    /// Asks for memory that rows of windows after this one will read.
    #[inline(always)]
    fn ahead(&self, x: *const f32, wd: &Window, wh: &Window) {
        let row = x.wrapping_offset(self.strides.at(wd.start, wh.start, 0)).cast::<i8>();
        for line in 0..self.advance {
            // SAFETY: a hint; it never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(row.wrapping_add(AHEAD + 64 * line)) };
        }
    }

    /// Maxima of the plane at `x`; places go to `places` unless it is null.
    ///
    /// # Safety
    /// The plane lies in live memory, and so do the dense planes of outputs, which nobody else touches.
    pub unsafe fn max(&self, x: *const f32, y: *mut f32, places: *mut i64) {
        let (two, next) = (self.stride == 2, self.dilation == 1);
        // SAFETY: `new` found AVX-512; the caller's promise.
        unsafe {
            match (two, next, self.kernel, places.is_null()) {
                (true, true, 2, true) if self.two => two::max(self, x, y),
                (true, true, 2, true) => max::plane::<2, 2, false>(self, x, y, places),
                (true, true, 3, true) if self.three => down::max(self, x, y),
                (true, true, 3, true) => max::plane::<2, 3, false>(self, x, y, places),
                (true, _, _, true) => max::plane::<2, 0, false>(self, x, y, places),
                (false, _, _, true) => max::plane::<1, 0, false>(self, x, y, places),
                (true, true, 2, false) => max::plane::<2, 2, true>(self, x, y, places),
                (true, true, 3, false) => max::plane::<2, 3, true>(self, x, y, places),
                (true, _, _, false) => max::plane::<2, 0, true>(self, x, y, places),
                (false, _, _, false) => max::plane::<1, 0, true>(self, x, y, places),
            }
        }
    }

    /// The dense plane `gx`: the gradients at `g` in the places of the maxima.
    ///
    /// # Safety
    /// As for `max`; `g` is dense.
    pub unsafe fn max_input(&self, x: *const f32, g: *const f32, gx: *mut f32) {
        let (two, next) = (self.stride == 2, self.dilation == 1);
        // SAFETY: as in `max`.
        unsafe {
            match (two, next, self.kernel) {
                _ if self.two => two::max_input(self, x, g, gx),
                _ if self.three && self.padding == 1 => three::max_input::<1>(self, x, g, gx),
                _ if self.three => three::max_input::<0>(self, x, g, gx),
                (true, true, 2) => max::input::<2, 2>(self, x, g, gx),
                (true, true, 3) => max::input::<2, 3>(self, x, g, gx),
                (true, _, _) => max::input::<2, 0>(self, x, g, gx),
                (false, _, _) => max::input::<1, 0>(self, x, g, gx),
            }
        }
    }

    /// Means of the plane at `x`.
    ///
    /// # Safety
    /// As for `max`.
    pub unsafe fn mean(&self, x: *const f32, inverses: &Inverses, y: *mut f32) {
        if self.two {
            // SAFETY: as in `max`.
            return unsafe { two::mean(self, x, inverses.of(0)[0], y) };
        }
        if self.three {
            // SAFETY: as in `max`.
            return unsafe { down::mean(self, x, inverses, y) };
        }
        let outputs = self.windows[2].len();
        let rows = self.windows[0].len() * self.windows[1].len();
        let pairs = self.windows[0]
            .iter()
            .flat_map(|d| self.windows[1].iter().map(move |h| (d, h)));
        for (i, (wd, wh)) in pairs.enumerate() {
            self.ahead(x, wd, wh);
            let (inverse, room) = (inverses.of(i), (rows - i) * outputs);
            // SAFETY: as in `max`.
            unsafe {
                let y = y.add(i * outputs);
                match (self.stride, self.kernel) {
                    (2, 2) => mean::row::<2, 2>(self, x, wd, wh, inverse, y, room),
                    (2, 3) => mean::row::<2, 3>(self, x, wd, wh, inverse, y, room),
                    (2, _) => mean::row::<2, 0>(self, x, wd, wh, inverse, y, room),
                    _ => mean::row::<1, 0>(self, x, wd, wh, inverse, y, room),
                }
            }
        }
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
        // SAFETY: as in `max`.
        unsafe {
            if self.two {
                two::mean_input(self, g, inverses.of(0)[0], gx);
            } else if self.three && self.padding == 1 {
                three::mean_input::<1>(self, g, inverses, gx);
            } else if self.three {
                three::mean_input::<0>(self, g, inverses, gx);
            } else if self.stride == 2 {
                mean::input::<2>(self, g, inverses, gx);
            } else {
                mean::input::<1>(self, g, inverses, gx);
            }
        }
    }
}

/// # Safety
/// The elements of the column's mask lie in memory from `row` on.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
#[inline]
unsafe fn pair<const S: usize>(row: *const f32, c: &Column, fill: __m512) -> [__m512; 2] {
    let p = row.wrapping_offset(c.offset);
    // SAFETY: the caller's promise; other lanes are not touched.
    unsafe {
        let low = _mm512_mask_loadu_ps(fill, c.mask as u16, p);
        if S == 1 {
            return [low, fill];
        }
        [
            low,
            _mm512_mask_loadu_ps(fill, (c.mask >> 16) as u16, p.wrapping_add(16)),
        ]
    }
}

#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
#[inline]
fn even<const S: usize>([low, high]: [__m512; 2]) -> __m512 {
    if S == 1 {
        return low;
    }
    let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    _mm512_permutex2var_ps(low, even, high)
}

#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
#[inline]
fn odd([low, high]: [__m512; 2]) -> __m512 {
    let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    _mm512_permutex2var_ps(low, odd, high)
}

/// Stores `n` lanes at `y`, or all where there is room for them before the end of what is written later.
///
/// # Safety
/// `left >= n` elements at `y` are this thread's.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
#[inline]
unsafe fn store(y: *mut f32, v: __m512, n: usize, left: usize) {
    // A masked store costs several plain ones.
    // SAFETY: the caller's promise.
    unsafe {
        if left >= N {
            _mm512_storeu_ps(y, v);
        } else {
            _mm512_mask_storeu_ps(y, ((1u32 << n) - 1) as u16, v);
        }
    }
}

/// Asks for `lines` cache lines that lie `AHEAD` after `p`.
#[inline(always)]
fn fetch(p: *const f32, lines: usize) {
    for line in 0..lines {
        // SAFETY: a hint; it never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast::<i8>().wrapping_add(AHEAD + 64 * line)) };
    }
}
