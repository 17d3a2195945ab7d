//! A recording that is done: when it applies, and running it.

use super::active::{self, Active, Bind};
use super::guards::{Group, Module};
use super::tree::{self, Tree};
use crate::error::{RecordingError, guarded, to_python};
use crate::mode::mode;
use crate::tensor::Tensor;
use firesteel::dtype::DType;
use firesteel::graph::{Action, Graph, record};
use firesteel::ops::infer::default_dtype;
use firesteel::{Core, Device, Layout, buffer};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyList, PyTuple};
use std::collections::{HashMap, HashSet};

/// Elements above which the GIL is released while a graph runs.
const RELEASE: usize = 32 * 1024;

struct Slot {
    bind: Bind,
    /// The tensor itself, if it is bound as an object.
    tensor: Option<Py<Tensor>>,
    place: Option<(String, u32)>,
    layout: Layout,
    dtype: DType,
    device: Device,
    requires_grad: bool,
    /// First slot with the same buffer.
    shares: usize,
    /// Hooks of a leaf, which the backward pass ran.
    hooks: Vec<Py<PyAny>>,
}

fn hooks_of(t: &Bound<'_, Tensor>) -> Option<Py<PyDict>> {
    let py = t.py();
    t.get().with(py, |s| s.hooks.as_ref().map(|h| h.clone_ref(py)))
}

/// Whether a leaf has these hooks.
fn same_hooks(t: &Bound<'_, Tensor>, hooks: &[Py<PyAny>]) -> bool {
    match hooks_of(t) {
        None => hooks.is_empty(),
        Some(now) => {
            let now = now.bind(t.py());
            now.len() == hooks.len() && now.iter().zip(hooks).all(|((_, v), h)| v.is(h))
        }
    }
}

/// What becomes of a leaf's `.grad`.
enum After {
    Same,
    Cleared,
    /// The result at this place.
    Set(usize),
}

struct Leaf {
    slot: usize,
    had_grad: bool,
    after: After,
}

/// An entry of an optimizer's state that the step made.
struct NewState {
    group: usize,
    param: Py<PyAny>,
    name: Py<PyAny>,
    value: NewValue,
}

enum NewValue {
    Result(usize),
    Other(Py<PyAny>),
}

/// A tensor of what the function returned.
enum Output {
    Slot(usize),
    Result(usize),
}

/// One recorded call of a compiled function.
#[pyclass(frozen, module = "firesteel._C", name = "_Recording")]
pub struct Recording {
    form: Tree,
    slots: Vec<Slot>,
    leaves: Vec<Leaf>,
    modules: Vec<Module>,
    groups: Vec<Group>,
    absent: Vec<active::Absent>,
    fresh: Vec<NewState>,
    grad_mode: bool,
    inference: bool,
    default: DType,
    graph: Graph,
    returns: Tree,
    outputs: Vec<Output>,
    work: usize,
    /// The block of numbers when it was recorded.
    block: Vec<f64>,
}

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
        .filter(|v| matches!(v.source, firesteel::graph::Source::Slot(_)))
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

/// The tensors of a run.
struct Resolved<'py> {
    objects: Vec<Bound<'py, Tensor>>,
    cores: Vec<Core>,
    numbers: Vec<f64>,
}

impl Recording {
    /// The state that a run needs, if all is as it was recorded.
    fn resolve<'py>(&self, args: &Bound<'py, PyTuple>, kwargs: &Bound<'py, PyDict>) -> PyResult<Option<Resolved<'py>>> {
        let py = args.py();
        let now = mode();
        if now.grad != self.grad_mode || now.inference != self.inference || default_dtype() != self.default {
            return Ok(None);
        }
        let mut given = Vec::new();
        let Tree::Tuple(_, parts) = &self.form else {
            return Ok(None);
        };
        let [positional, named] = &parts[..] else {
            return Ok(None);
        };
        if !tree::matches(positional, args.as_any(), &mut given)? || !tree::matches(named, kwargs.as_any(), &mut given)?
        {
            return Ok(None);
        }
        for m in &self.modules {
            if !m.holds(py)? {
                return Ok(None);
            }
        }
        let mut numbers = Vec::new();
        for g in &self.groups {
            if !g.fill(py, &mut numbers)? {
                return Ok(None);
            }
        }
        for a in &self.absent {
            if let Some(entry) = self.state_of(py, a.group, &a.param)?
                && entry.is_truthy()?
            {
                return Ok(None);
            }
        }
        let Some(objects) = self.find_slots(py, &given)? else {
            return Ok(None);
        };
        for l in &self.leaves {
            if objects[l.slot].get().with(py, |s| s.grad.is_some()) != l.had_grad {
                return Ok(None);
            }
        }
        let cores: Vec<Core> = objects.iter().map(|t| t.get().core(py)).collect();
        if !self.fits(&objects, &cores) {
            return Ok(None);
        }
        Ok(Some(Resolved {
            objects,
            cores,
            numbers,
        }))
    }

