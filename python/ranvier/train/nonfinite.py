"""NaN and infinite numbers in a run: the error, and the first layer with an output that is not finite."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd import borrowed, no_grad, wrap
from ranvier.nn.hooks import Outputs
from ranvier.ops.making import random
from ranvier.tensors.memory import F32, Array
from ranvier.tensors.views import bump
from ranvier.train.callbacks.base import Training
from ranvier.train.losses import batch_loss, batch_weight, name_of, weighting
from ranvier.train.step import parameters_of

if TYPE_CHECKING:
    from ranvier.nn.module import Module

Batch = tuple[Array, Array, Array | None]
# the largest finite numbers
_LARGEST = {F32: float(np.finfo(np.float32).max), np.dtype(np.float64): float(np.finfo(np.float64).max)}


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
        self.epoch = epoch
        self.batch = batch
        self.layer = layer


class NonFinite:
    """Handles a loss, or parameters, that are not finite, in one `fit`.

    The update of such a batch is not made (`Optimizer._finite`), so the layer is searched with the parameters
    that gave this loss.
    """

    def __init__(self, trainer: Training) -> None:
        self._trainer = trainer
        self._mode = trainer.on_nonfinite
        self._said = False

    def loss(self, batch: Batch, value: float, penalty: float) -> None:
        """A batch's loss is not finite: raise, or warn the first time."""
        if self._said:
            return
        trainer = self._trainer
        layer, why = self._cause(batch, value)
        where = f"epoch {trainer.epoch + 1}, batch {trainer.batch + 1}"
        text = (
            f"got a loss of {value + penalty:g} in {where}: {why}; expected finite numbers: try a smaller "
            "learning rate, clip_grad_norm, or inputs and targets of a smaller scale"
        )
        if not math.isfinite(value):
            text += ". The update of this batch is not made"
        self._tell(text, trainer.batch + 1, layer)

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
        found: list[tuple[str, Module]] = []  # the modules that give an output that is not finite, in order

        def look(name: str, module: Module, args: tuple[Any, ...], output: Any) -> None:
            if not _finite(output):
                found.append((name, module))

        outputs = Outputs(trainer.model.named_modules(), look)  # calls `look` after each module's forward
        with restored(list(trainer.model.buffers())), outputs, no_grad():
            try:
                output = trainer.model(borrowed(x))
                loss = batch_loss(trainer.loss, output, wrap(y), *weighting(weights))
            except Exception as error:  # the loss is the error to report, not this one
                return None, f"the cause was not found ({error})"
        if found:
            layer, module = found[0]
            class_name = type(module).__name__
            return layer, f"the output of layer {layer!r} ({class_name}) is the first that is not finite"
        if not _finite(output):
            return None, "the model's output is not finite, though that of each layer is"
        if batch_weight(trainer.loss, y, weights) == 0:
            return None, "it has no target that the loss counts: take larger batches, or leave samples out"
        if not _finite(loss):
            return None, f"all layers are finite, {name_of(trainer.loss)} of their output is not"
        return None, "another pass over the same batch is finite, so random numbers in the model play a part"


def _first_parameter(trainer: Training) -> tuple[str | None, str] | None:
    """(layer, what it is called) of the first parameter that is not finite, of the model or the optimizer."""
    parameters = [*trainer.model.parameters(), *parameters_of(trainer.optimizer)]
    if all(map(_finite, {id(p): p for p in parameters}.values())):
        return None
    for name, p in trainer.model.named_parameters():
        if not _finite(p):
            layer = name.rpartition(".")[0]
            return layer, f"parameter {name!r}"
    return None, "a parameter of the optimizer that the model lacks"


def _finite(value: object) -> bool:
    """True if all numbers are finite; for containers, those of all their Tensors."""
    if isinstance(value, (tuple, list)):
        return all(map(_finite, value))
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    array = getattr(value, "_array", None)
    if array is None or array.dtype.kind != "f":
        return True
    largest = _LARGEST.get(array.dtype)
    if largest is None:
        return bool(np.isfinite(array).all())
    return _core.inside(array, -largest, largest)  # one pass without an array of booleans


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
