"""View ops as copies (`view_copy`, …) and as writes into a copy (`select_scatter`, …)."""

from __future__ import annotations

from .. import _C
from ._args import deliver, require_tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

Tensor = _C.Tensor


# ---- copies -----------------------------------------------------------------------------------------------------------


def _copied(name: str, view: Any) -> Callable[..., Any]:
    def function(input: Tensor, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        require_tensor(input, name)
        found = view(input, *args, **kwargs)
        if isinstance(found, tuple):
            return deliver(tuple(_C.clone(t, memory_format="contiguous") for t in found), out)
        return deliver(_C.clone(found, memory_format="contiguous"), out)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"As `{name[:-5]}`, but the result has memory of its own."
    return function


_COPIES = {
    f"{name}_copy": _copied(f"{name}_copy", view)
    for name, view in {
        "alias": _C.alias,
        "as_strided": _C.as_strided,
        "detach": lambda x: x.detach(),
        "diagonal": _C.diagonal,
        "expand": Tensor.expand,
        "narrow": _C.narrow,
        "permute": _C.permute,
        "select": _C.select,
        "slice": _C.slice,
        "split_with_sizes": _C.split_with_sizes,
        "squeeze": _C.squeeze,
        "t": _C.t,
        "transpose": _C.transpose,
        "unbind": _C.unbind,
        "unfold": Tensor.unfold,
        "unsqueeze": _C.unsqueeze,
        "view": Tensor.view,
    }.items()
}
globals().update(_COPIES)


# ---- writes into a copy -----------------------------------------------------------------------------------------------


def _written(input: Tensor, src: Tensor, view: Callable[[Tensor], Tensor]) -> Tensor:
    made = input.clone()
    part = view(made)
    if part.shape != src.shape:
        raise RuntimeError(
            "expected src to have a size equal to the slice of self. src size = "
            f"{list(src.shape)}, slice size = {list(part.shape)}"
        )
    part.copy_(src)
    return made


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of the input with one index of a dim replaced."""
    require_tensor(input, "select_scatter")
    return _written(input, src, lambda x: x.select(dim, index))


def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """A copy of the input with a range of a dim replaced."""
    require_tensor(input, "slice_scatter")
    return _written(input, src, lambda x: _C.slice(x, dim, start, end, step))


def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A copy of the input with a diagonal replaced."""
    require_tensor(input, "diagonal_scatter")
    return _written(input, src, lambda x: x.diagonal(offset, dim1, dim2))


def as_strided_scatter(input: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """A copy of the input with the elements at given strides replaced."""
    require_tensor(input, "as_strided_scatter")
    return _written(input, src, lambda x: x.as_strided(size, stride, storage_offset))


def constant_pad_nd(input: Tensor, pad: Any, value: float = 0) -> Tensor:
    """The tensor with more elements of one value at the ends of its last dims; negative numbers cut off.

    Args:
        input: any tensor.
        pad: two numbers for each dim, the last dim first.
        value: of the new elements.
    """
    require_tensor(input, "constant_pad_nd")
    rank = input.dim()
    if len(pad) % 2:
        raise RuntimeError(f"Length of pad must be even but instead it equals {len(pad)}")
    if len(pad) > 2 * rank:
        raise RuntimeError(
            "Length of pad should be no more than twice the number of dimensions of the input. Pad length is "
            f"{len(pad)} while the input has {rank} dimensions."
        )
    inner, shape, places = input, list(input.shape), []
    for i in range(len(pad) // 2):
        d, (before, after) = rank - 1 - i, pad[2 * i : 2 * i + 2]
        n = shape[d]
        if n + before + after < 0:
            raise RuntimeError(
                f"The input size {n}, plus negative padding {before} and {after} resulted in a negative output size, "
                f"which is invalid. Check dimension {d} of your input."
            )
        start, end = max(-before, 0), n - max(-after, 0)
        if start or end != n:
            inner = inner.narrow(d, start, max(end - start, 0))
        shape[d] = n + before + after
        if before > 0 or after > 0:
            places.append((d, max(before, 0), inner.shape[d]))
    if not places:
        return inner.clone()
    made = _C._full(shape, value, dtype=input.dtype, device=input.device)
    part = made
    for d, start, length in places:
        part = part.narrow(d, start, length)
    part.copy_(inner)
    return made


_SCATTERS = ("as_strided_scatter", "diagonal_scatter", "select_scatter", "slice_scatter")
__all__ = [*_COPIES, *_SCATTERS, "constant_pad_nd"]
METHODS = {"narrow_copy": _COPIES["narrow_copy"], **{n: globals()[n] for n in _SCATTERS}}
