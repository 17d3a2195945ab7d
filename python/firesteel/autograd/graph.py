"""The engine: gradients from the outputs of a graph to its leaves, node by node, newest first.

A node's sequence number is larger than those of the nodes its inputs came from, so a heap on it is a topological order and
nothing is recursive. The derivative of one node is `Node._step` (Rust), by the op's row.
"""

from __future__ import annotations

from heapq import heappop, heappush

from .. import _C
from .hooks import add_hook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .hooks import RemovableHandle

Tensor = _C.Tensor


class AccumulateGrad:
    """Stands for a leaf in `grad_fn.next_functions`."""

    __slots__ = ("variable",)

    def __init__(self, variable):
        self.variable = variable

    def name(self) -> str:
        return "torch::autograd::AccumulateGrad"

    @property
    def next_functions(self):
        return ()

    def __repr__(self):
        return f"<AccumulateGrad object at {id(self.variable):#x}>"


def run_tensor_hooks(table, grad):
    """Applies hooks on a node's outputs: `table` maps output index to functions; `grad` is a gradient or a list."""
    if isinstance(grad, list):
        return [_hooked(table.get(i), g) for i, g in enumerate(grad)]
    return _hooked(table.get(0), grad)


def _hooked(hooks, grad):
    if hooks and grad is not None:
        for hook in list(hooks.values() if isinstance(hooks, dict) else hooks):
            new = hook(grad)
            if new is not None:
                grad = _checked(new, grad)
    return grad


def _checked(new, old):
    if not isinstance(new, Tensor):
        raise TypeError(f"expected Variable, but hook returned '{type(new).__name__}'")
    if new.shape != old.shape:
        raise RuntimeError(f"hook has changed the size of value (was {list(old.shape)}, got {list(new.shape)})")
    return new


def run_pre_hooks(table, grad):
    """Hooks of `grad_fn.register_prehook`: each gets the tuple of output gradients."""
    many = isinstance(grad, list)
    grads = tuple(grad) if many else (grad,)
    for hook in list(table.values()):
        new = hook(grads)
        if new is not None:
            grads = new if isinstance(new, tuple) else (new,)
    return list(grads) if many else grads[0]


def run_post_hooks(table, grad_inputs, grad):
    """Hooks of `grad_fn.register_hook`: each gets (grad_inputs, grad_outputs) and may replace the former."""
    outputs = tuple(grad) if isinstance(grad, list) else (grad,)
    for hook in list(table.values()):
        new = hook(grad_inputs, outputs)
        if new is not None:
            grad_inputs = new if isinstance(new, tuple) else (new,)
    return grad_inputs


def differentiate_composite(node, composite, grad):
    """Gradients of a fused op by running its composite again on the saved inputs."""
    from . import rows

    return rows.rerun(node, composite, grad)


def _register_hook(self: Any, hook: Callable[..., Any]) -> RemovableHandle:
    """Calls `hook(grad_inputs, grad_outputs)` after the node's derivative; what it returns replaces the former."""
    return add_hook(self._hook_table("post"), hook)


def _register_prehook(self: Any, hook: Callable[..., Any]) -> RemovableHandle:
    """Calls `hook(grad_outputs)` before the node's derivative; what it returns replaces them."""
    return add_hook(self._hook_table("pre"), hook)


for _name, _method in (("register_hook", _register_hook), ("register_prehook", _register_prehook)):
    setattr(_C.Node, _name, _method)


def _run(roots, keep, create_graph, captures=None):
    """`roots`: (tensor, gradient). Leaves get their `.grad`; or, for `grad(…, inputs)` and `backward(inputs=…)`, gradients go
    into the list at the end of `captures`, where `_C._paths` found that they are wanted."""
    heap, pending = [], {}
    edges, leaves, needed, found = captures or (None, None, None, None)
    for tensor, grad in roots:
        target, index = tensor._edge()
        if index < 0:
            _deliver(target, grad, create_graph, leaves, found)
            continue
        key, n = -target._seq, target._outputs
        entry = pending.get(key)
        if entry is None:
            pending[key] = entry = [target, None if n == 1 else [None] * n]
            heappush(heap, key)
        if n == 1:
            entry[1] = grad if entry[1] is None else entry[1] + grad
        else:
            entry[1][index] = grad if entry[1][index] is None else entry[1][index] + grad
    anomaly = _C.is_anomaly_enabled()
    while heap:
        key = heappop(heap)
        node, grad = pending.pop(key)
        hooked = False
        if captures is not None:
            wanted = edges.get(key)
            if wanted is not None:
                grad = run_tensor_hooks(node._hook_table("tensor"), grad)
                hooked = True
                for index, i in wanted:
                    one = grad[index] if isinstance(grad, list) else grad
                    if one is not None:
                        found[i] = one if found[i] is None else found[i] + one
            if key not in needed:
                continue
        if anomaly:
            from .anomaly import guarded_step

            out = guarded_step(node, grad, keep, hooked)
        else:
            out = node._step(grad, keep, hooked)
        grad = None
        for target, index, key, g in out:
            if index == 0:
                entry = pending.get(key)
                if entry is None:
                    pending[key] = [target, g]
                    heappush(heap, key)
                else:
                    entry[1] = entry[1] + g
            elif index < 0:
                _deliver(target, g, create_graph, leaves, found)
            else:
                entry = pending.get(key)
                if entry is None:
                    pending[key] = entry = [target, [None] * target._outputs]
                    heappush(heap, key)
                slots = entry[1]
                slots[index - 1] = g if slots[index - 1] is None else slots[index - 1] + g


