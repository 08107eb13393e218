"""TrainingStep: loss, gradients and update for a batch; Penalty: the L1 and L2 penalties on weights.

`Run` (run.py) makes one TrainingStep for a Trainer and calls it for each batch. In a run on several processes
a `Reduction` (ranvier.distributed) computes the gradients of this process's share of a batch in its place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

import ranvier._core as _core
from ranvier.autograd import Tensor, borrowed, wrap
from ranvier.observe import current, value_read
from ranvier.optim.optimizer import Optimizer
from ranvier.tensors.memory import Array, filled, keep, narrow, numbers, widened
from ranvier.train.batch_source import Ahead, Source
from ranvier.train.callbacks.base import Training
from ranvier.train.compiled_parts import CompiledParts
from ranvier.train.losses import Loss, batch_loss, link_of, name_of, weighting

if TYPE_CHECKING:
    from ranvier.nn.module import Module

Strength = float | Mapping[str, float]
"""l1 or l2 of a Trainer: one number for all weights, or numbers by the names of modules and parameters."""


KeptStrengths = dict[tuple[str, tuple[bool, ...]], Tensor]
"""The strengths of the parameters of one kernel call, by l1 or l2 and by which parameters have a strength."""


class _KernelArguments:
    """The arguments of one call of `weight_penalty`, which takes all parameters of one dtype."""

    def __init__(self) -> None:
        self.weights: list[Array] = []
        self.gradients: list[Array] = []  # empty where only the penalty is computed
        self.l1: list[float] = []
        self.l2: list[float] = []


class Penalty:
    """sum over the penalised weights of l1 |w| + l2 w^2, which is added to the loss, as Keras's L1L2.

    A number penalises every parameter of two or more dimensions: the weights of layers, not biases and not
    the scales of norms, which have one. A mapping says it for each module or parameter by name, as
    `{"features": 1e-4, "head.weight": 1e-3}`: the longest name that fits decides, 0 leaves out, and a
    parameter named in full is penalised whatever its dimensions are. Frozen parameters are left out.

    The gradient is l1 sign(w) + 2 l2 w, added by one kernel call for all parameters.

    kept: the arrays of strengths that kernels read, if they stay from step to step. None: constants.
    """

    def __init__(
        self,
        model: Module,
        parameters: list[Tensor],
        l1: Strength,
        l2: Strength,
        kept: KeptStrengths | None = None,
    ) -> None:
        self._parameters = parameters
        self._kept = kept
        # the strengths by the id of a parameter
        self._l1 = _strengths("l1", l1, model)
        self._l2 = _strengths("l2", l2, model)

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
        if scale is None and not self._l1 and not self._l2:
            return None
        by_dtype: dict[np.dtype[Any], _KernelArguments] = {}
        for p in self._parameters:
            l1 = self._l1.get(id(p), 0.0)
            l2 = self._l2.get(id(p), 0.0)
            has_penalty = p.requires_grad and (l1 != 0 or l2 != 0)
            is_scaled = scale is not None and p.grad is not None
            if not (has_penalty or is_scaled):
                continue
            if not has_penalty:  # a frozen parameter, say
                l1 = l2 = 0.0
            arguments = by_dtype.setdefault(p._array.dtype, _KernelArguments())
            arguments.weights.append(p._array)
            arguments.l1.append(l1)
            arguments.l2.append(l2)
            if gradients:
                arguments.gradients.append(_gradient(p))
        factor = numbers(1.0) if scale is None else scale
        total = None
        for arguments in by_dtype.values():
            # Half floats are computed in float32, and their gradients rounded afterwards.
            wide_weights = widened(arguments.weights)
            wide_gradients = widened(arguments.gradients) if gradients else None
            l1s = self._array("l1", arguments.l1)
            l2s = self._array("l2", arguments.l2)
            value = _core.weight_penalty(wide_weights, wide_gradients, l1s, l2s, factor)
            if wide_gradients is not None:
                narrow(arguments.gradients, wide_gradients)
            total = value if total is None else _core.add(total, value)
        return total

    def _array(self, name: str, strengths: list[float]) -> Array:
        """The strengths `name` (l1 or l2) of some parameters as the kernel reads them."""
        if self._kept is None:
            return numbers(*strengths)
        chosen = tuple(strength != 0 for strength in strengths)
        if (name, chosen) not in self._kept:
            self._kept[name, chosen] = wrap(np.array(strengths, np.float64))
        array: Array = keep(self._kept[name, chosen]._array)
        return array


def strength(name: str, value: Strength, model: Module) -> Strength:
    """`value`, a number of at least 0 or a mapping to such from names that the model has."""
    strengths = list(value.values()) if isinstance(value, Mapping) else [value]
    for number in strengths:
        if isinstance(number, bool) or not isinstance(number, (int, float, np.integer, np.floating)):
            raise TypeError(
                f"[Trainer] got {name} of type {type(number).__name__}; expected a number or a mapping from "
                "names to numbers"
            )
        if not 0 <= number < math.inf:
            raise ValueError(f"[Trainer] got {name} {number}; expected a finite number of at least 0")
    if isinstance(value, Mapping):
        _require_names(name, value, list(model.named_parameters()))
    return value


def _require_names(name: str, by_name: Mapping[str, float], named: Sequence[tuple[str, Tensor]]) -> None:
    """Raise ValueError for a mapping `name` (l1 or l2) with a key that fits no parameter of the model."""
    for key in by_name:
        if not any(_fits(key, parameter) for parameter, _ in named):
            raise ValueError(
                f"[Trainer] got {name} for '{key}', which is neither a module with parameters nor a "
                f"parameter of the model; its parameters are {', '.join(n for n, _ in named)}"
            )


def _fits(key: str, parameter: str) -> bool:
    """Whether a key of a mapping names this parameter, or a module that contains it ("": the model)."""
    return key in ("", parameter) or parameter.startswith(key + ".")


def _strengths(name: str, strength: Strength, model: Module) -> dict[int, float]:
    """The strength `name` (l1 or l2) for each parameter of the model that has one, by the parameter's id.

    Raises ValueError for a mapping with a name that the model lacks.
    """
    if isinstance(strength, Mapping):
        named = list(model.named_parameters())
        _require_names(name, strength, named)
        return {id(p): _strength(strength, path, p) for path, p in named}
    if strength == 0:
        return {}
    return {id(p): float(strength) for p in model.parameters() if p.ndim >= 2}


def _strength(by_name: Mapping[str, float], name: str, parameter: Tensor) -> float:
    """The strength for the parameter of this name."""
    keys = [key for key in by_name if _fits(key, name)]
    if not keys or (parameter.ndim < 2 and name not in keys):
        return 0.0
    longest = max(keys, key=len)
    return float(by_name[longest])


def _number(value: Array | None) -> float:
    value_read("the penalty as a number")
    if value is None:
        return 0.0
    return float(value[0])


def _gradient(p: Tensor) -> Array:
    """The gradient of a parameter. One on which the loss does not depend gets zeros, for the penalty's."""
    if p.grad is None:
        recording = current()  # `observers` has those of other threads too
        if recording is not None:
            recording.gets_gradient(p)
        p.grad = wrap(filled(0, p.shape, p.dtype))
    return p.grad._array


