//! Tokens for instructions that multiply several narrow numbers at once and add them to a wide lane.
//!
//! Each 32-bit element stands for two bfloat16 or four 8-bit integers that follow each other in k, so the kernels of
//! float32 products (which only load, store, broadcast and `fma`) serve for these as well.

#![cfg(target_arch = "x86_64")]

use super::vec::{Avx512, Lanes};
use super::{Isa, isa};
use std::arch::x86_64::*;
use std::sync::LazyLock;

/// AVX512-BF16: `fma` adds the products of two pairs of bfloat16 to a float32. It rounds otherwise than a chain of fused
/// multiply-adds and takes subnormal numbers for zeros: results differ in their last bits from other processors'.
#[derive(Clone, Copy)]
pub struct Bf16Dot(Avx512);

/// AVX512-VNNI: `fma` adds the products of four unsigned bytes with four signed ones to a 32-bit integer, wrapping.
#[derive(Clone, Copy)]
pub struct ByteDot(Avx512);

/// Whether [`Bf16Dot`] may be made.
pub fn has_bf16_dot() -> bool {
    static HAS: LazyLock<bool> = LazyLock::new(|| is_x86_feature_detected!("avx512bf16"));
    isa() == Isa::Avx512 && *HAS
}

/// Whether [`ByteDot`] may be made.
pub fn has_byte_dot() -> bool {
    static HAS: LazyLock<bool> = LazyLock::new(|| is_x86_feature_detected!("avx512vnni"));
    isa() == Isa::Avx512 && *HAS
}

macro_rules! dot {
    ($token:ident, |$a:ident, $b:ident, $c:ident| $fma:expr, |$x:ident, $y:ident| $add:expr) => {
        impl Lanes<f32> for $token {
            type V = <Avx512 as Lanes<f32>>::V;
            type Mask = <Avx512 as Lanes<f32>>::Mask;
            type Even = <Avx512 as Lanes<f32>>::Even;
            const N: usize = 16;
            const BLOCK: usize = 8;
            #[inline(always)]
            unsafe fn assume() -> Self {
                // SAFETY: the caller's promise, which is the stronger one.
                $token(unsafe { <Avx512 as Lanes<f32>>::assume() })
            }
            #[inline(always)]
            fn splat(self, v: f32) -> __m512 {
                self.0.splat(v)
            }
            #[inline(always)]
            unsafe fn load(self, p: *const f32) -> __m512 {
                // SAFETY: the caller's promise; so in every method below.
                unsafe { self.0.load(p) }
            }
            #[inline(always)]
            unsafe fn load_n(self, p: *const f32, n: usize) -> __m512 {
                // SAFETY: as above.
                unsafe { self.0.load_n(p, n) }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut f32, v: __m512) {
                // SAFETY: as above.
                unsafe { self.0.store(p, v) }
            }
            #[inline(always)]
            unsafe fn store_n(self, p: *mut f32, v: __m512, n: usize) {
                // SAFETY: as above.
                unsafe { self.0.store_n(p, v, n) }
            }
            #[inline(always)]
            fn mask(self, from: usize, to: usize) -> Self::Mask {
                Lanes::<f32>::mask(self.0, from, to)
            }
            #[inline(always)]
            unsafe fn load_more(self, v: __m512, p: *const f32, mask: Self::Mask) -> __m512 {
                // SAFETY: as above.
                unsafe { self.0.load_more(v, p, mask) }
            }
            #[inline(always)]
            fn even(self, from: usize, to: usize) -> Self::Even {
                Lanes::<f32>::even(self.0, from, to)
            }
            #[inline(always)]
            unsafe fn load_even(self, p: *const f32, mask: Self::Even) -> __m512 {
                // SAFETY: as above.
                unsafe { Lanes::<f32>::load_even(self.0, p, mask) }
            }
            #[inline(always)]
            unsafe fn store_even(self, p: *mut f32, v: __m512, mask: Self::Even) {
                // SAFETY: as above.
                unsafe { Lanes::<f32>::store_even(self.0, p, v, mask) }
            }
            #[inline(always)]
            fn fma(self, $a: __m512, $b: __m512, $c: __m512) -> __m512 {
                // SAFETY: the token proves the instruction; the types differ in name only.
                unsafe { $fma }
            }
            #[inline(always)]
            fn add(self, $x: __m512, $y: __m512) -> __m512 {
                // SAFETY: as above.
                unsafe { $add }
            }
            #[inline(always)]
            fn mul(self, a: __m512, b: __m512) -> __m512 {
                Lanes::<f32>::mul(self.0, a, b)
            }
            #[inline(always)]
            fn relu(self, v: __m512) -> __m512 {
                Lanes::<f32>::relu(self.0, v)
            }
            #[inline(always)]
            fn prefetch(self, p: *const f32) {
                self.0.prefetch(p)
            }
            #[inline(always)]
            unsafe fn transpose(self, rows: &[*const f32], offset: isize, cols: usize, dst: *mut f32, ld: usize) {
                // SAFETY: as above.
                unsafe { self.0.transpose(rows, offset, cols, dst, ld) }
            }
        }
    };
}

dot!(
    Bf16Dot,
    |a, b, c| _mm512_dpbf16_ps(
        c,
        std::mem::transmute::<__m512, __m512bh>(a),
        std::mem::transmute::<__m512, __m512bh>(b)
    ),
    |a, b| _mm512_add_ps(a, b)
);
dot!(
    ByteDot,
    |a, b, c| _mm512_castsi512_ps(_mm512_dpbusd_epi32(
        _mm512_castps_si512(c),
        _mm512_castps_si512(a),
        _mm512_castps_si512(b)
    )),
    |a, b| _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)))
);
