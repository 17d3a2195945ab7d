"""What pickles of tensors and generators call when they are read."""

from __future__ import annotations

from . import _C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def own_attributes(x: Any) -> dict[str, Any] | None:
    """A tensor's attributes of the program's own, without making a dict for them."""
    return (x._attributes() if type(x) is _C.Tensor else vars(x)) or None


def pack(self: Any) -> tuple:
    """`__reduce_ex__` of a tensor: the bytes it spans, with sizes and strides."""
    size, stride = tuple(self.shape), self.stride()
    x, each = self.detach(), self.element_size()
    if x.device.type != "cpu":
        return _pack_with(self, meta, (x.device.type, x.dtype, size, stride))
    span = 0 if 0 in size else 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if span > 2 * x.numel():
        # Far apart in memory: only the elements.
        x = _C.clone(x, memory_format="contiguous")
        stride, span = x.stride(), x.numel()
    raw = _C._over(x, _C.uint8, [span * each], [1], x.storage_offset() * each).numpy().tobytes()
    return _pack_with(self, tensor, (raw, x.dtype, size, stride))


def _pack_with(self: Any, make: Any, about: tuple) -> tuple:
    kind = type(self)
    extra = own_attributes(self)
    return make, (None if kind is _C.Tensor else kind, *about, self.requires_grad), extra


def _finish(made: Any, kind: Any, requires_grad: bool) -> Any:
    if kind is not None:
        return _C.Tensor._make_subclass(kind, made, requires_grad)
    return made.requires_grad_() if requires_grad else made


def tensor(kind: Any, raw: bytes, dtype: Any, size: tuple, stride: tuple, requires_grad: bool) -> Any:
    """A tensor from its bytes."""
    if raw:
        memory = _C.clone(_C._from_buffer(bytearray(raw)))
        made = _C._over(memory, dtype, list(size), list(stride), 0)
    else:
        made = _C._empty(size, dtype=dtype)
    return _finish(made, kind, requires_grad)


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

    if self.device.type != "cpu":
        made = self.detach()
    else:
        address, nbytes = self._storage()
        memory = memo.get(("storage", address))
        if memory is None:
            memory = _C.clone(_C._over(self, _C.uint8, [nbytes], [1], 0))
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
