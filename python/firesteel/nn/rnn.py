"""Recurrent networks: the input's linear map at once, then all steps."""

from __future__ import annotations

import itertools
import math
import warnings

from firesteel import _C, ops

from . import init
from .functional import dropout
from .module import Module
from .parameter import Parameter
from .utils.rnn import PackedSequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase"]

Tensor = _C.Tensor
_GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "GRU": 3, "LSTM": 4}


# ---- steps of one batch size: gates (T, N, G) are the input's linear map (or, with weights["map"], the input itself), the
# state is a tuple of (N, size)


def _plain(activation: Callable) -> Callable:
    def steps(gates: Tensor, state: tuple, weights: dict[str, Any], backward: bool) -> tuple[Tensor, tuple]:
        return _one_by_one(
            lambda part, state: (activation(part + _C.linear(state[0], weights["hh"], weights["bias_hh"])),),
            gates, state, backward,
        )  # fmt: skip

    return steps


def _lstm(gates: Tensor, state: tuple, weights: dict[str, Any], backward: bool) -> tuple[Tensor, tuple]:
    if weights["hr"] is not None:

        def projected(part: Tensor, state: tuple) -> tuple:
            made = _C._lstm(part.unsqueeze(0), state[0], state[1], weights["hh"])
            return _C.linear(made[0].squeeze(0), weights["hr"]), made[1]

        return _one_by_one(projected, gates, state, backward)
    made = _C._lstm(gates, state[0], state[1], weights["hh"], backward, *weights.get("map", ()))
    return made[0], (made[0].select(0, 0 if backward else -1), made[1])


def _gru(gates: Tensor, state: tuple, weights: dict[str, Any], backward: bool) -> tuple[Tensor, tuple]:
    made = _C._gru(gates, state[0], weights["hh"], weights["bias_hh"], backward)
    return made, (made.select(0, 0 if backward else -1),)


def _one_by_one(step: Callable, gates: Tensor, state: tuple, backward: bool) -> tuple[Tensor, tuple]:
    parts = list(gates.unbind())
    outputs: list[Any] = [None] * len(parts)
    for at in reversed(range(len(parts))) if backward else range(len(parts)):
        state = step(parts[at], state)
        outputs[at] = state[0]
    return _C.stack(outputs), state


_STEPS = {"RNN_TANH": _plain(_C.tanh), "RNN_RELU": _plain(_C.relu), "GRU": _gru, "LSTM": _lstm}


# Rows of an LSTM's input from which on the steps make the input's part themselves: its weight is packed for that.
_MANY = 32


def _input_part(mode: str, data: Tensor, weights: dict[str, Any], whole: bool = False) -> Tensor:
    """The input's linear map; an LSTM adds both biases to the same gates, and maps the input of a `whole` layer itself."""
    bias = weights["bias_ih"]
    if mode == "LSTM" and bias is not None:
        bias = bias + weights["bias_hh"]
    if mode == "LSTM" and whole and weights["hr"] is None and data.size(0) >= _MANY:
        weights["map"] = weights["ih"], bias
        return data
    return _C.linear(data, weights["ih"], bias)


def _run(
    mode: str, gates: Tensor, counts: list[int], start: tuple, weights: dict[str, Any], backward: bool
) -> tuple[Tensor, tuple]:
    """One direction of one layer: the outputs of all steps below each other, and the last state of each sequence.

    `counts`, the rows of each step, must not increase from step to step: shorter sequences end earlier.
    """
    runs: list[tuple[int, int, int]] = []  # first row, steps, rows of each
    for at, (rows, same) in enumerate((rows, len(list(same))) for rows, same in itertools.groupby(counts)):
        first = runs[at - 1][0] + runs[at - 1][1] * runs[at - 1][2] if at else 0
        runs.append((first, same, rows))
    outputs: list[Any] = [None] * len(runs)
    rows = runs[-1 if backward else 0][2]
    state = tuple(part[:rows] for part in start) if len(runs) > 1 else start
    ended: list[tuple] = []
    for at in reversed(range(len(runs))) if backward else range(len(runs)):
        first, steps, count = runs[at]
        if count > rows:  # backwards: a longer sequence begins
            state = tuple(_C.cat([part, new[rows:count]]) for part, new in zip(state, start, strict=False))
        elif count < rows:  # forwards: a shorter one has ended
            ended.append(tuple(part[count:] for part in state))
            state = tuple(part[:count] for part in state)
        rows = count
        mine = gates if len(runs) == 1 else gates.narrow(0, first, steps * count)
        made, state = _STEPS[mode](mine.reshape([steps, count, gates.size(1)]), state, weights, backward)
        outputs[at] = made.flatten(0, 1)
    if ended:
        parts = [state, *reversed(ended)]
        state = tuple(_C.cat(pieces) for pieces in zip(*parts, strict=False))
    return outputs[0] if len(runs) == 1 else _C.cat(outputs), state


