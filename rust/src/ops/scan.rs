//! Running sums, products and extrema along a dim.

use super::def::{Builder, Call, Meta, Metas, op};
use super::infer::arithmetic;
use super::support::{computed, float_only, not_for, one};
use crate::args::Args;
use crate::device::cpu;
use crate::dtype::DType;
use crate::error::Result;
use crate::layout::wrap_dim;
use firesteel_kernels::scan::{self, Scan};
use smallvec::smallvec;

fn sum_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    wrap_dim(a.int(1), t.rank())?;
    let d = arithmetic(t.dtype)?;
    match a.dtype(2).unwrap_or(if d.is_float() { d } else { DType::I64 }) {
        DType::Bool => not_for(DType::Bool),
        d => one(*t.shape(), arithmetic(d)?),
    }
}

fn run(c: &Call, kind: Scan) -> Result<()> {
    let t = c.args.tensor(0);
    let d = wrap_dim(c.args.int(1), t.rank())?;
    let work = c.outs[0].dtype.compute();
    let out = cpu::output(&c.outs[0], work)?;
    let x = cpu::dense_with(&cpu::cast(t, work)?, &out.core)?;
    scan::scan(kind, cpu::src(&x), d, out.dst());
    out.store();
    Ok(())
}

fn log_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    wrap_dim(a.int(1), t.rank())?;
    one(*t.shape(), float_only(t.dtype)?)
}

fn extremum_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    wrap_dim(a.int(1), t.rank())?;
    Ok(smallvec![
        Meta::new(*t.shape(), arithmetic(t.dtype)?),
        Meta::new(*t.shape(), DType::I64)
    ])
}

fn extremum_run(c: &Call, max: bool) -> Result<()> {
    let x = computed(c.args.tensor(0))?;
    let d = wrap_dim(c.args.int(1), x.rank())?;
    let values = cpu::output(&c.outs[0], x.dtype)?;
    let x = cpu::dense_with(&x, &values.core)?;
    scan::scan_extremum(max, cpu::src(&x), d, values.dst(), cpu::dst(&c.outs[1]));
    values.store();
    Ok(())
}

pub fn ops() -> Vec<Builder> {
    vec![
        op("cumsum(input, dim: int, *, dtype: dtype? = None)", "Sums of the elements up to each along a dim; integers and bool add up in int64.\n\n>>> firesteel.tensor([1, 2, 3]).cumsum(0)\ntensor([1, 3, 6])")
            .compute(sum_infer, |c| run(c, Scan::Sum))
            .inplace(),
        op("cumprod(input, dim: int, *, dtype: dtype? = None)", "Products of the elements up to each along a dim; integers and bool multiply in int64.")
            .compute(sum_infer, |c| run(c, Scan::Prod))
            .inplace(),
        op("logcumsumexp(input, dim: int)", "log(cumsum(exp(input))) along a dim, without overflow. Only floats.").compute(log_infer, |c| run(c, Scan::LogSumExp)),
        op("cummax(input, dim: int) -> (values, indices)", "Largest element up to each along a dim and where it is (the last of equals); a NaN stays.")
            .compute(extremum_infer, |c| extremum_run(c, true))
            .nondiff_output(1),
        op("cummin(input, dim: int) -> (values, indices)", "Smallest element up to each along a dim and where it is (the last of equals); a NaN stays.")
            .compute(extremum_infer, |c| extremum_run(c, false))
            .nondiff_output(1),
    ]
}
