//! The tensor class: what Python sees of a core, with its place in the autograd graph.

use crate::call::{self, Common, operator, operator_inplace, unary};
use crate::cell::GilCell;
use crate::construct::legacy_new;
use crate::convert;
use crate::error::{guarded, runtime, to_python, type_error};
use crate::graph;
use crate::index;
use crate::mode::mode;
use crate::node::{Edge, Node};
use crate::record;
use crate::types::{PyDevice, dtype_object};
use firesteel::device::{Device, cpu, gpu};
use firesteel::dtype::{DType, Scalar, legacy_name};
use firesteel::layout::{Dims, wrap_dim};
use firesteel::ops::Op;
use firesteel::shared::Shared;
use firesteel::{Args, Core, dispatch};
use pyo3::exceptions::{PyAttributeError, PyIndexError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use smallvec::SmallVec;
use std::cell::RefCell;

/// One view op of the chain that leads from a base to a view.
pub struct Link {
    pub prev: Option<Shared<Link>>,
    pub op: &'static Op,
    /// Arguments without tensors.
    pub args: Args,
    /// Of the op's input.
    pub shape: Dims,
    pub dtype: DType,
    pub device: Device,
    /// Shapes of all of its outputs, and which of them is meant.
    pub outputs: SmallVec<[Dims; 1]>,
    pub output: u32,
}

/// What makes a tensor a view of another.
pub struct ViewOf {
    pub base: Py<Tensor>,
    pub chain: Option<Shared<Link>>,
    /// The base's generation that the view's edge belongs to.
    pub generation: u32,
    /// Why it must not be written in place while gradients are recorded.
    pub forbidden: Option<&'static str>,
}

pub struct State {
    pub core: Core,
    /// A leaf that wants a gradient.
    pub requires_grad: bool,
    pub edge: Edge,
    pub grad: Option<Py<Tensor>>,
    pub view: Option<Box<ViewOf>>,
    /// Counts in-place writes through autograd; views compare theirs with it.
    pub generation: u32,
    /// Hooks of a leaf: id → function.
    pub hooks: Option<Py<PyDict>>,
    pub retains_grad: bool,
    pub is_inference: bool,
    /// The recording that the object was made in; 0: none.
    pub epoch: u32,
    size: Option<Py<PyAny>>,
    /// The program's own attributes.
    attributes: Option<Py<PyDict>>,
}

/// A tensor: elements of one dtype in an n-dimensional shape.
///
/// Attributes of a program's own lie in a dict that is made when the first is set. (PyO3's `dict` makes one with every
/// object, which took a fifth of `a + b`.)
#[pyclass(name = "Tensor", module = "firesteel", frozen, subclass, weakref)]
pub struct Tensor {
    cell: GilCell<State>,
}

thread_local! {
    /// The core that the next `Tensor.__new__` takes over (see `_make_subclass`).
    static HANDOVER: RefCell<Option<Core>> = const { RefCell::new(None) };
}

static SIZE: GilCell<Option<Py<PyAny>>> = GilCell::new(None);

/// Tells the class of shapes (`firesteel.Size`).
#[pyfunction]
pub fn _set_size_class(py: Python<'_>, class: Py<PyAny>) {
    let old = SIZE.with_mut(py, |s| s.replace(class));
    drop(old);
}

/// A shape as `firesteel.Size`.
pub fn size_object<'py>(py: Python<'py>, shape: &Dims) -> PyResult<Bound<'py, PyAny>> {
    let tuple = PyTuple::new(py, shape.iter())?;
    match SIZE.with(py, |s| s.as_ref().map(|s| s.clone_ref(py))) {
        Some(class) => class.bind(py).call1((tuple,)),
        None => Ok(tuple.into_any()),
    }
}

