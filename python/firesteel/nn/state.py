"""Saving a module's tensors by name and loading them back.

Loading happens in two steps: every name, shape and type is checked first, then the tensors are copied. So a
`load_state_dict` that raises has changed no weight. Between the two steps the copies to be made wait in a list, which
travels in `local_metadata` through the `_load_from_state_dict` of each module, overridden or not.
"""

from __future__ import annotations

from collections import OrderedDict

from firesteel import _C
from firesteel.autograd import no_grad
from firesteel.autograd.hooks import add_hook

from .parameter import Parameter, is_lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from .hooks import RemovableHandle

__all__ = ["IncompatibleKeys", "State"]

Tensor = _C.Tensor
_EXTRA = "_extra_state"


class IncompatibleKeys(tuple):
    """What `load_state_dict` returns: the names that were missing and those that nothing in the module answers to.

    Args:
        missing_keys: names the module has and the state has not.
        unexpected_keys: names the state has and the module has not.
    """

    __slots__ = ()

    def __new__(cls, missing_keys: list[str], unexpected_keys: list[str]) -> IncompatibleKeys:
        return tuple.__new__(cls, (missing_keys, unexpected_keys))

    def __getnewargs__(self) -> tuple:
        return tuple(self)

    @property
    def missing_keys(self) -> list[str]:
        return self[0]

    @property
    def unexpected_keys(self) -> list[str]:
        return self[1]

    def __repr__(self) -> str:
        if not self[0] and not self[1]:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self[0]!r}, unexpected_keys={self[1]!r})"

    __str__ = __repr__


class _Hook:
    """A load hook together with the module it wants as its first argument."""

    def __init__(self, hook: Callable, module: Any) -> None:
        self.hook = hook
        self.module = module

    def __call__(self, *args: Any) -> Any:
        return self.hook(*args) if self.module is None else self.hook(self.module, *args)


class _Copy:
    """A parameter or buffer of a module and the tensor that it is to hold."""

    def __init__(self, module: Any, name: str, key: str, given: Tensor, assign: bool) -> None:
        self.module, self.name, self.key, self.given, self.assign = module, name, key, given, assign
        self.before: Any = None

    def run(self, keep_old: bool) -> None:
        target = getattr(self.module, self.name)
        if self.assign:
            self.before = target
            given = self.given
            if isinstance(target, Parameter):
                if not isinstance(given, Parameter):
                    given = Parameter(given, requires_grad=target.requires_grad)
                else:
                    given.requires_grad_(target.requires_grad)
            setattr(self.module, self.name, given)
        else:
            if keep_old:
                self.before = target.detach().clone()
            target.copy_(self.given)

    def undo(self) -> None:
        if self.before is None:
            return
        if self.assign:
            setattr(self.module, self.name, self.before)
        else:
            getattr(self.module, self.name).copy_(self.before)


class _ExtraState:
    """A call of `set_extra_state` that waits until everything has been checked."""

    def __init__(self, module: Any, state: Any) -> None:
        self.module, self.state, self.key = module, state, _EXTRA

    def run(self, keep_old: bool) -> None:
        self.module.set_extra_state(self.state)

    def undo(self) -> None:
        pass


