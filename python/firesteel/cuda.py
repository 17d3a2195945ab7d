"""What programs ask of CUDA before they fall back to the CPU. There is no CUDA device."""

from __future__ import annotations

from typing import Any


def is_available() -> bool:
    """False: firesteel has no CUDA device."""
    return False


def device_count() -> int:
    """0."""
    return 0


def is_initialized() -> bool:
    """False."""
    return False


def manual_seed(seed: int) -> None:
    """Nothing to seed."""


def manual_seed_all(seed: int) -> None:
    """Nothing to seed."""


def empty_cache() -> None:
    """Nothing to empty."""


def synchronize(device: Any = None) -> None:
    """Nothing to wait for; raises as PyTorch does without CUDA."""
    raise AssertionError("Torch not compiled with CUDA enabled: firesteel has no CUDA device")


def current_device() -> int:
    """Raises as PyTorch does without CUDA."""
    raise AssertionError("Torch not compiled with CUDA enabled: firesteel has no CUDA device")


def get_device_name(device: Any = None) -> str:
    """Raises as PyTorch does without CUDA."""
    raise AssertionError("Torch not compiled with CUDA enabled: firesteel has no CUDA device")
