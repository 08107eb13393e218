"""Sources of batches of which each rank takes its samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy.typing as npt

from ranvier.data.loader import gather
from ranvier.distributed.collectives import gather_objects
from ranvier.distributed.cut import Cut, Share
from ranvier.distributed.equal import mark
from ranvier.distributed.world import world
from ranvier.train.losses import mean_weights
from ranvier.train.source import ArraySource, Batch, Source

__all__ = ["CutSource", "cut_source", "require_whole", "rows_of"]

Array = npt.NDArray[Any]


class CutSource(Protocol):
    """A source that gives this rank's samples of each batch; `share` is that of the batch given last."""

    share: Share


class CutArrays(ArraySource):
    """Batches of arrays: only the rank's samples are read."""

    def __init__(self, whole: ArraySource, cut: Cut, loss: Any) -> None:
        super().__init__(whole.data, whole.batch_size, whole.shuffled)
        self._cut = cut
        self._counted = None if self.weighted else mean_weights(loss, whole.data.y)

    def batch(self, number: int) -> Batch:
        start, data = number * self.batch_size, self.data
        end = min(start + self.batch_size, len(data.x))
        whole = self._rows(start, end)
        weight = None if data.weights is None else float(data.weights[whole].sum())
        divisor = None if self._counted is None else float(self._counted[whole].sum())
        self.share = share = self._cut.share(end - start, weight, divisor)
        rows = self._rows(start + share.first, start + share.end)
        x, y, *weights = (_taken(array, rows) for array in data.arrays)
        return x, y, weights[0] if weights else None

    def _rows(self, first: int, end: int) -> Any:
        return slice(first, end) if self._order is None else self._order[first:end]

    def ahead(self, passes: int = 1) -> None:
        """None: between two batches is the sum over the ranks."""
        return None


def _taken(array: Array, rows: Any) -> Array:
    return array[rows] if isinstance(rows, slice) else gather(array, rows)


class CutBatches(Source):
    """The batches of a loader, which every rank makes as a whole: they are the same on all ranks."""

    def __init__(self, whole: Source, cut: Cut, loss: Any) -> None:
        self._whole, self._cut, self._loss = whole, cut, loss
        self.batches, self.weighted = whole.batches, whole.weighted

    def __iter__(self) -> Iterator[Batch]:
        so_far, alone = "", world().size == 1
        for number, (x, y, weights) in enumerate(self._whole):
            so_far = so_far if alone else mark(so_far, x, y, weights)
            if number == 0:
                _require_same(so_far)  # before anything is trained
            counted = mean_weights(self._loss, y) if weights is None else None
            weight = None if weights is None else float(weights.sum())
            divisor = None if counted is None else float(counted.sum())
            self.share = share = self._cut.share(len(x), weight, divisor)
            here = slice(share.first, share.end)
            yield x[here], y[here], None if weights is None else weights[here]
        _require_same(so_far)

    def description(self) -> dict[str, Any]:
        return self._whole.description()

    def state_dict(self) -> dict[str, Any] | None:
        return self._whole.state_dict()

    def load_state_dict(self, state: Any) -> None:
        self._whole.load_state_dict(state)


def cut_source(whole: Source, cut: Cut, loss: Any) -> CutArrays | CutBatches:
    return CutArrays(whole, cut, loss) if isinstance(whole, ArraySource) else CutBatches(whole, cut, loss)


def rows_of(source: Source | None, begins: bool = True) -> dict[str, str]:
    """Marks of all rows of arrays; begins: also of those that the program cannot change."""
    data = getattr(source, "data", None)
    named = zip(("x", "y", "weights"), () if data is None else data.arrays)  # noqa: B905
    return {name: mark(array) for name, array in named if begins or array.flags.writeable}


def require_whole(source: Source | None, call: str) -> None:
    """Raise ValueError for a loader whose sampler gives each rank other samples."""
    loader = getattr(source, "loader", None)
    samplers = [
        getattr(loader, "sampler", None),
        getattr(getattr(loader, "batch_sampler", None), "sampler", None),
    ]
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
