"""Linear algebra that is made of products and sums (`torch.linalg`); decompositions are not there yet.

>>> import firesteel as fs
>>> fs.linalg.norm(fs.tensor([[3.0, 0.0], [0.0, 4.0]]))
tensor(5.)
"""

from .ops._linalg import *
from .ops._linalg import __all__ as __all__
