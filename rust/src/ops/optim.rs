//! Optimizer steps: one call over all parameters of a group.
//!
//! Parameters and states are written in place. Parameters of a dtype or layout that the kernels do not take (strided,
//! float16) are worked on in a copy and stored back.

use super::def::{Builder, Call, Meta, Metas, op};
use crate::args::Args;
use crate::core::Core;
use crate::device::{Device, cpu, gpu};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layout::{Dims, Layout};
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

// ---- on the gpu -------------------------------------------------------------------------------------------------------

/// How a step begins: the sign for maximizing, and weight decay; `n0` and `n1`.
fn decay(weight: f64, maximize: bool) -> [f64; 2] {
    [if maximize { -1.0 } else { 1.0 }, weight]
}

/// A program for each parameter: it reads `p`, `g` and the states `s0`, `s1`, `s2`, and changes what it likes. `numbers`
/// gives those of a parameter by its place. The gradient has its sign, and the decay of `w`, already.
fn shade(
    c: &Call,
    states: &[(usize, bool)],
    before: &str,
    program: &str,
    numbers: impl Fn(usize) -> Vec<f64>,
) -> Result<()> {
    const NAMES: [&str; 3] = ["s0", "s1", "s2"];
    let (params, grads) = (c.args.tensors(0), c.args.tensors(1));
    check(c.args, states)?;
    let used: Vec<&[Core]> = states
        .iter()
        .map(|&(at, _)| c.args.tensors(at))
        .filter(|l| !l.is_empty())
        .collect();
    let all = || params.iter().chain(used.iter().flat_map(|l| l.iter()));
    gpu::floats_only(all().chain(grads))?;
    all().try_for_each(Core::check_writable)?;
    for (i, (p, g)) in params.iter().zip(grads).enumerate() {
        let mut each = gpu::Each::new("optimizer step").tensor("p", p, p.layout, true)?;
        each = each.tensor("g", g, g.layout, false)?;
        let mut text = String::from("var p = load_p(o_p);\n");
        let mut end = String::from("store_p(o_p, p);\n");
        for (name, list) in NAMES.iter().zip(&used) {
            each = each.tensor(name, &list[i], list[i].layout, true)?;
            text.push_str(&format!("var {name} = load_{name}(o_{name});\n"));
            end.push_str(&format!("store_{name}(o_{name}, {name});\n"));
        }
        each = numbers(i).into_iter().fold(each, gpu::Each::number);
        text.push_str(before);
        text.push_str("var g = load_g(o_g) * n0;\nif (n1 != 0.0) { g = fma(n1, p, g); }\n");
        text.push_str(program);
        each.run(&(text + &end))?;
    }
    Ok(())
}

/// Shapes and lengths, as [`group`] checks them.
fn check(args: &Args, states: &[(usize, bool)]) -> Result<()> {
    let (params, grads) = (args.tensors(0), args.tensors(1));
    let fits = |list: &[Core], what: &str| {
        if list.len() != params.len() {
            return Error::runtime(format!("{} parameters and {} {what}s", params.len(), list.len()));
        }
        match list.iter().zip(params).find(|(a, p)| a.shape() != p.shape()) {
            None => Ok(()),
            Some((a, p)) => Error::runtime(format!(
                "a {what} of shape {} for a parameter of shape {}",
                a.shape(),
                p.shape()
            )),
        }
    };
    fits(grads, "gradient")?;
    for &(at, needed) in states {
        if needed || !args.tensors(at).is_empty() {
            fits(args.tensors(at), "state")?;
        }
    }
    Ok(())
}

fn sgd_on_gpu(c: &Call) -> Result<()> {
    let a = c.args;
    let [lr, momentum, dampening, weight_decay] = floats(c, 4);
    let [sign, weight] = decay(weight_decay, a.bool(9));
    let first = a.ints(3);
    let numbers = |i: usize| {
        let begins = first.get(i).is_some_and(|&f| f != 0) as u8 as f64;
        let nesterov = a.bool(8) as u8 as f64;
        vec![sign, weight, -lr, momentum, 1.0 - dampening, begins, nesterov]
    };
    if momentum == 0.0 {
        return shade(c, &[], "", "p = fma(n2, g, p);\n", numbers);
    }
    shade(
        c,
        &[(2, true)],
        "",
        "s0 = select(fma(n4, g, s0 * n3), g, n5 != 0.0);\nlet ahead = fma(n3, s0, g);\n\
         p = fma(n2, select(s0, ahead, n6 != 0.0), p);\n",
        numbers,
    )
}

fn adam_on_gpu(c: &Call) -> Result<()> {
    let a = c.args;
    let [lr, beta1, beta2, eps, weight_decay] = floats(c, 6);
    let decoupled = a.bool(11);
    let [sign, weight] = decay(if decoupled { 0.0 } else { weight_decay }, a.bool(12));
    let steps = check_steps(a, 5)?;
    let numbers = |i: usize| {
        let (c1, c2) = (1.0 - beta1.powf(steps[i]), 1.0 - beta2.powf(steps[i]));
        let shrink = if decoupled { 1.0 - lr * weight_decay } else { 1.0 };
        vec![
            sign,
            weight,
            shrink,
            1.0 - beta1,
            beta2,
            1.0 - beta2,
            c2.sqrt(),
            eps,
            -(lr / c1),
        ]
    };
    let program = |largest: &str, root: &str| {
        format!(
            "s0 = fs_lerp(s0, g, n3);\ns1 = fma(n5 * g, g, s1 * n4);\n{largest}p = p + n8 * s0 / (sqrt({root}) / n6 + n7);\n"
        )
    };
    let amsgrad = !a.tensors(4).is_empty();
    let text = if amsgrad {
        program("s2 = fs_max(s1, s2);\n", "s2")
    } else {
        program("", "s1")
    };
    shade(c, &[(2, true), (3, true), (4, false)], "p = p * n2;\n", &text, numbers)
}

