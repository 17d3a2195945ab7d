//! Means of windows of any size, and what each element gets back.

use super::*;

/// Means of `planes` dense planes of `size` elements, by the count's inverse.
///
/// # Safety
/// The planes and their means lie in live memory; the CPU has AVX-512.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
pub(in crate::pool) unsafe fn means(x: *const f32, size: usize, inverse: f64, y: *mut f32, planes: usize) {
    let mut plane = 0;
    // SAFETY: the caller's promise.
    unsafe {
        while plane + 8 <= planes {
            // Halves of two planes' lanes are added at once, those of four, and of eight.
            let mut lanes = [_mm512_setzero_pd(); 8];
            for (i, lanes) in lanes.iter_mut().enumerate() {
                *lanes = plane_lanes(x.add((plane + i) * size), size);
            }
            let halves = |a, b| _mm512_add_pd(_mm512_shuffle_f64x2::<0x44>(a, b), _mm512_shuffle_f64x2::<0xee>(a, b));
            let quarters = |a, b| _mm512_add_pd(_mm512_shuffle_f64x2::<0x88>(a, b), _mm512_shuffle_f64x2::<0xdd>(a, b));
            let even = quarters(halves(lanes[0], lanes[2]), halves(lanes[4], lanes[6]));
            let odd = quarters(halves(lanes[1], lanes[3]), halves(lanes[5], lanes[7]));
            let sums = _mm512_add_pd(_mm512_unpacklo_pd(even, odd), _mm512_unpackhi_pd(even, odd));
            let means = _mm512_cvtpd_ps(_mm512_mul_pd(sums, _mm512_set1_pd(inverse)));
            _mm256_storeu_ps(y.add(plane), means);
            plane += 8;
        }
        for plane in plane..planes {
            let eight = plane_lanes(x.add(plane * size), size);
            let four = _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd::<1>(eight));
            let two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd::<1>(four));
            let sum = _mm_cvtsd_f64(_mm_add_pd(two, _mm_unpackhi_pd(two, two)));
            *y.add(plane) = (sum * inverse) as f32;
        }
    }
}

/// The sixteen lanes of a plane's sum, the later eight added to the others.
///
/// # Safety
/// `size` elements lie at `x`.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
#[inline]
unsafe fn plane_lanes(x: *const f32, size: usize) -> __m512d {
    let mut sums = [_mm512_setzero_pd(); 2];
    let whole = size / N;
    // SAFETY: the caller's promise; the rest is masked.
    unsafe {
        for i in 0..whole {
            // Planes in a row are one run of memory; planes of a few hundred bytes read faster asked for.
            _mm_prefetch::<_MM_HINT_T0>(x.wrapping_add(i * N).cast::<i8>().wrapping_add(2 * AHEAD));
            sums = added(sums, _mm512_loadu_ps(x.add(i * N)));
        }
        if whole * N < size {
            let rest = ((1u32 << (size % N)) - 1) as u16;
            sums = added(sums, _mm512_maskz_loadu_ps(rest, x.add(whole * N)));
        }
    }
    _mm512_add_pd(sums[0], sums[1])
}

/// `v` in float64 added to sixteen sums.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
#[inline]
pub(super) fn added(sums: [__m512d; 2], v: __m512) -> [__m512d; 2] {
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
pub(super) unsafe fn scaled(v: [__m512d; 2], by: *const f64) -> __m512 {
    // SAFETY: sixteen factors, as the caller promises.
    let by = unsafe { [_mm512_loadu_pd(by), _mm512_loadu_pd(by.add(8))] };
    let low = _mm512_cvtpd_ps(_mm512_mul_pd(v[0], by[0]));
    let high = _mm512_cvtpd_ps(_mm512_mul_pd(v[1], by[1]));
    _mm512_insertf32x8::<1>(_mm512_castps256_ps512(low), high)
}

/// Sums of sixteen windows' taps in one line.
///
/// # Safety
/// The elements of the columns' masks lie in memory from `row` on.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
#[inline]
pub(super) unsafe fn of_line<const S: usize, const K: usize>(row: *const f32, columns: &[Column]) -> [__m512d; 2] {
    let zero = _mm512_setzero_ps();
    let mut sums = [_mm512_setzero_pd(); 2];
    // SAFETY: the caller's promise.
    unsafe {
        if K == 2 || K == 3 {
            let both = pair::<S>(row, &columns[0], zero);
            sums = added(added(sums, even::<S>(both)), odd(both));
            if K == 3 {
                sums = added(sums, even::<S>(pair::<S>(row, &columns[2], zero)));
            }
        } else {
            for column in columns {
                sums = added(sums, even::<S>(pair::<S>(row, column, zero)));
            }
        }
    }
    sums
}

/// # Safety
/// As for the method of [`Wide`] that calls it.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
pub(super) unsafe fn row<const S: usize, const K: usize>(
    a: &Wide,
    x: *const f32,
    wd: &Window,
    wh: &Window,
    inverse: &[f64],
    y: *mut f32,
    room: usize,
) {
    let outputs = a.windows[2].len();
    for (vector, columns) in a.columns.chunks_exact(a.kernel).enumerate() {
        let n = N.min(outputs - vector * N);
        let mut sums = [_mm512_setzero_pd(); 2];
        for d in wd.start..wd.start + wd.len {
            for h in wh.start..wh.start + wh.len {
                // SAFETY: masks keep loads inside the row.
                let line = unsafe { of_line::<S, K>(x.wrapping_offset(a.strides.at(d, h, 0)), columns) };
                sums = [_mm512_add_pd(sums[0], line[0]), _mm512_add_pd(sums[1], line[1])];
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
pub(super) unsafe fn input<const S: usize>(a: &Wide, g: *const f32, inverses: &Inverses, gx: *mut f32) {
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

/// One past a window's last row.
fn ends(w: &Window) -> usize {
    w.start + w.len
}
