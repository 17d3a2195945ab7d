"""What benches/kernels.py measures: one `Case` per line of its tables."""

from dataclasses import dataclass


@dataclass
class Case:
    """One line: `run` is timed after `setup`, with the library under the name `t`. `moved`: elements read and written."""

    family: str
    name: str
    setup: str
    run: str
    grad: bool = False
    moved: str = ""


F = "F = t.nn.functional; t.manual_seed(0); "


def backward(setup, call):
    """The set-up and statement that time the backward of `call`, a function of x (and of what `setup` makes)."""
    return (
        f"{setup}; x.requires_grad_(); y = {call}; g = t.ones_like(y)",
        "t.autograd.grad(y, ps, g, retain_graph=True)",
    )


def cases():
    """All cases, family by family."""
    found = []

    def add(family, name, setup, run, moved=""):
        found.append(Case(family, name, F + setup, run, moved=moved))

    def add_backward(family, name, setup, call, wrt="x,", moved=""):
        made, run = backward(setup, call)
        if wrt != "x,":
            made = made.replace("; y =", "; [p.requires_grad_() for p in (" + wrt + ")]; y =", 1)
        found.append(Case(family, name + " backward", F + made + f"; ps = [{wrt}]", run, True, moved))

    sizes = {"16k": 1 << 14, "1e6": 10**6, "1e7": 10**7}
    for size, n in sizes.items():
        for f in "exp tanh sigmoid erf log sin cos".split():
            add("math", f"{f} {size}", f"x = t.rand({n}) * 4 + 0.1", f"t.{f}(x)")
        add("math", f"gelu {size}", f"x = t.randn({n})", "F.gelu(x)")
    for f in "asin acos atan sinh cosh tan asinh acosh atanh erfc expm1 log1p log2 exp2 erfinv lgamma".split():
        lift = "+ 1" if f in ("acosh", "lgamma") else "* 0.9"
        add("more math", f"{f} 1e6", f"x = t.rand(10**6) {lift}", f"t.{f}(x)")
    for f in "silu mish softplus logsigmoid elu hardswish".split():
        add("more math", f"{f} 1e6", "x = t.randn(10**6)", f"F.{f}(x)")
        add_backward("more math", f"{f} 1e6", "x = t.randn(10**6)", f"F.{f}(x)")
    add("more math", "pow(x, y) 1e6", "x = t.rand(10**6) + 0.1; y = t.randn(10**6)", "x ** y")
    add_backward("more math", "gelu 1e6", "x = t.randn(10**6)", "F.gelu(x)")
    add_backward("more math", "tanh 1e6", "x = t.randn(10**6)", "t.tanh(x)")
    for f in "exp log sin cos tanh sigmoid erf log1p".split():
        add("float64", f"{f} 1e6", "x = t.rand(10**6, dtype=t.float64) * 4 + 0.1", f"t.{f}(x)")
    for dtype in ("float32", "float64"):
        made = f"x = t.randn(100_000, dtype=t.{dtype}); y = t.randn(100_000, dtype=t.{dtype}); p = x.abs() + 0.1"
        for f in "logaddexp logaddexp2 atan2 fmod remainder floor_divide hypot".split():
            add("special", f"{f} 1e5 {dtype}", made, f"t.{f}(x, y)")
        for f in "floor_divide remainder".split():
            add("special", f"{f} by 3 1e5 {dtype}", made, f"t.{f}(x, 3)")
        for f in "digamma lgamma log2 log10".split():
            add("special", f"{f} 1e5 {dtype}", made, f"t.{f}(p)")
        for f, of in (("erfinv", "x.erf() * 0.99"), ("special.ndtri", "p / (p + 1)"), ("special.log_ndtr", "x")):
            add("special", f"{f} 1e5 {dtype}", made + f"; z = {of}", f"t.{f}(z)")
        for f in "tan atan".split():
            add("special", f"{f} 1e5 {dtype}", made, f"t.{f}(x)")
    for dtype in ("int64", "int32", "uint8"):
        made = f"x = t.randint(0, 100, (100_000,), dtype=t.{dtype}); y = t.randint(1, 100, (100_000,), dtype=t.{dtype})"
        for f in "floor_divide remainder fmod".split():
            add("special", f"{f} 1e5 {dtype}", made, f"t.{f}(x, y)")
            add("special", f"{f} by 3 1e5 {dtype}", made, f"t.{f}(x, 3)")
    for size, n in sizes.items():
        add("light", f"a + b {size}", f"a = t.rand({n}); b = t.rand({n})", "a + b")
        add("light", f"add_ {size}", f"a = t.rand({n}); b = t.rand({n})", "a.add_(b)")
        add("light", f"where {size}", f"a = t.rand({n}); b = t.rand({n}); c = a > b", "t.where(c, a, b)")
        add("light", f"a > b {size}", f"a = t.rand({n}); b = t.rand({n})", "a > b")
        add("light", f"sum {size}", f"a = t.rand({n})", "a.sum()")
    add("light", "sum(0) 1000x1000", "a = t.rand(1000, 1000)", "a.sum(0)")
    add("light", "mean(1) 1000x1000", "a = t.rand(1000, 1000)", "a.mean(1)")
    add("light", "var(1) 1000x1000", "a = t.rand(1000, 1000)", "a.var(1)")
    add("light", "max(1) 1000x1000", "a = t.rand(1000, 1000)", "a.max(1)")
    add("light", "long + long 1e6", "a = t.arange(10**6); b = t.arange(10**6)", "a + b")
    add("light", "bool & 1e6", "a = t.rand(10**6) > 0.5; b = t.rand(10**6) > 0.5", "a & b")
    for d in ("uint8", "int32"):
        setup = f"x, y = (t.randint(0, 100, (10**5,)).to(t.{d}) for _ in range(2)); m = t.rand(10**5) > 0.5"
        for f in "neg abs sign bitwise_not logical_not isfinite square".split():
            add("narrow", f"{f} {d} 1e5", setup, f"t.{f}(x)")
        for f in ("x + y", "x + 1", "x * y", "x == y", "x < 3", "x & y", "x // 3", "x % 3", "x.add_(y)"):
            add("narrow", f"{f} {d} 1e5", setup, f)
        add("narrow", f"maximum {d} 1e5", setup, "t.maximum(x, y)")
        add("narrow", f"clamp {d} 1e5", setup, "x.clamp(1, 50)")
        add("narrow", f"where {d} 1e5", setup, "t.where(m, x, y)")
        add("narrow", f"addcmul {d} 1e5", setup, "t.addcmul(x, y, y)")
        add("narrow", f"max {d} 1e5", setup, "x.max()")
        add("narrow", f"aminmax {d} 1e5", setup, "t.aminmax(x)")
        add("narrow", f"amax(0) {d} 100x1000", setup + "; x = x.reshape(100, 1000)", "x.amax(0)")
        add("narrow", f"amin(1) {d} 100x1000", setup + "; x = x.reshape(100, 1000)", "x.amin(1)")
        add("narrow", f"dot {d} 1e5", setup, "t.dot(x, y)")
        add("narrow", f"outer {d} 1000", setup + "; x = x[:1000]", "t.outer(x, x)")
        for f in ("sum()", "sum(0)", "sum(1)", "prod(1)", "any(1)"):
            add("narrow", f"{f} {d} 100x1000", setup + "; x = x.reshape(100, 1000)", f"x.{f}")
        add("narrow", f"x * column {d} 100x1000", setup + "; x = x.reshape(100, 1000); c = x[:, :1]", "x * c")
        for to in ("bool", "float32", "bfloat16", "int8", "int16", "int32"):
            add("narrow", f"to {to} of {d} 1e5", setup, f"x.to(t.{to})")
    setup = "x, y = (t.randn(10**5).bfloat16() for _ in range(2)); m = t.rand(10**5) > 0.5"
    for f in "neg abs sign square sqrt reciprocal relu floor round isnan".split():
        add("narrow", f"{f} bfloat16 1e5", setup, f"t.{f}(x)")
    for f in ("x + y", "x * 0.3", "x / y", "x < y", "t.maximum(x, y)", "t.copysign(x, y)", "t.lerp(x, y, 0.3)"):
        add("narrow", f"{f} bfloat16 1e5", setup, f)
    for f in ("x.clamp(0, 1)", "t.where(m, x, y)", "t.addcmul(x, y, y)", "t.nan_to_num(x)", "x.bool()", "x.double()"):
        add("narrow", f"{f} bfloat16 1e5", setup, f)
    for d in ("bfloat16", "float16", "float32"):
        setup = f"x = t.randn(100, 1000).to(t.{d})"
        for f in ("sum", "mean", "nansum", "norm", "var", "amax"):
            add("narrow", f"{f} {d} 100x1000", setup, f"t.{f}(x)")
            add("narrow", f"{f}(0) {d} 100x1000", setup, f"t.{f}(x, dim=0)")
            add("narrow", f"{f}(1) {d} 100x1000", setup, f"t.{f}(x, dim=1)")
        add("narrow", f"aminmax {d} 100x1000", setup, "t.aminmax(x)")
        setup = f"x, y = (t.randn(10**5, 2).to(t.{d})[:, 0] for _ in range(2))"
        add("narrow", f"dot of every second {d} 1e5", setup, "t.dot(x, y)")
    for d in ("float32", "float64"):
        add("narrow", f"nan_to_num {d} 1e5", f"x = t.randn(10**5, dtype=t.{d})", "t.nan_to_num(x)")
    for size, n in (("16k", 1 << 14), ("1e6", 10**6)):
        add("random", f"dropout {size}", f"x = t.rand({n})", "F.dropout(x, 0.5, True)")
        add("random", f"rand {size}", "", f"t.rand({n})")
        add("random", f"randn {size}", "", f"t.randn({n})")
    add("random", "bernoulli_ 1e6", "x = t.empty(10**6)", "x.bernoulli_(0.3)")
    add("random", "randint 1e6", "", "t.randint(0, 1000, (10**6,))")
    add("random", "randperm 1e6", "", "t.randperm(10**6)")
    add("random", "multinomial 1000", "p = t.rand(64, 1000)", "t.multinomial(p, 1)")
    for name, shape, k, s, p in (
        ("64x64x24x24 k2", "64, 64, 24, 24", 2, 2, 0),
        ("8x64x112x112 k3 s2 p1", "8, 64, 112, 112", 3, 2, 1),
    ):
        for f in ("max_pool2d", "avg_pool2d"):
            setup, call = f"x = t.randn({shape})", f"F.{f}(x, {k}, {s}, {p})"
            add("pool", f"{f} {name}", setup, call, f"x.numel() + {call}.numel()")
            add_backward("pool", f"{f} {name}", setup, call, moved=f"{1 + (f == 'max_pool2d')} * x.numel() + y.numel()")
    add(
        "pool",
        "adaptive_avg_pool2d 64x512x7x7",
        "x = t.randn(64, 512, 7, 7)",
        "F.adaptive_avg_pool2d(x, 1)",
        "x.numel()",
    )
    for shape, c in (("32, 64, 56, 56", 64), ("64, 512, 7, 7", 512), ("4096, 256", 256)):
        setup = f"x = t.randn({shape}); w = t.ones({c}); b = t.zeros({c}); m = t.zeros({c}); v = t.ones({c})"
        call = "F.batch_norm(x, m, v, w, b, True)"
        name = shape.replace(", ", "x")
        add("norm", f"batch_norm {name}", setup, call, "2 * x.numel()")
        add_backward("norm", f"batch_norm {name}", setup, call, "x, w, b", "3 * x.numel()")
        add("norm", f"batch_norm eval {name}", setup, "F.batch_norm(x, m, v, w, b, False)", "2 * x.numel()")
    for shape, c in (("64, 128, 128", 128), ("4096, 768", 768), ("32, 100, 1000", 1000)):
        setup = f"x = t.randn({shape}); w = t.ones({c}); b = t.zeros({c})"
        call = f"F.layer_norm(x, ({c},), w, b)"
        name = shape.replace(", ", "x")
        add("norm", f"layer_norm {name}", setup, call, "2 * x.numel()")
        add_backward("norm", f"layer_norm {name}", setup, call, "x, w, b", "3 * x.numel()")
    setup = "x = t.randn(32, 64, 56, 56); w = t.ones(64); b = t.zeros(64)"
    add("norm", "group_norm 32x64x56x56", setup, "F.group_norm(x, 8, w, b)", "2 * x.numel()")
    add_backward("norm", "group_norm 32x64x56x56", setup, "F.group_norm(x, 8, w, b)", "x, w, b", "3 * x.numel()")
    for shape in ("64, 10", "1024, 128", "4096, 1000", "32, 50257"):
        name = shape.replace(", ", "x")
        setup = f"x = t.randn({shape})"
        add("softmax", f"softmax {name}", setup, "F.softmax(x, 1)", "2 * x.numel()")
        add_backward("softmax", f"softmax {name}", setup, "F.softmax(x, 1)", moved="3 * x.numel()")
        add("softmax", f"log_softmax {name}", setup, "F.log_softmax(x, 1)", "2 * x.numel()")
        rows, classes = shape.split(", ")
        setup = f"x = t.randn({shape}); target = t.randint(0, {classes}, ({rows},))"
        add("softmax", f"cross_entropy {name}", setup, "F.cross_entropy(x, target)", "x.numel()")
        add_backward("softmax", f"cross_entropy {name}", setup, "F.cross_entropy(x, target)", moved="2 * x.numel()")
    add("softmax", "softmax(0) 1000x1000", "x = t.randn(1000, 1000)", "F.softmax(x, 0)")
    add("softmax", "softmax(1) 32x64x28x28", "x = t.randn(32, 64, 28, 28)", "F.softmax(x, 1)")
    add("softmax", "mse_loss 1e6", "x = t.randn(10**6); y = t.randn(10**6)", "F.mse_loss(x, y)")
    add("softmax", "nll_loss 4096x1000", "x = t.randn(4096, 1000); y = t.randint(0, 1000, (4096,))", "F.nll_loss(x, y)")
    for size, n in (("1000", 1000), ("16k", 1 << 14), ("1e6", 10**6)):
        add("order", f"sort {size}", f"x = t.randn({n})", "t.sort(x)")
        add("order", f"argmax {size}", f"x = t.randn({n})", "t.argmax(x)")
        add("order", f"topk(10) {size}", f"x = t.randn({n})", "t.topk(x, 10)")
        add("order", f"cumsum {size}", f"x = t.randn({n})", "t.cumsum(x, 0)")
    add("order", "sort(1) 1000x1000", "x = t.randn(1000, 1000)", "t.sort(x, 1)")
    add("order", "sort(0) 4x4096", "x = t.randn(4, 4096)", "t.sort(x, 0)")
    add("order", "sort(1) 4096x8", "x = t.randn(4096, 8)", "t.sort(x, 1)")
    add("order", "sort long 1e6", "x = t.randint(0, 10**6, (10**6,))", "t.sort(x)")
    add("order", "argsort(0) 1000x1000", "x = t.randn(1000, 1000)", "t.argsort(x, 0)")
    add("order", "topk(5) 64x50257", "x = t.randn(64, 50257)", "t.topk(x, 5)")
    add("order", "topk(100) 1000x1000", "x = t.randn(1000, 1000)", "t.topk(x, 100)")
    add("order", "argmax(1) 1000x1000", "x = t.randn(1000, 1000)", "t.argmax(x, 1)")
    add("order", "argmax(0) 1000x1000", "x = t.randn(1000, 1000)", "t.argmax(x, 0)")
    add("order", "cumsum(1) 1000x1000", "x = t.randn(1000, 1000)", "t.cumsum(x, 1)")
    add("order", "cumsum(0) 1000x1000", "x = t.randn(1000, 1000)", "t.cumsum(x, 0)")
    add("order", "cummax(1) 1000x1000", "x = t.randn(1000, 1000)", "t.cummax(x, 1)")
    add("order", "unique 1e6", "x = t.randint(0, 1000, (10**6,))", "t.unique(x)")
    add("order", "median 1e6", "x = t.randn(10**6)", "t.median(x)")
    add("move", "cat(0) 8x125k", "xs = [t.randn(125000) for _ in range(8)]", "t.cat(xs)")
    add("move", "cat(1) 2x1000x512", "xs = [t.randn(1000, 512) for _ in range(2)]", "t.cat(xs, 1)")
    add("move", "stack(1) 8x1000x128", "xs = [t.randn(1000, 128) for _ in range(8)]", "t.stack(xs, 1)")
    add("move", "transpose copy 1000x1000", "x = t.randn(1000, 1000)", "x.t().contiguous()")
    add("move", "transpose copy 4096x4096", "x = t.randn(4096, 4096)", "x.t().contiguous()")
    add("move", "permute 0231 32x64x56x56", "x = t.randn(32, 64, 56, 56)", "x.permute(0, 2, 3, 1).contiguous()")
    add("move", "permute 0312 32x56x56x64", "x = t.randn(32, 56, 56, 64)", "x.permute(0, 3, 1, 2).contiguous()")
    add("move", "heads 0213 16x128x8x64", "x = t.randn(16, 128, 8, 64)", "x.permute(0, 2, 1, 3).contiguous()")
    add("move", "clone 1e6", "x = t.randn(10**6)", "x.clone()")
    add("move", "x[:, ::2] copy 1000x2000", "x = t.randn(1000, 2000)", "x[:, ::2].contiguous()")
    add("move", "float to double 1e6", "x = t.randn(10**6)", "x.double()")
    add("move", "float to bfloat16 1e6", "x = t.randn(10**6)", "x.to(t.bfloat16)")
    add("move", "long to float 1e6", "x = t.arange(10**6)", "x.float()")
    index = "i = t.randint(0, 1000, (1000, 1000))"
    add("index", "gather(1) 1000x1000", f"x = t.randn(1000, 1000); {index}", "t.gather(x, 1, i)")
    add("index", "gather(0) 1000x1000", f"x = t.randn(1000, 1000); {index}", "t.gather(x, 0, i)")
    add("index", "scatter(1) 1000x1000", f"x = t.randn(1000, 1000); {index}; s = x + 1", "x.scatter(1, i, s)")
    add("index", "scatter_add(1) 1000x1000", f"x = t.randn(1000, 1000); {index}; s = x + 1", "x.scatter_add(1, i, s)")
    add("index", "scatter_add(0) 1000x1000", f"x = t.randn(1000, 1000); {index}; s = x + 1", "x.scatter_add(0, i, s)")
    rows = "x = t.randn(10000, 128); i = t.randint(0, 10000, (8192,))"
    add("index", "index_select(0) 8192x128", rows, "t.index_select(x, 0, i)")
    add(
        "index",
        "index_select(1) 1000x1000",
        "x = t.randn(1000, 1000); i = t.randint(0, 1000, (1000,))",
        "x.index_select(1, i)",
    )
    add("index", "index_add(0) 8192x128", rows + "; s = t.randn(8192, 128)", "x.index_add(0, i, s)")
    add("index", "x[i] 8192x128", rows, "x[i]")
    add("index", "x[i] 1e6", "x = t.randn(10**6); i = t.randint(0, 10**6, (10**6,))", "x[i]")
    add("index", "take 1e6", "x = t.randn(10**6); i = t.randint(0, 10**6, (10**6,))", "t.take(x, i)")
    add("index", "x[i, j] 1e6", f"x = t.randn(1000, 1000); {index}; j = t.randint(0, 1000, (1000, 1000))", "x[i, j]")
    add(
        "index",
        "index_put_ 1e6",
        "x = t.randn(10**6); i = t.randint(0, 10**6, (10**6,)); s = x + 1",
        "x.index_put_((i,), s)",
    )
    add(
        "index",
        "index_put_ += 1e5",
        "x = t.randn(10**6); i = t.randint(0, 10**6, (10**5,)); s = x[i]",
        "x.index_put_((i,), s, True)",
    )
    add("index", "x[mask] 1e6", "x = t.randn(10**6); m = x > 0", "x[m]")
    add("index", "x[mask] = 0 1e6", "x = t.randn(10**6); m = x > 0", "x[m] = 0.0")
    add("index", "masked_fill 1e6", "x = t.randn(10**6); m = x > 0", "x.masked_fill(m, 0.0)")
    add("index", "masked_scatter 1e6", "x = t.randn(10**6); m = x > 0; s = t.randn(10**6)", "x.masked_scatter(m, s)")
    add("index", "nonzero 1e6", "x = t.randn(10**6) > 0", "t.nonzero(x)")
    add(
        "index",
        "embedding 8192 of 50257x128",
        "w = t.randn(50257, 128); i = t.randint(0, 50257, (64, 128))",
        "F.embedding(i, w)",
    )
    for rows in (65, 50257):
        setup = f"x = t.randn({rows}, 128); i = t.randint(0, {rows}, (64, 128))"
        add_backward("index", f"embedding 8192 of {rows}x128", setup, "F.embedding(i, x)")
    add("index", "bincount 1e6", "i = t.randint(0, 1000, (10**6,))", "t.bincount(i)")
    add("index", "one_hot 8192x128", "i = t.randint(0, 128, (8192,))", "F.one_hot(i, 128)")
    add("index", "tril 1000x1000", "x = t.randn(1000, 1000)", "t.tril(x)")
    add("index", "flip 1000x1000", "x = t.randn(1000, 1000)", "t.flip(x, (1,))")
    add("index", "roll 1000x1000", "x = t.randn(1000, 1000)", "t.roll(x, 3, 1)")
    million, matrix = "x = t.randn(10**6)", "x = t.randn(1000, 1000)"
    image = "x = t.randn(8, 16, 64, 64)"
    for name, setup, run in (
        ("cumprod 1e6", million, "t.cumprod(x, 0)"),
        ("cumsum long 1e6", "x = t.randint(0, 9, (10**6,))", "t.cumsum(x, 0)"),
        ("logcumsumexp 1e6", million, "t.logcumsumexp(x, 0)"),
        ("cummax(0) 1000x1000", matrix, "t.cummax(x, 0)"),
        ("kthvalue 1e6", million, "t.kthvalue(x, 500000)"),
        ("kthvalue(1) 1000x1000", matrix, "t.kthvalue(x, 500, 1)"),
        ("mode(1) 1000x1000", "x = t.randint(0, 50, (1000, 1000))", "t.mode(x, 1)"),
        ("median(1) 1000x1000", matrix, "t.median(x, 1)"),
        ("quantile 1e6", million, "t.quantile(x, 0.3)"),
        ("argsort stable 1e5", "x = t.randn(10**5)", "t.argsort(x, stable=True)"),
        ("sort double 1e6", "x = t.randn(10**6).double()", "t.sort(x)"),
        ("sort bool 1e6", "x = t.randn(10**6) > 0", "t.sort(x)"),
        ("unique float 1e6", million, "t.unique(x)"),
        (
            "unique inverse 1e6",
            "x = t.randint(0, 1000, (10**6,))",
            "t.unique(x, return_inverse=True, return_counts=True)",
        ),
        ("unique_consecutive 1e6", "x = t.randint(0, 2, (10**6,))", "t.unique_consecutive(x)"),
        ("unique(dim=0) 1000x8", "x = t.randint(0, 3, (1000, 8))", "t.unique(x, dim=0)"),
        ("isin 1e6 of 100", "x = t.randint(0, 1000, (10**6,)); y = t.arange(0, 1000, 10)", "t.isin(x, y)"),
        ("searchsorted 1e6 of 1000", "x = t.rand(10**6); y = t.rand(1000).sort().values", "t.searchsorted(y, x)"),
        ("bucketize 1e6 of 10", "x = t.rand(10**6); y = t.linspace(0, 1, 10)", "t.bucketize(x, y)"),
        ("histc 1e6", "x = t.rand(10**6)", "t.histc(x, 100, 0, 1)"),
    ):
        add("more order", name, setup, run)
    for name, setup, run in (
        ("repeat_interleave 1e5 by 10", "x = t.randn(10**5)", "t.repeat_interleave(x, 10)"),
        (
            "repeat_interleave(0) by counts",
            "x = t.randn(1000, 100); n = t.randint(0, 9, (1000,))",
            "t.repeat_interleave(x, n, 0)",
        ),
        ("repeat 2x3 of 500x500", "x = t.randn(500, 500)", "x.repeat(2, 3)"),
        ("tile 100 of 10000", "x = t.randn(10000)", "t.tile(x, (100,))"),
        ("expand copy rows 1000x1000", "x = t.randn(1000)", "x.expand(1000, 1000).contiguous()"),
        ("expand copy columns 1000x1000", "x = t.randn(1000, 1)", "x.expand(1000, 1000).contiguous()"),
        ("pad constant 8x16x64x64", image, "F.pad(x, (1, 1, 1, 1))"),
        ("pad reflect 8x16x64x64", image, "F.pad(x, (2, 2, 2, 2), 'reflect')"),
        ("pad replicate 8x16x64x64", image, "F.pad(x, (2, 2, 2, 2), 'replicate')"),
        ("pad circular 8x16x64x64", image, "F.pad(x, (2, 2, 2, 2), 'circular')"),
        ("unfold k3 8x16x64x64", image, "F.unfold(x, 3, padding=1)"),
        ("fold k3 8x16x64x64", image + "; y = F.unfold(x, 3, padding=1)", "F.fold(y, (64, 64), 3, padding=1)"),
        ("diag 1000", "x = t.randn(1000)", "t.diag(x)"),
        ("eye 1000", "", "t.eye(1000)"),
        ("arange 1e6", "", "t.arange(10**6)"),
        ("linspace 1e6", "", "t.linspace(0, 1, 10**6)"),
        ("zeros 1e6", "", "t.zeros(10**6)"),
        ("meshgrid copy 1000x1000", "x = t.randn(1000)", "[m.contiguous() for m in t.meshgrid(x, x, indexing='ij')]"),
        ("rot90 1000x1000", matrix, "t.rot90(x)"),
        ("flip(0) 1000x1000", matrix, "t.flip(x, (0,))"),
        ("roll(0) 1000x1000", matrix, "t.roll(x, 3, 0)"),
        ("triu 1000x1000", matrix, "t.triu(x)"),
        ("split and cat 1000x1000", matrix, "t.cat(t.split(x, 100, 1), 1)"),
        ("bool to float 1e6", "x = t.randn(10**6) > 0", "x.float()"),
        ("float to bool 1e6", million, "x.bool()"),
        ("float to long 1e6", million, "x.long()"),
        ("uint8 to float 1e6", "x = t.randint(0, 255, (10**6,), dtype=t.uint8)", "x.float()"),
        ("float to half 1e6", million, "x.half()"),
        ("bfloat16 to float 1e6", "x = t.randn(10**6).bfloat16()", "x.float()"),
        ("transpose copy bfloat16 1000x1000", "x = t.randn(1000, 1000).bfloat16()", "x.t().contiguous()"),
        ("transpose copy uint8 1000x1000", "x = t.zeros(1000, 1000, dtype=t.uint8)", "x.t().contiguous()"),
        ("channels last 8x16x64x64", image, "x.contiguous(memory_format=t.channels_last)"),
        ("pixel_shuffle 8x16x64x64", image, "F.pixel_shuffle(x, 2)"),
        ("pixel_unshuffle 8x16x64x64", image, "F.pixel_unshuffle(x, 2)"),
        ("interpolate nearest x2", image, "F.interpolate(x, scale_factor=2)"),
        ("interpolate bilinear x2", image, "F.interpolate(x, scale_factor=2, mode='bilinear')"),
        ("interpolate bicubic x2", image, "F.interpolate(x, scale_factor=2, mode='bicubic')"),
        ("interpolate area /2", image, "F.interpolate(x, scale_factor=0.5, mode='area')"),
        ("interpolate antialias /2", image, "F.interpolate(x, scale_factor=0.5, mode='bilinear', antialias=True)"),
        (
            "grid_sample 8x16x64x64",
            image + "; g = t.rand(8, 64, 64, 2) * 2 - 1",
            "F.grid_sample(x, g, align_corners=False)",
        ),
        ("affine_grid 8x64x64", "m = t.randn(8, 2, 3)", "F.affine_grid(m, (8, 3, 64, 64), align_corners=False)"),
    ):
        add("more moves", name, setup, run)
    rows = "x = t.randn(1000, 1000); i = t.randperm(1000)"
    for name, setup, run in (
        ("index_fill 1000x1000", rows, "x.index_fill(0, i, 1.0)"),
        ("index_fill(1) 1000x1000", rows, "x.index_fill(1, i, 1.0)"),
        ("index_copy 1000x1000", rows + "; s = x + 1", "x.index_copy(0, i, s)"),
        ("index_add(1) 1000x1000", rows + "; s = x + 1", "x.index_add(1, i, s)"),
        ("scatter value 1000x1000", f"x = t.randn(1000, 1000); {index}", "x.scatter(1, i, 1.0)"),
        (
            "scatter_reduce amax 1000x1000",
            f"x = t.randn(1000, 1000); {index}; s = x + 1",
            "x.scatter_reduce(1, i, s, 'amax')",
        ),
        (
            "scatter_reduce mean 1000x1000",
            f"x = t.randn(1000, 1000); {index}; s = x + 1",
            "x.scatter_reduce(1, i, s, 'mean')",
        ),
        (
            "scatter_add 1e6 into 1000",
            "x = t.zeros(1000); i = t.randint(0, 1000, (10**6,)); s = t.randn(10**6)",
            "x.scatter_add(0, i, s)",
        ),
        ("put 1e6", "x = t.randn(10**6); i = t.randint(0, 10**6, (10**6,)); s = x + 1", "x.put(i, s)"),
        ("put_ 1e6", "x = t.randn(10**6); i = t.randint(0, 10**6, (10**6,)); s = x + 1", "x.put_(i, s)"),
        ("take_along_dim 1000x1000", f"x = t.randn(1000, 1000); {index}", "t.take_along_dim(x, i, 1)"),
        ("x[:, i] 1000x1000", rows, "x[:, i]"),
        (
            "x[i, :, j] 64x100x64",
            "x = t.randn(64, 100, 64); i = t.randint(0, 64, (1000,)); j = t.randint(0, 64, (1000,))",
            "x[i, :, j]",
        ),
        ("x[rows mask] 10000x100", "x = t.randn(10000, 100); m = t.randn(10000) > 0", "x[m]"),
        (
            "x[i] = v rows 8192x128",
            "x = t.randn(10000, 128); i = t.randint(0, 10000, (8192,)); s = t.randn(8192, 128)",
            "x[i] = s",
        ),
        ("x[mask] = values 1e6", "x = t.randn(10**6); m = x > 0; s = x[m]", "x[m] = s"),
        ("nonzero 1000x1000", "x = t.randn(1000, 1000) > 0", "t.nonzero(x)"),
        ("argwhere sparse 1e6", "x = t.rand(10**6) > 0.99", "t.argwhere(x)"),
        ("x[10:20, 3] small", "x = t.randn(100, 100)", "x[10:20, 3]"),
        ("x[i] small", "x = t.randn(100); i = t.tensor([3, 5, 7])", "x[i]"),
        ("x[[1, 2]] list", "x = t.randn(100, 10)", "x[[1, 2]]"),
    ):
        add("more index", name, setup, run)
    add_backward("more index", "gather(1) 1000x1000", f"x = t.randn(1000, 1000); {index}", "t.gather(x, 1, i)")
    add_backward("more index", "x[i] rows", "x = t.randn(10000, 128); i = t.randint(0, 10000, (8192,))", "x[i]")
    for batch, heads, tokens, size in ((8, 4, 64, 32), (8, 4, 128, 64), (8, 4, 512, 64), (1, 12, 1024, 64)):
        setup = f"q, k, v = (t.randn({batch}, {heads}, {tokens}, {size}) for _ in range(3))"
        for name, causal in (("", "False"), (" causal", "True")):
            call = f"F.scaled_dot_product_attention(q, k, v, is_causal={causal})"
            name = f"{batch}x{heads}x{tokens}x{size}{name}"
            add("attention", name, setup, call)
            add_backward("attention", name, setup + "; x = q", call, "q, k, v")
    # A language model's next word, and the next few.
    for queries, heads, keys, size in ((1, 24, 128, 64), (1, 32, 512, 128), (4, 24, 128, 64)):
        setup = f"q = t.randn(1, {heads}, {queries}, {size}); k, v = (t.randn(1, {heads}, {keys}, {size}) for _ in range(2))"
        name = f"{queries} of {heads}x{keys}x{size}"
        add("attention", name, setup, "F.scaled_dot_product_attention(q, k, v)")
    for layer in ("LSTM", "GRU"):
        for steps, batch in ((50, 16), (100, 16), (50, 64)):
            setup = f"m = t.nn.{layer}(128, 128); x = t.randn({steps}, {batch}, 128)"
            add("recurrent", f"{layer} 128, {steps} steps, batch {batch}", setup, "m(x)")
            add_backward("recurrent", f"{layer} 128, {steps} steps, batch {batch}", setup, "m(x)[0]")
    # Inputs that do not lie as fast paths like them: every second element, transposed, short rows.
    apart, turned = "t.randn(8, 128, 256, 2)[..., 0]", "t.randn(1000, 1000).t()"
    for f in (
        "logsumexp(0) logsumexp(-1) softmax(0) softmax(-1) cumsum(0) cumprod(0) cummax(0) sum() sum(0) sum(-1)".split()
    ):
        add("layouts", f"{f} 8x128x256, every second", f"x = {apart}", f"x.{f}")
    for f in "norm() std() max() relu() double()".split():
        add("layouts", f"{f} 8x128x256, every second", f"x = {apart}", f"x.{f}")
    add("layouts", "x + y 8x128x256, every second", f"x = {apart}; y = {apart}", "x + y")
    for f in "mse l1 smooth_l1 huber".split():
        add("layouts", f"{f}_loss 1000x1000 transposed", f"x = {turned}; y = {turned}", f"F.{f}_loss(x, y)")
    for f in "flip(-1) double() cumsum(0) cummax(0) softmax(-1) unfold(-1,4,2).contiguous()".split():
        add("layouts", f"{f} 1000x1000 transposed", f"x = {turned}", f"x.{f}")
    for shape in ("64, 32, 32, 16", "1000, 100"):
        name = shape.replace(", ", "x")
        for f in "sum(-1) amin(-1) max(-1) logsumexp(-1) cumsum(-1) diff() flip(-1)".split():
            add("layouts", f"{f} {name}", f"x = t.randn({shape})", f"x.{f}")
        index = f"x = t.randn({shape}); i = t.randint(0, 16, ({shape}))"
        add("layouts", f"gather(-1) {name}", index, "x.gather(-1, i)")
        add("layouts", f"scatter_add(-1) {name}", index, "x.scatter_add(-1, i, x)")
    add("layouts", "x + row 1000x100", "x = t.randn(1000, 100); y = t.randn(100)", "x + y")
    for shape in ("1000, 1000", "1000, 100", "1000, 32", "65536, 16"):
        name = shape.replace(", ", "x")
        operands = f"x = t.randn({shape}); c = t.randn({shape.split(',')[0]}, 1)"
        add("layouts", f"x + column {name}", operands, "x + c")
        add("layouts", f"column - x {name}", operands, "c - x")
        add("layouts", f"x += column {name}", operands, "x += c")
        add("layouts", f"neighbours' difference {name}", operands, "x[:, 1:] - x[:, :-1]")
        add("layouts", f"normalize {name}", F + operands, "F.normalize(x)")
    for n in (17, 50, 100, 127):
        add("layouts", f"sum(-1) 1000x{n}", f"x = t.randn(1000, {n})", "x.sum(-1)")
    index = "x = t.randn(65536, 16); i = t.randint(0, 16, (65536, 16))"
    add("layouts", "scatter(-1) 65536x16", index, "x.scatter(-1, i, x)")
    add("layouts", "movedim 3x4", "x = t.randn(3, 4)", "x.movedim(0, 1)")
    mixed = f"x = {turned}; y = t.randn(1000, 1000); b = y > 0"
    add("layouts", "x + y 1000x1000, x transposed", mixed, "x + y")
    add("layouts", "where 1000x1000, x transposed", mixed, "t.where(b, x, y)")
    add("layouts", "x @ v 1000x1000 transposed", f"x = {turned}; v = t.randn(1000)", "x @ v")
    add("layouts", "x @ v 1000x100 transposed", "x = t.randn(100, 1000).t(); v = t.randn(100)", "x @ v")
    add("layouts", "unfold 8x128x256, every second", f"x = {apart}", "x.unfold(-1, 4, 2).contiguous()")
    add("layouts", "to what it is", "x = t.randn(3, 4)", "x.to('cpu')")
    layouts(add, found)
    return found


