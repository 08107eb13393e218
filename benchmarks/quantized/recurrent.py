"""LSTM layers of few bits beside float32: ``python -m benchmarks.quantized.recurrent [--write]``.

The time of a call over that of the layer in float32, on one thread: STEPS steps of INPUTS numbers, as many
units as a column says, and one step of a cell. The forms take turns; the ratio is the median of the rounds.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

import ranvier as rv
from ranvier import nn

from benchmarks import marked
from benchmarks.quantized.loading import FORMS
from benchmarks.quantized.networks import DOCS

STEPS, INPUTS, UNITS = 64, 256, (32, 64, 128, 256, 512, 1024)
CASES = {"1 sequence": (1, nn.LSTM), "32 sequences": (32, nn.LSTM), "1 row, a cell": (1, nn.LSTMCell)}
LEAST = 2e-3  # seconds of a measurement


def seconds(layer: Any, given: Any, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        layer(*given)
    return (time.perf_counter() - start) / calls


def ratios(batch: int, kind: Any, units: int, rounds: int) -> dict[str, float]:
    """For each form its time over that of float32."""
    layer = kind(INPUTS, units).eval()
    if kind is nn.LSTMCell:
        given: Any = rv.randn(batch, INPUTS), (rv.rand(batch, units), rv.rand(batch, units))
    else:
        given = (rv.randn(STEPS, batch, INPUTS),)
    models = {name: rv.quantize(layer, **form) for name, form in FORMS.items()}
    calls = max(1, int(LEAST / max(seconds(layer, given, 2), 1e-6)))
    found: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        reference = seconds(layer, given, calls)
        for name, model in models.items():
            found[name].append(seconds(model, given, calls) / reference)
    return {name: median(values) for name, values in found.items()}


def table(rounds: int) -> list[str]:
    lines = [f"| time, float32 = 1 | form | {' | '.join(f'{units} units' for units in UNITS)} |"]
    lines.append("|---|---|" + "---|" * len(UNITS))
    for case, (batch, kind) in CASES.items():
        found = [ratios(batch, kind, units, rounds) for units in UNITS]
        for form in FORMS:
            lines.append(f"| {case} | {form} | {' | '.join(f'{one[form]:.2f}' for one in found)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--write", action="store_true", help="the table into docs/quantized.md")
    settings = parser.parse_args()
    rv.set_num_threads(1)
    with rv.no_grad():
        lines = table(settings.rounds)
    print("\n".join(lines))
    if settings.write:
        marked.write(DOCS / "quantized.md", "recurrent: python -m benchmarks.quantized.recurrent", lines)


if __name__ == "__main__":
    main()
