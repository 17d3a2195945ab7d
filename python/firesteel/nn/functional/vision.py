"""Rearranging, unfolding and resizing of images."""

from __future__ import annotations

from firesteel import _C, ops

from .padding import pad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Tensor = _C.Tensor

__all__ = ["channel_shuffle", "fold", "native_channel_shuffle", "pixel_shuffle", "pixel_unshuffle", "unfold"]


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Moves channels into space: (*, C r², H, W) becomes (*, C, H r, W r).

    Args:
        input: (*, C r², H, W).
        upscale_factor: r.

    Raises:
        RuntimeError: if the channels are no multiple of r².
    """
    r = upscale_factor
    if input.dim() < 3:
        raise RuntimeError(
            f"pixel_shuffle expects input to have at least 3 dimensions, but got input with {input.dim()} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *lead, channels, height, width = input.shape
    if channels % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, "
            f"but input.size(-3)={channels} is not divisible by {r * r}"
        )
    n = len(lead)
    parts = input.reshape([*lead, channels // (r * r), r, r, height, width])
    parts = parts.permute([*range(n), n, n + 3, n + 1, n + 4, n + 2])
    return parts.reshape([*lead, channels // (r * r), height * r, width * r])


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Moves space into channels: (*, C, H r, W r) becomes (*, C r², H, W).

    Args:
        input: (*, C, H r, W r).
        downscale_factor: r.

    Raises:
        RuntimeError: if height or width are no multiple of r.
    """
    r = downscale_factor
    if input.dim() < 3:
        raise RuntimeError(
            "pixel_unshuffle expects input to have at least 3 dimensions, but got input with "
            f"{input.dim()} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *lead, channels, height, width = input.shape
    for name, size in (("height", height), ("width", width)):
        if size % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but "
                f"input.size({-2 if name == 'height' else -1})={size} is not divisible by {r}"
            )
    n = len(lead)
    parts = input.reshape([*lead, channels, height // r, r, width // r, r])
    parts = parts.permute([*range(n), n, n + 2, n + 4, n + 1, n + 3])
    return parts.reshape([*lead, channels * r * r, height // r, width // r])


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Deals the channels of each group out in turn.

    Args:
        input: (N, C, ...).
        groups: number of groups, a divisor of C.

    Raises:
        RuntimeError: if it is none.
    """
    if input.dim() < 3:
        raise RuntimeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}")
    if groups <= 0:
        raise RuntimeError(f"Number of groups to divide channels in must be positive. Value of groups:{groups}")
    samples, channels = input.shape[:2]
    if channels % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {channels} channels and {groups} groups."
        )
    parts = input.reshape([samples, groups, channels // groups, *input.shape[2:]])
    return parts.transpose(1, 2).reshape(list(input.shape))


native_channel_shuffle = channel_shuffle


def _pair(value: Any) -> list[int]:
    if isinstance(value, int):
        return [value, value]
    value = [int(n) for n in value]
    return value * 2 if len(value) == 1 else value


def _steps(size: list[int], kernel: list[int], dilation: list[int], stride: list[int]) -> tuple[int, ...]:
    """How many places the window has along each dimension."""
    return tuple((n - d * (k - 1) - 1) // s + 1 for n, k, d, s in zip(size, kernel, dilation, stride, strict=False))


def _places(size: list[int], kernel: list[int], dilation: list[int], stride: list[int]) -> tuple[Tensor, int]:
    """Where the values of every window lie in a flat image, kernel position by kernel position; and their number."""
    steps = _steps(size, kernel, dilation, stride)
    rows = ops.arange(kernel[0]).mul(dilation[0]).unsqueeze(1) + ops.arange(steps[0]).mul(stride[0])
    columns = ops.arange(kernel[1]).mul(dilation[1]).unsqueeze(1) + ops.arange(steps[1]).mul(stride[1])
    flat = rows.view(kernel[0], 1, steps[0], 1) * size[1] + columns.view(1, kernel[1], 1, steps[1])
    return flat.reshape(-1), steps[0] * steps[1]


def _check_windows(**values: list[int]) -> None:
    for name, pair in values.items():
        low = 0 if name == "padding" else 1
        if len(pair) != 2 or min(pair) < low:
            kind = "non-negative" if low == 0 else "greater than zero"
            raise RuntimeError(f"{name} should be {kind}, but got {name}: {pair}")


def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """Lays the windows of an image out as columns.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: window size.
        dilation: step inside the window.
        padding: zeros added on all sides.
        stride: step of the window.

    Returns:
        (N, C kh kw, L) or (C kh kw, L).

    Raises:
        RuntimeError: if no window fits.
    """
    kernel, dilation, padding, stride = _pair(kernel_size), _pair(dilation), _pair(padding), _pair(stride)
    _check_windows(kernel_size=kernel, dilation=dilation, padding=padding, stride=stride)
    if input.dim() not in (3, 4) or 0 in input.shape[-3:]:
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for "
            f"input, but got: {list(input.shape)}"
        )
    batched = input.dim() == 4
    image = input if batched else input.unsqueeze(0)
    if padding != [0, 0]:
        image = pad(image, [padding[1], padding[1], padding[0], padding[0]])
    samples, channels, height, width = image.shape
    if height < dilation[0] * (kernel[0] - 1) + 1 or width < dilation[1] * (kernel[1] - 1) + 1:
        raise RuntimeError(
            f"Given input with spatial size {tuple(input.shape[-2:])}, kernel_size={tuple(kernel)}, "
            f"dilation={tuple(dilation)}, padding={tuple(padding)}, calculated shape of the array of sliding blocks as "
            f"{_steps([height, width], kernel, dilation, stride)}, but its components must be at least one."
        )
    places, count = _places([height, width], kernel, dilation, stride)
    columns = image.flatten(2).index_select(2, places)
    columns = columns.reshape([samples, channels * kernel[0] * kernel[1], count])
    return columns if batched else columns.squeeze(0)


def fold(
    input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Adds columns up to an image: the transpose of `unfold`.

    Args:
        input: (N, C kh kw, L) or (C kh kw, L).
        output_size: height and width of the image.
        kernel_size: window size.
        dilation: step inside the window.
        padding: what `unfold` had added on all sides.
        stride: step of the window.

    Returns:
        (N, C, H, W) or (C, H, W).

    Raises:
        RuntimeError: if the number of columns or rows does not fit.
    """
    size = _pair(output_size)
    kernel, dilation, padding, stride = _pair(kernel_size), _pair(dilation), _pair(padding), _pair(stride)
    _check_windows(kernel_size=kernel, dilation=dilation, padding=padding, stride=stride, output_size=size)
    if input.dim() not in (2, 3) or 0 in input.shape[-2:]:
        raise RuntimeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for "
            f"input, but got: {list(input.shape)}"
        )
    batched = input.dim() == 3
    columns = input if batched else input.unsqueeze(0)
    samples, rows, count = columns.shape
    window = kernel[0] * kernel[1]
    if rows % window:
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={rows} and kernel_size={tuple(kernel)}."
        )
    height, width = size[0] + 2 * padding[0], size[1] + 2 * padding[1]
    places, expected = _places([height, width], kernel, dilation, stride)
    if count != expected or expected <= 0:
        raise RuntimeError(
            f"Given output_size={tuple(size)}, kernel_size={tuple(kernel)}, dilation={tuple(dilation)}, "
            f"padding={tuple(padding)}, stride={tuple(stride)}, expected size of input's dimension 2 to match the "
            f"calculated number of sliding blocks {expected}, but got input.size(2)={count}."
        )
    channels = rows // window
    flat = columns.reshape([samples, channels, window * count])
    image = columns.new_zeros([samples, channels, height * width]).index_add(2, places, flat)
    image = image.reshape([samples, channels, height, width])
    image = image[:, :, padding[0] : padding[0] + size[0], padding[1] : padding[1] + size[1]]
    return image if batched else image.squeeze(0)
