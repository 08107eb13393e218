"""`ranvier train`: a network by name on a data set, saved with its curves."""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ranvier.cli.arguments import Interrupted, Mistake, require_folder, require_writable
from ranvier.cli.networks import (
    KINDS,
    batch_size_of,
    epochs_of,
    initialize,
    learning_rate_of,
    make_optimizer,
    network,
    rescale,
)
from ranvier.cli.problems import Problem, open_problem, standardized
from ranvier.cli.results import results
from ranvier.cli.saving import how_to_resume, keeper, save_somewhere, write_json
from ranvier.cli.train_arguments import add_arguments
from ranvier.cli.useful import require_apart, set_threads

RESUMED = ("lr", "epochs", "schedule", "momentum", "init", "seed")  # a resumed run must have the same


def add(commands: Any) -> None:
    add_arguments(commands, run)


def run(arguments: argparse.Namespace) -> int:
    start = time.perf_counter()
    if arguments.resume and arguments.checkpoint is None:
        raise Mistake("--resume needs --checkpoint DIR, the folder of the run to continue")
    if arguments.checkpoint is not None:
        require_folder("--checkpoint", arguments.checkpoint)
    set_threads(arguments.threads)
    problem = _limited(open_problem(arguments, arguments.seed), arguments.limit)
    settings = _settings(arguments, problem)
    model_path = _model_path(arguments, problem, settings)
    picture_path = model_path.with_suffix(".png")
    outputs = {"--out": model_path, "the picture next to it": picture_path}
    require_apart(
        {**outputs, "--report": arguments.report, "--json": arguments.json}, arguments.data, arguments.model
    )
    for path in filter(None, (model_path, arguments.json, arguments.report)):
        require_writable(Path(path))

    import ranvier as rv

    drawn = picture_path if _can_draw() else None
    rv.manual_seed(arguments.seed)

    trainer = _trainer(arguments, problem, settings)
    _fit(arguments, trainer, problem, settings, model_path)
    save_somewhere(lambda path: _save(problem, path, trainer.model), model_path)
    try:
        _finish(arguments, trainer, problem, settings, start, (model_path, drawn))
    except KeyboardInterrupt:
        raise Interrupted(f"'{model_path}' is saved") from None
    except (OSError, Mistake) as error:
        raise Mistake(f"{error}; '{model_path}' is saved") from None
    return 0


def _finish(
    arguments: argparse.Namespace,
    trainer: Any,
    problem: Problem,
    settings: dict[str, Any],
    start: float,
    paths: tuple[Path, Path | None],
) -> None:
    """Measures the saved model on the test part, and writes the other outputs."""
    import ranvier as rv
    import ranvier.plot as plot

    history, (model_path, picture_path) = trainer.history, paths
    measured = trainer.evaluate(*problem.test)
    seconds = time.perf_counter() - start
    goal = problem.goal
    print(f"test {goal} {measured[goal]:.4f}, test loss {measured['loss']:.4f}, {seconds:.1f} s\n")
    predict = trainer.predict if problem.values else trainer.predict_proba
    predicted = predict(problem.test[0])
    print(results(problem.test[1], predicted, problem.class_names))

    if picture_path is not None:
        plot.history(history, picture_path)
    if arguments.report is not None:
        _report(arguments, problem, settings, trainer, predicted)
    if arguments.json is not None:
        document = {
            "configuration": {**settings, **rv.config.config()},
            "history": history.to_dict(),
            f"test_{goal}": measured[goal],
            "test_loss": measured["loss"],
            "seconds": seconds,
            "model": str(model_path),
            "picture": None if picture_path is None else str(picture_path),
        }
        write_json(arguments.json, document)
    saved = (model_path, picture_path, arguments.report, arguments.json)
    print(f"saved {', '.join(str(path) for path in saved if path)}")


def _can_draw() -> bool:
    import ranvier.plot as plot

    try:
        plot.require_matplotlib("ranvier train")
    except ImportError:
        print("no picture of the curves: matplotlib is missing (pip install 'ranvier[plot]')", flush=True)
        return False
    return True


def _trainer(arguments: argparse.Namespace, problem: Problem, settings: dict[str, Any]) -> Any:
    """The network with its loss and optimizer; prints a summary of the run."""
    import ranvier as rv

    model = network(settings["model"], problem.input_shape, problem.outputs)
    if arguments.init != "default":
        initialize(model, arguments.init)
    optimizer = make_optimizer(arguments.optimizer, model, settings["lr"], settings["momentum"])
    loss = rv.nn.MSELoss() if problem.values else rv.nn.CrossEntropyLoss()
    print(
        f"{problem.name}: {len(problem.train[0])} training, {len(problem.valid[0])} validation and "
        f"{len(problem.test[0])} test {problem.kind}; {Path(settings['model']).stem} of "
        f"{sum(p.numel() for p in model.parameters()):,} parameters; "
        f"{arguments.optimizer}, lr {settings['lr']:g}, batch {settings['batch_size']}, "
        f"{rv.get_num_threads()} threads",
        flush=True,
    )
    return rv.Trainer(model, loss, optimizer, metrics=[problem.goal], on_nonfinite=arguments.on_nonfinite)


