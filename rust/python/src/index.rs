//! `x[key]` and `x[key] = value`.
//!
//! Integers, slices, None and Ellipsis become view ops one after another. Tensors and lists become one `index` op over
//! what is left, PyTorch's rules for where the result's dims go included.

use crate::backward::one;
use crate::bind::push;
use crate::call::{self, Common, Outs, Tensors, default_argument};
use crate::convert;
use crate::error::{runtime, to_python};
use crate::foreign;
use crate::nested;
use crate::tensor::Tensor;
use firesteel::device::cpu;
use firesteel::dtype::DType;
use firesteel::layout::Dims;
use firesteel::ops::{self, Op};
use firesteel::{Arg, Args, Core};
use pyo3::exceptions::{PyIndexError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyEllipsis, PyInt, PyList, PyRange, PySlice, PyTuple};
use smallvec::{SmallVec, smallvec};

/// `x[i]` along the first dim.
pub fn select<'py>(x: &Bound<'py, Tensor>, op: &Common, i: i64) -> PyResult<Bound<'py, Tensor>> {
    let py = x.py();
    let op = op.get();
    one_view(py, op, x, |args| {
        push(args, || Arg::Int(0));
        push(args, || Arg::Int(i));
    })
}

/// A view op with some further arguments.
#[inline(always)]
fn one_view<'py>(
    py: Python<'py>,
    op: &'static Op,
    x: &Bound<'py, Tensor>,
    rest: impl FnOnce(&mut Args),
) -> PyResult<Bound<'py, Tensor>> {
    let mut args = Args::default();
    push(&mut args, || Arg::Tensor(x.get().core(py)));
    rest(&mut args);
    let mut tensors = Tensors::new();
    tensors.push((0, x.clone()));
    let mut outs = Outs::new();
    call::apply_into(py, op, &args, &tensors, &mut outs)?;
    outs.pop().ok_or_else(|| runtime("a view op has one result"))
}

static SLICE: Common = Common::new("slice");
static UNSQUEEZE: Common = Common::new("unsqueeze");

/// `x[key]` for ints, slices, None and Ellipsis; `None` for other keys, and for those that are wrong.
fn plain<'py>(
    x: &Bound<'py, Tensor>,
    key: &Bound<'py, PyAny>,
    select_op: &Common,
) -> PyResult<Option<Bound<'py, Tensor>>> {
    let py = x.py();
    let single = [key.as_borrowed()];
    let mut items: SmallVec<[Borrowed<'_, 'py, PyAny>; 8]> = SmallVec::new();
    match key.cast_exact::<PyTuple>() {
        Ok(t) => t.iter_borrowed().for_each(|i| items.push(i)),
        Err(_) => items.push(single[0]),
    }
    let rank = x.get().with(py, |s| s.core.rank());
    let (mut used, mut gaps) = (0, 0);
    for i in &items {
        if i.is_exact_instance_of::<PySlice>() || i.is_exact_instance_of::<PyInt>() {
            used += 1;
        } else if i.is_exact_instance_of::<PyEllipsis>() {
            gaps += 1;
        } else if !i.is_none() {
            return Ok(None);
        }
    }
    if used > rank || gaps > 1 {
        return Ok(None);
    }
    let mut at = x.clone();
    let mut dim = 0i64;
    for i in &items {
        if let Ok(s) = i.cast_exact::<PySlice>() {
            let Some((start, stop, step)) = convert::slice_parts(&s) else {
                return Ok(None);
            };
            if (start, stop, step) != (0, isize::MAX, 1) {
                at = one_view(py, SLICE.get(), &at, |args| {
                    for v in [dim, start as i64, stop as i64, step as i64] {
                        push(args, || Arg::Int(v));
                    }
                })?;
            }
            dim += 1;
        } else if let Some(index) = convert::exact_int(i) {
            at = one_view(py, select_op.get(), &at, |args| {
                push(args, || Arg::Int(dim));
                push(args, || Arg::Int(index));
            })?;
        } else if i.is_none() {
            at = one_view(py, UNSQUEEZE.get(), &at, |args| push(args, || Arg::Int(dim)))?;
            dim += 1;
        } else if i.is_exact_instance_of::<PyEllipsis>() {
            dim += (rank - used) as i64;
        } else {
            return Ok(None);
        }
    }
    Ok(Some(at))
}

