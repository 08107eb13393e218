"""Sequential, ModuleList, ModuleDict."""

import copy
import pickle
from collections import OrderedDict
from weakref import ref

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused


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
    refused(IndexError, "index 4 is out of range for 4 layers", lambda: net[4])
    net[0] = nn.Identity()
    assert isinstance(net[0], nn.Identity)
    assert net.append(nn.Identity()) is net
    assert len(net) == 5
    del net[1]
    assert [name for name, _ in net.named_children()] == ["0", "1", "2", "3"]
    assert net.insert(1, nn.Identity())[1].__class__ is nn.Identity
    del net[2:]
    assert list(net) == [net[0], net[1]]
    both = 2 * net
    net *= 2
    assert [*both] == [*net] == [net[0], net[1]] * 2
    refused(ValueError, "[Sequential] got times 0; expected a whole number > 0", lambda: net * 0)


def test_sequential_from_names():
    net = nn.Sequential(OrderedDict(flat=nn.Flatten(), same=nn.Identity()))
    assert [name for name, _ in net.named_children()] == ["flat", "same"]
    assert net.flat is net[0]
    refused(TypeError, "[Sequential] layer 1 is a int; expected a Module", nn.Sequential, nn.Flatten(), 3)


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
    layers.clear()
    assert len(layers) == 0


def test_parameter_list_and_dict():
    weights = nn.ParameterList([rv.ones(2, 3), np.zeros(3, np.float32)])
    weights.append(nn.Parameter(rv.tensor(1.0)))
    assert [name for name, _ in weights.named_parameters()] == ["0", "1", "2"]
    weights[-1] = rv.tensor(2.0)
    assert weights[2].item() == 2.0
    assert [p.shape for p in weights] == [(2, 3), (3,), ()]
    refused(IndexError, "index 3 is out of range for 3 parameters", lambda: weights[3])
    named = nn.ParameterDict({"a": rv.ones(2)})
    named["b"] = rv.zeros(1)
    assert dict(named.items()).keys() == {"a", "b"} == set(named.state_dict())
    del named["a"]
    assert list(named) == ["b"]
    assert (named.get("b") is named["b"], named.get("a"), named.get("a", 3)) == (True, None, 3)
    with pytest.raises(KeyError, match="is taken"):
        named["training"] = rv.ones(1)


def test_the_text_of_lists_counts_equal_neighbours():
    layers = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU(), nn.Sequential(nn.ReLU())])
    assert repr(layers) == (
        "ModuleList(\n  (0-1): 2 x Linear(in_features=2, out_features=2, bias=True)\n  (2): ReLU()\n"
        "  (3): Sequential(\n    (0): ReLU()\n  )\n)"
    )
    assert repr(nn.ModuleList()) == "ModuleList()"
    for make in (lambda: nn.ModuleList([3]), lambda: nn.ModuleDict({"0": 3})):
        with pytest.raises(TypeError, match=r"\[Module\w+\] layer 0 is a int; expected a Module"):
            make()
    assert repr(nn.ParameterList([rv.ones(2, 3)])) == (
        "ParameterList(\n  (0): Parameter containing: [torch.float32 of size 2x3]\n)"
    )


def test_data_parallel_is_its_module(tmp_path):
    """The same results and gradients; saved, loaded and copied with its names."""
    inner, x = nn.Linear(3, 2), rv.ones(4, 3)
    model = nn.DataParallel(inner)
    np.testing.assert_array_equal(model(x).detach().numpy(), inner(x).detach().numpy())
    model(x).sum().backward()
    assert inner.weight.grad.tolist() == [[4.0] * 3] * 2
    rv.save(model, tmp_path / "model.safetensors")
    for twin in (rv.load(tmp_path / "model.safetensors"), copy.deepcopy(model)):
        assert type(twin) is nn.DataParallel
        assert list(twin.state_dict()) == ["module.weight", "module.bias"]
        np.testing.assert_array_equal(twin(x).detach().numpy(), inner(x).detach().numpy())


MADE_OF = {
    "Sequential": lambda layers: nn.Sequential(*layers),
    "Sequential of names": lambda layers: nn.Sequential(dict(zip("ab", layers, strict=True))),
    "ModuleList": nn.ModuleList,
    "ModuleList of a generator": lambda layers: nn.ModuleList(layer for layer in layers),
    "ModuleDict": lambda layers: nn.ModuleDict(zip("ab", layers, strict=True)),
    "Transformer": lambda layers: nn.Transformer(2, 1, 1, 1, 2, custom_encoder=layers[0]),
}


@pytest.mark.parametrize("make", MADE_OF.values(), ids=list(MADE_OF))
def test_containers_keep_nothing_of_what_they_were_made_of(make):
    layers = [nn.Linear(2, 2), nn.Linear(2, 2)]
    model, gone = make(layers), ref(layers[0])
    names, size = list(model._modules), len(pickle.dumps(model))
    layers.clear()
    setattr(model, names[0], nn.Identity())
    assert gone() is None
    for twin in copy.deepcopy(model), pickle.loads(pickle.dumps(model)):
        assert list(twin._modules) == names
    assert len(pickle.dumps(model)) < size


def test_parameter_lists_and_dicts_hold_modules_and_other_values():
    inner, shared = nn.ParameterList([rv.ones(2)]), nn.Linear(1, 1)
    outer = nn.ParameterList([inner, rv.zeros(1), "text", nn.ParameterDict({"a": shared, "b": 3})])
    names = ["1", "0.0", "3.a.weight", "3.a.bias"]
    for twin in outer, copy.deepcopy(outer), pickle.loads(pickle.dumps(outer)):
        assert [name for name, _ in twin.named_parameters()] == names
        assert (len(twin), twin[2], twin[3]["b"], list(twin[3])) == (4, "text", 3, ["a", "b"])
    assert outer[0] is inner
    assert dict(outer[3].items()) == {"a": shared, "b": 3}
    assert "(2): Object of type: str" in repr(outer)
    assert {"c": 1} | outer[3].fromkeys("d", 2) | {"e": 3}
    del outer[3]["a"]
    assert list(reversed(outer[3])) == ["b"]
    assert [name for name, _ in outer[:2].named_parameters()] == [*names[:1], "0.0"]
