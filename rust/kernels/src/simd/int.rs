//! Vectors of integers that wrap: the bits move as those of floats of the same size do, the arithmetic is their own.

use super::vec::{Lanes, Scalar};
use std::num::Wrapping;

/// Lanes of integers, by the instructions of `L`.
#[derive(Clone, Copy)]
pub struct Ints<L>(L);

/// `Lanes<$t>` for a token that holds `$inner`, whose lanes of `$f` have the same bits.
macro_rules! over {
    ($token:ty as $make:ident over $inner:ty: $t:ty as $f:ty, |$s:ident| $bits:expr, |$a:ident, $b:ident, $c:ident| $fma:expr,
     |$x:ident, $y:ident| $add:expr, |$p:ident, $q:ident| $mul:expr, |$r:ident| $relu:expr) => {
        impl Lanes<$t> for $token {
            type V = <$inner as Lanes<$f>>::V;
            type Mask = <$inner as Lanes<$f>>::Mask;
            type Even = <$inner as Lanes<$f>>::Even;
            const N: usize = <$inner as Lanes<$f>>::N;
            const BLOCK: usize = <$inner as Lanes<$f>>::BLOCK;
            #[inline(always)]
            unsafe fn assume() -> Self {
                // SAFETY: the caller's promise, which is at least as strong.
                $make(unsafe { <$inner as Lanes<$f>>::assume() })
            }
            #[inline(always)]
            fn splat(self, $s: $t) -> Self::V {
                Lanes::<$f>::splat(self.0, $bits)
            }
            #[inline(always)]
            unsafe fn load(self, p: *const $t) -> Self::V {
                // SAFETY: the caller's promise, of elements of the same size; so in every method below.
                unsafe { Lanes::<$f>::load(self.0, p.cast()) }
            }
            #[inline(always)]
            unsafe fn load_n(self, p: *const $t, n: usize) -> Self::V {
                // SAFETY: as above.
                unsafe { Lanes::<$f>::load_n(self.0, p.cast(), n) }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t, v: Self::V) {
                // SAFETY: as above.
                unsafe { Lanes::<$f>::store(self.0, p.cast(), v) }
            }
            #[inline(always)]
            unsafe fn store_n(self, p: *mut $t, v: Self::V, n: usize) {
                // SAFETY: as above.
                unsafe { Lanes::<$f>::store_n(self.0, p.cast(), v, n) }
            }
            #[inline(always)]
            fn mask(self, from: usize, to: usize) -> Self::Mask {
                Lanes::<$f>::mask(self.0, from, to)
            }
            #[inline(always)]
            unsafe fn load_more(self, v: Self::V, p: *const $t, mask: Self::Mask) -> Self::V {
                // SAFETY: as above.
                unsafe { Lanes::<$f>::load_more(self.0, v, p.cast(), mask) }
            }
            #[inline(always)]
            fn even(self, from: usize, to: usize) -> Self::Even {
                Lanes::<$f>::even(self.0, from, to)
            }
            #[inline(always)]
            unsafe fn load_even(self, p: *const $t, mask: Self::Even) -> Self::V {
                // SAFETY: as above.
                unsafe { Lanes::<$f>::load_even(self.0, p.cast(), mask) }
            }
            #[inline(always)]
            unsafe fn store_even(self, p: *mut $t, v: Self::V, mask: Self::Even) {
                // SAFETY: as above.
                unsafe { Lanes::<$f>::store_even(self.0, p.cast(), v, mask) }
            }
            #[inline(always)]
            fn fma(self, $a: Self::V, $b: Self::V, $c: Self::V) -> Self::V {
                // SAFETY: the token proves the instructions; the types differ in name only. So below.
                #[allow(unused_unsafe, reason = "the scalar ones are safe")]
                unsafe {
                    $fma
                }
            }
            #[inline(always)]
            fn add(self, $x: Self::V, $y: Self::V) -> Self::V {
                // SAFETY: as above.
                #[allow(unused_unsafe, reason = "the scalar ones are safe")]
                unsafe {
                    $add
                }
            }
            #[inline(always)]
            fn mul(self, $p: Self::V, $q: Self::V) -> Self::V {
                // SAFETY: as above.
                #[allow(unused_unsafe, reason = "the scalar ones are safe")]
                unsafe {
                    $mul
                }
            }
            #[inline(always)]
            fn relu(self, $r: Self::V) -> Self::V {
                // SAFETY: as above.
                #[allow(unused_unsafe, reason = "the scalar ones are safe")]
                unsafe {
                    $relu
                }
            }
            #[inline(always)]
            fn prefetch(self, p: *const $t) {
                Lanes::<$f>::prefetch(self.0, p.cast())
            }
            #[inline(always)]
            fn prefetch_far(self, p: *const $t) {
                Lanes::<$f>::prefetch_far(self.0, p.cast())
            }
            #[inline(always)]
            fn prefetch_write(self, p: *const $t) {
                Lanes::<$f>::prefetch_write(self.0, p.cast())
            }
            #[inline(always)]
            unsafe fn transpose(self, rows: &[*const $t], offset: isize, cols: usize, dst: *mut $t, ld: usize) {
                let mut cast = [std::ptr::null::<$f>(); 16];
                for (to, &from) in cast.iter_mut().zip(rows) {
                    *to = from.cast();
                }
                // SAFETY: as above.
                unsafe { Lanes::<$f>::transpose(self.0, &cast[..rows.len()], offset, cols, dst.cast(), ld) }
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(super) use over;

macro_rules! scalar_ints {
    ($($t:ty as $f:ty, $unsigned:ty;)*) => {$(
        over!(
            Ints<Scalar> as Ints over Scalar: Wrapping<$t> as $f,
            |v| <$f>::from_bits(v.0 as $unsigned),
            |a, b, c| <$f>::from_bits(a.to_bits().wrapping_mul(b.to_bits()).wrapping_add(c.to_bits())),
            |a, b| <$f>::from_bits(a.to_bits().wrapping_add(b.to_bits())),
            |a, b| <$f>::from_bits(a.to_bits().wrapping_mul(b.to_bits())),
            |v| if (v.to_bits() as $t) < 0 { 0.0 } else { v }
        );
    )*};
}
scalar_ints!(i32 as f32, u32; i64 as f64, u64;);

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::vec::{Avx2, Avx512};
    use super::*;
    use std::arch::x86_64::*;

    macro_rules! ints {
        ($inner:ident: $t:ty as $f:ty, $unsigned:ty, $bits:ident, $float:ident, $add:ident, $mul:ident, |$r:ident| $relu:expr) => {
            over!(
                Ints<$inner> as Ints over $inner: Wrapping<$t> as $f,
                |v| <$f>::from_bits(v.0 as $unsigned),
                |a, b, c| $float($add($mul($bits(a), $bits(b)), $bits(c))),
                |a, b| $float($add($bits(a), $bits(b))),
                |a, b| $float($mul($bits(a), $bits(b))),
                |v| {
                    let $r = $bits(v);
                    $float($relu)
                }
            );
        };
    }
    ints!(Avx512: i32 as f32, u32, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_add_epi32, _mm512_mullo_epi32,
        |v| _mm512_max_epi32(v, _mm512_setzero_si512()));
    ints!(Avx512: i64 as f64, u64, _mm512_castpd_si512, _mm512_castsi512_pd, _mm512_add_epi64, _mm512_mullo_epi64,
        |v| _mm512_max_epi64(v, _mm512_setzero_si512()));
    ints!(Avx2: i32 as f32, u32, _mm256_castps_si256, _mm256_castsi256_ps, _mm256_add_epi32, _mm256_mullo_epi32,
        |v| _mm256_max_epi32(v, _mm256_setzero_si256()));
    ints!(Avx2: i64 as f64, u64, _mm256_castpd_si256, _mm256_castsi256_pd, _mm256_add_epi64, mullo_epi64,
        |v| _mm256_andnot_si256(_mm256_cmpgt_epi64(_mm256_setzero_si256(), v), v));

    /// The low halves of products of 64 bits, which AVX2 has no instruction for, from three of 32 bits.
    ///
    /// # Safety
    /// The CPU has AVX2.
    #[inline(always)]
    unsafe fn mullo_epi64(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe {
            let high = _mm256_mullo_epi32(a, _mm256_shuffle_epi32::<0xB1>(b));
            let high = _mm256_add_epi32(_mm256_slli_epi64::<32>(high), high);
            let high = _mm256_and_si256(high, _mm256_set1_epi64x(-1 << 32));
            _mm256_add_epi64(_mm256_mul_epu32(a, b), high)
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::super::vec::Neon;
    use super::*;
    use std::arch::aarch64::*;

    over!(
        Ints<Neon> as Ints over Neon: Wrapping<i32> as f32,
        |v| f32::from_bits(v.0 as u32),
        |a, b, c| {
            let (a, b, c) = (vreinterpretq_s32_f32(a), vreinterpretq_s32_f32(b), vreinterpretq_s32_f32(c));
            vreinterpretq_f32_s32(vmlaq_s32(c, a, b))
        },
        |a, b| vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(a), vreinterpretq_s32_f32(b))),
        |a, b| vreinterpretq_f32_s32(vmulq_s32(vreinterpretq_s32_f32(a), vreinterpretq_s32_f32(b))),
        |v| vreinterpretq_f32_s32(vmaxq_s32(vreinterpretq_s32_f32(v), vdupq_n_s32(0)))
    );
}
