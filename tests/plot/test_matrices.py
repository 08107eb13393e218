"""Confusion matrices and heat maps: the numbers, names and colours that are drawn."""

import numpy as np
import pytest
import ranvier as rv
from ranvier.plot.figure import number
from support.refused import refused


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
    y = np.repeat(np.arange(30), 4)
    ax = rv.plot.confusion_matrix(y, y, [f"class {i}" for i in range(30)])
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


def test_wrong_arguments():
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
