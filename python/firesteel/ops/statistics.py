"""Statistics: covariance, quantiles, histograms."""

from __future__ import annotations

import math

from .. import _C
from ._args import FLOATS, as_float, cast, deliver, require_tensor, wrap_dim
from .results import named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["corrcoef", "cov", "histogram", "histogramdd", "nanquantile", "quantile"]

Tensor = _C.Tensor


def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """The covariance matrix of variables (rows) from observations (columns).

    Args:
        input: (variables, observations), or one variable as a vector.
        correction: what is subtracted from the number of observations.
        fweights: how often each observation was made.
        aweights: how much each observation counts.
    """
    require_tensor(input, "cov")
    if input.dim() > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with {input.dim()} dimensions"
        )
    if input.dtype is _C.bool:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    x = as_float(input.reshape(1, -1) if input.dim() < 2 else input)
    n = x.shape[1]
    weights = None
    for given, what in ((fweights, "fweights"), (aweights, "aweights")):
        if given is None:
            continue
        if given.dim() > 1:
            raise RuntimeError(
                f"cov(): expected {what} to have one or fewer dimensions but got {what} with {given.dim()} dimensions"
            )
        if (given.dtype in FLOATS and what == "fweights") or given.dtype is _C.bool:
            raise RuntimeError(f"cov(): expected {what} to have an integral dtype, got {given.dtype}")
        if given.dtype not in FLOATS and what == "aweights":
            raise RuntimeError(f"cov(): expected aweights to have floating point dtype but got {given.dtype}")
        if given.numel() != n:
            raise RuntimeError(f"cov(): expected {what} to have the same numel as there are observations in the input")
        if n and bool((given < 0).any()):
            raise RuntimeError(f"cov(): {what} cannot be negative")
        weights = given if weights is None else weights * given
    if n == 0:
        mean = x.sum(1) / n
        return _C._full((x.shape[0], x.shape[0]), math.nan, dtype=x.dtype) if input.dim() == 2 else mean.squeeze() * 0
    if weights is None:
        total: Any = float(n)
        mean = x.mean(1)
    else:
        total = weights.sum()
        if n and float(total) == 0:
            raise RuntimeError("cov(): weights sum to zero, can't be normalized")
        mean = (x * weights).sum(1) / total
    if weights is not None and aweights is not None and correction != 0:
        factor = total - correction * (weights * aweights).sum() / total
    else:
        factor = total - correction
    if float(factor) <= 0:
        import warnings

        warnings.warn("cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of "
                      "observations.", stacklevel=2)  # fmt: skip
        factor = 0.0 if not isinstance(factor, Tensor) else factor * 0
    centred = x - mean.unsqueeze(1)
    scaled = centred if weights is None else centred * weights
    product = _C.matmul(scaled, centred.t())
    if not isinstance(factor, Tensor):
        factor = _C._full((), factor, dtype=x.dtype)
    return (product / factor).squeeze()


def corrcoef(input: Tensor) -> Tensor:
    """Pearson's correlation of variables (rows) from observations (columns)."""
    require_tensor(input, "corrcoef")
    if input.dim() > 2:
        raise RuntimeError(
            f"corrcoef(): expected input to have two or fewer dimensions but got an input with {input.dim()} dimensions"
        )
    c = cov(input)
    if c.dim() == 0:
        return c / c
    deviation = c.diagonal().sqrt()
    return (c / deviation.reshape(-1, 1) / deviation).clamp(-1, 1)