    /// An optimizer's entry for a parameter.
    fn state_of<'py>(&self, py: Python<'py>, group: usize, param: &Py<PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let states = self.groups[group].optimizer.bind(py).getattr("state")?;
        match states.cast::<PyDict>() {
            Ok(states) => states.get_item(param),
            Err(_) => Ok(None),
        }
    }

    fn find_slots<'py>(
        &self,
        py: Python<'py>,
        given: &[Bound<'py, Tensor>],
    ) -> PyResult<Option<Vec<Bound<'py, Tensor>>>> {
        let mut objects: Vec<Bound<'py, Tensor>> = Vec::with_capacity(self.slots.len());
        for s in &self.slots {
            let found = match &s.bind {
                Bind::Argument(i) => given.get(*i).cloned(),
                Bind::Object => s.tensor.as_ref().map(|t| t.bind(py).clone()),
                Bind::Grad(leaf) => objects[*leaf]
                    .get()
                    .with(py, |s| s.grad.as_ref().map(|g| g.bind(py).clone())),
                Bind::State(group, param, name) => match self.state_of(py, *group, param)? {
                    Some(entry) => match entry.cast::<PyDict>()?.get_item(name)? {
                        Some(t) => t.cast_into::<Tensor>().ok(),
                        None => None,
                    },
                    None => None,
                },
            };
            match found {
                Some(t) => objects.push(t),
                None => return Ok(None),
            }
        }
        Ok(Some(objects))
    }

    /// Layouts, dtypes, devices, flags, and which slots share memory.
    fn fits(&self, objects: &[Bound<'_, Tensor>], cores: &[Core]) -> bool {
        let mut owners: Vec<usize> = Vec::with_capacity(cores.len());
        for (i, (s, c)) in self.slots.iter().zip(cores).enumerate() {
            let (requires_grad, recorded) = objects[i]
                .get()
                .with(objects[i].py(), |t| (t.requires_grad, !t.edge.is_none()));
            if c.layout.shape != s.layout.shape
                || c.layout.strides() != s.layout.strides()
                || c.dtype != s.dtype
                || c.device() != s.device
                || requires_grad != s.requires_grad
                || recorded
                || requires_grad && !same_hooks(&objects[i], &s.hooks)
            {
                return false;
            }
            let owner = c.buffer.address();
            if s.shares == i {
                owners.push(owner);
            } else {
                let first = &cores[s.shares];
                let apart = s.layout.offset as isize - self.slots[s.shares].layout.offset as isize;
                if owner != first.buffer.address() || c.layout.offset as isize - first.layout.offset as isize != apart {
                    return false;
                }
            }
        }
        owners.sort_unstable();
        owners.windows(2).all(|w| w[0] != w[1])
    }

    fn run<'py>(&self, found: Resolved<'py>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let Resolved {
            objects,
            cores,
            numbers,
        } = found;
        let results = if self.work > RELEASE {
            py.detach(|| self.graph.run(&cores, &numbers))
        } else {
            self.graph.run(&cores, &numbers)
        };
        let results = results.map_err(to_python)?;
        drop(cores);
        let tensors = results
            .into_iter()
            .map(|c| Bound::new(py, Tensor::new(c)))
            .collect::<PyResult<Vec<_>>>()?;
        for l in &self.leaves {
            let new = match l.after {
                After::Same => continue,
                After::Cleared => None,
                After::Set(i) => Some(tensors[i].clone().unbind()),
            };
            let old = objects[l.slot]
                .get()
                .state_mut(py, |s| std::mem::replace(&mut s.grad, new));
            drop(old);
        }
        for f in &self.fresh {
            let states = self.groups[f.group].optimizer.bind(py).getattr("state")?;
            let entry = states.get_item(&f.param)?;
            match &f.value {
                NewValue::Result(i) => entry.set_item(&f.name, &tensors[*i])?,
                NewValue::Other(v) => entry.set_item(&f.name, v)?,
            }
        }
        let outputs: Vec<Bound<'py, Tensor>> = self
            .outputs
            .iter()
            .map(|o| match o {
                Output::Slot(s) => objects[*s].clone(),
                Output::Result(i) => tensors[*i].clone(),
            })
            .collect();
        tree::build(py, &self.returns, &outputs)
    }
}

