"""Inputs none of whose dims is dense, transposed ones, and many short rows, against NumPy."""

import firesteel as fs
import firesteel.nn.functional as F
import numpy as np
import pytest

SIZES = (0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 127, 1000)


def laid(values, layout):
    """The values as a tensor whose last stride is 2 or 3 (or whatever the layout says)."""
    x = fs.from_numpy(np.ascontiguousarray(values))
    if layout == "second":
        return fs.stack([x, x + 1], -1)[..., 0]
    if layout == "third":
        return fs.stack([x, x, x - 1], -1)[..., 1]
    if layout == "transposed":
        return x.transpose(-1, -2).contiguous().transpose(-1, -2)
    if layout == "transposed apart":
        return laid(np.swapaxes(values, -1, -2), "second").transpose(-1, -2)
    if layout == "expanded":
        return x[:1].expand(values.shape)
    return x


LAYOUTS = ("second", "third", "transposed", "transposed apart", "plain")


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def logsumexp(x, axis):
    x = x.astype("float64")
    top = x.max(axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.exp(x - top).sum(axis))


def softmax(x, axis):
    e = np.exp(x.astype("float64") - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


OPS = {
    "sum": (lambda x, d: x.sum(d), lambda x, d: x.sum(d, dtype="float64"), 1e-5),
    "amax": (lambda x, d: x.amax(d), lambda x, d: x.max(d), 0),
    "max": (lambda x, d: x.max(d).values, lambda x, d: x.max(d), 0),
    "argmin": (lambda x, d: x.argmin(d), lambda x, d: x.argmin(d), 0),
    "norm": (lambda x, d: x.norm(dim=d), lambda x, d: np.sqrt((x.astype("float64") ** 2).sum(d)), 1e-5),
    "std": (lambda x, d: x.std(d, correction=0), lambda x, d: x.astype("float64").std(d), 1e-5),
    "logsumexp": (lambda x, d: x.logsumexp(d), logsumexp, 1e-6),
    "softmax": (lambda x, d: x.softmax(d), softmax, 1e-6),
    "log_softmax": (lambda x, d: x.log_softmax(d), lambda x, d: np.log(softmax(x, d)), 1e-5),
    "cumsum": (lambda x, d: x.cumsum(d), lambda x, d: x.cumsum(d, dtype="float64"), 1e-5),
    "cumprod": (lambda x, d: x.cumprod(d), lambda x, d: x.cumprod(d, dtype="float64"), 1e-5),
    "cummax": (lambda x, d: x.cummax(d).values, lambda x, d: np.maximum.accumulate(x, d), 0),
    "flip": (lambda x, d: x.flip(d), lambda x, d: np.flip(x, d), 0),
    "double": (lambda x, d: x.double() * 2, lambda x, d: x.astype("float64") * 2, 0),
    "copy": (lambda x, d: x.contiguous(), lambda x, d: x, 0),
    "unfold": (
        lambda x, d: x.unfold(d, 3, 2).contiguous(),
        lambda x, d: np.moveaxis(np.lib.stride_tricks.sliding_window_view(x, 3, d), d, 0)[::2],
        0,
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", OPS)
def test_along_each_dim(name, layout):
    ours, theirs, tolerance = OPS[name]
    for size in SIZES:
        for shape in ((5, size), (size, 70), (3, size, 16)):
            values = numbers(*shape)
            x = laid(values, layout)
            for d in range(len(shape)):
                if shape[d] < 3:
                    continue
                got, want = ours(x, d).numpy(), theirs(values, d)
                if name == "unfold":
                    want = np.moveaxis(want, 0, d)
                assert got.shape == want.shape
                np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance, err_msg=f"{shape} {d}")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_everything(layout):
    for shape in ((7,), (100, 100), (8, 65, 33)):
        if len(shape) == 1 and "trans" in layout:
            continue
        values = numbers(*shape)
        x, wide = laid(values, layout), values.astype("float64")
        assert x.sum().item() == pytest.approx(wide.sum(), abs=1e-3)
        assert x.norm().item() == pytest.approx(np.sqrt((wide**2).sum()), rel=1e-6)
        assert x.std().item() == pytest.approx(wide.std(ddof=1), rel=1e-6)
        assert x.max().item() == values.max()
        whole = x.logsumexp(tuple(range(len(shape)))).item()
        assert whole == pytest.approx(np.log(np.exp(wide).sum()), rel=1e-6)


def test_logsumexp_over_several_dims_and_long_lines():
    for layout in LAYOUTS:
        values = numbers(6, 40, 50)
        x = laid(values, layout)
        for dims in ((0, 1), (0, 2), (1, 2), (0, 1, 2)):
            want = np.log(np.exp(values.astype("float64")).sum(dims))
            np.testing.assert_allclose(x.logsumexp(dims).numpy(), want, rtol=1e-6, atol=1e-6)
    values = numbers(100_003)
    want = np.log(np.exp(values.astype("float64")).sum())
    before = fs.get_num_threads()
    bits = set()
    for threads in (1, 2, 3):
        fs.set_num_threads(threads)
        got = fs.from_numpy(values).logsumexp(0).item()
        bits.add(got)
        assert got == pytest.approx(want, rel=1e-6)
    fs.set_num_threads(before)
    assert len(bits) == 1
    # A chain of all ones would stop at 2**24.
    assert fs.zeros(1, 2).expand(1 << 25, 2).logsumexp(0)[0].item() == pytest.approx(25 * np.log(2), rel=1e-6)
    assert fs.zeros(0, 3).logsumexp(0).tolist() == [-np.inf] * 3


@pytest.mark.parametrize("layout", LAYOUTS)
def test_elementwise(layout):
    for shape in ((9, 100), (40, 16), (3, 7, 17), (300, 65), (2, 1000)):
        a, b = numbers(*shape), numbers(*shape, seed=1)
        x, y = laid(a, layout), laid(b, layout)
        row, column = y[0], y[..., :1]
        for got, want in (
            (x + y, a + b),
            (x * row, a * b[0]),
            (x - column, a - b[..., :1]),
            (row - x, b[0] - a),
            (x.diff(dim=-1), np.diff(a, axis=-1)),
            (x > y, a > b),
            (x.double() + row, a.astype("float64") + b[0]),
        ):
            assert got.shape == want.shape
            np.testing.assert_array_equal(got.numpy(), want)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("reduction", ("none", "mean", "sum"))
def test_losses_of_pairs(layout, reduction):
    a, b = numbers(50, 130), numbers(50, 130, seed=1)
    d = a.astype("float64") - b
    small = np.abs(d) < 1
    each = {
        F.mse_loss: (d * d, 2 * d),
        F.l1_loss: (np.abs(d), np.sign(d)),
        F.smooth_l1_loss: (np.where(small, d * d / 2, np.abs(d) - 0.5), np.clip(d, -1, 1)),
        F.huber_loss: (np.where(small, d * d / 2, np.abs(d) - 0.5), np.clip(d, -1, 1)),
    }
    for loss, (values, slopes) in each.items():
        for other in (layout, "plain"):
            x, t = laid(a, layout).detach(), laid(b, other)
            x.requires_grad_()
            got = loss(x, t, reduction=reduction)
            want = {"none": lambda v: v, "mean": np.mean, "sum": np.sum}[reduction](values)
            np.testing.assert_allclose(got.detach().numpy(), want, rtol=1e-5, atol=1e-6)
            weight = fs.ones(50, 130) if reduction == "none" else fs.tensor(1.0)
            got.backward(laid(weight.numpy(), other) if reduction == "none" else weight)
            scale = d.size if reduction == "mean" else 1
            np.testing.assert_allclose(x.grad.numpy(), slopes / scale, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cross_entropy(layout):
    for shape in ((50, 17), (6, 10, 33)):
        a = numbers(*shape)
        t = np.random.default_rng(2).integers(0, shape[1], shape[:1] + shape[2:])
        want = -np.take_along_axis(np.log(softmax(a, 1)), np.expand_dims(t, 1), 1).mean()
        assert F.cross_entropy(laid(a, layout), fs.from_numpy(t)).item() == pytest.approx(want, rel=1e-5)


def test_short_lines_of_gather_and_scatter():
    rng = np.random.default_rng(0)
    for size in SIZES[1:]:
        a, s = numbers(30, size), numbers(30, size, seed=1)
        i = rng.integers(0, size, (30, size))
        x, source, index = fs.from_numpy(a), fs.from_numpy(s), fs.from_numpy(i)
        np.testing.assert_array_equal(x.gather(1, index).numpy(), np.take_along_axis(a, i, 1))
        want, added = a.copy(), a.astype("float64")
        for r in range(30):
            for c in range(size):
                want[r, i[r, c]] = s[r, c]
                added[r, i[r, c]] += s[r, c]
        np.testing.assert_array_equal(x.scatter(1, index, source).numpy(), want)
        np.testing.assert_allclose(x.scatter_add(1, index, source).numpy(), added, rtol=1e-5, atol=1e-5)
        with pytest.raises((IndexError, RuntimeError)):
            x.gather(1, index + size)
        with pytest.raises((IndexError, RuntimeError)):
            x.scatter(1, index - size, source)


def test_flips_lie_as_their_input_does():
    x = laid(numbers(20, 30), "transposed")
    assert x.flip(1).stride() == x.stride()
    assert fs.rot90(x).contiguous().tolist() == np.rot90(x.numpy()).tolist()


LIGHT = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "width", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100, 127, 128, 129, 511, 513, 1025, 2500]
)
def test_a_row_and_one_element_of_each(width, dtype):
    for rows in (1, 2, 70):
        x, y = (numbers(rows, width, seed=s).astype(dtype) for s in (1, 2))
        column = numbers(rows, 1, seed=3).astype(dtype)
        for sign, f in LIGHT.items():
            op = {"+": "add", "-": "sub", "*": "mul", "/": "div"}[sign]
            a, b, c = map(fs.from_numpy, (x, y, column))
            np.testing.assert_array_equal(getattr(a, op)(c).numpy(), f(x, column), op)
            np.testing.assert_array_equal(getattr(c, op)(a).numpy(), f(column, x), op)
            apart = fs.stack([a, b], 1)  # rows of x with rows of y between them
            np.testing.assert_array_equal(getattr(apart[:, 0], op)(c).numpy(), f(x, column), op)
            np.testing.assert_array_equal(getattr(c, op)(apart[:, 1]).numpy(), f(column, y), op)
            np.testing.assert_array_equal(getattr(apart[:, 0], op)(apart[:, 1]).numpy(), f(x, y), op)
            np.testing.assert_array_equal(getattr(a.mT, op)(c[:, 0]).numpy(), f(x.T, column[:, 0]), op)
            getattr(apart[:, 0], op + "_")(c)
            np.testing.assert_array_equal(apart[:, 0].numpy(), f(x, column), op)
            np.testing.assert_array_equal(apart[:, 1].numpy(), y, op)


@pytest.mark.parametrize("width", SIZES)
def test_neighbours(width):
    """Rows of both inputs that overlap, and a result that is one of them."""
    for rows in (1, 3, 70):
        x = numbers(rows, width + 1)
        a = fs.from_numpy(x.copy())
        np.testing.assert_array_equal((a[:, 1:] - a[:, :-1]).numpy(), np.diff(x))
        np.testing.assert_array_equal(a.diff().numpy(), np.diff(x))
        np.testing.assert_array_equal((a[:, :1] * a[:, 1:]).numpy(), x[:, :1] * x[:, 1:])
        y = numbers(rows, width + 2, seed=1)
        a[:, 1:] += fs.from_numpy(y)[:, 2:]
        np.testing.assert_array_equal(a.numpy()[:, 1:], x[:, 1:] + y[:, 2:])
        a[:, 1:] /= a[:, :1].clone()
        np.testing.assert_array_equal(a.numpy()[:, 1:], (x[:, 1:] + y[:, 2:]) / x[:, :1])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(16, 32), (129, 140), (150, 333), (3, 70, 130)])
