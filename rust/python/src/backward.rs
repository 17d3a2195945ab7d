//! One step of the backward pass: a node's derivative, from its row.

use crate::call::{self, Tensors};
use crate::error::runtime;
use crate::node::{Edge, Node};
use crate::record::replay;
use crate::rows::row;
use crate::tensor::Tensor;
use firesteel::dtype::DType;
use firesteel::layout::{Dims, Layout};
use firesteel::ops::{self, Op, Ty};
use firesteel::{Arg, Args, Core, Device};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use smallvec::{SmallVec, smallvec};

/// See [`Node::_step`].
pub fn step<'py>(node: &Bound<'py, Node>, grad: &Bound<'py, PyAny>, hooked: bool) -> PyResult<Bound<'py, PyList>> {
    let py = node.py();
    let this = node.get();
    let (tensor_hooks, pre_hooks, hooks, python, copies) = this.state(py, |s| {
        (
            s.tensor_hooks.as_ref().map(|h| h.clone_ref(py)),
            s.pre_hooks.as_ref().map(|h| h.clone_ref(py)),
            s.hooks.as_ref().map(|h| h.clone_ref(py)),
            s.python.as_ref().map(|h| h.clone_ref(py)),
            s.copy.is_some(),
        )
    });
    let mut grad = grad.clone();
    if let Some(table) = tensor_hooks.as_ref().filter(|_| !hooked) {
        grad = run_tensor_hooks(table.bind(py), grad)?;
    }
    if let Some(table) = &pre_hooks {
        grad = helper(py, "run_pre_hooks")?.call1((table, grad))?;
    }
    let grads: SmallVec<[Option<Bound<'py, PyAny>>; 3]> = if let Some(ctx) = python {
        let list = ctx.bind(py).call_method1("_backward", (node, &grad))?;
        list.cast::<PyTuple>()?
            .iter()
            .map(|g| (!g.is_none()).then_some(g))
            .collect()
    } else if copies {
        copy_slices(node, &grad)?
    } else {
        // The node of a Function has no op; the collector may have taken its context.
        let op = this
            .op
            .ok_or_else(|| runtime("the derivative of this node was given up: its Function is gone"))?;
        derive(node, op, &grad)?
    };
    let out = PyList::empty(py);
    let edges: SmallVec<[(Edge, Dims, (DType, Device)); 3]> = this.state(py, |s| {
        s.inputs
            .iter()
            .map(|i| (i.edge.clone_ref(py), i.shape, (i.dtype, i.device)))
            .collect()
    });
    let mut fitted: SmallVec<[Option<Bound<'py, PyAny>>; 3]> = SmallVec::new();
    for (k, g) in grads.into_iter().enumerate() {
        fitted.push(match (g, edges.get(k)) {
            (Some(g), Some((edge, shape, (dtype, device)))) if !edge.is_none() => {
                let shape = match (k, copies) {
                    (0, true) => this.state(py, |s| s.copy.as_ref().map_or(*shape, |c| c.base.shape)),
                    _ => *shape,
                };
                let g = fit(g, &shape, *dtype, || this.title(py))?;
                Some(bring(g, *device, this.op)?)
            }
            _ => None,
        });
    }
    if let Some(table) = &hooks {
        let given = PyTuple::new(py, fitted.iter().cloned())?;
        let made = helper(py, "run_post_hooks")?.call1((table, given, grad))?;
        fitted = made
            .cast::<PyTuple>()?
            .iter()
            .map(|g| (!g.is_none()).then_some(g))
            .collect();
    }
    for (g, (edge, _, _)) in fitted.into_iter().zip(edges) {
        let Some(g) = g else { continue };
        match edge {
            Edge::Node(n, i) => {
                let target = n.get();
                let slot = if target.state(py, |s| s.outputs.len()) == 1 {
                    0
                } else {
                    i as i64 + 1
                };
                let key = -(target.seq as i64);
                out.append((n, slot, key, g))?;
            }
            Edge::Leaf(t) => out.append((t, -1, 0, g))?,
            Edge::None => {}
        }
    }
    Ok(out)
}

fn helper<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("firesteel.autograd.graph")?.getattr(name)
}

