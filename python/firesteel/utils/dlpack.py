"""Memory shared with other libraries through DLPack capsules.

>>> import firesteel as fs
>>> x = fs.arange(3)
>>> y = from_dlpack(to_dlpack(x))
>>> x[0] = 7
>>> y
tensor([7, 1, 2])
"""

from typing import Any

from ..ops import from_dlpack

__all__ = ["from_dlpack", "to_dlpack"]


def to_dlpack(tensor: Any) -> Any:
    """A capsule around the tensor's memory, to be consumed once."""
    return tensor.__dlpack__()
