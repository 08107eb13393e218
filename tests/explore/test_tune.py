"""Grid and random search of hyperparameters, and ablation."""

import math

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.explore import ablate, grid_search, log_uniform, randomized_search, uniform
from support.refused import refused

X, Y = rv.data.datasets.load_digits()
FLAT = X.reshape(-1, 64)


def accuracy(lr=0.1, hidden=16):
    model = rv.mlp([64, hidden, 10])
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), rv.optim.SGD(model.parameters(), lr=lr))
    trainer.fit(FLAT[:600], Y[:600], epochs=3)
    return (trainer.predict(FLAT[600:900]) == Y[600:900]).mean()


def test_every_combination_once_and_the_best_first():
    found = grid_search(lambda a, b: a * 10 + b, {"a": [1, 3, 2], "b": (4, 5)})
    assert [trial.score for trial in found] == [35, 34, 25, 24, 15, 14]
    assert found.best.parameters == {"a": 3, "b": 5}
    assert grid_search(lambda a: a, {"a": [2, 1, 3]}, maximize=False).best.parameters == {"a": 1}


def test_networks_on_digits_give_the_same_alone_and_among_others():
    before = rv.get_rng_state()
    found = grid_search(accuracy, {"lr": [1e-4, 0.3], "hidden": [16, 32]})
    assert rv.get_rng_state() == before
    assert found.best.parameters["lr"] == 0.3
    assert found.best.score > 0.6 > 0.3 > found[-1].score
    alone = grid_search(accuracy, {"lr": [0.3], "hidden": [found.best.parameters["hidden"]]})
    assert alone.best.score == found.best.score


def test_failures_are_kept_at_the_end():
    def score(a):
        if a == 0:
            raise ZeroDivisionError("no zero")
        return {1: math.nan, 2: math.inf}.get(a, a)

    found = grid_search(score, {"a": [0, 1, 5, 2, 3]})
    assert [trial.parameters["a"] for trial in found][:2] == [5, 3]
    errors = {trial.parameters["a"]: trial.error for trial in found}
    assert errors == {5: "", 3: "", 0: "ZeroDivisionError: no zero", 1: "score nan", 2: "score inf"}
    assert "ZeroDivisionError: no zero" in str(found)
    with pytest.raises(RuntimeError, match="every trial failed; the first with ZeroDivisionError"):
        _ = grid_search(score, {"a": [0]}).best


def test_an_interrupt_is_no_failure():
    def score(a):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grid_search(score, {"a": [1]})


def test_random_search_is_reproducible_and_stays_in_its_space():
    space = {"a": log_uniform(1e-4, 1e-1), "b": uniform(-1, 1), "c": ["x", "y"], "d": lambda g: g.integers(3)}
    first, again = (randomized_search(lambda a, b, c, d: a + b + d, space, 200) for _ in range(2))
    assert [t.parameters for t in first] == [t.parameters for t in again]
    assert [t.score for t in first] == sorted((t.score for t in first), reverse=True)
    a = np.array([t.parameters["a"] for t in first])
    assert ((a >= 1e-4) & (a <= 1e-1)).all()
    assert 0.2 < (a < 1e-3).mean() < 0.46  # each of three powers of ten as likely
    assert {t.parameters["c"] for t in first} == {"x", "y"}
    assert all(-1 <= t.parameters["b"] <= 1 for t in first)
    other = randomized_search(lambda a, b, c, d: a + b + d, space, 200, seed=1)
    assert [t.parameters for t in other] != [t.parameters for t in first]


def test_the_table():
    lines = str(grid_search(lambda lr, n: lr * n, {"lr": [0.001], "n": [10, 20]})).splitlines()
    assert lines[0].split() == ["lr", "n", "score", "seconds"]
    assert lines[2].split()[:3] == ["0.001", "20", "0.02"]


def test_wrong_spaces():
    with pytest.raises(ValueError, match=r"\[grid_search\] got no values for b; expected some"):
        grid_search(accuracy, {"a": [1], "b": []})
    refused(ValueError, "got no values for anything", grid_search, accuracy, {})
    refused(ValueError, "got a keyword without values", randomized_search, accuracy, {"lr": []}, 3)
    refused(ValueError, "trials", randomized_search, accuracy, {"lr": [1]}, 0)
    refused(ValueError, "expected 0 < low < high", log_uniform, 0, 1)
    refused(ValueError, "expected low < high", uniform, 1, 1)


@pytest.mark.slow
def test_ablation_of_a_small_image_network():
    def score(convolution, activation):
        first = nn.Conv2d(1, 8, 3) if convolution else nn.Identity()
        model = nn.Sequential(
            first,
            nn.ReLU() if activation else nn.Identity(),
            nn.Flatten(),
            nn.Linear(8 * 36 if convolution else 64, 10),
        )
        trainer = rv.Trainer(model, nn.CrossEntropyLoss(), rv.optim.Adam(model.parameters(), lr=0.01))
        trainer.fit(X[:900], Y[:900], epochs=3)
        return (trainer.predict(X[900:]) == Y[900:]).mean()

    before = rv.get_rng_state()
    found = ablate(score, ["convolution", "activation"], repeats=2)
    assert rv.get_rng_state() == before
    assert list(found) == ["all", "convolution", "activation"]
    assert found["all"] > 0.85
    assert found["convolution"] < 0
    assert found == ablate(score, ["convolution", "activation"], repeats=2)


def test_ablation_calls_each_variant():
    calls = []
    ablate(lambda **parts: calls.append(parts) or 0.0, "ab")
    assert calls == [{"a": True, "b": True}, {"a": False, "b": True}, {"a": True, "b": False}]
    refused(ValueError, "[ablate] got no parts", ablate, lambda: 0.0, [])
