//! Each kind of error becomes one Python exception class, here and nowhere else.

use firesteel::error::{Error, ErrorKind};
use pyo3::create_exception;
use pyo3::exceptions::{PyIndexError, PyNotImplementedError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

create_exception!(
    firesteel,
    OutOfMemoryError,
    PyRuntimeError,
    "Memory that cannot be had."
);
create_exception!(
    firesteel,
    LinAlgError,
    PyRuntimeError,
    "A matrix for which the operation has no answer."
);

create_exception!(
    firesteel,
    RecordingError,
    PyRuntimeError,
    "What a compiled function must not do."
);

/// The Python exception for an error of the core.
#[cold]
pub fn to_python(e: Error) -> PyErr {
    match e.kind {
        ErrorKind::Runtime => PyRuntimeError::new_err(e.message),
        ErrorKind::Index => PyIndexError::new_err(e.message),
        ErrorKind::Value => PyValueError::new_err(e.message),
        ErrorKind::Type => PyTypeError::new_err(e.message),
        ErrorKind::NotImplemented => PyNotImplementedError::new_err(e.message),
        ErrorKind::OutOfMemory => OutOfMemoryError::new_err(e.message),
        ErrorKind::Linalg => LinAlgError::new_err(e.message),
        ErrorKind::Recording => RecordingError::new_err(e.message),
    }
}

#[cold]
pub fn runtime(message: impl Into<String>) -> PyErr {
    PyRuntimeError::new_err(message.into())
}

#[cold]
pub fn type_error(message: impl Into<String>) -> PyErr {
    PyTypeError::new_err(message.into())
}

/// Runs an entry point; a panic becomes `RuntimeError("internal error in <op>")`, never an abort.
#[inline(always)]
pub fn guarded<R>(what: &str, f: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(r) => r,
        Err(p) => Err(internal(what, p)),
    }
}

#[cold]
fn internal(what: &str, panic: Box<dyn Any + Send>) -> PyErr {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    runtime(format!("internal error in {what}: {text}; please report it"))
}
