"""cuDNN's switches; there is no cuDNN."""

enabled = False
benchmark = False
deterministic = False
allow_tf32 = False
benchmark_limit = 10


def is_available() -> bool:
    """False."""
    return False


def version() -> None:
    """None: there is no cuDNN."""
