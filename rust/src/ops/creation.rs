//! New tensors, filled or random, and copies.

use super::def::{Builder, Call, Kernel, Meta, Metas, op};
use super::infer::{check_fits, default_dtype};
use super::support::float_only;
use crate::args::{Arg, Args};
use crate::device::cpu::{self, dst, operand};
use crate::device::{Device, gpu};
use crate::dtype::{DType, Scalar, of_scalar};
use crate::error::{Error, Result};
use crate::layout::{Dims, Layout};
use firesteel_kernels::elementwise::{self, Operand, Ramp, ramp};
use firesteel_kernels::random::{self, Philox};
use smallvec::smallvec;

/// `(size, [fill_value,] *, dtype, device)`: dtype at position `d`.
fn sized(a: &Args, d: usize) -> Result<Metas> {
    Ok(smallvec![Meta::new(
        Dims::from_ints(a.ints(0))?,
        a.dtype(d).unwrap_or_else(default_dtype)
    )])
}

fn fill_with(c: &Call, v: Scalar) -> Result<()> {
    cpu::fill(&c.outs[0], v);
    Ok(())
}

/// The strides that a tensor's like gets: its own where they are dense; `None` is row-major.
fn kept_layout(t: &crate::Core) -> Option<Box<Layout>> {
    (!t.layout.is_contiguous()).then(|| Box::new(Layout::dense_like(*t.shape(), &t.layout)))
}

/// `(input, …, *, dtype)`: dtype at position `d`, else the input's; strides kept.
fn like(a: &Args, d: usize) -> Result<Metas> {
    let t = a.tensor(0);
    let dtype = if d < a.items.len() {
        a.dtype(d).unwrap_or(t.dtype)
    } else {
        t.dtype
    };
    Ok(smallvec![Meta {
        shape: *t.shape(),
        dtype,
        compute: dtype.compute(),
        layout: kept_layout(t),
    }])
}

fn full_infer(a: &Args) -> Result<Metas> {
    let d = a.dtype(2).unwrap_or_else(|| of_scalar(a.scalar(1), default_dtype()));
    check_fits(&a[1], d)?;
    Ok(smallvec![Meta::new(Dims::from_ints(a.ints(0))?, d)])
}

/// Number of elements of `arange`.
fn arange_len(start: Scalar, end: Scalar, step: Scalar) -> Result<usize> {
    let all_ints = [start, end, step].iter().all(|s| !matches!(s, Scalar::Float(_)));
    let (s, e, d) = (start.to_f64(), end.to_f64(), step.to_f64());
    if d == 0.0 {
        return Error::runtime("step must be nonzero");
    }
    if !s.is_finite() || !e.is_finite() {
        return Error::runtime(format!("unsupported range: {s} -> {e}"));
    }
    if (d > 0.0) != (e >= s) && e != s {
        return Error::runtime("upper bound and lower bound inconsistent with step sign");
    }
    let n = if all_ints {
        let (s, e, d) = (start.to_i64() as i128, end.to_i64() as i128, step.to_i64() as i128);
        ((e - s + d - d.signum()) / d) as f64
    } else {
        ((e - s) / d).ceil()
    };
    if n > 1e15 {
        return Error::runtime(format!("invalid size, possible overflow? ({n} elements)"));
    }
    Ok(n as usize)
}

fn arange_infer(a: &Args) -> Result<Metas> {
    let [s, e, d] = [a.scalar(0), a.scalar(1), a.scalar(2)];
    let float = [s, e, d].iter().any(|s| matches!(s, Scalar::Float(_)));
    let dtype = a.dtype(3).unwrap_or(if float { default_dtype() } else { DType::I64 });
    Ok(smallvec![Meta::new(Dims::new(&[arange_len(s, e, d)?])?, dtype)])
}

fn arange_run(c: &Call) -> Result<()> {
    let (s, d) = (c.args.scalar(0), c.args.scalar(2));
    let of = if c.outs[0].dtype.is_float() {
        Ramp::Floats {
            start: s.to_f64(),
            step: d.to_f64(),
        }
    } else {
        Ramp::Ints {
            start: s.to_i64(),
            step: d.to_i64(),
        }
    };
    ramp(cpu::dst(&c.outs[0]), of);
    Ok(())
}

