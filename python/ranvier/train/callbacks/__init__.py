"""Callbacks, called between the steps of a run: the base class, those that act on a run, and that record
it."""

from ranvier.tensors.errors import own_errors as _own_errors
from ranvier.train.callbacks.base import *
from ranvier.train.callbacks.control import *
from ranvier.train.callbacks.logs import *
from ranvier.train.checkpoints import *

_own_errors(globals(), ("Checkpoint", "EarlyStopping", "ProgressBar", "Schedule", "TensorBoard"))
