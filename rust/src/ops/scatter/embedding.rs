//! The rows of a matrix that indices name, and the gradient of the matrix.

use super::{is_index, out_of_self, shaded_index};
use crate::args::Args;
use crate::core::Core;
use crate::device::{cpu, gpu};
use crate::dtype::{DType, Scalar, legacy_name};
use crate::ensure;
use crate::error::Result;
use crate::layout::{Dims, Layout};
use crate::ops::def::{Builder, Call, Metas, op};
use crate::ops::support::{float_only, in_rows, one, output_as, reshaped, row};
use firesteel_kernels::MAX_RANK;
use firesteel_kernels::index;

fn check_embedding(indices: &Core) -> Result<()> {
    ensure!(
        is_index(indices.dtype),
        "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got {} instead \
         (while checking arguments for embedding)",
        legacy_name(indices.dtype)
    );
    Ok(())
}

fn embedding_infer(a: &Args) -> Result<Metas> {
    let (w, i) = (a.tensor(0), a.tensor(1));
    ensure!(w.rank() == 2, "'weight' must be 2-D");
    check_embedding(i)?;
    let mut shape = *i.shape();
    shape.push(w.shape()[1])?;
    shape.check()?;
    one(shape, w.dtype)
}

/// The indices as an int64 vector.
fn flat_indices(i: &Core) -> Result<Core> {
    reshaped(&cpu::cast(i, DType::I64)?, &row(&[i.numel()]))
}

fn embedding_run(c: &Call) -> Result<()> {
    let (w, i) = (c.args.tensor(0), flat_indices(c.args.tensor(1))?);
    let out = output_as(&c.outs[0], row(&[i.numel(), w.shape()[1]]));
    index::index_select(cpu::src(w), 0, cpu::typed(&i), cpu::dst(&out), false).map_err(out_of_self)
}

fn embedding_on_gpu(c: &Call) -> Result<()> {
    let (w, i, out) = (c.args.tensor(0), shaded_index(c.args.tensor(1))?, &c.outs[0]);
    let to = out.with_layout(out.layout);
    let rank = to.rank();
    let mut strides = [0isize; MAX_RANK];
    strides[rank - 1] = w.layout.strides()[1];
    let over = Layout::strided(*to.shape(), &strides[..rank], w.layout.offset);
    strides = [0; MAX_RANK];
    strides[..rank - 1].copy_from_slice(i.layout.strides());
    let source = gpu::Source {
        indices: &i,
        layout: Layout::strided(*to.shape(), &strides[..rank], i.layout.offset),
        stride: w.layout.strides()[0] as usize,
        size: w.shape()[0],
    };
    gpu::take("embedding", w, over, &[source], false, &to)
}

fn embedding_backward_infer(a: &Args) -> Result<Metas> {
    let (g, i) = (a.tensor(0), a.tensor(1));
    check_embedding(i)?;
    ensure!(
        g.rank() == i.rank() + 1 && g.shape()[..i.rank()] == i.shape()[..],
        "a gradient of shape {} does not fit indices of shape {}",
        g.shape(),
        i.shape()
    );
    let width = i64::try_from(g.shape()[i.rank()]).unwrap_or(i64::MAX);
    one(Dims::from_ints(&[a.int(2), width])?, float_only(g.dtype)?)
}

fn embedding_backward_run(c: &Call) -> Result<()> {
    let (g, i) = (in_rows(c.args.tensor(0))?, flat_indices(c.args.tensor(1))?);
    let out = cpu::output(&c.outs[0], g.dtype)?;
    let g = reshaped(&g, &row(&[i.numel(), out.core.shape()[1]]))?;
    let padding = Some(c.args.int(3)).filter(|&p| p >= 0);
    index::embedding_backward(cpu::src(&g), cpu::typed(&i), out.dst(), padding).map_err(out_of_self)?;
    out.store();
    Ok(())
}

fn embedding_backward_on_gpu(c: &Call) -> Result<()> {
    let (g, i) = (c.args.tensor(0), shaded_index(c.args.tensor(1))?);
    gpu::floats_only([g])?;
    let (out, g) = (&c.outs[0], gpu::brought(g)?);
    gpu::fill(out, Scalar::Int(0))?;
    let shape = *out.shape();
    let indices = (&i, Layout::strided(shape, &[0, 0], i.layout.offset), 1);
    let width = shape[1];
    let values = Ok((&g, Layout::strided(shape, &[0, 1], g.layout.offset), width));
    let skip = u32::try_from(c.args.int(3)).ok();
    gpu::put_lines(
        "_embedding_backward",
        out,
        out.layout,
        0,
        i.numel(),
        indices,
        values,
        Some(1.0),
        skip,
        false,
    )
}

pub fn ops() -> Vec<Builder> {
    vec![
        op("embedding(weight, indices, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False)", "The rows of a matrix that the indices name, in a new last dim; row padding_idx gets no gradient. An index out of range raises IndexError.")
            .compute(embedding_infer, embedding_run)
            .gpu(embedding_on_gpu)
            .function_only(),
        op("_embedding_backward(grad, indices, num_weights: int, padding_idx: int)", "Gradient of `embedding` with respect to its matrix: the sums of the rows of one index, zero for padding_idx.")
            .compute(embedding_backward_infer, embedding_backward_run)
            .gpu(embedding_backward_on_gpu)
            .function_only(),
    ]
}
