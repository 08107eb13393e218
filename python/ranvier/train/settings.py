"""The settings of a Trainer and the callbacks of a run, checked before anything starts.

`Settings` is the base class of Trainer: each of its attributes is a `Setting`, which a program may set and
which is checked then, or is `Reported`, written by runs only.
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

import ranvier.extension as extension
import ranvier.nn as nn
import ranvier.optim as optim
from ranvier.config import require_precision
from ranvier.optim.optimizer import Optimizer
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.errors import count, flag, one_of
from ranvier.train.arrays import MODES
from ranvier.train.attributes import require_known
from ranvier.train.callbacks.base import Callback, Training, is_checkpoint
from ranvier.train.history import History
from ranvier.train.losses import Loss, name_of
from ranvier.train.step import Strength, parameters_of, searches, strength

if TYPE_CHECKING:
    from ranvier.metrics.named import Metric
    from ranvier.nn.module import Module
    from ranvier.tensors.tensor import Tensor

OptimizerLike: TypeAlias = str | Optimizer | Callable[..., Optimizer]
"""An optimizer, its name, or a class or function that makes it of a list of parameters."""

_LOSSES = {  # other names of losses -> the class
    "mae": "L1Loss", "binary_cross_entropy": "BCELoss", "logistic": "BCEWithLogitsLoss",
    "binary_cross_entropy_with_logits": "BCEWithLogitsLoss", "categorical_cross_entropy": "CrossEntropyLoss",
    "sparse_categorical_cross_entropy": "CrossEntropyLoss", "mean_squared_error": "MSELoss",
    "mean_absolute_error": "L1Loss", "nll": "NLLLoss", "l1": "L1Loss", "smooth_l1": "SmoothL1Loss",
}  # fmt: skip


class Setting:
    """An attribute of a Trainer that is checked wherever it is set, and not set while a fit is running.

    check: a function (trainer, name of the attribute, value) that gives the value to store, or raises.
    stays: whether it cannot be set while a fit is running; if not, it cannot be set between two fits, where
    nothing reads it.
    """

    def __init__(self, check: Callable[[Any, str, Any], Any], stays: bool = True) -> None:
        self._check = check
        self._stays = stays

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, trainer: Settings, value: Any) -> None:
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
        vars(trainer)[self._name] = self._check(trainer, self._name, value)


class Reported:
    """An attribute of a Trainer that its runs write (`report` in callbacks/base.py), and programs read."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, trainer: Settings, value: object) -> None:
        raise AttributeError(
            f"[Trainer] got a new {self._name}, which runs report; expected a setting, history or "
            "stop_training, which a program may set"
        )


# --- the checks of single settings: each takes (trainer, name of the setting, value) and returns the value


def _model(trainer: Settings, name: str, model: Module) -> Module:
    refuse_torch("Trainer", "model", model)
    if isinstance(model, type):
        raise TypeError(f"[Trainer] got the class {model.__name__} as model; expected an object")
    if not hasattr(model, "parameters"):
        raise TypeError(f"[Trainer] got model of type {type(model).__name__}; expected a Module")
    return model


def _loss(trainer: Settings, name: str, loss: str | Loss) -> Loss:
    return named_loss(loss)


def _optimizer(trainer: Settings, name: str, optimizer: OptimizerLike | None) -> Optimizer | None:
    return take_optimizer(trainer, optimizer, lr=None)


def _metrics(
    trainer: Settings, name: str, metrics: Sequence[str | Metric] | Mapping[str, Metric]
) -> dict[str, Metric]:
    return named_metrics(metrics)


def _penalty(trainer: Settings, name: str, value: Strength) -> Strength:
    return strength(name, value, trainer.model)


def _count(trainer: Settings, name: str, value: object) -> int:
    return count("Trainer", name, value)


