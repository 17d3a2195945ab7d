"""Attention and the recurrent layers as programs use them: masks, shared heads, dropout, packed sequences, compiled steps."""

import math

import firesteel as fs
import numpy as np
import pytest
from firesteel import nn
from firesteel.nn.functional import scaled_dot_product_attention as attention


def inputs(*sizes, dtype=fs.float64, seed=0):
    fs.manual_seed(seed)
    return [fs.randn(*size, dtype=dtype).requires_grad_() for size in sizes]


def gradients(out, tensors):
    weights = fs.arange(out.numel(), dtype=out.dtype).reshape(out.shape).sin()
    return fs.autograd.grad((out * weights).sum(), tensors)


def close(a, b, tolerance=1e-12):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), tolerance, tolerance)


# ---- attention -------------------------------------------------------------------------------------------------------


def test_values_of_a_small_case():
    """One query over two keys: weights e / (1 + e) and 1 / (1 + e)."""
    q, k, v = fs.tensor([[1.0]]), fs.tensor([[1.0], [0.0]]), fs.tensor([[1.0], [0.0]])
    assert abs(attention(q, k, v).item() - math.e / (1 + math.e)) < 1e-6
    assert abs(attention(q, k, v, scale=0.0).item() - 0.5) < 1e-6


def test_causal_is_the_lower_triangle():
    """Also where there are more queries than keys, and fewer."""
    for length, sources in ((5, 5), (7, 3), (3, 7), (40, 200), (200, 40)):
        q, k, v = inputs((2, length, 4), (2, sources, 4), (2, sources, 3))
        triangle = fs.ones(length, sources, dtype=fs.bool).tril()
        a, b = attention(q, k, v, is_causal=True), attention(q, k, v, triangle)
        close(a, b)
        for x, y in zip(gradients(a, (q, k, v)), gradients(b, (q, k, v)), strict=True):
            close(x, y)


@pytest.mark.parametrize("dtype", [fs.float32, fs.float64])
def test_few_queries_are_as_the_same_among_many(dtype):
    """One to sixteen queries have a forward pass of their own: with every kind of mask, broadcast and strided inputs."""
    many, keys = 40, 150
    q, k, v = inputs((2, 3, many, 24), (2, 1, keys, 24), (2, 1, 20, keys), dtype=dtype)
    k, v = k.expand(2, 3, keys, 24), v.mT.expand(2, 3, keys, 20)
    mask = fs.randn(2, 1, many, keys, dtype=dtype)
    mask = mask.masked_fill(mask < -1, -math.inf)
    mask[:, :, 3] = -math.inf
    turned = mask.mT.contiguous().mT
    tolerance = 1e-12 if dtype == fs.float64 else 1e-5
    for n in (1, 2, 7, 16):
        for options in ({}, {"is_causal": True}, {"attn_mask": mask}, {"attn_mask": turned}, {"scale": 3.0}):
            part = {key: x[:, :, :n] if key == "attn_mask" else x for key, x in options.items()}
            few, whole = attention(q[:, :, :n], k, v, **part), attention(q, k, v, **options)[:, :, :n]
            close(few, whole, tolerance)
            assert not few.isnan().any()
            for x, y in zip(gradients(few, (q, k, v)), gradients(whole, (q, k, v)), strict=True):
                close(x, y, 20 * tolerance)


def test_a_query_that_sees_no_key_gives_zeros():
    """As PyTorch since 2.5, for masks of both kinds; nothing else is touched by it, gradients included."""
    q, k, v = inputs((4, 8), (5, 8), (5, 8))
    seen = fs.ones(4, 5, dtype=fs.bool)
    seen[1] = False
    added = fs.zeros(4, 5, dtype=fs.float64).masked_fill(~seen, -math.inf)
    plain = attention(q, k, v)
    for mask in (seen, added):
        out = attention(q, k, v, mask)
        assert not out[1].any()
        close(out[0], plain[0])
        grads = gradients(out, (q, k, v))
        assert not any(g.isnan().any() for g in grads) and not grads[0][1].any() and grads[0][0].any()


