//! Vectors with what exponentials and maxima need besides sums, and functions compiled for each instruction set around them.

use crate::reduce::real::Real;
use crate::simd::sweep::Fold;
#[cfg(target_arch = "aarch64")]
use crate::simd::vec::Neon;
use crate::simd::vec::Scalar;
#[cfg(target_arch = "x86_64")]
use crate::simd::vec::{Avx2, Avx512};

/// Vectors of which [`Wave::Group`] holds 256 bytes: 64 lanes of float32, 32 of float64, whatever the instruction set.
pub(crate) trait Wave<T>: Fold<T> {
    /// Vectors of a group, a multiple of four.
    const U: usize;
    type Group: Copy + AsRef<[Self::V]> + AsMut<[Self::V]>;

    fn group(self, v: Self::V) -> Self::Group;
    /// `a` where it is larger than `b`, else `b`: a NaN in `a` is passed over.
    fn larger(self, a: Self::V, b: Self::V) -> Self::V;
    /// The largest lane, in a halving tree; NaN is passed over.
    fn largest(self, v: Self::V) -> T;
    /// [`Wave::largest`] of eight vectors without NaN.
    #[inline(always)]
    fn largest_eight(self, v: [Self::V; 8]) -> [T; 8]
    where
        T: Real,
    {
        let mut largest = [T::ZERO; 8];
        for (to, v) in largest.iter_mut().zip(v) {
            *to = self.largest(v);
        }
        largest
    }
    /// 2^(k - bias) from the numbers whose last bits are k.
    fn power(self, v: Self::V) -> Self::V;
    /// The first `n` lanes from memory, those of `v` in the others.
    /// # Safety
    /// `n` lanes lie at `p`.
    unsafe fn load_or(self, p: *const T, n: usize, v: Self::V) -> Self::V;
}

/// Lanes in memory, joined by halves: lane i and lane i + half.
macro_rules! halved {
    ($self:ident, $v:ident, $t:ty, |$x:ident, $y:ident| $value:expr) => {{
        let mut one = [0.0; 16];
        // SAFETY: no vector is longer than the array.
        unsafe { $self.store(one.as_mut_ptr(), $v) };
        let mut width = <Self as crate::simd::vec::Lanes<$t>>::N / 2;
        while width > 0 {
            for i in 0..width {
                let ($x, $y) = (one[i], one[i + width]);
                one[i] = $value;
            }
            width /= 2;
        }
        one[0]
    }};
}

/// Parts of vectors by way of memory.
macro_rules! parts_in_memory {
    ($t:ty, $v:ty) => {
        #[inline(always)]
        fn largest(self, v: $v) -> $t {
            halved!(self, v, $t, |x, y| if y > x { y } else { x })
        }
        #[inline(always)]
        unsafe fn load_or(self, p: *const $t, n: usize, v: $v) -> $v {
            let mut all = [0.0; 16];
            // SAFETY: the caller's promise; no vector is longer than the array.
            unsafe {
                self.store(all.as_mut_ptr(), v);
                for i in 0..n {
                    all[i] = *p.add(i);
                }
                self.load(all.as_ptr())
            }
        }
    };
}

