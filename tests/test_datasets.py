"""MNIST's files: found, read, checked; fetched from a mirror."""

import gzip
import hashlib
import http.server
import os
import struct
import threading
import tracemalloc
from pathlib import Path

import firesteel as fs
import numpy as np
import pytest
from firesteel.utils.data import DataLoader
from firesteel.vision.datasets import MNIST, FashionMNIST
from firesteel.vision.datasets.idx import read_idx
from firesteel.vision.transforms import ToTensor

REAL = Path(__file__).parent.parent / "examples" / "data" / "mnist"


def idx(array, code=0x08):
    array = np.asarray(array)
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape) + array.tobytes()


def write(folder, images, labels, zipped=True, part="train"):
    folder.mkdir(parents=True, exist_ok=True)
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        data = idx(np.asarray(array, np.uint8))
        name = f"{part}-{kind}-ubyte"
        (folder / (name + ".gz" if zipped else name)).write_bytes(gzip.compress(data) if zipped else data)


IMAGES = np.arange(2 * 28 * 28).reshape(2, 28, 28) % 251
LABELS = [7, 3]


@pytest.mark.skipif(not REAL.exists(), reason="the repository's data is not here")
def test_real_mnist():
    digits = MNIST(REAL, train=False)
    assert digits.data.shape == (10000, 28, 28) and digits.data.dtype == fs.uint8
    assert digits.targets.dtype == fs.int64 and digits.targets[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(digits.targets.numpy()).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    image, label = digits[0]
    assert isinstance(image, np.ndarray) and image.shape == (28, 28) and image.dtype == np.uint8 and label == 7
    assert len(digits.classes) == 10 and digits.class_to_idx["7 - seven"] == 7
    assert "Number of datapoints: 10000" in repr(digits) and "Split: Test" in repr(digits)


@pytest.mark.skipif("FIRESTEEL_DATA" not in os.environ, reason="FIRESTEEL_DATA is not set")
def test_real_fashion_mnist():
    clothes = FashionMNIST(os.environ["FIRESTEEL_DATA"])
    assert len(clothes) == 60000 and clothes.classes[clothes[0][1]] == "Ankle boot"


@pytest.mark.parametrize("zipped", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize("place", ["", "raw", "MNIST/raw", "mnist"])
def test_files_are_found(tmp_path, place, zipped):
    write(tmp_path / place, IMAGES, LABELS, zipped)
    digits = MNIST(tmp_path, transform=ToTensor(), target_transform=lambda label: -label)
    assert len(digits) == 2 and [digits[i][1] for i in range(2)] == [-7, -3]
    np.testing.assert_array_equal(digits.data.numpy(), IMAGES)
    images, labels = next(iter(DataLoader(digits, batch_size=2)))
    assert images.shape == (2, 1, 28, 28) and images.dtype == fs.float32 and labels.tolist() == [-7, -3]


def test_missing_files(tmp_path):
    with pytest.raises(RuntimeError, match=r"train-images-idx3-ubyte\.gz.*download=True"):
        MNIST(tmp_path)


@pytest.mark.parametrize(
    ("code", "dtype"), [(8, "u1"), (9, "i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")], ids=str
)
def test_element_types(tmp_path, code, dtype):
    array = np.array([[1, -2, 3], [4, 5, -6]]).astype(dtype)
    path = tmp_path / "file"
    path.write_bytes(idx(array, code))
    got = read_idx(path)
    assert got.dtype.isnative
    np.testing.assert_array_equal(got, array)


GOOD = idx(np.zeros((3, 28, 28), np.uint8))
DAMAGED = {
    "empty": (b"", "not an idx file"),
    "text": (b"hello, world", "not an idx file, it begins with 68 65 6c 6c"),
    "unknown type": (b"\0\0\7\1\0\0\0\1x", "not an idx file"),
    "no sizes": (GOOD[:9], "header of 3 sizes ends after 5 bytes"),
    "short": (GOOD[:-1], "3 x 28 x 28 elements of 1 bytes, 2352 in all"),
    "long": (GOOD + b"x", "2352 in all, but more were found"),
    "a header that lies": (struct.pack(">BBBB3I", 0, 0, 8, 3, *[0xFFFFFFFF] * 3), "more than the file can hold"),
}


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_files(tmp_path, case, zipped):
    data, message = DAMAGED[case]
    if zipped and case == "short":
        message += ", but 2351 were found"
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(data) if zipped else data)
    tracemalloc.start()
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(path) in str(caught.value) and peak < 1 << 22


@pytest.mark.parametrize("cut", [1, 12, 40])
def test_truncated_gzip(tmp_path, cut):
    path = tmp_path / "file.gz"
    rows = np.random.default_rng(0).integers(0, 255, (3, 28, 28), np.uint8)
    path.write_bytes(gzip.compress(idx(rows))[:-cut])
    with pytest.raises(ValueError, match="damaged or truncated gzip file"):
        read_idx(path)
    damaged = bytearray(gzip.compress(idx(rows)))
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"file\.gz"):
        read_idx(path)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES, [1, 2, 3], "holds 2 images, but .* 3 labels"),
        (IMAGES, [1, 12], "label 12 found, expected 0 to 9"),
        (IMAGES[0], LABELS, "expected images of bytes"),
        (IMAGES, [LABELS], "expected labels of bytes"),
    ],
    ids=["counts", "label", "images", "labels"],
)
def test_files_that_do_not_fit(tmp_path, images, labels, message):
    write(tmp_path, images, labels)
    with pytest.raises(ValueError, match=message):
        MNIST(tmp_path)


@pytest.fixture
def mirror(tmp_path):
    """A mirror on this machine: its address, and a `MNIST` that knows it."""
    files = tmp_path / "mirror"
    write(files, IMAGES, LABELS)
    write(files, IMAGES[:1], LABELS[:1], part="t10k")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(files))

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in files.iterdir()}
    address = f"http://127.0.0.1:{server.server_port}/"
    kind = type("MNIST", (MNIST,), {"mirrors": (f"{address}nowhere/", address), "resources": sums})
    yield address, kind
    server.shutdown()
    server.server_close()


def test_download(tmp_path, mirror):
    _, kind = mirror
    root = tmp_path / "new"
    assert len(kind(root, download=True)) == 2 and len(kind(root, train=False)) == 1
    raw = root / "MNIST" / "raw"
    assert sorted(path.name for path in raw.iterdir()) == sorted(kind.resources)
    before = {path: path.stat().st_mtime_ns for path in raw.iterdir()}
    kind(root, download=True)
    assert before == {path: path.stat().st_mtime_ns for path in raw.iterdir()}


def test_download_of_a_wrong_file(tmp_path, mirror):
    address, kind = mirror
    name = "train-images-idx3-ubyte.gz"
    kind.resources = {name: "0" * 32}
    with pytest.raises(RuntimeError) as caught:
        kind(tmp_path / "new", download=True)
    text = str(caught.value)
    assert "wrong checksum" in text and f"{address}nowhere/{name}: HTTP Error 404" in text
    assert list((tmp_path / "new" / "MNIST" / "raw").iterdir()) == []


def test_download_without_a_network(tmp_path):
    kind = type("MNIST", (MNIST,), {"mirrors": ("http://127.0.0.1:9/",)})
    with pytest.raises(RuntimeError, match=r"could not download train-images-idx3-ubyte\.gz; is there a network"):
        kind(tmp_path, download=True)
