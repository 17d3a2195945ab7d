"""What the graph's fusion puts together: the single ops' references, one after another."""

from __future__ import annotations

import numpy as np

from .convolution import conv, conv_input
from .matrix import LARGE_LAYERS, LAYERS, SUMS, WHY, linear
from .normalization import POSITIVE, batch_norm
from .spec import F, Row, S

ROWS: dict[str, Row] = {}


def relu(x):
    return np.maximum(x, 0)


def act(
    x,
    w,
    b,
    stride,
    padding,
    dilation,
    groups,
    weight=None,
    bias=None,
    mean=None,
    var=None,
    eps=0.0,
    plus=None,
    positive=False,
):
    y = conv(x, w, b, stride, padding, dilation, groups)
    y = y if mean is None else batch_norm(y, weight, bias, mean, var, False, 0.0, eps)
    y = y if plus is None else y + plus
    return relu(y) if positive else y


def act_sample(x, w, b, size, norm=True, plus=True, relu=True, stride=1, padding=0, groups=1):
    """`size`: the result's."""
    n = len(w) - 2
    channels = w[0]
    norms = (F(channels), F(channels), F(channels, grad=False), F(channels, **POSITIVE, grad=False), 1e-3)
    return S(
        F(*x),
        F(*w),
        F(channels) if b else None,
        [stride] * n,
        [padding] * n,
        [1] * n,
        groups,
        *(norms if norm else (None, None, None, None, 0.0)),
        F(*size) if plus else None,
        relu,
    )


def row(reference, samples, medium=()) -> Row:
    return Row(reference, samples, "F", tolerance=SUMS, why=WHY, medium=list(medium), domain=(-1.5, 1.5))


ROWS["_linear_relu"] = row(lambda x, w, b=None: relu(linear(x, w, b)), LAYERS, LARGE_LAYERS)
ROWS["_conv_act"] = row(
    act,
    [
        S(F(1, 1, 3, 3), F(1, 1, 2, 2), F(1), [1, 1], [0, 0], [1, 1], 1),
        act_sample((1, 1, 3, 3), (1, 1, 2, 2), True, (1, 1, 2, 2), norm=False, plus=False),
        act_sample((2, 2, 5, 4), (3, 2, 3, 2), True, (2, 3, 3, 3)),
        act_sample((2, 2, 5), (3, 2, 3), False, (2, 3, 2), stride=2),
        act_sample((1, 4, 4, 4), (4, 1, 3, 3), True, (1, 4, 4, 4), padding=1, groups=4, relu=False),
        act_sample((2, 4, 4), (3, 2, 3, 3), True, (3, 2, 2), norm=False),
        act_sample((1, 2, 3, 4, 4), (2, 2, 2, 2, 3), False, (1, 2, 2, 3, 2), plus=False),
        act_sample((0, 2, 4, 4), (3, 2, 3, 3), True, (0, 3, 2, 2)),
    ],
    [
        act_sample((8, 1, 28, 28), (32, 1, 3, 3), True, (8, 32, 26, 26), norm=False, plus=False),
        act_sample((3, 32, 14, 14), (20, 32, 3, 3), True, (3, 20, 12, 12)),
        act_sample((2, 16, 15, 15), (24, 16, 1, 1), False, (2, 24, 15, 15)),
    ],
)
ROWS["_conv_input_relu"] = row(
    lambda *a: conv_input(*a[:-1]) * (a[-1] > 0),
    [
        S(F(1, 1, 2, 2), F(1, 1, 2, 2), [1, 1, 3, 3], [1, 1], [0, 0], [1, 1], 1, F(1, 1, 3, 3, grad=False)),
        S(F(2, 3, 3, 3), F(3, 2, 3, 2), [2, 2, 5, 4], [2, 1], [1, 0], [1, 1], 1, F(2, 2, 5, 4, grad=False)),
        S(F(1, 4, 4, 4), F(4, 1, 3, 3), [1, 4, 4, 4], [1, 1], [1, 1], [1, 1], 4, F(1, 4, 4, 4, grad=False)),
        S(F(2, 3, 2), F(3, 2, 3), [2, 2, 5], [2], [0], [1], 1, F(2, 2, 5, grad=False)),
    ],
    [S(F(3, 20, 12, 12), F(20, 32, 3, 3), [3, 32, 14, 14], [1, 1], [0, 0], [1, 1], 1, F(3, 32, 14, 14, grad=False))],
)
