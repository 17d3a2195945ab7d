"""Einstein's sums: products over named dims.

An equation is planned once for each set of shapes: which views bring the operands into the form of a batched matrix
product, and what becomes of its result. The plan is kept; running it costs a few views and one product for each operand
after the first.
"""

from __future__ import annotations

from math import prod

from .. import _C
from ._args import require_tensors, tensor_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["einsum"]

Tensor = _C.Tensor
_plans: dict[Any, _Plan] = {}


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
    if isinstance(equation, str):
        tensors = tensor_list(operands)
    else:
        equation, tensors = _from_lists(equation, operands)
    require_tensors(tensors, "einsum", "operands")
    key = (equation, *[t.shape for t in tensors])
    plan = _plans.get(key)
    if plan is None:
        if len(_plans) > 1000:
            _plans.clear()
        plan = _plans[key] = _Plan(equation.replace(" ", ""), [tuple(t.shape) for t in tensors])
    return plan.run(tensors)


def _from_lists(equation: Any, operands: tuple) -> tuple[str, Sequence[Tensor]]:
    """The equation as a string for `einsum(a, [0, 1], b, [1, 2], [0, 2])`."""
    if not isinstance(equation, Tensor):
        raise TypeError(f"einsum(): the equation must be a str, not {type(equation).__name__}")
    given: list[Any] = [equation, *operands]
    out = given.pop() if len(given) % 2 else None

    def text(indices: Any) -> str:
        letters = ""
        for i in indices:
            if i is Ellipsis:
                letters += "..."
            elif 0 <= i < 52:
                letters += chr(65 + i) if i < 26 else chr(71 + i)
            else:
                raise RuntimeError(f"einsum(): subscripts must be in the range [0, 52), got {i}")
        return letters

    inputs = ",".join(text(indices) for indices in given[1::2])
    return inputs + ("" if out is None else "->" + text(out)), given[::2]


def _parse(equation: str, shapes: list[tuple[int, ...]]) -> tuple[list[list[Any]], list[Any]]:
    """A label for each dim of each operand, and the labels of the result; dims under '...' are -1, -2, … from the right."""
    if not shapes:
        raise RuntimeError("einsum(): must provide at least one operand")
    inputs, arrow, output = equation.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(shapes):
        more = "fewer" if len(terms) > len(shapes) else "more"
        raise RuntimeError(f"einsum(): {more} operands were provided than specified in the equation")
    labels: list[list[Any]] = []
    most = 0
    for i, (term, shape) in enumerate(zip(terms, shapes, strict=True)):
        head, dots, tail = term.partition("...")
        for c in head + tail:
            if not (c.isascii() and c.isalpha()):
                raise RuntimeError(
                    f"einsum(): invalid subscript given at index {term.index(c)} in the equation string, subscripts must "
                    "be in [a-zA-Z]"
                )
        extra = len(shape) - len(head) - len(tail)
        if extra < 0 or (extra and not dots):
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(head) + len(tail)}) does not match the number "
                f"of dimensions ({len(shape)}) for operand {i}" + ("" if dots else " and no ellipsis was given")
            )
        labels.append([*head, *range(-extra, 0), *tail])
        most = max(most, extra)
    hidden = list(range(-most, 0))
    if not arrow:
        every = [c for own in labels for c in own]
        return labels, hidden + sorted(c for c in set(every) if isinstance(c, str) and every.count(c) == 1)
    head, dots, tail = output.partition("...")
    result: list[Any] = [*head, *(hidden if dots else ()), *tail]
    for c in head + tail:
        if not any(c in own for own in labels):
            raise RuntimeError(f"einsum(): output subscript {c} does not appear in the equation for any input operand")
        if result.count(c) > 1:
            raise RuntimeError(f"einsum(): output subscript {c} appears more than once in the output")
    return labels, result


