"""`_parameters`, `_buffers` and `_modules` of a Module, which are in its `__dict__`, too, as in PyTorch."""

import copy
import pickle

import pytest
import ranvier as rv
from ranvier import nn


def test_changes_of_the_registries_change_the_module():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    model._modules["1"] = nn.Tanh()
    model._modules["2"] = nn.Linear(3, 1)
    assert [type(layer).__name__ for layer in model] == ["Linear", "Tanh", "Linear"]
    assert len(list(model.parameters())) == 4
    layer = model[0]
    weight = layer._parameters.pop("weight")
    layer.register_parameter("weight_bar", nn.Parameter(weight.data))
    layer.weight = weight * 2  # an attribute, no parameter any more
    assert [name for name, _ in layer.named_parameters()] == ["bias", "weight_bar"]
    layer._parameters["bias"] = None
    assert layer(rv.ones(1, 2)).tolist() == (rv.ones(1, 2) @ (weight * 2).mT).tolist()
    layer._buffers.update(count=rv.zeros(1))
    assert list(layer.state_dict()) == ["weight_bar", "count"]
    assert layer._buffers.setdefault("count") is layer.count
    del layer._buffers["count"]
    assert not hasattr(layer, "count")
    assert layer._parameters.pop("none", 3) == 3
    with pytest.raises(KeyError):
        del layer._parameters["none"]
    layer._parameters["other"] = 3  # as PyTorch's dict
    assert layer._parameters.pop("other") == 3
    model._modules.popitem()
    assert len(model) == 2
    model._modules.clear()
    assert len(model) == 0


def _change_of_dicts(layer):
    """As PyTorch's programs change modules, by their ``__dict__``."""
    held = layer.__dict__
    held["_parameters"]["weight"] = nn.Parameter(rv.ones(2, 2))
    held["_buffers"]["kept"], held["_modules"]["part"] = rv.ones(1), nn.Tanh()
    del held["_parameters"]["bias"]
    layer._non_persistent_buffers_set.add("kept")


@pytest.mark.parametrize(
    "twin",
    [lambda m: m, copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))],
    ids=["itself", "copy", "deepcopy", "pickle"],
)
def test_registries_in_the_dict(twin):
    first = nn.Linear(2, 2)
    layer = twin(first)
    _change_of_dicts(layer)
    assert (layer.weight.sum(), layer.kept, type(layer.part)) == (4, 1, nn.Tanh)
    assert [n for n, _ in layer.named_parameters()] == ["weight"] == list(layer.state_dict())
    assert not hasattr(layer, "bias")
    assert layer._buffers == {"kept": layer.kept}
    assert layer is first or (first.bias is not None and list(first._parameters) == ["weight", "bias"])
    layer.kept, layer.part = rv.zeros(1), None
    assert layer.__dict__["_buffers"]["kept"] is layer.kept
    assert layer._modules == {"part": None}
    del layer.kept
    assert not layer._buffers
    assert not layer._non_persistent_buffers_set


def test_registries_of_a_module_that_is_gone():
    held = nn.Linear(1, 1)._parameters
    held["bias"] = None
    del held["weight"]
    assert held == {"bias": None}


_OWN = "config op axes hooks _hooks _state_hooks _tree _cast _locate _refuse _shown _usual _arguments _paths"


def test_attributes_of_users_may_have_any_name():
    class Net(nn.Linear):
        pass

    net = Net(2, 2)
    for name in _OWN.split():
        assert name[0] == "_" or not hasattr(net, name)
        setattr(net, name, [])
    net.register_forward_hook(lambda module, args, y: y + 1)
    y = net(rv.ones(1, 2))
    with pytest.raises(ValueError, match="linear"):
        net(rv.ones(1, 3))
    assert y.tolist() == (nn.functional.linear(rv.ones(1, 2), net.weight, net.bias) + 1).tolist()
    assert len(list(net.parameters())) == 2
    assert list(net.state_dict()) == ["weight", "bias"]
    assert repr(net) == "Net(in_features=2, out_features=2, bias=True)"
