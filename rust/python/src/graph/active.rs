//! A recording under way: which Python objects the graph's slots are.
//!
//! Ops tell of every tensor they are given before they run ([`note`]). One whose memory the graph does not know becomes a
//! slot, bound by how a later run finds it again: an argument, a leaf's `.grad`, an entry of an optimizer's state, or this
//! very object. Nothing is borrowed while Python runs.

use super::guards::{self, Group, Module};
use super::tree::{self, Tree};
use crate::call::Tensors;
use crate::error::{RecordingError, to_python};
use crate::mode::{self, mode};
use crate::tensor::Tensor;
use firesteel::graph::record;
use firesteel::ops::{Kind, Op};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};
use std::cell::RefCell;
use std::collections::HashMap;

/// How a run finds a slot's tensor.
pub enum Bind {
    /// Place among the tensors of the arguments.
    Argument(usize),
    Object,
    /// `.grad` of the tensor in this slot.
    Grad(usize),
    /// Group among those noted, parameter, name of the entry.
    State(usize, Py<PyAny>, Py<PyAny>),
}

pub struct Slot {
    pub bind: Bind,
    pub tensor: Py<Tensor>,
    pub place: Option<(String, u32)>,
}

/// A tensor whose `.grad` matters, and that gradient when recording began.
pub struct Leaf {
    pub slot: usize,
    pub grad: Option<Py<Tensor>>,
}

/// State of a parameter that had none yet.
pub struct Absent {
    pub group: usize,
    pub param: Py<PyAny>,
}

pub struct Active {
    pub form: Tree,
    pub slots: Vec<Slot>,
    pub leaves: Vec<Leaf>,
    pub modules: Vec<Module>,
    pub groups: Vec<Group>,
    pub absent: Vec<Absent>,
    slot_of: HashMap<usize, usize>,
    leaf_of: HashMap<usize, usize>,
    place: Option<(String, u32)>,
    /// Numbers of the groups so far.
    numbers: usize,
    /// The block of numbers as it was at each group's step.
    pub block: Vec<f64>,
}

thread_local! {
    static ACTIVE: RefCell<Option<Active>> = const { RefCell::new(None) };
}

fn with<R>(f: impl FnOnce(&mut Active) -> R) -> PyResult<R> {
    ACTIVE.with(|a| match &mut *a.borrow_mut() {
        Some(a) => Ok(f(a)),
        None => Err(RecordingError::new_err("nothing is being recorded on this thread")),
    })
}

fn key<T>(t: &Bound<'_, T>) -> usize {
    t.as_ptr() as usize
}

fn helper<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    static MODULE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let module = MODULE.get_or_try_init(py, || Ok::<_, PyErr>(py.import("firesteel.graph")?.into_any().unbind()))?;
    module.bind(py).getattr(name)
}

/// The error for reading values, or changing what a recording cannot follow; it names the program's line.
#[cold]
pub fn refusal(py: Python<'_>, what: &str) -> PyErr {
    match helper(py, "_refusal").and_then(|f| f.call1((what,))) {
        Ok(text) => RecordingError::new_err(text.to_string()),
        Err(e) => e,
    }
}

/// Refuses what reads values while recording.
#[inline]
pub fn check_reading(py: Python<'_>, what: &str) -> PyResult<()> {
    if mode().recording {
        return Err(refusal(py, what));
    }
    Ok(())
}

/// Begins to record on this thread.
#[pyfunction]
pub fn _graph_begin<'py>(args: &Bound<'py, PyTuple>, kwargs: &Bound<'py, PyDict>) -> PyResult<()> {
    let py = args.py();
    let mut tensors = Vec::new();
    let form = tree::flatten(
        &PyTuple::new(py, [args.as_any(), kwargs.as_any()])?.into_any(),
        &mut tensors,
    )?;
    for t in &tensors {
        if t.get().requires_grad_now(py) && !t.get().with(py, |s| s.requires_grad && s.edge.is_none()) {
            return Err(RecordingError::new_err(
                "an argument of the compiled function is the result of an op that wants gradients: detach() it, or compute \
                 it inside",
            ));
        }
    }
    record::begin().map_err(to_python)?;
    ACTIVE.with(|a| {
        *a.borrow_mut() = Some(Active {
            form,
            slots: Vec::new(),
            leaves: Vec::new(),
            modules: Vec::new(),
            groups: Vec::new(),
            absent: Vec::new(),
            slot_of: HashMap::new(),
            leaf_of: HashMap::new(),
            place: None,
            numbers: 0,
            block: Vec::new(),
        });
    });
    mode::set_recording(true);
    for (i, t) in tensors.iter().enumerate() {
        let slot = add_slot(t, Bind::Argument(i))?;
        if t.get().with(py, |s| s.requires_grad || s.grad.is_some()) {
            add_leaf(t, slot)?;
        }
    }
    Ok(())
}

