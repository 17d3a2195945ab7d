"""Takes the tables of docs/performance.md, or of another machine's page, anew and writes them into it.

    python benches/report.py                       all tables: about twenty minutes on a machine that does nothing else
    python benches/report.py products train        only these
    python benches/report.py --dry-run functions   prints the table instead
    python benches/report.py --page performance-cascade-lake.md     those of another machine's page

A table stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; everything else in the document is written by hand. Each
bench runs in a process of its own, which measures firesteel and PyTorch in turns.
"""

import argparse
import math
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"


# Both libraries without AVX-512.
AVX2 = {
    "FIRESTEEL_ISA": "avx2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}


def rows(script, *options, environment=None):
    """The lines of a bench's tables as lists of cells, a header among them wherever it changes."""
    command = [sys.executable, "-P", str(HERE / script), *options]
    print(
        "$", *(f"{name}={value}" for name, value in (environment or {}).items()), *command, file=sys.stderr, flush=True
    )
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path} | (environment or {})
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    for line in done.stdout.splitlines():
        if "|" in line and set(line) - set("|-+: "):
            yield [cell.strip() for cell in line.strip().strip("|").split("|")]


def table(header, lines):
    """Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *lines])


def mean(ratios):
    return f"{math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}" if ratios else ""


def products():
    """One line per product or convolution, both thread counts side by side; the geometric means below."""
    found, names, ratios, below = {}, {}, {}, {}
    for cells in rows("kernels_matmul_conv.py"):
        if "ratio" in cells:
            names = {name: place for place, name in enumerate(cells)}
        elif len(cells) == len(names):
            row, threads = cells[0], cells[names["threads"]]
            shown = [cells[i] for name, i in names.items() if name not in ("row", "threads")]
            found.setdefault(row, {})[threads] = shown
            ratios.setdefault(threads, []).append(float(cells[names["ratio"]]))
            below[threads] = below.get(threads, 0) + (ratios[threads][-1] < 0.95)
    columns = [name for name in names if name not in ("row", "threads")]
    header = ["row"] + [
        f"{n} thread{'s'[: n > 1]}: {name}" if name == columns[0] else name for n in (1, 2) for name in columns
    ]
    lines = [
        [row, *both.get("1", [""] * len(columns)), *both.get("2", [""] * len(columns))] for row, both in found.items()
    ]
    said = [
        f"{mean(r)} with {n} thread{'s'[: n != '1']} ({below[n]} of {len(r)} rows below 0.95)"
        for n, r in ratios.items()
    ]
    return table(header, lines) + "\n\nGeometric means: " + ", ".join(said) + "."


def families(*options, environment=None):
    """Ratios by family and number of threads; those below 1 by family, case and number of threads."""
    means, losing, family, threads, place = {}, {}, "", "", 0
    for cells in rows("kernels.py", *options, environment=environment):
        if "ratio" in cells:
            family, threads = re.match(r"(.*), (\d+) thread", cells[0]).groups()
            place = cells.index("ratio")
        elif cells[0] != "geometric mean":
            ratio = float(cells[place])
            means.setdefault(family, {}).setdefault(threads, []).append(ratio)
            if ratio < 1:
                losing.setdefault(family, {}).setdefault(cells[0], {})[threads] = ratio
    return means, losing


def functions():
    """One line per family of kernels with its geometric means, then every case that loses."""
    means, losing = families()
    lines = [[f, str(max(map(len, by.values()))), mean(by.get("1")), mean(by.get("2"))] for f, by in means.items()]
    lost = [
        [f, "; ".join(f"{case} {by.get('1', '≥ 1')} / {by.get('2', '≥ 1')}" for case, by in cases.items())]
        for f, cases in losing.items()
    ]
    first = table(["family", "cases", "1 thread", "2 threads"], lines)
    return first + "\n\nCases below 1 (one thread / two threads):\n\n" + table(["family", "cases"], lost)


def avx2():
    """Geometric means without AVX-512 in either library, one thread, then every case that loses."""
    ratios, lost = {"matrix products": [], "convolutions": []}, {}
    place = 0
    for cells in rows("kernels_matmul_conv.py", "--threads", "1", environment=AVX2):
        if "ratio" in cells:
            place = cells.index("ratio")
        elif len(cells) > place > 0:
            family = "convolutions" if "conv" in cells[0] else "matrix products"
            ratios[family].append(float(cells[place]))
            if ratios[family][-1] < 1:
                lost.setdefault(family, {})[cells[0]] = {"1": ratios[family][-1]}
    means, losing = families("--threads", "1", environment=AVX2)
    ratios |= {family: by["1"] for family, by in means.items()}
    first = table(["family", "cases", "1 thread"], [[f, str(len(r)), mean(r)] for f, r in ratios.items()])
    below = [[f, "; ".join(f"{case} {by['1']}" for case, by in cases.items())] for f, cases in (lost | losing).items()]
    return first + "\n\nCases below 1:\n\n" + table(["family", "cases"], below)


def shares():
    """Large pools, norms and softmaxes beside a plain copy of as many bytes."""
    found = {}
    for cells in rows("kernels.py", "--shares"):
        if "share" not in cells:
            case, threads, size, *rest = cells
            found.setdefault((case, size), {})[threads] = [rest[1], rest[2], rest[3]]
    header = ["case", "MB"] + [f"{n}: {name}" for n in (1, 2) for name in ("GB/s", "copy", "share")]
    return table(header, [[*key, *by.get("1", [""] * 3), *by.get("2", [""] * 3)] for key, by in found.items()])


def train():
    """Steps of whole models."""
    header, lines = [], []
    for cells in rows("train.py"):
        if "ratio" in cells:
            header = cells
        else:
            lines.append(cells)
    keep = [i for i, name in enumerate(header) if name not in ("target", "ok")]
    return table([header[i] for i in keep], [[line[i] for i in keep] for line in lines])


def nets():
    """Well-known networks, both thread counts side by side; the geometric means below."""
    found, shares = {}, {}
    for cells in rows("nets.py"):
        if "share" not in cells:
            name, threads, ours, theirs, share = cells
            found.setdefault(name, {})[threads] = [ours, theirs, share]
            shares.setdefault(threads, []).append(float(share))
    header = ["net"] + [f"{n}: {name}" for n in (1, 2) for name in ("firesteel ms", "PyTorch ms", "share")]
    lines = [[name, *by.get("1", [""] * 3), *by.get("2", [""] * 3)] for name, by in found.items()]
    means = " and ".join(f"{mean(values)} with {n} thread{'s' * (n != '1')}" for n, values in shares.items())
    return f"{table(header, lines)}\n\nGeometric means: {means}."


def threads():
    """A busy neighbour, and what a fork and join costs."""
    header, lines = [], []
    for cells in rows("threads.py", "--seconds", "2"):
        if "ratio" in cells:
            header = cells
        else:
            lines.append(cells)
    return table(header, lines)


TABLES = {f.__name__: f for f in (products, functions, avx2, shares, train, nets, threads)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tables", nargs="*", choices=[[], *TABLES], help=", ".join(TABLES))
    parser.add_argument("--page", default="performance.md", help="file in docs/ whose tables are written")
    parser.add_argument("--dry-run", action="store_true", help="print, change nothing")
    args = parser.parse_args()
    page = DOCS / args.page
    places = re.findall(r"<!-- begin (\w+) -->", page.read_text())
    for name in args.tables or places:
        text = TABLES[name]()
        if args.dry_run:
            print(text)
            continue
        old = page.read_text()
        marked = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.S)
        assert marked.search(old), f"{page} has no place for the table {name}"
        before, after = marked.search(old).groups()
        page.write_text(marked.sub(lambda _, new=f"{before}\n{text}\n\n{after}": new, old))
    return 0


if __name__ == "__main__":
    sys.exit(main())
