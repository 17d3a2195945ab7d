"""Softmax, cross-entropy and the losses of pairs of numbers."""

from __future__ import annotations

import numpy as np

from .normalization import NORM, POSITIVE
from .spec import F, I, Row, S, T, V
from .unary import quiet

ROWS: dict[str, Row] = {}


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


def smoothed_target(x, target, weight, ignored, smoothing):
    """What is asked of each class of each line, and the divisor of the mean: by weight of the target, or over lines."""
    dim = 0 if x.ndim == 1 else 1
    classes = x.shape[dim]
    along = [-1 if d == dim else 1 for d in range(x.ndim)]
    w = np.ones(classes) if weight is None else weight
    if target.dtype == np.float64:
        q = (target * (1 - smoothing) + smoothing / classes) * w.reshape(along)
        return q, q.size // classes
    own = weights_of(target, weight, ignored, classes)
    hot = np.zeros(x.shape)
    at = np.expand_dims(np.where(target == ignored, 0, target), dim)
    np.put_along_axis(hot, at, np.expand_dims(own * (1 - smoothing), dim), dim)
    spread = np.expand_dims(target != ignored, dim) * (w * smoothing / classes).reshape(along)
    return hot + spread, own.sum()


def cross_entropy(x, target, weight=None, reduction=1, ignore_index=-100, smoothing=0.0):
    dim = 0 if x.ndim == 1 else 1
    q, divisor = smoothed_target(x, target, weight, ignore_index, smoothing)
    losses = -(q * log_softmax(x, dim)).sum(dim)
    if reduction == 0:
        return losses
    return losses.sum() if reduction == 2 else losses.sum() / divisor


def cross_entropy_backward(grad, x, target, weight, divisor, top, total, reduction, ignore_index, smoothing):
    dim = 0 if x.ndim == 1 else 1
    q, _ = smoothed_target(x, target, weight, ignore_index, smoothing)
    g = np.expand_dims(grad, dim) if reduction == 0 else grad
    if reduction == 1:
        g = g / divisor
    softmax = np.exp(x - np.expand_dims(top, dim)) / np.expand_dims(total, dim)
    return g * (softmax * q.sum(dim, keepdims=True) - q)


def cross_entropy_case(x, target, weight, reduction, ignore_index=-100, smoothing=0.0):
    """A sample of the gradient, with what the forward pass keeps."""
    dim = 0 if x.ndim == 1 else 1
    _, divisor = smoothed_target(x, np.asarray(target), weight, ignore_index, smoothing)
    top = x.max(dim)
    kept = [V(divisor, grad=False), V(top, grad=False), V(np.exp(x - np.expand_dims(top, dim)).sum(dim), grad=False)]
    grad = V(np.linspace(-1, 2, top.size).reshape(top.shape)) if reduction == 0 else V(0.75)
    given = V(target) if np.asarray(target).dtype == np.float64 else V(target, "int64")
    asked = None if weight is None else V(weight, grad=False)
    return S(grad, V(x), given, asked, *kept, reduction, ignore_index, smoothing)


def pair(x, t, kind, reduction=1, value=1.0):
    d = x - t
    far = np.abs(d)
    losses = [
        lambda: d * d,
        lambda: far,
        lambda: np.where(far < value, d * d / (2 * value), far - value / 2),
        lambda: np.where(far <= value, d * d / 2, value * (far - value / 2)),
        lambda: -(t * np.log(x) + (1 - t) * np.log(1 - x)),
        lambda: np.logaddexp(0, x) - t * x,
        lambda: np.where(t == 0, 0, t * np.log(np.where(t == 0, 1, t))) - t * x,
        lambda: np.exp(t) * (t - x),
    ][kind]()
    if reduction == 0:
        return losses
    return losses.sum() if reduction == 2 else losses.mean()


def pair_backward(grad, x, t, kind, reduction, value):
    d = x - t
    far = np.abs(d)
    slopes = [
        lambda: 2 * d,
        lambda: np.sign(d),
        lambda: np.where(far < value, d / value, np.sign(d)),
        lambda: np.where(far <= value, d, value * np.sign(d)),
        lambda: d / (x * (1 - x)),
        lambda: 1 / (1 + np.exp(-x)) - t,
        lambda: -t,
        lambda: -np.exp(t),
    ][kind]()
    return grad * slopes / (x.size if reduction == 1 else 1)


