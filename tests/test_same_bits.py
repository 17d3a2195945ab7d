"""The same bits with every instruction set and at every thread count.

Each combination runs in a process of its own (`FIRESTEEL_ISA` is read once) and prints a digest per op and per training
step; what is compared is bits, not numbers within a tolerance.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from firesteel import _C

HERE = Path(__file__).parent
ISAS = ("scalar", "avx2", "avx512")
THREADS = (1, 2)


def digest(tensors):
    """Of the bytes of all results, with their shapes and dtypes."""
    h = hashlib.sha256()
    for t in tensors:
        t = t.detach()
        h.update(f"{tuple(t.shape)}{t.dtype}".encode())
        kind = str(t.dtype).rpartition(".")[2]
        # bfloat16 is widened without loss; NumPy has no name for it.
        h.update(np.ascontiguousarray((_C._to_copy(t, fs.float32) if kind == "bfloat16" else t).numpy()).tobytes())
    return h.hexdigest()[:16]


def op_digests():
    """Every op with samples of medium size, else its largest one; float32 and the next dtype it takes."""
    for key in KNOWN:
        op, row = TABLE[key], SAMPLES[key]
        if not row.exact:
            continue
        samples = row.medium or row.samples
        for dtype in row.all_dtypes()[:2]:
            _C.default_generator().manual_seed(5)
            outs = []
            for number, sample in enumerate(samples):
                for layout in ("contiguous", "transposed") if row.strided and row.medium else ("contiguous",):
                    built = Built(key, row, sample, dtype, layout, number)
                    outs += results(call(op)(*built.args, **sample.kwargs))
                    if op["mutates"]:
                        outs += [t for t, _, _ in built.pairs]
            yield f"{key} {dtype}", digest(outs)


def gradient_digests():
    """Gradients of the ops that matter to a training step, from their medium samples."""
    for key in ("matmul", "linear", "conv1d", "conv2d", "conv3d", "max_pool2d", "avg_pool2d", "layer_norm", "batch_norm",
                "group_norm", "softmax", "log_softmax", "nll_loss_nd", "embedding", "sum", "mean", "var", "std", "prod.dim",
                "logsumexp", "cumsum", "index", "gather", "sort", "gelu", "tanh",
                "_attention", "_lstm", "_gru"):  # fmt: skip
        row = SAMPLES[key]
        outs = []
        for number, sample in enumerate(row.medium or row.samples):
            built = Built(key, row, sample, "float32", "contiguous", number)
            leaves = [t.requires_grad_() for t, _, s in built.pairs if s.grad and s.dtype is None]
            y = results(call(TABLE[key])(*built.args, **sample.kwargs))[0]
            y.backward(fs.linspace(-1, 1, y.numel()).reshape(y.shape))
            outs += [t.grad for t in leaves if t.grad is not None]
        assert outs, key
        yield f"gradient {key}", digest(outs)


def training_digests(steps=5):
    """The weights of the MNIST network, with dropout, after some steps of each of three optimizers."""
    import firesteel.nn as nn

    fs.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25), nn.Flatten(),
        nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10),
    )  # fmt: skip
    norm = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(36, 10)
    )
    for name, net, make in (
        ("adadelta", model, lambda p: fs.optim.Adadelta(p, lr=1.0)),
        ("adam", norm, lambda p: fs.optim.Adam(p, lr=1e-3)),
        ("sgd", norm, lambda p: fs.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-4)),
    ):
        optimizer = make(net.parameters())
        for step in range(steps):
            x = fs.randn(16, 1, 28, 28)
            target = fs.randint(0, 10, (16,))
            loss = nn.functional.cross_entropy(net(x), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step in (0, steps - 1):
                yield f"{name} step {step}", digest([*net.parameters(), *net.buffers()])


CONVOLUTIONS = [
    # Images, channels in and out, side, kernel, stride, padding, dilation, groups: one for each way a convolution goes.
    (2, 1, 32, 28, 3, 1, 0, 1, 1), (3, 32, 64, 26, 3, 1, 0, 1, 1), (1, 64, 64, 28, 3, 1, 1, 1, 1),
    (2, 48, 33, 17, 3, 1, 2, 1, 1), (1, 128, 128, 7, 3, 1, 1, 1, 1), (4, 128, 160, 7, 3, 1, 1, 1, 1),
    (1, 3, 64, 63, 7, 2, 3, 1, 1), (2, 64, 96, 28, 3, 2, 1, 1, 1), (2, 64, 48, 14, 1, 1, 0, 1, 1),
    (2, 64, 48, 15, 1, 2, 0, 1, 1), (3, 1, 16, 33, 5, 1, 2, 1, 1), (2, 16, 1, 33, 5, 1, 2, 1, 1),
    (2, 32, 32, 28, 3, 1, 1, 1, 32), (2, 40, 40, 7, 3, 1, 1, 1, 40), (2, 32, 64, 29, 3, 2, 1, 1, 32),
    (2, 24, 36, 13, 3, 1, 2, 2, 3), (2, 16, 16, 20, 4, 2, 1, 1, 1), (1, 200, 72, 9, 3, 1, 1, 1, 1),
    (4, 160, 160, 16, 3, 2, 1, 1, 1),
]  # fmt: skip
PRODUCTS = [
    (1, 1000, 64),
    (64, 784, 128),
    (127, 65, 130),
    (300, 257, 513),
    (7, 5000, 9),
    (33, 1, 47),
    (64, 128, 10),
    (5, 300, 1),
]


def kernel_digests():
    """Kernels by the sizes that decide which way they take: sides of tiles and the odd ones beside them, strides, threads."""
    f, draw = fs.nn.functional, fs.randn

    def both(name, run, *tensors):
        leaves = [t.requires_grad_() for t in tensors if t.is_floating_point()]
        y = run(*tensors)
        y = y[0] if isinstance(y, tuple) else y
        y.backward(draw(y.shape).to(y.dtype))
        return name, digest([y, *(t.grad for t in leaves)])

    fs.manual_seed(3)
    for n, cin, cout, side, k, stride, padding, dilation, groups in CONVOLUTIONS:
        name = f"conv2d {n, cin, cout, side, k, stride, padding, dilation, groups}"
        x, w, b = draw(n, cin, side, side), draw(cout, cin // groups, k, k), draw(cout)
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        yield both(name, lambda x, w, b, o=options: f.conv2d(x, w, b, **o), x, w, b)
    yield both("conv1d", lambda x, w: f.conv1d(x, w, padding=2), draw(3, 20, 130), draw(33, 20, 5))
    yield both("conv3d", lambda x, w: f.conv3d(x, w, padding=1), draw(2, 5, 6, 7, 9), draw(17, 5, 3, 3, 3))
    yield both(
        "conv_transpose2d", lambda x, w: f.conv_transpose2d(x, w, stride=2), draw(2, 24, 9, 9), draw(24, 17, 4, 4)
    )
    for m, k, n in PRODUCTS:
        for dtype in (fs.float32, fs.float64, fs.float16):
            a, b = draw(m, k).to(dtype), draw(n, k).to(dtype)
            yield both(f"matmul {m}x{k}x{n} {dtype}", lambda a, b: a @ b.t(), a, b)
        yield both(f"linear {m}x{k}x{n}", f.linear, draw(m, k), draw(n, k), draw(n))
        c, a, b = draw(m, n), draw(k, m), draw(k, n)
        yield both(f"addmm {m}x{k}x{n}", lambda c, a, b: fs.addmm(c, a.t(), b, beta=0.5, alpha=2), c, a, b)
        for dtype in (fs.int8, fs.int32, fs.int64):
            a, b = (fs.randint(-100, 100, s).to(dtype) for s in ((m, k), (k, n)))
            yield f"matmul {m}x{k}x{n} {dtype}", digest([a @ b])
    yield both("bmm", fs.bmm, draw(9, 33, 17), draw(9, 17, 65))
    for rows, width in ((3, 5), (33, 64), (70, 127), (40, 1000), (5, 3001)):
        x, w, b = draw(rows, width), draw(width), draw(width)
        yield both(f"layer_norm {rows}x{width}", lambda x, w, b: f.layer_norm(x, b.shape, w, b), x, w, b)
        yield both(f"rms_norm {rows}x{width}", lambda x, w: f.rms_norm(x, w.shape, w), x, w)
        yield both(f"softmax {rows}x{width}", lambda x: f.softmax(x, 1), x)
        yield both(f"softmax(0) {rows}x{width}", lambda x: f.log_softmax(x, 0), x)
        labels = fs.randint(0, width, (rows,))
        yield both(f"cross_entropy {rows}x{width}", lambda x, y=labels: f.cross_entropy(x, y, label_smoothing=0.1), x)
        yield both(f"mse_loss {rows}x{width}", lambda x, y=draw(rows, width).abs(): f.mse_loss(x, y), x)  # noqa: B008
        yield (
            f"scan {rows}x{width}",
            digest([fs.cumsum(x, 1), fs.cumsum(x, 0), fs.logcumsumexp(x, 1), *fs.cummax(x, 1)]),
        )
        yield (
            f"order {rows}x{width}",
            digest(
                [*fs.sort(x, 1), *fs.sort(x, 0), *fs.sort(x.double(), 0), *fs.topk(x, 3, 1), x.argmax(1), x.median()]
            ),
        )
        yield (
            f"sums {rows}x{width}",
            digest([x.sum(), x.sum(0), x.sum(1), x.t().mean(1), x.var(1), x.norm(), x.prod(1)]),
        )
    for channels, side in ((3, 5), (17, 8), (64, 14), (8, 57)):
        x, w, b = draw(4, channels, side, side), draw(channels), draw(channels)
        yield both(f"batch_norm {channels}x{side}²", lambda x, w, b: f.batch_norm(x, None, None, w, b, True), x, w, b)
        eval_norm = lambda x, w, b: f.batch_norm(x, b.detach(), w.detach() ** 2, w, b)  # noqa: E731
        yield both(f"batch_norm eval {channels}x{side}²", eval_norm, x, w, b)
        yield both(f"group_norm {channels}x{side}²", lambda x, w, b: f.group_norm(x, 1, w, b), x, w, b)
        for k, stride, padding in ((2, 2, 0), (3, 2, 1), (3, 1, 1)):
            for pool in (f.max_pool2d, f.avg_pool2d):
                at = f"{pool.__name__} {channels}x{side}² k{k} s{stride}"
                yield both(at, lambda x, p=pool, k=k, s=stride, q=padding: p(x, k, s, q), x)
        yield both(f"adaptive_avg_pool2d {channels}x{side}²", lambda x: f.adaptive_avg_pool2d(x, 3), x)
    big = draw(100_003)
    for name in "exp log1p tanh sigmoid erf erfc sin cos tan expm1 atan sinh asinh lgamma digamma".split():
        for dtype in (fs.float32, fs.float64):
            yield f"{name} {dtype}", digest([getattr(fs, name)(big.abs().to(dtype) * 3)])
    for name in "gelu silu mish softplus logsigmoid elu selu".split():
        yield both(name, getattr(f, name), big.clone())
    fs.manual_seed(7)
    yield "random", digest([fs.rand(70_001), draw(70_001), fs.randperm(70_001), fs.randint(0, 1000, (70_001,)),
                            f.dropout(fs.ones(70_001), 0.3), fs.bernoulli(fs.full((70_001,), 0.2))])  # fmt: skip
    for queries in (1, 5):
        heads = [draw(2, 3, n, 40) for n in (queries, 130, 130)]
        yield both(f"attention of {queries}", f.scaled_dot_product_attention, *heads)
    heads = [draw(2, 3, 130, 40) for _ in range(3)]
    yield both("attention", lambda q, k, v: f.scaled_dot_product_attention(q, k, v, is_causal=True), *heads)
    for layer in (fs.nn.LSTM(33, 40), fs.nn.GRU(33, 40)):
        yield both(type(layer).__name__, lambda x, layer=layer: layer(x)[0], draw(9, 17, 33))


def run(isa, threads, what):
    env = os.environ | {"FIRESTEEL_ISA": isa, "FIRESTEEL_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, what, str(threads)]
    done = subprocess.run(command, env=env, cwd=HERE, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    first, *lines = done.stdout.splitlines()
    return first, dict(line.rsplit(" ", 1) for line in lines)


def available():
    """What this CPU has: asking for more than it has gives what it has."""
    names = {isa: run(isa, 1, "nothing")[0] for isa in ISAS}
    return [isa for isa in ISAS if list(names.values()).count(names[isa]) == 1 or isa == "scalar"]


@pytest.fixture(scope="module")
def isas():
    return available()


@pytest.mark.parametrize("what", ["ops", "gradients", "kernels", "training"])
def test_same_bits(isas, what):
    assert len(isas) > 1, "no CPU of today has only scalar code"
    _, want = run(isas[0], THREADS[0], what)
    assert len(want) > 5
    for isa in isas:
        for threads in THREADS:
            if (isa, threads) == (isas[0], THREADS[0]):
                continue
            _, got = run(isa, threads, what)
            differ = [name for name in want if got.get(name) != want[name]]
            assert not differ and got.keys() == want.keys(), f"{isa}, {threads} threads: {differ}"


def test_digest_sees_one_bit():
    """The comparison itself: a changed last bit, another shape, another dtype."""
    global fs, np
    import firesteel as fs
    import numpy as np

    x = fs.ones(4)
    y = x.clone()
    y[2] = float(np.nextafter(np.float32(1), np.float32(2)))
    assert len({digest([t]) for t in (x, y, x.view(2, 2), x.to(fs.float64))}) == 4 and digest([x]) == digest(
        [x.clone()]
    )


if __name__ == "__main__":
    import firesteel as fs
    import numpy as np
    from samples import SAMPLES, Built
    from test_ops import KNOWN, TABLE, call, results

    fs.set_num_threads(int(sys.argv[2]))
    print(_C._isa())
    work = {
        "ops": op_digests,
        "gradients": gradient_digests,
        "training": training_digests,
        "kernels": kernel_digests,
        "nothing": dict,
    }[sys.argv[1]]()
    for line in work:
        print(*line)
