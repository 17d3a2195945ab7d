"""Adagrad."""

from __future__ import annotations

import firesteel as fs
from firesteel import _C

from ._checks import check_lr, check_modes, check_not_negative
from .optimizer import GroupOptimizer, scalar_tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["Adagrad"]

Tensor = _C.Tensor


class Adagrad(GroupOptimizer):
    """Adagrad (Duchi, Hazan and Singer, 2011): the gradient over the root of the sum of its squares so far.

    `s += g²; p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)`

    Args:
        params: parameters, `(name, parameter)` pairs, or dicts of groups.
        lr: learning rate, a float or a tensor of one element.
        lr_decay: how fast the rate falls with the number of steps.
        weight_decay: L2 penalty, added to the gradient.
        initial_accumulator_value: where the sum of squares starts.
        eps: added to the denominator.
        foreach, fused: accepted for PyTorch's sake; a step is one fused call in any case.
        maximize: climb instead of descend.
        differentiable: must be False.

    Raises:
        ValueError: for an option out of its range.

    >>> import firesteel as fs
    >>> w = fs.tensor([1.0], requires_grad=True)
    >>> optimizer = fs.optim.Adagrad([w], lr=0.5)
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
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr)
        check_not_negative(lr_decay, "lr_decay value")
        check_not_negative(weight_decay, "weight_decay value")
        check_not_negative(initial_accumulator_value, "initial_accumulator_value value")
        check_not_negative(eps, "epsilon value")
        check_modes(foreach, fused, differentiable)
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            self._keep([(p, self._new_entry(p, group)) for p in group["params"]])

    def _new_entry(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        start = group["initial_accumulator_value"]
        return {"step": scalar_tensor(0), "sum": fs.full_like(p.detach(), start)}

    def _update_group(self, group: dict[str, Any]) -> None:
        params, grads, entries, fresh = self._entries(group)
        if not params:
            return
        counters = [entry["step"] for entry in entries]
        self._record_group(group, counters)
        _C._adagrad_step(
            params,
            grads,
            [entry["sum"] for entry in entries],
            _C._next_counts(counters),
            float(group["lr"]),
            float(group["lr_decay"]),
            float(group["weight_decay"]),
            float(group["eps"]),
            group["maximize"],
        )
        for counter in counters:
            counter.add_(1)
        self._keep(fresh)
