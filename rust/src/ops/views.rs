//! Views: other layouts of the same memory.

use super::def::{Builder, Meta, op};
use crate::args::Args;
use crate::device::{cpu, gpu};
use crate::error::{Error, Result};
use crate::layout::{Dims, Layout, expands_to, wrap_dim};
use firesteel_kernels::MAX_RANK;
use smallvec::{SmallVec, smallvec};

type Layouts = SmallVec<[Layout; 1]>;

/// A shape with at most one -1, for `numel` elements.
pub fn resolve_shape(sizes: &[i64], numel: usize) -> Result<Dims> {
    let mut open = None;
    let mut known: usize = 1;
    for (i, &n) in sizes.iter().enumerate() {
        if n == -1 {
            if open.replace(i).is_some() {
                return Error::runtime("only one dimension can be inferred");
            }
        } else if n < 0 {
            return Error::runtime(format!("invalid shape dimension {n}"));
        } else {
            known = known.saturating_mul(n as usize);
        }
    }
    if open.is_some() && known == 0 {
        return Error::runtime(format!(
            "cannot reshape tensor of 0 elements into shape {sizes:?} because the unspecified dimension size -1 can be any \
             value and is ambiguous"
        ));
    }
    if match open {
        Some(_) => !numel.is_multiple_of(known),
        None => known != numel,
    } {
        return Error::runtime(format!("shape '{sizes:?}' is invalid for input of size {numel}"));
    }
    let mut shape = Dims::EMPTY;
    for &n in sizes {
        shape.push(if n == -1 { numel / known } else { n as usize })?;
    }
    shape.check()?;
    Ok(shape)
}

fn view(a: &Args, l: &mut Layout) -> Result<()> {
    let old = &a.tensor(0).layout;
    let shape = resolve_shape(a.ints(1), old.numel())?;
    if old.is_contiguous() {
        *l = Layout::SCALAR;
        l.offset = old.offset;
        l.become_packed(&shape);
        return Ok(());
    }
    match old.view(&shape) {
        Some(v) => *l = v,
        None => {
            return Error::runtime(
                "view size is not compatible with input tensor's size and stride (at least one dimension spans across two \
                 contiguous subspaces). Use .reshape(...) instead.",
            );
        }
    }
    Ok(())
}

fn flatten_shape(a: &Args) -> Result<Dims> {
    let t = a.tensor(0);
    let (s, e) = (wrap_dim(a.int(1), t.rank())?, wrap_dim(a.int(2), t.rank())?);
    if s > e {
        return Error::runtime("flatten() has invalid args: start_dim cannot come after end_dim");
    }
    if t.rank() == 0 {
        return Dims::new(&[1]);
    }
    let mut out = Dims::EMPTY;
    for i in 0..t.rank() {
        if i < s || i > e {
            out.push(t.shape()[i])?;
        } else if i == s {
            out.push(t.shape()[s..=e].iter().product())?;
        }
    }
    Ok(out)
}

fn expand(a: &Args, l: &mut Layout) -> Result<()> {
    let t = a.tensor(0);
    let sizes = a.ints(1);
    let pad = sizes.len().checked_sub(t.rank());
    let Some(pad) = pad else {
        return Error::runtime(format!(
            "expand: the number of sizes provided ({}) must be greater or equal to the number of dimensions in the tensor ({})",
            sizes.len(),
            t.rank()
        ));
    };
    let mut ints: SmallVec<[i64; 8]> = sizes.into();
    for (i, n) in ints.iter_mut().enumerate() {
        if *n == -1 {
            if i < pad {
                return Error::runtime(format!(
                    "expand: the expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension {i}"
                ));
            }
            *n = t.shape()[i - pad] as i64;
        }
    }
    let shape = Dims::from_ints(&ints)?;
    if !expands_to(t.shape(), &shape) {
        return Error::runtime(format!(
            "The expanded size of the tensor {shape} must match the existing size {} at non-singleton dimensions",
            t.shape()
        ));
    }
    let mut strides = [0isize; MAX_RANK];
    for i in 0..t.rank() {
        if t.shape()[i] != 1 || shape[i + pad] == 1 {
            strides[i + pad] = t.layout.strides()[i];
        }
    }
    *l = Layout::strided(shape, &strides[..shape.len()], t.layout.offset);
    Ok(())
}

