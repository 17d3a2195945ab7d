"""firesteel.compile: replay gives eager's bits, whatever happens to the program's state in between."""

import firesteel as fs
import pytest
from firesteel import nn
from graph_programs import OPTIMIZERS, assert_same, batches, model


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
