"""The layers under the module names that PyTorch programs import them by, such as `nn.modules.conv`."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAMES = {
    "activation": ("activation", "attention"),
    "adaptive": ("adaptive",),
    "batchnorm": ("norm",),
    "channelshuffle": ("shape",),
    "container": ("containers",),
    "conv": ("conv", "lazy"),
    "distance": ("distance",),
    "dropout": ("dropout",),
    "flatten": ("shape",),
    "fold": ("shape",),
    "instancenorm": ("norm",),
    "lazy": ("lazy",),
    "linear": ("linear", "attention"),
    "loss": ("loss",),
    "module": ("module", "hooks", "state"),
    "normalization": ("norm",),
    "padding": ("padding",),
    "pixelshuffle": ("shape",),
    "pooling": ("pooling",),
    "rnn": ("rnn",),
    "sparse": ("sparse",),
    "transformer": ("transformer",),
    "upsampling": ("upsampling",),
    "utils": ("sizes",),
}


class _Alias(ModuleType):
    """A module that finds its names in others, which it loads when first asked."""

    def __init__(self, name: str, homes: tuple[str, ...]) -> None:
        super().__init__(f"{__name__}.{name}", f"PyTorch's `nn.modules.{name}`.")
        self._homes = homes

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        for home in self._homes:
            found = import_module(f"firesteel.nn.{home}")
            for wanted in (name, _RENAMED.get(name, name)):
                if hasattr(found, wanted):
                    return getattr(found, wanted)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


_RENAMED = {
    "_IncompatibleKeys": "IncompatibleKeys", "_ntuple": "ntuple", "_pair": "pair", "_quadruple": "quadruple",
    "_single": "single", "_triple": "triple",
}  # fmt: skip

# Entered under their full names, so that `from firesteel.nn.modules.conv import _ConvNd` works as well.
for _name, _homes in _NAMES.items():
    sys.modules[f"{__name__}.{_name}"] = globals()[_name] = _Alias(_name, _homes)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(import_module("firesteel.nn"), name)
