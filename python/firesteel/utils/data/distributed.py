"""The sampler that gives each process of a distributed run its own part of a dataset."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import firesteel as fs

from .sampler import Sampler

__all__ = ["DistributedSampler"]


class DistributedSampler(Sampler[int]):
    """Every `num_replicas`-th sample, shuffled alike in all processes.

    Call `set_epoch` before each epoch, else all epochs have the same order.

    Args:
        dataset: something with a length.
        num_replicas: how many processes there are.
        rank: the number of this one.
        shuffle: whether to shuffle.
        seed: equal in all processes.
        drop_last: leave out samples at the end so that the parts are equal, instead of repeating some.

    Raises:
        RuntimeError: when `num_replicas` or `rank` is not given: there is no process group yet to ask.
        ValueError: when `rank` is out of range.

    >>> import firesteel as fs
    >>> [list(fs.utils.data.DistributedSampler(range(5), 2, rank, shuffle=False)) for rank in (0, 1)]
    [[0, 2, 4], [1, 3, 0]]
    """

    def __init__(
        self,
        dataset: Any,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None or rank is None:
            raise RuntimeError("Requires distributed package to be available; give num_replicas and rank")
        if rank >= num_replicas or rank < 0:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]")
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        length = len(dataset)
        self.num_samples = length // num_replicas if drop_last else math.ceil(length / num_replicas)
        self.total_size = self.num_samples * num_replicas
        self.shuffle = shuffle
        self.seed = seed

    def __iter__(self) -> Iterator[int]:
        length = len(self.dataset)
        if self.shuffle:
            generator = fs.Generator()
            generator.manual_seed(self.seed + self.epoch)
            order = fs.randperm(length, generator=generator).tolist()
        else:
            order = list(range(length))
        return iter([order[i % length] for i in range(self.rank, self.total_size, self.num_replicas)])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Chooses another order for each epoch."""
        self.epoch = epoch
