//! Sums, means, products, logarithms of sums of exponentials, and the sum that undoes a broadcast.

use super::{MAX, SUM, count_of, everything, fold, shade, shade_of, with_views};
use crate::args::{Arg, Args};
use crate::core::Core;
use crate::device::cpu;
use crate::device::gpu::{self, Fold, Word};
use crate::dtype::{DType, legacy_name};
use crate::error::{Error, Result};
use crate::layout::{Dims, Layout, expands_to};
use crate::ops::def::{Builder, Call, Metas, op};
use crate::ops::infer::{arithmetic, axes, float_of, keepdim_layout, reduced};
use crate::ops::support::{Mask, one, single};
use firesteel_kernels::MAX_RANK;
use firesteel_kernels::reduce::{self, Reduce};

/// Integers and bool add up in int64, unless a dtype is asked for.
fn long_or(a: &Args, dtype: usize) -> Result<DType> {
    let d = arithmetic(a.tensor(0).dtype)?;
    Ok(a.dtype(dtype).unwrap_or(if d.is_float() { d } else { DType::I64 }))
}

/// A sum or product; truth values are numbers in it.
fn counted(c: &Call, kind: Reduce, mask: &Mask) -> Result<()> {
    let work = c.outs[0].dtype.compute();
    // Truth values are counted without a step by way of int64.
    let truth = c.args.tensor(0).dtype == DType::Bool;
    let (from, to) = match work {
        DType::I64 if truth => (DType::Bool, work),
        DType::Bool => (work, DType::I64),
        _ => (work, work),
    };
    with_views(c, mask, to, |x, axes, out| reduce::reduce(kind, from, x, axes, out))
}

fn sum_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    let d = long_or(a, 3)?;
    one(reduced(t.shape(), &axes(a.opt_ints(1), t.rank())?, a.bool(2)), d)
}

fn sum_run(c: &Call) -> Result<()> {
    counted(c, Reduce::Sum, &axes(c.args.opt_ints(1), c.args.tensor(0).rank())?)
}

/// Sums and products: of floats, of integers asked for as int32, and how many truth values are true.
fn shade_sum(c: &Call, mask: &Mask, product: bool) -> Result<()> {
    let (from, to) = (c.args.tensor(0).dtype, c.outs[0].dtype);
    if to == DType::F32 {
        let fold = if product {
            Fold::floats("1.0", "acc * v", "acc * v").empty(1.0)
        } else {
            SUM
        };
        return shade(c, mask, &fold);
    }
    // A count fits in 32 bits; a sum of int64 may not.
    let countable = from == DType::Bool && !product;
    if to != DType::I32 && !countable || from == DType::F32 {
        return gpu::not_for(if from == DType::F32 { to } else { DType::I64 });
    }
    let fold = if product {
        Fold::ints(Word::Int, "1", "acc * v", "acc * v").empty(1.0)
    } else {
        Fold::ints(Word::Int, "0", "acc + v", "acc + v")
    };
    shade(c, mask, &fold)
}

fn mean_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    let (d, what) = a.dtype(3).map_or((t.dtype, "Input"), |d| (d, "Optional"));
    if !d.is_float() {
        return Error::runtime(format!(
            "mean(): could not infer output dtype. {what} dtype must be either a floating point or complex dtype. Got: {}",
            legacy_name(d)
        ));
    }
    one(reduced(t.shape(), &axes(a.opt_ints(1), t.rank())?, a.bool(2)), d)
}

fn mean_run(c: &Call) -> Result<()> {
    let mask = axes(c.args.opt_ints(1), c.args.tensor(0).rank())?;
    let work = c.outs[0].dtype.compute();
    with_views(c, &mask, work, reduce::mean)
}

fn shade_mean(c: &Call) -> Result<()> {
    let t = c.args.tensor(0);
    let mask = axes(c.args.opt_ints(1), t.rank())?;
    let n = count_of(t, &mask);
    shade(c, &mask, &SUM.finish("acc / n0", [n, 0.0]).empty(f64::NAN))
}