def _limit(trainer: Settings, name: str, value: object) -> float | None:
    """A number above 0, or None for no limit."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"[Trainer] got {name} of type {type(value).__name__}; expected a number or None")
    if not 0 < value < math.inf:
        raise ValueError(f"[Trainer] got {name} {value}; expected a finite number above 0")
    return float(value)


def _bool(trainer: Settings, name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"[Trainer] got {name} {value!r}; expected True or False")
    return value


def _flag(trainer: Settings, name: str, value: object) -> bool:
    return flag("Trainer", name, value)


def _mode(trainer: Settings, name: str, value: object) -> str:
    mode: str = one_of("Trainer", name, value, MODES)
    return mode


def _precision(trainer: Settings, name: str, value: object) -> str | None:
    if value is None:
        return None
    return require_precision("Trainer", value)


def _power_of_two(trainer: Settings, name: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        has_one_bit = value >= 1 and value & (value - 1) == 0
        if has_one_bit:
            return value
    raise ValueError(f"[Trainer] got {name} {value!r}; expected a power of two: 1, 2, 4, 8 ...")


def _history(trainer: Settings, name: str, value: object) -> History:
    if not isinstance(value, History):
        raise TypeError(f"[Trainer] got history of type {type(value).__name__}; expected rv.train.History()")
    return value


class Settings:
    """The settings of a Trainer, and what its runs report."""

    model: Any = Setting(_model)
    loss: Any = Setting(_loss)
    optimizer: Any = Setting(_optimizer)
    metrics: Any = Setting(_metrics)
    l1: Any = Setting(_penalty)
    l2: Any = Setting(_penalty)
    accumulate: Any = Setting(_count)
    clip_grad_norm: Any = Setting(_limit)
    clip_grad_value: Any = Setting(_limit)
    compile: Any = Setting(_bool)
    on_nonfinite: Any = Setting(_mode)
    precision: Any = Setting(_precision)
    distributed: Any = Setting(_bool)
    shards: Any = Setting(_power_of_two)
    deterministic: Any = Setting(_bool)
    stop_training: Any = Setting(_flag, stays=False)
    history: Any = Setting(_history)
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
    def lr(self, value: float) -> None:
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
    given = list(metrics)
    if not given:
        return {}
    from ranvier.metrics.named import METRICS, OfScorer, is_scorer, scored

    named: dict[str, Metric] = {}
    for metric in given:
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
                near = _nearest(metric, METRICS, 0.6)
                meant = f"; did you mean '{near}'?" if near else ""
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


def named_loss(loss: str | Loss) -> Loss:
    """A loss by the name of its class, in any spelling, without "Loss", or by nn.functional's function."""
    if isinstance(loss, str):
        loss_class = _loss_class(loss)
        if loss_class is None:
            raise _unknown("loss", loss, _loss_names(), _LOSSES)
        made: Loss = loss_class()
        return made
    refuse_torch("Trainer", "loss", loss)
    if inspect.isfunction(loss) and loss.__module__.startswith(("ranvier.ops.", "ranvier.nn.")):
        loss_class = _loss_class(loss.__name__)
        if loss_class is None:
            return loss
        of_function: Loss = loss_class()
        return of_function
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


def _loss_class(name: str) -> Any:
    """The class of a loss by its name in any spelling; None if no loss of this name takes an output and a
    target. Of the modules of losses, this loads that of the class alone."""
    names = [name for name in nn.__all__ if name.endswith("Loss")]
    class_name = _spellings(names, _LOSSES).get(_plain(name))
    if class_name is None:
        return None
    loss_class = getattr(nn, class_name)
    if not _takes_two(loss_class):
        return None
    return loss_class


def _loss_names() -> list[str]:
    """The names of all losses that take an output and a target."""
    names = [name for name in nn.__all__ if name.endswith("Loss")]
    return [name for name in names if _takes_two(getattr(nn, name))]


def groups_of(optimizer: Optimizer) -> Sequence[dict[str, Any]]:
    """The parameter groups of an optimizer; none of an object without."""
    groups: Sequence[dict[str, Any]] = getattr(optimizer, "param_groups", ())
    return groups


