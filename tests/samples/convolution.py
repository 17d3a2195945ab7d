"""Convolution and its two gradients, by their definition."""

from __future__ import annotations

from itertools import product as positions

import numpy as np

from .matrix import SUMS, WHY
from .spec import F, Row, S

ROWS: dict[str, Row] = {}


def many(v, n):
    """One int, or a list of one, for n dims."""
    v = list(v) if isinstance(v, (list, tuple)) else [v]
    return v * n if len(v) == 1 else v


def padded(x, padding, n, value=0.0):
    return np.pad(
        x, [(0, 0)] * (x.ndim - n) + [(p, p) if isinstance(p, int) else p for p in padding], constant_values=value
    )


def window(at, out, stride, dilation):
    """Where the elements under one place of the kernel lie, for every output."""
    return tuple(slice(k * d, k * d + s * (o - 1) + 1, s) for k, o, s, d in zip(at, out, stride, dilation, strict=True))


def conv(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    n = w.ndim - 2
    if x.ndim == n + 1:
        return conv(x[None], w, b, stride, padding, dilation, groups)[0]
    stride, dilation = many(stride, n), many(dilation, n)
    if padding == "valid":
        padding = [0] * n
    elif padding == "same":
        total = [d * (k - 1) for k, d in zip(w.shape[2:], dilation, strict=True)]
        padding = [(t // 2, t - t // 2) for t in total]
    else:
        padding = many(padding, n)
    x = padded(x, padding, n)
    out = [(x.shape[2 + i] - dilation[i] * (w.shape[2 + i] - 1) - 1) // stride[i] + 1 for i in range(n)]
    y = np.zeros((x.shape[0], w.shape[0], *out))
    per_in, per_out = w.shape[1], w.shape[0] // groups
    for at in positions(*map(range, w.shape[2:])):
        part = x[(..., *window(at, out, stride, dilation))]
        for g in range(groups):
            o, i = slice(g * per_out, (g + 1) * per_out), slice(g * per_in, (g + 1) * per_in)
            y[:, o] += np.einsum("oc,bc...->bo...", w[(o, slice(None), *at)], part[:, i])
    return y if b is None else y + b.reshape(-1, *[1] * n)


def conv_input(grad, w, size, stride, padding, dilation, groups):
    n = w.ndim - 2
    if len(size) == n + 1:
        return conv_input(grad[None], w, [1, *size], stride, padding, dilation, groups)[0]
    stride, padding, dilation = many(stride, n), many(padding, n), many(dilation, n)
    x = padded(np.zeros(size), padding, n)
    per_in, per_out = w.shape[1], w.shape[0] // groups
    for at in positions(*map(range, w.shape[2:])):
        where = window(at, grad.shape[2:], stride, dilation)
        for g in range(groups):
            o, i = slice(g * per_out, (g + 1) * per_out), slice(g * per_in, (g + 1) * per_in)
            x[(slice(None), i, *where)] += np.einsum("oc,bo...->bc...", w[(o, slice(None), *at)], grad[:, o])
    return x[(..., *(slice(p, p + s) for p, s in zip(padding, size[2:], strict=True)))]


def conv_weight(grad, x, size, stride, padding, dilation, groups):
    n = len(size) - 2
    if x.ndim == n + 1:
        return conv_weight(grad[None], x[None], size, stride, padding, dilation, groups)
    stride, dilation = many(stride, n), many(dilation, n)
    x = padded(x, many(padding, n), n)
    w = np.zeros(size)
    per_in, per_out = size[1], size[0] // groups
    for at in positions(*map(range, size[2:])):
        part = x[(..., *window(at, grad.shape[2:], stride, dilation))]
        for g in range(groups):
            o, i = slice(g * per_out, (g + 1) * per_out), slice(g * per_in, (g + 1) * per_in)
            w[(o, slice(None), *at)] = np.tensordot(grad[:, o], part[:, i], [[0, *range(2, n + 2)]] * 2)
    return w


def conv_row(reference, samples, medium=()) -> Row:
    return Row(reference, samples, "fi", tolerance=SUMS, why=WHY, medium=list(medium), domain=(-1.5, 1.5))


ROWS["conv1d"] = conv_row(
    conv,
    [
        S(F(1, 1, 3), F(1, 1, 2), F(1)),
        S(F(2, 2, 5), F(3, 2, 3), F(3), 2, 1),
        S(F(2, 5), F(3, 2, 2)),
        S(F(1, 2, 7), F(2, 1, 2), None, 1, 0, 2, 2),
        S(F(0, 2, 5), F(3, 2, 3)),
        S(F(1, 2, 4), F(2, 2, 1), F(2)),
    ],
    [S(F(4, 8, 100), F(16, 8, 5), F(16), 1, 2)],
)
ROWS["conv2d"] = conv_row(
    conv,
    [
        S(F(1, 1, 3, 3), F(1, 1, 2, 2), F(1)),
        S(F(2, 2, 5, 4), F(3, 2, 3, 2), F(3), [2, 1], [1, 0]),
        S(F(1, 2, 6, 6), F(2, 2, 2, 3), None, 1, 1, [2, 1]),
        S(F(1, 4, 4, 4), F(4, 1, 3, 3), F(4), 1, 1, 1, 4),
        S(F(1, 4, 3, 3), F(6, 2, 2, 2), None, 1, 0, 1, 2),
        S(F(2, 4, 4), F(3, 2, 3, 3), F(3)),
        S(F(2, 3, 4, 4), F(2, 3, 1, 1), F(2)),
        S(F(2, 3, 5, 5), F(2, 3, 1, 1), None, 2),
        S(F(0, 2, 4, 4), F(3, 2, 3, 3), F(3)),
    ],
    [
        S(F(8, 1, 28, 28), F(32, 1, 3, 3), F(32)),
        S(F(3, 32, 14, 14), F(20, 32, 3, 3), F(20)),
        S(F(2, 16, 15, 15), F(16, 1, 3, 3), None, 1, 1, 1, 16),
        S(F(2, 16, 15, 15), F(24, 16, 1, 1), F(24)),
        S(F(2, 3, 33, 31), F(8, 3, 5, 5), F(8), 2, 2),
    ],
)
ROWS["conv3d"] = conv_row(
    conv,
    [
        S(F(1, 1, 2, 2, 2), F(1, 1, 1, 2, 2), F(1)),
        S(F(1, 2, 3, 4, 4), F(2, 2, 2, 2, 3), F(2), [1, 2, 1], [0, 1, 1]),
        S(F(2, 3, 3, 3), F(2, 1, 2, 2, 2), None, 1, 0, 1, 2),
    ],
    [S(F(2, 4, 7, 9, 8), F(6, 4, 3, 3, 3), F(6))],
)
ROWS["conv1d.padding"] = conv_row(
    conv,
    [
        S(F(1, 1, 3), F(1, 1, 2), F(1), 1, "same"),
        S(F(1, 2, 6), F(3, 2, 3), None, 2, "valid"),
        S(F(2, 6), F(3, 2, 4), None, 1, "same"),
    ],
)
ROWS["conv2d.padding"] = conv_row(
    conv,
    [
        S(F(1, 1, 2, 3), F(1, 1, 2, 2), F(1), 1, "same"),
        S(F(1, 2, 4, 5), F(2, 2, 3, 2), F(2), 1, "same", [1, 2]),
        S(F(1, 2, 4, 5), F(2, 2, 3, 2), F(2), 2, "valid"),
    ],
)
ROWS["conv3d.padding"] = conv_row(
    conv,
    [S(F(1, 1, 2, 2, 2), F(1, 1, 2, 1, 2), F(1), 1, "same"), S(F(1, 1, 3, 3, 3), F(1, 1, 2, 2, 2), None, 1, "valid")],
)
ROWS["_conv_input"] = conv_row(
    conv_input,
    [
        S(F(1, 1, 2, 2), F(1, 1, 2, 2), [1, 1, 3, 3], [1, 1], [0, 0], [1, 1], 1),
        S(F(2, 3, 3, 3), F(3, 2, 3, 2), [2, 2, 5, 4], [2, 1], [1, 0], [1, 1], 1),
        S(F(1, 4, 4, 4), F(4, 1, 3, 3), [1, 4, 4, 4], [1, 1], [1, 1], [1, 1], 4),
        S(F(2, 3, 2), F(3, 2, 3), [2, 2, 5], [2], [0], [1], 1),
        S(F(1, 2, 2, 2, 2), F(2, 2, 2, 2, 2), [1, 2, 3, 3, 3], [1, 1, 1], [0, 0, 0], [1, 1, 1], 1),
        S(F(1, 2, 2), F(1, 1, 3, 3), [1, 6, 6], [2, 2], [0, 0], [1, 1], 1),
    ],
    [S(F(3, 20, 12, 12), F(20, 32, 3, 3), [3, 32, 14, 14], [1, 1], [0, 0], [1, 1], 1)],
)
ROWS["_conv_weight"] = conv_row(
    conv_weight,
    [
        S(F(1, 1, 2, 2), F(1, 1, 3, 3), [1, 1, 2, 2], [1, 1], [0, 0], [1, 1], 1),
        S(F(2, 3, 3, 3), F(2, 2, 5, 4), [3, 2, 3, 2], [2, 1], [1, 0], [1, 1], 1),
        S(F(1, 4, 4, 4), F(1, 4, 4, 4), [4, 1, 3, 3], [1, 1], [1, 1], [1, 1], 4),
        S(F(2, 3, 2), F(2, 2, 5), [3, 2, 3], [2], [0], [1], 1),
        S(F(1, 2, 2, 2, 2), F(1, 2, 3, 3, 3), [2, 2, 2, 2, 2], [1, 1, 1], [0, 0, 0], [1, 1, 1], 1),
    ],
    [S(F(8, 32, 26, 26), F(8, 1, 28, 28), [32, 1, 3, 3], [1, 1], [0, 0], [1, 1], 1)],
)
