"""How long a training step takes, firesteel (eager and compiled) and PyTorch in turns: the MLP and the CNN of
examples/mnist.py (batch 64), a character GPT of 4 layers and width 128 (batch 16, 128 characters); and how long ResNet-18
takes to classify 1 and 8 images.

    python benches/train.py                     all models, with one thread and with two
    python benches/train.py --model mlp --threads 1 --rounds 50

A round is one step (several for the MLP) of each library on the same numbers; a time is the median of all rounds.
"""

import argparse
import importlib
import statistics
import sys
import time
from functools import partial

import models
import numpy as np
from quick import Quick

# Samples and steps in one round, rounds, and the greatest ratio to PyTorch's time that is accepted.
PLANS = {
    "mlp": (models.BATCH, 10, 30, 0.5),
    "cnn": (models.BATCH, 1, 12, 0.5),
    "gpt": (16, 1, 10, 0.5),
    "resnet18 x1": (1, 1, 10, 1 / 1.3),
    "resnet18 x8": (8, 1, 6, 1 / 1.3),
}


def stepper(lib, name):
    """A function that takes one training step; for ResNet-18, one that classifies."""
    rng = np.random.default_rng(0)
    batch = PLANS[name][0]
    if name.startswith("resnet18"):
        model = models.resnet18(lib).eval()
        pixels = lib.from_numpy(rng.normal(size=(batch, 3, 224, 224)).astype(np.float32))

        def classify():
            with lib.no_grad():
                return model(pixels)[0, 0]

        return classify
    if name == "gpt":
        model = models.gpt(lib)
        inputs, labels = (lib.from_numpy(rng.integers(0, 65, (batch, models.TOKENS))) for _ in range(2))
        labels = labels.reshape(-1)
        optimizer = lib.optim.AdamW(model.parameters(), lr=1e-3)
    else:
        model = getattr(models, name)(lib)
        inputs = lib.from_numpy(rng.normal(size=(batch, 1, 28, 28)).astype(np.float32))
        labels = lib.from_numpy(rng.integers(0, 10, batch))
        optimizer = lib.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    criterion = lib.nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad()
        loss = criterion(model(inputs), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


# Seconds of a round's steps where their number is not planned.
LONG = 0.05


def seconds_per_step(libs, make, threads, steps, rounds, quick, compiled=False):
    """Medians of what `make(lib)` takes, in rounds of so many steps (none: as many as take some time) of each in turn."""
    for lib in libs.values():
        lib.set_num_threads(threads)
    runs = {key: make(lib) for key, lib in libs.items()}
    if compiled:
        runs["compiled"] = libs["firesteel"].compile(make(libs["firesteel"]))
    planned = {}
    for key, step in runs.items():
        # The first call makes gradients and momenta, the third is recorded.
        for _ in range(4):
            start = time.perf_counter()
            step()
        planned[key] = steps or max(1, int(LONG / (time.perf_counter() - start)))
    taken = {key: [] for key in runs}
    quick.begin()
    for _ in range(rounds):
        quick.settle()
        for key, step in runs.items():
            # The other library's threads still spin for a while after their last work: let them go to sleep.
            time.sleep(0.01)
            start = time.perf_counter()
            for _ in range(planned[key]):
                loss = step()
            loss.item()
            taken[key].append((time.perf_counter() - start) / planned[key])
    return {key: statistics.median(times) for key, times in taken.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=list(PLANS))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, help="instead of the planned number")
    parser.add_argument("--check", action="store_true", help="exit with status 1 when a target is missed")
    args = parser.parse_args()
    libs = {"firesteel": importlib.import_module("firesteel")}
    try:
        libs["torch"] = importlib.import_module("torch")
    except ImportError:
        print("PyTorch is not installed: its columns stay empty")
    print("step               | threads | firesteel ms | compiled ms |  torch ms | per s    | ratio | target | ok")
    print("-" * 102)
    missed = False
    for name in [args.model] if args.model else PLANS:
        for threads in [args.threads] if args.threads else (1, 2):
            _, steps, rounds, target = PLANS[name]
            with Quick(libs["firesteel"], threads) as quick:
                times = seconds_per_step(
                    libs, partial(stepper, name=name), threads, steps, args.rounds or rounds, quick, compiled=True
                )
            ours, theirs = times["firesteel"], times.get("torch")
            ratio, verdict = ("", "") if theirs is None else (f"{ours / theirs:.2f}", "yes")
            if theirs is not None and ours > target * theirs:
                missed, verdict = True, "NO"
            other = "" if theirs is None else f"{theirs * 1e3:.2f}"
            print(
                f"{name:18} | {threads:7} | {ours * 1e3:12.2f} | {times['compiled'] * 1e3:11.2f} | {other:>9} | "
                f"{PLANS[name][0] / ours:8,.0f} | {ratio:>5} | {target:6.2f} | {verdict}",
                flush=True,
            )
    return 1 if args.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
