"""Sequences, grids and index patterns."""

from __future__ import annotations

import math

from .. import _C
from ._args import deliver, require_tensor, require_tensors, tensor_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "arange", "cartesian_prod", "combinations", "eye", "linspace", "logspace", "meshgrid", "range", "tril_indices",
    "triu_indices", "vander",
]  # fmt: skip

Tensor = _C.Tensor
_count: Any = range  # the builtin, which the function below hides


def arange(
    *bounds: Any, start: Any = 0, end: Any = None, step: Any = 1, out: Tensor | None = None, dtype: Any = None,
    layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """start, start + step, … up to but not including end; called as `arange(end)` or `arange(start, end, step)`.

    >>> import firesteel as fs
    >>> fs.arange(1, 6, 2)
    tensor([1, 3, 5])
    """
    n = len(bounds)
    if n == 1:
        if end is None:
            end = bounds[0]
        else:
            start = bounds[0]
    elif n == 2:
        start, end = bounds
    elif n == 3:
        start, end, step = bounds
    elif n or end is None:
        raise TypeError("arange() takes from 1 to 3 positional arguments: (end), (start, end) or (start, end, step)")
    if dtype is None and out is not None:
        dtype = out.dtype
    if dtype is not None and not dtype.is_floating_point:
        if 0 < abs(step) < 1:
            raise ValueError("step must be nonzero")
        start, end, step = (int(b) if isinstance(b, float) and math.isfinite(b) else b for b in (start, end, step))
    if out is not None:
        return deliver(_C._arange(start, end, step, dtype=dtype, device=device), out)
    made = _C._arange(start, end, step, dtype=dtype, device=device)
    return made.requires_grad_() if requires_grad else made


def range(
    start: Any = 0, end: Any = None, step: Any = 1, *, out: Tensor | None = None, dtype: Any = None,
    layout: Any = None, device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """start, start + step, … up to and including end: deprecated in favour of `arange`."""
    import warnings

    warnings.warn(
        "torch.range is deprecated and will be removed in a future release because its behavior is inconsistent with "
        "Python's range builtin. Instead, use torch.arange, which produces values in [start, end).",
        stacklevel=2,
    )
    if end is None:
        start, end = 0, start
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    steps = math.floor((end - start) / step)
    made = _C._arange(start, start + (steps + 0.5) * step, step, dtype=dtype or _C.get_default_dtype(), device=device)
    if out is not None:
        return deliver(made, out)
    return made.requires_grad_() if requires_grad else made


def linspace(
    start: Any, end: Any, steps: int, *, out: Tensor | None = None, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """`steps` evenly spaced values from start to end, both included.

    >>> import firesteel as fs
    >>> fs.linspace(0, 1, 5)
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    start, end = _ends(start, end, dtype)
    made = _C._linspace(start, end, steps, dtype=dtype, device=device)
    if out is not None:
        return deliver(made, out)
    return made.requires_grad_() if requires_grad else made


def _ends(start: Any, end: Any, dtype: Any) -> list[Any]:
    """Both ends as numbers; as ints for a dtype of integers, from which PyTorch steps."""
    ends = []
    for name, value in (("start", start), ("end", end)):
        if isinstance(value, Tensor):
            if value.dim():
                raise RuntimeError(
                    f"linspace only supports 0-dimensional start and end tensors, but got {name} with {value.dim()} "
                    "dimension(s)."
                )
            value = value.item()
        ends.append(value if dtype is None or dtype.is_floating_point else int(value))
    return ends


def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, out: Tensor | None = None, dtype: Any = None,
    layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """base to the power of `steps` evenly spaced exponents from start to end."""
    wanted = dtype or _C.get_default_dtype()
    start, end = _ends(start, end, wanted)
    exponents = _C._linspace(start, end, steps, dtype=_C.float64, device=device)
    made = _C._to_copy(_C.pow(float(base), exponents), wanted)
    if out is not None:
        return deliver(made, out)
    return made.requires_grad_() if requires_grad else made


def eye(
    n: int, m: int | None = None, *, out: Tensor | None = None, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A matrix of n rows and m columns (n by default) with ones on the diagonal."""
    made = _C._eye(n, m, dtype=dtype, device=device)
    if out is not None:
        return deliver(made, out)
    return made.requires_grad_() if requires_grad else made


def _spread(lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Each index as often as its length says, and a count from 0 for each."""
    index = lengths.repeat_interleave()
    before = lengths.cumsum(0) - lengths
    return index, _C._arange(0, index.numel(), 1, dtype=_C.int64) - before.index_select(0, index)


def _triangle(rows: int, columns: int, offset: int, upper: bool, what: str, dtype: Any, device: Any) -> Tensor:
    if rows < 0 or columns < 0:
        raise RuntimeError(f"{what}: row and column must be non-negative, got {rows} and {columns}")
    if dtype is not None and (dtype.is_floating_point or dtype is _C.bool):
        raise RuntimeError(f'"{what}" not implemented for {dtype!r}')
    made = _C._triangle(rows, columns, offset, upper)
    if dtype is not None and dtype is not _C.int64:
        made = _C._to_copy(made, dtype)
    return made if device is None else made.to(device)


def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None, layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Row and column numbers (a 2 by n tensor) of the lower triangle of a matrix, up to diagonal `offset`."""
    return _triangle(row, col, offset, False, "tril_indices", dtype, device)


def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None, layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Row and column numbers (a 2 by n tensor) of the upper triangle of a matrix, from diagonal `offset` on."""
    return _triangle(row, col, offset, True, "triu_indices", dtype, device)


def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """The coordinates of a grid: for n vectors, n tensors of n dims.

    Args:
        tensors: 1-d or 0-d, given one by one or as a sequence.
        indexing: 'ij' (the default) or 'xy', which exchanges the first two dims.
    """
    given = tensor_list(tensors)
    require_tensors(given, "meshgrid")
    if not given:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    for t in given:
        if t.dim() > 1:
            raise RuntimeError(f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {t!r}")
        if t.dtype is not given[0].dtype:
            raise RuntimeError("torch.meshgrid expects all tensors to have the same dtype")
    n = len(given)
    swap = indexing == "xy" and n > 1
    axes = [1, 0, *_count(2, n)] if swap else list(_count(n))
    shape = [0] * n
    for t, d in zip(given, axes, strict=True):
        shape[d] = t.numel()
    grids = []
    for t, d in zip(given, axes, strict=True):
        line = [1] * n
        line[d] = t.numel()
        grids.append(t.reshape(line).expand(shape))
    return tuple(grids)


def cartesian_prod(*tensors: Any) -> Tensor:
    """All combinations of one element from each vector, one in each row."""
    given = tensor_list(tensors)
    require_tensors(given, "cartesian_prod")
    if not given:
        raise RuntimeError("cartesian_prod expects a non-empty TensorList")
    for t in given:
        if t.dim() != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(t.shape)}")
    if len(given) == 1:
        return given[0].alias() if hasattr(given[0], "alias") else _C.alias(given[0])
    return _C.stack([g.reshape(-1) for g in meshgrid(*given)], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All ways to take r elements of a vector, in order, one in each row.

    >>> import firesteel as fs
    >>> fs.combinations(fs.tensor([1, 2, 3])).tolist()
    [[1, 2], [1, 3], [2, 3]]
    """
    require_tensor(input, "combinations")
    if input.dim() != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return input.narrow(0, 0, 0)
    n, apart = input.numel(), int(not with_replacement)
    chosen = _C._arange(0, n, 1, dtype=_C.int64).unsqueeze(1)
    for _ in _count(1, r):
        # After each choice, all that come after its last element.
        begin = chosen.select(1, -1) + apart
        row, further = _spread(n - begin)
        column = begin.index_select(0, row) + further
        chosen = _C.cat((chosen.index_select(0, row), column.unsqueeze(1)), 1)
    return input[chosen]


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The Vandermonde matrix of a vector: its powers 0 … N-1 in columns, the highest first unless `increasing`."""
    require_tensor(x, "vander", "x")
    if x.dim() != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    n = x.numel() if N is None else N
    if n < 0:
        raise RuntimeError("N must be non-negative.")
    if not n:
        return x.new_empty(x.numel(), 0)
    x = x if x.dtype.is_floating_point else _C._to_copy(x, _C.int64)
    column = x.unsqueeze(1)
    powers = _C.cat((_C._full_like(column, 1), column.expand(-1, n - 1)), 1).cumprod(1)
    return powers if increasing else powers.flip(1)
