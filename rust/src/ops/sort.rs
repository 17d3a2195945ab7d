//! Sorting, order statistics and unique values.

use super::def::{Builder, Call, Meta, Metas, op};
use super::infer::{keepdim_layout, reduced};
use super::support::{Mask, computed, not_empty, not_for, one, packed, row, single, size_of};
use crate::args::Args;
use crate::core::Core;
use crate::device::{Device, cpu};
use crate::dtype::{DType, Scalar};
use crate::ensure;
use crate::error::Result;
use crate::layout::{Dims, wrap_dim};
use firesteel_kernels::sort as kernels;
use firesteel_kernels::{AnyDst, AnySrc, index};
use smallvec::smallvec;

/// Dtypes whose order int64, f32 or f64 keeps.
fn sortable(d: DType) -> Result<DType> {
    if d == DType::U64 { not_for(d) } else { Ok(d) }
}

fn no_bool(d: DType) -> Result<DType> {
    if d == DType::Bool { not_for(d) } else { sortable(d) }
}

fn pair(shape: Dims, d: DType) -> Result<Metas> {
    Ok(smallvec![Meta::new(shape, d), Meta::new(shape, DType::I64)])
}

/// Calls a kernel with the input, the values' and the indices' memory, reduced dims (of `mask`) kept.
fn with_views(c: &Call, mask: &Mask, run: impl FnOnce(AnySrc, AnyDst, AnyDst)) -> Result<()> {
    let x = computed(c.args.tensor(0))?;
    let values = cpu::output(&c.outs[0], x.dtype)?;
    let at = keepdim_layout(&values.core, x.shape(), mask);
    let places = keepdim_layout(&c.outs[1], x.shape(), mask);
    run(
        cpu::src(&x),
        cpu::dst_as(&values.core, &at),
        cpu::dst_as(&c.outs[1], &places),
    );
    values.store();
    Ok(())
}

fn sort_infer(a: &Args, dim: usize) -> Result<Metas> {
    let t = a.tensor(0);
    wrap_dim(a.int(dim), t.rank())?;
    pair(*t.shape(), sortable(t.dtype)?)
}

fn sort_run(c: &Call, dim: usize) -> Result<()> {
    let d = wrap_dim(c.args.int(dim), c.args.tensor(0).rank())?;
    let descending = c.args.bool(dim + 1);
    with_views(c, &Mask::default(), |x, values, places| {
        kernels::sort(x, d, descending, true, values, places)
    })
}

fn topk_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    let d = wrap_dim(a.int(2), t.rank())?;
    let k = a.int(1);
    ensure!(
        k >= 0 && k as u64 <= size_of(t.shape(), d) as u64,
        "selected index k out of range"
    );
    ensure!(t.dtype != DType::Bool, "topk does not support bool dtypes on CPU");
    let mut shape = *t.shape();
    if !shape.is_empty() {
        shape[d] = k as usize;
    }
    pair(shape, sortable(t.dtype)?)
}

fn topk_run(c: &Call) -> Result<()> {
    let x = computed(c.args.tensor(0))?;
    let d = wrap_dim(c.args.int(2), x.rank())?;
    // The one element of a 0-d tensor is its result for k = 0, too.
    let k = if x.rank() == 0 { 1 } else { c.args.int(1) as usize };
    let values = cpu::output(&c.outs[0], x.dtype)?;
    kernels::topk(
        cpu::src(&x),
        k,
        d,
        c.args.bool(3),
        c.args.bool(4),
        values.dst(),
        cpu::dst(&c.outs[1]),
    );
    values.store();
    Ok(())
}

/// Statistics of one dim: `dim` and `keepdim` are the parameters `at` and `at + 1`.
fn along_infer(a: &Args, at: usize, dtype: fn(DType) -> Result<DType>) -> Result<Metas> {
    let t = a.tensor(0);
    let (d, mask) = single(a.int(at), t.rank())?;
    not_empty(t.shape(), d)?;
    pair(reduced(t.shape(), &mask, a.bool(at + 1)), dtype(t.dtype)?)
}

fn along(c: &Call, at: usize, run: impl FnOnce(AnySrc, usize, AnyDst, AnyDst)) -> Result<()> {
    let (d, mask) = single(c.args.int(at), c.args.tensor(0).rank())?;
    with_views(c, &mask, |x, values, places| run(x, d, values, places))
}

fn kthvalue_infer(a: &Args) -> Result<Metas> {
    let metas = along_infer(a, 2, no_bool)?;
    let t = a.tensor(0);
    let d = wrap_dim(a.int(2), t.rank())?;
    let n = size_of(t.shape(), d) as i64;
    ensure!(
        (1..=n).contains(&a.int(1)),
        "kthvalue(): selected number k out of range for dimension {d}"
    );
    Ok(metas)
}

