"""firesteel.compile puts ops together: what is fused, what is not, and the same bits either way."""

import firesteel as fs
import pytest
from firesteel import nn
from firesteel.nn import functional as F


def ops(compiled):
    """Names of the ops of the only recording, in order."""
    (recording,) = compiled._recordings
    return [step.split(" = ")[-1].split("(")[0] for step in recording.steps()]


def replayed(f, *args, times=3):
    """The compiled function after some calls, whose results have eager's bits."""
    expected, compiled = f(*args), fs.compile(f)
    for _ in range(times):
        assert fs.equal(compiled(*args), expected)
    return compiled


def normal(*shape, dtype=fs.float32):
    return fs.randn(*shape, generator=fs.Generator().manual_seed(sum(shape)), dtype=dtype)


def norm(channels, dtype=fs.float32):
    made = nn.BatchNorm2d(channels).to(dtype).eval()
    with fs.no_grad():
        for t, low, high in (
            (made.weight, 0.5, 1.5),
            (made.running_var, 0.5, 2.0),
            (made.bias, -1, 1),
            (made.running_mean, -1, 1),
        ):
            t.uniform_(low, high)
    return made


#: Shapes for each way of computing a convolution: input, weight, stride, padding, groups.
CONVOLUTIONS = {
    "blocks": ((3, 20, 9, 11), (24, 20, 3, 3), 1, 1, 1),
    "filtered": ((4, 32, 14, 14), (20, 32, 3, 3), 1, 1, 1),
    "stride": ((2, 3, 33, 31), (16, 3, 7, 7), 2, 3, 1),
    "pointwise": ((2, 24, 10, 10), (32, 24, 1, 1), 1, 0, 1),
    "pointwise images": ((5, 17, 28, 29), (35, 17, 1, 1), 1, 0, 1),
    "depthwise": ((2, 16, 15, 15), (16, 1, 3, 3), 1, 1, 16),
    "one channel": ((5, 1, 28, 28), (32, 1, 3, 3), 1, 0, 1),
    "few rows": ((2, 8, 12, 12), (3, 8, 3, 3), 1, 1, 1),
    "groups": ((2, 8, 9, 9), (12, 4, 3, 3), 1, 1, 2),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [fs.float32, fs.float64])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_and_what_follows(name, dtype, threads):
    size, kernel, stride, padding, groups = CONVOLUTIONS[name]
    fs.set_num_threads(threads)
    x, w, b = (normal(*s, dtype=dtype) for s in (size, kernel, kernel[:1]))
    x[0, 0, 0, 0] = fs.nan
    after = norm(kernel[0], dtype)
    conv = lambda: F.conv2d(x, w, b, stride, padding, 1, groups)  # noqa: E731
    other = normal(*conv().shape, dtype=dtype)
    chains = [
        lambda: F.relu(conv()),
        lambda: after(conv()),
        lambda: F.relu(after(conv())),
        lambda: F.relu(other + after(conv())),
        lambda: conv().add_(other).relu_(),
        lambda: after(conv()) + other,
    ]
    with fs.no_grad():
        for i, chain in enumerate(chains):
            expected, compiled = chain(), fs.compile(chain)
            for _ in range(3):
                # The same bits, NaN among them.
                assert compiled().nan_to_num(7.0).tolist() == expected.nan_to_num(7.0).tolist(), i
            assert ops(compiled) == ["_conv_act"], i


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(64, 784), (3, 5, 7), (1, 4096), (17,)])
def test_a_linear_layer_and_relu(size, bias):
    x, w, b = normal(*size), normal(10, size[-1]), normal(10) if bias else None
    with fs.no_grad():
        assert ops(replayed(lambda x: F.relu(F.linear(x, w, b)), x)) == ["_linear_relu"]
        assert ops(replayed(lambda x: F.linear(x, w, b).relu_(), x)) == ["_linear_relu"]