def _quantile(
    what: str, input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, skip_nan: bool
) -> Tensor:
    require_tensor(input, what)
    if input.dtype not in (_C.float32, _C.float64):
        raise RuntimeError(f"{what}() input tensor must be either float or double dtype")
    if isinstance(q, Tensor):
        if q.dim() > 1:
            raise RuntimeError(f"{what}() q must be a scalar or 1D tensor, but got {q.dim()} dimensions")
        if q.dtype is not input.dtype:
            raise RuntimeError(f"{what}() q tensor must be same dtype as the input tensor")
    else:
        if not 0 <= q <= 1:
            raise RuntimeError(f"{what}() q must be in the range [0, 1] but got {q}")
        q = _C._full((), float(q), dtype=input.dtype)
    if not bool((q.detach() >= 0).all()) or not bool((q.detach() <= 1).all()):
        raise RuntimeError(f"{what}() q values must be in the range [0, 1]")
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise RuntimeError(
            f"{what}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}"
        )
    if input.numel() == 0:
        raise RuntimeError(f"{what}() input tensor must be non-empty")
    rank = input.dim()
    if dim is None:
        x, kept = input.reshape(-1), [1] * rank
    else:
        d = wrap_dim(dim, rank)
        x = input.unsqueeze(0) if rank == 0 else input.transpose(d, -1)
        kept = [1 if i == d else n for i, n in enumerate(input.shape)]
    x = _C.sort(x, -1)[0]
    n = x.shape[-1]
    missing = x.detach().isnan()
    qs = q.reshape(-1)
    if skip_nan:
        valid = missing.logical_not().sum(-1, True)
        ranks = qs * (valid - 1).clamp(min=0).to(x.dtype)
    else:
        ranks = qs * (n - 1)
        # A row with NaN, which sorting puts last, has no other quantile.
        ranks = _C.where(missing.any(-1, True), float(n - 1), ranks)
    if interpolation == "lower":
        ranks = ranks.floor()
    elif interpolation == "higher":
        ranks = ranks.ceil()
    elif interpolation == "nearest":
        ranks = _C.round(ranks)
    below = ranks.detach().floor()
    low = _C.gather(x, -1, below.to(_C.int64))
    if interpolation in ("linear", "midpoint"):
        part = _C._full_like(ranks, 0.5) if interpolation == "midpoint" else ranks - below
        high = _C.gather(x, -1, ranks.detach().ceil().to(_C.int64))
        if interpolation == "midpoint":
            part = _C.where(ranks.detach() == below, 0.0, part)
        low = _C.lerp(low, high, part)
    if dim is None or rank == 0:
        result = low.reshape([-1, *kept])
        return _shaped(result, q, keepdim, range(rank))
    # (…, quantiles), the reduced dim exchanged with the last → (quantiles, …).
    return _shaped(low.unsqueeze(0).transpose(0, -1).transpose(d + 1, -1), q, keepdim, [d])


def _shaped(result: Tensor, q: Tensor, keepdim: bool, reduced: Any) -> Tensor:
    if not keepdim:
        for d in reversed(reduced):
            result = result.squeeze(d + 1)
    return result.squeeze(0) if q.dim() == 0 else result


