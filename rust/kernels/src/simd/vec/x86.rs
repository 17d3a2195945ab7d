//! AVX-512 and AVX2, and blocks transposed in their registers.

use super::{Every, Lanes};
use std::arch::x86_64::*;
use std::ops::Range;

/// 512-bit vectors with masks.
#[derive(Clone, Copy)]
pub struct Avx512(());
/// 256-bit vectors and FMA.
#[derive(Clone, Copy)]
pub struct Avx2(());

/// Every second element of two vectors of AVX2: as masks, to load, and as a range, to store.
#[derive(Clone, Copy)]
pub struct Evens {
    masks: [__m256i; 2],
    lanes: [usize; 2],
}

impl From<Evens> for [usize; 2] {
    #[inline(always)]
    fn from(some: Evens) -> Self {
        some.lanes
    }
}

/// Sliding window over this gives the mask with the first `n` lanes set.
static WINDOW: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// # Safety
/// The CPU has AVX2. So for the functions below.
#[inline(always)]
unsafe fn mask8(n: usize) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_loadu_si256(WINDOW.as_ptr().add(8 - n.min(8)).cast()) }
}

/// # Safety
/// As for `mask8`.
#[inline(always)]
unsafe fn mask4(n: usize) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_loadu_si256(WINDOW.as_ptr().add(8 - 2 * n.min(4)).cast()) }
}

/// Lanes of three vectors, taken in turn: lane i of vector j is element 3 i + j, so it goes to lane (3 i + j) % 16 of a
/// result. Eleven undoes the three.
#[inline]
#[target_feature(enable = "avx512f")]
fn in_turn(v: [__m512; 3]) -> [__m512; 3] {
    const PLACES: [[i32; 16]; 3] = {
        let mut all = [[0; 16]; 3];
        let mut l = 0;
        while l < 16 {
            all[0][l as usize] = 11 * l % 16;
            all[1][l as usize] = 11 * (l + 15) % 16;
            all[2][l as usize] = 11 * (l + 14) % 16;
            l += 1;
        }
        all
    };
    // Every third lane, from 0, 1 and 2.
    const THIRDS: [u16; 3] = [0x9249, 0x2492, 0x4924];
    let mut turned = v;
    for j in 0..3 {
        // SAFETY: sixteen numbers.
        let places = unsafe { _mm512_loadu_si512(PLACES[j].as_ptr().cast()) };
        turned[j] = _mm512_permutexvar_ps(places, v[j]);
    }
    let [a, b, c] = turned;
    let mut result = v;
    for (i, [second, third]) in [[1, 2], [0, 1], [2, 0]].into_iter().enumerate() {
        let two = _mm512_mask_mov_ps(a, THIRDS[second], b);
        result[i] = _mm512_mask_mov_ps(two, THIRDS[third], c);
    }
    result
}

