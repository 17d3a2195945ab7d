"""Fetching a file from one of several mirrors: with progress, a checksum, and nothing half-written left behind."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress

from firesteel.utils.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["fetch", "md5_of"]

CHUNK = 1 << 16


def md5_of(path: str) -> str:
    """The MD5 sum of a file, in hexadecimal digits."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while part := file.read(CHUNK):
            digest.update(part)
    return digest.hexdigest()


def fetch(urls: Sequence[str], path: str, md5: str, timeout: float = 20.0) -> None:
    """Fetches a file unless it is there already.

    Args:
        urls: where to look, one after another.
        path: where to put it; its directory is made. The file appears there whole or not at all.
        md5: the sum it must have.
        timeout: seconds without an answer after which the next address is tried.

    Raises:
        RuntimeError: when no address gave the right file; it names each and what was wrong.
    """
    if os.path.exists(path) and md5_of(path) == md5:
        return
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    failures = []
    for url in urls:
        try:
            _fetch_one(url, path, md5, timeout)
            return
        except (OSError, ValueError) as error:
            failures.append(f"  {url}: {error}")
    raise RuntimeError(
        f"could not download {os.path.basename(path)}; is there a network? Tried:\n"
        + "\n".join(failures)
        + f"\nThe file can also be put there by hand: {path}"
    )


def _fetch_one(url: str, path: str, md5: str, timeout: float) -> None:
    from urllib.request import Request, urlopen

    name = os.path.basename(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=os.path.dirname(path) or ".")
    try:
        digest = hashlib.md5(usedforsecurity=False)
        with (
            os.fdopen(handle, "wb") as file,
            urlopen(Request(url, headers={"User-Agent": "firesteel"}), timeout=timeout) as answer,
        ):
            length = int(answer.headers.get("Content-Length") or 0)
            with Progress(length or None, "bytes", label=name) as bar:
                while part := answer.read(CHUNK):
                    file.write(part)
                    digest.update(part)
                    bar.update(len(part))
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != md5:
            raise ValueError(f"wrong checksum {digest.hexdigest()}, expected {md5}")
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
