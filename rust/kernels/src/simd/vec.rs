//! Vectors of lanes for kernels written by hand: one trait, one token per instruction set.
//!
//! A token ([`Avx512`], [`Avx2`], [`Neon`], [`Scalar`]) stands for the promise that the CPU has the instructions; its
//! constructor is unsafe and is called only inside `#[target_feature]` functions that were picked after detection.
//! Kernels are `#[inline(always)]` functions generic over [`Lanes`], and become real code in such functions.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

/// Operations on a vector of `N` lanes of `T`. `fma` rounds once in every set.
///
/// # Safety
/// For all loads and stores: the lanes touched lie inside live memory.
pub trait Lanes<T>: Copy {
    type V: Copy;
    /// Some of the lanes.
    type Mask: Copy;
    /// Some of the lanes, as every second element of memory.
    type Even: Copy;
    /// Lanes of a vector.
    const N: usize;
    /// Side of the block that [`Lanes::transpose`] moves.
    const BLOCK: usize;

    /// # Safety
    /// The CPU has the instruction set, and the caller is compiled for it.
    unsafe fn assume() -> Self;
    fn splat(self, v: T) -> Self::V;
    /// # Safety
    /// See the trait.
    unsafe fn load(self, p: *const T) -> Self::V;
    /// Loads the first `n` lanes (all, when `n` is more), zero in the others.
    /// # Safety
    /// See the trait; only the first `n` are touched.
    unsafe fn load_n(self, p: *const T, n: usize) -> Self::V;
    /// # Safety
    /// See the trait.
    unsafe fn store(self, p: *mut T, v: Self::V);
    /// Stores the first `n` lanes (all, when `n` is more).
    /// # Safety
    /// See the trait; only the first `n` are touched.
    unsafe fn store_n(self, p: *mut T, v: Self::V, n: usize);
    /// Lanes `from..to`; both at most `N`.
    fn mask(self, from: usize, to: usize) -> Self::Mask;
    /// `v`, which is zero in the lanes of `mask`, with these loaded from their places in a vector at `p`.
    /// # Safety
    /// See the trait; only the lanes of `mask` are touched.
    unsafe fn load_more(self, v: Self::V, p: *const T, mask: Self::Mask) -> Self::V;
    /// Lanes `from..to`; both at most `N`.
    fn even(self, from: usize, to: usize) -> Self::Even;
    /// Every second element: lane i from `p[2 * i]`, for the lanes of `mask`; zero in the others.
    /// # Safety
    /// See the trait; only these elements are touched.
    unsafe fn load_even(self, p: *const T, mask: Self::Even) -> Self::V;
    /// Stores the lanes of `mask`, lane i to `p[2 * i]`.
    /// # Safety
    /// See the trait; only these elements are touched.
    unsafe fn store_even(self, p: *mut T, v: Self::V, mask: Self::Even);
    /// Stores the first `n` of lanes taken in turn from `even` and `odd` (all, when `n` is more).
    /// # Safety
    /// See the trait; only the first `n` are touched.
    #[inline(always)]
    unsafe fn store_pairs(self, p: *mut T, even: Self::V, odd: Self::V, n: usize)
    where
        T: Copy + Default,
    {
        let mut lanes = [[T::default(); 16]; 2];
        // SAFETY: no vector is longer than an array; the caller's promise.
        unsafe {
            self.store(lanes[0].as_mut_ptr(), even);
            self.store(lanes[1].as_mut_ptr(), odd);
            for i in 0..n.min(2 * Self::N) {
                *p.wrapping_add(i) = lanes[i % 2][i / 2];
            }
        }
    }
    /// `a * b + c`
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// Zero where `v` is negative; a NaN and -0.0 stay.
    fn relu(self, v: Self::V) -> Self::V;
    /// Asks for the cache line at `p`, which need not be valid.
    #[inline(always)]
    fn prefetch(self, _p: *const T) {}
    /// The same, into the second-level cache.
    #[inline(always)]
    fn prefetch_far(self, _p: *const T) {}
    /// The same, of a line that is to be written.
    #[inline(always)]
    fn prefetch_write(self, _p: *const T) {}
    /// Reads `cols` (up to `BLOCK`) elements at `offset` from each of `rows` (up to `BLOCK` of them) and writes them as
    /// `cols` rows of `BLOCK` elements (zeros for missing rows), `ld` apart.
    /// # Safety
    /// See the trait. All `BLOCK` elements of each written row are touched.
    unsafe fn transpose(self, rows: &[*const T], offset: isize, cols: usize, dst: *mut T, ld: usize);
    /// Side of the block that [`Lanes::transpose_large`] moves.
    const LARGE: usize = Self::BLOCK;
    /// [`Lanes::transpose`] of blocks of another side.
    /// # Safety
    /// As there, for `LARGE`.
    #[inline(always)]
    unsafe fn transpose_large(self, rows: &[*const T], offset: isize, cols: usize, dst: *mut T, ld: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.transpose(rows, offset, cols, dst, ld) }
    }
}

