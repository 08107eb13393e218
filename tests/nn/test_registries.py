"""The registered parts of a module: names, registries, state dicts; nn.utils.

Names, texts of errors and changes through the dicts of a module are those of PyTorch; clipped gradients are
worked out by hand.
"""

import copy
import pickle

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn.utils import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from support.refused import refused


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
    refused(ValueError, "linear", net, rv.ones(1, 3))
    assert y.tolist() == (nn.functional.linear(rv.ones(1, 2), net.weight, net.bias) + 1).tolist()
    assert len(list(net.parameters())) == 2
    assert list(net.state_dict()) == ["weight", "bias"]
    assert repr(net) == "Net(in_features=2, out_features=2, bias=True)"


# What a module registers by name, and modules that are in several places.


@pytest.mark.parametrize("method", ["register_parameter", "register_buffer", "add_module"])
def test_names_that_are_refused(method):
    register = getattr(nn.Module(), method)
    for name in ("", "a.b", "forward"):
        with pytest.raises(KeyError, match=r"expected one without dots|already exists"):
            register(name, None)
    refused(TypeError, "got name 3; expected a string", register, 3, None)
    refused(KeyError, "without dots", nn.ModuleDict, {"a.b": nn.ReLU()})


@pytest.mark.parametrize(
    ("method", "value"), [("register_parameter", rv.ones(1)), ("register_buffer", 3), ("add_module", 3)]
)
def test_a_value_of_another_kind_leaves_the_module_as_it_is(method, value):
    model = nn.Linear(1, 1)
    with pytest.raises(TypeError, match=r"cannot assign .* 'x'; expected a"):
        getattr(model, method)("x", value)
    assert list(model.state_dict()) == ["weight", "bias"]
    assert list(model.modules()) == [model]
    getattr(model, method)("x", None)


def test_a_module_at_two_places_is_one_child():
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    model.append(model[0])
    assert [name for name, _ in model.named_children()] == ["0", "1"]
    assert list(model.children()) == [model[0], model[1]]
    assert repr(model).count("Linear") == 2


def test_pop():
    for model in (
        nn.Sequential(nn.ReLU(), nn.Tanh(), nn.GELU()),
        nn.ModuleList([nn.ReLU(), nn.Tanh(), nn.GELU()]),
    ):
        assert isinstance(model.pop(0), nn.ReLU)
        assert isinstance(model.pop(-1), nn.GELU)
        assert [type(layer) for layer in model] == [nn.Tanh]
        with pytest.raises(IndexError):
            model.pop(1)


def test_a_mode_that_is_no_bool():
    refused(ValueError, "[train] got mode 3; expected True or False", nn.ReLU().train, 3)


@pytest.mark.parametrize(
    ("module", "name", "why"),
    [
        (rv.nn, "Conv3d", "volumes (N, C, D, H, W) are not part of this library (docs/versions.md)"),
        (rv.nn.functional, "max_pool3d", "volumes"),
        (rv.nn, "quantizable", "static quantization"),
        (rv.nn, "CrossMapLRN2d", "LocalResponseNorm is the same"),
    ],
)
def test_a_name_that_is_not_here_says_why(module, name, why):
    refused(AttributeError, f"has no attribute {name!r}: {why}", getattr, module, name)
    assert not hasattr(module, name)


# state_dict and load_state_dict: what is loaded, and PyTorch's texts for what does not fit.


def test_loading_takes_arrays_and_foreign_tensors():
    class Foreign:  # what a torch tensor looks like from outside
        def __init__(self, value):
            self.value = value

        def detach(self):
            return self

        def cpu(self):
            return np.asarray(self.value)

    net = nn.Linear(1, 1)
    net.load_state_dict({"weight": np.array([[7.0]]), "bias": Foreign([8.0])})
    assert (net.weight.item(), net.bias.item(), net.weight.dtype) == (7.0, 8.0, np.float32)


LINEAR = {"0.weight": np.full((1, 2), 7.0), "0.bias": np.full(1, 7.0)}
MISSING = 'Missing key(s) in state_dict: "0.weight", "0.bias", "1.weight", "1.bias". \n\t'
SIZE = "size mismatch for {}: copying a param with shape torch.Size({}) from checkpoint, the shape in "
SIZE += "current model is torch.Size({})."
WHOLE = {**LINEAR, "1.weight": np.ones((3, 1)), "1.bias": np.ones(3)}


