"""Sources of batches of which each rank takes its samples."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Protocol

import numpy.typing as npt

from ranvier.communication.collectives import gather_objects
from ranvier.data.loader import gather
from ranvier.train.distributed.cut import Cut, Share
from ranvier.train.source import ArraySource, Batch, Source
from ranvier.train.weighting import mean_weights

__all__ = ["CutSource", "cut_source", "require_whole"]

Array = npt.NDArray[Any]
_SMALL = 1 << 16  # bytes


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
        mark = 0
        for number, (x, y, weights) in enumerate(self._whole):
            mark = _marked(mark, x, y)
            if number == 0:
                _require_same(mark)  # before anything is trained
            counted = mean_weights(self._loss, y) if weights is None else None
            weight = None if weights is None else float(weights.sum())
            divisor = None if counted is None else float(counted.sum())
            self.share = share = self._cut.share(len(x), weight, divisor)
            here = slice(share.first, share.end)
            yield x[here], y[here], None if weights is None else weights[here]
        _require_same(mark)

    def description(self) -> dict[str, Any]:
        return self._whole.description()

    def state_dict(self) -> dict[str, Any] | None:
        return self._whole.state_dict()

    def load_state_dict(self, state: Any) -> None:
        self._whole.load_state_dict(state)


def cut_source(whole: Source, cut: Cut, loss: Any) -> CutArrays | CutBatches:
    return CutArrays(whole, cut, loss) if isinstance(whole, ArraySource) else CutBatches(whole, cut, loss)


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


def _marked(mark: int, x: Array, y: Array) -> int:
    """A checksum of the batches so far: small targets, and the first and the last sample."""
    parts = [x[:1], x[-1:], *([y] if y.nbytes <= _SMALL else [y[:1], y[-1:]])]
    mark = zlib.crc32(repr((x.shape, y.shape)).encode(), mark)
    for part in parts:
        mark = zlib.crc32(part.tobytes(), mark)
    return mark


def _require_same(mark: int) -> None:
    marks = gather_objects(mark, "Trainer.fit batches")
    others = [rank for rank, theirs in enumerate(marks) if theirs != marks[0]]
    if others:
        raise ValueError(
            f"[Trainer.fit] got a loader whose batches on rank {others[0]} differ from those on rank 0; "
            "expected the same batches on every rank: the same data, order and seed"
        )
