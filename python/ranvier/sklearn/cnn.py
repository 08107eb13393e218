"""CNNClassifier: a convolutional network for images."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse

import ranvier.nn as nn
from ranvier.autograd import random
from ranvier.nn.activation import named
from ranvier.sklearn.base import set_parameters
from ranvier.sklearn.mlp import MLPClassifier
from ranvier.sklearn.perceptron import ACTIVATIONS
from ranvier.sklearn.settings import hidden_sizes, whole

__all__ = ["CNNClassifier"]

Array = npt.NDArray[Any]


class CNNClassifier(MLPClassifier):
    """A convolutional network for images.

    Blocks of convolution, batch norm, activation and max-pooling (2 x 2, while the image has at least 4 rows
    and columns), then hidden layers. The pixels are normalised over each batch, so their range does not
    matter.

    X is (n, rows, columns), (n, rows, columns, channels), (n, channels, rows, columns), or (n, pixels). Of
    four axes the last one has the channels if it has 1, 3 or 4 entries and the second one has not.

    Args:
        channels: of each block.
        kernel_size: of the convolutions, an odd number.
        hidden_layer_sizes: units of each hidden layer after the blocks.
        image_shape: (rows, columns) or (channels, rows, columns) for X (n, pixels); None means square, where
            the number of pixels is a square, else one row.
        activation ... dtype: see :class:`MLPClassifier`.

    Attributes: those of :class:`MLPClassifier`; coefs_ and intercepts_ are of the hidden layers and the
        output. image_shape_ is (channels, rows, columns).

    Raises ValueError: X of other sizes, or a parameter out of range.

    >>> from ranvier.sklearn import CNNClassifier
    >>> from sklearn.datasets import load_digits
    >>> digits = load_digits()
    >>> model = CNNClassifier(channels=(8, 16), tol=0.01, n_iter_no_change=2, random_state=0)
    >>> model = model.fit(digits.images[:1000], digits.target[:1000])
    >>> model.score(digits.images[1000:], digits.target[1000:]) > 0.9
    True
    """

    def __init__(
        self,
        channels: Any = (16, 32),
        kernel_size: int = 3,
        *,
        image_shape: Any = None,
        hidden_layer_sizes: Any = (64,),
        activation: Any = "relu",
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = 64,
        learning_rate: str = "constant",
        learning_rate_init: float = 0.002,
        power_t: float = 0.5,
        max_iter: int = 30,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        loss: Any = "log_loss",
        class_weight: Any = None,
        dropout: float = 0.0,
        batch_norm: bool = True,
        callbacks: Any = None,
        dtype: str | None = None,
    ) -> None:
        set_parameters(locals())

    def _arranged(self, X: Any, reset: bool = False) -> Any:
        """Images as rows (n, channels * rows * columns); `reset`: this is fit, so their shape is kept."""
        if issparse(X):
            X = X.toarray()
        x = X if hasattr(X, "dtypes") else np.asarray(X)
        if x.ndim not in (2, 3, 4):
            return x  # refused by scikit-learn's check
        if x.ndim == 2:
            shape = self._shape_of_rows(x.shape[1])
        elif x.ndim == 3:
            shape = (1, *x.shape[1:])
        else:
            if x.shape[3] in (1, 3, 4) and x.shape[1] not in (1, 3, 4):
                x = np.moveaxis(x, 3, 1)
            shape = x.shape[1:]
        if reset:
            self.image_shape_ = tuple(map(int, shape))
        elif hasattr(self, "image_shape_") and x.ndim > 2 and shape != self.image_shape_:
            raise ValueError(
                f"[CNNClassifier] got images of shape {shape}; expected {self.image_shape_} (channels, rows, "
                "columns) as in fit"
            )
        return x if x.ndim == 2 else np.ascontiguousarray(x).reshape(len(x), -1)

    def _shape_of_rows(self, pixels: int) -> tuple[int, ...]:
        """(channels, rows, columns) of X (n, pixels)."""
        if self.image_shape is not None:
            shape = (1,) * (3 - len(self.image_shape)) + tuple(self.image_shape)
            if len(shape) != 3 or math.prod(shape) != pixels:
                raise ValueError(
                    f"[CNNClassifier] got image_shape {self.image_shape} for X of {pixels} columns; expected "
                    "(rows, columns) or (channels, rows, columns) of this product"
                )
            return shape
        side = math.isqrt(pixels)
        return (1, side, side) if side * side == pixels else (1, 1, pixels)

    def _batch_size(self, n: int) -> int:
        return super()._batch_size(n) if self.batch_size == "auto" else min(int(self.batch_size), n)

    def _is_quiet(self) -> bool:
        return True

    def _network(self, features: int, outputs: int) -> nn.Sequential:
        with random.using(self._stream()):
            return self._blocks(outputs)

    def _blocks(self, outputs: int) -> nn.Sequential:
        size = whole(self, "kernel_size")
        if size % 2 == 0:
            raise ValueError(f"[CNNClassifier] got kernel_size {size}; expected an odd number")
        channels = [self.image_shape_[0], *self.channels]
        rows, columns = self.image_shape_[1:]
        dtype: Any = self._dtype()
        layers: list[Any] = [nn.Unflatten(1, self.image_shape_), nn.BatchNorm2d(channels[0], dtype=dtype)]
        for before, after in pairwise(channels):
            layers.append(nn.Conv2d(before, after, size, padding=size // 2, dtype=dtype))
            if self.batch_norm:
                layers.append(nn.BatchNorm2d(after, dtype=dtype))
            layers.append(self._activation())
            if rows >= 4 and columns >= 4:
                layers.append(nn.MaxPool2d(2))
                rows, columns = rows // 2, columns // 2
        layers.append(nn.Flatten())
        sizes = [channels[-1] * rows * columns, *hidden_sizes(self), outputs]
        for i in range(len(sizes) - 1):
            layers.append(nn.Linear(sizes[i], sizes[i + 1], dtype=dtype))
            if i < len(sizes) - 2:
                layers.append(self._activation())
                layers.append(nn.Dropout(float(self.dropout)))
        return nn.Sequential(*layers)

    def _activation(self) -> Any:
        kind = self.activation
        return named(ACTIVATIONS.get(kind, kind)) if isinstance(kind, str) else kind()

    def _shifts(self) -> tuple[type, ...]:
        """The layers whose bias `intercepts_` has: here norms follow convolutions only."""
        return (nn.Linear,)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags
