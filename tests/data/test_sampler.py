"""Samplers: PyTorch's lengths and errors, the right distribution, the same order for the same seed."""

import copy
import pickle

import numpy as np
import pytest
import ranvier as rv
from ranvier.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)
from ranvier.data.sampler import permutation
from support.refused import refused

Y = np.arange(10)
DATA = TensorDataset(Y)


def seen(loader):
    return [batch[0].tolist() for batch in loader]


SAMPLERS = {
    "random": lambda g: RandomSampler(Y, generator=g),
    "replacement": lambda g: RandomSampler(Y, replacement=True, num_samples=25, generator=g),
    "longer": lambda g: RandomSampler(Y, num_samples=25, generator=g),
    "subset": lambda g: SubsetRandomSampler([7, 3, 5], generator=g),
    "weighted": lambda g: WeightedRandomSampler(Y, 25, generator=g),
    "without replacement": lambda g: WeightedRandomSampler(Y, 9, replacement=False, generator=g),
}


@pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)
def test_seeds(make):
    rv.manual_seed(1)
    sampler = make(None)
    first, second = list(sampler), list(sampler)
    assert len(first) == len(second) == len(sampler)
    assert first != second or len(first) < 5
    rv.manual_seed(1)
    assert list(make(None)) == first
    generators = [lambda: 3, lambda: rv.Generator().manual_seed(3), lambda: np.random.default_rng(3)]
    for generator in generators:
        own, again = make(generator()), make(generator())
        assert [list(own), list(own)] == [list(again), list(again)]
        assert all(isinstance(i, int) for i in own)


def test_random_without_replacement_goes_through_all_before_it_repeats():
    order = list(RandomSampler(Y, num_samples=25))
    assert sorted(order[:10]) == sorted(order[10:20]) == Y.tolist()
    assert sorted(RandomSampler(Y, num_samples=4)) != list(RandomSampler(Y, num_samples=4))
    assert list(RandomSampler([])) == []


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_weights(scale):
    n, weights = 200_000, scale * np.array([0.0, 1.0, 2.0, 0.0, 5.0, 0.0])
    counts = np.bincount(WeightedRandomSampler(weights, n)._order(1), minlength=6)
    p = weights / weights.sum()
    assert (counts[p == 0] == 0).all()
    assert (np.abs(counts - n * p) <= 5 * np.sqrt(n * p * (1 - p))).all()


def test_weights_without_replacement():
    sampler = WeightedRandomSampler([1.0, 3.0, 0.0], 1, replacement=False)
    n = 4000
    first = sum(sampler._order(key)[0] == 1 for key in range(n))
    assert abs(first - 0.75 * n) <= 5 * np.sqrt(n * 0.75 * 0.25)
    everything = WeightedRandomSampler([0.0, 2.0, 1e-300, 5.0], 3, replacement=False)
    assert sorted(everything) == [1, 2, 3]


def test_batch_sampler():
    for drop_last in (False, True):
        batches = BatchSampler(iter(range(7)), 3, drop_last)
        assert list(batches) == [[0, 1, 2], [3, 4, 5], [6]][: 2 if drop_last else 3]
        assert len(BatchSampler(SequentialSampler(range(7)), 3, drop_last)) == (2 if drop_last else 3)


def test_loader_follows_a_sampler():
    assert seen(DataLoader(DATA, 2, sampler=[4, 4, 1])) == [[4, 4], [1]]
    assert seen(DataLoader(DATA, 2, sampler=[4, 4, 1], drop_last=True)) == [[4, 4]]
    assert seen(DataLoader(DATA, batch_sampler=[[1], [2, 9, 3]])) == [[1], [2, 9, 3]]
    assert len(DataLoader(DATA, batch_sampler=[[1], [2, 9, 3]])) == 2
    assert len(DataLoader(DATA, 4, sampler=WeightedRandomSampler(Y, 25))) == 7


def test_copies_go_on_alike():
    loader = DataLoader(DATA, 3, sampler=RandomSampler(Y, generator=5), augment=None)
    assert seen(copy.deepcopy(loader)) == seen(pickle.loads(pickle.dumps(loader))) == seen(loader)


def test_loader_without_batches():
    assert [one.item() for (one,) in DataLoader(DATA, batch_size=None)] == Y.tolist()
    assert list(DataLoader(["a", "b"], batch_size=None, shuffle=False)) == ["a", "b"]
    shuffled = DataLoader(DATA, batch_size=None, shuffle=True)
    assert sorted(one.item() for (one,) in shuffled) == Y.tolist()
    assert len(shuffled) == 10


def test_a_dataset_with_names():
    class Named(rv.data.Dataset):
        def __getitem__(self, name):
            return {"name": name}

        def __len__(self):
            return 2

    assert list(DataLoader(Named(), 2, sampler=["b", "a"])) == [{"name": ["b", "a"]}]


def test_datasets_in_a_row():
    both = DATA + TensorDataset(Y + 100)
    assert isinstance(both, ConcatDataset)
    assert both.cumulative_sizes == [10, 20]
    assert [both[i][0].item() for i in (0, 9, 10, -1, -20)] == [0, 9, 100, 109, 0]
    assert seen(DataLoader(both, 11))[1] == list(range(101, 110))
    assert len(ConcatDataset([TensorDataset(Y[:0]), both])) == 20
    assert ConcatDataset([TensorDataset(Y[:0]), both])[0][0].item() == 0
    refused(IndexError, "[ConcatDataset] got index 20 for 20 samples", lambda: both[20])
    refused(ValueError, "got no datasets", ConcatDataset, [])


def test_errors():
    with pytest.raises(ValueError, match=r"got a sampler and shuffle; expected one of them"):
        DataLoader(DATA, shuffle=True, sampler=[0])
    with pytest.raises(ValueError, match=r"got batch_sampler with batch_size, .*; expected it alone"):
        DataLoader(DATA, batch_size=2, batch_sampler=[[0]])
    refused(ValueError, "got drop_last without batch_size", DataLoader, DATA, batch_size=None, drop_last=True)
    refused(TypeError, "got augment of type int; expected a function", DataLoader, DATA, augment=3)
    refused(ValueError, "got prefetch -1; expected at least 1", DataLoader, DATA, prefetch=-1)
    with pytest.raises(ValueError, match=r"\[RandomSampler\] got num_samples 0; expected at least 1"):
        RandomSampler(Y, num_samples=0)
    for wrong in ([], [0.0], [-1.0, 2.0], [[1.0]], [np.nan], [np.inf]):
        refused(ValueError, "[WeightedRandomSampler] got weights of shape", WeightedRandomSampler, wrong, 1)
    with pytest.raises(ValueError, match="got num_samples 2 for 1 weights above 0"):
        WeightedRandomSampler([0.0, 1.0], 2, replacement=False)
    refused(NotImplementedError, "expected an __iter__", iter, Sampler())
    refused(TypeError, "[RandomSampler] got a seed of type str", RandomSampler, Y, generator="3")
    refused(ValueError, "[RandomSampler] got seed -1", RandomSampler, Y, generator=-1)


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_random_order_is_numpys(seed):
    for n in (0, 1, 2, 3, 64, 65, 1000, 4097):
        found, expected = permutation(n, seed), np.random.Generator(np.random.Philox(seed)).permutation(n)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
