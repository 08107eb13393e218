"""Saves and loads a Trainer, and describes it in words: `Trainer.save`, `Trainer.load`, `repr(trainer)`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import ranvier.nn as nn
import ranvier.optim as optim
from ranvier.metrics.named import METRICS, Metric
from ranvier.serialization import architecture
from ranvier.serialization.files import read_checkpoint, write_checkpoint
from ranvier.serialization.models import load_model, tied_names
from ranvier.tensors.reading import path_of
from ranvier.train.callbacks.base import Training, report
from ranvier.train.history import History
from ranvier.train.losses import Loss, name_of
from ranvier.train.prepared_data import DataSpec

if TYPE_CHECKING:
    from ranvier.nn.module import Module
    from ranvier.optim.optimizer import Optimizer
    from ranvier.tensors.tensor import Tensor


class Replacements(NamedTuple):
    """The arguments of `Trainer.load`, which replace what cannot be made from the file; None: the file's."""

    model: Module | None
    loss: str | Loss | None
    metrics: Sequence[str | Metric] | None


def text(trainer: Training) -> str:
    """A Trainer in one line: model, loss, optimizer, metrics, and the last epoch's values."""
    parameters = sum(p.numel() for p in trainer.model.parameters())
    groups = getattr(trainer.optimizer, "param_groups", ())[:1]
    rate = "".join(f"lr={float(group['lr']):g}" for group in groups if "lr" in group)
    if trainer.metrics:
        metrics = f", metrics={list(trainer.metrics)}"
    else:
        metrics = ""
    last = "".join(f", {name} {value:.4g}" for name, value in trainer.history.last().items())
    if trainer.epoch:
        epochs = f"{trainer.epoch} epoch{'s' * (trainer.epoch != 1)}{last}"
    else:
        epochs = "not trained"
    if trainer.optimizer is None:
        optimizer = "no optimizer"
    else:
        optimizer = f"{name_of(trainer.optimizer)}({rate})"
    return (
        f"<Trainer of {name_of(trainer.model)} ({parameters:,} parameters), {name_of(trainer.loss)}, "
        f"{optimizer}{metrics}: {epochs}>"
    )


PathLike = str | os.PathLike[str]


def write_trainer(path: PathLike, trainer: Training, spec: DataSpec) -> None:
    """Write a Trainer, whole or not at all."""
    model = trainer.model
    loss = trainer.loss
    if trainer.optimizer is None:
        raise TypeError(
            "[Trainer.save] got no optimizer; expected one in Trainer(...), or rv.save(model, path)"
        )
    classes = None if spec.classes is None else spec.classes.tolist()
    loss_description = {"custom": name_of(loss)}
    loss_state = {}
    if isinstance(loss, nn.Module):
        loss_description = architecture.describe(loss)
        loss_state = dict(loss.state_dict())
    settings = {}
    for name, value in trainer.settings().items():
        settings[name] = dict(value) if isinstance(value, Mapping) else value
    settings["compile"] = trainer.compile
    settings["on_nonfinite"] = trainer.on_nonfinite
    state = {
        "trainer": 1,
        "model": dict(model.state_dict()),
        "architecture": architecture.describe(model),
        "tied": tied_names(model),
        "loss": loss_description,
        "loss state": loss_state,
        "optimizer": [name_of(trainer.optimizer), _order(trainer), trainer.optimizer.state_dict()],
        "owns optimizer": vars(trainer)["_owns_optimizer"],  # set by settings.py, not declared in `Training`
        "metrics": list(trainer.metrics),
        "own metrics": [n for n, metric in trainer.metrics.items() if METRICS.get(n) is not metric],
        "settings": settings,
        "history": trainer.history.to_dict(),
        "updates": trainer.updates,
        "classes": classes,
        "columns": spec.columns,
        "target columns": spec.outputs,
        "frozen": [name for name, p in _named(model, loss).items() if not p.requires_grad],
        "flat": spec.flat,
    }
    write_checkpoint(path, state)


def read_trainer(
    trainer_class: Callable[..., Any], path: PathLike, replacements: Replacements
) -> tuple[Any, DataSpec]:
    """The Trainer, of this class, that `write_trainer` wrote, and the specification of its data."""
    state = read_checkpoint(path_of("Trainer.load", "path", path), "Trainer.save")
    if state.get("trainer") != 1:
        raise ValueError(f"[Trainer.load] got '{path}', which is no Trainer; expected a file of Trainer.save")
    try:
        return _build(state, trainer_class, replacements)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RuntimeError) as error:
        raise ValueError(f"[Trainer.load] got '{path}': {error}") from None


