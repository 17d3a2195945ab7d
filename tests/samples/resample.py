"""Copied borders, interpolation along a dim and sampling at the places of a grid, by their definitions."""

from __future__ import annotations

from itertools import product as positions

import numpy as np

from .spec import F, Row, S

NUMPY_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(x, pads, mode):
    sides = [(0, 0)] * (x.ndim - len(pads) // 2) + [(pads[i], pads[i + 1]) for i in range(len(pads) - 2, -1, -2)]

    def cut(x):
        return x[tuple(slice(-min(a, 0), n + min(b, 0)) for (a, b), n in zip(sides, x.shape, strict=True))]

    # What a circle loses is gone before it is closed.
    x = cut(x) if mode == "circular" else x
    x = np.pad(x, [(max(a, 0), max(b, 0)) for a, b in sides], mode=NUMPY_MODES[mode])
    return x if mode == "circular" else cut(x)


def pad_backward(grad, size, pads, mode):
    out = np.zeros(size)
    np.add.at(out.reshape(-1), pad(np.arange(out.size).reshape(size), pads, mode), grad)
    return out


def keys(d):
    a = -0.75
    d = abs(d)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0


def weights(size, new, step, mode, align):
    w = np.zeros((new, size))
    for i in range(new):
        at = i * step if align else (i + 0.5) * step - 0.5
        if mode == "linear":
            at = min(max(at, 0.0), size - 1.0)
        low = int(np.floor(at))
        for tap in range(-1, 3):
            weight = keys(at - low - tap) if mode == "cubic" else max(0.0, 1 - abs(at - low - tap))
            w[i, min(max(low + tap, 0), size - 1)] += weight
    return w


def along(x, dim, w):
    return np.moveaxis(np.tensordot(w, x, (1, dim)), 0, dim)


def resize(x, dim, size, step, mode, align):
    return along(x, dim, weights(x.shape[dim], size, step, mode, align))


def resize_backward(grad, dim, size, step, mode, align):
    return along(grad, dim, weights(size, grad.shape[dim], step, mode, align).T)


def place(number, size, padding, align):
    """Where a number leads, and the slope of that."""
    at, slope = ((number + 1) / 2 * (size - 1), (size - 1) / 2) if align else (((number + 1) * size - 1) / 2, size / 2)
    if padding == "reflection":
        low, span = (0, size - 1) if align else (-0.5, size)
        if span == 0:
            return 0.0, 0.0
        far = abs(at - low)
        slope *= -1 if at < low else 1
        flips, rest = divmod(far, span)
        at, slope = (rest + low, slope) if flips % 2 == 0 else (span - rest + low, -slope)
    if padding != "zeros" and not 0 < at < size - 1:
        at, slope = min(max(at, 0.0), size - 1.0), 0.0
    return at, slope


def corners(numbers, sizes, mode, padding, align):
    """(place in the image, weight, gradient of the weight over the numbers), of what lies inside."""
    at, slope = zip(
        *(place(v, n, padding, align) for v, n in zip(numbers[::-1], sizes, strict=True)),
        strict=True,
    )
    if mode == "nearest":
        whole = tuple(int(np.rint(a)) for a in at)
        return [(whole, 1.0, np.zeros(len(at)))] if all(0 <= w < n for w, n in zip(whole, sizes, strict=True)) else []
    found = []
    for up in positions((0, 1), repeat=len(at)):
        low = [int(np.floor(a)) for a in at]
        where = tuple(a + u for a, u in zip(low, up, strict=True))
        if not all(0 <= w < n for w, n in zip(where, sizes, strict=True)):
            continue
        shares = [a - f if u else 1 - (a - f) for a, f, u in zip(at, low, up, strict=True)]
        rise = [
            (1 if u else -1) * s * np.prod(shares[:k] + shares[k + 1 :])
            for k, (u, s) in enumerate(zip(up, slope, strict=True))
        ]
        found.append((where, np.prod(shares), np.array(rise[::-1])))
    return found


def grid_sample(x, grid, mode, padding, align):
    out = np.zeros((*x.shape[:2], *grid.shape[1:-1]))
    for n, *p in np.ndindex(grid.shape[:-1]):
        for where, weight, _ in corners(grid[(n, *p)], x.shape[2:], mode, padding, align):
            out[(n, slice(None), *p)] += weight * x[(n, slice(None), *where)]
    return out


def grid_sample_backward(grad, x, grid, mode, padding, align):
    to_x, to_grid = np.zeros(x.shape), np.zeros(grid.shape)
    for n, *p in np.ndindex(grid.shape[:-1]):
        g = grad[(n, slice(None), *p)]
        for where, weight, rise in corners(grid[(n, *p)], x.shape[2:], mode, padding, align):
            to_x[(n, slice(None), *where)] += weight * g
            to_grid[(n, *p)] += rise * (g @ x[(n, slice(None), *where)])
    return to_x, to_grid


#: Padding of three dims at most, of which some take away.
PADS = [
    ((1, 1, 4), [1, 2], "reflect"),
    ((2, 3, 5, 6), [2, 3, 1, 4], "reflect"),
    ((2, 3, 5, 6), [2, 3, 1, 4], "replicate"),
    ((2, 3, 5, 6), [2, 3, 1, 4], "circular"),
    ((3, 5, 20), [3, 2, -1, 4], "reflect"),
    ((3, 5, 20), [-3, 2, 3, -2], "circular"),
    ((3, 5, 20), [-3, 4, 3, -2], "replicate"),
    ((1, 2, 3, 4, 5), [1, 0, 2, 2, 1, 2], "reflect"),
    ((2, 3, 4, 5), [5, -2, 0, 0, 2, 1], "circular"),
    ((0, 2, 3), [1, 1], "replicate"),
]


def padded_shape(shape, pads):
    shape = list(shape)
    for i in range(len(pads) // 2):
        shape[-1 - i] += pads[2 * i] + pads[2 * i + 1]
    return shape


RESIZES = [
    ((1, 4), 1, 8, 0.5, "linear", False),
    ((2, 3, 5), 2, 7, 5 / 7, "linear", False),
    ((2, 3, 5), -1, 7, 4 / 6, "linear", True),
    ((2, 5, 3), 1, 8, 5 / 8, "cubic", False),
    ((2, 9, 3), 1, 4, 9 / 4, "cubic", False),
    ((2, 3, 9), 2, 4, 8 / 3, "cubic", True),
    ((9, 2, 20), 0, 3, 3.0, "linear", False),
    ((2, 1, 3), 1, 4, 0.25, "linear", False),
    ((2, 0, 3), 2, 4, 0.75, "linear", False),
]

GRIDS = [
    ((1, 1, 2, 2), (1, 1, 2)),
    ((2, 3, 4, 5), (2, 3, 3)),
    ((1, 2, 1, 4), (1, 2, 3)),
    ((1, 2, 4, 1), (1, 2, 3)),
    ((1, 2, 3, 2, 4), (1, 2, 1, 3)),
    ((1, 0, 3, 3), (1, 2, 2)),
]
HOW = [
    ("bilinear", "zeros", False),
    ("bilinear", "border", True),
    ("bilinear", "reflection", False),
    ("nearest", "zeros", True),
    ("bilinear", "reflection", True),
    ("nearest", "border", False),
]


def numbers(*shape):
    return F(*shape, low=-1.45, high=1.45)


def grids():
    for i, (image, places) in enumerate(GRIDS):
        for how in HOW if i == 1 else (HOW[i % len(HOW)], HOW[0]):
            yield image, (*places, len(image) - 2), how


PADDED = S(F(2, 3, 50, 160), [4, 5, 3, 4], "reflect")
RESIZED = [
    S(F(20, 30, 70), 2, 140, 0.5, "linear", False),
    S(F(20, 70, 30), 1, 140, 0.5, "cubic", False),
]
SAMPLED = [S(F(2, 8, 30, 40), numbers(2, 50, 70, 2), *how) for how in HOW[:3]]
ROUNDED = {
    "tolerance": {"float32": (1e-5, 4e-5)},
    "why": "a place of about 4 is rounded at 5e-7; that share of the values around it, of up to 20 where added up, moves",
}

ROWS: dict[str, Row] = {
    "_pad_edges": Row(pad, [S(F(*shape), pads, mode) for shape, pads, mode in PADS], "bif", medium=[PADDED]),
    "_pad_edges_backward": Row(
        pad_backward,
        [S(F(*padded_shape(shape, pads)), list(shape), pads, mode) for shape, pads, mode in PADS],
        "f",
        medium=[S(F(2, 3, 57, 169), [2, 3, 50, 160], [4, 5, 3, 4], "reflect")],
    ),
    "_resize": Row(resize, [S(F(*shape), *rest) for shape, *rest in RESIZES], "f", medium=RESIZED),
    "_resize_backward": Row(
        resize_backward,
        [
            S(F(*(new if i == dim % len(shape) else n for i, n in enumerate(shape))), dim, shape[dim], *rest)
            for shape, dim, new, *rest in RESIZES
        ],
        "f",
        medium=RESIZED,
    ),
    "_grid_sample": Row(
        grid_sample, [S(F(*x), numbers(*g), *how) for x, g, how in grids()], "f", medium=SAMPLED, **ROUNDED
    ),
    "_grid_sample_backward": Row(
        grid_sample_backward,
        [S(F(*x[:2], *g[1:-1]), F(*x), numbers(*g), *how) for x, g, how in grids()],
        "f",
        medium=[S(F(2, 2, 50, 70), F(2, 2, 3, 4), *s.args[1:]) for s in SAMPLED],
        **ROUNDED,
    ),
}
