"""Samplers: in which order the samples of a dataset are read."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import accumulate, islice
from typing import Any, Generic, TypeVar

import firesteel as fs

__all__ = [
    "BatchSampler",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "SubsetRandomSampler",
    "WeightedRandomSampler",
]

T_co = TypeVar("T_co", covariant=True)


def random_seed(generator: Any = None) -> int:
    """A seed drawn from `generator`, or from the global random numbers."""
    return int(fs.randint(0, 2**63 - 1, (1,), generator=generator).item())


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


class Sampler(Generic[T_co]):
    """Base class of samplers: a subclass defines `__iter__`, and `__len__` where it can."""

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError


class SequentialSampler(Sampler[int]):
    """All samples in order.

    Args:
        data_source: something with a length.
    """

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """Samples in random order, with or without replacement.

    Args:
        data_source: something with a length.
        replacement: whether a sample may come twice before all have come once.
        num_samples: how many; by default as many as there are.
        generator: random numbers; by default seeded from the global ones at each pass.

    Raises:
        TypeError: when `replacement` is no bool.
        ValueError: when `num_samples` is no positive integer.

    >>> import firesteel as fs
    >>> sampler = fs.utils.data.RandomSampler(range(5), generator=fs.Generator().manual_seed(1))
    >>> sorted(sampler)
    [0, 1, 2, 3, 4]
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Any = None,
    ) -> None:
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            raise TypeError(f"replacement should be a boolean value, but got replacement={replacement}")
        if not isinstance(self.num_samples, int) or self.num_samples <= 0:
            raise ValueError(f"num_samples should be a positive integer value, but got num_samples={self.num_samples}")

    @property
    def num_samples(self) -> int:
        """How many samples one pass gives."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n = len(self.data_source)
        generator = self.generator
        if generator is None:
            generator = fs.Generator()
            generator.manual_seed(random_seed())
        left = self.num_samples
        while left > 0:
            if self.replacement:
                part = fs.randint(0, n, (min(left, 4096),), generator=generator).tolist()
            else:
                part = fs.randperm(n, generator=generator).tolist()[:left]
            yield from part
            left -= len(part)

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given samples in random order.

    Args:
        indices: their numbers.
        generator: random numbers; by default the global ones.
    """

    def __init__(self, indices: Sequence[int], generator: Any = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for i in fs.randperm(len(self.indices), generator=self.generator).tolist():
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Samples drawn with given weights.

    Args:
        weights: one for each sample; they need not sum to 1.
        num_samples: how many to draw.
        replacement: whether a sample may be drawn twice.
        generator: random numbers; by default the global ones.

    Raises:
        ValueError: when `num_samples` is no positive integer, weights are negative, not finite or all zero, or there
            are fewer samples of a weight above zero than must be drawn without replacement.

    >>> import firesteel as fs
    >>> list(fs.utils.data.WeightedRandomSampler([0.0, 1.0, 0.0], 4))
    [1, 1, 1, 1]
    """

    def __init__(
        self, weights: Sequence[float], num_samples: int, replacement: bool = True, generator: Any = None
    ) -> None:
        if not _is_count(num_samples):
            raise ValueError(f"num_samples should be a positive integer value, but got num_samples={num_samples}")
        if not isinstance(replacement, bool):
            raise ValueError(f"replacement should be a boolean value, but got replacement={replacement}")
        self.weights = fs.as_tensor(weights, dtype=fs.float64)
        if len(self.weights.shape) != 1:
            raise ValueError(
                f"weights should be a 1d sequence but given weights have shape {tuple(self.weights.shape)}"
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        weights = self.weights.tolist()
        if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
            raise ValueError("weights must be finite, not negative and not all zero")
        if self.replacement:
            return self._with_replacement(weights)
        return self._without_replacement(weights)

    def _uniform(self, n: int) -> list[float]:
        return fs.rand(n, dtype=fs.float64, generator=self.generator).tolist()

    def _with_replacement(self, weights: list[float]) -> Iterator[int]:
        ends = list(accumulate(weights))
        last = max(i for i, weight in enumerate(weights) if weight)
        for u in self._uniform(self.num_samples):
            yield min(bisect_right(ends, u * ends[-1]), last)

    def _without_replacement(self, weights: list[float]) -> Iterator[int]:
        """Orders by exponential arrival times, whose rates are the weights (Efraimidis and Spirakis, 2006)."""
        if self.num_samples > sum(1 for weight in weights if weight):
            raise ValueError(f"cannot draw {self.num_samples} samples without replacement: too few weights above zero")
        draws = zip(self._uniform(len(weights)), weights, strict=True)
        arrivals = [-math.log1p(-u) / weight if weight else math.inf for u, weight in draws]
        yield from sorted(range(len(weights)), key=arrivals.__getitem__)[: self.num_samples]

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of numbers taken from another sampler.

    Args:
        sampler: anything that gives numbers.
        batch_size: how many make a batch.
        drop_last: leave out a last batch that is smaller.

    Raises:
        ValueError: when `batch_size` is no positive integer or `drop_last` no bool.

    >>> import firesteel as fs
    >>> list(fs.utils.data.BatchSampler(range(5), batch_size=2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        if not _is_count(batch_size):
            raise ValueError(f"batch_size should be a positive integer value, but got batch_size={batch_size}")
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler: Any = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        numbers = iter(self.sampler)
        while batch := list(islice(numbers, self.batch_size)):
            if len(batch) < self.batch_size and self.drop_last:
                return
            yield batch

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self.batch_size)
        return whole if self.drop_last or not rest else whole + 1
