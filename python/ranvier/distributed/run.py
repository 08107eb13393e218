"""`DistributedRun`: what differs in a `fit` of a Trainer on several processes.

Each rank computes a part of every batch (`reduction.py`) and makes the same update. Data, model, settings and
random streams are compared between ranks at the beginning and after epochs; a difference is an error.
"""

from __future__ import annotations

import functools
import math
import os
import re
import threading
from typing import Any

import numpy as np

import ranvier._core as _core
import ranvier.nn as nn
from ranvier.autograd import Tensor, bump
from ranvier.distributed.batch_shares import Cut, CutSource, cut_source, require_ranks, require_whole, rows_of
from ranvier.distributed.collectives import gather_objects, mark, of_first, require_equal, with_marks
from ranvier.distributed.job import world
from ranvier.distributed.ranks import agree
from ranvier.distributed.reduction import Reduce
from ranvier.distributed.sync_norm import meeting
from ranvier.nn.modes import evaluating
from ranvier.ops.making import philox, random
from ranvier.tape import hooks
from ranvier.tensors.memory import Array
from ranvier.train import Callback
from ranvier.train.batch_source import Source
from ranvier.train.callbacks.base import Training
from ranvier.train.compiled_parts import CompiledParts
from ranvier.train.evaluator import Evaluator, Measured
from ranvier.train.nonfinite import Batch, NonFinite
from ranvier.train.run import Run
from ranvier.train.step import TrainingStep


class CutMeasured(Measured):
    """The measured values of an epoch, where each rank has a part of every batch.

    `logs` and `state_dict` gather the outputs of all ranks, so every rank has to call them.
    """

    _gathered = 0  # the number of batches whose outputs were gathered from all ranks

    def add(
        self, value: float, output: Array | None, y: Array, weights: Array | None, penalty: float = 0.0
    ) -> float:
        if self._metrics and output is None:  # this rank has no samples
            self._predicted.append(y[:0])
            self._true.append(y[:0])
        return super().add(value, output, y, weights, penalty)

    def _gather(self) -> None:
        """Join the outputs and targets of all ranks, for each batch that was added since the last call."""
        first = self._gathered
        if self._metrics and world().size > 1:
            new = self._predicted[first:], self._true[first:]
            of_ranks = gather_objects(new, "Trainer.fit")
            # lists: of each rank, its parts of the new batches; parts: of one batch, those of all ranks
            for mine, lists in zip((self._predicted, self._true), zip(*of_ranks, strict=True), strict=True):
                joined = []
                for parts in zip(*lists, strict=True):
                    filled = [part for part in parts if len(part)]
                    joined.append(np.concatenate(filled))
                mine[first:] = joined
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
    """An Evaluator whose `measure` every rank calls: batch i is evaluated by rank i % size.

    The state of the random generator is restored afterwards, because each rank draws for its own batches
    only.
    """

    def measure(self, source: Source) -> dict[str, float]:
        with random.fork_rng():
            if world().size == 1:
                return super().measure(source)
            return self._shared(source)

    def _shared(self, source: Source) -> dict[str, float]:
        """Evaluate with the batches divided among the ranks; all ranks return the same values."""
        require_whole(source, "Trainer.evaluate")
        here = world()
        trainer = self._trainer
        measured, penalty, evaluate = self._begin(source, at_second_call=True)
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
        batches: dict[int, Any] = {}
        for _, of_rank in told:
            batches |= of_rank
        for number in sorted(batches):
            loss, output, y, weights = batches[number]
            measured.add(loss, output, y, weights, penalty)
        return measured.logs()


CALL = "Trainer.fit"


# What a resumed run compares, and ranks do not: they take rates and buffers of rank 0, and compare layers,
# attributes and trained parameters in their own way.
_OF_RESUMED_RUNS = ("frozen parameters", "settings of the model", "settings of the optimizer")


