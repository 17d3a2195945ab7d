//! Maxima of windows of any size, with their places where wanted; the gradient adds to these, one by one.

use super::*;

/// The largest so far: the first of equals, NaN where there was one; and its place, less the lane's first column.
#[derive(Clone, Copy)]
pub(super) struct Best {
    pub value: __m512,
    pub nan: __mmask16,
    pub at: __m512i,
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
    pub fn take_two<const P: bool>(&mut self, v: __m512, w: __m512, place: i32) {
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

/// # Safety
/// As for the method of [`Wide`] that calls it.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
pub(super) unsafe fn plane<const S: usize, const K: usize, const P: bool>(
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

/// # Safety
/// As for the method of [`Wide`] that calls it.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
pub(super) unsafe fn input<const S: usize, const K: usize>(a: &Wide, x: *const f32, g: *const f32, gx: *mut f32) {
    let outputs = a.windows[2].len();
    let vectors = outputs.div_ceil(N);
    let rows = a.windows[0].len() * a.windows[1].len();
    let size: usize = a.size.iter().product();
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts_mut(gx, size).fill(0.0) };
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
