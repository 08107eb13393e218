"""What may happen between the steps of a run: `base`, callbacks that act on it, and those that record it."""

from ranvier.tensors.errors import own_errors as _own_errors
from ranvier.train.callbacks.base import *
from ranvier.train.callbacks.control import *
from ranvier.train.callbacks.logs import *
from ranvier.train.checkpoints import *

_own_errors(globals(), ("Checkpoint", "EarlyStopping", "ProgressBar", "Schedule", "TensorBoard"))
