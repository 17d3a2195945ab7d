"""Kernels other than products and convolutions beside PyTorch's, measured in turns in one run.

    python benches/kernels.py                       all families, one thread and two
    python benches/kernels.py --family math --threads 1
    python benches/kernels.py --only topk --rounds 30
    python benches/kernels.py --shares              firesteel beside a plain copy of as many bytes, nothing of PyTorch

A time is the least of all rounds, with one thread on a processor that is quick at the moment (`quick.py`); a ratio is
PyTorch's time over firesteel's: above 1, firesteel is faster. Each family closes with the geometric mean of its ratios.
Results are freed between calls, so both libraries allocate as a program makes them do. Forward functions run under
`no_grad`, a backward is timed alone (`autograd.grad` on a kept graph). `--shares` takes the cases that must move `LARGE`
bytes or more, in turns with a copy of a tensor that moves as many: the share of memory's rate that a kernel reaches is the
copy's time over its own.
"""

import argparse
import contextlib
import importlib
import math
import time

from kernel_cases import cases
from quick import Quick


def seconds(case, libs, rounds, budget, threads, quick):
    """The least time of one call in each library, taken in turns."""
    spaces, code = {}, compile(case.run, case.name, "exec")
    number = {}
    for name, lib in libs.items():
        space = spaces[name] = {"t": lib}
        with contextlib.nullcontext() if case.grad else lib.no_grad():
            exec(case.setup, space)
            for _ in range(2):
                start = time.perf_counter()
                exec(code, space)
                taken = time.perf_counter() - start
        number[name] = max(1, min(1000, int(budget / max(taken, 1e-7))))
    best = dict.fromkeys(libs, math.inf)
    quick.begin()
    for _ in range(rounds):
        quick.settle()
        for name, lib in libs.items():
            space, repeat = spaces[name], range(number[name])
            with contextlib.nullcontext() if case.grad else lib.no_grad():
                if threads > 1:
                    # The other library's idle threads spin for milliseconds after their last work; then wake one's own.
                    time.sleep(0.015)
                    exec(code, space)
                start = time.perf_counter()
                for _ in repeat:
                    exec(code, space)
                best[name] = min(best[name], (time.perf_counter() - start) / number[name])
    return best


# Bytes from which a case of `--shares` is large: operands that do not all stay in a cache of 32 MiB.
LARGE = 25 * 10**6


def share(case, lib, rounds):
    """Bytes that must move, and the least times of the case and of a plain copy of as many, in turns, or None."""
    space = {"t": lib}
    with contextlib.nullcontext() if case.grad else lib.no_grad():
        exec(case.setup, space)
        code = compile(case.run, case.name, "exec")
        exec(code, space)
        moved = 4 * eval(case.moved, space)
        if moved < LARGE:
            return None
        space |= {"source": lib.zeros(moved // 8)}
        best = []
        for run in (code, compile("source.clone()", "copy", "exec")) * rounds:
            start = time.perf_counter()
            exec(run, space)
            best.append(time.perf_counter() - start)
    return moved, min(best[::2]), min(best[1::2])


def shares(chosen, thread_counts, rounds):
    lib = importlib.import_module("firesteel")
    print("case | threads | MB | µs | GB/s | copy GB/s | share")
    for threads in thread_counts:
        lib.set_num_threads(threads)
        for case in (c for c in chosen if c.moved):
            found = share(case, lib, rounds)
            if found:
                moved, taken, copy = found
                rates = f"{moved / taken / 1e9:.0f} | {moved / copy / 1e9:.0f} | {copy / taken:.0%}"
                print(f"{case.name} | {threads} | {moved / 1e6:.0f} | {taken * 1e6:.0f} | {rates}", flush=True)


def rates(case, lib, taken, rounds):
    """Bytes read and written per second (each at least once), and those of a plain copy of as many."""
    space = {"t": lib}
    exec(case.setup, space)
    with lib.no_grad():
        moved = 4 * eval(case.moved, space)
        source = lib.zeros(moved // 8)
        best = math.inf
        for _ in range(10 * rounds):
            start = time.perf_counter()
            copy = source.clone()
            best = min(best, time.perf_counter() - start)
            del copy
    return f" | {moved / taken / 1e9:5.1f} GB/s, copy {moved / best / 1e9:5.1f}"


def families(chosen, libs, threads, quick, args):
    """Prints a line for each case, and a mean for each family."""
    for family in dict.fromkeys(c.family for c in chosen):
        print(f"\n{family}, {threads} thread{'s'[: threads > 1]:<28} | firesteel µs | PyTorch µs | ratio")
        ratios = []
        for case in (c for c in chosen if c.family == family):
            try:
                best = seconds(case, libs, args.rounds, args.milliseconds / 1e3, threads, quick)
            except (AttributeError, NotImplementedError, RuntimeError, TypeError) as error:
                print(f"{case.name:44} {type(error).__name__}: {error}")
                continue
            ours, theirs = best["firesteel"], best["torch"]
            ratios.append(theirs / ours)
            rate = rates(case, libs["firesteel"], ours, args.rounds) if case.moved else ""
            line = f"{case.name:44} | {ours * 1e6:12,.1f} | {theirs * 1e6:10,.1f} | {ratios[-1]:5.2f}"
            print(line + rate, flush=True)
        if ratios:
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            print(f"{'geometric mean':44} | {'':12} | {'':10} | {mean:5.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--family", default="", help="families, separated by commas")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--milliseconds", type=float, default=2.0, help="length of one round of one library")
    parser.add_argument("--shares", action="store_true", help="large cases beside a plain copy instead of PyTorch")
    args = parser.parse_args()
    chosen = [c for c in cases() if args.only in c.name and (not args.family or c.family in args.family.split(","))]
    if args.shares:
        return shares(chosen, map(int, args.threads.split(",")), 6 * args.rounds)
    libs = {name: importlib.import_module(name) for name in ("firesteel", "torch")}
    print(", ".join(f"{name} {lib.__version__}" for name, lib in libs.items()))
    for threads in map(int, args.threads.split(",")):
        for lib in libs.values():
            lib.set_num_threads(threads)
        with Quick(libs["firesteel"], threads) as quick:
            families(chosen, libs, threads, quick, args)


if __name__ == "__main__":
    main()