/// A permutation given by a program.
pub fn permutation(dims: &[i64], rank: usize) -> Result<SmallVec<[usize; 8]>> {
    if dims.len() != rank {
        return Error::runtime(format!(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired \
             ordering of dimensions i.e. input.dim() = {rank} is not equal to len(dims) = {}",
            dims.len()
        ));
    }
    let mut order: SmallVec<[usize; 8]> = smallvec![];
    for &d in dims {
        let d = wrap_dim(d, rank)?;
        if order.contains(&d) {
            return Error::runtime("permute(): duplicate dims are not allowed.");
        }
        order.push(d);
    }
    Ok(order)
}

fn transpose(a: &Args, l: &mut Layout) -> Result<()> {
    let rank = l.rank();
    let (x, y) = (wrap_dim(a.int(1), rank)?, wrap_dim(a.int(2), rank)?);
    if rank > 0 {
        l.swap(x, y);
    }
    Ok(())
}

fn t(_: &Args, l: &mut Layout) -> Result<()> {
    match l.rank() {
        0 | 1 => {}
        2 => l.swap(0, 1),
        n => return Error::runtime(format!("t() expects a tensor with <= 2 dimensions, but self is {n}D")),
    }
    Ok(())
}

fn select(a: &Args, l: &mut Layout) -> Result<()> {
    if l.rank() == 0 {
        return Error::index("select() cannot be applied to a 0-dim tensor.");
    }
    let d = wrap_dim(a.int(1), l.rank())?;
    let (i, n) = (a.int(2), l.shape[d] as i64);
    if i < -n || i >= n {
        return Error::index(format!("index {i} is out of bounds for dimension {d} with size {n}"));
    }
    l.pick(d, (if i < 0 { i + n } else { i }) as usize);
    Ok(())
}

fn slice(a: &Args, l: &mut Layout) -> Result<()> {
    if l.rank() == 0 {
        return Error::runtime("slice() cannot be applied to a 0-dim tensor.");
    }
    let d = wrap_dim(a.int(1), l.rank())?;
    let n = l.shape[d] as i64;
    let step = a.int(4);
    if step <= 0 {
        return Error::value("step must be greater than zero");
    }
    let clip = |v: i64| (if v < 0 { v + n } else { v }).clamp(0, n);
    let start = clip(a.opt_int(2).unwrap_or(0));
    let end = clip(a.opt_int(3).unwrap_or(n)).max(start);
    // A step as large as an int can be leaves one element of a range that has any.
    let len = (end - start).saturating_add(step - 1) / step;
    l.cut(d, start as usize, len as usize, step as usize);
    Ok(())
}

fn narrow(a: &Args, l: &mut Layout) -> Result<()> {
    let t = a.tensor(0);
    if t.rank() == 0 {
        return Error::runtime("narrow() cannot be applied to a 0-dim tensor.");
    }
    let d = wrap_dim(a.int(1), t.rank())?;
    let n = t.shape()[d] as i64;
    let (start, len) = (a.int(2), a.int(3));
    if len < 0 {
        return Error::runtime("narrow(): length must be non-negative.");
    }
    if start < -n || start > n {
        return Error::index(format!(
            "Dimension out of range (expected to be in range of [{}, {n}], but got {start})",
            -n
        ));
    }
    let start = if start < 0 { start + n } else { start };
    if start + len > n {
        return Error::runtime(format!(
            "start ({start}) + length ({len}) exceeds dimension size ({n})."
        ));
    }
    l.cut(d, start as usize, len as usize, 1);
    Ok(())
}

fn squeeze(a: &Args, l: &mut Layout) -> Result<()> {
    let t = a.tensor(0);
    let mut mask = [false; MAX_RANK];
    match a.opt_ints(1) {
        None => mask.fill(true),
        Some(dims) => {
            for &d in dims {
                mask[wrap_dim(d, t.rank())?] = true;
            }
        }
    }
    for (i, &drop) in mask.iter().enumerate().take(t.rank()).rev() {
        if drop && l.shape[i] == 1 {
            l.drop_dim(i);
        }
    }
    Ok(())
}

fn unsqueeze(a: &Args, l: &mut Layout) -> Result<()> {
    let t = a.tensor(0);
    let d = wrap_dim(a.int(1), t.rank() + 1)?;
    let stride = if d < t.rank() {
        t.shape()[d].max(1) as isize * t.layout.strides()[d]
    } else {
        1
    };
    l.insert(d, 1, stride)
}

