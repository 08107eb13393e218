"""Losses as layers. The formulas are in :mod:`ranvier.ops.layers.loss`.

``reduction``: 'mean' (the sum divided by the number of losses), 'sum' or 'none'. Predictions and targets of
different shapes raise ValueError; they are not broadcast. Weights may be Tensors, arrays or sequences of
numbers; they are kept as buffers.
"""

from ranvier.nn.loss.classes import CrossEntropyLoss, FocalLoss, MultiMarginLoss, NLLLoss
from ranvier.nn.loss.margin import (
    CosineEmbeddingLoss,
    HingeEmbeddingLoss,
    MarginRankingLoss,
    SoftMarginLoss,
    TripletMarginLoss,
)
from ranvier.nn.loss.probability import BCELoss, BCEWithLogitsLoss, KLDivLoss, SigmoidFocalLoss
from ranvier.nn.loss.regression import (
    GaussianNLLLoss,
    HuberLoss,
    L1Loss,
    MSELoss,
    PoissonNLLLoss,
    SmoothL1Loss,
)

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "FocalLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "MarginRankingLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "SigmoidFocalLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "TripletMarginLoss",
]
