"""What may happen between the steps of a run: a file for each callback, and their base in `base`."""

from ranvier.train.callbacks.base import *
from ranvier.train.callbacks.control import *
from ranvier.train.callbacks.logs import *
from ranvier.train.checkpoints import *