fn linspace_infer(a: &Args) -> Result<Metas> {
    let n = a.int(2);
    if n < 0 {
        return Error::runtime("number of steps must be non-negative");
    }
    Ok(smallvec![Meta::new(
        Dims::from_ints(&[n])?,
        a.dtype(3).unwrap_or_else(default_dtype)
    )])
}

fn linspace_run(c: &Call) -> Result<()> {
    let (s, e) = (c.args.scalar(0).to_f64(), c.args.scalar(1).to_f64());
    ramp(cpu::dst(&c.outs[0]), Ramp::Between { start: s, end: e });
    Ok(())
}

fn eye_infer(a: &Args) -> Result<Metas> {
    let n = a.int(0);
    let m = a.opt_int(1).unwrap_or(n);
    if n < 0 || m < 0 {
        return Error::runtime(format!("n and m must be greater or equal to 0, got {n} and {m}"));
    }
    Ok(smallvec![Meta::new(
        Dims::from_ints(&[n, m])?,
        a.dtype(2).unwrap_or_else(default_dtype)
    )])
}

fn eye_run(c: &Call) -> Result<()> {
    let out = &c.outs[0];
    cpu::fill(out, Scalar::Int(0));
    let n = out.shape()[0].min(out.shape()[1]);
    let step = out.layout.strides()[0] + out.layout.strides()[1];
    let diagonal = Layout::strided(Dims::new(&[n])?, &[step], out.layout.offset);
    if n > 0 {
        elementwise::fill(cpu::dst_as(out, &diagonal), Scalar::Int(1));
    }
    Ok(())
}

/// Takes as many counters as `n` elements need.
fn philox(c: &Call, generator: usize, n: usize) -> Philox {
    let (seed, offset) = c.args.generator(generator).take(Philox::counters(n));
    Philox { seed, offset }
}

fn uniform_run(c: &Call, lo: f64, hi: f64, generator: usize) -> Result<()> {
    let out = &c.outs[0];
    random::uniform(dst(out), philox(c, generator, out.numel()), lo, hi);
    Ok(())
}

fn normal_run(c: &Call, mean: f64, std: f64, generator: usize) -> Result<()> {
    let out = &c.outs[0];
    random::normal(dst(out), philox(c, generator, out.numel()), mean, std);
    Ok(())
}

fn exponential_run(c: &Call) -> Result<()> {
    let out = &c.outs[0];
    random::exponential(dst(out), philox(c, 2, out.numel()), c.args.float(1));
    Ok(())
}

fn randperm_run(c: &Call) -> Result<()> {
    let n = c.outs[0].numel();
    let out = cpu::contiguous_output(&c.outs[0], DType::I64)?;
    random::randperm(cpu::slice_mut(&out.core), philox(c, 1, n));
    out.store();
    Ok(())
}

/// Seed and offset of a draw for `n` elements.
fn take(c: &Call, generator: usize, n: usize) -> (u64, u64) {
    c.args.generator(generator).take(Philox::counters(n))
}

/// Carries out on the CPU what reads no tensor's values, and uploads the result.
fn on_host(c: &Call, run: Kernel) -> Result<()> {
    gpu::from_host(&c.outs[0], |out| {
        run(&Call {
            args: c.args,
            outs: std::slice::from_ref(out),
            compute: c.compute,
            fresh: true,
        })
    })
}

