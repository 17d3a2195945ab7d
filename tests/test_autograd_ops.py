"""The derivative of every op against central differences, to second order; fused ops against their composites."""

import math

import firesteel as fs
import numpy as np
import pytest
from firesteel import _C
from firesteel.autograd import gradcheck, gradgradcheck, rows
from samples import SAMPLES, Built
from test_ops import KNOWN, TABLE, call, inplace_only, results

#: Elements of all inputs above which differences take too long.
LIMIT = 60


def is_differentiable(key):
    row = rows.ROWS.get(key, {})
    sample = SAMPLES[key].samples[0]
    floats = [s for s in sample.specs() if s.dtype is None or s.dtype == "float64"]
    return not row.get("nondiff") and bool(floats) and not TABLE[key]["random"] and SAMPLES[key].reference is not None


DIFFERENTIABLE = [k for k in KNOWN if "float64" in SAMPLES[k].all_dtypes() and is_differentiable(k)]


def prepared(key, sample, number, layout):
    """The op as a function of the tensors that want gradients, in-place ops on a clone; and those tensors."""
    op, row = TABLE[key], SAMPLES[key]
    built = Built(key, row, sample, "float64", layout, number)
    tensors = [t.requires_grad_() if spec.grad and spec.dtype is None else t for t, _, spec in built.pairs]
    f = call(op)

    def run(*args):
        args = list(args)
        if inplace_only(op):
            args[0] = args[0].clone()
        if op["mutates"]:
            args = [a.detach().clone() if not s.grad else a for a, (_, _, s) in zip(args, built.pairs, strict=True)]
        outs = results(f(*_arguments(built, args), **sample.kwargs))
        return tuple(o for i, o in enumerate(outs) if o.is_floating_point() and not op["nondiff_outputs"] >> i & 1)

    return run, tuple(tensors)


def _arguments(built, tensors):
    return built.call_with(lambda *a: a, tensors) if not built.kwargs else _without_keywords(built, tensors)


def _without_keywords(built, tensors):
    kwargs, built.kwargs = built.kwargs, {}
    try:
        return built.call_with(lambda *a: a, tensors)
    finally:
        built.kwargs = kwargs


def cases(key, limit=LIMIT):
    for number, sample in enumerate(SAMPLES[key].samples):
        size = sum(int(np.prod(s.shape)) for s in sample.specs())
        odd = any(s.values is not None and not np.all(np.isfinite(np.asarray(s.values, float))) for s in sample.specs())
        if size <= limit and not odd:
            yield number, sample


@pytest.mark.parametrize("key", DIFFERENTIABLE)
def test_first_derivative(key):
    tried = 0
    for number, sample in cases(key):
        for layout in ("contiguous", "strided") if SAMPLES[key].strided else ("contiguous",):
            f, tensors = prepared(key, sample, number, layout)
            if not any(t.requires_grad for t in tensors):
                continue
            # What has no gradient at all (a zero row aside) would make this test say nothing.
            assert any(o.requires_grad for o in f(*tensors)), f"{key}{sample}: the result does not require grad"
            try:
                assert gradcheck(f, tensors)
            except Exception as err:
                err.add_note(f"{key}{sample} {layout}")
                raise
            tried += 1
    assert tried, "no sample small enough"


@pytest.mark.parametrize("key", DIFFERENTIABLE)
def test_second_derivative(key):
    """On small samples, and on the smallest with strided memory."""
    for place, (number, sample) in enumerate(cases(key, 40)):
        for layout in ("contiguous", "strided") if SAMPLES[key].strided and place == 0 else ("contiguous",):
            f, tensors = prepared(key, sample, number, layout)
            if not sample.twice or not any(t.requires_grad for t in tensors):
                continue
            try:
                assert gradgradcheck(f, tensors)
            except Exception as err:
                err.add_note(f"{key}{sample} {layout}")
                raise


