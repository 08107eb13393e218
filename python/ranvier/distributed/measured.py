"""Losses and outputs of all ranks, in the order of one process."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.autograd import random
from ranvier.distributed.collectives import gather_objects
from ranvier.distributed.equal import mark
from ranvier.distributed.member import World
from ranvier.distributed.source import CutSource, require_whole, rows_of
from ranvier.distributed.world import world
from ranvier.nn.modes import evaluating
from ranvier.train.callbacks.base import Training
from ranvier.train.compiled import CompiledParts
from ranvier.train.evaluator import Evaluator, Measured
from ranvier.train.hints import raise_with_hint
from ranvier.train.losses import link_of, weighting
from ranvier.train.saving import difference
from ranvier.train.source import Source

__all__ = ["CutMeasured", "SharedEvaluator"]

Array = npt.NDArray[Any]


class CutMeasured(Measured):
    """Sums up batches of which each rank has a part; `logs` and `state_dict` are calls on all ranks."""

    def __init__(self, trainer: Training, link: str | None, source: CutSource) -> None:
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
        own = self._counts, _joined(self._predicted[before:]), _joined(self._true[before:])
        parts = [part for part in gather_objects(own, "Trainer.fit") if part[1] is not None]
        if parts:
            batches = np.concatenate([np.repeat(np.arange(len(counts)), counts) for counts, *_ in parts])
            order = np.argsort(batches, kind="stable")  # ranks have neighbouring samples of a batch
            for mine, which in ((self._predicted, 1), (self._true, 2)):
                mine[before:] = [np.concatenate([part[which] for part in parts])[order]]
        self._counts = []

    def logs(self) -> dict[str, float]:
        self._gather()
        return super().logs()

    def state_dict(self) -> dict[str, Any]:
        self._gather()
        return super().state_dict()


def _joined(parts: list[Array]) -> Array | None:
    return np.concatenate(parts) if parts else None


class SharedEvaluator(Evaluator):
    """An Evaluator whose `measure` is a call on all ranks: the batches are dealt out to them in turn.

    What the model draws is put back, since each rank draws for its own batches.
    """

    def __init__(self, trainer: Training, parts: CompiledParts) -> None:
        super().__init__(trainer, parts)
        self._world: World = world()

    def measure(self, source: Source) -> dict[str, float]:
        with random.fork_rng():
            return super().measure(source) if self._world.size == 1 else self._shared(source)

    def _shared(self, source: Source) -> dict[str, float]:
        require_whole(source, "Trainer.evaluate")
        trainer, link = self._trainer, link_of(self._trainer.loss)
        penalty = self._penalty_now()
        evaluate = self._parts.of(trainer, "evaluate", self._evaluate, after=1)
        own, loaded = [], ""
        with evaluating(trainer.model, "Trainer.evaluate"):
            for number, (x, y, weights) in enumerate(source):
                loaded = "" if hasattr(source, "data") else mark(loaded, x, y, weights)
                if number % self._world.size != self._world.rank:
                    continue
                try:
                    loss, output = evaluate(x, y, *weighting(weights))
                except (TypeError, ValueError) as error:
                    raise_with_hint(error, trainer.model, link, x, y)
                own.append(
                    (number, float(loss.item()), None if output is None else output._array, y, weights)
                )
        measured = Measured(trainer.loss, trainer.metrics, link)
        about = {**source.description(), "all rows": rows_of(source), "batches of the loader": loaded}
        gathered = gather_objects((about, own), "Trainer.evaluate")
        for rank, (about, _) in enumerate(gathered):
            if about != gathered[0][0]:
                raise ValueError(
                    f"[Trainer.evaluate] got different data, rank {rank} there and rank 0 here: "
                    f"{difference(about, gathered[0][0])}; expected the same on every rank"
                )
        everything = [one for _, part in gathered for one in part]
        for _, value, found, y, weights in sorted(everything, key=lambda one: one[0]):
            measured.add(value, found, y, weights, penalty)
        return measured.logs()