fn diagonal(a: &Args, l: &mut Layout) -> Result<()> {
    let t = a.tensor(0);
    let (x, y) = (wrap_dim(a.int(2), t.rank())?, wrap_dim(a.int(3), t.rank())?);
    if x == y {
        return Error::runtime(format!(
            "diagonal dimensions cannot be identical {}, {}",
            a.int(2),
            a.int(3)
        ));
    }
    let k = a.int(1);
    let (n, m) = (t.shape()[x] as i64, t.shape()[y] as i64);
    let len = if k >= 0 { n.min(m - k) } else { (n + k).min(m) }.max(0);
    let (sx, sy) = (t.layout.strides()[x], t.layout.strides()[y]);
    l.drop_dim(x.max(y));
    l.drop_dim(x.min(y));
    if len > 0 {
        let skip = if k >= 0 { k as isize * sy } else { -(k as isize) * sx };
        l.offset = (t.layout.offset as isize + skip) as usize;
    }
    l.insert(l.rank(), len as usize, sx + sy)
}

fn unfold(a: &Args, l: &mut Layout) -> Result<()> {
    let t = a.tensor(0);
    let d = wrap_dim(a.int(1), t.rank())?;
    let (size, step) = (a.int(2), a.int(3));
    let n = if t.rank() == 0 { 1 } else { t.shape()[d] as i64 };
    if size < 0 || size > n {
        return Error::runtime(format!(
            "maximum size for tensor at dimension {d} is {n} but size is {size}"
        ));
    }
    if step <= 0 {
        return Error::runtime(format!("step is {step} but must be > 0"));
    }
    if t.rank() == 0 {
        return l.insert(0, size as usize, 1);
    }
    let stride = t.layout.strides()[d];
    l.insert(t.rank(), size as usize, stride)?;
    l.cut(d, 0, ((n - size) / step + 1) as usize, step as usize);
    Ok(())
}

fn as_strided(a: &Args, l: &mut Layout) -> Result<()> {
    let t = a.tensor(0);
    let shape = Dims::from_ints(a.ints(1))?;
    let strides: SmallVec<[isize; 8]> = a.ints(2).iter().map(|&s| s as isize).collect();
    if strides.len() != shape.len() {
        return Error::runtime("mismatch in length of strides and shape");
    }
    if strides.iter().any(|&s| s < 0) {
        return Error::runtime(format!(
            "as_strided: Negative strides are not supported at the moment, got strides: {strides:?}"
        ));
    }
    let offset = a.opt_int(3).unwrap_or(t.layout.offset as i64);
    if offset < 0 {
        return Error::runtime(format!("as_strided: storage offset {offset} is negative"));
    }
    let fits = shape
        .iter()
        .zip(&strides)
        .try_fold(offset as usize + 1, |end, (&n, &s)| {
            (n.max(1) - 1).checked_mul(s as usize).and_then(|r| end.checked_add(r))
        });
    *l = Layout::strided(shape, &strides, offset as usize);
    if l.numel() > 0
        && fits
            .and_then(|e| e.checked_mul(t.dtype.size()))
            .is_none_or(|b| b > t.buffer.bytes())
    {
        return Error::runtime(format!(
            "setStorage: sizes {shape}, strides {strides:?}, storage offset {offset} are out of bounds for storage of size {}",
            t.buffer.bytes()
        ));
    }
    Ok(())
}

/// Pieces of a dim, by their lengths.
fn pieces(t: &crate::Core, d: usize, lengths: impl Iterator<Item = usize>) -> Layouts {
    let mut start = 0;
    lengths
        .map(|n| {
            let l = t.layout.slice(d, start, n, 1);
            start += n;
            l
        })
        .collect()
}

fn split(a: &Args) -> Result<Layouts> {
    let t = a.tensor(0);
    if t.rank() == 0 {
        return Error::runtime("split expects at least a 1-dimensional tensor");
    }
    let d = wrap_dim(a.int(2), t.rank())?;
    let n = t.shape()[d];
    let size = a.int(1);
    if size < 0 || (size == 0 && n > 0) {
        return Error::runtime(format!(
            "split expects split_size be non-negative, but got split_size={size}"
        ));
    }
    let size = size as usize;
    let count = if size == 0 { 1 } else { n.div_ceil(size).max(1) };
    Ok(pieces(t, d, (0..count).map(|i| size.min(n - i * size))))
}

fn split_sizes(a: &Args) -> Result<Layouts> {
    let t = a.tensor(0);
    if t.rank() == 0 {
        return Error::runtime("split expects at least a 1-dimensional tensor");
    }
    let d = wrap_dim(a.int(2), t.rank())?;
    let sizes = a.ints(1);
    if sizes.iter().any(|&n| n < 0) {
        return Error::runtime(format!(
            "split_with_sizes expects split_sizes have only non-negative entries, but got {sizes:?}"
        ));
    }
    if sizes.iter().sum::<i64>() != t.shape()[d] as i64 {
        return Error::runtime(format!(
            "split_with_sizes expects split_sizes to sum exactly to {} (input tensor's size at dimension {d}), but got split_sizes={sizes:?}",
            t.shape()[d]
        ));
    }
    Ok(pieces(t, d, sizes.iter().map(|&n| n as usize)))
}

