"""Custom functions, and `gradcheck` itself."""

import firesteel as fs
import pytest
from firesteel.autograd import Function, GradcheckError, grad, gradcheck, gradgradcheck


def leaf(*values, dtype=fs.float64):
    return fs.tensor(values, dtype=dtype, requires_grad=True)


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x


def test_function():
    x = leaf(1.0, 2.0)
    y = Cube.apply(x)
    assert (y.requires_grad and "CubeBackward" in repr(y.grad_fn)) or "CubeBackward" in y.grad_fn.name()
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 12.0]
    assert gradcheck(Cube.apply, leaf(0.5, -1.0)) and gradgradcheck(Cube.apply, leaf(0.5, -1.0))
    with fs.no_grad():
        assert not Cube.apply(x).requires_grad
    assert not Cube.apply(fs.ones(1)).requires_grad


def test_function_with_setup_context():
    class Scale(Function):
        @staticmethod
        def forward(x, factor):
            return x * factor

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.factor = inputs[1]

        @staticmethod
        def backward(ctx, g):
            assert ctx.needs_input_grad == (True, False)
            return g * ctx.factor, None

    x = leaf(1.0)
    Scale.apply(x, 4).sum().backward()
    assert x.grad.tolist() == [4.0]


def test_function_of_several_outputs():
    class Both(Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            order = x.argsort()
            ctx.mark_non_differentiable(order)
            return x * y, x + y, order

        @staticmethod
        def backward(ctx, g, h, unused):
            x, y = ctx.saved_tensors
            return g * y + h, g * x + h

    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    product, total, order = Both.apply(x, y)
    assert not order.requires_grad and order.tolist() == [0, 1]
    product.sum().backward()  # the gradient of the other output is zeros
    assert x.grad.tolist() == [3.0, 4.0] and y.grad.tolist() == [1.0, 2.0] and total.requires_grad


def test_function_without_materialized_gradients():
    seen = []

    class Two(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 1, x * 2

        @staticmethod
        def backward(ctx, g, h):
            seen.append((g is None, h is None))
            return h * 2

    x = leaf(1.0)
    Two.apply(x)[1].sum().backward()
    assert seen == [(True, False)] and x.grad.tolist() == [2.0]


def test_function_in_place():
    class Double(Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    w = leaf(1.0, 2.0)
    x = w * 1
    y = Double.apply(x)
    assert y is x
    (y * y).sum().backward()
    assert w.grad.tolist() == [8.0, 16.0]
    with pytest.raises(RuntimeError, match="leaf"):
        Double.apply(leaf(1.0))


def test_function_gives_back_its_input():
    class Same(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 5

    x = leaf(1.0)
    y = Same.apply(x)
    assert y is not x
    y.sum().backward()
    assert x.grad.tolist() == [5.0]


def test_function_errors():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return g

    with pytest.raises(RuntimeError, match=r"incorrect number of gradients \(expected 2, got 1\)"):
        Wrong.apply(leaf(1.0), leaf(2.0)).sum().backward()

    class NoTensor(Wrong):
        @staticmethod
        def backward(ctx, g):
            return 1.0, None

    with pytest.raises(TypeError, match=r"float as gradient 0, expected Tensor or None"):
        NoTensor.apply(leaf(1.0), leaf(2.0)).sum().backward()

    class Shape(Wrong):
        @staticmethod
        def backward(ctx, g):
            return fs.ones(7, dtype=fs.float64), None

    with pytest.raises(RuntimeError, match="invalid gradient"):
        Shape.apply(leaf(1.0, 2.0), leaf(2.0, 3.0)).sum().backward()

    class Nothing(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

    with pytest.raises(NotImplementedError, match="backward"):
        Nothing.apply(leaf(1.0)).sum().backward()


def test_function_notices_overwritten_values():
    x = leaf(1.0, 2.0) * 1
    y = Cube.apply(x)
    x.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
    z = Cube.apply(leaf(1.0))
    z.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        z.sum().backward()


def test_once_differentiable():
    class Once(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @fs.autograd.function.once_differentiable
        def backward(ctx, g):
            return g * 2 * ctx.saved_tensors[0]

    x = leaf(3.0)
    (g,) = grad(Once.apply(x) ** 2, x, create_graph=True)
    assert g.tolist() == [108.0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.sum().backward()


def test_checkpoint_of_a_small_net_by_hand():
    """The engine can run inside backward: recomputation in a custom function."""

    class Recompute(Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return (x * w).tanh()

        @staticmethod
        def backward(ctx, g):
            x, w = (t.detach().requires_grad_() for t in ctx.saved_tensors)
            with fs.enable_grad():
                y = (x * w).tanh()
            return grad(y, (x, w), g)

    x, w = leaf(0.3, 0.4), leaf(1.0, 2.0)
    Recompute.apply(x, w).sum().backward()
    a, b = leaf(0.3, 0.4), leaf(1.0, 2.0)
    (a * b).tanh().sum().backward()
    assert x.grad.tolist() == a.grad.tolist() and w.grad.tolist() == b.grad.tolist()


# ---- gradcheck itself --------------------------------------------------------------------------------------------------


def test_gradcheck_finds_a_wrong_derivative():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        def backward(ctx, g):
            return g * 2.01 * ctx.saved_tensors[0]

    class WrongTwice(Cube):
        @staticmethod
        def backward(ctx, g):
            x = ctx.saved_tensors[0]
            return g * 3 * x * x.detach()

    x = leaf(0.7, -1.3)
    with pytest.raises(GradcheckError, match="Jacobian mismatch"):
        gradcheck(Wrong.apply, x)
    assert not gradcheck(Wrong.apply, x, raise_exception=False)
    assert gradcheck(WrongTwice.apply, x)
    with pytest.raises(GradcheckError):
        gradgradcheck(WrongTwice.apply, x)
    with pytest.raises(ValueError, match="require gradient"):
        gradcheck(lambda t: t, fs.ones(2, dtype=fs.float64))
    assert x.tolist() == [0.7, -1.3]
