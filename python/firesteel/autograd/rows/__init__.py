"""The table of derivatives: one row per op, by the key of its record.

A row is a dict. `saves` names the inputs and outputs that the node keeps (`"other>input"`: `other`, when `input` wants a
gradient). A parameter's name maps to a function of the node and the output's gradient that gives the parameter's gradient;
it is called only when that gradient is wanted, and broadcast dims and dtypes are put right afterwards. `all` gives the
gradients of every tensor parameter at once. `composite` is the same op made of simpler ones: it runs where there is no
kernel, and differentiates the second time. `nondiff` marks results that carry no gradient. A row without a function for
an input passes nothing on to it.

A node gives parameters and outputs by name (`n.other`, `n.result`), and shapes by `n._size("input")`.
"""

from __future__ import annotations

from ... import _C
from . import (
    activation,
    attention,
    elementwise,
    fused,
    indexing,
    losses,
    matrix,
    network,
    random,
    reduction,
    resample,
    rnn,
    shape,
)

ROWS: dict[str, dict] = {}
for _table in (
    elementwise,
    activation,
    reduction,
    shape,
    indexing,
    matrix,
    network,
    resample,
    fused,
    losses,
    attention,
    rnn,
    random,
):
    ROWS.update(_table.ROWS)


def rerun(node, composite, grad):
    """Gradients of a fused op's inputs, differentiable: its composite on aliases of the saved inputs.

    Inputs that the op wrote (running statistics) were not saved, nor does the composite need them.
    """
    from ..graph import grad as gradients

    names, tensors = node._params(), []
    args = []
    for name, kind in names:
        if kind == "tensor" and node._has(name):
            if node._wrote(name):
                tensors.append(None)
                args.append(None)
                continue
            x = _C.alias(getattr(node, name))
            if not x.requires_grad and x.is_floating_point() and node._needs(name):
                x.requires_grad_(True)
            tensors.append(x)
            args.append(x)
        elif kind == "tensor":
            args.append(None)
        else:
            args.append(getattr(node, name))
    before = _C._set_grad(True)
    try:
        out = composite(*args)
    finally:
        _C._set_grad(before)
    wanted = [x for x in tensors if x is not None and x.requires_grad]
    grads = grad if isinstance(grad, list) else [grad]
    outs = list(out) if isinstance(out, (tuple, list)) else [out]
    pairs = [(o, g) for o, g in zip(outs, grads, strict=False) if g is not None and o.requires_grad]
    found = gradients(
        [o for o, _ in pairs], wanted, [g for _, g in pairs], create_graph=_C.is_grad_enabled(), allow_unused=True
    )
    by_id = {id(x): g for x, g in zip(wanted, found, strict=True)}
    return [by_id.get(id(x)) for x in tensors]
