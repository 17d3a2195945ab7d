"""The engine: what is recorded, how gradients flow and add up, hooks, modes, memory."""

import copy
import gc
import pickle
import threading
import time
import weakref

import firesteel as fs
import pytest
from firesteel.autograd import Function, grad


def leaf(*values, dtype=fs.float64):
    return fs.tensor(values, dtype=dtype, requires_grad=True)


# ---- backward and grad -------------------------------------------------------------------------------------------------


def test_chain_rule():
    x = leaf(1.0, 2.0)
    y = x * x
    z = (y * x + y).sum()
    z.backward()
    assert x.grad.tolist() == [5.0, 16.0]
    assert y.grad is None or not y.is_leaf


def test_gradients_add_up():
    x = leaf(1.0, 2.0)
    (x * 2).sum().backward()
    first = x.grad
    (x * 3).sum().backward()
    assert x.grad is first and x.grad.tolist() == [5.0, 5.0]
    x.grad = None
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_one_tensor_used_often():
    x = leaf(2.0)
    y = x * x
    (y * y + y).backward()
    assert x.grad.tolist() == [36.0]


def test_gradient_argument():
    x = leaf(1.0, 2.0)
    (x * 2).backward(fs.tensor([1.0, 10.0], dtype=fs.float64))
    assert x.grad.tolist() == [2.0, 20.0]
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        (x * 2).backward(fs.ones(3, dtype=fs.float64))
    with pytest.raises(RuntimeError, match="does not require grad"):
        fs.ones(1).backward()
    with pytest.raises(TypeError):
        (x * 2).backward([1.0])


def test_gradient_of_another_dtype():
    x = leaf(1.0, 2.0, dtype=fs.float32)
    y = x.to(fs.float64) * fs.tensor([2.0, 3.0], dtype=fs.float64)
    y.sum().backward()
    assert x.grad.dtype is fs.float32 and x.grad.tolist() == [2.0, 3.0]
    with pytest.raises(RuntimeError, match="only Tensors of floating point"):
        fs.tensor([1], requires_grad=True)


def test_retain_graph():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [4.0, 8.0]
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()
    free = (x + 1).sum()  # nothing saved, nothing to free
    free.backward()
    free.backward()


def test_grad():
    x, y = leaf(2.0), leaf(3.0)
    z = x * x * y
    gx, gy = grad(z, (x, y))
    assert gx.tolist() == [12.0] and gy.tolist() == [4.0] and x.grad is None and y.grad is None
    with pytest.raises(RuntimeError, match="appears to not have been used in the graph"):
        grad((x * 2).sum(), y)
    assert grad((x * 2).sum(), (x, y), allow_unused=True)[1] is None
    zero = grad((x * 2).sum(), (x, y), materialize_grads=True)[1]
    assert zero.tolist() == [0.0]
    with pytest.raises(RuntimeError, match="does not require grad"):
        grad(x.sum(), fs.ones(1))
    with pytest.raises(RuntimeError):
        grad(fs.ones(1), x)


def test_grad_by_intermediate_values():
    x = leaf(2.0)
    y = x * x
    z = y * y * x
    assert grad(z, y, retain_graph=True)[0].tolist() == [16.0]
    gy, gx = grad(z, (y, x))
    assert gy.tolist() == [16.0] and gx.tolist() == [80.0]


def test_grad_of_several_outputs():
    x = leaf(1.0, 2.0)
    a, b = x * 2, x * x
    seeds = (fs.ones(2, dtype=fs.float64), fs.tensor([1.0, 0.5], dtype=fs.float64))
    assert grad((a, b), x, seeds)[0].tolist() == [4.0, 4.0]
    x.grad = None
    fs.autograd.backward(((x * 2).sum(), (x * x).sum()))
    assert x.grad.tolist() == [4.0, 6.0]


def test_backward_into_some_inputs():
    x, y = leaf(2.0), leaf(3.0)
    (x * y).sum().backward(inputs=[x])
    assert x.grad.tolist() == [3.0] and y.grad is None
    with pytest.raises(RuntimeError, match="cannot be empty"):
        (x * y).sum().backward(inputs=[])


def test_create_graph():
    x = leaf(2.0)
    (g,) = grad(x**3, x, create_graph=True)
    (h,) = grad(g, x, create_graph=True)
    (k,) = grad(h, x)
    assert g.tolist() == [12.0] and h.tolist() == [12.0] and k.tolist() == [6.0] and not k.requires_grad
    y = leaf(2.0)
    (y**3).sum().backward(create_graph=True)
    assert y.grad.requires_grad
    y.grad.sum().backward()
    assert y.grad.tolist() == [24.0]


