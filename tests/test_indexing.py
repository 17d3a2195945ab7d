"""`x[key]` and `x[key] = value` against NumPy, with their gradients; keys that are refused."""

import firesteel as fs
import numpy as np
import pytest

A = np.arange(60.0).reshape(3, 4, 5)
I3 = np.array([2, 0, -1])
M3 = np.array([True, False, True])
M34 = np.arange(12).reshape(3, 4) % 3 == 0
M345 = A % 7 < 3

#: Keys as NumPy takes them; arrays are also tried as tensors and as lists.
KEYS = {
    "int": 1,
    "negative": -1,
    "ints": (1, -2),
    "all ints": (2, 3, 4),
    "slice": slice(1, 3),
    "open": slice(None),
    "step": slice(None, None, 2),
    "far": slice(-100, 100),
    "empty": slice(2, 1),
    "slices": (slice(1), slice(1, None, 2), slice(-3, -1)),
    "none": None,
    "nones": (None, 1, None, slice(2), None),
    "ellipsis": Ellipsis,
    "ellipsis last": (Ellipsis, 1),
    "ellipsis middle": (0, Ellipsis, slice(1, 3)),
    "ellipsis none": (Ellipsis, None),
    "ellipsis idle": (1, 2, 3, Ellipsis),
    "index": I3,
    "index 2d": np.array([[0, 1], [2, 2]]),
    "index at": (slice(None), I3),
    "index last": (Ellipsis, I3),
    "index pair": (I3, I3),
    "index broadcast": (np.array([[0], [2]]), np.array([1, 3])),
    "index apart": (I3, slice(None), I3),
    "index and int": (I3, 1),
    "int between": (I3, 0, I3),
    "index none": (None, I3),
    "none between": (I3, None, I3),
    "slice index slice": (slice(1, 3), np.array([0, 3]), slice(None, None, 2)),
    "index none found": np.array([], np.int64),
    "mask": M3,
    "mask 2d": M34,
    "mask 3d": M345,
    "mask at": (slice(None), np.array([True, False, True, True])),
    "mask and int": (M3, 2),
    "mask and slice": (M34, slice(1, 3)),
    "mask and index": (M3, np.array([1, 3])),
    "mask nothing": np.zeros(3, bool),
    "index 0d": np.array(1),
    "True": True,
    "False": False,
}


def tensors(key):
    """The key with its arrays as tensors."""
    if isinstance(key, tuple):
        return tuple(map(tensors, key))
    return fs.from_numpy(key.copy()) if isinstance(key, np.ndarray) else key


def lists(key):
    """The key with its arrays as lists. In a tuple: a lone list of lists stands for a tuple."""
    if not isinstance(key, tuple):
        key = (key,)
    return tuple(k.tolist() if isinstance(k, np.ndarray) and k.ndim else k for k in key)


FORMS = {"tensors": tensors, "lists": lists, "arrays": lambda key: key}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", KEYS)
def test_get(name, form):
    key = KEYS[name]
    want = A[key]
    x = fs.tensor(A)
    got = x[FORMS[form](key)]
    assert tuple(got.shape) == np.shape(want)
    assert np.array_equal(got.numpy(), want)
    assert np.array_equal(x.numpy(), A)


@pytest.mark.parametrize("name", KEYS)
def test_get_from_strided(name):
    """The same from memory in another order, and of other dtypes."""
    key = KEYS[name]
    x = fs.from_numpy(np.ascontiguousarray(A.transpose(2, 0, 1))).permute(1, 2, 0)
    assert np.array_equal(x[tensors(key)].numpy(), A[key])
    for dtype in (fs.int64, fs.bool, fs.float16, fs.uint8, fs.uint32):
        y = fs.tensor(A).to(dtype)
        assert y[tensors(key)].dtype is dtype
        assert np.array_equal(y[tensors(key)].to(fs.float64).numpy(), y.to(fs.float64).numpy()[key])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", KEYS)
def test_set(name, form):
    """A number, a tensor of the right shape, one to broadcast, an array."""
    key = KEYS[name]
    shape = np.shape(A[key])
    values = -1.0 - np.arange(float(np.prod(shape))).reshape(shape)
    # Where an index names a place twice, all values for it are one.
    if name in ("index 2d", "index pair", "none between"):
        values = np.full(shape, -7.0)
    choices = [-5.0, 3, values, fs.tensor(values)]
    if not any(isinstance(k, (np.ndarray, bool)) for k in (key if isinstance(key, tuple) else (key,))):
        choices.append(fs.tensor(values, dtype=fs.float32))
    if len(shape) > 0:
        choices.append(fs.full((shape[-1],), -2.0, dtype=fs.float64))
    if len(shape) > 1:
        choices.append(fs.full((1, *shape), 9.0, dtype=fs.float64))
    for value in choices:
        want = A.copy()
        plain = value.numpy() if isinstance(value, fs.Tensor) else value
        if np.ndim(plain) > len(shape):
            plain = plain.reshape(np.shape(plain)[np.ndim(plain) - len(shape) :])
        want[key] = plain
        x = fs.tensor(A)
        x[FORMS[form](key)] = value
        assert np.array_equal(x.numpy(), want)


