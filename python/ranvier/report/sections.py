"""The sections of a report, and the values that they show."""

from __future__ import annotations

import math
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
from ranvier.report.charts import class_section
from ranvier.report.html import facts, number, section, table, text

__all__ = ["curves", "network", "results", "settings", "times"]

SHOWN = 10
KINDS = (("true", "truth"), ("predicted", "prediction"))  # with and without the name of the target


def value_section(y_true: Array, y_pred: Array, target: str = "") -> str:
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


def curves(history: Mapping[str, Sequence[float]] | None) -> str:
    """A chart for each quantity, with training and validation."""
    drawn = []
    for name in dict.fromkeys(key.removeprefix("val_") for key in history or ()):
        found = {"training": name, "validation": f"val_{name}"}
        both = {label: list(history[key]) for label, key in found.items() if history and key in history}
        drawn.append(charts.lines(both, "epoch", name.replace("_", " ")))
    return section("Curves", f'<div class="charts">{"".join(drawn)}</div>') if any(drawn) else ""


def results(
    x: Any, y_true: Any, y_pred: Any, probabilities: Any, names: Sequence[str] | None, target: str = ""
) -> str:
    """The quality of the predictions, for labels or values."""
    if y_true is None:
        return ""
    if y_pred.dtype.kind == "f":
        return value_section(y_true, y_pred, target)
    true, predicted = label_arrays("report.write", y_true, y_pred)
    if true.dtype.kind == "f":  # 0.0 and 1.0, for a binary loss
        true = true.astype(np.int64)
    return class_section(x, true, predicted, probabilities, names)


def times(history: Any) -> str:
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


def network(model: Any, x: Any) -> str:
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


def settings(configuration: Mapping[str, Any] | None, command: str) -> str:
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
