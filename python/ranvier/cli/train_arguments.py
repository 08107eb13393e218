"""The arguments of `ranvier train`."""

from __future__ import annotations

import argparse
from typing import Any

from ranvier.cli.arguments import (
    add_command,
    batch_size,
    momentum,
    path_name,
    positive_float,
    positive_int,
    seed,
)
from ranvier.cli.networks import LEARNING_RATE
from ranvier.cli.problems import add_data


def add_arguments(commands: Any) -> argparse.ArgumentParser:
    """The command's parser."""
    train: argparse.ArgumentParser = add_command(
        commands,
        "train",
        "train a network on a data set, save it with its curves",
        "Trains on a part of the data, follows another part while it does, measures a third (class by class, "
        "or the errors of values), and saves the model, the picture of its curves and, if asked, a report "
        "and the figures.",
        [
            "ranvier train digits --report digits.html",
            "ranvier train mnist --data-dir DIR --model mlp",
            "ranvier train mnist --data-dir DIR --limit 16000 --batch-size full --optimizer sgd --lr 0.1",
            "ranvier train flowers.csv --label species",
            "ranvier train houses.csv --label price --task regression",
            "ranvier train photos/ --size 64x64 --model net.py",
            "ranvier train digits --checkpoint run1 --resume",
        ],
    )
    add_data(train)
    train.add_argument(
        "--limit",
        type=positive_int,
        metavar="N",
        help="train on N samples only, and validate on at most a quarter of that",
    )
    _add_network(train)
    _add_steps(train)
    _add_run(train)
    return train


def _add_network(train: argparse.ArgumentParser) -> None:
    train.add_argument(
        "--model",
        metavar="NAME",
        help="cnn, mlp, or a Python file with a function build() that returns a network (it may take "
        "input_shape and classes, the number of its outputs); default: cnn for images, mlp for tables",
    )
    train.add_argument(
        "--init",
        choices=("default", "he", "xavier", "lecun", "normal"),
        default="default",
        help="how weights begin: he for ReLUs, xavier for tanh and sigmoid, normal: deviation 0.01; default: "
        "as the layers draw them",
    )


def _add_steps(train: argparse.ArgumentParser) -> None:
    train.add_argument(
        "--epochs", type=positive_int, metavar="N", help="default: 40; of mnist 6 (cnn) or 10 (mlp)"
    )
    train.add_argument(
        "--batch-size",
        type=batch_size,
        metavar="N",
        help="or full, for all samples in one; default: 32, from 10,000 samples on 128",
    )
    train.add_argument(
        "--lr",
        type=positive_float,
        metavar="X",
        help="at the start. Default by optimizer and model: "
        + ", ".join(
            f"{name} {rates['cnn']:g} (mlp {rates['mlp']:g})" for name, rates in LEARNING_RATE.items()
        ),
    )
    train.add_argument("--optimizer", choices=tuple(LEARNING_RATE), default="adam", help="default: adam")
    train.add_argument("--momentum", type=momentum, metavar="X", help="of sgd only; 0 for none; default: 0.9")
    train.add_argument(
        "--schedule",
        choices=("cosine", "constant"),
        default="cosine",
        help="the learning rate falls to 0 along half a cosine (the default), or stays as it is",
    )
    train.add_argument(
        "--class-weight",
        choices=("balanced",),
        help="samples of rare classes count more, so that each class has the same weight",
    )
    train.add_argument(
        "--on-nonfinite",
        choices=("raise", "warn", "ignore"),
        default="raise",
        help="at a loss that is NaN or infinite: end the run and name the layer (the default), warn and "
        "leave the batch out, or go on",
    )


def _add_run(train: argparse.ArgumentParser) -> None:
    train.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="default: 0; the same seed, the same bits"
    )
    train.add_argument(
        "--threads", type=positive_int, metavar="N", help="default: the physical cores we may use"
    )
    train.add_argument(
        "--out",
        type=path_name,
        metavar="PATH",
        help="folder, or file ending in .safetensors; default: runs/<data>-<model>",
    )
    train.add_argument(
        "--checkpoint",
        type=path_name,
        metavar="DIR",
        help="write the whole state of the run to DIR, after each epoch and each minute of one",
    )
    train.add_argument(
        "--resume",
        action="store_true",
        help="go on from the newest checkpoint in DIR, with the bits of a run that was never stopped",
    )
    train.add_argument(
        "--report", type=path_name, metavar="FILE", help="write all about the run to FILE, a web page"
    )
    train.add_argument(
        "--json", type=path_name, metavar="FILE", help="write configuration, history and test results to FILE"
    )
