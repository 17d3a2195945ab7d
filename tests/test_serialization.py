"""Checkpoints and pickles: what goes in comes out."""

import copy
import io
import os
import pickle
import struct
import sys
import zipfile
from collections import Counter, OrderedDict, defaultdict, namedtuple

import firesteel as fs
import pytest
from checkpoints import DTYPES, again, archive, loaded, same_memory, saved, storage_pickle
from firesteel import nn, optim

# ---- what goes in comes out ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=repr)
def test_dtypes(dtype):
    x = (fs.arange(6) % 2).reshape(2, 3).to(dtype)
    y = again(x)
    assert y.dtype is dtype and y.shape == (2, 3) and y.tolist() == x.tolist()


@pytest.mark.parametrize(
    "value",
    [
        None, True, False, 0, 255, 256, 65535, 65536, -1, -(2**31), 2**31, 2**63, -(2**70), 2**2040, 1.5, float("inf"),
        "", "text", "\u00e9\U0001f525", "\ud800", b"", b"a\xff", bytearray(b"b\x00"), 1 + 2j, (), (1,), (1, (2, "x")),
        [], [[1], [2]], {}, {"a": {1: (2,)}, (1, "b"): None}, set(), {1}, frozenset({2}), OrderedDict(b=1, a=2),
        Counter("aab"), fs.Size([2, 3]), fs.device("cpu"), fs.device("cuda", 1), fs.float16, fs.strided,
        list(range(3000)), {i: str(i) for i in range(2500)}, "x" * 100_000,
    ],
    ids=lambda v: f"{type(v).__name__} {v!r:.30}",
)  # fmt: skip
def test_values(value):
    found = again(value)
    assert type(found) is type(value) and found == value


def test_nan_and_negative_zero():
    nan, zero = again([float("nan"), -0.0])
    assert nan != nan and str(zero) == "-0.0"


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x[1:3],
        lambda x: x.t(),
        lambda x: x[::2, 1],
        lambda x: x[:1].expand(5, 6),
        lambda x: x[2, 3],
        lambda x: x[:0],
        lambda x: x.flatten()[7:],
    ],
    ids=["rows", "transposed", "column", "expanded", "0-d", "empty", "offset"],
)
def test_views(make):
    base = fs.arange(24.0).reshape(4, 6)
    a, b = again((base, make(base)))
    assert b.tolist() == make(base).tolist() and b.stride() == make(base).stride()
    assert b.storage_offset() == make(base).storage_offset() and same_memory(a, b)
    if b.numel() and 0 not in b.stride():
        b.fill_(-1)
        assert (a == -1).sum() == b.numel()


def test_a_storage_read_as_two_dtypes():
    x = fs.tensor([1.0, 2.0])
    a, b = again((x, fs._C._over(x, fs.int32, [2], [1], 0)))
    assert same_memory(a, b) and b.tolist() == [0x3F800000, 0x40000000]
    a, b = again((fs._C._over(x, fs.uint16, [4], [1], 0), x))
    assert same_memory(a, b) and b.tolist() == [1.0, 2.0] and a.dtype is fs.uint16


def test_identity_and_cycles():
    x, inner = fs.ones(2), [1]
    obj = {"a": x, "b": x, "c": [inner, inner]}
    obj["self"] = obj
    found = again(obj)
    assert found["a"] is found["b"] and found["c"][0] is found["c"][1] and found["self"] is found


def test_flags_of_gradients():
    leaf, parameter = fs.ones(2, requires_grad=True), nn.Parameter(fs.ones(3), requires_grad=False)
    derived = leaf * 2
    a, b, c, d = again([leaf, parameter, derived, nn.Parameter(leaf.detach())])
    assert a.requires_grad and a.is_leaf and type(b) is nn.Parameter and not b.requires_grad
    assert c.requires_grad and c.is_leaf and d.requires_grad and type(d) is nn.Parameter


def test_attributes_of_tensors():
    x, p = fs.ones(2), nn.Parameter(fs.ones(1))
    x.note, p.tag = "a", [1]
    y, q = again((x, p))
    assert y.note == "a" and q.tag == [1]


def test_meta_tensors():
    x = fs.empty(3, 4, device="meta").t()
    y = again(x)
    assert y.device.type == "meta" and y.shape == (4, 3) and y.stride() == (1, 4)


def test_memory_is_ones_own():
    x = fs.ones(1000)
    raw = saved([x, fs.zeros(1000)])
    a, b = loaded(raw)
    a += 1
    assert b.sum() == 0 and a._version == 1 and b._version == 0 and x.sum() == 1000
    assert a.data_ptr() % 64 == 0


