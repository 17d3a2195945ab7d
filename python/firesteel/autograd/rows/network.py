"""Derivatives of convolution, pooling, normalisation and softmax, with the composites of the fused ones."""

from __future__ import annotations

from ... import _C

where = _C.where
CONV = (None, _C.conv1d, _C.conv2d, _C.conv3d)
MAX_POOL = (None, _C.max_pool1d_with_indices, _C.max_pool2d_with_indices, _C.max_pool3d_with_indices)
AVG_POOL = (None, _C.avg_pool1d, _C.avg_pool2d, _C.avg_pool3d)
ADAPTIVE_AVG = (None, _C.adaptive_avg_pool1d, _C.adaptive_avg_pool2d, _C.adaptive_avg_pool3d)


# ---- convolution ------------------------------------------------------------------------------------------------------


def _conv_input(n, g):
    return _C._conv_input(g, n.weight, n._size("input"), n.stride, n.padding, n.dilation, n.groups)


def _conv_weight(n, g):
    return _C._conv_weight(g, n.input, n._size("weight"), n.stride, n.padding, n.dilation, n.groups)


def _conv_bias(n, g):
    spatial = len(n._size("weight")) - 2
    dims = [d for d in range(g.ndim) if d != g.ndim - spatial - 1]
    return g.sum(dims)


def _conv(n, x, weight):
    return CONV[len(weight.shape) - 2](x, weight, None, n.stride, n.padding, n.dilation, n.groups)


def _conv_input_grad(n, gg):
    out = _conv(n, gg, n.weight)
    # A transposed convolution with output padding may leave room for windows that were not there.
    for d, size in enumerate(n._size("grad")):
        if out.shape[d] > size:
            out = out.narrow(d, 0, size)
    return out


def _each(value, count):
    items = [value] if isinstance(value, int) else list(value)
    return items * count if len(items) == 1 else items


