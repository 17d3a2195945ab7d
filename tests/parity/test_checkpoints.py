"""Checkpoints go both ways between firesteel and PyTorch, and safetensors files between firesteel and their package."""

import io
import zipfile
from collections import Counter, OrderedDict

import firesteel as fs
import numpy as np
import pytest
from firesteel.serialization import Damaged

torch = pytest.importorskip("torch")

DTYPES = [repr(d)[6:] for d in fs._C._dtypes]


def to_torch(obj, **options):
    """What PyTorch reads of what firesteel writes."""
    file = io.BytesIO()
    fs.save(obj, file)
    file.seek(0)
    return torch.load(file, weights_only=True, **options)


def to_ours(obj, **options):
    """What firesteel reads of what PyTorch writes."""
    file = io.BytesIO()
    torch.save(obj, file, **options)
    file.seek(0)
    return fs.load(file)


def same(ours, theirs):
    assert repr(ours.dtype) == repr(theirs.dtype) and tuple(ours.shape) == tuple(theirs.shape)
    assert ours.stride() == theirs.stride() and ours.storage_offset() == theirs.storage_offset()
    assert ours.requires_grad == theirs.requires_grad and ours.tolist() == theirs.tolist()


def pointer(x):
    return x.untyped_storage().data_ptr()


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype):
    for shape in [(2, 3), (), (0, 4), (1, 1, 6)]:
        count = int(np.prod(shape))
        x = (torch.arange(count) % 2).reshape(shape).to(getattr(torch, dtype))
        ours = to_ours({"x": x})["x"]
        same(ours, x)
        same(ours, to_torch([ours])[0])


@pytest.mark.parametrize("lib", [torch, fs], ids=["theirs", "ours"])
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[1:3], lambda x: x.t(), lambda x: x[::2, 1], lambda x: x[:1].expand(5, 6), lambda x: x[2, 3],
        lambda x: x[:0], lambda x: x.flatten()[7:], lambda x: x.reshape(2, 2, 6).permute(2, 0, 1),
    ],
)  # fmt: skip
def test_views_share_memory(view, lib):
    base = lib.arange(24.0).reshape(4, 6)
    given = {"base": base, "view": view(base), "other": lib.ones(2)}
    found = to_ours(given) if lib is torch else to_torch(given)
    for name, x in given.items():
        same(*((found[name], x) if lib is torch else (x, found[name])))
    assert pointer(found["base"]) == pointer(found["view"]) != pointer(found["other"])


def test_a_storage_read_as_two_dtypes():
    x = fs.tensor([1.0, 2.0])
    halves, words = fs._C._over(x, fs.uint16, [4], [1], 0), fs._C._over(x, fs.int32, [2], [1], 0)
    for given in ([x, halves, words], [halves, x, words], [words, x, halves]):
        found = to_torch(given)
        for a, b in zip(given, found, strict=True):
            same(a, b)
        assert len({pointer(b) for b in found}) == 1


VALUES = [
    None, True, 0, 255, 256, 65536, -1, -(2**31), 2**31, -(2**70), 2**1000, 1.5, float("inf"), "", "text", "\u00e9\U0001f525",
    b"", b"a\xff", bytearray(b"b\x00"), 1 + 2j, (), (1,), (1, 2), (1, 2, 3), (1, (2, "x"), 3, 4), [], [[1], [2]], {},
    {"a": {1: (2,)}, (1, "b"): None}, set(), {1, "a"}, OrderedDict(b=1, a=2), Counter("aab"), list(range(3000)),
    {i: str(i) for i in range(2500)},
]  # fmt: skip


def test_values():
    assert to_ours(VALUES) == VALUES
    for value, found in zip(VALUES, to_torch(VALUES), strict=True):
        assert type(found) is type(value) and found == value


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_protocols(protocol):
    given = {"x": torch.ones(2), "values": VALUES, "again": VALUES, "flat": frozenset([1]), "many": tuple(range(5))}
    found = to_ours(given, pickle_protocol=protocol)
    assert found["values"] == VALUES and found["again"] is found["values"] and found["x"].tolist() == [1, 1]
    assert found["flat"] == {1} and found["many"] == (0, 1, 2, 3, 4)


