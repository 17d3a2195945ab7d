"""Automatic differentiation: the engine, the derivatives of all ops, and what programs use of them."""

from __future__ import annotations

from .. import _C
from . import rows as _rows
from .grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled
from .graph import backward, grad

_LAZY = {
    "Function": "function",
    "FunctionCtx": "function",
    "once_differentiable": "function",
    "gradcheck": "gradcheck",
    "gradgradcheck": "gradcheck",
    "GradcheckError": "gradcheck",
    "detect_anomaly": "anomaly",
    "set_detect_anomaly": "anomaly",
}

__all__ = ["backward", "enable_grad", "grad", "inference_mode", "no_grad", "set_grad_enabled", *_LAZY]

_C.register(_rows.ROWS)
Variable = _C.Tensor


def __getattr__(name):
    home = _LAZY.get(name)
    if home is None:
        raise AttributeError(f"module 'firesteel.autograd' has no attribute '{name}'")
    from importlib import import_module

    module = import_module(f"firesteel.autograd.{home}")
    if home == "gradcheck":
        # The function and its module share a name, as in PyTorch: the import above has just bound the module.
        globals()["gradcheck"] = module.gradcheck
    found = getattr(module, name)
    globals()[name] = found
    return found
