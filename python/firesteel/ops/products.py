"""Products of matrices and vectors made of `matmul`: with a summand, of several operands, over named dims."""

from __future__ import annotations

from .. import _C
from ._args import cast, deliver, in_place, require_tensor, require_tensors, tensor_list, wrap_dim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "addbmm", "addmm", "addmv", "addr", "baddbmm", "chain_matmul", "cross", "ger", "inner", "kron",
    "matrix_exp", "matrix_power", "outer", "tensordot", "vdot",
]  # fmt: skip

Tensor = _C.Tensor


# ---- beta * input + alpha * product -----------------------------------------------------------------------------------
# Where the kernel takes the case (`_sums_in_one`), the sum is made while the product is stored, with the same bits.


def _same_dtype(what: str, *tensors: Tensor) -> None:
    for t in tensors[1:]:
        if t.dtype is not tensors[0].dtype:
            raise RuntimeError(
                f"{what}: expected all tensors to have one dtype, but got {tensors[0].dtype} and {t.dtype}"
            )


def _add(input: Tensor, product: Tensor, beta: Any, alpha: Any, what: str) -> Tensor:
    if not product.dtype.is_floating_point and product.dtype is not _C.bool:
        if what == "addr" and isinstance(beta, float) | isinstance(alpha, float):
            raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
        beta, alpha = int(beta), int(alpha)
    if product.dtype is _C.bool and isinstance(alpha, bool):
        product = product if alpha else product & False
    elif alpha != 1:
        product = product * alpha
    if not beta:
        # Whatever stands in the input does not count, NaN included.
        return product + cast(input.expand(product.shape) * 0, product.dtype) if input.requires_grad else product
    result = _C.add(product, input if beta == 1 else input * beta)
    if result.shape != product.shape:
        raise RuntimeError(
            f"{what}: the input of shape {list(input.shape)} cannot be expanded to {list(product.shape)}"
        )
    return result


def _rank(t: Tensor, rank: int, what: str, name: str) -> None:
    if t.dim() != rank:
        raise RuntimeError(f"{what}: expected {name} to be {rank}-D, but got {t.dim()}-D")


def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Tensor | None = None
) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2)."""
    if _C._sums_in_one(input, mat1, mat2, beta, alpha, 2):
        return deliver(_C._addmm(input, mat1, mat2, beta, alpha), out)
    require_tensor(input, "addmm")
    _same_dtype("addmm", input, mat1, mat2)
    return deliver(_add(input, _C.mm(mat1, mat2), beta, alpha, "addmm"), out)


def addmv(
    input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Tensor | None = None
) -> Tensor:
    """beta * input + alpha * (mat @ vec)."""
    require_tensor(input, "addmv")
    _same_dtype("addmv", input, mat, vec)
    return deliver(_add(input, _C.mv(mat, vec), beta, alpha, "addmv"), out)


def addr(
    input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Tensor | None = None
) -> Tensor:
    """beta * input + alpha * outer(vec1, vec2)."""
    require_tensor(input, "addr")
    _rank(vec1, 1, "addr", "vec1")
    _rank(vec2, 1, "addr", "vec2")
    product = vec1.unsqueeze(1) * vec2
    if product.dtype is _C.bool and input.dtype is _C.bool:
        product = product if alpha else product & False
        return deliver(product | input if beta else product, out)
    return deliver(_add(input, product, beta, alpha, "addr"), out)


def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Tensor | None = None
) -> Tensor:
    """beta * input + alpha * (batch1 @ batch2), matrix by matrix."""
    if _C._sums_in_one(input, batch1, batch2, beta, alpha, 3):
        return deliver(_C._addmm(input, batch1, batch2, beta, alpha), out)
    require_tensor(input, "baddbmm")
    _same_dtype("baddbmm", input, batch1, batch2)
    return deliver(_add(input, _C.bmm(batch1, batch2), beta, alpha, "baddbmm"), out)


def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Tensor | None = None
) -> Tensor:
    """beta * input + alpha * the sum of the matrices batch1 @ batch2."""
    require_tensor(input, "addbmm")
    _same_dtype("addbmm", input, batch1, batch2)
    product = _C.bmm(batch1, batch2)
    return deliver(_add(input, product.sum(0, dtype=product.dtype), beta, alpha, "addbmm"), out)


# ---- vectors ----------------------------------------------------------------------------------------------------------


def outer(input: Tensor, vec2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """All products of an element of one vector and one of another."""
    require_tensor(input, "outer")
    require_tensor(vec2, "outer", "vec2", 2)
    for t, name in ((input, "self"), (vec2, "vec2")):
        if t.dim() != 1:
            raise RuntimeError(f"outer: Expected 1-D argument {name}, but got {t.dim()}-D")
    return deliver(input.unsqueeze(1) * vec2, out)


ger = outer


def vdot(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The dot product of two vectors."""
    return deliver(_C.dot(input, other), out)