/// 16 x 16 words.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn transpose_words(r: [__m512i; 16]) -> [__m512i; 16] {
    let (mut t, mut s) = (r, r);
    for i in 0..8 {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    // Now columns 0, 1, 2, 3 (and those 4, 8, 12 further) of rows 4i..4i+4.
    for i in [0, 4, 8, 12] {
        s[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        s[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        s[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        s[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    // Quarters of vectors: columns c and c + 8 of rows 0..8, c + 4 and c + 12; the same of rows 8..16.
    for c in 0..4 {
        t[c] = _mm512_shuffle_i32x4::<0x88>(s[c], s[c + 4]);
        t[c + 4] = _mm512_shuffle_i32x4::<0xDD>(s[c], s[c + 4]);
        t[c + 8] = _mm512_shuffle_i32x4::<0x88>(s[c + 8], s[c + 12]);
        t[c + 12] = _mm512_shuffle_i32x4::<0xDD>(s[c + 8], s[c + 12]);
    }
    for c in 0..4 {
        s[c] = _mm512_shuffle_i32x4::<0x88>(t[c], t[c + 8]);
        s[c + 4] = _mm512_shuffle_i32x4::<0x88>(t[c + 4], t[c + 12]);
        s[c + 8] = _mm512_shuffle_i32x4::<0xDD>(t[c], t[c + 8]);
        s[c + 12] = _mm512_shuffle_i32x4::<0xDD>(t[c + 4], t[c + 12]);
    }
    s
}

/// 8 x 8 double words.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose_double_words(r: [__m512i; 8]) -> [__m512i; 8] {
    let (mut t, mut s) = (r, r);
    // Columns 2i (and 2i + 1 in the odd ones) of two rows in quarter i.
    for i in [0, 2, 4, 6] {
        t[i] = _mm512_unpacklo_epi64(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi64(r[i], r[i + 1]);
    }
    // Columns c and c + 4, and c + 2 and c + 6, of rows 0..4; the same of rows 4..8.
    for c in 0..2 {
        s[c] = _mm512_shuffle_i64x2::<0x88>(t[c], t[c + 2]);
        s[c + 2] = _mm512_shuffle_i64x2::<0xDD>(t[c], t[c + 2]);
        s[c + 4] = _mm512_shuffle_i64x2::<0x88>(t[c + 4], t[c + 6]);
        s[c + 6] = _mm512_shuffle_i64x2::<0xDD>(t[c + 4], t[c + 6]);
    }
    for c in 0..4 {
        t[c] = _mm512_shuffle_i64x2::<0x88>(s[c], s[c + 4]);
        t[c + 4] = _mm512_shuffle_i64x2::<0xDD>(s[c], s[c + 4]);
    }
    t
}

/// 8 x 8 floats through 24 shuffles.
///
/// # Safety
/// See [`Lanes::transpose`]; the CPU has AVX2.
#[inline(always)]
unsafe fn transpose_f32(rows: &[*const f32], offset: isize, cols: usize, dst: *mut f32, ld: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut r = [_mm256_setzero_ps(); 8];
        if cols >= 8 && rows.len() == 8 {
            for i in 0..8 {
                r[i] = _mm256_loadu_ps(rows[i].offset(offset));
            }
        } else {
            let mask = mask8(cols);
            for i in 0..8 {
                if i < rows.len() {
                    r[i] = _mm256_maskload_ps(rows[i].offset(offset), mask);
                }
            }
        }
        let (mut t, mut s) = (r, r);
        for i in 0..4 {
            t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
            t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
        }
        for i in [0, 4] {
            s[i] = _mm256_shuffle_ps::<0x44>(t[i], t[i + 2]);
            s[i + 1] = _mm256_shuffle_ps::<0xEE>(t[i], t[i + 2]);
            s[i + 2] = _mm256_shuffle_ps::<0x44>(t[i + 1], t[i + 3]);
            s[i + 3] = _mm256_shuffle_ps::<0xEE>(t[i + 1], t[i + 3]);
        }
        for i in 0..4 {
            r[i] = _mm256_permute2f128_ps::<0x20>(s[i], s[i + 4]);
            r[i + 4] = _mm256_permute2f128_ps::<0x31>(s[i], s[i + 4]);
        }
        for j in 0..8 {
            if j < cols {
                _mm256_storeu_ps(dst.add(j * ld), r[j]);
            }
        }
    }
}

/// # Safety
/// See [`Lanes::transpose`]; the CPU has AVX2.
#[inline(always)]
unsafe fn transpose_f64(rows: &[*const f64], offset: isize, cols: usize, dst: *mut f64, ld: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut r = [_mm256_setzero_pd(); 4];
        let mask = mask4(cols);
        for i in 0..4 {
            if i < rows.len() {
                r[i] = _mm256_maskload_pd(rows[i].offset(offset), mask);
            }
        }
        let (a, b) = (_mm256_unpacklo_pd(r[0], r[1]), _mm256_unpackhi_pd(r[0], r[1]));
        let (c, d) = (_mm256_unpacklo_pd(r[2], r[3]), _mm256_unpackhi_pd(r[2], r[3]));
        let out = [
            _mm256_permute2f128_pd::<0x20>(a, c),
            _mm256_permute2f128_pd::<0x20>(b, d),
            _mm256_permute2f128_pd::<0x31>(a, c),
            _mm256_permute2f128_pd::<0x31>(b, d),
        ];
        for j in 0..4 {
            if j < cols {
                _mm256_storeu_pd(dst.add(j * ld), out[j]);
            }
        }
    }
}

macro_rules! lanes {
    ($token:ident, $t:ty, $v:ty, $mask:ty, $n:literal, $block:literal, $transpose:ident, $splat:ident, $load:ident,
     $store:ident, $fma:ident, $add:ident, $mul:ident, $max:ident, |$lp:ident, $ln:ident| $load_n:expr,
     |$sp:ident, $sv:ident, $sn:ident| $store_n:expr,
     |$from:ident, $to:ident| $make:expr, |$mv:ident, $mp:ident, $mm:ident| $more:expr, { $($extra:tt)+ }) => {
        impl Lanes<$t> for $token {
            type V = $v;
            type Mask = $mask;
            const N: usize = $n;
            const BLOCK: usize = $block;
            #[inline(always)]
            fn mask(self, $from: usize, $to: usize) -> $mask {
                $make
            }
            #[inline(always)]
            unsafe fn load_more(self, $mv: $v, $mp: *const $t, $mm: $mask) -> $v {
                // SAFETY: the caller's promise.
                unsafe { $more }
            }
            #[inline(always)]
            unsafe fn assume() -> Self {
                $token(())
            }
            #[inline(always)]
            fn splat(self, v: $t) -> $v {
                // SAFETY: the token proves the instruction set; so in every method below.
                unsafe { $splat(v) }
            }
            #[inline(always)]
            unsafe fn load(self, p: *const $t) -> $v {
                // SAFETY: the caller's promise.
                unsafe { $load(p) }
            }
            #[inline(always)]
            unsafe fn load_n(self, $lp: *const $t, $ln: usize) -> $v {
                // SAFETY: the caller's promise.
                unsafe { $load_n }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t, v: $v) {
                // SAFETY: the caller's promise.
                unsafe { $store(p, v) }
            }
            #[inline(always)]
            unsafe fn store_n(self, $sp: *mut $t, $sv: $v, $sn: usize) {
                // SAFETY: the caller's promise.
                unsafe { $store_n }
            }
            #[inline(always)]
            fn fma(self, a: $v, b: $v, c: $v) -> $v {
                // SAFETY: as in `splat`.
                unsafe { $fma(a, b, c) }
            }
            #[inline(always)]
            fn add(self, a: $v, b: $v) -> $v {
                // SAFETY: as in `splat`.
                unsafe { $add(a, b) }
            }
            #[inline(always)]
            fn mul(self, a: $v, b: $v) -> $v {
                // SAFETY: as in `splat`.
                unsafe { $mul(a, b) }
            }
            #[inline(always)]
            fn relu(self, v: $v) -> $v {
                // Of two zeros, and where one is no number, the instruction gives its second operand.
                // SAFETY: as in `splat`.
                unsafe { $max($splat(0.0), v) }
            }
            $($extra)+
            #[inline(always)]
            fn prefetch(self, p: *const $t) {
                crate::simd::prefetch(p)
            }
            #[inline(always)]
            fn prefetch_far(self, p: *const $t) {
                // SAFETY: a hint; it never faults.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
            }
            #[inline(always)]
            fn prefetch_write(self, p: *const $t) {
                crate::simd::prefetch_write(p)
            }
            #[inline(always)]
            unsafe fn transpose(self, rows: &[*const $t], offset: isize, cols: usize, dst: *mut $t, ld: usize) {
                // SAFETY: the caller's promise.
                unsafe { $transpose(rows, offset, cols, dst, ld) }
            }
        }
    };
}

lanes!(
    Avx512,
    f32,
    __m512,
    __mmask16,
    16,
    8,
    transpose_f32,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_fmadd_ps,
    _mm512_add_ps,
    _mm512_mul_ps,
    _mm512_max_ps,
    |p, n| _mm512_maskz_loadu_ps(((1u32 << n.min(16)) - 1) as u16, p),
    // A masked store costs several plain ones.
    |p, v, n| if n >= 16 {
        _mm512_storeu_ps(p, v)
    } else {
        _mm512_mask_storeu_ps(p, ((1u32 << n) - 1) as u16, v)
    },
    |from, to| ((1u32 << to) - (1u32 << from.min(to))) as u16,
    |v, p, mask| _mm512_mask_loadu_ps(v, mask, p),
    {
        type Even = [__mmask16; 2];
        #[inline(always)]
        fn even(self, from: usize, to: usize) -> [__mmask16; 2] {
            let mask = (((1u64 << (2 * to)) - (1u64 << (2 * from.min(to)))) & 0x5555_5555) as u32;
            [mask as u16, (mask >> 16) as u16]
        }
        const LOADS_EVERY: bool = true;
        #[inline(always)]
        unsafe fn load_every(self, p: *const f32, every: &Every) -> __m512 {
            // SAFETY: the caller's promise; masked lanes are not touched.
            unsafe {
                let places = _mm512_loadu_si512(every.places.as_ptr().cast());
                let mut all = _mm512_setzero_ps();
                for part in every.parts() {
                    let from = _mm512_maskz_loadu_ps(part.touched, p.wrapping_add(part.at.into()));
                    all = _mm512_mask_permutexvar_ps(all, part.lanes, places, from);
                }
                all
            }
        }
        #[inline(always)]
        unsafe fn load_even(self, p: *const f32, [low, high]: [__mmask16; 2]) -> __m512 {
            // SAFETY: the caller's promise; masked lanes are not touched.
            unsafe {
                let low = _mm512_maskz_loadu_ps(low, p);
                let high = _mm512_maskz_loadu_ps(high, p.wrapping_add(16));
                let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
                _mm512_permutex2var_ps(low, even, high)
            }
        }
        #[inline(always)]
        unsafe fn store_even(self, p: *mut f32, v: __m512, mask: [__mmask16; 2]) {
            // SAFETY: the caller's promise; masked lanes are not touched.
            unsafe {
                let low = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
                let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
                _mm512_mask_storeu_ps(p, mask[0], _mm512_permutexvar_ps(low, v));
                _mm512_mask_storeu_ps(p.wrapping_add(16), mask[1], _mm512_permutexvar_ps(high, v));
            }
        }
        #[inline(always)]
        unsafe fn store_pairs(self, p: *mut f32, even: __m512, odd: __m512, n: usize) {
            // SAFETY: the caller's promise.
            unsafe {
                let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
                let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
                self.store_n(p, _mm512_permutex2var_ps(even, low, odd), n);
                if n > 16 {
                    self.store_n(p.wrapping_add(16), _mm512_permutex2var_ps(even, high, odd), n - 16);
                }
            }
        }
        #[inline(always)]
        unsafe fn store_triples(self, p: *mut f32, v: [__m512; 3]) {
            // SAFETY: the caller's promise.
            unsafe {
                let v = in_turn(v);
                for i in 0..3 {
                    self.store(p.wrapping_add(16 * i), v[i]);
                }
            }
        }
        #[inline(always)]
        unsafe fn store_triples_part(self, p: *mut f32, v: [__m512; 3], part: Range<usize>) {
            let mask = (1u64 << part.end.min(48)) - (1u64 << part.start.min(part.end).min(48));
            // SAFETY: the caller's promise.
            unsafe {
                let v = in_turn(v);
                for i in 0..3 {
                    _mm512_mask_storeu_ps(p.wrapping_add(16 * i), (mask >> (16 * i)) as u16, v[i]);
                }
            }
        }
        const LARGE: usize = 16;
        #[inline(always)]
        unsafe fn transpose_large(self, rows: &[*const f32], offset: isize, cols: usize, dst: *mut f32, ld: usize) {
            // SAFETY: the caller's promise; masked columns and missing rows are not touched.
            unsafe {
                let mut block = [_mm512_setzero_si512(); 16];
                let mask = ((1u32 << cols.min(16)) - 1) as u16;
                for i in 0..16 {
                    if i < rows.len() {
                        block[i] = _mm512_maskz_loadu_epi32(mask, rows[i].offset(offset).cast());
                    }
                }
                let turned = transpose_words(block);
                for i in 0..16 {
                    if i < cols {
                        _mm512_storeu_si512(dst.wrapping_add(i * ld).cast(), turned[i]);
                    }
                }
            }
        }
    }
);
lanes!(
    Avx512,
    f64,
    __m512d,
    __mmask8,
    8,
    4,
    transpose_f64,
    _mm512_set1_pd,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_fmadd_pd,
    _mm512_add_pd,
    _mm512_mul_pd,
    _mm512_max_pd,
    |p, n| _mm512_maskz_loadu_pd(((1u32 << n.min(8)) - 1) as u8, p),
    |p, v, n| if n >= 8 {
        _mm512_storeu_pd(p, v)
    } else {
        _mm512_mask_storeu_pd(p, ((1u32 << n) - 1) as u8, v)
    },
    |from, to| ((1u32 << to) - (1u32 << from.min(to))) as u8,
    |v, p, mask| _mm512_mask_loadu_pd(v, mask, p),
    {
        even_one_by_one!(f64);
        const LOADS_EVERY: bool = true;
        #[inline(always)]
        unsafe fn load_every(self, p: *const f64, every: &Every) -> __m512d {
            // SAFETY: the caller's promise; masked lanes are not touched.
            unsafe {
                let places = _mm512_cvtepi32_epi64(_mm256_loadu_si256(every.places.as_ptr().cast()));
                let mut all = _mm512_setzero_pd();
                for part in every.parts() {
                    let from = _mm512_maskz_loadu_pd(part.touched as u8, p.wrapping_add(part.at.into()));
                    all = _mm512_mask_permutexvar_pd(all, part.lanes as u8, places, from);
                }
                all
            }
        }
        const LARGE: usize = 8;
        #[inline(always)]
        unsafe fn transpose_large(self, rows: &[*const f64], offset: isize, cols: usize, dst: *mut f64, ld: usize) {
            // SAFETY: the caller's promise; masked columns and missing rows are not touched.
            unsafe {
                let mut block = [_mm512_setzero_si512(); 8];
                let mask = ((1u32 << cols.min(8)) - 1) as u8;
                for i in 0..8 {
                    if i < rows.len() {
                        block[i] = _mm512_maskz_loadu_epi64(mask, rows[i].offset(offset).cast());
                    }
                }
                let turned = transpose_double_words(block);
                for i in 0..8 {
                    if i < cols {
                        _mm512_storeu_si512(dst.wrapping_add(i * ld).cast(), turned[i]);
                    }
                }
            }
        }
    }
);
lanes!(
    Avx2,
    f32,
    __m256,
    __m256i,
    8,
    8,
    transpose_f32,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_fmadd_ps,
    _mm256_add_ps,
    _mm256_mul_ps,
    _mm256_max_ps,
    |p, n| _mm256_maskload_ps(p, mask8(n)),
    |p, v, n| if n >= 8 {
        _mm256_storeu_ps(p, v)
    } else {
        _mm256_maskstore_ps(p, mask8(n), v)
    },
    // SAFETY: the token proves AVX2.
    |from, to| unsafe { _mm256_andnot_si256(mask8(from), mask8(to)) },
    |v, p, mask| _mm256_or_ps(v, _mm256_maskload_ps(p, mask)),
    {
        type Even = Evens;
        #[inline(always)]
        fn even(self, from: usize, to: usize) -> Evens {
            // SAFETY: the token proves AVX2.
            unsafe {
                let evens = _mm256_setr_epi32(-1, 0, -1, 0, -1, 0, -1, 0);
                let low = _mm256_andnot_si256(mask8(2 * from), mask8(2 * to));
                let high = _mm256_andnot_si256(mask8((2 * from).saturating_sub(8)), mask8((2 * to).saturating_sub(8)));
                Evens {
                    masks: [_mm256_and_si256(evens, low), _mm256_and_si256(evens, high)],
                    lanes: [from, to],
                }
            }
        }
        #[inline(always)]
        unsafe fn load_even(self, p: *const f32, mask: Evens) -> __m256 {
            // SAFETY: the caller's promise; masked lanes are not touched.
            unsafe {
                let low = _mm256_maskload_ps(p, mask.masks[0]);
                let high = _mm256_maskload_ps(p.wrapping_add(8), mask.masks[1]);
                let evens = _mm256_castps_pd(_mm256_shuffle_ps::<0x88>(low, high));
                _mm256_castpd_ps(_mm256_permute4x64_pd::<0xD8>(evens))
            }
        }
        store_even_one_by_one!(f32);
        #[inline(always)]
        unsafe fn store_pairs(self, p: *mut f32, even: __m256, odd: __m256, n: usize) {
            // SAFETY: the caller's promise.
            unsafe {
                let (low, high) = (_mm256_unpacklo_ps(even, odd), _mm256_unpackhi_ps(even, odd));
                self.store_n(p, _mm256_permute2f128_ps::<0x20>(low, high), n);
                if n > 8 {
                    self.store_n(p.wrapping_add(8), _mm256_permute2f128_ps::<0x31>(low, high), n - 8);
                }
            }
        }
        #[inline(always)]
        unsafe fn store_triples(self, p: *mut f32, v: [__m256; 3]) {
            // As with 512 bits.
            // SAFETY: the caller's promise.
            unsafe {
                let a = _mm256_permutevar8x32_ps(v[0], _mm256_setr_epi32(0, 3, 6, 1, 4, 7, 2, 5));
                let b = _mm256_permutevar8x32_ps(v[1], _mm256_setr_epi32(5, 0, 3, 6, 1, 4, 7, 2));
                let c = _mm256_permutevar8x32_ps(v[2], _mm256_setr_epi32(2, 5, 0, 3, 6, 1, 4, 7));
                let first = _mm256_blend_ps::<0x24>(_mm256_blend_ps::<0x92>(a, b), c);
                let second = _mm256_blend_ps::<0x49>(_mm256_blend_ps::<0x24>(a, b), c);
                let third = _mm256_blend_ps::<0x92>(_mm256_blend_ps::<0x49>(a, b), c);
                self.store(p, first);
                self.store(p.wrapping_add(8), second);
                self.store(p.wrapping_add(16), third);
            }
        }
    }
);
lanes!(
    Avx2,
    f64,
    __m256d,
    __m256i,
    4,
    4,
    transpose_f64,
    _mm256_set1_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_fmadd_pd,
    _mm256_add_pd,
    _mm256_mul_pd,
    _mm256_max_pd,
    |p, n| _mm256_maskload_pd(p, mask4(n)),
    |p, v, n| if n >= 4 {
        _mm256_storeu_pd(p, v)
    } else {
        _mm256_maskstore_pd(p, mask4(n), v)
    },
    // SAFETY: the token proves AVX2.
    |from, to| unsafe { _mm256_andnot_si256(mask4(from), mask4(to)) },
    |v, p, mask| _mm256_or_pd(v, _mm256_maskload_pd(p, mask)),
    {
        type Even = Evens;
        #[inline(always)]
        fn even(self, from: usize, to: usize) -> Evens {
            // SAFETY: the token proves AVX2.
            unsafe {
                let evens = _mm256_setr_epi64x(-1, 0, -1, 0);
                let low = _mm256_andnot_si256(mask4(2 * from), mask4(2 * to));
                let high = _mm256_andnot_si256(mask4((2 * from).saturating_sub(4)), mask4((2 * to).saturating_sub(4)));
                Evens {
                    masks: [_mm256_and_si256(evens, low), _mm256_and_si256(evens, high)],
                    lanes: [from, to],
                }
            }
        }
        #[inline(always)]
        unsafe fn load_even(self, p: *const f64, mask: Evens) -> __m256d {
            // SAFETY: the caller's promise; masked lanes are not touched.
            unsafe {
                let low = _mm256_maskload_pd(p, mask.masks[0]);
                let high = _mm256_maskload_pd(p.wrapping_add(4), mask.masks[1]);
                _mm256_permute4x64_pd::<0xD8>(_mm256_unpacklo_pd(low, high))
            }
        }
        store_even_one_by_one!(f64);
    }
);
