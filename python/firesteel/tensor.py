"""Methods and attributes of the tensor class that are no ops: conversion, gradients, copies, protocols.

The class itself is Rust's (`_C.Tensor`) and has every op of the table; what stands here is attached to it at import.

>>> import firesteel as fs
>>> x = fs.ones(2, requires_grad=True)
>>> (3 * x).sum().backward()
>>> x.grad
tensor([3., 3.])
>>> x.to(fs.float64).dtype
torch.float64
"""

from __future__ import annotations

from . import _C, _rebuild
from ._formats import memory_format as MemoryFormat
from ._formats import strided
from ._storage import Storage
from .autograd.graph import backward as _backward
from .autograd.hooks import RemovableHandle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

Tensor = _C.Tensor
_DTYPE = _C.dtype


# ---- shown ------------------------------------------------------------------------------------------------------------


def __repr__(self: Tensor, *, tensor_contents: str | None = None) -> str:
    from ._format import tensor_repr

    return tensor_repr(self)


def __format__(self: Tensor, spec: str) -> str:
    if self.dim() == 0 and self.device.type != "meta" and self.__class__ is Tensor:
        return self.item().__format__(spec)
    return object.__format__(self, spec)


# ---- dtype, device, order in memory -----------------------------------------------------------------------------------


def place(device: Any) -> str:
    """The kind of a device that exists ('cpu', 'gpu', 'meta'); for others, the error that says why it does not."""
    device = device if isinstance(device, _C.device) else _C.device(device)
    if device.type not in ("cpu", "meta"):
        _C._empty((0,), device=device)
    return device.type


def _is_on_cpu(x: Tensor, device: Any) -> bool:
    """Whether the device is named as the CPU, and the tensor is there: what `moved` would find out in a longer way."""
    kind = device if device.__class__ is str else device.type if device.__class__ is _C.device else None
    return kind == "cpu" and x.device.type == "cpu"


def moved(x: Tensor, device: Any) -> Tensor:
    """The tensor on a device; itself when it is there.

    Raises:
        NotImplementedError: from `meta`, where there are no values.
    """
    if _is_on_cpu(x, device):
        return x
    target = place(device)
    if target == x.device.type:
        return x
    if target == "meta":
        return _C._empty(x.shape, dtype=x.dtype, device="meta")
    if x.device.type == "meta":
        raise NotImplementedError("Cannot copy out of meta tensor; no data!")
    return _C._to_device(x, target)


def to(
    self: Tensor, *args: Any, dtype: Any = None, device: Any = None, other: Tensor | None = None,
    non_blocking: bool = False, copy: bool = False, memory_format: Any = None,
) -> Tensor:  # fmt: skip
    """The tensor in another dtype or on another device: `to(dtype)`, `to(device, dtype)`, `to(other)`.

    Args:
        args: dtype, device, both, or another tensor; then `non_blocking` and `copy`.
        dtype: the dtype wanted.
        device: the device wanted.
        other: a tensor that says both.
        non_blocking: taken for compatibility.
        copy: a copy even where nothing changes.
        memory_format: the order in memory of a copy.

    Returns:
        The tensor itself when nothing changes and `copy` is false.
    """
    if args:
        first, rest = args[0], args[1:]
        # What changes nothing is asked for often.
        alone = not rest and not copy and dtype is device is other is memory_format is None
        if alone and (first is self.dtype or _is_on_cpu(self, first)):
            return self
        if isinstance(first, Tensor):
            other = first
        elif isinstance(first, _DTYPE) or first in (float, int, bool):
            dtype = first
        else:
            device = first
            if rest and (rest[0] is None or isinstance(rest[0], _DTYPE) or rest[0] in (float, int)):
                dtype, rest = rest[0], rest[1:]
        if len(rest) > 1:
            copy = rest[1]
        if len(rest) > 2:
            raise TypeError("to() received an invalid combination of arguments")
    if other is not None:
        dtype, device = other.dtype, other.device
    made = self
    if dtype is not None and not isinstance(dtype, _DTYPE):
        dtype = {float: _C.float64, int: _C.int64, bool: _C.bool}.get(dtype, dtype)
    # The conversion is done on the CPU: the gpu does not take every dtype.
    first = dtype is not None and device is not None and self.device.type == "cpu"
    if first and made.dtype is not dtype:
        made = _C._to_copy(made, dtype)
    if device is not None:
        made = moved(made, device)
    if dtype is not None and made.dtype is not dtype:
        made = _C._to_copy(made, dtype)
    if copy and made is self:
        made = made.clone()
    if memory_format is not None and memory_format != "preserve":
        made = made.contiguous(memory_format=memory_format)
    return made


