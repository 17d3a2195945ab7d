//! Softmax, its logarithm, and the negative log likelihood.

use super::def::{Builder, Call, Meta, Metas, op};
use super::support::{computed, float_only, one, optional, output_as, reshaped, row};
use crate::args::{Arg, Args};
use crate::core::Core;
use crate::device::{Device, cpu, gpu};
use crate::dtype::{DType, Scalar, legacy_name};
use crate::ensure;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Dims, Layout, wrap_dim};
use firesteel_kernels::softmax as kernels;
use smallvec::smallvec;

fn infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    wrap_dim(a.int(1), t.rank())?;
    one(*t.shape(), float_only(a.dtype(2).unwrap_or(t.dtype))?)
}

fn run(c: &Call, log: bool) -> Result<()> {
    let t = c.args.tensor(0);
    let d = wrap_dim(c.args.int(1), t.rank())?;
    let work = c.outs[0].dtype.compute();
    let (x, out) = (cpu::cast(t, work)?, cpu::output(&c.outs[0], work)?);
    kernels::softmax(cpu::src(&x), d, out.dst(), log);
    out.store();
    Ok(())
}

/// Along the last dim.
fn small(a: &Args, log: bool) -> Option<Core> {
    let x = a.tensor(0);
    let n = *x.shape().last()?;
    let d = a.int(1);
    let last = d == -1 || d == x.rank() as i64 - 1;
    let values = cpu::small(x).filter(|_| last && n > 1 && matches!(a[2], Arg::None))?;
    cpu::made(x.shape(), |out| kernels::softmax_rows(values, n, out, log))
}

fn backward_infer(a: &Args) -> Result<Metas> {
    let (g, y) = (a.tensor(0), a.tensor(1));
    wrap_dim(a.int(2), y.rank())?;
    ensure!(
        g.shape() == y.shape(),
        "gradient of shape {} for a result of shape {}",
        g.shape(),
        y.shape()
    );
    one(*y.shape(), float_only(y.dtype)?)
}

fn backward_run(c: &Call, log: bool) -> Result<()> {
    let y = computed(c.args.tensor(1))?;
    let g = cpu::cast(c.args.tensor(0), y.dtype)?;
    let d = wrap_dim(c.args.int(2), y.rank())?;
    let out = cpu::output(&c.outs[0], y.dtype)?;
    kernels::softmax_backward(cpu::src(&g), cpu::src(&y), d, out.dst(), log);
    out.store();
    Ok(())
}

fn run_on_gpu(c: &Call, log: bool) -> Result<()> {
    let t = gpu::cast(c.args.tensor(0), DType::F32)?;
    let d = wrap_dim(c.args.int(1), t.rank())?;
    gpu::softmax(&t, d, log, &c.outs[0])
}

fn backward_on_gpu(c: &Call, log: bool) -> Result<()> {
    let (g, y) = (c.args.tensor(0), c.args.tensor(1));
    gpu::floats_only([g, y])?;
    gpu::softmax_backward(g, y, wrap_dim(c.args.int(2), y.rank())?, log, &c.outs[0])
}

// ---- negative log likelihood ------------------------------------------------------------------------------------------

/// Batch, classes and positions of scores `[C]`, `[N, C]` or `[N, C, d..]`.
fn classes(input: &Dims) -> [usize; 3] {
    match input.len() {
        1 => [1, input[0], 1],
        _ => [input[0], input[1], input[2..].iter().product()],
    }
}

