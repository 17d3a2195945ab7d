"""Names that programs use without thinking: dtype aliases, constants, the old tensor types, settings.

>>> import firesteel as fs
>>> fs.long is fs.int64
True
>>> fs.FloatTensor([1, 2])
tensor([1., 2.])
"""

from __future__ import annotations

import math

from .. import _C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Tensor = _C.Tensor

_DTYPES = {
    "half": _C.float16, "float": _C.float32, "double": _C.float64, "short": _C.int16, "int": _C.int32,
    "long": _C.int64,
}  # fmt: skip
pi, e, inf, nan, newaxis = math.pi, math.e, math.inf, math.nan, None


# ---- torch.FloatTensor and its kin ------------------------------------------------------------------------------------


class _TensorType(type):
    """The class of the old tensor types: they make plain tensors, and `isinstance` looks at the dtype."""

    dtype: Any

    def __call__(cls, *args: Any) -> Any:
        return _C._legacy_tensor(args, cls.dtype)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor) and instance.dtype is cls.dtype

    def __repr__(cls) -> str:
        return f"<class 'torch.{cls.__name__}'>"


_TYPES = {
    name: _TensorType(name, (), {"dtype": dtype, "__module__": "firesteel", "__doc__": f"Tensors of {dtype!r}."})
    for name, dtype in {
        "HalfTensor": _C.float16, "BFloat16Tensor": _C.bfloat16, "FloatTensor": _C.float32,
        "DoubleTensor": _C.float64, "CharTensor": _C.int8, "ByteTensor": _C.uint8, "ShortTensor": _C.int16,
        "IntTensor": _C.int32, "LongTensor": _C.int64, "BoolTensor": _C.bool,
    }.items()
}  # fmt: skip


def new(self: Tensor, *args: Any) -> Tensor:
    """A tensor of this one's dtype, from sizes or data: the old form of `new_empty` and `new_tensor`."""
    return _C._legacy_tensor(args, self.dtype)


# ---- settings ---------------------------------------------------------------------------------------------------------


def set_default_tensor_type(t: Any) -> None:
    """Sets the default dtype by an old tensor type or its name.

    Raises:
        TypeError: if it is no tensor type of floats.
    """
    name = t if isinstance(t, str) else getattr(t, "__name__", str(t))
    found = _TYPES.get(name.rpartition(".")[2])
    if found is None:
        raise TypeError(f"invalid type object: {name} is no tensor type")
    _C.set_default_dtype(found.dtype)


_settings = {"deterministic": False, "warn_only": False, "precision": "highest"}


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Taken for compatibility: every algorithm here is deterministic."""
    _settings["deterministic"], _settings["warn_only"] = mode, mode and warn_only


def are_deterministic_algorithms_enabled() -> bool:
    """What `use_deterministic_algorithms` was told."""
    return bool(_settings["deterministic"])


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """What `use_deterministic_algorithms` was told about warnings."""
    return bool(_settings["warn_only"])


def set_float32_matmul_precision(precision: str) -> None:
    """Taken for compatibility: products of float32 are always computed in float32.

    Raises:
        RuntimeError: if it is none of 'highest', 'high', 'medium'.
    """
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(f"Invalid float32 matmul precision '{precision}': 'highest', 'high' or 'medium'")
    _settings["precision"] = precision


def get_float32_matmul_precision() -> str:
    """What `set_float32_matmul_precision` was told."""
    return str(_settings["precision"])


def get_default_device() -> Any:
    """The device that new tensors lie on: the CPU."""
    return _C.device("cpu")


def set_default_device(device: Any) -> None:
    """Taken for the CPU only.

    Raises:
        NotImplementedError: for any other device.
    """
    if device is not None and _C.device(device).type != "cpu":
        raise NotImplementedError(f"the default device can only be 'cpu' in this version, not '{device}'")


# ---- functions that are methods ---------------------------------------------------------------------------------------


def detach(input: Tensor) -> Tensor:
    """The same memory, outside the graph."""
    return input.detach()


def detach_(input: Tensor) -> Tensor:
    """The tensor itself, taken out of the graph."""
    return input.detach_()


def typename(obj: Any) -> str:
    """The name of an object's type; a tensor's as `Tensor.type()` has it."""
    if isinstance(obj, Tensor):
        return obj.type()
    kind = obj if isinstance(obj, type) else type(obj)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def to_dense(self: Tensor, dtype: Any = None, *, masked_grad: bool | None = None) -> Tensor:
    """The tensor itself: it is not sparse."""
    return self if dtype is None else self.to(dtype)


globals().update(_DTYPES)
globals().update(_TYPES)
__all__ = [
    *_DTYPES, *_TYPES, "pi", "e", "inf", "nan", "newaxis", "are_deterministic_algorithms_enabled", "detach", "detach_",
    "get_default_device", "get_float32_matmul_precision", "is_deterministic_algorithms_warn_only_enabled",
    "set_default_device", "set_default_tensor_type", "set_float32_matmul_precision", "typename",
    "use_deterministic_algorithms",
]  # fmt: skip
METHODS = {"new": new, "to_dense": to_dense}
