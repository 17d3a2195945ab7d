//! One vector of AVX-512, two of AVX2.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use super::Sixteen;
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
pub struct Avx512(());
#[derive(Clone, Copy)]
pub struct Avx2(());

impl Sixteen for Avx512 {
    type F = __m512;
    type D = [__m512d; 2];
    type I = __m512i;
    type W = __mmask16;

    #[inline(always)]
    unsafe fn assume() -> Self {
        Avx512(())
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: the token proves the instruction set; so in every method here.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m512 {
        // SAFETY: the caller's promise; so in every load and store here.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn load_some(self, fill: __m512, mask: u16, p: *const f32) -> __m512 {
        // SAFETY: as above; masked lanes are not touched.
        unsafe { _mm512_mask_loadu_ps(fill, mask, p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m512) {
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn store_some(self, p: *mut f32, mask: u16, v: __m512) {
        // SAFETY: as above; masked lanes are not touched.
        unsafe { _mm512_mask_storeu_ps(p, mask, v) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn greater(self, a: __m512, b: __m512) -> __mmask16 {
        // SAFETY: as above.
        unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b) }
    }
    #[inline(always)]
    fn equal(self, a: __m512, b: __m512) -> __mmask16 {
        // SAFETY: as above.
        unsafe { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b) }
    }
    #[inline(always)]
    fn unordered(self, a: __m512, b: __m512) -> __mmask16 {
        // SAFETY: as above.
        unsafe { _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, b) }
    }
    #[inline(always)]
    fn nowhere(self) -> __mmask16 {
        0
    }
    #[inline(always)]
    fn either(self, a: __mmask16, b: __mmask16) -> __mmask16 {
        a | b
    }
    #[inline(always)]
    fn without(self, a: __mmask16, b: __mmask16) -> __mmask16 {
        a & !b
    }
    #[inline(always)]
    fn bits(self, w: __mmask16) -> u16 {
        w
    }
    #[inline(always)]
    fn choose(self, w: __mmask16, yes: __m512, no: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_mask_mov_ps(no, w, yes) }
    }
    #[inline(always)]
    fn only(self, w: __mmask16, v: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_maskz_mov_ps(w, v) }
    }
    #[inline(always)]
    fn except(self, w: __mmask16, v: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_mask_mov_ps(v, w, _mm512_setzero_ps()) }
    }
    #[inline(always)]
    fn even(self, low: __m512, high: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe {
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            _mm512_permutex2var_ps(low, even, high)
        }
    }
    #[inline(always)]
    fn odd(self, low: __m512, high: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe {
            let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
            _mm512_permutex2var_ps(low, odd, high)
        }
    }
    #[inline(always)]
    fn in_turn(self, even: __m512, odd: __m512) -> [__m512; 2] {
        // SAFETY: as above.
        unsafe {
            let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
            [
                _mm512_permutex2var_ps(even, low, odd),
                _mm512_permutex2var_ps(even, high, odd),
            ]
        }
    }
    #[inline(always)]
    fn next(self, v: __m512, after: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe {
            let (v, after) = (_mm512_castps_si512(v), _mm512_castps_si512(after));
            _mm512_castsi512_ps(_mm512_alignr_epi32::<1>(after, v))
        }
    }
    #[inline(always)]
    fn last(self, before: __m512, v: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe {
            let (before, v) = (_mm512_castps_si512(before), _mm512_castps_si512(v));
            _mm512_castsi512_ps(_mm512_alignr_epi32::<15>(v, before))
        }
    }
    #[inline(always)]
    fn zeros(self) -> [__m512d; 2] {
        // SAFETY: as above.
        unsafe { [_mm512_setzero_pd(); 2] }
    }
    #[inline(always)]
    fn added(self, sums: [__m512d; 2], v: __m512) -> [__m512d; 2] {
        // SAFETY: as above.
        unsafe {
            let low = _mm512_cvtps_pd(_mm512_castps512_ps256(v));
            let high = _mm512_cvtps_pd(_mm512_extractf32x8_ps::<1>(v));
            [_mm512_add_pd(sums[0], low), _mm512_add_pd(sums[1], high)]
        }
    }
    #[inline(always)]
    fn joined(self, a: [__m512d; 2], b: [__m512d; 2]) -> [__m512d; 2] {
        // SAFETY: as above.
        unsafe { [_mm512_add_pd(a[0], b[0]), _mm512_add_pd(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn scaled(self, v: [__m512d; 2], by: *const f64) -> __m512 {
        // SAFETY: as above.
        unsafe {
            let by = [_mm512_loadu_pd(by), _mm512_loadu_pd(by.add(8))];
            let low = _mm512_cvtpd_ps(_mm512_mul_pd(v[0], by[0]));
            let high = _mm512_cvtpd_ps(_mm512_mul_pd(v[1], by[1]));
            _mm512_insertf32x8::<1>(_mm512_castps256_ps512(low), high)
        }
    }
    #[inline(always)]
    fn total(self, v: [__m512d; 2]) -> f64 {
        // SAFETY: as above.
        unsafe {
            let eight = _mm512_add_pd(v[0], v[1]);
            let (low, high) = (_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd::<1>(eight));
            four(_mm256_add_pd(low, high))
        }
    }
    #[inline(always)]
    unsafe fn store_totals(self, p: *mut f32, v: [[__m512d; 2]; 8], by: f64) {
        // Halves of two sums' lanes are added at once, those of four, and of eight.
        // SAFETY: as above.
        unsafe {
            let mut eight = [_mm512_setzero_pd(); 8];
            for i in 0..8 {
                eight[i] = _mm512_add_pd(v[i][0], v[i][1]);
            }
            let (mut four, mut two) = ([eight[0]; 4], [eight[0]; 2]);
            for i in 0..4 {
                let (a, b) = (eight[i / 2 * 4 + i % 2], eight[i / 2 * 4 + i % 2 + 2]);
                let (low, high) = (_mm512_shuffle_f64x2::<0x44>(a, b), _mm512_shuffle_f64x2::<0xee>(a, b));
                four[i] = _mm512_add_pd(low, high);
            }
            for i in 0..2 {
                let (a, b) = (four[i], four[i + 2]);
                let (low, high) = (_mm512_shuffle_f64x2::<0x88>(a, b), _mm512_shuffle_f64x2::<0xdd>(a, b));
                two[i] = _mm512_add_pd(low, high);
            }
            let sums = _mm512_add_pd(_mm512_unpacklo_pd(two[0], two[1]), _mm512_unpackhi_pd(two[0], two[1]));
            _mm256_storeu_ps(p, _mm512_cvtpd_ps(_mm512_mul_pd(sums, _mm512_set1_pd(by))));
        }
    }
    #[inline(always)]
    fn place(self, x: i32) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    unsafe fn load_places(self, p: *const i32) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store_places(self, p: *mut i32, v: __m512i) {
        // SAFETY: as above.
        unsafe { _mm512_storeu_si512(p.cast(), v) }
    }
    #[inline(always)]
    unsafe fn store_long(self, p: *mut i64, v: __m512i) {
        // SAFETY: as above.
        unsafe {
            _mm512_storeu_si512(p.cast(), _mm512_cvtepi32_epi64(_mm512_castsi512_si256(v)));
            let high = _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64::<1>(v));
            _mm512_storeu_si512(p.add(8).cast(), high);
        }
    }
    #[inline(always)]
    fn move_places(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    fn choose_place(self, w: __mmask16, yes: __m512i, no: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_mask_mov_epi32(no, w, yes) }
    }
}

/// # Safety
/// The CPU has AVX2, and the caller is compiled for it. So below.
#[inline(always)]
unsafe fn four(v: __m256d) -> f64 {
    // SAFETY: the caller's promise.
    unsafe {
        let two = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd::<1>(v));
        _mm_cvtsd_f64(_mm_add_pd(two, _mm_unpackhi_pd(two, two)))
    }
}

/// The lanes of the lower eight bits.
///
/// # Safety
/// As for `four`.
#[inline(always)]
unsafe fn lanes(mask: u16) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe {
        let bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(mask as i32), bits), bits)
    }
}

