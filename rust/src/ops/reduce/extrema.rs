//! Largest and smallest elements, and where they are.

use super::{MAX, MIN, everything, fold, shade};
use crate::args::Args;
use crate::device::cpu;
use crate::device::gpu::{self, Fold, Word, float};
use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::layout::Dims;
use crate::ops::def::{Builder, Call, Meta, Metas, op};
use crate::ops::infer::{self, arithmetic, axes, keepdim_layout, reduced};
use crate::ops::support::{self, Mask, computed, not_empty, one, packed, single};
use firesteel_kernels::elementwise::{self, Binary};
use firesteel_kernels::reduce::{self, Reduce};
use smallvec::smallvec;

fn nothing_to_reduce(name: &str) -> String {
    format!(
        "{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' \
         argument."
    )
}

fn extremum_infer(a: &Args, name: &str) -> Result<Metas> {
    let t = a.tensor(0);
    if t.numel() == 0 {
        return Error::runtime(nothing_to_reduce(name));
    }
    one(Dims::EMPTY, arithmetic(t.dtype)?)
}

fn shade_extremum(c: &Call, max: bool, mask: &Mask) -> Result<()> {
    let fold = match (c.args.tensor(0).dtype, max) {
        (DType::F32, true) => MAX,
        (DType::F32, false) => MIN,
        (_, true) => Fold::ints(Word::Int, "-2147483647 - 1", "max(acc, v)", "max(acc, v)"),
        (_, false) => Fold::ints(Word::Int, "2147483647", "min(acc, v)", "min(acc, v)"),
    };
    shade(c, mask, &fold)
}

fn extremum_dim_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    let (d, mask) = single(a.int(1), t.rank())?;
    not_empty(t.shape(), d)?;
    let shape = reduced(t.shape(), &mask, a.bool(2));
    Ok(smallvec![
        Meta::new(shape, arithmetic(t.dtype)?),
        Meta::new(shape, DType::I64)
    ])
}

fn extremum_dim_run(c: &Call, max: bool) -> Result<()> {
    let x = computed(c.args.tensor(0))?;
    let (d, mask) = single(c.args.int(1), x.rank())?;
    let values = cpu::output(&c.outs[0], x.dtype)?;
    let at = keepdim_layout(&values.core, x.shape(), &mask);
    let places = keepdim_layout(&c.outs[1], x.shape(), &mask);
    let into = Some(cpu::dst_as(&values.core, &at));
    reduce::arg_reduce(max, cpu::src(&x), d, into, cpu::dst_as(&c.outs[1], &places));
    values.store();
    Ok(())
}

fn shade_extremum_dim(c: &Call, max: bool) -> Result<()> {
    let x = c.args.tensor(0);
    let (d, mask) = single(c.args.int(1), x.rank())?;
    if x.rank() == 0 {
        gpu::copy(x, &c.outs[0])?;
        return gpu::fill(&c.outs[1], Scalar::Int(0));
    }
    let [values, places] = [0, 1].map(|i| c.outs[i].with_layout(keepdim_layout(&c.outs[i], x.shape(), &mask)));
    gpu::arg_reduce(max, x, d, Some(&values), &places)
}

fn promoted(a: &Args) -> Result<Metas> {
    infer::promoted(a, 0..2)
}

fn pairwise(c: &Call, kind: Binary) -> Result<()> {
    let out = &c.outs[0];
    let [a, b] = [0, 1].map(|i| cpu::operand(c.args, i, out.shape()));
    elementwise::binary(kind, c.compute, a, b, cpu::dst(out));
    Ok(())
}

fn am_infer(a: &Args, name: &str) -> Result<Metas> {
    let t = a.tensor(0);
    let mask = axes(Some(a.ints(1)), t.rank())?;
    if t.numel() == 0 {
        if a.ints(1).is_empty() {
            return Error::runtime(nothing_to_reduce(name));
        }
        (0..t.rank())
            .filter(|&d| mask[d])
            .try_for_each(|d| not_empty(t.shape(), d))?;
    }
    one(reduced(t.shape(), &mask, a.bool(2)), arithmetic(t.dtype)?)
}

fn both_infer(a: &Args) -> Result<Metas> {
    let meta = am_infer(a, "aminmax")?;
    Ok(smallvec![meta[0].clone(), meta[0].clone()])
}

fn both_run(c: &Call) -> Result<()> {
    let x = c.args.tensor(0);
    let mask = axes(Some(c.args.ints(1)), x.rank())?;
    let [low, high] = [0, 1].map(|i| keepdim_layout(&c.outs[i], x.shape(), &mask));
    let (low, high) = (cpu::dst_as(&c.outs[0], &low), cpu::dst_as(&c.outs[1], &high));
    if !reduce::extrema(cpu::src(x), &mask[..x.rank()], Some(low), Some(high)) {
        reduce::reduce(Reduce::Min, x.dtype, cpu::src(x), &mask[..x.rank()], low);
        reduce::reduce(Reduce::Max, x.dtype, cpu::src(x), &mask[..x.rank()], high);
    }
    Ok(())
}