impl Tensor {
    #[inline]
    pub fn new(core: Core) -> Tensor {
        let now = mode();
        Tensor {
            cell: GilCell::new(State {
                core,
                requires_grad: false,
                edge: Edge::None,
                grad: None,
                view: None,
                generation: 0,
                hooks: None,
                retains_grad: false,
                is_inference: now.inference,
                epoch: now.epoch,
                size: None,
                attributes: None,
            }),
        }
    }

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

    /// Another tensor over the memory of `of`, outside autograd's graph.
    fn alias<'py>(of: &Bound<'py, Tensor>, core: Core) -> PyResult<Bound<'py, Tensor>> {
        let py = of.py();
        let made = Tensor::new(core);
        let inference = of.get().with(py, |s| s.is_inference);
        made.state_mut(py, |s| s.is_inference = inference);
        Bound::new(py, made)
    }

    #[inline(always)]
    pub fn with<R>(&self, py: Python<'_>, f: impl FnOnce(&State) -> R) -> R {
        self.cell.with(py, f)
    }

    #[inline(always)]
    pub fn state_mut<R>(&self, py: Python<'_>, f: impl FnOnce(&mut State) -> R) -> R {
        self.cell.with_mut(py, f)
    }

    #[inline(always)]
    pub fn core(&self, py: Python<'_>) -> Core {
        self.cell.with(py, |s| s.core.clone())
    }

    /// The core without counting it.
    ///
    /// # Safety
    /// The copy is forgotten, not dropped, and not used after Python code has run, the GIL was released or the tensor's
    /// core was replaced.
    #[inline(always)]
    pub unsafe fn lend(&self, py: Python<'_>) -> Core {
        // SAFETY: reading a valid core; the caller keeps to the contract.
        self.cell.with(py, |s| unsafe { std::ptr::read(&s.core) })
    }

    /// Another core for the same tensor.
    pub fn set_core(&self, py: Python<'_>, core: Core) {
        let old = self.state_mut(py, |s| (std::mem::replace(&mut s.core, core), s.size.take()));
        drop(old);
    }

    /// Makes a new tensor a leaf that wants a gradient.
    pub fn require_grad(slf: &Bound<'_, Tensor>) -> PyResult<()> {
        Tensor::want_grad(slf, true)
    }

    /// Whether setting an attribute failed because the class says nothing about it.
    fn is_free(slf: &Bound<'_, Tensor>, name: &Bound<'_, PyString>, e: &PyErr) -> bool {
        let py = slf.py();
        e.is_instance_of::<PyAttributeError>(py)
            && !slf
                .get_type()
                .getattr(name)
                .is_ok_and(|d| d.hasattr("__set__").unwrap_or(true))
    }

    /// Wants a gradient, as far as can be told without looking at a view's base.
    pub fn requires_grad_now(&self, py: Python<'_>) -> bool {
        self.with(py, |s| s.requires_grad || !s.edge.is_none())
    }
}

/// The one element of a tensor, on the CPU.
fn only(t: &Tensor, py: Python<'_>) -> PyResult<Scalar> {
    let core = t.core(py);
    if core.numel() != 1 {
        return Err(runtime(format!(
            "a Tensor with {} elements cannot be converted to Scalar",
            core.numel()
        )));
    }
    first(py, &core)
}

/// The first element; the wait for another device is the other threads' time.
pub fn first(py: Python<'_>, core: &Core) -> PyResult<Scalar> {
    graph::active::check_reading(py, "item")?;
    match core.device() {
        Device::Cpu => Ok(cpu::item(core)),
        Device::Gpu => py.detach(|| gpu::item(core)).map_err(to_python),
        Device::Meta => Err(runtime("Tensor.item() cannot be called on meta tensors")),
    }
}

/// The tensor's values on the CPU.
fn on_host(py: Python<'_>, core: &Core) -> PyResult<Core> {
    match core.device() {
        Device::Cpu => Ok(core.clone()),
        _ => py.detach(|| gpu::to_host(core)).map_err(to_python),
    }
}

