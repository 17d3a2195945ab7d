//! Reading and writing along one dim: gather, scatter, index_select and their like, embedding.

use super::def::{Builder, Call, Metas, op};
use super::support::{
    at_least_1d, computed, float_only, not_for, one, out_of_range, out_of_range_runtime, output_as, reshaped, row,
};
use crate::args::{Arg, Args};
use crate::core::Core;
use crate::device::cpu::{self, Output};
use crate::device::gpu;
use crate::dtype::{DType, Scalar, legacy_name};
use crate::ensure;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Dims, Layout, wrap_dim};
use firesteel_kernels::index::{self, ScatterReduce, Source};
use firesteel_kernels::{AnyDst, AnySrc};

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

// ---- an index per element ---------------------------------------------------------------------------------------------

/// Checks an index for gather (`src` none) or scatter.
fn check_elements(a: &Args, name: &str, src: Option<&Core>) -> Result<()> {
    let (t, i, d) = (a.tensor(0), a.tensor(2), dim(a)?);
    // PyTorch does not look at the dtype of an empty index.
    ensure!(
        is_index(i.dtype) || i.numel() == 0,
        "{name}(): Expected dtype int32/int64 for index"
    );
    if let Some(s) = src {
        ensure!(
            t.dtype == s.dtype,
            "{name}(): Expected self.dtype to be equal to src.dtype"
        );
    }
    if i.numel() == 0 {
        return Ok(());
    }
    let (to, at) = (line_shape(t), line_shape(i));
    ensure!(
        at.len() == to.len(),
        "Index tensor must have the same number of dimensions as input tensor"
    );
    let inside = |d: usize| at[d] <= to[d];
    let bad = (0..at.len()).find(|&e| e != d && !inside(e));
    let Some(s) = src else {
        return match bad {
            None => Ok(()),
            Some(e) => Error::runtime(format!(
                "Size does not match at dimension {e} expected index {} to be no larger than self {} apart from dimension {d}",
                i.shape(),
                t.shape()
            )),
        };
    };
    let from = line_shape(s);
    ensure!(
        from.len() == to.len(),
        "Index tensor must have the same number of dimensions as src tensor"
    );
    ensure!(
        bad.is_none() && (0..at.len()).all(|e| at[e] <= from[e]),
        "Expected index {} to be no larger than self {} apart from dimension {d} and to be no larger size than src {}",
        i.shape(),
        t.shape(),
        s.shape()
    );
    Ok(())
}

fn gather_infer(a: &Args) -> Result<Metas> {
    check_elements(a, "gather", None)?;
    one(*a.tensor(2).shape(), a.tensor(0).dtype)
}

fn gather_run(c: &Call) -> Result<()> {
    let (t, i) = (c.args.tensor(0), cpu::cast(c.args.tensor(2), DType::I64)?);
    if i.numel() == 0 {
        return Ok(());
    }
    let to = line_mut(&c.outs[0]);
    index::gather(line(t), dim(c.args)?, line(&i).typed(), to, c.fresh).map_err(out_of_range_runtime)
}

/// The source's part that the index covers: kernels read views of the index's shape.
fn covered(src: &Core, i: &Core) -> Core {
    let mut l = at_least_1d(&src.layout);
    for (d, &n) in line_shape(i).iter().enumerate() {
        l = l.slice(d, 0, n, 1);
    }
    src.with_layout(l)
}

fn scatter_infer(a: &Args) -> Result<Metas> {
    check_elements(a, "scatter", Some(a.tensor(3)))?;
    one(*a.tensor(0).shape(), a.tensor(0).dtype)
}

fn scatter_value_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    check_elements(a, "scatter", None)?;
    super::infer::check_fits(&a[3], t.dtype)?;
    one(*t.shape(), t.dtype)
}

fn scatter_run(c: &Call) -> Result<()> {
    let (t, i) = (c.args.tensor(0), cpu::cast(c.args.tensor(2), DType::I64)?);
    let out = begin(c, t.dtype)?;
    if i.numel() > 0 {
        let src;
        let source = match &c.args[3] {
            Arg::Scalar(s) => Source::Scalar(*s),
            _ => {
                src = covered(c.args.tensor(3), &i);
                Source::View(cpu::src(&src))
            }
        };
        let to = line_mut(&out.core);
        index::scatter(to, dim(c.args)?, line(&i).typed(), source, c.fresh).map_err(out_of_range_runtime)?;
    }
    out.store();
    Ok(())
}