impl Sixteen for Avx2 {
    type F = [__m256; 2];
    type D = [__m256d; 4];
    type I = [__m256i; 2];
    type W = [__m256; 2];

    #[inline(always)]
    unsafe fn assume() -> Self {
        Avx2(())
    }
    #[inline(always)]
    fn splat(self, x: f32) -> [__m256; 2] {
        // SAFETY: the token proves the instruction set; so in every method here.
        unsafe { [_mm256_set1_ps(x); 2] }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> [__m256; 2] {
        // SAFETY: the caller's promise; so in every load and store here.
        unsafe { [_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))] }
    }
    #[inline(always)]
    unsafe fn load_some(self, fill: [__m256; 2], mask: u16, p: *const f32) -> [__m256; 2] {
        if mask == 0xffff {
            // SAFETY: as above.
            return unsafe { self.load(p) };
        }
        let mut v = fill;
        for h in 0..2 {
            // SAFETY: as above; masked lanes are not touched.
            unsafe {
                let some = lanes(mask >> (8 * h));
                let part = _mm256_maskload_ps(p.wrapping_add(8 * h), some);
                v[h] = _mm256_blendv_ps(fill[h], part, _mm256_castsi256_ps(some));
            }
        }
        v
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: [__m256; 2]) {
        // SAFETY: as above.
        unsafe {
            _mm256_storeu_ps(p, v[0]);
            _mm256_storeu_ps(p.add(8), v[1]);
        }
    }
    #[inline(always)]
    unsafe fn store_some(self, p: *mut f32, mask: u16, v: [__m256; 2]) {
        for h in 0..2 {
            // SAFETY: as above; masked lanes are not touched. (A masked store costs many plain ones.)
            unsafe {
                match mask >> (8 * h) & 0xff {
                    0 => {}
                    0xff => _mm256_storeu_ps(p.wrapping_add(8 * h), v[h]),
                    some => _mm256_maskstore_ps(p.wrapping_add(8 * h), lanes(some), v[h]),
                }
            }
        }
    }
    #[inline(always)]
    fn add(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn max(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn greater(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe {
            [
                _mm256_cmp_ps::<_CMP_GT_OQ>(a[0], b[0]),
                _mm256_cmp_ps::<_CMP_GT_OQ>(a[1], b[1]),
            ]
        }
    }
    #[inline(always)]
    fn equal(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe {
            [
                _mm256_cmp_ps::<_CMP_EQ_OQ>(a[0], b[0]),
                _mm256_cmp_ps::<_CMP_EQ_OQ>(a[1], b[1]),
            ]
        }
    }
    #[inline(always)]
    fn unordered(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe {
            [
                _mm256_cmp_ps::<_CMP_UNORD_Q>(a[0], b[0]),
                _mm256_cmp_ps::<_CMP_UNORD_Q>(a[1], b[1]),
            ]
        }
    }
    #[inline(always)]
    fn nowhere(self) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_setzero_ps(); 2] }
    }
    #[inline(always)]
    fn either(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_or_ps(a[0], b[0]), _mm256_or_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn without(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_andnot_ps(b[0], a[0]), _mm256_andnot_ps(b[1], a[1])] }
    }
    #[inline(always)]
    fn bits(self, w: [__m256; 2]) -> u16 {
        // SAFETY: as above.
        unsafe { (_mm256_movemask_ps(w[0]) | _mm256_movemask_ps(w[1]) << 8) as u16 }
    }
    #[inline(always)]
    fn choose(self, w: [__m256; 2], yes: [__m256; 2], no: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe {
            [
                _mm256_blendv_ps(no[0], yes[0], w[0]),
                _mm256_blendv_ps(no[1], yes[1], w[1]),
            ]
        }
    }
    #[inline(always)]
    fn only(self, w: [__m256; 2], v: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_and_ps(w[0], v[0]), _mm256_and_ps(w[1], v[1])] }
    }
    #[inline(always)]
    fn except(self, w: [__m256; 2], v: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_andnot_ps(w[0], v[0]), _mm256_andnot_ps(w[1], v[1])] }
    }
    #[inline(always)]
    fn even(self, low: [__m256; 2], high: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe { [sorted::<0x88>(low), sorted::<0x88>(high)] }
    }
    #[inline(always)]
    fn odd(self, low: [__m256; 2], high: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe { [sorted::<0xDD>(low), sorted::<0xDD>(high)] }
    }
    #[inline(always)]
    fn in_turn(self, even: [__m256; 2], odd: [__m256; 2]) -> [[__m256; 2]; 2] {
        let mut all = [even; 2];
        for h in 0..2 {
            // SAFETY: as above.
            unsafe {
                let (low, high) = (_mm256_unpacklo_ps(even[h], odd[h]), _mm256_unpackhi_ps(even[h], odd[h]));
                all[h] = [
                    _mm256_permute2f128_ps::<0x20>(low, high),
                    _mm256_permute2f128_ps::<0x31>(low, high),
                ];
            }
        }
        all
    }
    #[inline(always)]
    fn next(self, v: [__m256; 2], after: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe { [shifted::<4>(v[0], v[1]), shifted::<4>(v[1], after[0])] }
    }
    #[inline(always)]
    fn last(self, before: [__m256; 2], v: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe { [shifted::<12>(before[1], v[0]), shifted::<12>(v[0], v[1])] }
    }
    #[inline(always)]
    fn zeros(self) -> [__m256d; 4] {
        // SAFETY: as above.
        unsafe { [_mm256_setzero_pd(); 4] }
    }
    #[inline(always)]
    fn added(self, sums: [__m256d; 4], v: [__m256; 2]) -> [__m256d; 4] {
        let mut sums = sums;
        for h in 0..2 {
            // SAFETY: as above.
            unsafe {
                let (low, high) = (_mm256_castps256_ps128(v[h]), _mm256_extractf128_ps::<1>(v[h]));
                sums[2 * h] = _mm256_add_pd(sums[2 * h], _mm256_cvtps_pd(low));
                sums[2 * h + 1] = _mm256_add_pd(sums[2 * h + 1], _mm256_cvtps_pd(high));
            }
        }
        sums
    }
    #[inline(always)]
    fn joined(self, a: [__m256d; 4], b: [__m256d; 4]) -> [__m256d; 4] {
        let mut sums = a;
        for i in 0..4 {
            // SAFETY: as above.
            sums[i] = unsafe { _mm256_add_pd(a[i], b[i]) };
        }
        sums
    }
    #[inline(always)]
    unsafe fn scaled(self, v: [__m256d; 4], by: *const f64) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe {
            let mut parts = [_mm_setzero_ps(); 4];
            for i in 0..4 {
                parts[i] = _mm256_cvtpd_ps(_mm256_mul_pd(v[i], _mm256_loadu_pd(by.add(4 * i))));
            }
            [_mm256_set_m128(parts[1], parts[0]), _mm256_set_m128(parts[3], parts[2])]
        }
    }
    #[inline(always)]
    fn total(self, v: [__m256d; 4]) -> f64 {
        // SAFETY: as above.
        unsafe { four(_mm256_add_pd(_mm256_add_pd(v[0], v[2]), _mm256_add_pd(v[1], v[3]))) }
    }
    #[inline(always)]
    fn place(self, x: i32) -> [__m256i; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_set1_epi32(x); 2] }
    }
    #[inline(always)]
    unsafe fn load_places(self, p: *const i32) -> [__m256i; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(8).cast())] }
    }
    #[inline(always)]
    unsafe fn store_places(self, p: *mut i32, v: [__m256i; 2]) {
        // SAFETY: as above.
        unsafe {
            _mm256_storeu_si256(p.cast(), v[0]);
            _mm256_storeu_si256(p.add(8).cast(), v[1]);
        }
    }
    #[inline(always)]
    unsafe fn store_long(self, p: *mut i64, v: [__m256i; 2]) {
        for h in 0..2 {
            // SAFETY: as above.
            unsafe {
                let low = _mm256_cvtepi32_epi64(_mm256_castsi256_si128(v[h]));
                let high = _mm256_cvtepi32_epi64(_mm256_extracti128_si256::<1>(v[h]));
                _mm256_storeu_si256(p.add(8 * h).cast(), low);
                _mm256_storeu_si256(p.add(8 * h + 4).cast(), high);
            }
        }
    }
    #[inline(always)]
    fn move_places(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])] }
    }
    #[inline(always)]
    fn choose_place(self, w: [__m256; 2], yes: [__m256i; 2], no: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: as above.
        unsafe {
            let w = [_mm256_castps_si256(w[0]), _mm256_castps_si256(w[1])];
            [
                _mm256_blendv_epi8(no[0], yes[0], w[0]),
                _mm256_blendv_epi8(no[1], yes[1], w[1]),
            ]
        }
    }
}

/// Every second of sixteen elements, picked by `FROM` from each quarter.
///
/// # Safety
/// As for `four`.
#[inline(always)]
unsafe fn sorted<const FROM: i32>(v: [__m256; 2]) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe {
        let quarters = _mm256_castps_pd(_mm256_shuffle_ps::<FROM>(v[0], v[1]));
        _mm256_castpd_ps(_mm256_permute4x64_pd::<0xD8>(quarters))
    }
}

/// Eight of sixteen elements: those from byte `BY` (12: 28) on.
///
/// # Safety
/// As for `four`.
#[inline(always)]
unsafe fn shifted<const BY: i32>(low: __m256, high: __m256) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe {
        let between = _mm256_castps_si256(_mm256_permute2f128_ps::<0x21>(low, high));
        let (low, high) = (_mm256_castps_si256(low), _mm256_castps_si256(high));
        _mm256_castsi256_ps(if BY == 12 {
            _mm256_alignr_epi8::<12>(high, between)
        } else {
            _mm256_alignr_epi8::<4>(between, low)
        })
    }
}
