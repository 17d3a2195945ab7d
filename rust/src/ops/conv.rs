//! Convolutions over one to three spatial dims, and their gradients.

use super::def::{Builder, Call, Metas, op};
use super::spatial::{five, per_dim, sizes, times};
use super::support::{c_name, in_rows, not_for, one, optional};
use crate::args::Args;
use crate::core::Core;
use crate::device::cpu;
use crate::dtype::{DType, Scalar};
use crate::ensure;
use crate::error::{Error, Result};
use crate::layout::{Dims, Layout};
use firesteel_kernels::conv::{self, ConvShape};

/// Runs an expression for the type that stands in for a dtype: integers are convolved as int64, which wraps as they do.
macro_rules! with_number {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            DType::F64 => {
                type $t = f64;
                $body
            }
            DType::I64 => {
                type $t = i64;
                $body
            }
            _ => {
                type $t = f32;
                $body
            }
        }
    };
}

/// How the windows of a convolution lie.
pub(super) struct Steps {
    pub n: usize,
    stride: [usize; 3],
    padding: [usize; 3],
    dilation: [usize; 3],
    groups: usize,
}

impl Steps {
    /// From the arguments that start at `first`, for `n` spatial dims.
    pub fn new(a: &Args, first: usize, n: usize) -> Result<Steps> {
        let [stride, padding, dilation] = [first, first + 1, first + 2].map(|i| a.ints(i));
        let groups = a.int(first + 3);
        ensure!(stride.iter().all(|&v| v > 0), "non-positive stride is not supported");
        ensure!(padding.iter().all(|&v| v >= 0), "negative padding is not supported");
        ensure!(
            dilation.iter().all(|&v| v > 0),
            "dilation should be greater than zero, but got {dilation:?}"
        );
        ensure!(groups > 0, "non-positive groups is not supported");
        let list = |values: &[i64], fill: usize, name: &str| {
            per_dim(values, n, fill, || {
                format!(
                    "expected {name} to be a single integer value or a list of {n} values to match the convolution \
                     dimensions, but got {name}={values:?}"
                )
            })
        };
        Ok(Steps {
            n,
            stride: list(stride, 1, "stride")?,
            padding: list(padding, 0, "padding")?,
            dilation: list(dilation, 1, "dilation")?,
            groups: groups as usize,
        })
    }

    /// Output sizes for these input and kernel sizes; `None` where the kernel does not fit.
    fn output(&self, input: [usize; 3], kernel: [usize; 3]) -> Option<[usize; 3]> {
        let mut out = [0; 3];
        for (d, o) in out.iter_mut().enumerate() {
            let reach = self.dilation[d].checked_mul(kernel[d] - 1)? + 1;
            *o = (input[d] + 2 * self.padding[d]).checked_sub(reach)? / self.stride[d] + 1;
        }
        Some(out)
    }

    /// The kernels' description, for shapes `[n, c, spatial..]` or without n.
    pub fn shape(&self, input: &Dims, weight: &Dims, output: &Dims) -> ConvShape {
        let n = self.n;
        ConvShape {
            n: if input.len() == n + 2 { input[0] } else { 1 },
            c_in: input[input.len() - n - 1],
            c_out: weight[0],
            groups: self.groups,
            input: sizes(input, n),
            kernel: sizes(weight, n),
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
            output: sizes(output, n),
        }
    }
}

/// Shapes that a convolution takes; the output's shape.
fn output_shape(s: &Steps, input: &Dims, weight: &Dims) -> Result<Dims> {
    let (n, groups) = (s.n, s.groups);
    ensure!(
        weight.len() == n + 2,
        "weight should have {} dimensions for a {n}-dimensional convolution, but got weight of size {weight}",
        n + 2
    );
    ensure!(
        input.len() == n + 1 || input.len() == n + 2,
        "Expected {}D (unbatched) or {}D (batched) input to conv{n}d, but got input of size: {input}",
        n + 1,
        n + 2
    );
    ensure!(
        weight[0] >= groups,
        "Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight of size {weight} instead"
    );
    ensure!(
        weight[0].is_multiple_of(groups),
        "Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got weight of size [{weight}] instead"
    );
    let channels = input[input.len() - n - 1];
    ensure!(
        weight[1].checked_mul(groups) == Some(channels),
        "Given groups={groups}, weight of size {weight}, expected input{input} to have {} channels, but got {channels} channels instead",
        weight[1].saturating_mul(groups)
    );
    let (size, kernel) = (sizes(input, n), sizes(weight, n));
    ensure!(
        kernel.iter().all(|&k| k > 0),
        "kernel size should be greater than zero, but got weight of size {weight}"
    );
    let Some(out) = s.output(size, kernel) else {
        let padded = std::array::from_fn(|d| size[d] + 2 * s.padding[d]);
        let reach = std::array::from_fn(|d| s.dilation[d].saturating_mul(kernel[d] - 1).saturating_add(1));
        return Error::runtime(format!(
            "Calculated padded input size per channel: ({}). Kernel size: ({}). Kernel size can't be greater than actual \
             input size",
            times(padded, n),
            times(reach, n)
        ));
    };
    let mut shape = *input;
    let rank = shape.len();
    shape[rank - n - 1] = weight[0];
    shape[rank - n..].copy_from_slice(&out[3 - n..]);
    shape.check()?;
    Ok(shape)
}

