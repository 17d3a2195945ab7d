"""Sequences of different lengths: padded to one length, or packed without padding."""

from __future__ import annotations

from firesteel import _C, ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = [
    "PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence",
    "pad_sequence", "unpack_sequence", "unpad_sequence",
]  # fmt: skip

Tensor = _C.Tensor


class PackedSequence(tuple):
    """Several sequences, time step by time step, longest first, without padding.

    Args:
        data: (sum of lengths, ...), the values of the first step of all sequences, then of the second, ...
        batch_sizes: (longest length,), how many sequences have a value at each step; int64, on the CPU.
        sorted_indices: (N,), the order in which the sequences were packed.
        unsorted_indices: (N,), the order that takes it back.
    """

    __slots__ = ()
    _fields = ("data", "batch_sizes", "sorted_indices", "unsorted_indices")

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if batch_sizes is None:
            data, batch_sizes = data
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be created manually. "
                "They should be instantiated by functions like pack_sequence and pack_padded_sequences in "
                f"nn.utils.rnn. Got batch_sizes on {batch_sizes.device}"
            )
        return tuple.__new__(cls, (data, batch_sizes, sorted_indices, unsorted_indices))

    def __getnewargs__(self) -> tuple:
        return tuple(self)

    @property
    def data(self) -> Tensor:
        return self[0]

    @property
    def batch_sizes(self) -> Tensor:
        return self[1]

    @property
    def sorted_indices(self) -> Tensor | None:
        return self[2]

    @property
    def unsorted_indices(self) -> Tensor | None:
        return self[3]

    @property
    def is_cuda(self) -> bool:
        return self.data.is_cuda

    def is_pinned(self) -> bool:
        """Whether the values are in pinned memory."""
        return self.data.is_pinned()

    def pin_memory(self) -> PackedSequence:
        """The same with values in pinned memory."""
        return PackedSequence(self.data.pin_memory(), *self[1:])

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same on another device or of another dtype."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        move = [None if index is None else index.to(data.device) for index in self[2:]]
        return PackedSequence(data, self.batch_sizes, *move)

    def cpu(self) -> PackedSequence:
        """The same on the CPU."""
        return self.to(device="cpu")

    def cuda(self) -> PackedSequence:
        """The same on the GPU."""
        return self.to(device="cuda")

    def double(self) -> PackedSequence:
        """The same in float64."""
        return self.to(dtype=_C.float64)

    def float(self) -> PackedSequence:
        """The same in float32."""
        return self.to(dtype=_C.float32)

    def half(self) -> PackedSequence:
        """The same in float16."""
        return self.to(dtype=_C.float16)

    def long(self) -> PackedSequence:
        """The same in int64."""
        return self.to(dtype=_C.int64)

    def int(self) -> PackedSequence:
        """The same in int32."""
        return self.to(dtype=_C.int32)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self, strict=False))
        return f"PackedSequence({fields})"


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that takes one back; None for None."""
    if permutation is None:
        return None
    places = ops.arange(permutation.numel(), device=permutation.device)
    return _C.empty_like(permutation).scatter_(0, permutation, places.to(permutation.dtype))


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Packs padded sequences.

    Args:
        input: (T, N, ...), or with `batch_first` (N, T, ...).
        lengths: (N,), the lengths.
        batch_first: see `input`.
        enforce_sorted: whether the lengths must not increase; otherwise they are sorted.

    Raises:
        RuntimeError: if the lengths are not sorted, not above 0, or not as many as there are sequences.

    >>> import firesteel as fs
    >>> packed = pack_padded_sequence(fs.tensor([[1, 2], [3, 0]]), [2, 1], batch_first=True)
    >>> packed.data, packed.batch_sizes
    (tensor([1, 3, 2]), tensor([2, 1]))
    """
    lengths = ops.as_tensor(lengths, dtype=_C.int64).cpu()
    if enforce_sorted:
        sorted_indices = None
    else:
        lengths, sorted_indices = lengths.sort(descending=True)
        input = input.index_select(0 if batch_first else 1, sorted_indices)
    steps = input.transpose(0, 1) if batch_first else input
    sizes = [int(n) for n in lengths.tolist()]
    if len(sizes) != steps.size(1):
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(sizes)} (batch_size={steps.size(1)})"
        )
    if not sizes:
        raise RuntimeError("Cannot pack empty tensors.")
    if min(sizes) <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    if sizes != sorted(sizes, reverse=True):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if you "
            "do not need ONNX exportability."
        )
    if sizes[0] > steps.size(0):
        raise RuntimeError(f"Expected lengths of at most {steps.size(0)}, but got {sizes[0]}")
    counts = [sum(size > step for size in sizes) for step in range(sizes[0])]
    data = _C.cat([steps[step, :count] for step, count in enumerate(counts)])
    return PackedSequence(data, ops.tensor(counts, dtype=_C.int64), sorted_indices, None)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Pads packed sequences: the inverse of `pack_padded_sequence`.

    Args:
        sequence: the sequences.
        batch_first: give (N, T, ...) instead of (T, N, ...).
        padding_value: what the padding consists of.
        total_length: T, by default the longest length.

    Returns:
        The padded sequences and their lengths.

    Raises:
        ValueError: if `total_length` is less than the longest length.
    """
    counts = [int(n) for n in sequence.batch_sizes.tolist()]
    length = len(counts)
    if total_length is not None:
        if total_length < length:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, but got "
                f"total_length={total_length} and max sequence length being {length}"
            )
        length = total_length
    rest = list(sequence.data.shape[1:])
    lines = []
    for line in sequence.data.split(counts):
        missing = counts[0] - line.size(0)
        if missing:
            line = _C.cat([line, line.new_full([missing, *rest], padding_value)])
        lines.append(line)
    lines += [sequence.data.new_full([counts[0], *rest], padding_value)] * (length - len(counts))
    padded = _C.stack(lines, 1 if batch_first else 0)
    lengths = ops.tensor([sum(count > at for count in counts) for at in range(counts[0])], dtype=_C.int64)
    if sequence.unsorted_indices is not None:
        padded = padded.index_select(0 if batch_first else 1, sequence.unsorted_indices)
        lengths = lengths.index_select(0, sequence.unsorted_indices.cpu())
    return padded, lengths


def pad_sequence(
    sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Pads sequences to the length of the longest.

    Args:
        sequences: each (L, ...).
        batch_first: give (N, T, ...) instead of (T, N, ...).
        padding_value: what the padding consists of.
        padding_side: "right" or "left".

    Raises:
        RuntimeError: if they cannot be iterated over.

    >>> import firesteel as fs
    >>> pad_sequence([fs.tensor([1, 2]), fs.tensor([3])], batch_first=True)
    tensor([[1, 2],
            [3, 0]])
    """
    if not hasattr(sequences, "__iter__"):
        raise RuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    sequences = list(sequences)
    if not sequences:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    longest = max(sequence.size(0) for sequence in sequences)
    padded = []
    for sequence in sequences:
        missing = longest - sequence.size(0)
        if missing:
            filler = sequence.new_full([missing, *sequence.shape[1:]], padding_value)
            sequence = _C.cat([sequence, filler] if padding_side == "right" else [filler, sequence])
        padded.append(sequence)
    return _C.stack(padded, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The sequences without their padding: the inverse of `pad_sequence`."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    return [sequence[: int(length)] for sequence, length in zip(padded_sequences, lengths, strict=False)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Packs sequences, each (L, ...); the arguments are those of `pack_padded_sequence`."""
    lengths = [sequence.size(0) for sequence in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences that were packed."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
