"""Objects to a pickle as `torch.save` writes it: PyTorch's names, protocol 2, tensors' bytes left out.

A pickler of our own rather than pickle.Pickler: it knows what a checkpoint may hold, can name what it may not by its
place, and writes the names of a library that need not be installed.
"""

from __future__ import annotations

import struct
from collections import Counter, OrderedDict

from firesteel import _C, Size
from firesteel._formats import layout
from firesteel._rebuild import own_attributes
from firesteel.nn.parameter import Parameter

from .names import MAX_OBJECTS, STORAGE, UNTYPED, is_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

Tensor = _C.Tensor
_DEPTH = 100  # Containers within containers.
_BATCH = 1000


class _Storage:
    """A storage that is written: its number, its bytes, and the dtype that PyTorch is told."""

    def __init__(self, number: int, owner: Tensor, dtype: Any, nbytes: int) -> None:
        self.number, self.owner, self.nbytes = number, owner, nbytes
        self.dtype = dtype if dtype in STORAGE else None


class Encoder:
    """Makes a pickle of one object and collects the storages under its tensors.

    Raises:
        TypeError: for what a checkpoint cannot hold; the message says where in the object it lies.
    """

    def __init__(self, root: Any) -> None:
        self.out = bytearray(b"\x80\x02")
        self.memo: dict[Any, int] = {}
        self.kept: list[Any] = []  # What the memo knows by address must stay alive.
        self.open: set[int] = set()
        self.made = 0
        self.path: list[str] = []
        self.storages: dict[tuple[int, int], _Storage] = {}
        self.put(root)
        self.out += b"."

    def bytes_of_storages(self) -> list[memoryview]:
        """The storages' memory in the order of their numbers."""
        return [memoryview(_C._bytes(s.owner))[: s.nbytes] for s in self.storages.values()]

    def refuse(self, why: str) -> TypeError:
        """The error for what cannot be stored."""
        return TypeError(f"cannot save obj{''.join(self.path)}: {why}")

    # ---- opcodes ------------------------------------------------------------------------------------------------------

    def know(self, key: Any) -> None:
        number = self.memo[key] = len(self.memo)
        self.out += b"q%c" % number if number < 256 else b"r" + struct.pack("<I", number)

    def known(self, key: Any) -> bool:
        number = self.memo.get(key)
        if number is None:
            return False
        self.out += b"h%c" % number if number < 256 else b"j" + struct.pack("<I", number)
        return True

    def name(self, name: str) -> None:
        """A global, by its dotted name."""
        if not self.known(("global", name)):
            module, _, last = name.rpartition(".")
            self.out += f"c{module}\n{last}\n".encode()
            self.know(("global", name))

    def text(self, value: str) -> None:
        if not self.known(value):
            raw = value.encode("utf-8", "surrogatepass")
            self.out += b"X" + struct.pack("<I", len(raw)) + raw
            self.know(value)

    def number(self, value: int) -> None:
        if 0 <= value < 256:
            self.out += b"K%c" % value
        elif 0 <= value < 65536:
            self.out += b"M" + struct.pack("<H", value)
        elif -(1 << 31) <= value < 1 << 31:
            self.out += b"J" + struct.pack("<i", value)
        else:
            raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            self.out += (b"\x8a%c" % len(raw) if len(raw) < 256 else b"\x8b" + struct.pack("<i", len(raw))) + raw

    def numbers(self, values: Iterable[int]) -> None:
        """A tuple of ints."""
        values = tuple(values)
        self.out += b"("
        for value in values:
            self.number(value)
        self.out += b"t"

    def items(self, values: Iterable[Any], one: bytes, many: bytes, pairs: bool = False) -> None:
        """Adds to the container on the stack, in batches."""
        values = list(values)
        for at in range(0, len(values), _BATCH):
            part = values[at : at + _BATCH]
            self.out += b"(" if len(part) > 1 else b""
            for i, value in enumerate(part, at):
                if pairs:
                    key, value = value
                    self.key(key)
                    self.within(f"[{key!r:.80}]", value)
                else:
                    self.within(f"[{i}]", value)
            self.out += many if len(part) > 1 else one

    def key(self, key: Any) -> None:
        if not is_key(key):
            raise self.refuse(f"a key of type {type(key).__name__}; keys are strings, numbers and tuples of them")
        self.put(key)

    def within(self, step: str, value: Any) -> None:
        self.path.append(step)
        self.put(value)
        self.path.pop()

    # ---- objects ------------------------------------------------------------------------------------------------------

    def put(self, value: Any) -> None:
        kind = type(value)
        # At least as many as the steps in which it will be read, of which `load` allows so many.
        self.made += 40 if kind in (Tensor, Parameter) else 8
        if self.made > MAX_OBJECTS:
            raise self.refuse("too many objects; keep numbers in tensors")
        if value is None:
            self.out += b"N"
        elif kind is bool:
            self.out += b"\x88" if value else b"\x89"
        elif kind is int:
            self.number(value)
        elif kind is float:
            self.out += b"G" + struct.pack(">d", value)
        elif kind is str:
            self.text(value)
        elif kind is _C.dtype:
            self.name(repr(value))
        elif kind in _CONTAINERS:
            self.container(value, kind)
        elif kind in _SMALL:
            _SMALL[kind](self, value)
        else:
            raise self.refuse(_why_not(value))

    def container(self, value: Any, kind: type) -> None:
        key = id(value)
        if self.known(key):
            return
        if key in self.open:
            raise self.refuse(f"a {kind.__name__} that contains itself")
        if len(self.path) > _DEPTH:
            self.path = [*self.path[:3], " … "]
            raise self.refuse(f"more than {_DEPTH} containers within each other")
        self.open.add(key)
        self.kept.append(value)
        _CONTAINERS[kind](self, value)
        self.open.discard(key)

    def dict_(self, value: dict) -> None:
        self.out += b"}"
        self.know(id(value))
        self.items(value.items(), b"s", b"u", pairs=True)

    def ordered(self, value: OrderedDict) -> None:
        self.name("collections.OrderedDict")
        self.out += b")R"
        self.know(id(value))
        self.items(value.items(), b"s", b"u", pairs=True)
        if vars(value):  # The `_metadata` of a module's state.
            self.attributes(vars(value))
            self.out += b"b"

    def counter(self, value: Counter) -> None:
        self.name("collections.Counter")
        self.out += b"}"
        self.items(value.items(), b"s", b"u", pairs=True)
        self.out += b"\x85R"
        self.know(id(value))

    def list_(self, value: list) -> None:
        self.out += b"]"
        self.know(id(value))
        self.items(value, b"a", b"e")

    def tuple_(self, value: tuple) -> None:
        self.out += b"(" if value else b")"
        for i, part in enumerate(value):
            self.within(f"[{i}]", part)
        if value:
            self.out += b"t"
            self.know(id(value))

    def set_(self, value: set | frozenset) -> None:
        self.name(f"__builtin__.{type(value).__name__}")
        for part in value:
            if not is_key(part):
                raise self.refuse(f"a set with an element of type {type(part).__name__}")
        self.out += b"]"
        self.items(value, b"a", b"e")
        self.out += b"\x85R"
        self.know(id(value))

    def attributes(self, value: dict[str, Any]) -> None:
        self.out += b"}"
        for name, part in value.items():
            self.text(name)
            self.within(f".{name}", part)
            self.out += b"s"

    # ---- small things -------------------------------------------------------------------------------------------------

    def size(self, value: Size) -> None:
        self.name("torch.Size")
        self.numbers(value)
        self.out += b"\x85R"

    def device(self, value: Any) -> None:
        self.name("torch.device")
        self.text(value.type)
        if value.index is not None:
            self.number(value.index)
        self.out += b"\x85R" if value.index is None else b"\x86R"

    def layout_(self, value: layout) -> None:
        self.name("torch.serialization._get_layout")
        self.text(repr(value))
        self.out += b"\x85R"

    def complex_(self, value: complex) -> None:
        self.name("__builtin__.complex")
        self.out += b"G" + struct.pack(">d", value.real) + b"G" + struct.pack(">d", value.imag) + b"\x86R"

    def raw(self, value: bytes | bytearray) -> None:
        """Bytes as protocol 2 has them: text in Latin-1, and how to encode it."""
        if type(value) is bytearray:
            self.name("__builtin__.bytearray")
        self.name("_codecs.encode")
        self.text(value.decode("latin-1"))
        self.text("latin1")
        self.out += b"\x86R"
        if type(value) is bytearray:
            self.out += b"\x85R"

    # ---- tensors ------------------------------------------------------------------------------------------------------

    def hooks(self) -> None:
        """The place of backward hooks, which are not saved."""
        self.name("collections.OrderedDict")
        self.out += b")R"

    def tensor(self, value: Tensor) -> None:
        if self.known(id(value)):
            return
        self.kept.append(value)
        attributes = own_attributes(value)
        if attributes:
            self.name("torch._tensor._rebuild_from_type_v2")
            self.out += b"("
            self.plain(value, called=False)
            self.attributes(attributes)
            self.out += b"tR"
        else:
            self.plain(value)
        self.know(id(value))

    def parameter(self, value: Parameter) -> None:
        if self.known(id(value)):
            return
        self.kept.append(value)
        state = vars(value)
        self.name("torch._utils._rebuild_parameter_with_state" if state else "torch._utils._rebuild_parameter")
        self.out += b"("
        self.plain(value.data)
        self.out += b"\x88" if value.requires_grad else b"\x89"
        self.hooks()
        if state:
            self.attributes(state)
        self.out += b"tR"
        self.know(id(value))

    def plain(self, value: Tensor, called: bool = True) -> None:
        """A tensor without attributes: a function, its arguments, and the call (or the type that the result has)."""
        dtype, flag = value.dtype, b"\x88" if value.requires_grad else b"\x89"
        if value.device.type == "meta":
            self.name("torch._utils._rebuild_meta_tensor_no_storage")
            if not called:
                self.name("torch.Tensor")
            self.out += b"("
            self.name(repr(dtype))
            self.numbers(value.shape)
            self.numbers(value.stride())
            self.out += flag + (b"tR" if called else b"t")
            return
        storage = self.storage_of(value)
        typed = storage.dtype is dtype
        self.name("torch._utils._rebuild_tensor_v2" if typed else "torch._utils._rebuild_tensor_v3")
        if not called:
            self.name("torch.Tensor")
        self.out += b"(("
        self.text("storage")
        self.name(f"torch.{STORAGE[dtype]}" if typed else UNTYPED)
        self.text(str(storage.number))
        self.text("cpu")
        self.number(storage.nbytes // dtype.itemsize if typed else storage.nbytes)
        self.out += b"tQ"
        self.number(self.offset)
        self.numbers(value.shape)
        self.numbers(self.stride)
        self.out += flag
        self.hooks()
        if not typed:
            self.name(repr(dtype))
        self.out += b"tR" if called else b"t"

    def storage_of(self, value: Tensor) -> _Storage:
        """The storage under a tensor; also notes offset and strides in it."""
        owner = value.detach()
        if owner.device.type != "cpu":
            owner = owner.cpu()
        self.offset, self.stride = owner.storage_offset(), owner.stride()
        address, nbytes = owner._storage()
        storage = self.storages.get((address, nbytes))
        if storage is None:
            whole = nbytes - nbytes % owner.itemsize
            storage = _Storage(len(self.storages), owner, owner.dtype, whole)
            self.storages[address, nbytes] = storage
        return storage


_CONTAINERS: dict[type, Any] = {
    dict: Encoder.dict_, OrderedDict: Encoder.ordered, Counter: Encoder.counter, list: Encoder.list_,
    tuple: Encoder.tuple_, set: Encoder.set_, frozenset: Encoder.set_,
}  # fmt: skip
_SMALL: dict[type, Any] = {
    Tensor: Encoder.tensor, Parameter: Encoder.parameter, Size: Encoder.size, _C.device: Encoder.device,
    layout: Encoder.layout_, complex: Encoder.complex_, bytes: Encoder.raw, bytearray: Encoder.raw,
}  # fmt: skip


def _why_not(value: Any) -> str:
    """Why something cannot be saved, and what to save instead."""
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    what = f"{name} is not among what a checkpoint can hold (tensors, numbers, strings and plain containers)"
    if hasattr(value, "state_dict") and not isinstance(value, type):
        return f"{what}; save its state_dict()"
    for base in kind.__mro__[1:]:
        if base is Tensor:
            return f"{what}; of a subclass of Tensor save as_subclass(Tensor)"
        if base in (dict, OrderedDict, list, tuple, set, int, float, str):
            return f"{what}; save {base.__name__}(…) of it"
    if hasattr(value, "item") and hasattr(value, "dtype") and getattr(value, "shape", None) == ():
        return f"{what}; save its item()"
    if hasattr(value, "__array_interface__"):
        return f"{what}; save firesteel.from_numpy(…) of it"
    return what
