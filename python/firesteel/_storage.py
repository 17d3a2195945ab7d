"""The memory under a tensor, as an object."""

from __future__ import annotations

from . import _C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Tensor = _C.Tensor


class Storage:
    """The memory that a tensor lies in, which its views share."""

    def __init__(self, tensor: Tensor, dtype: Any = None) -> None:
        self._tensor, self.dtype = tensor.detach(), dtype or _C.uint8

    def data_ptr(self) -> int:
        """Its address."""
        return self._tensor._storage()[0]

    def nbytes(self) -> int:
        """Its size in bytes."""
        return self._tensor._storage()[1]

    def size(self) -> int:
        """Its number of elements."""
        return self.nbytes() // self.dtype.itemsize

    __len__ = size

    @property
    def device(self) -> Any:
        """The device that it lies on."""
        return self._tensor.device

    def to(self, device: Any) -> Storage:
        """The same values on another device; itself when they are there."""
        moved = self._all().to(device)
        return self if moved.device == self.device else Storage(moved, self.dtype)

    def cpu(self) -> Storage:
        """The same values on the CPU; itself when they are there."""
        return self.to("cpu")

    def cuda(self, device: Any = None) -> Storage:
        """Raises: firesteel has no CUDA device."""
        return self.to("cuda" if device is None else device)

    def _all(self) -> Tensor:
        return _C._over(self._tensor, self.dtype, [self.size()], [1], 0)

    def tolist(self) -> list[Any]:
        """Its elements."""
        return self._all().tolist()

    def __getitem__(self, i: Any) -> Any:
        found = self._all()[i]
        return found.item() if found.dim() == 0 else found.tolist()

    def __setitem__(self, i: Any, value: Any) -> None:
        self._all()[i] = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Storage) and self.data_ptr() == other.data_ptr() and self.dtype is other.dtype

    def __hash__(self) -> int:
        return hash(self.data_ptr())

    def __repr__(self) -> str:
        return "".join(f" {v}\n" for v in self.tolist()) + f"[Storage of {self.dtype!r} of size {self.size()}]"
