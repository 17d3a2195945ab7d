"""In-place ops and views: PyTorch's gradients, or PyTorch's errors.

The gradients in the table are what PyTorch 2.13 gives for the same lines.
"""

import gc
import weakref

import firesteel as fs
import numpy as np
import pytest

F64 = {"dtype": fs.float64}
CASES = {}


def leaf(*values):
    return fs.tensor(values, **F64, requires_grad=True)


def seed(n):
    return fs.arange(1, n + 1, **F64)


def case(want):
    def add(f):
        CASES[f.__name__] = f, want
        return f

    return add


@case([[8.0, 32.0, 108.0]])
def nonleaf_add_item():
    w = leaf(1.0, 2, 3)
    x = w * w
    x[0] += 1
    (x * x).sum().backward()
    return [w.grad]


@case([[4.0, 0.0, 108.0], [40.0]])
def nonleaf_set_item():
    w = leaf(1.0, 2, 3)
    v = leaf(5.0)
    x = w * w
    x[1] = v[0] * 2
    (x * x).sum().backward()
    return [w.grad, v.grad]


@case([[6.0, 12.0, 18.0, 24.0]])
def view_mul():
    w = leaf(1.0, 2, 3, 4)
    x = w * 2
    y = x.view(2, 2)
    y.mul_(3)
    (x * seed(4)).sum().backward()
    return [w.grad]


@case([[6.0, 12.0, 18.0, 24.0]])
def view_mul_read_view():
    w = leaf(1.0, 2, 3, 4)
    x = w * 2
    y = x.view(2, 2)
    y.mul_(3)
    (y * seed(4).view(2, 2)).sum().backward()
    return [w.grad]


@case([[40.0, 160.0, 96.0, 32.0]])
def siblings():
    w = leaf(1.0, 2, 3, 4)
    x = w * 2
    a = x.view(2, 2)
    b = x[1:3]
    b.mul_(w[:2])
    (a * a).sum().backward()
    return [w.grad]


@case([[8.0, 48.0, 72.0, 24.0]])
def siblings_overlap():
    w = leaf(1.0, 2, 3, 4)
    x = w * 2
    a = x[:3]
    b = x[1:]
    a.mul_(2)
    b.mul_(3)
    ((a * seed(3)).sum() + (b * seed(3)).sum() + x.sum()).backward()
    return [w.grad]


@case([[2.0, 400.0, 600.0, 8.0, 10.0, 12.0]])
def chain():
    w = leaf(1.0, 2, 3, 4, 5, 6)
    x = w * 1
    y = x.view(2, 3).t()[1:].select(1, 0)
    y.mul_(10)
    (x * x).sum().backward()
    return [w.grad]


@case([[10.0, 160.0, 324.0, 1568.0, 0.0, 0.0]])
def chain_middle_read():
    w = leaf(1.0, 2, 3, 4, 5, 6)
    x = w * 1
    m = x.view(2, 3)
    y = m.t()[1:]
    y.copy_(squares(w))
    (m * m * seed(6).view(2, 3)).sum().backward()
    return [w.grad]


def squares(w):
    return (w[:4] * w[:4]).view(2, 2)


@case([[0.0, 0.0, 0.0], [8.0, 10.0, 12.0]])
def copy_detaches():
    w = leaf(1.0, 2, 3)
    v = leaf(4.0, 5, 6)
    x = w * 2
    x.copy_(v)
    (x * x).sum().backward()
    return [w.grad, v.grad]


@case([[0.0, 0.0, 24.0], [8.0, 10.0]])
def slice_copy():
    w = leaf(1.0, 2, 3)
    v = leaf(4.0, 5)
    x = w * 2
    x[:2] = v
    (x * x).sum().backward()
    return [w.grad, v.grad]


@case([[4.0, 13.0]])
def into_plain():
    w = leaf(1.0, 2)
    x = fs.zeros(4, **F64)
    x[1:3] = w * w
    x[0] = w[1]
    (x * seed(4)).sum().backward()
    return [w.grad]


@case([[2.0, 4.0], True, True])
def into_plain_view_before():
    w = leaf(1.0, 2)
    x = fs.zeros(2, 2, **F64)
    r = x[0]
    r += w
    (x * x).sum().backward()
    return [w.grad, x.requires_grad, r.requires_grad]


