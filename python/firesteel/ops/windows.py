"""Window functions for spectra: `torch.hann_window` and its kin, and those of `torch.signal.windows`."""

from __future__ import annotations

import math

from .. import _C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window"]

Tensor = _C.Tensor


def _positions(length: int, periodic: bool, what: str, dtype: Any, device: Any) -> Tensor | None:
    """0 … length-1 over the window's period in float64; None for windows of none or one element."""
    wanted = dtype or _C.get_default_dtype()
    if not wanted.is_floating_point:
        raise RuntimeError(f"{what} expects floating point dtypes, got: {wanted}")
    if length < 0:
        raise RuntimeError(f"{what} requires non-negative window_length, got window_length={length}")
    if length < 2:
        return None
    return _C._arange(0, length, 1, dtype=_C.float64) / (length if periodic else length - 1)


def _finish(values: Tensor | None, length: int, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    wanted = dtype or _C.get_default_dtype()
    made = _C._full((length,), 1.0, dtype=wanted) if values is None else _C._to_copy(values, wanted)
    if device is not None:
        made = made.to(device)
    return made.requires_grad_() if requires_grad else made


def _cosines(at: Tensor, weights: Iterable[float]) -> Tensor:
    """weights[0] - weights[1] cos(2 pi t) + weights[2] cos(4 pi t) - …"""
    total = _C._full_like(at, 0.0)
    for k, w in enumerate(weights):
        total = total + (at * (2 * math.pi * k)).cos() * (w if k % 2 == 0 else -w)
    return total


def hann_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The Hann window: one cosine, zero at the ends."""
    at = _positions(window_length, periodic, "hann_window", dtype, device)
    return _finish(at if at is None else _cosines(at, (0.5, 0.5)), window_length, dtype, device, requires_grad)


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *, dtype: Any = None,
    layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The Hamming window: alpha - beta cos."""
    at = _positions(window_length, periodic, "hamming_window", dtype, device)
    return _finish(at if at is None else _cosines(at, (alpha, beta)), window_length, dtype, device, requires_grad)


def blackman_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The Blackman window: two cosines."""
    at = _positions(window_length, periodic, "blackman_window", dtype, device)
    values = at if at is None else _cosines(at, (0.42, 0.5, 0.08)).abs()
    return _finish(values, window_length, dtype, device, requires_grad)


def bartlett_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The Bartlett window: a triangle."""
    at = _positions(window_length, periodic, "bartlett_window", dtype, device)
    values = at if at is None else 1 - (at * 2 - 1).abs()
    return _finish(values, window_length, dtype, device, requires_grad)


def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The Kaiser window of shape `beta`."""
    at = _positions(window_length, periodic, "kaiser_window", dtype, device)
    return _finish(at if at is None else _kaiser(at, beta), window_length, dtype, device, requires_grad)


def _kaiser(at: Tensor, beta: float) -> Tensor:
    height = _C._full((), float(beta), dtype=_C.float64)
    return _C.i0((1 - (at * 2 - 1).square()).clamp(min=0).sqrt() * beta) / _C.i0(height)


# ---- torch.signal.windows: `sym` says whether the window is symmetric, or one period of a longer one ------------------


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
    return _finish(made, M, wanted, device, requires_grad)


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
    return _signal("kaiser", M, sym, dtype, layout, device, requires_grad, lambda n, last: _kaiser(n / last, beta))


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
    return _signal(
        "general_cosine", M, sym, dtype, layout, device, requires_grad, lambda n, last: _cosines(n / last, a)
    )


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