def test_the_mask_has_a_gradient():
    q, k, v = inputs((2, 3, 4), (2, 5, 4), (2, 5, 4))
    mask = fs.zeros(3, 5, dtype=fs.float64, requires_grad=True)
    assert fs.autograd.gradcheck(lambda m: attention(q.detach(), k.detach(), v.detach(), m), (mask,))
    assert fs.autograd.gradcheck(lambda q, m: attention(q, k.detach(), v.detach(), m), (q, mask))


def test_shared_heads():
    q, k, v = inputs((2, 6, 3, 4), (2, 2, 5, 4), (2, 2, 5, 4))
    a = attention(q, k, v, enable_gqa=True)
    b = attention(q, k.repeat_interleave(3, 1), v.repeat_interleave(3, 1))
    close(a, b)
    for x, y in zip(gradients(a, (q, k, v)), gradients(b, (q, k, v)), strict=True):
        close(x, y)
    with pytest.raises(RuntimeError, match="6 heads of the query cannot share 4 heads of the key"):
        attention(q, k.repeat(1, 2, 1, 1), v.repeat(1, 2, 1, 1), enable_gqa=True)


def test_dropout_leaves_out_its_share_and_repeats_with_the_seed():
    q = k = fs.zeros(64, 200, 4)
    v = fs.ones(64, 200, 1)

    def drawn(p):
        fs.manual_seed(7)
        return attention(q, k, v, dropout_p=p)

    assert fs.equal(drawn(0.25), drawn(0.25)) and not fs.equal(drawn(0.25), attention(q, k, v, dropout_p=0.25))
    assert abs(drawn(0.25).mean().item() - 1) < 5e-3
    assert not drawn(1.0).any() and fs.equal(drawn(0.0), attention(q, k, v))
    # The weights left out are a fresh draw in each row: the variance of a mean of 200 of them.
    assert abs(drawn(0.25).var().item() / (0.25 / 0.75 / 200) - 1) < 0.1


def test_gradients_go_through_the_same_weights_that_dropout_left():
    q, k, v = inputs((2, 3, 4), (2, 5, 4), (2, 5, 4))

    def fixed(*args):
        fs.manual_seed(3)
        return attention(*args, dropout_p=0.4)

    assert fs.autograd.gradcheck(fixed, (q, k, v)) and fs.autograd.gradgradcheck(fixed, (q, k, v))


def test_heads_that_lay_side_by_side_do_so_in_the_result():
    x = fs.randn(2, 5, 12)
    q = x.view(2, 5, 3, 4).transpose(1, 2)
    out = attention(q, q, q)
    assert out.shape == (2, 3, 5, 4) and out.transpose(1, 2).is_contiguous()
    half = attention(*(t.to(fs.float16) for t in (q, q, q)))
    assert half.dtype == fs.float16 and fs.allclose(half.float(), out, atol=5e-3)


@pytest.mark.parametrize(
    "sizes,options,message",
    [
        (((3,), (2, 3), (2, 3)), {}, "at least 2 dimensional"),
        (((2, 3), (2, 4), (2, 3)), {}, "do not fit together"),
        (((2, 3), (4, 3), (5, 3)), {}, "do not fit together"),
        (
            ((2, 3), (4, 3), (4, 3)),
            {"attn_mask": fs.zeros(2, 4, dtype=fs.int64)},
            "attn_mask dtype to be bool or float",
        ),
        (((2, 3), (4, 3), (4, 3)), {"attn_mask": fs.zeros(2, 3)}, "attn_mask of shape"),
        (
            ((2, 3), (4, 3), (4, 3)),
            {"attn_mask": fs.zeros(2, 4), "is_causal": True},
            "should not be set when is_causal",
        ),
        (((2, 3), (4, 3), (4, 3)), {"dropout_p": 1.5}, "dropout probability has to be between 0 and 1"),
    ],
)
def test_refused(sizes, options, message):
    with pytest.raises((RuntimeError, IndexError), match=message):
        attention(*(fs.zeros(*size) for size in sizes), **options)