/// One element of a key.
enum Part<'py> {
    Int(i64),
    Slice(Bound<'py, PySlice>),
    None,
    Tensor(Bound<'py, Tensor>),
}

fn is_index_sequence(o: &Bound<'_, PyAny>) -> bool {
    o.is_instance_of::<PyList>() || o.is_instance_of::<PyTuple>() || o.is_instance_of::<PyRange>()
}

/// A short list with a sequence, tensor, slice, `...` or None inside stands for a tuple: NumPy's old rule, which PyTorch
/// still follows.
fn is_legacy_tuple(key: &Bound<'_, PyAny>) -> bool {
    let Ok(list) = key.cast::<PyList>() else { return false };
    let inside = |o: Bound<'_, PyAny>| {
        o.is_none()
            || o.is_instance_of::<PyEllipsis>()
            || o.is_instance_of::<PySlice>()
            || o.is_instance_of::<Tensor>()
            || is_index_sequence(&o)
            || matches!(foreign::from_buffer(&o), Ok(Some(_)))
    };
    // A plain number is asked about first: the rest is slow.
    let plain = |o: &Bound<'_, PyAny>| o.is_instance_of::<PyInt>();
    list.len() < 32 && list.iter().any(|o| !plain(&o) && inside(o))
}

fn as_index_tensor<'py>(o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Tensor>> {
    let py = o.py();
    let mut core = nested::from_data(o, None)?;
    if core.numel() == 0 && core.dtype.is_float() {
        core = Core::empty(*core.shape(), DType::I64, firesteel::Device::Cpu).map_err(to_python)?;
    }
    Bound::new(py, Tensor::new(core))
}

/// The key's parts; Ellipsis is spelled out as slices, bool tensors keep their dims.
fn parts<'py>(x: &Bound<'py, Tensor>, key: &Bound<'py, PyAny>) -> PyResult<SmallVec<[Part<'py>; 4]>> {
    let py = x.py();
    let rank = x.get().with(py, |s| s.core.rank());
    let items: SmallVec<[Bound<'py, PyAny>; 4]> = match key.cast::<PyTuple>() {
        Ok(t) => t.iter().collect(),
        Err(_) if is_legacy_tuple(key) => {
            PyErr::warn(
                py,
                py.get_type::<pyo3::exceptions::PyUserWarning>().as_any(),
                c"Using a non-tuple sequence for multidimensional indexing is deprecated; use x[tuple(seq)] instead of x[seq]",
                1,
            )?;
            key.try_iter()?.collect::<PyResult<_>>()?
        }
        Err(_) => smallvec![key.clone()],
    };
    let mut used = 0;
    for i in &items {
        used += match i.cast::<Tensor>() {
            Ok(t) if matches!(t.get().with(py, |s| s.core.dtype), DType::Bool | DType::U8) => {
                t.get().with(py, |s| s.core.rank())
            }
            _ if i.is_none() || i.is_instance_of::<PyEllipsis>() || i.is_instance_of::<PyBool>() => 0,
            _ => 1,
        };
    }
    let mut out: SmallVec<[Part<'py>; 4]> = SmallVec::new();
    let mut ellipsis = false;
    for i in &items {
        if i.is_none() {
            out.push(Part::None);
        } else if i.is_instance_of::<PyEllipsis>() {
            if ellipsis {
                // A second Ellipsis stands for nothing, as in PyTorch.
                continue;
            }
            ellipsis = true;
            for _ in used..rank {
                out.push(Part::Slice(PySlice::full(py)));
            }
        } else if let Ok(s) = i.cast::<PySlice>() {
            out.push(Part::Slice(s.clone()));
        } else if let Ok(t) = i.cast::<Tensor>() {
            let (dtype, r) = t.get().with(py, |s| (s.core.dtype, s.core.rank()));
            if r == 0 && dtype.is_int() && dtype != DType::U8 {
                out.push(Part::Int(crate::tensor::first(py, &t.get().core(py))?.to_i64()));
            } else if !matches!(dtype, DType::I64 | DType::I32 | DType::Bool | DType::U8) {
                return Err(PyIndexError::new_err(
                    "tensors used as indices must be long, int, byte or bool tensors",
                ));
            } else {
                out.push(Part::Tensor(t.clone()));
            }
        } else if i.is_instance_of::<PyBool>() {
            let core = nested::from_data(i, None)?;
            out.push(Part::Tensor(Bound::new(py, Tensor::new(core))?));
        } else if i.is_instance_of::<PyInt>() {
            out.push(Part::Int(i.extract()?));
        } else if is_index_sequence(i) {
            out.push(Part::Tensor(as_index_tensor(i)?));
        } else if let Some(core) = foreign::from_buffer(i)? {
            if core.rank() == 0 && core.dtype.is_int() {
                out.push(Part::Int(cpu::item(&core).to_i64()));
            } else {
                out.push(Part::Tensor(Bound::new(py, Tensor::new(core))?));
            }
        } else if let Ok(v) = i.call_method0("__index__") {
            out.push(Part::Int(v.extract()?));
        } else {
            return Err(PyIndexError::new_err(format!(
                "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got {})",
                i.get_type().name()?
            )));
        }
    }
    Ok(out)
}

fn view<'py>(x: &Bound<'py, Tensor>, key: &str, rest: &[Arg]) -> PyResult<Bound<'py, Tensor>> {
    let py = x.py();
    let op = ops::get(key).ok_or_else(|| runtime(format!("no op {key}")))?;
    let mut args = Args::default();
    args.items.push(Arg::Tensor(x.get().core(py)));
    args.items.extend(rest.iter().cloned());
    Ok(call::apply(py, op, &args, &smallvec![(0, x.clone())])?.remove(0))
}

