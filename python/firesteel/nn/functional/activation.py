"""Activation functions; each gives a tensor of its input's shape."""

from __future__ import annotations

import warnings

from firesteel import _C, ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Tensor = _C.Tensor

__all__ = [
    "celu", "celu_", "elu", "elu_", "gelu", "glu", "gumbel_softmax", "hardshrink", "hardsigmoid", "hardswish",
    "hardtanh", "hardtanh_", "leaky_relu", "leaky_relu_", "log_softmax", "logsigmoid", "mish", "prelu", "relu",
    "relu6", "relu_", "rrelu", "rrelu_", "selu", "selu_", "sigmoid", "silu", "softmax", "softmin", "softplus",
    "softshrink", "softsign", "tanh", "tanhshrink", "threshold", "threshold_",
]  # fmt: skip

gelu = _C.gelu
relu_ = _C.relu_
softplus = _C.softplus

_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def _result(input: Tensor, output: Tensor, inplace: bool) -> Tensor:
    """The output, or with `inplace` the input with the output's values.

    Functions that go through here compute from a copy of the input, so that what they save is not overwritten.
    """
    return input.copy_(output) if inplace else output


def _source(input: Tensor, inplace: bool) -> Tensor:
    return input.clone() if inplace else input


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Replaces what is below 0 by 0.

    Args:
        input: any shape.
        inplace: write into the input.

    >>> import firesteel as fs
    >>> fs.nn.functional.relu(fs.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return _C.relu_(input) if inplace else _C.relu(input)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """Limits the values to a range.

    Args:
        input: any shape.
        min_val: lowest result.
        max_val: highest result.
        inplace: write into the input.

    Raises:
        ValueError: if the range is empty.
    """
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    if input.dtype in (_C.bool, _C.uint8) and min_val < 0:
        raise RuntimeError("Cannot do hardtanh on an unsigned type with negative limits")
    if not input.is_floating_point():
        min_val, max_val = int(min_val), int(max_val)
    return (_C.hardtanh_ if inplace else _C.hardtanh)(input, min_val, max_val)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`hardtanh` in place."""
    return hardtanh(input, min_val, max_val, True)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """Limits the values to 0 to 6."""
    return hardtanh(input, 0.0, 6.0, inplace)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Replaces what is below 0 by `alpha * (exp(x) - 1)`."""
    return _result(input, _C.elu(_source(input, inplace), alpha), inplace)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`elu` in place."""
    return elu(input, alpha, True)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """The self-normalising form of `elu`, with the two constants of Klambauer et al. (arXiv 1706.02515)."""
    return _result(input, _C.elu(_source(input, inplace), _SELU_ALPHA, _SELU_SCALE), inplace)


def selu_(input: Tensor) -> Tensor:
    """`selu` in place."""
    return selu(input, True)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Replaces what is below 0 by `alpha * (exp(x / alpha) - 1)`.

    Raises:
        RuntimeError: if `alpha` is 0.
    """
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return _result(input, _C.celu(_source(input, inplace), alpha), inplace)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`celu` in place."""
    return celu(input, alpha, True)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Multiplies what is below 0 by a small slope.

    Args:
        input: any shape.
        negative_slope: the factor.
        inplace: write into the input.
    """
    return _result(input, _C.leaky_relu(_source(input, inplace), negative_slope), inplace)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`leaky_relu` in place."""
    return leaky_relu(input, negative_slope, True)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Multiplies what is below 0 by a learned slope.

    Args:
        input: (N, C, ...) or any shape.
        weight: one slope, or (C,): one per channel.

    Raises:
        RuntimeError: if the number of slopes does not fit.
    """
    return ops.elementwise.prelu(input, weight)


def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """Multiplies what is at most 0 by a slope drawn from a range, or outside training by the middle of the range."""
    if lower > upper:
        raise RuntimeError("Lower bound should be less than or equal to the upper bound")
    source = _source(input, inplace)
    if training:
        slope = _C.empty_like(source).uniform_(lower, upper)
        output = _C.where(source <= 0, source * slope.detach(), source)
    else:
        output = _C.leaky_relu(source, (lower + upper) / 2)
    return _result(input, output, inplace)


def rrelu_(input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False) -> Tensor:
    """`rrelu` in place."""
    return rrelu(input, lower, upper, training, True)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """Replaces what is at most the threshold by a value."""
    source = _source(input, inplace)
    return _result(input, source.masked_fill(source <= threshold, value), inplace)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """`threshold` in place."""
    source = input.clone()
    return input.copy_(source.masked_fill(source <= threshold, value))


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """Multiplies one half of a dimension by the sigmoid of the other.

    Args:
        input: any shape, of even size along `dim`.
        dim: the dimension to halve.

    Raises:
        RuntimeError: if the input has no dimension, or the size is odd.
    """
    if input.dim() == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    size = input.size(dim)
    if size % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {dim % input.dim()} is size {size}")
    values, gates = input.split([size // 2] * 2, dim)
    return values * gates.sigmoid()


def logsigmoid(input: Tensor) -> Tensor:
    """The logarithm of the sigmoid, without overflow."""
    return _C.logsigmoid(input)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Replaces what is in [-lambd, lambd] by 0."""
    return input.masked_fill((input >= -lambd) & (input <= lambd), 0)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Moves the values towards 0 by `lambd`, those nearer become 0.

    Raises:
        RuntimeError: if `lambd` is negative.
    """
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd:g}.")
    # NaN stays NaN: it is neither above nor within.
    inside = (input >= -lambd) & (input <= lambd)
    return _C.where(input > 0, input - lambd, input + lambd).masked_fill(inside, 0)


def tanhshrink(input: Tensor) -> Tensor:
    """`x - tanh(x)`."""
    return input - input.tanh()


def softsign(input: Tensor) -> Tensor:
    """`x / (1 + |x|)`."""
    return input / (input.abs() + 1)


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return input.tanh()


def sigmoid(input: Tensor) -> Tensor:
    """`1 / (1 + exp(-x))`."""
    return input.sigmoid()


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """`x / 6 + 1 / 2`, limited to 0 to 1."""
    return _result(input, _C.hardsigmoid(_source(input, inplace)), inplace)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """`x * sigmoid(x)`."""
    return _result(input, _C.silu(_source(input, inplace)), inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """`x * tanh(softplus(x))`."""
    return _result(input, _C.mish(_source(input, inplace)), inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """`x * hardsigmoid(x)`."""
    return _result(input, _C.hardswish(_source(input, inplace)), inplace)


def _implicit_dim(name: str, ndim: int, stacklevel: int) -> int:
    """The dimension that a softmax without one means, with PyTorch's warning."""
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
        stacklevel=stacklevel,
    )
    return 0 if ndim in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """Exponentials that add up to 1 along a dimension.

    Args:
        input: any shape.
        dim: the dimension.
        dtype: cast the input to it first.

    >>> import firesteel as fs
    >>> fs.nn.functional.softmax(fs.zeros(4), dim=0)
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    if dim is None:
        dim = _implicit_dim("softmax", input.dim(), _stacklevel)
    return _C.softmax(input, dim) if dtype is None else _C.softmax(input, dim, dtype=dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """The softmax of the negated input."""
    if dim is None:
        dim = _implicit_dim("softmin", input.dim(), _stacklevel)
    return _C.softmax(-input, dim) if dtype is None else _C.softmax(-input, dim, dtype=dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """The logarithm of the softmax, without loss of digits.

    Args:
        input: any shape.
        dim: the dimension.
        dtype: cast the input to it first.
    """
    if dim is None:
        dim = _implicit_dim("log_softmax", input.dim(), _stacklevel)
    return _C.log_softmax(input, dim) if dtype is None else _C.log_softmax(input, dim, dtype=dtype)


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """Samples from the relaxed categorical distribution of Jang et al. (arXiv 1611.01144).

    Args:
        logits: (..., K): unnormalised logarithms of probabilities.
        tau: temperature, above 0.
        hard: give one-hot vectors, with the gradient of the soft ones.
        eps: unused.
        dim: the dimension of the K choices.
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    noise = -_C.empty_like(logits).exponential_().log()
    soft = _C.softmax((logits + noise.detach()) / tau, dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    one_hot = ops.zeros_like(logits).scatter_(dim, index, 1.0).detach()
    return one_hot - soft.detach() + soft
