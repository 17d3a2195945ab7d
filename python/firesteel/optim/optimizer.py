"""What every optimizer is: parameter groups, state per parameter, hooks, and a state that can be saved and loaded."""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict, defaultdict
from copy import deepcopy
from itertools import chain

import firesteel as fs
from firesteel import _C
from firesteel.autograd import enable_grad, no_grad
from firesteel.autograd.hooks import add_hook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from firesteel.autograd.hooks import RemovableHandle

__all__ = [
    "Optimizer",
    "register_optimizer_step_post_hook",
    "register_optimizer_step_pre_hook",
    "required",
]

Tensor = _C.Tensor

_global_pre_hooks: OrderedDict[int, Any] = OrderedDict()
_global_post_hooks: OrderedDict[int, Any] = OrderedDict()

_HOOK_TABLES = (
    "_optimizer_step_pre_hooks",
    "_optimizer_step_post_hooks",
    "_optimizer_state_dict_pre_hooks",
    "_optimizer_state_dict_post_hooks",
    "_optimizer_load_state_dict_pre_hooks",
    "_optimizer_load_state_dict_post_hooks",
)

# What a group saved by an older program lacks, and what its absence meant there.
_ABSENT = {
    "momentum": 0,
    "nesterov": False,
    "amsgrad": False,
    "centered": False,
    "maximize": False,
    "foreach": None,
    "fused": None,
    "capturable": False,
    "differentiable": False,
    "decoupled_weight_decay": False,
}


