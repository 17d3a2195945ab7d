"""Datasets, samplers, collating and the loader with its workers."""

import collections
import math
import os
import signal
import subprocess
import sys
import time

import firesteel as fs
import numpy as np
import pytest
from firesteel.utils.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    get_worker_info,
    random_split,
)

WORKERS = [{"num_workers": 2}, {"worker_threads": 2}]
ALL = [{}, *WORKERS]


def seeded(seed=0):
    generator = fs.Generator()
    generator.manual_seed(seed)
    return generator


class Squares(Dataset):
    """Reads slowly where the number is even, so that batches become ready out of order."""

    def __init__(self, length=20, delay=0.0):
        self.length, self.delay = length, delay

    def __len__(self):
        return self.length

    def __getitem__(self, i):
        if self.delay and i % 2 == 0:
            time.sleep(self.delay)
        return i * i


class Stream(IterableDataset):
    """Numbers below `end`, each worker its own residue class."""

    def __init__(self, end):
        self.end = end

    def __iter__(self):
        info = get_worker_info()
        first, stride = (0, 1) if info is None else (info.id, info.num_workers)
        return iter(range(first, self.end, stride))


class Sized(Stream):
    def __len__(self):
        return self.end


# Datasets


def test_datasets():
    x, y = fs.arange(12).view(6, 2), fs.arange(6)
    data = TensorDataset(x, y)
    assert len(data) == 6 and data[2][0].tolist() == [4, 5] and data[2][1].item() == 2
    with pytest.raises(AssertionError, match="Size mismatch"):
        TensorDataset(x, fs.arange(5))
    both = data + TensorDataset(x, y + 10)
    assert isinstance(both, ConcatDataset) and len(both) == 12
    assert both[7][1].item() == 11 and both[-1][1].item() == 15 and both[-12][1].item() == 0
    with pytest.raises(ValueError, match="absolute value"):
        both[-13]
    with pytest.raises(AssertionError):
        ConcatDataset([])
    with pytest.raises(AssertionError):
        ConcatDataset([Stream(3)])
    assert list(Stream(3) + Stream(2)) == [0, 1, 2, 0, 1]
    assert len(ChainDataset([Sized(3), Sized(2)])) == 5
    stack = StackDataset(number=Squares(4), letter="abcd")
    assert stack[2] == {"number": 4, "letter": "c"} and len(stack) == 4
    assert stack.__getitems__([1, 3]) == [{"number": 1, "letter": "b"}, {"number": 9, "letter": "d"}]
    assert StackDataset("ab", "cd").__getitems__([1]) == [("b", "d")]
    for bad in (lambda: StackDataset(), lambda: StackDataset("ab", x="cd"), lambda: StackDataset("ab", "c")):
        with pytest.raises(ValueError):
            bad()
    assert list(Subset(Subset("abcdef", [5, 4, 3]), [0, 2])) == ["f", "d"]
    with pytest.raises(NotImplementedError, match="__getitem__"):
        Dataset()[0]


def test_a_subset_that_overrides_getitem_must_override_getitems():
    class Upper(Subset):
        def __getitem__(self, i):
            return super().__getitem__(i).upper()

    with pytest.raises(NotImplementedError, match="overrides __getitem__"):
        Upper("abc", [0])


def test_random_split():
    parts = random_split(range(10), [3, 7], generator=seeded())
    again = random_split(range(10), [3, 7], generator=seeded())
    assert [len(p) for p in parts] == [3, 7] and [list(p) for p in parts] == [list(p) for p in again]
    assert sorted([*parts[0], *parts[1]]) == list(range(10))
    assert [len(p) for p in random_split(range(10), [1 / 3, 1 / 3, 1 / 3])] == [4, 3, 3]
    with pytest.raises(ValueError, match="Sum of input lengths"):
        random_split(range(10), [3, 3])
    with pytest.raises(ValueError, match="Fraction at index 0"):
        random_split(range(10), [1.5, -0.5])
    with pytest.warns(UserWarning, match="index 1 is 0"):
        random_split(range(1), [0.5, 0.5])


# Samplers


def test_samplers():
    assert list(SequentialSampler("abc")) == [0, 1, 2]
    order = list(RandomSampler(range(50), generator=seeded()))
    assert sorted(order) == list(range(50)) and order != list(range(50))
    assert order == list(RandomSampler(range(50), generator=seeded()))
    many = list(RandomSampler(range(5), num_samples=12))
    assert len(many) == 12 and sorted(many[:5]) == list(range(5)) and len(set(many[10:])) == 2
    drawn = list(RandomSampler(range(5), replacement=True, num_samples=5000))
    assert len(drawn) == 5000 and all(900 < n < 1100 for n in collections.Counter(drawn).values())
    assert sorted(SubsetRandomSampler([7, 3, 5])) == [3, 5, 7]
    with pytest.raises(ValueError, match="num_samples"):
        RandomSampler([])
    with pytest.raises(TypeError, match="replacement"):
        RandomSampler([1], replacement=1)


