"""Pooling over windows of one, two and three spatial dimensions."""

from __future__ import annotations

from firesteel import _C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Tensor = _C.Tensor

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices", "adaptive_max_pool2d", "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d", "adaptive_max_pool3d_with_indices", "avg_pool1d", "avg_pool2d", "avg_pool3d",
    "lp_pool1d", "lp_pool2d", "lp_pool3d", "max_pool1d", "max_pool1d_with_indices", "max_pool2d",
    "max_pool2d_with_indices", "max_pool3d", "max_pool3d_with_indices", "max_unpool1d", "max_unpool2d", "max_unpool3d",
]  # fmt: skip


def _stride(stride: Any) -> Any:
    return [] if stride is None else stride


def _keeps_places(input: Tensor, kernel_size: Any, stride: Any) -> bool:
    """Whether the backward pass needs less time with the maxima's places than to find them again: for all windows but
    those 2 or 3 wide and 2 apart, which are found again as fast as memory is read."""
    if not (isinstance(input, Tensor) and input.requires_grad and _C.is_grad_enabled()):
        return False
    wide, step = (v if isinstance(v, int) or not v else v[-1] for v in (kernel_size, stride))
    return not (wide in (2, 3) and (step or wide) == 2)


def _max_pool(
    pools: Any, input: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, wanted: bool
) -> Any:
    """By the first of `pools`, or with places, which are `wanted` or kept, by the second."""
    alone, with_places = pools
    args = (input, kernel_size, _stride(stride), padding, dilation, ceil_mode)
    if wanted:
        return with_places(*args)
    return with_places(*args)[0] if _keeps_places(input, kernel_size, stride) else alone(*args)


def _per_dim(value: Any, dims: int) -> list[int]:
    if isinstance(value, int):
        return [value] * dims
    value = list(value)
    return value * dims if len(value) == 1 else value


