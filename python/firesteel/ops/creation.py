"""New tensors: from data, from other memory, and filled.

>>> import firesteel as fs
>>> fs.tensor([[1, 2], [3, 4]])
tensor([[1, 2],
        [3, 4]])
>>> fs.zeros(2, 3).shape
torch.Size([2, 3])
"""

from __future__ import annotations

from sys import modules

from .. import _C
from ..tensor import moved
from ._args import deliver, ints, native, sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "as_tensor", "asarray", "empty", "empty_like", "empty_permuted", "empty_strided", "from_dlpack", "from_numpy",
    "frombuffer", "full", "full_like", "ones", "ones_like", "resize_as_", "scalar_tensor", "tensor", "zero_",
    "zeros", "zeros_like",
]  # fmt: skip

Tensor = _C.Tensor


def _strided_only(layout: Any) -> None:
    if layout is not None and repr(layout) != "torch.strided":
        raise NotImplementedError(f"tensors of layout {layout!r} are not supported; use torch.strided")


def is_array(obj: Any) -> bool:
    """Whether an object is a NumPy array; without NumPy imported, nothing is."""
    numpy = modules.get("numpy")
    return numpy is not None and isinstance(obj, numpy.ndarray)


# ---- from data --------------------------------------------------------------------------------------------------------


@native
def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """A new tensor with a copy of the data.

    Args:
        data: a number, nested sequences of numbers, an array.
        dtype: by default that of the data; Python's floats have the default dtype.
        device: where it is to lie.
        requires_grad: whether gradients are to be computed for it.
        pin_memory: taken for compatibility.

    >>> import firesteel as fs
    >>> fs.tensor([1.5, 2.0])
    tensor([1.5000, 2.0000])
    """
    if isinstance(data, Tensor):
        import warnings

        warnings.warn(
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor).",
            stacklevel=2,
        )
    made = _C._tensor(data, dtype)
    if device is not None:
        made = moved(made, device)
    return made.requires_grad_() if requires_grad else made


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """The data as a tensor, its memory shared where that is possible.

    Args:
        data: a tensor (itself, when dtype and device fit), an array (shared), or what `tensor` takes.
        dtype: by default that of the data.
        device: by default that of the data.
    """
    made: Any
    if isinstance(data, Tensor):
        made = data if dtype is None else data.to(dtype)
    else:
        made = _C._from_buffer(data) if is_array(data) else None
        if made is None:
            made = _C._tensor(data, dtype)
        elif dtype is not None and made.dtype is not dtype:
            made = made.to(dtype)
    return made if device is None else moved(made, device)


