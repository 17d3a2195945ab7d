//! Pools of float32 planes with AVX-512: sixteen outputs of a row at a time, the borders as masks.
//!
//! The same taps in the same order as the other walks, so the same bits. Columns are taken at stride 1 or 2; at stride 2
//! two vectors are loaded and sorted.

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
    pub two: bool,
    /// Cache lines from one row of windows to the next.
    advance: usize,
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
        // Small planes the processor fetches ahead by itself.
        let large = size[1] * size[2] * 4 > 4 * AHEAD;
        let outputs = windows[2].len();
        let width = size[2] as isize;
        let column = |first: usize, k: usize| {
            let offset = (first * stride + k * dilation) as isize - padding as isize;
            let from = (-offset).clamp(0, 32) as u32;
            let to = (width - offset).clamp(0, 32) as u32;
            let below = |n: u32| ((1u64 << n) - 1) as u32;
            let mask = below(to) & !below(from);
            Column { offset, mask }
        };
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
            two: two && (1..3).all(|d| 2 * windows[d].len() <= size[d]),
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
                (true, true, 2, true) if self.two => two_max(self, x, y),
                (true, true, 2, true) => max_plane::<2, 2, false>(self, x, y, places),
                (true, true, 3, true) => max_plane::<2, 3, false>(self, x, y, places),
                (true, _, _, true) => max_plane::<2, 0, false>(self, x, y, places),
                (false, _, _, true) => max_plane::<1, 0, false>(self, x, y, places),
                (true, true, 2, false) => max_plane::<2, 2, true>(self, x, y, places),
                (true, true, 3, false) => max_plane::<2, 3, true>(self, x, y, places),
                (true, _, _, false) => max_plane::<2, 0, true>(self, x, y, places),
                (false, _, _, false) => max_plane::<1, 0, true>(self, x, y, places),
            }
        }
    }

    /// Adds the gradients at `g` to the places of the maxima in the dense plane `gx`, which is zero.
    ///
    /// # Safety
    /// As for `max`; `g` is dense.
    pub unsafe fn max_input(&self, x: *const f32, g: *const f32, gx: *mut f32) {
        let (two, next) = (self.stride == 2, self.dilation == 1);
        // SAFETY: as in `max`.
        unsafe {
            match (two, next, self.kernel) {
                (true, true, 2) => max_input::<2, 2>(self, x, g, gx),
                (true, true, 3) => max_input::<2, 3>(self, x, g, gx),
                (true, _, _) => max_input::<2, 0>(self, x, g, gx),
                (false, _, _) => max_input::<1, 0>(self, x, g, gx),
            }
        }
    }

    /// The plane `gx` for windows of two by two, side by side.
    ///
    /// # Safety
    /// As for `max_input`.
    pub unsafe fn two_input(&self, x: *const f32, g: *const f32, gx: *mut f32) {
        // SAFETY: as in `max`.
        unsafe { two_input(self, x, g, gx) }
    }

    /// Means of the plane at `x`.
    ///
    /// # Safety
    /// As for `max`.
    pub unsafe fn mean(&self, x: *const f32, inverses: &Inverses, y: *mut f32) {
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
                    (2, 2) => mean_row::<2, 2>(self, x, wd, wh, inverse, y, room),
                    (2, _) => mean_row::<2, 0>(self, x, wd, wh, inverse, y, room),
                    _ => mean_row::<1, 0>(self, x, wd, wh, inverse, y, room),
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
            if self.stride == 2 {
                mean_input::<2>(self, g, inverses, gx);
            } else {
                mean_input::<1>(self, g, inverses, gx);
            }
        }
    }
}

