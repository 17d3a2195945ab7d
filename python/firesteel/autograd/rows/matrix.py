"""Derivatives of matrix products."""

from __future__ import annotations

from ... import _C


def _rows(x):
    """All dims but the last made one; -1 would be ambiguous where there are no elements."""
    return x.flatten(0, -2)


def _matmul_input(n, g):
    a, b = n._size("input"), n.other
    if len(a) == 1:
        if b.ndim == 1:
            return g * b
        return _C.matmul(b, g.unsqueeze(-1)).squeeze(-1)
    if b.ndim == 1:
        return g.unsqueeze(-1) * b
    return _C.matmul(g, b.transpose(-1, -2))


def _matmul_other(n, g):
    a, b = n.input, n._size("other")
    if a.ndim == 1:
        if len(b) == 1:
            return g * a
        return a.unsqueeze(-1) * g.unsqueeze(-2)
    if len(b) == 1:
        return _C.matmul(a.transpose(-1, -2), g.unsqueeze(-1)).squeeze(-1)
    if len(b) == 2 and a.ndim > 2:
        # One product over all rows instead of one per batch entry and a sum.
        return _C.mm(_rows(a).t(), _rows(g))
    return _C.matmul(a.transpose(-1, -2), g)


def _linear_input(n, g):
    w = n.weight
    return g.unsqueeze(-1) * w if w.ndim == 1 else _C.matmul(g, w)


def _linear_weight(n, g):
    x = n.input
    if len(n._size("weight")) == 1:
        return _C.mv(_rows(x).t(), g.flatten()) if x.ndim > 1 else x * g
    if x.ndim == 1:
        return g.unsqueeze(1) * x
    return _C.mm(_rows(g).t(), _rows(x))


def _linear_bias(n, g):
    size = n._size("bias")
    if g.ndim == len(size) or len(size) == 0:
        return g
    return _rows(g).sum(0)


ROWS = {
    "matmul": {"saves": "input>other other>input", "input": _matmul_input, "other": _matmul_other},
    "mm": {
        "saves": "input>mat2 mat2>input",
        "input": lambda n, g: _C.mm(g, n.mat2.t()),
        "mat2": lambda n, g: _C.mm(n.input.t(), g),
    },
    "_int_mm": {"nondiff": True},
    "bmm": {
        "saves": "input>mat2 mat2>input",
        "input": lambda n, g: _C.bmm(g, n.mat2.transpose(1, 2)),
        "mat2": lambda n, g: _C.bmm(n.input.transpose(1, 2), g),
    },
    "_addmm": {
        "saves": "mat1>mat2 mat2>mat1",
        "input": lambda n, g: g * n.beta,
        "mat1": lambda n, g: _C.matmul(g, n.mat2.transpose(-1, -2)) * n.alpha,
        "mat2": lambda n, g: _C.matmul(n.mat1.transpose(-1, -2), g) * n.alpha,
    },
    "mv": {
        "saves": "input>vec vec>input",
        "input": lambda n, g: g.unsqueeze(1) * n.vec,
        "vec": lambda n, g: _C.mv(n.input.t(), g),
    },
    "dot": {
        "saves": "input>tensor tensor>input",
        "input": lambda n, g: g * n.tensor,
        "tensor": lambda n, g: g * n.input,
    },
    "linear": {
        "saves": "input>weight weight>input",
        "input": _linear_input,
        "weight": _linear_weight,
        "bias": _linear_bias,
    },
}
