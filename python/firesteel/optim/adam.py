"""Adam and AdamW."""

from __future__ import annotations

import firesteel as fs
from firesteel import _C

from ._checks import check_betas, check_lr, check_modes, check_not_negative
from .optimizer import GroupOptimizer, scalar_tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["Adam", "AdamW"]

Tensor = _C.Tensor


class Adam(GroupOptimizer):
    """Adam (Kingma and Ba, 2014): steps scaled by running averages of the gradient and of its square.

    `m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g²; p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)`

    Args:
        params: parameters, `(name, parameter)` pairs, or dicts of groups.
        lr: learning rate, a float or a tensor of one element.
        betas: decay of the average of the gradient and of that of its square.
        eps: added to the denominator.
        weight_decay: L2 penalty, added to the gradient.
        amsgrad: divide by the largest average of squares so far (Reddi et al., 2018).
        maximize: climb instead of descend.
        decoupled_weight_decay: shrink the parameter instead of adding to the gradient, as AdamW does.
        foreach, fused, capturable: accepted for PyTorch's sake; a step is one fused call in any case.
        differentiable: must be False.

    Raises:
        ValueError: for an option out of its range.

    >>> import firesteel as fs
    >>> w = fs.tensor([1.0], requires_grad=True)
    >>> optimizer = fs.optim.Adam([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> round(w.item(), 4), optimizer.state[w]["step"].item()
    (0.5, 1.0)
    """

    _recordable = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and foreach and not capturable:
            raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
        check_lr(lr)
        check_not_negative(eps, "epsilon value")
        check_betas(betas)
        check_not_negative(weight_decay, "weight_decay value")
        for kind in (float, Tensor):
            if all(isinstance(beta, kind) for beta in betas):
                break
        else:
            raise ValueError("betas must be either both floats or both Tensors")
        for i, beta in enumerate(betas):
            if isinstance(beta, Tensor):
                if not capturable and foreach:
                    raise ValueError(f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True")
                if beta.numel() != 1:
                    raise ValueError(f"Tensor betas[{i}] must be 1-element")
        check_modes(foreach, fused, differentiable)
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def _new_entry(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        entry = {"step": scalar_tensor(0), "exp_avg": fs.zeros_like(p), "exp_avg_sq": fs.zeros_like(p)}
        if group["amsgrad"]:
            entry["max_exp_avg_sq"] = fs.zeros_like(p)
        return entry

    def _update_group(self, group: dict[str, Any]) -> None:
        params, grads, entries, fresh = self._entries(group)
        if not params:
            return
        beta1, beta2 = group["betas"]
        counters = [entry["step"] for entry in entries]
        self._record_group(group, counters)
        _C._adam_step(
            params,
            grads,
            [entry["exp_avg"] for entry in entries],
            [entry["exp_avg_sq"] for entry in entries],
            [entry["max_exp_avg_sq"] for entry in entries] if group["amsgrad"] else [],
            _C._next_counts(counters),
            float(group["lr"]),
            float(beta1),
            float(beta2),
            float(group["eps"]),
            float(group["weight_decay"]),
            group["decoupled_weight_decay"],
            group["maximize"],
        )
        for counter in counters:
            counter.add_(1)
        self._keep(fresh)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2017): `p *= 1 - lr weight_decay` before the step.

    Args:
        params: parameters, `(name, parameter)` pairs, or dicts of groups.
        lr, betas, eps, amsgrad, maximize, foreach, fused, capturable, differentiable: as in `Adam`.
        weight_decay: the share of a parameter that goes, times `lr`.

    >>> import firesteel as fs
    >>> w = fs.tensor([1.0], requires_grad=True)
    >>> optimizer = fs.optim.AdamW([w], lr=0.5, weight_decay=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> round(w.item(), 4)
    0.25
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
