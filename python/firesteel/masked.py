"""Reductions and normalisations over the elements that a mask lets through (`torch.masked`).

>>> import firesteel as fs
>>> fs.masked.mean(fs.tensor([1.0, 2.0, 30.0]), mask=fs.tensor([True, True, False]))
tensor(1.5000)
"""

from __future__ import annotations

import math

from . import _C
from .ops._args import cast, require_tensor, wrap_dims

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "amax", "amin", "argmax", "argmin", "cumprod", "cumsum", "log_softmax", "logaddexp", "logsumexp", "mean", "median",
    "norm", "normalize", "prod", "softmax", "softmin", "std", "sum", "var",
]  # fmt: skip

Tensor = _C.Tensor
inf = math.inf


def _filled(x: Tensor, mask: Tensor | None, value: float) -> Tensor:
    """The input with what the mask leaves out replaced by a value that does not count."""
    if mask is None:
        return x
    if mask.dtype is not _C.bool:
        mask = mask != 0
    if mask.dim() > x.dim():
        raise IndexError("_input_mask expected broadcastable mask (got mask dimensionality higher than of the input)")
    if math.isinf(value) and not x.dtype.is_floating_point:
        from ._formats import iinfo

        value = (iinfo(x.dtype).max if value > 0 else iinfo(x.dtype).min) if x.dtype is not _C.bool else value > 0
    return _C.where(mask, x, value)


def _dims(x: Tensor, dim: Any) -> list[int]:
    return list(range(x.dim())) if dim is None or dim == () else wrap_dims(dim, x.dim())


def _count(x: Tensor, mask: Tensor | None, dims: list[int], keepdim: bool, dtype: Any) -> Tensor:
    kept = _C._full(x.shape, 1, dtype=dtype) if mask is None else cast(mask.expand(x.shape) != 0, dtype)
    return _C.sum(kept, dims, keepdim, dtype=dtype)


