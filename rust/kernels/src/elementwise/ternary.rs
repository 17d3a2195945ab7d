//! Functions of three elements, and those of four.

use super::float::Float;
use super::map::{Map3, Map4, kernel_over3, kernel_select, kernel3, kernel4, table};
use super::walk::Kernel;
use crate::dtype::{Bool, DType};

/// Ops of three operands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ternary {
    /// Condition (read as truth values), then what is taken where it holds, then where it does not.
    Where,
    /// x, lower and upper bound; NaN in any gives NaN; the upper bound wins.
    Clamp,
    /// a + alpha·b
    AddScaled,
    Lerp,
    /// x, beta, threshold
    Softplus,
    /// x, alpha, scale
    Elu,
    /// x, threshold, value
    Threshold,
    /// gradient, x, slope
    LeakyReluBackward,
    /// gradient, x, alpha
    EluBackward,
    /// gradient, x, beta (threshold 20)
    SoftplusBackward,
}

impl Ternary {
    /// There is a kernel that computes this op in `compute`.
    pub fn supports(self, compute: DType) -> bool {
        kernel(self, compute).is_some()
    }
}

pub(super) fn kernel(op: Ternary, compute: DType) -> Option<Kernel> {
    match (op, compute) {
        (Ternary::Where, DType::F32) => Some(kernel_select::<f32>()),
        (Ternary::Where, DType::F64) => Some(kernel_select::<f64>()),
        (Ternary::Where, DType::I64) => Some(kernel_select::<i64>()),
        (Ternary::Where, DType::Bool) => Some(kernel_select::<Bool>()),
        (_, DType::F32) => floats::<f32>(op),
        (_, DType::F64) => floats::<f64>(op),
        (_, DType::I64) => ints(op),
        _ => None,
    }
}

/// Kernels of the light ops that work where the first input lies.
pub(super) fn in_place(op: Ternary, compute: DType) -> Option<Kernel> {
    match compute {
        DType::F32 => floats_over::<f32>(op),
        DType::F64 => floats_over::<f64>(op),
        _ => None,
    }
}

table! {
    fn floats_over<T: Float>(Ternary) T => T, kernel_over3 Map3 {
        Clamp => |x, lo, hi| clamp(x, lo, hi);
        AddScaled => |a, b, alpha| alpha.mul_add(b, a);
    }
}

#[inline(always)]
pub(super) fn clamp<T: Float>(x: T, lo: T, hi: T) -> T {
    // A NaN bound is taken, a NaN x stays.
    let y = if x < lo || lo.nan() { lo } else { x };
    let y = if y > hi || hi.nan() { hi } else { y };
    if x.nan() {
        x
    } else if lo.nan() {
        lo
    } else {
        y
    }
}

/// Exact at both ends.
#[inline(always)]
pub(super) fn lerp<T: Float>(a: T, b: T, w: T) -> T {
    let near = w.mul_add(b - a, a);
    let far = (-(b - a)).mul_add(T::ONE - w, b);
    if w.abs() < T::c(0.5) { near } else { far }
}

/// What stands in for NaN, for positive infinity, for negative infinity.
#[inline(always)]
pub(super) fn nan_to_num<T: Float>(x: T, nan: T, high: T, low: T) -> T {
    let y = if x == T::INF { high } else { x };
    let y = if x == -T::INF { low } else { y };
    if x.nan() { nan } else { y }
}

table! {
    fn floats<T: Float>(Ternary) T => T, kernel3 Map3 {
        Clamp => |x, lo, hi| clamp(x, lo, hi);
        AddScaled => |a, b, alpha| alpha.mul_add(b, a);
        Lerp => |a, b, w| lerp(a, b, w);
        Softplus => |x, beta, threshold| {
            let z = x * beta;
            let y = z.softplus() / beta;
            if z > threshold { x } else { y }
        };
        Elu => |x, alpha, scale| {
            let low = alpha * x.expm1();
            scale * if x > T::ZERO { x } else { low }
        };
        Threshold => |x, t, value| if x <= t { value } else { x };
        LeakyReluBackward => |g, x, slope| if x > T::ZERO { g } else { g * slope };
        EluBackward => |g, x, alpha| {
            let low = g * alpha * x.exp();
            if x <= T::ZERO { low } else { g }
        };
        SoftplusBackward => |g, x, beta| {
            let z = x * beta;
            let y = g * z.sigmoid();
            if z > T::c(20.0) { g } else { y }
        };
    }
}

table! {
    fn ints(Ternary) i64 => i64, kernel3 Map3 {
        Clamp => |x, lo, hi| {
            let y = if x < lo { lo } else { x };
            if y > hi { hi } else { y }
        };
        AddScaled => |a, b, alpha| a.wrapping_add(alpha.wrapping_mul(b));
        Threshold => |x, t, value| if x <= t { value } else { x };
    }
}

/// Ops of four operands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fused {
    /// a + value·b·c
    AddCmul,
    /// a + value·b/c
    AddCdiv,
    /// x, and what stands in for NaN, for positive infinity, for negative infinity
    NanToNum,
}

table! {
    fn fused_floats<T: Float>(Fused) T => T, kernel4 Map4 {
        AddCmul => |a, b, c, value| (value * b).mul_add(c, a);
        AddCdiv => |a, b, c, value| a + value * b / c;
        NanToNum => |x, nan, high, low| nan_to_num(x, nan, high, low);
    }
}

table! {
    fn fused_ints(Fused) i64 => i64, kernel4 Map4 {
        AddCmul => |a, b, c, value| a.wrapping_add(value.wrapping_mul(b).wrapping_mul(c));
    }
}

pub(super) fn fused_kernel(op: Fused, compute: DType) -> Option<Kernel> {
    match compute {
        DType::F32 => fused_floats::<f32>(op),
        DType::F64 => fused_floats::<f64>(op),
        DType::I64 => fused_ints(op),
        _ => None,
    }
}
