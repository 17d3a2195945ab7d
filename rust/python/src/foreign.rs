//! Memory shared with others: theirs as a tensor's, by the buffer protocol, and ours for NumPy and `memoryview`.

use crate::error::{to_python, type_error};
use firesteel::Core;
use firesteel::buffer::Buffer;
use firesteel::dtype::DType;
use firesteel::layout::{Dims, Layout};
use firesteel::shared::Shared;
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

/// A Python object that owns memory; released under the GIL.
struct Export(ffi::Py_buffer);

// SAFETY: the buffer view is only released, and that under the GIL.
unsafe impl Send for Export {}
// SAFETY: as above.
unsafe impl Sync for Export {}

impl Drop for Export {
    fn drop(&mut self) {
        // SAFETY: filled by PyObject_GetBuffer and released once. After the interpreter's end nothing is left to release.
        Python::try_attach(|_| unsafe { ffi::PyBuffer_Release(&mut self.0) });
    }
}

fn dtype_of_format(format: &[u8], itemsize: usize) -> Option<DType> {
    let code = match format {
        [c] => *c,
        [b'@' | b'=', c] => *c,
        [b'<', c] if cfg!(target_endian = "little") => *c,
        _ => return None,
    };
    Some(match (code, itemsize) {
        (b'?', 1) => DType::Bool,
        (b'B', 1) => DType::U8,
        (b'b', 1) => DType::I8,
        (b'H', 2) => DType::U16,
        (b'h', 2) => DType::I16,
        (b'I' | b'L', 4) => DType::U32,
        (b'i' | b'l', 4) => DType::I32,
        (b'L' | b'Q', 8) => DType::U64,
        (b'l' | b'q', 8) => DType::I64,
        (b'e', 2) => DType::F16,
        (b'f', 4) => DType::F32,
        (b'd', 8) => DType::F64,
        _ => return None,
    })
}

/// The memory behind an object with the buffer protocol, shared; `None` when it has none.
pub fn from_buffer(obj: &Bound<'_, PyAny>) -> PyResult<Option<Core>> {
    // SAFETY: plain query on a valid object.
    if unsafe { ffi::PyObject_CheckBuffer(obj.as_ptr()) } == 0 || obj.is_instance_of::<PyBytes>() {
        return Ok(None);
    }
    // SAFETY: zeroed is a valid initial state; the call fills it or fails.
    let mut view: ffi::Py_buffer = unsafe { std::mem::zeroed() };
    const FORMAT: i32 = ffi::PyBUF_STRIDES | ffi::PyBUF_FORMAT;
    // SAFETY: as above; a writable view is asked for first.
    let mut rc = unsafe { ffi::PyObject_GetBuffer(obj.as_ptr(), &mut view, FORMAT | ffi::PyBUF_WRITABLE) };
    let mut writable = true;
    if rc != 0 {
        PyErr::take(obj.py());
        writable = false;
        // SAFETY: as above.
        rc = unsafe { ffi::PyObject_GetBuffer(obj.as_ptr(), &mut view, FORMAT) };
    }
    if rc != 0 {
        return Err(PyErr::fetch(obj.py()));
    }
    let export = Export(view);
    let v = &export.0;
    let n = v.ndim as usize;
    let format = if v.format.is_null() {
        b"B".as_slice()
    } else {
        // SAFETY: a NUL-terminated string that lives as long as the view.
        unsafe { std::ffi::CStr::from_ptr(v.format) }.to_bytes()
    };
    let Some(dtype) = dtype_of_format(format, v.itemsize as usize) else {
        return Err(type_error(format!(
            "can't convert an array of type {:?} (item size {}). The only supported types are: float64, float32, float16, int64, \
             int32, int16, int8, uint64, uint32, uint16, uint8, and bool.",
            String::from_utf8_lossy(format),
            v.itemsize
        )));
    };
    let (mut sizes, mut strides) = (Vec::new(), Vec::new());
    for i in 0..n {
        // SAFETY: PyBUF_STRIDES fills `ndim` entries of both.
        let (size, stride) = unsafe { (*v.shape.add(i), *v.strides.add(i)) };
        if stride < 0 && size > 1 {
            return Err(PyValueError::new_err(
                "At least one stride in the given numpy array is negative, and tensors with negative strides are not \
                 currently supported. (You can probably work around this by making a copy of your array with array.copy().)",
            ));
        }
        if stride % v.itemsize != 0 && size > 1 {
            return Err(PyValueError::new_err(
                "given numpy array strides not a multiple of the element byte size. Copy the numpy array to reallocate the memory.",
            ));
        }
        sizes.push(size as usize);
        strides.push((stride / v.itemsize).max(0));
    }
    let shape = Dims::new(&sizes).map_err(to_python)?;
    let layout = Layout::strided(shape, &strides, 0);
    let bytes = layout.end() * dtype.size();
    let ptr = v.buf.cast::<u8>();
    if !(ptr as usize).is_multiple_of(dtype.size()) {
        return Err(PyValueError::new_err(
            "the array's memory is not aligned to its element size",
        ));
    }
    // SAFETY: the exporter keeps `bytes` bytes at `ptr` alive until the view is released with `export`.
    let buffer = unsafe { Buffer::foreign(ptr, bytes, writable, Box::new(export)) };
    Ok(Some(Core::over(buffer, layout, dtype).map_err(to_python)?))
}

/// Keeps a tensor's memory alive for NumPy and tells it where it lies (`__array_interface__`).
#[pyclass(frozen, module = "firesteel._C")]
pub struct Memory {
    core: Core,
}

impl Memory {
    pub fn new(core: Core) -> Memory {
        Memory { core }
    }
}

#[pymethods]
impl Memory {
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let c = &self.core;
        let size = c.dtype.size();
        let kind = match c.dtype {
            DType::Bool => 'b',
            d if d.is_float() => 'f',
            d if d.is_signed() => 'i',
            _ => 'u',
        };
        let order = match (size, cfg!(target_endian = "little")) {
            (1, _) => '|',
            (_, true) => '<',
            _ => '>',
        };
        let d = PyDict::new(py);
        d.set_item("version", 3)?;
        d.set_item("typestr", format!("{order}{kind}{size}"))?;
        d.set_item("shape", PyTuple::new(py, c.shape().iter())?)?;
        d.set_item(
            "strides",
            PyTuple::new(py, c.layout.strides().iter().map(|s| s * size as isize))?,
        )?;
        let address = c.buffer.ptr() as usize + c.layout.offset * size;
        d.set_item("data", (address, !c.buffer.is_writable()))?;
        Ok(d)
    }
}

/// All bytes of a tensor's buffer, for `memoryview`: what files are read into and written from.
#[pyclass(frozen, module = "firesteel._C")]
pub struct Bytes {
    buffer: Shared<Buffer>,
}

impl Bytes {
    /// The buffer must have memory that the CPU can reach.
    pub fn new(buffer: Shared<Buffer>) -> Bytes {
        Bytes { buffer }
    }
}

#[pymethods]
impl Bytes {
    /// # Safety
    /// Called by the interpreter with a view to fill.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: std::ffi::c_int) -> PyResult<()> {
        let b = &slf.get().buffer;
        let read_only = (!b.is_writable()).into();
        // SAFETY: the buffer has `bytes` bytes at `ptr` and lives as long as `slf`, which the view holds.
        let rc = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                b.ptr().cast(),
                b.bytes() as ffi::Py_ssize_t,
                read_only,
                flags,
            )
        };
        if rc == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}
