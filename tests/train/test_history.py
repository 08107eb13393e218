"""History: equal lengths, a mapping, plain data for JSON."""

import json
import math

import pytest
import ranvier as rv
from ranvier.train import History
from support.refused import refused
from support.training import X, Y, classifier, trainer_of


def test_mapping():
    history = History()
    history.append(loss=1.0, accuracy=0.5)
    history.append(loss=0.5, accuracy=0.75)
    assert list(history) == ["loss", "accuracy"]
    assert dict(history) == {"loss": [1.0, 0.5], "accuracy": [0.5, 0.75]}
    assert history.last() == {"loss": 0.5, "accuracy": 0.75}
    assert json.loads(json.dumps(history.to_dict())) == dict(history)
    assert repr(history) == "<History of 2 epochs: loss 0.5, accuracy 0.75>"
    assert "val_loss" not in history
    refused(KeyError, "no 'val_loss'; measured were loss, accuracy", lambda: history["val_loss"])


def test_quantities_that_come_late_or_go():
    history = History()
    history.append(loss=1.0)
    history.append(loss=0.5, val_loss=0.6)
    history.append(loss=0.4)
    assert math.isnan(history["val_loss"][0])
    assert history["val_loss"][1] == 0.6
    assert math.isnan(history["val_loss"][2])
    assert history.last() == {"loss": 0.4}
    assert repr(history) == "<History of 3 epochs: loss 0.4>"
    assert History.from_dict(history.to_dict()).last() == {"loss": 0.4}
    history.append(loss=0.3, val_loss=math.nan)  # measured, and not a number
    assert repr(history) == "<History of 4 epochs: loss 0.3, val_loss nan>"


def test_a_second_fit_without_validation_data(capsys):
    trainer = trainer_of(classifier(), metrics=["accuracy"])
    trainer.fit(X, Y, epochs=2, validation_data=(X, Y))
    history = trainer.fit(X, Y, epochs=2, callbacks=[rv.train.ProgressBar()])
    assert list(history.last()) == ["loss", "accuracy"]
    assert "nan" not in repr(history) + capsys.readouterr().out


def test_times_are_not_in_the_values():
    history = History.from_dict({"loss": [1.0, 0.5]})
    history.append(loss=0.25)
    history.seconds[-1], history.samples[-1] = 0.5, 100.0
    assert dict(history) == {"loss": [1.0, 0.5, 0.25]}
    assert [math.isnan(value) for value in history.seconds] == [True, True, False]
    assert history.samples[2] / history.seconds[2] == 200.0


def test_empty():
    history = History()
    assert history.last() == {}
    assert repr(history) == "<History of 0 epochs>"
    refused(KeyError, "none yet", lambda: history["loss"])


@pytest.mark.parametrize("format", ["json", "csv"])
def test_saved_and_loaded(tmp_path, format):
    history = History()
    history.append(loss=0.1 + 0.2, accuracy=1e-300)
    history.append(loss=1 / 3, val_loss=math.inf)
    history.append(loss=float(2**70))
    path = tmp_path / f"run.{format}"
    history.save(path)
    loaded = History.load(path)
    assert repr(loaded.to_dict()) == repr(history.to_dict())  # NaN is not equal to itself
    assert loaded.epochs == 3
    other = tmp_path / "other"
    History().save(other, format=format)
    assert History.load(other, format=format).epochs == 0


def test_a_csv_has_a_line_for_each_epoch(tmp_path):
    path = tmp_path / "run.csv"
    History.from_dict({"loss": [0.5, 0.25], "top 1, percent": [50, 75]}).save(path)
    assert path.read_text() == 'epoch,loss,"top 1, percent"\n1,0.5,50.0\n2,0.25,75.0\n'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "got format 'txt'; expected 'json' or 'csv'"),
        ("a.json", "[1]", "expected lists of numbers by name"),
        ("a.json", "{", "a.json"),
        ("a.json", '{"loss": [1], "accuracy": []}', r"got lists of lengths \[0, 1\]; expected equal lengths"),
        ("a.csv", "", "a.csv"),
        ("a.csv", "loss\n1\n", "expected a first column 'epoch'"),
        ("a.csv", "epoch,loss\n1\n", "a.csv"),
        ("a.csv", "epoch,loss\n1,x\n", "could not convert"),
    ],
)
def test_files_that_are_no_history(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"\[History.*{message}"):
        History.load(path)


def test_plot(tmp_path):
    panels = History.from_dict({"loss": [0.5, 0.25]}).plot(tmp_path / "run.png")
    assert len(panels) == 1
    assert (tmp_path / "run.png").read_bytes()[:4] == b"\x89PNG"
