"""How a sample is written down, and how tensors of any dtype and layout are made from one.

A sample is a call: `S(F(2, 3), 1, keepdim=True)` is the op on a 2 by 3 tensor of the dtype under test, with these further
arguments. A row is an op's samples with the function that says what is right, written in NumPy or plain Python on float64,
int64 and bool arrays. Values are drawn from a generator seeded by the op's key: each run sees the same ones.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import firesteel as fs
import numpy as np
from firesteel import _C

FLOATS = ("float32", "float64", "float16", "bfloat16")
INTS = ("int64", "int32", "int16", "int8", "uint8")
SETS = {"f": FLOATS, "i": INTS, "b": ("bool",), "F": ("float32", "float64"), "I": ("int64",), "1": ("float64",)}
#: Relative and absolute tolerance: a few units in the last place. Narrow floats are computed in float32 and rounded once.
TOLERANCE = {
    "float32": (2e-6, 1e-6),
    "float64": (1e-12, 1e-13),
    "float16": (1.1e-3, 1e-3),
    "bfloat16": (9e-3, 8e-3),
}


@dataclass(frozen=True)
class T:
    """A tensor: its shape, the range of its values, and its dtype (None: the one under test)."""

    shape: tuple[int, ...]
    low: float | None = None
    high: float | None = None
    dtype: str | None = None
    grad: bool = True
    values: Any = None


def F(*shape: int, low: float | None = None, high: float | None = None, grad: bool = True) -> T:
    """A tensor of the dtype under test; by default the row's domain is the range of its values."""
    return T(shape, low, high, None, grad)


def I(*shape: int, high: int, low: int = 0) -> T:  # noqa: E743
    """int64 indices below `high`."""
    return T(shape, low, high, "int64", False)


def B(*shape: int) -> T:
    """A bool mask."""
    return T(shape, 0, 2, "bool", False)


def V(values, dtype: str | None = None, grad: bool = True) -> T:
    """A tensor of given values."""
    return T(np.shape(values), None, None, dtype, grad and dtype in (None, "float64"), values)


@dataclass(frozen=True)
class S:
    """One call of an op: arguments as they are, with specs where tensors go (in lists too)."""

    args: tuple
    kwargs: dict
    twice: bool

    def __init__(self, *args, **kwargs):
        object.__setattr__(self, "args", args)
        object.__setattr__(self, "kwargs", kwargs)
        object.__setattr__(self, "twice", True)

    def once(self) -> S:
        """The same call, at a point where there is no second derivative: a kink, a tie, a root of zero."""
        made = S(*self.args, **self.kwargs)
        object.__setattr__(made, "twice", False)
        return made

    def specs(self) -> list[T]:
        out: list[T] = []
        _map(self.args, out.append)
        return out

    def __repr__(self):
        def show(a):
            if isinstance(a, T):
                return f"{a.dtype or 'T'}{list(a.shape)}"
            if isinstance(a, (list, tuple)):
                return "[" + ",".join(map(show, a)) + "]"
            return repr(a)

        parts = [show(a) for a in self.args] + [f"{k}={show(v)}" for k, v in self.kwargs.items()]
        return "(" + ", ".join(parts) + ")"


def _map(a, f):
    if isinstance(a, T):
        return f(a)
    if isinstance(a, (list, tuple)):
        return [_map(b, f) for b in a]
    return a


@dataclass
class Row:
    """An op's samples and what is known about it.

    Attributes:
        reference: takes the sample's arguments as arrays, gives an array or a tuple of them; None for random ops.
        samples: the smallest first.
        dtypes: letters of `SETS` ("1": one will do, the op makes its own).
        out: dtype of each result: "same" as tested, "float" (integers become float32), "sum" (integers and bool become
            int64), "truth" (bool, uint8 for uint8), "reference" (that of the reference's array), or a dtype's name. A
            `dtype=` in the call goes before. "weak" is "same", but a number other than True and False makes int64 of bool.
        domain: range of drawn values.
        tolerance: per dtype, where the default is too strict; `why` says for what reason.
        special: NaN, infinities and signed zeros are tried too, and the reference is right for them.
        strided: the op takes any layout (False for those that demand one, as `view`).
        check: for random ops: takes the results and the arguments, asserts.
        medium: calls for the test of equal bits, of a few hundred to 1e5 elements.
        exact: results that are bits and not numbers (uninitialised memory) are not compared.
    """

    reference: Callable | None
    samples: list[S]
    dtypes: str = "f"
    out: str | tuple[str, ...] = "same"
    domain: tuple[float, float] = (-3.0, 3.0)
    tolerance: dict[str, tuple[float, float]] = field(default_factory=dict)
    why: str = ""
    special: bool = False
    strided: bool = True
    check: Callable | None = None
    medium: list[S] = field(default_factory=list)
    exact: bool = True

    def all_dtypes(self) -> list[str]:
        return [d for letter in self.dtypes for d in SETS[letter]]


def rng_of(key: str, sample: int = 0) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(key.encode()), sample])


def narrow(a: np.ndarray, dtype: str) -> np.ndarray:
    """Values of `dtype` nearest to those of an array, in an array whose dtype can hold them."""
    if dtype == "bfloat16":
        bits = np.ascontiguousarray(a, np.float32).view(np.uint32).astype(np.uint64)
        bits = (bits + 0x7FFF + ((bits >> np.uint64(16)) & np.uint64(1))) & np.uint64(0xFFFF0000)
        return bits.astype(np.uint32).view(np.float32).reshape(np.shape(a))
    return np.asarray(a).astype(dtype)