/// Sums and means over all dims or the last one.
fn small_sums(a: &Args, mean: bool) -> Option<Core> {
    let x = a.tensor(0);
    let all = match &a[1] {
        Arg::None => true,
        Arg::Ints(d) => match d[..] {
            [] => true,
            [d] if d == -1 || d == x.rank() as i64 - 1 => x.rank() <= 1,
            _ => return None,
        },
        _ => return None,
    };
    let values = cpu::small(x).filter(|_| matches!(a[3], Arg::None))?;
    let n = if all { values.len() } else { x.shape()[x.rank() - 1] };
    if n == 1 && !all {
        return None;
    }
    let mut shape = [1; MAX_RANK];
    let kept = if all { 0 } else { x.rank() - 1 };
    shape[..kept].copy_from_slice(&x.shape()[..kept]);
    let rank = if a.bool(2) { x.rank() } else { kept };
    cpu::made(&shape[..rank], |out| reduce::sum_rows(values, n, mean, out))
}

fn prod_dim_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    one(
        reduced(t.shape(), &single(a.int(1), t.rank())?.1, a.bool(2)),
        long_or(a, 3)?,
    )
}

fn logsumexp_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    let d = float_of(arithmetic(t.dtype)?);
    one(reduced(t.shape(), &axes(Some(a.ints(1)), t.rank())?, a.bool(2)), d)
}

fn logsumexp(c: &Call) -> Result<()> {
    let work = c.outs[0].dtype.compute();
    let x = cpu::dense(&cpu::cast(c.args.tensor(0), work)?)?;
    let mask = axes(Some(c.args.ints(1)), x.rank())?;
    let out = cpu::output(&c.outs[0], work)?;
    let layout = keepdim_layout(&out.core, x.shape(), &mask);
    let to = cpu::dst_as(&out.core, &layout);
    reduce::reduce(Reduce::LogSumExp, work, cpu::src(&x), &mask[..x.rank()], to);
    out.store();
    Ok(())
}

/// The maximum, then the sum of exponentials beneath it.
fn shade_logsumexp(c: &Call) -> Result<()> {
    let t = gpu::cast(c.args.tensor(0), DType::F32)?;
    let mask = axes(Some(c.args.ints(1)), t.rank())?;
    let top = gpu::temporary(reduced(t.shape(), &mask, true))?;
    gpu::reduce(&MAX.empty(0.0), &t, &mask[..t.rank()], None, &top, &top.layout)?;
    let operands = [gpu::Input::core(&top)?];
    gpu::elementwise(&top, Word::Float, "select(a, 0.0, fs_isinf(a))", &operands)?;
    let sum = Fold::floats("0.0", "acc + fs_exp(v - b)", "acc + v").finish("fs_log(acc)", [0.0; 2]);
    shade_of(c, &t, &mask, Some(&top), &sum.empty(f64::NEG_INFINITY))?;
    let out = &c.outs[0];
    let flat = top.with_layout(Layout::contiguous(*out.shape()));
    let operands = [gpu::Input::core(out)?, gpu::Input::core(&flat)?];
    gpu::elementwise(out, Word::Float, "a + b", &operands)
}

fn sum_to_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    let shape = Dims::from_ints(a.ints(1))?;
    if !expands_to(&shape, t.shape()) {
        return Error::runtime(format!(
            "a tensor of shape {} cannot be summed to shape {shape}",
            t.shape()
        ));
    }
    one(shape, arithmetic(t.dtype)?)
}

/// The dims that a tensor of shape `from` is summed over into `out`, and the layout of `out` with them, of size 1.
fn summed(from: &Dims, out: &Core) -> (Mask, Layout) {
    let pad = from.len() - out.rank();
    let mut mask = [false; MAX_RANK];
    let mut shape = *from;
    let mut strides = [0isize; MAX_RANK];
    for d in 0..from.len() {
        if d < pad || out.shape()[d - pad] != shape[d] {
            mask[d] = true;
            shape[d] = 1;
        } else {
            strides[d] = out.layout.strides()[d - pad];
        }
    }
    (mask, Layout::strided(shape, &strides, out.layout.offset))
}

