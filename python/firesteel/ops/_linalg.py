"""What `firesteel.linalg` shows: linear algebra made of products and sums.

>>> import firesteel as fs
>>> fs.linalg.norm(fs.tensor([[3.0, 0.0], [0.0, 4.0]]))
tensor(5.)
"""

from __future__ import annotations

import math

from .. import _C
from ._args import FLOATS, deliver, require_tensor, require_tensors, wrap_dim
from .ranges import vander as _vander

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = [
    "LinAlgError", "cross", "diagonal", "matmul", "matrix_exp", "matrix_norm", "matrix_power", "multi_dot", "norm",
    "vander", "vecdot", "vector_norm",
]  # fmt: skip

Tensor = _C.Tensor
LinAlgError = _C.LinAlgError
inf = math.inf


def matmul(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The matrix product."""
    return deliver(_C.matmul(input, other), out)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of the last two dims, as a view."""
    return _C.diagonal(A, offset, dim1, dim2)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1, out: Tensor | None = None) -> Tensor:
    """Dot products of the vectors along a dim."""
    require_tensor(x, "linalg_vecdot", "x")
    require_tensor(y, "linalg_vecdot", "y", 2)
    return deliver((x * y).sum(dim), out)


def cross(input: Tensor, other: Tensor, *, dim: int = -1, out: Tensor | None = None) -> Tensor:
    """The cross product along a dim of size 3.

    Raises:
        RuntimeError: if the ranks differ, or the dim has another size.
    """
    require_tensor(input, "linalg_cross")
    require_tensor(other, "linalg_cross", "other", 2)
    if input.dim() != other.dim():
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    d = wrap_dim(dim, input.dim())
    if input.dim() == 0 or input.shape[d] != 3 or other.shape[d] != 3:
        sizes = [t.shape[d] if t.dim() else 1 for t in (input, other)]
        raise RuntimeError(f"linalg.cross: inputs dimension {dim} must have length 3. Got {sizes[0]} and {sizes[1]}")
    next_, last = _C._tensor([1, 2, 0], _C.int64), _C._tensor([2, 0, 1], _C.int64)

    def turn(t: Tensor, order: Tensor) -> Tensor:
        return _C.index_select(t, d, order)

    return deliver(turn(input, next_) * turn(other, last) - turn(input, last) * turn(other, next_), out)


# ---- norms ------------------------------------------------------------------------------------------------------------


def _floats(x: Tensor, what: str, dtype: Any = None) -> None:
    require_tensor(x, what, "A" if what != "linalg.vector_norm" else "x")
    if dtype is None and x.dtype not in FLOATS:
        raise RuntimeError(f"{what}: Expected a floating point or complex tensor as input. Got {x.dtype!r}")
    if dtype is not None:
        if dtype not in FLOATS:
            raise RuntimeError(f"{what}: dtype should be floating point or complex. Got {dtype!r}")
        if (x.dtype in FLOATS and not _C.can_cast(x.dtype, dtype)) or dtype.itemsize < x.dtype.itemsize:
            raise RuntimeError(
                f"{what}: the dtype of the input ({x.dtype}) should be convertible without narrowing to the specified "
                f"dtype ({dtype})"
            )


