"""The gpu device: when it begins, transfers, autograd across devices, errors, training."""

import copy
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import firesteel as fs
import numpy as np
import pytest
from firesteel import _devices, nn
from firesteel.vision.datasets.idx import read_idx

ROOT = Path(__file__).parents[1]
needs_gpu = pytest.mark.skipif(not fs.gpu.is_available(), reason="no adapter for the gpu device on this machine")


def python(code, **env):
    """Standard output of a program in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **env}, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# ---- without a gpu too ------------------------------------------------------------------------------------------------


def test_import_loads_no_driver():
    code = (
        "import firesteel as fs, firesteel.nn, firesteel.optim, firesteel.gpu\n"
        "(fs.ones(3) + 1).sum().item()\n"
        "maps = open('/proc/self/maps').read() if __import__('os').path.exists('/proc/self/maps') else ''\n"
        "print('vulkan' in maps or 'd3d12' in maps, fs.gpu.is_initialized())"
    )
    assert python(code) == "False False"


def test_asking_makes_no_device():
    code = "import firesteel as fs; fs.gpu.is_available(), fs.gpu.device_count(); print(fs.gpu.is_initialized())"
    assert python(code) == "False"


def test_without_an_adapter():
    """A machine with no driver: a clear error, and everything else works."""
    code = (
        "import firesteel as fs\n"
        "print(fs.gpu.is_available(), fs.gpu.device_count())\n"
        "for f in (lambda: fs.ones(2).to('gpu'), lambda: fs.zeros(2, device='gpu'), fs.gpu.get_device_name):\n"
        "    try: f()\n"
        "    except RuntimeError as e: print('no gpu was found' in str(e))\n"
        "print(fs.ones(2).sum().item())"
    )
    out = python(code, VK_DRIVER_FILES="/nonexistent.json", VK_ICD_FILENAMES="/nonexistent.json")
    if sys.platform == "linux":
        assert out.split() == ["False", "0", "True", "True", "True", "2.0"]


def test_the_table_of_ops_and_devices_is_current():
    assert (ROOT / "docs" / "devices.md").read_text() == _devices.table(), (
        "python -m firesteel._devices > docs/devices.md"
    )


def test_device_names():
    assert str(fs.device("gpu")) == "gpu" and fs.device("gpu").type == "gpu"
    with pytest.raises(RuntimeError, match="one gpu device"):
        fs.zeros(1, device="gpu:1")
    assert not fs.cuda.is_available()
    with pytest.raises(AssertionError, match="CUDA"):
        fs.ones(1).cuda()


# ---- values there and back --------------------------------------------------------------------------------------------


@needs_gpu
@pytest.mark.parametrize("dtype", [fs.float32, fs.int32, fs.int64, fs.bool])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (3, 4, 5)])
def test_there_and_back(dtype, shape):
    n = int(np.prod(shape))
    x = (fs.arange(n) - 3).reshape(shape).to(dtype)
    y = x.to("gpu")
    assert (str(y.device), y.dtype, y.shape, y.stride()) == ("gpu", dtype, x.shape, x.stride())
    assert y.to("gpu") is y and y.to(device="gpu:0") is y
    assert np.array_equal(y.cpu().numpy(), x.numpy())
    assert y.tolist() == x.tolist()
    if len(shape) > 1:
        t = x.permute(2, 0, 1)
        assert t.to("gpu").stride() == t.stride() if n else True
        assert np.array_equal(t.to("gpu").cpu().numpy(), t.numpy())
        assert np.array_equal(y.permute(2, 0, 1).cpu().numpy(), t.numpy())
        assert np.array_equal(x[:, :, 1:].to("gpu").cpu().numpy(), x[:, :, 1:].numpy())
        assert np.array_equal(y[:, :, 1:].cpu().numpy(), x[:, :, 1:].numpy())


@needs_gpu
def test_bits_survive():
    values = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45, 3.4e38], np.float32)
    assert np.array_equal(fs.from_numpy(values).to("gpu").cpu().numpy().view(np.uint32), values.view(np.uint32))


@needs_gpu
def test_int64_is_checked_at_upload():
    edge = fs.tensor([2**31 - 1, -(2**31)])
    assert edge.to("gpu").tolist() == edge.tolist()
    for bad in (2**31, -(2**31) - 1, 2**40):
        with pytest.raises(RuntimeError, match=str(bad)):
            fs.tensor([0, bad]).to("gpu")
        x = fs.tensor([1, 2]).to("gpu")
        for f in (
            lambda x=x, b=bad: x == b,
            lambda x=x, b=bad: x.masked_fill(x == 1, b),
            lambda x=x, b=bad: x.fill_(b),
        ):
            with pytest.raises(RuntimeError, match="32 bits"):
                f()
        assert x.tolist() == [1, 2]
    with pytest.raises(NotImplementedError, match="Long"):
        fs.tensor([1]).to("gpu") + 1
    with pytest.raises(NotImplementedError, match="Long"):
        fs.tensor([1.5]).to("gpu").long()


@needs_gpu
@pytest.mark.parametrize("dtype", [fs.float64, fs.float16, fs.bfloat16, fs.int8, fs.uint8, fs.int16])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(NotImplementedError, match="is not supported on device 'gpu'"):
        fs.ones(2, dtype=dtype).to("gpu")
    with pytest.raises(NotImplementedError, match="is not supported on device 'gpu'"):
        fs.ones(2, device="gpu").to(dtype)
    # Converted before it goes there.
    assert fs.ones(2, dtype=dtype).to("gpu", fs.float32).sum().item() == 2


@needs_gpu
def test_values_out():
    x = fs.tensor([[1.5, -2.0]]).to("gpu")
    assert x[0, 1].item() == -2.0 and float(x[0, 0]) == 1.5 and bool(x[0, 0] > 1) and f"{x[0, 0]:.1f}" == "1.5"
    assert "device='gpu'" in repr(x) and "1.5" in repr(x)
    assert [7, 8, 9][fs.tensor(2).to("gpu")] == 9 and fs.arange(5)[fs.tensor(3).to("gpu")].item() == 3
    with pytest.raises(TypeError, match="can't convert gpu device type tensor to numpy"):
        x.numpy()
    with pytest.raises(TypeError, match="gpu"):
        np.asarray(x)
    assert x.numpy(force=True).tolist() == [[1.5, -2.0]]
    with pytest.raises(RuntimeError, match="another dtype"):
        fs._C._over(x, fs.int32, [2], [1], 0)


@needs_gpu
def test_copies_and_pickles():
    x = fs.arange(6.0, device="gpu").reshape(2, 3).t()
    x.mark = "kept"
    for made in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert str(made.device) == "gpu" and made.tolist() == x.tolist() and made.mark == "kept"
        made.zero_()
    assert x.sum().item() == 15
    a = fs.zeros(4, device="gpu")
    b, c = copy.deepcopy([a, a[1:]])
    c += 1
    assert b.tolist() == [0, 1, 1, 1] and a.tolist() == [0, 0, 0, 0]
    model = nn.Linear(2, 2).to("gpu")
    again = pickle.loads(pickle.dumps(model))
    assert fs.equal(again.weight, model.weight) and again.weight.requires_grad and str(again.weight.device) == "gpu"


@needs_gpu
def test_creation():
    for made in (
        fs.zeros(2, 3, device="gpu"), fs.ones(2, 3, device="gpu") * 0, fs.full((2, 3), 0.0, device="gpu"),
        fs.tensor([[0.0] * 3] * 2, device="gpu"), fs.empty(2, 3, device="gpu").zero_(), fs.zeros_like(fs.ones(2, 3).to("gpu")),
        fs.ones(2, 3, device="gpu").new_zeros(2, 3),
    ):  # fmt: skip
        assert str(made.device) == "gpu" and made.tolist() == [[0.0] * 3] * 2
    assert fs.arange(3, device="gpu").tolist() == [0, 1, 2]
    assert fs.eye(2, device="gpu").tolist() == [[1, 0], [0, 1]]
    with pytest.raises(RuntimeError, match="32 bits"):
        fs.full((2,), 2**40, device="gpu")


@needs_gpu
def test_random_numbers_are_the_cpus():
    def draws(device):
        fs.manual_seed(11)
        x = fs.ones(1000, device=device)
        p = (fs.arange(1000.0) / 999).to(device)
        made = [
            fs.rand(999, device=device), fs.randn(33, device=device), fs.randint(0, 7, (50,), device=device),
            fs.randperm(20, device=device), fs.bernoulli(p), nn.functional.dropout(x, 0.3), fs.rand(3, device=device),
            x.clone().bernoulli_(0.25),
        ]  # fmt: skip
        return [m.cpu().numpy() for m in made]

    for a, b in zip(draws("cpu"), draws("gpu"), strict=True):
        assert np.array_equal(a, b)


# ---- autograd ---------------------------------------------------------------------------------------------------------


@needs_gpu
def test_gradients_cross_devices():
    x = fs.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x.to("gpu")
    assert y.grad_fn is not None and y.requires_grad
    (y * y).sum().backward()
    assert str(x.grad.device) == "cpu" and x.grad.tolist() == [2, 4, 6]
    w = fs.ones(3, device="gpu", requires_grad=True)
    (w * 2).cpu().sum().backward()
    assert str(w.grad.device) == "gpu" and w.grad.tolist() == [2, 2, 2]
    target = fs.zeros(3, device="gpu")
    z = fs.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (target.copy_(z) * 5).sum().backward()
    assert str(z.grad.device) == "cpu" and z.grad.tolist() == [5, 5, 5]
    back = fs.zeros(3)
    v = fs.ones(3, device="gpu", requires_grad=True)
    (back.copy_(v) * 5).sum().backward()
    assert str(v.grad.device) == "gpu" and v.grad.tolist() == [5, 5, 5]
    # A 0-d tensor of the CPU goes along, and gets its gradient there.
    s = fs.tensor(3.0, requires_grad=True)
    (w.detach() * s).sum().backward()
    assert str(s.grad.device) == "cpu" and s.grad.item() == 3


@needs_gpu
def test_second_derivatives():
    x = fs.tensor([0.3, -0.7, 1.1], device="gpu", requires_grad=True)
    (g,) = fs.autograd.grad((x.tanh() * x.exp()).sum(), x, create_graph=True)
    (h,) = fs.autograd.grad(g.sum(), x)
    y = x.detach().cpu().requires_grad_()
    (a,) = fs.autograd.grad((y.tanh() * y.exp()).sum(), y, create_graph=True)
    (b,) = fs.autograd.grad(a.sum(), y)
    np.testing.assert_allclose(h.cpu().numpy(), b.numpy(), 1e-5)


@needs_gpu
def test_views_and_in_place():
    def program(device):
        x = fs.arange(6.0, device=device).requires_grad_()
        y = x * 1
        version = y._version
        y[0] += 1
        v = y.view(2, 3)
        v.mul_(2)
        v[:, 1].add_(fs.ones(2, device=device))
        v.t()[2].zero_()
        assert v._base is y
        (y * y).sum().backward()
        return y.detach().cpu().tolist(), x.grad.cpu().tolist(), y._version - version

    assert program("gpu") == program("cpu")
    a = fs.ones(3, device="gpu", requires_grad=True)
    b = a.exp()
    b.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        b.sum().backward()
    with pytest.raises(RuntimeError, match="leaf Variable"):
        a.add_(1)


@needs_gpu
def test_accumulation_and_hooks():
    w = fs.ones(4, device="gpu", requires_grad=True)
    seen = []
    w.register_hook(lambda g: seen.append(str(g.device)))
    for _ in range(2):
        (w * 3).sum().backward()
    assert w.grad.tolist() == [6, 6, 6, 6] and seen == ["gpu", "gpu"]
    total = nn.utils.clip_grad_norm_([w], 6.0)
    assert total.item() == pytest.approx(12) and w.grad.tolist() == pytest.approx([3, 3, 3, 3], rel=1e-5)


@needs_gpu
def test_composites_run_in_place_of_kernels():
    x = fs.randn(4, 6)
    layer = nn.LayerNorm(6)
    want = layer(x)
    want.square().sum().backward()
    there = nn.LayerNorm(6).to("gpu")
    got = there(x.to("gpu"))
    assert "LayerNorm" not in got.grad_fn.name()  # its parts were recorded
    got.square().sum().backward()
    np.testing.assert_allclose(got.detach().cpu().numpy(), want.detach().numpy(), 1e-5, 1e-6)
    np.testing.assert_allclose(there.weight.grad.cpu().numpy(), layer.weight.grad.numpy(), 1e-5, 1e-5)


# ---- modules and training ---------------------------------------------------------------------------------------------


def mlp():
    fs.manual_seed(0)
    return nn.Sequential(
        nn.Linear(784, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 64), nn.GELU(), nn.Linear(64, 32), nn.Tanh(),
        nn.Linear(32, 16), nn.Sigmoid(), nn.Linear(16, 10),
    )  # fmt: skip


@pytest.fixture(scope="module")
def mnist():
    folder = ROOT / "examples" / "data" / "mnist"
    images = read_idx(folder / "train-images-idx3-ubyte.gz")[:3200]
    labels = read_idx(folder / "train-labels-idx1-ubyte.gz")[:3200]
    images, labels = (fs.as_tensor(a) for a in (images, labels))
    return images.reshape(-1, 784).to(fs.float32) / 255, labels.to(fs.int64)


def losses(device, data, make_optimizer, model=None, steps=50, batch=64):
    images, labels = data
    model = (model or mlp()).to(device)
    optimizer = make_optimizer(model.parameters())
    fs.manual_seed(1)
    out = []
    for i in range(steps):
        x, y = (t[i * batch : (i + 1) * batch].to(device) for t in (images, labels))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        out.append(loss.detach())
    return [v.item() for v in out]


OPTIMIZERS = {
    "sgd": lambda p: fs.optim.SGD(p, lr=0.1),
    "momentum": lambda p: fs.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-4, nesterov=True),
    "adam": lambda p: fs.optim.Adam(p, lr=1e-3),
    "adamw": lambda p: fs.optim.AdamW(p, lr=1e-3, amsgrad=True),
}


@needs_gpu
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_mlp_on_mnist_learns_as_on_the_cpu(name, mnist):
    want, got = (losses(d, mnist, OPTIMIZERS[name]) for d in ("cpu", "gpu"))
    assert want[-1] < want[0]
    np.testing.assert_allclose(got, want, rtol=1e-4)


@needs_gpu
def test_the_same_run_gives_the_same_bits(mnist):
    assert losses("gpu", mnist, OPTIMIZERS["adam"], steps=5) == losses("gpu", mnist, OPTIMIZERS["adam"], steps=5)


@needs_gpu
def test_modules_move(mnist):
    model = mlp()
    first = model[0].weight
    assert model.to("gpu") is model and model[0].weight is first and str(first.device) == "gpu"
    state = model.state_dict()
    assert all(str(t.device) == "gpu" for t in state.values())
    fresh = mlp()
    fresh.load_state_dict(state)
    assert str(fresh[0].weight.device) == "cpu" and fs.equal(fresh[0].weight, first.cpu())
    model.eval()
    fresh.eval()
    x = mnist[0][:32]
    a, b = fresh(x), model(x.to("gpu")).cpu()
    np.testing.assert_allclose(b.detach().numpy(), a.detach().numpy(), 1e-4, 1e-6)
    labels = mnist[1][:32].to("gpu")
    predicted = model(x.to("gpu")).argmax(1)
    assert (predicted == labels).sum().item() == (fresh(x).argmax(1) == labels.cpu()).sum().item()
    with pytest.raises(RuntimeError, match="at least two devices"):
        model(x)
    model.cpu()
    assert str(model[0].weight.device) == "cpu"


@needs_gpu
def test_regression_with_mse():
    def run(device):
        fs.manual_seed(3)
        model = nn.Linear(4, 1).to(device)
        x = fs.randn(32, 4).to(device)
        y = x.sum(1, keepdim=True) * 0.5
        optimizer = fs.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
        for _ in range(10):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
        return loss.item()

    assert run("gpu") == pytest.approx(run("cpu"), rel=1e-4)


# ---- errors -----------------------------------------------------------------------------------------------------------


@needs_gpu
def test_devices_do_not_mix():
    a, b = fs.ones(2), fs.ones(2, device="gpu")
    for f in (
        lambda: a + b,
        lambda: b + a,
        lambda: b @ a,
        lambda: fs.cat((a, b)),
        lambda: b.add_(a),
        lambda: a.add_(b),
    ):
        with pytest.raises(RuntimeError, match="at least two devices"):
            f()
    with pytest.raises(RuntimeError, match="device"):
        fs.add(b, b, out=fs.empty(2))
    assert (b + fs.tensor(2.0)).tolist() == [3, 3] and (fs.tensor(2.0) * b).tolist() == [2, 2]
    assert fs.where(b > 0, fs.tensor(4.0), b).tolist() == [4, 4]
    assert a.tolist() == [1, 1] and b.tolist() == [1, 1]


@needs_gpu
def test_a_bad_label_is_told_when_values_are_read():
    x = fs.randn(3, 4, device="gpu")
    assert nn.functional.cross_entropy(x, fs.tensor([0, -100, 3]).to("gpu")).isfinite().item()
    loss = nn.functional.cross_entropy(x, fs.tensor([0, 7, 1]).to("gpu"))
    with pytest.raises(IndexError, match="index 7 is out of range"):
        loss.item()
    # Told once; the device goes on.
    assert (x * 0).sum().item() == 0
    table = fs.ones(4, 2, device="gpu")
    bad = fs.tensor([[0, 4], [-1, 2]]).to("gpu")
    made = fs.embedding(table, bad)
    with pytest.raises(IndexError):
        fs.gpu.synchronize()
    assert made.tolist() == [[[1, 1], [0, 0]], [[0, 0], [1, 1]]] and table.tolist() == [[1, 1]] * 4


@needs_gpu
def test_sync_names_the_op():
    code = (
        "import firesteel as fs\n"
        "w = fs.ones(3, 2, device='gpu')\n"
        "try: fs.nn.functional.embedding(fs.tensor([5]).to('gpu'), w)\n"
        "except IndexError as e: print(str(e).split('(')[0], 'index 5' in str(e))"
    )
    assert python(code, FIRESTEEL_GPU_SYNC="1") == "embedding True"


@needs_gpu
def test_too_large_is_an_error():
    with pytest.raises(fs.OutOfMemoryError, match="gpu"):
        fs.empty(2**34, device="gpu")
    assert fs.ones(3, device="gpu").sum().item() == 3


@needs_gpu
def test_a_lost_device_is_an_error():
    """Of a type that can be caught, at everything that uses it; the process goes on."""
    code = (
        "import firesteel as fs\n"
        "x = fs.ones(3, device='gpu'); y = x + 1; y.tolist(); z = y * 2\n"
        "fs._C._gpu_lose()\n"
        "told = []\n"
        "for f in (z.tolist, lambda: x + 1, lambda: fs.ones(2).to('gpu'), fs.gpu.synchronize, lambda: x.sum().item()):\n"
        "    try: f(); told.append('nothing')\n"
        "    except RuntimeError as e: told.append('lost' if 'lost' in str(e) else str(e))\n"
        "del x, y, z\n"
        "print(' '.join(told), (fs.ones(2) * 2).sum().item())"
    )
    assert python(code) == "lost lost lost lost lost 4.0"


@needs_gpu
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_gets_an_error():
    code = (
        "import os, firesteel as fs\n"
        "x = fs.ones(3, device='gpu'); x.sum().item()\n"
        "r, w = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    told = []\n"
        "    for f in (lambda: x + 1, lambda: x.tolist(), lambda: fs.zeros(1, device='gpu'), lambda: fs.gpu.is_available()):\n"
        "        try: f(); told.append('nothing')\n"
        "        except RuntimeError as e: told.append('forked' if 'forked' in str(e) else str(e))\n"
        "    del x\n"
        "    os.write(w, (' '.join(told) + ' ' + str((fs.ones(2) * 2).sum().item())).encode())\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "print(os.read(r, 1000).decode(), (x + 1).sum().item())"
    )
    assert python(code) == "forked forked forked forked 4.0 6.0"


# ---- the machine ------------------------------------------------------------------------------------------------------


@needs_gpu
def test_uploads_do_not_overtake_queued_work():
    """A buffer that is handed out again while its last reader is still queued."""
    total = fs.zeros(256, device="gpu")
    for i in range(200):
        total += fs.full((256,), float(i)).to("gpu")
    assert total.tolist() == [sum(range(200))] * 256


@needs_gpu
def test_memory_is_reused():
    def step():
        x = fs.ones(1000, 100, device="gpu")
        return (x * 2 + 1).sum().item()

    step()
    fs.gpu.empty_cache()
    before = fs.gpu.memory_allocated()
    assert step() == 300000
    reserved = fs.gpu.memory_reserved()
    for _ in range(5):
        step()
    assert fs.gpu.memory_allocated() == before and fs.gpu.memory_reserved() == reserved
    fs.gpu.empty_cache()
    assert fs.gpu.memory_reserved() == before


@needs_gpu
def test_long_runs():
    """Longer than the rounds that a shader's loop may have on old versions of Mesa."""
    fs.manual_seed(0)
    x = fs.rand(3_000_000)
    y = x.to("gpu")
    want = x.to(fs.float64)
    assert y.sum().item() == pytest.approx(want.sum().item(), rel=1e-6)
    assert y.mean().item() == pytest.approx(want.mean().item(), rel=1e-6)
    assert y.argmax().item() == x.argmax().item() and y.max().item() == x.max().item()
    assert (y > 0.5).sum().item() == (x > 0.5).sum().item()
    rows = y.reshape(3, -1)
    np.testing.assert_allclose(rows.sum(1).cpu().numpy(), want.reshape(3, -1).sum(1).numpy(), 1e-6)
    np.testing.assert_allclose(rows.t().sum(0).cpu().numpy(), want.reshape(3, -1).sum(1).numpy(), 1e-6)
    a, b = fs.randn(2, 70_000), fs.randn(70_000, 3)
    got = a.to("gpu") @ b.to("gpu")
    np.testing.assert_allclose(got.cpu().numpy(), (a.double() @ b.double()).numpy(), 1e-4, 2e-3)
    index = fs.arange(40_000).remainder(3)
    got = fs.zeros(3, device="gpu").index_add(0, index.to("gpu"), fs.ones(40_000, device="gpu"))
    assert got.tolist() == [13334, 13333, 13333]


@needs_gpu
@pytest.mark.parametrize("m", [1, 15, 17, 47, 64, 65, 130])
def test_products_of_ugly_shapes(m):
    fs.manual_seed(m)
    for k in (0, 1, 16, 33):
        for n in (1, 16, 50, 66):
            a, b = fs.randn(m, k), fs.randn(n, k)
            got = a.to("gpu") @ b.to("gpu").t()
            np.testing.assert_allclose(got.cpu().numpy(), (a.double() @ b.double().t()).numpy(), 1e-5, 1e-5)
    a, b = fs.randn(3, 1, m, 5), fs.randn(2, 5, 7)
    got = (a.to("gpu") @ b.to("gpu")).cpu().numpy()
    np.testing.assert_allclose(got, (a @ b).numpy(), 1e-5, 1e-5)


@needs_gpu
def test_threads_share_the_device():
    wrong = []

    def work(seed):
        x = fs.full((64, 64), float(seed), device="gpu")
        for _ in range(20):
            y = (x @ x).sum().item()
            if y != 64 * 64 * 64 * seed * seed:
                wrong.append((seed, y))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(1, 5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
