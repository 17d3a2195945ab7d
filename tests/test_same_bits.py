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


@pytest.mark.parametrize("what", ["ops", "gradients", "training"])
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
    work = {"ops": op_digests, "gradients": gradient_digests, "training": training_digests, "nothing": dict}[
        sys.argv[1]
    ]()
    for line in work:
        print(*line)
