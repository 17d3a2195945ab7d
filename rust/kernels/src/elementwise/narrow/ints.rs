//! Functions of integers of 1, 2 and 4 bytes that need no wider ones: the same bits as by way of i64.

use super::super::by_row::{RowsKernel, RowsKernels};
use super::super::map::{Map1, Map2, Map3, Map4, kernel2, rows_both2, rows_first2, rows_second2, table};
use super::super::ternary::Fused;
use super::super::walk::Kernel;
use super::super::{Binary, Ternary, Unary};
use super::map::{light_over2, light1, light2, light3, light4};
use crate::dtype::{Bool, DType};

/// An integer narrower than i64. Of sums, products and bits the sign does not matter: those are made for the unsigned ones.
pub(in super::super) trait Small: Copy + Ord + 'static {
    const ZERO: Self;
    fn plus(self, b: Self) -> Self;
    fn minus(self, b: Self) -> Self;
    fn times(self, b: Self) -> Self;
    fn and(self, b: Self) -> Self;
    fn or(self, b: Self) -> Self;
    fn xor(self, b: Self) -> Self;
    fn not(self) -> Self;
    fn of(truth: bool) -> Self;
}

macro_rules! small {
    ($($t:ty)*) => {$(
        impl Small for $t {
            const ZERO: Self = 0;
            #[inline(always)]
            fn plus(self, b: Self) -> Self { self.wrapping_add(b) }
            #[inline(always)]
            fn minus(self, b: Self) -> Self { self.wrapping_sub(b) }
            #[inline(always)]
            fn times(self, b: Self) -> Self { self.wrapping_mul(b) }
            #[inline(always)]
            fn and(self, b: Self) -> Self { self & b }
            #[inline(always)]
            fn or(self, b: Self) -> Self { self | b }
            #[inline(always)]
            fn xor(self, b: Self) -> Self { self ^ b }
            #[inline(always)]
            fn not(self) -> Self { !self }
            #[inline(always)]
            fn of(truth: bool) -> Self { truth as $t }
        }
    )*};
}
small!(u8 u16 u32 i8 i16 i32);

/// Integers whose quotients floats give exactly.
pub(in super::super) trait Divided: Small {
    /// Towards zero; 0 by 0.
    fn over(self, b: Self) -> Self;
}

macro_rules! divided {
    ($($t:ty, $float:ty, $minus_one:expr);*) => {$(
        impl Divided for $t {
            /// A quotient that is no integer is at least 1/b from the next, more than the float's rounding: of numbers
            /// below 2^16 in f32, below 2^32 in f64.
            #[inline(always)]
            fn over(self, b: Self) -> Self {
                let odd = (b == 0) | (b == $minus_one);
                let by = if odd { 1 } else { b };
                // SAFETY: no larger than the dividend, which is an i32.
                let q = unsafe { (self as $float / by as $float).to_int_unchecked::<i32>() } as $t;
                // By -1 the least number overflows, and wraps.
                let by_odd = if b == 0 { 0 } else { self.wrapping_mul($minus_one) };
                if odd { by_odd } else { q }
            }
        }
    )*};
}
// Of bytes without a sign nothing is -1: 1 stands in, by which the quotient is the dividend.
divided!(u8, f32, 1; i8, f32, -1; i16, f32, -1; i32, f64, -1);

#[inline(always)]
fn remains<T: Divided>(a: T, b: T) -> T {
    let r = a.minus(a.over(b).times(b));
    if b == T::ZERO { T::ZERO } else { r }
}

/// Truth values of a remainder that is not zero and whose sign is not the divisor's.
#[inline(always)]
fn crosses<T: Small>(r: T, b: T) -> bool {
    (r != T::ZERO) & ((r < T::ZERO) != (b < T::ZERO))
}

table! {
    fn wrapped1<T: Small>(Unary) T => T, light1 Map1 {
        Neg => |x| T::ZERO.minus(x);
        BitwiseNot => |x| x.not();
        Square => |x| x.times(x);
        Cube => |x| x.times(x).times(x);
    }
}

table! {
    fn ordered1<T: Small>(Unary) T => T, light1 Map1 {
        Abs => |x| if x < T::ZERO { T::ZERO.minus(x) } else { x };
        Sign => |x| T::of(x > T::ZERO).minus(T::of(x < T::ZERO));
        Relu => |x| if x < T::ZERO { T::ZERO } else { x };
    }
}

table! {
    fn wrapped_tests1<T: Small>(Unary) T => Bool, light1 Map1 {
        LogicalNot => |x| Bool::from(x == T::ZERO);
    }
}

table! {
    fn ordered_tests1<T: Small>(Unary) T => Bool, light1 Map1 {
        Signbit => |x| Bool::from(x < T::ZERO);
    }
}

table! {
    fn wrapped2<T: Small>(Binary) T => T, light2 Map2 {
        Add => |a, b| a.plus(b);
        Sub => |a, b| a.minus(b);
        Mul => |a, b| a.times(b);
        BitwiseAnd => |a, b| a.and(b);
        BitwiseOr => |a, b| a.or(b);
        BitwiseXor => |a, b| a.xor(b);
    }
}

table! {
    fn wrapped_over2<T: Small>(Binary) T => T, light_over2 Map2 {
        Add => |a, b| a.plus(b);
        Sub => |a, b| a.minus(b);
        Mul => |a, b| a.times(b);
    }
}