@case([[2.0, 4.0], True])
def sibling_of_plain():
    w = leaf(1.0, 2)
    x = fs.zeros(2, 2, **F64)
    a = x[0]
    b = x.view(4)
    a.mul_(0).add_(w)
    (b * b).sum().backward()
    return [w.grad, b.requires_grad]


@case([[5.0, 16.0], [1.0, 4.0]])
def add_mul():
    w = leaf(1.0, 2)
    v = leaf(3.0, 4)
    x = w * 1
    x.add_(v)
    x.mul_(w)
    (x * seed(2)).sum().backward()
    return [w.grad, v.grad]


@case([[0.0, 4.0, 6.0]])
def relu_inplace():
    w = leaf(-1.0, 2, 3)
    x = w * 2
    x.relu_()
    (x * seed(3)).sum().backward()
    return [w.grad]


@case([[[[[91.2, 118.39999999999999], [172.8, 200.0]]]], [27.2]])
def conv_relu_inplace():
    x = fs.arange(9.0, **F64).view(1, 1, 3, 3)
    w = fs.tensor([[[[1.0, 2], [-0.5, -0.5]]]], **F64, requires_grad=True)
    b = leaf(0.7)
    y = fs.nn.functional.conv2d(x, w, b)
    fs.relu_(y)
    (y * y).sum().backward()
    return [w.grad, b.grad]


@case([[8.0, 16.0, 24.0]])
def square_inplace_saved_copy():
    w = leaf(1.0, 2, 3)
    x = w * 2
    x.pow_(2)
    x.sum().backward()
    return [w.grad]


@case([[2.0, 29.5562243957226]])
def exp_inplace():
    w = leaf(0.0, 1)
    x = w * 2
    x.exp_()
    (x * seed(2)).sum().backward()
    return [w.grad]


@case([[0.0, 32.0, 108.0]])
def masked_fill():
    w = leaf(1.0, 2, 3)
    x = w * w
    x.masked_fill_(fs.tensor([True, False, False]), 9.0)
    (x * x).sum().backward()
    return [w.grad]


@case([[0.0, 32.0, 0.0], [14.0, 16.0]])
def mask_assign():
    w = leaf(1.0, 2, 3)
    v = leaf(7.0, 8)
    x = w * w
    x[fs.tensor([True, False, True])] = v
    (x * x).sum().backward()
    return [w.grad, v.grad]


@case([[16.0, 32.0, 120.0]])
def index_add_inplace():
    w = leaf(1.0, 2, 3)
    x = w * w
    x[fs.tensor([0, 0, 2])] += 1
    (x * x).sum().backward()
    return [w.grad]


@case([[4.0, 0.0, 0.0]])
def zero_view():
    w = leaf(1.0, 2, 3)
    x = w * w
    x[1:].zero_()
    (x * x).sum().backward()
    return [w.grad]


@case([[2.0, 2.0, 2.0]])
def fill_then_use():
    w = leaf(1.0, 2, 3)
    x = w * w
    x.fill_(2.0)
    (x * w).sum().backward()
    return [w.grad]


@case([[2.0, 18.0, 8.0, 32.0]])
def transpose_inplace():
    w = leaf(1.0, 2, 3, 4)
    x = (w * 2).view(2, 2)
    x.t_()
    x.mul_(seed(4).view(2, 2))
    (x * seed(4).view(2, 2)).sum().backward()
    return [w.grad]


@case([[6.0, 12.0]])
def squeeze_unsqueeze_inplace():
    w = leaf(1.0, 2)
    x = w * 2
    x.unsqueeze_(0)
    x.mul_(3)
    x.squeeze_()
    (x * seed(2)).sum().backward()
    return [w.grad]


@case([[24.0, 36.0]])
def expand_read_after_write():
    w = leaf(1.0, 2)
    x = w * 2
    e = x.expand(2, 2)
    x.mul_(3)
    (e * seed(4).view(2, 2)).sum().backward()
    return [w.grad]


@case([[2.0, 2.0], [20.0, 40.0]])
def detach_write():
    w = leaf(1.0, 2)
    x = w * 2
    d = x.detach()
    d.mul_(10)
    x.sum().backward()
    return [w.grad, x.detach()]


@case([[4.0, 5.0], [20.0, 30.0]])
def data_write_between():
    w = leaf(2.0, 3)
    v = leaf(4.0, 5)
    y = (w * v).sum()
    w.data.mul_(10)
    y.backward()
    return [w.grad, v.grad]


