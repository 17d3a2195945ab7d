//! Reductions: sums, means, extrema and where they are, moments, norms.

use super::def::{Builder, Call, Meta, Metas, op};
use super::infer::{self, arithmetic, axes, float_of, keepdim_layout, reduced};
use super::support::{Mask, computed, not_empty, one, packed, single};
use crate::args::{Arg, Args};
use crate::core::Core;
use crate::device::gpu::{self, Fold, Word, float};
use crate::device::{Device, cpu};
use crate::dtype::{DType, Scalar, category, legacy_name, promote};
use crate::error::{Error, Result};
use crate::layout::{Dims, Layout, expands_to};
use firesteel_kernels::elementwise::{self, Binary};
use firesteel_kernels::reduce::{self, Reduce};
use firesteel_kernels::{AnyDst, AnySrc, MAX_RANK};
use smallvec::smallvec;

/// Calls a kernel with the input in `from` and the output in `to`, reduced dims kept as the kernel wants them.
fn with_views(c: &Call, mask: &Mask, from: DType, to: DType, run: impl FnOnce(AnySrc, &[bool], AnyDst)) -> Result<()> {
    let x = cpu::cast(c.args.tensor(0), from)?;
    let out = cpu::output(&c.outs[0], to)?;
    let layout = keepdim_layout(&out.core, x.shape(), mask);
    run(cpu::src(&x), &mask[..x.rank()], cpu::dst_as(&out.core, &layout));
    out.store();
    Ok(())
}

/// Integers and bool add up in int64, unless a dtype is asked for.
fn long_or(a: &Args, dtype: usize) -> Result<DType> {
    let d = arithmetic(a.tensor(0).dtype)?;
    Ok(a.dtype(dtype).unwrap_or(if d.is_float() { d } else { DType::I64 }))
}

fn fold(c: &Call, kind: Reduce, mask: &Mask) -> Result<()> {
    let work = c.outs[0].dtype.compute();
    // Truth values are counted as they are, without a copy as int64.
    let from = if work == DType::I64 && c.args.tensor(0).dtype == DType::Bool {
        DType::Bool
    } else {
        work
    };
    let to = if work == DType::Bool { DType::I64 } else { work };
    with_views(c, mask, from, to, |x, axes, out| reduce::reduce(kind, x, axes, out))
}

fn sum_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    let d = long_or(a, 3)?;
    one(reduced(t.shape(), &axes(a.opt_ints(1), t.rank())?, a.bool(2)), d)
}

fn sum_run(c: &Call) -> Result<()> {
    fold(c, Reduce::Sum, &axes(c.args.opt_ints(1), c.args.tensor(0).rank())?)
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
    with_views(c, &mask, work, work, reduce::mean)
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

fn everything(a: &Args) -> Result<Mask> {
    axes(None, a.tensor(0).rank())
}

fn prod_dim_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    one(
        reduced(t.shape(), &single(a.int(1), t.rank())?.1, a.bool(2)),
        long_or(a, 3)?,
    )
}

// ---- extrema ----------------------------------------------------------------------------------------------------------

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

fn extremum_run(c: &Call, kind: Reduce, mask: &Mask) -> Result<()> {
    let work = c.outs[0].dtype.compute();
    with_views(c, mask, work, work, |x, axes, out| reduce::reduce(kind, x, axes, out))
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

fn am_run(c: &Call, kind: Reduce) -> Result<()> {
    extremum_run(c, kind, &axes(Some(c.args.ints(1)), c.args.tensor(0).rank())?)
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

// ---- truth ------------------------------------------------------------------------------------------------------------

/// An empty list of dims reduces nothing here.
fn truth_mask(a: &Args) -> Result<Mask> {
    match a.opt_ints(1) {
        Some([]) => Ok([false; MAX_RANK]),
        dims => axes(dims, a.tensor(0).rank()),
    }
}

fn truth_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    let d = if t.dtype == DType::U8 { DType::U8 } else { DType::Bool };
    one(reduced(t.shape(), &truth_mask(a)?, a.bool(2)), d)
}

fn truth_run(c: &Call, kind: Reduce) -> Result<()> {
    let from = c.args.tensor(0).dtype.compute();
    with_views(c, &truth_mask(c.args)?, from, DType::Bool, |x, axes, out| {
        reduce::reduce(kind, x, axes, out)
    })
}

fn count_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    one(reduced(t.shape(), &axes(a.opt_ints(1), t.rank())?, false), DType::I64)
}

