"""The handle that removes a hook, under the name where PyTorch keeps it."""

from firesteel.autograd.hooks import RemovableHandle

__all__ = ["RemovableHandle"]
