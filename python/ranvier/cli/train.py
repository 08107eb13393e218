"""`ranvier train`: a network on a data set, a table or images; its arguments."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import ranvier as rv
from ranvier.cli.arguments import (
    Interrupted,
    Mistake,
    add_command,
    add_flags,
    after_first,
    connect,
    launched_size,
    number_of,
    path_name,
    positive_int,
    require_folder,
    require_outputs,
    seed,
    set_threads,
)
from ranvier.cli.networks import KINDS, LEARNING_RATE, batch_size_of, epochs_of, learning_rate_of
from ranvier.cli.problems import FEW, Problem, add_data, open_problem
from ranvier.cli.tables import TRAINING
from ranvier.cli.training import Training

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
        number_of(int, 1, 2**31, full=0),
        "N",
        "or full, for all samples in one batch; default: 32, from 10,000 samples on 128",
    ),
    "--lr": (number_of(float, 0, above=True), "X", f"the initial learning rate; default: {RATES}"),
    "--optimizer": (tuple(LEARNING_RATE), "adam", "default: adam"),
    "--momentum": (number_of(float, 0, 1), "X", "of sgd only; 0 for none; default: 0.9"),
    "--schedule": (("cosine", "constant"), "cosine", "of the rate; default: down to 0 along half a cosine"),
    "--class-weight": (("balanced",), None, "each class has the same weight, however rare its samples"),
    "--on-nonfinite": (
        ("raise", "warn", "ignore"),
        "raise",
        "for a loss that is NaN or infinite: end the run and name the layer (the default), warn and leave "
        "the batch out, or continue",
    ),
    "--early-stopping": (
        number_of(int, 1, 2**31, off=0),
        "N",
        "end the run after N epochs without a better validation loss, and keep the best weights; default: 10 "
        "for a table, off for images and for fewer than 40 samples",
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
    "--checkpoint": (path_name, "DIR", "write the whole run to DIR, after each epoch and each minute of one"),
    "--resume": (bool, None, "continue from the newest checkpoint in DIR, as if never stopped, to the bit"),
    "--json": (path_name, "FILE", "write configuration, history and test results to FILE"),
}


def add(commands: Any) -> None:
    train = add_command(
        commands,
        run,
        "train",
        "train a network on a data set, save it with its curves",
        "Trains on a part of the data, validates on another part, measures on a third (class by class, or "
        "the errors of values), and saves the model, the picture of its curves and, if asked, the figures.",
        [
            "ranvier train digits --json digits.json",
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


def run(arguments: argparse.Namespace) -> int:
    """Check the arguments, train, and write the model and its picture."""
    start = time.perf_counter()
    if arguments.resume and arguments.checkpoint is None:
        raise Mistake("--resume needs --checkpoint DIR, the folder of the run to continue")
    if arguments.checkpoint is not None:
        require_folder("--checkpoint", arguments.checkpoint)
    connect(arguments.distributed)
    set_threads(arguments.threads)
    problem = _limited(after_first(lambda: open_problem(arguments, arguments.seed)), arguments.limit)
    settings = _settings(arguments, problem)
    out = Path(arguments.out or f"runs/{problem.name}-{Path(settings['model']).stem}")
    if out.suffix == ".safetensors":
        model_path = out
    else:
        model_path = out / f"{problem.name}.safetensors"
    picture_path = model_path.with_suffix(".png")
    outputs = {"--out": model_path, "the picture next to it": picture_path, "--json": arguments.json}
    leads = not arguments.distributed or rv.distributed.rank() == 0
    require_outputs(outputs, arguments.data, arguments.model, writes=leads)
    drawn = picture_path if _can_draw() else None
    rv.manual_seed(arguments.seed)
    training = Training(arguments, problem, settings, model_path)
    training.fit()
    try:
        training.finish(start, drawn)
    except KeyboardInterrupt:
        raise Interrupted(f"'{model_path}' is saved") from None
    except (OSError, Mistake) as error:
        raise Mistake(f"{error}; '{model_path}' is saved") from None
    return 0


def _can_draw() -> bool:
    try:
        rv.plot.require_matplotlib("ranvier train")
    except ImportError as error:
        print(f"no picture of the curves: {error}", flush=True)
        return False
    return True


def _limited(problem: Problem, limit: int | None) -> Problem:
    """At most `limit` training samples, and a quarter of that for validation."""
    if limit is None:
        return problem
    if limit > len(problem.train[0]):
        raise Mistake(f"--limit {limit}: there are {len(problem.train[0])} training {problem.kind}")
    train, valid = ((x[:n], y[:n]) for (x, y), n in ((problem.train, limit), (problem.valid, -(-limit // 4))))
    return replace(problem, train=train, valid=valid)


def _settings(arguments: argparse.Namespace, problem: Problem) -> dict[str, Any]:
    optimizer = arguments.optimizer
    model = arguments.model
    samples = len(problem.train[0])
    if arguments.class_weight is not None and problem.values:
        raise Mistake("--class-weight is for classes, and the labels are values")
    if arguments.momentum is not None and optimizer != "sgd":
        raise Mistake(f"--momentum is for --optimizer sgd, not for {optimizer}")
    if arguments.shards is not None and not arguments.distributed:
        raise Mistake("--shards is for --distributed")
    if model is None:
        model = "cnn" if len(problem.input_shape) == 3 else "mlp"
    stopping = arguments.early_stopping
    if stopping is None:
        total = sum(len(part[0]) for part in (problem.train, problem.valid, problem.test))
        stopping = 10 if len(problem.input_shape) == 1 and total >= FEW else 0
    size = arguments.batch_size
    momentum = 0.9 if arguments.momentum is None else arguments.momentum
    return {
        "dataset": arguments.data,
        "data_dir": arguments.data_dir,
        "model": model,
        "epochs": arguments.epochs or epochs_of(arguments.data, model),
        "batch_size": samples if size == 0 else size or batch_size_of(samples),
        "lr": arguments.lr or learning_rate_of(optimizer, model),
        "optimizer": optimizer,
        "seed": arguments.seed,
        "schedule": arguments.schedule,
        "momentum": momentum if optimizer == "sgd" else None,
        "init": arguments.init,
        "class_weight": arguments.class_weight,
        "ranks": launched_size() if arguments.distributed else None,
        "shards": arguments.shards if arguments.distributed else None,
        "early_stopping": stopping or None,
        "standardize": (problem.values and model in KINDS) or None,  # not for the user's own network
    }
