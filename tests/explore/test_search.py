"""Random search and gradient descent: the points they record, and where they end."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import explore, nn
from ranvier.explore import surfaces
from ranvier.explore.search import evaluate
from support.refused import refused


def test_descent_records_what_arithmetic_says():
    path = explore.gradient_descent(lambda w: ((w - 2) ** 2).sum() + 1, 5.0, lr=0.1, steps=20)
    by_hand = 2 + 3 * 0.8 ** np.arange(21)  # w - 0.1 * 2 (w - 2) = 2 + 0.8 (w - 2)
    np.testing.assert_allclose(path.points[:, 0], by_hand, rtol=1e-14)
    np.testing.assert_allclose(path.values, (by_hand - 2) ** 2 + 1, rtol=1e-14)
    assert path.steps == 20


def test_descent_on_the_bowl_reaches_its_minimum():
    path = explore.gradient_descent(surfaces.bowl, surfaces.bowl.start, lr=0.1, steps=100)
    np.testing.assert_allclose(path.end, surfaces.bowl.minima[0], atol=1e-8)
    assert (np.diff(path.values) <= 0).all()


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: rv.optim.SGD(p, lr=0.05, momentum=0.9),
        lambda p: rv.optim.RMSprop(p, lr=0.02),
        lambda p: rv.optim.Adam(p, lr=0.1),
        rv.optim.LBFGS,
    ],
)
def test_any_optimizer(optimizer):
    path = explore.gradient_descent(surfaces.bowl, surfaces.bowl.start, steps=300, optimizer=optimizer)
    assert path.points.shape == (301, 2)
    assert path.values[-1] == surfaces.bowl(path.end).item() < 1e-3
    assert path.points[0].tolist() == list(surfaces.bowl.start)


def test_the_learning_rate_is_the_optimizers():
    one = explore.gradient_descent(surfaces.bowl, (1, 1), lr=0.3, steps=3, optimizer=rv.optim.Adam)
    other = explore.gradient_descent(
        surfaces.bowl, (1, 1), steps=3, optimizer=lambda p: rv.optim.Adam(p, lr=0.3)
    )
    assert (one.points == other.points).all()
    assert one.name == "Adam"


def test_a_descent_that_leaves_the_numbers_stops():
    path = explore.gradient_descent(lambda w: (w**4).sum(), 10.0, lr=1.0, steps=100)
    assert 0 < path.steps < 100
    assert path.values[-1] > path.values[0]
    assert path.best_value == path.values[0]


def test_no_steps_is_the_start():
    path = explore.gradient_descent(surfaces.valley, (1.0, 1.0), steps=0)
    assert (path.steps, path.values.tolist()) == (0, [10.5])


def test_random_search_is_uniform_in_the_box_and_repeatable():
    rv.manual_seed(1)
    path = explore.random_search(surfaces.bowl, [-3, 0], [3, 1], trials=2000)
    assert path.points.shape == (2000, 2)
    assert (path.points >= [-3, 0]).all()
    assert (path.points < [3, 1]).all()
    # the mean of n uniform numbers is off by side / sqrt(12 n), here taken five times
    assert (abs(path.points.mean(0) - [0, 0.5]) < 5 * np.array([6, 1]) / np.sqrt(12 * 2000)).all()
    assert path.values[17] == surfaces.bowl(path.points[17]).item()
    assert path.best_value == path.values.min() == path.best_so_far[-1]
    rv.manual_seed(1)
    again = explore.random_search(surfaces.bowl, [-3, 0], [3, 1], trials=2000)
    assert (again.points == path.points).all()


def test_descent_beats_guessing_on_a_neuron():
    """Mean squared error of a sigmoid on three points: 100 steps against 100 guesses."""
    x = rv.tensor([[0.5, 0.8], [0.3, 0.9], [0.7, 0.4]], dtype=rv.float64)
    y = rv.tensor([1.0, 1.0, 0.0], dtype=rv.float64)

    def loss(w):
        return ((rv.sigmoid(x @ w) - y) ** 2).mean()

    rv.manual_seed(0)
    guessed = explore.random_search(loss, -4, 4, trials=100, dimensions=2)
    followed = explore.gradient_descent(loss, [0.0, 0.0], lr=5.0, steps=100)
    assert followed.best_value < guessed.best_value


def test_parameters_of_a_model():
    rv.manual_seed(0)
    x, y = rv.rand(8, 2), rv.rand(8, 1)
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    loss = explore.ParameterLoss(model, nn.MSELoss(), x, y)
    assert loss.size == 13
    assert evaluate(loss, loss.start) == pytest.approx(nn.MSELoss()(model(x), y).item())
    value, gradient = rv.value_and_grad(loss)(rv.tensor(loss.start, dtype=rv.float64))
    nn.MSELoss()(model(x), y).backward()
    by_module = np.concatenate([p.grad.numpy().reshape(-1) for p in model.parameters()])
    np.testing.assert_array_equal(gradient.numpy(), by_module.astype(np.float64))
    path = explore.gradient_descent(loss, loss.start, lr=0.1, steps=50)
    assert path.points.shape == (51, 13)
    assert path.best_value < value.item()
    loss.load(path.best)
    assert nn.MSELoss()(model(x), y).item() == pytest.approx(path.best_value)


def test_guessing_the_weights_of_a_network():
    """XOR's 17 numbers: 2000 guesses are worse than 200 steps of Adam."""
    rv.manual_seed(0)
    x, y = rv.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]), rv.tensor([[0.0], [1], [1], [0]])
    loss = explore.ParameterLoss(rv.mlp([2, 4, 1], "tanh", output="sigmoid"), nn.BCELoss(), x, y)
    start = loss.start.copy()
    guessed = explore.random_search(loss, -6, 6, trials=2000, dimensions=loss.size)
    assert guessed.points.shape == (2000, 17)
    assert (loss.start == start).all()
    followed = explore.gradient_descent(loss, start, lr=0.1, steps=200, optimizer=rv.optim.Adam)
    assert followed.best_value < 0.02 < guessed.best_value