def test_small_things():
    names = ["float16", "bfloat16", "uint16", "bool"]
    theirs = [
        torch.Size([2, 3]),
        torch.device("cpu"),
        torch.device("cuda", 1),
        torch.strided,
        *(getattr(torch, n) for n in names),
    ]
    ours = [fs.Size([2, 3]), fs.device("cpu"), fs.device("cuda", 1), fs.strided, *(getattr(fs, n) for n in names)]
    assert to_ours(theirs) == ours and to_torch(ours) == theirs
    assert type(to_ours(theirs)[0]) is fs.Size and type(to_torch(ours)[0]) is torch.Size


@pytest.mark.parametrize("lib", [torch, fs], ids=["theirs", "ours"])
def test_parameters_attributes_cycles_meta(lib):
    p = lib.nn.Parameter(lib.ones(2))
    frozen, tagged, noted = (
        lib.nn.Parameter(lib.ones(1), requires_grad=False),
        lib.nn.Parameter(lib.ones(1)),
        lib.ones(3),
    )
    tagged.tag, noted.note = "t", [1]
    leaf = lib.ones(2, requires_grad=True)
    given = {"p": p, "q": p, "frozen": frozen, "tagged": tagged, "noted": noted, "leaf": leaf, "derived": leaf * 2,
             "meta": lib.empty(3, 4, device="meta").t()}  # fmt: skip
    given["self"] = given
    other = fs if lib is torch else torch
    found = to_ours(given) if lib is torch else to_torch(given)
    assert found["self"] is found and found["p"] is found["q"] and type(found["p"]) is other.nn.Parameter
    assert [found[n].requires_grad for n in ("p", "frozen", "leaf", "derived")] == [True, False, True, True]
    assert found["tagged"].tag == "t" and found["noted"].note == [1] and found["derived"].is_leaf
    assert found["meta"].device.type == "meta" and found["meta"].stride() == (1, 4)


def test_files(tmp_path):
    """PyTorch also maps our files, and reads them where its own tools look."""
    x = fs.arange(1000.0).reshape(10, 100)
    fs.save({"x": x, "t": x.t(), "e": fs.zeros(0)}, tmp_path / "a.pt")
    found = torch.load(tmp_path / "a.pt", weights_only=True, mmap=True)
    assert found["x"].tolist() == x.tolist() and pointer(found["x"]) == pointer(found["t"])
    assert torch.serialization.get_unsafe_globals_in_checkpoint(tmp_path / "a.pt") == []
    torch.save({"x": found["x"]}, tmp_path / "b.pt")
    for mmap in (False, True):
        assert fs.load(tmp_path / "b.pt", mmap=mmap)["x"].tolist() == x.tolist()
    with zipfile.ZipFile(tmp_path / "a.pt") as ours, zipfile.ZipFile(tmp_path / "b.pt") as theirs:
        names = [{n.partition("/")[2] for n in z.namelist()} - {"data/1"} for z in (ours, theirs)]
        assert names[0] == names[1]
        for record in ("version", ".format_version", ".storage_alignment", "byteorder"):
            assert ours.read(f"archive/{record}") == theirs.read(f"b/{record}")
        assert len(ours.read("archive/.data/serialization_id")) == len(theirs.read("b/.data/serialization_id"))


def test_damage_of_their_files_is_noticed():
    file = io.BytesIO()
    torch.save({"a": torch.arange(5.0), "b": torch.zeros(0), "c": [1, "x"]}, file)
    raw = file.getvalue()
    for at in range(len(raw)):
        for change in (0x01, 0xFF):
            damaged = bytearray(raw)
            damaged[at] ^= change
            with pytest.raises(Damaged):
                fs.load(io.BytesIO(damaged))


def test_what_is_refused():
    import pickle

    with pytest.raises(pickle.UnpicklingError, match="state_dict"):
        to_ours(torch.nn.Linear(1, 1))
    for x, words in [
        (torch.zeros(2, dtype=torch.complex64), "complex"),
        (torch.zeros(2, 2).to_sparse(), "sparse"),
        (torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "quantized"),
        (torch.zeros(2, dtype=torch.float8_e4m3fn), "8-bit"),
    ]:
        with pytest.raises(NotImplementedError, match=words):
            to_ours(x)
    with pytest.raises(Damaged, match=r"before version 1\.6"):
        to_ours({"a": torch.ones(1)}, _use_new_zipfile_serialization=False)
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), file)
    file.seek(0)
    with pytest.raises(Damaged, match=r"TorchScript|compressed|like the others"):
        fs.load(file)


