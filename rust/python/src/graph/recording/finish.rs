//! The end of a recording: what the call leaves behind, and whether a later run can do the same.

use super::{After, Leaf, NewState, NewValue, Output, Recording, Slot, hooks_of};
use crate::error::{RecordingError, to_python};
use crate::graph::active::{self, Active, Bind};
use crate::graph::guards::Module;
use crate::graph::tree;
use crate::mode::mode;
use crate::tensor::Tensor;
use firesteel::dtype::DType;
use firesteel::graph::{Action, Graph, Source, record};
use firesteel::ops::infer::default_dtype;
use firesteel::{Device, Layout, buffer};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::collections::{HashMap, HashSet};

fn new_error(text: impl Into<String>) -> PyErr {
    RecordingError::new_err(text.into())
}

/// Ends the recording under way; `result` is what the function returned. `first`: the first call of a kind, of which only
/// the state it depends on is wanted; what it leaves behind (caches filled at a first call) is its own business.
#[pyfunction]
pub fn _graph_end<'py>(py: Python<'py>, result: &Bound<'py, PyAny>, first: bool) -> PyResult<Recording> {
    let made = finish(py, result, first);
    if made.is_err() {
        active::_graph_abort();
    }
    made
}

/// Values that outlive a run, each once.
#[derive(Default)]
struct Results {
    ids: Vec<u32>,
    place: HashMap<u32, usize>,
    /// Numbers of their buffers.
    kept: HashSet<u64>,
}

impl Results {
    fn add(&mut self, t: &Bound<'_, Tensor>) -> PyResult<usize> {
        active::note_tensor(t)?;
        let core = t.get().core(t.py());
        self.kept.insert(core.buffer.serial());
        let id = record::value_of(&core).map_err(to_python)?;
        let next = self.ids.len();
        let place = *self.place.entry(id).or_insert(next);
        if place == next {
            self.ids.push(id);
        }
        Ok(place)
    }
}

fn finish<'py>(py: Python<'py>, result: &Bound<'py, PyAny>, first: bool) -> PyResult<Recording> {
    let mut results = Results::default();
    let mut tensors = Vec::new();
    let returns = tree::flatten(result, &mut tensors)?;
    for t in &tensors {
        let slot = active::slot_of(t)?;
        if !first && slot.is_none() && t.get().requires_grad_now(py) {
            return Err(new_error(
                "the compiled function returns a tensor that requires grad, and what it was made from is not recorded as a \
                 graph for autograd: compile the whole step (forward, backward, optimizer), or return it detached",
            ));
        }
    }
    let outputs = tensors
        .iter()
        .map(|t| match active::slot_of(t)? {
            Some(s) => Ok(Output::Slot(s)),
            None => Ok(Output::Result(results.add(t)?)),
        })
        .collect::<PyResult<Vec<_>>>()?;
    drop(tensors);
    let leaves = gradients(py, &mut results)?;
    let fresh = new_states(py, &mut results)?;
    let Some(Active {
        form,
        slots,
        mut modules,
        groups,
        absent,
        block,
        ..
    }) = active::take()
    else {
        return Err(new_error("nothing is being recorded on this thread"));
    };
    let mut recorded = record::end().ok_or_else(|| new_error("nothing is being recorded on this thread"))?;
    recorded.graph.results = std::mem::take(&mut results.ids);
    let slots = settled(py, slots, &recorded.graph)?;
    if !first {
        check_escapes(py, &recorded, &results.kept)?;
    }
    for m in &mut modules {
        if !m.holds(py)? {
            if first {
                *m = Module::new(m.object.clone_ref(py).bind(py))?;
                continue;
            }
            return Err(new_error(format!(
                "the compiled function changes a module that it calls ({}): its mode, attributes, parameters, buffers, parts or \
                 hooks; do so outside",
                m.object.bind(py).get_type().name()?
            )));
        }
    }
    firesteel::graph::fuse(&mut recorded.graph);
    recorded.graph.find_last_uses();
    let work = recorded.graph.values.iter().map(|v| v.layout.numel()).sum();
    Ok(Recording {
        form,
        slots,
        leaves,
        modules,
        groups,
        absent,
        fresh,
        grad_mode: mode().grad,
        inference: mode().inference,
        default: default_dtype(),
        graph: recorded.graph,
        returns,
        outputs,
        work,
        block,
    })
}