CHANCE = {"low": 0.05, "high": 0.95}
NUMBERS = np.linspace(-2, 2, 24).reshape(2, 4, 3) ** 3
PAIRS = [(0, {}, 1.0), (1, {}, 1.0), (2, {}, 0.5), (3, {}, 0.7), (4, CHANCE, 1.0), (5, {}, 1.0), (6, CHANCE, 1.0)]
PAIRS.append((7, {}, 1.0))
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
    _cross_entropy=Row(
        quiet(cross_entropy),
        [
            S(F(3, 4), TARGET),
            S(F(4), V(2, "int64")),
            S(F(3, 4), TARGET, F(4, **POSITIVE, grad=False), 1, -100, 0.1),
            S(F(3, 4), TARGET, F(4, **POSITIVE, grad=False), 0, -100, 0.2),
            S(F(3, 4), V([1, 2, 1], "int64"), None, 2, 1, 0.3),
            S(F(2, 4, 3), I(2, 3, high=4), F(4, **POSITIVE, grad=False), 1, 2),
            S(F(2, 4, 3), I(2, 3, high=4), None, 0, -100, 0.1),
            S(F(3, 4), F(3, 4, **CHANCE), F(4, **POSITIVE, grad=False), 1, -100, 0.1),
            S(F(2, 4, 3), F(2, 4, 3, **CHANCE), None, 0),
            S(F(2, 3, grad=False), V([-100, -100], "int64"), None, 1),
        ],
        "F",
        medium=[
            S(F(64, 10), I(64, high=10)),
            S(F(33, 301), I(33, high=301), None, 1, -100, 0.1),
            S(F(8, 5, 133), I(8, 133, high=5), F(5, **POSITIVE), 2),
            S(F(3, 5001), F(3, 5001, **CHANCE), None, 0),
        ],
        tolerance={"float32": (4e-6, 2e-6)},
        why="a sum of exponentials and its logarithm",
    ),
    _cross_entropy_backward=Row(
        quiet(cross_entropy_backward),
        [
            cross_entropy_case(NUMBERS[0], [2, 0, 1, 2], None, 1),
            cross_entropy_case(NUMBERS[0], [2, 0, 1, 2], np.array([0.5, 1.0, 2.0]), 0, 1, 0.1),
            cross_entropy_case(NUMBERS, [[0, 1, 2], [3, 3, 1]], np.array([0.5, 1.0, 2.0, 1.5]), 1, 3),
            cross_entropy_case(NUMBERS, [[0, 1, 2], [3, 3, 1]], None, 2, -100, 0.2),
            cross_entropy_case(NUMBERS[0], np.abs(NUMBERS[1]) / 4, np.array([0.5, 1.0, 2.0]), 1, -100, 0.1),
            cross_entropy_case(NUMBERS, np.abs(NUMBERS[::-1]), None, 0),
            cross_entropy_case(NUMBERS[0, 0], 1, None, 2),
        ],
        "F",
        strided=True,
        **NORM,
    ),
    _pair_loss=Row(
        pair,
        [
            S(F(2, 3, **more), F(2, 3, **more), kind, reduction, value)
            for kind, more, value in PAIRS
            for reduction in (0, 1, 2)
        ]
        + [S(F(**CHANCE), F(**CHANCE), 4), S(F(0, 3), F(0, 3), 0, 2)],
        "f",
        medium=[S(F(70, 301, **more), F(70, 301, **more), kind, 1, value) for kind, more, value in PAIRS],
        tolerance={"float32": (4e-6, 2e-6)},
        why="a sum of losses that cancel",
    ),
    _pair_loss_backward=Row(
        pair_backward,
        [
            S(F(2, 3) if reduction == 0 else F(), F(2, 3, **more), F(2, 3, **more), kind, reduction, value)
            for kind, more, value in PAIRS
            for reduction in (0, 1, 2)
        ],
        "f",
        medium=[S(F(), F(70, 301, **more), F(70, 301, **more), kind, 1, value) for kind, more, value in PAIRS],
        **NORM,
    ),
)
