//! What the functions are made of: one number, or several vectors whose operations stand side by side.
//!
//! Compilers take a loop over numbers a vector at a time, and a vector is a chain of some twenty operations of which the
//! processor sees only those of the next few vectors. Several vectors that take each step together keep it busy.
//! Every operation gives the same bits in all of them.

use crate::elementwise::{math as single, math64 as double};
use std::ops::{Add, Div, Mul, Neg, Sub};

pub trait Pack<T = f32>:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    fn splat(v: T) -> Self;
    fn mul_add(self, a: Self, b: Self) -> Self;
    fn abs(self) -> Self;
    fn sqrt(self) -> Self;
    /// To the nearest integer, ties to even.
    fn rounded(self) -> Self;
    fn copysign(self, sign: Self) -> Self;
    /// The lesser of the two; NaN stays.
    fn at_most(self, most: T) -> Self;
    /// The larger of the two; NaN stays.
    fn at_least(self, least: T) -> Self;
    /// The larger of `self` and -0.0; NaN stays, and minus infinity becomes NaN.
    fn at_least_zero(self) -> Self;
    /// `yes` where `self` is below the limit, else `no`.
    fn below(self, limit: T, yes: Self, no: Self) -> Self;
    /// `yes` where `self` is above the limit, else `no`.
    fn above(self, limit: T, yes: Self, no: Self) -> Self;
    /// `yes` where `self` is less than the number at its place in `than`, else `no`.
    fn less(self, than: Self, yes: Self, no: Self) -> Self;
    /// `yes` where `self` equals the number at its place in `to`, else `no`.
    fn same(self, to: Self, yes: Self, no: Self) -> Self;
    /// Some number, none of which is negative, is above the limit; NaN may pass for one.
    fn any_above(self, limit: T) -> bool;
    /// `odd` where the lowest bit is set, else `even`.
    fn parity(self, even: Self, odd: Self) -> Self;
    /// Of the other sign where bit 1 of `q` is set.
    fn turned(self, q: Self) -> Self;
    /// Of the other sign where bit 0 of `q` is set.
    fn turned_if_odd(self, q: Self) -> Self;
    /// `x` where that is zero.
    fn zero_of(self, x: Self) -> Self;
    /// s·2^k, k in the low bits of `self`; s is a power of two, and so is the result.
    fn power(self, s: Self) -> Self;
    /// `self`·2^k with one rounding where the result is subnormal; k = `t` - `MAGIC`, of the sign of `x`.
    fn scaled(self, t: Self, x: Self) -> Self;
    /// As [`Pack::scaled`], for k <= 0.
    fn scaled_down(self, t: Self) -> Self;
    /// The bits as an integer, shifted to the right.
    fn shifted<const BY: u32>(self) -> Self;
    /// The number of a table at the place that the lowest bits name. Two vectors of AVX-512 hold a table: 32 floats, 16 doubles.
    fn look_up<const N: usize>(self, table: &[T; N]) -> Self;
    /// The same of eight tables whose numbers lie side by side, where rows are sooner looked up than tables.
    #[inline(always)]
    fn look_up_rows(self, _rows: &[[T; 8]; 32]) -> Option<[Self; 8]> {
        None
    }
    /// `(e, f)` as `log::split` has it.
    fn split(self) -> (Self, Self);
    /// `(e, m)` with `self` = m·2^e and 1 <= m < 2, for a positive number, subnormal ones too.
    fn octave(self) -> (Self, Self);
    /// The logarithm of `x`, which `self` is where that is positive and finite.
    fn log_edges(self, x: Self) -> Self;
    /// x to the power of y, where `self` is that of |x|.
    fn pow_edges(self, x: Self, y: Self) -> Self;
}

