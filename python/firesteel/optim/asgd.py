"""Averaged stochastic gradient descent."""

from __future__ import annotations

import firesteel as fs
from firesteel import _C

from ._checks import check_lr, check_not_negative
from .optimizer import ParameterOptimizer, scalar_tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["ASGD"]

Tensor = _C.Tensor


class ASGD(ParameterOptimizer):
    """Gradient descent that also keeps the average of its iterates, `state[p]["ax"]` (Polyak and Juditsky, 1992).

    Args:
        params: parameters, `(name, parameter)` pairs, or dicts of groups.
        lr: learning rate, a float or a tensor of one element.
        lambd: decay term.
        alpha: power of the rate's decay.
        t0: the step at which averaging begins.
        weight_decay: L2 penalty, added to the gradient.
        foreach, capturable: accepted for PyTorch's sake, without effect.
        maximize: climb instead of descend.
        differentiable: must be False.

    Raises:
        ValueError: for an option out of its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_lr(lr)
        check_not_negative(weight_decay, "weight_decay value")
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _new_entry(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {
            "step": scalar_tensor(0),
            "eta": scalar_tensor(group["lr"]),
            "mu": scalar_tensor(1),
            "ax": fs.zeros_like(p),
        }

    def _update_parameter(self, p: Tensor, grad: Tensor, entry: dict[str, Any], group: dict[str, Any]) -> None:
        lr, lambd = float(group["lr"]), group["lambd"]
        step = entry["step"].add_(1).item()
        if group["weight_decay"] != 0:
            grad = grad + p * group["weight_decay"]
        eta, mu, average = entry["eta"].item(), entry["mu"].item(), entry["ax"]
        p.mul_(1 - lambd * eta)
        p.sub_(grad, alpha=eta)
        if mu != 1:
            average.add_((p - average) * mu)
        else:
            average.copy_(p)
        entry["eta"].copy_(scalar_tensor(lr / (1 + lambd * lr * step) ** group["alpha"]))
        entry["mu"].copy_(scalar_tensor(1 / max(1, step - group["t0"])))
