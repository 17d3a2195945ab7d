//! Losses: negative log-likelihood, cross-entropy, and losses of pairs of numbers.

use super::def::{Builder, Call, Meta, Metas, op};
use super::support::{computed, float_only, one, packed, reshaped, row, with_float};
use crate::args::Args;
use crate::core::Core;
use crate::device::{Device, cpu, gpu};
use crate::dtype::{DType, Scalar, legacy_name};
use crate::ensure;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Dims, Layout};
use firesteel_kernels::loss::{self, Expected, LossElement, Pair, Reduction};
use smallvec::smallvec;

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
    check_weight(weight, classes(input)[1], dtype)
}

fn check_weight(weight: Option<&Core>, count: usize, dtype: DType) -> Result<()> {
    if let Some(w) = weight {
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

fn nll_infer(a: &Args) -> Result<Metas> {
    let x = a.tensor(0);
    check_target(x.shape(), a.tensor(1), a.opt_tensor(2), x.dtype)?;
    let d = float_only(x.dtype)?;
    let each = reduction(a, 3)? == Reduction::Each && x.rank() > 1;
    let shape = if each { *a.tensor(1).shape() } else { Dims::EMPTY };
    Ok(smallvec![Meta::new(shape, d), Meta::new(Dims::EMPTY, d.compute())])
}

fn bad_target(e: firesteel_kernels::index::IndexError) -> Error {
    Error::new(ErrorKind::Index, format!("Target {} is out of bounds.", e.index))
}

/// The targets one after another.
fn labels(target: &Core) -> Result<Core> {
    cpu::contiguous(target, DType::I64)
}

/// An argument's elements one after another.
fn list(c: Option<&Core>, dtype: DType) -> Result<Option<Core>> {
    c.map(|c| cpu::contiguous(c, dtype)).transpose()
}

/// What is made of the losses, as kernels name it. Of scores `[C]` there is one loss, and "each" is that.
fn reduction(a: &Args, i: usize) -> Result<Reduction> {
    match a.int(i) {
        0 => Ok(Reduction::Each),
        1 => Ok(Reduction::Mean),
        2 => Ok(Reduction::Sum),
        r => Error::value(format!("{r} is not a valid value for reduction")),
    }
}

fn nll_run(c: &Call) -> Result<()> {
    let x = computed(c.args.tensor(0))?;
    let x = reshaped(&x, &row(&classes(x.shape())))?;
    let (target, weight) = (labels(c.args.tensor(1))?, list(c.args.opt_tensor(2), x.dtype)?);
    let out = cpu::contiguous_output(&c.outs[0], x.dtype)?;
    let reduction = reduction(c.args, 3)?;
    with_float!(x.dtype, T => {
        cpu::with_slices_mut::<T, _>(&[&out.core, &c.outs[1]], |mut parts| {
            parts[1][0] = loss::nll_forward::<T>(
                &cpu::typed(&x),
                cpu::slice(&target),
                weight.as_ref().map(cpu::slice),
                c.args.int(4),
                reduction,
                parts[0],
            )?;
            Ok(())
        })?
        .map_err(bad_target)?;
    });
    out.store();
    Ok(())
}

fn nll_backward_infer(a: &Args) -> Result<Metas> {
    let g = a.tensor(0);
    let shape = Dims::from_ints(a.ints(6))?;
    check_target(&shape, a.tensor(1), a.opt_tensor(2), g.dtype)?;
    let want = if reduction(a, 4)? == Reduction::Each {
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
    let g = cpu::contiguous(c.args.tensor(0), c.args.tensor(0).dtype.compute())?;
    let out = cpu::contiguous_output(&c.outs[0], g.dtype)?;
    let (target, weight) = (labels(c.args.tensor(1))?, list(c.args.opt_tensor(2), g.dtype)?);
    let total = cpu::contiguous(c.args.tensor(3), g.dtype)?;
    let reduction = reduction(c.args, 4)?;
    with_float!(g.dtype, T => {
        cpu::with_slices_mut::<T, _>(&[&out.core], |mut parts| {
            loss::nll_backward::<T>(
                cpu::slice(&g),
                cpu::slice(&target),
                weight.as_ref().map(cpu::slice),
                c.args.int(5),
                reduction,
                cpu::slice(&total)[0],
                classes(c.outs[0].shape()),
                parts[0],
            )
        })?
        .map_err(bad_target)?;
    });
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
    if reduction == Reduction::Each && x.rank() > 1 {
        let flat = losses.with_layout(Layout::contiguous(*out.shape()));
        return gpu::copy(&flat, out);
    }
    total(&losses, out)?;
    if reduction == Reduction::Mean {
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
    let each = reduction == Reduction::Each && g.numel() > 1;
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
        .bits((reduction == Reduction::Mean) as u32)
        .faults()
        .run(
            "let t = load_t(o_t);\nlet k = (i / u1) % u0;\nvar v = 0.0;\nif (t != bitcast<i32>(u2)) {\nif (t < 0 || u32(t) >= u0) { \
             if (k == 0u) { fault(t); } } else if (u32(t) == k) {\nv = -load_g(o_g) * load_w(o_w);\nif (u3 != 0u) { v = v / \
             load_total(o_total); }\n}\n}\nstore_to(o_to, v);",
        )?;
    out.store()
}

// ---- cross-entropy ----------------------------------------------------------------------------------------------------

/// Arguments of `_cross_entropy` from a place on: input, target, weight; and from another: reduction, ignore_index, smoothing.
struct Asked {
    input: usize,
    options: usize,
}

const FORWARD: Asked = Asked { input: 0, options: 3 };
const BACKWARD: Asked = Asked { input: 1, options: 7 };

impl Asked {
    /// Whether the target holds probabilities.
    fn probabilities(&self, a: &Args) -> bool {
        let (x, t) = (a.tensor(self.input), a.tensor(self.input + 1));
        t.dtype.is_float() && t.shape() == x.shape()
    }

    fn check(&self, a: &Args) -> Result<()> {
        let (x, t, w) = (
            a.tensor(self.input),
            a.tensor(self.input + 1),
            a.opt_tensor(self.input + 2),
        );
        if !self.probabilities(a) {
            check_target(x.shape(), t, w, x.dtype)?;
        } else if x.rank() == 0 {
            return Error::value("Expected 1 or more dimensions (got 0)");
        } else {
            ensure!(
                t.dtype == x.dtype,
                "expected scalar type {} but found {}",
                legacy_name(x.dtype),
                legacy_name(t.dtype)
            );
            check_weight(w, classes(x.shape())[1], x.dtype)?;
        }
        float_only(x.dtype)?;
        reduction(a, self.options)?;
        let smoothing = a.float(self.options + 2);
        ensure!(
            (0.0..=1.0).contains(&smoothing),
            "label_smoothing must be between 0.0 and 1.0. Got: {smoothing}"
        );
        Ok(())
    }

    /// The shape of the losses.
    fn losses(&self, a: &Args) -> Result<Dims> {
        let x = a.tensor(self.input).shape();
        let mut dims = Dims::EMPTY;
        if x.len() > 1 {
            dims.push(x[0])?;
            x[2..].iter().try_for_each(|&n| dims.push(n))?;
        }
        Ok(dims)
    }

    /// Calls `f` with what the kernels are given.
    fn with<T: LossElement, R>(&self, a: &Args, f: impl FnOnce(&loss::Lines<T>, Reduction) -> R) -> Result<R> {
        let x = cpu::dense(&computed(a.tensor(self.input))?)?;
        let shape = row(&classes(x.shape()));
        let x = reshaped(&x, &shape)?;
        let weight = list(a.opt_tensor(self.input + 2), x.dtype)?;
        let target = a.tensor(self.input + 1);
        let target = match self.probabilities(a) {
            true => reshaped(&computed(target)?, &shape)?,
            false => labels(target)?,
        };
        let lines = loss::Lines {
            logits: cpu::typed(&x),
            expected: match self.probabilities(a) {
                true => Expected::Probabilities(cpu::typed(&target)),
                false => Expected::Classes {
                    target: cpu::slice(&target),
                    ignore: a.int(self.options + 1),
                },
            },
            weight: weight.as_ref().map(cpu::slice),
            smoothing: T::from_f64(a.float(self.options + 2)),
        };
        Ok(f(&lines, reduction(a, self.options)?))
    }
}

fn cross_entropy_infer(a: &Args) -> Result<Metas> {
    FORWARD.check(a)?;
    let d = a.tensor(0).dtype;
    let losses = FORWARD.losses(a)?;
    let shape = if reduction(a, 3)? == Reduction::Each {
        losses
    } else {
        Dims::EMPTY
    };
    let line = Meta::new(losses, d.compute());
    Ok(smallvec![
        Meta::new(shape, d),
        Meta::new(Dims::EMPTY, d.compute()),
        line.clone(),
        line
    ])
}

fn cross_entropy_run(c: &Call) -> Result<()> {
    let work = c.args.tensor(0).dtype.compute();
    let out = cpu::contiguous_output(&c.outs[0], work)?;
    with_float!(work, T => {
        FORWARD.with::<T, _>(c.args, |lines, reduction| {
            let outs = [&out.core, &c.outs[1], &c.outs[2], &c.outs[3]];
            cpu::with_slices_mut::<T, _>(&outs, |parts| {
                let [out, divisor, top, sum] = <[&mut [T]; 4]>::try_from(parts).expect("four outputs");
                divisor[0] = loss::cross_entropy_forward(lines, reduction, out, [top, sum])?;
                Ok(())
            })
        })??
        .map_err(bad_target)?;
    });
    out.store();
    Ok(())
}

/// grad, input, target, weight, divisor, top, sum, reduction, ignore_index, label_smoothing
fn cross_entropy_backward_infer(a: &Args) -> Result<Metas> {
    BACKWARD.check(a)?;
    let (g, x) = (a.tensor(0), a.tensor(1));
    let losses = BACKWARD.losses(a)?;
    let want = if reduction(a, 7)? == Reduction::Each {
        losses
    } else {
        Dims::EMPTY
    };
    ensure!(
        g.numel() == want.numel(),
        "gradient of shape {} for a loss of shape {want}",
        g.shape()
    );
    ensure!(
        a.tensor(4).numel() == 1 && [5, 6].iter().all(|&i| a.tensor(i).numel() == losses.numel()),
        "what the forward pass kept does not fit an input of shape {}",
        x.shape()
    );
    one(*x.shape(), x.dtype)
}

fn cross_entropy_backward_run(c: &Call) -> Result<()> {
    let work = c.args.tensor(1).dtype.compute();
    let out = cpu::contiguous_output(&c.outs[0], work)?;
    let [grad, divisor, top, sum] = [0, 4, 5, 6].map(|i| cpu::contiguous(c.args.tensor(i), work));
    let (grad, divisor, top, sum) = (grad?, divisor?, top?, sum?);
    with_float!(work, T => {
        BACKWARD.with::<T, _>(c.args, |lines, reduction| {
            cpu::with_slices_mut::<T, _>(&[&out.core], |mut parts| {
                let kept = [cpu::slice(&top), cpu::slice(&sum)];
                loss::cross_entropy_backward(lines, reduction, cpu::slice(&grad), cpu::slice(&divisor)[0], kept, parts[0])
            })
        })??
        .map_err(bad_target)?;
    });
    out.store();
    Ok(())
}

// ---- pairs ------------------------------------------------------------------------------------------------------------

/// Kinds in the order of `nn/functional/loss.py`.
fn pair(a: &Args, i: usize) -> Result<Pair> {
    let value = a.float(i + 2);
    Ok(match a.int(i) {
        0 => Pair::Square,
        1 => Pair::Absolute,
        2 => Pair::SmoothAbsolute(value),
        3 => Pair::Huber(value),
        4 => Pair::Binary,
        5 => Pair::BinaryOfLogits,
        6 => Pair::Divergence,
        7 => Pair::DivergenceOfLogs,
        k => return Error::value(format!("there is no loss {k}")),
    })
}

fn check_pair(a: &Args, first: usize) -> Result<()> {
    let (x, t) = (a.tensor(first), a.tensor(first + 1));
    ensure!(
        x.shape() == t.shape() && x.dtype == t.dtype,
        "input and target must be of one shape and dtype, but got {} of {} and {} of {}",
        x.shape(),
        legacy_name(x.dtype),
        t.shape(),
        legacy_name(t.dtype)
    );
    float_only(x.dtype)?;
    pair(a, first + 2)?;
    reduction(a, first + 3)?;
    Ok(())
}

/// Whether tensors of one shape lie alike, each in one block of memory but not row-major: then they are read in its order.
fn alike<const N: usize>(a: &Args, all: [usize; N]) -> bool {
    let first = &a.tensor(all[0]).layout;
    let same = |i: usize| a.tensor(i).layout.strides() == first.strides() && a.tensor(i).shape() == &first.shape;
    all.into_iter().all(same) && !first.is_contiguous() && first.is_dense()
}

/// The elements in the order of memory.
fn flat(c: &Core) -> Core {
    c.with_layout(packed(row(&[c.numel()]), c.layout.offset))
}

/// A result that lies as the input does.
fn lying_alike(x: &Core) -> Metas {
    let mut meta = Meta::new(*x.shape(), x.dtype);
    meta.layout = Some(Box::new(Layout { offset: 0, ..x.layout }));
    smallvec![meta]
}

fn pair_infer(a: &Args) -> Result<Metas> {
    check_pair(a, 0)?;
    let x = a.tensor(0);
    match reduction(a, 3)? {
        Reduction::Each if alike(a, [0, 1]) => Ok(lying_alike(x)),
        Reduction::Each => one(*x.shape(), x.dtype),
        _ => one(Dims::EMPTY, x.dtype),
    }
}

fn no_probability(_: loss::OutOfRange) -> Error {
    Error::new(
        ErrorKind::Runtime,
        "all elements of input should be between 0 and 1".to_string(),
    )
}

fn pair_run(c: &Call) -> Result<()> {
    let work = c.args.tensor(0).dtype.compute();
    let alike = alike(c.args, [0, 1]);
    let in_order = |t: &Core| cpu::contiguous(&if alike { flat(t) } else { t.clone() }, work);
    let [x, t] = [0, 1].map(|i| in_order(c.args.tensor(i)));
    let (x, t, kind) = (x?, t?, pair(c.args, 2)?);
    let reduction = reduction(c.args, 3)?;
    let to = if alike { flat(&c.outs[0]) } else { c.outs[0].clone() };
    let out = cpu::contiguous_output(&to, work)?;
    with_float!(work, T => {
        cpu::with_slices_mut::<T, _>(&[&out.core], |mut parts| {
            let (x, t) = (cpu::slice::<T>(&x), cpu::slice::<T>(&t));
            match reduction {
                Reduction::Each => return loss::pair_loss(kind, x, t, parts[0]),
                Reduction::Mean => parts[0][0] = (loss::pair_sum(kind, x, t)? / x.len() as f64) as T,
                Reduction::Sum => parts[0][0] = loss::pair_sum(kind, x, t)? as T,
            }
            Ok(())
        })?
        .map_err(no_probability)?;
    });
    out.store();
    Ok(())
}

fn pair_backward_infer(a: &Args) -> Result<Metas> {
    check_pair(a, 1)?;
    let (g, x) = (a.tensor(0), a.tensor(1));
    let want = if reduction(a, 4)? == Reduction::Each {
        x.numel()
    } else {
        1
    };
    ensure!(
        g.numel() == want,
        "gradient of shape {} for an input of shape {}",
        g.shape(),
        x.shape()
    );
    if all_alike(a) {
        Ok(lying_alike(x))
    } else {
        one(*x.shape(), x.dtype)
    }
}

/// Gradient, input and target; one gradient for all suits any.
fn all_alike(a: &Args) -> bool {
    if a.tensor(0).numel() == 1 {
        alike(a, [1, 2])
    } else {
        alike(a, [0, 1, 2])
    }
}

fn pair_backward_run(c: &Call) -> Result<()> {
    let work = c.args.tensor(1).dtype.compute();
    let alike = all_alike(c.args);
    let in_order = |t: &Core| cpu::contiguous(&if alike { flat(t) } else { t.clone() }, work);
    let [g, x, t] = [0, 1, 2].map(|i| in_order(c.args.tensor(i)));
    let (g, x, t, kind) = (g?, x?, t?, pair(c.args, 3)?);
    let to = if alike { flat(&c.outs[0]) } else { c.outs[0].clone() };
    let out = cpu::contiguous_output(&to, work)?;
    let mean = reduction(c.args, 4)? == Reduction::Mean;
    with_float!(work, T => {
        cpu::with_slices_mut::<T, _>(&[&out.core], |mut parts| {
            let (x, t) = (cpu::slice::<T>(&x), cpu::slice::<T>(&t));
            match (cpu::slice::<T>(&g), mean) {
                ([g], true) => loss::pair_gradient(kind, &[*g / x.len() as T], x, t, parts[0]),
                (g, _) => loss::pair_gradient(kind, g, x, t, parts[0]),
            }
        })?;
    });
    out.store();
    Ok(())
}

pub fn ops() -> Vec<Builder> {
    vec![
        op("nll_loss_nd(input, target, weight: Tensor? = None, reduction: int = 1, ignore_index: int = -100) -> (result, total_weight)", "-weight[t] * input[.., t, ..] for the targets t: each (reduction 0), their mean by weight (1) or sum (2); targets equal to ignore_index count nothing. A target that is no class raises IndexError.")
            .compute(nll_infer, nll_run)
            .gpu(nll_on_gpu)
            .hide_others()
            .function_only(),
        op("_nll_loss_backward(grad, target, weight: Tensor?, total_weight, reduction: int, ignore_index: int, input_size: int[])", "Gradient of `nll_loss_nd` with respect to its input.")
            .compute(nll_backward_infer, nll_backward_run)
            .gpu(nll_backward_on_gpu)
            .function_only(),
        op("_cross_entropy(input, target, weight: Tensor? = None, reduction: int = 1, ignore_index: int = -100, label_smoothing: float = 0.0) -> (result, divisor, top, sum)", "The cross-entropy of logits [.., C, ..] and target classes, or probabilities of the logits' shape, in one pass: each line's (reduction 0), their mean (1) or sum (2). For the derivative: the mean's divisor, and each line's maximum and sum of exponentials above it.")
            .compute(cross_entropy_infer, cross_entropy_run)
            .hide_others()
            .function_only(),
        op("_cross_entropy_backward(grad, input, target, weight: Tensor?, divisor, top, sum, reduction: int, ignore_index: int, label_smoothing: float)", "Gradient of `_cross_entropy` with respect to its input.")
            .compute(cross_entropy_backward_infer, cross_entropy_backward_run)
            .no_out()
            .function_only(),
        op("_pair_loss(input, target, kind: int, reduction: int = 1, value: float = 1.0)", "A loss of two tensors of one shape: 0 squared, 1 absolute, 2 smooth absolute (with beta), 3 Huber (with delta), 4 binary cross-entropy, 5 that of logits, 6 divergence from probabilities, 7 from their logarithms. Each (reduction 0), their mean (1) or sum (2).")
            .compute(pair_infer, pair_run)
            .no_out()
            .function_only(),
        op("_pair_loss_backward(grad, input, target, kind: int, reduction: int, value: float)", "Gradient of `_pair_loss` with respect to its input.")
            .compute(pair_backward_infer, pair_backward_run)
            .no_out()
            .function_only(),
    ]
}
