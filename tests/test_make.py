"""Native functions that make tensors, against the Python functions behind them, which take any arguments."""

import firesteel as fs
import pytest

SIZES = [
    (),
    (3,),
    (2, 3),
    ((2, 3),),
    ([4],),
    ((),),
    ([],),
    (0,),
    (True,),
    (2.5,),
    (-1,),
    ("2",),
    (fs.tensor(2),),
    (1,) * 9,
]
SIZES += [(fs.ones(2, 3).shape,), (2**40, 2**40), (2**70,), (None,)]
OPTIONS = [
    {}, {"dtype": None}, {"dtype": fs.int64}, {"dtype": float}, {"requires_grad": True}, {"requires_grad": False},
    {"requires_grad": True, "dtype": fs.int32}, {"device": None}, {"device": "cpu"}, {"device": "meta"},
    {"size": (2,)}, {"layout": None}, {"pin_memory": False}, {"nothing": 1}, {"dtype": 3}, {"requires_grad": 1},
    {"out": None},
]  # fmt: skip


def outcome(function, args, kwargs):
    fs.manual_seed(7)
    try:
        made = function(*args, **kwargs)
    except Exception as error:
        return type(error), str(error)
    values = made.tolist() if made.device.type == "cpu" and function.__name__ != "empty" else None
    return tuple(made.shape), made.dtype, made.device, made.requires_grad, made.is_leaf, repr(values)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", ["zeros", "ones", "empty", "rand", "randn"])
def test_sizes(name, options):
    native = getattr(fs, name)
    for size in SIZES:
        assert outcome(native, size, options) == outcome(native.__self__, size, options), size


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("value", [1.5, 2, True, fs.tensor(3), "x", None, 2**70], ids=str)
def test_full(value, options):
    for size in ((2, 3), [2], 2, (), (-1,), "2"):
        args = (size, value)
        assert outcome(fs.full, args, options) == outcome(fs.full.__self__, args, options), size


DATA = [
    [1.0, 2.5], (1.0, -0.0), [1, 2], [True, False], [1.0, 2], [1, 2.0], [1, True], [], [[1.0], [2.0]], 1.0, 3, [None],
    ["a"], [1.0, "a"], [2**70], [2**63 - 1], list(range(300)), [1e300, float("nan")], range(3), [fs.tensor(1.0)], "12",
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("data", DATA, ids=lambda d: str(d)[:30])
def test_data(data, options):
    assert outcome(fs.tensor, (data,), options) == outcome(fs.tensor.__self__, (data,), options)


def test_data_follows_the_default_dtype():
    fs.set_default_dtype(fs.float64)
    try:
        assert fs.tensor([0.1]).dtype == fs.zeros(1).dtype == fs.float64
        assert fs.tensor([0.1]).item() == 0.1
    finally:
        fs.set_default_dtype(fs.float32)


def test_no_arguments_at_all():
    for name in ("zeros", "full", "tensor", "rand"):
        native = getattr(fs, name)
        assert outcome(native, (), {}) == outcome(native.__self__, (), {})


def test_they_look_like_the_functions_behind():
    from inspect import signature

    for name in ("zeros", "ones", "empty", "full", "rand", "randn", "tensor"):
        native = getattr(fs, name)
        behind = native.__self__
        assert native.__name__ == name and native.__doc__.strip().startswith(behind.__doc__.strip().split("\n")[0])
        assert list(signature(native).parameters) == list(signature(behind).parameters)
