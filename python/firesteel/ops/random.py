"""Random tensors, and the state they are drawn from.

>>> import firesteel as fs
>>> _ = fs.manual_seed(0)
>>> fs.rand(2, 3).shape
torch.Size([2, 3])
"""

from __future__ import annotations

from .. import _C
from ._args import FLOATS, deliver, native, require_tensor, sizes
from .creation import _as_asked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "alpha_dropout", "alpha_dropout_", "bernoulli", "default_generator", "dropout", "dropout_",
    "feature_alpha_dropout", "feature_alpha_dropout_", "feature_dropout", "feature_dropout_", "get_rng_state",
    "initial_seed", "manual_seed", "multinomial", "normal", "poisson", "rand", "rand_like", "randint", "randint_like",
    "randn", "randn_like", "randperm", "seed", "set_rng_state",
]  # fmt: skip

Tensor = _C.Tensor
default_generator = _C.default_generator()


# ---- the state --------------------------------------------------------------------------------------------------------


def manual_seed(seed: int) -> Any:
    """Starts the default generator again from a seed, and returns it."""
    return default_generator.manual_seed(seed if isinstance(seed, int) else int(seed))


def seed() -> int:
    """Starts the default generator from a seed of its own choice, and returns that."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that the default generator started from."""
    return default_generator.initial_seed()


def get_state(self: Any) -> Tensor:
    """All of a generator's state as 16 bytes."""
    seed, offset = self._state()
    return _C._tensor(list(seed.to_bytes(8, "little") + offset.to_bytes(8, "little")), _C.uint8)


def set_state(self: Any, new_state: Tensor) -> None:
    """Goes back to a state from `get_state`.

    Raises:
        RuntimeError: if it is no such state.
    """
    if not isinstance(new_state, Tensor) or new_state.dtype is not _C.uint8 or new_state.numel() != 16:
        raise RuntimeError("a generator's state is a uint8 tensor of 16 elements, as get_state() returns it")
    raw = bytes(new_state.tolist())
    self._set_state(int.from_bytes(raw[:8], "little"), int.from_bytes(raw[8:], "little"))


def get_rng_state() -> Tensor:
    """The state of the default generator."""
    return get_state(default_generator)


def set_rng_state(new_state: Tensor) -> None:
    """Goes back to a state from `get_rng_state`."""
    set_state(default_generator, new_state)


def clone_state(self: Any) -> Any:
    """Another generator in the same state."""
    made = _C.Generator()
    made._set_state(*self._state())
    return made


for _method in (get_state, set_state, clone_state):
    setattr(_C.Generator, _method.__name__, _method)


# ---- new tensors ------------------------------------------------------------------------------------------------------


