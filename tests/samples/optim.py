"""Fused optimizer steps: the parameters' update written out for one list of parameters each."""

from __future__ import annotations

import numpy as np

from .matrix import SUMS, WHY
from .spec import F, Row, S

ROWS: dict[str, Row] = {}


def p(**known):
    return [F(3, **known), F(2, 3, **known)]


def positive():
    return p(low=0.1, high=2)


def decayed(x, g, weight_decay, maximize):
    return (-g if maximize else g) + weight_decay * x


def sgd(params, grads, buffers, first, lr, momentum, dampening, weight_decay, nesterov, maximize):
    for i, (x, g) in enumerate(zip(params, grads, strict=True)):
        g = decayed(x, g, weight_decay, maximize)
        if momentum:
            b = buffers[i]
            b[...] = g if first[i] else momentum * b + (1 - dampening) * g
            g = g + momentum * b if nesterov else b
        x -= lr * g


def adam(params, grads, means, squares, tops, steps, lr, beta1, beta2, eps, weight_decay, decoupled, maximize):
    for i, (x, g, m, v, t) in enumerate(zip(params, grads, means, squares, steps, strict=True)):
        if decoupled:
            g = -g if maximize else g
            x *= 1 - lr * weight_decay
        else:
            g = decayed(x, g, weight_decay, maximize)
        m[...] = beta1 * m + (1 - beta1) * g
        v[...] = beta2 * v + (1 - beta2) * g * g
        top = v
        if tops:
            tops[i][...] = np.maximum(tops[i], v)
            top = tops[i]
        x -= lr / (1 - beta1**t) * m / (np.sqrt(top) / np.sqrt(1 - beta2**t) + eps)


def rmsprop(params, grads, squares, buffers, averages, lr, alpha, eps, weight_decay, momentum, maximize):
    for i, (x, g, v) in enumerate(zip(params, grads, squares, strict=True)):
        g = decayed(x, g, weight_decay, maximize)
        v[...] = alpha * v + (1 - alpha) * g * g
        spread = v
        if averages:
            averages[i][...] = alpha * averages[i] + (1 - alpha) * g
            spread = v - averages[i] ** 2
        step = g / (np.sqrt(spread) + eps)
        if momentum:
            buffers[i][...] = momentum * buffers[i] + step
            step = buffers[i]
        x -= lr * step


def adagrad(params, grads, sums, steps, lr, lr_decay, weight_decay, eps, maximize):
    for x, g, s, t in zip(params, grads, sums, steps, strict=True):
        g = decayed(x, g, weight_decay, maximize)
        s += g * g
        x -= lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(s) + eps)


def adadelta(params, grads, squares, deltas, lr, rho, eps, weight_decay, maximize):
    for x, g, v, d in zip(params, grads, squares, deltas, strict=True):
        g = decayed(x, g, weight_decay, maximize)
        v[...] = rho * v + (1 - rho) * g * g
        delta = np.sqrt(d + eps) / np.sqrt(v + eps) * g
        d[...] = rho * d + (1 - rho) * delta * delta
        x -= lr * delta


def norm(grads, norm_type):
    every = np.concatenate([g.reshape(-1) for g in grads]) if grads else np.zeros(1)
    return np.asarray(np.linalg.norm(every, norm_type))


def step(f, samples) -> Row:
    return Row(f, samples, "F", tolerance=SUMS, why=WHY)


ROWS.update(
    _sgd_step=step(
        sgd,
        [
            S(p(), p(), [], [], 0.1, 0.0, 0.0, 0.0, False, False),
            S(p(), p(), p(), [1, 0], 0.1, 0.9, 0.2, 0.01, False, False),
            S(p(), p(), p(), [0, 0], 0.1, 0.9, 0.0, 0.01, True, True),
        ],
    ),
    _adam_step=step(
        adam,
        [
            S(p(), p(), p(), positive(), [], [1.0, 5.0], 0.01, 0.9, 0.999, 1e-8, 0.0, False, False),
            S(p(), p(), p(), positive(), positive(), [1.0, 5.0], 0.01, 0.9, 0.99, 1e-3, 0.1, False, True),
            S(p(), p(), p(), positive(), [], [2.0, 2.0], 0.01, 0.9, 0.99, 1e-3, 0.1, True, False),
        ],
    ),
    _rmsprop_step=step(
        rmsprop,
        [
            S(p(), p(), positive(), [], [], 0.01, 0.9, 1e-8, 0.0, 0.0, False),
            S(p(), p(), p(low=4, high=5), p(), p(low=-0.5, high=0.5), 0.01, 0.9, 1e-3, 0.1, 0.8, True),
        ],
    ),
    _adagrad_step=step(
        adagrad,
        [
            S(p(), p(), positive(), [1.0, 3.0], 0.1, 0.0, 0.0, 1e-10, False),
            S(p(), p(), positive(), [1.0, 3.0], 0.1, 0.2, 0.1, 1e-3, True),
        ],
    ),
    _adadelta_step=step(
        adadelta,
        [
            S(p(), p(), positive(), positive(), 1.0, 0.9, 1e-6, 0.0, False),
            S(p(), p(), positive(), positive(), 0.5, 0.8, 1e-3, 0.1, True),
        ],
    ),
    _grad_norm=Row(norm, [S(p(), o) for o in (2.0, 1.0, np.inf)], "F"),
)
