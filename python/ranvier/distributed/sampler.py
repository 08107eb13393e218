"""DistributedSampler: the samples of one rank."""

from __future__ import annotations

from collections.abc import Iterator, Sized

import numpy as np

from ranvier.data import Sampler
from ranvier.data.sampler import permutation

__all__ = ["DistributedSampler"]


class DistributedSampler(Sampler[int]):
    """Every `num_replicas`-th index, beginning with `rank`: each process gets another part of the data set.

    The order of an epoch depends on `seed` and the epoch, which `set_epoch` sets. All ranks get the same
    number of samples: the first ones are repeated at the end, or with `drop_last` the last ones are left out.

    Args:
        dataset: anything with a length.
        num_replicas, rank: by default those of :func:`ranvier.distributed.init`.
        shuffle: whether the order is random.

    Raises ValueError: a rank that is not in 0 .. num_replicas - 1.

    >>> from ranvier.data import DistributedSampler
    >>> list(DistributedSampler(range(5), num_replicas=2, rank=1, shuffle=False))
    [1, 3, 0]
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None or rank is None:
            from ranvier.distributed.world import world

            num_replicas = world().size if num_replicas is None else num_replicas
            rank = world().rank if rank is None else rank
        if not 0 <= rank < num_replicas:
            raise ValueError(
                f"[DistributedSampler] got rank {rank} of {num_replicas} replicas; expected 0 to "
                f"{num_replicas - 1}"
            )
        self.dataset, self.num_replicas, self.rank = dataset, num_replicas, rank
        self.shuffle, self.seed, self.drop_last = shuffle, seed, drop_last
        self.epoch = 0
        n = len(dataset)
        self.num_samples = n // num_replicas if drop_last else -(-n // num_replicas)
        self.total_size = self.num_samples * num_replicas

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch; without it, every epoch has the same order."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        n = len(self.dataset)
        order = permutation(n, self.seed + self.epoch) if self.shuffle else np.arange(n)
        whole = np.resize(order, self.total_size)  # repeated, or cut
        return iter(whole[self.rank :: self.num_replicas].tolist())

    def __len__(self) -> int:
        return self.num_samples