fn joined(c: &Call, kind: ScatterReduce, include_self: bool) -> Result<()> {
    let (t, i) = (c.args.tensor(0), cpu::cast(c.args.tensor(2), DType::I64)?);
    let work = t.dtype.compute();
    let out = begin(c, work)?;
    if i.numel() > 0 {
        let src = cpu::cast(&covered(c.args.tensor(3), &i), work)?;
        let (to, at) = (line_mut(&out.core), line(&i).typed());
        index::scatter_reduce(to, dim(c.args)?, at, cpu::src(&src), kind, include_self, c.fresh)
            .map_err(out_of_range_runtime)?;
    }
    out.store();
    Ok(())
}

fn reduction(a: &Args) -> Result<ScatterReduce> {
    Ok(match a.str(4) {
        "sum" | "add" => ScatterReduce::Sum,
        "prod" | "multiply" => ScatterReduce::Prod,
        "mean" => ScatterReduce::Mean,
        "amax" | "max" => ScatterReduce::Max,
        "amin" | "min" => ScatterReduce::Min,
        other => {
            return Error::runtime(format!(
                "reduce argument must be either sum, prod, mean, amax or amin, got {other}"
            ));
        }
    })
}

// ---- an index per slice -----------------------------------------------------------------------------------------------

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

fn out_of_self(e: index::IndexError) -> Error {
    Error::new(ErrorKind::Index, format!("index out of range in self: {e}"))
}

fn select_run(c: &Call) -> Result<()> {
    let (t, i) = (c.args.tensor(0), cpu::cast(c.args.tensor(2), DType::I64)?);
    index::index_select(line(t), dim(c.args)?, line(&i).typed(), line_mut(&c.outs[0]), false).map_err(out_of_self)
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
    let (to, alpha) = (line_mut(&out.core), c.args.scalar(4));
    index::index_add(to, dim(c.args)?, line(&i).typed(), line(&src), alpha).map_err(out_of_range_runtime)?;
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
    index::index_copy(line_mut(&out.core), dim(c.args)?, line(i).typed(), line(s)).map_err(out_of_range)?;
    out.store();
    Ok(())
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
    super::infer::check_fits(&a[3], t.dtype)?;
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

// ---- embedding --------------------------------------------------------------------------------------------------------

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
    let (g, i) = (computed(c.args.tensor(0))?, flat_indices(c.args.tensor(1))?);
    let out = cpu::output(&c.outs[0], g.dtype)?;
    let g = reshaped(&g, &row(&[i.numel(), out.core.shape()[1]]))?;
    let padding = Some(c.args.int(3)).filter(|&p| p >= 0);
    index::embedding_backward(cpu::src(&g), cpu::typed(&i), out.dst(), padding).map_err(out_of_self)?;
    out.store();
    Ok(())
}

// ---- on the gpu -------------------------------------------------------------------------------------------------------

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
    let mut strides: [isize; firesteel_kernels::MAX_RANK] = [0; firesteel_kernels::MAX_RANK];
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

fn gather_on_gpu(c: &Call) -> Result<()> {
    let (t, i, out) = (c.args.tensor(0), shaded_index(c.args.tensor(2))?, &c.outs[0]);
    if i.numel() == 0 {
        return Ok(());
    }
    let (d, from) = (dim(c.args)?, at_least_1d(&t.layout));
    let over = Layout::strided(line_shape(&i), still(&from, d).strides(), from.offset);
    let source = gpu::Source {
        indices: &i,
        layout: at_least_1d(&i.layout),
        stride: from.strides()[d] as usize,
        size: from.shape[d],
    };
    let to = out.with_layout(at_least_1d(&out.layout));
    gpu::take("gather", t, over, &[source], false, &to)
}

/// The output holding the input's elements, row-major or as it is.
fn begun(c: &Call) -> Result<Core> {
    let (t, out) = (c.args.tensor(0), &c.outs[0]);
    if !t.same_elements(out) {
        gpu::copy(t, out)?;
    }
    Ok(out.clone())
}

/// Elements by an index of their own: `None` writes, a factor adds.
fn elements_on_gpu(c: &Call, add: Option<f64>) -> Result<()> {
    let out = begun(c)?;
    let i = shaded_index(c.args.tensor(2))?;
    if i.numel() == 0 {
        return Ok(());
    }
    let d = dim(c.args)?;
    let (il, mut place) = (at_least_1d(&i.layout), at_least_1d(&out.layout));
    for (e, &n) in il.shape.iter().enumerate() {
        if e != d {
            place = place.slice(e, 0, n, 1);
        }
    }
    let (size, count) = (place.shape[d], il.shape[d]);
    let source;
    let values = match &c.args[3] {
        Arg::Scalar(s) => Err(s.to_f64()),
        _ => {
            source = covered(c.args.tensor(3), &i);
            Ok((
                &source,
                stretched(&source.layout, d, size),
                source.layout.strides()[d] as usize,
            ))
        }
    };
    let indices = (&i, stretched(&il, d, size), il.strides()[d] as usize);
    gpu::put_lines("scatter", &out, place, d, count, indices, values, add, None, false)
}

