"""Views, and ops that are views where strides allow it."""

from __future__ import annotations

import firesteel as fs
import numpy as np

from .spec import F, Row, S

ROWS: dict[str, Row] = {}
ALL = "fib"


def view(reference, samples, **known) -> Row:
    return Row(reference, samples, ALL, **known)


def expand(x, size, implicit=False):
    pad = len(size) - x.ndim
    return np.broadcast_to(x, [x.shape[i - pad] if n == -1 else n for i, n in enumerate(size)])


def flatten(x, start=0, end=-1):
    if x.ndim == 0:
        return x.reshape(1)
    start, end = start % x.ndim, end % x.ndim
    return x.reshape(*x.shape[:start], int(np.prod(x.shape[start : end + 1])), *x.shape[end + 1 :])


def cut(x, dim=0, start=None, end=None, step=1):
    return x[(slice(None),) * (dim % x.ndim) + (slice(start, end, step),)]


def squeeze(x, dim=None):
    if dim is None:
        return np.squeeze(x)
    dims = {d % max(x.ndim, 1) for d in ([dim] if isinstance(dim, int) else dim)}
    return x.reshape([n for i, n in enumerate(x.shape) if i not in dims or n != 1])


def unfold(x, dim, size, step):
    if x.ndim == 0:
        return x.reshape(1)[:size]
    windows = np.lib.stride_tricks.sliding_window_view(x, size, dim)
    return cut(windows, dim % x.ndim, None, None, step)


def as_strided(x, size, stride, offset=0):
    flat = x.reshape(-1)
    return np.lib.stride_tricks.as_strided(flat[offset:], size, [s * x.itemsize for s in stride])


def split(x, size, dim=0):
    n = x.shape[dim]
    return tuple(cut(x, dim, i, i + size) for i in range(0, max(n, 1), max(size, 1)))


def split_with_sizes(x, sizes, dim=0):
    ends = np.cumsum(sizes).tolist()
    return tuple(cut(x, dim, e - n, e) for n, e in zip(sizes, ends, strict=True))


def unbind(x, dim=0):
    return tuple(np.take(x, i, dim) for i in range(x.shape[dim]))


RESHAPES = [S(F(4), [2, 2]), S(F(2, 6), [3, -1]), S(F(2, 3), [6]), S(F(), [1, 1]), S(F(0, 3), [3, 0]), S(F(1), [])]
ROWS.update(
    view=view(lambda x, size: x.reshape(size), RESHAPES, strided=False),
    **{
        "view.dtype": Row(
            lambda x, dtype: np.ascontiguousarray(x, np.float64).view(np.int32),
            [S(F(2, 3), fs.int32), S(F(0, 2), fs.int32)],
            "1",
            out="reference",
            strided=False,
        )
    },
    reshape=view(lambda x, size: x.reshape(size), RESHAPES),
    flatten=view(flatten, [S(F(2, 2)), S(F(2, 3, 4), 1), S(F(2, 3, 4), 0, 1), S(F()), S(F(0, 3)), S(F(5))]),
    expand=view(
        expand, [S(F(2, 1), [2, 3]), S(F(3), [2, -1]), S(F(), [2, 2]), S(F(1, 1), [0, 3]), S(F(), []), S(F(0), [2, 0])]
    ),
    permute=view(
        lambda x, dims: x.transpose(dims),
        [S(F(2, 3), [1, 0]), S(F(2, 3, 4), [2, 0, -2]), S(F(), []), S(F(0, 2), [1, 0])],
    ),
    transpose=view(
        lambda x, a, b: x if x.ndim == 0 else np.swapaxes(x, a, b),
        [S(F(2, 3), 0, 1), S(F(2, 3, 4), -1, 0), S(F(), 0, -1), S(F(0, 2), 0, 1)],
    ),
    t=view(np.transpose, [S(F(2, 3)), S(F(3)), S(F()), S(F(0, 2))]),
    select=view(lambda x, d, i: np.take(x, i, d), [S(F(3), 0, 1), S(F(2, 3, 4), -2, -1), S(F(3, 0), 0, 1)]),
    slice=view(
        cut,
        [
            S(F(4), 0, 1, 3),
            S(F(5, 3), 0, None, None, 2),
            S(F(5, 3), -1, -2),
            S(F(4), 0, 3, 1),
            S(F(4), 0, -9, 9),
            S(F(0, 2), 0, 0, 5),
        ],
    ),
    narrow=view(lambda x, d, s, n: cut(x, d, s, s + n), [S(F(4), 0, 1, 2), S(F(2, 5), -1, 2, 3), S(F(3), 0, 3, 0)]),
    squeeze=view(squeeze, [S(F(1, 3)), S(F(1, 3, 1), 0), S(F(1, 3, 1), [0, -1]), S(F(2, 3), 1), S(F()), S(F(1, 0))]),
    unsqueeze=view(np.expand_dims, [S(F(3), 0), S(F(2, 3), -1), S(F(2, 3), 1), S(F(), 0), S(F(0), 0)]),
    diagonal=view(
        np.diagonal, [S(F(2, 2)), S(F(3, 4), 1), S(F(3, 4), -1), S(F(2, 3, 4), 0, -1, 0), S(F(2, 3), 5), S(F(0, 3))]
    ),
    unfold=view(unfold, [S(F(4), 0, 2, 1), S(F(2, 7), 1, 3, 2), S(F(5, 2), 0, 2, 3), S(F(), 0, 1, 1)]),
    as_strided=view(
        as_strided,
        [
            S(F(4), [2, 2], [1, 1]),
            S(F(2, 3), [3, 2], [1, 3]),
            S(F(6), [2], [2], 1),
            S(F(3), [], [], 2),
            S(F(3), [0], [1]),
        ],
        strided=False,
    ),
    _split=view(split, [S(F(3), 2), S(F(2, 5), 2, 1), S(F(4), 9), S(F(0, 2), 3)]),
    split_with_sizes=view(split_with_sizes, [S(F(3), [1, 2]), S(F(2, 5), [2, 0, 3], -1)]),
    unbind=view(unbind, [S(F(2)), S(F(2, 3), 1), S(F(3, 0)), S(F(2, 1, 2), -1)]),
    alias=view(lambda x: x, [S(F(3)), S(F(2, 3)), S(F()), S(F(0))]),
)
