"""Derivatives of views and of ops that move elements."""

from __future__ import annotations

from ... import _C


def zeros(shape, like):
    return _C._full(shape, 0, dtype=like.dtype, device=like.device)


def _reshape(n, g):
    return g.reshape(n._size("input"))


def _permute(n, g):
    dims = n.dims
    order = [0] * len(dims)
    for i, d in enumerate(dims):
        order[d % len(dims)] = i
    return g.permute(order)


def _into(view):
    """The gradient of a view without overlap: zeros, with the gradient where the view lies."""

    def row(n, g):
        whole = zeros(n._size("input"), g)
        view(n, whole).copy_(g)
        return whole

    return row


def _unfold(n, g):
    """Windows overlap: every element collects from all windows it is in."""
    shape = n._size("input")
    count = shape.numel()
    places = _C._arange(0, count, 1, device=g.device).reshape(shape).unfold(n.dimension, n.size, n.step)
    return zeros((count,), g).index_add(0, places.reshape(-1), g.reshape(-1)).reshape(shape)


def _as_strided(n, g):
    """Elements are found by their place in the storage, where input and output may both overlap."""
    x = n.input
    size, stride, offset = n.size, n.stride, n.storage_offset
    if offset is None:
        offset = x.storage_offset()
    length = x._storage()[1] // x.element_size()
    places = _C._arange(0, length, 1, device=g.device)
    storage = zeros((length,), g)
    at = places.as_strided(size, stride, offset).reshape(-1)
    storage = storage.index_add(0, at, g.reshape(-1))
    own = places.as_strided(x.shape, x.stride(), x.storage_offset()).reshape(-1)
    counts = zeros((length,), g).index_add(0, own, zeros(own.shape, g) + 1)
    return storage.index_select(0, own).div(counts.index_select(0, own)).reshape(x.shape)


def _pieces(n, g):
    """Gradients of a list of pieces; None where a piece was not used."""
    parts = []
    for i, part in enumerate(g if isinstance(g, list) else [g]):
        if part is None:
            shape, dtype, device = n._output_meta(i)
            part = _C._full(shape, 0, dtype=dtype, device=device)
        parts.append(part)
    return parts


def _cat(n, g):
    out, at = [], 0
    dim = n.dim
    sizes = n._sizes("tensors")
    for shape in sizes:
        if len(shape) == 1 and shape[0] == 0 and g.ndim != 1:
            out.append(zeros(shape, g))  # an empty 1-D tensor fits anywhere
            continue
        out.append(g.narrow(dim, at, shape[dim]))
        at += shape[dim]
    return out


def _reinterpreted(input, dtype):
    """The same memory read as another dtype; not recorded."""
    if dtype is input.dtype:
        return _C.alias(input)
    old, new = input.element_size(), dtype.itemsize
    size, stride, offset = list(input.shape), list(input.stride()), input.storage_offset()
    if old != new:
        names = f"to view {input.dtype} as {dtype} (different element sizes)"
        if not size:
            raise RuntimeError(f"self.dim() cannot be 0 {names}")
        if stride[-1] != 1:
            raise RuntimeError(f"self.stride(-1) must be 1 {names}, but got {stride[-1]}")
    if old > new:
        times = old // new
        size[-1] *= times
        stride = [s * times for s in stride[:-1]] + [1]
        offset *= times
    elif old < new:
        times = new // old
        if size[-1] % times:
            raise RuntimeError(f"self.size(-1) must be divisible by {times} {names}, but got {size[-1]}")
        if offset % times or any(s % times for s in stride[:-1]):
            raise RuntimeError(f"self.stride() and self.storage_offset() must be divisible by {times} {names}")
        size[-1] //= times
        stride = [s // times for s in stride[:-1]] + [1]
        offset //= times
    return _C._over(input, dtype, size, stride, offset)


ROWS = {
    "view.dtype": {"composite": _reinterpreted, "nondiff": True},
    **{key: {"input": _reshape} for key in ("view", "reshape", "flatten", "squeeze", "unsqueeze")},
    "expand": {"input": lambda n, g: g},
    "permute": {"input": _permute},
    "transpose": {"input": lambda n, g: g.transpose(n.dim0, n.dim1)},
    "t": {"input": lambda n, g: g.t()},
    "alias": {"input": lambda n, g: g},
    "select": {"input": _into(lambda n, x: x.select(n.dim, n.index))},
    "slice": {"input": _into(lambda n, x: _C.slice(x, n.dim, n.start, n.end, n.step))},
    "narrow": {"input": _into(lambda n, x: x.narrow(n.dim, n.start, n.length))},
    "diagonal": {"input": _into(lambda n, x: x.diagonal(n.offset, n.dim1, n.dim2))},
    "unfold": {"input": _unfold},
    "as_strided": {"saves": "input", "input": _as_strided},
    "_split": {"input": lambda n, g: _C.cat(_pieces(n, g), n.dim)},
    "split_with_sizes": {"input": lambda n, g: _C.cat(_pieces(n, g), n.dim)},
    "unbind": {"input": lambda n, g: _C.stack(_pieces(n, g), n.dim)},
    "cat": {"tensors": _cat},
    "stack": {"tensors": lambda n, g: list(g.unbind(n.dim))},
    "flip": {"input": lambda n, g: g.flip(n.dims)},
    "tril": {"input": lambda n, g: g.tril(n.diagonal)},
    "triu": {"input": lambda n, g: g.triu(n.diagonal)},
}
