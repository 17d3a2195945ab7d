//! Nested containers of tensors and other values: what a compiled function is given and what it returns.

use crate::error::RecordingError;
use crate::tensor::Tensor;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyFloat, PyList, PyTuple};

/// The form of a container, its tensors numbered in the order met.
pub enum Tree {
    Tensor(usize),
    /// Anything else.
    Value(Py<PyAny>),
    List(Vec<Tree>),
    /// With the class, for named tuples.
    Tuple(Py<PyAny>, Vec<Tree>),
    Dict(Vec<(Py<PyAny>, Tree)>),
}

/// Takes a container apart; tensors are added to `tensors`.
pub fn flatten<'py>(object: &Bound<'py, PyAny>, tensors: &mut Vec<Bound<'py, Tensor>>) -> PyResult<Tree> {
    if let Ok(t) = object.cast::<Tensor>() {
        tensors.push(t.clone());
        return Ok(Tree::Tensor(tensors.len() - 1));
    }
    if let Ok(list) = object.cast_exact::<PyList>() {
        let parts = list.iter().map(|o| flatten(&o, tensors)).collect::<PyResult<_>>()?;
        return Ok(Tree::List(parts));
    }
    if let Ok(tuple) = object.cast::<PyTuple>() {
        let parts = tuple.iter().map(|o| flatten(&o, tensors)).collect::<PyResult<_>>()?;
        return Ok(Tree::Tuple(object.get_type().into_any().unbind(), parts));
    }
    if let Ok(dict) = object.cast_exact::<PyDict>() {
        let parts = dict
            .iter()
            .map(|(k, v)| Ok((k.unbind(), flatten(&v, tensors)?)))
            .collect::<PyResult<_>>()?;
        return Ok(Tree::Dict(parts));
    }
    if object.hash().is_err() {
        // Such a value may change without being another one.
        return Err(RecordingError::new_err(format!(
            "a compiled function takes and returns tensors, hashable values, and lists, tuples and dicts of them, not {}",
            object.get_type()
        )));
    }
    Ok(Tree::Value(object.clone().unbind()))
}

/// Whether a container has this form, with equal values of equal types; its tensors are added to `tensors`.
pub fn matches<'py>(tree: &Tree, object: &Bound<'py, PyAny>, tensors: &mut Vec<Bound<'py, Tensor>>) -> PyResult<bool> {
    let py = object.py();
    match tree {
        Tree::Tensor(_) => {
            let Ok(t) = object.cast::<Tensor>() else {
                return Ok(false);
            };
            tensors.push(t.clone());
            Ok(true)
        }
        Tree::Value(v) => same_value(v.bind(py), object),
        Tree::List(parts) => match object.cast_exact::<PyList>() {
            Ok(list) => all(parts.iter(), list.len(), list.iter(), tensors),
            Err(_) => Ok(false),
        },
        Tree::Tuple(class, parts) => match object.cast::<PyTuple>() {
            Ok(tuple) if object.get_type().is(class) => all(parts.iter(), tuple.len(), tuple.iter(), tensors),
            _ => Ok(false),
        },
        Tree::Dict(parts) => {
            let Ok(dict) = object.cast_exact::<PyDict>() else {
                return Ok(false);
            };
            if dict.len() != parts.len() {
                return Ok(false);
            }
            for (k, part) in parts {
                match dict.get_item(k)? {
                    Some(v) if matches(part, &v, tensors)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
    }
}

fn all<'a, 'py>(
    parts: impl Iterator<Item = &'a Tree>,
    len: usize,
    items: impl Iterator<Item = Bound<'py, PyAny>>,
    tensors: &mut Vec<Bound<'py, Tensor>>,
) -> PyResult<bool> {
    let mut n = 0;
    for (part, item) in parts.zip(items) {
        if !matches(part, &item, tensors)? {
            return Ok(false);
        }
        n += 1;
    }
    Ok(n == len)
}

/// Equal and of one type. Values that cannot be compared are the same object or not.
pub fn same_value(a: &Bound<'_, PyAny>, b: &Bound<'_, PyAny>) -> PyResult<bool> {
    if a.is(b) {
        return Ok(true);
    }
    if !a.get_type().is(b.get_type()) {
        return Ok(false);
    }
    if let (Ok(a), Ok(b)) = (a.cast_exact::<PyFloat>(), b.cast_exact::<PyFloat>()) {
        // Zero has two signs.
        return Ok(a.value().to_bits() == b.value().to_bits());
    }
    match a.eq(b) {
        Ok(equal) => Ok(equal),
        Err(_) => Ok(false),
    }
}

/// A container of this form around other tensors.
pub fn build<'py>(py: Python<'py>, tree: &Tree, tensors: &[Bound<'py, Tensor>]) -> PyResult<Bound<'py, PyAny>> {
    Ok(match tree {
        Tree::Tensor(i) => tensors[*i].clone().into_any(),
        Tree::Value(v) => v.bind(py).clone(),
        Tree::List(parts) => {
            let items = parts
                .iter()
                .map(|p| build(py, p, tensors))
                .collect::<PyResult<Vec<_>>>()?;
            PyList::new(py, items)?.into_any()
        }
        Tree::Tuple(class, parts) => {
            let items = parts
                .iter()
                .map(|p| build(py, p, tensors))
                .collect::<PyResult<Vec<_>>>()?;
            let plain = PyTuple::new(py, items)?;
            let class = class.bind(py);
            if class.is(plain.get_type()) {
                plain.into_any()
            } else if class.hasattr("_make")? {
                class.call_method1("_make", (plain,))?
            } else {
                class.call1((plain,))?
            }
        }
        Tree::Dict(parts) => {
            let dict = PyDict::new(py);
            for (k, part) in parts {
                dict.set_item(k, build(py, part, tensors)?)?;
            }
            dict.into_any()
        }
    })
}

impl Tree {
    /// Shows the garbage collector the Python objects inside.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Tree::Tensor(_) => Ok(()),
            Tree::Value(v) => visit.call(v),
            Tree::List(parts) => parts.iter().try_for_each(|p| p.visit(visit)),
            Tree::Tuple(class, parts) => {
                visit.call(class)?;
                parts.iter().try_for_each(|p| p.visit(visit))
            }
            Tree::Dict(parts) => parts.iter().try_for_each(|(k, p)| {
                visit.call(k)?;
                p.visit(visit)
            }),
        }
    }
}
