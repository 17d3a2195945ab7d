"""Resizing by interpolation, and sampling at places that a grid names."""

from __future__ import annotations

import math
import warnings

from firesteel import _C, ops

from .pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Tensor = _C.Tensor

__all__ = ["interpolate", "upsample", "upsample_bilinear", "upsample_nearest"]

_LAST = {2: "channels_last", 3: "channels_last_3d"}
_DIMS = {"linear": 3, "bilinear": 4, "bicubic": 4, "trilinear": 5, "lanczos": 4}


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Changes the size of the spatial dimensions.

    Args:
        input: (N, C, L), (N, C, H, W) or (N, C, D, H, W).
        size: the new sizes; or
        scale_factor: what to multiply the sizes with.
        mode: "nearest", "nearest-exact", "linear" (3-D), "bilinear", "bicubic" (4-D), "trilinear" (5-D) or "area".
        align_corners: whether the corners' centres stay where they are.
        recompute_scale_factor: use the ratio of the rounded sizes instead of the given factor.
        antialias: smooth when making smaller; for "bilinear" and "bicubic".

    Raises:
        ValueError: if not exactly one of size and factor is given, or the two do not fit the input.
        NotImplementedError: if the mode does not fit the number of dimensions.

    >>> import firesteel as fs
    >>> fs.nn.functional.interpolate(fs.tensor([[[1.0, 2.0]]]), scale_factor=2)
    tensor([[[1., 1., 2., 2.]]])
    """
    if align_corners is not None and mode in ("nearest", "area", "nearest-exact"):
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
        )
    sizes, factors = _sizes(input, size, scale_factor, mode, recompute_scale_factor)
    dims = input.dim() - 2
    if antialias and not (mode in ("bilinear", "bicubic") and input.dim() == 4):
        raise ValueError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as input"
        )
    known = mode in ("nearest", "nearest-exact", "area") or mode in _DIMS
    if not known or not 1 <= dims <= 3:
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.dim()}D) for the modes: nearest | "
            f"linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact (got {mode})"
        )
    if mode in _DIMS and _DIMS[mode] != input.dim():
        raise NotImplementedError(f"Got {input.dim()}D input, but {mode} mode needs {_DIMS[mode]}D input")
    if mode == "lanczos":
        raise ValueError("Lanczos mode requires antialias=True")
    if 0 in input.shape[1:] or min(sizes) <= 0:
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input (H: {list(input.shape[2:])}) output "
            f"(H: {list(sizes)})"
        )
    if mode == "area":
        return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[dims - 1](input, sizes)
    if dims in _LAST and input.is_contiguous(_LAST[dims]) and not input.is_contiguous() and input.device.type != "gpu":
        # Where channels lie side by side the spatial dimensions come before them, and stay so.
        return _resized(input.movedim(1, -1), 1, sizes, factors, mode, bool(align_corners), antialias).movedim(-1, 1)
    return _resized(input, 2, sizes, factors, mode, bool(align_corners), antialias)


def _resized(
    input: Tensor, first: int, sizes: list[int], factors: list[float | None], mode: str, align: bool, antialias: bool
) -> Tensor:
    """The dimensions from `first` on in new sizes."""
    if mode.startswith("nearest") and first == 1:
        return _nearest_of_rows(input, sizes, factors, mode)
    along = _nearest if mode.startswith("nearest") else _smooth if antialias else _neighbours
    # The innermost dimension first: of few values many are made side by side, then whole rows.
    for at in reversed(range(len(sizes))):
        input = along(input, at + first, sizes[at], factors[at], mode, align)
    return input


def _sizes(
    input: Tensor, size: Any, scale_factor: Any, mode: str, recompute: bool | None
) -> tuple[list[int], list[float | None]]:
    """The new sizes, and the factors where they are to be used as they were given."""
    dims = input.dim() - 2
    shape = list(input.shape[2:])
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is not None:
        if recompute:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        if isinstance(size, (list, tuple)):
            if len(size) != dims:
                raise ValueError(
                    "Input and output must have the same number of spatial dimensions, but got input with spatial "
                    f"dimensions of {shape} and output size of {size}. Please provide input tensor in "
                    "(N, C, d1, d2, ...,dK) format and output size in (o1, o2, ...,oK) format."
                )
            if not all(hasattr(n, "__index__") for n in size):
                raise TypeError(
                    "expected size to be one of int or Tuple[int] or Tuple[int, int] or Tuple[int, int, int], but got "
                    f"size with types {[type(n) for n in size]}"
                )
            return [int(n) for n in size], [None] * dims
        return [int(size)] * dims, [None] * dims
    if scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    if isinstance(scale_factor, (list, tuple)):
        if len(scale_factor) != dims:
            raise ValueError(
                "Input and scale_factor must have the same number of spatial dimensions, but got input with spatial "
                f"dimensions of {shape} and scale_factor of shape {scale_factor}. Please provide input tensor in "
                "(N, C, d1, d2, ...,dK) format and scale_factor in (s1, s2, ...,sK) format."
            )
        factors: list[Any] = [float(f) for f in scale_factor]
    else:
        factors = [float(scale_factor)] * dims
    sizes = [math.floor(n * f) for n, f in zip(shape, factors, strict=False)]
    return sizes, [None] * dims if recompute or mode == "area" else factors


def _step(size: int, new: int, factor: float | None, align_corners: bool = False) -> float:
    """How far apart, in the input, two neighbours of the output are."""
    if align_corners:
        return (size - 1) / (new - 1) if new > 1 else 0.0
    return 1.0 / factor if factor is not None and factor > 0 else size / new


def _places(size: int, new: int, factor: float | None, mode: str) -> Tensor:
    """The nearest place in the input for each one of the output."""
    # In float32, as PyTorch computes it: ties fall as they do there.
    place = ops.arange(new, dtype=_C.float32)
    if mode == "nearest-exact":
        place = place + 0.5
    return (place * _step(size, new, factor)).floor().to(_C.int64).clamp(max=size - 1)


def _stays(size: int, new: int, mode: str) -> bool:
    return mode != "nearest-exact" and new == size


def _nearest(input: Tensor, dim: int, new: int, factor: float | None, mode: str, align: bool) -> Tensor:
    size = input.size(dim)
    if _stays(size, new, mode):
        return input if factor is None or factor == 1.0 else input.clone()
    return input.index_select(dim, _places(size, new, factor, mode))


def _nearest_of_rows(input: Tensor, sizes: list[int], factors: list[float | None], mode: str) -> Tensor:
    """Of dense (N, …, C), all dimensions between at once: whole rows of channels."""
    spatial = input.shape[1:-1]
    place: Any = None
    for size, new, factor in zip(spatial, sizes, factors, strict=True):
        here = ops.arange(new) if _stays(size, new, mode) else _places(size, new, factor, mode)
        place = here if place is None else (place.unsqueeze(1) * size + here).reshape(-1)
    return input.flatten(1, -2).index_select(1, place).reshape(input.shape[0], *sizes, input.shape[-1])


def _centres(size: int, new: int, factor: float | None, align: bool, input: Tensor) -> Tensor:
    """Where, in the input, the centres of the output's values lie."""
    dtype = _C.float64 if input.dtype == _C.float64 else _C.float32
    place = ops.arange(new, dtype=dtype)
    step = _step(size, new, factor, align)
    return place * step if align else (place + 0.5) * step - 0.5


