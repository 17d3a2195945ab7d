//! The walks, compiled for each instruction set, and the choice between them.

use super::together::Part;
use super::*;
use crate::simd::{Isa, isa};

type Max = unsafe fn(&Wide, *const f32, *mut f32, *mut i64);
type MaxInput = unsafe fn(&Wide, *const f32, *const f32, *mut f32);
type Mean = unsafe fn(&Wide, *const f32, &Inverses, *mut f32);
type MaxPart = unsafe fn(&Together, &Part, *const f32, *mut f32, *mut i64);
type MeanPart = unsafe fn(&Together, &Part, *const f32, &Inverses, *mut f32);
type GivePart = unsafe fn(&Together, &Part, *const f32, *const f32, *mut f32);
type Means = unsafe fn(*const f32, usize, f64, *mut f32, usize);

/// One instruction set's functions, each as unsafe as the method of [`Wide`] that calls it.
pub(super) struct Entries {
    pub max: Max,
    pub max_input: MaxInput,
    pub mean: Mean,
    pub mean_input: Mean,
    means: Means,
    pub max_part: MaxPart,
    pub mean_part: MeanPart,
    pub give_part: GivePart,
    pub spread_part: MeanPart,
}

/// `None`: a set without vectors.
pub(super) fn entries() -> Option<&'static Entries> {
    match isa() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => Some(&avx512::ENTRIES),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => Some(&avx2::ENTRIES),
        #[cfg(target_arch = "aarch64")]
        Isa::Avx512 | Isa::Avx2 => Some(&neon::ENTRIES),
        _ => None,
    }
}

/// Means of dense planes by the inverse of their size, `(first plane, its size, inverse, first mean, planes)`; `None`: a set
/// without vectors. To be called for planes and means in live memory.
pub(in crate::pool) fn means() -> Option<Means> {
    Some(entries()?.means)
}

