"""Derivatives of gathers, scatters and indexing by tensors."""

from __future__ import annotations

from ... import _C
from .shape import zeros

where = _C.where


def _masked_select(n, g):
    mask = n.mask
    shape = _C._full(n._size("input"), 0, dtype=_C.bool).logical_or(mask).shape
    return zeros(shape, g).masked_scatter(mask.expand(shape), g)


def _masked_scatter_source(n, g):
    shape = n._size("source")
    picked = g.masked_select(n.mask.expand(g.shape))
    missing = shape.numel() - picked.numel()
    if missing > 0:
        picked = _C.cat((picked, zeros((missing,), g)))
    return picked.narrow(0, 0, shape.numel()).reshape(shape)


def _take(n, g):
    shape = n._size("input")
    index = n.index.reshape(-1)
    index = where(index < 0, index + shape.numel(), index)
    return zeros((shape.numel(),), g).index_add(0, index, g.reshape(-1)).reshape(shape)


def _embedding(n, g):
    if n.scale_grad_by_freq:
        indices = n.indices.reshape(-1)
        counts = _C.bincount(indices, None, n._size("weight")[0]).index_select(0, indices).to(g.dtype)
        g = g / counts.reshape(n.indices.shape).unsqueeze(-1)
    return _C._embedding_backward(g, n.indices, n._size("weight")[0], n.padding_idx)


def _embedding2(n, gg):
    out = _C.embedding(gg, n.indices)
    if n.padding_idx >= 0:
        out = out.masked_fill((n.indices == n.padding_idx).unsqueeze(-1), 0)
    return out


def _index_add_source(n, g):
    out = g.index_select(n.dim, n.index) if g.ndim else g
    return (out if n.alpha == 1 else out * n.alpha).expand(n._size("source"))


def _index_copy_source(n, g):
    return g.index_select(n.dim, n.index).expand(n._size("source")) if g.ndim else g.expand(n._size("source"))


def _scatter_reduce_input(n, g):
    how, dim, index = n.reduce, n.dim, n.index
    if how == "sum":
        out = g
    elif how == "prod":
        x = n.input
        out = g * n.result / x
        if bool((x == 0).any()):
            others = _C._full_like(x, 1).scatter_reduce(dim, index, n.src, "prod")
            out = where(x == 0, g * others, out)
    elif how == "mean":
        out = g / _scatter_count(n, g)
    else:
        _, count = _scatter_extremum(n)
        out = where(n.input == n.result, g / count, 0.0) if n.include_self else g
    return out if n.include_self else out.scatter(dim, index, 0)


def _scatter_reduce_src(n, g):
    how, dim, index = n.reduce, n.dim, n.index
    if g.ndim == 0:
        dim = 0
    if how == "sum":
        return g.gather(dim, index)
    if how == "prod":
        src = _narrowed(n.src, index)
        if not bool((src == 0).any()):
            return (g * n.result).gather(dim, index) / src
        zero = src == 0
        zeros_at = zeros(n._size("input"), g).scatter_add(dim, index, zero.to(g.dtype)).gather(dim, index)
        # The product of the others: without its one zero, or zero when there are more.
        base = n.input if n.include_self else _C._full_like(n.input, 1)
        others = base.scatter_reduce(dim, index, src.masked_fill(zero, 1), "prod").gather(dim, index)
        plain = (g * n.result).gather(dim, index) / src.masked_fill(zero, 1)
        return where(zero, where(zeros_at == 1, g.gather(dim, index) * others, 0.0), plain)
    if how == "mean":
        return (g / _scatter_count(n, g)).gather(dim, index)
    _, count = _scatter_extremum(n)
    hit = _narrowed(n.src, index) == n.result.gather(dim, index)
    return where(hit, (g / count).gather(dim, index), 0.0)


def _narrowed(src, index):
    for d, size in enumerate(index.shape):
        src = src.narrow(d, 0, size)
    return src


def _scatter_count(n, g):
    base = _C._full(n._size("input"), 1 if n.include_self else 0, dtype=g.dtype, device=g.device)
    count = base.scatter_add(n.dim, n.index, _C._full(n.index.shape, 1, dtype=g.dtype, device=g.device))
    return where(count == 0, 1.0, count)


def _scatter_extremum(n):
    result = n.result
    hit = (_narrowed(n.src, n.index) == result.gather(n.dim, n.index)).to(result.dtype)
    own = (n.input == result).to(result.dtype) if n.include_self else _C._full_like(result, 0)
    count = own.scatter_add(n.dim, n.index, hit)
    return hit, where(count == 0, 1.0, count)


ROWS = {
    "index": {
        "saves": "indices",
        "input": lambda n, g: zeros(n._size("input"), g).index_put_(n.indices, g, accumulate=True),
    },
    "index_put": {
        "saves": "indices",
        "input": lambda n, g: g if n.accumulate else g.index_put(n.indices, zeros((), g)),
        "values": lambda n, g: _C.index(g, n.indices),
    },
    "gather": {
        "saves": "index",
        "input": lambda n, g: zeros(n._size("input"), g).scatter_add(n.dim, n.index, g),
    },
    "scatter": {
        "saves": "index",
        "input": lambda n, g: g.scatter(n.dim, n.index, 0),
        "src": lambda n, g: _widen(g.gather(n.dim, n.index), n, "src"),
    },
    "scatter.value": {"saves": "index", "input": lambda n, g: g.scatter(n.dim, n.index, 0)},
    "scatter_add": {
        "saves": "index",
        "input": lambda n, g: g,
        "src": lambda n, g: _widen(g.gather(n.dim, n.index), n, "src"),
    },
    "scatter_reduce": {
        "saves": "input index src result",
        "input": _scatter_reduce_input,
        "src": lambda n, g: _widen(_scatter_reduce_src(n, g), n, "src"),
    },
    "index_select": {
        "saves": "index",
        "input": lambda n, g: (
            zeros(n._size("input"), g).index_add(n.dim, n.index, g) if len(n._size("input")) else g.sum()
        ),
    },
    "index_add": {"saves": "index>source", "input": lambda n, g: g, "source": _index_add_source},
    "index_copy": {
        "saves": "index",
        "input": lambda n, g: g.index_fill(n.dim, n.index, 0),
        "source": _index_copy_source,
    },
    "index_fill": {
        "saves": "index",
        "input": lambda n, g: g.index_fill(n.dim, n.index, 0),
        "value": lambda n, g: g.index_select(n.dim, _C._unique(n.index, False)[0]).sum() if g.ndim else g,
    },
    "embedding": {"saves": "indices", "weight": _embedding},
    "_embedding_backward": {"saves": "indices", "grad": _embedding2},
    "masked_select": {"saves": "mask", "input": _masked_select},
    "masked_scatter": {
        "saves": "mask",
        "input": lambda n, g: g.masked_fill(n.mask, 0),
        "source": _masked_scatter_source,
    },
    "take": {"saves": "index", "input": _take},
    "_unique": {"nondiff": True},
}


def _widen(g, n, name):
    """A gradient of the part of `src` that the index covers, zero elsewhere."""
    shape = n._size(name)
    if g.shape == shape:
        return g
    whole = zeros(shape, g)
    part = whole
    for d, size in enumerate(g.shape):
        part = part.narrow(d, 0, size)
    part.copy_(g)
    return whole