def test_one_transposed_operand(shape, threads):
    """Tiles: whole ones and what is left at their edges."""
    fs.set_num_threads(threads)
    try:
        x, y = numbers(*shape), numbers(*shape, seed=1)
        for dtype in ("float32", "float64", "int16", "uint8", "int64"):
            u, v = (x * 50).astype("int64").astype(dtype), (y * 50).astype("int64").astype(dtype)
            a, b, c = laid(u, "transposed"), fs.from_numpy(v.copy()), laid(y > 0, "transposed")
            np.testing.assert_array_equal((a + b).numpy(), u + v, dtype)
            np.testing.assert_array_equal((b * a).numpy(), v * u, dtype)
            np.testing.assert_array_equal(fs.where(fs.from_numpy(y > 0), a, b).numpy(), np.where(y > 0, u, v))
            np.testing.assert_array_equal(fs.where(c, b, a).numpy(), np.where(y > 0, v, u))
            np.testing.assert_array_equal(fs.where(c, b, 0).numpy(), np.where(y > 0, v, 0).astype(dtype))
            np.testing.assert_array_equal((b < a).numpy(), v < u)
            np.testing.assert_array_equal(fs.addcmul(b, a, a).numpy(), v + u * u)
            np.testing.assert_array_equal((a.double() + b.double()).numpy(), u.astype("f8") + v)
            b += a
            np.testing.assert_array_equal(b.numpy(), v + u)
    finally:
        fs.set_num_threads(1)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint8"])
