"""Argument checks that the optimizers share, with PyTorch's messages."""

from __future__ import annotations

from firesteel import _C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Tensor = _C.Tensor


def check_lr(lr: Any) -> None:
    """Refuses a negative or NaN learning rate, and a tensor with more than one element."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not lr >= 0.0:
        raise ValueError(f"Invalid learning rate: {lr}")


def check_not_negative(value: Any, name: str) -> None:
    """Refuses a negative or NaN `value`; `name` is what PyTorch calls it in the message."""
    if not value >= 0.0:
        raise ValueError(f"Invalid {name}: {value}")


def check_betas(betas: tuple[Any, Any]) -> None:
    """Refuses betas outside [0, 1)."""
    for i in (0, 1):
        if not 0.0 <= betas[i] < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {betas[i]}")


def check_modes(foreach: bool | None, fused: bool | None, differentiable: bool) -> None:
    """Refuses the combinations of implementation switches that PyTorch refuses."""
    if fused:
        if differentiable:
            raise RuntimeError("`fused` does not support `differentiable`")
        if foreach:
            raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
