//! Small Python classes beside the tensor: dtype, device, generator.

use crate::error::{runtime, type_error};
use crate::graph::active::check_reading;
use firesteel::device::Device;
use firesteel::dtype::DType;
use firesteel::generator::Generator;
use pyo3::exceptions::PyNotImplementedError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple};
use std::sync::Arc;

/// A dtype; there is one object for each, so `is` compares.
#[pyclass(name = "dtype", module = "firesteel", frozen)]
pub struct PyDType {
    pub dtype: DType,
}

static DTYPES: PyOnceLock<Vec<Py<PyDType>>> = PyOnceLock::new();

/// The one object of a dtype.
pub fn dtype_object(py: Python<'_>, d: DType) -> Py<PyDType> {
    // Filled while the module is imported: later calls allocate nothing that could fail.
    let all = DTYPES.get_or_init(py, || {
        DType::ALL
            .iter()
            .map(|&dtype| Py::new(py, PyDType { dtype }).expect("a small object can be allocated"))
            .collect()
    });
    all[d as usize].clone_ref(py)
}

#[pymethods]
impl PyDType {
    fn __repr__(&self) -> String {
        format!("torch.{}", self.dtype.name())
    }
    fn __reduce__(&self) -> &'static str {
        self.dtype.name()
    }
    #[getter]
    fn is_floating_point(&self) -> bool {
        self.dtype.is_float()
    }
    #[getter]
    fn is_complex(&self) -> bool {
        false
    }
    #[getter]
    fn is_signed(&self) -> bool {
        self.dtype.is_signed()
    }
    #[getter]
    fn itemsize(&self) -> usize {
        self.dtype.size()
    }
}

/// A device: a type and, where there are several, an index.
#[pyclass(name = "device", module = "firesteel", frozen, eq, hash)]
#[derive(PartialEq, Eq, Hash, Clone)]
pub struct PyDevice {
    kind: String,
    #[pyo3(get)]
    index: Option<i64>,
}

impl PyDevice {
    pub fn of(d: Device) -> PyDevice {
        PyDevice {
            kind: d.name().into(),
            index: None,
        }
    }

    /// The device of the core, or why there is none.
    pub fn resolve(&self) -> PyResult<Device> {
        match self.kind.as_str() {
            "cpu" => Ok(Device::Cpu),
            "meta" => Ok(Device::Meta),
            "gpu" => match self.index {
                None | Some(0) => Ok(Device::Gpu),
                Some(i) => Err(runtime(format!(
                    "there is one gpu device, 'gpu' or 'gpu:0', not 'gpu:{i}'"
                ))),
            },
            "cuda" => Err(PyErr::new::<pyo3::exceptions::PyAssertionError, _>(
                "Torch not compiled with CUDA enabled: firesteel has no CUDA device; use device='gpu' or 'cpu'",
            )),
            other => Err(PyNotImplementedError::new_err(format!(
                "device '{other}' is not there in this version of firesteel; use 'cpu', 'gpu' or 'meta'"
            ))),
        }
    }
}

const DEVICE_TYPES: [&str; 8] = ["cpu", "cuda", "gpu", "meta", "mps", "xpu", "xla", "vulkan"];

#[pymethods]
impl PyDevice {
    #[new]
    #[pyo3(signature = (r#type, index = None))]
    fn new(r#type: &Bound<'_, PyAny>, index: Option<i64>) -> PyResult<PyDevice> {
        if let Ok(d) = r#type.cast::<PyDevice>() {
            return Ok(d.get().clone());
        }
        if let Ok(i) = r#type.extract::<i64>() {
            return Ok(PyDevice {
                kind: "cuda".into(),
                index: Some(i),
            });
        }
        let text: String = r#type.extract().map_err(|_| {
            type_error(format!(
                "device(): argument 'type' (position 1) must be str, not {}",
                r#type.get_type()
            ))
        })?;
        let (kind, own) = match text.split_once(':') {
            Some((k, i)) => {
                let n = i.parse::<i64>().ok().filter(|n| *n >= 0);
                (
                    k,
                    Some(n.ok_or_else(|| runtime(format!("Invalid device string: '{text}'")))?),
                )
            }
            None => (text.as_str(), None),
        };
        if !DEVICE_TYPES.contains(&kind) {
            return Err(runtime(format!(
                "Expected one of {} device type at start of device string: {text}",
                DEVICE_TYPES.join(", ")
            )));
        }
        if own.is_some() && index.is_some() {
            return Err(runtime(format!(
                "type (string) must not include an index because index was passed explicitly: {text}"
            )));
        }
        Ok(PyDevice {
            kind: kind.into(),
            index: own.or(index),
        })
    }

    #[getter]
    fn r#type(&self) -> &str {
        &self.kind
    }
    fn __repr__(&self) -> String {
        match self.index {
            Some(i) => format!("device(type='{}', index={i})", self.kind),
            None => format!("device(type='{}')", self.kind),
        }
    }
    fn __str__(&self) -> String {
        match self.index {
            Some(i) => format!("{}:{i}", self.kind),
            None => self.kind.clone(),
        }
    }
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let args = PyTuple::new(slf.py(), [slf.get().__str__()])?;
        PyTuple::new(slf.py(), [slf.get_type().into_any(), args.into_any()])
    }
}