def vector_norm(
    x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The norm of all elements taken as one vector, or of vectors along dims.

    Args:
        x: floats.
        ord: any number; infinities take the largest and smallest size, 0 counts.
        dim: the dim or dims; all by default.
        keepdim: whether the reduced dims stay, with size 1.
        dtype: to compute in.
        out: where to write the result.
    """
    _floats(x, "linalg.vector_norm", dtype)
    return deliver(_C.linalg_vector_norm(x, ord, dim, keepdim, dtype=dtype), out)


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The norm of matrices in two dims.

    Args:
        A: (…, m, n), floats.
        ord: 'fro', 1, -1 (columns) or inf, -inf (rows).
        dim: the two dims.
        keepdim: whether they stay, with size 1.
        dtype: to compute in.
        out: where to write the result.

    Raises:
        NotImplementedError: for 2, -2 and 'nuc', which need singular values.
    """
    _floats(A, "linalg.matrix_norm", dtype)
    if A.dim() < 2:
        raise RuntimeError("linalg.matrix_norm: The input tensor A must have at least 2 dimensions.")
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    if len(dims) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {list(dims)}")
    rows, columns = (wrap_dim(d, A.dim()) for d in dims)
    if rows == columns:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({dims[0]}, {dims[1]})")
    if isinstance(ord, str):
        if ord == "nuc":
            raise NotImplementedError("linalg.matrix_norm(ord='nuc') needs singular values, which are not there yet")
        if ord != "fro":
            raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
        return deliver(_C.linalg_vector_norm(A, 2, [rows, columns], keepdim, dtype=dtype), out)
    if abs(ord) == 2:
        raise NotImplementedError(f"linalg.matrix_norm(ord={ord}) needs singular values, which are not there yet")
    if abs(ord) not in (1, inf):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    summed, compared = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = _C.linalg_vector_norm(A, 1, [summed], keepdim, dtype=dtype)
    if not keepdim and compared > summed:
        compared -= 1
    return deliver((_C.amax if ord > 0 else _C.amin)(sums, [compared], keepdim), out)


def norm(
    A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, out: Tensor | None = None,
    dtype: Any = None,
) -> Tensor:  # fmt: skip
    """The norm of vectors (one dim) or matrices (two dims).

    Args:
        A: floats.
        ord: as for `vector_norm` or `matrix_norm`; None is the root of the sum of squares.
        dim: one dim for vectors, two for matrices; None with an `ord` takes the whole vector or matrix.
        keepdim: whether the reduced dims stay, with size 1.
        out: where to write the result.
        dtype: to compute in.
    """
    _floats(A, "linalg.norm", dtype)
    dims = None if dim is None else [dim] if isinstance(dim, int) else list(dim)
    if dims is not None and len(dims) > 2 and ord is not None:
        raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {dims}")
    if dims is None and ord is not None and A.dim() not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A.dim()}D."
        )
    if ord is not None and ((dims is not None and len(dims) == 2) or (dims is None and A.dim() == 2)):
        return matrix_norm(A, ord, dims or (0, 1), keepdim, dtype=dtype, out=out)
    if isinstance(ord, str):
        raise RuntimeError(f"linalg.norm: Order {ord} is not supported for vectors.")
    return vector_norm(A, 2 if ord is None else ord, dims, keepdim, dtype=dtype, out=out)


# ---- powers and chains ------------------------------------------------------------------------------------------------


def _square(A: Tensor, what: str) -> None:
    require_tensor(A, what, "A")
    if A.dim() < 2:
        raise RuntimeError(f"{what}: The input tensor A must have at least 2 dimensions.")
    if A.shape[-1] != A.shape[-2]:
        raise RuntimeError(
            f"{what}: A must be batches of square matrices, but they are {A.shape[-2]} by {A.shape[-1]} matrices"
        )


def matrix_power(A: Tensor, n: int, *, out: Tensor | None = None) -> Tensor:
    """A square matrix multiplied n times with itself.

    Raises:
        NotImplementedError: for negative n, which needs the inverse.
    """
    _square(A, "linalg.matrix_power")
    if n < 0:
        raise NotImplementedError("linalg.matrix_power with a negative power needs the inverse, which is not there yet")
    if n == 0:
        eye = _C._eye(A.shape[-1], dtype=A.dtype, device=A.device)
        return deliver(_C.masked_fill(A, _C._full((), True), 0) + eye, out)
    result, factor = None, A
    while True:
        if n & 1:
            result = factor if result is None else _C.matmul(result, factor)
        n >>= 1
        if not n:
            return deliver(result.clone() if result is A else result, out)
        factor = _C.matmul(factor, factor)


