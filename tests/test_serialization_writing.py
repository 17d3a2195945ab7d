"""A checkpoint is replaced as a whole: whatever stops the writer, the old file or the new one is there."""

import os
import stat
import subprocess
import sys
import textwrap
import threading
import zlib

import firesteel as fs
import pytest
from firesteel.serialization import atomic

# ---- the old file or the new one -------------------------------------------------------------------------------------


@pytest.fixture(params=["nameless", "named"])
def temporary(request, monkeypatch):
    """Both ways of writing beside the old file."""
    if request.param == "named":
        monkeypatch.setattr(atomic, "_nameless", lambda folder: None)


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch, temporary):
    path = tmp_path / "a.pt"
    fs.save([fs.ones(2)], path)
    old = path.read_bytes()
    real = os.replace
    for place in ("write", "fsync", "replace"):
        with monkeypatch.context() as patch:

            def fail(*_):
                raise OSError(28, "No space left on device")

            if place == "write":
                patch.setattr("firesteel.serialization.write", fail)
            else:
                patch.setattr(os, place, fail)
            with pytest.raises(OSError, match="No space"):
                fs.save([fs.zeros(2)], path)
        assert path.read_bytes() == old and os.listdir(tmp_path) == ["a.pt"], place
    assert os.replace is real


def test_ctrl_c_keeps_the_old_file(tmp_path, monkeypatch, temporary):
    path = tmp_path / "a.pt"
    fs.save(1, path)
    crc32, calls = zlib.crc32, []

    def interrupted(*given):
        calls.append(given)
        if len(calls) > 5:
            raise KeyboardInterrupt
        return crc32(*given)

    monkeypatch.setattr("zipfile.crc32", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fs.save(fs.ones(1 << 20), path)
    monkeypatch.undo()
    assert fs.load(path) == 1 and os.listdir(tmp_path) == ["a.pt"]


def test_a_full_disk(tmp_path):
    path = tmp_path / "a.pt"
    fs.save(1, path)
    program = f"""
        import resource, signal, firesteel as fs
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        for size in (24_500, 100_000, 10_000_000):
            try:
                fs.save(fs.ones(size), {str(path)!r})
            except OSError as error:
                print(error.errno)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["27"] * 2, "files within the limit are written, larger ones are errors"
    assert fs.load(path).numel() == 24_500 and os.listdir(tmp_path) == ["a.pt"]


def test_permissions_and_links(tmp_path, temporary):
    path, link = tmp_path / "a.pt", tmp_path / "link.pt"
    fs.save(1, path)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    path.chmod(0o640)
    link.symlink_to("a.pt")
    fs.save(2, link)
    assert link.is_symlink() and fs.load(path) == 2 and stat.S_IMODE(path.stat().st_mode) == 0o640
    dangling = tmp_path / "dangling.pt"
    dangling.symlink_to("b.pt")
    fs.save(3, dangling)
    assert dangling.is_symlink() and fs.load(tmp_path / "b.pt") == 3
    fs.save(4, tmp_path / ("n" * 255))
    assert fs.load(tmp_path / ("n" * 255)) == 4


def test_devices_and_folders(tmp_path):
    fs.save(1, os.devnull)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    with pytest.raises(IsADirectoryError):
        fs.save(1, tmp_path)
    with pytest.raises(FileNotFoundError):
        fs.save(1, tmp_path / "no" / "a.pt")
    with pytest.raises(FileNotFoundError):
        fs.load(tmp_path / "a.pt")


KILLED = """
    import os, random, signal, sys, time
    import firesteel as fs
    folder, named = sys.argv[1], sys.argv[2] == "named"
    from firesteel.serialization import atomic
    if named:
        atomic._nameless = lambda folder: None
    nameless = atomic._nameless(folder) is not None
    path = os.path.join(folder, "a.pt")
    start = time.perf_counter()
    fs.save({"n": 0, "x": fs.zeros(200_000)}, path)
    fs.save({"n": 0, "x": fs.zeros(200_000)}, path)
    each = (time.perf_counter() - start) / 2
    rng, seen = random.Random(1), set()
    for trial in range(50):
        started, ready = os.pipe()
        child = os.fork()
        if child == 0:
            n = fs.load(path)["n"]
            os.write(ready, b"x")
            while True:
                n += 1
                fs.save({"n": n, "x": fs.full((200_000,), float(n))}, path)
        os.read(started, 1)
        time.sleep(rng.random() * 4 * each)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(started), os.close(ready)
        found = fs.load(path)
        assert (found["x"] == found["n"]).all(), found
        seen.add(found["n"])
    others = [f for f in os.listdir(folder) if f != "a.pt"]
    assert all(f.startswith(".a.pt.") and f.endswith(".firesteel-tmp") for f in others), others
    assert not nameless or len(others) < 10, others
    print(len(seen))
"""


@pytest.mark.parametrize("way", ["nameless", "named"])
def test_killed_while_saving(way, tmp_path):
    """A hundred kills in all: each leaves a whole file, old or new."""
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path), way]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10, "the kills hit many different states"


def test_two_writers(tmp_path):
    path = tmp_path / "a.pt"

    def work(n):
        for _ in range(20):
            fs.save({"n": n, "x": fs.full((10_000,), float(n))}, path)
            found = fs.load(path)
            results.append(bool((found["x"] == found["n"]).all()))

    results: list = []
    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert results == [True] * 60 and os.listdir(tmp_path) == ["a.pt"]