/// A source of random numbers: a seed and how many were drawn.
#[pyclass(name = "Generator", module = "firesteel", frozen)]
pub struct PyGenerator {
    pub inner: Arc<Generator>,
}

#[pymethods]
impl PyGenerator {
    #[new]
    #[pyo3(signature = (device = None))]
    fn new(device: Option<&Bound<'_, PyAny>>) -> PyResult<PyGenerator> {
        if let Some(d) = device {
            PyDevice::new(d, None)?.resolve()?;
        }
        Ok(PyGenerator {
            inner: Generator::new(firesteel::generator::DEFAULT_SEED),
        })
    }
    /// Starts again from a seed; returns the generator.
    fn manual_seed<'py>(slf: &Bound<'py, Self>, seed: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        check_reading(slf.py(), "seeding a generator")?;
        slf.get().inner.set_state(seed_value(seed)?, 0);
        Ok(slf.clone())
    }
    /// The seed in use.
    fn initial_seed(&self) -> u64 {
        self.inner.state().0
    }
    /// A seed that differs from call to call, set and returned.
    fn seed(&self, py: Python<'_>) -> PyResult<u64> {
        check_reading(py, "seeding a generator")?;
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.as_nanos() as u64);
        let seed = (now ^ (std::process::id() as u64).rotate_left(40)) & (i64::MAX as u64);
        self.inner.set_state(seed, 0);
        Ok(seed)
    }
    /// (seed, offset): all of the state.
    fn _state(&self) -> (u64, u64) {
        self.inner.state()
    }
    fn _set_state(&self, py: Python<'_>, seed: u64, offset: u64) -> PyResult<()> {
        check_reading(py, "setting a generator's state")?;
        self.inner.set_state(seed, offset);
        Ok(())
    }
    #[getter]
    fn device(&self) -> PyDevice {
        PyDevice::of(Device::Cpu)
    }
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let py = slf.py();
        let make = py.import("firesteel._rebuild")?.getattr("generator")?;
        let (seed, offset) = slf.get().inner.state();
        let args = (seed, offset).into_pyobject(py)?;
        PyTuple::new(py, [make, args.into_any()])
    }
}

/// A seed as PyTorch takes it: any int of 64 bits, negative ones too.
pub fn seed_value(seed: &Bound<'_, PyAny>) -> PyResult<u64> {
    if let Ok(s) = seed.extract::<u64>() {
        return Ok(s);
    }
    match seed.extract::<i64>() {
        Ok(s) => Ok(s as u64),
        Err(_) if seed.is_instance_of::<pyo3::types::PyInt>() => {
            Err(runtime("Overflow when unpacking long long: a seed has at most 64 bits"))
        }
        Err(_) => Ok(seed.call_method0("__int__")?.extract::<i64>()? as u64),
    }
}

/// A device given by a program: an object, a string, or None.
pub fn device_from(obj: &Bound<'_, PyAny>) -> PyResult<Device> {
    if let Ok(d) = obj.cast::<PyDevice>() {
        return d.get().resolve();
    }
    if obj.is_instance_of::<PyString>() || obj.extract::<i64>().is_ok() {
        return PyDevice::new(obj, None)?.resolve();
    }
    Err(type_error(format!(
        "argument 'device' must be a device or a str, not {}",
        obj.get_type().name()?
    )))
}