/// One lane.
#[derive(Clone, Copy)]
pub struct Scalar(());

macro_rules! scalar_lanes {
    ($($t:ty),*) => {$(
        impl Lanes<$t> for Scalar {
            type V = $t;
            type Mask = bool;
            type Even = bool;
            const N: usize = 1;
            const BLOCK: usize = 1;
            #[inline(always)]
            fn mask(self, from: usize, to: usize) -> bool {
                from < to
            }
            #[inline(always)]
            unsafe fn load_more(self, v: $t, p: *const $t, mask: bool) -> $t {
                // SAFETY: the caller's promise.
                if mask { unsafe { *p } } else { v }
            }
            #[inline(always)]
            fn even(self, from: usize, to: usize) -> bool {
                from < to
            }
            #[inline(always)]
            unsafe fn load_even(self, p: *const $t, mask: bool) -> $t {
                // SAFETY: the caller's promise.
                if mask { unsafe { *p } } else { 0.0 }
            }
            #[inline(always)]
            unsafe fn store_even(self, p: *mut $t, v: $t, mask: bool) {
                if mask {
                    // SAFETY: the caller's promise.
                    unsafe { *p = v }
                }
            }
            #[inline(always)]
            unsafe fn assume() -> Self {
                Scalar(())
            }
            #[inline(always)]
            fn splat(self, v: $t) -> $t {
                v
            }
            #[inline(always)]
            unsafe fn load(self, p: *const $t) -> $t {
                // SAFETY: the caller's promise.
                unsafe { *p }
            }
            #[inline(always)]
            unsafe fn load_n(self, p: *const $t, n: usize) -> $t {
                // SAFETY: the caller's promise.
                if n == 0 { 0.0 } else { unsafe { *p } }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t, v: $t) {
                // SAFETY: the caller's promise.
                unsafe { *p = v }
            }
            #[inline(always)]
            unsafe fn store_n(self, p: *mut $t, v: $t, n: usize) {
                if n > 0 {
                    // SAFETY: the caller's promise.
                    unsafe { *p = v }
                }
            }
            #[inline(always)]
            fn fma(self, a: $t, b: $t, c: $t) -> $t {
                a.mul_add(b, c)
            }
            #[inline(always)]
            fn add(self, a: $t, b: $t) -> $t {
                a + b
            }
            #[inline(always)]
            fn mul(self, a: $t, b: $t) -> $t {
                a * b
            }
            #[inline(always)]
            fn relu(self, v: $t) -> $t {
                if v < 0.0 { 0.0 } else { v }
            }
            #[inline(always)]
            unsafe fn transpose(self, rows: &[*const $t], offset: isize, cols: usize, dst: *mut $t, _ld: usize) {
                if cols > 0 {
                    // SAFETY: the caller's promise.
                    unsafe { *dst = if rows.is_empty() { 0.0 } else { *rows[0].offset(offset) } }
                }
            }
        }
    )*};
}
scalar_lanes!(f32, f64);

/// Every second element, one by one: for vectors without an instruction that takes two and sorts them.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! even_one_by_one {
    ($t:ty) => {
        type Even = [usize; 2];
        #[inline(always)]
        fn even(self, from: usize, to: usize) -> [usize; 2] {
            [from, to]
        }
        #[inline(always)]
        unsafe fn load_even(self, p: *const $t, [from, to]: [usize; 2]) -> Self::V {
            let mut lanes = [0.0; 16];
            for i in from..to {
                // SAFETY: the caller's promise.
                lanes[i] = unsafe { *p.wrapping_add(2 * i) };
            }
            // SAFETY: no vector is longer than the array.
            unsafe { self.load(lanes.as_ptr()) }
        }
        #[inline(always)]
        unsafe fn store_even(self, p: *mut $t, v: Self::V, [from, to]: [usize; 2]) {
            let mut lanes = [0.0; 16];
            // SAFETY: no vector is longer than the array.
            unsafe { self.store(lanes.as_mut_ptr(), v) };
            for i in from..to {
                // SAFETY: the caller's promise.
                unsafe { *p.wrapping_add(2 * i) = lanes[i] };
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::transpose_words;
#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    /// 512-bit vectors with masks.
    #[derive(Clone, Copy)]
    pub struct Avx512(());
    /// 256-bit vectors and FMA.
    #[derive(Clone, Copy)]
    pub struct Avx2(());

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

    /// 8 x 8 floats through 24 shuffles.
    ///
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
                    // SAFETY: a hint; it never faults.
                    unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
                }
                #[inline(always)]
                fn prefetch_far(self, p: *const $t) {
                    // SAFETY: as above.
                    unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
                }
                #[inline(always)]
                fn prefetch_write(self, p: *const $t) {
                    // The compiler's own hint needs a feature that it calls unstable. Other processors do nothing.
                    // SAFETY: a hint; it never faults, and touches neither flags nor registers.
                    unsafe { std::arch::asm!("prefetchw [{}]", in(reg) p, options(nostack, preserves_flags, readonly)) }
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
            even_one_by_one!(f32);
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
            even_one_by_one!(f64);
        }
    );
}

