"""Losses of classification."""

from __future__ import annotations

from firesteel import _C, ops
from firesteel.autograd.rows.losses import cross_entropy as _composite

from .activation import logsigmoid
from .loss import chosen, reduced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Tensor = _C.Tensor

__all__ = [
    "cross_entropy", "ctc_loss", "linear_cross_entropy", "multi_margin_loss", "multilabel_margin_loss",
    "multilabel_soft_margin_loss", "nll_loss", "soft_margin_loss",
]  # fmt: skip

_CODE = {"none": 0, "mean": 1, "sum": 2}


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Minus the input's value at the target class.

    Args:
        input: (N, C, ...) or (C,), logarithms of probabilities.
        target: (N, ...) or (), classes 0 to C - 1.
        weight: (C,), a factor for each class; the mean is weighted by it.
        size_average: older form of `reduction`.
        ignore_index: a target that does not count.
        reduce: older form of `reduction`.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: if the batch sizes differ.
        IndexError: if a target is no class.
    """
    reduction = chosen(reduction, size_average, reduce)
    if input.dim() < 1:
        raise ValueError(f"Expected 1 or more dimensions (got {input.dim()})")
    if input.dim() != 1 and target.dim() and input.size(0) != target.size(0):
        raise ValueError(f"Expected input batch_size ({input.size(0)}) to match target batch_size ({target.size(0)}).")
    if input.dim() == 1:
        loss = _C.nll_loss_nd(input.unsqueeze(0), target.reshape([1]), weight, _CODE[reduction], ignore_index)
        return loss.squeeze(0) if reduction == "none" and target.dim() == 0 else loss
    return _C.nll_loss_nd(input, target, weight, _CODE[reduction], ignore_index)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Minus the logarithm of the probability that the input's softmax gives to the target.

    Args:
        input: (N, C, ...) or (C,), scores.
        target: (N, ...) or (), classes 0 to C - 1; or of the input's shape, probabilities.
        weight: (C,), a factor for each class.
        size_average: older form of `reduction`.
        ignore_index: a target class that does not count.
        reduce: older form of `reduction`.
        reduction: "mean", "sum" or "none".
        label_smoothing: the share of the target spread over all classes.

    Raises:
        ValueError: if the batch sizes differ.
        RuntimeError: if the shapes do not fit, or the smoothing is not between 0 and 1.

    >>> import firesteel as fs
    >>> fs.nn.functional.cross_entropy(fs.zeros(2, 4), fs.tensor([0, 3]))
    tensor(1.3863)
    """
    reduction = chosen(reduction, size_average, reduce)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing:g}")
    if input.dim() < 1:
        raise ValueError(f"Expected 1 or more dimensions (got {input.dim()})")
    if target.is_floating_point() and target.shape == input.shape:
        if ignore_index >= 0:
            raise RuntimeError("ignore_index is not supported for floating point target")
        if target.dtype != input.dtype:
            return _composite(input, target, weight, _CODE[reduction], ignore_index, label_smoothing)
    loss = _C._cross_entropy(input, target, weight, _CODE[reduction], ignore_index, label_smoothing)
    if input.dim() == 1 and reduction == "none" and target.shape != input.shape:
        # One line without a batch has the shape of its target.
        return loss.reshape(target.shape)
    return loss


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Tensor:
    """The `cross_entropy` of a linear map's result.

    Args:
        input: (N, in_features) or (in_features,).
        linear_weight: (C, in_features) or (C, d1, ..., in_features).
        target: (N, d1, ...), classes; or (N, C, d1, ...), probabilities.
        linear_bias: (C, d1, ...).
        weight: (C,), a factor for each class.
        reduction: "mean", "sum" or "none".
        ignore_index: a target class that does not count.
        label_smoothing: the share of the target spread over all classes.
        options: accepted, changes nothing: the result is made at once.

    Raises:
        RuntimeError: if the shapes do not fit.
    """
    if input.dim() not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.dim()}")
    if linear_weight.dim() < 2:
        raise RuntimeError(f"expected linear_weight with dimensionality 2 or higher, got {linear_weight.dim()}")
    *outputs, features = linear_weight.shape
    flat = linear_weight.reshape([-1, features])
    bias = None if linear_bias is None else linear_bias.reshape([-1])
    scores = _C.linear(input, flat, bias).reshape([*input.shape[:-1], *outputs])
    return cross_entropy(
        scores,
        target,
        weight,
        ignore_index=-100 if ignore_index is None else ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`log(1 + exp(-target * input))` for targets of 1 and -1.

    Args:
        input: any shape.
        target: of the same shape.
        size_average: older form of `reduction`.
        reduce: older form of `reduction`.
        reduction: "mean", "sum" or "none".
    """
    reduction = chosen(reduction, size_average, reduce)
    return reduced(-logsigmoid(target * input), reduction)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over classes of the binary cross entropy of each.

    Args:
        input: (N, C), scores.
        target: (N, C), 0 or 1.
        weight: (C,), a factor for each class.
        size_average: older form of `reduction`.
        reduce: older form of `reduction`.
        reduction: "mean", "sum" or "none".
    """
    reduction = chosen(reduction, size_average, reduce)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return reduced(loss.sum(-1) / input.size(-1), reduction)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """By how much the other classes come within a margin of the target class.

    Args:
        input: (N, C) or (C,), scores.
        target: (N,) or (), classes.
        p: exponent, 1 or 2.
        margin: the margin.
        weight: (C,), a factor for each class.
        size_average: older form of `reduction`.
        reduce: older form of `reduction`.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: if `p` is neither 1 nor 2.
    """
    reduction = chosen(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.dim() != 1:
        raise ValueError("weight must be one-dimensional")
    if input.dim() > 2 or (input.numel() == 0 and input.shape[-1:] == (0,)):
        raise RuntimeError(
            f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(input.shape)}"
        )
    rows = input.reshape([-1, input.size(-1) if input.dim() else 1])
    index = target.reshape([-1, 1])
    if index.size(0) != rows.size(0):
        raise RuntimeError(f"inconsistent target size, expected {rows.size(0)} but got {list(target.shape)}")
    distance = (rows - rows.gather(1, index) + margin).clamp(min=0)
    if p == 2:
        distance = distance.square()
    if weight is not None:
        distance = distance * weight.gather(0, index.flatten()).unsqueeze(1)
    own = ops.zeros_like(rows, dtype=_C.bool).scatter(1, index, True)
    loss = distance.masked_fill(own, 0).sum(1) / rows.size(1)
    loss = reduced(loss, reduction)
    return loss.squeeze(0) if reduction == "none" and target.dim() == 0 else loss


def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """By how much classes that are not targets come within 1 of those that are.

    Args:
        input: (N, C) or (C,), scores.
        target: of the same shape: classes, ended by -1.
        size_average: older form of `reduction`.
        reduce: older form of `reduction`.
        reduction: "mean", "sum" or "none".
    """
    reduction = chosen(reduction, size_average, reduce)
    if target.shape != input.shape:
        raise RuntimeError(f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}")
    classes = input.size(-1) if input.dim() else 1
    rows, targets = input.reshape([-1, classes]), target.reshape([-1, classes])
    # A target counts as long as no -1 stands before it.
    counts = (targets < 0).to(_C.int64).cumsum(1) == 0
    index = targets.masked_fill(counts.logical_not(), 0)
    hits = ops.zeros_like(rows).scatter_add(1, index, counts.to(rows.dtype)) > 0
    own = rows.gather(1, index)
    gaps = (1 - own.unsqueeze(2) + rows.unsqueeze(1)).clamp(min=0)
    use = counts.unsqueeze(2) & hits.logical_not().unsqueeze(1)
    loss = gaps.masked_fill(use.logical_not(), 0).sum([1, 2]) / classes
    loss = reduced(loss, reduction)
    return loss.squeeze(0) if reduction == "none" and input.dim() < 2 else loss


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Minus the log probability of a label sequence over all its alignments (Graves et al., 2006).

    Args:
        log_probs: (T, N, C) or (T, C), logarithms of probabilities.
        targets: (N, S), or all of them in one row.
        input_lengths: (N,), how many of the T steps count.
        target_lengths: (N,), how many labels.
        blank: the class that means no label.
        reduction: "mean" (over the batch, each divided by its target length), "sum" or "none".
        zero_infinity: count a target that is longer than its input as 0.

    Returns:
        The loss; (N,) without reduction.
    """
    batched = log_probs.dim() == 3
    if not batched:
        log_probs, targets = log_probs.unsqueeze(1), targets.reshape([1, -1])
    steps = [int(n) for n in ops.as_tensor(input_lengths).reshape([-1]).tolist()]
    sizes = [int(n) for n in ops.as_tensor(target_lengths).reshape([-1]).tolist()]
    losses = []
    start = 0
    for at, (length, size) in enumerate(zip(steps, sizes, strict=False)):
        labels = targets[at, :size] if targets.dim() == 2 else targets[start : start + size]
        start += size
        losses.append(_one_ctc(log_probs[:length, at], labels.to(_C.int64), blank))
    loss = _C.stack(losses)
    if zero_infinity:
        loss = _C.where(loss == float("inf"), ops.zeros_like(loss), loss)
    if reduction == "mean":
        return (loss / loss.new_tensor([max(size, 1) for size in sizes])).mean()
    if reduction == "sum":
        return loss.sum()
    return loss if batched else loss.squeeze(0)


def _one_ctc(log_probs: Tensor, labels: Tensor, blank: int) -> Tensor:
    """The loss of one sequence: (T, C) and (S,)."""
    size = labels.size(0)
    states = ops.full([2 * size + 1], blank, dtype=_C.int64)
    states[1::2] = labels
    emitted = log_probs.index_select(1, states)
    # A label may be entered from the one before it, skipping the blank between, unless the two are equal.
    skips = ops.zeros([2 * size + 1], dtype=_C.bool)
    if size > 1:
        skips[3::2] = labels[1:] != labels[:-1]
    never = log_probs.new_full([2], -float("inf"))
    alpha = _C.cat([emitted[0, :2], never[:1].expand(2 * size - 1)]) if size else emitted[0]
    for step in range(1, log_probs.size(0)):
        before = _C.cat([never[:1], alpha[:-1]])
        two_before = _C.cat([never, alpha[:-2]])[: 2 * size + 1] if size else never[:1]
        two_before = two_before.masked_fill(skips.logical_not(), -float("inf"))
        alpha = _log_sum(_C.stack([alpha, before, two_before])) + emitted[step]
    # PyTorch's gradient takes for granted that the input is a log_softmax: this adds 0 to the loss and what is
    # missing, exp(log_probs), to the gradient.
    mass = log_probs.exp().sum()
    return (-_log_sum(alpha[-2:]) if size else -alpha[-1]) + (mass - mass.detach())


def _log_sum(input: Tensor) -> Tensor:
    """The logsumexp over the first dimension, with gradient 0 where all is minus infinity."""
    top = input.detach().max(0)[0]
    impossible = top == -float("inf")
    total = (input - top.masked_fill(impossible, 0)).exp().sum(0)
    safe = _C.where(impossible, ops.ones_like(total), total)
    return (safe.log() + top.masked_fill(impossible, 0)).masked_fill(impossible, -float("inf"))
