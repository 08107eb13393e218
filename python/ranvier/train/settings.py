"""The settings of a Trainer and the callbacks of a run, checked before anything starts."""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

import ranvier.extension as extension
import ranvier.nn as nn
import ranvier.optim as optim
from ranvier.config import require_precision
from ranvier.metrics.named import METRICS, Metric
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.errors import count, one_of
from ranvier.train.arrays import MODES
from ranvier.train.callbacks.base import Callback, Training
from ranvier.train.checkpoints import Checkpoint
from ranvier.train.losses import name_of
from ranvier.train.step import parameters_of, strength

_LOSSES = {  # other names of losses -> the class
    "mae": "L1Loss", "binary_cross_entropy": "BCELoss", "logistic": "BCEWithLogitsLoss",
    "binary_cross_entropy_with_logits": "BCEWithLogitsLoss", "categorical_cross_entropy": "CrossEntropyLoss",
    "sparse_categorical_cross_entropy": "CrossEntropyLoss", "mean_squared_error": "MSELoss",
    "mean_absolute_error": "L1Loss", "nll": "NLLLoss", "l1": "L1Loss", "smooth_l1": "SmoothL1Loss",
}  # fmt: skip


class Setting:
    """An attribute of a Trainer that is checked wherever it is set, and not set while a fit is running.

    check: a function (trainer, value) that gives the value to store, or raises.
    """

    def __init__(self, check: Callable[[Any, Any], Any]) -> None:
        self._check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, trainer: Any, value: Any) -> None:
        if vars(trainer).get("_run") is not None:
            raise RuntimeError(
                f"[Trainer] got a new {self._name} while a fit is running, whose steps have that of its "
                "beginning; expected it between two fits"
            )
        vars(trainer)[self._name] = self._check(trainer, value)


class Settings:
    """The settings of a Trainer."""

    model: Any = Setting(lambda _, value: _object(value))
    loss: Any = Setting(lambda _, value: named_loss(value))
    optimizer: Any = Setting(lambda self, value: named_optimizer(value, self.model, self.loss, None))
    metrics: Any = Setting(lambda _, value: named_metrics(value))
    l1: Any = Setting(lambda self, value: strength("l1", value, self.model))
    l2: Any = Setting(lambda self, value: strength("l2", value, self.model))
    accumulate: Any = Setting(lambda _, value: count("Trainer", "accumulate", value))
    clip_grad_norm: Any = Setting(lambda _, value: limit("clip_grad_norm", value))
    clip_grad_value: Any = Setting(lambda _, value: limit("clip_grad_value", value))
    compile: Any = Setting(lambda _, value: _flag("compile", value))
    on_nonfinite: Any = Setting(lambda _, value: one_of("Trainer", "on_nonfinite", value, MODES))
    precision: Any = Setting(lambda _, value: value if value is None else require_precision("Trainer", value))
    distributed: Any = Setting(lambda _, value: _flag("distributed", value))
    deterministic: Any = Setting(lambda _, value: _flag("deterministic", value))


def named_metrics(metrics: Sequence[str | Metric] | Mapping[str, Metric]) -> dict[str, Metric]:
    """The metric functions by name. A mapping, such as the metrics of another Trainer, has the names."""
    if isinstance(metrics, Mapping) and all(map(callable, metrics.values())):
        return dict(metrics)
    if isinstance(metrics, str):
        raise TypeError(f"[Trainer] got metrics {metrics!r}; expected a sequence such as [{metrics!r}]")
    named: dict[str, Metric] = {}
    for metric in metrics:
        refuse_torch("Trainer", "a metric", metric)
        name = metric if isinstance(metric, str) else name_of(metric)
        if name in named or name == "loss":
            raise ValueError(
                f"[Trainer] got two quantities called '{name}'; expected metrics of different names, none of "
                "them 'loss' (a function's is its __name__)"
            )
        if isinstance(metric, str):
            if metric not in METRICS:
                near = get_close_matches(metric, METRICS, 1, 0.6)
                meant = f"; did you mean '{near[0]}'?" if near else ""
                raise ValueError(
                    f"[Trainer] got metric '{metric}'{meant}; expected a function or one of "
                    f"{', '.join(METRICS)}"
                )
            named[metric] = METRICS[metric]
        elif callable(metric):
            named[name_of(metric)] = metric
        else:
            raise TypeError(
                f"[Trainer] got metric of type {type(metric).__name__}; expected a name or a function"
            )
    return named


