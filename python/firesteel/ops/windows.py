"""Window functions for spectra: `torch.hann_window` and its kin; those of `torch.signal.windows` are made of the same."""

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


def finish(values: Tensor | None, length: int, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    wanted = dtype or _C.get_default_dtype()
    made = _C._full((length,), 1.0, dtype=wanted) if values is None else _C._to_copy(values, wanted)
    if device is not None:
        made = made.to(device)
    return made.requires_grad_() if requires_grad else made


def cosines(at: Tensor, weights: Iterable[float]) -> Tensor:
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
    return finish(at if at is None else cosines(at, (0.5, 0.5)), window_length, dtype, device, requires_grad)


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *, dtype: Any = None,
    layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The Hamming window: alpha - beta cos."""
    at = _positions(window_length, periodic, "hamming_window", dtype, device)
    return finish(at if at is None else cosines(at, (alpha, beta)), window_length, dtype, device, requires_grad)


def blackman_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The Blackman window: two cosines."""
    at = _positions(window_length, periodic, "blackman_window", dtype, device)
    values = at if at is None else cosines(at, (0.42, 0.5, 0.08)).abs()
    return finish(values, window_length, dtype, device, requires_grad)


def bartlett_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The Bartlett window: a triangle."""
    at = _positions(window_length, periodic, "bartlett_window", dtype, device)
    values = at if at is None else 1 - (at * 2 - 1).abs()
    return finish(values, window_length, dtype, device, requires_grad)


def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The Kaiser window of shape `beta`."""
    at = _positions(window_length, periodic, "kaiser_window", dtype, device)
    return finish(at if at is None else kaiser(at, beta), window_length, dtype, device, requires_grad)


def kaiser(at: Tensor, beta: float) -> Tensor:
    height = _C._full((), float(beta), dtype=_C.float64)
    return _C.i0((1 - (at * 2 - 1).square()).clamp(min=0).sqrt() * beta) / _C.i0(height)
