"""PyTorch's names in a pickle, for what firesteel calls otherwise, and the limits within which a pickle is read."""

from __future__ import annotations

from firesteel import _C, Size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The class that names a storage's dtype. The three unsigned dtypes without one lie in untyped storages.
STORAGE = {
    _C.float64: "DoubleStorage", _C.float32: "FloatStorage", _C.float16: "HalfStorage",
    _C.bfloat16: "BFloat16Storage", _C.int64: "LongStorage", _C.int32: "IntStorage", _C.int16: "ShortStorage",
    _C.int8: "CharStorage", _C.uint8: "ByteStorage", _C.bool: "BoolStorage",
}  # fmt: skip
UNTYPED = "torch.storage.UntypedStorage"
STORAGE_DTYPES: dict[str, Any] = {f"torch.{name}": dtype for dtype, name in STORAGE.items()}
STORAGE_DTYPES[UNTYPED] = _C.uint8
DTYPES: dict[str, Any] = {repr(dtype): dtype for dtype in _C._dtypes}

# Kinds of tensor that PyTorch stores and firesteel does not have: by the beginning of the global's name.
ABSENT = {
    "torch.Complex": "complex tensors", "torch.complex": "complex tensors",
    "torch.Q": "quantized tensors", "torch.q": "quantized tensors", "torch._utils._rebuild_qtensor": "quantized tensors",
    "torch.float8": "8-bit floats", "torch.Float8": "8-bit floats", "torch.float4": "4-bit floats",
    "torch._utils._rebuild_sparse": "sparse tensors", "torch.sparse": "sparse tensors",
    "torch._utils._rebuild_nested": "nested tensors", "torch.nested": "nested tensors",
    "torch._utils._rebuild_wrapper_subclass": "tensor subclasses", "torch.distributed": "distributed tensors",
}  # fmt: skip

MAX_PICKLE = 1 << 29  # Bytes of data.pkl.
MAX_OBJECTS = 20_000_000  # What a pickle may make, so that a byte of it cannot cost hundreds for long.
MAX_INT = 1 << 16  # Bytes of an int.
MAX_KEY = 100  # Parts of a tuple that is a key: hashing it visits them all.
MAX_ELEMENTS = 1 << 40  # Of a tensor whose strides let few elements stand for many.

_SIMPLE = (str, int, float, bool, bytes, complex, type(None), _C.dtype, _C.device)


def is_key(value: Any) -> bool:
    """Whether something may be a key of a dict or lie in a set: what has a hash that is soon computed."""
    if type(value) in _SIMPLE:
        return True
    waiting, seen = [value], 0
    while waiting:
        one = waiting.pop()
        if type(one) in (tuple, Size, frozenset):
            seen += 1 + len(one)
            if seen > MAX_KEY:
                return False
            waiting += one
        elif type(one) not in _SIMPLE:
            return False
    return True
