"""What every test starts with: the installed wheel, one thread, known random numbers, default modes."""

import os

# Read when the library is loaded: each worker of pytest -n has one core. Tests of threads ask for more themselves.
os.environ.setdefault("FIRESTEEL_NUM_THREADS", "1")

from pathlib import Path

import firesteel as fs
import pytest

SOURCES = Path(__file__).parents[1] / "python"


def pytest_configure(config):
    """Refuses to test the sources: what counts is the wheel that users get."""
    if Path(fs.__file__).is_relative_to(SOURCES):
        raise pytest.UsageError(f"firesteel was imported from {SOURCES}, not from the installed wheel: see `make test`")


@pytest.fixture(autouse=True)
def fresh_state():
    """The same random numbers in each test, whatever ran before it; modes that a failed test left are undone."""
    fs.manual_seed(0)
    fs.set_num_threads(1)
    yield
    fs.set_default_dtype(fs.float32)
    fs.set_grad_enabled(True)
    fs.autograd.set_detect_anomaly(False)
