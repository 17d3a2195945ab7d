//! Functions of one element.

use super::float::{FRAC_1_SQRT_2PI, Float};
use super::map::{Map1, kernel_over1, kernel1, table};
#[cfg(target_arch = "x86_64")]
use super::math;
use super::walk::{Kernel, MAX_IN};
use super::{math64, special};
use crate::dtype::{Bool, DType};
use std::slice::{from_raw_parts, from_raw_parts_mut};

/// Ops of one operand. Those after `IsNan` give truth values.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Unary {
    Neg,
    Abs,
    Sign,
    Reciprocal,
    Sqrt,
    Rsqrt,
    Square,
    /// x³
    Cube,
    /// x⁻²
    ReciprocalSquare,
    Exp,
    Exp2,
    Expm1,
    Log,
    Log2,
    Log10,
    Log1p,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
    Erf,
    Erfc,
    Erfinv,
    Sigmoid,
    LogSigmoid,
    Lgamma,
    Digamma,
    I0,
    I0e,
    I1,
    I1e,
    Ndtri,
    LogNdtr,
    Sinc,
    Relu,
    Relu6,
    Gelu,
    GeluTanh,
    Silu,
    Mish,
    Hardswish,
    Hardsigmoid,
    Softsign,
    Tanhshrink,
    Floor,
    Ceil,
    /// To the nearest integer, ties to even.
    Round,
    Trunc,
    Frac,
    /// For integers all bits, for truth values `not`.
    BitwiseNot,
    IsNan,
    IsInf,
    IsFinite,
    IsPosInf,
    IsNegInf,
    Signbit,
    LogicalNot,
}

impl Unary {
    /// Results are truth values whatever the compute type.
    pub fn is_predicate(self) -> bool {
        use Unary::*;
        matches!(
            self,
            IsNan | IsInf | IsFinite | IsPosInf | IsNegInf | Signbit | LogicalNot
        )
    }

    /// There is a kernel that computes this op in `compute`.
    pub fn supports(self, compute: DType) -> bool {
        kernel(self, compute).is_some()
    }
}

pub(super) fn kernel(op: Unary, compute: DType) -> Option<Kernel> {
    #[cfg(target_arch = "x86_64")]
    if let Some(kernel) = math::wide::kernel(op, compute) {
        return Some(kernel);
    }
    match compute {
        DType::F32 if op == Unary::Lgamma => Some(lgamma_f32),
        DType::F32 if op == Unary::Digamma => Some(digamma_f32),
        DType::F32 => real::<f32>(op),
        DType::F64 => real::<f64>(op),
        DType::I64 => ints(op).or_else(|| int_tests(op)),
        DType::Bool => bools(op),
        _ => None,
    }
}

/// # Safety
/// `n` floats at both ends, which do not overlap.
unsafe fn lgamma_f32(ins: &[*const u8; MAX_IN], out: *mut u8, n: usize) {
    // SAFETY: the contract of this function.
    unsafe { math64::lgamma_row(from_raw_parts(ins[0].cast(), n), from_raw_parts_mut(out.cast(), n)) }
}

/// # Safety
/// `n` floats at both ends, which do not overlap.
unsafe fn digamma_f32(ins: &[*const u8; MAX_IN], out: *mut u8, n: usize) {
    // SAFETY: the contract of this function.
    unsafe { math64::digamma_row(from_raw_parts(ins[0].cast(), n), from_raw_parts_mut(out.cast(), n)) }
}

/// Kernels of the light ops that work where the input lies.
pub(super) fn in_place(op: Unary, compute: DType) -> Option<Kernel> {
    match compute {
        DType::F32 => floats_over::<f32>(op),
        DType::F64 => floats_over::<f64>(op),
        _ => None,
    }
}

table! {
    fn floats_over<T: Float>(Unary) T => T, kernel_over1 Map1 {
        Neg => |x| -x;
        Abs => |x| x.abs();
        Relu => |x| if x < T::ZERO { T::ZERO } else { x };
        Square => |x| x * x;
        Sqrt => |x| x.sqrt();
        Reciprocal => |x| T::ONE / x;
    }
}

fn real<T: Float>(op: Unary) -> Option<Kernel> {
    patched::<T>(op)
        .or_else(|| floats::<T>(op))
        .or_else(|| float_tests::<T>(op))
}

/// -log(1 + e^-x)
#[inline(always)]
pub(super) fn log_sigmoid<T: Float>(x: T) -> T {
    -(-x).softplus()
}

#[inline(always)]
fn between<T: Float>(x: T, lo: T, hi: T) -> T {
    let x = if x < lo { lo } else { x };
    if x > hi { hi } else { x }
}

