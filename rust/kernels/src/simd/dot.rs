//! Tokens for instructions that multiply several narrow numbers at once and add them to a wide lane.
//!
//! Each 32-bit element stands for two bfloat16, two 16-bit or four 8-bit integers that follow each other in k, so the kernels of
//! products (which only load, store, broadcast and `fma`) serve for these as well.

#![cfg(target_arch = "x86_64")]

use super::int::over;
use super::vec::{Avx2, Avx512, Lanes};
use super::{Isa, isa};
use std::arch::x86_64::*;
use std::num::Wrapping;
use std::sync::LazyLock;

/// AVX512-BF16: `fma` adds the products of two pairs of bfloat16 to a float32. It rounds otherwise than a chain of fused
/// multiply-adds and takes subnormal numbers for zeros: results differ in their last bits from other processors'.
#[derive(Clone, Copy)]
pub struct Bf16Dot(Avx512);

/// AVX512-VNNI: `fma` adds the products of four unsigned bytes with four signed ones to a 32-bit integer, wrapping.
#[derive(Clone, Copy)]
pub struct ByteDot(Avx512);

/// AVX2: `fma` adds the products of two pairs of 16-bit integers to a 32-bit integer, wrapping.
#[derive(Clone, Copy)]
pub struct PairDot(Avx2);

/// Whether [`Bf16Dot`] may be made.
pub fn has_bf16_dot() -> bool {
    static HAS: LazyLock<bool> = LazyLock::new(|| is_x86_feature_detected!("avx512bf16"));
    isa() == Isa::Avx512 && *HAS
}

/// Whether [`ByteDot`] may be made.
pub fn has_byte_dot(isa: Isa) -> bool {
    static HAS: LazyLock<bool> = LazyLock::new(|| is_x86_feature_detected!("avx512vnni"));
    isa == Isa::Avx512 && *HAS
}

/// Whether [`PairDot`] may be made.
pub fn has_pair_dot(isa: Isa) -> bool {
    isa >= Isa::Avx2
}

over!(
    Bf16Dot as Bf16Dot over Avx512: f32 as f32,
    |v| v,
    |a, b, c| _mm512_dpbf16_ps(
        c,
        std::mem::transmute::<__m512, __m512bh>(a),
        std::mem::transmute::<__m512, __m512bh>(b)
    ),
    |a, b| _mm512_add_ps(a, b),
    |a, b| _mm512_mul_ps(a, b),
    |v| _mm512_max_ps(_mm512_setzero_ps(), v)
);
over!(
    ByteDot as ByteDot over Avx512: Wrapping<i32> as f32,
    |v| f32::from_bits(v.0 as u32),
    |a, b, c| _mm512_castsi512_ps(_mm512_dpbusd_epi32(
        _mm512_castps_si512(c),
        _mm512_castps_si512(a),
        _mm512_castps_si512(b)
    )),
    |a, b| _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b))),
    |a, b| _mm512_castsi512_ps(_mm512_mullo_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b))),
    |v| _mm512_castsi512_ps(_mm512_max_epi32(_mm512_setzero_si512(), _mm512_castps_si512(v)))
);
over!(
    PairDot as PairDot over Avx2: Wrapping<i32> as f32,
    |v| f32::from_bits(v.0 as u32),
    |a, b, c| _mm256_castsi256_ps(_mm256_add_epi32(
        _mm256_castps_si256(c),
        _mm256_madd_epi16(_mm256_castps_si256(a), _mm256_castps_si256(b))
    )),
    |a, b| _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b))),
    |a, b| _mm256_castsi256_ps(_mm256_mullo_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b))),
    |v| _mm256_castsi256_ps(_mm256_max_epi32(_mm256_setzero_si256(), _mm256_castps_si256(v)))
);
