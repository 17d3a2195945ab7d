//! Dtypes and PyTorch's promotion rules.

pub use firesteel_kernels::dtype::{DType, Scalar};

/// The name in PyTorch's error messages (`Float`, `Long`, …).
pub fn legacy_name(d: DType) -> &'static str {
    match d {
        DType::Bool => "Bool",
        DType::U8 => "Byte",
        DType::U16 => "UInt16",
        DType::U32 => "UInt32",
        DType::U64 => "UInt64",
        DType::I8 => "Char",
        DType::I16 => "Short",
        DType::I32 => "Int",
        DType::I64 => "Long",
        DType::F16 => "Half",
        DType::BF16 => "BFloat16",
        DType::F32 => "Float",
        DType::F64 => "Double",
    }
}

/// Bool < integer < float: the category that decides which operand's dtype wins.
pub fn category(d: DType) -> u8 {
    match d {
        DType::Bool => 0,
        d if d.is_float() => 2,
        _ => 1,
    }
}

/// The smallest dtype that both fit into, by PyTorch's lattice; `None` for the unsigned pairs that PyTorch refuses.
pub fn promote(a: DType, b: DType) -> Option<DType> {
    use DType::*;
    if a == b {
        return Some(a);
    }
    let (ca, cb) = (category(a), category(b));
    if ca != cb {
        return Some(if ca > cb { a } else { b });
    }
    if ca == 2 {
        return Some(match (a, b) {
            (F64, _) | (_, F64) => F64,
            (F32, _) | (_, F32) => F32,
            _ => F32, // float16 with bfloat16
        });
    }
    let wide_unsigned = |d| matches!(d, U16 | U32 | U64);
    match (a, b) {
        (U8, x) | (x, U8) if x == I8 => Some(I16),
        (U8, x) | (x, U8) => Some(x),
        (x, y) if wide_unsigned(x) || wide_unsigned(y) => None,
        _ => Some(if a.size() >= b.size() { a } else { b }),
    }
}

/// Whether a result of dtype `from` may be stored into a tensor of dtype `to` in place.
pub fn can_cast(from: DType, to: DType) -> bool {
    category(from) <= category(to)
}

/// Whether a number can become an element of this dtype: PyTorch's rule, by which negative numbers wrap in unsigned dtypes
/// and infinities are floats.
pub fn fits(s: Scalar, d: DType) -> bool {
    let (low, high) = match d {
        DType::Bool => return true,
        DType::U8 => (-255.0, 255.0),
        DType::U16 => (-65_535.0, 65_535.0),
        DType::U32 => (-4_294_967_295.0, 4_294_967_295.0),
        DType::U64 => (-18_446_744_073_709_551_616.0, 18_446_744_073_709_549_568.0),
        DType::I8 => (-128.0, 127.0),
        DType::I16 => (-32_768.0, 32_767.0),
        DType::I32 => (-2_147_483_648.0, 2_147_483_647.0),
        // The largest float64 below 2^63.
        DType::I64 => (-9_223_372_036_854_775_808.0, 9_223_372_036_854_774_784.0),
        DType::F16 => (-65_504.0, 65_504.0),
        DType::BF16 => (-3.389_531_389_251_535_5e38, 3.389_531_389_251_535_5e38),
        DType::F32 => (f64::from(f32::MIN), f64::from(f32::MAX)),
        DType::F64 => return true,
    };
    let v = match s {
        Scalar::Bool(_) => return true,
        Scalar::Int(_) if d == DType::I64 || d == DType::U64 => return true,
        Scalar::Int(v) => return low <= v as f64 && v as f64 <= high,
        Scalar::Float(v) => v,
    };
    if d.is_float() && !v.is_finite() {
        return true;
    }
    let unsigned = matches!(d, DType::U8 | DType::U16 | DType::U32 | DType::U64);
    (if unsigned { 0.0 } else { low }) <= v && v <= high
}

/// The dtype that a number has on its own.
pub fn of_scalar(s: Scalar, default: DType) -> DType {
    match s {
        Scalar::Bool(_) => DType::Bool,
        Scalar::Int(_) => DType::I64,
        Scalar::Float(_) => default,
    }
}
