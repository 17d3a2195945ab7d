"""Every op of the table against its reference: values, dtypes and shapes, on every layout, in place, into `out=`, on meta."""

import warnings

import firesteel as fs
import numpy as np
import pytest
from firesteel import _C
from samples import SAMPLES, Built, result_dtype, to_numpy
from samples.spec import FLOATS, INTS, LAYOUTS, TOLERANCE, F, S, V, tensor

TABLE = {op["key"]: op for op in _C._op_table()}
KEYS = sorted(TABLE)
#: Records without a sample fail in `test_table_is_complete`, not by a KeyError in each test.
KNOWN = [key for key in KEYS if key in SAMPLES]


def name_of(dtype):
    return str(dtype).rpartition(".")[2]


def inplace_only(op):
    return op["inplace"] and not op["method"] and not op["function"]


def call(op, method=False):
    """The public way to an op."""
    if inplace_only(op):
        return lambda x, *rest, **kw: getattr(x, op["name"] + "_")(*rest, **kw)
    if method or not op["function"]:
        return lambda x, *rest, **kw: getattr(x, op["name"])(*rest, **kw)
    return getattr(_C, op["name"])


def results(out):
    """Results as a list of tensors, however they come."""
    if out is None:
        return []
    return list(out) if isinstance(out, (tuple, list)) else [out]


def expected_of(row, built, sample):
    arrays = built.arrays
    if row.out == "float":
        # NumPy would compute with half precision for bool.
        arrays = [a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in arrays]
    return results(row.reference(*arrays, **sample.kwargs))


def has_number(op, sample):
    """Whether a number that is not a bool stands where a tensor could."""
    places = zip(op["params"], sample.args, strict=False)
    return any(p["type"] == "Operand" and type(a) in (int, float) for p, a in places)


def close(got, want, dtype, row, what, large=False):
    rtol, atol = row.tolerance.get(dtype) or TOLERANCE.get(dtype, (0, 0))
    if large and dtype in FLOATS and np.size(want):
        # Long sums cancel: what is lost of the terms cannot be asked of a small result.
        atol = max(atol, {"float32": 2e-6, "float64": 1e-13}.get(dtype, rtol) * np.abs(want).max())
    if dtype == "bool":
        want = np.asarray(want) != 0
    if dtype in INTS:
        want = np.asarray(want).astype(dtype).astype(np.int64)
    elif dtype in ("float16", "float32"):
        with np.errstate(over="ignore"):
            want = np.asarray(want, np.float64).astype(dtype).astype(np.float64)
    np.testing.assert_allclose(
        got.astype(np.float64), np.asarray(want, np.float64), rtol, atol, equal_nan=True, err_msg=what
    )


def check_results(op, row, sample, built, outs, dtype, what, large=False):
    """Results against the reference: number, shape, dtype, values; then the arguments, which the op must leave alone."""
    if row.reference is None:
        row.check([to_numpy(o) for o in outs], built.arrays)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        wants = expected_of(row, built, sample)
    # References may leave out what is only saved for the derivative or computed without a weight.
    assert len(outs) >= len(wants), what
    rules = (row.out,) * len(wants) if isinstance(row.out, str) else row.out
    for got, want, rule in zip(outs, wants, rules, strict=False):
        if want is None:
            continue
        want = np.asarray(want)
        kwarg = sample.kwargs.get("dtype")
        own = name_of(want.dtype) if rule == "reference" else result_dtype("same" if rule == "weak" else rule, dtype)
        if rule == "weak" and dtype == "bool" and has_number(op, sample):
            own = "int64"
        own = name_of(kwarg) if kwarg is not None else str(own)
        assert name_of(got.dtype) == own, f"{what}: dtype {got.dtype}, expected {own}"
        assert tuple(got.shape) == want.shape, f"{what}: shape {tuple(got.shape)}, expected {want.shape}"
        if row.exact:
            close(to_numpy(got), want, own, row, what, large)
    if row.check is not None:
        row.check([to_numpy(o) for o in outs], built.arrays)
    # The reference has written what the op writes, and nothing else.
    if not inplace_only(op):
        for t, a, spec in built.pairs:
            own = spec.dtype or dtype
            if op["mutates"]:
                close(to_numpy(t), a, own, row, f"{what}: an argument after the call")
            else:
                assert np.array_equal(to_numpy(t), a, equal_nan=a.dtype.kind == "f"), f"{what}: an argument was written"