@pytest.mark.parametrize(
    ("state", "settings", "loaded", "text"),
    [  # PyTorch's texts, with a last line where the remedy is known
        ({**LINEAR, "1.weight": np.ones(4), "1.bias": np.ones(())}, {}, True,
         SIZE.format("1.weight", [4], [3, 1]) + "\n\t" + SIZE.format("1.bias", [], [3])),
        ({**LINEAR, "1.weight": np.ones(4)}, {"strict": False}, True, SIZE.format("1.weight", [4], [3, 1])),
        ({**LINEAR, "1.weight": np.ones(4)}, {"strict": False, "assign": True}, True,
         SIZE.format("1.weight", [4], [3, 1])),
        ({**LINEAR, "x": 1}, {}, True,
         'Missing key(s) in state_dict: "1.weight", "1.bias". \n\tUnexpected key(s) in state_dict: "x". '),
        ({"epoch": 1, "model": WHOLE}, {}, False, MISSING
         + 'Unexpected key(s) in state_dict: "epoch", "model". \n\t'
         'The state dict is the entry "model" of what is given: load that.'),
        ({f"module.{name}": x for name, x in LINEAR.items()}, {}, False, "given names begin with 'module.'"),
        *(({**WHOLE, "0.weight": x}, {}, False, 'While copying the parameter named "0.weight", expected a '
           f"Tensor or an array of numbers from checkpoint but received {type(x)}") for x in (None, "a", {})),
    ],
)  # fmt: skip
def test_loading_loads_what_fits_and_says_all_that_does_not(state, settings, loaded, text):
    net = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 3))
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state, **settings)
    shown = str(caught.value)
    assert shown.startswith("[load_state_dict] Error(s) in loading state_dict for Sequential:\n\t")
    assert text in shown
    assert bool((net[0].weight == 7).all()) == loaded


def test_loading_what_is_no_state_dict():
    load = nn.Linear(1, 1).load_state_dict
    refused(TypeError, "got list; expected a mapping of names to arrays", load, [1])
    refused(TypeError, "; its method state_dict gives one", load, nn.Linear(1, 1))
    refused(TypeError, "; rv.load reads a file", load, "model.pt")
    refused(TypeError, "got the key 0; expected names of weights", load, {0: 1})


def test_loading_names_without_their_prefix():
    text = "The names expected begin with '0.': put it"
    refused(RuntimeError, text, nn.Sequential(nn.Linear(1, 1)).load_state_dict, {"weight": 1})


def test_the_text_of_what_was_loaded():
    net = nn.Linear(1, 1)
    assert repr(net.load_state_dict(net.state_dict())) == "<All keys matched successfully>"
    result = net.load_state_dict({"weight": np.ones((1, 1)), "x": np.ones(1)}, strict=False)
    assert str(result) == "_IncompatibleKeys(missing_keys=['bias'], unexpected_keys=['x'])"
    assert result == (["bias"], ["x"])


# nn.utils: clipping of the gradients of parameters.


def with_gradient(values, dtype="float32"):
    p = rv.tensor(np.zeros(len(values), dtype), requires_grad=True)
    p.grad = rv.tensor(np.array(values, dtype))
    return p


def test_clip_grad_norm():
    p, q, without = (
        with_gradient([3.0]),
        with_gradient([4.0], "float64"),
        rv.tensor([1.0], requires_grad=True),
    )
    assert clip_grad_norm_([p, q, without], 1.0).item() == 5.0
    np.testing.assert_allclose([p.grad.item(), q.grad.item()], [0.6, 0.8], rtol=1e-6)
    assert clip_grad_norm_(p, 10.0, float("inf")).item() == p.grad.item()
    assert clip_grad_norm_([], 1.0).item() == 0.0


@pytest.mark.parametrize("dtype", [rv.float16, rv.bfloat16])
def test_clipping_of_halves(dtype):
    """By the norm in float64; each gradient is rounded once."""
    values = rv.tensor([3.0, -0.7, 0.123]).to(dtype)
    p, q = (rv.zeros(3, dtype=kind, requires_grad=True) for kind in (dtype, rv.float32))
    p.grad, q.grad = values.clone(), values.float()
    norm, exact = clip_grad_norm_(p, 1.0), clip_grad_norm_(q, 1.0)
    assert (norm.dtype, norm.item()) == (dtype, exact.to(dtype).item())
    assert p.grad.tolist() == q.grad.to(dtype).tolist()
    clip_grad_value_(p, 0.2)
    assert p.grad.tolist() == q.grad.to(dtype).clip(-0.2, 0.2).tolist()
    assert clip_grad_norm_([p, q], 1.0).dtype == rv.float32


def test_clip_grad_norm_that_is_not_finite():
    p = with_gradient([np.inf])
    refused(RuntimeError, "expected a finite norm", clip_grad_norm_, p, 1.0, error_if_nonfinite=True)
    refused(ValueError, "got norm_type nan; expected a number", clip_grad_norm_, p, 1.0, float("nan"))


