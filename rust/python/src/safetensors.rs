//! The header of a safetensors file, read, checked and written by the `safetensors` crate.
//!
//! The bytes of the tensors are Python's concern (`firesteel/safetensors.py`): it maps or copies them.

use crate::error::guarded;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use std::collections::BTreeMap;

/// Name, dtype as the format writes it, shape, begin and end in the data.
type Entry = (String, String, Vec<usize>, usize, usize);

fn refused(e: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(e.to_string())
}

fn dtype_named(name: &str) -> PyResult<Dtype> {
    serde_json::from_value(serde_json::Value::from(name)).map_err(refused)
}

/// Reads a header: (entries by their place in the data, metadata or None, bytes of data that it promises).
#[pyfunction]
pub fn _safetensors_parse(
    py: Python<'_>,
    header: &[u8],
) -> PyResult<(Vec<Entry>, Option<BTreeMap<String, String>>, usize)> {
    guarded("safetensors", || {
        py.detach(|| {
            // The crate checks here that the parts follow each other without gaps and have the size of their shapes.
            let all: Metadata = serde_json::from_slice(header).map_err(refused)?;
            let mut entries = Vec::new();
            for name in all.offset_keys() {
                if let Some(t) = all.info(&name) {
                    let (begin, end) = t.data_offsets;
                    entries.push((name, t.dtype.to_string(), t.shape.clone(), begin, end));
                }
            }
            let words = all.metadata().as_ref();
            let words = words.map(|m| m.iter().map(|(k, v)| (k.clone(), v.clone())).collect());
            Ok((entries, words, all.data_len()))
        })
    })
}

/// Writes a header for tensors given as (name, dtype, shape): (its bytes, the tensors' numbers in the data's order).
///
/// Tensors are ordered as the crate's own `serialize` does, the widest dtype first, then by name; metadata by name, so
/// that the same tensors give the same bytes.
#[pyfunction]
pub fn _safetensors_header(
    tensors: Vec<(String, String, Vec<usize>)>,
    metadata: Option<BTreeMap<String, String>>,
) -> PyResult<(Vec<u8>, Vec<usize>)> {
    guarded("safetensors", || {
        let mut all = Vec::with_capacity(tensors.len());
        for (i, (name, dtype, shape)) in tensors.into_iter().enumerate() {
            all.push((dtype_named(&dtype)?, name, shape, i));
        }
        all.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let (mut infos, mut order, mut at) = (Vec::new(), Vec::new(), 0);
        for (dtype, name, shape, i) in all {
            let bits = shape.iter().try_fold(dtype.bitsize(), |a, &n| a.checked_mul(n));
            let end = bits.and_then(|b| (b / 8).checked_add(at));
            let end = end.ok_or_else(|| refused(format!("the size of '{name}' overflows")))?;
            infos.push((
                name,
                TensorInfo {
                    dtype,
                    shape,
                    data_offsets: (at, end),
                },
            ));
            order.push(i);
            at = end;
        }
        let body = serde_json::to_string(&Metadata::new(None, infos).map_err(refused)?).map_err(refused)?;
        let mut text = match metadata {
            None => body,
            Some(words) => {
                let words = serde_json::to_string(&words).map_err(refused)?;
                let comma = if order.is_empty() { "" } else { "," };
                format!("{{\"__metadata__\":{words}{comma}{}", &body[1..])
            }
        };
        // The data starts at a multiple of 8 bytes.
        while !text.len().is_multiple_of(8) {
            text.push(' ');
        }
        Ok((text.into_bytes(), order))
    })
}
