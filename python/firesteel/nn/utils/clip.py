"""Limits on gradients."""

from __future__ import annotations

import math
import warnings

from firesteel import _C, ops
from firesteel.autograd import no_grad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]

Tensor = _C.Tensor


def _list(tensors: Any) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors seen as one vector.

    Args:
        tensors: of any shapes.
        norm_type: the norm, `inf` for the largest value.
        error_if_nonfinite: raise if it is not finite.
        foreach: accepted, changes nothing.

    Raises:
        RuntimeError: see `error_if_nonfinite`.

    >>> import firesteel as fs
    >>> get_total_norm([fs.tensor([3.0]), fs.tensor([4.0])])
    tensor(5.)
    """
    tensors = _list(tensors)
    norm_type = float(norm_type)
    if not tensors:
        return ops.tensor(0.0)
    with no_grad():
        norms = [tensor.norm(norm_type) for tensor in tensors]
        total = _C.stack([norm.to(norms[0].device) for norm in norms]).norm(norm_type)
    if error_if_nonfinite and not math.isfinite(float(total)):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be "
            "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return total


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scales gradients, in place, by `max_norm / total_norm` where that is below 1.

    Args:
        parameters: whose gradients.
        max_norm: the norm they are to have at most.
        total_norm: the norm they have.
        foreach: accepted, changes nothing.
    """
    with no_grad():
        factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
        for parameter in _list(parameters):
            if parameter.grad is not None:
                parameter.grad.mul_(factor.to(parameter.grad.device))


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scales the gradients of parameters, in place, so that their common norm is at most a limit.

    Args:
        parameters: whose gradients.
        max_norm: the limit.
        norm_type: the norm.
        error_if_nonfinite: raise if the norm is not finite.
        foreach: accepted, changes nothing.

    Returns:
        The norm before.

    >>> import firesteel as fs
    >>> p = fs.nn.Parameter(fs.zeros(2))
    >>> p.grad = fs.tensor([3.0, 4.0])
    >>> clip_grad_norm_([p], max_norm=1.0)
    tensor(5.)
    >>> p.grad
    tensor([0.6000, 0.8000])
    """
    if not isinstance(parameters, Tensor):
        parameters = list(parameters)
        if not parameters:
            warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=2)
    parameters = _list(parameters)
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    total = get_total_norm(grads, norm_type, error_if_nonfinite, foreach)
    if grads:
        clip_grads_with_norm_(parameters, max_norm, total, foreach)
    return total


def clip_grad_norm(*args: Any, **kwargs: Any) -> Tensor:
    """The older name of `clip_grad_norm_`."""
    warnings.warn(
        "torch.nn.utils.clip_grad_norm is now deprecated in favor of torch.nn.utils.clip_grad_norm_.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(*args, **kwargs)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Limits each value of the gradients of parameters, in place.

    Args:
        parameters: whose gradients.
        clip_value: values end up between minus this and this.
        foreach: accepted, changes nothing.
    """
    limit = float(clip_value)
    with no_grad():
        for parameter in _list(parameters):
            if parameter.grad is not None:
                parameter.grad.clamp_(min=-limit, max=limit)
