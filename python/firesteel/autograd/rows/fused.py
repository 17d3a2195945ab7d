"""Derivatives of what the graph's fusion puts together, by the ops that it stands for."""

from __future__ import annotations

from ... import _C
from .network import CONV


def linear_relu(input, weight, bias):
    return _C.relu(_C.linear(input, weight, bias))


def conv_act(
    input,
    weight,
    bias,
    stride,
    padding,
    dilation,
    groups,
    norm_weight,
    norm_bias,
    mean,
    var,
    eps,
    plus,
    relu,
):
    y = CONV[weight.ndim - 2](input, weight, bias, stride, padding, dilation, groups)
    if mean is not None:
        y = _C.batch_norm(y, norm_weight, norm_bias, mean, var, False, 0.0, eps)
    if plus is not None:
        y = y + plus
    return _C.relu(y) if relu else y


def conv_input_relu(grad, weight, input_size, stride, padding, dilation, groups, result):
    return _C._relu_backward(
        _C._conv_input(grad, weight, input_size, stride, padding, dilation, groups),
        result,
    )


ROWS = {
    "_linear_relu": {"saves": "input weight bias", "composite": linear_relu},
    "_conv_act": {"saves": "input weight bias norm_weight norm_bias mean var plus", "composite": conv_act},
    "_conv_input_relu": {"saves": "grad weight result", "composite": conv_input_relu},
}
