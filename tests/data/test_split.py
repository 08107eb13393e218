"""train_test_split: scikit-learn's sizes, nothing lost or doubled, classes in proportion."""

import numpy as np
import pytest
import ranvier as rv
from hypothesis import given
from hypothesis import strategies as st
from ranvier.data import train_test_split
from support.refused import refused


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


def test_seeds():
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"test_size": 1.0}, "got test_size 1.0; expected a share between 0 and 1"),
        ({"test_size": 10}, "got test_size 10 of 10 samples; expected 1 to 9"),
        ({"test_size": 6, "train_size": 6}, "do not split into 6 for training and 6 for testing"),
        ({"stratify": np.zeros(9)}, r"got stratify of shape \(9,\); expected \(10,\)"),
        ({"stratify": np.array([0] * 9 + [1])}, "one sample of class"),
        ({"stratify": np.repeat(np.arange(5), 2), "test_size": 3}, "5 classes do not stratify"),
        ({"stratify": np.repeat([0, 1], 5), "shuffle": False}, "got stratify with shuffle=False"),
        ({"random_state": -1}, "got seed -1"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        train_test_split(np.arange(10), **arguments)


def test_more_errors():
    refused(ValueError, "got no arrays", train_test_split)
    refused(ValueError, "got arrays of [3, 4] samples", train_test_split, np.arange(3), np.arange(4))
    refused(ValueError, "got a number", train_test_split, 3)
    refused(ValueError, "1 samples do not split", train_test_split, [1])
    refused(TypeError, "got test_size 'half'", train_test_split, [1, 2], test_size="half")
    refused(TypeError, "seed of type str", train_test_split, [1, 2], random_state="x")
