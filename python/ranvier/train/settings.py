"""The settings of a Trainer and the callbacks of a run, checked before anything starts."""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier.extension as extension
import ranvier.nn as nn
import ranvier.optim as optim
from ranvier.config import require_precision
from ranvier.metrics.named import METRICS, Metric, OfScorer, is_scorer, scored
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.errors import count, flag, one_of
from ranvier.train.arrays import MODES
from ranvier.train.attributes import require_known
from ranvier.train.callbacks.base import Callback, Training
from ranvier.train.checkpoints import Checkpoint
from ranvier.train.history import History
from ranvier.train.losses import name_of
from ranvier.train.step import parameters_of, strength

if TYPE_CHECKING:
    from ranvier.nn.module import Module
    from ranvier.optim.optimizer import Optimizer

_LOSSES = {  # other names of losses -> the class
    "mae": "L1Loss", "binary_cross_entropy": "BCELoss", "logistic": "BCEWithLogitsLoss",
    "binary_cross_entropy_with_logits": "BCEWithLogitsLoss", "categorical_cross_entropy": "CrossEntropyLoss",
    "sparse_categorical_cross_entropy": "CrossEntropyLoss", "mean_squared_error": "MSELoss",
    "mean_absolute_error": "L1Loss", "nll": "NLLLoss", "l1": "L1Loss", "smooth_l1": "SmoothL1Loss",
}  # fmt: skip


class Setting:
    """An attribute of a Trainer that is checked wherever it is set, and not set while a fit is running.

    check: a function (trainer, value) that gives the value to store, or raises. stays: whether it cannot be
    set while a fit is running; if not, it cannot be set between two fits, where nothing reads it.
    """

    def __init__(self, check: Callable[[Any, Any], Any], stays: bool = True) -> None:
        self._check = check
        self._stays = stays

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, trainer: Any, value: Any) -> None:
        running = vars(trainer).get("_run") is not None
        if running and self._stays:
            raise RuntimeError(
                f"[Trainer] got a new {self._name} while a fit is running, whose steps have that of its "
                "beginning; expected it between two fits"
            )
        if not running and not self._stays:
            raise RuntimeError(
                f"[Trainer] got a new {self._name} between two fits, each of which begins with False; "
                "expected it while a fit is running, as in a method of a callback"
            )
        vars(trainer)[self._name] = self._check(trainer, value)


class Reported:
    """An attribute of a Trainer that its runs write (`report` in callbacks/base.py), and programs read."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, trainer: Any, value: Any) -> None:
        raise AttributeError(
            f"[Trainer] got a new {self._name}, which runs report; expected a setting, history or "
            "stop_training, which a program may set"
        )


class Settings:
    """The settings of a Trainer, and what its runs report."""

    model: Any = Setting(lambda _, value: _object(value))
    loss: Any = Setting(lambda _, value: named_loss(value))
    optimizer: Any = Setting(lambda self, value: take_optimizer(self, value, None))
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
    shards: Any = Setting(lambda _, value: _power_of_two("shards", value))
    deterministic: Any = Setting(lambda _, value: _flag("deterministic", value))
    stop_training: Any = Setting(lambda _, value: flag("Trainer", "stop_training", value), stays=False)
    history: Any = Setting(lambda _, value: _history(value))
    updates: Any = Reported()
    last_epoch: Any = Reported()
    steps_per_epoch: Any = Reported()
    interrupted: Any = Reported()
    resumed_from: Any = Reported()
    gives_hints: Any = Reported()

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an attribute of the class.

        A subclass may have others, whose names are not close to those that are known.

        Raises:
            AttributeError: an attribute that nothing reads.
        """
        require_known(self, name)
        object.__setattr__(self, name, value)

    @property
    def lr(self) -> Any:
        """The learning rate of the optimizer's groups: one number, or a list where they differ.

        Setting it gives all groups this rate, at once and also while a fit is running. A schedule
        (`rv.Schedule`) computes the rate of its next step as if nothing had been set.
        """
        rates = [float(group["lr"]) for group in groups_of(self.optimizer) if "lr" in group]
        if len(set(rates)) == 1:
            return rates[0]
        return rates or None

    @lr.setter
    def lr(self, value: Any) -> None:
        groups = [group for group in groups_of(self.optimizer) if "lr" in group]
        if not groups:
            raise ValueError("[Trainer] got lr and no optimizer that has one; expected an optimizer before")
        rate = _rate(value)
        for group in groups:
            group["lr"] = rate


