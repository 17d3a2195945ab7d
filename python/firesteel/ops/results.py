"""Named tuples for functions of this package that return several tensors (`torch.return_types`)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TYPES: dict[str, Any] = {}


def _repr(self: Any) -> str:
    inner = ",\n".join(f"{n}={v!r}" for n, v in zip(self._fields, self, strict=True))
    return f"torch.return_types.{type(self).__name__}(\n{inner})"


def shown(self: Any) -> str:
    """`__repr__` of the results of ops: a line for each field."""
    kind = type(self)
    inner = ",\n".join(f"{n}={v!r}" for n, v in zip(kind.__match_args__, self, strict=True))
    return f"torch.return_types.{kind.__name__}(\n{inner})"


def named(name: str, **fields: Any) -> Any:
    """A named tuple of the fields, of one class for each function."""
    made = _TYPES.get(name)
    if made is None:
        import collections

        make: Any = collections.namedtuple
        made = _TYPES[name] = make(name, fields)
        made.__repr__ = _repr
        made.__module__ = "firesteel.return_types"
    return made(*fields.values())
