//! What a tensor is: shape, strides, place in memory.

use super::{Tensor, size_object};
use crate::error::to_python;
use firesteel::layout::wrap_dim;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// The shape as `firesteel.Size`, made once.
pub fn shape<'py>(slf: &Bound<'py, Tensor>) -> PyResult<Py<PyAny>> {
    let py = slf.py();
    let (cached, shape) = slf
        .get()
        .with(py, |s| (s.size.as_ref().map(|z| z.clone_ref(py)), s.core.layout.shape));
    if let Some(s) = cached {
        return Ok(s);
    }
    let made = size_object(py, &shape)?.unbind();
    let keep = made.clone_ref(py);
    let old = slf.get().state_mut(py, |s| s.size.replace(keep));
    drop(old);
    Ok(made)
}

pub fn size(slf: &Bound<'_, Tensor>, dim: Option<i64>) -> PyResult<Py<PyAny>> {
    let py = slf.py();
    match dim {
        None => shape(slf),
        Some(d) => {
            let shape = slf.get().with(py, |s| s.core.layout.shape);
            if shape.is_empty() {
                return Err(PyIndexError::new_err(
                    "dimension specified as 0 but tensor has no dimensions",
                ));
            }
            Ok(shape[wrap_dim(d, shape.len()).map_err(to_python)?]
                .into_pyobject(py)?
                .into_any()
                .unbind())
        }
    }
}

pub fn stride(slf: &Bound<'_, Tensor>, dim: Option<i64>) -> PyResult<Py<PyAny>> {
    let py = slf.py();
    let layout = slf.get().with(py, |s| s.core.layout);
    match dim {
        None => Ok(PyTuple::new(py, layout.strides())?.into_any().unbind()),
        Some(d) => {
            let d = wrap_dim(d, layout.rank()).map_err(to_python)?;
            let stride = layout.strides().get(d).copied().unwrap_or(1);
            Ok(stride.into_pyobject(py)?.into_any().unbind())
        }
    }
}

/// See [`Tensor::data_ptr`].
pub fn data_ptr(slf: &Bound<'_, Tensor>) -> usize {
    slf.get().with(slf.py(), |s| match s.core.numel() {
        0 => 0,
        _ => s.core.buffer.ptr() as usize + s.core.layout.offset * s.core.dtype.size(),
    })
}

pub fn is_contiguous(slf: &Bound<'_, Tensor>, memory_format: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
    let py = slf.py();
    let l = slf.get().with(py, |s| s.core.layout);
    if let Some(f) = memory_format
        && f.str()?.to_cow()?.contains("channels_last")
    {
        let order: &[usize] = match l.rank() {
            4 => &[0, 2, 3, 1],
            5 => &[0, 2, 3, 4, 1],
            _ => return Ok(false),
        };
        return Ok(l.permute(order).is_contiguous());
    }
    Ok(l.is_contiguous())
}