/// Means of `planes` dense planes of `size` elements, by the count's inverse.
///
/// # Safety
/// The planes and their means lie in live memory; the CPU has AVX-512.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
pub(super) unsafe fn means(x: *const f32, size: usize, inverse: f64, y: *mut f32, planes: usize) {
    let rest = ((1u32 << (size % N)) - 1) as u16;
    for plane in 0..planes {
        let x = x.wrapping_add(plane * size);
        let mut sums = [_mm512_setzero_pd(); 2];
        for i in 0..size.div_ceil(N) {
            // SAFETY: the caller's promise.
            let v = unsafe {
                if (i + 1) * N <= size {
                    _mm512_loadu_ps(x.add(i * N))
                } else {
                    _mm512_maskz_loadu_ps(rest, x.add(i * N))
                }
            };
            sums = added(sums, v);
        }
        let eight = _mm512_add_pd(sums[0], sums[1]);
        let four = _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd::<1>(eight));
        let two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd::<1>(four));
        let sum = _mm_cvtsd_f64(_mm_add_pd(two, _mm_unpackhi_pd(two, two)));
        // SAFETY: the caller's promise.
        unsafe { *y.add(plane) = (sum * inverse) as f32 };
    }
}

/// `v` in float64 added to sixteen sums.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
#[inline]
fn added(sums: [__m512d; 2], v: __m512) -> [__m512d; 2] {
    let low = _mm512_cvtps_pd(_mm512_castps512_ps256(v));
    let high = _mm512_cvtps_pd(_mm512_extractf32x8_ps::<1>(v));
    [_mm512_add_pd(sums[0], low), _mm512_add_pd(sums[1], high)]
}

/// Sixteen products in float64, rounded.
///
/// # Safety
/// As for the method of [`Wide`] that calls it.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
#[inline]
unsafe fn scaled(v: [__m512d; 2], by: *const f64) -> __m512 {
    // SAFETY: sixteen factors, as the caller promises.
    let by = unsafe { [_mm512_loadu_pd(by), _mm512_loadu_pd(by.add(8))] };
    let low = _mm512_cvtpd_ps(_mm512_mul_pd(v[0], by[0]));
    let high = _mm512_cvtpd_ps(_mm512_mul_pd(v[1], by[1]));
    _mm512_insertf32x8::<1>(_mm512_castps256_ps512(low), high)
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

/// The largest so far: the first of equals, NaN where there was one; and its place, less the lane's first column.
#[derive(Clone, Copy)]
struct Best {
    value: __m512,
    nan: __mmask16,
    at: __m512i,
}

impl Best {
    /// The next tap. `P`: with its place; else NaN is only noted.
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
    #[inline]
    fn take<const P: bool>(&mut self, v: __m512, place: i32) {
        if P {
            let larger = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(v, self.value);
            let replaces = larger | _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
            self.value = _mm512_mask_mov_ps(self.value, replaces, v);
            self.at = _mm512_mask_mov_epi32(self.at, replaces, _mm512_set1_epi32(place));
        } else {
            // Of a NaN and a number the second operand comes out.
            self.value = _mm512_max_ps(v, self.value);
            self.nan |= _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
        }
    }

    /// Two taps.
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
    #[inline]
    fn take_two<const P: bool>(&mut self, v: __m512, w: __m512, place: i32) {
        if P {
            self.take::<P>(v, place);
            self.take::<P>(w, place + 1);
        } else {
            self.value = _mm512_max_ps(w, _mm512_max_ps(v, self.value));
            self.nan |= _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, w);
        }
    }
}

