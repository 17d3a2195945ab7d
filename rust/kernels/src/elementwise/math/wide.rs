//! GELU of f32 in AVX-512 and AVX2 by name: two vectors at a time, in AVX-512 the power of two by one instruction.
//!
//! What the compiler makes of [`super::gelu`] waits: a vector is a chain of some twenty operations, and the processor sees
//! a few of them at a time. The same operations in the same order give the same bits.

use super::MAGIC;
use super::erf::{EXP2, FAR, HALF_LOG2_E, SHIFT, TAIL};
use super::exp::LIFT;
use crate::simd::{Isa, isa};
use std::arch::x86_64::*;

/// `$f` of both vectors, which keeps their chains side by side.
macro_rules! both {
    (|$i:ident| $f:expr) => {
        [
            {
                let $i = 0usize;
                $f
            },
            {
                let $i = 1usize;
                $f
            },
        ]
    };
}

type Two = [__m512; 2];

/// Horner's rule.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn poly<const N: usize>(x: Two, c: [f32; N]) -> Two {
    let mut y = [_mm512_set1_ps(c[N - 1]); 2];
    for k in (0..N - 1).rev() {
        y = both!(|i| _mm512_fmadd_ps(y[i], x[i], _mm512_set1_ps(c[k])));
    }
    y
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn two(x: Two) -> Two {
    let set = |v: f32| _mm512_set1_ps(v);
    let (scale, magic) = (set(HALF_LOG2_E), set(MAGIC));
    // The lesser of the absolute values; of NaN and a number the number.
    let a = both!(|i| _mm512_range_ps::<0b1010>(x[i], set(FAR)));
    let w = both!(|i| _mm512_div_ps(a[i], _mm512_add_ps(a[i], set(SHIFT))));
    let square = both!(|i| _mm512_mul_ps(a[i], a[i]));
    let low = both!(|i| _mm512_fmsub_ps(a[i], a[i], square[i]));
    let n = both!(|i| _mm512_sub_ps(_mm512_fmadd_ps(square[i], scale, magic), magic));
    let r = both!(|i| _mm512_fmadd_ps(low[i], scale, _mm512_fmsub_ps(square[i], scale, n[i])));
    let p = poly(r, EXP2);
    let p = both!(|i| _mm512_mul_ps(r[i], p[i]));
    let q = poly(both!(|i| _mm512_fmsub_ps(w[i], set(2.0), set(1.0))), TAIL);
    let m = both!(|i| _mm512_mul_ps(q[i], w[i]));
    both!(|i| {
        let tail = _mm512_scalef_ps(_mm512_fmadd_ps(p[i], m[i], m[i]), n[i]);
        let finite = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(x[i], set(f32::NEG_INFINITY));
        _mm512_mask_sub_ps(set(f32::NAN), finite, _mm512_max_ps(set(-0.0), x[i]), tail)
    })
}

/// The same in AVX2, of eight elements each: the power of two is a number that is multiplied with, above the subnormal ones,
/// and its scale taken out again.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn two_halves(x: [__m256; 2]) -> [__m256; 2] {
    let set = |v: f32| _mm256_set1_ps(v);
    let (scale, magic) = (set(HALF_LOG2_E), set(MAGIC));
    let a = both!(|i| _mm256_min_ps(set(FAR), _mm256_andnot_ps(set(-0.0), x[i])));
    let w = both!(|i| _mm256_div_ps(a[i], _mm256_add_ps(a[i], set(SHIFT))));
    let square = both!(|i| _mm256_mul_ps(a[i], a[i]));
    let low = both!(|i| _mm256_fmsub_ps(a[i], a[i], square[i]));
    let t = both!(|i| _mm256_fmadd_ps(square[i], scale, magic));
    let n = both!(|i| _mm256_sub_ps(t[i], magic));
    let r = both!(|i| _mm256_fmadd_ps(low[i], scale, _mm256_fmsub_ps(square[i], scale, n[i])));
    let mut p = [set(EXP2[EXP2.len() - 1]); 2];
    for k in (0..EXP2.len() - 1).rev() {
        p = both!(|i| _mm256_fmadd_ps(p[i], r[i], set(EXP2[k])));
    }
    let p = both!(|i| _mm256_mul_ps(r[i], p[i]));
    let u = both!(|i| _mm256_fmsub_ps(w[i], set(2.0), set(1.0)));
    let mut q = [set(TAIL[TAIL.len() - 1]); 2];
    for k in (0..TAIL.len() - 1).rev() {
        q = both!(|i| _mm256_fmadd_ps(q[i], u[i], set(TAIL[k])));
    }
    let m = both!(|i| _mm256_mul_ps(q[i], w[i]));
    both!(|i| {
        let bits = _mm256_slli_epi32::<23>(_mm256_castps_si256(t[i]));
        let power = _mm256_castsi256_ps(_mm256_add_epi32(bits, _mm256_set1_epi32((127 + 64) << 23)));
        let tail = _mm256_mul_ps(_mm256_fmadd_ps(p[i], m[i], m[i]), power);
        let tail = _mm256_mul_ps(tail, set(1.0 / LIFT));
        let y = _mm256_sub_ps(_mm256_max_ps(set(-0.0), x[i]), tail);
        let infinite = _mm256_cmp_ps::<_CMP_EQ_OQ>(x[i], set(f32::NEG_INFINITY));
        // All bits set are a NaN.
        _mm256_or_ps(y, infinite)
    })
}

/// Whether this CPU has vectors for [`gelu`].
pub(crate) fn fast() -> bool {
    matches!(isa(), Isa::Avx512 | Isa::Avx2)
}

/// GELU of each element.
///
/// # Safety
/// The CPU is [`fast`].
pub(crate) unsafe fn gelu(from: &[f32], to: &mut [f32]) {
    // SAFETY: the set was found.
    unsafe {
        match isa() {
            Isa::Avx512 => by_32(from, to),
            _ => by_16(from, to),
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn by_16(from: &[f32], to: &mut [f32]) {
    let ((from, last), (to, last_to)) = (from.as_chunks::<16>(), to.as_chunks_mut::<16>());
    for (from, to) in from.iter().zip(to) {
        // SAFETY: both halves of sixteen elements.
        unsafe {
            let y = two_halves(both!(|i| _mm256_loadu_ps(from.as_ptr().add(8 * i))));
            both!(|i| _mm256_storeu_ps(to.as_mut_ptr().add(8 * i), y[i]));
        }
    }
    for (to, x) in last_to.iter_mut().zip(last) {
        *to = super::gelu(*x);
    }
}

#[target_feature(enable = "avx512f,avx512dq")]
fn by_32(from: &[f32], to: &mut [f32]) {
    const STEP: usize = 32;
    let n = from.len().min(to.len());
    let (from, to) = (from.as_ptr(), to.as_mut_ptr());
    for at in (0..n).step_by(STEP) {
        let left = n - at;
        // SAFETY: the masks let through only what both slices have.
        unsafe {
            if left >= STEP {
                let y = two(both!(|i| _mm512_loadu_ps(from.add(at + 16 * i))));
                both!(|i| _mm512_storeu_ps(to.add(at + 16 * i), y[i]));
            } else {
                let masks = both!(|i| ((1u32 << left.saturating_sub(16 * i).min(16)) - 1) as u16);
                let y = two(both!(|i| _mm512_maskz_loadu_ps(
                    masks[i],
                    from.wrapping_add(at + 16 * i)
                )));
                both!(|i| _mm512_mask_storeu_ps(to.wrapping_add(at + 16 * i), masks[i], y[i]));
            }
        }
    }
}
