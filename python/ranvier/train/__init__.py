"""Training: `Trainer`, its callbacks and its history."""

from ranvier.train.callbacks import (
    Callback,
    Checkpoint,
    CSVLog,
    EarlyStopping,
    LambdaCallback,
    ProgressBar,
    Schedule,
    TensorBoard,
)
from ranvier.train.history import History
from ranvier.train.trainer import Trainer

__all__ = [
    "CSVLog",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "ProgressBar",
    "Schedule",
    "TensorBoard",
    "Trainer",
]