def test_modules_and_optimizers(tmp_path):
    def make():
        net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
        return net, optim.AdamW(net.parameters(), lr=0.05, amsgrad=True)

    def train(net, optimizer, steps):
        for i in range(steps):
            optimizer.zero_grad()
            (net(fs.ones(2, 1, 4, 4) * (i + 1)) ** 2).mean().backward()
            optimizer.step()
        return [p.detach().clone() for p in net.state_dict().values()]

    net, optimizer = make()
    train(net, optimizer, 3)
    fs.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, tmp_path / "a.pt")
    expected = train(net, optimizer, 2)
    other, other_optimizer = make()
    state = fs.load(tmp_path / "a.pt")
    assert isinstance(state["net"], OrderedDict) and state["net"]._metadata[""] == {"version": 1}
    assert str(other.load_state_dict(state["net"])) == "<All keys matched successfully>"
    other_optimizer.load_state_dict(state["optimizer"])
    for a, b in zip(train(other, other_optimizer, 2), expected, strict=True):
        assert fs.equal(a, b)


def test_schedules():
    optimizer = optim.SGD([fs.ones(1, requires_grad=True)], lr=1.0)
    schedule = optim.lr_scheduler.StepLR(optimizer, 2, 0.1)
    for _ in range(3):
        optimizer.step()
        schedule.step()
    fresh = optim.lr_scheduler.StepLR(optim.SGD([fs.ones(1, requires_grad=True)], lr=1.0), 2, 0.1)
    fresh.load_state_dict(again(schedule.state_dict()))
    assert fresh.get_last_lr() == schedule.get_last_lr()


# ---- files -----------------------------------------------------------------------------------------------------------


def test_paths_and_objects(tmp_path, monkeypatch):
    x = [fs.arange(3.0)]
    fs.save(x, tmp_path / "a.pt")
    fs.save(x, str(tmp_path / "b.pt"))
    monkeypatch.chdir(tmp_path)
    fs.save(x, "c.pt")
    with open("d.pt", "wb") as file:
        fs.save(x, file)
    for name in "abcd":
        assert fs.load(f"{name}.pt")[0].tolist() == [0, 1, 2]
    with open("a.pt", "rb") as file:
        assert fs.load(file)[0].tolist() == [0, 1, 2]
    assert sorted(os.listdir()) == ["a.pt", "b.pt", "c.pt", "d.pt"]
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "d.pt").read_bytes() == saved(x)


def test_in_the_middle_of_a_file():
    file = io.BytesIO(b"head")
    file.seek(4)
    fs.save(fs.ones(2), file)
    file.seek(4)
    assert fs.load(file).tolist() == [1, 1]


def test_streams_are_written_and_not_read():
    class Stream(io.RawIOBase):
        def __init__(self):
            self.raw = bytearray()

        def write(self, piece):
            self.raw += piece
            return len(piece)

    stream = Stream()
    fs.save([fs.ones(2), fs.zeros(0)], stream)
    assert loaded(bytes(stream.raw))[0].tolist() == [1, 1]
    with pytest.raises(AttributeError, match="sought"):
        fs.load(stream)
    with pytest.raises(TypeError, match='"rb"'):
        fs.load(io.StringIO("x"))
    with pytest.raises(AttributeError, match="write"):
        fs.save(1, 5)


def test_records_are_aligned():
    raw = saved([fs.ones(3), fs.ones(5, dtype=fs.uint8), fs.ones(7, dtype=fs.float64)])
    with zipfile.ZipFile(io.BytesIO(raw)) as zipped:
        assert zipped.testzip() is None
        for entry in zipped.infolist():
            names, extra = struct.unpack_from("<HH", raw, entry.header_offset + 26)
            assert (entry.header_offset + 30 + names + extra) % 64 == 0
        assert zipped.read("archive/version") == b"3\n" and zipped.read("archive/byteorder") == sys.byteorder.encode()
        assert zipped.namelist()[0] == "archive/data.pkl"


def test_mapped(tmp_path):
    path = tmp_path / "a.pt"
    fs.save({"a": fs.arange(10.0), "b": fs.ones(4)[1:], "c": fs.zeros(0)}, path)
    before = path.read_bytes()
    found = fs.load(path, mmap=True)
    assert found["a"].tolist() == list(range(10)) and found["b"].tolist() == [1, 1, 1] and found["c"].numel() == 0
    found["a"] += 1
    assert found["b"]._version == 0 and path.read_bytes() == before
    fs.save({"a": found["a"]}, path)  # The old file stays as long as it is mapped.
    assert found["b"].tolist() == [1, 1, 1] and fs.load(path)["a"][0] == 1
    with pytest.raises(ValueError, match="mmap"):
        loaded(before, mmap=True)


def test_map_location():
    raw = saved({"a": fs.ones(2), "b": fs.zeros(1)})
    for where in ("meta", fs.device("meta"), {"cpu": "meta"}, lambda s, at: s.to("meta")):
        found = loaded(raw, map_location=where)
        assert found["a"].device.type == "meta" and found["a"].shape == (2,)
    seen = []
    for where in ("cpu", {"cuda:0": "cpu"}, lambda s, at: seen.append((s.nbytes(), at)), lambda s, at: s):
        assert loaded(raw, map_location=where)["a"].tolist() == [1, 1]
    assert seen == [(8, "cpu"), (4, "cpu")]
    with pytest.raises(AssertionError, match="CUDA"):
        loaded(raw, map_location="cuda")
    with pytest.raises(TypeError, match="map_location"):
        loaded(raw, map_location=3)
    with pytest.raises(TypeError, match="storage or None"):
        loaded(raw, map_location=lambda s, at: 3)