macro_rules! one_lane {
    ($t:ty, $bits:literal, $u:literal) => {
        impl Wave<$t> for Scalar {
            const U: usize = $u;
            type Group = [$t; $u];
            #[inline(always)]
            fn group(self, v: $t) -> [$t; $u] {
                [v; $u]
            }
            #[inline(always)]
            fn larger(self, a: $t, b: $t) -> $t {
                if a > b { a } else { b }
            }
            #[inline(always)]
            fn largest(self, v: $t) -> $t {
                v
            }
            #[inline(always)]
            fn power(self, v: $t) -> $t {
                <$t>::from_bits(v.to_bits() << $bits)
            }
            #[inline(always)]
            unsafe fn load_or(self, p: *const $t, n: usize, v: $t) -> $t {
                // SAFETY: the caller's promise.
                if n == 0 { v } else { unsafe { *p } }
            }
        }
    };
}
one_lane!(f32, 23, 64);
one_lane!(f64, 52, 32);

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Avx2, Avx512, Wave};
    use crate::simd::sweep::x86::{eight_of_8, eight_of_16};
    use crate::simd::vec::Lanes;
    use std::arch::x86_64::*;

    macro_rules! wave {
        ($l:ty, $t:ty, $v:ty, $u:literal, $max:ident, |$s:ident| $power:expr; $($rest:tt)*) => {
            impl Wave<$t> for $l {
                const U: usize = $u;
                type Group = [$v; $u];
                #[inline(always)]
                fn group(self, v: $v) -> [$v; $u] {
                    [v; $u]
                }
                // The instruction gives its second operand unless the first is larger.
                #[inline(always)]
                fn larger(self, a: $v, b: $v) -> $v {
                    // SAFETY: the token proves the instruction set; so in every method here.
                    unsafe { $max(a, b) }
                }
                #[inline(always)]
                fn power(self, $s: $v) -> $v {
                    // SAFETY: as above.
                    unsafe { $power }
                }
                $($rest)*
            }
        };
    }
    wave!(Avx512, f32, __m512, 4, _mm512_max_ps, |v| _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(v)));
        #[inline(always)]
        fn largest(self, v: __m512) -> f32 {
            // SAFETY: as above.
            unsafe {
                let eight = _mm256_max_ps(_mm512_extractf32x8_ps::<1>(v), _mm512_castps512_ps256(v));
                largest_of_8(eight)
            }
        }
        #[inline(always)]
        fn largest_eight(self, v: [__m512; 8]) -> [f32; 8] {
            // SAFETY: as above.
            unsafe { eight_of_16!(v, _mm512_max_ps) }
        }
        #[inline(always)]
        unsafe fn load_or(self, p: *const f32, n: usize, v: __m512) -> __m512 {
            // SAFETY: as above; masked lanes are not touched.
            unsafe { _mm512_mask_loadu_ps(v, ((1u32 << n.min(16)) - 1) as u16, p) }
        }
    );
    wave!(Avx2, f32, __m256, 8, _mm256_max_ps, |v| _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(v)));
        #[inline(always)]
        fn largest(self, v: __m256) -> f32 {
            // SAFETY: as above.
            unsafe { largest_of_8(v) }
        }
        #[inline(always)]
        fn largest_eight(self, v: [__m256; 8]) -> [f32; 8] {
            // SAFETY: as above.
            unsafe { eight_of_8!(v, _mm256_max_ps) }
        }
        #[inline(always)]
        unsafe fn load_or(self, p: *const f32, n: usize, v: __m256) -> __m256 {
            let mask = Lanes::<f32>::mask(self, 0, n.min(8));
            // SAFETY: as above; masked lanes are not touched.
            unsafe { _mm256_blendv_ps(v, _mm256_maskload_ps(p, mask), _mm256_castsi256_ps(mask)) }
        }
    );
    wave!(Avx512, f64, __m512d, 4, _mm512_max_pd, |v| _mm512_castsi512_pd(_mm512_slli_epi64::<52>(_mm512_castpd_si512(v)));
        parts_in_memory!(f64, __m512d);
    );
    wave!(Avx2, f64, __m256d, 8, _mm256_max_pd, |v| _mm256_castsi256_pd(_mm256_slli_epi64::<52>(_mm256_castpd_si256(v)));
        parts_in_memory!(f64, __m256d);
    );

    /// # Safety
    /// The CPU has AVX2.
    #[inline(always)]
    unsafe fn largest_of_8(v: __m256) -> f32 {
        // SAFETY: the caller's promise.
        unsafe {
            let four = _mm_max_ps(_mm256_extractf128_ps::<1>(v), _mm256_castps256_ps128(v));
            let two = _mm_max_ps(_mm_movehl_ps(four, four), four);
            _mm_cvtss_f32(_mm_max_ss(_mm_movehdup_ps(two), two))
        }
    }
}

#[cfg(target_arch = "aarch64")]
#[allow(unused_unsafe, reason = "some of the intrinsics are safe where NEON is always on")]
mod arm {
    use super::{Neon, Wave};
    use crate::simd::vec::Lanes;
    use std::arch::aarch64::*;