fn check_target(input: &Dims, target: &Core, weight: Option<&Core>, dtype: DType) -> Result<()> {
    if input.is_empty() {
        return Error::value("Expected 1 or more dimensions (got 0)");
    }
    ensure!(
        matches!(target.dtype, DType::I64 | DType::U8),
        "expected target dtype to be Long or Byte, but got {}",
        legacy_name(target.dtype)
    );
    let t = target.shape();
    match input.len() {
        1 => ensure!(
            t.len() <= 1 && t.numel() == 1,
            "size mismatch (got input: {input}, target: {t})"
        ),
        2 => {
            if t.first() != Some(&input[0]) {
                let n = t.first().copied().unwrap_or(1);
                return Error::value(format!(
                    "Expected input batch_size ({}) to match target batch_size ({n}).",
                    input[0]
                ));
            }
            ensure!(
                t.len() == 1,
                "0D or 1D target tensor expected, multi-target not supported"
            );
        }
        _ => {
            let mut want = Dims::new(&input[..1])?;
            input[2..].iter().try_for_each(|&n| want.push(n))?;
            ensure!(*t == want, "Expected target size {want}, got {t}");
        }
    }
    if let Some(w) = weight {
        let count = classes(input)[1];
        ensure!(
            w.rank() == 1 && w.numel() == count,
            "weight tensor should be defined either for all {count} classes or no classes but got weight tensor of shape: {}",
            w.shape()
        );
        ensure!(
            w.dtype == dtype,
            "expected scalar type {} but found {}",
            legacy_name(dtype),
            legacy_name(w.dtype)
        );
    }
    Ok(())
}

fn reduction(a: &Args, i: usize) -> Result<u8> {
    match a.int(i) {
        r @ 0..=2 => Ok(r as u8),
        r => Error::value(format!("{r} is not a valid value for reduction")),
    }
}

fn nll_infer(a: &Args) -> Result<Metas> {
    let x = a.tensor(0);
    check_target(x.shape(), a.tensor(1), a.opt_tensor(2), x.dtype)?;
    let d = float_only(x.dtype)?;
    let each = reduction(a, 3)? == 0 && x.rank() > 1;
    let shape = if each { *a.tensor(1).shape() } else { Dims::EMPTY };
    Ok(smallvec![Meta::new(shape, d), Meta::new(Dims::EMPTY, d.compute())])
}

fn bad_target(e: firesteel_kernels::index::IndexError) -> Error {
    Error::new(ErrorKind::Index, format!("Target {} is out of bounds.", e.index))
}

/// The target as int64 `[n, s]`.
fn labels(target: &Core, n: usize, s: usize) -> Result<Core> {
    reshaped(&cpu::cast(target, DType::I64)?, &row(&[n, s]))
}

fn nll_run(c: &Call) -> Result<()> {
    let x = computed(c.args.tensor(0))?;
    let [n, classes, s] = classes(x.shape());
    let x = reshaped(&x, &row(&[n, classes, s]))?;
    let target = labels(c.args.tensor(1), n, s)?;
    let weight = optional(c.args.opt_tensor(2), x.dtype)?;
    let reduction = reduction(c.args, 3)?;
    let out = cpu::output(&c.outs[0], x.dtype)?;
    let losses = if reduction == 0 {
        output_as(&out.core, row(&[n, s]))
    } else {
        out.core.clone()
    };
    kernels::nll_forward(
        cpu::src(&x),
        cpu::typed(&target),
        weight.as_ref().map(cpu::src),
        c.args.int(4),
        reduction,
        cpu::dst(&losses),
        cpu::dst(&c.outs[1]),
    )
    .map_err(bad_target)?;
    out.store();
    Ok(())
}

fn nll_backward_infer(a: &Args) -> Result<Metas> {
    let g = a.tensor(0);
    let shape = Dims::from_ints(a.ints(6))?;
    check_target(&shape, a.tensor(1), a.opt_tensor(2), g.dtype)?;
    let want = if reduction(a, 4)? == 0 {
        *a.tensor(1).shape()
    } else {
        Dims::EMPTY
    };
    ensure!(
        g.shape().numel() == want.numel(),
        "gradient of shape {} for a loss of shape {want}",
        g.shape()
    );
    ensure!(
        a.tensor(3).numel() == 1,
        "total_weight must be one number, got shape {}",
        a.tensor(3).shape()
    );
    one(shape, float_only(g.dtype)?)
}

