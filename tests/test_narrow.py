"""Light ops of narrow integers and halves against NumPy: layouts, sizes around those of vectors, numbers that do not fit."""

import operator

import firesteel as fs
import numpy as np
import pytest

INTS = ["uint8", "int8", "int16", "int32", "int64"]
SIZES = [0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 127, 1000, 70_001]
UNARY = {
    "neg": np.negative, "abs": np.abs, "sign": np.sign, "square": np.square, "bitwise_not": np.invert,
    "relu": lambda x: x.clip(0), "floor": lambda x: x, "round": lambda x: x, "logical_not": np.logical_not,
    "isnan": np.isnan, "isinf": np.isinf, "isfinite": np.isfinite, "signbit": lambda x: x < 0,
}  # fmt: skip
BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "maximum": np.maximum, "minimum": np.minimum, "eq": np.equal,
    "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor, "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or, "bitwise_xor": np.bitwise_xor,
}  # fmt: skip


def draw(shape, dtype, seed=0):
    """Numbers of the dtype's whole range, many of them small."""
    rng = np.random.default_rng(seed)
    limits = np.iinfo(dtype)
    wide = rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    few = rng.integers(max(limits.min, -2), 3, shape).astype(dtype)
    return np.where(rng.random(shape) < 0.5, few, wide)


def layouts(array):
    """Tensors of the same values: as they are, every other element, turned, backwards along the last dim."""
    t = fs.from_numpy(array.copy())
    yield t
    yield fs.stack([t, t], -1)[..., 0]
    if t.dim() > 1:
        yield t.transpose(0, 1).contiguous().transpose(0, 1)
    yield fs.from_numpy(np.concatenate([array, array], -1))[..., : array.shape[-1]]


def same(got, want, what):
    got = got.numpy()
    assert got.dtype == want.dtype, (what, got.dtype, want.dtype)
    assert got.shape == want.shape and np.array_equal(got, want), what


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("shape", [(n,) for n in SIZES] + [(3, 5), (40, 300), (130, 17)])
def test_integers(dtype, shape):
    a, b = draw(shape, dtype), draw(shape, dtype, 1)
    with np.errstate(all="ignore"):
        for name, f in UNARY.items():
            for x in layouts(a):
                same(getattr(fs, name)(x), f(a), name)
        for name, f in BINARY.items():
            for x, y in zip(layouts(a), layouts(b), strict=True):
                same(getattr(fs, name)(x, y), f(a, b), name)
            same(getattr(fs, name)(*(next(layouts(v)) for v in (a, b[..., :1]))), f(a, b[..., :1]), name)