def test_gradient_penalty():
    """A gradient used in a loss: the pattern of WGAN-GP."""
    w = leaf(0.5, -1.0)
    x = leaf(1.0, 2.0)
    out = (w * x).tanh().sum()
    (g,) = grad(out, x, create_graph=True)
    ((g.norm() - 1) ** 2).backward()
    eps, found = 1e-6, []
    for i in range(2):
        values = []
        for s in (eps, -eps):
            v = w.detach().clone()
            v[i] += s
            g = v * (1 - (v * x.detach()).tanh() ** 2)
            values.append(((g.norm() - 1) ** 2).item())
        found.append((values[0] - values[1]) / (2 * eps))
    assert w.grad.tolist() == pytest.approx(found, rel=1e-6)


# ---- .grad -------------------------------------------------------------------------------------------------------------


def test_grad_memory_belongs_to_nobody_else():
    x = leaf(1.0, 2.0)
    seed = fs.ones(2, dtype=fs.float64)
    (x + 0).backward(seed)
    x.grad.mul_(7)
    assert seed.tolist() == [1.0, 1.0]
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (a + b).backward(seed)
    assert a.grad.data_ptr() != b.grad.data_ptr() and a.grad.data_ptr() != seed.data_ptr()
    a.grad.zero_()
    assert b.grad.tolist() == [1.0, 1.0]
    y = leaf(1.0)
    y.expand(3).sum().backward()
    assert y.grad.tolist() == [3.0] and y.grad.is_contiguous()
    z = leaf(1.0, 2.0, 3.0)
    z.sum().backward()  # an expanded gradient must not stay one
    assert z.grad.is_contiguous()
    z.grad[0] = 5
    assert z.grad.tolist() == [5.0, 1.0, 1.0]


def test_grad_can_be_set():
    x = leaf(1.0, 2.0)
    x.grad = fs.tensor([1.0, 1.0], dtype=fs.float64)
    x.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    for wrong, kind in ((fs.ones(3, dtype=fs.float64), RuntimeError), (fs.ones(2), RuntimeError), (1.0, TypeError)):
        with pytest.raises(kind):
            x.grad = wrong
    assert x.grad.tolist() == [2.0, 2.0]
    del x.grad
    assert x.grad is None


def test_gradient_accumulates_in_place_unless_recorded():
    x = leaf(2.0)
    (x * x).sum().backward()
    held = x.grad
    (x * x).sum().backward()
    assert held.tolist() == [8.0]
    (x * x).sum().backward(create_graph=True)
    assert held.tolist() == [8.0] and x.grad.tolist() == [12.0]


def test_retain_grad():
    x = leaf(1.0, 2.0)
    y = x * 2
    y.retain_grad()
    assert y.retains_grad
    (y * y).sum().backward()
    assert y.grad.tolist() == [4.0, 8.0] and x.grad.tolist() == [8.0, 16.0]
    with pytest.raises(RuntimeError, match="can't retain_grad on Tensor that has requires_grad=False"):
        fs.ones(2).retain_grad()
    assert (x * 2).grad is None


def test_requires_grad_switch():
    x = fs.ones(2)
    assert not x.requires_grad and x.is_leaf
    x.requires_grad_()
    y = x * 2
    assert y.requires_grad and not y.is_leaf and y.grad_fn is not None and x.grad_fn is None
    with pytest.raises(RuntimeError, match="leaf"):
        y.requires_grad_(False)
    x.requires_grad = False
    assert not (x * 2).requires_grad
    assert not y.detach().requires_grad


# ---- modes -------------------------------------------------------------------------------------------------------------


def test_no_grad():
    x = leaf(1.0)
    with fs.no_grad():
        assert not (x * 2).requires_grad and not fs.is_grad_enabled()
        with fs.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad

    @fs.no_grad()
    def f():
        return x * 2

    @fs.no_grad()
    def numbers():
        yield (x * 2).requires_grad
        yield (x * 2).requires_grad

    assert not f().requires_grad and fs.is_grad_enabled()
    for got in numbers():
        assert got is False and fs.is_grad_enabled()
    with pytest.raises(ZeroDivisionError), fs.no_grad():
        raise ZeroDivisionError
    assert fs.is_grad_enabled()


