"""Products of matrices and vectors made of `matmul`: with a summand, of several operands, over named dims."""

from __future__ import annotations

from .. import _C
from ._args import cast, deliver, in_place, require_tensor, require_tensors, tensor_list, wrap_dim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = [
    "addbmm", "addmm", "addmv", "addr", "baddbmm", "chain_matmul", "cross", "einsum", "ger", "inner", "kron",
    "matrix_exp", "matrix_power", "outer", "tensordot", "vdot",
]  # fmt: skip

Tensor = _C.Tensor


# ---- beta * input + alpha * product -----------------------------------------------------------------------------------


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
    return _C.add(product, input.expand(product.shape) if beta == 1 else input.expand(product.shape) * beta)


def _rank(t: Tensor, rank: int, what: str, name: str) -> None:
    if t.dim() != rank:
        raise RuntimeError(f"{what}: expected {name} to be {rank}-D, but got {t.dim()}-D")


def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Tensor | None = None
) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2)."""
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
    from ..linalg import cross as along

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
    from ..linalg import multi_dot

    given = tensor_list(matrices)
    require_tensors(given, "chain_matmul", "matrices")
    if not given:
        raise RuntimeError("chain_matmul(): Expected one or more matrices")
    for m in given:
        _rank(m, 2, "chain_matmul", "matrices")
    return deliver(given[0].clone() if len(given) == 1 else multi_dot(given), out)


def matrix_power(input: Tensor, n: int, *, out: Tensor | None = None) -> Tensor:
    """A square matrix multiplied n times with itself."""
    from ..linalg import matrix_power as power

    return power(input, n, out=out)


def matrix_exp(input: Tensor) -> Tensor:
    """The exponential of square matrices."""
    from ..linalg import matrix_exp as exponential

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


def _letters(equation: Any, operands: tuple) -> tuple[str, Sequence[Tensor]]:
    """The equation as a string, and the operands: also for `einsum(a, [0, 1], b, [1, 2], [0, 2])`."""
    if isinstance(equation, Tensor):
        given = [equation, *operands]
        out = given.pop() if len(given) % 2 else None
        terms = []

        def text(indices: Any) -> str:
            def one(i: Any) -> str:
                if i is Ellipsis:
                    return "..."
                if not 0 <= i < 52:
                    raise RuntimeError(f"einsum(): subscripts must be in the range [0, 52), got {i}")
                return chr(65 + i) if i < 26 else chr(71 + i)

            return "".join(map(one, indices))

        for indices in given[1::2]:
            terms.append(text(indices))
        equation = ",".join(terms) + ("" if out is None else "->" + text(out))
        return equation, given[::2]
    if not isinstance(equation, str):
        raise TypeError(f"einsum(): the equation must be a str, not {type(equation).__name__}")
    return equation.replace(" ", ""), tensor_list(operands)


def einsum(equation: Any, *operands: Any) -> Tensor:
    """Products summed over letters: those of the inputs that the output does not have.

    Args:
        equation: as 'bij,bjk->bik'; '...' stands for any further dims, and without '->' the output has the letters
            that occur once, sorted.
        operands: the tensors, one by one or as a sequence.

    Raises:
        RuntimeError: if equation and tensors do not fit.

    >>> import firesteel as fs
    >>> fs.einsum('ij,ij->i', fs.ones(2, 3), fs.ones(2, 3))
    tensor([3., 3.])
    """
    equation, tensors = _letters(equation, operands)
    require_tensors(tensors, "einsum", "operands")
    if not tensors:
        raise RuntimeError("einsum(): must provide at least one operand")
    inputs, arrow, output = equation.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(tensors):
        more = "fewer" if len(terms) > len(tensors) else "more"
        raise RuntimeError(f"einsum(): {more} operands were provided than specified in the equation")
    # Dims under an ellipsis get names of their own, counted from the right.
    widths = []
    for i, (term, t) in enumerate(zip(terms, tensors, strict=True)):
        letters = term.replace("...", "", 1)
        for c in letters:
            if not (c.isascii() and c.isalpha()):
                raise RuntimeError(
                    f"einsum(): invalid subscript given at index {term.index(c)} in the equation string, subscripts must "
                    "be in [a-zA-Z]"
                )
        extra = t.dim() - len(letters)
        if extra < 0 or (extra and "..." not in term):
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(letters)}) does not match the number of "
                f"dimensions ({t.dim()}) for operand {i}" + ("" if "..." in term else " and no ellipsis was given")
            )
        widths.append(extra)
    most = max(widths)
    labels = [_labelled(term, width, most) for term, width in zip(terms, widths, strict=True)]
    hidden = [-k for k in range(most, 0, -1)]
    if arrow:
        head, dots, tail = output.partition("...")
        result: list[Any] = [*head, *(hidden if dots else ()), *tail]
        for c in (*head, *tail):
            if not any(c in own for own in labels):
                raise RuntimeError(
                    f"einsum(): output subscript {c} does not appear in the equation for any input operand"
                )
            if result.count(c) > 1:
                raise RuntimeError(f"einsum(): output subscript {c} appears more than once in the output")
    else:
        counts: dict[Any, int] = {}
        for own in labels:
            for c in own:
                counts[c] = counts.get(c, 0) + 1
        result = hidden + sorted(c for c, n in counts.items() if n == 1 and isinstance(c, str))
    return _contract(list(tensors), labels, result)


def _labelled(term: str, width: int, most: int) -> list[Any]:
    head, dots, tail = term.partition("...")
    return [*head, *(-k for k in range(width, 0, -1)), *tail] if dots else [*head]


def _contract(tensors: list[Tensor], labels: list[list[Any]], result: list[Any]) -> Tensor:
    sizes: dict[Any, int] = {}
    for i, t in enumerate(tensors):
        # A letter that stands twice in one operand means its diagonal.
        own = labels[i]
        while len(set(own)) != len(own):
            c = next(c for c in own if own.count(c) > 1)
            first = own.index(c)
            second = own.index(c, first + 1)
            if t.shape[first] != t.shape[second]:
                raise RuntimeError(
                    f"einsum(): subscript {c} is repeated for operand {i} but the sizes don't match, "
                    f"{t.shape[second]} != {t.shape[first]}"
                )
            t = t.diagonal(0, first, second)
            own = [x for k, x in enumerate(own) if k not in (first, second)] + [c]
        tensors[i], labels[i] = t, own
        for c, n in zip(own, t.shape, strict=True):
            if sizes.setdefault(c, n) != n:
                if sizes[c] != 1 and n != 1:
                    raise RuntimeError(
                        f"einsum(): operands do not broadcast with remapped shapes: size of subscript {c} is {n} in "
                        f"operand {i} but was {sizes[c]}"
                    )
                sizes[c] = max(sizes[c], n)
    at, own = tensors[0], labels[0]
    for i in range(1, len(tensors)):
        later = {c for rest in labels[i + 1 :] for c in rest} | set(result)
        at, own = _pair(at, own, tensors[i], labels[i], later)
    gone = [d for d, c in enumerate(own) if c not in result]
    if gone:
        at = at.sum(gone, dtype=at.dtype)
        own = [c for c in own if c in result]
    return at.permute([own.index(c) for c in result])


def _pair(a: Tensor, la: list[Any], b: Tensor, lb: list[Any], later: set[Any]) -> tuple[Tensor, list[Any]]:
    """One batched product of two operands, summed over the letters that nothing needs any more."""

    def summed(t: Tensor, own: list[Any], other: list[Any]) -> tuple[Tensor, list[Any]]:
        gone = [d for d, c in enumerate(own) if c not in other and c not in later]
        return (t.sum(gone, dtype=t.dtype), [c for c in own if c in other or c in later]) if gone else (t, own)

    def stretched(t: Tensor, own: list[Any], other: Tensor, theirs: list[Any]) -> Tensor:
        wide = [max(n, other.shape[theirs.index(c)]) if c in theirs else n for c, n in zip(own, t.shape, strict=True)]
        return t if wide == list(t.shape) else t.expand(wide)

    a, la = summed(a, la, lb)
    b, lb = summed(b, lb, la)
    a, b = stretched(a, la, b, lb), stretched(b, lb, a, la)
    batch = [c for c in la if c in lb and c in later]
    both = [c for c in la if c in lb and c not in later]
    rows = [c for c in la if c not in lb]
    columns = [c for c in lb if c not in la]
    size = dict(zip((*la, *lb), (*a.shape, *b.shape), strict=True))

    def count(letters: list[Any]) -> int:
        n = 1
        for c in letters:
            n *= size[c]
        return n

    left = a.permute([la.index(c) for c in (*batch, *rows, *both)]).reshape(count(batch), count(rows), count(both))
    right = b.permute([lb.index(c) for c in (*batch, *both, *columns)]).reshape(
        count(batch), count(both), count(columns)
    )
    if not both:
        product = left * right
    elif batch:
        product = _C.bmm(left, right)
    else:
        product = _C.mm(left.squeeze(0), right.squeeze(0))
    own = [*batch, *rows, *columns]
    return product.reshape([size[c] for c in own]), own


METHODS: dict[str, Any] = {
    f.__name__: f
    for f in (addbmm, addmm, addmv, addr, baddbmm, cross, inner, kron, matrix_exp, matrix_power, outer, vdot)
}
METHODS["ger"] = outer
METHODS.update({f.__name__ + "_": in_place(f) for f in (addbmm, addmm, addmv, addr, baddbmm)})