def _converter(dtype: Any, name: str) -> Callable[..., Tensor]:
    def method(self: Tensor, memory_format: Any = None) -> Tensor:
        made = self if self.dtype is dtype else _C._to_copy(self, dtype)
        return made if memory_format is None or memory_format == "preserve" else made.contiguous(memory_format)

    method.__name__ = name
    method.__doc__ = f"The tensor as {dtype!r}; itself when it is that already."
    return method


_LEGACY = {
    "HalfTensor": _C.float16, "BFloat16Tensor": _C.bfloat16, "FloatTensor": _C.float32, "DoubleTensor": _C.float64,
    "CharTensor": _C.int8, "ByteTensor": _C.uint8, "ShortTensor": _C.int16, "IntTensor": _C.int32,
    "LongTensor": _C.int64, "BoolTensor": _C.bool,
}  # fmt: skip
_LEGACY_NAMES = {d: n for n, d in _LEGACY.items()}


def type(self: Tensor, dtype: Any = None, non_blocking: bool = False, **kwargs: Any) -> Any:
    """The name of the tensor's type ('torch.FloatTensor'), or the tensor as another type.

    Args:
        dtype: a dtype, or a name such as 'torch.DoubleTensor'.
        non_blocking: taken for compatibility.

    Raises:
        ValueError: if there is no type of that name.
    """
    if dtype is None:
        return "torch." + _LEGACY_NAMES.get(self.dtype, repr(self.dtype)[6:].replace("uint", "UInt") + "Tensor")
    if not isinstance(dtype, _DTYPE):
        name = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", str(dtype))
        found = _LEGACY.get(name.rpartition(".")[2])
        if found is None or (isinstance(dtype, str) and not name.startswith("torch.")):
            if dtype in (float, int, bool):
                return to(self, dtype)
            raise ValueError(f"invalid type: '{name}'")
        dtype = found
    return self if self.dtype is dtype else _C._to_copy(self, dtype)


def type_as(self: Tensor, other: Tensor) -> Tensor:
    """The tensor in the dtype of another."""
    return self if self.dtype is other.dtype else _C._to_copy(self, other.dtype)


