"""Custom differentiable functions."""

from __future__ import annotations

from functools import wraps

from .. import _C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Tensor = _C.Tensor


class FunctionCtx:
    """What `forward` leaves for `backward`; set attributes on it freely."""

    _cls: Any = None
    _saved: tuple[tuple[Tensor | None, int | None], ...] = ()
    _dirty: tuple[Tensor, ...] = ()
    _nondiff: tuple[Tensor, ...] = ()
    _materialize = True
    # Shape and dtype of each output that is a tensor.
    _metas: tuple[Any, ...] = ()
    _released = False
    needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keeps tensors for `backward`, where `saved_tensors` gives them; writes to them in between are noticed."""
        for t in tensors:
            if t is not None and not isinstance(t, Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument is of type {type(t).__name__}"
                )
        self._saved = tuple((t, None if t is None or t.is_inference() else t._version) for t in tensors)

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        if self._released:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved tensors after they have "
                "already been freed). Specify retain_graph=True if you need to backward through the graph a second "
                "time."
            )
        for t, version in self._saved:
            if version is not None and t is not None and t._version != version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an inplace operation: "
                    f"a tensor of shape {list(t.shape)} saved by {self._cls.__name__} is at version {t._version}; "
                    f"expected version {version} instead."
                )
        return tuple(t for t, _ in self._saved)

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Names the inputs that `forward` wrote in place."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Names the outputs that carry no gradient."""
        self._nondiff = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """False: a missing output gradient is given as None instead of zeros."""
        self._materialize = value

    @property
    def _name(self):
        return f"{self._cls.__name__}Backward"

    def _release(self):
        if self._saved:
            self._released = True
            self._saved = ()

    def _backward(self, node, grads):
        grads = grads if isinstance(grads, list) else [grads]
        if self._materialize:
            for i, (g, meta) in enumerate(zip(grads, self._metas, strict=False)):
                if g is None and meta is not None:
                    grads[i] = _C._full(meta[0], 0, dtype=meta[1], device=meta[2])
        if self._cls.backward is Function.backward:
            raise NotImplementedError(
                f"You must implement either the backward or vjp method for your custom autograd.Function "
                f"({self._cls.__name__}) to use it with backward mode AD."
            )
        out = self._cls.backward(self, *grads)
        out = out if isinstance(out, tuple) else (out,)
        n = len(self.needs_input_grad)
        if len(out) > n and all(g is None for g in out[n:]):
            out = out[:n]
        if len(out) != n:
            raise RuntimeError(
                f"function {self._name} returned an incorrect number of gradients (expected {n}, got {len(out)})"
            )
        for i, g in enumerate(out):
            if g is not None and not isinstance(g, Tensor):
                raise TypeError(
                    f"function {self._name} returned {type(g).__name__} as gradient {i}, expected Tensor or None"
                )
        return out


class Function:
    """A function with a derivative of one's own: subclass, define `forward` and `backward`, call `apply`.

    >>> import firesteel as fs
    >>> class Double(fs.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         return g * 2
    >>> x = fs.ones(2, requires_grad=True)
    >>> Double.apply(x).sum().backward()
    >>> x.grad
    tensor([2., 2.])
    """

    @staticmethod
    def forward(*args, **kwargs):
        """(ctx, *inputs), or (*inputs) where there is a `setup_context`."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx, inputs, output):
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        """One gradient (or None) per input of `forward`."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function."
        )

    vjp = backward

    @classmethod
    def apply(cls, *args, **kwargs):
        """Runs `forward` and records the call."""
        ctx = FunctionCtx()
        ctx._cls = cls
        tensors = [a for a in args if isinstance(a, Tensor)]
        record = _C.is_grad_enabled() and any(t.requires_grad for t in tensors)
        ctx.needs_input_grad = tuple(record and isinstance(a, Tensor) and a.requires_grad for a in args)
        before = _C._set_grad(False)
        try:
            if cls.setup_context is Function.setup_context:
                made = cls.forward(ctx, *args, **kwargs)
            else:
                made = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, made)
        finally:
            _C._set_grad(before)
        many = isinstance(made, (tuple, list))
        outs = list(made) if many else [made]
        dirty, nondiff = {id(t) for t in ctx._dirty}, {id(t) for t in ctx._nondiff}
        given = {id(t) for t in tensors}
        targets = []
        for i, o in enumerate(outs):
            if not isinstance(o, Tensor):
                targets.append(None)
                continue
            if id(o) in given and id(o) not in dirty:
                outs[i] = o = o.detach()
            elif o.requires_grad and id(o) not in dirty:
                outs[i] = o = o.detach()
            targets.append(o if o.is_floating_point() and id(o) not in nondiff else None)
        if record and any(t is not None for t in targets):
            for t in ctx._dirty:
                if t.is_leaf and t.requires_grad:
                    raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
            if any(t is not None and t.is_inference() for t, _ in ctx._saved):
                raise RuntimeError(
                    "Inference tensors cannot be saved for backward. To work around you can make a clone to get a normal "
                    "tensor and use it in autograd."
                )
            ctx._metas = tuple((o.shape, o.dtype, o.device) if isinstance(o, Tensor) else None for o in outs)
            _C._record_function(ctx, args, targets)
        return (tuple(outs) if isinstance(made, tuple) else outs) if many else outs[0]


def once_differentiable(fn):
    """Decorator for a `backward` that must not be differentiated again."""

    @wraps(fn)
    def wrapper(ctx, *grads):
        before = _C._set_grad(False)
        try:
            out = fn(ctx, *grads)
        finally:
            _C._set_grad(before)
        if not _C.is_grad_enabled() or not any(isinstance(g, Tensor) and g.requires_grad for g in grads):
            return out
        outs = out if isinstance(out, tuple) else (out,)
        marked = tuple(
            _Once.apply(o, *[g for g in grads if isinstance(g, Tensor)]) if isinstance(o, Tensor) else o for o in outs
        )
        return marked if isinstance(out, tuple) else marked[0]

    return wrapper


class _Once(Function):
    @staticmethod
    def forward(ctx, out, *grads):
        return out.clone()

    @staticmethod
    def backward(ctx, *grads):
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")