def test_multihead_with_and_without_weights():
    """Without the weights the fused op runs, with them the matrix of scores is made."""
    layer = nn.MultiheadAttention(12, 3, batch_first=True, dtype=fs.float64)
    (x,) = inputs((2, 5, 12))
    padding = fs.tensor([[False] * 5, [False] * 3 + [True] * 2])
    for options in ({}, {"key_padding_mask": padding}, {"attn_mask": ~fs.ones(5, 5, dtype=fs.bool).tril()}):
        (a, weights), (b, none) = (layer(x, x, x, need_weights=w, **options) for w in (True, False))
        assert none is None and weights.shape == (2, 5, 5)
        close(a, b)
        leaves = [x, *layer.parameters()]
        for p, q in zip(gradients(a, leaves), gradients(b, leaves), strict=True):
            close(p, q)


# ---- recurrent layers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_layer_is_its_cell_step_by_step(kind):
    layer, cell = getattr(nn, kind)(3, 5, dtype=fs.float64), getattr(nn, kind + "Cell")(3, 5, dtype=fs.float64)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    (x,) = inputs((4, 2, 3))
    state, outputs = None, []
    for step in x:
        state = cell(step, state)
        outputs.append(state[0] if kind == "LSTM" else state)
    out, last = layer(x)
    close(out, fs.stack(outputs))
    for a, b in zip(last if kind == "LSTM" else [last], state if kind == "LSTM" else [state], strict=True):
        close(a[0], b)
    close(*(gradients(y, (x,))[0] for y in (out, fs.stack(outputs))))


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}, {"bias": False}])
def test_packed_sequences_are_their_members_alone(kind, options):
    layer = getattr(nn, kind)(3, 4, dtype=fs.float64, **options)
    sequences = [fs.randn(n, 3, dtype=fs.float64) for n in (2, 5, 5, 1)]
    out, last = layer(nn.utils.rnn.pack_sequence(sequences, enforce_sorted=False))
    padded, _ = nn.utils.rnn.pad_packed_sequence(out)
    for i, x in enumerate(sequences):
        alone, state = layer(x)
        close(padded[: len(x), i], alone)
        for a, b in zip(*((s if kind == "LSTM" else (s,)) for s in (last, state)), strict=True):
            close(a[:, i], b)


def test_projected_lstm_and_an_empty_sequence():
    layer = nn.LSTM(3, 5, proj_size=2, dtype=fs.float64)
    out, (h, c) = layer(fs.randn(4, 2, 3, dtype=fs.float64))
    assert out.shape == (4, 2, 2) and h.shape == (1, 2, 2) and c.shape == (1, 2, 5)
    close(out[-1], h[0])
    with pytest.raises(RuntimeError, match="sequence length to be larger than 0"):
        layer(fs.zeros(0, 2, 3, dtype=fs.float64))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "attention"])
def test_a_compiled_step_has_eager_bits(kind):
    def made():
        fs.manual_seed(0)
        if kind == "attention":
            layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        else:
            layer = getattr(nn, kind)(8, 8, batch_first=True)
        optimizer = fs.optim.SGD(layer.parameters(), lr=0.1)

        def step(x):
            optimizer.zero_grad()
            out = layer(x)
            loss = (out if kind == "attention" else out[0]).square().mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    eager, compiled = made(), fs.compile(made())
    xs = [fs.randn(3, 6, 8) for _ in range(5)]
    fs.manual_seed(1)
    want = [eager(x).item() for x in xs]
    fs.manual_seed(1)
    assert [compiled(x).item() for x in xs] == want
