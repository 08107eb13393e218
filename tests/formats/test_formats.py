"""Files of each released version are read, and the models in them give what they gave.

`PYTHONPATH=python python tests/formats/test_formats.py` writes those of this version into a folder beside it:
RELEASING.md says when.
"""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.serialization import info

FOLDER = Path(__file__).parent
VERSIONS = sorted(path for path in FOLDER.iterdir() if (path / "expected.json").exists())
CLOSE = {"rtol": 1e-4, "atol": 1e-5}  # some hundred roundings, of another ISA level
EPOCHS, STOPPED = 4, 2


def data():
    """Images and labels, from arithmetic that no version of a random generator can change."""
    x = (np.arange(24 * 64, dtype=np.float32) * 37 % 101 / 101).reshape(24, 1, 8, 8)
    return x, np.arange(24) % 3


def network():
    # no bias before a norm: its gradient would be rounding errors alone
    stage = [nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*stage, nn.Linear(18, 6), nn.Tanh(), nn.Dropout(0.1), nn.Linear(6, 3))


def trainer(model):
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    return rv.Trainer(model, nn.CrossEntropyLoss(), optimizer)


def fit(folder, epochs, resume=None):
    """A run with checkpoints that is the same in each version."""
    rv.manual_seed(1)
    run = trainer(network())
    schedule = rv.train.Schedule(optim.lr_scheduler.StepLR(run.optimizer, 3))
    callbacks = [schedule, rv.Checkpoint(folder, keep=1, best=False)]
    run.fit(*data(), epochs=epochs, batch_size=8, resume=resume, callbacks=callbacks, verbose=0)
    return run


def scores(model):
    with rv.no_grad():
        return model.eval()(rv.tensor(data()[0][:4])).tolist()


@pytest.fixture(params=VERSIONS, ids=lambda path: path.name)
def version(request):
    return request.param


@pytest.fixture
def expected(version):
    return json.loads((version / "expected.json").read_text())


def test_the_first_version_is_there():
    assert FOLDER / "0.1.0" in VERSIONS


def test_a_model(version, expected):
    path = version / "model.safetensors"
    model = rv.load(path)
    assert [type(layer).__name__ for layer in model][:3] == ["Conv2d", "BatchNorm2d", "ReLU"]
    assert info(path).class_names == ["a", "b", "c"]
    assert tuple(info(path).input_shape) == (1, 8, 8)
    np.testing.assert_allclose(scores(model), expected["scores"], **CLOSE)


def test_weights_into_a_model(version, expected):
    model = rv.load(version / "model.safetensors", into=network())
    np.testing.assert_allclose(scores(model), expected["scores"], **CLOSE)


def test_a_dict(version, expected):
    found = rv.load(version / "dict.safetensors")
    assert (found["epoch"], found["names"]) == (2, ["a", None])
    model = network()
    model.load_state_dict(found["weights"])
    np.testing.assert_allclose(scores(model), expected["scores"], **CLOSE)


def test_a_trainer(version, expected):
    trainer = rv.Trainer.load(version / "trainer.safetensors")
    np.testing.assert_allclose(scores(trainer.model), expected["scores"], **CLOSE)


def test_a_checkpoint_is_resumed(version, expected, tmp_path):
    for path in version.glob("checkpoint-*.safetensors"):
        shutil.copy(path, tmp_path)
    run = fit(tmp_path, epochs=4, resume=tmp_path)
    assert run.resumed_from.parent == tmp_path
    assert run.history.epochs == 4
    np.testing.assert_allclose(scores(run.model), expected["scores_of_all_epochs"], **CLOSE)


def main():
    folder = FOLDER / rv.__version__
    stopped = fit(folder, STOPPED)
    stopped.save(folder / "trainer.safetensors")
    model = stopped.model.eval()
    rv.save(model, folder / "model.safetensors", class_names=["a", "b", "c"], input_shape=(1, 8, 8))
    rv.save(
        {"weights": model.state_dict(), "epoch": STOPPED, "names": ["a", None]}, folder / "dict.safetensors"
    )
    expected = {"scores": scores(model)}
    with tempfile.TemporaryDirectory() as other:
        expected["scores_of_all_epochs"] = scores(fit(Path(other), EPOCHS).model)
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
