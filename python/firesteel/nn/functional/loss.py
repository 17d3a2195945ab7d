"""Losses that compare numbers with numbers, and the way their reduction is named.

The losses of classes are in `classes.py`, those of distances in `margins.py`.
"""

from __future__ import annotations

import math
import warnings

from firesteel import _C, ops
from firesteel.autograd.rows import losses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Tensor = _C.Tensor

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "gaussian_nll_loss", "huber_loss", "kl_div", "l1_loss",
    "mse_loss", "poisson_nll_loss", "smooth_l1_loss",
]  # fmt: skip


def legacy_reduction(size_average: bool | None, reduce: bool | None, emit_warning: bool = True) -> str:
    """The reduction that the two older arguments mean, with PyTorch's warning."""
    average = True if size_average is None else size_average
    name = "none" if reduce is False else "mean" if average else "sum"
    if emit_warning:
        warnings.warn(
            f"size_average and reduce args will be deprecated, please use reduction='{name}' instead.", stacklevel=4
        )
    return name


def chosen(reduction: str, size_average: bool | None, reduce: bool | None) -> str:
    """The name of the reduction, from whichever arguments were given.

    Raises:
        ValueError: if there is none of that name.
    """
    if size_average is not None or reduce is not None:
        return legacy_reduction(size_average, reduce)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """The mean or the sum of a loss, or the loss itself."""
    if reduction == "mean":
        return loss.mean()
    return loss.sum() if reduction == "sum" else loss


_CODE = {"none": 0, "mean": 1, "sum": 2}


def _pair_loss(kind: int, input: Tensor, target: Tensor, reduction: str, value: float = 1.0) -> Tensor:
    """The loss in one pass, or from other ops where sizes or dtypes differ."""
    if input.dtype == target.dtype and input.shape == target.shape and input.is_floating_point():
        return _C._pair_loss(input, target, kind, _CODE[reduction], value)
    return reduced(losses.pair(input, target, kind, value), reduction)


def _warn_if_sizes_differ(input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        warnings.warn(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}). "
            "This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            stacklevel=3,
        )


