"""A training run as one HTML page that needs nothing else: no network, no file beside it, no matplotlib.

`write` puts together `sections`, which are made of `html` (tables, escaping), `charts` (curves and points as
SVG) and `images` (PNG in data URIs); `page` is the frame with the style sheet.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ranvier.report import sections
from ranvier.report.page import page
from ranvier.serialization import files

__all__ = ["write"]


def write(
    path: str | os.PathLike[str],
    *,
    model: Any = None,
    history: Mapping[str, Sequence[float]] | None = None,
    x: Any = None,
    y_true: Any = None,
    y_pred: Any = None,
    probabilities: Any = None,
    class_names: Sequence[str] | None = None,
    configuration: Mapping[str, Any] | None = None,
    command: str = "",
    title: str = "Training report",
) -> None:
    """Write a page about a training run: each part of it that the arguments allow.

    Predictions that are labels (whole numbers, strings) give a confusion matrix, a table of the classes, the
    pairs that are confused most and samples with their labels; predictions that are values (floats) give the
    errors, points of prediction against truth and residuals.

    Args:
        path: of the .html file; the old one is replaced as a whole.
        model: the layers and parameters are shown, with their shapes if there is an `x`.
        history: what `Trainer.fit` returned, or a mapping from names to lists; "val_loss" goes beside "loss".
            A `History` has the epochs' times, too.
        x: samples (n, ...) to show: images (n, channels, height, width) or (n, height, width), or rows.
        y_true: their labels (n,), or values (n, ...).
        y_pred: what was predicted, of the same shape: `trainer.predict(x)`.
        probabilities: of the classes (n, classes), or of class 1, (n,) or (n, 1): as
            `trainer.predict_proba(x)` gives them.
        class_names: of the labels 0, 1, ...; otherwise the labels themselves.
        configuration: settings to list by name.
        command: what reproduces the run.
        title: the page's heading.

    Raises ValueError: `y_pred` without `y_true`, arrays of unequal length or shape, or no samples.

    >>> import pathlib, tempfile
    >>> import ranvier as rv
    >>> path = pathlib.Path(tempfile.mkdtemp(), "run.html")
    >>> rv.report.write(path, history={"loss": [0.9, 0.4]}, y_true=[0, 1, 1], y_pred=[0, 1, 0],
    ...                 class_names=["cat", "dog"])
    >>> page = path.read_text()
    >>> "<title>Training report</title>" in page, "0.6667" in page, "<svg" in page
    (True, True, True)
    """
    x, y_true, y_pred, probabilities = (_array(value) for value in (x, y_true, y_pred, probabilities))
    _require_pairs(x, y_true, y_pred, probabilities)
    parts = [
        sections.curves(history),
        sections.results(x, y_true, y_pred, probabilities, class_names),
        sections.times(history),
        sections.network(model, x),
        sections.settings(configuration, command),
    ]
    files.replace(path, page(title, parts).encode())


def _array(value: Any) -> Any:
    """Lists, arrays and Tensors as arrays."""
    return None if value is None else np.asarray(getattr(value, "_array", value))


def _require_pairs(x: Any, y_true: Any, y_pred: Any, probabilities: Any) -> None:
    if (y_true is None) != (y_pred is None):
        raise ValueError("[report.write] got one of y_true and y_pred; expected both or neither")
    if y_true is None:
        return
    if y_true.size != y_pred.size or y_true.size == 0 or len(y_true) != len(y_pred):
        raise ValueError(
            f"[report.write] got y_true of shape {y_true.shape} and y_pred of shape {y_pred.shape}; "
            "expected the same, of at least one sample"
        )
    for name, array in (("x", x), ("probabilities", probabilities)):
        if array is not None and len(array) != len(y_true):
            raise ValueError(
                f"[report.write] got {name} of {len(array)} samples and y_true of {len(y_true)}; "
                "expected as many"
            )
