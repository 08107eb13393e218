"""Layers are not cast to integers."""

import ranvier as rv
from ranvier import nn
from support.refused import refused


def test_a_layer_of_integers_is_refused():
    layer = nn.Linear(2, 2)
    before = layer.weight.tolist()
    refused(TypeError, "floating", layer.to, rv.int64)
    assert layer.weight.dtype == rv.float32
    assert layer.weight.tolist() == before
