"""Checkpoints: `save` and `load` in PyTorch's own format, without its danger.

    archive.py    the zip container, checked byte for byte
    encode.py     objects to a pickle with PyTorch's names
    decode.py     a pickle to objects, by a loop that can build tensors and plain containers and nothing else
    names.py      the names on both sides, and the limits
    place.py      map_location
    atomic.py     the old file or the new one, whenever the writer dies

>>> import firesteel as fs, io
>>> file = io.BytesIO()
>>> fs.save({"weight": fs.ones(2), "epoch": 3}, file)
>>> _ = file.seek(0)
>>> fs.load(file)
{'weight': tensor([1., 1.]), 'epoch': 3}
"""

from __future__ import annotations

import contextlib
import os
import sys

from firesteel import _C

from .archive import Damaged, Reader, write
from .atomic import replacing
from .decode import Decoder
from .encode import Encoder
from .names import MAX_PICKLE
from .place import Placing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO

__all__ = ["Damaged", "load", "save"]


def save(
    obj: Any, f: Any, pickle_module: Any = None, pickle_protocol: int = 2, _use_new_zipfile_serialization: bool = True
) -> None:
    """Writes tensors, and plain containers of them, to a file that PyTorch reads too.

    Tensors that share memory do so again when they are loaded. A file is replaced as a whole: whatever happens
    meanwhile, the old one stays or the new one is complete.

    Args:
        obj: tensors, parameters, numbers, strings, bytes, sizes, dtypes, devices; and lists, tuples, dicts, ordered
            dicts, counters and sets of them. Of a module or optimizer its `state_dict()`.
        f: a path, or an object with `write`.
        pickle_module: taken for compatibility.
        pickle_protocol: taken for compatibility; what is written is protocol 2.
        _use_new_zipfile_serialization: must be true.

    Raises:
        TypeError: for what a checkpoint cannot hold; the message says where it lies. The file is untouched.
        OSError: if the file cannot be written; then the old one is still there.
    """
    if not _use_new_zipfile_serialization:
        raise NotImplementedError("firesteel does not write the format of PyTorch before version 1.6")
    if isinstance(pickle_protocol, bool) or not isinstance(pickle_protocol, int):
        raise TypeError(f"save(): argument 'pickle_protocol' must be int, not {type(pickle_protocol).__name__}")
    encoder = Encoder(obj)
    storages = encoder.bytes_of_storages()
    if isinstance(f, (str, os.PathLike)):
        with replacing(f) as file:
            write(file, bytes(encoder.out), storages)
    elif hasattr(f, "write"):
        write(f, bytes(encoder.out), storages)
    else:
        raise AttributeError("expected 'f' to be string, path, or a file-like object with a 'write' attribute")


@contextlib.contextmanager
def _opened(f: Any) -> Iterator[tuple[BinaryIO, str]]:
    if isinstance(f, (str, os.PathLike)):
        with open(f, "rb", buffering=0) as file:
            yield file, os.fsdecode(f)  # type: ignore[misc]
        return
    missing = [name for name in ("read", "seek", "tell") if not hasattr(f, name)]
    if missing or (hasattr(f, "seekable") and not f.seekable()):
        raise AttributeError(
            "load() takes a path or a file that can be read and sought; put what comes as a stream into an io.BytesIO "
            "first"
        )
    if not isinstance(f.read(0), bytes):
        raise TypeError('the file gives text; open it with "rb"')
    yield f, "the file"


def load(
    f: Any, map_location: Any = None, pickle_module: Any = None, *, weights_only: bool | None = None,
    mmap: bool | None = None, **pickle_load_args: Any,
) -> Any:  # fmt: skip
    """Reads what `save` or `torch.save` wrote. Nothing in the file is ever run, whatever it holds.

    Args:
        f: a path, or a file that can be read and sought.
        map_location: where tensors go: None (where they were), a device, a dict from devices in the file to devices,
            or a function of a storage on the CPU and its device in the file that returns a storage or None.
        pickle_module: taken for compatibility.
        weights_only: taken for compatibility: False allows no more than True.
        mmap: whether tensors stay in the file, which must be a path, and are read as they are used. What is written to
            them does not reach the file. Their sums are not checked.
        pickle_load_args: `encoding` and `errors`, taken for compatibility.

    Returns:
        The object that was saved.

    Raises:
        RuntimeError: if the file is damaged or no checkpoint (`serialization.Damaged`), or a tensor's device is not
            there; NotImplementedError, a subclass, if it holds a kind of tensor that firesteel does not have.
        pickle.UnpicklingError: if it holds anything but tensors and plain containers; the message says what.
        OSError: if it cannot be read.
    """
    odd = set(pickle_load_args) - {"encoding", "errors"}
    if odd:
        raise TypeError(f"load() got an unexpected keyword argument {min(odd)!r}")
    if mmap and not isinstance(f, (str, os.PathLike)):
        raise ValueError("f must be a file path in order to use the mmap argument")
    with _opened(f) as (file, name):
        archive = Reader(file, name)
        _check_maker(archive)
        placing = Placing(archive, map_location, _mapped(f, file) if mmap else None)
        made = Decoder(archive.read("data.pkl", MAX_PICKLE), placing.storage).run()
        archive.check_rest()
    return made


def _check_maker(archive: Reader) -> None:
    """Refuses what is an archive of PyTorch's, but no checkpoint that can be read here."""
    if archive.has("constants.pkl") or not archive.has("data.pkl"):
        what = "a TorchScript program, which is code" if archive.has("constants.pkl") else "no checkpoint of PyTorch's"
        raise Damaged(f"{archive.name} is {what}; save a state_dict()")
    order = archive.read("byteorder", 16).decode("latin-1") if archive.has("byteorder") else "little"
    if order not in ("little", "big"):
        raise archive.bad(f"its byte order is {order!r}")
    if order != sys.byteorder:
        raise NotImplementedError(f"{archive.name} was written on a machine with {order}-endian numbers")


def _mapped(path: Any, file: BinaryIO) -> Any:
    """The whole file as a tensor of bytes; it is the same file that was opened."""
    made = _C._map_file(os.fspath(path))
    now, then = os.stat(path), os.fstat(file.fileno())
    if (now.st_dev, now.st_ino, now.st_size) != (then.st_dev, then.st_ino, then.st_size):
        raise Damaged(f"{os.fsdecode(path)} was replaced while it was opened")
    return made
