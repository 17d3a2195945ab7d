"""Tensors in the safetensors format (https://github.com/huggingface/safetensors), with the functions of its package.

The header is read, checked and written by the format's own Rust crate. Files are mapped: a tensor's bytes are read when
they are used, and what is written to it does not reach the file. Files are replaced as a whole, so a mapping of the old
one stays as it was; a program that shortens a file in place while it is mapped ends the process that touches it.

>>> import firesteel as fs
>>> from firesteel.safetensors import load, save
>>> load(save({"weight": fs.ones(2)}))
{'weight': tensor([1., 1.])}
"""

from __future__ import annotations

import os

from . import _C
from .serialization.archive import PIECE
from .serialization.atomic import replacing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from ._C import Tensor

__all__ = ["SafetensorError", "load", "load_file", "safe_open", "save", "save_file"]

_MAX_HEADER = 100_000_000  # Bytes; the crate's own bound.
_NAMES = {
    _C.bool: "BOOL", _C.uint8: "U8", _C.int8: "I8", _C.uint16: "U16", _C.int16: "I16", _C.float16: "F16",
    _C.bfloat16: "BF16", _C.uint32: "U32", _C.int32: "I32", _C.float32: "F32", _C.uint64: "U64", _C.int64: "I64",
    _C.float64: "F64",
}  # fmt: skip
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}


class SafetensorError(RuntimeError):
    """A file that is not in the format, or tensors that it cannot hold."""


# ---- writing ----------------------------------------------------------------------------------------------------------


def _overlapping(spans: list[tuple[int, int, str]]) -> list[str] | None:
    """The names of two tensors that use the same bytes, given as (begin, end, name)."""
    furthest, owner = 0, ""
    for begin, end, name in sorted(spans):
        if begin < furthest:
            return sorted([owner, name])
        furthest, owner = end, name
    return None


def _checked(tensors: Any) -> None:
    """Refuses what the format cannot hold."""
    if not isinstance(tensors, dict):
        raise ValueError(f"Expected a dict of [str, Tensor] but received {type(tensors)}")
    spans = []
    for name, tensor in tensors.items():
        if not isinstance(name, str) or name == "__metadata__":
            raise ValueError(f"Key {name!r} is invalid: tensors have names, and '__metadata__' is taken")
        if not isinstance(tensor, _C.Tensor):
            raise ValueError(f"Key `{name}` is invalid, expected a Tensor but received {type(tensor)}")
        if tensor.device.type == "meta":
            raise ValueError(f"`{name}` is on the meta device: it has no values to save")
        if not tensor.is_contiguous():
            raise ValueError(
                f"You are trying to save a non contiguous tensor: `{name}` which is not allowed: call .contiguous() on "
                "it, or save the tensor that it is a view of and slice it after loading"
            )
        if tensor.numel() and tensor.device.type == "cpu":
            spans.append((tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes, name))
    same = _overlapping(spans)
    if same:
        raise RuntimeError(
            f"Some tensors share memory, this will lead to duplicate memory on disk and potential differences when "
            f"loading them again: {same}; save one of them, or a clone() of each"
        )


def _parts(tensors: Any, metadata: Any) -> Iterator[memoryview]:
    """The file's bytes, piece by piece, after everything has been checked."""
    _checked(tensors)
    if metadata is not None and not (
        isinstance(metadata, dict) and all(type(k) is str and type(v) is str for k, v in metadata.items())
    ):
        raise TypeError("metadata must be a dict from strings to strings")
    given = [(name, _NAMES[t.dtype], tuple(t.shape)) for name, t in tensors.items()]
    header, order = _C._safetensors_header(given, metadata)
    if len(header) > _MAX_HEADER:
        raise SafetensorError(f"the header has {len(header)} bytes, more than the {_MAX_HEADER} that it may have")
    values = list(tensors.values())

    def pieces() -> Iterator[memoryview]:
        yield memoryview(len(header).to_bytes(8, "little") + header)
        for i in order:
            tensor = values[i].detach().cpu()
            begin = tensor.storage_offset() * tensor.element_size()
            whole = memoryview(_C._bytes(tensor))[begin : begin + tensor.nbytes]
            for at in range(0, len(whole), PIECE):
                yield whole[at : at + PIECE]

    return pieces()


