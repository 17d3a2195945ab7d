//! Nodes of the graph that autograd walks: what an op saved, and where its inputs came from.

use crate::bind::boxed;
use crate::call;
use crate::cell::GilCell;
use crate::error::{runtime, type_error};
use crate::saved;
use crate::tensor::{Link, Tensor, size_object};
use crate::types::{PyDevice, dtype_object};
use firesteel::Device;
use firesteel::dtype::DType;
use firesteel::layout::{Dims, Layout};
use firesteel::ops::Op;
use firesteel::shared::Shared;
use firesteel::{Args, Core};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where a gradient goes: to a node's output, to a leaf, or nowhere.
pub enum Edge {
    None,
    Node(Py<Node>, u32),
    Leaf(Py<Tensor>),
}

impl Edge {
    #[inline]
    pub fn clone_ref(&self, py: Python<'_>) -> Edge {
        match self {
            Edge::None => Edge::None,
            Edge::Node(n, i) => Edge::Node(n.clone_ref(py), *i),
            Edge::Leaf(t) => Edge::Leaf(t.clone_ref(py)),
        }
    }

    #[inline]
    pub fn is_none(&self) -> bool {
        matches!(self, Edge::None)
    }

    fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Edge::None => Ok(()),
            Edge::Node(n, _) => visit.call(n),
            Edge::Leaf(t) => visit.call(t),
        }
    }
}

/// One tensor argument of the op.
pub struct Input {
    pub edge: Edge,
    pub shape: Dims,
    pub dtype: DType,
    pub device: Device,
    /// Position of its parameter.
    pub param: u8,
}

/// A value kept for the derivative.
pub struct Saved {
    /// Index among `inputs`, or among the outputs.
    pub index: u8,
    pub is_output: bool,
    pub core: Core,
    pub version: u32,
    pub edge: Edge,
}

/// The in-place op behind this node wrote to a view: what is needed to put its gradient into the base's.
pub struct CopySlices {
    pub chain: Option<Shared<Link>>,
    pub base: Layout,
    pub base_dtype: DType,
}

pub struct NodeState {
    pub args: Args,
    pub inputs: SmallVec<[Input; 2]>,
    pub saved: SmallVec<[Saved; 2]>,
    pub outputs: SmallVec<[(Dims, DType, Device); 1]>,
    pub copy: Option<Box<CopySlices>>,
    /// Object whose `_backward(grads)` is the derivative (custom `Function`).
    pub python: Option<Py<PyAny>>,
    /// Output index → list of functions on its gradient.
    pub tensor_hooks: Option<Py<PyDict>>,
    /// Functions (grad_inputs, grad_outputs) after the derivative; (grad_outputs) before.
    pub hooks: Option<Py<PyDict>>,
    pub pre_hooks: Option<Py<PyDict>>,
    pub trace: Option<Py<PyAny>>,
    pub released: bool,
}

/// One recorded op.
#[pyclass(frozen, weakref, module = "firesteel.autograd", name = "Node")]
pub struct Node {
    cell: GilCell<Box<NodeState>>,
    pub op: Option<&'static Op>,
    #[pyo3(get, name = "_seq")]
    pub seq: u64,
}

static SEQUENCE: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// Edges of dropped nodes, emptied by the outermost drop: no recursion however long the chain.
    static DEAD: RefCell<Vec<Edge>> = const { RefCell::new(Vec::new()) };
    static DRAINING: Cell<bool> = const { Cell::new(false) };
}

fn bury(edges: impl Iterator<Item = Edge>) {
    let _ = DEAD.try_with(|dead| {
        let mut dead = dead.borrow_mut();
        edges.for_each(|e| dead.push(e));
    });
    let outermost = DRAINING.try_with(|d| !d.replace(true)).unwrap_or(false);
    if outermost {
        while let Ok(Some(edge)) = DEAD.try_with(|dead| dead.borrow_mut().pop()) {
            drop(edge);
        }
        let _ = DRAINING.try_with(|d| d.set(false));
    }
}

