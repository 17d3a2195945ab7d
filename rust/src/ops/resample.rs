//! Copied borders, interpolation along a dim, sampling at the places of a grid; and their gradients.

use super::def::{Builder, Call, Meta, Metas, op};
use super::spatial::five;
use super::support::{float_only, one, with_float};
use crate::args::Args;
use crate::device::cpu;
use crate::ensure;
use crate::error::{Error, Result};
use crate::layout::{Dims, wrap_dim};
use firesteel_kernels::resample::{self, Border, Outside, Sampling, Side, Taps};
use smallvec::smallvec;

// ---- borders ----------------------------------------------------------------------------------------------------------

/// Numbers beyond it could overflow.
const LARGEST: i64 = i32::MAX as i64;

fn border(a: &Args, i: usize) -> Result<Border> {
    Ok(match a.str(i) {
        "reflect" => Border::Reflect,
        "replicate" => Border::Replicate,
        "circular" => Border::Circular,
        other => return Error::unsupported(format!("Unrecognised padding mode {other}")),
    })
}

/// The last three of five dims, whose unpadded sizes are `shape`'s, and how many of them are padded.
fn sides(shape: &Dims, pad: &[i64], border: Border) -> Result<([Side; 3], usize)> {
    let n = pad.len() / 2;
    ensure!(
        pad.len() == 2 * n && (1..=3).contains(&n) && (shape.len() == n + 1 || shape.len() == n + 2),
        "padding of {pad:?} does not fit a tensor of shape {shape}"
    );
    ensure!(
        pad.iter().all(|p| p.abs() <= LARGEST),
        "a padding of {pad:?} is out of range"
    );
    let mut all = [Side {
        size: 1,
        before: 0,
        after: 0,
    }; 3];
    for i in 0..n {
        let side = Side {
            size: shape[shape.len() - 1 - i],
            before: pad[2 * i] as isize,
            after: pad[2 * i + 1] as isize,
        };
        ensure!(
            side.fits(border),
            "padding ({}, {}) does not fit dimension {} of a tensor of shape {shape}",
            side.before,
            side.after,
            shape.len() - 1 - i
        );
        all[2 - i] = side;
    }
    Ok((all, n))
}

fn padded(shape: &Dims, sides: &[Side; 3], n: usize) -> Result<Dims> {
    let mut out = *shape;
    for i in 0..n {
        let side = &sides[2 - i];
        out[shape.len() - 1 - i] = (side.size as isize + side.before + side.after) as usize;
    }
    out.check()?;
    Ok(out)
}

fn pad_infer(a: &Args) -> Result<Metas> {
    let t = a.tensor(0);
    let (sides, n) = sides(t.shape(), a.ints(1), border(a, 2)?)?;
    one(padded(t.shape(), &sides, n)?, t.dtype)
}

fn pad_run(c: &Call) -> Result<()> {
    let (t, out, border) = (c.args.tensor(0), &c.outs[0], border(c.args, 2)?);
    let (sides, n) = sides(t.shape(), c.args.ints(1), border)?;
    let (from, to) = (
        cpu::src_as(t, &five(&t.layout, n)),
        cpu::dst_as(out, &five(&out.layout, n)),
    );
    resample::pad(from, border, &sides, to);
    Ok(())
}

/// The shape of what was padded, whose gradient is the first argument.
fn pad_backward_sides(a: &Args) -> Result<(Dims, [Side; 3], usize)> {
    let shape = shape_of(a.ints(1))?;
    let (sides, n) = sides(&shape, a.ints(2), border(a, 3)?)?;
    let (want, got) = (padded(&shape, &sides, n)?, a.tensor(0).shape());
    ensure!(
        want == *got,
        "padding of {shape} gives {want}, got a gradient of shape {got}"
    );
    Ok((shape, sides, n))
}

fn shape_of(sizes: &[i64]) -> Result<Dims> {
    ensure!(
        sizes.iter().all(|s| (0..=i64::MAX >> 8).contains(s)),
        "sizes {sizes:?} are out of range"
    );
    let mut shape = Dims::EMPTY;
    sizes.iter().try_for_each(|&s| shape.push(s as usize))?;
    shape.check()?;
    Ok(shape)
}

fn pad_backward_infer(a: &Args) -> Result<Metas> {
    one(pad_backward_sides(a)?.0, float_only(a.tensor(0).dtype)?)
}

