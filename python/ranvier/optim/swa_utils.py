"""Averages of a model's weights over training, with PyTorch's names."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier._core as _core
from ranvier.grad_mode import no_grad
from ranvier.nn.module import Module
from ranvier.optim.lr_scheduler.base import LRScheduler, for_each_group, require_numbers, require_whole
from ranvier.optim.optimizer import Optimizer
from ranvier.tensors.errors import number, one_of
from ranvier.tensors.memory import Array, cast, narrow, numbers, widened, write
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.views import bump

if TYPE_CHECKING:
    from ranvier.tensors.types import DeviceLike

__all__ = [
    "SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn",
    "get_swa_multi_avg_fn", "update_bn",
]  # fmt: skip

Average = Callable[[Tensor, Tensor, Any], Tensor]
MultiAverage = Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAverage:
    """average += (1 - decay) (value - average) for lists of parameters, in place, in one kernel.

    Raises ValueError for a decay outside 0 to 1.
    Source: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992), with
    exponentially decreasing weights.
    """
    number("get_ema_multi_avg_fn", "decay", decay, 0, 1)
    return _Moving(decay)


def get_swa_multi_avg_fn() -> MultiAverage:
    """average += (value - average) / (num_averaged + 1) for lists of parameters, in place, in one kernel.

    Source: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization" (2018).
    """
    return _Moving(None)


class _Moving:
    """average += (1 - decay) (value - average); the plain mean if decay is None."""

    def __init__(self, decay: float | None) -> None:
        self.decay = decay

    def __call__(
        self, averages: Sequence[Tensor], values: Sequence[Tensor], num_averaged: int | Tensor
    ) -> None:
        if self.decay is None:
            weight = 1 / (float(num_averaged) + 1)
        else:
            weight = 1 - self.decay
        _move(averages, values, numbers(weight))


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """decay * average + (1 - decay) * value, for one parameter."""
    number("get_ema_avg_fn", "decay", decay, 0, 1)

    def moving_average(average: Tensor, value: Tensor, num_averaged: int | Tensor) -> Tensor:
        return decay * average + (1 - decay) * value

    return moving_average


def get_swa_avg_fn() -> Average:
    """average + (value - average) / (num_averaged + 1), for one parameter."""

    def mean(average: Tensor, value: Tensor, num_averaged: int | Tensor) -> Tensor:
        return average + (value - average) / (float(num_averaged) + 1)

    return mean


class AveragedModel(Module):
    """A copy of a model with the averages of its parameters, to evaluate and save.

    Call ``update_parameters(model)`` after each step (for EMA, the exponential moving average) or each epoch
    (for SWA, the plain mean). The first call copies the parameters of the model; the other calls add them to
    the average. A call of the object calls the averaged model. In a Trainer, use the callback
    ``rv.train.LambdaCallback(on_batch_end=lambda batch, logs: average.update_parameters(model))``.

    Args:
        avg_fn: a function of (average, value, number of averaged models) that returns the new average of one
            parameter.
        multi_avg_fn: a function of lists of these that changes the averages in place;
            ``get_ema_multi_avg_fn(decay)`` for EMA. Without both functions the average is the plain mean.
        use_buffers: average the buffers too (batch norm's running statistics); if False they are copied.

    Attributes:
        module: the averaged copy. n_averaged: the number of models in the average, a buffer.

    Raises ValueError if both functions are given, or for a model with other parameters.
    Source: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization" (2018).

    >>> import ranvier as rv
    >>> from ranvier.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
    >>> model = rv.nn.Linear(1, 1, bias=False)
    >>> average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.75))
    >>> for value in (1.0, 5.0):
    ...     _ = rv.nn.init.constant_(model.weight, value); average.update_parameters(model)
    >>> average(rv.ones(1, 1)).item(), list(average.state_dict())
    (2.0, ['n_averaged', 'module.weight'])
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: DeviceLike | None = None,
        avg_fn: Average | None = None,
        multi_avg_fn: MultiAverage | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("[AveragedModel] got avg_fn and multi_avg_fn; expected one of them")
        self.module = deepcopy(model)
        self.register_buffer("n_averaged", wrap(np.array(0, np.int64)))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Adds the model's parameters to the average."""
        averages = self._averaged(self.module)
        values = self._averaged(model)
        if [p.shape for p in averages] != [p.shape for p in values]:
            raise ValueError("[AveragedModel] got a model of other parameters; expected the copied one")
        with no_grad():
            if self.avg_fn is None and isinstance(self.multi_avg_fn, (_Moving, type(None))):
                if self.multi_avg_fn is None:
                    decay = None
                else:
                    decay = self.multi_avg_fn.decay
                # average_weight also adds 1 to n_averaged. Its weight is 1 at first, which copies the values.
                _move(averages, values, _core.average_weight(self.n_averaged._array, decay))
                bump(self.n_averaged)
            else:
                self._average_by(averages, values)
            if not self.use_buffers:
                _copy(list(self.module.buffers()), list(model.buffers()))

    def _average_by(self, averages: list[Tensor], values: list[Tensor]) -> None:
        """As `update_parameters`, by the program's function; the first call copies."""
        count = int(self.n_averaged.item())
        if count == 0:
            _copy(averages, values)
        elif self.avg_fn is not None:
            _copy(averages, [self.avg_fn(a, v, count) for a, v in zip(averages, values, strict=True)])
        elif self.multi_avg_fn is not None:
            self.multi_avg_fn(averages, values, count)
        self.n_averaged.add_(1)

    def _averaged(self, model: Module) -> list[Tensor]:
        """The tensors of a model that are averaged, in a fixed order; they share the memory of the model."""
        tensors: list[Tensor] = list(model.parameters())
        if self.use_buffers:
            tensors += model.buffers()
        return [t.detach() for t in tensors]


