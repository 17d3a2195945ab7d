"""Many calls of many functions on several shapes, dtypes and layouts beside PyTorch's: finds what no other bench has.

    python benches/scan.py                        what is slower than PyTorch, one thread (some ten minutes)
    python benches/scan.py --only cumsum --all    all lines of some calls
    python benches/scan.py --operands uint8       of operands whose name contains this
    python benches/scan.py --backward             the gradient of the sum instead

A call that one of the libraries refuses is left out; what firesteel alone refuses is named. Times as in kernels.py, of
fewer rounds: a line that matters is measured again there.
"""

import argparse
import importlib
import math

from kernel_cases import Case
from kernels import seconds
from quick import Quick

OPERANDS = {
    "vector 1e3": ((1000,), "float32", "plain"),
    "vector 1e5": ((100_000,), "float32", "plain"),
    "1000x1000": ((1000, 1000), "float32", "plain"),
    "1000x100": ((1000, 100), "float32", "plain"),
    "100x1000 transposed": ((100, 1000), "float32", "transposed"),
    "1000x1000 transposed": ((1000, 1000), "float32", "transposed"),
    "64x32x32x16": ((64, 32, 32, 16), "float32", "plain"),
    "8x128x256 every other": ((8, 128, 256), "float32", "every other"),
    "100x1000 float64": ((100, 1000), "float64", "plain"),
    "100x1000 int64": ((100, 1000), "int64", "plain"),
    "100x1000 int32": ((100, 1000), "int32", "plain"),
    "100x1000 bfloat16": ((100, 1000), "bfloat16", "plain"),
    "vector 1e5 uint8": ((100_000,), "uint8", "plain"),
}

LAYOUTS = {
    "plain": "{}",
    "transposed": "{}.transpose(-1, -2).contiguous().transpose(-1, -2)",
    "every other": "t.stack([{0}, {0}], -1)[..., 0]",
}

UNARY = (
    "abs neg exp log1p sqrt rsqrt tanh sigmoid sin cos floor round trunc sign reciprocal square erf relu expm1 tan atan "
    "asinh isnan isfinite logical_not frac exp2 log2 log10 sinh cosh lgamma digamma sinc bitwise_not clone nan_to_num "
    "zeros_like randn_like rand_like count_nonzero triu tril trace diagonal aminmax"
).split()
FUNCTIONAL = "gelu silu softplus elu hardswish leaky_relu mish logsigmoid hardtanh glu".split()
BINARY = "copysign atan2 hypot fmod remainder maximum minimum logaddexp add mul div eq lt".split()
REDUCTIONS = "sum mean amax amin std var norm prod logsumexp argmax any all median mode".split()
EXPRESSIONS = """
x + 1 | x * 2 | 1 - x | x / 3 | x // 3 | x % 3 | x ** 2 | x.abs() ** 0.5 | x < 0 | x == 0
x + y[0] | x * y[..., :1] | x[..., 1:] - x[..., :-1] | y[..., :1] - x | t.sub(x, y, alpha=2) | t.lerp(x, y, 0.3)
t.addcmul(x, y, y) | t.addcdiv(x, y, y) | t.where(b, x, y) | t.where(b, x, 0) | b & b | b ^ b | x.abs() ** y
x.clamp(0, 1) | x.clamp(min=0) | x.double() | x.long() | x.bool() | x.bfloat16() | x.masked_fill(b, 0) | x.masked_select(b)
x.cumsum(0) | x.cumsum(-1) | x.cumprod(0) | x.cummax(0) | x.logcumsumexp(0) | x.diff() | x.flip(-1) | x.roll(3, -1)
x.softmax(0) | x.softmax(-1) | x.log_softmax(-1) | x.var_mean(-1) | x.max(0) | x.max(-1) | x.topk(5) | x.kthvalue(5)
x.sort() | x.argsort() | x.unique() | x.nonzero() | t.histc(x, 100) | t.bincount(i.reshape(-1)) | t.isin(i, i.reshape(-1)[:10])
x.index_select(0, i.reshape(-1)[:x.shape[0]]) | x.index_select(-1, i.reshape(-1)[:x.shape[-1]]) | x.take(i) | x.gather(-1, i)
x.scatter(-1, i, y) | x.scatter_add(-1, i, y) | x.index_add(0, i.reshape(-1)[:x.shape[0]], y) | x[b]
x[i.reshape(-1)[:x.shape[0]]]
x.index_put((i.reshape(-1)[:x.shape[0]],), y) | x.index_put((i.reshape(-1)[:x.shape[0]],), y, accumulate=True)
x.transpose(0, -1).contiguous() | x[:1].expand_as(x).contiguous() | x.mT.contiguous() | x.repeat(*[2] * x.dim())
x.repeat_interleave(2, 0) | t.cat(x.chunk(4, -1), -1) | t.cat([x, y]) | t.cat([x, y], -1) | t.stack([x, y]) | F.pad(x, (1, 1))
x.unfold(-1, 4, 2).contiguous() | t.rot90(x).contiguous() | x.movedim(0, -1) | x.expand(2, *x.shape).sum(0)
t.dot(x.reshape(-1), y.reshape(-1)) | x @ y[0] | t.outer(x.reshape(-1)[:1000], y.reshape(-1)[:1000]) | t.cdist(x, y[:50])
F.mse_loss(x, y) | F.l1_loss(x, y) | F.smooth_l1_loss(x, y) | F.huber_loss(x, y) | F.kl_div(x, y) | F.cross_entropy(x, i[:, 0])
F.binary_cross_entropy_with_logits(x, b.to(x.dtype)) | F.nll_loss(x, i[:, 0]) | F.cosine_similarity(x, y, -1)
F.normalize(x, dim=-1) | F.pairwise_distance(x, y) | F.layer_norm(x, x.shape[-1:]) | F.dropout(x, 0.3) | F.embedding(i, x)
x.clone().add_(y) | x.clone().mul_(2) | y.copy_(x) | t.empty_like(x).bernoulli_(0.3)
"""


