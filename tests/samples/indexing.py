"""Gathers, scatters, indexing by tensors, joining, triangles and counting."""

from __future__ import annotations

import numpy as np

from .spec import B, F, I, Row, S, V

ROWS: dict[str, Row] = {}
ALL = "fib"


def ix(indices):
    return tuple(slice(None) if i is None else i for i in indices)


def places(x, dim, index):
    """NumPy's index of the elements that `gather` along a dim names."""
    grid = list(np.indices(index.shape))
    grid[dim] = index
    return tuple(grid)


def lifted(f):
    """0-d tensors count as one element here."""

    def run(x, dim, index, *rest, **known):
        if x.ndim == 0:
            own = [r.reshape(1) if isinstance(r, np.ndarray) and r.ndim == 0 else r for r in rest]
            return f(x.reshape(1), dim, np.atleast_1d(index), *own, **known).reshape(
                np.shape(index) if f is gather else ()
            )
        return f(x, dim, np.atleast_1d(index), *rest, **known)

    return run


def gather(x, dim, index, sparse_grad=False):
    return x[places(x, dim, index)]


def scatter(x, dim, index, src):
    y = x.copy()
    at = places(x, dim, index)
    y[at] = src if np.ndim(src) == 0 else src[tuple(map(slice, index.shape))]
    return y


def scatter_add(x, dim, index, src):
    y = x.copy()
    np.add.at(y, places(x, dim, index), src[tuple(map(slice, index.shape))])
    return y


def scatter_reduce(x, dim, index, src, reduce, include_self=True):
    y, at = x.copy(), places(x, dim, index)
    src = src[tuple(map(slice, index.shape))]
    f, start = {
        "sum": (np.add, 0),
        "mean": (np.add, 0),
        "prod": (np.multiply, 1),
        "amax": (np.maximum, -np.inf if x.dtype.kind == "f" else np.iinfo(np.int64).min),
        "amin": (np.minimum, np.inf if x.dtype.kind == "f" else np.iinfo(np.int64).max),
    }[reduce]
    if not include_self:
        y[at] = start
    f.at(y, at, src)
    if reduce == "mean":
        count = np.ones(x.shape, np.int64) * include_self
        np.add.at(count, at, 1)
        count = np.maximum(count, 1)
        y = y / count if y.dtype.kind == "f" else y // count
    return y


def index_put(x, indices, values, accumulate=False):
    y = x.copy()
    if accumulate:
        if y.dtype == bool:
            np.logical_or.at(y, ix(indices), values)
        else:
            np.add.at(y, ix(indices), values)
    else:
        y[ix(indices)] = values
    return y


def along(x, dim, index):
    return (slice(None),) * (dim % x.ndim) + (index,)


def index_add(x, dim, index, source, alpha=1):
    y = x.copy()
    np.add.at(y, along(x, dim, index), alpha * source)
    return y


def index_copy(x, dim, index, source):
    y = x.copy()
    y[along(x, dim, index)] = source
    return y


