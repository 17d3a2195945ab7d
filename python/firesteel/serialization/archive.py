"""The container of a checkpoint: a zip file of uncompressed records, as PyTorch writes it.

    archive/data.pkl                what was saved, as a pickle without the tensors' bytes
    archive/byteorder               "little" or "big"
    archive/data/0, data/1, …       the bytes of each storage, from multiples of 64 on
    archive/version                 "3"
    archive/.format_version, .storage_alignment, .data/serialization_id

The standard library's zipfile reads the directory and writes. On top of it, a file that is read must consist of nothing
but records, directory and end, each field where it belongs, and every record must have its sum: so a damaged byte is
noticed wherever it lies, and what a record promises is never more than what the file holds.
"""

from __future__ import annotations

import os
import struct
import sys
import warnings
import zipfile
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

PIECE = 1 << 20  # Bytes read or written at a time: they stay in the cache for their sum, and Ctrl-C is soon heard.
ALIGNMENT = 64
_LOCAL = struct.Struct("<4sHHHHHLLLHH")
_DIRECTORY = 46  # Bytes of a directory entry before its name.
_END64, _FINDER64, _END = struct.Struct("<4sQHHLLQQQQ"), struct.Struct("<4sLQL"), struct.Struct("<4sHHHHLLH")
_SUMS_LATER = 0x08  # The flag: size and sum follow the data.

OLD = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e"


class Damaged(RuntimeError):
    """A checkpoint that is cut short, changed, or none at all."""


def _kind_of(head: bytes) -> str:
    """What a file that is no zip may be instead."""
    if not head:
        return "the file is empty"
    if head.startswith(OLD) or head[257:262] == b"ustar":
        return (
            "it has the format that PyTorch wrote before version 1.6 (or with _use_new_zipfile_serialization=False); "
            "load it in PyTorch and save it again"
        )
    if head[8:9] == b"{":
        return "it looks like a safetensors file; use firesteel.safetensors.load_file"
    if head.startswith(b"PK\x03\x04"):
        return "it begins like one, but its end is missing or damaged: the file was cut short or changed"
    return "it is no zip file"


