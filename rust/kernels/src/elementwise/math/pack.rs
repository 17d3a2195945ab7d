//! What the functions are made of: one number, or several vectors whose operations stand side by side.
//!
//! Compilers take a loop over `f32` a vector at a time, and a vector is a chain of some twenty operations of which the
//! processor sees only those of the next few vectors. Several vectors that take each step together keep it busy.
//! Every operation gives the same bits in all of them.

use super::exp::LIFT;
use std::ops::{Add, Div, Mul, Neg, Sub};

pub(crate) trait Pack:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    fn splat(v: f32) -> Self;
    fn mul_add(self, a: Self, b: Self) -> Self;
    fn abs(self) -> Self;
    fn sqrt(self) -> Self;
    fn copysign(self, sign: Self) -> Self;
    /// The lesser of the two; NaN stays.
    fn at_most(self, most: f32) -> Self;
    /// The larger of the two; NaN stays.
    fn at_least(self, least: f32) -> Self;
    /// The larger of `self` and -0.0; NaN stays, and minus infinity becomes NaN.
    fn at_least_zero(self) -> Self;
    /// The absolute value, but at most `far`; of NaN any number.
    fn distance(self, far: f32) -> Self;
    /// `yes` where `self` is below the limit, else `no`.
    fn below(self, limit: f32, yes: Self, no: Self) -> Self;
    /// `yes` where `self` is above the limit, else `no`.
    fn above(self, limit: f32, yes: Self, no: Self) -> Self;
    /// `odd` where the lowest bit is set, else `even`.
    fn parity(self, even: Self, odd: Self) -> Self;
    /// Of the other sign where bit 1 of `q` is set.
    fn turned(self, q: Self) -> Self;
    /// `x` where that is zero.
    fn zero_of(self, x: Self) -> Self;
    /// s·2^k, k in the low bits of `self`; s is a power of two, and so is the result.
    fn power(self, s: Self) -> Self;
    /// `self`·2^k with one rounding where the result is subnormal; k = `t` - `MAGIC`, of the sign of `x`.
    fn scaled(self, t: Self, x: Self) -> Self;
    /// As [`Pack::scaled`], for -190 <= k <= 0.
    fn scaled_down(self, t: Self) -> Self;
    /// `(e, f)` as [`super::log::split`] has it.
    fn split(self) -> (Self, Self);
    /// The logarithm of `x`, which `self` is where that is positive and finite.
    fn log_edges(self, x: Self) -> Self;
}

