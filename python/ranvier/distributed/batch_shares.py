"""Cuts each batch of a distributed Trainer into parts, and gives a rank the samples of its own parts.

The number of parts (`shards`) is a setting of the Trainer, and does not depend on the number of ranks: so the
sums over parts have the same bits with any number of ranks. Each rank computes neighbouring parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ranvier.distributed.collectives import gather_objects, mark
from ranvier.distributed.job import world
from ranvier.distributed.ranks import World
from ranvier.tensors.memory import Array
from ranvier.train.batch_source import ArraySource, Batch, Source
from ranvier.train.losses import batch_weight, mean_weights


@dataclass(frozen=True)
class Share:
    """A rank's part of a batch.

    samples, weight: those of the whole batch; weight is its `batch_weight` (`train/losses.py`).
    divided: whether the loss weights or ignores classes. The loss of a part is then a sum, since the mean of
    the parts' means is not the mean of the batch.
    first, end: the rank has the samples first .. end - 1 of the batch.
    parts: for each part of the rank (number of the part in the batch, begin, end); samples count from
    `first`.
    used: the number of parts of the batch, on all ranks, that are not empty. These are the first ones.
    """

    samples: int
    weight: float
    first: int
    end: int
    parts: list[tuple[int, int, int]]
    used: int
    divided: bool = False

    @property
    def ranks(self) -> int:
        """The number of ranks that have samples. These are the first ones."""
        return -(-self.used // len(self.parts))


class Cut:
    """Cuts batches into `shards` parts of nearly equal size.

    A part is empty or has at least two samples, except that a batch of one sample is one part. Each rank has
    shards / size neighbouring parts. own: the numbers of this rank's parts.
    """

    def __init__(self, shards: int, rank: int = 0, size: int = 1) -> None:
        self.shards = shards
        self.own = range(rank * shards // size, (rank + 1) * shards // size)

    def share(self, samples: int, weight: float, divided: bool = False) -> Share:
        used = self.shards
        while used > 1 and samples < 2 * used:  # Each part has at least two samples: batch norm needs them.
            used //= 2
        # where each part of this rank begins in the batch, and where the last ends; parts from `used` on are
        # empty
        bounds = [samples * min(part, used) // used for part in (*self.own, self.own.stop)]
        first = bounds[0]
        end = bounds[-1]
        pairs = zip(self.own, bounds, bounds[1:])  # noqa: B905
        parts = [(part, a - first, b - first) for part, a, b in pairs]
        return Share(samples, weight, first, end, parts, used, divided)


def require_ranks(shards: int, deterministic: bool) -> World:
    """The processes of the job; ValueError unless they suit these settings of a Trainer."""
    if isinstance(shards, bool) or not isinstance(shards, int) or shards < 1 or shards & (shards - 1):
        raise ValueError(f"[Trainer] got shards {shards!r}; expected a power of two: 1, 2, 4, 8 ...")
    here = world()
    if deterministic and (here.size & (here.size - 1) or here.size > shards):
        raise ValueError(
            f"[Trainer] got {here.size} ranks and {shards} shards; expected a power of two of ranks, at most "
            "the shards, or deterministic=False"
        )
    return here


class CutSource(Source):
    """A source of batches that yields only this rank's samples.

    `share`: the Share of the batch yielded last.
    """

    cut: Cut
    share: Share

    def samples(self, x: Array) -> int:
        return self.share.samples

    def weight(self, loss: Any, y: Array, weights: Array | None) -> float:
        return self.share.weight


class CutArrays(CutSource, ArraySource):
    """Batches of arrays in memory; only this rank's samples are read."""

    def __init__(self, whole: ArraySource, cut: Cut, loss: Any) -> None:
        super().__init__(whole.data, whole.batch_size, whole.shuffled)
        self.cut = cut
        self._counted = None if self.weighted else mean_weights(loss, whole.data.y)

    def _positions(self, number: int) -> slice:
        """This rank's positions in a batch. `ArraySource.batch` calls it for each batch; it sets `share`."""
        whole = super()._positions(number)
        data = self.data
        counts = self._counted if data.weights is None else data.weights
        samples = whole.stop - whole.start
        chosen = whole if self._order is None else self._order[whole]
        weight = float(samples) if counts is None else float(counts[chosen].sum())
        self.share = self.cut.share(samples, weight, self._counted is not None)
        return slice(whole.start + self.share.first, whole.start + self.share.end)

    def ahead(self, passes: int = 1) -> Any:
        """As `ArraySource.ahead`: the batches that the core can run without Python. `share` is that of all.

        Batches of a weighted source, or of a loss with weights of classes, are not run so: their `share` has
        another weight for each batch. passes: always 1, since ranks meet after each epoch (`DistributedRun`).
        """
        if self._counted is None and self.data.weights is None:
            ahead = super().ahead()
        else:
            ahead = None
        if ahead is not None:
            self.share = self.cut.share(self.batch_size, float(self.batch_size))
        return ahead


