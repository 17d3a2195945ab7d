"""Order: sorting indices, distinct elements, search in sorted sequences."""

from __future__ import annotations

from .. import _C
from ._args import deliver, require_tensor, wrap_dim
from .shape import movedim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["argsort", "bucketize", "msort", "searchsorted", "unique", "unique_consecutive"]

Tensor = _C.Tensor


def msort(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Sorted along the first dim."""
    require_tensor(input, "msort")
    return deliver(_C.sort(input, stable=True, dim=0)[0], out)


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices that sort along a dim."""
    require_tensor(input, "argsort")
    return _C.sort(input, stable=stable, dim=dim, descending=descending)[1]


def searchsorted(
    sorted_sequence: Tensor, input: Any, *, out_int32: bool = False, right: bool = False, side: str | None = None,
    sorter: Tensor | None = None, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Where elements would be put into a sorted sequence.

    Args:
        sorted_sequence: one sequence, or one in each row.
        input: a tensor with the same rows, or a number for a single sequence.
        out_int32: whether the indices are int32.
        right: behind equal elements instead of before them.
        side: 'left' or 'right', the same as words.
        sorter: indices that sort the sequence, where it is not sorted itself.
        out: where to write the result.
    """
    require_tensor(sorted_sequence, "searchsorted", "sorted_sequence")
    if side not in (None, "left", "right"):
        raise RuntimeError(f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}")
    if right and side == "left":
        raise RuntimeError("torch.searchsorted(): side and right can't be set to opposites")
    if sorter is not None:
        if sorter.shape != sorted_sequence.shape:
            raise RuntimeError(
                "torch.searchsorted(): boundary and sorter must have the same size, but got boundary tensor "
                f"{list(sorted_sequence.shape)} and got sorter tensor {list(sorter.shape)}"
            )
        if sorter.dtype is not _C.int64:
            raise RuntimeError(f"torch.searchsorted(): sorter must be a tensor of long dtype but got {sorter.dtype!r}")
        if sorter.numel() and not bool(((sorter >= 0) & (sorter < sorter.shape[-1])).all()):
            raise RuntimeError("torch.searchsorted(): sorter index out of range")
        sorted_sequence = _C.gather(sorted_sequence, -1, sorter)
    if not isinstance(input, Tensor):
        if sorted_sequence.dim() != 1:
            raise RuntimeError(
                "torch.searchsorted(): input value can be a scalar only when boundaries tensor dimension is 1"
            )
        input = _C._tensor(input, sorted_sequence.dtype)
    found = _C.searchsorted(
        sorted_sequence.detach(), input.detach(), out_int32=out_int32, right=right or side == "right"
    )
    return deliver(found, out)


def bucketize(
    input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False, out: Tensor | None = None
) -> Tensor:
    """The bucket, between boundaries, that each element lies in.

    >>> import firesteel as fs
    >>> fs.bucketize(fs.tensor([1, 5, 9]), fs.tensor([2, 6]))
    tensor([0, 1, 2])
    """
    require_tensor(boundaries, "bucketize", "boundaries", 2)
    if boundaries.dim() != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({boundaries.dim()})")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right, out=out)


# ---- distinct elements ------------------------------------------------------------------------------------------------


def _pick(result: Tensor, inverse: Tensor, counts: Tensor, return_inverse: bool, return_counts: bool) -> Any:
    if return_inverse and return_counts:
        return result, inverse, counts
    if return_inverse:
        return result, inverse
    return (result, counts) if return_counts else result


def unique(
    input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False,
    dim: int | None = None,
) -> Any:  # fmt: skip
    """The distinct elements, sorted, or the distinct slices along a dim.

    Args:
        input: any tensor.
        sorted: taken for compatibility: the result is always sorted.
        return_inverse: also where in the result each element is.
        return_counts: also how often each occurs.
        dim: along which dim; without it, of single elements.

    >>> import firesteel as fs
    >>> fs.unique(fs.tensor([3, 1, 3]))
    tensor([1, 3])
    """
    require_tensor(input, "unique")
    if dim is None:
        result, inverse, counts = _C._unique(input.detach(), return_inverse)
        return _pick(result, inverse, counts, return_inverse, return_counts)
    x, rows, d = _rows(input.detach(), dim)
    n = rows.shape[0]
    if n == 0:
        nothing = _C._full((0,), 0, dtype=_C.int64)
        return _pick(x, nothing, nothing, return_inverse, return_counts)
    order = _C._arange(0, n, 1, dtype=_C.int64)
    for k in range(rows.shape[1] - 1, -1, -1):
        column = rows.select(1, k).index_select(0, order)
        order = order.index_select(0, _C.sort(column, stable=True, dim=0)[1])
    first, group, counts = _runs(rows.index_select(0, order))
    inverse = _C.index_copy(_C._full((n,), 0, dtype=_C.int64), 0, order, group)
    return _pick(x.index_select(d, order.index_select(0, first)), inverse, counts, return_inverse, return_counts)


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """Of equal neighbours only the first, among all elements or slices along a dim.

    Args:
        input: any tensor.
        return_inverse: also where in the result each element is.
        return_counts: also how many neighbours each stands for.
        dim: along which dim; without it, of single elements.
    """
    require_tensor(input, "unique_consecutive")
    if dim is None:
        x = input.detach().reshape(-1)
        if not x.numel():
            nothing = _C._full((0,), 0, dtype=_C.int64)
            return _pick(x, nothing.reshape(input.shape), nothing, return_inverse, return_counts)
        start = _starts(x)
        inverse = _groups(start).reshape(input.shape) if return_inverse else start
        counts = _lengths(start)[1] if return_counts else start
        return _pick(x.masked_select(start), inverse, counts, return_inverse, return_counts)
    x, rows, d = _rows(input.detach(), dim)
    if not rows.shape[0]:
        nothing = _C._full((0,), 0, dtype=_C.int64)
        return _pick(x, nothing, nothing, return_inverse, return_counts)
    first, group, counts = _runs(rows)
    return _pick(x.index_select(d, first), group, counts, return_inverse, return_counts)


def _rows(x: Tensor, dim: int) -> tuple[Tensor, Tensor, int]:
    """The tensor, and its slices along a dim as rows of a matrix."""
    d = wrap_dim(dim, x.dim())
    if x.dim() == 0:
        return x.reshape(1), x.reshape(1, 1), 0
    n = x.shape[d]
    if not x.numel() and n:
        raise RuntimeError(
            f"There are 0 sized dimensions, and they aren't selected, so unique cannot be applied: {list(x.shape)}"
        )
    return x, movedim(x, d, 0).reshape(n, -1) if n else x.reshape(0, 1), d


def _runs(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of runs of equal rows: the first index of each, each row's run, and the lengths."""
    start = _starts(rows)
    first, lengths = _lengths(start)
    return first, _groups(start), lengths


def _starts(rows: Tensor) -> Tensor:
    """Whether each row (or element) is another than the one before."""
    start = _C._full((rows.shape[0],), True, dtype=_C.bool)
    if rows.shape[0] > 1:
        differ = rows[1:] != rows[:-1]
        start[1:] = differ if differ.dim() == 1 else differ.any(1)
    return start


def _groups(start: Tensor) -> Tensor:
    return start.to(_C.int64).cumsum(0) - 1


def _lengths(start: Tensor) -> tuple[Tensor, Tensor]:
    """Where the runs begin, and how long they are."""
    first = _C.nonzero(start).reshape(-1)
    return first, _C.cat([first[1:], _C._full((1,), start.shape[0], dtype=_C.int64)]) - first


METHODS = {
    "argsort": argsort, "msort": msort, "unique": unique, "unique_consecutive": unique_consecutive,
}  # fmt: skip