/// Maxima of vector `vector` of the outputs whose windows have the rows `wd` and `wh`.
///
/// # Safety
/// The plane lies in live memory.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
#[inline]
unsafe fn best<const S: usize, const K: usize, const P: bool>(
    a: &Wide,
    x: *const f32,
    wd: &Window,
    wh: &Window,
    vector: usize,
) -> Best {
    let [_, height, width] = a.size;
    let kernel = if K == 0 { a.kernel } else { K };
    let fill = _mm512_set1_ps(f32::NEG_INFINITY);
    let mut best = Best {
        value: fill,
        nan: 0,
        at: _mm512_setzero_si512(),
    };
    if P {
        let first = ((wd.start * height + wh.start) * width) as i32;
        // SAFETY: `starts` has whole vectors.
        let starts = unsafe { _mm512_loadu_si512(a.starts.as_ptr().add(vector * N).cast()) };
        best.at = _mm512_add_epi32(starts, _mm512_set1_epi32(first));
    }
    let columns = a.columns.as_ptr().wrapping_add(vector * kernel);
    for d in 0..wd.len {
        for h in 0..wh.len {
            let (d, h) = (wd.start + d * wd.step, wh.start + h * wh.step);
            let row = x.wrapping_offset(a.strides.at(d, h, 0));
            let place = ((d * height + h) * width) as i32 - a.padding as i32;
            // SAFETY: `kernel` columns for each vector; masks keep loads inside the row.
            unsafe {
                if K == 2 || K == 3 {
                    let first = pair::<S>(row, &*columns, fill);
                    best.take_two::<P>(even::<S>(first), odd(first), place);
                    if K == 3 {
                        let last = pair::<S>(row, &*columns.add(2), fill);
                        best.take::<P>(even::<S>(last), place + 2);
                    }
                } else {
                    for k in 0..kernel {
                        let v = even::<S>(pair::<S>(row, &*columns.add(k), fill));
                        best.take::<P>(v, place + (k * a.dilation) as i32);
                    }
                }
            }
        }
    }
    if !P {
        best.value = _mm512_mask_mov_ps(best.value, best.nan, _mm512_set1_ps(f32::NAN));
    }
    best
}

/// Windows of two by two, side by side, values alone.
///
/// # Safety
/// As for the method of [`Wide`] that calls it.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
unsafe fn two_max(a: &Wide, x: *const f32, y: *mut f32) {
    let outputs = a.windows[2].len();
    let fill = _mm512_set1_ps(f32::NEG_INFINITY);
    let nan = _mm512_set1_ps(f32::NAN);
    let [depth, rows] = [a.size[0], a.windows[1].len()];
    let step = a.strides.at(0, 1, 0);
    let mut left = depth * rows * outputs;
    for vector in 0..outputs.div_ceil(N) {
        let n = N.min(outputs - vector * N);
        let column = a.columns[2 * vector];
        for d in 0..depth {
            let mut upper = x.wrapping_offset(a.strides.at(d, 0, 0));
            for h in 0..rows {
                let at = (d * rows + h) * outputs + vector * N;
                // SAFETY: the caller's promise.
                unsafe {
                    let up = pair::<2>(upper, &column, fill);
                    let down = pair::<2>(upper.wrapping_offset(step), &column, fill);
                    let mut best = Best {
                        value: fill,
                        nan: 0,
                        at: _mm512_setzero_si512(),
                    };
                    best.take_two::<false>(even::<2>(up), odd(up), 0);
                    best.take_two::<false>(even::<2>(down), odd(down), 0);
                    let value = _mm512_mask_mov_ps(best.value, best.nan, nan);
                    // Vectors from left to right: what is stored beyond a row is overwritten only in rows of one vector.
                    let room = if outputs <= N { left } else { n };
                    store(y.add(at), value, n, room);
                }
                left -= n;
                upper = upper.wrapping_offset(2 * step);
            }
        }
    }
}

