"""What a worker of a `DataLoader` does, in a process of its own or in a thread."""

from __future__ import annotations

import sys
import threading
import traceback
from typing import Any

import firesteel as fs

from .fetch import fetcher

__all__ = ["Job", "WorkerInfo", "get_worker_info", "run_process", "run_thread"]

_here = threading.local()


class WorkerInfo:
    """What `get_worker_info` says.

    Args:
        id: the worker's number, from 0.
        num_workers: how many there are.
        seed: the seed of this worker's random numbers.
        dataset: the worker's copy of the dataset; with threads, the dataset itself.
    """

    __slots__ = ("dataset", "id", "num_workers", "seed")

    def __init__(self, id: int, num_workers: int, seed: int, dataset: Any) -> None:
        self.id = id
        self.num_workers = num_workers
        self.seed = seed
        self.dataset = dataset

    def __repr__(self) -> str:
        return f"WorkerInfo(id={self.id}, num_workers={self.num_workers}, seed={self.seed})"


def get_worker_info() -> WorkerInfo | None:
    """Who this worker is, or None outside of workers.

    >>> import firesteel as fs
    >>> fs.utils.data.get_worker_info() is None
    True
    """
    return getattr(_here, "info", None)


class Job:
    """All that a worker needs to know.

    Args:
        loader: the `DataLoader`.
        number: the worker's number.
        count: how many workers there are.
        base_seed: equal for all workers of the loader.
    """

    def __init__(self, loader: Any, number: int, count: int, base_seed: int) -> None:
        self.number = number
        self.count = count
        self.seed = base_seed + number
        self.init_fn = loader.worker_init_fn
        self.dataset = loader.dataset
        self._source = (loader._iterable, loader.dataset, loader._auto_collation, loader.collate_fn, loader.drop_last)

    def enter(self) -> None:
        """Makes `get_worker_info` answer here."""
        _here.info = WorkerInfo(self.number, self.count, self.seed, self.dataset)

    def fetcher(self) -> Any:
        """A new pass over the dataset."""
        return fetcher(*self._source)


class Passes:
    """Answers tasks `(epoch, number, index)`; a new epoch begins a new pass over the dataset.

    Args:
        job: the worker's job.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.epoch = -1
        self.fetch: Any = None
        self.failure: BaseException | None = None
        job.enter()
        try:
            if job.init_fn is not None:
                job.init_fn(job.number)
        except Exception as error:
            self.failure = error

    def answer(self, epoch: int, index: Any) -> tuple[str, Any]:
        """("data", batch), ("error", exception) or ("end", None)."""
        if self.failure is not None:
            return "error", self.failure
        try:
            if epoch != self.epoch:
                self.epoch, self.fetch = epoch, self.job.fetcher()
            return "data", self.fetch(index)
        except StopIteration as stop:
            if self.job._source[0]:
                return "end", None
            return "error", RuntimeError(f"dataset raised StopIteration: {stop}")
        except Exception as error:
            return "error", error


class CarriedError:
    """An exception on its way to another process: its class and the text of its traceback.

    Args:
        error: the exception.
        where: in which worker it was raised.
    """

    def __init__(self, error: BaseException, where: str) -> None:
        import pickle

        self.kind: type[BaseException] = type(error)
        self.name = self.kind.__name__
        self.where = where
        self.text = "".join(traceback.format_exception(error))
        try:
            pickle.loads(pickle.dumps(self.kind))
        except Exception:
            # A class made inside a function cannot travel; its name and message do, in the text.
            self.kind = RuntimeError

    def exception(self) -> BaseException:
        """An exception of that class whose message is the whole original traceback."""
        message = f"Caught {self.name} {self.where}.\nOriginal {self.text}"
        if issubclass(self.kind, KeyError):
            return self.kind(_Verbatim(message))
        if issubclass(self.kind, StopIteration):
            return RuntimeError(message)
        try:
            return self.kind(message)
        except Exception:
            return RuntimeError(message)


class _Verbatim(str):
    """A KeyError shows its key's repr, in which a traceback would be one long line."""

    def __repr__(self) -> str:
        return str(self)


def _seed(seed: int) -> None:
    """Seeds the random numbers of this process, NumPy's too where it is loaded."""
    import random

    random.seed(seed)
    fs.manual_seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed([seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF])


def run_thread(job: Job, tasks: Any, results: Any) -> None:
    """A worker in a thread: answers tasks until it reads None."""
    passes = Passes(job)
    while (task := tasks.get()) is not None:
        epoch, number, index = task
        kind, value = passes.answer(epoch, index)
        if kind == "error" and not getattr(value, "__notes__", None):
            value.add_note(f"in DataLoader worker thread {job.number}")
        results.put((epoch, number, kind, value))


def run_process(job: Job, tasks: Any, results: Any, inherited: list[Any]) -> None:
    """A worker in a process of its own: answers tasks until it reads None or its parent is gone.

    Args:
        job: the worker's job.
        tasks: the connection on which tasks arrive.
        results: the connection on which pickled answers leave.
        inherited: connections of the parent that a forked child must not keep open, or nobody would see them close.
    """
    import pickle
    import queue
    import signal

    for connection in inherited:
        connection.close()
    # Ctrl-C reaches the whole process group: the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    fs.set_num_threads(1)
    _seed(job.seed)
    where = f"in DataLoader worker process {job.number}"
    inbox: Any = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(tasks, inbox), daemon=True).start()
    passes = Passes(job)
    while (task := inbox.get()) is not None:
        epoch, number, index = task
        kind, value = passes.answer(epoch, index)
        if kind == "error":
            value = CarriedError(value, where)
        try:
            message = pickle.dumps((epoch, number, kind, value), protocol=pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            message = pickle.dumps((epoch, number, "error", CarriedError(error, where)))
        try:
            results.send_bytes(message)
        except OSError:
            return


def _receive(tasks: Any, inbox: Any) -> None:
    """Takes tasks off the pipe as they come, so that the parent never waits to send one."""
    import os

    while True:
        try:
            task = tasks.recv()
        except (EOFError, OSError):
            os._exit(1)  # the parent is gone
        inbox.put(task)
        if task is None:
            return
