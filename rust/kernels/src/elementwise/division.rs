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
pub(super) struct Fmod;
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
pub(super) struct Remainder;
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
pub(super) struct FloorDivide;
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
        $(pub(super) struct $name;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elementwise::map::kernel2;
    use crate::elementwise::walk::MAX_IN;

    /// The kernel, where vectors take what they can, and the slow way of every pair.
    fn compare<T: Copy + std::fmt::Debug, K: Map2<T, T>>(a: &[T], b: &[T], bits: fn(T) -> u64) {
        let kernel = kernel2::<T, T, K>();
        for n in [0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 127, 1000, a.len()] {
            let n = n.min(a.len());
            let mut got = a[..n].to_vec();
            let mut ins = [a.as_ptr().cast(); MAX_IN];
            ins[1] = b.as_ptr().cast();
            // SAFETY: all have `n` elements.
            unsafe { kernel(&ins, got.as_mut_ptr().cast(), n) };
            for i in 0..n {
                let want = K::slow(a[i], b[i]);
                assert_eq!(
                    bits(got[i]),
                    bits(want),
                    "{:?} by {:?}: {:?}, not {want:?}",
                    a[i],
                    b[i],
                    got[i]
                );
            }
        }
    }

    /// Pairs of edges, of numbers of every exponent, and of multiples and their neighbours.
    fn pairs<T: Float>(edges: &[T], any: fn(u64) -> T, next: fn(T, bool) -> T) -> (Vec<T>, Vec<T>) {
        let (mut a, mut b) = (vec![], vec![]);
        for x in edges {
            for y in edges {
                a.push(*x);
                b.push(*y);
            }
        }
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state ^ state >> 29
        };
        for _ in 0..100_000 {
            a.push(any(random()));
            b.push(any(random()));
            let (x, n) = (any(random()), T::c((random() >> (40 + random() % 24)) as f64));
            let multiple = x * n;
            a.push(match random() % 3 {
                0 => multiple,
                1 => next(multiple, true),
                _ => next(multiple, false),
            });
            b.push(if random() % 2 == 0 { x } else { -x });
        }
        (a, b)
    }

    #[test]
    fn floats_as_the_c_library() {
        let edges = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            3.0,
            -3.0,
            0.1,
            1e-44,
            -1e-44,
            f32::MAX,
            f32::MIN,
            1e30,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            16_777_215.0,
            16_777_216.0,
            2_097_152.0,
            2_097_151.0,
            f32::MIN_POSITIVE,
        ];
        let (a, b) = pairs(
            &edges,
            |x| f32::from_bits(x as u32),
            |x, up| x.next_after(if up { f32::INFINITY } else { f32::NEG_INFINITY }),
        );
        let bits = |x: f32| if x.is_nan() { 1 } else { x.to_bits() as u64 };
        compare::<f32, Fmod>(&a, &b, bits);
        compare::<f32, Remainder>(&a, &b, bits);
        compare::<f32, FloorDivide>(&a, &b, bits);
        for (x, y) in a.iter().zip(&b) {
            assert_eq!(bits(x.fmod(*y)), bits(x % y), "{x:e} % {y:e}");
        }
        let edges = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            3.0,
            -3.0,
            0.1,
            5e-324,
            -5e-324,
            f64::MAX,
            f64::MIN,
            1e30,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            9_007_199_254_740_991.0,
            9_007_199_254_740_992.0,
            1_125_899_906_842_624.0,
            f64::MIN_POSITIVE,
        ];
        let (a, b) = pairs(&edges, f64::from_bits, |x, up| {
            x.next_after(if up { f64::INFINITY } else { f64::NEG_INFINITY })
        });
        let bits = |x: f64| if x.is_nan() { 1 } else { x.to_bits() };
        compare::<f64, Fmod>(&a, &b, bits);
        compare::<f64, Remainder>(&a, &b, bits);
        compare::<f64, FloorDivide>(&a, &b, bits);
    }

    #[test]
    fn integers_as_the_processor() {
        let half = 1i64 << 51;
        let edges = [
            0,
            1,
            -1,
            2,
            -2,
            3,
            -3,
            7,
            -7,
            10,
            half,
            half - 1,
            -half,
            -half - 1,
            i64::MAX,
            i64::MIN,
            1 << 31,
            -1 << 31,
            (1 << 51) - 3,
        ];
        let (mut a, mut b) = (vec![], vec![]);
        for x in edges {
            for y in edges {
                a.push(x);
                b.push(y);
            }
        }
        let mut state = 1u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state ^ state >> 29) as i64
        };
        for _ in 0..100_000 {
            let (by, to) = (random() as u64 % 64, random() as u64 % 64);
            let (x, y) = (random() >> by, random() >> to);
            a.push(x);
            b.push(y);
            a.push((x >> 1).wrapping_mul(y >> 32).wrapping_add(random() % 2));
            b.push(y >> 32);
        }
        compare::<i64, IntFloorDivide>(&a, &b, |x| x as u64);
        compare::<i64, IntRemainder>(&a, &b, |x| x as u64);
        compare::<i64, IntFmod>(&a, &b, |x| x as u64);
        compare::<i64, IntTruncDivide>(&a, &b, |x| x as u64);
    }
}
