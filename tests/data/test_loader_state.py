"""DataLoader.state_dict: a pass taken up anywhere gives the batches that were left of it."""

import json

import numpy as np
import pytest
import ranvier as rv
from ranvier.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

X = np.arange(22, dtype=np.float32).reshape(11, 2)
Y = np.arange(11)


class Samples(Dataset):
    def __len__(self):
        return 11

    def __getitem__(self, i):
        return X[i], Y[i]


class Noisy(Samples):
    """Draws from the library while a batch is made."""

    def __getitem__(self, i):
        return X[i], Y[i] + rv.rand(1).item()


class Backwards:
    """A sampler without keys, which draws from the library's stream."""

    def __len__(self):
        return 11

    def __iter__(self):
        for i in range(10, -1, -1):
            yield (i + int(rv.randint(0, 11, (1,)).item())) % 11


def loaders():
    arrays = TensorDataset(X, Y)
    yield "in order", lambda: DataLoader(arrays, 3)
    yield "shuffled", lambda: DataLoader(arrays, 3, shuffle=True)
    yield "generator", lambda: DataLoader(arrays, 3, shuffle=True, generator=5)
    yield "drop_last", lambda: DataLoader(arrays, 3, shuffle=True, drop_last=True)
    yield "samples", lambda: DataLoader(Samples(), 3, shuffle=True)
    yield "subset", lambda: DataLoader(Subset(arrays, Y[::-1]), 3, shuffle=True)
    yield "prefetch", lambda: DataLoader(arrays, 3, shuffle=True, prefetch=2)
    yield "prefetched samples", lambda: DataLoader(Noisy(), 3, shuffle=True, prefetch=3)
    yield "noise", lambda: DataLoader(Noisy(), 3, shuffle=True)
    yield "weighted", lambda: DataLoader(arrays, 3, sampler=WeightedRandomSampler(Y, 11, generator=2))
    yield "batches", lambda: DataLoader(arrays, batch_sampler=BatchSampler(RandomSampler(Y), 3, True))
    yield "a sampler of one's own", lambda: DataLoader(arrays, 3, sampler=Backwards(), prefetch=1)


def drawn(loader, passes):
    """(pass, batch, labels) of every batch, and a number drawn after it as dropout would."""
    return [(i, y.tolist(), rv.random.current().next_key()) for i in range(passes) for _, y in loader]


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in loaders()])
def test_a_pass_taken_up_anywhere(make):
    rv.manual_seed(1)
    expected = drawn(make(), 3)
    per_pass = len(make())
    for done in range(len(expected) + 1):
        rv.manual_seed(1)
        loader, got = make(), []
        while len(got) < done:
            for _, y in loader:
                got.append((0, y.tolist(), rv.random.current().next_key()))
                if len(got) == done and done % per_pass:
                    break
        state, numbers = json.loads(json.dumps(loader.state_dict())), rv.get_rng_state()
        assert state["batch"] == done % per_pass

        rv.manual_seed(99)  # another process
        rv.rand(5)
        loader = make()
        rv.set_rng_state(numbers)
        loader.load_state_dict(state)
        assert loader.state_dict() == state
        while len(got) < len(expected):
            got += drawn(loader, 1)
        assert [pair[1:] for pair in got] == [pair[1:] for pair in expected]


def test_all_batches_handed_out_but_the_pass_not_ended():
    loader = DataLoader(TensorDataset(X, Y), 3, shuffle=True)
    walk = iter(loader)
    for _ in range(4):
        next(walk)
    state = loader.state_dict()
    assert state["batch"] == 4
    loader.load_state_dict(state)
    assert list(loader) == []
    assert loader.state_dict()["start"] is None
    assert len(list(loader)) == 4
