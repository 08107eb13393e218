"""Optimizers and learning-rate schedules under PyTorch's names."""

import typing as _typing

import ranvier.extension as _extension
import ranvier.first_use as _first_use
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

if _typing.TYPE_CHECKING:
    from ranvier.optim import lr_scheduler, swa_utils
    from ranvier.optim.lbfgs import LBFGS

__all__ = [
    "ASGD", "LBFGS", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam",
    "Optimizer", "RAdam", "RMSprop", "Rprop", "lr_scheduler", "swa_utils",
]  # fmt: skip
__getattr__ = _first_use.FirstUse(__name__, {"lbfgs": "LBFGS", "lr_scheduler": "", "swa_utils": ""})
__dir__ = __getattr__.directory
_extension.loaded(__name__)