/// # Safety
/// As for the method of [`Wide`] that calls it.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
unsafe fn max_plane<const S: usize, const K: usize, const P: bool>(
    a: &Wide,
    x: *const f32,
    y: *mut f32,
    places: *mut i64,
) {
    let outputs = a.windows[2].len();
    let mut left = a.windows[0].len() * a.windows[1].len() * outputs;
    let (mut y, mut places) = (y, places);
    for wd in &a.windows[0] {
        for wh in &a.windows[1] {
            a.ahead(x, wd, wh);
            for vector in 0..outputs.div_ceil(N) {
                let n = N.min(outputs - vector * N);
                // SAFETY: the caller's promise.
                unsafe {
                    let best = best::<S, K, P>(a, x, wd, wh, vector);
                    store(y, best.value, n, left);
                    if P {
                        let at = absolute::<S>(best.at, vector);
                        let low = _mm512_cvtepi32_epi64(_mm512_castsi512_si256(at));
                        let high = _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64::<1>(at));
                        if left >= N {
                            _mm512_storeu_si512(places.cast(), low);
                            _mm512_storeu_si512(places.add(8).cast(), high);
                        } else {
                            let mask = (1u32 << n) - 1;
                            _mm512_mask_storeu_epi64(places, mask as u8, low);
                            _mm512_mask_storeu_epi64(places.wrapping_add(8), (mask >> 8) as u8, high);
                        }
                        places = places.add(n);
                    }
                    y = y.add(n);
                }
                left -= n;
            }
        }
    }
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

/// # Safety
/// As for the method of [`Wide`] that calls it.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
unsafe fn max_input<const S: usize, const K: usize>(a: &Wide, x: *const f32, g: *const f32, gx: *mut f32) {
    let outputs = a.windows[2].len();
    let vectors = outputs.div_ceil(N);
    let size: usize = a.size.iter().product();
    let rows = a.windows[0].len() * a.windows[1].len();
    // All places first: added up at once, the sums would wait for them.
    let mut places = vec![0i32; rows * vectors * N];
    let mut to = places.as_mut_ptr();
    for wd in &a.windows[0] {
        for wh in &a.windows[1] {
            a.ahead(x, wd, wh);
            for vector in 0..vectors {
                // SAFETY: the caller's promise; a vector's place for each.
                unsafe {
                    let best = best::<S, K, true>(a, x, wd, wh, vector);
                    _mm512_storeu_si512(to.cast(), absolute::<S>(best.at, vector));
                    to = to.add(N);
                }
            }
        }
    }
    for (row, places) in places.chunks_exact(vectors * N).enumerate() {
        for (j, &place) in places[..outputs].iter().enumerate() {
            // A window may have no element at all.
            if (place as usize) < size {
                // SAFETY: inside both planes.
                unsafe { *gx.add(place as usize) += *g.add(row * outputs + j) };
            }
        }
    }
}

/// Places in the plane, from those less the lanes' first columns.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
#[inline]
fn absolute<const S: usize>(at: __m512i, vector: usize) -> __m512i {
    let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let outputs = _mm512_add_epi32(lanes, _mm512_set1_epi32((vector * N) as i32));
    _mm512_add_epi32(at, _mm512_mullo_epi32(outputs, _mm512_set1_epi32(S as i32)))
}