class _Required:
    """Stands for an option without a default."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


def register_optimizer_step_pre_hook(hook: Callable[[Optimizer, tuple, dict], Any]) -> RemovableHandle:
    """Calls `hook(optimizer, args, kwargs)` before each step of every optimizer.

    Args:
        hook: may return `(args, kwargs)` for the step to be called with instead.

    Returns:
        a handle whose `remove()` takes the hook out again.
    """
    return add_hook(_global_pre_hooks, hook)


def register_optimizer_step_post_hook(hook: Callable[[Optimizer, tuple, dict], None]) -> RemovableHandle:
    """Calls `hook(optimizer, args, kwargs)` after each step of every optimizer.

    Args:
        hook: the function to call.

    Returns:
        a handle whose `remove()` takes the hook out again.
    """
    return add_hook(_global_post_hooks, hook)


def _step_with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps the `step` of a class so that it notes that it ran and calls the hooks where there are any."""

    @functools.wraps(step)
    def hooked_step(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        self._opt_called = True
        if _C._is_recording() and not self._recordable:
            raise _C.RecordingError(
                f"{type(self).__name__}.step() computes with numbers in Python, which a compiled function cannot follow; "
                "compile forward and backward only, or use SGD, Adam, AdamW, RMSprop, Adagrad or Adadelta"
            )
        before, after = self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks
        if not (before or after or _global_pre_hooks or _global_post_hooks):
            return step(self, *args, **kwargs)
        for hook in chain(_global_pre_hooks.values(), before.values()):
            result = hook(self, args, kwargs)
            if result is not None:
                if not (isinstance(result, tuple) and len(result) == 2):
                    raise RuntimeError(
                        f"{step} must return None or a tuple of (new_args, new_kwargs), but got {result}."
                    )
                args, kwargs = result
        output = step(self, *args, **kwargs)
        for hook in chain(after.values(), _global_post_hooks.values()):
            hook(self, args, kwargs)
        return output

    hooked_step.hooked = True  # type: ignore[attr-defined]
    return hooked_step


def _typename(value: Any) -> str:
    if isinstance(value, Tensor):
        return value.type()
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def scalar_tensor(value: float) -> Tensor:
    """A 0-d tensor for a step count: float32, or float64 where that is the default dtype."""
    return fs.tensor(float(value), dtype=fs.float64 if fs.get_default_dtype() == fs.float64 else fs.float32)


class Optimizer:
    """Base class of all optimizers; a subclass defines `step`.

    Args:
        params: an iterable of tensors, of `(name, tensor)` pairs, or of dicts that each describe a parameter group.
        defaults: options of a group that does not give its own.

    Raises:
        TypeError: when `params` is a single tensor, or holds something that is no tensor.
        ValueError: when there are no parameters, or one is not a leaf.
    """

    _optimizer_step_pre_hooks: OrderedDict[int, Any]
    _optimizer_step_post_hooks: OrderedDict[int, Any]
    _optimizer_state_dict_pre_hooks: OrderedDict[int, Any]
    _optimizer_state_dict_post_hooks: OrderedDict[int, Any]
    _optimizer_load_state_dict_pre_hooks: OrderedDict[int, Any]
    _optimizer_load_state_dict_post_hooks: OrderedDict[int, Any]
    # Whether `step` ran since the first schedule was made; the schedules look at it.
    _opt_called = False
    # Whether a compiled function may hold the step: it is one op that takes its numbers from the group.
    _recordable = False
    # Whether `state[p]["step"]` is a tensor, as in all of PyTorch's optimizers that count steps except SparseAdam.
    _counts_in_tensors = True

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                + _typename(params)
            )
        self.defaults = defaults
        self._make_hook_tables()
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if len(groups) == 0:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        step = cls.__dict__.get("step")
        if step is not None and not getattr(step, "hooked", False):
            cls.step = _step_with_hooks(step)  # type: ignore[method-assign]

    def _make_hook_tables(self) -> None:
        for name in _HOOK_TABLES:
            if name not in self.__dict__:
                setattr(self, name, OrderedDict())

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_hook_tables()
        self.defaults.setdefault("differentiable", False)
        for group in self.param_groups:
            for option, value in _ABSENT.items():
                if option in self.defaults:
                    group.setdefault(option, value)
        for entry in self.state.values():
            if isinstance(entry, dict) and isinstance(entry.get("step"), (int, float)) and self._counts_in_tensors:
                entry["step"] = scalar_tensor(entry["step"])

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join(lines) + "\n)"

    def register_step_pre_hook(self, hook: Callable[[Any, tuple, dict], Any]) -> RemovableHandle:
        """Calls `hook(optimizer, args, kwargs)` before each step; it may return `(args, kwargs)` to use instead."""
        return add_hook(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[[Any, tuple, dict], None]) -> RemovableHandle:
        """Calls `hook(optimizer, args, kwargs)` after each step."""
        return add_hook(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable[[Any], None], prepend: bool = False) -> RemovableHandle:
        """Calls `hook(optimizer)` before the state is collected; `prepend` puts it before hooks already there."""
        return add_hook(self._optimizer_state_dict_pre_hooks, hook, prepend=prepend)

    def register_state_dict_post_hook(self, hook: Callable[[Any, dict], Any], prepend: bool = False) -> RemovableHandle:
        """Calls `hook(optimizer, state_dict)` on the collected state; what it returns, if anything, replaces it."""
        return add_hook(self._optimizer_state_dict_post_hooks, hook, prepend=prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Callable[[Any, dict], Any], prepend: bool = False
    ) -> RemovableHandle:
        """Calls `hook(optimizer, state_dict)` before loading; what it returns, if anything, is loaded instead."""
        return add_hook(self._optimizer_load_state_dict_pre_hooks, hook, prepend=prepend)

    def register_load_state_dict_post_hook(self, hook: Callable[[Any], None], prepend: bool = False) -> RemovableHandle:
        """Calls `hook(optimizer)` after a state was loaded."""
        return add_hook(self._optimizer_load_state_dict_post_hooks, hook, prepend=prepend)

    def state_dict(self) -> dict[str, Any]:
        """The state and the groups, parameters replaced by numbers in their order; PyTorch's format.

        >>> import firesteel as fs
        >>> optimizer = fs.optim.SGD([fs.zeros(2, requires_grad=True)], lr=0.1)
        >>> optimizer.state_dict()["param_groups"][0]["params"]
        [0]
        """
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        number: dict[int, int] = {}
        groups = []
        first = 0
        for group in self.param_groups:
            for i, p in enumerate(group["params"], first):
                number.setdefault(id(p), i)
            first += len(group["params"])
            packed = {key: value for key, value in group.items() if key != "params"}
            packed["params"] = [number[id(p)] for p in group["params"]]
            groups.append(packed)
        state = {number[id(key)] if isinstance(key, Tensor) else key: entry for key, entry in self.state.items()}
        result = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            changed = hook(self, result)
            if changed is not None:
                result = changed
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the state and options of a `state_dict()`, PyTorch's included; tensors are copied.

        Args:
            state_dict: what `state_dict()` returned for an optimizer with as many groups of as many parameters.

        Raises:
            ValueError: when groups or their sizes differ; then nothing was changed.
        """
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            changed = hook(self, state_dict)
            if changed is not None:
                state_dict = changed
        groups = self.param_groups
        saved = deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(ours["params"]) != len(theirs["params"]) for ours, theirs in zip(groups, saved, strict=True)):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            )
        numbers = chain.from_iterable(group["params"] for group in saved)
        params = chain.from_iterable(group["params"] for group in groups)
        param_of = dict(zip(numbers, params, strict=True))
        state: defaultdict[Any, Any] = defaultdict(dict)
        for number, entry in state_dict["state"].items():
            if number in param_of:
                state[param_of[number]] = _copied(param_of[number], entry)
            else:
                state[number] = entry
        for ours, theirs in zip(groups, saved, strict=True):
            theirs["params"] = ours["params"]
            if "param_names" in ours:
                theirs.setdefault("param_names", ours["param_names"])
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients of all parameters, or fills them with zeros where `set_to_none` is false."""
        for group in self.param_groups:
            for p in group["params"]:
                grad = p.grad
                if grad is None:
                    continue
                if set_to_none:
                    p.grad = None
                    continue
                if grad.grad_fn is not None:
                    grad.detach_()
                else:
                    grad.requires_grad_(False)
                grad.zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates the parameters from their gradients.

        Args:
            closure: computes the loss and the gradients anew; optional for most optimizers.

        Returns:
            what the closure returned, or None.
        """
        raise NotImplementedError

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds parameters with options of their own.

        Args:
            param_group: `params` and any option that differs from the defaults.

        Raises:
            TypeError: when it is no dict, its parameters are a set, or one of them is no tensor.
            ValueError: when a parameter is not a leaf or already in a group, or only some parameters have names.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params, names = _params_and_names(param_group["params"])
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError("optimizer can only optimize Tensors, but one of the params is " + _typename(p))
            if not (p.is_leaf or p.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        param_group["params"] = params
        if names:
            param_group["param_names"] = names
        for option, value in self.defaults.items():
            if value is required and option not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {option}")
            param_group.setdefault(option, value)
        if param_group.get("differentiable"):
            raise NotImplementedError(
                f"{type(self).__name__}: differentiable=True is not supported, a step has no gradient here; "
                "write the update with tensor operations to differentiate through it"
            )
        if len(params) != len(set(params)):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; "
                "in future, this will cause an error; "
                "see github.com/pytorch/pytorch/issues/40967 for more information",
                stacklevel=3,
            )
        if any(("param_names" in param_group) != ("param_names" in group) for group in self.param_groups):
            raise ValueError(
                "all optimizer param groups should be with/without names. cannot add param group "
                f"{'with' if 'param_names' in param_group else 'without'} names to the optimizer"
            )
        known = set(chain.from_iterable(group["params"] for group in self.param_groups))
        if not known.isdisjoint(params):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)


def _params_and_names(params: Any) -> tuple[list[Any], list[str]]:
    """Separates `(name, tensor)` pairs; the list of names is empty where there are none."""
    if isinstance(params, Tensor):
        return [params], []
    if isinstance(params, set):
        raise TypeError(
            "optimizer parameters need to be organized in ordered collections, but "
            "the ordering of tensors in sets will change between runs. Please use a list instead."
        )
    entries = list(params)
    names = [entry[0] for entry in entries if isinstance(entry, tuple)]
    if names and len(names) != len(entries):
        raise ValueError("all optimizer params should be with/without names. Some param names are missing")
    return ([entry[1] for entry in entries] if names else entries), names


def _copied(param: Tensor, value: Any, key: Any = None) -> Any:
    """A copy of one entry of a loaded state, its tensors in the dtype and on the device of their parameter."""
    if isinstance(value, Tensor):
        if key != "step" and param.is_floating_point():
            moved = value.to(dtype=param.dtype, device=param.device)
        elif key != "step":
            moved = value.to(device=param.device)
        else:
            moved = value
        return moved.clone() if moved is value else moved
    if isinstance(value, dict):
        return {name: _copied(param, part, name) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(param, part) for part in value)
    return value


class GroupOptimizer(Optimizer):
    """An optimizer that updates one group at a time by `_update_group`; the fused ones are of this kind."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates the parameters from their gradients.

        Args:
            closure: computes the loss and the gradients anew before the update.

        Returns:
            what the closure returned, or None.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._update_group(group)
        return loss

    def _update_group(self, group: dict[str, Any]) -> None:
        raise NotImplementedError

    def _entries(self, group: dict[str, Any]) -> tuple[list[Tensor], list[Tensor], list[dict[str, Any]], list[Any]]:
        """Parameters that have a gradient, the gradients, their states, and the states that `_keep` must still store.

        A new state is stored only after the step succeeded: a step that raises leaves everything as it was.
        """
        params, grads, entries, fresh = [], [], [], []
        known = self.state.get
        for p in group["params"]:
            grad = p.grad
            if grad is None:
                continue
            entry = known(p)
            if not entry:
                entry = self._new_entry(p, group)
                fresh.append((p, entry))
            params.append(p)
            grads.append(grad)
            entries.append(entry)
        return params, grads, entries, fresh

    def _new_entry(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def _record_group(self, group: dict[str, Any], counters: list[Tensor]) -> None:
        """Tells the graph that is being recorded that the group's fused step comes next."""
        if _C._is_recording():
            _C._graph_group(self, group, counters)

    def _keep(self, fresh: list[Any]) -> None:
        for p, entry in fresh:
            self.state[p].update(entry)


class ParameterOptimizer(GroupOptimizer):
    """An optimizer composed of tensor operations on one parameter at a time, by `_update_parameter`."""

    def _update_group(self, group: dict[str, Any]) -> None:
        with no_grad():
            params, grads, entries, fresh = self._entries(group)
            for p, grad, entry in zip(params, grads, entries, strict=True):
                self._update_parameter(p, -grad if group["maximize"] else grad, entry, group)
            self._keep(fresh)

    def _update_parameter(self, p: Tensor, grad: Tensor, entry: dict[str, Any], group: dict[str, Any]) -> None:
        raise NotImplementedError