    macro_rules! wave {
        ($t:ty, $v:ty, $greater:ident, $choose:ident, |$s:ident| $power:expr) => {
            impl Wave<$t> for Neon {
                const U: usize = 16;
                type Group = [$v; 16];
                #[inline(always)]
                fn group(self, v: $v) -> [$v; 16] {
                    [v; 16]
                }
                #[inline(always)]
                fn larger(self, a: $v, b: $v) -> $v {
                    // SAFETY: NEON is part of AArch64.
                    unsafe { $choose($greater(a, b), a, b) }
                }
                #[inline(always)]
                fn power(self, $s: $v) -> $v {
                    // SAFETY: as above.
                    unsafe { $power }
                }
                parts_in_memory!($t, $v);
            }
        };
    }
    wave!(f32, float32x4_t, vcgtq_f32, vbslq_f32, |v| vreinterpretq_f32_u32(
        vshlq_n_u32::<23>(vreinterpretq_u32_f32(v))
    ));
    wave!(f64, float64x2_t, vcgtq_f64, vbslq_f64, |v| vreinterpretq_f64_u64(
        vshlq_n_u64::<52>(vreinterpretq_u64_f64(v))
    ));
}

/// Compiles a function once per instruction set and picks one at run time, as [`multiversion!`](crate::multiversion) does,
/// with the set's vectors `$l` at hand: `fn name<T>(l: L; a: A, …)`, where `T` is a [`Soft`](super::row::Soft) type.
macro_rules! in_waves {
    ($(#[$meta:meta])* $vis:vis fn $name:ident<$t:ident: $bound:path>($l:ident: $wave:ident; $($a:ident: $of:ty),* $(,)?) $(-> $r:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name<$t: $bound>($($a: $of),*) $(-> $r)? {
            #[inline(always)]
            fn body<$t: $bound, $wave: $crate::softmax::wave::Wave<$t>>($l: $wave, $($a: $of),*) $(-> $r)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,f16c")]
                fn avx512<$t: $bound>($($a: $of),*) $(-> $r)? {
                    // SAFETY: this function is compiled for the set, and called where the CPU has it; so below.
                    body(unsafe { <$t::Avx512 as $crate::simd::vec::Lanes<$t>>::assume() }, $($a),*)
                }
                #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,f16c")]
                fn avx2<$t: $bound>($($a: $of),*) $(-> $r)? {
                    // SAFETY: as above.
                    body(unsafe { <$t::Avx2 as $crate::simd::vec::Lanes<$t>>::assume() }, $($a),*)
                }
                #[target_feature(enable = "fma,bmi1,bmi2,lzcnt,f16c")]
                fn scalar<$t: $bound>($($a: $of),*) $(-> $r)? {
                    // SAFETY: as above.
                    body(unsafe { <$t::One as $crate::simd::vec::Lanes<$t>>::assume() }, $($a),*)
                }
                match $crate::simd::isa() {
                    // SAFETY: `isa` returns a set only after the CPU was found to have it.
                    $crate::simd::Isa::Avx512 => return unsafe { avx512($($a),*) },
                    // SAFETY: as above.
                    $crate::simd::Isa::Avx2 => return unsafe { avx2($($a),*) },
                    // SAFETY: as above (`Scalar` is chosen only where FMA exists).
                    $crate::simd::Isa::Scalar => return unsafe { scalar($($a),*) },
                    $crate::simd::Isa::Portable => {}
                }
            }
            #[cfg(target_arch = "aarch64")]
            if $crate::simd::isa() != $crate::simd::Isa::Scalar && $crate::simd::isa() != $crate::simd::Isa::Portable {
                // SAFETY: NEON is part of AArch64.
                return body(unsafe { <$t::Neon as $crate::simd::vec::Lanes<$t>>::assume() }, $($a),*);
            }
            // SAFETY: one lane needs no instruction set.
            body(unsafe { <$t::One as $crate::simd::vec::Lanes<$t>>::assume() }, $($a),*)
        }
    };
}
pub(crate) use in_waves;