@pytest.mark.parametrize("dtype", INTS[:4])
def test_numbers_beyond_the_range(dtype):
    a = draw((1000,), dtype)
    x, wide = fs.from_numpy(a), a.astype("int64")
    for number in (0, 1, -1, 255, 256, 300, -129, 40_000, -(2**31), 2**33):
        for name in ("eq", "ne", "lt", "le", "gt", "ge"):
            same(getattr(fs, name)(x, number), getattr(operator, name)(wide, number), (name, number))
        for name in ("add", "sub", "mul"):
            same(getattr(fs, name)(x, number), getattr(operator, name)(wide, number).astype(dtype), (name, number))
        same(x & number, (wide & number).astype(dtype), number)
        if number:
            same(x // number, (wide // number).astype(dtype), number)
            same(x % number, (wide % number).astype(dtype), number)
        same(x.clamp(min=number), np.maximum(wide, number).astype(dtype), number)
        same(x.clamp(max=number), np.minimum(wide, number).astype(dtype), number)
    same(x.clamp(-1000, 100_000), np.clip(wide, -1000, 100_000).astype(dtype), "wide bounds")
    same(x**2, (wide**2).astype(dtype), "a square")
    same(x**3, (wide**3).astype(dtype), "a cube")


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("n", [1, 15, 64, 65, 1000])
def test_quotients(dtype, n):
    a, b = draw((n,), dtype), draw((n,), dtype, 1)
    b[b == 0] = 1
    x, y = fs.from_numpy(a), fs.from_numpy(b)
    with np.errstate(all="ignore"):
        same(x // y, a // b, "//")
        same(x % y, a % b, "%")
        same(fs.fmod(x, y), np.fmod(a, b), "fmod")
    b[n // 2] = 0
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        x // fs.from_numpy(b)


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize(
    "shape", [(n,) for n in SIZES[1:]] + [(3, 5), (40, 300), (300, 40), (7, 16, 129), (2, 3, 5000)]
)
def test_extrema(dtype, shape):
    a = draw(shape, dtype)
    for x in layouts(a):
        same(x.max(), a.max(), "max")
        same(x.min(), a.min(), "min")
        low, high = fs.aminmax(x)
        same(low, a.min(), "aminmax")
        same(high, a.max(), "aminmax")
        for dim in range(a.ndim):
            same(x.amax(dim), a.max(dim), dim)
            same(x.amin(dim, keepdim=True), a.min(dim, keepdims=True), dim)
        if a.ndim == 3:
            same(x.amax((0, 2)), a.max((0, 2)), "two dims")
            same(x.amin((0, 1)), a.min((0, 1)), "two dims")


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("shape", [(n,) for n in SIZES] + [(3, 5), (40, 300), (300, 40), (1500, 3), (7, 16, 129)])
def test_sums_and_counts(dtype, shape):
    a = draw(shape, dtype)
    wide = a.astype("int64")
    for x in layouts(a):
        for dim in [None, *range(a.ndim)]:
            same(x.sum(dim), wide.sum(dim), "sum")
            same(fs.count_nonzero(x, dim), np.asarray(np.count_nonzero(a, dim), "int64"), "count_nonzero")
            same(x.ne(0).all() if dim is None else x.ne(0).all(dim), np.asarray((a != 0).all(dim)), "all")
        if a.ndim == 3:
            same(x.sum((0, 2)), wide.sum((0, 2)), "two dims")
            same(x.sum((0, 1), keepdim=True), wide.sum((0, 1), keepdims=True), "two dims")


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("n", SIZES)
def test_dots_and_conversions(dtype, n):
    a, b = draw(n, dtype), draw(n, dtype, 1)
    with np.errstate(all="ignore"):
        want = np.sum(a.astype("int64") * b.astype("int64")).astype(dtype)
    for x, y in zip(layouts(a), layouts(b), strict=True):
        same(fs.dot(x, y), want, "dot")
        for other in INTS:
            same(x.to(getattr(fs, other)), a.astype(other), other)
        half = fs.from_numpy(a.astype("float32")).bfloat16()
        assert fs.equal(x.bfloat16(), half)


@pytest.mark.parametrize("width", [17, 32, 33, 63, 64, 65, 127, 128, 300])
@pytest.mark.parametrize("dtype", INTS)
def test_one_element_for_a_row(dtype, width):
    a, column = draw((40, width), dtype), draw((40, 1), dtype, 1)
    with np.errstate(all="ignore"):
        for f in (operator.add, operator.sub, operator.mul):
            for x in layouts(a):
                c = fs.from_numpy(column)
                same(f(x, c), f(a, column), "second")
                same(f(c, x), f(column, a), "first")
        x = fs.from_numpy(a.copy())
        x -= fs.from_numpy(column)
        same(x, a - column, "in place")
    v = a[0]
    same(fs.outer(fs.from_numpy(v), fs.from_numpy(v)), np.outer(v, v), "outer")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("shape", [(1,), (17,), (1000,), (40, 300), (300, 40), (1500, 3), (7, 16, 129)])
def test_sums_of_halves(dtype, shape):
    """As those of the same numbers in float32, rounded; the order of additions may be another where strides are."""
    a = np.random.default_rng(3).standard_normal(shape).astype("float32")
    for x in layouts(a):
        x = x.to(getattr(fs, dtype))
        wide = x.float()
        for dim in [None, *range(a.ndim)]:
            for name in ("sum", "mean", "nansum", "norm", "var"):
                if name == "var" and (a.size if dim is None else a.shape[dim]) < 2:
                    continue
                f = getattr(fs, name)
                got, want = f(x, dim=dim).float(), f(wide, dim=dim)
                close = np.allclose(got.numpy(), want.numpy(), rtol=1e-2, atol=1e-2 if name == "mean" else 1e-1)
                assert got.dtype is fs.float32 and close, (name, dim)
    x = fs.tensor([1.0, float("nan"), 2.0, -float("nan")]).to(getattr(fs, dtype))
    assert fs.nansum(x).item() == 3.0


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16"]
)
def test_choice_and_truth(dtype):
    rng = np.random.default_rng(2)
    for shape in [(0,), (1,), (17,), (65,), (40, 300)]:
        a, b = (rng.integers(0, 2 if dtype == "bool" else 90, shape).astype(dtype) for _ in range(2))
        mask = rng.random(shape) < 0.5
        for x, y, m in zip(layouts(a), layouts(b), layouts(mask), strict=True):
            same(fs.where(m, x, y), np.where(mask, a, b), "where")
            same(x.masked_fill(m, 1), np.where(mask, np.ones((), dtype), a), "masked_fill")
            same(x.bool(), a.astype(bool), "bool")
            same(x.int(), a.astype("int32"), "int")
            same(x.float(), a.astype("float32"), "float")


def test_in_place():
    for dtype in INTS:
        for n in (5, 1000, 70_001):
            a, b = draw((n,), dtype), draw((n,), dtype, 1)
            x, y = fs.from_numpy(a.copy()), fs.from_numpy(b)
            with np.errstate(all="ignore"):
                same(x.add_(y), a + b, "add_")
                same(x.mul_(3).sub_(x), np.zeros_like(a), "sub_")
                x = fs.from_numpy(a.copy())
                same(x.bitwise_xor_(y).neg_(), -(a ^ b), "neg_")
                same(x.clamp_(1, 5), np.clip(-(a ^ b), 1, 5).astype(dtype), "clamp_")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_halves_round_once(dtype):
    """Each half, beside the same function of floats rounded once."""
    d = getattr(fs, dtype)
    bits = fs.arange(65536).to(fs.int32)
    x = (bits - 65536 * (bits >= 32768)).to(fs.int16).view(d)
    y = x.flip(0)
    one = {
        name: getattr(fs, name)
        for name in "neg abs sign reciprocal sqrt rsqrt square relu floor ceil round trunc frac".split()
    }
    for name, f in (one | {n: getattr(fs, n) for n in "isnan isinf isfinite signbit logical_not".split()}).items():
        equal(f(x), f(x.float()), name)
    for name in "add sub mul div maximum minimum copysign eq ne lt le gt ge".split():
        f = getattr(fs, name)
        equal(f(x, y), f(x.float(), y.float()), name)
        for number in (2, 0.3, -1e-3):
            if name not in ("maximum", "minimum"):
                equal(f(x, number), f(x.float(), number), (name, number))
    equal(x.clamp(-0.3, 7), x.float().clamp(-0.3, 7), "clamp")
    equal(fs.lerp(x, y, 0.3), fs.lerp(x.float(), y.float(), 0.3), "lerp")
    equal(fs.addcmul(x, y, y, value=0.3), fs.addcmul(x.float(), y.float(), y.float(), value=0.3), "addcmul")
    equal(fs.nan_to_num(x, 0.5, 9, -9), fs.nan_to_num(x.float(), 0.5, 9, -9), "nan_to_num")
    assert fs.nan_to_num(x).isfinite().all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("shape", [(1,), (15,), (17,), (65,), (1000,), (70_001,), (40, 300), (300, 40), (7, 16, 129)])
def test_extrema_of_halves(dtype, shape):
    d = getattr(fs, dtype)
    a = np.random.default_rng(5).standard_normal(shape).astype("float32")
    for with_nan in (False, True):
        if with_nan:
            a.flat[a.size // 2] = np.nan
        half = fs.from_numpy(a).to(d).float().numpy()
        for t in layouts(a):
            x = t.to(d) if t.is_contiguous() else next(iter(layouts(a))).to(d)
            for dim in [None, *range(a.ndim)]:
                got = (x.max(), x.min()) if dim is None else (x.amax(dim), x.amin(dim))
                assert got[0].dtype is d
                assert np.array_equal(got[0].float().numpy(), half.max(dim), equal_nan=True), dim
                assert np.array_equal(got[1].float().numpy(), half.min(dim), equal_nan=True), dim
    ends = fs.tensor([-np.inf, 1.0, np.inf, -0.0, 0.0] * 20).to(d)
    assert ends.max().item() == np.inf and ends.min().item() == -np.inf


def test_truth_of_halves_and_integers():
    for dtype in ("uint8", "int16", "int32", "uint16", "bfloat16", "float16"):
        d = getattr(fs, dtype)
        a = np.zeros((30, 40), "int32")
        assert not fs.from_numpy(a).to(d).any() and fs.count_nonzero(fs.from_numpy(a).to(d)) == 0
        a[3, 5] = a[3, 7] = 2
        x = fs.from_numpy(a).to(d)
        assert x.any() and not x.all() and fs.count_nonzero(x) == 2
        assert x.any(1).tolist() == a.any(1).tolist() and fs.ones_like(x).all(0).all()
        assert fs.count_nonzero(x, 0).tolist() == np.count_nonzero(a, 0).tolist()


def equal(got, want, what):
    """Equal values after rounding, NaN equal to NaN, and the signs of zeros."""
    got, want = got.float(), want.to(got.dtype).float()
    assert bool(((got == want) | (got.isnan() & want.isnan())).all()), what
    signs = (got.signbit() == want.signbit()) | got.isnan()
    assert bool(signs.all()), what


def test_nan_to_num():
    for dtype in ("float32", "float64"):
        a = np.array([1.5, np.nan, np.inf, -np.inf, -0.0] * 41, dtype)
        same(fs.nan_to_num(fs.from_numpy(a)), np.nan_to_num(a), dtype)
        same(fs.nan_to_num(fs.from_numpy(a), 3, 4, 5), np.nan_to_num(a, nan=3, posinf=4, neginf=5), dtype)
        x = fs.from_numpy(a).requires_grad_()
        x.nan_to_num().sum().backward()
        same(x.grad, np.isfinite(a).astype(dtype), "the gradient")
    assert fs.nan_to_num(fs.tensor([1, 2])).tolist() == [1, 2]
    with pytest.raises(RuntimeError, match="overflow"):
        fs.nan_to_num(fs.ones(2), posinf=1e300)
