"""DistributedRun: one `fit` on several processes."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import zlib
from typing import Any

import numpy as np

import ranvier._core as _core
import ranvier.nn as nn
from ranvier.autograd import random
from ranvier.communication.collectives import gather_objects, of_first
from ranvier.communication.meeting import meeting
from ranvier.train.callbacks.base import Callback
from ranvier.train.compiled import CompiledParts
from ranvier.train.description import difference
from ranvier.train.distributed.cut import Cut, require_ranks
from ranvier.train.distributed.measured import CutMeasured, SharedEvaluator
from ranvier.train.distributed.source import CutArrays, CutBatches, cut_source, require_whole
from ranvier.train.distributed.step import CutStep
from ranvier.train.evaluator import Evaluator
from ranvier.train.measured import Measured
from ranvier.train.nonfinite import Batch, NonFinite
from ranvier.train.protocol import Training
from ranvier.train.run import Run
from ranvier.train.source import Source

__all__ = ["DistributedRun"]

CALL = "Trainer.fit"


class DistributedRun(Run):
    """A Run of which every rank computes a part of each batch.

    All ranks make the same updates. Rank 0 writes files and lines: callbacks with `everywhere = False` are
    called there only.
    """

    source: CutArrays | CutBatches
    step: CutStep

    def __init__(
        self,
        trainer: Training,
        parts: CompiledParts,
        source: Source,
        valid: Source | None,
        hooks: list[Callback],
        epochs: int,
    ) -> None:
        self._world = here = require_ranks(trainer.shards, trainer.deterministic)
        shards = trainer.shards if trainer.deterministic else here.size
        cut = Cut(shards, here.rank, here.size)
        require_whole(source, CALL)
        require_whole(valid, CALL)
        super().__init__(trainer, parts, cut_source(source, cut, trainer.loss), valid, hooks, epochs)
        self.alone = here.size == 1
        self._nonfinite = _NonFinite(trainer, self.step)
        if here.rank:
            self._called = [hook for hook in hooks if hook.everywhere]

    def find(self, path: str | os.PathLike[str]) -> None:
        """Rank 0 reads the checkpoint, and the others get it."""
        if self._world.rank == 0:
            super().find(path)
        self._found = of_first(self._found, f"{CALL} resume")

    def go(self) -> None:
        self._require_same_run()
        self._begin_as_first()
        super().go()

    def _require_same_run(self) -> None:
        """Raise ValueError unless data, model and settings are the same on all ranks."""
        trainer, hooks = self.trainer, [type(hook).__name__ for hook in self.hooks if hook.everywhere]
        about = {
            **self._description,
            "last epoch": self.last,
            "compile": trainer.compile,
            "on_nonfinite": trainer.on_nonfinite,
            "trained": [name for name, p in trainer.model.named_parameters() if p.requires_grad],
            "settings of the loss": _settings(trainer.loss),
            "callbacks": hooks,
            "version": _core.__version__,
            "instruction set (RANVIER_ISA=x86-64-v3 lowers it)": _core.isa(),  # hosts may differ: other bits
            "winograd": _core.get_winograd(),
            "flush denormal": _core.get_flush_denormal(),
        }
        if any(isinstance(m, nn.parallel.DistributedDataParallel) for m in trainer.model.modules()):
            raise ValueError(
                f"[{CALL}] got a DistributedDataParallel with distributed=True; expected its module: "
                "the Trainer exchanges the gradients"
            )
        first, *others = gather_objects(about, CALL)
        for rank, theirs in enumerate(others, 1):
            for what, value in first.items():
                if theirs[what] != value:
                    raise ValueError(
                        f"[{CALL}] got different runs, rank {rank} there and rank 0 here: {what}: "
                        f"{difference(theirs[what], value)}; expected the same on every rank"
                    )

    def _begin_as_first(self) -> None:
        """Weights, optimizer's state and random numbers of rank 0, where others differ."""
        trainer = self.trainer
        modules = [m for m in (trainer.model, trainer.loss) if isinstance(m, nn.Module)]
        state = [m.state_dict() for m in modules], trainer.optimizer.state_dict(), random.get_rng_state()
        marks = gather_objects(_mark(state), f"{CALL} weights")
        if all(mark == marks[0] for mark in marks):
            return
        states, of_optimizer, of_random = of_first(state, f"{CALL} weights")
        for module, values in zip(modules, states, strict=True):
            module.load_state_dict(values)
        trainer.optimizer.load_state_dict(of_optimizer)
        random.set_rng_state(of_random)

    def _epoch_ended(self) -> None:
        """A callback of one rank can stop them all. The weights are compared."""
        if self.alone:
            return
        arrays = [p._array for p in self.trainer.model.parameters()]
        mark = functools.reduce(lambda mark, a: zlib.crc32(a.tobytes(), mark), arrays, 0)
        stops, marks = zip(*gather_objects((bool(self.trainer.stop_training), mark), CALL), strict=True)
        self.trainer.stop_training = any(stops)
        if len(set(marks)) > 1 and all(gather_objects(all(np.isfinite(a).all() for a in arrays), CALL)):
            others = [rank for rank, theirs in enumerate(marks) if theirs != marks[0]]
            raise ValueError(
                f"[{CALL}] got weights on rank {others[0]} that differ from those on rank 0 after epoch "
                f"{self.epoch}; expected the same changes on every rank, in callbacks too"
            )

    def state_dict(self) -> dict[str, Any]:
        if self._world.rank == 0:
            return super().state_dict()
        self._nonfinite.parameters()
        self._measured.state_dict()  # gathers
        return {"epoch": self.epoch, "batch": self.batch}

    # --- what differs

    def _new_step(self, trainer: Training, parts: CompiledParts) -> CutStep:
        def make() -> CutStep:
            return CutStep(trainer, parts, self._world, trainer.deterministic)

        step: CutStep = parts.kept(trainer, "distributed step", make)
        step.begin(self.source)
        return step

    def _new_evaluator(self, trainer: Training, parts: CompiledParts) -> Evaluator:
        return SharedEvaluator(trainer, parts)

    def _samples_of(self, x: Any) -> int:
        return self.source.share.samples

    def _new_measured(self) -> Measured:
        return CutMeasured(self.trainer, self._link, self.source)


class _NonFinite(NonFinite):
    """The rank whose part of the loss is not finite finds the layer."""

    def __init__(self, trainer: Training, step: CutStep) -> None:
        super().__init__(trainer)
        self._step = step

    def _cause(self, batch: Batch, value: float) -> tuple[str | None, str]:
        found = None
        if math.isfinite(value) or not self._step.finite:
            with meeting(None):  # one rank alone looks for it
                found = super()._cause(batch, value)
        causes = gather_objects(found, f"{CALL} loss that is not finite")
        return next((cause for cause in causes if cause is not None), (None, "the sum over the parts is not"))


def _settings(loss: Any) -> Any:
    """The plain settings of a loss module."""
    found = vars(loss) if isinstance(loss, nn.Module) else {}
    return {name: value for name, value in found.items() if isinstance(value, (bool, int, float, str))}


def _mark(state: Any) -> str:
    """A hash of nested containers of arrays and plain values."""
    found = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(str(key))
                add(inner)
        elif isinstance(value, (list, tuple)):
            found.update(f"{len(value)}:".encode())
            for inner in value:
                add(inner)
        else:
            array = getattr(value, "_array", value)
            plain = isinstance(array, np.ndarray)
            found.update(np.ascontiguousarray(array).tobytes() if plain else repr(array).encode())

    add(state)
    return found.hexdigest()
