//! Max and average pooling over one to three spatial dims, and their gradients.

use super::def::{Builder, Call, Meta, Metas, op};
use super::spatial::{channels_last, five, laid_like, per_dim, sizes};
use super::support::{float_only, in_rows, not_for, one, with_float};
use crate::args::Args;
use crate::core::Core;
use crate::device::cpu;
use crate::dtype::DType;
use crate::ensure;
use crate::error::{Error, Result};
use crate::layout::Dims;
use firesteel_kernels::pool::{self, PoolShape};
use smallvec::smallvec;

const WORDS: [&str; 4] = ["", "", "two ", "three "];

/// Windows of a pooling over `n` dims.
struct Windows {
    n: usize,
    shape: PoolShape,
    ceil: bool,
}

impl Windows {
    /// From kernel size, stride (none: the kernel size), padding and dilation.
    fn new(name: &str, n: usize, [kernel, stride, padding, dilation]: [&[i64]; 4], ceil: bool) -> Result<Windows> {
        let list = |values: &[i64], fill: usize, what: &str| {
            per_dim(values, n, fill, || {
                format!(
                    "{name}: {what} must either be a single int, or a tuple of {}ints",
                    WORDS[n]
                )
            })
        };
        let stride = if stride.is_empty() { kernel } else { stride };
        ensure!(
            padding.iter().all(|&p| p >= 0),
            "pad must be non-negative, but got pad: {padding:?}"
        );
        ensure!(stride.iter().all(|&s| s != 0), "stride should not be zero");
        ensure!(
            kernel.iter().all(|&k| k > 0),
            "kernel size should be greater than zero, but got {kernel:?}"
        );
        ensure!(
            stride.iter().all(|&s| s > 0),
            "stride should be greater than zero, but got {stride:?}"
        );
        ensure!(
            dilation.iter().all(|&d| d > 0),
            "dilation should be greater than zero, but got {dilation:?}"
        );
        let shape = PoolShape {
            kernel: list(kernel, 1, "kernel_size")?,
            stride: list(stride, 1, "stride")?,
            padding: list(padding, 0, "padding")?,
            dilation: list(dilation, 1, "dilation")?,
        };
        for d in 0..3 {
            let reach = shape.dilation[d].saturating_mul(shape.kernel[d] - 1).saturating_add(1);
            ensure!(
                shape.padding[d] <= reach / 2,
                "pad should be at most half of effective kernel size, but got pad={}, kernel_size={} and dilation={}",
                shape.padding[d],
                shape.kernel[d],
                shape.dilation[d]
            );
        }
        Ok(Windows { n, shape, ceil })
    }

    /// Output size along one of the three dims; not positive where no window fits.
    fn output(&self, d: usize, input: usize) -> i64 {
        let [k, s, p, step] = [
            self.shape.kernel[d],
            self.shape.stride[d],
            self.shape.padding[d],
            self.shape.dilation[d],
        ]
        .map(|v| v as i64);
        let room = input as i64 + 2 * p - step * (k - 1) - 1 + if self.ceil { s - 1 } else { 0 };
        let out = room.div_euclid(s) + 1;
        // With rounding up, the last window must begin inside the input or the padding before it.
        if self.ceil && (out - 1) * s >= input as i64 + p {
            out - 1
        } else {
            out
        }
    }

    fn output_shape(&self, name: &str, input: &Dims) -> Result<Dims> {
        let n = self.n;
        images(name, n, input)?;
        let size = sizes(input, n);
        let out: [i64; 3] = std::array::from_fn(|d| self.output(d, size[d]));
        let rank = input.len();
        if out.iter().any(|&o| o < 1) {
            let text = |v: &[String]| v.join("x");
            let channels = input[rank - n - 1].to_string();
            let mut from = vec![channels.clone()];
            from.extend(input[rank - n..].iter().map(usize::to_string));
            let mut to = vec![channels];
            to.extend(out[3 - n..].iter().map(i64::to_string));
            return Error::runtime(format!(
                "Given input size: ({}). Calculated output size: ({}). Output size is too small",
                text(&from),
                text(&to)
            ));
        }
        let mut shape = *input;
        for d in 0..n {
            shape[rank - n + d] = out[3 - n + d] as usize;
        }
        shape.check()?;
        Ok(shape)
    }
}