def test_set_grad_enabled():
    x = leaf(1.0)
    with fs.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad
    fs.set_grad_enabled(False)
    assert not (x * 2).requires_grad
    fs.set_grad_enabled(True)
    assert (x * 2).requires_grad


def test_inference_mode():
    x = leaf(1.0)
    with fs.inference_mode():
        y = x * 2
        assert not y.requires_grad and fs.is_inference_mode_enabled() and y.is_inference()
    assert not fs.is_inference_mode_enabled()


def test_mode_is_per_thread():
    seen = []
    with fs.no_grad():
        t = threading.Thread(target=lambda: seen.append(fs.is_grad_enabled()))
        t.start()
        t.join()
    assert seen == [True]


# ---- hooks -------------------------------------------------------------------------------------------------------------


def test_tensor_hooks():
    x = leaf(1.0, 2.0)
    seen = []
    handle = x.register_hook(lambda g: seen.append(g.tolist()))
    doubled = x.register_hook(lambda g: g * 2)
    (x * 3).sum().backward()
    assert seen == [[3.0, 3.0]] and x.grad.tolist() == [6.0, 6.0]
    handle.remove()
    doubled.remove()
    (x * 3).sum().backward()
    assert len(seen) == 1 and x.grad.tolist() == [9.0, 9.0]


def test_hooks_on_values():
    x = leaf(1.0, 2.0)
    y = x * 2
    order = []
    y.register_hook(lambda g: order.append("first"))
    y.register_hook(lambda g: (order.append("second"), g * 10)[1])
    (y * y).sum().backward()
    assert order == ["first", "second"] and x.grad.tolist() == [80.0, 160.0]
    with pytest.raises(RuntimeError, match="cannot register a hook on a tensor that doesn't require gradient"):
        fs.ones(1).register_hook(print)
    z = x * 2
    z.register_hook(lambda g: fs.ones(5, dtype=fs.float64))
    with pytest.raises(RuntimeError, match="hook has changed the size"):
        z.sum().backward()


def test_node_hooks():
    x = leaf(1.0, 2.0)
    y = x * 2
    seen = []
    handle = y.grad_fn.register_hook(lambda inputs, outputs: seen.append((inputs[0].tolist(), outputs[0].tolist())))
    y.grad_fn.register_prehook(lambda outputs: (outputs[0] * 10,))
    y.sum().backward()
    assert seen == [([20.0, 20.0], [10.0, 10.0])] and x.grad.tolist() == [20.0, 20.0]
    handle.remove()


def test_post_accumulate_hook():
    x = leaf(1.0)
    seen = []
    handle = x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.item()))
    (x * 3).sum().backward()
    assert seen == [3.0]
    handle.remove()
    (x * 3).sum().backward()
    assert seen == [3.0]


def test_error_in_a_hook_leaves_grad_mode_alone():
    x = leaf(1.0)
    y = x * 2

    def fail(g):
        raise KeyError("mine")

    y.register_hook(fail)
    with pytest.raises(KeyError, match="mine"):
        y.sum().backward()
    assert fs.is_grad_enabled() and x.grad is None


def test_backward_inside_a_hook():
    x, w = leaf(2.0), leaf(3.0)
    y = x * x
    with fs.enable_grad():
        inner = (w * w).sum()
    y.register_hook(lambda g: inner.backward())
    y.sum().backward()
    assert x.grad.tolist() == [4.0] and w.grad.tolist() == [6.0]


# ---- the graph, seen from Python ----------------------------------------------------------------------------------------


def test_graph_can_be_walked():
    x, y = leaf(1.0), leaf(2.0)
    z = (x * y).exp()
    assert z.grad_fn.name() == "ExpBackward0" and repr(z.grad_fn).startswith("<ExpBackward0")
    ((mul, _),) = z.grad_fn.next_functions
    assert mul.name() == "MulBackward0"
    leaves = [n for n, _ in mul.next_functions]
    assert [n.variable is v for n, v in zip(leaves, (x, y), strict=True)] == [True, True]
    assert "AccumulateGrad" in leaves[0].name()
    assert "grad_fn=<ExpBackward0>" in repr(z)
    assert (x * fs.ones(1, dtype=fs.float64)).grad_fn.next_functions[1][0] is None


# ---- anomaly mode ------------------------------------------------------------------------------------------------------


