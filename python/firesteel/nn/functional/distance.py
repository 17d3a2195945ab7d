"""Distances and similarities between vectors."""

from __future__ import annotations

from firesteel import _C, ops

Tensor = _C.Tensor

__all__ = ["cosine_similarity", "pairwise_distance", "pdist"]


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along a dimension.

    Args:
        x1: any shape.
        x2: of a shape that broadcasts with `x1`.
        dim: the dimension of the vectors.
        eps: smallest length to divide by.

    >>> import firesteel as fs
    >>> fs.nn.functional.cosine_similarity(fs.tensor([[1.0, 0.0]]), fs.tensor([[2.0, 0.0]]))
    tensor([1.])
    """
    x1, x2 = ops.broadcast_tensors(x1, x2)
    if not x1.is_floating_point():
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {x1.dtype}")
    # Shorter vectors than eps count as eps long, and pass no gradient through their length.
    first = x1 / x1.norm(2, dim, keepdim=True).clamp(min=eps)
    second = x2 / x2.norm(2, dim, keepdim=True).clamp(min=eps)
    return (first * second).sum(dim)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of the differences of vectors along the last dimension.

    Args:
        x1: (..., D).
        x2: (..., D), of a shape that broadcasts with `x1`.
        p: the norm.
        eps: added to each difference.
        keepdim: keep the last dimension, with size 1.
    """
    return (x1 - x2 + eps).norm(p, -1, keepdim=keepdim)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm distances of all pairs of rows.

    Args:
        input: (N, M).
        p: the norm.

    Returns:
        The distances of rows (0, 1), (0, 2), ..., (N-2, N-1): N (N - 1) / 2 of them.
    """
    if input.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.dim()}D")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    rows, width = input.shape
    if not width:
        input = _C.cat((input, input.new_zeros(rows, 1)), 1)
    if width >= _WIDE and rows > 1:
        # Row by row with all that follow it: pairs need not be gathered.
        parts = [input.narrow(0, i + 1, rows - 1 - i) - input.narrow(0, i, 1) for i in range(rows - 1)]
        return _C.cat([_C.linalg_vector_norm(part, p, -1) for part in parts])
    first, second = ops.triu_indices(rows, rows, 1)
    return (input.index_select(0, first) - input.index_select(0, second)).norm(p, -1)


# Elements of rows that are worth a call for each row.
_WIDE = 64
