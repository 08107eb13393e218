"""What commands write: models, checkpoints, and results as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ranvier as rv
from ranvier.cli.arguments import Mistake, mistakes
from ranvier.serialization.files import replace

if TYPE_CHECKING:
    from ranvier.tensors.memory import Array
    from ranvier.train import Checkpoint

WIDEST = 100  # characters of a confusion matrix; a wider one does not fit a terminal
SHOWN = 10


def results(y: Array, p: Array, names: list[str] | None) -> str:
    """The results on a test part as text: scores, confusion matrix and some samples.

    For labels y (n,) and probabilities p (n, classes); without names, for values y and p (n, outputs).
    """
    if names is None:
        return _errors(y, p)
    labels = list(range(len(names)))
    predicted = p.argmax(1)
    scores = rv.metrics.classification_report(y, predicted, labels=labels, target_names=names)
    matrix = rv.metrics.confusion_matrix(y, predicted, labels=labels)
    sections = (scores, _matrix(matrix.tolist(), names), _samples(y, predicted, p, names))
    return "\n".join(filter(None, sections))


def _matrix(matrix: list[list[int]], names: list[str]) -> str:
    """The confusion matrix as a table with a row for each true class; "" where it is too wide."""
    names_width = max(map(len, names))
    widths = []
    for j, name in enumerate(names):
        longest_count = max(len(str(row[j])) for row in matrix)
        widths.append(max(len(name), longest_count) + 2)
    if names_width + sum(widths) > WIDEST:
        return ""
    lines = ["confusion matrix: rows are true classes, columns predicted ones", ""]
    lines.append(_matrix_row("", names, names_width, widths))
    for name, counts in zip(names, matrix, strict=True):
        lines.append(_matrix_row(name, counts, names_width, widths))
    return "\n".join([*lines, ""])


def _matrix_row(name: str, cells: Sequence[str | int], name_width: int, widths: list[int]) -> str:
    texts = [f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)]
    return f"{name:>{name_width}}{''.join(texts)}"


def _shown_samples(n: int) -> range:
    """The indices of at most SHOWN samples, at equal distances."""
    return range(0, n, -(-n // SHOWN))


def _samples(y: Array, predicted: Array, p: Array, names: list[str]) -> str:
    """Some samples with their true and their predicted class."""
    width = max(len("predicted"), *map(len, names))
    lines = [f"sample  {'true':>{width}}  {'predicted':>{width}}  probability"]
    for i in _shown_samples(len(y)):
        true_name = names[int(y[i])]
        predicted_name = names[int(predicted[i])]
        line = f"{i:6}  {true_name:>{width}}  {predicted_name:>{width}}  {p[i, predicted[i]]:11.4f}"
        if true_name != predicted_name:
            line += "  wrong"
        lines.append(line)
    return "\n".join([*lines, ""])


def _errors(y: Array, predicted: Array) -> str:
    """The errors of values (n, outputs), and some samples with their true and predicted values."""
    absolute = rv.metrics.mean_absolute_error(y, predicted)
    squared = rv.metrics.root_mean_squared_error(y, predicted)
    lines = [
        f"mean absolute error {_short(absolute, 4)}, root mean squared error {_short(squared, 4)}",
        "",
        f"sample  {'true':>12}  {'predicted':>12}",
    ]
    for i in _shown_samples(len(y)):
        for true, answer in zip(y[i].tolist(), predicted[i].tolist(), strict=True):
            lines.append(f"{i:6}  {_short(true):>12}  {_short(answer):>12}")
    return "\n".join([*lines, ""])


def _short(value: float, digits: int = 5) -> str:
    """A number with this many digits, or with all digits before the decimal point."""
    if 10**digits <= abs(value) < 1e15:
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def write_text(path: str, text: str) -> None:
    """Write a file whole, or not at all.

    Raises Mistake: it cannot be written.
    """
    with mistakes(OSError):
        replace(path, text.encode(errors="surrogateescape"))


def write_json(path: str, document: dict[str, Any]) -> None:
    write_text(path, json.dumps(document, indent=2) + "\n")


def save_somewhere(save: Callable[[Path], None], path: Path) -> None:
    """Save to `path`; if that fails, to the folder of temporary files.

    Raises Mistake if it could not be saved to `path`; the message says where it is.
    """
    try:
        save(path)
    except OSError as error:
        try:
            import tempfile

            other = Path(tempfile.mkdtemp(prefix="ranvier-")) / path.name
            save(other)
        except OSError:
            raise Mistake(error) from None
        raise Mistake(f"{error}; the model is in '{other}'") from None


def interrupted_folder(model_path: Path) -> Path:
    """A new folder for an interrupted run, next to its model."""
    for number in range(1, 10_000):
        suffix = f"-{number}" if number > 1 else ""
        folder = model_path.with_name(f"{model_path.stem}-interrupted{suffix}")
        if not folder.exists():
            return folder
    raise Mistake(f"'{model_path.parent}' has too many interrupted runs")


def make_interrupt_checkpoint(model_path: Path) -> Checkpoint:
    """A callback that writes a checkpoint only after Ctrl-C; `latest` is None before."""
    from ranvier.train import Checkpoint

    class InterruptCheckpoint(Checkpoint):
        def on_train_begin(self) -> None:
            pass

        def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
            pass

        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            pass

        def on_interrupt(self) -> None:
            self.folder.mkdir(parents=True, exist_ok=True)
            super().on_interrupt()

    return InterruptCheckpoint(interrupted_folder(model_path), best=False)
