//! Softmax and its logarithm.

use super::def::{Builder, Call, Metas, op};
use super::support::{computed, float_only, one};
use crate::args::{Arg, Args};
use crate::core::Core;
use crate::device::{cpu, gpu};
use crate::dtype::DType;
use crate::ensure;
use crate::error::Result;
use crate::layout::wrap_dim;
use firesteel_kernels::softmax as kernels;

fn infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    wrap_dim(a.int(1), t.rank())?;
    one(*t.shape(), float_only(a.dtype(2).unwrap_or(t.dtype))?)
}

fn run(c: &Call, log: bool) -> Result<()> {
    let t = c.args.tensor(0);
    let d = wrap_dim(c.args.int(1), t.rank())?;
    let work = c.outs[0].dtype.compute();
    let out = cpu::output(&c.outs[0], work)?;
    let x = cpu::dense_with(&cpu::cast(t, work)?, &out.core)?;
    kernels::softmax(cpu::src(&x), d, out.dst(), log);
    out.store();
    Ok(())
}

/// Along the last dim.
fn small(a: &Args, log: bool) -> Option<Core> {
    let x = a.tensor(0);
    let n = *x.shape().last()?;
    let d = a.int(1);
    let last = d == -1 || d == x.rank() as i64 - 1;
    let values = cpu::small(x).filter(|_| last && n > 1 && matches!(a[2], Arg::None))?;
    cpu::made(x.shape(), |out| kernels::softmax_rows(values, n, out, log))
}

fn backward_infer(a: &Args) -> Result<Metas> {
    let (g, y) = (a.tensor(0), a.tensor(1));
    wrap_dim(a.int(2), y.rank())?;
    ensure!(
        g.shape() == y.shape(),
        "gradient of shape {} for a result of shape {}",
        g.shape(),
        y.shape()
    );
    one(*y.shape(), float_only(y.dtype)?)
}

fn backward_run(c: &Call, log: bool) -> Result<()> {
    let y = computed(c.args.tensor(1))?;
    let d = wrap_dim(c.args.int(2), y.rank())?;
    let out = cpu::output(&c.outs[0], y.dtype)?;
    let g = cpu::dense_with(&cpu::cast(c.args.tensor(0), y.dtype)?, &out.core)?;
    let y = cpu::dense_with(&y, &out.core)?;
    kernels::softmax_backward(cpu::src(&g), cpu::src(&y), d, out.dst(), log);
    out.store();
    Ok(())
}

fn run_on_gpu(c: &Call, log: bool) -> Result<()> {
    let t = gpu::cast(c.args.tensor(0), DType::F32)?;
    let d = wrap_dim(c.args.int(1), t.rank())?;
    gpu::softmax(&t, d, log, &c.outs[0])
}

fn backward_on_gpu(c: &Call, log: bool) -> Result<()> {
    let (g, y) = (c.args.tensor(0), c.args.tensor(1));
    gpu::floats_only([g, y])?;
    gpu::softmax_backward(g, y, wrap_dim(c.args.int(2), y.rank())?, log, &c.outs[0])
}

pub fn ops() -> Vec<Builder> {
    vec![
        op(
            "softmax(input, dim: int, dtype: dtype? = None)",
            "exp(x) / sum(exp(x)) along a dim, without overflow. Only floats; integers need a `dtype`.",
        )
        .compute(infer, |c| run(c, false))
        .gpu(|c| run_on_gpu(c, false))
        .whole(|a| small(a, false)),
        op(
            "log_softmax(input, dim: int, dtype: dtype? = None)",
            "The logarithm of `softmax`, exact where that is tiny. Only floats; integers need a `dtype`.",
        )
        .compute(infer, |c| run(c, true))
        .gpu(|c| run_on_gpu(c, true))
        .whole(|a| small(a, true)),
        op(
            "_softmax_backward(grad, result, dim: int)",
            "Gradient of `softmax` from its result.",
        )
        .compute(backward_infer, |c| backward_run(c, false))
        .gpu(|c| backward_on_gpu(c, false))
        .function_only(),
        op(
            "_log_softmax_backward(grad, result, dim: int)",
            "Gradient of `log_softmax` from its result.",
        )
        .compute(backward_infer, |c| backward_run(c, true))
        .gpu(|c| backward_on_gpu(c, true))
        .function_only(),
    ]
}