def sum(
    input: Tensor, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """The sum over dims (all by default)."""
    require_tensor(input, "sum")
    return _C.sum(_filled(input, mask, 0), _dims(input, dim), keepdim, dtype=dtype)


def prod(
    input: Tensor, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """The product over dims (all by default)."""
    require_tensor(input, "prod")
    result = _filled(input, mask, 1)
    for d in reversed(_dims(input, dim)):
        result = _C.prod(result, d, keepdim)
    return cast(result, dtype) if dtype is not None or input.dim() else _C.prod(result)


def mean(
    input: Tensor, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """The mean over dims (all by default); NaN where nothing is let through."""
    require_tensor(input, "mean")
    dims = _dims(input, dim)
    if mask is None:
        return _C.mean(input, dims, keepdim, dtype=dtype)
    total = sum(input, dim, keepdim=keepdim, dtype=dtype, mask=mask)
    return total / _count(input, mask, dims, keepdim, total.dtype)


def _moment(
    input: Tensor, dim: Any, unbiased: bool | None, correction: Any, keepdim: bool, dtype: Any, mask: Tensor | None
) -> Tensor:
    if unbiased is not None and correction is not None:
        raise ValueError("Only one of unbiased and correction can be given")
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    x = input if dtype is None else cast(input, dtype)
    if not x.dtype.is_floating_point:
        x = cast(x, _C.get_default_dtype())
    dims = _dims(x, dim)
    count = _count(x, mask, dims, True, x.dtype)
    centre = sum(x, dim, keepdim=True, mask=mask) / count
    total = sum((x - centre).square(), dim, keepdim=keepdim, mask=mask)
    return total / (_count(x, mask, dims, keepdim, x.dtype) - correction).clamp(min=0)


def var(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, *, correction: Any = None, keepdim: bool = False,
    dtype: Any = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The variance over dims (all by default)."""
    return _moment(input, dim, unbiased, correction, keepdim, dtype, mask)


def std(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, *, correction: Any = None, keepdim: bool = False,
    dtype: Any = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The standard deviation over dims (all by default)."""
    return _moment(input, dim, unbiased, correction, keepdim, dtype, mask).sqrt()


def amax(
    input: Tensor, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """The largest element over dims (all by default); -inf where nothing is let through."""
    x = input if dtype is None else cast(input, dtype)
    return _C.amax(_filled(x, mask, -inf), _dims(x, dim), keepdim)


def amin(
    input: Tensor, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """The smallest element over dims (all by default); inf where nothing is let through."""
    x = input if dtype is None else cast(input, dtype)
    return _C.amin(_filled(x, mask, inf), _dims(x, dim), keepdim)


def argmax(
    input: Tensor, dim: int | None = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """The index of the largest element, in the input's dtype."""
    x = input if dtype is None else cast(input, dtype)
    return cast(_C.argmax(_filled(x, mask, -inf), dim, keepdim), x.dtype)


def argmin(
    input: Tensor, dim: int | None = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """The index of the smallest element, in the input's dtype."""
    x = input if dtype is None else cast(input, dtype)
    return cast(_C.argmin(_filled(x, mask, inf), dim, keepdim), x.dtype)


def median(
    input: Tensor, dim: int = -1, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """The median along a dim; of floats, NaN where nothing is let through.

    Raises:
        ValueError: of integers, if nothing is let through somewhere.
    """
    x = input if dtype is None else cast(input, dtype)
    whole = not x.dtype.is_floating_point
    if whole:
        x = cast(x, _C.get_default_dtype())
    if x.dim() == 0:
        return x.clone()
    if mask is None:
        return _C.median(x, dim, keepdim)[0]
    result = _C.nanmedian(_filled(x, mask, math.nan), dim, keepdim)[0]
    if whole and bool(result.isnan().any()):
        raise ValueError("masked median of integers expects no fully masked out rows")
    return result


def logsumexp(
    input: Tensor, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """The logarithm of the sum of exponentials over dims (all by default)."""
    x = input if dtype is None else cast(input, dtype)
    return cast(_C.logsumexp(_filled(x, mask, -inf), _dims(x, dim), keepdim), x.dtype)


def logaddexp(
    input: Tensor, other: Tensor, *, dtype: Any = None, input_mask: Tensor | None = None,
    other_mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """log(exp(input) + exp(other)), each with its own mask."""
    a, b = (t if dtype is None else cast(t, dtype) for t in (input, other))
    return _C.logaddexp(_filled(a, input_mask, -inf), _filled(b, other_mask, -inf))


def norm(
    input: Tensor, ord: float | None = 2.0, dim: Any = None, *, keepdim: bool = False, dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The norm of vectors over dims (all by default)."""
    order = 2.0 if ord is None else ord
    x = _filled(input, mask, 0.0 if order >= 0 else inf)
    return _C.linalg_vector_norm(x, order, _dims(input, dim), keepdim, dtype=dtype)


def normalize(
    input: Tensor, ord: float, dim: int, *, eps: float = 1e-12, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """Vectors along a dim divided by their norm, or by `eps` where that is larger."""
    x = input if dtype is None else cast(input, dtype)
    return _filled(x, mask, 0.0) / norm(x, ord, dim, keepdim=True, mask=mask).clamp(min=eps)


def softmax(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """`softmax` along a dim; 0 for what the mask leaves out."""
    return _C.softmax(_filled(input if dtype is None else cast(input, dtype), mask, -inf), dim)


def log_softmax(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """`log_softmax` along a dim; -inf for what the mask leaves out."""
    return _C.log_softmax(_filled(input if dtype is None else cast(input, dtype), mask, -inf), dim)


def softmin(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """`softmax` of the negative input along a dim; 0 for what the mask leaves out."""
    return _C.softmax(-_filled(input if dtype is None else cast(input, dtype), mask, inf), dim)


def cumsum(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Running sums along a dim."""
    return _C.cumsum(_filled(input, mask, 0), dim, dtype=dtype)


def cumprod(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Running products along a dim."""
    return _C.cumprod(_filled(input, mask, 1), dim, dtype=dtype)
