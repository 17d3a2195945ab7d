//! Rules for shapes and dtypes that several ops share.

use super::def::{Meta, Metas};
use super::support::{self, not_for};
use crate::args::{Arg, Args};
use crate::core::Core;
use crate::dtype::{DType, Scalar, category, legacy_name, promote};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Dims, Layout, broadcast, wrap_dim};
use smallvec::smallvec;
use std::sync::atomic::{AtomicU8, Ordering};

static DEFAULT_DTYPE: AtomicU8 = AtomicU8::new(DType::F32 as u8);

/// The dtype of new tensors and of results that must be floats.
pub fn default_dtype() -> DType {
    DType::ALL[DEFAULT_DTYPE.load(Ordering::Relaxed) as usize]
}

pub fn set_default_dtype(d: DType) {
    DEFAULT_DTYPE.store(d as u8, Ordering::Relaxed);
}

/// PyTorch's result dtype: tensors with dims before 0-d tensors before numbers; a lower rank only counts when its
/// category (bool < int < float) is higher.
pub fn result_type<'a>(operands: impl Iterator<Item = &'a Arg>) -> Result<DType> {
    let mut ranks: [Option<DType>; 3] = [None; 3];
    for a in operands {
        let (rank, d) = match a {
            Arg::Tensor(c) => (if c.rank() > 0 { 0 } else { 1 }, c.dtype),
            Arg::Scalar(Scalar::Float(_)) => (2, default_dtype()),
            Arg::Scalar(Scalar::Int(_)) => (2, DType::I64),
            Arg::Scalar(Scalar::Bool(_)) => (2, DType::Bool),
            _ => continue,
        };
        ranks[rank] = Some(match ranks[rank] {
            None => d,
            Some(old) => promote(old, d).ok_or_else(|| no_promotion(old, d))?,
        });
    }
    let combine = |high: Option<DType>, low: Option<DType>| -> Result<Option<DType>> {
        match (high, low) {
            (None, x) | (x, None) => Ok(x),
            (Some(h), Some(l)) if category(l) > category(h) => {
                Ok(Some(promote(h, l).ok_or_else(|| no_promotion(h, l))?))
            }
            (h, _) => Ok(h),
        }
    };
    let low = combine(ranks[1], ranks[2])?;
    Ok(combine(ranks[0], low)?.unwrap_or_else(default_dtype))
}

#[cold]
fn no_promotion(a: DType, b: DType) -> Error {
    Error::new(
        ErrorKind::Runtime,
        format!(
            "Promotion for uint16, uint32, uint64 types is not supported, attempted to promote {} and {}",
            legacy_name(a),
            legacy_name(b)
        ),
    )
}

/// Refuses uint16, uint32 and uint64, which only store, copy, index and compare.
pub fn arithmetic(d: DType) -> Result<DType> {
    match d {
        DType::U16 | DType::U32 | DType::U64 => not_for(d),
        d => Ok(d),
    }
}

pub fn float_of(d: DType) -> DType {
    if d.is_float() { d } else { default_dtype() }
}

/// Broadcast shape of the operands among `args[range]`, and the strides to give the result.
pub fn elementwise_shape(args: &Args, range: std::ops::Range<usize>) -> Result<(Dims, Option<Box<Layout>>)> {
    let mut shape: Option<Dims> = None;
    for a in &args.items[range.clone()] {
        if let Arg::Tensor(c) = a {
            shape = Some(match shape {
                None => *c.shape(),
                Some(s) => broadcast(&s, c.shape())?,
            });
        }
    }
    let shape = shape.unwrap_or(Dims::EMPTY);
    let mut layout = None;
    for a in &args.items[range] {
        if let Arg::Tensor(c) = a
            && *c.shape() == shape
        {
            if !c.layout.is_contiguous() {
                let l = Layout::dense_like(shape, &c.layout);
                layout = (!l.is_contiguous()).then(|| Box::new(l));
            }
            break;
        }
    }
    Ok((shape, layout))
}

/// One result of the operands' broadcast shape.
pub fn elementwise(args: &Args, range: std::ops::Range<usize>, dtype: DType, compute: DType) -> Result<Metas> {
    let (shape, layout) = elementwise_shape(args, range)?;
    Ok(smallvec![Meta {
        shape,
        dtype,
        compute: compute.compute(),
        layout
    }])
}

/// Unary: the input's dtype.
pub fn same(args: &Args) -> Result<Metas> {
    let d = arithmetic(args.tensor(0).dtype)?;
    elementwise(args, 0..1, d, d)
}

/// Unary: the input's dtype, bool refused.
pub fn same_no_bool(args: &Args) -> Result<Metas> {
    let d = arithmetic(args.tensor(0).dtype)?;
    if d == DType::Bool {
        return not_for(d);
    }
    elementwise(args, 0..1, d, d)
}

/// `square`: bool becomes int64, as for `pow`.
pub fn squared(args: &Args) -> Result<Metas> {
    match args.tensor(0).dtype {
        DType::Bool => elementwise(args, 0..1, DType::I64, DType::I64),
        _ => same(args),
    }
}

/// `neg`: bool is refused with the advice that PyTorch gives.
pub fn negated(args: &Args) -> Result<Metas> {
    if args.tensor(0).dtype == DType::Bool {
        return Error::runtime(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use the `~` \
             or `logical_not()` operator instead.",
        );
    }
    same(args)
}