# ---- models and optimizers -------------------------------------------------------------------------------------------


def make(lib):
    nn = lib.nn
    # A bias before BatchNorm has no gradient but noise, which Adam would blow up.
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, bias=False),
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8, 4),
        nn.LayerNorm(4),
        nn.Linear(4, 3),
    )


def train(lib, net, optimizer, steps, first=0):
    for i in range(first, first + steps):
        x = np.random.default_rng(i).normal(size=(4, 1, 4, 4)).astype("float32")
        optimizer.zero_grad()
        (net(lib.tensor(x.tolist())) ** 2).mean().backward()
        optimizer.step()
    return {name: np.array(p.tolist()) for name, p in net.state_dict().items()}


OPTIMIZERS = [
    ("SGD", {"lr": 0.1, "momentum": 0.9}), ("Adam", {"lr": 0.01}), ("AdamW", {"lr": 0.01, "amsgrad": True}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.5}), ("Adagrad", {"lr": 0.01}), ("NAdam", {"lr": 0.01}),
]  # fmt: skip


@pytest.mark.parametrize("name, options", OPTIMIZERS, ids=[n for n, _ in OPTIMIZERS])
@pytest.mark.parametrize("back", [False, True], ids=["theirs to ours", "ours to theirs"])
def test_training_goes_on_in_the_other_library(name, options, back):
    first, second = (fs, torch) if back else (torch, fs)
    net = make(first)
    optimizer = getattr(first.optim, name)(net.parameters(), **options)
    train(first, net, optimizer, 3)
    state = (to_torch if back else to_ours)({"net": net.state_dict(), "optimizer": optimizer.state_dict(), "step": 3})
    other = make(second)
    other_optimizer = getattr(second.optim, name)(other.parameters(), **options)
    assert str(other.load_state_dict(state["net"])) == "<All keys matched successfully>"
    assert state["net"]._metadata == net.state_dict()._metadata
    other_optimizer.load_state_dict(state["optimizer"])
    expected, found = train(first, net, optimizer, 3, 3), train(second, other, other_optimizer, 3, 3)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=2e-4, atol=2e-5, err_msg=key)


# ---- safetensors -----------------------------------------------------------------------------------------------------


def test_safetensors(tmp_path):
    package = pytest.importorskip("safetensors.torch")
    from safetensors import safe_open

    ours = {n: (fs.arange(6) % 2).reshape(2, 3).to(getattr(fs, n)) for n in DTYPES}
    ours.update(empty=fs.zeros(0, 5), scalar=fs.tensor(2.5))
    theirs = {
        n: torch.tensor(x.tolist(), dtype=getattr(torch, repr(x.dtype)[6:])).reshape(tuple(x.shape))
        for n, x in ours.items()
    }
    package.save_file(theirs, tmp_path / "theirs", {"a": "b"})
    fs.safetensors.save_file(ours, tmp_path / "ours", {"a": "b"})
    assert (tmp_path / "theirs").read_bytes() == (tmp_path / "ours").read_bytes()
    assert fs.safetensors.save(ours) == package.save(theirs)
    for found in (fs.safetensors.load_file(tmp_path / "theirs"), fs.safetensors.load(package.save(theirs))):
        assert found.keys() == theirs.keys()
        for name, x in found.items():
            same(x, theirs[name])
    for name, x in package.load_file(tmp_path / "ours").items():
        assert torch.equal(x, theirs[name])
    with safe_open(tmp_path / "ours", "pt") as a, fs.safetensors.safe_open(tmp_path / "ours", "pt") as b:
        assert list(a.keys()) == b.keys() and a.metadata() == b.metadata()
        assert a.get_slice("int16")[:, 1:].tolist() == b.get_slice("int16")[:, 1:].tolist()
        assert a.get_slice("int16").get_shape() == b.get_slice("int16").get_shape()
        assert a.get_slice("int16").get_dtype() == b.get_slice("int16").get_dtype()
