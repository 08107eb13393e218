"""Labels: the classes of a classifier, and the conversion of labels to class indices and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from ranvier.sklearn.types import TargetLike
from ranvier.tensors.memory import Array


def are_few_integers(y: Any) -> bool:
    """True for an array (n,) of whole numbers with at least two samples a class on average.

    Such labels need none of scikit-learn's checks, which refuse other types and may warn of more classes.
    """
    if type(y) is not np.ndarray or y.ndim != 1 or y.dtype.kind not in "iu":
        return False
    return 2 * len(np.unique(y)) <= len(y)


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

    def __init__(self, y: Any, classes: TargetLike | None = None) -> None:
        if classes is None and type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "iu":
            self.classes = np.unique(y)
            # Integers with at least two samples a class on average: the general way below gives the same. It
            # is needed for more classes, of which scikit-learn may warn.
            if 2 * len(self.classes) <= len(y):
                self.multilabel = False
                return
        check_classification_targets(y)
        target_type = type_of_target(y, input_name="y")
        if target_type == "multiclass-multioutput":
            raise ValueError(
                "[labels] got a y of several columns with more than two values; expected one column of "
                "labels, or a matrix of zeros and ones"
            )
        self.multilabel = target_type == "multilabel-indicator"
        if self.multilabel:
            self.classes = np.arange(y.shape[1])
        elif classes is None:
            self.classes = np.unique(column_or_1d(y))
        else:
            self.classes = np.unique(column_or_1d(classes))

    def encode(self, y: Any) -> Array:
        """Class indices (n,), int64; or float32 zeros and ones (n, k).

        Raises ValueError: a label that is not among the classes.
        """
        if self.multilabel:
            return self._encode_matrix(y)
        if type(y) is not np.ndarray or y.ndim != 1 or y.dtype.kind not in "iubU":
            y = column_or_1d(y, warn=True)
        # The order that sorts the classes: a program may have assigned `classes_` in another one.
        order = np.argsort(self.classes)
        codes = order.take(np.searchsorted(self.classes, y, sorter=order), mode="clip")
        if not np.array_equal(self.classes.take(codes, mode="clip"), y):
            new = np.setdiff1d(y, self.classes)
            raise ValueError(f"[labels] got the class {new.tolist()[0]!r}; expected one of {self.classes}")
        return codes.astype(np.int64, copy=False)

    def _encode_matrix(self, y: Any) -> Array:
        dense = y.toarray() if issparse(y) else np.asarray(y)
        if dense.ndim != 2 or dense.shape[1] != len(self.classes):
            raise ValueError(
                f"[labels] got y of shape {dense.shape}; expected ({len(dense)}, {len(self.classes)})"
            )
        return dense.astype(np.float32)

    def decode(self, probability: Array) -> Array:
        """Labels (n,), or zeros and ones (n, k), of the probabilities (n, classes)."""
        if self.multilabel:
            return (probability > 0.5).astype(np.int64)
        return self.classes[probability.argmax(axis=1)]
