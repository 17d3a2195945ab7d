"""Comparisons beyond the elementwise ones, choices, and what is true where."""

from __future__ import annotations

from .. import _C
from ._args import FLOATS, cast, deliver, require_tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "allclose", "argwhere", "equal", "is_complex", "is_conj", "is_floating_point", "is_inference", "is_neg",
    "is_nonzero", "is_same_size", "is_signed", "is_storage", "is_tensor", "isclose", "isin", "isreal", "nonzero",
    "nonzero_static", "numel", "result_type", "where",
]  # fmt: skip

Tensor = _C.Tensor


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """True where |input - other| <= atol + rtol * |other|; infinities only equal themselves.

    Raises:
        RuntimeError: if the dtypes differ or a tolerance is negative.
    """
    require_tensor(input, "isclose")
    require_tensor(other, "isclose", "other", 2)
    if input.dtype is not other.dtype:
        raise RuntimeError(f"{input.dtype} did not match {other.dtype}")
    if rtol < 0:
        raise RuntimeError(f"rtol must be greater than or equal to zero, but got {rtol}")
    if atol < 0:
        raise RuntimeError(f"atol must be greater than or equal to zero, but got {atol}")
    a, b = input.detach(), other.detach()
    close = a == b
    if a.dtype in FLOATS and equal_nan:
        close = close | (a.isnan() & b.isnan())
    if rtol == 0 and atol == 0:
        return close
    if a.dtype not in FLOATS:
        a, b = cast(a, _C.float64), cast(b, _C.float64)
    allowed = atol + (rtol * b).abs()
    difference = (a - b).abs()
    return close | (difference.isfinite() & (difference <= allowed))


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether all elements are close, as `isclose` has it."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have one shape and equal elements."""
    require_tensor(input, "equal")
    require_tensor(other, "equal", "other", 2)
    return input.shape == other.shape and bool(_C._equal(input.detach(), other.detach()))


def isreal(input: Tensor) -> Tensor:
    """True everywhere: there are no complex numbers."""
    require_tensor(input, "isreal")
    return _C._full_like(input, True, dtype=_C.bool)


def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """True where an element is among the test elements.

    Args:
        elements: a tensor or a number.
        test_elements: a tensor or a number.
        assume_unique: taken for compatibility.
        invert: True where it is not.
        out: where to write the result.
    """
    if not isinstance(elements, Tensor) and not isinstance(test_elements, Tensor):
        raise TypeError("isin(): elements or test_elements must be a Tensor")
    x = elements.detach() if isinstance(elements, Tensor) else _C._tensor(elements, None)
    among = test_elements.detach() if isinstance(test_elements, Tensor) else _C._tensor(test_elements, None)
    if _C.bool in (x.dtype, among.dtype) or _C.bfloat16 in (x.dtype, among.dtype):
        dtype = _C.promote_types(x.dtype, among.dtype)
        x, among = (cast(t, _C.int64 if dtype is _C.bool else dtype) for t in (x, among))
    among = among.reshape(-1)
    if among.numel() == 0:
        found = _C._full(x.shape, False, dtype=_C.bool)
    elif among.numel() <= 16 or x.dim() > 7:
        found = _C._full(x.shape, False, dtype=_C.bool)
        for v in among.unbind():
            found = found | (x == v)
    else:
        dtype = _C.promote_types(x.dtype, among.dtype)
        ordered = _C.sort(cast(among, dtype))[0]
        sought = cast(x, dtype)
        at = _C.searchsorted(ordered, sought.contiguous())
        found = ordered[at.clamp(max=ordered.numel() - 1)] == sought
    return deliver(found.logical_not() if invert else found, out)


def where(condition: Tensor, input: Any = None, other: Any = None, *, out: Tensor | None = None) -> Any:
    """Elements of `input` where the condition holds, else of `other`; of the condition alone, `nonzero` as a tuple.

    >>> import firesteel as fs
    >>> fs.where(fs.tensor([True, False]), 1.0, 0.0)
    tensor([1., 0.])
    """
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    return deliver(_C.where(condition, input, other), out)


def _where_method(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    return _C.where(condition, self, other)


def nonzero(input: Tensor, *, out: Tensor | None = None, as_tuple: bool = False) -> Any:
    """The indices of the elements that are not zero.

    Args:
        input: any tensor.
        out: where to write the result.
        as_tuple: one tensor for each dim, as indexing takes them, instead of one row for each element.
    """
    if not as_tuple:
        return deliver(_C.nonzero(input), out)
    if input.dim() == 0:
        return (_C.nonzero(input.reshape(1)).select(1, 0),)
    return _C.unbind(_C.nonzero(input), 1)


def argwhere(input: Tensor) -> Tensor:
    """The indices of the elements that are not zero, one row for each."""
    return _C.nonzero(input)


def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1, out: Tensor | None = None) -> Tensor:
    """`nonzero` cut or filled up to `size` rows."""
    if size < 0:
        raise RuntimeError("nonzero_static: 'size' must be an non-negative integer")
    found = _C.nonzero(input)
    missing = size - found.shape[0]
    if missing > 0:
        found = _C.cat([found, _C._full((missing, found.shape[1]), fill_value, dtype=_C.int64)])
    return deliver(found.narrow(0, 0, size), out)


# ---- questions about one tensor ---------------------------------------------------------------------------------------


def is_tensor(obj: Any) -> bool:
    """Whether an object is a tensor."""
    return isinstance(obj, Tensor)


def is_storage(obj: Any) -> bool:
    """Whether an object is the memory of a tensor."""
    from .._storage import Storage

    return isinstance(obj, Storage)


def is_floating_point(input: Tensor) -> bool:
    """Whether the elements are floats."""
    require_tensor(input, "is_floating_point")
    return input.is_floating_point()


def is_complex(input: Tensor) -> bool:
    """False: there are no complex numbers."""
    require_tensor(input, "is_complex")
    return False


def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative numbers."""
    require_tensor(input, "is_signed")
    return input.is_signed()


def is_conj(input: Tensor) -> bool:
    """False."""
    require_tensor(input, "is_conj")
    return False


is_neg = is_conj


def is_inference(input: Tensor) -> bool:
    """Whether the tensor was made in inference mode."""
    return input.is_inference()


def is_nonzero(input: Tensor) -> bool:
    """Whether the one element of a tensor is not zero."""
    require_tensor(input, "is_nonzero")
    if input.numel() != 1:
        many = "more than one value" if input.numel() else "no values"
        raise RuntimeError(f"Boolean value of Tensor with {many} is ambiguous")
    return bool(input)


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have one shape."""
    return input.shape == other.shape


def numel(input: Tensor) -> int:
    """The number of elements."""
    require_tensor(input, "numel")
    return input.numel()


def result_type(tensor1: Any, tensor2: Any) -> Any:
    """The dtype that two operands are promoted to."""
    return _C._result_type(tensor1, tensor2)


METHODS = {
    "allclose": allclose, "argwhere": argwhere, "equal": equal, "is_nonzero": is_nonzero, "isclose": isclose,
    "isreal": isreal, "nonzero": nonzero, "nonzero_static": nonzero_static, "where": _where_method,
}  # fmt: skip