fn pad_backward_run(c: &Call) -> Result<()> {
    let (_, sides, n) = pad_backward_sides(c.args)?;
    let border = border(c.args, 3)?;
    let g = c.args.tensor(0);
    let g = cpu::contiguous(g, g.dtype.compute())?;
    let out = cpu::contiguous_output(&c.outs[0], g.dtype)?;
    let (from, to) = (
        cpu::src_as(&g, &five(&g.layout, n)),
        cpu::dst_as(&out.core, &five(&out.core.layout, n)),
    );
    with_float!(g.dtype, T => resample::pad_backward::<T>(from.typed(), border, &sides, to.typed()));
    out.store();
    Ok(())
}

// ---- interpolation ----------------------------------------------------------------------------------------------------

/// Shape of the result of changing one dim, which must have elements, to a new size.
fn resized(a: &Args) -> Result<(Dims, usize)> {
    let (t, size) = (a.tensor(0), a.int(2));
    ensure!(t.rank() > 0, "a tensor of no dims cannot be resized");
    let d = wrap_dim(a.int(1), t.rank())?;
    ensure!(
        t.shape()[d] > 0,
        "dimension {d} of a tensor of shape {} is empty",
        t.shape()
    );
    ensure!((1..=LARGEST).contains(&size), "a size of {size} is out of range");
    ensure!(
        matches!(a.str(4), "linear" | "cubic"),
        "unknown interpolation '{}'",
        a.str(4)
    );
    let mut shape = *t.shape();
    shape[d] = size as usize;
    shape.check()?;
    Ok((shape, d))
}

fn resize_infer(a: &Args) -> Result<Metas> {
    one(resized(a)?.0, float_only(a.tensor(0).dtype)?)
}

fn resize_run<const BACKWARD: bool>(c: &Call) -> Result<()> {
    let (shape, d) = resized(c.args)?;
    let (step, cubic, align) = (c.args.float(3), c.args.str(4) == "cubic", c.args.bool(5));
    let t = c.args.tensor(0);
    let t = cpu::contiguous(t, t.dtype.compute())?;
    let out = cpu::contiguous_output(&c.outs[0], t.dtype)?;
    let inner = shape[d + 1..].iter().product();
    // Backward, the given tensor has the new size.
    let (old, new) = if BACKWARD {
        (shape[d], t.shape()[d])
    } else {
        (t.shape()[d], shape[d])
    };
    with_float!(t.dtype, T => {
        let make = if cubic { Taps::<T>::cubic } else { Taps::<T>::linear };
        let mut taps = make(old, new, step, align);
        if BACKWARD {
            taps = taps.transposed();
        }
        resample::lines(cpu::slice(&t), &taps, inner, cpu::slice_mut(&out.core));
    });
    out.store();
    Ok(())
}

// ---- grids ------------------------------------------------------------------------------------------------------------

/// How to sample, of arguments that begin with the image; and the shape of the result.
fn sampling(a: &Args, first: usize) -> Result<(Sampling, Dims)> {
    let (input, grid) = (a.tensor(first), a.tensor(first + 1));
    let (shape, places) = (input.shape(), grid.shape());
    let dims = shape.len().wrapping_sub(2);
    ensure!(
        (2..=3).contains(&dims) && places.len() == dims + 2 && places[dims + 1] == dims && places[0] == shape[0],
        "expected an image of shape (N, C, H, W) or (N, C, D, H, W) and a grid of shape (N, H, W, 2) or (N, D, H, W, 3), but \
         got {shape} and {places}"
    );
    let mut sizes = [1; 3];
    sizes[3 - dims..].copy_from_slice(&shape[2..]);
    ensure!(
        sizes.iter().all(|&n| n > 0)
            && sizes
                .iter()
                .try_fold(1usize, |p, &n| p.checked_mul(n))
                .is_some_and(|p| p < 1 << 31),
        "the spatial dimensions of an image of shape {shape} are empty, or too large"
    );
    let same = input.dtype == grid.dtype;
    ensure!(
        same,
        "expected input and grid to have same dtype, but input has {} and grid has {}",
        input.dtype.name(),
        grid.dtype.name()
    );
    let how = Sampling {
        dims,
        sizes,
        nearest: match a.str(first + 2) {
            "bilinear" => false,
            "nearest" => true,
            other => return Error::unsupported(format!("unknown mode '{other}'")),
        },
        outside: match a.str(first + 3) {
            "zeros" => Outside::Zeros,
            "border" => Outside::Border,
            "reflection" => Outside::Reflection,
            other => return Error::unsupported(format!("unknown padding mode '{other}'")),
        },
        align: a.bool(first + 4),
    };
    let mut out = Dims::EMPTY;
    shape[..2]
        .iter()
        .chain(&places[1..=dims])
        .try_for_each(|&n| out.push(n))?;
    out.check()?;
    Ok((how, out))
}

