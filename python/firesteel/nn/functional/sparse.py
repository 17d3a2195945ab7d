"""Look-ups in tables of vectors."""

from __future__ import annotations

from firesteel import _C, ops
from firesteel.autograd import no_grad

Tensor = _C.Tensor

__all__ = ["embedding", "embedding_bag", "one_hot"]


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Turns classes into rows of zeros with a single one.

    Args:
        tensor: any shape, int64: classes.
        num_classes: by default one more than the largest.

    Returns:
        (*, num_classes), int64.

    Raises:
        RuntimeError: if a class is negative or too large.

    >>> import firesteel as fs
    >>> fs.nn.functional.one_hot(fs.tensor([0, 2]), 3)
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    if tensor.dtype != _C.int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if tensor.numel() == 0:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        return ops.zeros([*tensor.shape, num_classes], dtype=_C.int64)
    if int(tensor.min()) < 0:
        raise RuntimeError("Class values must be non-negative.")
    top = int(tensor.max())
    if num_classes == -1:
        num_classes = top + 1
    elif num_classes < 1:
        raise RuntimeError("num_classes should be positive")
    elif num_classes <= top:
        raise RuntimeError("Class values must be smaller than num_classes.")
    zeros = ops.zeros([*tensor.shape, num_classes], dtype=_C.int64, device=tensor.device)
    return zeros.scatter_(-1, tensor.unsqueeze(-1), 1)


def _renormalise(weight: Tensor, input: Tensor, max_norm: float, norm_type: float) -> None:
    """Scales the rows that the input names down to a norm, in place."""
    with no_grad():
        rows = ops.unique(input.reshape([-1]))
        norms = weight.index_select(0, rows).norm(norm_type, 1, keepdim=True)
        factor = _C.where(norms > max_norm, max_norm / (norms + 1e-7), ops.ones_like(norms))
        weight.index_copy_(0, rows, weight.index_select(0, rows) * factor)


def _row(padding_idx: int | None, weight: Tensor) -> int:
    """The number of the padding row, -1 for none."""
    if padding_idx is None:
        return -1
    rows = weight.size(0)
    if not -rows <= padding_idx < rows:
        raise AssertionError("Padding_idx must be within num_embeddings")
    return padding_idx % rows


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of a table at the given numbers.

    Args:
        input: any shape, numbers of rows.
        weight: (V, D), the table.
        padding_idx: a row that gets no gradient.
        max_norm: rows that are used are scaled down to this norm first, in place.
        norm_type: of which kind the norm is.
        scale_grad_by_freq: divide gradients by how often a row is used.
        sparse: accepted; gradients are dense.

    Returns:
        (*, D).

    Raises:
        IndexError: if there is no such row.
    """
    padding = _row(padding_idx, weight)
    if max_norm is not None:
        _renormalise(weight, input.contiguous(), max_norm, norm_type)
    return _C.embedding(weight, input, padding, scale_grad_by_freq, False)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sums, means or maxima of groups of rows of a table.

    Args:
        input: (B, N), one group per row; or (N,) with `offsets`.
        weight: (V, D), the table.
        offsets: (B,), where each group begins.
        max_norm: rows that are used are scaled down to this norm first, in place.
        norm_type: of which kind the norm is.
        scale_grad_by_freq: divide gradients by how often a row is used.
        mode: "sum", "mean" or "max".
        sparse: accepted; gradients are dense.
        per_sample_weights: of the input's shape, factors; only with "sum".
        include_last_offset: whether the last offset is the input's length.
        padding_idx: a row that does not count.

    Returns:
        (B, D).

    Raises:
        ValueError: if the arguments do not fit together.
    """
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if per_sample_weights is not None:
        if per_sample_weights.size() != input.size():
            raise ValueError(
                f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, "
                f"then it must have the same shape as the input ({input.shape})"
            )
        if mode != "sum":
            raise NotImplementedError(
                "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' "
                f"(got mode='{mode}'). Please open a feature request on GitHub."
            )
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length "
                f"sequences. However, found offsets of type {type(offsets)}"
            )
        lengths = [input.size(1)] * input.size(0)
        input = input.reshape([-1])
        if per_sample_weights is not None:
            per_sample_weights = per_sample_weights.reshape([-1])
    elif input.dim() == 1:
        if offsets is None:
            raise ValueError("offsets has to be a 1D Tensor but got None")
        if offsets.dim() != 1:
            raise ValueError("offsets has to be a 1D Tensor")
        starts = offsets.tolist()
        ends = starts[1:] + ([] if include_last_offset else [input.size(0)])
        if starts and starts[0] != 0:
            raise ValueError(
                f"offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start "
                f"from position 0. However, got {starts[0]}"
            )
        lengths = [end - start for start, end in zip(starts, ends, strict=False)]
    else:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}")
    if max_norm is not None:
        _renormalise(weight, input, max_norm, norm_type)
    return _bags(input, weight, lengths, mode, per_sample_weights, scale_grad_by_freq, _row(padding_idx, weight))


def _bags(
    input: Tensor, weight: Tensor, lengths: list[int], mode: str, factors: Tensor | None, by_frequency: bool,
    padding: int,
) -> Tensor:  # fmt: skip
    count = len(lengths)
    bag = ops.tensor([at for at, length in enumerate(lengths) for _ in range(length)], dtype=_C.int64)
    if padding >= 0:
        used = (input != padding).nonzero().reshape([-1])
        input, bag = input.index_select(0, used), bag.index_select(0, used)
        factors = None if factors is None else factors.index_select(0, used)
    rows = _C.embedding(weight, input.to(_C.int64), -1, by_frequency, False)
    if factors is not None:
        rows = rows * factors.unsqueeze(1)
    zeros = rows.new_zeros([count, weight.size(1)])
    if mode == "max":
        groups = [rows.index_select(0, (bag == at).nonzero().reshape([-1])) for at in range(count)]
        return _C.stack([group.max(0)[0] if group.size(0) else zeros[0] for group in groups]) if groups else zeros
    total = zeros.index_add(0, bag, rows)
    if mode == "sum":
        return total
    sizes = ops.zeros([count], dtype=rows.dtype).index_add(0, bag, ops.ones([bag.size(0)], dtype=rows.dtype))
    return total / sizes.clamp(min=1).unsqueeze(1)
