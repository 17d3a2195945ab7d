"""What small operations cost besides arithmetic, as ratios to NumPy and PyTorch measured in the same run.

    python benches/overhead.py              the table; PyTorch's columns are empty where it is not installed
    python benches/overhead.py --check      exit status 1 when a target is missed

The libraries take turns in rounds of a few milliseconds, so that a disturbance hits all of them; a time is the least of
all rounds. A ratio is firesteel's time over that of the library it is compared with.
"""

import argparse
import glob
import importlib
import os
import statistics
import subprocess
import sys
import time
import timeit
from dataclasses import dataclass

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@dataclass
class Case:
    """One line of the table: a statement, timed in each library under the name `t`."""

    name: str
    setup: str
    statement: str
    target: float
    against: str = "torch"
    numpy: tuple[str, str] | None = None  # setup and statement, where NumPy has such a thing


VECTORS = "a = t.tensor([1.0, 2.0, 3.0, 4.0]); b = t.tensor([4.0, 3.0, 2.0, 1.0]); m = t.ones(4, 4)"
GRADS = VECTORS + "; a.requires_grad_(); b.requires_grad_()"
ARRAYS = (
    "a = t.array([1.0, 2.0, 3.0, 4.0], dtype=t.float32); b = t.array([4.0, 3.0, 2.0, 1.0], dtype=t.float32);"
    "m = t.ones((4, 4), dtype=t.float32)"
)
CHAIN = """
x = t.ones(4, requires_grad=True)
def chain():
    y = x
    for _ in range(10):
        y = y * 1.01
        y = y + 0.5
    y.sum().backward()
    x.grad = None
"""
STEP = """
params = [t.ones(4, 4, requires_grad=True) for _ in range(20)]
for p in params:
    p.grad = t.full((4, 4), 1e-6)
step = t.optim.{}(params{}).step
zero = t.optim.SGD(params).zero_grad
"""
LINEAR = "import sys; Linear = t.nn.Linear; layer = Linear(4, 4); x = t.ones(2, 4)"
SMALL, VIEW, STEPS = 1 / 3.5, 1 / 2, 1 / 8

CASES = [
    Case("a + b, 4 floats", VECTORS, "a + b", 1.0, "numpy", (ARRAYS, "a + b")),
    Case("a + b, 4 floats", VECTORS, "a + b", 1 / 5, numpy=(ARRAYS, "a + b")),
    Case("a + b with grad", GRADS, "a + b", 1 / 4),
    Case("a * 2.0", VECTORS, "a * 2.0", SMALL, numpy=(ARRAYS, "a * 2.0")),
    Case("a < b", VECTORS, "a < b", SMALL, numpy=(ARRAYS, "a < b")),
    Case("a.exp()", VECTORS, "a.exp()", SMALL, numpy=(ARRAYS, "t.exp(a)")),
    Case("relu(a)", VECTORS, "t.relu(a)", SMALL, numpy=(ARRAYS, "t.maximum(a, 0)")),
    Case("a.add_(b)", VECTORS, "a.add_(b)", SMALL, numpy=(ARRAYS, "t.add(a, b, out=a)")),
    Case("a.sum()", VECTORS, "a.sum()", SMALL, numpy=(ARRAYS, "a.sum()")),
    Case("a.sum(dim=0)", VECTORS, "a.sum(dim=0)", SMALL, numpy=(ARRAYS, "a.sum(axis=0)")),
    Case(
        "mean(m, dim=-1, keepdim=True)",
        VECTORS,
        "t.mean(m, dim=-1, keepdim=True)",
        SMALL,
        numpy=(ARRAYS, "t.mean(m, axis=-1, keepdims=True)"),
    ),
    Case("m @ m, 4 x 4", VECTORS, "m @ m", SMALL, numpy=(ARRAYS, "m @ m")),
    Case("a.clamp(min=2.0)", VECTORS, "a.clamp(min=2.0)", SMALL, numpy=(ARRAYS, "a.clip(min=2.0)")),
    Case("where(a > 2, a, b)", VECTORS, "t.where(a > 2, a, b)", SMALL, numpy=(ARRAYS, "t.where(a > 2, a, b)")),
    Case("softmax(m, dim=1)", VECTORS, "t.softmax(m, dim=1)", SMALL),
    Case("cat([a, b], dim=0)", VECTORS, "t.cat([a, b], dim=0)", SMALL, numpy=(ARRAYS, "t.concatenate([a, b], axis=0)")),
    Case("20 ops forward and backward", CHAIN, "chain()", 1 / 2.5),
    Case("a[1]", VECTORS, "a[1]", VIEW, numpy=(ARRAYS, "a[1]")),
    Case("m[1:3, ::2]", VECTORS, "m[1:3, ::2]", VIEW, numpy=(ARRAYS, "m[1:3, ::2]")),
    Case("m.view(2, 8)", VECTORS, "m.view(2, 8)", VIEW, numpy=(ARRAYS, "m.reshape(2, 8)")),
    Case("m.t()", VECTORS, "m.t()", VIEW, numpy=(ARRAYS, "m.T")),
    Case("m.shape", VECTORS, "m.shape", VIEW, numpy=(ARRAYS, "m.shape")),
    Case("item()", VECTORS + "; s = a[0]", "s.item()", VIEW, numpy=(ARRAYS + "; s = a[:1]", "s.item()")),
    Case("tensor([1.0, 2.0])", "", "t.tensor([1.0, 2.0])", VIEW, numpy=("", "t.array([1.0, 2.0])")),
    Case("zeros(4)", "", "t.zeros(4)", VIEW, numpy=("", "t.zeros(4)")),
    Case("SGD step, 20 tensors", STEP.format("SGD", ", lr=1e-3"), "step()", STEPS),
    Case("SGD step with momentum", STEP.format("SGD", ", lr=1e-3, momentum=0.9"), "step()", STEPS),
    Case("Adam step, 20 tensors", STEP.format("Adam", ""), "step()", STEPS),
    Case("nn.Linear(4, 4)(x)", LINEAR, "layer(x)", VIEW),
    Case("nn.Linear(4, 4)", LINEAR, "Linear(4, 4)", VIEW),
]


