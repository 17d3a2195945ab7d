"""Linear algebra that is made of products and sums (`torch.linalg`); decompositions are not there yet.

>>> import firesteel as fs
>>> fs.linalg.norm(fs.tensor([[3.0, 0.0], [0.0, 4.0]]))
tensor(5.)
"""

from .ops._linalg import (
    LinAlgError,
    cross,
    diagonal,
    matmul,
    matrix_exp,
    matrix_norm,
    matrix_power,
    multi_dot,
    norm,
    vander,
    vecdot,
    vector_norm,
)

__all__ = [
    "LinAlgError", "cross", "diagonal", "matmul", "matrix_exp", "matrix_norm", "matrix_power", "multi_dot", "norm",
    "vander", "vecdot", "vector_norm",
]  # fmt: skip