def take_optimizer(trainer: Settings, optimizer: OptimizerLike | None, lr: float | None) -> Optimizer | None:
    """The optimizer for a Trainer, which notes whether it is the Trainer's own: made of a name, a class or a
    function, so that it follows the parameters of the model."""
    taken = named_optimizer(optimizer, trainer.model, trainer.loss, lr)
    vars(trainer)["_owns_optimizer"] = taken is not optimizer
    return taken


def named_optimizer(
    optimizer: OptimizerLike | None, model: Module, loss: Loss, lr: float | None
) -> Optimizer | None:
    """An optimizer; a name, a class or a function makes it of the parameters of model and loss."""
    refuse_torch("Trainer", "optimizer", optimizer)
    if optimizer is None:  # A Trainer without an optimizer evaluates and predicts.
        if lr is not None:
            raise ValueError(f"[Trainer] got lr {lr} and no optimizer; expected an optimizer or its name")
        return None
    maker: Any = optimizer
    if isinstance(optimizer, str):
        names = [name for name in optim.__all__ if name[0].isupper() and name != "Optimizer"]
        class_name = _spellings(names, {}).get(_plain(optimizer))
        if class_name is None:
            raise _unknown("optimizer", optimizer, names, {})
        maker = getattr(optim, class_name)
    if isinstance(maker, type) or (callable(maker) and not hasattr(maker, "step")):
        settings = {}
        if lr is not None:
            _rate(lr)
            settings["lr"] = lr
        return _made_optimizer(maker, _trainable(model, loss), settings)
    if isinstance(optimizer, str) or not hasattr(optimizer, "step"):
        raise TypeError(
            f"[Trainer] got optimizer of type {type(optimizer).__name__}; expected an optimizer or its name"
        )
    if lr is not None:
        raise ValueError(
            f"[Trainer] got lr and an optimizer of type {type(optimizer).__name__}, which has its own; "
            "expected lr with a name of an optimizer"
        )
    taken: Optimizer = maker
    return taken


def _made_optimizer(
    maker: Callable[..., Optimizer], parameters: list[Tensor], settings: dict[str, Any]
) -> Optimizer:
    """The optimizer that a class or function makes."""
    if settings and not isinstance(maker, type):
        try:
            inspect.signature(maker).bind(parameters, **settings)
        except TypeError:
            raise TypeError(
                f"[Trainer] got lr and the function {name_of(maker)} as optimizer, which takes no lr; "
                "expected lr inside the function: lambda p: rv.optim.SGD(p, lr=0.1)"
            ) from None
    optimizer = maker(parameters, **settings)
    if not hasattr(optimizer, "step"):
        raise TypeError(
            f"[Trainer] got optimizer {name_of(maker)}, which gives {type(optimizer).__name__}; expected a "
            "function that gives an optimizer"
        )
    return optimizer


@functools.cache
def _takes_two(loss_class: Any) -> bool:
    """True for a loss that takes exactly an output and a target."""
    if not isinstance(loss_class, type):
        return False
    forward: Any = getattr(loss_class, "forward")  # noqa: B009
    return len(inspect.signature(forward).parameters) == 3  # self, input, target


def _spellings(names: list[str], aliases: Mapping[str, str]) -> dict[str, str]:
    """{a spelling of a name, as `_plain` gives it: the name of the class}

    names: of the classes; aliases: other names -> the name of the class.
    """
    spellings = {_plain(name): name for name in names}
    spellings |= {_plain(alias): name for alias, name in aliases.items()}
    return spellings


def _nearest(name: str, known: Iterable[str], least: float) -> str:
    """The known name that is most like this one; "" if none has this likeness, of 0 to 1."""
    from difflib import get_close_matches  # for errors only: it takes a millisecond to load

    near = get_close_matches(name, list(known), n=1, cutoff=least)
    return near[0] if near else ""


