"""firesteel: a deep-learning framework with PyTorch's API, a Rust core and one small wheel.

>>> import firesteel as fs
>>> x = fs.tensor([1., 2., 3.], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([2., 4., 6.])
"""

from __future__ import annotations

from . import _C
from ._size import Size
from . import autograd  # isort: skip
from .autograd import enable_grad, inference_mode, no_grad, set_grad_enabled
from . import tensor as _tensor  # isort: skip
from .ops import *

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Most of the public names are handed on by running `ops`, which a checker does not.
    from ._C import *

_int_mm = _C._int_mm

__version__ = "0.1.0"

_SUBMODULES = (
    "backends", "cuda", "gpu", "graph", "linalg", "masked", "nn", "optim", "random", "safetensors", "serialization",
    "signal", "special", "testing", "types", "utils", "version", "vision",
)  # fmt: skip
_LATE = {"compile": "graph", "load": "serialization", "save": "serialization"}  # Names whose module loads at first use.


def __getattr__(name):
    from importlib import import_module

    if name in _SUBMODULES:
        return import_module(f"firesteel.{name}")
    if name in _LATE:
        return getattr(import_module(f"firesteel.{_LATE[name]}"), name)
    raise AttributeError(f"module 'firesteel' has no attribute '{name}'")


def __dir__():
    return sorted({*globals(), *_SUBMODULES, *_LATE})
