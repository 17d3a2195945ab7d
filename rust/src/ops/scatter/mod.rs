//! Reading and writing along one dim, a file for each kind of index, and what the files share: views in which every tensor
//! has a dim, and indices on the gpu.

use super::def::{Builder, Call};
use super::support::at_least_1d;
use crate::args::Args;
use crate::core::Core;
use crate::device::cpu::{self, Output};
use crate::device::gpu;
use crate::dtype::DType;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Dims, Layout, wrap_dim};
use firesteel_kernels::index::IndexError;
use firesteel_kernels::{AnyDst, AnySrc, MAX_RANK};

mod elements;
mod embedding;
mod slices;

pub fn ops() -> Vec<Builder> {
    let families = [elements::ops(), slices::ops(), embedding::ops()];
    families.into_iter().flatten().collect()
}

/// The output, holding the first argument's values in the dtype `work`. Where the output is the argument itself nothing
/// is copied.
pub fn begin(c: &Call, work: DType) -> Result<Output> {
    let (t, out) = (c.args.tensor(0), cpu::output(&c.outs[0], work)?);
    if !t.same_elements(&out.core) {
        cpu::copy(t, &out.core);
    }
    Ok(out)
}

/// Views in which 0-d tensors have a dim of size 1.
fn line(c: &Core) -> AnySrc<'_> {
    cpu::src_as(c, &at_least_1d(&c.layout))
}

fn line_mut(c: &Core) -> AnyDst<'_> {
    cpu::dst_as(c, &at_least_1d(&c.layout))
}

fn line_shape(c: &Core) -> Dims {
    at_least_1d(&c.layout).shape
}

fn is_index(d: DType) -> bool {
    matches!(d, DType::I64 | DType::I32)
}

/// The dim, as a position among at least one.
fn dim(a: &Args) -> Result<usize> {
    wrap_dim(a.int(1), a.tensor(0).rank())
}

fn out_of_self(e: IndexError) -> Error {
    Error::new(ErrorKind::Index, format!("index out of range in self: {e}"))
}

/// The output holding the input's elements, row-major or as it is.
fn begun(c: &Call) -> Result<Core> {
    let (t, out) = (c.args.tensor(0), &c.outs[0]);
    if !t.same_elements(out) {
        gpu::copy(t, out)?;
    }
    Ok(out.clone())
}

/// The index, which may be int32 or int64: both lie there as 32 bits.
fn shaded_index(i: &Core) -> Result<Core> {
    if is_index(i.dtype) {
        gpu::brought(i)
    } else {
        gpu::cast(i, DType::I64)
    }
}

/// A layout with stride 0 along a dim.
fn still(l: &Layout, d: usize) -> Layout {
    let mut strides: [isize; MAX_RANK] = [0; MAX_RANK];
    strides[..l.rank()].copy_from_slice(l.strides());
    strides[d] = 0;
    Layout::strided(l.shape, &strides[..l.rank()], l.offset)
}

/// The layout over a shape that is `n` along one dim, with stride 0 there.
fn stretched(l: &Layout, d: usize, n: usize) -> Layout {
    let mut shape = l.shape;
    shape[d] = n;
    Layout::strided(shape, still(l, d).strides(), l.offset)
}
