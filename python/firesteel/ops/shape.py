"""Other shapes of the same elements: moved, repeated, rolled, turned, put on diagonals."""

from __future__ import annotations

from .. import _C
from ._args import broadcast_shapes, ints, require_tensor, require_tensors, tensor_list, wrap_dim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "adjoint", "atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "broadcast_shapes", "broadcast_tensors",
    "broadcast_to", "diag", "diag_embed", "diagflat", "fliplr", "flipud", "moveaxis", "movedim", "ravel",
    "repeat_interleave", "roll", "rot90", "swapaxes", "swapdims", "tile", "trace", "unflatten", "unravel_index",
]  # fmt: skip

Tensor = _C.Tensor


# ---- dims in another order --------------------------------------------------------------------------------------------


def ravel(input: Tensor) -> Tensor:
    """All elements in one dim: a view where the strides allow it."""
    require_tensor(input, "ravel")
    return input.reshape(-1)


def movedim(input: Tensor, source: int | tuple[int, ...], destination: int | tuple[int, ...]) -> Tensor:
    """Dims moved to other positions; the others keep their order.

    Raises:
        TypeError: if dims are no integers.
        IndexError: if there is no such dim.
        RuntimeError: if a dim is named twice, or the two lists differ in length.

    >>> import firesteel as fs
    >>> fs.movedim(fs.zeros(2, 3, 4), 0, -1).shape
    torch.Size([3, 4, 2])
    """
    require_tensor(input, "movedim")
    rank = input.dim()
    if rank and isinstance(source, int) and isinstance(destination, int):
        order = list(range(rank))
        order.insert(wrap_dim(destination, rank), order.pop(wrap_dim(source, rank)))
        return input.permute(order)
    for name, given in (("source", source), ("destination", destination)):
        if not isinstance(given, int) and not (
            isinstance(given, (tuple, list)) and all(isinstance(d, int) for d in given)
        ):
            raise TypeError(f"movedim(): argument '{name}' must be int or tuple of ints, not {given!r}")
    sources = (source,) if isinstance(source, int) else source
    targets = (destination,) if isinstance(destination, int) else destination
    if len(sources) != len(targets):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({list(sources)} dims) should contain the same number "
            f"of dims as destination ({list(targets)} dims)"
        )
    if not sources:
        return input.permute(tuple(range(rank)))
    froms = [wrap_dim(d, rank) for d in sources]
    tos = [wrap_dim(d, rank) for d in targets]
    for dims, given in ((froms, sources), (tos, targets)):
        if len(set(dims)) != len(dims):
            which = "source" if dims is froms else "destination"
            raise RuntimeError(f"movedim: repeated dim in `{which}` ({list(given)})")
    if rank == 0:
        return input.permute(())
    order = [-1] * rank
    for f, t in zip(froms, tos, strict=True):
        order[t] = f
    rest = iter(d for d in range(rank) if d not in froms)
    return input.permute([next(rest) if d < 0 else d for d in order])


moveaxis = movedim


def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """Two dims exchanged."""
    return _C.transpose(input, axis0, axis1)