def named_metrics(metrics: Sequence[str | Metric] | Mapping[str, Metric]) -> dict[str, Metric]:
    """The metric functions by name. A mapping, such as the metrics of another Trainer, has the names."""
    if isinstance(metrics, Mapping) and all(map(callable, metrics.values())):
        return dict(metrics)
    if isinstance(metrics, str):
        raise TypeError(f"[Trainer] got metrics {metrics!r}; expected a sequence such as [{metrics!r}]")
    named: dict[str, Metric] = {}
    for metric in metrics:
        refuse_torch("Trainer", "a metric", metric)
        if is_scorer(metric):
            metric = OfScorer(metric)
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
            scored(metric)  # It raises for one that no Trainer can compute.
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
        if name is None:
            return loss
        return _losses()[name]()
    if isinstance(loss, type):
        raise TypeError(f"[Trainer] got the class {loss.__name__} as loss; expected {loss.__name__}()")
    if not callable(loss):
        if hasattr(loss, "param_groups"):
            swapped = ": loss comes before optimizer"
        else:
            swapped = ""
        raise TypeError(
            f"[Trainer] got loss of type {type(loss).__name__}; expected a function or loss module{swapped}"
        )
    return loss


def _losses() -> dict[str, Any]:
    """The losses that take an output and a target, by name."""
    return {n: kind for n in nn.__all__ if n.endswith("Loss") and _of_two(kind := getattr(nn, n))}


def groups_of(optimizer: Optimizer) -> Sequence[dict[str, Any]]:
    """The parameter groups of an optimizer; none of an object without."""
    groups: Sequence[dict[str, Any]] = getattr(optimizer, "param_groups", ())
    return groups


def take_optimizer(trainer: Any, optimizer: Optimizer, lr: float | None) -> Any:
    """The optimizer for a Trainer, which notes whether it is the Trainer's own: made of a name, a class or a
    function, so that it follows the parameters of the model."""
    taken = named_optimizer(optimizer, trainer.model, trainer.loss, lr)
    vars(trainer)["_owns_optimizer"] = taken is not optimizer
    return taken


def named_optimizer(optimizer: Optimizer, model: Module, loss: Any, lr: float | None) -> Any:
    """An optimizer; a name, a class or a function makes it of the parameters of model and loss."""
    refuse_torch("Trainer", "optimizer", optimizer)
    if optimizer is None:  # A Trainer without an optimizer evaluates and predicts.
        if lr is not None:
            raise ValueError(f"[Trainer] got lr {lr} and no optimizer; expected an optimizer or its name")
        return None
    kind = optimizer
    if isinstance(optimizer, str):
        kinds = {n: kind for n, kind in vars(optim).items() if isinstance(kind, type) and n != "Optimizer"}
        kind = _by_name("optimizer", optimizer, kinds, {})
    if isinstance(kind, type) or (callable(kind) and not hasattr(kind, "step")):
        if lr is not None:
            _rate(lr)
        return _made_optimizer(kind, _trainable(model, loss), {} if lr is None else {"lr": lr})
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
    if near:
        meant = f"; did you mean '{spelled[spellings[near[0]]]}'?"
    else:
        meant = ""
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
    """Raise TypeError for a method, or a function among the attributes, whose name is close to that of a
    hook, and which nothing would call."""
    hooks = [name for name in vars(Callback) if name.startswith("on_")]
    mro = type(hook).__mro__
    for names in (vars(hook), *map(vars, mro[: mro.index(Callback)])):
        for name in names:
            if not name.startswith("on_") or name in hooks:
                continue
            meant = get_close_matches(name, hooks, 1, 0.8)
            if meant:
                raise TypeError(
                    f"[Trainer.fit] {type(hook).__name__} has a method {name}, which nothing calls; expected "
                    f"{meant[0]}, or a name that is not so close to it"
                )