fn randint_check(low: i64, high: i64) -> Result<()> {
    if low >= high {
        return Error::runtime(format!(
            "random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        ));
    }
    Ok(())
}

fn randint_run(c: &Call, low: i64, high: i64, generator: usize) -> Result<()> {
    let out = &c.outs[0];
    random::randint(dst(out), philox(c, generator, out.numel()), low, high);
    Ok(())
}

fn float_dtype(m: Metas) -> Result<Metas> {
    float_only(m[0].dtype)?;
    Ok(m)
}

fn copy_infer(a: &Args) -> Result<Metas> {
    let (to, from) = (a.tensor(0), a.tensor(1));
    if !crate::layout::expands_to(from.shape(), to.shape()) {
        return Error::runtime(format!(
            "The size of tensor a {} must match the size of tensor b {}: cannot copy {} into {}",
            to.shape(),
            from.shape(),
            from.shape(),
            to.shape()
        ));
    }
    like(a, 3)
}

fn copy_run(c: &Call) -> Result<()> {
    let (from, out) = (gpu::to_host(c.args.tensor(1))?, &c.outs[0]);
    cpu::copy(&from.with_layout(from.layout.broadcast_to(out.shape())), out);
    Ok(())
}

/// Into memory of the gpu, from any device; what comes from the CPU is converted there.
fn copy_elsewhere(from: &crate::Core, out: &crate::Core) -> Result<()> {
    let from = match from.device() {
        Device::Cpu => gpu::transfer(&cpu::cast(from, out.dtype)?, Device::Gpu)?,
        _ => gpu::transfer(from, Device::Gpu)?,
    };
    gpu::copy(&from.with_layout(from.layout.broadcast_to(out.shape())), out)
}

/// Where `Tensor.to(dtype)` and `clone` put their copy: `memory_format` at `f`.
fn clone_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    let layout = match &a[1] {
        Arg::Str(s) if &**s == "contiguous" => None,
        _ => kept_layout(t),
    };
    Ok(smallvec![Meta {
        shape: *t.shape(),
        dtype: t.dtype,
        compute: t.dtype,
        layout
    }])
}

pub fn ops() -> Vec<Builder> {
    vec![
        op("_empty(size: int[], *, dtype: dtype? = None, device: device? = None)", "Uninitialised memory.")
            .compute(|a| sized(a, 1), |_| Ok(()))
            .gpu(|_| Ok(()))
            .function_only(),
        op("_full(size: int[], fill_value: Scalar, *, dtype: dtype? = None, device: device? = None)", "One value everywhere.")
            .compute(full_infer, |c| fill_with(c, c.args.scalar(1)))
            .gpu(|c| gpu::fill(&c.outs[0], c.args.scalar(1)))
            .function_only(),
        op("empty_like(input, *, dtype: dtype? = None)", "Uninitialised memory of the input's shape.")
            .compute(|a| like(a, 1), |_| Ok(()))
            .gpu(|_| Ok(()))
            .function_only(),
        op("_full_like(input, fill_value: Scalar, *, dtype: dtype? = None)", "One value in the input's shape.")
            .compute(
                |a| {
                    check_fits(&a[1], a.dtype(2).unwrap_or(a.tensor(0).dtype))?;
                    like(a, 2)
                },
                |c| fill_with(c, c.args.scalar(1)),
            )
            .gpu(|c| gpu::fill(&c.outs[0], c.args.scalar(1)))
            .function_only(),
        op("_arange(start: Scalar, end: Scalar, step: Scalar, *, dtype: dtype? = None, device: device? = None)", "start, start + step, … below end.")
            .compute(arange_infer, arange_run)
            .gpu(|c| on_host(c, arange_run))
            .function_only(),
        op("_linspace(start: Scalar, end: Scalar, steps: int, *, dtype: dtype? = None, device: device? = None)", "Evenly spaced values, both ends among them.")
            .compute(linspace_infer, linspace_run)
            .gpu(|c| on_host(c, linspace_run))
            .function_only(),
        op("_eye(n: int, m: int? = None, *, dtype: dtype? = None, device: device? = None)", "Ones on the diagonal.")
            .compute(eye_infer, eye_run)
            .gpu(|c| on_host(c, eye_run))
            .function_only(),
        op("_rand(size: int[], *, generator: Generator? = None, dtype: dtype? = None, device: device? = None)", "Uniform in [0, 1).")
            .compute(|a| float_dtype(sized(a, 2)?), |c| uniform_run(c, 0.0, 1.0, 1))
            .gpu(|c| gpu::uniform(&c.outs[0], take(c, 1, c.outs[0].numel()), 0.0, 1.0))
            .function_only()
            .random(),
        op("_randn(size: int[], *, generator: Generator? = None, dtype: dtype? = None, device: device? = None)", "Standard normal.")
            .compute(|a| float_dtype(sized(a, 2)?), |c| normal_run(c, 0.0, 1.0, 1))
            .gpu(|c| on_host(c, |c| normal_run(c, 0.0, 1.0, 1)))
            .function_only()
            .random(),
        op("_randint(low: int, high: int, size: int[], *, generator: Generator? = None, dtype: dtype? = None, device: device? = None)", "Integers in [low, high).")
            .compute(
                |a| {
                    randint_check(a.int(0), a.int(1))?;
                    Ok(smallvec![Meta::new(Dims::from_ints(a.ints(2))?, a.dtype(4).unwrap_or(DType::I64))])
                },
                |c| randint_run(c, c.args.int(0), c.args.int(1), 3),
            )
            .gpu(|c| on_host(c, |c| randint_run(c, c.args.int(0), c.args.int(1), 3)))
            .function_only()
            .random(),
        op("_randperm(n: int, *, generator: Generator? = None, dtype: dtype? = None, device: device? = None)", "A random order of 0 … n-1.")
            .compute(
                |a| {
                    if a.int(0) < 0 {
                        return Error::runtime("n must be non-negative");
                    }
                    Ok(smallvec![Meta::new(Dims::from_ints(&[a.int(0)])?, a.dtype(2).unwrap_or(DType::I64))])
                },
                randperm_run,
            )
            .gpu(|c| on_host(c, randperm_run))
            .function_only()
            .random(),
        op("fill(input, value: Operand)", "The value in every element.")
            .compute(
                |a| {
                    if let Arg::Tensor(v) = &a[1]
                        && v.rank() > 0
                    {
                        return Error::runtime(format!(
                            "fill_ only supports 0-dimension value tensor but got tensor with {} dimensions.",
                            v.rank()
                        ));
                    }
                    check_fits(&a[1], a.tensor(0).dtype)?;
                    like(a, 2)
                },
                |c| {
                    match operand(c.args, 1, c.outs[0].shape()) {
                        Operand::Scalar(s) => cpu::fill(&c.outs[0], s),
                        Operand::View(v) => elementwise::copy(v, dst(&c.outs[0])),
                    }
                    Ok(())
                },
            )
            .gpu(|c| match &c.args[1] {
                Arg::Tensor(v) => copy_elsewhere(v, &c.outs[0]),
                _ => gpu::fill(&c.outs[0], c.args.scalar(1)),
            })
            .elementwise()
            .no_out(),
        op("zero(input)", "Zero in every element.").compute(|a| like(a, 1), |c| fill_with(c, Scalar::Int(0)))
            .gpu(|c| gpu::fill(&c.outs[0], Scalar::Int(0)))
            .inplace_only(),
        op("copy(input, src, non_blocking: bool = False)", "The elements of src, converted and broadcast to self.")
            .compute(copy_infer, copy_run)
            .gpu(|c| copy_elsewhere(c.args.tensor(1), &c.outs[0]))
            .across_devices()
            .inplace_only(),
        op("uniform(input, from: float = 0, to: float = 1, *, generator: Generator? = None)", "Uniform in [from, to).")
            .compute(
                |a| {
                    let (lo, hi) = (a.float(1), a.float(2));
                    if lo > hi || lo.is_nan() || hi.is_nan() {
                        return Error::runtime(format!(
                            "uniform_ expects to return a [from, to) range, but found from={lo} > to={hi}"
                        ));
                    }
                    float_dtype(like(a, 4)?)
                },
                |c| uniform_run(c, c.args.float(1), c.args.float(2), 3),
            )
            .gpu(|c| gpu::uniform(&c.outs[0], take(c, 3, c.outs[0].numel()), c.args.float(1), c.args.float(2)))
            .inplace_only()
            .random(),
        op("normal(input, mean: float = 0, std: float = 1, *, generator: Generator? = None)", "Normal with a mean and a standard deviation.")
            .compute(
                |a| {
                    if a.float(2) < 0.0 || a.float(2).is_nan() {
                        return Error::runtime(format!("normal expects std >= 0.0, but found std {}", a.float(2)));
                    }
                    float_dtype(like(a, 4)?)
                },
                |c| normal_run(c, c.args.float(1), c.args.float(2), 3),
            )
            .gpu(|c| on_host(c, |c| normal_run(c, c.args.float(1), c.args.float(2), 3)))
            .inplace_only()
            .random(),
        op("_random(input, from: int, to: int, *, generator: Generator? = None)", "Integers in [from, to).")
            .compute(
                |a| {
                    randint_check(a.int(1), a.int(2))?;
                    like(a, 4)
                },
                |c| randint_run(c, c.args.int(1), c.args.int(2), 3),
            )
            .gpu(|c| on_host(c, |c| randint_run(c, c.args.int(1), c.args.int(2), 3)))
            .inplace_only()
            .random(),
        op("exponential(input, lambd: float = 1, *, generator: Generator? = None)", "Exponential with rate lambd.")
            .compute(
                |a| {
                    if a.float(1) <= 0.0 || a.float(1).is_nan() {
                        return Error::runtime(format!("exponential_ expects lambda > 0.0, but found lambda={}", a.float(1)));
                    }
                    float_dtype(like(a, 3)?)
                },
                exponential_run,
            )
            .gpu(|c| on_host(c, exponential_run))
            .inplace_only()
            .random(),
        op("_bernoulli(input, p: Operand, *, generator: Generator? = None)", "1 with probability p, else 0.")
            .compute(
                |a| {
                    if let Arg::Scalar(p) = &a[1]
                        && !(0.0..=1.0).contains(&p.to_f64())
                    {
                        return Error::runtime(format!("bernoulli_ expects p to be in [0, 1], but got p={}", p.to_f64()));
                    }
                    let shape = *a.tensor(0).shape();
                    if let Arg::Tensor(p) = &a[1]
                        && !crate::layout::expands_to(p.shape(), &shape)
                    {
                        return Error::runtime(format!("p of shape {} cannot be broadcast to {shape}", p.shape()));
                    }
                    like(a, 3)
                },
                |c| {
                    let out = &c.outs[0];
                    random::bernoulli(dst(out), philox(c, 2, out.numel()), operand(c.args, 1, out.shape()));
                    Ok(())
                },
            )
            .gpu(|c| {
                let out = &c.outs[0];
                let at = || take(c, 2, out.numel());
                match &c.args[1] {
                    Arg::Tensor(p) => {
                        let p = gpu::cast(p, DType::F32)?;
                        gpu::bernoulli(out, at(), Ok(&p))
                    }
                    _ => gpu::bernoulli(out, at(), Err(c.args.scalar(1).to_f64())),
                }
            })
            .inplace_only()
            .random(),
        op("native_dropout(input, p: float, train: bool? = True) -> (result, mask)", "Zeros each element with probability p and scales the others by 1 / (1 - p); also returns which were kept.")
            .compute(
                |a| {
                    if !(0.0..=1.0).contains(&a.float(1)) {
                        return Error::runtime(format!("dropout probability has to be between 0 and 1, but got {}", a.float(1)));
                    }
                    let m = float_dtype(like(a, 3)?)?;
                    let mask = Meta { dtype: DType::Bool, ..m[0].clone() };
                    Ok(m.into_iter().chain([mask]).collect())
                },
                |c| {
                    let x = c.args.tensor(0);
                    if matches!(c.args[2], Arg::Bool(false)) {
                        cpu::copy(x, &c.outs[0]);
                        cpu::fill(&c.outs[1], Scalar::Bool(true));
                        return Ok(());
                    }
                    let (seed, offset) = crate::generator::default_generator().take(Philox::counters(x.numel()));
                    random::dropout(cpu::src(x), Philox { seed, offset }, c.args.float(1), dst(&c.outs[0]), dst(&c.outs[1]));
                    Ok(())
                },
            )
            .gpu(|c| {
                let (x, out, mask) = (c.args.tensor(0), &c.outs[0], &c.outs[1]);
                if matches!(c.args[2], Arg::Bool(false)) {
                    gpu::copy(x, out)?;
                    return gpu::fill(mask, Scalar::Bool(true));
                }
                let at = crate::generator::default_generator().take(Philox::counters(x.numel()));
                gpu::dropout(x, at, c.args.float(1), out, mask)
            })
            .function_only()
            .random(),
        op("clone(input, *, memory_format: str? = None)", "A copy in new memory; the gradient flows through.")
            .compute(clone_infer, |c| {
                cpu::copy(c.args.tensor(0), &c.outs[0]);
                Ok(())
            })
            .gpu(|c| gpu::copy(c.args.tensor(0), &c.outs[0]))
            .no_out(),
        op("_to_copy(input, dtype: dtype)", "A copy in another dtype.")
            .compute(|a| like(a, 1), |c| {
                cpu::copy(c.args.tensor(0), &c.outs[0]);
                Ok(())
            })
            .gpu(|c| gpu::copy(c.args.tensor(0), &c.outs[0]))
            .function_only(),
        op("_to_device(input, device: device)", "A copy on another device.")
            .compute(|a| like(a, 2), |c| {
                cpu::copy(&gpu::to_host(c.args.tensor(0))?, &c.outs[0]);
                Ok(())
            })
            .gpu(|c| copy_elsewhere(c.args.tensor(0), &c.outs[0]))
            .across_devices()
            .no_out()
            .function_only(),
    ]
}