/// `[n, c, spatial..]` or `[c, spatial..]`; only n may be 0.
fn images(name: &str, n: usize, shape: &Dims) -> Result<()> {
    let rank = shape.len();
    let ok = (rank == n + 1 || rank == n + 2) && shape[rank - n - 1..].iter().all(|&s| s > 0);
    ensure!(
        ok,
        "{name}: Expected {}D or {}D (batch mode) tensor with optional 0 dim batch size for input, but got:{shape}",
        n + 1,
        n + 2
    );
    Ok(())
}

// ---- max --------------------------------------------------------------------------------------------------------------

fn max_windows<const N: usize>(a: &Args) -> Result<Windows> {
    Windows::new(&format!("max_pool{N}d"), N, [1, 2, 3, 4].map(|i| a.ints(i)), a.bool(5))
}

/// Values like the input's, and places.
fn max_metas(shape: Dims, d: DType) -> Result<Metas> {
    match d {
        DType::Bool | DType::U16 | DType::U32 | DType::U64 => not_for(d),
        d => Ok(smallvec![Meta::new(shape, d), Meta::new(shape, DType::I64)]),
    }
}

/// The values alone, or places too.
fn max_infer<const N: usize, const PLACES: bool>(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    let metas = max_metas(
        max_windows::<N>(a)?.output_shape(&format!("max_pool{N}d"), t.shape())?,
        t.dtype,
    )?;
    if !PLACES {
        return laid_like(t, metas[0].shape, t.dtype, N);
    }
    Ok(metas)
}

fn max_run<const N: usize>(c: &Call) -> Result<()> {
    let w = max_windows::<N>(c.args)?.shape;
    let x = match c.outs.len() {
        1 => side_by_side_or_in_rows(c.args.tensor(0), &c.outs[0], N)?,
        _ => in_rows(c.args.tensor(0))?,
    };
    let out = cpu::output(&c.outs[0], x.dtype)?;
    let (from, to) = (
        cpu::src_as(&x, &five(&x.layout, N)),
        cpu::dst_as(&out.core, &five(&out.core.layout, N)),
    );
    let places = c.outs.get(1).map(|o| cpu::dst_as(o, &five(&o.layout, N)).typed());
    match x.dtype {
        DType::F32 => pool::max_pool::<f32>(&w, from.typed(), to.typed(), places),
        DType::F64 => pool::max_pool::<f64>(&w, from.typed(), to.typed(), places),
        _ => pool::max_pool::<i64>(&w, from.typed(), to.typed(), places),
    }
    out.store();
    Ok(())
}

/// The number of spatial dims is that of the kernel sizes, given in full.
fn max_input_windows(a: &Args) -> Result<Windows> {
    let n = a.ints(2).len();
    ensure!((1..=3).contains(&n), "pooling has one to three spatial dims, got {n}");
    let w = Windows::new(&format!("max_pool{n}d"), n, [2, 3, 4, 5].map(|i| a.ints(i)), a.bool(6))?;
    let (g, x) = (a.tensor(0), a.tensor(1));
    let want = w.output_shape("max_pool", x.shape())?;
    ensure!(
        want == *g.shape() && g.dtype == x.dtype,
        "pooling of {} of size {} gives {want}, got a gradient of {} of shape {}",
        x.dtype.name(),
        x.shape(),
        g.dtype.name(),
        g.shape()
    );
    Ok(w)
}

fn max_input_infer(a: &Args) -> Result<Metas> {
    max_input_windows(a)?;
    let x = a.tensor(1);
    one(*x.shape(), float_only(x.dtype)?)
}

fn max_input_run(c: &Call) -> Result<()> {
    let w = max_input_windows(c.args)?;
    let (g, x) = (in_rows(c.args.tensor(0))?, in_rows(c.args.tensor(1))?);
    let out = cpu::output(&c.outs[0], x.dtype)?;
    let (grad, from, to) = (
        cpu::src_as(&g, &five(&g.layout, w.n)),
        cpu::src_as(&x, &five(&x.layout, w.n)),
        cpu::dst_as(&out.core, &five(&out.core.layout, w.n)),
    );
    with_float!(x.dtype, T => pool::max_pool_input::<T>(&w.shape, grad.typed(), from.typed(), to.typed()));
    out.store();
    Ok(())
}