def _unknown(what: str, name: str, names: list[str], aliases: Mapping[str, str]) -> ValueError:
    """The error for a name that no class has. what: "loss" or "optimizer"."""
    spellings = _spellings(names, aliases)
    near = _nearest(_plain(name), spellings, 0.6)
    meant = ""
    if near:
        meant = f"; did you mean '{_shown(spellings[near])}'?"
    shown = ", ".join([_shown(class_name) for class_name in names])
    return ValueError(f"[Trainer] got {what} '{name}'{meant}; expected an object or one of {shown}")


def _plain(name: str) -> str:
    """A name without what spellings differ in: BCEWithLogitsLoss, bce_with_logits: bcewithlogits."""
    return name.lower().replace("_", "").replace("-", "").replace(" ", "").removesuffix("loss")


def _shown(name: str) -> str:
    """CrossEntropyLoss as cross_entropy, BCEWithLogitsLoss as bce_with_logits, AdamW as adamw."""
    if not name.endswith("Loss"):
        return name.lower()
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name[:-4]).lower()


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
    checkpoints = [hook for hook in hooks if is_checkpoint(hook)]
    others = [hook for hook in hooks if not is_checkpoint(hook)]
    return others + checkpoints


def _require_hooks(hook: Callback) -> None:
    """Raise TypeError for a method, or a function among the attributes, whose name is close to that of a
    hook, and which nothing would call."""
    hooks = [name for name in vars(Callback) if name.startswith("on_")]
    names = list(vars(hook))
    mro = type(hook).__mro__
    for subclass in mro[: mro.index(Callback)]:
        names += vars(subclass)
    for name in names:
        if not name.startswith("on_") or name in hooks:
            continue
        meant = _nearest(name, hooks, 0.8)
        if meant:
            raise TypeError(
                f"[Trainer.fit] {type(hook).__name__} has a method {name}, which nothing calls; expected "
                f"{meant}, or a name that is not so close to it"
            )


def _rate(value: object) -> float:
    """A learning rate as a number; the optimizer knows its limits."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"[Trainer] got lr of type {type(value).__name__}; expected a number")
    rate = float(value)
    if not 0 <= rate < math.inf:
        raise ValueError(f"[Trainer] got lr {value}; expected a finite number of at least 0")
    return rate


def processes() -> Any:
    """The module of distributed runs, loaded at its first use."""
    return extension.provider("distributed training")


def _trainable(model: Module, loss: Loss) -> list[Any]:
    """The parameters of the model and of a loss that has some."""
    parameters: list[Any] = list(model.parameters())
    if isinstance(loss, nn.Module):
        parameters += loss.parameters()
    return parameters


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
    if searches(trainer.optimizer):  # Its state is of all parameters together.
        state.clear()
    present_ids = {id(p) for p in different}
    left_out = [p for p in state if id(p) not in present_ids]
    for p in left_out:
        del state[p]
    return True


def require_processes(trainer: Training) -> None:
    """Raise ValueError for settings of several processes that do not fit, or would have no effect."""
    if trainer.distributed:
        processes().require_ranks(trainer.shards, trainer.deterministic)
        return
    defaults = {"shards": 8, "deterministic": True}  # those of Trainer's arguments
    for name, default in defaults.items():
        value = getattr(trainer, name)
        if value != default:
            raise ValueError(
                f"[Trainer] got {name} {value} without distributed=True, where it has no effect; expected "
                f"distributed=True, or {name}={default}"
            )


def require_parameters(trainer: Training) -> None:
    """Raise for a missing optimizer, or one that updates neither the model nor the loss."""
    if trainer.optimizer is None:
        raise TypeError("[Trainer.fit] got no optimizer; expected one, or its name, in Trainer(...)")
    trainable = {id(p) for p in _trainable(trainer.model, trainer.loss)}
    updated = parameters_of(trainer.optimizer)
    if trainable and updated and not any(id(p) in trainable for p in updated):
        raise ValueError(
            "[Trainer.fit] got an optimizer that has none of the model's parameters; expected one made of "
            "model.parameters()"
        )
