"""Training: `Trainer`, its callbacks and its history."""

from ranvier.train.callbacks import Callback, EarlyStopping, ProgressBar
from ranvier.train.history import History
from ranvier.train.trainer import Trainer

__all__ = ["Callback", "EarlyStopping", "History", "ProgressBar", "Trainer"]
