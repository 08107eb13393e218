"""Samplers and splits: PyTorch's lengths and errors, the right distribution, the same order for a seed.

Counts of draws are compared with their probabilities, within five standard deviations.
"""

import copy
import pickle

import numpy as np
import pytest
import ranvier as rv
from hypothesis import given, strategies as st
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
    train_test_split,
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


# train_test_split: scikit-learn's sizes, nothing lost or doubled, classes in proportion.


@pytest.mark.parametrize(
    "sizes", [{}, {"test_size": 0.3}, {"train_size": 0.3}, {"test_size": 7}, {"train_size": 7}]
)
def test_sizes_are_sklearns(sizes):
    theirs = pytest.importorskip("sklearn.model_selection", reason="scikit-learn is not installed")
    x = np.arange(25)
    ours = train_test_split(x, random_state=0, **sizes)
    expected = theirs.train_test_split(x, random_state=0, **sizes)
    assert [len(part) for part in ours] == [len(part) for part in expected]


def test_nothing_is_lost_and_rows_stay_together():
    x, y = np.arange(40).reshape(20, 2), np.arange(20)
    xa, xb, ya, yb = train_test_split(x, y, test_size=0.25, random_state=1)
    assert sorted([*ya, *yb]) == y.tolist()
    assert np.array_equal(xa, x[ya])
    assert np.array_equal(xb, x[yb])
    assert ya.tolist() != sorted(ya)


def test_seeds_of_split():
    x = np.arange(100)
    one, again, other = (train_test_split(x, random_state=seed)[0].tolist() for seed in (1, 1, 2))
    assert one == again
    assert one != other
    rv.manual_seed(5)
    first, second = train_test_split(x)[0].tolist(), train_test_split(x)[0].tolist()
    assert first != second
    rv.manual_seed(5)
    assert train_test_split(x)[0].tolist() == first
    generator = np.random.default_rng(0)
    assert train_test_split(x, random_state=generator)[0].tolist() != x[:75].tolist()


def test_without_shuffle():
    train, test = train_test_split(np.arange(8), shuffle=False)
    assert train.tolist() == [0, 1, 2, 3, 4, 5]
    assert test.tolist() == [6, 7]


@given(
    counts=st.lists(st.integers(2, 30), min_size=2, max_size=6),
    share=st.floats(0.2, 0.8),
    seed=st.integers(0, 9),
)
def test_stratified_parts_have_the_proportions_of_the_whole(counts, share, seed):
    y = np.repeat(np.arange(len(counts)), counts)
    n_test = int(np.ceil(share * len(y)))
    if min(n_test, len(y) - n_test) < len(counts):
        return
    train, test = train_test_split(np.arange(len(y)), test_size=n_test, random_state=seed, stratify=y)
    assert sorted([*train, *test]) == list(range(len(y)))
    assert len(test) == n_test
    found = np.bincount(y[test], minlength=len(counts))
    exact = np.array(counts) * n_test / len(y)
    assert (np.abs(found - exact) < 1).all()


def test_stratify_by_names():
    y = np.array(["cat"] * 6 + ["dog"] * 4)
    _, test = train_test_split(y, test_size=5, random_state=0, stratify=y)
    assert sorted(test) == ["cat"] * 3 + ["dog"] * 2


def test_stratified_draw_of_a_part_of_the_data():
    y = np.repeat([0, 1], [60, 40])
    train, test = train_test_split(y, train_size=20, test_size=10, random_state=0, stratify=y)
    assert np.bincount(train).tolist() == [12, 8]
    assert np.bincount(test).tolist() == [6, 4]


def test_errors_of_split():
    split, x, halves = train_test_split, np.arange(10), np.repeat([0, 1], 5)
    refused(ValueError, "got test_size 1.0; expected a share between 0 and 1", split, x, test_size=1.0)
    refused(ValueError, "got test_size 10 of 10 samples; expected 1 to 9", split, x, test_size=10)
    text = "do not split into 6 for training and 6 for testing"
    refused(ValueError, text, split, x, test_size=6, train_size=6)
    refused(ValueError, "got stratify of shape (9,); expected (10,)", split, x, stratify=np.zeros(9))
    refused(ValueError, "one sample of class", split, x, stratify=np.arange(10) == 9)
    refused(ValueError, "5 classes do not stratify", split, x, stratify=x // 2, test_size=3)
    refused(ValueError, "got stratify with shuffle=False", split, x, stratify=halves, shuffle=False)
    refused(ValueError, "got seed -1", split, x, random_state=-1)


def test_more_errors():
    refused(ValueError, "got no arrays", train_test_split)
    refused(ValueError, "got arrays of [3, 4] samples", train_test_split, np.arange(3), np.arange(4))
    refused(ValueError, "got a number", train_test_split, 3)
    refused(ValueError, "1 samples do not split", train_test_split, [1])
    refused(TypeError, "got test_size 'half'", train_test_split, [1, 2], test_size="half")
    refused(TypeError, "seed of type str", train_test_split, [1, 2], random_state="x")
