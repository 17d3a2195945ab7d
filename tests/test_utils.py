"""Small parts that programs import beside the model: switches, DLPack, checkpointing."""

import copy

import firesteel as fs
import pytest
from firesteel import nn
from firesteel.utils.checkpoint import checkpoint, checkpoint_sequential


def test_switches_that_programs_set():
    import firesteel.backends.cudnn as cudnn

    cudnn.benchmark = True
    fs.backends.cuda.matmul.allow_tf32 = True
    assert fs.backends.cudnn is cudnn and not fs.backends.mps.is_available()
    assert fs.version.cuda is None and fs.version.__version__ == fs.__version__
    assert fs.cuda.max_memory_allocated() == 0
    with pytest.raises(AssertionError, match="not compiled with CUDA"):
        fs.cuda.set_device(0)


def test_capsules():
    x = fs.arange(3)
    capsule = fs.utils.dlpack.to_dlpack(x)
    y = fs.utils.dlpack.from_dlpack(capsule)
    x[0] = 5
    assert y.tolist() == [5, 1, 2]


def test_random_numbers_after_a_fork_of_the_generator():
    fs.manual_seed(0)
    with fs.random.fork_rng():
        inside = fs.rand(3)
    assert fs.equal(fs.rand(3), inside)


def model():
    fs.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))


@pytest.mark.parametrize("whole", [True, False])
def test_a_checkpointed_model_has_the_same_gradients(whole):
    plain = model()
    checked = copy.deepcopy(plain)
    x = fs.randn(4, 3)
    fs.manual_seed(2)
    want = plain(x).square().sum()
    want.backward()
    fs.manual_seed(2)
    out = checkpoint(checked, x, use_reentrant=False) if whole else checkpoint_sequential(checked, 3, x)
    got = out.square().sum()
    got.backward()
    assert got.item() == want.item()
    assert all(fs.equal(p.grad, q.grad) for p, q in zip(plain.parameters(), checked.parameters(), strict=True))
    # The second run drew its numbers without moving the generator.
    after = fs.rand(1)
    fs.manual_seed(2)
    plain(x)
    assert fs.equal(fs.rand(1), after)


def test_checkpointed_inputs_keywords_and_several_results():
    a, b = fs.tensor(2.0, requires_grad=True), fs.tensor(3.0, requires_grad=True)
    first, second = checkpoint(lambda x, y, n, *, scale: (x * y * scale, x**n), a, b, 3, scale=10.0)
    (first + second).backward()
    assert a.grad.item() == 30.0 + 12.0 and b.grad.item() == 20.0
    with fs.no_grad():
        assert not checkpoint(lambda x: x * 2, a).requires_grad
