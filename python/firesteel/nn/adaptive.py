"""A softmax for very many classes, most of them rare (Grave et al., arXiv 1609.04309)."""

from __future__ import annotations

from firesteel import _C

from . import functional as F
from .containers import ModuleList, Sequential
from .linear import Linear
from .module import Module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["ASMoutput", "AdaptiveLogSoftmaxWithLoss"]

Tensor = _C.Tensor


class ASMoutput(tuple):
    """What the layer returns.

    Args:
        output: (N,), the logarithm of the probability given to each target.
        loss: (), the mean of their negatives.
    """

    __slots__ = ()

    def __new__(cls, output: Tensor, loss: Tensor) -> ASMoutput:
        return tuple.__new__(cls, (output, loss))

    def __getnewargs__(self) -> tuple:
        return tuple(self)

    @property
    def output(self) -> Tensor:
        return self[0]

    @property
    def loss(self) -> Tensor:
        return self[1]

    def __repr__(self) -> str:
        return f"ASMoutput(output={self[0]!r}, loss={self[1]!r})"


class AdaptiveLogSoftmaxWithLoss(Module):
    """A log softmax over frequent classes and clusters of rarer ones, each with a smaller map of its own.

    Args:
        in_features: size of the input.
        n_classes: number of classes, sorted by frequency.
        cutoffs: where the clusters begin.
        div_value: by how much each cluster's map is smaller than the one before.
        head_bias: whether the head has a bias.
        device: where the parameters are.
        dtype: of what kind they are.

    Raises:
        ValueError: if the cutoffs are not increasing integers between 1 and `n_classes - 1`.
    """

    def __init__(
        self, in_features: int, n_classes: int, cutoffs: Sequence[int], div_value: float = 4.0,
        head_bias: bool = False, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if (
            cutoffs != sorted(cutoffs)
            or min(cutoffs) <= 0
            or max(cutoffs) > n_classes - 1
            or len(set(cutoffs)) != len(cutoffs)
            or any(int(c) != c for c in cutoffs)
        ):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each "
                "value is between 1 and n_classes-1"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        made = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **made)
        self.tail = ModuleList()
        for at in range(self.n_clusters):
            inner = int(in_features // div_value ** (at + 1))
            outer = self.cutoffs[at + 1] - self.cutoffs[at]
            self.tail.append(
                Sequential(Linear(in_features, inner, bias=False, **made), Linear(inner, outer, bias=False, **made))
            )

    def reset_parameters(self) -> None:
        """Draws new values for all maps."""
        self.head.reset_parameters()
        maps: Any
        for maps in self.tail:
            for part in maps:
                part.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> ASMoutput:
        """The targets' log probabilities, and the loss.

        Args:
            input_: (N, in_features) or (in_features,).
            target_: (N,) or ().

        Raises:
            RuntimeError: if shapes or targets do not fit.
        """
        batched = target_.dim() > 0
        if target_.dim() > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if batched and input_.shape[0] != target_.shape[0]:
            raise RuntimeError("Input and target should have the same size in the batch dimension.")
        if input_.dim() != target_.dim() + 1:
            raise RuntimeError(f"{target_.dim()}D target tensor expects {target_.dim() + 1}D input tensors")
        input, target = (input_, target_) if batched else (input_.unsqueeze(0), target_.unsqueeze(0))
        if target.numel() and (int(target.min()) < 0 or int(target.max()) >= self.n_classes):
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{int(target.min())}, {int(target.max())}] were found. "
            )
        head = F.log_softmax(self.head(input), 1)
        # Each row's choice in the head: its class, or the cluster that its class is in.
        choice = target
        output = head.new_zeros([target.size(0)])
        for at, maps in enumerate(self.tail):
            low, high = self.cutoffs[at], self.cutoffs[at + 1]
            inside = (target >= low) & (target < high)
            choice = choice.masked_fill(inside, self.shortlist_size + at)
            rows = inside.nonzero().reshape([-1])
            if rows.numel():
                log = F.log_softmax(maps(input.index_select(0, rows)), 1)
                relative = (target.index_select(0, rows) - low).unsqueeze(1)
                output = output.index_add(0, rows, log.gather(1, relative).squeeze(1))
        output = output + head.gather(1, choice.unsqueeze(1)).squeeze(1)
        loss = (-output).mean()
        return ASMoutput(output if batched else output.squeeze(0), loss)

    def log_prob(self, input: Tensor) -> Tensor:
        """The log probabilities (N, n_classes) of all classes for an input (N, in_features)."""
        head = F.log_softmax(self.head(input), 1)
        parts = [head[:, : self.shortlist_size]]
        for at, maps in enumerate(self.tail):
            place = self.shortlist_size + at
            parts.append(F.log_softmax(maps(input), 1) + head[:, place : place + 1])
        return _C.cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class (N,) for an input (N, in_features)."""
        return self.log_prob(input).argmax(1)
