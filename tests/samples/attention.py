"""Attention and recurrent layers, by their definitions, one query and one step at a time."""

from __future__ import annotations

import numpy as np

from .matrix import SUMS, WHY
from .spec import B, F, Row, S, V
from .unary import quiet

ROWS: dict[str, Row] = {}
STATE = V([11, 3], "int64")


# ---- attention -------------------------------------------------------------------------------------------------------


def philox(seed, counter):
    """Four words of Philox 4x32-10 (Salmon et al., 2011)."""
    c = [counter & 0xFFFFFFFF, counter >> 32, 0, 0]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(q >> 32) ^ c[1] ^ key[0], q & 0xFFFFFFFF, (p >> 32) ^ c[3] ^ key[1], p & 0xFFFFFFFF]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def factors(state, size, p):
    seed, offset = (int(v) for v in state)
    out = np.zeros(size)
    rows = out.reshape(-1, size[-1]) if out.size else out.reshape(0, 1)
    per_row = -(-size[-1] // 4)
    for i, row in enumerate(rows):
        for j in range(len(row)):
            word = philox(seed, offset + i * per_row + j // 4)[j % 4]
            row[j] = 1 / (1 - p) if word >= int(p * 2**32) else 0  # p = 1 keeps none
    return out


def scores_of(q, k, mask, causal, scale):
    lead = np.broadcast_shapes(q.shape[:-2], k.shape[:-2])
    scores = np.broadcast_to(np.einsum("...le,...se->...ls", q, k) * scale, (*lead, q.shape[-2], k.shape[-2])).copy()
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    if causal:
        scores[..., ~np.tril(np.ones(scores.shape[-2:], bool))] = -np.inf
    return scores


def attention(q, k, v, mask=None, state=None, p=0.0, causal=False, scale=1.0):
    lead = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    scores = scores_of(np.broadcast_to(q, (*lead, *q.shape[-2:])), k, mask, causal, scale)
    top = scores.max(-1, keepdims=True, initial=-np.inf)
    e = np.where(scores == -np.inf, 0, np.exp(scores - np.where(np.isinf(top), 0, top)))
    total = e.sum(-1, keepdims=True)
    weights = np.divide(e, total, out=np.zeros_like(e), where=total > 0)
    if state is not None:
        weights = weights * factors(state, weights.shape, p)
    return weights @ v


def attention_backward(g, q, k, v, mask, state, p, causal, scale, result, lse):
    """Any result and logarithms of sums go through the formulas."""
    weights = np.exp(scores_of(q, k, mask, causal, scale) - lse[..., None])
    kept = 1.0 if state is None else factors(state, weights.shape, p)
    ds = weights * (np.einsum("...lv,...sv->...ls", g, v) * kept - (g * result).sum(-1, keepdims=True)) * scale
    turned = np.swapaxes(ds, -1, -2)
    return ds @ k, turned @ q, np.swapaxes(weights * kept, -1, -2) @ g


def attention_row(reference, samples, medium, dtypes="f"):
    return Row(quiet(reference), samples, dtypes, tolerance=SUMS, why=WHY, medium=medium, domain=(-1.5, 1.5))


def back(lead, queries, keys, e, v, mask=None, state=None, p=0.0, causal=False, scale=1.0):
    q, k, of_result = F(*lead, queries, e), F(*lead, keys, e), F(*lead, queries, v)
    return S(of_result, q, k, F(*lead, keys, v), mask, state, p, causal, scale, of_result, F(*lead, queries))


ROWS.update(
    _attention=attention_row(
        attention,
        [
            S(F(2, 2), F(3, 2), F(3, 2)),
            S(F(3, 2), F(3, 2), F(3, 1), None, None, 0.0, True, 0.5),
            S(F(2, 2), F(3, 2), F(3, 2), F(2, 3)),
            S(F(2, 2), F(3, 2), F(3, 2), F(3)),
            S(F(2, 3, 2), F(2, 4, 2), F(2, 4, 1), B(3, 4), None, 0.0, False, 0.7),
            S(F(3, 2), F(4, 2), F(4, 2), V([[True] * 4, [False] * 4, [True, False, True, False]], "bool")),
            S(F(2, 2), F(5, 2), F(5, 2), None, STATE, 0.4),
            S(F(1, 3, 1, 2), F(2, 1, 3, 2), F(3, 2), None, None, 0.0, False, -0.5),
            S(F(4, 2), F(2, 2), F(2, 2), None, None, 0.0, True),
            S(F(2, 0, 3), F(2, 2, 3), F(2, 2, 3)),
            S(F(2, 2, 3), F(2, 0, 3), F(2, 0, 3)),
            S(F(0, 2, 3), F(0, 2, 3), F(0, 2, 3)),
            S(F(2, 3), F(2, 3), F(2, 0)),
        ],
        [
            S(F(2, 3, 70, 33), F(2, 3, 300, 33), F(2, 3, 300, 17), F(70, 300), None, 0.0, False, 0.2),
            S(F(4, 130, 16), F(4, 130, 16), F(4, 130, 16), None, None, 0.0, True, 0.25),
            S(F(2, 40, 8), F(2, 50, 8), F(2, 50, 8), B(2, 40, 50), STATE, 0.2, False, 0.3),
        ],
    ),
    _attention_backward=attention_row(
        attention_backward,
        [
            back((), 2, 3, 2, 2),
            back((2,), 3, 3, 2, 1, causal=True, scale=0.5),
            back((2, 1), 2, 4, 3, 2, mask=F(2, 4)),
            back((), 3, 5, 2, 2, mask=B(3, 5), state=STATE, p=0.4, scale=-0.7),
            back((2,), 0, 2, 2, 2),
            back((2,), 2, 0, 2, 2),
            back((), 2, 4, 2, 2, causal=True),
        ],
        [
            back((2, 3), 70, 300, 33, 17, mask=F(70, 300), scale=0.2),
            back((), 130, 1100, 16, 16, scale=0.25),
            back((4,), 130, 130, 16, 16, causal=True, scale=0.25),
            back((2,), 40, 50, 8, 8, state=STATE, p=0.2, scale=0.3),
        ],
        "F",
    ),
    _attention_factors=Row(
        factors,
        [
            S(STATE, [2, 3], 0.3),
            S(STATE, [7], 0.5),
            S(STATE, [2, 2, 9], 0.0),
            S(STATE, [0, 3], 0.5),
            S(STATE, [3], 1.0),
        ],
        "1",
        "float32",
        medium=[S(STATE, [30, 301], 0.3)],
    ),
)


def check_state(outs, _args):
    """Seed and offset; the op before took none."""
    assert outs[0].shape == (2,)


ROWS["_attention_state"] = Row(None, [S(2, 3), S(0, 5), S(3, 8)], "1", "reference", check=check_state)


# ---- recurrent layers ------------------------------------------------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def in_order(steps, reverse):
    return reversed(range(steps)) if reverse else range(steps)


def lstm(gates, h, c, weight, reverse=False, weight_ih=None, bias=None):
    if weight_ih is not None:
        gates = gates @ weight_ih.T + (0 if bias is None else bias)
    out = np.zeros((*gates.shape[:2], c.shape[1]))
    for t in in_order(len(gates), reverse):
        i, f, g, o = np.split(gates[t] + h @ weight.T, 4, 1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        out[t] = h = sigmoid(o) * np.tanh(c)
    return out, c


def lstm_backward(grad, grad_cell, h, c, weight, cells, acts, reverse=False):
    """Any cells and activations go through the formulas."""
    gates = np.zeros(acts.shape)
    dh, dc = np.zeros(c.shape), np.zeros(c.shape) if grad_cell is None else grad_cell
    steps = list(in_order(len(acts), reverse))
    for at in reversed(range(len(steps))):
        t = steps[at]
        before = cells[steps[at - 1]] if at else c
        i, f, g, o = np.split(acts[t], 4, 1)
        dh = dh if grad is None else dh + grad[t]
        tanh = np.tanh(cells[t])
        dc = dc + dh * o * (1 - tanh**2)
        parts = dc * g * i * (1 - i), dc * before * f * (1 - f), dc * i * (1 - g**2), dh * tanh * o * (1 - o)
        gates[t] = np.concatenate(parts, 1)
        dc, dh = dc * f, gates[t] @ weight
    return gates, dh, dc


def gru(gates, h, weight, bias=None, reverse=False):
    out = np.zeros((*gates.shape[:2], h.shape[1]))
    for t in in_order(len(gates), reverse):
        r, z, n = np.split(gates[t], 3, 1)
        hr, hz, hn = np.split(h @ weight.T + (0 if bias is None else bias), 3, 1)
        new = np.tanh(n + sigmoid(r + hr) * hn)
        out[t] = h = new + sigmoid(z + hz) * (h - new)
    return out


def gru_backward(grad, h, weight, out, acts, reverse=False):
    size = h.shape[1]
    gates, mapped = (np.zeros((*acts.shape[:2], 3 * size)) for _ in range(2))
    dh = np.zeros(h.shape)
    steps = list(in_order(len(acts), reverse))
    for at in reversed(range(len(steps))):
        t = steps[at]
        before = out[steps[at - 1]] if at else h
        r, z, n, hn = np.split(acts[t], 4, 1)
        dh = dh + grad[t]
        dn = dh * (1 - z) * (1 - n**2)
        dz, dr = dh * (before - n) * z * (1 - z), dn * hn * r * (1 - r)
        gates[t], mapped[t] = np.concatenate((dr, dz, dn), 1), np.concatenate((dr, dz, dn * r), 1)
        dh = dh * z + mapped[t] @ weight
    return gates, mapped, dh


def layer(t, n, h, gates, *rest):
    """Gates, the first state, and the weight: as many gates as said."""
    return S(F(t, n, gates * h), F(n, h), *([F(n, h)] if gates == 4 else []), F(gates * h, h), *rest)


def mapped(t, n, i, h, reverse=False, bias=True):
    """The layer's input with its weight, instead of the gates."""
    more = F(4 * h, i), F(4 * h) if bias else None
    return S(F(t, n, i), F(n, h), F(n, h), F(4 * h, h), reverse, *more)


def lstm_back(t, n, h, grad=True, cell=True, reverse=False):
    one, every = F(n, h), F(t, n, h)
    return S(every if grad else None, one if cell else None, one, one, F(4 * h, h), every, F(t, n, 4 * h), reverse)


def gru_back(t, n, h, reverse=False):
    return S(F(t, n, h), F(n, h), F(3 * h, h), F(t, n, h), F(t, n, 4 * h), reverse)


def rnn_row(reference, samples, medium, dtypes="f"):
    return Row(reference, samples, dtypes, tolerance=SUMS, why=WHY, medium=medium, domain=(-1.0, 1.0))


ROWS.update(
    _lstm=rnn_row(
        lstm,
        [
            layer(2, 1, 1, 4),
            layer(2, 2, 1, 4, True),
            layer(3, 1, 2, 4),
            S(F(1, 2, 8), F(2, 1), F(2, 2), F(8, 1)),
            layer(2, 3, 9, 4),
            layer(0, 2, 3, 4),
            layer(2, 0, 3, 4),
            layer(2, 2, 0, 4),
            mapped(2, 2, 3, 2),
            mapped(3, 1, 1, 2, True, bias=False),
            mapped(2, 3, 0, 2),
            mapped(0, 2, 3, 2),
            mapped(2, 0, 2, 3),
        ],
        [layer(7, 37, 65, 4), layer(5, 40, 64, 4, True), mapped(9, 17, 40, 65, True), mapped(7, 3, 33, 64, bias=False)],
    ),
    _lstm_backward=rnn_row(
        lstm_backward,
        [
            lstm_back(2, 1, 2),
            lstm_back(2, 2, 3, cell=False),
            lstm_back(3, 1, 2, grad=False, reverse=True),
            lstm_back(2, 3, 9),
            lstm_back(0, 2, 2),
            lstm_back(2, 0, 2),
        ],
        [lstm_back(7, 37, 65), lstm_back(5, 40, 64, reverse=True)],
        "F",
    ),
    _gru=rnn_row(
        gru,
        [
            layer(2, 1, 1, 3),
            layer(2, 2, 1, 3, F(3)),
            layer(3, 1, 2, 3, F(6), True),
            layer(2, 3, 9, 3, F(27)),
            layer(0, 2, 3, 3),
            layer(2, 0, 3, 3),
        ],
        [layer(7, 37, 65, 3, F(195)), layer(5, 40, 64, 3, None, True)],
    ),
    _gru_backward=rnn_row(
        gru_backward,
        [gru_back(2, 1, 2), gru_back(2, 2, 3, True), gru_back(2, 3, 9), gru_back(0, 2, 2), gru_back(2, 0, 2)],
        [gru_back(7, 37, 65), gru_back(5, 40, 64, True)],
        "F",
    ),
)
