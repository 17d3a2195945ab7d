"""Normalisation of values far from zero: float32 results beside float64's of the same values."""

import firesteel as fs
import numpy as np
import pytest

F = fs.nn.functional
OFFSETS = [0.0, 100.0, 1e4]


def normalised(x, axes):
    x = x.astype(np.float64)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)


CASES = {
    "batch": ((6, 3, 40, 50), (0, 2, 3), lambda x: F.batch_norm(x, None, None, training=True)),
    "batch of small planes": ((64, 5, 7, 7), (0, 2, 3), lambda x: F.batch_norm(x, None, None, training=True)),
    "batch of columns": ((4096, 33), (0,), lambda x: F.batch_norm(x, None, None, training=True)),
    "layer": ((7, 3000), (1,), lambda x: F.layer_norm(x, [3000])),
    "layer, short": ((100, 37), (1,), lambda x: F.layer_norm(x, [37])),
    "instance": ((3, 5, 60, 70), (2, 3), lambda x: F.instance_norm(x)),
    "group": ((3, 1, 60, 70), (1, 2, 3), lambda x: F.group_norm(x, 1)),
}


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("name", CASES)
def test_values_far_from_zero(name, offset):
    shape, axes, norm = CASES[name]
    x = (np.random.default_rng(0).standard_normal(shape) + offset).astype(np.float32)
    want = normalised(x, axes)
    got = norm(fs.tensor(x)).numpy()
    # Half a unit in the last place of the mean, which is a float32 itself, by the deviation, and a few of the result. Sums
    # of columns are float32's all along: three halves. (PyTorch 2.13: 33 times the allowance of the others.)
    half = float(np.spacing(np.float32(abs(offset) + 1))) * (1.5 if name == "batch of columns" else 0.6)
    allowed = half / x.astype(np.float64).std(axes).min() + 4e-6
    assert np.abs(got - want).max() < allowed


@pytest.mark.parametrize("offset", OFFSETS)
def test_running_variance_far_from_zero(offset):
    x = (np.random.default_rng(1).standard_normal((16, 4, 30, 30)) + offset).astype(np.float32)
    mean, var = fs.zeros(4), fs.ones(4)
    F.batch_norm(fs.tensor(x), mean, var, training=True, momentum=1.0)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean.numpy(), exact.mean((0, 2, 3)), rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(var.numpy(), exact.var((0, 2, 3), ddof=1), rtol=1e-6)