/// tanh(softplus(x)) = n / (n + 2) with n = e^x (e^x + 2), which does not overflow where it matters.
#[inline(always)]
pub(super) fn tanh_softplus<T: Float>(x: T) -> T {
    let e = (if x > T::c(20.0) { T::c(20.0) } else { x }).exp();
    let n = e * (e + T::c(2.0));
    let y = n / (n + T::c(2.0));
    if x > T::c(20.0) { T::ONE } else { y }
}

table! {
    fn floats<T: Float>(Unary) T => T, kernel1 Map1 {
        Neg => |x| -x;
        Abs => |x| x.abs();
        // NaN gives 0, as in PyTorch.
        Sign => |x| if x > T::ZERO { T::ONE } else if x < T::ZERO { -T::ONE } else { T::ZERO };
        Reciprocal => |x| T::ONE / x;
        Sqrt => |x| x.sqrt();
        Rsqrt => |x| T::ONE / x.sqrt();
        Square => |x| x * x;
        Cube => |x| x * x * x;
        ReciprocalSquare => |x| T::ONE / (x * x);
        Exp => |x| x.exp();
        Exp2 => |x| x.exp2();
        Expm1 => |x| x.expm1();
        Log => |x| x.log();
        Log2 => |x| x.log2();
        Log10 => |x| x.log10();
        Log1p => |x| x.log1p();
        Sin => |x| x.sin();
        Cos => |x| x.cos();
        Tan => |x| x.tan();
        Asin => |x| x.asin();
        Acos => |x| x.acos();
        Atan => |x| x.atan();
        Sinh => |x| x.sinh();
        Cosh => |x| x.cosh();
        Tanh => |x| x.tanh();
        Asinh => |x| x.asinh();
        Acosh => |x| x.acosh();
        Atanh => |x| x.atanh();
        Erf => |x| x.erf();
        Erfc => |x| x.erfc();
        Sigmoid => |x| x.sigmoid();
        LogSigmoid => |x| log_sigmoid(x);
        Digamma => |x| x.digamma();
        Lgamma => |x| x.lgamma();
        I0 => |x| T::c(special::i0(x.wide()));
        I0e => |x| T::c(special::i0e(x.wide()));
        I1 => |x| T::c(special::i1(x.wide()));
        I1e => |x| T::c(special::i1e(x.wide()));
        Sinc => |x| T::c(sinc(x.wide()));
        Relu => |x| if x < T::ZERO { T::ZERO } else { x };
        Relu6 => |x| between(x, T::ZERO, T::c(6.0));
        Gelu => |x| x.gelu();
        GeluTanh => |x| x.gelu_tanh();
        Silu => |x| x.silu();
        Mish => |x| x * tanh_softplus(x);
        Hardswish => |x| x * between(x + T::c(3.0), T::ZERO, T::c(6.0)) / T::c(6.0);
        Hardsigmoid => |x| between(x + T::c(3.0), T::ZERO, T::c(6.0)) / T::c(6.0);
        Softsign => |x| x / (T::ONE + x.abs());
        Tanhshrink => |x| x - x.tanh();
        Floor => |x| x.floor();
        Ceil => |x| x.ceil();
        Round => |x| x.round_even();
        Trunc => |x| x.trunc();
        Frac => |x| x - x.trunc();
    }
}

table! {
    fn float_tests<T: Float>(Unary) T => Bool, kernel1 Map1 {
        IsNan => |x| Bool::from(x.nan());
        IsInf => |x| Bool::from(x.abs() == T::INF);
        IsFinite => |x| Bool::from(x.abs() < T::INF);
        IsPosInf => |x| Bool::from(x == T::INF);
        IsNegInf => |x| Bool::from(x == -T::INF);
        Signbit => |x| Bool::from(x.is_negative());
        LogicalNot => |x| Bool::from(x == T::ZERO);
    }
}

table! {
    fn ints(Unary) i64 => i64, kernel1 Map1 {
        Neg => |x| x.wrapping_neg();
        Abs => |x| x.wrapping_abs();
        Sign => |x| x.signum();
        Square => |x| x.wrapping_mul(x);
        Cube => |x| x.wrapping_mul(x).wrapping_mul(x);
        Relu => |x| if x < 0 { 0 } else { x };
        Relu6 => |x| x.clamp(0, 6);
        Floor => |x| x;
        Ceil => |x| x;
        Round => |x| x;
        Trunc => |x| x;
        BitwiseNot => |x| !x;
    }
}

table! {
    fn int_tests(Unary) i64 => Bool, kernel1 Map1 {
        IsNan => |_x| Bool(0);
        IsInf => |_x| Bool(0);
        IsFinite => |_x| Bool(1);
        IsPosInf => |_x| Bool(0);
        IsNegInf => |_x| Bool(0);
        Signbit => |x| Bool::from(x < 0);
        LogicalNot => |x| Bool::from(x == 0);
    }
}

