"""Switches for recording: context managers that are decorators too."""

from __future__ import annotations

from .. import _C

_GENERATOR = 0x20  # inspect.CO_GENERATOR; inspect itself takes longer to import than all of firesteel


class _Switch:
    """A context manager, and a decorator of functions and generators."""

    def __call__(self, f):
        from functools import wraps

        make = self.clone
        if isinstance(f, type):
            import warnings

            warnings.warn(
                f"Decorating classes is deprecated: {type(self).__name__} only has an effect while the class is called; "
                "decorate its methods",
                FutureWarning,
                stacklevel=2,
            )
        code = getattr(f, "__code__", None)
        if code is not None and code.co_flags & _GENERATOR:

            @wraps(f)
            def generate(*args, **kwargs):
                it = f(*args, **kwargs)
                try:
                    with make():
                        value = next(it)
                    while True:
                        try:
                            sent = yield value
                        except GeneratorExit:
                            with make():
                                it.close()
                            raise
                        except BaseException as err:
                            with make():
                                value = it.throw(err)
                        else:
                            with make():
                                value = it.send(sent)
                except StopIteration as stop:
                    return stop.value

            return generate

        @wraps(f)
        def call(*args, **kwargs):
            with make():
                return f(*args, **kwargs)

        return call

    def clone(self):
        return type(self)()


class no_grad(_Switch):
    """Ops inside are not recorded.

    >>> import firesteel as fs
    >>> x = fs.ones(2, requires_grad=True)
    >>> with fs.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    _to = False

    def __new__(cls, f=None):
        self = object.__new__(cls)
        return self if f is None else self(f)

    def __enter__(self):
        self._before = _C._set_grad(self._to)

    def __exit__(self, *_):
        _C._set_grad(self._before)


class enable_grad(no_grad):
    """Ops inside are recorded, also within `no_grad`."""

    _to = True


class set_grad_enabled(_Switch):
    """Recording on or off from now on; as a context manager, until its end."""

    def __init__(self, mode: bool):
        if not isinstance(mode, bool):
            raise TypeError(f"set_grad_enabled(): mode must be bool, not {type(mode).__name__}")
        self.mode = mode
        self._before = _C._set_grad(mode)

    def __call__(self, f):
        _C._set_grad(self._before)
        return super().__call__(f)

    def __enter__(self):
        _C._set_grad(self.mode)

    def __exit__(self, *_):
        _C._set_grad(self._before)

    def clone(self):
        return type(self)(self.mode)

    def __repr__(self):
        return f"set_grad_enabled(mode={self.mode})"


class inference_mode(_Switch):
    """`no_grad` that says so: ops inside are not recorded."""

    def __new__(cls, mode=True):
        self = object.__new__(cls)
        if callable(mode):
            self.mode = True
            return self(mode)
        self.mode = mode
        return self

    def __enter__(self):
        self._before = (_C._set_grad(not self.mode), _C._set_inference(self.mode))

    def __exit__(self, *_):
        _C._set_grad(self._before[0])
        _C._set_inference(self._before[1])

    def clone(self):
        return type(self)(self.mode)
