"""NAdam."""

from __future__ import annotations

import firesteel as fs
from firesteel import _C

from ._checks import check_betas, check_lr, check_not_negative
from .optimizer import ParameterOptimizer, scalar_tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["NAdam"]

Tensor = _C.Tensor


class NAdam(ParameterOptimizer):
    """NAdam (Dozat, Incorporating Nesterov momentum into Adam, 2016).

    Args:
        params: parameters, `(name, parameter)` pairs, or dicts of groups.
        lr: learning rate, a float or a tensor of one element.
        betas: decay of the average of the gradient and of that of its square.
        eps: added to the denominator.
        weight_decay: L2 penalty, added to the gradient.
        momentum_decay: how fast the momentum warms up.
        decoupled_weight_decay: shrink the parameter instead of adding to the gradient.
        foreach, capturable: accepted for PyTorch's sake, without effect.
        maximize: climb instead of descend.
        differentiable: must be False.

    Raises:
        ValueError: for an option out of its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        check_not_negative(eps, "epsilon value")
        check_betas(betas)
        check_not_negative(weight_decay, "weight_decay value")
        check_not_negative(momentum_decay, "momentum_decay value")
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _new_entry(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {
            "step": scalar_tensor(0),
            "mu_product": scalar_tensor(1),
            "exp_avg": fs.zeros_like(p),
            "exp_avg_sq": fs.zeros_like(p),
        }

    def _update_parameter(self, p: Tensor, grad: Tensor, entry: dict[str, Any], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        lr, decay = float(group["lr"]), group["weight_decay"]
        step = entry["step"].add_(1).item()
        if decay != 0:
            if group["decoupled_weight_decay"]:
                p.mul_(1 - lr * decay)
            else:
                grad = grad + p * decay
        mu = beta1 * (1.0 - 0.5 * 0.96 ** (step * group["momentum_decay"]))
        mu_next = beta1 * (1.0 - 0.5 * 0.96 ** ((step + 1) * group["momentum_decay"]))
        product = entry["mu_product"].mul_(mu).item()
        mean, square = entry["exp_avg"], entry["exp_avg_sq"]
        mean.lerp_(grad, 1 - beta1)
        square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        denominator = (square / (1 - beta2**step)).sqrt_().add_(group["eps"])
        p.addcdiv_(grad, denominator, value=-lr * (1.0 - mu) / (1.0 - product))
        p.addcdiv_(mean, denominator, value=-lr * mu_next / (1.0 - product * mu_next))
