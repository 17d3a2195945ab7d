"""Every op of the table on the gpu against the CPU: values, dtypes, strides, gradients, in place, into `out=`.

What has no shader must say so. The CPU's results are checked against references in `test_ops.py`.
"""

import re
import warnings

import firesteel as fs
import numpy as np
import pytest
from firesteel import _C
from samples import SAMPLES, Built, to_numpy
from samples.spec import LAYOUTS, S, V, _unmark
from test_ops import SPECIAL, call, inplace_only, results

pytestmark = pytest.mark.skipif(not fs.gpu.is_available(), reason="no adapter for the gpu device on this machine")

TABLE = {op["key"]: op for op in _C._op_table()}
KEYS = sorted(k for k in TABLE if k in SAMPLES)
#: Relative and absolute, for float32: division, square root and exp of different hands, sums in another order.
TOLERANCE = (1e-5, 1e-6)
#: Ops with a wider one, and why.
WIDER = {
    # Products of up to 1000 terms are added in another order, and without a wider accumulator.
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot", "linear"), (1e-5, 5e-6)),
}
DTYPES = ("float32", "int32", "int64", "bool")
#: Float32 calls that raise on the gpu, by words of their error.
REFUSED = {
    "_grad_norm": "a norm other than 2",
    "_to_copy": "is not supported on device 'gpu'",
    "sum": "is not supported on device 'gpu'",
    "mean": "is not supported on device 'gpu'",
    "prod": "is not supported on device 'gpu'",
    "prod.dim": "is not supported on device 'gpu'",
    "softmax": "is not supported on device 'gpu'",
    "log_softmax": "is not supported on device 'gpu'",
    "linalg_vector_norm": "is not supported on device 'gpu'",
    "_full": "is not supported on device 'gpu'",
    "_full_like": "is not supported on device 'gpu'",
    "round": "not implemented for 'Float' on device 'gpu'",
    "_attention": "'_attention_factors' is not implemented on device 'gpu'",
    "view.dtype": "cannot be seen as another dtype",
    "batch_norm": "'batch_norm' is not implemented on device 'gpu'",
    "conv1d.padding": "'conv1d' is not implemented on device 'gpu'",
    "conv2d.padding": "'conv2d' is not implemented on device 'gpu'",
    "conv3d.padding": "'conv3d' is not implemented on device 'gpu'",
    "_conv_act": "d' is not implemented on device 'gpu'",
    "_conv_input_relu": "'_conv_input' is not implemented on device 'gpu'",
}
NO_DTYPE = re.compile(r"not implemented for '(Long|Int|Bool)' on device 'gpu'|is not supported on device 'gpu'")


def on_gpu(t):
    """A tensor with the same storage, strides and offset on the gpu."""
    n = t._storage()[1] // t.element_size()
    whole = _C._over(t, t.dtype, [n], [1], 0).to("gpu")
    return whole.as_strided(tuple(t.shape), t.stride(), t.storage_offset())


def takes(t):
    return t.dtype in (fs.float32, fs.int32, fs.int64, fs.bool)


def written(op, built, tensors):
    """The tensors that an op wrote to, among its arguments."""
    if inplace_only(op):
        return tensors[:1]
    if op["mutates"]:
        return tensors
    return []


def close(got, want, key, what):
    got, want = to_numpy(got.cpu()), to_numpy(want)
    if want.dtype != np.float64:
        assert np.array_equal(got, want), what
        return
    rtol, atol = WIDER.get(key, TOLERANCE)
    np.testing.assert_allclose(got, want, rtol, atol, equal_nan=True, err_msg=what)


def device_argument(op):
    if op["key"] == "_to_device":
        return {}
    return {"device": "gpu"} if any(p["name"] == "device" for p in op["params"]) else {}