class Reader:
    """The records of a checkpoint.

    Args:
        file: a file that can be read and sought, from where it stands to its end.
        name: what to call it in messages.

    Raises:
        Damaged: if its structure is not exactly that of a checkpoint.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file, self.name = file, name
        self.start = file.tell()
        self.size = file.seek(0, os.SEEK_END)
        file.seek(self.start)
        head = file.read(512)
        try:
            zipped = zipfile.ZipFile(file)
        except zipfile.BadZipFile:
            raise Damaged(f"{name} is no checkpoint: {_kind_of(head)}") from None
        except (ValueError, struct.error, NotImplementedError, OverflowError, EOFError, RuntimeError) as error:
            raise self.bad(f"the directory cannot be read ({error})") from None
        entries = sorted(zipped.infolist(), key=lambda e: e.header_offset)
        if not entries:
            raise self.bad("it has no records")
        at = self.start
        self.data: dict[str, tuple[zipfile.ZipInfo, int]] = {}
        for i, entry in enumerate(entries):
            following = entries[i + 1].header_offset if i + 1 < len(entries) else zipped.start_dir
            if entry.header_offset != at:
                raise self.bad(f"record {entry.filename!r} does not follow the one before it")
            self._check_same(entry, entries[0])
            self.data[entry.filename] = entry, self._check_place(entry, following)
            at = following
        if len(self.data) != len(entries):
            raise self.bad("two records have one name")
        self._check_end(at, self._check_lengths(at, zipped.infolist()), len(entries))
        self.root = entries[0].filename.partition("/")[0]
        if not all(e.filename.startswith(f"{self.root}/") for e in entries):
            raise self.bad("its records lie in several folders")
        # PyTorch can be told to compute no sums; then all are 0, which the one of "version" never is.
        self.summed = any(e.CRC for e in entries) or not any(e.file_size for e in entries)
        if not self.summed:
            warnings.warn(f"{name} was written without sums: damage would not be noticed", stacklevel=4)
        self.checked: set[str] = set()

    def bad(self, why: str) -> Damaged:
        """The error for a file that is not as it was written."""
        return Damaged(f"{self.name} is damaged or no checkpoint: {why}")

    @staticmethod
    def _raw_name(entry: zipfile.ZipInfo) -> bytes:
        return entry.orig_filename.encode("utf-8" if entry.flag_bits & 0x800 else "cp437")

    def _check_same(self, entry: zipfile.ZipInfo, first: zipfile.ZipInfo) -> None:
        """The directory has no sum of its own; but one program wrote all of it, in one way."""

        def way(e: zipfile.ZipInfo) -> tuple:
            # A record of more than 2 GiB needs version 45.
            version = 0 if e.create_version == e.extract_version == 45 else e.create_version - first.create_version
            return e.create_system, version, e.external_attr, e.internal_attr, e.volume, e.reserved, e.comment

        if entry.compress_type != zipfile.ZIP_STORED:
            raise self.bad(f"record {entry.filename!r} is compressed, which PyTorch's are not")
        if entry.compress_size != entry.file_size or entry.volume or entry.comment or way(entry) != way(first):
            raise self.bad(f"the directory's entry of {entry.filename!r} is not like the others")
        if entry.extra and entry.extra[:4] != struct.pack("<HH", 1, len(entry.extra) - 4):
            raise self.bad(f"the directory's entry of {entry.filename!r} has something added")

    def _check_place(self, entry: zipfile.ZipInfo, following: int) -> int:
        """Compares what stands before and after a record with the directory; gives where its data begins."""
        name, local = entry.filename, self._read(entry.header_offset, _LOCAL.size)
        magic, version, flags, method, time, date, crc, packed, size, n_name, n_extra = _LOCAL.unpack(local)
        clock = (entry.date_time[3] << 11) | (entry.date_time[4] << 5) | (entry.date_time[5] // 2)
        day = ((entry.date_time[0] - 1980) << 9) | (entry.date_time[1] << 5) | entry.date_time[2]
        if magic != b"PK\x03\x04" or (flags, method, time, date) != (entry.flag_bits, entry.compress_type, clock, day):
            raise self.bad(f"record {name!r} begins otherwise than the directory says")
        # zipfile raises the version in the directory alone when only a record's place needs it.
        if version != entry.extract_version | entry.reserved << 8 and (version, entry.extract_version) != (20, 45):
            raise self.bad(f"record {name!r} is of another version than the directory says")
        begin = entry.header_offset + _LOCAL.size + n_name + n_extra
        end = begin + entry.file_size
        if end > following or self._read(begin - n_extra - n_name, n_name) != self._raw_name(entry):
            raise self.bad(f"record {name!r} is not where the directory says")
        n, later = entry.file_size, self._read(end, following - end)
        long = self._check_added(entry, self._read(begin - n_extra, n_extra))
        said = [(entry.CRC, n, n)]
        if long:
            said.append((entry.CRC, 0xFFFFFFFF, 0xFFFFFFFF))
        if flags & _SUMS_LATER:
            said.append((0, 0, 0))
            forms = [struct.pack("<4sLQQ", b"PK\x07\x08", entry.CRC, n, n)]
            if n < 1 << 32:
                forms.append(struct.pack("<4sLLL", b"PK\x07\x08", entry.CRC, n, n))
            if later not in forms:
                raise self.bad(f"the sum of record {name!r} is missing or not the directory's")
        elif later:
            raise self.bad(f"record {name!r} is followed by something")
        if (crc, size, packed) not in said:
            raise self.bad(f"record {name!r} has another size or sum than the directory says")
        return begin

    def _check_added(self, entry: zipfile.ZipInfo, extra: bytes) -> bool:
        """Checks what a record's header has added: padding, and sizes (or a place) too large for where they belong.

        PyTorch puts the place of a record beyond 4 GiB there, and 0 for one of two sizes.
        """
        n, long = entry.file_size, False
        wide = [struct.pack("<QQ", n, n), struct.pack("<QQ", n, 0), struct.pack("<Q", entry.header_offset - self.start)]
        while extra:
            tag, length = struct.unpack_from("<2sH", extra.ljust(4, b"\0"))
            field, extra = extra[4 : 4 + length], extra[4 + length :]
            if tag == b"\x01\x00" and field in wide and not long:
                long = True
            elif tag != b"FB" or len(field) != length or field.strip(b"Z"):
                raise self.bad(f"the padding of record {entry.filename!r} is not what it should be")
        return long

    def _check_lengths(self, at: int, entries: list[zipfile.ZipInfo]) -> int:
        """Compares the lengths in the directory with what zipfile found; gives the directory's."""
        there = at
        for entry in entries:
            lengths = len(self._raw_name(entry)), len(entry.extra), 0
            if struct.unpack_from("<HHH", self._read(there, _DIRECTORY), 28) != lengths:
                raise self.bad("its directory was changed or cut short")
            there += _DIRECTORY + lengths[0] + lengths[1]
        return there - at

    def _check_end(self, at: int, whole: int, count: int) -> None:
        """Compares the end of the file with what it should be, field by field."""
        rest = self._read(at + whole, min(self.size - at - whole, 1 << 10))
        size = self.size - at - whole
        few = min(count, 0xFFFF), min(whole, 0xFFFFFFFF)
        begin = at - self.start
        end = _END.pack(b"PK\x05\x06", 0, 0, few[0], few[0], few[1], min(begin, 0xFFFFFFFF), 0)
        if size == len(end) and rest == end:
            return
        if size == _END64.size + _FINDER64.size + _END.size:
            for version in (0x031E, 45):  # PyTorch's and zipfile's.
                end64 = _END64.pack(b"PK\x06\x06", 44, version, 45, 0, 0, count, count, whole, begin)
                if rest == end64 + _FINDER64.pack(b"PK\x06\x07", 0, begin + whole, 1) + end:
                    return
        raise self.bad("its end is not what it should be")

    def _read(self, at: int, n: int) -> bytes:
        if n < 0 or at + n > self.size:
            raise self.bad("it is shorter than its directory says")
        self.file.seek(at)
        found = self.file.read(n)
        if len(found) != n:
            raise self.bad("it is shorter than its directory says")
        return found

    # ---- records ------------------------------------------------------------------------------------------------------

    def _find(self, name: str) -> tuple[zipfile.ZipInfo, int]:
        found = self.data.get(f"{self.root}/{name}")
        if found is None:
            raise self.bad(f"record {name!r} is missing")
        return found

    def has(self, name: str) -> bool:
        """Whether there is such a record."""
        return f"{self.root}/{name}" in self.data

    def place(self, name: str) -> tuple[int, int]:
        """Where a record's data begins in the file, and its size."""
        entry, begin = self._find(name)
        return begin, entry.file_size

    def read(self, name: str, limit: int) -> bytes:
        """A record's data.

        Raises:
            Damaged: if there is none, it is larger than `limit` or its sum is wrong.
        """
        entry, _ = self._find(name)
        if entry.file_size > limit:
            raise self.bad(f"record {name!r} has {entry.file_size} bytes, more than the {limit} that it may have")
        into = bytearray(entry.file_size)
        self.read_into(name, memoryview(into))
        return bytes(into)

    def read_into(self, name: str, into: memoryview) -> None:
        """Reads a record's data into memory of its size."""
        entry, begin = self._find(name)
        self.file.seek(begin)
        crc, at, size = 0, 0, entry.file_size
        while at < size:
            piece = into[at : min(at + PIECE, size)]
            n = self._fill(piece)
            if not n:
                raise self.bad("it is shorter than its directory says")
            crc = zlib.crc32(piece[:n], crc)
            at += n
        if crc != entry.CRC and self.summed:
            raise self.bad(f"record {name!r} does not have its sum: bytes of it were changed")
        self.checked.add(entry.filename)

    def _fill(self, piece: memoryview) -> int:
        if hasattr(self.file, "readinto"):
            return self.file.readinto(piece) or 0
        found = self.file.read(len(piece))
        piece[: len(found)] = found
        return len(found)

    def skip(self, name: str) -> None:
        """Leaves out a record when sums are checked."""
        self.checked.add(f"{self.root}/{name}")

    def check_rest(self) -> None:
        """Checks the sums of all records that were not read."""
        spare = memoryview(bytearray(PIECE))
        for full, (entry, begin) in self.data.items():
            if full in self.checked:
                continue
            self.file.seek(begin)
            crc, left = 0, entry.file_size
            while left:
                n = self._fill(spare[: min(left, PIECE)])
                if not n:
                    raise self.bad("it is shorter than its directory says")
                crc, left = zlib.crc32(spare[:n], crc), left - n
            if crc != entry.CRC and self.summed:
                raise self.bad(f"record {full!r} does not have its sum: bytes of it were changed")


