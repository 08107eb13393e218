"""A training run as one self-contained HTML page, without network, other files or matplotlib.

`write` joins `sections`, which use `html` (tables, escaping), `charts` (curves and points as SVG) and
`images` (PNG in data URIs); `page` is the frame with the style sheet.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ranvier.report import sections
from ranvier.report.html import page
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
    target: str = "",
    title: str = "Training report",
) -> None:
    """Write a page about a training run, with all parts that have their arguments.

    For predicted labels (integers, strings), there are a confusion matrix, a table of the classes, the pairs
    that are confused most, and samples with their labels; for predicted values (floats), the errors,
    predictions over targets, and residuals.

    Args:
        path: of the .html file; an old file is replaced at once.
        model: for the layers and parameters, and their shapes if there is an `x`.
        history: the result of `Trainer.fit`, or a mapping from names to lists; "val_loss" is drawn with
            "loss". A `History` also has the times of the epochs.
        x: samples (n, ...) to show: images (n, channels, height, width) or (n, height, width), or rows.
        y_true: their labels (n,), or values (n, ...).
        y_pred: the predictions `trainer.predict(x)`, of the same shape.
        probabilities: of the classes (n, classes), or of class 1, (n,) or (n, 1), as
            `trainer.predict_proba(x)` returns them.
        class_names: of the labels 0, 1, ...; by default the labels.
        configuration: settings to list by name.
        command: the command that repeats the run.
        target: the name of the predicted value, with its unit: "price in euros".
        title: the heading of the page.

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
        sections.results(x, y_true, y_pred, probabilities, class_names, target),
        sections.times(history),
        sections.network(model, x),
        sections.settings(configuration, command),
    ]
    files.replace(path, page(title, parts).encode())


def _array(value: Any) -> Any:
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
