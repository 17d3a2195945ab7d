//! Elements where a mask is true, and where they are.

use super::def::{Builder, Call, Metas, op};
use super::support::{computed, one, row};
use crate::args::Args;
use crate::core::Core;
use crate::device::{Device, cpu};
use crate::dtype::{DType, legacy_name};
use crate::ensure;
use crate::error::{Error, Result};
use crate::layout::broadcast;
use firesteel_kernels::{index, reduce};

/// How many elements of a mask are true.
pub fn hits(mask: &Core) -> Result<usize> {
    match mask.device() {
        Device::Cpu => {}
        Device::Meta => return Error::unsupported("the size of the result depends on values, which meta tensors lack"),
        Device::Gpu => return Error::unsupported("by a mask is not implemented on device 'gpu'"),
    }
    Ok(reduce::count_nonzero(cpu::src(&computed(mask)?)))
}

/// Coordinates of what is not zero, `[n, rank]`.
pub fn nonzero_places(t: &Core) -> Result<Core> {
    let (t, rank) = (computed(t)?, t.rank());
    let n = reduce::count_nonzero(cpu::src(&t));
    let out = Core::empty(row(&[n, rank]), DType::I64, Device::Cpu)?;
    let written = index::nonzero(cpu::src(&t), cpu::slice_mut(&out));
    ensure!(
        written == n || rank == 0,
        "the tensor was changed while it was looked at"
    );
    Ok(out)
}

fn masked_select(a: &Args) -> Result<Vec<Core>> {
    let (t, m) = (a.tensor(0), a.tensor(1));
    ensure!(m.dtype == DType::Bool, "masked_select: expected BoolTensor for mask");
    let shape = broadcast(t.shape(), m.shape())?;
    let mask = m.with_layout(m.layout.broadcast_to(&shape));
    let out = Core::empty(row(&[hits(&mask)?]), t.dtype, Device::Cpu)?;
    let from = cpu::src_as(t, &t.layout.broadcast_to(&shape));
    let n = index::masked_select(from, cpu::typed(&mask), cpu::dst(&out));
    ensure!(n == out.numel(), "the mask was changed while it was used");
    Ok(vec![out])
}

fn masked_scatter_infer(a: &Args) -> Result<Metas> {
    let (t, m, s) = (a.tensor(0), a.tensor(1), a.tensor(2));
    ensure!(
        t.dtype == s.dtype,
        "masked_scatter: expected self and source to have same dtypes but got {} and {}",
        legacy_name(t.dtype),
        legacy_name(s.dtype)
    );
    ensure!(
        m.dtype == DType::Bool,
        "masked_scatter_ only supports boolean masks, but got mask with dtype {}",
        legacy_name(m.dtype)
    );
    one(broadcast(t.shape(), m.shape())?, t.dtype)
}

fn masked_scatter_run(c: &Call) -> Result<()> {
    let (t, m, s) = (c.args.tensor(0), c.args.tensor(1), c.args.tensor(2));
    let out = &c.outs[0];
    let mask = m.with_layout(m.layout.broadcast_to(out.shape()));
    ensure!(
        hits(&mask)? <= s.numel(),
        "Number of elements of source < number of ones in mask"
    );
    if !t.same_elements(out) {
        cpu::copy(&t.with_layout(t.layout.broadcast_to(out.shape())), out);
    }
    let enough = index::masked_scatter(cpu::dst(out), cpu::typed(&mask), cpu::src(s));
    ensure!(enough, "Number of elements of source < number of ones in mask");
    Ok(())
}

pub fn ops() -> Vec<Builder> {
    vec![
        op("masked_select(input, mask)", "The elements where the mask is true, in row-major order, as one dim; both are broadcast.").data_shape(masked_select),
        op("masked_scatter(input, mask, source)", "The input with the elements of source, in order, where the mask is true. Too few of them raise RuntimeError.")
            .compute(masked_scatter_infer, masked_scatter_run)
            .updates_self(),
        op("nonzero(input)", "The indices of the elements that are not zero, a row for each: int64 [n, dims].\n\n>>> firesteel.tensor([0, 5, 7]).nonzero()\ntensor([[1],\n        [2]])")
            .data_shape(|a| Ok(vec![nonzero_places(a.tensor(0))?])),
    ]
}
