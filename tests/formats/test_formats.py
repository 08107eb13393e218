"""Files of each released version are read, and the models in them give what they gave."""

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import ranvier as rv
from ranvier.serialization import info

FOLDER = Path(__file__).parent
VERSIONS = sorted(path for path in FOLDER.iterdir() if (path / "expected.json").exists())
WRITER = runpy.run_path(str(FOLDER / "write.py"))
CLOSE = {"rtol": 1e-4, "atol": 1e-5}  # some hundred roundings, of another ISA level


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
    np.testing.assert_allclose(WRITER["scores"](model), expected["scores"], **CLOSE)


def test_weights_into_a_model(version, expected):
    model = rv.load(version / "model.safetensors", into=WRITER["network"]())
    np.testing.assert_allclose(WRITER["scores"](model), expected["scores"], **CLOSE)


def test_a_dict(version, expected):
    found = rv.load(version / "dict.safetensors")
    assert (found["epoch"], found["names"]) == (2, ["a", None])
    model = WRITER["network"]()
    model.load_state_dict(found["weights"])
    np.testing.assert_allclose(WRITER["scores"](model), expected["scores"], **CLOSE)


def test_a_trainer(version, expected):
    trainer = rv.Trainer.load(version / "trainer.safetensors")
    np.testing.assert_allclose(WRITER["scores"](trainer.model), expected["scores"], **CLOSE)


def test_a_checkpoint_is_resumed(version, expected, tmp_path):
    for path in version.glob("checkpoint-*.safetensors"):
        shutil.copy(path, tmp_path)
    run = WRITER["fit"](tmp_path, epochs=4, resume=tmp_path)
    assert run.resumed_from.parent == tmp_path
    assert run.history.epochs == 4
    np.testing.assert_allclose(WRITER["scores"](run.model), expected["scores_of_all_epochs"], **CLOSE)
