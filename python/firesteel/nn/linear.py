"""Linear layers."""

from __future__ import annotations

import math

from firesteel import _C, ops

from . import init
from .functional import bilinear
from .module import Module
from .parameter import Parameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Bilinear", "Identity", "Linear"]

Tensor = _C.Tensor
_linear = _C.linear
_GAIN = init.calculate_gain("leaky_relu", math.sqrt(5))


class Identity(Module):
    """Gives back what it gets; takes any arguments.

    >>> import firesteel as fs
    >>> fs.nn.Identity(54, unused=True)(fs.ones(2))
    tensor([1., 1.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return input


class Linear(Module):
    """`x A^T + b`.

    Args:
        in_features: size of the last dimension of the input.
        out_features: size of the last dimension of the output.
        bias: whether there is a b.
        device: where the parameters are.
        dtype: of what kind they are.

    Shapes: (*, in_features) to (*, out_features).

    >>> import firesteel as fs
    >>> layer = fs.nn.Linear(20, 30)
    >>> layer
    Linear(in_features=20, out_features=30, bias=True)
    >>> layer(fs.zeros(128, 20)).shape
    torch.Size([128, 30])
    """

    __constants__ = ("in_features", "out_features")
    in_features: int
    out_features: int
    weight: Tensor

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(ops.empty((out_features, in_features), device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(ops.empty(out_features, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new values: uniform within `1 / sqrt(in_features)`."""
        parameters = self._parameters
        weight = parameters.get("weight")
        try:
            bias = parameters["bias"]
        except KeyError:  # a tensor of the user's own
            bias = self.bias
        if weight is None or weight.dim() != 2 or weight.numel() == 0:
            init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        else:
            # What kaiming_uniform_ comes to for this slope, known beforehand.
            bound = math.sqrt(3.0) * (_GAIN / math.sqrt(weight.shape[1]))
            init.uniform_(weight, -bound, bound)
        if bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0
            init.uniform_(bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        # Read from the table: an attribute that is found by __getattr__ costs as much as a small product.
        parameters = self._parameters
        try:
            weight, bias = parameters["weight"], parameters["bias"]
        except KeyError:  # a parametrisation or a tensor of the user's own stands in for it
            weight, bias = self.weight, self.bias
        return _linear(input, weight, bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """`x1 A x2 + b` for each of several matrices A.

    Args:
        in1_features: size of the last dimension of the first input.
        in2_features: size of the last dimension of the second input.
        out_features: number of matrices.
        bias: whether there is a b.
        device: where the parameters are.
        dtype: of what kind they are.

    Shapes: (*, in1_features) and (*, in2_features) to (*, out_features).
    """

    __constants__ = ("in1_features", "in2_features", "out_features")

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if in1_features <= 0:
            raise ValueError(f"in1_features must be > 0, but got {in1_features}")
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self.weight = Parameter(ops.empty((out_features, in1_features, in2_features), device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(ops.empty(out_features, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new values: uniform within `1 / sqrt(in1_features)`."""
        bound = 1 / math.sqrt(self.weight.size(1))
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )
