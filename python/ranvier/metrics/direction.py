"""Whether more or less of a quantity is better, by its name."""

from __future__ import annotations

__all__ = ["higher_is_better"]

_HIGHER = ("accuracy", "auc", "f1", "precision", "r2", "recall")


def higher_is_better(name: str) -> bool:
    """True for accuracies, r2 and the like; False for losses and errors.

    >>> higher_is_better("val_accuracy"), higher_is_better("f1_score"), higher_is_better("loss")
    (True, True, False)
    """
    return name.removesuffix("_score").endswith(_HIGHER)
