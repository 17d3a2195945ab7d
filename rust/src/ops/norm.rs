//! Layer, batch and group normalisation, and their gradients.

use super::def::{Builder, Call, Meta, Metas, op};
use super::support::{float_only, in_rows, optional, output_as, reshaped, row, rows_of};
use crate::args::Args;
use crate::core::Core;
use crate::device::cpu;
use crate::dtype::{DType, Scalar, legacy_name};
use crate::ensure;
use crate::error::Result;
use crate::layout::{Dims, wrap_dim};
use firesteel_kernels::elementwise::{self, Binary, Operand, Unary};
use firesteel_kernels::norm;
use smallvec::smallvec;

/// Parameters have the input's dtype; those of half-precision inputs may be float32.
fn parameter_dtype(x: DType, p: Option<&Core>) -> Result<()> {
    if let Some(p) = p {
        let fits = p.dtype == x || x.size() == 2 && p.dtype == DType::F32;
        let want = if x == DType::F64 { x } else { DType::F32 };
        ensure!(
            fits,
            "mixed dtype (CPU): expect parameter to have scalar type of {}, got {}",
            legacy_name(want),
            legacy_name(p.dtype)
        );
    }
    Ok(())
}

/// A parameter's gradient has its dtype.
fn parameter_grad(weight: Option<&Core>, x: DType, shape: Dims) -> Meta {
    Meta::new(shape, weight.map_or(x, |w| w.dtype))
}

/// Writes the three gradients that every backward pass here has.
fn with_grads(c: &Call, work: DType, shape: Dims, run: impl FnOnce([&Core; 3])) -> Result<()> {
    let [gx, gw, gb] = [0, 1, 2].map(|i| cpu::output(&c.outs[i], work));
    let (gx, gw, gb) = (gx?, gw?, gb?);
    let n = gw.core.numel();
    let flat = row(&[n]);
    run([
        &output_as(&gx.core, shape),
        &output_as(&gw.core, flat),
        &output_as(&gb.core, flat),
    ]);
    gx.store();
    gw.store();
    gb.store();
    Ok(())
}

/// Elements of a parameter or statistic one after another.
fn list(c: Option<&Core>, work: DType) -> Result<Option<Core>> {
    optional(c, work)?.map(|c| reshaped(&c, &row(&[c.numel()]))).transpose()
}

// ---- layer ------------------------------------------------------------------------------------------------------------

/// Rows and their length.
fn rows(x: &Dims, normalized: &[i64]) -> Result<[usize; 2]> {
    ensure!(
        !normalized.is_empty(),
        "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got \
         normalized_shape = {normalized:?}"
    );
    let fits = x.len() >= normalized.len()
        && x[x.len() - normalized.len()..]
            .iter()
            .zip(normalized)
            .all(|(&a, &b)| i64::try_from(a) == Ok(b));
    if !fits {
        let sizes: Vec<String> = normalized.iter().map(i64::to_string).collect();
        return crate::Error::runtime(format!(
            "Given normalized_shape={normalized:?}, expected input with shape [*, {}], but got input of size{x}",
            sizes.join(", ")
        ));
    }
    let split = x.len() - normalized.len();
    Ok([x[..split].iter().product(), x[split..].iter().product()])
}

fn layer_infer(a: &Args) -> Result<Metas> {
    let (x, normalized) = (a.tensor(0), a.ints(1));
    rows(x.shape(), normalized)?;
    for (i, name) in [(2, "weight"), (3, "bias")] {
        if let Some(p) = a.opt_tensor(i) {
            ensure!(
                p.shape().ints() == normalized,
                "Expected {name} to be of same shape as normalized_shape, but got {name} of shape {} and normalized_shape = \
                 {normalized:?}",
                p.shape()
            );
            parameter_dtype(x.dtype, Some(p))?;
        }
    }
    let d = float_only(x.dtype)?;
    let mut stats = *x.shape();
    let split = x.rank() - normalized.len();
    stats[split..].fill(1);
    let stats = Meta::new(stats, d.compute());
    Ok(smallvec![Meta::new(*x.shape(), d), stats.clone(), stats])
}

