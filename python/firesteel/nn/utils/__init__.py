"""Tools for parameters and gradients: clipping, vectors of parameters, weight norm, sequences of different lengths."""

from __future__ import annotations

from .clip import clip_grad_norm, clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from .vectors import parameters_to_vector, vector_to_parameters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SUBMODULES = ("clip", "rnn", "vectors")

__all__ = [
    "clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm",
    "parameters_to_vector", "remove_weight_norm", "rnn", "vector_to_parameters", "weight_norm",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in ("weight_norm", "remove_weight_norm"):
        value = getattr(import_module(f"{__name__}.reparametrize"), name)
        globals()[name] = value
        return value
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