def asarray(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of an object: shared with it where possible, unless `copy` says otherwise.

    Args:
        obj: a tensor, array, buffer, DLPack exporter, number or sequence.
        dtype: by default that of the object.
        device: by default that of the object.
        copy: True copies always, False never, None when needed.
        requires_grad: whether gradients are to be computed for it.

    Raises:
        ValueError: if `copy` is False and a copy cannot be avoided.
    """
    if isinstance(obj, Tensor):
        source = obj
    elif hasattr(obj, "__dlpack__"):
        source = from_dlpack(obj)
    else:
        source = _C._from_buffer(obj)
        if source is not None and not is_array(obj):
            source = frombuffer(obj, dtype=dtype or _C.get_default_dtype())
    if source is None:
        if copy is False:
            raise ValueError("can't alias arbitrary sequence into a tensor.")
        return tensor(obj, dtype=dtype, device=device, requires_grad=requires_grad)
    made = source if dtype is None else source.to(dtype)
    if device is not None:
        made = moved(made, device)
    if made is not source:
        if copy is False:
            raise ValueError("can't alias tensor with a different dtype or on another device.")
    elif copy:
        made = made.clone()
    if requires_grad:
        return made.detach().requires_grad_()
    return made.detach() if made.requires_grad else made


def from_numpy(ndarray: Any) -> Tensor:
    """A tensor over the memory of an array: a change of one is a change of the other.

    Raises:
        TypeError: if it is no array, or one of a dtype that tensors do not have.
        ValueError: if a stride is negative.

    >>> import firesteel as fs, numpy as np
    >>> a = np.zeros(2, dtype=np.float32)
    >>> fs.from_numpy(a)[0] = 5
    >>> a
    array([5., 0.], dtype=float32)
    """
    if not is_array(ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    made = _C._from_buffer(ndarray)
    if not ndarray.flags.writeable:
        import warnings

        warnings.warn(
            "The given NumPy array is not writable, and PyTorch does not support non-writable tensors. This means "
            "writing to this tensor will result in undefined behavior. You may want to copy the array to protect its "
            "data or make it writable before converting it to a tensor.",
            stacklevel=2,
        )
    return made


def frombuffer(buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A 1-d tensor over the memory of an object with the buffer protocol.

    Args:
        buffer: a bytearray, memoryview, array, …
        dtype: how its bytes are read.
        count: how many elements; -1: as many as there are.
        offset: bytes to skip.
        requires_grad: whether gradients are to be computed for it.

    Raises:
        ValueError: if the object has no buffer, or a wrong size.
    """
    try:
        view = memoryview(buffer)
    except TypeError:
        raise ValueError("object does not implement Python buffer protocol.") from None
    nbytes, each = view.nbytes, dtype.itemsize
    if nbytes == 0 or count == 0:
        raise ValueError(f"both buffer length ({nbytes}) and count ({count}) must not be 0")
    if not 0 <= offset < nbytes:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({nbytes} bytes) minus 1"
        )
    if count < 0:
        if (nbytes - offset) % each:
            raise ValueError(
                f"buffer length ({nbytes - offset} bytes) after offset ({offset} bytes) must be a multiple of element "
                f"size ({each})"
            )
        count = (nbytes - offset) // each
    elif offset + count * each > nbytes:
        raise ValueError(
            f"requested buffer length ({count} * {each} bytes) after offset ({offset} bytes) must not be greater than "
            f"actual buffer length ({nbytes} bytes)"
        )
    import numpy as np

    if view.readonly:
        import warnings

        warnings.warn(
            "The given buffer is not writable, and PyTorch does not support non-writable tensors. This means you can "
            "write to the underlying (supposedly non-writable) buffer using the tensor.",
            stacklevel=2,
        )
    raw = np.frombuffer(view, dtype=np.uint8, count=count * each, offset=offset)
    if raw.ctypes.data % each:
        raw = raw.copy()
    made = _C._over(_C._from_buffer(raw), dtype, [count], [1], 0)
    return made.requires_grad_() if requires_grad else made


