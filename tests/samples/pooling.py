"""Pooling, window by window."""

from __future__ import annotations

import numpy as np

from .convolution import many
from .spec import F, I, Row, S

ROWS: dict[str, Row] = {}


def pooled_size(size, k, s, p, d, ceil):
    room = size + 2 * p - d * (k - 1) - 1
    n = (room + s - 1) // s + 1 if ceil else room // s + 1
    return n - 1 if ceil and (n - 1) * s >= size + p else n


def max_pool(n, with_indices=True):
    def run(x, kernel, stride=(), padding=0, dilation=1, ceil_mode=False):
        kernel, padding, dilation = many(kernel, n), many(padding, n), many(dilation, n)
        stride = many(stride, n) if stride not in ((), []) else kernel
        size = x.shape[-n:]
        out = [pooled_size(*z, ceil_mode) for z in zip(size, kernel, stride, padding, dilation, strict=True)]
        values, places = np.zeros((*x.shape[:-n], *out)), np.zeros((*x.shape[:-n], *out), np.int64)
        for lead in np.ndindex(*x.shape[:-n]):
            for o in np.ndindex(*out):
                best = None
                for k in np.ndindex(*kernel):
                    at = tuple(o[i] * stride[i] - padding[i] + k[i] * dilation[i] for i in range(n))
                    if all(0 <= a < m for a, m in zip(at, size, strict=True)) and (
                        best is None or x[lead + at] > x[lead + best]
                    ):
                        best = at
                values[lead + o], places[lead + o] = x[lead + best], np.ravel_multi_index(best, size)
        return (values, places) if with_indices else values

    return run


def max_pool_backward(grad, indices, size, ndim):
    out = np.zeros(size)
    flat = out.reshape(*size[:-ndim], int(np.prod(size[-ndim:])))
    for at in np.ndindex(*grad.shape):
        flat[(*at[:-ndim], indices[at])] += grad[at]
    return out


def max_pool_input(grad, x, kernel, *rest):
    n = len(kernel)
    return max_pool_backward(grad, max_pool(n)(x, kernel, *rest)[1], x.shape, n)