/// # Safety
/// As for the method of [`Wide`] that calls it.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
unsafe fn two_input(a: &Wide, x: *const f32, g: *const f32, gx: *mut f32) {
    let [depth, height, width] = a.size;
    let (rows, outputs) = (a.windows[1].len(), a.windows[2].len());
    let fill = _mm512_set1_ps(f32::NEG_INFINITY);
    let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    // What is stored beyond a row is overwritten, if the row has one vector only.
    let over = outputs <= N;
    let lines = (2 * width * 4).div_ceil(64);
    for vector in 0..outputs.div_ceil(N) {
        let n = N.min(outputs - vector * N);
        let column = a.columns[2 * vector];
        let lanes = ((1u32 << n) - 1) as u16;
        for d in 0..depth {
            for h in 0..rows {
                let at = (d * height + 2 * h) * width + 2 * vector * N;
                let upper = x.wrapping_offset(a.strides.at(d, 2 * h, 0));
                let lower = x.wrapping_offset(a.strides.at(d, 2 * h + 1, 0));
                if vector == 0 {
                    // Three streams in small pieces, read and written: the processor fetches too little of them ahead.
                    fetch(upper, lines);
                    fetch(gx.wrapping_add(at), lines);
                    fetch(g.wrapping_add((d * rows + h) * outputs), lines.div_ceil(4));
                }
                // SAFETY: the caller's promise.
                unsafe {
                    let g = _mm512_maskz_loadu_ps(lanes, g.wrapping_add((d * rows + h) * outputs + vector * N));
                    let (up, down) = (pair::<2>(upper, &column, fill), pair::<2>(lower, &column, fill));
                    let v = [even::<2>(up), odd(up), even::<2>(down), odd(down)];
                    let mut best = v[0];
                    let mut wins = [0xffffu16; 4];
                    for i in 1..4 {
                        let larger = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(v[i], best);
                        wins[i] = larger | _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v[i], v[i]);
                        best = _mm512_mask_mov_ps(best, wins[i], v[i]);
                    }
                    wins[2] &= !wins[3];
                    wins[1] &= !(wins[2] | wins[3]);
                    wins[0] &= !(wins[1] | wins[2] | wins[3]);
                    for row in 0..2 {
                        let first = _mm512_maskz_mov_ps(wins[2 * row], g);
                        let second = _mm512_maskz_mov_ps(wins[2 * row + 1], g);
                        let begin = at + row * width;
                        let left = depth * height * width - begin;
                        let to = gx.add(begin);
                        let (a, b) = (
                            _mm512_permutex2var_ps(first, low, second),
                            _mm512_permutex2var_ps(first, high, second),
                        );
                        if (over || n == N) && left >= 2 * N {
                            _mm512_storeu_ps(to, a);
                            _mm512_storeu_ps(to.add(N), b);
                        } else {
                            let mask = (1u64 << (2 * n)) - 1;
                            _mm512_mask_storeu_ps(to, mask as u16, a);
                            _mm512_mask_storeu_ps(to.wrapping_add(N), (mask >> 16) as u16, b);
                        }
                    }
                }
            }
        }
    }
    for d in 0..depth {
        for h in 0..rows {
            let at = (d * height + 2 * h) * width;
            if width > 2 * outputs {
                // SAFETY: columns that no window has.
                unsafe {
                    std::slice::from_raw_parts_mut(gx.add(at + 2 * outputs), width - 2 * outputs).fill(0.0);
                    std::slice::from_raw_parts_mut(gx.add(at + width + 2 * outputs), width - 2 * outputs).fill(0.0);
                }
            }
        }
        let rest = (height - 2 * rows) * width;
        // SAFETY: rows that no window has.
        unsafe { std::slice::from_raw_parts_mut(gx.add((d * height + 2 * rows) * width), rest).fill(0.0) };
    }
}

/// # Safety
/// As for the method of [`Wide`] that calls it.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
unsafe fn mean_row<const S: usize, const K: usize>(
    a: &Wide,
    x: *const f32,
    wd: &Window,
    wh: &Window,
    inverse: &[f64],
    y: *mut f32,
    room: usize,
) {
    let outputs = a.windows[2].len();
    let kernel = if K == 0 { a.kernel } else { K };
    let zero = _mm512_setzero_ps();
    for vector in 0..outputs.div_ceil(N) {
        let n = N.min(outputs - vector * N);
        let mut sums = [_mm512_setzero_pd(); 2];
        let columns = a.columns.as_ptr().wrapping_add(vector * kernel);
        for d in wd.start..wd.start + wd.len {
            for h in wh.start..wh.start + wh.len {
                let row = x.wrapping_offset(a.strides.at(d, h, 0));
                // SAFETY: as in `best`.
                unsafe {
                    if K == 2 {
                        let both = pair::<S>(row, &*columns, zero);
                        sums = added(sums, even::<S>(both));
                        sums = added(sums, odd(both));
                    } else {
                        for k in 0..kernel {
                            sums = added(sums, even::<S>(pair::<S>(row, &*columns.add(k), zero)));
                        }
                    }
                }
            }
        }
        // SAFETY: the caller's promise.
        unsafe {
            let mean = scaled(sums, inverse.as_ptr().add(vector * N));
            store(y.add(vector * N), mean, n, room - vector * N);
        }
    }
}

