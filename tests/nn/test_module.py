"""Module: registration, walking, state, modes, errors.

Names and order are those of PyTorch. `Affine`, a layer in NumPy, needs no kernel.
"""

import copy
import pickle

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.autograd import Function
from ranvier.nn.arguments import arguments_of
from ranvier.nn.module import Module, Parameter
from support.refused import refused


class ScaleShift(Function):
    """y = w x + b"""

    def forward(self, x, w, b):
        self.x, self.w = x, w
        return x * w + b

    def backward(self, dy):
        return dy * self.w, np.asarray((dy * self.x).sum()), np.asarray(dy.sum())


class Affine(Module):
    """A layer that needs no core."""

    def __init__(self, w=2.0, b=1.0):
        super().__init__()
        self.w = Parameter(rv.tensor(w))
        self.b = Parameter(rv.tensor(b))

    def forward(self, x):
        if x.ndim > 2:
            raise ValueError(f"[affine] got x of shape {x.shape}; expected at most 2 dimensions")
        return ScaleShift().apply(x, self.w, self.b)


class Net(Module):
    """Layers by attribute, in containers and nested; a buffer that is saved, and one that is not."""

    def __init__(self):
        super().__init__()
        self.first = Affine()
        self.rest = nn.Sequential(Affine(3.0), nn.Sequential(Affine(4.0)))
        self.layers = nn.ModuleList([Affine(5.0)])
        self.register_buffer("count", rv.zeros(1))
        self.register_buffer("scratch", rv.zeros(1), persistent=False)

    def forward(self, x):
        x = self.rest(self.first(x))
        for layer in self.layers:
            x = layer(x)
        return x


def test_walks_in_pytorch_order():
    net = Net()
    layers = ("first", "rest.0", "rest.1.0", "layers.0")
    assert [name for name, _ in net.named_parameters()] == [f"{name}.{p}" for name in layers for p in "wb"]
    names = ["", "first", "rest", "rest.0", "rest.1", "rest.1.0", "layers", "layers.0"]
    assert [name for name, _ in net.named_modules()] == names
    assert list(net.modules()) == [module for _, module in net.named_modules()]
    assert [id(p) for p in net.parameters()] == [id(p) for _, p in net.named_parameters()]
    assert [name for name, _ in net.named_children()] == ["first", "rest", "layers"]
    assert [name for name, _ in net.named_buffers()] == ["count", "scratch"]
    assert len(list(net.first.parameters(recurse=False))) == 2
    assert net.get_submodule("rest.1.0").w.item() == 4.0
    assert next(net.rest.named_parameters(prefix="rest"))[0] == "rest.0.w"


def test_a_layer_is_put_at_a_path():
    net, layer = Net(), Affine()
    net.set_submodule("rest.1.0", layer)
    assert net.rest[1][0] is net.get_submodule("rest.1.0") is layer
    net.set_submodule("other", layer)
    assert net.other is layer
    for path, new, strict, error in (
        ("", layer, False, ValueError),
        ("first", 1, False, ValueError),
        ("none.first", layer, False, AttributeError),
        ("none", layer, True, AttributeError),
        ("first.w", layer, False, AttributeError),
    ):
        with pytest.raises(error):
            net.set_submodule(path, new, strict)
    assert net.type(rv.float64) is net
    assert net.type("torch.FloatTensor").first.w.dtype == np.float32


def test_a_shared_parameter_is_walked_once_but_saved_twice():
    net = nn.Sequential(Affine(), Affine())
    net[1].w = net[0].w
    assert len(list(net.parameters())) == 3
    assert sorted(net.state_dict()) == ["0.b", "0.w", "1.b", "1.w"]


def test_a_module_in_two_places_is_saved_at_both():
    layer = Affine()
    net = nn.Sequential(layer, nn.Sequential(layer))
    assert [name for name, _ in net.named_modules()] == ["", "0", "1"]
    assert [n for n, _ in net.named_modules(remove_duplicate=False)] == ["", "0", "1", "1.0"]
    assert [n for n, _ in net.named_parameters(remove_duplicate=False)] == ["0.w", "0.b", "1.0.w", "1.0.b"]
    state = net.state_dict()
    assert sorted(state) == ["0.b", "0.w", "1.0.b", "1.0.w"]
    assert net.load_state_dict(state) == ([], [])
    assert net.state_dict(keep_vars=True)["0.w"] is layer.w


