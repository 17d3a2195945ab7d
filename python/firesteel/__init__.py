from . import _C
from ._C import *
from ._size import Size