class DistributedRun(Run):
    """A Run in which every rank computes a part of each batch, and all ranks make the same updates.

    Rank 0 writes files and prints: callbacks with `everywhere = False` are called on this rank only.
    """

    source: CutSource

    def __init__(self, trainer: Training, parts: CompiledParts, source: Source, *rest: Any) -> None:
        """rest: valid, hooks and epochs, as Run takes them."""
        self._world = here = require_ranks(trainer.shards, trainer.deterministic)
        shards = trainer.shards if trainer.deterministic else here.size
        cut = Cut(shards, here.rank, here.size)
        require_whole(source, CALL)
        require_whole(rest[0], CALL)
        super().__init__(trainer, parts, cut_source(source, cut, trainer.loss), *rest)
        self.alone = here.size == 1
        self._between = True  # ranks agree after each epoch (`_epoch_ended`)
        self._nonfinite = _NonFinite(trainer, self._reduce)
        self._stopped: bool | None = None  # what all ranks agreed on; None before the first epoch
        self._drawn: Any = None  # the state of the random stream after the batches of the last epoch
        aside = random.Generator().manual_seed(philox.mixed(random.initial_seed(), 1))
        called: list[Any] = []
        for hook in rest[1]:
            if hook.everywhere:
                called.append(hook)
            elif here.rank == 0:
                called.append(_Alone(hook, aside))
        self._called = called

    def find(self, path: str | os.PathLike[str]) -> None:
        """Rank 0 reads the checkpoint, and the other ranks get it from there."""
        if self._world.rank == 0:
            super().find(path)
        self._resumed = of_first(self._resumed, f"{CALL} resume")

    def go(self) -> None:
        """Compare the ranks, then run.

        Raises ValueError if data, model or settings differ. Weights, the optimizer's state and the random
        stream may differ: all ranks take those of rank 0.
        """
        trainer = self.trainer
        facts = {name: fact for name, fact in self._description.items() if name not in _OF_RESUMED_RUNS}
        about = {
            **facts,
            "last epoch": self.last,
            "compile": trainer.compile,
            "on_nonfinite": trainer.on_nonfinite,
            "trained": [name for name, p in trainer.model.named_parameters() if p.requires_grad],
            "settings of the loss": _settings(trainer.loss),
            **_forms(trainer),
            # Later, the attributes also hold what a forward pass has kept.
            "attributes": {} if self.first else _attributes(trainer),
            "all rows": {} if self.alone else rows_of(self.source),
            "all rows of the validation data": {} if self.alone else rows_of(self.valid),
            "callbacks": [type(hook).__name__ for hook in self.hooks if hook.everywhere],
            "version": _core.__version__,
            # Hosts with another instruction set compute other bits.
            "instruction set (RANVIER_ISA=x86-64-v3 lowers it)": _core.isa(),
            "winograd": _core.get_winograd(),
            "precision of products": (_core.current_precision(), _core.bfloat16()),
        }
        if any(isinstance(m, nn.parallel.DistributedDataParallel) for m in trainer.model.modules()):
            raise ValueError(
                f"[{CALL}] got a DistributedDataParallel with distributed=True; expected its module: "
                "the Trainer exchanges the gradients"
            )
        held = [t for m in _modules(trainer) for t in (*m.parameters(), *m.buffers())]
        state = [t._array for t in held], trainer.optimizer.state_dict(), random.current().plain_state()
        if not self._agree(CALL, about, *state):
            require_equal(gather_objects(about, CALL), CALL, "runs")
            arrays, state, stream = of_first(state, f"{CALL} weights")
            for tensor, values in zip(held, arrays, strict=True):
                tensor._array[...] = values
                bump(tensor)
            trainer.optimizer.load_state_dict(state)
            random.set_rng_state(stream)
        super().go()

    def _agree(self, call: str, *things: Any) -> bool:
        """True if all ranks have things with the same hash (`collectives.mark`)."""
        return self.alone or agree(self._world, call, mark=mark(*things))

    def _train_epoch(self) -> None:
        """One epoch, with rank 0's stream, since a callback may have drawn random numbers on one rank."""
        stream = random.current().plain_state()
        if not self._agree(f"{CALL} random numbers", stream):
            random.set_rng_state(of_first(stream, CALL))
        # With `divides` a rank updates only a part of the weights: what the program's code changes in the
        # others would be lost.
        self._reduce.divides = self._is_left_alone()
        super()._train_epoch()
        self._drawn = random.current().plain_state()

    def _epoch_ended(self) -> None:
        """Agree whether to stop, as a callback of one rank may ask, and compare the state of the ranks.

        The state is compared at the end, and if code of the program may have run in the epoch. Code of this
        library alone does the same on all ranks.
        """
        if self.alone:
            return
        trainer = self.trainer
        self._stopped = stops = bool(trainer.stop_training)
        left_alone = not stops and self.epoch < self.last and self._is_left_alone()
        about = None if left_alone else self._after_epoch(left_alone)
        if self._agree_after_epoch(stops, about):
            return
        if about is None:
            about = self._after_epoch(left_alone)
        parameters = [p for module in _modules(trainer) for p in module.parameters()]
        finite = all(np.isfinite(p._array).all() for p in parameters)
        told = gather_objects((stops, finite, with_marks(about)), CALL)
        self._stopped = any(stops for stops, *_ in told)
        trainer.stop_training = trainer.stop_training or self._stopped
        others = [theirs for *_, theirs in told]
        # only arrays that every rank has hashed: an array may be read-only on some ranks
        found = set.intersection(*(set(theirs["all rows"]) for theirs in others))
        for theirs in others:
            theirs["all rows"] = {name: theirs["all rows"][name] for name in found}
        if all(finite for _, finite, _ in told):
            require_equal(others, CALL, f"runs after epoch {self.epoch}")

    def _agree_after_epoch(self, stops: bool, about: dict[str, Any] | None) -> bool:
        """True if all ranks are left alone, or none is and all have the same `stops` and state.

        about: the state (`_after_epoch`); None on a rank that is left alone, which sends a constant in its
        place and so hashes nothing. Each rank makes this one exchange. If only some are left alone, no rank
        agrees, and all gather their states.
        """
        call = f"{CALL} epoch"
        if about is None:
            return self._agree(call, "left alone")
        return self._agree(call, stops, about)

    def _after_epoch(self, left_alone: bool) -> dict[str, Any]:
        """The state that ranks compare after an epoch.

        left_alone: then without the data, which only code of the program can have changed.
        """
        trainer = self.trainer
        modules = _modules(trainer)
        return {
            "weights": {name: p for m in modules for name, p in m.named_parameters()},
            "buffers": {name: b for m in modules for name, b in m.named_buffers()},
            **_forms(trainer),
            "optimizer": trainer.optimizer.state_dict(),
            "settings": trainer.settings(),
            "all rows": {} if left_alone else rows_of(self.source, begins=False),
            "random numbers that were drawn": self._drawn,
        }

    def _is_stopped(self) -> bool:
        """Whether training stops, as all ranks agreed.

        A signal handler may set the flag of one rank at any time; this counts from the next agreement on.
        """
        if self.alone:
            return super()._is_stopped()
        if self._stopped is None:
            stops = bool(self.trainer.stop_training)
            self._stopped = not self._agree(f"{CALL} begin", stops) or stops
            self.trainer.stop_training = self._stopped
        return self._stopped

    def _is_left_alone(self) -> bool:
        """True if only this library's code runs in an epoch."""
        trainer = self.trainer
        layers = [layer for module in _modules(trainer) for layer in module.modules()]
        hooked = any(hooks.TABLES) or any(m._rv_hooks for m in layers)
        if hooked or trainer.metrics or any(hook.every_epoch for hook in self.hooks):
            return False
        things = (*layers, trainer.loss, trainer.optimizer, *self.hooks)
        return threading.active_count() == 1 and all(map(_is_own, things))

    def state_dict(self) -> dict[str, Any]:
        if self._world.rank == 0:
            return super().state_dict()
        self._nonfinite.parameters()
        self._measured.state_dict()  # It gathers, and every rank has to take part; the result is not used.
        return {"epoch": self.epoch, "batch": self.batch}

    # --- what differs

    def _new_step(self, trainer: Training, parts: CompiledParts) -> TrainingStep:
        make = functools.partial(Reduce, trainer, parts, self._world)
        self._reduce: Reduce = parts.kept(trainer, "reduce", make)
        self._reduce.begin(self.source)
        return self._reduce.step

    def _new_evaluator(self, trainer: Training, parts: CompiledParts) -> Evaluator:
        return SharedEvaluator(trainer, parts)

    def _new_measured(self) -> Measured:
        return CutMeasured(self.trainer.loss, self.trainer.metrics, self._link, self.source)


