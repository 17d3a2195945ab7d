//! Recording: nodes for ops, views of bases, in-place writes.

use crate::bind::{add, push};
use crate::call::{self, Tensors};
use crate::error::{runtime, to_python};
use crate::mode::{self, mode};
use crate::node::{CopySlices, Edge, Input, Node, NodeState, Saved};
use crate::rows::{Row, Save, row};
use crate::tensor::{Link, Tensor, ViewOf};
use firesteel::dispatch;
use firesteel::dtype::DType;
use firesteel::layout::Dims;
use firesteel::ops::Op;
use firesteel::shared::Shared;
use firesteel::{Arg, Args, Core, Device};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use smallvec::{SmallVec, smallvec};

/// Where the gradient of `t` goes. A view whose base was written in place since gets its edge anew.
pub fn edge_of(t: &Bound<'_, Tensor>) -> PyResult<Edge> {
    let py = t.py();
    refresh(t)?;
    let (edge, leaf) = t.get().with(py, |s| (s.edge.clone_ref(py), s.requires_grad));
    Ok(if edge.is_none() && leaf {
        Edge::Leaf(t.clone().unbind())
    } else {
        edge
    })
}

/// Whether ops on `t` are to be recorded.
#[inline]
pub fn wants_grad(t: &Bound<'_, Tensor>) -> PyResult<bool> {
    let py = t.py();
    if t.get().with(py, |s| s.view.is_some()) {
        refresh(t)?;
    }
    Ok(t.get().with(py, |s| s.requires_grad || !s.edge.is_none()))
}

/// Refuses to write, outside inference mode, to a tensor that was made in it.
#[inline]
pub fn check_inference_write(t: &Bound<'_, Tensor>) -> PyResult<()> {
    if t.get().with(t.py(), |s| s.is_inference) && !mode().inference {
        return Err(runtime(
            "Inplace update to inference tensor outside InferenceMode is not allowed. You can make a clone to get a normal \
             tensor before doing inplace update.",
        ));
    }
    Ok(())
}

/// False when nothing among the tensors can have to do with gradients; makes no Python object to find out.
pub fn may_track(py: Python<'_>, tensors: &Tensors<'_>) -> bool {
    let concerned = |t: &Bound<'_, Tensor>| {
        t.get()
            .with(py, |s| s.requires_grad || !s.edge.is_none() || s.view.is_some())
    };
    tensors.iter().any(|(_, t)| concerned(t))
}

/// Brings a view's edge up to date with its base.
pub fn refresh(t: &Bound<'_, Tensor>) -> PyResult<()> {
    let py = t.py();
    let stale = t.get().with(py, |s| match &s.view {
        Some(v) => {
            let now = v.base.get().with(py, |b| b.generation);
            (now != v.generation).then(|| (v.base.clone_ref(py), v.chain.clone(), now))
        }
        None => None,
    });
    let Some((base, chain, now)) = stale else { return Ok(()) };
    let mut edge = edge_of(base.bind(py))?;
    if !edge.is_none() {
        let links = links(chain.as_ref());
        for link in links {
            edge = view_node(py, &link, edge)?;
        }
    }
    let old = t.get().state_mut(py, |s| {
        if let Some(v) = &mut s.view {
            v.generation = now;
        }
        std::mem::replace(&mut s.edge, edge)
    });
    drop(old);
    Ok(())
}

/// The links of a chain, first view first.
fn links(chain: Option<&Shared<Link>>) -> Vec<Shared<Link>> {
    let mut all = Vec::new();
    let mut next = chain;
    while let Some(l) = next {
        all.push(l.clone());
        next = l.prev.as_ref();
    }
    all.reverse();
    all
}

/// A node for a view op that is applied to a tensor with this edge, without running anything.
fn view_node(py: Python<'_>, link: &Link, edge: Edge) -> PyResult<Edge> {
    let mut state = NodeState::new(mode::trace(py)?);
    bare_into(&link.args, &mut state.args);
    state.inputs.push(Input {
        edge,
        shape: link.shape,
        dtype: link.dtype,
        device: link.device,
        param: 0,
    });
    state
        .outputs
        .extend(link.outputs().iter().map(|d| (*d, link.dtype, link.device)));
    Ok(Edge::Node(Py::new(py, Node::new(Some(link.op), state))?, link.output))
}

/// The chain of views applied to another tensor (of the base's shape), recorded like any op.
pub fn replay<'py>(whole: &Bound<'py, Tensor>, chain: Option<&Shared<Link>>) -> PyResult<Bound<'py, Tensor>> {
    let py = whole.py();
    let mut at = whole.clone();
    for link in links(chain) {
        let mut args = link.args.clone();
        args.items[0] = Arg::Tensor(at.get().core(py));
        let tensors: Tensors<'py> = smallvec![(0, at)];
        at = call::apply(py, link.op, &args, &tensors)?.swap_remove(link.output as usize);
    }
    Ok(at)
}

