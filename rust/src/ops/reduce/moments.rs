//! Variances, standard deviations and norms.

use super::{SUM, count_of, everything, fold, shade, shade_of, with_views};
use crate::args::Args;
use crate::device::gpu::{self, Fold};
use crate::dtype::{Scalar, category, legacy_name, promote};
use crate::error::{Error, Result};
use crate::ops::def::{Builder, Call, Metas, op};
use crate::ops::infer::{axes, reduced};
use crate::ops::support::{Mask, one};
use firesteel_kernels::reduce::{self, Reduce};

/// Dims, correction and keepdim of one of the three forms of `var` and `std`.
struct Moment {
    mask: Mask,
    correction: f64,
    keepdim: bool,
}

fn unbiased(yes: bool) -> f64 {
    yes as u8 as f64
}

fn moment_all(a: &Args) -> Result<Moment> {
    Ok(Moment {
        mask: everything(a)?,
        correction: unbiased(a.bool(1)),
        keepdim: false,
    })
}

fn moment_dim(a: &Args) -> Result<Moment> {
    let mask = axes(a.opt_ints(1), a.tensor(0).rank())?;
    Ok(Moment {
        mask,
        correction: unbiased(a.bool(2)),
        keepdim: a.bool(3),
    })
}

fn moment(a: &Args) -> Result<Moment> {
    let mask = axes(a.opt_ints(1), a.tensor(0).rank())?;
    Ok(Moment {
        mask,
        correction: a.opt_scalar(2).map_or(1.0, Scalar::to_f64),
        keepdim: a.bool(3),
    })
}

fn moment_infer(a: &Args, form: fn(&Args) -> Result<Moment>) -> Result<Metas> {
    let t = a.tensor(0);
    if !t.dtype.is_float() {
        return Error::runtime("std and var only support floating point and complex dtypes");
    }
    let m = form(a)?;
    one(reduced(t.shape(), &m.mask, m.keepdim), t.dtype)
}

fn moment_run(c: &Call, form: fn(&Args) -> Result<Moment>, std: bool) -> Result<()> {
    let m = form(c.args)?;
    let work = c.outs[0].dtype.compute();
    with_views(c, &m.mask, work, |x, axes, out| {
        reduce::var(x, axes, m.correction, std, out)
    })
}

fn shade_moment(c: &Call, form: fn(&Args) -> Result<Moment>, std: bool) -> Result<()> {
    let (m, x) = (form(c.args)?, c.args.tensor(0));
    let n = count_of(x, &m.mask);
    let mean = gpu::temporary(reduced(x.shape(), &m.mask, true))?;
    let sum = SUM.finish("acc / n0", [n, 0.0]);
    gpu::reduce(&sum, x, &m.mask[..x.rank()], None, &mean, &mean.layout)?;
    let squares = Fold::floats("0.0", "acc + (v - b) * (v - b)", "acc + v").empty(f64::NAN);
    let divisor = (n - m.correction as f32).max(0.0);
    let text = match (divisor > 0.0, std) {
        (false, _) => "fs_nan()",
        (_, true) => "sqrt(acc / n0)",
        _ => "acc / n0",
    };
    shade_of(c, x, &m.mask, Some(&mean), &squares.finish(text, [divisor, 0.0]))
}

fn norm_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    if !t.dtype.is_float() {
        return Error::runtime(format!(
            "Expected a floating point or complex tensor as input. Got {}",
            legacy_name(t.dtype)
        ));
    }
    let d = a.dtype(4).unwrap_or(t.dtype);
    if category(d) < 2 || promote(d, t.dtype) != Some(d) {
        return Error::runtime(format!(
            "the dtype of the input ({}) should be convertible without narrowing to the specified dtype ({})",
            legacy_name(t.dtype),
            legacy_name(d)
        ));
    }
    let mask = axes(a.opt_ints(2), t.rank())?;
    let p = a.scalar(1).to_f64();
    if (p < 0.0 || p == f64::INFINITY) && t.numel() == 0 {
        if a.opt_ints(2).is_none_or(<[i64]>::is_empty) {
            return Error::runtime(format!(
                "cannot compute the {p} norm on an empty tensor because the operation does not have an identity"
            ));
        }
        if let Some(d) = (0..t.rank()).find(|&d| mask[d] && t.shape()[d] == 0) {
            return Error::runtime(format!(
                "cannot compute the {p} norm on the dimension {d} because this dimension is empty and the operation does \
                 not have an identity"
            ));
        }
    }
    one(reduced(t.shape(), &mask, a.bool(3)), d)
}

