"""A pickle to objects, by an opcode loop that can build tensors and plain containers and nothing else.

A global in the pickle is looked up in a table of a few dozen names, never imported; a call runs a function of this
file. Lengths are compared with what is there before anything is allocated, and what has been made is counted.
"""

from __future__ import annotations

import struct
from collections import Counter, OrderedDict
from pickle import UnpicklingError

from firesteel import _C, Size, _formats

from .names import ABSENT, DTYPES, MAX_ELEMENTS, MAX_INT, MAX_OBJECTS, STORAGE_DTYPES, UNTYPED, is_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

Tensor = _C.Tensor


class Stored:
    """The storage that a tensor in the pickle lies in: its number, and the dtype of what refers to it."""

    __slots__ = ("dtype", "memory")

    def __init__(self, memory: Any, dtype: Any) -> None:
        self.memory, self.dtype = memory, dtype


class Global:
    """A name of the table; it can be called by the pickle, and is no value."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Arguments(tuple):
    """A tuple with such things in it, which is no value either."""

    __slots__ = ()


_MANY = (tuple, list, dict, set, frozenset)
_LONG = (*_MANY, str, bytes)
_NO_VALUE = (Stored, Global, Arguments)


def _refuse(why: str) -> UnpicklingError:
    return UnpicklingError(why)


def _unknown(name: str) -> Exception:
    for start, what in ABSENT.items():
        if name.startswith(start):
            return NotImplementedError(f"the checkpoint has {name}: firesteel has no {what}")
    if name.startswith("torch.nn.modules") or ".modules." in name:
        return _refuse(
            f"the checkpoint holds a whole module ({name}), which is code; load it in PyTorch and save its state_dict()"
        )
    return _refuse(
        f"the checkpoint refers to {name}, which is neither a tensor nor a plain container; loading it would run "
        "code, so it is refused (in PyTorch, save what you need of it as tensors, numbers, strings, lists and dicts)"
    )


class Decoder:
    """Reads one pickle.

    Args:
        data: the pickle.
        storage: gives the memory of a storage from its key, dtype, number of elements and location.

    Raises:
        UnpicklingError: if the pickle is damaged, or holds what is not allowed.
        NotImplementedError: if it holds a kind of tensor that firesteel does not have.
    """

    def __init__(self, data: bytes, storage: Callable[[str, Any, int, str], Any]) -> None:
        self.data, self.storage = data, storage
        self.at = 0
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.made = 0

    def run(self) -> Any:
        """The object."""
        codes = _CODES
        data, end = self.data, len(self.data)
        while self.at < end:
            code = data[self.at]
            self.at += 1
            if code == 0x2E:  # STOP
                value = self.pop()
                if self.stack or self.marks or self.at != end:
                    raise _refuse("the pickle does not end where it should")
                return self.value(value)
            act = codes.get(code)
            if act is None:
                raise _refuse(f"the pickle has the opcode {code:#04x}, which checkpoints do not need")
            act(self)
            self.count(1)
        raise _refuse("the pickle was cut short")

    def count(self, made: int) -> None:
        """Counts what was made, so that a short pickle cannot keep anyone busy or fill the memory."""
        self.made += made
        if self.made > MAX_OBJECTS:
            raise _refuse(f"the pickle makes more than {MAX_OBJECTS} objects")

    # ---- stack and bytes ----------------------------------------------------------------------------------------------

    def take(self, n: int) -> bytes:
        """The next bytes of the pickle."""
        if n > len(self.data) - self.at or n < 0:
            raise _refuse("the pickle was cut short, or a length in it is wrong")
        self.at += n
        return self.data[self.at - n : self.at]

    def integer(self, form: str) -> int:
        """The next number of the pickle."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        end = self.data.find(b"\n", self.at, self.at + 1000)
        if end < 0:
            raise _refuse("a name in the pickle has no end")
        raw = self.take(end - self.at)
        self.at += 1
        return _decoded(raw)

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise _refuse("the pickle takes more from its stack than lies there")
        return self.stack.pop()

    def top(self) -> Any:
        if not self.stack:
            raise _refuse("the pickle's stack is empty where it should not be")
        return self.stack[-1]

    def since_mark(self) -> list[Any]:
        if not self.marks:
            raise _refuse("the pickle refers to a mark that is not there")
        found, self.stack = self.stack, self.marks.pop()
        return found

    def value(self, value: Any) -> Any:
        """What may be an element of a container."""
        if type(value) in _NO_VALUE:
            what = f" ({value.name})" if type(value) is Global else ""
            raise _refuse(f"the pickle has a function, a type or a bare storage{what} where a value should be")
        return value

    def key(self, value: Any) -> Any:
        if not is_key(value):
            raise _refuse(f"the pickle has a key of type {type(value).__name__}")
        return value

    # ---- opcodes ------------------------------------------------------------------------------------------------------

    def proto(self) -> None:
        version = self.take(1)[0]
        if version > 5:
            raise _refuse(f"the pickle's protocol is {version}")

    def frame(self) -> None:
        self.take(8)

    def global_(self) -> None:
        self.push(_global(self.line(), self.line()))

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise _refuse("a global in the pickle has no name")
        self.push(_global(module, name))

    def mark(self) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def pop_mark(self) -> None:
        self.since_mark()

    def tuple_of(self, parts: list[Any]) -> None:
        self.push(Arguments(parts) if any(type(p) in _NO_VALUE for p in parts) else tuple(parts))

    def tuple1(self) -> None:
        self.tuple_of([self.pop()])

    def tuple2(self) -> None:
        b = self.pop()
        self.tuple_of([self.pop(), b])

    def tuple3(self) -> None:
        c, b = self.pop(), self.pop()
        self.tuple_of([self.pop(), b, c])

    def append(self) -> None:
        self.extend([self.pop()])

    def appends(self) -> None:
        self.extend(self.since_mark())

    def extend(self, values: list[Any]) -> None:
        to = self.top()
        if type(to) is not list:
            raise _refuse("the pickle appends to what is no list")
        for value in values:
            to.append(self.value(value))

    def setitem(self) -> None:
        value = self.pop()
        self.update([self.pop(), value])

    def setitems(self) -> None:
        self.update(self.since_mark())

    def update(self, parts: list[Any]) -> None:
        to = self.top()
        if type(to) not in (dict, OrderedDict, Counter) or len(parts) % 2:
            raise _refuse("the pickle sets items of what is no dict")
        for i in range(0, len(parts), 2):
            to[self.key(parts[i])] = self.value(parts[i + 1])

    def additems(self) -> None:
        values, to = self.since_mark(), self.top()
        if type(to) is not set:
            raise _refuse("the pickle adds to what is no set")
        to.update(self.key(v) for v in values)

    def frozen(self) -> None:
        self.push(frozenset(self.key(v) for v in self.since_mark()))

    def list_(self) -> None:
        self.push([self.value(v) for v in self.since_mark()])

    def dict_(self) -> None:
        parts = self.since_mark()
        self.push({})
        self.update(parts)

    def put(self, number: int) -> None:
        # A dict, not a list: a large number costs nothing.
        self.memo[number] = self.top()

    def get(self, number: int) -> None:
        if number not in self.memo:
            raise _refuse("the pickle refers to what it has not made")
        self.push(self.memo[number])

    def memoize(self) -> None:
        self.put(len(self.memo))

    def text(self, n: int) -> None:
        self.push(_decoded(self.take(n)))

    def long(self, n: int) -> None:
        if n > MAX_INT:
            raise _refuse(f"the pickle has an int of {n} bytes")
        self.push(int.from_bytes(self.take(n), "little", signed=True))

    def persistent(self) -> None:
        pid = self.pop()
        if type(pid) is not Arguments or len(pid) != 5 or pid[0] != "storage" or type(pid[1]) is not Global:
            raise _refuse("the pickle refers to something outside that is no storage")
        _, kind, key, location, count = pid
        dtype = STORAGE_DTYPES.get(kind.name)
        if dtype is None or type(key) is not str or type(location) is not str or not _natural(count):
            raise _refuse("the pickle describes a storage wrongly")
        memory = self.storage(key, dtype, count, location)
        self.push(Stored(memory, None if kind.name == UNTYPED else dtype))

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if type(function) is not Global or not isinstance(arguments, tuple):
            raise _refuse("the pickle calls what is no function")
        for given in arguments:
            if type(given) in _LONG:  # It will be copied.
                self.count(len(given) // (1 if type(given) in _MANY else 16))
        self.push(call(function, arguments))

    def build(self) -> None:
        state, to = self.pop(), self.top()
        # Only what is already there: the `_metadata` of a module's state.
        if type(to) is not OrderedDict or type(state) is not dict:
            raise _refuse(f"the pickle sets the state of a {type(to).__name__}")
        vars(to).update(_attributes(state, OrderedDict))


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise _refuse("a string in the pickle is not UTF-8") from None


def _sized(form: str) -> Callable[[Decoder], bytes]:
    return lambda d: d.take(d.integer(form))


_CODES: dict[int, Any] = {
    ord("N"): lambda d: d.push(None),
    0x88: lambda d: d.push(True),
    0x89: lambda d: d.push(False),
    ord("K"): lambda d: d.push(d.take(1)[0]),
    ord("M"): lambda d: d.push(d.integer("<H")),
    ord("J"): lambda d: d.push(d.integer("<i")),
    0x8A: lambda d: d.long(d.take(1)[0]),
    0x8B: lambda d: d.long(d.integer("<i")),
    ord("G"): lambda d: d.push(d.integer(">d")),
    ord("X"): lambda d: d.text(d.integer("<I")),
    0x8C: lambda d: d.text(d.take(1)[0]),
    0x8D: lambda d: d.text(d.integer("<Q")),
    ord("B"): lambda d: d.push(_sized("<I")(d)),
    ord("C"): lambda d: d.push(_sized("<B")(d)),
    0x8E: lambda d: d.push(_sized("<Q")(d)),
    0x96: lambda d: d.push(bytearray(_sized("<Q")(d))),
    ord("U"): lambda d: d.push(_decoded(_sized("<B")(d))),
    ord("]"): lambda d: d.push([]),
    ord("}"): lambda d: d.push({}),
    ord(")"): lambda d: d.push(()),
    0x8F: lambda d: (d.count(3), d.push(set())),  # An empty set is four times as large as an empty list.
    ord("("): Decoder.mark,
    ord("0"): lambda d: d.pop(),
    ord("1"): Decoder.pop_mark,
    ord("t"): lambda d: d.tuple_of(d.since_mark()),
    0x85: Decoder.tuple1,
    0x86: Decoder.tuple2,
    0x87: Decoder.tuple3,
    ord("a"): Decoder.append,
    ord("e"): Decoder.appends,
    ord("s"): Decoder.setitem,
    ord("u"): Decoder.setitems,
    0x90: Decoder.additems,
    0x91: Decoder.frozen,
    ord("l"): Decoder.list_,
    ord("d"): Decoder.dict_,
    ord("q"): lambda d: d.put(d.take(1)[0]),
    ord("r"): lambda d: d.put(d.integer("<I")),
    0x94: Decoder.memoize,
    ord("h"): lambda d: d.get(d.take(1)[0]),
    ord("j"): lambda d: d.get(d.integer("<I")),
    0x80: Decoder.proto,
    0x95: Decoder.frame,
    ord("c"): Decoder.global_,
    0x93: Decoder.stack_global,
    ord("Q"): Decoder.persistent,
    ord("R"): Decoder.reduce,
    0x81: Decoder.reduce,  # NEWOBJ
    ord("b"): Decoder.build,
}


# ---- what a pickle may call -----------------------------------------------------------------------------------------


def _natural(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _sizes(value: Any) -> bool:
    return type(value) in (tuple, Size) and all(_natural(n) for n in value)


def _attributes(state: dict, kind: type) -> dict[str, Any]:
    """Attributes that hide nothing of their class."""
    for name in state:
        if type(name) is not str or not name.isidentifier() or hasattr(kind, name) or name.startswith("__"):
            raise _refuse(f"the pickle sets the attribute {name!r} of a {kind.__name__}")
    return state


def _check_view(size: Any, stride: Any) -> None:
    if not _sizes(size) or not _sizes(stride) or len(size) != len(stride) or len(size) > 64:
        raise _refuse("a tensor's sizes and strides do not fit together")
    count = 1
    for n in size:
        count *= n
    if count > MAX_ELEMENTS:
        raise _refuse(f"a tensor promises {count} elements, sizes {tuple(size)}")


def _leaf(made: Tensor, requires_grad: Any) -> Tensor:
    if type(requires_grad) is not bool or (requires_grad and not made.dtype.is_floating_point):
        raise _refuse("a tensor's requires_grad is no bool, or its dtype has no gradient")
    return made.requires_grad_() if requires_grad else made


def _no_hooks(hooks: Any) -> None:
    if hooks is not None and not (isinstance(hooks, dict) and not hooks):
        raise _refuse("a tensor has hooks, which are code")


def _view(stored: Any, dtype: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    if type(stored) is not Stored or type(dtype) is not _C.dtype or not _natural(offset):
        raise _refuse("a tensor has no storage, dtype or offset")
    _check_view(size, stride)
    try:
        return _C._over(stored.memory, dtype, list(size), list(stride), offset)
    except (RuntimeError, ValueError, OverflowError) as error:
        raise _refuse(f"a tensor does not fit: {error}") from None


def _tensor_v2(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any = False, hooks: Any = None, meta: Any = None
) -> Tensor:
    _no_hooks(hooks)
    if type(storage) is Stored and storage.dtype is None:
        return _leaf(_view(storage, _C.uint8, offset, size, stride), requires_grad)
    return _leaf(_view(storage, getattr(storage, "dtype", None), offset, size, stride), requires_grad)


def _tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, dtype: Any, meta: Any = None
) -> Tensor:
    _no_hooks(hooks)
    return _leaf(_view(storage, dtype, offset, size, stride), requires_grad)


def _meta(dtype: Any, size: Any, stride: Any, requires_grad: Any) -> Tensor:
    _check_view(size, stride)
    if type(dtype) is not _C.dtype:
        raise _refuse("a tensor has no dtype")
    reach = sum((n - 1) * s for n, s in zip(size, stride, strict=True)) + 1 if 0 not in size else 0
    if reach > MAX_ELEMENTS:
        raise _refuse(f"a tensor promises {reach} elements of memory")
    memory = _C._empty((reach,), dtype=dtype, device="meta")
    return _leaf(_C._over(memory, dtype, list(size), list(stride), 0), requires_grad)


def _parameter(data: Any, requires_grad: Any = True, hooks: Any = None, state: Any = None) -> Any:
    from firesteel.nn.parameter import Parameter

    _no_hooks(hooks)
    if type(data) is not Tensor or type(requires_grad) is not bool:
        raise _refuse("a parameter is made of no tensor")
    if requires_grad and not data.dtype.is_floating_point:
        raise _refuse(f"a parameter of dtype {data.dtype!r} requires grad")
    made = Parameter(data, requires_grad)
    if state is not None:
        if type(state) is not dict:
            raise _refuse("a parameter's attributes are no dict")
        vars(made).update(_attributes(state, Parameter))
    return made


def _with_attributes(function: Any, kind: Any, arguments: Any, state: Any) -> Tensor:
    if type(function) is not Global or type(kind) is not Global or not isinstance(arguments, tuple):
        raise _refuse("a tensor with attributes is made of no tensor")
    made = call(function, arguments)
    if kind.name != "torch.Tensor" or type(made) is not Tensor or type(state) is not dict:
        raise _refuse(f"the pickle has a tensor of the subclass {kind.name}, or one with odd attributes")
    for name, value in _attributes(state, Tensor).items():
        setattr(made, name, value)
    return made


def _pairs(*given: Any) -> OrderedDict:
    made: OrderedDict = OrderedDict()
    for pair in given[0] if given and type(given[0]) in (list, tuple) else ():
        if type(pair) not in (list, tuple) or len(pair) != 2 or not is_key(pair[0]):
            raise _refuse("an OrderedDict in the pickle is not made of pairs")
        made[pair[0]] = pair[1]
    if len(given) > 1 or (given and type(given[0]) not in (list, tuple)):
        raise _refuse("an OrderedDict in the pickle is not made of pairs")
    return made


def _counter(given: Any = None) -> Counter:
    if given is not None and type(given) is not dict:
        raise _refuse("a Counter in the pickle is not made of a dict")
    return Counter(given)


def _elements(kind: type) -> Callable[..., Any]:
    def make(given: Any = ()) -> Any:
        if type(given) not in (list, tuple, set, frozenset) or not all(is_key(v) for v in given):
            raise _refuse(f"a {kind.__name__} in the pickle is not made of plain values")
        return kind(given)

    return make


def _bytes(given: Any = b"") -> bytes:
    if type(given) is not bytes:
        raise _refuse("bytes in the pickle are not made of bytes")
    return given


def _bytearray(given: Any = b"", encoding: Any = "latin-1") -> bytearray:
    return bytearray(_encoded(given, encoding) if type(given) is str else _bytes(given))


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise _refuse("bytes in the pickle have an encoding other than Latin-1")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise _refuse("bytes in the pickle are not Latin-1") from None


def _complex(real: Any, imag: Any) -> complex:
    if type(real) is not float or type(imag) is not float:
        raise _refuse("a complex number in the pickle is not made of two floats")
    return complex(real, imag)


def _size(given: Any = ()) -> Size:
    if type(given) not in (tuple, list, Size) or not all(type(n) is int for n in given):
        raise _refuse("a Size in the pickle is not made of ints")
    return Size(given)


def _device(kind: Any, index: Any = None) -> Any:
    if type(kind) is not str or not (index is None or type(index) is int):
        raise _refuse("a device in the pickle is not made of a name and a number")
    try:
        return _C.device(kind) if index is None else _C.device(kind, index)
    except (RuntimeError, OverflowError, TypeError) as error:
        raise _refuse(f"a device in the pickle: {error}") from None


def _layout(name: Any) -> Any:
    found = getattr(_formats, name[6:], None) if type(name) is str and name.startswith("torch.") else None
    if type(found) is not _formats.layout:
        raise _refuse("a layout in the pickle has an unknown name")
    return found


_CALLS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor_v2,
    "torch._utils._rebuild_tensor_v2": _tensor_v2,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_meta_tensor_no_storage": _meta,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
    "torch._tensor._rebuild_from_type_v2": _with_attributes,
    "torch.serialization._get_layout": _layout,
    "torch.Size": _size,
    "torch.device": _device,
    "collections.OrderedDict": _pairs,
    "collections.Counter": _counter,
    "builtins.set": _elements(set),
    "builtins.frozenset": _elements(frozenset),
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytearray,
    "builtins.complex": _complex,
    "_codecs.encode": _encoded,
}


def _global(module: str, name: str) -> Any:
    whole = f"{'builtins' if module == '__builtin__' else module}.{name}"
    if whole in DTYPES:
        return DTYPES[whole]
    if whole in _CALLS or whole in STORAGE_DTYPES or whole == "torch.Tensor":
        return Global(whole)
    raise _unknown(whole)


def call(function: Global, arguments: tuple) -> Any:
    """Calls a function of the table."""
    act = _CALLS.get(function.name)
    if act is None:
        raise _refuse(f"the pickle calls {function.name}")
    try:
        return act(*arguments)
    except TypeError as error:
        raise _refuse(f"{function.name} in the pickle has wrong arguments: {error}") from None
