"""Derivatives of losses, with the composites of the fused ones."""

from __future__ import annotations

from ... import _C

where = _C.where

#: Kinds of `_pair_loss`.
SQUARE, ABSOLUTE, SMOOTH_ABSOLUTE, HUBER, BINARY, BINARY_LOGITS, DIVERGENCE, DIVERGENCE_LOGS = range(8)


def reduced(loss, reduction):
    """Each (0), their mean (1) or their sum (2)."""
    if reduction == 1:
        return loss.mean()
    return loss.sum() if reduction == 2 else loss


# ---- classes ----------------------------------------------------------------------------------------------------------


def _nll(n, g):
    weight = n.weight if n._has("weight") else None
    return _C._nll_loss_backward(g, n.target, weight, n.total_weight, n.reduction, n.ignore_index, n._size("input"))


def _nll2(n, gg):
    weight = n.weight if n._has("weight") else None
    return _C.nll_loss_nd(gg, n.target, weight, n.reduction, n.ignore_index)


def _along(weight, input, axis):
    return weight.view([-1 if at == axis else 1 for at in range(input.ndim)])


def cross_entropy(input, target, weight, reduction, ignore_index, label_smoothing):
    """By way of the logarithms of all probabilities."""
    axis = 0 if input.ndim == 1 else 1
    log = _C.log_softmax(input, axis)
    if target.is_floating_point() and target.shape == input.shape:
        return _of_probabilities(log, target, weight, reduction, label_smoothing, axis)
    loss = _C.nll_loss_nd(log, target, weight, reduction, ignore_index)
    if label_smoothing == 0:
        return loss
    # The part that asks for all classes alike.
    ignored = (target == ignore_index).reshape(log.sum(axis).shape)
    terms = -log if weight is None else -log * _along(weight, log, axis)
    spread = terms.sum(axis).masked_fill(ignored, 0.0)
    if reduction == 1:
        if weight is None:
            counted = ignored.logical_not().sum()
        else:
            counts = weight.gather(0, target.reshape(ignored.shape).masked_fill(ignored, 0).flatten())
            counted = counts.masked_fill(ignored.flatten(), 0.0).sum()
        spread = spread.sum() / counted
    elif reduction == 2:
        spread = spread.sum()
    return loss * (1 - label_smoothing) + spread * (label_smoothing / input.shape[axis])


def _of_probabilities(log, target, weight, reduction, label_smoothing, axis):
    if label_smoothing > 0.0:
        target = target * (1 - label_smoothing) + label_smoothing / log.shape[axis]
    terms = -log * target
    if weight is not None:
        terms = terms * _along(weight, log, axis)
    losses = terms.sum(axis)
    return losses.sum() / losses.numel() if reduction == 1 else reduced(losses, reduction)


def _cross_entropy(n, g):
    if n._needs("target") or n._needs("weight"):
        from . import rerun

        grads = rerun(n, cross_entropy, g)
        return (*grads, *[None] * (3 - len(grads)))
    weight = n.weight if n._has("weight") else None
    options = (n.reduction, n.ignore_index, n.label_smoothing)
    return _C._cross_entropy_backward(g, n.input, n.target, weight, n.divisor, n.top, n.sum, *options), None, None


# ---- pairs ------------------------------------------------------------------------------------------------------------


def _log(input):
    """The logarithm, -100 for 0 and with gradient 0 there, so that the loss of a certain error is finite."""
    zero = input == 0
    return input.masked_fill(zero, 1).log().clamp(min=-100).masked_fill(zero, -100)


def pair(input, target, kind, value):
    """The losses of pairs, before their reduction."""
    if kind == SQUARE:
        return (input - target).square()
    if kind in (ABSOLUTE, SMOOTH_ABSOLUTE, HUBER):
        distance = (input - target).abs()
        if kind == ABSOLUTE or value == 0:
            return distance
        if kind == SMOOTH_ABSOLUTE:
            return where(distance < value, distance.square() * (0.5 / value), distance - 0.5 * value)
        return where(distance <= value, distance.square() * 0.5, (distance - 0.5 * value) * value)
    if kind == BINARY:
        return (target - 1) * _log(1 - input) - target * _log(input)
    if kind == BINARY_LOGITS:
        return (1 - target) * input - _C.logsigmoid(input)
    if kind == DIVERGENCE:
        # 0 log 0 is 0 here.
        return target * target.masked_fill(target == 0, 1).log() - target * input
    return target.exp() * (target - input)


def pair_loss(input, target, kind, reduction, value):
    return reduced(pair(input, target, kind, value), reduction)


def _pair_target(n, g, gx):
    """The gradient of the target, from that of the input where they differ in sign only."""
    x, t, kind = n.input, n.target, n.kind
    if kind <= HUBER:
        return -(gx if gx is not None else _pair_input(n, g))
    if n.reduction == 1:
        g = g / x.numel()
    if kind == BINARY:
        return g * (_log(1 - x) - _log(x))
    if kind == BINARY_LOGITS:
        return -g * x
    if kind == DIVERGENCE:
        return g * (t.log() + 1 - x)
    return g * (t.exp() * (t - x + 1))


def _pair_input(n, g):
    return _C._pair_loss_backward(g, n.input, n.target, n.kind, n.reduction, n.value)


def _pair_loss(n, g):
    gx = _pair_input(n, g) if n._needs("input") else None
    return gx, _pair_target(n, g, gx) if n._needs("target") else None


ROWS = {
    "nll_loss_nd": {"saves": "target weight total_weight", "input": _nll},
    "_nll_loss_backward": {"saves": "target weight", "grad": _nll2},
    "_cross_entropy": {
        "saves": "input target weight divisor top sum",
        "all": _cross_entropy,
        "composite": cross_entropy,
    },
    "_cross_entropy_backward": {"nondiff": True},
    "_pair_loss": {"saves": "input target", "all": _pair_loss, "composite": pair_loss},
    "_pair_loss_backward": {"nondiff": True},
}
