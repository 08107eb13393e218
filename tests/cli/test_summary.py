"""`ranvier summary`: the table of a model file, and what the file says beside it."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import cli, nn


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "model.safetensors"
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 2))
    names, steps = ["cat", "dog"], [rv.data.MinMaxScaler(0, 16)]
    rv.save(model, path, input_shape=(2, 3), class_names=names, preprocessing=steps, link="softmax")
    return path


def test_everything_the_file_says(model_file, works):
    printed = works("summary", model_file).out
    assert "1 Linear   (N, 2)                14" in printed
    assert "input       2x3\nclasses     cat, dog\nbefore it   MinMaxScaler (low 0, high 16)\n" in printed
    assert printed.endswith(f"after it    softmax\nwritten by  ranvier {rv.__version__}\n")


def test_another_input(model_file, refused):
    assert cli.main(["summary", str(model_file), "--input-shape", "6"]) == 0
    assert "[linear] got x of shape (1, 7)" in refused("summary", model_file, "--input-shape", "1x7")
    with pytest.raises(SystemExit):
        cli.main(["summary", str(model_file), "--input-shape", "axb"])


def test_mistakes(tmp_path, refused):
    state, bare, text = (tmp_path / name for name in ("state", "bare", "text"))
    rv.save({"w": np.ones(2)}, state)
    rv.save(nn.Sequential(nn.ReLU()), bare)
    text.write_text("no model")
    for path, message in (
        (tmp_path / "absent", "no such file"),
        (state, "holds weights without a model"),
        (bare, "does not say what its input is; pass --input-shape"),
        (text, "text"),
        (tmp_path, f"'{tmp_path}' is a folder; expected a model file"),
    ):
        assert message in refused("summary", path)