def swapdims(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dims exchanged."""
    return _C.transpose(input, dim0, dim1)


def adjoint(input: Tensor) -> Tensor:
    """The last two dims exchanged."""
    require_tensor(input, "adjoint")
    if input.dim() == 1:
        raise RuntimeError("tensor.adjoint() is only supported on matrices or batches of matrices. Got 1-D tensor.")
    return input if input.dim() == 0 else input.transpose(-2, -1)


def fliplr(input: Tensor) -> Tensor:
    """The second dim in reverse order."""
    require_tensor(input, "fliplr")
    if input.dim() < 2:
        raise RuntimeError(f"fliplr input must be >= 2-d, but got {input.dim()}d")
    return _C.flip(input, (1,))


def flipud(input: Tensor) -> Tensor:
    """The first dim in reverse order."""
    require_tensor(input, "flipud")
    if input.dim() < 1:
        raise RuntimeError(f"flipud input must be >= 1-d, but got {input.dim()}d")
    return _C.flip(input, (0,))


def rot90(input: Tensor, k: int = 1, dims: tuple[int, int] = (0, 1)) -> Tensor:
    """Turned by 90 degrees k times in the plane of two dims, from the first towards the second."""
    require_tensor(input, "rot90")
    rank = input.dim()
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if rank < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {rank}")
    if dims[0] == dims[1] or abs(dims[0] - dims[1]) == rank:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    for d in dims:
        if not -rank <= d < rank:
            raise RuntimeError(f"Rotation dim{dims.index(d)} out of range, dim{dims.index(d)} = {d}")
    k %= 4
    if k == 1:
        return _C.flip(input, (dims[1],)).transpose(dims[0], dims[1])
    if k == 2:
        return _C.flip(input, tuple(dims))
    if k == 3:
        return _C.flip(input, (dims[0],)).transpose(dims[0], dims[1])
    return _C.clone(input, memory_format="contiguous")


def roll(input: Tensor, shifts: int | tuple[int, ...], dims: int | tuple[int, ...] | None = None) -> Tensor:
    """Elements shifted along dims; what falls out at the end comes in at the beginning.

    Args:
        input: any tensor.
        shifts: how far, one number for each dim.
        dims: which dims; without them the tensor is rolled as if it had one.

    >>> import firesteel as fs
    >>> fs.roll(fs.arange(5), 2)
    tensor([3, 4, 0, 1, 2])
    """
    require_tensor(input, "roll")
    by = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    along = () if dims is None else (dims,) if isinstance(dims, int) else tuple(dims)
    if not by:
        raise RuntimeError("`shifts` required")
    if not along and len(by) == 1:
        return roll(input.reshape(-1), by, 0).reshape(input.shape)
    if len(along) != len(by):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(by)}, dims:{len(along)}")
    if input.dim() == 0:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    result = input
    for shift, dim in zip(by, along, strict=True):
        d = wrap_dim(dim, input.dim())
        n = input.shape[d]
        shift = shift % n if n else 0
        if shift:
            result = _C.cat([result.narrow(d, n - shift, shift), result.narrow(d, 0, n - shift)], d)
    return result.clone() if result is input else result


# ---- more or fewer dims -----------------------------------------------------------------------------------------------


def _each(tensors: tuple, what: str, one: Any) -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], Tensor):
        return one(tensors[0])
    given = tensor_list(tensors)
    require_tensors(given, what)
    return tuple(one(t) for t in given)


def atleast_1d(*tensors: Any) -> Any:
    """Tensors with at least one dim; several give a tuple."""
    return _each(tensors, "atleast_1d", lambda t: t.reshape(1) if t.dim() == 0 else t)


def _two(t: Tensor) -> Tensor:
    return t.reshape(1, 1) if t.dim() == 0 else t.unsqueeze(0) if t.dim() == 1 else t


def atleast_2d(*tensors: Any) -> Any:
    """Tensors with at least two dims; a vector becomes a row."""
    return _each(tensors, "atleast_2d", _two)


def atleast_3d(*tensors: Any) -> Any:
    """Tensors with at least three dims; a vector lies in the middle one, a matrix in the first two."""
    return _each(tensors, "atleast_3d", lambda t: t if t.dim() > 2 else _two(t).unsqueeze(-1))


def unflatten(input: Tensor, dim: int, sizes: Any) -> Tensor:
    """One dim spread over several; one of the sizes may be -1.

    >>> import firesteel as fs
    >>> fs.unflatten(fs.zeros(2, 12), 1, (3, -1)).shape
    torch.Size([2, 3, 4])
    """
    require_tensor(input, "unflatten")
    if not isinstance(sizes, (tuple, list)):
        raise TypeError(f"unflatten(): argument 'sizes' must be tuple of ints, not {type(sizes).__name__}")
    d = wrap_dim(dim, input.dim())
    if not sizes:
        raise RuntimeError("unflatten: sizes must be non-empty")
    n = input.shape[d]
    known = 1
    for s in sizes:
        if s != -1:
            known *= s
    if -1 in sizes:
        fits = known != 0 and n % known == 0
        if sizes.count(-1) > 1:
            raise RuntimeError("only one dimension can be inferred")
    else:
        fits = known == n
    if not fits:
        raise RuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {dim} ({n}) in the input "
            "tensor"
        )
    full = [n // known if s == -1 else s for s in sizes]
    return input.view((*input.shape[:d], *full, *input.shape[d + 1 :]))


def broadcast_to(input: Tensor, size: Any) -> Tensor:
    """The tensor expanded to a shape, without a copy."""
    require_tensor(input, "broadcast_to")
    return input.expand(size)


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """All tensors expanded to the shape that they have together."""
    given = tensor_list(tensors)
    require_tensors(given, "broadcast_tensors")
    if not given:
        return ()
    shape = broadcast_shapes(*(t.shape for t in given))
    return tuple(t.expand(shape) for t in given)


# ---- repeated ---------------------------------------------------------------------------------------------------------


def repeat(self: Tensor, *repeats: Any) -> Tensor:
    """The tensor laid out again and again along each dim; further dims are put in front.

    >>> import firesteel as fs
    >>> fs.tensor([1, 2]).repeat(2, 2)
    tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])
    """
    times = tuple(int(n) for n in ints(repeats))
    extra = len(times) - self.dim()
    if extra < 0:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    if any(n < 0 for n in times):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(times)}: {list(times)}")
    shape = (1,) * extra + tuple(self.shape)
    x = self.reshape(shape) if extra else self
    if len(shape) >= 8:
        for d, n in enumerate(times):
            x = _C.cat([x] * n, d) if n else x.narrow(d, 0, 0)
        return x
    # Each dim that is repeated becomes a pair (times, size) of an expanded view, which is copied once. Where that
    # would be too many dims, the first ones wait for another round.
    while True:
        room = 8 - len(shape)
        pairs: list[int] = []
        wide: list[int] = []
        rest: list[int] = []
        for d in reversed(range(len(shape))):
            n = times[d]
            if n != 1 and room > 0:
                pairs[:0], wide[:0], room = [1, shape[d]], [n, shape[d]], room - 1
                rest.insert(0, 1)
            else:
                pairs.insert(0, shape[d])
                wide.insert(0, shape[d])
                rest.insert(0, n)
        full = [s if r != 1 else s * t for s, t, r in zip(shape, times, rest, strict=True)]
        x = _C.clone(x.reshape(pairs).expand(wide), memory_format="contiguous").reshape(full)
        if all(n == 1 for n in rest):
            return x
        times, shape = tuple(rest), tuple(full)


def tile(input: Tensor, *dims: Any, **named: Any) -> Tensor:
    """As `repeat`, but fewer numbers than dims count for the last dims."""
    require_tensor(input, "tile")
    times = tuple(named.pop("dims")) if "dims" in named else ints(dims)
    return repeat(input, (1,) * (input.dim() - len(times)) + tuple(times))


def repeat_interleave(
    input: Tensor, repeats: int | Tensor | None = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each element (or slice of a dim) repeated in place; with counts alone, the indices so repeated.

    Args:
        input: the tensor, or the counts when nothing else is given.
        repeats: one number, or one for each index of the dim.
        dim: the dim; without it the tensor is flattened.
        output_size: taken for compatibility.

    >>> import firesteel as fs
    >>> fs.tensor([1, 2]).repeat_interleave(2)
    tensor([1, 1, 2, 2])
    """
    require_tensor(input, "repeat_interleave")
    if repeats is None:
        return _repeated_indices(input, input.numel() if input.dim() else 1)
    if dim is None:
        input, dim = input.reshape(-1), 0
    d = wrap_dim(dim, input.dim())
    scalar = input.dim() == 0
    if scalar:
        input = input.reshape(1)
    n = input.shape[d]
    if isinstance(repeats, Tensor) and repeats.numel() == 1 and repeats.dim() < 2 and n != 1:
        if repeats.dtype not in (_C.int32, _C.int64):
            raise RuntimeError("repeats has to be Long or Int tensor")
        repeats = int(repeats)
    if not isinstance(repeats, Tensor):
        if isinstance(repeats, bool) or not isinstance(repeats, int):
            repeats = _C._tensor(repeats, None) if isinstance(repeats, (tuple, list)) else repeats
        if isinstance(repeats, int):
            if repeats < 0:
                raise RuntimeError("Repeats must be non-negative")
            wide = input.unsqueeze(d + 1)
            shape = (*wide.shape[: d + 1], repeats, *wide.shape[d + 2 :])
            return _C.clone(wide.expand(shape), memory_format="contiguous").flatten(d, d + 1)
        if not isinstance(repeats, Tensor):
            raise TypeError(
                f"repeat_interleave(): argument 'repeats' must be Tensor or int, not {type(repeats).__name__}"
            )
    return _C.index_select(input, d, _repeated_indices(repeats, n))