def test_windows(dtype):
    for rows, width in ((1, 7), (17, 20), (40, 129), (130, 65)):
        x = np.arange(rows * width).reshape(rows, width).astype(dtype)
        for layout in LAYOUTS:
            a = laid(x, layout)
            for size, step in ((2, 1), (3, 3), (4, 2), (5, 1), (1, 2), (7, 7)):
                view = np.lib.stride_tricks.sliding_window_view(x, size, axis=-1)[:, ::step]
                np.testing.assert_array_equal(a.unfold(-1, size, step).contiguous().numpy(), view)
                view = view.transpose(1, 0, 2)
                np.testing.assert_array_equal(a.unfold(-1, size, step).transpose(0, 1).contiguous().numpy(), view)


@pytest.mark.parametrize("dtype", [fs.float32, fs.float64, fs.int64])
def test_matrices_with_contiguous_columns_times_vectors(dtype):
    for m, k in ((1, 5), (5, 1), (2, 3), (100, 1000), (1000, 100), (333, 257), (17, 5000)):
        a, v = (fs.from_numpy((numbers(*shape, seed=m) * 9).round()).to(dtype) for shape in ((k, m), (k, 2)))
        want = a.numpy().astype("f8").T @ v.numpy()[:, 0].astype("f8")
        for vector in (v[:, 0], v[:, 0].clone()):
            np.testing.assert_array_equal((a.t() @ vector).numpy(), want)
            got = fs.addmv(vector[:1], a.t(), vector, beta=2, alpha=3)
            np.testing.assert_array_equal(got.numpy(), 2 * v[0, 0].item() + 3 * want)
        got = fs.zeros(m, 3, dtype=dtype)
        fs.mv(a.t(), v[:, 1].clone(), out=got[:, 1])
        np.testing.assert_array_equal(got[:, 1].numpy(), a.numpy().astype("f8").T @ v.numpy()[:, 1].astype("f8"))


