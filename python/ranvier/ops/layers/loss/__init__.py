"""Losses: how far predictions lie from targets.

``reduction`` is 'mean' (the sum of the elements' losses divided by their number), 'sum' or 'none'. Shapes
are not broadcast: (n,) against (n, 1) raises ValueError. Targets that are NumPy arrays or hold integers take
the dtype of x; weights are constants, through which no gradient goes.
"""

from ranvier.ops.layers.loss.classes import *
from ranvier.ops.layers.loss.margin import *
from ranvier.ops.layers.loss.probability import *
from ranvier.ops.layers.loss.regression import *