/// `float()` and `int()` take tensors of one element.
fn one_element(t: &Bound<'_, Tensor>) -> PyResult<()> {
    match Tensor::numel(t) {
        1 => Ok(()),
        _ => Err(PyValueError::new_err(
            "only one element tensors can be converted to Python scalars",
        )),
    }
}

pub fn on_cpu(core: &Core, what: &str) -> PyResult<()> {
    if core.device() == Device::Cpu {
        return Ok(());
    }
    Err(runtime(format!(
        "Tensor.{what}() cannot be called on {} tensors",
        core.device().name()
    )))
}

macro_rules! op {
    ($name:ident, $key:literal) => {
        static $name: Common = Common::new($key);
    };
}
op!(ADD, "add");
op!(SUB, "sub");
op!(MUL, "mul");
op!(DIV, "div");
op!(FLOOR_DIVIDE, "floor_divide");
op!(REMAINDER, "remainder");
op!(RREMAINDER, "remainder.scalar");
op!(POW, "pow");
op!(RPOW, "pow.scalar");
op!(MATMUL, "matmul");
op!(AND, "bitwise_and");
op!(OR, "bitwise_or");
op!(XOR, "bitwise_xor");
op!(SHL, "bitwise_left_shift");
op!(SHR, "bitwise_right_shift");
op!(RSHL, "bitwise_left_shift.scalar");
op!(RSHR, "bitwise_right_shift.scalar");
op!(EQ, "eq");
op!(NE, "ne");
op!(LT, "lt");
op!(LE, "le");
op!(GT, "gt");
op!(GE, "ge");
op!(NEG, "neg");
op!(ABS, "abs");
op!(NOT, "bitwise_not");
op!(SELECT, "select");

type Object = Py<PyAny>;

#[pymethods]
impl Tensor {
    #[new]
    #[pyo3(signature = (*args, **kwargs))]
    fn py_new(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Tensor> {
        if let Some(core) = HANDOVER.with(|h| h.borrow_mut().take()) {
            return Ok(Tensor::new(core));
        }
        if kwargs.is_some_and(|k| !k.is_empty() && !k.contains("device").unwrap_or(false)) {
            return Err(type_error("new() received an invalid combination of arguments"));
        }
        Ok(Tensor::new(legacy_new(args, firesteel::ops::infer::default_dtype())?))
    }

    #[staticmethod]
    #[pyo3(signature = (class, data, require_grad = false))]
    fn _make_subclass<'py>(
        class: &Bound<'py, PyType>,
        data: &Bound<'py, Tensor>,
        require_grad: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = class.py();
        let core = data.get().core(py);
        if require_grad {
            record::can_require_grad(core.dtype)?;
        }
        HANDOVER.with(|h| *h.borrow_mut() = Some(core));
        let made = py.get_type::<Tensor>().getattr(intern!(py, "__new__"))?.call1((class,));
        HANDOVER.with(|h| h.borrow_mut().take());
        let made = made?;
        if let Ok(t) = made.cast::<Tensor>() {
            t.get().state_mut(py, |s| s.requires_grad = require_grad);
        }
        Ok(made)
    }

    // ---- what it is -----------------------------------------------------------------------------------------------

