"""Anomaly mode: an error in the backward pass shows the forward line that it belongs to."""

from __future__ import annotations

import traceback
import warnings

from .. import _C


def forward_trace() -> str:
    """The program's stack where an op is being recorded, without firesteel's own frames at its end."""
    stack = traceback.extract_stack()[:-1]
    while len(stack) > 1 and "/firesteel/autograd/" in stack[-1].filename.replace("\\", "/"):
        stack.pop()
    return "".join(traceback.format_list(stack))


def guarded_step(node, grad, keep, hooked):
    """`Node._step` that reports errors and, where asked for, NaNs with the forward trace."""
    try:
        out = node._step(grad, keep, hooked)
    except Exception:
        _warn(node)
        raise
    if detect_anomaly._check_nan:
        for i, (_, _, _, g) in enumerate(out):
            if g.is_floating_point() and bool(g.isnan().any()):
                _warn(node)
                raise RuntimeError(f"Function '{node.name()}' returned nan values in its {i}th output.")
    return out


def _warn(node):
    trace = node._trace
    where = (
        f"Traceback of forward call that caused the error:\n{trace}"
        if trace
        else "No forward pass information available."
    )
    warnings.warn(f"Error detected in {node.name()}. {where}", stacklevel=4)


class detect_anomaly:
    """Context manager: record forward traces, and raise at NaN gradients when `check_nan`."""

    _check_nan = True

    def __init__(self, check_nan: bool = True):
        self.check_nan = check_nan

    def __enter__(self):
        self._before = (_C._set_anomaly(True), detect_anomaly._check_nan)
        detect_anomaly._check_nan = self.check_nan

    def __exit__(self, *_):
        _C._set_anomaly(self._before[0])
        detect_anomaly._check_nan = self._before[1]


class set_detect_anomaly(detect_anomaly):
    """Anomaly mode on or off from now on; as a context manager, until its end."""

    def __init__(self, mode: bool, check_nan: bool = True):
        self._before = (_C._set_anomaly(mode), detect_anomaly._check_nan)
        detect_anomaly._check_nan = check_nan

    def __enter__(self):
        pass
