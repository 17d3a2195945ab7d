"""The loader: samples in the order of a sampler, made into batches, here or by workers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from .collate import default_collate, default_convert
from .dataset import IterableDataset
from .fetch import fetcher
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, random_seed

__all__ = ["DataLoader"]

T_co = TypeVar("T_co", covariant=True)


class _Endless(Sampler[None]):
    """What stands for a sampler where the dataset itself decides the order."""

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


class DataLoader(Generic[T_co]):
    """Gives the batches of a dataset.

    Args:
        dataset: a dataset read by number or an `IterableDataset`.
        batch_size: samples in a batch; None for single samples.
        shuffle: a new random order in each pass.
        sampler: the order of the samples, instead of `shuffle`.
        batch_sampler: gives lists of numbers, instead of `batch_size`, `shuffle`, `sampler` and `drop_last`.
        num_workers: processes that read ahead; 0 reads here. Forked on Linux.
        collate_fn: makes a batch of a list of samples; `default_collate` where not given.
        pin_memory, pin_memory_device: accepted for PyTorch's sake; there is no pinned memory yet.
        drop_last: leave out a last batch that is smaller.
        timeout: seconds to wait for a worker's batch; 0 waits for ever.
        worker_init_fn: called in each worker with its number, after seeding.
        multiprocessing_context: how processes are started: a name or a context.
        generator: random numbers for the order and the workers' seeds.
        prefetch_factor: batches that each worker reads ahead; 2 where not given.
        persistent_workers: keep the workers from one pass to the next.
        in_order: give batches in the sampler's order, not as they become ready.
        worker_threads: threads that read ahead, instead of processes (firesteel's own): nothing is copied, but they
            share Python's lock and the global random numbers.

    Raises:
        ValueError: for options out of their range or that exclude each other.

    >>> import firesteel as fs
    >>> loader = fs.utils.data.DataLoader(["a", "b", "c"], batch_size=2)
    >>> len(loader), list(loader)
    (2, [['a', 'b'], ['c']])
    """

    _initialized = False

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Any = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Any = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        worker_threads: int = 0,
    ) -> None:
        if num_workers < 0:
            raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
        if worker_threads < 0 or (worker_threads and num_workers):
            raise ValueError("worker_threads option should be non-negative and excludes num_workers")
        if timeout < 0:
            raise ValueError("timeout option should be non-negative")
        workers = num_workers or worker_threads
        if workers == 0 and prefetch_factor is not None:
            raise ValueError(
                "prefetch_factor option could only be specified in multiprocessing."
                "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
            )
        if prefetch_factor is not None and prefetch_factor < 0:
            raise ValueError("prefetch_factor option should be non-negative")
        if persistent_workers and workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")
        self.dataset = dataset
        self.num_workers = num_workers
        self.worker_threads = worker_threads
        self.prefetch_factor = 2 if workers and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        self._iterable = isinstance(dataset, IterableDataset)
        if self._iterable:
            if shuffle not in {False, None}:
                raise ValueError(
                    f"DataLoader with IterableDataset: expected unspecified shuffle option, but got shuffle={shuffle}"
                )
            for name, given in (("sampler", sampler), ("batch_sampler", batch_sampler)):
                if given is not None:
                    raise ValueError(
                        f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={given}"
                    )
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        if sampler is None:
            if self._iterable:
                sampler = _Endless()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            else:
                sampler = SequentialSampler(dataset)
        if batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        if collate_fn is None:
            collate_fn = default_convert if batch_sampler is None else default_collate
        self.collate_fn = collate_fn
        self.persistent_workers = persistent_workers
        self._length_said: int | None = None
        self._iterator: Any = None
        self._initialized = True
        self.check_worker_number_rationality()

    @property
    def multiprocessing_context(self) -> Any:
        """The context in which worker processes are started, or None for the default."""
        return self._context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context: Any) -> None:
        if context is not None:
            if self.num_workers == 0:
                raise ValueError(
                    "multiprocessing_context can only be used with multi-process loading (num_workers > 0), but got "
                    f"num_workers={self.num_workers}"
                )
            import multiprocessing
            from multiprocessing.context import BaseContext

            if isinstance(context, str):
                methods = multiprocessing.get_all_start_methods()
                if context not in methods:
                    raise ValueError(
                        "multiprocessing_context option should specify a valid start method in "
                        f"{methods!r}, but got multiprocessing_context={context!r}"
                    )
                context = multiprocessing.get_context(context)
            if not isinstance(context, BaseContext):
                raise TypeError(
                    "multiprocessing_context option should be a valid context object or a string specifying the "
                    f"start method, but got multiprocessing_context={context}"
                )
        self._context = context

    def __setattr__(self, name: str, value: Any) -> None:
        if self._initialized and name in (
            "batch_size",
            "batch_sampler",
            "sampler",
            "drop_last",
            "dataset",
            "persistent_workers",
        ):
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    def __iter__(self) -> Iterator[T_co]:
        if self.num_workers == 0 and self.worker_threads == 0:
            return _HereIterator(self)
        if not self.persistent_workers:
            return _WorkerIterator(self)
        if self._iterator is None or self._iterator.broken:
            self._iterator = _WorkerIterator(self)
        else:
            self._iterator.begin(self)
        return self._iterator

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self) -> Any:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def __len__(self) -> int:
        if not self._iterable:
            return len(self._index_sampler)
        length = self._length_said = len(self.dataset)
        if self.batch_size is None:
            return length
        whole, rest = divmod(length, self.batch_size)
        return whole if self.drop_last or not rest else whole + 1

    def check_worker_number_rationality(self) -> None:
        """Warns when there are more worker processes than processors."""
        try:
            processors = len(os.sched_getaffinity(0))
        except AttributeError:
            processors = os.cpu_count() or 1
        if self.num_workers > processors:
            warnings.warn(
                f"This DataLoader will create {self.num_workers} worker processes in total. Our suggested max number "
                f"of worker in current system is {processors}, which is smaller than what this DataLoader is going to "
                "create. Please be aware that excessive worker creation might get DataLoader running slow or even "
                "freeze, lower the worker number to avoid potential slowness/freeze if necessary.",
                stacklevel=3,
            )


class _Pass:
    """One pass over a loader's batches."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.loader = loader
        # Drawn in every kind of pass, so that the numbers after it do not depend on the workers.
        self.base_seed = random_seed(loader.generator)
        self.indices = iter(loader._index_sampler)
        self.given = 0
        if loader.pin_memory:
            warnings.warn(
                "'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't be "
                "used.",
                stacklevel=4,
            )

    def __iter__(self) -> Any:
        return self

    def __len__(self) -> int:
        return len(self.loader._index_sampler)

    def __next__(self) -> Any:
        batch = self.next_batch()
        self.given += 1
        said = self.loader._length_said
        if self.loader._iterable and said is not None and self.given > said:
            text = (
                f"Length of IterableDataset {self.loader.dataset} was reported to be {said} (when accessing "
                f"len(dataloader)), but {self.given} samples have been fetched. "
            )
            if self.loader.num_workers:
                text += (
                    "For multiprocessing data-loading, this could be caused by not properly configuring the "
                    "IterableDataset replica at each worker."
                )
            warnings.warn(text, stacklevel=2)
        return batch

    def next_batch(self) -> Any:
        raise NotImplementedError

    def __reduce__(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} cannot be pickled")


class _HereIterator(_Pass):
    """Reads each batch when it is asked for."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        super().__init__(loader)
        self.fetch = fetcher(
            loader._iterable, loader.dataset, loader._auto_collation, loader.collate_fn, loader.drop_last
        )

    def next_batch(self) -> Any:
        return self.fetch(next(self.indices))


class _WorkerIterator(_Pass):
    """Has workers read ahead.

    Batches are numbered in the sampler's order and dealt to the workers in turn, so which worker reads which batch
    does not depend on timing.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        super().__init__(loader)
        from .pool import ProcessPool, ThreadPool
        from .worker import Job

        # Whether the workers were stopped, and whether an error did it.
        self.closed = self.broken = False
        self.epoch = -1
        self.workers = loader.num_workers or loader.worker_threads
        self.timeout = loader.timeout or None
        jobs = [Job(loader, i, self.workers, self.base_seed) for i in range(self.workers)]
        self.pool: Any = ProcessPool(jobs, loader.multiprocessing_context) if loader.num_workers else ThreadPool(jobs)
        self.begin(loader)

    def begin(self, loader: DataLoader[Any]) -> None:
        """Starts the next pass with the same workers; answers to tasks of the one before are dropped."""
        self.epoch += 1
        if self.epoch:
            self.indices = iter(loader._index_sampler)
        self.given = 0
        self.sent: dict[int, int] = {}
        self.ready: dict[int, Any] = {}
        self.turn = self.next_number = self.next_worker = 0
        self.active = [True] * self.workers
        self.drained = False
        self.ahead = max(1, loader.prefetch_factor or 0) * self.workers
        self._deal()

    def _deal(self) -> None:
        """Sends out tasks until enough batches are on their way or waiting."""
        while not self.drained and any(self.active) and len(self.sent) + len(self.ready) < self.ahead:
            try:
                index = next(self.indices)
            except StopIteration:
                self.drained = True
                return
            while not self.active[self.next_worker]:
                self.next_worker = (self.next_worker + 1) % self.workers
            worker = self.next_worker
            self.next_worker = (worker + 1) % self.workers
            self.pool.send(worker, (self.epoch, self.next_number, index))
            self.sent[self.next_number] = worker
            self.next_number += 1

    def next_batch(self) -> Any:
        if self.broken:
            raise RuntimeError("this pass over the DataLoader was ended by an error; begin a new one")
        if self.closed:
            raise StopIteration
        try:
            while True:
                number = self._available()
                if number is not None:
                    batch = self.ready.pop(number)
                    self._deal()
                    return batch
                if not self.sent:
                    break
                self._receive()
        except _FromWorker as carried:
            error = carried.error
        except BaseException:
            self.broken = True
            self.close(at_once=True)
            raise
        else:
            if not self.loader.persistent_workers:
                self.close()
            raise StopIteration
        try:
            raise error
        finally:
            del error

    def _available(self) -> int | None:
        """The number of the batch that may be given now."""
        if not self.loader.in_order:
            return next(iter(self.ready), None)
        # Numbers that are neither on their way nor here failed, or belong to a worker whose data ended.
        while self.turn < self.next_number and self.turn not in self.sent and self.turn not in self.ready:
            self.turn += 1
        return self.turn if self.turn in self.ready else None

    def _receive(self) -> None:
        answer = self.pool.receive(self.timeout)
        if answer is None:
            raise RuntimeError(f"DataLoader timed out after {self.timeout} seconds")
        epoch, number, kind, value = answer
        if epoch != self.epoch or number not in self.sent:
            return
        worker = self.sent.pop(number)
        if kind == "data":
            self.ready[number] = value
            return
        if kind == "end":
            self.active[worker] = False
            self.sent = {n: w for n, w in self.sent.items() if w != worker}
        self._deal()
        if kind == "error":
            raise _FromWorker(value)

    def close(self, at_once: bool = False) -> None:
        """Ends the workers."""
        if not self.closed:
            self.closed = True
            self.pool.stop(at_once)

    def __del__(self) -> None:
        if hasattr(self, "pool"):
            self.close()


class _FromWorker(Exception):
    """Carries a worker's exception past the handlers meant for this process's own."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
