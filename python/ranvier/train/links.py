"""Links: how the output of a classification model becomes probabilities and labels, for each loss.

CrossEntropyLoss, FocalLoss          softmax over axis 1     label: the class of the largest output
NLLLoss                              the same: softmax of log-probabilities gives the probabilities back
MultiMarginLoss                      the same, of scores that were not trained to be probabilities
BCEWithLogitsLoss, SigmoidFocalLoss  sigmoid                 label: probability > 0.5
BCELoss                              none: the output is a probability already
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import ranvier.nn as nn
import ranvier.ops as ops

__all__ = ["labels", "link_of", "probabilities"]

Array = npt.NDArray[Any]

_LINKS: tuple[tuple[type, str], ...] = (
    (nn.CrossEntropyLoss, "softmax"),
    (nn.FocalLoss, "softmax"),
    (nn.NLLLoss, "softmax"),
    (nn.MultiMarginLoss, "softmax"),
    (nn.BCEWithLogitsLoss, "sigmoid"),
    (nn.SigmoidFocalLoss, "sigmoid"),
    (nn.BCELoss, "identity"),
)


def link_of(loss: Any) -> str | None:
    """ "softmax", "sigmoid" or "identity" for a classification loss, None for any other.

    A user's loss declares it by an attribute `link` with one of these names.
    """
    own: str | None = getattr(loss, "link", None)
    if own is not None:
        if own not in ("softmax", "sigmoid", "identity"):
            raise ValueError(
                f"[Trainer] got a loss with link {own!r}; expected 'softmax', 'sigmoid' or 'identity'"
            )
        return own
    return next((link for kind, link in _LINKS if isinstance(loss, kind)), None)


def probabilities(output: Array, link: str) -> Array:
    """The link applied to a model's output; same shape."""
    if link == "softmax":
        return np.asarray(ops.softmax(output, 1)._array)
    if link == "sigmoid":
        return np.asarray(ops.sigmoid(output)._array)
    return output


def labels(output: Array, link: str) -> npt.NDArray[np.int64]:
    """The most likely label, int64: (n, classes, ...) gives (n, ...); a binary output keeps its shape."""
    if link == "softmax":
        return output.argmax(axis=1)
    # sigmoid(z) > 0.5 exactly where z > 0
    return (output > (0.0 if link == "sigmoid" else 0.5)).astype(np.int64)