def same_padding(conv):
    """The convolution whose padding is 'same' or 'valid'."""

    def composite(input, weight, bias, stride, padding, dilation, groups):
        spatial = weight.ndim - 2
        if padding == "valid":
            return conv(input, weight, bias, stride, 0, dilation, groups)
        if padding != "same":
            raise RuntimeError(f"Invalid padding string: '{padding}'")
        if any(s != 1 for s in _each(stride, spatial)):
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        left, extra = [], []
        for k, d in zip(weight.shape[2:], _each(dilation, spatial), strict=True):
            total = d * (k - 1)
            left.append(total // 2)
            extra.append(total - 2 * (total // 2))
        for i, e in enumerate(extra):
            if e:
                dim = input.ndim - spatial + i
                shape = list(input.shape)
                shape[dim] = e
                input = _C.cat((input, _C._full(shape, 0, dtype=input.dtype, device=input.device)), dim)
        return conv(input, weight, bias, stride, left, dilation, groups)

    return composite


_CONVOLUTION = {
    "saves": "input>weight weight>input",
    "input": _conv_input,
    "weight": _conv_weight,
    "bias": _conv_bias,
}


# ---- pooling ----------------------------------------------------------------------------------------------------------


def _max_pool(n, g):
    return _C._max_pool_input(g, n.input, n.kernel_size, n.stride, n.padding, n.dilation, n.ceil_mode)


def _max_pool_input2(n, gg):
    spatial = len(n.kernel_size)
    args = (n.kernel_size, n.stride, n.padding, n.dilation, n.ceil_mode)
    return _at_places(gg, MAX_POOL[spatial](n.input, *args)[1], spatial)


def _max_pool_places(spatial):
    return {
        "saves": "indices",
        "input": lambda n, g: _C._max_pool_backward(g, n.indices, n._size("input"), spatial),
    }


def _max_pool2(n, gg):
    return _at_places(gg, n.indices, n.ndim)


def _at_places(gg, indices, spatial):
    flat = gg.flatten(gg.ndim - spatial, -1).gather(-1, indices.flatten(indices.ndim - spatial, -1))
    return flat.reshape(indices.shape)


def _avg_pool(n, g):
    divisor = n.divisor_override if n._has_parameter("divisor_override") else None
    return _C._avg_pool_backward(
        g, n._size("input"), n.kernel_size, n.stride, n.padding, n.ceil_mode, n.count_include_pad, divisor
    )


def _avg_pool2(n, gg):
    spatial = len(n.kernel_size)
    args = (gg, n.kernel_size, n.stride, n.padding, n.ceil_mode, n.count_include_pad)
    return AVG_POOL[spatial](*args) if spatial == 1 else AVG_POOL[spatial](*args, n.divisor_override)


def _adaptive(spatial):
    return {"input": lambda n, g: _C._adaptive_avg_pool_backward(g, n._size("input"), spatial)}


def _adaptive2(n, gg):
    return ADAPTIVE_AVG[n.ndim](gg, n._size("grad")[-n.ndim :])


# ---- normalisation ----------------------------------------------------------------------------------------------------


def layer_norm(input, normalized_shape, weight, bias, eps):
    dims = list(range(-len(normalized_shape), 0))
    out = input - input.mean(dims, True)
    out = out * (out.square().mean(dims, True) + eps).rsqrt()
    if weight is not None:
        out = out * weight
    return out if bias is None else out + bias


def batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps):
    """Without the update of the running statistics."""
    shape = [1, -1] + [1] * (input.ndim - 2)
    if training or running_mean is None:
        dims = [d for d in range(input.ndim) if d != 1]
        centred = input - input.mean(dims, True)
        scale = (centred.square().mean(dims, True) + eps).rsqrt()
    else:
        centred = input - running_mean.view(shape)
        scale = (running_var + eps).rsqrt().view(shape)
    out = centred * scale
    if weight is not None:
        out = out * weight.view(shape)
    return out if bias is None else out + bias.view(shape)


def group_norm(input, num_groups, weight, bias, eps):
    n, c = input.shape[:2]
    x = input.reshape(n, num_groups, -1)
    x = x - x.mean((2,), True)
    x = (x * (x.square().mean((2,), True) + eps).rsqrt()).reshape(input.shape)
    shape = [1, c] + [1] * (input.ndim - 2)
    if weight is not None:
        x = x * weight.view(shape)
    return x if bias is None else x + bias.view(shape)


def _layer_norm(n, g):
    weight = n.weight if n._has("weight") else None
    gx, gw, gb = _C._layer_norm_backward(g, n.input, n.mean, n.rstd, weight, n.normalized_shape)
    return gx, gw, gb


def _batch_norm(n, g):
    weight = n.weight if n._has("weight") else None
    # The batch's statistics moved the running ones, which are not saved then.
    mean, var = (None, None) if n.training else (n.running_mean, n.running_var)
    gx, gw, gb = _C._batch_norm_backward(g, n.input, weight, mean, var, n.save_mean, n.save_invstd, n.training, n.eps)
    return gx, gw, gb, None, None


def _group_norm(n, g):
    weight = n.weight if n._has("weight") else None
    return tuple(_C._group_norm_backward(g, n.input, n.mean, n.rstd, weight, n.num_groups))


# ---- softmax ----------------------------------------------------------------------------------------------------------


def _softmax_backward_result(n, gg):
    g, y, dim = n.grad, n.result, n.dim
    if y.ndim == 0:
        return gg * 0
    return gg * (g - (g * y).sum(dim, True)) - g * (gg * y).sum(dim, True)


def _log_softmax_backward_grad(n, gg):
    if gg.ndim == 0:
        return gg * 0
    return gg - (gg * n.result.exp()).sum(n.dim, True)


def _log_softmax_backward_result(n, gg):
    if gg.ndim == 0:
        return gg * 0
    return -gg * n.result.exp() * n.grad.sum(n.dim, True)


ROWS = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _CONVOLUTION),
    **{f"conv{d}d.padding": {"composite": same_padding(CONV[d])} for d in (1, 2, 3)},
    "_conv_input": {
        "saves": "grad>weight weight>grad",
        "grad": _conv_input_grad,
        "weight": lambda n, gg: _C._conv_weight(
            n.grad, gg, n._size("weight"), n.stride, n.padding, n.dilation, n.groups
        ),
    },
    "_conv_weight": {
        "saves": "grad>input input>grad",
        "grad": lambda n, gg: _conv(n, n.input, gg),
        "input": lambda n, gg: _C._conv_input(n.grad, gg, n._size("input"), n.stride, n.padding, n.dilation, n.groups),
    },
    **{f"max_pool{d}d": {"saves": "input", "input": _max_pool} for d in (1, 2, 3)},
    "_max_pool_input": {"saves": "input", "grad": _max_pool_input2, "input": lambda n, gg: None},
    **{f"max_pool{d}d_with_indices": _max_pool_places(d) for d in (1, 2, 3)},
    **{f"adaptive_max_pool{d}d": _max_pool_places(d) for d in (1, 2, 3)},
    "_max_pool_backward": {"saves": "indices", "grad": _max_pool2},
    **{f"avg_pool{d}d": {"input": _avg_pool} for d in (1, 2, 3)},
    "_avg_pool_backward": {"grad": _avg_pool2},
    **{f"adaptive_avg_pool{d}d": _adaptive(d) for d in (1, 2, 3)},
    "_adaptive_avg_pool_backward": {"grad": _adaptive2},
    "layer_norm": {"saves": "input weight bias mean rstd", "all": _layer_norm, "composite": layer_norm},
    "_layer_norm_backward": {"nondiff": True},
    "batch_norm": {
        "saves": "input weight bias running_mean running_var save_mean save_invstd",
        "all": _batch_norm,
        "composite": batch_norm,
    },
    "_batch_norm_backward": {"nondiff": True},
    "group_norm": {"saves": "input weight bias mean rstd", "all": _group_norm, "composite": group_norm},
    "_group_norm_backward": {"nondiff": True},
    "softmax": {"saves": "result", "input": lambda n, g: _C._softmax_backward(g, n.result, n.dim)},
    "log_softmax": {"saves": "result", "input": lambda n, g: _C._log_softmax_backward(g, n.result, n.dim)},
    "_softmax_backward": {
        "saves": "grad>result result",
        "grad": lambda n, gg: _C._softmax_backward(gg, n.result, n.dim),
        "result": _softmax_backward_result,
    },
    "_log_softmax_backward": {
        "saves": "grad>result result",
        "grad": _log_softmax_backward_grad,
        "result": _log_softmax_backward_result,
    },
}
