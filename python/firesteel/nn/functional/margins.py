"""Losses of distances and rankings."""

from __future__ import annotations

from firesteel import _C, ops

from .distance import pairwise_distance
from .loss import chosen, reduced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

Tensor = _C.Tensor

__all__ = [
    "cosine_embedding_loss", "hinge_embedding_loss", "margin_ranking_loss", "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]  # fmt: skip


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """By how much the first input fails to be larger (target 1) or smaller (-1) than the second.

    Args:
        input1: (N,) or any shape.
        input2: of the same shape.
        target: of the same shape, 1 or -1.
        margin: the difference wanted.
        size_average: older form of `reduction`.
        reduce: older form of `reduction`.
        reduction: "mean", "sum" or "none".

    Raises:
        RuntimeError: if the numbers of dimensions differ.
    """
    reduction = chosen(reduction, size_average, reduce)
    if not input1.dim() == input2.dim() == target.dim():
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.size()}, input2: {input2.size()}, target: {target.size()} "
        )
    return reduced((margin - target * (input1 - input2)).clamp(min=0), reduction)


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The input itself for targets of 1, what is missing to the margin for -1.

    Args:
        input: any shape, often distances.
        target: of the same shape, 1 or -1.
        margin: the distance wanted of what does not belong together.
        size_average: older form of `reduction`.
        reduce: older form of `reduction`.
        reduction: "mean", "sum" or "none".
    """
    reduction = chosen(reduction, size_average, reduce)
    apart = (margin - input).clamp(min=0).masked_fill(target == 1, 0)
    together = input.masked_fill(target == -1, 0)
    return reduced(apart + together, reduction)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """One minus the cosine for targets of 1, by how much the cosine is above the margin for -1.

    Args:
        input1: (N, D) or (D,).
        input2: of the same shape.
        target: (N,) or (), 1 or -1.
        margin: the largest cosine wanted of what does not belong together.
        size_average: older form of `reduction`.
        reduce: older form of `reduction`.
        reduction: "mean", "sum" or "none".
    """
    reduction = chosen(reduction, size_average, reduce)
    if target.dim() not in (0, 1):
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if input1.dim() != target.dim() + 1 or input2.dim() != target.dim() + 1:
        wanted = f"{target.dim() + 1}D input tensors"
        raise RuntimeError(
            f"{target.dim()}D target tensor expects {wanted}, but found inputs with sizes {list(input1.shape)} and "
            f"{list(input2.shape)}."
        )
    # The two lengths are multiplied before the division; the small number keeps the root's gradient finite.
    small = 1e-12
    dot = (input1 * input2).sum(-1)
    lengths = ((input1.square().sum(-1) + small) * (input2.square().sum(-1) + small)).sqrt()
    cosine = dot / lengths
    zeros = ops.zeros_like(cosine)
    loss = _C.where(target == 1, 1 - cosine, zeros) + _C.where(target == -1, (cosine - margin).clamp(min=0), zeros)
    return reduced(loss, reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """By how much the negative fails to be farther from the anchor than the positive, by a margin.

    Args:
        anchor: (N, D) or (D,).
        positive: of the same shape.
        negative: of the same shape.
        margin: the difference wanted, above 0.
        p: the norm of the distance.
        eps: added to each difference.
        swap: use the distance of positive and negative where it is smaller.
        size_average: older form of `reduction`.
        reduce: older form of `reduction`.
        reduction: "mean", "sum" or "none".
    """
    reduction = chosen(reduction, size_average, reduce)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return pairwise_distance(a, b, p, eps)

    return _triplet(anchor, positive, negative, distance, margin, swap, reduction, "triplet_margin_loss")


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` with any distance; by default the Euclidean."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    return _triplet(anchor, positive, negative, distance_function or pairwise_distance, margin, swap, reduction, "")


def _triplet(
    anchor: Tensor, positive: Tensor, negative: Tensor, distance: Callable, margin: float, swap: bool,
    reduction: str, name: str,
) -> Tensor:  # fmt: skip
    if not anchor.dim() == positive.dim() == negative.dim():
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {anchor.dim()}D, positive {positive.dim()}D, and negative {negative.dim()}D inputs"
        )
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = _C.minimum(far, distance(positive, negative))
    return reduced((margin + near - far).clamp(min=0), reduction)