fn median_all(c: &Call, ignore_nan: bool) -> Result<()> {
    let (t, out) = (c.args.tensor(0), &c.outs[0]);
    if t.numel() == 0 {
        // PyTorch's answer for no elements.
        cpu::fill(
            out,
            if t.dtype.is_float() {
                Scalar::Float(f64::NAN)
            } else {
                Scalar::Int(i64::MIN)
            },
        );
        return Ok(());
    }
    let flat = cpu::contiguous(t, t.dtype.compute())?;
    let values = cpu::output(out, flat.dtype)?;
    let one = row(&[1]);
    let place = Core::empty(one, DType::I64, Device::Cpu)?;
    kernels::median(
        cpu::src_as(&flat, &packed(row(&[t.numel()]), flat.layout.offset)),
        0,
        ignore_nan,
        cpu::dst_as(&values.core, &packed(one, values.core.layout.offset)),
        cpu::dst(&place),
    );
    values.store();
    Ok(())
}

fn unique(a: &Args) -> Result<Vec<Core>> {
    let t = a.tensor(0);
    sortable(t.dtype)?;
    let flat = cpu::contiguous(t, t.dtype)?;
    let flat = flat.with_layout(packed(row(&[t.numel()]), flat.layout.offset));
    let wanted = a.bool(1);
    let shape = if wanted { *t.shape() } else { row(&[0]) };
    let inverse = Core::empty(shape, DType::I64, Device::Cpu)?;
    let places = wanted.then(|| cpu::slice_mut(&inverse));
    let found = kernels::unique_sorted(cpu::src(&computed(&flat)?), places);
    let list = |v: &[i64]| cpu::from_slice(v, row(&[v.len()]));
    let first = list(&found.first)?;
    let result = Core::empty(*first.shape(), t.dtype, Device::Cpu)?;
    index::index_select(cpu::src(&flat), 0, cpu::typed(&first), cpu::dst(&result), false)
        .map_err(super::support::out_of_range)?;
    Ok(vec![result, inverse, list(&found.counts)?])
}

pub fn ops() -> Vec<Builder> {
    vec![
        op("sort(input, dim: int = -1, descending: bool = False) -> (values, indices)", "The elements of a dim in order and where they were; equals keep their order, NaN is the largest.\n\n>>> firesteel.tensor([3, 1, 2]).sort().values\ntensor([1, 2, 3])")
            .compute(|a| sort_infer(a, 1), |c| sort_run(c, 1))
            .nondiff_output(1),
        op("sort.stable(input, *, stable: bool?, dim: int = -1, descending: bool = False) -> (values, indices)", "As `sort`, which is stable anyway.")
            .compute(|a| sort_infer(a, 2), |c| sort_run(c, 2))
            .nondiff_output(1),
        op("topk(input, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> (values, indices)", "The k largest (or smallest) elements of a dim in order, and where they are. More than there are raises RuntimeError.")
            .compute(topk_infer, topk_run)
            .nondiff_output(1),
        op("kthvalue(input, k: int, dim: int = -1, keepdim: bool = False) -> (values, indices)", "The k-th smallest element of a dim, from 1, and where it is. A k out of range raises RuntimeError.")
            .compute(kthvalue_infer, |c| {
                let k = c.args.int(1) as usize;
                along(c, 2, |x, d, values, places| kernels::kthvalue(x, k, d, values, places))
            })
            .nondiff_output(1),
        op("mode(input, dim: int = -1, keepdim: bool = False) -> (values, indices)", "The most frequent element of a dim (the smallest of several) and its last place. An empty dim raises IndexError.")
            .compute(|a| along_infer(a, 1, sortable), |c| along(c, 1, kernels::mode))
            .nondiff_output(1),
        op("median(input)", "The lower median of all elements; NaN if there is one, or none at all.")
            .compute(|a| one(Dims::EMPTY, no_bool(a.tensor(0).dtype)?), |c| median_all(c, false)),
        op("median.dim(input, dim: int, keepdim: bool = False) -> (values, indices)", "The lower median of a dim and where it is; NaN if there is one. An empty dim raises IndexError.")
            .compute(
                |a| along_infer(a, 1, no_bool),
                |c| along(c, 1, |x, d, values, places| kernels::median(x, d, false, values, places)),
            )
            .nondiff_output(1),
        op("nanmedian(input)", "The lower median of all elements that are not NaN.")
            .compute(|a| one(Dims::EMPTY, no_bool(a.tensor(0).dtype)?), |c| median_all(c, true)),
        op("nanmedian.dim(input, dim: int, keepdim: bool = False) -> (values, indices)", "The lower median of what is not NaN in a dim, and where it is. An empty dim raises IndexError.")
            .compute(
                |a| along_infer(a, 1, no_bool),
                |c| along(c, 1, |x, d, values, places| kernels::median(x, d, true, values, places)),
            )
            .nondiff_output(1),
        op("_unique(input, inverse: bool = True) -> (result, inverse, counts)", "The different elements in ascending order, for each element its place among them (nothing where that is not asked for), and how often each occurs.")
            .data_shape(unique)
            .nondiff_output(0)
            .nondiff_output(2)
            .function_only(),
    ]
}
