"""Resilient backpropagation."""

from __future__ import annotations

import firesteel as fs
from firesteel import _C

from ._checks import check_lr
from .optimizer import ParameterOptimizer, scalar_tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["Rprop"]

Tensor = _C.Tensor


class Rprop(ParameterOptimizer):
    """Rprop (Riedmiller and Braun, 1993): each weight has its own step size, moved by the gradient's sign alone.

    Args:
        params: parameters, `(name, parameter)` pairs, or dicts of groups.
        lr: the first step size, a float or a tensor of one element.
        etas: factors for a gradient that changed its sign and for one that kept it.
        step_sizes: least and greatest step size.
        capturable, foreach: accepted for PyTorch's sake, without effect.
        maximize: climb instead of descend.
        differentiable: must be False.

    Raises:
        ValueError: for an option out of its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _new_entry(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        size = fs.full_like(p.detach(), float(group["lr"]))
        return {"step": scalar_tensor(0), "prev": fs.zeros_like(p), "step_size": size}

    def _update_parameter(self, p: Tensor, grad: Tensor, entry: dict[str, Any], group: dict[str, Any]) -> None:
        shrink, grow = group["etas"]
        least, greatest = group["step_sizes"]
        entry["step"].add_(1)
        previous, size = entry["prev"], entry["step_size"]
        agreement = grad * previous
        turned = agreement < 0
        factor = fs.ones_like(size).masked_fill_(agreement > 0, grow).masked_fill_(turned, shrink)
        size.mul_(factor).clamp_(least, greatest)
        # After a turn the step is left out once: the gradient counts as zero, now and as the next one's predecessor.
        grad = grad.masked_fill(turned, 0)
        p.addcmul_(grad.sign(), size, value=-1)
        previous.copy_(grad)