/// Gradients go back to an input of `input_size` with `n` spatial dims.
fn backward_shape(a: &Args, size: usize, n: i64) -> Result<(Dims, usize)> {
    let (grad, shape) = (a.tensor(0).shape(), Dims::from_ints(a.ints(size))?);
    ensure!((1..=3).contains(&n), "pooling has one to three spatial dims, got {n}");
    let n = n as usize;
    let rank = shape.len();
    let fits = (rank == n + 1 || rank == n + 2) && grad.len() == rank && grad[..rank - n] == shape[..rank - n];
    ensure!(fits, "a gradient of shape {grad} does not fit an input of size {shape}");
    Ok((shape, n))
}

fn max_backward_infer(a: &Args) -> Result<Metas> {
    let (g, i) = (a.tensor(0), a.tensor(1));
    ensure!(
        i.shape() == g.shape() && i.dtype == DType::I64,
        "indices must be int64 of the gradient's shape {}, got {} of shape {}",
        g.shape(),
        i.dtype.name(),
        i.shape()
    );
    one(backward_shape(a, 2, a.int(3))?.0, float_only(g.dtype)?)
}

fn max_backward_run(c: &Call) -> Result<()> {
    let n = backward_shape(c.args, 2, c.args.int(3))?.1;
    let (g, i) = (in_rows(c.args.tensor(0))?, in_rows(c.args.tensor(1))?);
    let out = cpu::output(&c.outs[0], g.dtype)?;
    let (from, to) = (
        cpu::src_as(&g, &five(&g.layout, n)),
        cpu::dst_as(&out.core, &five(&out.core.layout, n)),
    );
    let places = cpu::src_as(&i, &five(&i.layout, n)).typed();
    with_float!(g.dtype, T => pool::max_pool_backward::<T>(from.typed(), places, to.typed()));
    out.store();
    Ok(())
}

// ---- average ----------------------------------------------------------------------------------------------------------

/// Average pooling takes no dilation; `first` is the position of kernel_size.
fn avg_windows(a: &Args, first: usize, n: usize) -> Result<Windows> {
    let lists = [a.ints(first), a.ints(first + 1), a.ints(first + 2), &[1]];
    Windows::new(&format!("avg_pool{n}d"), n, lists, a.bool(first + 3))
}

fn divisor(a: &Args, i: usize) -> Result<Option<i64>> {
    match a.items.get(i).map(|_| a.opt_int(i)) {
        Some(Some(0)) => Error::runtime("divisor must be not zero"),
        Some(v) => Ok(v),
        None => Ok(None),
    }
}

fn avg_infer<const N: usize>(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    divisor(a, 6)?;
    let shape = avg_windows(a, 1, N)?.output_shape(&format!("avg_pool{N}d"), t.shape())?;
    let dtype = if t.dtype == DType::I64 {
        t.dtype
    } else {
        float_only(t.dtype)?
    };
    laid_like(t, shape, dtype, N)
}

/// What is pooled: as it lies where channels lie side by side here and in the result, otherwise in rows.
fn side_by_side_or_in_rows(x: &Core, out: &Core, n: usize) -> Result<Core> {
    let as_stored = x.dtype == x.dtype.compute();
    if as_stored && channels_last(&x.layout, n) && five(&out.layout, n).strides()[1] == 1 {
        Ok(x.clone())
    } else {
        in_rows(x)
    }
}

fn avg_run<const N: usize>(c: &Call) -> Result<()> {
    let w = avg_windows(c.args, 1, N)?.shape;
    let (padded, divisor) = (c.args.bool(5), divisor(c.args, 6)?);
    let x = side_by_side_or_in_rows(c.args.tensor(0), &c.outs[0], N)?;
    let out = cpu::output(&c.outs[0], x.dtype)?;
    let (from, to) = (
        cpu::src_as(&x, &five(&x.layout, N)),
        cpu::dst_as(&out.core, &five(&out.core.layout, N)),
    );
    match x.dtype {
        DType::F32 => pool::avg_pool::<f32>(&w, from.typed(), to.typed(), padded, divisor),
        DType::F64 => pool::avg_pool::<f64>(&w, from.typed(), to.typed(), padded, divisor),
        _ => pool::avg_pool::<i64>(&w, from.typed(), to.typed(), padded, divisor),
    }
    out.store();
    Ok(())
}

/// The number of spatial dims is that of the kernel sizes, given in full.
fn avg_backward_windows(a: &Args) -> Result<(Dims, Windows)> {
    let (shape, n) = backward_shape(a, 1, a.ints(2).len() as i64)?;
    let w = avg_windows(a, 2, n)?;
    let (want, grad) = (w.output_shape("avg_pool", &shape)?, a.tensor(0).shape());
    ensure!(
        want == *grad,
        "pooling of an input of size {shape} gives {want}, got a gradient of shape {grad}"
    );
    Ok((shape, w))
}

