//! The Python module `firesteel._C`: tensors, nodes, and every op of the table.

#![deny(unsafe_code)]
#![allow(non_snake_case)] // the name of the Python module

#[cfg(Py_GIL_DISABLED)]
compile_error!("firesteel does not support free-threaded Python yet");

mod backward;
#[allow(unsafe_code)] // the C calling convention
mod call;
#[allow(unsafe_code)] // the one accessor of state under the GIL
mod cell;
#[allow(unsafe_code)] // buffer protocol
mod convert;
mod error;
mod index;
mod mode;
mod node;
mod record;
mod rows;
#[allow(unsafe_code)] // lending cores
mod tensor;
mod types;

use firesteel::ops::infer;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

#[pyfunction]
fn get_default_dtype(py: Python<'_>) -> Py<types::PyDType> {
    types::dtype_object(py, infer::default_dtype())
}

#[pyfunction]
fn set_default_dtype(d: &Bound<'_, PyAny>) -> PyResult<()> {
    let d = tensor::dtype_argument(d)?;
    if !d.is_float() {
        return Err(error::type_error(
            "only floating-point types are supported as the default type",
        ));
    }
    infer::set_default_dtype(d);
    Ok(())
}

#[pyfunction]
fn get_num_threads() -> usize {
    firesteel_kernels::parallel::threads()
}

#[pyfunction]
fn set_num_threads(n: i64) -> PyResult<()> {
    if n <= 0 {
        return Err(error::runtime(format!(
            "set_num_threads expects a positive integer, got {n}"
        )));
    }
    firesteel_kernels::parallel::set_threads(n as usize);
    Ok(())
}

/// The dtype that two or more operands are promoted to.
#[pyfunction]
#[pyo3(signature = (*operands))]
fn _result_type(py: Python<'_>, operands: &Bound<'_, pyo3::types::PyTuple>) -> PyResult<Py<types::PyDType>> {
    let mut args = Vec::new();
    for o in operands.iter() {
        args.push(match o.cast::<tensor::Tensor>() {
            Ok(t) => firesteel::Arg::Tensor(t.get().core(py)),
            Err(_) => match convert::number(&o)? {
                Some(s) => firesteel::Arg::Scalar(s),
                None => {
                    return Err(error::type_error(format!(
                        "result_type() takes tensors and numbers, not {}",
                        o.get_type()
                    )));
                }
            },
        });
    }
    Ok(types::dtype_object(
        py,
        infer::result_type(args.iter()).map_err(error::to_python)?,
    ))
}

#[pyfunction]
fn promote_types(py: Python<'_>, type1: &Bound<'_, PyAny>, type2: &Bound<'_, PyAny>) -> PyResult<Py<types::PyDType>> {
    let (a, b) = (tensor::dtype_argument(type1)?, tensor::dtype_argument(type2)?);
    match firesteel::dtype::promote(a, b) {
        Some(d) => Ok(types::dtype_object(py, d)),
        None => Err(error::runtime(format!(
            "Promotion for {} and {} is not supported",
            a.name(),
            b.name()
        ))),
    }
}

#[pyfunction]
fn can_cast(from: &Bound<'_, PyAny>, to: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(firesteel::dtype::can_cast(
        tensor::dtype_argument(from)?,
        tensor::dtype_argument(to)?,
    ))
}

#[pyfunction]
fn default_generator() -> types::PyGenerator {
    types::PyGenerator {
        inner: firesteel::generator::default_generator(),
    }
}

/// Gives unused memory back to the system.
#[pyfunction]
fn empty_cache() {
    firesteel::buffer::empty_cache();
}

/// Bytes in tensors now ("allocated") and at most ("peak"), bytes that this thread keeps for reuse ("kept"), and how
/// many blocks came from the system and from the pool; blocks below 4 KiB are not counted, but for "kept".
#[pyfunction]
fn memory_stats(py: Python) -> PyResult<Bound<PyDict>> {
    let s = firesteel::buffer::stats();
    let found = PyDict::new(py);
    for (name, value) in [
        ("allocated", s.live),
        ("peak", s.peak),
        ("kept", s.kept),
        ("from_system", s.from_system),
        ("from_pool", s.from_pool),
    ] {
        found.set_item(name, value)?;
    }
    Ok(found)
}

/// Counts the "peak" of `memory_stats` anew from here.
#[pyfunction]
fn reset_peak_memory_stats() {
    firesteel::buffer::reset_peak();
}

/// The instruction set in use.
#[pyfunction]
fn _isa() -> String {
    format!("{:?}", firesteel_kernels::simd::isa()).to_lowercase()
}

#[pymodule(gil_used = true, name = "_C")]
fn init(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = m.py();
    m.add_class::<tensor::Tensor>()?;
    m.add_class::<node::Node>()?;
    m.add_class::<types::PyDType>()?;
    m.add_class::<types::PyDevice>()?;
    m.add_class::<types::PyGenerator>()?;
    m.add("OutOfMemoryError", py.get_type::<error::OutOfMemoryError>())?;
    m.add("LinAlgError", py.get_type::<error::LinAlgError>())?;
    let dtypes = PyList::empty(py);
    for d in firesteel::DType::ALL {
        let object = types::dtype_object(py, d);
        m.add(d.name(), object.clone_ref(py))?;
        dtypes.append(object)?;
    }
    m.add("_dtypes", dtypes)?;
    macro_rules! functions {
        ($($f:path),* $(,)?) => { $(m.add_function(wrap_pyfunction!($f, m)?)?;)* };
    }
    functions![
        get_default_dtype,
        set_default_dtype,
        get_num_threads,
        set_num_threads,
        _result_type,
        promote_types,
        can_cast,
        default_generator,
        empty_cache,
        memory_stats,
        reset_peak_memory_stats,
        _isa,
        mode::is_grad_enabled,
        mode::_set_grad,
        mode::is_inference_mode_enabled,
        mode::_set_inference,
        mode::is_anomaly_enabled,
        mode::_set_anomaly,
        node::_record_function,
        rows::register,
        rows::_row_keys,
        call::_op_table,
        tensor::_set_size_class,
        tensor::_legacy_tensor,
        tensor::_tensor,
        tensor::_from_buffer,
        tensor::_over,
        tensor::_shares_memory,
        tensor::_fresh_copy,
    ];
    call::install(m)?;
    // PyO3 lists its own functions only; without the list, `import *` takes every public name.
    m.delattr("__all__")
}
