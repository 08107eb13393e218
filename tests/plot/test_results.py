"""Pictures of training: decision boundaries, histories, matrices.

What matplotlib holds (lines, texts, pixels) is compared with models and numbers whose picture is known.
"""

import math
import sys

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.plot.figure import number
from support.python import printed
from support.refused import refused

X = np.array([[-1.0, 0.0], [1.0, 1.0], [2.0, 0.0], [-2.0, 1.0]], np.float32)


def right_half(*end):
    """P(1) = sigmoid(4 x), whatever y is."""
    model = nn.Sequential(nn.Linear(2, 1), *end)
    model.load_state_dict({"0.weight": np.array([[4.0, 0.0]]), "0.bias": np.zeros(1)})
    return model


def three_classes(count):
    """Three classes: the middle, the right and the left, from scores 1, 2x and -2x."""
    model = nn.Linear(2, count)
    weight = np.array([[0.0, 0.0], [2.0, 0.0], [-2.0, 0.0]])
    model.load_state_dict({"weight": weight, "bias": np.array([1.0, 0.0, 0.0])})
    return model


def boundaries(ax):
    """x of the lines that are solid."""
    solid = [c for c in ax.collections if hasattr(c, "levels") and list(c.levels) == [0]]
    found = set()
    for contours in solid:
        for path in contours.get_paths():
            found.update(np.round(path.vertices[:, 0], 1).tolist())
    return sorted(found)


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
    ax = rv.plot.decision_boundary(three_classes(3), X, [2, 1, 1, 2])
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


def test_wrong_arguments():
    draw = rv.plot.decision_boundary
    layer = nn.Linear(2, 1)
    refused(ValueError, "x of shape (4, 3); expected finite", draw, nn.Linear(3, 1), np.ones((4, 3)), [0] * 4)
    refused(ValueError, "expected finite values", draw, layer, np.full((1, 2), np.nan), [0])
    refused(ValueError, "y of shape (2,); expected (4,)", draw, layer, X, [0, 1])
    with pytest.raises(ValueError, match=r"shape \(\d+, 2\) for 3 classes"):
        draw(nn.Linear(2, 2), X, [0, 1, 2, 0])
    text = "expected a Module, or something with predict_proba"
    refused(TypeError, text, draw, len, X, [0, 1, 2, 0])


# The curves of a run: what is drawn, which epoch is marked as the best, and where the picture is saved.


HISTORY = {
    "loss": [0.9, 0.5, 0.4],
    "accuracy": [0.6, 0.8, 0.9],
    "val_loss": [1.0, 0.7, 0.8],
    "val_accuracy": [0.5, 0.7, 0.7],
}


def labels(panel):
    return [text.get_text() for text in panel.get_legend().get_texts()]


