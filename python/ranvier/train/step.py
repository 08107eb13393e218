"""TrainingStep: loss, gradients and update for a batch; Penalty: the L1 and L2 penalties on weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd import Tensor, borrowed, wrap
from ranvier.nn import utils
from ranvier.observe import current, value_read
from ranvier.optim import LBFGS, Optimizer
from ranvier.tensors.memory import Array, filled, narrow, numbers, widened
from ranvier.train.batch_source import Ahead, Source
from ranvier.train.callbacks.base import Training
from ranvier.train.compiled_parts import CompiledParts
from ranvier.train.losses import batch_loss, link_of, name_of, weighting

if TYPE_CHECKING:
    from ranvier.nn.module import Module

Strength = float | Mapping[str, float]


class Penalty:
    """sum over the penalised weights of l1 |w| + l2 w^2, which is added to the loss, as Keras's L1L2.

    A number penalises every parameter of two or more dimensions: the weights of layers, not biases and not
    the scales of norms, which have one. A mapping says it for each module or parameter by name, as
    `{"features": 1e-4, "head.weight": 1e-3}`: the longest name that fits decides, 0 leaves out, and a
    parameter named in full is penalised whatever its dimensions are. Frozen parameters are left out.

    The gradient is l1 sign(w) + 2 l2 w, added by one kernel call for all parameters.
    """

    def __init__(self, model: Module, parameters: list[Any], l1: Strength, l2: Strength) -> None:
        if l1 == l2 == 0:
            self._strengths = [(p, 0.0, 0.0) for p in parameters]
            self._active = False
            return
        named = list(model.named_parameters())
        checked = _checked("l1", l1, named), _checked("l2", l2, named)
        l1s, l2s = ({id(p): _strength(s, name, p) for name, p in named} if s else {} for s in checked)
        self._strengths = [(p, l1s.get(id(p), 0.0), l2s.get(id(p), 0.0)) for p in parameters]
        self._active = any(a or b for _, a, b in self._strengths)

    def value(self) -> float:
        """The penalty of the weights as they are."""
        return _number(self.measure())

    def measure(self) -> Array | None:
        """The penalty as an array of one element, or None without a penalty."""
        return self.penalise(gradients=False)

    def penalise(self, scale: Array | None = None, gradients: bool = True) -> Array | None:
        """Multiply all gradients by `scale`, one number that the kernel reads, and add the penalty's to them.

        gradients: False leaves them as they are. Returns the penalty as an array of one element, or None if
        there is nothing to do.
        """
        if not self._active and scale is None:
            return None
        by_dtype: dict[Any, list[tuple[Any, Any, float, float]]] = {}
        for p, l1, l2 in self._strengths:
            penalised = p.requires_grad and (l1 or l2)
            if penalised or (scale is not None and p.grad is not None):
                if gradients and p.grad is None:
                    _add_gradient(p)
                gradient = p.grad._array if gradients else None
                if penalised:
                    row = (p._array, gradient, l1, l2)
                else:
                    row = (p._array, gradient, 0.0, 0.0)
                by_dtype.setdefault(p._array.dtype, []).append(row)
        factor = numbers(1.0) if scale is None else scale
        total = None
        for rows in by_dtype.values():
            arrays, changed, l1s, l2s = map(list, zip(*rows, strict=True))
            strengths = numbers(*l1s), numbers(*l2s)
            wide = widened(changed) if gradients else None
            value = _core.weight_penalty(widened(arrays), wide, *strengths, factor)
            narrow(changed, wide or changed)
            total = value if total is None else _core.add(total, value)
        return total


def strength(name: str, value: Any, model: Module) -> Strength:
    """`value`, a number of at least 0 or a mapping to such from names that the model has."""
    for number in value.values() if isinstance(value, Mapping) else [value]:
        if isinstance(number, bool) or not isinstance(number, (int, float, np.integer, np.floating)):
            raise TypeError(
                f"[Trainer] got {name} of type {type(number).__name__}; expected a number or a mapping from "
                "names to numbers"
            )
        if not 0 <= number < math.inf:
            raise ValueError(f"[Trainer] got {name} {number}; expected a finite number of at least 0")
    return _checked(name, value, list(model.named_parameters()))


def _checked(name: str, strength: Strength, named: list[tuple[str, Any]]) -> Strength:
    if isinstance(strength, Mapping):
        for key in strength:
            if not any(_fits(key, parameter) for parameter, _ in named):
                raise ValueError(
                    f"[Trainer] got {name} for '{key}', which is neither a module with parameters nor a "
                    f"parameter of the model; its parameters are {', '.join(n for n, _ in named)}"
                )
    return strength


def _fits(key: str, parameter: str) -> bool:
    return key in ("", parameter) or parameter.startswith(key + ".")


def _strength(strength: Strength, name: str, parameter: Any) -> float:
    if not isinstance(strength, Mapping):
        if parameter.ndim >= 2:
            return float(strength)
        return 0.0
    keys = [key for key in strength if _fits(key, name)]
    if not keys or (parameter.ndim < 2 and name not in keys):
        return 0.0
    return float(strength[max(keys, key=len)])


def _number(value: Array | None) -> float:
    value_read("the penalty as a number")
    if value is None:
        return 0.0
    return float(value[0])


def _add_gradient(p: Any) -> None:
    """Set the gradient of a parameter on which the loss does not depend to zeros, for the penalty's."""
    if (recording := current()) is not None:  # `observers` has those of other threads too
        recording.gets_gradient(p)
    p.grad = wrap(filled(0, p.shape, p.dtype))


