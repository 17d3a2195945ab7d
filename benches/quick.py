"""Measurements on a shared machine: while it is quick, and with one thread on the processor that is.

The other half of a core may belong to another guest. While that is busy, a product takes up to 1.9 times as long, one of
PyTorch's as well as ours; it begins and ends within seconds, on one processor and not on the other. Where the system would
put the next call is chance: a pair measured in turns may be measured half here, half there. And a machine that runs only one
of two processors at a time makes threads wait for each other, a hundred times as long as they work.
"""

import math
import os
import time

# How much longer than the least time a probe may take where it is quick.
NEAR = 1.12
# Seconds for which a case may wait until some processor is quick.
PATIENCE = 1.0


class Quick:
    """Waits until a small product of `lib` takes about as little time as it ever did, for one thread anywhere."""

    def __init__(self, lib, threads):
        self.processors = sorted(os.sched_getaffinity(0)) if threads == 1 and hasattr(os, "sched_getaffinity") else []
        self.threads = threads
        self.left, self.least = PATIENCE, math.inf
        self.a = lib.ones(128 * threads, 128)
        self.b = lib.ones(128, 128)
        self.lib = lib

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Threads that start later inherit the choice.
        if self.processors:
            os.sched_setaffinity(0, self.processors)

    def begin(self):
        """A case may wait anew."""
        self.left = PATIENCE

    def probe(self):
        taken = []
        for _ in range(4):
            start = time.perf_counter()
            self.lib.matmul(self.a, self.b)
            taken.append(time.perf_counter() - start)
        self.least = min(self.least, *taken)
        return min(taken)

    def settle(self):
        """Returns at such a moment, with one thread on such a processor; or once patience is at an end."""
        start = time.perf_counter()
        if self.threads > 1:
            # Another library's idle threads may still spin.
            time.sleep(0.015)
        while True:
            for processor in self.processors or [None]:
                if processor is not None:
                    os.sched_setaffinity(0, {processor})
                if self.probe() <= NEAR * self.least:
                    return
            if time.perf_counter() - start > self.left:
                break
            time.sleep(0.01)
        self.left -= time.perf_counter() - start