    #[getter]
    fn shape<'py>(slf: &Bound<'py, Self>) -> PyResult<Object> {
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

    #[pyo3(signature = (dim = None))]
    fn size(slf: &Bound<'_, Self>, dim: Option<i64>) -> PyResult<Object> {
        let py = slf.py();
        match dim {
            None => Tensor::shape(slf),
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

    #[pyo3(signature = (dim = None))]
    fn stride(slf: &Bound<'_, Self>, dim: Option<i64>) -> PyResult<Object> {
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

    #[getter]
    fn dtype(slf: &Bound<'_, Self>) -> Object {
        let py = slf.py();
        dtype_object(py, slf.get().with(py, |s| s.core.dtype)).into_any()
    }

    #[getter]
    fn device(slf: &Bound<'_, Self>) -> PyDevice {
        PyDevice::of(slf.get().with(slf.py(), |s| s.core.device()))
    }

    #[getter]
    fn ndim(slf: &Bound<'_, Self>) -> usize {
        slf.get().with(slf.py(), |s| s.core.rank())
    }

    fn dim(slf: &Bound<'_, Self>) -> usize {
        Tensor::ndim(slf)
    }

    fn numel(slf: &Bound<'_, Self>) -> usize {
        slf.get().with(slf.py(), |s| s.core.numel())
    }

    fn nelement(slf: &Bound<'_, Self>) -> usize {
        Tensor::numel(slf)
    }

    fn element_size(slf: &Bound<'_, Self>) -> usize {
        slf.get().with(slf.py(), |s| s.core.dtype.size())
    }

    #[getter]
    fn itemsize(slf: &Bound<'_, Self>) -> usize {
        Tensor::element_size(slf)
    }

    #[getter]
    fn nbytes(slf: &Bound<'_, Self>) -> usize {
        Tensor::numel(slf) * Tensor::element_size(slf)
    }

    fn storage_offset(slf: &Bound<'_, Self>) -> usize {
        slf.get().with(slf.py(), |s| s.core.layout.offset)
    }

    /// Address of the first element; 0 for an empty tensor.
    fn data_ptr(slf: &Bound<'_, Self>) -> usize {
        slf.get().with(slf.py(), |s| match s.core.numel() {
            0 => 0,
            _ => s.core.buffer.ptr() as usize + s.core.layout.offset * s.core.dtype.size(),
        })
    }

    /// (address, bytes) of the whole buffer, which views share.
    fn _storage(slf: &Bound<'_, Self>) -> (usize, usize) {
        slf.get()
            .with(slf.py(), |s| (s.core.buffer.ptr() as usize, s.core.buffer.bytes()))
    }

    #[pyo3(signature = (memory_format = None))]
    fn is_contiguous(slf: &Bound<'_, Self>, memory_format: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
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

    fn is_floating_point(slf: &Bound<'_, Self>) -> bool {
        slf.get().with(slf.py(), |s| s.core.dtype.is_float())
    }

    fn is_complex(_slf: &Bound<'_, Self>) -> bool {
        false
    }

    fn is_signed(slf: &Bound<'_, Self>) -> bool {
        slf.get().with(slf.py(), |s| s.core.dtype.is_signed())
    }

    #[getter]
    fn _version(slf: &Bound<'_, Self>) -> PyResult<u32> {
        if slf.get().with(slf.py(), |s| s.is_inference) {
            return Err(runtime("Inference tensors do not track version counter."));
        }
        Ok(slf.get().with(slf.py(), |s| s.core.version().get()))
    }

    /// Counts an outside write (an op of one's own through `data_ptr`).
    fn _bump_version(slf: &Bound<'_, Self>) {
        slf.get().with(slf.py(), |s| s.core.version().bump(u32::MAX - 1));
    }

    // ---- autograd -------------------------------------------------------------------------------------------------

    #[getter]
    fn requires_grad(slf: &Bound<'_, Self>) -> PyResult<bool> {
        record::wants_grad(slf)
    }

    #[setter]
    fn set_requires_grad(slf: &Bound<'_, Self>, on: &Bound<'_, PyAny>) -> PyResult<()> {
        match on.extract::<bool>() {
            Ok(on) => Tensor::want_grad(slf, on),
            Err(_) => Err(runtime("requires_grad must be a bool")),
        }
    }

    #[pyo3(signature = (requires_grad = true))]
    fn requires_grad_<'py>(slf: &Bound<'py, Self>, requires_grad: bool) -> PyResult<Bound<'py, Self>> {
        Tensor::want_grad(slf, requires_grad)?;
        Ok(slf.clone())
    }

    #[getter]
    fn is_leaf(slf: &Bound<'_, Self>) -> PyResult<bool> {
        record::refresh(slf)?;
        Ok(slf.get().with(slf.py(), |s| s.edge.is_none()))
    }

    #[getter]
    fn grad_fn(slf: &Bound<'_, Self>) -> PyResult<Option<Py<Node>>> {
        let py = slf.py();
        record::refresh(slf)?;
        Ok(slf.get().with(py, |s| match &s.edge {
            Edge::Node(n, _) => Some(n.clone_ref(py)),
            _ => None,
        }))
    }

    /// (node, output index), (leaf, -1) or None: where the gradient of this tensor goes.
    fn _edge(slf: &Bound<'_, Self>) -> PyResult<Option<(Object, i64)>> {
        Ok(match record::edge_of(slf)? {
            Edge::Node(n, i) => Some((n.into_any(), i as i64)),
            Edge::Leaf(t) => Some((t.into_any(), -1)),
            Edge::None => None,
        })
    }

    #[getter]
    fn output_nr(slf: &Bound<'_, Self>) -> u32 {
        slf.get().with(slf.py(), |s| match &s.edge {
            Edge::Node(_, i) => *i,
            _ => 0,
        })
    }

    #[getter]
    pub fn grad(slf: &Bound<'_, Self>) -> PyResult<Option<Py<Tensor>>> {
        let py = slf.py();
        if mode().recording {
            graph::active::note_leaf(slf)?;
        }
        Ok(slf.get().with(py, |s| s.grad.as_ref().map(|g| g.clone_ref(py))))
    }

    #[setter]
    fn set_grad(slf: &Bound<'_, Self>, value: Option<Bound<'_, PyAny>>) -> PyResult<()> {
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

    #[deleter]
    fn delete_grad(slf: &Bound<'_, Self>) -> PyResult<()> {
        Tensor::set_grad(slf, None)
    }

    #[getter]
    fn retains_grad(slf: &Bound<'_, Self>) -> bool {
        slf.get().with(slf.py(), |s| s.retains_grad)
    }

    fn _set_retains_grad(slf: &Bound<'_, Self>, on: bool) {
        slf.get().state_mut(slf.py(), |s| s.retains_grad = on);
    }

    /// Hooks of a leaf, made when first asked for.
    #[pyo3(signature = (make = true))]
    fn _leaf_hooks(slf: &Bound<'_, Self>, make: bool) -> Option<Py<PyDict>> {
        let py = slf.py();
        if let Some(h) = slf.get().with(py, |s| s.hooks.as_ref().map(|h| h.clone_ref(py))) {
            return Some(h);
        }
        if !make {
            return None;
        }
        let fresh = PyDict::new(py).unbind();
        let keep = fresh.clone_ref(py);
        slf.get().state_mut(py, |s| s.hooks = Some(keep));
        Some(fresh)
    }

    /// The gradient `g` added to `.grad`: taken over when nothing else holds its memory, else copied; later ones in place.
    /// `holders`: references to `g` that the caller, its callers and the call itself have.
    #[pyo3(signature = (g, create_graph = false, holders = 3))]
    fn _accumulate(slf: &Bound<'_, Self>, g: &Bound<'_, Tensor>, create_graph: bool, holders: isize) -> PyResult<()> {
        let py = slf.py();
        let old = Tensor::grad(slf)?;
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

    #[getter]
    fn get_data<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Tensor>> {
        let py = slf.py();
        Tensor::alias(slf, slf.get().core(py).unversioned())
    }

    #[setter]
    fn set_data(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<()> {
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

    /// The same memory, outside the graph.
    fn detach<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Tensor>> {
        let py = slf.py();
        Tensor::alias(slf, slf.get().core(py))
    }

    fn detach_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Tensor>> {
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

    fn _is_view(slf: &Bound<'_, Self>) -> bool {
        slf.get().with(slf.py(), |s| s.view.is_some())
    }

    #[getter]
    fn _base(slf: &Bound<'_, Self>) -> Option<Py<Tensor>> {
        let py = slf.py();
        slf.get().with(py, |s| s.view.as_ref().map(|v| v.base.clone_ref(py)))
    }

    fn is_inference(slf: &Bound<'_, Self>) -> bool {
        slf.get().with(slf.py(), |s| s.is_inference)
    }

    /// Shape and strides of another tensor, in place (`t_`, `squeeze_`, `resize_`): only outside the graph.
    fn _become<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, Tensor>) -> PyResult<Bound<'py, Tensor>> {
        let py = slf.py();
        let core = other.get().core(py);
        let (edge, view, generation) = {
            let edge = record::edge_of(other)?;
            let (view, generation) = other.get().with(py, |s| {
                (
                    s.view.as_ref().map(|v| ViewOf {
                        base: v.base.clone_ref(py),
                        chain: v.chain.clone(),
                        generation: v.generation,
                        forbidden: v.forbidden,
                    }),
                    s.generation,
                )
            });
            (edge, view, generation)
        };
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

    // ---- values out -----------------------------------------------------------------------------------------------

    fn item(slf: &Bound<'_, Self>) -> PyResult<Object> {
        let py = slf.py();
        Ok(convert::scalar_object(py, only(slf.get(), py)?))
    }

    fn tolist(slf: &Bound<'_, Self>) -> PyResult<Object> {
        let py = slf.py();
        let core = slf.get().core(py);
        if core.device() == Device::Meta {
            return on_cpu(&core, "tolist").map(|()| py.None());
        }
        graph::active::check_reading(py, "tolist")?;
        convert::to_list(py, &on_host(py, &core)?)
    }

    /// The memory as an object with `__array_interface__`.
    fn _memory(slf: &Bound<'_, Self>) -> PyResult<convert::Memory> {
        let core = slf.get().core(slf.py());
        on_cpu(&core, "numpy")?;
        graph::active::check_reading(slf.py(), "numpy")?;
        if core.dtype == DType::BF16 {
            return Err(PyTypeError::new_err("Got unsupported ScalarType BFloat16"));
        }
        Ok(convert::Memory::new(core))
    }

    fn __float__(slf: &Bound<'_, Self>) -> PyResult<f64> {
        one_element(slf)?;
        Ok(only(slf.get(), slf.py())?.to_f64())
    }

    fn __int__(slf: &Bound<'_, Self>) -> PyResult<Object> {
        let py = slf.py();
        one_element(slf)?;
        match only(slf.get(), py)? {
            Scalar::Float(v) => Ok(v.into_pyobject(py)?.call_method0("__int__")?.unbind()),
            s => Ok(s.to_i64().into_pyobject(py)?.into_any().unbind()),
        }
    }

    fn __index__(slf: &Bound<'_, Self>) -> PyResult<i64> {
        let py = slf.py();
        let core = slf.get().core(py);
        if core.numel() != 1 || core.dtype.is_float() {
            return Err(PyTypeError::new_err(
                "only integer tensors of a single element can be converted to an index",
            ));
        }
        Ok(only(slf.get(), py)?.to_i64())
    }

    fn __bool__(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let py = slf.py();
        let core = slf.get().core(py);
        match core.numel() {
            1 => Ok(only(slf.get(), py)?.to_f64() != 0.0),
            0 => Err(runtime("Boolean value of Tensor with no values is ambiguous")),
            _ => Err(runtime("Boolean value of Tensor with more than one value is ambiguous")),
        }
    }

    fn __len__(slf: &Bound<'_, Self>) -> PyResult<usize> {
        let shape = slf.get().with(slf.py(), |s| s.core.layout.shape);
        shape
            .first()
            .copied()
            .ok_or_else(|| PyTypeError::new_err("len() of a 0-d tensor"))
    }

    fn __hash__(slf: &Bound<'_, Self>) -> isize {
        (slf.as_ptr() as isize) >> 4
    }

    fn __iter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Object> {
        let py = slf.py();
        let shape = slf.get().with(py, |s| s.core.layout.shape);
        if shape.is_empty() {
            return Err(PyTypeError::new_err("iteration over a 0-d tensor"));
        }
        let mut items = Vec::with_capacity(shape[0]);
        for i in 0..shape[0] {
            items.push(index::select(slf, &SELECT, i as i64)?);
        }
        Ok(PyTuple::new(py, items)?.try_iter()?.into_any().unbind())
    }

    fn __getitem__<'py>(slf: &Bound<'py, Self>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        guarded("getitem", || index::get(slf, key, &SELECT))
    }

    fn __setitem__(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        guarded("setitem", || index::set(slf, key, value, &SELECT))
    }

    fn __delitem__(_slf: &Bound<'_, Self>, _key: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(PyTypeError::new_err("Tensor does not support deleting items"))
    }

    // ---- operators ------------------------------------------------------------------------------------------------

    fn __add__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&ADD, slf, o, false)
    }
    fn __radd__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&ADD, slf, o, false)
    }
    fn __iadd__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<()> {
        operator_inplace(&ADD, slf, o)
    }
    fn __sub__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&SUB, slf, o, false)
    }
    fn __rsub__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&SUB, slf, o, true)
    }
    fn __isub__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<()> {
        operator_inplace(&SUB, slf, o)
    }
    fn __mul__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&MUL, slf, o, false)
    }
    fn __rmul__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&MUL, slf, o, false)
    }
    fn __imul__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<()> {
        operator_inplace(&MUL, slf, o)
    }
    fn __truediv__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&DIV, slf, o, false)
    }
    fn __rtruediv__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&DIV, slf, o, true)
    }
    fn __itruediv__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<()> {
        operator_inplace(&DIV, slf, o)
    }
    fn __floordiv__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&FLOOR_DIVIDE, slf, o, false)
    }
    fn __rfloordiv__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&FLOOR_DIVIDE, slf, o, true)
    }
    fn __ifloordiv__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<()> {
        operator_inplace(&FLOOR_DIVIDE, slf, o)
    }
    fn __mod__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&REMAINDER, slf, o, false)
    }
    fn __rmod__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&RREMAINDER, slf, o, true)
    }
    fn __imod__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<()> {
        operator_inplace(&REMAINDER, slf, o)
    }
    fn __pow__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>, _modulo: Option<&Bound<'_, PyAny>>) -> PyResult<Object> {
        operator(&POW, slf, o, false)
    }
    fn __rpow__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>, _modulo: Option<&Bound<'_, PyAny>>) -> PyResult<Object> {
        operator(&RPOW, slf, o, true)
    }
    fn __ipow__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>, _modulo: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        operator_inplace(&POW, slf, o)
    }
    fn __matmul__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        if o.cast::<Tensor>().is_err() {
            return Ok(o.py().NotImplemented());
        }
        operator(&MATMUL, slf, o, false)
    }
    fn __rmatmul__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        if o.cast::<Tensor>().is_err() {
            return Ok(o.py().NotImplemented());
        }
        operator(&MATMUL, slf, o, true)
    }
    fn __and__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&AND, slf, o, false)
    }
    fn __rand__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&AND, slf, o, false)
    }
    fn __iand__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<()> {
        operator_inplace(&AND, slf, o)
    }
    fn __or__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&OR, slf, o, false)
    }
    fn __ror__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&OR, slf, o, false)
    }
    fn __ior__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<()> {
        operator_inplace(&OR, slf, o)
    }
    fn __xor__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&XOR, slf, o, false)
    }
    fn __rxor__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&XOR, slf, o, false)
    }
    fn __ixor__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<()> {
        operator_inplace(&XOR, slf, o)
    }
    fn __lshift__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&SHL, slf, o, false)
    }
    fn __rlshift__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&RSHL, slf, o, true)
    }
    fn __ilshift__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<()> {
        operator_inplace(&SHL, slf, o)
    }
    fn __rshift__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&SHR, slf, o, false)
    }
    fn __rrshift__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&RSHR, slf, o, true)
    }
    fn __irshift__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<()> {
        operator_inplace(&SHR, slf, o)
    }
    fn __eq__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&EQ, slf, o, false)
    }
    fn __ne__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&NE, slf, o, false)
    }
    fn __lt__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&LT, slf, o, false)
    }
    fn __le__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&LE, slf, o, false)
    }
    fn __gt__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&GT, slf, o, false)
    }
    fn __ge__(slf: &Bound<'_, Self>, o: &Bound<'_, PyAny>) -> PyResult<Object> {
        operator(&GE, slf, o, false)
    }
    fn __neg__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Tensor>> {
        unary(&NEG, slf)
    }
    fn __pos__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Tensor> {
        slf.clone()
    }
    fn __abs__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Tensor>> {
        unary(&ABS, slf)
    }
    fn __invert__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Tensor>> {
        if slf.get().with(slf.py(), |s| s.core.dtype.is_float()) {
            return Err(type_error(
                "~ (operator.invert) is only implemented on integer and Boolean-type tensors",
            ));
        }
        unary(&NOT, slf)
    }

    // ---- attributes of the program's own --------------------------------------------------------------------------

    /// The program's own attributes, if there are any.
    fn _attributes(slf: &Bound<'_, Self>) -> Option<Py<PyDict>> {
        let py = slf.py();
        slf.get().with(py, |s| s.attributes.as_ref().map(|d| d.clone_ref(py)))
    }

    fn __setattr__(slf: &Bound<'_, Self>, name: &Bound<'_, PyString>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        match call::generic_setattr(slf.as_any(), name, Some(value)) {
            Err(e) if Tensor::is_free(slf, name, &e) => Tensor::__dict__(slf)?.bind(slf.py()).set_item(name, value),
            other => other,
        }
    }

    fn __delattr__(slf: &Bound<'_, Self>, name: &Bound<'_, PyString>) -> PyResult<()> {
        match call::generic_setattr(slf.as_any(), name, None) {
            Err(e) if Tensor::is_free(slf, name, &e) => {
                let own = Tensor::__dict__(slf)?;
                own.bind(slf.py()).del_item(name).map_err(|_| e)
            }
            other => other,
        }
    }

    #[getter]
    fn __dict__(slf: &Bound<'_, Self>) -> PyResult<Py<PyDict>> {
        let py = slf.py();
        if let Some(own) = Tensor::_attributes(slf) {
            return Ok(own);
        }
        // The class looks for own attributes from now on: programs that set none do not pay for the search.
        static SEARCH: PyOnceLock<()> = PyOnceLock::new();
        SEARCH.get_or_try_init(py, || {
            let search = py.import("firesteel.tensor")?.getattr("_own_attribute")?;
            py.get_type::<Tensor>().setattr("__getattr__", search)
        })?;
        let fresh = PyDict::new(py).unbind();
        let keep = fresh.clone_ref(py);
        slf.get().state_mut(py, |s| s.attributes = Some(keep));
        Ok(fresh)
    }

    // ---- the collector --------------------------------------------------------------------------------------------

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let s = self.cell.gc();
        match &s.edge {
            Edge::None => {}
            Edge::Node(n, _) => visit.call(n)?,
            Edge::Leaf(t) => visit.call(t)?,
        }
        visit.call(&s.grad)?;
        if let Some(v) = &s.view {
            visit.call(&v.base)?;
        }
        visit.call(&s.attributes)?;
        visit.call(&s.hooks)
    }

    fn __clear__(&self) {
        let _ = Python::try_attach(|py| {
            let old = self.state_mut(py, |s| {
                (
                    std::mem::replace(&mut s.edge, Edge::None),
                    s.grad.take(),
                    s.view.take(),
                    (s.hooks.take(), s.attributes.take()),
                )
            });
            drop(old);
        });
    }
}
