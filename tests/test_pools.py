"""Max pools keep the maxima's places, or look for them again: the same results and gradients."""

import firesteel as fs
import pytest
from firesteel import _C
from firesteel.nn import functional as F

WINDOWS = [
    (4, None, 0),
    (3, 1, 1),
    (3, None, 0),
    (5, 1, 2),
    (2, 1, 0),
    (2, None, 0),
    (3, 2, 1),
    ((2, 4), (2, 3), (1, 2)),
]


@pytest.mark.parametrize("kernel, stride, padding", WINDOWS, ids=str)
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_max_pool_gradients(kernel, stride, padding, ceil_mode):
    g = fs.Generator().manual_seed(0)
    # Equal elements too, of which the first is taken.
    x = fs.randint(0, 9, (2, 3, 11, 13), generator=g).double().requires_grad_()
    args = (kernel, [] if stride is None else stride, padding, 1, ceil_mode)
    kept, sought = F.max_pool2d(x, kernel, stride, padding, 1, ceil_mode), _C.max_pool2d(x, *args)
    assert fs.equal(kept, sought)
    grad = fs.randn(kept.shape, dtype=fs.float64, generator=g)
    assert fs.equal(fs.autograd.grad(kept, x, grad)[0], fs.autograd.grad(sought, x, grad)[0])
    small = fs.randperm(50, generator=g).double().reshape(1, 5, 10).requires_grad_()
    assert fs.autograd.gradcheck(lambda x: F.max_pool2d(x, *args[:1], stride, padding, 1, ceil_mode), (small,))
    assert fs.autograd.gradgradcheck(lambda x: F.max_pool2d(x, *args[:1], stride, padding, 1, ceil_mode), (small,))


@pytest.mark.parametrize("kernel", [2, 3, 5])
def test_other_dims(kernel):
    for pool, alone, shape in [(F.max_pool1d, _C.max_pool1d, (2, 3, 17)), (F.max_pool3d, _C.max_pool3d, (2, 6, 7, 8))]:
        x = fs.randn(shape, requires_grad=True)
        kept, sought = pool(x, kernel, 1), alone(x, kernel, 1)
        assert fs.equal(kept, sought)
        grad = fs.randn(kept.shape)
        assert fs.allclose(fs.autograd.grad(kept, x, grad)[0], fs.autograd.grad(sought, x, grad)[0])


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 16, 17, 31, 64])
@pytest.mark.parametrize("dtype", [fs.float32, fs.float64, fs.bfloat16])
def test_channels_that_lie_side_by_side(channels, dtype):
    g = fs.Generator().manual_seed(0)
    x = fs.randn(2, channels, 9, 11, generator=g).to(dtype)
    last = x.contiguous(memory_format=fs.channels_last)
    for args in ((2,), (3, 1, 1), (4, 4), ((2, 4), (2, 3), (1, 2), True, False), (3, 2, 1, False, True, 5)):
        want, got = F.avg_pool2d(x, *args), F.avg_pool2d(last, *args)
        assert fs.equal(got, want) and got.is_contiguous(memory_format=fs.channels_last)
        want, got = F.adaptive_avg_pool2d(x, args[0]), F.adaptive_avg_pool2d(last, args[0])
        assert fs.testing.assert_close(got, want) is None and got.is_contiguous(memory_format=fs.channels_last)
    holes = x.masked_fill(x > 2, float("nan")).masked_fill(x < 0, -float("inf"))
    holes_last = holes.contiguous(memory_format=fs.channels_last)
    for args in ((2,), (3, 1, 1), (4, 4), ((2, 4), (2, 3), (1, 2)), (3, 2, 1, 2), (3, 2, 1, 1, True)):
        for tensor in (x, holes):
            want = F.max_pool2d(tensor, *args)
            got = F.max_pool2d(holes_last if tensor is holes else last, *args)
            fs.testing.assert_close(got, want, rtol=0, atol=0, equal_nan=True)
            assert got.is_contiguous(memory_format=fs.channels_last)
        (a, i), (b, j) = (F.max_pool2d(y, *args, return_indices=True) for y in (x, last))
        assert fs.equal(a, b) and fs.equal(i, j)
        small, wide = (y.double().detach().requires_grad_() for y in (last, x))
        a, b = (fs.autograd.grad(F.max_pool2d(y, *args).square().sum(), y)[0] for y in (small, wide))
        assert fs.equal(a, b)
    volume = fs.randn(2, channels, 5, 6, 7, generator=g).to(dtype)
    got = F.avg_pool3d(volume.contiguous(memory_format=fs.channels_last_3d), 3, 2, 1)
    assert fs.equal(got, F.avg_pool3d(volume, 3, 2, 1)) and got.is_contiguous(memory_format=fs.channels_last_3d)
    small, wide = (y.double().detach().requires_grad_() for y in (last, x))
    a, b = (fs.autograd.grad(F.avg_pool2d(y, 3, 2, 1).square().sum(), y)[0] for y in (small, wide))
    assert fs.equal(a, b)