def test_a_frozen_layer_is_no_parameter():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    loss = explore.ParameterLoss(model, nn.MSELoss(), np.zeros((1, 2)), np.zeros((1, 1), np.float32))
    assert loss.size == 4
    model.requires_grad_(False)
    with pytest.raises(ValueError, match=r"\[ParameterLoss\] got a model without trainable parameters"):
        explore.ParameterLoss(model, nn.MSELoss(), np.zeros((1, 2)), np.zeros((1, 1)))


@pytest.mark.parametrize("name", explore.SURFACES)
def test_surfaces_are_least_at_their_minima(name):
    surface = explore.SURFACES[name]
    gradient = rv.grad(surface)
    rng = np.random.default_rng(0)
    around = rng.uniform(surface.low, surface.high, (300, 2))
    for minimum in surface.minima:
        least = evaluate(surface, minimum)
        # the minima are written with about 12 digits: the slope is the curvature (hundreds) times 1e-12
        np.testing.assert_allclose(gradient(rv.tensor(minimum, dtype=rv.float64)).numpy(), 0, atol=1e-8)
        assert all(evaluate(surface, point) >= least for point in around)
    assert (np.array(surface.low) < surface.start).all()
    assert (surface.start < np.array(surface.high)).all()
    rv.autograd.gradcheck(surface, np.array(surface.start))


def test_wrong_calls():
    with pytest.raises(ValueError, match=r"\[random_search\] got trials 0; expected at least 1"):
        explore.random_search(surfaces.bowl, [0, 0], [1, 1], trials=0)
    with pytest.raises(ValueError, match=r"expected vectors of one length, or numbers and dimensions"):
        explore.random_search(surfaces.bowl, 0, 1)
    refused(ValueError, "low <= high", explore.random_search, surfaces.bowl, [1, 1], [0, 2])
    with pytest.raises(ValueError, match=r"\[gradient_descent\] got steps -1; expected at least 0"):
        explore.gradient_descent(surfaces.bowl, [0, 0], steps=-1)
    with pytest.raises(ValueError, match=r"got start of shape \(2, 2\)"):
        explore.gradient_descent(surfaces.bowl, np.zeros((2, 2)))
    with pytest.raises(TypeError, match=r"returned shape \(2,\); expected one number"):
        explore.gradient_descent(lambda w: w * w, [0, 0])
    refused(TypeError, "does not depend on its vector", explore.gradient_descent, lambda w: 3.0, [0, 0])
    refused(TypeError, "returned str", explore.random_search, lambda w: "high", [0, 0], [1, 1])
    refused(ValueError, "[bowl] got a point of shape (3,)", surfaces.bowl, [0, 0, 0])
    refused(ValueError, "[Path] got points of shape", explore.Path, [[1.0]], [1.0, 2.0])
    with pytest.raises(ValueError, match=r"\[ParameterLoss\] got a vector of shape \(2,\); expected \(3,\)"):
        explore.ParameterLoss(nn.Linear(2, 1), nn.MSELoss(), np.zeros((1, 2)), np.zeros((1, 1))).load([1, 2])


def test_wrong_arguments():
    refused(TypeError, "got f of type int; expected a function", explore.random_search, 3, [0], [1])
    refused(ValueError, "shape (2,), high of", explore.random_search, surfaces.bowl, [0, 0], [1, 1, 1])
    refused(TypeError, "got low of type str", explore.random_search, surfaces.bowl, "a", 1)
    with pytest.raises(TypeError, match=r"got trials .*; expected an integer"):
        explore.random_search(surfaces.bowl, [0, 0], [1, 1], 1.5)
    refused(
        ValueError,
        "got dimensions 0; expected at least 1",
        lambda: explore.random_search(surfaces.bowl, 0, 1, dimensions=0),
    )
    refused(TypeError, "[gradient_descent] got f of type NoneType", explore.gradient_descent, None, [0])
    refused(TypeError, "got start of type NoneType", explore.gradient_descent, surfaces.bowl, None)
    refused(ValueError, "got rates []", explore.compare_learning_rates, surfaces.bowl, [0, 0], ())
    refused(ValueError, "optimizers [1]", explore.compare_optimizers, surfaces.bowl, optimizers=[1])