fn nll_backward_run(c: &Call) -> Result<()> {
    let g = computed(c.args.tensor(0))?;
    let out = cpu::output(&c.outs[0], g.dtype)?;
    let [n, classes, s] = classes(out.core.shape());
    let target = labels(c.args.tensor(1), n, s)?;
    let weight = optional(c.args.opt_tensor(2), g.dtype)?;
    let total = cpu::cast(c.args.tensor(3), g.dtype)?;
    let reduction = reduction(c.args, 4)?;
    let grad = if reduction == 0 {
        reshaped(&g, &row(&[n, s]))?
    } else {
        g
    };
    kernels::nll_backward(
        cpu::src(&grad),
        cpu::typed(&target),
        weight.as_ref().map(cpu::src),
        c.args.int(5),
        reduction,
        cpu::src(&total),
        cpu::dst(&output_as(&out.core, row(&[n, classes, s]))),
    )
    .map_err(bad_target)?;
    out.store();
    Ok(())
}

/// Layouts `[n, s]` over scores (stride 0: the classes are indexed), labels and, flat, what belongs to each label; weights.
struct Shaded {
    labels: Core,
    weight: Core,
    grid: Layout,
    classes: usize,
}

fn shaded(shape: &Dims, target: &Core, weight: Option<&Core>) -> Result<Shaded> {
    let [n, classes, s] = classes(shape);
    Ok(Shaded {
        labels: gpu::contiguous(target)?,
        weight: match weight {
            Some(w) => gpu::contiguous(w)?,
            // Ones, of which one is read for each class.
            None => {
                let one = Core::empty(row(&[1]), DType::F32, Device::Gpu)?;
                gpu::fill(&one, Scalar::Int(1))?;
                one.with_layout(Layout::strided(row(&[classes]), &[0], 0))
            }
        },
        grid: Layout::contiguous(row(&[n, s])),
        classes,
    })
}

fn at(l: Layout, offset: usize) -> Layout {
    Layout { offset, ..l }
}

/// The losses and weights of all labels, then their sums.
fn nll_on_gpu(c: &Call) -> Result<()> {
    let x = c.args.tensor(0);
    gpu::floats_only([x])?;
    let [n, count, s] = classes(x.shape());
    let x = gpu::contiguous(x)?;
    let (ignore, reduction) = (c.args.int(4), reduction(c.args, 3)?);
    let t = shaded(x.shape(), c.args.tensor(1), c.args.opt_tensor(2))?;
    let losses = gpu::temporary(row(&[n, s]))?;
    let weights = gpu::temporary(row(&[n, s]))?;
    let scores = Layout::strided(row(&[n, s]), &[(count * s) as isize, 1], x.layout.offset);
    gpu::Each::new("nll_loss_nd")
        .tensor("loss", &losses, t.grid, true)?
        .tensor("part", &weights, t.grid, true)?
        .tensor("x", &x, scores, false)?
        .tensor("t", &t.labels, at(t.grid, t.labels.layout.offset), false)?
        .tensor("w", &t.weight, Layout::strided(row(&[n, s]), &[0, 0], t.weight.layout.offset), false)?
        .bits(t.classes as u32)
        .bits(s as u32)
        .bits(t.weight.layout.strides()[0] as u32)
        .bits(i32::try_from(ignore).unwrap_or(i32::MIN) as u32)
        .faults()
        .run(
            "let t = load_t(o_t);\nvar loss = 0.0;\nvar part = 0.0;\nif (t != bitcast<i32>(u3)) {\nif (t < 0 || u32(t) >= u0) { \
             fault(t); loss = fs_nan(); } else {\npart = load_w(o_w + u32(t) * u2);\nloss = -part * load_x(o_x + u32(t) * u1);\n}\n}\n\
             store_loss(o_loss, loss);\nstore_part(o_part, part);",
        )?;
    let sum = gpu::Fold::floats("0.0", "acc + v", "acc + v");
    let total = |from: &Core, to: &Core| {
        let place = Layout::strided(row(&[1, 1]), &[0, 0], to.layout.offset);
        gpu::reduce(&sum, from, &[true, true], None, to, &place)
    };
    total(&weights, &c.outs[1])?;
    let out = &c.outs[0];
    if reduction == 0 && x.rank() > 1 {
        let flat = losses.with_layout(Layout::contiguous(*out.shape()));
        return gpu::copy(&flat, out);
    }
    total(&losses, out)?;
    if reduction == 1 {
        let operands = [gpu::Input::core(out)?, gpu::Input::core(&c.outs[1])?];
        gpu::elementwise(out, gpu::Word::Float, "a / b", &operands)?;
    }
    Ok(())
}

