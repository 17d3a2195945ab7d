"""Prints `docs/devices.md`: which op runs on which device, from the op table.

python -m firesteel._devices > docs/devices.md
python -m firesteel._devices --check docs/devices.md
"""

from __future__ import annotations

import sys
from pathlib import Path

from . import _C, autograd

HEAD = """\
# Ops and devices

Made from the op table by `python -m firesteel._devices`; a test fails when it is out of date. Ops of one name (overloads)
have a line each.

- **cpu**: every op, in every dtype that PyTorch's has.
- **gpu**: `shader`: the op's own, for float32; where its WGSL has them, for int32 and bool too. `view`: a layout, no work.
  `composite`: taken apart into simpler ops on the gpu, each of which must have a shader. `-`: raises `NotImplementedError`
  with the op's and the device's name; nothing moves to the CPU silently. int64 is stored in 32 bits there: comparisons,
  choices, copies, indices and labels work, arithmetic raises. What reads no tensor's values (`_randn`, `_randperm`,
  `_arange`, …) is made on the CPU and uploaded.
- **meta**: shapes and dtypes, for every op whose result's size does not depend on values.

"""


def table() -> str:
    """The page."""
    assert autograd  # composites are registered at its import
    lines = ["| op | cpu | gpu | meta |", "| --- | --- | --- | --- |"]
    ops = sorted(_C._op_table(), key=lambda op: (op["key"].lstrip("_"), op["key"]))
    for op in ops:
        meta = "-" if op["kind"] == "data_shape" else "yes"
        lines.append(f"| `{op['key']}` | yes | {op['gpu'] or '-'} | {meta} |")
    counts = {kind: sum(op["gpu"] == kind for op in ops) for kind in ("shader", "view", "composite", None)}
    total = (
        f"{len(ops)} ops; on the gpu {counts['shader']} with a shader, {counts['view']} views, {counts['composite']} "
        f"composites, {counts[None]} not there.\n\n"
    )
    return HEAD + total + "\n".join(lines) + "\n"


def main(argv: list[str]) -> int:
    if argv[:1] == ["--check"]:
        if Path(argv[1]).read_text() == table():
            return 0
        print(f"{argv[1]} is out of date: python -m firesteel._devices > {argv[1]}", file=sys.stderr)
        return 1
    sys.stdout.write(table())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