def max_pool1d_with_indices(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The maximum of each window and where it is, counted within its channel.

    Args:
        input: (N, C, L) or (C, L).
        kernel_size: window size.
        stride: step, by default the window size.
        padding: added at both ends, never the maximum.
        dilation: step inside the window.
        ceil_mode: whether a last, partial window counts.
        return_indices: unused; the indices are always returned.
    """
    return _C.max_pool1d_with_indices(input, kernel_size, _stride(stride), padding, dilation, ceil_mode)


def max_pool2d_with_indices(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The maximum of each window of (N, C, H, W) and where it is; see `max_pool1d_with_indices`."""
    return _C.max_pool2d_with_indices(input, kernel_size, _stride(stride), padding, dilation, ceil_mode)


def max_pool3d_with_indices(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The maximum of each window of (N, C, D, H, W) and where it is; see `max_pool1d_with_indices`."""
    return _C.max_pool3d_with_indices(input, kernel_size, _stride(stride), padding, dilation, ceil_mode)


def max_pool1d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The maximum of each window.

    Args:
        input: (N, C, L) or (C, L).
        kernel_size: window size.
        stride: step, by default the window size.
        padding: added at both ends, never the maximum.
        dilation: step inside the window.
        ceil_mode: whether a last, partial window counts.
        return_indices: also return where the maxima are.

    >>> import firesteel as fs
    >>> fs.nn.functional.max_pool1d(fs.tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
    tensor([[3., 2.]])
    """
    pools = (_C.max_pool1d, _C.max_pool1d_with_indices)
    return _max_pool(pools, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The maximum of each window of (N, C, H, W) or (C, H, W); see `max_pool1d`."""
    pools = (_C.max_pool2d, _C.max_pool2d_with_indices)
    return _max_pool(pools, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The maximum of each window of (N, C, D, H, W) or (C, D, H, W); see `max_pool1d`."""
    pools = (_C.max_pool3d, _C.max_pool3d_with_indices)
    return _max_pool(pools, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def avg_pool1d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:  # fmt: skip
    """The mean of each window.

    Args:
        input: (N, C, L) or (C, L).
        kernel_size: window size.
        stride: step, by default the window size.
        padding: zeros added at both ends.
        ceil_mode: whether a last, partial window counts.
        count_include_pad: whether padding counts in the divisor.
    """
    return _C.avg_pool1d(input, kernel_size, _stride(stride), padding, ceil_mode, count_include_pad)


def avg_pool2d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """The mean of each window of (N, C, H, W) or (C, H, W); `divisor_override` replaces the window's size."""
    return _C.avg_pool2d(input, kernel_size, _stride(stride), padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """The mean of each window of (N, C, D, H, W) or (C, D, H, W); `divisor_override` replaces the window's size."""
    return _C.avg_pool3d(input, kernel_size, _stride(stride), padding, ceil_mode, count_include_pad, divisor_override)


def _wanted(input: Tensor, output_size: Any, dims: int) -> list[int]:
    """The output sizes as numbers: None means the input's."""
    if isinstance(output_size, int):
        return [output_size] * dims
    sizes = list(output_size)
    if len(sizes) >= input.dim():
        raise ValueError(f"Input dimension should be at least {len(sizes) + 1}")
    if len(sizes) == 1:
        sizes = sizes * dims
    return [have if want is None else want for want, have in zip(sizes, input.shape[-len(sizes) :], strict=False)]


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Means over as many windows as asked for.

    Args:
        input: (N, C, L) or (C, L).
        output_size: number of windows.
    """
    return _C.adaptive_avg_pool1d(input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Means over as many windows as asked for, of (N, C, H, W); None keeps a size.

    >>> import firesteel as fs
    >>> fs.nn.functional.adaptive_avg_pool2d(fs.ones(2, 3, 7, 5), 1).shape
    torch.Size([2, 3, 1, 1])
    """
    return _C.adaptive_avg_pool2d(input, _wanted(input, output_size, 2))


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Means over as many windows as asked for, of (N, C, D, H, W); None keeps a size."""
    return _C.adaptive_avg_pool3d(input, _wanted(input, output_size, 3))


def adaptive_max_pool1d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """Maxima over as many windows as asked for, and where they are, of (N, C, L)."""
    return _C.adaptive_max_pool1d(input, output_size)


def adaptive_max_pool2d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """Maxima over as many windows as asked for, and where they are, of (N, C, H, W)."""
    return _C.adaptive_max_pool2d(input, _wanted(input, output_size, 2))


def adaptive_max_pool3d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """Maxima over as many windows as asked for, and where they are, of (N, C, D, H, W)."""
    return _C.adaptive_max_pool3d(input, _wanted(input, output_size, 3))


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima over as many windows as asked for, of (N, C, L)."""
    found = adaptive_max_pool1d_with_indices(input, output_size)
    return found if return_indices else found[0]


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima over as many windows as asked for, of (N, C, H, W); None keeps a size."""
    found = adaptive_max_pool2d_with_indices(input, output_size)
    return found if return_indices else found[0]


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima over as many windows as asked for, of (N, C, D, H, W); None keeps a size."""
    found = adaptive_max_pool3d_with_indices(input, output_size)
    return found if return_indices else found[0]


def _lp_pool(input: Tensor, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool, dims: int) -> Tensor:
    average = (avg_pool1d, avg_pool2d, avg_pool3d)[dims - 1]
    kernel = _per_dim(kernel_size, dims)
    if stride is not None:
        stride = _per_dim(stride, dims)
    count = 1
    for size in kernel:
        count *= size
    mean = average(input.pow(norm_type), kernel, stride, 0, ceil_mode)
    return (_C.sign(mean) * _C.relu(mean.abs())).mul(count).pow(1.0 / norm_type)


def lp_pool1d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """The p-norm of each window of (N, C, L).

    Args:
        input: (N, C, L) or (C, L).
        norm_type: p.
        kernel_size: window size.
        stride: step, by default the window size.
        ceil_mode: whether a last, partial window counts.
    """
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 1)


def lp_pool2d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """The p-norm of each window of (N, C, H, W)."""
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 2)


def lp_pool3d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """The p-norm of each window of (N, C, D, H, W)."""
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 3)


def _unpool(
    input: Tensor, indices: Tensor, kernel_size: Any, stride: Any, padding: Any, output_size: Any, dims: int
) -> Tensor:
    kernel, padding = _per_dim(kernel_size, dims), _per_dim(padding, dims)
    stride = kernel if stride is None else _per_dim(stride, dims)
    spatial = input.shape[-dims:]
    default = [(n - 1) * s + k - 2 * p for n, s, k, p in zip(spatial, stride, kernel, padding, strict=False)]
    if output_size is None:
        sizes = default
    else:
        sizes = list(output_size)
        if len(sizes) == dims + 2:
            sizes = sizes[2:]
        if len(sizes) != dims:
            raise ValueError(
                f"output_size should be a sequence containing {dims} or {dims + 2} elements, but it has a length of "
                f"'{len(sizes)}'"
            )
        for at in range(dims):
            low, high = default[at] - stride[at], default[at] + stride[at]
            if not low < sizes[at] < high:
                raise ValueError(f"invalid output_size '{sizes}' (dim {at} must be between {low} and {high})")
    if indices.dtype != _C.int64:
        raise RuntimeError(f"elements in indices should be type int64 but got: {indices.dtype}")
    if indices.shape != input.shape:
        raise RuntimeError(
            f"Expected shape of indices to be same as that of the input tensor ({list(input.shape)}) "
            f"but got indices tensor with shape: {list(indices.shape)}"
        )
    lead = list(input.shape[:-dims])
    total = 1
    for size in sizes:
        total *= size
    flat = input.new_zeros([*lead, total]).scatter(-1, indices.flatten(-dims), input.flatten(-dims))
    return flat.reshape(lead + sizes)


def max_unpool1d(
    input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """Puts the maxima of a pooling back where they were, with zeros around them.

    Args:
        input: (N, C, L) or (C, L): the maxima.
        indices: where they were, as the pooling returned it.
        kernel_size: the pooling's window size.
        stride: the pooling's step.
        padding: the pooling's padding.
        output_size: the size to make, where several fit.
    """
    return _unpool(input, indices, kernel_size, stride, padding, output_size, 1)


def max_unpool2d(
    input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """Puts the maxima of a pooling of (N, C, H, W) back where they were; see `max_unpool1d`."""
    return _unpool(input, indices, kernel_size, stride, padding, output_size, 2)


def max_unpool3d(
    input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """Puts the maxima of a pooling of (N, C, D, H, W) back where they were; see `max_unpool1d`."""
    return _unpool(input, indices, kernel_size, stride, padding, output_size, 3)
