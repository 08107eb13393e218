"""Hints, which are warnings, and remedies, which are added to errors.

Hints come before and after the first fit, and with predictions before any fit. A remedy is added to an error
in a batch. `link` says what makes probabilities of a model's output, see `link_of`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

import ranvier.nn as nn
from ranvier.autograd import borrowed, no_grad
from ranvier.nn.modes import evaluating
from ranvier.ops.making import random
from ranvier.tensors.failures import DtypeError, OpError
from ranvier.tensors.memory import Array
from ranvier.train.callbacks.base import HintWarning, Training, report
from ranvier.train.losses import Loss, is_one_of, link_of, name_of
from ranvier.train.prepared_data import ClassWeight, Prepared, Samples
from ranvier.train.step import parameters_of

if TYPE_CHECKING:
    from ranvier.nn.module import Module

LARGE = 100.0  # features with larger values count as not scaled
RARE = 0.02  # a class with at most this share of the samples is rare
FEW = 100  # with fewer samples no hint is given about a rare class
FAR = 1000.0  # training has failed if its loss is this many times the loss of a constant prediction
EPOCHS = 3  # a loss that stays the same means a failure only over at least this many epochs
_APPLIED_BY_LOSS = (("CrossEntropyLoss", "Softmax"), ("BCEWithLogitsLoss", "Sigmoid"))


@contextmanager
def warning_once(leads: bool) -> Iterator[None]:
    """Within the block, the library's own warnings are shown only if this process `leads`."""
    if leads:
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\[")  # The texts of the hints begin with a bracket.
        yield


def advise(
    trainer: Training,
    data: Prepared,
    classes: Array | None = None,
    class_weight: ClassWeight | None = None,
) -> None:
    """Warn about likely mistakes in data and model, before the first fit; all hints are in one warning.

    classes: the labels of the class indices, where they are not the indices themselves.
    """
    if trainer.on_nonfinite != "raise":
        return  # The user wants the data to be used as they are, even with NaN.
    hints = [
        _applied_twice(trainer),
        _broadcast_targets(trainer, data),
        _label_counts(trainer, data, classes, class_weight),
        _unscaled(trainer.model, data.x),
        _unscaled_targets(trainer, data.y),
    ]
    text = "; ".join(hint for hint in hints if hint)
    if text:
        warnings.warn(f"[Trainer.fit] {text}", HintWarning, stacklevel=3)


def _leaves(model: Module) -> list[Any]:
    """The layers of a Sequential in the order of their calls; any other model counts as one layer."""
    if not isinstance(model, nn.Sequential):
        return [model]
    leaves: list[Any] = []
    for child in model:
        leaves += _leaves(child)
    return leaves


def _applied_twice(trainer: Training) -> str:
    """A hint for a softmax or sigmoid that both model and loss apply, or a logarithm that neither applies."""
    leaves = _leaves(trainer.model)
    last = leaves[-1] if leaves else None
    loss = trainer.loss
    name = name_of(trainer.loss)
    if is_one_of(loss, "NLLLoss", "KLDivLoss") and is_one_of(last, "Linear"):
        return f"{name} takes logarithms of probabilities: end the model with LogSoftmax"
    for loss_name, layer_name in _APPLIED_BY_LOSS:
        if is_one_of(loss, loss_name) and is_one_of(last, layer_name):
            return f"the model ends with {name_of(last)}, which {name} applies again: leave the layer out"
    return ""


def _broadcast_targets(trainer: Training, data: Prepared) -> str:
    """A hint for a user's loss that broadcasts an output (n, 1) and targets (n,) to (n, n)."""
    x = data.x[:4]
    y = data.y[:4]
    loss = trainer.loss
    if y.ndim != 1 or len(y) < 2 or link_of(loss) or type(loss).__module__.startswith("ranvier."):
        return ""
    try:
        with random.fork_rng(), no_grad(), evaluating(trainer.model):
            output = trainer.model(borrowed(x))
            if tuple(output.shape) != (len(y), 1):
                return ""
            pairs = float(loss(output[:, 0], borrowed(y)))
            all_to_all = float(loss(output, borrowed(y)))
    except Exception:  # the loss takes nothing but (n, 1)
        return ""
    if np.isclose(pairs, all_to_all, rtol=1e-3, equal_nan=True):
        return ""
    return (
        f"the model gives (n, 1) and y is (n,), which {name_of(loss)} seems to broadcast to (n, n): pass "
        "y[:, None]"
    )


def _label_counts(
    trainer: Training, data: Prepared, classes: Array | None, class_weight: ClassWeight | None
) -> str:
    """A hint for a single class, for a rare class, or for fewer than two samples for each class."""
    link = link_of(trainer.loss)
    y = data.y
    if link == "softmax":
        are_labels = y.dtype.kind in "iu"
    else:
        are_labels = link is not None
    if not are_labels or y.size != len(y):
        return ""
    values, counts = np.unique(y, return_counts=True)
    n = len(values)
    if n > 1000 or values[0] < 0 or (values != np.rint(values)).any():  # hardly classes
        return ""
    indices = values.astype(int)
    if classes is None:
        names = [str(index) for index in indices]
    else:
        names = [str(classes[index]) for index in indices]
    if n == 1 and len(y) > 1:
        return f"all {len(y)} samples have the label {names[0]}: there is nothing to tell apart"
    if n > 1 and len(y) < 2 * n:
        if classes is not None:
            what = "labels"
        else:
            what = "class indices (values need a loss such as MSELoss)"
        return f"{len(y)} samples are few for {n} {what}: fewer than two for each"
    rare = int(counts.argmin())
    share = counts[rare] / len(y)
    if len(y) >= FEW and n <= 20 and share <= RARE and class_weight is None and data.weights is None:
        return (
            f"label {names[rare]} is {100 * share:.2g} % of the samples, so accuracy says little: see "
            "class_weight='balanced' and metrics=['f1_macro']"
        )
    return ""


def _unscaled(model: Module, x: Array) -> str:
    """A hint for large features, unless the model begins with a normalisation layer."""
    if x.dtype.kind != "f" or x.size == 0:
        return ""
    first = _leaves(model)[:1]
    if first and "Norm" in type(first[0]).__name__:
        return ""
    largest = float(max(x.max(), -x.min()))
    if not LARGE < largest < np.inf:
        return ""
    if x.ndim > 2 and largest <= 255:
        how = "divide by 255"
    else:
        how = "scale them by rv.data.Standardize"
    return f"x has values up to {largest:.4g}, and networks learn best from numbers near 1: {how}"


_OF_VALUES = ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss")  # losses of values of any size


def far_targets(loss: Loss | None, y: Array) -> str:
    """A remedy for targets that are far from what a new network gives, numbers near 1; else ""."""
    if not is_one_of(loss, *_OF_VALUES) or y.dtype.kind != "f" or y.size == 0:
        return ""
    mean = float(np.mean(y, dtype=np.float64))
    deviation = float(np.std(y, dtype=np.float64))
    if not LARGE < max(abs(mean), deviation) < np.inf:
        return ""
    return (
        f"the targets have mean {mean:,.6g} and deviation {deviation:,.6g}, and networks give numbers near "
        "1: scale the targets by rv.data.Standardize, and predictions back by its inverse_transform"
    )


def _unscaled_targets(trainer: Training, y: Array) -> str:
    """A hint for large targets, unless the model ends with a layer of the program's own, which may scale."""
    last = _leaves(trainer.model)[-1:]
    is_known = bool(last) and type(last[0]).__module__.startswith("ranvier.")
    if is_known:
        return far_targets(trainer.loss, y)
    return ""


def judge(trainer: Training, data: Prepared, losses: Sequence[float]) -> None:
    """Warn if it is certain that the first fit has learnt nothing. losses: one for each of its epochs."""
    if trainer.on_nonfinite != "raise" or not losses or not all(map(math.isfinite, losses)):
        return
    groups = getattr(trainer.optimizer, "param_groups", ())
    rates = sorted({float(group["lr"]) for group in groups})
    rate = "the learning rate is"
    if rates:
        rate = f"the learning rate {rates[-1]:g} is"
    constant = _constant_loss(trainer, data)
    if losses[-1] > FAR * constant > 0 and not far_targets(trainer.loss, data.y):
        text = (
            f"the loss is {losses[-1]:.3g} at the end, where a constant answer gives {constant:.3g}: {rate} "
            "likely too large: try a hundredth of it"
        )
    elif len(losses) >= EPOCHS and rates and 0 < rates[-1] <= 1e-7 and _is_still(losses):
        text = f"the loss is {losses[-1]:.4g} in all {len(losses)} epochs: {rate} likely too small"
    else:
        return
    warnings.warn(f"[Trainer.fit] {text}", HintWarning, stacklevel=3)


def _is_still(losses: Sequence[float]) -> bool:
    return max(losses) - min(losses) <= 1e-5 * abs(losses[0])


def _constant_loss(trainer: Training, data: Prepared) -> float:
    """An estimate of the loss of a model that predicts the same for all samples; 0 if it is unknown."""
    loss = trainer.loss
    y = data.y
    if getattr(loss, "reduction", None) != "mean" or trainer.l1 or trainer.l2 or not y.size:
        return 0.0
    if is_one_of(loss, "CrossEntropyLoss", "BCEWithLogitsLoss"):
        # the entropy of equal probabilities: log of the number of classes
        n_classes = 2
        if link_of(loss) == "softmax" and y.ndim == 1:
            n_classes = max(int(y.max()) + 1, 2)
        return math.log(n_classes)
    if is_one_of(loss, "MSELoss"):
        return float(np.mean(np.square(y, dtype=np.float64)))
    if is_one_of(loss, "L1Loss", "SmoothL1Loss", "HuberLoss"):
        return float(np.mean(np.abs(y), dtype=np.float64))
    return 0.0


def note_left_out(trainer: Training) -> None:
    """Warn of parameters of the model that would learn, and that the optimizer does not have; once for each
    model and optimizer. They stay as they are, as in a layer that was put into the model after the optimizer
    was made of its parameters."""
    updated = {id(p) for p in parameters_of(trainer.optimizer)}
    named = list(trainer.model.named_parameters())
    left_out = [name for name, p in named if p.requires_grad and id(p) not in updated]
    if not left_out or not updated or trainer.on_nonfinite != "raise":
        return
    if vars(trainer)["_said_left_out"] == left_out:  # Trainer's own: `Training` does not declare it
        return
    report(trainer, _said_left_out=left_out)
    names = ", ".join(left_out[:3])
    if len(left_out) > 3:
        names += ", ..."
    warnings.warn(
        f"[Trainer.fit] {len(left_out)} of the model's {len(named)} parameters ({names}) are not in the "
        "optimizer and do not learn: make the optimizer after all layers are in the model, or say that it is "
        "meant by requires_grad_(False)",
        HintWarning,
        stacklevel=3,
    )


def note_order(name: str, loader: Samples) -> None:
    """Warn of answers for a loader that gives its samples in another order, or not all of them."""
    sampler = getattr(loader, "sampler", None)
    shuffles = "Random" in type(sampler).__name__ or getattr(loader, "shuffle", False) is True
    if shuffles:
        text = (
            "got a loader that shuffles: the answers are in its order, not in that of the data; expected one "
            "with shuffle=False, or arrays"
        )
    elif getattr(loader, "drop_last", False) is True and _drops(loader):
        text = (
            "got a loader with drop_last=True: the last samples have no answer; expected drop_last=False, or "
            "arrays"
        )
    else:
        return
    warnings.warn(f"[{name}] {text}", HintWarning, stacklevel=4)


def _drops(loader: Samples) -> bool:
    """Whether the samples of a loader with drop_last fill no last batch; True if their number is unknown."""
    dataset: Any = getattr(loader, "dataset", None)
    size = getattr(loader, "batch_size", None)
    if not hasattr(dataset, "__len__") or not isinstance(size, int):
        return True
    return len(dataset) % size != 0


def note_untrained(trainer: Training, name: str) -> None:
    """Warn of predictions by a Trainer before any fit, if the model still has its initial weights.

    A layer writes each of its parameters once, so that their version is 1. Weights that were loaded, copied
    or trained were written more often, or are in new Tensors.
    """
    if trainer.on_nonfinite != "raise" or any((trainer.epoch, trainer.updates, trainer.last_epoch)):
        return
    writes = {p._version for p in trainer.model.parameters()}
    if trainer.optimizer is not None and writes == {1}:
        warnings.warn(
            f"[{name}] no fit was made, and no weights were loaded: the answers are those of random weights; "
            "call fit first",
            HintWarning,
            stacklevel=4,
        )


def raise_with_hint(
    error: Exception, model: Module, link: str | None, x: Array, y: Array | None = None
) -> NoReturn:
    """Raise the error of a batch again, with a remedy if one is known; its type stays the same."""
    is_known = isinstance(error, (OpError, DtypeError)) or type(error) in (TypeError, ValueError)
    remedy = _remedy(error, model, link, x, y) if is_known else ""
    if not remedy:
        raise error
    better = type(error)(f"{error}; {remedy}")
    vars(better).update(vars(error), remedy=remedy)
    raise better from error


def _remedy(error: Exception, model: Module, link: str | None, x: Array, y: Array | None) -> str:
    """What the user can do about an error in the batch x, y; empty if that is unknown."""
    if x.ndim == 1 and y is not None:
        if y.ndim > 1:
            return f"x has shape {x.shape} and y {y.shape}: x comes before y"
        return "samples are rows: pass x[:, None] for samples of one feature"
    of_op = isinstance(error, OpError)
    if _is_channels_last(model, x):
        return (
            f"x has shape {x.shape}, and its first convolution takes images (n, channels, height, width): of "
            "images with the channels last pass np.moveaxis(x, -1, 1), in a Tensor x.permute(0, 3, 1, 2)"
        )
    if isinstance(error, OpError) and error.op == "linear" and len(error.shapes.get("x", ())) > 2:
        numbers = math.prod(error.shapes["x"][1:])
        if error.shapes["weight"][1:] == (numbers,):
            return f"put nn.Flatten() before the layer: each sample becomes a row of {numbers} numbers"
    if y is None:
        return ""
    output = _output(model, x)
    if output is None:  # the model itself raises: the targets are not the cause
        return ""
    shape = output.shape
    # `_layer` is set by `Module._rv_locate`: the last module that the error has passed through
    if len(x) == 1 and vars(error).get("_layer") is model and _takes_statistics(model):
        return "a batch of one sample has no statistics: take another batch_size, which leaves no single one"
    if of_op and y.ndim == 1 and len(shape) > 2:
        return f"the model gives {shape} for one target a sample: put nn.Flatten() before its Linear layers"
    if link == "softmax":
        if y.dtype.kind == "f" and y.ndim == 1 and (y == np.rint(y)).all():
            return "class indices are integers: pass y.astype(int)"
        if y.dtype.kind == "f" and y.ndim == 1:
            between = f"y has values such as {y[y != np.rint(y)][0]:g}, which are no class indices"
            return f"{between}: take 'mse' for values, 'bce_with_logits' and one output for shares of 1"
        if y.dtype.kind in "iu" and y.ndim == 2 and y.shape[1] == 1:
            return "class indices have one axis: pass y.ravel()"
        if y.dtype.kind in "iu" and y.ndim == 2 and (np.sort(y, axis=1)[:, :-1] == 0).all():
            return "of one-hot rows pass y.argmax(1), or floats as probabilities"
        if y.dtype.kind in "iu":
            return _outside(shape, y)
        return ""
    if link == "identity" and of_op and not ((output >= 0) & (output <= 1)).all():
        return (
            "BCELoss takes probabilities, and the model gives other numbers: end it with nn.Sigmoid(), or "
            "take 'bce_with_logits'"
        )
    if link in ("sigmoid", "identity") and shape == (*y.shape, 2):
        return "a binary loss takes one output for each target, CrossEntropyLoss takes two"
    if link is None and y.ndim == 1 and len(shape) == 2 and shape[1] > 1 and (y == np.rint(y)).all():
        return (
            "y comes to a loss of your own as floats: take 'cross_entropy' for class indices, or give the "
            "loss an attribute link = 'softmax', with which they stay integers"
        )
    if shape == (*y.shape, 1):
        return f"the model gives {shape} and y is {y.shape}: pass y[..., None]"
    if y.shape == (*shape, 1):
        return f"the model gives {shape} and y is {y.shape}: pass y[..., 0]"
    return ""


def _is_channels_last(model: Module, x: Array) -> bool:
    """True for images whose last axis has the channels that the model's first convolution takes."""
    first = next((layer for layer in model.modules() if isinstance(layer, nn.Conv2d)), None)
    if first is None or x.ndim != 4:
        return False
    return bool(x.shape[-1] == first.in_channels != x.shape[1])


def _takes_statistics(model: Module) -> bool:
    return any(isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)) for layer in model.modules())


def _output(model: Module, x: Array) -> Array | None:
    """The model's output for x; None if the model raises."""
    try:
        with random.fork_rng(), no_grad(), evaluating(model):
            return np.asarray(model(borrowed(x))._array)
    except Exception:
        return None


def _outside(shape: tuple[int, ...], y: Array) -> str:
    """The remedy for class indices outside the model's outputs."""
    low = int(y.min())
    high = int(y.max())
    if len(shape) < 2 or (low >= 0 and high < shape[1]):
        return ""
    if low >= 1 and high == shape[1]:
        return "labels that count from 1: pass y - 1"
    if np.isin(y, (-1, 1)).all():
        return "labels -1 and 1: pass y > 0"
    if low >= 0 and high < 2 * shape[1] + 8:
        return f"for the classes 0 to {high} the last layer needs {high + 1} outputs"
    return "labels that are names of classes: pass y.astype(str), which numbers them"
