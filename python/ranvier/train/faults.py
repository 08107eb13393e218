"""What goes wrong in a run: hints about data and model at the first fit, the remedy in an error, and the
first layer with an output that is not finite."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

import ranvier.nn as nn
from ranvier.autograd import borrowed, no_grad, random, wrap
from ranvier.autograd.failures import DtypeError, OpError
from ranvier.autograd.memory import Array
from ranvier.autograd.views import bump
from ranvier.nn.modes import evaluating
from ranvier.train.callbacks.base import Training
from ranvier.train.inputs import Prepared, output_shape
from ranvier.train.losses import batch_loss, batch_weight, link_of, name_of, weighting
from ranvier.train.step import parameters_of

Batch = tuple[Array, Array, Array | None]
LARGE = 100.0  # values of features beyond which they count as not scaled
RARE = 0.02  # the share of a rare class
FEW = 100  # samples from which on a share tells something
_APPLIED_BY_LOSS = (
    (nn.CrossEntropyLoss, nn.Softmax),
    (nn.BCEWithLogitsLoss, nn.Sigmoid),
)


class HintWarning(UserWarning):
    """A hint of `Trainer.fit` about data and model; `fit(verbose=0)` gives none.

    >>> import warnings
    >>> import ranvier as rv
    >>> with warnings.catch_warnings():
    ...     warnings.filterwarnings("ignore", category=rv.train.HintWarning)
    ...     _ = rv.Trainer(rv.nn.Linear(1, 2), "cross_entropy", "sgd").fit([[500.0]], [1], epochs=1)
    """


@contextmanager
def warning_once(leads: bool) -> Iterator[None]:
    """Within the block, the library's own warnings appear on the leading process only."""
    if leads:
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\[")  # how their texts begin
        yield


def advise(trainer: Training, data: Prepared, classes: Array | None = None, class_weight: Any = None) -> None:
    """Warn about what most likely goes wrong; all hints are one warning."""
    if trainer.on_nonfinite != "raise":
        return  # the data are to be taken as they are
    hints = [
        _applied_twice(trainer),
        _broadcast_targets(trainer, data),
        _label_counts(trainer, data, classes, class_weight),
        _unscaled(trainer.model, data.x),
    ]
    text = "; ".join(hint for hint in hints if hint)
    if text:
        warnings.warn(f"[Trainer.fit] {text}", HintWarning, stacklevel=3)


def _leaves(model: Any) -> list[Any]:
    """The layers of a Sequential in the order of their calls; of other models nothing is known."""
    if isinstance(model, nn.Sequential):
        return [leaf for child in model for leaf in _leaves(child)]
    return [model]


def _applied_twice(trainer: Training) -> str:
    """A softmax or sigmoid that both the model and the loss apply, or neither."""
    last, loss, name = next(iter(_leaves(trainer.model)[-1:]), None), trainer.loss, name_of(trainer.loss)
    if isinstance(loss, (nn.NLLLoss, nn.KLDivLoss)) and isinstance(last, nn.Linear):
        return f"{name} takes logarithms of probabilities: end the model with LogSoftmax"
    for losses, layer in _APPLIED_BY_LOSS:
        if isinstance(loss, losses) and isinstance(last, layer):
            return f"the model ends with {name_of(last)}, which {name} applies again: leave the layer out"
    return ""


def _broadcast_targets(trainer: Training, data: Prepared) -> str:
    """A loss of the user's own that broadcasts an output (n, 1) and targets (n,) to (n, n)."""
    x, y, loss = data.x[:4], data.y[:4], trainer.loss
    if y.ndim != 1 or len(y) < 2 or link_of(loss) or type(loss).__module__.startswith("ranvier."):
        return ""
    try:
        with random.fork_rng(), no_grad(), evaluating(trainer.model):
            output = trainer.model(borrowed(x))
            if tuple(output.shape) != (len(y), 1):
                return ""
            pairs, all_to_all = float(loss(output[:, 0], borrowed(y))), float(loss(output, borrowed(y)))
    except Exception:  # a loss that takes (n, 1) alone
        return ""
    if np.isclose(pairs, all_to_all, rtol=1e-3, equal_nan=True):
        return ""
    return (
        f"the model gives (n, 1) and y is (n,), which {name_of(loss)} seems to broadcast to (n, n): pass "
        "y[:, None]"
    )


def _label_counts(trainer: Training, data: Prepared, classes: Array | None, class_weight: Any) -> str:
    """One class alone, a rare class, fewer samples than two for each class."""
    link, y = link_of(trainer.loss), data.y
    one_each = y.size == len(y) and (y.dtype.kind in "iu" if link == "softmax" else link is not None)
    if not one_each:
        return ""
    values, counts = np.unique(y, return_counts=True)
    n = len(values)
    if n > 1000 or values[0] < 0 or (values != np.rint(values)).any():
        return ""
    names = [str(int(c)) if classes is None else str(classes[int(c)]) for c in values]
    if n == 1 and len(y) > 1:
        return f"all {len(y)} samples have the label {names[0]}: there is nothing to tell apart"
    if n > 1 and len(y) < 2 * n:
        what = "labels" if classes is not None else "class indices (values need a loss such as MSELoss)"
        return f"{len(y)} samples are few for {n} {what}: fewer than two for each"
    rare = int(counts.argmin())
    share = counts[rare] / len(y)
    if len(y) >= FEW and n <= 20 and share <= RARE and class_weight is None and data.weights is None:
        return (
            f"label {names[rare]} is {100 * share:.2g} % of the samples, so accuracy says little: see "
            "class_weight='balanced' and metrics=['f1_macro']"
        )
    return ""


def _unscaled(model: Any, x: Array) -> str:
    """Features far from 1, unless the model begins with a norm."""
    if x.dtype.kind != "f" or x.size == 0:
        return ""
    first = _leaves(model)[:1]
    if first and "Norm" in type(first[0]).__name__:
        return ""
    largest = float(max(x.max(), -x.min()))
    if not LARGE < largest < np.inf:
        return ""
    how = "divide by 255" if x.ndim > 2 and largest <= 255 else "scale them by rv.data.Standardize"
    return f"x has values up to {largest:.4g}, and networks learn best from numbers near 1: {how}"


def raise_with_hint(
    error: Exception, model: Any, link: str | None, x: Array, y: Array | None = None
) -> NoReturn:
    """Raise the error of a batch, with its remedy where there is one; it keeps its type."""
    known = isinstance(error, (OpError, DtypeError)) or type(error) in (TypeError, ValueError)
    remedy = _remedy(str(error), model, link, x, y) if known else ""
    if not remedy:
        raise error
    raise type(error)(f"{error}; {remedy}") from error


def _remedy(text: str, model: Any, link: str | None, x: Array, y: Array | None) -> str:
    if x.ndim == 1 and y is not None:
        if y.ndim > 1:
            return f"x has shape {x.shape} and y {y.shape}: x comes before y"
        return "samples are rows: pass x[:, None] for samples of one feature"
    flat = re.match(r"\[linear\] got x of shape \((\d[\d, ]*)\) and weight of shape \(\d+, (\d+)\)", text)
    if flat and flat[1].count(",") > 1 and math.prod(map(int, flat[1].split(",")[1:])) == int(flat[2]):
        return f"put nn.Flatten() before the layer: each sample becomes a row of {flat[2]} numbers"
    if y is None:
        return ""
    if len(x) == 1 and "more than 1 value per channel" in text:
        return "a batch of one sample has no statistics: take another batch_size, which leaves no single one"
    if y.ndim == 1 and (
        wide := re.search(r"got (?:class indices .* for )?x of shape (\(\d+, \d+, [\d, ]+\))", text)
    ):
        return f"the model gives {wide[1]} for one target a sample: put nn.Flatten() before its Linear layers"
    if link == "softmax":
        if y.dtype.kind == "f" and y.ndim == 1:
            return "class indices are integers: pass y.astype(int)"
        if y.dtype.kind in "iu" and y.ndim == 2 and y.shape[1] == 1:
            return "class indices have one axis: pass y.ravel()"
        if y.dtype.kind in "iu" and y.ndim == 2 and (np.sort(y, axis=1)[:, :-1] == 0).all():
            return "of one-hot rows pass y.argmax(1), or floats as probabilities"
        return _outside(model, x, y) if y.dtype.kind in "iu" else ""
    if link == "identity" and "[bce] got x with" in text:
        return (
            "BCELoss takes probabilities, and the model gives other numbers: end it with nn.Sigmoid(), or "
            "take 'bce_with_logits'"
        )
    try:
        shape = output_shape(model, x)
    except Exception:  # the model itself raises: the targets are not the cause
        return ""
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


def _outside(model: Any, x: Array, y: Array) -> str:
    """The remedy for class indices that have no output."""
    low, high = int(y.min()), int(y.max())
    try:
        shape = output_shape(model, x)
    except Exception:  # the model itself raises
        return ""
    if len(shape) < 2 or (low >= 0 and high < shape[1]):
        return ""
    if low >= 1 and high == shape[1]:
        return "labels that count from 1: pass y - 1"
    if np.isin(y, (-1, 1)).all():
        return "labels -1 and 1: pass y > 0"
    if low >= 0 and high < 2 * shape[1] + 8:
        return f"for the classes 0 to {high} the last layer needs {high + 1} outputs"
    return "labels that are names of classes: pass y.astype(str), which numbers them"


class NonFiniteError(FloatingPointError):
    """A training run met NaN or an infinite number.

    Attributes:
        epoch, batch: where, counted from 1 as in the message; batch is None after the last one.
        layer: the name of the first layer that is not finite, None where it is not in a layer.

    >>> import ranvier as rv
    >>> model = rv.nn.Sequential(rv.nn.Linear(1, 1))
    >>> trainer = rv.Trainer(model, rv.nn.MSELoss(), rv.optim.SGD(model.parameters(), lr=1e30))
    >>> try:
    ...     history = trainer.fit([[1.0], [2.0]], [[2.0], [4.0]], epochs=9)
    ... except rv.train.NonFiniteError as error:
    ...     print(error.batch, error.layer)
    1 None
    """

    def __init__(self, message: str, epoch: int, batch: int | None, layer: str | None) -> None:
        super().__init__(message)
        self.epoch, self.batch, self.layer = epoch, batch, layer


class NonFinite:
    """What one `fit` does about a loss, or parameters, that are not finite.

    The update of such a batch is not made (`Optimizer.finite`), so the layer is searched with the parameters
    that gave this loss.
    """

    def __init__(self, trainer: Training) -> None:
        self._trainer, self._mode = trainer, trainer.on_nonfinite
        self._said = False

    def loss(self, batch: Batch, value: float, penalty: float) -> None:
        """A batch's loss is not finite: raise, or warn the first time."""
        if self._said:
            return
        trainer = self._trainer
        layer, why = self._cause(batch, value)
        where = f"epoch {trainer.epoch + 1}, batch {trainer.batch + 1}"
        self._tell(
            f"got a loss of {value + penalty:g} in {where}: {why}; expected finite numbers: try a smaller "
            "learning rate, clip_grad_norm, or inputs and targets of a smaller scale"
            + ("" if math.isfinite(value) else ". The update of this batch is not made"),
            trainer.batch + 1,
            layer,
        )

    def parameters(self) -> None:
        """Raise or warn if a parameter is not finite, so that no such model is returned or saved."""
        if self._mode == "ignore" or self._said:
            return
        trainer = self._trainer
        parameter = _first_parameter(trainer)
        if parameter is not None:
            layer, name = parameter
            self._tell(
                f"got {name} with NaN or infinite values after {trainer.where()}: its last gradient was not "
                "finite, or the step too large; expected finite numbers: try a smaller learning rate, or "
                "clip_grad_value",
                None,
                layer,
            )

    def _tell(self, text: str, batch: int | None, layer: str | None) -> None:
        if self._mode == "raise":
            raise NonFiniteError(f"[Trainer.fit] {text}", self._trainer.epoch + 1, batch, layer)
        self._said = True
        warnings.warn(f"[Trainer.fit] {text} (said once in a fit)", stacklevel=5)

    def _cause(self, batch: Batch, value: float) -> tuple[str | None, str]:
        """(layer or None, what is not finite), by one eager forward pass over the batch."""
        x, y, weights = batch
        trainer = self._trainer
        if math.isfinite(value):
            return None, "the penalty on the weights (l1, l2) is not finite"
        for name, array in (("x", x), ("y", y)):
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                return None, f"its {name} has NaN or infinite values"
        parameter = _first_parameter(trainer)
        if parameter is not None:
            layer, name = parameter
            return layer, f"{name} has NaN or infinite values since an earlier update"
        with restored(list(trainer.model.buffers())), _first_output(trainer.model) as first, no_grad():
            try:
                output = trainer.model(borrowed(x))
                loss = batch_loss(trainer.loss, output, wrap(y), *weighting(weights))
            except Exception as error:  # the loss is the error to report, not this one
                return None, f"the cause was not found ({error})"
        if first:
            return first[0], f"the output of layer {first[0]!r} ({first[1]}) is the first that is not finite"
        if not _finite(output):
            return None, "the model's output is not finite, though that of each layer is"
        if batch_weight(trainer.loss, y, weights) == 0:
            return None, "it has no target that the loss counts: take larger batches, or leave samples out"
        if not _finite(loss):
            return None, f"all layers are finite, {name_of(trainer.loss)} of their output is not"
        return None, "another pass over the same batch is finite, so random numbers in the model play a part"


def _first_parameter(trainer: Training) -> tuple[str | None, str] | None:
    """(layer, what it is called) of the first parameter that is not finite, of the model or the optimizer."""
    seen = set()
    for name, p in trainer.model.named_parameters():
        seen.add(id(p))
        if not _finite(p):
            layer = name.rpartition(".")[0]
            return layer, f"parameter {name!r}"
    if all(_finite(p) for p in parameters_of(trainer.optimizer) if id(p) not in seen):
        return None
    return None, "a parameter of the optimizer that the model lacks"


def _finite(value: Any) -> bool:
    """Whether all numbers are finite; of containers, those of all their Tensors."""
    if isinstance(value, (tuple, list)):
        return all(map(_finite, value))
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    array = getattr(value, "_array", None)
    return array is None or array.dtype.kind != "f" or bool(np.isfinite(array).all())


@contextmanager
def _first_output(model: Any) -> Iterator[list[str]]:
    """A list that gets [name, class] of the first module to give an output that is not finite."""
    first: list[str] = []
    before = [(vars(module), vars(module).get("_hooks")) for module in model.modules()]
    handles = []

    def hook(name: str) -> Any:
        def look(module: Any, _: Any, output: Any) -> None:
            if not first and not _finite(output):
                first.extend((name, type(module).__name__))

        return look

    try:
        for name, module in model.named_modules():
            handles.append(module.register_forward_hook(hook(name)))
        yield first
    finally:
        for handle in handles:
            handle.remove()
        for attributes, hooks in before:  # exactly as before, since compiled steps compare it
            attributes.pop("_hooks", None)
            if hooks is not None:
                attributes["_hooks"] = hooks


@contextmanager
def restored(tensors: list[Any]) -> Iterator[None]:
    """Puts the values of Tensors and the random numbers back, also after an error."""
    before = [t._array.copy() for t in tensors]
    with random.fork_rng():
        try:
            yield
        finally:
            for tensor, values in zip(tensors, before, strict=True):
                tensor._array[...] = values
                bump(tensor)
