"""The buffer pool: memory is handed out again, counted, and given back."""

import resource
import subprocess
import sys

import firesteel as fs
import pytest
from firesteel import nn


def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


@pytest.mark.parametrize("threads", [1, 2])
def test_later_training_steps_touch_no_fresh_pages(threads):
    fs.set_num_threads(threads)
    net = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 13 * 13, 10))
    optimizer = fs.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    images, labels = fs.randn(64, 1, 28, 28), fs.randint(0, 10, (64,))

    def step():
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()

    for _ in range(3):
        step()
    before = fs.memory_stats()["blocks.from_system"], faults()
    for _ in range(3):
        step()
    after = fs.memory_stats()["blocks.from_system"], faults()
    assert after[0] == before[0]
    # Python itself may touch a page now and then; the activations of one step are over a thousand.
    assert after[1] - before[1] < 20


def test_statistics_and_giving_back():
    fs.empty_cache()
    fs.reset_peak_memory_stats()
    start = fs.memory_stats()
    assert start["cached_bytes.current"] == 0
    x = fs.zeros(1 << 20)
    held = fs.memory_stats()
    assert held["allocated_bytes.current"] - start["allocated_bytes.current"] == 4 << 20
    assert held["allocated_bytes.peak"] >= held["allocated_bytes.current"]
    address = x.data_ptr()
    del x
    kept = fs.memory_stats()
    assert kept["cached_bytes.current"] >= 4 << 20
    assert kept["allocated_bytes.current"] == start["allocated_bytes.current"]
    y = fs.zeros(1 << 20)
    assert y.data_ptr() == address and fs.memory_stats()["blocks.reused"] > kept["blocks.reused"]
    del y
    fs.empty_cache()
    assert fs.memory_stats()["cached_bytes.current"] == 0


HUGE = """
import resource
import firesteel as fs
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
x = fs.zeros(16 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_large_blocks_lie_in_large_pages():
    try:
        with open("/sys/kernel/mm/transparent_hugepage/enabled") as f:
            state = f.read()
    except OSError:
        state = "[never]"
    if "[never]" in state:
        pytest.skip("the system has no transparent huge pages")
    run = subprocess.run([sys.executable, "-c", HUGE], capture_output=True, text=True, timeout=60, check=True)
    # 64 MiB are 16,384 small pages or 32 large ones.
    assert int(run.stdout) < 4000
