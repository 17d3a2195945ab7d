"""Max pooling with windows of random places (Graham, arXiv 1412.6071)."""

from __future__ import annotations

from firesteel import _C, ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Tensor = _C.Tensor

__all__ = [
    "fractional_max_pool2d", "fractional_max_pool2d_with_indices", "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
]  # fmt: skip


def _tuple(value: Any, dims: int, kind: type = int) -> list[Any]:
    return [value] * dims if isinstance(value, (int, float)) else [kind(n) for n in value]


def _starts(sample: float, size: int, windows: int, kernel: int) -> list[int]:
    """Where the windows of one dimension begin: steps that vary around the mean, the last window at the end."""
    if windows == 1:
        return [size - kernel]
    alpha = (size - kernel) / (windows - 1)
    first = [int((at + sample) * alpha) - int(sample * alpha) for at in range(windows - 1)]
    return [*first, size - kernel]


def _pool(
    input: Tensor, kernel_size: Any, output_size: Any, output_ratio: Any, samples: Tensor | None, dims: int
) -> tuple[Tensor, Tensor]:
    name = f"fractional_max_pool{dims}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if input.dim() not in (dims + 1, dims + 2) or 0 in input.shape[-dims - 1 :]:
        raise RuntimeError(
            f"{name}(): Expected {dims + 1}D or {dims + 2}D tensor with non-zero sizes, but got: {list(input.shape)}"
        )
    spatial = list(input.shape[-dims:])
    if output_size is None:
        ratios = _tuple(output_ratio, dims, float)
        sizes = [int(n * ratio) for n, ratio in zip(spatial, ratios, strict=False)]
    else:
        sizes = _tuple(output_size, dims)
    kernel = _tuple(kernel_size, dims)
    if len(kernel) != dims or len(sizes) != dims:
        raise RuntimeError(f"{name}: kernel_size and output_size must either be a single int or tuple of {dims} ints")
    for size, window, count in zip(spatial, kernel, sizes, strict=False):
        if window <= 0 or count <= 0:
            raise RuntimeError(f"{name}: kernel_size and output_size must be greater than zero")
        if count + window - 1 > size:
            raise RuntimeError(f"{name}(): pool size ({window}) too large relative to input size ({size})")
    batched = input.dim() == dims + 2
    image = input if batched else input.unsqueeze(0)
    lead = list(image.shape[:2])
    if samples is None:
        samples = ops.empty([*lead, dims], dtype=input.dtype, device=input.device).uniform_(0, 1)
    # Flat positions of each window: (N * C, windows, values in a window).
    rows = []
    for row in samples.reshape([-1, dims])[: lead[0] * lead[1]].tolist():
        flat: Any = None
        for at in range(dims):
            # PyTorch gives the samples of two dimensions last one first, those of three first one first.
            starts = ops.tensor(_starts(row[1 - at if dims == 2 else at], spatial[at], sizes[at], kernel[at]))
            place = starts.unsqueeze(1) + ops.arange(kernel[at])
            if flat is None:
                flat = place
            else:
                flat = (flat.unsqueeze(1).unsqueeze(3) * spatial[at] + place.unsqueeze(0).unsqueeze(2)).reshape(
                    [flat.size(0) * place.size(0), flat.size(1) * place.size(1)]
                )
        rows.append(flat)
    shape = [*lead, *sizes] if batched else [lead[1], *sizes]
    if not rows:
        nothing = image[..., : sizes[0], : sizes[1]] if dims == 2 else image[..., : sizes[0], : sizes[1], : sizes[2]]
        return nothing.reshape(shape), ops.zeros(shape, dtype=_C.int64)
    count, window = rows[0].shape
    places = _C.stack(rows).reshape([*lead, count, window])
    values = image.flatten(2).gather(2, places.flatten(2)).reshape([*lead, count, window])
    top, found = values.max(-1)
    index = places.gather(-1, found.unsqueeze(-1)).squeeze(-1)
    return top.reshape(shape), index.reshape(shape)


def fractional_max_pool2d_with_indices(
    input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`fractional_max_pool2d`, and where the maxima are."""
    return _pool(input, kernel_size, output_size, output_ratio, _random_samples, 2)


def fractional_max_pool3d_with_indices(
    input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`fractional_max_pool3d`, and where the maxima are."""
    return _pool(input, kernel_size, output_size, output_ratio, _random_samples, 3)


def fractional_max_pool2d(
    input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:  # fmt: skip
    """The maxima of as many windows of (N, C, H, W) as asked for, at random places.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: window size.
        output_size: number of windows; or
        output_ratio: their number as a share of the size.
        return_indices: also return where the maxima are.

    Raises:
        ValueError: if neither size nor ratio is given.
    """
    found = _pool(input, kernel_size, output_size, output_ratio, _random_samples, 2)
    return found if return_indices else found[0]


def fractional_max_pool3d(
    input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:  # fmt: skip
    """The maxima of as many windows of (N, C, D, H, W) as asked for, at random places."""
    found = _pool(input, kernel_size, output_size, output_ratio, _random_samples, 3)
    return found if return_indices else found[0]
