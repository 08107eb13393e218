"""What loaders and samplers draw, in PyTorch's way: see :mod:`ranvier.torch.twister`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ranvier import Generator, data, multinomial
from ranvier.autograd.random import current
from ranvier.torch.twister import Twister


def _base_seed(loader: Any) -> int:
    """In place of DataLoader._draw: the number that PyTorch's loaders draw at each pass."""
    seed = getattr(loader, "_seed", None) if loader.persistent_workers else None
    if seed is None:
        seed = loader._seed = _source(loader.generator).integers(0, 2**63)
    return seed


def _source(generator: Generator | None) -> Any:
    return (current() if generator is None else generator).numpy()


def _random_order(sampler: Any) -> Any:
    """In place of RandomSampler.__iter__."""
    n, count = len(sampler.data_source), sampler.num_samples
    given, draws = sampler.generator, _source(sampler.generator)
    if given is None:
        draws = Twister(draws.integers(0, 2**63))
    if sampler.replacement:
        yield from draws.integers(0, n, (count,)).tolist()
        return
    for _ in range(count // n):
        yield from draws.permutation(n).tolist()
    yield from draws.permutation(n).tolist()[: count % n]


def _subset_order(sampler: Any) -> Any:
    """In place of SubsetRandomSampler.__iter__."""
    for i in _source(sampler.generator).permutation(len(sampler.indices)).tolist():
        yield sampler.indices[i]


def _weighted_order(sampler: Any) -> Any:
    """In place of WeightedRandomSampler.__iter__."""
    w, n = sampler.weights, sampler.num_samples
    yield from multinomial(w, n, sampler.replacement, generator=sampler.generator).tolist()


def start() -> None:
    """All loaders and samplers draw PyTorch's numbers from now on."""
    data.DataLoader._keyed, data.DataLoader._draw = False, _base_seed  # type: ignore[method-assign, assignment]
    data.RandomSampler.__iter__ = _random_order  # type: ignore[method-assign]
    data.SubsetRandomSampler.__iter__ = _subset_order  # type: ignore[method-assign]
    data.WeightedRandomSampler.__iter__ = _weighted_order  # type: ignore[method-assign]
    with suppress(ModuleNotFoundError):  # this module stands without that folder
        from ranvier.distributed import parallel

        # of DistributedSampler
        vars(parallel).update(permutation=lambda n, seed: Twister(seed).permutation(n))
