"""What every schedule is: a counter, and a rule that makes each group's rate from it."""

from __future__ import annotations

import warnings

from firesteel import _C

from ..optimizer import Optimizer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["LRScheduler"]

Tensor = _C.Tensor

EPOCH_WARNING = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where possible. "
    "Please use `scheduler.step()` to step the scheduler. During the deprecation, if epoch is different from None, "
    "the closed form is used instead of the new chainable form, where available."
)
ORDER_WARNING = (
    "Detected call of `lr_scheduler.step()` before `optimizer.step()`. In PyTorch 1.1.0 and later, you should call "
    "them in the opposite order: `optimizer.step()` before `lr_scheduler.step()`.  Failure to do this will result in "
    "PyTorch skipping the first value of the learning rate schedule. See more details at "
    "https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate"
)
OVERRIDDEN_WARNING = (
    "Seems like `optimizer.step()` has been overridden after learning rate scheduler initialization. Please, make "
    "sure to call `optimizer.step()` before `lr_scheduler.step()`. See more details at "
    "https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate"
)
NOT_RESUMABLE = (
    "param 'initial_lr' is not specified in param_groups[{}] when resuming scheduler with last_epoch >= 0.\n"
    "Load the optimizer's state first, or start a fresh run with last_epoch=-1"
)


def refuse_recording() -> None:
    """A schedule's own state is Python's: a compiled function cannot step it."""
    if _C._is_recording():
        raise _C.RecordingError("a compiled function must not step a schedule: call scheduler.step() outside")


def check_optimizer(optimizer: Any) -> None:
    """Refuses what is no optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def per_group(name: str, optimizer: Any, value: Any) -> list[Any]:
    """One value for each group: a list of that length as it is, a single value repeated."""
    groups = optimizer.param_groups
    if isinstance(value, (list, tuple)):
        if len(value) != len(groups):
            raise ValueError(
                f"{name} must have the same length as optimizer.param_groups. "
                f"{name} has {len(value)} values, param_groups has {len(groups)}."
            )
        values = list(value)
    else:
        values = [value] * len(groups)
    return [v.clone() if isinstance(v, Tensor) else v for v in values]


def current(optimizer: Any, option: str = "lr") -> list[Any]:
    """The option's value in each group, tensors copied."""
    values = [group[option] for group in optimizer.param_groups]
    return [value.clone() if isinstance(value, Tensor) else value for value in values]


def assign(group: dict[str, Any], option: str, value: Any) -> None:
    """Sets an option of a group; a tensor keeps its identity and takes the value."""
    if isinstance(group[option], Tensor):
        group[option].fill_(float(value))
    else:
        group[option] = value


class LRScheduler:
    """Base class of the schedules; a subclass defines `get_lr`, and `_get_closed_form_lr` where there is one.

    Args:
        optimizer: the optimizer whose rates are set.
        last_epoch: the number of the last step done, -1 for a new run.

    Raises:
        TypeError: when `optimizer` is none.
        KeyError: when resuming with groups that do not know their first rate.
    """

    _get_lr_called_within_step = False
    _is_initial = False

    def __init__(self, optimizer: Any, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                rate = group["lr"]
                group.setdefault("initial_lr", rate.clone() if isinstance(rate, Tensor) else rate)
            elif "initial_lr" not in group:
                raise KeyError(NOT_RESUMABLE.format(i))
        self.base_lrs = current(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        # The optimizer's step notes that it ran; only steps after the first schedule was made count.
        if not getattr(optimizer, "_scheduled", False):
            optimizer._scheduled = True
            optimizer._opt_called = False
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """All attributes but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what `state_dict()` of such a schedule returned."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list[Any]:
        """The rate of each group as last set."""
        return self._last_lr

    def get_lr(self) -> list[Any]:
        """The rate of each group for the step now begun; called by `step` only."""
        raise NotImplementedError

    def step(self, epoch: int | None = None) -> None:
        """Goes one step on, or to step `epoch` where one is given (deprecated), and sets the rates.

        Call it after `optimizer.step()`.
        """
        refuse_recording()
        if self._step_count == 1:
            if not getattr(self.optimizer.step, "hooked", False):
                warnings.warn(OVERRIDDEN_WARNING, UserWarning, stacklevel=2)
            elif not getattr(self.optimizer, "_opt_called", False):
                warnings.warn(ORDER_WARNING, UserWarning, stacklevel=2)
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_WARNING, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        self._get_lr_called_within_step = True
        try:
            self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
            closed_form = getattr(self, "_get_closed_form_lr", None)
            values = self.get_lr() if epoch is None or closed_form is None else closed_form()
        finally:
            self._get_lr_called_within_step = False
        self._set(values)

    def _set(self, rates: list[Any]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            assign(group, "lr", rate)
        self._last_lr = current(self.optimizer)

    def _warn_outside_step(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use `get_last_lr()`.",
                UserWarning,
                stacklevel=3,
            )

    def _scaled(self, factor: float) -> list[Any]:
        return [group["lr"] * factor for group in self.optimizer.param_groups]
