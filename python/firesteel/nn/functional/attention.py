"""Attention: a weighted mean of values, the weights from how well keys fit queries."""

from __future__ import annotations

import math
import warnings

from firesteel import _C, ops

from .dropout import dropout
from .padding import pad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Tensor = _C.Tensor

__all__ = ["multi_head_attention_forward", "scaled_dot_product_attention"]


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """`softmax(query key^T scale + mask) value` (Vaswani et al., arXiv 1706.03762).

    Args:
        query: (..., L, E).
        key: (..., S, E).
        value: (..., S, Ev).
        attn_mask: of a shape that broadcasts to (..., L, S): booleans (True takes part) or numbers that are added.
        dropout_p: share of the weights left out; it applies whenever it is above 0.
        is_causal: each query sees only keys up to its own place.
        scale: by default `1 / sqrt(E)`.
        enable_gqa: whether several heads of the query share one of the keys.

    Returns:
        (..., L, Ev).

    Raises:
        RuntimeError: if both a mask and `is_causal` are given.
    """
    if is_causal and attn_mask is not None:
        raise RuntimeError("_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if enable_gqa:
        key, value = _shared_heads(query, key, "key"), _shared_heads(query, value, "value")
    if scale is None:
        scale = 1.0 / math.sqrt(query.size(-1)) if query.size(-1) > 0 else 1.0
    state = None
    if dropout_p > 0.0:
        lead = ops.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
        state = _C._attention_state(math.prod(lead) * query.size(-2), key.size(-2))
    return _C._attention(query, key, value, attn_mask, state, dropout_p, is_causal, scale)


def _shared_heads(query: Tensor, x: Tensor, name: str) -> Tensor:
    """Heads of keys or values, each as often as queries share it.

    Raises:
        RuntimeError: if their number is no divisor of the number of the query's heads.
    """
    heads, own = query.size(-3), x.size(-3)
    if own == 0 or heads % own:
        raise RuntimeError(f"enable_gqa: {heads} heads of the query cannot share {own} heads of the {name}")
    if heads == own:
        return x
    lead, (rows, size) = x.shape[:-3], x.shape[-2:]
    return x.unsqueeze(-3).expand([*lead, own, heads // own, rows, size]).reshape([*lead, heads, rows, size])


def _check_shapes(
    query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None, mask: Tensor | None, num_heads: int
) -> bool:
    """Whether the inputs are batched.

    Raises:
        AssertionError: as PyTorch does, if their numbers of dimensions do not fit together.
    """
    if query.dim() not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {query.dim()}-D query tensor"
        )
    batched = query.dim() == 3
    kind = "batched (3-D)" if batched else "unbatched (2-D)"
    dims = query.dim()
    if key.dim() != dims or value.dim() != dims:
        raise AssertionError(
            f"For {kind} `query`, expected `key` and `value` to be {dims}-D"
            f" but found {key.dim()}-D and {value.dim()}-D tensors respectively"
        )
    if padding is not None and padding.dim() != dims - 1:
        raise AssertionError(
            f"For {kind} `query`, expected `key_padding_mask` to be `None` or {dims - 1}-D"
            f" but found {padding.dim()}-D tensor instead"
        )
    if mask is not None and mask.dim() not in (2, 3):
        raise AssertionError(
            f"For {kind} `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found {mask.dim()}-D tensor instead"
        )
    if not batched and mask is not None and mask.dim() == 3:
        expected = (num_heads, query.shape[0], key.shape[0])
        if mask.shape != expected:
            raise AssertionError(f"Expected `attn_mask` shape to be {expected} but got {mask.shape}")
    return batched


def canonical_mask(
    mask: Tensor | None, name: str, other_type: Any, other_name: str, target_type: Any, check_other: bool = True
) -> Tensor | None:
    """A mask as numbers to add: True becomes minus infinity.

    Raises:
        AssertionError: if it holds neither booleans nor floating point numbers.
    """
    if mask is None:
        return None
    floating = mask.is_floating_point()
    if mask.dtype != _C.bool and not floating:
        raise AssertionError(f"only bool and floating types of {name} are supported")
    if check_other and other_type is not None and mask.dtype != other_type:
        warnings.warn(
            f"Support for mismatched {name} and {other_name} is deprecated. Use same type for both instead.",
            stacklevel=3,
        )
    if floating:
        return mask
    return ops.zeros(mask.shape, dtype=target_type, device=mask.device).masked_fill(mask, -math.inf)


def _project(
    query: Tensor, key: Tensor, value: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The three linear maps whose weights lie below each other in one (3 E, E)."""
    size = query.size(-1)
    if query is key and key is value:
        q, k, v = _C.linear(query, weight, bias).split(size, -1)
        return q, k, v
    weights = weight.split(size)
    biases = (None, None, None) if bias is None else bias.split(size)
    q, k, v = (_C.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=False))
    return q, k, v


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """What `nn.MultiheadAttention` computes.

    Args:
        query: (L, N, E) or (L, E).
        key: (S, N, Ek) or (S, Ek).
        value: (S, N, Ev) or (S, Ev).
        embed_dim_to_check: E.
        num_heads: number of heads, a divisor of E.
        in_proj_weight: (3 E, E), the three input maps below each other.
        in_proj_bias: (3 E,).
        bias_k: (1, 1, E), a further key.
        bias_v: (1, 1, E), a further value.
        add_zero_attn: add a key and a value of zeros.
        dropout_p: share of the weights left out in training.
        out_proj_weight: (E, E).
        out_proj_bias: (E,).
        training: whether dropout applies.
        key_padding_mask: (N, S) or (S,), True or minus infinity at keys to leave out.
        need_weights: whether to return the weights.
        attn_mask: (L, S) or (N * num_heads, L, S), likewise.
        use_separate_proj_weight: use the next three instead of `in_proj_weight`.
        q_proj_weight: (E, E).
        k_proj_weight: (E, Ek).
        v_proj_weight: (E, Ev).
        static_k: keys to use as they are.
        static_v: values to use as they are.
        average_attn_weights: return the mean of the heads' weights.
        is_causal: a hint that the mask is causal.

    Returns:
        (L, N, E) or (L, E), and the weights: (N, L, S) or (N, num_heads, L, S), or None.
    """
    batched = _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        # One object stays one object: that is what makes a single product of the three maps.
        same_key, same_value = key is query, value is key
        query = query.unsqueeze(1)
        key = query if same_key else key.unsqueeze(1)
        value = key if same_value else value.unsqueeze(1)
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze(0)
    length, samples, size = query.shape
    mask_dtype = None if attn_mask is None else attn_mask.dtype
    key_padding_mask = canonical_mask(key_padding_mask, "key_padding_mask", mask_dtype, "attn_mask", query.dtype)
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask."
        )
    if is_causal and key_padding_mask is None and not need_weights:
        attn_mask = None
    else:
        attn_mask = canonical_mask(attn_mask, "attn_mask", None, "", query.dtype, check_other=False)
        is_causal = False
    if size != embed_dim_to_check:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {size}")
    head = size // num_heads
    if head * num_heads != size:
        raise AssertionError(f"embed_dim {size} not divisible by num_heads {num_heads}")
    if use_separate_proj_weight:
        if key.shape[:2] != value.shape[:2]:
            raise AssertionError(
                f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}"
            )
        if q_proj_weight is None or k_proj_weight is None or v_proj_weight is None:
            missing = "q" if q_proj_weight is None else "k" if k_proj_weight is None else "v"
            raise AssertionError(f"use_separate_proj_weight is True but {missing}_proj_weight is None")
        biases = (None, None, None) if in_proj_bias is None else in_proj_bias.split(size)
        q = _C.linear(query, q_proj_weight, biases[0])
        k = _C.linear(key, k_proj_weight, biases[1])
        v = _C.linear(value, v_proj_weight, biases[2])
    else:
        if key.shape != value.shape:
            raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
        if in_proj_weight is None:
            raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
        q, k, v = _project(query, key, value, in_proj_weight, in_proj_bias)
    if attn_mask is not None:
        attn_mask = _mask_of_three(attn_mask, length, key.size(0), samples * num_heads)
    extra = 0
    if bias_k is not None and bias_v is not None:
        k = _C.cat([k, bias_k.repeat(1, samples, 1)])
        v = _C.cat([v, bias_v.repeat(1, samples, 1)])
        extra += 1

    def heads(x: Tensor) -> Tensor:
        return x.reshape(x.size(0), samples * num_heads, head).transpose(0, 1)

    q = heads(q)
    k = heads(k) if static_k is None else static_k
    v = heads(v) if static_v is None else static_v
    if add_zero_attn:
        zeros = k.new_zeros([samples * num_heads, 1, head])
        k, v = _C.cat([k, zeros], 1), _C.cat([v, zeros], 1)
        extra += 1
    sources = k.size(1)
    if extra:
        attn_mask = None if attn_mask is None else pad(attn_mask, [0, extra])
        key_padding_mask = None if key_padding_mask is None else pad(key_padding_mask, [0, extra])
    mask = _merged(attn_mask, key_padding_mask, samples, num_heads, sources)
    if not training:
        dropout_p = 0.0
    if need_weights:
        scores = _C.matmul(q * math.sqrt(1.0 / head), k.transpose(-2, -1))
        weights = _C.softmax(scores if mask is None else scores + mask, -1)
        if dropout_p > 0.0:
            weights = dropout(weights, dropout_p)
        output = _C.matmul(weights, v)
        output = output.transpose(0, 1).reshape(length * samples, size)
    else:
        weights = None
        q, k, v = (x.reshape(samples, num_heads, -1, head) for x in (q, k, v))
        if mask is not None:
            mask = mask.unsqueeze(0) if mask.size(0) == 1 else mask.reshape(samples, num_heads, -1, sources)
        output = scaled_dot_product_attention(q, k, v, mask, dropout_p, is_causal)
        output = output.permute(2, 0, 1, 3).reshape(length * samples, size)
    output = _C.linear(output, out_proj_weight, out_proj_bias).reshape(length, samples, -1)
    if weights is not None:
        weights = weights.reshape(samples, num_heads, length, sources)
        weights = weights.mean(1) if average_attn_weights else weights
    if not batched:
        output = output.squeeze(1)
        weights = None if weights is None else weights.squeeze(0)
    return output, weights


def _mask_of_three(mask: Tensor, length: int, sources: int, rows: int) -> Tensor:
    """The mask with three dimensions: (1 or N * num_heads, L, S)."""
    expected = (length, sources) if mask.dim() == 2 else (rows, length, sources)
    if mask.shape != expected:
        raise RuntimeError(f"The shape of the {mask.dim()}D attn_mask is {mask.shape}, but should be {expected}.")
    return mask.unsqueeze(0) if mask.dim() == 2 else mask


def _merged(mask: Tensor | None, padding: Tensor | None, samples: int, num_heads: int, sources: int) -> Tensor | None:
    """Both masks as one."""
    if padding is None:
        return mask
    for at, size in ((0, samples), (1, sources)):
        if padding.shape[at] != size:
            raise AssertionError(f"Expected key_padded_mask.shape[{at}] to be {size}, but got {padding.shape[at]}")
    padding = padding.view(samples, 1, 1, sources).expand(-1, num_heads, -1, -1)
    padding = padding.reshape(samples * num_heads, 1, sources)
    return padding if mask is None else mask + padding
