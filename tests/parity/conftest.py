"""Comparisons with a real PyTorch, run by `make parity`; where torch is not installed nothing is collected."""

import importlib.util

import pytest

HAS_TORCH = importlib.util.find_spec("torch") is not None
collect_ignore_glob = [] if HAS_TORCH else ["test_*.py"]


@pytest.fixture(autouse=True)
def same_start():
    """Both libraries with one thread and known random numbers."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
