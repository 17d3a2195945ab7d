//! GELU of f32 in AVX-512 by name: two vectors at a time, and the power of two by one instruction.
//!
//! What the compiler makes of [`super::gelu`] waits: a vector is a chain of some twenty operations, and the processor sees
//! a few of them at a time. The same operations in the same order give the same bits.

use super::MAGIC;
use super::erf::{EXP2, FAR, HALF_LOG2_E, SHIFT, TAIL};
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

/// GELU of each element.
#[target_feature(enable = "avx512f,avx512dq")]
pub(crate) fn gelu(from: &[f32], to: &mut [f32]) {
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
