"""The arguments of `ranvier train`."""

from __future__ import annotations

from typing import Any

from ranvier.cli.arguments import (
    add_command,
    add_flags,
    batch_size,
    momentum,
    path_name,
    positive_float,
    positive_int,
    seed,
)
from ranvier.cli.networks import LEARNING_RATE
from ranvier.cli.problems import add_data
from ranvier.cli.tables import TRAINING

RATES = ", ".join(f"{name} {rates['cnn']:g} (mlp {rates['mlp']:g})" for name, rates in LEARNING_RATE.items())
FLAGS: dict[str, tuple[Any, str | None, str]] = {
    "--limit": (positive_int, "N", "train on N samples only, and validate on at most a quarter of that"),
    "--model": (
        str,
        "NAME",
        "cnn, mlp, or a Python file with a function build() that returns a network (it may take input_shape "
        "and classes, the number of its outputs); default: cnn for images, mlp for tables",
    ),
    "--init": (
        ("default", "he", "xavier", "lecun", "normal"),
        "default",
        "initial weights: he for ReLUs, xavier for tanh and sigmoid, normal: deviation 0.01; default: as the "
        "layers draw them",
    ),
    "--epochs": (positive_int, "N", "default: 40; for mnist 6 (cnn) or 10 (mlp)"),
    "--batch-size": (
        batch_size,
        "N",
        "or full, for all samples in one batch; default: 32, from 10,000 samples on 128",
    ),
    "--lr": (positive_float, "X", f"the initial learning rate. Default by optimizer and model: {RATES}"),
    "--optimizer": (tuple(LEARNING_RATE), "adam", "default: adam"),
    "--momentum": (momentum, "X", "of sgd only; 0 for none; default: 0.9"),
    "--schedule": (
        ("cosine", "constant"),
        "cosine",
        "the learning rate falls to 0 along half a cosine (the default), or is constant",
    ),
    "--class-weight": (
        ("balanced",),
        None,
        "samples of rare classes count more, so that each class has the same weight",
    ),
    "--on-nonfinite": (
        ("raise", "warn", "ignore"),
        "raise",
        "for a loss that is NaN or infinite: end the run and name the layer (the default), warn and leave "
        "the batch out, or continue",
    ),
    "--early-stopping": (
        positive_int,
        "N",
        "end the run after N epochs without a better validation loss, and keep the best weights",
    ),
    "--seed": (seed, "N", "default: 0; the same seed gives the same bits"),
    "--threads": (positive_int, "N", "default: the physical cores that the process may use"),
    "--distributed": (
        bool,
        None,
        "train on all processes that mpirun started, with the same weights at any power of two of them; "
        "threads are then the cores of a host divided by its processes",
    ),
    "--shards": (positive_int, "N", "of --distributed: parts of a batch, a power of two; default: 8"),
    "--out": (path_name, "PATH", "folder, or file ending in .safetensors; default: runs/<data>-<model>"),
    "--checkpoint": (
        path_name,
        "DIR",
        "write the whole state of the run to DIR, after each epoch and each minute of one",
    ),
    "--resume": (
        bool,
        None,
        "continue from the newest checkpoint in DIR, with the bits of a run that was never stopped",
    ),
    "--report": (path_name, "FILE", "write a report of the run to FILE, a web page"),
    "--json": (path_name, "FILE", "write configuration, history and test results to FILE"),
}


def add_arguments(commands: Any, run: Any) -> None:
    train = add_command(
        commands,
        run,
        "train",
        "train a network on a data set, save it with its curves",
        "Trains on a part of the data, validates on another part, measures on a third (class by class, or "
        "the errors of values), and saves the model, the picture of its curves and, if asked, a report "
        "and the figures.",
        [
            "ranvier train digits --report digits.html",
            "ranvier train mnist --data-dir DIR --model mlp",
            "ranvier train mnist --data-dir DIR --limit 16000 --batch-size full --optimizer sgd --lr 0.1",
            "ranvier train flowers.csv --label species",
            "ranvier train patients.csv --missing median --without name,date",
            "ranvier train houses.csv --label price --task regression",
            "ranvier train photos/ --size 64x64 --model net.py",
            "ranvier train digits --checkpoint run1 --resume",
            "mpirun -n 4 ranvier train mnist --data-dir DIR --distributed",
        ],
    )
    add_data(train)
    add_flags(train, TRAINING | FLAGS)
    train.set_defaults(seed=0)