class _Capsule:
    """A DLPack capsule as an object that exports it, for NumPy."""

    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack__(self, **_: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor over the memory of another library's array, by the DLPack protocol.

    Args:
        ext_tensor: an object with `__dlpack__`, or a capsule.
        device: where it is to lie.
        copy: True for memory of its own.
    """
    if isinstance(ext_tensor, Tensor):
        made = ext_tensor.detach()
    else:
        import numpy as np

        if not hasattr(ext_tensor, "__dlpack__"):
            ext_tensor = _Capsule(ext_tensor)
        made = _C._from_buffer(np.from_dlpack(ext_tensor))
    if copy:
        made = made.clone()
    return made if device is None else moved(made, device)


def scalar_tensor(
    s: float, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A 0-d tensor of one number, of the default dtype unless told otherwise."""
    _strided_only(layout)
    made = _C._full((), s, dtype=dtype or _C.get_default_dtype(), device=device)
    return made.requires_grad_() if requires_grad else made


# ---- filled -----------------------------------------------------------------------------------------------------------


def _filled(
    value: float, shape: Any, size: Any, out: Tensor | None, dtype: Any, layout: Any, device: Any, requires_grad: bool
) -> Tensor:
    """What `zeros` and `ones` are."""
    if layout is not None:
        _strided_only(layout)
    if size is not None or len(shape) < 2:
        shape = sizes(shape, size)
    if out is not None:
        return deliver(_C._full(shape, value, dtype=dtype or out.dtype, device=device), out)
    made = _C._full(shape, value, dtype=dtype, device=device)
    return made.requires_grad_() if requires_grad else made


@native
def zeros(
    *shape: Any, size: Any = None, out: Tensor | None = None, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Zeros, in a shape given as ints or as one sequence.

    >>> import firesteel as fs
    >>> fs.zeros(2, 2)
    tensor([[0., 0.],
            [0., 0.]])
    """
    return _filled(0.0, shape, size, out, dtype, layout, device, requires_grad)


@native
def ones(
    *shape: Any, size: Any = None, out: Tensor | None = None, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Ones, in a shape given as ints or as one sequence."""
    return _filled(1.0, shape, size, out, dtype, layout, device, requires_grad)


@native
def empty(
    *shape: Any, size: Any = None, out: Tensor | None = None, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False, memory_format: Any = None,
) -> Tensor:  # fmt: skip
    """Uninitialised memory, in a shape given as ints or as one sequence."""
    if layout is not None:
        _strided_only(layout)
    if size is not None or len(shape) < 2:
        shape = sizes(shape, size)
    if memory_format is not None and "channels_last" in memory_format:
        made = empty_permuted(shape, (0, *range(2, len(shape)), 1), dtype=dtype, device=device)
    else:
        made = _C._empty(shape, dtype=dtype or (out is not None and out.dtype) or None, device=device)
    if out is not None:
        return deliver(made, out)
    return made.requires_grad_() if requires_grad else made


@native
def full(
    size: Any, fill_value: Any, *, out: Tensor | None = None, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """One value everywhere; its kind decides the dtype unless one is given.

    >>> import firesteel as fs
    >>> fs.full((2,), 7)
    tensor([7, 7])
    """
    if layout is not None:
        _strided_only(layout)
    if dtype is None and out is not None:
        dtype = out.dtype
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    made = _C._full((size,) if isinstance(size, int) else size, fill_value, dtype=dtype, device=device)
    if out is not None:
        return deliver(made, out)
    return made.requires_grad_() if requires_grad else made


def empty_strided(
    size: Any, stride: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Uninitialised memory in a shape with given strides.

    Raises:
        RuntimeError: if sizes and strides differ in number, or one is negative.
    """
    _strided_only(layout)
    if len(size) != len(stride):
        raise RuntimeError(
            f"dimensionality of sizes ({len(size)}) must match dimensionality of strides ({len(stride)})"
        )
    if any(s < 0 for s in stride):
        raise RuntimeError(f"as_strided: Negative strides are not supported, got strides: {list(stride)}")
    extent = 0 if 0 in size else 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    memory = _C._empty((extent,), dtype=dtype, device=device)
    made = _C._over(memory, memory.dtype, list(size), list(stride), 0)
    return made.requires_grad_() if requires_grad else made


def empty_permuted(
    size: Any, physical_layout: Any, *, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Uninitialised memory whose dims lie in a given order, the slowest first.

    Raises:
        RuntimeError: if the order is no permutation of the dims.
    """
    _strided_only(layout)
    if len(physical_layout) != len(size):
        raise RuntimeError(
            "Number of dimensions in size does not match the length of the physical_layout; i.e. len(size) = "
            f"{len(size)} is not equal to len(physical_layout) = {len(physical_layout)}"
        )
    strides = [0] * len(size)
    seen = set()
    step = 1
    for d in reversed(physical_layout):
        if not 0 <= d < len(size):
            raise RuntimeError(
                f"Dimension out of range (expected to be between 0 and {len(size) - 1}, but got {d}). "
                "NB: negative dims not currently supported; file an issue if you want it."
            )
        if d in seen:
            raise RuntimeError("Duplicate dim not allowed")
        seen.add(d)
        strides[d] = step
        step *= max(size[d], 1)
    return empty_strided(size, strides, dtype=dtype, device=device, requires_grad=requires_grad)


# ---- like another -----------------------------------------------------------------------------------------------------


def _as_asked(made: Tensor, device: Any, memory_format: Any, requires_grad: bool, value: Any = 0) -> Tensor:
    if device is not None and made.device.type == "meta":
        made = _C._full(made.shape, value, dtype=made.dtype, device=device)
    if memory_format is not None and memory_format not in ("preserve", None):
        made = made.contiguous(memory_format=memory_format)
    if device is not None:
        made = moved(made, device)
    return made.requires_grad_() if requires_grad else made


def zeros_like(
    input: Tensor, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False, memory_format: Any = None,
) -> Tensor:  # fmt: skip
    """Zeros in the input's shape and dtype."""
    made = _C._full_like(input, 0, dtype=dtype)
    if device is None and memory_format is None and not requires_grad:
        return made
    return _as_asked(made, device, memory_format, requires_grad)


def ones_like(
    input: Tensor, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False, memory_format: Any = None,
) -> Tensor:  # fmt: skip
    """Ones in the input's shape and dtype."""
    made = _C._full_like(input, 1, dtype=dtype)
    if device is None and memory_format is None and not requires_grad:
        return made
    return _as_asked(made, device, memory_format, requires_grad, 1)


def full_like(
    input: Tensor, fill_value: Any, *, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False, memory_format: Any = None,
) -> Tensor:  # fmt: skip
    """One value everywhere, in the input's shape and dtype."""
    made = _C._full_like(input, fill_value, dtype=dtype)
    return _as_asked(made, device, memory_format, requires_grad, fill_value)


def empty_like(
    input: Tensor, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False, memory_format: Any = None,
) -> Tensor:  # fmt: skip
    """Uninitialised memory in the input's shape and dtype."""
    made = _C.empty_like(input, dtype=dtype)
    if device is None and memory_format is None and not requires_grad:
        return made
    return _as_asked(made, device, memory_format, requires_grad)


# ---- methods ----------------------------------------------------------------------------------------------------------


def new_tensor(
    self: Tensor, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
    layout: Any = None, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """A new tensor with a copy of the data, of this tensor's dtype and device unless told otherwise."""
    return tensor(data, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)


def _filler(value: float | None, name: str, doc: str) -> Any:
    def method(
        self: Tensor, *shape: Any, size: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
        pin_memory: bool = False, requires_grad: bool = False,
    ) -> Tensor:  # fmt: skip
        wanted, dtype, device = sizes(shape, size), dtype or self.dtype, device or self.device
        if value is None:
            made = _C._empty(wanted, dtype=dtype, device=device)
        else:
            made = _C._full(wanted, value, dtype=dtype, device=device)
        return made.requires_grad_() if requires_grad else made

    method.__name__, method.__doc__ = name, doc
    return method


def new_full(
    self: Tensor, size: Any, fill_value: Any, *, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """One value everywhere, of this tensor's dtype and device unless told otherwise."""
    return full(size, fill_value, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)


def new_empty_strided(
    self: Tensor, size: Any, stride: Any, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Uninitialised memory with given strides, of this tensor's dtype and device unless told otherwise."""
    return empty_strided(
        size, stride, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad
    )


def resize_(self: Tensor, *shape: Any, memory_format: Any = None) -> Tensor:
    """Another shape, in place: what there was stays at the front, what comes new is uninitialised.

    Raises:
        RuntimeError: if the tensor requires grad.
    """
    if self.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    wanted = tuple(ints(shape))
    if wanted == tuple(self.shape):
        return self
    count = 1
    for n in wanted:
        count *= n
    strides, step = [], 1
    for n in reversed(wanted):
        strides.append(step)
        step *= max(n, 1)
    start = self.storage_offset()
    if count and (start + count) * self.element_size() > self._storage()[1]:
        memory = _C._empty((start + count,), dtype=self.dtype, device=self.device)
        have = self._storage()[1] // self.element_size()
        if have:
            memory[:have].copy_(_C._over(self.detach(), self.dtype, [have], [1], 0))
    else:
        memory = self.detach()
    return self._become(_C._over(memory, self.dtype, list(wanted), strides[::-1], start))


def zero_(input: Tensor) -> Tensor:
    """Zero in every element, in place."""
    return input.zero_()


def resize_as_(self: Tensor, the_template: Tensor, memory_format: Any = None) -> Tensor:
    """The shape of another tensor, in place."""
    return resize_(self, the_template.shape)


METHODS = {
    "new_tensor": new_tensor,
    "new_zeros": _filler(0.0, "new_zeros", "Zeros of this tensor's dtype and device unless told otherwise."),
    "new_ones": _filler(1.0, "new_ones", "Ones of this tensor's dtype and device unless told otherwise."),
    "new_empty": _filler(None, "new_empty", "Uninitialised memory of this tensor's dtype and device."),
    "new_full": new_full,
    "new_empty_strided": new_empty_strided,
    "resize_": resize_,
    "resize_as_": resize_as_,
}
