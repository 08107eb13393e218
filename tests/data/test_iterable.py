"""Datasets that are streams: order, passes that begin again or are resumed, what is refused."""

from collections import namedtuple

import numpy as np
import pytest
import ranvier as rv
from ranvier.data import DataLoader, IterableDataset, default_collate, default_convert
from support.refused import refused


class Numbers(IterableDataset):
    def __init__(self, n=7, noise=0.0):
        self.n, self.noise = n, noise

    def __iter__(self):
        for i in range(self.n):
            yield np.float32(i) + self.noise * rv.rand(1).numpy()[0]


class Counted(Numbers):
    def __len__(self):
        return self.n


def batches(loader):
    return [batch.tolist() for batch in loader]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_batches_in_the_order_of_the_stream(prefetch):
    loader = DataLoader(Numbers(), batch_size=3, prefetch=prefetch)
    assert batches(loader) == batches(loader) == [[0, 1, 2], [3, 4, 5], [6]]
    assert batches(DataLoader(Numbers(), batch_size=3, drop_last=True)) == [[0, 1, 2], [3, 4, 5]]
    assert batches(DataLoader(Numbers(2), batch_size=None)) == [0.0, 1.0]
    assert batches(DataLoader(Numbers(0), batch_size=3)) == []
    assert list(DataLoader(Numbers(), batch_size=4, collate_fn=len)) == [4, 3]
    assert rv.utils.data.IterableDataset is IterableDataset


def test_lengths():
    assert len(DataLoader(Counted(7), batch_size=3)) == 3
    assert len(DataLoader(Counted(7), batch_size=3, drop_last=True)) == 2
    refused(TypeError, "[Numbers] has no length", len, DataLoader(Numbers()))


def test_random_numbers_of_a_pass_are_repeated_when_it_is_resumed():
    loader = DataLoader(Numbers(6, noise=1.0), batch_size=2, generator=3)
    first, second = batches(loader), batches(loader)
    assert first != second
    assert first == batches(DataLoader(Numbers(6, noise=1.0), batch_size=2, generator=3, prefetch=2))
    loader = DataLoader(Numbers(6, noise=1.0), batch_size=2, generator=3)
    running = iter(loader)
    assert next(running).tolist() == first[0]
    again = DataLoader(Numbers(6, noise=1.0), batch_size=2, generator=9)
    again.load_state_dict(loader.state_dict())
    assert batches(again) == first[1:]


@pytest.mark.parametrize("settings", [{"shuffle": True}, {"sampler": [0]}, {"batch_sampler": [[0]]}])
def test_an_order_beside_that_of_the_stream_is_refused(settings):
    refused(
        ValueError,
        "got an IterableDataset with shuffle, sampler or batch_sampler",
        lambda: DataLoader(Numbers(), **settings),
    )


def test_named_tuples_stay_named_tuples():
    Pair = namedtuple("Pair", "x y")
    batch = default_collate([Pair(1.0, "a"), Pair(2.0, "b")])
    assert isinstance(batch, Pair)
    assert batch.x.tolist() == [1.0, 2.0]
    assert isinstance(default_convert(batch), Pair)
