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

# In place forms that PyTorch has as methods only, and functions that it shows in `nn.functional` and `special` only.
_METHODS_ONLY = """
    absolute_ add_ addcdiv_ addcmul_ arctan2_ atan2_ bitwise_and_ bitwise_left_shift_ bitwise_not_ bitwise_or_
    bitwise_right_shift_ bitwise_xor_ copysign_ cumprod_ cumsum_ digamma_ div_ divide_ elu_ eq_ erfinv_
    floor_divide_ fmod_ ge_ gelu_ greater_ greater_equal_ gt_ hardsigmoid_ hardswish_ heaviside_ hypot_ igamma_
    igammac_ index_add_ index_copy_ index_fill_ le_ leaky_relu_ lerp_ less_ less_equal_ lgamma_ logical_and_
    logical_not_ logical_or_ logical_xor_ lt_ masked_fill_ masked_scatter_ mish_ mul_ multiply_ mvlgamma_ ne_
    nextafter_ not_equal_ pow_ relu6_ remainder_ scatter_ scatter_add_ scatter_reduce_ sgn_ sign_ silu_ sub_
    subtract_ tril_ triu_ true_divide_
"""
_ELSEWHERE = """
    adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d alias avg_pool2d avg_pool3d elu
    gelu hardsigmoid hardswish index leaky_relu linalg_vector_norm linear logsigmoid max_pool2d_with_indices
    max_pool3d_with_indices mish nll_loss_nd relu6 silu slice softplus softshrink softsign special_i0e special_i1
    special_i1e special_log_ndtr special_ndtri special_xlog1py special_zeta
"""
_HIDDEN = {"register", *_METHODS_ONLY.split(), *_ELSEWHERE.split()}

# `_C` has all public names, and `firesteel` those that PyTorch has.
for _name in __all__:
    if not hasattr(_C, _name):
        setattr(_C, _name, globals()[_name])
__all__ = [_name for _name in __all__ if _name not in _HIDDEN]
for _name, _value in vars(_C).items():
    if _name[0] != "_" and _name not in globals() and _name not in _HIDDEN:
        globals()[_name] = _value
        __all__.append(_name)