/// The views of a key applied; tensors that index what is left, by dim.
fn basic<'py>(
    x: &Bound<'py, Tensor>,
    parts: SmallVec<[Part<'py>; 4]>,
) -> PyResult<(Bound<'py, Tensor>, Vec<Option<Bound<'py, Tensor>>>)> {
    let py = x.py();
    let mut at = x.clone();
    let mut dim = 0i64;
    let mut indices: Vec<Option<Bound<'py, Tensor>>> = Vec::new();
    let too_many = |x: &Bound<'py, Tensor>| {
        PyIndexError::new_err(format!(
            "too many indices for tensor of dimension {}",
            x.get().with(py, |s| s.core.rank())
        ))
    };
    for p in parts {
        let rank = at.get().with(py, |s| s.core.rank()) as i64;
        match p {
            Part::None => {
                at = view(&at, "unsqueeze", &[Arg::Int(dim)])?;
                dim += 1;
            }
            Part::Int(i) => {
                if dim >= rank {
                    if x.get().with(py, |s| s.core.rank()) == 0 {
                        return Err(PyIndexError::new_err(
                            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to \
                             convert a 0-dim tensor to a number",
                        ));
                    }
                    return Err(too_many(x));
                }
                at = view(&at, "select", &[Arg::Int(dim), Arg::Int(i)])?;
            }
            Part::Slice(s) => {
                if dim >= rank {
                    return Err(too_many(x));
                }
                let bound = |name: &str| -> PyResult<Option<i64>> {
                    let v = s.getattr(name)?;
                    if v.is_none() {
                        return Ok(None);
                    }
                    if let Ok(v) = v.extract::<i64>() {
                        return Ok(Some(v));
                    }
                    if v.is_instance_of::<PyInt>() {
                        return Ok(Some(if v.lt(0)? { i64::MIN / 2 } else { i64::MAX / 2 }));
                    }
                    match v.call_method0("__index__") {
                        Ok(i) => Ok(Some(i.extract()?)),
                        Err(_) => Err(PyTypeError::new_err(
                            "slice indices must be integers or None or have an __index__ method",
                        )),
                    }
                };
                let (start, end, step) = (bound("start")?, bound("stop")?, bound("step")?.unwrap_or(1));
                if step <= 0 {
                    return Err(PyValueError::new_err("step must be greater than zero"));
                }
                if start.is_some() || end.is_some() || step != 1 {
                    let arg = |v: Option<i64>| v.map_or(Arg::None, Arg::Int);
                    at = view(&at, "slice", &[Arg::Int(dim), arg(start), arg(end), Arg::Int(step)])?;
                }
                dim += 1;
            }
            Part::Tensor(t) => {
                let (dtype, shape) = t.get().with(py, |s| (s.core.dtype, *s.core.shape()));
                indices.resize(dim as usize, None);
                if matches!(dtype, DType::Bool | DType::U8) {
                    if shape.is_empty() {
                        // A 0-d mask is a new dim of size 1 that is kept or dropped.
                        at = view(&at, "unsqueeze", &[Arg::Int(dim)])?;
                        let hit = crate::tensor::first(py, &t.get().core(py))?.to_i64() != 0;
                        let picked: &[i64] = if hit { &[0] } else { &[] };
                        let dims = Dims::new(&[picked.len()]).map_err(to_python)?;
                        let core = cpu::from_slice(picked, dims).map_err(to_python)?;
                        indices.push(Some(Bound::new(py, Tensor::new(core))?));
                        dim += 1;
                        continue;
                    }
                    let size = at.get().with(py, |s| *s.core.shape());
                    if dim as usize + shape.len() > size.len() {
                        return Err(too_many(x));
                    }
                    for (i, &n) in shape.iter().enumerate() {
                        let have = size[dim as usize + i];
                        if n != have {
                            return Err(PyIndexError::new_err(format!(
                                "The shape of the mask {shape} at index {i} does not match the shape of the indexed tensor {size} at index {}",
                                dim as usize + i
                            )));
                        }
                    }
                    for column in nonzero(&t)? {
                        indices.push(Some(column));
                        dim += 1;
                    }
                } else {
                    if dim >= rank {
                        return Err(too_many(x));
                    }
                    let t = if dtype == DType::I64 {
                        t
                    } else {
                        one(py, "_to_copy", &t, Arg::Dtype(DType::I64))?
                    };
                    indices.push(Some(t));
                    dim += 1;
                }
            }
        }
    }
    Ok((at, indices))
}