@pytest.mark.parametrize("name", KEYS)
def test_set_on_strided(name):
    key = KEYS[name]
    x = fs.zeros(5, 3, 4, dtype=fs.float64).permute(1, 2, 0)
    x.copy_(fs.tensor(A))
    want = A.copy()
    want[key] = -1.0
    x[tensors(key)] = -1
    assert np.array_equal(x.numpy(), want)


@pytest.mark.parametrize("name", KEYS)
def test_gradient_of_get(name):
    """Each element gets the sum of the gradients of the places that read it."""
    key = KEYS[name]
    x = fs.tensor(A, requires_grad=True)
    y = x[tensors(key)]
    seed = np.arange(1.0, y.numel() + 1).reshape(tuple(y.shape))
    y.backward(fs.tensor(seed))
    want = np.zeros_like(A)
    np.add.at(want, key, seed)
    assert np.array_equal(x.grad.numpy(), want)


@pytest.mark.parametrize("name", [n for n in KEYS if n not in ("index 2d", "index pair", "none between")])
def test_gradient_of_set(name):
    """What was overwritten gets none, the value that of its places."""
    key = KEYS[name]
    x = fs.tensor(A, requires_grad=True)
    shape = np.shape(A[key])
    value = fs.ones(shape, dtype=fs.float64, requires_grad=True)
    y = x * 1
    y[tensors(key)] = value
    seed = np.arange(1.0, 61).reshape(A.shape)
    y.backward(fs.tensor(seed))
    want = seed.copy()
    want[key] = 0
    assert np.array_equal(x.grad.numpy(), want)
    assert np.array_equal(value.grad.numpy(), seed[key])


def test_second_derivative_of_indexing():
    index = fs.tensor([2, 0, 2])
    x = fs.rand(3, 2, dtype=fs.float64).requires_grad_()
    assert fs.autograd.gradgradcheck(lambda t: t[index, 1] ** 3, x)

    def put(t, v):
        y = t * t
        y[index[:2]] = v**2
        return y**2

    v = fs.rand(2, 2, dtype=fs.float64).requires_grad_()
    assert fs.autograd.gradgradcheck(put, (x, v))


def test_basic_keys_are_views():
    x = fs.zeros(3, 4)
    for key in (0, slice(1, 3), (slice(None), 1), None, Ellipsis, (1, slice(None, None, 2))):
        x.zero_()
        x[key].add_(1)
        want = np.zeros((3, 4))
        want[key] += 1
        assert np.array_equal(x.numpy(), want)
    assert x[...] is not x and x[...].data_ptr() == x.data_ptr()
    y = x[fs.tensor([0, 1])]
    y.add_(5)
    assert not np.array_equal(x[:2].numpy(), y.numpy())


def test_int_before_an_index_is_a_view():
    """PyTorch takes the int first, so the index's dims stay where they are; NumPy moves them to the front."""
    x, index = fs.tensor(A), fs.tensor(I3)
    assert np.array_equal(x[1, :, index].numpy(), A[1][:, I3])
    x[1, :, index] = fs.zeros(4, 3, dtype=fs.float64)
    want = A.copy()
    want[1][:, I3] = 0
    assert np.array_equal(x.numpy(), want)


def test_integers_of_all_kinds():
    x = fs.arange(5)
    for two in (2, np.int64(2), np.int32(2), np.uint8(2), fs.tensor(2), fs.tensor(2, dtype=fs.int32), np.array(2)):
        assert x[two].item() == 2
    assert x[fs.tensor([True, False, False, True, False])].tolist() == [0, 3]
    assert x[fs.tensor([1, 2], dtype=fs.int32)].tolist() == [1, 2]
    assert x[[True, False, False, True, False]].tolist() == [0, 3]
    assert x[[]].tolist() == []
    assert x[fs.tensor(1) : fs.tensor(3)].tolist() == [1, 2]


def test_zero_dim():
    x = fs.tensor(5.0)
    assert x[...].item() == 5 and x[None].tolist() == [5.0] and x[()].item() == 5
    assert x[True].tolist() == [5.0] and x[False].tolist() == []
    x[...] = 7
    assert x.item() == 7
    x[()] = 8
    assert x.item() == 8


def test_augmented_assignment():
    x = fs.zeros(3, 3)
    x[1] += 2
    x[:, 0] *= 5
    x[fs.tensor([0, 0, 2])] -= 1  # each place once, as in NumPy
    assert x.tolist() == [[-1.0, -1.0, -1.0], [10.0, 2.0, 2.0], [-1.0, -1.0, -1.0]]


def test_iteration_and_membership():
    x = fs.tensor([[1, 2], [3, 4]])
    assert [row.tolist() for row in x] == [[1, 2], [3, 4]] and len(x) == 2
    assert 3 in x and 7 not in x
    first, second = x
    assert first.tolist() == [1, 2] and second.tolist() == [3, 4]
    with pytest.raises(TypeError):
        iter(fs.tensor(1))
    with pytest.raises(TypeError):
        len(fs.tensor(1))


