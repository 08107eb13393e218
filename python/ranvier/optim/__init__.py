"""Optimizers and learning-rate schedules under PyTorch's names."""

import ranvier.extension as _extension
from ranvier.optim import lr_scheduler, swa_utils
from ranvier.optim.lbfgs import LBFGS
from ranvier.optim.optimizer import Optimizer
from ranvier.optim.update_rules import (
    ASGD,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    RAdam,
    RMSprop,
    Rprop,
)

__all__ = [
    "ASGD", "LBFGS", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam",
    "Optimizer", "RAdam", "RMSprop", "Rprop", "lr_scheduler", "swa_utils",
]  # fmt: skip
_extension.loaded(__name__)
