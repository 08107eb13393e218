"""Containers, which act as lists and dicts of layers; mlp, whose layers and starting values are told; and
summaries, whose shapes and counts are compared with known networks."""

import copy
import math
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
    for place in (-6, 6):
        with pytest.raises(IndexError, match=rf"\[Sequential\] got index {place}; expected -5 to 5"):
            net.insert(place, nn.Identity())
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


# mlp: its layers, starting values, and that it is a Sequential like any other.


def kinds(model):
    return [type(layer).__name__ for layer in model]


def test_shapes():
    model = rv.mlp([784, 128, 64, 10])
    assert model(rv.zeros(5, 784)).shape == (5, 10)
    assert [tuple(p.shape) for p in model.parameters() if p.ndim == 2] == [(128, 784), (64, 128), (10, 64)]


def test_layers():
    assert kinds(rv.mlp([2, 1])) == ["Linear"]
    assert kinds(rv.mlp([2, 3, 1], "leaky_relu", output="sigmoid")) == [
        "Linear",
        "LeakyReLU",
        "Linear",
        "Sigmoid",
    ]
    model = rv.mlp([2, 3, 4, 1], ["tanh", "linear"], dropout=0.25, batch_norm=True)
    hidden = ["Linear", "BatchNorm1d", "{}", "Dropout"]
    assert kinds(model) == [k.format("Tanh") for k in hidden] + [k.format("Identity") for k in hidden] + [
        "Linear"
    ]
    assert model[0].bias is None
    assert model[8].bias is not None
    assert model[3].p == 0.25


@pytest.mark.parametrize(
    ("init", "std"),
    [
        ("he", math.sqrt(2 / 400)),
        ("he_uniform", math.sqrt(2 / 400)),
        ("xavier", math.sqrt(2 / 600)),
        ("glorot_uniform", math.sqrt(2 / 600)),
        ("lecun", math.sqrt(1 / 400)),
        ("lecun_uniform", math.sqrt(1 / 400)),
        ("normal", 0.01),
        ("default", math.sqrt(1 / 3 / 400)),
        (lambda w: nn.init.normal_(w, 0.0, 0.3), 0.3),
    ],
)
def test_starting_values(init, std):
    rv.manual_seed(0)
    layer = rv.mlp([400, 200], init=init)[0]
    weight = layer.weight.detach().numpy().astype(np.float64)
    # the deviation of n normal numbers is off by 1 / sqrt(2 n) of itself, here taken five times
    assert abs(weight.std() / std - 1) < 5 / math.sqrt(2 * weight.size)
    assert (layer.bias.detach().numpy() == 0).all() == (init != "default")


def test_zeros_and_ones():
    assert (rv.mlp([3, 2], init="zeros")[0].weight.detach().numpy() == 0).all()
    assert (rv.mlp([3, 2], init="ones")[0].weight.detach().numpy() == 1).all()


def test_dtype_and_output():
    model = rv.mlp([5, 7, 3], "gelu", dropout=0.2, batch_norm=True, output="softmax", dtype=rv.float64).eval()
    y = model(rv.rand(4, 5, dtype=rv.float64))
    assert y.dtype == np.float64
    np.testing.assert_allclose(y.sum(-1).detach().numpy(), 1)


@pytest.mark.parametrize("seed", range(5))
def test_xor_2_4_1(seed):
    """Four tanh units learn XOR from almost any start (59 of 60 seeds); four ReLUs from every second."""
    rv.manual_seed(seed)
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    y = np.array([[0], [1], [1], [0]], np.float32)
    model = rv.mlp([2, 4, 1], "tanh", init="xavier", output="sigmoid")
    trainer = rv.Trainer(model, nn.BCELoss(), rv.optim.Adam(model.parameters(), lr=0.1))
    history = trainer.fit(x, y, epochs=300, batch_size=4)
    assert trainer.predict(x).tolist() == y.tolist()
    assert history["loss"][-1] < 0.05


