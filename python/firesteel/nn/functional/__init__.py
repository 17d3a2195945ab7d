# ruff: noqa: F403  the families say in __all__ what is public
"""Layers as functions: everything that modules compute, without parameters of their own.

>>> import firesteel as fs
>>> import firesteel.nn.functional as F
>>> F.relu(fs.tensor([-1.0, 1.0]))
tensor([0., 1.])
"""

from __future__ import annotations

from . import (
    activation,
    attention,
    classes,
    distance,
    fractional,
    loss,
    margins,
    norm,
    padding,
    pooling,
    resize,
    sampling,
    sparse,
    vision,
)
from . import dropout as _dropout
from . import linear as _linear
from .activation import *
from .attention import *
from .classes import *
from .distance import *
from .dropout import *
from .fractional import *
from .linear import *
from .loss import *
from .margins import *
from .norm import *
from .padding import *
from .pooling import *
from .resize import *
from .sampling import *
from .sparse import *
from .vision import *

__all__ = sorted(
    name
    for module in (
        activation, attention, classes, distance, _dropout, fractional, _linear, loss, margins, norm, padding, pooling,
        resize, sampling, sparse, vision,
    )
    for name in module.__all__
)  # fmt: skip
