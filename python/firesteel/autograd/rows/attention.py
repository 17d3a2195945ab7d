"""Derivatives of attention, with its composite."""

from __future__ import annotations

import math

from ... import _C


def attention(query, key, value, attn_mask, state, dropout_p, is_causal, scale):
    """With the matrix of scores."""
    scores = _C.matmul(query * scale, key.transpose(-2, -1))
    if is_causal:
        seen = _C._full(list(scores.shape[-2:]), True, dtype=_C.bool, device=query.device).tril()
        scores = scores.masked_fill(seen.logical_not(), -math.inf)
    if attn_mask is not None:
        if attn_mask.dtype == _C.bool:
            scores = scores.masked_fill(attn_mask.logical_not(), -math.inf)
        else:
            scores = scores + attn_mask
    # A query that may see no key has weights 0, not NaN.
    blind = (scores == -math.inf).all(-1, True)
    weights = _C.softmax(scores.masked_fill(blind, 0), -1).masked_fill(blind, 0)
    if state is not None:
        weights = weights * _C._attention_factors(state, list(weights.shape), dropout_p, dtype=weights.dtype)
    return _C.matmul(weights, value)


def _attention(n, g):
    mask = n.attn_mask if n._has("attn_mask") else None
    state = n.state if n._has("state") else None
    if mask is not None and n._needs("attn_mask"):
        # The kernel has no gradient of the mask, which is as large as the scores.
        from . import rerun

        return (*rerun(n, attention, g)[:4], None)
    grads = _C._attention_backward(
        g, n.query, n.key, n.value, mask, state, n.dropout_p, n.is_causal, n.scale, n.result, n.logsumexp
    )
    return (*grads, None, None)


ROWS = {
    "_attention": {
        "saves": "query key value attn_mask state result logsumexp",
        "all": _attention,
        "composite": attention,
    },
    "_attention_backward": {"nondiff": True},
    "_attention_state": {"nondiff": True},
    "_attention_factors": {"nondiff": True},
}
