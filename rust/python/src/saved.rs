//! What a node hands to its derivative: saved tensors, compared with what they were, and the op's other arguments.

use crate::call;
use crate::convert::argument_object;
use crate::error::runtime;
use crate::node::{Edge, Node};
use crate::tensor::Tensor;
use firesteel::Arg;
use firesteel::dtype::legacy_name;
use firesteel::ops::{self, Op, Ty};
use pyo3::prelude::*;
use pyo3::types::PyList;
use smallvec::SmallVec;

/// The saved value at `index` of inputs or outputs, checked against its version.
pub fn unpack<'py>(slf: &Bound<'py, Node>, index: usize, is_output: bool) -> PyResult<Option<Bound<'py, Tensor>>> {
    let py = slf.py();
    let this = slf.get();
    let found = this.state(py, |s| {
        s.saved
            .iter()
            .find(|v| v.index as usize == index && v.is_output == is_output)
            .map(|v| (v.core.clone(), v.version, v.edge.clone_ref(py)))
    });
    let Some((core, version, edge)) = found else {
        if this.state(py, |s| s.released) {
            return Err(runtime(
                "Trying to backward through the graph a second time (or directly access saved tensors after they have \
                 already been freed). Saved intermediate values of the graph are freed when you call .backward() or \
                 autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time or \
                 if you need to access saved tensors after calling backward.",
            ));
        }
        return Ok(None);
    };
    let now = core.version().get();
    if now != version {
        let writer = core
            .version()
            .last_op()
            .and_then(|i| ops::table().get(i as usize))
            .map_or("an in-place op", |o| {
                if o.inplace_name.is_empty() {
                    o.name
                } else {
                    o.inplace_name
                }
            });
        let what = if is_output {
            format!("output {index} of {}", this.title(py))
        } else {
            match &edge {
                Edge::Node(n, i) => format!("output {i} of {}", n.get().title(py)),
                _ => format!("an input of {}", this.title(py)),
            }
        };
        return Err(runtime(format!(
            "one of the variables needed for gradient computation has been modified by an inplace operation: \
             [torch.{}Tensor {}], which is {what}, is at version {now}; expected version {version} instead. It was last \
             overwritten by {writer}. Hint: enable anomaly detection to find the operation that failed to compute its \
             gradient, with torch.autograd.set_detect_anomaly(True).",
            legacy_name(core.dtype),
            core.shape()
        )));
    }
    let edge = if is_output {
        Edge::Node(slf.clone().unbind(), index as u32)
    } else {
        edge
    };
    let diff = core.dtype.is_float();
    let tensor = Bound::new(py, Tensor::new(core))?;
    if diff && !edge.is_none() {
        let old = tensor.get().state_mut(py, |s| std::mem::replace(&mut s.edge, edge));
        drop(old);
    }
    Ok(Some(tensor))
}

/// A parameter's value: a number and the like, or the saved tensor(s).
pub fn parameter<'py>(slf: &Bound<'py, Node>, op: &'static Op, position: usize) -> PyResult<Bound<'py, PyAny>> {
    let py = slf.py();
    let this = slf.get();
    match op.params[position].ty {
        Ty::Tensor | Ty::Operand | Ty::Tensors | Ty::OptTensors => {
            let at: SmallVec<[usize; 4]> = this.state(py, |s| {
                s.inputs
                    .iter()
                    .enumerate()
                    .filter(|(_, i)| i.param as usize == position)
                    .map(|(k, _)| k)
                    .collect()
            });
            if matches!(op.params[position].ty, Ty::Tensors | Ty::OptTensors) {
                // Lists with gaps left a mask of what was given.
                let given = this.state(py, |s| match &s.args.items[position] {
                    Arg::Ints(mask) => mask.clone(),
                    _ => at.iter().map(|_| 1).collect(),
                });
                let list = PyList::empty(py);
                let mut at = at.into_iter();
                for present in given {
                    match if present == 1 { at.next() } else { None } {
                        Some(k) => list.append(unpack(slf, k, false)?)?,
                        None => list.append(py.None())?,
                    }
                }
                return Ok(list.into_any());
            }
            if let [k] = at[..] {
                return match unpack(slf, k, false)? {
                    Some(t) => Ok(t.into_any()),
                    None => Err(runtime(format!(
                        "{} did not save '{}'",
                        this.title(py),
                        op.params[position].name
                    ))),
                };
            }
        }
        _ => {}
    }
    let arg = this.state(py, |s| s.args.items.get(position).cloned());
    let arg = arg.unwrap_or_else(|| call::default_argument(&op.params[position]));
    Ok(argument_object(py, &arg)?.into_bound(py))
}