impl Pack for f32 {
    #[inline(always)]
    fn splat(v: f32) -> f32 {
        v
    }
    #[inline(always)]
    fn mul_add(self, a: f32, b: f32) -> f32 {
        f32::mul_add(self, a, b)
    }
    #[inline(always)]
    fn abs(self) -> f32 {
        f32::abs(self)
    }
    #[inline(always)]
    fn sqrt(self) -> f32 {
        f32::sqrt(self)
    }
    #[inline(always)]
    fn copysign(self, sign: f32) -> f32 {
        f32::copysign(self, sign)
    }
    #[inline(always)]
    fn at_most(self, most: f32) -> f32 {
        if self > most { most } else { self }
    }
    #[inline(always)]
    fn at_least(self, least: f32) -> f32 {
        if self < least { least } else { self }
    }
    #[inline(always)]
    fn at_least_zero(self) -> f32 {
        if self == f32::NEG_INFINITY {
            f32::NAN
        } else {
            self.at_least(-0.0)
        }
    }
    #[inline(always)]
    fn distance(self, far: f32) -> f32 {
        f32::abs(self).at_most(far)
    }
    #[inline(always)]
    fn below(self, limit: f32, yes: f32, no: f32) -> f32 {
        if self < limit { yes } else { no }
    }
    #[inline(always)]
    fn above(self, limit: f32, yes: f32, no: f32) -> f32 {
        if self > limit { yes } else { no }
    }
    #[inline(always)]
    fn parity(self, even: f32, odd: f32) -> f32 {
        if self.to_bits() & 1 == 0 { even } else { odd }
    }
    #[inline(always)]
    fn turned(self, q: f32) -> f32 {
        f32::from_bits(self.to_bits() ^ ((q.to_bits() & 2) << 30))
    }
    #[inline(always)]
    fn zero_of(self, x: f32) -> f32 {
        if x == 0.0 { x } else { self }
    }
    #[inline(always)]
    fn power(self, s: f32) -> f32 {
        f32::from_bits((self.to_bits() << 23).wrapping_add(s.to_bits()))
    }
    #[inline(always)]
    fn scaled(self, t: f32, x: f32) -> f32 {
        // Neither factor leaves the range.
        let (raised, rest) = if x < 0.0 {
            (LIFT, 1.0 / LIFT)
        } else {
            (1.0 / LIFT, LIFT)
        };
        self * t.power(raised) * rest
    }
    #[inline(always)]
    fn scaled_down(self, t: f32) -> f32 {
        self * t.power(LIFT) * (1.0 / LIFT)
    }
    #[inline(always)]
    fn split(self) -> (f32, f32) {
        super::log::split(self)
    }
    #[inline(always)]
    fn log_edges(self, x: f32) -> f32 {
        super::log::log_edges(x, self)
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512 {
    //! Vectors of sixteen numbers. AVX-512 has instructions for much of what edges and powers of two need.

    use super::*;
    use crate::elementwise::math::MAGIC;
    use crate::elementwise::math::log::SQRT_HALF;
    use std::arch::x86_64::*;

    /// Vectors in AVX-512. All of it is for functions that are compiled for AVX-512 F and DQ, and picked after detection:
    /// there lies the safety of every intrinsic below.
    pub(crate) trait Vectors: Pack {
        /// Elements of all vectors.
        const LEN: usize;
        /// # Safety
        /// `LEN` numbers can be read.
        unsafe fn load(from: *const f32) -> Self;
        /// # Safety
        /// There is room for `LEN` numbers.
        unsafe fn store(self, to: *mut f32);
        /// The largest absolute values in each lane of all the vectors and of `than`; NaNs are passed over.
        fn farthest(self, than: One) -> One;
    }

    /// Answers of `vfixupimm` to a kind of number, at its place in the table: 0 leaves what there is.
    const QUIET: i32 = 0;
    const SIGNALING: i32 = 4;
    const ZERO: i32 = 8;
    const ONE: i32 = 12;
    const LOWEST: i32 = 16;
    const HIGHEST: i32 = 20;
    const NEGATIVE: i32 = 24;
    const POSITIVE: i32 = 28;
    const THE_SOURCE: i32 = 1;
    const SOURCE_AS_NAN: i32 = 2;
    const NAN: i32 = 3;
    const MINUS_INFINITY: i32 = 4;
    const MINUS_ZERO: i32 = 7;

    #[inline(always)]
    fn copysign(x: __m512, sign: __m512) -> __m512 {
        // SAFETY: see `Vectors`.
        unsafe {
            let (x, sign) = (_mm512_castps_si512(x), _mm512_castps_si512(sign));
            // Of the mask's bits those of `sign`, else those of `x`.
            _mm512_castsi512_ps(_mm512_ternarylogic_epi32::<0xca>(_mm512_set1_epi32(i32::MIN), sign, x))
        }
    }

    #[inline(always)]
    fn turned(x: __m512, q: __m512) -> __m512 {
        // SAFETY: see `Vectors`.
        unsafe {
            let (x, q) = (_mm512_castps_si512(x), _mm512_castps_si512(q));
            // x ^ (q << 30 & sign)
            let q = _mm512_slli_epi32::<30>(q);
            _mm512_castsi512_ps(_mm512_ternarylogic_epi32::<0x78>(x, q, _mm512_set1_epi32(i32::MIN)))
        }
    }

    #[inline(always)]
    fn power(t: __m512, s: __m512) -> __m512 {
        // SAFETY: see `Vectors`.
        unsafe {
            let raised = _mm512_slli_epi32::<23>(_mm512_castps_si512(t));
            _mm512_castsi512_ps(_mm512_add_epi32(raised, _mm512_castps_si512(s)))
        }
    }

    #[inline(always)]
    fn split(x: __m512) -> (__m512, __m512) {
        // SAFETY: see `Vectors`.
        unsafe {
            let one = _mm512_set1_ps(1.0);
            let (e, m) = (_mm512_getexp_ps(x), _mm512_getmant_ps::<0, 0>(x));
            // From twice √½ on the half belongs to the next power.
            let large = _mm512_set1_ps(f32::from_bits(SQRT_HALF + (1 << 23)));
            let large = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(m, large);
            let m = _mm512_mask_mul_ps(m, large, m, _mm512_set1_ps(0.5));
            (_mm512_mask_add_ps(e, large, e, one), _mm512_sub_ps(m, one))
        }
    }

    #[inline(always)]
    fn log_edges(y: __m512, x: __m512) -> __m512 {
        const KINDS: i32 = SOURCE_AS_NAN << QUIET
            | SOURCE_AS_NAN << SIGNALING
            | MINUS_INFINITY << ZERO
            | NAN << LOWEST
            | THE_SOURCE << HIGHEST
            | NAN << NEGATIVE;
        // SAFETY: see `Vectors`.
        unsafe { _mm512_fixupimm_ps::<0>(y, x, _mm512_set1_epi32(KINDS)) }
    }

    #[inline(always)]
    fn zero_of(y: __m512, x: __m512) -> __m512 {
        // SAFETY: see `Vectors`.
        unsafe { _mm512_fixupimm_ps::<0>(y, x, _mm512_set1_epi32(THE_SOURCE << ZERO)) }
    }

    #[inline(always)]
    fn at_least_zero(x: __m512) -> __m512 {
        const KINDS: i32 = SOURCE_AS_NAN << QUIET
            | SOURCE_AS_NAN << SIGNALING
            | THE_SOURCE << ZERO
            | THE_SOURCE << ONE
            | NAN << LOWEST
            | THE_SOURCE << HIGHEST
            | MINUS_ZERO << NEGATIVE
            | THE_SOURCE << POSITIVE;
        // SAFETY: see `Vectors`.
        unsafe { _mm512_fixupimm_ps::<0>(x, x, _mm512_set1_epi32(KINDS)) }
    }

    #[inline(always)]
    fn choice<const COMPARED: i32>(x: __m512, limit: f32, yes: __m512, no: __m512) -> __m512 {
        // SAFETY: see `Vectors`.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<COMPARED>(x, _mm512_set1_ps(limit)), no, yes) }
    }

    #[inline(always)]
    fn parity(q: __m512, even: __m512, odd: __m512) -> __m512 {
        // SAFETY: see `Vectors`.
        unsafe {
            let set = _mm512_test_epi32_mask(_mm512_castps_si512(q), _mm512_set1_epi32(1));
            _mm512_mask_blend_ps(set, even, odd)
        }
    }

    macro_rules! vectors {
        ($name:ident, $n:literal, $($i:literal)*) => {
            #[derive(Clone, Copy)]
            pub(crate) struct $name([__m512; $n]);

            vectors! { $name, ($($i)*), Add add _mm512_add_ps, Sub sub _mm512_sub_ps, Mul mul _mm512_mul_ps, Div div _mm512_div_ps }

            impl Neg for $name {
                type Output = Self;
                #[inline(always)]
                fn neg(self) -> Self {
                    Self::splat(-0.0) - self
                }
            }

            impl Pack for $name {
                #[inline(always)]
                fn splat(v: f32) -> Self {
                    // SAFETY: see `Vectors`.
                    unsafe { $name([_mm512_set1_ps(v); $n]) }
                }
                #[inline(always)]
                fn mul_add(self, a: Self, b: Self) -> Self {
                    // SAFETY: see `Vectors`.
                    unsafe { $name([$(_mm512_fmadd_ps(self.0[$i], a.0[$i], b.0[$i])),*]) }
                }
                #[inline(always)]
                fn abs(self) -> Self {
                    // SAFETY: see `Vectors`.
                    unsafe { $name([$(_mm512_abs_ps(self.0[$i])),*]) }
                }
                #[inline(always)]
                fn sqrt(self) -> Self {
                    // SAFETY: see `Vectors`.
                    unsafe { $name([$(_mm512_sqrt_ps(self.0[$i])),*]) }
                }
                #[inline(always)]
                fn copysign(self, sign: Self) -> Self {
                    $name([$(copysign(self.0[$i], sign.0[$i])),*])
                }
                #[inline(always)]
                fn at_most(self, most: f32) -> Self {
                    // SAFETY: see `Vectors`. The second operand is the answer where one is NaN.
                    unsafe { $name([$(_mm512_min_ps(_mm512_set1_ps(most), self.0[$i])),*]) }
                }
                #[inline(always)]
                fn at_least(self, least: f32) -> Self {
                    // SAFETY: as above.
                    unsafe { $name([$(_mm512_max_ps(_mm512_set1_ps(least), self.0[$i])),*]) }
                }
                #[inline(always)]
                fn at_least_zero(self) -> Self {
                    $name([$(at_least_zero(self.0[$i])),*])
                }
                #[inline(always)]
                fn distance(self, far: f32) -> Self {
                    // SAFETY: see `Vectors`. The lesser of the absolute values; of NaN and a number the number.
                    unsafe { $name([$(_mm512_range_ps::<0b1010>(self.0[$i], _mm512_set1_ps(far))),*]) }
                }
                #[inline(always)]
                fn below(self, limit: f32, yes: Self, no: Self) -> Self {
                    $name([$(choice::<_CMP_LT_OQ>(self.0[$i], limit, yes.0[$i], no.0[$i])),*])
                }
                #[inline(always)]
                fn above(self, limit: f32, yes: Self, no: Self) -> Self {
                    $name([$(choice::<_CMP_GT_OQ>(self.0[$i], limit, yes.0[$i], no.0[$i])),*])
                }
                #[inline(always)]
                fn parity(self, even: Self, odd: Self) -> Self {
                    $name([$(parity(self.0[$i], even.0[$i], odd.0[$i])),*])
                }
                #[inline(always)]
                fn turned(self, q: Self) -> Self {
                    $name([$(turned(self.0[$i], q.0[$i])),*])
                }
                #[inline(always)]
                fn zero_of(self, x: Self) -> Self {
                    $name([$(zero_of(self.0[$i], x.0[$i])),*])
                }
                #[inline(always)]
                fn power(self, s: Self) -> Self {
                    $name([$(power(self.0[$i], s.0[$i])),*])
                }
                #[inline(always)]
                fn scaled(self, t: Self, _x: Self) -> Self {
                    let n = t - Self::splat(MAGIC);
                    // SAFETY: see `Vectors`.
                    unsafe { $name([$(_mm512_scalef_ps(self.0[$i], n.0[$i])),*]) }
                }
                #[inline(always)]
                fn scaled_down(self, t: Self) -> Self {
                    self.scaled(t, t)
                }
                #[inline(always)]
                fn split(self) -> (Self, Self) {
                    let parts = [$(split(self.0[$i])),*];
                    ($name([$(parts[$i].0),*]), $name([$(parts[$i].1),*]))
                }
                #[inline(always)]
                fn log_edges(self, x: Self) -> Self {
                    $name([$(log_edges(self.0[$i], x.0[$i])),*])
                }
            }

            impl Vectors for $name {
                const LEN: usize = 16 * $n;
                #[inline(always)]
                unsafe fn load(from: *const f32) -> Self {
                    // SAFETY: the caller's promise.
                    unsafe { $name([$(_mm512_loadu_ps(from.add(16 * $i))),*]) }
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut f32) {
                    // SAFETY: the caller's promise.
                    unsafe { $(_mm512_storeu_ps(to.add(16 * $i), self.0[$i]);)* }
                }
                #[inline(always)]
                fn farthest(self, than: One) -> One {
                    let mut far = than.0[0];
                    // SAFETY: see `Vectors`. The second operand is the answer where the first is NaN.
                    $(far = unsafe { _mm512_max_ps(_mm512_abs_ps(self.0[$i]), far) };)*
                    One([far])
                }
            }
        };
        ($name:ident, $all:tt, $($trait:ident $op:ident $intrinsic:ident),*) => {
            $(vectors! { @op $name $all $trait $op $intrinsic })*
        };
        (@op $name:ident ($($i:literal)*) $trait:ident $op:ident $intrinsic:ident) => {
            impl $trait for $name {
                type Output = Self;
                #[inline(always)]
                fn $op(self, o: Self) -> Self {
                    // SAFETY: see `Vectors`.
                    unsafe { $name([$($intrinsic(self.0[$i], o.0[$i])),*]) }
                }
            }
        };
    }

    vectors!(One, 1, 0);
    vectors!(Four, 4, 0 1 2 3);
    vectors!(Eight, 8, 0 1 2 3 4 5 6 7);

    impl One {
        /// Some number is larger than `limit`.
        #[inline(always)]
        pub(crate) fn any_beyond(self, limit: f32) -> bool {
            // SAFETY: see `Vectors`.
            unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0[0], _mm512_set1_ps(limit)) != 0 }
        }
        /// # Safety
        /// The first `n` numbers can be read; the others are 0.
        #[inline(always)]
        pub(crate) unsafe fn load_n(from: *const f32, n: usize) -> One {
            // SAFETY: the mask lets through only what the caller promises.
            unsafe { One([_mm512_maskz_loadu_ps(first(n), from)]) }
        }
        /// # Safety
        /// There is room for `n` numbers.
        #[inline(always)]
        pub(crate) unsafe fn store_n(self, to: *mut f32, n: usize) {
            // SAFETY: the mask lets through only what the caller promises.
            unsafe { _mm512_mask_storeu_ps(to, first(n), self.0[0]) }
        }
    }

    /// The first `n` of sixteen lanes, or all.
    #[inline(always)]
    fn first(n: usize) -> __mmask16 {
        ((1u32 << n.min(16)) - 1) as __mmask16
    }
}