def _rate(value: Any) -> float:
    """A learning rate as a number; the optimizer knows its limits."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"[Trainer] got lr of type {type(value).__name__}; expected a number")
    rate = float(value)
    if not 0 <= rate < math.inf:
        raise ValueError(f"[Trainer] got lr {value}; expected a finite number of at least 0")
    return rate


def _power_of_two(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1 or value & (value - 1):
        raise ValueError(f"[Trainer] got {name} {value!r}; expected a power of two: 1, 2, 4, 8 ...")
    return value


def _history(value: Any) -> History:
    if not isinstance(value, History):
        raise TypeError(f"[Trainer] got history of type {type(value).__name__}; expected rv.train.History()")
    return value


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"[Trainer] got {name} {value!r}; expected True or False")
    return value


def _object(model: Module) -> Any:
    refuse_torch("Trainer", "model", model)
    if isinstance(model, type):
        raise TypeError(f"[Trainer] got the class {model.__name__} as model; expected an object")
    if not hasattr(model, "parameters"):
        raise TypeError(f"[Trainer] got model of type {type(model).__name__}; expected a Module")
    return model


def processes() -> Any:
    """The module of distributed runs, loaded at its first use."""
    return extension.provider("distributed training")


def _trainable(model: Module, loss: Any) -> list[Any]:
    """The parameters of the model and of a loss that has some."""
    of_loss = loss.parameters() if isinstance(loss, nn.Module) else ()
    return [*model.parameters(), *of_loss]


def follow_parameters(trainer: Training) -> bool:
    """Give the Trainer's own optimizer the parameters that model and loss have now; True if they are others.

    They are others where a layer was replaced, or the model or the loss as a whole. What the optimizer keeps
    of a parameter that stays (its moments) stays, too. An optimizer with several groups, which a function has
    made, is left as it is: nothing says into which group a parameter belongs.
    """
    groups = groups_of(trainer.optimizer)
    if not vars(trainer)["_owns_optimizer"] or len(groups) != 1 or "param_names" in groups[0]:
        return False
    held = groups[0]["params"]
    present = _trainable(trainer.model, trainer.loss)
    if len(held) == len(present) and all(map(operator.is_, held, present)):
        return False
    different = list({id(p): p for p in present}.values())
    if {id(p) for p in held} == {id(p) for p in different} or not different:
        return False
    groups[0]["params"] = different
    state = getattr(trainer.optimizer, "state", {})
    if isinstance(trainer.optimizer, optim.LBFGS):  # Its state is of all parameters together.
        state.clear()
    kept = {id(p) for p in different}
    left_out = [p for p in state if id(p) not in kept]
    for p in left_out:
        del state[p]
    return True


def require_processes(trainer: Training) -> None:
    """Raise ValueError for settings of several processes that do not fit, or would have no effect."""
    if trainer.distributed:
        processes().require_ranks(trainer.shards, trainer.deterministic)
        return
    given = {"shards": (trainer.shards, 8), "deterministic": (trainer.deterministic, True)}
    for name, (value, usual) in given.items():
        if value != usual:
            raise ValueError(
                f"[Trainer] got {name} {value} without distributed=True, where it has no effect; expected "
                f"distributed=True, or {name}={usual}"
            )


def require_parameters(trainer: Training) -> None:
    """Raise for a missing optimizer, or one that updates neither the model nor the loss."""
    if trainer.optimizer is None:
        raise TypeError("[Trainer.fit] got no optimizer; expected one, or its name, in Trainer(...)")
    own = {id(p) for p in _trainable(trainer.model, trainer.loss)}
    updated = parameters_of(trainer.optimizer)
    if own and updated and not any(id(p) in own for p in updated):
        raise ValueError(
            "[Trainer.fit] got an optimizer that has none of the model's parameters; expected one made of "
            "model.parameters()"
        )
