"""The idx file format of MNIST: a header with type and sizes, then the numbers, big-endian, perhaps gzipped.

The header is checked against the file before memory is taken for it: a header that lies costs nothing.
Source: the format's description at the end of LeCun's MNIST page.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

__all__ = ["read_idx"]

# Code of the element type -> NumPy's name of it.
TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
# Deflate makes no file smaller than this share of it (zlib's technical details: 1032:1).
LARGEST_RATIO = 1032
CHUNK = 1 << 20


def read_idx(path: str | os.PathLike[str]) -> Any:
    """Reads an idx file.

    Args:
        path: the file; whether it is gzipped is seen from its first bytes.

    Returns:
        a NumPy array of the header's shape, native byte order, its own memory.

    Raises:
        ValueError: when the file is no idx file, damaged, too short or too long.
    """
    path = os.fspath(path)
    stored = os.path.getsize(path)
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not zipped:
            return _read(file, path, stored)
        try:
            with gzip.GzipFile(fileobj=file) as unzipped:
                return _read(unzipped, path, stored * LARGEST_RATIO)  # type: ignore[arg-type]
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}: damaged or truncated gzip file of {stored} bytes ({error})") from error


def _read(file: BinaryIO, path: str, at_most: int) -> Any:
    import numpy

    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES or magic[3] == 0:
        raise ValueError(f"{path}: not an idx file, it begins with {magic.hex(' ') or 'nothing'}")
    dtype = numpy.dtype(TYPES[magic[2]])
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise ValueError(f"{path}: truncated idx file, its header of {magic[3]} sizes ends after {len(sizes)} bytes")
    shape = struct.unpack(f">{magic[3]}I", sizes)
    expected = math.prod(shape) * dtype.itemsize
    told = f"the header says {' x '.join(map(str, shape))} elements of {dtype.itemsize} bytes, {expected} in all"
    if expected > at_most:
        raise ValueError(f"{path}: truncated or damaged idx file: {told}, more than the file can hold")
    data = bytearray()
    while len(data) <= expected:
        part = file.read(min(CHUNK, expected + 1 - len(data)))
        if not part:
            break
        data += part
    if len(data) != expected:
        found = f"{len(data)} were found" if len(data) < expected else "more were found"
        raise ValueError(f"{path}: truncated or damaged idx file: {told}, but {found}")
    array = numpy.frombuffer(data, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)
