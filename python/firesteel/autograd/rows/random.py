"""Derivatives of random ops."""

from __future__ import annotations

from .elementwise import zero


def _dropout(n, g):
    if n.train is False:
        return g
    scale = 0.0 if n.p == 1 else 1 / (1 - n.p)
    return g * n.mask * scale


ROWS = {
    "native_dropout": {"saves": "mask", "input": _dropout},
    # What these write does not depend on what was there.
    **{key: {"input": zero} for key in "uniform normal _random exponential _bernoulli".split()},
    **{
        key: {"nondiff": True}
        for key in "_empty _full _arange _linspace _eye _triangle _rand _randn _randint _randperm".split()
    },
    **{key: {"nondiff": True} for key in "_sgd_step _adam_step _rmsprop_step _adagrad_step _adadelta_step".split()},
}
