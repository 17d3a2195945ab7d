//! A tensor's place in autograd's graph: wanting a gradient, holding one, leaving the graph, taking another's place.

use super::records::ADD;
use super::{Tensor, ViewOf};
use crate::call::{self, operator, operator_inplace};
use crate::error::{runtime, to_python, type_error};
use crate::graph;
use crate::mode::mode;
use crate::node::Edge;
use crate::record;
use firesteel::dispatch;
use firesteel::dtype::legacy_name;
use pyo3::prelude::*;

impl Tensor {
    /// Sets `requires_grad` of a leaf.
    pub fn want_grad(slf: &Bound<'_, Self>, on: bool) -> PyResult<()> {
        let py = slf.py();
        if on {
            record::can_require_grad(slf.get().with(py, |s| s.core.dtype))?;
            if slf.get().with(py, |s| s.is_inference) && !mode().inference {
                return Err(runtime(
                    "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.",
                ));
            }
        }
        record::refresh(slf)?;
        if slf.get().with(py, |s| !s.edge.is_none()) {
            if on {
                return Ok(());
            }
            return Err(runtime(
                "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a \
                 subgraph that doesn't require differentiation use var_no_grad = var.detach().",
            ));
        }
        slf.get().state_mut(py, |s| {
            if s.requires_grad != on {
                s.generation += 1;
            }
            s.requires_grad = on;
        });
        Ok(())
    }
}

pub fn grad(slf: &Bound<'_, Tensor>) -> PyResult<Option<Py<Tensor>>> {
    let py = slf.py();
    if mode().recording {
        graph::active::note_leaf(slf)?;
    }
    Ok(slf.get().with(py, |s| s.grad.as_ref().map(|g| g.clone_ref(py))))
}

pub fn set_grad(slf: &Bound<'_, Tensor>, value: Option<Bound<'_, PyAny>>) -> PyResult<()> {
    let py = slf.py();
    if mode().recording {
        graph::active::note_leaf(slf)?;
    }
    let new = match value {
        None => None,
        Some(v) => {
            let t = v.cast::<Tensor>().map_err(|_| {
                type_error(format!(
                    "assigned grad expected to be a Tensor or None but got grad of type {}",
                    v.get_type().name().map(|n| n.to_string()).unwrap_or_default()
                ))
            })?;
            if t.is(slf) {
                return Err(runtime("can't assign Variable as its own grad"));
            }
            let (own, other) = (slf.get().core(py), t.get().core(py));
            if own.dtype != other.dtype {
                return Err(runtime(format!(
                    "attempting to assign a gradient with dtype '{}' to a tensor with grad_dtype '{}'.",
                    legacy_name(other.dtype),
                    legacy_name(own.dtype)
                )));
            }
            if own.shape() != other.shape() {
                return Err(runtime(format!(
                    "assigned grad has data of a different size: {} for a tensor of shape {}",
                    other.shape(),
                    own.shape()
                )));
            }
            Some(t.clone().unbind())
        }
    };
    let old = slf.get().state_mut(py, |s| std::mem::replace(&mut s.grad, new));
    drop(old);
    Ok(())
}

/// See [`Tensor::_accumulate`].
pub fn accumulate(slf: &Bound<'_, Tensor>, g: &Bound<'_, Tensor>, create_graph: bool, holders: isize) -> PyResult<()> {
    let py = slf.py();
    let old = grad(slf)?;
    let own = slf.get().core(py);
    g.get().with(py, |s| match s.core.shape() == own.shape() {
        true => Ok(()),
        false => Err(runtime(format!(
            "a gradient of shape {} for a tensor of shape {}",
            s.core.shape(),
            own.shape()
        ))),
    })?;
    let new = match old {
        None if create_graph => g.clone(),
        None => {
            let core = g.get().core(py);
            // `core` and the gradient tensor hold it: nobody else.
            let alone = core.holders() == Some(2)
                && core.layout.is_contiguous()
                && call::references(g.as_any()) <= holders
                && core.buffer.is_writable()
                && core.buffer.bytes() == core.numel() * core.dtype.size();
            let core = if alone && own.layout.is_contiguous() {
                core
            } else {
                let layout = firesteel::Layout::dense_like(*own.shape(), &own.layout);
                dispatch::copy_as(&core, layout).map_err(to_python)?
            };
            Bound::new(py, Tensor::new(core))?
        }
        Some(old) => {
            let old = old.bind(py);
            if create_graph {
                let sum = operator(&ADD, old, g.as_any(), false)?;
                sum.bind(py).cast::<Tensor>()?.clone()
            } else {
                return operator_inplace(&ADD, old, g.as_any());
            }
        }
    };
    let new = new.unbind();
    let old = slf.get().state_mut(py, |s| s.grad.replace(new));
    drop(old);
    Ok(())
}

pub fn set_data(slf: &Bound<'_, Tensor>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = slf.py();
    let t = value.cast::<Tensor>().map_err(|_| {
        type_error(format!(
            "Variable data has to be a tensor, but got {}",
            value.get_type()
        ))
    })?;
    let core = t.get().core(py);
    if slf.get().requires_grad_now(py) {
        record::can_require_grad(core.dtype)?;
    }
    if mode().recording {
        return Err(graph::active::refusal(py, "`x.data = …`"));
    }
    slf.get().set_core(py, core);
    Ok(())
}

pub fn detach_<'py>(slf: &Bound<'py, Tensor>) -> PyResult<Bound<'py, Tensor>> {
    let py = slf.py();
    if slf.get().with(py, |s| s.view.is_some()) {
        return Err(runtime("Can't detach views in-place. Use detach() instead."));
    }
    let old = slf.get().state_mut(py, |s| {
        s.requires_grad = false;
        s.generation += 1;
        std::mem::replace(&mut s.edge, Edge::None)
    });
    drop(old);
    Ok(slf.clone())
}

/// See [`Tensor::_become`].
pub fn take_place<'py>(slf: &Bound<'py, Tensor>, other: &Bound<'py, Tensor>) -> PyResult<Bound<'py, Tensor>> {
    let py = slf.py();
    let core = other.get().core(py);
    let edge = record::edge_of(other)?;
    let (view, generation) = other.get().with(py, |s| {
        let view = s.view.as_ref().map(|v| ViewOf {
            base: v.base.clone_ref(py),
            chain: v.chain.clone(),
            generation: v.generation,
            forbidden: v.forbidden,
        });
        (view, s.generation)
    });
    if slf.get().with(py, |s| s.requires_grad && s.edge.is_none()) && mode().grad {
        return Err(runtime(
            "a leaf Variable that requires grad is being used in an in-place operation.",
        ));
    }
    let edge = if matches!(&edge, Edge::Leaf(t) if t.is(other)) {
        Edge::None
    } else {
        edge
    };
    // A view of itself would be a cycle: the tensor stands on its own from here on.
    let view = view.filter(|v| !v.base.is(slf));
    let old = slf.get().state_mut(py, |s| {
        s.generation = s.generation.wrapping_add(generation) + 1;
        (
            std::mem::replace(&mut s.edge, edge),
            std::mem::replace(&mut s.view, view.map(Box::new)),
        )
    });
    drop(old);
    slf.get().set_core(py, core);
    Ok(slf.clone())
}