def _weighted(loss: Tensor, input: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    if weight is None:
        return reduced(loss, reduction)
    if weight.size() != input.size():
        raise ValueError("Weights and input must have the same size.")
    loss = loss * weight
    return loss.sum() / weight.sum() if reduction == "mean" else reduced(loss, reduction)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The square of the difference.

    Args:
        input: any shape.
        target: of the same shape.
        size_average: older form of `reduction`.
        reduce: older form of `reduction`.
        reduction: "mean", "sum" or "none".
        weight: of the same shape, a factor for each value.

    >>> import firesteel as fs
    >>> fs.nn.functional.mse_loss(fs.tensor([1.0, 2.0]), fs.tensor([1.0, 4.0]))
    tensor(2.)
    """
    _warn_if_sizes_differ(input, target)
    reduction = chosen(reduction, size_average, reduce)
    if weight is None:
        return _pair_loss(losses.SQUARE, input, target, reduction)
    return _weighted((input - target).square(), input, weight, reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The absolute difference; the arguments are those of `mse_loss`."""
    _warn_if_sizes_differ(input, target)
    reduction = chosen(reduction, size_average, reduce)
    if weight is None:
        return _pair_loss(losses.ABSOLUTE, input, target, reduction)
    return _weighted((input - target).abs(), input, weight, reduction)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """The absolute difference less `beta / 2`; below `beta` the square over `2 beta`.

    Args:
        input: any shape.
        target: of the same shape.
        size_average: older form of `reduction`.
        reduce: older form of `reduction`.
        reduction: "mean", "sum" or "none".
        beta: where the one passes into the other.

    Raises:
        RuntimeError: if `beta` is negative.
    """
    _warn_if_sizes_differ(input, target)
    reduction = chosen(reduction, size_average, reduce)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    return _pair_loss(losses.SMOOTH_ABSOLUTE if beta else losses.ABSOLUTE, input, target, reduction, beta)


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """Half the square of the difference; above `delta` linear.

    Args:
        input: any shape.
        target: of the same shape.
        reduction: "mean", "sum" or "none".
        delta: where the one passes into the other.
        weight: of the same shape, a factor for each value.

    Raises:
        RuntimeError: if `delta` is not above 0.
    """
    _warn_if_sizes_differ(input, target)
    reduction = chosen(reduction, None, None)
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    if weight is None:
        return _pair_loss(losses.HUBER, input, target, reduction, delta)
    return _weighted(losses.pair(input, target, losses.HUBER, delta), input, weight, reduction)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Minus the logarithm of the probability given to what is true.

    Args:
        input: any shape, probabilities.
        target: of the same shape, 0 to 1.
        weight: of a shape that broadcasts, a factor for each value.
        size_average: older form of `reduction`.
        reduce: older form of `reduction`.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: if the shapes differ.
    """
    reduction = chosen(reduction, size_average, reduce)
    if target.size() != input.size():
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}) is "
            "deprecated. Please ensure they have the same size."
        )
    if weight is None:
        return _pair_loss(losses.BINARY, input, target, reduction)
    return reduced(_pair_loss(losses.BINARY, input, target, "none") * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """`binary_cross_entropy` of the input's sigmoid, without overflow.

    Args:
        input: any shape.
        target: of the same shape, 0 to 1.
        weight: of a shape that broadcasts, a factor for each value.
        size_average: older form of `reduction`.
        reduce: older form of `reduction`.
        reduction: "mean", "sum" or "none".
        pos_weight: of a shape that broadcasts, a factor for what is true.

    Raises:
        ValueError: if the shapes differ.

    >>> import firesteel as fs
    >>> fs.nn.functional.binary_cross_entropy_with_logits(fs.zeros(2), fs.tensor([0.0, 1.0]))
    tensor(0.6931)
    """
    reduction = chosen(reduction, size_average, reduce)
    if target.size() != input.size():
        raise ValueError(f"Target size ({target.size()}) must be the same as input size ({input.size()})")
    if pos_weight is not None:
        log = ((pos_weight - 1) * target + 1) * _C.logsigmoid(input)
        loss = (1 - target) * input - log
    elif weight is None:
        return _pair_loss(losses.BINARY_LOGITS, input, target, reduction)
    else:
        loss = _pair_loss(losses.BINARY_LOGITS, input, target, "none")
    return reduced(loss if weight is None else loss * weight, reduction)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """The divergence of Kullback and Leibler of two distributions.

    Args:
        input: any shape, logarithms of probabilities.
        target: of a shape that broadcasts, probabilities (or their logarithms).
        size_average: older form of `reduction`.
        reduce: older form of `reduction`.
        reduction: "batchmean" (the sum over the batch size), "mean", "sum" or "none".
        log_target: whether the target holds logarithms.
    """
    if size_average is None and reduce is None and reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            "'batchmean' divides only by the batch size, and aligns with the KL div math definition."
            "'mean' will be changed to behave the same as 'batchmean' in the next major release.",
            stacklevel=2,
        )
    per_sample = size_average is None and reduce is None and reduction == "batchmean"
    reduction = "sum" if per_sample else chosen(reduction, size_average, reduce)
    kind = losses.DIVERGENCE_LOGS if log_target else losses.DIVERGENCE
    total = _pair_loss(kind, input, target, reduction)
    return total / input.size(0) if per_sample and input.dim() else total


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Minus the logarithm of a Poisson distribution's probability.

    Args:
        input: any shape, the rate or its logarithm.
        target: of the same shape, counts.
        log_input: whether the input holds logarithms.
        full: add the approximation of `log(target!)`.
        size_average: older form of `reduction`.
        eps: added before a logarithm.
        reduce: older form of `reduction`.
        reduction: "mean", "sum" or "none".
    """
    reduction = chosen(reduction, size_average, reduce)
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        large = target > 1
        safe = _C.where(large, target, 1.0)
        stirling = safe * safe.log() - safe + 0.5 * (2 * math.pi * safe).log()
        loss = loss + stirling.masked_fill(large.logical_not(), 0)
    return reduced(loss, reduction)


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """Minus the logarithm of a normal distribution's density.

    Args:
        input: any shape, the means.
        target: of the same shape.
        var: the variances: of the same shape, or with a last size of 1, or a number.
        full: add the constant term.
        eps: smallest variance.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: if a variance is negative or its shape does not fit.
    """
    if not isinstance(var, Tensor):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = var * ops.ones_like(input)
    elif bool((var < 0).any()):
        raise ValueError("var has negative entry/entries")
    if var.size() != input.size():
        if input.size()[:-1] == var.size():
            var = var.unsqueeze(-1)
        elif not (
            input.dim() == var.dim() and sum(b for a, b in zip(input.size(), var.size(), strict=False) if a != b) == 1
        ):
            raise ValueError("var is of incorrect size")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid")
    # The lower limit must not cut the gradient.
    var = var + (var.detach().clamp(min=eps) - var.detach())
    loss = 0.5 * (var.log() + (input - target).square() / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduced(loss, reduction)
