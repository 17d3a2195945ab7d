//! Optimizer steps: one call over all parameters of a group.
//!
//! Parameters and states are written in place. Parameters of a dtype or layout that the kernels do not take (strided,
//! float16) are worked on in a copy and stored back.

use super::def::{Builder, Call, Meta, Metas, op};
use crate::args::Args;
use crate::core::Core;
use crate::device::{Device, cpu};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layout::Dims;
use firesteel_kernels::dtype::Element;
use firesteel_kernels::optim::{self, Param, Real};
use smallvec::{SmallVec, smallvec};
use std::borrow::Cow;

/// Parameters, gradients and states, checked to fit each other, in the dtype that is computed in.
struct Group<'a> {
    values: Vec<Cow<'a, Core>>,
    grads: Vec<Cow<'a, Core>>,
    states: Vec<Vec<Cow<'a, Core>>>,
    /// (temporary, tensor that it is stored to).
    stores: Vec<(Core, Core)>,
}

/// Arguments 0 and 1 are parameters and gradients, those in `states` their states: (position, needed). A list that is
/// not needed may be empty.
fn group<'a>(args: &'a Args, states: &[(usize, bool)]) -> Result<Option<Group<'a>>> {
    let params = args.tensors(0);
    let grads = args.tensors(1);
    let Some(first) = params.first() else { return Ok(None) };
    let compute = first.dtype.compute();
    if !first.dtype.is_float() {
        return Error::runtime(format!(
            "parameters must be floating-point tensors, got {}",
            first.dtype.name()
        ));
    }
    let mut g = Group {
        values: Vec::with_capacity(params.len()),
        grads: Vec::with_capacity(params.len()),
        states: vec![],
        stores: vec![],
    };
    if grads.len() != params.len() {
        return Error::runtime(format!("{} parameters and {} gradients", params.len(), grads.len()));
    }
    for (p, d) in params.iter().zip(grads) {
        if p.shape() != d.shape() {
            return Error::runtime(format!(
                "a gradient of shape {} for a parameter of shape {}",
                d.shape(),
                p.shape()
            ));
        }
        if p.dtype.compute() != compute {
            return Error::runtime(format!(
                "parameters of {} and {} in one step",
                first.dtype.name(),
                p.dtype.name()
            ));
        }
        g.grads.push(if d.dtype == compute && d.layout.is_contiguous() {
            Cow::Borrowed(d)
        } else {
            Cow::Owned(cpu::contiguous(d, compute)?)
        });
        let v = writable(p, compute, &mut g.stores)?;
        g.values.push(v);
    }
    for &(at, needed) in states {
        let list = args.tensors(at);
        if (needed || !list.is_empty()) && list.len() != params.len() {
            return Error::runtime(format!("{} parameters and {} states", params.len(), list.len()));
        }
        let mut made = Vec::with_capacity(list.len());
        for (s, p) in list.iter().zip(params) {
            if s.shape() != p.shape() {
                return Error::runtime(format!(
                    "a state of shape {} for a parameter of shape {}",
                    s.shape(),
                    p.shape()
                ));
            }
            made.push(writable(s, compute, &mut g.stores)?);
        }
        g.states.push(made);
    }
    Ok(Some(g))
}

fn writable<'a>(c: &'a Core, compute: DType, stores: &mut Vec<(Core, Core)>) -> Result<Cow<'a, Core>> {
    c.check_writable()?;
    if c.dtype == compute && c.layout.is_contiguous() {
        return Ok(Cow::Borrowed(c));
    }
    let temp = Core::empty(*c.shape(), compute, Device::Cpu)?;
    cpu::copy(c, &temp);
    stores.push((temp.clone(), c.clone()));
    Ok(Cow::Owned(temp))
}

/// Runs a kernel over a group in its dtype. `steps` gives the number of each parameter's step.
fn update(
    args: &Args,
    states: &[(usize, bool)],
    steps: impl Fn(usize) -> f64,
    single: impl Fn(&mut [Param<f32>]),
    double: impl Fn(&mut [Param<f64>]),
) -> Result<()> {
    let Some(g) = group(args, states)? else { return Ok(()) };
    if g.values[0].dtype == DType::F64 {
        with_params(&g, steps, double)?;
    } else {
        with_params(&g, steps, single)?;
    }
    for (from, to) in &g.stores {
        cpu::copy(from, to);
    }
    Ok(())
}

