//! Counting what occurs, and searching where values would go.

use super::def::{Builder, Call, Metas, op};
use super::infer::axes;
use super::support::{comparable, computed, float_only, not_for, one, packed, row};
use crate::args::Args;
use crate::core::Core;
use crate::device::{Device, cpu};
use crate::dtype::DType;
use crate::ensure;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::Dims;
use firesteel_kernels::index::{self, IndexError};
use firesteel_kernels::reduce;

fn bincount(a: &Args) -> Result<Vec<Core>> {
    const INTEGRAL: &str = "bincount only supports 1-d non-negative integral inputs.";
    let (t, weights, least) = (a.tensor(0), a.opt_tensor(1), a.int(2));
    if !t.dtype.is_int() {
        return not_for(t.dtype);
    }
    ensure!(t.rank() == 1, "{INTEGRAL}");
    ensure!(least >= 0, "minlength should be >= 0");
    if let Some(w) = weights {
        ensure!(
            w.shape() == t.shape(),
            "weights should be 1-d and have the same length as input"
        );
    }
    let x = cpu::contiguous(t, DType::I64)?;
    let (smallest, largest) = index::bounds(cpu::typed(&x)).unwrap_or((0, -1));
    ensure!(smallest >= 0, "{INTEGRAL}");
    // Allocated here once as a trial, so that a huge value is an error and not the end of the process.
    let n = largest.saturating_add(1).max(least);
    drop(Core::empty(Dims::from_ints(&[n])?, DType::I64, Device::Cpu)?);
    let bad = |_: IndexError| Error::new(ErrorKind::Runtime, INTEGRAL);
    let least = least as usize;
    // No elements: PyTorch's result is int64 then, weights or not.
    let Some(w) = weights.filter(|_| t.numel() > 0) else {
        let counts = index::bincount(cpu::typed(&x), n as usize).map_err(bad)?;
        return Ok(vec![cpu::from_slice(&counts, row(&[counts.len()]))?]);
    };
    let d = if w.dtype == DType::F32 { DType::F32 } else { DType::F64 };
    let sums = index::bincount_weighted(cpu::typed(&x), cpu::src(&cpu::cast(w, d)?), least).map_err(bad)?;
    Ok(vec![cpu::cast(&cpu::from_slice(&sums, row(&[sums.len()]))?, d)?])
}

/// What `bincount` counts, in order.
fn repeated(a: &Args) -> Result<Vec<Core>> {
    let counts = cpu::contiguous(a.tensor(0), DType::I64)?;
    let counts = cpu::slice::<i64>(&counts);
    ensure!(counts.iter().all(|&n| n >= 0), "repeats can not be negative");
    let Some(total) = counts.iter().try_fold(0i64, |sum, &n| sum.checked_add(n)) else {
        return Error::runtime("repeats add up to more than an int64 holds");
    };
    let out = Core::empty(Dims::from_ints(&[total])?, DType::I64, Device::Cpu)?;
    index::repeated(counts, cpu::slice_mut(&out));
    Ok(vec![out])
}

fn histc_infer(a: &Args) -> Result<Metas> {
    let (t, bins) = (a.tensor(0), a.int(1));
    ensure!(bins > 0, "bins must be > 0, but got {bins} for dimension 0");
    let (lo, hi) = (a.scalar(2).to_f64(), a.scalar(3).to_f64());
    ensure!(lo.is_finite() && hi.is_finite(), "range of [{lo}, {hi}] is not finite");
    if lo > hi {
        return Error::runtime("max must be larger than min");
    }
    one(Dims::from_ints(&[bins])?, float_only(t.dtype)?)
}

fn histc_run(c: &Call) -> Result<()> {
    let (x, out) = (computed(c.args.tensor(0))?, &c.outs[0]);
    let (mut lo, mut hi) = (c.args.scalar(2).to_f64(), c.args.scalar(3).to_f64());
    if lo == hi && x.numel() > 0 {
        let end = |kind| -> Result<f64> {
            let at = Core::empty(Dims::EMPTY, x.dtype, Device::Cpu)?;
            let one = packed(row(&[1, 1, 1, 1, 1, 1, 1, 1][..x.rank()]), 0);
            reduce::reduce(
                kind,
                x.dtype,
                cpu::src(&x),
                &axes(None, x.rank())?[..x.rank()],
                cpu::dst_as(&at, &one),
            );
            Ok(cpu::item(&at).to_f64())
        };
        (lo, hi) = (end(reduce::Reduce::Min)?, end(reduce::Reduce::Max)?);
    }
    if lo == hi {
        (lo, hi) = (lo - 1.0, hi + 1.0);
    }
    ensure!(lo.is_finite() && hi.is_finite(), "range of [{lo}, {hi}] is not finite");
    drop(Core::empty(*out.shape(), DType::I64, Device::Cpu)?); // as a trial, see `bincount`
    let counts = index::histc(cpu::src(&x), out.numel(), lo, hi);
    cpu::copy(&cpu::from_slice(&counts, row(&[counts.len()]))?, out);
    Ok(())
}

fn searchsorted_infer(a: &Args) -> Result<Metas> {
    let (s, v) = (a.tensor(0), a.tensor(1));
    ensure!(
        s.rank() > 0,
        "boundaries tensor should have positive dimension, but got 0 dimension"
    );
    ensure!(
        v.rank() > 0 || s.rank() == 1,
        "input value can be a scalar only when boundaries tensor dimension is 1, but we got boundaries tensor dim({}) and \
         input value's dim(0) numel(1)",
        s.rank()
    );
    let lead = |d: &Dims| d.len().saturating_sub(1);
    ensure!(
        s.rank() == 1 || s.rank() == v.rank() && s.shape()[..lead(s.shape())] == v.shape()[..lead(v.shape())],
        "boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and input value tensor must \
         match, but we got boundaries tensor {} and input value tensor {}",
        s.shape(),
        v.shape()
    );
    if matches!(comparable(s, v)?, DType::Bool | DType::U64) {
        return not_for(DType::Bool);
    }
    one(*v.shape(), if a.bool(2) { DType::I32 } else { DType::I64 })
}

fn searchsorted_run(c: &Call) -> Result<()> {
    let (s, v) = (c.args.tensor(0), c.args.tensor(1));
    let work = comparable(s, v)?.compute();
    let (s, v, out) = (
        cpu::cast(s, work)?,
        cpu::cast(v, work)?,
        cpu::output(&c.outs[0], DType::I64)?,
    );
    index::searchsorted(cpu::src(&s), cpu::src(&v), c.args.bool(3), out.dst().typed());
    out.store();
    Ok(())
}

pub fn ops() -> Vec<Builder> {
    vec![
        op("bincount(input, weights: Tensor? = None, minlength: int = 0)", "How often each of 0, 1, … occurs among integers, or the sum of its weights. Negative values raise RuntimeError.").data_shape(bincount),
        op("_repeated(counts)", "Each index as often as its count says, in order. Negative counts raise RuntimeError.").data_shape(repeated).function_only(),
        op("histc(input, bins: int = 100, min: Scalar = 0, max: Scalar = 0)", "Counts of the elements in equal bins from min to max, or over all of the input's range if both are equal. Only floats; a range that is not finite raises RuntimeError.")
            .compute(histc_infer, histc_run),
        op("searchsorted(sorted_sequence, input, *, out_int32: bool = False, right: bool = False)", "Where in the sorted last dim each value would go: before its equals, or after them (`right`). Shapes that do not fit raise RuntimeError.")
            .compute(searchsorted_infer, searchsorted_run)
            .function_only(),
    ]
}
