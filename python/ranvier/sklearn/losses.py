"""The losses of MLPClassifier and MLPRegressor, which have the factors of scikit-learn's losses."""

from __future__ import annotations

import ranvier.nn as nn
from ranvier.autograd import Tensor


class LogLoss(nn.BCEWithLogitsLoss):
    """The sum over the outputs of their binary cross-entropies, averaged over the samples.

    >>> import ranvier as rv
    >>> from ranvier.sklearn.losses import LogLoss
    >>> LogLoss()(rv.zeros(1, 2), rv.ones(1, 2))
    tensor(1.3863)
    """

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        loss = super().forward(x, target)
        # The base class averages over samples and outputs.
        if x.shape[1] == 1:
            return loss
        return loss * float(x.shape[1])


class HalfSquaredError(nn.MSELoss):
    """Half the sum over the outputs of their squared errors, averaged over the samples.

    >>> import ranvier as rv
    >>> from ranvier.sklearn.losses import HalfSquaredError
    >>> HalfSquaredError()(rv.zeros(1, 2), rv.ones(1, 2))
    tensor(1.)
    """

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        return super().forward(x, target) * (0.5 * x.shape[1])


class HalfPoisson(nn.PoissonNLLLoss):
    """The sum over the outputs of exp(x) - target x, averaged over the samples; x: logarithms of predictions.

    >>> import ranvier as rv
    >>> from ranvier.sklearn.losses import HalfPoisson
    >>> HalfPoisson()(rv.zeros(1, 2), rv.ones(1, 2))
    tensor(2.)
    """

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        return super().forward(x, target) * float(x.shape[1])