/// Indices of the true elements, one int64 tensor per dim.
fn nonzero<'py>(mask: &Bound<'py, Tensor>) -> PyResult<Vec<Bound<'py, Tensor>>> {
    let py = mask.py();
    let op = ops::get("nonzero").ok_or_else(|| runtime("no op nonzero"))?;
    let mut args = Args::default();
    args.items.push(Arg::Tensor(mask.get().core(py)));
    args.items.extend(op.params.iter().skip(1).map(default_argument));
    let rows = call::apply(py, op, &args, &smallvec![(0, mask.clone())])?.remove(0);
    let rank = mask.get().with(py, |s| s.core.rank());
    (0..rank)
        .map(|d| view(&rows, "select", &[Arg::Int(1), Arg::Int(d as i64)]))
        .collect()
}

fn index_arguments<'py>(
    py: Python<'py>,
    at: &Bound<'py, Tensor>,
    indices: &[Option<Bound<'py, Tensor>>],
) -> (Args, Tensors<'py>) {
    let mut args = Args::default();
    let mut tensors: Tensors<'py> = smallvec![(0, at.clone())];
    args.items.push(Arg::Tensor(at.get().core(py)));
    args.items.push(Arg::OptTensors(
        indices.iter().map(|i| i.as_ref().map(|t| t.get().core(py))).collect(),
    ));
    tensors.extend(indices.iter().flatten().map(|t| (1, t.clone())));
    (args, tensors)
}

/// `x[key]`.
pub fn get<'py>(x: &Bound<'py, Tensor>, key: &Bound<'py, PyAny>, select_op: &Common) -> PyResult<Bound<'py, PyAny>> {
    let py = x.py();
    if key.is_exact_instance_of::<PyInt>() && x.get().with(py, |s| s.core.rank()) > 0 {
        return Ok(select(x, select_op, key.extract()?)?.into_any());
    }
    let (at, indices) = match plain(x, key, select_op)? {
        Some(at) => (at, Vec::new()),
        None => basic(x, parts(x, key)?)?,
    };
    if indices.is_empty() {
        // `x[...]` and `x[:]` are views of their own, not x itself.
        return Ok(if at.is(x) { view(x, "alias", &[])? } else { at }.into_any());
    }
    let op = ops::get("index").ok_or_else(|| runtime("no op index"))?;
    let (args, tensors) = index_arguments(py, &at, &indices);
    Ok(call::apply(py, op, &args, &tensors)?.remove(0).into_any())
}