/// Hooks on the tensors that the node made; `grad` is one gradient or a list of them.
fn run_tensor_hooks<'py>(table: &Bound<'py, PyDict>, grad: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if table.is_empty() {
        return Ok(grad);
    }
    helper(table.py(), "run_tensor_hooks")?.call1((table, grad))
}

/// Gradients of the op's tensor arguments, by its row.
fn derive<'py>(
    node: &Bound<'py, Node>,
    op: &'static Op,
    grad: &Bound<'py, PyAny>,
) -> PyResult<SmallVec<[Option<Bound<'py, PyAny>>; 3]>> {
    let py = node.py();
    let Some(row) = row(py, op) else {
        return Err(runtime(format!("derivative for {} is not implemented", op.key)));
    };
    let inputs: SmallVec<[(u8, bool); 4]> = node
        .get()
        .state(py, |s| s.inputs.iter().map(|i| (i.param, !i.edge.is_none())).collect());
    let mut out: SmallVec<[Option<Bound<'py, PyAny>>; 3]> = smallvec![None; inputs.len()];
    if let Some(composite) = &row.composite
        && (crate::mode::mode().grad || row.all.is_none() && row.each.iter().all(Option::is_none))
    {
        let list = helper(py, "differentiate_composite")?.call1((node, composite, grad))?;
        for (k, g) in list.cast::<PyList>()?.iter().enumerate().take(inputs.len()) {
            out[k] = (!g.is_none()).then_some(g);
        }
        return Ok(out);
    }
    if let Some(all) = &row.all {
        // One gradient per tensor parameter, in their order.
        let made = all.bind(py).call1((node, grad))?;
        let made = made
            .cast::<PyTuple>()
            .map_err(|_| runtime(format!("the row of {} must return a tuple", op.key)))?;
        let params = (0..op.params.len()).filter(|&p| is_tensor(op.params[p].ty));
        for (p, g) in params.zip(made.iter()) {
            place(&inputs, p, g, &mut out)?;
        }
        return Ok(out);
    }
    for (p, f) in row.each.iter().enumerate() {
        let Some(f) = f else { continue };
        if inputs.iter().any(|&(param, needs)| needs && param as usize == p) {
            let g = f.bind(py).call1((node, grad))?;
            place(&inputs, p, g, &mut out)?;
        }
    }
    Ok(out)
}

fn is_tensor(ty: Ty) -> bool {
    matches!(ty, Ty::Tensor | Ty::Operand | Ty::Tensors | Ty::OptTensors)
}

/// Puts the gradient (or, for a list parameter, the gradients) of parameter `p` at its inputs.
fn place<'py>(
    inputs: &[(u8, bool)],
    p: usize,
    g: Bound<'py, PyAny>,
    out: &mut SmallVec<[Option<Bound<'py, PyAny>>; 3]>,
) -> PyResult<()> {
    if g.is_none() {
        return Ok(());
    }
    let mut at = (0..inputs.len()).filter(|&k| inputs[k].0 as usize == p);
    if g.cast::<Tensor>().is_ok() {
        if let Some(k) = at.next() {
            out[k] = Some(g);
        }
        return Ok(());
    }
    for (k, g) in at.zip(g.try_iter()?) {
        let g = g?;
        out[k] = (!g.is_none()).then_some(g);
    }
    Ok(())
}

/// A gradient in the shape and dtype of the input it belongs to: broadcast dims are summed away.
pub fn fit<'py>(
    g: Bound<'py, PyAny>,
    shape: &Dims,
    dtype: DType,
    who: impl Fn() -> String,
) -> PyResult<Bound<'py, PyAny>> {
    let py = g.py();
    let t = g.cast::<Tensor>().map_err(|_| {
        runtime(format!(
            "{} returned {} instead of a gradient tensor",
            who(),
            g.get_type()
        ))
    })?;
    let (have, kind) = t.get().with(py, |s| (*s.core.shape(), s.core.dtype));
    if have == *shape && kind == dtype {
        return Ok(g);
    }
    let mut out = t.clone();
    if have != *shape {
        if !firesteel::layout::expands_to(shape, &have) {
            return Err(runtime(format!(
                "Function {} returned an invalid gradient - got {have} but expected shape compatible with {shape}",
                who()
            )));
        }
        out = one(
            py,
            "_sum_to",
            &out,
            Arg::Ints(shape.iter().map(|&n| n as i64).collect()),
        )?;
    }
    if kind != dtype {
        out = one(py, "_to_copy", &out, Arg::Dtype(dtype))?;
    }
    Ok(out.into_any())
}