@pytest.mark.parametrize("key", [k for k in DIFFERENTIABLE if sum(s.grad for s in SAMPLES[k].samples[0].specs()) > 1])
def test_gradients_are_used_only_where_wanted(key):
    """With one input at a time that requires grad: the same gradient as with all of them."""
    number, sample = next(iter(cases(key)))
    f, tensors = prepared(key, sample, number, "contiguous")
    wanted = [i for i, t in enumerate(tensors) if t.requires_grad]

    def gradients(on):
        own = [t.detach().requires_grad_(i in on) for i, t in enumerate(tensors)]
        outs = [o for o in f(*own) if o.requires_grad]
        seeds = [_C._full(o.shape, 0.5 + k, dtype=o.dtype) for k, o in enumerate(outs)]
        return fs.autograd.grad(outs, [own[i] for i in on], seeds, allow_unused=True)

    together = gradients(wanted)
    for place, i in enumerate(wanted):
        (alone,) = gradients([i])
        if together[place] is None:
            assert alone is None or not alone.any()
        else:
            np.testing.assert_allclose(alone.numpy(), together[place].numpy(), rtol=1e-12, atol=1e-14)


# ---- fused ops and their composites -----------------------------------------------------------------------------------

#: Arguments as the composite takes them: every parameter of the record, by position.
COMPOSITES = {
    key: [s for s in SAMPLES[key].samples if 0 not in s.specs()[0].shape]
    for key in (
        "layer_norm",
        "batch_norm",
        "group_norm",
        "_attention",
        "_lstm",
        "_gru",
        "_linear_relu",
        "_conv_act",
        "_conv_input_relu",
        "_grid_sample",
    )
    if key in KNOWN
}


def complete(key, built):
    """Positional arguments with the record's defaults after those given."""
    args = list(built.args)
    for p in TABLE[key]["params"][len(args) :]:
        args.append(built.kwargs.get(p["name"], eval(p["default"]) if p["default"] else None))
    return args


@pytest.mark.parametrize("key", sorted(COMPOSITES))
def test_composite_equals_fused(key):
    """Values, first and second derivatives of the fused op are those of its composite."""
    composite = rows.ROWS[key]["composite"]
    for number, sample in enumerate(COMPOSITES[key]):
        found = []
        for f in (getattr(_C, key), composite):
            built = Built(key, SAMPLES[key], sample, "float64", "contiguous", number)
            tensors = [t.requires_grad_() for t, _, s in built.pairs if s.grad]
            made = results(f(*complete(key, built)))
            y = _C.cat([o.flatten() for o in made if o.requires_grad])
            seed = fs.arange(y.numel(), dtype=fs.float64).reshape(y.shape).sin().requires_grad_()
            first = fs.autograd.grad(y, tensors, seed, create_graph=True)
            total = sum((g * g).sum() for g in first)
            second = fs.autograd.grad(total, [*tensors, seed], allow_unused=True)
            found.append([y, *first, *(g for g in second if g is not None)])
        assert len(found[0]) == len(found[1])
        for a, b in zip(*found, strict=True):
            np.testing.assert_allclose(
                a.detach().numpy(), b.detach().numpy(), rtol=1e-7, atol=1e-9, err_msg=f"{key}{sample}"
            )


# ---- where the derivative is a convention ------------------------------------------------------------------------------

INF = math.inf
#: op, input, gradient of the sum of the results; each as PyTorch 2.13 gives it.
CONVENTIONS = [
    ("abs", [0.0, -1.0], [0.0, -1.0]),
    ("relu", [0.0, -0.0, 1.0], [0.0, 0.0, 1.0]),
    ("relu6", [0.0, 6.0, 3.0], [0.0, 0.0, 1.0]),
    ("sqrt", [0.0, 4.0], [INF, 0.25]),
    ("log", [0.0], [INF]),
    ("sinc", [0.0], [0.0]),
    ("hardsigmoid", [-3.0, 3.0], [0.0, 0.0]),
    ("hardswish", [-3.0, 3.0], [0.0, 1.0]),
    ("max", [2.0, 2.0, 1.0], [0.5, 0.5, 0.0]),
    ("amax", [2.0, 2.0, 1.0], [0.5, 0.5, 0.0]),
    ("median", [2.0, 2.0, 1.0], [0.5, 0.5, 0.0]),
    ("prod", [2.0, 0.0, 3.0], [0.0, 6.0, 0.0]),
    ("prod", [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]),
    ("sign", [0.5, -2.0], [0.0, 0.0]),
    ("floor", [0.5, -2.0], [0.0, 0.0]),
    ("linalg_vector_norm", [0.0, 0.0], [0.0, 0.0]),
    ("std", [1.0, 1.0], [0.0, 0.0]),
    ("erfinv", [1.0, 0.0], [INF, math.sqrt(math.pi) / 2]),
]