def _column(weight: Tensor, input: Tensor, dim: int) -> Tensor:
    return weight.to(input.dtype).view([-1] + [1] * (input.dim() - dim - 1))


def _neighbours(input: Tensor, dim: int, new: int, factor: float | None, mode: str, align: bool) -> Tensor:
    size = input.size(dim)
    if new == size and (factor is None or factor == 1.0):
        return input
    if input.device.type == "gpu":
        return (_cubic if mode == "bicubic" else _linear)(input, dim, new, factor, align)
    kind = "cubic" if mode == "bicubic" else "linear"
    return _C._resize(input, dim, new, _step(size, new, factor, align), kind, align)


def _linear(input: Tensor, dim: int, new: int, factor: float | None, align: bool) -> Tensor:
    size = input.size(dim)
    place = _centres(size, new, factor, align, input).clamp(min=0)
    low = place.to(_C.int64).clamp(max=size - 1)
    high = (low + 1).clamp(max=size - 1)
    share = _column(place - low, input, dim)
    return input.index_select(dim, low) * (1 - share) + input.index_select(dim, high) * share


def _cubic(input: Tensor, dim: int, new: int, factor: float | None, align: bool) -> Tensor:
    size = input.size(dim)
    place = _centres(size, new, factor, align, input)
    low = place.floor()
    share = place - low
    low = low.to(_C.int64)
    output: Any = None
    for tap in range(-1, 3):
        weight = _column(cubic_weight((share - tap).abs(), -0.75), input, dim)
        part = input.index_select(dim, (low + tap).clamp(0, size - 1)) * weight
        output = part if output is None else output + part
    return output


def cubic_weight(distance: Tensor, a: float) -> Tensor:
    """The kernel of cubic convolution (Keys, 1981) at distances of at least 0."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((distance - 5) * distance + 8) * distance * a - 4 * a
    return _C.where(distance <= 1, near, _C.where(distance < 2, far, ops.zeros_like(far)))


def _smooth(input: Tensor, dim: int, new: int, factor: float | None, mode: str, align: bool) -> Tensor:
    """Resizing with a kernel as wide as the step, as PIL does it: a product with a matrix of weights."""
    size = input.size(dim)
    step = _step(size, new, factor, align)
    width = max(step, 1.0)
    support = (1.0 if mode == "bilinear" else 2.0) * width
    dtype = _C.float64 if input.dtype == _C.float64 else _C.float32
    centre = (ops.arange(new, dtype=dtype) + 0.5).mul(step).unsqueeze(1)
    first = (centre - support + 0.5).to(_C.int64).clamp(min=0)
    last = (centre + support + 0.5).to(_C.int64).clamp(max=size)
    place = ops.arange(size, dtype=dtype).unsqueeze(0)
    distance = ((place + 0.5 - centre) / width).abs()
    weight = (1 - distance).clamp(min=0) if mode == "bilinear" else cubic_weight(distance, -0.5)
    weight = weight.masked_fill((place < first) | (place >= last), 0)
    weight = (weight / weight.sum(1, keepdim=True)).to(input.dtype)
    return _C.matmul(input.transpose(dim, -1), weight.t()).transpose(dim, -1)


def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """The older name of `interpolate`."""
    warnings.warn("`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """The older name of `interpolate` with mode "nearest"."""
    warnings.warn(
        "`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2
    )
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """The older name of `interpolate` with mode "bilinear" and aligned corners."""
    warnings.warn(
        "`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2
    )
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)
