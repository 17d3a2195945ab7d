"""Changing the dtype and the device of all tensors of a module."""

from __future__ import annotations

from firesteel import _C, ops
from firesteel.autograd import no_grad

from .parameter import is_lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Conversion"]

Tensor = _C.Tensor


class Conversion:
    """The part of a module that moves and casts; each method changes the module in place and returns it."""

    if TYPE_CHECKING:
        _parameters: dict[str, Any]
        _buffers: dict[str, Any]
        children: Any

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Puts `fn` of each parameter, gradient and buffer in its place; the parameter objects stay the same."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for parameter in self._parameters.values():
            if parameter is None:
                continue
            with no_grad():
                parameter.data = fn(parameter) if is_lazy(parameter) else fn(parameter.data)
                if parameter.grad is not None:
                    needs = parameter.grad.requires_grad
                    parameter.grad = fn(parameter.grad).requires_grad_(needs)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def apply(self, fn: Callable[[Any], None]) -> Any:
        """Calls `fn` with each module below this one, then with this one; often used to set initial values.

        >>> import firesteel as fs
        >>> net = fs.nn.Sequential(fs.nn.Linear(2, 1), fs.nn.ReLU())
        >>> _ = net.apply(lambda module: print(type(module).__name__))
        Linear
        ReLU
        Sequential
        """
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Moves the module to a device, or casts its floating point tensors to a dtype, or both.

        Args:
            *args: `(device)`, `(dtype)`, `(device, dtype)` or `(tensor)`, whose device and dtype are taken.
            **kwargs: the same by name, and `non_blocking`, `memory_format`, which change nothing here.

        Raises:
            TypeError: if the dtype is neither floating point nor complex.

        >>> import firesteel as fs
        >>> fs.nn.Linear(2, 2).to(fs.float64).weight.dtype
        torch.float64
        """
        device, dtype = _destination(*args, **kwargs)
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}"
            )

        def convert(tensor: Tensor) -> Tensor:
            wanted = {} if device is None else {"device": device}
            if dtype is not None and (tensor.is_floating_point() or tensor.is_complex()):
                wanted["dtype"] = dtype
            return tensor.to(**wanted) if wanted else tensor

        return self._apply(convert)

    def type(self, dst_type: Any) -> Any:
        """Casts all parameters and buffers to a dtype (or tensor type)."""
        return self._apply(lambda tensor: tensor.type(dst_type))

    def float(self) -> Any:
        """Casts floating point parameters and buffers to float32."""
        return self._cast(_C.float32)

    def double(self) -> Any:
        """Casts floating point parameters and buffers to float64."""
        return self._cast(_C.float64)

    def half(self) -> Any:
        """Casts floating point parameters and buffers to float16."""
        return self._cast(_C.float16)

    def bfloat16(self) -> Any:
        """Casts floating point parameters and buffers to bfloat16."""
        return self._cast(_C.bfloat16)

    def _cast(self, dtype: Any) -> Any:
        return self._apply(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)

    def cpu(self) -> Any:
        """Moves the module to the CPU."""
        return self._apply(lambda tensor: tensor.cpu())

    def cuda(self, device: Any = None) -> Any:
        """Moves the module to the GPU.

        Raises:
            RuntimeError: if there is none.
        """
        return self._apply(lambda tensor: tensor.cuda() if device is None else tensor.cuda(device))

    def to_empty(self, *, device: Any, recurse: bool = True) -> Any:
        """Moves the module to a device without its values: the memory there is uninitialised."""
        return self._apply(lambda tensor: ops.empty(tensor.shape, dtype=tensor.dtype, device=device), recurse=recurse)

    def share_memory(self) -> Any:
        """Refused: memory is not shared between processes.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("share_memory: tensors are not shared between processes; send a state_dict instead")


def _destination(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """The device and dtype that the arguments of `Module.to` mean."""
    device = kwargs.pop("device", None)
    dtype = kwargs.pop("dtype", None)
    other = kwargs.pop("tensor", None)
    for name in kwargs:
        if name not in ("non_blocking", "copy", "memory_format"):
            raise TypeError(f"to() got an unexpected keyword argument '{name}'")
    for at, value in enumerate(args):
        if isinstance(value, Tensor):
            other = value
        elif isinstance(value, _C.dtype):
            dtype = value
        elif isinstance(value, (str, _C.device)) or (type(value) is int and at == 0):
            device = value
        elif value is not None and not isinstance(value, bool):
            raise TypeError(
                "to() received an invalid combination of arguments - got "
                f"({', '.join(type(arg).__name__ for arg in args)}), but expected (device, dtype) or (tensor)"
            )
    if other is not None:
        return other.device, other.dtype
    return (None if device is None else _C.device(device)), dtype