def cpu(self: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor on the CPU; itself when it is there."""
    return moved(self, "cpu")


def cuda(self: Tensor, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Tensor:
    """Raises: firesteel has no CUDA device."""
    return moved(self, "cuda" if device is None else device)


def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """The tensor itself: there is no device that copies from pinned memory."""
    return self


_LAST = {"channels_last": (4, (0, 2, 3, 1), (0, 3, 1, 2)), "channels_last_3d": (5, (0, 2, 3, 4, 1), (0, 4, 1, 2, 3))}


def contiguous(self: Tensor, memory_format: Any = None) -> Tensor:
    """The elements in order in memory: the tensor itself where they are, else a copy.

    Args:
        memory_format: `contiguous_format` (the default), `channels_last` or `channels_last_3d`.
    """
    if memory_format is None or memory_format == "contiguous":
        return self if self.is_contiguous() else _C.clone(self, memory_format="contiguous")
    if memory_format not in _LAST:
        raise RuntimeError(f"{memory_format} memory format option is only supported by Tensor.to and clone")
    rank, there, back = _LAST[memory_format]
    if self.dim() != rank:
        raise RuntimeError(f"required rank {rank} tensor to use {MemoryFormat(memory_format[:])!r} format")
    if self.is_contiguous(memory_format):
        return self
    return _C.clone(self.permute(there), memory_format="contiguous").permute(back)


# ---- other programs' arrays -------------------------------------------------------------------------------------------


def numpy(self: Tensor, *, force: bool = False) -> Any:
    """The same memory as a NumPy array.

    Args:
        force: as `x.detach().cpu().resolve_conj().resolve_neg().numpy()`.

    Raises:
        RuntimeError: if the tensor requires grad (and `force` is false).
        TypeError: if NumPy has no such dtype, or the device keeps no values.
    """
    import numpy as np

    if force:
        self = moved(self.detach(), "cpu")
    if self.requires_grad:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
    if self.device.type != "cpu":
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
            "memory first."
        )
    return np.asarray(self._memory())


def __array__(self: Tensor, dtype: Any = None, copy: bool | None = None) -> Any:
    array = numpy(self)
    if dtype is not None and array.dtype != dtype:
        if copy is False:
            raise ValueError("Unable to avoid copy while creating an array of another dtype.")
        return array.astype(dtype)
    return array.copy() if copy else array


def __array_wrap__(self: Tensor, array: Any, context: Any = None, return_scalar: bool = False) -> Tensor:
    if array.dtype == bool:
        array = array.astype("uint8")
    return _C._tensor(array, None)


def __dlpack__(self: Tensor, **kwargs: Any) -> Any:
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    kwargs.pop("stream", None)
    return numpy(self).__dlpack__(**kwargs)


def __dlpack_device__(self: Tensor) -> tuple[int, int]:
    if self.device.type != "cpu":
        raise ValueError(f"Unknown device type {self.device.type} for Dlpack")
    return 1, 0


# ---- containers -------------------------------------------------------------------------------------------------------


def __contains__(self: Tensor, element: Any) -> bool:
    if isinstance(element, (Tensor, float, int)):
        return bool((self == element).any().item())
    raise RuntimeError(f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {element.__class__}.")


def __reversed__(self: Tensor) -> Tensor | Iterator[Tensor]:
    return self if self.dim() == 0 else self.flip(0)


# ---- gradients --------------------------------------------------------------------------------------------------------


def backward(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Sequence[Tensor] | Tensor | None = None,
) -> None:
    """Adds the gradient of this tensor to the `.grad` of the leaves that it was made from.

    Args:
        gradient: of this tensor itself; needed unless it has one element.
        retain_graph: whether the graph can be gone through again.
        create_graph: whether the gradients get a graph of their own.
        inputs: the only tensors to get a gradient.
    """
    _backward(self, gradient, retain_graph, create_graph, inputs=inputs)


_RETAIN = "retain"


def _node_hooks(self: Tensor) -> dict[Any, Any]:
    return self.grad_fn._hook_table("tensor").setdefault(self.output_nr, {})


def register_hook(self: Tensor, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    """Calls `hook(grad)` when the gradient of this tensor is known; what it returns, if anything, replaces it.

    Raises:
        RuntimeError: if the tensor does not require grad.
    """
    if not self.requires_grad:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    key = RemovableHandle.fresh()
    if self.is_leaf:
        table = self._leaf_hooks()
        table[key] = hook
    else:
        table = _node_hooks(self)
        last = table.pop(_RETAIN, None)
        table[key] = hook
        if last is not None:
            table[_RETAIN] = last
    return RemovableHandle(table, key)


def register_post_accumulate_grad_hook(self: Tensor, hook: Callable[[Tensor], None]) -> RemovableHandle:
    """Calls `hook(tensor)` after the gradient was added to the `.grad` of this leaf.

    Raises:
        RuntimeError: if the tensor is no leaf that requires grad.
    """
    if not self.requires_grad:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    if not self.is_leaf:
        raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    table, key = self._leaf_hooks(), ("post", RemovableHandle.fresh())
    table[key] = hook
    return RemovableHandle(table, key)


def retain_grad(self: Tensor) -> None:
    """Keeps the gradient of this tensor in `.grad` although it is no leaf.

    Raises:
        RuntimeError: if the tensor does not require grad.
    """
    if not self.requires_grad:
        raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
    if self.is_leaf or self.retains_grad:
        return
    from weakref import ref

    watched = ref(self)

    def keep(grad: Tensor) -> None:
        x = watched()
        if x is not None:
            x._accumulate(grad.clone() if not _C.is_grad_enabled() else grad, _C.is_grad_enabled())

    _node_hooks(self)[_RETAIN] = keep
    self._set_retains_grad(True)


def _retain_anew(self: Tensor, node: Any, index: int) -> None:
    """Moves the hook of `retain_grad` from the value that an in-place op replaced to the new one."""
    old = node._hook_table("tensor").get(index) if node is not None else None
    keep = old.pop(_RETAIN, None) if old else None
    if keep is not None:
        _node_hooks(self)[_RETAIN] = keep


# ---- attributes of a program's own ------------------------------------------------------------------------------------


def _own_attribute(self: Tensor, name: str) -> Any:
    """`Tensor.__getattr__`, put there when a program first sets an attribute of its own on a tensor."""
    own = self._attributes()
    if own is not None and name in own:
        return own[name]
    raise AttributeError(f"'{self.__class__.__name__}' object has no attribute '{name}'")


# ---- shape and memory, in place ---------------------------------------------------------------------------------------


def _becomes(name: str) -> Callable[..., Tensor]:
    view = getattr(Tensor, name)

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self._become(view(self, *args, **kwargs))

    method.__name__, method.__doc__ = name + "_", f"In-place version of `{name}`."
    return method


def set_(self: Tensor, source: Any = None, storage_offset: int = 0, size: Any = None, stride: Any = None) -> Tensor:
    """Takes over the memory of another tensor (or storage), in place."""
    if source is None:
        return self._become(_C._empty((0,), dtype=self.dtype))
    if isinstance(source, Storage):
        source = _C._over(source._tensor, self.dtype, [source.nbytes() // self.element_size()], [1], 0)
    if source.dtype is not self.dtype:
        raise RuntimeError(f"Could not set tensor of type {source.dtype} to a tensor of type {self.dtype}")
    if size is None:
        return self._become(source.detach())
    if stride is None:
        stride, step = [], 1
        for n in reversed(size):
            stride.insert(0, step)
            step *= max(n, 1)
    return self._become(_C._over(source.detach(), self.dtype, list(size), list(stride), storage_offset))


def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replaces each element by what a Python function makes of it: slow, for trying things out."""
    values = [callable(v) for v in self.detach().reshape(-1).tolist()]
    return self.copy_(_C._tensor(values, self.dtype).reshape(self.shape))


def map_(self: Tensor, other: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Replaces each element by what a Python function makes of it and of the other tensor's element."""
    theirs = other.expand(self.shape).detach().reshape(-1).tolist()
    values = [callable(a, b) for a, b in zip(self.detach().reshape(-1).tolist(), theirs, strict=True)]
    return self.copy_(_C._tensor(values, self.dtype).reshape(self.shape))


def storage(self: Tensor) -> Storage:
    """The memory that the tensor lies in, in elements of its dtype."""
    return Storage(self, self.dtype)


def untyped_storage(self: Tensor) -> Storage:
    """The memory that the tensor lies in, in bytes."""
    return Storage(self)


# ---- small questions --------------------------------------------------------------------------------------------------


def get_device(self: Tensor) -> int:
    """The number of the device; -1 for the CPU."""
    return -1 if self.device.index is None else self.device.index


def is_same_size(self: Tensor, other: Tensor) -> bool:
    """Whether two tensors have one shape."""
    return self.shape == other.shape


def is_set_to(self: Tensor, tensor: Tensor) -> bool:
    """Whether two tensors are the same elements of the same memory."""
    return (
        _C._shares_memory(self, tensor) and self.shape == tensor.shape and self.stride() == tensor.stride()
        and self.storage_offset() == tensor.storage_offset()
    )  # fmt: skip


def dim_order(self: Tensor) -> tuple[int, ...]:
    """The dims from the one that is farthest apart in memory to the nearest."""
    strides = self.stride()
    return tuple(sorted(range(self.dim()), key=lambda d: -strides[d]))


def as_subclass(self: Tensor, cls: Any) -> Tensor:
    """The tensor as an object of a subclass, with the same memory."""
    made = Tensor._make_subclass(cls, self.detach() if self.is_leaf else self, False)
    return made.requires_grad_() if self.requires_grad and self.is_leaf else made


def share_memory_(self: Tensor) -> Tensor:
    """The tensor itself: memory is not shared between processes here, batches travel pickled."""
    return self


def _always(value: Any, doc: str) -> Callable[..., Any]:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        return value

    method.__doc__ = doc
    return method


def _constant(value: Any, doc: str) -> property:
    return property(lambda self: value, doc=doc)


def _transposed(what: str) -> property:
    def matrix(self: Tensor) -> Tensor:
        if self.dim() < 2:
            raise RuntimeError(
                f"tensor.{what} is only supported on matrices or batches of matrices. Got {self.dim()}-D tensor."
            )
        return self.transpose(-2, -1)

    return property(matrix, doc="The last two dims exchanged.")


def _T(self: Tensor) -> Tensor:
    rank = self.dim()
    if rank == 2:
        return self.transpose(0, 1)
    if rank not in (0, 2):
        import warnings

        warnings.warn(
            "The use of `x.T` on tensors of dimension other than 2 to reverse their shape is deprecated and it will "
            "throw an error in a future release. Consider `x.mT` to transpose batches of matrices or "
            "`x.permute(*torch.arange(x.ndim - 1, -1, -1))` to reverse the dimensions of a tensor.",
            stacklevel=2,
        )
    return self.permute(tuple(range(rank - 1, -1, -1)))


def _H(self: Tensor) -> Tensor:
    if self.dim() not in (0, 2):
        raise RuntimeError(f"tensor.H is only supported on matrices (2-D tensors). Got {self.dim()}-D tensor.")
    return self if self.dim() == 0 else self.transpose(0, 1)


def _imag(self: Tensor) -> Tensor:
    raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")


def _converters() -> dict[str, Any]:
    named = {
        "float": _C.float32, "double": _C.float64, "half": _C.float16, "bfloat16": _C.bfloat16, "int": _C.int32,
        "long": _C.int64, "short": _C.int16, "char": _C.int8, "byte": _C.uint8, "bool": _C.bool,
    }  # fmt: skip
    return {name: _converter(dtype, name) for name, dtype in named.items()}


METHODS: dict[str, Any] = {
    "T": property(_T, doc="The dims in reverse order."),
    "H": property(_H, doc="The transpose of a matrix."),
    "mT": _transposed("mT"),
    "mH": _transposed("mH"),
    "real": property(lambda self: self, doc="The tensor itself: there are no complex numbers."),
    "imag": property(_imag, doc="Raises: there are no complex numbers."),
    "layout": _constant(strided, "`strided`, always."),
    "name": _constant(None, "None."),
    "is_cpu": property(lambda self: self.device.type == "cpu", doc="Whether it lies on the CPU."),
    "is_meta": property(lambda self: self.device.type == "meta", doc="Whether it has no values."),
    **{
        n: _constant(False, "False.")
        for n in ("is_cuda", "is_mps", "is_xpu", "is_xla", "is_sparse", "is_sparse_csr", "is_quantized", "is_nested",
                  "is_mkldnn", "is_vulkan")
    },
    **{n: _always(False, "False.") for n in ("is_shared", "is_conj", "is_neg", "is_pinned", "is_coalesced",
                                             "is_distributed")},
    "__array_priority__": 1000,
    "__array__": __array__,
    "__array_wrap__": __array_wrap__,
    "__contains__": __contains__,
    "__copy__": _rebuild.shallow_copy,
    "__deepcopy__": _rebuild.deep_copy,
    "__dlpack__": __dlpack__,
    "__dlpack_device__": __dlpack_device__,
    "__format__": __format__,
    "__rdiv__": Tensor.__rtruediv__,
    "__reduce_ex__": lambda self, protocol: _rebuild.pack(self),
    "__repr__": __repr__,
    "__reversed__": __reversed__,
    "__setstate__": _rebuild.set_state,
    "__str__": lambda self: self.__repr__(),
    "apply_": apply_,
    "as_subclass": as_subclass,
    "backward": backward,
    "contiguous": contiguous,
    "cpu": cpu,
    "cuda": cuda,
    "dense_dim": lambda self: self.dim(),
    "dim_order": dim_order,
    "get_device": get_device,
    "is_same_size": is_same_size,
    "is_set_to": is_set_to,
    "map_": map_,
    "ndimension": Tensor.dim,
    "numpy": numpy,
    "pin_memory": pin_memory,
    "register_hook": register_hook,
    "register_post_accumulate_grad_hook": register_post_accumulate_grad_hook,
    "retain_grad": retain_grad,
    "set_": set_,
    "share_memory_": share_memory_,
    "sparse_dim": _always(0, "0: it is not sparse."),
    "storage": storage,
    "to": to,
    "type": type,
    "type_as": type_as,
    "untyped_storage": untyped_storage,
    **_converters(),
    **{
        f"{n}_": _becomes(n)
        for n in ("t", "transpose", "squeeze", "unsqueeze", "as_strided")
    },
    "swapaxes_": _becomes("transpose"),
    "swapdims_": _becomes("transpose"),
}  # fmt: skip


def attach(cls: Any) -> None:
    """Puts these methods on the tensor class."""
    for name, value in METHODS.items():
        setattr(cls, name, value)


attach(Tensor)
