"""Initial values of parameters; each function writes into the tensor it is given and returns it.

>>> import firesteel as fs
>>> fs.nn.init.constant_(fs.empty(2), 0.5)
tensor([0.5000, 0.5000])
"""

from __future__ import annotations

import math
import warnings

from firesteel import _C, ops
from firesteel.autograd import no_grad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Tensor = _C.Tensor

__all__ = [
    "calculate_gain", "constant_", "dirac_", "eye_", "kaiming_normal_", "kaiming_uniform_", "normal_", "ones_",
    "orthogonal_", "sparse_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_",
]  # fmt: skip

_UNIT_GAIN = (
    "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "sigmoid",
)  # fmt: skip


def calculate_gain(nonlinearity: str, param: Any = None) -> float:
    """The factor by which a nonlinearity asks for larger weights.

    Args:
        nonlinearity: its name in `nn.functional`.
        param: the slope of "leaky_relu".

    Raises:
        ValueError: for an unknown name or a slope that is no number.

    >>> calculate_gain("relu") == 2**0.5
    True
    """
    if nonlinearity in _UNIT_GAIN:
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        if param is None:
            slope = 0.01
        elif isinstance(param, (int, float)) and not isinstance(param, bool):
            slope = param
        else:
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Fills with numbers drawn uniformly from a to b."""
    recording = _C._set_grad(False)  # a context manager would cost as much as filling a small tensor
    try:
        return tensor.uniform_(a, b) if generator is None else tensor.uniform_(a, b, generator=generator)
    finally:
        _C._set_grad(recording)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Fills with numbers drawn from a normal distribution."""
    with no_grad():
        return tensor.normal_(mean, std) if generator is None else tensor.normal_(mean, std, generator=generator)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None
) -> Tensor:
    """Fills with numbers drawn from the part of a normal distribution that lies between a and b."""

    def below(x: float) -> float:
        return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0

    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. "
            "The distribution of values may be incorrect.",
            stacklevel=2,
        )
    likely = below((b - mean) / std) - below((a - mean) / std) > 0.3
    # Where the density is highest within the range.
    peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2

    def draw() -> tuple[Tensor, Tensor]:
        """Candidates, and which of them are to be drawn again."""
        if likely:
            drawn = normal_(_C.empty_like(tensor), mean, std, generator)
            return drawn, (drawn < a) | (drawn > b)
        drawn = uniform_(_C.empty_like(tensor), a, b, generator)
        density = (drawn - mean).div(std).square().mul(-0.5).sub(peak).exp()
        return drawn, uniform_(_C.empty_like(tensor), generator=generator) > density

    with no_grad():
        result, wrong = draw()
        while bool(wrong.any()):
            again, still = draw()
            result, wrong = _C.where(wrong, again, result), wrong & still
        return tensor.copy_(result)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fills with one value."""
    with no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Fills with 1."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fills with 0."""
    with no_grad():
        return tensor.zero_()


