"""Derivatives checked against central differences."""

from __future__ import annotations

import itertools

from .. import _C
from .graph import grad

Tensor = _C.Tensor


class GradcheckError(RuntimeError):
    """A derivative disagrees with its numerical estimate."""


def _outputs(fn, inputs):
    out = fn(*inputs)
    outs = (out,) if isinstance(out, Tensor) else tuple(out)
    return tuple(o for o in outs if isinstance(o, Tensor) and o.requires_grad)


def _fail(message, raise_exception):
    if raise_exception:
        raise GradcheckError(message)
    return False


def _numerical(fn, inputs, x, eps, count):
    """d outputs / d x by central differences: for each output a list of columns, one per element of x."""
    data = x.data  # written without the version counter that saved values check
    columns = [[] for _ in range(count)]
    for position in itertools.product(*(range(n) for n in x.shape)):
        at = data[position]
        old = at.item()
        results = []
        for step in (eps, -eps):
            at.fill_(old + step)
            out = fn(*inputs)
            outs = (out,) if isinstance(out, Tensor) else tuple(out)
            results.append([o.detach().clone() for o in outs if isinstance(o, Tensor) and o.is_floating_point()])
        at.fill_(old)
        for k in range(count):
            columns[k].append(((results[0][k] - results[1][k]) / (2 * eps)).reshape(-1))
    return columns


def gradcheck(
    func,
    inputs,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    fast_mode: bool = False,
    **_unused,
) -> bool:
    """Whether the derivatives of `func` agree with central differences at `inputs`.

    Args:
        func: takes the inputs, returns a tensor or several.
        inputs: a tensor or a tuple; those that require grad should be float64.
        eps: step of the differences.
        atol, rtol: |analytical - numerical| <= atol + rtol * |numerical|.

    Raises:
        GradcheckError: they do not agree, and `raise_exception`.
        ValueError: no input requires grad.
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = [(i, x) for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of the them have "
            "requires_grad=True."
        )
    outs = _outputs(func, inputs)
    if not outs:
        return _fail("the function's outputs do not require grad", raise_exception)
    every = func(*inputs)
    every = (every,) if isinstance(every, Tensor) else tuple(every)
    floats = [o for o in every if isinstance(o, Tensor) and o.is_floating_point()]
    tracked = [k for k, o in enumerate(floats) if o.requires_grad]
    xs = [x for _, x in checked]
    for x_index, x in checked:
        with_no = _C._set_grad(False)
        try:
            numerical = _numerical(func, inputs, x, eps, len(floats))
        finally:
            _C._set_grad(with_no)
        for k, o in zip(tracked, outs, strict=True):
            n = o.numel()
            for j in range(n):
                seed = _C._full(o.shape, 0, dtype=o.dtype)
                seed.view(-1)[j].fill_(1)
                found = grad(o, xs, seed, retain_graph=True, allow_unused=True)
                g = found[[i for i, _ in checked].index(x_index)]
                row = [0.0] * x.numel() if g is None else g.reshape(-1).tolist()
                for e, a in enumerate(row):
                    b = numerical[k][e][j].item()
                    if not (abs(a - b) <= atol + rtol * abs(b)) and a == a:
                        return _fail(
                            f"Jacobian mismatch for output {k} with respect to input {x_index}: element {j} by {e} is "
                            f"{a} analytically, {b} numerically",
                            raise_exception,
                        )
                    if a != a and b == b:
                        return _fail(f"NaN in the derivative of output {k} by input {x_index}", raise_exception)
    return True


def gradgradcheck(
    func,
    inputs,
    grad_outputs=None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    **_unused,
) -> bool:
    """`gradcheck` of the first derivatives: the second derivatives agree with central differences.

    Args:
        func, inputs, eps, atol, rtol: as for `gradcheck`.
        grad_outputs: gradients of the outputs; random ones by default.
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    outs = _outputs(func, inputs)
    if grad_outputs is None:
        seeds = []
        for k, o in enumerate(outs):
            # Fixed, irregular values: a failure shows itself again.
            values = [((7 * i + 3 * k) % 11 - 5) / 7.0 + 0.1 for i in range(o.numel())]
            seeds.append(_C._tensor(values, o.dtype).reshape(o.shape).requires_grad_())
    else:
        seeds = list((grad_outputs,) if isinstance(grad_outputs, Tensor) else grad_outputs)
    n = len(inputs)

    def first(*args):
        xs, gs = args[:n], args[n:]
        ys = _outputs(func, xs)
        wanted = [x for x in xs if isinstance(x, Tensor) and x.requires_grad]
        before = _C._set_grad(True)
        try:
            found = grad(ys, wanted, list(gs), create_graph=True, allow_unused=True)
        finally:
            _C._set_grad(before)
        return tuple(g for g in found if g is not None)

    def quiet(*args):
        # Differences are taken with recording off, but the inner derivative needs it.
        before = _C._set_grad(True)
        try:
            return first(*args)
        finally:
            _C._set_grad(before)

    if not any(g.requires_grad for g in first(*inputs, *seeds)):
        return True
    return gradcheck(quiet, (*inputs, *seeds), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception)
