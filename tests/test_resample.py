"""`pad`, `interpolate` and `grid_sample` as programs call them: against their definitions, with gradients."""

from __future__ import annotations

import firesteel as fs
import numpy as np
import pytest
from firesteel.nn import functional as F
from firesteel.nn.functional.padding import pad_by_copying
from samples import resample as definition


def image(*shape, dtype=fs.float64):
    count = int(np.prod(shape))
    return (fs.arange(count, dtype=dtype) * 1.7).sin().reshape(shape)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("pads", [[1, 2, 3, 0], [0, 0, 2, 1], [-1, 3, 2, -2]])
def test_pad_is_what_copying_one_dim_after_the_other_makes(mode, pads):
    for x in (image(2, 3, 5, 6), image(2, 5, 3, 6).transpose(1, 2), image(3, 5, 12)[..., ::2]):
        x = x.detach().requires_grad_()
        got, want = F.pad(x, pads, mode), pad_by_copying(x, pads, mode)
        assert np.array_equal(got.detach().numpy(), want.detach().numpy())
        (a,), (b,) = (fs.autograd.grad(y.square().sum(), x) for y in (got, want))
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-13)


def test_pad_of_any_dtype_and_of_nothing():
    for dtype in (fs.uint8, fs.int16, fs.bool, fs.float16, fs.int64):
        x = fs.arange(12).reshape(1, 3, 4).to(dtype)
        assert np.array_equal(F.pad(x, [2, 1], "reflect").numpy(), definition.pad(x.numpy(), [2, 1], "reflect"))
    assert F.pad(fs.zeros(0, 3, 4), [2, 1], "circular").shape == (0, 3, 7)
    with pytest.raises(RuntimeError, match="Padding size should be less than the corresponding input dimension"):
        F.pad(fs.zeros(1, 3, 4), [4, 0], "reflect")
    with pytest.raises(RuntimeError, match="wrapping around more than once"):
        F.pad(fs.zeros(1, 3, 4), [5, 0], "circular")


@pytest.mark.parametrize("mode,kind", [("bilinear", "linear"), ("bicubic", "cubic")])
@pytest.mark.parametrize("size", [(10, 4), (3, 14), (5, 7), (1, 1)])
@pytest.mark.parametrize("align", [False, True])
def test_interpolate_is_a_product_with_weights(mode, kind, size, align):
    x = image(2, 3, 5, 7)
    want = x.numpy()
    for dim, new in zip((2, 3), size, strict=True):
        old = x.shape[dim]
        step = ((old - 1) / (new - 1) if new > 1 else 0.0) if align else old / new
        want = definition.resize(want, dim, new, step, kind, align) if new != old else want
    got = F.interpolate(x, size=size, mode=mode, align_corners=align)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
def test_interpolate_where_channels_lie_side_by_side(mode):
    for channels in (1, 3, 16, 17):
        for dtype in (fs.float32, fs.float64):
            x = image(2, channels, 5, 7, dtype=dtype)
            last = x.contiguous(memory_format=fs.channels_last)
            for how in ({"size": (3, 9)}, {"scale_factor": 2}, {"size": (5, 4)}, {"size": (5, 7)}):
                got, want = F.interpolate(last, mode=mode, **how), F.interpolate(x, mode=mode, **how)
                assert np.array_equal(got.numpy(), want.numpy())
                assert got.is_contiguous(memory_format=fs.channels_last)
    leaf = image(2, 3, 5, 7).contiguous(memory_format=fs.channels_last).requires_grad_()
    assert fs.autograd.gradcheck(lambda x: F.interpolate(x, size=(3, 9), mode=mode), (leaf,))
    if mode == "nearest":
        volume = image(2, 3, 4, 5, 6)
        last = volume.contiguous(memory_format=fs.channels_last_3d)
        for deep in ("nearest", "trilinear"):
            got, want = (F.interpolate(x, scale_factor=2, mode=deep) for x in (last, volume))
            assert np.array_equal(got.numpy(), want.numpy())
            assert got.is_contiguous(memory_format=fs.channels_last_3d)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: F.pad(x, [2, 1, 1, 2], "reflect").square(),
        lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear").square(),
        lambda x: F.interpolate(x, size=(3, 7), mode="bicubic").square(),
    ],
)
def test_gradients_to_second_order(f):
    x = image(1, 2, 4, 5).requires_grad_()
    assert fs.autograd.gradcheck(f, (x,))
    assert fs.autograd.gradgradcheck(f, (x,))


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_grid_sample_and_its_gradients(padding):
    x, grid = image(2, 2, 3, 4).requires_grad_(), (image(2, 3, 2, 2) * 1.3).detach().requires_grad_()

    def f(x, grid):
        return F.grid_sample(x, grid, "bilinear", padding, False)

    want = definition.grid_sample(x.detach().numpy(), grid.detach().numpy(), "bilinear", padding, False)
    np.testing.assert_allclose(f(x, grid).detach().numpy(), want, rtol=1e-12, atol=1e-14)
    assert fs.autograd.gradcheck(f, (x, grid))
    assert fs.autograd.gradgradcheck(f, (x, grid))


def test_what_a_grid_says_outside_of_numbers():
    """As PyTorch 2.13 has it: NaN where nothing holds the place inside, else the first or last value."""
    x = image(1, 1, 3, 4, dtype=fs.float32)
    grid = fs.tensor([[[[float("nan"), 0.0], [float("inf"), 0.0], [1e30, 0.0]]]])
    assert F.grid_sample(x, grid, align_corners=True).isnan().flatten().tolist() == [True, True, False]
    held = F.grid_sample(x, grid, padding_mode="border", align_corners=True).flatten()
    assert held.tolist() == [x[0, 0, 1, 0].item(), x[0, 0, 1, 3].item(), x[0, 0, 1, 3].item()]


def test_wrong_arguments_of_the_ops_beneath_are_errors():
    x = fs.zeros(1, 2, 3)
    for call in (
        lambda: fs._C._pad_edges(x, [1], "reflect"),
        lambda: fs._C._pad_edges(x, [1, 1], "mirror"),
        lambda: fs._C._pad_edges(x, [2**62, 2**62], "replicate"),
        lambda: fs._C._pad_edges(x, [-3, 0], "replicate"),
        lambda: fs._C._pad_edges_backward(x, [1, 2, 5], [1, 1], "reflect"),
        lambda: fs._C._resize(x, 3, 4, 1.0, "linear", False),
        lambda: fs._C._resize(x, 2, 0, 1.0, "linear", False),
        lambda: fs._C._resize(x, 2, 4, 1.0, "quadratic", False),
        lambda: fs._C._resize(fs.zeros(2, 0), 1, 4, 1.0, "linear", False),
        lambda: fs._C._grid_sample(x, x, "bilinear", "zeros", False),
        lambda: fs._C._grid_sample(fs.zeros(1, 1, 2, 2), fs.zeros(2, 1, 1, 2), "bilinear", "zeros", False),
        lambda: fs._C._grid_sample(fs.zeros(1, 1, 2, 2), fs.zeros(1, 1, 1, 2), "bilinear", "nowhere", False),
    ):
        with pytest.raises((RuntimeError, IndexError, NotImplementedError)):
            call()
    # Whatever the step, places stay inside.
    for step in (float("nan"), float("inf"), -1e300, 1e300):
        assert fs._C._resize(x, 2, 4, step, "cubic", False).shape == (1, 2, 4)
