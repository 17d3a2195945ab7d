//! Tensors from numbers in nested lists, with arrays and tensors among them, and back to lists.

use crate::convert::{is_sequence, number};
use crate::error::{runtime, to_python};
use crate::foreign::from_buffer;
use crate::tensor::{Tensor, on_cpu};
use firesteel::Core;
use firesteel::device::{Device, cpu, gpu};
use firesteel::dtype::{DType, Scalar};
use firesteel::layout::Dims;
use firesteel::ops::infer::default_dtype;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyList, PyString};
use smallvec::SmallVec;

/// A new tensor from numbers, nested sequences of them, arrays or tensors (`torch.tensor`).
pub fn from_data(obj: &Bound<'_, PyAny>, dtype: Option<DType>) -> PyResult<Core> {
    if let Ok(t) = obj.cast::<Tensor>() {
        let core = t.get().core(obj.py());
        return cast_copy(&core, dtype.unwrap_or(core.dtype));
    }
    if let Some(s) = data_number(obj, dtype)? {
        let d = dtype.unwrap_or_else(|| number_dtype(obj, s));
        let out = Core::empty(Dims::EMPTY, d, Device::Cpu).map_err(to_python)?;
        check_fits(s, d)?;
        cpu::fill(&out, s);
        return Ok(out);
    }
    if let Some(array) = from_buffer(obj)? {
        return cast_copy(&array, dtype.unwrap_or(array.dtype));
    }
    let mut shape: SmallVec<[usize; 8]> = SmallVec::new();
    let mut values = Values {
        wanted: dtype,
        ..Values::default()
    };
    nested(obj, 0, &mut shape, &mut values)?;
    let dims = Dims::new(&shape).map_err(to_python)?;
    let d = dtype.or(values.dtype).unwrap_or_else(default_dtype);
    if d.is_float() {
        let list: Vec<f64> = values.list.iter().map(|s| s.to_f64()).collect();
        cast_copy(&cpu::from_slice(&list, dims).map_err(to_python)?, d)
    } else if values.too_big && dtype.is_none() {
        Err(too_big())
    } else {
        let mut list = Vec::with_capacity(values.list.len());
        for s in &values.list {
            check_fits(*s, d)?;
            list.push(match s {
                Scalar::Float(v) if d == DType::Bool => i64::from(*v != 0.0),
                s => s.to_i64(),
            });
        }
        cast_copy(&cpu::from_slice(&list, dims).map_err(to_python)?, d)
    }
}

fn too_big() -> PyErr {
    PyValueError::new_err("Overflow when unpacking long long: the int does not fit in 64 bits")
}

/// An int beyond int64, as what a tensor of this dtype would hold.
fn big_number(obj: &Bound<'_, PyAny>, wanted: Option<DType>) -> PyResult<Scalar> {
    match wanted {
        Some(DType::U64) => obj
            .extract::<u64>()
            .map(|v| Scalar::Int(v as i64))
            .map_err(|_| too_big()),
        Some(d) if !d.is_float() => Err(too_big()),
        _ => Ok(Scalar::Float(obj.extract::<f64>().map_err(|_| too_big())?)),
    }
}

fn is_big(obj: &Bound<'_, PyAny>) -> bool {
    obj.is_exact_instance_of::<PyInt>() && obj.extract::<i64>().is_err()
}

fn data_number(obj: &Bound<'_, PyAny>, dtype: Option<DType>) -> PyResult<Option<Scalar>> {
    if is_big(obj) {
        return big_number(obj, Some(dtype.unwrap_or(DType::I64))).map(Some);
    }
    number(obj)
}

fn number_dtype(obj: &Bound<'_, PyAny>, s: Scalar) -> DType {
    // A NumPy scalar keeps its own dtype.
    let named = |name: &str| DType::ALL.into_iter().find(|d| d.name() == name);
    let plain = obj.is_exact_instance_of::<PyFloat>() || obj.is_instance_of::<PyInt>();
    if !plain
        && let Ok(name) = obj
            .getattr("dtype")
            .and_then(|d| d.getattr("name"))
            .and_then(|n| n.extract::<String>())
        && let Some(d) = named(&name)
    {
        return d;
    }
    firesteel::dtype::of_scalar(s, default_dtype())
}

/// Numbers that an integer dtype cannot hold raise, as in PyTorch.
fn check_fits(s: Scalar, d: DType) -> PyResult<()> {
    if d.is_float() || firesteel::dtype::fits(s, d) {
        return Ok(());
    }
    Err(runtime(format!(
        "value cannot be converted to type {} without overflow: {}",
        d.name(),
        match s {
            Scalar::Int(v) => v.to_string(),
            s => s.to_f64().to_string(),
        }
    )))
}

#[derive(Default)]
struct Values {
    list: Vec<Scalar>,
    /// The dtype asked for.
    wanted: Option<DType>,
    /// The dtypes of numbers, tensors and arrays inside, promoted.
    dtype: Option<DType>,
    /// An int beyond int64 was met, and is a float in the list.
    too_big: bool,
}

impl Values {
    fn met(&mut self, d: DType) {
        let wider = |old| firesteel::dtype::promote(old, d).unwrap_or(DType::I64);
        self.dtype = Some(self.dtype.map_or(d, wider));
    }
}

