"""`ranvier evaluate`: how well a model classifies a data set."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ranvier.cli.arguments import Mistake, add_command, seed
from ranvier.cli.models import add_model, names_of, open_model, outputs, probabilities
from ranvier.cli.problems import NAMED, add_data, open_problem, read_samples
from ranvier.cli.results import results


def add(commands: Any) -> None:
    """The command's arguments."""
    evaluate = add_command(
        commands,
        "evaluate",
        "accuracy of a model on labelled data, precision and recall of each class",
        "Measures a model on labelled data: of digits, mnist ... on the test part, of a file or folder on "
        "everything.",
        [
            "ranvier evaluate runs/digits-cnn/digits.safetensors digits",
            "ranvier evaluate iris.safetensors flowers.csv --label species --json figures.json",
        ],
    )
    add_model(evaluate)
    add_data(evaluate)
    evaluate.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="that the training split with; default: 0"
    )
    evaluate.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    evaluate.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    from ranvier import metrics

    model = open_model(arguments)
    samples = _samples(arguments)
    p = probabilities(model, outputs(model, samples))
    if p is None:
        raise Mistake(f"'{arguments.model}' does not say how its outputs become classes")
    names = names_of(model, p.shape[1])
    y = _numbers(samples, names)
    labels = list(range(len(names)))
    predicted = p.argmax(1)
    figures = {
        "samples": len(y),
        "accuracy": metrics.accuracy(y, predicted),
        "loss": metrics.log_loss(y, p, labels=labels),
    }
    print(f"accuracy {figures['accuracy']:.4f}, loss {figures['loss']:.4f}, {len(y)} samples\n")
    print(results(y, p, names))
    if arguments.json is not None:
        matrix = metrics.confusion_matrix(y, predicted, labels=labels).tolist()
        document = {**figures, "classes": names, "confusion_matrix": matrix}
        Path(arguments.json).write_text(json.dumps(document, indent=2) + "\n")
    return 0


def _samples(arguments: argparse.Namespace) -> Any:
    """Labelled samples, as raw as the model file's preprocessing expects them."""
    from ranvier.data import Samples

    if arguments.data not in NAMED:
        try:
            return read_samples(arguments)
        except (OSError, ValueError, ImportError) as error:
            raise Mistake(error) from None
    problem = open_problem(arguments, arguments.seed)
    x, y = problem.test
    if arguments.data == "iris":  # a table's columns were scaled for training
        return Samples(problem.preprocessing[0].inverse_transform(x), y, tuple(problem.class_names))
    return Samples(x, y, tuple(problem.class_names), scale=float(problem.preprocessing[0].config()["high"]))


def _numbers(samples: Any, names: list[str]) -> Any:
    """The labels as the model numbers its classes."""
    import numpy as np

    if samples.y is None or samples.class_names is None:
        raise Mistake("the data has no labels that are classes")
    unknown = sorted(set(samples.class_names) - set(names))
    if unknown:
        raise Mistake(f"the data has the class {unknown[0]!r}; the model knows {', '.join(names)}")
    return np.array([names.index(name) for name in samples.class_names])[samples.y]
