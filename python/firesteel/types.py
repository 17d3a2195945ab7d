"""Types that annotations name."""

from ._C import Tensor, device, dtype

Device = device
Number = int | float | bool
__all__ = ["Device", "Number", "Tensor", "device", "dtype"]