class _NonFinite(NonFinite):
    """Finds the cause of a loss that is not finite, on the ranks whose part of the loss is not finite.

    If the loss is finite, the penalty is not: every rank finds this cause.
    """

    def __init__(self, trainer: Training, reduce: Reduce) -> None:
        super().__init__(trainer)
        self._reduce = reduce

    def _cause(self, batch: Batch, value: float) -> tuple[str | None, str]:
        own = None
        if math.isfinite(value) or not self._reduce.finite:
            with meeting(None):  # One rank looks for the cause alone, so no layer may wait for other ranks.
                own = super()._cause(batch, value)
        causes = gather_objects(own, f"{CALL} loss that is not finite")
        names = [name for name, _ in self._trainer.model.named_modules()]
        found = [cause for cause in causes if cause is not None]

        def position(cause: tuple[str | None, str]) -> int:
            """The number of the cause's layer in `names`; a cause without a layer comes first."""
            layer, _ = cause
            if layer in names:
                return names.index(layer)
            return -1

        if found:
            return min(found, key=position)
        return (None, "the sum over the parts is not")


class _Alone:
    """A callback of rank 0.

    It draws from its own random stream, so that the streams of all ranks stay equal.
    """

    everywhere = False

    def __init__(self, hook: Callback, stream: random.Generator) -> None:
        self._hook = hook
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._hook, name)

        def call(*args: Any) -> Any:
            with random.using(self._stream):
                return method(*args)

        if callable(method):
            return call
        return method


