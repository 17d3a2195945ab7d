//! Functions of two elements.

use super::by_row::{RowsKernel, RowsKernels};
use super::float::Float;
use super::map::{Map2, kernel_over2, kernel2, rows_both2, rows_first2, rows_second2, table};
use super::unary::slope;
use super::walk::Kernel;
use super::{division, special, unary};
use crate::dtype::{Bool, DType};

/// Ops of two operands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    FloorDivide,
    /// Sign of the divisor, as Python's `%`.
    Remainder,
    /// Sign of the dividend, as C's `%`.
    Fmod,
    TruncDivide,
    Pow,
    /// NaN if either is.
    Maximum,
    Minimum,
    /// The other one where one is NaN.
    Fmax,
    Fmin,
    Atan2,
    Hypot,
    Copysign,
    Nextafter,
    Ldexp,
    Logaddexp,
    Logaddexp2,
    Xlogy,
    Xlog1py,
    Heaviside,
    Gcd,
    Lcm,
    Igamma,
    Igammac,
    Zeta,
    /// ψ⁽ᵃ⁾(b)
    Polygamma,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    LogicalAnd,
    LogicalOr,
    LogicalXor,
    BitwiseAnd,
    BitwiseOr,
    BitwiseXor,
    LeftShift,
    RightShift,
    /// x and the slope below zero.
    LeakyRelu,
    Hardshrink,
    Softshrink,
    Celu,
    /// Gradient and output.
    ReluBackward,
    SigmoidBackward,
    TanhBackward,
    /// Gradient and input.
    GeluBackward,
    GeluTanhBackward,
    SiluBackward,
    MishBackward,
    HardswishBackward,
    HardsigmoidBackward,
    LogSigmoidBackward,
}

impl Binary {
    /// Results are truth values whatever the compute type.
    pub fn is_predicate(self) -> bool {
        use Binary::*;
        matches!(self, Eq | Ne | Lt | Le | Gt | Ge | LogicalAnd | LogicalOr | LogicalXor)
    }

    /// Quotients and remainders of integers, which take longer than the memory.
    pub(super) fn divides(self) -> bool {
        use Binary::*;
        matches!(self, FloorDivide | TruncDivide | Remainder | Fmod)
    }

    /// There is a kernel that computes this op in `compute`.
    pub fn supports(self, compute: DType) -> bool {
        kernel(self, compute).is_some()
    }
}

pub(super) fn kernel(op: Binary, compute: DType) -> Option<Kernel> {
    #[cfg(target_arch = "x86_64")]
    if let Some(kernel) = super::math::wide::kernel2(op, compute) {
        return Some(kernel);
    }
    match compute {
        DType::F32 => divisions::<f32>(op)
            .or_else(|| floats::<f32>(op))
            .or_else(|| float_tests::<f32>(op)),
        DType::F64 => divisions::<f64>(op)
            .or_else(|| floats::<f64>(op))
            .or_else(|| float_tests::<f64>(op)),
        DType::I64 => int_divisions(op).or_else(|| ints(op)).or_else(|| int_tests(op)),
        DType::Bool => bools(op),
        _ => None,
    }
}

/// Kernels of the light ops that work where the first input lies.
pub(super) fn in_place(op: Binary, compute: DType) -> Option<Kernel> {
    match compute {
        DType::F32 => floats_over::<f32>(op),
        DType::F64 => floats_over::<f64>(op),
        DType::I64 => ints_over(op),
        _ => None,
    }
}

/// Kernels of the light ops of floats that take many rows.
pub(super) fn of_rows(op: Binary, compute: DType) -> Option<RowsKernels> {
    fn of<T: Float>(op: Binary) -> Option<RowsKernels> {
        Some(RowsKernels {
            both: rows_of_both::<T>(op)?,
            first: rows_of_first::<T>(op)?,
            second: rows_of_second::<T>(op)?,
        })
    }
    match compute {
        DType::F32 => of::<f32>(op),
        DType::F64 => of::<f64>(op),
        _ => None,
    }
}

macro_rules! light_floats {
    ($($name:ident, $kernel:ident $form:ty;)*) => {$(
        table! {
            fn $name<T: Float>(Binary) T => T, $kernel Map2 as $form {
                Add => |a, b| a + b;
                Sub => |a, b| a - b;
                Mul => |a, b| a * b;
                Div => |a, b| a / b;
            }
        }
    )*};
}
light_floats! {
    floats_over, kernel_over2 Kernel;
    rows_of_both, rows_both2 RowsKernel;
    rows_of_first, rows_first2 RowsKernel;
    rows_of_second, rows_second2 RowsKernel;
}

table! {
    fn ints_over(Binary) i64 => i64, kernel_over2 Map2 {
        Add => |a, b| a.wrapping_add(b);
        Sub => |a, b| a.wrapping_sub(b);
        Mul => |a, b| a.wrapping_mul(b);
    }
}