def embedding(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    return weight[indices]


def embedding_backward(grad, indices, rows, padding_idx):
    out = np.zeros((rows, grad.shape[-1]))
    keep = indices.reshape(-1) != padding_idx
    np.add.at(out, indices.reshape(-1)[keep], grad.reshape(-1, grad.shape[-1])[keep])
    return out


def masked_scatter(x, mask, source):
    y, mask = x.copy(), np.broadcast_to(mask, x.shape)
    y[mask] = source.reshape(-1)[: mask.sum()]
    return y


def masked_select(x, mask):
    x, mask = np.broadcast_arrays(x, mask)
    return x[mask]


def cat(tensors, dim=0):
    return np.concatenate([t for t in tensors if t.shape != (0,)] or tensors, dim)


def bincount(x, weights=None, minlength=0):
    return np.bincount(x, weights, minlength)


def histc(x, bins=100, min=0, max=0):
    if min == max:
        min, max = (x.min(), x.max()) if x.size else (0, 1)
        if min == max:
            min, max = min - 1, max + 1
    return np.histogram(x, bins, (min, max))[0].astype(np.float64)


def searchsorted(edges, values, out_int32=False, right=False):
    side = "right" if right else "left"
    if edges.ndim == 1:
        return np.searchsorted(edges, values, side).astype(np.int32 if out_int32 else np.int64)
    flat = zip(edges.reshape(-1, edges.shape[-1]), values.reshape(-1, values.shape[-1]), strict=True)
    return np.stack([np.searchsorted(e, v, side) for e, v in flat]).reshape(values.shape)


PUT = [
    S(F(3), [V([2, 0], "int64")], F(2)),
    S(F(3, 4), [V([2, 0], "int64"), V([1, 3], "int64")], F(2)),
    S(F(3, 4), [None, V([1, -1], "int64")], F(3, 2)),
    S(F(3, 4), [V([0, 2], "int64")], F(4)),
    S(F(3, 4), [V([], "int64")], F(0, 4)),
    S(F(4, 3), [V([1, 1, 0], "int64")], F(3, 3), True),
    S(F(4, 3), [V([[1], [2]], "int64"), V([0, 2], "int64")], F(), False),
]
REDUCE = [S(F(3), 0, V([0, 2, 0], "int64"), F(3), how) for how in ("sum", "prod", "mean", "amax", "amin")]
REDUCE += [
    S(F(3, 4), 1, V([[0, 1, 1], [3, 0, 0]], "int64"), F(3, 3), how) for how in ("sum", "prod", "mean", "amax", "amin")
]
REDUCE_WITHOUT = [
    S(F(3, 4), 0, V([[0, 1, 1, 2], [0, 0, 1, 0]], "int64"), F(2, 4), how, include_self=False)
    for how in ("sum", "prod", "mean", "amax", "amin")
]
SOME = V([2, 0, 2], "int64")
ROWS["scatter.value"] = Row(
    lifted(scatter),
    [S(F(3), 0, V([2, 0], "int64"), 1), S(F(2, 3), 1, V([[0, 2], [1, 0]], "int64"), 1), S(F(), 0, V(0, "int64"), 1)],
    ALL,
)
ROWS.update(
    index=Row(
        lambda x, indices: x[ix(indices)],
        [
            S(F(3), [V([2, 0], "int64")]),
            S(F(3, 4), [V([2, 0, -1], "int64"), V([1, 3, 1], "int64")]),
            S(F(3, 4), [None, V([[1, 1], [-1, 0]], "int64")]),
            S(F(3, 4, 2), [V([0, 1], "int64"), None, V([0, 1], "int64")]),
            S(F(3, 4, 2), [None, V([[0], [2]], "int64"), V([0, 1], "int64")]),
            S(F(3, 4), [V([], "int64")]),
            S(F(0, 4), [None, V([1], "int64")]),
            S(F(3), [V(1, "int64")]),
        ],
        ALL,
        medium=[S(F(301, 33), [I(500, high=301)]), S(F(301, 33), [None, I(50, high=33)])],
    ),
    index_put=Row(index_put, PUT, ALL, medium=[S(F(301, 33), [I(500, high=301)], F(500, 33), True)]),
    gather=Row(
        lifted(gather),
        [
            S(F(3), 0, V([2, 0, 2, 1], "int64")),
            S(F(2, 3), 1, V([[0, 0], [2, 1]], "int64")),
            S(F(3, 2, 2), -2, I(2, 5, 1, high=2)),
            S(F(), 0, V(0, "int64")),
            S(F(3), 0, V([], "int64")),
        ],
        ALL,
        medium=[S(F(301, 33), 1, I(301, 50, high=33))],
    ),
    scatter=Row(
        lifted(scatter),
        [
            S(F(3), 0, V([2, 0], "int64"), F(3)),
            S(F(2, 3), 1, V([[0, 2], [1, 0]], "int64"), F(2, 2)),
            S(F(), 0, V(0, "int64"), F()),
            S(F(3), 0, V([], "int64"), F(0)),
        ],
        ALL,
        medium=[S(F(33, 97), 1, V(np.argsort(np.sin(np.arange(33 * 97)).reshape(33, 97), 1), "int64"), F(33, 97))],
    ),
    scatter_add=Row(
        lifted(scatter_add),
        [
            S(F(3), 0, V([2, 0, 2], "int64"), F(3)),
            S(F(2, 3), 1, V([[0, 2, 0, 1]], "int64"), F(2, 5)),
            S(F(), 0, V(0, "int64"), F()),
            S(F(3), 0, V([], "int64"), F(0)),
        ],
        "fi",
        medium=[S(F(33, 97), 1, I(33, 300, high=97), F(33, 300))],
    ),
    scatter_reduce=Row(
        lifted(scatter_reduce),
        REDUCE + REDUCE_WITHOUT,
        "F",
        medium=[
            S(F(33, 97), 1, I(33, 300, high=97), F(33, 300), "sum"),
            S(F(33, 97), 1, I(33, 300, high=97), F(33, 300), "amax"),
        ],
    ),
    index_select=Row(
        lambda x, d, i: np.take(x, np.atleast_1d(i), d) if x.ndim else x,
        [
            S(F(3), 0, SOME),
            S(F(2, 3), -1, SOME),
            S(F(3, 2), 0, V(1, "int64")),
            S(F(), 0, V([0], "int64")),
            S(F(3, 0), 0, SOME),
        ],
        ALL,
        medium=[S(F(301, 33), 0, I(500, high=301))],
    ),
    index_add=Row(
        index_add,
        [S(F(3), 0, SOME, F(3)), S(F(2, 3), 1, SOME, F(2, 3), alpha=2), S(F(3, 2), 0, V([], "int64"), F(0, 2))],
        "fi",
        medium=[S(F(301, 33), 0, I(500, high=301), F(500, 33))],
    ),
    index_copy=Row(index_copy, [S(F(3), 0, V([2, 0], "int64"), F(2)), S(F(2, 3), 1, V([2, 0], "int64"), F(2, 2))], ALL),
    index_fill=Row(
        index_copy,
        [S(F(3), 0, V([2, 0], "int64"), F()), S(F(2, 3), 1, V([2, 0], "int64"), 1), S(F(3, 2), 0, V([], "int64"), 1)],
        ALL,
    ),
    embedding=Row(
        embedding,
        [
            S(F(3, 2), V([2, 0, 2], "int64")),
            S(F(4, 3), I(2, 3, high=4)),
            S(F(3, 2), V(1, "int64")),
            S(F(3, 2), V([], "int64")),
        ],
        "f",
        medium=[S(F(301, 33), I(500, high=301))],
    ),
    _embedding_backward=Row(
        embedding_backward,
        [S(F(3, 2), SOME, 4, -1), S(F(2, 3, 2), I(2, 3, high=4), 4, 2), S(F(0, 2), V([], "int64"), 3, -1)],
        "f",
        medium=[S(F(500, 33), I(500, high=301), 301, -1)],
    ),
    masked_select=Row(
        masked_select, [S(F(4), B(4)), S(F(2, 3), B(3)), S(F(3), B(2, 1)), S(F(), B()), S(F(0), B(0))], ALL
    ),
    masked_scatter=Row(masked_scatter, [S(F(3), B(3), F(3)), S(F(2, 3), B(3), F(7)), S(F(0), B(0), F(0))], ALL),
    nonzero=Row(
        lambda x: np.stack(np.nonzero(np.atleast_1d(x)), 1)[:, : max(x.ndim, 0)],
        [S(V([0.0, 1.0, 2.0, 0.0])), S(V([[0.0, 1.0], [3.0, 0.0]])), S(F(3)), S(F()), S(F(0)), S(F(2, 0))],
        ALL,
        "int64",
    ),
    tril=Row(
        np.tril, [S(F(2, 2)), S(F(3, 4), 1), S(F(2, 3, 3), -1), S(F(0, 3)), S(F(4, 2), -9)], ALL, medium=[S(F(97, 101))]
    ),
    triu=Row(
        np.triu, [S(F(2, 2)), S(F(3, 4), 1), S(F(2, 3, 3), -1), S(F(0, 3)), S(F(4, 2), 9)], ALL, medium=[S(F(97, 101))]
    ),
    cat=Row(
        cat,
        [S([F(2), F(1)]), S([F(2, 1), F(2, 3), F(2, 0)], 1), S([F(2, 3), F(0)], -2), S([F(2)]), S([F(0), F(0)])],
        ALL,
        medium=[S([F(33, 97), F(20, 97)])],
    ),
    stack=Row(
        np.stack,
        [S([F(2), F(2)]), S([F(2, 3), F(2, 3)], 1), S([F(), F(), F()]), S([F(2), F(2)], -1), S([F(0), F(0)])],
        ALL,
    ),
    flip=Row(
        lambda x, dims: np.flip(x, tuple(dims)),
        [S(F(3), [0]), S(F(2, 3, 2), [0, -1]), S(F(2, 3), []), S(F(), []), S(F(0, 2), [0])],
        ALL,
    ),
    take=Row(
        lambda x, i: x.reshape(-1)[i],
        [S(F(3), SOME), S(F(2, 3), V([[5, -1], [0, 0]], "int64")), S(F(3), V([], "int64"))],
        ALL,
    ),
    bincount=Row(
        bincount,
        [
            S(V([1, 3, 1], "int64")),
            S(V([1, 3, 1], "int64"), V([0.5, 1.0, 2.0], "float64", False)),
            S(V([1], "int64"), None, 5),
            S(V([], "int64")),
        ],
        "1",
        "reference",
    ),
    _repeated=Row(
        lambda counts: np.repeat(np.arange(counts.size), counts),
        [S(V([2, 0, 3], "int64")), S(V([0], "int64")), S(V([], "int64"))],
        "1",
        "reference",
    ),
    histc=Row(histc, [S(F(20), 5), S(F(20), 4, -1, 1), S(F(2, 3), 3), S(F(0), 3)], "F"),
    searchsorted=Row(
        searchsorted,
        [
            S(V([1.0, 2.0, 2.0, 5.0]), V([2.0, 0.0, 9.0])),
            S(V([1.0, 2.0, 2.0, 5.0]), V([[2.0, 5.0]]), right=True),
            S(V([[1.0, 2.0], [3.0, 4.0]]), V([[1.5], [4.0]])),
        ],
        "fi",
        "int64",
    ),
)
