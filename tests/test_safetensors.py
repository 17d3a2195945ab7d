"""safetensors: what goes in comes out, files are mapped, and what is damaged or shared is refused."""

import json
import os
import pickle
import random

import firesteel as fs
import pytest
from firesteel.safetensors import SafetensorError, load, load_file, safe_open, save, save_file


def handmade(header, data=b""):
    """A file around any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def one(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"a": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


@pytest.mark.parametrize("dtype", fs._C._dtypes, ids=repr)
def test_dtypes(dtype, tmp_path):
    x = (fs.arange(6) % 2).reshape(2, 3).to(dtype)
    save_file({"x": x, "other": fs.ones(3, dtype=fs.bool)}, tmp_path / "a")
    for found in (load_file(tmp_path / "a"), load(save({"x": x}))):
        assert found["x"].dtype is dtype and found["x"].shape == (2, 3) and found["x"].tolist() == x.tolist()


def test_shapes_and_metadata(tmp_path):
    tensors = {"0-d": fs.tensor(2.5), "none": fs.zeros(0, 5), "deep": fs.ones(1, 2, 1, 2, 1), '\u00e9 "q"': fs.ones(1)}
    words = {"z": "1", "a": "\u00e9\n", "m": ""}
    path = tmp_path / "a.safetensors"
    save_file(tensors, path, metadata=words)
    found = load_file(str(path))
    assert {k: v.tolist() for k, v in found.items()} == {k: v.tolist() for k, v in tensors.items()}
    assert found["none"].shape == (0, 5) and found["0-d"].shape == ()
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == words and file.keys() == sorted(tensors) and set(file.offset_keys()) == set(tensors)
        assert file.get_tensor("deep").shape == (1, 2, 1, 2, 1)
    with pytest.raises(SafetensorError, match="closed"):
        file.keys()
    assert (
        save(tensors, words)
        == save(dict(reversed(tensors.items())), dict(reversed(words.items())))
        == path.read_bytes()
    )
    assert load(save({})) == {} and load(save({}, words)) == {}


def test_slices(tmp_path):
    x = fs.arange(24.0).reshape(4, 6)
    save_file({"x": x}, tmp_path / "a")
    with safe_open(tmp_path / "a", "fs") as file:
        part = file.get_slice("x")
        assert part.get_shape() == [4, 6] and part.get_dtype() == "F32"
        for index in [0, slice(1, 3), (slice(None), slice(0, None, 2)), (..., 1), (2, 3)]:
            assert part[index].tolist() == x[index].tolist() and part[index].is_contiguous()
        with pytest.raises(SafetensorError, match="does not contain tensor y"):
            file.get_slice("y")
    with pytest.raises(SafetensorError, match="framework"):
        safe_open(tmp_path / "a", "jax")


def test_a_mapped_file_is_nobodys_to_change(tmp_path):
    path = tmp_path / "a"
    save_file({"a": fs.ones(3), "b": fs.zeros(3)}, path)
    before = path.read_bytes()
    found = load_file(path)
    found["a"] += 1
    assert path.read_bytes() == before and found["b"].tolist() == [0, 0, 0] and found["b"]._version == 0
    assert found["a"].untyped_storage().nbytes() == 12, "each tensor has a storage of its own"
    save_file({"a": fs.zeros(100)}, path)
    assert found["a"].tolist() == [2, 2, 2] and load_file(path)["a"].shape == (100,)
    assert load_file(path, device="meta")["a"].device.type == "meta"
    w = load_file(path)["a"].requires_grad_()
    (w * 2).sum().backward()
    assert w.grad.tolist() == [2] * 100


def test_elements_that_are_not_aligned():
    raw = handmade(
        {"b": one("F64", (1,), (1, 9))["a"], **one("U8", (1,), (0, 1))},
        b"\x07" + bytes(6) + b"\xf0\x3f",
    )  # fmt: skip
    found = load(raw)
    assert found["a"].tolist() == [7] and found["b"].tolist() == [1.0] and found["b"].data_ptr() % 8 == 0


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda x: {"a": x, "b": x}, RuntimeError, r"share memory.*\['a', 'b'\]"),
        (lambda x: {"a": x, "b": x[1:2]}, RuntimeError, "share memory"),
        (lambda x: {"a": x.t()}, ValueError, "non contiguous tensor: `a`"),
        (lambda x: {"a": x.to("meta")}, ValueError, "meta"),
        (lambda x: {"a": 1}, ValueError, "Key `a`"),
        (lambda x: {1: x}, ValueError, "Key 1"),
        (lambda x: {"__metadata__": x}, ValueError, "taken"),
        (lambda x: [x], ValueError, "dict"),
    ],
)
def test_refused(make, error, words, tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    given = make(fs.ones(3, 2))
    with pytest.raises(error, match=words):
        save(given)
    with pytest.raises(error, match=words):
        save_file(given, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"old" and os.listdir(tmp_path) == ["a"]
    with pytest.raises(TypeError, match="metadata"):
        save({}, {"a": 1})


def test_parts_that_do_not_overlap_are_saved():
    x = fs.arange(6.0)
    assert load(save({"a": x[:3], "b": x[3:]}))["b"].tolist() == [3, 4, 5]


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"1234567", bytes(8), b"\xff" * 100, handmade(b""), handmade(b"{"), handmade(b"[]"), handmade(b"\xff\xfe{}"),
        handmade({"a": 1}), handmade(one(), bytes(7)), handmade(one(), bytes(9)), handmade(one(dtype="F99"), bytes(8)),
        handmade(one(shape=(10**15,)), bytes(8)), handmade(one(shape=(2**62, 4)), bytes(8)),
        handmade(one(shape=(-1,)), bytes(8)),
        handmade(one(offsets=(0, 10**15), shape=(10**15 // 4,)), bytes(8)), handmade(one(offsets=(8, 0)), bytes(8)),
        handmade(one(offsets=(4, 12)), bytes(12)), handmade(one(offsets=(0, 2**64 - 1)), bytes(8)),
        handmade({**one(), "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, bytes(12)),
        handmade({"__metadata__": {"a": 1}}), handmade(b"[" * 100_000), handmade(b'{"a":' * 100_000),
        handmade({})[:4], (99_999_999).to_bytes(8, "little") + b"{}", (10**15).to_bytes(8, "little") + b"{}",
    ],
    ids=str,
)  # fmt: skip
def test_damaged(raw, tmp_path):
    with pytest.raises(SafetensorError):
        load(raw)
    (tmp_path / "a").write_bytes(raw)
    with pytest.raises(SafetensorError):
        load_file(tmp_path / "a")


def test_kinds_that_are_not_there():
    with pytest.raises(NotImplementedError, match="F8_E4M3"):
        load(handmade(one(dtype="F8_E4M3", offsets=(0, 2)), bytes(2)))
    with pytest.raises(NotImplementedError, match="C64"):
        load(handmade(one(dtype="C64", offsets=(0, 16)), bytes(16)))


def test_noise():
    """Headers with any byte changed: refused, or tensors that lie inside the file."""
    rng = random.Random(0)
    good = save({"a": fs.ones(3), "b": fs.zeros(2, 2, dtype=fs.int64)}, {"k": "v"})
    refused = 0
    for _ in range(3000):
        raw = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            raw[rng.randrange(len(raw) - 44)] = rng.randrange(256)
        try:
            assert sum(t.nbytes for t in load(bytes(raw)).values()) <= 44
        except (SafetensorError, NotImplementedError):
            refused += 1
    assert refused > 1500


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_file(tmp_path / "a")
    with pytest.raises(IsADirectoryError):
        load_file(tmp_path)
    with pytest.raises(FileNotFoundError):
        save_file({}, tmp_path / "no" / "a")


def test_mapped_tensors_pickle_and_save(tmp_path):
    save_file({"a": fs.arange(4.0)}, tmp_path / "a")
    found = load_file(tmp_path / "a")
    assert pickle.loads(pickle.dumps(found))["a"].tolist() == [0, 1, 2, 3]
    fs.save(found, tmp_path / "b")
    assert fs.load(tmp_path / "b")["a"].tolist() == [0, 1, 2, 3]
