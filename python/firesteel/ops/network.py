"""Layers as functions, made of simpler ops: transposed convolution, root-mean-square normalisation."""

from __future__ import annotations

from .. import _C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

Tensor = _C.Tensor

__all__ = ["conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "rms_norm"]


def _each(value: Any, n: int) -> list[int]:
    items = [value] * n if isinstance(value, int) else list(value)
    return items * n if len(items) == 1 else items


def _conv_transpose(
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    name = f"conv_transpose{n}d"
    if input.ndim not in (n + 1, n + 2):
        raise RuntimeError(
            f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input of size: {list(input.shape)}"
        )
    if weight.ndim != n + 2:
        raise RuntimeError(f"{name}: expected a weight of {n + 2} dims, got {list(weight.shape)}")
    stride, padding, dilation = _each(stride, n), _each(padding, n), _each(dilation, n)
    extra = _each(output_padding, n)
    channels = input.shape[-n - 1]
    if weight.shape[0] != channels:
        raise RuntimeError(
            f"Given transposed=1, weight of size {list(weight.shape)}, expected input{list(input.shape)} to have "
            f"{weight.shape[0]} channels, but got {channels} channels instead"
        )
    if groups < 1 or channels % groups:
        raise RuntimeError(f"{name}: {channels} channels cannot be divided into {groups} groups")
    for e, s, d in zip(extra, stride, dilation, strict=True):
        if e >= s and e >= d:
            raise RuntimeError(
                f"output padding must be smaller than either stride or dilation, but got output_padding {extra}, "
                f"stride {stride}, dilation {dilation}"
            )
    size = [
        (i - 1) * s - 2 * p + d * (k - 1) + e + 1
        for i, k, s, p, d, e in zip(input.shape[-n:], weight.shape[2:], stride, padding, dilation, extra, strict=True)
    ]
    shape = [*input.shape[: -n - 1], weight.shape[1] * groups, *size]
    # The transposed convolution is the gradient of a convolution by its input.
    out = _C._conv_input(input, weight, shape, stride, padding, dilation, groups)
    if bias is not None:
        if bias.ndim != 1 or bias.shape[0] != shape[-n - 1]:
            raise RuntimeError(f"{name}: expected bias of shape [{shape[-n - 1]}], got {list(bias.shape)}")
        out = out + bias.reshape(-1, *[1] * n)
    return out


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """Transposed convolution of `input` (N, C, L) with `weight` (C, C_out / groups, K)."""
    return _conv_transpose(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """Transposed convolution of `input` (N, C, H, W) with `weight` (C, C_out / groups, KH, KW)."""
    return _conv_transpose(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """Transposed convolution of `input` (N, C, D, H, W) with `weight` (C, C_out / groups, KD, KH, KW)."""
    return _conv_transpose(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """`input` divided by its root mean square over the last dims (Zhang and Sennrich, 2019), times `weight`."""
    shape = tuple(normalized_shape)
    if tuple(input.shape[-len(shape) :]) != shape:
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*, {', '.join(map(str, shape))}], but got "
            f"input of size{list(input.shape)}"
        )
    if eps is None:
        eps = 2.0**-52 if input.dtype is _C.float64 else 2.0**-23
    wide = input.to(_C.float32) if input.dtype in (_C.float16, _C.bfloat16) else input
    dims = list(range(-len(shape), 0))
    out = (wide * (wide.square().mean(dims, True) + eps).rsqrt()).to(input.dtype)
    return out if weight is None else out * weight
