"""Layer, batch and group norm, and their gradients."""

from __future__ import annotations

import numpy as np

from .matrix import SUMS, WHY
from .spec import F, Row, S

ROWS: dict[str, Row] = {}


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