fn nested(obj: &Bound<'_, PyAny>, depth: usize, shape: &mut SmallVec<[usize; 8]>, out: &mut Values) -> PyResult<()> {
    if depth > firesteel_kernels::MAX_RANK {
        return Err(PyValueError::new_err(format!(
            "too many dimensions: tensors have at most {}",
            firesteel_kernels::MAX_RANK
        )));
    }
    let big = is_big(obj);
    let found = if big {
        out.too_big = true;
        Some(big_number(obj, out.wanted)?)
    } else {
        number(obj)?
    };
    if let Some(s) = found {
        if depth != shape.len() {
            return Err(ragged(shape, depth));
        }
        out.met(if big { DType::I64 } else { number_dtype(obj, s) });
        out.list.push(s);
        return Ok(());
    }
    let inner = match obj.cast::<Tensor>() {
        Ok(t) => Some(gpu::to_host(&t.get().core(obj.py())).map_err(to_python)?),
        Err(_) => from_buffer(obj)?,
    };
    // A tensor of one element stands for it, whatever its dims, as in PyTorch.
    let one = |c: &Core| c.numel() == 1 && depth > 0 && depth == shape.len() && obj.is_instance_of::<Tensor>();
    if let Some(core) = inner.as_ref().filter(|c| one(c)) {
        on_cpu(core, "tensor")?;
        out.met(core.dtype);
        out.list.push(cpu::item(core));
        return Ok(());
    }
    if let Some(core) = inner {
        let fresh = out.list.is_empty() && shape.len() == depth;
        if fresh {
            shape.extend(core.shape().iter().copied());
        } else if shape[depth..] != core.shape()[..] {
            return Err(ragged(shape, depth));
        }
        out.met(core.dtype);
        if core.dtype.is_float() {
            out.list
                .extend(cpu::to_f64(&core).map_err(to_python)?.into_iter().map(Scalar::Float));
        } else {
            out.list
                .extend(cpu::to_i64(&core).map_err(to_python)?.into_iter().map(Scalar::Int));
        }
        return Ok(());
    }
    if obj.is_instance_of::<PyString>() {
        return Err(PyValueError::new_err("too many dimensions 'str'"));
    }
    if !is_sequence(obj) {
        return Err(runtime(format!("Could not infer dtype of {}", obj.get_type().name()?)));
    }
    let n = obj.len()?;
    if shape.len() == depth {
        if !out.list.is_empty() {
            return Err(ragged(shape, depth));
        }
        shape.push(n);
    } else if shape[depth] != n {
        return Err(PyValueError::new_err(format!(
            "expected sequence of length {} at dim {depth} (got {n})",
            shape[depth]
        )));
    }
    for i in 0..n {
        nested(&obj.get_item(i)?, depth + 1, shape, out)?;
    }
    Ok(())
}

fn ragged(shape: &[usize], depth: usize) -> PyErr {
    PyValueError::new_err(format!(
        "the nested sequence is ragged: dims {shape:?} were expected, a number or another shape was found at depth {depth}"
    ))
}

fn cast_copy(c: &Core, d: DType) -> PyResult<Core> {
    if c.device() == Device::Gpu {
        // On its own device, as `clone`.
        let out = Core::empty(*c.shape(), d, Device::Gpu).map_err(to_python)?;
        gpu::copy(c, &out).map_err(to_python)?;
        return Ok(out);
    }
    let out = Core::empty(*c.shape(), d, Device::Cpu).map_err(to_python)?;
    if c.device() == Device::Cpu {
        cpu::copy(c, &out);
    }
    Ok(out)
}

/// Elements as nested Python lists.
pub fn to_list(py: Python<'_>, c: &Core) -> PyResult<Py<PyAny>> {
    fn level(py: Python<'_>, shape: &[usize], next: &mut dyn FnMut() -> Py<PyAny>) -> PyResult<Py<PyAny>> {
        match shape.split_first() {
            None => Ok(next()),
            // Elements go straight into the list.
            Some((&n, [])) => Ok(PyList::new(py, (0..n).map(|_| next()))?.into_any().unbind()),
            Some((&n, rest)) => {
                let mut items = Vec::with_capacity(n);
                for _ in 0..n {
                    items.push(level(py, rest, next)?);
                }
                Ok(PyList::new(py, items)?.into_any().unbind())
            }
        }
    }
    let mut at = 0;
    if c.dtype.is_float() {
        let values = cpu::to_f64(c).map_err(to_python)?;
        level(py, c.shape(), &mut || {
            at += 1;
            PyFloat::new(py, values[at - 1]).into_any().unbind()
        })
    } else {
        let values = cpu::to_i64(c).map_err(to_python)?;
        let (is_bool, is_u64) = (c.dtype == DType::Bool, c.dtype == DType::U64);
        level(py, c.shape(), &mut || {
            at += 1;
            let v = values[at - 1];
            if is_bool {
                PyBool::new(py, v != 0).to_owned().into_any().unbind()
            } else if is_u64 {
                PyInt::new(py, v as u64).into_any().unbind()
            } else {
                PyInt::new(py, v).into_any().unbind()
            }
        })
    }
}