fn sum_to_run(c: &Call) -> Result<()> {
    let (t, out) = (c.args.tensor(0), &c.outs[0]);
    if t.shape() == out.shape() {
        cpu::copy(t, out);
        return Ok(());
    }
    let work = if t.dtype == DType::Bool {
        DType::I64
    } else {
        t.dtype.compute()
    };
    let to = cpu::output(out, work)?;
    let (mask, layout) = summed(t.shape(), &to.core);
    let into = cpu::dst_as(&to.core, &layout);
    reduce::reduce(Reduce::Sum, t.dtype.compute(), cpu::src(t), &mask[..t.rank()], into);
    to.store();
    Ok(())
}

fn shade_sum_to(c: &Call) -> Result<()> {
    let (t, out) = (c.args.tensor(0), &c.outs[0]);
    if t.shape() == out.shape() {
        return gpu::copy(t, out);
    }
    gpu::floats_only([t])?;
    let (mask, place) = summed(t.shape(), out);
    gpu::reduce(&SUM, t, &mask[..t.rank()], None, out, &place)
}

pub fn ops() -> Vec<Builder> {
    vec![
        op("sum(input, dim: int[1]? = None, keepdim: bool = False, *, dtype: dtype? = None)", "The sum over some dims, or over all; integers and bool add up in int64.\n\n>>> firesteel.tensor([[1., 2.], [3., 4.]]).sum(dim=0)\ntensor([4., 6.])")
            .compute(sum_infer, sum_run)
            .gpu(|c| shade_sum(c, &axes(c.args.opt_ints(1), c.args.tensor(0).rank())?, false))
            .whole(|a| small_sums(a, false)),
        op("_nansum(input, dim: int[1]? = None, keepdim: bool = False, *, dtype: dtype? = None)", "The sum of the floats that are not NaN, as a float.")
            .compute(mean_infer, |c| fold(c, Reduce::NanSum, &axes(c.args.opt_ints(1), c.args.tensor(0).rank())?))
            .function_only(),
        op("mean(input, dim: int[1]? = None, keepdim: bool = False, *, dtype: dtype? = None)", "The mean over some dims, or over all, of floats; NaN of nothing. Integers raise RuntimeError unless `dtype` is a float.")
            .compute(mean_infer, mean_run)
            .gpu(shade_mean)
            .whole(|a| small_sums(a, true)),
        op("prod(input, *, dtype: dtype? = None)", "The product of all elements, 1 of none; integers and bool multiply in int64.")
            .compute(|a| one(Dims::EMPTY, long_or(a, 1)?), |c| counted(c, Reduce::Prod, &everything(c.args)?))
            .gpu(|c| shade_sum(c, &everything(c.args)?, true)),
        op("prod.dim(input, dim: int, keepdim: bool = False, *, dtype: dtype? = None)", "The product along a dim; integers and bool multiply in int64.")
            .compute(prod_dim_infer, |c| counted(c, Reduce::Prod, &single(c.args.int(1), c.args.tensor(0).rank())?.1))
            .gpu(|c| shade_sum(c, &single(c.args.int(1), c.args.tensor(0).rank())?.1, true)),
        op("logsumexp(input, dim: int[1], keepdim: bool = False)", "log(sum(exp(input))) over some dims, without overflow; integers become floats.")
            .compute(logsumexp_infer, logsumexp)
            .gpu(shade_logsumexp),
        op("_sum_to(input, size: int[])", "The sum over the dims by which a tensor of shape `size` was broadcast to the input's shape.")
            .compute(sum_to_infer, sum_to_run)
            .gpu(shade_sum_to)
            .function_only(),
    ]
}
