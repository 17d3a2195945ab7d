"""firesteel.compile: how many recordings there are, how long they live, errors, threads, and the modes of checking."""

import gc
import os
import subprocess
import sys
import threading
import warnings
import weakref

import firesteel as fs
import pytest
from firesteel import nn
from firesteel.graph import RecordingError
from graph_programs import batches, model, train_step


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
    with pytest.raises(IndexError, match=r"index_select.*test_graph_limits\.py:\d+"):
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
