"""firesteel.compile: what a call takes and returns, what makes it one of a new kind, and the text of a recording."""

import math
from collections import namedtuple

import firesteel as fs
import pytest
from firesteel import nn
from graph_programs import batches, model, train_step

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
    for part in ("= x: float32[8, 12]", "0.weight: float32[10, 12]", "linear(", "state[0.weight].exp_avg", "graph_programs.py:",
                 '_adam_step(', 'lr=group["lr"]', "0.weight.grad = %", "return %"):  # fmt: skip
        assert part in text, part
    assert repr(step) == "<compiled train_step.<locals>.step: 1 recordings>"
