"""Where a Trainer's batches come from: arrays (ArraySource), or a loader of the user (LoaderSource).

`data_sources.py` makes a Source of the arguments of `Trainer.fit`, and `Run` takes the batches from it: one
by one, or with `ahead` many at once, which the core then runs without Python between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier.train.prepared_data as prepared_data
from ranvier.ops.making import philox, random
from ranvier.tensors.memory import Array, gather
from ranvier.train.losses import Loss, batch_weight, mean_weights
from ranvier.train.prepared_data import ClassWeight, DataSpec, Prepared, Samples

if TYPE_CHECKING:
    from ranvier.compile.many_calls import Batches

Batch = tuple[Array, Array, Array | None]
# The passes whose order is computed before they begin have at most this many samples: 512 KiB of indices.
_AHEAD = 1 << 16


class Ahead:
    """Batches of arrays that the core can run in one call, without Python between them.

    `batches` says which: from number `batches.first` on, of `batches.size` samples in the order
    `batches.order`. After the call `batches.done` of them have run, possibly of several passes.
    weights: one for each sample. totals: the sum of the weights of each batch of the pass. each: the number
    of batches in a pass.
    """

    def __init__(
        self,
        x: Array,
        y: Array,
        weights: Array | None,
        totals: Array | None,
        batches: Batches,
        each: int,
    ) -> None:
        self.x = x
        self.y = y
        self.weights = weights
        self.totals = totals
        self.batches = batches
        self.each = each

    def arguments(self) -> tuple[Any, ...]:
        """The arguments (x, y, weights, totals) of a compiled step: the arrays of all samples, from which the
        core takes each batch. As in `weighting`, weights and totals are False where there are none."""
        if self.weights is None or self.totals is None:
            return self.x, self.y, False, False
        # a batch of weights 0 has loss 0, not 0 / 0
        totals = np.where(self.totals == 0, 1.0, self.totals)
        return self.x, self.y, self.weights, totals

    def parts(self) -> list[tuple[Ahead, slice]]:
        """The batches that are done, divided by passes.

        For each pass an Ahead of its batches, and the slice of all done batches that these are.
        """
        b = self.batches
        end_of_done = b.first + b.done  # numbers of batches count on from one pass to the next
        if end_of_done <= self.each:
            return [(self, slice(0, b.done))]
        passes = []
        for first_of_pass in range(0, end_of_done, self.each):
            begin = max(first_of_pass, b.first)
            end = min(first_of_pass + self.each, end_of_done)
            count = end - begin
            taken = copy(b)
            taken.first = begin
            taken.count = taken.done = count
            within_done = slice(begin - b.first, end - b.first)
            passes.append((Ahead(self.x, self.y, self.weights, self.totals, taken, self.each), within_done))
        return passes

    def targets(self) -> Array:
        """The targets of the batches that are done."""
        return self._done(self.y)

    def _done(self, array: Array) -> Array:
        """The rows of an array (one for each sample) that belong to the batches that are done."""
        b = self.batches
        positions = slice(b.first * b.size, (b.first + b.done) * b.size)
        if b.order is None:
            return array[positions]
        return array.take(b.order[positions], axis=0)

    def weight(self, counts: Array | None) -> Array | int:
        """`batch_weight` of each batch that is done, or one number for all; counts: `Source.counts`."""
        b = self.batches
        if self.totals is not None:
            return self.totals[b.first : b.first + b.done]
        if counts is None:
            return b.size
        return np.asarray(self._done(counts).reshape(b.done, b.size).sum(axis=1))


class Source:
    """Passes over data: each is an iterator over batches (x, y, weights or None).

    Attributes:
        data: the arrays; None for a loader.
        batches: the number of batches of a pass; 0 if that is not known before.
        weighted: whether there are sample weights, as far as that is known before.
    """

    data: Prepared | None = None
    batches = 0
    weighted = False

    def __iter__(self) -> Iterator[Batch]:
        raise NotImplementedError

    def ahead(self, passes: int = 1) -> Ahead | None:
        """The full batches that are left of the pass in progress, for one call of the core.

        None where there are none, or where each batch has to be asked for, as with a loader.

        passes: the most passes to include, this one and those after it; fewer may be included.
        """
        return None

    def counts(self, loss: Loss) -> Array | None:
        """`mean_weights` of all samples. Only for a source whose `ahead` gives batches."""
        raise NotImplementedError

    def samples(self, x: Array) -> int:
        """The number of samples of the batch that was given last, with these x."""
        return len(x)

    def weight(self, loss: Loss, y: Array, weights: Array | None) -> float:
        """`batch_weight` of the batch that was given last."""
        return batch_weight(loss, y, weights)

    def batch(self, number: int) -> Batch:
        """Batch `number` of the pass in progress. Only for a source whose `ahead` gives batches."""
        raise NotImplementedError

    def skip(self, count: int) -> None:
        """Skip the next `count` batches of the pass: those of `ahead` that have run."""
        raise NotImplementedError

    def begin_next(self) -> None:
        """Begin the next pass, after an `ahead` that included batches of it."""
        raise NotImplementedError

    def description(self) -> dict[str, Any]:
        """The facts about the data that must be the same in a run that is resumed, as plain values."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any] | None:
        """The position of the pass; None for a loader without state_dict."""
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue the pass of a state_dict."""
        raise NotImplementedError


class ArraySource(Source):
    """Batches of arrays that were checked and converted as a whole.

    A DataLoader of the same arrays gives the same batches, but each with a separate random stream. That costs
    as much as a small step.

    The order of a pass follows from a key, a random number that the pass draws at its beginning: so a
    checkpoint holds the key alone.
    """

    data: Prepared

    def __init__(self, data: Prepared, batch_size: int, shuffle: bool = False) -> None:
        self.data = data
        self.batch_size = batch_size
        self.weighted = data.weights is not None
        self.batches = -(-len(data.x) // batch_size)
        self.shuffled = shuffle
        self._key: int | None = None  # the key of the pass in progress; None between passes
        # The order of the samples in that pass, and the sum of the weights of each of its full batches; None
        # before they are needed.
        self._order: Array | None = None
        self._totals: Array | None = None
        # (the loss and its settings that `counts` depends on, the result of `counts`)
        self._counts: tuple[Any, Array | None] | None = None
        self._done = 0  # batches of the pass in progress

    def __iter__(self) -> Iterator[Batch]:
        self._begin()
        while self._done < self.batches:  # `skip` also changes _done.
            self._done += 1
            yield self.batch(self._done - 1)
        self._end()

    def _end(self) -> None:
        self._key = None
        self._order = None
        self._totals = None
        self._done = 0

    def begin_next(self) -> None:
        self._end()
        self._draw()

    def _draw(self) -> int:
        """The key of the pass in progress, drawn if there is none yet."""
        if self._key is None:
            self._key = random.current().next_key() if self.shuffled else 0
        return self._key

    def _begin(self) -> None:
        """Draw the key and the order of a pass, where that is not done."""
        key = self._draw()
        if self._order is None and self.shuffled:
            self._order = philox.permutation(len(self.data.x), key)

    def batch(self, number: int) -> Batch:
        if self._order is None:
            self._begin()
        data = self.data
        positions = self._positions(number)
        if self._order is None:
            weights = None if data.weights is None else data.weights[positions]
            return data.x[positions], data.y[positions], weights
        chosen = self._order[positions]
        weights = None if data.weights is None else gather(data.weights, chosen)
        return gather(data.x, chosen), gather(data.y, chosen), weights

    def _positions(self, number: int) -> slice:
        """The positions of a batch's samples in the order of the pass."""
        begin = number * self.batch_size
        end = min(begin + self.batch_size, len(self.data.x))
        return slice(begin, end)

    def ahead(self, passes: int = 1) -> Ahead | None:
        size = self.batch_size
        data = self.data
        key = self._draw()
        full = len(data.x) // size  # full batches of a pass; a smaller last one is taken alone
        if full <= self._done:
            return None
        from ranvier.compile.many_calls import Batches

        more = min(passes, _AHEAD // len(data.x)) - 1  # passes after this one
        # Several passes need an order that names the samples of all, and no smaller batch between them;
        # `_totals` are those of one pass.
        if more > 0 and full == self.batches and self.shuffled and data.weights is None:
            keys = [key, *random.current().coming_keys(more)]
            orders = philox.permutations(len(data.x), keys)
            self._order = orders[0]
            taken = Batches(orders.reshape(-1), size, first=self._done, count=full * (1 + more) - self._done)
            return Ahead(data.x, data.y, weights=None, totals=None, batches=taken, each=full)
        self._begin()
        if data.weights is not None and self._totals is None:
            ordered = data.weights
            if self._order is not None:
                ordered = ordered.take(self._order)
            self._totals = ordered[: full * size].reshape(full, size).sum(axis=1)
        taken = Batches(self._order, size, first=self._done, count=full - self._done)
        return Ahead(data.x, data.y, data.weights, self._totals, batches=taken, each=full)

    def counts(self, loss: Loss) -> Array | None:
        has_weights = getattr(loss, "weight", None) is not None
        settings = loss, getattr(loss, "ignore_index", None), has_weights
        if self._counts is not None and not has_weights:  # weights may have changed in place
            stored_settings, stored = self._counts
            if stored_settings == settings:
                return stored
        counts = mean_weights(loss, self.data.y)
        self._counts = settings, counts
        return counts

    def weight(self, loss: Loss, y: Array, weights: Array | None) -> float:
        has_weights = self.weighted or getattr(loss, "weight", None) is not None
        if not has_weights and self.counts(loss) is None:
            return len(y)
        return batch_weight(loss, y, weights)

    def skip(self, count: int) -> None:
        self._done += count

    def description(self) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "samples": len(self.data.x),
            "batch_size": self.batch_size,
            "shuffle": self.shuffled,
        }
        for name, array in zip(("x", "y", "weights"), self.data.arrays, strict=False):
            facts[name] = [array.dtype.name, list(array.shape[1:])]
        return facts

    def state_dict(self) -> dict[str, Any]:
        return {"start": self._key, "batch": self._done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._key = state["start"]
        self._done = state["batch"]
        self._order = None
        self._totals = None


class LoaderSource(Source):
    """Batches of a loader, `(x, y)` or `(x, y, sample_weight)`: checked and converted one by one."""

    def __init__(
        self, name: str, loader: Samples, spec: DataSpec, class_weight: ClassWeight | None = None
    ) -> None:
        if not hasattr(loader, "__iter__"):
            raise TypeError(
                f"[{name}] got y None and x of type {type(loader).__name__}; expected arrays x and y, or a "
                "loader of batches (x, y)"
            )
        if isinstance(class_weight, str):
            raise ValueError(
                f"[{name}] got class_weight {class_weight!r} with a loader, whose labels are not known "
                "before; expected a mapping or a sequence"
            )
        self.loader: Any = loader
        self._name = name
        self._spec = spec
        self._class_weight = class_weight
        length = getattr(loader, "__len__", None)
        self.batches = 0 if length is None else length()

    def __iter__(self) -> Iterator[Batch]:
        for number, batch in enumerate(self.loader):
            if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
                remedy = ""
                if isinstance(batch, dict) and batch:
                    keys = ", ".join(map(repr, batch))
                    remedy = f": a generator that gives (batch[key of x], batch[key of y]); keys are {keys}"
                raise ValueError(
                    f"[{self._name}] got a loader whose batches are {type(batch).__name__}; "
                    f"expected (x, y) or (x, y, sample_weight){remedy}"
                )
            x, y, *weights = batch
            weight = weights[0] if weights else None
            name = f"{self._name} batch {number}"
            data = prepared_data.prepare(name, x, y, self._spec, weight, self._class_weight, whole=False)
            yield data.x, data.y, data.weights

    def description(self) -> dict[str, Any]:
        dataset = getattr(self.loader, "dataset", None)
        samples = None if dataset is None else len(dataset)
        return {
            "samples": samples,
            "batch_size": getattr(self.loader, "batch_size", None),
            "batches": self.batches,
        }

    def state_dict(self) -> dict[str, Any] | None:
        if hasattr(self.loader, "state_dict"):
            return dict(self.loader.state_dict())
        return None

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        if state is not None:
            self.loader.load_state_dict(state)
