"""Image datasets and transforms, with torchvision's names and behaviour; images are NumPy arrays, not PIL's."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import datasets, transforms

__all__ = ["datasets", "transforms"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
