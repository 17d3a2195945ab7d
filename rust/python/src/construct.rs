//! New tensors for Python from data, from foreign memory and over other tensors' memory.

use crate::convert;
use crate::error::{guarded, runtime, to_python, type_error};
use crate::foreign;
use crate::nested::from_data;
use crate::tensor::Tensor;
use firesteel::device::{Device, cpu};
use firesteel::dtype::{DType, Scalar, legacy_name};
use firesteel::layout::Dims;
use firesteel::{Core, dispatch};
use pyo3::exceptions::{PyNotImplementedError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

/// `Tensor(2, 3)`, `Tensor([1., 2.])`, `FloatTensor(…)`: sizes make uninitialised memory (zeros here), data a copy.
pub fn legacy_new(args: &Bound<'_, PyTuple>, dtype: DType) -> PyResult<Core> {
    let empty = |sizes: &[i64]| {
        let dims = Dims::from_ints(sizes).map_err(to_python)?;
        let core = Core::empty(dims, dtype, Device::Cpu).map_err(to_python)?;
        cpu::fill(&core, Scalar::Int(0));
        Ok(core)
    };
    if args.is_empty() {
        return empty(&[0]);
    }
    let first = args.get_item(0)?;
    if args.len() == 1 {
        if let Ok(t) = first.cast::<Tensor>() {
            let core = t.get().core(args.py());
            if core.dtype != dtype {
                return Err(type_error(format!(
                    "expected {} (got {})",
                    legacy_name(dtype),
                    legacy_name(core.dtype)
                )));
            }
            return Ok(core);
        }
        if first.get_type().name()?.to_cow()? == "Size" {
            let sizes: Vec<i64> = first.extract()?;
            return empty(&sizes);
        }
        if !first.is_instance_of::<pyo3::types::PyInt>() {
            return from_data(&first, Some(dtype));
        }
    }
    let mut sizes = Vec::with_capacity(args.len());
    for a in args.iter() {
        sizes.push(a.extract::<i64>().map_err(|_| {
            type_error(format!(
                "new(): argument 'size' must be tuple of ints, but found element of type {}",
                a.get_type()
            ))
        })?);
    }
    empty(&sizes)
}

/// `FloatTensor(…)` and its kin.
#[pyfunction]
pub fn _legacy_tensor(args: &Bound<'_, PyTuple>, dtype: &Bound<'_, crate::types::PyDType>) -> PyResult<Tensor> {
    Ok(Tensor::new(legacy_new(args, dtype.get().dtype)?))
}

/// `torch.tensor` without its keywords.
#[pyfunction]
#[pyo3(signature = (data, dtype = None))]
pub fn _tensor(data: &Bound<'_, PyAny>, dtype: Option<&Bound<'_, PyAny>>) -> PyResult<Tensor> {
    let dtype = match dtype {
        None => None,
        Some(d) => Some(dtype_argument(d)?),
    };
    guarded("tensor", || Ok(Tensor::new(from_data(data, dtype)?)))
}

pub fn dtype_argument(d: &Bound<'_, PyAny>) -> PyResult<DType> {
    match d.cast::<crate::types::PyDType>() {
        Ok(d) => Ok(d.get().dtype),
        Err(_) => convert::dtype_of_builtin(d)
            .ok_or_else(|| type_error(format!("argument 'dtype' must be torch.dtype, not {}", d.get_type()))),
    }
}

/// The memory of an array, shared.
#[pyfunction]
pub fn _from_buffer(array: &Bound<'_, PyAny>) -> PyResult<Option<Tensor>> {
    Ok(foreign::from_buffer(array)?.map(Tensor::new))
}

/// A tensor over part of another's buffer (checkpoints, shared storages).
#[pyfunction]
pub fn _over(
    owner: &Bound<'_, Tensor>,
    dtype: &Bound<'_, PyAny>,
    size: Vec<i64>,
    stride: Vec<i64>,
    offset: i64,
) -> PyResult<Tensor> {
    let py = owner.py();
    let core = owner.get().core(py);
    let shape = Dims::from_ints(&size).map_err(to_python)?;
    if stride.len() != size.len() || offset < 0 || stride.iter().any(|&s| s < 0) {
        return Err(PyValueError::new_err(format!(
            "sizes {size:?}, strides {stride:?}, offset {offset} do not fit together"
        )));
    }
    let reach = shape
        .iter()
        .zip(&stride)
        .try_fold(offset as usize + 1, |end, (&n, &s)| {
            (n.max(1) - 1).checked_mul(s as usize).and_then(|r| end.checked_add(r))
        });
    let dtype = dtype_argument(dtype)?;
    if core.device() == Device::Gpu && core.dtype != dtype {
        return Err(PyNotImplementedError::new_err(
            "the memory of a tensor on device 'gpu' cannot be seen as another dtype: copy it to the cpu first",
        ));
    }
    if shape.numel() > 0
        && reach
            .and_then(|r| r.checked_mul(dtype.size()))
            .is_none_or(|b| b > core.buffer.bytes())
    {
        return Err(runtime(format!(
            "sizes {size:?}, strides {stride:?}, offset {offset} reach outside the storage of {} bytes",
            core.buffer.bytes()
        )));
    }
    let strides: Vec<isize> = stride.iter().map(|&s| s as isize).collect();
    let layout = firesteel::Layout::strided(shape, &strides, offset as usize);
    Ok(Tensor::new(
        Core::over(core.buffer.clone(), layout, dtype).map_err(to_python)?,
    ))
}

/// Whether two tensors use the same buffer.
#[pyfunction]
pub fn _shares_memory(a: &Bound<'_, Tensor>, b: &Bound<'_, Tensor>) -> bool {
    let py = a.py();
    firesteel::shared::Shared::ptr_eq(&a.get().core(py).buffer, &b.get().core(py).buffer)
}

/// Copies values past autograd and version counters' checks on leaves (`load_state_dict`, `_apply`).
#[pyfunction]
pub fn _fresh_copy<'py>(t: &Bound<'py, Tensor>) -> PyResult<Bound<'py, Tensor>> {
    let py = t.py();
    let core = dispatch::fresh_copy(&t.get().core(py)).map_err(to_python)?;
    Bound::new(py, Tensor::new(core))
}

/// The parameters of a list that have a gradient, and their gradients.
#[pyfunction]
pub fn _with_grads<'py>(params: &Bound<'py, PyList>) -> PyResult<(Bound<'py, PyList>, Bound<'py, PyList>)> {
    let py = params.py();
    let (mut kept, mut grads) = (Vec::with_capacity(params.len()), Vec::with_capacity(params.len()));
    for p in params.iter() {
        if let Some(grad) = Tensor::grad(p.cast::<Tensor>()?)? {
            kept.push(p);
            grads.push(grad);
        }
    }
    Ok((PyList::new(py, kept)?, PyList::new(py, grads)?))
}