def named_loss(loss: Any) -> Callable[[Any, Any], Any]:
    """A loss by the name of its class, in any spelling, without "Loss", or by nn.functional's function."""
    if isinstance(loss, str):
        return _by_name("loss", loss, _losses(), _LOSSES)()
    refuse_torch("Trainer", "loss", loss)
    if inspect.isfunction(loss) and loss.__module__.startswith(("ranvier.ops.", "ranvier.nn.")):
        name = _spellings(_losses(), _LOSSES).get(_plain(loss.__name__))
        return loss if name is None else _losses()[name]()
    if isinstance(loss, type):
        raise TypeError(f"[Trainer] got the class {loss.__name__} as loss; expected {loss.__name__}()")
    if not callable(loss):
        swapped = ": loss comes before optimizer" if hasattr(loss, "param_groups") else ""
        raise TypeError(
            f"[Trainer] got loss of type {type(loss).__name__}; expected a function or loss module{swapped}"
        )
    return loss


def _losses() -> dict[str, Any]:
    """The losses that take an output and a target, by name."""
    return {n: kind for n in nn.__all__ if n.endswith("Loss") and _of_two(kind := getattr(nn, n))}


def named_optimizer(optimizer: Any, model: Any, loss: Any, lr: float | None) -> Any:
    """An optimizer; a name, a class or a function makes it of the parameters of model and loss."""
    refuse_torch("Trainer", "optimizer", optimizer)
    if optimizer is None:  # A Trainer without an optimizer evaluates and predicts.
        return None
    kind = optimizer
    if isinstance(optimizer, str):
        kinds = {n: kind for n, kind in vars(optim).items() if isinstance(kind, type) and n != "Optimizer"}
        kind = _by_name("optimizer", optimizer, kinds, {})
    if isinstance(kind, type) or (callable(kind) and not hasattr(kind, "step")):
        own = loss.parameters() if isinstance(loss, nn.Module) else ()
        if lr is not None and (isinstance(lr, bool) or not isinstance(lr, numbers.Real)):
            raise TypeError(f"[Trainer] got lr of type {type(lr).__name__}; expected a number")
        return _made_optimizer(kind, [*model.parameters(), *own], {} if lr is None else {"lr": lr})
    if not hasattr(optimizer, "step"):
        raise TypeError(
            f"[Trainer] got optimizer of type {type(optimizer).__name__}; expected an optimizer or its name"
        )
    if lr is not None:
        raise ValueError(
            f"[Trainer] got lr and an optimizer of type {type(optimizer).__name__}, which has its own; "
            "expected lr with a name of an optimizer"
        )
    return optimizer


def _made_optimizer(kind: Any, parameters: list[Any], settings: dict[str, Any]) -> Any:
    """The optimizer that a class or function makes."""
    if settings and not isinstance(kind, type):
        try:
            inspect.signature(kind).bind(parameters, **settings)
        except TypeError:
            raise TypeError(
                f"[Trainer] got lr and the function {name_of(kind)} as optimizer, which takes no lr; "
                "expected lr inside the function: lambda p: rv.optim.SGD(p, lr=0.1)"
            ) from None
    optimizer = kind(parameters, **settings)
    if not hasattr(optimizer, "step"):
        raise TypeError(
            f"[Trainer] got optimizer {name_of(kind)}, which gives {type(optimizer).__name__}; expected a "
            "function that gives an optimizer"
        )
    return optimizer


@functools.cache
def _of_two(kind: Any) -> bool:
    """True for a loss that takes exactly an output and a target."""
    return isinstance(kind, type) and len(inspect.signature(kind.forward).parameters) == 3  # type: ignore[attr-defined]


def _spellings(kinds: Mapping[str, Any], aliases: Mapping[str, str]) -> dict[str, str]:
    """{a spelling of a name, as `_plain` gives it: the name of the class}"""
    return {_plain(kind): kind for kind in kinds} | {_plain(alias): kind for alias, kind in aliases.items()}


