"""Losses as layers. Formulas, shapes and sources: :mod:`ranvier.ops.loss`.

``reduction``: 'mean' (the sum divided by the number of losses), 'sum' or 'none'. Predictions and targets of
different shapes raise ValueError; they are not broadcast. Weights may be Tensors, arrays or sequences of
numbers; they are stored as buffers.
"""

import ranvier.first_use as _first_use
from ranvier.nn.table import LAYERS as _LAYERS

_MODULES = {module: " ".join(_LAYERS[f"loss.{module}"]) for module in ("classes", "elements", "margins")}
_MODULES["base"] = "Loss WeightedLoss"
__getattr__ = _first_use.FirstUse(__name__, _MODULES)
__dir__ = __getattr__.directory
__all__ = [*__getattr__.names]
