"""The path of a model's file, which is not there yet."""

import pytest


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"