def test_random_sampler_follows_the_global_seed():
    orders = []
    for _ in range(2):
        fs.manual_seed(3)
        orders.append([list(RandomSampler(range(20))) for _ in range(2)])
    assert orders[0] == orders[1] and orders[0][0] != orders[0][1]


def test_weighted_sampler():
    drawn = collections.Counter(WeightedRandomSampler([1, 0, 3], 4000, generator=seeded()))
    assert drawn[1] == 0 and 0.21 < drawn[0] / 4000 < 0.29
    once = [tuple(WeightedRandomSampler([1, 0, 3, 2], 3, replacement=False, generator=seeded(i))) for i in range(300)]
    assert all(sorted(order) == [0, 2, 3] for order in once)
    first = collections.Counter(order[0] for order in once)
    assert first[2] > first[3] > first[0]
    for weights, count, replacement in (([1.0], 0, True), ([[1.0]], 1, True), ([1.0], 1, None)):
        with pytest.raises(ValueError):
            WeightedRandomSampler(weights, count, replacement)
    for weights, count, replacement in (([0.0], 1, True), ([math.nan], 1, True), ([1.0, 0.0], 2, False)):
        with pytest.raises(ValueError):
            list(WeightedRandomSampler(weights, count, replacement))


def test_batch_sampler():
    assert list(BatchSampler(range(5), 2, False)) == [[0, 1], [2, 3], [4]]
    assert list(BatchSampler(range(5), 2, True)) == [[0, 1], [2, 3]]
    assert [len(BatchSampler(range(n), 2, drop)) for n in (4, 5) for drop in (False, True)] == [2, 2, 3, 2]
    for size, drop in ((0, False), (True, False), (1.5, False), (2, 1)):
        with pytest.raises(ValueError):
            BatchSampler(range(5), size, drop)


def test_distributed_sampler():
    parts = [list(DistributedSampler(range(10), 4, rank, shuffle=False)) for rank in range(4)]
    assert parts == [[0, 4, 8], [1, 5, 9], [2, 6, 0], [3, 7, 1]]
    parts = [list(DistributedSampler(range(10), 4, rank, shuffle=False, drop_last=True)) for rank in range(4)]
    assert parts == [[0, 4], [1, 5], [2, 6], [3, 7]]
    sampler = DistributedSampler(range(10), 2, 1)
    first = list(sampler)
    sampler.set_epoch(1)
    assert len(first) == len(sampler) == 5 and first != list(sampler)
    assert list(DistributedSampler(range(1), 3, 2)) == [0]
    with pytest.raises(ValueError, match="Invalid rank 2"):
        DistributedSampler(range(10), 2, 2)


# Collating

Point = collections.namedtuple("Point", "x y")


