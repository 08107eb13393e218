"""`ranvier evaluate`: the quality of a model's predictions for a data set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier as rv
from ranvier.cli.arguments import Commands, Mistake, add_command, mistakes, path_name, require_outputs, seed
from ranvier.cli.networks import add_model, class_names, image_settings, open_model, outputs, probabilities
from ranvier.cli.outputs import results, write_json
from ranvier.cli.problems import (
    add_data,
    named_samples,
    read_samples,
    say_label,
    test_arrays,
    test_part,
    valued,
)
from ranvier.cli.tables import NAMED, find_label, is_table, reading_as_trained, require_data_flags

if TYPE_CHECKING:
    import ranvier.nn as nn
    from ranvier.data import Samples
    from ranvier.serialization import Info
    from ranvier.tensors.memory import Array

OTHER_LABELS = "the model gives values, and the data has other labels; see --task regression"


def add(commands: Commands) -> None:
    evaluate = add_command(
        commands,
        run,
        "evaluate",
        "measure a model on labelled data, class by class",
        "Measures a model on labelled data: for digits, mnist ... on the test part, for a file or folder on "
        "all samples. For the file of the training, the score of its test part is added.",
        [
            "ranvier evaluate runs/digits-cnn/digits.safetensors digits --json digits.json",
            "ranvier evaluate iris.safetensors flowers.csv --label species --json figures.json",
        ],
    )
    add_model(evaluate)
    add_data(evaluate)
    evaluate.add_argument(
        "--seed",
        type=seed,
        metavar="N",
        help="the seed of the training, for the split of digits or iris; default: 0",
    )
    evaluate.add_argument("--json", type=path_name, metavar="FILE", help="write the figures to FILE")


def run(arguments: argparse.Namespace) -> int:
    require_outputs({"--json": arguments.json}, arguments.model, arguments.data, arguments.code)
    model = open_model(arguments)
    samples = _samples(arguments, model)
    output = outputs(model, samples)
    p = probabilities(model, output)
    names = None
    if p is not None:
        names = class_names(model, p.shape[1])
    elif samples.class_names is not None:
        p = _from_scores(model, output, samples.class_names)
        names = list(samples.class_names)
    if p is None or names is None:
        predicted = output
        y = _values(samples, output)
        text, figures = _errors(y, output)
    else:
        predicted = p
        y = _numbers(samples, names)
        text, figures = _scores(y, p, names)
    _say_trained(arguments, rv.serialization.info(model), y, predicted, figures)
    if arguments.json is not None:  # before lines are printed, whose reader may close the pipe
        write_json(arguments.json, figures)
    print(f"{text}\n\n{results(y, predicted, names)}")
    return 0


def _from_scores(model: nn.Module, output: Array, classes: Sequence[str]) -> Array | None:
    """Probabilities of a model whose file does not say what its outputs are: taken as class scores."""
    if rv.serialization.info(model).training_data:  # `ranvier train` leaves link out for values alone
        raise Mistake(OTHER_LABELS)
    if output.shape[1:] != (len(classes),):
        shape = "x".join(map(str, output.shape[1:]))
        raise Mistake(
            f"the model's output is {shape}; expected {len(classes)} scores, one for each class of the data"
        )
    sums_to_one = (output >= 0).all() and np.allclose(output.sum(1), 1, atol=1e-3)
    if sums_to_one:
        return output
    return probabilities(model, output, "softmax")


def _say_trained(
    arguments: argparse.Namespace, about: Info, y: Array, predicted: Array, figures: dict[str, Any]
) -> None:
    """Print a note if samples of the data trained the model; adds the score of the others to the figures."""
    classes = "accuracy" in figures
    if arguments.data in NAMED:  # the samples are its test part alone
        places = None
    else:
        places = test_part(about.training_data, arguments.data, y, classes)
    if places is None or about.training_data is None:
        return
    train, valid, _ = about.training_data["samples"]
    text = f"{train} of these samples trained the model and {valid} validated it"
    if len(places):
        if classes:
            name = "accuracy"
            value = float(rv.metrics.accuracy_score(y[places], predicted[places].argmax(1)))
        else:
            name = "r2"
            value = float(rv.metrics.r2_score(y[places], predicted[places]))
        figures |= {"test_samples": len(places), f"test_{name}": value}
        text += f"; {name} {value:.4f} of the {len(places)} others"
    print(f"ranvier: {text}", file=sys.stderr, flush=True)


def _scores(y: Array, p: Array, names: list[str]) -> tuple[str, dict[str, Any]]:
    """The scores of classes as a line of text, and as the figures of --json."""
    labels = list(range(len(names)))
    predicted = p.argmax(1)
    accuracy = rv.metrics.accuracy_score(y, predicted)
    loss = rv.metrics.log_loss(y, p, labels=labels)
    text = f"accuracy {accuracy:.4f}, loss {loss:.4f}, {len(y)} samples"
    matrix = rv.metrics.confusion_matrix(y, predicted, labels=labels).tolist()
    figures = {"samples": len(y), "accuracy": accuracy, "loss": loss}
    return text, {**figures, "classes": names, "confusion_matrix": matrix}


def _errors(y: Array, predicted: Array) -> tuple[str, dict[str, Any]]:
    """The errors of values as a line of text, and as the figures of --json."""
    scores = {
        "r2": rv.metrics.r2_score,
        "mae": rv.metrics.mean_absolute_error,
        "rmse": rv.metrics.root_mean_squared_error,
    }
    figures = {name: float(score(y, predicted)) for name, score in scores.items()}
    return f"r2 {figures['r2']:.4f}, {len(y)} samples", {"samples": len(y), **figures}


def _samples(arguments: argparse.Namespace, model: nn.Module) -> Samples:
    """The labelled samples, without preprocessing: the transforms of the model file are applied later."""
    require_data_flags(arguments)
    if arguments.seed is not None and arguments.data not in ("digits", "iris"):
        raise Mistake(f"--seed is for digits and iris, which are split, not for {arguments.data}")
    if arguments.data not in NAMED:
        with mistakes(OSError, ValueError, ImportError):
            about = rv.serialization.info(model)
            guessed = arguments.label is None and is_table(arguments.data)
            if guessed:
                arguments.label = find_label(arguments, arguments.data, about)
            options = reading_as_trained(arguments, arguments.data, about, arguments.label)
            if Path(arguments.data).is_dir():
                form = image_settings(model)
                arguments.size = arguments.size or form.get("size")
                arguments.grayscale |= form.get("grayscale", False)
            samples = read_samples(arguments, options=options)
            # A model of values: `ranvier train` writes the link "softmax" for classes, None for values. In a
            # file without training_data the link may just have been left out.
            if about.link is None and about.training_data:
                samples = valued(samples)
            if guessed:
                say_label(samples)
            # An archive with test arrays of its own is measured on these, not on the samples read so far.
            arrays = test_arrays(arguments, samples)
            if arrays is None:
                return samples
            print(f"measured on {' and '.join(arrays)} of {arguments.data}")
            return read_samples(arguments, arrays)
    return named_samples(arguments.data, arguments.data_dir, arguments.seed or 0)


def _numbers(samples: Samples, names: list[str]) -> Array:
    """The labels as the numbers of the model's classes."""
    if samples.y is None or samples.class_names is None:
        raise Mistake("the data has no labels that are classes")
    unknown = sorted(set(samples.class_names) - set(names))
    if unknown:
        raise Mistake(f"the data has the class {unknown[0]!r}; the model knows {', '.join(names)}")
    return np.array([names.index(name) for name in samples.class_names])[samples.y]


def _values(samples: Samples, output: Array) -> Array:
    """The target values, in the shape of the outputs."""
    if samples.y is None or samples.class_names is not None or samples.y.size != output.size:
        raise Mistake(OTHER_LABELS)
    return samples.y.reshape(output.shape)
