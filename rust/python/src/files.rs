//! Memory for files: mapped ones, parts of them, and the bytes under a tensor.

use crate::error::{runtime, to_python};
use crate::foreign::Bytes;
use crate::tensor::Tensor;
use firesteel::Core;
use firesteel::buffer::Buffer;
use firesteel::device::Device;
use firesteel::dtype::DType;
use firesteel::layout::{Dims, Layout};
use firesteel::shared::Shared;
use pyo3::prelude::*;
use std::fs::File;
use std::path::PathBuf;

fn bytes_of(buffer: Shared<Buffer>) -> PyResult<Tensor> {
    let shape = Dims::new(&[buffer.bytes()]).map_err(to_python)?;
    let core = Core::over(buffer, Layout::contiguous(shape), DType::U8).map_err(to_python)?;
    Ok(Tensor::new(core))
}

/// A file as a tensor of bytes, mapped: read when touched, and written to by nobody.
#[pyfunction]
pub fn _map_file(py: Python<'_>, path: PathBuf) -> PyResult<Tensor> {
    let buffer = py.detach(|| Buffer::mapped(&File::open(path)?))?;
    bytes_of(buffer)
}

/// A part of a tensor's memory as a tensor of bytes with a storage of its own.
#[pyfunction]
pub fn _part(whole: &Bound<'_, Tensor>, offset: usize, bytes: usize) -> PyResult<Tensor> {
    let core = whole.get().core(whole.py());
    match Buffer::part(&core.buffer, offset, bytes) {
        Some(part) => bytes_of(part),
        None => Err(runtime(format!(
            "{bytes} bytes from {offset} reach outside a storage of {} bytes",
            core.buffer.bytes()
        ))),
    }
}

/// The memory under a tensor, for `memoryview`.
#[pyfunction]
pub fn _bytes(t: &Bound<'_, Tensor>) -> PyResult<Bytes> {
    let core = t.get().core(t.py());
    if core.device() != Device::Cpu {
        return Err(runtime(format!(
            "a tensor on {} has no bytes to read here: .cpu() it first",
            core.device().name()
        )));
    }
    Ok(Bytes::new(core.buffer.clone()))
}