fn count_run(c: &Call) -> Result<()> {
    let t = c.args.tensor(0);
    let mask = axes(c.args.opt_ints(1), t.rank())?;
    let count = |x: AnySrc, axes: &[bool], out: AnyDst| reduce::reduce(Reduce::CountNonzero, x, axes, out);
    with_views(c, &mask, t.dtype.compute(), DType::I64, count)
}

fn equal_run(c: &Call) -> Result<()> {
    let (a, b) = (c.args.tensor(0), c.args.tensor(1));
    let same = a.shape() == b.shape() && {
        let Some(d) = promote(a.dtype, b.dtype) else {
            return Error::runtime(format!(
                "cannot compare {} with {}",
                legacy_name(a.dtype),
                legacy_name(b.dtype)
            ));
        };
        let (a, b) = (cpu::cast(a, d.compute())?, cpu::cast(b, d.compute())?);
        reduce::equal(cpu::src(&a), cpu::src(&b))
    };
    cpu::fill(&c.outs[0], Scalar::Bool(same));
    Ok(())
}

// ---- moments and norms ------------------------------------------------------------------------------------------------

/// Dims, correction and keepdim of one of the three forms of `var` and `std`.
struct Moment {
    mask: Mask,
    correction: f64,
    keepdim: bool,
}

fn unbiased(yes: bool) -> f64 {
    yes as u8 as f64
}

fn moment_all(a: &Args) -> Result<Moment> {
    Ok(Moment {
        mask: everything(a)?,
        correction: unbiased(a.bool(1)),
        keepdim: false,
    })
}

fn moment_dim(a: &Args) -> Result<Moment> {
    let mask = axes(a.opt_ints(1), a.tensor(0).rank())?;
    Ok(Moment {
        mask,
        correction: unbiased(a.bool(2)),
        keepdim: a.bool(3),
    })
}

fn moment(a: &Args) -> Result<Moment> {
    let mask = axes(a.opt_ints(1), a.tensor(0).rank())?;
    Ok(Moment {
        mask,
        correction: a.opt_scalar(2).map_or(1.0, Scalar::to_f64),
        keepdim: a.bool(3),
    })
}

fn moment_infer(a: &Args, form: fn(&Args) -> Result<Moment>) -> Result<Metas> {
    let t = a.tensor(0);
    if !t.dtype.is_float() {
        return Error::runtime("std and var only support floating point and complex dtypes");
    }
    let m = form(a)?;
    one(reduced(t.shape(), &m.mask, m.keepdim), t.dtype)
}

fn moment_run(c: &Call, form: fn(&Args) -> Result<Moment>, std: bool) -> Result<()> {
    let m = form(c.args)?;
    let work = c.outs[0].dtype.compute();
    with_views(c, &m.mask, work, work, |x, axes, out| {
        reduce::var(x, axes, m.correction, std, None, out)
    })
}

fn norm_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    if !t.dtype.is_float() {
        return Error::runtime(format!(
            "Expected a floating point or complex tensor as input. Got {}",
            legacy_name(t.dtype)
        ));
    }
    let d = a.dtype(4).unwrap_or(t.dtype);
    if category(d) < 2 || promote(d, t.dtype) != Some(d) {
        return Error::runtime(format!(
            "the dtype of the input ({}) should be convertible without narrowing to the specified dtype ({})",
            legacy_name(t.dtype),
            legacy_name(d)
        ));
    }
    let mask = axes(a.opt_ints(2), t.rank())?;
    let p = a.scalar(1).to_f64();
    if (p < 0.0 || p == f64::INFINITY) && t.numel() == 0 {
        if a.opt_ints(2).is_none_or(<[i64]>::is_empty) {
            return Error::runtime(format!(
                "cannot compute the {p} norm on an empty tensor because the operation does not have an identity"
            ));
        }
        if let Some(d) = (0..t.rank()).find(|&d| mask[d] && t.shape()[d] == 0) {
            return Error::runtime(format!(
                "cannot compute the {p} norm on the dimension {d} because this dimension is empty and the operation does \
                 not have an identity"
            ));
        }
    }
    one(reduced(t.shape(), &mask, a.bool(3)), d)
}

fn norm_run(c: &Call) -> Result<()> {
    let mask = axes(c.args.opt_ints(2), c.args.tensor(0).rank())?;
    extremum_run(c, Reduce::Norm(c.args.scalar(1).to_f64()), &mask)
}

fn logsumexp_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    let d = float_of(arithmetic(t.dtype)?);
    one(reduced(t.shape(), &axes(Some(a.ints(1)), t.rank())?, a.bool(2)), d)
}

// ---- undoing a broadcast ----------------------------------------------------------------------------------------------

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