def test_joined_images_lie_as_they_did():
    for shape in ((2, 3, 5, 7), (2, 3, 4, 5, 6)):
        x = numbers(*shape)
        form = fs.channels_last if len(shape) == 4 else fs.channels_last_3d
        last = fs.from_numpy(x).contiguous(memory_format=form)
        for dim in range(len(shape)):
            got = fs.cat([last, last + 1, fs.zeros(0)], dim)
            assert got.is_contiguous(memory_format=form)
            np.testing.assert_array_equal(got.numpy(), np.concatenate([x, x + 1], dim))
            assert fs.cat([last, fs.from_numpy(x)], dim).is_contiguous()


def test_to_where_nothing_changes():
    x = fs.zeros(2, 3)
    assert x.to("cpu") is x.to(fs.device("cpu")) is x.to(fs.float32) is x.to("cpu", fs.float32) is x.cpu() is x
    assert x.to("cpu", copy=True) is not x and x.to(fs.float32, copy=True) is not x
    assert x.to("cpu", dtype=fs.float64).dtype is x.to(fs.float64).dtype is fs.float64
    assert x.to("meta").to("meta").device.type == "meta"
    with pytest.raises(NotImplementedError, match="meta"):
        x.to("meta").to("cpu")
    with pytest.raises(RuntimeError):
        x.to("tpu")


