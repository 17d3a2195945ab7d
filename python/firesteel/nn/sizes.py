"""Numbers given once for several dimensions."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["ntuple", "pair", "quadruple", "single", "triple"]


def ntuple(value: Any, count: int) -> tuple:
    """The value as a tuple: a sequence as it is, a single value repeated.

    >>> ntuple(3, 2), ntuple([1, 2], 2)
    ((3, 3), (1, 2))
    """
    return (value,) * count if isinstance(value, (int, float, str)) or not hasattr(value, "__iter__") else tuple(value)


def single(value: Any) -> tuple:
    """`ntuple(value, 1)`."""
    return ntuple(value, 1)


def pair(value: Any) -> tuple:
    """`ntuple(value, 2)`."""
    return ntuple(value, 2)


def triple(value: Any) -> tuple:
    """`ntuple(value, 3)`."""
    return ntuple(value, 3)


def quadruple(value: Any) -> tuple:
    """`ntuple(value, 4)`."""
    return ntuple(value, 4)
