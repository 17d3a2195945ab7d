"""firesteel.compile: replay gives eager's bits, and each danger of a recording has its rule."""

import gc
import math
import os
import subprocess
import sys
import threading
import warnings
import weakref
from collections import namedtuple

import firesteel as fs
import pytest
from firesteel import nn
from firesteel.graph import RecordingError

STEPS = 7


def model(dropout=0.0, norm=False):
    fs.manual_seed(0)
    return nn.Sequential(
        nn.Linear(12, 10),
        *([nn.BatchNorm1d(10)] if norm else []),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(10, 4),
    )


def batches(n=STEPS, sizes=(8,)):
    draw = fs.Generator().manual_seed(5)
    for i in range(n):
        rows = sizes[i % len(sizes)]
        yield fs.randn(rows, 12, generator=draw), fs.randint(0, 4, (rows,), generator=draw)


def train_step(net, optimizer, set_to_none=True):
    criterion = nn.CrossEntropyLoss()

    def step(x, y):
        optimizer.zero_grad(set_to_none=set_to_none)
        loss = criterion(net(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def run(
    compiled,
    make_optimizer,
    between=None,
    sizes=(8,),
    schedule=False,
    steps=STEPS,
    set_to_none=True,
    device="cpu",
    **kinds,
):
    """Losses and state after some steps, eager or compiled."""
    net = model(**kinds).to(device)
    optimizer = make_optimizer(net.parameters())
    scheduler = fs.optim.lr_scheduler.StepLR(optimizer, 2, 0.5) if schedule else None
    step = train_step(net, optimizer, set_to_none)
    if compiled:
        step = fs.compile(step)
    losses = []
    for i, (x, y) in enumerate(batches(steps, sizes)):
        losses.append(step(x.to(device), y.to(device)).item())
        if scheduler:
            scheduler.step()
        if between:
            between(i, net, optimizer)
    state = [t.tolist() for t in net.state_dict().values()]
    state += [p.grad.tolist() for p in net.parameters() if p.grad is not None]
    for p in net.parameters():
        state += [v.tolist() if isinstance(v, fs.Tensor) else v for v in optimizer.state[p].values()]
    return losses, state, step


OPTIMIZERS = {
    "sgd": lambda p: fs.optim.SGD(p, lr=0.1),
    "momentum": lambda p: fs.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda p: fs.optim.Adam(p, lr=0.01),
    "amsgrad": lambda p: fs.optim.Adam(p, lr=0.01, amsgrad=True),
    "adamw": lambda p: fs.optim.AdamW(p, lr=0.01),
    "rmsprop": lambda p: fs.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "adagrad": lambda p: fs.optim.Adagrad(p, lr=0.1, lr_decay=0.1),
    "adadelta": lambda p: fs.optim.Adadelta(p, lr=1.0),
}


def assert_same(between=None, recordings=None, make=OPTIMIZERS["adam"], **kinds):
    eager = run(False, make, between, **kinds)
    compiled = run(True, make, between, **kinds)
    assert compiled[0] == eager[0]
    assert compiled[1] == eager[1]
    if recordings is not None:
        assert len(compiled[2]._recordings) == recordings


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_replay_gives_eagers_bits(name):
    assert_same(make=OPTIMIZERS[name], recordings=1)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_with_dropout_batch_norm_and_a_schedule_outside(name):
    assert_same(make=OPTIMIZERS[name], recordings=1, dropout=0.4, norm=True, schedule=True)


@pytest.mark.skipif(not fs.gpu.is_available(), reason="no adapter for the gpu device on this machine")
@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw"])
def test_replay_on_the_gpu(name):
    def between(i, net, optimizer):
        if i == 6:
            net.load_state_dict({k: v * 0.5 for k, v in net.state_dict().items()})
        if i == 7:
            net[0].weight.data = net[0].weight.data * 2

    make = OPTIMIZERS[name]
    assert_same(
        between, make=make, recordings=2, dropout=0.4, schedule=True, sizes=(8, 8, 8, 5), steps=10, device="gpu"
    )


def test_gradients_that_are_zeroed_in_place():
    assert_same(make=OPTIMIZERS["sgd"], recordings=1, set_to_none=False)


def test_a_batch_of_another_size_in_between():
    assert_same(sizes=(8, 8, 8, 5), steps=12, recordings=2)


def test_after_load_state_dict():
    saved = {}

    def between(i, net, optimizer):
        if i == 2:
            saved["net"] = {k: v.clone() for k, v in net.state_dict().items()}
            saved["optimizer"] = optimizer.state_dict()
            saved["optimizer"]["state"] = {
                k: {n: v.clone() for n, v in e.items()} for k, e in saved["optimizer"]["state"].items()
            }
        if i == 4:
            net.load_state_dict(saved["net"])
            optimizer.load_state_dict(saved["optimizer"])

    assert_same(between, recordings=1)


def test_after_new_data():
    def between(i, net, optimizer):
        if i == 3:
            for p in net.parameters():
                p.data = p.data * 0.5

    assert_same(between, recordings=1)


def test_data_in_other_strides_is_another_kind_of_call():
    def between(i, net, optimizer):
        if i == 3:
            net[0].weight.data = net[0].weight.data.t().contiguous().t()

    assert_same(between, recordings=2)


def test_a_rate_written_outside():
    def between(i, net, optimizer):
        optimizer.param_groups[0]["lr"] = 0.01 / (i + 1)

    assert_same(between, recordings=1)


def test_a_momentum_switched_on_is_another_kind_of_call():
    def between(i, net, optimizer):
        optimizer.param_groups[0]["momentum"] = 0.9 if i >= 3 else 0

    assert_same(between, make=OPTIMIZERS["sgd"], recordings=2, steps=9)


def test_frozen_parameters_and_modes_are_part_of_the_key():
    def between(i, net, optimizer):
        net[0].weight.requires_grad_(i < 3)
        net.train(i < 6)

    assert_same(between, make=OPTIMIZERS["sgd"], dropout=0.5, steps=12, recordings=3)


def test_a_parameter_or_a_layer_replaced():
    def between(i, net, optimizer):
        if i == 3:
            net[0].bias = nn.Parameter(fs.full((10,), 0.25))
        if i == 6:
            net[1] = nn.Tanh()

    assert_same(between, make=OPTIMIZERS["sgd"], steps=10)


def test_accumulation_over_two_batches():
    def losses(compiled):
        net = model()
        optimizer = fs.optim.SGD(net.parameters(), lr=0.1)
        criterion = nn.CrossEntropyLoss()

        def forward_backward(x, y):
            loss = criterion(net(x), y) / 2
            loss.backward()
            return loss.detach()

        part = fs.compile(forward_backward) if compiled else forward_backward
        found = []
        for i, (x, y) in enumerate(batches(12)):
            found.append(part(x, y).item())
            if i % 2:
                optimizer.step()
                optimizer.zero_grad()
        return found, [p.tolist() for p in net.parameters()], part

    eager, compiled = losses(False), losses(True)
    assert compiled[:2] == eager[:2]
    # Without gradients and with them.
    assert len(compiled[2]._recordings) == 2


def test_two_backwards_in_one_step():
    def losses(compiled):
        net = model()
        optimizer = fs.optim.Adam(net.parameters(), lr=0.01)

        def step(x, z):
            optimizer.zero_grad()
            net(x).square().mean().backward()
            net(z).square().mean().backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.1)
            optimizer.step()

        f = fs.compile(step) if compiled else step
        for x, _ in batches():
            f(x, x * 2)
        return [p.tolist() for p in net.parameters()]

    assert losses(True) == losses(False)


def test_gradients_belong_to_the_program():
    w = fs.ones(3, requires_grad=True)

    @fs.compile
    def step(x):
        w.grad = None
        (w * x).sum().backward()

    x = fs.tensor([1.0, 2.0, 3.0])
    grads = []
    for _ in range(4):
        step(x)
        grads.append(w.grad)
    grads[2].zero_()
    assert grads[3].tolist() == [1, 2, 3] and w.grad is grads[3]
    assert len({g.data_ptr() for g in grads}) == 4


def test_writes_to_tensors_of_the_program():
    count, table = fs.zeros(()), fs.zeros(2, 3)

    @fs.compile
    def step(x):
        with fs.no_grad():
            count.add_(1)
            table[0] += x
            table[:, 1].mul_(2)
            return table.sum() + count

    expected = [[0.0] * 3, [0.0] * 3]
    for i in range(5):
        result = step(fs.full((3,), float(i)))
        expected[0] = [v + i for v in expected[0]]
        expected[0][1] *= 2
        assert table.tolist() == expected and count.item() == i + 1
        assert result.item() == sum(expected[0]) + i + 1


def test_in_place_on_views_within_the_graph_of_autograd():
    def grads(compiled):
        w = fs.arange(6.0).reshape(2, 3).requires_grad_()

        def step(x):
            y = w * 1.5
            y[0] += x
            y[:, 1].mul_(3)
            y.square().sum().backward()

        f = fs.compile(step) if compiled else step
        for i in range(5):
            f(fs.full((3,), float(i)))
        return w.grad.tolist()

    assert grads(True) == grads(False)


def test_random_numbers_go_on_where_they_were():
    def draw(compiled):
        fs.manual_seed(7)

        def noisy(x):
            return x + fs.rand(4) + nn.functional.dropout(fs.ones(4), 0.5)

        f = fs.compile(noisy) if compiled else noisy
        return [f(fs.zeros(4)).tolist() for _ in range(5)] + [fs.rand(2).tolist()]

    assert draw(True) == draw(False)


Pair = namedtuple("Pair", "first second")


def test_results_of_every_form():
    @fs.compile
    def f(x, scale, *, options):
        y = x * scale
        return {"pair": Pair(y, x), "list": [y, None, "name", y.shape], "n": options["n"], "view": y[1:]}

    for i in range(4):
        x = fs.full((3,), float(i))
        r = f(x, 2, options={"n": 5})
        assert type(r["pair"]) is Pair and r["pair"].second is x and r["list"][0] is r["pair"].first
        assert r["list"][0].tolist() == [2.0 * i] * 3 and r["view"].tolist() == [2.0 * i] * 2
        assert r["list"][1:3] == [None, "name"] and r["list"][3] == (3,) and r["n"] == 5
    assert f._recordings and f(fs.ones(3), 2.0, options={"n": 5})["n"] == 5
    assert f(fs.ones(3), 3, options={"n": 5})["list"][0].tolist() == [3.0] * 3


def test_arguments_that_share_memory_are_another_kind_of_call():
    @fs.compile
    def f(a, b):
        a.add_(1)
        return a + b

    x, y = fs.zeros(2), fs.zeros(2)
    for _ in range(3):
        f(x, y)
    assert f(x, y).tolist() == [4.0, 4.0]
    for _ in range(4):
        z = fs.zeros(2)
        assert f(z, z).tolist() == [2.0, 2.0]
    assert len(f._recordings) == 2


def test_what_python_computes_is_a_constant():
    factor = [1.0]
    f = fs.compile(lambda x: x * factor[0])
    f(fs.ones(2)), f(fs.ones(2))
    factor[0] = 5.0
    assert f(fs.ones(2)).tolist() == [1.0, 1.0]


def test_numbers_of_python_that_differ_between_the_first_two_calls():
    count = [0]

    def counting(x):
        count[0] += 1
        return x * count[0]

    f = fs.compile(counting)
    f(fs.ones(2))
    with pytest.warns(UserWarning, match="two calls of one kind did different things"):
        f(fs.ones(2))
    assert f(fs.ones(2)).tolist() == [2.0, 2.0]


def test_an_outside_tensor_with_the_memory_of_an_argument():
    x = fs.ones(2)
    same = x.detach()
    f = fs.compile(lambda x: x + same)
    for _ in range(3):
        assert f(x).tolist() == [2.0, 2.0]
    for _ in range(3):
        assert f(fs.zeros(2)).tolist() == [1.0, 1.0]


def test_zero_has_two_signs():
    f = fs.compile(lambda x, factor: x * factor)
    for factor in (0.0, 0.0, 0.0, -0.0, -0.0, -0.0):
        assert (1 / f(fs.ones(1), factor)).item() == math.copysign(math.inf, factor)


def test_an_outside_tensor_whose_part_is_an_argument():
    base = fs.zeros(4, 2)

    @fs.compile
    def f(part):
        part += 1
        return base.sum()

    for i in range(8):
        assert f(base[i % 2 * 2 :][:2]).item() == 4.0 * (i + 1)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = 2.0
        self.mask = fs.tensor([1.0, 0.0])

    def forward(self, x):
        return x * self.scale * self.mask


def test_attributes_of_modules_are_part_of_the_key():
    net = Scaled()
    f = fs.compile(net)
    for scale in (2.0, 2.0, 2.0, 3.0, 3.0, 3.0):
        net.scale = scale
        assert f(fs.ones(2)).tolist() == [scale, 0.0]
    net.mask = fs.tensor([0.0, 1.0])
    assert f(fs.ones(2)).tolist() == [0.0, 3.0]
    dropout = nn.Dropout(0.0)
    f = fs.compile(dropout)
    for p in (0.0, 0.0, 0.0, 1.0):
        dropout.p = p
        assert f(fs.ones(2)).tolist() == [1.0 - p] * 2


def test_hooks_and_groups_that_come_later():
    a, b = fs.ones(2, requires_grad=True), fs.ones(2, requires_grad=True)
    optimizer = fs.optim.SGD([a], lr=1.0)

    @fs.compile
    def step():
        a.grad = b.grad = None
        (a.sum() + b.sum()).backward()
        optimizer.step()

    for _ in range(3):
        step()
    assert (a.tolist(), b.tolist()) == ([-2.0, -2.0], [1.0, 1.0])
    handle = a.register_hook(lambda g: g * 10)
    step()
    assert a.tolist() == [-12.0, -12.0]
    handle.remove()
    optimizer.add_param_group({"params": [b]})
    step()
    assert (a.tolist(), b.tolist()) == ([-13.0, -13.0], [0.0, 0.0])


def test_constant_tensors_that_are_written_start_anew():
    @fs.compile
    def f(x):
        total = fs.tensor([1.0, 1.0])
        total += x
        return total

    for _ in range(4):
        assert f(fs.ones(2)).tolist() == [2.0, 2.0]


def test_one_graph_for_a_module_without_gradients():
    net = model(norm=True).eval()
    f = fs.compile(net)
    x = fs.randn(3, 12)
    with fs.no_grad():
        expected = net(x)
        for _ in range(4):
            assert fs.equal(f(x), expected)
    assert len(f._recordings) == 1


def test_a_method():
    class Trainer:
        def __init__(self):
            self.w = fs.ones(2)

        @fs.compile
        def step(self, x):
            self.w.mul_(x)
            return self.w.sum()

    t = Trainer()
    assert [t.step(fs.full((2,), 2.0)).item() for _ in range(4)] == [4.0, 8.0, 16.0, 32.0]


def test_the_text():
    net = model()
    optimizer = fs.optim.Adam(net.parameters(), lr=0.01)
    step = fs.compile(train_step(net, optimizer))
    for x, y in batches(3):
        step(x, y)
    text = str(step)
    for part in ("= x: float32[8, 12]", "0.weight: float32[10, 12]", "linear(", "state[0.weight].exp_avg", "test_graph.py:",
                 '_adam_step(', 'lr=group["lr"]', "0.weight.grad = %", "return %"):  # fmt: skip
        assert part in text, part
    assert repr(step) == "<compiled train_step.<locals>.step: 1 recordings>"


# ---- what is refused -------------------------------------------------------------------------------------------------

READS = {
    "item": lambda x: x.sum().item(),
    "bool": lambda x: 1 if x.sum() > 0 else 2,
    "float": lambda x: float(x.sum()),
    "int": lambda x: int(x.sum()),
    "index": lambda x: [1, 2, 3][x.long().sum()],
    "tolist": lambda x: x.tolist(),
    "numpy": lambda x: x.numpy(),
    "array": lambda x: __import__("numpy").asarray(x),
    "print": lambda x: print(x),
    "format": lambda x: f"{x.sum():.3f}",
    "nonzero": lambda x: x.nonzero(),
    "mask": lambda x: x[x > 0],
    "masked_select": lambda x: x.masked_select(x > 0),
    "unique": lambda x: fs.unique(x),
    "in": lambda x: 1.0 in x,
    "number": lambda x: fs.full((2,), x.sum()),
    "select": lambda x: x.select(0, x.long().sum()),
    "subscript": lambda x: x[x.long().sum()],
    "dlpack": lambda x: fs.from_dlpack(x.__dlpack__()),
    "max": lambda x: max(x),
}


@pytest.mark.parametrize("name", READS)
def test_reading_a_value_raises_at_the_first_call_and_names_the_line(name):
    f = fs.compile(lambda x: READS[name](x))
    with pytest.raises(RecordingError, match=r"test_graph\.py:\d+"):
        f(fs.zeros(3))
    # Nothing stays behind: the same outside works.
    assert fs.zeros(3).sum().item() == 0.0


KEPT = []


def test_a_tensor_that_outlives_the_call_raises():
    f = fs.compile(lambda x: KEPT.append(x * 2))
    f(fs.ones(2))
    with pytest.raises(RecordingError, match=r"result of mul\(\) at .*test_graph\.py:\d+.*copy_"):
        f(fs.ones(2))
    KEPT.clear()

    class Holder(nn.Module):
        def forward(self, x):
            self.last = x.relu()
            return x

    f = fs.compile(Holder())
    f(fs.ones(2))
    with pytest.raises(RecordingError, match="relu"):
        f(fs.ones(2))


class Positions(nn.Module):
    """Fills a cache at its first call, as position encodings do."""

    def __init__(self):
        super().__init__()
        self.table = None

    def forward(self, x):
        if self.table is None:
            self.table = fs.arange(x.shape[0]) * 0.5
        return x + self.table


def test_a_cache_filled_at_the_first_call():
    f = fs.compile(Positions())
    for _ in range(4):
        assert f(fs.ones(3)).tolist() == [1.0, 1.5, 2.0]
    assert len(f._recordings) == 1


def test_garbage_in_cycles_is_no_outliving():
    @fs.compile
    def f(x):
        cycle = [x * 2]
        cycle.append(cycle)
        return x + 1

    for _ in range(3):
        assert f(fs.ones(2)).tolist() == [2.0, 2.0]


def test_a_result_that_requires_grad_raises():
    w = fs.ones(2, requires_grad=True)
    f = fs.compile(lambda x: w * x)
    assert f(fs.ones(2)).requires_grad
    with pytest.raises(RecordingError, match="compile the whole step"):
        f(fs.ones(2))


def test_an_argument_within_autograds_graph_raises():
    w = fs.ones(2, requires_grad=True)
    with pytest.raises(RecordingError, match="detach"):
        fs.compile(lambda x: x.sum().detach())(w * 2)


def test_an_outside_tensor_that_changes_must_be_an_argument():
    data = iter([fs.ones(2), fs.zeros(2), fs.ones(2)])
    f = fs.compile(lambda x: x + next(data))
    f(fs.ones(2))
    with pytest.raises(RecordingError, match="pass it as an argument"):
        f(fs.ones(2))


def test_data_made_into_tensors_inside_must_not_change():
    data = iter([1.0, 2.0, 3.0])
    f = fs.compile(lambda x: x + fs.tensor([next(data)]))
    f(fs.ones(2))
    with pytest.raises(RecordingError, match="pass it as an argument"):
        f(fs.ones(2))


def test_memory_of_others_must_be_an_argument():
    import numpy as np

    array = np.ones(2, dtype="float32")
    with pytest.raises(RecordingError, match="pass it as an argument"):
        fs.compile(lambda x: x + fs.from_numpy(array))(fs.ones(2))
    with pytest.raises(RecordingError, match="ndarray"):
        fs.compile(lambda x: x)(array)


def test_schedules_param_groups_and_seeds_inside_raise():
    net = model()
    optimizer = fs.optim.SGD(net.parameters(), lr=0.1)
    scheduler = fs.optim.lr_scheduler.StepLR(optimizer, 1)
    step = train_step(net, optimizer)

    def with_schedule(x, y):
        step(x, y)
        scheduler.step()

    rate = [0.1]

    def with_rate(x, y):
        rate[0] *= 0.5
        optimizer.param_groups[0]["lr"] = rate[0]
        return step(x, y)

    x, y = next(batches())
    with pytest.raises(RecordingError, match="schedule"):
        fs.compile(with_schedule)(x, y)
    f = fs.compile(with_rate)
    f(x, y)
    with pytest.raises(RecordingError, match="param_groups"):
        f(x, y)
    with pytest.raises(RecordingError, match="generator"):
        fs.compile(lambda x: fs.manual_seed(1))(x)


def test_new_memory_for_a_tensor_inside_raises():
    w = fs.ones(2)

    def assign(x):
        w.data = x * 2

    with pytest.raises(RecordingError, match="data"):
        fs.compile(assign)(fs.ones(2))
    with pytest.raises(RecordingError, match="another shape"):
        fs.compile(lambda x: w.unsqueeze_(0) is None)(fs.ones(2))


def test_changing_a_module_inside_raises():
    net = model()

    def f(x):
        net.eval()
        y = net(x).detach()
        net.train()
        return y

    g = fs.compile(f)
    with pytest.raises(RecordingError, match="Sequential"):
        for _ in range(3):
            g(fs.ones(2, 12))


def test_optimizers_that_compute_in_python_are_refused():
    net = model()
    step = train_step(net, fs.optim.NAdam(net.parameters()))
    with pytest.raises(RecordingError, match=r"NAdam\.step"):
        fs.compile(step)(*next(batches()))


def test_at_most_eight_recordings_then_eager_with_one_warning():
    f = fs.compile(lambda x: x + 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(1, 13):
            for _ in range(3):
                assert f(fs.zeros(n)).tolist() == [1.0] * n
    assert len(f._recordings) == 8
    assert len(caught) == 1 and "8 kinds" in str(caught[0].message)


def test_a_refused_argument_leaves_modules_as_they_were():
    f = fs.compile(lambda x: x)
    with pytest.raises(RecordingError):
        f({1, 2})
    assert nn.Module._hooked is False and not fs._C._is_recording()
    assert f(fs.ones(1)).item() == 1.0


def test_an_error_inside_leaves_no_recording_behind():
    @fs.compile
    def f(x, fail):
        y = x + 1
        if fail:
            raise KeyError("mine")
        return y

    with pytest.raises(KeyError):
        f(fs.ones(2), True)
    for _ in range(3):
        assert f(fs.ones(2), False).tolist() == [2.0, 2.0]


def test_an_error_in_a_replay_is_eagers_and_names_the_line():
    table = fs.arange(4.0)
    f = fs.compile(lambda i: table.index_select(0, i))
    for _ in range(3):
        assert f(fs.tensor([1, 2])).tolist() == [1.0, 2.0]
    with pytest.raises(IndexError, match=r"index_select.*test_graph\.py:\d+"):
        f(fs.tensor([1, 9]))
    assert f(fs.tensor([0, 3])).tolist() == [0.0, 3.0]


def test_compiled_within_compiled():
    inner = fs.compile(lambda x: x * 2)
    outer = fs.compile(lambda x: inner(x) + 1)
    for _ in range(4):
        assert outer(fs.ones(2)).tolist() == [3.0, 3.0]
    assert not inner._recordings and len(outer._recordings) == 1


def test_other_threads_are_not_recorded():
    ready, go, found = threading.Event(), threading.Event(), []

    def other():
        ready.wait()
        found.append((fs.ones(2) * 3).sum().item())
        go.set()

    def f(x):
        y = x + 1
        ready.set()
        assert go.wait(10)
        return y

    thread = threading.Thread(target=other)
    thread.start()
    g = fs.compile(f)
    assert g(fs.ones(1)).item() == 2.0
    thread.join()
    assert found == [6.0]
    assert g(fs.ones(1)).item() == 2.0 and g(fs.ones(1)).item() == 2.0


def test_recordings_die_with_their_function():
    net = model()
    step = fs.compile(train_step(net, fs.optim.Adam(net.parameters())))
    for x, y in batches(3):
        step(x, y)
    alive = weakref.ref(net)
    del net, step
    gc.collect()
    assert alive() is None


def test_the_batch_of_a_recorded_call_is_let_go():
    f = fs.compile(lambda x: x + 1)
    for _ in range(3):
        x = fs.ones(2)
        f(x)
        alive = weakref.ref(x)
        del x
        assert alive() is None


CHECKED = """
import firesteel as fs
calls = []
def f(x):
    calls.append(1)
    return x + 1 if len(calls) < {change} else x * 2
g = fs.compile(f)
for _ in range(4):
    y = g(fs.ones(2))
print(len(calls), y.tolist())
"""


def python(program, mode):
    env = {**os.environ, "FIRESTEEL_COMPILE": mode}
    return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60)


def test_check_mode_names_what_differs():
    fine = python(CHECKED.format(change=9), "check")
    assert fine.stdout == "4 [2.0, 2.0]\n", fine.stderr
    different = python(CHECKED.format(change=4), "check")
    assert "RecordingError" in different.stderr and "add(" in different.stderr and "mul(" in different.stderr
    assert python(CHECKED.format(change=4), "off").stdout == "4 [2.0, 2.0]\n"