def draw(spec: T, row: Row, rng: np.random.Generator, dtype: str) -> np.ndarray:
    """The values of a spec: exactly representable in its dtype."""
    dtype = spec.dtype or dtype
    if spec.values is not None:
        values = np.asarray(spec.values, np.float64)
        return narrow(values if dtype in FLOATS else np.nan_to_num(values), dtype)
    low = row.domain[0] if spec.low is None else spec.low
    high = row.domain[1] if spec.high is None else spec.high
    if dtype == "bool":
        return rng.integers(0, 2, spec.shape).astype(bool)
    if dtype in FLOATS:
        return narrow(rng.uniform(low, high, spec.shape), dtype)
    low, high = int(np.ceil(low)), int(np.ceil(high))
    if dtype.startswith("uint"):
        low = max(low, 0)
    return np.asarray(rng.integers(low, max(high, low + 1), spec.shape)).astype(dtype)


def wide(a: np.ndarray) -> np.ndarray:
    """As references want it: float64, int64 or bool."""
    a = np.asarray(a)
    if a.dtype == bool:
        return a.copy()
    return a.astype(np.float64 if a.dtype.kind == "f" else np.int64)


def tensor(a: np.ndarray, dtype: str) -> fs.Tensor:
    """A contiguous tensor of the array's values."""
    t = fs.from_numpy(np.array(a, order="C"))
    return t if dtype == str(t.dtype).rpartition(".")[2] else _C._to_copy(t, getattr(fs, dtype))


def to_numpy(t: fs.Tensor) -> np.ndarray:
    """A tensor's values, wide."""
    t = t.detach()
    if t.dtype in (fs.float16, fs.bfloat16):
        t = _C._to_copy(t, fs.float64)
    return wide(t.numpy())


# ---- layouts ---------------------------------------------------------------------------------------------------------


def contiguous(a: np.ndarray, dtype: str) -> fs.Tensor:
    return tensor(a, dtype)


def transposed(a: np.ndarray, dtype: str) -> fs.Tensor:
    """The same values in column-major memory."""
    order = tuple(reversed(range(a.ndim)))
    return tensor(np.ascontiguousarray(a.transpose(order)), dtype).permute(order) if a.ndim > 1 else tensor(a, dtype)


def strided(a: np.ndarray, dtype: str) -> fs.Tensor:
    """The same values as every second element along the last dim, after an offset."""
    if a.ndim == 0:
        return tensor(np.stack([a, a]), dtype).select(0, 1)
    n = a.shape[-1]
    room = np.zeros((*a.shape[:-1], 2 * n + 1), a.dtype)
    room[..., 1 : 2 * n : 2] = a
    return _C.slice(tensor(room, dtype), a.ndim - 1, 1, 2 * n, 2)


def expandable(a: np.ndarray) -> np.ndarray:
    """The array with its first row (of some dim larger than one) everywhere: what an expanded tensor holds."""
    for d, n in enumerate(a.shape):
        if n > 1:
            return np.broadcast_to(np.take(a, [0], d), a.shape)
    return a


def expanded(a: np.ndarray, dtype: str) -> fs.Tensor:
    for d, n in enumerate(a.shape):
        if n > 1:
            return tensor(np.take(a, [0], d), dtype).expand(a.shape)
    return tensor(a, dtype)


LAYOUTS = {"contiguous": contiguous, "transposed": transposed, "strided": strided, "expanded": expanded}


class Built:
    """A sample with values: `tensors` to call the op with and `arrays` for the reference."""

    def __init__(self, key: str, row: Row, sample: S, dtype: str, layout: str = "contiguous", number: int = 0):
        rng = rng_of(key, number)
        self.pairs: list[tuple[fs.Tensor, np.ndarray, T]] = []

        def make(spec: T):
            own = spec.dtype or dtype
            a = draw(spec, row, rng, dtype)
            # Indices and masks keep their values: an expanded index could name one place twice.
            how = layout
            if layout == "expanded" and spec.dtype is not None:
                how = "contiguous"
            if how == "expanded":
                a = expandable(a)
            self.pairs.append((LAYOUTS[how](a, own), wide(a), spec))
            return len(self.pairs) - 1

        marks = _map(sample.args, lambda s: _Mark(make(s)))
        self.args = _unmark(marks, [t for t, _, _ in self.pairs])
        self.arrays = _unmark(marks, [a for _, a, _ in self.pairs])
        self.marks = marks
        self.kwargs = sample.kwargs

    def call_with(self, f, tensors):
        return f(*_unmark(self.marks, tensors), **self.kwargs)


@dataclass(frozen=True)
class _Mark:
    at: int


def _unmark(a, values):
    if isinstance(a, _Mark):
        return values[a.at]
    if isinstance(a, list):
        return [_unmark(b, values) for b in a]
    return a


def result_dtype(rule: str, dtype: str) -> str:
    """The dtype that a rule of `Row.out` stands for."""
    if rule == "same":
        return dtype
    if rule == "float":
        return dtype if dtype in FLOATS else "float32"
    if rule == "sum":
        return dtype if dtype in FLOATS else "int64"
    if rule == "truth":
        return "uint8" if dtype == "uint8" else "bool"
    return rule
