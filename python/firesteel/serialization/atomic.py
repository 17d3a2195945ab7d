"""Writing a file so that everyone sees the old one or the new one, whenever the writer dies.

The new file is written beside the old one, brought to the disk, and put in its place by one rename. On Linux it has no
name until then (`O_TMPFILE`), so a killed process leaves nothing behind; elsewhere, and for the instant between naming
and renaming, it is called `.NAME.RANDOM.firesteel-tmp` and may be deleted.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

SUFFIX = ".firesteel-tmp"
_NEW = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def _spare_name(target: str) -> str:
    folder, name = os.path.split(target)
    # Room for the rest in the 255 bytes that file systems allow.
    short = os.fsdecode(os.fsencode(name)[:200])
    return os.path.join(folder, f".{short}.{secrets.token_hex(6)}{SUFFIX}")


def _nameless(folder: str) -> int | None:
    """A new file without a name, or None where the system has no such thing."""
    if not hasattr(os, "O_TMPFILE") or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666)
    except OSError:
        return None


def _name(fd: int, path: str, folder: str) -> None:
    """Gives a nameless file a name."""
    # With a folder's descriptor Python calls linkat, which can follow the link in /proc; without one, link, which cannot.
    at = os.open(folder, os.O_RDONLY)
    try:
        os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=at, follow_symlinks=True)
    finally:
        os.close(at)


def _like(path: str | int, old: os.stat_result) -> None:
    """Gives a file the permissions of another, and its owner where that is allowed."""
    mine = os.stat(path)
    if (mine.st_uid, mine.st_gid) != (old.st_uid, old.st_gid) and hasattr(os, "chown"):
        with contextlib.suppress(OSError):
            os.chown(path, old.st_uid, old.st_gid)
    os.chmod(path, stat.S_IMODE(old.st_mode))


def _settle(folder: str) -> None:
    """Brings a folder's entries to the disk, where folders can be opened."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write to; it takes the place of `path` when the block ends without an error, and vanishes otherwise.

    Links are followed, and the old file's permissions kept. What is no regular file (a device, a pipe) is written to
    directly.
    """
    target = os.path.realpath(os.fsdecode(path))
    old = None
    with contextlib.suppress(FileNotFoundError):
        old = os.stat(target)
    if old is not None and not stat.S_ISREG(old.st_mode):
        with open(target, "wb") as direct:
            yield direct
        return
    if os.path.basename(os.fspath(path)) == "":
        raise IsADirectoryError(f"[Errno 21] Is a directory: {os.fspath(path)!r}")
    folder, spare = os.path.dirname(target), None
    fd = _nameless(folder)
    if fd is None:
        spare = _spare_name(target)
        fd = os.open(spare, _NEW, 0o666)
    try:
        with open(fd, "w+b") as file:
            yield file
            file.flush()
            if old is not None:
                _like(fd if spare is None else spare, old)
            os.fsync(fd)
            if spare is None:
                spare = _spare_name(target)
                _name(fd, spare, folder)
        os.replace(spare, target)
        spare = None
    finally:
        if spare is not None:
            with contextlib.suppress(OSError):
                os.unlink(spare)
    _settle(folder)