fn layer_run(c: &Call) -> Result<()> {
    let [outer, inner] = rows(c.args.tensor(0).shape(), c.args.ints(1))?;
    let x = reshaped(&in_rows(c.args.tensor(0))?, &row(&[outer, inner]))?;
    let (w, b) = (
        list(c.args.opt_tensor(2), x.dtype)?,
        list(c.args.opt_tensor(3), x.dtype)?,
    );
    let out = cpu::output(&c.outs[0], x.dtype)?;
    let [mean, rstd] = [1, 2].map(|i| output_as(&c.outs[i], row(&[outer])));
    norm::layer_norm_forward(
        cpu::src(&x),
        w.as_ref().map(cpu::src),
        b.as_ref().map(cpu::src),
        c.args.float(4),
        cpu::dst(&output_as(&out.core, row(&[outer, inner]))),
        cpu::dst(&mean),
        cpu::dst(&rstd),
    );
    out.store();
    Ok(())
}

fn layer_backward_infer(a: &Args) -> Result<Metas> {
    let (g, x, w) = (a.tensor(0), a.tensor(1), a.opt_tensor(4));
    let [outer, inner] = rows(x.shape(), a.ints(5))?;
    ensure!(
        g.shape() == x.shape(),
        "gradient of shape {} for an input of shape {}",
        g.shape(),
        x.shape()
    );
    let stats = a.tensor(2).numel() == outer && a.tensor(3).numel() == outer;
    ensure!(
        stats && w.is_none_or(|w| w.numel() == inner),
        "statistics or weight do not fit an input of shape {}",
        x.shape()
    );
    let p = parameter_grad(w, x.dtype, Dims::from_ints(a.ints(5))?);
    Ok(smallvec![Meta::new(*x.shape(), float_only(x.dtype)?), p.clone(), p])
}

fn layer_backward_run(c: &Call) -> Result<()> {
    let x = in_rows(c.args.tensor(1))?;
    let [outer, inner] = rows(x.shape(), c.args.ints(5))?;
    let shape = row(&[outer, inner]);
    let (x, g) = (
        reshaped(&x, &shape)?,
        reshaped(&rows_of(c.args.tensor(0), x.dtype)?, &shape)?,
    );
    let [mean, rstd] = [2, 3].map(|i| reshaped(&cpu::cast(c.args.tensor(i), x.dtype)?, &row(&[outer])));
    let (mean, rstd, w) = (mean?, rstd?, list(c.args.opt_tensor(4), x.dtype)?);
    with_grads(c, x.dtype, shape, |[gx, gw, gb]| {
        norm::layer_norm_backward(
            cpu::src(&g),
            cpu::src(&x),
            cpu::src(&mean),
            cpu::src(&rstd),
            w.as_ref().map(cpu::src),
            Some(cpu::dst(gx)),
            Some(cpu::dst(gw)),
            Some(cpu::dst(gb)),
        )
    })
}

// ---- batch ------------------------------------------------------------------------------------------------------------

/// `[n, c, the rest]`.
fn channels(x: &Dims) -> Result<[usize; 3]> {
    wrap_dim(1, x.len())?;
    Ok([x[0], x[1], x[2..].iter().product()])
}

fn batch_infer(a: &Args) -> Result<Metas> {
    let (x, training) = (a.tensor(0), a.bool(5));
    let count = channels(x.shape())?[1];
    let d = float_only(x.dtype)?;
    let names = ["weight", "bias", "running_mean", "running_var"];
    for (i, name) in names.iter().enumerate() {
        if let Some(p) = a.opt_tensor(i + 1) {
            ensure!(
                p.numel() == count,
                "{name} should contain {count} elements not {}",
                p.numel()
            );
            parameter_dtype(x.dtype, Some(p))?;
        } else {
            ensure!(training || i < 2, "{name} must be defined in evaluation mode");
        }
    }
    if let (Some(m), Some(v)) = (a.opt_tensor(3), a.opt_tensor(4)) {
        ensure!(
            m.dtype == v.dtype,
            "expected scalar type {} but found {}",
            legacy_name(m.dtype),
            legacy_name(v.dtype)
        );
    }
    let stats = Meta::new(row(&[if training { count } else { 0 }]), d.compute());
    Ok(smallvec![Meta::new(*x.shape(), d), stats.clone(), stats])
}

