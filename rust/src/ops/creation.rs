//! New tensors: empty, of one value, of evenly spaced values, ones on the diagonal.

use super::def::{Builder, Call, Kernel, Meta, Metas, op};
use super::infer::{check_fits, default_dtype};
use crate::args::Args;
use crate::core::Core;
use crate::device::{cpu, gpu};
use crate::dtype::{DType, Scalar, of_scalar};
use crate::error::{Error, Result};
use crate::layout::{Dims, Layout};
use firesteel_kernels::elementwise::{self, Ramp, ramp, triangle};
use smallvec::smallvec;

/// `(size, [fill_value,] *, dtype, device)`: dtype at position `d`.
pub fn sized(a: &Args, d: usize) -> Result<Metas> {
    Ok(smallvec![Meta::new(
        Dims::from_ints(a.ints(0))?,
        a.dtype(d).unwrap_or_else(default_dtype)
    )])
}

pub fn fill_with(c: &Call, v: Scalar) -> Result<()> {
    cpu::fill(&c.outs[0], v);
    Ok(())
}

/// The strides that a tensor's like gets: its own where they are dense; `None` is row-major.
pub fn kept_layout(t: &Core) -> Option<Box<Layout>> {
    (!t.layout.is_contiguous()).then(|| Box::new(Layout::dense_like(*t.shape(), &t.layout)))
}

/// `(input, …, *, dtype)`: dtype at position `d`, else the input's; strides kept.
pub fn like(a: &Args, d: usize) -> Result<Metas> {
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

/// How many places of a matrix lie up to a diagonal.
fn up_to([rows, columns]: [i64; 2], diagonal: i64) -> i128 {
    let [rows, columns, d] = [rows, columns, diagonal].map(i128::from);
    // Rows without any, and those before the whole ones.
    let none = (-d).clamp(0, rows);
    let some = (columns - 1 - d).clamp(none, rows);
    let count = some - none;
    (rows - some) * columns + count * (none + d + 1) + count * (count - 1) / 2
}

fn triangle_infer(a: &Args) -> Result<Metas> {
    let (sizes, offset) = ([a.int(0), a.int(1)], a.int(2));
    if sizes.iter().any(|&n| n < 0) {
        return Error::runtime("row and column must be non-negative");
    }
    let n = if a.bool(3) {
        i128::from(sizes[0]) * i128::from(sizes[1]) - up_to(sizes, offset.saturating_sub(1))
    } else {
        up_to(sizes, offset)
    };
    let n = i64::try_from(n).unwrap_or(i64::MAX);
    Ok(smallvec![Meta::new(Dims::from_ints(&[2, n])?, DType::I64)])
}

fn triangle_run(c: &Call) -> Result<()> {
    let (sizes, offset) = ([c.args.int(0), c.args.int(1)], c.args.int(2));
    let out = cpu::contiguous_output(&c.outs[0], DType::I64)?;
    triangle(sizes, offset, c.args.bool(3), cpu::slice_mut(&out.core));
    out.store();
    Ok(())
}

/// Carries out on the CPU what reads no tensor's values, and uploads the result.
pub fn on_host(c: &Call, run: Kernel) -> Result<()> {
    gpu::from_host(&c.outs[0], |out| {
        run(&Call {
            args: c.args,
            outs: std::slice::from_ref(out),
            compute: c.compute,
            fresh: true,
        })
    })
}

pub fn ops() -> Vec<Builder> {
    vec![
        op(
            "_empty(size: int[], *, dtype: dtype? = None, device: device? = None)",
            "Uninitialised memory.",
        )
        .compute(|a| sized(a, 1), |_| Ok(()))
        .gpu(|_| Ok(()))
        .function_only(),
        op(
            "_full(size: int[], fill_value: Scalar, *, dtype: dtype? = None, device: device? = None)",
            "One value everywhere.",
        )
        .compute(full_infer, |c| fill_with(c, c.args.scalar(1)))
        .gpu(|c| gpu::fill(&c.outs[0], c.args.scalar(1)))
        .function_only(),
        op(
            "empty_like(input, *, dtype: dtype? = None)",
            "Uninitialised memory of the input's shape.",
        )
        .compute(|a| like(a, 1), |_| Ok(()))
        .gpu(|_| Ok(()))
        .function_only(),
        op(
            "_full_like(input, fill_value: Scalar, *, dtype: dtype? = None)",
            "One value in the input's shape.",
        )
        .compute(
            |a| {
                check_fits(&a[1], a.dtype(2).unwrap_or(a.tensor(0).dtype))?;
                like(a, 2)
            },
            |c| fill_with(c, c.args.scalar(1)),
        )
        .gpu(|c| gpu::fill(&c.outs[0], c.args.scalar(1)))
        .function_only(),
        op(
            "_arange(start: Scalar, end: Scalar, step: Scalar, *, dtype: dtype? = None, device: device? = None)",
            "start, start + step, … below end.",
        )
        .compute(arange_infer, arange_run)
        .gpu(|c| on_host(c, arange_run))
        .function_only(),
        op(
            "_linspace(start: Scalar, end: Scalar, steps: int, *, dtype: dtype? = None, device: device? = None)",
            "Evenly spaced values, both ends among them.",
        )
        .compute(linspace_infer, linspace_run)
        .gpu(|c| on_host(c, linspace_run))
        .function_only(),
        op(
            "_eye(n: int, m: int? = None, *, dtype: dtype? = None, device: device? = None)",
            "Ones on the diagonal.",
        )
        .compute(eye_infer, eye_run)
        .gpu(|c| on_host(c, eye_run))
        .function_only(),
        op(
            "_triangle(rows: int, columns: int, offset: int, upper: bool, *, device: device? = None)",
            "Row and column numbers of a matrix's places up to a diagonal, or from it on.",
        )
        .compute(triangle_infer, triangle_run)
        .gpu(|c| on_host(c, triangle_run))
        .function_only(),
    ]
}
