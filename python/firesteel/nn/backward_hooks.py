"""How a module's full backward hooks see its gradients: identity functions around what goes in and what comes out."""

from __future__ import annotations

import warnings

from firesteel import _C
from firesteel.autograd import Function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Watch"]

Tensor = _C.Tensor


class BackwardHookFunction(Function):
    """The identity, which hands the gradients that pass to a function and takes back what goes on."""

    @staticmethod
    def forward(ctx: Any, passing: Callable, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.passing = passing
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*[tensor for tensor in tensors if not tensor.requires_grad])
        return tensors

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        return (None, *ctx.passing(grads))


class Watch:
    """One call of a module, watched: collects the gradients at its outputs and inputs and calls the hooks."""

    def __init__(self, module: Any, hooks: list[Callable], pre_hooks: list[Callable]) -> None:
        self.module = module
        self.hooks = hooks
        self.pre_hooks = pre_hooks
        self.grad_outputs: tuple | None = None
        self.places: list[int] = []
        self.count = 0
        self.inputs_need_grad = False

    def inputs(self, args: tuple) -> tuple:
        """The arguments, their tensors passed through the inner boundary."""
        self.count = len(args)
        args, self.places, self.inputs_need_grad = self._surround(args, self._at_inputs)
        return args

    def outputs(self, result: Any) -> Any:
        """The result, its tensors passed through the outer boundary."""
        if not isinstance(result, (Tensor, tuple)):
            warnings.warn(
                "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors"
                f" but received {type(result)}",
                stacklevel=5,
            )
            return result
        results = result if isinstance(result, tuple) else (result,)
        places = [at for at, value in enumerate(results) if isinstance(value, Tensor)]

        def passing(grads: tuple) -> tuple:
            return self._at_outputs(grads, places, len(results))

        results, _, _ = self._surround(results, passing)
        return results if isinstance(result, tuple) else results[0]

    def _surround(self, values: tuple, passing: Callable) -> tuple[tuple, list[int], bool]:
        places = [at for at, value in enumerate(values) if isinstance(value, Tensor)]
        need = _C.is_grad_enabled() and any(values[at].requires_grad for at in places)
        if not need:
            return values, places, False
        new = BackwardHookFunction.apply(passing, *[values[at] for at in places])
        changed = list(values)
        for at, tensor in zip(places, new, strict=False):
            changed[at] = tensor
        return type(values)(changed) if type(values) is tuple else type(values)(*changed), places, True

    def _at_outputs(self, grads: tuple, places: list[int], count: int) -> tuple:
        full = _spread(grads, places, count)
        for hook in self.pre_hooks:
            changed = hook(self.module, full)
            if changed is not None:
                full = _as_tuple(changed, len(full), "Backward pre hook", "grad_output")
        self.grad_outputs = full
        if not self.inputs_need_grad:
            for hook in self.hooks:
                changed = hook(self.module, (None,) * self.count, full)
                if changed is not None and not (isinstance(changed, tuple) and all(g is None for g in changed)):
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should always return None "
                        "or None for all gradients."
                    )
            self.grad_outputs = None
        return tuple(full[at] for at in places)

    def _at_inputs(self, grads: tuple) -> tuple:
        if self.grad_outputs is None:
            raise RuntimeError(
                f"Module backward hook for grad_input is called before the grad_output one. This happens because the "
                f"gradient in your nn.Module flows to the Module's input without passing through the Module's output. "
                f"Make sure that the output depends on the input and that the loss is computed based on the output. "
                f"(module: {type(self.module).__name__})"
            )
        full = _spread(grads, self.places, self.count)
        for hook in self.hooks:
            changed = hook(self.module, full, self.grad_outputs)
            if changed is not None:
                full = _as_tuple(changed, len(full), "Backward hook", "grad_input")
        self.grad_outputs = None
        return tuple(full[at] for at in self.places)


def _spread(grads: tuple, places: list[int], count: int) -> tuple:
    full: list[Any] = [None] * count
    for at, grad in zip(places, grads, strict=False):
        full[at] = grad
    return tuple(full)


def _as_tuple(grads: Any, count: int, what: str, of: str) -> tuple:
    if not isinstance(grads, tuple):
        grads = (grads,)
    if len(grads) != count:
        raise RuntimeError(f"{what} returned an invalid number of {of}, got {len(grads)}, but expected {count}")
    return grads
