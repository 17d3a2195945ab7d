"""What this build is: no CUDA, no ROCm."""

from . import __version__

__all__ = ["__version__", "cuda", "hip"]

cuda: str | None = None
hip: str | None = None
