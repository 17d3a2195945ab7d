"""Normalisation of activations."""

from __future__ import annotations

from firesteel import _C, ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

Tensor = _C.Tensor

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "normalize", "rms_norm"]


def _check_batch(shape: tuple[int, ...]) -> None:
    values = shape[0] if shape else 0
    for size in shape[2:]:
        values *= size
    if values == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {shape}")


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalises each channel over the batch, or with running averages.

    Args:
        input: (N, C, ...).
        running_mean: (C,), updated in place when training.
        running_var: (C,), updated in place when training.
        weight: (C,), the factor after normalising.
        bias: (C,), added last.
        training: use the batch's own mean and variance.
        momentum: the new values' share in the running averages.
        eps: added to the variance.

    Raises:
        ValueError: if there is but one value per channel to train with, or `eps` is not positive.
    """
    if training:
        _check_batch(input.shape)
    if eps <= 0:
        raise ValueError(f"batch_norm eps must be positive, but got {eps}")
    return _C.batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalises each channel of each sample.

    Args:
        input: (N, C, ...).
        running_mean: (C,), updated in place with `use_input_stats`, else used.
        running_var: (C,), likewise.
        weight: (C,), the factor after normalising.
        bias: (C,), added last.
        use_input_stats: use the sample's own mean and variance.
        momentum: the new values' share in the running averages.
        eps: added to the variance.

    Raises:
        ValueError: if there is but one value per channel.
    """
    shape = list(input.shape)
    if use_input_stats:
        values = 1
        for size in shape[2:]:
            values *= size
        if values == 1:
            raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.shape}")
    elif running_mean is None or running_var is None:
        raise RuntimeError("Expected running_mean and running_var to be defined when use_input_stats is false")
    if not use_input_stats:
        return _C.batch_norm(input, weight, bias, running_mean, running_var, False, momentum, eps)
    samples, channels = shape[:2]
    if running_mean is None and running_var is None and channels:
        # Groups of one channel.
        return _C.group_norm(input, channels, weight, bias, eps)

    def repeated(tensor: Tensor | None) -> Any:
        return None if tensor is None else tensor.repeat(samples)

    mean, var = repeated(running_mean), repeated(running_var)
    flat = input.contiguous().view([1, samples * channels, *shape[2:]])
    output = _C.batch_norm(flat, repeated(weight), repeated(bias), mean, var, True, momentum, eps)
    for running, seen in ((running_mean, mean), (running_var, var)):
        if running is not None:
            running.copy_(seen.view(samples, channels).mean(0))
    return output.view(shape)


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalises over the last dimensions.

    Args:
        input: (..., *normalized_shape).
        normalized_shape: sizes of the dimensions to normalise over.
        weight: of that shape, the factor after normalising.
        bias: of that shape, added last.
        eps: added to the variance.

    >>> import firesteel as fs
    >>> fs.nn.functional.layer_norm(fs.tensor([[0.0, 2.0]]), [2], eps=0.0)
    tensor([[-1.,  1.]])
    """
    return _C.layer_norm(input, normalized_shape, weight, bias, eps)


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Divides by the root of the mean square over the last dimensions.

    Args:
        input: (..., *normalized_shape).
        normalized_shape: sizes of the dimensions to normalise over.
        weight: of that shape, the factor after normalising.
        eps: added to the mean square; by default the dtype's own.
    """
    return ops.rms_norm(input, normalized_shape, weight, eps)


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalises groups of channels of each sample.

    Args:
        input: (N, C, ...).
        num_groups: number of groups, a divisor of C.
        weight: (C,), the factor after normalising.
        bias: (C,), added last.
        eps: added to the variance.
    """
    if input.dim() < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.dim()}")
    if num_groups > 0 and input.shape[1] % num_groups == 0:
        _check_batch((input.shape[0] * input.shape[1] // num_groups, num_groups, *input.shape[2:]))
    return _C.group_norm(input, num_groups, weight, bias, eps)


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Divides by a power of the mean square over neighbouring channels (Krizhevsky et al., 2012).

    Args:
        input: (N, C, ...).
        size: number of neighbouring channels.
        alpha: factor of the mean square.
        beta: exponent.
        k: added before the power.

    Raises:
        ValueError: if the input has fewer than three dimensions.
    """
    if input.dim() < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {input.dim()} dimensions)")
    if input.numel() == 0:
        return input
    from .padding import pad

    flat = input.square().reshape(input.shape[0], 1, input.shape[1], -1)
    square = pad(flat, [0, 0, size // 2, (size - 1) // 2])
    mean = _C.avg_pool2d(square, [size, 1], [1, 1]).reshape(input.shape)
    return input / (mean * alpha + k).pow(beta)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """Divides by the p-norm along a dimension.

    Args:
        input: any shape.
        p: the norm.
        dim: the dimension, or several.
        eps: smallest divisor.
        out: where to put the result.

    >>> import firesteel as fs
    >>> fs.nn.functional.normalize(fs.tensor([3.0, 4.0]), dim=0)
    tensor([0.6000, 0.8000])
    """
    divisor = input.norm(p, dim, keepdim=True).clamp(min=eps).expand_as(input)
    return input / divisor if out is None else _C.div(input, divisor, out=out)
