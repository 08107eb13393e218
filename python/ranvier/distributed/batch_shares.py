"""Cuts a batch into parts, and says which of them a rank computes."""

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

    samples, weight: of the whole batch; weight is its `batch_weight`.
    divided: whether the loss weights or ignores classes, so that those of the parts have to be sums.
    first, end: the rank's samples in the batch.
    parts: (number in the batch, begin, end) of each of the rank's parts, counted from `first`.
    used: the parts of the batch that are not empty, on all ranks: the first ones.
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
        """The ranks that have samples: the first ones."""
        return -(-self.used // len(self.parts))


class Cut:
    """Cuts batches into `shards` parts of nearly equal size; one that is not empty has two samples.

    Each rank has shards / size neighbouring parts.
    """

    def __init__(self, shards: int, rank: int = 0, size: int = 1) -> None:
        self.shards = shards
        self.own = range(rank * shards // size, (rank + 1) * shards // size)

    def share(self, samples: int, weight: float, divided: bool = False) -> Share:
        used = self.shards
        while used > 1 and samples < 2 * used:  # Each part has at least two samples: batch norm needs them.
            used //= 2
        bounds = [samples * min(part, used) // used for part in (*self.own, self.own.stop)]
        first, end = bounds[0], bounds[-1]
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
    """Batches of which each rank gets its own samples; `share` is of the last batch."""

    cut: Cut
    share: Share

    def samples(self, x: Array) -> int:
        return self.share.samples

    def weight(self, loss: Any, y: Array, weights: Array | None) -> float:
        return self.share.weight


class CutArrays(CutSource, ArraySource):
    """This rank's samples of each batch of arrays, and no others, are read."""

    def __init__(self, whole: ArraySource, cut: Cut, loss: Any) -> None:
        super().__init__(whole.data, whole.batch_size, whole.shuffled)
        self.cut = cut
        self._counted = None if self.weighted else mean_weights(loss, whole.data.y)

    def _here(self, number: int) -> slice:
        whole, data = super()._here(number), self.data
        counts = self._counted if data.weights is None else data.weights
        samples, chosen = whole.stop - whole.start, whole if self._order is None else self._order[whole]
        weight = float(samples if counts is None else counts[chosen].sum())
        self.share = self.cut.share(samples, weight, self._counted is not None)
        return slice(whole.start + self.share.first, whole.start + self.share.end)

    def ahead(self, passes: int = 1) -> Any:
        """The batches that the core can run without Python, as for the whole source; `share` applies to
        each of them."""
        ahead = super().ahead() if self._counted is None and self.data.weights is None else None
        if ahead is not None:
            self.share = self.cut.share(self.batch_size, float(self.batch_size))
        return ahead


class CutBatches(CutSource):
    """The batches of a loader, which every rank makes as a whole: they are the same on all ranks."""

    def __init__(self, whole: Source, cut: Cut, loss: Any) -> None:
        self._whole, self.cut, self._loss = whole, cut, loss
        self.batches, self.weighted = whole.batches, whole.weighted

    def __iter__(self) -> Iterator[Batch]:
        so_far, alone = "", world().size == 1
        for number, (x, y, weights) in enumerate(self._whole):
            so_far = so_far if alone else mark(so_far, x, y, weights)
            if number == 0:
                _require_same(so_far)  # The ranks compare before anything is trained.
            divided = weights is None and mean_weights(self._loss, y) is not None
            self.share = share = self.cut.share(len(x), batch_weight(self._loss, y, weights), divided)
            here = slice(share.first, share.end)
            yield x[here], y[here], None if weights is None else weights[here]
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
    source: CutSource = kind(whole, cut, loss)
    return source


def rows_of(source: Source | None, begins: bool = True) -> dict[str, str]:
    """A mark (a hash) of each array, to compare ranks; begins: also of arrays that the program cannot
    change."""
    data = getattr(source, "data", None)
    named = zip(("x", "y", "weights"), () if data is None else data.arrays)  # noqa: B905
    return {name: mark(array) for name, array in named if begins or array.flags.writeable}


def require_whole(source: Source | None, call: str) -> None:
    """Raise ValueError for a loader whose sampler gives each rank other samples."""
    loader = getattr(source, "loader", None)
    samplers = [getattr(x, "sampler", None) for x in (loader, getattr(loader, "batch_sampler", None))]
    if any(getattr(sampler, "num_replicas", 1) > 1 for sampler in samplers):
        raise ValueError(
            f"[{call}] got a loader with a DistributedSampler, which gives each rank other samples; expected "
            "a loader of all samples: the Trainer divides each batch among the ranks"
        )


def _require_same(ours: str) -> None:
    marks = gather_objects(ours, "Trainer.fit batches")
    others = [rank for rank, theirs in enumerate(marks) if theirs != marks[0]]
    if others:
        raise ValueError(
            f"[Trainer.fit] got a loader whose batches on rank {others[0]} differ from those on rank 0; "
            "expected the same batches on every rank: the same data, order and seed"
        )
