//! Kernels of light ops over elements as they are stored: integers below eight bytes and halves, without the way through
//! i64 or f32 and scratch blocks. Which op has one of them, for which operands, is decided here; all give the bits that
//! the long way gives (NaNs of halves keep theirs where only the sign is touched).

mod halves;
mod ints;
mod map;

use super::ternary::Fused;
use super::walk::{Kernel, Kernels, MAX_IN};
use super::{Binary, Operand, Ternary, Unary};
use crate::dtype::{DType, Scalar, bf16};
use crate::view::AnyDst;

/// A kernel with the types that it reads and writes.
pub(super) struct Native {
    pub kernels: Kernels,
    pub reads: [DType; MAX_IN],
    pub writes: DType,
}

impl Native {
    fn all(kernel: Kernel, d: DType, writes: DType) -> Native {
        Native {
            kernels: kernel.into(),
            reads: [d; MAX_IN],
            writes,
        }
    }

    /// Of bfloat16: the first `halves` operands, and floats after them.
    fn with_floats(kernel: Kernel, halves: usize) -> Native {
        let mut native = Native::all(kernel, DType::BF16, DType::BF16);
        native.reads[halves..].fill(DType::F32);
        native
    }
}

/// The one dtype of all views, the result's too, where it is a narrow one that `compute` stands in for.
fn stored(compute: DType, operands: &[&Operand], result: Option<&AnyDst>) -> Option<DType> {
    let views = operands.iter().filter_map(|o| match o {
        Operand::View(v) => Some(v.dtype()),
        Operand::Scalar(_) => None,
    });
    let mut all = views.chain(result.map(|r| r.dtype()));
    let d = all.next()?;
    let narrow = match compute {
        DType::I64 => matches!(d, DType::U8 | DType::I8 | DType::I16 | DType::I32),
        DType::F32 => matches!(d, DType::BF16 | DType::F16),
        _ => false,
    };
    (narrow && all.all(|other| other == d)).then_some(d)
}

/// Least and largest integer of a narrow dtype.
fn limits(d: DType) -> (i64, i64) {
    match d {
        DType::U8 => (0, u8::MAX as i64),
        DType::I8 => (i8::MIN as i64, i8::MAX as i64),
        DType::I16 => (i16::MIN as i64, i16::MAX as i64),
        _ => (i32::MIN as i64, i32::MAX as i64),
    }
}

/// Whether an operand is the same read as `d`: a view is, a number may be too large or have too many digits.
fn exact(operand: &Operand, d: DType) -> bool {
    match operand {
        Operand::View(_) => true,
        Operand::Scalar(s) if d.is_float() => {
            let v = s.to::<f32>();
            v.is_nan() || d == DType::BF16 && bf16::from_f32(v).to_f32() == v
        }
        Operand::Scalar(s) => {
            let (lo, hi) = limits(d);
            (lo..=hi).contains(&s.to_i64())
        }
    }
}

/// Functions of integers that change nothing.
pub(super) fn changes_nothing(op: Unary, a: &Operand) -> bool {
    let Operand::View(v) = a else { return false };
    let whole = matches!(op, Unary::Floor | Unary::Ceil | Unary::Round | Unary::Trunc);
    let unsigned = v.dtype() == DType::U8 && matches!(op, Unary::Abs | Unary::Relu);
    v.dtype().is_int() && (whole || unsigned)
}

/// What a predicate says of every integer.
pub(super) fn always(op: Unary) -> Option<bool> {
    match op {
        Unary::IsFinite => Some(true),
        Unary::IsNan | Unary::IsInf | Unary::IsPosInf | Unary::IsNegInf => Some(false),
        _ => None,
    }
}

pub(super) fn unary(op: Unary, compute: DType, a: &Operand, out: &AnyDst) -> Option<Native> {
    let test = op.is_predicate();
    let d = stored(compute, &[a], (!test).then_some(out))?;
    if !exact(a, d) {
        return None;
    }
    let kernel = match d {
        DType::F16 => halves::bits(op),
        DType::BF16 => halves::bits(op).or_else(|| halves::unary(op)),
        _ => ints::unary(op, d),
    };
    Some(Native::all(kernel?, d, if test { DType::Bool } else { d }))
}