fn add_on_gpu(c: &Call) -> Result<()> {
    gpu::floats_only([c.args.tensor(0)])?;
    elements_on_gpu(c, Some(1.0))
}

/// Slices by a vector of indices.
fn slices_on_gpu(c: &Call, add: Option<f64>) -> Result<()> {
    let out = begun(c)?;
    let (i, s) = (shaded_index(c.args.tensor(2))?, c.args.tensor(3));
    let d = dim(c.args)?;
    let (place, from) = (at_least_1d(&out.layout), at_least_1d(&s.layout));
    let along = at_least_1d(&i.layout);
    let still = Layout::strided(
        place.shape,
        &[0; firesteel_kernels::MAX_RANK][..place.rank()],
        along.offset,
    );
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

/// One value in the slices of a vector of indices.
fn fill_on_gpu(c: &Call) -> Result<()> {
    let out = begun(c)?;
    let i = shaded_index(c.args.tensor(2))?;
    let d = dim(c.args)?;
    let (place, along) = (at_least_1d(&out.layout), at_least_1d(&i.layout));
    let still = |offset| Layout::strided(place.shape, &[0; firesteel_kernels::MAX_RANK][..place.rank()], offset);
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

fn select_on_gpu(c: &Call) -> Result<()> {
    let (t, i, out) = (c.args.tensor(0), shaded_index(c.args.tensor(2))?, &c.outs[0]);
    let (d, from, to) = (
        dim(c.args)?,
        at_least_1d(&t.layout),
        out.with_layout(at_least_1d(&out.layout)),
    );
    let shape = *to.shape();
    let mut strides = [0isize; firesteel_kernels::MAX_RANK];
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

fn embedding_on_gpu(c: &Call) -> Result<()> {
    let (w, i, out) = (c.args.tensor(0), shaded_index(c.args.tensor(1))?, &c.outs[0]);
    let to = out.with_layout(out.layout);
    let rank = to.rank();
    let mut strides = [0isize; firesteel_kernels::MAX_RANK];
    strides[rank - 1] = w.layout.strides()[1];
    let over = Layout::strided(*to.shape(), &strides[..rank], w.layout.offset);
    strides = [0; firesteel_kernels::MAX_RANK];
    strides[..rank - 1].copy_from_slice(i.layout.strides());
    let source = gpu::Source {
        indices: &i,
        layout: Layout::strided(*to.shape(), &strides[..rank], i.layout.offset),
        stride: w.layout.strides()[0] as usize,
        size: w.shape()[0],
    };
    gpu::take("embedding", w, over, &[source], false, &to)
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
    let mut all = element_ops();
    all.extend(slice_ops());
    all
}

fn element_ops() -> Vec<Builder> {
    vec![
        op("gather(input, dim: int, index, *, sparse_grad: bool = False)", "input[.., index[.., j, ..], ..] in the shape of the index, whose values are places along `dim`. One out of range raises RuntimeError.")
            .compute(gather_infer, gather_run)
            .gpu(gather_on_gpu),
        op("scatter(input, dim: int, index, src)", "The input with src[.., j, ..] written to the place index[.., j, ..] along `dim`; of several for one place the last stays. A place out of range raises RuntimeError.")
            .compute(scatter_infer, scatter_run)
            .gpu(|c| elements_on_gpu(c, None))
            .updates_self(),
        op("scatter.value(input, dim: int, index, value: Scalar)", "The input with one value written to the places in the index.")
            .compute(scatter_value_infer, scatter_run)
            .gpu(|c| elements_on_gpu(c, None))
            .updates_self(),
        op("scatter_add(input, dim: int, index, src)", "The input with src[.., j, ..] added at the place index[.., j, ..] along `dim`, in order. A place out of range raises RuntimeError.")
            .compute(scatter_infer, |c| joined(c, ScatterReduce::Sum, true))
            .gpu(add_on_gpu)
            .updates_self(),
        op("scatter_reduce(input, dim: int, index, src, reduce: str, *, include_self: bool = True)", "As `scatter_add`, values of one place joined by `reduce`: sum, prod, mean, amax or amin, the input's own among them if include_self. Another word raises RuntimeError.")
            .compute(
                |a| {
                    dim(a)?;
                    let kind = reduction(a)?;
                    let metas = scatter_infer(a)?;
                    let bool_mean = kind == ScatterReduce::Mean && metas[0].dtype == DType::Bool;
                    if bool_mean { not_for(DType::Bool) } else { Ok(metas) }
                },
                |c| joined(c, reduction(c.args)?, c.args.bool(5)),
            )
            .updates_self(),
    ]
}

fn slice_ops() -> Vec<Builder> {
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