class _Unusable(Exception):
    """The first loss of a search is not finite."""


StepOutcome: TypeAlias = tuple[float, Array | None, float, bool]
"""What a step gives for one batch: (the loss, the output or None where no metric needs it, the penalty,
whether the weights were updated)."""


class Reduction(Protocol):
    """Gradients of a batch on several processes: `Reduce` of ranvier.distributed. Arguments: as in
    TrainingStep."""

    def __call__(
        self,
        x: Array,
        y: Array,
        weights: Array | None,
        share: Array | bool,
        scale: Array | bool,
        first: bool,
        updates: bool,
    ) -> tuple[Any, Tensor | None, Tensor | None]: ...
    def part(self, *arguments: Any) -> Tensor | None: ...
    def run_ahead(self, ahead: Ahead) -> tuple[Array, Array | None, Array | None] | None: ...
    def check_soon(self) -> None: ...


class TrainingStep:
    """Loss and gradients of a batch; every `accumulate` batches the penalty, clipping and an update.

    Gradients of several batches add up to those of all their samples together: each counts by its
    `batch_weight`, and the sum is divided by them all. A 'sum' loss just adds up.

    reduce: makes the step where other processes compute parts of the batch: it calls `gradients` for the
    parts of this process, sums the gradients over all processes, and calls `after`. None in a single process.

    A TrainingStep stays from one `fit` to the next, and each of them calls `begin`. Model, loss, optimizer,
    penalties and limits are read from the Trainer at each step, and the parameters from the optimizer's
    groups, which may change at any time.

    Attributes:
        source: where the batches come from.
    """

    # The attributes that the compiled methods depend on: what the guards of a captured step compare before
    # each replay (compile/guarding/library_guards.py).
    step_state = (
        "_trainer.model", "_trainer.loss", "_trainer.optimizer", "_has_l1", "_has_l2", "_read_l1",
        "_read_l2", "_kept", "_trainer.clip_grad_norm", "_trainer.clip_grad_value",
        "_trainer.on_nonfinite", "_of_classes", "_classes",
    )  # fmt: skip

    def __init__(self, trainer: Training, parts: CompiledParts, reduce: Reduction | None = None) -> None:
        self._trainer = trainer
        self._reduce = reduce
        # Strengths that are numbers are read from memory, so that programs do not depend on them: a search
        # over them records one. With other numbers a Trainer has another step (`CompiledParts.kept`).
        # Mappings, whose items may change at any time, are read at each step.
        self._kept: KeptStrengths = {}
        is_alone = reduce is None
        step = self._take if reduce is None else reduce.part
        refused = ""
        if self.own:
            refused = f"{name_of(trainer.optimizer)} updates by its own Python code"
        self.compiled = parts.of(
            trainer,
            "fit",
            step,
            eager=searches(trainer.optimizer),
            # The first step makes the optimizer's state, so recordings begin after it. A fit of one step
            # records nothing.
            at_second_call=is_alone,
            shares=is_alone,
            refused=refused,
        )
        if trainer.accumulate > 1 and searches(trainer.optimizer):
            raise ValueError(
                "[Trainer] got accumulate with LBFGS, which evaluates a batch several times; expected 1"
            )

    def begin(self, source: Source) -> None:
        """Take batches of this source from now on, and forget what a fit that failed has accumulated."""
        trainer = self._trainer
        self.source = source
        # the batches so far of the update to come, and their weight
        self._batches = 0
        self._weight = 0.0
        self._of_classes = link_of(trainer.loss) == "softmax"
        classes = trainer.classes_
        if classes is not None and self._of_classes:  # how many outputs `loss_of` requires; 0: any number
            self._classes = len(classes)
        else:
            self._classes = 0
        self._has_l1 = trainer.l1 != 0
        self._has_l2 = trainer.l2 != 0
        # l1 and l2 if one of them is a mapping, else None
        self._read_l1: Strength | None = None
        self._read_l2: Strength | None = None
        if isinstance(trainer.l1, Mapping) or isinstance(trainer.l2, Mapping):
            self._read_l1 = trainer.l1
            self._read_l2 = trainer.l2
        self._penalty()  # raises for names that the model lacks

    @property
    def own(self) -> bool:
        """Whether the class of the optimizer overrides `step`, with Python code of its own."""
        return getattr(type(self._trainer.optimizer), "step", None) is not Optimizer.step

    @property
    def summed(self) -> bool:
        """Whether the loss is a sum over samples, not a mean."""
        return bool(getattr(self._trainer.loss, "reduction", "mean") == "sum")

    def __call__(self, x: Array, y: Array, weights: Array | None, last: bool) -> StepOutcome:
        """Compute loss and gradients of a batch, and update the weights if an update is due.

        last: the batch is the last of its epoch, so that the weights are updated after it in any case.
        """
        if searches(self._trainer.optimizer):
            return self._search(x, y, weights)
        first = self._batches == 0
        self._batches += 1
        updates = last or self._batches == self._trainer.accumulate
        share: Array | bool = False
        scale: Array | bool = False
        if not (first and updates):  # the update has several batches, each with its share of the gradients
            if self.summed:
                weight = 1.0
            else:
                weight = self.source.weight(self._trainer.loss, y, weights)
            self._weight += weight
            share = np.array(weight)
            if updates and not self.summed:
                scale = np.array([self._scale()])
        if self._reduce is None:
            w, total = weighting(weights)
            measured = bool(self._trainer.metrics)
            loss, output, penalty = self.compiled(x, y, w, total, share, scale, first, updates, measured)
        else:
            loss, output, penalty = self._reduce(x, y, weights, share, scale, first, updates)
        if updates:
            self._batches = 0
            self._weight = 0.0
        array = None if output is None else output._array
        penalty_value = 0.0 if penalty is None else float(penalty.item())
        return float(loss.item()), array, penalty_value, updates

    def run_ahead(self, ahead: Ahead) -> tuple[Array, Array | None, Array | None] | None:
        """Updates with several batches in one call to the core: (losses, outputs or None, penalties or None).

        None where the next batch has to be taken alone: it is recorded or compared with an eager step, some
        batches make an update together, or Python makes the update.
        """
        if self._trainer.accumulate > 1:
            return None
        if self._reduce is not None:
            return self._reduce.run_ahead(ahead)
        # Each batch is the only one of its update.
        share = scale = False
        first = updates = True
        measured = bool(self._trainer.metrics)
        arguments = (*ahead.arguments(), share, scale, first, updates, measured)
        results = self.compiled.run_batches(arguments, ahead.batches)
        if results is None:
            return None
        loss, output, penalty = results
        losses = loss._array.astype(float).reshape(-1)
        outputs = None if output is None else output._array
        if penalty is None:
            return losses, outputs, None
        return losses, outputs, penalty._array.astype(float).reshape(-1)

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
        """One batch: (loss, output where a metric needs it, penalty). This function is compiled.

        Its arguments are made in `__call__`, in `run_ahead`, and by `OneRow` (sklearn/one_row.py, `_PLAIN`).
        """
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
        loss_of: Loss | None = None,
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
        factor = share.expand(loss.shape) if isinstance(share, Tensor) else None
        loss.backward(factor)
        if measured:
            return loss.detach(), output.detach()
        return loss.detach(), None

    def after(self, loss: Tensor, scale: Tensor | bool, updates: bool) -> Tensor | None:
        """The part of a step after the gradients: penalty, clipping and the update; returns the penalty.

        scale: a factor for the sum of the gradients, 1 / (the sum of the batches' weights); False if the
        update has one batch. updates: whether an update is due; otherwise only the penalty is computed.
        """
        if updates:
            factor = scale._array if isinstance(scale, Tensor) else None
            penalty = self._penalise(factor)
            self._clip()
            self._update(loss)
        else:
            penalty = self._measure()
        if penalty is None:
            return None
        return wrap(penalty)

    def loss_of(
        self,
        output: Tensor,
        y: Tensor,
        weights: Tensor | bool,
        total: Tensor | bool,
        loss: Loss | None = None,
    ) -> Tensor:
        """The loss of a batch, with the errors of outputs that do not fit the classes.

        weights, total: as `batch_loss` takes them. loss: a loss to use in place of the Trainer's.
        """
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
        elif self.own:  # such a `step` does not know `_finite`
            if math.isfinite(loss.item()):
                optimizer.step()
        else:  # `step` hands the loss to the kernel, which changes nothing if it is not finite
            optimizer._finite = loss
            try:
                optimizer.step()
            finally:
                optimizer._finite = None

    def _search(self, x: Array, y: Array, weights: Array | None) -> StepOutcome:
        """An update by LBFGS, which evaluates loss and gradients several times; the outcome of the first."""
        outcomes: list[StepOutcome] = []

        def closure() -> float:
            self._trainer.optimizer.zero_grad()
            output = self._trainer.model(borrowed(x))
            loss = batch_loss(self._trainer.loss, output, wrap(y), *weighting(weights))
            loss.backward()
            penalty = _number(self._penalise())
            self._clip()
            value = float(loss.item())
            outcomes.append((value, output._array, penalty, True))
            if self.careful and len(outcomes) == 1 and not math.isfinite(value):
                raise _Unusable
            return value + penalty

        with suppress(_Unusable):
            self._trainer.optimizer.step(closure)
        return outcomes[0]

    def finish(self) -> None:
        """Update the weights with the gradients accumulated so far."""
        factor = None if self.summed else np.array([self._scale()])
        self._penalise(factor)
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
        # With parts of batches, parts and updates are programs of their own: the first update, which fills
        # `_kept`, would change what the parts are guarded by.
        is_kept = self._reduce is None and self._read_l1 is None
        kept = self._kept if is_kept else None
        return Penalty(trainer.model, parameters_of(trainer.optimizer), trainer.l1, trainer.l2, kept)

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
        """The factor of the accumulated gradients: 1 / (the weight of their batches)."""
        if self._weight == 0:
            return 1.0
        return 1 / self._weight

    def _clip(self) -> None:
        trainer = self._trainer
        if trainer.clip_grad_value is None and trainer.clip_grad_norm is None:
            return
        from ranvier.nn import utils

        if trainer.clip_grad_value is not None:
            utils.clip_grad_value_(parameters_of(trainer.optimizer), trainer.clip_grad_value)
        if trainer.clip_grad_norm is not None:
            utils.clip_grad_norm_(parameters_of(trainer.optimizer), trainer.clip_grad_norm)

    def state_dict(self) -> dict[str, Any]:
        gradients: list[Array | None] = []
        if self.unfinished:
            for p in parameters_of(self._trainer.optimizer):
                gradient = None if p.grad is None else p.grad._array
                gradients.append(gradient)
        return {"batches": self._batches, "weight": self._weight, "gradients": gradients}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._batches = state["batches"]
        self._weight = state["weight"]
        if self.unfinished:
            for p, gradient in zip(parameters_of(self._trainer.optimizer), state["gradients"], strict=True):
                p.grad = None if gradient is None else wrap(gradient)


def searches(optimizer: object) -> bool:
    """True for LBFGS, whose step evaluates the loss several times."""
    return getattr(optimizer, "_searches", False)


def parameters_of(optimizer: Optimizer) -> list[Any]:
    """All parameters that an optimizer updates; none of an object without groups."""
    parameters: list[Any] = []
    for group in getattr(optimizer, "param_groups", ()):
        parameters += group["params"]
    return parameters
