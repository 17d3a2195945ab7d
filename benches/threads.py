"""What threads cost: starting and ending a job on two of them; the first kernels after a rest, when the second thread is
woken; and a busy neighbour: kernels on two threads while another process computes, firesteel and PyTorch.

    python benches/threads.py            both libraries
    python benches/threads.py --seconds 3

On two cores, three threads that want to run get two thirds of a core each: a fair share makes kernels 1.5 times slower.
Printed are means, because what hurts is the tail: a thread that is stopped inside its part lets the others wait.
"""

import argparse
import importlib
import statistics
import subprocess
import sys
import time


def cases(lib):
    a, b, v = lib.randn(512, 512), lib.randn(512, 512), lib.randn(1_000_000)
    x, w = lib.randn(64, 784), lib.randn(128, 784)
    images, kernels = lib.randn(64, 32, 26, 26), lib.randn(64, 32, 3, 3)
    return {
        "matmul 512": lambda: a @ b,
        "tanh 1e6": lambda: v.tanh(),
        "add 1e6": lambda: v + v,
        "linear 64x784x128": lambda: lib.nn.functional.linear(x, w),
        "conv2d 32-64 26x26": lambda: lib.nn.functional.conv2d(images, kernels),
    }


def mean_time(run, seconds):
    taken, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return statistics.mean(taken)


def after_rest(run, rounds=30):
    """The median over rests of 100 ms of the median time of the 20 calls that follow each."""
    medians = []
    for _ in range(rounds):
        time.sleep(0.1)
        taken = []
        for _ in range(20):
            start = time.perf_counter()
            run()
            taken.append(time.perf_counter() - start)
        medians.append(statistics.median(taken))
    return statistics.median(medians)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each measurement")
    args = parser.parse_args()
    libs = {"firesteel": importlib.import_module("firesteel")}
    try:
        libs["torch"] = importlib.import_module("torch")
    except ImportError:
        print("PyTorch is not installed: its rows are missing")
    ours = libs["firesteel"]
    ours.set_num_threads(2)
    empty, joint = min(ours._C._fork_join(1000) for _ in range(20))
    print(f"fork and join: {empty * 1e6:.2f} us for an empty job, {joint * 1e6:.2f} us where both threads take part")
    for key, lib in libs.items():
        v, taken = lib.randn(1_000_000), {}
        for threads in (1, 2):
            lib.set_num_threads(threads)
            v.sum()
            taken[threads] = after_rest(v.sum)
        print(f"sum of 1e6 after a rest, {key}: {taken[1] * 1e6:.0f} us on one thread, {taken[2] * 1e6:.0f} us on two")
    print("library   | kernel              | alone us | beside a busy process us | ratio")
    print("-" * 79)
    for key, lib in libs.items():
        lib.set_num_threads(2)
        for name, run in cases(lib).items():
            run()
            alone = mean_time(run, args.seconds / 2)
            neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            try:
                time.sleep(0.2)
                beside = mean_time(run, args.seconds)
            finally:
                neighbour.kill()
                neighbour.wait()
            print(
                f"{key:9} | {name:19} | {alone * 1e6:8.0f} | {beside * 1e6:24.0f} | {beside / alone:5.2f}", flush=True
            )


if __name__ == "__main__":
    main()
