"""Elementwise functions: PyTorch's second names for ops of the table, and functions made of them."""

from __future__ import annotations

import math

from .. import _C
from .._formats import finfo
from ._args import FLOATS, as_float, cast, deliver, in_place, require_tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Tensor = _C.Tensor

# Second name: name in the op table.
_ALIASES = {
    "absolute": "abs", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh", "arctan": "atan",
    "arctan2": "atan2", "arctanh": "atanh", "clip": "clamp", "divide": "div", "fix": "trunc", "greater": "gt",
    "greater_equal": "ge", "less": "lt", "less_equal": "le", "multiply": "mul", "negative": "neg", "not_equal": "ne",
    "subtract": "sub", "true_divide": "div", "sgn": "sign",
}  # fmt: skip
METHODS: dict[str, Any] = {}
for _new, _old in _ALIASES.items():
    globals()[_new] = getattr(_C, _old)
    METHODS[_new] = getattr(Tensor, _old)
    METHODS[_new + "_"] = getattr(Tensor, _old + "_")
    globals()[_new + "_"] = getattr(_C, _old + "_", METHODS[_new + "_"])


# ---- arithmetic -------------------------------------------------------------------------------------------------------


def positive(input: Tensor) -> Tensor:
    """The input itself."""
    require_tensor(input, "positive")
    if input.dtype is _C.bool:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


def rsub(input: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """other - alpha * input."""
    require_tensor(input, "rsub")
    if _C.bool in (input.dtype, getattr(other, "dtype", None)) or isinstance(other, bool):
        raise RuntimeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, "
            "use the `~` or `logical_not()` operator instead."
        )
    if isinstance(other, Tensor):
        return _C.sub(other, input, alpha=alpha)
    if alpha == 1:
        return _C.add(_C.neg(input), other)
    return _C.add(_C.mul(input, -alpha), other)


def float_power(input: Any, exponent: Any, *, out: Tensor | None = None) -> Tensor:
    """input to the power of exponent, computed in float64."""
    base: Any = cast(input, _C.float64) if isinstance(input, Tensor) else float(input)
    power: Any = cast(exponent, _C.float64) if isinstance(exponent, Tensor) else float(exponent)
    if not isinstance(base, Tensor) and not isinstance(power, Tensor):
        raise TypeError("float_power(): input or exponent must be a Tensor")
    return deliver(_C.pow(base, power), out)


def _float_power_(self: Tensor, exponent: Any) -> Tensor:
    if self.dtype is not _C.float64:
        raise RuntimeError(
            f"the base given to float_power_ has dtype {self.dtype} but the operation's result requires dtype Double"
        )
    return in_place(float_power)(self, exponent)


