"""Pictures of weights: histograms, heat maps, norms over time."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.plot.figure import number
from support.refused import refused


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(3, 50), nn.ReLU(), nn.Linear(50, 2))


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_histograms_count_every_weight(model):
    panels = rv.plot.weights(model)
    assert [p.get_title() for p in panels] == ["0.weight (50, 3)", "2.weight (2, 50)"]
    assert [sum(bar.get_height() for bar in p.patches) for p in panels] == [150, 100]
    w = model[0].weight.detach().numpy()
    assert texts(panels[0]) == [f"mean {w.mean():.2g}\nstd {w.std():.2g}"]
    assert len(rv.plot.weights(model, biases=True)) == 4


def test_weights_that_are_not_finite_are_counted(model):
    model[2].weight.data[0, :3] = float("nan")
    first, last = rv.plot.weights(model)
    assert texts(last)[1] == "3 not finite"
    assert sum(bar.get_height() for bar in last.patches) == 97
    assert len(texts(first)) == 1


def test_heat_map():
    ax = rv.plot.heatmap([[1.0, -2.0], [0.25, np.nan]], x_names="ab", title="W", y="unit")
    assert texts(ax) == ["1", "-2", "0.25", "nan"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b"]
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ("W", "input", "unit")
    assert ax.images[0].get_clim() == (-2, 2)


def test_heat_map_of_a_layer_has_a_row_for_each_output(model):
    ax = rv.plot.heatmap(model[0])
    np.testing.assert_array_equal(ax.images[0].get_array(), model[0].weight.detach().numpy())
    ax = rv.plot.heatmap(np.arange(200).reshape(10, 20))
    assert not ax.texts
    assert ax.images[0].get_clim() == (0, 199)


def test_norms_of_a_run(model):
    norms = rv.NormHistory()
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), rv.optim.SGD(model.parameters(), lr=0.1))
    trainer.fit(np.ones((4, 3)), np.array([0, 1, 0, 0]), epochs=3, callbacks=[norms])
    weights, gradients = rv.plot.norms(norms)
    assert [line.get_label() for line in weights.lines] == ["0.weight", "2.weight"]
    np.testing.assert_array_equal(gradients.lines[1].get_ydata(), norms.gradients["2.weight"])
    assert list(weights.lines[0].get_xdata()) == [1, 2, 3]
    assert (weights.get_ylabel(), gradients.get_ylabel()) == ("norm of weights", "norm of gradients")


def test_norms_over_few_magnitudes_have_plain_ticks():
    (panel,) = rv.plot.norms({"gradients": {"a": [0.02, 0.04], "b": [0.5, 0.9]}})
    panel.figure.canvas.draw()
    assert {"0.02", "0.05", "0.1", "0.2", "0.5"} <= {t.get_text() for t in panel.get_yticklabels()}
    assert not any(t.get_text() for t in panel.get_yticklabels(minor=True))


def test_norms_over_many_magnitudes_and_layers():
    curves = {f"{i}.weight": [10.0**-i, 10.0**-i] for i in range(15)}
    weights, gradients = rv.plot.norms({"weights": {"w": [1.0, 1.1]}, "gradients": curves})
    assert (weights.get_yscale(), gradients.get_yscale()) == ("linear", "log")
    assert [t.get_text() for t in gradients.get_legend().get_texts()] == [
        "first: 0.weight",
        "last: 14.weight",
    ]


def test_wrong_arguments():
    refused(ValueError, "model without weights", rv.plot.weights, nn.ReLU())
    refused(TypeError, "expected a Module", rv.plot.weights, [1])
    refused(ValueError, "shape (2,); expected a matrix", rv.plot.heatmap, [1.0, 2.0])
    refused(ValueError, "2 y_names; expected 1", rv.plot.heatmap, [[1.0]], y_names="ab")
    refused(ValueError, "no norms; expected those of at least one epoch", rv.plot.norms, rv.NormHistory())
    refused(TypeError, "expected an rv.NormHistory", rv.plot.norms, [1.0])


@pytest.mark.parametrize(
    ("value", "most", "text"),
    [
        (765.0, 765.0, "765"),
        (3.4, 765.0, "3"),
        (3e-5, 1.0, "0"),
        (-0.001, 1.0, "0"),
        (0.123, 0.97, "0.12"),
        (-2.534, 4.0, "-2.53"),
        (0.041, 0.04, "0.041"),
        (2e6, 2e6, "2e+06"),
        (0.0, 0.0, "0"),
    ],
)
def test_numbers_have_the_digits_that_count_beside_the_largest(value, most, text):
    assert number(value, most) == text
