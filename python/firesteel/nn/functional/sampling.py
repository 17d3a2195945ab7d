"""Sampling an image at places that a grid names."""

from __future__ import annotations

import warnings

from firesteel import _C, ops
from firesteel.autograd.rows.resample import inside, places, values_at

from .resize import cubic_weight

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

Tensor = _C.Tensor

__all__ = ["affine_grid", "grid_sample"]


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The grid for `grid_sample` that an affine map makes.

    Args:
        theta: (N, 2, 3) or (N, 3, 4), the maps.
        size: (N, C, H, W) or (N, C, D, H, W), the size of the image to make.
        align_corners: whether -1 and 1 are the centres of the outermost values rather than their edges.

    Returns:
        (N, H, W, 2) or (N, D, H, W, 3).

    Raises:
        ValueError: if the maps are not of floating point numbers or do not fit the size.
    """
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please "
            "specify align_corners=True if the old behavior is desired. See the documentation of grid_sample for "
            "details.",
            stacklevel=2,
        )
        align_corners = False
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    dims = len(size) - 2
    if dims not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. "
            f"Got size {tuple(size)}."
        )
    if theta.dim() != 3 or theta.shape[-2:] != (dims, dims + 1):
        raise ValueError(
            f"Expected a batch of {dims}D affine matrices of shape Nx{dims}x{dims + 1} for size {tuple(size)}. "
            f"Got {theta.shape}."
        )
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {tuple(size)}")
    spatial = list(size[2:])
    axes = []
    for at in reversed(range(dims)):
        steps = spatial[at]
        line = (ops.arange(steps, dtype=theta.dtype) * 2 + 1) / steps - 1
        if align_corners:
            line = ops.arange(steps, dtype=theta.dtype) * (2 / (steps - 1)) - 1 if steps > 1 else line * 0
        axes.append(line.view([-1 if i == at else 1 for i in range(dims)]).expand(spatial))
    axes.append(ops.ones(spatial, dtype=theta.dtype))
    base = _C.stack(axes, -1).reshape([1, -1, dims + 1])
    return _C.matmul(base, theta.transpose(1, 2)).reshape([size[0], *spatial, dims])


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """The values of an image at places between -1 and 1.

    Args:
        input: (N, C, H, W) or (N, C, D, H, W).
        grid: (N, Ho, Wo, 2) or (N, Do, Ho, Wo, 3), the places as (x, y) or (x, y, z).
        mode: "bilinear", "nearest" or (4-D only) "bicubic".
        padding_mode: what lies outside: "zeros", "border" or "reflection".
        align_corners: whether -1 and 1 are the centres of the outermost values rather than their edges.

    Returns:
        (N, C, Ho, Wo) or (N, C, Do, Ho, Wo).

    Raises:
        ValueError: for an unknown mode.
        RuntimeError: if the shapes do not fit.
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', "
            f"but got: '{padding_mode}'"
        )
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please "
            "specify align_corners=True if the old behavior is desired. See the documentation of grid_sample for "
            "details.",
            stacklevel=2,
        )
        align_corners = False
    dims = input.dim() - 2
    if dims not in (2, 3) or grid.dim() != input.dim():
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but got input with "
            f"sizes {list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if input.size(0) != grid.size(0):
        raise RuntimeError(
            "grid_sampler(): expected grid and input to have same batch size, but got input with sizes "
            f"{list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if grid.size(-1) != dims:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {dims} in last dimension, but got grid with sizes "
            f"{list(grid.shape)}"
        )
    if mode == "bicubic" and dims == 3:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    if 0 in input.shape[2:]:
        raise RuntimeError(
            "grid_sampler(): expected input to have non-empty spatial dimensions, but input has sizes "
            f"{list(input.shape)}"
        )
    if mode == "bicubic":
        return _bicubic(input, grid, padding_mode, align_corners)
    return _C._grid_sample(input, grid, mode, padding_mode, bool(align_corners))


def _bicubic(input: Tensor, grid: Tensor, padding_mode: str, align: bool) -> Tensor:
    sizes = list(input.shape[2:])
    at = places(grid, sizes, align)
    low = [place.detach().floor() for place in at]
    share = [place - floor for place, floor in zip(at, low, strict=False)]
    output: Any = None
    for row in range(-1, 3):
        for column in range(-1, 3):
            corner = [low[0] + row, low[1] + column]
            corner = [inside(place, size, padding_mode, align) for place, size in zip(corner, sizes, strict=False)]
            weight = cubic_weight((share[0] - row).abs(), -0.75) * cubic_weight((share[1] - column).abs(), -0.75)
            part = values_at(input, corner, sizes) * weight.unsqueeze(1)
            output = part if output is None else output + part
    return output