fn with_params<T: Element + Real>(
    g: &Group,
    steps: impl Fn(usize) -> f64,
    run: impl Fn(&mut [Param<T>]),
) -> Result<()> {
    let all: Vec<&Core> = g.values.iter().chain(g.states.iter().flatten()).map(|c| &**c).collect();
    cpu::with_slices_mut::<T, _>(&all, |slices| {
        let mut slices = slices.into_iter();
        let values: Vec<&mut [T]> = slices.by_ref().take(g.values.len()).collect();
        let mut states: Vec<_> = g
            .states
            .iter()
            .map(|s| slices.by_ref().take(s.len()).collect::<Vec<_>>().into_iter())
            .collect();
        let mut params = Vec::with_capacity(values.len());
        for (i, value) in values.into_iter().enumerate() {
            let mut state: [&mut [T]; 3] = [&mut [], &mut [], &mut []];
            for (slot, list) in state.iter_mut().zip(&mut states) {
                if let Some(s) = list.next() {
                    *slot = s;
                }
            }
            params.push(Param {
                value,
                grad: cpu::slice::<T>(&g.grads[i]),
                state,
                step: steps(i),
            });
        }
        run(&mut params);
    })
}

fn nothing(_: &Args) -> Result<Metas> {
    Ok(SmallVec::new())
}

/// Floats at positions `from..from + N`.
fn floats<const N: usize>(c: &Call, from: usize) -> [f64; N] {
    std::array::from_fn(|i| c.args.float(from + i))
}

fn sgd(c: &Call) -> Result<()> {
    let a = c.args;
    let [lr, momentum, dampening, weight_decay] = floats(c, 4);
    let h = optim::Sgd {
        lr,
        momentum,
        dampening,
        weight_decay,
        nesterov: a.bool(8),
        maximize: a.bool(9),
    };
    let first = a.ints(3);
    let step = |i: usize| {
        if first.get(i).is_some_and(|&f| f != 0) {
            1.0
        } else {
            2.0
        }
    };
    update(
        a,
        &[(2, momentum != 0.0)],
        step,
        |p| optim::sgd(p, &h),
        |p| optim::sgd(p, &h),
    )
}

fn step_list(list: &[f64]) -> impl Fn(usize) -> f64 {
    move |i| list.get(i).copied().unwrap_or(1.0)
}

fn check_steps(a: &Args, at: usize) -> Result<&[f64]> {
    let list = a.floats(at);
    if list.len() != a.tensors(0).len() {
        return Error::runtime(format!(
            "{} parameters and {} step counts",
            a.tensors(0).len(),
            list.len()
        ));
    }
    Ok(list)
}

fn adam(c: &Call) -> Result<()> {
    let a = c.args;
    let [lr, beta1, beta2, eps, weight_decay] = floats(c, 6);
    let amsgrad = !a.tensors(4).is_empty();
    let h = optim::Adam {
        lr,
        beta1,
        beta2,
        eps,
        weight_decay,
        decoupled: a.bool(11),
        amsgrad,
        maximize: a.bool(12),
    };
    let steps = check_steps(a, 5)?;
    update(
        a,
        &[(2, true), (3, true), (4, false)],
        step_list(steps),
        |p| optim::adam(p, &h),
        |p| optim::adam(p, &h),
    )
}

fn rmsprop(c: &Call) -> Result<()> {
    let a = c.args;
    let [lr, alpha, eps, weight_decay, momentum] = floats(c, 5);
    let centered = !a.tensors(4).is_empty();
    let h = optim::Rmsprop {
        lr,
        alpha,
        eps,
        weight_decay,
        momentum,
        centered,
        maximize: a.bool(10),
    };
    update(
        a,
        &[(2, true), (3, momentum != 0.0), (4, false)],
        |_| 2.0,
        |p| optim::rmsprop(p, &h),
        |p| optim::rmsprop(p, &h),
    )
}

fn adagrad(c: &Call) -> Result<()> {
    let a = c.args;
    let [lr, lr_decay, weight_decay, eps] = floats(c, 4);
    let h = optim::Adagrad {
        lr,
        lr_decay,
        weight_decay,
        eps,
        maximize: a.bool(8),
    };
    let steps = check_steps(a, 3)?;
    update(
        a,
        &[(2, true)],
        step_list(steps),
        |p| optim::adagrad(p, &h),
        |p| optim::adagrad(p, &h),
    )
}