def average(n):
    def windows(size, kernel, stride, padding, ceil_mode, include, divisor):
        kernel, padding = many(kernel, n), many(padding, n)
        stride = many(stride, n) if stride not in ((), []) else kernel
        out = [pooled_size(*z, 1, ceil_mode) for z in zip(size, kernel, stride, padding, strict=True)]
        for o in np.ndindex(*out):
            low = [o[i] * stride[i] - padding[i] for i in range(n)]
            high = [min(low[i] + kernel[i], size[i] + padding[i]) for i in range(n)]
            inside = tuple(slice(max(a, 0), min(b, m)) for a, b, m in zip(low, high, size, strict=True))
            whole = np.prod([b - a for a, b in zip(low, high, strict=True)])
            own = np.prod([s.stop - s.start for s in inside])
            yield o, inside, divisor or (whole if include else own)
        windows.out = out

    def run(x, kernel, stride=(), padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
        found = list(windows(x.shape[-n:], kernel, stride, padding, ceil_mode, count_include_pad, divisor_override))
        y = np.zeros((*x.shape[:-n], *windows.out))
        for o, inside, count in found:
            y[(..., *o)] = x[(..., *inside)].sum(axis=tuple(range(-n, 0))) / count
        return y

    def back(grad, size, kernel, stride, padding, ceil_mode, include, divisor):
        x = np.zeros(size)
        for o, inside, count in windows(size[-n:], kernel, stride, padding, ceil_mode, include, divisor):
            x[(..., *inside)] += grad[(..., *o)].reshape(*grad.shape[:-n], *[1] * n) / count
        return x

    return run, back


def bins(size, out):
    return [slice(i * size // out, -((-(i + 1) * size) // out)) for i in range(out)]


def adaptive(n, kind):
    def run(x, output_size):
        size, out = x.shape[-n:], many(output_size, n)
        edges = [bins(m, o) for m, o in zip(size, out, strict=True)]
        y, places = np.zeros((*x.shape[:-n], *out)), np.zeros((*x.shape[:-n], *out), np.int64)
        grid = np.arange(int(np.prod(size))).reshape(size)
        for o in np.ndindex(*out):
            part = tuple(e[i] for e, i in zip(edges, o, strict=True))
            block = x[(..., *part)].reshape(*x.shape[:-n], -1)
            if kind == "avg":
                y[(..., *o)] = block.mean(-1)
            else:
                at = block.argmax(-1)
                y[(..., *o)] = np.take_along_axis(block, at[..., None], -1)[..., 0]
                places[(..., *o)] = grid[part].reshape(-1)[at]
        return y if kind == "avg" else (y, places)

    return run


def adaptive_back(grad, size, ndim):
    x = np.zeros(size)
    edges = [bins(m, o) for m, o in zip(size[-ndim:], grad.shape[-ndim:], strict=True)]
    for o in np.ndindex(*grad.shape[-ndim:]):
        part = tuple(e[i] for e, i in zip(edges, o, strict=True))
        count = np.prod([s.stop - s.start for s in part])
        x[(..., *part)] += grad[(..., *o)].reshape(*grad.shape[:-ndim], *[1] * ndim) / count
    return x


SIZES = {1: (7,), 2: (5, 7), 3: (4, 5, 4)}
SMALL = {1: (4,), 2: (2, 4), 3: (2, 2, 2)}
MEDIUM = {1: (3, 4, 500), 2: (4, 16, 26, 26), 3: (2, 3, 12, 13, 14)}
for _n in (1, 2, 3):
    _calls = [
        S(F(1, 1, *SMALL[_n]), 2),
        S(F(2, 2, *SIZES[_n]), 3, 2, 1),
        S(F(2, *SIZES[_n]), 2, 1),
        S(F(1, 2, *SIZES[_n]), 2, 2, 1, 1, True),
        S(F(1, 1, *SIZES[_n]), 2, 1, 0, 2),
        S(F(1, 2, *SIZES[_n]), [2] * (_n - 1) + [3], [], 0),
        S(F(0, 2, *SIZES[_n]), 2),
    ]
    _big = [S(F(*MEDIUM[_n]), 2), S(F(*MEDIUM[_n]), 3, 2, 1)]
    ROWS[f"max_pool{_n}d_with_indices"] = Row(max_pool(_n), _calls, "f", ("same", "int64"), medium=_big)
    ROWS[f"max_pool{_n}d"] = Row(max_pool(_n, False), _calls, "f", medium=_big)
    _run, _back = average(_n)
    _calls = [
        S(F(1, 1, *SMALL[_n]), 2),
        S(F(2, 2, *SIZES[_n]), 3, 2, 1),
        S(F(2, *SIZES[_n]), 2, 1),
        S(F(1, 2, *SIZES[_n]), 3, 2, 1, True),
        S(F(1, 2, *SIZES[_n]), 3, 2, 1, True, False),
        S(F(1, 2, *SIZES[_n]), 3, 2, 1, False, False),
        S(F(0, 2, *SIZES[_n]), 2),
    ]
    if _n > 1:
        _calls.append(S(F(1, 1, *SIZES[_n]), 2, divisor_override=3))
    ROWS[f"avg_pool{_n}d"] = Row(_run, _calls, "f", medium=_big)
    ROWS[f"adaptive_avg_pool{_n}d"] = Row(
        adaptive(_n, "avg"),
        [S(F(1, 1, *SMALL[_n]), 1), S(F(2, 2, *SIZES[_n]), 3), S(F(2, *SIZES[_n]), [2] * _n)],
        "f",
        medium=[S(F(*MEDIUM[_n]), 5)],
    )
    ROWS[f"adaptive_max_pool{_n}d"] = Row(
        adaptive(_n, "max"),
        [S(F(1, 1, *SMALL[_n]), 1), S(F(2, 2, *SIZES[_n]), 3), S(F(2, *SIZES[_n]), [2] * _n)],
        "f",
        ("same", "int64"),
        medium=[S(F(*MEDIUM[_n]), 5)],
    )

ROWS["_max_pool_backward"] = Row(
    max_pool_backward,
    [
        S(F(1, 1, 2), I(1, 1, 2, high=4), [1, 1, 4], 1),
        S(F(2, 2, 2, 3), I(2, 2, 2, 3, high=20), [2, 2, 4, 5], 2),
        S(F(2, 2), I(2, 2, high=4), [2, 4], 1),
    ],
    "f",
)
ROWS["_max_pool_input"] = Row(
    max_pool_input,
    [
        S(F(1, 1, 2), F(1, 1, 4), [2], [], [0], [1], False),
        S(F(2, 2, 3, 4), F(2, 2, 5, 7), [3, 3], [2, 2], [1, 1], [1, 1], False),
        S(F(2, 2, 3), F(2, 5, 7), [2, 2], [2, 2], [0, 0], [1, 1], False),
        S(F(2, 4, 5), F(2, 5, 7), [2, 3], [1, 1], [0, 0], [1, 1], False),
        S(F(1, 2, 3, 4), F(1, 2, 5, 7), [2, 2], [2, 2], [0, 0], [1, 1], True),
        S(F(1, 1, 1, 3, 3), F(1, 1, 3, 5, 7), [2, 2, 2], [2, 1, 2], [0, 0, 0], [1, 2, 1], False),
        S(F(0, 2, 3), F(0, 2, 6), [2], [], [0], [1], False),
    ],
    "f",
    medium=[
        S(F(4, 16, 13, 13), F(4, 16, 26, 26), [2, 2], [], [0, 0], [1, 1], False),
        S(F(4, 16, 13, 13), F(4, 16, 26, 26), [3, 3], [2, 2], [1, 1], [1, 1], False),
    ],
)
ROWS["_avg_pool_backward"] = Row(
    lambda grad, size, kernel, *rest: average(len(kernel))[1](grad, size, kernel, *rest),
    [
        S(F(1, 1, 1, 2), [1, 1, 2, 4], [2, 2], [], [0, 0], False, True, None),
        S(F(2, 2, 3, 4), [2, 2, 5, 7], [3, 3], [2, 2], [1, 1], False, False, None),
        S(F(2, 2, 3, 4), [2, 2, 5, 7], [3, 3], [2, 2], [1, 1], True, True, None),
        S(F(1, 2, 3), [1, 2, 6], [2], [2], [0], False, True, None),
        S(F(1, 2, 2, 3), [1, 2, 4, 6], [2, 2], [2, 2], [0, 0], False, True, 3),
    ],
    "f",
)
ROWS["_adaptive_avg_pool_backward"] = Row(
    adaptive_back,
    [S(F(1, 1, 2), [1, 1, 3], 1), S(F(2, 2, 3, 3), [2, 2, 5, 7], 2), S(F(2, 2, 2, 2), [2, 4, 5, 4], 3)],
    "f",
)