def eye_(tensor: Tensor) -> Tensor:
    """Fills a matrix with the identity.

    Raises:
        ValueError: if the tensor has not two dimensions.
    """
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    with no_grad():
        return tensor.copy_(ops.eye(*tensor.shape))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fills a convolution's weight so that it passes as many channels through as it can.

    Args:
        tensor: (O, C, ...), with one to three spatial dimensions.
        groups: groups of the convolution.

    Raises:
        ValueError: if the shape does not fit.
    """
    if tensor.dim() not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    outputs, channels = tensor.shape[:2]
    if outputs % groups:
        raise ValueError("dim 0 must be divisible by groups")
    per_group = outputs // groups
    centre = tuple(size // 2 for size in tensor.shape[2:])
    with no_grad():
        tensor.zero_()
        for group in range(groups):
            for at in range(min(per_group, channels)):
                tensor[(group * per_group + at, at, *centre)] = 1
    return tensor


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """How many inputs each output has and how many outputs each input, for a weight (O, C, ...)."""
    if tensor.dim() < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    field = 1
    for size in tensor.shape[2:]:
        field *= size
    return tensor.size(1) * field, tensor.size(0) * field


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of {['fan_in', 'fan_out']}")
    return _calculate_fan_in_and_fan_out(tensor)[mode == "fan_out"]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Fills uniformly, with a variance of `gain² 2 / (fan_in + fan_out)` (Glorot and Bengio, 2010).

    Args:
        tensor: (O, C, ...).
        gain: factor, see `calculate_gain`.
        generator: where random numbers come from.

    Raises:
        ValueError: if it has fewer than two dimensions.
    """
    std = gain * math.sqrt(2.0 / sum(_calculate_fan_in_and_fan_out(tensor)))
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """As `xavier_uniform_`, from a normal distribution."""
    std = gain * math.sqrt(2.0 / sum(_calculate_fan_in_and_fan_out(tensor)))
    return normal_(tensor, 0.0, std, generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float | None:
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return None
    return calculate_gain(nonlinearity, a) / math.sqrt(_calculate_correct_fan(tensor, mode))


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Fills uniformly, with a variance of `gain² / fan` (He et al., arXiv 1502.01852).

    Args:
        tensor: (O, C, ...).
        a: the slope of "leaky_relu".
        mode: "fan_in" or "fan_out".
        nonlinearity: what follows the layer.
        generator: where random numbers come from.

    Raises:
        ValueError: if it has fewer than two dimensions, or for an unknown name.
    """
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    if std is None:
        return tensor
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """As `kaiming_uniform_`, from a normal distribution."""
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return tensor if std is None else normal_(tensor, 0.0, std, generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """Fills with a matrix of orthogonal rows or columns (Saxe et al., arXiv 1312.6120).

    Args:
        tensor: (O, ...), flattened to (O, -1).
        gain: factor.
        generator: where random numbers come from.

    Raises:
        ValueError: if it has fewer than two dimensions.
    """
    if tensor.dim() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.size(0)
    columns = tensor.numel() // rows
    with no_grad():
        flat = normal_(ops.empty(max(rows, columns), min(rows, columns), dtype=_C.float64), generator=generator)
        q = _orthogonal_columns(flat)
        if rows < columns:
            q = q.t()
        return tensor.copy_(q.reshape(tensor.shape).to(tensor.dtype)).mul_(gain)


def _orthogonal_columns(matrix: Tensor) -> Tensor:
    """Orthonormal columns with the same spans (Gram and Schmidt, each column twice for the sake of rounding)."""
    done: list[Tensor] = []
    for at in range(matrix.size(1)):
        column = matrix[:, at]
        if done:
            basis = _C.stack(done, 1)
            for _ in range(2):
                column = column - _C.matmul(basis, _C.matmul(basis.t(), column))
        done.append(column / column.square().sum().sqrt())
    return _C.stack(done, 1)


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Fills a matrix from a normal distribution, and sets a share of each column to 0 (Martens, 2010).

    Args:
        tensor: (R, C).
        sparsity: the share of zeros.
        std: standard deviation of the others.
        generator: where random numbers come from.

    Raises:
        ValueError: if the tensor has not two dimensions.
    """
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    normal_(tensor, 0, std, generator)
    with no_grad():
        for column in range(columns):
            tensor[ops.randperm(rows)[:zeros], column] = 0
    return tensor


def _older(new: Any, name: str) -> Any:
    def older(*args: Any, **kwargs: Any) -> Any:
        warnings.warn(f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`.", FutureWarning, stacklevel=2)
        return new(*args, **kwargs)

    older.__name__ = name
    older.__doc__ = f"The older name of `{name}_`."
    return older


uniform = _older(uniform_, "uniform")
normal = _older(normal_, "normal")
constant = _older(constant_, "constant")
eye = _older(eye_, "eye")
dirac = _older(dirac_, "dirac")
xavier_uniform = _older(xavier_uniform_, "xavier_uniform")
xavier_normal = _older(xavier_normal_, "xavier_normal")
kaiming_uniform = _older(kaiming_uniform_, "kaiming_uniform")
kaiming_normal = _older(kaiming_normal_, "kaiming_normal")
orthogonal = _older(orthogonal_, "orthogonal")
sparse = _older(sparse_, "sparse")