def same(a, b):
    if isinstance(b, fs.Tensor):
        return isinstance(a, fs.Tensor) and a.dtype == b.dtype and a.tolist() == b.tolist()
    if isinstance(b, dict):
        return type(a) is type(b) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in b)
    if isinstance(b, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and a == b


COLLATED = {
    "tensors": ([fs.tensor([1, 2]), fs.tensor([3, 4])], fs.tensor([[1, 2], [3, 4]])),
    "0-d tensors": ([fs.tensor(1.0), fs.tensor(2.0)], fs.tensor([1.0, 2.0])),
    "ints": ([1, 2], fs.tensor([1, 2])),
    "floats": ([0.5, 2.0], fs.tensor([0.5, 2.0], dtype=fs.float64)),
    "bools": ([True, False], fs.tensor([True, False])),
    "strings": (["a", "b"], ["a", "b"]),
    "bytes": ([b"a", b"b"], [b"a", b"b"]),
    "arrays": ([np.float32([1, 2]), np.float32([3, 4])], fs.tensor([[1.0, 2.0], [3.0, 4.0]])),
    "numpy floats": ([np.float32(1), np.float32(2)], fs.tensor([1.0, 2.0])),
    "numpy doubles": ([np.float64(1), np.float64(2)], fs.tensor([1.0, 2.0], dtype=fs.float64)),
    "numpy strings": ([np.str_("a")], [np.str_("a")]),
    "tuples": ([(1, "a"), (2, "b")], [fs.tensor([1, 2]), ("a", "b")]),
    "lists": ([[1, 2.0], [3, 4.0]], [fs.tensor([1, 3]), fs.tensor([2.0, 4.0], dtype=fs.float64)]),
    "dicts": ([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], {"a": fs.tensor([1, 2]), "b": ["x", "y"]}),
    "named tuples": ([Point(1, 2), Point(3, 4)], Point(fs.tensor([1, 3]), fs.tensor([2, 4]))),
    "nested": ([{"a": [1, (2,)]}, {"a": [3, (4,)]}], {"a": [fs.tensor([1, 3]), [fs.tensor([2, 4])]]}),
}


@pytest.mark.parametrize("case", COLLATED)
def test_default_collate(case):
    batch, expected = COLLATED[case]
    assert same(default_collate(batch), expected)


def test_default_collate_keeps_the_kind_of_mapping():
    batch = [collections.defaultdict(int, a=1), collections.defaultdict(int, a=2)]
    collated = default_collate(batch)
    assert collated["missing"] == 0 and collated["a"].tolist() == [1, 2]
    assert isinstance(default_collate([collections.OrderedDict(a=1)]), collections.OrderedDict)


def test_default_collate_refuses():
    with pytest.raises(RuntimeError, match="equal size"):
        default_collate([[1, 2], [3]])
    with pytest.raises(TypeError, match="default_collate: batch must contain"):
        default_collate([object()])
    with pytest.raises(TypeError, match="found <U1"):
        default_collate([np.array(["a"])])


def test_default_convert():
    assert same(default_convert([np.int64(3), ("a", np.float32([1.5]))]), [fs.tensor(3), ["a", fs.tensor([1.5])]])
    assert same(default_convert({"p": Point(1, np.array([True]))}), {"p": Point(1, fs.tensor([True]))})


# The loader


@pytest.mark.parametrize("options", ALL, ids=str)
def test_order(options):
    data = Squares(21, delay=0.005 if options else 0)
    loader = DataLoader(data, batch_size=2, **options)
    assert [batch.tolist() for batch in loader] == [[i * i for i in range(n, min(n + 2, 21))] for n in range(0, 21, 2)]
    assert len(loader) == 11
    loader = DataLoader(data, batch_size=2, drop_last=True, shuffle=True, generator=seeded(), **options)
    first, second = ([tuple(batch.tolist()) for batch in loader] for _ in range(2))
    assert len(first) == 10 and first != second
    assert first == [tuple(b.tolist()) for b in DataLoader(data, 2, True, generator=seeded(), drop_last=True)]


@pytest.mark.parametrize("options", ALL, ids=str)
def test_iterable(options):
    batches = [batch.tolist() for batch in DataLoader(Stream(11), batch_size=3, **options)]
    assert sorted(n for batch in batches for n in batch) == list(range(11))
    if options:
        assert batches == [[0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9]]
    batches = [batch.tolist() for batch in DataLoader(Stream(11), batch_size=3, drop_last=True, **options)]
    assert all(len(batch) == 3 for batch in batches) and len(batches) == 3
    assert sorted(DataLoader(Stream(5), batch_size=None, **options)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("options", WORKERS, ids=str)
def test_persistent_workers(options):
    loader = DataLoader(Squares(8), batch_size=2, persistent_workers=True, **options)
    passes = [[batch.tolist() for batch in loader] for _ in range(3)]
    assert passes[0] == passes[1] == passes[2] == [[0, 1], [4, 9], [16, 25], [36, 49]]
    workers = loader._iterator
    for batch in loader:
        assert batch.tolist() == [0, 1]
        break
    assert [batch.tolist() for batch in loader] == passes[0] and loader._iterator is workers


@pytest.mark.parametrize("options", WORKERS, ids=str)
def test_any_order(options):
    loader = DataLoader(Squares(12, delay=0.02), batch_size=1, in_order=False, **options)
    assert sorted(batch.item() for batch in loader) == [i * i for i in range(12)]


def test_rows_of_tensors_are_read_at_once():
    x = fs.arange(40).view(20, 2)

    class Loud(TensorDataset):
        def __getitem__(self, i):
            return tuple(-part for part in super().__getitem__(i))

    plain = [[part.tolist() for part in batch] for batch in DataLoader(TensorDataset(x, x[:, 0]), 8)]
    assert plain[2] == [[[32, 33], [34, 35], [36, 37], [38, 39]], [32, 34, 36, 38]]
    part = Subset(Subset(TensorDataset(x), range(10, 20)), [1, 0, 9])
    assert [b[0].tolist() for b in DataLoader(part, 3)] == [[[22, 23], [20, 21], [38, 39]]]
    assert [b[0].tolist() for b in DataLoader(Loud(x), 1)][1] == [[-2, -3]]
    batch = next(iter(DataLoader(TensorDataset(x), 4)))[0]
    batch.zero_()
    assert x[1].tolist() == [2, 3], "a batch has memory of its own"
    assert next(iter(DataLoader(TensorDataset(x), None)))[0].tolist() == [0, 1]


class Draws(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, i):
        import random

        info = get_worker_info()
        return info.id, info.seed, random.random(), fs.rand(1).item(), np.random.rand()


def test_workers_have_seeds_of_their_own():
    def rows(seed):
        return [
            [value.item() for value in row] for row in DataLoader(Draws(), 1, num_workers=2, generator=seeded(seed))
        ]

    first = rows(1)
    assert first == rows(1) and first != rows(2)
    assert [row[0] for row in first] == [0, 1, 0, 1, 0, 1]
    assert first[1][1] == first[0][1] + 1, "base seed plus the worker's number"
    assert len({row[3] for row in first}) == len({row[2] for row in first}) == len({row[4] for row in first}) == 6
    assert get_worker_info() is None


class Failing(Dataset):
    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 8

    def __getitem__(self, i):
        if i == 3:
            raise self.error
        return i


class Picky(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ValueError("no number"), ValueError), (KeyError("key"), KeyError), (Picky("this", "that"), RuntimeError)],
    ids=lambda case: repr(case)[:20],
)
def test_a_process_shows_its_error_whole(error, kind):
    with pytest.raises(kind) as caught:
        list(DataLoader(Failing(error), num_workers=2))
    text = str(caught.value)
    assert f"Caught {type(error).__name__} in DataLoader worker process 1." in text
    assert "Traceback (most recent call last)" in text and "raise self.error" in text and str(error) in text
    assert "\\n" not in text


