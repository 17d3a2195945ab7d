//! The class in Python: every slot and method that is not an op, each a line that says where its work is done. (One block,
//! because PyO3 takes more than one only with a registry that is filled before `main`.)

use super::records::*;
use super::{Tensor, attributes, facts, gradient, values};
use crate::call::{operator, operator_inplace, unary};
use crate::construct::legacy_new;
use crate::error::{guarded, runtime, type_error};
use crate::foreign::Memory;
use crate::index;
use crate::node::{Edge, Node};
use crate::record;
use crate::types::{PyDevice, dtype_object};
use firesteel::Core;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use std::cell::RefCell;

type Object = Py<PyAny>;

thread_local! {
    /// The core that the next `Tensor.__new__` takes over (see `_make_subclass`).
    static HANDOVER: RefCell<Option<Core>> = const { RefCell::new(None) };
}

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
        facts::shape(slf)
    }

    #[pyo3(signature = (dim = None))]
    fn size(slf: &Bound<'_, Self>, dim: Option<i64>) -> PyResult<Object> {
        facts::size(slf, dim)
    }

    #[pyo3(signature = (dim = None))]
    fn stride(slf: &Bound<'_, Self>, dim: Option<i64>) -> PyResult<Object> {
        facts::stride(slf, dim)
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
        facts::data_ptr(slf)
    }

    /// (address, bytes) of the whole buffer, which views share.
    fn _storage(slf: &Bound<'_, Self>) -> (usize, usize) {
        slf.get()
            .with(slf.py(), |s| (s.core.buffer.ptr() as usize, s.core.buffer.bytes()))
    }

    #[pyo3(signature = (memory_format = None))]
    fn is_contiguous(slf: &Bound<'_, Self>, memory_format: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        facts::is_contiguous(slf, memory_format)
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

    /// Whether `grad` can be the gradient of this tensor as it is: a tensor of its shape and dtype, where one is wanted; or
    /// none for one number.
    fn _takes(slf: &Bound<'_, Self>, grad: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = slf.py();
        let fits = match grad.cast::<Tensor>() {
            Ok(grad) => {
                let given = grad.get().core(py);
                slf.get()
                    .with(py, |s| *s.core.shape() == *given.shape() && s.core.dtype == given.dtype)
            }
            Err(_) => grad.is_none() && slf.get().with(py, |s| s.core.numel() == 1),
        };
        Ok(fits && record::wants_grad(slf)?)
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
        gradient::grad(slf)
    }

    #[setter]
    fn set_grad(slf: &Bound<'_, Self>, value: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        gradient::set_grad(slf, value)
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
        gradient::accumulate(slf, g, create_graph, holders)
    }

    #[getter]
    fn get_data<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Tensor>> {
        let py = slf.py();
        Tensor::alias(slf, slf.get().core(py).unversioned())
    }

    #[setter]
    fn set_data(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        gradient::set_data(slf, value)
    }

    /// The same memory, outside the graph.
    fn detach<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Tensor>> {
        let py = slf.py();
        Tensor::alias(slf, slf.get().core(py))
    }

    fn detach_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Tensor>> {
        gradient::detach_(slf)
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
        gradient::take_place(slf, other)
    }

    // ---- values out -----------------------------------------------------------------------------------------------

    fn item(slf: &Bound<'_, Self>) -> PyResult<Object> {
        values::item(slf)
    }

    fn tolist(slf: &Bound<'_, Self>) -> PyResult<Object> {
        values::tolist(slf)
    }

    /// The memory as an object with `__array_interface__`.
    fn _memory(slf: &Bound<'_, Self>) -> PyResult<Memory> {
        values::memory(slf)
    }

    fn __float__(slf: &Bound<'_, Self>) -> PyResult<f64> {
        values::float(slf)
    }

    fn __int__(slf: &Bound<'_, Self>) -> PyResult<Object> {
        values::int(slf)
    }

    fn __index__(slf: &Bound<'_, Self>) -> PyResult<i64> {
        values::index(slf)
    }

    fn __bool__(slf: &Bound<'_, Self>) -> PyResult<bool> {
        values::truth(slf)
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
        attributes::existing(slf)
    }

    fn __setattr__(slf: &Bound<'_, Self>, name: &Bound<'_, PyString>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        attributes::set(slf, name, value)
    }

    fn __delattr__(slf: &Bound<'_, Self>, name: &Bound<'_, PyString>) -> PyResult<()> {
        attributes::delete(slf, name)
    }

    #[getter]
    fn __dict__(slf: &Bound<'_, Self>) -> PyResult<Py<PyDict>> {
        attributes::dict(slf)
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