def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear",
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The values below which a part q of the elements lies.

    Args:
        input: float32 or float64.
        q: a number in [0, 1], or a vector of them, which makes a new first dim.
        dim: along which dim; over all elements by default.
        keepdim: whether the dim stays, with size 1.
        interpolation: 'linear', 'lower', 'higher', 'midpoint' or 'nearest'.
        out: where to write the result.

    >>> import firesteel as fs
    >>> fs.quantile(fs.tensor([0.0, 1.0, 2.0, 3.0]), 0.5)
    tensor(1.5000)
    """
    return deliver(_quantile("quantile", input, q, dim, keepdim, interpolation, False), out)


def nanquantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear",
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """`quantile` of the elements that are not NaN."""
    return deliver(_quantile("nanquantile", input, q, dim, keepdim, interpolation, True), out)


# ---- histograms -------------------------------------------------------------------------------------------------------


def _edges(x: Tensor, bins: Any, span: Any, what: str) -> Tensor:
    """The edges of bins given as a vector, or as a number of bins and a range (of the data by default)."""
    if isinstance(bins, Tensor):
        if bins.dim() != 1:
            raise RuntimeError(f"{what}(): bins tensor should have one dimension, but got {bins.dim()} dimensions")
        return bins
    if bins <= 0:
        raise RuntimeError(f"{what}(): bins must be > 0, but got {bins}")
    if span is not None:
        lo, hi = span
    elif x.numel():
        lo, hi = float(x.min()), float(x.max())
    else:
        lo, hi = 0.0, 1.0
    if not (math.isfinite(lo) and math.isfinite(hi)):
        raise RuntimeError(f"{what}(): range [{lo}, {hi}] is not finite")
    if lo > hi:
        raise RuntimeError(f"{what}(): min should not exceed max, but got min {lo} max {hi}")
    if lo == hi:
        lo, hi = lo - 0.5, hi + 0.5
    return _C._linspace(lo, hi, bins + 1, dtype=x.dtype)


def _places(x: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """The bin of each element, and whether it is in one; the last bin includes its right edge."""
    at = _C.searchsorted(edges.contiguous(), x.contiguous(), right=True) - 1
    n = edges.numel() - 1
    at = _C.where(x == edges[-1], n - 1, at)
    return at, (at >= 0) & (at < n) & (x <= edges[-1])


def histogram(
    input: Tensor, bins: Any, *, range: Any = None, weight: Tensor | None = None, density: bool = False,
    out: Any = None,
) -> Any:  # fmt: skip
    """How many elements lie in each bin, and the edges of the bins.

    Args:
        input: floats.
        bins: a number of bins, or a vector of edges.
        range: the outer edges; those of the data by default.
        weight: how much each element counts.
        density: so that the integral is 1.
        out: where to write the results.
    """
    require_tensor(input, "histogram")
    if input.dtype not in (_C.float32, _C.float64):
        raise RuntimeError(f'"histogram_cpu" not implemented for {input.dtype!r}')
    x = input.detach().reshape(-1)
    if weight is not None and weight.shape != input.shape:
        raise RuntimeError(
            "histogram(): if weight tensor is provided it should have the same shape as the input tensor excluding its "
            f"innermost dimension, but got input with shape {list(input.shape)} and weight with shape "
            f"{list(weight.shape)}"
        )
    edges = _edges(x, bins, range, "histogram")
    counts = _count_bins([x], [edges], weight, x.dtype)
    if density:
        counts = counts / counts.sum() / (edges[1:] - edges[:-1])
    return deliver(named("histogram", hist=counts, bin_edges=edges), out)


def _count_bins(columns: list[Tensor], edges: list[Tensor], weight: Tensor | None, dtype: Any) -> Tensor:
    flat: Any = None
    inside: Any = None
    shape = []
    for x, e in zip(columns, edges, strict=True):
        at, ok = _places(x, e)
        n = e.numel() - 1
        shape.append(n)
        flat = at if flat is None else flat * n + at
        inside = ok if inside is None else inside & ok
    w = _C._full_like(columns[0], 1.0) if weight is None else weight.detach().reshape(-1)
    total = math.prod(shape)
    counts = _C._full((total,), 0.0, dtype=dtype)
    counts = _C.index_add(counts, 0, _C.masked_select(flat, inside), cast(_C.masked_select(w, inside), dtype))
    return counts.reshape(shape)


def histogramdd(
    input: Tensor, bins: Any, *, range: Any = None, weight: Tensor | None = None, density: bool = False
) -> Any:
    """How many points (rows of d coordinates) lie in each bin of a d-dimensional grid, and the edges.

    Args:
        input: (…, d).
        bins: for each coordinate a number of bins or a vector of edges; one number for all.
        range: two outer edges for each coordinate, one after another.
        weight: how much each point counts.
        density: so that the integral is 1.
    """
    require_tensor(input, "histogramdd")
    if input.dim() < 2:
        raise RuntimeError(f"torch.histogramdd: input tensor should have at least 2 dimensions, but got {input.dim()}")
    x = input.detach().reshape(-1, input.shape[-1])
    d = x.shape[1]
    per = [bins] * d if isinstance(bins, int) else list(bins)
    if len(per) != d:
        raise RuntimeError(
            f"torch.histogramdd: expected {d} sequences of bin edges for a {d}-dimensional histogram but got {len(per)}"
        )
    columns = list(x.unbind(1))
    spans = [None] * d if range is None else [(range[2 * i], range[2 * i + 1]) for i in _indices(d)]
    edges = [_edges(c, b, s, "histogramdd") for c, b, s in zip(columns, per, spans, strict=True)]
    counts = _count_bins(columns, edges, weight, x.dtype)
    if density:
        counts = counts / counts.sum()
        for i, e in enumerate(edges):
            counts = counts / (e[1:] - e[:-1]).reshape([-1 if j == i else 1 for j in _indices(d)])
    return named("histogramdd", hist=counts, bin_edges=tuple(edges))


_indices = range

METHODS = {
    "corrcoef": corrcoef, "cov": cov, "histogram": histogram, "nanquantile": nanquantile, "quantile": quantile,
}  # fmt: skip
