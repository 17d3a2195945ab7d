//! NEON.

use super::Lanes;
use std::arch::aarch64::*;

/// 128-bit vectors, part of every AArch64 CPU.
#[derive(Clone, Copy)]
pub struct Neon(());

macro_rules! lanes {
    ($t:ty, $v:ty, $n:literal, $splat:ident, $load:ident, $store:ident, $fma:ident, $add:ident, $mul:ident, $negative:ident, $choose:ident,
     { $($even:tt)+ }) => {
        impl Lanes<$t> for Neon {
            type V = $v;
            type Mask = [usize; 2];
            const N: usize = $n;
            const BLOCK: usize = $n;
            $($even)+
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
    vbslq_f32,
    {
        type Even = [usize; 2];
        #[inline(always)]
        fn even(self, from: usize, to: usize) -> [usize; 2] {
            [from, to]
        }
        #[inline(always)]
        unsafe fn load_even(self, p: *const f32, [from, to]: [usize; 2]) -> float32x4_t {
            if from == 0 && to == 4 {
                // The eighth element is not to be touched, so the second vector begins an element earlier.
                // SAFETY: the caller's promise.
                let (low, high) = unsafe { (vld1q_f32(p), vld1q_f32(p.wrapping_add(3))) };
                // SAFETY: NEON is part of AArch64.
                return unsafe {
                    vcombine_f32(vget_low_f32(vuzp1q_f32(low, low)), vget_low_f32(vuzp2q_f32(high, high)))
                };
            }
            let mut lanes = [0.0; 4];
            for i in from..to {
                // SAFETY: the caller's promise.
                lanes[i] = unsafe { *p.wrapping_add(2 * i) };
            }
            // SAFETY: four lanes.
            unsafe { vld1q_f32(lanes.as_ptr()) }
        }
        store_even_one_by_one!(f32);
    }
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
    vbslq_f64,
    {
        even_one_by_one!(f64);
    }
);
