"""Padding: more room around a tensor."""

from __future__ import annotations

from firesteel import _C, ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

Tensor = _C.Tensor

__all__ = ["pad"]


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Adds to the ends of dimensions, or with negative numbers takes away.

    Args:
        input: any shape; (N, C, ...) or (C, ...) for the modes that copy values.
        pad: two numbers for each padded dimension, the last dimension first.
        mode: "constant", "reflect", "replicate" or "circular".
        value: what a constant padding consists of, 0 by default.

    Raises:
        RuntimeError: if the numbers do not fit the shape.
        NotImplementedError: for an unknown mode or number of dimensions.

    >>> import firesteel as fs
    >>> fs.nn.functional.pad(fs.tensor([1.0, 2.0]), (1, 2))
    tensor([0., 1., 2., 0., 0.])
    """
    pad = [int(n) for n in pad]
    if len(pad) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(pad) // 2 > input.dim():
        raise RuntimeError(
            f"Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(pad)} and input of dimension {input.dim()}"
        )
    if mode == "constant":
        return ops.constant_pad_nd(input, pad, 0 if value is None else value)
    if value is not None and value != 0:
        raise ValueError(f"Padding mode '{mode}' doesn't take in value argument")
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    dims = len(pad) // 2
    if input.dim() not in (dims + 1, dims + 2) or not 1 <= dims <= 3:
        raise NotImplementedError("Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now")
    for at in range(dims):
        before, after = pad[2 * at], pad[2 * at + 1]
        if before or after:
            dim = input.dim() - 1 - at
            _check(input, mode, input.size(dim), before, after, dim)
    if input.device.type == "gpu" or 0 in input.shape:
        return pad_by_copying(input, pad, mode)
    return _C._pad_edges(input, pad, mode)


def pad_by_copying(input: Tensor, pad: list[int], mode: str) -> Tensor:
    """Pads with values of the input itself, one dimension after the other: where there is no kernel."""
    for at in range(len(pad) // 2):
        before, after = pad[2 * at], pad[2 * at + 1]
        if before == 0 and after == 0:
            continue
        dim = input.dim() - 1 - at
        size = input.size(dim)
        place = ops.arange(-before, size + after, device=input.device)
        if mode == "circular":
            # What negative numbers take away is gone before the rest is wrapped around.
            start = max(-before, 0)
            kept = size - start - max(-after, 0)
            place = (place - start).remainder(kept) + start
        elif mode == "replicate":
            place = place.clamp(0, size - 1)
        else:
            place = (size - 1) - (place.abs() - (size - 1)).abs()
        input = input.index_select(dim, place)
    return input


def _check(input: Tensor, mode: str, size: int, before: int, after: int, dim: int) -> None:
    shape = list(input.shape)
    if size == 0:
        raise RuntimeError(f"{mode} padding: expected a non-empty dimension {dim}, but got: {shape}")
    if mode == "reflect" and (before >= size or after >= size):
        raise RuntimeError(
            "Argument #4: Padding size should be less than the corresponding input dimension, but got: padding "
            f"({before}, {after}) at dimension {dim} of input {shape}"
        )
    if mode == "circular" and (before > size or after > size):
        raise RuntimeError("Padding value causes wrapping around more than once.")
    if size + before + after < 1:
        raise RuntimeError(
            f"input (size: {size}) at dimension {dim} is too small for padding ({before}, {after}) of input {shape}"
        )
