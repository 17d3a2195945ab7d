"""The static graph: a function is recorded once and run from then on without Python.

>>> import firesteel as fs
>>> w = fs.ones(3, requires_grad=True)
>>> optimizer = fs.optim.SGD([w], lr=0.5)
>>> @fs.compile
... def step(x):
...     optimizer.zero_grad()
...     loss = (w * x).sum()
...     loss.backward()
...     optimizer.step()
...     return loss.detach()
>>> for _ in range(4):
...     loss = step(fs.tensor([1.0, 2.0, 3.0]))
>>> loss
tensor(-15.)

The first call of a new kind runs as usual, the second runs and is recorded, later ones replay the recording: the same ops
on the same kernels, so the same bits. `compile` says what makes a call one of a new kind and what a compiled function
must not do.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import linecache
import os
import sys
import warnings

from firesteel import _C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["Compiled", "RecordingError", "compile"]

RecordingError = _C.RecordingError

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
# Recordings of one function; more kinds of calls than these run as usual.
_LIMIT = 8
# Kinds of calls that were seen once.
_SEEN = 16


def _where() -> tuple[str, int] | None:
    """File and line of the program, outside this package."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return None if frame is None else (frame.f_code.co_filename, frame.f_lineno)


def _refusal(what: str) -> str:
    """The message for something that a recording cannot follow, with the program's line."""
    place = _where()
    line = "" if place is None else f" at {place[0]}:{place[1]}"
    source = "" if place is None else linecache.getline(*place).strip()
    shown = f" (`{source}`)" if source else ""
    if what.startswith("`") or what.startswith("se"):
        return f"a compiled function must not do this: {what}{line}{shown}; do it outside the compiled function"
    return (
        f"a compiled function must not read values: {what}{line}{shown}; return the tensor and read it outside, or decide "
        "with tensor operations (where, clamp, masks)"
    )


# Threads that record, and what modules did before the first of them began.
_recorders, _hooked_before = 0, False


@contextlib.contextmanager
def _modules_are_noted() -> Iterator[None]:
    """Sends the calls of all modules through their hooks, where a recording notes them."""
    global _recorders, _hooked_before
    from firesteel.nn.hooks import Hooks, everywhere

    if _recorders == 0:
        _hooked_before = Hooks._hooked
    _recorders += 1
    Hooks._hooked = True
    try:
        yield
    finally:
        _recorders -= 1
        if _recorders == 0:
            tables = (everywhere.forward_pre, everywhere.forward, everywhere.backward_pre, everywhere.backward)
            Hooks._hooked = _hooked_before or any(tables)