def inner(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Products summed over the last dim of both."""
    require_tensor(input, "inner")
    require_tensor(other, "inner", "other", 2)
    if input.dim() == 0 or other.dim() == 0:
        return deliver(input * other, out)
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            f"inner() the last dimension must match on both input tensors but got shapes {list(input.shape)} and "
            f"{list(other.shape)}"
        )
    return deliver(tensordot(input, other, ([-1], [-1])), out)


def cross(input: Tensor, other: Tensor, dim: int | None = None, *, out: Tensor | None = None) -> Tensor:
    """The cross product along a dim of size 3; by default the first one of that size."""
    require_tensor(input, "cross")
    require_tensor(other, "cross", "other", 2)
    if dim is None:
        if input.dim() != other.dim():
            raise RuntimeError("inconsistent tensors dimensions for the cross product: both must have one rank")
        dim = next((d for d, n in enumerate(input.shape) if n == 3), None)
        if dim is None:
            raise RuntimeError("no dimension of size 3 in input")
    from ._linalg import cross as along

    return deliver(along(input, other, dim=dim), out)


# ---- several matrices -------------------------------------------------------------------------------------------------


def kron(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The Kronecker product: every element of the first times all of the second."""
    require_tensor(input, "kron")
    require_tensor(other, "kron", "other", 2)
    rank = max(input.dim(), other.dim())
    a = [1] * (rank - input.dim()) + list(input.shape)
    b = [1] * (rank - other.dim()) + list(other.shape)
    wide_a = [n for size in a for n in (size, 1)]
    wide_b = [n for size in b for n in (1, size)]
    product = input.reshape(wide_a) * other.reshape(wide_b)
    return deliver(product.reshape([x * y for x, y in zip(a, b, strict=True)]), out)


def chain_matmul(*matrices: Any, out: Tensor | None = None) -> Tensor:
    """The product of several matrices, in the cheapest order."""
    from ._linalg import multi_dot

    given = tensor_list(matrices)
    require_tensors(given, "chain_matmul", "matrices")
    if not given:
        raise RuntimeError("chain_matmul(): Expected one or more matrices")
    for m in given:
        _rank(m, 2, "chain_matmul", "matrices")
    return deliver(given[0].clone() if len(given) == 1 else multi_dot(given), out)


def matrix_power(input: Tensor, n: int, *, out: Tensor | None = None) -> Tensor:
    """A square matrix multiplied n times with itself."""
    from ._linalg import matrix_power as power

    return power(input, n, out=out)


def matrix_exp(input: Tensor) -> Tensor:
    """The exponential of square matrices."""
    from ._linalg import matrix_exp as exponential

    return exponential(input)


# ---- over named dims --------------------------------------------------------------------------------------------------


def tensordot(a: Tensor, b: Tensor, dims: Any = 2, out: Tensor | None = None) -> Tensor:
    """Products summed over dims of both.

    Args:
        a: a tensor.
        b: a tensor.
        dims: how many of the last dims of `a` and the first of `b`, or two lists of dims.
        out: where to write the result.
    """
    require_tensor(a, "tensordot", "a")
    require_tensor(b, "tensordot", "b", 2)
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.dim(), b.dim()):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        left, right = list(range(a.dim() - dims, a.dim())), list(range(dims))
    else:
        left, right = (
            [wrap_dim(d, t.dim()) for d in ([ds] if isinstance(ds, int) else ds)]
            for ds, t in zip(dims, (a, b), strict=True)
        )
    if len(left) != len(right):
        raise RuntimeError("both dimension lists should have same length")
    for x, y in zip(left, right, strict=True):
        if a.shape[x] != b.shape[y]:
            if a.shape[x] == 1:
                b = b.sum(y, True, dtype=b.dtype)
            elif b.shape[y] == 1:
                a = a.sum(x, True, dtype=a.dtype)
            else:
                raise RuntimeError(
                    f"contracted dimensions need to match, but first has size {a.shape[x]} in dim {x} and second has "
                    f"size {b.shape[y]} in dim {y}"
                )
    if a.dtype is not b.dtype:
        raise RuntimeError(f"both inputs should have same dtype, but got {a.dtype} and {b.dtype}")
    free_a = [d for d in range(a.dim()) if d not in left]
    free_b = [d for d in range(b.dim()) if d not in right]
    k = 1
    for d in left:
        k *= a.shape[d]
    shape = [a.shape[d] for d in free_a] + [b.shape[d] for d in free_b]
    m, n = 1, 1
    for d in free_a:
        m *= a.shape[d]
    for d in free_b:
        n *= b.shape[d]
    product = _C.mm(a.permute(free_a + left).reshape(m, k), b.permute(right + free_b).reshape(k, n))
    return deliver(product.reshape(shape), out)


METHODS: dict[str, Any] = {
    f.__name__: f
    for f in (addbmm, addmm, addmv, addr, baddbmm, cross, inner, kron, matrix_exp, matrix_power, outer, vdot)
}
METHODS["ger"] = outer
METHODS.update({f.__name__ + "_": in_place(f) for f in (addbmm, addmm, addmv, addr, baddbmm)})
