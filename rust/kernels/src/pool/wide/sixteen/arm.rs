//! Four vectors of NEON.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]
#![allow(unused_unsafe, reason = "some of the intrinsics are safe where NEON is always on")]

use super::Sixteen;
use std::arch::aarch64::*;

#[derive(Clone, Copy)]
pub struct Neon(());

impl Sixteen for Neon {
    type F = [float32x4_t; 4];
    type D = [float64x2_t; 8];
    type I = [int32x4_t; 4];
    type W = [uint32x4_t; 4];

    #[inline(always)]
    unsafe fn assume() -> Self {
        Neon(())
    }
    #[inline(always)]
    fn splat(self, x: f32) -> [float32x4_t; 4] {
        // SAFETY: NEON is part of AArch64; so in every method here.
        unsafe { [vdupq_n_f32(x); 4] }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> [float32x4_t; 4] {
        // SAFETY: the caller's promise; so in every load and store here.
        unsafe { [0, 4, 8, 12].map(|i| vld1q_f32(p.add(i))) }
    }
    #[inline(always)]
    unsafe fn load_some(self, fill: [float32x4_t; 4], mask: u16, p: *const f32) -> [float32x4_t; 4] {
        if mask == 0xffff {
            // SAFETY: as above.
            return unsafe { self.load(p) };
        }
        let mut all = [0.0f32; 16];
        // SAFETY: as above; sixteen elements.
        unsafe {
            self.store(all.as_mut_ptr(), fill);
            for i in 0..16 {
                if mask >> i & 1 == 1 {
                    all[i] = *p.wrapping_add(i);
                }
            }
            self.load(all.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: [float32x4_t; 4]) {
        for i in 0..4 {
            // SAFETY: as above.
            unsafe { vst1q_f32(p.add(4 * i), v[i]) };
        }
    }
    #[inline(always)]
    unsafe fn store_some(self, p: *mut f32, mask: u16, v: [float32x4_t; 4]) {
        let mut all = [0.0f32; 16];
        // SAFETY: as above; sixteen elements.
        unsafe {
            self.store(all.as_mut_ptr(), v);
            for i in 0..16 {
                if mask >> i & 1 == 1 {
                    *p.wrapping_add(i) = all[i];
                }
            }
        }
    }
    #[inline(always)]
    fn add(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
        let mut all = b;
        for i in 0..4 {
            // SAFETY: as above.
            all[i] = unsafe { vaddq_f32(a[i], b[i]) };
        }
        all
    }
    #[inline(always)]
    fn max(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
        let mut all = b;
        for i in 0..4 {
            // SAFETY: as above.
            all[i] = unsafe { vbslq_f32(vcgtq_f32(a[i], b[i]), a[i], b[i]) };
        }
        all
    }
    #[inline(always)]
    fn greater(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [uint32x4_t; 4] {
        let mut all = self.nowhere();
        for i in 0..4 {
            // SAFETY: as above.
            all[i] = unsafe { vcgtq_f32(a[i], b[i]) };
        }
        all
    }
    #[inline(always)]
    fn equal(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [uint32x4_t; 4] {
        let mut all = self.nowhere();
        for i in 0..4 {
            // SAFETY: as above.
            all[i] = unsafe { vceqq_f32(a[i], b[i]) };
        }
        all
    }
    #[inline(always)]
    fn unordered(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [uint32x4_t; 4] {
        let mut all = self.nowhere();
        for i in 0..4 {
            // SAFETY: as above.
            all[i] = unsafe { vmvnq_u32(vandq_u32(vceqq_f32(a[i], a[i]), vceqq_f32(b[i], b[i]))) };
        }
        all
    }
    #[inline(always)]
    fn nowhere(self) -> [uint32x4_t; 4] {
        // SAFETY: as above.
        unsafe { [vdupq_n_u32(0); 4] }
    }
    #[inline(always)]
    fn either(self, a: [uint32x4_t; 4], b: [uint32x4_t; 4]) -> [uint32x4_t; 4] {
        let mut all = b;
        for i in 0..4 {
            // SAFETY: as above.
            all[i] = unsafe { vorrq_u32(a[i], b[i]) };
        }
        all
    }
    #[inline(always)]
    fn without(self, a: [uint32x4_t; 4], b: [uint32x4_t; 4]) -> [uint32x4_t; 4] {
        let mut all = b;
        for i in 0..4 {
            // SAFETY: as above.
            all[i] = unsafe { vbicq_u32(a[i], b[i]) };
        }
        all
    }
    #[inline(always)]
    fn bits(self, w: [uint32x4_t; 4]) -> u16 {
        let mut bits = 0;
        for i in 0..4 {
            // SAFETY: as above; four weights.
            let four = unsafe { vaddvq_u32(vandq_u32(w[i], vld1q_u32([1, 2, 4, 8].as_ptr()))) };
            bits |= (four as u16) << (4 * i);
        }
        bits
    }
    #[inline(always)]
    fn choose(self, w: [uint32x4_t; 4], yes: [float32x4_t; 4], no: [float32x4_t; 4]) -> [float32x4_t; 4] {
        let mut all = no;
        for i in 0..4 {
            // SAFETY: as above.
            all[i] = unsafe { vbslq_f32(w[i], yes[i], no[i]) };
        }
        all
    }
    #[inline(always)]
    fn only(self, w: [uint32x4_t; 4], v: [float32x4_t; 4]) -> [float32x4_t; 4] {
        self.choose(w, v, self.splat(0.0))
    }
    #[inline(always)]
    fn except(self, w: [uint32x4_t; 4], v: [float32x4_t; 4]) -> [float32x4_t; 4] {
        self.choose(w, self.splat(0.0), v)
    }
    #[inline(always)]
    fn even(self, low: [float32x4_t; 4], high: [float32x4_t; 4]) -> [float32x4_t; 4] {
        // SAFETY: as above.
        unsafe {
            [
                vuzp1q_f32(low[0], low[1]),
                vuzp1q_f32(low[2], low[3]),
                vuzp1q_f32(high[0], high[1]),
                vuzp1q_f32(high[2], high[3]),
            ]
        }
    }
    #[inline(always)]
    fn odd(self, low: [float32x4_t; 4], high: [float32x4_t; 4]) -> [float32x4_t; 4] {
        // SAFETY: as above.
        unsafe {
            [
                vuzp2q_f32(low[0], low[1]),
                vuzp2q_f32(low[2], low[3]),
                vuzp2q_f32(high[0], high[1]),
                vuzp2q_f32(high[2], high[3]),
            ]
        }
    }
    #[inline(always)]
    fn in_turn(self, even: [float32x4_t; 4], odd: [float32x4_t; 4]) -> [[float32x4_t; 4]; 2] {
        let mut all = [even; 2];
        for i in 0..4 {
            // SAFETY: as above.
            unsafe {
                all[i / 2][2 * (i % 2)] = vzip1q_f32(even[i], odd[i]);
                all[i / 2][2 * (i % 2) + 1] = vzip2q_f32(even[i], odd[i]);
            }
        }
        all
    }
    #[inline(always)]
    fn next(self, v: [float32x4_t; 4], after: [float32x4_t; 4]) -> [float32x4_t; 4] {
        // SAFETY: as above.
        unsafe {
            [
                vextq_f32::<1>(v[0], v[1]),
                vextq_f32::<1>(v[1], v[2]),
                vextq_f32::<1>(v[2], v[3]),
                vextq_f32::<1>(v[3], after[0]),
            ]
        }
    }
    #[inline(always)]
    fn last(self, before: [float32x4_t; 4], v: [float32x4_t; 4]) -> [float32x4_t; 4] {
        // SAFETY: as above.
        unsafe {
            [
                vextq_f32::<3>(before[3], v[0]),
                vextq_f32::<3>(v[0], v[1]),
                vextq_f32::<3>(v[1], v[2]),
                vextq_f32::<3>(v[2], v[3]),
            ]
        }
    }
    #[inline(always)]
    fn zeros(self) -> [float64x2_t; 8] {
        // SAFETY: as above.
        unsafe { [vdupq_n_f64(0.0); 8] }
    }
    #[inline(always)]
    fn added(self, sums: [float64x2_t; 8], v: [float32x4_t; 4]) -> [float64x2_t; 8] {
        let mut sums = sums;
        for i in 0..4 {
            // SAFETY: as above.
            unsafe {
                sums[2 * i] = vaddq_f64(sums[2 * i], vcvt_f64_f32(vget_low_f32(v[i])));
                sums[2 * i + 1] = vaddq_f64(sums[2 * i + 1], vcvt_high_f64_f32(v[i]));
            }
        }
        sums
    }
    #[inline(always)]
    fn joined(self, a: [float64x2_t; 8], b: [float64x2_t; 8]) -> [float64x2_t; 8] {
        let mut sums = a;
        for i in 0..8 {
            // SAFETY: as above.
            sums[i] = unsafe { vaddq_f64(a[i], b[i]) };
        }
        sums
    }
    #[inline(always)]
    unsafe fn scaled(self, v: [float64x2_t; 8], by: *const f64) -> [float32x4_t; 4] {
        let mut all = self.splat(0.0);
        for i in 0..4 {
            // SAFETY: as above.
            unsafe {
                let low = vmulq_f64(v[2 * i], vld1q_f64(by.add(4 * i)));
                let high = vmulq_f64(v[2 * i + 1], vld1q_f64(by.add(4 * i + 2)));
                all[i] = vcvt_high_f32_f64(vcvt_f32_f64(low), high);
            }
        }
        all
    }
    #[inline(always)]
    fn total(self, v: [float64x2_t; 8]) -> f64 {
        let mut four = [v[0]; 4];
        // SAFETY: as above.
        unsafe {
            for i in 0..4 {
                four[i] = vaddq_f64(v[i], v[i + 4]);
            }
            vaddvq_f64(vaddq_f64(vaddq_f64(four[0], four[2]), vaddq_f64(four[1], four[3])))
        }
    }
    #[inline(always)]
    fn place(self, x: i32) -> [int32x4_t; 4] {
        // SAFETY: as above.
        unsafe { [vdupq_n_s32(x); 4] }
    }
    #[inline(always)]
    unsafe fn load_places(self, p: *const i32) -> [int32x4_t; 4] {
        // SAFETY: as above.
        unsafe { [0, 4, 8, 12].map(|i| vld1q_s32(p.add(i))) }
    }
    #[inline(always)]
    unsafe fn store_places(self, p: *mut i32, v: [int32x4_t; 4]) {
        for i in 0..4 {
            // SAFETY: as above.
            unsafe { vst1q_s32(p.add(4 * i), v[i]) };
        }
    }
    #[inline(always)]
    unsafe fn store_long(self, p: *mut i64, v: [int32x4_t; 4]) {
        for i in 0..4 {
            // SAFETY: as above.
            unsafe {
                vst1q_s64(p.add(4 * i), vmovl_s32(vget_low_s32(v[i])));
                vst1q_s64(p.add(4 * i + 2), vmovl_high_s32(v[i]));
            }
        }
    }
    #[inline(always)]
    fn move_places(self, a: [int32x4_t; 4], b: [int32x4_t; 4]) -> [int32x4_t; 4] {
        let mut all = b;
        for i in 0..4 {
            // SAFETY: as above.
            all[i] = unsafe { vaddq_s32(a[i], b[i]) };
        }
        all
    }
    #[inline(always)]
    fn choose_place(self, w: [uint32x4_t; 4], yes: [int32x4_t; 4], no: [int32x4_t; 4]) -> [int32x4_t; 4] {
        let mut all = no;
        for i in 0..4 {
            // SAFETY: as above.
            all[i] = unsafe { vbslq_s32(w[i], yes[i], no[i]) };
        }
        all
    }
}
