"""Comparisons for tests."""

from __future__ import annotations

from typing import Any

from . import _C

Tensor = _C.Tensor
_TOLERANCE = {"float16": (1e-3, 1e-5), "bfloat16": (1.6e-2, 1e-5), "float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7)}

__all__ = ["assert_allclose", "assert_close"]


def _tolerances(a: Tensor, b: Tensor, rtol: float | None, atol: float | None) -> tuple[float, float]:
    if (rtol is None) != (atol is None):
        raise ValueError("Both 'rtol' and 'atol' must be either specified or unspecified.")
    if rtol is not None and atol is not None:
        return rtol, atol
    found = [_TOLERANCE.get(str(t.dtype)[6:], (0.0, 0.0)) for t in (a, b)]
    return max(f[0] for f in found), max(f[1] for f in found)


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: Any = None,
) -> None:
    """Raises unless two tensors (numbers, nested containers of them) are close: |a - e| <= atol + rtol * |e|.

    Args:
        actual, expected: tensors of one shape, numbers, or sequences and dicts of them.
        rtol, atol: both or none; by default PyTorch's for the dtype.
        equal_nan: NaNs at the same place are equal.

    Raises:
        AssertionError: with how many elements differ and by how much.

    >>> import firesteel as fs
    >>> fs.testing.assert_close(fs.tensor([1., 2.]), fs.tensor([1., 2.]))
    """

    def fail(text: str) -> None:
        raise AssertionError(msg(text) if callable(msg) else msg or text)

    options: dict[str, Any] = {
        "rtol": rtol, "atol": atol, "equal_nan": equal_nan, "check_dtype": check_dtype, "check_stride": check_stride,
        "check_device": check_device, "msg": msg,
    }  # fmt: skip
    if isinstance(expected, dict):
        if not isinstance(actual, dict) or set(actual) != set(expected):
            fail(f"The keys of the mappings do not match: {sorted(map(str, actual))} and {sorted(map(str, expected))}")
        for k in expected:
            assert_close(actual[k], expected[k], **options)
        return
    if isinstance(expected, (list, tuple)):
        if not isinstance(actual, (list, tuple)) or len(actual) != len(expected):
            fail("The length of the sequences do not match")
        for a, e in zip(actual, expected, strict=True):
            assert_close(a, e, **options)
        return
    both_tensors = isinstance(actual, Tensor) and isinstance(expected, Tensor)
    a = actual if isinstance(actual, Tensor) else _C._tensor(actual)
    e = expected if isinstance(expected, Tensor) else _C._tensor(expected)
    a, e = a.detach(), e.detach()
    if a.shape != e.shape:
        fail(f"The values for attribute 'shape' do not match: {a.shape} != {e.shape}.")
    if both_tensors and check_dtype and a.dtype is not e.dtype:
        fail(f"The values for attribute 'dtype' do not match: {a.dtype} != {e.dtype}.")
    if both_tensors and check_device and a.device != e.device:
        fail(f"The values for attribute 'device' do not match: {a.device} != {e.device}.")
    if check_stride and a.stride() != e.stride():
        fail(f"The values for attribute 'stride()' do not match: {a.stride()} != {e.stride()}.")
    relative, absolute = _tolerances(a, e, rtol, atol)
    x, y = a.to(_C.float64), e.to(_C.float64)
    good = (x == y) | ((x - y).abs() <= absolute + relative * y.abs())
    if equal_nan:
        good = good | (x.isnan() & y.isnan())
    wrong = int((~good).sum().item())
    if wrong:
        worst = (x - y).abs()[~good].max().item()
        share = 100 * wrong / max(x.numel(), 1)
        fail(
            f"Tensor-likes are not close!\n\nMismatched elements: {wrong} / {x.numel()} ({share:.1f}%)\n"
            f"Greatest absolute difference: {worst} (up to {absolute} allowed, with {relative} relative)"
        )


def assert_allclose(actual: Any, expected: Any, rtol: float | None = None, atol: float | None = None) -> None:
    """`assert_close` without the dtype check; NaNs are equal."""
    assert_close(actual, expected, rtol=rtol, atol=atol, equal_nan=True, check_dtype=False)