class State:
    """The part of a module that saves and loads."""

    _version = 1
    if TYPE_CHECKING:
        _parameters: dict[str, Any]
        _buffers: dict[str, Any]
        _modules: dict[str, Any]
        _non_persistent_buffers_set: set[str]
        _state_dict_hooks: OrderedDict[int, Any]
        _state_dict_pre_hooks: OrderedDict[int, Any]
        _load_state_dict_pre_hooks: OrderedDict[int, Any]
        _load_state_dict_post_hooks: OrderedDict[int, Any]

    def get_extra_state(self) -> Any:
        """Returns what else should be saved with the module; a module that overrides it has a key of its own."""
        raise RuntimeError("get_extra_state() was called on a module that does not define it.")

    def set_extra_state(self, state: Any) -> None:
        """Takes back what `get_extra_state` returned."""
        raise RuntimeError("set_extra_state() was called on a module that does not define it.")

    def _register_state_dict_hook(self, hook: Callable) -> RemovableHandle:
        """The older form of `register_state_dict_post_hook`: its result replaces the outermost state."""
        if getattr(hook, "_from_public_api", False):
            raise RuntimeError(
                "Cannot register the same function as the state dict post hook that was "
                "previously registered via register_state_dict_post_hook"
            )
        return add_hook(self._state_dict_hooks, hook)

    def register_state_dict_post_hook(self, hook: Any) -> RemovableHandle:
        """Calls `hook(module, state_dict, prefix, local_metadata)` after the module's tensors were collected."""
        hook._from_public_api = True
        return add_hook(self._state_dict_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Calls `hook(module, prefix, keep_vars)` before the module's tensors are collected."""
        return add_hook(self._state_dict_pre_hooks, hook)

    def _register_load_state_dict_pre_hook(self, hook: Callable, with_module: bool = False) -> RemovableHandle:
        """As `register_load_state_dict_pre_hook`, with the module as the hook's first argument only if asked for."""
        return add_hook(self._load_state_dict_pre_hooks, _Hook(hook, self if with_module else None))

    def register_load_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Calls the hook before the module's part of a state is looked at.

        Args:
            hook: called as `hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
                error_msgs)`; it may change the lists and the state.
        """
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def register_load_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Calls `hook(module, incompatible_keys)` after loading; it may change the two lists in place."""
        return add_hook(self._load_state_dict_post_hooks, hook)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Puts the module's own parameters, persistent buffers and extra state into `destination`."""
        for name, parameter in self._parameters.items():
            if parameter is not None:
                destination[prefix + name] = parameter if keep_vars else parameter.detach()
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                destination[prefix + name] = buffer if keep_vars else buffer.detach()
        if type(self).get_extra_state is not State.get_extra_state:
            destination[prefix + _EXTRA] = self.get_extra_state()

    def state_dict(
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Returns the module's parameters and persistent buffers by name; they share memory with the module.

        Args:
            destination: a dictionary to fill instead of a new one.
            prefix: put before each name.
            keep_vars: give the parameters themselves, not tensors detached from autograd.

        >>> import firesteel as fs
        >>> {name: tuple(t.shape) for name, t in fs.nn.Linear(3, 2).state_dict().items()}
        {'weight': (2, 3), 'bias': (2,)}
        """
        if args:
            import warnings

            warnings.warn("Positional args are being deprecated, use kwargs instead.", FutureWarning, stacklevel=2)
            destination = args[0] if destination is None else destination
            prefix = args[1] if len(args) > 1 and prefix == "" else prefix
            keep_vars = args[2] if len(args) > 2 and keep_vars is False else keep_vars
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = metadata
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=prefix + name + ".", keep_vars=keep_vars)
        for hook in self._state_dict_hooks.values():
            changed = hook(self, destination, prefix, metadata)
            if changed is not None:
                if getattr(hook, "_from_public_api", False):
                    raise RuntimeError("state_dict post-hook must return None")
                destination = changed
        return destination

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Checks the module's own part of a state and plans the copies (makes them, when called on its own)."""
        for hook in self._load_state_dict_pre_hooks.values():
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        waiting = local_metadata.get("_waiting")
        plan: list[Any] = [] if waiting is None else waiting
        assign = local_metadata.get("assign_to_params_buffers", False)
        buffers = {k: v for k, v in self._buffers.items() if k not in self._non_persistent_buffers_set}
        own = {name: tensor for name, tensor in (*self._parameters.items(), *buffers.items()) if tensor is not None}
        for name, target in own.items():
            key = prefix + name
            if key in state_dict:
                self._plan_copy(name, key, target, state_dict[key], assign, plan, error_msgs)
            elif strict:
                missing_keys.append(key)
        self._load_extra_state(state_dict, prefix + _EXTRA, strict, plan, missing_keys, unexpected_keys)
        if strict:
            for key in state_dict:
                if key.startswith(prefix) and key != prefix + _EXTRA:
                    first, dot, _ = key[len(prefix) :].partition(".")
                    if first not in self._modules if dot else first not in own:
                        unexpected_keys.append(key)
        if waiting is None:
            with no_grad():
                for copy in plan:
                    copy.run(keep_old=False)

    def _plan_copy(
        self, name: str, key: str, target: Tensor, given: Any, assign: bool, plan: list[Any], errors: list[str]
    ) -> None:
        if not isinstance(given, Tensor):
            errors.append(
                f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object from '
                f"checkpoint but received {type(given)}"
            )
            return
        lazy = is_lazy(target)
        if not lazy and target.dim() == 0 and given.dim() == 1 and len(given) > 0:
            given = given[0]
        if not lazy and given.shape != target.shape:
            errors.append(
                f"size mismatch for {key}: copying a param with shape {given.shape} from checkpoint, "
                f"the shape in current model is {target.shape}."
            )
            return
        if not assign and not lazy and target.device.type == "meta" and given.device.type != "meta":
            import warnings

            warnings.warn(
                f"for {key}: copying from a non-meta parameter in the checkpoint to a meta parameter in the current "
                "model, which is a no-op. (Did you mean to pass `assign=True`?)",
                stacklevel=4,
            )
        plan.append(_Copy(self, name, key, given, assign))

    def _load_extra_state(
        self, state_dict: Mapping, key: str, strict: bool, plan: list[Any], missing: list[str], unexpected: list[str]
    ) -> None:
        if type(self).set_extra_state is not State.set_extra_state:
            if key in state_dict:
                plan.append(_ExtraState(self, state_dict[key]))
            elif strict:
                missing.append(key)
        elif strict and key in state_dict:
            unexpected.append(key)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copies parameters and buffers from a state into the module and those below it.

        Args:
            state_dict: tensors by name, as `state_dict()` returns them.
            strict: whether the names must be exactly those of the module.
            assign: take the given tensors instead of copying from them.

        Returns:
            The names that were missing and those that were not expected.

        Raises:
            RuntimeError: if a shape differs, or with `strict` a name; no weight has been changed then.
            TypeError: if `state_dict` is no mapping.

        >>> import firesteel as fs
        >>> a, b = fs.nn.Linear(3, 2), fs.nn.Linear(3, 2)
        >>> a.load_state_dict(b.state_dict())
        <All keys matched successfully>
        >>> bool((a.weight == b.weight).all())
        True
        """
        from collections.abc import Mapping

        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []
        waiting: list[Any] = []
        modules: list[Any] = []
        metadata = getattr(state_dict, "_metadata", None)
        state: Any = OrderedDict(state_dict)
        if metadata is not None:
            state._metadata = metadata

        def check(module: Any, state: dict[str, Any], prefix: str) -> None:
            local = {} if metadata is None else dict(metadata.get(prefix[:-1], {}))
            if assign:
                local["assign_to_params_buffers"] = True
            local["_waiting"] = waiting
            module._load_from_state_dict(state, prefix, local, True, missing, unexpected, errors)
            for name, child in module._modules.items():
                if child is not None:
                    below = prefix + name + "."
                    check(child, {k: v for k, v in state.items() if k.startswith(below)}, below)
            modules.append(module)

        check(self, state, "")
        hooked = [module for module in modules if module._load_state_dict_post_hooks]
        found = IncompatibleKeys(missing, unexpected)
        # A hook may pardon names, so that strictness is judged after it; what was copied by then can be taken back.
        if not hooked:
            _judge(self, found, strict, errors)
        elif errors:
            for module in hooked:
                _run_post_hooks(module, found)
            _judge(self, found, strict, errors)
        _run_all(self, waiting, keep_old=bool(hooked))
        if hooked:
            try:
                for module in hooked:
                    _run_post_hooks(module, found)
                _judge(self, found, strict, errors)
            except BaseException:
                _undo(waiting)
                raise
        return found


def _run_all(module: Any, waiting: list[Any], keep_old: bool) -> None:
    done: list[Any] = []
    try:
        with no_grad():
            for copy in waiting:
                copy.run(keep_old)
                done.append(copy)
    except Exception as error:
        if isinstance(copy, _ExtraState):
            raise
        _undo(done)
        target = getattr(copy.module, copy.name)
        text = (
            f'While copying the parameter named "{copy.key}", whose dimensions in the model are {target.size()} and '
            f"whose dimensions in the checkpoint are {copy.given.size()}, an exception occurred : {error.args}."
        )
        raise RuntimeError(_report(module, [text])) from error


def _undo(done: list[Any]) -> None:
    with no_grad():
        for copy in reversed(done):
            copy.undo()


def _run_post_hooks(module: Any, found: IncompatibleKeys) -> None:
    for hook in module._load_state_dict_post_hooks.values():
        if hook(module, found) is not None:
            raise AssertionError(
                "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return new values, "
                "if incompatible_keys need to be modified, it should be done inplace."
            )


def _judge(module: Any, found: IncompatibleKeys, strict: bool, errors: list[str]) -> None:
    """Raises what is wrong with a state, all of it at once."""
    if strict:
        if found.unexpected_keys:
            names = ", ".join(f'"{name}"' for name in found.unexpected_keys)
            errors.insert(0, f"Unexpected key(s) in state_dict: {names}. ")
        if found.missing_keys:
            names = ", ".join(f'"{name}"' for name in found.missing_keys)
            errors.insert(0, f"Missing key(s) in state_dict: {names}. ")
    if errors:
        raise RuntimeError(_report(module, errors))


def _report(module: Any, errors: list[str]) -> str:
    return "Error(s) in loading state_dict for {}:\n\t{}".format(type(module).__name__, "\n\t".join(errors))