/// The kernel for two operands, in the order in which it wants them.
pub(super) fn binary<'a, 'b>(
    op: Binary,
    compute: DType,
    a: &'a Operand<'b>,
    b: &'a Operand<'b>,
    out: &AnyDst,
) -> Option<(Native, [&'a Operand<'b>; 2])> {
    let test = op.is_predicate();
    let d = stored(compute, &[a, b], (!test).then_some(out))?;
    let (op, a, b) = match op {
        Binary::Gt => (Binary::Lt, b, a),
        Binary::Ge => (Binary::Le, b, a),
        Binary::Fmax if !d.is_float() => (Binary::Maximum, a, b),
        Binary::Fmin if !d.is_float() => (Binary::Minimum, a, b),
        _ => (op, a, b),
    };
    let writes = if test { DType::Bool } else { d };
    let exact = exact(a, d) && exact(b, d);
    let native = match d {
        // Of the second operand the sign alone counts, which rounding leaves.
        DType::BF16 | DType::F16 if op == Binary::Copysign && matches!(a, Operand::View(_)) => {
            Native::all(halves::copysign(op)?, d, writes)
        }
        DType::F16 => return None,
        DType::BF16 => match halves::binary(op) {
            Some(kernel) if exact => Native::all(kernel, d, writes),
            _ if matches!(a, Operand::View(_)) => Native::with_floats(halves::binary_by_number(op)?, 1),
            _ => return None,
        },
        _ if exact || ints::wraps(op) => {
            let mut native = Native::all(ints::binary(op, d)?, d, writes);
            native.kernels.over = ints::binary_over(op, d);
            native.kernels.rows = ints::of_rows(op, d);
            native
        }
        _ => return None,
    };
    Some((native, [a, b]))
}

/// The kernel for three operands, and these, bounds moved into the type's range.
pub(super) fn ternary<'b>(
    op: Ternary,
    compute: DType,
    [a, b, c]: [&Operand<'b>; 3],
    out: &AnyDst,
) -> Option<(Native, [Operand<'b>; 3])> {
    if op == Ternary::Where {
        return Some((chosen([b, c], out)?, [*a, *b, *c]));
    }
    let d = stored(compute, &[a, b, c], Some(out))?;
    if d.is_float() {
        let (kernel, halves) = halves::ternary(op).filter(|_| d == DType::BF16)?;
        let native = Native::with_floats(kernel, halves);
        return [a, b, c][..halves]
            .iter()
            .all(|o| exact(o, d))
            .then_some((native, [*a, *b, *c]));
    }
    let (lo, hi) = limits(d);
    // A bound beyond the range bounds nothing, unless it is the other one's side.
    let within = |bound: &Operand<'b>, least: i64, most: i64| match bound {
        Operand::Scalar(s) => (least..=most)
            .contains(&s.to_i64())
            .then(|| Operand::Scalar(Scalar::Int(s.to_i64().clamp(lo, hi)))),
        view => Some(*view),
    };
    let (b, c) = match op {
        Ternary::Clamp => (within(b, i64::MIN, hi)?, within(c, lo, i64::MAX)?),
        _ => (*b, *c),
    };
    if op == Ternary::Clamp && !exact(a, d) {
        return None;
    }
    Some((Native::all(ints::ternary(op, d)?, d, d), [*a, b, c]))
}

/// Elements chosen from two operands of one dtype, which is the result's: bytes moved, whatever they mean.
fn chosen(operands: [&Operand; 2], out: &AnyDst) -> Option<Native> {
    let d = out.dtype();
    let alike = operands.iter().all(|o| match o {
        Operand::View(v) => v.dtype() == d,
        // A number is rounded by way of f32 for both halves; others are read as the compute type reads them.
        Operand::Scalar(s) => match d {
            DType::F16 => exact(o, DType::BF16),
            DType::BF16 => true,
            _ => !matches!(s, Scalar::Float(_)),
        },
    });
    let kernel = match d.size() {
        _ if d == d.compute() || !alike => return None,
        1 => map::chosen::<u8>(),
        2 => map::chosen::<u16>(),
        4 => map::chosen::<u32>(),
        _ => map::chosen::<u64>(),
    };
    let mut native = Native::all(kernel, d, d);
    native.reads[0] = DType::Bool;
    Some(native)
}

pub(super) fn fused(op: Fused, compute: DType, operands: [&Operand; MAX_IN], out: &AnyDst) -> Option<Native> {
    let d = stored(compute, &operands, Some(out))?;
    if !d.is_float() {
        return Some(Native::all(ints::fused(op, d)?, d, d));
    }
    let (kernel, halves) = halves::fused(op).filter(|_| d == DType::BF16)?;
    operands[..halves]
        .iter()
        .all(|o| exact(o, d))
        .then(|| Native::with_floats(kernel, halves))
}
