"""The step and the measures of a Trainer on several processes."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

import ranvier._core as _core
import ranvier.ops as ops
from ranvier.autograd import Tensor, philox, random, wrap
from ranvier.autograd.memory import cast
from ranvier.distributed.batches import CutArrays, CutBatches, require_whole, rows_of
from ranvier.distributed.collectives import gather_objects, mark
from ranvier.distributed.exchange import Exchange
from ranvier.distributed.job import world
from ranvier.distributed.one_pass import is_by_row, output_of
from ranvier.distributed.parallel import SyncBatchNorm
from ranvier.distributed.ranks import World
from ranvier.distributed.sync_norm import Parts, of_ranks
from ranvier.nn.modes import evaluating
from ranvier.optim import LBFGS
from ranvier.train.callbacks.base import Training
from ranvier.train.compiled import CompiledParts
from ranvier.train.evaluator import Evaluator, Measured
from ranvier.train.hints import raise_with_hint
from ranvier.train.losses import link_of, summed, weighting
from ranvier.train.saving import difference
from ranvier.train.source import Source
from ranvier.train.step import TrainingStep, parameters_of

__all__ = ["CutMeasured", "CutStep", "SharedEvaluator"]

Array = npt.NDArray[Any]
_AHEAD = 1024  # batches in one call of the core


class CutStep(TrainingStep):
    """A step in two compiled functions: loss and gradients of one part of a batch, and after the sum over all
    parts the update. It is kept from one `fit` to the next, because its buffers belong to the programs.

    Attributes:
        finite: whether the losses of this rank's parts are finite.
        divides: whether each rank may update a part of the weights. Where code of the program runs in between
            it may not: it would get the other ranks' weights, and so hide a change on one rank.
    """

    source: CutArrays | CutBatches

    def __init__(self, trainer: Training, parts: CompiledParts, world: World, deterministic: bool) -> None:
        super().__init__(trainer, parts)
        if isinstance(self._optimizer, LBFGS):
            raise ValueError(
                "[Trainer] got distributed=True with LBFGS, which evaluates a batch several times; expected "
                "another optimizer"
            )
        self._world, self._deterministic = world, deterministic
        self._updating = parts.of(trainer, "update", self._apply, eager=self._own)
        self._in_one_pass = parts.of(trainer, "pass", self._take_all, eager=self._own)
        self._has_several = (trainer.shards if deterministic else world.size) > 1
        self._stream = random.Generator()
        self._layout: list[Any] = []
        self.finite, self.divides = True, False

    def begin(self, source: CutArrays | CutBatches) -> None:
        """Take the batches of this source from now on."""
        self.source, self._buffers = source, list(self._model.buffers())
        self._synced = self._has_several and any(isinstance(m, SyncBatchNorm) for m in self._model.modules())
        if self._synced:
            self.compiled.refuse("SyncBatchNorm exchanges statistics within a step")
        self._batches, self._weight = 0, 0.0

    def __call__(
        self, x: Array, y: Array, weights: Array | None, last: bool
    ) -> tuple[float, Array | None, float, bool]:
        share, first = self.source.share, self._batches == 0
        self._prepare(first)
        self._batches += 1
        updates = last or self._batches == self._accumulate
        outputs = self._parts(x, y, weights)
        exchange = self._exchange
        self.finite = math.isfinite(exchange.loss)
        exchange.reduce()
        accumulated, value = self._accumulate > 1, exchange.loss
        if accumulated:
            weight = 1.0 if self._summed else share.weight
            value = value / (weight or 1.0)
            self._weight += weight
            exchange.accumulate(first)
        exchange.take_gradients(accumulated)
        output = np.concatenate(outputs) if outputs else None
        if self._careful and not math.isfinite(value):
            penalty = self._penalty.value()
        else:
            exchange.counts.apply(share.samples)
            scaled = accumulated and updates and not self._summed
            scale = np.array([self._scale()]) if scaled else False
            added = self._updating(scale, np.array(float(share.samples)), updates)
            penalty = 0.0 if added is None else float(added.item())
        if updates:
            self._batches, self._weight = 0, 0.0
        return value, output, penalty, updates

    def _prepare(self, first: bool) -> None:
        """The buffers for the parameters that are trained now."""
        trained = [p for p in parameters_of(self._optimizer) if p._requires_grad]
        layout = [*trained, None, *self._buffers]
        if len(layout) != len(self._layout) or any(a is not b for a, b in zip(layout, self._layout)):  # noqa: B905
            if not first:
                raise RuntimeError(
                    "[Trainer.fit] the trained parameters have changed between the batches of one update; "
                    "expected a change after an update"
                )
            self._exchange = Exchange(self._world, trained, self._buffers, self._deterministic)
            self._layout = layout

    def _parts(self, x: Array, y: Array, weights: Array | None) -> list[Array]:
        """Loss and gradients of this rank's parts, added up; returns the outputs if a metric needs them."""
        exchange, share = self._exchange, self.source.share
        for p in parameters_of(self._optimizer):
            p._grad = None
        exchange.counts.begin()
        key, outputs = random.current().next_key(), []
        if self._is_one_pass(x, weights):
            output = self._in_one_pass(x, y, *self._shares(), bool(self._trainer.metrics))
            return [] if output is None else [output._array]
        last = len(share.parts) - 1

        def compute(number: int) -> None:
            part, begin, end = share.parts[number]
            place = self._place(number)
            if begin == end:
                exchange.empty(place)
            else:
                here = slice(begin, end)
                of_part = None if weights is None else weights[here]
                output = self._part(x[here], y[here], of_part, philox.mixed(key, part), place)
                if output is not None:
                    outputs.append(output._array)
            if place % 2:
                exchange.add_pair(number // 2, number == last)

        numbers = [*range(last + 1)]
        if self._synced:
            used = sum(begin < end for _, begin, end in share.parts)
            meeting = Parts(exchange.parameters, self._buffers)
            works = [functools.partial(compute, number) for number in numbers[:used]]
            meeting.run(works, lambda rows: of_ranks(self._world, share.ranks, rows))
            del numbers[:used]
        for number in numbers:
            compute(number)
        return outputs

    def _part(self, x: Array, y: Array, weights: Array | None, key: int, place: int) -> Tensor | None:
        """Loss and gradients of one part; the output where a metric needs it."""
        share = self.source.share
        # the sum of the weights is 1, or divides the sum over the batches of an update
        total = 1.0 if self._summed or self._accumulate > 1 else share.weight or 1.0
        counted = len(y) if weights is None else weights.sum()
        if share.divided:  # the loss of a part is then a sum
            counted = 1.0 if share.weight else math.nan
        weight = np.array(1.0 if self._summed else float(counted) / total)
        stream = random.Generator() if self._synced else self._stream  # parts take turns where they meet
        stream.manual_seed(key)
        more = (weight, np.array(float(len(y))), bool(self._trainer.metrics), place, share.divided)
        with random.using(stream):
            output = self.compiled(x, y, *weighting(weights), *more)
        self._exchange.counts.add(len(y), share.samples)
        return output

    def _take(  # type: ignore[override]
        self,
        x: Tensor,
        y: Tensor,
        weights: Tensor | bool,
        total: Tensor | bool,
        weight: Tensor,
        samples: Tensor,
        measured: bool,
        place: int,
        divided: bool,
    ) -> Tensor | None:
        """Loss and gradients of one part, written to the buffers; the output where a metric needs it."""
        before = self._exchange.before()
        self._optimizer.zero_grad()
        output, loss = self._forward(x, y, weights, total, summed(self._loss) if divided else self._loss)
        loss.backward(weight.expand(loss.shape))
        self._exchange.pack(loss, weight._array, samples._array, before, place)
        self._optimizer.zero_grad()
        return output.detach() if measured else None

    def _is_one_pass(self, x: Array, weights: Array | None) -> bool:
        """Whether the rank's parts can be computed together, with the bits of one after another."""
        share = self.source.share
        plain = weights is None and not share.divided and not self._buffers
        plain = plain and len(self._exchange.groups) == 1
        plain = plain and all(begin < end for _, begin, end in share.parts)
        return plain and is_by_row(self._model, self._loss, x, self._exchange.parameters)

    def _shares(self) -> tuple[Array, tuple[int, ...]]:
        """The weights of the parts, and where they begin and end."""
        share = self.source.share
        bounds = (0, *[end for *_, end in share.parts])
        total = 1.0 if self._summed or self._accumulate > 1 else share.weight or 1.0
        return np.array([1.0 if self._summed else n / total for n in np.diff(bounds).tolist()]), bounds

    def run_ahead(self, ahead: Any) -> tuple[Array, Array | None, Array | None] | None:
        """Batches of which the core computes the parts, the sums and the updates."""
        b, share = ahead.batches, self.source.share
        if self._accumulate > 1 or self._trainer.metrics or share.samples != b.size:
            return None
        self._prepare(True)
        count = min(b.count, _AHEAD)
        function, calls = self._calls(ahead, count)
        if not calls:
            return None
        end = (b.first + count) * b.size
        rows = np.arange(b.first * b.size, end) if b.order is None else b.order[b.first * b.size : end]
        mine = np.ascontiguousarray(rows.reshape(-1, b.size)[:, share.first : share.end])
        taken = replace(b, order=mine.reshape(-1), size=mine.shape[1], first=0, count=count)
        update = self._updating, (False, np.array(float(share.samples)), True), self._careful, self.divides
        try:
            found = self._exchange.run(function, calls, taken, *update)
        finally:
            b.done = taken.done
            for _ in range(b.done):
                random.current().next_key()
        if found is None:
            return None
        losses, penalties, own = found[: b.done].T
        self.finite = math.isfinite(own[-1])
        if self._careful and not math.isfinite(losses[-1]):
            penalties[-1] = self._penalty.value()
        return losses, None, penalties

    def _calls(self, ahead: Any, batches: int) -> tuple[Any, list[Any]]:
        """What computes this rank's parts of so many batches: a function, and its calls, as of
        `run_with_ranks`; none where that takes Python in between."""
        x, y, exchange = ahead.x, ahead.y, self._exchange
        weights, bounds = self._shares()
        if self._is_one_pass(x, None):
            args = x, y, np.tile(weights, (batches, 1)), bounds, False
            return self._in_one_pass, [(args, 0, bounds[-1], ())]
        calls: list[Any] = []
        draws = self.compiled.draws(self._stream)
        if draws or self._synced or exchange.counts.buffers or 0 in np.diff(bounds):
            return None, calls
        for number, (begin, end) in enumerate(itertools.pairwise(bounds)):
            place, last = self._place(number), end == bounds[-1]
            of_part = np.full(batches, weights[number]), np.full(batches, float(end - begin))
            additions = exchange.groups[0].additions(number // 2, last) if place % 2 else ()
            given = x, y, *weighting(None), *of_part, False, place, False
            calls.append((given, begin, end, tuple(additions)))
        return self.compiled, calls

    def _place(self, number: int) -> int:
        """Where part `number` of this rank goes: see `Exchange.pack`."""
        return number % 4 if len(self.source.share.parts) > 2 else 2 + number

    def _take_all(
        self, x: Tensor, y: Tensor, shares: Tensor, bounds: tuple[int, ...], measured: bool
    ) -> Tensor | None:
        """Loss and gradients of all parts, written to the buffers; the output where a metric needs it."""
        self._optimizer.zero_grad()
        parts = [*itertools.pairwise(bounds)]
        output = output_of(self._model, x, parts, self._exchange.sums())
        losses, gradients = [], []
        for number, (begin, end) in enumerate(parts):
            part = wrap(output._array[begin:end])
            part.requires_grad = True
            loss = self._loss_of(part, y[begin:end], False, False)
            share = shares[number]
            loss.backward(share.expand(loss.shape))
            value = loss.detach()._array
            losses.append(_core.mul(value, cast(share._array, value.dtype), None).reshape(1))
            gradients.append(part.grad)
        output.backward(ops.cat(gradients))
        self._exchange.pack_sums(losses)
        self._optimizer.zero_grad()
        return output.detach() if measured else None

    def _apply(self, scale: Tensor | bool, samples: Tensor, updates: bool) -> Tensor | None:
        """What follows the sum over the parts: buffers, and the update; the penalty, if there is one."""
        self._exchange.apply_changes(samples._array)
        if not updates:
            penalty = self._penalty.measure()
        else:
            penalty = self._penalty.penalise(scale._array if isinstance(scale, Tensor) else None)
            self._clip()
            self._optimizer.step()
        return None if penalty is None else wrap(penalty)

    def check_soon(self) -> None:
        super().check_soon()
        self._updating.check_soon()
        self._in_one_pass.check_soon()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._batches, self._weight = state["batches"], state["weight"]
        if self.unfinished:
            self._prepare(True)
            self._exchange.load_gradients(parameters_of(self._optimizer), state["gradients"])


class CutMeasured(Measured):
    """Sums up batches of which each rank has a part; `logs` and `state_dict` are calls on all ranks."""

    def __init__(self, trainer: Training, link: str | None, source: CutArrays | CutBatches) -> None:
        super().__init__(trainer.loss, trainer.metrics, link)
        self._source = source
        self._counts: list[int] = []  # this rank's samples of each batch since the last `_gather`

    def add(
        self, value: float, output: Array | None, y: Array, weights: Array | None, penalty: float = 0.0
    ) -> float:
        share = self._source.share
        if self._metrics:
            self._counts.append(0 if output is None else len(y))
            if output is not None:
                self._add_output(output, y)
        return self._loss.add(value, share.weight, penalty)

    def _gather(self) -> None:
        """Put the outputs and targets of all ranks in the order of the batches."""
        if not self._metrics or world().size == 1:
            return
        before = len(self._predicted) - sum(count > 0 for count in self._counts)
        added = self._predicted[before:], self._true[before:]
        own = self._counts, *(np.concatenate(arrays) if arrays else None for arrays in added)
        shares = [part for part in gather_objects(own, "Trainer.fit") if part[1] is not None]
        if shares:
            batches = np.concatenate([np.repeat(np.arange(len(counts)), counts) for counts, *_ in shares])
            order = np.argsort(batches, kind="stable")  # ranks have neighbouring samples of a batch
            for mine, which in ((self._predicted, 1), (self._true, 2)):
                mine[before:] = [np.concatenate([part[which] for part in shares])[order]]
        self._counts = []

    def logs(self) -> dict[str, float]:
        self._gather()
        return super().logs()

    def state_dict(self) -> dict[str, Any]:
        self._gather()
        return super().state_dict()


class SharedEvaluator(Evaluator):
    """An Evaluator whose `measure` is a call on all ranks: the batches are dealt out to them in turn.

    What the model draws is put back, since each rank draws for its own batches.
    """

    def measure(self, source: Source) -> dict[str, float]:
        with random.fork_rng():
            return super().measure(source) if world().size == 1 else self._shared(source)

    def _shared(self, source: Source) -> dict[str, float]:
        require_whole(source, "Trainer.evaluate")
        here, trainer, link = world(), self._trainer, link_of(self._trainer.loss)
        penalty = self._penalty_now()
        evaluate = self._parts.of(trainer, "evaluate", self._evaluate, after=1)
        own, loaded = [], ""
        with evaluating(trainer.model, "Trainer.evaluate"):
            for number, (x, y, weights) in enumerate(source):
                loaded = "" if hasattr(source, "data") else mark(loaded, x, y, weights)
                if number % here.size != here.rank:
                    continue
                try:
                    loss, output = evaluate(x, y, *weighting(weights))
                except (TypeError, ValueError) as error:
                    raise_with_hint(error, trainer.model, link, x, y)
                values = None if output is None else output._array
                own.append((number, float(loss.item()), values, y, weights))
        measured = Measured(trainer.loss, trainer.metrics, link)
        held = mark(trainer.model.state_dict(), getattr(trainer.loss, "state_dict", dict)())
        about = {**source.description(), "all rows": rows_of(source), "weights and buffers": held}
        about["batches of the loader"] = loaded
        gathered = gather_objects((about, own), "Trainer.evaluate")
        for rank, (about, _) in enumerate(gathered):
            if about != gathered[0][0]:
                raise ValueError(
                    f"[Trainer.evaluate] got different data or weights, rank {rank} there and rank 0 here: "
                    f"{difference(about, gathered[0][0])}; expected the same on every rank"
                )
        everything = [one for _, part in gathered for one in part]
        for _, value, outputs, y, weights in sorted(everything, key=lambda one: one[0]):
            measured.add(value, outputs, y, weights, penalty)
        return measured.logs()