def test_wrong_calls():
    for sizes in ([3], [], [3, 0], [2.0, 1], [True, 2]):
        refused(ValueError, "[mlp] got sizes", rv.mlp, sizes)
    with pytest.raises(ValueError, match=r"\[activation\] got 'swash'"):
        rv.mlp([2, 2], activation="swash")  # no hidden layer, and an error all the same
    refused(ValueError, "[activation] got 'swash'", rv.mlp, [2, 3, 1], "swash")
    refused(ValueError, "[init] got 'her'; expected one of he, he_uniform", rv.mlp, [2, 3, 1], init="her")
    refused(ValueError, "[mlp] got 1 activations for 2 hidden layers", rv.mlp, [2, 3, 4, 1], ["relu"])
    refused(TypeError, "[mlp] got sizes 3; expected whole numbers", rv.mlp, 3)
    refused(TypeError, "[mlp] got activation None", rv.mlp, [2, 3, 1], None)
    refused(TypeError, "[init] got int; expected a name or a function", rv.mlp, [2, 3, 1], init=3)
    refused(ValueError, "dropout", rv.mlp, [2, 3, 1], dropout=1.5)


# summary: shapes, counts, what is shared or frozen, and a model left as it was.


CNN = (
    *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
    *(nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10)),
)


def test_golden_cnn_shapes(capsys):
    summary = rv.summary(nn.Sequential(*CNN), (1, 28, 28))
    assert [layer.output_shape for layer in summary.layers] == [
        ("N", 32, 26, 26),
        ("N", 32, 26, 26),
        ("N", 32, 13, 13),
        ("N", 64, 11, 11),
        ("N", 64, 11, 11),
        ("N", 64, 5, 5),
        ("N", 1600),
        ("N", 128),
        ("N", 128),
        ("N", 10),
    ]
    assert [layer.parameters for layer in summary.layers] == [320, 0, 0, 18496, 0, 0, 0, 204928, 0, 1290]
    assert summary.total == summary.trainable == 225_034
    assert summary.nbytes == 4 * 225_034
    printed = capsys.readouterr().out
    assert printed == str(summary) + "\n"
    assert "0 Conv2d     (N, 32, 26, 26)         320" in printed
    assert "225,034 parameters (900.1 kB), 225,034 of them trainable" in printed
    assert repr(summary) == "<Summary of 10 layers, 225,034 parameters>"


def test_nested_shared_and_frozen():
    shared = nn.Linear(4, 4)
    inner = nn.Sequential(shared, nn.ReLU())
    model = nn.Sequential(inner, shared, nn.Linear(4, 1))
    for parameter in model[2].parameters():
        parameter.requires_grad = False
    summary = rv.summary(model, (4,))
    assert [(layer.kind, layer.parameters) for layer in summary.layers] == [
        ("Linear", 20),
        ("ReLU", 0),
        ("Linear", 0),
        ("Linear", 5),
    ]
    assert (summary.total, summary.trainable) == (25, 20)


def test_a_module_of_the_user_with_parameters_beside_parts():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(np.ones(3, np.float32))
            self.part = nn.Linear(3, 3)

        def forward(self, x):
            return self.part(x) * self.scale

    summary = rv.summary(Scaled(), 3)
    assert [(layer.kind, layer.parameters) for layer in summary.layers] == [("Linear", 12), ("Scaled", 3)]
    assert summary.total == 15


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).double()
    model[1].eval()
    summary = rv.summary(model, (2,))
    assert model[0].training
    assert not model[1].training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert summary.nbytes == 48
    assert len(rv.summary(model, (2,)).layers) == len(summary.layers)


def test_no_parameters():
    summary = rv.summary(nn.ReLU(), (5,))
    assert summary.layers[0].output_shape == ("N", 5)
    assert summary.total == 0


def test_errors():
    model = nn.Sequential(nn.Linear(3, 2))
    for shape in ((0,), (-3,), (2.5,), ("a",)):
        refused(ValueError, "[summary] got input_shape", rv.summary, model, shape)
    refused(ValueError, "linear", rv.summary, model, (4,))
    assert rv.summary(model, (3,)).total == 8
