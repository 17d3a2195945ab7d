"""Reductions and running sums made of the table's ops: norms, moments that come in pairs, differences, integrals."""

from __future__ import annotations

from .. import _C
from ._args import FLOATS, as_float, deliver, in_place, require_tensor, wrap_dim, wrap_dims
from .results import named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = [
    "aminmax", "cdist", "cumulative_trapezoid", "diff", "dist", "gradient", "nanmean", "nansum", "norm",
    "norm_except_dim", "renorm", "std_mean", "trapezoid", "trapz", "var_mean",
]  # fmt: skip

Tensor = _C.Tensor
inf = float("inf")


# ---- pairs ------------------------------------------------------------------------------------------------------------


def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False, out: Any = None) -> Any:
    """The smallest and the largest element, of all or along a dim."""
    require_tensor(input, "aminmax")
    if dim is None:
        if input.numel() == 0:
            raise RuntimeError(
                "aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity."
            )
        over: Any = ()
    else:
        over = (wrap_dim(dim, input.dim()),)
    if input.requires_grad or input.device.type == "gpu":
        low, high = _C.amin(input, over, keepdim), _C.amax(input, over, keepdim)
    else:
        low, high = _C._aminmax(input, over, keepdim)
    if dim is None and keepdim:
        low, high = (t.reshape([1] * input.dim()) for t in (low, high))
    for t in out or ():
        if t.dtype is not input.dtype:
            raise RuntimeError(f"Expected out tensor to have dtype {input.dtype}, but got {t.dtype} instead")
    return deliver(named("aminmax", min=low, max=high), out)


def _moments(
    f: Any, input: Tensor, dim: Any, unbiased: bool | None, keepdim: bool, correction: Any
) -> tuple[Tensor, Tensor]:
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None:
        correction = int(unbiased)
    if dim is not None and not isinstance(dim, (int, tuple, list)):
        raise TypeError(f"argument 'dim' must be tuple of ints, not {type(dim).__name__}")
    over = None if dim is None or dim == () or dim == [] else dim
    return f(input, over, correction=correction, keepdim=keepdim), _C.mean(input, over, keepdim)