def _by_name(what: str, name: str, kinds: Mapping[str, Any], aliases: Mapping[str, str]) -> Any:
    spellings = _spellings(kinds, aliases)
    if _plain(name) in spellings:
        return kinds[spellings[_plain(name)]]
    near = get_close_matches(_plain(name), spellings, 1, 0.6)
    spelled = {kind: shown for shown, kind in zip(map(_shown, kinds), kinds, strict=True)}
    meant = f"; did you mean '{spelled[spellings[near[0]]]}'?" if near else ""
    raise ValueError(
        f"[Trainer] got {what} '{name}'{meant}; expected an object or one of {', '.join(spelled.values())}"
    )


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "").removesuffix("loss")


def _shown(name: str) -> str:
    """CrossEntropyLoss as cross_entropy, BCEWithLogitsLoss as bce_with_logits, AdamW as adamw."""
    if not name.endswith("Loss"):
        return name.lower()
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name[:-4]).lower()


def limit(name: str, value: Any) -> float | None:
    """A number above 0, or None for no limit."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"[Trainer] got {name} of type {type(value).__name__}; expected a number or None")
    if not 0 < value < math.inf:
        raise ValueError(f"[Trainer] got {name} {value}; expected a finite number above 0")
    return float(value)


def in_order(callbacks: Iterable[Callback]) -> list[Callback]:
    """The callbacks as given, Checkpoints last, so that they see what the others have done.

    Raises:
        TypeError: no callbacks, or one with a method whose name is almost that of a hook.
        ValueError: one is given twice.
    """
    if isinstance(callbacks, Callback):
        raise TypeError(f"[Trainer.fit] got callbacks {name_of(callbacks)}; expected a sequence of them")
    hooks = list(callbacks)
    for hook in hooks:
        if not isinstance(hook, Callback):
            refuse_torch("Trainer.fit", "a callback", hook)
            raise TypeError(
                f"[Trainer.fit] got a callback of type {type(hook).__name__}; expected rv.Callback"
            )
        _require_hooks(hook)
    if len({id(hook) for hook in hooks}) < len(hooks):
        raise ValueError("[Trainer.fit] got a callback twice; expected each once")
    return sorted(hooks, key=lambda hook: isinstance(hook, Checkpoint))


def _require_hooks(hook: Callback) -> None:
    """Raise TypeError for a method whose name is close to that of a hook, and which nothing would call."""
    hooks = [name for name in vars(Callback) if name.startswith("on_")]
    for kind in type(hook).__mro__:
        if kind is Callback:
            break
        for name in vars(kind):
            unknown = name.startswith("on_") and name not in hooks
            if unknown and (meant := get_close_matches(name, hooks, 1, 0.8)):
                raise TypeError(
                    f"[Trainer.fit] {kind.__name__} has a method {name}, which nothing calls; expected "
                    f"{meant[0]}, or a name that is not so close to it"
                )


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"[Trainer] got {name} {value!r}; expected True or False")
    return value


def _object(model: Any) -> Any:
    refuse_torch("Trainer", "model", model)
    if isinstance(model, type):
        raise TypeError(f"[Trainer] got the class {model.__name__} as model; expected an object")
    if not hasattr(model, "parameters"):
        raise TypeError(f"[Trainer] got model of type {type(model).__name__}; expected a Module")
    return model


def processes() -> Any:
    """The module of distributed runs, loaded at its first use."""
    return extension.provider("distributed training")


def require_parameters(trainer: Training) -> None:
    """Raise for a missing optimizer, or one that updates neither the model nor the loss."""
    if trainer.optimizer is None:
        raise TypeError("[Trainer.fit] got no optimizer; expected one, or its name, in Trainer(...)")
    losses = trainer.loss.parameters() if isinstance(trainer.loss, nn.Module) else ()
    own = {id(p) for p in (*trainer.model.parameters(), *losses)}
    updated = parameters_of(trainer.optimizer)
    if own and updated and not any(id(p) in own for p in updated):
        raise ValueError(
            "[Trainer.fit] got an optimizer that has none of the model's parameters; expected one made of "
            "model.parameters()"
        )
