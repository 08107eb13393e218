"""Sequential, ModuleList, ModuleDict."""

from __future__ import annotations

from collections import OrderedDict

import pytest
from ranvier import nn


def _layers(n):
    return [nn.Flatten(start_dim=i) for i in range(n)]


def test_sequential_applies_in_order():
    seen = []

    class Note(nn.Module):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def forward(self, x):
            seen.append(self.name)
            return x + 1

    assert nn.Sequential(Note("a"), Note("b"))(1) == 3
    assert seen == ["a", "b"]
    assert nn.Sequential()(5) == 5


def test_sequential_indexes_slices_and_changes():
    net = nn.Sequential(*_layers(4))
    assert net[-1].start_dim == 3
    assert len(net[1:3]) == 2
    assert isinstance(net[1:3], nn.Sequential)
    assert list(dict(net[1:3].named_children())) == ["1", "2"]
    with pytest.raises(IndexError, match="index 4 is out of range for 4 layers"):
        net[4]
    net[0] = nn.Identity()
    assert isinstance(net[0], nn.Identity)
    assert net.append(nn.Identity()) is net
    assert len(net) == 5
    del net[1]
    assert [name for name, _ in net.named_children()] == ["0", "1", "2", "3"]
    assert net.insert(1, nn.Identity())[1].__class__ is nn.Identity


def test_sequential_from_names():
    net = nn.Sequential(OrderedDict(flat=nn.Flatten(), same=nn.Identity()))
    assert [name for name, _ in net.named_children()] == ["flat", "same"]
    assert net.flat is net[0]
    with pytest.raises(TypeError, match=r"\[Sequential\] layer 1 is a int; expected a Module"):
        nn.Sequential(nn.Flatten(), 3)


def test_module_list():
    layers = nn.ModuleList(_layers(2))
    layers += _layers(1)
    layers.append(nn.Identity())
    assert len(layers) == 4
    assert [layer.__class__ for layer in layers[2:]] == [nn.Flatten, nn.Identity]
    parent = nn.Module()
    parent.layers = layers
    assert "layers.3" in dict(parent.named_modules())


def test_module_dict():
    layers = nn.ModuleDict({"a": nn.Flatten()})
    layers["b"] = nn.Identity()
    assert list(layers) == ["a", "b"]
    assert "a" in layers
    assert isinstance(layers.pop("a"), nn.Flatten)
    assert len(layers) == 1
    with pytest.raises(KeyError, match="is taken"):
        layers["training"] = nn.Identity()