@case([[0.0, 0.0], [0.0, 0.0]])
def no_grad_leaf_update():
    w = leaf(2.0, 3)
    (w * w).sum().backward()
    with fs.no_grad():
        w -= 0.5 * w.grad
    w.grad = None
    (w * w * w).sum().backward()
    return [w.grad, w.detach()]


@case([[2.0, 4.0], [100.0, 6.0]])
def no_grad_view_update():
    w = leaf(2.0, 3)
    x = w * 2
    with fs.no_grad():
        x[0] = 100.0
    (x * seed(2)).sum().backward()
    return [w.grad, x.detach()]


@case([[48736.0, 527376.0, 680832.0]])
def double_backward_through_inplace():
    w = leaf(1.0, 2, 3)
    x = w * w
    x[1:] *= w[:2]
    (g,) = fs.autograd.grad((x * x).sum(), w, create_graph=True)
    (g * g).sum().backward()
    return [w.grad]


@case([[40.0, 176.0, 104.0, 0.0]])
def base_written_view_fresh():
    w = leaf(1.0, 2, 3, 4)
    x = w * 1
    v = x[1:3]
    x.mul_(2)
    v.mul_(w[:2])
    x.add_(1)
    (v * v).sum().backward()
    return [w.grad]


@case([[6.0, 4.0]])
def setitem_broadcast():
    w = leaf(1.0, 2)
    x = fs.ones(3, 2, **F64) * w
    x[1] = 5.0
    x[2] = w[0]
    (x * x).sum().backward()
    return [w.grad]


@case([[6.0, 36.0]])
def diagonal_write():
    w = leaf(1.0, 2)
    x = fs.ones(2, 2, **F64) * w
    x.diagonal().mul_(w)
    (x * x).sum().backward()
    return [w.grad]


@case([[2.0, 12.0, 6.0, 24.0]])
def as_strided_write():
    w = leaf(1.0, 2, 3, 4)
    x = w * 2
    x.as_strided((2,), (2,), 1).mul_(3)
    (x * seed(4)).sum().backward()
    return [w.grad]


@case([[1.0, 2.0], [12.0, 32.0]])
def addcmul_inplace():
    w = leaf(1.0, 2)
    a = leaf(3.0, 4)
    x = w * 1
    x.addcmul_(a, a, value=2)
    (x * seed(2)).sum().backward()
    return [w.grad, a.grad]


@case([[0.0, 2.0, 0.0]])
def clamp_inplace():
    w = leaf(-2.0, 0.5, 2)
    x = w * 1
    x.clamp_(-1, 1)
    (x * seed(3)).sum().backward()
    return [w.grad]


@case([[3.0, 3.0]])
def narrow_dtype_into():
    w = fs.tensor([1.0, 2.0], requires_grad=True)
    x = fs.zeros(2, **F64)
    x.copy_(w)
    x.mul_(3)
    x.sum().backward()
    return [w.grad]


@case([[6.0, 6.0], [3.0, 3.0]])
def hook_before_write():
    w = leaf(1.0, 2)
    x = w * 2
    seen = []
    x.register_hook(lambda g: seen.append(g.clone()))
    x.mul_(3)
    x.sum().backward()
    return [w.grad, *seen]


@pytest.mark.parametrize("name", CASES)
def test_gradients(name):
    f, want = CASES[name]
    got = f()
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        if isinstance(w, bool):
            assert g is w
        else:
            assert tuple(g.shape) == np.shape(w)
            np.testing.assert_allclose(g.numpy(), w, rtol=1e-12)


def test_value_multiplied_by_itself():
    """PyTorch refuses `x.mul_(x)` in backward; here the old value was copied before it was overwritten."""
    w = leaf(1.0, 2, 3)
    x = w * 1
    x.mul_(x)
    x.sum().backward()
    assert w.grad.tolist() == [2.0, 4.0, 6.0]


def test_data_assigned_between():
    """Assigning `.data` changes what the name holds, not what the graph saved (PyTorch reads the new data here)."""
    w, v = leaf(2.0, 3), leaf(4.0, 5)
    y = (w * v).sum()
    w.data = fs.tensor([7.0, 8.0], **F64)
    y.backward()
    assert w.grad.tolist() == [4.0, 5.0] and v.grad.tolist() == [2.0, 3.0] and w.tolist() == [7.0, 8.0]


def test_retained_gradient_is_that_of_the_last_value():
    """`retain_grad` follows the tensor through in-place ops; a hook stays with the value that it was put on."""
    w = leaf(1.0, 2)
    x = w * 2
    x.retain_grad()
    x.mul_(3)
    x.sum().backward()
    assert w.grad.tolist() == [6.0, 6.0] and x.grad.tolist() == [1.0, 1.0]


