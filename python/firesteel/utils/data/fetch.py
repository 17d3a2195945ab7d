"""Reading the samples of one batch, in whichever process or thread."""

from __future__ import annotations

from typing import Any

from .collate import default_collate
from .dataset import rows

__all__ = ["IterableFetcher", "MapFetcher", "fetcher"]


def fetcher(iterable: bool, dataset: Any, batched: bool, collate_fn: Any, drop_last: bool) -> Any:
    """A function of what the sampler gave that returns a batch; it raises StopIteration at the end of the data."""
    kind = IterableFetcher if iterable else MapFetcher
    return kind(dataset, batched, collate_fn, drop_last)


class MapFetcher:
    """Reads samples by number.

    Args:
        dataset: the dataset.
        batched: whether the sampler gives lists of numbers.
        collate_fn: makes a batch of a list of samples, or converts one sample.
        drop_last: unused; the sampler has dropped what must be dropped.
    """

    def __init__(self, dataset: Any, batched: bool, collate_fn: Any, drop_last: bool) -> None:
        self.dataset = dataset
        self.batched = batched
        self.collate_fn = collate_fn
        self.by_rows = collate_fn is default_collate

    def __call__(self, index: Any) -> Any:
        if not self.batched:
            return self.collate_fn(self.dataset[index])
        if self.by_rows:
            batch = rows(self.dataset, index)
            if batch is not None:
                return batch
        at_once = getattr(self.dataset, "__getitems__", None)
        samples = at_once(index) if callable(at_once) else [self.dataset[i] for i in index]
        return self.collate_fn(samples)


class IterableFetcher:
    """Reads samples in order; of what the sampler gives, only the number of entries counts.

    Args:
        dataset: the dataset.
        batched: whether to make batches.
        collate_fn: makes a batch of a list of samples, or converts one sample.
        drop_last: leave out a last batch that is smaller.
    """

    def __init__(self, dataset: Any, batched: bool, collate_fn: Any, drop_last: bool) -> None:
        self.samples = iter(dataset)
        self.batched = batched
        self.collate_fn = collate_fn
        self.drop_last = drop_last
        self.ended = False

    def __call__(self, index: Any) -> Any:
        if not self.batched:
            return self.collate_fn(next(self.samples))
        batch: list[Any] = []
        while not self.ended and len(batch) < len(index):
            try:
                batch.append(next(self.samples))
            except StopIteration:
                self.ended = True
        if not batch or (self.drop_last and len(batch) < len(index)):
            raise StopIteration
        return self.collate_fn(batch)
