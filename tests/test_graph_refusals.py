"""firesteel.compile: each danger of a recording has its error, which names the line."""

import firesteel as fs
import pytest
from firesteel import nn
from firesteel.graph import RecordingError
from graph_programs import batches, model, train_step

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
    with pytest.raises(RecordingError, match=r"test_graph_refusals\.py:\d+"):
        f(fs.zeros(3))
    # Nothing stays behind: the same outside works.
    assert fs.zeros(3).sum().item() == 0.0


KEPT = []


def test_a_tensor_that_outlives_the_call_raises():
    f = fs.compile(lambda x: KEPT.append(x * 2))
    f(fs.ones(2))
    with pytest.raises(RecordingError, match=r"result of mul\(\) at .*test_graph_refusals\.py:\d+.*copy_"):
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