def libraries():
    """The libraries that are installed, by name, one thread each."""
    found = {}
    for name in ("firesteel", "numpy", "torch"):
        try:
            found[name] = importlib.import_module(name)
        except ImportError:
            if name != "torch":
                raise
            continue
        if name != "numpy":
            found[name].set_num_threads(1)
    return found


def nanoseconds(case, libs, rounds, seconds):
    """The least time of the statement in each library that has it."""
    timers = {}
    for name, lib in libs.items():
        setup, statement = (case.setup, case.statement) if name != "numpy" else case.numpy or (None, None)
        if statement is None:
            continue
        # `setup` runs as a program of its own, so that functions in it see its names.
        space = {"t": lib}
        exec(setup, space)
        timer = timeit.Timer(statement, globals=space)
        number = 1
        while (taken := timer.timeit(number)) < seconds / 4:
            number *= 4
        timers[name] = (timer, max(1, int(number * seconds / taken)))
    best = dict.fromkeys(timers, float("inf"))
    for _ in range(rounds):
        for name, (timer, number) in timers.items():
            best[name] = min(best[name], timer.timeit(number) / number)
    return {name: value * 1e9 for name, value in best.items()}


def import_seconds(rounds):
    """How much longer a Python that imports firesteel takes than a bare one; medians, taken in turns."""
    taken = {"pass": [], "import firesteel": []}
    for _ in range(rounds):
        for statement, times in taken.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True)
            times.append(time.perf_counter() - start)
    bare, whole = (statistics.median(times) for times in taken.values())
    return whole - bare


def show(name, times, ratio, target, ok):
    cells = [f"{times[lib]:,.0f}" if lib in times else "" for lib in ("firesteel", "numpy", "torch")]
    verdict = {True: "yes", False: "NO", None: ""}[ok]
    row = f"{name:30} | {cells[0]:>12} | {cells[1]:>9} | {cells[2]:>9} | {ratio:>14} | {target:>12} | {verdict}"
    print(row.rstrip(), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with status 1 when a target is missed")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--milliseconds", type=float, default=3.0, help="length of one round of one library")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    args = parser.parse_args()
    libs = libraries()
    versions = ", ".join(f"{name} {getattr(lib, '__version__', '?')}" for name, lib in libs.items())
    print(f"{versions}; Python {sys.version.split()[0]}, one thread\n")
    print(f"{'case':30} | firesteel ns |  numpy ns |  torch ns |          ratio |       target | ok")
    print("-" * 106)
    verdicts = []
    for case in CASES:
        if args.only not in case.name:
            continue
        try:
            times = nanoseconds(case, libs, args.rounds, args.milliseconds / 1e3)
        except (AttributeError, NotImplementedError) as error:
            show(case.name, {}, "", f"{case.target:.3f}", False)
            print(f"    {type(error).__name__}: {error}")
            verdicts.append(False)
            continue
        if case.against not in times:
            show(case.name, times, "", f"{case.target:.3f}", None)
            continue
        ratio = times["firesteel"] / times[case.against]
        verdicts.append(ratio <= case.target)
        show(case.name, times, f"{ratio:.3f} {case.against}", f"{case.target:.3f}", verdicts[-1])
    if args.only in "import":
        seconds = import_seconds(9)
        verdicts.append(seconds <= 0.030)
        show("import, over bare Python", {}, f"{seconds * 1e3:.1f} ms", "30 ms", verdicts[-1])
    if args.only in "wheel":
        for wheel in sorted(glob.glob(os.path.join(ROOT, "target", "wheels", "*.whl"))):
            size = os.path.getsize(wheel) / 1e6
            verdicts.append(size <= 12)
            show(os.path.basename(wheel)[:30], {}, f"{size:.1f} MB", "12 MB", verdicts[-1])
    print(f"\n{sum(verdicts)} of {len(verdicts)} targets met")
    return 1 if args.check and not all(verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