fn batch_run(c: &Call) -> Result<()> {
    let a = c.args;
    let [n, count, s] = channels(a.tensor(0).shape())?;
    let shape = row(&[n, count, s]);
    let x = reshaped(&in_rows(a.tensor(0))?, &shape)?;
    let work = x.dtype;
    let (w, b) = (list(a.opt_tensor(1), work)?, list(a.opt_tensor(2), work)?);
    let (w, b) = (w.as_ref().map(cpu::src), b.as_ref().map(cpu::src));
    let out = cpu::output(&c.outs[0], work)?;
    let y = output_as(&out.core, shape);
    let (running_mean, running_var) = (list(a.opt_tensor(3), work)?, list(a.opt_tensor(4), work)?);
    if !a.bool(5) {
        if let (Some(m), Some(v)) = (&running_mean, &running_var) {
            norm::batch_norm_eval(cpu::src(&x), w, b, cpu::src(m), cpu::src(v), a.float(7), cpu::dst(&y));
        }
        out.store();
        return Ok(());
    }
    for p in [3, 4].into_iter().filter_map(|i| a.opt_tensor(i)) {
        p.check_writable()?;
    }
    let var = Core::empty(row(&[count]), work, crate::Device::Cpu)?;
    let [mean, invstd] = [1, 2].map(|i| &c.outs[i]);
    let (to_mean, to_invstd) = (cpu::dst(mean), cpu::dst(invstd));
    norm::batch_norm_train(
        cpu::src(&x),
        w,
        b,
        a.float(7),
        cpu::dst(&y),
        to_mean,
        to_invstd,
        Some(cpu::dst(&var)),
    );
    out.store();
    if n * s == 0 || running_mean.is_none() && running_var.is_none() {
        return Ok(());
    }
    // The kernel moves both; into spare memory where one is not kept, or is not of the dtype or the strides it writes.
    let new = |old: Option<Core>| -> Result<Core> {
        let new = Core::empty(row(&[count]), work, crate::Device::Cpu)?;
        match old {
            Some(old) => cpu::copy(&old, &new),
            None => cpu::fill(&new, Scalar::Int(0)),
        }
        Ok(new)
    };
    let (m, v) = (new(running_mean)?, new(running_var)?);
    norm::running_stats(
        cpu::src(mean),
        cpu::src(&var),
        n * s,
        a.float(6),
        cpu::dst(&m),
        cpu::dst(&v),
    );
    for (i, moved) in [(3, &m), (4, &v)] {
        if let Some(p) = a.opt_tensor(i) {
            cpu::copy(&reshaped(moved, p.shape())?, p);
        }
    }
    Ok(())
}

fn batch_backward_infer(a: &Args) -> Result<Metas> {
    let (g, x, w, training) = (a.tensor(0), a.tensor(1), a.opt_tensor(2), a.bool(7));
    let count = channels(x.shape())?[1];
    ensure!(
        g.shape() == x.shape(),
        "gradient of shape {} for an input of shape {}",
        g.shape(),
        x.shape()
    );
    let stats = if training {
        [a.opt_tensor(5), a.opt_tensor(6)]
    } else {
        [a.opt_tensor(3), a.opt_tensor(4)]
    };
    let fit = stats.iter().all(|s| s.is_some_and(|s| s.numel() == count)) && w.is_none_or(|w| w.numel() == count);
    ensure!(fit, "statistics or weight do not fit an input of shape {}", x.shape());
    let p = parameter_grad(w, x.dtype, row(&[count]));
    Ok(smallvec![Meta::new(*x.shape(), float_only(x.dtype)?), p.clone(), p])
}

