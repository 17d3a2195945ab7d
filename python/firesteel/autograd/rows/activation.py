"""Derivatives of activations, and of their fused backward formulas (which makes second derivatives)."""

from __future__ import annotations

from math import pi, sqrt

from ... import _C

where = _C.where


def _gelu(n, g):
    f = _C._gelu_tanh_backward if n.approximate == "tanh" else _C._gelu_backward
    return f(g, n.input)


def _gelu2(n, gg):
    x = n.input
    return gg * n.grad * ((2 - x * x) * (x * x * -0.5).exp() / sqrt(2 * pi))


def _gelu_tanh2(n, gg):
    # u = k (x + c x³), t = tanh u: f'' = (1 - t²) (u' + x/2 (u'' - 2 t u'²))
    x, k, c = n.input, sqrt(2 / pi), 0.044715
    t = ((x + x * x * x * c) * k).tanh()
    d1 = (x * x * (3 * c) + 1) * k
    d2 = x * (6 * c * k)
    return gg * n.grad * ((1 - t * t) * (d1 + x * 0.5 * (d2 - t * d1 * d1 * 2)))


def _silu2(n, gg):
    x = n.input
    s = x.sigmoid()
    return gg * n.grad * (s * (1 - s) * (x * (1 - s * 2) + 2))


def _mish2(n, gg):
    x = n.input
    t, s = _C.softplus(x).tanh(), x.sigmoid()
    d = (1 - t * t) * s
    return gg * n.grad * (d * 2 + x * (t * d * s * -2 + d * (1 - s)))


def _softplus2(n, gg):
    x = n.input * n.beta
    s = x.sigmoid()
    return where(x > 20, 0.0, gg * n.grad * (s * (1 - s) * n.beta))


def _elu(n, g):
    return _C._elu_backward(g if n.scale == 1 else g * n.scale, n.input, n.alpha)


def _celu(n, g):
    x = n.input
    return where(x > 0, g, g * (x / n.alpha).exp())


def _same(f):
    """The gradient by `grad` of a formula that is linear in it."""
    return lambda n, gg: f(gg, n.input)


ROWS = {
    "sigmoid": {"saves": "result", "input": lambda n, g: _C._sigmoid_backward(g, n.result)},
    "relu": {"saves": "result", "input": lambda n, g: _C._relu_backward(g, n.result)},
    "relu6": {"saves": "input", "input": lambda n, g: where((n.input > 0) & (n.input < 6), g, 0.0)},
    "hardtanh": {
        "saves": "input",
        "input": lambda n, g: where((n.input > n.min_val) & (n.input < n.max_val), g, 0.0),
    },
    "silu": {"saves": "input", "input": lambda n, g: _C._silu_backward(g, n.input)},
    "mish": {"saves": "input", "input": lambda n, g: _C._mish_backward(g, n.input)},
    "hardswish": {"saves": "input", "input": lambda n, g: _C._hardswish_backward(g, n.input)},
    "hardsigmoid": {"saves": "input", "input": lambda n, g: _C._hardsigmoid_backward(g, n.input)},
    "logsigmoid": {"saves": "input", "input": lambda n, g: _C._logsigmoid_backward(g, n.input)},
    "softsign": {"saves": "input", "input": lambda n, g: g / (n.input.abs() + 1).square()},
    "gelu": {"saves": "input", "input": _gelu},
    "leaky_relu": {"saves": "input", "input": lambda n, g: _C._leaky_relu_backward(g, n.input, n.negative_slope)},
    "hardshrink": {"saves": "input", "input": lambda n, g: where(n.input.abs() <= n.lambd, 0.0, g)},
    "softshrink": {"saves": "input", "input": lambda n, g: where(n.input.abs() <= n.lambd, 0.0, g)},
    "celu": {"saves": "input", "input": _celu},
    "_prelu": {
        "saves": "input weight",
        "input": lambda n, g: where(n.input > 0, g, g * n.weight),
        "weight": lambda n, g: where(n.input > 0, 0.0, g * n.input),
    },
    "threshold": {"saves": "input", "input": lambda n, g: where(n.input > n.threshold, g, 0.0)},
    "softplus": {
        "saves": "input",
        "input": lambda n, g: (
            _C._softplus_backward(g, n.input, n.beta)
            if n.threshold == 20
            else where(n.input * n.beta > n.threshold, g, g * (n.input * n.beta).sigmoid())
        ),
    },
    "elu": {"saves": "input", "input": _elu},
    "_relu_backward": {"saves": "result>grad", "grad": lambda n, gg: _C._relu_backward(gg, n.result)},
    "_sigmoid_backward": {
        "saves": "grad>result result",
        "grad": lambda n, gg: _C._sigmoid_backward(gg, n.result),
        "result": lambda n, gg: gg * n.grad * (1 - n.result * 2),
    },
    "_tanh_backward": {
        "saves": "grad>result result",
        "grad": lambda n, gg: _C._tanh_backward(gg, n.result),
        "result": lambda n, gg: gg * n.grad * (n.result * -2),
    },
    "_gelu_backward": {"saves": "grad>input input", "grad": _same(_C._gelu_backward), "input": _gelu2},
    "_gelu_tanh_backward": {"saves": "grad>input input", "grad": _same(_C._gelu_tanh_backward), "input": _gelu_tanh2},
    "_silu_backward": {"saves": "grad>input input", "grad": _same(_C._silu_backward), "input": _silu2},
    "_mish_backward": {"saves": "grad>input input", "grad": _same(_C._mish_backward), "input": _mish2},
    "_hardswish_backward": {
        "saves": "grad>input input",
        "grad": _same(_C._hardswish_backward),
        "input": lambda n, gg: where(n.input.abs() < 3, gg * n.grad / 3, 0.0),
    },
    "_hardsigmoid_backward": {"saves": "input>grad", "grad": _same(_C._hardsigmoid_backward)},
    "_logsigmoid_backward": {
        "saves": "grad>input input",
        "grad": _same(_C._logsigmoid_backward),
        "input": lambda n, gg: gg * n.grad * -(n.input.sigmoid() * (-n.input).sigmoid()),
    },
    "_leaky_relu_backward": {
        "saves": "input>grad",
        "grad": lambda n, gg: _C._leaky_relu_backward(gg, n.input, n.negative_slope),
    },
    "_elu_backward": {
        "saves": "grad>input input",
        "grad": lambda n, gg: _C._elu_backward(gg, n.input, n.alpha),
        "input": lambda n, gg: where(n.input > 0, 0.0, gg * n.grad * (n.input.exp() * n.alpha)),
    },
    "_softplus_backward": {
        "saves": "grad>input input",
        "grad": lambda n, gg: _C._softplus_backward(gg, n.input, n.beta),
        "input": _softplus2,
    },
}
# The table of outputs names the parameter `result`; a saved output has the same name, and parameters come first.
