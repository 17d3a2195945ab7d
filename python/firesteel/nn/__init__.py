# ruff: noqa: F403  the families say in __all__ what is public
"""Neural networks: modules, their functions, and initial values.

The layers of most programs are loaded with this package; the families in `_LATER` when a name of theirs is first used.

>>> import firesteel as fs
>>> from firesteel import nn
>>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU())
>>> net(fs.zeros(2, 2, 2))[0].shape
torch.Size([3])
"""

from __future__ import annotations

from . import activation, containers, conv, dropout, linear, loss, norm, pooling, sparse
from . import functional as functional
from . import init as init
from .activation import *
from .containers import *
from .conv import *
from .dropout import *
from .linear import *
from .loss import *
from .module import Module
from .norm import *
from .parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter
from .pooling import *
from .shape import Flatten, Unflatten
from .sparse import *

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LATER = {
    "adaptive": ("AdaptiveLogSoftmaxWithLoss",),
    "attention": ("MultiheadAttention",),
    "distance": ("CosineSimilarity", "PairwiseDistance"),
    "lazy": (
        "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "LazyConv1d", "LazyConv2d", "LazyConv3d",
        "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d", "LazyInstanceNorm1d",
        "LazyInstanceNorm2d", "LazyInstanceNorm3d", "LazyLinear",
    ),
    "padding": (
        "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d",
        "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d",
        "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
    ),
    "rnn": ("GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNBase", "RNNCell", "RNNCellBase"),
    "shape": ("ChannelShuffle", "Fold", "PixelShuffle", "PixelUnshuffle", "Unfold"),
    "transformer": (
        "Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder",
        "TransformerEncoderLayer",
    ),
    "upsampling": ("Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"),
}  # fmt: skip
_HOME = {name: home for home, names in _LATER.items() for name in names}
_SUBMODULES = ("modules", "utils", *_LATER)

__all__ = [
    *activation.__all__, *containers.__all__, *conv.__all__, *dropout.__all__, *linear.__all__, *loss.__all__,
    "Module", *norm.__all__, "Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter",
    *pooling.__all__, "Flatten", "Unflatten", *sparse.__all__, *_HOME,
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME and name not in _SUBMODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_SUBMODULES})
