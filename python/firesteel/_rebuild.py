"""What pickles of tensors and generators call when they are read."""

from __future__ import annotations

from . import _C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
    from weakref import WeakValueDictionary


def own_attributes(x: Any) -> dict[str, Any] | None:
    """A tensor's attributes of the program's own, without making a dict for them."""
    return (x._attributes() if type(x) is _C.Tensor else vars(x)) or None


class Bytes:
    """A storage on its way into a pickle: one object for all tensors of a dump that lie in it, so pickle keeps one."""

    __slots__ = ("__weakref__", "owner")

    def __init__(self, owner: Any) -> None:
        self.owner = owner

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return memory, (bytes(memoryview(_C._bytes(self.owner))),)


# Storages that are being pickled, by address and size; an entry goes when the pickler lets go of its object.
_PACKED: WeakValueDictionary[tuple[int, int], Bytes] | None = None
_SMALL = 1 << 16


def _packed(x: Any, used: int) -> Bytes | None:
    """The storage under a tensor that uses so many bytes of it; None where only these are worth keeping."""
    global _PACKED
    if _PACKED is None:
        from weakref import WeakValueDictionary

        _PACKED = WeakValueDictionary()
    key = x._storage()
    found = _PACKED.get(key)
    if found is None and key[1] <= max(2 * used, _SMALL):
        found = _PACKED[key] = Bytes(x)
    return found


def pack(self: Any) -> tuple:
    """`__reduce_ex__` of a tensor: its storage, with sizes and strides.

    Tensors of one dump that share a storage do so afterwards. A small part of a large storage, met before anything
    that uses most of it, goes without the rest: a sample of a dataset on its way between processes.
    """
    size, stride = tuple(self.shape), self.stride()
    x, each = self.detach(), self.element_size()
    if x.device.type == "meta":
        return _pack_with(self, meta, (x.device.type, x.dtype, size, stride))
    device, x = x.device, x.cpu()
    stride, offset = x.stride(), x.storage_offset()
    span = 0 if 0 in size else 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    raw = _packed(x, x.numel() * each)
    if raw is None:
        if span > 2 * x.numel():
            # Far apart in memory: only the elements.
            x = _C.clone(x, memory_format="contiguous")
            stride, span, offset = x.stride(), x.numel(), 0
        raw = Bytes(_C.clone(_C._over(x, x.dtype, [span], [1], offset)))
        offset = 0
    about = (raw, x.dtype, size, stride, offset)
    return _pack_with(self, tensor, about) if device.type == "cpu" else _pack_with(self, elsewhere, (device, *about))


def _pack_with(self: Any, make: Any, about: tuple) -> tuple:
    kind = type(self)
    extra = own_attributes(self)
    return make, (None if kind is _C.Tensor else kind, *about, self.requires_grad), extra


def _finish(made: Any, kind: Any, requires_grad: bool) -> Any:
    if kind is not None:
        return _C.Tensor._make_subclass(kind, made, requires_grad)
    return made.requires_grad_() if requires_grad else made


def memory(raw: bytes) -> Any:
    """A storage from its bytes."""
    made = _C._empty((len(raw),), dtype=_C.uint8)
    memoryview(_C._bytes(made))[:] = raw
    return made


def tensor(kind: Any, raw: Any, dtype: Any, size: tuple, stride: tuple, offset: int, requires_grad: bool) -> Any:
    """A tensor in its storage."""
    return _finish(_C._over(raw, dtype, list(size), list(stride), offset), kind, requires_grad)


def elsewhere(
    kind: Any, device: Any, raw: Any, dtype: Any, size: tuple, stride: tuple, offset: int, requires_grad: bool
) -> Any:
    """A tensor on a device other than the CPU."""
    return _finish(tensor(None, raw, dtype, size, stride, offset, False).to(device), kind, requires_grad)


def meta(kind: Any, device: str, dtype: Any, size: tuple, stride: tuple, requires_grad: bool) -> Any:
    """A tensor without values."""
    return _finish(_C._empty(size, dtype=dtype, device=device), kind, requires_grad)


def set_state(self: Any, state: dict[str, Any]) -> None:
    """`__setstate__` of a tensor: its attributes."""
    self.__dict__.update(state)


def shallow_copy(self: Any) -> Any:
    """`__copy__` of a tensor: another one over the same memory."""
    made = _finish(self.detach(), None if type(self) is _C.Tensor else type(self), self.requires_grad)
    own = own_attributes(self)
    if own:
        made.__dict__.update(own)
    return made


def deep_copy(self: Any, memo: dict[Any, Any]) -> Any:
    """`__deepcopy__` of a tensor: tensors that share memory do so afterwards too."""
    if id(self) in memo:
        return memo[id(self)]
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment. "
            "If you were attempting to deepcopy a module, this may be because of a torch.nn.utils.weight_norm usage, "
            "see https://github.com/pytorch/pytorch/pull/103001"
        )
    from copy import deepcopy

    if self.device.type == "meta":
        made = _C.clone(self.detach())
    else:
        address, nbytes = self._storage()
        memory = memo.get(("storage", address))
        if memory is None:
            # Memory of the gpu is seen as the dtype that it was made for.
            kind, each = (_C.uint8, 1) if self.device.type == "cpu" else (self.dtype, self.element_size())
            memory = _C.clone(_C._over(self, kind, [nbytes // each], [1], 0))
            memo[("storage", address)] = memory
        made = _C._over(memory, self.dtype, list(self.shape), list(self.stride()), self.storage_offset())
    made = _finish(made, None if type(self) is _C.Tensor else type(self), self.requires_grad)
    memo[id(self)] = made
    if self.grad is not None:
        made.grad = deepcopy(self.grad, memo)
    own = own_attributes(self)
    if own:
        made.__dict__.update(deepcopy(own, memo))
    return made


def generator(seed: int, offset: int) -> Any:
    """A generator in the state it was pickled in."""
    made = _C.Generator()
    made._set_state(seed, offset)
    return made