#[cfg(target_arch = "aarch64")]
pub use arm::Neon;

#[cfg(target_arch = "aarch64")]
#[allow(unused_unsafe, reason = "some of the intrinsics are safe where NEON is always on")]
mod arm {
    use super::Lanes;
    use std::arch::aarch64::*;

    /// 128-bit vectors, part of every AArch64 CPU.
    #[derive(Clone, Copy)]
    pub struct Neon(());

    macro_rules! lanes {
        ($t:ty, $v:ty, $n:literal, $splat:ident, $load:ident, $store:ident, $fma:ident, $add:ident, $mul:ident, $negative:ident, $choose:ident) => {
            impl Lanes<$t> for Neon {
                type V = $v;
                type Mask = [usize; 2];
                const N: usize = $n;
                const BLOCK: usize = $n;
                even_one_by_one!($t);
                #[inline(always)]
                fn mask(self, from: usize, to: usize) -> [usize; 2] {
                    [from, to]
                }
                #[inline(always)]
                unsafe fn load_more(self, v: $v, p: *const $t, [from, to]: [usize; 2]) -> $v {
                    if from == 0 && to == $n {
                        // SAFETY: the caller's promise.
                        return unsafe { $load(p) };
                    }
                    let mut all = [0.0; $n];
                    // SAFETY: the caller's promise.
                    unsafe { $store(all.as_mut_ptr(), v) };
                    for i in from..to {
                        // SAFETY: the caller's promise.
                        all[i] = unsafe { *p.add(i) };
                    }
                    // SAFETY: the caller's promise.
                    unsafe { $load(all.as_ptr()) }
                }
                #[inline(always)]
                unsafe fn assume() -> Self {
                    Neon(())
                }
                #[inline(always)]
                fn splat(self, v: $t) -> $v {
                    // SAFETY: NEON is part of AArch64; so in every method below.
                    unsafe { $splat(v) }
                }
                #[inline(always)]
                unsafe fn load(self, p: *const $t) -> $v {
                    // SAFETY: the caller's promise.
                    unsafe { $load(p) }
                }
                #[inline(always)]
                unsafe fn load_n(self, p: *const $t, n: usize) -> $v {
                    if n >= $n {
                        // SAFETY: the caller's promise.
                        return unsafe { $load(p) };
                    }
                    let mut part = [0.0; $n];
                    for i in 0..n {
                        // SAFETY: the caller's promise.
                        part[i] = unsafe { *p.add(i) };
                    }
                    // SAFETY: the caller's promise.
                    unsafe { $load(part.as_ptr()) }
                }
                #[inline(always)]
                unsafe fn store(self, p: *mut $t, v: $v) {
                    // SAFETY: the caller's promise.
                    unsafe { $store(p, v) }
                }
                #[inline(always)]
                unsafe fn store_n(self, p: *mut $t, v: $v, n: usize) {
                    if n >= $n {
                        // SAFETY: the caller's promise.
                        return unsafe { $store(p, v) };
                    }
                    let mut part = [0.0; $n];
                    // SAFETY: the caller's promise.
                    unsafe { $store(part.as_mut_ptr(), v) };
                    for i in 0..n {
                        // SAFETY: the caller's promise.
                        unsafe { *p.add(i) = part[i] };
                    }
                }
                #[inline(always)]
                fn fma(self, a: $v, b: $v, c: $v) -> $v {
                    // SAFETY: as in `splat`.
                    unsafe { $fma(c, a, b) }
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
                    // SAFETY: as in `splat`.
                    unsafe { $choose($negative(v), $splat(0.0), v) }
                }
                #[inline(always)]
                unsafe fn transpose(self, rows: &[*const $t], offset: isize, cols: usize, dst: *mut $t, ld: usize) {
                    for j in 0..cols.min($n) {
                        for i in 0..$n {
                            // SAFETY: the caller's promise.
                            unsafe {
                                let v = if i < rows.len() {
                                    *rows[i].offset(offset + j as isize)
                                } else {
                                    0.0
                                };
                                *dst.add(j * ld + i) = v;
                            }
                        }
                    }
                }
            }
        };
    }
    lanes!(
        f32,
        float32x4_t,
        4,
        vdupq_n_f32,
        vld1q_f32,
        vst1q_f32,
        vfmaq_f32,
        vaddq_f32,
        vmulq_f32,
        vcltzq_f32,
        vbslq_f32
    );
    lanes!(
        f64,
        float64x2_t,
        2,
        vdupq_n_f64,
        vld1q_f64,
        vst1q_f64,
        vfmaq_f64,
        vaddq_f64,
        vmulq_f64,
        vcltzq_f64,
        vbslq_f64
    );
}