def _repeated_indices(repeats: Tensor, n: int) -> Tensor:
    if repeats.dim() > 1:
        raise RuntimeError("repeats must be 0-dim or 1-dim tensor")
    if repeats.dtype not in (_C.int32, _C.int64):
        raise RuntimeError("repeats has to be Long or Int tensor")
    if repeats.dim() == 1 and repeats.numel() not in (1, n):
        raise RuntimeError("repeats must have the same size as input along dim")
    counts = repeats.detach().reshape(-1)
    return _C._repeated(counts if counts.numel() == n else counts.expand(n))


# ---- diagonals --------------------------------------------------------------------------------------------------------


def diag(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
    """A matrix with a vector on its diagonal, or the diagonal of a matrix."""
    from ._args import deliver

    require_tensor(input, "diag")
    if input.dim() == 1:
        return deliver(diag_embed(input, diagonal), out)
    if input.dim() == 2:
        return deliver(input.diagonal(diagonal).clone() if out is None else input.diagonal(diagonal), out)
    raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.dim()}D")


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The last dim put on the diagonal of two new ones.

    Raises:
        RuntimeError: if the two dims are the same.
    """
    require_tensor(input, "diag_embed")
    rank = input.dim() + 1
    d1, d2 = wrap_dim(dim1, rank), wrap_dim(dim2, rank)
    if d1 == d2:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    n = input.shape[-1] if input.dim() else 1
    shape = list(input.shape[:-1])
    for d in sorted((d1, d2)):
        shape.insert(d, n + abs(offset))
    made = _C._full(shape, 0, dtype=input.dtype, device=input.device)
    made.diagonal(offset, d1, d2).copy_(input)
    return made


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A matrix with all elements, in order, on its diagonal."""
    require_tensor(input, "diagflat")
    return diag_embed(input.reshape(-1), offset)