class _Unusable(Exception):
    """The first loss of a search is not finite."""


class TrainingStep:
    """Loss and gradients of a batch; every `accumulate` batches the penalty, clipping and an update.

    Gradients of several batches add up to those of all their samples together: each counts by its
    `batch_weight`, and the sum is divided by them all. A 'sum' loss just adds up.

    reduce: makes the step where other processes compute parts of the batch: it calls `gradients` for the
    parts of this process, sums the gradients over all processes, and calls `after`. It has the methods
    __call__, part, run_ahead and check_soon. None in a single process.

    It is kept from one `fit` to the next. Model, loss, optimizer, penalties and limits are read from the
    Trainer at each step, and the parameters from the optimizer's groups, which may change at any time.

    Attributes:
        source: where the batches come from.
    """

    # The attributes that the compiled methods depend on.
    step_state = (
        "_trainer.model", "_trainer.loss", "_trainer.optimizer", "_trainer.l1", "_trainer.l2",
        "_trainer.clip_grad_norm", "_trainer.clip_grad_value", "_trainer.on_nonfinite", "_of_classes",
        "_classes",
    )  # fmt: skip

    def __init__(self, trainer: Training, parts: CompiledParts, source: Source, reduce: Any = None) -> None:
        self._trainer = trainer
        self._reduce = reduce
        self.begin(source)
        self.compiled = parts.of(
            trainer,
            "fit",
            self._take if reduce is None else reduce.part,
            eager=isinstance(trainer.optimizer, LBFGS),
            # The first step makes the optimizer's state, so recordings begin after it. A fit of one step
            # records nothing.
            after=int(reduce is None),
            shares=reduce is None,
            refused=f"{name_of(trainer.optimizer)} updates by its own Python code" if self.own else "",
        )
        if trainer.accumulate > 1 and isinstance(trainer.optimizer, LBFGS):
            raise ValueError(
                "[Trainer] got accumulate with LBFGS, which evaluates a batch several times; expected 1"
            )

    def begin(self, source: Source) -> None:
        """Take batches of this source from now on, and forget what a fit that failed has accumulated."""
        trainer = self._trainer
        self.source = source
        self._batches = 0
        self._weight = 0.0  # the batches so far of the update to come, and their weight
        self._of_classes = link_of(trainer.loss) == "softmax"
        classes = trainer.classes_
        if classes is not None and self._of_classes:
            self._classes = len(classes)
        else:
            self._classes = 0
        self._penalty()  # raises for names that the model lacks

    @property
    def own(self) -> bool:
        """Whether the class of the optimizer overrides `step`, with Python code of its own."""
        return getattr(type(self._trainer.optimizer), "step", None) is not Optimizer.step

    @property
    def summed(self) -> bool:
        """Whether the loss is a sum over samples, not a mean."""
        return bool(getattr(self._trainer.loss, "reduction", "mean") == "sum")

    def __call__(
        self, x: Array, y: Array, weights: Array | None, last: bool
    ) -> tuple[float, Array | None, float, bool]:
        """(loss, output where a metric needs it, penalty, whether the weights were updated).

        last: the batch is the last of its epoch, so that the weights are updated after it in any case.
        """
        if isinstance(self._trainer.optimizer, LBFGS):
            return self._search(x, y, weights)
        first = self._batches == 0
        self._batches += 1
        updates = last or self._batches == self._trainer.accumulate
        share: Array | bool = False
        scale: Array | bool = False
        if not (first and updates):
            if self.summed:
                weight = 1.0
            else:
                weight = self.source.weight(self._trainer.loss, y, weights)
            self._weight += weight
            share = np.array(weight)
            if updates and not self.summed:
                scale = np.array([self._scale()])
        if self._reduce is None:
            more = (share, scale, first, updates, bool(self._trainer.metrics))
            loss, output, penalty = self.compiled(x, y, *weighting(weights), *more)
        else:
            loss, output, penalty = self._reduce(x, y, weights, share, scale, first, updates)
        if updates:
            self._batches = 0
            self._weight = 0.0
        value = 0.0 if penalty is None else float(penalty.item())
        return float(loss.item()), None if output is None else output._array, value, updates

    def run_ahead(self, ahead: Ahead) -> tuple[Array, Array | None, Array | None] | None:
        """Updates with several batches in one call to the core: (losses, outputs or None, penalties or None).

        None where the next batch has to be taken alone: it is recorded or compared with an eager step, some
        batches make an update together, or Python makes the update.
        """
        if self._trainer.accumulate > 1:
            return None
        if self._reduce is not None:
            return self._reduce.run_ahead(ahead)
        more = (False, False, True, True, bool(self._trainer.metrics))
        results = self.compiled.run_batches((*ahead.arguments(), *more), ahead.batches)
        if results is None:
            return None
        loss, output, penalty = results
        if penalty is None:
            penalties = None
        else:
            penalties = penalty._array.astype(float).reshape(-1)
        return loss._array.astype(float).reshape(-1), None if output is None else output._array, penalties

    def _take(
        self,
        x: Tensor,
        y: Tensor,
        weights: Tensor | bool,
        total: Tensor | bool,
        share: Tensor | bool,
        scale: Tensor | bool,
        first: bool,
        updates: bool,
        measured: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """One batch: (loss, output where a metric needs it, penalty). This function is compiled."""
        loss, output = self.gradients(x, y, weights, total, share, first, measured)
        return loss, output, self.after(loss, scale, updates)

    def gradients(
        self,
        x: Tensor,
        y: Tensor,
        weights: Tensor | bool,
        total: Tensor | bool,
        share: Tensor | bool,
        first: bool,
        measured: bool,
        loss_of: Any = None,
    ) -> tuple[Tensor, Tensor | None]:
        """(loss, output where a metric needs it) of samples; their gradients are added to those before.

        weights, total: as `batch_loss` takes them. share: a factor for the gradients, the batch's weight;
        False if it is the only batch of an update. first: whether it is the first of an update. measured:
        whether a metric needs the output. loss_of: a loss to use in place of the Trainer's.
        """
        if first:
            self._trainer.optimizer.zero_grad()
        output = self._trainer.model(x)
        loss = self.loss_of(output, y, weights, total, loss_of)
        loss.backward(share.expand(loss.shape) if isinstance(share, Tensor) else None)
        return loss.detach(), output.detach() if measured else None

    def after(self, loss: Tensor, scale: Tensor | bool, updates: bool) -> Tensor | None:
        """The part of a step after the gradients: penalty, clipping and the update; returns the penalty.

        scale: a factor for the sum of the gradients, 1 / (the sum of the batches' weights); False if the
        update has one batch. updates: whether an update is due; otherwise only the penalty is computed.
        """
        if updates:
            penalty = self._penalise(scale._array if isinstance(scale, Tensor) else None)
            self._clip()
            self._update(loss)
        else:
            penalty = self._measure()
        if penalty is None:
            return None
        return wrap(penalty)

    def loss_of(
        self, output: Tensor, y: Tensor, weights: Tensor | bool, total: Tensor | bool, loss: Any = None
    ) -> Tensor:
        """The loss of a batch, with the errors of outputs that do not fit the classes."""
        if self._of_classes and output.ndim == 2 and output.shape[1] == 1:
            name = name_of(self._trainer.loss)
            raise ValueError(
                f"[Trainer.fit] got an output of shape {output.shape} for {name}, whose loss over one class "
                "is always 0; expected an output for each class, or BCEWithLogitsLoss"
            )
        if self._classes and output.shape[1] != self._classes:
            raise ValueError(
                f"[Trainer.fit] got {self._classes} different labels and an output of shape {output.shape}; "
                f"expected {self._classes} outputs, one for each label"
            )
        return batch_loss(loss or self._trainer.loss, output, y, weights, total)

    def _update(self, loss: Tensor) -> None:
        """Update the weights, if the loss is finite or the Trainer ignores that."""
        optimizer = self._trainer.optimizer
        if not self.careful:
            optimizer.step()
        elif self.own:
            if math.isfinite(loss.item()):
                optimizer.step()
        else:
            optimizer._finite = loss
            try:
                optimizer.step()
            finally:
                optimizer._finite = None

    def _search(self, x: Array, y: Array, weights: Array | None) -> tuple[float, Array, float, bool]:
        """An update by LBFGS, which evaluates loss and gradients several times; the result of the first."""
        seen: list[tuple[float, Array, float, bool]] = []

        def closure() -> float:
            self._trainer.optimizer.zero_grad()
            output = self._trainer.model(borrowed(x))
            loss = batch_loss(self._trainer.loss, output, wrap(y), *weighting(weights))
            loss.backward()
            penalty = _number(self._penalise())
            self._clip()
            seen.append((float(loss.item()), output._array, penalty, True))
            if self.careful and len(seen) == 1 and not math.isfinite(seen[0][0]):
                raise _Unusable
            return seen[-1][0] + penalty

        with suppress(_Unusable):
            self._trainer.optimizer.step(closure)
        return seen[0]

    def finish(self) -> None:
        """Update the weights with the gradients accumulated so far."""
        self._penalise(None if self.summed else np.array([self._scale()]))
        self._clip()
        self._trainer.optimizer.step()
        self._batches = 0
        self._weight = 0.0

    def drop(self) -> None:
        """Discard the gradients accumulated for the next update, since a loss was not finite."""
        if self.unfinished:
            self._trainer.optimizer.zero_grad()
            self._batches = 0
            self._weight = 0.0

    def expect(self, steps: int) -> None:
        """Announce the number of steps of this fit; 0 if it is not known."""
        if self._reduce is None:
            self.compiled.expect(steps)

    def check_soon(self) -> None:
        self.compiled.check_soon()
        if self._reduce is not None:
            self._reduce.check_soon()

    @property
    def unfinished(self) -> bool:
        """True if there are gradients that no update has used."""
        return self._batches > 0

    @property
    def careful(self) -> bool:
        """Whether to leave out an update if the loss is not finite."""
        return self._trainer.on_nonfinite != "ignore"

    def _penalty(self) -> Penalty:
        """The penalty on the parameters that the optimizer has now."""
        trainer = self._trainer
        return Penalty(trainer.model, parameters_of(trainer.optimizer), trainer.l1, trainer.l2)

    def _penalise(self, scale: Array | None = None) -> Array | None:
        """Multiplies the gradients by `scale` and adds the penalty's: see `Penalty.penalise`."""
        trainer = self._trainer
        if scale is None and trainer.l1 == trainer.l2 == 0:
            return None
        return self._penalty().penalise(scale)

    def _measure(self) -> Array | None:
        """The penalty of the weights as they are: see `Penalty.measure`."""
        trainer = self._trainer
        if trainer.l1 == trainer.l2 == 0:
            return None
        return self._penalty().measure()

    def _scale(self) -> float:
        if self._weight == 0:
            return 1.0
        return 1 / self._weight

    def _clip(self) -> None:
        trainer = self._trainer
        if trainer.clip_grad_value is not None:
            utils.clip_grad_value_(parameters_of(trainer.optimizer), trainer.clip_grad_value)
        if trainer.clip_grad_norm is not None:
            utils.clip_grad_norm_(parameters_of(trainer.optimizer), trainer.clip_grad_norm)

    def state_dict(self) -> dict[str, Any]:
        gradients: list[Array | None] = []
        if self.unfinished:
            grads = [p.grad for p in parameters_of(self._trainer.optimizer)]
            gradients = [None if grad is None else grad._array for grad in grads]
        return {"batches": self._batches, "weight": self._weight, "gradients": gradients}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._batches, self._weight = state["batches"], state["weight"]
        if self.unfinished:
            for p, gradient in zip(parameters_of(self._trainer.optimizer), state["gradients"], strict=True):
                p.grad = None if gradient is None else wrap(gradient)


def parameters_of(optimizer: Optimizer) -> list[Any]:
    """All parameters that an optimizer updates."""
    return [p for group in getattr(optimizer, "param_groups", ()) for p in group["params"]]
