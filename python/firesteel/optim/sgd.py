"""Stochastic gradient descent."""

from __future__ import annotations

import firesteel as fs
from firesteel import _C

from ._checks import check_lr, check_modes, check_not_negative
from .optimizer import GroupOptimizer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["SGD"]


class SGD(GroupOptimizer):
    """Stochastic gradient descent, with momentum where asked: `b = momentum b + (1 - dampening) g; p -= lr b`.

    The first `b` is the gradient itself; with `nesterov` the step follows `g + momentum b`
    (Sutskever et al., On the importance of initialization and momentum in deep learning, 2013).

    Args:
        params: parameters, `(name, parameter)` pairs, or dicts of groups.
        lr: learning rate, a float or a tensor of one element.
        momentum: how much of the last step is kept.
        dampening: what the gradient loses before it enters the momentum.
        weight_decay: L2 penalty, added to the gradient as `weight_decay * p`.
        nesterov: look ahead along the momentum.
        maximize: climb instead of descend.
        foreach, fused: accepted for PyTorch's sake; a step is one fused call in any case.
        differentiable: must be False.

    Raises:
        ValueError: for a negative rate, momentum or decay, and for `nesterov` without momentum or with dampening.

    >>> import firesteel as fs
    >>> w = fs.tensor([1.0], requires_grad=True)
    >>> optimizer = fs.optim.SGD([w], lr=0.25, momentum=0.5)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     (w * w).sum().backward()
    ...     optimizer.step()
    >>> w.tolist()
    [0.0]
    """

    _recordable = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr)
        check_not_negative(momentum, "momentum value")
        check_not_negative(weight_decay, "weight_decay value")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        check_modes(foreach, fused, differentiable)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def _update_group(self, group: dict[str, Any]) -> None:
        params, grads = _C._with_grads(group["params"])
        if not params:
            return
        buffers: list[Any] = []
        first: list[int] = []
        momentum = float(group["momentum"])
        if momentum != 0.0:
            known = self.state.get
            buffers = [(known(p) or {}).get("momentum_buffer") for p in params]
            first = [1 if buffer is None else 0 for buffer in buffers]
            if 1 in first:
                buffers = [fs.zeros_like(p) if b is None else b for p, b in zip(params, buffers, strict=True)]
        self._record_group(group, [])
        _C._sgd_step(
            params,
            grads,
            buffers,
            first,
            float(group["lr"]),
            momentum,
            float(group["dampening"]),
            float(group["weight_decay"]),
            group["nesterov"],
            group["maximize"],
        )
        if 1 in first:
            for p, buffer in zip(params, buffers, strict=True):
                self.state[p]["momentum_buffer"] = buffer