class CutBatches(CutSource):
    """The batches of a loader.

    Every rank loads whole batches, which have to be equal, and keeps its samples.
    """

    def __init__(self, whole: Source, cut: Cut, loss: Any) -> None:
        self._whole = whole
        self.cut = cut
        self._loss = loss
        self.batches = whole.batches
        self.weighted = whole.weighted

    def __iter__(self) -> Iterator[Batch]:
        so_far = ""
        alone = world().size == 1
        for number, (x, y, weights) in enumerate(self._whole):
            if not alone:
                so_far = mark(so_far, x, y, weights)
            if number == 0:
                _require_same(so_far)  # The ranks compare before anything is trained.
            divided = weights is None and mean_weights(self._loss, y) is not None
            self.share = share = self.cut.share(len(x), batch_weight(self._loss, y, weights), divided)
            here = slice(share.first, share.end)
            own_weights = None if weights is None else weights[here]
            yield x[here], y[here], own_weights
        _require_same(so_far)

    def description(self) -> dict[str, Any]:
        return self._whole.description()

    def state_dict(self) -> dict[str, Any] | None:
        return self._whole.state_dict()

    def load_state_dict(self, state: Any) -> None:
        self._whole.load_state_dict(state)


def cut_source(whole: Source, cut: Cut, loss: Any) -> CutSource:
    """Batches of which this rank gets its own samples."""
    kind: Any = CutArrays if isinstance(whole, ArraySource) else CutBatches
    return kind(whole, cut, loss)


def rows_of(source: Source | None, begins: bool = True) -> dict[str, str]:
    """The hash of each array of a source, to compare ranks.

    begins: True at the beginning of a run; False: without read-only arrays, which cannot have changed since.
    """
    data = getattr(source, "data", None)
    if data is None:
        return {}
    named = zip(("x", "y", "weights"), data.arrays)  # noqa: B905  (there may be no weights)
    return {name: mark(array) for name, array in named if begins or array.flags.writeable}


def require_whole(source: Source | None, call: str) -> None:
    """Raise ValueError for a loader whose sampler gives each rank different samples.

    call: the name of the caller, for errors.
    """
    loader = getattr(source, "loader", None)
    samplers = [getattr(x, "sampler", None) for x in (loader, getattr(loader, "batch_sampler", None))]
    if any(getattr(sampler, "num_replicas", 1) > 1 for sampler in samplers):
        raise ValueError(
            f"[{call}] got a loader with a DistributedSampler, which gives each rank other samples; expected "
            "a loader of all samples: the Trainer divides each batch among the ranks"
        )


def _require_same(ours: str) -> None:
    """Raise ValueError unless the hash of the batches loaded so far is the same on all ranks."""
    marks = gather_objects(ours, "Trainer.fit batches")
    others = [rank for rank, theirs in enumerate(marks) if theirs != marks[0]]
    if others:
        raise ValueError(
            f"[Trainer.fit] got a loader whose batches on rank {others[0]} differ from those on rank 0; "
            "expected the same batches on every rank: the same data, order and seed"
        )
