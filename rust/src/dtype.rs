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

/// The dtype that a number has on its own.
pub fn of_scalar(s: Scalar, default: DType) -> DType {
    match s {
        Scalar::Bool(_) => DType::Bool,
        Scalar::Int(_) => DType::I64,
        Scalar::Float(_) => default,
    }
}
