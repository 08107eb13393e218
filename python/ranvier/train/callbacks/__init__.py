"""What may happen between the steps of a run: a file for each callback, and their base in `base`."""

from ranvier.train.callbacks.averaging import *
from ranvier.train.callbacks.base import *
from ranvier.train.callbacks.checkpoint import *
from ranvier.train.callbacks.csv_log import *
from ranvier.train.callbacks.early_stopping import *
from ranvier.train.callbacks.norms import *
from ranvier.train.callbacks.progress import *
from ranvier.train.callbacks.schedule import *
from ranvier.train.callbacks.tensorboard import *
