"""Layers are not cast to integers."""

import pytest
import ranvier as rv
from ranvier import nn


def test_a_layer_of_integers_is_refused():
    layer = nn.Linear(2, 2)
    before = layer.weight.tolist()
    with pytest.raises(TypeError, match="floating"):
        layer.to(rv.int64)
    assert layer.weight.dtype == rv.float32
    assert layer.weight.tolist() == before