def test_a_class_that_cannot_travel_becomes_a_runtime_error():
    class Local(Exception):
        pass

    with pytest.raises(RuntimeError, match="Local: lost"):
        list(DataLoader(Failing(Local("lost")), num_workers=1))


def test_an_error_is_shown_at_once():
    class Slow(Failing):
        def __getitem__(self, i):
            if i == 0:
                time.sleep(30)
            return super().__getitem__(i)

    start = time.monotonic()
    loader = DataLoader(Slow(ValueError("early")), batch_sampler=[[0], [3]], num_workers=2)
    with pytest.raises(ValueError, match="early"):
        list(loader)
    assert time.monotonic() - start < 10


def test_a_thread_raises_the_error_itself():
    error = ValueError("no number")
    with pytest.raises(ValueError) as caught:
        list(DataLoader(Failing(error), worker_threads=2))
    assert caught.value is error and "thread 1" in error.__notes__[0]


def test_loading_goes_on_after_an_error():
    batches = iter(DataLoader(Failing(ValueError()), num_workers=2))
    got, failed = [], 0
    while True:
        try:
            got.append(next(batches).item())
        except ValueError:
            failed += 1
        except StopIteration:
            break
    assert got == [0, 1, 2, 4, 5, 6, 7] and failed == 1


class Dying(Dataset):
    def __init__(self, how):
        self.how = how

    def __len__(self):
        return 8

    def __getitem__(self, i):
        if i == 3:
            os.kill(os.getpid(), signal.SIGKILL) if self.how == "SIGKILL" else os._exit(7)
        return i


@pytest.mark.parametrize("how", ["SIGKILL", "exit code 7"])
def test_a_dead_worker_is_noticed(how):
    start = time.monotonic()
    batches = iter(DataLoader(Dying(how), num_workers=2))
    with pytest.raises(RuntimeError, match=rf"worker \(pid\(s\) \d+\) exited unexpectedly \(.*{how}"):
        list(batches)
    assert time.monotonic() - start < 10
    with pytest.raises(RuntimeError, match="ended by an error"):
        next(batches)


@pytest.mark.parametrize("options", WORKERS, ids=str)
def test_timeout(options):
    class Sleepy(Squares):
        def __getitem__(self, i):
            time.sleep(20)

    with pytest.raises(RuntimeError, match=r"timed out after 0\.2 seconds"):
        list(DataLoader(Sleepy(), timeout=0.2, **options))


def test_init_function():
    def init(number):
        get_worker_info().dataset.length = 100 + number

    class Length(Squares):
        def __getitem__(self, i):
            return self.length

    loader = DataLoader(Length(4), num_workers=2, worker_init_fn=init)
    assert [batch.item() for batch in loader] == [100, 101, 100, 101]

    def fail(number):
        raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        list(DataLoader(Squares(4), num_workers=1, worker_init_fn=fail))