def test_a_shortcut_that_is_computed_last():
    """As torchvision's blocks: the second convolution ends the chain."""
    x, w, v, after = normal(2, 8, 9, 9), normal(8, 8, 3, 3), normal(8, 8, 1, 1), norm(8)

    def block(x):
        y = after(F.conv2d(x, w, padding=1))
        y += after(F.conv2d(x, v))
        return y.relu_()

    with fs.no_grad():
        assert ops(replayed(block, x)) == ["_conv_act", "_conv_act"]


def test_what_somebody_else_reads_is_not_fused():
    x, w = normal(2, 6), normal(3, 6)
    c, k = normal(1, 4, 8, 8), normal(4, 4, 3, 3)

    def read_twice(x):
        y = F.linear(x, w)
        return F.relu(y) + y

    def viewed(x):
        y = F.linear(x, w)
        first = y[0]
        y.relu_()
        return first + y

    def written_between(c):
        y = F.conv2d(c, k, padding=1)
        c.mul_(1.0)
        return F.relu(y)

    def returned(x):
        y = F.linear(x, w)
        return y, F.relu(y)

    def broadcast(c):
        return F.relu(F.conv2d(c, k) + c[0, 0, 0, 0])

    with fs.no_grad():
        assert ops(replayed(read_twice, x)) == ["linear", "relu", "add"]
        assert "linear" in ops(replayed(viewed, x))
        assert ops(replayed(written_between, c)) == ["conv2d", "mul_", "relu"]
        assert "_conv_act" not in ops(replayed(broadcast, c))
        both, compiled = returned(x), fs.compile(returned)
        for _ in range(3):
            assert all(fs.equal(a, b) for a, b in zip(compiled(x), both, strict=True))
        assert ops(compiled) == ["linear", "relu"]
        assert ops(replayed(lambda x: F.relu(F.linear(x.half(), w.half())), x)).count("_linear_relu") == 0


def images(n):
    draw = fs.Generator().manual_seed(3)
    for _ in range(n):
        yield fs.randn(4, 1, 14, 14, generator=draw), fs.randint(0, 5, (4,), generator=draw)


@pytest.mark.parametrize("overlap", [False, True])
def test_training_reads_what_relu_made(overlap):
    """Forward and backward of convolution, ReLU and pooling are fused, and all parameters have eager's bits."""
    found = []
    for compiled in (False, True):
        fs.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 6, 3),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3),
            nn.ReLU(),
            nn.MaxPool2d(3, 2) if overlap else nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(128 if overlap else 200, 16),
            nn.ReLU(),
            nn.Linear(16, 5),
        )
        optimizer = fs.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)

        def step(x, y, net=net, optimizer=optimizer):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        run = fs.compile(step) if compiled else step
        losses = [run(x, y).item() for x, y in images(8)]
        found.append([losses, *(p.tolist() for p in net.parameters()), *(p.grad.tolist() for p in net.parameters())])
    assert found[0] == found[1]
    names = ops(run)
    assert names.count("_conv_act") == 2 and "_linear_relu" in names and "_conv_input_relu" in names
    # The gradient of the pooled values is masked, not that of all values: by pooling's result, which is smaller.
    (mask,) = [s for s in run._recordings[0].steps() if "_relu_backward(" in s and "[4, 8, " in s]
    assert "[4, 8, 4, 4]" in mask if overlap else "[4, 8, 5, 5]" in mask
    assert names.index("_relu_backward") < names.index("_max_pool_input")


def test_pooled_values_that_are_overwritten_mask_nothing():
    x, w = normal(2, 3, 8, 8), normal(4, 3, 3, 3)
    v = w.clone().requires_grad_()

    def step():
        v.grad = None
        y = F.max_pool2d(F.relu(F.conv2d(x, v)), 2)
        (y * 2.0).sum().backward()
        with fs.no_grad():
            y.zero_()

    expected, compiled = None, fs.compile(step)
    for _ in range(4):
        compiled()
        expected = v.grad.tolist() if expected is None else expected
        assert v.grad.tolist() == expected