macro_rules! number {
    ($t:ident, $functions:ident, $mantissa:literal) => {
        impl Pack<$t> for $t {
            #[inline(always)]
            fn splat(v: $t) -> $t {
                v
            }
            #[inline(always)]
            fn mul_add(self, a: $t, b: $t) -> $t {
                $t::mul_add(self, a, b)
            }
            #[inline(always)]
            fn abs(self) -> $t {
                $t::abs(self)
            }
            #[inline(always)]
            fn sqrt(self) -> $t {
                $t::sqrt(self)
            }
            #[inline(always)]
            fn rounded(self) -> $t {
                $t::round_ties_even(self)
            }
            #[inline(always)]
            fn copysign(self, sign: $t) -> $t {
                $t::copysign(self, sign)
            }
            #[inline(always)]
            fn at_most(self, most: $t) -> $t {
                if self > most { most } else { self }
            }
            #[inline(always)]
            fn at_least(self, least: $t) -> $t {
                if self < least { least } else { self }
            }
            #[inline(always)]
            fn at_least_zero(self) -> $t {
                if self == $t::NEG_INFINITY {
                    $t::NAN
                } else {
                    self.at_least(-0.0)
                }
            }
            #[inline(always)]
            fn below(self, limit: $t, yes: $t, no: $t) -> $t {
                if self < limit { yes } else { no }
            }
            #[inline(always)]
            fn above(self, limit: $t, yes: $t, no: $t) -> $t {
                if self > limit { yes } else { no }
            }
            #[inline(always)]
            fn less(self, than: $t, yes: $t, no: $t) -> $t {
                if self < than { yes } else { no }
            }
            #[inline(always)]
            fn same(self, to: $t, yes: $t, no: $t) -> $t {
                if self == to { yes } else { no }
            }
            #[inline(always)]
            fn any_above(self, limit: $t) -> bool {
                self > limit
            }
            #[inline(always)]
            fn parity(self, even: $t, odd: $t) -> $t {
                if self.to_bits() & 1 == 0 { even } else { odd }
            }
            #[inline(always)]
            fn turned(self, q: $t) -> $t {
                $t::from_bits(self.to_bits() ^ ((q.to_bits() & 2) << (8 * size_of::<$t>() - 2)))
            }
            #[inline(always)]
            fn turned_if_odd(self, q: $t) -> $t {
                $t::from_bits(self.to_bits() ^ (q.to_bits() << (8 * size_of::<$t>() - 1)))
            }
            #[inline(always)]
            fn zero_of(self, x: $t) -> $t {
                if x == 0.0 { x } else { self }
            }
            #[inline(always)]
            fn power(self, s: $t) -> $t {
                $t::from_bits((self.to_bits() << $mantissa).wrapping_add(s.to_bits()))
            }
            #[inline(always)]
            fn scaled(self, t: $t, x: $t) -> $t {
                // Neither factor leaves the range.
                let (raised, rest) = if x < 0.0 {
                    ($functions::LIFT, 1.0 / $functions::LIFT)
                } else {
                    (1.0 / $functions::LIFT, $functions::LIFT)
                };
                self * t.power(raised) * rest
            }
            #[inline(always)]
            fn scaled_down(self, t: $t) -> $t {
                self * t.power($functions::LIFT) * (1.0 / $functions::LIFT)
            }
            #[inline(always)]
            fn shifted<const BY: u32>(self) -> $t {
                $t::from_bits(self.to_bits() >> BY)
            }
            #[inline(always)]
            fn look_up<const N: usize>(self, table: &[$t; N]) -> $t {
                table[self.to_bits() as usize % N]
            }
            #[inline(always)]
            fn split(self) -> ($t, $t) {
                $functions::log::split(self)
            }
            #[inline(always)]
            fn octave(self) -> ($t, $t) {
                $functions::log::octave(self)
            }
            #[inline(always)]
            fn log_edges(self, x: $t) -> $t {
                $functions::log::edges(x, self)
            }
            #[inline(always)]
            fn pow_edges(self, x: $t, y: $t) -> $t {
                let a = x.abs();
                let power = if a == 1.0 && !y.is_nan() { 1.0 } else { self };
                let whole = y.trunc() == y;
                let odd = whole && (y * 0.5).trunc() != y * 0.5;
                let signed = if odd { power.copysign(x) } else { power };
                let signed = if x < 0.0 && a < $t::INFINITY && !whole {
                    $t::NAN
                } else {
                    signed
                };
                if x == 1.0 || y == 0.0 { 1.0 } else { signed }
            }
        }
    };
}

number!(f32, single, 23);
number!(f64, double, 52);

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
