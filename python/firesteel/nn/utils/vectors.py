"""All parameters as one vector."""

from __future__ import annotations

from firesteel import _C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["parameters_to_vector", "vector_to_parameters"]

Tensor = _C.Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters, flattened, one after the other.

    >>> import firesteel as fs
    >>> parameters_to_vector([fs.ones(2, 2), fs.zeros(1)])
    tensor([1., 1., 1., 1., 0.])
    """
    return _C.cat([parameter.reshape([-1]) for parameter in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Gives parameters the values of a vector, as `parameters_to_vector` made it.

    Raises:
        TypeError: if it is no tensor.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    start = 0
    for parameter in parameters:
        end = start + parameter.numel()
        parameter.data = vec[start:end].view_as(parameter).data
        start = end
