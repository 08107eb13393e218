"""What may happen between the steps of a run: one file for each callback, their base in `base`."""

from ranvier.train.callbacks.averaging import WeightAveraging
from ranvier.train.callbacks.base import Callback, LambdaCallback
from ranvier.train.callbacks.checkpoint import Checkpoint
from ranvier.train.callbacks.csv_log import CSVLog
from ranvier.train.callbacks.early_stopping import EarlyStopping
from ranvier.train.callbacks.norms import NormHistory
from ranvier.train.callbacks.progress import ProgressBar
from ranvier.train.callbacks.schedule import Schedule
from ranvier.train.callbacks.tensorboard import TensorBoard

__all__ = [
    "CSVLog",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "LambdaCallback",
    "NormHistory",
    "ProgressBar",
    "Schedule",
    "TensorBoard",
    "WeightAveraging",
]
