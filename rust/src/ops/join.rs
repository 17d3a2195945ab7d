//! Rearrangements that copy: cat, stack, flip, triangles.

use super::def::{Builder, Call, Meta, Metas, op};
use super::spatial::{channels_last, laid_like};
use super::support::one;
use crate::args::Args;
use crate::core::Core;
use crate::device::{Device, cpu, gpu};
use crate::dtype::{DType, legacy_name, promote};
use crate::ensure;
use crate::error::{Error, Result};
use crate::layout::{Dims, Layout, wrap_dim};
use firesteel_kernels::{MAX_RANK, elementwise, index};
use smallvec::smallvec;

/// Promoted dtype of a list, ranks apart.
fn common_dtype(list: &[Core]) -> Result<DType> {
    let mut d = list[0].dtype;
    for c in &list[1..] {
        d = match promote(d, c.dtype) {
            Some(d) => d,
            None => {
                return Error::runtime(format!(
                    "Promotion for uint16, uint32, uint64 types is not supported, attempted to promote {} and {}",
                    legacy_name(d),
                    legacy_name(c.dtype)
                ));
            }
        };
    }
    Ok(d)
}

/// An empty vector joins anything and adds nothing, as ever in PyTorch.
fn is_nothing(c: &Core) -> bool {
    c.rank() == 1 && c.numel() == 0
}

fn cat_infer(a: &Args) -> Result<Metas> {
    let list = a.tensors(0);
    if list.is_empty() {
        return Error::value("torch.cat(): expected a non-empty list of Tensors");
    }
    if let Some(i) = list.iter().position(|c| c.rank() == 0) {
        return Error::runtime(format!(
            "zero-dimensional tensor (at position {i}) cannot be concatenated"
        ));
    }
    let dtype = common_dtype(list)?;
    let mut real = list.iter().enumerate().filter(|(_, c)| !is_nothing(c));
    let Some((_, first)) = real.next() else {
        return one(*list[0].shape(), dtype);
    };
    let d = wrap_dim(a.int(1), first.rank())?;
    let mut shape = *first.shape();
    for (i, c) in real {
        ensure!(
            c.rank() == shape.len(),
            "Tensors must have same number of dimensions: got {} and {}",
            shape.len(),
            c.rank()
        );
        if let Some(e) = (0..shape.len()).find(|&e| e != d && c.shape()[e] != shape[e]) {
            return Error::runtime(format!(
                "Sizes of tensors must match except in dimension {d}. Expected size {} but got size {} for tensor number {i} \
                 in the list.",
                shape[e],
                c.shape()[e]
            ));
        }
        shape[d] = shape[d].saturating_add(c.shape()[d]);
    }
    shape.check()?;
    let n = shape.len().saturating_sub(2);
    let mut real = list.iter().filter(|c| !is_nothing(c));
    match real.next() {
        Some(first) if real.all(|c| channels_last(&c.layout, n)) => laid_like(first, shape, dtype, n),
        _ => one(shape, dtype),
    }
}

/// Dispatch checks single arguments for overlap with the output; here are lists.
fn apart(list: &[Core], out: &Core) -> Result<()> {
    match list.iter().position(|c| c.overlaps(out)) {
        None => Ok(()),
        Some(i) => Error::runtime(format!(
            "unsupported operation: the input tensors cannot refer to any of the output memory locations. Found overlap in \
             input tensor {i}."
        )),
    }
}

fn cat_run(c: &Call, copy: Copy) -> Result<()> {
    let (list, out) = (c.args.tensors(0), &c.outs[0]);
    apart(list, out)?;
    if out.numel() == 0 {
        return Ok(());
    }
    let d = wrap_dim(c.args.int(1), out.rank())?;
    let mut start = 0;
    let parts = list.iter().filter(|t| !is_nothing(t)).map(|t| {
        let n = t.shape()[d];
        start += n;
        (t, out.with_layout(out.layout.slice(d, start - n, n, 1)))
    });
    if out.device() == Device::Cpu && cpu::worth_sharing(list, out) {
        cpu::copy_all(&parts.collect::<Vec<_>>());
        return Ok(());
    }
    for (t, part) in parts {
        copy(t, &part)?;
    }
    Ok(())
}

/// Row-major tensors along the first dim: their elements one after another.
fn small_cat(a: &Args) -> Option<Core> {
    let list = a.tensors(0);
    let (first, rest) = list.split_first()?;
    let mut shape = *first.shape();
    if a.int(1) != 0 || shape.is_empty() {
        return None;
    }
    cpu::small(first)?;
    for c in rest {
        cpu::small(c)?;
        if c.rank() != shape.len() || (1..shape.len()).any(|d| c.shape()[d] != shape[d]) {
            return None;
        }
        shape[0] += c.shape()[0];
    }
    cpu::made(&shape, |mut out| {
        for values in list.iter().filter_map(cpu::small) {
            let (now, later) = out.split_at_mut(values.len());
            now.copy_from_slice(values);
            out = later;
        }
    })
}

/// A device's way to copy elements.
type Copy = fn(&Core, &Core) -> Result<()>;

fn on_cpu(from: &Core, to: &Core) -> Result<()> {
    cpu::copy(from, to);
    Ok(())
}

/// Of a tensor on the gpu, or of a 0-d one of the CPU.
fn on_gpu(from: &Core, to: &Core) -> Result<()> {
    gpu::copy(&gpu::transfer(from, Device::Gpu)?, to)
}