def matrix_exp(A: Tensor) -> Tensor:
    """The exponential of square matrices, by scaling, a Taylor series of degree 18, and squaring."""
    _square(A, "linalg.matrix_exp")
    if A.dtype not in FLOATS:
        raise RuntimeError(f"linalg.matrix_exp: Expected a floating point or complex tensor. Got {A.dtype!r}")
    n = A.shape[-1]
    if A.numel() == 0:
        return A.clone()
    size = float(A.detach().abs().sum(-2).max())
    halvings = max(0, math.ceil(math.log2(size)) + 1) if math.isfinite(size) and size > 0 else 0
    x = A * 0.5**halvings if halvings else A
    eye = _C._eye(n, dtype=A.dtype, device=A.device)
    total = eye + x / 18
    for k in range(17, 0, -1):
        total = eye + _C.matmul(x, total) / k
    for _ in range(halvings):
        total = _C.matmul(total, total)
    return total


def multi_dot(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """The product of two or more matrices in the cheapest order; the first and last may be vectors.

    Raises:
        RuntimeError: if there are fewer than two, or shapes do not fit.
    """
    require_tensors(tensors, "multi_dot")
    if len(tensors) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(tensors)}")
    chain = list(tensors)
    drop = []
    for i, t in enumerate(chain):
        ends = i in (0, len(chain) - 1)
        if t.dim() != 2 and not (ends and t.dim() == 1):
            raise RuntimeError(f"multi_dot(): tensor {i} must be {'1D or ' if ends else ''}2D but got {t.dim()}D")
        if t.dtype is not chain[0].dtype:
            raise RuntimeError(
                f"multi_dot(): all tensors must have be the same dtype but tensor 0 is {chain[0].dtype} and tensor {i} "
                f"{t.dtype}"
            )
    if chain[0].dim() == 1:
        chain[0] = chain[0].unsqueeze(0)
        drop.append(0)
    if chain[-1].dim() == 1:
        chain[-1] = chain[-1].unsqueeze(1)
        drop.append(-1)
    for i in range(len(chain) - 1):
        if chain[i].shape[1] != chain[i + 1].shape[0]:
            raise RuntimeError(
                f"multi_dot(): tensors {i} and {i + 1} with shapes {list(chain[i].shape)} and "
                f"{list(chain[i + 1].shape)} cannot be multiplied"
            )
    result = _product(chain, _cheapest([c.shape[0] for c in chain] + [chain[-1].shape[1]]), 0, len(chain) - 1)
    for d in reversed(drop):
        result = result.squeeze(d)
    return deliver(result, out)


def _cheapest(sizes: list[int]) -> list[list[int]]:
    """Where to cut each part of the chain (Cormen et al., Introduction to Algorithms, 15.2)."""
    n = len(sizes) - 1
    cost = [[0] * n for _ in range(n)]
    cut = [[0] * n for _ in range(n)]
    for span in range(1, n):
        for i in range(n - span):
            j = i + span
            cost[i][j], cut[i][j] = min(
                (cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)
            )
    return cut


def _product(chain: list[Tensor], cut: list[list[int]], i: int, j: int) -> Tensor:
    if i == j:
        return chain[i]
    k = cut[i][j]
    return _C.mm(_product(chain, cut, i, k), _product(chain, cut, k + 1, j))


def vander(x: Tensor, N: int | None = None) -> Tensor:
    """The Vandermonde matrix: powers 0 … N-1 of the last dim's elements, in a new last dim."""
    require_tensor(x, "linalg.vander", "x")
    if x.dim() == 0:
        x = x.reshape(1)
    n = x.shape[-1] if N is None else N
    if n <= 1:
        raise RuntimeError("N must be greater than 1.")
    if x.dim() == 1:
        return _vander(x, n, True)
    flat = _vander(x.reshape(-1), n, True)
    return flat.reshape((*x.shape, n))