fn avg_backward_run(c: &Call) -> Result<()> {
    let (_, w) = avg_backward_windows(c.args)?;
    let (padded, divisor) = (c.args.bool(6), divisor(c.args, 7)?);
    let g = in_rows(c.args.tensor(0))?;
    let out = cpu::output(&c.outs[0], g.dtype)?;
    let (from, to) = (
        cpu::src_as(&g, &five(&g.layout, w.n)),
        cpu::dst_as(&out.core, &five(&out.core.layout, w.n)),
    );
    with_float!(g.dtype, T => pool::avg_pool_backward::<T>(&w.shape, from.typed(), to.typed(), padded, divisor));
    out.store();
    Ok(())
}

// ---- adaptive ---------------------------------------------------------------------------------------------------------

fn adaptive_shape<const N: usize>(a: &Args, name: &str) -> Result<Dims> {
    let (shape, size) = (a.tensor(0).shape(), a.ints(1));
    let rank = shape.len();
    ensure!(
        rank == N + 1 || rank == N + 2,
        "{name}(): Expected {}D or {}D tensor, but got {shape}",
        N + 1,
        N + 2
    );
    ensure!(size.len() == N || size.len() == 1, "{name}: output_size must be {N}");
    ensure!(
        size.iter().all(|&s| s >= 0),
        "{name}: elements of output_size must be greater than or equal to 0 but received {size:?}"
    );
    if let Some(d) = (rank - N - 1..rank).find(|&d| shape[d] == 0) {
        return Error::runtime(format!(
            "{name}(): Expected input to have non-zero size for non-batch dimensions, but input has sizes {shape} with \
             dimension {d} being empty"
        ));
    }
    let mut out = *shape;
    for d in 0..N {
        out[rank - N + d] = size[d % size.len()] as usize;
    }
    out.check()?;
    Ok(out)
}

fn adaptive_avg_infer<const N: usize>(a: &Args) -> Result<Metas> {
    let (t, shape) = (a.tensor(0), adaptive_shape::<N>(a, &format!("adaptive_avg_pool{N}d"))?);
    laid_like(t, shape, float_only(t.dtype)?, N)
}

fn adaptive_avg_run<const N: usize>(c: &Call) -> Result<()> {
    let x = side_by_side_or_in_rows(c.args.tensor(0), &c.outs[0], N)?;
    let out = cpu::output(&c.outs[0], x.dtype)?;
    let (from, to) = (
        cpu::src_as(&x, &five(&x.layout, N)),
        cpu::dst_as(&out.core, &five(&out.core.layout, N)),
    );
    with_float!(x.dtype, T => pool::adaptive_avg_pool::<T>(from.typed(), to.typed()));
    out.store();
    Ok(())
}

fn adaptive_backward_infer(a: &Args) -> Result<Metas> {
    one(backward_shape(a, 1, a.int(2))?.0, float_only(a.tensor(0).dtype)?)
}

fn adaptive_backward_run(c: &Call) -> Result<()> {
    let n = backward_shape(c.args, 1, c.args.int(2))?.1;
    let g = in_rows(c.args.tensor(0))?;
    let out = cpu::output(&c.outs[0], g.dtype)?;
    let (from, to) = (
        cpu::src_as(&g, &five(&g.layout, n)),
        cpu::dst_as(&out.core, &five(&out.core.layout, n)),
    );
    if g.numel() == 0 {
        cpu::fill(&out.core, crate::dtype::Scalar::Int(0));
    } else {
        with_float!(g.dtype, T => pool::adaptive_avg_pool_backward::<T>(from.typed(), to.typed()));
    }
    out.store();
    Ok(())
}

fn adaptive_max_infer<const N: usize>(a: &Args) -> Result<Metas> {
    let shape = adaptive_shape::<N>(a, &format!("adaptive_max_pool{N}d"))?;
    max_metas(shape, float_only(a.tensor(0).dtype)?)
}

fn adaptive_max_run<const N: usize>(c: &Call) -> Result<()> {
    let x = in_rows(c.args.tensor(0))?;
    let out = cpu::output(&c.outs[0], x.dtype)?;
    let (from, to) = (
        cpu::src_as(&x, &five(&x.layout, N)),
        cpu::dst_as(&out.core, &five(&out.core.layout, N)),
    );
    let places = cpu::dst_as(&c.outs[1], &five(&c.outs[1].layout, N)).typed();
    with_float!(x.dtype, T => pool::adaptive_max_pool::<T>(from.typed(), to.typed(), places));
    out.store();
    Ok(())
}

