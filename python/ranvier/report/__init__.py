"""A training run as one self-contained HTML page, without network, other files or matplotlib.

`write` joins sections, which use `html` (tables, escaping, pictures as PNG in data URIs) and `charts` (curves
and points as SVG); `page` is the frame with the style sheet.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import ranvier.config as config
import ranvier.metrics as metrics
import ranvier.report.charts as charts
from ranvier import summary
from ranvier.autograd.memory import Array
from ranvier.metrics.metric import label_arrays
from ranvier.report.html import facts, number, page, section, table, text
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
    x, y_true, y_pred, probabilities = (
        None if value is None else np.asarray(getattr(value, "_array", value))
        for value in (x, y_true, y_pred, probabilities)
    )
    _require_pairs(x, y_true, y_pred, probabilities)
    parts = [
        _curves(history),
        _results(x, y_true, y_pred, probabilities, class_names, target),
        _times(history),
        _network(model, x),
        _settings(configuration, command),
    ]
    files.replace(path, page(title, parts).encode())


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


SHOWN = 10
KINDS = (("true", "truth"), ("predicted", "prediction"))  # with and without the name of the target


def _value_section(y_true: Array, y_pred: Array, target: str = "") -> str:
    """The section of a regression; all outputs of a sample are drawn together."""
    truth, prediction = (f"{kind} {target}" if target else name for kind, name in KINDS)
    both = y_true.reshape(y_pred.shape), y_pred
    true, predicted = (a.astype(np.float64).reshape(-1) for a in both)
    errors = predicted - true
    listed = [
        ("root mean squared error", metrics.root_mean_squared_error(*both)),
        ("mean absolute error", metrics.mean_absolute_error(*both)),
        ("R², share of the variance", metrics.r2_score(*both)),
        ("values", len(true)),
    ]
    drawn = (
        charts.points(true, predicted, truth, prediction, "diagonal"),
        charts.points(predicted, errors, prediction, "residual", "zero"),
    )
    chosen = np.linspace(0, len(true) - 1, min(SHOWN, len(true))).astype(int)
    worst = np.argsort(-np.abs(errors), kind="stable")[:SHOWN]
    return section(
        "Results",
        facts(listed),
        '<p class="note">Errors and residuals (predicted minus true) are in the unit of '
        f"{text(target or 'the targets')}.</p>",
        f'<div class="charts">{"".join(drawn)}</div>',
        _table("Samples, evenly spaced", true, predicted, chosen),
        _table("Largest errors", true, predicted, worst),
    )


def _table(caption: str, true: Array, predicted: Array, chosen: Array) -> str:
    values = np.stack([true, predicted, predicted - true], axis=1)
    rows = [(n, list(map(number, values[n]))) for n in chosen.tolist()]
    return table(caption, ["value", "truth", "prediction", "residual"], rows)


def _curves(history: Mapping[str, Sequence[float]] | None) -> str:
    """A chart for each quantity, with training and validation."""
    drawn = []
    for name in dict.fromkeys(key.removeprefix("val_") for key in history or ()):
        found = {"training": name, "validation": f"val_{name}"}
        both = {label: list(history[key]) for label, key in found.items() if history and key in history}
        drawn.append(charts.lines(both, "epoch", name.replace("_", " ")))
    return section("Curves", f'<div class="charts">{"".join(drawn)}</div>') if any(drawn) else ""


def _results(
    x: Any, y_true: Any, y_pred: Any, probabilities: Any, names: Sequence[str] | None, target: str = ""
) -> str:
    """The quality of the predictions, for labels or values."""
    if y_true is None:
        return ""
    if y_pred.dtype.kind == "f":
        return _value_section(y_true, y_pred, target)
    true, predicted = label_arrays("report.write", y_true, y_pred)
    if true.dtype.kind == "f":  # 0.0 and 1.0, for a binary loss
        true = true.astype(np.int64)
    return charts.class_section(x, true, predicted, probabilities, names)


def _times(history: Any) -> str:
    """The times of the epochs of a `History`."""
    seconds = np.array(getattr(history, "seconds", []), np.float64)
    timed = np.isfinite(seconds)
    if not timed.any():
        return ""
    seconds, samples = seconds[timed], np.array(history.samples, np.float64)[timed]
    listed = [
        ("epochs", len(history.seconds)),
        ("seconds an epoch, median", float(np.median(seconds))),
        ("seconds of training in all", float(seconds.sum())),
        ("samples a second", int(samples.sum() / seconds.sum())),
        ("threads", config.get_num_threads()),
        ("processor", _processor()),
    ]
    note = "Of the passes over the training data, without the validation; the first has the recordings in it."
    return section("Time", facts(listed), f'<p class="note">{note}</p>')


def _processor() -> str:
    """The name of the processor, if it is known."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _network(model: Any, x: Any) -> str:
    """The layers with their shapes, or, without a sample, the text of the model."""
    if model is None:
        return ""
    if x is None:
        count = sum(p.numel() for p in model.parameters())
        return section("Network", facts([("parameters", count)]), f"<pre>{text(model)}</pre>")
    dtype = x.dtype if x.dtype.kind in "iu" else None
    found = summary(model, x.shape[1:], dtype=dtype, verbose=False)
    rows = []
    for layer in found.layers:
        shape = " x ".join(map(str, layer.output_shape[1:])) if layer.output_shape else ""
        rows.append((f"{layer.name} {layer.kind}".strip(), [shape, f"{layer.parameters:,}"]))
    rows.append(("all", ["", f"{found.total:,}"]))
    about = f"Layers of a sample of {' x '.join(map(str, x.shape[1:]))}"
    return section("Network", table(about, ["layer", "output", "parameters"], rows))


def _settings(configuration: Mapping[str, Any] | None, command: str) -> str:
    """The settings, the machine, and the command to repeat the run."""
    here = config.config()
    machine = {"processor": _processor(), **here}
    del machine["isas"], machine["winograd"], machine["flush_denormal"]
    parts = []
    for caption, listed in (("Settings", configuration), ("Machine and versions", machine)):
        if listed:
            rows = [(name, [_setting(value)]) for name, value in listed.items() if value is not None]
            parts.append(table(caption, ["name", "value"], rows, kind="plain"))
    words = " ".join(f"<span>{text(word)}</span>" for word in command.split(" "))  # lines break between spans
    again = f"<h3>Run it again</h3>\n<pre>{words}</pre>" if command else ""
    return section("Configuration", f'<div class="beside">{"".join(parts)}</div>', again)


def _setting(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    return number(value) if isinstance(value, float) else text(str(value))
