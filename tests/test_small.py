"""Small or plain cases that are carried out whole: the same bits as the long way, which `out=` takes."""

import firesteel as fs
import pytest

ROWS = [1, 2, 3, 4, 15, 16, 17, 63, 64, 65, 100, 127, 128, 129, 500]
SHAPES = (
    [(n,) for n in ROWS] + [(3, n) for n in ROWS] + [(2, 1, n) for n in (1, 4, 65)] + [(n, 3) for n in ROWS] + [(1, 1)]
)


def bits(t):
    return tuple(t.shape), repr(t.tolist())  # tells -0.0 from 0.0, and float32 exactly


def same(op, *args, **kwargs):
    given = op(*args, **kwargs)
    out = fs.empty(given.shape)
    op(*args, **kwargs, out=out)
    assert bits(given) == bits(out)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("op", [fs.sum, fs.mean])
def test_sums(op, shape, keepdim):
    x = fs.randn(shape, generator=fs.Generator().manual_seed(1)) * 100
    for dim in (None, -1, len(shape) - 1, 0, ()):
        same(op, x, dim, keepdim)


@pytest.mark.parametrize("value", [-0.0, float("inf"), float("nan")], ids=str)
def test_sums_of_odd_values(value):
    for n in (1, 2, 5, 16, 40):
        same(fs.sum, fs.full((n,), value), None)
        same(fs.sum, fs.full((2, n), value), -1)
        same(fs.mean, fs.full((2, n), value), -1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("op", [fs.softmax, fs.log_softmax])
def test_softmax(op, shape):
    x = fs.randn(shape, generator=fs.Generator().manual_seed(2)) * 10
    for dim in range(-len(shape), len(shape)):
        same(op, x, dim)


@pytest.mark.parametrize("m", [1, 2, 4, 9, 31])
@pytest.mark.parametrize("k", [1, 2, 4, 17, 32])
@pytest.mark.parametrize("n", [1, 2, 4, 16, 32])
def test_products(m, k, n):
    g = fs.Generator().manual_seed(3)
    a, b = fs.randn(m, k, generator=g), fs.randn(k, n, generator=g)
    same(fs.matmul, a, b)
    same(fs.mm, a, b)


FACTORS = {
    "plain": lambda t: t,
    "transposed": lambda t: t.t().contiguous().t(),
    "strided": lambda t: fs.stack([t, t], -1)[..., 0],
    "flipped": lambda t: t.flip(0).flip(1).flip(0).flip(1),
    "broadcast": lambda t: t[:1].expand(t.shape),
}


@pytest.mark.parametrize("right", FACTORS)
@pytest.mark.parametrize("left", FACTORS)
@pytest.mark.parametrize("dtype", [fs.float32, fs.float64], ids=str)
def test_plain_products_and_linear(left, right, dtype):
    g = fs.Generator().manual_seed(6)
    for m, k, n in [
        (0, 3, 2),
        (2, 0, 3),
        (1, 40, 1),
        (1, 33, 70),
        (65, 9, 1),
        (40, 65, 33),
        (64, 128, 10),
        (127, 17, 100),
    ]:
        a, b = fs.randn(m, k, generator=g, dtype=dtype), fs.randn(k, n, generator=g, dtype=dtype)
        a, b = (FACTORS[name](t) if t.numel() else t for name, t in ((left, a), (right, b)))
        out = fs.empty(m, n, dtype=dtype)
        for op in (fs.mm, fs.matmul):
            op(a, b, out=out)
            assert bits(op(a, b)) == bits(out)
        for bias in (None, fs.randn(n, generator=g, dtype=dtype)):
            # Matrices of a stack take the long way.
            whole, stack = (fs.nn.functional.linear(x, b.t(), bias) for x in (a, a[None]))
            assert whole.dtype == dtype and bits(whole) == bits(stack[0])


def test_what_is_no_plain_product_says_so():
    linear = fs.nn.functional.linear
    a = fs.ones(3, 4)
    cases = [
        lambda: fs.mm(a, a),
        lambda: a @ fs.ones(4, 2, dtype=fs.float64),
        lambda: linear(a, fs.ones(2, 5)),
        lambda: linear(a, fs.ones(2, 4), fs.ones(3)),
        lambda: linear(a, fs.ones(2, 4), fs.ones(2, dtype=fs.float64)),
        lambda: fs.ones(1, 1).expand(2**40, 1) @ fs.ones(1, 1).expand(1, 2**40),
    ]
    for case in cases:
        with pytest.raises(RuntimeError):
            case()
    assert linear(a, fs.ones(2, 4), fs.ones(3, 2)).tolist() == [[5.0, 5.0]] * 3
    assert linear(a, fs.ones(2, 4), fs.ones(1)).tolist() == [[5.0, 5.0]] * 3


def test_a_long_product_keeps_its_order():
    g = fs.Generator().manual_seed(4)
    a, b = fs.randn(2, 512, generator=g), fs.randn(512, 2, generator=g)
    same(fs.matmul, a, b)


def test_cat():
    g = fs.Generator().manual_seed(5)
    x, y = fs.randn(2, 3, generator=g), fs.randn(4, 3, generator=g)
    for tensors in ([x], [x, y], (y, x, x), [fs.empty(0), x], [x.t(), y.t()], [x, x.double()]):
        dtype = fs.float64 if any(t.dtype == fs.float64 for t in tensors) else fs.float32
        for dim in (0, 1):
            try:
                given = fs.cat(tensors, dim)
            except RuntimeError as error:
                with pytest.raises(RuntimeError) as long_way:
                    fs.cat(tensors, dim, out=fs.empty(0, dtype=dtype))
                assert str(long_way.value) == str(error)
                continue
            out = fs.empty(0, dtype=dtype)
            fs.cat(tensors, dim, out=out)
            assert given.dtype == out.dtype and given.tolist() == out.tolist()


def test_sizes_that_do_not_fit_raise_as_ever():
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        fs.ones(2, 3) @ fs.ones(2, 3)
    with pytest.raises(RuntimeError, match="must match except in dimension 0"):
        fs.cat([fs.ones(2, 3), fs.ones(2, 4)])
    with pytest.raises(IndexError):
        fs.softmax(fs.ones(2, 3), 2)
    with pytest.raises(IndexError):
        fs.sum(fs.ones(2, 3), 2)