// ---- records ----------------------------------------------------------------------------------------------------------

macro_rules! max_signature {
    ($name:literal, $n:literal, $results:literal) => {
        concat!(
            $name,
            "(input, kernel_size: int[",
            $n,
            "], stride: int[",
            $n,
            "] = [], padding: int[",
            $n,
            "] = 0, dilation: int[",
            $n,
            "] = 1, ceil_mode: bool = False)",
            $results
        )
    };
}

macro_rules! pools {
    ($n:literal, $max:literal, $indices:literal, $avg:literal, $more:literal) => {
        [
            op(
                max_signature!($indices, $n, " -> (result, indices)"),
                "Largest element of each window (NaN wins) and its flat index in the input plane. Windows that do not fit raise RuntimeError.",
            )
            .compute(max_infer::<$n, true>, max_run::<$n>)
            .nondiff_output(1)
            .function_only(),
            op(max_signature!($max, $n, ""), "Largest element of each window, NaN wins; the padding never does. Windows that do not fit raise RuntimeError.")
                .compute(max_infer::<$n, false>, max_run::<$n>)
                .no_out()
                .function_only(),
            op(
                concat!(
                    $avg, "(input, kernel_size: int[", $n, "], stride: int[", $n, "] = [], padding: int[", $n,
                    "] = 0, ceil_mode: bool = False, count_include_pad: bool = True", $more, ")"
                ),
                "Mean of each window, zeros of the padding among it if `count_include_pad`. Windows that do not fit raise RuntimeError.",
            )
            .compute(avg_infer::<$n>, avg_run::<$n>)
            .function_only(),
            op(
                concat!("adaptive_avg_pool", $n, "d(input, output_size: int[", $n, "])"),
                "Mean over windows that share the input out over an output of the given size.",
            )
            .compute(adaptive_avg_infer::<$n>, adaptive_avg_run::<$n>)
            .function_only(),
            op(
                concat!("adaptive_max_pool", $n, "d(input, output_size: int[", $n, "]) -> (result, indices)"),
                "Largest elements of windows that share the input out over an output of the given size, and where they are.",
            )
            .compute(adaptive_max_infer::<$n>, adaptive_max_run::<$n>)
            .nondiff_output(1)
            .function_only(),
        ]
    };
}

pub fn ops() -> Vec<Builder> {
    let mut all = Vec::new();
    all.extend(pools!(1, "max_pool1d", "max_pool1d_with_indices", "avg_pool1d", ""));
    all.extend(pools!(
        2,
        "max_pool2d",
        "max_pool2d_with_indices",
        "avg_pool2d",
        ", divisor_override: int? = None"
    ));
    all.extend(pools!(
        3,
        "max_pool3d",
        "max_pool3d_with_indices",
        "avg_pool3d",
        ", divisor_override: int? = None"
    ));
    all.extend([
        op("_max_pool_input(grad, input, kernel_size: int[], stride: int[], padding: int[], dilation: int[], ceil_mode: bool)", "Gradient of max pooling without indices, whose maxima are looked for again; kernel_size has one number per spatial dim.")
            .compute(max_input_infer, max_input_run)
            .function_only(),
        op("_max_pool_backward(grad, indices, input_size: int[], ndim: int)", "Gradient of max pooling, adaptive or not: added up where the maxima came from, in the planes of the last `ndim` dims.")
            .compute(max_backward_infer, max_backward_run)
            .function_only(),
        op("_avg_pool_backward(grad, input_size: int[], kernel_size: int[], stride: int[], padding: int[], ceil_mode: bool, count_include_pad: bool, divisor_override: int?)", "Gradient of average pooling; kernel_size has one number per spatial dim.")
            .compute(|a| {
                divisor(a, 7)?;
                one(avg_backward_windows(a)?.0, float_only(a.tensor(0).dtype)?)
            }, avg_backward_run)
            .function_only(),
        op("_adaptive_avg_pool_backward(grad, input_size: int[], ndim: int)", "Gradient of adaptive average pooling over the last `ndim` dims.")
            .compute(adaptive_backward_infer, adaptive_backward_run)
            .function_only(),
    ]);
    all
}
