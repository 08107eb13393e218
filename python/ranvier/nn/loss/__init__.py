"""Losses as layers. Formulas, shapes and sources: :mod:`ranvier.ops.layers.loss`.

``reduction``: 'mean' (the sum divided by the number of losses), 'sum' or 'none'. Predictions and targets of
different shapes raise ValueError; they are not broadcast. Weights may be Tensors, arrays or sequences of
numbers; they are stored as buffers.
"""

from ranvier.nn.loss.classes import *
from ranvier.nn.loss.margin import *
from ranvier.nn.loss.probability import *
from ranvier.nn.loss.regression import *
