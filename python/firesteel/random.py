"""The random number generator's state."""

import contextlib
from collections.abc import Iterator
from typing import Any

from .ops.random import get_rng_state, initial_seed, manual_seed, seed, set_rng_state

__all__ = ["fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"]


@contextlib.contextmanager
def fork_rng(devices: Any = None, enabled: bool = True, device_type: str = "cuda") -> Iterator[None]:
    """At the end of the block the generator is put back to where it was before.

    >>> import firesteel as fs
    >>> with fork_rng():
    ...     x = fs.rand(2)
    >>> fs.equal(fs.rand(2), x)
    True
    """
    if not enabled:
        yield
        return
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)