def test_devices_that_are_not_there():
    raw = archive(storage_pickle(location="cuda:0"), [("data/0", bytes(8))])
    with pytest.raises(RuntimeError, match="map_location='cpu'"):
        loaded(raw)
    assert loaded(raw, map_location="cpu").tolist() == loaded(raw, map_location={"cuda:0": "cpu"}).tolist() == [0, 0]


def test_options():
    assert loaded(saved(1), weights_only=False, pickle_module=pickle, encoding="utf-8") == 1
    with pytest.raises(TypeError, match="colour"):
        loaded(saved(1), colour=1)
    with pytest.raises(NotImplementedError):
        fs.save(1, io.BytesIO(), _use_new_zipfile_serialization=False)


# ---- what cannot be saved --------------------------------------------------------------------------------------------

Point = namedtuple("Point", "x y")


class Sub(fs.Tensor):
    pass


@pytest.mark.parametrize(
    "obj, where",
    [
        (nn.Linear(1, 1), r"obj: .*Linear.*state_dict"),
        ({"net": [0, nn.ReLU()]}, r"obj\['net'\]\[1\]: .*ReLU"),
        ({"optim": optim.SGD([fs.ones(1, requires_grad=True)])}, r"obj\['optim'\]: .*SGD.*state_dict"),
        ([lambda: 0], r"obj\[0\]: function"),
        ((1, {"a": object()}), r"obj\[1\]\['a'\]: object"),
        (defaultdict(list), r"defaultdict.*save dict"),
        (Point(1, 2), r"Point.*save tuple"),
        (Sub._make_subclass(Sub, fs.ones(1)), r"Sub.*as_subclass"),
        (fs.ones(1).numpy(), r"ndarray.*from_numpy"),
        (fs.ones(1).numpy()[0], r"numpy.float32.*item"),
        ({object: 1}, r"a key of type type"),
        ({fs.ones(1): 1}, r"a key of type Tensor"),
        (os, r"module"),
        (print, r"builtin_function"),
        (Exception("x"), r"Exception"),
    ],
    ids=lambda v: str(v)[:20] if isinstance(v, str) else "",
)
def test_refused_with_its_place(obj, where, tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(b"old")
    with pytest.raises(TypeError, match=where):
        fs.save(obj, path)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.pt"]


def test_attribute_that_cannot_be_saved():
    x = fs.ones(1)
    x.foo = object()
    with pytest.raises(TypeError, match=r"obj\['x'\]\.foo: object"):
        fs.save({"x": x}, io.BytesIO())


def test_depth():
    deep = []
    for _ in range(90):
        deep = [deep]
    assert again(deep) == deep
    for _ in range(20):
        deep = [deep]
    with pytest.raises(TypeError, match="within each other"):
        fs.save(deep, io.BytesIO())
    loop = ([],)
    loop[0].append(loop)
    with pytest.raises(TypeError, match="contains itself"):
        fs.save(loop, io.BytesIO())


# ---- pickle and copy -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(2, 6))
def test_pickles_keep_shared_memory(protocol):
    x = fs.arange(10.0)
    for obj in ([x, x[2:5]], [x[2:5], x], [x.reshape(5, 2).t(), {"a": x[1]}]):
        a, b = pickle.loads(pickle.dumps(obj, protocol))
        b = b["a"] if isinstance(b, dict) else b
        expected = obj[1]["a"] if isinstance(obj[1], dict) else obj[1]
        assert same_memory(a, b) and a.tolist() == obj[0].tolist() and b.tolist() == expected.tolist()
        assert a.stride() == obj[0].stride()
    a, b = (pickle.loads(pickle.dumps(x, protocol)) for _ in range(2))
    assert not same_memory(a, b)


def test_pickles_of_tied_parameters():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    found = pickle.loads(pickle.dumps(net))
    assert found[0].weight is found[1].weight and type(found[0].weight) is nn.Parameter


def test_a_sample_goes_without_its_dataset():
    data = fs.arange(100_000.0).reshape(1000, 100)
    assert len(pickle.dumps(data[3])) < 1000 and len(pickle.dumps(data[::100, 0])) < 1000
    assert pickle.loads(pickle.dumps(data[3])).tolist() == data[3].tolist()
    assert pickle.loads(pickle.dumps(data[:, ::50])).tolist() == data[:, ::50].tolist()
    assert len(fs._rebuild._PACKED or ()) == 0, "nothing is kept after the dump"


def test_copies_keep_shared_memory():
    x = fs.arange(10.0)
    a, b = copy.deepcopy([x, x[2:5]])
    assert same_memory(a, b) and not same_memory(a, x)
