//! An index for each slice along a dim: index_select, index_add, index_copy, index_fill.

use super::{begin, begun, dim, is_index, line, line_mut, line_shape, out_of_self, shaded_index, still, stretched};
use crate::args::{Arg, Args};
use crate::core::Core;
use crate::device::{cpu, gpu};
use crate::dtype::{DType, Scalar, legacy_name};
use crate::ensure;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::ops::def::{Builder, Call, Metas, op};
use crate::ops::infer::check_fits;
use crate::ops::support::{at_least_1d, one, out_of_range, out_of_range_runtime};
use firesteel_kernels::MAX_RANK;
use firesteel_kernels::index::{self, ScatterReduce, Source};

fn select_infer(a: &Args) -> Result<Metas> {
    let (t, d, i) = (a.tensor(0), dim(a)?, a.tensor(2));
    if i.rank() > 1 {
        return Error::index("index_select(): Index is supposed to be a vector");
    }
    ensure!(
        is_index(i.dtype),
        "index_select(): Expected dtype int32 or int64 for index"
    );
    let mut shape = *t.shape();
    if shape.is_empty() {
        ensure!(
            i.numel() == 1,
            "index_select(): Index to scalar can have only 1 value, got {} value(s)",
            i.numel()
        );
    } else {
        shape[d] = i.numel();
    }
    one(shape, t.dtype)
}

fn select_run(c: &Call) -> Result<()> {
    let (t, i) = (c.args.tensor(0), cpu::cast(c.args.tensor(2), DType::I64)?);
    let (from, at, to) = (line(t), line(&i).typed(), line_mut(&c.outs[0]));
    if of_elements(t) {
        return index::gather(from, 0, at, to, c.fresh).map_err(out_of_self);
    }
    index::index_select(from, dim(c.args)?, at, to, false).map_err(out_of_self)
}

/// Slices are single elements, which have kernels of their own.
fn of_elements(t: &Core) -> bool {
    t.rank() < 2
}

fn select_on_gpu(c: &Call) -> Result<()> {
    let (t, i, out) = (c.args.tensor(0), shaded_index(c.args.tensor(2))?, &c.outs[0]);
    let (d, from, to) = (
        dim(c.args)?,
        at_least_1d(&t.layout),
        out.with_layout(at_least_1d(&out.layout)),
    );
    let shape = *to.shape();
    let mut strides = [0isize; MAX_RANK];
    strides[d] = at_least_1d(&i.layout).strides()[0];
    let source = gpu::Source {
        indices: &i,
        layout: Layout::strided(shape, &strides[..shape.len()], i.layout.offset),
        stride: from.strides()[d] as usize,
        size: from.shape[d],
    };
    let over = Layout::strided(shape, still(&from, d).strides(), from.offset);
    gpu::take("index_select", t, over, &[source], false, &to)
}

/// Index and source of index_add and index_copy.
fn check_slices(a: &Args, name: &str) -> Result<Metas> {
    let (t, d, i, s) = (a.tensor(0), dim(a)?, a.tensor(2), a.tensor(3));
    if i.rank() > 1 {
        return Error::index(format!(
            "{name}_(): Index is supposed to be a vector, but got dim: {} with type: {} and size: {}",
            i.rank(),
            legacy_name(i.dtype),
            i.shape()
        ));
    }
    ensure!(
        t.dtype == s.dtype,
        "{name}_(): self ({}) and source ({}) must have the same scalar type",
        legacy_name(t.dtype),
        legacy_name(s.dtype)
    );
    let (to, from) = (line_shape(t), line_shape(s));
    ensure!(
        to.len() == from.len() && (0..to.len()).all(|e| e == d || to[e] == from[e]),
        "source tensor shape must match self tensor shape, excluding the specified dimension. Got self.shape = {} \
         source.shape = {}",
        t.shape(),
        s.shape()
    );
    one(*t.shape(), t.dtype)
}

fn add_infer(a: &Args) -> Result<Metas> {
    let metas = check_slices(a, "index_add")?;
    let (i, from, d) = (a.tensor(2), line_shape(a.tensor(3)), dim(a)?);
    ensure!(
        is_index(i.dtype),
        "index_add_(): Expected dtype int32/int64 for index but got: {}",
        legacy_name(i.dtype)
    );
    ensure!(
        i.numel() == from[d],
        "index_add_(): Number of indices ({}) should be equal to source.size(dim): ({}), for dim: {d}",
        i.numel(),
        from[d]
    );
    Ok(metas)
}

fn add_run(c: &Call) -> Result<()> {
    let (t, i) = (c.args.tensor(0), cpu::cast(c.args.tensor(2), DType::I64)?);
    let work = t.dtype.compute();
    let (out, src) = (begin(c, work)?, cpu::cast(c.args.tensor(3), work)?);
    let (to, at, alpha) = (line_mut(&out.core), line(&i).typed(), c.args.scalar(4));
    let added = if of_elements(t) && alpha.to_f64() == 1.0 && work != DType::Bool {
        index::scatter_reduce(to, 0, at, line(&src), ScatterReduce::Sum, true, c.fresh)
    } else {
        index::index_add(to, dim(c.args)?, at, line(&src), alpha)
    };
    added.map_err(out_of_range_runtime)?;
    out.store();
    Ok(())
}