def test_rows_between_others_are_not_touched():
    for width in (5, 33, 100, 300, 2000):
        out = fs.zeros(9, 3, width)
        fs.add(fs.ones(9, width), fs.arange(9.0)[:, None], out=out[:, 1])
        assert not out[:, 0].any() and not out[:, 2].any()
        assert out[:, 1].eq(1 + fs.arange(9.0)[:, None]).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_comparisons_and_choices_of_a_column(threads):
    fs.set_num_threads(threads)
    try:
        for width in (31, 128, 600, 3000):
            x, column = numbers(50, width), numbers(50, 1, seed=4)
            a, c = fs.from_numpy(x), fs.from_numpy(column)
            np.testing.assert_array_equal((a < c).numpy(), x < column)
            np.testing.assert_array_equal(fs.maximum(c, a).numpy(), np.maximum(column, x))
            np.testing.assert_array_equal(fs.where(c > 0, a, c).numpy(), np.where(column > 0, x, column))
            np.testing.assert_array_equal((a.double() + c).numpy(), x.astype("f8") + column)
            np.testing.assert_array_equal((a + c.long()).numpy(), x + column.astype("i8").astype("f4"))
    finally:
        fs.set_num_threads(1)


@pytest.mark.parametrize("n", [16, 17, 31, 32, 50, 63, 64, 65, 100, 127, 128, 191, 1000, 4095])
def test_rows_of_any_length(n):
    x = numbers(33, n)
    for dtype, within in (("float32", 1e-5), ("float64", 1e-13)):
        a, wide = fs.from_numpy(x.astype(dtype)), x.astype("float64")
        np.testing.assert_allclose(a.sum(1).numpy(), wide.sum(1), atol=within * n**0.5)
        np.testing.assert_allclose(a.norm(dim=1).numpy(), (wide**2).sum(1) ** 0.5, rtol=within)
        np.testing.assert_allclose(a.norm(3, 1).numpy(), (abs(wide) ** 3).sum(1) ** (1 / 3), rtol=within)
        np.testing.assert_allclose(a.var(1).numpy(), wide.var(1, ddof=1), rtol=within)
        np.testing.assert_array_equal(a.amax(1).numpy(), x.astype(dtype).max(1))
        np.testing.assert_array_equal((a > 0).sum(1).numpy(), (x > 0).sum(1))
    for dtype in ("float32", "float64"):
        holes = x.astype(dtype)
        for row, place in enumerate((0, 1, n // 2, n - 2, n - 1)):
            holes[row, place] = np.nan
        holes[6], holes[7] = -np.inf, np.inf
        a = fs.from_numpy(holes)
        np.testing.assert_array_equal(a.amin(1).numpy(), holes.min(1))
        np.testing.assert_array_equal(a.amax(1).numpy(), holes.max(1))
    assert (fs.from_numpy(x) < 9).all(1).all() and not (fs.from_numpy(x) > 9).any(1).any()


def test_movedim_says_what_was_given():
    x = fs.zeros(2, 3, 4)
    assert x.movedim(0, -1).shape == (3, 4, 2) and x.movedim(-1, 0).shape == (4, 2, 3)
    assert x.movedim((0, 1), (-1, 0)).shape == x.movedim([0, 1], [2, 0]).shape == (3, 4, 2)
    assert fs.zeros(()).movedim(0, 0).shape == ()
    for source, destination, given in (
        ("a", 0, "'source'.*'a'"),
        (0, 1.5, "'destination'.*1.5"),
        ((0, "b"), (1, 0), "'b'"),
    ):
        with pytest.raises(TypeError, match=given):
            x.movedim(source, destination)
    for dims in ((3, 0), (0, -4)):
        with pytest.raises(IndexError, match="Dimension out of range"):
            x.movedim(*dims)
