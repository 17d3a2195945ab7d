//! An index for each element: gather, scatter and their like.

use super::{begin, begun, dim, is_index, line, line_mut, line_shape, shaded_index, still, stretched};
use crate::args::{Arg, Args};
use crate::core::Core;
use crate::device::{cpu, gpu};
use crate::dtype::DType;
use crate::ensure;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::ops::def::{Builder, Call, Metas, op};
use crate::ops::infer::check_fits;
use crate::ops::support::{at_least_1d, not_for, one, out_of_range_runtime};
use firesteel_kernels::index::{self, ScatterReduce, Source};

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
    check_fits(&a[3], t.dtype)?;
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

pub fn ops() -> Vec<Builder> {
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
