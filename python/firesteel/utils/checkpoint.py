"""Memory for time: values inside a part of a model are computed again in the backward pass instead of being kept."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from .. import _C
from ..autograd import Function, backward, enable_grad
from ..ops.random import get_rng_state, set_rng_state
from ..random import fork_rng

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["checkpoint", "checkpoint_sequential"]

Tensor = _C.Tensor


class CheckpointFunction(Function):
    """Runs a function without recording; its backward runs it once more, recorded, and goes back through that."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, function: Callable, kwargs: dict, keep_random: bool, *args: Any) -> Any:
        ctx.function, ctx.kwargs = function, kwargs
        ctx.state = get_rng_state() if keep_random else None
        ctx.places = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        ctx.args = [None if isinstance(a, Tensor) else a for a in args]
        ctx.save_for_backward(*(args[i] for i in ctx.places))
        return function(*args, **kwargs)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple:
        args = list(ctx.args)
        for i, tensor in zip(ctx.places, ctx.saved_tensors, strict=True):
            args[i] = tensor.detach().requires_grad_(tensor.requires_grad)
        with fork_rng() if ctx.state is not None else contextlib.nullcontext(), enable_grad():
            if ctx.state is not None:
                set_rng_state(ctx.state)
            outs = ctx.function(*args, **ctx.kwargs)
        outs = outs if isinstance(outs, (tuple, list)) else (outs,)
        pairs = [(o, g) for o, g in zip(outs, grads, strict=True) if isinstance(o, Tensor) and o.requires_grad]
        if pairs:
            backward([o for o, _ in pairs], [g for _, g in pairs])
        return (None, None, None, None, *(a.grad if isinstance(a, Tensor) else None for a in args))


def checkpoint(
    function: Callable,
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    context_fn: Any = None,
    determinism_check: str = "default",
    debug: bool = False,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)`; what its ops save for the backward pass is computed anew there.

    The gradients of parameters inside are added to `.grad` while the pass runs, so `autograd.grad` with respect to them
    does not work; `backward()` does.

    Args:
        function: gives a tensor or a tuple of tensors; run twice, it must do the same twice.
        args: what it is called with.
        preserve_rng_state: draw the same random numbers the second time.
        use_reentrant, context_fn, determinism_check, debug: taken for PyTorch's sake, without effect.

    >>> import firesteel as fs
    >>> x = fs.ones(2, requires_grad=True)
    >>> checkpoint(lambda x: (x * x).exp(), x).sum().backward()
    >>> x.grad
    tensor([5.4366, 5.4366])
    """
    if not _C.is_grad_enabled():
        return function(*args, **kwargs)
    # With this input the call is recorded also where only parameters inside want gradients.
    anchor = _C._full((), 0.0).requires_grad_()
    return CheckpointFunction.apply(anchor, function, kwargs, preserve_rng_state, *args)


def checkpoint_sequential(functions: Any, segments: int, input: Any, **kwargs: Any) -> Any:
    """The modules of a Sequential one after another, in so many checkpointed segments; the last one is run as usual."""
    parts = list(functions.children()) if hasattr(functions, "children") else list(functions)
    size = max(len(parts) // segments, 1)

    def run(begin: int, end: int) -> Callable:
        def segment(x: Any) -> Any:
            for part in parts[begin:end]:
                x = part(x)
            return x

        return segment

    begin = 0
    for _ in range(segments - 1):
        input = checkpoint(run(begin, begin + size), input, **kwargs)
        begin += size
    return run(begin, len(parts))(input)