ERRORS = [
    (lambda x: x[3], IndexError, "index 3 is out of bounds for dimension 0 with size 3"),
    (lambda x: x[-4], IndexError, "index -4 is out of bounds"),
    (lambda x: x[0, 4], IndexError, "index 4 is out of bounds for dimension [01] with size 4"),
    (lambda x: x[0, 0, 0], IndexError, "too many indices for tensor of dimension 2"),
    (lambda x: x[..., 0, 0, 0], IndexError, "too many indices"),
    (lambda x: x[::-1], ValueError, "step must be greater than zero"),
    (lambda x: x[::0], ValueError, "step"),
    (lambda x: x["a"], IndexError, "valid indices|indices"),
    (lambda x: x[1.5], IndexError, "valid indices|indices"),
    (lambda x: x["a":], TypeError, "slice indices must be integers"),
    (lambda x: x[fs.tensor([0.5])], IndexError, "tensors used as indices must be long"),
    (lambda x: x[fs.tensor([0, 3])], IndexError, "index 3 is out of bounds for dimension 0 with size 3"),
    (lambda x: x[fs.tensor([-4])], IndexError, "index -4 is out of bounds"),
    (lambda x: x[fs.tensor([True, False])], IndexError, r"The shape of the mask \[2\] at index 0 does not match"),
    (lambda x: x[fs.zeros(3, 5, dtype=fs.bool)], IndexError, r"The shape of the mask \[3, 5\] at index 1"),
    (lambda x: x[fs.tensor([0, 1]), fs.tensor([0, 1, 2])], IndexError, "shape mismatch|broadcast"),
    (lambda x: x[0][0][0], IndexError, "invalid index of a 0-dim tensor"),
    (lambda x: x[2**70], (IndexError, TypeError, OverflowError, RuntimeError), "."),
]


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_refused_keys(number):
    f, kind, match = ERRORS[number]
    x = fs.zeros(3, 4)
    with pytest.raises(kind, match=match) as caught:
        f(x)
    assert "internal error" not in str(caught.value)


SET_ERRORS = [
    (fs.tensor([0, 3]), 1.0, IndexError, "out of bounds"),
    (0, fs.zeros(3), RuntimeError, r"\[?3\]?.*\[?4\]?|4.*3"),
    (slice(None), fs.zeros(2, 3, 4), RuntimeError, r"2, 3, 4"),
    (fs.tensor([0, 1]), fs.zeros(3, 4), (RuntimeError, IndexError), "shape mismatch|broadcast"),
    (fs.tensor([True, False, True]), fs.zeros(3, 4), (RuntimeError, IndexError), "shape mismatch|broadcast"),
    (0, "a", TypeError, "can't assign a str to a torch.FloatTensor"),
    (0, object(), TypeError, "can't assign"),
    (5, 1.0, IndexError, "out of bounds"),
    ((0, 0, 0), 1.0, IndexError, "too many indices"),
]


@pytest.mark.parametrize("number", range(len(SET_ERRORS)))
def test_refused_values(number):
    """A refused assignment changes nothing."""
    key, value, kind, match = SET_ERRORS[number]
    x = fs.arange(12.0).view(3, 4)
    with pytest.raises(kind, match=match) as caught:
        x[key] = value
    assert "internal error" not in str(caught.value)
    assert x.tolist() == fs.arange(12.0).view(3, 4).tolist() and x._version == 0


def test_delete_is_refused():
    with pytest.raises(TypeError):
        del fs.zeros(3)[0]


def test_a_list_with_sequences_inside_stands_for_a_tuple():
    x = fs.arange(24.0).reshape(2, 3, 4)
    a, b = fs.tensor([0, 1]), fs.tensor([1, 0])
    with pytest.warns(UserWarning, match="non-tuple sequence"):
        assert fs.equal(x[[[0, 1], [1, 0]]], x[a, b])
    with pytest.warns(UserWarning, match="non-tuple sequence"):
        assert fs.equal(x[[a, b]], x[a, b])
    with pytest.warns(UserWarning, match="non-tuple sequence"):
        assert fs.equal(x[[slice(0, 1), 0]], x[0:1, 0])
    assert (
        x[[0, 1]].shape == (2, 3, 4) and x[range(2)].shape == (2, 3, 4) and x[([[0, 1], [1, 0]],)].shape == (2, 2, 3, 4)
    )


def test_indexed_writes_need_the_same_dtype():
    x = fs.arange(4)
    with pytest.raises(RuntimeError, match="Index put requires the source and destination dtypes match"):
        x[[0, 1]] = fs.tensor([1.9, 2.9])
    x[[0, 1]] = 7
    x[0:1] = fs.tensor([1.9])
    assert x.tolist() == [1, 7, 2, 3]


def test_small_integers_are_no_indices():
    with pytest.raises(IndexError, match="long, int, byte or bool"):
        fs.arange(4)[fs.tensor([0, 1], dtype=fs.int8)]
