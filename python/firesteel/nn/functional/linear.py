"""Linear and bilinear maps and convolutions."""

from __future__ import annotations

from firesteel import _C, ops

Tensor = _C.Tensor

__all__ = [
    "bilinear", "conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "linear",
]  # fmt: skip

linear = _C.linear
conv1d = _C.conv1d
conv2d = _C.conv2d
conv3d = _C.conv3d
conv_transpose1d = ops.conv_transpose1d
conv_transpose2d = ops.conv_transpose2d
conv_transpose3d = ops.conv_transpose3d


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x1 A x2 + b` for each of the matrices A.

    Args:
        input1: (*, D1).
        input2: (*, D2).
        weight: (O, D1, D2).
        bias: (O,).

    Returns:
        (*, O).

    Raises:
        RuntimeError: if the shapes do not fit.
    """
    if input1.dim() != input2.dim() or input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            f"bilinear(): input batch dimensions do not match: got {list(input1.shape)} and {list(input2.shape)}"
        )
    outputs, first, second = weight.shape
    if input1.size(-1) != first or input2.size(-1) != second:
        raise RuntimeError(
            f"bilinear(): input sizes do not match weight sizes: got {input1.size(-1)} and {input2.size(-1)} but "
            f"expected {first} and {second}"
        )
    lead = list(input1.shape[:-1])
    rows1, rows2 = input1.reshape([-1, first]), input2.reshape([-1, second])
    # (O, B, D2): each matrix applied to all first inputs at once.
    mapped = _C.matmul(rows1, weight)
    output = (mapped * rows2).sum(-1).t()
    if bias is not None:
        output = output + bias
    return output.reshape([*lead, outputs])


def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """A convolution over time of (T, N, C) with a weight of (K, C, O)."""
    return _C.conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad).permute(2, 0, 1)
