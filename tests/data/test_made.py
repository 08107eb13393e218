"""The made data sets lie where their formulas say, can be drawn again, and refuse what they cannot make."""

import numpy as np
import pytest
import ranvier as rv
from ranvier.data import datasets

MAKERS = ["make_blobs", "make_circles", "make_classification", "make_moons", "make_spirals"]


@pytest.mark.parametrize("name", MAKERS)
def test_a_seed_gives_the_same_samples_and_another_seed_others(name):
    make = getattr(datasets, name)
    x, y = make(101, random_state=3)
    assert x.dtype == np.float32
    assert y.dtype == np.int64
    assert len(x) == len(y) == 101
    again = make(101, random_state=3)
    assert np.array_equal(x, again[0])
    assert np.array_equal(y, again[1])
    assert not np.array_equal(x, make(101, random_state=4)[0])
    rv.manual_seed(5)
    first = make(101)
    rv.manual_seed(5)
    assert np.array_equal(first[0], make(101)[0])


@pytest.mark.parametrize("name", MAKERS)
def test_classes_are_balanced(name):
    counts = np.bincount(getattr(datasets, name)(300, random_state=0, **flips(name))[1])
    assert counts.max() - counts.min() <= 1


def flips(name):
    return {"flip_y": 0} if name == "make_classification" else {}


def test_moons_and_circles_equal_sklearns_without_chance():
    sklearn = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    for name in ("make_moons", "make_circles"):
        for n in (7, 20, (3, 8)):
            x, y = getattr(datasets, name)(n, shuffle=False)
            their_x, their_y = getattr(sklearn, name)(n, shuffle=False)
            assert np.array_equal(x, their_x.astype(np.float32))
            assert np.array_equal(y, their_y)


def test_noise_has_the_deviation_asked_for():
    clean, _ = datasets.make_moons(20000, shuffle=False)
    noisy, _ = datasets.make_moons(20000, shuffle=False, noise=0.1, random_state=0)
    # the deviation of 40,000 numbers is known to 0.1 / sqrt(80,000); five of those
    assert abs((noisy - clean).std() - 0.1) < 5 * 0.1 / np.sqrt(80000)


def test_a_spiral_turns_once_and_grows():
    x, y = datasets.make_spirals(300, n_classes=3, shuffle=False)
    for k in range(3):
        arm = x[y == k].astype(float)
        radius = np.hypot(*arm.T)
        assert np.allclose(radius, np.linspace(0, 1, 100), atol=1e-6)
        angle = np.unwrap(np.arctan2(arm[1:, 1], arm[1:, 0]))
        assert angle[-1] - angle[0] == pytest.approx(2 * np.pi * 98 / 99, rel=1e-5)


def test_blobs_lie_around_their_centers():
    centers = np.array([[-1.0, -1.0, 0.0], [1.0, 1.0, 5.0]])
    x, y = datasets.make_blobs((4000, 1000), centers=centers, cluster_std=[0.5, 2.0], random_state=0)
    assert np.bincount(y).tolist() == [4000, 1000]
    for k, (n, spread) in enumerate([(4000, 0.5), (1000, 2.0)]):
        assert np.abs(x[y == k].mean(0) - centers[k]).max() < 5 * spread / np.sqrt(n)
        assert np.abs(x[y == k].std(0) - spread).max() < 5 * spread / np.sqrt(2 * n)


def test_classification_has_informative_redundant_and_idle_columns():
    x, y = datasets.make_classification(
        4000, 6, n_informative=3, n_redundant=2, flip_y=0, class_sep=2, shuffle=False, random_state=1
    )
    assert np.linalg.matrix_rank(x[:, :5], tol=1e-3) == 3  # two columns are sums of the three
    apart = np.abs(x[y == 0].mean(0) - x[y == 1].mean(0))
    assert apart[:3].max() > 1
    assert apart[5] < 5 * np.sqrt(2 / 2000)  # noise knows nothing of the class


def test_classification_has_the_shares_and_the_flips_asked_for():
    _, y = datasets.make_classification(1000, weights=[0.9, 0.1], flip_y=0, random_state=0)
    assert np.bincount(y).tolist() == [900, 100]
    args = {"n_samples": 4000, "shuffle": False, "random_state": 0}
    straight, flipped = (datasets.make_classification(flip_y=p, **args)[1] for p in (0, 0.5))
    share = (straight != flipped).mean()  # half of the labels that are drawn anew come out as they were
    assert abs(share - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 4000)


def test_a_small_network_learns_the_spirals():
    rv.manual_seed(0)
    x, y = datasets.make_spirals(200, noise=0.01, random_state=0)
    model = rv.nn.Sequential(rv.nn.Linear(2, 32), rv.nn.Tanh(), rv.nn.Linear(32, 2))
    optimizer = rv.optim.Adam(model.parameters(), lr=0.05)
    trainer = rv.Trainer(model, rv.nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
    assert trainer.fit(x, y, epochs=150, batch_size=50)["accuracy"][-1] > 0.95


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("make_moons", {"n_samples": 0}, r"\[make_moons\] got n_samples 0; expected at least 1"),
        ("make_moons", {"n_samples": (1, 2, 3)}, "expected one number, or 2"),
        ("make_moons", {"noise": -1.0}, r"\[make_moons\] got noise -1.0; expected a number >= 0"),
        ("make_circles", {"factor": 1.0}, "expected 0 <= factor < 1"),
        ("make_spirals", {"n_classes": 0}, "got n_classes 0; expected at least 1"),
        ("make_blobs", {"centers": [1.0, 2.0]}, r"expected \(classes, features\)"),
        ("make_blobs", {"cluster_std": [1.0, 2.0]}, "for 3 centers; expected a number >= 0, or one for each"),
        ("make_blobs", {"cluster_std": -1.0}, "expected a number >= 0"),
        ("make_classification", {"n_classes": 3}, "got 6 clusters and 2 informative features; .* at most 4"),
        ("make_classification", {"n_features": 3}, "expected at most n_features = 3"),
        ("make_classification", {"weights": [0.5, 0.6]}, "expected 2 shares that sum to 1"),
        ("make_classification", {"flip_y": 2}, "expected a share from 0 to 1"),
    ],
)
def test_what_cannot_be_made_is_refused(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(datasets, name)(**arguments)


def test_a_number_of_samples_is_whole():
    with pytest.raises(TypeError, match=r"\[make_moons\] got n_samples 2.5; expected an integer"):
        datasets.make_moons((2.5, 2))