def test_large_batches_and_an_early_end_leave_no_process():
    loader = DataLoader(Big(), batch_size=4, num_workers=2)
    start = time.monotonic()
    for batch in loader:
        assert batch.shape == (4, 300_000)
        break
    batches = iter(loader)
    next(batches)
    children = list(batches.pool.processes)
    del batches
    assert not any(child.is_alive() for child in children)
    assert time.monotonic() - start < 10


class Big(Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, i):
        return fs.full((300_000,), float(i))


def test_two_loaders_at_once():
    pairs = zip(DataLoader(Squares(6), num_workers=1), DataLoader(Squares(6), num_workers=2), strict=True)
    assert [(a.item(), b.item()) for a, b in pairs] == [(i * i, i * i) for i in range(6)]


def test_spawned_workers():
    loader = DataLoader(range(6), batch_size=3, num_workers=1, multiprocessing_context="spawn")
    assert [batch.tolist() for batch in loader] == [[0, 1, 2], [3, 4, 5]]


SCRIPT = """
import signal, time
from firesteel.utils.data import DataLoader, Dataset

# What a shell runs in the background is born deaf to it.
signal.signal(signal.SIGINT, signal.default_int_handler)

class Slow(Dataset):
    def __len__(self): return 1000
    def __getitem__(self, i):
        time.sleep(0.05)
        return i

batches = iter(DataLoader(Slow(), num_workers=2))
next(batches)
print(*(process.pid for process in batches.pool.processes), flush=True)
for _ in batches:
    pass
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "SIGKILL"])
def test_workers_end_with_their_parent(stop):
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pids = [int(pid) for pid in child.stdout.readline().split()]
    # As the terminal does: Ctrl-C goes to the whole group.
    (os.killpg if stop == signal.SIGINT else os.kill)(child.pid, stop)
    _, errors = child.communicate(timeout=20)
    if stop == signal.SIGINT:
        assert errors.count("KeyboardInterrupt") == 1 and "worker process" not in errors
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


REFUSED = {
    "workers below zero": {"num_workers": -1},
    "threads and processes": {"num_workers": 1, "worker_threads": 1},
    "timeout below zero": {"timeout": -1},
    "prefetch without workers": {"prefetch_factor": 2},
    "persistent without workers": {"persistent_workers": True},
    "sampler and shuffle": {"sampler": [0], "shuffle": True},
    "batch sampler and size": {"batch_sampler": [[0]], "batch_size": 2},
    "drop_last without batches": {"batch_size": None, "drop_last": True},
    "no batch": {"batch_size": 0},
    "context without workers": {"multiprocessing_context": "fork"},
    "unknown context": {"multiprocessing_context": "spoon", "num_workers": 1},
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_options(case):
    with pytest.raises(ValueError):
        DataLoader(Squares(), **REFUSED[case])


@pytest.mark.parametrize("option", [{"shuffle": True}, {"sampler": [0]}, {"batch_sampler": [[0]]}], ids=str)
def test_refused_options_of_an_iterable(option):
    with pytest.raises(ValueError, match="DataLoader with IterableDataset"):
        DataLoader(Stream(3), **option)


def test_attributes():
    loader = DataLoader(Squares(), 4, shuffle=True)
    assert loader.batch_size == 4 and isinstance(loader.sampler, RandomSampler) and loader.drop_last is False
    assert isinstance(loader.batch_sampler, BatchSampler) and isinstance(loader.sampler, Sampler)
    with pytest.raises(ValueError, match="batch_size attribute should not be set"):
        loader.batch_size = 5
    with pytest.warns(UserWarning, match="suggested max number of worker"):
        DataLoader(Squares(), num_workers=5000)
    with pytest.warns(UserWarning, match="pin_memory"):
        next(iter(DataLoader(Squares(), pin_memory=True)))


def test_an_iterable_longer_than_it_said():
    loader = DataLoader(Sized(8), batch_size=None)
    assert len(loader) == 8 and len(DataLoader(Sized(8), batch_size=3)) == 3
    loader.dataset.end = 12
    with pytest.warns(UserWarning, match="was reported to be 8"):
        assert len([sample for sample in loader]) == 12  # noqa: C416 - list() would ask for the length anew


def test_importing_does_not_load_multiprocessing():
    code = (
        "import sys, firesteel.utils.data as d; list(d.DataLoader([1, 2]));"
        "print('multiprocessing.connection' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    if "torch" not in sys.modules:
        assert out.strip() == "False"