impl NodeState {
    /// Of nothing yet, to be filled where it stays.
    pub fn new(trace: Option<Py<PyAny>>) -> Box<NodeState> {
        boxed(|| NodeState {
            args: Args::default(),
            inputs: SmallVec::new(),
            saved: SmallVec::new(),
            outputs: SmallVec::new(),
            copy: None,
            python: None,
            tensor_hooks: None,
            hooks: None,
            pre_hooks: None,
            trace,
            released: false,
        })
    }

    /// Every edge, taken out.
    fn edges(&mut self) -> impl Iterator<Item = Edge> {
        let inputs = self.inputs.iter_mut().map(|i| &mut i.edge);
        let saved = self.saved.iter_mut().map(|s| &mut s.edge);
        inputs
            .chain(saved)
            .filter(|e| !e.is_none())
            .map(|e| std::mem::replace(e, Edge::None))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        bury(self.cell.get_mut().edges());
    }
}

impl Node {
    pub fn new(op: Option<&'static Op>, state: Box<NodeState>) -> Node {
        Node {
            cell: GilCell::new(state),
            op,
            seq: SEQUENCE.fetch_add(1, Ordering::Relaxed),
        }
    }

    pub fn state<R>(&self, py: Python<'_>, f: impl FnOnce(&NodeState) -> R) -> R {
        self.cell.with(py, |s| f(s))
    }

    pub fn state_mut<R>(&self, py: Python<'_>, f: impl FnOnce(&mut NodeState) -> R) -> R {
        self.cell.with_mut(py, |s| f(s))
    }

    pub fn title(&self, py: Python<'_>) -> String {
        if let Some(p) = self.state(py, |s| s.python.as_ref().map(|p| p.clone_ref(py))) {
            return p
                .bind(py)
                .getattr("_name")
                .and_then(|n| n.extract())
                .unwrap_or_else(|_| "FunctionBackward".into());
        }
        if self.state(py, |s| s.copy.is_some()) {
            return "CopySlices".into();
        }
        self.op.map_or_else(|| "Node".into(), |op| title_of(op.name))
    }

    /// Index among the inputs of the parameter called `name`.
    fn input_named(&self, py: Python<'_>, name: &str) -> PyResult<Option<usize>> {
        let Some(op) = self.op else { return Ok(None) };
        let p = op
            .param(name)
            .ok_or_else(|| type_error(format!("{} has no parameter '{name}'", op.key)))?;
        Ok(self.state(py, |s| s.inputs.iter().position(|i| i.param as usize == p)))
    }
}

/// `log_softmax` → `LogSoftmaxBackward0`.
pub fn title_of(name: &str) -> String {
    let mut out = String::new();
    for part in name.split('_').filter(|p| !p.is_empty()) {
        let mut chars = part.chars();
        if let Some(c) = chars.next() {
            out.extend(c.to_uppercase());
            out.extend(chars);
        }
    }
    out + "Backward0"
}

#[pymethods]
impl Node {
    fn name(slf: &Bound<'_, Self>) -> String {
        slf.get().title(slf.py())
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        format!("<{} object at {:p}>", slf.get().title(slf.py()), slf.as_ptr())
    }

