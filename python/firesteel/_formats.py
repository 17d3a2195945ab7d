"""Small constants that programs pass around: memory formats, layouts, limits of dtypes."""

from __future__ import annotations

from . import _C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "channels_last", "channels_last_3d", "contiguous_format", "finfo", "iinfo", "layout", "memory_format",
    "preserve_format", "sparse_bsc", "sparse_bsr", "sparse_coo", "sparse_csc", "sparse_csr", "strided",
]  # fmt: skip


class memory_format(str):
    """In which order a tensor's elements lie in memory."""

    __slots__ = ()
    __module__ = "firesteel"

    def __repr__(self) -> str:
        return f"torch.{self[:]}" if "_" in self else f"torch.{self[:]}_format"

    __str__ = __repr__

    def __reduce__(self) -> tuple:
        return memory_format, (self[:],)


contiguous_format = memory_format("contiguous")
preserve_format = memory_format("preserve")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")


class layout:
    """How a tensor's elements are kept; `strided` is the only one here."""

    __slots__ = ("name",)
    __module__ = "firesteel"

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name


strided = layout("strided")
sparse_coo = layout("sparse_coo")
sparse_csr = layout("sparse_csr")
sparse_csc = layout("sparse_csc")
sparse_bsr = layout("sparse_bsr")
sparse_bsc = layout("sparse_bsc")

# dtype: bits, eps, largest, smallest normal, decimal digits
_FLOATS = {
    _C.float16: (16, 2.0**-10, 65504.0, 2.0**-14, 1e-3),
    _C.bfloat16: (16, 2.0**-7, float.fromhex("0x1.fep127"), 2.0**-126, 1e-2),
    _C.float32: (32, 2.0**-23, float.fromhex("0x1.fffffep127"), 2.0**-126, 1e-6),
    _C.float64: (64, 2.0**-52, float.fromhex("0x1.fffffffffffffp1023"), 2.0**-1022, 1e-15),
}


class finfo:
    """The limits of a dtype of floats.

    >>> import firesteel as fs
    >>> fs.finfo(fs.float32).eps
    1.1920928955078125e-07
    """

    __module__ = "firesteel"

    def __init__(self, dtype: Any = None) -> None:
        d = _C.get_default_dtype() if dtype is None else dtype
        if not isinstance(d, _C.dtype):
            raise TypeError(f"finfo(): argument 'type' (position 1) must be torch.dtype, not {type(d).__name__}")
        if d not in _FLOATS:
            raise TypeError(f"torch.finfo() requires a floating point input type. Use torch.iinfo to handle '{d}'")
        self.bits, self.eps, self.max, self.tiny, self.resolution = _FLOATS[d]
        self.min = -self.max
        self.smallest_normal = self.tiny
        self.dtype = repr(d)[6:]

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
            f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, finfo) and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash(self.dtype)


class iinfo:
    """The limits of a dtype of integers.

    >>> import firesteel as fs
    >>> fs.iinfo(fs.int8).max
    127
    """

    __module__ = "firesteel"

    def __init__(self, dtype: Any) -> None:
        if not isinstance(dtype, _C.dtype):
            raise TypeError(f"iinfo(): argument 'type' (position 1) must be torch.dtype, not {type(dtype).__name__}")
        if dtype.is_floating_point:
            raise TypeError(f"torch.iinfo() requires an integer input type. Use torch.finfo to handle '{dtype}'")
        if dtype is _C.bool:
            raise TypeError("torch.bool is not supported by torch.iinfo")
        self.bits = 8 * dtype.itemsize
        self.min = -(2 ** (self.bits - 1)) if dtype.is_signed else 0
        self.max = 2 ** (self.bits - 1 if dtype.is_signed else self.bits) - 1
        self.dtype = repr(dtype)[6:]

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, iinfo) and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash(self.dtype)
