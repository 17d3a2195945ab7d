"""RMSprop."""

from __future__ import annotations

import firesteel as fs
from firesteel import _C

from ._checks import check_lr, check_not_negative
from .optimizer import GroupOptimizer, scalar_tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["RMSprop"]

Tensor = _C.Tensor


class RMSprop(GroupOptimizer):
    """RMSprop (Hinton's lecture notes): the gradient over the root of the running average of its square.

    `s = alpha s + (1 - alpha) g²; p -= lr g / (sqrt(s) + eps)`

    Args:
        params: parameters, `(name, parameter)` pairs, or dicts of groups.
        lr: learning rate, a float or a tensor of one element.
        alpha: decay of the average of squares.
        eps: added to the denominator.
        weight_decay: L2 penalty, added to the gradient.
        momentum: how much of the last step is kept.
        centered: subtract the square of the average gradient from `s` (Graves, 2013).
        capturable, foreach: accepted for PyTorch's sake; a step is one fused call in any case.
        maximize: climb instead of descend.
        differentiable: must be False.

    Raises:
        ValueError: for an option out of its range.

    >>> import firesteel as fs
    >>> w = fs.tensor([1.0], requires_grad=True)
    >>> optimizer = fs.optim.RMSprop([w], lr=0.05)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> round(w.item(), 4)
    0.5
    """

    _recordable = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        check_not_negative(eps, "epsilon value")
        check_not_negative(momentum, "momentum value")
        check_not_negative(weight_decay, "weight_decay value")
        check_not_negative(alpha, "alpha value")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _new_entry(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        entry = {"step": scalar_tensor(0), "square_avg": fs.zeros_like(p)}
        if group["momentum"] > 0:
            entry["momentum_buffer"] = fs.zeros_like(p)
        if group["centered"]:
            entry["grad_avg"] = fs.zeros_like(p)
        return entry

    def _update_group(self, group: dict[str, Any]) -> None:
        params, grads, entries, fresh = self._entries(group)
        if not params:
            return
        self._record_group(group, [entry["step"] for entry in entries])
        _C._rmsprop_step(
            params,
            grads,
            [entry["square_avg"] for entry in entries],
            [entry["momentum_buffer"] for entry in entries] if group["momentum"] > 0 else [],
            [entry["grad_avg"] for entry in entries] if group["centered"] else [],
            float(group["lr"]),
            float(group["alpha"]),
            float(group["eps"]),
            float(group["weight_decay"]),
            float(group["momentum"]),
            group["maximize"],
        )
        for entry in entries:
            entry["step"].add_(1)
        self._keep(fresh)
