"""Distributions that are made of others: moments and quartiles of many draws, whole numbers where they belong."""

import math

import firesteel as fs
import pytest

N = 200_000


@pytest.fixture(autouse=True)
def seed():
    fs.manual_seed(42)


def moments(x):
    """Mean and variance in double precision."""
    x = x.double()
    return x.mean().item(), x.var(correction=0).item()


@pytest.mark.parametrize(
    ("draw", "mean", "variance"),
    [
        (lambda: fs.empty(N).exponential_(2.0), 0.5, 0.25),
        (lambda: fs.empty(N).geometric_(0.25), 4.0, 12.0),
        (lambda: fs.empty(N, dtype=fs.int64).geometric_(0.25), 4.0, 12.0),
        (lambda: fs.empty(N).log_normal_(0.0, 0.5), math.exp(1 / 8), math.exp(1 / 4) * (math.exp(1 / 4) - 1)),
    ],
    ids=["exponential", "geometric", "geometric of integers", "log normal"],
)
def test_moments(draw, mean, variance):
    m, v = moments(draw())
    assert abs(m - mean) < 5 * math.sqrt(variance / N)
    assert abs(v / variance - 1) < 0.05


def test_geometric_counts_from_one():
    draws = fs.empty(N).geometric_(0.9)
    assert draws.min() == 1 and bool((draws == draws.round()).all())


def test_quartiles_of_cauchy():
    draws = fs.empty(10_001).cauchy_(1.0, 2.0).sort().values
    low, middle, high = (draws[i].item() for i in (2500, 5000, 7500))
    assert abs(middle - 1) < 0.15
    assert abs(low + 1) < 0.3 and abs(high - 3) < 0.3
