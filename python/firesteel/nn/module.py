"""The base class of all layers and models.

A module holds parameters, buffers and other modules, found by assigning them as attributes; calling it runs `forward`.

>>> import firesteel as fs
>>> class Net(fs.nn.Module):
...     def __init__(self):
...         super().__init__()
...         self.fc = fs.nn.Linear(4, 2)
...     def forward(self, x):
...         return self.fc(x).relu()
>>> net = Net()
>>> net(fs.zeros(3, 4)).shape
torch.Size([3, 2])
>>> net
Net(
  (fc): Linear(in_features=4, out_features=2, bias=True)
)
"""

from __future__ import annotations

from collections import OrderedDict

from firesteel import _C

from .conversion import Conversion
from .hooks import Hooks, everywhere, through
from .parameter import Buffer, Parameter
from .state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["Module", "typename"]

Tensor = _C.Tensor


def typename(value: object) -> str:
    """The name of a value's type as error messages give it.

    >>> typename(3.0)
    'float'
    """
    if isinstance(value, Tensor):
        return value.type()
    named = value if hasattr(value, "__qualname__") else type(value)
    module = getattr(named, "__module__", None)
    return named.__qualname__ if module in (None, "builtins") else f"{module}.{named.__qualname__}"


class _Where(str):
    """The note on an exception that says in which module it was raised."""

    __slots__ = ()


def _note_where(error: BaseException, call: Any) -> None:
    """Notes on the error the path of modules that it has passed on its way up, read off its traceback.

    Each enclosing module does this anew, so that the note grows to `in Net.encoder.2.fc1 (Linear)`.
    """
    passed: list[Module] = []
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_code is call:
            passed.append(step.tb_frame.f_locals["self"])
        step = step.tb_next
    from itertools import pairwise

    path = type(passed[0]).__name__
    for outer, inner in pairwise(passed):
        names = [name for name, module in outer.named_modules() if module is inner]
        path += f".{names[0]}" if names and names[0] else f".<{type(inner).__name__}>"
    if len(passed) > 1:
        path += f" ({type(passed[-1]).__name__})"
    notes = getattr(error, "__notes__", None)
    if notes and isinstance(notes[-1], _Where):
        notes.pop()
    error.add_note(_Where(f"in {path}"))


