//! The Python module `firesteel._C`: tensors, nodes, and every op of the table.

#![deny(unsafe_code)]
#![allow(non_snake_case)] // the name of the Python module

#[cfg(Py_GIL_DISABLED)]
compile_error!("firesteel does not support free-threaded Python yet");

mod backward;
#[allow(unsafe_code)] // arguments written in place
mod bind;
#[allow(unsafe_code)] // lending cores, named tuples
mod call;
#[allow(unsafe_code)] // the one accessor of state under the GIL
mod cell;
mod construct;
#[allow(unsafe_code)] // plain queries of CPython's
mod convert;
#[allow(unsafe_code)] // the C calling convention
mod entries;
mod error;
mod files;
#[allow(unsafe_code)] // buffer protocol
mod foreign;
mod graph;
mod index;
#[allow(unsafe_code)] // the C calling convention
mod make;
mod mode;
mod nested;
mod node;
mod paths;
mod record;
mod rows;
mod safetensors;
mod saved;
mod tensor;
mod types;

use firesteel::device::wgpu;
use firesteel::ops::infer;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyInt, PyList};

#[pyfunction]
fn get_default_dtype(py: Python<'_>) -> Py<types::PyDType> {
    types::dtype_object(py, infer::default_dtype())
}

#[pyfunction]
fn set_default_dtype(d: &Bound<'_, PyAny>) -> PyResult<()> {
    let d = construct::dtype_argument(d)?;
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

/// What starting and ending work on all threads costs in seconds: an empty job, and one that every thread takes part in.
#[pyfunction]
fn _fork_join(py: Python<'_>, rounds: usize) -> (f64, f64) {
    let [alone, together] = py.detach(|| firesteel_kernels::parallel::fork_join_times(rounds));
    (alone, together)
}

/// What this machine can do at most, measured for a second: float32 operations per second of one thread, and bytes per second
/// read from memory by all.
#[pyfunction]
fn _machine_limits(py: Python<'_>) -> (f64, f64) {
    py.detach(|| {
        (
            firesteel_kernels::limits::flops(),
            firesteel_kernels::limits::read_rate(),
        )
    })
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
    let (a, b) = (construct::dtype_argument(type1)?, construct::dtype_argument(type2)?);
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
        construct::dtype_argument(from)?,
        construct::dtype_argument(to)?,
    ))
}

/// Whether `_addmm` makes `beta * input + alpha * (a @ b)` of matrices of this rank (at least 2), or stacks of them; not if an
/// argument has another type.
#[pyfunction]
fn _sums_in_one(
    input: &Bound<'_, PyAny>,
    a: &Bound<'_, PyAny>,
    b: &Bound<'_, PyAny>,
    beta: &Bound<'_, PyAny>,
    alpha: &Bound<'_, PyAny>,
    rank: usize,
) -> bool {
    let number = |x: &Bound<'_, PyAny>| x.is_exact_instance_of::<PyFloat>() || x.is_exact_instance_of::<PyInt>();
    let core = |t: &Bound<'_, PyAny>| Some(t.cast::<tensor::Tensor>().ok()?.get().core(t.py()));
    let (Some(of), Some(x), Some(y)) = (core(input), core(a), core(b)) else {
        return false;
    };
    number(beta)
        && number(alpha)
        && beta.is_truthy().unwrap_or(false)
        && firesteel::ops::matmul::sums_in_one([&of, &x, &y], rank)
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

/// Bytes in tensors and kept for reuse, and how often memory was taken from the system.
#[pyfunction]
fn memory_stats(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let s = firesteel::buffer::stats();
    let d = PyDict::new(py);
    d.set_item("allocated_bytes.current", s.live)?;
    d.set_item("allocated_bytes.peak", s.peak)?;
    d.set_item("cached_bytes.current", s.kept)?;
    d.set_item("blocks.from_system", s.made)?;
    d.set_item("blocks.reused", s.reused)?;
    Ok(d)
}

/// The peak of `memory_stats()` counts from now on.
#[pyfunction]
fn reset_peak_memory_stats() {
    firesteel::buffer::reset_peak();
}

/// Names of the gpus that could be used, the one that is used first; makes no device.
#[pyfunction]
fn _gpu_adapters(py: Python<'_>) -> PyResult<Vec<String>> {
    py.detach(wgpu::adapters).map_err(error::to_python)
}

/// Whether the gpu device was made.
#[pyfunction]
fn _gpu_open() -> bool {
    wgpu::is_open()
}

/// Waits until the gpu has done all its work; raises what went wrong in it.
#[pyfunction]
fn _gpu_synchronize(py: Python<'_>) -> PyResult<()> {
    py.detach(wgpu::synchronize).map_err(error::to_python)
}

#[pyfunction]
fn _gpu_empty_cache(py: Python<'_>) -> PyResult<()> {
    py.detach(wgpu::empty_cache).map_err(error::to_python)
}

/// Takes the gpu device away, as a driver's reset does; for tests.
#[pyfunction]
fn _gpu_lose() {
    wgpu::lose();
}

/// (bytes in tensors of the gpu, bytes kept for reuse).
#[pyfunction]
fn _gpu_memory() -> (u64, u64) {
    wgpu::memory()
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
    m.add_class::<graph::recording::Recording>()?;
    m.add("RecordingError", py.get_type::<error::RecordingError>())?;
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
        _fork_join,
        _machine_limits,
        _result_type,
        promote_types,
        can_cast,
        _sums_in_one,
        default_generator,
        empty_cache,
        memory_stats,
        reset_peak_memory_stats,
        _isa,
        _gpu_adapters,
        _gpu_open,
        _gpu_synchronize,
        _gpu_empty_cache,
        _gpu_lose,
        _gpu_memory,
        mode::is_grad_enabled,
        mode::_set_grad,
        mode::is_inference_mode_enabled,
        mode::_set_inference,
        mode::is_anomaly_enabled,
        mode::_set_anomaly,
        mode::_is_recording,
        graph::active::_graph_begin,
        graph::active::_graph_abort,
        graph::active::_graph_module,
        graph::active::_graph_group,
        graph::active::_next_counts,
        graph::recording::finish::_graph_end,
        record::_record_function,
        paths::_paths,
        rows::register,
        rows::_row_keys,
        entries::_op_table,
        tensor::_set_size_class,
        construct::_legacy_tensor,
        construct::_tensor,
        construct::_from_buffer,
        construct::_over,
        construct::_shares_memory,
        construct::_fresh_copy,
        construct::_with_grads,
        make::_native,
        files::_map_file,
        files::_part,
        files::_bytes,
        safetensors::_safetensors_parse,
        safetensors::_safetensors_header,
    ];
    entries::install(m)?;
    // PyO3 lists its own functions only; without the list, `import *` takes every public name.
    m.delattr("__all__")
}