#[pymethods]
impl Recording {
    /// Whether the recording applies to a call with these arguments, now.
    fn applies(&self, args: &Bound<'_, PyTuple>, kwargs: &Bound<'_, PyDict>) -> PyResult<bool> {
        Ok(self.resolve(args, kwargs)?.is_some())
    }

    /// Runs the graph and returns what the function would; NotImplemented when the recording does not apply.
    fn replay<'py>(&self, args: &Bound<'py, PyTuple>, kwargs: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
        let py = args.py();
        guarded("a compiled function", || match self.resolve(args, kwargs)? {
            Some(found) => self.run(found, py),
            None => Ok(py.NotImplemented().into_bound(py)),
        })
    }

    /// [(what, …), …] of the slots: ("argument", place), ("tensor", tensor), ("grad", slot), ("state", param, name).
    fn slots<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for s in &self.slots {
            match &s.bind {
                Bind::Argument(i) => list.append(("argument", *i))?,
                Bind::Object => list.append(("tensor", &s.tensor))?,
                Bind::Grad(i) => list.append(("grad", *i))?,
                Bind::State(_, p, n) => list.append(("state", p, n))?,
            }
        }
        Ok(list)
    }

    /// Tensors that are neither arguments nor owned by a module or an optimizer: (tensor, file and line of first use).
    fn others<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for s in &self.slots {
            let Some(tensor) = &s.tensor else { continue };
            let owned = self.modules.iter().any(|m| m.owns(py, tensor))
                || self.groups.iter().any(|g| g.params().iter().any(|p| p.is(tensor)));
            if !owned {
                list.append((tensor, s.place.clone()))?;
            }
        }
        Ok(list)
    }

    /// Modules that the call called, the outermost first.
    fn modules<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.modules.iter().map(|m| m.object.clone_ref(py)))
    }

    /// The graph as text; `names` are the slots'.
    fn text(&self, names: Vec<String>) -> String {
        let mut text = self.graph.text(&names);
        for l in &self.leaves {
            let name = names.get(l.slot).map_or("?", String::as_str);
            match l.after {
                After::Same => {}
                After::Cleared => text += &format!("{name}.grad = None\n"),
                After::Set(i) => text += &format!("{name}.grad = %{}\n", self.graph.results[i]),
            }
        }
        let returned: Vec<String> = self
            .outputs
            .iter()
            .map(|o| match o {
                Output::Slot(s) => names.get(*s).cloned().unwrap_or_default(),
                Output::Result(i) => format!("%{}", self.graph.results[*i]),
            })
            .collect();
        text + &format!("return {}\n", returned.join(", "))
    }

    /// The steps as text, one by one (to compare two recordings).
    fn steps(&self) -> Vec<String> {
        (0..self.graph.steps.len()).map(|i| self.graph.step_text(i)).collect()
    }

    /// The numbers of its optimizers: as they are now, and as they were at the recorded steps.
    fn numbers(&self, py: Python<'_>) -> PyResult<(Vec<f64>, Vec<f64>)> {
        let mut now = Vec::new();
        for g in &self.groups {
            g.fill(py, &mut now)?;
        }
        Ok((now, self.block.clone()))
    }

    /// Whether what Python's data became has the same values as in another recording.
    fn same_constants(&self, other: &Bound<'_, Recording>) -> bool {
        self.graph.same_constants(&other.get().graph)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.form.visit(&visit)?;
        self.returns.visit(&visit)?;
        for s in &self.slots {
            visit.call(&s.tensor)?;
            s.hooks.iter().try_for_each(|h| visit.call(h))?;
        }
        for m in &self.modules {
            visit.call(&m.object)?;
        }
        for g in &self.groups {
            visit.call(&g.optimizer)?;
        }
        Ok(())
    }
}
