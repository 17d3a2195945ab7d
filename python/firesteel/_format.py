"""How tensors are shown: PyTorch's `repr`, character for character.

>>> import firesteel as fs
>>> fs.tensor([1.0, 2.5])
tensor([1.0000, 2.5000])
"""

from __future__ import annotations

from math import ceil, inf, isfinite

from . import _C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Options:
    precision = 4
    threshold = 1000.0
    edgeitems = 3
    linewidth = 80
    sci_mode: bool | None = None


_PROFILES = {
    "default": (4, 1000.0, 3, 80),
    "short": (2, 1000.0, 2, 80),
    "full": (4, inf, 3, 80),
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Sets how tensors are shown.

    Args:
        precision: digits after the point.
        threshold: number of elements above which only the edges are shown.
        edgeitems: how many elements at each edge.
        linewidth: characters in a line.
        profile: 'default', 'short' or 'full', to start from.
        sci_mode: True or False for scientific notation always or never; None decides by the values.
    """
    if profile is not None:
        _Options.precision, _Options.threshold, _Options.edgeitems, _Options.linewidth = _PROFILES[profile]
    if precision is not None:
        _Options.precision = precision
    if threshold is not None:
        _Options.threshold = threshold
    if edgeitems is not None:
        _Options.edgeitems = edgeitems
    if linewidth is not None:
        _Options.linewidth = linewidth
    _Options.sci_mode = sci_mode


class printoptions:
    """`set_printoptions` for the time of a `with` block."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def __enter__(self) -> None:
        self.before = {
            name: getattr(_Options, name) for name in ("precision", "threshold", "edgeitems", "linewidth", "sci_mode")
        }
        set_printoptions(**self.options)

    def __exit__(self, *_: object) -> None:
        for name, value in self.before.items():
            setattr(_Options, name, value)


def _shown(x: Any) -> Any:
    """The part of a large tensor that is shown, as one tensor: what decides the width of the numbers."""
    edge = _Options.edgeitems
    for d in range(x.dim()):
        n = x.shape[d]
        if n > 2 * edge:
            x = _C.cat([x.narrow(d, 0, edge), x.narrow(d, n - edge, edge)], d) if edge else x.narrow(d, 0, 0)
    return x


def _flat(values: Any) -> list[Any]:
    while values and isinstance(values[0], list):
        values = [v for inner in values for v in inner]
    return values


def _formatter(values: list[Any], is_float: bool) -> tuple[Any, int]:
    """A function number → text, and the width that it pads to."""
    if not is_float:
        width = max((len(str(v)) for v in values), default=1)
        return lambda v: str(v).rjust(width), width
    sizes = [v for v in values if isfinite(v) and v != 0]
    integral = all(v == ceil(v) for v in sizes)
    scientific: bool | None = False
    width = 1
    if sizes:
        largest, smallest = max(map(abs, sizes)), min(map(abs, sizes))
        scientific = _Options.sci_mode
        if scientific is None:
            scientific = largest / smallest > 1000.0 or largest > 1.0e8 or smallest < 1.0e-4
        if scientific:
            width = max(len(f"{v:.{_Options.precision}e}") for v in sizes)
        elif integral:
            width = max(len(f"{v:.0f}") for v in sizes) + 1
        else:
            width = max(len(f"{v:.{_Options.precision}f}") for v in sizes)
    if scientific:
        return lambda v: f"{v:{width}.{_Options.precision}e}", width
    if integral:
        return lambda v: (f"{v:.0f}." if isfinite(v) else f"{v:.0f}").rjust(width), width
    return lambda v: f"{v:.{_Options.precision}f}".rjust(width), width


def _vector(x: Any, indent: int, summarize: bool, text: Any, width: int) -> str:
    edge, n = _Options.edgeitems, x.shape[0]
    if summarize and n > 2 * edge:
        head = [text(v) for v in x[:edge].tolist()]
        tail = [text(v) for v in x[n - edge :].tolist()]
        items = [*head, " ...", *tail] if edge else ["..."]
    else:
        items = [text(v) for v in x.tolist()]
    per_line = max(1, (_Options.linewidth - indent) // (width + 2))
    lines = [", ".join(items[i : i + per_line]) for i in range(0, len(items), per_line)] or [""]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _body(x: Any, indent: int, summarize: bool, text: Any, width: int) -> str:
    rank = x.dim()
    if rank == 0:
        return text(x.item())
    if rank == 1:
        return _vector(x, indent, summarize, text, width)
    edge, n = _Options.edgeitems, x.shape[0]
    if summarize and n > 2 * edge:
        parts = [_body(x[i], indent + 1, summarize, text, width) for i in range(edge)]
        parts.append("...")
        parts += [_body(x[i], indent + 1, summarize, text, width) for i in range(n - edge, n)]
    else:
        parts = [_body(x[i], indent + 1, summarize, text, width) for i in range(n)]
    return "[" + ("," + "\n" * (rank - 1) + " " * (indent + 1)).join(parts) + "]"


def tensor_text(x: Any, indent: int) -> str:
    """The values in brackets, lines after the first indented."""
    if x.numel() == 0:
        return "[]"
    summarize = x.numel() > _Options.threshold
    is_float = x.dtype.is_floating_point
    values = (_shown(x) if summarize else x).tolist()
    text, width = _formatter(_flat(values) if isinstance(values, list) else [values], is_float)
    return _body(x, indent, summarize, text, width)


def tensor_repr(self: Any) -> str:
    """`repr` of a tensor."""
    kind = type(self)
    plain = kind is _C.Tensor or kind.__name__ == "Parameter"
    prefix = "tensor(" if plain else f"{kind.__name__}("
    indent = len(prefix)
    notes: list[str] = []
    device = self.device.type
    dtype = self.dtype
    default = _C.get_default_dtype()
    if device != "cpu":
        notes.append(f"device='{device}'")
    x = self.detach()
    if device == "gpu":
        x = x.cpu()
    if device == "meta":
        notes.append(f"size={tuple(self.shape)}")
        if dtype is not default:
            notes.append(f"dtype={dtype!r}")
        body = "..."
    elif self.numel() == 0:
        if self.dim() != 1:
            notes.append(f"size={tuple(self.shape)}")
        if dtype is not default:
            notes.append(f"dtype={dtype!r}")
        body = "[]"
    else:
        if not _Options.edgeitems:
            notes.append(f"size={tuple(self.shape)}")
        if dtype not in (default, _C.int64, _C.bool):
            notes.append(f"dtype={dtype!r}")
        body = tensor_text(x, indent)
    if self.requires_grad:
        node = self.grad_fn
        notes.append("requires_grad=True" if node is None else f"grad_fn=<{node.name()}>")
    text = prefix + body
    used = len(text) - text.rfind("\n") + 1
    for note in notes:
        if used + len(note) + 2 > _Options.linewidth:
            text += ",\n" + " " * indent + note
            used = indent + len(note)
        else:
            text += ", " + note
            used += len(note) + 2
    return text + ")"