/// A gradient on the device of the input it belongs to: that of a 0-d tensor of the CPU that went along, or of a copy
/// between devices.
fn bring<'py>(g: Bound<'py, PyAny>, device: Device, op: Option<&'static Op>) -> PyResult<Bound<'py, PyAny>> {
    let py = g.py();
    let t = g.cast::<Tensor>()?;
    let (have, rank) = t.get().with(py, |s| (s.core.device(), s.core.rank()));
    if have == device {
        return Ok(g);
    }
    if rank > 0 && !op.is_some_and(|o| o.across_devices) {
        return Err(runtime(format!(
            "Function returned a gradient on device '{}' for an input on '{}'",
            have.name(),
            device.name()
        )));
    }
    Ok(one(py, "_to_device", t, Arg::Device(device))?.into_any())
}

/// An op of a tensor and one more argument.
pub fn one<'py>(py: Python<'py>, key: &str, t: &Bound<'py, Tensor>, arg: Arg) -> PyResult<Bound<'py, Tensor>> {
    let op = ops::get(key).ok_or_else(|| runtime(format!("no op {key}")))?;
    let mut args = Args::default();
    args.items.push(Arg::Tensor(t.get().core(py)));
    args.items.push(arg);
    let defaults = op.params.iter().skip(2).map(call::default_argument);
    args.items.extend(defaults);
    let tensors: Tensors<'py> = smallvec![(0, t.clone())];
    let mut out = call::apply(py, op, &args, &tensors)?;
    Ok(out.remove(0))
}

/// Gradient through an in-place op on a view: the base's gradient with the view's part replaced by the op's.
fn copy_slices<'py>(
    node: &Bound<'py, Node>,
    grad: &Bound<'py, PyAny>,
) -> PyResult<SmallVec<[Option<Bound<'py, PyAny>>; 3]>> {
    let py = node.py();
    let this = node.get();
    let copy = this.state(py, |s| s.copy.as_ref().map(|c| (c.chain.clone(), c.base, c.base_dtype)));
    let (Some(op), Some((chain, base, dtype))) = (this.op, copy) else {
        return Err(runtime("CopySlices stands for an in-place op, which is gone"));
    };
    let grad = grad
        .cast::<Tensor>()
        .map_err(|_| runtime("CopySlices has one gradient"))?;
    // A copy with the base's strides, so that the chain of views applies to it.
    let layout = if base.is_dense() && base.offset == 0 {
        base
    } else {
        Layout::contiguous(base.shape)
    };
    let fresh = Core::empty_with(layout, dtype, grad.get().core(py).device()).map_err(crate::error::to_python)?;
    if crate::mode::mode().recording {
        firesteel::graph::record::blank(&fresh).map_err(crate::error::to_python)?;
    }
    let whole = Bound::new(py, Tensor::new(fresh))?;
    call::inplace(py, "copy", &whole, grad)?;
    let part = replay(&whole, chain.as_ref())?;
    let inner = one(py, "clone", &part, Arg::None)?;
    let mut grads = derive(node, op, inner.as_any())?;
    match grads.first_mut().and_then(Option::take) {
        Some(g) => {
            let (shape, kind) = part.get().with(py, |s| (*s.core.shape(), s.core.dtype));
            let g = fit(g, &shape, kind, || this.title(py))?;
            call::inplace(py, "copy", &part, g.cast::<Tensor>()?)?;
        }
        None => call::inplace_zero(py, &part)?,
    }
    if grads.is_empty() {
        grads.push(None);
    }
    grads[0] = Some(whole.into_any());
    Ok(grads)
}