def ldexp(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """input * 2 ** other."""
    require_tensor(input, "ldexp")
    require_tensor(other, "ldexp", "other", 2)
    return deliver(_C.mul(input, _C.pow(2.0, other)), out)


def clamp_min(input: Tensor, min: Any, *, out: Tensor | None = None) -> Tensor:
    """Elements not below `min`."""
    if getattr(input, "dtype", None) is _C.bool:
        return deliver(_C.maximum(input, min if isinstance(min, Tensor) else _C._tensor(min, None)), out)
    return deliver(_C.clamp(input, min), out)


def clamp_max(input: Tensor, max: Any, *, out: Tensor | None = None) -> Tensor:
    """Elements not above `max`."""
    if getattr(input, "dtype", None) is _C.bool:
        return deliver(_C.minimum(input, max if isinstance(max, Tensor) else _C._tensor(max, None)), out)
    return deliver(_C.clamp(input, None, max), out)


def deg2rad(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Degrees as radians."""
    require_tensor(input, "deg2rad")
    return deliver(_C.mul(input, math.pi / 180), out)


def rad2deg(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Radians as degrees."""
    require_tensor(input, "rad2deg")
    return deliver(_C.mul(input, 180 / math.pi), out)


# ---- parts of numbers -------------------------------------------------------------------------------------------------


def frexp(input: Tensor, *, out: Any = None) -> Any:
    """Mantissa (its size in [0.5, 1)) and exponent, with input = mantissa * 2 ** exponent."""
    require_tensor(input, "frexp")
    if input.dtype not in FLOATS:
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    x = cast(input.detach(), _C.float64)
    plain = (x != 0) & x.isfinite()
    safe = _C.where(plain, x.abs(), 1.0)
    # The scale is applied in two halves, so that neither overflows.
    exponent = safe.log2().floor() + 1
    half = (exponent / 2).floor()
    m = safe * _C.exp2(-half) * _C.exp2(half - exponent)
    exponent = _C.where(plain, exponent + (m >= 1) - (m < 0.5).to(_C.float64), 0.0)
    half = (exponent / 2).floor()
    one, two = _C.exp2(-half), _C.exp2(half - exponent)
    mantissa = cast(cast(input, _C.float64) * one * two, input.dtype)
    from .results import named

    return deliver(named("frexp", mantissa=mantissa, exponent=cast(exponent, _C.int32)), out)


def nan_to_num(
    input: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None, *,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """NaN and infinities replaced: by 0 and the dtype's largest and smallest number unless told otherwise."""
    require_tensor(input, "nan_to_num")
    if input.dtype not in FLOATS:
        return deliver(input.clone(), out)
    limits = finfo(input.dtype)
    high, low = limits.max if posinf is None else float(posinf), limits.min if neginf is None else float(neginf)
    return deliver(_C._nan_to_num(input, 0.0 if nan is None else float(nan), high, low), out)


def angle(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """pi for negative numbers, 0 for others."""
    require_tensor(input, "angle")
    x = as_float(input)
    return deliver(_C.where(x < 0, math.pi, _C.where(x.isnan(), x, 0.0)), out)


def real(input: Tensor) -> Tensor:
    """The input itself: there are no complex numbers."""
    require_tensor(input, "real")
    return input


def imag(input: Tensor) -> Tensor:
    """Raises: there are no complex numbers."""
    raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")


def conj(input: Tensor) -> Tensor:
    """The input itself: there are no complex numbers."""
    require_tensor(input, "conj")
    return input


resolve_conj = resolve_neg = conj


def conj_physical(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The input itself: there are no complex numbers."""
    require_tensor(input, "conj_physical")
    return deliver(input, out)


# ---- special functions ------------------------------------------------------------------------------------------------


def logit(input: Tensor, eps: float | None = None, *, out: Tensor | None = None) -> Tensor:
    """log(x / (1 - x)), x first moved into [eps, 1 - eps] where eps is given."""
    require_tensor(input, "logit")
    x = as_float(input)
    if eps is not None:
        x = _C.clamp(x, eps, 1 - eps)
    return deliver(_C.log(x / (1 - x)), out)


def polygamma(n: int, input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The n-th derivative of `digamma`.

    Raises:
        RuntimeError: if n is negative.
    """
    if isinstance(n, Tensor):
        n, input = input, n
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    require_tensor(input, "polygamma")
    x = as_float(input)
    if n == 0:
        return deliver(_C.digamma(x), out)
    # Abramowitz and Stegun, 6.4.10.
    sign = 1.0 if n % 2 else -1.0
    return deliver(_C.special_zeta(float(n + 1), x) * (sign * math.factorial(n)), out)


def _polygamma_method(self: Tensor, n: int) -> Tensor:
    return polygamma(n, self)


def mvlgamma(input: Tensor, p: int, *, out: Tensor | None = None) -> Tensor:
    """Logarithm of the multivariate gamma function of dimension p."""
    require_tensor(input, "mvlgamma")
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    if input.dtype is _C.bool:
        raise RuntimeError("mvlgamma is not implemented for 'Bool'")
    x = as_float(input)
    steps = _C._arange(0, p, 1, dtype=x.dtype) * -0.5
    terms = _C.lgamma(x.unsqueeze(-1) + steps)
    return deliver(terms.sum(-1) + p * (p - 1) / 4 * math.log(math.pi), out)


def rrelu(
    input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, generator: Any = None
) -> Tensor:
    """x above zero; below, x times a random slope from [lower, upper] in training, their mean otherwise."""
    if not training:
        return _C.leaky_relu(input, (lower + upper) / 2)
    slope = _C.empty_like(input.detach()).uniform_(lower, upper, generator=generator)
    return _C.where(input >= 0, input, input * slope)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x above zero, weight * x below; one weight, or one for each channel (the second dim)."""
    require_tensor(input, "prelu")
    require_tensor(weight, "prelu", "weight", 2)
    if weight.dim() > 1:
        raise RuntimeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.dim()}")
    n = weight.numel()
    if n != 1:
        channels = input.shape[1] if input.dim() > 1 else 1
        if input.dim() == 0:
            raise RuntimeError("Not allow zero-dim input tensor.")
        if channels != n:
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{n} and channel size = {channels}."
            )
    shape = [1] * input.dim()
    if input.dim() > 1:
        shape[1] = n
    elif input.dim() == 1:
        shape[0] = 1
    return _C._prelu(input, weight.reshape(shape))


def selu(input: Tensor) -> Tensor:
    """scale * elu(x, alpha), with the constants of Klambauer et al., 2017."""
    return _C.elu(input, 1.6732632423543772, 1.0507009873554805)


_FUNCTIONS = (
    "angle", "clamp_max", "clamp_min", "conj", "conj_physical", "deg2rad", "float_power", "frexp", "imag", "ldexp",
    "logit", "mvlgamma", "nan_to_num", "polygamma", "positive", "prelu", "rad2deg", "real", "resolve_conj",
    "resolve_neg", "rrelu", "rsub", "selu",
)  # fmt: skip
_IN_PLACE = {
    f.__name__ + "_": in_place(f)
    for f in (clamp_max, clamp_min, conj_physical, deg2rad, ldexp, logit, mvlgamma, nan_to_num, rad2deg, rrelu,
              selu)
}  # fmt: skip
globals().update(_IN_PLACE)
__all__ = [*_ALIASES, *(a + "_" for a in _ALIASES), *_FUNCTIONS, *_IN_PLACE]

_NOT_METHODS = {"imag", "polygamma", "real", "rrelu", "rsub", "selu"}
METHODS.update({n: globals()[n] for n in _FUNCTIONS if n not in _NOT_METHODS})
METHODS.update({n: f for n, f in _IN_PLACE.items() if n not in ("rrelu_", "selu_")})
METHODS["float_power_"] = _float_power_
METHODS["polygamma"] = _polygamma_method
METHODS["polygamma_"] = in_place(_polygamma_method)
METHODS["polygamma_"].__name__ = "polygamma_"