def _modules(trainer: Training) -> list[nn.Module]:
    """The model, and the loss if it is a module."""
    return [m for m in (trainer.model, trainer.loss) if isinstance(m, nn.Module)]


def _is_own(thing: Any) -> bool:
    """True for an object whose class, and whose `forward`, is this library's."""
    return type(thing).__module__.startswith("ranvier.") and "forward" not in vars(thing)


def _forms(trainer: Training) -> dict[str, Any]:
    """Texts about model and loss, to compare ranks: layers with settings and modes, tensors, hooks."""
    layers = []
    tensors = []
    hooked = []
    for module in _modules(trainer):
        layers += re.sub(r" at 0x[0-9a-f]+", "", repr(module)).split("\n")
        for name, layer in module.named_modules():
            layers.append(f"{name} training={layer.training}{' forward' * ('forward' in vars(layer))}")
            kinds = {} if layer._rv_hooks is None else vars(layer._rv_hooks)
            hooked += [f"{kind} of {name or 'the model'}: {_named(of)}" for kind, of in kinds.items() if of]
        for name, t in (*module.named_parameters(), *module.named_buffers()):
            tensors.append(f"{name} {t.dtype} {tuple(t.shape)} requires_grad={t.requires_grad}")
            hooked += [f"of {name}: {_named(of_leaf)}" for of_leaf in hooks.hooks_of(t)]
    return {"layers": layers, "tensors": tensors, "hooks": hooked}


def _attributes(trainer: Training) -> dict[str, Any]:
    """Floats, and hashes of arrays, in attributes of modules that are neither parameters nor buffers."""
    kinds = (np.ndarray, Tensor, list, tuple)
    found: dict[str, Any] = {}
    for model in _modules(trainer):
        for name, module in model.named_modules():
            for key, value in vars(module).items():
                if key.startswith("_") or key in module._parameters or key in module._buffers:
                    continue
                if isinstance(value, float):
                    found[f"{name}.{key}"] = value
                elif isinstance(value, kinds):
                    found[f"{name}.{key}"] = mark(value)
    return found


def _named(of_kind: Any) -> str:
    """The names of the hooks of one kind."""
    functions = [hook[0] if isinstance(hook, tuple) else hook for hook in of_kind.values()]
    return " ".join(getattr(f, "__qualname__", type(f).__qualname__) for f in functions)


def _settings(loss: Any) -> Any:
    """A loss module's plain attributes and hashes of its buffers; of a function, a hash of its values."""
    if isinstance(loss, nn.Module):
        plain = (bool, int, float, str)
        settings = {name: value for name, value in vars(loss).items() if isinstance(value, plain)}
        return settings | {name: mark(buffer) for name, buffer in loss.named_buffers()}
    cells = [cell.cell_contents for cell in getattr(loss, "__closure__", None) or ()]
    held = [getattr(loss, name, None) for name in ("__defaults__", "__kwdefaults__", "args", "keywords")]
    return mark(cells, held)
