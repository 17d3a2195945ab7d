"""Dropout: training with a random part of the values left out."""

from __future__ import annotations

import warnings

from firesteel import _C, ops

Tensor = _C.Tensor

__all__ = ["alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout"]

# The value that SELU approaches at minus infinity, negated: scale * alpha.
_SELU_LIMIT = 1.7580993408473766


def _check(p: float) -> None:
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _per_channel(input: Tensor) -> list[int]:
    return list(input.shape[:2]) + [1] * (input.dim() - 2)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Sets each value to 0 with probability `p` and scales the others by `1 / (1 - p)`.

    Args:
        input: any shape.
        p: the probability.
        training: otherwise nothing is changed.
        inplace: write into the input.

    Raises:
        ValueError: if `p` is no probability.

    >>> import firesteel as fs
    >>> fs.nn.functional.dropout(fs.ones(3), p=0.0)
    tensor([1., 1., 1.])
    """
    _check(p)
    if not inplace:
        return ops.dropout(input, p, training)
    if not training or p == 0:
        return input
    return input.mul_(ops.dropout(ops.ones_like(input), p, True))


def _drop_channels(input: Tensor, p: float, training: bool, inplace: bool) -> Tensor:
    if not training or p == 0 or input.numel() == 0:
        return input
    mask = ops.dropout(input.new_ones(_per_channel(input)), p, True)
    return input.mul_(mask) if inplace else input * mask


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of (N, C, L) or (C, L).

    Raises:
        RuntimeError: if the input has another number of dimensions.
    """
    _check(p)
    if input.dim() not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.dim()}D input. Note that dropout1d exists to "
            "provide channel-wise dropout on inputs with 1 spatial dimension, a channel dimension, and an optional "
            "batch dimension (i.e. 2D or 3D inputs)."
        )
    if input.dim() == 2:
        output = _drop_channels(input.unsqueeze(0), p, training, inplace)
        return input if inplace else output.squeeze(0)
    return _drop_channels(input, p, training, inplace)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of (N, C, H, W)."""
    _check(p)
    if input.dim() not in (3, 4):
        warnings.warn(
            f"dropout2d: Received a {input.dim()}-D input to dropout2d, which is deprecated and will result in an "
            "error in a future release. To retain the behavior and silence this warning, please use dropout instead. "
            "Note that dropout2d exists to provide channel-wise dropout on inputs with 2 spatial dimensions, a "
            "channel dimension, and an optional batch dimension (i.e. 3D or 4D inputs).",
            stacklevel=2,
        )
    elif input.dim() == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is "
            "desired - input is interpreted as shape (N, C, L), where C is the channel dim. This behavior will change "
            "in a future release to interpret the input as one without a batch dimension, i.e. shape (C, H, W). To "
            "maintain the 1D channel-wise dropout behavior, please switch to using dropout1d instead.",
            stacklevel=2,
        )
    if training:
        _check_channels(input)
    return _drop_channels(input, p, training, inplace)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of (N, C, D, H, W) or (C, D, H, W)."""
    _check(p)
    if input.dim() not in (4, 5):
        warnings.warn(
            f"dropout3d: Received a {input.dim()}-D input to dropout3d, which is deprecated and will result in an "
            "error in a future release. To retain the behavior and silence this warning, please use dropout instead. "
            "Note that dropout3d exists to provide channel-wise dropout on inputs with 3 spatial dimensions, a "
            "channel dimension, and an optional batch dimension (i.e. 4D or 5D inputs).",
            stacklevel=2,
        )
    if input.dim() == 4:
        output = _drop_channels(input.unsqueeze(0), p, training, inplace)
        return input if inplace else output.squeeze(0)
    if training:
        _check_channels(input)
    return _drop_channels(input, p, training, inplace)


def _check_channels(input: Tensor) -> None:
    if input.dim() < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")


def _alpha(input: Tensor, shape: list[int], p: float, training: bool, inplace: bool) -> Tensor:
    if not training or p == 0 or input.numel() == 0:
        return input
    if p == 1:
        return input.mul_(0) if inplace else input * 0
    kept = ops.dropout(input.new_ones(shape), p, True) != 0
    # Chosen so that mean 0 and variance 1 stay what they are (arXiv 1706.02515, section 3).
    scale = ((_SELU_LIMIT**2 * p + 1) * (1 - p)) ** -0.5
    shift = scale * _SELU_LIMIT * p
    factor = kept.to(input.dtype) * scale
    offset = (kept.to(input.dtype) - 1) * (_SELU_LIMIT * scale) + shift
    return input.mul_(factor).add_(offset) if inplace else input * factor + offset


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout for networks with SELU: keeps mean 0 and variance 1.

    Args:
        input: any shape.
        p: the probability with which a value is left out.
        training: otherwise nothing is changed.
        inplace: write into the input.
    """
    _check(p)
    return _alpha(input, list(input.shape), p, training, inplace)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """`alpha_dropout` of whole channels of (N, C, ...)."""
    _check(p)
    if training:
        _check_channels(input)
    return _alpha(input, _per_channel(input), p, training, inplace)
