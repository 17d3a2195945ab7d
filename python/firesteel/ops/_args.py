"""What the functions of this package share: reading sizes, dims and dtypes as PyTorch does, `out=`, in-place forms."""

from __future__ import annotations

from .. import _C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])

Tensor = _C.Tensor
FLOATS = frozenset((_C.float16, _C.bfloat16, _C.float32, _C.float64))


def native(function: F) -> F:
    """The function behind a native one of the same name, which handles the usual arguments and calls it for others."""
    code, defaults = function.__code__, function.__kwdefaults__ or {}
    names = code.co_varnames[: code.co_argcount]
    star = code.co_varnames[code.co_argcount + code.co_kwonlyargcount] if code.co_flags & 4 else ""  # CO_VARARGS
    text = ", ".join((*names, "*" + star, *(f"{name}={value!r}" for name, value in defaults.items())))
    return _C._native(function, f"({text})")


def sizes(given: tuple, size: Any = None) -> Any:
    """A shape written as `(2, 3)`, `((2, 3),)` or `size=(2, 3)`."""
    if not given:
        if size is None:
            raise TypeError("a shape is needed: ints, a tuple of ints, or the keyword 'size'")
        return (size,) if isinstance(size, int) else size
    if len(given) == 1 and isinstance(given[0], (tuple, list)):
        return given[0]
    return given


def ints(given: tuple) -> tuple:
    """Ints written as `f(1, 2)` or `f((1, 2))`."""
    if len(given) == 1 and isinstance(given[0], (tuple, list)):
        return tuple(given[0])
    return given


def wrap_dim(dim: int, rank: int) -> int:
    """A dim counted from the front; 0-d tensors have one dim.

    Raises:
        IndexError: if there is no such dim.
    """
    n = max(rank, 1)
    if not -n <= dim < n:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})")
    return dim + n if dim < 0 else dim


def wrap_dims(dims: int | Iterable[int] | None, rank: int, what: str = "") -> list[int]:
    """Several dims counted from the front, each once; None and () mean all.

    Raises:
        RuntimeError: if a dim is named twice.
    """
    if isinstance(dims, int):
        return [wrap_dim(dims, rank)]
    if dims is None:
        return list(range(rank))
    found = [wrap_dim(d, rank) for d in dims]
    if len(set(found)) != len(found):
        repeated = next(d for i, d in enumerate(found) if d in found[:i])
        raise RuntimeError(f"{what or 'dims'}: dim {repeated} appears multiple times in the list of dims")
    return found or list(range(rank))


def require_tensor(value: Any, what: str, name: str = "input", position: int = 1) -> None:
    """Raises TypeError unless `value` is a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{what}(): argument '{name}' (position {position}) must be Tensor, not {type(value).__name__}")


def require_tensors(values: Any, what: str, name: str = "tensors") -> None:
    """Raises TypeError unless `values` is a sequence of tensors."""
    if not isinstance(values, (tuple, list)):
        raise TypeError(
            f"{what}(): argument '{name}' (position 1) must be tuple of Tensors, not {type(values).__name__}"
        )
    for i, t in enumerate(values):
        if not isinstance(t, Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument 0 of {what}(), but got {type(t).__name__}")


def tensor_list(given: tuple) -> Sequence[Any]:
    """Tensors written as `f(a, b)` or `f([a, b])`."""
    if len(given) == 1 and isinstance(given[0], (tuple, list)):
        return given[0]
    return given


def broadcast_shapes(*shapes: Any) -> Any:
    """The shape that several shapes are broadcast to.

    >>> import firesteel as fs
    >>> fs.broadcast_shapes((2, 1), (3,))
    torch.Size([2, 3])
    """
    from .._size import Size

    shapes = tuple((s,) if isinstance(s, int) else s for s in shapes)
    rank = max(map(len, shapes), default=0)
    result = [1] * rank
    for shape in shapes:
        for i in range(-1, -1 - len(shape), -1):
            n = shape[i]
            if n < 0:
                raise RuntimeError(f"Trying to create tensor with negative dimension ({n}): ({n})")
            if n == 1 or n == result[i]:
                continue
            if result[i] != 1:
                raise RuntimeError(
                    "Shape mismatch: objects cannot be broadcast to a single shape: "
                    + " and ".join(str(list(s)) for s in shapes)
                )
            result[i] = n
    return Size(result)


def float_dtype(dtype: Any) -> Any:
    """The dtype itself if it is of floats, else the default one."""
    return dtype if dtype in FLOATS else _C.get_default_dtype()


def as_float(x: Tensor) -> Tensor:
    """The tensor in a dtype of floats."""
    return x if x.dtype in FLOATS else _C._to_copy(x, _C.get_default_dtype())


def cast(x: Tensor, dtype: Any) -> Tensor:
    """The tensor in a dtype; itself when it has it."""
    return x if dtype is None or x.dtype is dtype else _C._to_copy(x, dtype)


def deliver(result: Any, out: Any) -> Any:
    """The result, or `out` after the result was written to it."""
    if out is None:
        return result
    if isinstance(result, tuple):
        for r, o in zip(result, out, strict=True):
            deliver(r, o)
        return out
    if not isinstance(out, Tensor):
        raise TypeError(f"argument 'out' must be Tensor, not {type(out).__name__}")
    if not _C.can_cast(result.dtype, out.dtype):
        raise RuntimeError(f"result type {result.dtype} can't be cast to the desired output type {out.dtype}")
    if out.shape != result.shape:
        if out.numel():
            import warnings

            warnings.warn(
                f"An output with one or more elements was resized since it had shape {list(out.shape)}, which does not "
                f"match the required output shape {list(result.shape)}. This behavior is deprecated, and in a future "
                "PyTorch release outputs will not be resized unless they have zero elements.",
                stacklevel=3,
            )
        out._become(_C._empty(result.shape, dtype=out.dtype))
    return out.copy_(result)


def in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The in-place form of a function: its result written over its first argument.

    What the function saves for its derivative must outlive the writing, so it works on a copy where gradients are
    recorded.
    """

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        source = self
        if _C.is_grad_enabled() and (
            self.requires_grad or any(isinstance(a, Tensor) and a.requires_grad for a in (*args, *kwargs.values()))
        ):
            if self.is_leaf and self.requires_grad:
                raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
            source = self.clone()
        result = function(source, *args, **kwargs)
        if result.shape != self.shape:
            raise RuntimeError(
                f"output with shape {list(self.shape)} doesn't match the broadcast shape {list(result.shape)}"
            )
        if result.dtype is not self.dtype and not _C.can_cast(result.dtype, self.dtype):
            raise RuntimeError(f"result type {result.dtype} can't be cast to the desired output type {self.dtype}")
        return self.copy_(result)

    method.__name__ = method.__qualname__ = function.__name__ + "_"
    method.__doc__ = f"In-place version of `{function.__name__}`."
    return method