def save(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """Tensors as the bytes of a file.

    Args:
        tensors: contiguous tensors that share no memory, by name.
        metadata: strings to keep with them.

    Raises:
        ValueError: for what is no contiguous tensor with values.
        RuntimeError: if two tensors share memory.
    """
    return b"".join(_parts(tensors, metadata))


def save_file(
    tensors: dict[str, Tensor], filename: str | os.PathLike[str], metadata: dict[str, str] | None = None
) -> None:
    """Writes tensors to a file, which is replaced as a whole: whatever happens, it is the old one or the new one.

    Args:
        tensors: contiguous tensors that share no memory, by name.
        filename: a path.
        metadata: strings to keep with them.

    Raises:
        ValueError: for what is no contiguous tensor with values.
        RuntimeError: if two tensors share memory.
        OSError: if the file cannot be written.
    """
    pieces = _parts(tensors, metadata)
    with replacing(filename) as file:
        for piece in pieces:
            file.write(piece)


# ---- reading ----------------------------------------------------------------------------------------------------------


class _Contents:
    """What lies where in the bytes of a file."""

    def __init__(self, memory: Any, what: str) -> None:
        self.memory, self.size = memory, memory.numel()
        raw = memoryview(_C._bytes(memory))
        n = int.from_bytes(raw[:8], "little")
        if self.size < 8:
            raise SafetensorError(f"Error while deserializing: header too small ({what})")
        if n > _MAX_HEADER:
            raise SafetensorError(f"Error while deserializing: header too large ({what} promises {n} bytes)")
        if n > self.size - 8:
            raise SafetensorError(f"Error while deserializing: invalid header length ({what} is cut short)")
        try:
            entries, self.metadata, length = _C._safetensors_parse(bytes(raw[8 : 8 + n]))
        except ValueError as error:
            raise SafetensorError(f"Error while deserializing: {error} ({what})") from None
        self.begin = 8 + n
        if length != self.size - self.begin:
            raise SafetensorError(
                f"Error while deserializing: incomplete metadata, file not fully covered ({what} has "
                f"{self.size - self.begin} bytes of data, its header promises {length})"
            )
        self.entries = {name: (dtype, shape, begin, end) for name, dtype, shape, begin, end in entries}

    def tensor(self, name: str, device: Any) -> Tensor:
        if name not in self.entries:
            raise SafetensorError(f"File does not contain tensor {name}")
        kind, shape, begin, end = self.entries[name]
        dtype = _DTYPES.get(kind)
        if dtype is None:
            raise NotImplementedError(f"tensor {name} has dtype {kind}, which firesteel does not have")
        if begin == end:
            return _C._empty(tuple(shape), dtype=dtype, device=device)
        part = _C._part(self.memory, self.begin + begin, end - begin)
        if part.data_ptr() % dtype.itemsize:
            part = _C.clone(part)  # Kernels want elements at multiples of their size.
        strides = [1] * len(shape)
        for i in range(len(shape) - 1, 0, -1):
            strides[i - 1] = strides[i] * shape[i]
        return _C._over(part, dtype, shape, strides, 0).to(device)


def _mapped(filename: Any) -> _Contents:
    path = os.fspath(filename)
    if os.path.isdir(path):
        raise IsADirectoryError(f"[Errno 21] Is a directory: {path!r}")
    return _Contents(_C._map_file(path), os.fsdecode(path))


def load_file(filename: str | os.PathLike[str], device: Any = "cpu") -> dict[str, Tensor]:
    """The tensors of a file, which stays mapped as long as one of them lives.

    Args:
        filename: a path.
        device: where the tensors go.

    Raises:
        SafetensorError: if the file is not in the format.
        NotImplementedError: if a tensor has a dtype that firesteel does not have.
        OSError: if it cannot be read.
    """
    contents = _mapped(filename)
    return {name: contents.tensor(name, device) for name in contents.entries}


def load(data: bytes) -> dict[str, Tensor]:
    """The tensors in the bytes of a file, which are copied.

    Args:
        data: what `save` returned, or a file's bytes.

    Raises:
        SafetensorError: if they are not in the format.
    """
    memory = _C._empty((len(data),), dtype=_C.uint8)
    memoryview(_C._bytes(memory))[:] = data
    contents = _Contents(memory, "the data")
    return {name: contents.tensor(name, "cpu") for name in contents.entries}


class _Slice:
    """A tensor of a file that is read in part: `slice[2:4]` gives those rows."""

    def __init__(self, contents: _Contents, name: str, device: Any) -> None:
        self._whole, self._dtype, self._device = contents.tensor(name, "cpu"), contents.entries[name][0], device

    def get_shape(self) -> list[int]:
        """The sizes of the whole tensor."""
        return list(self._whole.shape)

    def get_dtype(self) -> str:
        """Its dtype as the format writes it ('F32')."""
        return self._dtype

    def __getitem__(self, index: Any) -> Tensor:
        return _C.clone(self._whole[index], memory_format="contiguous").to(self._device)


class safe_open:
    """A file whose tensors are read one by one.

    Args:
        filename: a path.
        framework: 'pt' or 'fs': both give firesteel's tensors.
        device: where the tensors go.

    Raises:
        SafetensorError: if the file is not in the format, or `framework` is another one.
        OSError: if it cannot be read.

    >>> import firesteel as fs, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> fs.safetensors.save_file({"weight": fs.eye(2)}, path, {"made by": "hand"})
    >>> with fs.safetensors.safe_open(path, framework="fs") as file:
    ...     list(file.keys()), file.metadata(), file.get_slice("weight")[1]
    (['weight'], {'made by': 'hand'}, tensor([0., 1.]))
    """

    def __init__(self, filename: str | os.PathLike[str], framework: str = "fs", device: Any = "cpu") -> None:
        if framework not in ("pt", "torch", "pytorch", "fs", "firesteel"):
            raise SafetensorError(f"framework {framework!r} is invalid; 'pt' and 'fs' give firesteel's tensors")
        self._device = device
        self._contents: _Contents | None = _mapped(filename)

    def _open(self) -> _Contents:
        if self._contents is None:
            raise SafetensorError("File is closed")
        return self._contents

    def __enter__(self) -> safe_open:
        return self

    def __exit__(self, *error: object) -> None:
        self._contents = None

    def keys(self) -> list[str]:
        """The tensors' names, in order."""
        return sorted(self._open().entries)

    def offset_keys(self) -> list[str]:
        """The tensors' names in the order of their data."""
        return list(self._open().entries)

    def metadata(self) -> Mapping[str, str] | None:
        """The strings kept with the tensors."""
        return self._open().metadata

    def get_tensor(self, name: str) -> Tensor:
        """A tensor by name; its bytes are read when it is used."""
        return self._open().tensor(name, self._device)

    def get_slice(self, name: str) -> _Slice:
        """A tensor of which only what is indexed will be read."""
        return _Slice(self._open(), name, self._device)