fn one_dtype(x: &Core, other: &Core, what: &str) -> Result<DType> {
    if x.dtype != other.dtype {
        return Error::runtime(format!(
            "Input type ({}) and {what} type ({}) should be the same",
            c_name(x.dtype),
            c_name(other.dtype)
        ));
    }
    match x.dtype {
        d if d.is_float() => Ok(d),
        d @ (DType::U8 | DType::I8 | DType::I16 | DType::I32 | DType::I64) => Ok(d),
        d => not_for(d),
    }
}

/// Shape and dtype of a convolution over `n` spatial dims.
pub(super) fn infer(a: &Args, n: usize) -> Result<Metas> {
    let (x, w) = (a.tensor(0), a.tensor(1));
    let shape = output_shape(&Steps::new(a, 3, n)?, x.shape(), w.shape())?;
    let d = one_dtype(x, w, "weight")?;
    if let Some(b) = a.opt_tensor(2) {
        ensure!(
            b.rank() == 1 && b.numel() == w.shape()[0],
            "Given weight of size {}, expected bias to be 1-dimensional with {} elements, but got bias of size {} instead",
            w.shape(),
            w.shape()[0],
            b.shape()
        );
        one_dtype(x, b, "bias")?;
    }
    one(shape, d)
}

fn forward_run<const N: usize>(c: &Call) -> Result<()> {
    let (x, w) = (in_rows(c.args.tensor(0))?, in_rows(c.args.tensor(1))?);
    let bias = optional(c.args.opt_tensor(2), x.dtype)?;
    let out = cpu::output(&c.outs[0], x.dtype)?;
    let s = Steps::new(c.args, 3, N)?.shape(x.shape(), w.shape(), out.core.shape());
    let to = five(&out.core.layout, N);
    if s.c_in == 0 {
        // No products at all: the bias alone.
        cpu::fill(&out.core, Scalar::Int(0));
        if let Some(b) = &bias {
            let mut strides = [0; 5];
            strides[1] = b.layout.strides()[0];
            let wide = b.with_layout(Layout::strided(to.shape, &strides, b.layout.offset));
            cpu::copy(&wide, &out.core.with_layout(to));
        }
    } else {
        let (from, weights) = (
            cpu::src_as(&x, &five(&x.layout, N)),
            cpu::src_as(&w, &five(&w.layout, N)),
        );
        with_number!(x.dtype, T => {
            let bias = bias.as_ref().map(cpu::typed::<T>);
            conv::forward::<T>(&s, from.typed(), weights.typed(), bias, cpu::dst_as(&out.core, &to).typed())
        });
    }
    out.store();
    Ok(())
}

/// Checks that `grad` may be the gradient of the output of a convolution of these shapes. It may be smaller, as the input
/// of a transposed convolution with output padding is.
pub(super) fn gradient_fits(a: &Args, grad: &Dims, input: &Dims, weight: &Dims) -> Result<Steps> {
    ensure!(
        (3..=5).contains(&weight.len()),
        "weight should have three to five dimensions, but got size {weight}"
    );
    let n = weight.len() - 2;
    let s = Steps::new(a, 3, n)?;
    let full = output_shape(&s, input, weight)?;
    let fits = grad.len() == full.len()
        && grad[..grad.len() - n] == full[..full.len() - n]
        && (full.len() - n..full.len()).all(|d| grad[d] <= full[d]);
    ensure!(
        fits,
        "a convolution of input {input} with weight {weight} has output {full}, got a gradient of shape {grad}"
    );
    Ok(s)
}