fn adagrad_on_gpu(c: &Call) -> Result<()> {
    let a = c.args;
    let [lr, lr_decay, weight_decay, eps] = floats(c, 4);
    let [sign, weight] = decay(weight_decay, a.bool(8));
    let steps = check_steps(a, 3)?;
    shade(
        c,
        &[(2, true)],
        "",
        "s0 = fma(g, g, s0);\np = p + n2 * g / (sqrt(s0) + n3);\n",
        |i| vec![sign, weight, -(lr / (1.0 + (steps[i] - 1.0) * lr_decay)), eps],
    )
}

fn adadelta_on_gpu(c: &Call) -> Result<()> {
    let [lr, rho, eps, weight_decay] = floats(c, 4);
    let [sign, weight] = decay(weight_decay, c.args.bool(8));
    shade(
        c,
        &[(2, true), (3, true)],
        "",
        "s0 = fma(n4 * g, g, s0 * n3);\nlet d = sqrt(s1 + n5) / sqrt(s0 + n5) * g;\ns1 = fma(n4 * d, d, s1 * n3);\n\
         p = fma(n2, d, p);\n",
        |_| vec![sign, weight, -lr, rho, 1.0 - rho, eps],
    )
}

/// The 2-norm of each gradient, then of these.
fn grad_norm_on_gpu(c: &Call) -> Result<()> {
    let list = c.args.tensors(0);
    if c.args.float(1) != 2.0 {
        return Error::unsupported("a norm other than 2 is not implemented on device 'gpu'");
    }
    gpu::floats_only(list)?;
    let parts = gpu::temporary(Dims::new(&[list.len()])?)?;
    let squares = gpu::Fold::floats("0.0", "fma(v, v, acc)", "acc + v");
    for (i, g) in list.iter().enumerate() {
        let mask = [true; firesteel_kernels::MAX_RANK];
        let ones = [1usize; firesteel_kernels::MAX_RANK];
        let strides = [0isize; firesteel_kernels::MAX_RANK];
        let place = Layout::strided(Dims::new(&ones[..g.rank()])?, &strides[..g.rank()], i);
        let to = parts.with_layout(Layout::strided(Dims::EMPTY, &[], i));
        gpu::reduce(&squares, g, &mask[..g.rank()], None, &to, &place)?;
    }
    let total = gpu::Fold::floats("0.0", "acc + v", "acc + v").finish("sqrt(acc)", [0.0; 2]);
    let place = Layout::strided(Dims::new(&[1])?, &[0], c.outs[0].layout.offset);
    gpu::reduce(&total, &parts, &[true], None, &c.outs[0], &place)
}

pub fn ops() -> Vec<Builder> {
    let all = |b: Builder, lists: &[&str]| lists.iter().fold(b.function_only(), |b, name| b.mutates(name));
    vec![
        all(
            op("_sgd_step(params: Tensor[], grads: Tensor[], momentum_buffers: Tensor[], first: int[], lr: float, momentum: float, dampening: float, weight_decay: float, nesterov: bool, maximize: bool)", "One step of stochastic gradient descent.").compute(nothing, sgd).gpu(sgd_on_gpu),
            &["params", "momentum_buffers"],
        ),
        all(
            op("_adam_step(params: Tensor[], grads: Tensor[], exp_avgs: Tensor[], exp_avg_sqs: Tensor[], max_exp_avg_sqs: Tensor[], steps: float[], lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool, maximize: bool)", "One step of Adam or (`decoupled`) AdamW.").compute(nothing, adam).gpu(adam_on_gpu),
            &["params", "exp_avgs", "exp_avg_sqs", "max_exp_avg_sqs"],
        ),
        all(
            op("_rmsprop_step(params: Tensor[], grads: Tensor[], square_avgs: Tensor[], momentum_buffers: Tensor[], grad_avgs: Tensor[], lr: float, alpha: float, eps: float, weight_decay: float, momentum: float, maximize: bool)", "One step of RMSprop.").compute(nothing, rmsprop),
            &["params", "square_avgs", "momentum_buffers", "grad_avgs"],
        ),
        all(
            op("_adagrad_step(params: Tensor[], grads: Tensor[], state_sums: Tensor[], steps: float[], lr: float, lr_decay: float, weight_decay: float, eps: float, maximize: bool)", "One step of Adagrad.").compute(nothing, adagrad).gpu(adagrad_on_gpu),
            &["params", "state_sums"],
        ),
        all(
            op("_adadelta_step(params: Tensor[], grads: Tensor[], square_avgs: Tensor[], acc_deltas: Tensor[], lr: float, rho: float, eps: float, weight_decay: float, maximize: bool)", "One step of Adadelta.").compute(nothing, adadelta).gpu(adadelta_on_gpu),
            &["params", "square_avgs", "acc_deltas"],
        ),
        op("_grad_norm(grads: Tensor[], norm_type: float)", "The norm of all gradients as one vector.")
            .compute(grad_norm_infer, grad_norm)
            .gpu(grad_norm_on_gpu)
            .function_only(),
    ]
}