fn norm_run(c: &Call) -> Result<()> {
    let mask = axes(c.args.opt_ints(2), c.args.tensor(0).rank())?;
    fold(c, Reduce::Norm(c.args.scalar(1).to_f64()), &mask)
}

fn shade_norm(c: &Call) -> Result<()> {
    let t = c.args.tensor(0);
    let mask = axes(c.args.opt_ints(2), t.rank())?;
    let p = c.args.scalar(1).to_f64();
    let fold = if p == 2.0 {
        Fold::floats("0.0", "fma(v, v, acc)", "acc + v").finish("sqrt(acc)", [0.0; 2])
    } else if p == 1.0 {
        Fold::floats("0.0", "acc + abs(v)", "acc + v")
    } else if p == 0.0 {
        Fold::floats("0.0", "acc + select(0.0, 1.0, fs_ne(v, 0.0))", "acc + v")
    } else if p == f64::INFINITY {
        Fold::floats("0.0", "fs_max(acc, abs(v))", "fs_max(acc, v)")
    } else if p == f64::NEG_INFINITY {
        Fold::floats("fs_inf()", "fs_min(acc, abs(v))", "fs_min(acc, v)").empty(f64::INFINITY)
    } else {
        Fold::floats("0.0", "acc + fs_pow(abs(v), number(6u))", "acc + v")
            .finish("fs_pow(acc, n1)", [p as f32, (1.0 / p) as f32])
    };
    shade(c, &mask, &fold)
}

macro_rules! moments {
    ($name:literal, $std:literal, $doc:literal) => {
        [
            op(concat!($name, ".unbiased(input, unbiased: bool)"), $doc)
                .compute(|a| moment_infer(a, moment_all), |c| moment_run(c, moment_all, $std))
                .gpu(|c| shade_moment(c, moment_all, $std)),
            op(
                concat!(
                    $name,
                    ".dim(input, dim: int[1]?, unbiased: bool, keepdim: bool = False)"
                ),
                $doc,
            )
            .compute(|a| moment_infer(a, moment_dim), |c| moment_run(c, moment_dim, $std))
            .gpu(|c| shade_moment(c, moment_dim, $std)),
            op(
                concat!(
                    $name,
                    "(input, dim: int[1]? = None, *, correction: Scalar? = None, keepdim: bool = False)"
                ),
                $doc,
            )
            .compute(|a| moment_infer(a, moment), |c| moment_run(c, moment, $std))
            .gpu(|c| shade_moment(c, moment, $std)),
        ]
    };
}

pub fn ops() -> Vec<Builder> {
    let mut all = Vec::from(moments!(
        "var",
        false,
        "The variance over some dims, divided by n - correction (1, or what `unbiased` says); NaN where that is not positive. Only floats; others raise RuntimeError."
    ));
    all.extend(moments!(
        "std",
        true,
        "The standard deviation over some dims: the root of `var`. Only floats; others raise RuntimeError."
    ));
    all.push(
        op("linalg_vector_norm(input, ord: Scalar = 2, dim: int[1]? = None, keepdim: bool = False, *, dtype: dtype? = None)", "sum(|x|^ord)^(1/ord) over some dims: the count of what is not zero for 0, the largest or smallest for plus or minus infinity. Only floats; an empty dim raises RuntimeError where no norm of nothing exists.")
            .compute(norm_infer, norm_run)
            .gpu(shade_norm)
            .function_only()
    );
    all
}
