"""Functions that run beside a module's forward and backward, and the handles that remove them.

A module without hooks never comes here: `Module.__call__` looks at one flag, `_hooked`, which registering sets, on the
module for its own hooks, on the class for those of all modules.
"""

from __future__ import annotations

from collections import OrderedDict

from firesteel import _C
from firesteel.autograd.hooks import RemovableHandle, add_hook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .module import Module

__all__ = [
    "RemovableHandle",
    "register_module_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]

Tensor = _C.Tensor


class _Tables:
    """The hooks of all modules."""

    def __init__(self) -> None:
        self.forward_pre: OrderedDict[int, Any] = OrderedDict()
        self.forward: OrderedDict[int, Any] = OrderedDict()
        self.forward_with_kwargs: dict[int, bool] = {}
        self.forward_always: dict[int, bool] = {}
        self.backward_pre: OrderedDict[int, Any] = OrderedDict()
        self.backward: OrderedDict[int, Any] = OrderedDict()
        self.backward_is_full: bool | None = None
        self.new_parameter: OrderedDict[int, Any] = OrderedDict()
        self.new_buffer: OrderedDict[int, Any] = OrderedDict()
        self.new_module: OrderedDict[int, Any] = OrderedDict()


everywhere = _Tables()


def through(table: dict[int, Any], module: Module, name: str, value: Any) -> Any:
    """The value that the registration hooks make of a newly registered one."""
    for hook in table.values():
        output = hook(module, name, value)
        if output is not None:
            value = output
    return value


class Hooks:
    """The part of a module that keeps hooks and calls them."""

    _hooked = False
    if TYPE_CHECKING:
        forward: Any
        _forward_pre_hooks: OrderedDict[int, Any]
        _forward_pre_hooks_with_kwargs: OrderedDict[int, bool]
        _forward_hooks: OrderedDict[int, Any]
        _forward_hooks_with_kwargs: OrderedDict[int, bool]
        _forward_hooks_always_called: OrderedDict[int, bool]
        _backward_pre_hooks: OrderedDict[int, Any]
        _backward_hooks: OrderedDict[int, Any]
        _is_full_backward_hook: bool | None

    def register_forward_pre_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Calls `hook(module, args)` before each forward; what it returns, if anything, replaces the arguments.

        Args:
            hook: the function.
            prepend: put it before the hooks already there.
            with_kwargs: call `hook(module, args, kwargs)`, which returns nothing or a pair.
        """
        handle = add_hook(self._forward_pre_hooks, hook, self._forward_pre_hooks_with_kwargs, prepend=prepend)
        if with_kwargs:
            self._forward_pre_hooks_with_kwargs[handle.id] = True
        self._hooked = True
        return handle

    def register_forward_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Calls `hook(module, args, output)` after each forward; what it returns, if anything, replaces the output.

        Args:
            hook: the function.
            prepend: put it before the hooks already there.
            with_kwargs: call `hook(module, args, kwargs, output)`.
            always_call: call it also when the forward raised.
        """
        handle = add_hook(
            self._forward_hooks,
            hook,
            self._forward_hooks_with_kwargs,
            self._forward_hooks_always_called,
            prepend=prepend,
        )
        if with_kwargs:
            self._forward_hooks_with_kwargs[handle.id] = True
        if always_call:
            self._forward_hooks_always_called[handle.id] = True
        self._hooked = True
        return handle

    def register_full_backward_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Calls `hook(module, grad_output)` before the module's backward; its result replaces the gradient.

        Args:
            hook: the function.
            prepend: put it before the hooks already there.
        """
        handle = add_hook(self._backward_pre_hooks, hook, prepend=prepend)
        self._hooked = True
        return handle

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Calls `hook(module, grad_input, grad_output)` after the module's backward; its result replaces `grad_input`.

        Args:
            hook: the function.
            prepend: put it before the hooks already there.

        Raises:
            RuntimeError: if the module already has hooks of the older kind.
        """
        self._set_backward_kind(True)
        return add_hook(self._backward_hooks, hook, prepend=prepend)

    def register_backward_hook(self, hook: Callable) -> RemovableHandle:
        """Calls `hook(module, grad_input, grad_output)` at the last operation of the module: the older, partial form.

        Args:
            hook: the function.

        Raises:
            RuntimeError: if the module already has full backward hooks.
        """
        self._set_backward_kind(False)
        return add_hook(self._backward_hooks, hook)

    def _set_backward_kind(self, full: bool) -> None:
        if self._is_full_backward_hook is (not full):
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a "
                "single Module. Please use only one of them."
            )
        self._is_full_backward_hook = full
        self._hooked = True

    def _call_with_hooks(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """`forward` with every hook around it; `args` and `kwargs` are those of the call."""
        if _C._is_recording():
            _C._graph_module(self)
        done: set[int] = set()
        result = None
        try:
            args, kwargs = self._run_forward_pre_hooks(args, kwargs)
            full, partial = self._split_backward_hooks()
            before = [*everywhere.backward_pre.values(), *self._backward_pre_hooks.values()]
            watch = None
            if full or before:
                from .backward_hooks import Watch

                watch = Watch(self, full, before)
                args = watch.inputs(args)
            result = self.forward(*args, **kwargs)
            for id, hook, with_kwargs, _ in self._all_forward_hooks():
                done.add(id)
                output = hook(self, args, kwargs, result) if with_kwargs else hook(self, args, result)
                if output is not None:
                    result = output
            if watch is not None:
                result = watch.outputs(result)
            if partial:
                self._hook_last_operation(result, partial)
            return result
        except Exception:
            self._run_always_called(done, args, kwargs, result)
            raise

    def _run_forward_pre_hooks(self, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        for id, hook in (*everywhere.forward_pre.items(), *self._forward_pre_hooks.items()):
            if id in self._forward_pre_hooks_with_kwargs:
                changed = hook(self, args, kwargs)
                if changed is None:
                    continue
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise RuntimeError(
                        f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {changed}."
                    )
                args, kwargs = changed
            else:
                changed = hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
        return args, kwargs

    def _all_forward_hooks(self) -> list[tuple[int, Callable, bool, bool]]:
        """(id, hook, with_kwargs, always) of the hooks of all modules, then of this one."""
        own = self._forward_hooks_with_kwargs
        found = [
            (id, hook, id in everywhere.forward_with_kwargs, id in everywhere.forward_always)
            for id, hook in everywhere.forward.items()
        ]
        found += [
            (id, hook, id in own, id in self._forward_hooks_always_called) for id, hook in self._forward_hooks.items()
        ]
        return found

    def _run_always_called(self, done: set[int], args: tuple, kwargs: dict[str, Any], result: Any) -> None:
        for id, hook, with_kwargs, always in self._all_forward_hooks():
            if not always or id in done:
                continue
            try:
                output = hook(self, args, kwargs, result) if with_kwargs else hook(self, args, result)
                if output is not None:
                    result = output
            except Exception as error:
                import warnings

                where = "global module" if id in everywhere.forward else "module"
                warnings.warn(
                    f"{where} forward hook with ``always_call=True`` raised an exception "
                    f"that was silenced as another error was raised in forward: {error}",
                    stacklevel=4,
                )

    def _split_backward_hooks(self) -> tuple[list[Callable], list[Callable]]:
        """The full and the partial backward hooks that apply."""
        full: list[Callable] = []
        partial: list[Callable] = []
        (full if everywhere.backward_is_full else partial).extend(everywhere.backward.values())
        (full if self._is_full_backward_hook else partial).extend(self._backward_hooks.values())
        return full, partial

    def _hook_last_operation(self, result: Any, hooks: list[Callable]) -> None:
        while not isinstance(result, Tensor):
            if isinstance(result, dict):
                result = next(value for value in result.values() if isinstance(value, Tensor))
            else:
                result = result[0]
        if result.grad_fn is not None:
            for hook in hooks:
                result.grad_fn.register_hook(lambda inputs, outputs, hook=hook: hook(self, inputs, outputs))


def register_module_forward_pre_hook(hook: Callable) -> RemovableHandle:
    """Calls `hook(module, args)` before the forward of every module."""
    Hooks._hooked = True
    return add_hook(everywhere.forward_pre, hook)


def register_module_forward_hook(
    hook: Callable, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Calls `hook(module, args, output)` after the forward of every module."""
    Hooks._hooked = True
    handle = add_hook(everywhere.forward, hook, everywhere.forward_with_kwargs, everywhere.forward_always)
    if with_kwargs:
        everywhere.forward_with_kwargs[handle.id] = True
    if always_call:
        everywhere.forward_always[handle.id] = True
    return handle


def _set_global_backward_kind(full: bool) -> None:
    if everywhere.backward_is_full is (not full):
        raise RuntimeError(
            "Cannot use both regular backward hooks and full backward hooks as a "
            "global Module hook. Please use only one of them."
        )
    everywhere.backward_is_full = full
    Hooks._hooked = True


def register_module_backward_hook(hook: Callable) -> RemovableHandle:
    """Calls `hook(module, grad_input, grad_output)` at the last operation of every module."""
    _set_global_backward_kind(False)
    return add_hook(everywhere.backward, hook)


def register_module_full_backward_hook(hook: Callable) -> RemovableHandle:
    """Calls `hook(module, grad_input, grad_output)` after the backward of every module."""
    _set_global_backward_kind(True)
    return add_hook(everywhere.backward, hook)


def register_module_full_backward_pre_hook(hook: Callable) -> RemovableHandle:
    """Calls `hook(module, grad_output)` before the backward of every module."""
    Hooks._hooked = True
    return add_hook(everywhere.backward_pre, hook)


def register_module_parameter_registration_hook(hook: Callable) -> RemovableHandle:
    """Calls `hook(module, name, parameter)` at every registration; its result replaces the parameter."""
    return add_hook(everywhere.new_parameter, hook)


def register_module_buffer_registration_hook(hook: Callable) -> RemovableHandle:
    """Calls `hook(module, name, buffer)` at every registration; its result replaces the buffer."""
    return add_hook(everywhere.new_buffer, hook)


def register_module_module_registration_hook(hook: Callable) -> RemovableHandle:
    """Calls `hook(module, name, submodule)` at every registration; its result replaces the submodule."""
    return add_hook(everywhere.new_module, hook)
