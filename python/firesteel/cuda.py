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


def set_device(device: Any) -> None:
    """Raises as PyTorch does without CUDA."""
    raise AssertionError("Torch not compiled with CUDA enabled: firesteel has no CUDA device")


def get_device_properties(device: Any = None) -> Any:
    """Raises as PyTorch does without CUDA."""
    raise AssertionError("Torch not compiled with CUDA enabled: firesteel has no CUDA device")


def is_bf16_supported() -> bool:
    """False."""
    return False


def memory_allocated(device: Any = None) -> int:
    """0."""
    return 0


def max_memory_allocated(device: Any = None) -> int:
    """0."""
    return 0


def memory_reserved(device: Any = None) -> int:
    """0."""
    return 0


def max_memory_reserved(device: Any = None) -> int:
    """0."""
    return 0


def reset_peak_memory_stats(device: Any = None) -> None:
    """Nothing to reset."""
