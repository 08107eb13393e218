"""Losses: how far predictions lie from targets.

``reduction`` is 'mean' (the sum of the elements' losses divided by their number), 'sum' or 'none'. Shapes
are not broadcast: (n,) against (n, 1) raises ValueError. Targets that are NumPy arrays or hold integers take
the dtype of x; weights are constants, through which no gradient goes.
"""

from ranvier.ops.loss.classes import cross_entropy, focal, multi_margin, nll
from ranvier.ops.loss.margin import (
    cosine_embedding,
    hinge_embedding,
    margin_ranking,
    soft_margin,
    triplet_margin,
)
from ranvier.ops.loss.probability import bce, bce_with_logits, kl_div, sigmoid_focal
from ranvier.ops.loss.regression import gaussian_nll, huber, l1, mse, poisson_nll, smooth_l1

__all__ = [
    "bce",
    "bce_with_logits",
    "cosine_embedding",
    "cross_entropy",
    "focal",
    "gaussian_nll",
    "hinge_embedding",
    "huber",
    "kl_div",
    "l1",
    "margin_ranking",
    "mse",
    "multi_margin",
    "nll",
    "poisson_nll",
    "sigmoid_focal",
    "smooth_l1",
    "soft_margin",
    "triplet_margin",
]