def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal."""
    require_tensor(input, "trace")
    if input.dim() != 2:
        raise RuntimeError("trace: expected a matrix")
    return input.diagonal().sum()


def block_diag(*tensors: Any) -> Tensor:
    """A matrix with the given ones (or vectors as rows, numbers as 1 by 1) along its diagonal."""
    require_tensors(tensors, "block_diag")
    if not tensors:
        return _C._empty((1, 0))
    for i, t in enumerate(tensors):
        if t.dim() > 2:
            raise RuntimeError(
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {t.dim()} dimensions"
            )
    blocks = [_two(t) for t in tensors]
    width = sum(b.shape[1] for b in blocks)
    dtype = blocks[0].dtype
    for b in blocks[1:]:
        dtype = _C.promote_types(dtype, b.dtype)
    rows, before = [], 0
    for b in blocks:
        high, wide = b.shape
        parts = []
        if before:
            parts.append(_C._full((high, before), 0, dtype=dtype))
        parts.append(b)
        if width - before - wide:
            parts.append(_C._full((high, width - before - wide), 0, dtype=dtype))
        rows.append(_C.cat(parts, 1))
        before += wide
    return _C.cat(rows, 0)


def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """Flat indices as one index for each dim of a shape."""
    require_tensor(indices, "unravel_index", "indices")
    if indices.dtype.is_floating_point or indices.dtype is _C.bool:
        raise ValueError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    if isinstance(shape, int) and not isinstance(shape, bool):
        sizes = [shape]
    elif isinstance(shape, (tuple, list)):
        sizes = []
        for n in shape:
            if not isinstance(n, int):
                raise TypeError(
                    f"expected 'shape' to be int or sequence of ints, but found element of type {type(n)} in {shape}"
                )
            sizes.append(n)
    else:
        raise TypeError(f"expected 'shape' to be int or sequence of ints, but got {type(shape)}")
    if any(n < 0 for n in sizes):
        raise ValueError(f"'shape' cannot have negative values, but got {tuple(sizes)}")
    found, rest = [], indices
    for n in reversed(sizes):
        n = max(n, 1)
        found.append(rest.remainder(n))
        rest = rest.floor_divide(n)
    return tuple(found[::-1])


# ---- methods ----------------------------------------------------------------------------------------------------------


def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """Expanded to the shape of another tensor."""
    return self.expand(other.shape)


def view_as(self: Tensor, other: Tensor) -> Tensor:
    """A view in the shape of another tensor."""
    return self.view(other.shape)


def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """In the shape of another tensor: a view where the strides allow it."""
    return self.reshape(other.shape)


def sum_to_size(self: Tensor, *size: Any) -> Tensor:
    """Summed over the dims that broadcasting from a smaller shape would repeat.

    Raises:
        RuntimeError: if the tensor cannot have been broadcast from that shape.
    """
    wanted = tuple(ints(size))
    if not _expands(wanted, tuple(self.shape)):
        raise RuntimeError(f"size {{{list(wanted)}}} is not expandable to size {{{list(self.shape)}}}.")
    if wanted == tuple(self.shape):
        return self
    return _C._sum_to(self if self.dtype.is_floating_point else self.to(_C.int64), wanted)


def _expands(small: tuple, large: tuple) -> bool:
    return len(small) <= len(large) and all(s in (1, n) for s, n in zip(reversed(small), reversed(large), strict=False))


def fill_diagonal_(self: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """Writes a value to the main diagonal, in place.

    Args:
        fill_value: what to write.
        wrap: for a tall matrix, whether the diagonal starts anew after N columns and a row.
    """
    if self.dim() < 2:
        raise RuntimeError("dimensions must larger than 1")
    shape = tuple(self.shape)
    if self.dim() > 2 and len(set(shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    step = sum(self.stride())
    n = min(shape)
    if wrap and self.dim() == 2 and shape[0] > shape[1] + 1:
        n = 1 + (shape[0] * shape[1] - 1) // (shape[1] + 1)
    if n:
        self.as_strided((n,), (step,), self.storage_offset()).fill_(fill_value)
    return self


METHODS = {
    n: globals()[n]
    for n in ("adjoint", "broadcast_to", "diag", "diag_embed", "diagflat", "expand_as", "fill_diagonal_", "fliplr",
              "flipud", "moveaxis", "movedim", "ravel", "repeat", "repeat_interleave", "reshape_as", "roll", "rot90",
              "sum_to_size", "swapaxes", "swapdims", "tile", "trace", "unflatten", "view_as")
}  # fmt: skip