class RNNBase(Module):
    """What `RNN`, `LSTM` and `GRU` have in common.

    Args:
        mode: "RNN_TANH", "RNN_RELU", "LSTM" or "GRU".
        input_size: size of each step's input.
        hidden_size: size of the state.
        num_layers: number of layers, each reading the outputs of the one below.
        bias: whether there are biases.
        batch_first: (N, T, ...) instead of (T, N, ...).
        dropout: share of the outputs between layers that is left out in training.
        bidirectional: run a second time from the end.
        proj_size: LSTM: size the output is mapped to, 0 for none.
        device: where the parameters are.
        dtype: of what kind they are.
    """

    __constants__ = (
        "mode", "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional",
        "proj_size",
    )  # fmt: skip

    def __init__(
        self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout) if isinstance(dropout, (int, float)) else dropout
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._check_settings()
        gates = _GATES[mode] * hidden_size
        output = proj_size if proj_size > 0 else hidden_size
        directions = 2 if bidirectional else 1
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            below = input_size if layer == 0 else output * directions
            for direction in range(directions):
                suffix = f"l{layer}" + ("_reverse" if direction else "")
                shapes: dict[str, tuple[int, ...]] = {
                    f"weight_ih_{suffix}": (gates, below),
                    f"weight_hh_{suffix}": (gates, output),
                }
                if bias:
                    shapes |= {f"bias_ih_{suffix}": (gates,), f"bias_hh_{suffix}": (gates,)}
                if proj_size > 0:
                    shapes[f"weight_hr_{suffix}"] = (proj_size, hidden_size)
                for name, shape in shapes.items():
                    setattr(self, name, Parameter(ops.empty(shape, device=device, dtype=dtype)))
                self._all_weights.append(list(shapes))
        self.reset_parameters()

    def _check_settings(self) -> None:
        dropout = self.dropout
        if not isinstance(dropout, float) or isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
            )
        if dropout > 0 and self.num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
                f"num_layers greater than 1, but got dropout={dropout} and num_layers={self.num_layers}",
                stacklevel=4,
            )
        for name, kind in (("bias", bool), ("batch_first", bool), ("input_size", int), ("hidden_size", int)):
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise TypeError(f"{name} should be of type {kind.__name__}, got: {type(value).__name__}")
        for name in ("input_size", "hidden_size", "num_layers"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be greater than zero")
        if self.proj_size < 0:
            raise ValueError("proj_size should be a positive integer or zero to disable projections")
        if self.proj_size >= self.hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")
        if self.mode not in _GATES:
            raise ValueError("Unrecognized RNN mode: " + self.mode)

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters, layer by layer and direction by direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    @property
    def _flat_weights(self) -> list[Parameter]:
        return [weight for weights in self.all_weights for weight in weights]

    def flatten_parameters(self) -> None:
        """Does nothing: the parameters need not lie together."""

    def reset_parameters(self) -> None:
        """Draws new values: uniform within `1 / sqrt(hidden_size)`."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size != 0:
            text += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if self.batch_first is not False:
            text += f", batch_first={self.batch_first}"
        if self.dropout != 0:
            text += f", dropout={self.dropout}"
        if self.bidirectional is not False:
            text += f", bidirectional={self.bidirectional}"
        return text

    # ---- forward

    def forward(self, input: Any, hx: Any = None) -> Any:
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        name = "RNN" if self.mode.startswith("RNN") else self.mode
        if input.dim() not in (2, 3):
            tensor = " tensor" if name == "RNN" else ""
            raise ValueError(f"{name}: Expected input to be 2D or 3D, got {input.dim()}D{tensor} instead")
        batched = input.dim() == 3
        steps = input.unsqueeze(1) if not batched else input.transpose(0, 1) if self.batch_first else input
        states = self._given_states(hx, batched)
        states = self._checked_states(states, steps, steps.size(1))
        length, rows = steps.shape[:2]
        if length == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        data = steps.reshape([length * rows, steps.size(2)])
        output, last = self._layers(data, [rows] * length, states)
        output = output.reshape([length, rows, output.size(1)])
        if not batched:
            return output.squeeze(1), self._as_given(tuple(part.squeeze(1) for part in last))
        return output.transpose(0, 1) if self.batch_first else output, self._as_given(last)

    def _forward_packed(self, input: PackedSequence, hx: Any) -> Any:
        data, batch_sizes, order, back = input
        counts = [int(n) for n in batch_sizes.tolist()]
        states = self._given_states(hx, True)
        if states is not None and order is not None:
            states = tuple(part.index_select(1, order) for part in states)
        states = self._checked_states(states, data, counts[0], packed=True)
        output, last = self._layers(data, counts, states)
        if back is not None:
            last = tuple(part.index_select(1, back) for part in last)
        return PackedSequence(output, batch_sizes, order, back), self._as_given(last)

    def _as_given(self, state: tuple) -> Any:
        return state if self.mode == "LSTM" else state[0]

    def _given_states(self, hx: Any, batched: bool) -> tuple | None:
        """The first state as a tuple of (layers * directions, N, size)."""
        if hx is None:
            return None
        states = tuple(hx) if self.mode == "LSTM" else (hx,)
        wanted = 3 if batched else 2
        if any(part.dim() != wanted for part in states):
            kind, dims = ("batched", "3-D") if batched else ("unbatched", "2-D")
            if self.mode == "LSTM":
                shapes = ", ".join(f"{part.dim()}-D" for part in states)
                raise RuntimeError(
                    f"For {kind} {dims} input, hx and cx should also be {dims} but got ({shapes}) tensors"
                )
            raise RuntimeError(f"For {kind} {dims} input, hx should also be {dims} but got {hx.dim()}-D tensor")
        return states if batched else tuple(part.unsqueeze(1) for part in states)

    def _checked_states(self, states: tuple | None, input: Tensor, rows: int, packed: bool = False) -> tuple:
        weight = getattr(self, self._all_weights[0][0])
        if input.dtype != weight.dtype:
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). Convert input: "
                f"input.to({weight.dtype}), or convert model: model.to({input.dtype})"
            )
        if packed and input.dim() != 2:
            raise RuntimeError(f"input must have 2 dimensions, got {input.dim()}")
        if input.size(-1) != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.size(-1)}"
            )
        layers = self.num_layers * (2 if self.bidirectional else 1)
        sizes = [self.proj_size if self.proj_size > 0 else self.hidden_size]
        if self.mode == "LSTM":
            sizes.append(self.hidden_size)
        if states is None:
            return tuple(input.new_zeros([layers, rows, size]) for size in sizes)
        for at, (part, size) in enumerate(zip(states, sizes, strict=False)):
            if tuple(part.shape) != (layers, rows, size):
                name = "hidden" if self.mode != "LSTM" else f"hidden[{at}]"
                raise RuntimeError(f"Expected {name} size {(layers, rows, size)}, got {list(part.shape)}")
        return states

    def _layers(self, data: Tensor, counts: list[int], states: tuple) -> tuple[Tensor, tuple]:
        """All layers over the values of all steps, which lie below each other, `counts` rows a step."""
        directions = 2 if self.bidirectional else 1
        last: list[tuple] = []
        for layer in range(self.num_layers):
            sides = []
            for direction in range(directions):
                at = layer * directions + direction
                weights = self._weights(at)
                gates = _input_part(self.mode, data, weights, counts[0] == counts[-1])
                start = tuple(part[at] for part in states)
                outputs, state = _run(self.mode, gates, counts, start, weights, direction == 1)
                sides.append(outputs)
                last.append(state)
            data = sides[0] if directions == 1 else _C.cat(sides, 1)
            if self.dropout > 0 and layer < self.num_layers - 1:
                data = dropout(data, self.dropout, self.training)
        return data, tuple(_C.stack(parts) for parts in zip(*last, strict=False))

    def _weights(self, at: int) -> dict[str, Any]:
        """The parameters of one layer and direction by their part in the step."""
        weights: dict[str, Any] = {"bias_ih": None, "bias_hh": None, "hr": None}
        for name in self._all_weights[at]:
            kind, part, *_ = name.split("_")
            weights[part if kind == "weight" else f"bias_{part}"] = getattr(self, name)
        return weights


class RNN(RNNBase):
    """`h = tanh(W x + b + U h + c)`, step by step.

    Args:
        input_size: size of each step's input.
        hidden_size: size of the state.
        num_layers: number of layers.
        nonlinearity: "tanh" or "relu".
        bias: whether there are biases.
        batch_first: (N, T, ...) instead of (T, N, ...).
        dropout: share of the outputs between layers that is left out in training.
        bidirectional: run a second time from the end.

    Shapes: (T, N, input_size) and the state (layers * directions, N, hidden_size), to
        (T, N, directions * hidden_size) and the last state.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:
            self.nonlinearity = args[3]
            args = args[:3] + args[4:]
        else:
            self.nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if self.nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{self.nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(f"RNN_{self.nonlinearity.upper()}", *args, **kwargs)


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997).

    Args:
        input_size: size of each step's input.
        hidden_size: size of the state.
        num_layers: number of layers.
        bias: whether there are biases.
        batch_first: (N, T, ...) instead of (T, N, ...).
        dropout: share of the outputs between layers that is left out in training.
        bidirectional: run a second time from the end.
        proj_size: size the output is mapped to, 0 for none.

    Shapes: (T, N, input_size) and the states (layers * directions, N, hidden_size), to
        (T, N, directions * hidden_size) and the two last states.

    >>> import firesteel as fs
    >>> output, (h, c) = fs.nn.LSTM(10, 20, num_layers=2)(fs.zeros(5, 3, 10))
    >>> output.shape, h.shape, c.shape
    (torch.Size([5, 3, 20]), torch.Size([2, 3, 20]), torch.Size([2, 3, 20]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)


class GRU(RNNBase):
    """Gated recurrent units (Cho et al., arXiv 1406.1078); the arguments are those of `LSTM` but for `proj_size`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)


class RNNCellBase(Module):
    """What the single steps have in common.

    Args:
        input_size: size of the input.
        hidden_size: size of the state.
        bias: whether there are biases.
        num_chunks: number of gates.
        device: where the parameters are.
        dtype: of what kind they are.
    """

    __constants__: tuple[str, ...] = ("input_size", "hidden_size", "bias")
    if TYPE_CHECKING:

        @property
        def _mode(self) -> str: ...

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        gates = num_chunks * hidden_size
        made = {"device": device, "dtype": dtype}
        self.weight_ih = Parameter(ops.empty((gates, input_size), **made))
        self.weight_hh = Parameter(ops.empty((gates, hidden_size), **made))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(ops.empty(gates, **made)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new values: uniform within `1 / sqrt(hidden_size)`."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if getattr(self, "nonlinearity", "tanh") != "tanh":
            text += f", nonlinearity={self.nonlinearity}"
        return text

    def _step(self, input: Tensor, state: tuple | None, parts: int) -> tuple:
        name = type(self).__name__
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        for at, part in enumerate(state or ()):
            if part.dim() not in (1, 2):
                what = "hidden" if parts == 1 else f"hx[{at}]"
                raise ValueError(f"{name}: Expected {what} to be 1D or 2D, got {part.dim()}D instead")
        batched = input.dim() == 2
        rows = input if batched else input.unsqueeze(0)
        if rows.size(1) != self.input_size:
            raise RuntimeError(f"input has inconsistent input_size: got {rows.size(1)} expected {self.input_size}")
        if state is None:
            state = (rows.new_zeros([rows.size(0), self.hidden_size]),) * parts
        elif not batched:
            state = tuple(part.unsqueeze(0) for part in state)
        for at, part in enumerate(state):
            if part.size(0) != rows.size(0):
                raise RuntimeError(
                    f"Input batch size {rows.size(0)} doesn't match hidden{at or ''} batch size {part.size(0)}"
                )
            if part.size(1) != self.hidden_size:
                raise RuntimeError(
                    f"hidden{at or ''} has inconsistent hidden_size: got {part.size(1)}, expected {self.hidden_size}"
                )
        weights = {
            "ih": self.weight_ih, "hh": self.weight_hh, "bias_ih": self.bias_ih, "bias_hh": self.bias_hh, "hr": None
        }  # fmt: skip
        gates = _input_part(self._mode, rows, weights).unsqueeze(0)
        new = _STEPS[self._mode](gates, state, weights, False)[1]
        return new if batched else tuple(part.squeeze(0) for part in new)


class RNNCell(RNNCellBase):
    """One step of `RNN`.

    Args:
        input_size: size of the input.
        hidden_size: size of the state.
        bias: whether there are biases.
        nonlinearity: "tanh" or "relu".
        device: where the parameters are.
        dtype: of what kind they are.

    Shapes: (N, input_size) and (N, hidden_size) to (N, hidden_size).
    """

    __constants__ = ("input_size", "hidden_size", "bias", "nonlinearity")

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    @property
    def _mode(self) -> str:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return f"RNN_{self.nonlinearity.upper()}"

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(input, None if hx is None else (hx,), 1)[0]


class LSTMCell(RNNCellBase):
    """One step of `LSTM`.

    Args:
        input_size: size of the input.
        hidden_size: size of the states.
        bias: whether there are biases.
        device: where the parameters are.
        dtype: of what kind they are.

    Shapes: (N, input_size) and two of (N, hidden_size) to two of (N, hidden_size).
    """

    @property
    def _mode(self) -> str:
        return "LSTM"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        return self._step(input, None if hx is None else tuple(hx), 2)


class GRUCell(RNNCellBase):
    """One step of `GRU`.

    Args:
        input_size: size of the input.
        hidden_size: size of the state.
        bias: whether there are biases.
        device: where the parameters are.
        dtype: of what kind they are.

    Shapes: (N, input_size) and (N, hidden_size) to (N, hidden_size).
    """

    @property
    def _mode(self) -> str:
        return "GRU"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(input, None if hx is None else (hx,), 1)[0]
