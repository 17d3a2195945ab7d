//! Random numbers: a draw takes counters of a generator, as many as the shape asks for.

use super::creation::{like, on_host, sized};
use super::def::{Builder, Call, Meta, Metas, op};
use super::support::float_only;
use crate::args::{Arg, Args};
use crate::device::cpu::{self, dst, operand};
use crate::device::gpu;
use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::generator::default_generator;
use crate::layout::{Dims, expands_to};
use firesteel_kernels::random::{self, Philox};
use smallvec::smallvec;

/// Seed and offset of a draw for `n` elements.
fn take(c: &Call, generator: usize, n: usize) -> (u64, u64) {
    c.args.generator(generator).take(Philox::counters(n))
}

fn philox(c: &Call, generator: usize, n: usize) -> Philox {
    let (seed, offset) = take(c, generator, n);
    Philox { seed, offset }
}

fn float_dtype(m: Metas) -> Result<Metas> {
    float_only(m[0].dtype)?;
    Ok(m)
}

fn uniform_infer(a: &Args) -> Result<Metas> {
    let (lo, hi) = (a.float(1), a.float(2));
    if lo > hi || lo.is_nan() || hi.is_nan() {
        return Error::runtime(format!(
            "uniform_ expects to return a [from, to) range, but found from={lo} > to={hi}"
        ));
    }
    float_dtype(like(a, 4)?)
}

fn uniform_run(c: &Call, lo: f64, hi: f64, generator: usize) -> Result<()> {
    let out = &c.outs[0];
    random::uniform(dst(out), philox(c, generator, out.numel()), lo, hi);
    Ok(())
}

fn normal_infer(a: &Args) -> Result<Metas> {
    if a.float(2) < 0.0 || a.float(2).is_nan() {
        return Error::runtime(format!("normal expects std >= 0.0, but found std {}", a.float(2)));
    }
    float_dtype(like(a, 4)?)
}

fn normal_run(c: &Call, mean: f64, std: f64, generator: usize) -> Result<()> {
    let out = &c.outs[0];
    random::normal(dst(out), philox(c, generator, out.numel()), mean, std);
    Ok(())
}

fn exponential_infer(a: &Args) -> Result<Metas> {
    if a.float(1) <= 0.0 || a.float(1).is_nan() {
        return Error::runtime(format!(
            "exponential_ expects lambda > 0.0, but found lambda={}",
            a.float(1)
        ));
    }
    float_dtype(like(a, 3)?)
}

fn exponential_run(c: &Call) -> Result<()> {
    let out = &c.outs[0];
    random::exponential(dst(out), philox(c, 2, out.numel()), c.args.float(1));
    Ok(())
}

