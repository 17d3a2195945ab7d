//! What the rules and kernels of several op families share.

use super::def::{Call, Meta, Metas};
use crate::core::Core;
use crate::device::{cpu, gpu};
use crate::dtype::{DType, legacy_name, promote};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Dims, Layout, wrap_dim};
use firesteel_kernels::MAX_RANK;
use firesteel_kernels::index::IndexError;
use smallvec::smallvec;

/// Which dims something goes over.
pub type Mask = [bool; MAX_RANK];

/// Runs `$body` with `$t` bound to f32 or f64; other dtypes never get here (they are computed in one of these).
macro_rules! with_float {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            $crate::dtype::DType::F64 => {
                type $t = f64;
                $body
            }
            _ => {
                type $t = f32;
                $body
            }
        }
    };
}
pub(crate) use with_float;

/// An elementwise op on the gpu, over all its tensors and numbers.
pub fn shade(c: &Call, map: &gpu::Map) -> Result<()> {
    shade_first(c, map, c.args.items.len())
}

/// An elementwise op on the gpu, over the first `count` arguments.
pub fn shade_first(c: &Call, map: &gpu::Map, count: usize) -> Result<()> {
    gpu::map(c.args, &c.outs[0], c.compute, map, 0..count)
}

/// The error for a dtype that the op does not take.
pub fn not_for<T>(d: DType) -> Result<T> {
    Error::unsupported(format!("not implemented for '{}'", legacy_name(d)))
}

/// The dtype in which elements of two tensors are compared.
pub fn comparable(a: &Core, b: &Core) -> Result<DType> {
    match promote(a.dtype, b.dtype) {
        Some(d) => Ok(d),
        None => Error::runtime(format!(
            "cannot compare {} with {}",
            legacy_name(a.dtype),
            legacy_name(b.dtype)
        )),
    }
}

pub fn float_only(d: DType) -> Result<DType> {
    if d.is_float() { Ok(d) } else { not_for(d) }
}

pub fn one(shape: Dims, dtype: DType) -> Result<Metas> {
    Ok(smallvec![Meta::new(shape, dtype)])
}

/// The values in the dtype that stands in for theirs.
pub fn computed(c: &Core) -> Result<Core> {
    cpu::cast(c, c.dtype.compute())
}

/// As [`computed`], for kernels that run along the last dim: others than rows are copied first, such as the expanded gradient
/// of a sum or images with channels last. That is sooner than to walk them element by element.
pub fn in_rows(c: &Core) -> Result<Core> {
    rows_of(c, c.dtype.compute())
}

/// The same, in a given dtype.
pub fn rows_of(c: &Core, dtype: DType) -> Result<Core> {
    if c.layout.has_rows() {
        cpu::cast(c, dtype)
    } else {
        cpu::contiguous(c, dtype)
    }
}

/// As [`computed`], of an argument that may be missing, in a given dtype.
pub fn optional(c: Option<&Core>, dtype: DType) -> Result<Option<Core>> {
    c.map(|c| cpu::cast(c, dtype)).transpose()
}

/// A dim, as a mask; a 0-d tensor has none.
pub fn single(dim: i64, rank: usize) -> Result<(usize, Mask)> {
    let d = wrap_dim(dim, rank)?;
    let mut mask = [false; MAX_RANK];
    mask[d] = rank > 0;
    Ok((d, mask))
}

/// Size of a dim; a 0-d tensor counts as one element.
pub fn size_of(shape: &Dims, dim: usize) -> usize {
    if shape.is_empty() { 1 } else { shape[dim] }
}

/// Refuses a dim without elements, of which there is no extremum.
pub fn not_empty(shape: &Dims, dim: usize) -> Result<()> {
    if size_of(shape, dim) == 0 && !shape.is_empty() {
        return Error::index(format!("Expected reduction dim {dim} to have non-zero size."));
    }
    Ok(())
}

/// A 0-d layout as one of one element; others as they are.
pub fn at_least_1d(l: &Layout) -> Layout {
    if l.rank() > 0 { *l } else { packed(row(&[1]), l.offset) }
}

/// Row-major from an offset.
pub fn packed(shape: Dims, offset: usize) -> Layout {
    let mut l = Layout::contiguous(shape);
    l.offset = offset;
    l
}

/// A shape of at most [`MAX_RANK`] sizes, as all shapes made here are.
pub fn row(sizes: &[usize]) -> Dims {
    Dims::new(sizes).expect("a short shape")
}

/// The elements in another shape: a view where the strides allow it, else a copy.
pub fn reshaped(c: &Core, shape: &Dims) -> Result<Core> {
    match c.layout.view(shape) {
        Some(l) => Ok(c.with_layout(l)),
        None => {
            let flat = cpu::contiguous(c, c.dtype)?;
            Ok(flat.with_layout(packed(*shape, flat.layout.offset)))
        }
    }
}

/// A contiguous output in another shape.
pub fn output_as(c: &Core, shape: Dims) -> Core {
    c.with_layout(packed(shape, c.layout.offset))
}

/// An index out of range, as the exception that PyTorch raises for most ops.
pub fn out_of_range(e: IndexError) -> Error {
    Error::new(ErrorKind::Index, e.to_string())
}

/// The same as a `RuntimeError`, for the ops whose index belongs to single elements.
pub fn out_of_range_runtime(e: IndexError) -> Error {
    Error::new(ErrorKind::Runtime, e.to_string())
}

/// The space between two sizes in messages: `2x3`.
pub fn by(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

/// How C++ names a dtype, in the messages that PyTorch writes with such names.
pub fn c_name(d: DType) -> &'static str {
    match d {
        DType::Bool => "bool",
        DType::U8 => "unsigned char",
        DType::U16 => "unsigned short",
        DType::U32 => "unsigned int",
        DType::U64 => "unsigned long",
        DType::I8 => "signed char",
        DType::I16 => "short",
        DType::I32 => "int",
        DType::I64 => "long int",
        DType::F16 => "c10::Half",
        DType::BF16 => "c10::BFloat16",
        DType::F32 => "float",
        DType::F64 => "double",
    }
}