def layouts(add, found):
    """Inputs with channels last, the expanded gradient of a sum, and distances."""
    image = "x = t.randn(8, 32, 28, 28)"
    last = f"{image}.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)"
    modules = {
        "conv 3x3": "t.nn.Conv2d(32, 32, 3, padding=1)",
        "batch_norm": "t.nn.BatchNorm2d(32)",
        "group_norm": "t.nn.GroupNorm(8, 32)",
        "max_pool2d": "t.nn.MaxPool2d(2)",
        "avg_pool2d": "t.nn.AvgPool2d(2)",
        "softmax(1)": "t.nn.Softmax(1)",
    }
    for name, made in modules.items():
        add("layouts", f"{name} channels last", f"m = {made}; {last}", "m(x)")
        setup = f"m = {made}; {image}; x.requires_grad_(); y = m(x).sum()"
        run = "t.autograd.grad(y, x, retain_graph=True)"
        found.append(Case("layouts", f"{name} of a sum, backward", F + setup, run, True))
    for call in (
        "avg_pool2d(x, 4)",
        "max_pool2d(x, 3, 2, 1)",
        "adaptive_avg_pool2d(x, 1)",
        "interpolate(x, scale_factor=2)",
        "interpolate(x, scale_factor=2, mode='bilinear')",
    ):
        add("layouts", f"{call} channels last", F + last, f"F.{call}")
    add("layouts", "cat channels last", last, "t.cat([x, x], 1)")
    for rows, width in ((64, 256), (1000, 100)):
        setup = f"x = t.randn({rows}, {width}); y = t.randn({rows}, {width})"
        add("layouts", f"cdist {rows}x{width}", setup, "t.cdist(x, y)")
    add("layouts", "cdist 300x50, p = 1", "x = t.randn(300, 50); y = t.randn(300, 50)", "t.cdist(x, y, 1)")
    add("layouts", "index_select 1e5", "x = t.randn(10**5); i = t.randint(0, 10**5, (10**5,))", "x.index_select(0, i)")
    add("layouts", "index_add 1e5", "x = t.randn(10**5); i = t.randint(0, 10**5, (10**5,))", "x.index_add(0, i, x)")
    add("layouts", "tril_indices 500", "", "t.tril_indices(500, 500)")
    add("layouts", "PReLU 1e6", "x = t.randn(1000, 1000); w = t.full((1,), 0.25)", "F.prelu(x, w)")
