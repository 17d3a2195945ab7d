//! What the graph's fusion puts together (`graph/fuse.rs`): a product or convolution and what follows it, finished while
//! its block is in the cache, with the bits of the single ops. float32 and float64 on the CPU; elsewhere, composites.

use super::conv::{self, Steps};
use super::def::{Builder, Call, Metas, op};
use super::matmul;
use super::spatial::five;
use super::support::{in_rows, not_for, optional, row, with_float};
use crate::args::Args;
use crate::core::Core;
use crate::device::cpu;
use crate::dtype::DType;
use crate::ensure;
use crate::error::Result;
use crate::layout::Layout;
use firesteel_kernels::conv::{Finish, backward_data_finished, forward_finished};
use firesteel_kernels::norm;

/// Places of `_conv_act`'s parameters behind those of a convolution.
const NORM: usize = 7;
const PLUS: usize = 12;
const RELU: usize = 13;

/// The dtypes that are computed in themselves: rounding to narrower ones between two ops would be lost.
fn wide(metas: Metas) -> Result<Metas> {
    match metas[0].dtype {
        DType::F32 | DType::F64 => Ok(metas),
        d => not_for(d),
    }
}

/// A summand or mask of the result's shape.
fn fits(what: &Core, name: &str, metas: &Metas) -> Result<()> {
    let m = &metas[0];
    ensure!(
        *what.shape() == m.shape && what.dtype == m.dtype,
        "{name} has shape {} and dtype {}, the convolution's result {} and {}",
        what.shape(),
        what.dtype.name(),
        m.shape,
        m.dtype.name()
    );
    Ok(())
}

fn act_infer(a: &Args) -> Result<Metas> {
    let n = a.tensor(1).rank().wrapping_sub(2);
    ensure!(
        (1..=3).contains(&n),
        "weight should have three to five dimensions, but got size {}",
        a.tensor(1).shape()
    );
    let metas = wide(conv::infer(a, n)?)?;
    ensure!(a.tensor(1).shape()[1] > 0, "a convolution of no channels is not fused");
    ensure!(
        a.tensor(0).rank() == n + 2 || a.opt_tensor(NORM + 2).is_none(),
        "a norm needs a batch, got input of size {}",
        a.tensor(0).shape()
    );
    let channels = a.tensor(1).shape()[0];
    for (i, name) in ["norm_weight", "norm_bias", "mean", "var"].iter().enumerate() {
        if let Some(p) = a.opt_tensor(NORM + i) {
            ensure!(
                p.numel() == channels && p.dtype == metas[0].dtype,
                "{name} should contain {channels} elements of {}, not {} of {}",
                metas[0].dtype.name(),
                p.numel(),
                p.dtype.name()
            );
        }
    }
    ensure!(
        a.opt_tensor(NORM + 2).is_some() == a.opt_tensor(NORM + 3).is_some(),
        "mean and var are given together or not at all"
    );
    if let Some(plus) = a.opt_tensor(PLUS) {
        fits(plus, "plus", &metas)?;
    }
    Ok(metas)
}

fn act_run(c: &Call) -> Result<()> {
    let a = c.args;
    let (x, w) = (in_rows(a.tensor(0))?, in_rows(a.tensor(1))?);
    let (n, d) = (w.rank() - 2, x.dtype);
    let out = cpu::contiguous_output(&c.outs[0], d)?;
    let to = five(&out.core.layout, n);
    let s = Steps::new(a, 3, n)?.shape(x.shape(), w.shape(), out.core.shape());
    let flat = |i: usize| -> Result<Option<Core>> {
        match a.opt_tensor(i) {
            Some(p) => Ok(Some(
                cpu::contiguous(p, d)?.with_layout(Layout::contiguous(row(&[p.numel()]))),
            )),
            None => Ok(None),
        }
    };
    let [gain, shift, mean, var] = [0, 1, 2, 3].map(|i| flat(NORM + i));
    let (gain, shift, mean, var) = (gain?, shift?, mean?, var?);
    let bias = optional(a.opt_tensor(2), d)?;
    let plus = a.opt_tensor(PLUS).map(|p| cpu::contiguous(p, d)).transpose()?;
    with_float!(d, T => {
        let affine = match (&mean, &var) {
            (Some(m), Some(v)) => {
                let (gain, shift) = (gain.as_ref().map(cpu::src), shift.as_ref().map(cpu::src));
                Some(norm::batch_norm_affine::<T>(gain, shift, cpu::src(m), cpu::src(v), a.float(NORM + 4)))
            }
            _ => None,
        };
        let plus = plus.as_ref().map(|p| cpu::src_as(p, &five(&p.layout, n)).typed());
        let finish = Finish::<T> { norm: affine.as_deref(), plus, relu: a.bool(RELU), mask: None };
        let (from, weights) = (cpu::src_as(&x, &five(&x.layout, n)), cpu::src_as(&w, &five(&w.layout, n)));
        let bias = bias.as_ref().map(cpu::typed::<T>);
        forward_finished::<T>(&s, from.typed(), weights.typed(), bias, cpu::dst_as(&out.core, &to).typed(), &finish)
    });
    out.store();
    Ok(())
}

fn input_infer(a: &Args) -> Result<Metas> {
    let metas = wide(conv::input_infer(a)?)?;
    fits(a.tensor(7), "result", &metas)?;
    Ok(metas)
}

fn input_run(c: &Call) -> Result<()> {
    let (g, w) = (in_rows(c.args.tensor(0))?, in_rows(c.args.tensor(1))?);
    let out = cpu::contiguous_output(&c.outs[0], g.dtype)?;
    let s = conv::gradient_fits(c.args, g.shape(), out.core.shape(), w.shape())?;
    let shape = s.shape(out.core.shape(), w.shape(), g.shape());
    let mask = cpu::contiguous(c.args.tensor(7), g.dtype)?;
    let at = |c: &Core| five(&c.layout, s.n);
    with_float!(g.dtype, T => {
        let finish = Finish::<T> { mask: Some(cpu::src_as(&mask, &at(&mask)).typed()), ..Finish::NONE };
        let (from, weights) = (cpu::src_as(&g, &at(&g)), cpu::src_as(&w, &at(&w)));
        let to = cpu::dst_as(&out.core, &at(&out.core));
        backward_data_finished::<T>(&shape, from.typed(), weights.typed(), to.typed(), &finish)
    });
    out.store();
    Ok(())
}

pub fn ops() -> Vec<Builder> {
    vec![
        op(
            "_linear_relu(input, weight, bias: Tensor? = None)",
            "relu(linear(input, weight, bias)) in one pass; float32 and float64.",
        )
        .compute(|a| wide(matmul::linear_infer(a)?), |c| matmul::linear_with(c, true))
        .function_only(),
        op(
            "_conv_act(input, weight, bias: Tensor?, stride: int[], padding: int[], dilation: int[], groups: int, norm_weight: Tensor? = None, norm_bias: Tensor? = None, mean: Tensor? = None, var: Tensor? = None, eps: float = 0.0, plus: Tensor? = None, relu: bool = False)",
            "A convolution, batch norm by running statistics if `mean` and `var` are given, `plus` added, relu: each only where asked for, in one pass; float32 and float64.",
        )
        .compute(act_infer, act_run)
        .function_only(),
        op(
            "_conv_input_relu(grad, weight, input_size: int[], stride: int[], padding: int[], dilation: int[], groups: int, result)",
            "_relu_backward(_conv_input(…), result) in one pass; float32 and float64.",
        )
        .compute(input_infer, input_run)
        .function_only(),
    ]
}
