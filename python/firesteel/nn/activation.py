"""Activation layers; each gives a tensor of its input's shape (GLU: half of one dimension)."""

from __future__ import annotations

from firesteel import _C, ops

from .functional import activation as F
from .module import Module
from .parameter import Parameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]  # fmt: skip

Tensor = _C.Tensor


class _Inplace(Module):
    """An activation without settings of its own that can write into its input."""

    __constants__ = ("inplace",)
    _function: Any

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return self._function(input, inplace=self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU(_Inplace):
    """Replaces what is below 0 by 0.

    Args:
        inplace: write into the input.

    >>> import firesteel as fs
    >>> fs.nn.ReLU()(fs.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return _C.relu_(input) if self.inplace else _C.relu(input)


class SiLU(_Inplace):
    """`x * sigmoid(x)`, also called swish."""

    _function = staticmethod(F.silu)


class Mish(_Inplace):
    """`x * tanh(softplus(x))`."""

    _function = staticmethod(F.mish)


class Hardswish(_Inplace):
    """`x * hardsigmoid(x)`."""

    _function = staticmethod(F.hardswish)


class Hardsigmoid(_Inplace):
    """`x / 6 + 1 / 2`, limited to 0 to 1."""

    _function = staticmethod(F.hardsigmoid)

    def extra_repr(self) -> str:
        return ""


class SELU(_Inplace):
    """The self-normalising form of ELU (Klambauer et al., arXiv 1706.02515)."""

    _function = staticmethod(F.selu)


class Sigmoid(Module):
    """`1 / (1 + exp(-x))`."""

    def forward(self, input: Tensor) -> Tensor:
        return _C.sigmoid(input)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input: Tensor) -> Tensor:
        return _C.tanh(input)


class LogSigmoid(Module):
    """The logarithm of the sigmoid."""

    def forward(self, input: Tensor) -> Tensor:
        return F.logsigmoid(input)


class Softsign(Module):
    """`x / (1 + |x|)`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softsign(input)


class Tanhshrink(Module):
    """`x - tanh(x)`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.tanhshrink(input)


class GELU(Module):
    """`x` times the normal distribution function of x (Hendrycks and Gimpel, arXiv 1606.08415).

    Args:
        approximate: "none", or "tanh" for the faster approximation.
    """

    __constants__ = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return _C.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Threshold(Module):
    """Replaces what is at most the threshold by a value.

    Args:
        threshold: the threshold.
        value: the value.
        inplace: write into the input.
    """

    __constants__ = ("threshold", "value", "inplace")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, value={self.value}" + (", inplace=True" if self.inplace else "")


class RReLU(Module):
    """Multiplies what is at most 0 by a slope drawn from a range, in evaluation by the middle of the range.

    Args:
        lower: lowest slope.
        upper: highest slope.
        inplace: write into the input.
    """

    __constants__ = ("lower", "upper", "inplace")

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}" + (", inplace=True" if self.inplace else "")


class Hardtanh(Module):
    """Limits the values to a range.

    Args:
        min_val: lowest result.
        max_val: highest result.
        inplace: write into the input.
        min_value: older name of `min_val`.
        max_value: older name of `max_val`.

    Raises:
        AssertionError: if the range is empty.
    """

    __constants__ = ("min_val", "max_val", "inplace")

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: float | None = None,
        max_value: float | None = None,
    ) -> None:
        super().__init__()
        for older, name in ((min_value, "min_val"), (max_value, "max_val")):
            if older is not None:
                import warnings

                warnings.warn(
                    f"keyword argument `{name}ue` is deprecated and rename to `{name}`", FutureWarning, stacklevel=2
                )
        self.min_val = min_val if min_value is None else min_value
        self.max_val = max_val if max_value is None else max_value
        self.inplace = inplace
        if not self.max_val > self.min_val:
            raise AssertionError(f"max_val ({self.max_val}) must be greater than min_val ({self.min_val})")

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}" + (", inplace=True" if self.inplace else "")


class ReLU6(Hardtanh):
    """Limits the values to 0 to 6.

    Args:
        inplace: write into the input.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class _Alpha(Module):
    """An activation with a factor called alpha."""

    __constants__ = ("alpha", "inplace")
    _function: Any

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return self._function(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class ELU(_Alpha):
    """Replaces what is below 0 by `alpha * (exp(x) - 1)`.

    Args:
        alpha: the factor.
        inplace: write into the input.
    """

    _function = staticmethod(F.elu)


class CELU(_Alpha):
    """Replaces what is below 0 by `alpha * (exp(x / alpha) - 1)`.

    Args:
        alpha: the factor.
        inplace: write into the input.
    """

    _function = staticmethod(F.celu)


class LeakyReLU(Module):
    """Multiplies what is below 0 by a small slope.

    Args:
        negative_slope: the slope.
        inplace: write into the input.
    """

    __constants__ = ("inplace", "negative_slope")

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class PReLU(Module):
    """Multiplies what is below 0 by a learned slope.

    Args:
        num_parameters: 1, or the number of channels of (N, C, ...).
        init: first value of the slope.
        device: where the parameter is.
        dtype: of what kind it is.
    """

    __constants__ = ("num_parameters",)

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(ops.empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the slopes back to their first value."""
        self.weight.data.fill_(self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class GLU(Module):
    """Multiplies one half of a dimension by the sigmoid of the other.

    Args:
        dim: the dimension.
    """

    __constants__ = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class _Shrink(Module):
    """An activation with a limit called lambd."""

    __constants__ = ("lambd",)
    _function: Any

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        return self._function(input, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class Hardshrink(_Shrink):
    """Replaces what is in [-lambd, lambd] by 0.

    Args:
        lambd: the limit.
    """

    _function = staticmethod(F.hardshrink)


class Softshrink(_Shrink):
    """Moves the values towards 0 by `lambd`; those nearer become 0.

    Args:
        lambd: the distance.
    """

    _function = staticmethod(F.softshrink)


class Softplus(Module):
    """`log(1 + exp(beta * x)) / beta`.

    Args:
        beta: how sharp the bend is.
        threshold: from where `beta * x` on it is the identity.
    """

    __constants__ = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        return _C.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class _Softmax(Module):
    """A softmax along a dimension."""

    __constants__ = ("dim",)
    _function: Any

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__.setdefault("dim", None)

    def forward(self, input: Tensor) -> Tensor:
        return self._function(input, self.dim, _stacklevel=6)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(_Softmax):
    """Exponentials that add up to 1 along a dimension.

    Args:
        dim: the dimension.

    >>> import firesteel as fs
    >>> fs.nn.Softmax(dim=0)(fs.zeros(2))
    tensor([0.5000, 0.5000])
    """

    _function = staticmethod(F.softmax)


class LogSoftmax(_Softmax):
    """The logarithm of the softmax along a dimension.

    Args:
        dim: the dimension.
    """

    _function = staticmethod(F.log_softmax)


class Softmin(_Softmax):
    """The softmax of the negated input.

    Args:
        dim: the dimension.
    """

    _function = staticmethod(F.softmin)


class Softmax2d(Module):
    """The softmax over the channels of (N, C, H, W) or (C, H, W).

    Raises:
        ValueError: if the input has another number of dimensions.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.dim()}D instead")
        return _C.softmax(input, -3)
