"""Where the storages of a checkpoint go, and their memory."""

from __future__ import annotations

from firesteel import _C
from firesteel._storage import Storage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .archive import Reader

Tensor = _C.Tensor
_HERE = ("cpu", "meta", "gpu")


def _device(location: str) -> Any:
    """The device that a file names.

    Raises:
        RuntimeError: if it is not there.
    """
    try:
        device = _C.device(location)
    except RuntimeError:
        raise RuntimeError(
            f"don't know how to restore data location of a storage tagged with {location!r}; load with "
            "map_location='cpu'"
        ) from None
    if device.type not in _HERE:
        raise RuntimeError(
            f"Attempting to deserialize object on a {device.type.upper()} device, which is not available. Please load "
            "with map_location='cpu' to map your storages to the CPU."
        )
    return device


def _rule(map_location: Any) -> Callable[[Storage, str], Any]:
    """A `map_location` as a function of a storage and its location: a storage, a device, or None."""
    if map_location is None:
        return lambda storage, location: None
    if isinstance(map_location, dict):
        return lambda storage, location: map_location.get(location)
    if isinstance(map_location, (str, _C.device)):
        device = _C.device(map_location)
        return lambda storage, location: device
    if callable(map_location):
        return map_location
    raise TypeError(f"map_location must be None, a device, a dict or a function, not {type(map_location).__name__}")


class Placing:
    """Gives each storage its memory, once.

    Args:
        archive: the checkpoint.
        map_location: as `load` takes it.
        mapped: the whole file as a tensor of bytes, if storages are to stay in it.
    """

    def __init__(self, archive: Reader, map_location: Any, mapped: Tensor | None) -> None:
        self.archive, self.mapped = archive, mapped
        self.asks = callable(map_location) and not isinstance(map_location, (dict, str, _C.device))
        self.rule = _rule(map_location)
        self.done: dict[str, Tensor] = {}

    def storage(self, key: str, dtype: Any, count: int, location: str) -> Tensor:
        """The memory of a storage, as a tensor that lies in it.

        Raises:
            Damaged: if its record is missing or not of the size that the pickle promises.
        """
        record = f"data/{key}"
        begin, size = self.archive.place(record)
        if count * dtype.itemsize != size:
            raise self.archive.bad(f"{record} has {size} bytes, but the pickle promises {count} of {dtype!r}")
        memory = self.done.get(key)
        if memory is None:
            memory = self.done[key] = self._place(record, begin, dtype, location)
        return memory

    def _place(self, record: str, begin: int, dtype: Any, location: str) -> Tensor:
        if not self.asks:
            target = self.rule(None, location)  # type: ignore[arg-type]
            device = _device(location) if target is None else _C.device(target)
            if device.type == "meta":
                return _C._empty((self.archive.place(record)[1],), dtype=_C.uint8, device="meta")
            return self._moved(self._read(record, begin), dtype, device)
        memory = self._read(record, begin)
        given = self.rule(Storage(memory, dtype), location)
        if given is None:
            return self._moved(memory, dtype, _device(location))
        if not isinstance(given, Storage):
            raise TypeError(f"map_location must return a storage or None, not {type(given).__name__}")
        return given._tensor

    def _moved(self, memory: Tensor, dtype: Any, device: Any) -> Tensor:
        if device.type == "cpu":
            return memory
        count = memory.numel() // dtype.itemsize
        return _C._over(memory, dtype, [count], [1], 0).to(device)

    def _read(self, record: str, begin: int) -> Tensor:
        size = self.archive.place(record)[1]
        if self.mapped is not None and size:
            self.archive.skip(record)
            part = _C._part(self.mapped, begin, size)
            return part if begin % 8 == 0 else _C.clone(part)
        memory = _C._empty((size,), dtype=_C.uint8)
        self.archive.read_into(record, memoryview(_C._bytes(memory)))
        return memory