/// Unary: floats only.
pub fn float_only(args: &Args) -> Result<Metas> {
    let d = support::float_only(args.tensor(0).dtype)?;
    elementwise(args, 0..1, d, d)
}

/// Unary: integers become floats.
pub fn to_float(args: &Args) -> Result<Metas> {
    let d = float_of(arithmetic(args.tensor(0).dtype)?);
    elementwise(args, 0..1, d, d)
}

/// Unary predicate: bool out, computed in the input's dtype.
pub fn predicate(args: &Args) -> Result<Metas> {
    let d = arithmetic(args.tensor(0).dtype)?;
    elementwise(args, 0..1, DType::Bool, d)
}

/// Integers and bool only.
pub fn integral(args: &Args, range: std::ops::Range<usize>) -> Result<Metas> {
    let d = arithmetic(result_type(args.items[range.clone()].iter())?)?;
    if d.is_float() {
        return not_for(d);
    }
    elementwise(args, range, d, d)
}

/// Operands `range` promoted.
pub fn promoted(args: &Args, range: std::ops::Range<usize>) -> Result<Metas> {
    let d = arithmetic(result_type(args.items[range.clone()].iter())?)?;
    elementwise(args, range, d, d)
}

/// Operands promoted, then to float.
pub fn promoted_float(args: &Args, range: std::ops::Range<usize>) -> Result<Metas> {
    let d = float_of(arithmetic(result_type(args.items[range.clone()].iter())?)?);
    elementwise(args, range, d, d)
}

/// Operands promoted for the comparison, bool out.
pub fn compared(args: &Args, range: std::ops::Range<usize>) -> Result<Metas> {
    let d = result_type(args.items[range.clone()].iter())?;
    elementwise(args, range, DType::Bool, d)
}

/// The dims that a reduction goes over: `None` or `[]` is all of them.
pub fn axes(dims: Option<&[i64]>, rank: usize) -> Result<[bool; firesteel_kernels::MAX_RANK]> {
    let mut mask = [false; firesteel_kernels::MAX_RANK];
    match dims {
        None | Some([]) => mask[..rank].fill(true),
        Some(list) => {
            for &d in list {
                let d = wrap_dim(d, rank)?;
                if rank == 0 {
                    continue;
                }
                if mask[d] {
                    return Error::runtime(format!("dim {d} appears multiple times in the list of dims"));
                }
                mask[d] = true;
            }
        }
    }
    Ok(mask)
}

/// Shape after a reduction.
pub fn reduced(shape: &Dims, mask: &[bool], keepdim: bool) -> Dims {
    let mut out = Dims::EMPTY;
    for (i, &n) in shape.iter().enumerate() {
        if !mask[i] {
            let _ = out.push(n);
        } else if keepdim {
            let _ = out.push(1);
        }
    }
    out
}

/// Layout of a reduction's output with the reduced dims put back as size 1, as kernels want it.
pub fn keepdim_layout(out: &Core, input: &Dims, mask: &[bool]) -> Layout {
    let mut shape = *input;
    let mut strides = [0isize; firesteel_kernels::MAX_RANK];
    let keep = out.rank() == input.len();
    let mut from = 0;
    for i in 0..input.len() {
        if mask[i] {
            shape[i] = 1;
            from += keep as usize;
        } else {
            strides[i] = out.layout.strides()[from];
            from += 1;
        }
    }
    Layout::strided(shape, &strides[..input.len()], out.layout.offset)
}

/// The common case of the rules above: one dtype of those that kernels are compiled for, numbers of no higher category.
pub mod quick {
    use super::*;

    /// The one dtype of all tensors, when numbers do not change it.
    #[inline]
    fn common(args: &Args) -> Option<DType> {
        let mut found = None;
        for a in &args.items {
            match a {
                Arg::Tensor(c) => match found {
                    None => found = Some(c.dtype),
                    Some(d) if d == c.dtype => {}
                    _ => return None,
                },
                Arg::Scalar(Scalar::Float(_)) if !found?.is_float() => return None,
                _ => {}
            }
        }
        found
    }

    pub fn same(args: &Args) -> Option<(DType, DType)> {
        common(args)
            .filter(|d| matches!(d, DType::F32 | DType::F64 | DType::I64))
            .map(|d| (d, d))
    }

    pub fn to_float(args: &Args) -> Option<(DType, DType)> {
        common(args)
            .filter(|d| matches!(d, DType::F32 | DType::F64))
            .map(|d| (d, d))
    }

    pub fn predicate(args: &Args) -> Option<(DType, DType)> {
        same(args).map(|(d, _)| (DType::Bool, d))
    }

    pub fn integral(args: &Args) -> Option<(DType, DType)> {
        common(args).filter(|d| *d == DType::I64).map(|d| (d, d))
    }

    pub use integral as shift;
    pub use predicate as compared;
    pub use predicate as ordered;
    pub use same as negated;
    pub use same as promoted;
    pub use same as same_no_bool;
    pub use same as squared;
    pub use to_float as float_only;
    pub use to_float as float_same;
    pub use to_float as promoted_float;
}

/// Refuses a number that the dtype cannot hold, where it would become elements as it is.
pub fn check_fits(value: &Arg, d: DType) -> Result<()> {
    match value {
        Arg::Scalar(s) if !crate::dtype::fits(*s, d) => Error::runtime(format!(
            "value cannot be converted to type {} without overflow",
            d.name()
        )),
        _ => Ok(()),
    }
}