    /// Parameters, `result` and other outputs by name; everything else as usual.
    fn __getattribute__<'py>(slf: &Bound<'py, Self>, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(op) = slf.get().op {
            if let Some(p) = call::parameter_index(slf.py(), op, name) {
                return saved::parameter(slf, op, p);
            }
            let text = name.to_cow()?;
            if text.starts_with('_') {
                return call::generic_getattr(slf.as_any(), name);
            }
            if let Some(p) = op.param(&text) {
                return saved::parameter(slf, op, p);
            }
            if let Some(i) = op.outputs.iter().position(|o| *o == text) {
                return match saved::unpack(slf, i, true)? {
                    Some(t) => Ok(t.into_any()),
                    None => Err(runtime(format!("{} did not save '{text}'", slf.get().title(slf.py())))),
                };
            }
        }
        call::generic_getattr(slf.as_any(), name)
    }

    /// Shape of the input called `name`.
    fn _size<'py>(slf: &Bound<'py, Self>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let shape = match slf.get().input_named(py, name)? {
            Some(k) => slf.get().state(py, |s| s.inputs[k].shape),
            None => Dims::EMPTY,
        };
        size_object(py, &shape)
    }

    /// Shapes of the inputs in the list called `name`.
    fn _sizes<'py>(slf: &Bound<'py, Self>, name: &str) -> PyResult<Bound<'py, PyList>> {
        let py = slf.py();
        let this = slf.get();
        let p = this.op.and_then(|op| op.param(name));
        let shapes: Vec<Dims> = this.state(py, |s| {
            s.inputs
                .iter()
                .filter(|i| Some(i.param as usize) == p)
                .map(|i| i.shape)
                .collect()
        });
        let list = PyList::empty(py);
        for s in &shapes {
            list.append(size_object(py, s)?)?;
        }
        Ok(list)
    }

    /// Dtype of the input called `name`.
    fn _dtype(slf: &Bound<'_, Self>, name: &str) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        match slf.get().input_named(py, name)? {
            Some(k) => Ok(dtype_object(py, slf.get().state(py, |s| s.inputs[k].dtype)).into_any()),
            None => Ok(py.None()),
        }
    }

    /// Whether the input called `name` wants a gradient; for a list, any of them.
    fn _needs(slf: &Bound<'_, Self>, name: &str) -> PyResult<bool> {
        let py = slf.py();
        let p = slf.get().op.and_then(|op| op.param(name));
        Ok(slf.get().state(py, |s| {
            s.inputs
                .iter()
                .any(|i| Some(i.param as usize) == p && !i.edge.is_none())
        }))
    }

    /// Whether a tensor was given for the parameter called `name`.
    fn _has(slf: &Bound<'_, Self>, name: &str) -> PyResult<bool> {
        Ok(slf.get().input_named(slf.py(), name)?.is_some())
    }

    /// Whether the op wrote the tensor given for the parameter called `name`, besides its result: it is not saved then.
    fn _wrote(&self, py: Python<'_>, name: &str) -> bool {
        let wrote = |op: &Op| self.state(py, |s| op.written(|i| s.args.bool(i)));
        self.op
            .is_some_and(|op| op.param(name).is_some_and(|p| wrote(op) & (1 << p) != 0))
    }

    /// [(name, 'tensor' or 'value'), …] of the op's parameters.
    fn _params(&self) -> Vec<(&'static str, &'static str)> {
        use firesteel::ops::Ty;
        let kind = |ty| {
            if matches!(ty, Ty::Tensor | Ty::Operand | Ty::Tensors | Ty::OptTensors) {
                "tensor"
            } else {
                "value"
            }
        };
        self.op
            .map_or_else(Vec::new, |op| op.params.iter().map(|p| (p.name, kind(p.ty))).collect())
    }

    /// Whether the op has a parameter of this name.
    fn _has_parameter(&self, name: &str) -> bool {
        self.op.is_some_and(|op| op.param(name).is_some())
    }

    /// For each input, whether it wants a gradient.
    #[getter]
    fn _needs_input_grad<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let py = slf.py();
        let flags: Vec<bool> = slf
            .get()
            .state(py, |s| s.inputs.iter().map(|i| !i.edge.is_none()).collect());
        PyTuple::new(py, flags)
    }

    #[getter]
    fn _outputs(slf: &Bound<'_, Self>) -> usize {
        slf.get().state(slf.py(), |s| s.outputs.len())
    }

    /// (shape, dtype, device) of an output.
    fn _output_meta<'py>(slf: &Bound<'py, Self>, index: usize) -> PyResult<(Bound<'py, PyAny>, Py<PyAny>, PyDevice)> {
        let py = slf.py();
        let Some((shape, dtype, device)) = slf.get().state(py, |s| s.outputs.get(index).copied()) else {
            return Err(runtime(format!("no output {index}")));
        };
        Ok((
            size_object(py, &shape)?,
            dtype_object(py, dtype).into_any(),
            PyDevice::of(device),
        ))
    }

    /// ((function or None, index), …), one per input.
    #[getter]
    fn next_functions<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let py = slf.py();
        let edges: SmallVec<[Edge; 4]> = slf
            .get()
            .state(py, |s| s.inputs.iter().map(|i| i.edge.clone_ref(py)).collect());
        let mut items = Vec::new();
        for e in edges {
            items.push(match e {
                Edge::Node(n, i) => (n.into_any(), i).into_pyobject(py)?,
                Edge::Leaf(t) => {
                    let make = py.import("firesteel.autograd.graph")?.getattr("AccumulateGrad")?;
                    (make.call1((t,))?.unbind(), 0).into_pyobject(py)?
                }
                Edge::None => (py.None(), 0).into_pyobject(py)?,
            });
        }
        PyTuple::new(py, items)
    }

    #[getter]
    fn _trace(slf: &Bound<'_, Self>) -> Option<Py<PyAny>> {
        let py = slf.py();
        slf.get().state(py, |s| s.trace.as_ref().map(|t| t.clone_ref(py)))
    }

    /// The hook table of a kind ('tensor', 'post', 'pre'), made when first asked for.
    fn _hook_table<'py>(slf: &Bound<'py, Self>, kind: &str) -> PyResult<Bound<'py, PyDict>> {
        let py = slf.py();
        let pick = |s: &mut NodeState, new: Option<Py<PyDict>>| -> Option<Py<PyDict>> {
            let slot = match kind {
                "tensor" => &mut s.tensor_hooks,
                "pre" => &mut s.pre_hooks,
                _ => &mut s.hooks,
            };
            if let Some(d) = new {
                *slot = Some(d);
            }
            slot.as_ref().map(|d| d.clone_ref(py))
        };
        if let Some(d) = slf.get().state_mut(py, |s| pick(s, None)) {
            return Ok(d.into_bound(py));
        }
        let fresh = PyDict::new(py);
        let keep = fresh.clone().unbind();
        slf.get().state_mut(py, |s| pick(s, Some(keep)));
        Ok(fresh)
    }

    /// Gradients of the inputs from those of the outputs: [(target, slot, key, gradient), …].
    ///
    /// `slot` is 0 for a node with one output, the output's index plus one for others, -1 for a leaf; `key` is the negated
    /// sequence number. `keep` false gives the saved values back; `hooked` says that tensor hooks ran already.
    #[pyo3(signature = (grad, keep, hooked = false))]
    fn _step<'py>(
        slf: &Bound<'py, Self>,
        grad: &Bound<'py, PyAny>,
        keep: bool,
        hooked: bool,
    ) -> PyResult<Bound<'py, PyList>> {
        let py = slf.py();
        let out = crate::error::guarded("backward", || crate::backward::step(slf, grad, hooked))?;
        if !keep {
            slf.get()._release(py);
        }
        Ok(out)
    }

    /// Gives the saved values back.
    fn _release(&self, py: Python<'_>) {
        let python = self.state(py, |s| s.python.as_ref().map(|p| p.clone_ref(py)));
        if let Some(p) = python {
            let _ = p.bind(py).call_method0("_release");
        }
        let old = self.state_mut(py, |s| {
            if !s.saved.is_empty() {
                s.released = true;
            }
            std::mem::take(&mut s.saved)
        });
        drop(old);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let s = self.cell.gc();
        for i in &s.inputs {
            i.edge.visit(&visit)?;
        }
        for v in &s.saved {
            v.edge.visit(&visit)?;
        }
        visit.call(&s.python)?;
        visit.call(&s.tensor_hooks)?;
        visit.call(&s.hooks)?;
        visit.call(&s.pre_hooks)?;
        visit.call(&s.trace)
    }

    fn __clear__(&self) {
        // The collector calls this with the GIL held.
        let _ = Python::try_attach(|py| {
            let (edges, python, hooks) = self.state_mut(py, |s| {
                s.released = true;
                let edges: Vec<Edge> = s.edges().collect();
                (
                    edges,
                    s.python.take(),
                    (
                        s.tensor_hooks.take(),
                        s.hooks.take(),
                        s.pre_hooks.take(),
                        s.trace.take(),
                    ),
                )
            });
            bury(edges.into_iter());
            drop(python);
            drop(hooks);
        });
    }
}
