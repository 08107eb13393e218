"""History: equal lengths, a mapping, plain data for JSON."""

import json
import math

import pandas as pd
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
    assert json.loads(json.dumps(history)) == history.to_dict() == dict(history)
    assert pd.DataFrame(history).to_numpy().tolist() == [[1.0, 0.5], [0.5, 0.75]]
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


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1], "expected lists of numbers by name"),
        ({"loss": ["x"]}, "could not convert"),
        ({"loss": [1], "accuracy": []}, "got lists of lengths [0, 1]; expected equal lengths"),
    ],
)
def test_what_is_no_history(values, message):
    refused(ValueError, message, History.from_dict, values)


def test_plot(tmp_path):
    panels = History.from_dict({"loss": [0.5, 0.25]}).plot(tmp_path / "run.png")
    assert len(panels) == 1
    assert (tmp_path / "run.png").read_bytes()[:4] == b"\x89PNG"