def _copy(targets: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for target, value in zip(targets, values, strict=True):
        write(target._array, value._array)
        bump(target)


def _move(averages: Sequence[Tensor], values: Sequence[Tensor], weight: Array) -> None:
    """average += weight (value - average). Integers, such as batch norm's number of batches, are computed in
    float64 and truncated."""
    by_dtype: dict[Any, tuple[list[Any], list[Any]]] = {}
    for average, value in zip(averages, values, strict=True):
        if average.dtype.kind == "f":
            lists = by_dtype.setdefault(average._array.dtype, ([], []))
            lists[0].append(average._array)
            lists[1].append(value._array)
        else:
            old, new = (cast(x._array, np.dtype(np.float64)) for x in (average, value))
            write(average._array, _core.add(old, _core.mul(_core.sub(new, old), weight.reshape(()))))
        bump(average)
    for arrays, others in by_dtype.values():
        wide = widened(arrays)
        _core.move_parameters(wide, widened(others), weight, True)
        narrow(arrays, wide)


def update_bn(loader: Iterable[Any], model: Module, device: DeviceLike | None = None) -> None:
    """Computes batch norm's running statistics again, for the averaged parameters.

    Args:
        loader: the batches. If a batch is a list or tuple, its first entry is the input of the model.
    """
    norms: list[Any] = [m for m in model.modules() if hasattr(m, "reset_running_stats")]
    if not norms:
        return
    momenta = [m.momentum for m in norms]
    was_training = model.training
    model.train()
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # This means the plain mean over all batches.
    with no_grad():
        for batch in loader:
            if isinstance(batch, (list, tuple)):
                batch = batch[0]  # the inputs; the targets are not needed
            model(batch)
    for module, momentum in zip(norms, momenta, strict=True):
        module.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """Moves the lr from its present value to swa_lr in anneal_epochs epochs, and keeps it there.

    anneal_strategy: "cos" or "linear".

    >>> import ranvier as rv
    >>> optimizer = rv.optim.SGD([rv.ones(1)], lr=1.0)
    >>> schedule = rv.optim.swa_utils.SWALR(optimizer, swa_lr=0.5, anneal_epochs=2, anneal_strategy="linear")
    >>> [(schedule.step(), schedule.get_last_lr()[0])[1] for _ in range(3)]
    [0.75, 0.5, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | Sequence[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        require_whole("SWALR", "anneal_epochs", anneal_epochs, 0)
        one_of("SWALR", "anneal_strategy", anneal_strategy, ("cos", "linear"))
        require_numbers("SWALR", swa_lr=swa_lr)
        rates = for_each_group("SWALR", "swa_lr", optimizer, swa_lr)
        for rate, group in zip(rates, optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        self.anneal_epochs = anneal_epochs
        self._set_anneal_func(anneal_strategy)
        super().__init__(optimizer, last_epoch)

    def _set_anneal_func(self, strategy: str) -> None:
        """Sets the two attributes that PyTorch has in pickles, under PyTorch's names."""
        self._anneal_strategy = strategy
        if strategy == "linear":
            self.anneal_func = self._linear_anneal
        else:
            self.anneal_func = self._cosine_anneal

    @staticmethod
    def _linear_anneal(t: float) -> float:
        return t

    @staticmethod
    def _cosine_anneal(t: float) -> float:
        return (1 - math.cos(math.pi * t)) / 2

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        del state["anneal_func"]  # a function, which `load_state_dict` finds again by `_anneal_strategy`
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._set_anneal_func(self._anneal_strategy)

    def _share(self, step: int) -> float:
        """The progress after this many steps, from 0 to 1."""
        return self.anneal_func(max(0, min(1, step / max(1, self.anneal_epochs))))

    def get_lr(self) -> list[float]:
        step = self._step_count - 1  # without the first step, which the constructor makes
        if self.anneal_epochs == 0:
            step = max(1, step)
        before = self._share(step - 1)
        now = self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            end = self._in_group(group, "swa_lr")
            if before == 1:
                start = end
            else:
                start = (group["lr"] - before * end) / (1 - before)
            rates.append(end * now + start * (1 - now))
        return rates