/// What became of the gradients of the leaves.
fn gradients(py: Python<'_>, results: &mut Results) -> PyResult<Vec<Leaf>> {
    let pairs: Vec<(usize, Py<Tensor>, Option<Py<Tensor>>)> = active::leaves(py)?;
    let mut leaves = Vec::new();
    for (slot, tensor, before) in pairs {
        let now = tensor.get().with(py, |s| s.grad.as_ref().map(|g| g.clone_ref(py)));
        let after = match (&before, now) {
            (None, None) => After::Same,
            (Some(_), None) => After::Cleared,
            (Some(b), Some(n)) if b.is(&n) => After::Same,
            (_, Some(n)) => After::Set(results.add(n.bind(py))?),
        };
        leaves.push(Leaf {
            slot,
            had_grad: before.is_some(),
            after,
        });
    }
    Ok(leaves)
}

/// State that optimizers made for parameters that had none.
fn new_states(py: Python<'_>, results: &mut Results) -> PyResult<Vec<NewState>> {
    let mut fresh = Vec::new();
    for (group, optimizer, param) in active::absent(py)? {
        let states = optimizer.bind(py).getattr("state")?.cast_into::<PyDict>()?;
        let Some(entry) = states.get_item(&param)? else {
            continue;
        };
        for (name, value) in entry.cast::<PyDict>()?.iter() {
            let value = match value.cast::<Tensor>() {
                Ok(t) => NewValue::Result(results.add(t)?),
                Err(_) => NewValue::Other(value.unbind()),
            };
            fresh.push(NewState {
                group,
                param: param.clone_ref(py),
                name: name.unbind(),
                value,
            });
        }
    }
    Ok(fresh)
}

/// The slots with what a later run must find there.
fn settled(py: Python<'_>, slots: Vec<active::Slot>, graph: &Graph) -> PyResult<Vec<Slot>> {
    let mut first: HashMap<usize, usize> = HashMap::new();
    let mut done = Vec::with_capacity(slots.len());
    for (i, (s, core)) in slots.into_iter().zip(record_slots(graph)).enumerate() {
        let (now, requires_grad, recorded) = s
            .tensor
            .get()
            .with(py, |t| (t.core.clone(), t.requires_grad, !t.edge.is_none()));
        if matches!(s.bind, Bind::Argument(_) | Bind::Object) {
            if !(now.layout == core.0 && now.dtype == core.1) {
                return Err(new_error(format!(
                    "a compiled function must not give a tensor other memory or another shape (x.data = …, resize_, t_): \
                     shape {} became {}; write into it, x.copy_(…)",
                    core.0.shape,
                    now.shape()
                )));
            }
            if recorded {
                return Err(new_error(
                    "a tensor from outside the compiled function became part of autograd's graph by an in-place op: detach() \
                     it first, or write under no_grad()",
                ));
            }
        }
        let shares = *first.entry(now.buffer.address()).or_insert(i);
        let hooks =
            hooks_of(s.tensor.bind(py)).map_or_else(Vec::new, |h| h.bind(py).iter().map(|(_, v)| v.unbind()).collect());
        let tensor = matches!(s.bind, Bind::Object).then_some(s.tensor);
        done.push(Slot {
            bind: s.bind,
            tensor,
            place: s.place,
            layout: core.0,
            dtype: core.1,
            device: core.2,
            requires_grad,
            shares,
            hooks,
        });
    }
    Ok(done)
}

/// Layout, dtype and device of each slot.
fn record_slots(graph: &Graph) -> impl Iterator<Item = (Layout, DType, Device)> + '_ {
    graph
        .values
        .iter()
        .filter(|v| matches!(v.source, Source::Slot(_)))
        .map(|v| (v.layout, v.dtype, v.device))
}

/// Nothing that the function made may live on elsewhere.
fn check_escapes(py: Python<'_>, recorded: &record::Recorded, kept: &HashSet<u64>) -> PyResult<()> {
    let leftover = || {
        buffer::alive_since(recorded.first)
            .into_iter()
            .find(|s| !kept.contains(s))
    };
    if leftover().is_none() {
        return Ok(());
    }
    // Cycles may hold it that are garbage already.
    py.import("gc")?.call_method0("collect")?;
    let Some(serial) = leftover() else { return Ok(()) };
    let (what, place) = match recorded.maker(serial) {
        Some(step) => {
            let name = match &step.action {
                Action::Call { op, .. } => op.name,
                _ => "copy",
            };
            let place = step.place.as_ref().map(|(f, l)| format!(" at {f}:{l}"));
            (format!("the result of {name}()"), place.unwrap_or_default())
        }
        None => ("a tensor made from Python's data".into(), String::new()),
    };
    Err(new_error(format!(
        "{what}{place} outlives the compiled function, whose later runs would not renew it: return it, or update a tensor from \
         outside in place (`buf.copy_(…)`)"
    )))
}