def calls():
    yield from (f"t.{name}(x)" for name in UNARY)
    yield from (f"F.{name}(x)" for name in FUNCTIONAL)
    yield from (f"t.{name}(x, y)" for name in BINARY)
    yield from (f"t.{name}(x{dim})" for name in REDUCTIONS for dim in ("", ", 0", ", -1"))
    yield from (call.strip() for line in EXPRESSIONS.split("\n") for call in line.split("|") if call.strip())


def setup(shape, dtype, layout, backward):
    """Statements that make `x`, `y`, `b` of bools and `i` of indices, the same numbers in both libraries."""
    integer = dtype.startswith(("int", "uint"))
    draw = f"R.integers(1, 100, {shape})" if integer else f"R.standard_normal({shape}).astype('float32')"
    operand = LAYOUTS[layout].format(f"t.from_numpy({draw}).to(t.{dtype})")
    below = min(shape[0], shape[-1], 100)
    return "; ".join(
        [
            "import numpy as N; R = N.random.default_rng(1); F = t.nn.functional; t.manual_seed(0)",
            f"x = {operand}; y = {operand}",
            f"b = t.from_numpy(R.random({shape}) < 0.5); i = t.from_numpy(R.integers(0, {below}, {shape}))",
        ]
        + (["x.requires_grad_()"] if backward else [])
    )


def scan(libs, args, quick):
    ratios = []
    for name, (shape, dtype, layout) in OPERANDS.items():
        if args.operands not in name or (args.backward and dtype.startswith(("int", "uint"))):
            continue
        for call in calls():
            if args.only not in call:
                continue
            label, prepare, run = f"{call}, {name}", setup(shape, dtype, layout, args.backward), call
            if args.backward:
                prepare, run = f"{prepare}; s = ({call}).sum()", "t.autograd.grad(s, x, retain_graph=True)"
            refused = []
            for lib in libs:
                try:
                    seconds(Case("", label, prepare, run, args.backward), {lib: libs[lib]}, 0, 0, args.threads, quick)
                except Exception as error:  # whatever either of them raises
                    refused.append((lib, error))
            if refused:
                if [lib for lib, _ in refused] == ["firesteel"]:
                    print(f"{label}: {type(refused[0][1]).__name__}: {refused[0][1]}", flush=True)
                continue
            case = Case("", label, prepare, run, args.backward)
            best = seconds(case, libs, args.rounds, args.milliseconds / 1e3, args.threads, quick)
            ours, theirs = best["firesteel"], best["torch"]
            ratios.append(theirs / ours)
            if args.all or ratios[-1] < args.below:
                print(f"{label:70} | {ours * 1e6:10,.1f} | {theirs * 1e6:10,.1f} | {ratios[-1]:5.2f}", flush=True)
    return ratios


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="only calls that contain this")
    parser.add_argument("--operands", default="", help="only operands whose name contains this")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--milliseconds", type=float, default=3.0, help="length of one round of one library")
    parser.add_argument("--below", type=float, default=0.9, help="lines with a smaller ratio are printed")
    parser.add_argument("--all", action="store_true", help="all lines")
    parser.add_argument("--backward", action="store_true", help="the gradient of the sum of each call")
    args = parser.parse_args()
    libs = {name: importlib.import_module(name) for name in ("firesteel", "torch")}
    for lib in libs.values():
        lib.set_num_threads(args.threads)
    print(f"{'call':70} | firesteel µs | PyTorch µs | ratio")
    with Quick(libs["firesteel"], args.threads) as quick:
        ratios = scan(libs, args, quick)
    if ratios:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        slower = sum(ratio < args.below for ratio in ratios)
        print(f"{len(ratios)} calls, geometric mean {mean:.2f}, {slower} below {args.below}")


if __name__ == "__main__":
    main()
