"""Window functions (`torch.signal.windows`); `sym` says whether a window is symmetric, or one period of a longer one.

>>> import firesteel as fs
>>> fs.signal.windows.bartlett(5)
tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
"""

from __future__ import annotations

import math

from .. import _C
from ..ops.windows import cosines, finish
from ..ops.windows import kaiser as kaiser_shape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming", "hann",
    "kaiser", "nuttall",
]  # fmt: skip

Tensor = _C.Tensor


def _signal(
    what: str, M: int, sym: bool, dtype: Any, layout: Any, device: Any, requires_grad: bool, values: Any,
) -> Tensor:  # fmt: skip
    wanted = dtype or _C.get_default_dtype()
    if M < 0:
        raise ValueError(f"{what} requires non-negative window length, got M={M}")
    if layout is not None and repr(layout) != "torch.strided":
        raise ValueError(f"{what} is implemented for strided tensors only, got: {layout}")
    if wanted not in (_C.float32, _C.float64):
        raise ValueError(f"{what} expects float32 or float64 dtypes, got: {wanted}")
    count = _C._arange(0, M, 1, dtype=_C.float64)
    made = None if M < 2 else values(count, M if not sym else M - 1)
    return finish(made, M, wanted, device, requires_grad)


def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype: Any = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """exp(-|n - center| / tau)."""
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")

    def values(n: Tensor, last: int) -> Tensor:
        return ((n - (last / 2 if center is None else center)).abs() / -tau).exp()

    return _signal("exponential", M, sym, dtype, layout, device, requires_grad, values)


def cosine(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Half a period of a sine."""

    def values(n: Tensor, last: int) -> Tensor:
        return ((n + 0.5) * (math.pi / (last + 1))).sin()

    return _signal("cosine", M, sym, dtype, layout, device, requires_grad, values)


def gaussian(
    M: int, *, std: float = 1.0, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """exp(-(n / std)² / 2), n counted from the middle."""
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")

    def values(n: Tensor, last: int) -> Tensor:
        return (((n - last / 2) / std).square() * -0.5).exp()

    return _signal("gaussian", M, sym, dtype, layout, device, requires_grad, values)


def kaiser(
    M: int, *, beta: float = 12.0, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The Kaiser window of shape `beta`."""
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")
    return _signal("kaiser", M, sym, dtype, layout, device, requires_grad, lambda n, last: kaiser_shape(n / last, beta))


def bartlett(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A triangle."""

    def values(n: Tensor, last: int) -> Tensor:
        return 1 - (n * (2 / last) - 1).abs()

    return _signal("bartlett", M, sym, dtype, layout, device, requires_grad, values)


def general_cosine(
    M: int, *, a: Iterable[float], sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A sum of cosines with weights `a`."""
    if not isinstance(a, (tuple, list)):
        raise TypeError("Coefficients must be a list/tuple")
    if not a:
        raise ValueError("Coefficients cannot be empty")
    return _signal("general_cosine", M, sym, dtype, layout, device, requires_grad, lambda n, last: cosines(n / last, a))


def general_hamming(M: int, *, alpha: float = 0.54, sym: bool = True, **kwargs: Any) -> Tensor:
    """alpha - (1 - alpha) cos."""
    return general_cosine(M, a=[alpha, 1.0 - alpha], sym=sym, **kwargs)


def hamming(M: int, *, sym: bool = True, **kwargs: Any) -> Tensor:
    """The Hamming window."""
    return general_hamming(M, sym=sym, **kwargs)


def hann(M: int, *, sym: bool = True, **kwargs: Any) -> Tensor:
    """The Hann window."""
    return general_hamming(M, alpha=0.5, sym=sym, **kwargs)


def blackman(M: int, *, sym: bool = True, **kwargs: Any) -> Tensor:
    """The Blackman window."""
    return general_cosine(M, a=[0.42, 0.5, 0.08], sym=sym, **kwargs)


def nuttall(M: int, *, sym: bool = True, **kwargs: Any) -> Tensor:
    """Nuttall's minimum four-term Blackman-Harris window."""
    return general_cosine(M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], sym=sym, **kwargs)
