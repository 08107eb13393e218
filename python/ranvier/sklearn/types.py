"""The types of the estimators' arguments, under the names of scikit-learn's documentation.

scikit-learn and SciPy have no annotations: the two protocols have what the estimators read of a matrix of
`scipy.sparse` and of a data frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

import ranvier.nn as nn
from ranvier.autograd import Tensor
from ranvier.optim import Optimizer
from ranvier.tensors.memory import Array
from ranvier.train import Callback


class SparseMatrix(Protocol):
    """A matrix or array of `scipy.sparse`."""

    @property
    def shape(self) -> tuple[int, int]: ...
    def toarray(self) -> Array: ...
    def __getitem__(self, rows: Array) -> SparseMatrix: ...


class DataFrame(Protocol):
    """A data frame of pandas or polars."""

    @property
    def columns(self) -> Sequence[Any]: ...
    @property
    def dtypes(self) -> Iterable[Any]: ...
    def __getitem__(self, name: Any) -> Any: ...


MatrixLike: TypeAlias = npt.ArrayLike | SparseMatrix | DataFrame
"""X: what scikit-learn's checks take, as a user passes it."""

TargetLike: TypeAlias = npt.ArrayLike | SparseMatrix | DataFrame
"""y as a user passes it: labels or values (n,), values (n, outputs), or zeros and ones (n, labels)."""

WeightsLike: TypeAlias = npt.ArrayLike | None
"""The `sample_weight` of a user, (n,); None: all samples count the same."""

ValidationData: TypeAlias = tuple[MatrixLike, TargetLike] | tuple[MatrixLike, TargetLike, WeightsLike] | None
"""(X, y) or (X, y, sample_weight) to measure a fit with; None: no such data."""

Samples: TypeAlias = Array | SparseMatrix
"""X after the checks: an array or a CSR matrix in the dtype of the network."""

RandomState: TypeAlias = int | np.random.RandomState | None
"""The seed of a fit, a stream of random numbers, or None for another fit each time."""

ClassWeight: TypeAlias = Mapping[Any, float] | str | None
"""The weight of each class, "balanced", or None."""

HiddenSizes: TypeAlias = int | Sequence[int]
"""The units of each hidden layer; a number is one layer."""

Loss: TypeAlias = Callable[[Any, Any], Tensor]
"""A function of an output and a target; those of `rv.nn` are modules."""

LossLike: TypeAlias = str | type[nn.Module] | Loss
"""A loss by its name in scikit-learn, its class in `rv.nn`, or itself."""

OptimizerLike: TypeAlias = str | Callable[..., Optimizer]
"""The name of an optimizer of `rv.optim`, its class, or a function of a list of parameters."""

ActivationLike: TypeAlias = str | type[nn.Module]
"""The name of an activation, or its class in `rv.nn`."""

Callbacks: TypeAlias = Iterable[Callback] | None
"""Callbacks of the Trainer, beside those of the estimator."""