/// The first of equals (zeros of either sign among them), NaN if either is.
#[inline(always)]
pub(super) fn maximum<T: Float>(a: T, b: T) -> T {
    if a >= b || a.nan() { a } else { b }
}

#[inline(always)]
pub(super) fn minimum<T: Float>(a: T, b: T) -> T {
    if a <= b || a.nan() { a } else { b }
}

/// √(a² + b²) without overflow on the way; infinite where either is, whatever the other.
#[inline(always)]
fn hypot(a: f64, b: f64) -> f64 {
    let (a, b) = (a.abs(), b.abs());
    let most = if a > b { a } else { b };
    let (there, back) = if most > 1e150 {
        (2f64.powi(-600), 2f64.powi(600))
    } else if most < 1e-150 {
        (2f64.powi(600), 2f64.powi(-600))
    } else {
        (1.0, 1.0)
    };
    let (x, y) = (a * there, b * there);
    let h = x.mul_add(x, y * y).sqrt() * back;
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else {
        h
    }
}

fn divisions<T: Float>(op: Binary) -> Option<Kernel> {
    Some(match op {
        Binary::FloorDivide => kernel2::<T, T, division::FloorDivide>(),
        Binary::Remainder => kernel2::<T, T, division::Remainder>(),
        Binary::Fmod => kernel2::<T, T, division::Fmod>(),
        _ => return None,
    })
}

fn int_divisions(op: Binary) -> Option<Kernel> {
    Some(match op {
        Binary::FloorDivide => kernel2::<i64, i64, division::IntFloorDivide>(),
        Binary::Remainder => kernel2::<i64, i64, division::IntRemainder>(),
        Binary::Fmod => kernel2::<i64, i64, division::IntFmod>(),
        Binary::TruncDivide => kernel2::<i64, i64, division::IntTruncDivide>(),
        _ => return None,
    })
}

table! {
    fn floats<T: Float>(Binary) T => T, kernel2 Map2 {
        Add => |a, b| a + b;
        Sub => |a, b| a - b;
        Mul => |a, b| a * b;
        Div => |a, b| a / b;
        TruncDivide => |a, b| (a / b).trunc();
        Pow => |a, b| a.pow(b);
        Maximum => |a, b| maximum(a, b);
        Minimum => |a, b| minimum(a, b);
        Fmax => |a, b| if a.nan() { b } else if b.nan() { a } else { maximum(a, b) };
        Fmin => |a, b| if a.nan() { b } else if b.nan() { a } else { minimum(a, b) };
        Atan2 => |a, b| a.atan2(b);
        Hypot => |a, b| T::c(hypot(a.wide(), b.wide()));
        Copysign => |a, b| a.copysign(b);
        Nextafter => |a, b| a.next_after(b);
        Ldexp => |a, b| a * b.exp2();
        Logaddexp => |a, b| a.log_add_exp(b);
        Logaddexp2 => |a, b| a.log_add_exp2(b);
        Xlogy => |a, b| if b.nan() { b } else if a == T::ZERO { T::ZERO } else { a * b.log() };
        Xlog1py => |a, b| if b.nan() { b } else if a == T::ZERO { T::ZERO } else { a * b.log1p() };
        Heaviside => |a, b| if a == T::ZERO { b } else if a > T::ZERO { T::ONE } else { T::ZERO };
        Igamma => |a, b| T::c(special::igamma(a.wide(), b.wide()));
        Igammac => |a, b| T::c(special::igammac(a.wide(), b.wide()));
        Zeta => |a, b| T::c(special::zeta(a.wide(), b.wide()));
        Polygamma => |a, b| T::c(special::polygamma(a.wide(), b.wide()));
        LeakyRelu => |x, slope| if x > T::ZERO { x } else { x * slope };
        Hardshrink => |x, lambd| if x >= -lambd && x <= lambd { T::ZERO } else { x };
        Softshrink => |x, lambd| {
            if x > lambd { x - lambd } else if x < -lambd { x + lambd } else { x * T::ZERO }
        };
        Celu => |x, alpha| if x > T::ZERO { x } else { alpha * (x / alpha).expm1() };
        ReluBackward => |g, y| if y <= T::ZERO { T::ZERO } else { g };
        SigmoidBackward => |g, y| g * (T::ONE - y) * y;
        TanhBackward => |g, y| g * (-y).mul_add(y, T::ONE);
        GeluBackward => |g, x| g * slope::gelu(x);
        GeluTanhBackward => |g, x| g * slope::gelu_tanh(x);
        SiluBackward => |g, x| g * slope::silu(x);
        MishBackward => |g, x| g * slope::mish(x);
        HardswishBackward => |g, x| g * slope::hardswish(x);
        HardsigmoidBackward => |g, x| g * slope::hardsigmoid(x);
        LogSigmoidBackward => |g, x| g * slope::log_sigmoid(x);
    }
}