class Module(Hooks, State, Conversion):
    """A layer or model: assigned parameters, buffers and modules are found, counted, moved and saved with it.

    Subclasses call `super().__init__()` first and define `forward`.

    Attributes:
        training: whether the module is in training mode; see `train` and `eval`.
    """

    dump_patches = False
    call_super_init = False
    training: bool
    if TYPE_CHECKING:
        __constants__: tuple[str, ...]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init:
            if kwargs:
                raise TypeError(
                    f"{type(self).__name__}.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'"
                )
            if args:
                raise TypeError(
                    f"{type(self).__name__}.__init__() takes 1 positional argument but {len(args) + 1} were given"
                )
        state = self.__dict__
        state["training"] = True
        state["_parameters"] = {}
        state["_buffers"] = {}
        state["_non_persistent_buffers_set"] = set()
        state["_modules"] = {}
        state["_is_full_backward_hook"] = None
        for name in _HOOK_TABLES:
            state[name] = OrderedDict()
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def forward(self, *args: Any) -> Any:
        """Computes the module's result; every module defines its own."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if self._hooked:
                return self._call_with_hooks(args, kwargs)
            return self.forward(*args, **kwargs)
        except Exception as error:
            _note_where(error, _CALL)
            raise

    # ---- registration

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter, or with None a place for one.

        Args:
            name: the attribute it can be reached by.
            param: the parameter.

        Raises:
            KeyError: if the name is empty, has a dot or is taken.
            TypeError: if `param` is no parameter.
        """
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        self._check_name(name, "parameter", self._parameters)
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{typename(param)}' object to parameter '{name}' "
                    "(torch.nn.Parameter or None required)"
                )
            if param.grad_fn is not None:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created "
                    f"explicitly. To express '{name}' as a function of another Tensor, compute the value in "
                    "the forward() method."
                )
            if everywhere.new_parameter:
                param = through(everywhere.new_parameter, self, name, param)
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Adds a tensor that is kept and moved with the module but not trained.

        Args:
            name: the attribute it can be reached by.
            tensor: the tensor, or None.
            persistent: whether it is part of `state_dict`.

        Raises:
            KeyError: if the name is empty, has a dot or is taken.
            TypeError: if `tensor` is no tensor.
        """
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        self._check_name(name, "buffer", self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{typename(tensor)}' object to buffer '{name}' (torch Tensor or None required)"
            )
        if everywhere.new_buffer:
            tensor = through(everywhere.new_buffer, self, name, tensor)
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Adds a module below this one.

        Args:
            name: the attribute it can be reached by.
            module: the module, or None.

        Raises:
            KeyError: if the name is empty, has a dot or is taken.
            TypeError: if `module` is no module.
        """
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{typename(module)} is not a Module subclass")
        self._check_name(name, "module", self._modules)
        if everywhere.new_module:
            module = through(everywhere.new_module, self, name, module)
        self._modules[name] = module

    def register_module(self, name: str, module: Module | None) -> None:
        """The same as `add_module`."""
        self.add_module(name, module)

    def _check_name(self, name: object, kind: str, table: dict[str, Any]) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {typename(name)}")
        if "." in name:
            got = f", got: {name}" if kind == "module" else ""
            raise KeyError(f'{kind} name can\'t contain "."{got}')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if name not in table and self._has(name):
            raise KeyError(f"attribute '{name}' already exists")

    def _has(self, name: str) -> bool:
        """As `hasattr`, without the error message that a failed look into the tables would make."""
        cls = type(self)
        if cls.__getattr__ is not Module.__getattr__:
            return hasattr(self, name)
        state = self.__dict__
        return (
            name in state
            or name in state["_parameters"]
            or name in state["_buffers"]
            or name in state["_modules"]
            or hasattr(cls, name)
        )

    # ---- attributes

    def __getattr__(self, name: str) -> Any:
        state = self.__dict__
        if "_modules" in state:
            table = state["_parameters"]
            if name in table:
                return table[name]
            table = state["_modules"]
            if name in table:
                return table[name]
            table = state["_buffers"]
            if name in table:
                return table[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        state = self.__dict__
        if isinstance(value, Tensor):
            self._set_tensor(name, value, state)
        elif isinstance(value, Module):
            if "_modules" not in state:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._drop(name, state, self._parameters, self._buffers)
            if everywhere.new_module:
                value = through(everywhere.new_module, self, name, value)
            state["_modules"][name] = value
        elif "_modules" not in state:
            object.__setattr__(self, name, value)
        elif name in state["_parameters"]:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as parameter '{name}' (torch.nn.Parameter or None expected)"
                )
            state["_parameters"][name] = None
        elif name in state["_modules"]:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as child module '{name}' (torch.nn.Module or None expected)"
                )
            state["_modules"][name] = None
        elif name in state["_buffers"]:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as buffer '{name}' "
                    "(torch.nn.Buffer, torch.Tensor or None expected)"
                )
            state["_buffers"][name] = None
        else:
            object.__setattr__(self, name, value)

    def _set_tensor(self, name: str, value: Tensor, state: dict[str, Any]) -> None:
        if isinstance(value, Parameter):
            if "_parameters" not in state:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            state.pop(name, None)
            if state["_buffers"] or state["_modules"]:
                self._drop(name, state["_buffers"], state["_modules"])
                state["_non_persistent_buffers_set"].discard(name)
            self.register_parameter(name, value)
            return
        if "_buffers" not in state:
            if isinstance(value, Buffer):
                raise AttributeError("cannot assign buffer before Module.__init__() call")
            object.__setattr__(self, name, value)
            return
        for table, what in ((state["_parameters"], "parameter"), (state["_modules"], "child module")):
            if name in table:
                expected = "Parameter" if what == "parameter" else "Module"
                raise TypeError(
                    f"cannot assign '{typename(value)}' as {what} '{name}' (torch.nn.{expected} or None expected)"
                )
        if name in state["_buffers"]:
            persistent = value.persistent if isinstance(value, Buffer) else name not in self._non_persistent_buffers_set
            self.register_buffer(name, value, persistent)
        elif isinstance(value, Buffer):
            self._drop(name, state)
            self.register_buffer(name, value, value.persistent)
        else:
            object.__setattr__(self, name, value)

    @staticmethod
    def _drop(name: str, *tables: dict[str, Any]) -> None:
        for table in tables:
            table.pop(name, None)

    def __delattr__(self, name: str) -> None:
        if name in self._parameters:
            del self._parameters[name]
        elif name in self._buffers:
            del self._buffers[name]
            self._non_persistent_buffers_set.discard(name)
        elif name in self._modules:
            del self._modules[name]
        else:
            object.__delattr__(self, name)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name in _HOOK_TABLES:
            self.__dict__.setdefault(name, OrderedDict())
        self.__dict__.setdefault("_non_persistent_buffers_set", set())
        self.__dict__.setdefault("_is_full_backward_hook", None)

    def __dir__(self) -> list[str]:
        names = {*dir(type(self)), *self.__dict__, *self._parameters, *self._modules, *self._buffers}
        return sorted(name for name in names if not name[0].isdigit())

    # ---- what is inside

    def _named_members(
        self, get: Callable, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """Goes through the entries that `get(module)` gives, this module's and those below, each object once."""
        seen: set[Any] = set()
        if recurse:
            modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        else:
            modules = iter([(prefix, self)])
        for path, module in modules:
            for name, value in get(module):
                if value is None or value in seen:
                    continue
                if remove_duplicate:
                    seen.add(value)
                yield (f"{path}.{name}" if path else name), value

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Goes through the parameters, with `recurse` also those of the modules below; each once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Goes through (name, parameter) pairs.

        Args:
            prefix: put before the names.
            recurse: whether to go into the modules below.
            remove_duplicate: give a parameter that has several names only once.

        >>> import firesteel as fs
        >>> [name for name, _ in fs.nn.Sequential(fs.nn.Linear(1, 1)).named_parameters()]
        ['0.weight', '0.bias']
        """
        return self._named_members(lambda module: module._parameters.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Goes through the buffers, with `recurse` also those of the modules below; each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Goes through (name, buffer) pairs; the arguments are those of `named_parameters`."""
        return self._named_members(lambda module: module._buffers.items(), prefix, recurse, remove_duplicate)

    def children(self) -> Iterator[Module]:
        """Goes through the modules directly below this one."""
        for _, module in self.named_children():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Goes through (name, module) pairs of the modules directly below this one; each once."""
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def modules(self) -> Iterator[Module]:
        """Goes through this module and all below it; each once."""
        for _, module in self.named_modules():
            yield module

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Goes through (path, module) pairs: this one, whose path is the prefix, then all below.

        Args:
            memo: modules to leave out.
            prefix: the path of this module.
            remove_duplicate: give a module that has several names only once.
        """
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def get_submodule(self, target: str) -> Module:
        """Returns the module at a path such as `encoder.2.fc1`; the empty path is this module.

        Raises:
            AttributeError: if there is none.
        """
        module: Any = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Puts a module at a path.

        Args:
            target: the path.
            module: the new module.
            strict: whether there must be one already.

        Raises:
            ValueError: if the path is empty or `module` is no module.
            AttributeError: if the path leads nowhere.
        """
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if hasattr(parent, name):
            if not isinstance(getattr(parent, name), Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        elif strict:
            raise AttributeError(f"{parent._get_name()} has no attribute `{name}`")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """Returns the parameter at a path such as `encoder.2.fc1.weight`.

        Raises:
            AttributeError: if there is none.
        """
        _, name, value = self._get_tensor(target)
        if not isinstance(value, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return value

    def get_buffer(self, target: str) -> Tensor:
        """Returns the buffer at a path.

        Raises:
            AttributeError: if there is none.
        """
        module, name, value = self._get_tensor(target)
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return value

    def _get_tensor(self, target: str) -> tuple[Module, str, Any]:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        return module, name, getattr(module, name)

    # ---- modes

    def train(self, mode: bool = True) -> Any:
        """Puts the module and those below into training mode, or with False out of it; returns it.

        Raises:
            ValueError: if `mode` is no bool.
        """
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Any:
        """Puts the module and those below out of training mode: dropout passes all, batch norm uses its averages."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Sets whether the parameters get gradients; returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clears the gradients of all parameters.

        Args:
            set_to_none: forget them; otherwise they are filled with zeros.
        """
        for parameter in self.parameters():
            grad = parameter.grad
            if grad is None:
                continue
            if set_to_none:
                parameter.grad = None
            else:
                if grad.grad_fn is not None:
                    grad.detach_()
                else:
                    grad.requires_grad_(False)
                grad.zero_()

    # ---- repr

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands between the parentheses of the repr; modules that have settings override it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        extra_lines = extra.split("\n") if extra else []
        child_lines = [f"({name}): {_indent(repr(module))}" for name, module in self._modules.items()]
        lines = extra_lines + child_lines
        name = self._get_name()
        if not lines:
            return f"{name}()"
        if len(extra_lines) == 1 and not child_lines:
            return f"{name}({extra_lines[0]})"
        return name + "(\n  " + "\n  ".join(lines) + "\n)"


_HOOK_TABLES = (
    "_backward_pre_hooks",
    "_backward_hooks",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
_CALL = Module.__call__.__code__


def _indent(text: str) -> str:
    """The text with all lines but the first two spaces further right."""
    return text.replace("\n", "\n  ")
