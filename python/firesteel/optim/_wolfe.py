"""The line search of L-BFGS: a step that fulfils the strong Wolfe conditions."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class _Point:
    """A place along the line: distance, loss, gradient there, and the loss's slope along the line."""

    __slots__ = ("grad", "loss", "slope", "t")

    def __init__(self, t: float, loss: float, grad: Any, slope: float) -> None:
        self.t, self.loss, self.grad, self.slope = t, loss, grad, slope


def _cubic_minimum(a: _Point, b: _Point, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic through both points with their slopes is least, kept within bounds (Nocedal, Wright, 3.59)."""
    low, high = bounds or (min(a.t, b.t), max(a.t, b.t))
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if square < 0:
        return (low + high) / 2.0
    d2 = square**0.5
    if a.t > b.t:
        a, b = b, a
    denominator = b.slope - a.slope + 2 * d2
    if denominator == 0:
        return (low + high) / 2.0
    least = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / denominator)
    return min(max(least, low), high)


def strong_wolfe(
    evaluate: Callable[[float], tuple[float, Any]],
    t: float,
    direction: Any,
    loss: float,
    grad: Any,
    slope: float,
    *,
    max_calls: int,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance_change: float = 1e-9,
) -> tuple[float, Any, float, int]:
    """Finds a distance that lowers the loss enough and flattens the slope enough (Nocedal and Wright, 3.5 and 3.6).

    Args:
        evaluate: loss and flat gradient at a distance along the line.
        t: the first distance to try.
        direction: the flat direction of the line.
        loss, grad, slope: at distance zero.
        max_calls: how many distances may be tried after the first.
        c1, c2: the constants of the two conditions.
        tolerance_change: the bracket's least width.

    Returns:
        loss and gradient at the distance found, the distance, and how often `evaluate` was called.
    """
    extent = direction.abs().max().item()
    start = _Point(0.0, loss, grad.clone(), slope)

    def at(distance: float) -> _Point:
        value, gradient = evaluate(distance)
        return _Point(distance, value, gradient.clone(), gradient.dot(direction).item())

    # Bracketing: walk outwards until the minimum must lie between the last two points.
    last, point, calls, tries, done = start, at(t), 1, 0, False
    bracket: list[_Point] = []
    while tries < max_calls:
        if point.loss > start.loss + c1 * point.t * start.slope or (tries > 1 and point.loss >= last.loss):
            bracket = [last, point]
            break
        if abs(point.slope) <= -c2 * start.slope:
            bracket, done = [point], True
            break
        if point.slope >= 0:
            bracket = [last, point]
            break
        nearest, farthest = point.t + 0.01 * (point.t - last.t), point.t * 10
        last, point = point, at(_cubic_minimum(last, point, (nearest, farthest)))
        calls += 1
        tries += 1
    if not bracket:
        bracket = [start, point]

    # Zooming: shrink the bracket by cubic interpolation; two steps that fail to move away from an end are refused.
    stuck = False
    bracket.sort(key=lambda p: p.loss)
    while not done and tries < max_calls:
        best, other = bracket
        low, high = min(best.t, other.t), max(best.t, other.t)
        if (high - low) * extent < tolerance_change:
            break
        t = _cubic_minimum(best, other)
        margin = 0.1 * (high - low)
        if min(high - t, t - low) < margin:
            if stuck or t >= high or t <= low:
                t = high - margin if abs(t - high) < abs(t - low) else low + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        point = at(t)
        calls += 1
        tries += 1
        if point.loss > start.loss + c1 * t * start.slope or point.loss >= best.loss:
            bracket = [best, point] if best.loss <= point.loss else [point, best]
            continue
        if abs(point.slope) <= -c2 * start.slope:
            done = True
        elif point.slope * (other.t - best.t) >= 0:
            other = best
        bracket = [point, other]
    best = bracket[0]
    return best.loss, best.grad, best.t, calls
