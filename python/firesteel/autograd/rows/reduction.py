"""Derivatives of reductions and scans."""

from __future__ import annotations

from ... import _C

where = _C.where


def spread(n, g, dim):
    """The gradient of a reduction in the shape of its input."""
    shape = n._size("input")
    if len(shape) and not n.keepdim and dim is not None and dim != ():
        for d in sorted(d % len(shape) for d in dim):
            g = g.unsqueeze(d)
    return g.expand(shape)


def _like_input(n, x, dim):
    """A saved result put back where the reduced dims were."""
    return spread(n, x, dim)


def _mean(n, g):
    shape, out = n._size("input"), n._output_meta(0)[0]
    count = shape.numel() // max(out.numel(), 1)
    return spread(n, g, n.dim) / count


def _even(n, g, result, dim):
    """Equal shares to all elements that attain an extremum."""
    mask = n.input == _like_input(n, result, dim)
    if dim is None or dim == ():
        count = mask.sum()
    else:
        count = mask.sum(dim, True)
    return where(mask, spread(n, g, dim) / count, 0.0)


def _even_all(n, g):
    x = n.input
    mask = (x == n.result) | (x.isnan() & n.result.isnan())
    return where(mask, g / mask.sum(), 0.0)


def _selected(n, g):
    """The gradient of values that were picked by index along a dim."""
    return scatter_values(g, n.dim, n.indices, n._size("input"), n.keepdim)


def scatter_values(g, dim, indices, shape, keepdim=True):
    if len(shape) == 0:
        return g
    if not keepdim:
        g, indices = g.unsqueeze(dim), indices.unsqueeze(dim)
    return _C._full(shape, 0, dtype=g.dtype, device=g.device).scatter(dim, indices, g)


def _scan_selected(n, g):
    shape = n._size("input")
    if len(shape) == 0:
        return g
    return _C._full(shape, 0, dtype=g.dtype, device=g.device).scatter_add(n.dim, n.indices, g)


def _reverse_cumsum(g, dim):
    return g if g.ndim == 0 else g.flip((dim,)).cumsum(dim).flip((dim,))


def _products_of_others(x, dim):
    """For each element the product of all others along a dim: products from the left times products from the right."""
    size = x.shape[dim]
    one = _C._full_like(x.narrow(dim, 0, 1), 1)
    left = _C.cat((one, x.narrow(dim, 0, size - 1)), dim).cumprod(dim)
    right = _C.cat((one, x.narrow(dim, 1, size - 1).flip((dim,))), dim).cumprod(dim).flip((dim,))
    return left * right


def _prod(n, g):
    x = n.input
    if x.ndim == 0 or x.numel() == 0:
        return g.expand(x.shape)
    return g * _products_of_others(x.reshape(-1), 0).reshape(x.shape)


def _prod_dim(n, g):
    x = n.input
    if x.ndim == 0 or x.numel() == 0:
        return spread(n, g, (n.dim,))
    return spread(n, g, (n.dim,)) * _products_of_others(x, n.dim)


def _cumprod(n, g):
    x, dim = n.input, n.dim
    if x.ndim == 0:
        return g
    if not bool((x == 0).any()):
        return _reverse_cumsum(g * n.result, dim) / x
    # With zeros: d result_i / d x_k is the product of x_j, j <= i, j != k, for k <= i.
    size = x.shape[dim]
    xs = x.transpose(dim, -1).unsqueeze(-2).expand((*x.transpose(dim, -1).shape[:-1], size, size))
    eye = _C._eye(size, dtype=_C.bool)
    each = where(eye, 1.0, xs).cumprod(-1)
    weights = _C.tril(_C._full((size, size), True, dtype=_C.bool)).t()
    out = where(weights, each * g.transpose(dim, -1).unsqueeze(-2), 0.0).sum(-1)
    return out.transpose(dim, -1)


def _var(correction):
    def row(n, g):
        x, dim = n.input, getattr(n, "dim", None) if correction != "unbiased" else None
        return _var_gradient(n, g, x, dim, _correction(n, correction))

    return row


def _correction(n, how):
    if how == "correction":
        c = n.correction
        return 1 if c is None else c
    return 1 if n.unbiased else 0


def _var_gradient(n, g, x, dim, correction):
    if correction is None:
        correction = 1
    if dim is None or dim == ():
        count, mean = x.numel(), x.mean()
        g = g.expand(x.shape) if g.ndim == 0 or g.ndim == x.ndim else g
    else:
        mean = x.mean(dim, True)
        count = x.numel() // max(mean.numel(), 1)
        g = spread(n, g, dim)
    free = count - correction
    scale = 2 / free if free > 0 else (float("inf") if free == 0 and count > 1 else float("nan"))
    return g * ((x - mean) * scale)


