"""Apple's Metal backend of PyTorch, which is not here."""


def is_available() -> bool:
    """False."""
    return False


def is_built() -> bool:
    """False."""
    return False
