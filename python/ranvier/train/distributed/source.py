"""Sources of batches of which each rank takes its samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy.typing as npt

from ranvier.data.loader import gather
from ranvier.train.distributed.cut import Cut, Share
from ranvier.train.source import ArraySource, Batch, Source

__all__ = ["CutSource", "cut_source"]

Array = npt.NDArray[Any]


class CutSource(Protocol):
    """A source that gives this rank's samples of each batch; `share` is that of the batch given last."""

    share: Share


class CutArrays(ArraySource):
    """Batches of arrays: only the rank's samples are read."""

    def __init__(self, whole: ArraySource, cut: Cut) -> None:
        super().__init__(whole.data, whole.batch_size, whole.shuffled)
        self._cut = cut

    def batch(self, number: int) -> Batch:
        start, data = number * self.batch_size, self.data
        end = min(start + self.batch_size, len(data.x))
        weight = None
        if data.weights is not None:
            weight = float(data.weights[self._rows(start, end)].sum())
        self.share = share = self._cut.share(end - start, weight)
        rows = self._rows(start + share.first, start + share.end)
        x, y, *weights = (_taken(array, rows) for array in data.arrays)
        return x, y, weights[0] if weights else None

    def _rows(self, first: int, end: int) -> Any:
        return slice(first, end) if self._order is None else self._order[first:end]

    def ahead(self) -> None:
        """None: between two batches is the sum over the ranks."""
        return None


def _taken(array: Array, rows: Any) -> Array:
    return array[rows] if isinstance(rows, slice) else gather(array, rows)


class CutBatches(Source):
    """The batches of a loader, which every rank makes as a whole: they are the same on all ranks."""

    def __init__(self, whole: Source, cut: Cut) -> None:
        self._whole, self._cut = whole, cut
        self.batches, self.weighted = whole.batches, whole.weighted

    def __iter__(self) -> Iterator[Batch]:
        for x, y, weights in self._whole:
            self.share = share = self._cut.share(len(x), None if weights is None else float(weights.sum()))
            here = slice(share.first, share.end)
            yield x[here], y[here], None if weights is None else weights[here]

    def description(self) -> dict[str, Any]:
        return self._whole.description()

    def state_dict(self) -> dict[str, Any] | None:
        return self._whole.state_dict()

    def load_state_dict(self, state: Any) -> None:
        self._whole.load_state_dict(state)


def cut_source(whole: Source, cut: Cut) -> CutArrays | CutBatches:
    return CutArrays(whole, cut) if isinstance(whole, ArraySource) else CutBatches(whole, cut)
