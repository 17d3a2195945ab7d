"""Handles that take hooks out again."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["RemovableHandle", "add_hook"]


class RemovableHandle:
    """Takes a hook out again, by `remove()` or at the end of a `with` block.

    Args:
        hooks: the table that holds the hook.
        key: its key there; a new number (`id`) by default.
        extra: further tables that may hold something under the same key.

    >>> import firesteel as fs
    >>> layer = fs.nn.ReLU()
    >>> handle = layer.register_forward_hook(lambda module, args, output: output + 1)
    >>> layer(fs.zeros(1))
    tensor([1.])
    >>> handle.remove()
    >>> layer(fs.zeros(1))
    tensor([0.])
    """

    next_id = 0

    def __init__(self, hooks: dict[Any, Any], key: Any = None, *, extra: tuple[dict[Any, Any], ...] = ()) -> None:
        self.hooks, self.extra = hooks, extra
        self.id = RemovableHandle.fresh() if key is None else key

    @staticmethod
    def fresh() -> int:
        """A number that no other hook has."""
        RemovableHandle.next_id += 1
        return RemovableHandle.next_id - 1

    def remove(self) -> None:
        """Takes the hook out; a second call does nothing."""
        self.hooks.pop(self.id, None)
        for table in self.extra:
            table.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


def add_hook(table: Any, hook: Any, *extra: dict[Any, Any], prepend: bool = False) -> RemovableHandle:
    """Puts a hook into an ordered table, at its end or before those already there.

    Args:
        table: id → hook.
        hook: the function.
        extra: further tables that may hold something under the hook's id.
        prepend: put it first; the table is an `OrderedDict` then.
    """
    handle = RemovableHandle(table, extra=extra)
    table[handle.id] = hook
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle
