"""Convolution, pooling, normalisation, softmax and losses, by their definitions."""

from __future__ import annotations

from itertools import product as positions

import numpy as np

from .matrix import SUMS, WHY
from .spec import F, I, Row, S, T, V
from .unary import quiet

ROWS: dict[str, Row] = {}


def many(v, n):
    """One int, or a list of one, for n dims."""
    v = list(v) if isinstance(v, (list, tuple)) else [v]
    return v * n if len(v) == 1 else v


# ---- convolution -----------------------------------------------------------------------------------------------------


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


# ---- pooling ---------------------------------------------------------------------------------------------------------


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


# ---- normalisation ---------------------------------------------------------------------------------------------------


def layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    dims = tuple(range(-len(shape), 0))
    y = (x - x.mean(dims, keepdims=True)) / np.sqrt(x.var(dims, keepdims=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def batch_norm(x, weight, bias, mean, var, training, momentum, eps):
    shape = [1, -1] + [1] * (x.ndim - 2)
    dims = tuple(d for d in range(x.ndim) if d != 1)
    use = (mean, var)
    if training or mean is None:
        use = (x.mean(dims), x.var(dims))
    y = (x - use[0].reshape(shape)) / np.sqrt(use[1].reshape(shape) + eps)
    y = y if weight is None else y * weight.reshape(shape)
    y = y if bias is None else y + bias.reshape(shape)
    if training and mean is not None:
        n = x.size // x.shape[1]
        mean += momentum * (x.mean(dims) - mean)
        var += momentum * (x.var(dims) * n / (n - 1) - var)
    return y


def group_norm(x, groups, weight=None, bias=None, eps=1e-5):
    shape = [1, x.shape[1]] + [1] * (x.ndim - 2)
    y = layer_norm(x.reshape(x.shape[0], groups, -1), [0], eps=eps).reshape(x.shape)
    y = y if weight is None else y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


def input_gradient(normalized_grad, y, rstd, dims):
    """Through (x - mean) * rstd, from its result y."""
    g = normalized_grad
    return rstd * (g - g.mean(dims, keepdims=True) - y * (g * y).mean(dims, keepdims=True))


def layer_norm_backward(grad, x, mean, rstd, weight, shape):
    n = len(shape)
    dims, lead = tuple(range(-n, 0)), tuple(range(x.ndim - n))
    pad = (*x.shape[: x.ndim - n], *[1] * n)
    mean, rstd = mean.reshape(pad), rstd.reshape(pad)
    y = (x - mean) * rstd
    g = grad if weight is None else grad * weight
    gx = input_gradient(g, y, rstd, dims)
    return (gx,) if weight is None else (gx, (grad * y).sum(lead), grad.sum(lead))


POSITIVE = {"low": 0.5, "high": 2.0}
NORM = {"tolerance": {**SUMS, "float32": (1e-5, 1e-5)}, "why": WHY}
ROWS.update(
    layer_norm=Row(
        layer_norm,
        [
            S(F(2, 3), [3], F(3), F(3)),
            S(F(2, 3), [3]),
            S(F(2, 3, 4), [3, 4], F(3, 4), F(3, 4)),
            S(F(2, 2, 5), [5], F(5), None, 0.1),
            S(F(0, 3), [3], F(3), F(3)),
        ],
        "f",
        medium=[S(F(64, 301), [301], F(301), F(301))],
        **NORM,
    ),
    batch_norm=Row(
        batch_norm,
        [
            S(F(3, 2), F(2), F(2), None, None, True, 0.1, 1e-5),
            S(F(2, 3, 4), None, None, F(3, grad=False), F(3, **POSITIVE, grad=False), True, 0.3, 1e-5),
            S(F(2, 3, 2, 2), F(3), F(3), F(3, grad=False), F(3, **POSITIVE, grad=False), True, 0.1, 1e-3),
            S(F(2, 3, 2, 2), F(3), F(3), F(3, grad=False), F(3, **POSITIVE, grad=False), False, 0.1, 1e-3),
            S(F(4, 3), None, F(3), F(3, grad=False), F(3, **POSITIVE, grad=False), False, 0.1, 1e-5),
        ],
        "F",
        medium=[S(F(16, 8, 14, 14), F(8), F(8), F(8), F(8, **POSITIVE), True, 0.1, 1e-5)],
        **NORM,
    ),
    group_norm=Row(
        group_norm,
        [S(F(1, 2, 2), 1, F(2), F(2)), S(F(2, 4, 3), 2), S(F(2, 6, 2, 3), 3, F(6), F(6), 0.1)],
        "f",
        medium=[S(F(4, 8, 14, 14), 4, F(8), F(8))],
        **NORM,
    ),
)


def statistics(groups, what):
    """Mean and 1 / standard deviation are made up here: any numbers go through the formula."""
    return [F(*groups, low=-0.5, high=0.5), F(*groups, **POSITIVE)][what]


def layer_norm_case(shape, normal, weight):
    lead = (*shape[: len(shape) - len(normal)], *[1] * len(normal))
    return S(
        F(*shape), F(*shape), statistics(lead, 0), statistics(lead, 1), F(*normal) if weight else None, list(normal)
    )


def batch_norm_backward(grad, x, weight, mean, var, save_mean, save_invstd, training, eps):
    shape = [1, -1] + [1] * (x.ndim - 2)
    dims = tuple(d for d in range(x.ndim) if d != 1)
    centre = save_mean if training else mean
    rstd = (save_invstd if training else 1 / np.sqrt(var + eps)).reshape(shape)
    y = (x - centre.reshape(shape)) * rstd
    g = grad if weight is None else grad * weight.reshape(shape)
    gx = input_gradient(g, y, rstd, dims) if training else g * rstd
    return (gx, (grad * y).sum(dims), grad.sum(dims)) if weight is not None else (gx,)


def group_norm_backward(grad, x, mean, rstd, weight, groups):
    n, c = x.shape[:2]
    shape = [1, c] + [1] * (x.ndim - 2)
    y = ((x.reshape(n, groups, -1) - mean.reshape(n, groups, 1)) * rstd.reshape(n, groups, 1)).reshape(x.shape)
    g = grad if weight is None else grad * weight.reshape(shape)
    gx = input_gradient(g.reshape(n, groups, -1), y.reshape(n, groups, -1), rstd.reshape(n, groups, 1), (2,)).reshape(
        x.shape
    )
    dims = tuple(d for d in range(x.ndim) if d != 1)
    return (gx, (grad * y).sum(dims), grad.sum(dims)) if weight is not None else (gx,)


ROWS.update(
    _layer_norm_backward=Row(
        layer_norm_backward,
        [
            layer_norm_case((2, 3), (3,), True),
            layer_norm_case((2, 2, 3), (2, 3), True),
            layer_norm_case((4, 5), (5,), False),
        ],
        "F",
        **NORM,
    ),
    _batch_norm_backward=Row(
        batch_norm_backward,
        [
            S(F(3, 2), F(3, 2), F(2), None, None, F(2), F(2, **POSITIVE), True, 1e-5),
            S(F(2, 3, 4), F(2, 3, 4), F(3), F(3), F(3, **POSITIVE), F(3), F(3, **POSITIVE), True, 1e-5),
            S(F(2, 3, 4), F(2, 3, 4), F(3), F(3), F(3, **POSITIVE), F(3), F(3, **POSITIVE), False, 1e-5),
        ],
        "F",
        **NORM,
    ),
    _group_norm_backward=Row(
        group_norm_backward,
        [
            S(F(1, 2, 2), F(1, 2, 2), F(1, 1), F(1, 1, **POSITIVE), F(2), 1),
            S(F(2, 4, 3), F(2, 4, 3), F(2, 2), F(2, 2, **POSITIVE), F(4), 2),
        ],
        "F",
        **NORM,
    ),
)


# ---- softmax and losses ----------------------------------------------------------------------------------------------


def softmax(x, dim, dtype=None):
    if x.ndim == 0:
        return np.ones(())
    e = np.exp(x - x.max(dim, keepdims=True, initial=-np.inf))
    return e / e.sum(dim, keepdims=True)


def log_softmax(x, dim, dtype=None):
    if x.ndim == 0:
        return np.zeros(())
    top = x.max(dim, keepdims=True, initial=-np.inf)
    return x - top - np.log(np.exp(x - top).sum(dim, keepdims=True))


def weights_of(target, weight, ignored, classes):
    w = np.ones(classes) if weight is None else weight
    return np.where(target == ignored, 0.0, w[np.where(target == ignored, 0, target)])


def nll(x, target, weight=None, reduction=1, ignore_index=-100):
    dim = 0 if x.ndim == 1 else 1
    w = weights_of(target, weight, ignore_index, x.shape[dim])
    at = np.expand_dims(np.where(target == ignore_index, 0, target), dim)
    losses = -np.take_along_axis(x, at, dim).squeeze(dim) * w
    if reduction == 0:
        return losses
    return losses.sum() if reduction == 2 else losses.sum() / w.sum()


def nll_backward(grad, target, weight, total, reduction, ignore_index, size):
    dim = 0 if len(size) == 1 else 1
    w = weights_of(target, weight, ignore_index, size[dim])
    g = -grad * w
    if reduction == 1:
        g = g / total
    out = np.zeros(size)
    np.put_along_axis(
        out, np.expand_dims(np.where(target == ignore_index, 0, target), dim), np.expand_dims(g, dim), dim
    )
    return out


SOFT = [S(F(3), 0), S(F(2, 3), 1), S(F(2, 3, 4), 1), S(F(), 0), S(F(2, 0), 1), S(F(0, 3), 1)]
SOFT_BACK = [
    S(F(3), F(3, low=0.1, high=0.5), 0),
    S(F(2, 3), F(2, 3, low=0.1, high=0.5), 1),
    S(F(2, 3, 2), F(2, 3, 2, low=0.1, high=0.5), 1),
]
TARGET = T((3,), 0, 4, "int64", False)
ROWS.update(
    softmax=Row(quiet(softmax), SOFT, "f", medium=[S(F(64, 301), 1), S(F(31, 64), 0)]),
    log_softmax=Row(quiet(log_softmax), SOFT, "f", medium=[S(F(64, 301), 1), S(F(31, 64), 0), S(F(64, 10), 1)]),
    _softmax_backward=Row(
        lambda g, y, dim: y * (g - (g * y).sum(dim, keepdims=True)),
        SOFT_BACK,
        "f",
        medium=[S(F(64, 301), F(64, 301), 1)],
        **NORM,
    ),
    _log_softmax_backward=Row(
        lambda g, y, dim: g - np.exp(y) * g.sum(dim, keepdims=True),
        SOFT_BACK,
        "f",
        medium=[S(F(64, 301), F(64, 301), 1)],
        **NORM,
    ),
    nll_loss_nd=Row(
        quiet(nll),
        [
            S(F(3, 4), TARGET),
            S(F(4), V(2, "int64")),
            S(F(3, 4), TARGET, F(4, **POSITIVE, grad=False), 1),
            S(F(3, 4), TARGET, F(4, **POSITIVE, grad=False), 0),
            S(F(3, 4), TARGET, None, 2),
            S(F(3, 4), V([1, 2, 1], "int64"), None, 1, 1),
            S(F(2, 4, 3), I(2, 3, high=4), F(4, **POSITIVE, grad=False), 1),
            S(F(2, 3, grad=False), V([-100, -100], "int64"), None, 1),
            S(F(2, 3), V([-100, 1], "int64"), None, 0),
        ],
        "F",
        medium=[S(F(64, 10), I(64, high=10)), S(F(8, 5, 33), I(8, 33, high=5), F(5), 1)],
    ),
    _nll_loss_backward=Row(
        nll_backward,
        [
            S(F(), TARGET, None, V(3.0, grad=False), 1, -100, [3, 4]),
            S(F(3), TARGET, F(4, **POSITIVE, grad=False), V(1.0, grad=False), 0, -100, [3, 4]),
            S(
                F(),
                V([[0, 1], [3, 2]], "int64"),
                V([0.5, 1.0, 2.0, 1.5], grad=False),
                V(4.0, grad=False),
                1,
                1,
                [2, 4, 2],
            ),
            S(F(), V(2, "int64"), None, V(1.0, grad=False), 2, -100, [4]),
        ],
        "F",
    ),
)