class Compiled:
    """A function (or module) whose calls are recorded and replayed; made by `compile`.

    Printing it shows its recordings: a line for each op, with the line of the program that it came from.
    """

    def __init__(self, fn: Callable[..., Any]) -> None:
        functools.update_wrapper(self, fn, updated=())
        self._fn = fn
        self._recordings: list[Any] = []
        self._seen: list[Any] = []
        self._warned = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if _MODE != "check":
            for recording in self._recordings:
                result = recording.replay(args, kwargs)
                if result is not NotImplemented:
                    return result
        return self._new_call(args, kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __getattr__(self, name: str) -> Any:
        if name == "_fn":
            raise AttributeError(name)
        return getattr(self._fn, name)

    def __repr__(self) -> str:
        name = getattr(self._fn, "__qualname__", None) or type(self._fn).__name__
        return f"<compiled {name}: {len(self._recordings)} recordings>"

    def __str__(self) -> str:
        return "\n".join([repr(self), *(self._text(r) for r in self._recordings)])

    def _new_call(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        if _MODE == "off" or _C._is_recording():
            return self._fn(*args, **kwargs)
        for recording in self._recordings:
            if recording.applies(args, kwargs):
                return self._checked(recording, args, kwargs)
        seen = next((r for r in self._seen if r.applies(args, kwargs)), None)
        if len(self._recordings) >= _LIMIT:
            if not self._warned:
                self._warned = True
                warnings.warn(
                    f"{self!r}: calls of more than {_LIMIT} kinds (shapes, flags, states); further kinds run without a "
                    "recording. Pad batches to few sizes, or pass what changes as a tensor",
                    stacklevel=3,
                )
            return self._fn(*args, **kwargs)
        before = [] if seen is None else seen.numbers()[0]
        recording, result = self._record(args, kwargs, first=seen is None)
        if seen is None:
            self._seen.append(recording)
            del self._seen[:-_SEEN]
            return result
        _compare(seen, recording, before, repr(self))
        self._seen.remove(seen)
        self._recordings.insert(0, recording)
        return result

    def _record(self, args: tuple, kwargs: dict[str, Any], first: bool = False) -> tuple[Any, Any]:
        """Runs the function for real and writes down what it does."""
        with _modules_are_noted():
            try:
                _C._graph_begin(args, kwargs)
                result = self._fn(*args, **kwargs)
                return _C._graph_end(result, first), result
            except BaseException:
                _C._graph_abort()
                raise

    def _checked(self, recording: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Runs the function anew and compares what it does with the recording (FIRESTEEL_COMPILE=check)."""
        fresh, result = self._record(args, kwargs)
        if (found := _difference(recording.steps(), fresh.steps())) is not None:
            i, a, b = found
            raise RecordingError(f"{self!r}: step {i} was recorded as\n  {a}\nand is now\n  {b}")
        if not fresh.same_constants(recording):
            raise RecordingError(
                f"{self!r}: a tensor made from Python's data has other values than when it was recorded"
            )
        return result

    def _text(self, recording: Any) -> str:
        return recording.text(self._names(recording))

    def _names(self, recording: Any) -> list[str]:
        """A name for each slot: the argument's, the parameter's path in its module."""
        known: dict[int, str] = {}
        for module in recording.modules():
            for name, tensor in (*module.named_parameters(), *module.named_buffers()):
                known.setdefault(id(tensor), name)
        arguments = _argument_names(self._fn)
        names: list[str] = []
        for kind, *what in recording.slots():
            if kind == "argument":
                names.append(arguments[what[0]] if what[0] < len(arguments) else f"argument{what[0]}")
            elif kind == "grad":
                names.append(f"{names[what[0]]}.grad")
            elif kind == "state":
                names.append(f"state[{known.get(id(what[0]), 'parameter')}].{what[1]}")
            else:
                names.append(known.get(id(what[0]), f"tensor{len(names)}"))
        return names


def _argument_names(fn: Any) -> list[str]:
    try:
        return list(inspect.signature(fn).parameters)
    except (TypeError, ValueError):
        return []


def _difference(old: list[str], new: list[str]) -> tuple[int, str, str] | None:
    """The first step that differs: its number and both texts."""
    pairs = itertools.zip_longest(old, new, fillvalue="nothing")
    return next(((i, a, b) for i, (a, b) in enumerate(pairs) if a != b), None)


def _compare(seen: Any, recording: Any, before: list[float], name: str) -> None:
    """Refuses what differs between the first two calls and is no argument, no state."""
    firsts, seconds = seen.others(), recording.others()
    # Where the first call filled a cache, the second has another list.
    for (old, _), (new, place) in zip(firsts, seconds, strict=True) if len(firsts) == len(seconds) else ():
        if old is not new:
            line = "" if place is None else f" (used at {place[0]}:{place[1]})"
            raise RecordingError(
                f"a tensor of shape {list(new.shape)} from outside the compiled function{line} is another one at each call: "
                "pass it as an argument"
            )
    if not recording.same_constants(seen):
        raise RecordingError(
            "a tensor that the compiled function makes from Python's data (fs.tensor(…)) has other values at each call: pass "
            "it as an argument"
        )
    now, then = recording.numbers()
    if before != then or now != then:
        raise RecordingError(
            "a compiled function must not write to an optimizer's param_groups: set the rate outside, before the call"
        )
    if (found := _difference(seen.steps(), recording.steps())) is not None:
        i, old, new = found
        warnings.warn(
            f"{name}: two calls of one kind did different things; later calls do what the second did. Step {i} was\n  {old}\n"
            f"and then\n  {new}\nPass what changes (a count, a random number) as an argument: as a tensor if it changes often",
            stacklevel=4,
        )


def compile(
    model: Callable[..., Any] | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = None,
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    disable: bool = False,
) -> Any:
    """A function that does what `model` does, from a recording where it can; also a decorator.

    Compile a whole training step: forward, backward and optimizer. A call is of a new kind when shapes, strides, dtypes or
    devices of tensors, other arguments, grad mode, modes or parameters of the modules called, options of optimizers other
    than numbers, or which gradients and states there are differ from every recording; such a call runs as usual, the next
    one of its kind is recorded. Tensors are read anew at each call: `load_state_dict`, `p.data = …` and numbers in
    `param_groups` (schedules stepped outside) have their effect.

    Inside, a function must not read values (`item`, `if tensor`, `print`, `nonzero`), step a schedule, seed a generator,
    or keep a tensor other than as its result, a `.grad` or an optimizer's state: that raises `RecordingError`. Numbers that
    Python computes are constants of the recording.

    Args:
        model: a function, or a module that is used without gradients.
        disable: return `model` as it is.
        fullgraph, dynamic, backend, mode, options: taken for PyTorch's sake; a recording is always whole, and of one shape.

    Returns:
        a `Compiled`.

    Raises:
        RecordingError: when called, if the function does what a recording cannot follow.

    The environment variable `FIRESTEEL_COMPILE` may say `off` (everything runs as usual) or `check` (every call is recorded
    anew; a difference from the recording raises and names the first op that differs).

    >>> import firesteel as fs
    >>> double = fs.compile(lambda x: x * 2)
    >>> for _ in range(3):
    ...     y = double(fs.ones(2))
    >>> y
    tensor([2., 2.])
    """
    if model is None:
        return lambda fn: compile(fn, disable=disable)
    if not callable(model):
        raise TypeError(f"compile() takes a function or a module, not {type(model).__name__}")
    return model if disable else Compiled(model)


_MODE = os.environ.get("FIRESTEEL_COMPILE", "on")
