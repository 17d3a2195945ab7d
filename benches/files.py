"""Saving and loading a checkpoint of 400 MB, beside PyTorch in the same run.

    python benches/files.py [FOLDER]        FOLDER: where the files go (a temporary one)

Each line is the least of five rounds in which the libraries take turns, with the files in the page cache. "durable" is
firesteel's `save` to a path, which waits for the disk; PyTorch's does not, so its rival is `save` to an open file. What
the disk itself takes for as many bytes is the last line.
"""

import os
import sys
import tempfile
import time

import firesteel as fs

try:
    import torch
except ImportError:
    torch = None

MB = 400
ROUNDS = 5


def timed(rounds, cases):
    """The least time of each case; they take turns."""
    best = dict.fromkeys(cases, float("inf"))
    for _ in range(rounds):
        for name, run in cases.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def raw_write(path, data):
    """The same bytes without a format, brought to the disk."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def to_open_file(lib, state, path):
    with open(path, "wb") as file:
        lib.save(state, file)


def main(folder):
    count = MB * 1_000_000 // 4 // 40
    ours = {f"layer{i}.weight": fs.rand(count) for i in range(40)}
    at = {name: os.path.join(folder, name) for name in ("ours", "theirs", "raw", "st")}
    data = bytes(MB * 1_000_000)
    cases = {
        "save, firesteel, durable": lambda: fs.save(ours, at["ours"]),
        "save, firesteel, open file": lambda: to_open_file(fs, ours, at["ours"]),
        "load, firesteel": lambda: fs.load(at["ours"]),
        "load, firesteel, mmap": lambda: fs.load(at["ours"], mmap=True),
        "save safetensors, durable": lambda: fs.safetensors.save_file(ours, at["st"]),
        "load safetensors": lambda: fs.safetensors.load_file(at["st"]),
        "write and fsync, no format": lambda: raw_write(at["raw"], data),
    }
    if torch is not None:
        theirs = {name: torch.from_numpy(x.numpy()) for name, x in ours.items()}
        torch.save(theirs, at["theirs"])
        cases["save, PyTorch, open file"] = lambda: to_open_file(torch, theirs, at["theirs"])
        cases["save, PyTorch, path"] = lambda: torch.save(theirs, at["theirs"])
        cases["load, PyTorch"] = lambda: torch.load(at["theirs"], weights_only=True)
        cases["load, PyTorch, mmap"] = lambda: torch.load(at["theirs"], weights_only=True, mmap=True)
    for name, seconds in sorted(timed(ROUNDS, cases).items()):
        print(f"{name:30} {seconds * 1e3:8.1f} ms {MB / seconds / 1e3:8.2f} GB/s")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(folder)