def check(key, dtype, layout):
    op, row = TABLE[key], SAMPLES[key]
    for number, sample in enumerate(row.samples):
        built = Built(key, row, sample, dtype, layout, number)
        if inplace_only(op) and layout == "expanded":
            continue
        what = f"{key}{sample} {dtype} {layout}"
        try:
            outs = results(call(op)(*built.args, **sample.kwargs))
        except Exception as err:
            err.add_note(what)
            raise
        check_results(op, row, sample, built, outs, dtype, what)


def test_table_is_complete():
    """A record has samples, and a derivative or the word that it needs none."""
    assert not [key for key in KEYS if key not in SAMPLES], "records without samples"
    assert not [key for key in SAMPLES if key not in TABLE], "samples without a record"
    assert not _C._row_keys()[1], "records without a derivative (or nondiff)"


CASES = [(key, dtype) for key in KNOWN for dtype in SAMPLES[key].all_dtypes()]


@pytest.mark.parametrize("key,dtype", CASES)
def test_reference(key, dtype):
    check(key, dtype, "contiguous")


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "contiguous"])
@pytest.mark.parametrize("key", [k for k in KNOWN if SAMPLES[k].strided and any(s.specs() for s in SAMPLES[k].samples)])
def test_layouts(key, layout):
    """Column-major memory, every second element after an offset, and stride 0 give the same values."""
    for dtype in SAMPLES[key].all_dtypes()[:1]:
        if layout == "expanded" and TABLE[key]["mutates"]:
            continue
        check(key, dtype, layout)


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "strided"])
@pytest.mark.parametrize("key", [k for k in KNOWN if SAMPLES[k].medium and SAMPLES[k].reference])
def test_medium(key, layout):
    """Sizes at which kernels work in blocks, on two threads; the error is relative to the largest result."""
    op, row = TABLE[key], SAMPLES[key]
    fs.set_num_threads(2)
    for dtype in row.all_dtypes()[:2]:
        for number, sample in enumerate(row.medium):
            built = Built(key, row, sample, dtype, layout, number)
            outs = results(call(op)(*built.args, **sample.kwargs))
            check_results(op, row, sample, built, outs, dtype, f"{key}{sample} {dtype} {layout}", large=True)


SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e30, -1e30, 1e-30, 0.5, 88.0, -104.0]


@pytest.mark.parametrize("key", [k for k in KNOWN if SAMPLES[k].special])
def test_special_values(key):
    """NaN, infinities, signed zeros, the largest and smallest numbers."""
    op, row = TABLE[key], SAMPLES[key]
    tensors = [p for p in op["params"] if p["type"] in ("Tensor", "Operand")][: 1 if key == "clamp" else 3]
    grid = np.meshgrid(*[SPECIAL] * len(tensors))
    sample = S(*(V(g.reshape(-1)) for g in grid), *((-1, 1) if key == "clamp" else ()))
    for dtype in ("float32", "float64"):
        built = Built(key, row, sample, dtype)
        outs = results(call(op)(*built.args))
        with np.errstate(all="ignore"):
            check_results(op, row, sample, built, outs, dtype, f"{key} {dtype} special")
        if (
            dtype == "float32"
            and name_of(outs[0].dtype) in FLOATS
            and key in ("neg", "abs", "maximum", "minimum", "sqrt", "floor", "ceil")
        ):
            want, got = expected_of(row, built, sample)[0], to_numpy(outs[0])
            real = (want != 0) if key in ("maximum", "minimum") else ~np.isnan(want)
            assert np.array_equal(np.signbit(got)[real], np.signbit(want)[real]), "signs of zeros"


# ---- the shape rule ----------------------------------------------------------------------------------------------------


def on_meta(t):
    """A tensor's shape, strides and dtype, without values."""
    extent = t.storage_offset() + 1 + sum((n - 1) * s for n, s in zip(t.shape, t.stride(), strict=True) if n > 0)
    return _C._empty([max(extent, 1)], dtype=t.dtype, device="meta").as_strided(t.shape, t.stride(), t.storage_offset())