fn randint_check(low: i64, high: i64) -> Result<()> {
    if low >= high {
        return Error::runtime(format!(
            "random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        ));
    }
    Ok(())
}

fn randint_infer(a: &Args) -> Result<Metas> {
    randint_check(a.int(0), a.int(1))?;
    Ok(smallvec![Meta::new(
        Dims::from_ints(a.ints(2))?,
        a.dtype(4).unwrap_or(DType::I64)
    )])
}

fn random_infer(a: &Args) -> Result<Metas> {
    randint_check(a.int(1), a.int(2))?;
    like(a, 4)
}

fn randint_run(c: &Call, low: i64, high: i64, generator: usize) -> Result<()> {
    let out = &c.outs[0];
    random::randint(dst(out), philox(c, generator, out.numel()), low, high);
    Ok(())
}

fn randperm_infer(a: &Args) -> Result<Metas> {
    if a.int(0) < 0 {
        return Error::runtime("n must be non-negative");
    }
    Ok(smallvec![Meta::new(
        Dims::from_ints(&[a.int(0)])?,
        a.dtype(2).unwrap_or(DType::I64)
    )])
}

fn randperm_run(c: &Call) -> Result<()> {
    let n = c.outs[0].numel();
    let out = cpu::contiguous_output(&c.outs[0], DType::I64)?;
    random::randperm(cpu::slice_mut(&out.core), philox(c, 1, n));
    out.store();
    Ok(())
}

fn bernoulli_infer(a: &Args) -> Result<Metas> {
    if let Arg::Scalar(p) = &a[1]
        && !(0.0..=1.0).contains(&p.to_f64())
    {
        return Error::runtime(format!(
            "bernoulli_ expects p to be in [0, 1], but got p={}",
            p.to_f64()
        ));
    }
    let shape = *a.tensor(0).shape();
    if let Arg::Tensor(p) = &a[1]
        && !expands_to(p.shape(), &shape)
    {
        return Error::runtime(format!("p of shape {} cannot be broadcast to {shape}", p.shape()));
    }
    like(a, 3)
}

fn bernoulli_run(c: &Call) -> Result<()> {
    let out = &c.outs[0];
    random::bernoulli(dst(out), philox(c, 2, out.numel()), operand(c.args, 1, out.shape()));
    Ok(())
}

fn bernoulli_on_gpu(c: &Call) -> Result<()> {
    let out = &c.outs[0];
    let at = || take(c, 2, out.numel());
    match &c.args[1] {
        Arg::Tensor(p) => {
            let p = gpu::cast(p, DType::F32)?;
            gpu::bernoulli(out, at(), Ok(&p))
        }
        _ => gpu::bernoulli(out, at(), Err(c.args.scalar(1).to_f64())),
    }
}

fn dropout_infer(a: &Args) -> Result<Metas> {
    if !(0.0..=1.0).contains(&a.float(1)) {
        return Error::runtime(format!(
            "dropout probability has to be between 0 and 1, but got {}",
            a.float(1)
        ));
    }
    let m = float_dtype(like(a, 3)?)?;
    let mask = Meta {
        dtype: DType::Bool,
        ..m[0].clone()
    };
    Ok(m.into_iter().chain([mask]).collect())
}

fn dropout_run(c: &Call) -> Result<()> {
    let x = c.args.tensor(0);
    if matches!(c.args[2], Arg::Bool(false)) {
        cpu::copy(x, &c.outs[0]);
        cpu::fill(&c.outs[1], Scalar::Bool(true));
        return Ok(());
    }
    let (seed, offset) = default_generator().take(Philox::counters(x.numel()));
    random::dropout(
        cpu::src(x),
        Philox { seed, offset },
        c.args.float(1),
        dst(&c.outs[0]),
        dst(&c.outs[1]),
    );
    Ok(())
}

fn dropout_on_gpu(c: &Call) -> Result<()> {
    let (x, out, mask) = (c.args.tensor(0), &c.outs[0], &c.outs[1]);
    if matches!(c.args[2], Arg::Bool(false)) {
        gpu::copy(x, out)?;
        return gpu::fill(mask, Scalar::Bool(true));
    }
    let at = default_generator().take(Philox::counters(x.numel()));
    gpu::dropout(x, at, c.args.float(1), out, mask)
}

pub fn ops() -> Vec<Builder> {
    vec![
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
            .compute(randint_infer, |c| randint_run(c, c.args.int(0), c.args.int(1), 3))
            .gpu(|c| on_host(c, |c| randint_run(c, c.args.int(0), c.args.int(1), 3)))
            .function_only()
            .random(),
        op("_randperm(n: int, *, generator: Generator? = None, dtype: dtype? = None, device: device? = None)", "A random order of 0 … n-1.")
            .compute(randperm_infer, randperm_run)
            .gpu(|c| on_host(c, randperm_run))
            .function_only()
            .random(),
        op("uniform(input, from: float = 0, to: float = 1, *, generator: Generator? = None)", "Uniform in [from, to).")
            .compute(uniform_infer, |c| uniform_run(c, c.args.float(1), c.args.float(2), 3))
            .gpu(|c| gpu::uniform(&c.outs[0], take(c, 3, c.outs[0].numel()), c.args.float(1), c.args.float(2)))
            .inplace_only()
            .random(),
        op("normal(input, mean: float = 0, std: float = 1, *, generator: Generator? = None)", "Normal with a mean and a standard deviation.")
            .compute(normal_infer, |c| normal_run(c, c.args.float(1), c.args.float(2), 3))
            .gpu(|c| on_host(c, |c| normal_run(c, c.args.float(1), c.args.float(2), 3)))
            .inplace_only()
            .random(),
        op("_random(input, from: int, to: int, *, generator: Generator? = None)", "Integers in [from, to).")
            .compute(random_infer, |c| randint_run(c, c.args.int(1), c.args.int(2), 3))
            .gpu(|c| on_host(c, |c| randint_run(c, c.args.int(1), c.args.int(2), 3)))
            .inplace_only()
            .random(),
        op("exponential(input, lambd: float = 1, *, generator: Generator? = None)", "Exponential with rate lambd.")
            .compute(exponential_infer, exponential_run)
            .gpu(|c| on_host(c, exponential_run))
            .inplace_only()
            .random(),
        op("_bernoulli(input, p: Operand, *, generator: Generator? = None)", "1 with probability p, else 0.")
            .compute(bernoulli_infer, bernoulli_run)
            .gpu(bernoulli_on_gpu)
            .inplace_only()
            .random(),
        op("native_dropout(input, p: float, train: bool? = True) -> (result, mask)", "Zeros each element with probability p and scales the others by 1 / (1 - p); also returns which were kept.")
            .compute(dropout_infer, dropout_run)
            .gpu(dropout_on_gpu)
            .function_only()
            .random(),
    ]
}