def test_training_and_validation_share_a_panel(tmp_path):
    loss, accuracy = rv.plot.history(HISTORY, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert labels(loss)[:2] == ["training", "validation"]
    assert [list(line.get_ydata()) for line in accuracy.lines[:2]] == [[0.6, 0.8, 0.9], [0.5, 0.7, 0.7]]
    assert list(loss.lines[0].get_xdata()) == [1, 2, 3]
    assert (loss.get_xlabel(), loss.get_ylabel(), accuracy.get_ylabel()) == ("epoch", "loss", "accuracy")


def test_the_best_epoch_is_the_least_validation_loss_and_the_first_highest_accuracy():
    loss, accuracy = rv.plot.history(HISTORY)
    assert labels(loss)[-1] == "best: 0.7 in epoch 2"
    assert labels(accuracy)[-1] == "best: 0.7 in epoch 2"
    assert [list(loss.lines[-1].get_data()[0]), list(loss.lines[-1].get_data()[1])] == [[2], [0.7]]


def test_quantities_that_are_neither_better_nor_worse_have_no_best():
    (panel,) = rv.plot.history({"learning_rate": [0.1, 0.01]})
    assert (panel.get_ylabel(), labels(panel)) == ("learning rate", ["training"])


def test_values_that_are_not_finite_leave_gaps():
    (panel,) = rv.plot.history({"loss": [0.5, math.nan, math.inf]})
    np.testing.assert_array_equal(panel.lines[0].get_ydata(), [0.5, math.nan, math.nan])
    assert labels(panel)[-1] == "best: 0.5 in epoch 1"
    (panel,) = rv.plot.history({"loss": [math.nan]})
    assert [text.get_text() for text in panel.texts] == ["no finite value"]


def test_a_wide_range_is_logarithmic_and_the_kept_epoch_is_marked():
    wide, narrow = rv.plot.history({"loss": [1e4, 30.0, 1.0], "accuracy": [0.0, 0.1, 0.9]}, kept=2)
    assert (wide.get_yscale(), narrow.get_yscale()) == ("log", "linear")
    assert "kept: epoch 2" in labels(wide)
    with pytest.raises(ValueError, match="got kept 4; expected an epoch from 1 to 3"):
        rv.plot.history({"loss": [1e4, 30.0, 1.0]}, kept=4)


def test_many_quantities_go_over_several_rows():
    panels = rv.plot.history({name: [1.0] for name in "abcd"})
    assert [panel.get_ylabel() for panel in panels] == list("abcd")
    assert len(panels[0].figure.axes) == 4


def test_the_callers_figure_is_drawn_in():
    from matplotlib.figure import Figure

    figure = Figure()
    panels = rv.plot.history(HISTORY, figure=figure)
    assert figure.axes == list(panels)
    with pytest.raises(TypeError, match=r"\[plot.history\] got figure of type int; expected a matplotlib"):
        rv.plot.history(HISTORY, figure=3)


def test_other_formats(tmp_path):
    rv.plot.history({"loss": [1.0]}, tmp_path / "curves.svg")
    assert "<svg" in (tmp_path / "curves.svg").read_text()


def test_pyplot_shows_the_picture_where_the_program_uses_it_and_none_is_saved(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    from matplotlib import pyplot

    pyplot.close("all")
    shown = rv.plot.history(HISTORY)[0].figure
    rv.plot.history(HISTORY, tmp_path / "curves.png")
    assert [pyplot.figure(number) for number in pyplot.get_fignums()] == [shown]
    pyplot.close("all")


@pytest.mark.slow
def test_pyplot_that_is_imported_later_saves_the_last_picture(tmp_path):
    code = f"""if True:
        import ranvier as rv
        for end in (2, 1):
            last = rv.plot.history({{'loss': [3, end], 'accuracy': [0.1, 0.2]}})
        import matplotlib.pyplot as plt
        plt.savefig({str(tmp_path / "a.png")!r})
        assert plt.gcf() is last[0].figure
        assert len(plt.get_fignums()) == 1
        assert plt.figure() is not plt.figure(1)
        plt.close("all")
        assert plt.get_fignums() == []"""
    printed("-c", code, MPLBACKEND="agg")
    from matplotlib import image

    assert (image.imread(tmp_path / "a.png")[..., :3] < 1).any()


def test_no_pyplot_without_need():
    code = (
        "import sys, ranvier as rv; rv.plot.history({'loss': [1]}); print('matplotlib.pyplot' in sys.modules)"
    )
    assert printed("-c", code) == "False\n"


def test_empty_history():
    refused(ValueError, "empty history", rv.plot.history, {})


def test_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    message = r"\[plot.history\] pictures need matplotlib: pip install 'ranvier\[plot\]'"
    with pytest.raises(ImportError, match=message):
        rv.plot.history(HISTORY)


# Confusion matrices and heat maps: the numbers, names and colours that are drawn.


def cells(ax):
    return [text.get_text() for text in ax.texts]


def ticks(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def test_counts_and_shares_of_rows():
    ax = rv.plot.confusion_matrix([0, 0, 0, 2], [0, 0, 2, 2])
    assert cells(ax) == ["2\n67%", "1\n33%", "0", "1\n100%"]
    assert ticks(ax.xaxis) == ticks(ax.yaxis) == ["0", "2"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[2 / 3, 1 / 3], [0, 1]])
    assert ax.get_title() == "Accuracy 75.0% of 4"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")


def test_the_positions_are_rows_of_the_truth():
    ax = rv.plot.confusion_matrix(["b", "a"], ["b", "b"], shares=False)
    placed = {text.get_position(): text.get_text() for text in ax.texts}
    assert placed == {(0, 0): "0", (1, 0): "1", (0, 1): "0", (1, 1): "1"}  # (column, row)


def test_names_are_of_all_classes_also_absent_ones():
    ax = rv.plot.confusion_matrix([0, 1], [0, 1], ["cat", "dog", "an animal with a very long name"])
    assert ticks(ax.yaxis) == ["cat", "dog", "an animal…ong name"]
    assert cells(ax)[6:] == ["0", "0", "0"]


def test_a_matrix_is_drawn_as_it_is():
    counts = rv.metrics.confusion_matrix([0, 1, 1], [0, 1, 0])
    assert cells(rv.plot.confusion_matrix(counts)) == ["1\n100%", "0", "1\n50%", "1\n50%"]
    assert ticks(rv.plot.confusion_matrix(counts, class_names=["no", "yes"]).xaxis) == ["no", "yes"]
    assert rv.plot.confusion_matrix(np.zeros((2, 2), int)).get_title() == "No samples"


def test_many_classes_leave_out_zeros_and_shares():
    y = np.repeat(np.arange(31), 4)
    assert cells(rv.plot.confusion_matrix(y, y)) == []  # nor counts, from 31 on
    ax = rv.plot.confusion_matrix(y[:120], y[:120], [f"class {i}" for i in range(30)])
    assert cells(ax) == ["4"] * 30
    assert len(ticks(ax.xaxis)) == 30


def test_a_style_with_grids_draws_none_over_the_cells():
    import matplotlib

    with matplotlib.rc_context({"axes.grid": True}):
        ax = rv.plot.confusion_matrix([0, 1], [0, 1])
        curve = rv.plot.history({"loss": [1.0, 0.5]})[0]
    assert not any(line.get_visible() for line in ax.get_xgridlines() + ax.get_ygridlines())
    assert all(line.get_visible() for line in curve.get_xgridlines())


def test_the_callers_axes_are_drawn_in():
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    assert rv.plot.confusion_matrix([0, 1], [0, 1], ax=ax) is ax


def test_heat_map():
    ax = rv.plot.heatmap([[1.0, -2.0], [0.25, np.nan]], x_names="ab", title="W", y="unit")
    assert cells(ax) == ["1", "-2", "0.25", "nan"]
    assert ticks(ax.xaxis) == ["a", "b"]
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ("W", "input", "unit")
    assert ax.images[0].get_clim() == (-2, 2)


def test_heat_map_of_a_layer_has_a_row_for_each_output():
    layer = rv.nn.Linear(3, 50)
    ax = rv.plot.heatmap(layer)
    np.testing.assert_array_equal(ax.images[0].get_array(), layer.weight.detach().numpy())
    ax = rv.plot.heatmap(np.arange(200).reshape(10, 20))
    assert not ax.texts
    assert ax.images[0].get_clim() == (0, 199)


def test_wrong_arguments_of_matrices():
    refused(ValueError, "y_pred of shape (1,); expected (2,)", rv.plot.confusion_matrix, [0, 1], [0])
    refused(ValueError, "2 class names and the label", rv.plot.confusion_matrix, [0, 3], [0, 1], ["a", "b"])
    refused(ValueError, "1 class names and the label", rv.plot.confusion_matrix, ["x"], ["x"], ["a"])
    refused(ValueError, "shape (2, 3); expected y_pred, or", rv.plot.confusion_matrix, np.ones((2, 3)))
    refused(ValueError, "3 class names for 2", rv.plot.confusion_matrix, np.ones((2, 2)), class_names="abc")
    refused(TypeError, "ax of type int; expected a matplotlib A", rv.plot.confusion_matrix, [0], [0], ax=1)
    refused(ValueError, "y_true of shape (0,)", rv.plot.confusion_matrix, [], [])
    refused(ValueError, "shape (2,); expected a matrix", rv.plot.heatmap, [1.0, 2.0])
    refused(ValueError, "2 y_names; expected 1", rv.plot.heatmap, [[1.0]], y_names="ab")


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
