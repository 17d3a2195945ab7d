"""How a list of samples becomes a batch."""

from __future__ import annotations

import copy
from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import firesteel as fs
from firesteel import _C

__all__ = ["default_collate", "default_convert"]

Tensor = _C.Tensor

UNKNOWN = "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"


def _numpy_kind(value: Any) -> str:
    """ "array" or "scalar" for NumPy's, else "". Looks at the type's name: NumPy is imported only when used."""
    kind = type(value)
    if kind.__module__ != "numpy" or kind.__name__ in ("str_", "bytes_", "string_"):
        return ""
    if kind.__name__ in ("ndarray", "memmap"):
        return "array"
    return "scalar" if hasattr(value, "dtype") else ""


def _holds_no_numbers(array: Any) -> bool:
    return array.dtype.kind in "SUOV"


def default_collate(batch: Sequence[Any]) -> Any:
    """Makes a batch of samples: tensors are stacked, numbers become a tensor, containers are collated inside.

    Args:
        batch: samples of one kind: tensors or NumPy arrays of equal shape, numbers, strings (returned as they are),
            or mappings, named tuples and sequences of such.

    Returns:
        tensors with one more dimension in front, in containers like those of the samples; a tuple becomes a list.

    Raises:
        TypeError: for samples of another kind.
        RuntimeError: for sequences of different lengths.

    >>> import firesteel as fs
    >>> fs.utils.data.default_collate([{"x": fs.zeros(2), "y": 1}, {"x": fs.ones(2), "y": 2}])
    {'x': tensor([[0., 0.],
            [1., 1.]]), 'y': tensor([1, 2])}
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return fs.stack(list(batch), 0)
    kind = _numpy_kind(first)
    if kind == "array":
        if _holds_no_numbers(first):
            raise TypeError(UNKNOWN.format(first.dtype))
        return fs.stack([fs.as_tensor(array) for array in batch], 0)
    if kind == "scalar":
        import numpy

        return fs.as_tensor(numpy.asarray(batch))
    if isinstance(first, float):
        return fs.tensor(batch, dtype=fs.float64)
    if isinstance(first, int):
        return fs.tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return _like_mapping(first, {key: default_collate([sample[key] for sample in batch]) for key in first})
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(default_collate(column) for column in zip(*batch, strict=False)))
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        columns = [default_collate(column) for column in zip(*batch, strict=True)]
        return columns if isinstance(first, tuple) else _like_sequence(first, columns)
    raise TypeError(UNKNOWN.format(type(first)))


def default_convert(data: Any) -> Any:
    """Turns NumPy arrays and numbers within `data` into tensors and leaves the rest; used where nothing is batched.

    Args:
        data: anything; containers are converted inside.

    Returns:
        the same, with tensors for arrays; a tuple becomes a list.

    >>> import firesteel as fs
    >>> fs.utils.data.default_convert([0, (1.5, "a")])
    [0, [1.5, 'a']]
    """
    if isinstance(data, Tensor):
        return data
    kind = _numpy_kind(data)
    if kind:
        return data if _holds_no_numbers(data) else fs.as_tensor(data)
    if isinstance(data, Mapping):
        return _like_mapping(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, tuple):
        parts = [default_convert(part) for part in data]
        return type(data)(*parts) if hasattr(data, "_fields") else parts
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _like_sequence(data, [default_convert(part) for part in data])
    return data


def _like_mapping(original: Any, values: dict[Any, Any]) -> Any:
    """A mapping of the original's type with these values, a plain dict where that type cannot be made so."""
    try:
        if isinstance(original, MutableMapping):
            # A copy keeps what else the mapping carries, such as the factory of a defaultdict.
            clone = copy.copy(original)
            clone.update(values)
            return clone
        return type(original)(values)
    except TypeError:
        return values


def _like_sequence(original: Any, values: list[Any]) -> Any:
    try:
        if isinstance(original, MutableSequence):
            clone = copy.copy(original)
            for i, value in enumerate(values):
                clone[i] = value
            return clone
        return type(original)(values)
    except TypeError:
        return values