@pytest.mark.parametrize("name,at,want", CONVENTIONS)
def test_conventions(name, at, want):
    x = fs.tensor(at, dtype=fs.float64, requires_grad=True)
    getattr(_C, name)(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), want, rtol=1e-12)


def test_conventions_of_two():
    """Equals share the gradient of a maximum; powers and clamps at their edges. Confirmed with PyTorch 2.13."""
    f64 = {"dtype": fs.float64, "requires_grad": True}
    x, y = fs.tensor([1.0, 2.0], **f64), fs.tensor([1.0, 1.0], **f64)
    fs.maximum(x, y).sum().backward()
    assert x.grad.tolist() == [0.5, 1.0] and y.grad.tolist() == [0.5, 0.0]
    x = fs.tensor([0.0, 1.0, 2.0], **f64)
    x.clamp(0, 1).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 0.0]
    x = fs.tensor([0.0, 2.0], **f64)
    x.pow(0).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0]
    x = fs.tensor([0.0, 2.0], **f64)
    x.pow(1).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]
    x, e = fs.tensor([0.0, 0.0], **f64), fs.tensor([0.0, 2.0], **f64)
    x.pow(e).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0] and e.grad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "name",
    "elu erf erfc gelu gelu_tanh hardsigmoid hardswish logsigmoid mish selu sigmoid silu sinc softplus softsign tanh".split(),
)
def test_gradients_far_from_zero_and_near_it(name):
    far = [13.0, 20.0, 22.0, 50.0, 89.0, 104.0, 300.0, 1000.0, 1e6, 1e19]
    near = [0.0, 1e-42, 1e-30, 1e-10, 1e-7, 1e-4, 0.01, 0.159, 0.16, 1.0]
    functions = {"gelu_tanh": lambda x: fs.nn.functional.gelu(x, approximate="tanh")}
    f = functions.get(name) or getattr(fs, name, None) or getattr(fs.nn.functional, name)

    def gradient(dtype):
        # The same numbers in both precisions; a sine of a large one would differ.
        values = near if name == "sinc" else near + far
        x = fs.tensor([-v for v in values] + values).to(dtype).requires_grad_()
        return fs.autograd.grad(f(x).sum(), x)[0].double().numpy()

    want = gradient(fs.float64)
    assert np.isfinite(want).all()
    np.testing.assert_allclose(gradient(fs.float32), want, rtol=2e-5, atol=2e-7)


def test_no_gradient_where_results_are_whole_numbers():
    x = fs.tensor([1.0, 2.0], requires_grad=True)
    for y in (x > 1, x.argmax(), x.isnan(), x.max(0).indices, x.sort().indices, x.count_nonzero()):
        assert not y.requires_grad


def test_composite_without_a_row_of_its_own():
    """conv2d with padding='same' is the composite's ops, and its gradients theirs."""
    x = fs.randn(1, 2, 4, 5, dtype=fs.float64).requires_grad_()
    w = fs.randn(3, 2, 3, 3, dtype=fs.float64).requires_grad_()
    same = _C.conv2d(x, w, None, 1, "same")
    plain = _C.conv2d(x, w, None, 1, 1)
    assert fs.equal(same, plain)
    a = fs.autograd.grad(same.square().sum(), (x, w))
    b = fs.autograd.grad(plain.square().sum(), (x, w))
    assert all(fs.equal(p, q) for p, q in zip(a, b, strict=True))
