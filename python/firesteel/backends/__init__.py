"""Switches of PyTorch's libraries that programs set before they train. None of them is here, and setting one has no effect."""

from . import cuda, cudnn, mps

__all__ = ["cuda", "cudnn", "mps"]
