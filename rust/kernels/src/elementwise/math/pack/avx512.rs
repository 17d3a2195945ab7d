//! Vectors of sixteen or eight numbers. AVX-512 has instructions for much of what edges and powers of two need.

use super::*;
use std::arch::x86_64::*;

/// Vectors in AVX-512. All of it is for functions that are compiled for AVX-512 F and DQ, and picked after detection:
/// there lies the safety of every intrinsic below.
pub(crate) trait Vectors<T>: Pack<T> {
    /// Elements of all vectors.
    const LEN: usize;
    /// One vector.
    type One: OneVector<T>;
    /// The largest absolute values in each lane of all the vectors and of `than`; NaNs are passed over.
    fn farthest(self, than: Self::One) -> Self::One;
    /// Some number is less than `limit`.
    fn any_below(self, limit: T) -> bool;
}

pub(crate) trait OneVector<T>: Vectors<T, One = Self> {
    /// Some number is larger than `limit`.
    fn any_beyond(self, limit: T) -> bool;
}

/// Vectors of numbers that have the type `E` in memory: their own, or a narrower one to which they are rounded.
pub(crate) trait Held<E>: Copy {
    /// # Safety
    /// As many numbers can be read as the vectors have.
    unsafe fn load(from: *const E) -> Self;
    /// # Safety
    /// There is room for so many.
    unsafe fn store(self, to: *mut E);
}

