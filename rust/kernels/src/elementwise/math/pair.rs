//! Two vectors of AVX2 side by side, for functions of f32 with tables, in which a compiler would look one number up at a time.
//!
//! What those functions do not ask for is done a number at a time.

#![allow(clippy::needless_range_loop, reason = "several arrays at once")]

use super::log::{edges, octave, split};
use super::{LIFT, Pack};
use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// All of it is for functions that are compiled for AVX2 and FMA, and picked after detection: there lies the safety of every
/// intrinsic below.
#[derive(Clone, Copy)]
pub(super) struct Pair([__m256; 2]);

/// The same of both vectors.
macro_rules! both {
    (|$($x:ident),*| $f:expr) => {{
        // SAFETY: see `Pair`.
        unsafe { Pair([both!(@ 0, $($x)*, $f), both!(@ 1, $($x)*, $f)]) }
    }};
    (@ $i:literal, $($x:ident)*, $f:expr) => {{
        $(let $x = $x.0[$i];)*
        $f
    }};
}

/// A function of each number and of those at its place in others.
macro_rules! one_by_one {
    ($($x:ident),+, |$($a:ident),+| $f:expr) => {{
        $(let $a = $x.numbers();)+
        let mut all = [0.0; Pair::LEN];
        for i in 0..Pair::LEN {
            $(let $a = $a[i];)+
            all[i] = $f;
        }
        Pair::load(&all)
    }};
}

impl Pair {
    pub(super) const LEN: usize = 16;

    #[inline(always)]
    pub(super) fn load(from: &[f32; Self::LEN]) -> Self {
        // SAFETY: see `Pair`; both halves of the array.
        unsafe { Pair([_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))]) }
    }

    #[inline(always)]
    pub(super) fn store(self, to: &mut [f32; Self::LEN]) {
        // SAFETY: as above.
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), self.0[0]);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), self.0[1]);
        }
    }

    #[inline(always)]
    fn numbers(self) -> [f32; Self::LEN] {
        let mut numbers = [0.0; Self::LEN];
        self.store(&mut numbers);
        numbers
    }
}

macro_rules! operators {
    ($($trait:ident $op:ident $f:ident)*) => {
        $(impl $trait for Pair {
            type Output = Self;
            #[inline(always)]
            fn $op(self, o: Self) -> Self {
                let x = self;
                both!(|x, o| $f(x, o))
            }
        })*
    };
}
operators! { Add add _mm256_add_ps Sub sub _mm256_sub_ps Mul mul _mm256_mul_ps Div div _mm256_div_ps }

impl Neg for Pair {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self::splat(-0.0) - self
    }
}

/// The numbers of a table from `from` on at the places that the lowest three bits of `i` name.
#[inline(always)]
fn eight_of(table: &[f32], from: usize, i: __m256i) -> __m256 {
    // SAFETY: see `Pair`; the part has eight numbers, or the slice panics.
    unsafe { _mm256_permutevar8x32_ps(_mm256_loadu_ps(table[from..from + 8].as_ptr()), i) }
}

/// The rows at the places that the lowest five bits of `i` name, turned: first numbers first.
#[inline(always)]
fn turned_rows(rows: &[[f32; 8]; 32], i: __m256) -> [__m256; 8] {
    let mut places = [0u32; 8];
    // SAFETY: see `Pair`; both halves of a row, eight places.
    unsafe {
        _mm256_storeu_si256(places.as_mut_ptr().cast(), _mm256_castps_si256(i));
        let mut turned = [i; 8];
        for half in 0..2 {
            // Rows k and k + 4 in the halves of a vector.
            let mut four = [i; 4];
            for k in 0..4 {
                let (low, high) = (&rows[places[k] as usize % 32], &rows[places[k + 4] as usize % 32]);
                let (low, high) = (low.as_ptr().add(4 * half), high.as_ptr().add(4 * half));
                four[k] = _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(_mm_loadu_ps(low)), _mm_loadu_ps(high));
            }
            let (a, b) = (
                _mm256_unpacklo_ps(four[0], four[1]),
                _mm256_unpackhi_ps(four[0], four[1]),
            );
            let (c, d) = (
                _mm256_unpacklo_ps(four[2], four[3]),
                _mm256_unpackhi_ps(four[2], four[3]),
            );
            turned[4 * half] = _mm256_shuffle_ps::<0x44>(a, c);
            turned[4 * half + 1] = _mm256_shuffle_ps::<0xEE>(a, c);
            turned[4 * half + 2] = _mm256_shuffle_ps::<0x44>(b, d);
            turned[4 * half + 3] = _mm256_shuffle_ps::<0xEE>(b, d);
        }
        turned
    }
}

