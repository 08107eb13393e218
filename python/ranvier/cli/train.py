"""`ranvier train`: a network by name on a data set, saved with its curves."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ranvier.cli.arguments import (
    Interrupted,
    Mistake,
    add_command,
    positive_float,
    positive_int,
    require_writable,
    seed,
)
from ranvier.cli.networks import (
    LEARNING_RATE,
    batch_size_of,
    epochs_of,
    learning_rate_of,
    make_optimizer,
    network,
)
from ranvier.cli.problems import Problem, add_data, open_problem


def add(commands: Any) -> None:
    """The command's arguments."""
    train = add_command(
        commands,
        "train",
        "train a network on a data set, save it with its curves",
        "Trains on a part of the data, follows another part while it does, measures the accuracy on a third, "
        "and saves the model, the picture of its curves and, if asked, the figures.",
        [
            "ranvier train digits",
            "ranvier train mnist --data-dir DIR --model mlp",
            "ranvier train flowers.csv --label species",
            "ranvier train photos/ --size 64x64 --model net.py",
            "ranvier train digits --checkpoint run1 --resume",
        ],
    )
    train.set_defaults(command=run)
    add_data(train)
    train.add_argument(
        "--model",
        metavar="NAME",
        help="cnn, mlp, or a Python file with a function build() that returns a network (it may take "
        "input_shape and classes); default: cnn for images, mlp for tables",
    )
    train.add_argument(
        "--epochs", type=positive_int, metavar="N", help="default: 40; of mnist 6 (cnn) or 10 (mlp)"
    )
    train.add_argument(
        "--batch-size", type=positive_int, metavar="N", help="default: 32, from 10,000 samples on 128"
    )
    train.add_argument(
        "--lr",
        type=positive_float,
        metavar="X",
        help="at the start; it falls to 0 along half a cosine. Default by optimizer and model: "
        + ", ".join(
            f"{name} {rates['cnn']:g} (mlp {rates['mlp']:g})" for name, rates in LEARNING_RATE.items()
        ),
    )
    train.add_argument("--optimizer", choices=tuple(LEARNING_RATE), default="adam", help="default: adam")
    train.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="default: 0; the same seed, the same bits"
    )
    train.add_argument(
        "--threads", type=positive_int, metavar="N", help="default: the physical cores we may use"
    )
    train.add_argument(
        "--out",
        metavar="PATH",
        help="folder, or file ending in .safetensors; default: runs/<data>-<model>",
    )
    train.add_argument(
        "--checkpoint",
        metavar="DIR",
        help="write the whole state of the run to DIR, after each epoch and each minute of one",
    )
    train.add_argument(
        "--resume",
        action="store_true",
        help="go on from the newest checkpoint in DIR, with the bits of a run that was never stopped",
    )
    train.add_argument("--json", metavar="FILE", help="write configuration, history and test results to FILE")


