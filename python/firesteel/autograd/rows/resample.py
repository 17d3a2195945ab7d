"""Derivatives of copied borders, interpolation and sampling at the places of a grid, which is composed here too."""

from __future__ import annotations

from ... import _C

# ---- grids ------------------------------------------------------------------------------------------------------------


def places(grid, sizes, align_corners):
    """Where, in an image of these sizes, a grid's numbers lie: one tensor per dim, the outermost dim first."""
    found = []
    for dim, size in enumerate(sizes):
        place = grid[..., len(sizes) - 1 - dim]
        found.append((place + 1) / 2 * (size - 1) if align_corners else ((place + 1) * size - 1) / 2)
    return found


def inside(place, size, padding_mode, align_corners):
    """The place, moved into the image as the padding mode says."""
    if padding_mode == "zeros":
        return place
    if padding_mode == "reflection":
        low, span = (0.0, size - 1.0) if align_corners else (-0.5, float(size))
        if span == 0:
            return place * 0
        turned = (place - low).abs()
        flips = (turned.detach() / span).floor()
        rest = turned - flips * span
        place = _C.where(flips.remainder(2) == 0, rest + low, span - rest + low)
    return place.clamp(0, size - 1)


def values_at(input, at, sizes):
    """The values at whole places, 0 outside the image."""
    flat = valid = None
    for place, size in zip(at, sizes, strict=False):
        within = (place >= 0) & (place <= size - 1)
        valid = within if valid is None else valid & within
        whole = place.detach().masked_fill(within.logical_not(), 0).to(_C.int32)
        flat = whole if flat is None else flat * size + whole
    samples, channels = input.shape[:2]
    index = flat.to(_C.int64).reshape([samples, 1, -1]).expand(samples, channels, -1)
    values = input.flatten(2).gather(2, index).reshape([samples, channels, *flat.shape[1:]])
    return values.masked_fill(valid.unsqueeze(1).logical_not(), 0)


def grid_sample(input, grid, mode, padding_mode, align_corners):
    sizes = list(input.shape[2:])
    at = [
        inside(place, size, padding_mode, align_corners)
        for place, size in zip(places(grid, sizes, align_corners), sizes, strict=True)
    ]
    if mode == "nearest":
        at = [place.round() for place in at]
        # Rounding has no gradient; a zero keeps the grid's gradient a tensor of zeros, as in PyTorch.
        nothing = sum(place.nan_to_num(0.0).clamp(0, 0) for place in at)
        return values_at(input, at, sizes) + nothing.unsqueeze(1)
    low = [place.detach().floor() for place in at]
    output = None
    for corner in range(2 ** len(sizes)):
        corners, weight = [], None
        for dim in range(len(sizes)):
            up = corner >> dim & 1
            share = at[dim] - low[dim]
            share = share if up else 1 - share
            weight = share if weight is None else weight * share
            corners.append(low[dim] + up)
        part = values_at(input, corners, sizes) * weight.unsqueeze(1)
        output = part if output is None else output + part
    return output


def _grid_sample(n, g):
    return _C._grid_sample_backward(g, n.input, n.grid, n.mode, n.padding_mode, n.align_corners)


# ---- rows -------------------------------------------------------------------------------------------------------------

ROWS = {
    "_pad_edges": {"input": lambda n, g: _C._pad_edges_backward(g, n._size("input"), n.pad, n.mode)},
    "_pad_edges_backward": {"grad": lambda n, gg: _C._pad_edges(gg, n.pad, n.mode)},
    "_resize": {
        "input": lambda n, g: _C._resize_backward(g, n.dim, n._size("input")[n.dim], n.step, n.mode, n.align_corners),
    },
    "_resize_backward": {
        "grad": lambda n, gg: _C._resize(gg, n.dim, n._size("grad")[n.dim], n.step, n.mode, n.align_corners),
    },
    "_grid_sample": {"saves": "input grid", "all": _grid_sample, "composite": grid_sample},
    "_grid_sample_backward": {"nondiff": True},
}