fn arg_infer(a: &Args, name: &str) -> Result<Metas> {
    let t = a.tensor(0);
    if arithmetic(t.dtype)? == DType::Bool {
        return Error::runtime(format!("{name}(): does not support bool input"));
    }
    let mask = match a.opt_int(1) {
        Some(d) => {
            let (d, mask) = single(d, t.rank())?;
            not_empty(t.shape(), d)?;
            mask
        }
        None if t.numel() == 0 => return Error::index(nothing_to_reduce(name)),
        None => everything(a)?,
    };
    one(reduced(t.shape(), &mask, a.bool(2)), DType::I64)
}

fn arg_run(c: &Call, max: bool) -> Result<()> {
    let (x, out) = (computed(c.args.tensor(0))?, &c.outs[0]);
    match c.args.opt_int(1) {
        Some(d) => {
            let (d, mask) = single(d, x.rank())?;
            let places = keepdim_layout(out, x.shape(), &mask);
            reduce::arg_reduce(max, cpu::src(&x), d, None, cpu::dst_as(out, &places));
        }
        None => {
            let n = Dims::new(&[x.numel()])?;
            let flat = cpu::contiguous(&x, x.dtype)?;
            let all = packed(n, flat.layout.offset);
            let place = packed(Dims::new(&[1])?, out.layout.offset);
            reduce::arg_reduce(max, cpu::src_as(&flat, &all), 0, None, cpu::dst_as(out, &place));
        }
    }
    Ok(())
}

fn shade_arg(c: &Call, max: bool) -> Result<()> {
    let (x, out) = (c.args.tensor(0), &c.outs[0]);
    match c.args.opt_int(1) {
        Some(d) if x.rank() > 0 => {
            let (d, mask) = single(d, x.rank())?;
            let places = out.with_layout(keepdim_layout(out, x.shape(), &mask));
            gpu::arg_reduce(max, x, d, None, &places)
        }
        _ => gpu::arg_flat(max, x, out),
    }
}

macro_rules! extrema {
    ($name:literal, $kind:ident, $max:literal, $pair:ident, $which:literal) => {
        [
            op(concat!($name, "(input)"), concat!("The ", $which, " element; NaN if there is one. An empty tensor raises RuntimeError."))
                .compute(|a| extremum_infer(a, $name), |c| fold(c, Reduce::$kind, &everything(c.args)?))
                .gpu(|c| shade_extremum(c, $max, &everything(c.args)?)),
            // Before `.dim`: a 0-d integer tensor is the other operand, not a dim.
            op(concat!($name, ".other(input, other)"), concat!("The ", $which, " of two elements, broadcast; NaN if either is."))
                .compute(promoted, |c| pairwise(c, Binary::$pair))
                .gpu(|c| {
                    let map = if $max { float("fs_max(a, b)").int("max(a, b)") } else { float("fs_min(a, b)").int("min(a, b)") };
                    support::shade(c, &map.long())
                })
                .elementwise()
                .no_inplace(),
            op(
                concat!($name, ".dim(input, dim: int, keepdim: bool = False) -> (values, indices)"),
                concat!("The ", $which, " elements along a dim and where they are (the first of equals); an empty dim raises IndexError."),
            )
            .compute(extremum_dim_infer, |c| extremum_dim_run(c, $max))
            .gpu(|c| shade_extremum_dim(c, $max))
            .nondiff_output(1),
            op(
                concat!("a", $name, "(input, dim: int[1] = [], keepdim: bool = False)"),
                concat!("The ", $which, " elements over some dims (all, if none is named); equals share the gradient. An empty dim raises IndexError."),
            )
            .compute(|a| am_infer(a, concat!("a", $name)), |c| fold(c, Reduce::$kind, &axes(Some(c.args.ints(1)), c.args.tensor(0).rank())?))
            .gpu(|c| shade_extremum(c, $max, &axes(Some(c.args.ints(1)), c.args.tensor(0).rank())?)),
            op(
                concat!("arg", $name, "(input, dim: int? = None, keepdim: bool = False)"),
                concat!("Index of the ", $which, " element along a dim, or in the flattened tensor; the first of equals. Bool raises RuntimeError."),
            )
            .compute(|a| arg_infer(a, concat!("arg", $name)), |c| arg_run(c, $max))
            .gpu(|c| shade_arg(c, $max)),
        ]
    };
}

pub fn ops() -> Vec<Builder> {
    let mut all = Vec::from(extrema!("max", Max, true, Maximum, "largest"));
    all.extend(extrema!("min", Min, false, Minimum, "smallest"));
    all.push(
        op(
            "_aminmax(input, dim: int[1] = [], keepdim: bool = False) -> (low, high)",
            "What amin and amax give, in one pass.",
        )
        .compute(both_infer, both_run)
        .function_only(),
    );
    all
}
