"""Decision boundaries: the probabilities shown by the colours, the lines, the samples and their marks."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn

X = np.array([[-1.0, 0.0], [1.0, 1.0], [2.0, 0.0], [-2.0, 1.0]], np.float32)


def right_half(*end):
    """P(1) = sigmoid(4 x), whatever y is."""
    model = nn.Sequential(nn.Linear(2, 1), *end)
    model.load_state_dict({"0.weight": np.array([[4.0, 0.0]]), "0.bias": np.zeros(1)})
    return model


def of_scores(count):
    """Three classes: the middle, the right and the left, from scores 1, 2x and -2x."""
    model = nn.Linear(2, count)
    weight = np.array([[0.0, 0.0], [2.0, 0.0], [-2.0, 0.0]])
    model.load_state_dict({"weight": weight, "bias": np.array([1.0, 0.0, 0.0])})
    return model


def boundaries(ax):
    """x of the lines that are solid."""
    solid = [c for c in ax.collections if hasattr(c, "levels") and list(c.levels) == [0]]
    return sorted({round(float(x), 1) for c in solid for path in c.get_paths() for x in path.vertices[:, 0]})


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("model", [right_half(), right_half(nn.Sigmoid())], ids=["scores", "probabilities"])
def test_two_classes(model):
    ax = rv.plot.decision_boundary(model, X, [0, 1, 0, 0], ["left", "right"])
    assert legend(ax) == ["left", "right", "wrong (1)"]
    assert ax.get_title() == "3 of 4 right (75.0%)"
    assert boundaries(ax) == [0.0]
    (dashed,) = [c for c in ax.collections if hasattr(c, "levels") and len(c.levels) == 2]
    at = [path.vertices[:, 0].mean() for path in dashed.get_paths()]
    np.testing.assert_allclose(at, [-np.log(9) / 4, np.log(9) / 4], atol=0.03)
    ring = ax.collections[-1].get_offsets()
    np.testing.assert_array_equal(ring, X[2:3])
    pixels = ax.images[0].get_array()
    assert pixels[0, 0, 2] > pixels[0, 0, 0]  # blue at the left ...
    assert pixels[0, -1, 2] < pixels[0, -1, 0]  # ... and red at the right


def test_three_classes_of_which_one_has_no_sample():
    ax = rv.plot.decision_boundary(of_scores(3), X, [2, 1, 1, 2])
    assert legend(ax)[:3] == ["0", "1", "2"]
    assert boundaries(ax) == [-0.5, 0.5]
    assert ax.get_title() == "4 of 4 right (100.0%)"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("feature 1", "feature 2")


class Labels:
    def predict(self, x):
        return np.where(np.asarray(x)[:, 0] > 0, "right", "left")


class Shares:
    def predict_proba(self, x):
        p = (np.asarray(x)[:, 0] > 0).astype(float)
        return np.stack([1 - p, p], axis=1)


@pytest.mark.parametrize(("model", "y"), [(Labels(), ["left"] * 4), (Shares(), [-1, 1, 1, -1])])
def test_other_classifiers(model, y):
    ax = rv.plot.decision_boundary(model, X, y)
    (at,) = boundaries(ax)
    assert abs(at) < 0.1


def test_a_trainer_and_modes_are_left_as_they_were():
    model = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.9))
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), rv.optim.SGD(model.parameters(), lr=0.1))
    before = [p.detach().numpy().copy() for p in model.parameters()]
    rv.plot.decision_boundary(trainer, X, [0, 1, 2, 0], steps=20)
    rv.plot.decision_boundary(model, X, [0, 1, 2, 0], steps=20)
    assert model.training
    assert model[1].training
    assert all(np.array_equal(a, p.detach().numpy()) for a, p in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("model", "x", "y", "error", "text"),
    [
        (
            nn.Linear(3, 1),
            np.ones((4, 3)),
            [0] * 4,
            ValueError,
            r"x of shape \(4, 3\); expected finite values",
        ),
        (nn.Linear(2, 1), np.full((1, 2), np.nan), [0], ValueError, "expected finite values"),
        (nn.Linear(2, 1), X, [0, 1], ValueError, r"y of shape \(2,\); expected \(4,\)"),
        (nn.Linear(2, 2), X, [0, 1, 2, 0], ValueError, r"shape \(\d+, 2\) for 3 classes"),
        (len, X, [0, 1, 2, 0], TypeError, "expected a Module, or something with predict_proba"),
    ],
)
def test_wrong_arguments(model, x, y, error, text):
    with pytest.raises(error, match=text):
        rv.plot.decision_boundary(model, x, y)
