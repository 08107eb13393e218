"""The curves of a run: what is drawn, which epoch is marked as the best, and where the picture is saved."""

import math
import sys

import numpy as np
import pytest
import ranvier as rv
from support.python import printed
from support.refused import refused

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
    with pytest.raises(
        ImportError, match=r"\[plot.history\] pictures need matplotlib: pip install 'ranvier\[plot\]'"
    ):
        rv.plot.history(HISTORY)
