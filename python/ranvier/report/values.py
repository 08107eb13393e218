"""The results of a regression: errors, predictions over targets, residuals."""

from __future__ import annotations

import numpy as np

import ranvier.metrics as metrics
import ranvier.report.charts as charts
from ranvier.autograd.memory import Array
from ranvier.report.html import facts, number, section, table, text

__all__ = ["results"]

SHOWN = 10
KINDS = (("true", "truth"), ("predicted", "prediction"))  # with and without the name of the target


def results(y_true: Array, y_pred: Array, target: str = "") -> str:
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
