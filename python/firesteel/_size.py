"""The class of shapes."""

from __future__ import annotations

from . import _C


class Size(tuple):
    """A shape: a tuple of ints.

    >>> import firesteel as fs
    >>> fs.zeros(2, 3).shape
    torch.Size([2, 3])
    """

    __slots__ = ()
    __module__ = "firesteel"

    def numel(self) -> int:
        """The number of elements of a tensor of this shape."""
        n = 1
        for size in self:
            n *= size
        return n

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"

    __str__ = __repr__

    def __add__(self, other):
        return Size(tuple.__add__(self, other)) if isinstance(other, tuple) else NotImplemented

    def __radd__(self, other):
        return Size(tuple.__add__(other, self)) if isinstance(other, tuple) else NotImplemented

    def __mul__(self, n):
        return Size(tuple.__mul__(self, n))

    __rmul__ = __mul__

    def __getitem__(self, key):
        found = tuple.__getitem__(self, key)
        return Size(found) if isinstance(key, slice) else found

    def __reduce__(self):
        return (Size, (tuple(self),))


_C._set_size_class(Size)