/// Adds arguments without their tensors, as nodes and chains keep them.
fn bare_into(args: &Args, bare: &mut Args) {
    for a in &args.items {
        push(bare, || match a {
            Arg::Tensor(_) | Arg::Tensors(_) => Arg::None,
            // Which entries were given is part of the call.
            Arg::OptTensors(list) => Arg::Ints(list.iter().map(|t| t.is_some() as i64).collect()),
            other => other.clone(),
        });
    }
}

/// Marks outputs as views of the op's first input.
pub fn track_views<'py>(
    py: Python<'py>,
    op: &'static Op,
    args: &Args,
    source: &Bound<'py, Tensor>,
    outs: &[Bound<'py, Tensor>],
) {
    let whole = || source.clone().unbind();
    let shapes = || outs.iter().map(|o| o.get().with(py, |s| *s.core.shape()));
    // One list for all: a list for each would make `unbind` quadratic.
    let several = (outs.len() > 1).then(|| shapes().collect::<Vec<_>>());
    let several = several.map(|all| Shared::new(|| all));
    for (i, o) in outs.iter().enumerate() {
        let view = source.get().with(py, |s| {
            let old = s.view.as_ref();
            let make = || Link {
                prev: old.and_then(|v| v.chain.clone()),
                op,
                args: Args::default(),
                shape: *s.core.shape(),
                dtype: s.core.dtype,
                device: s.core.device(),
                only: SmallVec::new(),
                several: several.clone(),
                output: i as u32,
            };
            let chain = Shared::filled(make, |link| {
                bare_into(args, &mut link.args);
                if several.is_none() {
                    link.only.extend(shapes());
                }
            });
            Box::new(ViewOf {
                base: old.map_or_else(whole, |v| v.base.clone_ref(py)),
                chain: Some(chain),
                generation: old.map_or(s.generation, |v| v.generation),
                forbidden: if op.list {
                    Some(MULTI_VIEW)
                } else if !mode().grad {
                    Some(NO_GRAD_VIEW)
                } else {
                    old.and_then(|v| v.forbidden)
                },
            })
        });
        o.get().state_mut(py, |s| s.view = Some(view));
    }
}

const MULTI_VIEW: &str = "is a view and is being modified inplace. This view is the output of a function that returns multiple \
views. Such functions do not allow the output views to be modified inplace. You should replace the inplace operation by an \
out-of-place one.";
const NO_GRAD_VIEW: &str = "A view was created in no_grad mode and is being modified inplace with grad mode enabled. Given that \
this use case is ambiguous and error-prone, it is forbidden. You can clarify your code by moving both the view and the inplace \
either both inside the no_grad block (if you don't want the inplace to be tracked) or both outside (if you want the inplace to \
be tracked).";

/// Adds the inputs of a node, with edges resolved now.
fn inputs_into<'py>(py: Python<'py>, tensors: &Tensors<'py>, inputs: &mut SmallVec<[Input; 2]>) -> PyResult<()> {
    for (param, t) in tensors {
        let edge = edge_of(t)?;
        t.get().with(py, |s| {
            add(inputs, || Input {
                edge,
                shape: *s.core.shape(),
                dtype: s.core.dtype,
                device: s.core.device(),
                param: *param,
            })
        });
    }
    Ok(())
}

/// What the row saves of the outputs, or of the inputs, for the gradients that are wanted.
#[inline]
fn needed<'a>(row: &'a Row, inputs: &[Input], of_outputs: bool) -> impl Iterator<Item = &'a Save> + use<'a> {
    let wanted = inputs
        .iter()
        .filter(|i| !i.edge.is_none())
        .fold(0u32, |m, i| m | 1 << i.param);
    row.saves
        .iter()
        .filter(move |s| s.is_output == of_outputs && (s.needed_by == 0 || s.needed_by & wanted != 0))
}

/// Keeps inputs. Those that the op `wrote` besides its result (a bit mask of parameters) no longer hold what it read, and a
/// later call may write them again: no derivative needs them.
fn save_inputs<'py>(
    py: Python<'py>,
    row: &Row,
    wrote: u32,
    inputs: &[Input],
    tensors: &Tensors<'py>,
    saved: &mut SmallVec<[Saved; 2]>,
    overwritten: Option<&Core>,
) -> PyResult<()> {
    for save in needed(row, inputs, false) {
        for (k, (param, t)) in tensors.iter().enumerate() {
            if *param != save.index || wrote & (1 << save.index) != 0 {
                continue;
            }
            let (mut core, inference) = t.get().with(py, |s| (s.core.clone(), s.is_inference));
            if inference {
                return Err(runtime(
                    "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in \
                     computation tracked by autograd. To work around this, you can make a clone to get a normal tensor and \
                     use it in autograd, or use `no_grad()` instead of `inference_mode()`.",
                ));
            }
            if overwritten.is_some_and(|o| k == 0 || o.overlaps(&core)) {
                // The op is about to write over a value that its derivative needs.
                core = dispatch::fresh_copy(&core).map_err(to_python)?;
            }
            let version = core.version().get();
            add(saved, || Saved {
                index: k as u8,
                is_output: false,
                version,
                core,
                edge: inputs[k].edge.clone_ref(py),
            });
        }
    }
    Ok(())
}

