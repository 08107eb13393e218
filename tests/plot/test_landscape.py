"""Loss landscapes: the losses that are drawn, the directions, and the weights, which keep their bits."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn

X = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
Y = np.arange(8) % 2


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Dropout(), nn.Linear(5, 2))


def bits(model):
    return [value._array.tobytes() for value in model.state_dict().values()]


def test_a_curve_is_the_loss_along_a_filter_normalised_direction():
    model = nn.Linear(
        1, 2, bias=False
    )  # two filters of one weight: the direction is the weight, or its negative
    model.load_state_dict({"weight": [[3.0], [-0.5]]})
    seen = []

    def loss(output, target):
        seen.append(output._array.reshape(-1).astype(float))
        return rv.tensor(float(seen[-1] @ [1.0, 10.0]))

    ax = rv.plot.loss_landscape(model, loss, np.ones((1, 1)), 0, dimensions=1, steps=3, distance=0.5)
    np.testing.assert_allclose(np.abs(seen[2] - seen[1]), [1.5, 0.25], rtol=1e-6)
    np.testing.assert_allclose(seen[0] + seen[2], [6, -1], rtol=1e-6)
    np.testing.assert_array_equal(seen[1], [3, -0.5])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [s @ [1.0, 10.0] for s in seen])
    assert list(ax.lines[0].get_xdata()) == [-0.5, 0, 0.5]
    assert ax.get_title() == "Loss around the weights: -2 in the middle"


@pytest.mark.parametrize("dimensions", [1, 2])
def test_weights_statistics_and_modes_are_left_as_they_were(model, dimensions):
    before = bits(model)
    criterion = nn.CrossEntropyLoss()
    rv.plot.loss_landscape(model, criterion, X, Y, dimensions=dimensions, steps=5)
    assert bits(model) == before
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_weights_come_back_after_an_error(model):
    before, calls = bits(model), []

    def loss(output, target):
        calls.append(1)
        if len(calls) == 3:
            raise ArithmeticError
        return 0.0

    with pytest.raises(ArithmeticError):
        rv.plot.loss_landscape(model, loss, X, Y)
    assert bits(model) == before
    assert model.training


def test_contours_are_of_losses_from_the_least_to_the_largest(model):
    ax = rv.plot.loss_landscape(model, nn.CrossEntropyLoss(), X, Y, steps=5)
    with rv.no_grad():
        model.eval()
        here = nn.CrossEntropyLoss()(model(X), Y).item()
    assert ax.get_title() == f"Loss around the weights: {here:.4g} in the middle"
    filled = next(c for c in ax.collections if getattr(c, "filled", False))
    assert filled.levels[0] <= here <= filled.levels[-1]
    assert ax.lines[0].get_xydata().tolist() == [[0, 0]]
    assert (ax.get_xlim(), ax.get_ylim()) == ((-1, 1), (-1, 1))


def test_the_seed_chooses_the_direction(model):
    def curve(seed):
        ax = rv.plot.loss_landscape(model, nn.CrossEntropyLoss(), X, Y, dimensions=1, steps=5, seed=seed)
        return ax.lines[0].get_ydata().tolist()

    assert curve(1) == curve(1) != curve(2)


def test_losses_that_are_not_finite(model):
    ax = rv.plot.loss_landscape(model, lambda output, y: np.nan, X, Y, steps=3)
    assert ax.get_title() == "Loss around the weights: not finite in the middle"
    ax = rv.plot.loss_landscape(model, lambda output, y: np.inf, X, Y, dimensions=1, steps=3)
    assert np.isnan(ax.lines[0].get_ydata()).all()


def test_a_compiled_model_sees_the_moved_weights_and_the_old_ones_again(model):
    model.eval()
    predict = rv.compile(model)
    before = [predict(X).numpy(force=True) for _ in range(3)][-1]
    ax = rv.plot.loss_landscape(model, lambda output, y: predict(X).sum().item(), X, Y, dimensions=1, steps=3)
    assert len(set(ax.lines[0].get_ydata().tolist())) == 3
    np.testing.assert_array_equal(predict(X).numpy(force=True), before)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"dimensions": 3}, ValueError, "dimensions 3, steps 25 and distance 1.0; expected 1 or 2"),
        ({"steps": 4}, ValueError, "steps 4 .*an odd number"),
        ({"distance": 0.0}, ValueError, "distance 0.0; expected"),
        ({"model": nn.ReLU()}, ValueError, "without weights"),
        ({"model": 3}, TypeError, "expected a Module"),
        (
            {"loss": nn.CrossEntropyLoss(reduction="none")},
            ValueError,
            r"loss of shape \(8,\); expected one number",
        ),
    ],
)
def test_wrong_arguments(model, change, error, text):
    arguments = {"model": model, "loss": nn.CrossEntropyLoss(), "x": X, "y": Y, **change}
    with pytest.raises(error, match=text):
        rv.plot.loss_landscape(**arguments)