fn copy_infer(a: &Args) -> Result<Metas> {
    let (to, from) = (a.tensor(0).rank(), a.tensor(3).rank());
    if to != from && to > 0 && from > 0 {
        return Error::index(format!(
            "index_copy_(): When source and destination are not scalars, their dimensionality must match. Source \
             dimensionality ({from}), destination dimensionality ({to})"
        ));
    }
    let metas = check_slices(a, "index_copy")?;
    let (i, from, d) = (a.tensor(2), line_shape(a.tensor(3)), dim(a)?);
    ensure!(
        i.dtype == DType::I64,
        "index_copy_(): Expected a long tensor for index, but got {}",
        legacy_name(i.dtype)
    );
    if i.numel() != from[d] {
        return Error::index(format!(
            "index_copy_(): Number of indices ({}) should be equal to source.size(dim) ({})",
            i.numel(),
            from[d]
        ));
    }
    Ok(metas)
}

fn copy_run(c: &Call) -> Result<()> {
    let (t, i, s) = (c.args.tensor(0), c.args.tensor(2), c.args.tensor(3));
    let out = begin(c, t.dtype)?;
    let (to, at) = (line_mut(&out.core), line(i).typed());
    let copied = if of_elements(t) {
        index::scatter(to, 0, at, Source::View(line(s)), c.fresh)
    } else {
        index::index_copy(to, dim(c.args)?, at, line(s))
    };
    copied.map_err(out_of_range)?;
    out.store();
    Ok(())
}

/// Slices by a vector of indices.
fn slices_on_gpu(c: &Call, add: Option<f64>) -> Result<()> {
    let out = begun(c)?;
    let (i, s) = (shaded_index(c.args.tensor(2))?, c.args.tensor(3));
    let d = dim(c.args)?;
    let (place, from) = (at_least_1d(&out.layout), at_least_1d(&s.layout));
    let along = at_least_1d(&i.layout);
    let still = Layout::strided(place.shape, &[0; MAX_RANK][..place.rank()], along.offset);
    let indices = (&i, still, along.strides()[0] as usize);
    let values = Ok((s, stretched(&from, d, place.shape[d]), from.strides()[d] as usize));
    gpu::put_lines(
        "index_add",
        &out,
        place,
        d,
        i.numel(),
        indices,
        values,
        add,
        None,
        false,
    )
}

fn fill_infer(a: &Args) -> Result<Metas> {
    let (t, i) = (a.tensor(0), a.tensor(2));
    if let Arg::Tensor(v) = &a[3] {
        ensure!(
            v.rank() == 0,
            "index_fill_ only supports a 0-dimensional value tensor, but got tensor with {} dimension(s).",
            v.rank()
        );
    }
    dim(a)?;
    if i.dtype != DType::I64 {
        return Error::index("index_fill_(): Expected dtype int64 for index.");
    }
    ensure!(i.rank() <= 1, "Index has to be a vector/scalar");
    check_fits(&a[3], t.dtype)?;
    one(*t.shape(), t.dtype)
}

fn fill_run(c: &Call) -> Result<()> {
    let (t, i) = (c.args.tensor(0), c.args.tensor(2));
    let value: Scalar = match &c.args[3] {
        Arg::Tensor(v) => cpu::item(v),
        _ => c.args.scalar(3),
    };
    let out = begin(c, t.dtype)?;
    index::index_fill(line_mut(&out.core), dim(c.args)?, line(i).typed(), value).map_err(out_of_range)?;
    out.store();
    Ok(())
}

/// One value in the slices of a vector of indices.
fn fill_on_gpu(c: &Call) -> Result<()> {
    let out = begun(c)?;
    let i = shaded_index(c.args.tensor(2))?;
    let d = dim(c.args)?;
    let (place, along) = (at_least_1d(&out.layout), at_least_1d(&i.layout));
    let still = |offset| Layout::strided(place.shape, &[0; MAX_RANK][..place.rank()], offset);
    let value;
    let values = match &c.args[3] {
        Arg::Tensor(v) => {
            value = gpu::cast(v, out.dtype)?;
            Ok((&value, still(value.layout.offset), 0))
        }
        _ => Err(c.args.scalar(3).to_f64()),
    };
    let indices = (&i, still(along.offset), along.strides()[0] as usize);
    gpu::put_lines(
        "index_fill",
        &out,
        place,
        d,
        i.numel(),
        indices,
        values,
        None,
        None,
        true,
    )
}

pub fn ops() -> Vec<Builder> {
    vec![
        op("index_select(input, dim: int, index)", "The slices of a dim that a vector of indices names. One out of range raises IndexError.").compute(select_infer, select_run).gpu(select_on_gpu),
        op("index_add(input, dim: int, index, source, *, alpha: Scalar = 1)", "The input with alpha times the slices of source added at the index's places along `dim`, in order. A place out of range raises RuntimeError.")
            .compute(add_infer, add_run)
            .gpu(|c| {
                gpu::floats_only([c.args.tensor(0)])?;
                slices_on_gpu(c, Some(c.args.scalar(4).to_f64()))
            })
            .updates_self(),
        op("index_copy(input, dim: int, index, source)", "The input with the slices of source written to the index's places along `dim`. A place out of range raises IndexError.")
            .compute(copy_infer, copy_run)
            .gpu(|c| slices_on_gpu(c, None))
            .updates_self(),
        op("index_fill(input, dim: int, index, value: Operand)", "The input with one value in the slices that the index names; negative ones count from the end. A place out of range raises IndexError.")
            .compute(fill_infer, fill_run)
            .gpu(fill_on_gpu)
            .updates_self(),
    ]
}
