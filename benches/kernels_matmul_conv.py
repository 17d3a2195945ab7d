"""Matrix products and convolutions, firesteel and PyTorch in turns.

    python benches/kernels_matmul_conv.py                        every row, with one thread and with two
    python benches/kernels_matmul_conv.py --only conv --threads 1 --rounds 40

A round is one timing of each library on the same numbers (as many calls as fill two milliseconds, each library on its own
result memory), with one thread on a processor that is quick at the moment (`quick.py`); a time is the least of all rounds. A
ratio above 1 says that firesteel is faster.

"of limit" is the share of what the machine does at most, measured in the same run with as many threads: independent float32
multiply-adds in registers (half of that for float64, twice for bfloat16, four times for int8; convolutions by minimal
filtering may exceed it), or, for products of vectors (marked m), a plain read of memory.
"""

import argparse
import importlib
import math
import sys
import time

import numpy as np
from quick import Quick

FILL = 2e-3
# Multiply-adds per instruction, in units of float32's.
WIDTH = {"f64": 0.5, "int64": 0.5, "bf16": 2, "int8": 4}


def tensors(lib, dtype, *shapes):
    """The same numbers for both libraries: normal ones for floats, small ones for integers."""
    rng = np.random.default_rng(0)
    made = []
    for shape in shapes:
        if dtype.startswith("int"):
            t = lib.from_numpy(rng.integers(-8, 8, shape).astype(dtype))
        else:
            t = lib.from_numpy(rng.normal(size=shape).astype(np.float32)).to(getattr(lib, dtype))
        made.append(t)
    return made


def product(m, k, n, dtype="float32", ta=False, tb=False, batch=()):
    """`a @ b`, each operand optionally stored transposed."""

    def make(lib):
        a, b = tensors(lib, dtype, (*batch, *((k, m) if ta else (m, k))), (*batch, *((n, k) if tb else (k, n))))
        a, b = a.transpose(-1, -2) if ta else a, b.transpose(-1, -2) if tb else b
        return lambda: lib.matmul(a, b)

    return make, 2 * m * k * n * math.prod(batch)


def strided(m, k, n):
    """Every second column of both operands."""

    def make(lib):
        a, b = tensors(lib, "float32", (m, 2 * k), (k, 2 * n))
        a, b = a[:, ::2], b[:, ::2]
        return lambda: lib.matmul(a, b)

    return make, 2 * m * k * n


def linear(m, k, n, dtype="float32", relu=False):
    def make(lib):
        x, w, b = tensors(lib, dtype, (m, k), (n, k), (n,))
        f = lib.nn.functional
        return (lambda: f.relu(f.linear(x, w, b))) if relu else (lambda: f.linear(x, w, b))

    return make, 2 * m * k * n


def addmm(m, k, n):
    def make(lib):
        c, a, b = tensors(lib, "float32", (m, n), (m, k), (k, n))
        return lambda: lib.addmm(c, a, b)

    return make, 2 * m * k * n


def int_mm(m, k, n):
    def make(lib):
        a, b = tensors(lib, "int8", (m, k), (k, n))
        return lambda: lib._int_mm(a, b)

    return make, 2 * m * k * n


