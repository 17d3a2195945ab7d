"""Tensors put together and taken apart."""

from __future__ import annotations

from .. import _C
from ._args import deliver, require_tensor, require_tensors, wrap_dim
from .shape import atleast_1d, atleast_2d, atleast_3d

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = [
    "chunk", "column_stack", "concat", "concatenate", "dsplit", "dstack", "hsplit", "hstack", "row_stack", "split",
    "tensor_split", "unsafe_chunk", "unsafe_split", "unsafe_split_with_sizes", "vsplit", "vstack",
]  # fmt: skip

Tensor = _C.Tensor
concat = _C.cat
concatenate = _C.cat


def _checked(tensors: Any, what: str) -> None:
    require_tensors(tensors, what)
    if not len(tensors):
        raise RuntimeError(f"{what} expects a non-empty TensorList")


def hstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Tensors side by side: along the second dim, vectors along the first."""
    _checked(tensors, "hstack")
    tensors = atleast_1d(*tensors) if len(tensors) > 1 else [atleast_1d(tensors[0])]
    return deliver(_C.cat(list(tensors), 0 if tensors[0].dim() == 1 else 1), out)


def vstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Tensors one below the other: along the first dim, vectors as rows."""
    _checked(tensors, "vstack")
    return deliver(_C.cat([atleast_2d(t) for t in tensors], 0), out)


row_stack = vstack


def dstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Tensors one behind the other: along the third dim."""
    _checked(tensors, "dstack")
    return deliver(_C.cat([atleast_3d(t) for t in tensors], 2), out)


def column_stack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Vectors as the columns of a matrix; matrices side by side."""
    _checked(tensors, "column_stack")
    columns = [t.reshape(t.numel(), 1) if t.dim() < 2 else t for t in tensors]
    return hstack(columns, out=out)


def split(tensor: Tensor, split_size_or_sections: Any = None, dim: int = 0, **named: Any) -> tuple[Tensor, ...]:
    """Pieces of a dim, as views.

    Args:
        tensor: what to split.
        split_size_or_sections: the length of each piece (the last may be shorter), or a list of lengths.
        dim: along which dim.

    >>> import firesteel as fs
    >>> [t.tolist() for t in fs.split(fs.arange(5), 2)]
    [[0, 1], [2, 3], [4]]
    """
    size = split_size_or_sections if not named else named.pop("split_size", split_size_or_sections)
    if named:
        raise TypeError(f"split() got an unexpected keyword argument '{next(iter(named))}'")
    if isinstance(size, (tuple, list)):
        return _C.split_with_sizes(tensor, size, dim)
    return _C._split(tensor, size, dim)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` pieces of a dim, all of one length but the last, as views."""
    require_tensor(input, "chunk")
    if input.dim() == 0:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = input.shape[wrap_dim(dim, input.dim())]
    size = -(-n // chunks)
    if size == 0:
        return _C.split_with_sizes(input, [0] * chunks, dim)
    return _C._split(input, size, dim)


def tensor_split(input: Tensor, indices_or_sections: Any = None, dim: int = 0, **named: Any) -> tuple[Tensor, ...]:
    """Pieces of a dim, as views: n of nearly one length, or cut at given indices.

    Args:
        input: what to split.
        indices_or_sections: the number of pieces, or the indices (ints or a 1-d tensor) to cut before.
        dim: along which dim.
    """
    require_tensor(input, "tensor_split")
    where = named.pop("sections", None) if "sections" in named else named.pop("indices", indices_or_sections)
    if named:
        raise TypeError(f"tensor_split() got an unexpected keyword argument '{next(iter(named))}'")
    if input.dim() == 0:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    d = wrap_dim(dim, input.dim())
    n = input.shape[d]
    if isinstance(where, Tensor):
        if where.dtype is not _C.int64:
            raise RuntimeError(
                f"tensor_split expected tensor_indices_or_sections to have dtype of long, but got {where.dtype}"
            )
        if where.dim() > 1:
            raise RuntimeError(
                "tensor_split expected tensor_indices_or_sections to be a zero-dimensional or one-dimensional tensor, "
                f"but got a tensor with {where.dim()} dims"
            )
        where = where.tolist()
    if isinstance(where, int):
        if where <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {where}")
        short, longer = divmod(n, where)
        return _C.split_with_sizes(input, [short + (i < longer) for i in range(where)], dim)
    pieces, start = [], 0
    for end in (*where, n):
        pieces.append(_C.slice(input, d, start, end))
        start = end
    return tuple(pieces)


def _axis_split(input: Tensor, where: Any, what: str, rank: int, dim: int) -> tuple[Tensor, ...]:
    require_tensor(input, what)
    if input.dim() < rank:
        raise RuntimeError(
            f"torch.{what} requires a tensor with at least {rank} dimension{'s' if rank > 1 else ''}, but got a tensor "
            f"with {input.dim()} dimensions!"
        )
    if isinstance(where, int):
        if where == 0 or input.shape[dim] % where:
            raise RuntimeError(
                f"torch.{what} attempted to split along dimension {dim}, but the size of the dimension "
                f"{input.shape[dim]} is not divisible by the split_size {where}!"
            )
    elif not isinstance(where, (tuple, list)):
        raise TypeError(f"{what}(): argument 'indices' must be tuple of ints, not {type(where).__name__}")
    return tensor_split(input, where, dim)


def hsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Pieces of the second dim; of the first for a vector."""
    return _axis_split(input, indices_or_sections, "hsplit", 1, 0 if input.dim() == 1 else 1)


def vsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Pieces of the first dim of at least two."""
    return _axis_split(input, indices_or_sections, "vsplit", 2, 0)


def dsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Pieces of the third dim of at least three."""
    return _axis_split(input, indices_or_sections, "dsplit", 3, 2)


def unsafe_split(input: Tensor, split_size: int, dim: int = 0) -> tuple[Tensor, ...]:
    """As `split`, of pieces that may be written in place."""
    return tuple(t.clone() for t in _C._split(input, split_size, dim))


def unsafe_split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """As `split_with_sizes`, of pieces that may be written in place."""
    return tuple(t.clone() for t in _C.split_with_sizes(input, split_sizes, dim))


def unsafe_chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """As `chunk`, of pieces that may be written in place."""
    return tuple(t.clone() for t in chunk(input, chunks, dim))


METHODS = {
    "chunk": chunk, "dsplit": dsplit, "hsplit": hsplit, "split": split, "tensor_split": tensor_split,
    "unsafe_chunk": unsafe_chunk, "unsafe_split": unsafe_split, "unsafe_split_with_sizes": unsafe_split_with_sizes,
    "vsplit": vsplit,
}  # fmt: skip