table! {
    fn bools(Unary) Bool => Bool, kernel1 Map1 {
        Abs => |x| x;
        Sign => |x| x;
        Square => |x| x;
        Relu => |x| x;
        Floor => |x| x;
        Ceil => |x| x;
        Round => |x| x;
        Trunc => |x| x;
        BitwiseNot => |x| Bool::from(!x.get());
        IsNan => |_x| Bool(0);
        IsInf => |_x| Bool(0);
        IsFinite => |_x| Bool(1);
        IsPosInf => |_x| Bool(0);
        IsNegInf => |_x| Bool(0);
        Signbit => |_x| Bool(0);
        LogicalNot => |x| Bool::from(!x.get());
    }
}

/// Functions of which some arguments take a way that does not vectorize: huge angles, and what lies far out
/// in a tail.
fn patched<T: Float>(op: Unary) -> Option<Kernel> {
    macro_rules! patched {
        (|$x:ident| $f:expr, $hard:expr, $slow:path) => {{
            struct K;
            impl<T: Float> Map1<T, T> for K {
                const PATCHED: bool = true;
                #[inline(always)]
                fn f($x: T) -> T {
                    $f
                }
                #[inline(always)]
                fn hard($x: T) -> bool {
                    $hard
                }
                fn slow(x: T) -> T {
                    T::c($slow(x.wide()))
                }
            }
            kernel1::<T, T, K>()
        }};
    }
    Some(match op {
        Unary::Sin => patched!(|x| x.sin(), x.beyond_trig(), math64::huge::sin),
        Unary::Cos => patched!(|x| x.cos(), x.beyond_trig(), math64::huge::cos),
        Unary::Tan => patched!(|x| x.tan(), x.beyond_trig(), math64::huge::tan),
        Unary::Erfinv => patched!(|x| x.erfinv(), x.beyond_erfinv(), math64::erfinv),
        Unary::Ndtri => patched!(
            |x| T::c(math64::ndtri_near(x.wide())),
            // Not between them, or NaN.
            !(x >= T::c(math64::NDTRI_NEAR) && x <= T::c(1.0 - math64::NDTRI_NEAR)),
            special::ndtri
        ),
        Unary::LogNdtr => patched!(|x| T::c(math64::log_ndtr(x.wide())), x < T::c(-39.0), special::log_ndtr),
        _ => return None,
    })
}

/// sin(πx) / (πx), by the sine of the distance to the nearest integer.
#[inline(always)]
fn sinc(x: f64) -> f64 {
    let n = x.round_ties_even();
    let s = math64::sin(std::f64::consts::PI * (x - n));
    let odd = (n * 0.5).round_ties_even() != n * 0.5;
    let y = (if odd { -s } else { s }) / (std::f64::consts::PI * x);
    if x == 0.0 { 1.0 } else { y }
}

/// Derivatives of activations, as functions of the input (or of the output `y` where named so).
pub(super) mod slope {
    use super::*;

    #[inline(always)]
    pub fn gelu<T: Float>(x: T) -> T {
        x.gelu_slope()
    }

    #[inline(always)]
    pub fn gelu_tanh<T: Float>(x: T) -> T {
        let (gate, rest) = x.gelu_tanh_gate();
        // d/dx x·σ(2u) = σ + 2x u' σ (1 - σ), 2u' = 2√(2/π) (1 + 3·0.044715 x²)
        let du = T::c(4.0 * FRAC_1_SQRT_2PI) * (T::c(3.0 * 0.044715) * x).mul_add(x, T::ONE);
        // The product dies out before its factors overflow.
        let bend = if x.abs() > T::c(1e3) { T::ZERO } else { x * du * rest };
        gate.mul_add(bend, gate)
    }

    #[inline(always)]
    pub fn silu<T: Float>(x: T) -> T {
        let s = x.sigmoid();
        s * (x * (T::ONE - s) + T::ONE)
    }

    #[inline(always)]
    pub fn mish<T: Float>(x: T) -> T {
        let t = tanh_softplus(x);
        (x * x.sigmoid()).mul_add(T::ONE - t * t, t)
    }

    #[inline(always)]
    pub fn hardswish<T: Float>(x: T) -> T {
        let mid = x / T::c(3.0) + T::c(0.5);
        // NaN counts as large, as in PyTorch.
        if x <= T::c(-3.0) {
            T::ZERO
        } else if x < T::c(3.0) {
            mid
        } else {
            T::ONE
        }
    }

    #[inline(always)]
    pub fn hardsigmoid<T: Float>(x: T) -> T {
        if x > T::c(-3.0) && x < T::c(3.0) {
            T::c(1.0 / 6.0)
        } else {
            T::ZERO
        }
    }

    /// σ(-x)
    #[inline(always)]
    pub fn log_sigmoid<T: Float>(x: T) -> T {
        (-x).sigmoid()
    }
}