fn save_outputs(row: &Row, inputs: &[Input], outs: impl Fn(usize) -> Option<Core>, saved: &mut SmallVec<[Saved; 2]>) {
    for save in needed(row, inputs, true) {
        if let Some(core) = outs(save.index as usize) {
            let version = core.version().get();
            add(saved, || Saved {
                index: save.index,
                is_output: true,
                version,
                core,
                edge: Edge::None,
            });
        }
    }
}

/// Records an op that made new tensors (or views): sets the outputs' edges.
pub fn record<'py>(
    py: Python<'py>,
    op: &'static Op,
    args: &Args,
    tensors: &Tensors<'py>,
    outs: &[Bound<'py, Tensor>],
) -> PyResult<()> {
    let found = row(py, op);
    if found.is_some_and(|r| r.nondiff) {
        return Ok(());
    }
    let differentiable =
        |i: usize| op.nondiff_outputs & (1 << i.min(31)) == 0 && outs[i].get().with(py, |s| s.core.dtype.is_float());
    // Outputs behind the last differentiable one (indices, statistics) have no place in the graph.
    let Some(last) = (0..outs.len()).rposition(differentiable) else {
        return Ok(());
    };
    let mut made = NodeState::new(mode::trace(py)?);
    let state = &mut *made;
    bare_into(args, &mut state.args);
    inputs_into(py, tensors, &mut state.inputs)?;
    if let Some(row) = found {
        save_inputs(
            py,
            row,
            op.written(|i| args.bool(i)),
            &state.inputs,
            tensors,
            &mut state.saved,
            None,
        )?;
        let output = |i: usize| outs.get(i).map(|o| o.get().core(py));
        save_outputs(row, &state.inputs, output, &mut state.saved);
    }
    for o in &outs[..=last] {
        o.get().with(py, |s| {
            add(&mut state.outputs, || (*s.core.shape(), s.core.dtype, s.core.device()))
        });
    }
    let node = Py::new(py, Node::new(Some(op), made))?;
    for (i, o) in outs.iter().enumerate() {
        if differentiable(i) {
            let edge = Edge::Node(node.clone_ref(py), i as u32);
            o.get().state_mut(py, |s| s.edge = edge);
        }
    }
    Ok(())
}

/// What an in-place op needs from before it runs.
pub struct Pending {
    state: Box<NodeState>,
    row: Option<&'static Row>,
}

/// Refuses in-place ops that autograd cannot follow; prepares the node of one that it can. `None`: nothing to record.
pub fn before_inplace<'py>(
    py: Python<'py>,
    op: &'static Op,
    args: &Args,
    tensors: &Tensors<'py>,
) -> PyResult<Option<Pending>> {
    if !mode().grad {
        return Ok(None);
    }
    let target = &tensors[0].1;
    let (view, dtype) = target.get().with(py, |s| {
        (
            s.view
                .as_ref()
                .map(|v| (v.base.clone_ref(py), v.chain.clone(), v.forbidden)),
            s.core.dtype,
        )
    });
    let mut wanted = false;
    for (_, t) in tensors {
        wanted |= wants_grad(t)?;
    }
    if let Some((base, ..)) = &view {
        wanted |= wants_grad(base.bind(py))?;
    }
    if !wanted || !dtype.is_float() {
        return Ok(None);
    }
    let leaf = |t: &Bound<'py, Tensor>| t.get().with(py, |s| s.requires_grad && s.edge.is_none());
    if leaf(target) {
        return Err(runtime(
            "a leaf Variable that requires grad is being used in an in-place operation.",
        ));
    }
    if let Some((base, _, forbidden)) = &view {
        if leaf(base.bind(py)) {
            return Err(runtime(
                "a view of a leaf Variable that requires grad is being used in an in-place operation.",
            ));
        }
        if let Some(why) = forbidden {
            let (name, index) = target.get().with(py, |s| match &s.edge {
                Edge::Node(n, i) => (Some(n.clone_ref(py)), *i),
                _ => (None, 0),
            });
            let what = name.map(|n| n.get().title(py)).unwrap_or_else(|| "a view op".into());
            return Err(runtime(if why.starts_with("A view") {
                why.to_string()
            } else {
                format!("Output {index} of {what} {why}")
            }));
        }
    }
    let found = row(py, op);
    if found.is_some_and(|r| r.nondiff) {
        return Ok(None);
    }
    let mut made = NodeState::new(mode::trace(py)?);
    let state = &mut *made;
    bare_into(args, &mut state.args);
    inputs_into(py, tensors, &mut state.inputs)?;
    let target_core = target.get().core(py);
    if let Some(row) = found {
        let written = Some(&target_core);
        save_inputs(py, row, 0, &state.inputs, tensors, &mut state.saved, written)?;
    }
    if let Some((base, chain, _)) = view {
        let base = base.bind(py);
        let (layout, base_dtype) = base.get().with(py, |b| (b.core.layout, b.core.dtype));
        state.inputs[0].edge = edge_of(base)?;
        state.outputs = smallvec![(layout.shape, base_dtype, target_core.device())];
        state.copy = Some(Box::new(CopySlices {
            chain,
            base: layout,
            base_dtype,
        }));
    } else {
        state.outputs = smallvec![(*target_core.shape(), target_core.dtype, target_core.device())];
    }
    Ok(Some(Pending {
        state: made,
        row: found,
    }))
}

