"""`ranvier train`: a network by name on a data set, saved with its curves."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ranvier.cli.arguments import Interrupted, Mistake, require_folder, require_writable
from ranvier.cli.networks import KINDS, batch_size_of, epochs_of, learning_rate_of
from ranvier.cli.problems import Problem, open_problem
from ranvier.cli.ranks import after_first, connect, launched_size
from ranvier.cli.train_arguments import add_arguments
from ranvier.cli.training import Training
from ranvier.cli.useful import require_apart, set_threads


def add(commands: Any) -> None:
    add_arguments(commands, run)


def run(arguments: argparse.Namespace) -> int:
    start = time.perf_counter()
    if arguments.resume and arguments.checkpoint is None:
        raise Mistake("--resume needs --checkpoint DIR, the folder of the run to continue")
    if arguments.checkpoint is not None:
        require_folder("--checkpoint", arguments.checkpoint)
    connect(arguments.distributed)
    set_threads(arguments.threads)
    problem = _limited(after_first(lambda: open_problem(arguments, arguments.seed)), arguments.limit)
    settings = _settings(arguments, problem)
    model_path = _model_path(arguments, problem, settings)
    picture_path = model_path.with_suffix(".png")
    outputs = {"--out": model_path, "the picture next to it": picture_path}
    require_apart(
        {**outputs, "--report": arguments.report, "--json": arguments.json}, arguments.data, arguments.model
    )

    import ranvier as rv

    leads = not arguments.distributed or rv.distributed.rank() == 0
    for path in filter(None, (model_path, arguments.json, arguments.report)):
        if leads:
            require_writable(Path(path))
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
    import ranvier.plot as plot

    try:
        plot.require_matplotlib("ranvier train")
    except ImportError:
        print("no picture of the curves: matplotlib is missing (pip install 'ranvier[plot]')", flush=True)
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
    optimizer, model, samples = arguments.optimizer, arguments.model, len(problem.train[0])
    if arguments.class_weight is not None and problem.values:
        raise Mistake("--class-weight is for classes, and the labels are values")
    if arguments.momentum is not None and optimizer != "sgd":
        raise Mistake(f"--momentum is for --optimizer sgd, not for {optimizer}")
    if arguments.shards is not None and not arguments.distributed:
        raise Mistake("--shards is for --distributed")
    if model is None:
        model = "cnn" if len(problem.input_shape) == 3 else "mlp"
    size, momentum = arguments.batch_size, 0.9 if arguments.momentum is None else arguments.momentum
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
        "standardize": (problem.values and model in KINDS) or None,  # not for the user's own network
    }


def _model_path(arguments: argparse.Namespace, problem: Problem, settings: dict[str, Any]) -> Path:
    out = Path(arguments.out or f"runs/{problem.name}-{Path(settings['model']).stem}")
    return out if out.suffix == ".safetensors" else out / f"{problem.name}.safetensors"