/// `x[key] = value`.
pub fn set<'py>(
    x: &Bound<'py, Tensor>,
    key: &Bound<'py, PyAny>,
    value: &Bound<'py, PyAny>,
    select_op: &Common,
) -> PyResult<()> {
    let py = x.py();
    let dtype = x.get().with(py, |s| s.core.dtype);
    let source = match value.cast::<Tensor>() {
        Ok(t) => t.clone(),
        Err(_) => {
            let is_number = convert::number(value)?.is_some();
            if !is_number && foreign::from_buffer(value)?.is_none() && !is_index_sequence(value) {
                return Err(PyTypeError::new_err(format!(
                    "can't assign a {} to a torch.{}Tensor",
                    value.get_type().name()?,
                    firesteel::dtype::legacy_name(dtype)
                )));
            }
            Bound::new(py, Tensor::new(nested::from_data(value, is_number.then_some(dtype))?))?
        }
    };
    if let Some(mask) = whole_mask(x, key)?
        && source.get().with(py, |s| s.core.numel()) == 1
    {
        return fill_masked(x, &mask, &source);
    }
    let (at, indices) = if key.is_exact_instance_of::<PyInt>() && x.get().with(py, |s| s.core.rank()) > 0 {
        (select(x, select_op, key.extract()?)?, Vec::new())
    } else {
        match plain(x, key, select_op)? {
            Some(at) => (at, Vec::new()),
            None => basic(x, parts(x, key)?)?,
        }
    };
    if indices.is_empty() {
        // Leading dims of size 1 in the value do not count.
        let (want, mut source) = (at.get().with(py, |s| *s.core.shape()), source);
        while source
            .get()
            .with(py, |s| s.core.rank() > want.len() && s.core.shape()[0] == 1)
        {
            source = view(&source, "select", &[Arg::Int(0), Arg::Int(0)])?;
        }
        return call::inplace(py, "copy", &at, &source);
    }
    let op = ops::get("index_put").ok_or_else(|| runtime("no op index_put"))?;
    let (mut args, mut tensors) = index_arguments(py, &at, &indices);
    let from = source.get().with(py, |s| s.core.dtype);
    let source = if from != dtype {
        if value.is_instance_of::<Tensor>() {
            return Err(runtime(format!(
                "Index put requires the source and destination dtypes match, got {} for the destination and {} for the source.",
                firesteel::dtype::legacy_name(dtype),
                firesteel::dtype::legacy_name(from)
            )));
        }
        one(py, "_to_copy", &source, Arg::Dtype(dtype))?
    } else {
        source
    };
    args.items.push(Arg::Tensor(source.get().core(py)));
    tensors.push((2, source));
    args.items.push(Arg::Bool(false));
    call::apply_inplace(py, op, &args, &tensors)
}

/// A key that is one bool tensor over the first dims, with the missing dims put behind.
fn whole_mask<'py>(x: &Bound<'py, Tensor>, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, Tensor>>> {
    let py = x.py();
    let Ok(mask) = key.cast::<Tensor>() else {
        return Ok(None);
    };
    let (dtype, shape) = mask.get().with(py, |s| (s.core.dtype, *s.core.shape()));
    let have = x.get().with(py, |s| *s.core.shape());
    if dtype != DType::Bool || shape.is_empty() || shape.len() > have.len() || have[..shape.len()] != shape[..] {
        return Ok(None);
    }
    let mut mask = mask.clone();
    for _ in shape.len()..have.len() {
        mask = view(&mask, "unsqueeze", &[Arg::Int(-1)])?;
    }
    Ok(Some(mask))
}

/// One value wherever the mask is true, without looking for the places first.
fn fill_masked<'py>(x: &Bound<'py, Tensor>, mask: &Bound<'py, Tensor>, value: &Bound<'py, Tensor>) -> PyResult<()> {
    let py = x.py();
    let op = ops::get("masked_fill").ok_or_else(|| runtime("no op masked_fill"))?;
    let value = if value.get().with(py, |s| s.core.rank()) == 0 {
        value.clone()
    } else {
        view(value, "view", &[Arg::Ints(smallvec![])])?
    };
    let mut args = Args::default();
    let mut tensors = Tensors::new();
    for (i, t) in [x, mask, &value].into_iter().enumerate() {
        args.items.push(Arg::Tensor(t.get().core(py)));
        tensors.push((i as u8, t.clone()));
    }
    call::apply_inplace(py, op, &args, &tensors)
}
