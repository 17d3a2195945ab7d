"""What the tests of checkpoints share: saving to memory, and archives around pickles made by hand."""

import io
import pickle
import struct
import sys
import zipfile

import firesteel as fs

REFUSED = (RuntimeError, pickle.UnpicklingError)
DTYPES = fs._C._dtypes


def saved(obj):
    file = io.BytesIO()
    fs.save(obj, file)
    return file.getvalue()


def loaded(raw, **options):
    return fs.load(io.BytesIO(raw), **options)


def again(obj, **options):
    return loaded(saved(obj), **options)


def same_memory(a, b):
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def archive(pickled, records=(), version=b"3\n"):
    """A checkpoint around any pickle, with right sums."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for name, data in [
            ("data.pkl", pickled),
            ("byteorder", sys.byteorder.encode()),
            *records,
            ("version", version),
        ]:
            zipped.writestr(zipfile.ZipInfo(f"archive/{name}"), data)
    return file.getvalue()


def storage_pickle(kind="torch\nFloatStorage", key="0", count=2, location="cpu", view=b"K\x00K\x02\x85K\x01\x85\x89"):
    """The pickle of one tensor."""
    text = lambda s: b"X" + struct.pack("<I", len(s)) + s.encode()  # noqa: E731
    number = b"\x8a\x0a" + count.to_bytes(10, "little", signed=True)
    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + f"c{kind}\n".encode() + text(key)
        + text(location) + number + b"tQ" + view + b"ccollections\nOrderedDict\n)RtR."
    )  # fmt: skip