fn grid_infer(a: &Args) -> Result<Metas> {
    one(sampling(a, 0)?.1, float_only(a.tensor(0).dtype)?)
}

fn grid_run(c: &Call) -> Result<()> {
    let (how, _) = sampling(c.args, 0)?;
    let x = c.args.tensor(0);
    let dtype = x.dtype.compute();
    let (x, grid) = (cpu::contiguous(x, dtype)?, cpu::contiguous(c.args.tensor(1), dtype)?);
    let out = cpu::contiguous_output(&c.outs[0], dtype)?;
    with_float!(dtype, T => {
        resample::grid_sample::<T>(&how, x.shape()[0], cpu::slice(&x), cpu::slice(&grid), cpu::slice_mut(&out.core))
    });
    out.store();
    Ok(())
}

fn grid_backward_infer(a: &Args) -> Result<Metas> {
    let (g, x, grid) = (a.tensor(0), a.tensor(1), a.tensor(2));
    let want = sampling(a, 1)?.1;
    ensure!(
        want == *g.shape() && g.dtype == x.dtype,
        "sampling gives {} of shape {want}, got a gradient of {} of shape {}",
        x.dtype.name(),
        g.dtype.name(),
        g.shape()
    );
    let dtype = float_only(x.dtype)?;
    Ok(smallvec![Meta::new(*x.shape(), dtype), Meta::new(*grid.shape(), dtype)])
}

fn grid_backward_run(c: &Call) -> Result<()> {
    let (how, _) = sampling(c.args, 1)?;
    let dtype = c.args.tensor(1).dtype.compute();
    let [g, x, grid] = [0, 1, 2].map(|i| cpu::contiguous(c.args.tensor(i), dtype));
    let (g, x, grid) = (g?, x?, grid?);
    let (to_x, to_grid) = (
        cpu::contiguous_output(&c.outs[0], dtype)?,
        cpu::contiguous_output(&c.outs[1], dtype)?,
    );
    with_float!(dtype, T => resample::grid_sample_backward::<T>(
        &how,
        x.shape()[0],
        cpu::slice(&g),
        cpu::slice(&x),
        cpu::slice(&grid),
        cpu::slice_mut(&to_x.core),
        cpu::slice_mut(&to_grid.core),
    ));
    to_x.store();
    to_grid.store();
    Ok(())
}

// ---- records ----------------------------------------------------------------------------------------------------------

pub fn ops() -> Vec<Builder> {
    vec![
        op("_pad_edges(input, pad: int[], mode: str)", "The last dims with borders copied from inside: 'reflect', 'replicate' or 'circular'; two numbers a dim, the last dim first.")
            .compute(pad_infer, pad_run)
            .no_out()
            .function_only(),
        op("_pad_edges_backward(grad, input_size: int[], pad: int[], mode: str)", "Gradient of padding with copied borders.")
            .compute(pad_backward_infer, pad_backward_run)
            .no_out()
            .function_only(),
        op("_resize(input, dim: int, size: int, step: float, mode: str, align_corners: bool)", "A dim resized by interpolation, 'linear' or 'cubic'; neighbours of the result lie `step` apart in the input.")
            .compute(resize_infer, resize_run::<false>)
            .no_out()
            .function_only(),
        op("_resize_backward(grad, dim: int, size: int, step: float, mode: str, align_corners: bool)", "Gradient of a dim resized by interpolation; `size` is the input's.")
            .compute(resize_infer, resize_run::<true>)
            .no_out()
            .function_only(),
        op("_grid_sample(input, grid, mode: str, padding_mode: str, align_corners: bool)", "The values of images (N, C, H, W) or (N, C, D, H, W) at the places of a grid, by mode 'bilinear' or 'nearest'.")
            .compute(grid_infer, grid_run)
            .no_out()
            .function_only(),
        op("_grid_sample_backward(grad, input, grid, mode: str, padding_mode: str, align_corners: bool) -> (grad_input, grad_grid)", "Gradients of sampling images at the places of a grid.")
            .compute(grid_backward_infer, grid_backward_run)
            .no_out()
            .function_only(),
    ]
}