def run(arguments: argparse.Namespace) -> int:
    start = time.perf_counter()
    if arguments.resume and arguments.checkpoint is None:
        raise Mistake("--resume needs --checkpoint DIR, the folder to go on from")
    problem = open_problem(arguments, arguments.seed)
    settings = _settings(arguments, problem)
    model_path = _model_path(arguments, problem, settings)
    picture_path: Path | None = model_path.with_suffix(".png")
    for path in filter(None, (model_path, arguments.json)):
        require_writable(Path(path))

    import ranvier as rv
    from ranvier import plot

    try:
        plot.require_matplotlib("ranvier train")
    except ImportError:
        print("no picture of the curves: matplotlib is missing (pip install 'ranvier[plot]')", flush=True)
        picture_path = None
    if arguments.threads is not None:
        try:
            rv.set_num_threads(arguments.threads)
        except ValueError as error:
            raise Mistake(error) from None
    rv.manual_seed(arguments.seed)

    model = network(settings["model"], problem.input_shape, len(problem.class_names))
    optimizer = make_optimizer(arguments.optimizer, model, settings["lr"])
    trainer = rv.Trainer(model, rv.nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
    print(
        f"{problem.name}: {len(problem.train[0])} training, {len(problem.valid[0])} validation and "
        f"{len(problem.test[0])} test {problem.kind}; {Path(settings['model']).stem} of "
        f"{sum(p.numel() for p in model.parameters()):,} parameters; "
        f"{arguments.optimizer}, lr {settings['lr']:g}, batch {settings['batch_size']}, "
        f"{rv.get_num_threads()} threads",
        flush=True,
    )
    history = _fit(arguments, trainer, problem, settings)
    measured = trainer.evaluate(*problem.test)
    seconds = time.perf_counter() - start
    print(f"test accuracy {measured['accuracy']:.4f}, test loss {measured['loss']:.4f}, {seconds:.1f} s")

    _save(problem, model_path, picture_path, model, history)
    if arguments.json is not None:
        results = {
            "configuration": {**settings, **rv.config.config()},
            "history": history.to_dict(),
            "test_accuracy": measured["accuracy"],
            "test_loss": measured["loss"],
            "seconds": seconds,
            "model": str(model_path),
            "picture": None if picture_path is None else str(picture_path),
        }
        Path(arguments.json).write_text(json.dumps(results, indent=2) + "\n")
    print(f"saved {', '.join(str(path) for path in (model_path, picture_path, arguments.json) if path)}")
    return 0


def _fit(arguments: argparse.Namespace, trainer: Any, problem: Problem, settings: dict[str, Any]) -> Any:
    import ranvier as rv

    updates = settings["epochs"] * -(-len(problem.train[0]) // settings["batch_size"])
    cosine = rv.optim.lr_scheduler.CosineAnnealingLR(trainer.optimizer, updates)  # half of it, down to 0
    watch = _watch(settings)
    callbacks = [rv.ProgressBar(), rv.train.Schedule(cosine, per="batch"), watch]
    folder = arguments.checkpoint
    if folder is not None:
        callbacks.append(rv.Checkpoint(folder, every_seconds=60, monitor="val_accuracy"))
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _say  # type: ignore[assignment]  # a damaged checkpoint that is passed over
            history = trainer.fit(
                *problem.train,
                epochs=settings["epochs"],
                batch_size=settings["batch_size"],
                validation_data=problem.valid,
                callbacks=callbacks,
                resume=folder if arguments.resume else None,
            )
    except (ValueError, OSError) as error:
        if folder is None:
            raise
        hint = "" if arguments.resume else "; add --resume to go on with its run"
        raise Mistake(f"{error}{hint}") from None
    if trainer.interrupted:
        kept = None if folder is None else callbacks[-1].latest
        raise Interrupted("nothing saved" if kept is None else f"'{kept}' is kept: go on with --resume")
    return history


def _say(message: Warning | str, *_: Any) -> None:
    print(f"ranvier: {message}", file=sys.stderr, flush=True)


def _save(problem: Problem, model_path: Path, picture_path: Path | None, model: Any, history: Any) -> None:
    import ranvier as rv
    from ranvier import plot

    rv.save(
        model,
        model_path,
        input_shape=problem.input_shape,
        class_names=problem.class_names,
        preprocessing=problem.preprocessing,
        link="softmax",
    )
    if picture_path is not None:
        plot.history(history, picture_path)


def _settings(arguments: argparse.Namespace, problem: Problem) -> dict[str, Any]:
    """The arguments with their defaults filled in."""
    optimizer, model = arguments.optimizer, arguments.model
    if model is None:
        model = "cnn" if len(problem.input_shape) == 3 else "mlp"
    return {
        "dataset": arguments.data,
        "data_dir": arguments.data_dir,
        "model": model,
        "epochs": arguments.epochs or epochs_of(arguments.data, model),
        "batch_size": arguments.batch_size or batch_size_of(len(problem.train[0])),
        "lr": arguments.lr or learning_rate_of(optimizer, model),
        "optimizer": optimizer,
        "seed": arguments.seed,
    }


def _model_path(arguments: argparse.Namespace, problem: Problem, settings: dict[str, Any]) -> Path:
    out = Path(arguments.out or f"runs/{problem.name}-{Path(settings['model']).stem}")
    return out if out.suffix == ".safetensors" else out / f"{problem.name}.safetensors"


def _watch(settings: dict[str, Any]) -> Any:
    """A callback that ends a run that diverged, and one that is resumed with other settings."""
    from ranvier.train import Callback

    class Watch(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            if not math.isfinite(logs["loss"]):
                raise Mistake(f"the training diverged: loss {logs['loss']}; try a smaller --lr")

        def state_dict(self) -> dict[str, Any]:
            return {f"--{name}": settings[name] for name in ("lr", "epochs")}

        def load_state_dict(self, state: Mapping[str, Any]) -> None:
            for name, ours in self.state_dict().items():
                if state[name] != ours:
                    raise Mistake(f"--resume needs the settings of the run: it has {name} {state[name]:g}")

    return Watch()