fn batch_backward_run(c: &Call) -> Result<()> {
    let (a, training) = (c.args, c.args.bool(7));
    let x = in_rows(a.tensor(1))?;
    let work = x.dtype;
    let [n, count, s] = channels(x.shape())?;
    let shape = row(&[n, count, s]);
    let (x, g) = (reshaped(&x, &shape)?, reshaped(&rows_of(a.tensor(0), work)?, &shape)?);
    let w = list(a.opt_tensor(2), work)?;
    let [first, second] = if training { [5, 6] } else { [3, 4] };
    let (Some(mean), Some(mut invstd)) = (list(a.opt_tensor(first), work)?, list(a.opt_tensor(second), work)?) else {
        return crate::Error::runtime("statistics are missing");
    };
    if !training {
        let made = Core::empty(row(&[count]), work, crate::Device::Cpu)?;
        let eps = Operand::Scalar(Scalar::Float(a.float(8)));
        elementwise::binary(
            Binary::Add,
            work,
            Operand::View(cpu::src(&invstd)),
            eps,
            cpu::dst(&made),
        );
        elementwise::unary(Unary::Rsqrt, work, Operand::View(cpu::src(&made)), cpu::dst(&made));
        invstd = made;
    }
    with_grads(c, work, shape, |[gx, gw, gb]| {
        norm::batch_norm_backward(
            cpu::src(&g),
            cpu::src(&x),
            w.as_ref().map(cpu::src),
            cpu::src(&mean),
            cpu::src(&invstd),
            training,
            Some(cpu::dst(gx)),
            Some(cpu::dst(gw)),
            Some(cpu::dst(gb)),
        )
    })
}

// ---- group ------------------------------------------------------------------------------------------------------------

/// `[n, groups, channels of a group, the rest]`.
fn groups(x: &Dims, groups: i64) -> Result<[usize; 4]> {
    ensure!(
        x.len() >= 2,
        "Expected at least 2 dimensions for input tensor but received {}",
        x.len()
    );
    ensure!(groups > 0, "Expected num groups to be greater than 0, got {groups}");
    let g = groups as usize;
    ensure!(
        x[1].is_multiple_of(g),
        "Expected number of channels in input to be divisible by num_groups, but got input of shape {x} and num_groups={groups}"
    );
    Ok([x[0], g, x[1] / g, x[2..].iter().product()])
}

fn group_infer(a: &Args) -> Result<Metas> {
    let x = a.tensor(0);
    let [n, g, _, _] = groups(x.shape(), a.int(1))?;
    for (i, name) in [(2, "weight"), (3, "bias")] {
        if let Some(p) = a.opt_tensor(i) {
            ensure!(
                p.rank() == 1 && p.numel() == x.shape()[1],
                "Expected {name} to be a vector of size equal to the number of channels in input, but got {name} of shape {} \
                 and input of shape {}",
                p.shape(),
                x.shape()
            );
            parameter_dtype(x.dtype, Some(p))?;
        }
    }
    let d = float_only(x.dtype)?;
    let stats = Meta::new(row(&[n, g]), d.compute());
    Ok(smallvec![Meta::new(*x.shape(), d), stats.clone(), stats])
}

fn group_run(c: &Call) -> Result<()> {
    let shape = row(&groups(c.args.tensor(0).shape(), c.args.int(1))?);
    let x = reshaped(&in_rows(c.args.tensor(0))?, &shape)?;
    let (w, b) = (
        list(c.args.opt_tensor(2), x.dtype)?,
        list(c.args.opt_tensor(3), x.dtype)?,
    );
    let out = cpu::output(&c.outs[0], x.dtype)?;
    norm::group_norm_forward(
        cpu::src(&x),
        w.as_ref().map(cpu::src),
        b.as_ref().map(cpu::src),
        c.args.float(4),
        cpu::dst(&output_as(&out.core, shape)),
        cpu::dst(&c.outs[1]),
        cpu::dst(&c.outs[2]),
    );
    out.store();
    Ok(())
}

