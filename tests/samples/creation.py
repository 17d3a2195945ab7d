"""Ops that make tensors, fill them, draw random numbers, or copy."""

from __future__ import annotations

import firesteel as fs
import numpy as np

from .spec import F, Row, S, V

ROWS: dict[str, Row] = {}


def made(reference, samples, **known) -> Row:
    """A row for an op whose results have dtypes of their own."""
    return Row(reference, samples, "1", "reference", **known)


def named(dtype, default=np.float32):
    """NumPy's dtype of one of ours."""
    return default if dtype is None else np.dtype(str(dtype).rpartition(".")[2])


def full(size, value, dtype=None):
    own = {bool: np.bool_, int: np.int64, float: np.float32}[type(value)]
    return np.full(size, value, named(dtype, own))


def arange(start, end, step, dtype=None):
    whole = all(isinstance(v, int) for v in (start, end, step))
    return np.arange(start, end, step).astype(named(dtype, np.int64 if whole else np.float32))


ROWS.update(
    _empty=made(
        lambda size, dtype=None: np.zeros(size, named(dtype)), [S([2, 3]), S([0]), S([], dtype=fs.int64)], exact=False
    ),
    _full=made(full, [S([2, 3], 1.5), S([2], 3), S([], True), S([0], 1.0), S([4], 2, dtype=fs.float64)]),
    _arange=made(arange, [S(0, 5, 1), S(5, 0, -2), S(0.0, 1.0, 0.3), S(2, 2, 1), S(0, 4, 1, dtype=fs.float64)]),
    _linspace=made(
        lambda start, end, steps, dtype=None: np.linspace(start, end, steps).astype(named(dtype)),
        [S(0.0, 1.0, 5), S(3, -3, 7), S(1, 2, 1), S(1, 2, 0), S(0, 10, 4, dtype=fs.float64)],
    ),
    _eye=made(
        lambda n, m=None, dtype=None: np.eye(n, m, dtype=named(dtype)),
        [S(3), S(2, 4), S(4, 2), S(0), S(2, dtype=fs.int64)],
    ),
    _triangle=made(
        lambda rows, columns, offset, upper: np.stack(
            (np.triu_indices if upper else np.tril_indices)(rows, offset, columns)
        ),
        [
            S(3, 4, 0, False),
            S(3, 4, 1, True),
            S(5, 2, -3, False),
            S(5, 2, -7, True),
            S(4, 4, 9, False),
            S(2, 3, 3, True),
            S(0, 3, 0, True),
        ],
    ),
    empty_like=Row(lambda x, dtype=None: np.zeros_like(x), [S(F(2, 3)), S(F()), S(F(0))], "fib", exact=False),
    _full_like=Row(lambda x, v, dtype=None: np.full(np.shape(x), v), [S(F(2, 3), 1), S(F(), 1), S(F(0), 1)], "fib"),
    fill=Row(lambda x, v: np.broadcast_to(v, x.shape), [S(F(3), F()), S(F(2, 3), 1), S(F(), 1), S(F(0), 1)], "fib"),
    zero=Row(np.zeros_like, [S(F(3)), S(F()), S(F(0))], "fib"),
    copy=Row(
        lambda x, src, non_blocking=False: np.broadcast_to(src, x.shape),
        [
            S(F(3), F(3)),
            S(F(2, 3), F(3)),
            S(F(2, 3), F()),
            S(F(), F()),
            S(F(0), F(0)),
            S(F(2, 3), V([1.0, 2.0, 3.0], "float32")),
        ],
        "fib",
        medium=[S(F(91, 33), F(33))],
    ),
    clone=Row(
        lambda x, memory_format=None: x,
        [S(F(3)), S(F(2, 3)), S(F()), S(F(0)), S(F(2, 3), memory_format="contiguous")],
        "fib",
        medium=[S(F(91, 33))],
    ),
    _to_copy=Row(
        lambda x, dtype: x.astype(named(dtype)) if x.dtype != bool or dtype is not fs.float32 else x.astype(np.float32),
        [
            S(F(3), fs.float64),
            S(F(2, 3, grad=False), fs.float32),
            S(F(2, 3, grad=False), fs.int32),
            S(F(grad=False), fs.bool),
            S(F(0), fs.float64),
        ],
        "fib",
        "reference",
    ),
    # To other devices: tests/test_gpu.py.
    _to_device=Row(lambda x, device: x, [S(F(*shape), device="cpu") for shape in ((3,), (2, 3), (), (0,))], "fib"),
)


