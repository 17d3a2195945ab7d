"""Tensors that belong to a module: parameters, which are trained, and buffers, which are only kept.

>>> import firesteel as fs
>>> p = fs.nn.Parameter(fs.zeros(2))
>>> p
Parameter containing:
tensor([0., 0.], requires_grad=True)
"""

from __future__ import annotations

from firesteel import _C, ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    _Base: Any
else:
    _Base = object

__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter", "is_lazy"]

Tensor = _C.Tensor


class Parameter(Tensor):
    """A tensor that a module lists among its parameters when it is assigned as an attribute.

    Args:
        data: the values, of any shape; their memory is shared, not copied.
        requires_grad: whether gradients are computed for it.

    Raises:
        RuntimeError: if `data` is of a dtype that has no gradient and `requires_grad` is true.

    >>> import firesteel as fs
    >>> layer = fs.nn.Module()
    >>> layer.scale = fs.nn.Parameter(fs.ones(3))
    >>> [name for name, _ in layer.named_parameters()]
    ['scale']
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        if data is None:
            data = ops.empty(0)
        return Tensor._make_subclass(cls, data, requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) in memo:
            return memo[id(self)]
        copied = type(self)(self.data.clone(), self.requires_grad)
        memo[id(self)] = copied
        if self.__dict__:
            from copy import deepcopy

            copied.__dict__.update(deepcopy(self.__dict__, memo))
        return copied

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return _rebuild, (type(self), self.data, self.requires_grad), self.__dict__ or None

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def _rebuild(cls: type[Parameter], data: Tensor, requires_grad: bool) -> Parameter:
    """Makes a parameter again from what pickle kept of it."""
    return cls(data, requires_grad)


class _BufferType(type(Tensor)):  # type: ignore[misc]
    """Lets `isinstance(x, Buffer)` recognise the plain tensors that `Buffer(...)` returns."""

    def __instancecheck__(cls, instance: object) -> bool:
        if cls is Buffer:
            return isinstance(instance, Tensor) and getattr(instance, "_is_buffer", False)
        return super().__instancecheck__(instance)


class Buffer(Tensor, metaclass=_BufferType):
    """A tensor that a module keeps, moves and saves, but does not train.

    Args:
        data: the values, of any shape; their memory is shared.
        persistent: whether it is part of the module's `state_dict`.

    >>> import firesteel as fs
    >>> layer = fs.nn.Module()
    >>> layer.mean = fs.nn.Buffer(fs.zeros(3))
    >>> list(layer.state_dict())
    ['mean']
    """

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Any:
        if data is None:
            data = ops.empty(0)
        buffer: Any = data.detach().requires_grad_(data.requires_grad)
        buffer.persistent = persistent
        buffer._is_buffer = True
        return buffer


class _Uninitialized(_Base):
    """What a parameter and a buffer without a shape have in common: they answer dtype and device, and nothing else."""

    if TYPE_CHECKING:
        data: Any

    def materialize(self, shape: tuple[int, ...], device: Any = None, dtype: Any = None) -> None:
        """Gives it memory of the shape, uninitialised; from then on it is an ordinary tensor.

        Args:
            shape: the sizes.
            device: where, by default where it is.
            dtype: by default the dtype it was made with.
        """
        self.data = ops.empty(tuple(shape), device=device or self.data.device, dtype=dtype or self.data.dtype)
        self.__class__ = self.cls_to_become

    @property
    def shape(self) -> tuple[int, ...]:
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. "
            "This error usually happens in `load_state_dict` when trying to load "
            "an uninitialized parameter into an initialized one. "
            "Call `forward` to initialize the parameters before accessing their attributes."
        )

    def share_memory_(self) -> None:
        raise RuntimeError(
            "Can't share memory on an uninitialized parameter or buffer. "
            "Call `forward` to initialize the parameters before calling `module.share_memory()`."
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, self.data.device, self.data.dtype)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return type(self), (self.requires_grad, None, self.data.dtype)


class UninitializedParameter(_Uninitialized, Parameter):  # type: ignore[misc]
    """A parameter whose shape is not known yet; lazy modules give it one at their first forward.

    Args:
        requires_grad: whether gradients will be computed for it.
        device: where it will be.
        dtype: of what kind it will be.
    """

    cls_to_become = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> UninitializedParameter:
        return Tensor._make_subclass(cls, ops.empty(0, device=device, dtype=dtype), requires_grad)


class _KeptTensor(Tensor):
    """What an uninitialised buffer becomes: a tensor like any other."""


class UninitializedBuffer(_Uninitialized, Tensor):  # type: ignore[misc]
    """A buffer whose shape is not known yet.

    Args:
        requires_grad: as for any tensor; buffers have none.
        device: where it will be.
        dtype: of what kind it will be.
        persistent: whether it is part of the module's `state_dict`.
    """

    cls_to_become = _KeptTensor

    def __new__(
        cls, requires_grad: bool = False, device: Any = None, dtype: Any = None, persistent: bool = True
    ) -> UninitializedBuffer:
        buffer = Tensor._make_subclass(cls, ops.empty(0, device=device, dtype=dtype), requires_grad)
        buffer.persistent = persistent
        buffer._is_buffer = True
        return buffer


def is_lazy(tensor: object) -> bool:
    """Whether a parameter or buffer still waits for its shape."""
    return isinstance(tensor, _Uninitialized)