def _limited(problem: Problem, limit: int | None) -> Problem:
    """At most `limit` training samples, and a quarter of that for validation."""
    if limit is None:
        return problem
    if limit > len(problem.train[0]):
        raise Mistake(f"--limit {limit}: there are {len(problem.train[0])} training {problem.kind}")
    train, valid = ((x[:n], y[:n]) for (x, y), n in ((problem.train, limit), (problem.valid, -(-limit // 4))))
    return replace(problem, train=train, valid=valid)


def _report(
    arguments: argparse.Namespace, problem: Problem, settings: dict[str, Any], trainer: Any, predicted: Any
) -> None:
    import ranvier as rv

    parts = {"training": problem.train, "validation": problem.valid, "test": problem.test}
    rv.report.write(
        arguments.report,
        model=trainer.model,
        history=trainer.history,
        x=problem.test[0],
        y_true=problem.test[1],
        y_pred=predicted if problem.values else predicted.argmax(1),
        probabilities=None if problem.values else predicted,
        class_names=problem.class_names,
        configuration=settings | {f"{name} {problem.kind}": len(part[0]) for name, part in parts.items()},
        command=arguments.line,
        title=f"{problem.name}: {Path(settings['model']).stem}",
    )


def _fit(
    arguments: argparse.Namespace, trainer: Any, problem: Problem, settings: dict[str, Any], model_path: Path
) -> None:
    import ranvier as rv

    scale = None
    if settings["standardize"]:
        problem, scale = standardized(problem)
    updates = settings["epochs"] * -(-len(problem.train[0]) // settings["batch_size"])
    callbacks = [rv.ProgressBar(every=max(1, settings["epochs"] // 50)), _watch(settings)]
    if settings["schedule"] == "cosine":
        cosine = rv.optim.lr_scheduler.CosineAnnealingLR(trainer.optimizer, updates)
        callbacks.insert(1, rv.train.Schedule(cosine, per="batch"))
    folder = arguments.checkpoint
    if folder is not None:
        callbacks.append(rv.Checkpoint(folder, every_seconds=60, monitor=f"val_{problem.goal}"))
    else:
        callbacks.append(keeper(model_path))
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _say  # type: ignore[assignment]  # of damaged checkpoints
            trainer.fit(
                *problem.train,
                epochs=settings["epochs"],
                batch_size=settings["batch_size"],
                shuffle=settings["batch_size"] < len(problem.train[0]),
                class_weight=settings["class_weight"],
                validation_data=problem.valid,
                callbacks=callbacks,
                resume=folder if arguments.resume else None,
            )
    except rv.train.NonFiniteError as error:
        kept = None if folder is None else callbacks[-1].latest
        more = "" if kept is None else f"; '{kept}' is a state before it"
        raise Mistake(f"the training diverged: {error}; see --lr{more}") from None
    except BlockingIOError as error:  # another run uses the folder
        raise Mistake(error) from None
    except (ValueError, OSError) as error:
        if folder is None and isinstance(error, ValueError):
            raise  # an error in the user's network shows its traceback
        written = not arguments.resume and callbacks[-1].latest is not None
        raise Mistake(f"{error}{'; add --resume to continue its run' if written else ''}") from None
    if scale is not None:
        rescale(trainer.model, scale)
    if trainer.interrupted:
        raise Interrupted(_kept(arguments, problem, trainer.model, callbacks[-1], model_path))


def _kept(arguments: argparse.Namespace, problem: Problem, model: Any, checkpoint: Any, path: Path) -> str:
    """The text about the files of an interrupted run, and how to continue it."""
    latest = checkpoint.latest
    if latest is None:
        return "nothing saved"
    if arguments.checkpoint is not None:
        return f"'{latest}' is kept: continue with --resume"
    model_path = checkpoint.folder / path.name
    save_somewhere(lambda path: _save(problem, path, model), model_path)
    command = how_to_resume(arguments.line, checkpoint.folder)
    return f"the model so far is '{model_path}'; continue with: {command}"


def _say(message: Warning | str, *_: Any) -> None:
    print(f"ranvier: {message}", file=sys.stderr, flush=True)


def _save(problem: Problem, model_path: Path, model: Any) -> None:
    import ranvier as rv

    rv.save(
        model,
        model_path,
        input_shape=problem.input_shape,
        class_names=problem.class_names,
        preprocessing=problem.preprocessing,
        link=None if problem.values else "softmax",
        feature_names=problem.feature_names,
    )


def _settings(arguments: argparse.Namespace, problem: Problem) -> dict[str, Any]:
    optimizer, model, samples = arguments.optimizer, arguments.model, len(problem.train[0])
    if arguments.class_weight is not None and problem.values:
        raise Mistake("--class-weight is for classes, and the labels are values")
    if arguments.momentum is not None and optimizer != "sgd":
        raise Mistake(f"--momentum is for --optimizer sgd, not for {optimizer}")
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
        "standardize": (problem.values and model in KINDS) or None,  # not for the user's own network
    }


def _model_path(arguments: argparse.Namespace, problem: Problem, settings: dict[str, Any]) -> Path:
    out = Path(arguments.out or f"runs/{problem.name}-{Path(settings['model']).stem}")
    return out if out.suffix == ".safetensors" else out / f"{problem.name}.safetensors"


def _watch(settings: dict[str, Any]) -> Any:
    """A callback that refuses to resume a run with other settings."""
    from ranvier.train import Callback

    longer = settings["schedule"] == "constant"
    hints = {
        "--epochs": "" if longer else ", which its schedule depends on (with --schedule constant it may grow)"
    }

    class Watch(Callback):
        def state_dict(self) -> dict[str, Any]:
            return {f"--{name.replace('_', '-')}": settings[name] for name in RESUMED}

        def load_state_dict(self, state: Mapping[str, Any]) -> None:
            for name, ours in self.state_dict().items():
                theirs = state.get(name, ours)
                if theirs == ours or (name == "--epochs" and longer and ours > theirs):
                    continue
                value = f"{theirs:g}" if isinstance(theirs, float) else theirs
                raise Mistake(
                    f"--resume needs the settings of the run: it has {name} {value}{hints.get(name, '')}"
                )

    return Watch()
