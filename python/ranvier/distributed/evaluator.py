"""What an epoch reports, and `Trainer.evaluate`, on several processes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.autograd import random
from ranvier.autograd.memory import Array
from ranvier.distributed.batches import require_whole, rows_of
from ranvier.distributed.collectives import gather_objects, mark, require_equal
from ranvier.distributed.job import world
from ranvier.nn.modes import evaluating
from ranvier.train.evaluator import Evaluator, Measured
from ranvier.train.source import Source

__all__ = ["CutMeasured", "SharedEvaluator"]


class CutMeasured(Measured):
    """Sums up batches of which each rank has a part; `logs` and `state_dict` are calls on all ranks."""

    _gathered = 0  # batches whose outputs are those of all ranks

    def add(
        self, value: float, output: Array | None, y: Array, weights: Array | None, penalty: float = 0.0
    ) -> float:
        if self._metrics and output is None:  # this rank has no samples
            self._predicted.append(y[:0])
            self._true.append(y[:0])
        return super().add(value, output, y, weights, penalty)

    def _gather(self) -> None:
        """Put the outputs and targets of all ranks in the order of the batches."""
        first = self._gathered
        if self._metrics and world().size > 1:
            new = self._predicted[first:], self._true[first:]
            of_ranks = gather_objects(new, "Trainer.fit")
            for mine, lists in zip((self._predicted, self._true), zip(*of_ranks, strict=True), strict=True):
                batches = zip(*lists, strict=True)
                mine[first:] = [np.concatenate([part for part in parts if len(part)]) for parts in batches]
        self._gathered = len(self._predicted)

    def logs(self) -> dict[str, float]:
        self._gather()
        return super().logs()

    def state_dict(self) -> dict[str, Any]:
        self._gather()
        return super().state_dict()

    def load_state_dict(self, state: Any) -> None:
        super().load_state_dict(state)
        self._gathered = len(self._predicted)


class SharedEvaluator(Evaluator):
    """An Evaluator whose `measure` is a call on all ranks: the batches are dealt out to them in turn.

    What the model draws is put back, since each rank draws for its own batches.
    """

    def measure(self, source: Source) -> dict[str, float]:
        with random.fork_rng():
            return super().measure(source) if world().size == 1 else self._shared(source)

    def _shared(self, source: Source) -> dict[str, float]:
        require_whole(source, "Trainer.evaluate")
        here, trainer = world(), self._trainer
        measured, penalty, evaluate = self._begin(source, after=1)
        own: dict[int, Any] = {}
        loaded = ""
        with evaluating(trainer.model, "Trainer.evaluate"):
            for number, batch in enumerate(source):
                loaded = "" if hasattr(source, "data") else mark(loaded, *batch)
                if number % here.size == here.rank:
                    own[number] = self._one(evaluate, *batch)
        held = mark(trainer.model.state_dict(), getattr(trainer.loss, "state_dict", dict)())
        about = {**source.description(), "all rows": rows_of(source), "weights and buffers": held}
        about["batches of the loader"] = loaded
        told = gather_objects((about, own), "Trainer.evaluate")
        require_equal([about for about, _ in told], "Trainer.evaluate", "data or weights")
        batches = {number: one for _, part in told for number, one in part.items()}
        for number in sorted(batches):
            loss, output, y, weights = batches[number]
            measured.add(loss, output, y, weights, penalty)
        return measured.logs()
