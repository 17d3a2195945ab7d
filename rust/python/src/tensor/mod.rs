//! The tensor class: what Python sees of a core, with its place in the autograd graph. Here is its state; `class.rs` is the
//! list of its methods.

use crate::cell::GilCell;
use crate::mode::mode;
use crate::node::Edge;
use firesteel::device::Device;
use firesteel::dtype::DType;
use firesteel::layout::Dims;
use firesteel::ops::Op;
use firesteel::shared::Shared;
use firesteel::{Args, Core};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use smallvec::SmallVec;

mod attributes;
mod class;
mod facts;
mod gradient;
mod records;
mod values;

pub use values::{first, on_cpu};

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
    /// The shape of its only output.
    pub only: SmallVec<[Dims; 1]>,
    /// The shapes of several, shared by the links of all of them.
    pub several: Option<Shared<Vec<Dims>>>,
    /// Which output is meant.
    pub output: u32,
}

impl Link {
    /// Shapes of all outputs of the op.
    pub fn outputs(&self) -> &[Dims] {
        self.several.as_ref().map_or(&self.only[..], |all| all)
    }
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
    #[allow(unsafe_code)] // as the contract says
    pub unsafe fn lend(&self, py: Python<'_>) -> Core {
        // SAFETY: reading a valid core; the caller keeps to the contract.
        self.cell.with(py, |s| unsafe { std::ptr::read(&s.core) })
    }

    /// Another core for the same tensor.
    pub fn set_core(&self, py: Python<'_>, core: Core) {
        let old = self.state_mut(py, |s| (std::mem::replace(&mut s.core, core), s.size.take()));
        drop(old);
    }

    /// Wants a gradient, as far as can be told without looking at a view's base.
    pub fn requires_grad_now(&self, py: Python<'_>) -> bool {
        self.with(py, |s| s.requires_grad || !s.edge.is_none())
    }
}