fn stack_infer(a: &Args) -> Result<Metas> {
    let list = a.tensors(0);
    ensure!(!list.is_empty(), "stack expects a non-empty TensorList");
    let first = list[0].shape();
    let d = wrap_dim(a.int(1), first.len() + 1)?;
    if let Some(i) = list.iter().position(|c| c.shape() != first) {
        return Error::runtime(format!(
            "stack expects each tensor to be equal size, but got {first} at entry 0 and {} at entry {i}",
            list[i].shape()
        ));
    }
    let mut shape = Dims::EMPTY;
    first[..d].iter().try_for_each(|&n| shape.push(n))?;
    shape.push(list.len())?;
    first[d..].iter().try_for_each(|&n| shape.push(n))?;
    shape.check()?;
    one(shape, common_dtype(list)?)
}

fn stack_run(c: &Call, copy: Copy) -> Result<()> {
    let (list, out) = (c.args.tensors(0), &c.outs[0]);
    apart(list, out)?;
    let d = wrap_dim(c.args.int(1), out.rank())?;
    for (i, t) in list.iter().enumerate() {
        copy(t, &out.with_layout(out.layout.select(d, i)))?;
    }
    Ok(())
}

fn flipped(a: &Args) -> Result<[bool; MAX_RANK]> {
    let rank = a.tensor(0).rank();
    let mut mask = [false; MAX_RANK];
    for &d in a.ints(1) {
        let d = wrap_dim(d, rank)?;
        ensure!(!mask[d], "dim {d} appears multiple times in the list of dims");
        mask[d] = true;
    }
    Ok(mask)
}

fn flip_infer(a: &Args) -> Result<Metas> {
    flipped(a)?;
    let t = a.tensor(0);
    let mut meta = Meta::new(*t.shape(), t.dtype);
    meta.layout = Some(Box::new(Layout::dense_like(*t.shape(), &t.layout)));
    Ok(smallvec![meta])
}

fn flip_run(c: &Call) -> Result<()> {
    let t = c.args.tensor(0);
    let from = t.layout.flipped(&flipped(c.args)?);
    elementwise::copy(cpu::src_as(t, &from), cpu::dst(&c.outs[0]));
    Ok(())
}

fn triangle_on_gpu(c: &Call, lower: bool) -> Result<()> {
    let (t, out) = (c.args.tensor(0), &c.outs[0]);
    let (rows, columns) = (t.shape()[t.rank() - 2], t.shape()[t.rank() - 1]);
    let reach = (rows + columns) as i64;
    let inside = if lower {
        "x <= y + bitcast<i32>(u2)"
    } else {
        "x >= y + bitcast<i32>(u2)"
    };
    let zero = gpu::Input::core(out)?.seen.zero();
    gpu::Each::new("triangle")
        .tensor("to", out, out.layout, true)?
        .tensor("a", t, t.layout, false)?
        .bits(rows as u32)
        .bits(columns as u32)
        .bits(c.args.int(1).clamp(-reach, reach) as i32 as u32)
        .run(&format!(
            "let x = i32(i % u1);\nlet y = i32((i / u1) % u0);\nvar v = {zero};\nif ({inside}) {{ v = load_a(o_a); }}\nstore_to(o_to, v);"
        ))
}

fn triangle_infer(a: &Args, name: &str) -> Result<Metas> {
    let t = a.tensor(0);
    ensure!(t.rank() >= 2, "{name}: input tensor must have at least 2 dimensions");
    one(*t.shape(), t.dtype)
}

pub fn ops() -> Vec<Builder> {
    vec![
        op("cat(tensors: Tensor[], dim: int = 0)", "The tensors one after another along a dim, their dtypes promoted; empty vectors are skipped. Other sizes that differ raise RuntimeError.\n\n>>> firesteel.cat([firesteel.tensor([1]), firesteel.tensor([2, 3])])\ntensor([1, 2, 3])")
            .compute(cat_infer, |c| cat_run(c, on_cpu))
            .gpu(|c| cat_run(c, on_gpu))
            .whole(small_cat)
            .function_only(),
        op("stack(tensors: Tensor[], dim: int = 0)", "The tensors side by side in a new dim, their dtypes promoted. Unequal shapes raise RuntimeError.")
            .compute(stack_infer, |c| stack_run(c, on_cpu))
            .gpu(|c| stack_run(c, on_gpu))
            .function_only(),
        op("flip(input, dims: int[])", "The elements in reverse order along some dims.").compute(flip_infer, flip_run),
        op("tril(input, diagonal: int = 0)", "The lower triangles of the last two dims, zero above the diagonal. Fewer dims raise RuntimeError.")
            .compute(|a| triangle_infer(a, "tril"), |c| {
                index::tril(cpu::src(c.args.tensor(0)), c.args.int(1), cpu::dst(&c.outs[0]));
                Ok(())
            })
            .gpu(|c| triangle_on_gpu(c, true))
            .inplace(),
        op("triu(input, diagonal: int = 0)", "The upper triangles of the last two dims, zero below the diagonal. Fewer dims raise RuntimeError.")
            .compute(|a| triangle_infer(a, "triu"), |c| {
                index::triu(cpu::src(c.args.tensor(0)), c.args.int(1), cpu::dst(&c.outs[0]));
                Ok(())
            })
            .gpu(|c| triangle_on_gpu(c, false))
            .inplace(),
    ]
}
