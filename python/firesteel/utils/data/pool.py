"""Workers seen from the loader: start them, send tasks, receive answers, notice the dead, stop them."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from .worker import CarriedError, Job, run_process, run_thread

__all__ = ["ProcessPool", "ThreadPool"]

# The parent's ends of all pipes. A forked worker closes its copies, those of other loaders too: a pipe is seen to
# close only when its last copy is.
_ends: set[Any] = set()


class ThreadPool:
    """Workers that are threads of this process.

    Args:
        jobs: one for each worker.
    """

    def __init__(self, jobs: list[Job]) -> None:
        self.tasks: list[Any] = [SimpleQueue() for _ in jobs]
        self.results: Any = SimpleQueue()
        for job, tasks in zip(jobs, self.tasks, strict=True):
            threading.Thread(target=run_thread, args=(job, tasks, self.results), daemon=True).start()

    def send(self, worker: int, task: Any) -> None:
        """Gives `worker` a task."""
        self.tasks[worker].put(task)

    def receive(self, timeout: float | None) -> Any:
        """The next answer of any worker, or None after `timeout` seconds."""
        try:
            return self.results.get(timeout=timeout)
        except Empty:
            return None

    def stop(self, at_once: bool = False) -> None:
        """Lets each worker end after the task it is at."""
        for tasks in self.tasks:
            while not tasks.empty():
                try:
                    tasks.get_nowait()
                except Empty:
                    break
            tasks.put(None)


class ProcessPool:
    """Workers that are processes; each has a pipe of its own in both directions, so a killed one blocks no other.

    Args:
        jobs: one for each worker.
        context: a multiprocessing context, or None: fork on Linux, as in PyTorch, else the platform's default.
    """

    # Seconds that workers have to end by themselves before they are terminated.
    PATIENCE = 2.0

    def __init__(self, jobs: list[Job], context: Any = None) -> None:
        import multiprocessing

        if context is None:
            chosen = multiprocessing.get_start_method(allow_none=True)
            context = multiprocessing.get_context("fork" if chosen is None and sys.platform == "linux" else chosen)
        self.owner = os.getpid()
        self.processes: list[Any] = []
        self.tasks: list[Any] = []
        self.results: list[Any] = []
        self.received: deque[Any] = deque()
        forked = context.get_start_method() == "fork"
        try:
            for job in jobs:
                self._start(context, job, forked)
        except BaseException:
            self.stop(at_once=True)
            raise

    def _start(self, context: Any, job: Job, forked: bool) -> None:
        their_tasks, our_tasks = context.Pipe(duplex=False)
        our_results, their_results = context.Pipe(duplex=False)
        self.tasks.append(our_tasks)
        self.results.append(our_results)
        _ends.update((our_tasks, our_results))
        inherited = list(_ends) if forked else []
        process = context.Process(target=run_process, args=(job, their_tasks, their_results, inherited), daemon=True)
        try:
            process.start()
            self.processes.append(process)
        finally:
            their_tasks.close()
            their_results.close()

    def send(self, worker: int, task: Any) -> None:
        """Gives `worker` a task."""
        try:
            self.tasks[worker].send(task)
        except OSError:
            self._report([self.processes[worker]])

    def receive(self, timeout: float | None) -> Any:
        """The next answer of any worker, or None after `timeout` seconds.

        Raises:
            RuntimeError: when a worker has died.
        """
        if not self.received:
            self._collect(timeout)
        if not self.received:
            return None
        import pickle

        epoch, number, kind, value = pickle.loads(self.received.popleft())
        return epoch, number, kind, value.exception() if isinstance(value, CarriedError) else value

    def _collect(self, timeout: float | None) -> None:
        from multiprocessing.connection import wait

        dead_of = {process.sentinel: process for process in self.processes}
        ready = wait([*self.results, *dead_of], timeout)
        dead = [dead_of[item] for item in ready if item in dead_of]
        if dead:
            self._report(dead)
        for connection in ready:
            try:
                self.received.append(connection.recv_bytes())  # type: ignore[union-attr]
            except (EOFError, OSError):
                self._report([self.processes[self.results.index(connection)]])

    def _report(self, dead: list[Any]) -> None:
        import signal

        reasons = []
        for process in dead:
            process.join(1.0)
            code = process.exitcode
            if code is not None and code < 0:
                try:
                    reasons.append(f"killed by signal: {signal.Signals(-code).name}")
                except ValueError:
                    reasons.append(f"killed by signal {-code}")
            else:
                reasons.append(f"exit code {code}")
        pids = ", ".join(str(process.pid) for process in dead)
        self.stop(at_once=True)
        raise RuntimeError(
            f"DataLoader worker (pid(s) {pids}) exited unexpectedly ({'; '.join(reasons)}). A worker killed by SIGKILL "
            "often means that memory ran out; num_workers=0 shows an error inside the dataset directly."
        )

    def stop(self, at_once: bool = False) -> None:
        """Ends all workers: kindly first, by force when they do not, or `at_once`; nothing in a forked copy."""
        if os.getpid() != self.owner:
            return
        for connection in self.tasks:
            with suppress(OSError, ValueError):
                connection.send(None)
            connection.close()
        # A worker that waits for its answer to be read sees the pipe close.
        for connection in self.results:
            connection.close()
        _ends.difference_update(self.tasks, self.results)
        if at_once:
            for process in self.processes:
                process.terminate()
        patience = self.PATIENCE
        for process in self.processes:
            process.join(patience)
            if process.is_alive():
                patience = 0.0
                process.terminate()
                process.join(self.PATIENCE)
                if process.is_alive():
                    process.kill()
                    process.join()
        self.tasks, self.results, self.processes = [], [], []
