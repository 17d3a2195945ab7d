"""Weights as a length times a direction (Salimans and Kingma, arXiv 1602.07868)."""

from __future__ import annotations

from firesteel import _C

from ..parameter import Parameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..module import Module

__all__ = ["WeightNorm", "remove_weight_norm", "weight_norm"]

Tensor = _C.Tensor


class WeightNorm:
    """The hook that makes the weight anew before each forward.

    Args:
        name: of the weight.
        dim: the dimension along which each slice has a length of its own; -1 for one length in all.
    """

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module: Any) -> Tensor:
        """Length times direction."""
        length, direction = getattr(module, self.name + "_g"), getattr(module, self.name + "_v")
        return direction * (length / _lengths(direction, self.dim))

    @staticmethod
    def apply(module: Any, name: str, dim: int | None) -> WeightNorm:
        """Splits the weight in two and registers the hook."""
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm) and hook.name == name:
                raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
        made = WeightNorm(name, dim)
        weight = getattr(module, name)
        del module._parameters[name]
        module.register_parameter(name + "_g", Parameter(_lengths(weight, made.dim).data))
        module.register_parameter(name + "_v", Parameter(weight.data))
        setattr(module, name, made.compute_weight(module))
        module.register_forward_pre_hook(made)
        return made

    def remove(self, module: Any) -> None:
        """Makes a plain parameter of the weight again."""
        weight = self.compute_weight(module)
        delattr(module, self.name)
        del module._parameters[self.name + "_g"], module._parameters[self.name + "_v"]
        setattr(module, self.name, Parameter(weight.data))

    def __call__(self, module: Any, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def _lengths(weight: Tensor, dim: int) -> Tensor:
    """The Euclidean length of each slice, of a shape that broadcasts with the weight."""
    if dim == -1:
        return weight.square().sum().sqrt()
    others = [at for at in range(weight.dim()) if at != dim % weight.dim()]
    return weight.square().sum(others, keepdim=True).sqrt() if others else weight.abs()


def weight_norm(module: Module, name: str = "weight", dim: int = 0) -> Module:
    """Replaces a weight by two parameters, its length `weight_g` and its direction `weight_v`.

    Args:
        module: whose weight.
        name: of the weight.
        dim: the dimension along which each slice has a length of its own; None for one length in all.

    Returns:
        The module.

    Raises:
        RuntimeError: if that has been done already.

    >>> import firesteel as fs
    >>> list(weight_norm(fs.nn.Linear(3, 2)).state_dict())
    ['bias', 'weight_g', 'weight_v']
    """
    WeightNorm.apply(module, name, dim)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Takes `weight_norm` back.

    Raises:
        ValueError: if there is none.
    """
    for id, hook in module._forward_pre_hooks.items():
        if isinstance(hook, WeightNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[id]
            return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")