def both(op, built, sample, f, tensors):
    """The results, and what was written, of a call on either device with the same random numbers."""
    host = [t for t, _, _ in built.pairs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fs.manual_seed(3)
        got = results(f(*_unmark(built.marks, tensors), **sample.kwargs, **device_argument(op)))
        got += written(op, built, tensors)
        got = [(g, g.cpu()) for g in got]
        fs.manual_seed(3)
        want = results(f(*_unmark(built.marks, host), **sample.kwargs)) + written(op, built, host)
    if op["gpu"] == "composite":
        # It makes what a program gets, and not what the kernel keeps for its derivative.
        want = want[: len(got)]
    return got, want


def cases(key, dtypes=DTYPES, layouts=LAYOUTS):
    """(what, sample, built) of an op's samples in the dtypes that the gpu stores."""
    op, row = TABLE[key], SAMPLES[key]
    writes = inplace_only(op) or op["mutates"]
    for dtype in row.all_dtypes():
        if (dtype not in dtypes and dtype != "float64") or (dtype == "float64" and row.dtypes != "1"):
            continue
        for layout in layouts if row.strided else ("contiguous",):
            if layout == "expanded" and writes:
                continue
            for number, sample in enumerate(row.samples):
                built = Built(key, row, sample, "float32" if dtype == "float64" else dtype, layout, number)
                if all(takes(t) for t, _, _ in built.pairs):
                    yield f"{key}{sample} {dtype} {layout}", sample, built


@pytest.mark.parametrize("key", [k for k in KEYS if TABLE[k]["gpu"]])
def test_as_on_the_cpu(key):
    op, row = TABLE[key], SAMPLES[key]
    ran = 0
    for what, sample, built in cases(key):
        try:
            got, want = both(op, built, sample, call(op), [on_gpu(t) for t, _, _ in built.pairs])
        except NotImplementedError as e:
            floats = all(t.dtype is fs.float32 for t, _, _ in built.pairs)
            if key not in REFUSED or REFUSED[key] not in str(e):
                assert not floats or sample.kwargs.get("dtype") or device_argument(op), f"{what}: {e}"
                assert NO_DTYPE.search(str(e)), f"{what}: {e}"
            continue
        ran += 1
        assert len(got) == len(want), what
        for (g, values), w in zip(got, want, strict=True):
            assert str(g.device) == "gpu" or key == "_to_device", what
            assert (g.dtype, g.shape) == (w.dtype, w.shape), what
            if op["gpu"] != "composite":  # whose parts choose the strides
                assert g.stride() == w.stride(), what
            if row.exact:
                close(values, w, key, what)
    assert ran or key in REFUSED


@pytest.mark.parametrize("key", [k for k in KEYS if not TABLE[k]["gpu"]])
def test_what_has_no_shader_says_so(key):
    """The op and the device by name, and nothing changed."""
    op = TABLE[key]
    asked = 0
    for what, sample, built in cases(key, ("float32", "int64"), ("contiguous",)):
        tensors = [on_gpu(t) for t, _, _ in built.pairs]
        if not tensors and not device_argument(op):
            continue
        with pytest.raises(NotImplementedError, match=re.escape(f"'{op['name']}' is not implemented on device 'gpu'")):
            call(op)(*_unmark(built.marks, tensors), **sample.kwargs, **device_argument(op))
        for t, (host, _, _) in zip(tensors, built.pairs, strict=True):
            assert t._version == 0 and np.array_equal(to_numpy(t.cpu()), to_numpy(host), equal_nan=True), what
        asked += 1
    assert asked or not any(takes(t) for _, _, b in cases(key) for t, _, _ in b.pairs)


@pytest.mark.parametrize("key", [k for k in KEYS if TABLE[k]["gpu"] == "shader" and SAMPLES[k].special])
def test_special_values(key):
    """NaN, infinities and signed zeros."""
    op, row = TABLE[key], SAMPLES[key]
    tensors = [t for t in row.samples[0].specs() if t.dtype is None][: 2 if key in ("clamp", "where") else 3]
    grid = np.meshgrid(*[SPECIAL] * len(tensors))
    sample = S(*(V(g.reshape(-1)) for g in grid), *((-1, 1) if key == "clamp" else ()))
    built = Built(key, row, sample, "float32")
    got, want = both(op, built, sample, call(op), [on_gpu(t) for t, _, _ in built.pairs])
    for (_, values), w in zip(got, want, strict=True):
        close(values, w, key, f"{key} special")


@pytest.mark.parametrize(
    "key", [k for k in KEYS if TABLE[k]["gpu"] == "shader" and TABLE[k]["inplace"] and not inplace_only(TABLE[k])]
)
def test_inplace(key):
    op, row = TABLE[key], SAMPLES[key]
    if row.reference is None:
        pytest.skip("random: the in-place form draws as the other does")
    for number, sample in enumerate(row.samples):
        for layout in ("contiguous", "strided"):
            built = Built(key, row, sample, row.all_dtypes()[0], layout, number)
            if not all(takes(t) for t, _, _ in built.pairs):
                continue
            host = [t for t, _, _ in built.pairs]
            there = [on_gpu(t) for t in host]

            def write(tensors, built=built, sample=sample):
                x, *rest = _unmark(built.marks, tensors)
                if op["method"]:
                    return getattr(x, op["name"] + "_")(*rest, **sample.kwargs)
                return getattr(_C, op["name"] + "_")(x, *rest, **sample.kwargs)

            what = f"{key}_{sample} {layout}"
            try:
                want = write(host)
            except RuntimeError:
                with pytest.raises(RuntimeError):
                    write(there)
                continue
            before, where = there[0]._version, there[0].data_ptr()
            try:
                got = write(there)
            except NotImplementedError as e:
                assert key in REFUSED or (there[0].dtype is fs.int64 and NO_DTYPE.search(str(e))), what
                continue
            assert got is there[0] and got._version == before + 1 and got.data_ptr() == where, what
            close(got, want, key, what)


@pytest.mark.parametrize(
    "key", [k for k in KEYS if TABLE[k]["gpu"] == "shader" and TABLE[k]["out"] and TABLE[k]["function"]]
)
def test_out(key):
    op, row = TABLE[key], SAMPLES[key]
    if row.reference is None or not row.exact:
        pytest.skip("no values to compare")
    for what, sample, built in list(cases(key, ("float32", "int32", "bool"), ("contiguous",)))[:2]:
        try:
            _, want = both(op, built, sample, call(op), [on_gpu(t) for t, _, _ in built.pairs])
        except NotImplementedError:
            continue
        there = [on_gpu(t) for t, _, _ in built.pairs]
        for how in ("empty", "strided"):
            targets = []
            for w in want:
                size = [0] if how == "empty" else list(reversed(w.shape))
                t = _C._full(size, 0, dtype=w.dtype, device="gpu")
                targets.append(t if how == "empty" else t.permute(list(range(w.ndim))[::-1]))
            out = targets[0] if len(targets) == 1 else tuple(targets)
            made = results(call(op)(*_unmark(built.marks, there), **sample.kwargs, **device_argument(op), out=out))
            for m, t, w in zip(made, targets, want, strict=True):
                assert m is t, what
                close(m, w, key, f"{what} out= {how}")


#: Ops with a shader whose derivative needs one that is not there, by its name.
NO_BACKWARD = {
    "index_fill": "'_unique' is not implemented on device 'gpu'",
    "prod": "'cumprod' is not implemented on device 'gpu'",
    "prod.dim": "'cumprod' is not implemented on device 'gpu'",
}


@pytest.mark.parametrize("key", [k for k in KEYS if TABLE[k]["gpu"]])
def test_gradients(key):
    """Of every float argument, as on the CPU."""
    op = TABLE[key]
    if inplace_only(op) or op["mutates"] or op["random"]:
        pytest.skip("writes its argument, or draws numbers: gradients are tested in test_gpu.py")
    for what, sample, built in cases(key, ("float32",), ("contiguous", "transposed")):
        want_grad = [
            k for k, (t, _, spec) in enumerate(built.pairs) if t.dtype is fs.float32 and spec.grad and t.numel() > 0
        ]
        if not want_grad:
            continue

        def gradients(tensors, built=built, sample=sample, want_grad=want_grad):
            tensors = [t.detach() for t in tensors]
            for k in want_grad:
                tensors[k].requires_grad_()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                outs = [
                    o for o in results(call(op)(*_unmark(built.marks, tensors), **sample.kwargs)) if o.requires_grad
                ]
            if not outs:
                return None
            seeds = [(fs.arange(float(o.numel())).reshape(o.shape).cos() + 1.5).to(o.device) for o in outs]
            inputs = [tensors[k] for k in want_grad]
            return fs.autograd.grad(outs, inputs, seeds, allow_unused=True)

        want = gradients([t for t, _, _ in built.pairs])
        try:
            got = gradients([on_gpu(t) for t, _, _ in built.pairs])
        except NotImplementedError as e:
            assert any(d.get(key, "no error") in str(e) for d in (REFUSED, NO_BACKWARD)), f"{what}: {e}"
            continue
        assert (want is None) == (got is None) or (op["gpu"] == "composite" and not any(w.any() for w in want)), what
        for g, w in zip(got or (), want or () if got else (), strict=True):
            # A composite over no elements need not depend on an argument.
            assert (g is None) == (w is None) or (op["gpu"] == "composite" and not w.any()), what
            if g is not None:
                assert str(g.device) == "gpu", what
                close(g, w, key, f"gradient of {what}")


def odd_tensors():
    """Of shapes and dtypes that fit few ops, made anew for each call."""
    made = (fs.ones(0), fs.ones(()), fs.ones(2), fs.ones(2, 3), fs.ones(2, 0, 3), fs.ones([1] * 8), fs.tensor([5, -9]))
    made += (
        fs.tensor([2**31 - 1, -(2**31)]),
        fs.tensor([True, False]),
        fs.tensor(True),
        fs.tensor([3, 1]).to(fs.int32),
    )
    made += (fs.full((3,), float("nan")), fs.full((2, 3), -float("inf")))
    there = [t.to("gpu") for t in made]
    return [
        *there,
        fs.zeros(1, device="gpu").expand(3),
        fs.ones(6, device="gpu")[::2],
        [there[2]],
        [there[2], None],
        made[2],
    ]


@pytest.mark.parametrize("key", [k for k in KEYS if TABLE[k]["gpu"]])
def test_no_tensor_breaks_an_op(key):
    """Each tensor argument replaced by tensors that do not fit: an ordinary error or none, and the device works on."""
    op, row = TABLE[key], SAMPLES[key]
    sample = row.samples[0]
    for place in range(len(sample.args)):
        for i in range(len(odd_tensors())):
            built = Built(key, row, sample, "float32" if "f" in row.dtypes else row.all_dtypes()[0])
            if not all(takes(t) for t, _, _ in built.pairs):
                continue
            args = list(_unmark(built.marks, [on_gpu(t) for t, _, _ in built.pairs]))
            args[place] = odd_tensors()[i]
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    call(op)(*args, **sample.kwargs, **device_argument(op))
                fs.gpu.synchronize()
            except (RuntimeError, IndexError, ValueError, TypeError, AttributeError) as e:
                assert "internal error" not in str(e), f"{key}{sample}, argument {place}, tensor {i}: {e}"
    assert (fs.ones(3, device="gpu") + 1).sum().item() == 6