/// Each element's shares in the order of the outputs: a row of outputs is read shifted by each tap it gives.
///
/// # Safety
/// As for the method of [`Wide`] that calls it.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
unsafe fn mean_input<const S: usize>(a: &Wide, g: *const f32, inverses: &Inverses, gx: *mut f32) {
    let [depth, height, width] = a.size;
    let [depths, heights, outputs] = [0, 1, 2].map(|d| a.windows[d].len());
    // What each output gives to each element of its window; zeros around each row.
    let vectors = (width + a.padding).div_ceil(S * N).max(outputs.div_ceil(N));
    let stride = N + vectors * N;
    let mut shares = vec![0f32; depths * heights * stride + N];
    for row in 0..depths * heights {
        let inverse = inverses.of(row).as_ptr();
        for vector in 0..outputs.div_ceil(N) {
            let n = N.min(outputs - vector * N);
            // SAFETY: the gradient's row; a row of the shares holds whole vectors.
            unsafe {
                let g = _mm512_maskz_loadu_ps(((1u32 << n) - 1) as u16, g.add(row * outputs + vector * N));
                let share = scaled(added([_mm512_setzero_pd(); 2], g), inverse.add(vector * N));
                _mm512_storeu_ps(shares.as_mut_ptr().add(row * stride + N + vector * N), share);
            }
        }
    }
    let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    let (mut first_d, mut first_h);
    first_d = 0;
    for d in 0..depth {
        while first_d < depths && ends(&a.windows[0][first_d]) <= d {
            first_d += 1;
        }
        first_h = 0;
        for h in 0..height {
            while first_h < heights && ends(&a.windows[1][first_h]) <= h {
                first_h += 1;
            }
            for vector in 0..vectors {
                let mut sums = [_mm512_setzero_ps(); 2];
                for od in (first_d..depths).take_while(|&o| a.windows[0][o].start <= d) {
                    for oh in (first_h..heights).take_while(|&o| a.windows[1][o].start <= h) {
                        let row = shares
                            .as_ptr()
                            .wrapping_add((od * heights + oh) * stride + N + vector * N);
                        for (q, sum) in sums.iter_mut().enumerate().take(S) {
                            // Outputs from left to right.
                            for t in (0..(a.kernel - q.min(a.kernel)).div_ceil(S)).rev() {
                                // SAFETY: a row has as many zeros in front as windows have taps.
                                *sum = _mm512_add_ps(*sum, unsafe { _mm512_loadu_ps(row.wrapping_sub(t)) });
                            }
                        }
                    }
                }
                let begin = (vector * N * S) as isize - a.padding as isize;
                let to = gx.wrapping_add((d * height + h) * width).wrapping_offset(begin);
                let parts = if S == 1 {
                    [sums[0], sums[0]]
                } else {
                    [
                        _mm512_permutex2var_ps(sums[0], low, sums[1]),
                        _mm512_permutex2var_ps(sums[0], high, sums[1]),
                    ]
                };
                for (i, part) in parts.into_iter().enumerate().take(S) {
                    let first = begin + (i * N) as isize;
                    let from = (-first).clamp(0, N as isize);
                    let until = (width as isize - first).clamp(from, N as isize);
                    let to = to.wrapping_add(i * N);
                    // SAFETY: columns of the row.
                    unsafe {
                        if until - from == N as isize {
                            _mm512_storeu_ps(to, part);
                        } else {
                            _mm512_mask_storeu_ps(to, ((1u32 << until) - (1u32 << from)) as u16, part);
                        }
                    }
                }
            }
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

/// One past a window's last row.
fn ends(w: &Window) -> usize {
    w.start + w.len
}
