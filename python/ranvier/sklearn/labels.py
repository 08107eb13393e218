"""Labels: class labels as targets of a loss, and probabilities as labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target

__all__ = ["Labels"]

Array = npt.NDArray[Any]


class Labels:
    """The classes of a classification problem.

    Args:
        y: labels (n,) of any type, or a matrix of zeros and ones (n, k) with several labels a sample.
        classes: all classes, where y may lack some of them.

    Attributes:
        classes: the sorted labels, or 0 ... k - 1.
        multilabel: whether a sample may have several labels.

    Raises ValueError: targets that are no labels.
    """

    def __init__(self, y: Any, classes: Any = None) -> None:
        if classes is None and type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "iu":
            self.classes = np.unique(y)
            if 2 * len(self.classes) <= len(y):  # else scikit-learn may warn
                self.multilabel = False
                return
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y")
        if kind == "multiclass-multioutput":
            raise ValueError(
                "[labels] got a y of several columns with more than two values; expected one column of "
                "labels, or a matrix of zeros and ones"
            )
        self.multilabel = kind == "multilabel-indicator"
        if self.multilabel:
            self.classes = np.arange(y.shape[1])
        else:
            self.classes = np.unique(column_or_1d(y if classes is None else classes))

    def encode(self, y: Any) -> Array:
        """Class indices (n,), int64; or float32 zeros and ones (n, k).

        Raises ValueError: a label that is none of the classes.
        """
        if self.multilabel:
            dense = y.toarray() if issparse(y) else np.asarray(y)
            if dense.ndim != 2 or dense.shape[1] != len(self.classes):
                raise ValueError(
                    f"[labels] got y of shape {dense.shape}; expected ({len(dense)}, {len(self.classes)})"
                )
            return dense.astype(np.float32)
        y = column_or_1d(y, warn=True)
        codes = np.searchsorted(self.classes, y)
        if not np.array_equal(self.classes.take(codes, mode="clip"), y):
            new = np.setdiff1d(y, self.classes)
            raise ValueError(f"[labels] got the class {new.tolist()[0]!r}; expected one of {self.classes}")
        return codes.astype(np.int64, copy=False)

    def decode(self, probability: Array) -> Array:
        """Labels (n,), or zeros and ones (n, k), of the probabilities (n, classes)."""
        if self.multilabel:
            return (probability > 0.5).astype(np.int64)
        return self.classes[probability.argmax(axis=1)]
