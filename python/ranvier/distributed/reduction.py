"""`Reduce`: loss and gradients of a batch on several processes, for the step of a Trainer.

A batch is cut into parts, and each rank computes some of them (`batch_shares.py`). Sums over the parts are
added along a binary tree, so the result has the same bits with any number of ranks. `Gradients`
(`exchange.py`) has a vector for each level of the tree, and `place` says to which level a part is added.

The parts are computed one after another. If no row of the model's output depends on another row of the batch,
a rank computes all its parts in one pass: the layers take all rows at once, since a row of a product has
the same bits in any batch. Only sums over rows (the loss, gradients of weights) are added part by part.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import ranvier._core as _core
import ranvier.nn as nn
import ranvier.ops as ops
from ranvier.autograd import Tensor, wrap
from ranvier.compile.many_calls import Call, replayed
from ranvier.distributed.batch_shares import CutSource
from ranvier.distributed.exchange import Changes, Gradients, along_tree
from ranvier.distributed.parallel import SyncBatchNorm
from ranvier.distributed.ranks import World
from ranvier.distributed.sync_norm import Parts, of_ranks
from ranvier.ops.activation.table import TABLE
from ranvier.ops.making import philox, random
from ranvier.ops.matrix.linear import Linear
from ranvier.optim import LBFGS
from ranvier.tape import hooks
from ranvier.tensors.memory import Array, cast
from ranvier.train.batch_source import Ahead
from ranvier.train.callbacks.base import Training
from ranvier.train.compiled_parts import CompiledParts
from ranvier.train.losses import summed, weighting
from ranvier.train.step import TrainingStep, parameters_of

# When `_core.matmul` adds the products of parts itself (`_ByParts.backward`):
_PARTS = 64  # the most parts: kMostParts of cpp/kernels/matmul
_CHAIN = 384  # the most rows of a part: one block (kc) of the kernel, which adds them in order
_DOTS = 4  # with at most so many rows or columns the kernel may choose a dot product, which has other bits
# Layers that compute each element of the output from the same element of the input.
ops.load_layers()  # with the activations, which fill their table
_BY_ELEMENT = {nn.Identity, *(getattr(nn, row.layer) for row in TABLE.values())}


def is_by_row(model: Any, loss: Any, x: Array, trained: Sequence[Any]) -> bool:
    """True if all parts of a rank may be computed in one pass (see the head of this file).

    The model has to be a Sequential of Linear, Flatten and activations without hooks that takes x, and
    `trained` its parameters. The loss has to be one of the library, without parameters.
    """
    if not type(loss).__module__.startswith("ranvier.nn.loss") or [*loss.parameters()]:
        return False
    features = -1 if x.ndim != 2 else x.shape[1]
    parameters = []
    for layer in _layers(model):
        kind = type(layer)
        if layer._rv_hooks is not None or "forward" in vars(layer):
            return False
        if kind is nn.Linear and features == layer.in_features and layer.weight.dtype == x.dtype:
            features = layer.out_features
            parameters += [p for p in (layer.weight, layer.bias) if p is not None and p.requires_grad]
        elif kind is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1) and x.ndim > 1:
            if features < 0:
                features = math.prod(x.shape[1:])
        elif kind not in _BY_ELEMENT:
            return False
    # `_ByParts` writes each gradient to its own array: no parameter is used twice, all trained ones are here.
    ids = [id(p) for p in parameters]
    if any(map(hooks.hooks_of, parameters)):
        return False
    return len({*ids}) == len(ids) > 0 and {*ids} == {id(p) for p in trained}


def _layers(model: Any) -> Iterator[Any]:
    """The layers of nested Sequentials, in order. A module of another class counts as one layer."""
    if type(model) is nn.Sequential and model._rv_hooks is None and "forward" not in vars(model):
        for layer in model:
            yield from _layers(layer)
    else:
        yield model


def output_of(model: Any, x: Tensor, bounds: Sequence[tuple[int, int]], sums: dict[int, Array]) -> Tensor:
    """The output for the rows of all parts; bounds: (begin, end) of each part.

    sums: id of a parameter -> the array to which backward writes its gradient.
    """
    for layer in _layers(model):
        if type(layer) is nn.Linear:
            x = _ByParts(bounds, sums, layer).apply(x, layer.weight, layer.bias)
        else:
            x = layer(x)
    return x


class _ByParts(Linear):
    """Linear whose backward returns dx only. Gradients of W and b, added part by part, go to `sums`."""

    def __init__(self, bounds: Sequence[tuple[int, int]], sums: dict[int, Array], layer: Any) -> None:
        self.bounds = bounds
        self.into = sums.get(id(layer.weight)), sums.get(id(layer.bias))

    def backward(self, dy: Any, f: Any = None) -> Any:
        x = self.x
        dw, db = self.into
        if self.needs[0]:
            dx = _core.matmul(dy, self.weight, None, "none", None)
        else:
            dx = None
        if dw is not None:
            sizes = {b - a for a, b in self.bounds}
            # The kernel takes parts of one size, and does not round their factors. At a lower precision, the
            # product of a part alone may.
            even = len(sizes) == 1 and max(sizes) <= _CHAIN and 1 < len(self.bounds) <= _PARTS
            if even and min(dw.shape) > _DOTS and not _core.current_precision():
                _core.matmul(dy.T, x, None, "none", dw, None, len(self.bounds))
            else:
                self._sum(lambda a, b, out: _core.matmul(dy[a:b].T, x[a:b], None, "none", out), dw)
        if db is not None:
            self._sum(lambda a, b, out: _core.sum(dy[a:b], 0, False, out), db)
        return dx, None, None

    def _sum(self, part: Callable[[int, int, Array | None], Array], out: Array) -> None:
        along_tree([lambda out, a=a, b=b: part(a, b, out) for a, b in self.bounds], out)  # type: ignore[misc]


def place(number: int) -> tuple[int, int, int]:
    """Where the gradients of part `number` go in the sum along a binary tree, if parts come in order.

    Returns (level, added, joins): the level; 1 if they are added to the values there, else 0; and how many
    levels are added afterwards, each to the one before it. The docstring of `exchange.Gradients` has a table.
    """
    pair = number >> 1
    added = number & 1
    return pair.bit_count(), added, (((pair + 1) & ~pair).bit_length() - 1) * added


class Reduce:
    """Computes this rank's parts of a batch, one after another or in one pass, and sums over parts and ranks.

    It is kept from one `fit` to the next with its step, whose compiled programs use its buffers.

    Attributes:
        step: the Trainer's step, which takes its loss and gradients from this object.
        finite: whether the losses of this rank's parts were finite.
        divides: whether each rank may update only a part of the weights and get the rest from other ranks.
            False if code of the program runs between updates, whose change on one rank would be overwritten.
    """

    # The attributes that the compiled methods depend on (compile/guarding/library_guards.py).
    step_state = ("step", "_sums")

    def __init__(self, trainer: Training, parts: CompiledParts, world: World) -> None:
        if isinstance(trainer.optimizer, LBFGS):
            raise ValueError(
                "[Trainer] got distributed=True with LBFGS, which evaluates a batch several times; expected "
                "another optimizer"
            )
        self._trainer = trainer
        self._world = world
        self.step = TrainingStep(trainer, parts, self)
        self._updating = parts.of(trainer, "update", self.update, eager=self.step.own)
        self._in_one_pass = parts.of(trainer, "pass", self.all_parts, eager=self.step.own)
        self._stream = random.Generator()
        self._layout: list[Any] = []
        self._buffers: list[Any] = []  # of the model, as they are in this step
        self._sums: list[Gradients] = []  # one for each dtype
        self.finite = True
        self.divides = False

    def begin(self, source: CutSource) -> None:
        """Take the batches of this source from now on."""
        self.source = source
        self.step.begin(source)
        synced = any(isinstance(m, SyncBatchNorm) for m in self._trainer.model.modules())
        self._synced = synced and source.cut.shards > 1
        if self._synced:
            self.step.compiled.refuse("SyncBatchNorm exchanges statistics within a step")

    def __call__(
        self,
        x: Array,
        y: Array,
        weights: Array | None,
        share: Array | bool,
        scale: Array | bool,
        first: bool,
        updates: bool,
    ) -> tuple[Array, Tensor | None, Tensor | None]:
        """A step: the loss of the batch, this rank's outputs if a metric needs them, and the penalty.

        share, scale, first, updates: as in TrainingStep.
        """
        self._prepare(first)
        key = random.current().next_key()
        of_batch = self.source.share
        # alone: the update has one batch. Otherwise sums over its batches are added undivided.
        alone = isinstance(share, bool)
        total = of_batch.weight or 1.0 if alone else 1.0
        if self._is_one_pass(x, weights):
            output = self._in_one_pass(x, y, *self._shares(total), bool(self._trainer.metrics))
        else:
            outputs = self._one_after_another(x, y, weights, total, key)
            output = ops.cat(outputs) if outputs else None
        loss = self._sums[0].loss
        counts = self._sums[0].counts
        self.finite = math.isfinite(loss[0])
        counts[-1] = self._changes.changed  # after `add`: on how many ranks, so that all see the same below
        for sums in self._sums:
            sums.sum.add()
            sums.take(sums.counts)
        self._sums[0].of_size[of_batch.samples] = counts.copy()
        if counts[-1]:
            self._changes.reduce(of_batch.samples, not self.step.careful or math.isfinite(loss[0]))
        divisor = 1.0 if alone else share or 1.0
        value = np.float64(loss[0]) / divisor
        return value, output, self._updating(scale, updates)

    def update(self, scale: Tensor | bool, updates: bool) -> Tensor | None:
        """The step after the sums: clipping, penalty and the update. It is compiled."""
        return self.step.after(wrap(self._sums[0].loss), scale, updates)

    def _prepare(self, first: bool) -> None:
        """Make the sums, if the model has other parameters or buffers than before, and set all gradients to
        None.

        first: the batch is the first of its update.
        """
        self._buffers = list(self._trainer.model.buffers())
        parameters = parameters_of(self._trainer.optimizer)
        trained = [p for p in parameters if p._requires_grad]
        layout = [*trained, None, *self._buffers]
        if len(layout) != len(self._layout) or any(a is not b for a, b in zip(layout, self._layout)):  # noqa: B905
            parts = len(self.source.cut.own)
            deterministic = self._trainer.deterministic
            about = self._world, trained
            dtypes = {p._array.dtype: None for p in trained}
            self._sums = [Gradients(*about, dtype, parts, deterministic) for dtype in dtypes]
            self._changes = Changes(self._world, self._buffers, parts, deterministic)
            self._layout = layout
        for sums in self._sums:
            sums.begin(first)
        for p in parameters:
            p._grad = None
        self._changes.begin()

    # --- one part after another

    def _one_after_another(self, x: Array, y: Array, weights: Array | None, total: float, key: int) -> Any:
        """Computes this rank's parts one by one; returns their outputs if a metric needs them.

        total: the weight of the batch, by which losses are divided.
        key: the key of the batch's random numbers; each part has a key of its own.

        If the model has SyncBatchNorm, the parts run interleaved (`sync_norm.Parts`).
        """
        share = self.source.share
        outputs = []

        def compute(number: int) -> None:
            part, begin, end = share.parts[number]
            if begin == end:
                for sums in self._sums:
                    sums.empty(*place(number))
            else:
                own_weights = None if weights is None else weights[begin:end]
                counts = self._changes.counts()
                own_key = philox.mixed(key, part)
                output = self._part(x[begin:end], y[begin:end], own_weights, total, own_key, *place(number))
                if output is not None:
                    outputs.append(output)
                self._changes.take(number, counts, end - begin, share.samples)

        numbers = [*range(len(share.parts))]
        if self._synced:
            used = sum(begin < end for _, begin, end in share.parts)
            parameters = itertools.chain.from_iterable(sums.parameters for sums in self._sums)
            meeting = Parts([*parameters], self._buffers)
            works = [functools.partial(compute, number) for number in numbers[:used]]
            meeting.run(works, lambda rows: of_ranks(self._world, share.ranks, rows))
            del numbers[:used]
        for number in numbers:
            compute(number)
        return outputs

    def _part(self, x: Array, y: Array, weights: Array | None, total: float, key: int, *where: int) -> Any:
        """Runs `part`, compiled, for the rows of one part; where: its `place`."""
        share = self.source.share
        counted = len(y) if weights is None else weights.sum()
        if share.divided:  # the loss of a part is then a sum
            counted = 1.0 if share.weight else math.nan
        weight = 1.0 if self.step.summed else float(counted) / total
        # Parts with synchronized norms are interleaved, so each one has its own stream.
        stream = random.Generator() if self._synced else self._stream
        stream.manual_seed(key)
        measured = bool(self._trainer.metrics)
        with random.using(stream):
            return self.step.compiled(
                x, y, *weighting(weights), np.array(weight), share.divided, measured, *where
            )

    def part(
        self,
        x: Tensor,
        y: Tensor,
        weights: Tensor | bool,
        total: Tensor | bool,
        share: Tensor,
        divided: bool,
        measured: bool,
        *where: int,
    ) -> Tensor | None:
        """Adds loss and gradients of one part to the sums; returns the output if `measured`. It is compiled.

        share: the factor of loss and gradients.
        divided: the loss of a part is a sum.
        where: its `place`.
        """
        step = self.step
        loss_of = summed(self._trainer.loss) if divided else None
        loss, output = step.gradients(x, y, weights, total, share, True, measured, loss_of)
        for sums in self._sums:
            sums.pack(loss, share._array, *where)
        self._trainer.optimizer.zero_grad()
        return output

    # --- all parts in one pass

    def _is_one_pass(self, x: Array, weights: Array | None) -> bool:
        """True if computing the rank's parts in one pass gives the same bits as one after another."""
        share = self.source.share
        plain = weights is None and not share.divided and not self._buffers and len(self._sums) == 1
        plain = plain and all(begin < end for _, begin, end in share.parts)
        return plain and is_by_row(self._trainer.model, self._trainer.loss, x, self._sums[0].parameters)

    def _shares(self, total: float) -> tuple[Array, tuple[int, ...]]:
        """The factor of each part's loss, and the bounds of the parts: (0, end of the first, ...)."""
        bounds = (0, *[end for *_, end in self.source.share.parts])
        counts = np.diff(bounds)
        if self.step.summed:
            return np.ones(len(counts)), bounds
        return counts / total, bounds

    def all_parts(
        self, x: Tensor, y: Tensor, shares: Tensor, bounds: tuple[int, ...], measured: bool
    ) -> Tensor | None:
        """As `part`, for all parts of this rank in one pass. shares, bounds: as `_shares` returns them."""
        optimizer = self._trainer.optimizer
        (sums,) = self._sums
        optimizer.zero_grad()
        parts = [*itertools.pairwise(bounds)]
        views = {id(p): view for p, view in zip(sums.parameters, sums.levels[0].views, strict=True)}
        output = output_of(self._trainer.model, x, parts, views)
        losses = []
        gradients: list[Any] = []
        for number, (begin, end) in enumerate(parts):
            part = wrap(output._array[begin:end])
            part.requires_grad = True
            loss = self.step.loss_of(part, y[begin:end], False, False)
            share = shares[number]
            loss.backward(share.expand(loss.shape))
            value = loss.detach()._array
            losses.append(_core.mul(value, cast(share._array, value.dtype), None).reshape(1))
            gradients.append(part.grad)
        output.backward(ops.cat(gradients))
        sums.pack_sums(losses)
        optimizer.zero_grad()
        if measured:
            return output.detach()
        return None

    # --- many batches in the core

    def run_ahead(self, ahead: Ahead) -> tuple[Array, Array | None, Array | None] | None:
        """Runs the batches of `ahead` in the core, without Python; None if it cannot.

        Returns the losses of the batches, None for the outputs, and the penalties or None.
        """
        b = ahead.batches
        if self._trainer.metrics or self.source.share.samples != b.size:
            return None
        self._prepare(True)
        sums = self._sums[0]
        core = sums.sum.core
        counts = sums.of_size.get(b.size)
        sends = core is None and self._world.size > 1  # the sums need messages, which Python sends
        if counts is None or counts[-1] or sends or len(self._sums) > 1:
            return None
        calls = self._calls(ahead)
        if not calls:
            return None
        update = Call(self._updating.compiled, (False, True))
        sums.take(counts)
        try:
            found = replayed([*calls, update], b, _core.between_ranks(sums.loss, core, self.divides))
        finally:
            sums.take(sums.counts)
            for _ in range(b.done):  # `__call__` draws a key for each batch
                random.current().next_key()
        if found is None:
            return None
        # the losses of the batch, and of this rank's parts
        total, own = found[1].T
        self.finite = math.isfinite(own[-1])
        penalty = found[0]
        if penalty is None:
            return total, None, None
        return total, None, penalty._array.astype(float).reshape(-1)

    def _calls(self, ahead: Ahead) -> list[Call]:
        """The compiled calls for this rank's parts of a batch; [] if Python is needed between them."""
        x = ahead.x
        y = ahead.y
        step = self.step
        first = self.source.share.first
        weights, bounds = self._shares(self.source.share.weight or 1.0)
        batches = ahead.batches.first + ahead.batches.count
        if self._is_one_pass(x, None):
            args: Any = (x, y, np.tile(weights, (batches, 1)), bounds, False)
            return [Call(self._in_one_pass.compiled, args, {}, first, first + bounds[-1])]
        changed = [self._stream.state, *(b._array for b in self._buffers)]
        # Python has to seed `_stream` for each part, restore buffers, and add parts without samples.
        if self._synced or step.compiled.writes(changed) or 0 in np.diff(bounds):
            return []
        calls = []
        for number, (begin, end) in enumerate(itertools.pairwise(bounds)):
            args = x, y, False, False, np.full(batches, weights[number]), False, False, *place(number)
            calls.append(Call(step.compiled.compiled, args, {}, first + begin, first + end))
        return calls

    def check_soon(self) -> None:
        self._updating.check_soon()
        self._in_one_pass.check_soon()