macro_rules! of_rows {
    ($($name:ident, $kernel:ident;)*) => {$(
        table! {
            fn $name<T: Small>(Binary) T => T, $kernel Map2 as RowsKernel {
                Add => |a, b| a.plus(b);
                Sub => |a, b| a.minus(b);
                Mul => |a, b| a.times(b);
            }
        }
    )*};
}
of_rows! {
    wrapped_rows_both, rows_both2;
    wrapped_rows_first, rows_first2;
    wrapped_rows_second, rows_second2;
}

table! {
    fn ordered2<T: Small>(Binary) T => T, light2 Map2 {
        Maximum => |a, b| if a > b { a } else { b };
        Minimum => |a, b| if a < b { a } else { b };
    }
}

table! {
    fn ordered_over2<T: Small>(Binary) T => T, light_over2 Map2 {
        Maximum => |a, b| if a > b { a } else { b };
        Minimum => |a, b| if a < b { a } else { b };
    }
}

table! {
    fn wrapped_tests2<T: Small>(Binary) T => Bool, light2 Map2 {
        Eq => |a, b| Bool::from(a == b);
        Ne => |a, b| Bool::from(a != b);
        LogicalAnd => |a, b| Bool::from((a != T::ZERO) & (b != T::ZERO));
        LogicalOr => |a, b| Bool::from((a != T::ZERO) | (b != T::ZERO));
        LogicalXor => |a, b| Bool::from((a != T::ZERO) ^ (b != T::ZERO));
    }
}

table! {
    fn ordered_tests2<T: Small>(Binary) T => Bool, light2 Map2 {
        Lt => |a, b| Bool::from(a < b);
        Le => |a, b| Bool::from(a <= b);
    }
}

table! {
    fn divided2<T: Divided>(Binary) T => T, kernel2 Map2 {
        FloorDivide => |a, b| {
            let q = a.over(b);
            let r = a.minus(q.times(b));
            q.minus(T::of(crosses(r, b) & (b != T::ZERO)))
        };
        TruncDivide => |a, b| a.over(b);
        Remainder => |a, b| {
            let r = remains(a, b);
            r.plus(if crosses(r, b) { b } else { T::ZERO })
        };
        Fmod => |a, b| remains(a, b);
    }
}

table! {
    fn wrapped3<T: Small>(Ternary) T => T, light3 Map3 {
        AddScaled => |a, b, alpha| a.plus(alpha.times(b));
    }
}

table! {
    fn ordered3<T: Small>(Ternary) T => T, light3 Map3 {
        Clamp => |x, lo, hi| {
            let y = if x < lo { lo } else { x };
            if y > hi { hi } else { y }
        };
    }
}

table! {
    fn wrapped4<T: Small>(Fused) T => T, light4 Map4 {
        AddCmul => |a, b, c, value| a.plus(value.times(b).times(c));
    }
}

/// A table's entry for the integer of this dtype, its sign counted or not.
macro_rules! of {
    (unsigned $table:ident, $dtype:expr, $op:expr) => {
        match $dtype.size() {
            1 => $table::<u8>($op),
            2 => $table::<u16>($op),
            _ => $table::<u32>($op),
        }
    };
    (signed $table:ident, $dtype:expr, $op:expr) => {
        match $dtype {
            DType::U8 => $table::<u8>($op),
            DType::I8 => $table::<i8>($op),
            DType::I16 => $table::<i16>($op),
            _ => $table::<i32>($op),
        }
    };
}

pub(super) fn unary(op: Unary, d: DType) -> Option<Kernel> {
    of!(unsigned wrapped1, d, op)
        .or_else(|| of!(unsigned wrapped_tests1, d, op))
        .or_else(|| of!(signed ordered1, d, op))
        .or_else(|| of!(signed ordered_tests1, d, op))
}

/// Ops for which a number counts only modulo the type's range.
pub(super) fn wraps(op: Binary) -> bool {
    wrapped2::<u8>(op).is_some()
}

pub(super) fn binary(op: Binary, d: DType) -> Option<Kernel> {
    of!(unsigned wrapped2, d, op)
        .or_else(|| of!(unsigned wrapped_tests2, d, op))
        .or_else(|| of!(signed ordered2, d, op))
        .or_else(|| of!(signed ordered_tests2, d, op))
        .or_else(|| of!(signed divided2, d, op))
}

pub(super) fn binary_over(op: Binary, d: DType) -> Option<Kernel> {
    of!(unsigned wrapped_over2, d, op).or_else(|| of!(signed ordered_over2, d, op))
}

/// Kernels that take many rows.
pub(super) fn of_rows(op: Binary, d: DType) -> Option<RowsKernels> {
    Some(RowsKernels {
        both: of!(unsigned wrapped_rows_both, d, op)?,
        first: of!(unsigned wrapped_rows_first, d, op)?,
        second: of!(unsigned wrapped_rows_second, d, op)?,
    })
}

pub(super) fn ternary(op: Ternary, d: DType) -> Option<Kernel> {
    of!(unsigned wrapped3, d, op).or_else(|| of!(signed ordered3, d, op))
}

pub(super) fn fused(op: Fused, d: DType) -> Option<Kernel> {
    of!(unsigned wrapped4, d, op)
}