# `_to_device` has its device among the sample's arguments; from meta there is no way back.
@pytest.mark.parametrize("key", [k for k in KNOWN if TABLE[k]["kind"] != "data_shape" and k != "_to_device"])
def test_meta(key):
    """The shape rule alone says what execution gives: shapes, dtypes and strides."""
    op, row = TABLE[key], SAMPLES[key]
    takes_device = any(p["name"] == "device" for p in op["params"])
    for dtype in row.all_dtypes()[:1]:
        for layout in ("contiguous", "transposed") if row.strided else ("contiguous",):
            for number, sample in enumerate(row.samples):
                built = Built(key, row, sample, dtype, layout, number)
                outs = results(call(op)(*built.args, **sample.kwargs))
                if takes_device:
                    metas = results(call(op)(*built.args, **sample.kwargs, device="meta"))
                elif not built.pairs:
                    continue
                else:
                    metas = results(built.call_with(call(op), [on_meta(t) for t, _, _ in built.pairs]))
                what = f"{key}{sample} {layout}"
                assert len(metas) == len(outs), what
                for m, o in zip(metas, outs, strict=True):
                    assert str(m.device) == "meta", what
                    assert (m.dtype, tuple(m.shape), m.stride()) == (o.dtype, tuple(o.shape), o.stride()), what


# ---- other forms of the same op ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", [k for k in KNOWN if TABLE[k]["inplace"] and not inplace_only(TABLE[k]) and SAMPLES[k].reference]
)
def test_inplace(key):
    """`x.op_()` is the op's result in x's memory and dtype, its version one higher."""
    op, row = TABLE[key], SAMPLES[key]
    ran = False
    for dtype in row.all_dtypes():
        for number, sample in enumerate(row.samples):
            built = Built(key, row, sample, dtype, "contiguous", number)
            outs = results(call(op)(*built.args, **sample.kwargs))
            first = built.pairs[0][0]
            if tuple(outs[0].shape) != tuple(first.shape) or not fs.can_cast(outs[0].dtype, first.dtype):
                continue
            for variant in ("contiguous", "strided"):
                again = Built(key, row, sample, dtype, variant, number)
                x = again.pairs[0][0]
                before, where = x._version, x.data_ptr()
                if not op["method"]:
                    made = getattr(_C, op["name"] + "_")(*again.args, **sample.kwargs)
                else:
                    made = getattr(x, op["name"] + "_")(*again.args[1:], **sample.kwargs)
                what = f"{key}_{sample} {dtype} {variant}"
                assert made is x and x.data_ptr() == where and x.dtype == first.dtype, what
                assert x._version == before + 1, f"{what}: version {before} -> {x._version}"
                want = to_numpy(_C._to_copy(outs[0], first.dtype) if outs[0].dtype != first.dtype else outs[0])
                assert np.array_equal(to_numpy(x), want, equal_nan=want.dtype.kind == "f"), what
                ran = True
    assert ran, "no sample whose result fits into its first argument"


@pytest.mark.parametrize(
    "key", [k for k in KNOWN if TABLE[k]["out"] and SAMPLES[k].reference and SAMPLES[k].exact and TABLE[k]["function"]]
)
def test_out(key):
    """`out=`: into empty tensors, into fitting ones, into strided ones."""
    op, row = TABLE[key], SAMPLES[key]
    dtype = row.all_dtypes()[0]
    for number, sample in enumerate(row.samples[:4]):
        built = Built(key, row, sample, dtype, "contiguous", number)
        f = call(op)
        outs = results(f(*built.args, **sample.kwargs))
        if not outs:
            continue
        for how in ("empty", "fitting", "strided"):
            targets = []
            for o in outs:
                size = [0] if how == "empty" else list(o.shape)
                t = _C._full(size, 0, dtype=o.dtype)
                if how == "strided":
                    t = _C._full([*reversed(size)], 0, dtype=o.dtype).permute(list(reversed(range(len(size)))))
                targets.append(t)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                made = results(f(*built.args, **sample.kwargs, out=targets[0] if len(targets) == 1 else tuple(targets)))
            for m, t, o in zip(made, targets, outs, strict=True):
                assert m is t and tuple(t.shape) == tuple(o.shape), f"{key}{sample} {how}"
                assert np.array_equal(to_numpy(t), to_numpy(o), equal_nan=True), f"{key}{sample} {how}"