macro_rules! compiled {
    ($name:ident, $token:ty $(, $features:literal)?) => {
        mod $name {
            use super::*;

            pub(super) static ENTRIES: Entries = Entries {
                max,
                max_input,
                mean,
                mean_input,
                means,
                max_part,
                mean_part,
                give_part,
                spread_part,
            };

            $(#[target_feature(enable = $features)])?
            unsafe fn max(a: &Wide, x: *const f32, y: *mut f32, places: *mut i64) {
                // SAFETY: `entries` found the set, for which this function is compiled; the caller's promise. So below.
                unsafe { a.any_max(<$token>::assume(), x, y, places) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn max_input(a: &Wide, x: *const f32, g: *const f32, gx: *mut f32) {
                // SAFETY: as above.
                unsafe { a.any_max_input(<$token>::assume(), x, g, gx) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn mean(a: &Wide, x: *const f32, inverses: &Inverses, y: *mut f32) {
                // SAFETY: as above.
                unsafe { a.any_mean(<$token>::assume(), x, inverses, y) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn mean_input(a: &Wide, g: *const f32, inverses: &Inverses, gx: *mut f32) {
                // SAFETY: as above.
                unsafe { a.any_mean_input(<$token>::assume(), g, inverses, gx) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn means(x: *const f32, size: usize, inverse: f64, y: *mut f32, planes: usize) {
                // SAFETY: as above.
                unsafe { mean::means(<$token>::assume(), x, size, inverse, y, planes) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn max_part(t: &Together, part: &Part, near: *const f32, best: *mut f32, at: *mut i64) {
                // SAFETY: as above.
                unsafe { together::max(<$token>::assume(), t, part, near, best, at) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn mean_part(t: &Together, part: &Part, near: *const f32, inverses: &Inverses, means: *mut f32) {
                // SAFETY: as above.
                unsafe { together::mean(<$token>::assume(), t, part, near, inverses, means) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn give_part(t: &Together, part: &Part, near: *const f32, g: *const f32, sums: *mut f32) {
                // SAFETY: as above.
                unsafe { together::give(<$token>::assume(), t, part, near, g, sums) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn spread_part(t: &Together, part: &Part, g: *const f32, inverses: &Inverses, sums: *mut f32) {
                // SAFETY: as above.
                unsafe { together::spread(<$token>::assume(), t, part, g, inverses, sums) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
compiled!(avx512, sixteen::x86::Avx512, "avx512f,avx512vl,avx512bw,avx512dq");
#[cfg(target_arch = "x86_64")]
compiled!(avx2, sixteen::x86::Avx2, "avx2,fma");
#[cfg(target_arch = "aarch64")]
compiled!(neon, sixteen::arm::Neon);

impl Wide<'_> {
    /// [`Wide::max`] with the vectors of `v`.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    unsafe fn any_max<V: Sixteen>(&self, v: V, x: *const f32, y: *mut f32, places: *mut i64) {
        let (two, next) = (self.stride == 2, self.dilation == 1);
        // SAFETY: the caller's promise; so below.
        unsafe {
            match (two, next, self.kernel, places.is_null()) {
                (true, true, 2, true) if self.two => two::max(v, self, x, y),
                (true, true, 2, true) => max::plane::<V, 2, 2, false>(v, self, x, y, places),
                (true, true, 3, true) if self.three => down::max(v, self, x, y),
                (true, true, 3, true) => max::plane::<V, 2, 3, false>(v, self, x, y, places),
                (true, _, _, true) => max::plane::<V, 2, 0, false>(v, self, x, y, places),
                (false, _, _, true) => max::plane::<V, 1, 0, false>(v, self, x, y, places),
                (true, true, 2, false) => max::plane::<V, 2, 2, true>(v, self, x, y, places),
                (true, true, 3, false) => max::plane::<V, 2, 3, true>(v, self, x, y, places),
                (true, _, _, false) => max::plane::<V, 2, 0, true>(v, self, x, y, places),
                (false, _, _, false) => max::plane::<V, 1, 0, true>(v, self, x, y, places),
            }
        }
    }

    /// [`Wide::max_input`].
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    unsafe fn any_max_input<V: Sixteen>(&self, v: V, x: *const f32, g: *const f32, gx: *mut f32) {
        let (two, next) = (self.stride == 2, self.dilation == 1);
        // SAFETY: as above.
        unsafe {
            match (two, next, self.kernel) {
                _ if self.two => two::max_input(v, self, x, g, gx),
                _ if self.three && self.padding == 1 => three::max_input::<V, 1>(v, self, x, g, gx),
                _ if self.three => three::max_input::<V, 0>(v, self, x, g, gx),
                (true, true, 2) => max::input::<V, 2, 2>(v, self, x, g, gx),
                (true, true, 3) => max::input::<V, 2, 3>(v, self, x, g, gx),
                (true, _, _) => max::input::<V, 2, 0>(v, self, x, g, gx),
                (false, _, _) => max::input::<V, 1, 0>(v, self, x, g, gx),
            }
        }
    }

    /// [`Wide::mean`].
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    unsafe fn any_mean<V: Sixteen>(&self, v: V, x: *const f32, inverses: &Inverses, y: *mut f32) {
        if self.two {
            // SAFETY: as above.
            return unsafe { two::mean(v, self, x, inverses.of(0)[0], y) };
        }
        // SAFETY: as above.
        unsafe {
            match (self.stride, self.kernel) {
                _ if self.three => down::mean(v, self, x, inverses, y),
                (2, 2) => mean::plane::<V, 2, 2>(v, self, x, inverses, y),
                (2, 3) => mean::plane::<V, 2, 3>(v, self, x, inverses, y),
                (2, _) => mean::plane::<V, 2, 0>(v, self, x, inverses, y),
                _ => mean::plane::<V, 1, 0>(v, self, x, inverses, y),
            }
        }
    }

    /// [`Wide::mean_input`].
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    unsafe fn any_mean_input<V: Sixteen>(&self, v: V, g: *const f32, inverses: &Inverses, gx: *mut f32) {
        // SAFETY: as above.
        unsafe {
            if self.two {
                two::mean_input(v, self, g, inverses.of(0)[0], gx);
            } else if self.three && self.padding == 1 {
                three::mean_input::<V, 1>(v, self, g, inverses, gx);
            } else if self.three {
                three::mean_input::<V, 0>(v, self, g, inverses, gx);
            } else if self.stride == 2 {
                mean::input::<V, 2>(v, self, g, inverses, gx);
            } else {
                mean::input::<V, 1>(v, self, g, inverses, gx);
            }
        }
    }
}
