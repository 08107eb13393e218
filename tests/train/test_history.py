"""History: equal lengths, a mapping, plain data for JSON."""

import json
import math

import pytest
from ranvier.train import History


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
    with pytest.raises(KeyError, match="no 'val_loss'; measured were loss, accuracy"):
        history["val_loss"]


def test_quantities_that_come_late_or_go():
    history = History()
    history.append(loss=1.0)
    history.append(loss=0.5, val_loss=0.6)
    history.append(loss=0.4)
    assert math.isnan(history["val_loss"][0])
    assert history["val_loss"][1] == 0.6
    assert math.isnan(history["val_loss"][2])


def test_empty():
    history = History()
    assert history.last() == {}
    assert repr(history) == "<History of 0 epochs>"
    with pytest.raises(KeyError, match="none yet"):
        history["loss"]
