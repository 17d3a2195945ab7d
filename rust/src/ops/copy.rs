//! Elements written over tensors, and copies: in place, in another dtype, on another device.

use super::creation::{fill_with, kept_layout, like};
use super::def::{Builder, Call, Meta, Metas, op};
use super::infer::check_fits;
use crate::args::{Arg, Args};
use crate::core::Core;
use crate::device::cpu::{self, dst, operand};
use crate::device::{Device, gpu};
use crate::dtype::Scalar;
use crate::error::{Error, Result};
use crate::layout::expands_to;
use firesteel_kernels::elementwise::{self, Operand};
use smallvec::smallvec;

fn fill_infer(a: &Args) -> Result<Metas> {
    if let Arg::Tensor(v) = &a[1]
        && v.rank() > 0
    {
        return Error::runtime(format!(
            "fill_ only supports 0-dimension value tensor but got tensor with {} dimensions.",
            v.rank()
        ));
    }
    check_fits(&a[1], a.tensor(0).dtype)?;
    like(a, 2)
}

fn fill_run(c: &Call) -> Result<()> {
    match operand(c.args, 1, c.outs[0].shape()) {
        Operand::Scalar(s) => cpu::fill(&c.outs[0], s),
        Operand::View(v) => elementwise::copy(v, dst(&c.outs[0])),
    }
    Ok(())
}

fn copy_infer(a: &Args) -> Result<Metas> {
    let (to, from) = (a.tensor(0), a.tensor(1));
    if !expands_to(from.shape(), to.shape()) {
        return Error::runtime(format!(
            "The size of tensor a {} must match the size of tensor b {}: cannot copy {} into {}",
            to.shape(),
            from.shape(),
            from.shape(),
            to.shape()
        ));
    }
    like(a, 3)
}

fn copy_run(c: &Call) -> Result<()> {
    let (from, out) = (gpu::to_host(c.args.tensor(1))?, &c.outs[0]);
    cpu::copy(&from.with_layout(from.layout.broadcast_to(out.shape())), out);
    Ok(())
}

/// Into memory of the gpu, from any device; what comes from the CPU is converted there.
fn copy_elsewhere(from: &Core, out: &Core) -> Result<()> {
    let from = match from.device() {
        Device::Cpu => gpu::transfer(&cpu::cast(from, out.dtype)?, Device::Gpu)?,
        _ => gpu::transfer(from, Device::Gpu)?,
    };
    gpu::copy(&from.with_layout(from.layout.broadcast_to(out.shape())), out)
}

/// A copy keeps the input's strides where they are dense, unless `memory_format` asks for row-major.
fn clone_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    let layout = match &a[1] {
        Arg::Str(s) if &**s == "contiguous" => None,
        _ => kept_layout(t),
    };
    Ok(smallvec![Meta {
        shape: *t.shape(),
        dtype: t.dtype,
        compute: t.dtype,
        layout
    }])
}

fn copied(c: &Call) -> Result<()> {
    cpu::copy(c.args.tensor(0), &c.outs[0]);
    Ok(())
}

pub fn ops() -> Vec<Builder> {
    vec![
        op("fill(input, value: Operand)", "The value in every element.")
            .compute(fill_infer, fill_run)
            .gpu(|c| match &c.args[1] {
                Arg::Tensor(v) => copy_elsewhere(v, &c.outs[0]),
                _ => gpu::fill(&c.outs[0], c.args.scalar(1)),
            })
            .elementwise()
            .no_out(),
        op("zero(input)", "Zero in every element.")
            .compute(|a| like(a, 1), |c| fill_with(c, Scalar::Int(0)))
            .gpu(|c| gpu::fill(&c.outs[0], Scalar::Int(0)))
            .inplace_only(),
        op(
            "copy(input, src, non_blocking: bool = False)",
            "The elements of src, converted and broadcast to self.",
        )
        .compute(copy_infer, copy_run)
        .gpu(|c| copy_elsewhere(c.args.tensor(1), &c.outs[0]))
        .across_devices()
        .inplace_only(),
        op(
            "clone(input, *, memory_format: str? = None)",
            "A copy in new memory; the gradient flows through.",
        )
        .compute(clone_infer, copied)
        .gpu(|c| gpu::copy(c.args.tensor(0), &c.outs[0]))
        .no_out(),
        op("_to_copy(input, dtype: dtype)", "A copy in another dtype.")
            .compute(|a| like(a, 1), copied)
            .gpu(|c| gpu::copy(c.args.tensor(0), &c.outs[0]))
            .function_only(),
        op("_to_device(input, device: device)", "A copy on another device.")
            .compute(
                |a| like(a, 2),
                |c| {
                    cpu::copy(&gpu::to_host(c.args.tensor(0))?, &c.outs[0]);
                    Ok(())
                },
            )
            .gpu(|c| copy_elsewhere(c.args.tensor(0), &c.outs[0]))
            .across_devices()
            .no_out()
            .function_only(),
    ]
}