fn sum_to_run(c: &Call) -> Result<()> {
    let (t, out) = (c.args.tensor(0), &c.outs[0]);
    if t.shape() == out.shape() {
        cpu::copy(t, out);
        return Ok(());
    }
    let pad = t.rank() - out.rank();
    let mut mask = [false; MAX_RANK];
    let mut shape = *t.shape();
    let mut strides = [0isize; MAX_RANK];
    for d in 0..t.rank() {
        if d < pad || out.shape()[d - pad] != shape[d] {
            mask[d] = true;
            shape[d] = 1;
        } else {
            strides[d] = out.layout.strides()[d - pad];
        }
    }
    let work = if t.dtype == DType::Bool {
        DType::I64
    } else {
        t.dtype.compute()
    };
    let x = cpu::cast(t, t.dtype.compute())?;
    let to = cpu::output(out, work)?;
    let layout = Layout::strided(shape, &strides, to.core.layout.offset);
    reduce::reduce(
        Reduce::Sum,
        cpu::src(&x),
        &mask[..x.rank()],
        cpu::dst_as(&to.core, &layout),
    );
    to.store();
    Ok(())
}

// ---- on the gpu -------------------------------------------------------------------------------------------------------

const SUM: Fold = Fold::floats("0.0", "acc + v", "acc + v");
const MAX: Fold = Fold::floats("-fs_inf()", "fs_max(acc, v)", "fs_max(acc, v)");
const MIN: Fold = Fold::floats("fs_inf()", "fs_min(acc, v)", "fs_min(acc, v)");

/// The fold over the dims of `mask`, into the first output.
fn shade(c: &Call, mask: &Mask, fold: &Fold) -> Result<()> {
    shade_of(c, c.args.tensor(0), mask, None, fold)
}