class _Operand:
    """The views that prepare one operand: diagonals, sums, stretched dims, order, shape."""

    def __init__(self, labels: list[Any], shape: Sequence[int], number: int) -> None:
        self.labels, self.shape = list(labels), list(shape)
        self.steps: list[tuple[str, tuple]] = []
        own = self.labels
        while len(set(own)) != len(own):
            c = next(c for c in own if own.count(c) > 1)
            first = own.index(c)
            second = own.index(c, first + 1)
            n, m = self.shape[first], self.shape[second]
            if n != m:
                raise RuntimeError(
                    f"einsum(): subscript {c} is repeated for operand {number} but the sizes don't match, {m} != {n}"
                )
            self.steps.append(("diagonal", (0, first, second)))
            own[:] = [x for k, x in enumerate(own) if k not in (first, second)] + [c]
            self.shape[:] = [x for k, x in enumerate(self.shape) if k not in (first, second)] + [n]

    def sum_over(self, keep: set[Any]) -> None:
        """Sums the dims whose label is not to be kept."""
        gone = [d for d, c in enumerate(self.labels) if c not in keep]
        if gone:
            self.steps.append(("sum", (gone,)))
            self.shape[:] = [n for d, n in enumerate(self.shape) if d not in gone]
            self.labels[:] = [c for c in self.labels if c in keep]

    def stretch(self, other: _Operand) -> None:
        """Expands dims of size 1 to the other operand's size."""
        wide = [
            max(n, other.shape[other.labels.index(c)]) if c in other.labels else n
            for c, n in zip(self.labels, self.shape, strict=True)
        ]
        if wide != self.shape:
            self.steps.append(("expand", (wide,)))
            self.shape = wide

    def order(self, labels: list[Any]) -> None:
        """Puts the dims into an order."""
        places = [self.labels.index(c) for c in labels]
        if places != list(range(len(places))):
            self.steps.append(("permute", (places,)))
            self.shape = [self.shape[p] for p in places]
            self.labels = list(labels)

    def reshape(self, shape: list[int]) -> None:
        """Gives it another shape; its labels no longer count."""
        if shape != self.shape:
            self.steps.append(("reshape", (shape,)))

    def run(self, x: Tensor) -> Tensor:
        """Does all this to a tensor."""
        for name, args in self.steps:
            x = x.sum(*args, dtype=x.dtype) if name == "sum" else getattr(x, name)(*args)
        return x


class _Plan:
    """One product after another, from the left; a letter is summed as soon as nothing later needs it."""

    def __init__(self, equation: str, shapes: list[tuple[int, ...]]) -> None:
        labels, result = _parse(equation, shapes)
        operands = [_Operand(own, s, i) for i, (own, s) in enumerate(zip(labels, shapes, strict=True))]
        sizes: dict[Any, int] = {}
        for i, o in enumerate(operands):
            for c, n in zip(o.labels, o.shape, strict=True):
                before = sizes.setdefault(c, n)
                if n != before and n != 1 and before != 1:
                    raise RuntimeError(
                        f"einsum(): operands do not broadcast with remapped shapes: size of subscript {c} is {n} in "
                        f"operand {i} but was {before}"
                    )
                sizes[c] = n if before == 1 else before
        self.pairs: list[tuple[_Operand, _Operand, str]] = []
        at = operands[0]
        for i in range(1, len(operands)):
            later = {c for o in operands[i + 1 :] for c in o.labels} | set(result)
            at = self._pair(at, operands[i], later)
        at.sum_over(set(result))
        at.order(result)
        self.last = at

    def _pair(self, a: _Operand, b: _Operand, later: set[Any]) -> _Operand:
        a.sum_over(later | set(b.labels))
        b.sum_over(later | set(a.labels))
        a.stretch(b)
        b.stretch(a)
        batch = [c for c in a.labels if c in b.labels and c in later]
        both = [c for c in a.labels if c in b.labels and c not in later]
        rows = [c for c in a.labels if c not in b.labels]
        columns = [c for c in b.labels if c not in a.labels]
        size = dict(zip((*a.labels, *b.labels), (*a.shape, *b.shape), strict=True))
        n, k = [size[c] for c in batch], [size[c] for c in both]
        p, q = [size[c] for c in rows], [size[c] for c in columns]
        a.order([*batch, *rows, *both])
        b.order([*batch, *both, *columns])
        lead = [prod(n)] if batch else []
        a.reshape([*lead, prod(p), prod(k)])
        b.reshape([*lead, prod(k), prod(q)])
        self.pairs.append((a, b, "mul" if not both else "bmm" if batch else "mm"))
        made = _Operand([*batch, *rows, *columns], [*n, *p, *q], -1)
        shape = [*lead, prod(p), prod(q)]
        if shape != made.shape:
            made.steps.append(("reshape", (made.shape[:],)))
        return made

    def run(self, tensors: Sequence[Tensor]) -> Tensor:
        """The sum for tensors of the shapes that were planned for."""
        at = tensors[0]
        for i, (a, b, product) in enumerate(self.pairs):
            at = getattr(_C, product)(a.run(at), b.run(tensors[i + 1]))
        at = self.last.run(at)
        return at if at is not tensors[0] else _C.alias(at)
