"""Adadelta."""

from __future__ import annotations

import firesteel as fs
from firesteel import _C

from ._checks import check_lr, check_not_negative
from .optimizer import GroupOptimizer, scalar_tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["Adadelta"]

Tensor = _C.Tensor


class Adadelta(GroupOptimizer):
    """Adadelta (Zeiler, 2012): steps in the parameter's own units, from running averages of gradients and steps.

    `s = rho s + (1 - rho) g²; d = sqrt(a + eps) / sqrt(s + eps) g; a = rho a + (1 - rho) d²; p -= lr d`

    Args:
        params: parameters, `(name, parameter)` pairs, or dicts of groups.
        lr: learning rate, a float or a tensor of one element.
        rho: decay of both averages.
        eps: added under both roots.
        weight_decay: L2 penalty, added to the gradient.
        foreach, capturable: accepted for PyTorch's sake; a step is one fused call in any case.
        maximize: climb instead of descend.
        differentiable: must be False.

    Raises:
        ValueError: for an option out of its range.

    >>> import firesteel as fs
    >>> w = fs.tensor([1.0], requires_grad=True)
    >>> optimizer = fs.optim.Adadelta([w], lr=100.0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> round(w.item(), 4)
    0.6838
    """

    _recordable = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_not_negative(eps, "epsilon value")
        check_not_negative(weight_decay, "weight_decay value")
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _new_entry(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": scalar_tensor(0), "square_avg": fs.zeros_like(p), "acc_delta": fs.zeros_like(p)}

    def _update_group(self, group: dict[str, Any]) -> None:
        params, grads, entries, fresh = self._entries(group)
        if not params:
            return
        self._record_group(group, [entry["step"] for entry in entries])
        _C._adadelta_step(
            params,
            grads,
            [entry["square_avg"] for entry in entries],
            [entry["acc_delta"] for entry in entries],
            float(group["lr"]),
            float(group["rho"]),
            float(group["eps"]),
            float(group["weight_decay"]),
            group["maximize"],
        )
        for entry in entries:
            entry["step"].add_(1)
        self._keep(fresh)
