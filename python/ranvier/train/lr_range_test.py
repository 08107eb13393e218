"""The learning-rate range test: which rates make the loss fall, before the training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import ranvier.train.inputs as inputs
from ranvier.autograd import borrowed, wrap
from ranvier.autograd.data import refuse_torch
from ranvier.autograd.errors import own_errors
from ranvier.autograd.memory import Array
from ranvier.data.sampler import positive
from ranvier.nn.modes import training
from ranvier.optim import Optimizer
from ranvier.train.inputs import DataSpec
from ranvier.train.losses import batch_loss, weighting
from ranvier.train.nonfinite import restored
from ranvier.train.source import ArraySource, LoaderSource, Source

__all__ = ["LRRangeTest", "lr_range_test"]

_NAME = "lr_range_test"


@dataclass(frozen=True)
class LRRangeTest:
    """What a range test found.

    Attributes:
        rates: the learning rates that were tried, rising.
        losses: the loss of the batch at each.
        smoothed: the losses' running mean, which the suggestion is read from.
        diverged: whether the test stopped because the loss rose.
    """

    rates: npt.NDArray[np.float64]
    losses: npt.NDArray[np.float64]
    smoothed: npt.NDArray[np.float64]
    diverged: bool

    @property
    def suggestion(self) -> float:
        """The rate at which the smoothed loss fell most steeply over log(rate), before it was least.

        Slopes are taken over a tenth of the curve: from one batch to the next the data matter more.

        Raises:
            ValueError: the loss never fell.
        """
        end = int(np.argmin(self.smoothed)) + 1
        if end < 2:
            raise ValueError(
                f"[{_NAME}] the loss fell at none of the rates {self.rates[0]:g} to {self.rates[-1]:g}; "
                "expected a smaller start, or another model"
            )
        width = min(max(1, len(self.rates) // 10), end - 1)
        falls = self.smoothed[width:end] - self.smoothed[: end - width]
        logs = np.log(self.rates[:end])
        steepest = int(np.argmin(falls / (logs[width:] - logs[:-width])))
        return float(self.rates[steepest + width // 2])


def lr_range_test(
    model: Any,
    loss: Callable[[Any, Any], Any],
    optimizer: Optimizer | Callable[[Any], Optimizer],
    x: Any,
    y: npt.ArrayLike | None = None,
    *,
    start: float = 1e-7,
    end: float = 10.0,
    steps: int = 100,
    batch_size: int = 32,
    smoothing: float = 0.9,
    divergence: float = 4.0,
) -> LRRangeTest:
    """Train some steps at exponentially growing learning rates, note the losses, and undo the training.

    Afterwards model, gradients, optimizer and random state are what they were, to the last bit.

    Args:
        optimizer: the optimizer to be used, or a function that makes one from parameters.
        x, y: arrays as in `Trainer.fit`, shuffled; or a loader of batches alone. Run through as often as
            it takes.
        start, end, steps: the first rate, the last one, and how many.
        smoothing: the running mean keeps this share of its value in each step.
        divergence: the test ends where the smoothed loss exceeds its least value this many times, or a loss
            is not finite.

    Returns:
        Rates and losses, with a `suggestion`.

    Raises:
        ValueError: settings out of range. TypeError: an optimizer that is neither.
        RuntimeError: another thread trains the model or evaluates it.

    Source: L. N. Smith, "Cyclical Learning Rates for Training Neural Networks" (2017), section 3.3.

    >>> import numpy as np
    >>> import ranvier as rv
    >>> rv.manual_seed(0)
    >>> x = np.random.default_rng(0).standard_normal((256, 4)).astype(np.float32)
    >>> y = x @ np.array([[1], [-2], [3], [0.5]], np.float32)
    >>> model = rv.nn.Linear(4, 1)
    >>> test = rv.train.lr_range_test(model, rv.nn.MSELoss(), rv.optim.SGD, x, y, start=1e-4)
    >>> test.diverged, 0.01 < test.suggestion < 1
    (True, True)
    """
    if not 0 < start < end < math.inf:
        raise ValueError(f"[{_NAME}] got start {start} and end {end}; expected 0 < start < end")
    if not 0 <= smoothing < 1:
        raise ValueError(f"[{_NAME}] got smoothing {smoothing}; expected 0 <= smoothing < 1")
    if not divergence > 1:
        raise ValueError(f"[{_NAME}] got divergence {divergence}; expected above 1")
    positive(_NAME, "steps", steps)
    positive(_NAME, "batch_size", batch_size)
    if callable(optimizer) and not isinstance(optimizer, Optimizer):
        optimizer = optimizer(model.parameters())
    if not isinstance(optimizer, Optimizer):
        refuse_torch(_NAME, "an optimizer", optimizer)
        raise TypeError(
            f"[{_NAME}] got optimizer of type {type(optimizer).__name__}; expected an Optimizer, or a "
            "function that makes one"
        )
    spec = DataSpec(model, loss)
    source: Source
    if y is None:
        source = LoaderSource(_NAME, x, spec)
    else:
        source = ArraySource(inputs.prepare(_NAME, x, y, spec, learn=True), batch_size, shuffle=True)
    rates = start * (end / start) ** (np.arange(steps) / max(steps - 1, 1))
    losses: list[float] = []
    smoothed: list[float] = []
    mean, diverged = 0.0, False
    with training(model, _NAME), _taken_back(model, optimizer):
        model.train()
        for rate, (xb, yb, weights) in zip(rates, _endless(source), strict=False):
            for group in optimizer.param_groups:
                group["lr"] = float(rate)
            optimizer.zero_grad()
            value = batch_loss(loss, model(borrowed(xb)), wrap(yb), *weighting(weights))
            diverged = not math.isfinite(value.item())
            if diverged:
                break
            losses.append(value.item())
            mean = smoothing * mean + (1 - smoothing) * losses[-1]
            smoothed.append(mean / (1 - smoothing ** len(losses)))  # unbiased, though it began at 0
            diverged = bool(smoothed[-1] > divergence * min(smoothed))
            if diverged:
                break
            value.backward()
            optimizer.step()
    if not losses:
        raise ValueError(f"[{_NAME}] got a model whose first loss is not finite")
    return LRRangeTest(rates[: len(losses)], np.array(losses), np.array(smoothed), diverged)


def _endless(source: Source) -> Iterator[tuple[Array, Array, Array | None]]:
    while True:  # until the caller has as many as there are rates
        empty = True
        for batch in source:
            empty = False
            yield batch
        if empty:
            raise ValueError(f"[{_NAME}] got a loader without batches; expected at least one")


@contextmanager
def _taken_back(model: Any, optimizer: Optimizer) -> Iterator[None]:
    """Puts parameters, buffers, gradients, the optimizer and the random state back, also after an error."""
    gradients = [(p, p.grad) for p in model.parameters()]
    state = deepcopy(optimizer.state_dict())
    for p, _ in gradients:
        p.grad = None  # kept as they are, not added to
    with restored([*model.parameters(), *model.buffers()]):
        try:
            yield
        finally:
            for p, gradient in gradients:
                p.grad = gradient
            optimizer.load_state_dict(state)


own_errors(globals(), names=__all__)
