"""Optimizers and learning-rate schedules, with PyTorch's names, arguments and state.

SGD, RMSprop, Adam, AdamW, Adagrad and Adadelta take each step in one native call over all parameters of a group; the
others are composed of tensor operations.

>>> import firesteel as fs
>>> w = fs.nn.Parameter(fs.tensor([1.0, 2.0]))
>>> optimizer = fs.optim.SGD([w], lr=0.5)
>>> (w * w).sum().backward()
>>> optimizer.step()
>>> w.tolist()
[0.0, 0.0]
"""

from . import lr_scheduler
from .adadelta import Adadelta
from .adagrad import Adagrad
from .adam import Adam, AdamW
from .adamax import Adamax
from .asgd import ASGD
from .lbfgs import LBFGS
from .nadam import NAdam
from .optimizer import Optimizer
from .radam import RAdam
from .rmsprop import RMSprop
from .rprop import Rprop
from .sgd import SGD

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "lr_scheduler",
]
