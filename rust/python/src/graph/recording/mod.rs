//! A recording that is done: when it applies, and running it. `finish.rs` makes it.

use super::active::{self, Bind};
use super::guards::{Group, Module};
use super::tree::{self, Tree};
use crate::call::RELEASE;
use crate::error::{guarded, to_python};
use crate::mode::mode;
use crate::tensor::Tensor;
use firesteel::dtype::DType;
use firesteel::graph::Graph;
use firesteel::ops::infer::default_dtype;
use firesteel::{Core, Device, Layout};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyList, PyTuple};

pub mod finish;

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
