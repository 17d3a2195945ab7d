"""Attention with several heads as a layer."""

from __future__ import annotations

from firesteel import _C, ops

from . import init
from .functional import multi_head_attention_forward
from .functional.attention import canonical_mask
from .linear import Linear
from .module import Module
from .parameter import Parameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["MultiheadAttention", "NonDynamicallyQuantizableLinear"]

Tensor = _C.Tensor


class NonDynamicallyQuantizableLinear(Linear):
    """A linear layer under the name that PyTorch prints for the output map of attention."""


class MultiheadAttention(Module):
    """Attention with several heads (Vaswani et al., arXiv 1706.03762).

    Args:
        embed_dim: E, size of queries and outputs.
        num_heads: number of heads, a divisor of E.
        dropout: share of the attention weights left out in training.
        bias: whether the linear maps have biases.
        add_bias_kv: add a learned key and value.
        add_zero_attn: add a key and value of zeros.
        kdim: size of the keys, by default E.
        vdim: size of the values, by default E.
        batch_first: (N, L, E) instead of (L, N, E).
        device: where the parameters are.
        dtype: of what kind they are.

    Raises:
        ValueError: if the sizes are not above 0.
        AssertionError: if the heads are no divisor of E.

    >>> import firesteel as fs
    >>> x = fs.zeros(2, 5, 8)
    >>> output, weights = fs.nn.MultiheadAttention(8, 2, batch_first=True)(x, x, x)
    >>> output.shape, weights.shape
    (torch.Size([2, 5, 8]), torch.Size([2, 5, 5]))
    """

    __constants__ = ("batch_first",)

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, add_bias_kv: bool = False,
        add_zero_attn: bool = False, kdim: int | None = None, vdim: int | None = None, batch_first: bool = False,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and num_heads={num_heads} "
                "instead"
            )
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = kdim if kdim is not None else embed_dim
        self.vdim = vdim if vdim is not None else embed_dim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError("embed_dim must be divisible by num_heads")
        made = {"device": device, "dtype": dtype}

        def parameter(*shape: int) -> Parameter:
            return Parameter(ops.empty(shape, **made))

        separate = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
        if self._qkv_same_embed_dim:
            self.in_proj_weight = parameter(3 * embed_dim, embed_dim)
            for name in separate:
                self.register_parameter(name, None)
        else:
            for name, size in zip(separate, (embed_dim, self.kdim, self.vdim), strict=False):
                setattr(self, name, parameter(embed_dim, size))
            self.register_parameter("in_proj_weight", None)
        self.register_parameter("in_proj_bias", parameter(3 * embed_dim) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias=bias, **made)
        self.bias_k = parameter(1, 1, embed_dim) if add_bias_kv else None
        self.bias_v = parameter(1, 1, embed_dim) if add_bias_kv else None
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            weight = getattr(self, name)
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.constant_(self.in_proj_bias, 0.0)
            init.constant_(self.out_proj.bias, 0.0)
        if self.bias_k is not None:
            init.xavier_normal_(self.bias_k)
        if self.bias_v is not None:
            init.xavier_normal_(self.bias_v)

    def __setstate__(self, state: dict[str, Any]) -> None:
        state.setdefault("_qkv_same_embed_dim", True)
        super().__setstate__(state)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The weighted values, and the weights if they are needed.

        Args:
            query: (L, N, E), with `batch_first` (N, L, E), or (L, E).
            key: (S, N, Ek), likewise.
            value: (S, N, Ev), likewise.
            key_padding_mask: (N, S) or (S,), True or minus infinity at keys to leave out.
            need_weights: whether to return the weights.
            attn_mask: (L, S) or (N * num_heads, L, S), likewise.
            average_attn_weights: return the mean of the heads' weights.
            is_causal: a hint that the mask is causal.
        """
        turn = self.batch_first and query.dim() == 3
        mask_dtype = None if attn_mask is None else attn_mask.dtype
        key_padding_mask = canonical_mask(key_padding_mask, "key_padding_mask", mask_dtype, "attn_mask", query.dtype)
        attn_mask = canonical_mask(attn_mask, "attn_mask", None, "", query.dtype, check_other=False)
        if turn:
            # What was one object stays one, so that a single product makes queries, keys and values.
            turned: dict[int, Tensor] = {}
            query, key, value = (
                turned.setdefault(id(x), x.transpose(0, 1)) if id(x) not in turned else turned[id(x)]
                for x in (query, key, value)
            )
        output, weights = multi_head_attention_forward(
            query, key, value, self.embed_dim, self.num_heads, self.in_proj_weight, self.in_proj_bias, self.bias_k,
            self.bias_v, self.add_zero_attn, self.dropout, self.out_proj.weight, self.out_proj.bias,
            training=self.training, key_padding_mask=key_padding_mask, need_weights=need_weights,
            attn_mask=attn_mask, use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight, k_proj_weight=self.k_proj_weight, v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights, is_causal=is_causal,
        )  # fmt: skip
        return output.transpose(0, 1) if turn else output, weights