fn nll_backward_on_gpu(c: &Call) -> Result<()> {
    let (g, total) = (c.args.tensor(0), c.args.tensor(3));
    gpu::floats_only([g, total])?;
    let (g, total) = (gpu::brought(g)?, gpu::brought(total)?);
    let out = gpu::output(&c.outs[0], DType::F32)?;
    let [n, count, s] = classes(out.core.shape());
    let (ignore, reduction) = (c.args.int(5), reduction(c.args, 4)?);
    let t = shaded(out.core.shape(), c.args.tensor(1), c.args.opt_tensor(2))?;
    let each = reduction == 0 && g.numel() > 1;
    let over = |strides: [isize; 3], offset: usize| Layout::strided(row(&[n, count, s]), &strides, offset);
    let per_label = [s as isize, 0, 1];
    gpu::Each::new("_nll_loss_backward")
        .tensor("to", &out.core, over([(count * s) as isize, s as isize, 1], out.core.layout.offset), true)?
        .tensor("g", &g, over(if each { per_label } else { [0; 3] }, g.layout.offset), false)?
        .tensor("t", &t.labels, over(per_label, t.labels.layout.offset), false)?
        .tensor("w", &t.weight, over([0, t.weight.layout.strides()[0], 0], t.weight.layout.offset), false)?
        .tensor("total", &total, over([0; 3], total.layout.offset), false)?
        .bits(count as u32)
        .bits(s.max(1) as u32)
        .bits(i32::try_from(ignore).unwrap_or(i32::MIN) as u32)
        .bits((reduction == 1) as u32)
        .faults()
        .run(
            "let t = load_t(o_t);\nlet k = (i / u1) % u0;\nvar v = 0.0;\nif (t != bitcast<i32>(u2)) {\nif (t < 0 || u32(t) >= u0) { \
             if (k == 0u) { fault(t); } } else if (u32(t) == k) {\nv = -load_g(o_g) * load_w(o_w);\nif (u3 != 0u) { v = v / \
             load_total(o_total); }\n}\n}\nstore_to(o_to, v);",
        )?;
    out.store()
}

pub fn ops() -> Vec<Builder> {
    vec![
        op("softmax(input, dim: int, dtype: dtype? = None)", "exp(x) / sum(exp(x)) along a dim, without overflow. Only floats; integers need a `dtype`.").compute(infer, |c| run(c, false)).gpu(|c| run_on_gpu(c, false)).small(|a| small(a, false)),
        op("log_softmax(input, dim: int, dtype: dtype? = None)", "The logarithm of `softmax`, exact where that is tiny. Only floats; integers need a `dtype`.").compute(infer, |c| run(c, true)).gpu(|c| run_on_gpu(c, true)).small(|a| small(a, true)),
        op("_softmax_backward(grad, result, dim: int)", "Gradient of `softmax` from its result.").compute(backward_infer, |c| backward_run(c, false)).gpu(|c| backward_on_gpu(c, false)).function_only(),
        op("_log_softmax_backward(grad, result, dim: int)", "Gradient of `log_softmax` from its result.").compute(backward_infer, |c| backward_run(c, true)).gpu(|c| backward_on_gpu(c, true)).function_only(),
        op("nll_loss_nd(input, target, weight: Tensor? = None, reduction: int = 1, ignore_index: int = -100) -> (result, total_weight)", "-weight[t] * input[.., t, ..] for the targets t: each (reduction 0), their mean by weight (1) or sum (2); targets equal to ignore_index count nothing. A target that is no class raises IndexError.")
            .compute(nll_infer, nll_run)
            .gpu(nll_on_gpu)
            .hide_others()
            .function_only(),
        op("_nll_loss_backward(grad, target, weight: Tensor?, total_weight, reduction: int, ignore_index: int, input_size: int[])", "Gradient of `nll_loss_nd` with respect to its input.")
            .compute(nll_backward_infer, nll_backward_run)
            .gpu(nll_backward_on_gpu)
            .function_only(),
    ]
}
