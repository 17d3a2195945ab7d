"""Adamax."""

from __future__ import annotations

import firesteel as fs
from firesteel import _C

from ._checks import check_betas, check_lr, check_not_negative
from .optimizer import ParameterOptimizer, scalar_tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["Adamax"]

Tensor = _C.Tensor


class Adamax(ParameterOptimizer):
    """Adamax (Kingma and Ba, 2014): Adam with the infinity norm, `u = max(b2 u, |g| + eps)`, as its scale.

    Args:
        params: parameters, `(name, parameter)` pairs, or dicts of groups.
        lr: learning rate, a float or a tensor of one element.
        betas: decay of the average of the gradient and of the norm.
        eps: added to the gradient's magnitude.
        weight_decay: L2 penalty, added to the gradient.
        foreach, capturable: accepted for PyTorch's sake, without effect.
        maximize: climb instead of descend.
        differentiable: must be False.

    Raises:
        ValueError: for an option out of its range.

    >>> import firesteel as fs
    >>> w = fs.tensor([1.0], requires_grad=True)
    >>> optimizer = fs.optim.Adamax([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> round(w.item(), 4)
    0.5
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_lr(lr)
        check_not_negative(eps, "epsilon value")
        check_betas(betas)
        check_not_negative(weight_decay, "weight_decay value")
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _new_entry(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": scalar_tensor(0), "exp_avg": fs.zeros_like(p), "exp_inf": fs.zeros_like(p)}

    def _update_parameter(self, p: Tensor, grad: Tensor, entry: dict[str, Any], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        step = entry["step"].add_(1).item()
        if group["weight_decay"] != 0:
            grad = grad + p * group["weight_decay"]
        mean, scale = entry["exp_avg"], entry["exp_inf"]
        mean.lerp_(grad, 1 - beta1)
        scale.copy_(fs.maximum(scale * beta2, grad.abs() + group["eps"]))
        p.addcdiv_(mean, scale, value=-float(group["lr"]) / (1 - beta1**step))