table! {
    fn float_tests<T: Float>(Binary) T => Bool, kernel2 Map2 {
        Eq => |a, b| Bool::from(a == b);
        Ne => |a, b| Bool::from(a != b);
        Lt => |a, b| Bool::from(a < b);
        Le => |a, b| Bool::from(a <= b);
        Gt => |a, b| Bool::from(a > b);
        Ge => |a, b| Bool::from(a >= b);
        LogicalAnd => |a, b| Bool::from((a != T::ZERO) & (b != T::ZERO));
        LogicalOr => |a, b| Bool::from((a != T::ZERO) | (b != T::ZERO));
        LogicalXor => |a, b| Bool::from((a != T::ZERO) ^ (b != T::ZERO));
    }
}

fn int_pow(mut base: i64, mut exponent: i64) -> i64 {
    if exponent < 0 {
        return match base {
            1 => 1,
            -1 => 1 - 2 * (exponent & 1),
            _ => 0,
        };
    }
    let mut result = 1i64;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        exponent >>= 1;
    }
    result
}

fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a as i64
}

fn lcm(a: i64, b: i64) -> i64 {
    match gcd(a, b) {
        0 => 0,
        g => a.wrapping_div(g).wrapping_mul(b).wrapping_abs(),
    }
}

table! {
    fn ints(Binary) i64 => i64, kernel2 Map2 {
        Add => |a, b| a.wrapping_add(b);
        Sub => |a, b| a.wrapping_sub(b);
        Mul => |a, b| a.wrapping_mul(b);
        Pow => |a, b| int_pow(a, b);
        Maximum => |a, b| if a > b { a } else { b };
        Minimum => |a, b| if a < b { a } else { b };
        Fmax => |a, b| if a > b { a } else { b };
        Fmin => |a, b| if a < b { a } else { b };
        Heaviside => |a, b| if a == 0 { b } else { (a > 0) as i64 };
        Gcd => |a, b| gcd(a, b);
        Lcm => |a, b| lcm(a, b);
        BitwiseAnd => |a, b| a & b;
        BitwiseOr => |a, b| a | b;
        BitwiseXor => |a, b| a ^ b;
        LeftShift => |a, b| if (0..64).contains(&b) { a << b } else { 0 };
        RightShift => |a, b| a >> if (0..64).contains(&b) { b } else { 63 };
        ReluBackward => |g, y| if y <= 0 { 0 } else { g };
    }
}

table! {
    fn int_tests(Binary) i64 => Bool, kernel2 Map2 {
        Eq => |a, b| Bool::from(a == b);
        Ne => |a, b| Bool::from(a != b);
        Lt => |a, b| Bool::from(a < b);
        Le => |a, b| Bool::from(a <= b);
        Gt => |a, b| Bool::from(a > b);
        Ge => |a, b| Bool::from(a >= b);
        LogicalAnd => |a, b| Bool::from((a != 0) & (b != 0));
        LogicalOr => |a, b| Bool::from((a != 0) | (b != 0));
        LogicalXor => |a, b| Bool::from((a != 0) ^ (b != 0));
    }
}

table! {
    fn bools(Binary) Bool => Bool, kernel2 Map2 {
        Add => |a, b| Bool::from(a.get() | b.get());
        Mul => |a, b| Bool::from(a.get() & b.get());
        Maximum => |a, b| Bool::from(a.get() | b.get());
        Minimum => |a, b| Bool::from(a.get() & b.get());
        Fmax => |a, b| Bool::from(a.get() | b.get());
        Fmin => |a, b| Bool::from(a.get() & b.get());
        Heaviside => |a, b| Bool::from(a.get() | b.get());
        Eq => |a, b| Bool::from(a.get() == b.get());
        Ne => |a, b| Bool::from(a.get() != b.get());
        Lt => |a, b| Bool::from(!a.get() & b.get());
        Le => |a, b| Bool::from(!a.get() | b.get());
        Gt => |a, b| Bool::from(a.get() & !b.get());
        Ge => |a, b| Bool::from(a.get() | !b.get());
        LogicalAnd => |a, b| Bool::from(a.get() & b.get());
        LogicalOr => |a, b| Bool::from(a.get() | b.get());
        LogicalXor => |a, b| Bool::from(a.get() ^ b.get());
        BitwiseAnd => |a, b| Bool::from(a.get() & b.get());
        BitwiseOr => |a, b| Bool::from(a.get() | b.get());
        BitwiseXor => |a, b| Bool::from(a.get() ^ b.get());
    }
}

/// A power with a fixed exponent that is cheaper, or more exact, another way; as PyTorch chooses.
pub(super) fn pow_by_scalar(exponent: f64) -> Option<unary::Unary> {
    use unary::Unary;
    Some(match exponent {
        2.0 => Unary::Square,
        3.0 => Unary::Cube,
        0.5 => Unary::Sqrt,
        -0.5 => Unary::Rsqrt,
        -1.0 => Unary::Reciprocal,
        -2.0 => Unary::ReciprocalSquare,
        _ => return None,
    })
}
