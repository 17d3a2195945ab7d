"""Derivatives of the recurrent layers, with their composites: step by step, of linear maps and activations."""

from __future__ import annotations

from ... import _C


def _order(gates, reverse):
    steps = range(gates.shape[0])
    return reversed(steps) if reverse else steps


def _stacked(outputs, gates, size):
    if outputs:
        return _C.stack(outputs)
    return _C._full([0, gates.shape[1], size], 0, dtype=gates.dtype, device=gates.device)


def lstm(input, h, c, weight, reverse, weight_ih=None, bias=None):
    """The outputs and the last cell."""
    gates = input if weight_ih is None else _C.linear(input, weight_ih, bias)
    outputs = [None] * gates.shape[0]
    for t in _order(gates, reverse):
        enter, forget, new, out = (gates.select(0, t) + _C.linear(h, weight)).chunk(4, 1)
        c = forget.sigmoid() * c + enter.sigmoid() * new.tanh()
        h = out.sigmoid() * c.tanh()
        outputs[t] = h
    return _stacked(outputs, gates, c.shape[1]), _C.alias(c)


def gru(gates, h, weight, bias, reverse):
    """The outputs."""
    outputs = [None] * gates.shape[0]
    for t in _order(gates, reverse):
        reset, update, new = gates.select(0, t).chunk(3, 1)
        h_reset, h_update, h_new = _C.linear(h, weight, bias).chunk(3, 1)
        update = (update + h_update).sigmoid()
        new = (new + (reset + h_reset).sigmoid() * h_new).tanh()
        h = new + update * (h - new)
        outputs[t] = h
    return _stacked(outputs, gates, h.shape[1])


def _before(result, h, reverse):
    """The state that each step began with, rows of all steps below each other."""
    steps = result.shape[0]
    if steps == 1:
        return h
    first = h.unsqueeze(0)
    parts = [result.narrow(0, 1, steps - 1), first] if reverse else [first, result.narrow(0, 0, steps - 1)]
    return _C.cat(parts, 0).flatten(0, 1)


def _weight(n, grad):
    """The gradient of the state's weight: one product over all steps and rows."""
    if not n._needs("weight"):
        return None
    if grad.shape[0] == 0:
        return _C._full(n._size("weight"), 0, dtype=grad.dtype, device=grad.device)
    return _C.mm(grad.flatten(0, 1).t(), _before(n.result, n.h, n.reverse))


def _lstm(n, g):
    grad, grad_cell = g[0], g[1]
    gates, h, c = _C._lstm_backward(grad, grad_cell, n.h, n.c, n.weight, n.cells, n.acts, n.reverse)
    weight = _weight(n, gates)
    if not n._has("weight_ih"):
        return gates, h, c, weight, None, None
    rows = gates.flatten(0, 1)
    input = _C.matmul(gates, n.weight_ih) if n._needs("input") else None
    weight_ih = _C.mm(rows.t(), n.input.flatten(0, 1)) if n._needs("weight_ih") else None
    bias = rows.sum(0) if n._has("bias") and n._needs("bias") else None
    return input, h, c, weight, weight_ih, bias


def _gru(n, g):
    gates, mapped, h = _C._gru_backward(g, n.h, n.weight, n.result, n.acts, n.reverse)
    bias = mapped.sum((0, 1)) if n._has("bias") and n._needs("bias") else None
    return gates, h, _weight(n, mapped), bias


ROWS = {
    "_lstm": {"saves": "input h c weight weight_ih bias result cells acts", "all": _lstm, "composite": lstm},
    "_lstm_backward": {"nondiff": True},
    "_gru": {"saves": "gates h weight bias result acts", "all": _gru, "composite": gru},
    "_gru_backward": {"nondiff": True},
}
