//! A tensor's values as Python's: numbers, lists, the memory that NumPy reads.

use super::Tensor;
use crate::convert;
use crate::error::{runtime, to_python};
use crate::foreign::Memory;
use crate::graph;
use crate::nested;
use firesteel::Core;
use firesteel::device::{Device, cpu, gpu};
use firesteel::dtype::{DType, Scalar};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// The one element of a tensor, on the CPU.
fn only(t: &Tensor, py: Python<'_>) -> PyResult<Scalar> {
    let core = t.core(py);
    if core.numel() != 1 {
        return Err(runtime(format!(
            "a Tensor with {} elements cannot be converted to Scalar",
            core.numel()
        )));
    }
    first(py, &core)
}

/// The first element; the wait for another device is the other threads' time.
pub fn first(py: Python<'_>, core: &Core) -> PyResult<Scalar> {
    graph::active::check_reading(py, "item")?;
    match core.device() {
        Device::Cpu => Ok(cpu::item(core)),
        Device::Gpu => py.detach(|| gpu::item(core)).map_err(to_python),
        Device::Meta => Err(runtime("Tensor.item() cannot be called on meta tensors")),
    }
}

/// The tensor's values on the CPU.
fn on_host(py: Python<'_>, core: &Core) -> PyResult<Core> {
    match core.device() {
        Device::Cpu => Ok(core.clone()),
        _ => py.detach(|| gpu::to_host(core)).map_err(to_python),
    }
}

/// `float()` and `int()` take tensors of one element.
fn one_element(t: &Bound<'_, Tensor>) -> PyResult<()> {
    match t.get().with(t.py(), |s| s.core.numel()) {
        1 => Ok(()),
        _ => Err(PyValueError::new_err(
            "only one element tensors can be converted to Python scalars",
        )),
    }
}

pub fn on_cpu(core: &Core, what: &str) -> PyResult<()> {
    if core.device() == Device::Cpu {
        return Ok(());
    }
    Err(runtime(format!(
        "Tensor.{what}() cannot be called on {} tensors",
        core.device().name()
    )))
}

pub fn item(slf: &Bound<'_, Tensor>) -> PyResult<Py<PyAny>> {
    let py = slf.py();
    Ok(convert::scalar_object(py, only(slf.get(), py)?))
}

pub fn tolist(slf: &Bound<'_, Tensor>) -> PyResult<Py<PyAny>> {
    let py = slf.py();
    let core = slf.get().core(py);
    if core.device() == Device::Meta {
        return on_cpu(&core, "tolist").map(|()| py.None());
    }
    graph::active::check_reading(py, "tolist")?;
    nested::to_list(py, &on_host(py, &core)?)
}

/// See [`Tensor::_memory`].
pub fn memory(slf: &Bound<'_, Tensor>) -> PyResult<Memory> {
    let core = slf.get().core(slf.py());
    on_cpu(&core, "numpy")?;
    graph::active::check_reading(slf.py(), "numpy")?;
    if core.dtype == DType::BF16 {
        return Err(PyTypeError::new_err("Got unsupported ScalarType BFloat16"));
    }
    Ok(Memory::new(core))
}

pub fn float(slf: &Bound<'_, Tensor>) -> PyResult<f64> {
    one_element(slf)?;
    Ok(only(slf.get(), slf.py())?.to_f64())
}

pub fn int(slf: &Bound<'_, Tensor>) -> PyResult<Py<PyAny>> {
    let py = slf.py();
    one_element(slf)?;
    match only(slf.get(), py)? {
        Scalar::Float(v) => Ok(v.into_pyobject(py)?.call_method0("__int__")?.unbind()),
        s => Ok(s.to_i64().into_pyobject(py)?.into_any().unbind()),
    }
}

pub fn index(slf: &Bound<'_, Tensor>) -> PyResult<i64> {
    let py = slf.py();
    let core = slf.get().core(py);
    if core.numel() != 1 || core.dtype.is_float() {
        return Err(PyTypeError::new_err(
            "only integer tensors of a single element can be converted to an index",
        ));
    }
    Ok(only(slf.get(), py)?.to_i64())
}

pub fn truth(slf: &Bound<'_, Tensor>) -> PyResult<bool> {
    let py = slf.py();
    let core = slf.get().core(py);
    match core.numel() {
        1 => Ok(only(slf.get(), py)?.to_f64() != 0.0),
        0 => Err(runtime("Boolean value of Tensor with no values is ambiguous")),
        _ => Err(runtime("Boolean value of Tensor with more than one value is ambiguous")),
    }
}
