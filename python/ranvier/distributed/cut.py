"""How a batch is cut into parts, and which of them a rank computes."""

from __future__ import annotations

from dataclasses import dataclass

from ranvier.distributed.member import World
from ranvier.distributed.world import world

__all__ = ["Cut", "Share", "require_ranks"]


@dataclass(frozen=True)
class Share:
    """A rank's part of a batch.

    samples, weight: of the whole batch; weight is the sum of the sample weights, or `samples`.
    divisor: of a loss that weights or ignores classes: the sum of `mean_weights` over the batch.
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
    divisor: float | None = None

    @property
    def ranks(self) -> int:
        """The ranks that have samples: the first ones."""
        return -(-self.used // len(self.parts))


class Cut:
    """Cuts batches into `shards` parts of nearly equal size; one that is not empty has two samples.

    Each rank has shards / size neighbouring parts.
    """

    def __init__(self, shards: int, rank: int = 0, size: int = 1) -> None:
        self._shards = shards
        self._own = range(rank * shards // size, (rank + 1) * shards // size)

    def share(self, samples: int, weight: float | None = None, divisor: float | None = None) -> Share:
        used = self._shards
        while used > 1 and samples < 2 * used:  # batch norm needs two
            used //= 2
        bounds = [samples * min(part, used) // used for part in (*self._own, self._own.stop)]
        first, end = bounds[0], bounds[-1]
        pairs = zip(self._own, bounds, bounds[1:])  # noqa: B905
        parts = [(part, a - first, b - first) for part, a, b in pairs]
        weight = float(samples) if weight is None else weight
        return Share(samples, weight, first, end, parts, used, divisor)


def require_ranks(shards: int, deterministic: bool) -> World:
    """The processes of the job, which suit these settings of a Trainer.

    Raises:
        ValueError: shards, or the number of ranks, is no power of two, or there are more ranks than shards.
    """
    if isinstance(shards, bool) or not isinstance(shards, int) or shards < 1 or shards & (shards - 1):
        raise ValueError(f"[Trainer] got shards {shards!r}; expected a power of two: 1, 2, 4, 8 ...")
    here = world()
    if deterministic and (here.size & (here.size - 1) or here.size > shards):
        raise ValueError(
            f"[Trainer] got {here.size} ranks and {shards} shards; expected a power of two of ranks, at most "
            "the shards, or deterministic=False"
        )
    return here