@pytest.mark.parametrize(
    ("norm_type", "norm"),
    # By hand: the norms of (3, -4) and of (1, 2), and the norm of these two.
    [
        (0.0, 2.0),
        (-1.0, 1 / (1 / 3 + 1 / 4 + 1 + 1 / 2)),
        (-np.inf, 1.0),
        (-2.0, (1 / 9 + 1 / 16 + 1.25) ** -0.5),
    ],
)
def test_clip_grad_norm_with_norm_type_of_at_most_0(norm_type, norm):
    p = with_gradient([3.0, -4.0])
    q = with_gradient([1.0, 2.0])
    scale = min(1.0, 0.5 / (norm + 1e-6))
    assert clip_grad_norm_([p, q], 0.5, norm_type).item() == pytest.approx(norm)
    np.testing.assert_allclose(p.grad.numpy(), np.array([3.0, -4.0]) * scale, rtol=1e-6)
    np.testing.assert_allclose(q.grad.numpy(), np.array([1.0, 2.0]) * scale, rtol=1e-6)


def test_norms_of_at_most_0_of_special_gradients():
    norm = rv.nn.utils.get_total_norm
    assert norm([rv.zeros(3), rv.tensor([1.0, 0.0])], 0).item() == 1  # of the tensors one is not all 0
    assert norm([rv.zeros(3), rv.ones(2)], -1).item() == 0
    assert norm([], -1).item() == norm([], 0).item() == 0
    assert np.isnan(norm([rv.tensor([np.nan, 1.0])], -np.inf).item())
    half = norm([rv.tensor([3.0, 4.0]).half(), rv.tensor([2.0])], -np.inf)
    assert (half.dtype, half.item()) == (rv.float32, 2.0)
    refused(ValueError, "[get_total_norm] got a gradient without elements", norm, [rv.zeros(0)], -1)


def test_clip_grad_value():
    p = with_gradient([-3.0, 0.5, 3.0])
    clip_grad_value_([p], 1.0)
    assert p.grad.numpy().tolist() == [-1.0, 0.5, 1.0]


def test_shared_gradient_is_clipped_once():
    """Both terms of a sum may get the same array as their gradient."""
    a, b = rv.tensor([1.0, 2.0], requires_grad=True), rv.tensor([3.0, 4.0], requires_grad=True)
    (a + b).backward(np.array([3.0, 4.0], np.float32))
    clip_grad_norm_([a, b], 1.0)
    expected = np.array([3.0, 4.0]) / np.sqrt(50)
    np.testing.assert_allclose(a.grad.numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(b.grad.numpy(), expected, rtol=1e-5)


def test_norm_and_scaling_apart():
    p, q = with_gradient([3.0, 0.0]), with_gradient([4.0], "float64")
    norm = get_total_norm([p.grad, q.grad])
    assert norm.item() == 5.0
    assert get_total_norm(p.grad, 1.0).item() == 3.0
    assert get_total_norm([p.grad, q.grad], float("inf")).item() == 4.0
    assert get_total_norm([]).item() == 0.0
    clip_grads_with_norm_([p, q], 1.0, norm)
    np.testing.assert_allclose([*p.grad.tolist(), q.grad.item()], [0.6, 0.0, 0.8], rtol=1e-6)
    p.grad._array[0] = np.nan
    with pytest.raises(RuntimeError, match=r"\[get_total_norm\] got gradients of norm nan"):
        get_total_norm([p.grad], error_if_nonfinite=True)


def test_norm_zero_leaves_gradients_alone():
    p = with_gradient([0.0, 0.0])
    assert clip_grad_norm_(p, 1.0, 3.0).item() == 0.0
    assert p.grad.tolist() == [0.0, 0.0]


def test_parameters_as_a_vector():
    layer = nn.Linear(3, 2)
    vector = nn.utils.parameters_to_vector(layer.parameters())
    assert vector.tolist() == [*layer.weight.detach().reshape(-1).tolist(), *layer.bias.tolist()]
    (vector * vector).sum().backward()
    assert layer.bias.grad.tolist() == (2 * layer.bias).tolist()
    nn.utils.vector_to_parameters(rv.arange(8.0), layer.parameters())
    assert (layer.weight.tolist(), layer.bias.tolist()) == ([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], [6.0, 7.0])
    assert layer.weight.requires_grad
    refused(ValueError, "expected (8,)", nn.utils.vector_to_parameters, rv.ones(9), layer.parameters())
    refused(ValueError, "got no parameters", nn.utils.parameters_to_vector, [])