@pytest.mark.parametrize(
    "key", [k for k in KNOWN if TABLE[k]["method"] and TABLE[k]["function"] and SAMPLES[k].reference]
)
def test_method(key):
    """The method is the function, by position and by keyword."""
    op, row = TABLE[key], SAMPLES[key]
    if op["params"][0]["type"] != "Tensor":
        pytest.skip("its first parameter is no tensor: there is no method")
    dtype = row.all_dtypes()[0]
    for number, sample in enumerate(row.samples):
        built = Built(key, row, sample, dtype, "contiguous", number)
        outs = results(call(op)(*built.args, **sample.kwargs))
        names = [p["name"] for p in op["params"]]
        keywords = dict(zip(names[1:], built.args[1:], strict=False))
        forms = [
            call(op, method=True)(*built.args, **sample.kwargs),
            call(op, method=True)(built.args[0], **keywords, **sample.kwargs),
            call(op)(**{names[0]: built.args[0]}, **keywords, **sample.kwargs),
        ]
        for form in forms:
            for o, m in zip(outs, results(form), strict=True):
                if row.exact:
                    assert m.dtype == o.dtype and np.array_equal(to_numpy(m), to_numpy(o), equal_nan=True), (
                        f"{key}{sample}"
                    )


# ---- random ops ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [k for k in KNOWN if TABLE[k]["random"]])
def test_random_is_repeatable(key):
    """The same seed gives the same numbers, the next call others; a strided target gets what a contiguous one gets."""
    op, row = TABLE[key], SAMPLES[key]
    sample = max(row.samples, key=lambda s: sum(int(np.prod(t.shape)) for t in s.specs()) or len(str(s)))
    dtype = row.all_dtypes()[0]
    generator = _C.default_generator
    generator = generator() if callable(generator) else generator

    def draw(layout="contiguous"):
        built = Built(key, row, sample, dtype, layout)
        return [to_numpy(o) for o in results(call(op)(*built.args, **sample.kwargs))]

    generator.manual_seed(7)
    first, second = draw(), draw()
    generator.manual_seed(7)
    again = draw("strided")
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    if first[0].size > 50:
        assert not all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_layouts_are_what_they_say():
    """The test's own tools: values kept, strides changed."""
    a = np.arange(6.0).reshape(2, 3)
    for make in LAYOUTS.values():
        t = make(a, "float32")
        assert tuple(t.shape) == (2, 3)
    assert LAYOUTS["transposed"](a, "float32").stride() == (1, 2)
    assert LAYOUTS["strided"](a, "float32").stride() == (7, 2)
    assert 0 in LAYOUTS["expanded"](a, "float32").stride()
    assert np.array_equal(to_numpy(tensor(np.array([1.0, 1 / 3]), "bfloat16")), [1.0, 0.333984375])
    assert F(2).grad and not V([1], "int64").grad


def test_memory_read_as_another_dtype():
    x = fs.tensor([[1.0, 2.0]])
    assert x.view(fs.int32).tolist() == [[0x3F800000, 0x40000000]]
    assert x.view(fs.uint8).shape == (1, 8) and x.view(fs.uint8).view(fs.float32).tolist() == x.tolist()
    assert x.view(fs.float64).shape == (1, 1) and x.view(fs.float32).is_set_to(x)
    x.view(fs.int32)[0, 0] = 0
    assert x.tolist() == [[0.0, 2.0]]
    for bad, dtype, text in (
        (fs.zeros(()), fs.int8, "cannot be 0"),
        (fs.zeros(2, 3).t(), fs.int8, "must be 1"),
        (fs.zeros(3), fs.float64, "divisible by 2"),
        (fs.zeros(5)[1:], fs.float64, "storage_offset"),
    ):
        with pytest.raises(RuntimeError, match=text):
            bad.view(dtype)


def test_likenesses_of_meta_tensors_with_memory():
    x = fs.zeros(2, 3, device="meta")
    assert fs.empty_like(x, device="cpu").shape == (2, 3)
    assert fs.ones_like(x, device="cpu").tolist() == [[1.0] * 3] * 2
    assert fs.full_like(x, 7, dtype=fs.int64, device="cpu").tolist() == [[7] * 3] * 2


def test_results_and_parameters_as_text():
    assert str(fs.tensor([1.0]).max(0)) == "torch.return_types.max(\nvalues=tensor(1.),\nindices=tensor(0))"
    p = fs.nn.Parameter(fs.ones(1))
    assert str(p) == repr(p) == f"{p}" == "Parameter containing:\ntensor([1.], requires_grad=True)"
    ones = (1,)
    assert type(ones + fs.Size([2])) is fs.Size
