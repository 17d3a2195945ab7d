"""Special functions (`torch.special`).

>>> import firesteel as fs
>>> fs.special.expit(fs.tensor([0.0]))
tensor([0.5000])
"""

from __future__ import annotations

import math

from . import _C
from .ops._args import as_float, deliver, require_tensor
from .ops.elementwise import logit, mvlgamma, polygamma

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Tensor = _C.Tensor

# Name here: name in the op table.
_SAME = {
    "digamma": "digamma", "erf": "erf", "erfc": "erfc", "erfinv": "erfinv", "exp2": "exp2", "expit": "sigmoid",
    "expm1": "expm1", "gammainc": "igamma", "gammaincc": "igammac", "gammaln": "lgamma", "i0": "i0",
    "i0e": "special_i0e", "i1": "special_i1", "i1e": "special_i1e", "log1p": "log1p", "log_ndtr": "special_log_ndtr",
    "logsumexp": "logsumexp", "ndtri": "special_ndtri", "psi": "digamma", "round": "round", "sinc": "sinc",
    "xlog1py": "special_xlog1py", "xlogy": "xlogy", "zeta": "special_zeta",
}  # fmt: skip
globals().update({_new: getattr(_C, _old) for _new, _old in _SAME.items() if hasattr(_C, _old)})
multigammaln = mvlgamma
_CHEBYSHEV = [f"{s}chebyshev_polynomial_{k}" for s in ("", "shifted_") for k in "tuvw"]

__all__ = [
    *_SAME, *_CHEBYSHEV, "entr", "hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l",
    "legendre_polynomial_p", "log_softmax", "logit", "modified_bessel_i0", "modified_bessel_i1", "multigammaln",
    "ndtr", "polygamma", "softmax", "spherical_bessel_j0",
]  # fmt: skip


def softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """exp(x) divided by its sum along a dim."""
    return _C.softmax(input, dim, dtype=dtype)


def log_softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """The logarithm of `softmax`."""
    return _C.log_softmax(input, dim, dtype=dtype)


def ndtr(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The distribution function of the standard normal distribution."""
    require_tensor(input, "special_ndtr")
    return deliver(_C.erfc(as_float(input) * -math.sqrt(0.5)) * 0.5, out)


def entr(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """-x log(x); 0 at zero, -inf below."""
    require_tensor(input, "special_entr")
    x = as_float(input)
    inside = _C.where(x > 0, -x * _C.log(_C.where(x > 0, x, 1.0)), 0.0)
    return deliver(_C.where(x < 0, -math.inf, _C.where(x.isnan(), x, inside)), out)


def spherical_bessel_j0(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """sin(x) / x, 1 at zero."""
    require_tensor(input, "special_spherical_bessel_j0")
    x = as_float(input)
    small = x.abs() < 0.5
    square = x * x
    # The Taylor series where sin(x) / x would divide two small numbers.
    series = _C._full_like(x, 1.0)
    for k in range(6, 0, -1):
        series = 1 - square / ((2 * k) * (2 * k + 1)) * series
    wide = _C.where(small, 1.0, x)
    return deliver(_C.where(x.isinf(), 0.0, _C.where(small, series, wide.sin() / wide)), out)


def modified_bessel_i0(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Modified Bessel function of the first kind of order 0."""
    return deliver(_C.i0(input), out)


def modified_bessel_i1(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Modified Bessel function of the first kind of order 1."""
    return deliver(_C.special_i1(input), out)


# ---- orthogonal polynomials -------------------------------------------------------------------------------------------


def _polynomial(name: str, doc: str, first: Any, step: Any, shifted: bool = False) -> Any:
    """Degree n at x by recurrence: p0 = 1, p1 = first(x), p(k+1) = step(k, x, p(k), p(k-1))."""

    def function(input: Any, n: Any, *, out: Tensor | None = None) -> Tensor:
        if not isinstance(input, Tensor) and not isinstance(n, Tensor):
            raise TypeError(f"special_{name}(): one of the arguments must be a Tensor")
        x = as_float(input) if isinstance(input, Tensor) else _C._full((), float(input), dtype=as_float(n).dtype)
        x = x.detach()
        if shifted:
            x = x + x - 1
        degree = n if isinstance(n, Tensor) else None
        top = int(n) if degree is None else int(degree.max()) if degree.numel() else 0
        if degree is not None:
            degree = degree.trunc() if degree.is_floating_point() else degree
            x = x.expand((x + degree).shape)
        one = _C._full_like(x, 1.0)
        result = _C._full_like(x, 0.0)
        earlier, now = one, first(x)
        for k in range(max(top, 0) + 1):
            value = one if k == 0 else now
            if degree is None:
                result = value
            else:
                result = _C.where(degree == k, value, result)
            if k:
                earlier, now = now, step(k, x, now, earlier)
        return deliver(result if top >= 0 else _C._full_like(x, 0.0), out)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def _chebyshev(k: int, x: Tensor, now: Tensor, before: Tensor) -> Tensor:
    return (x + x) * now - before


for _kind, _first in {
    "t": lambda x: x,
    "u": lambda x: x + x,
    "v": lambda x: x + x - 1,
    "w": lambda x: x + x + 1,
}.items():
    _name = f"chebyshev_polynomial_{_kind}"
    _doc = f"Chebyshev polynomial {_kind.upper()} of degree n."
    globals()[_name] = _polynomial(_name, _doc, _first, _chebyshev)
    _doc = f"{_doc[:-1]} at 2 x - 1."
    globals()[f"shifted_{_name}"] = _polynomial(f"shifted_{_name}", _doc, _first, _chebyshev, True)

hermite_polynomial_h = _polynomial(
    "hermite_polynomial_h", "Physicist's Hermite polynomial of degree n.", lambda x: x + x,
    lambda k, x, now, before: (x + x) * now - 2 * k * before,
)  # fmt: skip
hermite_polynomial_he = _polynomial(
    "hermite_polynomial_he", "Probabilist's Hermite polynomial of degree n.", lambda x: x,
    lambda k, x, now, before: x * now - k * before,
)  # fmt: skip
laguerre_polynomial_l = _polynomial(
    "laguerre_polynomial_l", "Laguerre polynomial of degree n.", lambda x: 1 - x,
    lambda k, x, now, before: ((2 * k + 1 - x) * now - k * before) / (k + 1),
)  # fmt: skip
legendre_polynomial_p = _polynomial(
    "legendre_polynomial_p", "Legendre polynomial of degree n.", lambda x: x,
    lambda k, x, now, before: ((2 * k + 1) * x * now - k * before) / (k + 1),
)  # fmt: skip
