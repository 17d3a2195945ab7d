//! What dispatch must know of the program's state: one small value per thread.

use pyo3::prelude::*;
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

#[derive(Clone, Copy)]
pub struct Mode {
    pub grad: bool,
    pub inference: bool,
    pub anomaly: bool,
    /// A compiled function is being recorded.
    pub recording: bool,
    /// Number of that recording; 0: none.
    pub epoch: u32,
}

thread_local! {
    static MODE: Cell<Mode> = const { Cell::new(Mode { grad: true, inference: false, anomaly: false, recording: false, epoch: 0 }) };
}

#[inline(always)]
pub fn mode() -> Mode {
    MODE.with(Cell::get)
}

#[pyfunction]
pub fn is_grad_enabled() -> bool {
    mode().grad
}

/// Switches gradient recording; returns what it was.
#[pyfunction]
pub fn _set_grad(on: bool) -> bool {
    MODE.with(|m| m.replace(Mode { grad: on, ..m.get() }).grad)
}

#[pyfunction]
pub fn is_inference_mode_enabled() -> bool {
    mode().inference
}

#[pyfunction]
pub fn _set_inference(on: bool) -> bool {
    MODE.with(|m| {
        m.replace(Mode {
            inference: on,
            ..m.get()
        })
        .inference
    })
}

#[pyfunction]
pub fn is_anomaly_enabled() -> bool {
    mode().anomaly
}

#[pyfunction]
pub fn _set_anomaly(on: bool) -> bool {
    MODE.with(|m| m.replace(Mode { anomaly: on, ..m.get() }).anomaly)
}

#[pyfunction]
pub fn _is_recording() -> bool {
    mode().recording
}

pub fn set_recording(on: bool) {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let epoch = if on {
        LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    } else {
        0
    };
    MODE.with(|m| {
        m.set(Mode {
            recording: on,
            epoch,
            ..m.get()
        });
    });
}

/// The program's stack, in anomaly mode.
pub fn trace(py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
    if !mode().anomaly {
        return Ok(None);
    }
    Ok(Some(
        py.import("firesteel.autograd.anomaly")?
            .call_method0("forward_trace")?
            .unbind(),
    ))
}