def test_anomaly_mode_points_at_the_forward_line():
    x = leaf(0.0)
    with fs.autograd.detect_anomaly():
        y = x.sqrt() * 0  # the line to be named
        with (
            pytest.warns(UserWarning, match="the line to be named"),
            pytest.raises(RuntimeError, match=r"SqrtBackward0.*nan"),
        ):
            y.sum().backward()
    assert not fs.is_anomaly_enabled()
    with fs.autograd.set_detect_anomaly(True):
        assert fs.is_anomaly_enabled()
    assert not fs.is_anomaly_enabled()


# ---- memory ------------------------------------------------------------------------------------------------------------


def test_a_chain_of_a_million_ops():
    """Built, differentiated and freed with no recursion; also freed when it was never differentiated."""
    start = time.perf_counter()
    n = 1_000_000
    x = leaf(1.0)
    y = x
    for _ in range(n):
        y = y + 1
    assert y.item() == n + 1
    y.backward()
    assert x.grad.tolist() == [1.0]
    del y
    z = x
    for _ in range(n // 5):
        z = z * 1.0
    del z
    gc.collect()
    assert time.perf_counter() - start < 60


def test_a_chain_in_place():
    x = leaf(1.0)
    y = x * 1
    for _ in range(20_000):
        y.add_(1)
    v = y.view(1)
    for _ in range(2_000):
        v.add_(1)
    y.sum().backward()
    assert x.grad.tolist() == [1.0]


def test_graph_is_freed_after_backward():
    class Big:
        pass

    x = leaf(1.0, 2.0)
    h = x * 2
    alive = weakref.ref(h)
    y = (h * h).sum()
    del h
    y.backward()
    del y
    gc.collect()
    assert alive() is None


def test_saved_output_makes_no_cycle():
    """exp saves its own result: nothing but reference counts frees it."""
    gc.collect()
    gc.disable()
    try:
        x = leaf(1.0, 2.0)
        y = x.exp()
        alive = weakref.ref(y)
        del y
        assert alive() is None
    finally:
        gc.enable()


def test_cycles_are_collected():
    x = leaf(1.0)
    x.me = x
    y = x * 2
    y.register_hook(lambda g, y=y: g)
    y.extra = [y]

    held = [x]

    class Keep(Function):
        @staticmethod
        def forward(ctx, t):
            ctx.mine = held[0]
            out = t * 1
            ctx.out = out
            return out

        @staticmethod
        def backward(ctx, g):
            return g

    z = Keep.apply(y)
    x.grad = None
    x.register_hook(lambda g, z=z: None)
    refs = [weakref.ref(t) for t in (x, y, z)]
    held.clear()
    del x, y, z, Keep
    gc.collect()
    assert [r() for r in refs] == [None] * 3


def test_gradient_with_a_graph_is_collected():
    x = leaf(2.0)
    (x * x * x).sum().backward(create_graph=True)  # x.grad's graph leads to x
    alive = weakref.ref(x)
    del x
    gc.collect()
    assert alive() is None


# ---- copies ------------------------------------------------------------------------------------------------------------


def test_deepcopy_and_pickle():
    x = leaf(1.0, 2.0)
    x.sum().backward()
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert twin.requires_grad and twin.is_leaf and twin.tolist() == x.tolist() and twin.data_ptr() != x.data_ptr()
    assert copy.deepcopy(x).grad.tolist() == [1.0, 1.0]
    y = x * 2
    with pytest.raises(RuntimeError, match="Only Tensors created explicitly by the user"):
        copy.deepcopy(y)
    assert copy.deepcopy(y.detach()).tolist() == [2.0, 4.0]
    shared = copy.deepcopy([x, x])
    assert shared[0] is shared[1]


def test_attributes_of_ones_own():
    """A tensor takes any attribute; it is copied and pickled with it, and what the class defines stays read-only."""
    x = leaf(1.0, 2.0)
    x.note = ["mine"]
    assert x.note == ["mine"] and vars(x) == {"note": ["mine"]} and not hasattr(x, "other")
    assert copy.deepcopy(x).note == ["mine"] and pickle.loads(pickle.dumps(x)).note == ["mine"]
    del x.note
    with pytest.raises(AttributeError, match="'Tensor' object has no attribute 'note'"):
        _ = x.note
    with pytest.raises(AttributeError, match="not writable"):
        x.shape = (1,)
    with pytest.raises(AttributeError, match="'Parameter' object has no attribute 'note'"):
        _ = fs.nn.Parameter(fs.ones(1)).note


def test_inference_tensors_stay_out_of_autograd():
    x = fs.ones(3, requires_grad=True)
    normal = fs.zeros(3)
    with fs.inference_mode():
        y = x * 2
        y += 1
        assert y[0].is_inference() and not normal[:1].is_inference() and fs.tensor([1.0]).is_inference()
        normal[:1].fill_(5)
        with fs.inference_mode(False):
            assert (x * 2).requires_grad
    with pytest.raises(RuntimeError, match="saved for backward"):
        x.mul(y)
    for write in (
        lambda: y.add_(1),
        lambda: y.__setitem__(0, 1.0),
        lambda: y.view(3).zero_(),
        lambda: fs.add(x.data, 1, out=y),
    ):
        with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
            write()
    with pytest.raises(RuntimeError, match="requires_grad=True on inference tensor"):
        y.requires_grad_()
    with pytest.raises(RuntimeError, match="version counter"):
        assert y._version
    assert y.tolist() == [3.0] * 3 and normal.tolist() == [5.0, 0.0, 0.0]
    assert y.detach().is_inference() and not y.clone().is_inference()
    (x + y).sum().backward()
    (x * y.clone()).sum().backward()
    assert x.grad.tolist() == [4.0] * 3


def test_a_shallow_copy_shares_memory():
    for x in (fs.zeros(2), fs.nn.Parameter(fs.zeros(2))):
        x.note = "n"
        other = copy.copy(x)
        other.data[0] = 3.0
        assert x.tolist() == [3.0, 0.0] and other.note == "n" and type(other) is type(x)
        assert other.requires_grad == x.requires_grad


def test_results_of_ops_pickle_as_leaves():
    made = pickle.loads(pickle.dumps(fs.ones(2, requires_grad=True) * 2))
    assert made.is_leaf and made.requires_grad and made.tolist() == [2.0, 2.0]


def test_requires_grad_is_a_bool():
    with pytest.raises(RuntimeError, match="must be a bool"):
        fs.ones(1).requires_grad = 1


def test_missing_gradients_of_all_outputs_are_zeros_of_their_shape():
    seen = []

    class Both(fs.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            index = x.argsort()
            ctx.mark_non_differentiable(index)
            return x * 1, index

        @staticmethod
        def backward(ctx, g, g_index):
            seen.append(g_index)
            return g

    Both.apply(fs.ones(3, requires_grad=True))[0].sum().backward()
    assert seen[0].shape == (3,) and seen[0].dtype is fs.int64


def test_a_switch_around_a_class_warns():
    with pytest.warns(FutureWarning, match="classes"):

        @fs.no_grad()
        class Made:
            def __init__(self):
                self.recording = fs.is_grad_enabled()

    assert Made().recording is False


@pytest.mark.parametrize("training", [True, False])
def test_a_norm_called_twice(training):
    # As a GAN's discriminator: real and made images, then one backward.
    norm = fs.nn.BatchNorm1d(3).double().train(training)
    twin = fs.nn.BatchNorm1d(3, track_running_stats=False).double()
    x = fs.randn(5, 3, dtype=fs.float64, requires_grad=True)
    y = fs.randn(4, 3, dtype=fs.float64, requires_grad=True)
    before = norm.running_mean._version

    def step(norm):
        return (norm(x).sin().sum() + norm(y * x[:4]).exp().sum()) * 2

    found = fs.autograd.grad(step(norm), (x, y, norm.weight, norm.bias))
    assert norm.running_mean._version == before + 2 * training
    # Ones and zeros are its statistics before it has trained.
    own = step(twin) if training else step(lambda t: t / (1 + norm.eps) ** 0.5 * twin.weight + twin.bias)
    for a, b in zip(found, fs.autograd.grad(own, (x, y, twin.weight, twin.bias)), strict=True):
        fs.testing.assert_close(a, b)
    fs.autograd.gradcheck(lambda x: norm(x) + norm(x * x), (x,))
    fs.autograd.gradgradcheck(lambda x: norm(x) + norm(x * x), (x,))


def test_statistics_moved_since_evaluation():
    norm = fs.nn.BatchNorm1d(3).eval()
    x = fs.randn(5, 3, requires_grad=True)
    y = norm(x)
    norm.train()(x)
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation.*batch_norm"):
        y.sum().backward()