/// Ends recording: what the binding knows, for [`super::recording`] to make a recording of.
pub fn take() -> Option<Active> {
    mode::set_recording(false);
    ACTIVE.with(|a| a.borrow_mut().take())
}

/// Forgets the recording that is under way, if there is one.
#[pyfunction]
pub fn _graph_abort() {
    let old = (take(), record::end());
    drop(old);
}

/// Called before each op with its tensors.
#[cold]
pub fn note<'py>(py: Python<'py>, op: &'static Op, tensors: &Tensors<'py>) -> PyResult<()> {
    if matches!(op.kind, Kind::DataShape { .. }) {
        return Err(refusal(
            py,
            &format!("{}(), whose result's size depends on values,", op.name),
        ));
    }
    let place: Option<(String, u32)> = helper(py, "_where")?.call0()?.extract()?;
    record::at(place.clone()).map_err(to_python)?;
    with(|a| a.place = place)?;
    for (_, t) in tensors {
        note_tensor(t)?;
    }
    Ok(())
}

/// Makes a tensor known to the graph.
pub fn note_tensor(t: &Bound<'_, Tensor>) -> PyResult<()> {
    let py = t.py();
    let (core, leaf) = t
        .get()
        .with(py, |s| (s.core.clone(), s.requires_grad && s.edge.is_none()));
    let new = record::is_new(&core).map_err(to_python)?;
    if leaf && !new {
        return note_leaf(t);
    }
    if record::knows(&core).map_err(to_python)? {
        // An object from outside that shares a slot's memory now need not do so at the next call: a slot of its own.
        let outside = !new && t.get().with(py, |s| s.epoch) != mode().epoch;
        if !outside || with(|a| a.slot_of.contains_key(&key(t)))? {
            return Ok(());
        }
    }
    if new {
        return record::constant(&core).map_err(to_python);
    }
    add_slot(t, Bind::Object).map(|_| ())
}

fn add_slot(t: &Bound<'_, Tensor>, bind: Bind) -> PyResult<usize> {
    let core = t.get().core(t.py());
    let slot = record::slot(&core).map_err(to_python)?;
    let tensor = t.clone().unbind();
    with(|a| {
        debug_assert_eq!(slot, a.slots.len());
        a.slots.push(Slot {
            bind,
            tensor,
            place: a.place.clone(),
        });
        a.slot_of.entry(key(t)).or_insert(slot);
        slot
    })
}

/// Called when a tensor's `.grad` is looked at or set, and for leaves among the inputs of ops.
#[cold]
pub fn note_leaf(t: &Bound<'_, Tensor>) -> PyResult<()> {
    let core = t.get().core(t.py());
    if with(|a| a.leaf_of.contains_key(&key(t)))? || record::is_new(&core).map_err(to_python)? {
        return Ok(());
    }
    let slot = match with(|a| a.slot_of.get(&key(t)).copied())? {
        Some(s) => s,
        None => add_slot(t, Bind::Object)?,
    };
    add_leaf(t, slot)
}

fn add_leaf(t: &Bound<'_, Tensor>, slot: usize) -> PyResult<()> {
    let py = t.py();
    let grad = t.get().with(py, |s| s.grad.as_ref().map(|g| g.clone_ref(py)));
    let kept = grad.as_ref().map(|g| g.clone_ref(py));
    with(|a| {
        a.leaf_of.insert(key(t), slot);
        a.leaves.push(Leaf { slot, grad: kept });
    })?;
    match grad {
        Some(g) => rebind(g.bind(py), Bind::Grad(slot)),
        None => Ok(()),
    }
}

