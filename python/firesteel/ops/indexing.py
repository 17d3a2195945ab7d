"""Reading and writing by index tensors, beyond the table's ops."""

from __future__ import annotations

from .. import _C
from ._args import broadcast_shapes, deliver, in_place, require_tensor, wrap_dim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["index_reduce", "put", "scatter", "take_along_dim"]

Tensor = _C.Tensor


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None, *, out: Tensor | None = None) -> Tensor:
    """Elements picked along a dim by indices that broadcast with the input; without a dim, from the flat tensor."""
    require_tensor(input, "take_along_dim")
    require_tensor(indices, "take_along_dim", "indices", 2)
    if indices.dtype is not _C.int64:
        raise RuntimeError(f"torch.take_along_dim(): dtype of indices should be Long but got {indices.dtype!r}")
    if dim is None:
        flat = indices.reshape(-1)
        return deliver(_C.gather(input.reshape(-1), 0, _C.where(flat < 0, flat + input.numel(), flat)), out)
    if input.dim() != indices.dim():
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{input.dim()} dimensions for input, and {indices.dim()} dimensions for indices"
        )
    d = wrap_dim(dim, input.dim())
    own, theirs = list(input.shape), list(indices.shape)
    own[d] = theirs[d] = 1
    shape = list(broadcast_shapes(own, theirs))
    shape[d] = input.shape[d]
    source = input.expand(shape)
    shape[d] = indices.shape[d]
    indices = _C.where(indices < 0, indices + input.shape[d], indices)
    return deliver(_C.gather(source, d, indices.expand(shape)), out)


def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of the input with elements, counted as if it had one dim, replaced (or added to)."""
    require_tensor(input, "put")
    if index.dtype is not _C.int64:
        raise RuntimeError(f"put_(): Expected a long tensor for index, but got {index.dtype!r}")
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"put_(): self and source expected to have the same dtype, but got self.dtype = {input.dtype} and "
            f"source.dtype = {source.dtype}"
        )
    if index.numel() != source.numel():
        raise RuntimeError(
            "put_(): Expected source and index to have the same number of elements, but got source.numel() = "
            f"{source.numel()}, index.numel() = {index.numel()}"
        )
    if not index.numel():
        return input.clone()
    if not input.numel():
        raise IndexError("put_(): Expected self to not be empty when index is not empty")
    flat = _C.index_put(input.reshape(-1), [index.reshape(-1)], source.reshape(-1), accumulate)
    return flat.reshape(input.shape)


_REDUCTIONS = {"prod": "prod", "mean": "mean", "amax": "amax", "amin": "amin"}


def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Slices of `source` combined into the slices of the input that an index names.

    Args:
        input: what they are combined into.
        dim: along which dim.
        index: where each slice of the source goes.
        source: the slices.
        reduce: 'prod', 'mean', 'amax' or 'amin'.
        include_self: whether what stands in the input takes part.
        out: where to write the result.
    """
    require_tensor(input, "index_reduce")
    if reduce not in _REDUCTIONS:
        raise RuntimeError(f"index_reduce_(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    if index.dim() > 1:
        raise IndexError(f"index_reduce_(): Index is supposed to be a vector, but got dim: {index.dim()}")
    d = wrap_dim(dim, input.dim())
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"index_reduce_(): self and source expected to have the same dtype, but got {input.dtype} and {source.dtype}"
        )
    x, s = (t.reshape(1) if t.dim() == 0 else t for t in (input, source))
    shape = [1] * s.dim()
    shape[d] = index.numel()
    if s.shape[d] != index.numel():
        raise IndexError(
            f"index_reduce_(): Number of indices ({index.numel()}) should be equal to source.size(dim) ({s.shape[d]})"
        )
    where = index.reshape(shape).expand(s.shape)
    made = _C.scatter_reduce(x, d, where, s, reduce, include_self=include_self)
    return deliver(made.reshape(input.shape), out)


def scatter(
    input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """A copy of the input with elements written along a dim.

    Args:
        input: what is copied.
        dim: along which dim.
        index: for each element of `src`, where it goes.
        src: a tensor, or a number.
        value: a number, instead of `src`.
        reduce: 'add' or 'multiply' to combine with what stands there.
        out: where to write the result.
    """
    what = value if src is None else src
    if reduce is None:
        return deliver(_C.scatter(input, dim, index, what), out)
    if reduce not in ("add", "multiply"):
        raise RuntimeError(f"reduce argument must be either add or multiply, got {reduce}")
    if not isinstance(what, Tensor):
        what = _C._full(index.shape, what, dtype=input.dtype)
    if reduce == "add":
        return deliver(_C.scatter_add(input, dim, index, what), out)
    return deliver(_C.scatter_reduce(input, dim, index, what, "prod"), out)


def _scatter_(
    self: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Tensor:
    what = value if src is None else src
    if reduce is None:
        return _native_scatter_(self, dim, index, what)
    return _reduced_scatter_(self, dim, index, what, reduce=reduce)


_native_scatter_: Any = Tensor.scatter_
_reduced_scatter_ = in_place(scatter)

METHODS = {
    "index_reduce": index_reduce, "index_reduce_": in_place(index_reduce), "put": put, "put_": in_place(put),
    "scatter": scatter, "scatter_": _scatter_, "take_along_dim": take_along_dim,
}  # fmt: skip
