//! Reductions, a file for each kind, and what the files share: calling the kernel, and folding on the gpu.

use super::def::{Builder, Call};
use super::infer::{axes, keepdim_layout};
use super::support::Mask;
use crate::args::Args;
use crate::core::Core;
use crate::device::cpu;
use crate::device::gpu::{self, Fold};
use crate::dtype::DType;
use crate::error::Result;
use firesteel_kernels::reduce::{self, Reduce};
use firesteel_kernels::{AnyDst, AnySrc};

mod extrema;
mod moments;
mod sums;
mod truth;

pub fn ops() -> Vec<Builder> {
    let families = [sums::ops(), extrema::ops(), moments::ops(), truth::ops()];
    families.into_iter().flatten().collect()
}

fn everything(a: &Args) -> Result<Mask> {
    axes(None, a.tensor(0).rank())
}

/// Calls a kernel with the input as it is stored and the output in `to`, reduced dims kept as the kernel wants them.
fn with_views(c: &Call, mask: &Mask, to: DType, run: impl FnOnce(AnySrc, &[bool], AnyDst)) -> Result<()> {
    let x = c.args.tensor(0);
    let out = cpu::output(&c.outs[0], to)?;
    let layout = keepdim_layout(&out.core, x.shape(), mask);
    run(cpu::src(x), &mask[..x.rank()], cpu::dst_as(&out.core, &layout));
    out.store();
    Ok(())
}

/// A reduction in the dtype that stands in for the result's; extrema in the elements' own.
fn fold(c: &Call, kind: Reduce, mask: &Mask) -> Result<()> {
    let work = c.outs[0].dtype.compute();
    let to = match kind {
        Reduce::Max | Reduce::Min => c.args.tensor(0).dtype,
        _ => work,
    };
    with_views(c, mask, to, |x, axes, out| reduce::reduce(kind, work, x, axes, out))
}

const SUM: Fold = Fold::floats("0.0", "acc + v", "acc + v");
const MAX: Fold = Fold::floats("-fs_inf()", "fs_max(acc, v)", "fs_max(acc, v)");
const MIN: Fold = Fold::floats("fs_inf()", "fs_min(acc, v)", "fs_min(acc, v)");

/// How many elements the dims of a mask have.
fn count_of(t: &Core, mask: &Mask) -> f32 {
    (0..t.rank())
        .filter(|&d| mask[d])
        .map(|d| t.shape()[d])
        .product::<usize>() as f32
}

/// The fold over the dims of `mask`, into the first output.
fn shade(c: &Call, mask: &Mask, fold: &Fold) -> Result<()> {
    shade_of(c, c.args.tensor(0), mask, None, fold)
}

fn shade_of(c: &Call, x: &Core, mask: &Mask, with: Option<&Core>, fold: &Fold) -> Result<()> {
    let out = &c.outs[0];
    let place = keepdim_layout(out, x.shape(), mask);
    gpu::reduce(fold, x, &mask[..x.rank()], with, out, &place)
}