fn unbind(a: &Args) -> Result<Layouts> {
    let t = a.tensor(0);
    if t.rank() == 0 {
        return Error::index("Dimension specified as 0 but tensor has no dimensions");
    }
    let d = wrap_dim(a.int(1), t.rank())?;
    Ok((0..t.shape()[d]).map(|i| t.layout.select(d, i)).collect())
}

macro_rules! maybe_view {
    ($sig:literal, $doc:literal, $shape:expr) => {
        op($sig, $doc)
            .maybe_view(
                |a| Ok(a.tensor(0).layout.view(&$shape(a)?)),
                |a| Ok(smallvec![Meta::new($shape(a)?, a.tensor(0).dtype)]),
                |c| {
                    let t = c.args.tensor(0);
                    let flat = c.outs[0].with_layout(Layout::contiguous(*t.shape()));
                    cpu::copy(t, &flat);
                    Ok(())
                },
            )
            .gpu(|c| {
                let t = c.args.tensor(0);
                gpu::copy(t, &c.outs[0].with_layout(Layout::contiguous(*t.shape())))
            })
    };
}

fn reshape_shape(a: &Args) -> Result<Dims> {
    resolve_shape(a.ints(1), a.tensor(0).numel())
}

pub fn ops() -> Vec<Builder> {
    vec![
        op(
            "view(input, size: int[])",
            "The same memory in another shape; one size may be -1.",
        )
        .view(view)
        .method_only(),
        op(
            "view.dtype(input, dtype: dtype)",
            "The same memory read as another dtype. Of another size, it changes the last dim, which must lie densely.",
        )
        .composite()
        .method_only(),
        maybe_view!(
            "reshape(input, shape: int[])",
            "Another shape: a view where the strides allow it, else a copy.",
            reshape_shape
        ),
        maybe_view!(
            "flatten(input, start_dim: int = 0, end_dim: int = -1)",
            "Dims start_dim to end_dim made one.",
            flatten_shape
        ),
        op(
            "expand(input, size: int[], *, implicit: bool = False)",
            "Dims of size 1 repeated without a copy; -1 keeps a size.",
        )
        .view(expand)
        .method_only(),
        op("permute(input, dims: int[])", "The dims in another order.").view(|a, l| {
            *l = l.permute(&permutation(a.ints(1), l.rank())?);
            Ok(())
        }),
        op("transpose(input, dim0: int, dim1: int)", "Two dims exchanged.").view(transpose),
        op("t(input)", "The transpose of a matrix; vectors stay as they are.").view(t),
        op(
            "select(input, dim: int, index: int)",
            "One index of a dim, which is dropped.",
        )
        .view(select),
        op(
            "slice(input, dim: int = 0, start: int? = None, end: int? = None, step: int = 1)",
            "A range of a dim.",
        )
        .view(slice)
        .function_only(),
        op(
            "narrow(input, dim: int, start: int, length: int)",
            "`length` elements of a dim from `start`.",
        )
        .view(narrow),
        op(
            "squeeze(input, dim: int[1]? = None)",
            "Without the dims of size 1 (those named, or all).",
        )
        .view(squeeze),
        op("unsqueeze(input, dim: int)", "A dim of size 1 put in at `dim`.").view(unsqueeze),
        op(
            "diagonal(input, offset: int = 0, dim1: int = 0, dim2: int = 1)",
            "The diagonal of two dims, as the last dim.",
        )
        .view(diagonal),
        op(
            "unfold(input, dimension: int, size: int, step: int)",
            "All slices of `size` along a dim, as a new last dim.",
        )
        .view(unfold)
        .method_only(),
        op(
            "as_strided(input, size: int[], stride: int[], storage_offset: int? = None)",
            "Any shape and strides inside the storage.",
        )
        .view(as_strided),
        op(
            "_split(input, split_size: int, dim: int = 0) -> []",
            "Pieces of one size; the last may be shorter.",
        )
        .views(split)
        .function_only(),
        op(
            "split_with_sizes(input, split_sizes: int[], dim: int = 0) -> []",
            "Pieces of the given sizes.",
        )
        .views(split_sizes),
        op("unbind(input, dim: int = 0) -> []", "Every index of a dim on its own.").views(unbind),
        op("alias(input)", "The same elements as a view.")
            .view(|_, _| Ok(()))
            .function_only(),
    ]
}
