//! Divisions that leave an integer, and what remains: exact from a rounded quotient.
//!
//! Where a quotient is small enough for integers near it to be numbers of its type, it is the exact one or, rounded up to
//! an integer, one more. The remainder of the rounded one is a multiple of both numbers' last places and less than the
//! divisor: a fused multiply-add gives all of it, and its sign tells which of the two it is. Larger quotients take the way
//! of the C library, in a second pass.

use super::float::Float;
use super::map::Map2;

/// a / b, the integer below it in absolute value, and what remains (of the sign of a); for quotients below [`Float::EXACT`].
#[inline(always)]
fn divide<T: Float>(a: T, b: T) -> (T, T, T) {
    let t = a / b;
    let q = t.trunc();
    // The divisor may be infinite.
    let r = if t.abs() < T::ONE { a } else { (-q).mul_add(b, a) };
    let high = (r < T::ZERO) != (a < T::ZERO) && r != T::ZERO;
    let q = if high { q - T::ONE.copysign(t) } else { q };
    let r = if high { r + b.abs().copysign(a) } else { r };
    (t, q, r.copysign(a))
}

#[inline(always)]
fn too_large<T: Float>(a: T, b: T, limit: T) -> bool {
    (a / b).abs() >= limit
}

/// Of the sign of the divisor, which is added to what remains if it has the other one.
#[inline(always)]
fn of_divisor<T: Float>(m: T, b: T) -> T {
    let turned = m != T::ZERO && (b < T::ZERO) != (m < T::ZERO);
    if turned { m + b } else { m }
}

/// C's `fmod`.
pub struct Fmod;
impl<T: Float> Map2<T, T> for Fmod {
    const PATCHED: bool = true;
    #[inline(always)]
    fn f(a: T, b: T) -> T {
        divide(a, b).2
    }
    #[inline(always)]
    fn hard(a: T, b: T) -> bool {
        too_large(a, b, T::EXACT)
    }
    #[inline(always)]
    fn slow(a: T, b: T) -> T {
        a.fmod(b)
    }
}

/// Python's `%`.
pub struct Remainder;
impl<T: Float> Map2<T, T> for Remainder {
    const PATCHED: bool = true;
    #[inline(always)]
    fn f(a: T, b: T) -> T {
        of_divisor(divide(a, b).2, b)
    }
    #[inline(always)]
    fn hard(a: T, b: T) -> bool {
        too_large(a, b, T::EXACT)
    }
    #[inline(always)]
    fn slow(a: T, b: T) -> T {
        of_divisor(a.fmod(b), b)
    }
}

/// PyTorch's floor division of floats: the quotient is corrected by the remainder, so that it never rounds up.
pub struct FloorDivide;
impl<T: Float> Map2<T, T> for FloorDivide {
    const PATCHED: bool = true;
    #[inline(always)]
    fn f(a: T, b: T) -> T {
        let (t, q, r) = divide(a, b);
        let q = if r != T::ZERO && (b < T::ZERO) != (r < T::ZERO) {
            q - T::ONE
        } else {
            q
        };
        if q == T::ZERO { q.copysign(t) } else { q }
    }
    /// An eighth of it: in [`FloorDivide::slow`] the quotient is rounded twice, and within it that is mended.
    #[inline(always)]
    fn hard(a: T, b: T) -> bool {
        too_large(a, b, T::EXACT * T::c(0.125))
    }
    #[inline(always)]
    fn slow(a: T, b: T) -> T {
        if b == T::ZERO {
            return a / b;
        }
        let m = a.fmod(b);
        let q = (a - m) / b;
        let q = if m != T::ZERO && (b < T::ZERO) != (m < T::ZERO) {
            q - T::ONE
        } else {
            q
        };
        if q == T::ZERO {
            return T::ZERO.copysign(a / b);
        }
        let f = q.floor();
        if q - f > T::c(0.5) { f + T::ONE } else { f }
    }
}

/// Integers of less than 2^51 become doubles, and back, by the low bits of 1.5·2^52.
const MAGIC: f64 = 6_755_399_441_055_744.0;

#[inline(always)]
fn double(x: i64) -> f64 {
    f64::from_bits((MAGIC.to_bits() as i64).wrapping_add(x) as u64) - MAGIC
}

#[inline(always)]
fn integer(x: f64) -> i64 {
    ((x + MAGIC).to_bits() as i64).wrapping_sub(MAGIC.to_bits() as i64)
}

/// It is no double of [`double`]'s, or divides nothing.
#[inline(always)]
fn wide(x: i64) -> bool {
    const HALF: u64 = 1 << 51;
    (x as u64).wrapping_add(HALF) >= 2 * HALF
}

/// The integers of a division that rounds down, or towards zero; for quotients of integers below 2^51.
#[inline(always)]
fn divide_ints(a: i64, b: i64, down: bool) -> (i64, i64) {
    let (x, y) = (double(a), double(b));
    let t = x / y;
    let q = if down { t.floor() } else { t.trunc() };
    let r = (-q).mul_add(y, x);
    // As of floats: what remains has the sign of the divisor, or of the dividend.
    let high = r != 0.0 && (r < 0.0) != (if down { y < 0.0 } else { x < 0.0 });
    let one = if down { 1.0 } else { 1f64.copysign(t) };
    let q = if high { q - one } else { q };
    let r = if high { one.mul_add(y, r) } else { r };
    (integer(q), integer(r))
}

/// Of integers. By zero gives 0: the caller has asked [`any_zero`](super::any_zero) first.
macro_rules! ints {
    ($($name:ident: $down:literal, $part:tt, |$a:ident, $b:ident| $slow:expr;)*) => {
        $(pub struct $name;
        impl Map2<i64, i64> for $name {
            const PATCHED: bool = true;
            #[inline(always)]
            fn f(a: i64, b: i64) -> i64 {
                let y = divide_ints(a, b, $down).$part;
                if b == 0 { 0 } else { y }
            }
            #[inline(always)]
            fn hard(a: i64, b: i64) -> bool {
                wide(a) | wide(b)
            }
            #[inline(always)]
    fn slow($a: i64, $b: i64) -> i64 {
                if $b == 0 { 0 } else { $slow }
            }
        })*
    };
}
ints! {
    IntFloorDivide: true, 0, |a, b| {
        let (q, r) = (a.wrapping_div(b), a.wrapping_rem(b));
        if r != 0 && (r < 0) != (b < 0) { q - 1 } else { q }
    };
    IntRemainder: true, 1, |a, b| {
        let r = a.wrapping_rem(b);
        if r != 0 && (r < 0) != (b < 0) { r + b } else { r }
    };
    IntFmod: false, 1, |a, b| a.wrapping_rem(b);
    IntTruncDivide: false, 0, |a, b| a.wrapping_div(b);
}