def _deliver(leaf, grad, create_graph, leaves, found):
    """Adds a gradient to the leaf's own, or to those in `found` at the places that `leaves` has for it."""
    hooks = leaf._leaf_hooks(False)
    if leaves is not None:
        wanted = leaves.get(id(leaf))
        if wanted is not None:
            if hooks:
                grad = _leaf_hooked(hooks, grad)
            for i in wanted:
                found[i] = grad if found[i] is None else found[i] + grad
    elif hooks:
        after = [hook for key, hook in hooks.items() if isinstance(key, tuple)]
        leaf._accumulate(_leaf_hooked(hooks, grad), create_graph)
        for hook in after:
            hook(leaf)
    else:
        # Held by the engine's list and its variable, by ours and by the call.
        leaf._accumulate(grad, create_graph, 4)


def _leaf_hooked(hooks, grad):
    """What a leaf's hooks make of its gradient; those with a tuple as key run after it was added."""
    for key, hook in list(hooks.items()):
        if not isinstance(key, tuple):
            new = hook(grad)
            if new is not None:
                grad = _checked(new, grad)
    return grad


def _roots(tensors, grads):
    """Pairs of outputs and their gradients, checked as PyTorch does."""
    if isinstance(tensors, Tensor) and tensors._takes(grads):
        return [(tensors, _C._full_like(tensors.detach(), 1) if grads is None else grads)]
    tensors = (tensors,) if isinstance(tensors, Tensor) else tuple(tensors)
    if grads is None:
        grads = (None,) * len(tensors)
    elif isinstance(grads, Tensor):
        grads = (grads,)
    else:
        grads = tuple(grads)
    if len(grads) != len(tensors):
        raise RuntimeError(f"got {len(tensors)} tensors and {len(grads)} gradients")
    roots = []
    for i, (t, g) in enumerate(zip(tensors, grads, strict=True)):
        if not isinstance(t, Tensor):
            raise TypeError(f"element {i} of tensors is {type(t).__name__}, expected Tensor")
        if g is None:
            if t.requires_grad and t.numel() != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            g = _C._full_like(t.detach(), 1)
        elif not isinstance(g, Tensor):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
        elif g.shape != t.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{i}] has a shape of {g.shape} and output[{i}] has a shape of {t.shape}."
            )
        elif g.dtype is not t.dtype:
            g = g.to(t.dtype)
        if not t.requires_grad:
            raise RuntimeError(f"element {i} of tensors does not require grad and does not have a grad_fn")
        roots.append((t, g))
    return roots


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Adds the gradients of `tensors` to the `.grad` of the graph's leaves.

    Args:
        tensors: outputs to differentiate.
        grad_tensors: for each its gradient, of the same shape; None for a scalar means 1.
        retain_graph: keep saved values for another backward pass; by default as `create_graph`.
        create_graph: record the backward pass itself, for higher derivatives.
        inputs: only these tensors get gradients.

    Raises:
        RuntimeError: a tensor needs no gradient, or a gradient's shape does not fit.
    """
    roots = _roots(tensors, grad_tensors)
    keep = create_graph if retain_graph is None else retain_graph
    if inputs is not None:
        inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
        if not inputs:
            raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    before = _C._set_grad(create_graph)
    try:
        if inputs is None:
            _run(roots, keep, create_graph)
        else:
            found = [None] * len(inputs)
            _run(roots, keep, create_graph, (*_C._paths(roots, inputs), found))
            for x, g in zip(inputs, found, strict=True):
                if g is not None:
                    x._accumulate(g, create_graph)
    finally:
        _C._set_grad(before)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of `outputs` with respect to `inputs`, returned and not stored.

    Args:
        outputs: tensors to differentiate.
        inputs: tensors to differentiate by; leaves or not.
        grad_outputs: gradients of the outputs; None for a scalar means 1.
        retain_graph: keep saved values; by default as `create_graph`.
        create_graph: make the result differentiable.
        allow_unused: give None for an input that the outputs do not depend on, instead of raising.
        materialize_grads: give zeros instead of None.

    Returns:
        One gradient per input.

    >>> import firesteel as fs
    >>> x = fs.tensor(3., requires_grad=True)
    >>> fs.autograd.grad(x * x, x)
    (tensor(6.),)
    """
    if is_grads_batched:
        raise NotImplementedError("grad(): is_grads_batched=True is not supported; call grad once per gradient")
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    if allow_unused is None:
        allow_unused = materialize_grads
    elif not allow_unused and materialize_grads:
        raise ValueError("Expected allow_unused to be True or not passed when materialize_grads=True")
    for x in inputs:
        if not isinstance(x, Tensor):
            raise TypeError(f"inputs must be Tensors, got {type(x).__name__}")
        if not x.requires_grad and not allow_unused:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    roots = _roots(outputs, grad_outputs)
    keep = create_graph if retain_graph is None else retain_graph
    found: list[Tensor | None] = [None] * len(inputs)
    captures = (*_C._paths(roots, inputs), found)
    before = _C._set_grad(create_graph)
    try:
        _run(roots, keep, create_graph, captures)
    finally:
        _C._set_grad(before)
    for i, g in enumerate(found):
        if g is None:
            if materialize_grads:
                found[i] = _C._full_like(inputs[i].detach(), 0)
            elif not allow_unused:
                raise RuntimeError(
                    "One of the differentiated Tensors appears to not have been used in the graph. Set "
                    "allow_unused=True if this is the desired behavior."
                )
    return tuple(found)