def test_tied_weights_learn_together():
    encode, decode = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    decode.weight = encode.weight
    net = nn.Sequential(encode, decode)
    x = rv.ones(1, 3)
    net(x).sum().backward()
    w = encode.weight.detach().numpy()
    ones = np.ones((1, 3))  # d/dW of sum(x W^T W^T): the two uses add up
    expected = (ones @ w).T @ ones + ones.T @ (ones @ w.T)
    np.testing.assert_allclose(encode.weight.grad.numpy(), expected, rtol=1e-5)
    rv.optim.SGD(net.parameters(), lr=0.1).step()
    assert decode.weight is encode.weight


def test_things_are_found_by_path():
    net = Net()
    assert net.get_parameter("rest.1.0.w") is net.rest[1][0].w
    assert net.get_buffer("count") is net.count
    refused(AttributeError, "Affine has no parameter 'v'", net.get_parameter, "first.v")
    refused(AttributeError, "Net has no buffer 'first'", net.get_buffer, "first")
    text = "Linear has no parameter 'bias'"
    refused(AttributeError, text, nn.Linear(1, 1, bias=False).get_parameter, "bias")


def test_gradients_reach_every_parameter_and_are_forgotten():
    net = Net()
    net(rv.ones(2)).backward(np.ones(2))
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad(set_to_none=False)
    assert all(p.grad.item() == 0 for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_modes_and_conversions():
    net = Net()
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    assert all(m.training for m in net.train().modules())
    assert {p.dtype for p in net.double().parameters()} == {np.dtype("float64")}
    for call in (net.half, lambda: net.to(rv.float16), lambda: net.to(dtype=rv.float16)):
        assert {p.dtype for p in call().parameters()} == {np.dtype("float16")}
    net.double()
    assert net.count.dtype == np.float64
    assert net.float().first.w.dtype == np.float32
    assert not any(p.requires_grad for p in net.requires_grad_(False).parameters())
    seen = []
    net.apply(lambda m: seen.append(type(m).__name__))
    assert seen[-1] == "Net"
    assert len(seen) == 8


def test_state_dict_shares_memory_and_loading_keeps_storage():
    net, other = Net(), Net()
    state = net.state_dict()
    assert list(state)[:2] == ["count", "first.w"], "own values come before the children's"
    assert "count" in state
    assert "scratch" not in state
    assert not any(t.requires_grad for t in state.values())
    storage = other.first.w.numpy(force=True)
    state["first.w"].fill_(9.0)
    assert net.first.w.item() == 9.0
    assert other.load_state_dict(state) == ([], [])
    assert other.first.w.numpy(force=True) is storage
    assert storage == 9.0


def test_errors_name_the_layer():
    net = Net()
    net.first.forward = net.rest[0].forward = lambda x: x
    with pytest.raises(ValueError, match=r'^\[affine\] got x of shape .* \(in layer "rest.1.0"\)$'):
        net(rv.zeros(1, 1, 1))
    net.rest.forward = lambda x: x
    with pytest.raises(ValueError, match=r'\(in layer "layers.0"\)$'):
        net(rv.zeros(1, 1, 1))
    with pytest.raises(ValueError, match=r"at most 2 dimensions$"):
        Affine()(rv.zeros(1, 1, 1))


def test_arrays_take_the_dtype_of_the_module():
    x = np.ones(3)
    assert Affine()(x).dtype == np.float32
    assert Affine().double()(x.astype(np.float32)).dtype == np.float64
    assert nn.Identity()(x).dtype == np.float64
    nested = nn.Sequential(nn.Embedding(3, 3), nn.Sequential(nn.ReLU(), Affine().double()))
    assert nested[1](x.astype(np.float32)).dtype == np.float64  # the dtype of the first parameter inside
    assert nn.Identity()(x.astype(np.float32)).dtype == np.float32

    class Own(nn.Identity):
        def named_parameters(self, *args, **settings):
            yield "w", nn.Parameter(rv.ones(1, dtype=rv.float64))

    assert Own()(x.astype(np.float32)).dtype == np.float64
    assert Affine()(x=x).dtype == np.float32
    assert nn.Sequential(nn.Identity(), Affine())(x).dtype == np.float32

    class Difference(Module):
        def forward(self, a, b):
            return b

    assert Difference()(rv.ones(2), np.ones(2)).dtype == np.float32, (
        "a target takes the dtype of the prediction"
    )
    assert Difference()(rv.ones(2), np.ones(2, np.int64)).dtype == np.int64


def test_assignment_registers_replaces_and_removes():
    net = Net()
    net.first = Affine(8.0)
    assert list(dict(net.named_children())) == ["first", "rest", "layers"]
    del net.first
    assert "first" not in dict(net.named_children())
    net.extra = None
    net.rest[0].b = None
    assert "rest.0.b" not in dict(net.named_parameters())
    with pytest.raises(TypeError, match="as parameter 'w'; expected a Parameter or None"):
        net.rest[0].w = rv.ones(1)
    with pytest.raises(TypeError, match="as module 'rest'; expected a Module or None"):
        net.rest = rv.relu
    with pytest.raises(TypeError, match="as buffer 'count'"):
        net.count = 3
    net.count = rv.ones(1)
    assert net.state_dict()["count"].item() == 1
    refused(KeyError, "already exists", net.register_buffer, "rest", rv.ones(1))


def test_forgotten_init_is_named():
    class Forgot(Module):
        def __init__(self):
            self.layer = Affine()

    refused(AttributeError, "cannot assign module before Module.__init__() call", Forgot)


def test_copies_and_pickles():
    net = Net()
    net.first.w.grad = rv.tensor(5.0)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert isinstance(twin.first.w, Parameter)
        assert list(twin.state_dict()) == list(net.state_dict())
        twin.first.w.data.fill_(0.0)
    assert net.first.w.item() == 2.0
    shared = nn.Sequential(Affine(), Affine())
    shared[1].w = shared[0].w
    twin = copy.deepcopy(shared)
    assert twin[0].w is twin[1].w


def test_config_rebuilds_our_layers():
    layer = nn.Linear(3, 2, bias=False)
    assert arguments_of(layer) == {"in_features": 3, "out_features": 2, "bias": False}
    assert nn.Linear(**arguments_of(layer)).bias is None
    assert arguments_of(nn.Unflatten(1, (2, 3))) == {"dim": 1, "unflattened_size": [2, 3]}
    assert arguments_of(nn.Sequential(layer)) == {}
    assert arguments_of(nn.Linear(3, 2, dtype=rv.float64))["dtype"] == "float64"
    refused(TypeError, "not a layer of ranvier", lambda: arguments_of(Affine()))


def test_a_class_that_calls_getattr_by_its_name():
    class Tree(nn.Module):
        def __init__(self):
            super().__init__()
            self.level_0 = nn.Linear(1, 1)

        def forward(self, name):
            return self.__getattr__(name)

    tree = Tree()
    assert tree.forward("level_0") is tree.level_0
    refused(AttributeError, "'Tree' object has no attribute 'level_1'", tree.forward, "level_1")


def test_a_wrapper_with_the_attributes_of_its_module_can_be_copied():
    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def __getattr__(self, name):
            return getattr(self.module, name)

    wrapper = copy.deepcopy(Wrapper(nn.Linear(2, 3)))
    assert (wrapper.out_features, wrapper.module.in_features) == (3, 2)


def test_a_parameter_as_a_buffer_is_not_trained():
    net = nn.Module()
    net.register_buffer("target", nn.Parameter(rv.ones(2)))
    assert [len(list(x)) for x in (net.parameters(), net.buffers())] == [0, 1]
    assert list(net.state_dict()) == ["target"]
    assert isinstance(net.target, nn.Parameter)


@pytest.mark.parametrize("data", [[1.5, 2.0], 1.5, ()])
def test_parameters_of_numbers_have_the_dtype_of_tensors(data):
    parameter = nn.Parameter(data)
    assert (parameter.dtype, parameter.tolist()) == (rv.float32, rv.tensor(data).tolist())


def test_the_registries_of_a_copy_of_the_dict_are_its_own():
    for kind in ("_parameters", "_buffers", "_modules"):
        net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)) if kind == "_modules" else nn.BatchNorm1d(3)
        twin = type(net).__new__(type(net))
        twin.__dict__ = net.__dict__.copy()
        names = list(getattr(net, kind))
        setattr(twin, kind, {})
        assert list(getattr(twin, kind)) == [] != names == list(getattr(net, kind))
        setattr(twin, kind, getattr(net, kind))
        assert list(twin.state_dict()) == list(net.state_dict())


def test_registries_take_what_dicts_take():
    net = nn.Linear(2, 3)
    net._parameters = {name: name for name in net._parameters}  # like a program that replaces them in forward
    assert net.weight == "weight"
    twin = type(net._parameters)([("weight", 1)])
    twin["bias"] = 2
    del twin["weight"]
    assert twin == {"bias": 2}


def test_a_registered_name_is_not_that_of_a_property():
    class Net(nn.Module):
        net = scale = property(lambda self: "seen")

    net = Net()
    net.net, net.scale = nn.Linear(1, 1), nn.Parameter(rv.ones(1))
    net.net = net.scale = None
    assert (net.net, net.scale, list(net.state_dict())) == ("seen", "seen", [])