/// A slot for `t`, found in this way; one that was bound as an object is found so from now on.
fn rebind(t: &Bound<'_, Tensor>, bind: Bind) -> PyResult<()> {
    let known = with(|a| a.slot_of.get(&key(t)).copied())?;
    match known {
        None => add_slot(t, bind).map(|_| ()),
        Some(slot) => {
            let old = with(|a| match a.slots[slot].bind {
                Bind::Object => Some(std::mem::replace(&mut a.slots[slot].bind, bind)),
                _ => None,
            })?;
            drop(old);
            Ok(())
        }
    }
}

/// Notes a module that is being called.
#[pyfunction]
pub fn _graph_module(module: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = module.py();
    if with(|a| a.modules.iter().any(|m| m.object.bind(py).is(module)))? {
        return Ok(());
    }
    let made = Module::new(module)?;
    with(|a| a.modules.push(made))
}

/// Notes a parameter group whose fused step comes next. `counters`: the step counts of its parameters with gradients.
#[pyfunction]
pub fn _graph_group<'py>(
    optimizer: &Bound<'py, PyAny>,
    group: &Bound<'py, PyDict>,
    counters: Vec<Bound<'py, Tensor>>,
) -> PyResult<()> {
    let py = optimizer.py();
    let mut index = 0;
    let group = loop {
        match guards::group_of(optimizer, index)? {
            Some(g) if g.is(group) => break g,
            Some(_) => index += 1,
            None => {
                return Err(RecordingError::new_err(
                    "the optimizer's step is given a group that is not its own",
                ));
            }
        }
    };
    let made = Group::new(optimizer, index, &group)?;
    let (at, first) = with(|a| (a.groups.len(), a.numbers))?;
    let options = made
        .numbers
        .iter()
        .enumerate()
        .map(|(i, n)| (n.name.clone(), first + i))
        .collect();
    let states = optimizer.getattr("state")?.cast_into::<PyDict>()?;
    let params: Vec<Bound<'py, PyAny>> = made.params().iter().map(|p| p.bind(py).clone()).collect();
    let count = made.numbers.len();
    let mut block = Vec::new();
    made.fill(py, &mut block)?;
    with(|a| {
        a.numbers += count;
        a.block.extend(block);
        a.groups.push(made);
    })?;
    for p in params {
        match states.get_item(&p)? {
            Some(entry) if entry.cast::<PyDict>().is_ok_and(|d| !d.is_empty()) => {
                for (name, value) in entry.cast::<PyDict>()?.iter() {
                    if let Ok(t) = value.cast::<Tensor>() {
                        rebind(t, Bind::State(at, p.clone().unbind(), name.unbind()))?;
                    }
                }
            }
            _ => with(|a| {
                a.absent.push(Absent {
                    group: at,
                    param: p.clone().unbind(),
                });
            })?,
        }
    }
    for c in &counters {
        note_tensor(c)?;
    }
    let counters = counters.iter().map(|c| c.get().core(py)).collect();
    record::group(options, counters).map_err(to_python)
}

/// The slot of a tensor object.
pub fn slot_of(t: &Bound<'_, Tensor>) -> PyResult<Option<usize>> {
    with(|a| a.slot_of.get(&key(t)).copied())
}

/// (slot, tensor, gradient at the beginning) of each leaf.
pub fn leaves(py: Python<'_>) -> PyResult<Vec<(usize, Py<Tensor>, Option<Py<Tensor>>)>> {
    with(|a| {
        let one = |l: &Leaf| {
            let grad = l.grad.as_ref().map(|g| g.clone_ref(py));
            (l.slot, a.slots[l.slot].tensor.clone_ref(py), grad)
        };
        a.leaves.iter().map(one).collect()
    })
}

/// (group, optimizer, parameter) of each parameter that had no state.
pub fn absent(py: Python<'_>) -> PyResult<Vec<(usize, Py<PyAny>, Py<PyAny>)>> {
    with(|a| {
        let one = |x: &Absent| {
            (
                x.group,
                a.groups[x.group].optimizer.clone_ref(py),
                x.param.clone_ref(py),
            )
        };
        a.absent.iter().map(one).collect()
    })
}

/// One more than each step count: what a fused step is told. While recording, the graph reads the counts anew.
#[pyfunction]
pub fn _next_counts(py: Python<'_>, counters: Vec<Bound<'_, Tensor>>) -> PyResult<Vec<f64>> {
    counters
        .iter()
        .map(|c| firesteel::graph::run::next(&c.get().core(py)).map_err(to_python))
        .collect()
}