pub(super) fn input_infer(a: &Args) -> Result<Metas> {
    let (g, w) = (a.tensor(0), a.tensor(1));
    let shape = Dims::from_ints(a.ints(2))?;
    gradient_fits(a, g.shape(), &shape, w.shape())?;
    one(shape, one_dtype(g, w, "weight")?)
}

fn input_run(c: &Call) -> Result<()> {
    let (g, w) = (in_rows(c.args.tensor(0))?, in_rows(c.args.tensor(1))?);
    let out = cpu::output(&c.outs[0], g.dtype)?;
    let s = gradient_fits(c.args, g.shape(), out.core.shape(), w.shape())?;
    let shape = s.shape(out.core.shape(), w.shape(), g.shape());
    let (from, weights) = (
        cpu::src_as(&g, &five(&g.layout, s.n)),
        cpu::src_as(&w, &five(&w.layout, s.n)),
    );
    let to = cpu::dst_as(&out.core, &five(&out.core.layout, s.n));
    with_number!(g.dtype, T => conv::backward_data::<T>(&shape, from.typed(), weights.typed(), to.typed()));
    out.store();
    Ok(())
}

fn weight_infer(a: &Args) -> Result<Metas> {
    let (g, x) = (a.tensor(0), a.tensor(1));
    let shape = Dims::from_ints(a.ints(2))?;
    gradient_fits(a, g.shape(), x.shape(), &shape)?;
    one(shape, one_dtype(x, g, "gradient")?)
}

fn weight_run(c: &Call) -> Result<()> {
    let (g, x) = (in_rows(c.args.tensor(0))?, in_rows(c.args.tensor(1))?);
    let out = cpu::output(&c.outs[0], g.dtype)?;
    let s = gradient_fits(c.args, g.shape(), x.shape(), out.core.shape())?;
    let shape = s.shape(x.shape(), out.core.shape(), g.shape());
    let (from, grad) = (
        cpu::src_as(&x, &five(&x.layout, s.n)),
        cpu::src_as(&g, &five(&g.layout, s.n)),
    );
    let to = cpu::dst_as(&out.core, &five(&out.core.layout, s.n));
    with_number!(x.dtype, T => conv::backward_weight::<T>(&shape, from.typed(), grad.typed(), to.typed()));
    out.store();
    Ok(())
}

macro_rules! convolution {
    ($n:literal, $dims:literal) => {
        [
            op(
                concat!(
                    "conv",
                    $n,
                    "d(input, weight, bias: Tensor? = None, stride: int[",
                    $n,
                    "] = 1, padding: int[",
                    $n,
                    "] = 0, dilation: int[",
                    $n,
                    "] = 1, groups: int = 1)"
                ),
                concat!(
                    "Cross-correlation of [N, C, ",
                    $dims,
                    "] or [C, ",
                    $dims,
                    "] with filters [out, C / groups, ",
                    $dims,
                    "], plus a bias per filter. Floats, and integers, which wrap; shapes that do not fit raise RuntimeError."
                ),
            )
            .compute(|a| infer(a, $n), forward_run::<$n>)
            .function_only(),
            op(
                concat!(
                    "conv",
                    $n,
                    "d.padding(input, weight, bias: Tensor? = None, stride: int[",
                    $n,
                    "] = 1, padding: str = 'valid', dilation: int[",
                    $n,
                    "] = 1, groups: int = 1)"
                ),
                concat!(
                    "`conv",
                    $n,
                    "d` with padding 'valid' (none) or 'same': the output has the input's size, an odd total \
                     pads one more at the end. Other words raise RuntimeError."
                ),
            )
            .composite()
            .function_only(),
        ]
    };
}

pub fn ops() -> Vec<Builder> {
    let mut all = Vec::new();
    all.extend(convolution!(1, "L"));
    all.extend(convolution!(2, "H, W"));
    all.extend(convolution!(3, "D, H, W"));
    all.extend([
        op("_conv_input(grad, weight, input_size: int[], stride: int[], padding: int[], dilation: int[], groups: int)", "Gradient of a convolution with respect to its input, of size `input_size`; also the transposed convolution of `grad`.")
            .compute(input_infer, input_run)
            .function_only(),
        op("_conv_weight(grad, input, weight_size: int[], stride: int[], padding: int[], dilation: int[], groups: int)", "Gradient of a convolution with respect to its filters, of size `weight_size`.")
            .compute(weight_infer, weight_run)
            .function_only(),
    ]);
    all
}
