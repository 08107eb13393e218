"""Pictures: what is drawn, where it is saved, and the message when matplotlib is missing."""

import sys

import pytest
import ranvier as rv

HISTORY = {"loss": [0.9, 0.5], "accuracy": [0.6, 0.8], "val_loss": [1.0, 0.7], "val_accuracy": [0.5, 0.7]}


def test_history(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (pip install 'ranvier[plot]')")
    figure = rv.plot.history(HISTORY, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    loss, accuracy = figure.axes
    assert [line.get_label() for line in loss.lines] == ["training", "validation"]
    assert [line.get_ydata().tolist() for line in accuracy.lines] == [[0.6, 0.8], [0.5, 0.7]]
    assert loss.lines[0].get_xdata().tolist() == [1, 2]
    assert loss.get_xlabel() == "epoch"


def test_other_formats_and_no_file(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (pip install 'ranvier[plot]')")
    rv.plot.history({"loss": [1.0]}, tmp_path / "curves.svg")
    assert "<svg" in (tmp_path / "curves.svg").read_text()
    assert len(rv.plot.history({"loss": [1.0]}).axes) == 1


def test_empty_history():
    with pytest.raises(ValueError, match="empty history"):
        rv.plot.history({})


def test_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        ImportError, match=r"\[plot.history\] pictures need matplotlib: pip install 'ranvier\[plot\]'"
    ):
        rv.plot.history(HISTORY)
