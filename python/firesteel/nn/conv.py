"""Convolutions and their transposes over one, two and three spatial dimensions."""

from __future__ import annotations

import math

from firesteel import _C, ops

from . import init
from .functional.padding import pad
from .module import Module
from .parameter import Parameter
from .sizes import ntuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

Tensor = _C.Tensor


class _ConvNd(Module):
    """What convolutions have in common."""

    __constants__ = (
        "stride", "padding", "dilation", "groups", "padding_mode", "output_padding", "in_channels", "out_channels",
        "kernel_size",
    )  # fmt: skip
    bias: Tensor | None

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: tuple, stride: tuple, padding: Any, dilation: tuple,
        transposed: bool, output_padding: tuple, groups: int, bias: bool, padding_mode: str, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups != 0:
            raise ValueError("out_channels must be divisible by groups")
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"Invalid padding string {padding!r}, should be one of {'valid', 'same'}")
            if padding == "same" and any(step != 1 for step in stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ValueError(
                f"padding_mode must be one of {['zeros', 'reflect', 'replicate', 'circular']}, but got "
                f"padding_mode='{padding_mode}'"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.transposed = transposed
        self.output_padding = output_padding
        self.groups = groups
        self.padding_mode = padding_mode
        self._reversed_padding_repeated_twice = self._around()
        shape = (in_channels, out_channels // groups) if transposed else (out_channels, in_channels // groups)
        self.weight = Parameter(ops.empty((*shape, *kernel_size), device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(ops.empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _around(self) -> list[int]:
        """The padding as `functional.pad` takes it: two numbers a dimension, the last dimension first."""
        around: list[int] = []
        for at in reversed(range(len(self.kernel_size))):
            if self.padding == "valid":
                around += [0, 0]
            elif self.padding == "same":
                total = self.dilation[at] * (self.kernel_size[at] - 1)
                around += [total // 2, total - total // 2]
            else:
                around += [self.padding[at], self.padding[at]]
        return around

    def reset_parameters(self) -> None:
        """Draws new values: uniform within `1 / sqrt(inputs of each output)`."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in != 0:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        ones = (1,) * len(self.kernel_size)
        zeros = (0,) * len(self.kernel_size)
        if self.padding != zeros:
            text += f", padding={self.padding}"
        if self.dilation != ones:
            text += f", dilation={self.dilation}"
        if self.output_padding != zeros:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__.setdefault("padding_mode", "zeros")


class _Convolution(_ConvNd):
    """What the convolutions that are not transposed have in common."""

    _dims: int
    _conv: Any

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        dims = self._dims
        super().__init__(
            in_channels, out_channels, ntuple(kernel_size, dims), ntuple(stride, dims),
            padding if isinstance(padding, str) else ntuple(padding, dims), ntuple(dilation, dims), False,
            (0,) * dims, groups, bias, padding_mode, device, dtype,
        )  # fmt: skip

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.padding_mode != "zeros":
            input = pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            return self._conv(input, weight, bias, self.stride, 0, self.dilation, self.groups)
        return self._conv(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)


class Conv1d(_Convolution):
    """A convolution over (N, C, L) or (C, L).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: size of the kernel.
        stride: step of the kernel.
        padding: what is added at both ends, or "valid" (nothing) or "same" (so that the size stays).
        dilation: step inside the kernel.
        groups: groups of channels that do not see each other.
        bias: whether a number is added to each channel.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        device: where the parameters are.
        dtype: of what kind they are.

    >>> import firesteel as fs
    >>> fs.nn.Conv1d(16, 33, 3, stride=2)(fs.zeros(20, 16, 50)).shape
    torch.Size([20, 33, 24])
    """

    _dims = 1
    _conv = staticmethod(_C.conv1d)


class Conv2d(_Convolution):
    """A convolution over (N, C, H, W) or (C, H, W).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: size of the kernel, one number or two.
        stride: step of the kernel.
        padding: what is added on all sides, or "valid" (nothing) or "same" (so that the size stays).
        dilation: step inside the kernel.
        groups: groups of channels that do not see each other.
        bias: whether a number is added to each channel.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        device: where the parameters are.
        dtype: of what kind they are.

    Raises:
        ValueError: if the channels are not divisible by the groups, or for an unknown padding.

    >>> import firesteel as fs
    >>> layer = fs.nn.Conv2d(1, 32, 3, padding=1)
    >>> layer
    Conv2d(1, 32, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    >>> layer(fs.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 32, 28, 28])
    """

    _dims = 2
    _conv = staticmethod(_C.conv2d)


class Conv3d(_Convolution):
    """A convolution over (N, C, D, H, W) or (C, D, H, W); the arguments are those of `Conv2d`."""

    _dims = 3
    _conv = staticmethod(_C.conv3d)


class _ConvTransposeNd(_ConvNd):
    """What transposed convolutions have in common."""

    _dims: int
    _conv: Any

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        output_padding: Any = 0, groups: int = 1, bias: bool = True, dilation: Any = 1, padding_mode: str = "zeros",
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        dims = self._dims
        super().__init__(
            in_channels, out_channels, ntuple(kernel_size, dims), ntuple(stride, dims), ntuple(padding, dims),
            ntuple(dilation, dims), True, ntuple(output_padding, dims), groups, bias, padding_mode, device, dtype,
        )  # fmt: skip

    def _output_padding(self, input: Tensor, output_size: Any) -> tuple[int, ...]:
        """What to add at the far ends so that the output has the size asked for."""
        if output_size is None:
            return self.output_padding
        dims = self._dims
        sizes = output_size
        if len(sizes) == input.dim():
            sizes = sizes[-dims:]
        if len(sizes) != dims:
            raise ValueError(
                f"ConvTranspose{dims}D: for {input.dim()}D input, output_size must have {dims} or {input.dim()} "
                f"elements (got {len(sizes)})"
            )
        lows = [
            (input.size(at + input.dim() - dims) - 1) * self.stride[at]
            - 2 * self.padding[at]
            + self.dilation[at] * (self.kernel_size[at] - 1)
            + 1
            for at in range(dims)
        ]
        highs = [low + self.stride[at] - 1 for at, low in enumerate(lows)]
        if any(not low <= size <= high for low, size, high in zip(lows, sizes, highs, strict=False)):
            raise ValueError(
                f"requested an output size of {sizes}, but valid sizes range from {lows} to {highs} (for an input of "
                f"{input.size()[2:]})"
            )
        return tuple(size - low for size, low in zip(sizes, lows, strict=False))

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        return self._conv(
            input, self.weight, self.bias, self.stride, self.padding, self._output_padding(input, output_size),
            self.groups, self.dilation,
        )  # fmt: skip


class ConvTranspose1d(_ConvTransposeNd):
    """The transpose of a convolution over (N, C, L); the arguments are those of `ConvTranspose2d`."""

    _dims = 1
    _conv = staticmethod(ops.conv_transpose1d)


class ConvTranspose2d(_ConvTransposeNd):
    """The transpose of a convolution: as a convolution's gradient goes back, so its input goes forward.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: size of the kernel, one number or two.
        stride: step of the convolution.
        padding: what the convolution adds on all sides, and this takes away.
        output_padding: what is added at the far ends, where several sizes fit.
        groups: groups of channels that do not see each other.
        bias: whether a number is added to each channel.
        dilation: step inside the kernel.
        padding_mode: only "zeros".
        device: where the parameters are.
        dtype: of what kind they are.

    >>> import firesteel as fs
    >>> fs.nn.ConvTranspose2d(16, 8, 2, stride=2)(fs.zeros(1, 16, 7, 7)).shape
    torch.Size([1, 8, 14, 14])
    """

    _dims = 2
    _conv = staticmethod(ops.conv_transpose2d)


class ConvTranspose3d(_ConvTransposeNd):
    """The transpose of a convolution over (N, C, D, H, W); the arguments are those of `ConvTranspose2d`."""

    _dims = 3
    _conv = staticmethod(ops.conv_transpose3d)
