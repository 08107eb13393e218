"""Perceptron: gates, its learning rule step by step, and proofs that no line separates."""

import numpy as np
import pytest
import ranvier as rv
from hypothesis import given, settings
from hypothesis import strategies as st
from ranvier.explore import Perceptron
from ranvier.explore.perceptron import certificate, proves
from support.refused import refused

INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])


@pytest.mark.parametrize(
    "outputs", [[0, 0, 0, 1], [0, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 1]]
)
def test_gates(outputs):
    gate = Perceptron(max_iter=20).fit(INPUTS, outputs)
    assert gate.predict(INPUTS).tolist() == outputs
    assert gate.score(INPUTS, outputs) == 1
    assert gate.converged_
    assert gate.separable_
    assert gate.certificate_ is None
    assert gate.errors_[-1] == 0 < min(gate.errors_[:-1])
    assert len(gate.errors_) == gate.n_iter_
    assert gate.verdict_ == f"separated after {gate.n_iter_} epochs and {sum(gate.errors_)} mistakes"


def test_the_rule_by_hand():
    """AND: the one mistake of the first epoch is at (1, 1); then (0, 0), (0, 1) and (1, 1) are wrong."""
    first, second = Perceptron(1).fit(INPUTS, [0, 0, 0, 1]), Perceptron(2).fit(INPUTS, [0, 0, 0, 1])
    assert (first.coef_.tolist(), first.intercept_.tolist(), first.errors_) == ([[1, 1]], [1], [1])
    assert (second.coef_.tolist(), second.intercept_.tolist(), second.errors_) == ([[2, 1]], [0], [1, 3])
    assert second.separable_ is None
    assert second.verdict_.startswith(
        "not separated after 2 epochs, the last with 3 mistakes; a line may exist"
    )


def test_the_rate_only_scales():
    one, tenth = Perceptron().fit(INPUTS, [0, 0, 0, 1]), Perceptron(eta0=0.125).fit(INPUTS, [0, 0, 0, 1])
    assert one.errors_ == tenth.errors_
    assert (one.coef_ == 8 * tenth.coef_).all()


@pytest.mark.parametrize("outputs", [[0, 1, 1, 0], [1, 0, 0, 1]])
def test_xor_is_proved_not_separable(outputs):
    gate = Perceptron(max_iter=30).fit(INPUTS, outputs)
    assert (gate.converged_, gate.separable_, gate.certificate_) == (False, False, [1, 1, 1, 1])
    assert gate.n_iter_ == 30
    assert min(gate.errors_) > 0
    assert gate.score(INPUTS, outputs) < 1
    assert gate.verdict_.startswith("not separable: 4 samples prove that no straight boundary")


def test_overlapping_clouds_are_proved_not_separable():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, (50, 2)), rng.normal(1, 1, (50, 2))])
    y = np.repeat([-1, 1], 50)
    found = Perceptron(max_iter=200).fit(x, y)
    assert found.separable_ is False
    assert proves(x, y, found.certificate_)
    assert found.score(x, y) > 0.5


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_the_verdict_is_never_wrong(data):
    """On small grids a line separates exactly where the hulls of the classes do not meet, which a linear
    program would say; here by the perceptron run long enough, or the certificate."""
    n = data.draw(st.integers(3, 7))
    points = st.tuples(st.integers(-3, 3), st.integers(-3, 3))
    x = np.array(data.draw(st.lists(points, min_size=n, max_size=n)))
    y = np.array(data.draw(st.lists(st.sampled_from([0, 1]), min_size=n, max_size=n)))
    y[0], y[1] = 0, 1
    found = Perceptron(max_iter=3000).fit(x, y)
    assert found.separable_ == (found.score(x, y) == 1)  # never None on so few points
    assert found.separable_ or proves(x, 2 * y - 1, found.certificate_)


def test_proves_trusts_nothing():
    signs = np.array([-1, 1, 1, -1])
    assert proves(INPUTS, signs, [3, 3, 3, 3])
    for numbers in ([0, 0, 0, 0], [1, 1, 1], [-1, -1, -1, -1], [1, 1, 1, 2]):
        assert not proves(INPUTS, signs, numbers)
    third = INPUTS / 3 + 0.1  # rounded numbers are what they are: here they are not quite a rectangle
    assert proves(third, signs, [1, 1, 1, 1]) == (third[0] + third[3] == third[1] + third[2]).all()
    assert certificate(INPUTS, signs, [0, 0, 0, 0]) is None


def test_too_large_to_prove_is_said():
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (200, 40)), rng.integers(0, 2, 200)
    found = Perceptron(max_iter=3).fit(x, y)
    assert found.separable_ is None
    assert "not separated after 3 epochs" in found.verdict_


def test_labels_of_any_kind_and_tensors():
    found = Perceptron().fit(rv.tensor(INPUTS), ["no", "no", "no", "yes"])
    assert found.classes_.tolist() == ["no", "yes"]
    assert found.predict([[1, 1], [0, 1]]).tolist() == ["yes", "no"]
    assert found.score(INPUTS, ["no", "no", "no", "yes"]) == 1
    neuron = found.neuron
    assert neuron(INPUTS).tolist() == [0, 0, 0, 1]
    assert neuron.z(INPUTS).tolist() == found.decision_function(INPUTS).tolist()
    assert repr(found) == "Perceptron(max_iter=1000, eta0=1.0)"


def test_iris_setosa_is_apart_from_versicolor():
    x, y = rv.data.datasets.load_iris()
    found = Perceptron().fit(x[:100], y[:100])
    assert found.separable_
    assert found.score(x[:100], y[:100]) == 1


def test_iris_versicolor_is_not_apart_from_virginica():
    x, y = rv.data.datasets.load_iris()
    centred = x[50:] - x[50:].mean(axis=0)  # as it is, the rule needs three times the epochs
    found = Perceptron().fit(centred, y[50:])
    assert found.separable_ is False
    assert proves(centred, 2 * (y[50:] == 2) - 1, found.certificate_)
    assert found.score(centred, y[50:]) > 0.9


def test_wrong_calls():
    refused(ValueError, "[perceptron] got 3 classes; expected two", Perceptron().fit, INPUTS, [0, 1, 2, 0])
    refused(ValueError, "got 1 classes", Perceptron().fit, INPUTS, [1, 1, 1, 1])
    refused(ValueError, "got x of shape (4, 2) and y of shape (3,)", Perceptron().fit, INPUTS, [0, 1, 0])
    with pytest.raises(ValueError, match=r"got x of shape \(4,\); expected finite numbers \(n, n_features\)"):
        Perceptron().fit([0, 1, 2, 3], [0, 1, 0, 1])
    refused(ValueError, "not finite", Perceptron().fit, [[np.nan], [1.0]], [0, 1])
    refused(ValueError, "got max_iter = 0", Perceptron, max_iter=0)
    refused(ValueError, "eta0 = -1", Perceptron, eta0=-1)
    refused(RuntimeError, "[perceptron] got decision_function before fit", Perceptron().predict, INPUTS)
    fitted = Perceptron().fit(INPUTS, [0, 0, 0, 1])
    refused(ValueError, "got x of shape (1, 3); expected (n, 2)", fitted.predict, [[1, 2, 3]])
    refused(ValueError, "got y of shape (2,) for 4 samples", fitted.score, INPUTS, [0, 1])