pub(crate) trait HeldInPart<E>: Held<E> {
    /// # Safety
    /// The first `n` numbers can be read; the others are 0.
    unsafe fn load_n(from: *const E, n: usize) -> Self;
    /// # Safety
    /// There is room for `n` numbers.
    unsafe fn store_n(self, to: *mut E, n: usize);
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

/// The vectors of one type, from its intrinsics under common names.
macro_rules! kind {
    ($kind:ident, $t:ident, $signed:ident, $lanes:literal, $mantissa:literal, $vector:ident, $mask:ident,
     $($intrinsic:ident as $name:ident)*) => {
        pub(crate) mod $kind {
            use super::*;
            use super::super::$kind as functions;
            use std::arch::x86_64::{$($intrinsic as $name),*};

            const SIGN: $signed = $signed::MIN;

            #[inline(always)]
            fn copysign(x: $vector, sign: $vector) -> $vector {
                // SAFETY: see `Vectors`. Of the mask's bits those of `sign`, else those of `x`.
                unsafe { float(ternarylogic::<0xca>(set_bits(SIGN), bits(sign), bits(x))) }
            }

            #[inline(always)]
            fn turned(x: $vector, q: $vector) -> $vector {
                // SAFETY: see `Vectors`. x ^ (q << … & sign)
                unsafe {
                    let q = shift_left::<{ 8 * size_of::<$t>() as u32 - 2 }>(bits(q));
                    float(ternarylogic::<0x78>(bits(x), q, set_bits(SIGN)))
                }
            }

            #[inline(always)]
            fn turned_if_odd(x: $vector, q: $vector) -> $vector {
                // SAFETY: see `Vectors`.
                unsafe { float(xor_bits(bits(x), shift_left::<{ 8 * size_of::<$t>() as u32 - 1 }>(bits(q)))) }
            }

            #[inline(always)]
            fn power(t: $vector, s: $vector) -> $vector {
                // SAFETY: see `Vectors`.
                unsafe { float(add_bits(shift_left::<$mantissa>(bits(t)), bits(s))) }
            }

            #[inline(always)]
            fn split(x: $vector) -> ($vector, $vector) {
                // SAFETY: see `Vectors`.
                unsafe {
                    let (e, m) = (exponent(x), mantissa::<0, 0>(x));
                    // From twice √½ on the half belongs to the next power.
                    let large = set($t::from_bits(functions::log::SQRT_HALF + (1 << $mantissa)));
                    let large = compare::<_CMP_GE_OQ>(m, large);
                    let m = mask_mul(m, large, m, set(0.5));
                    (mask_add(e, large, e, set(1.0)), sub(m, set(1.0)))
                }
            }

            #[inline(always)]
            fn log_edges(y: $vector, x: $vector) -> $vector {
                const KINDS: i32 = SOURCE_AS_NAN << QUIET
                    | SOURCE_AS_NAN << SIGNALING
                    | MINUS_INFINITY << ZERO
                    | NAN << LOWEST
                    | THE_SOURCE << HIGHEST
                    | NAN << NEGATIVE;
                // SAFETY: see `Vectors`.
                unsafe { fixup::<0>(y, x, set_bits(KINDS as $signed)) }
            }

            #[inline(always)]
            fn pow_edges(power: $vector, x: $vector, y: $vector) -> $vector {
                // Towards zero.
                const TRUNC: i32 = _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC;
                // SAFETY: see `Vectors`.
                unsafe {
                    let (a, one, half) = (abs(x), set(1.0), mul(y, set(0.5)));
                    let whole = compare::<_CMP_EQ_OQ>(round::<TRUNC>(y), y);
                    let odd = whole & compare::<_CMP_NEQ_UQ>(round::<TRUNC>(half), half);
                    let unit = compare::<_CMP_EQ_OQ>(a, one) & compare::<_CMP_ORD_Q>(y, y);
                    let power = blend(unit, power, one);
                    let power = blend(odd, power, copysign(power, x));
                    let below = compare::<_CMP_LT_OQ>(x, set(0.0)) & compare::<_CMP_LT_OQ>(a, set($t::INFINITY));
                    let power = blend(below & !whole, power, set($t::NAN));
                    blend(compare::<_CMP_EQ_OQ>(x, one) | compare::<_CMP_EQ_OQ>(y, set(0.0)), power, one)
                }
            }

            #[inline(always)]
            fn zero_of(y: $vector, x: $vector) -> $vector {
                // SAFETY: see `Vectors`.
                unsafe { fixup::<0>(y, x, set_bits((THE_SOURCE << ZERO) as $signed)) }
            }

            #[inline(always)]
            fn at_least_zero(x: $vector) -> $vector {
                const KINDS: i32 = SOURCE_AS_NAN << QUIET
                    | SOURCE_AS_NAN << SIGNALING
                    | THE_SOURCE << ZERO
                    | THE_SOURCE << ONE
                    | NAN << LOWEST
                    | THE_SOURCE << HIGHEST
                    | MINUS_ZERO << NEGATIVE
                    | THE_SOURCE << POSITIVE;
                // SAFETY: see `Vectors`.
                unsafe { fixup::<0>(x, x, set_bits(KINDS as $signed)) }
            }

            #[inline(always)]
            fn choice<const COMPARED: i32>(x: $vector, limit: $vector, yes: $vector, no: $vector) -> $vector {
                // SAFETY: see `Vectors`.
                unsafe { blend(compare::<COMPARED>(x, limit), no, yes) }
            }

            #[inline(always)]
            fn look_up<const N: usize>(i: $vector, table: &[$t; N]) -> $vector {
                const { assert!(N == 2 * $lanes) };
                let at = table.as_ptr();
                // SAFETY: see `Vectors`; both vectors lie in the table.
                unsafe { of_two(load(at), bits(i), load(at.add($lanes))) }
            }

            #[inline(always)]
            fn parity(q: $vector, even: $vector, odd: $vector) -> $vector {
                // SAFETY: see `Vectors`.
                unsafe { blend(test(bits(q), set_bits(1)), even, odd) }
            }

            /// The first `n` lanes, or all.
            #[inline(always)]
            pub(super) fn first(n: usize) -> $mask {
                ((1u32 << n.min($lanes)) - 1) as $mask
            }

            vectors!($t, $lanes, $vector, One, 1, 0);
            vectors!($t, $lanes, $vector, Two, 2, 0 1);
            vectors!($t, $lanes, $vector, Four, 4, 0 1 2 3);
            vectors!($t, $lanes, $vector, Eight, 8, 0 1 2 3 4 5 6 7);

            impl OneVector<$t> for One {
                #[inline(always)]
                fn any_beyond(self, limit: $t) -> bool {
                    // SAFETY: see `Vectors`.
                    unsafe { compare::<_CMP_GT_OQ>(self.0[0], set(limit)) != 0 }
                }
            }

            impl HeldInPart<$t> for One {
                #[inline(always)]
                unsafe fn load_n(from: *const $t, n: usize) -> One {
                    // SAFETY: the mask lets through only what the caller promises.
                    unsafe { One([load_some(first(n), from)]) }
                }
                #[inline(always)]
                unsafe fn store_n(self, to: *mut $t, n: usize) {
                    // SAFETY: the mask lets through only what the caller promises.
                    unsafe { store_some(to, first(n), self.0[0]) }
                }
            }
        }
    };
}

macro_rules! vectors {
    ($t:ident, $lanes:literal, $vector:ident, $name:ident, $n:literal, $($i:literal)*) => {
        #[derive(Clone, Copy)]
        #[allow(dead_code, reason = "not both types have functions of all widths")]
        pub(crate) struct $name(pub(super) [$vector; $n]);

        vectors! { $name, ($($i)*), Add add, Sub sub, Mul mul, Div div }

        impl Neg for $name {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                Self::splat(-0.0) - self
            }
        }

        impl Pack<$t> for $name {
            #[inline(always)]
            fn splat(v: $t) -> Self {
                // SAFETY: see `Vectors`.
                unsafe { $name([set(v); $n]) }
            }
            #[inline(always)]
            fn mul_add(self, a: Self, b: Self) -> Self {
                // SAFETY: see `Vectors`.
                unsafe { $name([$(fma(self.0[$i], a.0[$i], b.0[$i])),*]) }
            }
            #[inline(always)]
            fn abs(self) -> Self {
                // SAFETY: see `Vectors`.
                unsafe { $name([$(abs(self.0[$i])),*]) }
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                // SAFETY: see `Vectors`.
                unsafe { $name([$(sqrt(self.0[$i])),*]) }
            }
            #[inline(always)]
            fn rounded(self) -> Self {
                const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
                // SAFETY: see `Vectors`.
                unsafe { $name([$(round::<NEAREST>(self.0[$i])),*]) }
            }
            #[inline(always)]
            fn copysign(self, sign: Self) -> Self {
                $name([$(copysign(self.0[$i], sign.0[$i])),*])
            }
            #[inline(always)]
            fn at_most(self, most: $t) -> Self {
                // SAFETY: see `Vectors`. The second operand is the answer where one is NaN.
                unsafe { $name([$(min(set(most), self.0[$i])),*]) }
            }
            #[inline(always)]
            fn at_least(self, least: $t) -> Self {
                // SAFETY: as above.
                unsafe { $name([$(max(set(least), self.0[$i])),*]) }
            }
            #[inline(always)]
            fn at_least_zero(self) -> Self {
                $name([$(at_least_zero(self.0[$i])),*])
            }
            #[inline(always)]
            fn below(self, limit: $t, yes: Self, no: Self) -> Self {
                self.less(Self::splat(limit), yes, no)
            }
            #[inline(always)]
            fn above(self, limit: $t, yes: Self, no: Self) -> Self {
                let limit = Self::splat(limit);
                $name([$(choice::<_CMP_GT_OQ>(self.0[$i], limit.0[$i], yes.0[$i], no.0[$i])),*])
            }
            #[inline(always)]
            fn less(self, than: Self, yes: Self, no: Self) -> Self {
                $name([$(choice::<_CMP_LT_OQ>(self.0[$i], than.0[$i], yes.0[$i], no.0[$i])),*])
            }
            #[inline(always)]
            fn same(self, to: Self, yes: Self, no: Self) -> Self {
                $name([$(choice::<_CMP_EQ_OQ>(self.0[$i], to.0[$i], yes.0[$i], no.0[$i])),*])
            }
            #[inline(always)]
            fn any_above(self, limit: $t) -> bool {
                // SAFETY: see `Vectors`. NaN is above everything as an integer.
                unsafe {
                    let mut most = set_bits(0);
                    $(most = max_bits(most, bits(self.0[$i]));)*
                    above_bits(most, bits(set(limit))) != 0
                }
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
            fn turned_if_odd(self, q: Self) -> Self {
                $name([$(turned_if_odd(self.0[$i], q.0[$i])),*])
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
                let n = t - Self::splat(functions::MAGIC);
                // SAFETY: see `Vectors`.
                unsafe { $name([$(scale(self.0[$i], n.0[$i])),*]) }
            }
            #[inline(always)]
            fn scaled_down(self, t: Self) -> Self {
                self.scaled(t, t)
            }
            #[inline(always)]
            fn shifted<const BY: u32>(self) -> Self {
                // SAFETY: see `Vectors`.
                unsafe { $name([$(float(shift_right::<BY>(bits(self.0[$i])))),*]) }
            }
            #[inline(always)]
            fn look_up<const N: usize>(self, table: &[$t; N]) -> Self {
                $name([$(look_up(self.0[$i], table)),*])
            }
            #[inline(always)]
            fn split(self) -> (Self, Self) {
                let parts = [$(split(self.0[$i])),*];
                ($name([$(parts[$i].0),*]), $name([$(parts[$i].1),*]))
            }
            #[inline(always)]
            fn octave(self) -> (Self, Self) {
                // SAFETY: see `Vectors`.
                unsafe { ($name([$(exponent(self.0[$i])),*]), $name([$(mantissa::<0, 0>(self.0[$i])),*])) }
            }
            #[inline(always)]
            fn log_edges(self, x: Self) -> Self {
                $name([$(log_edges(self.0[$i], x.0[$i])),*])
            }
            #[inline(always)]
            fn pow_edges(self, x: Self, y: Self) -> Self {
                $name([$(pow_edges(self.0[$i], x.0[$i], y.0[$i])),*])
            }
        }

        impl Vectors<$t> for $name {
            const LEN: usize = $lanes * $n;
            type One = One;
            #[inline(always)]
            fn farthest(self, than: One) -> One {
                let mut far = than.0[0];
                // SAFETY: see `Vectors`. The second operand is the answer where the first is NaN.
                $(far = unsafe { max(abs(self.0[$i]), far) };)*
                One([far])
            }
            #[inline(always)]
            fn any_below(self, limit: $t) -> bool {
                // SAFETY: see `Vectors`.
                unsafe { $(compare::<_CMP_LT_OQ>(self.0[$i], set(limit)))|* != 0 }
            }
        }

        impl Held<$t> for $name {
            #[inline(always)]
            unsafe fn load(from: *const $t) -> Self {
                // SAFETY: the caller's promise.
                unsafe { $name([$(load(from.add($lanes * $i))),*]) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $t) {
                // SAFETY: the caller's promise.
                unsafe { $(store(to.add($lanes * $i), self.0[$i]);)* }
            }
        }
    };
    ($name:ident, $all:tt, $($trait:ident $op:ident),*) => {
        $(vectors! { @op $name $all $trait $op })*
    };
    (@op $name:ident ($($i:literal)*) $trait:ident $op:ident) => {
        impl $trait for $name {
            type Output = Self;
            #[inline(always)]
            fn $op(self, o: Self) -> Self {
                // SAFETY: see `Vectors`.
                unsafe { $name([$($op(self.0[$i], o.0[$i])),*]) }
            }
        }
    };
}

kind! {
    single, f32, i32, 16, 23, __m512, __mmask16,
    _mm512_set1_ps as set
    _mm512_loadu_ps as load
    _mm512_storeu_ps as store
    _mm512_maskz_loadu_ps as load_some
    _mm512_mask_storeu_ps as store_some
    _mm512_add_ps as add
    _mm512_sub_ps as sub
    _mm512_mul_ps as mul
    _mm512_div_ps as div
    _mm512_fmadd_ps as fma
    _mm512_abs_ps as abs
    _mm512_sqrt_ps as sqrt
    _mm512_min_ps as min
    _mm512_max_ps as max
    _mm512_roundscale_ps as round
    _mm512_scalef_ps as scale
    _mm512_getexp_ps as exponent
    _mm512_getmant_ps as mantissa
    _mm512_mask_mul_ps as mask_mul
    _mm512_mask_add_ps as mask_add
    _mm512_cmp_ps_mask as compare
    _mm512_mask_blend_ps as blend
    _mm512_fixupimm_ps as fixup
    _mm512_castps_si512 as bits
    _mm512_castsi512_ps as float
    _mm512_set1_epi32 as set_bits
    _mm512_slli_epi32 as shift_left
    _mm512_srli_epi32 as shift_right
    _mm512_permutex2var_ps as of_two
    _mm512_add_epi32 as add_bits
    _mm512_xor_si512 as xor_bits
    _mm512_max_epi32 as max_bits
    _mm512_cmpgt_epi32_mask as above_bits
    _mm512_test_epi32_mask as test
    _mm512_ternarylogic_epi32 as ternarylogic
}
kind! {
    double, f64, i64, 8, 52, __m512d, __mmask8,
    _mm512_set1_pd as set
    _mm512_loadu_pd as load
    _mm512_storeu_pd as store
    _mm512_maskz_loadu_pd as load_some
    _mm512_mask_storeu_pd as store_some
    _mm512_add_pd as add
    _mm512_sub_pd as sub
    _mm512_mul_pd as mul
    _mm512_div_pd as div
    _mm512_fmadd_pd as fma
    _mm512_abs_pd as abs
    _mm512_sqrt_pd as sqrt
    _mm512_min_pd as min
    _mm512_max_pd as max
    _mm512_roundscale_pd as round
    _mm512_scalef_pd as scale
    _mm512_getexp_pd as exponent
    _mm512_getmant_pd as mantissa
    _mm512_mask_mul_pd as mask_mul
    _mm512_mask_add_pd as mask_add
    _mm512_cmp_pd_mask as compare
    _mm512_mask_blend_pd as blend
    _mm512_fixupimm_pd as fixup
    _mm512_castpd_si512 as bits
    _mm512_castsi512_pd as float
    _mm512_set1_epi64 as set_bits
    _mm512_slli_epi64 as shift_left
    _mm512_srli_epi64 as shift_right
    _mm512_permutex2var_pd as of_two
    _mm512_add_epi64 as add_bits
    _mm512_xor_si512 as xor_bits
    _mm512_max_epi64 as max_bits
    _mm512_cmpgt_epi64_mask as above_bits
    _mm512_test_epi64_mask as test
    _mm512_ternarylogic_epi64 as ternarylogic
}

/// Doubles that are floats in memory.
macro_rules! widened {
    ($($name:ident: $($i:literal)*;)*) => {
        $(impl Held<f32> for double::$name {
            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                // SAFETY: the caller's promise.
                unsafe { double::$name([$(_mm512_cvtps_pd(_mm256_loadu_ps(from.add(8 * $i)))),*]) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                // SAFETY: the caller's promise.
                unsafe { $(_mm256_storeu_ps(to.add(8 * $i), _mm512_cvtpd_ps(self.0[$i]));)* }
            }
        })*
    };
}
widened! {
    One: 0;
    Two: 0 1;
    Four: 0 1 2 3;
}

impl HeldInPart<f32> for double::One {
    #[inline(always)]
    unsafe fn load_n(from: *const f32, n: usize) -> Self {
        // SAFETY: the mask lets through only what the caller promises.
        unsafe { double::One([_mm512_cvtps_pd(_mm256_maskz_loadu_ps(double::first(n), from))]) }
    }
    #[inline(always)]
    unsafe fn store_n(self, to: *mut f32, n: usize) {
        // SAFETY: the mask lets through only what the caller promises.
        unsafe { _mm256_mask_storeu_ps(to, double::first(n), _mm512_cvtpd_ps(self.0[0])) }
    }
}
