"""Training: `Trainer`, its callbacks and its history, and the learning-rate range test."""

from ranvier.train.callbacks import (
    Callback,
    Checkpoint,
    CSVLog,
    EarlyStopping,
    LambdaCallback,
    NormHistory,
    ProgressBar,
    Schedule,
    TensorBoard,
    WeightAveraging,
)
from ranvier.train.history import History
from ranvier.train.lr_range_test import LRRangeTest, lr_range_test
from ranvier.train.nonfinite import NonFiniteError
from ranvier.train.trainer import Trainer

__all__ = [
    "CSVLog",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "History",
    "LRRangeTest",
    "LambdaCallback",
    "NonFiniteError",
    "NormHistory",
    "ProgressBar",
    "Schedule",
    "TensorBoard",
    "Trainer",
    "WeightAveraging",
    "lr_range_test",
]
