"""Files that are damaged, or made to harm: refused with a message, at once, and nothing in them runs."""

import io
import os
import pickle
import random
import resource
import struct
import subprocess
import zipfile
from collections import Counter, OrderedDict

import firesteel as fs
import pytest
from checkpoints import REFUSED, archive, loaded, saved, storage_pickle
from firesteel import nn
from firesteel.serialization import Damaged

# ---- damage ----------------------------------------------------------------------------------------------------------

SMALL = {"a": fs.arange(5.0), "b": [1, "x", fs.zeros(0)]}


def test_every_damaged_byte_is_noticed():
    raw = saved(SMALL)
    for at in range(len(raw)):
        for change in (0x01, 0xFF):
            damaged = bytearray(raw)
            damaged[at] ^= change
            with pytest.raises(Damaged):
                loaded(bytes(damaged))


def test_every_cut_is_noticed():
    raw = saved(SMALL)
    for end in range(len(raw)):
        with pytest.raises(Damaged):
            loaded(raw[:end])
    with pytest.raises(Damaged):
        loaded(raw + b"\0")


@pytest.mark.parametrize(
    "raw, words",
    [
        (b"", "empty"),
        (b"noise" * 100, "no zip file"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", "before version 1.6"),
        (b"x".ljust(257, b"\0") + b"ustar" + bytes(300), "before version 1.6"),
        (b"\x08\0\0\0\0\0\0\0{      }", "safetensors"),
        (saved(1)[:-30], "cut short"),
        (pickle.dumps([1]), "no zip file"),
        (archive(b"")[:0] + archive(pickle.dumps(1, 2), [("constants.pkl", b"")]), "TorchScript"),
    ],
    ids=["empty", "noise", "stream", "tar", "safetensors", "cut", "pickle", "script"],
)
def test_other_files(raw, words, tmp_path):
    with pytest.raises(Damaged, match=words):
        loaded(raw)
    (tmp_path / "a.pt").write_bytes(raw)
    with pytest.raises(Damaged, match=r"a\.pt"):
        fs.load(tmp_path / "a.pt")


def test_archives_that_are_no_checkpoints():
    def zipped(*entries, compress=zipfile.ZIP_STORED):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", compress) as z:
            for name, data in entries:
                z.writestr(zipfile.ZipInfo(name), data, compress)
        return file.getvalue()

    for raw, words in [
        (zipped(), "no records"),
        (zipped(("a/x", b"")), "no checkpoint"),
        (zipped(("a/data.pkl", b"N."), ("b/version", b"3")), "several folders"),
        (zipped(("a/data.pkl", bytes(1 << 20)), compress=zipfile.ZIP_DEFLATED), "compressed"),
    ]:
        with pytest.raises(Damaged, match=words):
            loaded(raw)
    with pytest.warns(UserWarning, match="Duplicate"):
        double = zipped(("a/data.pkl", b"N."), ("a/data.pkl", b"I."))
    with pytest.raises(Damaged, match="one name"):
        loaded(double)


def test_records_that_overlap():
    raw = saved([fs.ones(4), fs.zeros(4)])
    with zipfile.ZipFile(io.BytesIO(raw)) as zipped:
        first, second = (zipped.getinfo(f"archive/data/{i}").header_offset for i in range(2))
    at = raw.rindex(struct.pack("<L", second))  # In the directory.
    with pytest.raises(Damaged):
        loaded(raw[:at] + struct.pack("<L", first) + raw[at + 4 :])


def test_without_sums():
    """PyTorch can be told to write none: the file is read, with a warning."""
    raw = bytearray(saved(SMALL))
    with zipfile.ZipFile(io.BytesIO(raw)) as zipped:
        entries, at = zipped.infolist(), zipped.start_dir
    for entry in entries:
        raw[entry.header_offset + 14 : entry.header_offset + 18] = bytes(4)
        raw[at + 16 : at + 20] = bytes(4)
        at += 46 + len(entry.filename)
    with pytest.warns(UserWarning, match="without sums"):
        assert loaded(bytes(raw))["a"].tolist() == [0, 1, 2, 3, 4]


# ---- pickles ---------------------------------------------------------------------------------------------------------


def test_a_pickle_by_hand():
    assert loaded(archive(storage_pickle(), [("data/0", struct.pack("<2f", 1, 2))])).tolist() == [1, 2]


HUGE = b"\x8a\x08" + (10**15).to_bytes(8, "little")


@pytest.mark.parametrize(
    "pickled",
    [
        storage_pickle(count=10**15, view=b"K\x00" + HUGE + b"\x85K\x01\x85\x89"),
        storage_pickle(count=2**78),
        storage_pickle(count=-1),
        storage_pickle(count=3),
        storage_pickle(view=b"K\x00" + HUGE + b"\x85K\x01\x85\x89"),
        storage_pickle(view=b"K\x00" + HUGE + b"\x85K\x00\x85\x89"),
        storage_pickle(view=b"K\x01K\x02\x85K\x01\x85\x89"),
        storage_pickle(view=b"K\x00J\xff\xff\xff\xff\x85K\x01\x85\x89"),
        storage_pickle(view=b"K\x00K\x02\x85J\xff\xff\xff\xff\x85\x89"),
        storage_pickle(view=b"K\x00K\x02\x85" + HUGE + b"\x85\x89"),
        storage_pickle(view=b"K\x00K\x02\x85K\x01K\x01\x86\x89"),
        storage_pickle(view=b"K\x00]K\x01\x85\x89"),
        storage_pickle(view=b"K\x00K\x02\x85K\x01\x85K\x01"),
        storage_pickle(key="1"),
        storage_pickle(key="../../etc/passwd"),
        storage_pickle(kind="torch\nFloatTensor"),
        storage_pickle(kind="torch\nLongStorage", view=b"K\x00K\x01\x85K\x01\x85\x88"),
        b"\x80\x02ctorch._utils\n_rebuild_meta_tensor_no_storage\n(ctorch\nfloat32\n" + HUGE + b"\x85K\x01\x85\x89tR.",
    ],
)
def test_tensors_that_promise_too_much(pickled):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(REFUSED):
        loaded(archive(pickled, [("data/0", bytes(8))]))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 15, "less than 32 MiB"


class Code:
    """What a pickle can run."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "obj, name",
    [
        (Code(os.system, "touch ran"), "system"),
        (Code(eval, "open('ran', 'w')"), "builtins.eval"),
        (Code(exec, "open('ran', 'w')"), "builtins.exec"),
        (Code(getattr, 1, "real"), "builtins.getattr"),
        (Code(__import__, "this"), "builtins.__import__"),
        ([1, {"a": Code(open, "ran", "w")}], "io.open"),
        (print, "builtins.print"),
        (subprocess.Popen, "Popen"),
        (object(), "copyreg|builtins.object"),
        (nn.Linear, "firesteel.nn.linear.Linear"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_code_is_refused_and_named(obj, name, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw = archive(pickle.dumps(obj, protocol))
    for only in (True, False, None):
        with pytest.raises(pickle.UnpicklingError, match=name):
            loaded(raw, weights_only=only)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_is_read(protocol):
    obj = {"a": [1, -(2**80), 1.5, b"", b"xyz", bytearray(b"q"), "t" * 300, None], "b": {1, 2}, "c": frozenset([3]),
           "d": (1, 2, 3, 4), "e": OrderedDict(z=1), "f": Counter("aa"), "g": 1j, "h": list(range(2000))}  # fmt: skip
    obj["a"].append(obj)
    found = loaded(archive(pickle.dumps(obj, protocol)))
    assert found["a"].pop() is found and obj["a"].pop() is obj
    assert found == obj


@pytest.mark.parametrize(
    "pickled",
    [
        b"", b".", b"N", b"N.N.", b"NN.", b"(N.", b"t.", b"K", b"h\x00.", b"j\xff\xff\xff\xff.", b"q\x00.",
        b"X\xff\xff\xff\xff.", b"\x8d" + b"\xff" * 8 + b".", b"\x8e" + b"\xff" * 8 + b".", b"\x96" + b"\xff" * 8 + b".",
        b"\x8b\xff\xff\xff\xff.", b"\x8b\xff\xff\xff\x7f.", b"\x8a\xff.", b"B\xff\xff\xff\xff.", b"X\x01\x00\x00\x00\xff.",
        b"a.", b"]a.", b"Na.", b"N]a.", b"}Ks.", b"}]Ns.", b"}(Ku.", b"}(KKKu.", b"NNb.", b"]}b.", b"Q.", b"NQ.",
        b")Q.", b"NR.", b"N)R.", b"cos\nsystem\n.", b"c\n\n.", b"cos\n", b"c" + b"a" * 5000 + b".", b"\x93.", b"NN\x93.",
        b"\x80\x06N.", b"\x95N.", b"ccollections\nOrderedDict\n.", b"]ccollections\nOrderedDict\na.",
        b"ccollections\nOrderedDict\nN\x85R.", b"ccollections\nOrderedDict\nNNNNt\x85R.", b"c__builtin__\nset\nK\x01\x85R.",
        b"c__builtin__\nset\n]]a\x85R.", b"c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
        b"c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R.", b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R.",
        b"c_codecs\nencode\nX\x02\x00\x00\x00\xc4\x80\x85R.", b"ctorch\nSize\nX\x01\x00\x00\x00a\x85R.",
        b"ctorch\nSize\n(X\x01\x00\x00\x00at\x85R.", b"ctorch\ndevice\nX\x01\x00\x00\x00a\x85R.",
        b"ctorch\ndevice\nX\x03\x00\x00\x00cpu\x8a\x09" + b"\xff" * 8 + b"\x00\x86R.", b"ctorch\nTensor\n)R.",
        b"ctorch._utils\n_rebuild_parameter\nN\x85R.", b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"ctorch._tensor\n_rebuild_from_type_v2\n(NNNNtR.", b"ctorch.serialization\n_get_layout\nN\x85R.",
        b"ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemsK\x01sb.",
        b"ccollections\nOrderedDict\n)R}X\x09\x00\x00\x00__class__Nsb.",
        b"ccollections\nCounter\n]\x85R.", b"c__builtin__\ncomplex\nK\x01K\x02\x86R.", b"P0\n.", b"I1\n.", b"L1L\n.",
        b"i\nos\nsystem\n.", b"o.", b"2.", b"\x82\x01.", b"\x97.", b"\x98.",
    ],
)  # fmt: skip
def test_odd_pickles(pickled):
    with pytest.raises(pickle.UnpicklingError):
        loaded(archive(pickled))


@pytest.mark.parametrize(
    "name, words",
    [
        ("torch\nComplexFloatStorage", "complex"), ("torch\ncomplex64", "complex"), ("torch\nQInt8Storage", "quantized"),
        ("torch\nfloat8_e4m3fn", "8-bit"), ("torch._utils\n_rebuild_sparse_tensor", "sparse"),
    ],
)  # fmt: skip
def test_kinds_of_tensor_that_are_not_there(name, words):
    with pytest.raises(NotImplementedError, match=words):
        loaded(archive(f"c{name}\n.".encode()))


def bombs():
    deep = b"N" + b"\x85" * 200_000 + b"q\x00"
    yield "a key of many tuples", deep + b"0}h\x00Ns."
    yield "a set of many tuples", deep + b"0(h\x00\x91."
    doubled = b"N" + b"q\x000h\x00h\x00\x86" * 60
    yield "a key of 2^60 parts", b"}" + doubled + b"Ns."
    yield "copies of a long list", b"]q\x00(" + b"N" * 100_000 + b"e0(" + b"c__builtin__\nset\nh\x00\x85R" * 1
    long = b"](" + b"K\x01" * 200_000 + b"eq\x000c__builtin__\nfrozenset\nq\x010("
    yield "copies of a long set", long + b"h\x01h\x00\x85R" * 50_000 + b"t."
    text = b"X" + struct.pack("<I", 10_000_000) + b"a" * 10_000_000 + b"q\x000c_codecs\nencode\nq\x010("
    yield "copies of a long text", text + b"h\x01h\x00\x85R" * 100_000 + b"t."
    yield "a large memo", b"Nr\xff\xff\xff\xff0N" + b"q\x00" * 3 + b"a."
    yield (
        "a size of many parts",
        storage_pickle(view=b"K\x00(" + b"\x8a\x08" + b"\xff" * 7 + b"\x7f" * 1 + b"tK\x01\x85\x89"),
    )
    yield "a long int", b"\x8b" + struct.pack("<i", 1 << 20) + b"\x7f" * (1 << 20) + b"."


@pytest.mark.parametrize("pickled", [p for _, p in bombs()], ids=[n for n, _ in bombs()])
def test_bombs(pickled):
    """Short pickles that would take much time or memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(REFUSED):
        loaded(archive(pickled, [("data/0", bytes(8))]))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20, "less than 1 GiB"


def test_noise_in_pickles():
    """Any bytes in place of those of a pickle: refused, or some plain value; never anything else."""
    rng = random.Random(0)
    with zipfile.ZipFile(
        io.BytesIO(saved({"a": fs.ones(3), "b": [1, (2, "x")], "c": OrderedDict(d=nn.Parameter(fs.ones(1)))}))
    ) as z:
        good = z.read("archive/data.pkl")
    records = [("data/0", bytes(12)), ("data/1", bytes(4))]
    outcomes: Counter = Counter()
    for _ in range(4000):
        noisy = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(noisy))
            kind = rng.randrange(3)
            if kind == 0:
                noisy[at] = rng.randrange(256)
            elif kind == 1:
                del noisy[at : at + rng.randint(1, 8)]
            else:
                noisy[at:at] = bytes(
                    rng.choice(b"(.0NKtQRbeus]})h\x85\x86\x93\x94\x81\x8a\x8c") for _ in range(rng.randint(1, 4))
                )
        try:
            loaded(archive(bytes(noisy), records))
            outcomes["read"] += 1
        except REFUSED as error:
            outcomes[type(error).__name__] += 1
    assert outcomes["UnpicklingError"] > 2000 and outcomes["read"] > 10, outcomes
