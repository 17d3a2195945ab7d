"""Dropout layers; in evaluation they pass everything."""

from __future__ import annotations

from firesteel import _C

from .functional import (
    alpha_dropout,
    dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
)
from .module import Module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"]

Tensor = _C.Tensor


class _DropoutNd(Module):
    """What dropout layers have in common."""

    __constants__ = ("p", "inplace")
    _function: Any

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if p < 0 or p > 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return self._function(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_DropoutNd):
    """Sets each value to 0 with a probability and scales the others up (Hinton et al., arXiv 1207.0580).

    Args:
        p: the probability.
        inplace: write into the input.

    Raises:
        ValueError: if `p` is no probability.

    >>> import firesteel as fs
    >>> fs.nn.Dropout(0.5).eval()(fs.ones(2))
    tensor([1., 1.])
    """

    _function = staticmethod(dropout)


class Dropout1d(_DropoutNd):
    """Dropout of whole channels of (N, C, L) or (C, L).

    Args:
        p: the probability.
        inplace: write into the input.
    """

    _function = staticmethod(dropout1d)


class Dropout2d(_DropoutNd):
    """Dropout of whole channels of (N, C, H, W).

    Args:
        p: the probability.
        inplace: write into the input.
    """

    _function = staticmethod(dropout2d)


class Dropout3d(_DropoutNd):
    """Dropout of whole channels of (N, C, D, H, W).

    Args:
        p: the probability.
        inplace: write into the input.
    """

    _function = staticmethod(dropout3d)


class AlphaDropout(_DropoutNd):
    """Dropout for networks with SELU: keeps mean 0 and variance 1.

    Args:
        p: the probability.
        inplace: write into the input.
    """

    _function = staticmethod(alpha_dropout)


class FeatureAlphaDropout(_DropoutNd):
    """`AlphaDropout` of whole channels of (N, C, ...).

    Args:
        p: the probability.
        inplace: write into the input.
    """

    _function = staticmethod(feature_alpha_dropout)