@native
def rand(
    *shape: Any, size: Any = None, generator: Any = None, out: Tensor | None = None, dtype: Any = None,
    layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Uniform numbers in [0, 1), in a shape given as ints or as one sequence."""
    if size is not None or len(shape) < 2:
        shape = sizes(shape, size)
    made = _C._rand(shape, generator=generator, dtype=dtype, device=device)
    if out is not None:
        return deliver(made, out)
    return made.requires_grad_() if requires_grad else made


@native
def randn(
    *shape: Any, size: Any = None, generator: Any = None, out: Tensor | None = None, dtype: Any = None,
    layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Standard normal numbers, in a shape given as ints or as one sequence."""
    if size is not None or len(shape) < 2:
        shape = sizes(shape, size)
    made = _C._randn(shape, generator=generator, dtype=dtype, device=device)
    if out is not None:
        return deliver(made, out)
    return made.requires_grad_() if requires_grad else made


def randint(
    *bounds_and_size: Any, low: int = 0, high: int | None = None, size: Any = None, generator: Any = None,
    out: Tensor | None = None, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Integers in [low, high): `randint(high, size)` or `randint(low, high, size)`.

    >>> import firesteel as fs
    >>> fs.randint(5, (100,)).max() < 5
    tensor(True)
    """
    given = list(bounds_and_size)
    if given and isinstance(given[-1], (tuple, list)):
        size = given.pop()
    if len(given) == 2:
        low, high = given
    elif len(given) == 1:
        if high is None:
            high = given[0]
        else:
            low = given[0]
    elif given:
        raise TypeError("randint() takes (high, size) or (low, high, size)")
    if high is None or size is None:
        raise TypeError('randint() is missing arguments: "high" and "size" are needed')
    made = _C._randint(low, high, size, generator=generator, dtype=dtype, device=device)
    if out is not None:
        return deliver(made, out)
    return made.requires_grad_() if requires_grad else made


def randperm(
    n: int, *, generator: Any = None, out: Tensor | None = None, dtype: Any = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """0 … n-1 in random order."""
    made = _C._randperm(n, generator=generator, dtype=dtype, device=device)
    if out is not None:
        return deliver(made, out)
    return made.requires_grad_() if requires_grad else made


def _like(input: Tensor, dtype: Any) -> Tensor:
    return _C.empty_like(input, dtype=dtype).detach()


def rand_like(
    input: Tensor, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False, memory_format: Any = None, generator: Any = None,
) -> Tensor:  # fmt: skip
    """Uniform numbers in [0, 1) in the input's shape and dtype."""
    made = _like(input, dtype).uniform_(generator=generator)
    return _as_asked(made, device, memory_format, requires_grad)


def randn_like(
    input: Tensor, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False, memory_format: Any = None, generator: Any = None,
) -> Tensor:  # fmt: skip
    """Standard normal numbers in the input's shape and dtype."""
    made = _like(input, dtype).normal_(generator=generator)
    return _as_asked(made, device, memory_format, requires_grad)


def randint_like(
    input: Tensor, *bounds: Any, low: int = 0, high: int | None = None, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False, memory_format: Any = None,
    generator: Any = None,
) -> Tensor:  # fmt: skip
    """Integers in [low, high) in the input's shape and dtype: `randint_like(x, high)` or `randint_like(x, low, high)`."""
    if len(bounds) == 2:
        low, high = bounds
    elif len(bounds) == 1:
        low, high = (low, bounds[0]) if high is None else (bounds[0], high)
    if high is None:
        raise TypeError('randint_like() is missing the argument "high"')
    made = _like(input, dtype)._random_(int(low), int(high), generator=generator)
    return _as_asked(made, device, memory_format, requires_grad)


# ---- distributions ----------------------------------------------------------------------------------------------------


def bernoulli(input: Tensor, p: Any = None, *, generator: Any = None, out: Tensor | None = None) -> Tensor:
    """1 with the probability that stands at each place, else 0.

    Args:
        input: the probabilities; with `p`, only shape and dtype matter.
        p: one probability for all.
        generator: where the numbers come from.
        out: where to write the result.

    Raises:
        RuntimeError: if a probability is outside [0, 1].
    """
    require_tensor(input, "bernoulli")
    chances = input.detach() if p is None else p
    if isinstance(chances, Tensor):
        if not chances.dtype.is_floating_point:
            raise RuntimeError(f'"bernoulli_tensor_cpu_p_" not implemented for {chances.dtype!r}')
        if not bool(_C.logical_and(chances >= 0, chances <= 1).all()):
            raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false.")
    made = _like(input, None)._bernoulli_(chances, generator=generator)
    if p is None and input.requires_grad and _C.is_grad_enabled():
        made = made + input * 0  # the derivative is zero, and there is one
    return deliver(made, out)


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Each element 1 with probability p (a number or a tensor), else 0."""
    if isinstance(p, Tensor):
        p = p.detach()
        if not bool(_C.logical_and(p >= 0, p <= 1).all()):
            raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false.")
    return self._bernoulli_(p, generator=generator)


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None, out: Tensor | None = None
) -> Tensor:
    """Indices drawn with the probabilities in a vector, or in each row of a matrix.

    Args:
        input: weights, not negative, of shape (m,) or (n, m); they need not sum to one.
        num_samples: how many to draw.
        replacement: whether an index may be drawn again.
        generator: where the numbers come from.
        out: where to write the result.

    Returns:
        int64 of shape (num_samples,) or (n, num_samples).
    """
    require_tensor(input, "multinomial")
    rank = input.dim()
    if rank not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {input.dtype}")
    if out is not None and out.dtype is not _C.int64:
        raise RuntimeError(f"multinomial expects Long tensor out, got: {out.dtype}")
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > input.shape[-1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    if input.shape[-1] > 2**24:
        raise RuntimeError("number of categories cannot exceed 2^24")
    p = input.detach()
    if not bool(_C.logical_and(p >= 0, p < float("inf")).all()):
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    totals = p.sum(-1)
    if not bool((totals > 0).all()):
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    if replacement:
        edges = p.cumsum(-1, dtype=_C.float64)
        edges = edges / edges.select(-1, -1).unsqueeze(-1)
        shape = [num_samples] if rank == 1 else [p.shape[0], num_samples]
        draws = _C._rand(shape, generator=generator, dtype=_C.float64)
        found = _C.searchsorted(edges, draws, right=True)
        # The last index of weight zero is never hit, even where rounding leaves the last edge below one.
        last = (p > 0).to(_C.int64).cumsum(-1).argmax(-1, keepdim=True)
        found = _C.minimum(found, last)
    else:
        # The order of the p smallest Exp(1) / weight is that of drawing without replacement (Efraimidis, Spirakis 2006).
        race = p.to(_C.float64) / _C.empty_like(p, dtype=_C.float64).exponential_(generator=generator)
        found = _C.topk(race, num_samples, -1)[1]
    return deliver(found, out)


def normal(
    mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Any = None, out: Tensor | None = None,
    dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Normal numbers: mean and standard deviation are tensors, or numbers together with a size.

    Raises:
        RuntimeError: if a standard deviation is negative.
    """
    if isinstance(std, Tensor):
        if not std.dtype.is_floating_point:
            raise RuntimeError(f'"normal" expects std to be of floats, but got {std.dtype}')
        if std.numel() and bool((std < 0).any()):
            raise RuntimeError("normal expects all elements of std >= 0.0")
    elif std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {float(std)}")
    if isinstance(mean, Tensor) or isinstance(std, Tensor):
        shape = (mean + std).shape if isinstance(mean, Tensor) and isinstance(std, Tensor) else None
        model = mean if isinstance(mean, Tensor) else std
        draws = _C._randn(model.shape if shape is None else shape, generator=generator, dtype=model.dtype)
        draws = (draws * (std.detach() if isinstance(std, Tensor) else std)).add_(
            mean.detach() if isinstance(mean, Tensor) else mean
        )
        wants = [t for t in (mean, std) if isinstance(t, Tensor) and t.requires_grad]
        if wants and _C.is_grad_enabled():
            for t in wants:
                draws = draws + t * 0  # the derivative is zero, and there is one
        return deliver(draws, out)
    if size is None:
        raise TypeError('normal() with numbers for mean and std needs "size"')
    made = _C._empty(size, dtype=dtype, device=device).normal_(float(mean), float(std), generator=generator)
    if out is not None:
        return deliver(made, out)
    return made.requires_grad_() if requires_grad else made


def poisson(input: Tensor, generator: Any = None) -> Tensor:
    """Poisson numbers with the rate that stands at each place."""
    require_tensor(input, "poisson")
    if input.dtype not in FLOATS:
        raise RuntimeError(f'"poisson_cpu" not implemented for {input.dtype!r}')
    rates = input.detach()
    if bool((rates < 0).any()):
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    import numpy as np

    key = int(_C._randint(0, 2**62, (), generator=generator))
    drawn = np.random.Generator(np.random.Philox(key)).poisson(rates.to(_C.float64).numpy())
    return _C._tensor(np.asarray(drawn, dtype=np.int64), input.dtype)


# ---- in place ---------------------------------------------------------------------------------------------------------

# The largest integer up to which every integer is a value of the dtype.
_EXACT = {_C.float16: 2**11, _C.bfloat16: 2**8, _C.float32: 2**24, _C.float64: 2**53}


def random_(self: Tensor, *bounds: Any, generator: Any = None, **named: Any) -> Tensor:
    """Integers: `random_()` over the whole range of the dtype, `random_(to)`, `random_(from, to)`."""
    low, high = named.pop("from", None), named.pop("to", None)
    if named:
        raise TypeError(f"random_() got an unexpected keyword argument '{next(iter(named))}'")
    if len(bounds) == 2:
        low, high = bounds
    elif len(bounds) == 1:
        low, high = (low, bounds[0]) if high is None else (bounds[0], high)
    low = 0 if low is None else low
    if high is None:
        dtype = self.dtype
        if dtype is _C.bool:
            high = 2
        elif dtype in _EXACT:
            high = _EXACT[dtype] + 1
        else:
            high = min(2 ** (8 * dtype.itemsize - int(dtype.is_signed)), 2**63 - 1)
    return self._random_(low, high, generator=generator)


def cauchy_(self: Tensor, median: float = 0, sigma: float = 1, *, generator: Any = None) -> Tensor:
    """Numbers of the Cauchy distribution."""
    if sigma <= 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={float(sigma)}")
    _floats(self, "cauchy_")
    draws = _like(self, None).uniform_(-0.5, 0.5, generator=generator)
    return self.copy_(draws.mul_(3.141592653589793).tan_().mul_(sigma).add_(median))


def log_normal_(self: Tensor, mean: float = 1, std: float = 2, *, generator: Any = None) -> Tensor:
    """Numbers whose logarithm is normal with this mean and standard deviation."""
    if std <= 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={float(std)}")
    _floats(self, "log_normal_")
    return self.copy_(_like(self, None).normal_(mean, std, generator=generator).exp_())


def geometric_(self: Tensor, p: float, *, generator: Any = None) -> Tensor:
    """How many trials of probability p it takes to succeed."""
    import math

    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    if self.dtype is _C.bool:
        raise RuntimeError("\"geometric_\" not implemented for 'Bool'")
    draws = _C._empty(self.shape, dtype=_C.float64).exponential_(generator=generator)
    return self.copy_(draws.div_(-math.log1p(-p)).ceil_().clamp_(min=1))


def _floats(x: Tensor, what: str) -> None:
    if x.dtype not in FLOATS:
        raise NotImplementedError(f'"{what}" not implemented for {x.dtype!r}')


# ---- dropout ----------------------------------------------------------------------------------------------------------

# What SELU tends to at minus infinity: scale * alpha, negated.
_SELU_FLOOR = -1.7580993408473766


def _chance(p: float) -> None:
    if not 0 <= p <= 1:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p}")


def dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Zeros each element with probability p and scales the others by 1 / (1 - p), when `train` is true."""
    _chance(p)
    if not train or p == 0 or input.numel() == 0:
        return input
    if p == 1:
        return input * 0
    return _C.native_dropout(input, p, True)[0]


def dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """`dropout`, in place."""
    _chance(p)
    if not train or p == 0 or input.numel() == 0:
        return input
    return input.mul_(dropout(_C._full_like(input.detach(), 1), p, True))


def _channels(input: Tensor) -> Tensor:
    if input.dim() < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    return _C._full((*input.shape[:2], *[1] * (input.dim() - 2)), 1, dtype=input.dtype)


def feature_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """`dropout` of whole channels (the second dim)."""
    _chance(p)
    if not train or p == 0 or input.numel() == 0:
        return input
    return input * dropout(_channels(input), p, True)


def feature_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """`feature_dropout`, in place."""
    _chance(p)
    if not train or p == 0 or input.numel() == 0:
        return input
    return input.mul_(dropout(_channels(input), p, True))


def _alpha(ones: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """Factor and summand that keep mean and variance where SELU holds them (Klambauer et al., 2017)."""
    keep = ones._bernoulli_(1 - p)
    a = ((_SELU_FLOOR**2 * p + 1) * (1 - p)) ** -0.5
    return keep * a, (1 - keep) * (_SELU_FLOOR * a) - _SELU_FLOOR * a * p


def alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Dropout that keeps mean and variance of SELU's values."""
    _chance(p)
    if not train or p == 0 or input.numel() == 0:
        return input
    if p == 1:
        return input * 0
    factor, summand = _alpha(_C._full_like(input.detach(), 1), p)
    return input * factor + summand


def feature_alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """`alpha_dropout` of whole channels."""
    _chance(p)
    if not train or p == 0 or input.numel() == 0:
        return input
    if p == 1:
        return input * 0
    factor, summand = _alpha(_channels(input), p)
    return input * factor + summand


def alpha_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """`alpha_dropout`, in place."""
    _chance(p)
    if not train or p == 0 or input.numel() == 0:
        return input
    factor, summand = _alpha(_C._full_like(input.detach(), 1), p)
    return input.mul_(factor).add_(summand) if p < 1 else input.mul_(0)


def feature_alpha_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """`feature_alpha_dropout`, in place."""
    _chance(p)
    if not train or p == 0 or input.numel() == 0:
        return input
    factor, summand = _alpha(_channels(input), p)
    return input.mul_(factor).add_(summand) if p < 1 else input.mul_(0)


METHODS = {
    "bernoulli": bernoulli, "bernoulli_": bernoulli_, "cauchy_": cauchy_, "geometric_": geometric_,
    "log_normal_": log_normal_, "multinomial": multinomial, "random_": random_,
}  # fmt: skip
