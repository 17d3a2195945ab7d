"""Distances between rows, and index patterns, against NumPy and the definitions."""

import itertools

import firesteel as fs
import numpy as np
import pytest
from firesteel.nn import functional as F

MODES = ["use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"]
ORDERS = [0, 0.5, 1, 2, 3, float("inf")]


def numbers(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def distances(a, b, p):
    d = np.abs(a[..., :, None, :] - b[..., None, :, :])
    if p == 0:
        return (d != 0).sum(-1).astype(float)
    if p == float("inf"):
        return d.max(-1)
    return (d**p).sum(-1) ** (1 / p)


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize("mode", MODES)
def test_cdist(p, mode):
    for first, second in [((3, 4), (5, 4)), ((30, 7), (40, 7)), ((2, 30, 3), (26, 3)), ((4, 1, 27, 2), (3, 5, 2))]:
        a, b = numbers(*first), numbers(*second)
        got = fs.cdist(fs.from_numpy(a), fs.from_numpy(b), p, mode).numpy()
        np.testing.assert_allclose(got, distances(a, b, p), rtol=1e-6, atol=1e-7)
        narrow = fs.cdist(fs.from_numpy(a.astype("f4")), fs.from_numpy(b.astype("f4")), p, mode)
        assert narrow.dtype is fs.float32
        np.testing.assert_allclose(narrow.numpy(), distances(a, b, p), rtol=2e-3 if p == 0.5 else 1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [fs.bfloat16, fs.float16])
def test_cdist_of_half_precision_is_rounded_once(dtype):
    a, b = (fs.from_numpy(numbers(30, n)).to(dtype) for n in (7, 7))
    for p in (1, 2):
        got = fs.cdist(a, b, p)
        assert got.dtype is dtype
        want = distances(a.double().numpy(), b.double().numpy(), p)
        np.testing.assert_allclose(got.double().numpy(), want, rtol=fs.finfo(dtype).eps)


def test_cdist_of_many_rows_is_made_in_parts():
    a, b = numbers(900, 11), numbers(700, 11)
    for p in (1, 3):
        got = fs.cdist(fs.from_numpy(a), fs.from_numpy(b), p).numpy()
        np.testing.assert_allclose(got, distances(a, b, p), rtol=1e-12)


def test_cdist_of_nothing():
    for rows, others, width in [(0, 3, 2), (3, 0, 2), (30, 0, 2), (30, 40, 0), (0, 0, 0)]:
        got = fs.cdist(fs.ones(rows, width), fs.ones(others, width))
        assert got.shape == (rows, others) and not got.any()


def test_distances_of_nothing_keep_the_graph():
    for make in (lambda x: fs.cdist(x, x), lambda x: F.pdist(x)):
        for shape in [(3, 0), (1, 70), (0, 2)]:
            x = fs.zeros(shape, requires_grad=True)
            make(x).sum().backward()
            assert x.grad.shape == shape


def test_gradients_of_distances():
    g = fs.Generator().manual_seed(0)
    a, b = (fs.randn(n, 3, dtype=fs.float64, generator=g).requires_grad_() for n in (27, 4))
    assert fs.autograd.gradcheck(lambda a, b: fs.cdist(a, b), (a, b))
    assert fs.autograd.gradgradcheck(lambda a, b: fs.cdist(a, b), (a[:3].detach().requires_grad_(), b))
    c = b.detach().clone() + 1
    assert fs.autograd.gradcheck(lambda b: fs.cdist(b, c, compute_mode=MODES[1]), (b,))
    assert fs.autograd.gradgradcheck(lambda b: fs.cdist(b, c, compute_mode=MODES[1]), (b,))
    # Rows at a distance of zero pass nothing on.
    x = fs.ones(30, 2, requires_grad=True)
    fs.cdist(x, fs.ones(2, 2)).sum().backward()
    assert fs.equal(x.grad, fs.zeros(30, 2))


@pytest.mark.parametrize("p", ORDERS)
def test_pdist(p):
    for shape in [(0, 3), (1, 3), (2, 3), (9, 2), (12, 70), (5, 0)]:
        a = numbers(*shape)
        want = (
            distances(a, a, p)[np.triu_indices(shape[0], 1)] if shape[1] else np.zeros(shape[0] * (shape[0] - 1) // 2)
        )
        got = F.pdist(fs.from_numpy(a), p)
        assert got.shape == want.shape
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-12)
    x = fs.from_numpy(numbers(5, 3)).requires_grad_()
    if p >= 1:
        assert fs.autograd.gradcheck(lambda x: F.pdist(x, p), (x,))


def test_triangles():
    for rows, columns in itertools.product([0, 1, 3, 6], [0, 1, 4]):
        for offset in (-(2**40), -7, -3, -1, 0, 1, 2, 5, 2**40):
            near = max(min(offset, 50), -50)
            for ours, theirs in [(fs.tril_indices, np.tril), (fs.triu_indices, np.triu)]:
                got = ours(rows, columns, offset)
                want = np.stack(np.nonzero(theirs(np.ones((rows, columns)), near)))
                assert got.dtype is fs.int64 and got.is_contiguous()
                np.testing.assert_array_equal(got.numpy(), want)
    assert fs.tril_indices(3, 3, dtype=fs.int32).dtype is fs.int32
    with pytest.raises(RuntimeError, match="non-negative"):
        fs.tril_indices(-1, 3)


@pytest.mark.parametrize("replace", [False, True])
def test_combinations(replace):
    pick = itertools.combinations_with_replacement if replace else itertools.combinations
    for n, r in itertools.product([0, 1, 2, 5], [1, 2, 3, 4]):
        x = [10.0 * i for i in range(n)]
        got = fs.combinations(fs.tensor(x), r, replace)
        rows = [list(row) for row in pick(x, r)]
        assert got.shape == (len(rows), r) and got.tolist() == rows


def test_trapezoid_without_places():
    for shape, dim in [((7,), 0), ((3, 5), -1), ((3, 5), 0), ((4, 1), 1)]:
        y = numbers(*shape)
        for dx in (1, 0.25):
            y1, y2 = np.delete(y, 0, dim), np.delete(y, -1, dim)
            want = (y1 + y2).sum(dim) * (dx / 2)
            np.testing.assert_allclose(fs.trapezoid(fs.from_numpy(y), dx=dx, dim=dim).numpy(), want, atol=1e-12)
    assert fs.trapezoid(fs.tensor([1, 2, 3])).item() == 4.0


@pytest.mark.parametrize("counts", [[], [0], [3], [2, 0, 1], [0, 0, 5, 0], list(range(200))], ids=str)
def test_repeated_indices(counts):
    want = np.repeat(np.arange(len(counts)), counts)
    for dtype in (fs.int64, fs.int32):
        got = fs.repeat_interleave(fs.tensor(counts, dtype=dtype))
        assert got.dtype is fs.int64
        np.testing.assert_array_equal(got.numpy(), want)
    values = fs.randn(len(counts), 3)
    got = values.repeat_interleave(fs.tensor(counts, dtype=fs.int64), 0)
    np.testing.assert_array_equal(got.numpy(), np.repeat(values.numpy(), counts, 0))


def test_many_repeated_indices_on_all_threads():
    counts = np.random.default_rng(1).integers(0, 9, 100_000)
    got = fs.repeat_interleave(fs.from_numpy(counts))
    np.testing.assert_array_equal(got.numpy(), np.repeat(np.arange(len(counts)), counts))
    for bad in ([1, -1], [2**62, 2**62, 2**62]):
        with pytest.raises(RuntimeError, match="repeats"):
            fs.repeat_interleave(fs.tensor(bad))


def test_index_add_and_copy_of_elements():
    x, s = numbers(50), numbers(300)
    i = np.random.default_rng(2).integers(0, 50, 300)
    X, S, places = fs.from_numpy(x), fs.from_numpy(s), fs.from_numpy(i)
    want = x.copy()
    np.add.at(want, i, s)
    np.testing.assert_allclose(X.index_add(0, places, S).numpy(), want, rtol=1e-12)
    np.testing.assert_allclose(X.index_add(0, places, S, alpha=2).numpy(), 2 * want - x, rtol=1e-12, atol=1e-12)
    want = x.copy()
    want[i] = s
    np.testing.assert_array_equal(X.index_copy(0, places, S).numpy(), want)
    np.testing.assert_array_equal(X.index_select(0, places).numpy(), x[i])
    np.testing.assert_array_equal(X[::3].index_select(0, places.remainder(10)).numpy(), x[::3][i % 10])
    for bad in (50, -1):
        with pytest.raises(IndexError):
            X.index_select(0, fs.tensor([0, bad]))
        with pytest.raises(IndexError):
            X.index_copy(0, fs.tensor([0, bad]), S[:2])
        with pytest.raises(RuntimeError):
            X.index_add(0, fs.tensor([0, bad]), S[:2])
    np.testing.assert_array_equal(X.numpy(), x)
    weights = fs.bincount(places, S)
    np.testing.assert_allclose(weights.numpy(), np.bincount(i, s), rtol=1e-12)