impl Pack for Pair {
    #[inline(always)]
    fn splat(v: f32) -> Self {
        // SAFETY: see `Pair`.
        unsafe { Pair([_mm256_set1_ps(v); 2]) }
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        let x = self;
        both!(|x, a, b| _mm256_fmadd_ps(x, a, b))
    }
    #[inline(always)]
    fn abs(self) -> Self {
        let (x, sign) = (self, Self::splat(-0.0));
        both!(|x, sign| _mm256_andnot_ps(sign, x))
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        let x = self;
        both!(|x| _mm256_sqrt_ps(x))
    }
    #[inline(always)]
    fn rounded(self) -> Self {
        let x = self;
        both!(|x| _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x))
    }
    #[inline(always)]
    fn copysign(self, s: Self) -> Self {
        let (x, sign) = (self, Self::splat(-0.0));
        both!(|x, s, sign| _mm256_or_ps(_mm256_andnot_ps(sign, x), _mm256_and_ps(sign, s)))
    }
    // The second operand is the answer where one is NaN.
    #[inline(always)]
    fn at_most(self, most: f32) -> Self {
        let (x, most) = (self, Self::splat(most));
        both!(|x, most| _mm256_min_ps(most, x))
    }
    #[inline(always)]
    fn at_least(self, least: f32) -> Self {
        let (x, least) = (self, Self::splat(least));
        both!(|x, least| _mm256_max_ps(least, x))
    }
    #[inline(always)]
    fn at_least_zero(self) -> Self {
        let (x, least, lowest) = (self, Self::splat(-0.0), Self::splat(f32::NEG_INFINITY));
        // All bits set are a NaN.
        both!(|x, least, lowest| _mm256_or_ps(_mm256_max_ps(least, x), _mm256_cmp_ps::<_CMP_EQ_OQ>(x, lowest)))
    }
    #[inline(always)]
    fn below(self, limit: f32, yes: Self, no: Self) -> Self {
        self.less(Self::splat(limit), yes, no)
    }
    #[inline(always)]
    fn above(self, limit: f32, yes: Self, no: Self) -> Self {
        let (x, limit) = (self, Self::splat(limit));
        both!(|x, limit, yes, no| _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_GT_OQ>(x, limit)))
    }
    #[inline(always)]
    fn less(self, than: Self, yes: Self, no: Self) -> Self {
        let x = self;
        both!(|x, than, yes, no| _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_LT_OQ>(x, than)))
    }
    #[inline(always)]
    fn same(self, to: Self, yes: Self, no: Self) -> Self {
        let x = self;
        both!(|x, to, yes, no| _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_EQ_OQ>(x, to)))
    }
    #[inline(always)]
    fn any_above(self, limit: f32) -> bool {
        // SAFETY: see `Pair`.
        unsafe {
            let limit = _mm256_set1_ps(limit);
            let [low, high] = self.0.map(|x| _mm256_cmp_ps::<_CMP_GT_OQ>(x, limit));
            _mm256_movemask_ps(_mm256_or_ps(low, high)) != 0
        }
    }
    #[inline(always)]
    fn parity(self, even: Self, odd: Self) -> Self {
        // The lowest bit as a sign.
        let x = self;
        both!(|x, even, odd| _mm256_blendv_ps(
            even,
            odd,
            _mm256_castsi256_ps(_mm256_slli_epi32::<31>(_mm256_castps_si256(x)))
        ))
    }
    #[inline(always)]
    fn turned(self, q: Self) -> Self {
        one_by_one!(self, q, |x, q| x.turned(q))
    }
    #[inline(always)]
    fn turned_if_odd(self, q: Self) -> Self {
        one_by_one!(self, q, |x, q| x.turned_if_odd(q))
    }
    #[inline(always)]
    fn zero_of(self, x: Self) -> Self {
        one_by_one!(self, x, |y, x| y.zero_of(x))
    }
    #[inline(always)]
    fn power(self, s: Self) -> Self {
        let t = self;
        both!(|t, s| {
            let bits = _mm256_slli_epi32::<23>(_mm256_castps_si256(t));
            _mm256_castsi256_ps(_mm256_add_epi32(bits, _mm256_castps_si256(s)))
        })
    }
    #[inline(always)]
    fn scaled(self, t: Self, x: Self) -> Self {
        one_by_one!(self, t, x, |p, t, x| p.scaled(t, x))
    }
    #[inline(always)]
    fn scaled_down(self, t: Self) -> Self {
        self * t.power(Self::splat(LIFT)) * Self::splat(1.0 / LIFT)
    }
    #[inline(always)]
    fn shifted<const BY: u32>(self) -> Self {
        let x = self;
        // SAFETY: see `Pair`.
        let by = unsafe { _mm_cvtsi32_si128(BY as i32) };
        both!(|x| _mm256_castsi256_ps(_mm256_srl_epi32(_mm256_castps_si256(x), by)))
    }
    #[inline(always)]
    fn look_up<const N: usize>(self, table: &[f32; N]) -> Self {
        const { assert!(N == 32) };
        let i = self;
        both!(|i| {
            // Eight numbers at a time; bits 3 and 4 say which eight, as signs.
            let i = _mm256_castps_si256(i);
            let (eight, sixteen) = (_mm256_slli_epi32::<28>(i), _mm256_slli_epi32::<27>(i));
            let (eight, sixteen) = (_mm256_castsi256_ps(eight), _mm256_castsi256_ps(sixteen));
            let low = _mm256_blendv_ps(eight_of(table, 0, i), eight_of(table, 8, i), eight);
            let high = _mm256_blendv_ps(eight_of(table, 16, i), eight_of(table, 24, i), eight);
            _mm256_blendv_ps(low, high, sixteen)
        })
    }
    #[inline(always)]
    fn look_up_rows(self, rows: &[[f32; 8]; 32]) -> Option<[Self; 8]> {
        let (first, second) = (turned_rows(rows, self.0[0]), turned_rows(rows, self.0[1]));
        let mut all = [self; 8];
        for t in 0..8 {
            all[t] = Pair([first[t], second[t]]);
        }
        Some(all)
    }
    #[inline(always)]
    fn split(self) -> (Self, Self) {
        (one_by_one!(self, |x| split(x).0), one_by_one!(self, |x| split(x).1))
    }
    #[inline(always)]
    fn octave(self) -> (Self, Self) {
        (one_by_one!(self, |x| octave(x).0), one_by_one!(self, |x| octave(x).1))
    }
    #[inline(always)]
    fn log_edges(self, x: Self) -> Self {
        one_by_one!(self, x, |y, x| edges(x, y))
    }
    #[inline(always)]
    fn pow_edges(self, x: Self, y: Self) -> Self {
        one_by_one!(self, x, y, |power, x, y| power.pow_edges(x, y))
    }
}
