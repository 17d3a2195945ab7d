//! Whether any or all elements are not zero, how many are, and whether two tensors are equal.

use super::{shade, shade_of, with_views};
use crate::args::Args;
use crate::core::Core;
use crate::device::gpu::{self, Fold, Word};
use crate::device::{Device, cpu};
use crate::dtype::{DType, Scalar, promote};
use crate::error::Result;
use crate::layout::Dims;
use crate::ops::def::{Builder, Call, Metas, op};
use crate::ops::infer::{axes, reduced};
use crate::ops::support::{Mask, comparable, one};
use firesteel_kernels::MAX_RANK;
use firesteel_kernels::reduce::{self, Reduce};

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
    with_views(c, &truth_mask(c.args)?, DType::Bool, |x, axes, out| {
        reduce::reduce(kind, DType::Bool, x, axes, out)
    })
}

fn shade_truth(c: &Call, all: bool) -> Result<()> {
    let fold = if all {
        Fold::ints(Word::Bool, "1", "min(acc, select(0, 1, v))", "min(acc, v)").empty(1.0)
    } else {
        Fold::ints(Word::Bool, "0", "max(acc, select(0, 1, v))", "max(acc, v)")
    };
    shade(c, &truth_mask(c.args)?, &fold)
}

fn count_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    one(reduced(t.shape(), &axes(a.opt_ints(1), t.rank())?, false), DType::I64)
}

fn count_run(c: &Call) -> Result<()> {
    let t = c.args.tensor(0);
    let mask = axes(c.args.opt_ints(1), t.rank())?;
    with_views(c, &mask, DType::I64, |x, axes, out| {
        reduce::reduce(Reduce::CountNonzero, DType::I64, x, axes, out)
    })
}

fn shade_count(c: &Call) -> Result<()> {
    let mask = axes(c.args.opt_ints(1), c.args.tensor(0).rank())?;
    shade(
        c,
        &mask,
        &Fold::ints(Word::Bool, "0", "acc + select(0, 1, v)", "acc + v"),
    )
}

fn equal_run(c: &Call) -> Result<()> {
    let (a, b) = (c.args.tensor(0), c.args.tensor(1));
    let same = a.shape() == b.shape() && {
        let work = comparable(a, b)?.compute();
        let (a, b) = (cpu::cast(a, work)?, cpu::cast(b, work)?);
        reduce::equal(cpu::src(&a), cpu::src(&b))
    };
    cpu::fill(&c.outs[0], Scalar::Bool(same));
    Ok(())
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

pub fn ops() -> Vec<Builder> {
    vec![
        op(
            "any(input, dim: int[1]? = None, keepdim: bool = False)",
            "True where some element over the dims is not zero (1 and 0 for uint8).",
        )
        .compute(truth_infer, |c| truth_run(c, Reduce::Any))
        .gpu(|c| shade_truth(c, false)),
        op(
            "all(input, dim: int[1]? = None, keepdim: bool = False)",
            "True where no element over the dims is zero (1 and 0 for uint8).",
        )
        .compute(truth_infer, |c| truth_run(c, Reduce::All))
        .gpu(|c| shade_truth(c, true)),
        op(
            "count_nonzero(input, dim: int[1]? = None)",
            "How many elements over the dims are not zero; NaN is not.",
        )
        .compute(count_infer, count_run)
        .gpu(shade_count),
        op(
            "_equal(input, other)",
            "Whether two tensors have the same shape and the same elements; NaN equals nothing.",
        )
        .compute(|_| one(Dims::EMPTY, DType::Bool), equal_run)
        .gpu(shade_equal)
        .function_only(),
    ]
}