# ---- refused -----------------------------------------------------------------------------------------------------------

LEAF = "a leaf Variable that requires grad is being used in an in-place operation"
LEAF_VIEW = "a view of a leaf Variable that requires grad is being used in an in-place operation"
MULTI = "is a view and is being modified inplace. This view is the output of a function that returns multiple views"
ONE_PLACE = "more than one element of the written-to tensor refers to a single memory location"
PARTLY = "some elements of the input tensor and the written-to tensor refer to a single memory location"


def refused(write, match):
    """The error names what is wrong, and nothing was written."""
    with pytest.raises(RuntimeError, match=match) as caught:
        write()
    assert "internal error" not in str(caught.value)


def test_leaves():
    x = leaf(1.0, 2)
    refused(lambda: x.mul_(2), LEAF)
    refused(lambda: x[0].mul_(2), LEAF_VIEW)
    refused(lambda: x.__setitem__(0, 5.0), LEAF_VIEW)
    refused(lambda: x.view(2, 1).t().add_(1), LEAF_VIEW)
    refused(lambda: x.__iadd__(1), LEAF)
    assert x.tolist() == [1.0, 2.0] and x._version == 0
    plain = fs.zeros(2, **F64)
    with fs.no_grad():
        x[0].mul_(2)
        x += 1
    plain[0] = x[0]
    assert x.tolist() == [3.0, 3.0] and plain.requires_grad


def test_several_views_of_one_call():
    for pieces in (lambda x: x.unbind(), lambda x: x.split(2), lambda x: x.chunk(2), lambda x: x.split([1, 2])):
        x = leaf(1.0, 2, 3) * 1
        piece = pieces(x)[0]
        refused(lambda p=piece: p.mul_(2), f"Output 0 of .* {MULTI}")
        assert x.tolist() == [1.0, 2.0, 3.0]
    plain = fs.zeros(3)
    plain.split(2)[0].add_(1)  # no gradient is at stake
    assert plain.tolist() == [1.0, 1.0, 0.0]


def test_view_made_without_grad():
    x = leaf(1.0, 2) * 1
    with fs.no_grad():
        view = x[0]
    refused(
        lambda: view.mul_(2), "A view was created in no_grad mode and is being modified inplace with grad mode enabled"
    )
    with fs.no_grad():
        view.mul_(2)
    assert x.tolist() == [2.0, 2.0]


OVERWRITTEN = "one of the variables needed for gradient computation has been modified by an inplace operation"


@pytest.mark.parametrize(
    "value,write,who,by",
    [
        (lambda w: (w, w.exp()), lambda x, y: y.mul_(2), "Exp", "mul_"),
        (lambda w: (w * 1, None), lambda x, y: x.add_(1), "Mul", "add_"),
        (lambda w: (w * 1, None), lambda x, y: x[0].zero_(), "Mul", "zero_"),
        (lambda w: (w * 1, None), lambda x, y: x.detach().fill_(2), "Mul", "fill_"),
        (lambda w: (w * 1, None), lambda x, y: x.view(2, 1).t().sub_(1), "Mul", "sub_"),
        (lambda w: (w * 1, None), lambda x, y: x.__setitem__(0, 1.0), "Mul", "copy_"),
    ],
)
def test_overwritten_value(value, write, who, by):
    """The error names whose output it was, the versions, and the op that overwrote it."""
    x, y = value(leaf(1.0, 2))
    y = x.sin() if y is None else y
    write(x, y)
    with pytest.raises(RuntimeError, match=OVERWRITTEN) as caught:
        y.sum().backward()
    text = str(caught.value)
    assert f"output 0 of {who}" in text and "is at version 1; expected version 0" in text and by in text
    assert "[torch.DoubleTensor [2]]" in text


def test_overwriting_what_nobody_saved():
    w = leaf(1.0, 2)
    x = w * 1
    y = x + 1
    x.zero_()
    y.sum().backward()
    assert w.grad.tolist() == [1.0, 1.0]


def test_data_writes_are_not_counted():
    """`x.data` has a version counter of its own, `detach()` and views share it."""
    x = leaf(1.0, 2) * 1
    y = x.sin()
    x.data.mul_(2)
    assert x._version == 0
    x.detach()
    y.sum().backward()
    x.detach().mul_(2)
    x[0].add_(1)
    x.view(2, 1).add_(1)
    assert x._version == 3 and x.detach()._version == 3 and x[1]._version == 3