def _build(
    state: dict[str, Any], trainer_class: Callable[..., Any], replacements: Replacements
) -> tuple[Any, DataSpec]:
    """The Trainer and the specification of its data, from what the file holds."""
    model = _model(state, replacements.model)
    loss = _loss(state, replacements.loss)
    optimizer = _optimizer(state, model, loss)
    for name, p in _named(model, loss).items():
        p.requires_grad = name not in state["frozen"]
    metrics = replacements.metrics
    if metrics is None and state["own metrics"]:
        own = ", ".join(state["own metrics"])
        raise ValueError(f"metrics of your own ({own}), and files hold no code; expected metrics=[...]")
    if metrics is None:
        metrics = state["metrics"]
    classes = state["classes"]
    labels = None if classes is None else np.array(classes)
    spec = DataSpec(model, loss, labels, state["columns"], state["target columns"], state["flat"])
    trainer = trainer_class(model, loss, optimizer, metrics=metrics, **state["settings"])
    report(trainer, history=History.from_dict(state["history"]), updates=state["updates"])
    report(trainer, _owns_optimizer=state["owns optimizer"])
    return trainer, spec


def _model(state: dict[str, Any], model: Module | None) -> Any:
    """The model of the file, or `model` with its weights."""
    arrays = {name: np.asarray(getattr(v, "_array", v)) for name, v in state["model"].items()}
    if model is None:
        custom = _custom(state["architecture"])
        if custom:
            raise ValueError(
                f"its model has a class of your own ({custom}), and files hold no code; expected "
                "Trainer.load(path, model)"
            )
        return load_model(arrays, {"model": state["architecture"], "tied": state["tied"]})
    model.load_state_dict(arrays)
    return model


def _loss(state: dict[str, Any], loss: str | Loss | None) -> Any:
    """The loss of the file, or `loss`, with its state."""
    if loss is None:
        custom = _custom(state["loss"])
        if custom:
            raise ValueError(f"its loss is your own ({custom}), and files hold no code; expected loss=...")
        loss = architecture.build(state["loss"])
    if isinstance(loss, nn.Module) and state["loss state"]:
        loss.load_state_dict(state["loss state"])
    return loss


def _optimizer(state: dict[str, Any], model: Module, loss: Loss) -> Optimizer:
    """The optimizer of the file, over the parameters that its groups name."""
    class_name, names_by_group, saved = state["optimizer"]
    optimizer_class: Any = getattr(optim, class_name, None)
    if not (isinstance(optimizer_class, type) and issubclass(optimizer_class, optim.Optimizer)):
        raise ValueError(f"its optimizer is your own ({class_name}); expected one of rv.optim")
    parameters = _named(model, loss)
    groups = []
    for names in names_by_group:
        groups.append({"params": [parameters[name] for name in names]})
    make: Callable[..., Optimizer] = optimizer_class
    optimizer = make(groups)
    optimizer.load_state_dict(saved)
    return optimizer


def _named(model: Module, loss: Loss) -> dict[str, Tensor]:
    """All parameters by name: those of the loss, too, which may learn."""
    parameters: dict[str, Tensor] = {f"model.{name}": p for name, p in model.named_parameters()}
    if isinstance(loss, nn.Module):
        parameters |= {f"loss.{name}": p for name, p in loss.named_parameters()}
    return parameters


def _order(trainer: Training) -> list[list[str]]:
    """The names of the optimizer's parameters, by group."""
    names = {id(p): name for name, p in _named(trainer.model, trainer.loss).items()}
    order = []
    for group in getattr(trainer.optimizer, "param_groups", ()):
        if any(id(p) not in names for p in group["params"]):
            raise TypeError(
                "[Trainer.save] got an optimizer with parameters that are neither the model's nor the "
                "loss's; expected those alone"
            )
        order.append([names[id(p)] for p in group["params"]])
    return order


def _custom(node: object) -> str:
    """The first class of the user's own in a description of a model or loss, or ""."""
    if isinstance(node, dict):
        if "custom" in node:
            return str(node["custom"])
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            name = _custom(child)
            if name:
                return name
    return ""