fn shade_of(c: &Call, x: &Core, mask: &Mask, with: Option<&Core>, fold: &Fold) -> Result<()> {
    let out = &c.outs[0];
    let place = keepdim_layout(out, x.shape(), mask);
    gpu::reduce(fold, x, &mask[..x.rank()], with, out, &place)
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

/// How many elements the dims of a mask have.
fn count_of(t: &Core, mask: &Mask) -> f32 {
    (0..t.rank())
        .filter(|&d| mask[d])
        .map(|d| t.shape()[d])
        .product::<usize>() as f32
}

fn shade_mean(c: &Call) -> Result<()> {
    let t = c.args.tensor(0);
    let mask = axes(c.args.opt_ints(1), t.rank())?;
    let n = count_of(t, &mask);
    shade(c, &mask, &SUM.finish("acc / n0", [n, 0.0]).empty(f64::NAN))
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

fn shade_truth(c: &Call, all: bool) -> Result<()> {
    let fold = if all {
        Fold::ints(Word::Bool, "1", "min(acc, select(0, 1, v))", "min(acc, v)").empty(1.0)
    } else {
        Fold::ints(Word::Bool, "0", "max(acc, select(0, 1, v))", "max(acc, v)")
    };
    shade(c, &truth_mask(c.args)?, &fold)
}

fn shade_count(c: &Call) -> Result<()> {
    let mask = axes(c.args.opt_ints(1), c.args.tensor(0).rank())?;
    shade(
        c,
        &mask,
        &Fold::ints(Word::Bool, "0", "acc + select(0, 1, v)", "acc + v"),
    )
}

fn shade_moment(c: &Call, form: fn(&Args) -> Result<Moment>, std: bool) -> Result<()> {
    let (m, x) = (form(c.args)?, c.args.tensor(0));
    let n = count_of(x, &m.mask);
    let mean = gpu::temporary(reduced(x.shape(), &m.mask, true))?;
    let sum = SUM.finish("acc / n0", [n, 0.0]);
    gpu::reduce(&sum, x, &m.mask[..x.rank()], None, &mean, &mean.layout)?;
    let squares = Fold::floats("0.0", "acc + (v - b) * (v - b)", "acc + v").empty(f64::NAN);
    let divisor = (n - m.correction as f32).max(0.0);
    let text = match (divisor > 0.0, std) {
        (false, _) => "fs_nan()",
        (_, true) => "sqrt(acc / n0)",
        _ => "acc / n0",
    };
    shade_of(c, x, &m.mask, Some(&mean), &squares.finish(text, [divisor, 0.0]))
}

fn shade_norm(c: &Call) -> Result<()> {
    let t = c.args.tensor(0);
    let mask = axes(c.args.opt_ints(2), t.rank())?;
    let p = c.args.scalar(1).to_f64();
    let fold = if p == 2.0 {
        Fold::floats("0.0", "fma(v, v, acc)", "acc + v").finish("sqrt(acc)", [0.0; 2])
    } else if p == 1.0 {
        Fold::floats("0.0", "acc + abs(v)", "acc + v")
    } else if p == 0.0 {
        Fold::floats("0.0", "acc + select(0.0, 1.0, fs_ne(v, 0.0))", "acc + v")
    } else if p == f64::INFINITY {
        Fold::floats("0.0", "fs_max(acc, abs(v))", "fs_max(acc, v)")
    } else if p == f64::NEG_INFINITY {
        Fold::floats("fs_inf()", "fs_min(acc, abs(v))", "fs_min(acc, v)").empty(f64::INFINITY)
    } else {
        Fold::floats("0.0", "acc + fs_pow(abs(v), number(6u))", "acc + v")
            .finish("fs_pow(acc, n1)", [p as f32, (1.0 / p) as f32])
    };
    shade(c, &mask, &fold)
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

fn shade_sum_to(c: &Call) -> Result<()> {
    let (t, out) = (c.args.tensor(0), &c.outs[0]);
    if t.shape() == out.shape() {
        return gpu::copy(t, out);
    }
    gpu::floats_only([t])?;
    let pad = t.rank() - out.rank();
    let mut mask = [false; MAX_RANK];
    let mut shape = *t.shape();
    let mut strides = [0isize; MAX_RANK];
    for d in 0..t.rank() {
        if d < pad || out.shape()[d - pad] != shape[d] {
            mask[d] = true;
            shape[d] = 1;
        } else {
            strides[d] = out.layout.strides()[d - pad];
        }
    }
    let place = Layout::strided(shape, &strides[..t.rank()], out.layout.offset);
    gpu::reduce(&SUM, t, &mask[..t.rank()], None, out, &place)
}

fn shade_equal(c: &Call) -> Result<()> {
    let (a, b, out) = (c.args.tensor(0), c.args.tensor(1), &c.outs[0]);
    if a.shape() != b.shape() {
        return gpu::fill(out, Scalar::Bool(false));
    }
    let text = match promote(a.dtype, b.dtype) {
        Some(DType::F32) => "fs_eq(a, b)",
        Some(_) => "a == b",
        None => return gpu::not_for(a.dtype),
    };
    let seen = if text.starts_with("fs") { Word::Float } else { Word::Int };
    let same = Core::empty(*a.shape(), DType::Bool, Device::Gpu)?;
    let operands = [a, b].map(|t| gpu::Input {
        value: gpu::Value::Core(t),
        seen,
    });
    gpu::elementwise(&same, Word::Bool, text, &operands)?;
    let all = Fold::ints(Word::Bool, "1", "min(acc, select(0, 1, v))", "min(acc, v)").empty(1.0);
    shade_of(c, &same, &axes(None, same.rank())?, None, &all)
}

// ---- records ----------------------------------------------------------------------------------------------------------

macro_rules! moments {
    ($name:literal, $std:literal, $doc:literal) => {
        [
            op(concat!($name, ".unbiased(input, unbiased: bool)"), $doc)
                .compute(|a| moment_infer(a, moment_all), |c| moment_run(c, moment_all, $std))
                .gpu(|c| shade_moment(c, moment_all, $std)),
            op(
                concat!(
                    $name,
                    ".dim(input, dim: int[1]?, unbiased: bool, keepdim: bool = False)"
                ),
                $doc,
            )
            .compute(|a| moment_infer(a, moment_dim), |c| moment_run(c, moment_dim, $std))
            .gpu(|c| shade_moment(c, moment_dim, $std)),
            op(
                concat!(
                    $name,
                    "(input, dim: int[1]? = None, *, correction: Scalar? = None, keepdim: bool = False)"
                ),
                $doc,
            )
            .compute(|a| moment_infer(a, moment), |c| moment_run(c, moment, $std))
            .gpu(|c| shade_moment(c, moment, $std)),
        ]
    };
}

macro_rules! extrema {
    ($name:literal, $kind:ident, $max:literal, $pair:ident, $which:literal) => {
        [
            op(concat!($name, "(input)"), concat!("The ", $which, " element; NaN if there is one. An empty tensor raises RuntimeError."))
                .compute(|a| extremum_infer(a, $name), |c| extremum_run(c, Reduce::$kind, &everything(c.args)?))
                .gpu(|c| shade_extremum(c, $max, &everything(c.args)?)),
            // Before `.dim`: a 0-d integer tensor is the other operand, not a dim.
            op(concat!($name, ".other(input, other)"), concat!("The ", $which, " of two elements, broadcast; NaN if either is."))
                .compute(promoted, |c| pairwise(c, Binary::$pair))
                .gpu(|c| {
                    let map = if $max { float("fs_max(a, b)").int("max(a, b)") } else { float("fs_min(a, b)").int("min(a, b)") };
                    super::support::shade(c, &map.long())
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
            .compute(|a| am_infer(a, concat!("a", $name)), |c| am_run(c, Reduce::$kind))
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
    let mut all = sums();
    all.extend(extrema!("max", Max, true, Maximum, "largest"));
    all.extend(extrema!("min", Min, false, Minimum, "smallest"));
    all.extend(moments!("var", false, "The variance over some dims, divided by n - correction (1, or what `unbiased` says); NaN where that is not positive. Only floats; others raise RuntimeError."));
    all.extend(moments!(
        "std",
        true,
        "The standard deviation over some dims: the root of `var`. Only floats; others raise RuntimeError."
    ));
    all.extend(others());
    all
}

fn sums() -> Vec<Builder> {
    vec![
        op("sum(input, dim: int[1]? = None, keepdim: bool = False, *, dtype: dtype? = None)", "The sum over some dims, or over all; integers and bool add up in int64.\n\n>>> firesteel.tensor([[1., 2.], [3., 4.]]).sum(dim=0)\ntensor([4., 6.])")
            .compute(sum_infer, sum_run)
            .gpu(|c| shade_sum(c, &axes(c.args.opt_ints(1), c.args.tensor(0).rank())?, false))
            .small(|a| small_sums(a, false)),
        op("mean(input, dim: int[1]? = None, keepdim: bool = False, *, dtype: dtype? = None)", "The mean over some dims, or over all, of floats; NaN of nothing. Integers raise RuntimeError unless `dtype` is a float.")
            .compute(mean_infer, mean_run)
            .gpu(shade_mean)
            .small(|a| small_sums(a, true)),
        op("prod(input, *, dtype: dtype? = None)", "The product of all elements, 1 of none; integers and bool multiply in int64.")
            .compute(|a| one(Dims::EMPTY, long_or(a, 1)?), |c| fold(c, Reduce::Prod, &everything(c.args)?))
            .gpu(|c| shade_sum(c, &everything(c.args)?, true)),
        op("prod.dim(input, dim: int, keepdim: bool = False, *, dtype: dtype? = None)", "The product along a dim; integers and bool multiply in int64.")
            .compute(prod_dim_infer, |c| fold(c, Reduce::Prod, &single(c.args.int(1), c.args.tensor(0).rank())?.1))
            .gpu(|c| shade_sum(c, &single(c.args.int(1), c.args.tensor(0).rank())?.1, true)),
        op("logsumexp(input, dim: int[1], keepdim: bool = False)", "log(sum(exp(input))) over some dims, without overflow; integers become floats.")
            .compute(logsumexp_infer, |c| extremum_run(c, Reduce::LogSumExp, &axes(Some(c.args.ints(1)), c.args.tensor(0).rank())?))
            .gpu(shade_logsumexp),
        op("_sum_to(input, size: int[])", "The sum over the dims by which a tensor of shape `size` was broadcast to the input's shape.")
            .compute(sum_to_infer, sum_to_run)
            .gpu(shade_sum_to)
            .function_only(),
    ]
}

fn others() -> Vec<Builder> {
    vec![
        op("any(input, dim: int[1]? = None, keepdim: bool = False)", "True where some element over the dims is not zero (1 and 0 for uint8).")
            .compute(truth_infer, |c| truth_run(c, Reduce::Any))
            .gpu(|c| shade_truth(c, false)),
        op("all(input, dim: int[1]? = None, keepdim: bool = False)", "True where no element over the dims is zero (1 and 0 for uint8).")
            .compute(truth_infer, |c| truth_run(c, Reduce::All))
            .gpu(|c| shade_truth(c, true)),
        op("count_nonzero(input, dim: int[1]? = None)", "How many elements over the dims are not zero; NaN is not.").compute(count_infer, count_run).gpu(shade_count),
        op("linalg_vector_norm(input, ord: Scalar = 2, dim: int[1]? = None, keepdim: bool = False, *, dtype: dtype? = None)", "sum(|x|^ord)^(1/ord) over some dims: the count of what is not zero for 0, the largest or smallest for plus or minus infinity. Only floats; an empty dim raises RuntimeError where no norm of nothing exists.")
            .compute(norm_infer, norm_run)
            .gpu(shade_norm)
            .function_only(),
        op("_equal(input, other)", "Whether two tensors have the same shape and the same elements; NaN equals nothing.")
            .compute(|_| one(Dims::EMPTY, DType::Bool), equal_run)
            .gpu(shade_equal)
            .function_only(),
    ]
}
