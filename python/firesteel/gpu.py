"""The gpu device: any adapter of Vulkan, Metal or DirectX 12.

Tensors get there by `x.to("gpu")`, modules by `model.to("gpu")`, and back by `.cpu()`. The device is made when it is first
used; importing this module, and asking whether there is one, makes none.

>>> import firesteel as fs
>>> device = "gpu" if fs.gpu.is_available() else "cpu"
>>> (fs.ones(2, device=device) + 1).cpu()
tensor([2., 2.])
"""

from __future__ import annotations

from . import _C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def is_available() -> bool:
    """Whether there is an adapter, of hardware or software. Loads the driver, makes no device."""
    return bool(_C._gpu_adapters())


def device_count() -> int:
    """1 where there is an adapter, else 0: a process uses the best one."""
    return int(is_available())


def current_device() -> int:
    """0."""
    return 0


def get_device_name(device: Any = None) -> str:
    """The name of the adapter in use.

    Raises:
        RuntimeError: if there is none.
    """
    names = _C._gpu_adapters()
    if not names:
        raise RuntimeError("no gpu was found")
    return names[0]


def is_initialized() -> bool:
    """Whether the device was made: by the first tensor on it."""
    return _C._gpu_open()


def synchronize(device: Any = None) -> None:
    """Waits until the gpu has done all that was asked of it.

    Raises:
        IndexError: if an index was out of range in an op since values were last read.
    """
    _C._gpu_synchronize()


def empty_cache() -> None:
    """Gives memory that no tensor uses back to the driver."""
    _C._gpu_empty_cache()


def memory_allocated(device: Any = None) -> int:
    """Bytes in tensors, as their buffers are rounded up."""
    return _C._gpu_memory()[0]


def memory_reserved(device: Any = None) -> int:
    """Bytes in tensors and kept for reuse."""
    return sum(_C._gpu_memory())