# ---- random ----------------------------------------------------------------------------------------------------------


def draws(samples, check, dtypes="1", medium=None, **known) -> Row:
    return Row(None, samples, dtypes, "reference", check=check, medium=medium or [], **known)


def within(low, high, mean=None, slack=0.05):
    """Every number in [low, high), their mean where it should be when there are many."""

    def check(outs, _args):
        x = outs[0]
        assert np.all((x >= low) & (x < high)), (x.min(), x.max())
        if mean is not None and x.size > 5000:
            assert abs(x.mean() - mean) < slack, x.mean()

    return check


def moments(mean, std, slack=0.06):
    def check(outs, _args):
        x = outs[0]
        assert np.all(np.isfinite(x))
        if x.size > 5000:
            assert abs(x.mean() - mean) < slack and abs(x.std() - std) < slack, (x.mean(), x.std())

    return check


def permutes(outs, _args):
    assert sorted(outs[0].tolist()) == list(range(outs[0].size))


def drops(outs, args):
    result, mask = outs
    x, p, train = args[0], args[1], args[2] if len(args) > 2 else True
    if not train:
        assert np.array_equal(result, x) and mask.all()
        return
    kept = x / (1 - p) if p < 1 else np.zeros_like(x)
    np.testing.assert_allclose(result, np.where(mask, kept, 0), rtol=1e-2, atol=1e-6)
    if x.size > 5000:
        assert abs(mask.mean() - (1 - p)) < 0.02


def tosses(outs, args):
    x, p = outs[0], args[1]
    assert np.all((x == 0) | (x == 1))
    if x.size > 5000 and np.ndim(p) == 0:
        assert abs(x.mean() - p) < 0.02
    assert np.all(x[np.broadcast_to(np.equal(p, 0), x.shape)] == 0)


ROWS.update(
    _rand=draws([S([10000]), S([2, 3]), S([0])], within(0, 1, 0.5), medium=[S([50001])]),
    _randn=draws([S([10000]), S([2, 3]), S([0])], moments(0, 1), medium=[S([50001])]),
    _randint=draws([S(-3, 5, [10000]), S(0, 1, [3]), S(0, 2, [0])], within(-3, 5), medium=[S(0, 1000, [50001])]),
    _randperm=draws([S(100), S(1), S(0)], permutes, medium=[S(5001)]),
    uniform=draws([S(F(10000), -1.0, 2.0), S(F(3), -1.0, 2.0), S(F(0))], within(-1, 2, 0.5), "F", medium=[S(F(50001))]),
    normal=draws([S(F(10000), 2.0, 0.5), S(F(3)), S(F(0))], moments(2, 0.5), "F", medium=[S(F(50001))]),
    _random=draws(
        [S(F(10000), 0, 7), S(F(3), 0, 7), S(F(0), 0, 7)], within(0, 7, 3, 0.2), "FI", medium=[S(F(50001), 0, 99)]
    ),
    exponential=draws([S(F(10000), 2.0), S(F(3)), S(F(0))], within(0, np.inf, 0.5), "F", medium=[S(F(50001))]),
    _bernoulli=draws(
        [S(F(10000), 0.3), S(F(3), 1.0), S(F(4), V([0.0, 1.0, 0.5, 0.0], "float32", False)), S(F(0), 0.5)],
        tosses,
        "F",
        medium=[S(F(50001), 0.3)],
    ),
    native_dropout=draws(
        [S(F(3), 0.5, False), S(F(10000), 0.3), S(F(5), 0.0), S(F(5), 1.0), S(F(0), 0.5), S(F(), 0.5)],
        drops,
        "f",
        medium=[S(F(50001), 0.3)],
    ),
)
