"""`ranvier train`: a network on a data set, a table or images; its arguments."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import ranvier as rv
from ranvier.cli.arguments import (
    Commands,
    Interrupted,
    Mistake,
    add_command,
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
from ranvier.cli.networks import (
    KINDS,
    LEARNING_RATE,
    default_batch_size,
    default_epochs,
    default_learning_rate,
)
from ranvier.cli.problems import FEW, Part, Problem, add_data, open_problem
from ranvier.cli.tables import add_table_flags
from ranvier.cli.training import Training

RATES = ", ".join(f"{name} {rates['cnn']:g} (mlp {rates['mlp']:g})" for name, rates in LEARNING_RATE.items())


def add(commands: Commands) -> None:
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
    add_table_flags(train)
    train.add_argument(
        "--limit",
        type=positive_int,
        metavar="N",
        help="train on N samples only, and validate on at most a quarter of that",
    )
    train.add_argument(
        "--model",
        type=str,
        metavar="NAME",
        help="cnn, mlp, or a Python file with a function build() that returns a network (it may take "
        "input_shape and classes, the number of its outputs); default: cnn for images, mlp for tables",
    )
    train.add_argument(
        "--init",
        choices=("default", "he", "xavier", "lecun", "normal"),
        default="default",
        help="initial weights: he for ReLUs, xavier for tanh and sigmoid, normal: deviation 0.01; default: "
        "as the layers draw them",
    )
    train.add_argument(
        "--epochs", type=positive_int, metavar="N", help="default: 40; for mnist 6 (cnn) or 10 (mlp)"
    )
    train.add_argument(
        "--batch-size",
        type=number_of(int, 1, 2**31, full=0),
        metavar="N",
        help="or full, for all samples in one batch; default: 32, from 10,000 samples on 128",
    )
    train.add_argument(
        "--lr",
        type=number_of(float, 0, above=True),
        metavar="X",
        help=f"the initial learning rate; default: {RATES}",
    )
    train.add_argument("--optimizer", choices=tuple(LEARNING_RATE), default="adam", help="default: adam")
    train.add_argument(
        "--momentum", type=number_of(float, 0, 1), metavar="X", help="of sgd only; 0 for none; default: 0.9"
    )
    train.add_argument(
        "--schedule",
        choices=("cosine", "constant"),
        default="cosine",
        help="of the rate; default: down to 0 along half a cosine",
    )
    train.add_argument(
        "--class-weight",
        choices=("balanced",),
        help="each class has the same weight, however rare its samples",
    )
    train.add_argument(
        "--on-nonfinite",
        choices=("raise", "warn", "ignore"),
        default="raise",
        help="for a loss that is NaN or infinite: end the run and name the layer (the default), warn and "
        "leave the batch out, or continue",
    )
    train.add_argument(
        "--early-stopping",
        type=number_of(int, 1, 2**31, off=0),
        metavar="N",
        help="end the run after N epochs without a better validation loss, and keep the best weights; "
        "default: 10 for a table, off for images and for fewer than 40 samples",
    )
    train.add_argument("--seed", type=seed, metavar="N", help="default: 0; the same seed gives the same bits")
    train.add_argument(
        "--threads",
        type=positive_int,
        metavar="N",
        help="default: the physical cores that the process may use",
    )
    train.add_argument(
        "--distributed",
        action="store_true",
        help="train on all processes that mpirun started, with the same weights at any power of two of them; "
        "threads are then the cores of a host divided by its processes",
    )
    train.add_argument(
        "--shards",
        type=positive_int,
        metavar="N",
        help="of --distributed: parts of a batch, a power of two; default: 8",
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
        help="write the whole run to DIR, after each epoch and each minute of one",
    )
    train.add_argument(
        "--resume",
        action="store_true",
        help="continue from the newest checkpoint in DIR, as if never stopped, to the bit",
    )
    train.add_argument(
        "--json", type=path_name, metavar="FILE", help="write configuration, history and test results to FILE"
    )
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

    def read() -> Problem:
        return open_problem(arguments, arguments.seed)

    problem = _limited(after_first(read), arguments.limit)
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
    quarter = -(-limit // 4)
    return replace(problem, train=_first(problem.train, limit), valid=_first(problem.valid, quarter))


def _first(samples: Part, count: int) -> Part:
    x, y = samples
    return x[:count], y[:count]


def _settings(arguments: argparse.Namespace, problem: Problem) -> dict[str, Any]:
    """The settings of the run: the arguments, and what depends on the data where they are not given.

    Raises Mistake: flags that have no effect here.
    """
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
        large_table = len(problem.input_shape) == 1 and total >= FEW
        stopping = 10 if large_table else 0
    batch_size = arguments.batch_size
    if batch_size == 0:  # full
        batch_size = samples
    elif batch_size is None:
        batch_size = default_batch_size(samples)
    momentum = arguments.momentum
    if momentum is None and optimizer == "sgd":
        momentum = 0.9
    ranks = launched_size() if arguments.distributed else None
    return {
        "dataset": arguments.data,
        "data_dir": arguments.data_dir,
        "model": model,
        "epochs": arguments.epochs or default_epochs(arguments.data, model),
        "batch_size": batch_size,
        "lr": arguments.lr or default_learning_rate(optimizer, model),
        "optimizer": optimizer,
        "seed": arguments.seed,
        "schedule": arguments.schedule,
        "momentum": momentum,
        "init": arguments.init,
        "class_weight": arguments.class_weight,
        "ranks": ranks,
        "shards": arguments.shards,
        "early_stopping": stopping or None,
        "standardize": (problem.values and model in KINDS) or None,  # not for the user's own network
    }
