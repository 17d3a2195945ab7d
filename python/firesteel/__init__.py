"""firesteel: a deep-learning framework with PyTorch's API, a Rust core and one small wheel.

>>> import firesteel as fs
>>> x = fs.tensor([1., 2., 3.], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([2., 4., 6.])
"""

from __future__ import annotations

from . import _C
from ._C import *  # noqa: F403
from ._C import (
    Generator,
    LinAlgError,
    OutOfMemoryError,
    Tensor,
    _dtypes,
    can_cast,
    default_generator,
    device,
    dtype,
    empty_cache,
    get_default_dtype,
    get_num_threads,
    is_anomaly_enabled,
    is_grad_enabled,
    is_inference_mode_enabled,
    promote_types,
    set_num_threads,
)
from ._size import Size
from . import autograd  # isort: skip
from .autograd import enable_grad, inference_mode, no_grad, set_grad_enabled
from . import tensor as _tensor  # isort: skip
from .ops import *  # noqa: F403

__version__ = "0.1.0"

_SUBMODULES = ("cuda", "gpu", "linalg", "nn", "optim", "random", "special", "testing", "utils", "vision", "types")


def __getattr__(name):
    if name in _SUBMODULES:
        from importlib import import_module

        return import_module(f"firesteel.{name}")
    raise AttributeError(f"module 'firesteel' has no attribute '{name}'")


def __dir__():
    return sorted({*globals(), *_SUBMODULES})
