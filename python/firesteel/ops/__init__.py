"""PyTorch's functions that are no ops of the table: made of those, with PyTorch's names, arguments and errors.

What stands in `__all__` goes to `firesteel` as it is; `METHODS` of each module are attached to the tensor class.
"""

from __future__ import annotations

from .. import _C
from .._formats import *
from .._format import printoptions, set_printoptions
from . import (
    comparing, contraction, copies, creation, elementwise, indexing, joining, names, network, products, random, ranges,
    reduction, shape, sorting, statistics, windows,
)  # fmt: skip
from .._formats import __all__ as _formats
from .comparing import *
from .contraction import *
from .copies import *
from .creation import *
from .elementwise import *
from .indexing import *
from .joining import *
from .names import *
from .network import *
from .products import *
from .random import *
from .ranges import *
from .reduction import *
from .shape import *
from .sorting import *
from .statistics import *
from .windows import *

_MODULES = (
    comparing, contraction, copies, creation, elementwise, indexing, joining, names, network, products, random, ranges,
    reduction, shape, sorting, statistics, windows,
)  # fmt: skip

__all__ = ["printoptions", "set_printoptions", *_formats]
for _module in _MODULES:
    __all__ += _module.__all__
    for _name, _value in getattr(_module, "METHODS", {}).items():
        setattr(_C.Tensor, _name, _value)

# Both namespaces have all public names: functions of the table are found here, those made of them in `_C`.
for _name in __all__:
    if not hasattr(_C, _name):
        setattr(_C, _name, globals()[_name])
for _name, _value in vars(_C).items():
    if _name[0] != "_" and _name not in globals() and _name != "register":
        globals()[_name] = _value
        __all__.append(_name)
