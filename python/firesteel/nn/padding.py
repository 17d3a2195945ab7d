"""Padding layers over the last one, two or three dimensions."""

from __future__ import annotations

from firesteel import _C

from .functional.padding import pad
from .module import Module
from .sizes import ntuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d",
    "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d",
    "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
]  # fmt: skip

Tensor = _C.Tensor


class _Pad(Module):
    """What padding layers have in common.

    Args:
        padding: one number, or two for each dimension, the last dimension first.
    """

    __constants__: tuple[str, ...] = ("padding",)
    _dims: int
    _mode: str

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = ntuple(padding, 2 * self._dims)

    def forward(self, input: Tensor) -> Tensor:
        return pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    """Adds one value on all sides.

    Args:
        padding: one number, or two for each dimension, the last dimension first.
        value: the value.
    """

    __constants__ = ("padding", "value")

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    """Adds zeros on all sides."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad1d(_ConstantPad):
    """Adds one value at both ends of (N, C, W) or (C, W)."""

    _dims = 1


class ConstantPad2d(_ConstantPad):
    """Adds one value on all sides of (N, C, H, W) or (C, H, W).

    Args:
        padding: one number, or four: left, right, top, bottom.
        value: the value.

    >>> import firesteel as fs
    >>> fs.nn.ConstantPad2d((1, 0, 0, 0), 7.0)(fs.ones(1, 1, 1))
    tensor([[[7., 1.]]])
    """

    _dims = 2


class ConstantPad3d(_ConstantPad):
    """Adds one value on all sides of (N, C, D, H, W) or (C, D, H, W)."""

    _dims = 3


class ZeroPad1d(_ZeroPad):
    """Adds zeros at both ends of (N, C, W) or (C, W)."""

    _dims = 1


class ZeroPad2d(_ZeroPad):
    """Adds zeros on all sides of (N, C, H, W) or (C, H, W)."""

    _dims = 2


class ZeroPad3d(_ZeroPad):
    """Adds zeros on all sides of (N, C, D, H, W) or (C, D, H, W)."""

    _dims = 3


class ReflectionPad1d(_Pad):
    """Goes on with the mirror image of (N, C, W) or (C, W), without the outermost value."""

    _dims = 1
    _mode = "reflect"


class ReflectionPad2d(_Pad):
    """Goes on with the mirror image of (N, C, H, W) or (C, H, W), without the outermost values."""

    _dims = 2
    _mode = "reflect"


class ReflectionPad3d(_Pad):
    """Goes on with the mirror image of (N, C, D, H, W) or (C, D, H, W), without the outermost values."""

    _dims = 3
    _mode = "reflect"


class ReplicationPad1d(_Pad):
    """Repeats the outermost values of (N, C, W) or (C, W)."""

    _dims = 1
    _mode = "replicate"


class ReplicationPad2d(_Pad):
    """Repeats the outermost values of (N, C, H, W) or (C, H, W)."""

    _dims = 2
    _mode = "replicate"


class ReplicationPad3d(_Pad):
    """Repeats the outermost values of (N, C, D, H, W) or (C, D, H, W)."""

    _dims = 3
    _mode = "replicate"


class _CircularPad(_Pad):
    _mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        least = self._dims + 1
        if input.dim() not in (least, least + 1):
            raise ValueError(f"expected {least}D or {least + 1}D input (got {input.dim()}D input)")
        return super().forward(input)


class CircularPad1d(_CircularPad):
    """Goes on at the other end of (N, C, W) or (C, W)."""

    _dims = 1


class CircularPad2d(_CircularPad):
    """Goes on at the other side of (N, C, H, W) or (C, H, W)."""

    _dims = 2


class CircularPad3d(_CircularPad):
    """Goes on at the other side of (N, C, D, H, W) or (C, D, H, W)."""

    _dims = 3