def std_mean(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: Any = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Standard deviation and mean.

    Args:
        input: floats.
        dim: the dim or dims to reduce; all by default.
        unbiased: whether Bessel's correction is used.
        keepdim: whether the reduced dims stay, with size 1.
        correction: what is subtracted from the number of elements; 1 by default.
    """
    require_tensor(input, "std_mean")
    return _moments(_C.std, input, dim, unbiased, keepdim, correction)


def var_mean(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: Any = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Variance and mean; arguments as for `std_mean`."""
    require_tensor(input, "var_mean")
    return _moments(_C.var, input, dim, unbiased, keepdim, correction)


# ---- without NaN ------------------------------------------------------------------------------------------------------


def nansum(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Tensor | None = None
) -> Tensor:
    """The sum of the elements that are not NaN."""
    require_tensor(input, "nansum")
    if input.dtype in FLOATS and (dtype is None or dtype in FLOATS) and input.device.type != "gpu":
        return deliver(_C._nansum(input, dim, keepdim, dtype=dtype), out)
    x = input.masked_fill(input.isnan(), 0) if input.dtype in FLOATS else input
    return deliver(_C.sum(x, dim, keepdim, dtype=dtype), out)


def nanmean(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Tensor | None = None
) -> Tensor:
    """The mean of the elements that are not NaN."""
    require_tensor(input, "nanmean")
    if input.dtype not in FLOATS:
        raise RuntimeError(f"nanmean(): expected input to have floating point or complex dtype but got {input.dtype}")
    total = nansum(input, dim, keepdim, dtype=dtype)
    return deliver(total / input.detach().isnan().logical_not().sum(dim, keepdim), out)


# ---- norms ------------------------------------------------------------------------------------------------------------


def norm(
    input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, out: Tensor | None = None,
    dtype: Any = None,
) -> Tensor:  # fmt: skip
    """The p-norm of all elements, or along dims.

    Args:
        input: floats.
        p: a number, infinity included, or 'fro'.
        dim: the dim or dims; all by default.
        keepdim: whether the reduced dims stay, with size 1.
        out: where to write the result.
        dtype: to compute in.

    >>> import firesteel as fs
    >>> fs.norm(fs.tensor([3.0, 4.0]))
    tensor(5.)
    """
    require_tensor(input, "norm")
    if p == "nuc":
        from . import _linalg as linalg

        return deliver(linalg.matrix_norm(input, "nuc", dim if dim is not None else (-2, -1), keepdim), out)
    if isinstance(p, str):
        if p != "fro":
            raise RuntimeError(f"only valid string values are 'fro' and 'nuc', found {p}")
        if isinstance(dim, (tuple, list)) and len(dim) > 2:
            raise RuntimeError(f"Expected dim to have at most 2 elements for the Frobenius norm, got {list(dim)}")
        p = 2
    if dtype is None and input.dtype not in FLOATS:
        raise RuntimeError(
            f"linalg.vector_norm: Expected a floating point or complex tensor as input. Got {input.dtype!r}"
        )
    order = 2 if p is None else p
    over = None if isinstance(dim, (tuple, list)) and not dim else dim
    return deliver(_C.linalg_vector_norm(input, order, over, keepdim, dtype=dtype), out)


def _norm_method(self: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """The p-norm of all elements, or along dims."""
    return norm(self, p, dim, keepdim, dtype=dtype)


def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """The norm over all dims but one; over all for dim -1."""
    if dim == -1:
        return _C.linalg_vector_norm(v, pow)
    return _C.linalg_vector_norm(v, pow, [d for d in range(v.dim()) if d != dim], True)


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of input - other."""
    require_tensor(input, "dist")
    return _C.linalg_vector_norm(_C.sub(input, other), p)


def cdist(
    x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str | None = "use_mm_for_euclid_dist_if_necessary"
) -> Tensor:
    """The p-norm distance of each row of x1 to each row of x2.

    Args:
        x1: (…, n, d).
        x2: (…, m, d).
        p: of the norm, not negative.
        compute_mode: whether distances with p = 2 come from one matrix product, |a|² + |b|² - 2ab, which is sooner and
            less exact where rows lie close to each other: for more than 25 rows ('use_mm_for_euclid_dist_if_necessary'),
            always ('use_mm_for_euclid_dist') or never ('donot_use_mm_for_euclid_dist').

    Returns:
        (…, n, m).
    """
    require_tensor(x1, "cdist", "x1")
    require_tensor(x2, "cdist", "x2", 2)
    if x1.dim() < 2 or x2.dim() < 2:
        raise RuntimeError("cdist only supports at least 2D tensors, X1 got: "
                           f"{x1.dim()}D, X2 got: {x2.dim()}D")  # fmt: skip
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}")
    if x1.dtype not in FLOATS:
        raise RuntimeError(f"cdist only supports floating-point dtypes, X1 got: {x1.dtype}")
    if x2.dtype not in FLOATS:
        raise RuntimeError(f"cdist only supports floating-point dtypes, X2 got: {x2.dtype}")
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    if compute_mode not in (
        None, "use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist",
    ):  # fmt: skip
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    if x1.dtype is x2.dtype and x1.dtype in (_C.bfloat16, _C.float16):
        return cdist(x1.float(), x2.float(), p, compute_mode).to(x1.dtype)
    if not x1.shape[-1]:
        # A column of zeros keeps the graph, and has norms of every order.
        x1, x2 = (_C.cat((x, _constant(x, 0.0)), -1) for x in (x1, x2))
    rows, others = x1.shape[-2], x2.shape[-2]
    by_product = compute_mode == "use_mm_for_euclid_dist" or (
        compute_mode != "donot_use_mm_for_euclid_dist" and max(rows, others) > 25
    )
    if p == 2 and by_product and x1.dtype is x2.dtype and x1.dtype in (_C.float32, _C.float64):
        return _by_product(x1, x2)
    differences = x1.numel() * others
    if differences <= _DIFFERENCES or _records(x1, x2):
        return _C.linalg_vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)
    parts = x1.split(max(rows * _DIFFERENCES // differences, 1), -2)
    return _C.cat([_C.linalg_vector_norm(x.unsqueeze(-2) - x2.unsqueeze(-3), p, -1) for x in parts], -2)


# Differences that are made at a time where no gradient wants them.
_DIFFERENCES = 1 << 22


def _records(*tensors: Tensor) -> bool:
    return _C.is_grad_enabled() and any(t.requires_grad for t in tensors)


def _constant(x: Tensor, value: float) -> Tensor:
    """One element for each row of x."""
    return _C._full((*x.shape[:-1], 1), value, dtype=x.dtype, device=x.device)


def _by_product(x1: Tensor, x2: Tensor) -> Tensor:
    """Euclidean distances of rows. Where one is zero, so is its gradient."""
    left = _C.cat((x1 * -2, x1.square().sum(-1, True), _constant(x1, 1.0)), -1)
    right = _C.cat((x2, _constant(x2, 1.0), x2.square().sum(-1, True)), -1)
    squares = left @ right.transpose(-1, -2)
    if not _records(x1, x2):
        return squares.clamp_(min=0).sqrt_()
    none = squares <= 0
    return squares.masked_fill(none, 1).sqrt().masked_fill(none, 0)


def renorm(input: Tensor, p: float, dim: int, maxnorm: float, *, out: Tensor | None = None) -> Tensor:
    """Each index of a dim scaled down so that its p-norm is at most `maxnorm`."""
    require_tensor(input, "renorm")
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    if input.dim() < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input.dim()} dimensions")
    d = wrap_dim(dim, input.dim())
    sizes = _C.linalg_vector_norm(input, p, [i for i in range(input.dim()) if i != d], True)
    return deliver(input * _C.where(sizes > maxnorm, maxnorm / (sizes + 1e-7), 1.0), out)


# ---- differences and integrals ----------------------------------------------------------------------------------------


def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None, *,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Differences of neighbours along a dim, taken n times.

    >>> import firesteel as fs
    >>> fs.diff(fs.tensor([1, 4, 9]))
    tensor([3, 5])
    """
    require_tensor(input, "diff")
    if input.dim() == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    if n == 0:
        return deliver(input.clone(), out)
    d = wrap_dim(dim, input.dim())
    ends = [t for t in (prepend, append) if t is not None]
    for t in ends:
        if t.dim() != input.dim():
            raise RuntimeError("diff expects prepend or append to be the same dimension as input")
        for i, (a, b) in enumerate(zip(t.shape, input.shape, strict=True)):
            if i != d and a != b:
                raise RuntimeError(
                    "diff expects the shape of tensor to prepend or append to match that of input except along the "
                    f"differencing dimension; input.size({i}) = {b}, but got tensor.size({i}) = {a}"
                )
    if ends:
        input = _C.cat([t for t in (prepend, input, append) if t is not None], d)
    result = input
    for _ in range(n):
        length = result.shape[d]
        if length == 0:
            break
        later, earlier = result.narrow(d, 1, length - 1), result.narrow(d, 0, length - 1)
        result = later ^ earlier if result.dtype is _C.bool else later - earlier
    return deliver(result, out)


def _panels(what: str, y: Tensor, x: Tensor | None, dx: Any, dim: int) -> tuple[Tensor, int]:
    """The areas between neighbours."""
    require_tensor(y, what, "y")
    if x is not None and not isinstance(x, Tensor):
        raise TypeError(f"{what}(): argument 'x' must be Tensor, not {type(x).__name__}")
    if x is not None and dx is not None:
        raise TypeError(f"{what}(): takes x or dx, not both")
    if y.dtype is _C.bool:
        raise RuntimeError(f"{what}: received a bool input for `y`, but bool is not supported")
    d = wrap_dim(dim, y.dim())
    n = y.shape[d] if y.dim() else 1
    pairs = (y.narrow(d, 0, n - 1) + y.narrow(d, 1, n - 1)) if n else y
    if x is None:
        return pairs * ((1 if dx is None else dx) / 2.0), d
    if x.dtype is _C.bool:
        raise RuntimeError(f"{what}: received a bool input for `x`, but bool is not supported")
    if x.dim() == 0:
        raise IndexError(f"{what}: x must have at least one dimension")
    along = d if x.dim() == y.dim() else 0 if x.dim() == 1 else wrap_dim(dim, x.dim())
    if x.shape[along] != n:
        raise RuntimeError(f"{what}: There must be one `x` value for each sample point")
    width = x.narrow(along, 1, n - 1) - x.narrow(along, 0, n - 1)
    if x.dim() == 1 and y.dim() > 1:
        width = width.reshape([-1 if i == d else 1 for i in range(y.dim())])
    return pairs * width / 2.0, (d - y.dim())


def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """The integral along a dim by the trapezoid rule.

    Args:
        y: the values.
        x: where they stand; without it, `dx` apart.
        dx: the spacing, 1 by default.
        dim: along which dim.
    """
    if y.dim() and y.shape[wrap_dim(dim, y.dim())] == 0:
        shape = [n for i, n in enumerate(y.shape) if i != wrap_dim(dim, y.dim())]
        return _C._full(shape, 0.0, dtype=as_float(y).dtype)
    if x is None and y.dim() and y.dtype is not _C.bool:
        # All but the ends are in two panels.
        d = wrap_dim(dim, y.dim())
        return (y.sum(d) - (y.select(d, 0) + y.select(d, -1)) * 0.5) * (1 if dx is None else dx)
    panels, d = _panels("trapezoid", y, x, dx, dim)
    return panels.sum(d)


trapz = trapezoid


def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """The running integral along a dim by the trapezoid rule."""
    panels, d = _panels("cumulative_trapezoid", y, x, dx, dim)
    return panels.cumsum(d)


def gradient(
    input: Tensor, *, spacing: Any = None, dim: int | Sequence[int] | None = None, edge_order: int = 1
) -> tuple[Tensor, ...]:
    """The derivative along each dim by central differences of second order, one-sided at the edges.

    Args:
        input: values on a grid.
        spacing: the distance of neighbours: a number, one for each dim, or a tensor of coordinates for each dim.
        dim: along which dims; all by default.
        edge_order: 1 or 2, of the differences at the edges.
    """
    require_tensor(input, "gradient")
    dims = list(range(input.dim())) if dim is None else wrap_dims(dim, input.dim(), "dim")
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    if spacing is None:
        steps: list[Any] = [1.0] * len(dims)
    elif isinstance(spacing, (tuple, list)):
        steps = list(spacing)
        if len(steps) != len(dims):
            raise RuntimeError(
                "torch.gradient expected spacing to be unspecified, a scalar or a list of length equal to 'self.dim() = "
                f"{len(dims)}', since dim argument is not given, but got a list of length {len(steps)}"
            )
    else:
        steps = [spacing] * len(dims)
    results = []
    for d, step in zip(dims, steps, strict=True):
        n = input.shape[d]
        if n < edge_order + 1:
            raise RuntimeError("torch.gradient expected each dimension size to be at least edge_order+1")
        results.append(_slope(as_float(input), d, n, step, edge_order))
    return tuple(results)


def _slope(y: Tensor, d: int, n: int, step: Any, edge_order: int) -> Tensor:
    def part(start: int, length: int) -> Tensor:
        return y.narrow(d, start, length)

    if isinstance(step, Tensor) and step.dim() > 0:
        if step.dim() != 1 or step.numel() != n:
            raise RuntimeError(
                "torch.gradient expected each coordinate tensor to be one-dimensional with one coordinate for each "
                f"index, got a shape of {list(step.shape)}"
            )
        gaps = (step[1:] - step[:-1]).reshape([-1 if i == d else 1 for i in range(y.dim())])
    else:
        gap = step.item() if isinstance(step, Tensor) else step
        gaps = _C._full([n - 1 if i == d else 1 for i in range(y.dim())], float(gap), dtype=y.dtype)
    h1, h2 = gaps.narrow(d, 0, n - 2), gaps.narrow(d, 1, n - 2)
    middle = (
        part(0, n - 2) * (-h2 / (h1 * (h1 + h2)))
        + part(1, n - 2) * ((h2 - h1) / (h1 * h2))
        + part(2, n - 2) * (h1 / (h2 * (h1 + h2)))
    )
    first, last = gaps.narrow(d, 0, 1), gaps.narrow(d, n - 2, 1)
    if edge_order == 1:
        left = (part(1, 1) - part(0, 1)) / first
        right = (part(n - 1, 1) - part(n - 2, 1)) / last
    else:
        a, b = first, gaps.narrow(d, 1, 1)
        left = (
            part(0, 1) * (-(2 * a + b) / (a * (a + b)))
            + part(1, 1) * ((a + b) / (a * b))
            + part(2, 1) * (-a / (b * (a + b)))
        )
        a, b = gaps.narrow(d, n - 3, 1), last
        right = (
            part(n - 3, 1) * (b / (a * (a + b)))
            + part(n - 2, 1) * (-(a + b) / (a * b))
            + part(n - 1, 1) * ((2 * b + a) / (b * (a + b)))
        )
    return _C.cat([left, middle, right], d)


METHODS = {
    "aminmax": aminmax, "diff": diff, "dist": dist, "nanmean": nanmean, "nansum": nansum, "norm": _norm_method,
    "renorm": renorm, "renorm_": in_place(renorm),
}  # fmt: skip
