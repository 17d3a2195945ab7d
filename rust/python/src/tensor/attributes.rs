//! The program's own attributes of a tensor: a dict, made when the first is set.

use super::Tensor;
use crate::call;
use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};

/// The program's own attributes, if there are any.
pub fn existing(slf: &Bound<'_, Tensor>) -> Option<Py<PyDict>> {
    let py = slf.py();
    slf.get().with(py, |s| s.attributes.as_ref().map(|d| d.clone_ref(py)))
}

/// The dict, made if need be.
pub fn dict(slf: &Bound<'_, Tensor>) -> PyResult<Py<PyDict>> {
    let py = slf.py();
    if let Some(own) = existing(slf) {
        return Ok(own);
    }
    // The class looks for own attributes from now on: programs that set none do not pay for the search.
    static SEARCH: PyOnceLock<()> = PyOnceLock::new();
    SEARCH.get_or_try_init(py, || {
        let search = py.import("firesteel.tensor")?.getattr("_own_attribute")?;
        py.get_type::<Tensor>().setattr("__getattr__", search)
    })?;
    let fresh = PyDict::new(py).unbind();
    let keep = fresh.clone_ref(py);
    slf.get().state_mut(py, |s| s.attributes = Some(keep));
    Ok(fresh)
}

pub fn set(slf: &Bound<'_, Tensor>, name: &Bound<'_, PyString>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    match call::generic_setattr(slf.as_any(), name, Some(value)) {
        Err(e) if is_free(slf, name, &e) => dict(slf)?.bind(slf.py()).set_item(name, value),
        other => other,
    }
}

pub fn delete(slf: &Bound<'_, Tensor>, name: &Bound<'_, PyString>) -> PyResult<()> {
    match call::generic_setattr(slf.as_any(), name, None) {
        Err(e) if is_free(slf, name, &e) => {
            let own = dict(slf)?;
            own.bind(slf.py()).del_item(name).map_err(|_| e)
        }
        other => other,
    }
}

/// Whether setting an attribute failed because the class says nothing about it.
fn is_free(slf: &Bound<'_, Tensor>, name: &Bound<'_, PyString>, e: &PyErr) -> bool {
    let py = slf.py();
    e.is_instance_of::<PyAttributeError>(py)
        && !slf
            .get_type()
            .getattr(name)
            .is_ok_and(|d| d.hasattr("__set__").unwrap_or(true))
}