fn adadelta(c: &Call) -> Result<()> {
    let a = c.args;
    let [lr, rho, eps, weight_decay] = floats(c, 4);
    let h = optim::Adadelta {
        lr,
        rho,
        eps,
        weight_decay,
        maximize: a.bool(8),
    };
    update(
        a,
        &[(2, true), (3, true)],
        |_| 2.0,
        |p| optim::adadelta(p, &h),
        |p| optim::adadelta(p, &h),
    )
}

fn grad_norm_infer(a: &Args) -> Result<Metas> {
    let dtype = a.tensors(0).first().map_or(DType::F32, |g| g.dtype);
    if !dtype.is_float() {
        return Error::runtime(format!(
            "gradients must be floating-point tensors, got {}",
            dtype.name()
        ));
    }
    Ok(smallvec![Meta::new(Dims::EMPTY, dtype)])
}

/// The p-norm of all gradients together; p = 2 by the fused sum of squares.
fn grad_norm(c: &Call) -> Result<()> {
    let p = c.args.float(1);
    let list: Vec<Core> = c
        .args
        .tensors(0)
        .iter()
        .map(|g| cpu::contiguous(g, g.dtype.compute()))
        .collect::<Result<_>>()?;
    let mut total = 0.0;
    if p == 2.0 {
        let (single, double): (Vec<&Core>, Vec<&Core>) = list.iter().partition(|g| g.dtype == DType::F32);
        total += optim::sum_of_squares(&single.iter().map(|g| cpu::slice::<f32>(g)).collect::<Vec<_>>());
        total += optim::sum_of_squares(&double.iter().map(|g| cpu::slice::<f64>(g)).collect::<Vec<_>>());
        total = total.sqrt();
    } else {
        let values = list.iter().map(cpu::to_f64).collect::<Result<Vec<_>>>()?;
        let all = values.iter().flatten().map(|v| v.abs());
        total = if p == f64::INFINITY {
            all.fold(0.0, |m, v| if v > m || v.is_nan() { v } else { m })
        } else if p == f64::NEG_INFINITY {
            all.fold(f64::INFINITY, |m, v| if v < m || v.is_nan() { v } else { m })
        } else if p == 0.0 {
            all.filter(|v| *v != 0.0).count() as f64
        } else {
            all.map(|v| v.powf(p)).sum::<f64>().powf(1.0 / p)
        };
    }
    cpu::fill(&c.outs[0], crate::Scalar::Float(total));
    Ok(())
}

pub fn ops() -> Vec<Builder> {
    let all = |b: Builder, lists: &[&str]| lists.iter().fold(b.function_only(), |b, name| b.mutates(name));
    vec![
        all(
            op("_sgd_step(params: Tensor[], grads: Tensor[], momentum_buffers: Tensor[], first: int[], lr: float, momentum: float, dampening: float, weight_decay: float, nesterov: bool, maximize: bool)", "One step of stochastic gradient descent.").compute(nothing, sgd),
            &["params", "momentum_buffers"],
        ),
        all(
            op("_adam_step(params: Tensor[], grads: Tensor[], exp_avgs: Tensor[], exp_avg_sqs: Tensor[], max_exp_avg_sqs: Tensor[], steps: float[], lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool, maximize: bool)", "One step of Adam or (`decoupled`) AdamW.").compute(nothing, adam),
            &["params", "exp_avgs", "exp_avg_sqs", "max_exp_avg_sqs"],
        ),
        all(
            op("_rmsprop_step(params: Tensor[], grads: Tensor[], square_avgs: Tensor[], momentum_buffers: Tensor[], grad_avgs: Tensor[], lr: float, alpha: float, eps: float, weight_decay: float, momentum: float, maximize: bool)", "One step of RMSprop.").compute(nothing, rmsprop),
            &["params", "square_avgs", "momentum_buffers", "grad_avgs"],
        ),
        all(
            op("_adagrad_step(params: Tensor[], grads: Tensor[], state_sums: Tensor[], steps: float[], lr: float, lr_decay: float, weight_decay: float, eps: float, maximize: bool)", "One step of Adagrad.").compute(nothing, adagrad),
            &["params", "state_sums"],
        ),
        all(
            op("_adadelta_step(params: Tensor[], grads: Tensor[], square_avgs: Tensor[], acc_deltas: Tensor[], lr: float, rho: float, eps: float, weight_decay: float, maximize: bool)", "One step of Adadelta.").compute(nothing, adadelta),
            &["params", "square_avgs", "acc_deltas"],
        ),
        op("_grad_norm(grads: Tensor[], norm_type: float)", "The norm of all gradients as one vector.")
            .compute(grad_norm_infer, grad_norm)
            .function_only(),
    ]
}