def _std(correction):
    def row(n, g):
        r = n.result
        g = where(r == 0, 0.0, g / (r * 2))
        dim = None if correction == "unbiased" else n.dim
        return _var_gradient(n, g, n.input, dim, _correction(n, correction))

    return row


def _norm(n, g):
    x, p, dim = n.input, n.ord, n.dim
    result = _like_input(n, n.result, dim)
    g = spread(n, g, dim)
    if p == 0:
        return _C._full_like(x, 0)
    if p == 1:
        return g * x.sign()
    if p == 2:
        return g * where(result == 0, 0.0, x / result)
    if p in (float("inf"), float("-inf")):
        mask = x.abs() == result
        count = mask.sum() if dim is None or dim == () else mask.sum(dim, True)
        return g * where(mask, x.sign() / count, 0.0)
    a = x.abs()
    if p < 1:
        slope = where(a == 0, 0.0, x.sign() * a.pow(p - 1))
    elif p < 2:
        slope = where(a == 0, 0.0, x.sign() * a.pow(p - 1))
    else:
        slope = x * where(a == 0, 0.0, a.pow(p - 2))
    return g * where(result == 0, 0.0, slope / result.pow(p - 1))


def _logcumsumexp(n, g):
    x, dim = n.input, n.dim
    if x.ndim == 0:
        return g
    # Finite, so that the second derivative does not meet inf - inf: exp(low + anything below 0) is 0 in every dtype.
    low = -1e4

    def part(mask, values):
        logs = where(mask, values.log(), low) - n.result
        return (logs.flip((dim,)).logcumsumexp(dim).flip((dim,)) + x).exp()

    return part(g > 0, where(g > 0, g, 1.0)) - part(g < 0, where(g < 0, -g, 1.0))


def _logsumexp(n, g):
    result = _like_input(n, n.result, n.dim)
    # Where the result is infinite, inf - inf would be NaN.
    return spread(n, g, n.dim) * (n.input - where(result.isinf(), 0.0, result)).exp()


ROWS = {
    "sum": {"input": lambda n, g: spread(n, g, n.dim)},
    "_nansum": {"saves": "input", "input": lambda n, g: spread(n, g, n.dim).masked_fill(n.input.isnan(), 0)},
    "mean": {"input": _mean},
    "prod": {"saves": "input", "input": _prod},
    "prod.dim": {"saves": "input", "input": _prod_dim},
    "max": {"saves": "input result", "input": _even_all},
    "min": {"saves": "input result", "input": _even_all},
    "median": {"saves": "input result", "input": _even_all},
    "nanmedian": {"saves": "input result", "input": _even_all},
    "amax": {"saves": "input result", "input": lambda n, g: _even(n, g, n.result, n.dim)},
    "amin": {"saves": "input result", "input": lambda n, g: _even(n, g, n.result, n.dim)},
    "_aminmax": {"nondiff": True},
    **{
        key: {"saves": "indices", "input": _selected}
        for key in ("max.dim", "min.dim", "median.dim", "nanmedian.dim", "kthvalue", "mode")
    },
    **{
        key: {
            "saves": "indices",
            "input": lambda n, g: scatter_values(g, n.dim, n.indices, n._size("input")),
        }
        for key in ("sort", "sort.stable", "topk")
    },
    "cummax": {"saves": "indices", "input": _scan_selected},
    "cummin": {"saves": "indices", "input": _scan_selected},
    "var": {"saves": "input", "input": _var("correction")},
    "var.dim": {"saves": "input", "input": _var("dim")},
    "var.unbiased": {"saves": "input", "input": _var("unbiased")},
    "std": {"saves": "input result", "input": _std("correction")},
    "std.dim": {"saves": "input result", "input": _std("dim")},
    "std.unbiased": {"saves": "input result", "input": _std("unbiased")},
    "linalg_vector_norm": {"saves": "input result", "input": _norm},
    "logsumexp": {"saves": "input result", "input": _logsumexp},
    "_sum_to": {"input": lambda n, g: g.expand(n._size("input"))},
    "cumsum": {"input": lambda n, g: _reverse_cumsum(g, n.dim)},
    "cumprod": {"saves": "input result", "input": _cumprod},
    "logcumsumexp": {"saves": "input result", "input": _logcumsumexp},
    **{
        key: {"nondiff": True}
        for key in "argmax argmin any all count_nonzero _equal bincount _repeated histc searchsorted nonzero _grad_norm".split()
    },
}
