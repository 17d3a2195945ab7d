"""L-BFGS."""

from __future__ import annotations

import firesteel as fs
from firesteel import _C
from firesteel.autograd import enable_grad, no_grad

from ._checks import check_lr
from ._wolfe import strong_wolfe
from .optimizer import Optimizer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

__all__ = ["LBFGS"]

Tensor = _C.Tensor


class LBFGS(Optimizer):
    """L-BFGS: Newton steps with a curvature estimated from the last gradients (Nocedal and Wright, algorithm 7.5).

    One `step` runs up to `max_iter` iterations and calls the closure many times. There is one parameter group.

    Args:
        params: parameters, or `(name, parameter)` pairs.
        lr: learning rate, a float or a tensor of one element.
        max_iter: iterations in one step.
        max_eval: calls of the closure in one step; by default 1.25 `max_iter`.
        tolerance_grad: stop where no element of the gradient is larger.
        tolerance_change: stop where loss and parameters change less.
        history_size: how many gradients are kept.
        line_search_fn: None or "strong_wolfe".

    Raises:
        ValueError: for a negative rate or more than one group.

    >>> import firesteel as fs
    >>> w = fs.tensor([3.0, -2.0], requires_grad=True)
    >>> optimizer = fs.optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((w - 1) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> _ = optimizer.step(closure)
    >>> [round(value, 4) for value in w.tolist()]
    [1.0, 1.0]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_lr(lr)
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @property
    def _params(self) -> list[Tensor]:
        return self.param_groups[0]["params"]

    def _flat_grad(self) -> Tensor:
        parts = [fs.zeros_like(p) if p.grad is None else p.grad for p in self._params]
        return fs.cat([part.reshape(-1) for part in parts])

    def _move(self, distance: float, direction: Tensor) -> None:
        offset = 0
        for p in self._params:
            p.add_(direction[offset : offset + p.numel()].view(p.shape), alpha=distance)
            offset += p.numel()

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Minimises for up to `max_iter` iterations.

        Args:
            closure: clears the gradients, computes the loss, its gradients, and returns the loss.

        Returns:
            the loss before the first iteration.
        """
        with no_grad():
            return self._minimise(closure)

    def _minimise(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        lr, max_iter, max_eval = float(group["lr"]), group["max_iter"], group["max_eval"]
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise RuntimeError("only 'strong_wolfe' is supported")

        def evaluate() -> tuple[Any, Tensor]:
            with enable_grad():
                value = closure()
            return value, self._flat_grad()

        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first_loss, grad = evaluate()
        loss = float(first_loss)
        evals = 1
        state["func_evals"] += 1
        if _largest(grad) <= group["tolerance_grad"]:
            return first_loss
        direction, distance = state.get("d"), state.get("t")
        iterations = 0
        while iterations < max_iter:
            iterations += 1
            state["n_iter"] += 1
            direction = self._direction(state, grad, direction, distance, group["history_size"])
            state["prev_flat_grad"], last_loss = grad.clone(), loss
            distance = lr
            if state["n_iter"] == 1:
                distance = min(1.0, 1.0 / grad.abs().sum().item()) * lr
            slope = grad.dot(direction).item()
            if slope > -group["tolerance_change"]:
                break
            calls = 0
            if group["line_search_fn"] is not None:
                start = [p.clone() for p in self._params]

                def along(t: float) -> tuple[float, Tensor]:
                    self._move(t, direction)  # noqa: B023 - called before the next direction is made
                    value, gradient = evaluate()
                    for p, old in zip(self._params, start, strict=True):  # noqa: B023
                        p.copy_(old)
                    return float(value), gradient

                loss, grad, distance, calls = strong_wolfe(
                    along, distance, direction, loss, grad, slope, max_calls=max_eval - evals
                )
                self._move(distance, direction)
            else:
                self._move(distance, direction)
                if iterations != max_iter:
                    value, grad = evaluate()
                    loss, calls = float(value), 1
            evals += calls
            state["func_evals"] += calls
            if (
                evals >= max_eval
                or _largest(grad) <= group["tolerance_grad"]
                or _largest(direction) * abs(distance) <= group["tolerance_change"]
                or abs(loss - last_loss) < group["tolerance_change"]
            ):
                break
        state.update(d=direction, t=distance, prev_loss=last_loss)
        return first_loss

    @staticmethod
    def _direction(state: dict[str, Any], grad: Tensor, direction: Any, distance: Any, history_size: int) -> Tensor:
        """The two loops of the recursion: the negative gradient times the estimated inverse curvature."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return -grad
        changes, moves, inverse = state["old_dirs"], state["old_stps"], state["ro"]
        change, move = grad - state["prev_flat_grad"], direction * distance
        curvature = change.dot(move).item()
        if curvature > 1e-10:
            if len(changes) == history_size:
                for kept in (changes, moves, inverse):
                    kept.pop(0)
            changes.append(change)
            moves.append(move)
            inverse.append(1.0 / curvature)
            state["H_diag"] = curvature / change.dot(change).item()
        result = -grad
        weights = [0.0] * len(changes)
        for i in range(len(changes) - 1, -1, -1):
            weights[i] = moves[i].dot(result).item() * inverse[i]
            result.sub_(changes[i], alpha=weights[i])
        result.mul_(state["H_diag"])
        for i in range(len(changes)):
            result.add_(moves[i], alpha=weights[i] - changes[i].dot(result).item() * inverse[i])
        return result


def _largest(values: Tensor) -> float:
    return values.abs().max().item() if values.numel() else 0.0