fn group_backward_infer(a: &Args) -> Result<Metas> {
    let (g, x, w) = (a.tensor(0), a.tensor(1), a.opt_tensor(4));
    let [n, count, _, _] = groups(x.shape(), a.int(5))?;
    ensure!(
        g.shape() == x.shape(),
        "gradient of shape {} for an input of shape {}",
        g.shape(),
        x.shape()
    );
    let stats = [2, 3].iter().all(|&i| a.tensor(i).numel() == n * count);
    let fit = stats && w.is_none_or(|w| w.numel() == x.shape()[1]);
    ensure!(fit, "statistics or weight do not fit an input of shape {}", x.shape());
    let p = parameter_grad(w, x.dtype, row(&[x.shape()[1]]));
    Ok(smallvec![Meta::new(*x.shape(), float_only(x.dtype)?), p.clone(), p])
}

fn group_backward_run(c: &Call) -> Result<()> {
    let x = in_rows(c.args.tensor(1))?;
    let sizes = groups(x.shape(), c.args.int(5))?;
    let shape = row(&sizes);
    let (x, g) = (
        reshaped(&x, &shape)?,
        reshaped(&rows_of(c.args.tensor(0), x.dtype)?, &shape)?,
    );
    let [mean, rstd] = [2, 3].map(|i| reshaped(&cpu::cast(c.args.tensor(i), x.dtype)?, &row(&sizes[..2])));
    let (mean, rstd, w) = (mean?, rstd?, list(c.args.opt_tensor(4), x.dtype)?);
    with_grads(c, x.dtype, shape, |[gx, gw, gb]| {
        norm::group_norm_backward(
            cpu::src(&g),
            cpu::src(&x),
            w.as_ref().map(cpu::src),
            cpu::src(&mean),
            cpu::src(&rstd),
            Some(cpu::dst(gx)),
            Some(cpu::dst(gw)),
            Some(cpu::dst(gb)),
        )
    })
}

pub fn ops() -> Vec<Builder> {
    vec![
        op("layer_norm(input, normalized_shape: int[], weight: Tensor? = None, bias: Tensor? = None, eps: float = 1e-05) -> (result, mean, rstd)", "(x - mean) / sqrt(var + eps) * weight + bias over the last dims, which normalized_shape names (Ba et al., 2016). Sizes that do not fit raise RuntimeError.")
            .compute(layer_infer, layer_run)
            .hide_others()
            .function_only(),
        op("_layer_norm_backward(grad, input, mean, rstd, weight: Tensor?, normalized_shape: int[]) -> (input_grad, weight_grad, bias_grad)", "Gradients of `layer_norm`.")
            .compute(layer_backward_infer, layer_backward_run)
            .function_only(),
        op("batch_norm(input, weight: Tensor?, bias: Tensor?, running_mean: Tensor?, running_var: Tensor?, training: bool, momentum: float, eps: float) -> (result, save_mean, save_invstd)", "(x - mean) / sqrt(var + eps) * weight + bias per channel (dim 1): by the batch's statistics when training, which also move the running ones, else by the running ones (Ioffe and Szegedy, 2015).")
            .compute(batch_infer, batch_run)
            .mutates("running_mean")
            .mutates("running_var")
            .mutates_if("training")
            .hide_others()
            .function_only(),
        op("_batch_norm_backward(grad, input, weight: Tensor?, running_mean: Tensor?, running_var: Tensor?, save_mean, save_invstd, training: bool, eps: float) -> (input_grad, weight_grad, bias_grad)", "Gradients of `batch_norm`.")
            .compute(batch_backward_infer, batch_backward_run)
            .function_only(),
        op("group_norm(input, num_groups: int, weight: Tensor? = None, bias: Tensor? = None, eps: float = 1e-05) -> (result, mean, rstd)", "(x - mean) / sqrt(var + eps) over each group of channels, then weight and bias per channel (Wu and He, 2018). Channels that num_groups does not divide raise RuntimeError.")
            .compute(group_infer, group_run)
            .hide_others()
            .function_only(),
        op("_group_norm_backward(grad, input, mean, rstd, weight: Tensor?, num_groups: int) -> (input_grad, weight_grad, bias_grad)", "Gradients of `group_norm`.")
            .compute(group_backward_infer, group_backward_run)
            .function_only(),
    ]
}