/// Sets the edges after an in-place op has run.
pub fn after_inplace<'py>(
    py: Python<'py>,
    op: &'static Op,
    target: &Bound<'py, Tensor>,
    pending: Pending,
) -> PyResult<()> {
    let Pending { mut state, row } = pending;
    if let Some(row) = row {
        let NodeState { inputs, saved, .. } = &mut *state;
        save_outputs(row, inputs, |i| (i == 0).then(|| target.get().core(py)), saved);
    }
    let node = Py::new(py, Node::new(Some(op), state))?;
    let base = target.get().with(py, |s| s.view.as_ref().map(|v| v.base.clone_ref(py)));
    let edge = Edge::Node(node, 0);
    let owner = match &base {
        Some(b) => b.bind(py).clone(),
        None => target.clone(),
    };
    let old = owner.get().state_mut(py, |s| {
        s.generation += 1;
        std::mem::replace(&mut s.edge, edge)
    });
    if target.get().with(py, |s| s.retains_grad) {
        // `retain_grad` is about the tensor, not about the value that was overwritten.
        let (node, index) = match &old {
            Edge::Node(n, i) => (Some(n.clone_ref(py)), *i),
            _ => (None, 0),
        };
        py.import("firesteel.tensor")?
            .call_method1("_retain_anew", (target, node, index))?;
    }
    drop(old);
    Ok(())
}

/// Makes a dtype's tensors leaves that can have gradients.
pub fn can_require_grad(d: DType) -> PyResult<()> {
    if d.is_float() {
        return Ok(());
    }
    Err(runtime(
        "only Tensors of floating point and complex dtype can require gradients",
    ))
}

/// A node for a custom `Function`: `ctx._backward(grads)` is its derivative. Sets the outputs' edges.
#[pyfunction]
pub fn _record_function<'py>(
    ctx: &Bound<'py, PyAny>,
    inputs: &Bound<'py, PyTuple>,
    outputs: &Bound<'py, PyList>,
) -> PyResult<Bound<'py, Node>> {
    let py = inputs.py();
    let mut state = NodeState::new(mode::trace(py)?);
    state.python = Some(ctx.clone().unbind());
    for i in inputs.iter() {
        match i.cast::<Tensor>() {
            Ok(t) => {
                let core = t.get().core(py);
                let edge = edge_of(t)?;
                state.inputs.push(Input {
                    edge,
                    shape: *core.shape(),
                    dtype: core.dtype,
                    device: core.device(),
                    param: 0,
                });
            }
            Err(_) => state.inputs.push(Input {
                edge: Edge::None,
                shape: Dims::EMPTY,
                dtype: DType::F32,
                device: Device::Cpu,
                param: 0,
            }),
        }
    }
    let mut outs = Vec::new();
    for o in outputs.iter() {
        if o.is_none() {
            state.outputs.push((Dims::EMPTY, DType::F32, Device::Cpu));
            outs.push(None);
            continue;
        }
        let t = o.cast::<Tensor>()?.clone();
        let core = t.get().core(py);
        state.outputs.push((*core.shape(), core.dtype, core.device()));
        outs.push(Some(t));
    }
    let node = Bound::new(py, Node::new(None, state))?;
    for (i, t) in outs.into_iter().enumerate() {
        if let Some(t) = t {
            let edge = Edge::Node(node.clone().unbind(), i as u32);
            let old = t.get().state_mut(py, |s| {
                s.generation += 1;
                s.requires_grad = false;
                std::mem::replace(&mut s.edge, edge)
            });
            drop(old);
        }
    }
    Ok(node)
}