def test_self_overlapping_memory():
    refused(lambda: fs.zeros(1).expand(3).add_(1), ONE_PLACE)
    refused(lambda: fs.zeros(1).expand(3).copy_(fs.ones(3)), ONE_PLACE)
    refused(lambda: fs.zeros(2, 1).expand(2, 3)[0].fill_(1), ONE_PLACE)
    a = fs.zeros(1)
    refused(lambda: fs.add(fs.ones(3), 1, out=a.expand(3)), ONE_PLACE)
    assert a.tolist() == [0.0]


def test_partly_overlapping_input():
    for write in (
        lambda x: x[1:].add_(x[:-1]),
        lambda x: x[:-1].mul_(x[1:]),
    ):
        x = fs.arange(5.0)
        refused(lambda x=x, write=write: write(x), PARTLY)
        assert x.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_whole_overlap_is_fine():
    """Where the written elements are those read, or where a copy makes it safe."""
    x = fs.arange(5.0)
    fs.add(x[:-1], 1, out=x[1:])  # PyTorch refuses
    assert x.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    x = fs.arange(4.0)
    x.add_(x)
    assert x.tolist() == [0.0, 2.0, 4.0, 6.0]
    x = fs.arange(4.0).view(2, 2)
    x.add_(x.t())
    assert x.tolist() == [[0.0, 3.0], [3.0, 6.0]]
    x = fs.arange(6.0)
    x[:3].copy_(x[3:])
    assert x.tolist() == [3.0, 4.0, 5.0, 3.0, 4.0, 5.0]
    x = fs.arange(3.0)
    x.cumsum_(0)
    assert x.tolist() == [0.0, 1.0, 3.0]


def test_shape_and_dtype_of_the_target_stay():
    x = fs.zeros(3)
    refused(lambda: x.add_(fs.ones(2, 3)), r"output with shape \[3\] doesn't match the broadcast shape \[2, 3\]")
    whole = fs.zeros(3, dtype=fs.int64)
    refused(lambda: whole.add_(1.5), "result type Float can't be cast to the desired output type Long")
    assert x._version == 0 and whole._version == 0
    half = fs.zeros(2, dtype=fs.float16)
    half.add_(fs.ones(2, dtype=fs.float64))
    assert half.dtype is fs.float16 and half.tolist() == [1.0, 1.0]


# ---- bookkeeping -------------------------------------------------------------------------------------------------------


def test_versions():
    x = fs.zeros(3)
    v = x[1:]
    for n, write in enumerate(
        [lambda: x.add_(1), lambda: v.mul_(2), lambda: x.__setitem__(0, 1), lambda: x.detach().zero_()], 1
    ):
        write()
        assert x._version == v._version == n
    assert x.clone()._version == 0 and x.data._version == 0
    fs.add(x, 1, out=x)
    assert x._version == 5


def test_views_know_their_base():
    x = leaf(1.0, 2, 3, 4) * 1
    a = x.view(2, 2)
    b = a.t()[0]
    assert a._base is x and b._base is x and b._is_view() and not x._is_view()
    a.mul_(2)
    assert x.grad_fn is not None and "CopySlices" in x.grad_fn.name()
    assert b.requires_grad and b.tolist() == [2.0, 6.0]


def test_view_outlives_its_base_and_both_are_freed():
    x = leaf(1.0, 2) * 1
    view = x.view(2, 1)
    alive = weakref.ref(x)
    del x
    view.mul_(3)
    assert view.tolist() == [[3.0], [6.0]]
    del view
    gc.collect()
    assert alive() is None


def test_requires_grad_follows_the_write():
    w = leaf(1.0, 2)
    x = fs.zeros(3, **F64)
    before = x[:1]
    x[1:] = w
    assert x.requires_grad and before.requires_grad and not x.is_leaf
    y = fs.zeros(3, **F64)
    with fs.no_grad():
        y[1:] = w
    assert not y.requires_grad
    whole = fs.zeros(2, dtype=fs.int64)
    whole.copy_(w)
    assert not whole.requires_grad


def test_detach_in_place():
    x = leaf(1.0, 2) * 2
    x.detach_()
    assert x.is_leaf and not x.requires_grad
    with pytest.raises(RuntimeError):
        (leaf(1.0, 2) * 1)[0].detach_()