class _From:
    """A file from where it stands on: an archive counts its places from its own start."""

    def __init__(self, file: Any) -> None:
        self.file, self.start = file, file.tell()
        self.write, self.flush = file.write, getattr(file, "flush", lambda: None)

    def tell(self) -> int:
        return self.file.tell() - self.start

    def seek(self, at: int, whence: int = 0) -> int:
        return self.file.seek(at + self.start if whence == 0 else at, whence) - self.start


def _seekable(file: Any) -> bool:
    try:
        return file.seek(file.tell()) is not None
    except (AttributeError, OSError, ValueError):
        return False


def write(file: Any, pickled: bytes, storages: list[memoryview]) -> None:
    """Writes a checkpoint to a file that stands where it is to begin."""
    import hashlib

    target: Any = _From(file) if _seekable(file) else file
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as zipped:
        position = zipped.fp.tell  # type: ignore[union-attr]
        digest = hashlib.blake2b(digest_size=16)

        def record(name: str, data: Any) -> None:
            entry = zipfile.ZipInfo(f"archive/{name}")
            data = memoryview(data)
            large = data.nbytes * 1.05 > zipfile.ZIP64_LIMIT
            before = position() + _LOCAL.size + len(entry.filename) + 4 + 20 * large
            gap = -before % ALIGNMENT
            entry.extra = b"FB" + struct.pack("<H", gap) + b"Z" * gap
            entry.file_size = data.nbytes
            with zipped.open(entry, "w", force_zip64=large) as into:
                for at in range(0, data.nbytes, PIECE):
                    into.write(data[at : at + PIECE])
            entry.extra = b""  # The directory needs no padding.
            digest.update(f"{name} {entry.CRC} {data.nbytes}\n".encode())

        record("data.pkl", pickled)
        record(".format_version", b"1")
        record(".storage_alignment", b"%d" % ALIGNMENT)
        record("byteorder", sys.byteorder.encode())
        for i, storage in enumerate(storages):
            record(f"data/{i}", storage)
        record("version", b"3\n")
        # A number that follows from what was written: equal for equal checkpoints.
        record(".data/serialization_id", b"%040d" % (int(digest.hexdigest(), 16) % 10**40))