def conv(what, n, cin, cout, size, k, stride=1, padding=0, groups=1, dims=2, dtype="float32", dilation=1):
    """One pass of a convolution: "forward", "data" or "weight" (the gradients), or "transpose"."""
    out = (size + 2 * padding - dilation * (k - 1) - 1) // stride + 1
    shapes = (n, cin, *[size] * dims), (cout, cin // groups, *[k] * dims), (n, cout, *[out] * dims), (cout,)

    def make(lib):
        x, w, g, b = tensors(lib, dtype, *shapes)
        f = lib.nn.functional
        options = {"stride": stride, "padding": padding, "groups": groups, "dilation": dilation}
        if what == "forward":
            call = getattr(f, f"conv{dims}d")
            return lambda: call(x, w, b, **options)
        if what == "transpose":
            call = getattr(f, f"conv_transpose{dims}d")
            return lambda: call(g, w, **options)
        many = [[v] * dims for v in (stride, padding, dilation)]
        if lib.__name__ == "torch":
            back = lib.ops.aten.convolution_backward
            mask = [what == "data", what == "weight", False]
            return lambda: back(g, x, w, [cout], *many, False, [0] * dims, groups, mask)
        if what == "data":
            return lambda: lib._C._conv_input(g, w, x.shape, *many, groups)
        return lambda: lib._C._conv_weight(g, x, w.shape, *many, groups)

    return make, 2 * n * cout * out**dims * (cin // groups) * k**dims


def passes(name, *args, **options):
    return {f"conv {name} {what}": conv(what, *args, **options) for what in ("forward", "data", "weight")}


ROWS = {
    "mm 64³": product(64, 64, 64),
    "mm 128³": product(128, 128, 128),
    "mm 256³": product(256, 256, 256),
    "mm 512³": product(512, 512, 512),
    "mm 512³ aT": product(512, 512, 512, ta=True),
    "mm 512³ bT": product(512, 512, 512, tb=True),
    "mm 512³ aT bT": product(512, 512, 512, ta=True, tb=True),
    "mm 512³ strided": strided(512, 512, 512),
    "mm 1024³": product(1024, 1024, 1024),
    "mm 2048³": product(2048, 2048, 2048),
    "mm 64x784x128": product(64, 784, 128),
    "mm 784x64x128 aT": product(784, 64, 128, ta=True),
    "mm 64x128x784": product(64, 128, 784),
    "mm 64x9216x128": product(64, 9216, 128),
    "mm 64x128x10": product(64, 128, 10),
    "mm 64x10x128": product(64, 10, 128),
    "mm 1x4096x4096": product(1, 4096, 4096),
    "mm 1x4096x4096 bT": product(1, 4096, 4096, tb=True),
    "mm 4x4096x4096": product(4, 4096, 4096),
    "mm 4x4096x4096 bT": product(4, 4096, 4096, tb=True),
    "mm 8x4096x4096 bT": product(8, 4096, 4096, tb=True),
    "mm 32x4096x4096": product(32, 4096, 4096),
    "mm 4096x4096x1": product(4096, 4096, 1),
    "mm 1000x17x1000": product(1000, 17, 1000),
    "mm 512x2048x49": product(512, 2048, 49),
    "mm 512x2000x49": product(512, 2000, 49),
    "mm 512x1024x196": product(512, 1024, 196),
    "mm 1024x1024x1040": product(1024, 1024, 1040),
    "mm 128x256x784": product(128, 256, 784),
    "mm 64x256x3136": product(64, 256, 3136),
    "linear 64x784x128": linear(64, 784, 128),
    "linear 64x128x10": linear(64, 128, 10),
    "linear+relu 64x784x128": linear(64, 784, 128, relu=True),
    "linear 1024x512x2048": linear(1024, 512, 2048),
    "addmm 64x784x128": addmm(64, 784, 128),
    "addmm 512³": addmm(512, 512, 512),
    "bmm 48x(128x32x128) bT": product(128, 32, 128, tb=True, batch=(48,)),
    "bmm 48x(128x128x32)": product(128, 128, 32, batch=(48,)),
    "bmm 96x(64x64x64)": product(64, 64, 64, batch=(96,)),
    "bmm 512x(16x16x16)": product(16, 16, 16, batch=(512,)),
    "bmm 8x(256x64x256) bT": product(256, 64, 256, tb=True, batch=(8,)),
    "f64 mm 64³": product(64, 64, 64, "float64"),
    "f64 mm 512³": product(512, 512, 512, "float64"),
    "f64 mm 1024³ bT": product(1024, 1024, 1024, "float64", tb=True),
    "bf16 mm 512³": product(512, 512, 512, "bfloat16"),
    "bf16 mm 1024³": product(1024, 1024, 1024, "bfloat16"),
    "f16 mm 512³": product(512, 512, 512, "float16"),
    "f16 mm 1024³": product(1024, 1024, 1024, "float16"),
    "int8 _int_mm 512³": int_mm(512, 512, 512),
    "int8 _int_mm 1024³": int_mm(1024, 1024, 1024),
    "int64 mm 256³": product(256, 256, 256, "int64"),
    "int32 mm 256³": product(256, 256, 256, "int32"),
    **passes("mnist 1→32 28² k3 n64", 64, 1, 32, 28, 3),
    **passes("mnist 32→64 26² k3 n64", 64, 32, 64, 26, 3),
    **passes("resnet 3→64 224² k7 s2 n1", 1, 3, 64, 224, 7, 2, 3),
    **passes("resnet 64→64 56² k3 n1", 1, 64, 64, 56, 3, 1, 1),
    **passes("resnet 64→64 56² k3 n8", 8, 64, 64, 56, 3, 1, 1),
    **passes("resnet 128→128 28² k3 n1", 1, 128, 128, 28, 3, 1, 1),
    **passes("resnet 128→128 28² k3 n8", 8, 128, 128, 28, 3, 1, 1),
    **passes("resnet 64→128 56² k3 s2 n8", 8, 64, 128, 56, 3, 2, 1),
    **passes("resnet 256→256 14² k3 n1", 1, 256, 256, 14, 3, 1, 1),
    **passes("resnet 256→256 14² k3 n8", 8, 256, 256, 14, 3, 1, 1),
    **passes("resnet 512→512 7² k3 n1", 1, 512, 512, 7, 3, 1, 1),
    **passes("resnet 512→512 7² k3 n8", 8, 512, 512, 7, 3, 1, 1),
    **passes("resnet 512→512 14² k3 s2 n1", 1, 512, 512, 14, 3, 2, 1),
    **passes("cifar 64→128 8² k3 s2 n64", 64, 64, 128, 8, 3, 2, 1),
    **passes("cifar 128→256 4² k3 s2 n64", 64, 128, 256, 4, 3, 2, 1),
    **passes("cifar 128→256 4² k1 s2 n64", 64, 128, 256, 4, 1, 2),
    **passes("cifar 256→256 2² k3 n64", 64, 256, 256, 2, 3, 1, 1),
    **passes("cifar 512→512 1² k3 n64", 64, 512, 512, 1, 3, 1, 1),
    **passes("256→256 33² k3 d6 n1", 1, 256, 256, 33, 3, 1, 6, dilation=6),
    **passes("256→256 33² k3 d18 n1", 1, 256, 256, 33, 3, 1, 18, dilation=18),
    **passes("64→64 28² k3 d12 n4", 4, 64, 64, 28, 3, 1, 12, dilation=12),
    **passes("1x1 256→64 56² n8", 8, 256, 64, 56, 1),
    **passes("1x1 64→256 56² n8", 8, 64, 256, 56, 1),
    **passes("1x1 64→64 56² n8", 8, 64, 64, 56, 1),
    **passes("1x1 256→64 56² n1", 1, 256, 64, 56, 1),
    **passes("1x1 1024→256 14² n8", 8, 1024, 256, 14, 1),
    **passes("1x1 2048→512 7² n1", 1, 2048, 512, 7, 1),
    **passes("1x1 256→512 28² s2 n8", 8, 256, 512, 28, 1, 2),
    **passes("1x1 1024→2048 14² s2 n1", 1, 1024, 2048, 14, 1, 2),
    **passes("1x1 960→240 1² n64", 64, 960, 240, 1, 1),
    **passes("1x1 1024→1024 1² n1", 1, 1024, 1024, 1, 1),
    **passes("5x5 32→64 14² n64", 64, 32, 64, 14, 5, 1, 2),
    **passes("5x5 64→192 27² n1", 1, 64, 192, 27, 5, 1, 2),
    **passes("4x4 64→128 32² s2 n16", 16, 64, 128, 32, 4, 2, 1),
    **passes("4x4 256→512 32² n1", 1, 256, 512, 32, 4, 1, 1),
    **passes("7x7 64→64 56² n1", 1, 64, 64, 56, 7, 1, 3),
    **passes("3x3 64→3 64² n4", 4, 64, 3, 64, 3, 1, 1),
    **passes("1x1 64→2 256² n1", 1, 64, 2, 256, 1),
    **passes("lenet 6→16 14² k5 n64", 64, 6, 16, 14, 5),
    **passes("alexnet 3→64 224² k11 s4 n1", 1, 3, 64, 224, 11, 4, 2),
    **passes("dqn 4→32 84² k8 s4 n32", 32, 4, 32, 84, 8, 4),
    **passes("vit 3→192 224² k16 s16 n4", 4, 3, 192, 224, 16, 16),
    **passes("dcgan 256→100 4² k4 n64", 64, 256, 100, 4, 4),
    **passes("dcgan 512→1 4² k4 n64", 64, 512, 1, 4, 4),
    **passes("vgg 512→1024 7² k7 n4", 4, 512, 1024, 7, 7),
    **passes("one channel 1→16 64² k5 n16", 16, 1, 16, 64, 5, 1, 2),
    **passes("depthwise 64 56² k3 n8", 8, 64, 64, 56, 3, 1, 1, 64),
    **passes("depthwise 256 14² k3 n8", 8, 256, 256, 14, 3, 1, 1, 256),
    **passes("depthwise 64 56² k3 s2 n8", 8, 64, 64, 56, 3, 2, 1, 64),
    **passes("conv1d 64→64 512 k5 n16", 16, 64, 64, 512, 5, 1, 2, dims=1),
    **passes("conv1d 256→256 128 k3 n16", 16, 256, 256, 128, 3, 1, 1, dims=1),
    **passes("conv1d 128→128 512 k7 n4", 4, 128, 128, 512, 7, 1, 3, dims=1),
    **passes("conv1d 64→128 16 k3 s2 n64", 64, 64, 128, 16, 3, 2, 1, dims=1),
    "conv_transpose 64→32 28→56 k4 s2 n8": conv("transpose", 8, 32, 64, 56, 4, 2, 1),
    "bf16 conv 64→64 56² k3 n8 forward": conv("forward", 8, 64, 64, 56, 3, 1, 1, dtype="bfloat16"),
    "f64 conv 64→64 56² k3 n8 forward": conv("forward", 8, 64, 64, 56, 3, 1, 1, dtype="float64"),
}


def settle(call, threads):
    """Lets the other library's idle threads stop spinning (libgomp's do so for milliseconds), then wakes one's own."""
    if threads > 1:
        time.sleep(0.015)
        call()


def clock(call, number):
    start = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - start) / number


def measure(calls, rounds, budget, threads, quick):
    """Least time of each call; the libraries take turns until the rounds or the budget in seconds are used up."""
    numbers = []
    for call in calls:
        call()
        numbers.append(max(1, int(FILL / max(clock(call, 2), 1e-7))))
    best = [math.inf] * len(calls)
    spent = 0
    quick.begin()
    for done in range(rounds):
        if done >= 3 and spent > budget:
            break
        quick.settle()
        start = time.perf_counter()
        for i, call in enumerate(calls):
            settle(call, threads)
            best[i] = min(best[i], clock(call, numbers[i]))
        spent += time.perf_counter() - start
    return best


def table(args, libs, threads, quick):
    """Prints a line for each row; logarithms of the ratios."""
    logs = []
    limits = []
    for _ in range(5):
        quick.begin()
        quick.settle()
        limits.append(libs[0]._C._machine_limits())
    flops, memory = map(max, zip(*limits, strict=True))
    print(f"limits, {threads} thread(s): {threads * flops / 1e9:.0f} GFlop/s (float32), {memory / 1e9:.1f} GB/s read\n")
    print("| row | threads | firesteel µs | PyTorch µs | GFlop/s | of limit | ratio |\n|---|---|---|---|---|---|---|")
    for name, (make, work) in ROWS.items():
        if not any(word in name for word in args.only.split(",")):
            continue
        calls = [make(lib) for lib in libs]
        try:
            ours, theirs = measure(calls, args.rounds, args.budget, threads, quick)
        except (RuntimeError, AttributeError, NotImplementedError) as error:
            print(f"| {name} | {threads} | {str(error).splitlines()[0][:60]} |")
            continue
        if work <= 2 * 8 * 4096 * 4096 and "4096" in name:
            # The matrix, once; of up to eight rows the products count for as little.
            share = f"{4 * 4096 * 4096 / ours / memory:.0%} m"
        else:
            share = f"{work / ours / (flops * threads * WIDTH.get(name.split()[0], 1)):.0%}"
        print(
            f"| {name} | {threads} | {ours * 1e6:.1f} | {theirs * 1e6:.1f} | {work / ours / 1e9:.0f} | {share} |"
            f" {theirs / ours:.2f} |",
            flush=True,
        )
        logs.append(math.log(theirs / ours))
    return logs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rows whose name contains one of these words, separated by commas")
    parser.add_argument("--threads", type=int, action="append", help="thread counts (1 and 2)")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--budget", type=float, default=0.4, help="seconds per row")
    args = parser.parse_args()
    libs = [importlib.import_module(name) for name in ("firesteel", "torch")]
    for lib in libs:
        importlib.import_module(lib.__name__ + ".nn.functional")
        lib.set_grad_enabled(False)
    logs = []
    for threads in args.threads or [1, 2]:
        for lib in libs:
            lib.set_num_threads(threads)
        with Quick(libs[0], threads) as quick:
            logs += table(args, libs, threads, quick)
    if logs:
        print(f"geometric mean of {len(logs)} ratios: {math.exp(sum(logs) / len(logs)):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
