"""What training needs besides the model: data loading, a progress bar, hook handles."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import checkpoint, data, dlpack, hooks, progress

__all__ = ["checkpoint", "data", "dlpack", "hooks", "progress"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
