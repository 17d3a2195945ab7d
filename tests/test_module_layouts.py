"""The same numbers in other memory layouts give the same results and gradients as in rows."""

import firesteel as fs
import pytest
from firesteel import nn
from firesteel.nn import functional as F


def channels_last(t):
    d = t.dim()
    return t.permute(0, *range(2, d), 1).contiguous().permute(0, d - 1, *range(1, d - 1))


def stepped(t):
    return fs.stack((t, t + 1), -1)[..., 0]


def part(t):
    return fs.cat((t, t + 1), 1)[:, : t.shape[1]]


def reversed_twice(t):
    return t.transpose(0, -1).contiguous().transpose(0, -1)


LAYOUTS = [channels_last, stepped, part, reversed_twice]
IMAGES = (3, 8, 9, 10)
MODULES = {
    "conv3": (lambda: nn.Conv2d(8, 6, 3, padding=1), IMAGES),
    "conv1": (lambda: nn.Conv2d(8, 6, 1), IMAGES),
    "conv step 2": (lambda: nn.Conv2d(8, 6, 3, 2, 1), IMAGES),
    "conv of groups": (lambda: nn.Conv2d(8, 8, 3, padding=1, groups=4), IMAGES),
    "depthwise": (lambda: nn.Conv2d(8, 8, 3, padding=1, groups=8), IMAGES),
    "conv transposed": (lambda: nn.ConvTranspose2d(8, 4, 2, 2), IMAGES),
    "batch norm": (lambda: nn.BatchNorm2d(8), IMAGES),
    "batch norm, given": (lambda: nn.BatchNorm2d(8).eval(), IMAGES),
    "group norm": (lambda: nn.GroupNorm(4, 8), IMAGES),
    "instance norm": (lambda: nn.InstanceNorm2d(8), IMAGES),
    "layer norm": (lambda: nn.LayerNorm(10), IMAGES),
    "max pool": (lambda: nn.MaxPool2d(3, 2, 1), IMAGES),
    "mean pool": (lambda: nn.AvgPool2d(2), IMAGES),
    "adaptive mean": (lambda: nn.AdaptiveAvgPool2d(3), IMAGES),
    "adaptive max": (lambda: nn.AdaptiveMaxPool2d(3), IMAGES),
    "softmax 1": (lambda: nn.Softmax(1), IMAGES),
    "log softmax": (lambda: nn.LogSoftmax(-1), IMAGES),
    "prelu": (lambda: nn.PReLU(8), IMAGES),
    "batch norm of rows": (lambda: nn.BatchNorm1d(24), (7, 24)),
    "linear": (lambda: nn.Linear(24, 5), (7, 24)),
}


def results(module, x, grad):
    for p in module.parameters():
        p.grad = None
    x = x.detach().requires_grad_()
    y = module(x)
    y.backward(grad)
    return [y.detach(), x.grad, *(p.grad for p in module.parameters())]


def same(got, want, what):
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        assert fs.allclose(a, b, rtol=1e-5, atol=1e-5), f"{what}: result {i}"


@pytest.mark.parametrize("name", MODULES)
def test_other_layouts(name):
    make, shape = MODULES[name]
    fs.manual_seed(len(name))
    module, x = make(), fs.randn(shape)
    grad = fs.randn(module(x).shape)
    want = results(module, x, grad)
    for layout in LAYOUTS:
        same(results(module, layout(x), grad), want, f"{layout.__name__} input")
        same(results(module, x, layout(grad)), want, f"{layout.__name__} gradient")
        same(results(module, layout(x), layout(grad)), want, f"{layout.__name__}, both")


@pytest.mark.parametrize("name", MODULES)
def test_expanded_gradients_and_inputs(name):
    make, shape = MODULES[name]
    fs.manual_seed(len(name))
    module, x = make(), fs.randn(shape)
    shape = module(x).shape
    one = fs.ones(()).expand(shape)
    row = fs.randn(shape[-1]).expand(shape)
    for grad in (one, row):
        same(results(module, x, grad), results(module, x, grad.contiguous()), "gradient")
    wide = x[:1].expand(x.shape)
    grad = fs.randn(shape)
    same(results(module, wide, grad), results(module, wide.contiguous(), grad), "input")


def test_weights_with_channels_last():
    fs.manual_seed(0)
    x, w = fs.randn(2, 8, 9, 9), fs.randn(6, 8, 3, 3)
    want = F.conv2d(x, w, padding=1)
    for layout in LAYOUTS:
        assert fs.equal(F.conv2d(x, layout(w), padding=1), want)
        assert fs.equal(F.conv2d(layout(x), layout(w), padding=1), want)
