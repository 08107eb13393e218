"""Optimizers and learning-rate schedules under PyTorch's names."""

from ranvier.optim import lr_scheduler, swa_utils
from ranvier.optim.adadelta import Adadelta
from ranvier.optim.adagrad import Adagrad
from ranvier.optim.adam import Adam, AdamW
from ranvier.optim.adamax import Adamax
from ranvier.optim.lbfgs import LBFGS
from ranvier.optim.lion import Lion
from ranvier.optim.nadam import NAdam
from ranvier.optim.optimizer import Optimizer
from ranvier.optim.radam import RAdam
from ranvier.optim.rmsprop import RMSprop
from ranvier.optim.sgd import SGD

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "lr_scheduler",
    "swa_utils",
]
